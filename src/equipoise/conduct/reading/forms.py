"""Forms as the protocol makes them: what each asks, what is known of a participant on a day, what a page
shows of a form, and the history of every item.

A form has a kind and a key: ("screening", visit), ("visit", "visit:day"), ("check", "regimen:date") before a
cycle, ("update", "date:n") for what happened between visits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from equipoise.conduct import checks, clock, entering, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.checks import Answered, Finding, FormDay
from equipoise.conduct.gateway import NotAllowed, NotFound, as_text, content_hash
from equipoise.conduct.models import Entry, Form, Participant, Query, Signature
from equipoise.conduct.models import Value as Stored
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Item, Protocol, Visit
from equipoise.rules.schedule import PlannedVisit, visits

SCREENING, VISIT, CHECK, UPDATE = "screening", "visit", "check", "update"
KINDS: Final = (SCREENING, VISIT, CHECK, UPDATE)

TOXICITY_REVIEWED: Final = "toxicity_reviewed"
UNKNOWN: Final = "unknown"
"""The one word for a missing value that takes back an earlier answer."""
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
    day = entering.read_whole(rest)
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
    if on is None or not entering.read_whole(rest):
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


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text and entering.is_possible(found) else None


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


def _order(value: Stored) -> tuple[date, date, int, tuple[str, int], str, int]:
    form = value.form
    key, _, count = form.key.partition(":")
    number = (entering.read_whole(count) or 0) if form.kind == UPDATE else 0
    return measured_on(value), form.done_on, KINDS.index(form.kind), (key, number), value.item, value.row


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
    days. A measurement that was not done leaves the one before it standing, with its age; what is said to be
    unknown is unknown from then on."""
    protocol = opening.folder().protocol
    values: dict[str, Value] = {}
    ages: dict[str, int] = {}
    for known in recorded(participant):
        if known.on > on or known.item in _BUILT_IN or known.missing not in ("", UNKNOWN):
            continue
        values[known.item] = known.value
        ages[known.item] = (on - known.on).days
    if SITE in protocol.items:
        values[SITE] = str(participant.site_id)
        ages[SITE] = 0
    return values, ages


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
    """An answer of the ledger as people read it: "210 cells/mm3 (2 Mar 2026)"; "blank" for none."""
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


# --- what the checks find on a form -----------------------------------------------------------------------


def findings(participant: Participant, form: Form, plan: FormPlan, today: date) -> list[Finding]:
    """What the checks find on a form as it stands; nothing on one that was not done."""
    if form.done_on is None:
        return []
    found = checks.look(form_day(participant, plan, form.done_on, today))
    protocol = opening.folder().protocol
    record = recorded(participant)
    known = {one.item: one.value for one in record}
    for one in record:
        if one.form.id != form.id:
            continue
        before = [
            (other.value, other.on) for other in record
            if other.item == one.item and other.on < one.on and isinstance(other.value, float)
        ]  # fmt: skip
        previous, previous_on = before[-1] if before else (None, None)
        item = item_of(protocol, one.item)
        entered = entering.Entered(one.text, one.unit, one.qualifier, one.stored.number, one.missing)
        facts = Answered(
            one.item, item, entered, one.on, form.done_on,
            previous=previous, previous_on=previous_on,
            known=known, value=as_text(answer_parts(one.stored)) or "",
        )  # fmt: skip
        found += checks.look(facts)
    return found


def form_day(participant: Participant, plan: FormPlan, done_on: date, today: date) -> FormDay:
    """The day of a form with what it must lie between."""
    start, visit = participant.randomized_on, plan.visit
    return FormDay(
        done_on=done_on,
        today=today,
        consent_on=participant.consent_on,
        randomized_on=start,
        after_randomization=plan.kind != SCREENING,
        ended_on=participant.ended_on,
        named_on=plan.on,
        earliest=None if visit is None else start + timedelta(days=visit.earliest),
        latest=None if visit is None else start + timedelta(days=visit.latest),
    )


# --- what a page shows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Previous:
    """The value before: shown beside an item, never copied."""

    words: str
    number: float | None
    on: date


@dataclass(frozen=True)
class QueryShown:
    """A query in a list."""

    id: UUID
    state: str
    text: str
    item: str
    rule: str
    opened_by: str
    opened_at: datetime


