"""Log-in, second factor, lock-out and sessions: what the libraries do, in the ways of this trial.

Nobody signs up, and no password is mended by mail: the administrator adds people and resets their log-in.
Failures are counted for each pair of name and address, so that somebody who tries passwords from elsewhere
cannot lock a doctor out. What happens to an account stands in the ledger; where it cannot be written there,
nobody is let in.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import ipaddress
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import ChangePasswordForm
from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from axes.handlers.database import AxesDatabaseHandler
from cryptography.fernet import Fernet, InvalidToken
from django.contrib import messages
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from equipoise.conduct import clock, duties, entering, opening
from equipoise.conduct.gateway import SYSTEM, Act, Refused, as_text, duties_on, with_system
from equipoise.conduct.models import Entry, Outbox, Person

IPV6_PREFIX = 64
"""One household or ward has a network of this size (RFC 6177): its addresses count as one."""
NOT_KNOWN = "somebody not known here"


class Unavailable(Refused):
    """Nothing is wrong with what was asked: the system cannot do it now."""

    status = 503


# --- where a request comes from ---------------------------------------------------------------------------


def client_address(request: HttpRequest) -> str:
    """The address that a request comes from. Behind the proxy it is the last hop that the proxy wrote down:
    the hops before are whatever the sender claimed."""
    direct = str(request.META.get("REMOTE_ADDR") or "")
    if not opening.behind_tls():
        return direct
    hop = request.META.get("HTTP_X_FORWARDED_FOR", "").rsplit(",", 1)[-1].strip()
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return direct


def lockout_address(request: HttpRequest) -> str | None:
    """The address under which failures are counted: of IPv6 its network."""
    try:
        address = ipaddress.ip_address(client_address(request))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
    return str(address)


def lockout_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name under which failures are counted, whatever its case. Of a name that nobody has only a hash is
    kept: now and then somebody types a password there."""
    typed = (
        str((credentials or {}).get("username") or request.POST.get("login") or "")
        .strip()
        .lower()
        .replace("\0", "")
    )
    if Person.objects.filter(username__iexact=typed).exists():
        return typed
    return "unknown-" + hashlib.sha256(typed.encode()).hexdigest()[:24]


def axes_name(credentials: dict[str, Any] | None) -> str:
    """The name that was tried, for messages."""
    return str((credentials or {}).get("username") or "").strip().lower()


# --- the ledger -------------------------------------------------------------------------------------------


def note(what: str, request: HttpRequest | None, person: Person | None, **more: str) -> None:
    """One entry of the ledger about an account. Raises `Refused` when it may not or cannot be written."""

    def work(act: Act) -> None:
        record(act, what, person, **more)

    written(what, request, work)


def record(act: Act, what: str, person: Person | None, **more: str) -> None:
    """Note what happened to an account; never a password, a code or a key."""
    name = NOT_KNOWN if person is None else person.username
    act.record(
        "account",
        "unknown" if person is None else person.pk,
        field=what,
        new=as_text({"person": name, **more}),
    )


def written(what: str, request: HttpRequest | None, work: Any) -> None:
    """Let `work` change something and note it, all or nothing."""
    origin = "command line" if request is None else f"page {client_address(request)}"
    try:
        with_system(f"account.{what.replace(' ', '_').replace('-', '_')}", work, origin)
    except (DatabaseError, OSError) as error:
        raise Unavailable(
            "the ledger cannot be written at the moment, so nobody can log in and no account can be changed; "
            "try again in a minute, and tell the administrator if it stays so"
        ) from error


# --- sessions ---------------------------------------------------------------------------------------------


def seconds() -> float:
    """The time of this machine: sessions and lock-outs count real minutes, in a rehearsal as well."""
    return time.time()


