"""A participant's chart: the measures over time with goal and baseline, cycles with their doses, decisions,
holds, events and visits, and what comes next. What it holds depends on who looks: to a viewer who does not
see the arm it shows nothing that would tell it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from equipoise.conduct import clock, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.models import Flag, Form, Hold, Injection, Participant
from equipoise.conduct.reading import forms, safety
from equipoise.conduct.reading import situation as treatment
from equipoise.conduct.reading.arms import arm_of
from equipoise.conduct.reading.history import (
    History,
    Noted,
    amount,
    cyclic_regimens,
    histories,
    items_read,
    shown,
    span,
    values_of,
)
from equipoise.protocol.model import Protocol
from equipoise.rules import schedule
from equipoise.rules.schedule import PlannedVisit
from equipoise.rules.terms import ACTIONS, ESCALATE, REDUCE, START

AHEAD_DAYS = 400
"""How far ahead visits are shown: more than a year (assumed)."""
BASELINE = "baseline"
MISSED, NOT_DONE = "missed", "not done"


@dataclass(frozen=True)
class Point:
    """One measurement, in the unit of the item; `place` is the kind and key of the form on which it stands
    (none for a baseline that was worked out)."""

    on: date
    day: int | None
    """Days since randomisation; None before it is known."""
    value: float
    qualifier: str
    words: str
    visit: str
    form: UUID | None
    place: tuple[str, str] | None


@dataclass(frozen=True)
class Series:
    """One item over time. `main`: the measure that guides the dose."""

    item: str
    label: str
    unit: str
    main: bool
    points: tuple[Point, ...]
    baseline: float | None
    goal: float | None
    detection_limit: float | None


@dataclass(frozen=True)
class CycleBar:
    """One cycle, from its first to its last day."""

    id: UUID
    regimen: str
    label: str
    number: int
    on: date
    until: date
    day: int
    phase: str
    dose: float
    unit: str
    given: int
    reduced: int
    missed: int
    open: int
    """Injections of which it is not yet said what became of them, or which are unknown."""
    planned: int
    complete: bool
    words: str


@dataclass(frozen=True)
class DecisionMark:
    """One dosing decision."""

    id: UUID
    regimen: str
    sequence: int
    on: date
    action: str
    dose: float
    unit: str
    sentence: str
    overridden: bool
    override_reason: str
    accepted: str
    person: str
    cycle: int | None
    flags: tuple[FlagMark, ...]


@dataclass(frozen=True)
class FlagMark:
    """A correction that came after a decision."""

    id: UUID
    what: str
    corrected: str
    differs: bool
    settled: str


@dataclass(frozen=True)
class EventMark:
    """One event by its latest report, as precisely dated as it was reported. `first` is the earliest day that
    the date of onset can mean."""

    id: UUID
    number: int
    kind: str
    label: str
    term: str
    onset: str
    ended: str
    first: date
    grade: int | None
    serious: bool
    attributed: bool | None
    cycle: int | None


@dataclass(frozen=True)
class HoldBar:
    """A stretch of time without cycles."""

    id: UUID
    hold: str
    text: str
    since: date
    until: date | None
    reason: str
    placed: bool
    """By an investigator; otherwise a hold of the protocol."""


@dataclass(frozen=True)
class VisitMark:
    """One planned visit: when it is due, its window, and how it stands."""

    id: str
    name: str
    label: str
    place: tuple[str, str]
    due: date
    earliest: date
    latest: date
    on: date | None
    state: str
    """early, in window, late; to come, open, overdue; missed, not done."""
    status: str
    """Of its form."""


@dataclass(frozen=True)
class FormMark:
    """A form that is of no planned visit."""

    kind: str
    key: str
    on: date | None
    status: str


@dataclass(frozen=True)
class NextAction:
    """What comes next: in words, when, and where it is done (`kind` decision with the regimen, or a form with
    its key)."""

    words: str
    due: date | None
    overdue: bool
    kind: str
    key: str


@dataclass(frozen=True)
class Header:
    """Who this is and under what they are treated. `arm` is None for whoever may not see it."""

    number: str
    site: int
    site_name: str
    status: str
    screened_on: date
    randomized_on: date | None
    randomized_number: int | None
    day: int | None
    ended_on: date | None
    ended_how: str
    strata: tuple[tuple[str, str], ...]
    """Label and level, as randomised."""
    protocol: str
    protocol_version: str
    protocol_sha256: str
    arm: str | None
    on_hold: bool


@dataclass(frozen=True)
class Chart:
    """Everything that the page of a participant draws."""

    header: Header
    today: date
    series: tuple[Series, ...]
    cycles: tuple[CycleBar, ...]
    decisions: tuple[DecisionMark, ...]
    events: tuple[EventMark, ...]
    holds: tuple[HoldBar, ...]
    visits: tuple[VisitMark, ...]
    others: tuple[FormMark, ...]
    """Checks before cycles, and forms between visits, the latest first."""
    next: tuple[NextAction, ...]
    """The first of them is the next action."""
    goal_words: tuple[str, ...]


def chart(participant: Participant, viewer: Viewer) -> Chart:
    """The chart of a participant for this viewer, as of today at their site."""
    protocol = opening.folder().protocol
    today = clock.today(participant.site.zone)
    sees_arm = viewer.sees_arm(participant.site)
    arm = arm_of(participant) if sees_arm else None
    names = charted_items(protocol)
    looked_at = {item for regimen in cyclic_regimens(protocol, arm) for item in items_read(regimen)}
    values = values_of([participant.id], {*names, *looked_at})
    past = histories([participant], values)[participant.id] if arm is not None else ()
    holds = _holds(protocol, participant, past) if sees_arm else ()
    held = list(Form.objects.filter(participant=participant).order_by("-done_on"))
    visits = _visits(protocol, participant, arm, today, held)
    return Chart(
        header=_header(protocol, participant, arm, today, holds),
        today=today,
        series=_series(protocol, participant, past, values.get(participant.id, ()), names, sees_arm),
        cycles=_cycles(protocol, past),
        decisions=_decisions(past),
        events=_events(participant, viewer),
        holds=holds,
        visits=visits,
        others=tuple(
            FormMark(one.kind, one.key, one.done_on, one.status)
            for one in held
            if one.kind == forms.UPDATE or (sees_arm and one.kind not in (forms.SCREENING, forms.VISIT))
        ),
        next=_next(participant, past, visits, today),
        goal_words=tuple(_goal_words(protocol, one) for one in past if not math.isnan(one.goal)),
    )


def _header(
    protocol: Protocol, person: Participant, arm: str | None, today: date, holds: Sequence[HoldBar]
) -> Header:
    day0 = person.randomized_on
    return Header(
        number=person.number,
        site=person.site_id,
        site_name=person.site.name,
        status=person.status,
        screened_on=person.screened_on,
        randomized_on=day0,
        randomized_number=person.randomized_number,
        day=None if day0 is None else (today - day0).days,
        ended_on=person.ended_on,
        ended_how=person.ended_how,
        strata=tuple(
            (protocol.strata[name].label, str(level))
            for name, level in person.strata.items()
            if name in protocol.strata
        ),
        protocol=protocol.protocol,
        protocol_version=protocol.version,
        protocol_sha256=opening.folder().protocol_sha256,
        arm=None if arm is None else protocol.arms[arm].label,
        on_hold=any(hold.since <= today and (hold.until is None or hold.until > today) for hold in holds),
    )


# --- the measures -------------------------------------------------------------------------------------------


def charted_items(protocol: Protocol) -> tuple[str, ...]:
    """The numbers that are measured again and again: those that guide doses first."""
    main = [regimen.goal.measure for regimen in protocol.regimens.values() if regimen.goal is not None]
    visited = {name for visit in protocol.visits if visit.period != "screening" for name in visit.collect}
    others = [
        name
        for name, item in protocol.items.items()
        if item.type == "number" and ("visits" in item.collect or name in visited)
    ]
    return tuple(dict.fromkeys([*main, *others]))


def _series(
    protocol: Protocol,
    person: Participant,
    past: Sequence[History],
    values: Sequence[Noted],
    names: Sequence[str],
    sees_arm: bool,
) -> tuple[Series, ...]:
    guided = {regimen.goal.measure for regimen in protocol.regimens.values() if regimen.goal is not None}
    goals = {
        regimen.goal.measure: one.goal
        for one in past
        if (regimen := protocol.regimens[one.regimen]).goal is not None and not math.isnan(one.goal)
    }
    if not sees_arm:
        values = [value for value in values if value.kind == forms.SCREENING]
    found = []
    for name in names:
        item = protocol.items[name]
        baseline = _number(person.baseline.get(name))
        points = [
            _point(protocol, person, value)
            for value in values
            if value.item == name and not value.missing and value.number is not None
        ]
        day0 = person.randomized_on
        if baseline is not None and day0 is not None and not any(point.on == day0 for point in points):
            words = f"{item.label} at baseline: {amount(baseline, item.unit)}"
            points.append(Point(day0, 0, baseline, "", words, BASELINE, None, None))
            points.sort(key=lambda point: point.on)
        found.append(
            Series(
                name, item.label, item.unit, name in guided, tuple(points), baseline, goals.get(name),
                item.detection_limit,
            )
        )  # fmt: skip
    return tuple(found)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _point(protocol: Protocol, person: Participant, value: Noted) -> Point:
    item, day0 = protocol.items[value.item], person.randomized_on
    assert value.number is not None
    said = value.qualifier + amount(value.number, item.unit)
    return Point(
        on=value.on,
        day=None if day0 is None else (value.on - day0).days,
        value=value.number,
        qualifier=value.qualifier,
        words=f"{item.label} {said}, {shown(value.on)}",
        visit=_visit_name(protocol, value.kind, value.key),
        form=value.form,
        place=(value.kind, value.key),
    )


def _visit_name(protocol: Protocol, kind: str, key: str) -> str:
    name = key.partition(":")[0]
    if kind in (forms.SCREENING, forms.VISIT):
        return next((visit.label for visit in protocol.visits if visit.id == name), key)
    return "check before a cycle" if kind == forms.CHECK else "between visits"


def _goal_words(protocol: Protocol, past: History) -> str:
    goal = protocol.regimens[past.regimen].goal
    assert goal is not None
    item = protocol.items[goal.measure]
    way = "at least" if goal.direction == "up" else "at most"
    return f"Goal: {item.label} of {way} {amount(past.goal, item.unit)}"


# --- treatment ----------------------------------------------------------------------------------------------


def _cycles(protocol: Protocol, past: Iterable[History]) -> tuple[CycleBar, ...]:
    bars = []
    for one in past:
        block = protocol.regimens[one.regimen]
        rows: dict[UUID, list[Injection]] = {}
        for row in Injection.objects.filter(cycle__in=one.cycles).order_by("number"):
            rows.setdefault(row.cycle_id, []).append(row)
        for cycle in one.cycles:
            mine = rows.get(cycle.id, [])
            count = {
                state: sum(row.state == state for row in mine)
                for state in (Injection.GIVEN, Injection.REDUCED, Injection.MISSED)
            }
            given = count[Injection.GIVEN] + count[Injection.REDUCED]
            dose = amount(cycle.dose, cycle.unit)
            bars.append(
                CycleBar(
                    id=cycle.id,
                    regimen=one.regimen,
                    label=block.label or block.drug,
                    number=cycle.number,
                    on=cycle.on,
                    until=max((row.on for row in mine), default=cycle.on),
                    day=cycle.day,
                    phase=cycle.phase,
                    dose=cycle.dose,
                    unit=cycle.unit,
                    given=given,
                    reduced=count[Injection.REDUCED],
                    missed=count[Injection.MISSED],
                    open=len(mine) - given - count[Injection.MISSED],
                    planned=len(mine),
                    complete=cycle.completed_at is not None,
                    words=f"Cycle {cycle.number}, {dose}, {given} of {len(mine)} given",
                )
            )
    return tuple(sorted(bars, key=lambda bar: (bar.on, bar.number)))


def _decisions(past: Iterable[History]) -> tuple[DecisionMark, ...]:
    marks = []
    for one in past:
        flags: dict[UUID, list[FlagMark]] = {}
        for flag in Flag.objects.filter(decision__in=one.decisions).order_by("at"):
            mark = FlagMark(flag.id, flag.what, flag.corrected_sentence, flag.differs, flag.settled)
            flags.setdefault(flag.decision_id, []).append(mark)
        started = {cycle.decision_id: cycle.number for cycle in one.cycles}
        shape = one.protocol.regimens[one.regimen].cycle
        for decision in one.decisions:
            marks.append(
                DecisionMark(
                    id=decision.id,
                    regimen=one.regimen,
                    sequence=decision.sequence,
                    on=decision.on,
                    action=ACTIONS[decision.action],
                    dose=decision.dose if decision.action in (START, REDUCE, ESCALATE) else 0.0,
                    unit="" if shape is None else shape.dose.unit,
                    sentence=decision.sentence,
                    overridden=bool(decision.override_reason),
                    override_reason=decision.override_reason,
                    accepted=decision.accepted,
                    person=decision.person,
                    cycle=started.get(decision.id),
                    flags=tuple(flags.get(decision.id, ())),
                )
            )
    return tuple(sorted(marks, key=lambda mark: mark.sequence))


def _holds(protocol: Protocol, person: Participant, past: Sequence[History]) -> tuple[HoldBar, ...]:
    texts = {hold.id: hold.text for one in past for hold in protocol.regimens[one.regimen].hold_while}
    return tuple(
        HoldBar(
            id=hold.id,
            hold=hold.hold,
            text=texts.get(hold.hold, "Hold placed by an investigator"),
            since=hold.since,
            until=hold.until,
            reason=hold.reason,
            placed=not hold.hold,
        )
        for hold in Hold.objects.filter(participant=person).order_by("since", "id")
        if hold.until != hold.since
    )


# --- events and visits --------------------------------------------------------------------------------------


def _events(person: Participant, viewer: Viewer) -> tuple[EventMark, ...]:
    marks = [
        EventMark(
            id=one.id,
            number=one.number,
            kind=one.kind,
            label=one.label,
            term=one.latest.term,
            onset=one.latest.onset,
            ended=one.latest.ended,
            first=span(one.latest.onset)[0],
            grade=one.latest.grade,
            serious=one.latest.serious,
            attributed=one.latest.attributed,
            cycle=one.latest.cycle,
        )
        for one in safety.events([person], viewer)
        if not one.removed
    ]
    return tuple(sorted(marks, key=lambda mark: (mark.first, mark.number)))


def _visits(
    protocol: Protocol, person: Participant, arm: str | None, today: date, held: Sequence[Form]
) -> tuple[VisitMark, ...]:
    on_file = {(form.kind, form.key): form for form in held}
    marks = [
        _screening_mark(person, visit.id, visit.label, on_file.get((forms.SCREENING, visit.id)), today)
        for visit in protocol.visits
        if visit.period == "screening" and (visit.arms is None or person.randomized_on is None)
    ]
    day0 = person.randomized_on
    if day0 is None:
        return tuple(marks)
    last = today if person.ended_on is None else min(today, person.ended_on)
    ahead = AHEAD_DAYS if person.ended_on is None else 0
    until = (last - day0).days + ahead
    planned = [visit for visit in _planned(protocol, arm, until) if visit.day >= 0]
    labels = {visit.id: visit.label for visit in protocol.visits}
    for visit in planned:
        form = on_file.get((forms.VISIT, forms.visit_key(visit)))
        marks.append(_visit_mark(visit, labels[visit.id], form, planned, day0, last))
    return tuple(marks)


def _planned(protocol: Protocol, arm: str | None, until: int) -> tuple[PlannedVisit, ...]:
    """The visits of an arm; without one those that are the same in every arm."""
    arms = [arm] if arm is not None else list(protocol.arms)
    shared = {visit.id for visit in protocol.visits if visit.arms is None or arm is not None}
    return tuple(one for one in schedule.visits(protocol, arms[0], until) if one.id in shared)


def _screening_mark(person: Participant, id: str, label: str, form: Form | None, today: date) -> VisitMark:
    on = None if form is None else form.done_on
    last = person.randomized_on or today
    state = "to come" if on is None else "in window"
    if on is None and (person.randomized_on is not None or person.status == Participant.FAILED):
        state = NOT_DONE
    return VisitMark(
        id, label, label, (forms.SCREENING, id), on or person.screened_on, person.screened_on, last, on,
        state, Form.EMPTY if form is None else form.status,
    )  # fmt: skip


def _visit_mark(
    visit: PlannedVisit,
    label: str,
    form: Form | None,
    planned: Sequence[PlannedVisit],
    day0: date,
    last: date,
) -> VisitMark:
    on = None if form is None else form.done_on
    today = (last - day0).days
    if form is not None and form.status == Form.NOT_DONE:
        state = NOT_DONE
    elif on is None and schedule.is_missed(planned, visit, today):
        state = MISSED
    else:
        state = schedule.window_state(visit, None if on is None else (on - day0).days, today)
    return VisitMark(
        id=visit.id,
        name=visit.name,
        label=label,
        place=(forms.VISIT, forms.visit_key(visit)),
        due=day0 + timedelta(days=visit.day),
        earliest=day0 + timedelta(days=visit.earliest),
        latest=day0 + timedelta(days=visit.latest),
        on=on,
        state=state,
        status=Form.EMPTY if form is None else form.status,
    )


def _next(
    person: Participant, past: Sequence[History], visits: Sequence[VisitMark], today: date
) -> tuple[NextAction, ...]:
    if person.status == Participant.SCREENING:
        return (
            NextAction(
                "Screening: complete the forms and sign the eligibility", None, False, "screening", ""
            ),
        )
    if person.status != Participant.RANDOMIZED:
        return ()
    found = []
    for one in past:
        decision = treatment.next_decision(one, today)
        if decision is not None:
            words = f"{decision.words} ({shown(decision.due)})"
            found.append(NextAction(words, decision.due, decision.due < today, "decision", one.regimen))
    waiting = [
        visit for visit in visits if visit.state in (schedule.OPEN, schedule.OVERDUE, schedule.TO_COME)
    ]
    waiting = [visit for visit in waiting if visit.place[0] == forms.VISIT]
    for visit in sorted(waiting, key=lambda each: each.due)[:1]:
        words = (
            f"Visit {visit.name}: due {shown(visit.due)}, {shown(visit.earliest)} to {shown(visit.latest)}"
        )
        found.append(
            NextAction(words, visit.due, visit.state == schedule.OVERDUE, visit.place[0], visit.place[1])
        )
    return tuple(sorted(found, key=lambda each: each.due or today))


__all__ = ["Chart", "chart", "charted_items"]
