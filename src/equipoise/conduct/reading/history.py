"""What is on record of a participant that dosing decisions look at: values by the day of their sample,
cycles, decisions, events, holds; read with a few questions to the database, however many participants there
are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from equipoise.conduct import entering, opening
from equipoise.conduct.gateway import NotFound
from equipoise.conduct.models import Cycle, Decision, EventVersion, Hold, Participant
from equipoise.conduct.models import Value as Stored
from equipoise.conduct.reading.arms import arm_of, arms_of
from equipoise.conduct.reading.forms import KINDS, SITE, TOXICITY_REVIEWED, UNKNOWN
from equipoise.conduct.reading.safety import is_fatal, is_terminal
from equipoise.protocol import criteria
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Protocol
from equipoise.rules import goals, holds, schedule
from equipoise.rules.from_protocol import dose_rules
from equipoise.rules.terms import NEVER, DoseRules
from equipoise.rules.truth import NO, YES
from equipoise.rules.values import current, is_valid

_YEAR = 366


class Noted(NamedTuple):
    """One value on a form, with the day of its sample."""

    on: date
    done_on: date
    kind: str
    key: str
    id: UUID
    form: UUID
    item: str
    number: float | None
    text: str
    qualifier: str
    missing: str

    def age(self, on: date) -> int:
        """How many days old it is on a day; what came later is new."""
        return max(0, (on - self.on).days)


class Happened(NamedTuple):
    """An event as its latest report has it; the onset lies between two days, which are the same when it is
    known to the day. `died` is the last day on which the participant can have died of it, None unless its
    report says that they died."""

    id: UUID
    number: int
    first: date
    last: date
    grade: int | None
    attributed: bool | None
    cycle: int | None
    kind: str
    term: str
    died: date | None


@dataclass(frozen=True)
class History:
    """Everything on record that the rules of one regimen look at, for one participant."""

    protocol: Protocol
    participant: Participant
    regimen: str
    arm: str | None
    values: tuple[Noted, ...]
    """In order of time."""
    cycles: tuple[Cycle, ...]
    decisions: tuple[Decision, ...]
    events: tuple[Happened, ...]
    placed: tuple[Hold, ...]
    """Holds that investigators placed."""

    @property
    def rules(self) -> DoseRules:
        """The numbers of the regimen."""
        return rules_of(self.regimen)

    @cached_property
    def goal(self) -> float:
        """The goal of this participant; NaN when there is none or it is not known."""
        if self.protocol.regimens[self.regimen].goal is None:
            return math.nan
        known = {**self.participant.baseline, **self.participant.strata}
        value = goals.goal_value(self.protocol, self.regimen, known)
        return math.nan if value is None else value

    @cached_property
    def death(self) -> Happened | None:
        """The event of which the participant died, as it is reported; None while no death is."""
        dead = (one for one in self.events if one.died is not None)
        return min(dead, key=lambda one: one.died or date.max, default=None)

    @cached_property
    def protocol_holds(self) -> tuple[Stretch, ...]:
        """The stretches of time in which a hold of the protocol was recorded as present, from randomisation
        on, each until the day on which it was recorded as no longer present."""
        first = self.participant.randomized_on
        if first is None:
            return ()
        items = hold_items(self.regimen)
        days = {first, *(value.on for value in self.values if value.item in items and value.on > first)}
        found: list[Stretch] = []
        began: dict[str, date] = {}
        for day in sorted(days):
            for state in self.hold_states(day):
                if state.on == YES:
                    began.setdefault(state.id, day)
                elif state.on == NO and state.id in began:
                    found.append(Stretch(state.id, began.pop(state.id), day))
        found += [Stretch(name, since, None) for name, since in began.items()]
        return tuple(sorted(found, key=lambda each: (each.since, each.hold)))

    def latest(self, items: Iterable[str], on: date) -> dict[str, Noted]:
        """For each of these items the latest answer whose sample was taken on or before `on`."""
        wanted = set(items)
        found: dict[str, Noted] = {}
        for value in self.values:
            if value.on > on:
                break
            if value.item in wanted and _counts(value):
                found[value.item] = value
        return found

    def hold_states(self, on: date, until: date | None = None) -> tuple[holds.HoldState, ...]:
        """Every hold of the protocol as it stood on a day, from the values known then; with `until`, from
        those that came up to this later day as well."""
        latest = self.latest(hold_items(self.regimen), until or on)
        values = {name: plain(self.protocol, value) for name, value in latest.items()}
        ages = {name: value.age(on) for name, value in latest.items()}
        for name, expression in derivations().items():
            if values.get(name) is not None:
                for part in expression.names:
                    values.pop(part, None)
        usable = tuple(
            (name, value, is_valid(self.protocol.items[name], ages[name]))
            for name, value in sorted(values.items())
        )
        return _hold_states(opening.folder().protocol_sha256, self.regimen, usable)


class Stretch(NamedTuple):
    """A hold of the protocol from its first day to the first day without it (None: still present)."""

    hold: str
    since: date
    until: date | None


@lru_cache(maxsize=4096)
def _hold_states(
    protocol_sha256: str, regimen: str, usable: tuple[tuple[str, Value, bool], ...]
) -> tuple[holds.HoldState, ...]:
    """The holds for values of which some have expired; the same answers come again and again."""
    protocol = opening.folder().protocol
    return tuple(
        holds.hold_states(
            protocol,
            regimen,
            {name: value for name, value, _ in usable},
            {name: 0 if valid else NEVER for name, _, valid in usable},
        )
    )


@lru_cache(maxsize=64)
def _rules(protocol_sha256: str, regimen: str) -> DoseRules:
    return dose_rules(opening.folder().protocol, regimen)


def rules_of(regimen: str) -> DoseRules:
    """The numbers of a regimen of the trial's protocol."""
    return _rules(opening.folder().protocol_sha256, regimen)


