"""The schedule of one participant: every visit with its window and where it stands, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from equipoise.conduct import opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.due import HORIZON_DAYS
from equipoise.conduct.models import Form, Participant, Value
from equipoise.conduct.reading import forms as reading
from equipoise.protocol.model import Protocol
from equipoise.rules import schedule as rules
from equipoise.rules.schedule import PlannedVisit

NOT_DONE: Final = "not done"
MISSED: Final = "missed"
COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
TO_COME: Final = rules.TO_COME
OPEN: Final = rules.OPEN
OVERDUE: Final = rules.OVERDUE
DONE: Final = {
    rules.IN_WINDOW: "done in window",
    rules.EARLY: "done early",
    rules.LATE: "done late",
}
WAITING: Final = (TO_COME, OPEN, OVERDUE)
"""States of a visit that somebody may still attend."""


@dataclass(frozen=True)
class DueVisit:
    """One visit of one participant. Screening visits have no planned day: they come before randomisation.
    `missing` names what is asked and not answered, of a form that was begun or of screening."""

    kind: str
    key: str
    visit: str
    name: str
    label: str
    planned: date | None
    earliest: date | None
    latest: date | None
    state: str
    done_on: date | None
    form: UUID | None
    status: str
    signed: bool
    missing: tuple[str, ...]
    reveals_arm: bool

    @property
    def waits(self) -> bool:
        """Whether it may still take place."""
        return self.state in WAITING or self.state == INCOMPLETE


def planned(participant: Participant, today: date, viewer: Viewer | None = None) -> list[DueVisit]:
    """The visits of a participant in order: screening, then the schedule of the arm up to somewhat beyond
    today or to the end of follow-up. Who does not see the arm sees the visits that all arms have."""
    protocol = opening.folder().protocol
    forms = {(form.kind, form.key): form for form in Form.objects.filter(participant=participant)}
    answered = _answered(participant)
    found = [
        _screening_visit(protocol, participant, line.id, forms, answered)
        for line in protocol.visits
        if line.period == reading.SCREENING
    ]
    if participant.randomized_on is None:
        return found
    lines = {line.id: line for line in protocol.visits}
    sees = viewer is None or viewer.sees_arm(participant.site)
    every = visits_of(protocol, participant, today, sees_arm=sees)
    day = (today - participant.randomized_on).days
    for visit in every:
        form = forms.get((reading.VISIT, reading.visit_key(visit)))
        names = tuple(one for one in visit.collect if reading.is_measured_at_visits(protocol, one))
        found.append(
            DueVisit(
                kind=reading.VISIT,
                key=reading.visit_key(visit),
                visit=visit.id,
                name=visit.name,
                label=lines[visit.id].label,
                planned=participant.randomized_on + timedelta(days=visit.day),
                earliest=participant.randomized_on + timedelta(days=visit.earliest),
                latest=participant.randomized_on + timedelta(days=visit.latest),
                state=_state(participant, every, visit, form, day),
                done_on=None if form is None else form.done_on,
                form=None if form is None else form.id,
                status=Form.EMPTY if form is None else form.status,
                signed=form is not None and form.signed,
                missing=() if form is None else _missing(protocol, form, names, answered),
                reveals_arm=lines[visit.id].arms is not None,
            )
        )
    return found


def visits_of(
    protocol: Protocol, participant: Participant, today: date, *, sees_arm: bool
) -> tuple[PlannedVisit, ...]:
    """The planned visits from randomisation on, up to somewhat beyond today or to the end of follow-up."""
    until = (today - participant.randomized_on).days + HORIZON_DAYS
    if participant.ended_on is not None:
        until = (participant.ended_on - participant.randomized_on).days
    if sees_arm:
        found = reading.planned_visits(protocol, participant, until)
    else:
        common = [line for line in protocol.visits if line.arms is None]
        found = tuple(
            one for line in common for one in reading.planned_visits(protocol, participant, until, line)
        )
    return tuple(sorted((one for one in found if one.day >= 0), key=lambda one: one.day))


def _state(
    participant: Participant,
    every: tuple[PlannedVisit, ...],
    visit: PlannedVisit,
    form: Form | None,
    day: int,
) -> str:
    if form is not None and form.status == Form.NOT_DONE:
        return NOT_DONE
    if form is not None and form.done_on is not None:
        attended = (form.done_on - participant.randomized_on).days
        return DONE[rules.window_state(visit, attended, day)]
    if participant.ended_on is not None or rules.is_missed(every, visit, day):
        return MISSED
    return rules.window_state(visit, None, day)


def _answered(participant: Participant) -> dict[UUID, set[str]]:
    """The items that are answered on each form."""
    answered: dict[UUID, set[str]] = {}
    rows = Value.objects.filter(form__participant=participant).values_list("form_id", "item")
    for form, item in rows:
        answered.setdefault(form, set()).add(item)
    return answered


def _missing(
    protocol: Protocol, form: Form, names: tuple[str, ...], answered: dict[UUID, set[str]]
) -> tuple[str, ...]:
    if form.status == Form.NOT_DONE:
        return ()
    return tuple(
        reading.item_of(protocol, name).label for name in names if name not in answered.get(form.id, set())
    )


def _screening_visit(
    protocol: Protocol,
    participant: Participant,
    name: str,
    forms: dict[tuple[str, str], Form],
    answered: dict[UUID, set[str]],
) -> DueVisit:
    plan = reading.plan(protocol, participant, reading.SCREENING, name)
    form = forms.get((reading.SCREENING, name))
    if form is None:
        missing = tuple(reading.item_of(protocol, item).label for item in plan.asked)
    else:
        missing = _missing(protocol, form, plan.asked, answered)
    states = {Form.COMPLETE: COMPLETE, Form.NOT_DONE: NOT_DONE, Form.INCOMPLETE: INCOMPLETE}
    return DueVisit(
        kind=reading.SCREENING,
        key=name,
        visit=name,
        name=plan.title,
        label=plan.title,
        planned=None,
        earliest=None,
        latest=None,
        state=TO_COME if form is None else states.get(form.status, INCOMPLETE),
        done_on=None if form is None else form.done_on,
        form=None if form is None else form.id,
        status=Form.EMPTY if form is None else form.status,
        signed=form is not None and form.signed,
        missing=missing,
        reveals_arm=False,
    )


def next_due(visits: list[DueVisit]) -> DueVisit | None:
    """The visit that comes next: the first that may still take place."""
    return next((one for one in visits if one.state in WAITING), None)


@dataclass(frozen=True)
class OtherForm:
    """A form outside the schedule: a check before a cycle, or what happened between visits."""

    kind: str
    key: str
    title: str
    done_on: date | None
    form: UUID
    status: str
    signed: bool


def other_forms(participant: Participant, viewer: Viewer) -> list[OtherForm]:
    """The forms outside the schedule that were begun, in order of their day; none for who does not see the
    arm."""
    if not viewer.sees_arm(participant.site):
        return []
    protocol = opening.folder().protocol
    kinds = (reading.CHECK, reading.UPDATE)
    found = Form.objects.filter(participant=participant, kind__in=kinds).order_by("done_on", "kind", "key")
    return [
        OtherForm(
            one.kind, one.key, reading.plan(protocol, participant, one.kind, one.key).title, one.done_on,
            one.id, one.status, one.signed,
        )
        for one in found
    ]  # fmt: skip


def new_update_key(participant: Participant, on: date) -> str:
    """The key of a further form for what happened between visits on a day."""
    taken = Form.objects.filter(
        participant=participant, kind=reading.UPDATE, key__startswith=f"{on.isoformat()}:"
    ).count()
    return f"{on.isoformat()}:{taken + 1}"
