"""The trial at a glance, from few questions to the database: enrolment against plan, visits, lag of entry,
queries, events, and (for who may see them) cycles.

Everything is counted over the sites of the viewer, and pooled over arms. A blinded viewer gets only tables
that cannot tell the arm: visits that every arm has, events of kinds that every arm has, no cycle and no dose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from django.db.models import Count, Q, QuerySet

from equipoise.conduct import clock, due, entering, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.models import Cycle, Due, Event, Form, Injection, Participant, Query, Site
from equipoise.conduct.reading import safety
from equipoise.protocol.model import Protocol
from equipoise.rules.schedule import visits

SOON_DAYS = 28
"""Cycles to decide on are counted so many days ahead."""
LAG_OVER_DAYS = 90
"""The lag of entry is that of visits in this many days."""
DAYS_OF_AGE = (7, 30, 90)
"""Ages of queries are counted up to these."""


# --- who is where -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """What the overview needs of a participant."""

    site: int
    status: str
    screened_on: date
    randomized_on: date | None
    ended_how: str
    strata: dict[str, str]


def people(participants: QuerySet[Participant]) -> list[Person]:
    """Everybody, with what the overview needs."""
    rows = participants.order_by().values_list(
        "site_id", "status", "screened_on", "randomized_on", "ended_how", "strata"
    )
    return [Person(*row) for row in rows]


def behind() -> QuerySet[Due]:
    """Visits that every arm has, whose window is past and of which nothing is known. What day it is is asked
    of each time zone."""
    zones: dict[date, list[str]] = {}
    for zone in Site.objects.order_by().values_list("zone", flat=True).distinct():
        zones.setdefault(clock.today(zone), []).append(zone)
    past = Q(pk__in=[])
    for today, names in zones.items():
        past |= Q(closes__lt=today, participant__site__zone__in=names)
    return Due.objects.filter(past, kind=Due.VISIT, reveals_arm=False).order_by()


def of_every_arm(protocol: Protocol, visit: str) -> bool:
    """Whether every arm has this visit: only then may a blinded viewer hear of it."""
    found = next((one for one in protocol.visits if one.id == visit), None)
    return found is not None and (found.arms is None or set(found.arms) >= set(protocol.arms))


def shared_forms() -> QuerySet[Form]:
    """The visit forms that every arm has."""
    protocol = opening.folder().protocol
    forms = Form.objects.filter(kind="visit").order_by()
    if all(of_every_arm(protocol, visit.id) for visit in protocol.visits):
        return forms
    wanted = Q(pk__in=[])
    for visit in protocol.visits:
        if of_every_arm(protocol, visit.id):
            wanted |= Q(key__startswith=f"{visit.id}:")
    return forms.filter(wanted)


# --- the overview -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A number with its words; `query` opens its list of participants."""

    words: str
    number: int
    query: str = ""
    of: str = ""


@dataclass(frozen=True)
class Month:
    """Cumulative numbers at the end of a month; `planned` None where the plan does not reach."""

    last: date
    screened: int
    randomized: int
    planned: float | None


@dataclass(frozen=True)
class SiteLine:
    """One site. `lag` is the median in days from visit to completed form."""

    number: int
    name: str
    country: str
    opened_on: date | None
    closed_on: date | None
    screened: int
    failed: int
    randomized: int
    active: int
    overdue: int
    queries: int
    oldest: int | None
    lag: float | None


@dataclass(frozen=True)
class CountryLine:
    country: str
    randomized: int
    planned: int


@dataclass(frozen=True)
class StratumLine:
    factor: str
    label: str
    level: str
    number: int
    query: str


@dataclass(frozen=True)
class VisitLine:
    """One visit of the schedule: forms by status, and visits whose window is past with nothing known."""

    key: str
    name: str
    complete: int
    incomplete: int
    not_done: int
    overdue: int


@dataclass(frozen=True)
class AgeLine:
    words: str
    open: int
    answered: int


@dataclass(frozen=True)
class EventLine:
    kind: str
    label: str
    events: int
    participants: int
    serious: int


