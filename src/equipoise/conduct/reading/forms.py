"""Forms as the protocol makes them: what each asks, what is known of a participant on a day, what a page
shows of a form, and the history of every item.

A form has a kind and a key: ("screening", visit), ("visit", "visit:day"), ("check", "regimen:date") before a
cycle, ("update", "date:n") for what happened between visits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from equipoise.conduct import clock, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.gateway import NotAllowed, NotFound, content_hash
from equipoise.conduct.models import Entry, Form, Participant, Query, Signature
from equipoise.conduct.models import Value as Stored
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Item, Protocol, Visit
from equipoise.rules.schedule import PlannedVisit, visits

SCREENING, VISIT, CHECK, UPDATE = "screening", "visit", "check", "update"
KINDS: Final = (SCREENING, VISIT, CHECK, UPDATE)

TOXICITY_REVIEWED: Final = "toxicity_reviewed"
SITE: Final = "site"
"""The item that is the participant's site, and so is never asked."""
_BUILT_IN: Final = {
    TOXICITY_REVIEWED: Item(
        label="All adverse events since the last cycle are entered", type="boolean", collect=["cycles"]
    )
}


def item_of(protocol: Protocol, name: str) -> Item:
    """The item of that name, of the protocol or built in. KeyError when there is none."""
    return _BUILT_IN[name] if name in _BUILT_IN else protocol.items[name]


# --- what a form asks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FormPlan:
    """What a form is: its title, the items that it asks, those that must be answered before it is complete,
    the day that its key names (None where any day may be right), the planned visit that it belongs to, and
    whether the mere form tells the arm."""

    kind: str
    key: str
    title: str
    asked: tuple[str, ...]
    required: tuple[str, ...]
    on: date | None = None
    visit: PlannedVisit | None = None
    reveals_arm: bool = False


def asked(protocol: Protocol, participant: Participant, kind: str, key: str) -> tuple[str, ...]:
    """The items that a form asks, in order. Raises NotFound when the participant has no such form."""
    return plan(protocol, participant, kind, key).asked


def plan(protocol: Protocol, participant: Participant, kind: str, key: str) -> FormPlan:
    """What a form of a participant is. Raises NotFound when the protocol plans no such form for them."""
    if kind == SCREENING:
        return _screening(protocol, key)
    if kind not in KINDS:
        raise NotFound(f'there is no kind of form "{kind}"')
    if participant.randomized_on is None:
        raise NotFound(f"{participant.number} is not randomised: there are only forms of screening")
    name, _, rest = key.partition(":")
    if kind == VISIT:
        return _visit(protocol, participant, name, rest)
    return _check(protocol, participant, name, rest) if kind == CHECK else _update(protocol, name, rest)


def _screening(protocol: Protocol, key: str) -> FormPlan:
    visit = next((one for one in protocol.visits if one.id == key and one.period == SCREENING), None)
    if visit is None:
        raise NotFound(f'there is no screening visit "{key}"')
    names = tuple(
        name for name in visit.collect if name != SITE and protocol.items[name].derive is None
    )  # what is derived at entry is worked out from what is asked
    return FormPlan(SCREENING, key, visit.label, names, names)


def _visit(protocol: Protocol, participant: Participant, name: str, rest: str) -> FormPlan:
    line = next((one for one in protocol.visits if one.id == name and one.period != SCREENING), None)
    day = _whole(rest)
    if line is None or day is None:
        raise NotFound(f'there is no visit "{name}:{rest}"')
    planned = planned_visits(protocol, participant, day, line)
    visit = next((one for one in planned if one.id == name and one.day == day), None)
    if visit is None:
        raise NotFound(f"{participant.number} has no visit of {line.label.lower()} on day {day}")
    names = tuple(one for one in visit.collect if is_measured_at_visits(protocol, one))
    title = line.label if len(line.at or ()) == 1 else f"{line.label}: {visit.name}"
    return FormPlan(
        VISIT, f"{name}:{rest}", title, names, names, None, visit, reveals_arm=line.arms is not None
    )


