"""People in a real browser, under the content security policy: passkeys, and drafts over a time-out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conduct_people import code
from conduct_trial import PASSWORD, copied

CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium here")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The trial at work at an address of this machine."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    copied(tmp_path / "trial")
    from django.core.wsgi import get_wsgi_application

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    made = make_server("127.0.0.1", 0, get_wsgi_application(), Server, Quiet)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.fixture
def page(server: str) -> Iterator[Any]:
    """A page of a browser with a passkey device; it must break no rule of the content security policy."""
    said: list[str] = []
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = chromium.new_context(base_url=server)
        context.set_default_timeout(20_000)
        opened = context.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(f"error: {error}"))
        device = context.new_cdp_session(opened)
        device.send("WebAuthn.enable")
        device.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                    "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
                }
            },
        )  # fmt: skip
        yield opened
        chromium.close()
    assert [one for one in said if "Content Security Policy" in one or one.startswith("error:")] == []


def _log_in(page: Any, name: str) -> None:
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit]")


@pytest.mark.requirement("U7")
def test_a_passkey_is_set_up_and_lets_in(page: Any) -> None:
    page.goto("/people/")
    _log_in(page, "admin")
    page.click("text=Add a passkey")
    page.click("#passkey_add")
    page.wait_for_url("**/recovery-codes/")
    page.goto("/people/")
    assert page.inner_text("h1") == "People"
    page.goto("/account/logout/")
    page.click("main button[type=submit]")
    _log_in(page, "admin")
    page.click("#passkey_use")
    page.wait_for_selector("text=Log out", state="attached")
    page.goto("/own/")
    assert "Used in this session\n✓ yes" in page.inner_text(".facts")


@pytest.mark.requirement("U6")
def test_what_is_typed_is_offered_again_after_a_time_out_and_not_after_it_was_saved(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    page.goto("/own/tokens/")
    _log_in(page, "pia")
    page.goto("/account/second-factor/totp/activate/")
    page.fill("input[name=code]", code(page.inner_text("code.hash")))
    page.click("main button[type=submit]")
    page.wait_for_url("**/recovery-codes/")
    recovery = page.inner_text("ol code >> nth=0")
    monkeypatch.setattr(settings, "IDLE_MINUTES", 8 / 60)
    page.goto("/own/tokens/")
    page.fill("#label", "for the ward")
    page.check("input[value=read]")
    page.wait_for_selector("#idle-warning")
    page.wait_for_url("**/account/login/**")
    monkeypatch.setattr(settings, "IDLE_MINUTES", 20)
    page.goto("/account/login/?next=/own/tokens/")
    _log_in(page, "pia")
    page.fill("input[name=code]", recovery)
    page.click("main button[type=submit]")
    page.wait_for_selector("#draft-offer")
    page.click("text=Put it back")
    assert page.input_value("#label") == "for the ward"
    assert page.is_checked("input[value=read]")
    page.click("button:has-text('Issue')")
    page.wait_for_selector("#shown-once")
    page.wait_for_load_state("networkidle")
    page.goto("/own/tokens/")
    page.wait_for_load_state("networkidle")
    assert page.query_selector("#draft-offer") is None
