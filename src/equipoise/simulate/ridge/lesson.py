"""What a trial could have told: its power under each explanation, and the events that tell two of them apart.

How many events tell two explanations apart is found by simulation. Many trials are pooled at random, as a
large trial that is stratified by its parts; the pooled log hazard ratios are held against what either
explanation expects, and the likelier one is chosen. Only the scatter is that of the simulated trials:
they are shifted so that their mean is the expectation, which is known far better than from a few hundred
of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from equipoise.design.normal import Z95
from equipoise.simulate.ridge.expected import jackknife_error
from equipoise.simulate.ridge.trials import Trials

Floats = NDArray[np.float64]

RIGHT = 0.90
"""How often the choice is to be right."""
DRAWS = 4000
"""Large trials that are made of the simulated ones for each size that is tried."""
GROUPS = 20
"""Groups of trials that are left out in turn, to know the error of their scatter."""
MOST_EVENTS = 1_000_000.0
"""More primary events than this count as never."""


SURE = 3.0
"""Monte Carlo errors that a difference must have to be told from none."""


@dataclass(frozen=True)
class Told:
    """Primary events with which two explanations are told apart, right in `RIGHT` of cases: infinite where
    more than `MOST_EVENTS` are needed, NaN where the expectations are not known well enough to say. `error`:
    Monte Carlo standard error of the logarithm, of trials and expectations together."""

    events: float
    error: float

    @property
    def never(self) -> bool:
        """Whether more events are needed than any trial has."""
        return math.isinf(self.events)

    @property
    def unknown(self) -> bool:
        """Whether too few people were followed to say."""
        return math.isnan(self.events)

    @property
    def answer(self) -> str:
        """`events`, `never` or `not known`."""
        return "never" if self.never else "not known" if self.unknown else "events"

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the Monte Carlo error."""
        return self.events * math.exp(-Z95 * self.error), self.events * math.exp(Z95 * self.error)


def told_apart(
    one: Trials,
    two: Trials,
    figures: Sequence[str],
    apart: Floats,
    left_out: Floats,
    seed: int,
) -> Told:
    """Events that tell two explanations apart by `figures` (names of endpoints).

    `one`, `two`: trials simulated under each, of the same design. `apart`: differences of their expected log
    hazard ratios, shape (figures,). `left_out`: the same without each batch of people, shape (batches,
    figures), from which the Monte Carlo error comes."""
    place = [one.endpoints.index(name) for name in figures]
    a, b = one.log_hr[:, place], two.log_hr[:, place]
    known = ~(np.isnan(a).any(axis=1) | np.isnan(b).any(axis=1))
    a, b = a[known], b[known]
    spread = 0.5 * (np.atleast_2d(np.cov(a.T)) + np.atleast_2d(np.cov(b.T)))
    weight = np.linalg.solve(spread, apart)
    # half the distance between the explanations, and the error of it, in the units of the score
    half = 0.5 * float(weight @ apart)
    slip = 0.5 * float(jackknife_error(left_out @ weight))
    events = 0.5 * float(one.events.mean() + two.events.mean())
    z = NormalDist().inv_cdf(RIGHT)
    if not half > SURE * slip:
        # the distance that is not ruled out, in standard deviations of one trial's estimates
        farthest = math.sqrt(max(2 * half, 0.0)) + 2 * _largest_error(left_out, spread)
        needed = math.inf if farthest == 0 else (2 * z / farthest) ** 2 * events
        return Told(math.inf if needed > MOST_EVENTS else math.nan, math.nan)
    start = (z * float(np.sqrt(weight @ spread @ weight)) / half) ** 2
    if start * events > MOST_EVENTS:
        return Told(math.inf, math.nan)
    scores = [((each - each.mean(axis=0)) @ weight) for each in (a, b)]
    start = (NormalDist().inv_cdf(RIGHT) * float(np.sqrt(weight @ spread @ weight)) / half) ** 2
    if start * events > MOST_EVENTS:
        return Told(math.inf, math.nan)
    found = _trials_needed(scores, half, start, seed)
    return Told(found * events, math.hypot(_error_of_scatter(scores), 2 * slip / half))


def _largest_error(left_out: Floats, spread: Floats) -> float:
    """Largest standard error that the distance between two explanations has in any direction, in standard
    deviations of one trial's estimates (`spread`: their covariance)."""
    count = len(left_out)
    off = left_out - left_out.mean(axis=0)
    slips = (count - 1) / count * off.T @ off
    return math.sqrt(max(float(np.linalg.eigvals(np.linalg.solve(spread, slips)).real.max()), 0.0))


def _error_of_scatter(scores: Sequence[Floats]) -> float:
    """Standard error of the logarithm of the variance of the scores, with which the events go up and down:
    groups of trials are left out in turn (jackknife)."""
    groups = np.array_split(np.arange(len(scores[0])), GROUPS)
    left = np.array(
        [math.log(sum(float(np.var(np.delete(each, group))) for each in scores)) for group in groups]
    )
    return math.sqrt((GROUPS - 1) / GROUPS * float(((left - left.mean()) ** 2).sum()))


def _trials_needed(scores: Sequence[Floats], half: float, start: float, seed: int) -> float:
    """Trials (not a whole number) whose mean score falls on the right side of the middle in `RIGHT` of
    draws."""
    sizes = np.unique(np.maximum(np.round(start * 2.0 ** np.arange(-0.5, 0.6, 0.25)), 1).astype(int))
    if start < 1.5:
        # fewer events than one trial has: the scatter of a smaller trial, from that of whole ones
        pooled = np.concatenate([scores[0], -scores[1]])
        return float((np.quantile(-pooled, RIGHT) / half) ** 2)
    generator = np.random.Generator(np.random.Philox(seed))
    shares = []
    for size in sizes:
        right = []
        for sign, each in zip((1.0, -1.0), scores, strict=True):
            picked = generator.integers(0, len(each), (DRAWS, size), dtype=np.int32)
            right.append(float((sign * each[picked].mean(axis=1) + half > 0).mean()))
        shares.append(0.5 * (right[0] + right[1]))
    # near the goal the probit of the share is linear in the root of the size
    ends = NormalDist()
    probit = np.array([ends.inv_cdf(min(max(share, 1e-3), 1 - 1e-3)) for share in shares])
    near = np.abs(probit - ends.inv_cdf(RIGHT)) < 0.7
    root = np.sqrt(sizes[near])
    slope = float((root * probit[near]).sum() / (root * root).sum())
    return float((ends.inv_cdf(RIGHT) / slope) ** 2)


def events_for_power(log_hr: float, power: float, alpha: float, share: float) -> float:
    """Events that a log-rank test needs (Schoenfeld, Biometrika 1981;68:316); `alpha` one-sided, `share` of
    the participants in the arm."""
    if log_hr >= 0:
        return math.inf
    z = NormalDist().inv_cdf
    return (z(1 - alpha) + z(power)) ** 2 / (share * (1 - share) * log_hr**2)
