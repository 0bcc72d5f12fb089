"""What somebody has typed and not yet saved: kept beside the data of the trial, for that person alone.

A page sends it while they type (`static/drafts.js`) and it is offered again when they come back, after a
time-out as after a power cut. It is no record: it enters the trial when it is saved as a form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.urls import Resolver404, resolve
from django.views.decorators.http import require_POST

from equipoise.conduct import clock
from equipoise.conduct.models import Draft, Person

LARGEST_BYTES = 200_000
KEPT_DAYS = 30
"""Largest draft, and for how long one is kept (assumed)."""
AUTOMATIC = "Equipoise-Automatic"
"""Header of a request that a page sent by itself, which shows nobody at the keyboard."""
NEVER_KEPT = ("password", "oldpassword", "password1", "password2", "code", "credential", "request_key",
              "csrfmiddlewaretoken", "login", "reconfirm")  # fmt: skip


def is_automatic(request: HttpRequest) -> bool:
    """Whether a page sent this by itself. Only drafts may: anything else shows somebody at work."""
    return AUTOMATIC in request.headers and request.path == "/drafts/"


def page_of(request: HttpRequest) -> str:
    """The page on which something was typed: the one that sent the request."""
    sent_from = urlsplit(request.headers.get("Referer", ""))
    if sent_from.netloc != request.get_host():
        return request.path
    return sent_from.path or request.path


def typed(posted: QueryDict) -> dict[str, list[str]]:
    """What a form held, without what is secret."""
    return {name: posted.getlist(name) for name in posted if name not in NEVER_KEPT}


def keep(person: Person, page: str, content: Mapping[str, Any]) -> bool:
    """Keep what was typed on a page, in place of what was kept before; False when there is nothing to keep or
    the page cannot have a draft."""
    if not content or not _is_page(page) or len(json.dumps(content)) > LARGEST_BYTES:
        return False
    now = clock.now()
    Draft.objects.filter(person=person, saved_at__lt=now - timedelta(days=KEPT_DAYS)).delete()
    Draft.objects.update_or_create(
        person=person, page=page, defaults={"content": dict(content), "saved_at": now}
    )
    return True


def _is_page(page: str) -> bool:
    try:
        name = resolve(page).view_name
    except Resolver404:
        return False
    return len(page) <= 300 and not name.startswith(("account_", "mfa_"))


def drop_what_was_saved(request: HttpRequest, response: HttpResponse) -> None:
    """Forget the draft of a page whose form was taken."""
    if request.method != "POST" or response.status_code >= 400 or request.path == "/drafts/":
        return
    if request.user.is_authenticated and request.timed_out is None:
        with suppress(OperationalError):  # the form is saved, whether or not its draft can go now
            Draft.objects.filter(person=request.user, page=page_of(request)).delete()


@require_POST
def draft(request: HttpRequest) -> HttpResponse:
    """Keep, give back or forget what the person typed on a page. (All in the body: nothing of it stands in an
    address.)"""
    try:
        told = json.loads(request.body)
        do, page = str(told["do"]), str(told["page"])
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"refused": "this is not a draft"}, status=422)
    person: Any = request.user
    if do == "keep":
        content = told.get("content")
        if not isinstance(content, dict) or not all(_is_typed(*pair) for pair in content.items()):
            return JsonResponse({"refused": "this is not a draft"}, status=422)
        return JsonResponse({"kept": keep(person, page, content)})
    if do == "forget":
        Draft.objects.filter(person=person, page=page).delete()
        return JsonResponse({"kept": False})
    found = Draft.objects.filter(person=person, page=page).first()
    if found is None:
        return JsonResponse({"content": None})
    return JsonResponse({"content": found.content, "saved_at": found.saved_at.isoformat()})


def _is_typed(name: str, values: Any) -> bool:
    return (
        name not in NEVER_KEPT
        and isinstance(values, list)
        and all(isinstance(value, str) for value in values)
    )
