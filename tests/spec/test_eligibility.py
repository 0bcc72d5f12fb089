"""Eligibility, strata, goals and holds are as the tables say."""

from __future__ import annotations

import math

import pytest
from dosing_cases import trial, whole
from tables import HERE, Case, cases

from equipoise.errors import UserError
from equipoise.rules.eligibility import SCREENING_PERIOD, assess
from equipoise.rules.goals import goal_cases, goal_value
from equipoise.rules.holds import any_hold, hold_states, hold_until, present
from equipoise.rules.truth import UNKNOWN, YES, word
from equipoise.rules.values import stratum_levels

CASES = cases(HERE / "eligibility.md")
COLUMNS = {
    "age": "age",
    "sex": "sex",
    "first CD4": "cd4_first",
    "second CD4": "cd4_second",
    "haemoglobin": "haemoglobin",
    "pregnant": "pregnant",
    "contraception": "contraception",
    "infection": "infection",
}
ORDERLY = {
    "age": 40.0, "sex": "male", "cd4_first": 180.0, "cd4_second": 220.0, "haemoglobin": 12.0,
    "pregnant": False, "contraception": True, "infection": False,
}  # fmt: skip


def of_section(name: str) -> list[Case]:
    return [case for case in CASES if case.section == name]


def value_of(text: str) -> bool | float | str | None:
    if text == "?":
        return None
    if text in ("yes", "no"):
        return text == "yes"
    try:
        return float(text)
    except ValueError:
        return text


def values_and_ages(case: Case) -> tuple[dict[str, bool | float | str | None], dict[str, int]]:
    values, ages = {}, {}
    for column, item in COLUMNS.items():
        if column not in case.cells:
            continue
        value, _, age = case.cell(column).partition(" @ ")
        values[item] = value_of(value)
        if age and age != "?":
            ages[item] = int(age)
    return values, ages


@pytest.mark.parametrize("case", of_section("Eligibility"), ids=str)
def test_a_candidate_is_assessed_as_the_table_says(case: Case) -> None:
    found = assess(trial("example"), *values_and_ages(case))
    assert word(found.eligible) == case.cell("eligible")
    assert ", ".join(found.failed) == case.cell("failed")
    assert ", ".join(found.unknown) == case.cell("unknown")
    assert all(result.words for result in found.criteria)


@pytest.mark.parametrize("case", of_section("The screening period"), ids=str)
def test_screening_may_not_take_too_long(case: Case) -> None:
    ages = dict.fromkeys(ORDERLY, 0)
    found = assess(trial("example"), ORDERLY, ages, int(case.cell("days since screening")))
    assert word(found.eligible) == case.cell("eligible")
    assert found.failed == (() if found.eligible == YES else (SCREENING_PERIOD,))


def test_the_reason_names_the_value_and_what_is_too_old() -> None:
    found = assess(
        trial("example"), {**ORDERLY, "haemoglobin": 8.0}, {**dict.fromkeys(ORDERLY, 0), "pregnant": 40}
    )
    words = {result.id: result.words for result in found.criteria}
    assert "8 g/dL" in words["I3"]
    assert words["E1"].endswith("Pregnant is too old or undated")
    assert found.expired == ("pregnant",)


@pytest.mark.parametrize("case", of_section("Strata"), ids=str)
def test_the_stratum_is_as_the_table_says(case: Case) -> None:
    levels = stratum_levels(
        trial("example"), {"cd4": value_of(case.cell("CD4")), "sex": value_of(case.cell("sex"))}
    )
    expected = {"cd4_stratum": case.cell("CD4 stratum"), "sex": case.cell("sex stratum")}
    assert levels == {name: None if level == "?" else level for name, level in expected.items()}


def test_a_stratum_that_follows_an_item_is_named_by_its_value() -> None:
    levels = {value: stratum_levels(trial("erythropoietin"), {"dialysis": value}) for value in (True, False)}
    assert [levels[value]["dialysis"] for value in (True, False)] == ["yes", "no"]
    assert stratum_levels(trial("esprit"), {"site": 12.0})["site"] == "12"
    assert stratum_levels(trial("esprit"), {"site": math.nan})["site"] is None


@pytest.mark.parametrize("case", of_section("Goals"), ids=str)
def test_the_goal_is_as_the_table_says(case: Case) -> None:
    values = {case.cell("measure"): value_of(case.cell("baseline"))}
    goal = goal_value(trial(case.cell("trial")), case.cell("regimen"), values)
    assert goal == value_of(case.cell("goal"))


def test_the_goal_follows_the_stratum_on_record_where_there_is_one() -> None:
    """A stratum is fixed at randomisation; a later correction of the count does not move it."""
    values = {"cd4": 210.0, "cd4_stratum": "low"}
    assert goal_value(trial("example"), "aldesleukin", values) == 335.0


def test_a_regimen_without_a_goal_says_so() -> None:
    with pytest.raises(UserError, match='"vaccine" has no goal'):
        goal_cases(trial("example"), "vaccine")
    with pytest.raises(UserError, match='"art" is taken continuously'):
        goal_cases(trial("example"), "art")
    with pytest.raises(UserError, match='no regimen "aspirin"'):
        goal_cases(trial("example"), "aspirin")


@pytest.mark.parametrize("case", of_section("Holds"), ids=str)
def test_a_hold_is_on_as_the_table_says(case: Case) -> None:
    states = hold_states(trial("example"), "aldesleukin", *values_and_ages(case))
    assert word(any_hold(states)) == case.cell("hold")
    assert ", ".join(present(states)) == case.cell("present")
    assert all(state.missing for state in states if state.on == UNKNOWN and case.cell("pregnant") == "?")


@pytest.mark.parametrize("case", of_section("The wait after a hold"), ids=str)
def test_the_wait_after_a_hold_is_as_the_table_says(case: Case) -> None:
    ended = {
        "pregnancy": whole(case.cell("pregnancy until")),
        "no_contraception": whole(case.cell("no contraception until")),
    }
    known = {name: day for name, day in ended.items() if day >= 0}
    assert hold_until(trial("example"), "aldesleukin", known) == int(case.cell("hold until"))
