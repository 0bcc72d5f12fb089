"""The list of the day: for each role what waits for them, the gravest first, each line leading to the very
place. A fixed number of questions to the database, however many participants there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Final

from equipoise.conduct import clock, due, duties, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.due import Coming, Someone
from equipoise.conduct.entering import short
from equipoise.conduct.models import (
    Cycle,
    Flag,
    Form,
    Hold,
    Participant,
    Query,
    Value,
)
from equipoise.conduct.reading import forms as reading
from equipoise.conduct.reading import safety
from equipoise.conduct.reading.eligibility import Screening, screenings

MOST_OF_A_KIND: Final = 200
"""Most lines of one kind, assumed: a list that is longer is not a list of the day."""
AHEAD: Final = timedelta(days=7)
"""How far ahead cycles are prepared, and from when a window counts as closing or a result as ageing: assumed,
a week's work."""

# In the order of their weight.
EVENT_OVERDUE, EVENT, FLAG, DECISION, INJECTIONS, CHECK = range(6)
RANDOMIZE, EXPIRING, ELIGIBILITY, VISIT_OVERDUE, VISIT_CLOSING, VISIT, SCREENING = range(6, 13)
ENDPOINT, QUERY, AWAITED, INCOMPLETE, HOLD, SIGN, VISIT_MISSED = range(13, 20)


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
    def coming(self) -> list[tuple[Someone, Coming]]:
        """Visits and cycles that have come due, or will within days."""
        return due.coming(self.sites, self.latest + AHEAD)

    def of(self, rows: Any, path: str, *fields: str) -> Iterator[list[Any]]:
        """The first of those rows that belong to these sites: whose each is, and some of its fields. `path`
        leads from a row to its participant."""
        read = rows.filter(**{f"{path}__site__in": self.sites})
        for key, number, site, *values in read.values_list(path, f"{path}__number", f"{path}__site", *fields)[
            :MOST_OF_A_KIND
        ]:
            yield [Someone(key, number, site), *values]


def tasks(viewer: Viewer, today_by_site: Mapping[int, date] | None = None) -> list[Task]:
    """Everything that waits for the viewer, by weight and then by date. `today_by_site`: site -> its date,
    by the clock when left out."""
    sites = {site.number: site for site in viewer.all_sites}
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
    kind: str,
    words: str,
    person: Participant | Someone,
    by: date | None,
    weight: int,
    url: str,
    /,
    **kwargs: Any,
) -> Task:
    kwargs = {"number": person.number, **kwargs}
    return Task(kind, words, person.number, person.site_id, by, weight, url, kwargs)


# --- screening --------------------------------------------------------------------------------------------


def _screening(asked: _Asked) -> list[Task]:
    """Those in screening: who is not eligible; of the others forms to complete, results that are too old or
    soon will be, then eligibility to sign, then to be randomised."""
    people = Participant.objects.filter(site__in=asked.sites, status=Participant.SCREENING)
    wanted = {
        visit.id for visit in opening.folder().protocol.visits if visit.period == reading.SCREENING
    }  # fmt: skip
    settled: dict[Any, set[str]] = {}
    forms = Form.objects.filter(participant__in=people, kind=reading.SCREENING)
    for person, key, status in forms.values_list("participant", "key", "status"):
        if status in (Form.COMPLETE, Form.NOT_DONE):
            settled.setdefault(person, set()).add(key)
    tasks = []
    assessed = screenings(list(people.select_related("site")), lambda person: asked.today[person.site_id])
    for found in assessed:
        if found.eligible == "no":
            failed = ", ".join(one.id for one in found.criteria if one.met == "no")
            words = f"not eligible ({failed}): screen failure to be recorded"
            tasks.append(_task("eligibility", words, found.participant, found.by, ELIGIBILITY, "screening"))
            continue
        tasks.extend(_ageing(found))
        left = len(wanted - settled.get(found.participant.id, set()))
        if left:
            words = f"screening: {left} of {len(wanted)} forms to complete; {_until(found)}"
            tasks.append(_task("screening", words, found.participant, found.by, SCREENING, "screening"))
        else:
            tasks.extend(_completed(found))
    return tasks