def begin(request: HttpRequest) -> None:
    """What a session remembers from its first moment. (Those that ended long ago are cleared away.)"""
    from django.contrib.sessions.models import Session

    Session.objects.filter(expire_date__lt=datetime.now(UTC)).delete()
    request.session["began"] = request.session["seen"] = seconds()
    request.session["address"] = client_address(request)
    request.session["set up"] = wants_second_factor(request.user)


def wants_second_factor(person: Any) -> bool:
    """Whether somebody has a duty with acts that need a second factor, and none is set up. (A key to the API
    needs one as well; whoever wants no key may do without.)"""
    from allauth.mfa.models import Authenticator

    acts = duties.SECOND_FACTOR - {"token.issue"}
    roles = {role for name in acts for role in duties.MAY[name]}
    held = {duty.role for duty in duties_on(person, clock.now())}
    return bool(roles & held) and not Authenticator.objects.filter(user_id=person.pk).exists()


def sessions_of(person: Person) -> list[Any]:
    """The sessions of a person that have not ended, as Django stores them."""
    from django.contrib.sessions.models import Session

    found = []
    for session in Session.objects.filter(expire_date__gt=datetime.now(UTC)).iterator():
        if session.get_decoded().get("_auth_user_id") == str(person.pk):
            found.append(session)
    return found


def end_sessions(person: Person, but: str | None = None) -> int:
    """End the sessions of a person, except that of key `but`; how many were ended."""
    ended = [session for session in sessions_of(person) if session.session_key != but]
    for session in ended:
        session.delete()
    return len(ended)


def roles_today(person: Any) -> list[str]:
    """The roles that somebody has today, in the order of the table."""
    held = {duty.role for duty in duties_on(person, clock.now())}
    return [role for role in duties.ROLES if role in held]


# --- log-in -----------------------------------------------------------------------------------------------