@lru_cache(maxsize=8)
def _derived(protocol_sha256: str) -> Mapping[str, criteria.Expression]:
    return criteria.derivations(opening.folder().protocol.items)


def derivations() -> Mapping[str, criteria.Expression]:
    """The items that are worked out from others."""
    return _derived(opening.folder().protocol_sha256)


@lru_cache(maxsize=64)
def _hold_items(protocol_sha256: str, regimen: str) -> frozenset[str]:
    protocol = opening.folder().protocol
    names: set[str] = set()
    for hold in protocol.regimens[regimen].hold_while:
        names |= set(criteria.compile(hold.when, protocol.items).names)
    while True:
        parts = {part for name in names for part in parts_of(name)} - names
        if not parts:
            return frozenset(names)
        names |= parts


def parts_of(name: str) -> tuple[str, ...]:
    """The items from which an item is worked out; none for one that is measured."""
    expression = derivations().get(name)
    return () if expression is None else tuple(expression.names)


def hold_items(regimen: str) -> frozenset[str]:
    """The items that the holds of a regimen look at."""
    return _hold_items(opening.folder().protocol_sha256, regimen)


def items_read(regimen: str) -> frozenset[str]:
    """Every item that a dosing decision of this regimen looks at."""
    protocol = opening.folder().protocol
    block = protocol.regimens[regimen]
    names = {TOXICITY_REVIEWED, *hold_items(regimen)}
    if block.goal is not None:
        names.add(block.goal.measure)
    if (cover := cover_item(protocol, regimen)) is not None:
        names.add(cover)
    return frozenset(names)


def cover_item(protocol: Protocol, regimen: str) -> str | None:
    """The item that says whether the regimen that must accompany each cycle is being taken."""
    cover = protocol.regimens[regimen].cover
    return None if cover is None else protocol.regimens[cover].taken


def plain(protocol: Protocol, value: Noted) -> Value:
    """A value as the criteria language knows it: number, truth, word, or None when it is not known."""
    if value.missing:
        return None
    kind = protocol.items[value.item].type
    if kind == "category":
        return value.text or None
    if value.number is None:
        return None
    return value.number == 1 if kind == "boolean" else value.number


