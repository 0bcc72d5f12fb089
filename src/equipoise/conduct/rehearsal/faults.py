"""What goes wrong in a rehearsal, on purpose: results that come late, are entered wrong and mended, or never
come; forms not done; requests on a bad line; two people at one form. Everything follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from equipoise.conduct.rehearsal.client import Line

Entry = Literal["right", "late", "wrong, mended at once", "wrong, mended later", "missing", "form not done"]

ENTRIES: Final[dict[Entry, float]] = {
    "late": 0.06,
    "wrong, mended at once": 0.04,
    "wrong, mended later": 0.04,
    "missing": 0.03,
    "form not done": 0.02,
}
"""Share of visits at which each happens to the result that guides the doses (assumed)."""
LINES: Final[dict[Line, float]] = {"sent twice": 0.04, "cut off": 0.02}
"""Share of requests (assumed)."""
TWO_AT_ONCE: Final = 0.03
"""Share of visit forms that two people save at the same time (assumed)."""
T = TypeVar("T")
LATEST_DAYS: Final = 40
"""A late result, or a correction, comes at most so many days after the visit (assumed)."""


@dataclass(frozen=True)
class Fault:
    """One fault that happened: to whom, when, what."""

    participant: str
    date: str
    fault: str
    what: str


class Faults:
    """The faults of one candidate, in the order in which they are asked for; with `on` False there are
    none."""

    def __init__(self, seed: int, number: int, on: bool) -> None:
        self.on = on
        self._entry = random.Random(f"{seed}:{number}:entry")
        self._line = random.Random(f"{seed}:{number}:line")

    def entry(self) -> Entry:
        """How the result of the next visit is entered."""
        return _drawn(self._entry, ENTRIES, "right") if self.on else "right"

    def line(self) -> Line:
        """On what line the next request goes."""
        return _drawn(self._line, LINES, "good") if self.on else "good"

    def two_at_once(self) -> bool:
        """Whether two people save the next form at the same time."""
        return self.on and self._line.random() < TWO_AT_ONCE

    def days_later(self) -> int:
        """Days from a visit to a late result or a correction."""
        return self._entry.randint(1, LATEST_DAYS)

    def wrong(self, right: float, low: float, high: float) -> float:
        """Another value than the right one, as a slip of the pen makes it: two digits exchanged, or another
        digit; within the limits of the item."""
        digits = list(f"{right:.0f}")
        for first in range(len(digits) - 1):
            exchanged = [*digits]
            exchanged[first], exchanged[first + 1] = exchanged[first + 1], exchanged[first]
            slip = float("".join(exchanged))
            if slip != right and low <= slip <= high:
                return slip
        for digit in self._entry.sample("123456789", 9):
            slip = float("".join([digit, *digits[1:]]))
            if slip != right and low <= slip <= high:
                return slip
        return right + 1 if right + 1 <= high else right - 1


def _drawn(source: random.Random, shares: dict[T, float], otherwise: T) -> T:
    u = source.random()
    for what, share in shares.items():
        if u < share:
            return what
        u -= share
    return otherwise
