"""The list of participants: who is where, what is due next, what is overdue. Filters narrow it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from equipoise.conduct import opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.models import Form, Hold, Participant, Query
from equipoise.conduct.reading.overview import (
    DONE,
    Person,
    key_of,
    overdue,
    people,
    shared_forms,
    shared_visits,
)

AHEAD_DAYS = 400
"""How far the next visit is looked for."""
STATUSES = (
    Participant.SCREENING, Participant.FAILED, "ever randomised", Participant.RANDOMIZED, Participant.ENDED,
    "completed", "died", "withdrew", "lost to follow-up",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What the list is narrowed to; what is empty narrows nothing."""

    q: str = ""
    site: str = ""
    status: str = ""
    stratum: str = ""
    level: str = ""
    event: str = ""
    overdue: str = ""
    queries: str = ""
    visit: str = ""
    """Key of a visit whose form is overdue."""

    @property
    def anything(self) -> bool:
        """Whether it narrows the list."""
        return any(vars(self).values())


@dataclass(frozen=True)
class Line:
    """One participant of the list."""

    participant: Participant
    day: int | None
    """Days since randomisation."""
    next_name: str
    next_on: date | None
    next_open: bool
    overdue: int
    queries: int
    held: bool


def chosen(viewer: Viewer, wanted: Wanted) -> QuerySet[Participant]:
    """The participants of the viewer that the filter leaves, in order of number."""
    found = viewer.participants().order_by("number")
    if wanted.q:
        found = found.filter(Q(number__icontains=wanted.q) | Q(randomized_number=_number(wanted.q)))
    if wanted.site:
        found = found.filter(site_id=_number(wanted.site))
    if wanted.status == "ever randomised":
        found = found.filter(randomized_on__isnull=False)
    elif wanted.status in STATUSES[:5]:
        found = found.filter(status=wanted.status)
    elif wanted.status:
        found = found.filter(status=Participant.ENDED, ended_how=wanted.status)
    if wanted.stratum in opening.folder().protocol.strata:
        found = found.filter(**{f"strata__{wanted.stratum}": wanted.level})
    if wanted.event:
        found = found.filter(events__kind=wanted.event, events__removed="").distinct()
    if wanted.queries:
        shown = Q() if viewer.sees_arm() else Q(reveals_arm=False)
        waiting = Query.objects.filter(shown, state__in=(Query.OPEN, Query.ANSWERED))
        found = found.filter(pk__in=waiting.values("participant"))
    if wanted.overdue or wanted.visit:
        found = found.filter(pk__in=_behind(found, wanted.visit))
    return found


def _behind(found: QuerySet[Participant], visit: str) -> list[Any]:
    everybody = people(found)
    behind = overdue(everybody)
    if not visit:
        return list(behind)
    there = [one for one in everybody if one.id in behind]
    until = max((one.until for one in there), default=0)
    planned = next((one for one in shared_visits(until) if key_of(one) == visit), None)
    if planned is None:
        return []
    done = set(
        shared_forms()
        .filter(key=visit, status__in=DONE, participant__in=found.order_by())
        .values_list("participant_id", flat=True)
    )
    return [one.id for one in there if one.until > planned.latest and one.id not in done]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else -1


def lines(participants: list[Participant], sees_arm: bool) -> list[Line]:
    """The lines of one page of the list."""
    ids = [one.pk for one in participants]
    persons = {one.id: one for one in people(Participant.objects.filter(pk__in=ids))}
    behind = overdue(list(persons.values()), narrowed=True)
    done: dict[Any, set[str]] = {}
    for participant, key in Form.objects.filter(
        participant__in=ids, kind="visit", status__in=DONE
    ).values_list("participant_id", "key"):
        done.setdefault(participant, set()).add(key)
    queries = dict(
        Query.objects.filter(participant__in=ids, state__in=(Query.OPEN, Query.ANSWERED))
        .filter(Q() if sees_arm else Q(reveals_arm=False))
        .order_by()
        .values_list("participant")
        .annotate(n=Count("id"))
        .values_list("participant", "n")
    )
    held: set[Any] = set()
    if sees_arm:
        held = set(
            Hold.objects.filter(participant__in=ids, until__isnull=True).values_list(
                "participant_id", flat=True
            )
        )
    return [
        _line(
            one,
            persons[one.pk],
            done.get(one.pk, set()),
            behind[one.pk],
            queries.get(one.pk, 0),
            one.pk in held,
        )
        for one in participants
    ]


def _line(
    participant: Participant, person: Person, done: set[str], behind: int, queries: int, held: bool
) -> Line:
    day, name, due, open_now = None, "", None, False
    if person.randomized_on is not None:
        day = (person.today - person.randomized_on).days
        if participant.status == Participant.RANDOMIZED:
            for visit in shared_visits(day + AHEAD_DAYS):
                if visit.latest >= day and key_of(visit) not in done:
                    name, due = visit.name, person.randomized_on + timedelta(days=visit.day)
                    open_now = visit.earliest <= day
                    break
    return Line(participant, day, name, due, open_now, behind, queries, held)
