"""The least sum of squares: the rows at which expected figures come nearest to the published ones.

The sum runs over the fitted figures, in units of their tolerances, and over the priors, in units of their
standard deviations. It is made least by Gauss-Newton steps within a trust region (SciPy's `least_squares`,
method "trf": Branch, Coleman, Li, SIAM J Sci Comput 1999;21:1-23). Derivatives are central differences over a
plausible step to either side, with common random numbers: over a smaller step the events that a few people
have or have not would be their noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.simulate.fitting.bench import Bench
from equipoise.simulate.fitting.rows import Free, Vector

HALF = 0.5
"""Of a plausible step, to either side, for a derivative."""
SMALLEST = 1e-3
"""Relative change of the sum of squares, or of the rows, at which the fit ends."""

Note = Callable[[str], None]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """One descent: where it began and ended (rows on the scale of the fit), and the sum of squares after each
    step."""

    begin: Vector
    end: Vector
    sums: tuple[float, ...]

    @property
    def sum_of_squares(self) -> float:
        """At the end."""
        return self.sums[-1]


def tolerances(bench: Bench) -> Vector:
    """Tolerance of each target; NaN of those held out without one."""
    return np.array(
        [np.nan if t.tolerance is None else t.tolerance for t in bench.targets.targets], np.float64
    )


def misfit(bench: Bench, figures: Vector, x: Vector) -> Vector:
    """Distances of the fitted figures from the published ones in units of their tolerances, then of the rows
    from their priors in theirs."""
    at = list(bench.targets.fitted)
    off = (figures - bench.observed)[at] / tolerances(bench)[at]
    return np.concatenate([off, prior_misfit(bench.rows, x)])


def prior_misfit(rows: Sequence[Free], x: Vector) -> Vector:
    """Distances of the rows that have a prior from it, in its standard deviations."""
    return np.array(
        [(at - f.centre) / f.prior.sd for f, at in zip(rows, x, strict=True) if f.prior is not None]
    )


def prior_slopes(rows: Sequence[Free], positions: Sequence[int] | NDArray[np.intp]) -> Matrix:
    """Derivatives of `prior_misfit` by the rows at some positions, float64[priors, positions]."""
    lines = [k for k, f in enumerate(rows) if f.prior is not None]
    out = np.zeros((len(lines), len(positions)))
    for i, k in enumerate(lines):
        prior = rows[k].prior
        if prior is not None:
            out[i, [j for j, p in enumerate(positions) if p == k]] = 1.0 / prior.sd
    return out


def slopes(
    bench: Bench,
    x: Vector,
    positions: Sequence[int] | NDArray[np.intp],
    seed: int,
    participants: int,
    tell: Callable[[int, int], None] | None = None,
) -> Matrix:
    """Derivatives of the expected figures by the rows at these positions, float64[targets, positions]:
    central differences; one-sided where a bound is near."""
    points, widths = [], []
    for k in positions:
        row = bench.rows[k]
        high, low = x.copy(), x.copy()
        high[k] = min(x[k] + HALF * row.step, row.high)
        low[k] = max(x[k] - HALF * row.step, row.low)
        points += [high, low]
        widths.append(high[k] - low[k])
    found = bench.expectations(points, seed, participants, tell=tell)
    return np.array((found[0::2] - found[1::2]).T / np.array(widths))


def descend(
    bench: Bench, begin: Vector, seed: int, participants: int, steps: int, note: Note, tell: Any = None
) -> Descent:
    """Go down from `begin` (rows on the scale of the fit) by at most so many steps; rows that are only
    examined stay. Deterministic. `note` is told the sum of squares after each step."""
    from scipy.optimize import least_squares

    moving = bench.moving
    at = list(bench.targets.fitted)
    scale = tolerances(bench)[at]
    sums: list[float] = []

    def whole(y: Vector) -> Vector:
        x = begin.copy()
        x[moving] = y
        return x

    def off(y: Vector) -> Vector:
        x = whole(y)
        found = misfit(bench, bench.expectations([x], seed, participants)[0], x)
        total = float(np.sum(found**2))
        note(f"{'start' if not sums else f'step {len(sums)}'}: sum of squares {total:.2f}")
        sums.append(total)
        return found

    def jacobian(y: Vector) -> Matrix:
        found = slopes(bench, whole(y), moving, seed, participants, tell)
        return np.concatenate([found[at] / scale[:, None], prior_slopes(bench.rows, moving)])

    rows = [bench.rows[k] for k in moving]
    result = least_squares(
        off, begin[moving], jac=jacobian, x_scale=np.array([f.step for f in rows]),
        bounds=([f.low for f in rows], [f.high for f in rows]),
        max_nfev=steps + 1, xtol=SMALLEST, ftol=SMALLEST, gtol=1e-12,
    )  # fmt: skip
    best = [s for k, s in enumerate(sums) if k == 0 or s < min(sums[:k])]
    end = whole(np.asarray(result.x, np.float64))
    return Descent(begin, end, (*best[:-1], 2.0 * float(result.cost)))


def starting_points(bench: Bench, starts: int, seed: int) -> list[Vector]:
    """The rows of the file, then random points around them: normal, two plausible steps wide, within the
    bounds. Fixed by the seed."""
    draws = np.random.Generator(np.random.Philox(key=seed)).standard_normal(
        (max(starts - 1, 0), len(bench.rows))
    )
    points = [bench.start]
    for draw in draws:
        x = bench.start
        for k in bench.moving:
            row = bench.rows[k]
            x[k] = min(
                max(x[k] + 2.0 * row.step * draw[k], row.low + 0.01 * row.step), row.high - 0.01 * row.step
            )
        points.append(x)
    return points