def _until(found: Screening) -> str:
    return f"to be randomised by {short(found.by)}"


def _ageing(found: Screening) -> list[Task]:
    """What has to be measured again, else what soon will have to be."""
    if found.aged:
        names = ", ".join(one.label for one in found.aged)
        words = f"too old or undated, to be measured again: {names}"
        return [_task("expiring", words, found.participant, found.on, EXPIRING, "screening")]
    near = found.ageing(AHEAD)
    if not near:
        return []
    named = ", ".join(f"{one.label} until {short(one.valid_until)}" for one in near if one.valid_until)
    words = f"counts no longer soon, randomise first or measure again: {named}"
    return [_task("expiring", words, found.participant, found.by, EXPIRING, "screening")]


def _completed(found: Screening) -> list[Task]:
    """What is to be done with whoever has all forms, and may be eligible."""
    person = found.participant
    if found.aged:
        return []
    if found.eligible == "unknown":
        unknown = ", ".join(one.id for one in found.criteria if one.met == "unknown")
        words = f"eligibility not known ({unknown}); {_until(found)}"
        return [_task("eligibility", words, person, found.by, ELIGIBILITY, "screening")]
    if not found.signed:
        words = f"eligibility to be signed; {_until(found)}"
        return [_task("eligibility", words, person, found.by, ELIGIBILITY, "screening")]
    if found.stands_in_way:
        words = f"signed, but {'; '.join(found.stands_in_way)}"
        return [_task("randomise", words, person, found.by, RANDOMIZE, "randomise")]
    return [_task("randomise", f"ready: {_until(found)}", person, found.by, RANDOMIZE, "randomise")]


# --- visits and cycles ------------------------------------------------------------------------------------


def _visits(asked: _Asked) -> list[Task]:
    return [
        _visit(person, one, asked.today[person.site_id])
        for person, one in asked.coming
        if one.kind == due.VISIT and one.opens <= asked.today[person.site_id]
    ]


def _visit(person: Someone, one: Coming, today: date) -> Task:
    closes = one.closes or one.due
    if one.passes is not None and one.passes <= today:
        words, weight = f"{one.words} was missed: enter it late, or say why it was not done", VISIT_MISSED
    elif closes < today:
        words, weight = f"{one.words} is overdue since {short(closes)}", VISIT_OVERDUE
    elif closes - today <= AHEAD:
        words, weight = f"{one.words}: window closes on {short(closes)}", VISIT_CLOSING
    else:
        words, weight = f"{one.words}: window open until {short(closes)}", VISIT
    return _task("visit", words, person, one.due, weight, "form", kind=reading.VISIT, key=one.key)


def _cycles(asked: _Asked) -> list[tuple[Someone, Coming]]:
    return [
        (person, one)
        for person, one in asked.coming
        if one.kind == due.CYCLE and one.due - asked.today[person.site_id] <= AHEAD
    ]