def span(partial: str) -> tuple[date, date]:
    """The first and the last day that a date, known to the day, the month or the year, can mean."""
    parts = [int(part) for part in partial.split("-")]
    if len(parts) == 3:
        day = date(*parts)
        return day, day
    if len(parts) == 2:
        year, month = parts
        following = date(year + month // 12, month % 12 + 1, 1)
        return date(year, month, 1), following - timedelta(days=1)
    return date(parts[0], 1, 1), date(parts[0], 12, 31)


def cyclic_regimens(protocol: Protocol, arm: str | None) -> tuple[str, ...]:
    """The regimens of an arm that are given in cycles; none without an arm."""
    if arm is None:
        return ()
    return tuple(name for name in protocol.arms[arm].regimens if protocol.regimens[name].kind == "cycles")


def histories(
    participants: Sequence[Participant], read: Mapping[UUID, Sequence[Noted]] | None = None
) -> dict[UUID, tuple[History, ...]]:
    """The histories of several participants, one for each regimen in cycles of their arm; a fixed number of
    questions to the database, however many they are. Whoever calls this may see arms. `read`: their values as
    `values_of` gives them, where at least those that decisions look at have been read."""
    protocol = opening.folder().protocol
    people = {person.id: person for person in participants if person.randomized_on is not None}
    arms = arms_of(people.values())
    wanted = {key: cyclic_regimens(protocol, arm) for key, arm in arms.items()}
    treated = [key for key, regimens in wanted.items() if regimens]
    items = {item for regimens in wanted.values() for name in regimens for item in items_read(name)}
    if read is None:
        read = values_of(treated, items)
    values = {key: tuple(one for one in read.get(key, ()) if one.item in items) for key in treated}
    cycles = _grouped(Cycle.objects.filter(participant__in=treated).order_by("regimen", "number"))
    decisions = _grouped(Decision.objects.filter(participant__in=treated).order_by("sequence"))
    events = _events(treated)
    placed = _grouped(Hold.objects.filter(participant__in=treated, hold="").order_by("since", "id"))
    return {
        key: tuple(
            History(
                protocol,
                people[key],
                name,
                arms.get(key),
                values.get(key, ()),
                tuple(cycle for cycle in cycles.get(key, ()) if cycle.regimen == name),
                tuple(decision for decision in decisions.get(key, ()) if decision.regimen == name),
                tuple(events.get(key, ())),
                tuple(placed.get(key, ())),
            )
            for name in wanted.get(key, ())
        )
        for key in people
    }


def history(participant: Participant, regimen: str) -> History:
    """The history of one participant under one regimen, which need not be one of their arm's. Raises NotFound
    when the protocol has no such regimen in cycles."""
    protocol = opening.folder().protocol
    if regimen not in protocol.regimens or protocol.regimens[regimen].kind != "cycles":
        raise NotFound("there is nothing of that name for you")
    for found in histories([participant]).get(participant.id, ()):
        if found.regimen == regimen:
            return found
    return History(protocol, participant, regimen, arm_of(participant), (), (), (), (), ())


def _grouped(rows: Any) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.participant_id, []).append(row)
    return found


def rows_of(participants: Sequence[UUID], items: Iterable[str]) -> Any:
    """The values of some participants and items that are dated, as a question to the database. It names the
    row as well, so that SQLite goes from the forms to their values and not through all values of an item."""
    return (
        Stored.objects.filter(form__participant__in=participants, item__in=list(items), row=0)
        .exclude(form__done_on=None)
        .exclude(form__status="not done")
    )


def values_of(participants: Sequence[UUID], items: Iterable[str]) -> dict[UUID, list[Noted]]:
    """The values of some participants and items, for each in order of time."""
    rows = (
        rows_of(participants, items).values_list(
            "form__participant", "measured_on", "form__done_on", "form__kind", "form__key", "id", "form",
            "item", "number", "text", "qualifier", "missing",
        )
    )  # fmt: skip
    found: dict[UUID, list[Noted]] = {}
    for person, measured_on, done_on, *rest in rows if len(participants) == 1 else rows.iterator(5000):
        found.setdefault(person, []).append(Noted(measured_on or done_on, done_on, *rest))
    for values in found.values():
        values.sort(key=_order)
    return found


def _order(value: Noted) -> tuple[date, date, int, str, int]:
    """In order of the day of the sample; of one day, what was recorded between visits comes last."""
    key, _, count = value.key.partition(":")
    number = (entering.read_whole(count) or 0) if value.kind == "update" else 0
    return value.on, value.done_on, KINDS.index(value.kind), key, number