def planned_visits(
    protocol: Protocol, participant: Participant, until_day: int, line: Visit | None = None
) -> tuple[PlannedVisit, ...]:
    """The visits of a participant's arm up to a day (of one line of the schedule, or all). The arm is looked
    at only where it matters."""
    lines = protocol.visits if line is None else [line]
    if all(one.arms is None for one in lines):
        arm = next(iter(protocol.arms))
    else:
        from equipoise.conduct.reading.arms import arm_of

        found = arm_of(participant)
        if found is None:
            return ()
        arm = found
    wanted = {one.id for one in lines}
    return tuple(one for one in visits(protocol, arm, until_day) if one.id in wanted)


def visit_key(visit: PlannedVisit) -> str:
    """The key of the form of a planned visit."""
    return f"{visit.id}:{visit.day}"


def settled_visits(participant: Participant) -> dict[str, Form]:
    """The forms of visits that took place or are known not to have, by key."""
    found = Form.objects.filter(participant=participant, kind=VISIT)
    return {form.key: form for form in found if form.done_on is not None or form.status == Form.NOT_DONE}


def is_measured_at_visits(protocol: Protocol, name: str) -> bool:
    """Whether an item is asked at visits: not the site, and nothing that is only ever worked out."""
    item = protocol.items[name]
    return name != SITE and (item.derive is None or "visits" in item.collect)


def _check(protocol: Protocol, participant: Participant, regimen: str, rest: str) -> FormPlan:
    from equipoise.conduct.reading.arms import arm_of

    on = _date(rest)
    arm = arm_of(participant)
    found = protocol.regimens.get(regimen)
    given = arm is not None and regimen in protocol.arms[arm].regimens
    if on is None or found is None or found.kind != "cycles" or not given:
        raise NotFound(f'{participant.number} has no cycles of "{regimen}" to check')
    names = tuple(name for name, item in protocol.items.items() if "cycles" in item.collect)
    names = (
        *(name for name in names if name != SITE and not _only_derived(protocol, name)),
        TOXICITY_REVIEWED,
    )
    title = f"Check before a cycle of {found.label or found.drug}, {_short(on)}"
    return FormPlan(CHECK, f"{regimen}:{rest}", title, names, names, on, reveals_arm=True)


def _update(protocol: Protocol, day: str, rest: str) -> FormPlan:
    on = _date(day)
    if on is None or not _whole(rest):
        raise NotFound(f'there is no form "{day}:{rest}" between visits')
    return FormPlan(
        UPDATE, f"{day}:{rest}", f"Between visits, {_short(on)}", _between_visits(protocol), (), on
    )


def _between_visits(protocol: Protocol) -> tuple[str, ...]:
    at_visits = {name for visit in protocol.visits if visit.period != SCREENING for name in visit.collect}
    return tuple(
        name
        for name, item in protocol.items.items()
        if ("as it happens" in item.collect or "visits" in item.collect or name in at_visits)
        and name != SITE
        and not _only_derived(protocol, name)
    )


def _only_derived(protocol: Protocol, name: str) -> bool:
    item = protocol.items[name]
    return item.derive is not None and "visits" not in item.collect


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text else None


def _short(day: date) -> str:
    return f"{day.day} {day:%b} {day.year}"


# --- what is known ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """One recorded value: of which item, on which day it was measured, where it stands."""

    item: str
    on: date
    value: Value
    text: str
    unit: str
    qualifier: str
    missing: str
    form: Form
    stored: Stored


def recorded(participant: Participant, items: Iterable[str] | None = None) -> list[Known]:
    """Everything recorded of a participant, in order of the day on which it was measured; of one day, what
    was recorded between visits comes after what was recorded at them."""
    found = Stored.objects.filter(form__participant=participant).select_related("form")
    if items is not None:
        found = found.filter(item__in=list(items))
    protocol = opening.folder().protocol
    ordered = sorted(found, key=_order)
    return [_known(protocol, one) for one in ordered if one.item in protocol.items or one.item in _BUILT_IN]


