"""Profile likelihoods: one row held at each of some values, the others fitted again.

The rise of the sum of squares over its least value is divided so that, near the estimate, it is the square of
the distance in standard errors: the tolerances are weights, not standard errors, and the rise of such a sum
must be calibrated (Varin, Reid, Firth, Stat Sinica 2011;21:5-42, section 2.4). A value whose calibrated rise
is above 3.84 lies outside the 95% interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all
from equipoise.simulate.fitting.bench import Bench
from equipoise.simulate.fitting.optimise import misfit, prior_slopes, tolerances
from equipoise.simulate.fitting.rows import Free, Vector
from equipoise.simulate.fitting.uncertainty import Uncertainty

LIMIT = 3.841458820694124
"""95% quantile of chi-square with one degree of freedom."""
AT = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
"""Standard errors from the estimate at which the others are fitted again."""
TRIES = 3
"""Steps with the derivatives at the estimate, after the one that they foretell."""


@dataclass(frozen=True)
class Profile:
    """Values of a row in its units, and the calibrated rise of the sum of squares at each."""

    free: Free
    values: tuple[float, ...]
    rises: tuple[float, ...]
    others: tuple[tuple[float, ...], ...]
    """All rows, in their units, at each value."""


def chosen(bench: Bench, names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the moving rows with these names. Raises UserError with the nearest."""
    known = {bench.rows[k].key: int(k) for k in bench.moving}
    found = []
    for name in names:
        if name not in known:
            raise UserError(f"--profile {name}: no such row is fitted{near_or_all(name, list(known))}")
        found.append(known[name])
    return tuple(dict.fromkeys(found))


def profile(
    bench: Bench,
    x: Vector,
    found: Uncertainty,
    position: int,
    seed: int,
    participants: int,
    tell: Callable[[int, int], None] | None = None,
) -> Profile:
    """The profile of the row at `position` through the estimate x."""
    moving = bench.moving.tolist()
    i = moving.index(position)
    others = [k for k in moving if k != position]
    keep = [k for k in range(len(moving)) if k != i]
    at = list(bench.targets.fitted)
    J = np.concatenate(
        [found.slopes[np.ix_(at, others)] / tolerances(bench)[at][:, None], prior_slopes(bench.rows, others)]
    )
    H = found.curvature
    follow = -np.linalg.pinv(H[np.ix_(keep, keep)], hermitian=True) @ H[keep, i]
    inverse = np.linalg.pinv(H, hermitian=True)
    calibration = inverse[i, i] / found.covariance[i, i]
    row = bench.rows[position]
    points = []
    for at_se in AT:
        y = x.copy()
        shift = at_se * found.estimates[i].se
        y[position] = min(max(x[position] + shift, row.low), row.high)
        y[others] = _within(bench, others, x[others] + follow * (y[position] - x[position]))
        points.append(y)
    best = list(points)
    sums = [np.inf] * len(points)
    for turn in range(TRIES):
        figures = bench.expectations(points, seed, participants)
        for k, y in enumerate(points):
            off = misfit(bench, figures[k], y)
            total = float(off @ off)
            if total < sums[k]:
                best[k], sums[k] = y, total
            step = np.linalg.lstsq(J, -off, rcond=1e-8)[0]
            points[k] = y.copy()
            points[k][others] = _within(bench, others, y[others] + step)
        if tell is not None:
            tell(turn + 1, TRIES)
    least = min(sums)
    return Profile(
        row, tuple(row.back(float(y[position])) for y in best),
        tuple(float((total - least) * calibration) for total in sums),
        tuple(tuple(f.back(v) for f, v in zip(bench.rows, y.tolist(), strict=True)) for y in best),
    )  # fmt: skip


def _within(bench: Bench, positions: Sequence[int], values: Vector) -> Vector:
    low = np.array([bench.rows[k].low for k in positions])
    high = np.array([bench.rows[k].high for k in positions])
    return np.array(np.clip(values, low, high))
