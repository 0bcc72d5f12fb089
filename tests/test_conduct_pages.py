"""The pages that people read: what they show, to whom, and that they are sound."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from conduct_people import at_work, log_in
from conduct_people import browser as logged_out
from conduct_treated import SILCAAT_CHECK, at, check, decide, event, in_silcaat, visit
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

DRUG = "aldesleukin"
DAY0 = date(2026, 3, 3)
LOOKED_AT = datetime(2026, 6, 22, 12, tzinfo=UTC)
ATTACKS = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "</title></textarea><svg onload=alert(1)>",
    "{{ 7|add:7 }}{% debug %}",
    "javascript:alert(1)",
)  # fmt: skip


def _visited(person: Any, arm: str, day: int, key: str, **values: str) -> None:
    """One visit; who is in the arm with cycles has one as well."""
    on = DAY0 + timedelta(days=day)
    with at(on):
        visit(person, key, on, **{"hiv_rna": "<50", "on_art": "yes", **values})
        if arm == "il2":
            check(person, DRUG, on, **SILCAAT_CHECK)
            decide(person, DRUG, on)


def _lived(arms: tuple[str, str]) -> None:
    """Two participants, in these arms, to whom the same happens apart from their treatment."""
    with at(DAY0):
        both = [in_silcaat(DAY0, arm=arm, cd4=150.0, number=n) for n, arm in enumerate(arms, start=1)]
    for day, key in ((0, "entry:0"), (56, "year1:56")):
        for person, arm in zip(both, arms, strict=True):
            _visited(person, arm, day, key, cd4=f"{160 + day}")
    with at(DAY0 + timedelta(days=70)):
        for person in both:
            event(person, "2026-05", 2, attributed=None, term="headache")
        do("query.open", "mona", participant=both[0].number, text="please send the report")
        do(
            "disposition.record",
            "ada",
            participant=both[1].number,
            status="withdrew",
            on=DAY0 + timedelta(days=69),
            reason="moved away",
        )


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        folder = copied(tmp_path_factory.mktemp("pages") / "trial")
        _lived(("il2", "control"))
    with clock.at(LOOKED_AT):
        yield folder


def _get(who: str, address: str, **headers: str) -> Any:
    return at_work(who).get(address, headers={"host": "localhost", **headers})


def _words(answer: Any) -> str:
    """A page as it is read."""
    html = re.sub(r"<(head|script)\b.*?</\1>", " ", answer.content.decode(), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


CHART = "/participant/001-0001-A/"
READ_BY_ALL = ("/", "/trial/")
READ_BY_SITES = (*READ_BY_ALL, "/participants/", "/overview/", "/labs/", "/audit/", CHART)
LOOKED_AT_BY_IVO = (
    "/", "/participants/", "/overview/", "/labs/", "/trial/", CHART,
    "/audit/?participant=001-0001-A&field=cd4",
)  # fmt: skip
READ_BY_BLINDED = (
    *READ_BY_ALL, "/participants/", "/participants/?overdue=1", "/participants/?status=withdrew",
    "/overview/", "/overview/?site=1", "/audit/", "/audit/?since=2026-03-01",
    "/audit/?participant=001-0001-A", "/audit/?participant=001-0002-A",
    "/audit/?review=critical&since=2026-03-01",
    "/audit/?review=midnight&since=2026-03-01", "/audit/?person=ivo&since=2026-03-01",
    "/audit/table.csv?since=2026-03-01", CHART, "/participant/001-0002-A/",
)  # fmt: skip


class _Soundness(HTMLParser):
    """What is wrong with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.fields: list[str] = []
        self.headings = 0
        self.inside_label = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or "style" in given or (tag == "script" and "src" not in given):
            self.found.append(f"<{tag}> with style or script of its own")
        self.found += [f"<{tag}> has {name}" for name in given if name.startswith("on")]
        for name in ("href", "src", "action"):
            value = (given.get(name) or "").strip().lower()
            if value.startswith(("javascript:", "data:", "http:", "https:", "//")):
                self.found.append(f"<{tag}> leads elsewhere: {value}")
        if "id" in given:
            self.ids.append(str(given["id"]))
        self.headings += tag == "h1"
        self.inside_label += tag == "label"
        if tag == "label" and given.get("for"):
            self.labelled.add(str(given["for"]))
        hidden = tag == "input" and given.get("type") in ("hidden", "submit")
        if tag in ("input", "select", "textarea") and not hidden and not self.inside_label:
            self.fields.append(str(given.get("id")))

    def handle_endtag(self, tag: str) -> None:
        self.inside_label -= tag == "label"


