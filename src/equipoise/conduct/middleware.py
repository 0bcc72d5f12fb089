"""What every request passes: the clock, the life of a session, who acts, plain pages for errors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode

from equipoise.conduct import accounts, clock, drafts, entering, opening, tokens
from equipoise.conduct.gateway import Actor, Refused, check_settings
from equipoise.conduct.models import Trial


class ClockMiddleware:
    """In a rehearsal, and nowhere else, a request says what time it is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        stated = request.headers.get(clock.HEADER)
        if stated is None or opening.folder().kind != "rehearsal":
            return self.get_response(request)
        try:
            moment = datetime.fromisoformat(stated)
            possible = entering.is_possible(moment)
        except ValueError:
            possible = False
        if not possible:
            return HttpResponse(
                f"{clock.HEADER} is not a time such as 2003-05-04T09:30:00+00:00\n", status=400
            )
        try:
            check_settings(Trial.objects.get(id=1))
        except Refused as error:
            return HttpResponse(f"{error.words}\n", status=error.status)
        with clock.at(moment):
            return self.get_response(request)


class SessionMiddleware:
    """Ends a session that was idle, keeping what was typed; first steps come before anything else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.timed_out = None
        known = request.user.is_authenticated
        if known and not drafts.is_automatic(request):
            self._look_at_time(request)
        if request.user.is_authenticated:
            request.idle_seconds = settings.IDLE_MINUTES * 60
        response = self.get_response(request)
        if known:
            response.headers.setdefault("Cache-Control", "no-store, private")
            drafts.drop_what_was_saved(request, response)
        return response

    def _look_at_time(self, request: HttpRequest) -> None:
        now, session = accounts.seconds(), request.session
        idle = now - session.get("seen", now) > settings.IDLE_MINUTES * 60
        if idle or now - session.get("began", now) > settings.SESSION_COOKIE_AGE:
            person = request.user
            logout(request)
            what = "session ended, idle" if idle else "session ended, too long"
            with suppress(Refused):
                accounts.note(what, request, person)
            request.timed_out = person
        elif now - session.get("seen", 0) > SEEN_EVERY_SECONDS:
            session["seen"] = now

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """None lets the view run."""
        match: Any = request.resolver_match
        timed_out = request.timed_out
        if timed_out is not None:
            return self._after_time_out(request, timed_out)
        step = first_step(request)
        if step is None or match.view_name in FIRST_STEPS[step]:
            return None
        if request.path.startswith("/api/"):
            return JsonResponse({"refused": STEP_WORDS[step]}, status=403)
        messages.info(request, STEP_WORDS[step])
        return redirect(step)

    def _after_time_out(self, request: HttpRequest, person: Any) -> HttpResponse | None:
        if request.path.startswith("/api/"):
            return JsonResponse({"refused": TIMED_OUT}, status=401)
        if request.method == "POST":
            drafts.keep(person, drafts.page_of(request), drafts.typed(request.POST))
        if request.resolver_match.view_name == "draft":
            return JsonResponse({"refused": TIMED_OUT}, status=401)
        messages.info(request, TIMED_OUT)
        if request.resolver_match.view_name in ("account_login", "account_logout"):
            return redirect("account_login")
        back = drafts.page_of(request) if request.method == "POST" else request.get_full_path()
        address = f"{reverse('account_login')}?{urlencode({'next': back})}"
        if request.headers.get("HX-Request"):
            return HttpResponse(status=204, headers={"HX-Redirect": address})
        return redirect(address)


SEEN_EVERY_SECONDS = 15
"""A session is written at most this often to say that somebody is there (assumed)."""
TIMED_OUT = (
    f"The session was ended: you were away for more than {settings.IDLE_MINUTES} minutes, or it was open for "
    f"{settings.SESSION_COOKIE_AGE // 3600} hours. What you typed is kept: log in, open the page, and it is "
    "offered to you."
)
_ALWAYS = {"account_login", "account_logout", "account_reauthenticate", "mfa_reauthenticate", "draft",
           "mfa_reauthenticate_webauthn"}  # fmt: skip
FIRST_STEPS = {
    "account_change_password": {*_ALWAYS, "account_change_password"},
    "mfa_index": {
        *_ALWAYS, "account_change_password", "mfa_index", "mfa_activate_totp", "mfa_add_webauthn",
        "mfa_view_recovery_codes", "mfa_download_recovery_codes", "mfa_generate_recovery_codes",
    },
}  # fmt: skip
"""What is open before a first step is done."""
STEP_WORDS = {
    "account_change_password": "Choose a password of your own before anything else.",
    "mfa_index": "Your duties need a second factor: set one up before you begin.",
}


def first_step(request: HttpRequest) -> str | None:
    """The address of what a person must do before anything else; None when there is nothing."""
    if not request.user.is_authenticated:
        return None
    if request.user.must_change_password:
        return "account_change_password"
    return "mfa_index" if request.session.get("set up") else None


class ActorMiddleware:
    """Makes `request.actor` from the session of a person who is logged in, None for anybody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = actor_of(request)
        return self.get_response(request)


def actor_of(request: HttpRequest) -> Actor | None:
    """Who acts: the owner of the token that the request names; else, from the session. A token that does not
    count is nobody, whatever session comes with it."""
    stated = request.headers.get("Authorization")
    if stated is not None and request.path.startswith("/api/"):
        kind, _, token = stated.partition(" ")
        origin = f"api {accounts.client_address(request)}"
        return tokens.actor_of_token(token.strip(), origin) if kind.lower() == "bearer" else None
    user: Any = request.user
    if not user.is_authenticated:
        return None
    return Actor(
        person=user,
        origin=f"page {accounts.client_address(request)}",
        role=request.session.get("role"),
        second_factor=accounts.second_factor(request, user),
    )


class PlainErrorsMiddleware:
    """What a command refused is shown in words, with the status that says why."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A page, or JSON for the API, for a refused command."""
        return shown(request, error) if isinstance(error, Refused) else None


def shown(request: HttpRequest, error: Refused) -> HttpResponse:
    """A refusal in words, with the status that says why: a page, or JSON for the API."""
    if request.path.startswith("/api/"):
        return JsonResponse({"refused": error.words, "field": error.field}, status=error.status)
    return render(
        request, "refused.html", {"words": error.words, "status": error.status}, status=error.status
    )
