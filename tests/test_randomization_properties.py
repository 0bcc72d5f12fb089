"""What must hold for randomisation whatever the scheme: balance, ratio, replay, the same arms compiled."""

from __future__ import annotations

import random
from collections import Counter

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.extending import register_jitable
from scipy import stats

from equipoise.protocol import bundled, load
from equipoise.rules import randomization
from equipoise.rules.randomization import (
    EMPTY,
    Scheme,
    State,
    arm_probability,
    block_size,
    minimised_arm,
    places_in_block,
    replay,
    scheme,
    step,
    weighted_arm,
)

RATIOS = [(1, 1), (2, 1), (1, 1, 1), (3, 2, 1), (1, 1, 1, 1)]
STRATA = ["low", "high"]

for _function in randomization.LOOP_FUNCTIONS:
    register_jitable(_function)


@numba.njit
def compiled(ratio, best, counts, left, sizes, u):  # type: ignore[no-untyped-def]
    return (
        minimised_arm(ratio, best, counts, u),
        weighted_arm(left, u),
        block_size(sizes, u),
        places_in_block(ratio, sizes[0], 0),
    )


def blocks(ratio: tuple[int, ...]) -> Scheme:
    total = sum(ratio)
    names = tuple(f"arm {number}" for number in range(len(ratio)))
    return Scheme("permuted blocks", names, ratio, (total, 2 * total, 3 * total), 1.0, ("stratum",))


def minimisation(ratio: tuple[int, ...], best: float) -> Scheme:
    names = tuple(f"arm {number}" for number in range(len(ratio)))
    return Scheme("minimisation", names, ratio, (), best, ("site", "stratum"))


