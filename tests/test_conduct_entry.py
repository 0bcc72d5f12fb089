"""The pages where people act: what a person types goes through to the ledger, what is refused is said at its
field with everything that was typed still there, and nothing but what a page asks is taken."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from conduct_pages import form_with, forms_of, press, submit
from conduct_people import at_work
from conduct_treated import SILCAAT_CHECK, at, check, decide, event, in_silcaat
from conduct_treated import form as enter
from conduct_trial import PASSWORD, START, copied
from equipoise.conduct import clock, opening
from equipoise.conduct.folder import TrialFolder

DAY = date(2026, 3, 3)
YES = (
    "consent", "follow_up_agreed", "hiv_elisa_positive", "hiv_western_blot_positive", "on_art",
    "art_includes_pi", "contraception_effective",
)  # fmt: skip
NUMBERS = {
    "age": "41", "cd4_historical": "150", "cd4_visit1": "170", "hiv_rna_historical": "<50",
    "hiv_rna_visit1": "60", "art_drugs": "3", "art_stable_months": "12", "art_days_stopped": "0",
    "karnofsky": "90", "ast_uln": "1.2", "bilirubin_uln": "0.8", "amylase_uln": "0.9", "proteinuria": "0",
    "creatinine_uln": "0.9", "neutrophils": "2400", "haemoglobin": "13.1", "platelets": "210000",
    "cd4_nadir": "60", "hiv_rna_highest_ultrasensitive": "90000",
}  # fmt: skip


ELIGIBLE, READY = "001-0001-K", "001-0002-I"
"""Somebody whose two screening forms are complete; somebody whose eligibility is signed as well."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial with two people at the end of screening, entered and signed on the pages."""
    made = tmp_path_factory.mktemp("entry") / "trial"
    with clock.at(START + timedelta(days=1)):
        copied(made)
        ada = at_work("ada")
        for number in (ELIGIBLE, READY):
            assert screened(ada) == number
            for key in ("prestudy1", "prestudy2"):
                answer = complete(ada, f"/participant/{number}/form/screening/{key}/")
                assert answer.status_code == 302, answer.content.decode()
        answer = submit(at_work("ivo"), f"/participant/{READY}/screening/", "sign", password=PASSWORD)
        assert answer.status_code == 302
    return made


@pytest.fixture
def trial(prepared: Path, tmp_path: Path) -> Iterator[TrialFolder]:
    """A copy of it for each test, on the second day of the trial."""
    from django.db import connections

    connections.close_all()
    shutil.copytree(prepared, tmp_path / "trial")
    with clock.at(START + timedelta(days=1)):
        yield opening.use(tmp_path / "trial")


