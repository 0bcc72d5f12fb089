"""Personal keys to the API. Shown once, kept only as SHA-256; they do what their scopes name and their owner
may.

A key is issued in a session with a second factor, and stands for it: it ends when its owner's last second
factor is removed, when their log-in is reset and when they leave. It proves no presence: a signed command
needs the password with that very request, in the header `Equipoise-Password`; wrong ones count as failed
log-ins.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.http import HttpRequest

from equipoise.conduct import clock
from equipoise.conduct.duties import PASSWORD_HEADER
from equipoise.conduct.gateway import Act, Actor
from equipoise.conduct.models import Token
from equipoise.conduct.proving import proved

START = "equipoise_"
"""By which a key that was lost somewhere is known."""
BYTES = 32
"""256 random bits: nobody can guess one (OWASP ASVS 4.0, 3.2.2 asks for 64)."""


def digest(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def issue(act: Act, label: str, scopes: list[str], days: int) -> tuple[Token, str]:
    """A new key for the person who acts, and its text, which is kept nowhere."""
    text = START + secrets.token_urlsafe(BYTES)
    token = Token(
        person=act.actor.person, label=label, sha256=digest(text), scopes=sorted(set(scopes)),
        created_at=act.at, expires_at=act.at + timedelta(days=days),
    )  # fmt: skip
    act.create(token, "token", shown={"person": act.actor.person.username})
    return token, text


def actor_of_token(text: str, origin: str, request: HttpRequest | None = None) -> Actor | None:
    """Who acts with this key; None when it is not known, ended, or its owner has left.

    `proved` is true only when `request` carries the owner's password as well.
    """
    if not text.startswith(START):
        return None
    found = Token.objects.select_related("person").filter(sha256=digest(text)).first()
    if found is None or found.revoked_at is not None or found.expires_at <= clock.now():
        return None
    if not found.person.is_active:
        return None
    password = "" if request is None else request.headers.get(PASSWORD_HEADER, "")
    return Actor(
        person=found.person,
        origin=origin[:80],
        second_factor=True,
        proved=request is not None and bool(password) and proved(request, password, found.person),
        scopes=frozenset(found.scopes),
    )
