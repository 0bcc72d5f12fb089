"""People and their duties."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from equipoise.conduct import accounts, clock, duties, opening, tokens
from equipoise.conduct.gateway import (
    COMMANDS,
    Act,
    Conflict,
    NotAllowed,
    NotFound,
    Refused,
    as_text,
    command,
    content_hash,
    duties_on,
)
from equipoise.conduct.inputs import (
    AddPerson,
    DeactivatePerson,
    GrantDuty,
    IssueToken,
    ResetPerson,
    ReviewAccess,
    RevokeDuty,
    RevokeToken,
)
from equipoise.conduct.models import Duty, Person, Site, Token
from equipoise.conduct.reading.people import rights_on

FIRST_PASSWORD_BYTES = 12
"""96 random bits, which nobody guesses (assumed; OWASP ASVS 4.0, 3.2.2 asks for 64 of a session)."""


def _new_person(act: Act, username: str, full_name: str, email: str) -> tuple[Person, str]:
    if Person.objects.filter(username__iexact=username).exists():
        raise Conflict(f'there is, or was, somebody named "{username}"; names are never used again')
    password = secrets.token_urlsafe(FIRST_PASSWORD_BYTES)
    person = Person(username=username, full_name=full_name, email=email, created_at=act.at)
    person.set_password(password)
    act.create(person, "person")
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
    act.create(duty, "duty", shown={"person": person.username})
    return duty


def _active(username: str) -> Person:
    found = Person.objects.filter(username=username, is_active=True).first()
    if found is None:
        raise NotFound(f'there is nobody named "{username}"')
    return found


def _check_apart(person: Person, given: GrantDuty) -> None:
    """Refuse a duty that overlaps in time with one that must be apart from it, at whatever site, or with the
    same one."""
    for held in Duty.objects.filter(person=person):
        if held.until is not None and (held.until < held.since or held.until < given.since):
            continue
        if given.until is not None and given.until < held.since:
            continue
        for pair in duties.FORBIDDEN_PAIRS:
            if held.role != given.role and {held.role, given.role} == set(pair):
                raise Refused(f"nobody may be {pair[0]} and {pair[1]} at the same time", "role")
        if (held.role, held.site_id) == (given.role, given.site):
            raise Conflict("there is this duty already in these dates")


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
    person = _active(given.username)
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
    _check_apart(person, given)
    duty = _grant(act, person, given.role, site, given.since, given.until, given.trained_on)
    return {"duty": str(duty.id)}


def _administrators_besides(act: Act, person: Person, duty: Duty | None = None) -> bool:
    """Whether anybody else is administrator today: without one, nobody could be added ever again."""
    others = Duty.objects.filter(role=duties.ADMINISTRATOR, person__is_active=True, since__lte=act.today())
    if duty is not None:
        others = others.exclude(id=duty.id)
    else:
        others = others.exclude(person=person)
    return any(one.until is None or one.until >= act.today() for one in others)


@command("person.deactivate", DeactivatePerson)
def deactivate_person(act: Act, given: DeactivatePerson) -> dict[str, Any]:
    """Close the account of a person who leaves: sessions, duties and tokens end, what they did stays."""
    act.allow(None)
    person = _active(given.username)
    if not _administrators_besides(act, person):
        raise Conflict("this is the only administrator: appoint another one first")
    act.change(person, "person", {"is_active": False}, reason=given.reason)
    for duty in Duty.objects.filter(person=person):
        _end(act, duty, given.reason)
    accounts.revoke_tokens(act, person, given.reason)
    act.after.append(lambda: _end_sessions(person))
    return {"username": person.username}


def _end_sessions(person: Person) -> None:
    accounts.end_sessions(person)


@command("person.reset", ResetPerson)
def reset_person(act: Act, given: ResetPerson) -> dict[str, Any]:
    """Give a new first password to a person who lost theirs or their second factor, which is removed."""
    from allauth.mfa.models import Authenticator

    act.allow(None)
    person = _active(given.username)
    if person.pk == act.actor.person.pk:
        raise NotAllowed("another administrator resets your log-in; you can change your password yourself")
    password = secrets.token_urlsafe(FIRST_PASSWORD_BYTES)
    accounts.give_first_password(act, person, password, given.reason)
    factors = sorted(Authenticator.objects.filter(user_id=person.pk).values_list("type", flat=True))
    Authenticator.objects.filter(user_id=person.pk).delete()
    act.record(
        "person", person.pk, field=accounts.RESET, reason=given.reason,
        new=as_text({"person": person.username, "removed": factors}),
    )  # fmt: skip
    act.after.append(lambda: _end_sessions(person))
    return {"username": person.username, "password": password}


def _end(act: Act, duty: Duty, reason: str) -> bool:
    """End a duty now: yesterday was its last whole day. False when it had ended before, where it was held."""
    zone = opening.folder().zone if duty.site is None else duty.site.zone
    if duty.revoked_at is not None or (duty.until is not None and duty.until < clock.today(zone)):
        return False
    yesterday = act.today() - timedelta(days=1)
    until = yesterday if duty.until is None else min(duty.until, yesterday)
    return act.change(duty, "duty", {"until": until, "revoked_at": act.at}, reason=reason)


@command("duty.revoke", RevokeDuty)
def revoke_duty(act: Act, given: RevokeDuty) -> dict[str, Any]:
    """Take a duty from a person, at once."""
    act.allow(None)
    duty = Duty.objects.select_related("person").filter(id=given.duty).first()
    if duty is None:
        raise NotFound("there is no such duty")
    if duty.role == duties.ADMINISTRATOR and not _administrators_besides(act, duty.person, duty):
        raise Conflict("this is the only administrator: appoint another one first")
    if not _end(act, duty, given.reason):
        raise Conflict("this duty has ended already")
    return {"duty": str(duty.id)}


@command("access.review", ReviewAccess)
def review_access(act: Act, given: ReviewAccess) -> dict[str, Any]:
    """Record that the list of people and rights of today was looked through, and what was found."""
    act.allow(None)
    rows = [right.as_row() for right in rights_on(act.today())]
    act.record(
        "access review", act.today().isoformat(), reason=given.note,
        new=as_text({"rights": len(rows), "sha256": content_hash(rows)}),
    )  # fmt: skip
    return {"rights": len(rows)}


@command("token.issue", IssueToken)
def issue_token(act: Act, given: IssueToken) -> dict[str, Any]:
    """Issue yourself a key to the API, for the commands that it names."""
    act.allow(None)
    if act.actor.scopes is not None:
        raise NotAllowed("a token cannot issue tokens: log in")
    unknown = [scope for scope in given.scopes if scope not in {"all", "read", *COMMANDS}]
    if unknown:
        raise Refused(f'there is no command "{unknown[0]}"; besides commands there are: all, read', "scopes")
    held = {duty.role for duty in duties_on(act.actor.person, act.at)}
    beyond = [scope for scope in given.scopes if scope in COMMANDS and not held & duties.MAY[scope]]
    if beyond:
        raise Refused(f'none of your duties allows "{beyond[0]}"', "scopes")
    token, text = tokens.issue(act, given.label, given.scopes, given.days)
    return {"id": str(token.id), "token": text, "expires_at": token.expires_at}


@command("token.revoke", RevokeToken)
def revoke_token(act: Act, given: RevokeToken) -> dict[str, Any]:
    """End one of your keys to the API."""
    act.allow(None)
    token = Token.objects.filter(id=given.token, person=act.actor.person).first()
    if token is None:
        raise NotFound("you have no such token")
    if token.revoked_at is not None:
        raise Conflict("this token has ended already")
    act.change(token, "token", {"revoked_at": act.at})
    return {"id": str(token.id)}
