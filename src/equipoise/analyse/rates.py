"""Rates of events per person-time with exact Poisson intervals, and the ratio of two rates."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import bdtr, bdtrc, betaincinv, gammaincinv

from equipoise.errors import UserError


class Rate(NamedTuple):
    """Events per `per` units of person-time, with an interval."""

    estimate: float
    lower: float
    upper: float


class RateRatio(NamedTuple):
    """Ratio of two rates, with an exact interval and two-sided p-value."""

    estimate: float
    lower: float
    upper: float
    p_value: float


def rate_interval(events: int, person_time: float, *, per: float = 100.0, confidence: float = 0.95) -> Rate:
    """Rate per `per` units of person-time with the exact Poisson interval of Garwood (1936).

    events: a count >= 0; person_time: > 0, in years for rates per 100 person-years. Without person-time all
    three are NaN. Raises UserError for a negative count or time.
    """
    if events < 0 or person_time < 0:
        raise UserError("a rate needs a count and a person-time that are not negative")
    if not person_time > 0:
        return Rate(math.nan, math.nan, math.nan)
    tail = (1 - confidence) / 2
    low = float(gammaincinv(events, tail)) if events else 0.0
    high = float(gammaincinv(events + 1, 1 - tail))
    scale = per / person_time
    return Rate(events * scale, low * scale, high * scale)


def rate_ratio(
    events: int, person_time: float, reference_events: int, reference_time: float, *, confidence: float = 0.95
) -> RateRatio:
    """Ratio of a rate to a reference rate, conditional on the total of events (Przyborowski & Wilenski 1940).

    Given the total, the first count is binomial; the interval is Clopper and Pearson's (1934) carried over,
    the p-value twice the smaller tail. With no reference events the estimate is infinite; with no events at
    all everything is NaN.
    """
    total = events + reference_events
    if total == 0 or not (person_time > 0 and reference_time > 0):
        return RateRatio(math.nan, math.nan, math.nan, math.nan)
    tail = (1 - confidence) / 2
    balance = reference_time / person_time
    low = float(betaincinv(events, reference_events + 1, tail)) if events else 0.0
    high = float(betaincinv(events + 1, reference_events, 1 - tail)) if reference_events else 1.0
    share = person_time / (person_time + reference_time)
    at_most = float(bdtr(events, total, share))
    at_least = float(bdtrc(events - 1, total, share)) if events else 1.0
    return RateRatio(
        events / reference_events * balance if reference_events else math.inf,
        low / (1 - low) * balance,
        high / (1 - high) * balance if high < 1 else math.inf,
        min(1.0, 2 * min(at_most, at_least)),
    )
