"""How a number is shown: halves away from zero, decided in decimal, as trial reports do.

Only what is shown is rounded; the results table keeps every digit.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal, localcontext

UNDEFINED = "–"


def rounded(value: float, places: int) -> Decimal:
    """`value` to `places` decimals, halves away from zero: 42.65 is 42.7, as it is in decimal notation.

    The shortest decimal that means this number is what gets rounded, so 2.675 is 2.68 although its binary
    value lies below. Raises ValueError for a number that is not finite.
    """
    if not math.isfinite(value):
        raise ValueError("only a finite number can be rounded")
    with localcontext() as context:
        context.prec = 400
        exact = Decimal(repr(float(value)))
        result = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    return abs(result) if result == 0 else result


def number(value: float, places: int) -> str:
    """`value` with `places` decimals and thousands separated by commas; a dash where it is undefined."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{rounded(value, places):,f}"


def interval(estimate: float, lower: float, upper: float, places: int) -> str:
    """ "0.91 (0.70 to 1.18)"; a dash where there is no estimate."""
    if math.isnan(estimate):
        return UNDEFINED
    return f"{number(estimate, places)} ({number(lower, places)} to {number(upper, places)})"


def p_value(p: float) -> str:
    """A p-value as journals print it: three decimals below 0.10, two above, never 0 and never 1."""
    if math.isnan(p):
        return UNDEFINED
    if p < 0.001:
        return "<0.001"
    if p > 0.99:
        return ">0.99"
    shown = rounded(p, 3) if p < 0.0995 else rounded(p, 2)
    return f"{shown:f}"


def percent(part: float, whole: float) -> str:
    """A share in whole percent: none is 0%, everybody 100%, and neither is claimed by rounding.

    Half a percent is <1%, and 999 of 1,000 are >99%.
    """
    if not whole > 0 or math.isnan(part):
        return UNDEFINED
    if part <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    share = 100 * part / whole
    if share < 1:
        return "<1%"
    if share > 99:
        return ">99%"
    return f"{rounded(share, 0):f}%"
