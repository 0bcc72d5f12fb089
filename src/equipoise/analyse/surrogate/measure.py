"""One measure of a surrogate: an estimate with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """What a method says of a surrogate.

    `estimate`, `se`, `low` and `high` are NaN where the method gives none; a measure that is `refused` (the
    reason, in words) has no estimate at all. `scale`: what the number is, such as "hazard ratio" or "share".
    `assumptions` hold for the method everywhere; `warnings` are about these data."""

    name: str
    label: str
    scale: str
    estimate: float = math.nan
    se: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    confidence: float = 0.95
    method: str = ""
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str = ""


def refused(
    name: str,
    label: str,
    scale: str,
    reason: str,
    *,
    method: str = "",
    assumptions: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Measure:
    """A measure that is not defined for these data, with the reason in words."""
    return Measure(
        name, label, scale, method=method, assumptions=assumptions, warnings=warnings, refused=reason
    )
