"""Every line of the dosing chapters is decided as it says."""

from __future__ import annotations

import pytest
from dosing_cases import of_case, situation, whole
from tables import HERE, Case, cases

from equipoise.rules import ACTIONS, decide, next_decision_day, unknown_names
from equipoise.rules.explaining import explain, reassess, sentence
from equipoise.rules.reasons import REASONS, name
from equipoise.rules.terms import starts
from equipoise.rules.truth import YES, word

DOSING = cases(HERE / "dosing.md") + [case for case in cases(HERE / "trials.md") if "decision" in case.cells]
DECISIONS = [case for case in DOSING if "corrected decision" not in case.cells]
CORRECTIONS = [case for case in DOSING if "corrected decision" in case.cells]


@pytest.mark.parametrize("case", DECISIONS, ids=str)
def test_the_decision_is_as_the_table_says(case: Case) -> None:
    rules, _ = of_case(case)
    now = situation(case)
    decision = decide(rules, now)
    assert ACTIONS[decision.action] == case.cell("decision")
    assert name(decision.reason) == case.cell("reason")
    assert decision.dose == pytest.approx(float(case.cell("dose")))
    if "not before" in case.cells:
        assert decision.not_before == whole(case.cell("not before"))
    assert ", ".join(unknown_names(decision.unknown)) == case.cell("unknown", "")


@pytest.mark.parametrize("case", DECISIONS, ids=str)
def test_the_explanation_agrees_with_the_decision(case: Case) -> None:
    rules, names = of_case(case)
    told = explain(rules, situation(case), names)
    assert starts(told.decision) == all(line.holds == YES for line in told.conditions)
    assert "{" not in told.sentence
    assert told.sentence.endswith(".")
    assert told.sentence == sentence(told.decision, rules, situation(case), names)


@pytest.mark.parametrize("case", CORRECTIONS, ids=str)
def test_a_correction_is_flagged_as_the_table_says(case: Case) -> None:
    rules, _ = of_case(case)
    again = reassess(rules, situation(case), situation(case, corrected=True))
    assert ACTIONS[again.decided.action] == case.cell("decision")
    assert ACTIONS[again.corrected.action] == case.cell("corrected decision")
    assert word(int(again.differs)) == case.cell("differs")


def test_every_reason_has_a_case() -> None:
    assert {case.cell("reason") for case in DECISIONS} == {name(reason) for reason in REASONS}


@pytest.mark.parametrize("case", DECISIONS, ids=str)
def test_the_next_decision_day_lies_ahead(case: Case) -> None:
    rules, _ = of_case(case)
    now = situation(case)
    following = next_decision_day(rules, now)
    assert following == -1 or following > now.day
