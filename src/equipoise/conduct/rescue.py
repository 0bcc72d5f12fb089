"""Help on the machine itself, for who has its files: a new first password, a code of a demonstration."""

from __future__ import annotations

import secrets
import time
from difflib import get_close_matches

from equipoise.conduct import accounts
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import Act, with_system
from equipoise.conduct.models import Person
from equipoise.errors import UserError

PASSWORD_BYTES = 12
"""As `commands.people.FIRST_PASSWORD_BYTES`."""
PERIOD_SECONDS = 30
"""For how long a code is shown: RFC 6238, 5.2."""


def person(username: str) -> Person:
    """The person who logs in by that name. Raises UserError, with the nearest name."""
    found = Person.objects.filter(username__iexact=username).first()
    if found is not None:
        return found
    near = get_close_matches(username, Person.objects.values_list("username", flat=True), 1)
    raise UserError(f'nobody logs in as "{username}"' + (f'; did you mean "{near[0]}"?' if near else ""))


def new_password(username: str, *, forget_second_factor: bool = False) -> str:
    """Give a person a new first password, end their sessions and keys to the API, and record it; returns the
    password."""
    found = person(username)
    if not found.is_active:
        raise UserError(f"{found.username} has been deactivated: an account is never used again")
    made = secrets.token_urlsafe(PASSWORD_BYTES)

    def work(act: Act) -> None:
        accounts.give_first_password(act, found, made, "given on the machine")
        act.record("person", found.id, field=accounts.RESET, new="new first password, given on the machine")
        if forget_second_factor:
            _forget_second_factor(act, found)
        act.after.append(lambda: _end_sessions(found))

    with_system("person.password", work)
    _forgive_failures(found)
    return made


def set_password(found: Person, encoded: str) -> None:
    """Give a person of a demonstration a password (as `make_password` gives it) that is not to be changed,
    and record that it was set."""

    def work(act: Act) -> None:
        change = {"password": encoded, "must_change_password": False}
        act.change(found, "person", change, reason="set for a demonstration")

    with_system("person.password", work)


def activate_code(found: Person) -> None:
    """Give a person of a demonstration a second factor that shows codes, and record it."""
    from allauth.mfa.totp.internal import auth

    def work(act: Act) -> None:
        auth.TOTP.activate(found, auth.generate_totp_secret())
        act.record("person", found.id, field="second_factor", new="codes, for a demonstration")

    with_system("person.second_factor", work)


def _forget_second_factor(act: Act, found: Person) -> None:
    from allauth.mfa.models import Authenticator

    for one in Authenticator.objects.filter(user=found):
        act.record("person", found.id, field="second_factor", old=str(one.type), new="forgotten")
        one.delete()


def _end_sessions(found: Person) -> None:
    accounts.end_sessions(found)


def _forgive_failures(found: Person) -> None:
    """Failed log-ins before the new password no longer lock the person out."""
    from axes.utils import reset

    reset(username=found.username)


def present_code(trial: TrialFolder, username: str) -> str:
    """The code of somebody's second factor now. Raises UserError unless the trial is a demonstration."""
    if trial.kind != "demonstration":
        raise UserError("codes are printed for demonstrations only: the person's own device shows theirs")
    from allauth.mfa.models import Authenticator
    from allauth.mfa.totp.internal import auth
    from allauth.mfa.utils import decrypt

    found = person(username)
    held = Authenticator.objects.filter(user=found, type=Authenticator.Type.TOTP).first()
    if held is None:
        raise UserError(f"{found.username} has no second factor that shows codes")
    counter = int(time.time()) // PERIOD_SECONDS
    return str(auth.format_hotp_value(auth.hotp_value(decrypt(held.data["secret"]), counter)))
