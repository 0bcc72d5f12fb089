"""People and their duties."""

from __future__ import annotations

import secrets
from typing import Any

from equipoise.conduct import duties
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, command
from equipoise.conduct.inputs import AddPerson, GrantDuty
from equipoise.conduct.models import Duty, Person, Site

FIRST_PASSWORD_BYTES = 12


def _new_person(act: Act, username: str, full_name: str, email: str) -> tuple[Person, str]:
    if Person.objects.filter(username__iexact=username).exists():
        raise Conflict(f'there is, or was, somebody named "{username}"; names are never used again')
    password = secrets.token_urlsafe(FIRST_PASSWORD_BYTES)
    person = Person(username=username, full_name=full_name, email=email, created_at=act.at)
    person.set_password(password)
    act.create(person, "person", shown={"username": username, "full_name": full_name})
    return person, password


def first_administrator(act: Act, username: str, full_name: str) -> str:
    """The account that adds all others; returns its first password."""
    person, password = _new_person(act, username, full_name, "")
    _grant(act, person, duties.ADMINISTRATOR, None, act.today(), None, act.today())
    return password


def _grant(
    act: Act, person: Person, role: str, site: Site | None, since: Any, until: Any, trained_on: Any
) -> Duty:
    duty = Duty(
        person=person, role=role, site=site, since=since, until=until, trained_on=trained_on,
        granted_by=act.actor.person.username, granted_at=act.at,
    )  # fmt: skip
    act.create(
        duty,
        "duty",
        shown={
            "person": person.username, "role": role, "site": None if site is None else site.number,
            "since": since, "until": until, "trained_on": trained_on,
        },
    )  # fmt: skip
    return duty


@command("person.add", AddPerson)
def add_person(act: Act, given: AddPerson) -> dict[str, Any]:
    """Add a person, with a password for the first log-in."""
    act.allow(None)
    person, password = _new_person(act, given.username, given.full_name, given.email)
    return {"username": person.username, "password": password}


@command("duty.grant", GrantDuty)
def grant_duty(act: Act, given: GrantDuty) -> dict[str, Any]:
    """Give a person a duty, at a site or for the whole trial, for stated dates, after training."""
    act.allow(None)
    person = Person.objects.filter(username=given.username, is_active=True).first()
    if person is None:
        raise NotFound(f'there is nobody named "{given.username}"')
    if given.role not in duties.ROLES:
        raise Refused(f'there is no role "{given.role}"; there are: {", ".join(duties.ROLES)}', "role")
    if given.role in duties.AT_SITES and given.site is None:
        raise Refused(f"a {given.role} has a site", "site")
    if given.role in duties.ALL_SITES and given.site is not None:
        raise Refused(f"a {given.role} has no single site", "site")
    if given.trained_on > given.since or given.trained_on > act.today():
        raise Refused("training comes before the duty, and not in the future", "trained_on")
    if given.until is not None and given.until < given.since:
        raise Refused("the duty would end before it begins", "until")
    site = None
    if given.site is not None:
        site = Site.objects.filter(number=given.site).first()
        if site is None:
            raise NotFound(f"there is no site {given.site}")
    for held in Duty.objects.filter(person=person):
        overlap = (held.until is None or held.until >= given.since) and (
            given.until is None or given.until >= held.since
        )
        for pair in duties.FORBIDDEN_PAIRS:
            if overlap and held.role != given.role and {held.role, given.role} == set(pair):
                raise Refused(f"nobody may be {pair[0]} and {pair[1]} at the same time", "role")
    duty = _grant(act, person, given.role, site, given.since, given.until, given.trained_on)
    return {"duty": str(duty.id)}
