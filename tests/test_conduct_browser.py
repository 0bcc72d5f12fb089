"""A participant from screening to withdrawal, in a real browser, by keyboard alone.

A coordinator and an investigator log in with their second factor and take one participant through screening,
randomisation, two cycles, a missed injection, a toxicity with a reduction, a corrected CD4 count, a serious
adverse event and withdrawal. Nothing is clicked: Tab, Enter, Space, digits and what is typed. The pictures of
each step lie in the folder that EQUIPOISE_SCREENSHOTS names (else in a temporary one).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from conduct_people import code
from conduct_trial import PASSWORD, START, copied
from equipoise.conduct import clock, opening

CHROMIUM = "/usr/bin/chromium"
MOST_STEPS = 600
"""Presses of Tab after which something is not within reach of the keyboard."""
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""Rules of the tool that stand for WCAG 2.2, level AA."""
ANSWERS = {
    "age": "41", "cd4_historical": "150", "cd4_visit1": "170", "hiv_rna_historical": "<50",
    "hiv_rna_visit1": "60", "art_drugs": "3", "art_stable_months": "12", "art_days_stopped": "0",
    "karnofsky": "90", "ast_uln": "1.2", "bilirubin_uln": "0.8", "amylase_uln": "0.9", "proteinuria": "0",
    "creatinine_uln": "0.9", "neutrophils": "2400", "haemoglobin": "13.1", "platelets": "210000",
    "cd4_nadir": "60", "hiv_rna_highest_ultrasensitive": "90000", "country": "USA", "sex": "2",
    "hiv_rna": "<50", "toxicity_reviewed": "1",
    **dict.fromkeys(
        ("consent", "follow_up_agreed", "hiv_elisa_positive", "hiv_western_blot_positive", "on_art",
         "art_includes_pi", "contraception_effective"), "1",
    ),
}  # fmt: skip
"""Item -> keys that answer it. Other coded items get 2 (no), other numbers "na" (not applicable)."""

_MISSING = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(_MISSING) or not Path(CHROMIUM).exists(),
    reason=f"not on this machine: {', '.join(_MISSING) or CHROMIUM}",
)


# --- the server ---------------------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _allocate_first_to(arm: str, levels: Mapping[str, str]) -> None:
    """Give the trial a key whose sequence begins with that arm in that stratum (the key decides, nothing
    else does; nobody is allocated yet)."""
    from equipoise.conduct import sealing
    from equipoise.conduct.commands.randomization import stratum_name
    from equipoise.rules import randomization

    trial = opening.folder()
    plan = randomization.scheme(trial.protocol)
    stratum = stratum_name(plan, dict(levels))
    for number in range(256):
        key = bytes([number]) * 32
        drawn = sealing.Sequence(key).uniforms(trial.protocol_sha256, stratum, 1)
        first = randomization.step(plan, randomization.EMPTY, tuple(levels.values()), *drawn)
        if plan.arms[first.arm] == arm:
            (trial.path / "keys" / "allocation.key").write_text(key.hex() + "\n", encoding="ascii")
            return
    raise AssertionError(f"no key begins with {arm}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A rehearsal being served by the production server."""
    folder = tmp_path_factory.mktemp("browser") / "trial"
    with clock.at(START):
        copied(folder)
        _allocate_first_to("il2", {"cd4_stratum": "50-199", "country": "USA"})
    port = _free_port()
    told = folder / "log" / "said.txt"
    with told.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "equipoise", "conduct", "serve", str(folder), "--port", str(port)],
            stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE": "1"},
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/account/login/", server, told)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url: str, server: Any, told: Path) -> None:
    for _ in range(240):
        if server.poll() is not None:
            raise AssertionError(told.read_text())
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server does not answer")


# --- somebody at a keyboard -------------------------------------------------------------------------------


