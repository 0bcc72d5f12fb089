"""The model held against every published figure, fitted or held out.

Each draw takes the rows from the normal approximation of what is known of them and simulates one trial of the
published size with those rows. So the figures of the draws vary as a published figure would: for the rows are
not known, and because a trial has few people. A published figure in a tail of the draws is one that the model
does not explain (Gelman, Meng, Stern, Stat Sinica 1996;6:733-807).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from equipoise.simulate.fitting.bench import Bench
from equipoise.simulate.fitting.optimise import Matrix
from equipoise.simulate.fitting.rows import Vector
from equipoise.simulate.fitting.targets import Target
from equipoise.simulate.fitting.uncertainty import Uncertainty

INTERVAL = 0.95


@dataclass(frozen=True)
class Check:
    """One figure: what was published, its expectation with the rows of the file (`before`) and at the
    estimate (`expected`), and the predictive distribution; in the figure's unit.

    `tail`: twice the smaller share of the draws on one side of the published value (ties count half).
    `from_rows`: share of the predictive variance that is there because the rows are not known. Without
    draws the predictive values are NaN."""

    target: Target
    before: float
    expected: float
    lower: float
    median: float
    upper: float
    tail: float
    from_rows: float
    draws: int

    @property
    def off(self) -> float:
        """Expectation less published, in tolerances; NaN without one."""
        if self.target.tolerance is None:
            return math.nan
        return (self.target.onto(self.expected) - self.target.onto(self.target.value)) / self.target.tolerance

    @property
    def missed(self) -> bool:
        """Whether the published figure lies outside the predictive interval."""
        return self.draws > 0 and not self.lower <= self.target.value <= self.upper


def drawn_rows(bench: Bench, x: Vector, found: Uncertainty, draws: int, seed: int) -> list[Vector]:
    """Rows from the normal approximation N(x, V), within their bounds. Fixed by the seed."""
    values, vectors = np.linalg.eigh(found.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    # apart from the draws of the starting points
    normal = np.random.Generator(np.random.Philox(key=seed + 2**64)).standard_normal((draws, len(root)))
    points = []
    for draw in normal:
        y = x.copy()
        y[bench.moving] += root @ draw
        points.append(np.array([min(max(v, f.low), f.high) for f, v in zip(bench.rows, y, strict=True)]))
    return points


def checks(
    bench: Bench, before: Vector, expected: Vector, at_estimate: Matrix | None, drawn: Matrix | None
) -> tuple[Check, ...]:
    """`before`, `expected`: expectations on the scale of comparison. `at_estimate` and `drawn`: figures of
    the same trials of the published size with the rows at the estimate and as drawn, float64[trials,
    targets]."""
    return tuple(
        _check(
            target, float(before[k]), float(expected[k]),
            None if drawn is None or at_estimate is None else (at_estimate[:, k], drawn[:, k]),
        )
        for k, target in enumerate(bench.targets.targets)
    )  # fmt: skip


def _check(target: Target, before: float, expected: float, pair: tuple[Vector, Vector] | None) -> Check:
    back = math.exp if target.logarithmic else float
    nothing = (math.nan,) * 5
    lower, median, upper, tail, share = nothing
    count = 0
    if pair is not None:
        fixed, drawn = pair
        known = drawn[~np.isnan(drawn)]
        count = len(known)
        if count:
            ends = np.quantile(known, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
            lower, median, upper = (back(float(end)) for end in ends)
            below = float(np.mean(known < target.onto(target.value)))
            tied = float(np.mean(known == target.onto(target.value)))
            tail = 2.0 * min(below + tied / 2, 1.0 - below - tied / 2)
            share = _from_rows(fixed, drawn)
    return Check(target, back(before), back(expected), lower, median, upper, tail, share, count)


def _from_rows(fixed: Vector, drawn: Vector) -> float:
    """Share of the variance of the draws that is not in the same trials at the estimate."""
    both = ~np.isnan(fixed) & ~np.isnan(drawn)
    total = float(np.var(drawn[both])) if both.sum() > 1 else 0.0
    return min(max(1.0 - float(np.var(fixed[both])) / total, 0.0), 1.0) if total > 0 else math.nan
