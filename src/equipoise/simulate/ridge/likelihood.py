"""How well each setting of the dials agrees with what was published.

The estimated log hazard ratio of a trial is taken as normal around its expectation, with the published
standard error; several of one trial as jointly normal, correlated as in simulated trials. Trials are
independent. A setting is excluded at 95% when its log likelihood lies more than half a chi-square quantile
below the largest one: of two degrees of freedom for regions of (phi, rho), of one for intervals of one dial
(profile likelihood). The largest one is that of all four dials. So a region at one time constant and one
frailty is a cut through four dimensions at a height meant for two: with no more than two figures there is
nothing to choose between, for no more than two degrees of freedom are in them; with more figures it is
narrower than a region of all four dials, whose drop is `DROP_FOUR`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.simulate.ridge.published import Ratio

Floats = NDArray[np.float64]

LEVELS = (0.50, 0.80, 0.95)
"""Confidence of the regions that are drawn."""
DROP_TWO = tuple(-float(np.log1p(-level)) for level in LEVELS)
"""By how much the log likelihood may lie below its maximum in each region: half a quantile of chi-square with
two degrees of freedom, which is the logarithm of one over the rest."""
DROP_FOUR = 4.743864518390577
"""The same for a region of 95% of all four dials."""
DROP_ONE = 1.9207294103470267
"""The same for an interval of 95% of one dial: half of the quantile of chi-square with one degree of
freedom."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Some hazard ratios of one trial, and their covariance on the log scale."""

    trial: int
    """Its number."""
    ratios: tuple[Ratio, ...]
    covariance: Floats

    def log_likelihood(self, expected: Floats, names: Sequence[str]) -> Floats:
        """Of expected log hazard ratios, shape (..., figures), called `names`; 0 where all are met
        exactly."""
        place = [names.index(ratio.name) for ratio in self.ratios]
        off = expected[..., place] - np.array([ratio.log for ratio in self.ratios])
        found: Floats = -0.5 * np.einsum("...a,ab,...b->...", off, np.linalg.inv(self.covariance), off)
        return found


def independent(trial: int, ratios: Sequence[Ratio]) -> Evidence:
    """Hazard ratios that are estimated from different people's events."""
    return Evidence(trial, tuple(ratios), np.diag([ratio.error**2 for ratio in ratios]))


def correlated(trial: int, ratios: Sequence[Ratio], correlation: Floats) -> Evidence:
    """Hazard ratios that are estimated from the same people."""
    errors = np.array([ratio.error for ratio in ratios])
    return Evidence(trial, tuple(ratios), correlation * np.outer(errors, errors))


def interval(places: Floats, log_likelihood: Floats, drop: float = DROP_ONE) -> tuple[float, float]:
    """Ends of the range in which the log likelihood lies within `drop` of its maximum, by linear
    interpolation; an end of `places` where it does not fall so far."""
    above = log_likelihood - (log_likelihood.max() - drop)
    inside = np.flatnonzero(above >= 0)
    first, last = int(inside[0]), int(inside[-1])
    low, high = float(places[first]), float(places[last])
    if first > 0:
        share = above[first] / (above[first] - above[first - 1])
        low = float(places[first] - share * (places[first] - places[first - 1]))
    if last + 1 < len(places):
        share = above[last] / (above[last] - above[last + 1])
        high = float(places[last] + share * (places[last + 1] - places[last]))
    return low, high
