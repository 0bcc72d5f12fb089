"""The Kaplan-Meier curve, its interval and quantiles, and the area under it.

Times are numbers in any unit (days, inside Equipoise); `event` is 1 for an event and 0 for censoring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from equipoise._compile import njit
from equipoise.analyse.columns import Floats, checked, orders


@njit
def _product_limit(start, stop, event, order, entry_order, late_entry):
    """Distinct times with numbers at risk (just before), events and exits; rows rise by time."""
    n = order.shape[0]
    times = np.empty(n)
    at_risk = np.empty(n)
    events = np.empty(n)
    found = 0
    position = 0
    entering = 0
    present = 0.0 if late_entry else float(n)
    while position < n:
        now = stop[order[position]]
        if late_entry:
            while entering < n and start[entry_order[entering]] < now:
                present += 1.0
                entering += 1
        d = 0.0
        left = 0.0
        while position < n and stop[order[position]] == now:
            if event[order[position]]:
                d += 1.0
            left += 1.0
            position += 1
        times[found] = now
        at_risk[found] = present
        events[found] = d
        found += 1
        present -= left
    return times[:found], at_risk[:found], events[:found]


@dataclass(frozen=True)
class Steps:
    """What every curve of steps has: one entry per distinct time of leaving observation, rising; `at_risk`
    counts those under observation, without an event, just before each time."""

    times: Floats
    at_risk: Floats

    def number_at_risk(self, day: float) -> float:
        """At risk just before the events of a day (of the 24 hours that end it): those who leave on that day
        still count. Without late entry."""
        k = int(np.searchsorted(self.times, day - 1, side="right"))
        return float(self.at_risk[k]) if k < len(self.times) else 0.0

    def last_step(self, time: float) -> int:
        """Position of the step that holds at `time`; -1 before the first."""
        return int(np.searchsorted(self.times, time, side="right")) - 1


@dataclass(frozen=True)
class Curve(Steps):
    """A Kaplan-Meier curve: `survival`, `se`, `lower` and `upper` hold from each time on."""

    events: Floats
    survival: Floats
    se: Floats
    lower: Floats
    upper: Floats

    def at(self, time: float) -> tuple[float, float, float]:
        """(survival, lower, upper) at a time; 1 before the first step."""
        k = self.last_step(time)
        if k < 0:
            return 1.0, 1.0, 1.0
        return float(self.survival[k]), float(self.lower[k]), float(self.upper[k])

    def quantile(self, probability: float) -> float:
        """First time at which survival is at or below 1 - probability; NaN if never reached."""
        reached = np.flatnonzero(self.survival <= 1 - probability + 1e-12)
        return float(self.times[reached[0]]) if len(reached) else math.nan


@dataclass(frozen=True)
class RestrictedMean:
    """Area under the survival curve up to `horizon`, in the unit of time."""

    horizon: float
    estimate: float
    se: float
    lower: float
    upper: float


def kaplan_meier(
    time: ArrayLike, event: ArrayLike, *, entry: ArrayLike | None = None, confidence: float = 0.95
) -> Curve:
    """The product-limit curve (Kaplan & Meier 1958), Greenwood's standard error, log-log interval.

    time, event: columns of length n; with entry, row i is at risk on (entry, time]. Where survival is 1 the
    interval is (1, 1); where it is 0 it is undefined (NaN).
    """
    stop, happened, start = checked(time, event, entry)
    order, entry_order = orders(
        np.zeros(len(stop), np.int32), start, stop, entry is not None, latest_first=False
    )
    times, at_risk, events = _product_limit(start, stop, happened, order, entry_order, entry is not None)
    survival = np.cumprod(1.0 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        se = survival * np.sqrt(greenwood)
        se = np.where(survival > 0, se, math.nan)
        lower, upper = log_log_interval(survival, se, confidence)
    return Curve(times, at_risk, events, survival, se, lower, upper)


def log_log_interval(survival: Floats, se: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Interval of a probability on the log(-log) scale (Kalbfleisch & Prentice 1980, section 1.4)."""
    z = float(ndtri(0.5 + confidence / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        width = z * se / (survival * np.abs(np.log(survival)))
        lower = survival ** np.exp(width)
        upper = survival ** np.exp(-width)
    certain = survival >= 1.0
    return np.where(certain, 1.0, lower), np.where(certain, 1.0, upper)


def restricted_mean(curve: Curve, horizon: float, confidence: float = 0.95) -> RestrictedMean:
    """Restricted mean survival time up to `horizon` (Irwin 1949; Royston & Parmar 2013), in the curve's unit.

    The variance is that of Klein & Moeschberger (2003), eq. 4.5.2. Undefined (NaN) beyond the last time at
    which anybody was observed, unless the curve has come down to 0.
    """
    if len(curve.times) == 0 or (horizon > curve.times[-1] and curve.survival[-1] > 0):
        return RestrictedMean(horizon, math.nan, math.nan, math.nan, math.nan)
    inside = curve.times < horizon
    steps = np.concatenate(([0.0], curve.times[inside], [horizon]))
    level = np.concatenate(([1.0], curve.survival[inside]))
    pieces = level * np.diff(steps)
    remaining = np.cumsum(pieces[::-1])[::-1][1:]
    events, at_risk = curve.events[inside], curve.at_risk[inside]
    usable = at_risk > events
    variance = float(
        np.sum(
            remaining[usable] ** 2 * events[usable] / (at_risk[usable] * (at_risk[usable] - events[usable]))
        )
    )
    estimate, se = float(pieces.sum()), math.sqrt(variance)
    z = float(ndtri(0.5 + confidence / 2))
    return RestrictedMean(horizon, estimate, se, estimate - z * se, estimate + z * se)
