"""What a laboratory reports of what is there: counts with noise on the fourth-root scale, RNA with a
limit."""

from __future__ import annotations

import math

from equipoise._compile import njit
from equipoise.virtual.maths import exp, floor, normal_quantile

__all__ = ["copies", "measured_count", "measured_count_from"]


@njit(forceinline=True)
def measured_count(b, count, u):
    """CD4 as reported (whole cells/mm3, at least 1) for a true count and a uniform u."""
    return measured_count_from(b, count, normal_quantile(u))


@njit(forceinline=True)
def measured_count_from(b, count, z):
    """`measured_count`, given a standard normal z."""
    root = math.sqrt(math.sqrt(count)) + b.count_noise * z
    square = root * root
    # A choice of values, not of ways: the compiler works on several counts at once.
    return 1.0 if root <= 1.0 else floor(square * square + 0.5)


@njit(forceinline=True)
def copies(log10_level):
    """Copies/mL, to the whole copy, of a log10 level (before any limit of detection)."""
    return floor(exp(log10_level * 2.302585092994046) + 0.5)