def _wrong(html: str) -> list[str]:
    page = _Soundness()
    page.feed(html)
    twice = sorted({one for one in page.ids if page.ids.count(one) > 1})
    return [
        *page.found,
        *(f"identifier used twice: {one}" for one in twice),
        *(f"field without a label: {one}" for one in page.fields if one not in page.labelled),
        *([] if page.headings == 1 else [f"{page.headings} headings of the first rank"]),
        *([] if html.startswith('<!DOCTYPE html>\n<html lang="en-GB">') else ["no language"]),
    ]


@pytest.mark.requirement("D17")
@pytest.mark.parametrize("who", ["ada", "ivo", "pia", "mona", "theo", "stan", "rosa", "admin"])
def test_every_page_is_sound_and_allows_no_script_but_its_own(trial: TrialFolder, who: str) -> None:
    pages = {"theo": READ_BY_BLINDED, "admin": (*READ_BY_ALL, "/audit/")}.get(who, READ_BY_SITES)
    client = at_work(who)
    for address in pages:
        answer = client.get(address)
        assert answer.status_code == 200, address
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        if answer.headers["Content-Type"].startswith("text/html"):
            assert _wrong(answer.content.decode()) == [], address
            assert len(answer.content) < 150_000, address


def test_a_page_that_is_not_there_and_one_that_is_not_theirs_say_so_in_the_frame(trial: TrialFolder) -> None:
    for who, address, status, words in (
        ("ada", "/nowhere/", 404, "Not found"),
        ("ada", "/participant/001-0009-X/", 404, "Not found"),
        ("cas", CHART, 404, "Not found"),
        ("theo", "/labs/", 403, "Not allowed"),
        ("admin", "/participants/", 403, "Not allowed"),
    ):
        answer = _get(who, address)
        assert answer.status_code == status, address
        assert words in _words(answer)
        assert _wrong(answer.content.decode()) == []


def test_the_frame_says_which_trial_and_who_looks_in_which_role(trial: TrialFolder) -> None:
    said = _words(_get("ada", "/"))
    assert "REHEARSAL Virtual participants" in said
    assert "SILCAAT" in said
    assert "Ada Example · coordinator" in said
    assert "Site 1" in said
    assert trial.protocol_sha256[:12] in said
    assert "Labs" in said
    assert "People" not in said
    assert "People" in _words(_get("admin", "/"))


def test_today_has_one_line_and_one_link_for_each_task_and_says_when_there_is_none(
    trial: TrialFolder,
) -> None:
    page = _get("ada", "/").content.decode()
    assert page.count("/participant/001-0001-A/form/visit/year1:56/") == 1
    assert "query to answer: please send the report" in _words(_get("ada", "/")).lower()
    only = _words(_get("ada", "/?kind=query"))
    # a person's question, and for both participants that no form of screening bears out their strata
    assert "3 things to do of those chosen" in only
    assert "now on record as not known" in only
    assert "Nothing waits for you today" in _words(_get("rosa", "/"))


def test_the_list_of_participants_is_narrowed_by_site_status_event_and_query(trial: TrialFolder) -> None:
    def numbers(address: str, who: str = "mona") -> list[str]:
        return sorted(set(re.findall(r"/participant/([0-9A-Z-]+)/\"", _get(who, address).content.decode())))

    both = ["001-0001-A", "001-0002-A"]
    assert numbers("/participants/") == both
    assert numbers("/participants/", "cas") == []
    assert numbers("/participants/?status=withdrew") == both[1:]
    assert numbers("/participants/?status=ever+randomised") == both
    assert numbers("/participants/?queries=1&q=0001") == both[:1]
    assert numbers("/participants/?event=adverse_event") == both
    assert numbers("/participants/?stratum=cd4_stratum&level=200-299") == []
    found = _get("mona", "/participants/?q=001-0001-a")
    assert (found.status_code, found.headers["Location"]) == (302, CHART)


