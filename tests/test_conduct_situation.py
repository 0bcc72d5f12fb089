"""What the record knows of a participant on a day, as the dose rules ask for it: every number from a recorded
row, what is unknown unknown, and the same as a plain bookkeeping of what was entered."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_ready import protocol_file
from conduct_treated import SILCAAT_CHECK, at, check, decide, event, form, in_silcaat, placed, proposal, visit
from conduct_trial import START, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder
from equipoise.rules import dosing, holds
from equipoise.rules.from_protocol import dose_rules
from equipoise.rules.terms import ACTIONS, ESCALATE, HOLD, REDUCE, STOP, WAIT, Situation
from equipoise.rules.terms import START as START_ACTION
from equipoise.rules.truth import NO, UNKNOWN, YES

DAY0 = date(2026, 3, 3)
DRUG, EPO = "aldesleukin", "erythropoietin"
_STARTS = (START_ACTION, REDUCE, ESCALATE)


def day(number: int) -> date:
    return DAY0 + timedelta(days=number)


@pytest.fixture
def silcaat(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


@pytest.fixture
def epo(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file())


def known(person: Any, on: date, regimen: str = DRUG) -> Any:
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.situation import situation

    return situation(Participant.objects.select_related("site").get(id=person.id), regimen, on)


# --- what is unknown ----------------------------------------------------------------------------------------


@pytest.mark.requirement("K3", "K4")
def test_nothing_is_taken_for_granted_and_each_gap_says_where_it_is_filled(silcaat: TrialFolder) -> None:
    person = in_silcaat(DAY0)
    found = proposal(person, DRUG, DAY0)
    now = found.known.situation
    assert (now.hold, now.cover, now.cycles, now.toxicity) == (UNKNOWN, UNKNOWN, 0, 0)
    assert (now.baseline, now.measure, now.measured_day, now.goal) == (150, 150, 0, 275)
    assert not found.starts
    assert {each.place for each in found.unknowns} == {("check", f"{DRUG}:{DAY0}")}
    assert {item for each in found.unknowns for item in each.items} == set(SILCAAT_CHECK) - {
        "toxicity_reviewed"
    }
    assert [each.word for each in found.alternatives] == ["hold", "stop"]
    with at(DAY0):
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
    assert proposal(person, DRUG, DAY0).sentence.startswith("Induction cycle 1 of 6 at 4.5 MIU")


@pytest.mark.requirement("K3")
def test_a_pregnancy_test_counts_for_28_days_and_a_later_unknown_takes_an_answer_back(
    silcaat: TrialFolder,
) -> None:
    person = in_silcaat(DAY0)
    with at(DAY0):
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
    assert known(person, day(28)).situation.hold == NO
    assert known(person, day(29)).situation.hold == UNKNOWN
    with at(day(10)):
        form(person, "update", f"{day(10)}:1", day(10), breastfeeding="unknown")
    assert known(person, day(9)).situation.hold == NO
    assert known(person, day(10)).situation.hold == UNKNOWN


@pytest.mark.requirement("K3")
def test_toxicity_is_unknown_until_reviewed_after_the_cycle_and_then_the_worst_attributed_grade(
    silcaat: TrialFolder,
) -> None:
    person = in_silcaat(DAY0)
    assert known(person, DAY0).situation.toxicity == 0
    with at(DAY0):
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
        decide(person, DRUG, DAY0)
    assert known(person, day(20)).situation.toxicity == UNKNOWN
    with at(day(20)):
        check(person, DRUG, day(20), **SILCAAT_CHECK)
    assert known(person, day(19)).situation.toxicity == UNKNOWN
    assert known(person, day(20)).situation.toxicity == 0
    with at(day(40)):
        event(person, day(5), 4, attributed=False)
        event(person, day(6), 2)
        late = event(person, "2026-03", 3)
    assert known(person, day(40)).situation.toxicity == 3
    assert any(source.id == late["event"] for source in known(person, day(40)).sources)
    with at(day(41)):
        do("event.remove", "ivo", event=late["event"], reason="entered for the wrong person")
        check(person, DRUG, day(41), **SILCAAT_CHECK)
    assert known(person, day(41)).situation.toxicity == 2
    with at(day(42)):
        event(person, day(7), 3, attributed=None)
    unjudged = known(person, day(42))
    assert unjudged.situation.toxicity == UNKNOWN
    assert any(each.place == ("event", "") for each in unjudged.asked)


@pytest.mark.requirement("K3", "K4")
def test_the_review_of_events_is_made_anew_for_each_decision(silcaat: TrialFolder) -> None:
    person = in_silcaat(DAY0)
    with at(DAY0):
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
        decide(person, DRUG, DAY0)
    with at(day(1)):
        check(person, DRUG, day(1), **SILCAAT_CHECK)
    assert known(person, day(1)).situation.toxicity == 0
    with at(day(55)):
        check(person, DRUG, day(55), **SILCAAT_CHECK)
    with at(day(56)):
        found = proposal(person, DRUG, day(56))
        assert found.known.situation.toxicity == UNKNOWN
        assert not found.starts
        assert [(each.place, each.items) for each in found.unknowns] == [
            (("check", f"{DRUG}:{day(56)}"), ("toxicity_reviewed",))
        ]
        check(person, DRUG, day(56), **{**SILCAAT_CHECK, "toxicity_reviewed": "no"})
        assert not proposal(person, DRUG, day(56)).starts
        check(person, DRUG, day(56), **SILCAAT_CHECK)
        assert proposal(person, DRUG, day(56)).starts


def test_the_latest_measured_value_counts_from_the_day_of_its_sample_and_awaited_ones_do_not(
    silcaat: TrialFolder,
) -> None:
    person = in_silcaat(DAY0, cd4=210)
    assert known(person, DAY0).situation.goal == 385
    with at(day(60)):
        visit(person, "year1:56", day(58), cd4="240", hiv_rna="<50", on_art="yes")
        form(person, "update", f"{day(60)}:1", day(60), cd4="awaited")
    before, after = known(person, day(57)).situation, known(person, day(60)).situation
    assert (before.measure, before.measured_day) == (210, 0)
    assert (after.measure, after.measured_day) == (240, 58)
    source = next(each for each in known(person, day(60)).sources if each.field == "measure")
    assert source.place == ("visit", "year1:56")
    old = known(person, day(200))
    assert [each.place for each in old.asked if each.items == ("cd4",)] == [("update", f"{day(200)}:1")]
    at_visit = known(person, day(168))
    assert ("visit", "year1:168") in [each.place for each in at_visit.asked]


def test_the_arm_decides_and_the_end_of_follow_up_ends_it(silcaat: TrialFolder) -> None:
    from equipoise.conduct.reading.situation import next_decisions

    control = in_silcaat(DAY0, arm="control")
    assert known(control, DAY0).situation.assigned == NO
    assert next_decisions(control, DAY0) == ()
    treated = in_silcaat(DAY0, number=2)
    assert next_decisions(treated, DAY0)[0].due == DAY0
    with at(day(3)):
        do(
            "disposition.record",
            "ada",
            participant=treated.number,
            status="withdrew",
            on=day(3),
            reason="moved",
        )
    treated.refresh_from_db()
    assert known(treated, day(3)).situation.in_follow_up == NO
    assert next_decisions(treated, day(4)) == ()


@pytest.mark.requirement("K3", "K5")
def test_the_wait_after_a_hold_counts_from_the_day_on_which_its_end_was_recorded(epo: TrialFolder) -> None:
    person = placed("epo", DAY0, baseline={"haemoglobin": 9.0}, strata={})
    for number, answer in ((5, "yes"), (20, "no")):
        with at(day(number)):
            form(person, "update", f"{day(number)}:1", day(number), thrombosis_active=answer)
    wait = holds.hold_until(epo.protocol, EPO, {"thrombosis": 20})
    assert wait == 20 + 91
    assert known(person, day(19), EPO).situation.hold_until == 0
    assert known(person, day(20), EPO).situation.hold_until == wait


def test_what_is_due_next_does_not_move_with_the_day_on_which_one_looks(silcaat: TrialFolder) -> None:
    from equipoise.conduct.reading.situation import next_decisions

    person = in_silcaat(DAY0)
    with at(DAY0):
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
        decide(person, DRUG, DAY0)
    for number in (0, 3, 40, 56, 60):
        (found,) = next_decisions(person, day(number))
        assert found.due == day(56)
    assert known(person, day(56)).situation.measure == 150


# --- the same as a plain bookkeeping ------------------------------------------------------------------------


@dataclass
class _Book:
    """What was entered, kept as the simulation keeps it: a few numbers."""

    day0: date
    goal: float
    rules: Any
    measure: tuple[float, int] = (math.nan, 0)
    baseline: float = math.nan
    haemoglobin: tuple[float, int] | None = None
    systolic: tuple[float, int] | None = None
    thrombosis: bool | None = None
    clot_ended: int = 0
    stopped: int = NO
    reduced: int = NO
    cycles: list[tuple[int, float]] = field(default_factory=list)
    at_dose: int = 0
    events: list[tuple[int, int]] = field(default_factory=list)
    reviewed: int = -1

    def situation(self, now: int, protocol: Any, wait: int) -> Situation:
        last = self.cycles[-1][0] if self.cycles else -1
        worst = max((grade for onset, grade in self.events if onset >= last), default=0)
        toxicity = 0
        if self.cycles:
            heeded = worst >= self.rules.reduce_from_grade or self.reviewed == now > last
            toxicity = worst if heeded else UNKNOWN
        return Situation(
            now, YES, YES, YES, self.stopped, self._hold(now),
            self.clot_ended + wait if self.clot_ended else 0, YES, len(self.cycles),
            self.cycles[0][0] if self.cycles else -1, last,
            self.cycles[-1][1] if self.cycles else 0.0, self.at_dose, self.reduced, toxicity,
            self.baseline, *self.measure, self.goal,
        )  # fmt: skip

    def _hold(self, now: int) -> int:
        """Haemoglobin above 13 (of the last 35 days), systolic of 180 or more (14 days), a clot."""
        answers = [
            UNKNOWN if value is None or now - value[1] > valid else YES if above(value[0]) else NO
            for value, valid, above in (
                (self.haemoglobin, 35, lambda x: x > 13), (self.systolic, 14, lambda x: x >= 180),
            )
        ]  # fmt: skip
        answers.append(UNKNOWN if self.thrombosis is None else YES if self.thrombosis else NO)
        return YES if YES in answers else UNKNOWN if UNKNOWN in answers else NO


@pytest.mark.requirement("K3", "K5", "I1")
def test_random_histories_are_read_and_decided_as_a_plain_bookkeeping_has_them(
    epo: TrialFolder,
) -> None:
    rules = dose_rules(epo.protocol, EPO)
    wait = 91
    seen: set[int] = set()
    start = DAY0
    for seed in (1, 5, 6, 11):
        start = _one_life(epo, rules, wait, seed, start, seen)
    assert {START_ACTION, WAIT, HOLD, REDUCE, ESCALATE} <= seen


def _one_life(epo: TrialFolder, rules: Any, wait: int, seed: int, start: date, seen: set[int]) -> date:
    """One participant for some weeks of random entries; the day after the last one."""
    draw = random.Random(seed)
    with at(start):
        person = placed("epo", start, baseline={"haemoglobin": 9.0}, strata={}, number=seed + 1)
    book = _Book(start, 11.0, rules, (9.0, 0), 9.0)
    now = 0
    for step in range(9):
        on = start + timedelta(days=now)
        with at(on):
            _enter(person, book, on, now, draw, step)
            expected = book.situation(now, epo.protocol, wait)
            found = known(person, on, EPO).situation
            assert found == expected, (seed, now)
            decided = dosing.decide(rules, expected)
            seen.add(decided.action)
            accepted = "no" if decided.action in _STARTS and draw.random() < 0.2 else None
            taken = decide(person, EPO, on, accepted)
            assert (taken["action"], taken["dose"]) == (ACTIONS[decided.action], decided.dose)
            if decided.action == STOP:
                book.stopped = YES
            if taken["cycle"] is not None:
                same = bool(book.cycles) and book.cycles[-1][1] == decided.dose
                book.at_dose = book.at_dose + 1 if same else 1
                book.cycles.append((now, decided.dose))
                book.reduced = YES if decided.action == REDUCE else book.reduced
                assert taken["cycle"] == len(book.cycles)
        now += draw.choice((14, 28, 29, 30))
    return start + timedelta(days=now)


def _enter(person: Any, book: _Book, on: date, now: int, draw: random.Random, step: int) -> None:
    answers = {"haemoglobin": f"{draw.uniform(8, 11.6 if draw.random() < 0.9 else 14):.1f}",
               "systolic": str(draw.choice((140, 150, 150, 150, 150, 150, 185)))}  # fmt: skip
    if now and draw.random() < 0.85:
        check(person, EPO, on, toxicity_reviewed="yes", **answers)
        book.reviewed = now
        book.haemoglobin = book.measure = (float(answers["haemoglobin"]), now)
        book.systolic = (float(answers["systolic"]), now)
    elif not now:
        form(person, "check", f"{EPO}:{on}", on, systolic=answers["systolic"])
        book.systolic = (float(answers["systolic"]), 0)
    clot = draw.random() < (0.4 if book.thrombosis else 0.08)
    if step == 0 or clot != bool(book.thrombosis):
        form(person, "update", f"{on}:1", on, thrombosis_active="yes" if clot else "no")
        if book.thrombosis and not clot:
            book.clot_ended = now
        book.thrombosis = clot
    if now and draw.random() < 0.5:
        onset, grade = now - draw.randint(0, 10), draw.choice((1, 2, 2, 3))
        event(person, on - timedelta(days=now - onset), grade)
        book.events.append((onset, grade))


@pytest.mark.requirement("D26")
def test_sqlite_finds_the_values_of_a_participant_by_their_forms(silcaat: TrialFolder) -> None:
    from equipoise.conduct.reading.history import items_read, rows_of

    person = in_silcaat(DAY0)
    plan = rows_of([person.id], items_read(DRUG)).explain()
    assert "form_id=? AND item=?" in plan


def test_known_values_are_those_that_eligibility_and_forms_read(epo: TrialFolder) -> None:
    from equipoise.conduct.reading.forms import values_known
    from equipoise.conduct.reading.history import history, hold_items, plain

    draw = random.Random(5)
    person = placed("epo", DAY0, baseline={"haemoglobin": 9.0}, strata={})
    for number in range(0, 60, 7):
        with at(day(number)):
            kind = draw.choice(("yes", "no", "unknown", "not done", "awaited", "refused"))
            form(person, "update", f"{day(number)}:1", day(number), thrombosis_active=kind,
                 haemoglobin=draw.choice(("9.1", "10.4", "not done", "unknown")))  # fmt: skip
    past = history(person, EPO)
    for number in range(60):
        latest = past.latest(hold_items(EPO), day(number))
        values, ages = values_known(person, day(number))
        mine = {name: plain(epo.protocol, value) for name, value in latest.items()}
        read = {name: value for name, value in values.items() if name in hold_items(EPO)}
        assert mine == read
        assert {name: (day(number) - latest[name].on).days for name in read} == {
            name: ages[name] for name in read
        }