def _decisions(asked: _Asked) -> list[Task]:
    return [
        _task(
            "decision", f"{one.words} ({short(one.due)})", person, one.due, DECISION, "decide",
            regimen=one.key,
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
        words = f"check before a cycle, due {short(one.due)}"
        tasks.append(_task("check", words, person, one.due, CHECK, "form", kind=reading.CHECK, key=key))
    return tasks


def _injections(asked: _Asked) -> list[Task]:
    open_ones = Cycle.objects.filter(completed_at=None, on__lte=asked.latest).order_by("on")
    return [
        _task(
            "injections", f"cycle {number} of {short(on)}: injections to record", person,
            on, INJECTIONS, "injections", regimen=regimen, cycle=number,
        )
        for person, regimen, number, on in asked.of(open_ones, "participant", "regimen", "number", "on")
    ]  # fmt: skip


def _flags(asked: _Asked) -> list[Task]:
    rows = asked.of(
        Flag.objects.filter(settled="").order_by("at"), "decision__participant", "what", "at",
        "decision__on", "decision__regimen",
    )  # fmt: skip
    return [
        _task(
            "flag", f"decision of {short(on)} rested on what was corrected: {what}",
            person, at.date(), FLAG, "decide", regimen=regimen,
        )
        for person, what, at, on, regimen in rows
    ]  # fmt: skip


def _holds_open(asked: _Asked) -> list[Task]:
    rows = Hold.objects.filter(until=None).order_by("since")
    return [
        _task("hold", f"hold since {short(since)}: {reason or hold}", person, since, HOLD, "chart")
        for person, hold, since, reason in asked.of(rows, "participant", "hold", "since", "reason")
    ]  # fmt: skip


# --- data -------------------------------------------------------------------------------------------------


_OF_FORMS: Final = ("kind", "key", "done_on")


def _incomplete(asked: _Asked) -> list[Task]:
    rows = Form.objects.filter(signed=False, status=Form.INCOMPLETE).exclude(kind=reading.SCREENING)
    return [
        _task("incomplete", f"{_named(kind, on)}: not complete", person, on, INCOMPLETE, "form",
              kind=kind, key=key)
        for person, kind, key, on in asked.of(rows.order_by("done_on"), "participant", *_OF_FORMS)
    ]  # fmt: skip


def _unsigned(asked: _Asked) -> list[Task]:
    """One line for each participant with forms to sign, leading to the first of them."""
    settled = (Form.COMPLETE, Form.NOT_DONE)
    rows = Form.objects.filter(signed=False, status__in=settled).order_by("completed_at")
    grouped: dict[Someone, list[list[Any]]] = {}
    for person, *form in asked.of(rows, "participant", *_OF_FORMS):
        grouped.setdefault(person, []).append(form)
    tasks = []
    for person, forms in grouped.items():
        kind, key, on = forms[0]
        words = f"{_named(kind, on)}: to be signed"
        if len(forms) > 1:
            words += f", and {len(forms) - 1} more"
        tasks.append(_task("sign", words, person, on, SIGN, "form", kind=kind, key=key))
    return tasks


_FORMS: Final = {
    reading.SCREENING: "screening form", reading.VISIT: "visit", reading.CHECK: "check before a cycle",
    reading.UPDATE: "form between visits",
}  # fmt: skip


def _named(kind: str, done_on: date | None) -> str:
    return _FORMS[kind] if done_on is None else f"{_FORMS[kind]} of {short(done_on)}"


def _awaited(asked: _Asked) -> list[Task]:
    protocol = opening.folder().protocol
    rows = asked.of(
        Value.objects.filter(missing="awaited").order_by("form__done_on"), "form__participant", "item",
        *(f"form__{name}" for name in _OF_FORMS),
    )  # fmt: skip
    return [
        _task(
            "awaited", f"{reading.item_of(protocol, item).label}: result awaited", person, on, AWAITED,
            "form", kind=kind, key=key,
        )
        for person, item, kind, key, on in rows
    ]  # fmt: skip


def _queries(asked: _Asked, state: str, words: str) -> list[Task]:
    rows = Query.objects.filter(asked.viewer.in_sight("participant__site"), state=state)
    tasks = []
    rows = rows.order_by("opened_at")
    for person, query, rule, text, opened in asked.of(rows, "participant", "id", "rule", "text", "opened_at"):
        endpoint = rule == "endpoint"
        said = text if endpoint else f"query {words}: {text}"
        tasks.append(
            _task(
                "endpoint" if endpoint else "query", said, person, opened.date(),
                ENDPOINT if endpoint else QUERY, "query", query=query,
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