def test_the_chart_says_where_somebody_is_and_what_is_next_and_opens_each_source(trial: TrialFolder) -> None:
    answer = _get("ivo", CHART)
    page, said = answer.content.decode(), _words(answer)
    assert "IL-2 + ART" in said
    assert "Next:" in said or "Overdue:" in said
    assert "goal 275" in said
    assert "Induction cycle 1 of 6" in said
    assert 'href="/participant/001-0001-A/form/visit/year1:56/" aria-label="CD4 count 216' in page
    assert "/participant/001-0001-A/cycles/aldesleukin/1/" in page
    assert "headache" in said
    assert "May 2026" in said
    assert "I decide" in said
    assert re.search(r"<svg[^>]*aria-labelledby=\"timeline-title timeline-desc\"", page)


@pytest.mark.requirement("D9", "D10")
def test_a_blinded_viewer_gets_the_reduced_chart(trial: TrialFolder) -> None:
    for number in ("001-0001-A", "001-0002-A"):
        said = _words(_get("theo", f"/participant/{number}/"))
        for word in ("IL-2", "cycle", "Cycle", "goal", "MIU", "216", "Dosing", "hold"):
            assert word not in said, word
        assert "Week 9" in said


def test_the_overview_counts_what_is_on_record_and_opens_its_lists(trial: TrialFolder) -> None:
    answer = _get("mona", "/overview/")
    page, said = answer.content.decode(), _words(answer)
    assert '<a href="/participants/?status=ever+randomised">2</a>' in page
    assert '<a href="/participants/?status=withdrew">1</a>' in page
    assert "As of 22 June 2026" in said
    assert re.search(r"Adverse event 2 2 0", said)
    assert re.search(r"Week 9 0 2 0 0", said)
    assert "Cycles to decide on, by today 0 In the next four weeks 1 Cycles started 2" in said
    assert "Denmark 2 0" in said
    assert "USA 0 406" in said


@pytest.mark.requirement("D10")
def test_a_blinded_overview_has_no_table_of_cycles(trial: TrialFolder) -> None:
    said = _words(_get("theo", "/overview/"))
    assert "Cycles" not in said
    assert "Adverse event 2 2 0" in said


def test_labs_show_what_was_reported_and_what_led_to_a_decision(trial: TrialFolder) -> None:
    said = _words(_get("ada", "/labs/?days=180&participant=001-0001-A"))
    assert "CD4 count 216 cells/mm3 same led to a decision" in said
    assert "HIV RNA <50 copies/mL" in said.replace("&lt;", "<")
    assert "led to a decision" not in _words(_get("ada", "/labs/?days=180&item=hiv_rna"))
    assert "No result matches" in _words(_get("ada", "/labs/?only=awaited"))


