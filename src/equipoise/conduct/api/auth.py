"""How a request to the API says who sends it: a personal token, or the session of a browser.

Views of the API are exempt from Django's own check against forged requests, so each way in answers for
itself: a token is never sent by a browser on its own, and the session cookie counts only together with the
CSRF token. `WAYS_IN` is all there is; a test holds every operation against it.
"""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest
from ninja.security import HttpBearer, django_auth
from ninja.security.session import SessionAuth

from equipoise.conduct.gateway import NotAllowed

READ: Final = "read"
"""The scope of a token that lets it read."""


class TokenAuth(HttpBearer):
    """`Authorization: Bearer TOKEN`. The middleware has found its owner already."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """The actor of the token; None when it is not one that counts."""
        actor: Any = getattr(request, "actor", None)
        return actor if actor is not None and actor.scopes is not None else None


token_auth = TokenAuth()
WAYS_IN: Final = (token_auth, django_auth)
WAYS_IN_TYPES: Final = (TokenAuth, SessionAuth)


def check_may_read(request: Any) -> None:
    """Raise NotAllowed when the request came with a token that is not for reading."""
    scopes = request.actor.scopes
    if scopes is not None and not scopes & {"all", READ}:
        raise NotAllowed(f'the token does not allow "{READ}"')
