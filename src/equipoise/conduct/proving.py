"""Proof, with the password, that whoever sits at the keyboard is the person of the session."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.http import HttpRequest

from equipoise.conduct.models import Person


def proved(request: HttpRequest, password: str, person: Person | None = None) -> bool:
    """Whether this is the password of the person of the request (or of `person`, the owner of a token).

    A wrong one counts as a failed log-in; at the limit the person is locked out at this address and the
    session ends. (`Person.check_password` would count nothing.)
    """
    who = person or request.user
    if not password or not who.is_active or not who.username:
        return False
    found = authenticate(request, username=who.username, password=password)
    return found is not None and found.pk == who.pk
