"""Checks on what is entered, and the queries that they and people open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_data import form_of, later, person, randomized_to, save, send, viewer
from conduct_ready import ANSWERS, protocol_file, screened
from conduct_trial import START, copied
from equipoise.conduct import checks, clock, entering
from equipoise.conduct.checks import CHECKS, Answered, FormDay, Reported, look
from equipoise.conduct.folder import TrialFolder
from equipoise.protocol.model import Item

DAY = date(2026, 3, 3)
NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
WEIGHT = Item(label="Weight", unit="kg", range=(20, 300), collect=["visits"])
CD4 = Item(label="CD4 count", unit="cells/mm3", range=(0, 3000), collect=["visits"])
HAEMOGLOBIN = Item(label="Haemoglobin", unit="g/dL", range=(2, 22), collect=["visits"])
RNA = Item(label="RNA", unit="copies/mL", range=(0, 2e7), detection_limit=50, collect=["visits"])
PREGNANT = Item(label="Pregnant", type="boolean", collect=["cycles"])


def answer(item: Item, text: str, unit: str = "", name: str = "x", **more: Any) -> Answered:
    """An answer of today."""
    return Answered(name, item, entering.read(item, text, unit), **{"on": DAY, "form_on": DAY, **more})


def at(done_on: date, **more: Any) -> FormDay:
    """A form done on a day; today is the 3rd of March, consent was a month before."""
    return FormDay(done_on, today=DAY, consent_on=date(2026, 2, 3), **more)


REPORT = Reported(
    kind="vascular", label="Vascular event", terminal=False, grade=3, serious=True,
    serious_because="hospital stay", outcome="recovering", onset="2026-03-01", ended="", aware_at=NOW,
    now=NOW, today=DAY, consent_on=date(2026, 2, 3),
)  # fmt: skip
DEATH = replace(REPORT, kind="death", label="Death", terminal=True, outcome="fatal", ended_how="died")

# Check -> what it speaks up about, and what it lets pass.
EXAMPLES: dict[str, tuple[list[Any], list[Any]]] = {
    "range": (
        [answer(WEIGHT, "301"), answer(WEIGHT, "19.9"), answer(CD4, "3.1", "10^9/L")],
        [answer(WEIGHT, "300"), answer(WEIGHT, "20"), answer(WEIGHT, "not done"), answer(CD4, "0")],
    ),
    "unit": (
        [answer(HAEMOGLOBIN, "120"), answer(CD4, "0.21", previous=210.0), answer(HAEMOGLOBIN, "12", "g/L"),
         answer(HAEMOGLOBIN, "12", "g/L", previous=11.5)],
        [answer(HAEMOGLOBIN, "12"), answer(HAEMOGLOBIN, "120", "g/L"), answer(CD4, "0.21", "10^9/L"),
         answer(CD4, "9", previous=210.0), answer(WEIGHT, "0")],
    ),
    "detection-limit": ([answer(RNA, "20")], [answer(RNA, "<20"), answer(RNA, "50"), answer(CD4, "20")]),
    "large-change": (
        [answer(WEIGHT, "280", previous=70.0), answer(RNA, "500000", previous=50.0)],
        [answer(WEIGHT, "75", previous=70.0), answer(WEIGHT, "280"), answer(RNA, "4000", previous=50.0),
         answer(CD4, "0", previous=70.0)],
    ),
    "date-order": (
        [answer(WEIGHT, "70", on=DAY + timedelta(days=1))],
        [answer(WEIGHT, "70"), answer(WEIGHT, "70", on=DAY - timedelta(days=30))],
    ),
    "sex": (
        [answer(PREGNANT, "yes", name="pregnant", known={"sex": "male"})],
        [answer(PREGNANT, "yes", name="pregnant", known={"sex": "female"}),
         answer(PREGNANT, "no", name="pregnant", known={"sex": "male"}),
         answer(PREGNANT, "yes", name="smokes", known={"sex": "male"})],
    ),
    "future": ([at(date(2026, 3, 4))], [at(DAY)]),
    "consent": ([at(date(2026, 2, 2))], [at(date(2026, 2, 3))]),
    "before-randomization": (
        [at(date(2026, 2, 9), randomized_on=date(2026, 2, 10), after_randomization=True)],
        [at(date(2026, 2, 10), randomized_on=date(2026, 2, 10), after_randomization=True),
         at(date(2026, 2, 9), randomized_on=date(2026, 2, 10)), at(DAY)],
    ),
    "after-end": ([at(DAY, ended_on=date(2026, 3, 2))], [at(DAY, ended_on=DAY), at(DAY)]),
    "named-day": ([at(DAY, named_on=date(2026, 3, 2))], [at(DAY, named_on=DAY), at(DAY)]),
    "window": (
        [at(DAY, earliest=date(2026, 3, 4), latest=date(2026, 3, 9)),
         at(DAY, earliest=date(2026, 2, 20), latest=date(2026, 3, 2))],
        [at(DAY, earliest=DAY, latest=DAY), at(DAY)],
    ),
    "event-dates": (
        [replace(REPORT, onset="2026-03-04"), replace(REPORT, onset="2026-01"),
         replace(REPORT, ended="2026-03-04"), replace(REPORT, ended="2026-02-28"),
         replace(REPORT, ended_on=date(2026, 2, 28)), replace(REPORT, onset="2027")],
        [REPORT, replace(REPORT, onset="2026"), replace(REPORT, ended="2026-03"),
         replace(REPORT, ended_on=DAY)],
    ),
    "serious": (
        [replace(REPORT, serious_because=""), replace(REPORT, aware_at=None)],
        [REPORT, replace(REPORT, serious=False, serious_because="", aware_at=None)],
    ),
    "aware": (
        [replace(REPORT, aware_at=NOW + timedelta(hours=1)),
         replace(REPORT, aware_at=NOW - timedelta(days=5))],
        [REPORT, replace(REPORT, aware_at=None)],
    ),
    "grade-of-kind": (
        [replace(REPORT, kind="grade4", grade=3)],
        [replace(REPORT, kind="grade4", grade=4), replace(REPORT, kind="grade4", grade=None), REPORT],
    ),
    "death-serious": (
        [replace(DEATH, serious=False), replace(DEATH, outcome="recovering")],
        [DEATH, replace(DEATH, outcome=""), REPORT],
    ),
    "fatal": (
        [replace(REPORT, outcome="fatal"), replace(REPORT, grade=5)],
        [replace(REPORT, outcome="fatal", has_death=True), REPORT, DEATH],
    ),
    "death-ends": ([replace(DEATH, ended_how="")], [DEATH, REPORT]),
}  # fmt: skip


@pytest.mark.requirement("I2")
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_has_its_text_rationale_version_and_cases(name: str) -> None:
    check = CHECKS[name]
    assert check.id == name
    assert check.version >= 1
    assert check.level in (checks.BLOCK, checks.QUERY, checks.CONFIRM, checks.NOTE)
    assert check.text.endswith(".")
    assert check.rationale.endswith(".")
    speaks, passes = EXAMPLES[name]
    assert speaks, "a check that never speaks up is none"
    assert passes
    for facts in speaks:
        assert type(facts) is check.of
        assert name in [one.rule for one in look(facts)], facts
    for facts in passes:
        assert name not in [one.rule for one in look(facts)], facts


def test_no_case_is_left_of_a_check_that_went() -> None:
    assert EXAMPLES.keys() == CHECKS.keys()


def test_a_value_in_order_raises_nothing() -> None:
    assert look(answer(HAEMOGLOBIN, "9.1", previous=8.5)) == []
    assert look(at(DAY)) == []
    assert look(REPORT) == []


# --- queries of the checks --------------------------------------------------------------------------------


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file())


def queries(number: str) -> list[tuple[str, str, str]]:
    """(rule, item, state) of the queries of a participant."""
    from equipoise.conduct.models import Query

    return [
        (q.rule, q.item, q.state)
        for q in Query.objects.filter(participant__number=number).order_by("opened_at")
    ]


def messages(number: str) -> list[tuple[str, str, str]]:
    """(who, state, text) of everything said."""
    from equipoise.conduct.models import QueryMessage

    found = QueryMessage.objects.filter(query__participant__number=number).order_by("id")
    return [(one.person, one.state, one.text) for one in found]


def only(number: str) -> Any:
    """The one query of a participant."""
    from equipoise.conduct.models import Query

    return Query.objects.get(participant__number=number)


Saved = Callable[..., Any]


@pytest.fixture
def heavy(trial: TrialFolder) -> str:
    """Somebody who is entered with a weight of 301 kg, on a form that is complete."""
    return screened(weight="301")


def test_a_value_out_of_range_is_stored_and_a_query_opens(heavy: str) -> None:
    assert form_of(heavy, "screening", "screening").values.get(item="weight").number == 301
    assert queries(heavy) == [("range", "weight", "open")]
    query = only(heavy)
    assert query.text == "Body weight: 301 kg is outside 20 to 300 kg"
    assert query.opened_by == "system"
    assert not query.reveals_arm


def test_it_closes_itself_when_mended_and_opens_anew_when_wrong_again(heavy: str) -> None:
    save(heavy, "screening", "screening", DAY, {"weight": "70"}, reason="transcription error")
    assert queries(heavy) == [("range", "weight", "closed")]
    assert messages(heavy)[-1] == ("system", "closed", "mended: the reason for this query is gone")
    save(heavy, "screening", "screening", DAY, {"weight": "302"}, reason="new information")
    assert queries(heavy) == [("range", "weight", "closed"), ("range", "weight", "open")]


def test_it_says_the_present_value_and_is_not_raised_twice(heavy: str) -> None:
    save(heavy, "screening", "screening", DAY, {"weight": "305"}, reason="new information")
    assert queries(heavy) == [("range", "weight", "open")]
    assert "305 kg" in only(heavy).text


def test_a_value_confirmed_when_it_is_entered_is_not_asked_about(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    number = send("screening.start", "ada", site=1, screened_on=DAY, consent_on=DAY, consent_version="1.0")[
        "participant"
    ]
    given = {**ANSWERS, "weight": "301"}
    with pytest.raises(Refused, match="say in words"):
        save(number, "screening", "screening", DAY, given, complete=True, confirmed=["range:weight"])
    assert form_of(number, "screening", "screening") is None
    answer = save(
        number, "screening", "screening", DAY, given, complete=True, confirmed=["range:weight"],
        confirmation="weighed twice",
    )  # fmt: skip
    assert answer["warnings"] == []
    assert queries(number) == [("range", "weight", "closed")]
    assert messages(number)[-1] == ("ada", "closed", "confirmed by the site: weighed twice")
    save(number, "screening", "screening", DAY, {"age": "62"}, reason="transcription error")
    assert queries(number) == [("range", "weight", "closed")]
    save(number, "screening", "screening", DAY, {"weight": "302"}, reason="new information")
    assert queries(number)[-1] == ("range", "weight", "open"), "another value was not confirmed"


def test_a_query_answered_as_right_is_not_raised_again(heavy: str) -> None:
    send("query.answer", "ada", query=only(heavy).id, text="weighed twice", confirmed=True)
    save(heavy, "screening", "screening", DAY, {"age": "62"}, reason="transcription error")
    assert queries(heavy) == [("range", "weight", "answered")]
    send("query.close", "mona", query=only(heavy).id)
    save(heavy, "screening", "screening", DAY, {"age": "61"}, reason="transcription error")
    assert queries(heavy) == [("range", "weight", "closed")]


def test_while_a_form_is_incomplete_warnings_are_shown_and_nobody_is_asked(trial: TrialFolder) -> None:
    number = send("screening.start", "ada", site=1, screened_on=DAY, consent_on=DAY, consent_version="1.0")[
        "participant"
    ]
    answer = save(number, "screening", "screening", DAY, {"weight": "301"})
    assert [(one["rule"], one["level"]) for one in answer["warnings"]] == [("range:weight", "query")]
    assert queries(number) == []


def test_striking_a_form_closes_the_queries_on_it(trial: TrialFolder) -> None:
    number = randomized_to("epo")
    values = {"haemoglobin": "9", "systolic": "310", "weight": "70"}
    save(number, "visit", "entry:0", DAY, values, complete=True)
    assert queries(number) == [("range", "systolic", "open")]
    assert only(number).reveals_arm
    send(
        "form.not_done",
        "ada",
        participant=number,
        kind="visit",
        key="entry:0",
        version=1,
        reason="wrong person",
    )
    assert queries(number) == [("range", "systolic", "closed")]


# --- queries of people ------------------------------------------------------------------------------------


def test_a_question_is_asked_answered_and_closed_by_those_who_may(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, NotAllowed, Refused
    from equipoise.conduct.models import Entry

    number = screened()
    form = form_of(number, "screening", "screening")
    asked = {"participant": number, "form": form.id, "item": "weight", "text": "kg or pounds?"}
    for who in ("stan", "rosa", "pia"):
        with pytest.raises(NotAllowed):
            send("query.open", who, **asked)
    with pytest.raises(Refused, match="does not ask"):
        send("query.open", "mona", **{**asked, "item": "hiv_rna"})
    query = send("query.open", "mona", **asked)["query"]
    with pytest.raises(NotAllowed):
        send("query.answer", "mona", query=query, text="kg")
    with pytest.raises(NotAllowed):
        send("query.close", "ada", query=query, text="fine")
    with pytest.raises(Refused, match="nobody has answered"):
        send("query.close", "mona", query=query)
    send("query.answer", "ada", query=query, text="kilograms")
    send("query.answer", "ivo", query=query, text="I saw the scales")
    send("query.close", "mona", query=query)
    with pytest.raises(Conflict, match="closed"):
        send("query.answer", "ada", query=query, text="again")
    assert [(who, state) for who, state, _ in messages(number)] == [
        ("mona", "open"), ("ada", "answered"), ("ivo", "answered"), ("mona", "closed"),
    ]  # fmt: skip
    states = Entry.objects.filter(subject=query, field="state").order_by("n")
    assert [(entry.old, entry.new) for entry in states] == [("open", "answered"), ("answered", "closed")]


def test_a_question_is_taken_back_with_a_reason(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, NotFound, Refused

    number = screened()
    query = send("query.open", "mona", participant=number, text="is this the right person?")["query"]
    with pytest.raises(NotFound):
        send("query.answer", "cas", query=query, text="no")
    with pytest.raises(Refused, match="say why"):
        send("query.cancel", "mona", query=query)
    send("query.cancel", "mona", query=query, text="looked at another page")
    assert queries(number) == [("", "", "cancelled")]
    with pytest.raises(Conflict):
        send("query.close", "mona", query=query, text="x")


@pytest.mark.requirement("A11")
def test_a_query_that_tells_the_arm_does_not_exist_for_who_is_blinded(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotFound
    from equipoise.conduct.models import Entry
    from equipoise.conduct.reading.tasks import tasks

    number = randomized_to("epo")
    values = {"haemoglobin": "9", "systolic": "310", "weight": "70"}
    save(number, "visit", "entry:0", DAY, values, complete=True)
    query, form = only(number), form_of(number, "visit", "entry:0")
    send("query.answer", "ada", query=query.id, text="looked at again")
    with pytest.raises(NotFound):
        send("query.close", "theo", query=query.id)
    with pytest.raises(NotFound):
        send("query.open", "theo", participant=number, form=form.id, text="how much?")
    assert not [task for task in tasks(viewer("theo")) if task.participant == number]
    assert [task.kind for task in tasks(viewer("mona")) if task.participant == number] == ["query"]
    assert not Entry.objects.filter(kind="query", participant=number, reveals_arm=False).exists()


def test_a_correction_of_a_query_raised_on_screening_stays_readable_to_the_manager(heavy: str) -> None:
    send("query.answer", "ada", query=only(heavy).id, text="weighed twice")
    send("query.close", "theo", query=only(heavy).id)
    assert queries(heavy) == [("range", "weight", "closed")]
    assert person(heavy).status == "screening"


def test_a_large_change_is_shown_beside_the_value_before(trial: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import form_view

    number = randomized_to("epo")
    with later(28):
        day = clock.today("Europe/Copenhagen")
        values = {"haemoglobin": "9", "systolic": "140", "weight": "290"}
        answer = save(number, "visit", "four_weekly:28", day, values, complete=True)
        assert [(one["rule"], one["words"]) for one in answer["warnings"]] == [
            ("large-change:weight", "Body weight: 290 kg; it was 70 kg on 3 Mar 2026")
        ]
        assert queries(number) == []
        answer = save(
            number,
            "visit",
            "four_weekly:28",
            day,
            {},
            confirmed=["large-change:weight"],
            confirmation="oedema",
        )
        assert answer["warnings"] == []
        assert queries(number) == [("large-change", "weight", "closed")]
        view = form_view(person(number), "visit", "four_weekly:28", viewer("ada"))
        assert [one.warnings for one in view.fields] == [(), (), ()], "what is confirmed is not asked again"