def baseline_on_record(participant: Participant) -> dict[str, Value]:
    """The values at randomisation as the forms of screening give them now, derived items included."""
    protocol, day0 = opening.folder().protocol, participant.randomized_on
    assert day0 is not None
    latest: dict[str, Noted] = {}
    for value in values_of([participant.id], protocol.items).get(participant.id, ()):
        if value.kind == "screening" and value.on <= day0 and _counts(value):
            latest[value.item] = value
    values = {name: plain(protocol, value) for name, value in latest.items()}
    ages = {name: (day0 - value.on).days for name, value in latest.items()}
    if SITE in protocol.items:
        values[SITE], ages[SITE] = str(participant.site_id), 0
    usable = current(protocol.items, values, ages).values
    return {name: value for name, value in usable.items() if value is not None}


def _counts(value: Noted) -> bool:
    """Whether an answer counts: a measurement that was not done leaves the one before it standing; what is
    said to be unknown is unknown from then on."""
    return value.missing in ("", UNKNOWN)


class Latest(NamedTuple):
    """The latest report of an event; if it says that the participant died, the last day on which that can
    have been."""

    version: EventVersion
    died: date | None


def latest_reports(participants: Sequence[UUID]) -> list[Latest]:
    """The latest report of each event of some participants that is not struck out, by number of the event."""
    protocol = opening.folder().protocol
    latest: dict[UUID, EventVersion] = {}
    told: dict[UUID, date] = {}
    for version in (
        EventVersion.objects.filter(event__participant__in=participants, event__removed="")
        .select_related("event__participant__site")
        .order_by("version")
    ):
        latest[version.event_id] = version
        if is_fatal(protocol, version):
            zone = ZoneInfo(version.event.participant.site.zone)
            told.setdefault(version.event_id, version.at.astimezone(zone).date())
        else:
            told.pop(version.event_id, None)
    ordered = sorted(latest.values(), key=lambda each: each.event.number)
    return [Latest(each, _last_day_of_death(protocol, each, told.get(each.event_id))) for each in ordered]


def _last_day_of_death(protocol: Protocol, version: EventVersion, told: date | None) -> date | None:
    """The last day on which a participant can have died who was reported dead on the day `told`: nobody is
    before it happens. A death has its onset for its day, another event that is fatal its end."""
    if told is None:
        return None
    said = version.onset if is_terminal(protocol, version.event.kind) else version.ended
    first, last = span(said or version.onset)[0], span(said)[1] if said else told
    return max(first, min(last, told))


def _events(participants: Sequence[UUID]) -> dict[UUID, list[Happened]]:
    found: dict[UUID, list[Happened]] = {}
    for version, died in latest_reports(participants):
        found.setdefault(version.event.participant_id, []).append(
            Happened(
                version.event_id, version.event.number, *span(version.onset), version.grade,
                version.attributed, version.cycle, version.event.kind, version.term, died,
            )
        )  # fmt: skip
    return found


# --- the schedule -------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _planned(protocol_sha256: str, arm: str, until: int) -> tuple[schedule.PlannedVisit, ...]:
    return schedule.visits(opening.folder().protocol, arm, until)


def planned_visits(arm: str, until_day: int) -> tuple[schedule.PlannedVisit, ...]:
    """The visits of an arm whose window may be open by `until_day`, and some more: whole years at a time."""
    return _planned(opening.folder().protocol_sha256, arm, (max(0, until_day) // _YEAR + 1) * _YEAR)


# --- in words -----------------------------------------------------------------------------------------------


def amount(value: float, unit: str) -> str:
    """A number with its unit."""
    return f"{value:.6g} {unit}".rstrip()


shown = entering.full
"""A date as people read it."""


def in_words(protocol: Protocol, value: Noted) -> str:
    """A value with its label and date."""
    if value.item not in protocol.items:
        return f"adverse events reviewed: {value.text or value.missing}, {shown(value.on)}"
    item = protocol.items[value.item]
    if value.missing:
        said = value.missing
    elif item.type == "number" and value.number is not None:
        said = value.qualifier + amount(value.number, item.unit)
    elif item.type == "boolean" and value.number is not None:
        said = "yes" if value.number == 1 else "no"
    else:
        said = value.text
    return f"{item.label}: {said}, {shown(value.on)}"
