"""Numbers of the measures as they are printed."""

from __future__ import annotations

import math

from equipoise.analyse.rounding import rounded

_RATIOS = ("hazard ratio", "odds ratio", "ratio of geometric means")


def number(x: float, scale: str) -> str:
    """Two decimals for ratios and shares, three figures for the rest; risks in percentage points."""
    if math.isnan(x):
        return "-"
    if math.isinf(x):
        return "no limit" if x > 0 else "-no limit"
    if scale == "risk difference":
        return f"{rounded(100 * x, 2)}%"
    if scale in _RATIOS or scale in ("share", "R-squared") or abs(x) >= 0.1:
        return str(rounded(x, 2))
    return f"{x:.3g}"
