"""What the published figures know of the rows: standard errors, and the directions that they do not see.

The estimate makes a weighted sum of squares least, whose weights (tolerances) are a choice. So its covariance
is that of a weighted estimator,

    V = H^-1 (J' W S W J + P) H^-1,      H = J' W J + P,

with J the derivatives of the expected figures, W the weights, S the covariance of the published figures and
P that of the priors, inverted (the sandwich of White, Econometrica 1982;50:1-25; a prior counts as one more
observation). S has the published standard errors where there are some, simulated ones elsewhere,
the correlations of simulated trials of the published size, and the Monte Carlo error of the expectations.

Directions are judged apart from the tolerances and the priors: by how many standard errors of the published
figures, taken together as the root of the sum of squares, they move when the rows move by a plausible step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.design.normal import Z95
from equipoise.simulate.fitting.bench import Bench
from equipoise.simulate.fitting.optimise import Matrix, prior_slopes, tolerances
from equipoise.simulate.fitting.rows import Free, Vector, in_file

FLAT = 1.0
"""A plausible step that moves all figures together by less than so many standard errors is not seen."""
LOADING = 0.3
"""Share of a direction above which a row is named."""


@dataclass(frozen=True)
class Estimate:
    """One row: estimate and 95% interval in the units of the row; the rest on the scale of the fit.

    `prior_ratio`: standard error over the standard deviation of the prior, NaN without one; 1 means that the
    figures added nothing. `monte_carlo`: the part of `se` that comes from simulating."""

    free: Free
    began: float
    value: float
    lower: float
    upper: float
    se: float
    monte_carlo: float
    prior_ratio: float
    moved: float
    """How far the estimate lies from where the file has the row, in standard errors."""


@dataclass(frozen=True)
class Direction:
    """A direction in the space of the rows: its loadings (of plausible steps, unit length), and how many
    standard errors the figures move by one plausible step along it."""

    loadings: tuple[float, ...]
    seen: float

    @property
    def flat(self) -> bool:
        """Whether the figures do not see it."""
        return self.seen < FLAT


@dataclass(frozen=True)
class Compensation:
    """One row moved by a plausible step: how far the figures move (in standard errors, together) when the
    others stay, how far when the fitted rows move with it as well as they can, and by how many of their steps
    those do."""

    free: Free
    alone: float
    left: float
    others: tuple[tuple[Free, float], ...]

    @property
    def absorbed(self) -> float:
        """Share of its effect (of the sum of squares) that the other rows make up for."""
        return 1.0 - (self.left / self.alone) ** 2 if self.alone > 0 else 1.0


@dataclass(frozen=True)
class Uncertainty:
    """`covariance` of the moving rows and `curvature` (H above) of half the sum of squares, on the scale of
    the fit, in the order of `Bench.moving`. `errors`: standard errors of the fitted figures."""

    estimates: tuple[Estimate, ...]
    covariance: Matrix
    curvature: Matrix
    slopes: Matrix
    """Derivatives of the figures by all rows, those that move and those that are only examined, float64
    [targets, rows]."""
    errors: Vector
    """Standard error of each target, published or simulated, with that of the simulation added."""
    directions: tuple[Direction, ...]
    """Of the rows that move, the least seen first."""
    with_what_if: tuple[Direction, ...]
    """Of all rows."""
    compensations: tuple[Compensation, ...]


def uncertainty(bench: Bench, x: Vector, slopes: Matrix, real: Matrix, participants: int) -> Uncertainty:
    """`slopes`: derivatives of all figures by all rows at x. `real`: figures of simulated trials of the
    published size at x, float64[trials, targets], at least 20."""
    moving, at = bench.moving, np.array(bench.targets.fitted)
    sampling, simulated = figure_covariance(bench, real, participants)
    J = slopes[np.ix_(at, moving)]
    weight = 1.0 / tolerances(bench)[at] ** 2
    P = prior_slopes(bench.rows, moving)
    P = P.T @ P
    H = (J.T * weight) @ J + P
    inverse = np.linalg.pinv(H, hermitian=True)
    lever = inverse @ (J.T * weight)
    S, M = sampling[np.ix_(at, at)], simulated[np.ix_(at, at)]
    V = lever @ (S + M) @ lever.T + inverse @ P @ inverse
    noise = lever @ M @ lever.T
    errors = np.sqrt(np.diag(sampling) + np.diag(simulated))
    seen = slopes[at] / errors[at][:, None] * np.array([f.step for f in bench.rows])
    return Uncertainty(
        tuple(
            _estimate(bench.rows[k], in_file(bench.population, bench.rows[k]), x[k], V[i, i], noise[i, i])
            for i, k in enumerate(moving)
        ),
        V, H, slopes, errors, directions(seen[:, moving], moving, len(bench.rows)),
        directions(seen, np.arange(len(bench.rows)), len(bench.rows)),
        tuple(_compensation(k, seen, bench) for k in range(len(bench.rows))),
    )  # fmt: skip


def figure_covariance(bench: Bench, real: Matrix, participants: int) -> tuple[Matrix, Matrix]:
    """Covariance of the published figures, and of their simulated expectations; float64[targets, targets].

    Figures of different trials are independent. A figure that is the same in every simulated trial, or that
    most of them do not have, counts with its published error alone."""
    targets = bench.targets.targets
    known = np.where(
        np.isnan(real), np.nanmean(np.where(np.isnan(real).all(axis=0), 0.0, real), axis=0), real
    )
    simulated = np.atleast_2d(np.cov(known, rowvar=False))
    spread = np.sqrt(np.diag(simulated))
    safe = np.where(spread > 0, spread, 1.0)
    same = np.array([[a.trial == b.trial for a in targets] for b in targets])
    correlation = np.where(same, simulated / np.outer(safe, safe), 0.0)
    np.fill_diagonal(correlation, 1.0)
    published = np.array([math.nan if t.se is None else t.se for t in targets])
    error = np.where(np.isnan(published), spread, published)
    # a figure without any error would count for infinitely much
    tolerance = tolerances(bench)
    error = np.where(error > 0, error, np.where(np.isnan(tolerance), 1.0, tolerance))
    ratio = np.array([sum(bench.targets.sizes[t.trial].values()) / participants for t in targets])
    monte_carlo = correlation * np.outer(spread, spread) * np.sqrt(np.outer(ratio, ratio))
    return correlation * np.outer(error, error), monte_carlo


def _estimate(free: Free, file: float, x: float, variance: float, noise: float) -> Estimate:
    se = math.sqrt(max(variance, 0.0))
    low, high = max(x - Z95 * se, free.low), min(x + Z95 * se, free.high)
    moved = (x - free.onto(file)) / se if se > 0 else math.nan
    return Estimate(
        free, file, free.back(x), free.back(low), free.back(high), se, math.sqrt(max(noise, 0.0)),
        math.nan if free.prior is None else se / free.prior.sd, moved,
    )  # fmt: skip


def directions(seen: Matrix, positions: NDArray[np.intp] | Sequence[int], rows: int) -> tuple[Direction, ...]:
    """Singular vectors of the effects of plausible steps on the figures (float64[figures, positions], in
    standard errors), the least seen first. The largest loading of each is positive."""
    _, values, vectors = np.linalg.svd(seen, full_matrices=True)
    values = np.concatenate([values, np.zeros(len(vectors) - len(values))])
    found = []
    for value, vector in zip(values[::-1], vectors[::-1], strict=True):
        whole = np.zeros(rows)
        whole[np.asarray(positions)] = vector * np.sign(vector[np.argmax(np.abs(vector))])
        found.append(Direction(tuple(whole.tolist()), float(value)))
    return tuple(found)


def _compensation(k: int, seen: Matrix, bench: Bench) -> Compensation:
    others = [int(p) for p in bench.moving if p != k]
    moves = np.linalg.lstsq(seen[:, others], -seen[:, k], rcond=1e-6)[0]
    left = seen[:, k] + seen[:, others] @ moves
    named = sorted(zip(others, moves.tolist(), strict=True), key=lambda each: -abs(each[1]))
    return Compensation(
        bench.rows[k], float(np.linalg.norm(seen[:, k])), float(np.linalg.norm(left)),
        tuple((bench.rows[p], move) for p, move in named if abs(move) >= LOADING),
    )  # fmt: skip


def in_words(direction: Direction, rows: Sequence[Free]) -> str:
    """A direction in words: "gain up with half_life_long_lived down"."""
    named = sorted(((abs(l), k) for k, l in enumerate(direction.loadings) if abs(l) > LOADING), reverse=True)
    said = [f"{rows[k].name} {'up' if direction.loadings[k] > 0 else 'down'}" for _, k in named]
    if len(said) < 2:
        return said[0] if said else "many rows, each a little"
    return (
        f"{said[0]} with {said[1]}"
        if len(said) == 2
        else f"{said[0]} with {', '.join(said[1:-1])} and {said[-1]}"
    )