def _order(value: Stored) -> tuple[date, int, tuple[str, int], str, int]:
    form = value.form
    key, _, count = form.key.partition(":")
    number = int(count) if form.kind == UPDATE and count.isdigit() else 0
    return measured_on(value), KINDS.index(form.kind), (key, number), value.item, value.row


def measured_on(value: Stored) -> date:
    """The day on which a value was measured: that of the form unless it says otherwise."""
    return value.measured_on or value.form.done_on


def _known(protocol: Protocol, value: Stored) -> Known:
    return Known(
        value.item, measured_on(value), value_of(item_of(protocol, value.item), value), value.text,
        value.unit, value.qualifier, value.missing, value.form, value,
    )  # fmt: skip


def value_of(item: Item, value: Stored) -> Value:
    """A stored value as rules and criteria take it; None when there is none. A value beyond the limit of the
    assay is the limit."""
    if value.missing:
        return None
    if item.type == "category":
        return str(value.text)
    if item.type == "boolean":
        return bool(value.number)
    return None if value.number is None else float(value.number)


def values_known(participant: Participant, on: date) -> tuple[dict[str, Value], dict[str, int]]:
    """What is known on a day: the latest value of each item that is dated on or before it, and its age in
    days. A measurement that was not done leaves the one before it standing, with its age; a state that is
    said to be unknown (pregnant, say) is unknown from then on."""
    protocol = opening.folder().protocol
    values: dict[str, Value] = {}
    ages: dict[str, int] = {}
    for known in recorded(participant):
        if known.on > on or known.item in _BUILT_IN:
            continue
        if known.missing and not _makes_unknown(protocol.items[known.item], known.missing):
            continue
        values[known.item] = known.value
        ages[known.item] = (on - known.on).days
    if SITE in protocol.items:
        values[SITE] = str(participant.site_id)
        ages[SITE] = 0
    return values, ages


def _makes_unknown(item: Item, missing: str) -> bool:
    return item.type != "number" and missing in ("unknown", "refused")


# --- what is signed ---------------------------------------------------------------------------------------


def content(form: Form, number: str) -> dict[str, Any]:
    """What a form says, as it is signed: whose, which, when, and every answer."""
    answers = [[one.item, one.row, answer_parts(one)] for one in form.values.order_by("item", "row")]
    return {
        "participant": number,
        "kind": form.kind,
        "key": form.key,
        "done_on": form.done_on,
        "status": form.status,
        "not_done_reason": form.not_done_reason,
        "answers": answers,
    }


def answer_parts(value: Stored) -> dict[str, str]:
    """One answer as reported, without the parts that are empty: what the ledger keeps of it."""
    parts = {
        "text": value.text,
        "unit": value.unit,
        "missing": value.missing,
        "measured_on": value.measured_on.isoformat() if value.measured_on else "",
    }
    return {name: part for name, part in parts.items() if part}


def in_words(parts: dict[str, str] | str | None) -> str:
    """An answer of the ledger as people read it: "210 cells/mm3 (2 Mar 2026)"; "blank" when there was none."""
    if parts is None or parts == "":
        return "blank"
    if isinstance(parts, str):
        try:
            parts = json.loads(parts)
        except ValueError:
            return str(parts)
        if not isinstance(parts, dict):
            return str(parts)
    words = parts.get("missing") or f"{parts.get('text', '')} {parts.get('unit', '')}".strip()
    if parts.get("measured_on"):
        words += f" ({_short(date.fromisoformat(parts['measured_on']))})"
    return words or "blank"


def content_sha256(form: Form, number: str) -> str:
    """The hash of what a form says, which a signature names."""
    return content_hash(content(form, number))