@dataclass(frozen=True)
class Field:
    """One item of a form as a page shows it. `unit` is that of the item, `preset` the one to offer first,
    `reported` the one in which the present value stands; `converted` says the value in the unit of the item
    when that is another one."""

    item: str
    label: str
    type: str
    required: bool
    unit: str
    preset: str
    accepted_units: tuple[str, ...]
    categories: tuple[str, ...]
    range: tuple[float, float] | None
    detection_limit: float | None
    text: str
    reported: str
    qualifier: str
    number: float | None
    missing: str
    measured_on: date | None
    converted: str
    previous: Previous | None
    warnings: tuple[Finding, ...]
    queries: tuple[QueryShown, ...]
    verified_by: str

    @property
    def is_blank(self) -> bool:
        """Whether nothing is entered yet."""
        return not self.text and not self.missing


@dataclass(frozen=True)
class SignatureShown:
    """A signature with whether it still holds."""

    printed_name: str
    role: str
    at: datetime
    zone: str
    meaning: str
    valid: bool


@dataclass(frozen=True)
class FormView:
    """Everything that a page needs of a form. `form` is None while nothing was saved; `named_on` is the day
    that the form is of, where its key names it; `window` says when a planned visit should be."""

    participant: Participant
    form: Form | None
    kind: str
    key: str
    title: str
    fields: tuple[Field, ...]
    done_on: date | None
    named_on: date | None
    window: str
    version: int
    status: str
    not_done_reason: str
    needs_reason: bool
    warnings: tuple[Finding, ...]
    queries: tuple[QueryShown, ...]
    signatures: tuple[SignatureShown, ...]
    signed: bool
    content_sha256: str

    @property
    def blank(self) -> tuple[str, ...]:
        """Items that must be answered and are not."""
        return tuple(one.item for one in self.fields if one.required and one.is_blank)


def form_view(participant: Participant, kind: str, key: str, viewer: Viewer) -> FormView:
    """A form as a page shows it. Raises NotFound when there is none, NotAllowed when it would tell the arm to
    somebody who does not see it."""
    protocol = opening.folder().protocol
    if kind != SCREENING and not viewer.sees_arm(participant.site):
        raise NotAllowed("what is measured after randomisation would tell the arm")
    found = plan(protocol, participant, kind, key)
    form = Form.objects.filter(participant=participant, kind=kind, key=key).first()
    today = clock.today(participant.site.zone)
    warnings = [] if form is None else _unconfirmed(form, findings(participant, form, found, today))
    queries = _queries(participant, form)
    return FormView(
        participant=participant,
        form=form,
        kind=kind,
        key=key,
        title=found.title,
        fields=_fields(protocol, participant, form, found, warnings, queries),
        done_on=None if form is None else form.done_on,
        named_on=found.on,
        window=_window(participant, found),
        version=0 if form is None else form.version,
        status=Form.EMPTY if form is None else form.status,
        not_done_reason="" if form is None else form.not_done_reason,
        needs_reason=form is not None and form.completed_at is not None,
        warnings=tuple(one for one in warnings if not one.item),
        queries=tuple(one for one in queries if not one.item),
        signatures=() if form is None else _signatures(form, participant),
        signed=form is not None and form.signed,
        content_sha256="" if form is None else content_sha256(form, participant.number),
    )


def _unconfirmed(form: Form, found: list[Finding]) -> list[Finding]:
    """What is found and not confirmed by the site for that very value."""
    confirmed = set(
        Query.objects.filter(form=form).exclude(confirmed="").values_list("rule", "item", "confirmed")
    )
    return [one for one in found if (one.rule, one.item, one.value) not in confirmed]


def _window(participant: Participant, found: FormPlan) -> str:
    if found.visit is None:
        return ""
    days = (found.visit.day, found.visit.earliest, found.visit.latest)
    due, first, last = (_short(participant.randomized_on + timedelta(days=day)) for day in days)
    return f"due {due}" if first == last else f"due {due}, between {first} and {last}"


def _queries(participant: Participant, form: Form | None) -> tuple[QueryShown, ...]:
    if form is None:
        return ()
    found = Query.objects.filter(participant=participant, form=form).order_by("opened_at")
    return tuple(
        QueryShown(one.id, one.state, one.text, one.item, one.rule, one.opened_by, one.opened_at)
        for one in found
    )


def _signatures(form: Form, participant: Participant) -> tuple[SignatureShown, ...]:
    digest = content_sha256(form, participant.number)
    found = Signature.objects.filter(kind="form", subject=str(form.id)).order_by("at")
    return tuple(
        SignatureShown(
            one.printed_name, one.role, one.at, one.zone, one.meaning, one.content_sha256 == digest
        )
        for one in found
    )


