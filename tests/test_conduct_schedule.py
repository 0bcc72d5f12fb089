"""The schedule of a participant, and the list of the day for each role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_data import later, make_due_anew, person, randomized_to, save, send, viewer
from conduct_ready import ANSWERS, protocol_file, ready, screened
from conduct_trial import START, copied
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

DAY = date(2026, 3, 3)
VISIT = {"haemoglobin": "9", "systolic": "140", "weight": "70"}


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file())


def today() -> date:
    """What day it is at the first site."""
    return clock.today("Europe/Copenhagen")


def visits(number: str, who: str = "ada") -> Any:
    """The schedule as somebody sees it."""
    from equipoise.conduct.reading.schedule import planned

    return planned(person(number), today(), viewer(who))


def states(number: str, who: str = "ada") -> dict[str, str]:
    """Key -> state of the visits up to the third after randomisation."""
    return {one.key: one.state for one in visits(number, who)[:5]}


def tasks(who: str, number: str = "") -> list[tuple[str, str]]:
    """(kind, words) of the list of the day, in its order; of one participant or all."""
    from equipoise.conduct.reading.tasks import tasks as listed

    return [(one.kind, one.words) for one in listed(viewer(who)) if number in ("", one.participant)]


# --- the schedule -----------------------------------------------------------------------------------------


def test_screening_says_what_is_missing(trial: TrialFolder) -> None:
    number = send("screening.start", "ada", site=1, screened_on=DAY, consent_on=DAY, consent_version="1.0")[
        "participant"
    ]
    (visit,) = visits(number)
    assert (visit.kind, visit.state, visit.planned, len(visit.missing)) == ("screening", "to come", None, 12)
    save(number, "screening", "screening", DAY, {**ANSWERS, "weight": ""})
    (visit,) = visits(number)
    assert (visit.state, visit.missing) == ("incomplete", ("Body weight",))
    save(number, "screening", "screening", DAY, {"weight": "70"}, complete=True)
    (visit,) = visits(number)
    assert (visit.state, visit.missing) == ("complete", ())


def test_a_visit_is_to_come_open_overdue_missed_or_done(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.schedule import next_due

    number = randomized_to("epo")
    four, eight = "four_weekly:28", "four_weekly:56"
    assert (states(number)["entry:0"], states(number)[four]) == ("open", "to come")
    for days, state in ((22, "to come"), (23, "open"), (33, "open"), (34, "overdue"), (55, "overdue"),
                        (56, "missed")):  # fmt: skip
        with later(days):
            assert states(number)[four] == state, days
            if state != "missed":
                assert next_due([one for one in visits(number) if one.visit != "entry"]).key == four
    for days, state in ((20, "done early"), (28, "done in window"), (40, "done late")):
        with later(days):
            save(number, "visit", four, today(), VISIT, reason="the day was wrong", complete=True)
            assert states(number)[four] == state
    with later(56):
        send(
            "form.not_done",
            "ada",
            participant=number,
            kind="visit",
            key=eight,
            version=0,
            reason="in hospital",
        )
        assert states(number)[eight] == "not done"
        visit = next(one for one in visits(number) if one.key == four)
        assert (visit.name, visit.planned) == ("week 5", DAY + timedelta(days=28))
        assert (visit.earliest, visit.latest) == (DAY + timedelta(days=23), DAY + timedelta(days=33))


def test_each_arm_has_its_own_visits_and_a_blinded_role_sees_the_common_ones(trial: TrialFolder) -> None:
    epo, usual = randomized_to("epo"), randomized_to("usual")
    assert {one.visit for one in visits(epo)} == {"screening", "entry", "four_weekly"}
    assert {one.visit for one in visits(usual)} == {"screening", "entry", "quarterly"}
    for number in (epo, usual):
        assert [one.key for one in visits(number, "theo")] == ["screening", "entry:0"]


def test_after_the_end_nothing_more_is_planned(trial: TrialFolder) -> None:
    number = randomized_to("epo")
    with later(40):
        send(
            "disposition.record",
            "ada",
            participant=number,
            status="withdrew",
            on=today(),
            reason="moved away",
        )
        keys = [(one.key, one.state) for one in visits(number)[1:]]
    assert keys == [("entry:0", "missed"), ("four_weekly:28", "missed")]


def test_forms_outside_the_schedule_are_listed(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.schedule import new_update_key, other_forms

    number = randomized_to("epo")
    assert new_update_key(person(number), DAY) == "2026-03-03:1"
    save(number, "update", "2026-03-03:1", DAY, {"thrombosis_active": "no"})
    save(number, "check", f"erythropoietin:{DAY}", DAY, {"systolic": "140"})
    assert new_update_key(person(number), DAY) == "2026-03-03:2"
    assert [(one.kind, one.title) for one in other_forms(person(number), viewer("ada"))] == [
        ("check", "Check before a cycle of Erythropoietin, 3 Mar 2026"),
        ("update", "Between visits, 3 Mar 2026"),
    ]  # fmt: skip
    assert other_forms(person(number), viewer("theo")) == []


# --- the list of the day ----------------------------------------------------------------------------------


def test_screening_is_completed_then_signed_then_randomised(trial: TrialFolder) -> None:
    number = send("screening.start", "ada", site=1, screened_on=DAY, consent_on=DAY, consent_version="1.0")[
        "participant"
    ]
    assert tasks("ada") == [
        ("screening", "screening: 1 of 1 forms to complete; to be randomised by 31 Mar 2026")
    ]
    until = "to be randomised by 17 Mar 2026"  # the blood pressure counts for two weeks
    other = screened()
    assert ("eligibility", f"eligibility to be signed; {until}") in tasks("ivo")
    third = ready()
    assert tasks("ada")[0] == ("randomise", f"ready: {until}")
    save(third, "screening", "screening", DAY, {"weight": "71"}, reason="transcription error")
    assert tasks("ada")[0] == ("randomise", f"ready: {until}"), "no criterion speaks of the weight"
    save(third, "screening", "screening", DAY, {"ferritin": "201"}, reason="transcription error", version=2)
    assert [kind for kind, _ in tasks("ada")].count("eligibility") == 2, "what was signed has changed"
    for who in ("cas", "pia", "mona", "theo", "stan", "rosa", "admin"):
        assert tasks(who) == []
    for one, kinds in ((number, ["screening"]), (other, ["eligibility"]), (third, ["eligibility"])):
        assert [kind for kind, _ in tasks("ada", one)] == kinds


@pytest.mark.requirement("I1")
def test_what_stands_in_the_way_of_randomising_is_told_and_nobody_is_called_ready_who_is_not(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.models import Participant, Trial

    signed, unfit, undecided = ready(), screened(ferritin="20"), screened()
    Participant.objects.filter(number=undecided).update(status=Participant.FAILED)
    assert tasks("ada", unfit) == [("eligibility", "not eligible (I3): screen failure to be recorded")]
    assert tasks("ada", undecided) == []
    pressure = "Systolic blood pressure"
    ready_by = ("randomise", "ready: to be randomised by 17 Mar 2026")
    with clock.at(START + timedelta(days=7)):
        assert tasks("ada", signed) == [ready_by]
    for days in (8, 15):
        with clock.at(START + timedelta(days=days)):
            assert tasks("ada", signed) == [
                ready_by,
                (
                    "expiring",
                    f"counts no longer soon, randomise first or measure again: {pressure} until 17 Mar 2026",
                ),
            ]
    with clock.at(START + timedelta(days=16)):
        assert tasks("ada", signed) == [("expiring", f"too old or undated, to be measured again: {pressure}")]
        assert "randomise" not in [kind for kind, _ in tasks("ivo")]
    with clock.at(START + timedelta(days=30)):
        assert tasks("ivo", signed) == [
            ("eligibility", "not eligible (screening period): screen failure to be recorded"),
            ("sign", "screening form of 3 Mar 2026: to be signed"),
        ]
    Trial.objects.update(suspended="to be looked into")
    assert tasks("ada", signed) == [
        ("randomise", "signed, but randomisation is suspended: to be looked into")
    ]


def test_visits_are_listed_when_open_closing_overdue_or_missed(trial: TrialFolder) -> None:
    number = randomized_to("usual")
    save(number, "visit", "entry:0", DAY, VISIT, complete=True)
    expected = {
        60: [],
        71: [("visit", "week 13: window open until 9 Jun 2026")],
        92: [("visit", "week 13: window closes on 9 Jun 2026")],
        100: [("visit", "week 13 is overdue since 9 Jun 2026")],
    }
    for days, found in expected.items():
        with later(days):
            assert [one for one in tasks("ada", number) if one[0] == "visit"] == found, days
    with later(168):
        assert [words for kind, words in tasks("ada", number) if kind == "visit"] == [
            "week 25: window open until 1 Sep 2026",
            "week 13 was missed: enter it late, or say why it was not done",
        ]
        send(
            "form.not_done", "ada", participant=number, kind="visit", key="quarterly:84", version=0,
            reason="was abroad",
        )  # fmt: skip
        assert [kind for kind, _ in tasks("ada", number)].count("visit") == 1


def test_whoever_is_randomised_stands_on_the_list_at_once(trial: TrialFolder) -> None:
    number = randomized_to("epo")
    assert ("visit", "day 0: window closes on 3 Mar 2026") in tasks("ada", number)
    assert "decision" in [kind for kind, _ in tasks("ivo", number)]


def test_cycles_are_checked_decided_and_given(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.tasks import tasks as listed

    number = randomized_to("epo")
    save(number, "visit", "entry:0", DAY, VISIT, complete=True)
    assert [kind for kind, _ in tasks("ivo", number)] == ["decision", "sign"]
    (decision,) = [
        one for one in listed(viewer("pia")) if one.kind == "decision" and one.participant == number
    ]
    assert (decision.url, decision.kwargs) == ("decide", {"number": number, "regimen": "erythropoietin"})
    (check,) = [one for one in listed(viewer("ada")) if one.kind == "check" and one.participant == number]
    key = f"erythropoietin:{DAY}"
    assert (check.url, check.kwargs) == ("form", {"number": number, "kind": "check", "key": key})
    save(
        number,
        "check",
        key,
        DAY,
        {"haemoglobin": "9", "systolic": "140", "toxicity_reviewed": "yes"},
        complete=True,
    )
    assert "check" not in [kind for kind, _ in tasks("ada")]
    assert tasks("theo") == []


def test_what_is_left_to_do_with_data_is_listed_for_who_does_it(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.tasks import tasks as listed

    number = randomized_to("epo")
    save(number, "visit", "entry:0", DAY, {"haemoglobin": {"missing": "awaited"}, "systolic": "310"})
    assert ("incomplete", "visit of 3 Mar 2026: not complete") in tasks("ada")
    assert ("awaited", "Haemoglobin: result awaited") in tasks("ada")
    save(number, "visit", "entry:0", DAY, {"weight": "70"}, complete=True)
    query = next(one for one in listed(viewer("ada")) if one.kind == "query")
    assert query.words.startswith("query to answer: Systolic blood pressure: 310 mmHg is outside")
    assert (query.url, set(query.kwargs)) == ("query", {"number", "query"})
    assert not [one for one in tasks("mona") if one[0] == "query"]
    send("query.answer", "ada", query=query.kwargs["query"], text="measured twice")
    assert [one for one in tasks("mona") if one[0] == "query"]
    signing = [one for one in listed(viewer("ivo")) if one.kind == "sign" and one.participant == number]
    assert [one.words for one in signing] == ["screening form of 3 Mar 2026: to be signed, and 1 more"]


def test_a_serious_event_stands_first_and_leads_to_its_page(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.tasks import tasks as listed

    number = randomized_to("epo")
    send(
        "event.report", "ada", participant=number, kind="vascular", term="stroke", onset="2026-03-03",
        serious=True, serious_because="hospital stay", aware_at=clock.now(),
    )  # fmt: skip
    for who in ("ada", "ivo", "mona", "theo"):
        first = listed(viewer(who))[0]
        assert (first.kind, first.url, first.kwargs) == ("event", "event", {"number": number, "event": 1})
        assert (first.urgency, first.due, first.site) == ("now", date(2026, 3, 4), 1)
    assert listed(viewer("cas")) == []
    with later(2):
        assert "overdue since Wednesday 4 March 2026" in listed(viewer("ada"))[0].words
    endpoint = [words for kind, words in tasks("ada") if kind == "endpoint"]
    assert endpoint == ["Endpoint to be documented: Vascular event, stroke, onset 3 March 2026"]


def test_a_list_asks_the_database_as_often_for_many_as_for_few(trial: TrialFolder) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def asked(who: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert tasks(who)
        return len(captured)

    randomized_to("epo")
    screened()
    few = {who: asked(who) for who in ("ada", "ivo")}
    for _ in range(4):
        randomized_to("epo")
        screened()
    assert {who: asked(who) for who in ("ada", "ivo")} == few


def test_a_save_reads_what_happened_to_a_participant_once(trial: TrialFolder) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    number = randomized_to("epo")
    with CaptureQueriesContext(connection) as captured:
        save(number, "visit", "entry:0", DAY, VISIT, complete=True)
    read = [one["sql"] for one in captured if one["sql"].startswith("SELECT")]
    for table in ("conduct_decision", "conduct_cycle", "conduct_eventversion"):
        assert len([sql for sql in read if f'FROM "{table}"' in sql]) == 1, table


def test_what_is_due_can_be_made_anew_from_the_record(trial: TrialFolder) -> None:
    from equipoise.conduct import due
    from equipoise.conduct.models import Due

    number = randomized_to("epo")
    save(number, "visit", "entry:0", DAY, VISIT, complete=True)

    def rows() -> list[Any]:
        found = due.coming([1], DAY + timedelta(days=400))
        return [one for whose, one in found if whose.number == number]

    kept = rows()
    assert {one.kind for one in kept} == {"visit", "cycle"}
    assert len(kept) > 10
    Due.objects.all().delete()
    assert make_due_anew() >= 1
    assert rows() == kept


def test_a_seal_that_was_moved_to_somebody_else_does_not_open_and_the_record_is_asked(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct import due
    from equipoise.conduct.models import Due

    number = randomized_to("epo")
    everybody = [person(number)]
    kept = due.ahead(everybody, viewer("mona"))
    other = Due.objects.get(participant__number=randomized_to("usual"), kind="sealed")
    Due.objects.filter(participant__number=number, kind="sealed").update(sealed=other.sealed)
    assert due.ahead(everybody, viewer("mona")) == kept
    assert [one.key for one in due.ahead(everybody, viewer("theo"))[everybody[0].pk]] == ["entry:0"]
    make_due_anew()
    assert Due.objects.get(participant__number=number, kind="sealed").sealed != other.sealed
    assert due.ahead(everybody, viewer("mona")) == kept


@pytest.mark.requirement("D34", "K2")
def test_what_is_due_does_not_tell_the_arm_to_who_reads_the_database(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Due

    def rows(number: str) -> list[Any]:
        found = Due.objects.filter(participant__number=number).order_by("kind", "key")
        told = found.values_list("kind", "key", "words", "opens", "due", "closes", "passes", "reveals_arm")
        return [
            (*row, len(sealed))
            for row, sealed in zip(told, found.values_list("sealed", flat=True), strict=True)
        ]

    epo, usual = randomized_to("epo"), randomized_to("usual")
    assert rows(epo) == rows(usual)
    assert [row[0] for row in rows(epo)] == ["sealed", "visit"]
    sealed = set(Due.objects.filter(kind="sealed").values_list("sealed", flat=True))
    assert len(sealed) == Due.objects.filter(kind="sealed").count()
    assert not any("four" in one or "quarter" in one for one in sealed)


@pytest.mark.requirement("A1")
def test_the_tables_hold_what_the_ledger_says_after_all_this(trial: TrialFolder) -> None:
    from equipoise.conduct import verifying

    number = randomized_to("epo")
    save(number, "visit", "entry:0", DAY, {**VISIT, "systolic": "310"}, complete=True)
    save(number, "visit", "entry:0", DAY, {"weight": "71", "systolic": "140"}, reason="source corrected")
    save(number, "update", f"{DAY}:1", DAY, {"ferritin": "<5", "thrombosis_active": "no"}, complete=True)
    send(
        "form.not_done",
        "ada",
        participant=number,
        kind="update",
        key=f"{DAY}:1",
        version=1,
        reason="wrong person",
    )
    event = send(
        "event.report", "ada", participant=number, kind="transfusion", term="two units", onset="2026-03",
        serious=False,
    )["event"]  # fmt: skip
    send("event.remove", "ivo", event=event, reason="wrong person")
    send("medication.save", "ada", participant=number, drug="examplevir", started="2019-05")
    send("disposition.record", "ada", participant=number, status="withdrew", on=DAY, reason="moved away")
    send("disposition.undo", "ivo", participant=number, reason="came back")
    assert verifying.verify(trial) == []