class Keyboard:
    """A person at a browser who has no mouse."""

    def __init__(self, browser: Any, address: str, pictures: Path) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.pictures = pictures
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda one: self.complaints.append(one.text) if "Content Security" in one.text else None,
        )

    def it_is(self, moment: str) -> None:
        """The time of the rehearsal."""
        told = datetime.fromisoformat(moment).isoformat()
        self.context.set_extra_http_headers({"Equipoise-Now": told})

    def open(self, path: str) -> None:
        """Type an address."""
        self.page.goto(path)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def here(self) -> dict[str, str]:
        """What has the focus: its tag, name, value and words."""
        return dict(
            self.page.evaluate(
                "() => { const a = document.activeElement; return {tag: a.tagName, type: a.type || '', "
                "name: a.name || '', value: a.value || '', words: (a.innerText || '').trim(), "
                "main: String(!!a.closest('main'))}; }"
            )
        )

    def reach(self, **wanted: str) -> dict[str, str]:
        """Press Tab until what has the focus is what is wanted."""
        for _ in range(MOST_STEPS):
            self.press("Tab")
            found = self.here()
            if all(
                found[name] == value or (name == "words" and value in found[name])
                for name, value in wanted.items()
            ):
                return found
        raise AssertionError(f"{wanted} cannot be reached by keyboard on {self.page.url}")

    def fill(self, name: str, text: str) -> None:
        """Go to a field and type over what stands there."""
        self.reach(name=name)
        self.press("Control+a")
        self.type(text)

    def push(self, words: str, tag: str = "BUTTON") -> None:
        """Go to a button or link and press Enter; the page that follows is loaded."""
        self.reach(tag=tag, words=words)
        with self.page.expect_navigation():
            self.press("Enter")

    def says(self, words: str) -> None:
        """The page shows these words."""
        assert words in self.page.inner_text("main"), self.page.inner_text("main")[:2500]

    def picture(self, name: str) -> None:
        """Keep a picture of the page, and note what a tool for accessibility and a window of half the width
        (200% zoom) find wrong with it."""
        from axe_playwright_python.sync_playwright import Axe

        self.page.screenshot(path=str(self.pictures / f"{name}.png"), full_page=True)
        asked = {"runOnly": {"type": "tag", "values": list(WCAG)}, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=asked)
        self.complaints += [
            f"{name}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found.response["violations"]
        ]
        self.page.set_viewport_size({"width": 640, "height": 400})
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if self.page.evaluate(wide) > 0:
            self.complaints.append(f"{name}: at 200% zoom the page is wider than the window")
        self.page.screenshot(path=str(self.pictures / f"{name}-200.png"))
        self.page.set_viewport_size({"width": 1280, "height": 800})

    # --- log-in ---

    def log_in(self, name: str) -> None:
        """Name, password, and an authenticator, which is set up at the first log-in."""
        self.open("/account/login/")
        self.fill("login", name)
        self.fill("password", PASSWORD)
        self.push("Log in")
        self.open("/account/second-factor/totp/activate/")
        secret = self.page.inner_text("code.hash")
        self.fill("code", code(secret))
        self.push("Set up")

    # --- forms ---

    def answer_all(self, **over: str) -> None:
        """Go through a form from top to bottom and answer everything that is asked, then complete it."""
        keys = {**ANSWERS, **over}
        self.fill("done_on", "t")
        while True:
            self.press("Tab")
            found = self.here()
            if found["tag"] == "BUTTON" and found["words"].startswith("Save as complete"):
                with self.page.expect_navigation():
                    self.press("Enter")
                return
            if not found["name"].startswith("text:"):
                continue
            item = found["name"].removeprefix("text:")
            coded = found["type"] == "radio"
            self.type(keys.get(item, "2" if coded else "na"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where the pictures go."""
    folder = Path(os.environ.get("EQUIPOISE_SCREENSHOTS") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_participant_from_screening_to_withdrawal_by_keyboard_alone(address: str, pictures: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        ada, ivo = Keyboard(browser, address, pictures), Keyboard(browser, address, pictures)
        for one, name in ((ada, "ada"), (ivo, "ivo")):
            one.it_is("2026-03-03T09:00:00+01:00")
            one.log_in(name)
        number = _screened(ada, ivo)
        _randomised(ada, number)
        _first_cycle(ada, ivo, number)
        _second_cycle(ada, ivo, number)
        _corrected(ada, ivo, number)
        _ended(ada, number)
        _looked_at(ivo, number)
        assert "\n".join([*ada.complaints, *ivo.complaints]) == ""
        browser.close()
    _everything_is_on_record(number)


def _screened(ada: Keyboard, ivo: Keyboard) -> str:
    ada.open("/site/1/screening/")
    ada.fill("consent_on", "2 mar 2026")
    ada.press("Enter")
    assert ada.page.url.endswith("/site/1/screening/"), "Enter sends no half form"
    ada.fill("consent_version", "2.1")
    ada.fill("screened_on", "t")
    ada.picture("01-consent")
    ada.push("Begin screening")
    number = ada.page.url.rstrip("/").split("/")[-2]
    ada.push("Pre-study visit 1", tag="A")
    ada.answer_all()
    ada.says("saved, complete")
    ada.picture("02-first-screening-form")
    ada.press("Alt+n")
    ada.page.wait_for_url("**/prestudy2/")
    ada.answer_all(on_art="1")
    ada.says("saved, complete")
    ivo.open(f"/participant/{number}/screening/")
    ivo.says("Eligible.")
    ivo.reach(name="password")
    ivo.type(PASSWORD)
    ivo.push("Sign")
    ivo.says("Eligibility is signed.")
    ivo.picture("03-eligibility-signed")
    return number


def _randomised(ada: Keyboard, number: str) -> None:
    ada.open(f"/participant/{number}/screening/")
    ada.push("Go to randomisation", tag="A")
    for name in ("stratum:cd4_stratum", "stratum:country"):
        ada.reach(name=name)
        ada.press("Space")
    ada.picture("04-strata-confirmed")
    ada.push("Randomise")
    ada.says("IL-2 + ART")
    ada.picture("05-randomised")
    ada.open(f"/participant/{number}/randomise/")
    ada.says("IL-2 + ART")


def _decided(ada: Keyboard, ivo: Keyboard, number: str, on: date, cycle: int) -> None:
    ada.open(f"/participant/{number}/form/check/aldesleukin:{on.isoformat()}/")
    ada.reach(name="text:on_art")
    ada.type(ANSWERS["on_art"])
    while not ada.here()["words"].startswith("Save as complete"):
        ada.press("Tab")
        found = ada.here()
        if found["name"].startswith("text:"):
            ada.type(ANSWERS.get(found["name"].removeprefix("text:"), "2"))
    with ada.page.expect_navigation():
        ada.press("Enter")
    assert "/decide/aldesleukin/" in ada.page.url
    ivo.open(f"/participant/{number}/decide/aldesleukin/")
    ivo.picture(f"07-decision-{cycle}")
    ivo.reach(name="accepted")
    ivo.type("1")
    ivo.reach(name="password")
    ivo.type(PASSWORD)
    ivo.push("Accept and sign")
    ivo.says(f"Cycle {cycle} is started and signed.")


def _injected(ada: Keyboard, number: str, cycle: int, missed: int | None = None) -> None:
    ada.open(f"/participant/{number}/cycles/aldesleukin/{cycle}/")
    for n in range(1, 11):
        ada.reach(name=f"state:{n}")
        ada.type("3" if n == missed else "1")
    if missed is not None:
        ada.reach(name=f"symptoms:{10}")
        ada.type("tired")
    ada.picture(f"08-injections-{cycle}")
    ada.push("Save as complete")
    ada.says(f"Cycle {cycle} is complete.")


def _first_cycle(ada: Keyboard, ivo: Keyboard, number: str) -> None:
    ada.open(f"/participant/{number}/form/visit/entry:0/")
    ada.answer_all(cd4="165")
    ada.picture("06-visit")
    _decided(ada, ivo, number, date(2026, 3, 3), 1)
    for one in (ada, ivo):
        one.it_is("2026-03-09T09:00:00+01:00")
    _injected(ada, number, 1, missed=4)


def _second_cycle(ada: Keyboard, ivo: Keyboard, number: str) -> None:
    ada.open(f"/participant/{number}/events/new/")
    ada.fill("term", "Rigors with fever")
    ada.fill("onset", "5 mar 2026")
    ada.reach(name="grade")
    ada.type("3")
    ada.reach(name="serious")
    ada.type("1")
    ada.reach(name="serious_because")
    ada.type("hos")
    ada.fill("aware_on", "-1")
    ada.fill("aware_time", "18:30")
    ada.reach(name="attributed")
    ada.type("1")
    ada.picture("09-adverse-event")
    ada.push("Report the event")
    ada.says("24 hours")
    ada.picture("10-adverse-event-reported")
    for one in (ada, ivo):
        one.it_is("2026-04-28T09:00:00+02:00")
        one.open("/")
    ada.open(f"/participant/{number}/form/visit/year1:56/")
    ada.answer_all(cd4="180")
    _decided(ada, ivo, number, date(2026, 4, 28), 2)
    ivo.open(f"/participant/{number}/decide/aldesleukin/")
    ivo.says("3 MIU")
    for one in (ada, ivo):
        one.it_is("2026-05-05T09:00:00+02:00")
    _injected(ada, number, 2)


def _corrected(ada: Keyboard, ivo: Keyboard, number: str) -> None:
    ada.open(f"/participant/{number}/form/visit/year1:56/")
    ada.fill("text:cd4", "108")
    ada.press("Control+s")
    ada.page.wait_for_selector("#refusal")
    ada.says("say why it is changed")
    ada.reach(name="reason")
    ada.type("1")
    with ada.page.expect_navigation():
        ada.press("Control+s")
    ada.says("saved, complete")
    ivo.open(f"/participant/{number}/decide/aldesleukin/")
    ivo.says("A correction touches decision 2")
    ivo.picture("11-corrected-count-flags-the-decision")
    ivo.fill("settle_text", "no other dose would have been given")
    ivo.push("Settle the flag")
    ivo.says("The flag is settled.")


def _ended(ada: Keyboard, number: str) -> None:
    ada.open(f"/participant/{number}/end/")
    ada.reach(name="status")
    ada.type("4")
    ada.fill("on", "t")
    ada.reach(name="reason")
    ada.type("moves away")
    ada.push("Record the end")
    ada.says("The end is recorded.")
    ada.picture("12-withdrawn")
    ada.open(f"/participant/{number}/")
    ada.picture("13-chart")


def _looked_at(ivo: Keyboard, number: str) -> None:
    for name, path in (
        ("14-medication", f"/participant/{number}/medication/"),
        ("15-queries", "/queries/"),
        ("16-safety", "/safety/"),
        ("17-order-and-diary", f"/participant/{number}/cycles/aldesleukin/1/print/"),
        ("18-form-on-paper", f"/participant/{number}/form/visit/year1:56/print/?filled"),
        ("19-form-complete", f"/participant/{number}/form/visit/year1:56/"),
        ("20-screening-over", f"/participant/{number}/screening/"),
    ):
        ivo.open(path)
        ivo.picture(name)
    ivo.open("/queries/")
    ivo.push("Endpoint to be documented", tag="A")
    ivo.picture("21-query")


def _everything_is_on_record(number: str) -> None:
    from equipoise.conduct.models import Cycle, Event, Flag, Participant, Signature, Value

    person = Participant.objects.get(number=number)
    assert (person.status, person.ended_how) == ("ended", "withdrew")
    assert person.strata == {"cd4_stratum": "50-199", "country": "USA"}
    cycles = list(Cycle.objects.filter(participant=person).order_by("number"))
    assert [cycle.dose for cycle in cycles] == [4.5, 3.0]
    assert [cycles[0].injections.get(number=4).state, cycles[1].injections.get(number=4).state] == [
        "missed", "given",
    ]  # fmt: skip
    assert Event.objects.get(participant=person).versions.get().serious
    assert Value.objects.get(form__participant=person, form__key="year1:56", item="cd4").text == "108"
    flag = Flag.objects.get(decision__participant=person)
    assert (flag.settled_by, flag.differs) == ("ivo", False)
    assert Signature.objects.filter(participant=number).count() == 3