class Adapter(DefaultAccountAdapter):
    """Accounts are made by the administrator only; log-in, log-out and new passwords are noted."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """As the rest of the application sees it."""
        return client_address(request)

    def login(self, request: HttpRequest, user: Any) -> None:
        """Open a session, once that stands in the ledger."""
        factor = "password and second factor" if second_factor(request, user) else "password"
        told = reset_since_last_log_in(user)
        note("log-in", request, user, proof=factor)
        super().login(request, user)
        begin(request)
        if told:
            messages.warning(request, told)

    def logout(self, request: HttpRequest) -> None:
        """End the session; it ends even when the ledger cannot be written."""
        person = request.user
        super().logout(request)
        note("log-out", request, person)

    def set_password(self, user: Any, password: str) -> None:
        """Give a person the new password that they chose; their sessions end with the old one."""

        def work(act: Act) -> None:
            change = {"password": make_password(password), "must_change_password": False}
            act.change(user, "person", change)
            record(act, "password change", user)

        written("password change", context.request, work)

    def clean_password(self, password: str, user: Any = None) -> str:
        """A new password is another one than the old."""
        cleaned: str = super().clean_password(password, user)
        if user is not None and user.check_password(cleaned):
            raise ValidationError("this is the password that you have: choose another one")
        return cleaned

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where a person goes who named no page: with several duties, to choose the role."""
        return reverse("role" if len(roles_today(request.user)) > 1 else "today")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """To log in with the new password."""
        return reverse("account_login")

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Whoever has just logged in need not prove it again to set up a second factor."""
        records = get_authentication_records(context.request, context.request.user)
        if records and seconds() - records[-1]["at"] < JUST_NOW_SECONDS:
            return False
        return bool(super().is_reauthentication_required(app=app, **kwargs))


JUST_NOW_SECONDS = 300
"""For so long after a log-in nobody has to prove it again, as in django-allauth."""


def second_factor(request: HttpRequest, person: Any) -> bool:
    """Whether this session was opened with a second factor, by this person."""
    return any(one.get("method") == "mfa" for one in get_authentication_records(request, person))


class NewPasswordForm(ChangePasswordForm):
    """The form for a new password: wrong old ones count as failed log-ins do."""

    def clean_oldpassword(self) -> str:
        """The old password, if it is right."""
        from equipoise.conduct.proving import proved

        given = str(self.cleaned_data.get("oldpassword", ""))
        if not proved(context.request, given):
            raise ValidationError("this is not your password")
        return given


# --- the second factor ------------------------------------------------------------------------------------


class SecondFactor(DefaultMFAAdapter):
    """What is kept of a second factor is encrypted with the key of the trial, which is in no backup."""

    def _cipher(self) -> Fernet:
        secret = hashlib.blake2b(
            opening.folder().key("web"), digest_size=32, person=b"second factor"
        ).digest()
        return Fernet(base64.urlsafe_b64encode(secret))

    def encrypt(self, text: str) -> str:
        """For the database."""
        return self._cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """From the database."""
        try:
            return self._cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise Unavailable(
                "your second factor was set up under another key of this trial and cannot be read: ask the "
                "administrator to reset your log-in"
            ) from None

    def _get_user_identifier(self, user: Any) -> str:
        return str(user.username)

    def _get_site_name(self) -> str:
        return opening.folder().name

    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        """A name to begin with."""
        from allauth.mfa.models import Authenticator

        return f"Passkey {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"


def _counted(form: Any) -> None:
    """Refuse to look at a code while the person is locked out at this address."""
    from axes.handlers.proxy import AxesProxyHandler

    if AxesProxyHandler.is_locked(context.request, {"username": form.user.username}):
        context.request.axes_locked_out = True
        context.request.axes_credentials = {"username": form.user.username}
        raise ValidationError("too many failures: wait a while")


class CodeForm(AuthenticateForm):
    """The code at log-in; wrong ones count as wrong passwords do."""

    def clean_code(self) -> str:
        """The code, if it is right."""
        _counted(self)
        return str(super().clean_code())


class CodeAgainForm(ReauthenticateForm):
    """The code, asked for again in a session."""

    def clean_code(self) -> str:
        """The code, if it is right."""
        _counted(self)
        return str(super().clean_code())


# --- lock-out ---------------------------------------------------------------------------------------------


class Lockouts(AxesDatabaseHandler):
    """Counts failures. Nothing of what a form held is kept with them: it may be clinical data."""

    def user_login_failed(self, sender: Any, credentials: Any, request: Any = None, **kwargs: Any) -> None:
        """Count one failure."""
        if request is None:
            return
        bare = copy.copy(request)
        bare.GET, bare.POST = QueryDict(), QueryDict()
        super().user_login_failed(sender, credentials, bare, **kwargs)
        for name, value in vars(bare).items():
            if name.startswith("axes_"):
                setattr(request, name, value)


def on_failure(sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any) -> None:
    """A failed log-in, or a wrong password at a signature: one entry; a lock-out another one. (Tries while
    locked out are refused unseen and add nothing, or anybody could fill the ledger.)"""
    if request is None or getattr(request, "axes_failures_since_start", None) is None:
        return
    person = Person.objects.filter(username__iexact=axes_name(credentials)).first()
    at = (
        "signing or confirming"
        if getattr(request, "user", None) and request.user.is_authenticated
        else "log-in"
    )
    note("failed log-in", request, person, at=kwargs.get("at", at))
    if request.axes_locked_out:
        note("lock-out", request, person, address=client_address(request))
        if request.user.is_authenticated:
            request.session.flush()


def on_wrong_code(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """A wrong code of a second factor counts as a wrong password does."""
    from django.contrib.auth.signals import user_login_failed

    user_login_failed.send(
        sender=sender, credentials={"username": user.username}, request=request, at="second factor"
    )


def on_factor_added(sender: Any, request: Any, user: Any, authenticator: Any, **kwargs: Any) -> None:
    """A second factor was set up: who did it has just used it."""
    try:
        note("second factor added", request, user, factor=authenticator.type)
    except Refused:
        authenticator.delete()
        raise
    if authenticator.type != authenticator.Type.RECOVERY_CODES:
        record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    request.session["set up"] = False


def on_factor_reset(sender: Any, request: Any, user: Any, authenticator: Any, **kwargs: Any) -> None:
    """New recovery codes were made."""
    note("recovery codes made", request, user)


def on_factor_removed(sender: Any, request: Any, user: Any, authenticator: Any, **kwargs: Any) -> None:
    """A second factor was removed. Without any, the session has none either, and keys to the API end."""
    from allauth.mfa.models import Authenticator

    left = Authenticator.objects.filter(user_id=user.pk).exists()

    def work(act: Act) -> None:
        record(act, "second factor removed", user, factor=authenticator.type)
        if not left:
            revoke_tokens(act, user, "no second factor is left")

    written("second factor removed", request, work)
    if not left:
        records = get_authentication_records(request, user)
        request.session["account_authentication_methods"] = [
            one for one in records if one.get("method") != "mfa"
        ]
        request.session["set up"] = wants_second_factor(user)


def revoke_tokens(act: Act, person: Person, reason: str) -> None:
    """End the keys of a person to the API."""
    for token in person.tokens.filter(revoked_at=None):
        act.change(token, "token", {"revoked_at": act.at}, reason=reason)


def give_first_password(act: Act, person: Person, password: str, reason: str) -> None:
    """Reset the log-in of a person: a first password, which is to be changed; keys to the API end. The person
    is told, by a message and on the first page after their next log-in."""
    change = {"password": make_password(password), "must_change_password": True}
    act.change(person, "person", change, reason=reason)
    revoke_tokens(act, person, reason)
    if person.email:
        Outbox.objects.create(
            at=act.at, to=person.email, subject=f"{act.trial.name}: your log-in was reset",
            body=f"{_reset_words(act.actor.person.username, act.at)} {_IF_NOT_ASKED}",
        )  # fmt: skip


RESET = "log-in reset"
"""Field of the entry of a person that says so."""
_IF_NOT_ASKED = "If you did not ask for that, tell the trial's administrator and your site at once."


def _reset_words(by: str, at: datetime) -> str:
    who = "on the server itself" if by == SYSTEM else f"by {by}"
    zone = opening.folder().zone
    there = at.astimezone(ZoneInfo(zone))
    return f"Your log-in was reset {who} on {entering.short(there)} at {there:%H:%M} ({zone})."


def reset_since_last_log_in(person: Person) -> str:
    """What a person is told whose log-in was reset since they last logged in; empty when it was not."""
    about = Entry.objects.filter(subject=str(person.pk)).order_by("-n")
    reset = about.filter(kind="person", field=RESET).first()
    last = about.filter(kind="account", field="log-in").first()
    if reset is None or (last is not None and last.n > reset.n):
        return ""
    return f"{_reset_words(reset.person, reset.at)} {_IF_NOT_ASKED}"


def connect() -> None:
    """Hear what the libraries tell; called once, after theirs are connected."""
    from allauth.mfa import signals as mfa
    from django.contrib.auth.signals import user_login_failed

    for signal, receiver in (
        (user_login_failed, on_failure),
        (mfa.authentication_failed, on_wrong_code),
        (mfa.authenticator_added, on_factor_added),
        (mfa.authenticator_reset, on_factor_reset),
        (mfa.authenticator_removed, on_factor_removed),
    ):
        signal.connect(receiver, dispatch_uid=f"equipoise.{receiver.__name__}")


def locked_out(request: HttpRequest, response: Any, credentials: Any) -> Any:
    """What somebody sees who is locked out."""
    from django.conf import settings
    from django.http import JsonResponse
    from django.shortcuts import render

    minutes = round(settings.AXES_COOLOFF_TIME * 60)
    if request.path.startswith("/api/"):
        words = f"too many failed log-ins from this address: wait {minutes} minutes"
        return JsonResponse({"refused": words}, status=429)
    return render(request, "account/locked.html", {"minutes": minutes}, status=429)
