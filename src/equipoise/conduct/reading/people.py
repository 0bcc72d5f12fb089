"""Who had which rights on which day, and who delegated what to whom at a site: from duties and the ledger.

A duty says which dates it was granted for. Whether it was in force on a past day depends on what was known
then: it began no earlier than it was granted, and one that was revoked, or whose holder left, was in force up
to that moment, which stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from equipoise.conduct import clock, opening
from equipoise.conduct.models import Duty, Entry, Person


@dataclass(frozen=True)
class Right:
    """One duty as it was in force: from `since` to `until` (None: no end known). `ended_by` and `reason` tell
    who took it away, where somebody did."""

    username: str
    full_name: str
    role: str
    site: int | None
    site_name: str
    since: date
    until: date | None
    trained_on: date
    granted_by: str
    granted_at: datetime
    ended_by: str
    reason: str
    duty: str
    revoked: bool
    is_over: bool

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def in_force(self, day: date) -> bool:
        """Whether it was in force on that day, or a part of it."""
        return self.since <= day and (self.until is None or self.until >= day)


def _day(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


def rights(held: Iterable[Duty]) -> list[Right]:
    """Duties as they were in force."""
    rows = list(held)
    ends = {
        entry.subject: entry
        for entry in Entry.objects.filter(
            kind="duty", field="revoked_at", subject__in=[str(row.id) for row in rows]
        ).order_by("n")
    }
    return [_right(row, ends.get(str(row.id))) for row in rows]


def _right(row: Duty, end: Entry | None) -> Right:
    zone = row.site.zone if row.site is not None else opening.folder().zone
    until = row.until if end is None else _day(end.at, zone)
    return Right(
        username=row.person.username, full_name=row.person.full_name, role=row.role, site=row.site_id,
        site_name="" if row.site is None else row.site.name,
        since=max(row.since, _day(row.granted_at, zone)), until=until, trained_on=row.trained_on,
        granted_by=row.granted_by, granted_at=row.granted_at,
        ended_by="" if end is None else end.person, reason="" if end is None else end.reason,
        duty=str(row.id), revoked=end is not None,
        is_over=end is not None or (until is not None and until < clock.today(zone)),
    )  # fmt: skip


def _duties() -> Any:
    return Duty.objects.select_related("person", "site").order_by("person__username", "role", "site", "since")


def rights_on(day: date) -> list[Right]:
    """Every right that was in force on a day, in order of person."""
    return [right for right in rights(_duties()) if right.in_force(day)]


def rights_of(person: Person) -> list[Right]:
    """Every right that a person ever had, the newest first."""
    return sorted(rights(_duties().filter(person=person)), key=lambda right: right.since, reverse=True)


def delegation_log(site: int) -> list[Right]:
    """Every duty that was ever held at a site, in order of beginning."""
    return sorted(rights(_duties().filter(site=site)), key=lambda right: (right.since, right.username))


@dataclass(frozen=True)
class Account:
    """A person in the list of people. `now` are their rights of today; `closed_on` when they left."""

    username: str
    full_name: str
    email: str
    active: bool
    created_on: date
    closed_on: date | None
    second_factor: bool
    first_password: bool
    last_log_in: datetime | None
    now: tuple[Right, ...]


def accounts_on(day: date, known: Iterable[Person] | None = None) -> list[Account]:
    """Everybody who has, or had, an account, with their rights of a day; those who left come last."""
    from allauth.mfa.models import Authenticator

    zone = opening.folder().zone
    people = list(Person.objects.order_by("username") if known is None else known)
    with_factor = {str(one) for one in Authenticator.objects.values_list("user_id", flat=True)}
    left = {
        entry.subject: _day(entry.at, zone)
        for entry in Entry.objects.filter(kind="person", field="is_active", command="person.deactivate")
    }
    held: dict[str, list[Right]] = {}
    for right in rights_on(day):
        held.setdefault(right.username, []).append(right)
    found = [
        Account(
            username=one.username,
            full_name=one.full_name,
            email=one.email,
            active=one.is_active,
            created_on=_day(one.created_at, zone),
            closed_on=left.get(str(one.pk)),
            second_factor=str(one.pk) in with_factor,
            first_password=one.must_change_password,
            last_log_in=one.last_login,
            now=tuple(held.get(one.username, ())),
        )
        for one in people
    ]
    return sorted(found, key=lambda one: (not one.active, one.username))


@dataclass(frozen=True)
class Review:
    """A review of access that was recorded."""

    at: datetime
    person: str
    note: str


def reviews() -> list[Review]:
    """The reviews of access, the newest first."""
    found = Entry.objects.filter(command="access.review").order_by("-n")
    return [Review(one.at, one.person, one.reason) for one in found]