@dataclass(frozen=True)
class CycleLine:
    """Cycles of a regimen, pooled."""

    regimen: str
    due: int
    """Participants with a cycle to decide on by today."""
    due_soon: int
    """More of them within `SOON_DAYS`."""
    started: int
    recorded: int
    participants: int
    injections: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Overview:
    figures: tuple[Figure, ...]
    months: tuple[Month, ...]
    planned: int
    sites: tuple[SiteLine, ...]
    countries: tuple[CountryLine, ...]
    strata: tuple[StratumLine, ...]
    visits: tuple[VisitLine, ...]
    ages: tuple[AgeLine, ...]
    events: tuple[EventLine, ...]
    cycles: tuple[CycleLine, ...] | None
    """None for a blinded viewer."""
    lag: float | None
    lag_worst: float | None
    """Nine in ten forms were completed within so many days."""


def overview(sites: QuerySet[Site], participants: QuerySet[Participant], viewer: Viewer) -> Overview:
    """The trial over these sites and participants, as far as the viewer may know of it."""
    here = list(sites)
    everybody = people(participants)
    late = dict(
        behind()
        .filter(participant__in=participants)
        .values_list("participant__site_id")
        .annotate(n=Count("id"))
        .values_list("participant__site_id", "n")
    )
    lags = _lags(sites)
    every_lag = sorted(lag for site in lags.values() for lag in site)
    waiting = list(
        Query.objects.filter(participant__in=participants, state__in=(Query.OPEN, Query.ANSWERED))
        .filter(viewer.in_sight("participant__site"))
        .order_by()
        .values_list("participant__site_id", "state", "opened_at")
    )
    return Overview(
        figures=_figures(everybody, sum(late.values()), len(waiting)),
        months=_months(everybody, here),
        planned=opening.folder().protocol.size.planned,
        sites=_sites(here, everybody, late, waiting, lags),
        countries=_countries(here, everybody),
        strata=_strata(everybody),
        visits=_visits(participants),
        ages=_ages(waiting),
        events=_events(participants, viewer),
        cycles=_cycles([site for site in here if viewer.sees_arm(site)], participants),
        lag=median(every_lag) if every_lag else None,
        lag_worst=every_lag[min(len(every_lag) - 1, int(0.9 * len(every_lag)))] if every_lag else None,
    )


def _figures(everybody: list[Person], late: int, queries: int) -> tuple[Figure, ...]:
    status = Counter(one.status for one in everybody)
    how = Counter(one.ended_how for one in everybody if one.status == Participant.ENDED)
    randomized = sum(one.randomized_on is not None for one in everybody)
    planned = opening.folder().protocol.size.planned
    return (
        Figure("randomised", randomized, "status=ever+randomised", f"of {planned} planned"),
        Figure("in screening", status[Participant.SCREENING], "status=screening"),
        Figure(
            "screen failures", status[Participant.FAILED], "status=screen+failure",
            _share(status[Participant.FAILED], status[Participant.FAILED] + randomized),
        ),
        Figure("in follow-up", status[Participant.RANDOMIZED], "status=randomised"),
        Figure("completed", how["completed"], "status=completed"),
        Figure("died", how["died"], "status=died"),
        Figure("withdrew", how["withdrew"], "status=withdrew"),
        Figure("lost to follow-up", how["lost to follow-up"], "status=lost+to+follow-up"),
        Figure("visits overdue", late, "overdue=1"),
        Figure("queries not closed", queries, "queries=1"),
    )  # fmt: skip


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}% of those decided" if whole else ""


def _months(everybody: list[Person], sites: list[Site]) -> tuple[Month, ...]:
    """From the month of the first opening or screening to this one; the plan is spread evenly over the time
    that the protocol gives to enrolment, from the first opening on."""
    protocol = opening.folder().protocol
    opened = [site.opened_on for site in sites if site.opened_on is not None]
    starts = [*opened, *(one.screened_on for one in everybody)]
    if not starts:
        return ()
    start, today = min(starts), clock.today(opening.folder().zone)
    length = (protocol.calendar.last_randomization - protocol.calendar.first_randomization).days
    screened = sorted(one.screened_on for one in everybody)
    randomized = sorted(one.randomized_on for one in everybody if one.randomized_on is not None)
    months, first = [], date(start.year, start.month, 1)
    while first <= today:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        last = min(following - timedelta(days=1), today)
        share = min(1.0, max(0, (last - start).days) / length)
        months.append(
            Month(
                last,
                bisect_left(screened, following),
                bisect_left(randomized, following),
                share * protocol.size.planned,
            )
        )
        first = following
    return tuple(months)


