"""What every request passes: the clock, who acts, plain pages for errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from equipoise.conduct import clock, opening
from equipoise.conduct.gateway import Actor, Refused

CLOCK_HEADER = "Equipoise-Now"


class ClockMiddleware:
    """In a rehearsal, and nowhere else, a request says what time it is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        stated = request.headers.get(CLOCK_HEADER)
        if stated is None or opening.folder().kind != "rehearsal":
            return self.get_response(request)
        with clock.at(datetime.fromisoformat(stated)):
            return self.get_response(request)


class ActorMiddleware:
    """Makes `request.actor` from the session of a person who is logged in, None for anybody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = actor_of(request)  # type: ignore[attr-defined]
        return self.get_response(request)


def actor_of(request: HttpRequest) -> Actor | None:
    """Who acts, from the session."""
    user: Any = request.user
    if not user.is_authenticated:
        return None
    methods = request.session.get("account_authentication_methods", [])
    return Actor(
        person=user,
        origin=f"page {request.META.get('REMOTE_ADDR', '')}",
        role=request.session.get("role"),
        second_factor=any(method.get("method") == "mfa" for method in methods),
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