def _fields(
    protocol: Protocol,
    participant: Participant,
    form: Form | None,
    found: FormPlan,
    warnings: list[Finding],
    queries: tuple[QueryShown, ...],
) -> tuple[Field, ...]:
    on = (form.done_on if form is not None else None) or found.on or clock.today(participant.site.zone)
    present: dict[str, Stored] = {}
    before: dict[str, Known] = {}
    for one in recorded(participant, found.asked):
        if form is not None and one.form.id == form.id:
            present[one.item] = one.stored
        elif one.on <= on and not one.missing:
            before[one.item] = one
    return tuple(
        _field(
            name, item_of(protocol, name), name in found.required, present.get(name), before.get(name),
            tuple(one for one in warnings if one.item == name),
            tuple(one for one in queries if one.item == name),
        )
        for name in found.asked
    )  # fmt: skip


def _field(
    name: str,
    item: Item,
    required: bool,
    value: Stored | None,
    before: Known | None,
    warnings: tuple[Finding, ...],
    queries: tuple[QueryShown, ...],
) -> Field:
    converted = ""
    if value is not None and value.number is not None and value.unit not in ("", item.unit):
        converted = f"{value.qualifier}{value.number:g} {item.unit}"
    return Field(
        item=name,
        label=item.label,
        type=item.type,
        required=required,
        unit=item.unit,
        preset=(value.unit if value is not None else "") or (before.unit if before else "") or item.unit,
        accepted_units=entering.accepted_units(item.unit),
        categories=tuple(item.categories or ()),
        range=item.range,
        detection_limit=item.detection_limit,
        text="" if value is None else value.text,
        reported="" if value is None else value.unit,
        qualifier="" if value is None else value.qualifier,
        number=None if value is None else value.number,
        missing="" if value is None else value.missing,
        measured_on=None if value is None else value.measured_on,
        converted=converted,
        previous=None
        if before is None
        else Previous(f"{before.text} {before.unit}".strip(), before.stored.number, before.on),
        warnings=warnings,
        queries=queries,
        verified_by="" if value is None else value.verified_by,
    )


# --- history ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One entry of the ledger about an item, in words."""

    n: int
    at: datetime
    person: str
    role: str
    participant: str
    place: str
    item: str
    label: str
    old: str
    new: str
    reason: str


def history(form: Form, item: str, row: int = 0) -> tuple[Change, ...]:
    """Everything that was ever done to one item of a form: entered, changed, cleared, compared with its
    source. The first comes first."""
    entries = Entry.objects.filter(
        subject=str(form.id), field=item, row=row, kind__in=("value", "verification")
    )
    return tuple(_change(entry) for entry in entries.order_by("n"))


def _change(entry: Entry) -> Change:
    protocol = opening.folder().protocol
    known = entry.field in protocol.items or entry.field in _BUILT_IN
    compared = entry.kind == "verification"
    old, new = entry.old, entry.new
    return Change(
        n=entry.n,
        at=entry.at,
        person=entry.person,
        role=entry.role,
        participant=entry.participant,
        place=entry.place,
        item=entry.field,
        label=item_of(protocol, entry.field).label if known else entry.field,
        old=_compared(old) if compared else in_words(old),
        new=_compared(new) if compared else in_words(new),
        reason=entry.reason,
    )


def _compared(who: str | None) -> str:
    return f"compared with the source by {who}" if who else "not compared with the source"


def changed_since(viewer: Viewer, moment: datetime, most: int = 500) -> tuple[Change, ...]:
    """What was entered or changed at the viewer's sites since a moment, the latest first: what a monitor asks
    first. What would tell the arm is left out for those who do not see it."""
    first = _first_entry_after(moment)
    sites = list(viewer.sites_of_participants().values_list("number", flat=True))
    entries = Entry.objects.filter(n__gte=first, kind="value", site__in=sites).order_by("-n")
    entries = entries.filter(viewer.in_sight("site"))
    return tuple(_change(entry) for entry in entries[:most])


def _first_entry_after(moment: datetime) -> int:
    """Number of the first entry made after a moment: the ledger stands in order of time, so that halving it
    finds the place."""
    low, high = 1, (Entry.objects.order_by("-n").values_list("n", flat=True).first() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        at = Entry.objects.filter(n__gte=middle).order_by("n").values_list("at", flat=True).first()
        if at is not None and at <= moment:
            low = middle + 1
        else:
            high = middle
    return low