def _lags(sites: QuerySet[Site]) -> dict[int, list[int]]:
    """Days from the visit to the completed form, by site, for the visits of late. Only forms that every arm
    has count, so that the lag tells no arm."""
    since = clock.now().date() - timedelta(days=LAG_OVER_DAYS)
    found: dict[int, list[int]] = {}
    rows = (
        shared_forms()
        .filter(done_on__gte=since, completed_at__isnull=False, participant__site__in=sites)
        .order_by()
        .values_list("participant__site_id", "done_on", "completed_at")
    )
    for site, done_on, completed_at in rows:
        found.setdefault(site, []).append(max(0, (completed_at.date() - done_on).days))
    return found


def _sites(
    here: list[Site],
    everybody: list[Person],
    late: dict[int, int],
    waiting: list[tuple[int, str, Any]],
    lags: dict[int, list[int]],
) -> tuple[SiteLine, ...]:
    counts: dict[str, Counter[int]] = {
        name: Counter() for name in ("screened", "failed", "randomized", "active", "overdue", "queries")
    }
    for one in everybody:
        counts["screened"][one.site] += 1
        counts["failed"][one.site] += one.status == Participant.FAILED
        counts["randomized"][one.site] += one.randomized_on is not None
        counts["active"][one.site] += one.status == Participant.RANDOMIZED
    counts["overdue"].update(late)
    oldest: dict[int, Any] = {}
    for site, _, opened_at in waiting:
        counts["queries"][site] += 1
        oldest[site] = min(opened_at, oldest.get(site, opened_at))
    return tuple(
        SiteLine(
            site.number, site.name, site.country, site.opened_on, site.closed_on,
            **{name: counts[name][site.number] for name in counts},
            oldest=(clock.now() - oldest[site.number]).days if site.number in oldest else None,
            lag=median(lags[site.number]) if site.number in lags else None,
        )
        for site in here
    )  # fmt: skip


def _countries(here: list[Site], everybody: list[Person]) -> tuple[CountryLine, ...]:
    """Randomised by country against the numbers that the protocol counts on, where it names them."""
    simulation = opening.folder().protocol.simulation
    if simulation is None:
        return ()
    country = {site.number: site.country for site in here}
    count = Counter(country[one.site] for one in everybody if one.randomized_on is not None)
    return tuple(
        CountryLine(name, count[name], simulation.accrual.get(name, 0))
        for name in sorted({*simulation.accrual, *country.values()})
    )


def _strata(everybody: list[Person]) -> tuple[StratumLine, ...]:
    protocol = opening.folder().protocol
    lines = []
    for name in protocol.randomization.strata:
        stratum = protocol.strata[name]
        count = Counter(one.strata.get(name) for one in everybody if one.randomized_on is not None)
        levels = list(stratum.levels or sorted(level for level in count if level is not None))
        lines += [
            StratumLine(name, stratum.label, level, count[level], f"stratum={name}&level={level}")
            for level in levels
        ]
    return tuple(lines)


def _visits(participants: QuerySet[Participant]) -> tuple[VisitLine, ...]:
    """Visits that every arm has, in order of their day."""
    everybody = participants.count() == Participant.objects.count()
    forms, due = shared_forms(), behind()
    if not everybody:
        forms = forms.filter(participant__in=participants.order_by())
        due = due.filter(participant__in=participants.order_by())
    counted: dict[str, Counter[str]] = {}
    for key, status, n in (
        forms.values_list("key", "status").annotate(n=Count("id")).values_list("key", "status", "n")
    ):
        counted.setdefault(key, Counter())[status] = n
    late = dict(due.values_list("key").annotate(n=Count("id")).values_list("key", "n"))
    found = []
    for key, name in _in_order({*counted, *late}):
        forms_of = counted.get(key, Counter())
        complete, not_done = forms_of[Form.COMPLETE], forms_of[Form.NOT_DONE]
        found.append(VisitLine(key, name, complete, forms_of[Form.INCOMPLETE], not_done, late.get(key, 0)))
    return tuple(found)


