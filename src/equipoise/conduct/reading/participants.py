"""The list of participants: who is where, what is due next, what is overdue. Filters narrow it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, Q, QuerySet

from equipoise.conduct import clock, due, entering, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.due import Coming
from equipoise.conduct.models import Due, Event, Hold, Participant, Query
from equipoise.conduct.reading import safety
from equipoise.conduct.reading.overview import behind

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
        had = Event.objects.filter(safety.in_sight(viewer), kind=wanted.event, removed="")
        found = found.filter(pk__in=had.values("participant"))
    if wanted.queries:
        waiting = Query.objects.filter(
            viewer.in_sight("participant__site"), state__in=(Query.OPEN, Query.ANSWERED)
        )
        found = found.filter(pk__in=waiting.values("participant"))
    if wanted.overdue or wanted.visit:
        late = behind().filter(key=wanted.visit) if wanted.visit else behind()
        found = found.filter(pk__in=late.values("participant"))
    return found


def _number(text: str) -> int:
    number = entering.read_whole(text)
    return -1 if number is None else number


def lines(participants: list[Participant], viewer: Viewer) -> list[Line]:
    """The lines of one page of the list."""
    ids = [one.pk for one in participants]
    before_them = due.ahead(participants, viewer)
    waiting = Query.objects.filter(participant__in=ids, state__in=(Query.OPEN, Query.ANSWERED))
    queries = _counted(waiting.filter(viewer.in_sight("participant__site")).order_by())
    treated = [one.pk for one in participants if viewer.sees_arm_at(one.site_id)]
    open_holds = Hold.objects.filter(participant__in=treated, until__isnull=True)
    held = set(open_holds.values_list("participant_id", flat=True))
    return [
        _line(one, before_them.get(one.pk, []), queries.get(one.pk, 0), one.pk in held)
        for one in participants
    ]


def _counted(rows: QuerySet[Any]) -> dict[Any, int]:
    counted = rows.values_list("participant").annotate(n=Count("id"))
    return dict(counted.values_list("participant", "n"))


def _line(participant: Participant, before_them: list[Coming], queries: int, held: bool) -> Line:
    today = clock.today(participant.site.zone)
    start = participant.randomized_on
    visits = [one for one in before_them if one.kind == Due.VISIT and one.closes is not None]
    following = next((one for one in visits if one.closes is not None and one.closes >= today), None)
    return Line(
        participant=participant,
        day=None if start is None else (today - start).days,
        next_name="" if following is None else following.words,
        next_on=None if following is None else following.due,
        next_open=following is not None and following.opens <= today,
        overdue=sum(one.closes is not None and one.closes < today for one in visits),
        queries=queries,
        held=held,
    )
