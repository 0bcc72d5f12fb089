"""Reading the ledger: who changed what, when and why. A search for reviewers, the filters of a risk-based
review, and the history of one item.

A viewer reads what happened at their sites. Where they must not know the arm they read an allow-list of acts,
without entries that tell the arm, without the numbers of entries (a gap would tell), and without clinical
content; what people wrote about a participant in their own words may tell the arm, and is left out as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import ExtractHour, TruncHour

from equipoise.conduct import clock, duties, entering, opening
from equipoise.conduct.access import TELLS_NO_ARM, Viewer
from equipoise.conduct.models import Chain, Entry, Site
from equipoise.conduct.reading.forms import in_words
from equipoise.conduct.reading.overview import of_every_arm
from equipoise.protocol import criteria
from equipoise.protocol.model import Protocol

RECENT_DAYS = 90
"""Without dates, and without a participant or a subject, a search goes back this far (assumed)."""
MIDNIGHT_HOURS = (23, 0)
"""Hours, at the site, at whose acts a reviewer looks twice (assumed)."""
MANY_IN_AN_HOUR = 25
"""Changes of recorded values by one person in one hour that a reviewer wants to see (assumed)."""
MOST_HOURS = 40
"""Such hours that are shown (assumed)."""

OF_FORMS = frozenset({"form.save", "form.not_done", "form.sign", "item.verify"})
BLINDED_MAY_READ = frozenset(duties.MAY) - duties.REVEALS_ARM - OF_FORMS - {"medication.save"}
"""Acts of which a blinded viewer may hear, by command. Of acts on forms they hear where the form is that of a
visit that every arm has (`_shared_places`)."""
BLINDED_CONTENT = frozenset({"site", "trial", "person", "duty", "token", "participant", "access", "account"})
"""Kinds of entry whose content a blinded viewer may read; of others they see that it was changed."""
NOT_SHOWN = "not shown to your role"
"""Stands for a reason that the viewer may not read."""

DECIDE_ON_ENDPOINT = ("term", "onset", "serious", "removed")
"""What of an event decides whether an endpoint counts it, and when."""

FILTERS = {
    "after completion": "changed after the form was complete",
    "critical": "changes of values that decide on entry, dose or endpoint",
    "midnight": "entered near midnight at the site",
    "many": f"{MANY_IN_AN_HOUR} or more changes by one person in an hour",
    "failed": "log-ins that failed, and lock-outs",
}
"""Filters of a risk-based review, by name."""


@dataclass(frozen=True)
class Search:
    """What is looked for; what is empty narrows nothing."""

    participant: str = ""
    person: str = ""
    command: str = ""
    field: str = ""
    reason: str = ""
    since: date | None = None
    until: date | None = None
    review: str = ""
    """One of `FILTERS`."""

    @property
    def anything(self) -> bool:
        """Whether it narrows the ledger."""
        return any(vars(self).values())


@dataclass(frozen=True)
class Line:
    """One entry as it is shown. `n` is None for a blinded viewer."""

    n: int | None
    at: datetime
    zone: str
    person: str
    role: str
    site: int | None
    origin: str
    command: str
    participant: str
    what: str
    field: str
    old: str
    new: str
    reason: str
    hidden: bool
    """The content is not for this viewer."""


def visible(viewer: Viewer) -> QuerySet[Entry]:
    """The entries that a viewer may read, newest first."""
    found = Entry.objects.order_by("-n")
    if not viewer.holds_at_all(frozenset(duties.ROLES)):
        found = found.filter(site__in=viewer.sites())
    if not viewer.holds_at_all(duties.SEES_PARTICIPANTS):
        found = found.filter(Q(participant="") | Q(site__in=viewer.sites_of_participants()))
    system = Q(person="system", participant="")
    shared = Q(command__in=OF_FORMS) & _shared_places()
    allowed = Q(command__in=BLINDED_MAY_READ) | shared | system
    return found.filter(viewer.in_sight("site", allowed & TELLS_NO_ARM))


def _shared_places() -> Q:
    """Entries whose place is the form of a visit that every arm has."""
    protocol = opening.folder().protocol
    wanted = Q(pk__in=[])
    for visit in protocol.visits:
        if of_every_arm(protocol, visit.id):
            wanted |= Q(place=visit.label) | Q(place__startswith=f"{visit.label}: ")
    return wanted


def search(viewer: Viewer, wanted: Search) -> QuerySet[Entry]:
    """The visible entries that match."""
    found = visible(viewer)
    for name in ("participant", "person", "command", "field"):
        asked = getattr(wanted, name)
        if asked:
            found = found.filter(**{name: asked})
    if wanted.reason:
        readable = viewer.in_sight("site", Q(kind__in=BLINDED_CONTENT, participant=""))
        found = found.filter(readable, reason__icontains=wanted.reason)
    found = found.filter(**_between(wanted))
    if wanted.review:
        found = _reviewed(found, wanted.review)
    return found


def _between(wanted: Search) -> dict[str, int]:
    """The dates asked for, as numbers of entries: they stand in order of time."""
    zone = ZoneInfo(opening.folder().zone)
    since = wanted.since
    if since is None and not wanted.participant:
        since = clock.today(str(zone)) - timedelta(days=RECENT_DAYS)
    limits: dict[str, int] = {}
    if since is not None:
        limits["n__gte"] = _first_at(datetime.combine(since, time.min, zone))
    if wanted.until is not None:
        limits["n__lt"] = _first_at(datetime.combine(wanted.until + timedelta(days=1), time.min, zone))
    return limits


def _first_at(moment: datetime) -> int:
    """The number of the first entry made at or after a moment, by halving; one beyond the last if none is."""
    low, high = 1, Chain.objects.values_list("n", flat=True).get(id=1) + 1
    while low < high:
        middle = (low + high) // 2
        at = Entry.objects.values_list("at", flat=True).filter(n=middle).first()
        if at is not None and at >= moment:
            high = middle
        else:
            low = middle + 1
    return low


def _reviewed(found: QuerySet[Entry], review: str) -> QuerySet[Entry]:
    changed = Q(kind="value", old__isnull=False)
    if review == "after completion":
        return found.filter(changed).exclude(reason="")
    if review == "critical":
        values = changed & Q(field__in=critical_items(opening.folder().protocol))
        return found.filter(values | _of_endpoints())
    if review == "midnight":
        return _near_midnight(found)
    if review == "many":
        return _many(found, changed)
    if review == "failed":
        return found.filter(kind="account", field__in=("failed log-in", "lock-out"))
    return found.none()


def _of_endpoints() -> Q:
    """Changes of what endpoints are made of: of events, and of the end of follow-up."""
    events = Q(kind="event", field__in=DECIDE_ON_ENDPOINT, old__isnull=False)
    ends = Q(kind="participant", field__in=("ended_on", "ended_how"), old__isnull=False)
    return events | (ends & ~Q(old=""))


def _near_midnight(found: QuerySet[Entry]) -> QuerySet[Entry]:
    """Entries of sites made at a late or early hour there."""
    zones: dict[str, list[int]] = {}
    for number, zone in Site.objects.values_list("number", "zone"):
        zones.setdefault(zone, []).append(number)
    wanted = Q(pk__in=[])
    for place, (zone, numbers) in enumerate(zones.items()):
        found = found.annotate(**{f"hour{place}": ExtractHour("at", tzinfo=ZoneInfo(zone))})
        wanted |= Q(site__in=numbers, **{f"hour{place}__in": MIDNIGHT_HOURS})
    return found.filter(wanted).exclude(person="system")


def _many(found: QuerySet[Entry], changed: Q) -> QuerySet[Entry]:
    """Changes in the hours in which one person made many."""
    busy = (
        found.filter(changed)
        .order_by()
        .annotate(hour=TruncHour("at"))
        .values("person", "hour")
        .annotate(many=Count("n"), first=Min("n"), last=Max("n"))
        .filter(many__gte=MANY_IN_AN_HOUR)
        .order_by("-last")[:MOST_HOURS]
    )
    wanted = Q(pk__in=[])
    for one in busy:
        wanted |= Q(person=one["person"], n__gte=one["first"], n__lte=one["last"])
    return found.filter(changed).filter(wanted)


def critical_items(protocol: Protocol) -> set[str]:
    """Items that decide on entry, stratum, goal, hold or dose."""
    found: set[str] = set()
    texts = [c.require or c.exclude or "" for c in protocol.eligibility.criteria]
    texts += [text for one in protocol.strata.values() for text in (one.levels or {}).values()]
    for regimen in protocol.regimens.values():
        texts += [hold.when for hold in regimen.hold_while]
        if regimen.goal is not None:
            found.add(regimen.goal.measure)
            found |= {name for name in (regimen.cover, regimen.taken) if name in protocol.items}
    for text in texts:
        found |= set(criteria.compile(text, protocol.items).names) if text else set()
    found |= {one.item for one in protocol.strata.values() if one.item is not None}
    for name, expression in criteria.derivations(protocol.items).items():
        if name in found:
            found |= set(expression.names)
    return found & set(protocol.items)


# --- as it is shown -----------------------------------------------------------------------------------------


class Told(NamedTuple):
    """The content of an entry, as far as it is for a viewer."""

    old: str | None
    new: str | None
    reason: str


def told(viewer: Viewer, entry: Entry) -> Told:
    """What a viewer may read of an entry that is `visible` to them."""
    if viewer.sees_arm_at(entry.site):
        return Told(entry.old, entry.new, entry.reason)
    if entry.kind not in BLINDED_CONTENT:
        return Told(None, None, "")
    return Told(entry.old, entry.new, "" if entry.participant else entry.reason)


def lines(entries: Iterable[Entry], viewer: Viewer, *, whole: bool = False) -> Iterator[Line]:
    """Entries as they are shown: days and moments as people read them, without keys of rows and digests; with
    `whole`, all as it stands in the ledger."""
    zones = dict(Site.objects.values_list("number", "zone"))
    protocol = opening.folder().protocol
    for one in entries:
        item = protocol.items.get(one.field) if one.kind in ("value", "verification") else None
        content, written = told(viewer, one), Told(one.old, one.new, one.reason)
        hidden = content != written and content[:2] == (None, None)
        where = one.place or (f"{one.kind} {one.subject}" if len(one.subject) < 30 else one.kind)
        what = f"{one.kind}: {where}" if one.place else where
        zone = zones.get(one.site, opening.folder().zone) if one.site is not None else opening.folder().zone
        yield Line(
            n=one.n if viewer.sees_every_arm else None,
            at=one.at,
            zone=zone,
            person=one.person,
            role=one.role,
            site=one.site,
            origin=one.origin,
            command=one.command,
            participant=one.participant,
            what=what if whole else _KEY.sub("", what).strip(),
            field=item.label if item is not None else one.field.replace("_", " "),
            old=_said(one, content.old, None if whole else zone),
            new=_said(one, content.new, None if whole else zone),
            reason=content.reason if hidden or content.reason == one.reason else NOT_SHOWN,
            hidden=hidden,
        )


_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}( [0-9a-f]{128})?")
"""Keys of rows and digests, signed ones with their signature: they say nothing to people, and stand in the
tables that can be taken away."""
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")


def _said(entry: Entry, text: str | None, zone: str | None) -> str:
    """Old or new content in words, with moments in a time zone; without one, whole."""
    if text is None:
        return ""
    if entry.kind == "value":
        return in_words(text)
    try:
        content = json.loads(text) if text[:1] in "{[" else text
    except ValueError:
        return text
    return _whole(content) if zone is None else _plain(content, zone)


def _whole(content: Any) -> str:
    """All of what the ledger holds."""
    if isinstance(content, dict):
        said = {name: part for name, part in content.items() if part not in ("", None)}
        return "; ".join(f"{name.replace('_', ' ')}: {_whole_part(part)}" for name, part in said.items())
    return _whole_part(content)


def _whole_part(part: Any) -> str:
    if isinstance(part, bool):
        return "yes" if part else "no"
    return str(part) if isinstance(part, str | int | float) else json.dumps(part, ensure_ascii=False)


def _plain(part: Any, zone: str) -> str:
    """The same as people read it."""
    if isinstance(part, dict):
        said = ((name.replace("_", " "), _plain(each, zone)) for name, each in part.items())
        return "; ".join(f"{name}: {words}" for name, words in said if words)
    if isinstance(part, list):
        return ", ".join(words for each in part if (words := _plain(each, zone)))
    if not isinstance(part, str):
        return "" if part is None else _whole_part(part)
    if _MOMENT.fullmatch(part):
        there = datetime.fromisoformat(part).astimezone(ZoneInfo(zone))
        return f"{entering.full(there)} {there:%H:%M}"
    if _DAY.fullmatch(part):
        return entering.as_known(part)
    return "" if _KEY.fullmatch(part) else part


def history(viewer: Viewer, subject: str, field: str = "") -> QuerySet[Entry]:
    """Everything that happened to one thing (a form, an event), or to one item of it, oldest first."""
    found = visible(viewer).filter(subject=subject).order_by("n")
    return found.filter(field=field) if field else found
