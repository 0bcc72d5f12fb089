"""The addresses of the API: one for each command, those that read, the schema."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

import equipoise
from equipoise.conduct.api.auth import WAYS_IN
from equipoise.conduct.api.body import StrictParser
from equipoise.conduct.api.commands import add_commands
from equipoise.conduct.api.reading import add_reading
from equipoise.conduct.gateway import Refused

BAD_REQUEST = 400

api = NinjaAPI(
    title="Equipoise: the trial over HTTP",
    version=equipoise.__version__,
    description=(
        "Every command of the trial, and the record to read. A request comes with a personal token "
        "(`Authorization: Bearer`), or with the session of a browser and its CSRF token. What is refused is "
        'answered with {"refused": words, "field": name}.'
    ),
    urls_namespace="api",
    docs_url=None,
    auth=WAYS_IN,
    parser=StrictParser(),
)
add_commands(api)
add_reading(api)


def _refusal(request: HttpRequest, words: str, field: str, status: int) -> HttpResponse:
    return api.create_response(request, {"refused": words, "field": field}, status=status)


@api.exception_handler(Refused)
def _refused(request: HttpRequest, error: Any) -> HttpResponse:
    return _refusal(request, error.words, error.field, error.status)


@api.exception_handler(ValidationError)
def _not_valid(request: HttpRequest, error: Any) -> HttpResponse:
    first = error.errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "given"))
    return _refusal(request, f"{where}: {first['msg']}" if where else first["msg"], where, 422)


@api.exception_handler(AuthenticationError)
def _not_logged_in(request: HttpRequest, error: Any) -> HttpResponse:
    return _refusal(request, "log in, or send a token", "", 401)


@api.exception_handler(HttpError)
def _http(request: HttpRequest, error: Any) -> HttpResponse:
    if error.status_code == BAD_REQUEST:  # a body that cannot be read; the parser says why
        return _refusal(request, str(error.__cause__ or error.__context__ or error), "", 422)
    return _refusal(request, str(error), "", error.status_code)


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Any) -> HttpResponse:
    return _refusal(request, "there is nothing at this address", "", 404)


urlpatterns = [path("", api.urls)]
