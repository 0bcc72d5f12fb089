"""Screening and randomisation of real participants: what is asked, refused, allocated, kept secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduct_ready import (
    READY,
    assessment,
    copied_ready,
    protocol_file,
    randomized,
    ready,
    save,
    screened,
    sign,
    strata,
)
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock, opening, sealing
from equipoise.conduct import numbering as numbers
from equipoise.conduct.folder import TrialFolder
from equipoise.protocol import canonical, load, sha256
from equipoise.rules import randomization as rules

TODAY = date(2026, 3, 3)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied_ready(tmp_path / "trial", READY)


def refused(words: str) -> Any:
    from equipoise.conduct.gateway import Refused

    return pytest.raises(Refused, match=words)


def start(who: str = "ada", **changed: Any) -> dict[str, Any]:
    given = {"site": 1, "screened_on": TODAY, "consent_on": TODAY, "consent_version": "1.0", **changed}
    return dict(do("screening.start", who, **given))


def randomize(number: str, who: str = "ada", *, key: str | None = None, **confirmed: str) -> dict[str, Any]:
    return dict(do("randomize", who, key=key, participant=number, strata={**strata(number), **confirmed}))


# --- screening numbers ------------------------------------------------------------------------------------


@given(st.integers(1, 999), st.integers(1, 9999), st.integers(0, 7), st.sampled_from(numbers.ALPHABET))
def test_one_wrong_character_in_a_screening_number_is_always_found(
    site: int, number: int, at: int, wrong: str
) -> None:
    right = numbers.screening_number(site, number)
    assert numbers.is_screening_number(right)
    place = [0, 1, 2, 4, 5, 6, 7, 9][at]
    if right[place] != wrong:
        assert not numbers.is_screening_number(f"{right[:place]}{wrong}{right[place + 1 :]}")


def test_the_check_character_is_that_of_the_standard() -> None:
    # the worked example of ISO/IEC 7064 for MOD 37,36 in the guide to the Global Release Identifier
    assert numbers.check_character("A12425GABC1234002") == "M"


def test_screening_numbers_in_the_manual_and_in_the_code_have_their_check_character() -> None:
    root = Path(__file__).resolve().parent.parent
    pages = [*(root / "docs").glob("*.md"), *(root / "src").rglob("*.py"), *(root / "src").rglob("*.html")]
    found = [
        one for page in pages for one in re.findall(r"\b\d{3}-\d{4}-[A-Z0-9]\b", page.read_text("utf-8"))
    ]
    assert len(found) > 2
    assert not [one for one in found if not numbers.is_screening_number(one)]


# --- screening --------------------------------------------------------------------------------------------


@pytest.mark.requirement("D5", "I1")
def test_nobody_is_screened_where_or_when_that_may_not_be(trial: TrialFolder) -> None:
    tomorrow = TODAY + timedelta(days=1)
    with refused("consent is dated in the future"):
        start(consent_on=tomorrow, screened_on=tomorrow)
    with refused("screening is dated in the future"):
        start(screened_on=tomorrow)
    with refused("consent comes before anything is done"):
        start(consent_on=TODAY, screened_on=TODAY - timedelta(days=1))
    with refused("before the site was open"):
        start(consent_on=date(2026, 2, 28))
    with refused("there is nothing of that name for you"):
        start(site=2)
    do("site.close", "theo", number=1, closed_on=TODAY, reason="enough participants")
    with refused("site 1 is closed since 3 Mar 2026"):
        start()


@pytest.mark.requirement("K7")
def test_only_the_site_whose_approvals_name_the_version_in_force_works_by_it(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Site

    with refused("the approvals name another version of the protocol"):
        do("site.open", "theo", number=3, approved_on=TODAY, protocol_sha256="0" * 64)
    waiting = _waiting()
    at = {site: next(one for one in waiting if one.startswith(f"{site:03d}")) for site in (1, 2)}
    Site.objects.filter(number=1).update(protocol_sha256="0" * 64)
    with refused("not open for the version of the protocol that is in force"):
        start(site=1)
    with refused("not open for the version of the protocol that is in force"):
        randomize(at[1])
    assert start("cas", site=2)["participant"].startswith("002-")
    assert randomize(at[2], "cas")["randomized_number"] == 1


@pytest.mark.requirement("D5")
def test_few_places_are_warned_of_and_with_none_left_nobody_is_asked_for_consent(trial: TrialFolder) -> None:
    waiting = _waiting()
    assert start()["warning"] == ""
    do("trial.places", "theo", places=2, reason="for the test")
    randomize(waiting[0])
    assert start()["places_left"] == 1
    do("trial.places", "theo", places=10, reason="for the test")
    for number in waiting[1:8]:
        randomize(number, "ada" if number.startswith("001") else "cas")
    assert start()["warning"].startswith("2 of 10 places are left")
    do("trial.places", "theo", places=8, reason="for the test")
    with refused("no places are left: all 8 are taken; ask nobody for consent"):
        start()
    late = ready_by_force()
    with refused("no places are left: all 8 are taken"):
        randomize(late)


def ready_by_force() -> str:
    """Somebody screened while there were places, who are all taken now."""
    do("trial.places", "theo", places=9, reason="for the test")
    number = ready()
    do("trial.places", "theo", places=8, reason="for the test")
    return number


def _waiting() -> list[str]:
    from equipoise.conduct.models import Participant

    found = Participant.objects.filter(status=Participant.SCREENING).order_by("candidate")
    return list(found.values_list("number", flat=True))


# --- eligibility ------------------------------------------------------------------------------------------


def test_each_criterion_has_its_value_source_and_expiry_and_the_failing_come_first(
    trial: TrialFolder,
) -> None:
    number = screened(haemoglobin="11.5")
    found = assessment(number)
    first = found.criteria[0]
    assert (first.id, first.met, first.kind) == ("I2", "no", "inclusion")
    assert first.words == "Haemoglobin 11.5 g/dL is not below 10 g/dL"
    result = first.results[0]
    assert (result.value, result.unit, result.measured_on) == (11.5, "g/dL", TODAY)
    assert (result.form.kind, result.form.key) == ("screening", "screening")
    assert (result.valid_until, result.days_left) == (TODAY + timedelta(days=35), 35)
    assert [one.met for one in found.criteria[1:]] == ["yes"] * (len(found.criteria) - 1)
    assert found.last_day == TODAY + timedelta(days=28)
    assert found.days_left == 14  # the blood pressure counts for two weeks
    assert "eligibility: not met: I2" in found.stands_in_way
    assert "stratum not known: Haemoglobin at entry" in found.stands_in_way


def test_a_mean_of_two_counts_is_worked_out_from_what_is_on_the_forms(tmp_path: Path) -> None:
    from equipoise.conduct.gateway import perform

    with clock.at(START + timedelta(days=1)):
        trial = copied(tmp_path / "silcaat")
        number = start()["participant"]
        visits = [one for one in trial.protocol.visits if one.period == "screening"]
        for visit in visits:
            answers = [
                {"item": item, "text": text, "measured_on": TODAY - timedelta(days=age)}
                for item, text, age in (("cd4_historical", "210", 60), ("cd4_visit1", "180", 0))
                if item in visit.collect
            ]
            if answers:
                inputs = {
                    "participant": number, "kind": "screening", "key": visit.id, "done_on": TODAY,
                    "answers": answers, "version": 0,
                }  # fmt: skip
                perform("form.save", actor("ada"), inputs)
        found = assessment(number)
        mean = next(one for one in found.results if one.item == "cd4")
        assert (mean.value, mean.derived) == (195.0, "(cd4_historical + cd4_visit1) / 2")
        assert found.levels["cd4_stratum"] == "50-199"
        assert found.eligible == "unknown"
        older = next(one for one in found.results if one.item == "cd4_historical")
        assert older.days_old == 60
        assert older.days_left == older.valid_until.toordinal() - TODAY.toordinal()


@pytest.mark.requirement("S2", "I1")
def test_only_what_was_shown_is_signed_and_only_eligibility(trial: TrialFolder) -> None:
    number = screened(ferritin="20")
    with refused("only eligibility can be signed: I3 is not met"):
        sign(number)
    shown = assessment(_waiting()[0]).content_sha256
    with refused("the record has changed since the page was shown"):
        do("eligibility.sign", "ivo", participant=number, content_sha256=shown)


@pytest.mark.requirement("S5", "I1")
def test_a_signature_lapses_when_the_record_changes_not_when_days_pass(trial: TrialFolder) -> None:
    number = ready()
    assert assessment(number).stands_in_way == ()
    with clock.at(START + timedelta(days=4)):
        assert assessment(number).signed
        save(number, "ada", TODAY, version=1, reason="transcription error", ferritin="201")
        assert not assessment(number).signed
        with refused("the signature of Ivo Example lapsed"):
            randomize(number)
        sign(number)
        assert randomize(number)["day_0"] == "2026-03-06"


@pytest.mark.requirement("I1")
def test_a_result_that_expired_or_a_screening_period_that_is_over_stops_randomisation(
    trial: TrialFolder,
) -> None:
    number = ready()
    with clock.at(START + timedelta(days=15)):
        assert assessment(number).stands_in_way == ()
    with clock.at(START + timedelta(days=16)), refused("too old or undated.*Systolic blood pressure"):
        randomize(number)
    with clock.at(START + timedelta(days=16)):
        expired = assessment(number)
        assert expired.signed, "that a result expired takes no signature away"
        assert not [words for words in expired.stands_in_way if "signature" in words]
        save(number, "ada", TODAY + timedelta(days=15), version=1, reason="new information", systolic="150")
        with refused("the signature of Ivo Example lapsed"):
            randomize(number)
    with clock.at(START + timedelta(days=30)), refused("not met: screening period"):
        randomize(number)


def test_a_screen_failure_keeps_its_criteria_and_is_never_randomised(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry, Participant

    number = screened(systolic="190")
    answer = do("screening.fail", "ada", participant=number, reason="blood pressure too high")
    assert answer["not_met"] == ["E1"]
    kept = Participant.objects.get(number=number)
    assert (kept.status, kept.failure_reason) == (
        "screen failure", "blood pressure too high; not met: E1"
    )  # fmt: skip
    assert '"E1":"no"' in Entry.objects.get(participant=number, field="criteria_at_failure").new
    with refused("recorded as a screen failure"):
        randomize(number)
    with refused("not in screening"):
        do("screening.fail", "ada", participant=number, reason="again")


# --- randomising ------------------------------------------------------------------------------------------


@pytest.mark.requirement("A1", "K1")
def test_an_allocation_holds_what_it_was_made_from_and_replays(trial: TrialFolder) -> None:
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Allocation, Entry, Outbox, Participant, Person

    Person.objects.filter(username="ada").update(email="ada@example.org")
    number = _waiting()[0]
    answer = randomize(number)
    assert answer["arm"] in trial.protocol.arms
    assert (answer["randomized_number"], answer["day_0"]) == (1, "2026-03-03")
    kept = Allocation.objects.get()
    assert kept.inputs["strata"] == {"haemoglobin_stratum": "below 9", "dialysis": "none"}
    assert kept.inputs["values"]["haemoglobin"] == [8.5, "2026-03-03"]
    assert kept.protocol_sha256 == trial.protocol_sha256
    participant = Participant.objects.get(number=number)
    assert (participant.status, participant.randomized_on) == ("randomised", TODAY)
    assert participant.baseline["haemoglobin"] == 8.5
    assert participant.strata == kept.inputs["strata"]
    kinds = Entry.objects.filter(command="randomize").values_list("kind", "field")
    assert ("allocation", "") in kinds
    assert Entry.objects.get(field="sealed_arm").reveals_arm
    receipt = Outbox.objects.get(to="ada@example.org")
    assert number in receipt.subject
    assert not re.search(r"\b(epo|usual)\b", receipt.body + receipt.subject)
    assert replay(trial) == []


@pytest.mark.requirement("D6", "I1")
def test_the_strata_are_confirmed_by_the_person_and_must_be_those_on_record(trial: TrialFolder) -> None:
    number = _waiting()[0]
    with refused("you confirm 9 to 10, the record says below 9"):
        randomize(number, haemoglobin_stratum="9 to 10")
    with refused("confirm the stratum: Dialysis"):
        do("randomize", "ada", participant=number, strata={"haemoglobin_stratum": "below 9"})
    with refused('"site" is not a stratum'):
        randomize(number, site="1")
    with refused("arm"):
        do("randomize", "ada", participant=number, strata=strata(number), arm="epo")


@pytest.mark.requirement("D2", "D4")
def test_asked_again_the_answer_is_the_same_with_or_without_the_key_of_the_request(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.models import Allocation, Request

    number = _waiting()[0]
    confirmed = strata(number)
    first = do("randomize", "ada", key="k1", participant=number, strata=confirmed)
    for who, key in (("ada", "k1"), ("ada", "k2"), ("ada", None), ("ivo", None)):
        assert do("randomize", who, key=key, participant=number, strata=confirmed) == first
    assert Allocation.objects.count() == 1
    with refused("randomised already, with other strata"):
        do("randomize", "ada", participant=number, strata={**confirmed, "dialysis": "haemodialysis"})
    for kept in Request.objects.filter(command="randomize"):
        assert set(kept.answer["arm"]) == {"sealed"}


@pytest.mark.requirement("U7", "U9", "D11")
def test_randomising_needs_a_duty_at_the_site_and_a_second_factor(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, NotFound, perform

    number = _waiting()[0]
    inputs = {"participant": number, "strata": strata(number)}
    for who in ("pia", "mona", "theo", "stan", "rosa"):
        with pytest.raises(NotAllowed):
            perform("randomize", actor(who), inputs)
    for who in ("cas", "ina"):
        with pytest.raises(NotFound):
            perform("randomize", actor(who), inputs)
    with pytest.raises(NotAllowed, match="second factor"):
        perform("randomize", actor("ada", second_factor=False), inputs)


def test_without_signature_or_at_a_closed_site_nobody_is_randomised(trial: TrialFolder) -> None:
    number = screened()
    with refused("no investigator has signed the eligibility"):
        randomize(number)
    sign(number)
    do("site.close", "theo", number=1, closed_on=TODAY, reason="enough participants")
    with refused("site 1 is closed"):
        randomize(number)
    do("trial.freeze", "theo", reason="final analysis")
    with refused("frozen"):
        randomize(number)


@pytest.mark.requirement("D6")
def test_an_allocation_in_error_stands_and_its_place_stays_used(trial: TrialFolder) -> None:
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Allocation, Signature
    from equipoise.conduct.reading.arms import arm_of

    first, second = _waiting()[:3:2]
    arm = randomize(first)["arm"]
    do("allocation.in_error", "ivo", participant=first, reason="consent was withdrawn the day before")
    with refused("recorded as an error already"):
        do("allocation.in_error", "ivo", participant=first, reason="twice")
    assert randomize(first)["in_error"] is True
    assert randomize(second)["randomized_number"] == 2
    kept = Allocation.objects.get(sequence=1)
    assert arm_of(kept.participant) == arm
    assert kept.error.reason == "consent was withdrawn the day before"
    assert Signature.objects.get(kind="allocation error").printed_name == "Ivo Example"
    assert replay(trial) == []


@pytest.mark.requirement("D6")
def test_a_stratum_corrected_afterwards_leaves_the_allocation_and_raises_a_query(trial: TrialFolder) -> None:
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Participant, Query
    from equipoise.conduct.reading.eligibility import stratum_differences

    number = randomized()
    save(number, "ada", TODAY, version=1, reason="source corrected", haemoglobin="9.4")
    participant = Participant.objects.select_related("site").get(number=number)
    assert participant.strata["haemoglobin_stratum"] == "below 9"
    assert stratum_differences(participant) == {"haemoglobin_stratum": ("below 9", "9 to 10")}
    query = Query.objects.get(rule="stratum")
    assert query.text == "Haemoglobin at entry: randomised as below 9, now on record as 9 to 10"
    assert replay(trial) == []
    save(number, "ada", TODAY, version=2, reason="transcription error", haemoglobin="8.5")
    assert Query.objects.get(rule="stratum").state == Query.CLOSED


# --- the scheme -------------------------------------------------------------------------------------------


@pytest.mark.requirement("K1")
@pytest.mark.parametrize("method", ["minimisation", "simple"])
def test_minimisation_and_simple_randomisation_replay_from_the_key(trial: TrialFolder, method: str) -> None:
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Allocation

    trial = randomized_by(method, trial)
    for number in _waiting()[:4]:
        who = "ada" if number.startswith("001") else "cas"
        sign(number, who)
        randomize(number, who)
    assert Allocation.objects.count() == 4
    assert replay(trial) == []
    (trial.path / "keys" / "allocation.key").write_text("5a" * 32)
    assert len(replay(trial)) == 4


def randomized_by(method: str, trial: TrialFolder) -> TrialFolder:
    """The same trial under a protocol that randomises otherwise."""
    from equipoise.conduct.models import Site, Trial

    protocol = load(protocol_file(method))
    trial.protocol_file.write_bytes(canonical(protocol))
    now = opening.use(trial.path)
    Trial.objects.update(protocol=canonical(protocol).decode(), protocol_sha256=sha256(protocol))
    Site.objects.update(protocol_sha256=sha256(protocol))
    return now


def walked(key: bytes, plan: rules.Scheme, stratum: str, count: int) -> list[int]:
    """The arms of the first places of a stratum under a key."""
    sequence = sealing.Sequence(key)
    drawn = ((("level",), *sequence.uniforms("0" * 64, stratum, n)) for n in range(1, count + 1))
    return rules.replay(plan, drawn)


BLOCKS = rules.Scheme("permuted blocks", ("epo", "usual"), (2, 1), (3, 6), 1.0, ("stratum",))


@pytest.mark.requirement("K1")
@given(st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_every_block_is_balanced_at_its_end_whatever_the_key(key: bytes, stratum: str) -> None:
    arms = walked(key, BLOCKS, stratum, 60)
    sequence = sealing.Sequence(key)
    at = 0
    while at < 54:
        size = rules.block_size(BLOCKS.blocks, sequence.uniforms("0" * 64, stratum, at + 1)[0])
        assert Counter(arms[at : at + size]) == {0: size * 2 // 3, 1: size // 3}
        at += size


@pytest.mark.requirement("K1")
def test_over_many_entries_ratio_blocks_and_strata_are_as_chance_would_have_them() -> None:
    key, count = bytes(range(32)), 100_000
    simple = rules.Scheme("simple", ("epo", "usual"), (2, 1), (), 1.0, ())
    arms = walked(key, simple, "[]", count)
    expected = (count * 2 / 3, count / 3)
    chi_square = sum((arms.count(arm) - wanted) ** 2 / wanted for arm, wanted in enumerate(expected))
    assert chi_square < 10.83  # one degree of freedom, p = 0.001
    runs = Counter(pairwise(arms))
    for (one, other), number in runs.items():
        wanted = count * (2 / 3, 1 / 3)[one] * (2 / 3, 1 / 3)[other]
        assert abs(number - wanted) < 4 * sqrt(wanted)
    # two strata, position by position: independent of each other
    few = 20_000
    pairs = Counter(zip(arms[:few], walked(key, simple, '["other"]', few), strict=True))
    independent = sum(
        (pairs[one, other] - few * a * b) ** 2 / (few * a * b)
        for one, a in enumerate((2 / 3, 1 / 3))
        for other, b in enumerate((2 / 3, 1 / 3))
    )
    assert independent < 16.27  # three degrees of freedom, p = 0.001


@pytest.mark.requirement("K1", "K2")
def test_another_key_protocol_stratum_or_place_gives_another_sequence() -> None:
    first = sealing.Sequence(b"a" * 32)
    drawn = {
        first.uniforms("p", "s", 1), first.uniforms("q", "s", 1), first.uniforms("p", "t", 1),
        first.uniforms("p", "s", 2), sealing.Sequence(b"b" * 32).uniforms("p", "s", 1),
    }  # fmt: skip
    assert len({number for pair in drawn for number in pair}) == 10
    assert all(0 <= number < 1 for pair in drawn for number in pair)


# --- concealment ------------------------------------------------------------------------------------------


def test_a_sealed_text_opens_in_its_place_only() -> None:
    key = b"k" * 32
    sealed = sealing.seal(key, "epo", "here")
    assert sealing.unseal(key, sealed, "here") == "epo"
    for other_key, text, place in (
        (b"x" * 32, sealed, "here"),
        (key, sealed, "there"),
        (key, sealed[:-8] + "AAAAAAA=", "here"),
        (key, "", "here"),
    ):
        with pytest.raises(ValueError, match="seal is broken"):
            sealing.unseal(other_key, text, place)


@pytest.mark.requirement("K2", "D33", "D34")
def test_no_arm_stands_in_the_database_the_journal_or_a_log(trial: TrialFolder) -> None:
    from django.db import connection

    from equipoise.conduct.models import Allocation
    from equipoise.conduct.reading.arms import arm_of

    for number in _waiting():
        randomize(number, "ada" if number.startswith("001") else "cas", key=f"key of {number}")
    label = re.compile(r"\b(epo|usual|Erythropoietin|Usual care)\b")
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    if (table, column) != ("conduct_trial", "protocol"):
                        assert not label.search(str(value)), (table, column, value)
    for folder in ("journal", "log", "outbox"):
        for file in (trial.path / folder).iterdir():
            assert not label.search(file.read_text()), file
    sealed = [one.sealed_arm for one in Allocation.objects.all()]
    arms = {arm_of(one.participant) for one in Allocation.objects.all()}
    assert len(arms) == 2
    assert len(set(sealed)) == len(sealed)
    assert len({len(one) for one in sealed}) == 1
