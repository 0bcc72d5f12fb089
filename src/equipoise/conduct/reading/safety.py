"""Events as they stand: the latest report of each, the clocks that run, what a role may see of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import BooleanField, ExpressionWrapper, Max, Q, QuerySet

from equipoise.conduct import checks, clock, entering, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.duties import SEES_ARM
from equipoise.conduct.gateway import NotFound
from equipoise.conduct.models import Event, EventVersion, Participant
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days

ADVERSE_EVENT: Final = "adverse_event"
ADVERSE_EVENT_LABEL: Final = "Adverse event"
SERIOUS_WITHIN: Final = timedelta(hours=24)
"""A serious event is reported within this time of when the site learned of it: Regulation (EU) 536/2014,
article 41(2)."""

NUMBERS_APART: Final = 1000
"""Events whose kind tells the arm are numbered from here on."""

IN_TIME, LATE, RUNNING, OVERDUE = "reported in time", "reported late", "to be completed", "overdue"


def label_of(protocol: Protocol, kind: str) -> str:
    """A kind of event in words."""
    return ADVERSE_EVENT_LABEL if kind == ADVERSE_EVENT else protocol.events[kind].label


def is_terminal(protocol: Protocol, kind: str) -> bool:
    """Whether nothing can be observed after an event of this kind."""
    return kind != ADVERSE_EVENT and protocol.events[kind].terminal


def is_fatal(protocol: Protocol, report: EventVersion) -> bool:
    """Whether a report says that the participant died."""
    terminal = is_terminal(protocol, report.event.kind)
    return checks.tells_of_death(terminal, report.grade, report.outcome, report.serious_because)


def reveals_arm(protocol: Protocol, kind: str) -> bool:
    """Whether the mere kind may tell the arm: kinds that no endpoint counts in both arms (toxicity of the
    drug, say)."""
    if kind == ADVERSE_EVENT or protocol.events[kind].terminal:
        return False
    return not any(kind in (*one.first_of, *one.competing) for one in protocol.endpoints.values())


def hidden_kinds(protocol: Protocol) -> frozenset[str]:
    """The kinds of event that do not exist for who does not see the arm."""
    return frozenset(kind for kind in protocol.events if reveals_arm(protocol, kind))


def in_sight(viewer: Viewer, path: str = "") -> Q:
    """The events of which a viewer may hear: this is the one rule, and it looks at nothing but the kind and
    the site. `path` leads from a row to its event."""
    hidden = Q(**{f"{path}kind__in": hidden_kinds(opening.folder().protocol)})
    return viewer.in_sight(f"{path}participant__site", ~hidden)


def kinds_shown(viewer: Viewer) -> dict[str, str]:
    """The kinds of event of which a viewer may hear at any of their sites, with their labels."""
    protocol = opening.folder().protocol
    hidden = frozenset() if viewer.roles & SEES_ARM else hidden_kinds(protocol)
    kinds = (ADVERSE_EVENT, *protocol.events)
    return {kind: label_of(protocol, kind) for kind in kinds if kind not in hidden}


def next_number(participant: Participant, kind: str) -> int:
    """The number of the participant's next event of a kind. Kinds that tell the arm have numbers of their
    own, so that no gap among those of the others tells that there is one."""
    hidden = hidden_kinds(opening.folder().protocol)
    apart = Q(kind__in=hidden)
    alike = Event.objects.filter(apart if kind in hidden else ~apart, participant=participant)
    before = NUMBERS_APART if kind in hidden else 0
    return int(alike.aggregate(last=Max("number", default=before))["last"]) + 1


def is_endpoint(protocol: Protocol, kind: str, term: str, serious: bool) -> bool:
    """Whether an event is a candidate for an endpoint: a death, a serious event, or one of a kind and term
    that an endpoint of the protocol counts."""
    if serious or is_terminal(protocol, kind):
        return True
    return any(
        kind in one.first_of and (not one.terms or term in one.terms) for one in protocol.endpoints.values()
    )


@dataclass(frozen=True)
class Deadline:
    """By when an event is reported, in the zone of the site. A serious event is reported once its report
    says what happened and whether the drug is held to have caused it."""

    due: datetime
    zone: str
    state: str
    reported_at: datetime | None

    @property
    def words(self) -> str:
        """ "overdue since Tuesday 3 March 2026, 23:50 (Europe/Copenhagen)"."""
        when = f"{entering.said(self.due.date())}, {self.due:%H:%M} ({self.zone})"
        said = {OVERDUE: "overdue since", RUNNING: "to be completed by", LATE: "reported late; was due"}
        return f"{said.get(self.state, 'reported in time; due')} {when}"


@dataclass(frozen=True)
class Report:
    """One report of an event: the first is version 1."""

    version: int
    term: str
    onset: str
    ended: str
    grade: int | None
    serious: bool
    serious_because: str
    attributed: bool | None
    action_taken: str
    outcome: str
    cycle: int | None
    aware_at: datetime | None
    narrative: str
    person: str
    at: datetime


@dataclass(frozen=True)
class EventView:
    """An event as a page shows it: its latest report, all of them in order, its deadline if it has one."""

    id: UUID
    participant: str
    site: int
    number: int
    kind: str
    label: str
    latest: Report
    reports: tuple[Report, ...]
    deadline: Deadline | None
    removed: str

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return not self.removed and self.latest.outcome in ("", "recovering", "not recovered", "unknown")


def events(participants: Iterable[Participant], viewer: Viewer) -> list[EventView]:
    """The events of participants, struck-out ones too, by participant and number, as far as the viewer may
    see them: none whose kind would tell them an arm that they do not see (`in_sight`), and of the others
    neither what is held to have caused them nor what was done about the drug. Reports that say nothing else
    that is new are then left out, and the others numbered without a gap."""
    return _shown(EventVersion.objects.filter(event__participant__in=participants), viewer)


def _shown(versions: QuerySet[EventVersion], viewer: Viewer) -> list[EventView]:
    found = views(versions.filter(in_sight(viewer, "event__")))
    return [one if viewer.sees_arm_at(one.site) else _masked(one) for one in found]


def event_view(participant: Participant, name: str, viewer: Viewer) -> EventView:
    """One event of a participant, by its number or its identifier. Raises NotFound."""
    for one in events([participant], viewer):
        if name in (str(one.number), str(one.id)):
            return one
    raise NotFound("there is nothing of that name for you")


def views(versions: QuerySet[EventVersion]) -> list[EventView]:
    """Events from a set of their reports, by participant and number."""
    protocol = opening.folder().protocol
    read = versions.select_related("event__participant__site").defer(
        "event__participant__strata", "event__participant__baseline"
    )
    ordered = read.order_by("event__participant__candidate", "event__number", "version")
    grouped: dict[UUID, list[EventVersion]] = {}
    for version in ordered:
        grouped.setdefault(version.event_id, []).append(version)
    return [_view(protocol, of_one[0].event, of_one) for of_one in grouped.values()]


def _view(protocol: Protocol, event: Event, versions: list[EventVersion]) -> EventView:
    reports = tuple(_report(version) for version in versions)
    return EventView(
        id=event.id,
        participant=event.participant.number,
        site=event.participant.site_id,
        number=event.number,
        kind=event.kind,
        label=label_of(protocol, event.kind),
        latest=reports[-1],
        reports=reports,
        deadline=None
        if event.removed
        else deadline(protocol, event.kind, reports, event.participant.site.zone),
        removed=event.removed,
    )


def _report(version: EventVersion) -> Report:
    return Report(
        version.version, version.term, version.onset, version.ended, version.grade, version.serious,
        version.serious_because, version.attributed, version.action_taken, version.outcome, version.cycle,
        version.aware_at, version.narrative, version.person, version.at,
    )  # fmt: skip


def _masked(view: EventView) -> EventView:
    reports: list[Report] = []
    for one in view.reports:
        shown = replace(one, attributed=None, action_taken="", cycle=None, narrative="")
        if not reports or _said(shown) != _said(reports[-1]):
            reports.append(replace(shown, version=len(reports) + 1))
    return replace(view, reports=tuple(reports), latest=reports[-1])


def _said(report: Report) -> Report:
    """What a report says, whoever made it and whenever."""
    return replace(report, version=0, person="", at=datetime.min)


def deadline(protocol: Protocol, kind: str, reports: Iterable[Report], zone: str) -> Deadline | None:
    """By when an event is reported, and whether it was; None when nothing sets a time. Time runs from when
    the site learned of the event, in hours, whatever the clocks of its zone do meanwhile."""
    reports = list(reports)
    latest = reports[-1]
    within = [SERIOUS_WITHIN] if latest.serious else []
    by_protocol = None if kind == ADVERSE_EVENT else protocol.events[kind].report_within
    if by_protocol is not None:
        within.append(timedelta(days=days(by_protocol)))
    if not within or latest.aware_at is None:
        return None
    due = (latest.aware_at + min(within)).astimezone(ZoneInfo(zone))
    reported = next((one.at for one in reports if _is_whole(one, latest.serious)), None)
    if reported is not None:
        return Deadline(due, zone, IN_TIME if reported <= due else LATE, reported)
    return Deadline(due, zone, RUNNING if clock.now() <= due else OVERDUE, None)


def _is_whole(report: Report, serious: bool) -> bool:
    """Whether a report says what a report of such an event must say."""
    if not serious:
        return True
    return report.serious and report.attributed is not None and bool(report.narrative.strip())


def unreported(participants: QuerySet[Participant], viewer: Viewer) -> list[EventView]:
    """Events of these participants, of those that the viewer may hear of, whose report is still to be
    completed, the most urgent first."""
    whole: dict[UUID, bool] = {}
    serious = EventVersion.objects.filter(
        event__participant__in=participants, event__removed="", serious=True
    )
    told = ExpressionWrapper(Q(attributed__isnull=False) & ~Q(narrative=""), BooleanField())
    for event, said in serious.values_list("event", told):
        whole[event] = whole.get(event, False) or said
    waiting = [event for event, said in whole.items() if not said]
    if not waiting:
        return []
    found = [
        one
        for one in _shown(EventVersion.objects.filter(event__in=waiting), viewer)
        if one.deadline is not None and one.deadline.reported_at is None
    ]
    return sorted(found, key=lambda one: one.deadline.due if one.deadline else clock.now())
