"""Fieller's interval for a ratio of two estimates, which may have no end, or be everything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from equipoise.analyse.surrogate.rows import Matrix, z_of


@dataclass(frozen=True)
class FiellerSet:
    """All ratios that a test does not reject. "between": from `low` to `high`. "outside": everything except
    what lies strictly between `low` and `high`. "everything": every number; then both are infinite."""

    kind: Literal["between", "outside", "everything"]
    low: float
    high: float

    def __contains__(self, ratio: float) -> bool:
        inside = self.low <= ratio <= self.high
        return {
            "between": inside,
            "outside": ratio <= self.low or ratio >= self.high,
            "everything": True,
        }[self.kind]

    @property
    def words(self) -> str:
        if self.kind == "between":
            return f"from {self.low:.2f} to {self.high:.2f}"
        if self.kind == "outside":
            return f"everything up to {self.low:.2f} and everything from {self.high:.2f}: no bounded interval"
        return "every number: the data say nothing about the ratio"


def fieller(numerator: float, denominator: float, covariance: Matrix, confidence: float = 0.95) -> FiellerSet:
    """The set of r for which (numerator - r denominator) is within z standard errors of 0.

    Fieller, J R Stat Soc B 1954;16:175-85. covariance: 2 x 2, of (numerator, denominator). With a the
    denominator's square less z^2 times its variance, the set is an interval where a > 0 (the denominator
    differs from 0 at that level); otherwise it has no end or is everything."""
    square = z_of(confidence) ** 2
    a = denominator**2 - square * float(covariance[1, 1])
    b = numerator * denominator - square * float(covariance[0, 1])
    c = numerator**2 - square * float(covariance[0, 0])
    discriminant = b * b - a * c
    if a > 0:
        root = math.sqrt(max(discriminant, 0.0))
        return FiellerSet("between", (b - root) / a, (b + root) / a)
    if a == 0 or discriminant <= 0:
        return FiellerSet("everything", -math.inf, math.inf)
    root = math.sqrt(discriminant)
    return FiellerSet("outside", (b + root) / a, (b - root) / a)