def page_of(client: Any, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.content.decode()[:500]
    return str(response.content.decode())


def told(response: Any, status: int = 302) -> str:
    """The words of a page, without its marks."""
    text = response.content.decode()
    assert response.status_code == status, text[:3000]
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def entries(participant: str, kind: str) -> list[Any]:
    from equipoise.conduct.models import Entry

    return list(Entry.objects.filter(participant=participant, kind=kind).order_by("n"))


def screened(client: Any) -> str:
    """Somebody whose screening was begun on the page; their number."""
    answer = submit(client, "/site/1/screening/", consent_on="2 mar 2026", consent_version="2.1",
                    screened_on="t")  # fmt: skip
    assert answer.status_code == 302
    return str(answer["Location"].split("/")[2])


def typed_answers(page: Any, **over: str) -> dict[str, str]:
    """Answers of somebody who may enter, for every item that a form asks."""
    form = form_with(page, "complete")
    found = {}
    for name in {**form.fields, **form.offered}:
        if not name.startswith("text:"):
            continue
        item = name.removeprefix("text:")
        options = [one for one in form.offered.get(name, ()) if one]
        if options == ["yes", "no"]:
            text = "yes" if item in YES else "no"
        else:
            text = NUMBERS.get(item, options[0] if options else "na")
        found[name] = over.get(item, text)
    return found


def complete(client: Any, address: str, done_on: str = "t", **over: str) -> Any:
    """Fill in a whole form and press the button that completes it."""
    page = client.get(address)
    return press(client, address, page, "complete", done_on=done_on, **typed_answers(page, **over))


@pytest.fixture
def treated(trial: TrialFolder) -> Any:
    """Somebody randomised to interleukin-2 on 3 March 2026."""
    return in_silcaat(DAY, number=50)


# --- screening --------------------------------------------------------------------------------------------


def test_screening_begins_with_consent_and_keeps_what_was_typed_when_it_is_refused(
    trial: TrialFolder,
) -> None:
    ada = at_work("ada")
    wrong = submit(ada, "/site/1/screening/", consent_on="3/2/26", consent_version="2.1", screened_on="t")
    words = told(wrong, 422)
    assert "is the day or the month first?" in words
    form = form_with(wrong, having="consent_on")
    assert form.fields["consent_on"] == ["3/2/26"]
    assert form.fields["consent_version"] == ["2.1"]
    number = screened(ada)
    from equipoise.conduct.models import Participant

    person = Participant.objects.get(number=number)
    assert (person.consent_on, person.screened_on) == (date(2026, 3, 2), date(2026, 3, 3))
    assert entries(number, "participant")[0].person == "ada"
    assert at_work("cas").get("/site/1/screening/").status_code == 404
    assert at_work("pia").get("/site/1/screening/").status_code == 403


@pytest.mark.requirement("D12")
def test_nothing_but_what_a_page_asks_is_taken(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Allocation, Participant

    ada = at_work("ada")
    extra = {"status": "randomised", "arm": "il2", "site": "2", "person": "ivo", "randomized_number": "1",
             "signed_by": "ivo"}  # fmt: skip
    answer = submit(ada, "/site/1/screening/", consent_on="2 mar 2026", consent_version="2.1",
                    screened_on="t", **extra)  # fmt: skip
    number = answer["Location"].split("/")[2]
    person = Participant.objects.get(number=number)
    assert (person.site_id, person.status, person.randomized_number) == (1, "screening", None)
    address = f"/participant/{number}/form/screening/prestudy2/"
    answer = submit(ada, address, "save", done_on="t", text__haemoglobin="13.1", **extra,
                    text__cd4_visit1="900", status__haemoglobin="closed")  # fmt: skip
    assert answer.status_code == 302
    assert [one.field for one in entries(number, "value")] == ["haemoglobin"]
    assert not Allocation.objects.filter(participant=person).exists()


def test_the_screening_page_shows_what_fails_first_and_why(trial: TrialFolder) -> None:
    ada = at_work("ada")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy1/"
    assert complete(ada, address, prior_il2="yes", age="17").status_code == 302
    text = told(ada.get(f"/participant/{number}/screening/"), 200)
    assert "Not eligible." in text
    table = text[text.index("Criteria", text.index("Worked out")) :]
    assert table.index("Interleukin-2 before") < table.index("Karnofsky") < table.index("Written informed")
    assert "(cd4_historical + cd4_visit1) / 2" in text
    assert "160" in text
    assert "missing: Karnofsky performance status" in text
    failed = submit(ada, f"/participant/{number}/screening/", "fail", reason="I9, E25")
    assert failed.status_code == 302
    assert "I9, E25" in told(ada.get(f"/participant/{number}/screening/"), 200)


@pytest.mark.requirement("S1", "S2", "S3", "S5")
def test_the_investigator_signs_exactly_what_is_shown_and_the_signature_lapses(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Signature

    ada, ivo = at_work("ada"), at_work("ivo")
    number = ELIGIBLE
    address = f"/participant/{number}/screening/"
    seen = ivo.get(address)
    words = told(press(ivo, address, seen, "sign", password=""), 422)
    assert "give your password" in words
    assert "the password is not right" in told(press(ivo, address, seen, "sign", password="wrong"), 422)
    assert not Signature.objects.filter(participant=number).exists()
    visit2 = f"/participant/{number}/form/screening/prestudy2/"
    changed = submit(ada, visit2, "save", text__haemoglobin="12", reason="transcription error")
    assert changed.status_code == 302
    assert press(ivo, address, seen, "sign", password=PASSWORD).status_code == 409
    assert submit(ivo, address, "sign", password=PASSWORD).status_code == 302
    text = told(ada.get(address), 200)
    assert "Ivo Example" in text
    assert "Europe/Copenhagen" in text
    with clock.at(clock.now() + timedelta(days=40)):
        for page in (address, f"/participant/{number}/randomise/"):
            text = told(ada.get(page), 200)
            assert "too old or undated, to be measured again" in text
            assert "lapsed" not in text, "a result expired, the signature holds"
    assert submit(ada, visit2, "save", text__haemoglobin="11", reason="new information").status_code == 302
    assert "lapsed" in told(ada.get(address), 200)
    assert "lapsed" in told(ada.get(f"/participant/{number}/randomise/"), 200)


# --- randomisation ----------------------------------------------------------------------------------------


@pytest.mark.requirement("D2", "D4")
def test_each_stratum_is_confirmed_and_the_result_is_the_same_on_every_reload(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Allocation

    ada = at_work("ada")
    number = READY
    address = f"/participant/{number}/randomise/"
    page = ada.get(address)
    form = form_with(page, "randomise")
    ticks = {name: values[0] for name, values in form.offered.items() if name.startswith("stratum:")}
    assert set(ticks) == {"stratum:cd4_stratum", "stratum:country"}
    assert not any(name in form.fields for name in ticks)
    words = told(press(ada, address, page, "randomise", stratum__country=ticks["stratum:country"]), 422)
    assert "confirm the stratum: CD4 count at entry" in words
    again = form_with(press(ada, address, page, "randomise", **{"stratum:country": ticks["stratum:country"]}),
                      "randomise")  # fmt: skip
    assert again.fields["stratum:country"] == [ticks["stratum:country"]]
    sent = {**form.fields, **ticks, "do": "randomise"}
    assert ada.post(address, sent).status_code == 302
    assert ada.post(address, sent).status_code == 302
    assert Allocation.objects.filter(participant__number=number).count() == 1
    first, again, later = (re.sub(r"Page made.*", "", told(ada.get(address), 200)) for _ in range(3))
    assert re.search(r"IL-2 \+ ART|ART alone", first)
    assert "What to do today" in first
    assert again == later
    assert at_work("theo").get(address).status_code == 403


def test_randomisation_says_in_words_what_stands_in_the_way(trial: TrialFolder) -> None:
    ada = at_work("ada")
    number = screened(ada)
    page = ada.get(f"/participant/{number}/randomise/")
    text = told(page, 200)
    assert "cannot be randomised now" in text
    assert "no investigator has signed" in text
    assert not any(value == "randomise" for form in forms_of(page) for _, value, _ in form.buttons)
    without = at_work("ada", second_factor=False)
    number = READY
    address = f"/participant/{number}/randomise/"
    page = without.get(address)
    assert "needs a log-in with a second factor" in told(page, 200)
    form = form_with(page, "randomise")
    ticks = {name: values[0] for name, values in form.offered.items() if name.startswith("stratum:")}
    assert "second factor" in told(press(without, address, page, "randomise", **ticks), 403)


def test_randomised_in_error_is_a_signed_further_entry(trial: TrialFolder) -> None:
    ada, ivo = at_work("ada"), at_work("ivo")
    number = READY
    address = f"/participant/{number}/randomise/"
    page = ada.get(address)
    ticks = {name: values[0] for name, values in form_with(page, "randomise").offered.items()}
    assert press(ada, address, page, "randomise", **ticks).status_code == 302
    assert not any(value == "in error" for form in forms_of(ada.get(address)) for _, value, _ in form.buttons)
    answer = submit(ivo, address, "in error", having="reason", reason="found ineligible", password=PASSWORD)
    assert answer.status_code == 302
    text = told(ada.get(address), 200)
    assert "Randomised in error" in text
    assert "found ineligible" in text


# --- forms ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("I3", "I4")
def test_a_refused_form_says_so_at_the_item_and_keeps_everything_that_was_typed(trial: TrialFolder) -> None:
    ada = at_work("ada")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy2/"
    page = ada.get(address)
    answer = press(ada, address, page, "save", done_on="t", text__haemoglobin="13,1", text__platelets="60",
                   unit__platelets="10^9/L", missing__htlv1="awaited", on__platelets="-1")  # fmt: skip
    assert "write the decimals after a point: 13.1" in told(answer, 422)
    form = form_with(answer, "save")
    assert form.fields["text:haemoglobin"] == ["13,1"]
    assert form.fields["text:platelets"] == ["60"]
    assert form.fields["unit:platelets"] == ["10^9/L"]
    assert form.fields["missing:htlv1"] == ["awaited"]
    assert form.fields["on:platelets"] == ["-1"]
    assert not entries(number, "value")
    assert press(ada, address, answer, "save", text__haemoglobin="13.1").status_code == 302
    from equipoise.conduct.models import Value

    platelets = Value.objects.get(form__participant__number=number, item="platelets")
    assert (platelets.text, platelets.unit, platelets.number) == ("60", "10^9/L", 60000)
    assert platelets.measured_on == date(2026, 3, 2)
    text = told(ada.get(address), 200)
    assert "= 60000 cells/mm3" in text
    blank = told(submit(ada, address, "complete"), 422)
    assert "not complete: answer, or say why there is no answer" in blank


def test_missing_answers_and_clearing_one(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Value

    ada = at_work("ada")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy2/"
    submit(
        ada,
        address,
        "save",
        done_on="t",
        text__htlv1="no",
        text__haemoglobin="<5",
        missing__karnofsky="not done",
    )
    stored = {one.item: one for one in Value.objects.filter(form__participant__number=number)}
    assert (stored["htlv1"].number, stored["haemoglobin"].qualifier) == (0, "<")
    assert stored["karnofsky"].missing == "not done"
    submit(ada, address, "save", missing__htlv1="clear")
    submit(ada, address, "save", missing__haemoglobin="unknown", text__haemoglobin="")
    stored = {one.item: one.missing for one in Value.objects.filter(form__participant__number=number)}
    assert stored == {"haemoglobin": "unknown", "karnofsky": "not done"}
    assert [(one.field, one.new is None) for one in entries(number, "value")][-2:] == [
        ("htlv1", True), ("haemoglobin", False),
    ]  # fmt: skip


@pytest.mark.requirement("A8")
def test_a_change_after_completion_asks_for_its_reason_first_from_a_list(trial: TrialFolder) -> None:
    ada = at_work("ada")
    number = ELIGIBLE
    address = f"/participant/{number}/form/screening/prestudy2/"
    before = len(entries(number, "value"))
    answer = submit(ada, address, "save", text__haemoglobin="12.5")
    assert "say why it is changed" in told(answer, 422)
    assert form_with(answer, "save").fields["text:haemoglobin"] == ["12.5"]
    assert form_with(answer, "save").offered["reason"][0] == "transcription error"
    assert len(entries(number, "value")) == before
    assert submit(ada, address, "save", text__haemoglobin="12.5", reason="other",
                  reason_text="the laboratory sent a second sheet").status_code == 302  # fmt: skip
    assert entries(number, "value")[-1].reason == "the laboratory sent a second sheet"


@pytest.mark.requirement("D31")
def test_two_people_on_one_form_see_both_versions_and_nothing_is_overwritten_unseen(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.models import Value

    ada, ivo = at_work("ada"), at_work("ivo")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy2/"
    submit(ada, address, "save", done_on="t", text__haemoglobin="13.1", text__neutrophils="2400")
    mine = ada.get(address)
    submit(ivo, address, "save", text__haemoglobin="12.0", text__neutrophils="2000")
    answer = press(ada, address, mine, "save", text__haemoglobin="13.5")
    words = told(answer, 409)
    assert "saved by somebody else" in words
    assert "On record now: 12.0 g/dL" in re.sub(r"\s+", " ", words)
    assert "ivo" in words
    form = form_with(answer, "save")
    assert form.fields["text:haemoglobin"] == ["13.5"]
    assert form.fields["text:neutrophils"] == ["2000"], "what she did not touch is what now stands"
    assert press(ada, address, answer, "save").status_code == 302
    stored = {one.item: one.text for one in Value.objects.filter(form__participant__number=number)}
    assert (stored["haemoglobin"], stored["neutrophils"]) == ("13.5", "2000")


def test_warnings_stand_at_the_item_block_nothing_and_are_confirmed_with_words(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Query

    ada = at_work("ada")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy2/"
    assert complete(ada, address, haemoglobin="30").status_code == 302
    text = told(ada.get(address), 200)
    assert "Haemoglobin: 30 g/dL is outside 0 to 25 g/dL" in text
    queries = Query.objects.filter(participant__number=number, state="open")
    assert queries.count() == 2
    offered = form_with(ada.get(address), "save").offered["confirmed"]
    assert "say in words why the value is right" in told(submit(ada, address, "save", confirmed=offered), 422)
    answer = submit(
        ada, address, "save", confirmed=offered, confirmation="measured twice", reason="query answer"
    )
    assert answer.status_code == 302
    assert queries.count() == 0


def test_a_form_is_signed_verified_and_printed(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Form, Value

    ada, ivo, mona = at_work("ada"), at_work("ivo"), at_work("mona")
    number = ELIGIBLE
    address = f"/participant/{number}/form/screening/prestudy2/"
    assert submit(ivo, address, "sign", password=PASSWORD).status_code == 302
    assert Form.objects.get(participant__number=number, key="prestudy2").signed
    page = mona.get(address)
    assert not any(value == "save" for form in forms_of(page) for _, value, _ in form.buttons)
    assert any(value == "verify:haemoglobin" for one in forms_of(page) for _, value, _ in one.buttons)
    answer = mona.post(address, {"do": "verify:haemoglobin"})
    assert answer.status_code == 302
    assert Value.objects.get(form__participant__number=number, item="haemoglobin").verified_by == "mona"
    assert "verified" in told(ada.get(address), 200)
    filled = told(ada.get(address + "print/?filled"), 200)
    assert "13.1" in filled
    assert "Ivo Example" in filled
    blank = told(ada.get(address + "print/"), 200)
    assert "13.1" not in blank
    assert "☐ yes" in blank


def test_a_whole_form_is_not_done_with_its_reason(trial: TrialFolder) -> None:
    ada = at_work("ada")
    number = screened(ada)
    address = f"/participant/{number}/form/screening/prestudy2/"
    assert submit(ada, address, "not done", not_done_reason="").status_code == 422
    assert submit(ada, address, "not done", not_done_reason="did not come").status_code == 302
    assert "did not come" in told(ada.get(address), 200)


def test_what_happened_between_visits_has_a_form_of_its_day(treated: Any) -> None:
    ada = at_work("ada")
    with at(DAY + timedelta(days=3)):
        answer = ada.get(f"/participant/{treated.number}/update/", {"on": "-1"})
        assert answer["Location"].endswith("/form/update/2026-03-05:1/")
        assert submit(ada, answer["Location"], "save", text__cd4="120").status_code == 302
        second = ada.get(f"/participant/{treated.number}/update/", {"on": "5 mar 2026"})
        assert second["Location"].endswith("/form/update/2026-03-05:2/")
        assert ada.get(f"/participant/{treated.number}/update/", {"on": "5/3/26"}).status_code == 422


@pytest.mark.requirement("D9")
def test_the_screening_page_tells_nothing_of_what_came_after_randomisation(treated: Any) -> None:
    with at(DAY):
        before = told(at_work("theo").get(f"/participant/{treated.number}/screening/"), 200)
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        after = told(at_work("theo").get(f"/participant/{treated.number}/screening/"), 200)
    assert before == after
    assert "as randomised" in after


@pytest.mark.requirement("D9")
def test_forms_that_tell_the_arm_are_not_for_those_who_do_not_see_it(treated: Any) -> None:
    theo = at_work("theo")
    for kind, key in (("visit", "entry:0"), ("check", "aldesleukin:2026-03-03")):
        assert theo.get(f"/participant/{treated.number}/form/{kind}/{quote(key)}/").status_code == 403
    for address in ("decide/aldesleukin/", "cycles/aldesleukin/1/", "cycles/aldesleukin/1/print/"):
        assert theo.get(f"/participant/{treated.number}/{address}").status_code == 403


# --- the dose ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("K4", "S3")
def test_a_cycle_starts_only_with_a_signed_decision_and_its_injections_are_entered(treated: Any) -> None:
    from equipoise.conduct.models import Cycle, Signature

    ada, ivo = at_work("ada"), at_work("ivo")
    address = f"/participant/{treated.number}/decide/aldesleukin/"
    with at(DAY):
        text = told(ivo.get(address), 200)
        assert "Not known" in text
        check_address = f"/participant/{treated.number}/form/check/aldesleukin:2026-03-03/"
        assert check_address in page_of(ivo, address)
        answer = complete(ada, check_address, done_on="3 mar 2026", toxicity_reviewed="yes")
        assert answer["Location"].startswith(address), "a complete check leads back to the decision"
        page = ivo.get(address)
        assert "Proposed: Start the cycle, 4.5 MIU" in re.sub(r"\s+", " ", told(page, 200))
        assert "say whether the participant agrees" in told(
            press(ivo, address, page, "accept", password=PASSWORD), 422
        )
        assert "password" in told(press(ivo, address, page, "accept", accepted="yes", password=""), 422)
        assert not Cycle.objects.filter(participant=treated).exists()
        answer = press(ivo, address, page, "accept", accepted="yes", password=PASSWORD)
        grid = f"/participant/{treated.number}/cycles/aldesleukin/1/"
        assert answer["Location"] == grid
        assert Signature.objects.filter(participant=treated.number, kind="decision").count() == 1
    with at(DAY + timedelta(days=6)):
        states = {f"state:{n}": "given" for n in range(1, 11)} | {"state:4": "missed"}
        refused = submit(ada, grid, "complete", **(states | {"dose:2": "6"}))
        assert "above the dose of the cycle" in told(refused, 422)
        assert form_with(refused, "complete").fields["dose:2"] == ["6"]
        reduced = states | {"state:2": "reduced", "dose:2": "3", "time:2": "20:15", "place:2": "thigh left"}
        assert submit(ada, grid, "complete", **reduced).status_code == 302
        cycle = Cycle.objects.get(participant=treated)
        rows = {one.number: one for one in cycle.injections.all()}
        assert cycle.completed_at is not None
        assert (rows[1].dose, rows[2].dose, rows[4].state) == (4.5, 3.0, "missed")
        assert "say why it is changed" in told(submit(ada, grid, "save", state__4="given"), 422)
        stale = ada.get(grid)
        assert submit(ada, grid, "save", state__4="given", reason="new information").status_code == 302
        answer = press(ada, grid, stale, "save", symptoms__5="fever", reason="new information")
        assert "Saved by somebody else" in told(answer, 409)
        order = told(ada.get(grid + "print/"), 200)
        assert "45 MIU in all" in order
        assert "Ivo Example" in order
        assert "Diary of the participant" in order


def test_the_grid_has_as_many_lines_as_the_protocol_says(treated: Any) -> None:
    with at(DAY):
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        decide(treated, "aldesleukin", DAY)
        page = page_of(at_work("pia"), f"/participant/{treated.number}/cycles/aldesleukin/1/")
    shape = opening.folder().protocol.regimens["aldesleukin"].cycle
    assert shape is not None
    assert len(set(re.findall(r'name="state:(\d+)"', page))) == shape.administrations


@pytest.mark.requirement("K4", "I9")
def test_departing_from_the_proposal_holds_and_flags(treated: Any) -> None:
    from equipoise.conduct.models import Decision, Flag, Hold

    ivo = at_work("ivo")
    address = f"/participant/{treated.number}/decide/aldesleukin/"
    with at(DAY):
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        page = ivo.get(address)
        offered = form_with(page, "override").offered["alternative"]
        assert {one.partition(":")[0] for one in offered} >= {"wait", "hold", "stop", "reduce"}
        assert all(float(one.partition(":")[2] or 0) <= 7.5 for one in offered)
        refused = press(ivo, address, page, "override", alternative="wait", password=PASSWORD)
        assert "needs its reason" in told(refused, 422)
        assert form_with(refused, "override").fields["alternative"] == ["wait"]
        forged = press(ivo, address, page, "override", alternative="escalate:9.0", reason="more",
                       accepted="yes", password=PASSWORD)  # fmt: skip
        assert "not among what the protocol allows" in told(forged, 422)
        assert not Decision.objects.filter(participant=treated).exists()
        reduce = next(one for one in offered if one.startswith("reduce"))
        answer = press(ivo, address, page, "override", alternative=reduce, reason="frail", accepted="yes",
                       password=PASSWORD)  # fmt: skip
        assert answer.status_code == 302
        decision = Decision.objects.get(participant=treated)
        assert (decision.dose, decision.override_reason) == (3.0, "frail")
        assert "overridden" in told(ivo.get(address), 200)
    with at(DAY + timedelta(days=2)):
        assert "lies in the future" in told(submit(ivo, address, "hold", since="+2", hold_reason="ill"), 422)
        assert submit(ivo, address, "hold", since="t", hold_reason="intercurrent illness").status_code == 302
        hold = Hold.objects.get(participant=treated, hold="")
        assert "No reason to withhold is present" in told(ivo.get(address), 200)
        assert submit(ivo, address, "release", until="t", release_reason="recovered").status_code == 302
        hold.refresh_from_db()
        assert hold.until == DAY + timedelta(days=2)
        enter(treated, "check", "aldesleukin:2026-03-03", DAY, "source corrected", pregnant="yes")
        flag = Flag.objects.get(decision=decision)
        text = told(ivo.get(address), 200)
        assert "A correction touches decision 1" in text
        assert "The decision stands as it was taken." in text
        assert (
            submit(ivo, address, "settle", settle_text="pregnancy test repeated: negative").status_code == 302
        )
        flag.refresh_from_db()
        assert (flag.settled_by, Decision.objects.filter(participant=treated).count()) == ("ivo", 1)


def test_the_page_of_an_earlier_day_says_what_is_known_since_and_that_of_the_dead_offers_nothing(
    treated: Any,
) -> None:
    from equipoise.conduct.models import Decision

    ivo = at_work("ivo")
    address = f"/participant/{treated.number}/decide/aldesleukin/"
    over = "can no longer be entered"
    with at(DAY):
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        assert over not in told(ivo.get(address), 200)
    with at(DAY + timedelta(days=2)):
        earlier = f"{address}?on={DAY}"
        assert over not in told(ivo.get(earlier), 200)
        assert submit(ivo, address, "hold", since="t", hold_reason="intercurrent illness").status_code == 302
        page = ivo.get(earlier)
        assert over in told(page, 200)
        answer = press(ivo, earlier, page, "accept", accepted="yes", password=PASSWORD)
        assert "by what is on record of 5 March 2026" in told(answer, 422)
        event(treated, DAY, 5, attributed=False, outcome="fatal")
        text = told(ivo.get(address), 200)
        assert "a death is reported" in text
        assert "Accept and sign" not in text
    assert not Decision.objects.filter(participant=treated).exists()


def test_a_proposal_that_changed_while_it_was_looked_at_is_not_signed(treated: Any) -> None:
    ivo = at_work("ivo")
    address = f"/participant/{treated.number}/decide/aldesleukin/"
    with at(DAY):
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        page = ivo.get(address)
        enter(treated, "check", "aldesleukin:2026-03-03", DAY, "source corrected", pregnant="yes")
        answer = press(ivo, address, page, "accept", accepted="yes", password=PASSWORD)
        assert "look at it again" in told(answer, 409)


# --- safety -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("T1", "T5", "I5")
def test_an_event_is_reported_followed_up_and_struck_out(treated: Any) -> None:
    from equipoise.conduct.models import Event

    ada, ivo = at_work("ada"), at_work("ivo")
    new = f"/participant/{treated.number}/events/new/"
    with clock.at(datetime(2026, 3, 30, 12, tzinfo=UTC)):
        given = {"term": "Fever with rigors", "onset": "mar 2026", "grade": "3", "serious": "yes",
                 "attributed": "yes", "serious_because": "hospital stay begun or prolonged"}  # fmt: skip
        refused = submit(ada, new, having="onset", **given)
        assert "say when the site learned" in told(refused, 422)
        assert form_with(refused, having="onset").fields["term"] == ["Fever with rigors"]
        aware = {"aware_on": "28 mar 2026", "aware_time": "23:50"}
        answer = submit(ada, new, having="onset", **given, **aware)
        assert answer.status_code == 302
        event = Event.objects.get(participant=treated)
        first = event.versions.get()
        assert first.onset == "2026-03", "kept as precisely as it was given"
        assert first.aware_at == datetime(2026, 3, 28, 22, 50, tzinfo=UTC)
        address = f"/participant/{treated.number}/events/{event.id}/"
        text = re.sub(r"\s+", " ", told(ada.get(address), 200))
        assert "learned of it 28 March 2026 23:50 Europe/Copenhagen" in text
        assert "must know by 30 March 2026 00:50" in text, "24 hours, with an hour of summer time in between"
        assert "late" in text
        further = submit(ada, address, "follow_up", outcome="recovered", ended="29 mar 2026",
                         reason="new information")  # fmt: skip
        assert further.status_code == 302
        assert [one.outcome for one in event.versions.order_by("version")] == ["", "recovered"]
        page = page_of(ada, address)
        assert page.count("Report 1") == page.count("Report 2") == 1
        assert "Fever with rigors" in told(at_work("mona").get("/safety/?which=serious"), 200)
        assert not any(
            value == "remove" for form in forms_of(ada.get(address)) for _, value, _ in form.buttons
        )
        assert submit(ivo, address, "remove", remove_reason="wrong participant").status_code == 302
        assert "wrong participant" in told(ada.get(address), 200)
        assert "Fever with rigors" not in told(ada.get("/safety/?which=serious"), 200)


def test_what_tells_the_arm_is_left_out_of_an_event_for_the_trial_manager(treated: Any) -> None:
    ada, theo = at_work("ada"), at_work("theo")
    with at(DAY + timedelta(days=5)):
        answer = submit(
            ada, f"/participant/{treated.number}/events/new/", having="onset", term="Rash", onset="t",
            grade="2", serious="no", attributed="yes",
            action_taken="dose reduced", narrative="after the injection",
        )  # fmt: skip
        address = answer["Location"]
        seen = told(theo.get(address), 200)
        assert "Rash" in seen
        for word in ("dose reduced", "after the injection", "Related", "Cycle"):
            assert word not in seen
        assert "Related" not in told(theo.get("/safety/"), 200)


# --- queries ----------------------------------------------------------------------------------------------


def test_a_query_is_asked_answered_confirmed_and_closed(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Form, Query

    ada, mona = at_work("ada"), at_work("mona")
    number = ELIGIBLE
    form = Form.objects.get(participant__number=number, key="prestudy2")
    new = f"/participant/{number}/queries/new/?form={form.id}&item=haemoglobin"
    assert "Haemoglobin" in told(mona.get(new), 200)
    answer = submit(mona, new, having="text", text="Please check against the sheet of the laboratory.")
    query = Query.objects.get(participant__number=number)
    address = f"/participant/{number}/queries/{query.id}/"
    assert answer["Location"] == address
    assert (query.item, query.form_id) == ("haemoglobin", form.id)
    assert "Please check against" in told(ada.get(f"/participant/{number}/form/screening/prestudy2/"), 200)
    assert f"/participant/{number}/form/screening/prestudy2/#item-haemoglobin" in page_of(ada, address)
    assert submit(ada, address, "answer", text="").status_code == 422
    assert submit(ada, address, "answer", text="It is as printed.").status_code == 302
    query.refresh_from_db()
    assert query.state == "answered"
    assert submit(mona, address, "close", text="thank you").status_code == 302
    query.refresh_from_db()
    assert query.state == "closed"
    said = told(ada.get(address), 200)
    assert said.index("It is as printed.") < said.index("thank you")


def test_monitors_close_many_queries_at_once_and_only_those_they_see(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Query

    ada, mona = at_work("ada"), at_work("mona")
    number = screened(ada)
    new = f"/participant/{number}/queries/new/"
    for word in ("first", "second", "third"):
        assert submit(mona, new, having="text", text=f"{word} question of many").status_code == 302
    queries = list(Query.objects.filter(participant__number=number).order_by("opened_at"))
    page = mona.get("/queries/")
    form = form_with(page, having="query")
    chosen = [str(one.id) for one in queries[:2]]
    assert set(chosen) <= set(form.offered["query"])
    assert "tick the queries" in told(mona.post("/queries/", {**form.fields, "text": "settled"}), 422)
    assert mona.post("/queries/", {**form.fields, "query": chosen, "text": "settled"}).status_code == 302
    states = list(
        Query.objects.filter(participant__number=number).order_by("opened_at").values_list("state", flat=True)
    )
    assert states == ["closed", "closed", "open"]
    assert "third question" in told(mona.get("/queries/?state=open&age=&site=1"), 200)
    assert "third question" not in told(mona.get("/queries/?site=2"), 200)
    assert "third question" not in told(mona.get("/queries/?age=14"), 200)
    assert "third question" not in told(at_work("cas").get("/queries/"), 200)
    stranger = at_work("cas").post("/queries/", {"query": chosen[:1], "text": "x"})
    assert stranger.status_code == 404


@pytest.mark.requirement("A11", "D9")
def test_a_query_that_tells_the_arm_is_not_shown_to_the_trial_manager(treated: Any) -> None:
    from equipoise.conduct.models import Query

    theo, ada = at_work("theo"), at_work("ada")
    query = Query.objects.create(
        participant=treated, text="Why was injection 4 missed?", reveals_arm=True, opened_by="mona",
        opened_at=clock.now(), changed_at=clock.now(),
    )  # fmt: skip
    address = f"/participant/{treated.number}/queries/{query.id}/"
    assert theo.get(address).status_code == 404
    assert "injection 4" not in told(theo.get("/queries/?state=all"), 200)
    assert "injection 4" in told(ada.get(address), 200)


# --- medication and the end -------------------------------------------------------------------------------


def test_drugs_are_kept_as_precisely_as_known_and_changed_with_a_reason(treated: Any) -> None:
    from equipoise.conduct.models import Medication

    ada = at_work("ada")
    address = f"/participant/{treated.number}/medication/"
    assert submit(ada, address, having="drug", drug="Zidovudine", started="may 2024").status_code == 302
    drug = Medication.objects.get(participant=treated)
    assert drug.started == "2024-05"
    page = ada.get(address)
    change = next(one for one in forms_of(page) if "medication" in one.fields)
    sent = {**change.fields, "stopped": "1 mar 2026", "why_stopped": "toxicity", "reason": "new information"}
    assert ada.post(address, sent).status_code == 302
    drug.refresh_from_db()
    assert (drug.started, drug.stopped) == ("2024-05", "2026-03-01")
    assert submit(ada, address, having="drug", drug="Abacavir", started="5/6").status_code == 422
    other = in_silcaat(DAY, number=51)
    assert ada.post(f"/participant/{other.number}/medication/", sent).status_code == 404


def test_the_end_is_recorded_and_can_be_taken_back_with_a_signature(treated: Any) -> None:
    ada, ivo = at_work("ada"), at_work("ivo")
    address = f"/participant/{treated.number}/end/"
    with at(DAY + timedelta(days=9)):
        assert submit(ada, address, "record", status="died", on="t").status_code == 422
        answer = submit(ada, address, "record", status="withdrew", on="-1", reason="moves away")
        assert answer.status_code == 302
        treated.refresh_from_db()
        assert (treated.ended_how, treated.ended_on) == ("withdrew", DAY + timedelta(days=8))
        assert not any(value == "undo" for form in forms_of(ada.get(address)) for _, value, _ in form.buttons)
        assert "password" in told(submit(ivo, address, "undo", undo_reason="came back", password=""), 422)
        assert submit(ivo, address, "undo", undo_reason="came back", password=PASSWORD).status_code == 302
        treated.refresh_from_db()
        assert treated.ended_on is None


# --- all of them ------------------------------------------------------------------------------------------

PAYLOADS = ("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'-alert(1)-'", "{{ 7|add:7 }}",
            "javascript:alert(1)")  # fmt: skip


@pytest.mark.requirement("D17")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_people_write_is_shown_as_they_wrote_it_and_runs_nothing(treated: Any, payload: str) -> None:
    ada, mona = at_work("ada"), at_work("mona")
    base = f"/participant/{treated.number}"
    with at(DAY + timedelta(days=4)):
        submit(ada, f"{base}/medication/", having="drug", drug=payload, started="2024")
        event = submit(ada, f"{base}/events/new/", having="onset", term=payload, onset="t", serious="no",
                       narrative=payload)["Location"]  # fmt: skip
        query = submit(mona, f"{base}/queries/new/", having="text", text=f"{payload} ?")["Location"]
        submit(ada, query, "answer", text=payload)
        visit_address = f"{base}/form/visit/entry:0/"
        refused = submit(ada, visit_address, "save", done_on=payload, text__cd4=payload)
        for page in (ada.get(f"{base}/medication/"), ada.get(event), ada.get(query), mona.get("/queries/"),
                     ada.get("/safety/"), refused):  # fmt: skip
            text = page.content.decode()
            assert html.escape(payload) in text or html.unescape(text).count(payload) > 0
            for mark in "<>\"'":
                if mark in payload:
                    assert payload not in text
                    break
            assert "unsafe-inline" not in page.headers["Content-Security-Policy"]


def test_enter_never_sends_half_a_form_and_every_form_is_protected(treated: Any) -> None:
    ada, ivo = at_work("ada"), at_work("ivo")
    with at(DAY):
        check(treated, "aldesleukin", DAY, **SILCAAT_CHECK)
        decide(treated, "aldesleukin", DAY)
        addresses = ("form/visit/entry:0/", "decide/aldesleukin/", "cycles/aldesleukin/1/", "events/new/",
                     "medication/", "end/")  # fmt: skip
        for client in (ada, ivo):
            for address in addresses:
                page = client.get(f"/participant/{treated.number}/{address}")
                own = [one for one in forms_of(page) if one.method == "post" and "request_key" in one.fields]
                assert own or (client is ada and address.startswith("decide")), address
                for one in own:
                    assert "csrfmiddlewaretoken" in one.fields
                    assert one.first_submit_disabled is True, address
                    assert one.fields.get("password", [""]) == [""]


@pytest.mark.requirement("D13")
def test_a_form_without_its_token_is_refused(treated: Any) -> None:
    from django.test import Client

    from conduct_people import HOST

    ada = at_work("ada")
    strict = Client(headers={"host": HOST}, enforce_csrf_checks=True)
    strict.cookies = ada.cookies
    answer = strict.post(
        f"/participant/{treated.number}/medication/", {"drug": "Zidovudine", "started": "2024"}
    )
    assert answer.status_code == 403


def test_a_form_of_another_protocol_is_made_from_its_items(tmp_path: Path) -> None:
    with clock.at(START + timedelta(days=1)):
        copied(tmp_path / "trial", "erythropoietin")
        ada = at_work("ada")
        number = screened(ada)
        protocol = opening.folder().protocol
        line = next(one for one in protocol.visits if one.period == "screening")
        text = told(ada.get(f"/participant/{number}/form/screening/{line.id}/"), 200)
        for name in line.collect:
            if protocol.items[name].derive is None:
                assert protocol.items[name].label in text
        assert told(ada.get(f"/participant/{number}/screening/"), 200)
