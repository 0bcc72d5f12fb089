"""Competing events: the Aalen-Johansen cumulative incidence, its variance and interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.analyse.survival import Steps, kaplan_meier, log_log_interval
from equipoise.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CumulativeIncidence(Steps):
    """Probability that the event of interest has happened by each time, with others competing.

    `events` are those of interest, `competing` all others; `incidence`, `se`, `lower`, `upper` hold from each
    time on.
    """

    events: Floats
    competing: Floats
    incidence: Floats
    se: Floats
    lower: Floats
    upper: Floats

    def at(self, time: float) -> tuple[float, float, float]:
        """(incidence, lower, upper) at a time; 0 before the first step."""
        k = self.last_step(time)
        if k < 0:
            return 0.0, 0.0, 0.0
        return float(self.incidence[k]), float(self.lower[k]), float(self.upper[k])


def aalen_johansen(time: ArrayLike, status: ArrayLike, *, confidence: float = 0.95) -> CumulativeIncidence:
    """Cumulative incidence (Aalen & Johansen 1978) of status 1, with status 2 competing and 0 censored.

    time, status: columns of length n. The variance is the delta-method one of Marubini & Valsecchi (1995),
    section 10.3, which without competing events is Greenwood's; the interval is taken on the log(-log) scale
    of the probability of no event. Raises UserError for negative times or another status.
    """
    code = np.asarray(status)
    if len(code) and not np.isin(code, (0, 1, 2)).all():
        raise UserError("status must be 0 (censored), 1 (event) or 2 (competing event)")
    every = kaplan_meier(time, code != 0, confidence=confidence)
    of_interest = kaplan_meier(time, code == 1, confidence=confidence)
    n, d, d1 = every.at_risk, every.events, of_interest.events
    before = np.concatenate(([1.0], every.survival[:-1])) if len(n) else every.survival
    incidence = np.cumsum(before * d1 / n)
    # sums over earlier times of [F(t)-F(ti)]^2 a + b - 2 [F(t)-F(ti)] c, expanded so that one pass suffices
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(n > d, d / (n * (n - d)), 0.0)
    b = before**2 * (n - d1) * d1 / n**3
    c = before * d1 / n**2
    variance = (
        incidence**2 * np.cumsum(a)
        - 2 * incidence * np.cumsum(a * incidence)
        + np.cumsum(a * incidence**2)
        + np.cumsum(b)
        - 2 * (incidence * np.cumsum(c) - np.cumsum(c * incidence))
    )
    se = np.sqrt(np.maximum(variance, 0.0))
    lower, upper = log_log_interval(1.0 - incidence, se, confidence)
    none = incidence <= 0.0
    low = np.where(none, 0.0, 1.0 - upper)
    high = np.where(none, 0.0, 1.0 - lower)
    high = np.where(incidence >= 1.0, math.nan, high)
    low = np.where(incidence >= 1.0, math.nan, low)
    return CumulativeIncidence(every.times, n, d1, d - d1, incidence, se, low, high)
