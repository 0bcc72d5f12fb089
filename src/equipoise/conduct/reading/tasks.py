"""The list of the day: for each role what waits for them, the gravest first, each line leading to the very
place. A fixed number of questions to the database, however many participants there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from django.db.models import Max

from equipoise.conduct import clock, due, duties, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.due import Coming
from equipoise.conduct.models import (
    Cycle,
    Entry,
    Flag,
    Form,
    Hold,
    Participant,
    Query,
    Signature,
    Value,
)
from equipoise.conduct.reading import forms as reading
from equipoise.conduct.reading import safety
from equipoise.protocol.quantities import days

MOST_OF_A_KIND: Final = 200
"""Most lines of one kind; a list that is longer is not a list of the day."""
AHEAD: Final = timedelta(days=7)
"""How far ahead cycles are prepared, and from when a window counts as closing."""

# In the order of their weight.
EVENT_OVERDUE, EVENT, FLAG, DECISION, INJECTIONS, CHECK = range(6)
RANDOMIZE, ELIGIBILITY, VISIT_OVERDUE, VISIT_CLOSING, VISIT, SCREENING = range(6, 12)
ENDPOINT, QUERY, AWAITED, INCOMPLETE, HOLD, SIGN, VISIT_MISSED = range(12, 19)


@dataclass(frozen=True)
class Task:
    """One line: what is to be done, for whom, by when, how grave, and the page where it is done."""

    kind: str
    words: str
    participant: str
    site: int
    due: date | None
    weight: int
    url: str
    kwargs: Mapping[str, Any]

    @property
    def urgency(self) -> str:
        """In a word: now, soon or later."""
        if self.weight <= FLAG or self.weight == VISIT_OVERDUE:
            return "now"
        return "soon" if self.weight <= VISIT_CLOSING else "later"


@dataclass(frozen=True)
class _Asked:
    """Whose list it is: the sites of some of their roles, and what day it is there."""

    viewer: Viewer
    sites: tuple[int, ...]
    today: Mapping[int, date]

    @property
    def latest(self) -> date:
        """The latest day that it is anywhere among the sites."""
        return max(self.today[site] for site in self.sites)

    @cached_property
    def coming(self) -> list[tuple[Participant, Coming]]:
        """Visits and cycles that have come due, or will within days."""
        return due.coming(self.sites, self.latest + AHEAD)

    def of(self, rows: Any, path: str = "participant") -> Any:
        """Those of the rows that belong to these sites."""
        return rows.filter(**{f"{path}__site__in": self.sites})


def tasks(viewer: Viewer, today_by_site: Mapping[int, date] | None = None) -> list[Task]:
    """Everything that waits for the viewer, by weight and then by date. `today_by_site`: site -> its date,
    by the clock when left out."""
    sites = {site.number: site for site in viewer.sites()}
    today = today_by_site or {number: clock.today(site.zone) for number, site in sites.items()}
    found: dict[tuple[str, str, str], Task] = {}
    for role, parts in _PARTS.items():
        mine = tuple(number for number, site in sites.items() if _holds(viewer, role, site))
        if not mine:
            continue
        asked = _Asked(viewer, mine, today)
        for part in parts:
            for task in part(asked):
                found.setdefault((task.url, str(sorted(task.kwargs.items())), task.kind), task)
    return sorted(
        found.values(), key=lambda one: (one.weight, one.due or date.max, one.participant, one.words)
    )


def _holds(viewer: Viewer, role: str, site: Any) -> bool:
    return any(duty.role == role for duty in viewer.at(site))


def _task(
    kind: str, words: str, person: Participant, by: date | None, weight: int, url: str, /, **kwargs: Any
) -> Task:
    kwargs = {"number": person.number, **kwargs}
    return Task(kind, words, person.number, person.site_id, by, weight, url, kwargs)


# --- screening --------------------------------------------------------------------------------------------


def _screening(asked: _Asked) -> list[Task]:
    """Those in screening: forms to complete, then eligibility to sign, then to be randomised."""
    protocol = opening.folder().protocol
    people = list(Participant.objects.filter(site__in=asked.sites, status=Participant.SCREENING))
    wanted = [visit.id for visit in protocol.visits if visit.period == reading.SCREENING]
    settled: dict[Any, set[str]] = {}
    forms = Form.objects.filter(participant__in=people, kind=reading.SCREENING)
    for person, key, status in forms.values_list("participant", "key", "status"):
        if status in (Form.COMPLETE, Form.NOT_DONE):
            settled.setdefault(person, set()).add(key)
    signed = _latest(Signature.objects.filter(kind="eligibility", participant__in=_numbers(people)), "entry")
    changed = _latest(Entry.objects.filter(participant__in=_numbers(people), kind="value"), "n")
    tasks = []
    for person in people:
        by = person.screened_on + timedelta(days=days(protocol.eligibility.within))
        left = len(set(wanted) - settled.get(person.id, set()))
        until = f"to be randomised by {_day(by)}"
        if left:
            words = f"screening: {left} of {len(wanted)} forms to complete; {until}"
            tasks.append(_task("screening", words, person, by, SCREENING, "screening"))
        elif signed.get(person.number, -1) <= changed.get(person.number, 0):
            words = f"eligibility to be signed; {until}"
            tasks.append(_task("eligibility", words, person, by, ELIGIBILITY, "screening"))
        else:
            tasks.append(_task("randomise", f"ready: {until}", person, by, RANDOMIZE, "randomise"))
    return tasks


def _numbers(people: list[Participant]) -> list[str]:
    return [person.number for person in people]


def _latest(rows: Any, name: str) -> dict[str, int]:
    grouped = rows.values("participant").annotate(latest=Max(name)).order_by()
    return {row["participant"]: row["latest"] for row in grouped}


# --- visits and cycles ------------------------------------------------------------------------------------


def _visits(asked: _Asked) -> list[Task]:
    return [
        _visit(person, one, asked.today[person.site_id])
        for person, one in asked.coming
        if one.kind == due.VISIT and one.opens <= asked.today[person.site_id]
    ]


def _visit(person: Participant, one: Coming, today: date) -> Task:
    closes = one.closes or one.due
    if one.passes is not None and one.passes <= today:
        words, weight = f"{one.words} was missed: enter it late, or say why it was not done", VISIT_MISSED
    elif closes < today:
        words, weight = f"{one.words} is overdue since {_day(closes)}", VISIT_OVERDUE
    elif closes - today <= AHEAD:
        words, weight = f"{one.words}: window closes on {_day(closes)}", VISIT_CLOSING
    else:
        words, weight = f"{one.words}: window open until {_day(closes)}", VISIT
    return _task("visit", words, person, one.due, weight, "form", kind=reading.VISIT, key=one.key)


def _cycles(asked: _Asked) -> list[tuple[Participant, Coming]]:
    return [
        (person, one)
        for person, one in asked.coming
        if one.kind == due.CYCLE and one.due - asked.today[person.site_id] <= AHEAD
    ]


def _decisions(asked: _Asked) -> list[Task]:
    return [
        _task(
            "decision", f"{one.words} ({_day(one.due)})", person, one.due, DECISION, "decide", regimen=one.key
        )
        for person, one in _cycles(asked)
    ]  # fmt: skip


def _checks(asked: _Asked) -> list[Task]:
    """Checks before a cycle that is due and has none of the last days."""
    cycles = _cycles(asked)
    recent = Form.objects.filter(
        kind=reading.CHECK, participant__in={person.id for person, _ in cycles},
        done_on__gte=asked.latest - AHEAD,
    ).values_list("participant", "key")  # fmt: skip
    made = {(person, key.partition(":")[0]) for person, key in recent}
    tasks = []
    for person, one in cycles:
        if (person.id, one.key) in made:
            continue
        key = f"{one.key}:{asked.today[person.site_id].isoformat()}"
        words = f"check before a cycle, due {_day(one.due)}"
        tasks.append(_task("check", words, person, one.due, CHECK, "form", kind=reading.CHECK, key=key))
    return tasks


def _injections(asked: _Asked) -> list[Task]:
    rows = asked.of(Cycle.objects.filter(completed_at=None, on__lte=asked.latest))
    return [
        _task(
            "injections", f"cycle {row.number} of {_day(row.on)}: injections to record", row.participant,
            row.on, INJECTIONS, "injections", regimen=row.regimen, cycle=row.number,
        )
        for row in rows.select_related("participant").order_by("on")[:MOST_OF_A_KIND]
    ]  # fmt: skip


def _flags(asked: _Asked) -> list[Task]:
    rows = asked.of(Flag.objects.filter(settled=""), "decision__participant")
    return [
        _task(
            "flag", f"decision of {_day(row.decision.on)} rested on what was corrected: {row.what}",
            row.decision.participant, row.at.date(), FLAG, "decide", regimen=row.decision.regimen,
        )
        for row in rows.select_related("decision__participant").order_by("at")[:MOST_OF_A_KIND]
    ]  # fmt: skip


def _holds_open(asked: _Asked) -> list[Task]:
    rows = asked.of(Hold.objects.filter(until=None))
    return [
        _task("hold", f"hold since {_day(row.since)}: {row.reason or row.hold}", row.participant, row.since,
              HOLD, "chart")
        for row in rows.select_related("participant").order_by("since")[:MOST_OF_A_KIND]
    ]  # fmt: skip


# --- data -------------------------------------------------------------------------------------------------


def _incomplete(asked: _Asked) -> list[Task]:
    rows = asked.of(Form.objects.filter(signed=False, status=Form.INCOMPLETE).exclude(kind=reading.SCREENING))
    return [
        _task("incomplete", f"{_named(row)}: not complete", row.participant, row.done_on, INCOMPLETE, "form",
              kind=row.kind, key=row.key)
        for row in rows.select_related("participant").order_by("done_on")[:MOST_OF_A_KIND]
    ]  # fmt: skip


def _unsigned(asked: _Asked) -> list[Task]:
    """One line for each participant with forms to sign, leading to the first of them."""
    settled = (Form.COMPLETE, Form.NOT_DONE)
    rows = asked.of(Form.objects.filter(signed=False, status__in=settled))
    rows = rows.select_related("participant").order_by("completed_at")[:MOST_OF_A_KIND]
    grouped: dict[str, list[Form]] = {}
    for row in rows:
        grouped.setdefault(row.participant.number, []).append(row)
    tasks = []
    for forms in grouped.values():
        first = forms[0]
        words = f"{_named(first)}: to be signed"
        if len(forms) > 1:
            words += f", and {len(forms) - 1} more"
        tasks.append(
            _task(
                "sign", words, first.participant, first.done_on, SIGN, "form", kind=first.kind, key=first.key
            )
        )
    return tasks


def _named(form: Form) -> str:
    on = "" if form.done_on is None else f" of {_day(form.done_on)}"
    return {
        reading.SCREENING: f"screening form{on}",
        reading.VISIT: f"visit{on}",
        reading.CHECK: f"check before a cycle{on}",
        reading.UPDATE: f"form between visits{on}",
    }[form.kind]


def _awaited(asked: _Asked) -> list[Task]:
    protocol = opening.folder().protocol
    rows = asked.of(Value.objects.filter(missing="awaited"), "form__participant")
    rows = rows.select_related("form__participant").order_by("form__done_on")[:MOST_OF_A_KIND]
    return [
        _task(
            "awaited", f"{reading.item_of(protocol, row.item).label}: result awaited", row.form.participant,
            row.form.done_on, AWAITED, "form", kind=row.form.kind, key=row.form.key,
        )
        for row in rows
    ]  # fmt: skip


def _queries(asked: _Asked, state: str, words: str) -> list[Task]:
    rows = asked.of(Query.objects.filter(state=state)).select_related("participant")
    rows = rows.filter(asked.viewer.in_sight("participant__site"))
    tasks = []
    for row in rows.order_by("opened_at")[:MOST_OF_A_KIND]:
        endpoint = row.rule == "endpoint"
        said = row.text if endpoint else f"query {words}: {row.text}"
        tasks.append(
            _task(
                "endpoint" if endpoint else "query", said, row.participant, row.opened_at.date(),
                ENDPOINT if endpoint else QUERY, "query", query=row.id,
            )
        )  # fmt: skip
    return tasks


def _to_answer(asked: _Asked) -> list[Task]:
    return _queries(asked, Query.OPEN, "to answer")


def _to_close(asked: _Asked) -> list[Task]:
    return _queries(asked, Query.ANSWERED, "answered, to close")


def _events(asked: _Asked) -> list[Task]:
    """Serious events whose report is still to be completed."""
    people = Participant.objects.filter(site__in=asked.sites)
    tasks = []
    for view in safety.unreported(people, asked.viewer):
        if view.deadline is None:
            continue
        overdue = view.deadline.state == safety.OVERDUE
        tasks.append(
            Task(
                "event", f"serious event, {view.latest.term}: {view.deadline.words}", view.participant,
                view.site, view.deadline.due.date(), EVENT_OVERDUE if overdue else EVENT,
                "event", {"number": view.participant, "event": view.number},
            )
        )  # fmt: skip
    return tasks


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


_PARTS: Final[dict[str, tuple[Callable[[_Asked], list[Task]], ...]]] = {
    duties.COORDINATOR: (
        _events, _screening, _visits, _checks, _injections, _to_answer, _awaited, _incomplete,
    ),
    duties.INVESTIGATOR: (_events, _flags, _decisions, _screening, _to_answer, _holds_open, _unsigned),
    duties.PHARMACIST: (_decisions, _injections),
    duties.MONITOR: (_events, _to_close),
    duties.MANAGER: (_events, _to_close),
}  # fmt: skip
"""What each role is told; the others have no work of their own in the record of participants."""
