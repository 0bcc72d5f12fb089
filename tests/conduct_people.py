"""People at their browsers, for tests of pages: a client that is logged in, codes of a second factor."""

from __future__ import annotations

import re
from typing import Any

from conduct_trial import PASSWORD

HOST = "localhost"


def browser(address: str = "192.0.2.1", **more: Any) -> Any:
    """A browser at an address, logged out."""
    from django.test import Client

    return Client(headers={"host": HOST}, REMOTE_ADDR=address, **more)


def at_work(name: str, role: str | None = None, *, second_factor: bool = True) -> Any:
    """A browser in which that person is logged in already, in one role or in all of theirs."""
    from equipoise.conduct.models import Person

    person = Person.objects.get(username=name)
    client = browser()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    if second_factor:
        session["account_authentication_methods"] = [
            {"method": "password", "at": 0.0},
            {"method": "mfa", "at": 0.0},
        ]
        session["account_authentication_methods_user"] = str(person.pk)
    session["role"] = role
    session.save()
    return client


def log_in(client: Any, name: str, password: str = PASSWORD, **more: Any) -> Any:
    """Fill in the page of log-in."""
    return client.post("/account/login/", {"login": name, "password": password, **more})


def set_up_authenticator(client: Any) -> str:
    """Set up an authenticator in the page for it; its secret."""
    page = client.get("/account/second-factor/totp/activate/")
    found = re.search(r'<code class="hash">([A-Z2-7]+)</code>', page.content.decode())
    assert found is not None
    secret = found.group(1)
    answer = client.post("/account/second-factor/totp/activate/", {"code": code(secret)})
    assert answer.status_code == 302, answer.content.decode()
    return secret


def code(secret: str, periods: int = 0) -> str:
    """The six digits that an authenticator shows now, or some half minutes later."""
    import time

    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + periods)))
