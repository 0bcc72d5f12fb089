"""Events, their clock, the endpoints that they may be, and the end of follow-up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_data import later, person, randomized_to, save, send, viewer
from conduct_ready import protocol_file, screened
from conduct_trial import START, copied
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder
from equipoise.protocol import load

DAY = date(2026, 3, 3)
AWARE = datetime(2026, 3, 3, 9, 30, tzinfo=UTC)
STROKE: dict[str, Any] = {
    "kind": "vascular", "term": "stroke", "onset": "2026-03-03", "grade": 3, "serious": True,
    "serious_because": "hospital stay", "aware_at": AWARE,
}  # fmt: skip
DEATH: dict[str, Any] = {
    "kind": "death", "term": "heart failure", "onset": "2026-03-03", "grade": 5, "serious": True,
    "serious_because": "death", "aware_at": AWARE, "outcome": "fatal",
}  # fmt: skip


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1, hours=1)):
        yield copied(tmp_path / "trial", protocol_file())


@pytest.fixture
def number(trial: TrialFolder) -> str:
    """Somebody in follow-up."""
    return randomized_to("epo")


def report(number: str, said: dict[str, Any], who: str = "ada", **more: Any) -> Any:
    """Report an event."""
    return send("event.report", who, participant=number, **{**said, **more})


def refused(number: str, said: dict[str, Any], **more: Any) -> Any:
    """How a report is refused."""
    from equipoise.conduct.gateway import Refused

    with pytest.raises(Refused) as found:
        report(number, said, **more)
    return found.value


def events(number: str, who: str = "ada") -> Any:
    """The events as somebody sees them."""
    from equipoise.conduct.reading.safety import events

    return events([person(number)], viewer(who))


def queries(number: str) -> list[tuple[str, str]]:
    """(rule, state) of the queries of a participant."""
    from equipoise.conduct.models import Query

    return sorted(Query.objects.filter(participant__number=number).values_list("rule", "state"))


# --- reports ----------------------------------------------------------------------------------------------


def test_an_event_is_reported_and_followed_up_and_no_report_is_lost(number: str) -> None:
    from equipoise.conduct.gateway import Conflict, Refused
    from equipoise.conduct.models import Entry

    first = report(number, STROKE)
    assert (first["number"], first["version"]) == (1, 1)
    again = {"participant": number, "event": first["event"], **STROKE}
    with pytest.raises(Conflict, match="nothing is new"):
        send("event.follow_up", "ada", **again)
    send("event.follow_up", "ada", **{**again, "outcome": "recovering", "attributed": False})
    corrected = {**again, "outcome": "recovering", "attributed": False, "onset": "2026-03"}
    with pytest.raises(Refused, match="say why it is corrected: onset"):
        send("event.follow_up", "ada", **corrected)
    with pytest.raises(Refused, match="kind of an event does not change"):
        send("event.follow_up", "ada", **{**again, "kind": "transfusion"})
    answer = send("event.follow_up", "ada", **corrected, reason="seen in the discharge letter")
    assert answer["version"] == 3
    (event,) = events(number)
    assert [(one.version, one.onset, one.outcome) for one in event.reports] == [
        (1, "2026-03-03", ""), (2, "2026-03-03", "recovering"), (3, "2026-03", "recovering"),
    ]  # fmt: skip
    assert event.latest.onset == "2026-03"
    assert event.is_open
    entry = Entry.objects.filter(subject=first["event"], field="onset").latest("n")
    assert (entry.old, entry.new, entry.reason) == ("2026-03-03", "2026-03", "seen in the discharge letter")


@pytest.mark.parametrize(
    ("said", "more", "words", "field"),
    [
        (STROKE, {"kind": "strok"}, 'no kind of event "strok"', "kind"),
        (STROKE, {"term": "strok"}, 'did you mean "stroke"', "term"),
        (STROKE, {"serious_because": ""}, "by which criterion", "serious_because"),
        (STROKE, {"aware_at": None}, "when the site learned", "serious_because"),
        (STROKE, {"aware_at": datetime(2026, 3, 4, 9, tzinfo=UTC)}, "in the future", "aware_at"),
        (STROKE, {"aware_at": datetime(2026, 3, 1, 9, tzinfo=UTC)}, "before it began", "aware_at"),
        (STROKE, {"aware_at": datetime(2026, 3, 3, 9)}, "time zone", "aware_at"),
        (STROKE, {"onset": "2026-03-04"}, "lies in the future", "onset"),
        (STROKE, {"onset": "2026-02"}, "before consent", "onset"),
        (STROKE, {"onset": "2026-02-30"}, "no such day", "onset"),
        (STROKE, {"ended": "2026-03-02"}, "before it began", "onset"),
        (STROKE, {"cycle": 3}, "has had no cycle 3", "cycle"),
    ],
)
def test_a_report_that_cannot_be_is_refused_in_words(
    number: str, said: dict[str, Any], more: dict[str, Any], words: str, field: str
) -> None:
    error = refused(number, said, **more)
    assert words in error.words
    assert error.field == field
    assert events(number) == []


def test_terms_are_free_where_the_protocol_has_none(number: str) -> None:
    report(number, {"kind": "adverse_event", "term": "headache", "onset": "2026-03", "serious": False})
    report(number, {"kind": "transfusion", "term": "two units", "onset": "2026-03-03", "serious": False})
    assert [(one.number, one.label, one.latest.onset) for one in events(number)] == [
        (1, "Adverse event", "2026-03"), (2, "Red cell transfusion", "2026-03-03"),
    ]  # fmt: skip


def test_an_event_is_struck_out_with_its_reason_and_its_number_is_not_used_again(number: str) -> None:
    from equipoise.conduct.gateway import Conflict, NotAllowed

    event = report(number, STROKE)["event"]
    with pytest.raises(NotAllowed):
        send("event.remove", "ada", event=event, reason="another person's")
    send("event.remove", "ivo", event=event, reason="another person's")
    with pytest.raises(Conflict, match="struck out"):
        send("event.remove", "ivo", event=event, reason="another person's")
    assert queries(number) == [("endpoint", "cancelled")]
    assert report(number, STROKE)["number"] == 2
    assert [(one.number, one.removed, one.deadline is None) for one in events(number)] == [
        (1, "another person's", True), (2, "", False),
    ]  # fmt: skip


def test_another_site_does_not_exist_and_a_monitor_reports_nothing(number: str) -> None:
    from equipoise.conduct.gateway import NotAllowed, NotFound

    with pytest.raises(NotFound):
        report(number, STROKE, who="cas")
    with pytest.raises(NotAllowed):
        report(number, STROKE, who="mona")
    event = report(number, STROKE)["event"]
    with pytest.raises(NotFound):
        send("event.remove", "ina", event=event, reason="not mine")


# --- the clock --------------------------------------------------------------------------------------------


@pytest.mark.requirement("T5")
def test_the_24_hours_run_from_when_the_site_knew_in_its_own_zone(trial: TrialFolder) -> None:
    with clock.at(datetime(2026, 3, 7, 4, 40, tzinfo=UTC)):
        today = clock.today("America/New_York")
        assert today == date(2026, 3, 6), "it is still the evening before, there"
        number = screened_there()
        aware = datetime(2026, 3, 7, 4, 20, tzinfo=UTC)  # 23:20 on the 6th in New York
        said = {"kind": "adverse_event", "term": "stroke", "onset": "2026-03-06", "serious": True,
                "serious_because": "hospital stay", "aware_at": aware}  # fmt: skip
        report(number, said, who="cas")
        (event,) = events(number, "cas")
        deadline = event.deadline
        assert deadline.due.astimezone(UTC) == aware + timedelta(hours=24)
        assert deadline.words == ("to be completed by Saturday 7 March 2026, 23:20 (America/New_York)")
    with clock.at(aware + timedelta(hours=24, minutes=1)):
        assert events(number, "cas")[0].deadline.words.startswith(
            "overdue since Saturday 7 March 2026, 23:20"
        )


def screened_there() -> str:
    """Somebody screened at the site in New York."""
    day = clock.today("America/New_York")
    return str(
        send("screening.start", "cas", site=2, screened_on=day, consent_on=day, consent_version="1.0")[
            "participant"
        ]
    )


@pytest.mark.requirement("T5")
def test_24_hours_are_24_hours_when_the_clocks_change(trial: TrialFolder) -> None:
    with clock.at(datetime(2026, 3, 28, 13, tzinfo=UTC)):  # clocks go forward on the 29th in Copenhagen
        number = send(
            "screening.start", "ada", site=1, screened_on=date(2026, 3, 28), consent_on=date(2026, 3, 28),
            consent_version="1.0",
        )["participant"]  # fmt: skip
        aware = datetime(2026, 3, 28, 12, tzinfo=UTC)
        said = {"kind": "adverse_event", "term": "fall", "onset": "2026-03-28", "serious": True,
                "serious_because": "hospital stay", "aware_at": aware}  # fmt: skip
        report(number, said)
        (event,) = events(number)
    assert event.deadline.words == "to be completed by Sunday 29 March 2026, 14:00 (Europe/Copenhagen)"


def test_a_serious_event_is_reported_once_cause_and_course_are_told(number: str) -> None:
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.safety import unreported

    everybody = Participant.objects.all()
    first = report(number, STROKE)
    assert [one.number for one in unreported(everybody, viewer("mona"))] == [1]
    whole = {**STROKE, "attributed": False, "narrative": "fell ill at home"}
    with later(0, hours=3):
        send("event.follow_up", "ada", participant=number, event=first["event"], **whole)
        (event,) = events(number)
        assert event.deadline.state == "reported in time"
        assert unreported(everybody, viewer("mona")) == []
        second = report(number, {**STROKE, "term": "venous thrombosis"})
    with later(3):
        send("event.follow_up", "ada", participant=number, event=second["event"],
             **{**whole, "term": "venous thrombosis"})  # fmt: skip
        assert events(number)[1].deadline.state == "reported late"


def test_the_protocol_sets_times_for_kinds_that_are_not_serious(number: str) -> None:
    said = {
        "kind": "transfusion",
        "term": "two units",
        "onset": "2026-03-03",
        "serious": False,
        "aware_at": AWARE,
    }
    report(number, said)
    (event,) = events(number)
    assert event.deadline.due.astimezone(UTC) == AWARE + timedelta(days=7)
    assert event.deadline.state == "reported in time"


# --- endpoints --------------------------------------------------------------------------------------------


@pytest.mark.requirement("K6")
@pytest.mark.parametrize(
    ("said", "candidate"),
    [
        (STROKE, True),
        (DEATH, True),
        ({"kind": "transfusion", "term": "x", "onset": "2026-03-03", "serious": False}, True),
        ({"kind": "adverse_event", "term": "headache", "onset": "2026-03-03", "serious": False}, False),
        ({**STROKE, "kind": "adverse_event", "term": "fall"}, True),
    ],
    ids=["term of an endpoint", "death", "kind of an endpoint", "mild event", "serious event"],
)
def test_what_may_be_an_endpoint_is_followed_up_from_its_first_report(
    number: str, said: dict[str, Any], candidate: bool
) -> None:
    from equipoise.conduct.models import Entry

    answer = report(number, said)
    assert answer["endpoint_candidate"] is candidate
    assert (("endpoint", "open") in queries(number)) is candidate
    if candidate:
        opened = Entry.objects.filter(kind="query", command="event.report").first()
        assert opened.act == Entry.objects.get(kind="event", field="", subject=answer["event"]).act


@pytest.mark.requirement("K6")
def test_only_the_terms_that_an_endpoint_names_count_for_it() -> None:
    from equipoise.conduct.reading.safety import is_endpoint, reveals_arm

    esprit = load("esprit")
    assert is_endpoint(esprit, "opportunistic_disease", "wasting syndrome", False)
    assert is_endpoint(esprit, "death", "whatever", False)
    assert not is_endpoint(esprit, "toxicity", "depressed mood", False)
    assert is_endpoint(esprit, "toxicity", "depressed mood", True)
    assert reveals_arm(esprit, "toxicity"), "toxicity of the drug is reported in one arm"
    assert not reveals_arm(esprit, "grade4")
    assert not reveals_arm(esprit, "adverse_event")


def test_a_candidate_follows_what_is_learned_of_the_event(number: str) -> None:
    from equipoise.conduct.models import Query

    said = {**STROKE, "kind": "adverse_event", "term": "fall"}
    event = report(number, said)["event"]
    again = {"participant": number, "event": event, **said, "reason": "seen again"}
    send("event.follow_up", "ada", **{**again, "term": "fall with fracture"})
    assert (
        Query.objects.get().text
        == "Endpoint to be documented: Adverse event, fall with fracture, onset 3 March 2026"
    )
    send("event.follow_up", "ada", **{**again, "serious": False, "serious_because": "", "aware_at": None})
    assert queries(number) == [("endpoint", "cancelled")]


# --- queries about events ---------------------------------------------------------------------------------


def test_a_fatal_event_asks_for_the_death_and_the_death_for_the_end(number: str) -> None:
    report(number, {**STROKE, "outcome": "fatal", "grade": 5})
    assert ("fatal", "open") in queries(number)
    report(number, DEATH)
    assert ("fatal", "closed") in queries(number)
    assert ("death-ends", "open") in queries(number)
    send("disposition.record", "ada", participant=number, status="died", on=DAY)
    assert ("death-ends", "closed") in queries(number)


def test_the_site_confirms_what_a_check_asks_about_an_event(number: str) -> None:
    from equipoise.conduct.models import Query

    event = report(number, {**STROKE, "outcome": "fatal"})["event"]
    query = Query.objects.get(rule="fatal")
    send(
        "query.answer", "ada", query=query.id, text="the patient died of another cause later", confirmed=True
    )
    again = {
        "participant": number,
        "event": event,
        **STROKE,
        "outcome": "fatal",
        "narrative": "more is known",
    }
    send("event.follow_up", "ada", **again)
    assert queries(number).count(("fatal", "answered")) == 1
    assert ("fatal", "open") not in queries(number)


# --- what a blinded role sees -----------------------------------------------------------------------------


@pytest.mark.requirement("A11")
def test_who_does_not_see_the_arm_is_not_told_what_was_done_about_the_drug(number: str) -> None:
    from equipoise.conduct.models import Entry

    report(number, STROKE, attributed=True, action_taken="cycles stopped", narrative="after the second dose")
    (seen,), (whole,) = events(number, "theo"), events(number, "mona")
    assert (seen.latest.term, seen.latest.attributed, seen.latest.narrative) == ("stroke", None, "")
    assert seen.latest.action_taken == ""
    assert (whole.latest.attributed, whole.latest.action_taken) == (True, "cycles stopped")
    plain = Entry.objects.filter(kind="event", reveals_arm=False).values_list("field", flat=True)
    assert set(plain) == {"", "term", "onset", "grade", "serious", "serious_because", "aware_at"}


# --- the end ----------------------------------------------------------------------------------------------


def end(number: str, status: str, on: date = DAY, reason: str = "") -> Any:
    """Record the end of follow-up."""
    return send("disposition.record", "ada", participant=number, status=status, on=on, reason=reason)


def test_a_death_and_the_end_of_follow_up_agree(number: str) -> None:
    from equipoise.conduct.gateway import Conflict, Refused
    from equipoise.conduct.models import Event

    with pytest.raises(Refused, match="report the death as an event first"):
        end(number, "died")
    report(number, DEATH)
    assert "already" in refused(number, DEATH).words
    with pytest.raises(Refused, match="follow-up ended with it"):
        end(number, "withdrew", reason="asked to")
    with later(2), pytest.raises(Refused, match="reported on 2026-03-03, not on Wednesday 4 March 2026"):
        end(number, "died", date(2026, 3, 4))
    end(number, "died")
    assert (person(number).status, person(number).ended_how, person(number).ended_on) == (
        "ended",
        "died",
        DAY,
    )
    with pytest.raises(Conflict, match="not in follow-up"):
        end(number, "completed")
    death = Event.objects.get(kind="death")
    with pytest.raises(Refused, match="undo that first"):
        send("event.remove", "ivo", event=death.id, reason="was alive")
    moved = {**DEATH, "onset": "2026-03-04", "aware_at": AWARE + timedelta(days=1), "reason": "certificate"}
    with later(2), pytest.raises(Refused, match="after the end of follow-up"):
        send("event.follow_up", "ada", participant=number, event=death.id, **moved)


def test_the_day_of_a_death_is_not_moved_away_from_the_end(number: str) -> None:
    from equipoise.conduct.gateway import Refused

    with later(10):
        said = {**DEATH, "onset": "2026-03-12", "aware_at": clock.now()}
        event = report(number, said)["event"]
        end(number, "died", date(2026, 3, 12))
        moved = {**said, "onset": "2026-03-11", "reason": "certificate"}
        with pytest.raises(Refused, match="Thursday 12 March 2026: undo that first"):
            send("event.follow_up", "ada", participant=number, event=event, **moved)
        less = {**said, "onset": "2026-03", "reason": "the day is not certain"}
        send("event.follow_up", "ada", participant=number, event=event, **less)


def test_a_death_of_which_only_the_month_is_known_ends_follow_up_within_it(number: str) -> None:
    from equipoise.conduct.gateway import Refused

    with later(40):
        report(number, {**DEATH, "onset": "2026-03", "aware_at": clock.now()})
        with pytest.raises(Refused, match="reported on 2026-03, not on"):
            end(number, "died", date(2026, 4, 1))
        end(number, "died", date(2026, 3, 20))


def test_nothing_is_recorded_after_the_end_but_what_stands_may_be_corrected(number: str) -> None:
    from equipoise.conduct.gateway import Refused

    values = {"haemoglobin": "9", "systolic": "140", "weight": "70"}
    save(number, "visit", "entry:0", DAY, values, complete=True)
    with later(30):
        on = clock.today("Europe/Copenhagen")
        save(number, "visit", "four_weekly:28", on, values, complete=True)
        with pytest.raises(Refused, match="a form of Thursday 2 April 2026"):
            end(number, "withdrew", on - timedelta(days=1), "asked to")
        with pytest.raises(Refused, match="say why"):
            end(number, "withdrew", on)
        end(number, "withdrew", on, "asked to")
    with later(60):
        with pytest.raises(Refused, match="after the end of follow-up"):
            save(number, "visit", "four_weekly:56", clock.today("Europe/Copenhagen"), values)
        assert (
            "after the end of follow-up"
            in refused(
                number, {"kind": "adverse_event", "term": "fall", "onset": "2026-04-20", "serious": False}
            ).words
        )
        save(number, "visit", "entry:0", DAY, {"weight": "71"}, reason="source corrected")


def test_the_end_is_taken_back_only_by_a_signature_with_a_reason(number: str) -> None:
    from conduct_trial import actor
    from equipoise.conduct.gateway import Conflict, NotAllowed, perform
    from equipoise.conduct.models import Due, Signature

    assert Due.objects.filter(participant__number=number).exists()
    end(number, "lost to follow-up", reason="no answer to three letters")
    assert not Due.objects.filter(participant__number=number).exists()
    undo = {"participant": number, "reason": "came back"}
    for who, proof in (("ada", {}), ("ivo", {"proved": False})):
        with pytest.raises(NotAllowed):
            perform("disposition.undo", actor(who, **proof), undo)
    send("disposition.undo", "ivo", **undo)
    assert (person(number).status, person(number).ended_on) == ("randomised", None)
    assert Signature.objects.filter(kind="disposition").count() == 1
    assert Due.objects.filter(participant__number=number).exists()
    with pytest.raises(Conflict):
        send("disposition.undo", "ivo", **undo)


def test_follow_up_does_not_end_before_it_began_or_in_the_future(number: str) -> None:
    from equipoise.conduct.gateway import Conflict, Refused

    for on, words in ((date(2026, 3, 2), "before randomisation"), (date(2026, 3, 4), "in the future")):
        with pytest.raises(Refused, match=words):
            end(number, "completed", on)
    with pytest.raises(Conflict, match="not in follow-up: screening"):
        end(screened(), "completed")