def _in_order(keys: set[str]) -> list[tuple[str, str]]:
    """Keys of visits with their names, in order of their day."""
    protocol = opening.folder().protocol
    asked = {key: entering.read_whole(key.partition(":")[2]) for key in keys}
    days = {key: day for key, day in asked.items() if day is not None}
    names: dict[str, str] = {}
    for arm in protocol.arms:
        for visit in visits(protocol, arm, max(days.values(), default=0)):
            names[f"{visit.id}:{visit.day}"] = visit.name
    return [(key, names.get(key, key)) for key in sorted(days, key=lambda key: (days[key], key))]


def _ages(waiting: list[tuple[int, str, Any]]) -> tuple[AgeLine, ...]:
    now = clock.now()
    words = [f"up to {DAYS_OF_AGE[0]} days"]
    words += [f"{a + 1} to {b} days" for a, b in pairwise(DAYS_OF_AGE)]
    words += [f"more than {DAYS_OF_AGE[-1]} days"]
    count = Counter((bisect_left(DAYS_OF_AGE, (now - at).days), state) for _, state, at in waiting)
    return tuple(
        AgeLine(text, count[place, Query.OPEN], count[place, Query.ANSWERED])
        for place, text in enumerate(words)
    )


def _events(participants: QuerySet[Participant], viewer: Viewer) -> tuple[EventLine, ...]:
    rows = (
        Event.objects.filter(safety.in_sight(viewer), participant__in=participants, removed="")
        .order_by()
        .values("kind")
        .annotate(
            events=Count("id", distinct=True),
            people=Count("participant", distinct=True),
            serious=Count("id", distinct=True, filter=Q(versions__serious=True)),
        )
        .values_list("kind", "events", "people", "serious")
    )
    found = {kind: numbers for kind, *numbers in rows}
    return tuple(
        EventLine(kind, label, *found.get(kind, (0, 0, 0)))
        for kind, label in safety.kinds_shown(viewer).items()
    )


def _cycles(sites: list[Site], participants: QuerySet[Participant]) -> tuple[CycleLine, ...] | None:
    """Cycles at these sites, at all of which the arm is seen; None when there is no such site."""
    if not sites:
        return None
    protocol = opening.folder().protocol
    lines = []
    participants = participants.filter(site__in=sites)
    ahead = _cycles_ahead(sites)
    states = (Injection.GIVEN, Injection.REDUCED, Injection.MISSED, Injection.UNKNOWN, Injection.PLANNED)
    for name, regimen in protocol.regimens.items():
        if regimen.kind != "cycles":
            continue
        cycles = Cycle.objects.filter(participant__in=participants, regimen=name)
        numbers = cycles.aggregate(
            started=Count("id"),
            recorded=Count("id", filter=Q(completed_at__isnull=False)),
            people=Count("participant", distinct=True),
        )
        given = dict(
            Injection.objects.filter(cycle__in=cycles)
            .order_by()
            .values_list("state")
            .annotate(n=Count("id"))
            .values_list("state", "n")
        )
        lines.append(
            CycleLine(
                regimen.label or regimen.drug, ahead[name, True], ahead[name, False],
                numbers["started"], numbers["recorded"], numbers["people"],
                tuple((state, given.get(state, 0)) for state in states),
            )
        )  # fmt: skip
    return tuple(lines)


def _cycles_ahead(sites: list[Site]) -> Counter[tuple[str, bool]]:
    """(regimen, by today or only soon) -> participants with a cycle to decide on."""
    today = {site.number: clock.today(site.zone) for site in sites}
    if not today:
        return Counter()
    until = max(today.values()) + timedelta(days=SOON_DAYS)
    days = (
        (one.key, (one.due - today[person.site_id]).days)
        for person, one in due.coming(today, until)
        if one.kind == due.CYCLE
    )
    return Counter((regimen, away <= 0) for regimen, away in days if away <= SOON_DAYS)
