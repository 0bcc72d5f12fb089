"""A total effect and its two parts, through the marker and past it, as measures with intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from equipoise.analyse.surrogate.explained import STEADY
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.numbers import number
from equipoise.analyse.surrogate.ratio_interval import fieller
from equipoise.analyse.surrogate.rows import z_of

Floats = NDArray[np.float64]

TOO_MANY_LOST = 0.05


class Parts(NamedTuple):
    """An effect at the horizon: as a whole, past the marker, through it; total = direct + indirect."""

    total: float
    direct: float
    indirect: float


class Words(NamedTuple):
    """How a method calls itself and what its numbers are."""

    prefix: str
    scale: str
    method: str
    assumptions: tuple[str, ...]


def effect_measures(
    parts: Parts, samples: Floats, words: Words, confidence: float, warnings: tuple[str, ...] = ()
) -> tuple[Measure, Measure, Measure]:
    """Total, direct and indirect effect with bootstrap standard errors and normal intervals.

    samples: shape (b, 3), total, direct and indirect in each bootstrap sample; NaN rows do not count."""
    labels = ("Total effect", "Direct effect, past the marker", "Indirect effect, through the marker")
    names = ("total", "direct", "indirect")
    measures = [
        with_interval(
            Measure(
                f"{words.prefix}.{name}", label, words.scale, value, method=words.method,
                assumptions=words.assumptions, warnings=warnings,
            ),
            spread(samples[:, i]), confidence,
        )
        for i, (name, label, value) in enumerate(zip(names, labels, parts, strict=True))
    ]  # fmt: skip
    return measures[0], measures[1], measures[2]


def share_measure(
    parts: Parts, samples: Floats, words: Words, confidence: float, warnings: tuple[str, ...] = ()
) -> Measure:
    """The mediated share, indirect over total, with Fieller's interval from the bootstrap's covariance.

    Refused when the interval of the total effect includes no effect: the set of shares that the data allow is
    then not an interval (Fieller, J R Stat Soc B 1954;16:175-85). A share outside of 0 to 1 is given, with a
    warning: the two parts then have opposite signs."""
    name, label = f"{words.prefix}.share", "Share of the effect through the marker"
    told = samples[~np.isnan(samples).any(axis=1)]
    variance = np.cov(told[:, [2, 0]], rowvar=False) if len(told) > 1 else np.full((2, 2), np.nan)
    z = z_of(confidence)
    se_total = math.sqrt(variance[1, 1])
    if not abs(parts.total) > z * se_total:
        total, low, high = (number(parts.total + side * z * se_total, words.scale) for side in (0, -1, 1))
        return refused(
            name, label, "share",
            f"the total effect, a {words.scale} of {total} ({low} to {high}), cannot be told from none, and "
            "there is no share of nothing",
            method=words.method, assumptions=words.assumptions, warnings=warnings,
        )  # fmt: skip
    share = parts.indirect / parts.total
    limits = fieller(parts.indirect, parts.total, variance, confidence)
    gradient = np.array([1.0, -share]) / parts.total
    return Measure(
        name, label, "share", share, float(np.sqrt(gradient @ variance @ gradient)),
        limits.low, limits.high,
        confidence=confidence, method=words.method, assumptions=words.assumptions,
        warnings=warnings + _share_warnings(share, abs(parts.total) / se_total),
    )  # fmt: skip


def _share_warnings(share: float, ratio: float) -> tuple[str, ...]:
    said = []
    if ratio < STEADY:
        said.append(f"the total effect is only {ratio:.1f} standard errors: its share is imprecise")
    if not 0 <= share <= 1:
        said.append("the two parts have opposite signs: the number is a ratio, not a part of a whole")
    return tuple(said)


def with_interval(measure: Measure, se: float, confidence: float) -> Measure:
    """The same measure with a normal interval and p-value (against 0) from its standard error."""
    z = z_of(confidence)
    p = float(2 * ndtr(-abs(measure.estimate) / se)) if se > 0 else math.nan
    low, high = measure.estimate - z * se, measure.estimate + z * se
    return replace(measure, se=se, low=low, high=high, p=p, confidence=confidence)


def refused_measures(
    reason: str, words: Words, warnings: tuple[str, ...] = ()
) -> tuple[Measure, Measure, Measure, Measure]:
    """The four measures of a decomposition, all refused for one reason."""
    labels = (
        ("total", "Total effect"), ("direct", "Direct effect, past the marker"),
        ("indirect", "Indirect effect, through the marker"),
        ("share", "Share of the effect through the marker"),
    )  # fmt: skip
    four = [
        refused(
            f"{words.prefix}.{name}", label, "share" if name == "share" else words.scale, reason,
            method=words.method, assumptions=words.assumptions, warnings=warnings,
        )
        for name, label in labels
    ]  # fmt: skip
    return four[0], four[1], four[2], four[3]


def spread(samples: Floats) -> float:
    """Standard deviation of bootstrap samples, without those that gave no estimate."""
    told = samples[~np.isnan(samples)]
    return float(told.std(ddof=1)) if len(told) > 1 else math.nan


def lost_warning(samples: Floats) -> tuple[str, ...]:
    """A warning when more than a twentieth of the bootstrap samples gave no estimate."""
    lost = float(np.isnan(samples).any(axis=1).mean())
    return (f"{lost:.0%} of the bootstrap samples gave no estimate",) if lost > TOO_MANY_LOST else ()