@pytest.mark.requirement("A9")
def test_the_history_of_an_item_is_one_click_away_and_stays_at_its_site(trial: TrialFolder) -> None:
    page = _get("ada", "/labs/?days=180&participant=001-0001-A&item=cd4").content.decode()
    address = re.findall(r'href="(/participant/001-0001-A/history/[^"]+)"', page)[0]
    said = _words(_get("ada", address))
    assert "History of CD4 count" in said
    assert "216 cells/mm3" in said
    assert "by ada (coordinator)" in said
    assert _get("cas", address).status_code == 404
    assert _get("theo", address).status_code == 404
    fragment = _get("ada", address, **{"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment
    assert "216 cells/mm3" in fragment


def test_the_ledger_is_shown_in_words_of_people(trial: TrialFolder) -> None:
    """Without keys of rows and digests, which the table has; days and moments as everywhere."""
    key = "[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{64}"
    page = _get("stan", "/audit/?command=decision.take&since=2026-03-01").content.decode()
    shown = re.sub("<[^>]+>", " ", page[page.index("<tbody>") : page.index("</tbody>")])
    assert "signature: decision" in shown
    assert "March 2026" in shown
    # a day within the key of a form follows a colon
    assert not re.search(f"{key}|(?<!:)[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}", shown)
    table = b"".join(
        _get("stan", "/audit/table.csv?command=decision.take&since=2026-03-01").streaming_content
    )
    assert re.search(key, table.decode())


@pytest.mark.requirement("A13")
def test_the_filters_of_review_find_what_was_put_there(tmp_path: Path, trial: TrialFolder) -> None:
    from equipoise.conduct import opening

    def found(review: str) -> list[dict[str, str]]:
        answer = _get("mona", f"/audit/table.csv?since=2026-03-01&review={review}")
        return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))

    try:
        with clock.at(START + timedelta(days=1)):
            copied(tmp_path / "reviewed")
        day = DAY0 + timedelta(days=56)
        with at(DAY0):
            person = in_silcaat(DAY0)
        with at(day):
            visit(person, "year1:56", day, cd4="200", hiv_rna="<50", on_art="yes")
            _complete(person, day)
        with at(day, hour=21):  # 23 in Copenhagen
            visit(person, "year1:56", day, "transcription error", cd4="210")
        with at(day + timedelta(days=1)):
            for n in range(30):
                visit(person, "year1:56", day, "new information", hiv_rna=str(60 + n))
        with at(day + timedelta(days=2)):
            told = event(person, day, 4, term="myocardial infarction", serious=True, attributed=False,
                         serious_because="hospital stay begun or prolonged",
                         aware_at=clock.now())  # fmt: skip
            given = {"participant": person.number, "event": told["event"], "kind": "adverse_event",
                     "grade": 4,
                     "serious": True, "serious_because": "hospital stay begun or prolonged",
                     "attributed": False, "aware_at": clock.now(), "onset": str(day),
                     "reason": "source corrected"}  # fmt: skip
            do("event.follow_up", "ada", **{**given, "term": "unstable angina", "outcome": "recovered"})
            do("event.remove", "ivo", event=told["event"], reason="of somebody else")
        with clock.at(LOOKED_AT):
            assert {row["reason"] for row in found("after completion")} == {
                "transcription error",
                "new information",
            }
            critical = [(row["field"], row["old"], row["new"]) for row in found("critical")]
            assert critical[-1][1:] == ("200 cells/mm3", "210 cells/mm3")
            assert critical[:2] == [
                ("removed", "", "of somebody else"),
                ("term", "myocardial infarction", "unstable angina"),
            ]
            assert "outcome" not in {field for field, *_ in critical}
            assert {row["at (UTC)"][:13] for row in found("midnight")} == {f"{day}T21"}
            assert len(found("many")) == 30
            assert found("failed") == []
            assert log_in(logged_out(), "ada", "not it").status_code == 200
            failed = found("failed")
            assert [row["field"] for row in failed] == ["failed log-in"]
            assert any("ada" in words for words in failed[0].values())
    finally:
        opening.use(trial)


def _complete(person: Any, day: date) -> None:
    from equipoise.conduct.gateway import perform
    from equipoise.conduct.models import Form

    form = Form.objects.get(participant=person, kind="visit")
    perform(
        "form.save", actor("ada"),
        {"participant": person.number, "kind": "visit", "key": form.key, "done_on": day, "answers": [],
         "version": form.version, "complete": True},
    )  # fmt: skip


def test_the_ledger_is_searched_by_person_participant_act_field_date_and_reason(trial: TrialFolder) -> None:
    def rows(query: str, who: str = "mona") -> list[dict[str, str]]:
        answer = _get(who, f"/audit/table.csv?{query}")
        return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))

    assert {row["person"] for row in rows("since=2026-03-01&person=ivo")} == {"ivo"}
    assert {row["participant"] for row in rows("participant=001-0002-A")} == {"001-0002-A"}
    assert {row["command"] for row in rows("since=2026-03-01&command=decision.take")} == {"decision.take"}
    assert {row["field"] for row in rows("participant=001-0001-A&field=cd4")} == {"CD4 count"}
    assert {row["at (UTC)"][:10] for row in rows("since=2026-04-28&until=2026-04-28")} == {"2026-04-28"}
    assert rows("since=2026-03-01", "cas") == []
    assert {row["site"] for row in rows("since=2026-03-01", "ada")} == {"1"}
    assert "is not a date" in _words(_get("mona", "/audit/?since=3/5/03"))


