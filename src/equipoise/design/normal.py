"""The normal distribution in compiled code: tail probabilities and quantiles, exact far into the tails."""

from __future__ import annotations

import math

from equipoise._compile import njit

Z95 = 1.959963984540054
"""The 97.5% quantile: a 95% interval is so many standard errors wide on either side."""
_ROOT2 = math.sqrt(2.0)
_ROOT2PI = math.sqrt(2.0 * math.pi)


@njit
def density(x):
    """The standard normal density."""
    return math.exp(-0.5 * x * x) / _ROOT2PI


@njit
def above(x):
    """P(Z > x) for a standard normal Z, to the last digits in either tail."""
    return 0.5 * math.erfc(x / _ROOT2)


@njit
def above_quantile(p):
    """The x with P(Z > x) = p, for 0 < p < 1; infinite at 0 and 1.

    The rational approximation 26.2.23 of Abramowitz & Stegun (1964), then Newton steps on the logarithm of
    the tail, which is concave, so that each step brings about twice the digits.
    """
    if p <= 0.0:
        return math.inf
    if p >= 1.0:
        return -math.inf
    if p > 0.5:
        return -above_quantile_small(1.0 - p)
    return above_quantile_small(p)


@njit
def above_quantile_small(p):
    """`above_quantile` for 0 < p <= 0.5."""
    t = math.sqrt(-2.0 * math.log(p))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    for _ in range(4):
        tail = above(x)
        x += math.log(tail / p) * tail / density(x)
    return x
