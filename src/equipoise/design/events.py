"""Events that a trial needs, by the formulas of Schoenfeld and of Freedman, and what given events can show.

The log-rank test of two arms with proportional hazards. `share` is always the share of the participants who
are in the reference arm, `sides` the sides of the test, and `inflation` what a group-sequential design
multiplies the events by (1 for a single analysis). Formulas count the chance of rejecting in the right
direction only.

Schoenfeld, Biometrika 1981;68:316-9 and Biometrics 1983;39:499-503; Freedman, Stat Med 1982;1:121-9.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from equipoise.design.boundaries import fixed_drift, information_per_event
from equipoise.errors import UserError
from equipoise.protocol.checking.plan import events_needed
from equipoise.protocol.quantities import number_text

Sides = Literal[1, 2]
_NORMAL = NormalDist()


def schoenfeld_events(
    hazard_ratio: float,
    power: float,
    alpha: float = 0.05,
    sides: Sides = 2,
    share: float = 0.5,
    inflation: float = 1.0,
) -> float:
    """Events for `power`, not rounded: z^2 / (share (1 - share) log(hazard_ratio)^2), times `inflation`.

    Schoenfeld 1983, formula (1). Raises UserError for a hazard ratio of 1 and for anything out of range.
    """
    _check(hazard_ratio=hazard_ratio, power=power, alpha=alpha, sides=sides, share=share, inflation=inflation)
    return inflation * events_needed(hazard_ratio, power, alpha, share, sides)


def freedman_events(
    hazard_ratio: float,
    power: float,
    alpha: float = 0.05,
    sides: Sides = 2,
    share: float = 0.5,
    inflation: float = 1.0,
) -> float:
    """Events for `power`, not rounded: z^2 (1 + r h)^2 / (r (1 - h)^2), times `inflation`; r participants of
    the experimental arm to each of the reference arm, h the hazard ratio.

    Freedman 1982, formula (3) for r = 1. Raises UserError for a hazard ratio of 1 and for anything out of
    range.
    """
    _check(hazard_ratio=hazard_ratio, power=power, alpha=alpha, sides=sides, share=share, inflation=inflation)
    z = fixed_drift(alpha, sides, power)
    return inflation * (z / _freedman_drift(hazard_ratio, share)) ** 2


def schoenfeld_power(
    events: float,
    hazard_ratio: float,
    alpha: float = 0.05,
    sides: Sides = 2,
    share: float = 0.5,
    inflation: float = 1.0,
) -> float:
    """Power that so many events give, the inverse of `schoenfeld_events`. Raises UserError likewise."""
    _check(
        hazard_ratio=hazard_ratio, events=events, alpha=alpha, sides=sides, share=share, inflation=inflation
    )
    drift = math.sqrt(information_per_event(1 - share) * events / inflation) * abs(math.log(hazard_ratio))
    return _NORMAL.cdf(drift - critical(alpha, sides))


def freedman_power(
    events: float,
    hazard_ratio: float,
    alpha: float = 0.05,
    sides: Sides = 2,
    share: float = 0.5,
    inflation: float = 1.0,
) -> float:
    """Power that so many events give, the inverse of `freedman_events`. Raises UserError likewise."""
    _check(
        hazard_ratio=hazard_ratio, events=events, alpha=alpha, sides=sides, share=share, inflation=inflation
    )
    drift = math.sqrt(events / inflation) * _freedman_drift(hazard_ratio, share)
    return _NORMAL.cdf(drift - critical(alpha, sides))


def detectable_hazard_ratio(
    events: float,
    power: float,
    alpha: float = 0.05,
    sides: Sides = 2,
    share: float = 0.5,
    inflation: float = 1.0,
) -> float:
    """The hazard ratio below 1 that so many events detect with `power`, by Schoenfeld's formula; its
    reciprocal is the one above 1. Raises UserError for anything out of range."""
    _check(events=events, power=power, alpha=alpha, sides=sides, share=share, inflation=inflation)
    z = fixed_drift(alpha, sides, power)
    if z <= 0:
        raise UserError(f"a power of {number_text(power)} needs no event: it is below the level of the test")
    return math.exp(-z / math.sqrt(information_per_event(1 - share) * events / inflation))


def participants_needed(events: float, probability: float) -> int:
    """Participants among whom so many events are expected, if each has one with this probability
    (averaged over the arms, from `calendar.event_probability`). Raises UserError for a probability that
    is not above 0 and at most 1."""
    _check(events=events)
    if not 0 < probability <= 1:
        shown = number_text(float(probability))
        raise UserError(f"the probability of an event must be above 0 and at most 1, not {shown}")
    return math.ceil(events / probability - 1e-9)


def critical(alpha: float, sides: Sides) -> float:
    """The critical value of a single test: the normal quantile of 1 - alpha / sides."""
    return _NORMAL.inv_cdf(1 - alpha / sides)


def _freedman_drift(hazard_ratio: float, share: float) -> float:
    """Expected log-rank statistic per square root of an event."""
    ratio = (1 - share) / share
    return math.sqrt(ratio) * abs(1 - hazard_ratio) / (1 + ratio * hazard_ratio)


_RANGES = {
    "hazard_ratio": ("a hazard ratio", 0.0, math.inf),
    "power": ("the power", 0.0, 1.0),
    "alpha": ("the level alpha", 0.0, 1.0),
    "share": ("the share of the reference arm", 0.0, 1.0),
    "events": ("the number of events", 0.0, math.inf),
    "inflation": ("the inflation of the events", 0.0, math.inf),
}


def _check(*, sides: int = 2, **given: float) -> None:
    for name, value in given.items():
        words, low, high = _RANGES[name]
        if not low < value < high:
            limits = "above 0" if high == math.inf else f"between {low:g} and {high:g}"
            raise UserError(f"{words} must be {limits}, not {number_text(float(value))}")
    if given.get("hazard_ratio") == 1:
        raise UserError("a hazard ratio of 1 is no effect: no number of events shows it")
    if sides not in (1, 2):
        raise UserError(f"a test has 1 or 2 sides, not {sides}")
