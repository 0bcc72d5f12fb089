"""The list of participants: who is where, what is due next, what is overdue. Filters narrow it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, Q, QuerySet

from equipoise.conduct import clock, due, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.due import Coming
from equipoise.conduct.models import Due, Hold, Participant, Query
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
        found = found.filter(events__kind=wanted.event, events__removed="").distinct()
    if wanted.queries:
        shown = Q() if viewer.sees_arm() else Q(reveals_arm=False)
        waiting = Query.objects.filter(shown, state__in=(Query.OPEN, Query.ANSWERED))
        found = found.filter(pk__in=waiting.values("participant"))
    if wanted.overdue or wanted.visit:
        late = behind().filter(key=wanted.visit) if wanted.visit else behind()
        found = found.filter(pk__in=late.values("participant"))
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else -1


def lines(participants: list[Participant], sees_arm: bool) -> list[Line]:
    """The lines of one page of the list."""
    ids = [one.pk for one in participants]
    shown = Q() if sees_arm else Q(reveals_arm=False)
    before_them = due.ahead(participants, sees_arm=sees_arm)
    queries = _counted(
        Query.objects.filter(shown, participant__in=ids, state__in=(Query.OPEN, Query.ANSWERED)).order_by()
    )
    held: set[Any] = set()
    if sees_arm:
        open_holds = Hold.objects.filter(participant__in=ids, until__isnull=True)
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
