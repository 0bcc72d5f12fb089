"""Stratified randomisation of a whole simulated trial: the allocation rules, compiled, one participant after
another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.protocol.model import Protocol
from equipoise.rules import randomization
from equipoise.rules.randomization import block_size, minimised_arm, places_in_block, weighted_arm
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import ALLOCATION

for _rule in randomization.LOOP_FUNCTIONS:
    register_jitable(no_cfunc_wrapper=True)(_rule)

_METHODS = {"permuted blocks": 0, "minimisation": 1, "simple": 2}


@njit
def _allocate(method, ratio, blocks, best_arm_probability, levels, n_levels, seed, trial):
    """levels: int64[n, factors], the level of each participant in each factor; n_levels: int64[factors]."""
    n, factors = levels.shape
    arms = len(ratio)
    cells = 1
    for f in range(factors):
        cells *= n_levels[f]
    left = np.zeros((cells, arms), np.int64)
    offsets = np.zeros(factors + 1, np.int64)
    for f in range(factors):
        offsets[f + 1] = offsets[f] + n_levels[f]
    margins = np.zeros((max(offsets[factors], 1), arms), np.int64)
    counts = np.zeros(max(factors, 1) * arms, np.int64)
    out = np.empty(n, np.int64)
    for i in range(n):
        u_size, u_arm = uniforms(seed, ALLOCATION, i, 0, trial)
        if method == 0:
            cell = 0
            for f in range(factors):
                cell = cell * n_levels[f] + levels[i, f]
            if left[cell].sum() == 0:
                size = block_size(blocks, u_size)
                for arm in range(arms):
                    left[cell, arm] = places_in_block(ratio, size, arm)
            out[i] = weighted_arm(left[cell], u_arm)
            left[cell, out[i]] -= 1
        elif method == 1:
            if factors == 0:
                counts[:] = margins[0]
            for f in range(factors):
                counts[f * arms : (f + 1) * arms] = margins[offsets[f] + levels[i, f]]
            out[i] = minimised_arm(ratio, best_arm_probability, counts, u_arm)  # type: ignore[arg-type]
            if factors == 0:
                margins[0, out[i]] += 1
            for f in range(factors):
                margins[offsets[f] + levels[i, f], out[i]] += 1
        else:
            out[i] = weighted_arm(ratio, u_arm)
    return out


class Allocation(NamedTuple):
    """A protocol's randomisation for the compiled rules: the factors (positions among the protocol's strata)
    that it is stratified by or balances, and how many levels each has."""

    method: int
    ratio: NDArray[np.int64]
    blocks: NDArray[np.int64]
    best_arm_probability: float
    factors: list[int]
    n_levels: NDArray[np.int64]


def allocation(protocol: Protocol, factors: list[int], n_levels: list[int]) -> Allocation:
    """The randomisation of a protocol. Raises UserError when an arm has no share of the ratio."""
    plan = randomization.scheme(protocol)
    return Allocation(
        _METHODS[plan.method], np.array(plan.ratio, np.int64), np.array(plan.blocks or (1,), np.int64),
        plan.best_arm_probability, factors, np.array(n_levels, np.int64),
    )  # fmt: skip


def allocate(plan: Allocation, levels: NDArray[np.int64], seed: int, trial: int) -> NDArray[np.int64]:
    """Arms (positions in `protocol.arms`) of participants in order of randomisation, int64[n].

    `levels`: int64[n, strata], each participant's level of each of the protocol's strata. Uniform numbers are
    those of purpose ALLOCATION, index = position in the order of randomisation, person 0;
    `rules.randomization.step` with the same numbers gives the same arms."""
    arms: NDArray[np.int64] = _allocate(
        plan.method, plan.ratio, plan.blocks, plan.best_arm_probability,
        np.ascontiguousarray(levels[:, plan.factors]), plan.n_levels, np.uint64(seed), trial,
    )  # fmt: skip
    return arms
