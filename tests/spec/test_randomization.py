"""Randomisation is as the tables say."""

from __future__ import annotations

import pytest
from dosing_cases import TRUTHS, trial
from tables import HERE, Case, cases

from equipoise.rules.randomization import (
    EMPTY,
    NOT_ALLOCATED,
    State,
    arm_probability,
    imbalance,
    randomize,
    replay,
    scheme,
    step,
    weighted_arm,
)

CASES = cases(HERE / "randomization.md")


def of_section(name: str) -> list[Case]:
    return [case for case in CASES if case.section == name]


def known(text: str) -> str | None:
    return None if text == "?" else text


@pytest.mark.parametrize("case", of_section("Who is randomised"), ids=str)
def test_only_who_may_be_is_randomised(case: Case) -> None:
    levels = [known(case.cell("CD4 stratum")), known(case.cell("sex"))]
    eligible, randomized = TRUTHS[case.cell("eligible")], TRUTHS[case.cell("randomized")]
    found = randomize(scheme(trial("example")), EMPTY, eligible, randomized, levels, 0.3, 0.3)
    assert (found.arm != NOT_ALLOCATED) == (case.cell("allocated") == "yes")
    assert found.reason == case.cell("reason")
    assert (found.state == EMPTY) == (found.arm == NOT_ALLOCATED)


def test_blocks_run_as_the_table_says() -> None:
    plan = scheme(trial("example"))
    state: State = EMPTY
    table = of_section("Permuted blocks")
    entries = [
        (case.cell("stratum").split(", "), float(case.cell("u size")), float(case.cell("u arm")))
        for case in table
    ]
    for case, (levels, u_size, u_arm) in zip(table, entries, strict=True):
        arm, state, _ = step(plan, state, levels, u_size, u_arm)
        assert plan.arms[arm] == case.cell("arm"), case
        left = (int(case.cell("drugs left")), int(case.cell("control left")))
        assert state[tuple(levels)] == left, case
    assert [plan.arms[arm] for arm in replay(plan, entries)] == [case.cell("arm") for case in table]


def test_nothing_left_allocates_nobody() -> None:
    assert weighted_arm((0, 0), 0.5) == NOT_ALLOCATED


def numbers(text: str, separator: str = ",") -> list[int]:
    return [int(part) for part in text.split(separator)] if text else []


@pytest.mark.parametrize("case", of_section("Minimisation: imbalance"), ids=str)
def test_the_imbalance_is_as_the_table_says(case: Case) -> None:
    ratio = numbers(case.cell("ratio"), ":")
    counts = numbers(case.cell("first factor")) + numbers(case.cell("second factor"))
    for arm in range(len(ratio)):
        assert imbalance(ratio, counts, arm) == int(case.cell(f"imbalance {arm + 1}"))


@pytest.mark.parametrize("case", of_section("Minimisation: probabilities"), ids=str)
def test_the_probability_is_as_the_table_says(case: Case) -> None:
    ratio = numbers(case.cell("ratio"), ":")
    counts = numbers(case.cell("first factor")) + numbers(case.cell("second factor"))
    best = float(case.cell("probability"))
    for arm in range(len(ratio)):
        expected = float(case.cell(f"arm {arm + 1}"))
        assert arm_probability(ratio, best, counts, arm) == pytest.approx(expected, abs=1e-6)