@settings(max_examples=100)
@given(st.sampled_from(RATIOS), st.integers(0, 2**32), st.integers(1, 200))
def test_every_block_ends_in_the_ratio(ratio: tuple[int, ...], seed: int, entries: int) -> None:
    """In each stratum: with the places left in its open block, the arms stand exactly in the ratio."""
    chance = random.Random(seed)
    plan = blocks(ratio)
    state: State = EMPTY
    counts = {name: Counter[int]() for name in STRATA}
    for _ in range(entries):
        stratum = chance.choice(STRATA)
        arm, state, _ = step(plan, state, [stratum], chance.random(), chance.random())
        counts[stratum][arm] += 1
        left = state[(stratum,)]
        whole = [counts[stratum][number] + left[number] for number in range(len(ratio))]
        assert all(places >= 0 for places in left)
        assert len({n * 60 // r for n, r in zip(whole, ratio, strict=True)}) == 1
        assert sum(left) < max(plan.blocks)


@settings(max_examples=60)
@given(
    st.sampled_from(RATIOS),
    st.sampled_from(["permuted blocks", "minimisation", "simple"]),
    st.integers(0, 2**32),
)
def test_recorded_inputs_replay_to_the_same_arms(ratio: tuple[int, ...], method: str, seed: int) -> None:
    chance = random.Random(seed)
    plan = blocks(ratio)._replace(method=method, strata=("site", "stratum"), best_arm_probability=0.8)
    entries = [
        ((chance.choice("abc"), chance.choice(STRATA)), chance.random(), chance.random()) for _ in range(80)
    ]
    state: State = EMPTY
    arms = []
    for levels, u_size, u_arm in entries:
        arm, after, _ = step(plan, state, levels, u_size, u_arm)
        again = step(plan, state, levels, u_size, u_arm)
        assert (again.arm, again.state) == (arm, after)
        state = after
        arms.append(arm)
    assert replay(plan, entries) == arms
    assert replay(plan, entries[:40]) == arms[:40]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_a_stratum_is_not_touched_by_another(seed: int) -> None:
    chance = random.Random(seed)
    plan = blocks((2, 1))
    mixed = [([chance.choice(STRATA)], chance.random(), chance.random()) for _ in range(100)]
    arms = replay(plan, mixed)
    low = [entry for entry in mixed if entry[0] == ["low"]]
    assert replay(plan, low) == [arm for arm, entry in zip(arms, mixed, strict=True) if entry[0] == ["low"]]


@settings(max_examples=500)
@given(
    st.sampled_from(RATIOS),
    st.sampled_from([0.51, 0.7, 0.8, 1.0]),
    st.lists(st.integers(0, 30), min_size=8, max_size=8),
    st.floats(0, 1, exclude_max=True),
)
def test_allocation_is_alike_interpreted_and_compiled(
    ratio: tuple[int, ...], best: float, numbers: list[int], u: float
) -> None:
    counts = np.array((numbers * len(ratio))[: 2 * len(ratio)])
    left = np.array(numbers[: len(ratio)])
    sizes = np.array([sum(ratio), 2 * sum(ratio)])
    expected = (
        minimised_arm(ratio, best, counts.tolist(), u),
        weighted_arm(left.tolist(), u),
        block_size(sizes.tolist(), u),
        places_in_block(ratio, sum(ratio), 0),
    )
    assert compiled(np.array(ratio), best, counts, left, sizes, u) == expected


@settings(max_examples=300)
@given(
    st.sampled_from(RATIOS),
    st.sampled_from([0.51, 0.8, 1.0]),
    st.lists(st.integers(0, 9), min_size=8, max_size=8),
)
def test_the_probabilities_of_minimisation_are_probabilities(
    ratio: tuple[int, ...], best: float, numbers: list[int]
) -> None:
    counts = (numbers * len(ratio))[: 2 * len(ratio)]
    shares = [arm_probability(ratio, best, counts, arm) for arm in range(len(ratio))]
    assert sum(shares) == pytest.approx(1.0)
    assert all(-1e-12 <= share <= 1 + 1e-12 for share in shares)


@pytest.mark.parametrize("method", ["permuted blocks", "minimisation", "simple"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_hundred_thousand_allocations_keep_the_ratio(method: str, ratio: tuple[int, ...]) -> None:
    """Simple randomisation by chi-square; the others lie closer than chance, so a one-sided test suffices."""
    rows = 100_000
    chance = np.random.default_rng(5)
    arms = np.array(ratio)
    if method == "simple":
        counts = np.bincount(simple_arms(arms, chance.random(rows)), minlength=len(ratio))
    elif method == "permuted blocks":
        counts = block_counts(arms, np.array([sum(ratio), 2 * sum(ratio)]), chance.random((rows, 2)))
    else:
        levels = np.column_stack([chance.integers(0, 5, rows), chance.integers(0, 2, rows)])
        counts = minimised_counts(arms, 0.8, levels, chance.random(rows))[0]
    expected = np.array(ratio) / sum(ratio) * rows
    assert counts.sum() == rows
    assert stats.chisquare(counts, expected).pvalue > 0.001
    if method != "simple":
        assert abs(counts - expected).max() < 30


@pytest.mark.parametrize("ratio", RATIOS)
def test_minimisation_balances_every_factor_better_than_chance(ratio: tuple[int, ...]) -> None:
    rows = 2_000
    chance = np.random.default_rng(3)
    levels = np.column_stack([chance.integers(0, 5, rows), chance.integers(0, 2, rows)])
    u = chance.random(rows)
    arms = np.array(ratio)
    _, minimised = minimised_counts(arms, 0.8, levels, u)
    simple = np.zeros_like(minimised)
    for row, arm in enumerate(simple_arms(arms, u)):
        for factor in range(2):
            simple[factor, levels[row, factor], arm] += 1

    def spread(counts: np.ndarray) -> float:  # type: ignore[type-arg]
        per_share = counts / arms
        return float((per_share.max(axis=2) - per_share.min(axis=2)).max())

    assert spread(minimised) <= 8
    assert spread(minimised) < spread(simple) / 3


@pytest.mark.parametrize("best", [0.6, 0.8, 0.95, 1.0])
def test_the_best_arm_is_taken_as_often_as_the_protocol_says(best: float) -> None:
    u = np.random.default_rng(1).random(100_000)
    counts = np.array([3, 1, 2, 2])
    taken = sum(minimised_arm_of(np.array([1, 1]), best, counts, u) == 1)
    assert taken / len(u) == pytest.approx(best, abs=0.006)


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_trial_randomises_in_its_ratio(name: str) -> None:
    protocol = load(name)
    plan = scheme(protocol)
    chance = random.Random(2)
    levels = [chance.choice(["x", "y"]) for _ in plan.strata]
    arms = replay(plan, [(levels, chance.random(), chance.random()) for _ in range(600)])
    shares = Counter(arms)
    for number, share in enumerate(plan.ratio):
        assert shares[number] == pytest.approx(600 * share / sum(plan.ratio), abs=8)


@numba.njit
def simple_arms(ratio, u):  # type: ignore[no-untyped-def]
    arms = np.empty(len(u), np.int64)
    for row in range(len(u)):
        arms[row] = weighted_arm(ratio, u[row])
    return arms


@numba.njit
def block_counts(ratio, sizes, u):  # type: ignore[no-untyped-def]
    counts = np.zeros(len(ratio), np.int64)
    left = np.zeros(len(ratio), np.int64)
    for row in range(len(u)):
        if left.sum() == 0:
            size = block_size(sizes, u[row, 0])
            for arm in range(len(ratio)):
                left[arm] = places_in_block(ratio, size, arm)
        arm = weighted_arm(left, u[row, 1])
        left[arm] -= 1
        counts[arm] += 1
    return counts


@numba.njit
def minimised_counts(ratio, best, levels, u):  # type: ignore[no-untyped-def]
    arms = len(ratio)
    factors = levels.shape[1]
    totals = np.zeros(arms, np.int64)
    margins = np.zeros((factors, levels.max() + 1, arms), np.int64)
    counts = np.empty(factors * arms, np.int64)
    for row in range(len(u)):
        for factor in range(factors):
            for arm in range(arms):
                counts[factor * arms + arm] = margins[factor, levels[row, factor], arm]
        taken = minimised_arm(ratio, best, counts, u[row])
        totals[taken] += 1
        for factor in range(factors):
            margins[factor, levels[row, factor], taken] += 1
    return totals, margins


@numba.njit
def minimised_arm_of(ratio, best, counts, u):  # type: ignore[no-untyped-def]
    arms = np.empty(len(u), np.int64)
    for row in range(len(u)):
        arms[row] = minimised_arm(ratio, best, counts, u[row])
    return arms