@pytest.mark.requirement("A7")
def test_taking_the_ledger_away_is_itself_in_the_ledger(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    at_work("mona").get("/audit/table.csv?person=ada&for=spreadsheet")
    entry = Entry.objects.latest("n")
    assert (entry.command, entry.person, entry.kind) == ("audit.take", "mona", "export")
    assert entry.new == '{"asked":{"person":"ada"},"spreadsheet":true}'


@pytest.mark.requirement("D17", "D18")
def test_hostile_words_are_shown_as_words_and_no_spreadsheet_runs_them(
    tmp_path: Path, trial: TrialFolder
) -> None:
    from equipoise.conduct import opening
    from equipoise.conduct.models import Site

    try:
        with clock.at(START + timedelta(days=1)):
            copied(tmp_path / "hostile")
        with at(DAY0):
            person = in_silcaat(DAY0)
            for words in ATTACKS:
                event(person, DAY0, 2, attributed=False, term=words)
                do("query.open", "mona", participant=person.number, text=words)
                do("medication.save", "ada", participant=person.number, drug=words[:60], started="2003-05")
            do("trial.places", "theo", places=1699, reason="=1+1 " + ATTACKS[0])
            Site.objects.filter(number=1).update(name=ATTACKS[0], country=ATTACKS[1])
            do("trial.freeze", "theo", reason=ATTACKS[3])
            for who in ("ivo", "theo"):
                client = at_work(who)
                for address in ("/", "/participants/", CHART, "/overview/", "/audit/", "/trial/"):
                    page = client.get(address).content.decode()
                    assert _wrong(page) == [], address
                    assert all(words not in page for words in ATTACKS[:2] + ATTACKS[3:4]), address
            shown = at_work("ivo").get(CHART).content.decode()
            assert "{{ 7|add:7 }}" in shown
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
            exact = at_work("theo").get("/audit/table.csv").getvalue().decode()
            harmless = at_work("theo").get("/audit/table.csv?for=spreadsheet").getvalue().decode()
            assert ",=1+1 <script>" in exact
            assert ",'=1+1 <script>" in harmless
    finally:
        opening.use(trial)


def test_the_trial_manager_adds_opens_and_closes_a_site_and_a_refusal_stands_at_its_field(
    tmp_path: Path, trial: TrialFolder
) -> None:
    from equipoise.conduct import opening
    from equipoise.conduct.models import Site

    try:
        with clock.at(START + timedelta(days=1)):
            copied(tmp_path / "sites")
            client = at_work("theo")

            def send(**fields: str) -> Any:
                return client.post("/trial/", fields, follow=True)

            site = {
                "do": "site.add",
                "number": "7",
                "name": "Southbank",
                "country": "Spain",
                "reason": "planned",
            }
            refused = send(**site, zone="Mars/Olympus")
            assert refused.status_code == 422
            assert 'id="trouble-zone"' in refused.content.decode()
            assert "Southbank" in refused.content.decode()
            assert "The site is added" in _words(send(**site, zone="Europe/Madrid"))
            opened = {"do": "site.open", "number": "7", "approved_on": "2026-03-02"}
            assert "another version" in _words(send(**opened, protocol_sha256="0" * 64))
            assert "The site is open" in _words(send(**opened, protocol_sha256=trial.protocol_sha256))
            done = send(do="site.close", number="7", closed_on="2026-03-03", reason="closed again")
            assert "The site is closed" in _words(done)
            assert str(Site.objects.get(number=7).closed_on) == "2026-03-03"
            assert "does nothing of that name" in _words(send(do="randomize"))
            other = at_work("ada").post("/trial/", {"do": "trial.freeze", "reason": "because"})
            assert other.status_code == 403
    finally:
        opening.use(trial)


@pytest.mark.requirement("K2")
def test_the_protocol_is_told_without_the_sizes_of_its_blocks(trial: TrialFolder) -> None:
    said = _words(_get("ada", "/trial/"))
    assert "Randomised 1:1 by permuted blocks" in said
    assert "Schedule of activities" in said
    blocks = trial.protocol.randomization.blocks
    assert blocks
    assert f"blocks of {blocks[0]}" not in said
    assert trial.protocol_sha256 in said


@pytest.mark.requirement("D13")
def test_nothing_is_done_without_the_token_against_forgery(trial: TrialFolder) -> None:
    from django.test import Client

    from equipoise.conduct.models import Person

    client = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    client.force_login(
        Person.objects.get(username="theo"), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    assert client.post("/trial/", {"do": "trial.freeze", "reason": "because"}).status_code == 403


@pytest.mark.requirement("T1")
def test_one_instant_is_shown_in_the_zone_that_is_named(trial: TrialFolder) -> None:
    from equipoise.conduct.pages import tags

    instant = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert "29 March 2026 07:30" in tags.moment(instant, "Asia/Bangkok")
    assert "28 March 2026 21:30" in tags.moment(instant, "America/Argentina/Buenos_Aires")
    assert "29 March 2026 01:30" in tags.moment(instant, "Europe/Copenhagen")
    assert "29 March 2026 03:30" in tags.moment(instant + timedelta(hours=1), "Europe/Copenhagen")
    assert "Europe/Copenhagen" in tags.moment(instant, "Europe/Copenhagen")


@pytest.mark.requirement("I5")
def test_dates_are_told_as_precisely_as_they_are_known() -> None:
    from equipoise.conduct.pages import tags

    assert tags.day(date(2003, 5, 3)) == '<time datetime="2003-05-03" title="Saturday">3 May 2003</time>'
    assert [tags.day(one) for one in ("2003-05", "2003", "", None)] == ["May 2003", "2003", "", ""]
    assert "3 May 2003" in tags.day("2003-05-03")
    assert [tags.plain(one) for one in (4.5, 7.0, 1200, None, float("nan"))] == ["4.5", "7", "1200", "", ""]
    assert "✓" in tags.truth(True)
    assert "not met" in tags.truth(False, "met,not met,unknown")


# --- in a browser -------------------------------------------------------------------------------------------


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(trial: TrialFolder) -> Iterator[str]:
    from django.core.wsgi import get_wsgi_application

    server = make_server("127.0.0.1", 0, get_wsgi_application(), _Server, _Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("no Chromium here: pages are not looked at in a browser")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        yield running
        running.close()


def test_pages_are_accessible_usable_at_twice_the_size_and_print(
    trial: TrialFolder, address: str, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pymupdf
    from axe_playwright_python.sync_playwright import Axe

    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    axe, seen = Axe(), 0
    for who, pages in (("ivo", LOOKED_AT_BY_IVO), ("theo", ("/overview/", CHART))):
        context = browser.new_context(
            viewport={"width": 1280, "height": 800},
            extra_http_headers={"Equipoise-Now": LOOKED_AT.isoformat()},
        )
        cookie = at_work(who).cookies["session"].value
        context.add_cookies([{"name": "session", "value": cookie, "url": address}])
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        for path in pages:
            page.goto(address + path)
            found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
            wrong = [(one["id"], one["nodes"][0]["html"]) for one in found.response["violations"]]
            assert wrong == [], path
            page.set_viewport_size({"width": 640, "height": 800})  # 1280 at 200%
            assert page.evaluate("document.documentElement.scrollWidth") <= 640, path
            page.set_viewport_size({"width": 1280, "height": 800})
            seen += 1
        assert said == []
        if who == "ivo":
            page.goto(address + CHART)
            assert len(pymupdf.open(stream=page.pdf(format="A4"))) == 1
            page.keyboard.press("/")
            assert page.evaluate("document.activeElement.id") == "find"
            page.keyboard.type("001-0002-a")
            page.keyboard.press("Enter")
            page.wait_for_url("**/participant/001-0002-A/")
            page.keyboard.press("?")
            assert page.locator("dialog#keys").is_visible()
        context.close()
    assert seen == len(LOOKED_AT_BY_IVO) + 2
