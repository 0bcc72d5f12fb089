"""Numbers and findings in words: one place that decides how a figure is written.

Rounding itself is that of `equipoise.analyse.rounding`: half away from zero, decided in decimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from equipoise.analyse import rounding
from equipoise.analyse.rounding import rounded
from equipoise.protocol.describing import capital, listed

__all__ = [
    "capital", "count", "count_percent", "interval", "known", "listed", "lower_first", "measure_places",
    "number", "p_value", "percent", "place_in", "place_in_words", "places_for", "ratio_in_words", "sentence",
    "unit", "with_interval",
]  # fmt: skip

MINUS = "−"
NONE = "–"
"""What stands where there is no number."""


def known(value: float | None) -> bool:
    """Whether there is a number to write."""
    return value is not None and math.isfinite(value)


def number(value: float | None, places: int = 1) -> str:
    """ "1,234.5"; a true minus sign; "–" where unknown. A zero never carries a sign."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{rounded(value, places):,f}"
    if text.startswith("-"):
        return text[1:] if not text.strip("-0.,") else MINUS + text[1:]
    return text


def count(value: float | None) -> str:
    """A whole number of people or things."""
    return number(value, 0)


def places_for(*values: float | None) -> int:
    """Decimals that show about three figures of the largest of some values (at most 3)."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if largest >= 100:
        return 0
    return 1 if largest >= 10 else 2


def measure_places(unit: str, *values: float | None) -> int:
    """Decimals for a measured quantity: two for logarithms, one from 10 up, none for values in hundreds."""
    return 2 if unit.startswith("log") else places_for(*values)


def interval(lower: float | None, upper: float | None, places: int) -> str:
    """ "0.70 to 1.18" (words, so that a minus sign is never mistaken for a dash)."""
    if not known(lower) or not known(upper):
        return NONE
    return f"{number(lower, places)} to {number(upper, places)}"


def with_interval(value: float | None, lower: float | None, upper: float | None, places: int) -> str:
    """ "0.91 (0.70 to 1.18)"; the value alone where there is no interval."""
    if not known(value):
        return NONE
    if not known(lower) or not known(upper):
        return number(value, places)
    return f"{number(value, places)} ({interval(lower, upper, places)})"


def p_value(value: float | None) -> str:
    """ "0.47", "0.003", "<0.001", as journals print it."""
    return NONE if value is None or not math.isfinite(value) else rounding.p_value(value)


def percent(part: float | None, whole: float | None) -> str:
    """ "13.0%"; "0%" and "100%" bare; "<0.1%" and ">99.9%" where rounding would claim nobody or everybody."""
    if part is None or whole is None or not math.isfinite(part) or not math.isfinite(whole) or whole <= 0:
        return NONE
    if part == 0:
        return "0%"
    if part == whole:
        return "100%"
    share = rounded(100 * part / whole, 1)
    if share == 0:
        return "<0.1%"
    return ">99.9%" if share == 100 else f"{share}%"


def count_percent(part: float | None, whole: float | None) -> str:
    """ "110 (13.0%)"; a zero stands alone."""
    if not known(part):
        return NONE
    return count(part) if part == 0 or not known(whole) else f"{count(part)} ({percent(part, whole)})"


def unit(text: str) -> str:
    """A unit as print writes it: cells/mm³."""
    return text.replace("mm3", "mm³").replace("10^6", "10⁶").replace("m2", "m²")


def lower_first(text: str) -> str:
    """A label inside a sentence: its first letter small, unless it begins with an abbreviation."""
    second = text[1:2]
    return text[:1].lower() + text[1:] if second.islower() or second == " " else text


def sentence(text: str) -> str:
    """A phrase as a sentence: first letter large, one full stop at the end."""
    text = capital(text.strip())
    return text if not text or text.endswith((".", "!", "?", ":")) else text + "."


def ratio_in_words(ratio: float | None, lower: float | None, upper: float | None, noun: str) -> str:
    """What a hazard ratio and its interval say about `noun` ("death"), for a reader who never met one.

    The words never turn "no clear difference" into "no difference".
    """
    if ratio is None or lower is None or upper is None or not all(map(math.isfinite, (ratio, lower, upper))):
        return f"The comparison of {noun} could not be estimated."
    change = abs(1 - ratio) * 100
    direction = "lower" if ratio < 1 else "higher"
    size = "about the same" if change < 0.5 else f"{count(change)}% {direction}"
    if lower <= 1 <= upper:
        return (
            f"The rate of {noun} was {size}, which chance alone could explain: the data fit anything from "
            f"{_change(lower)} to {_change(upper)}."
        )
    return (
        f"The rate of {noun} was {size}; chance alone is an unlikely explanation "
        f"(the data fit anything from {_change(lower)} to {_change(upper)})."
    )


def _change(ratio: float) -> str:
    change = abs(1 - ratio) * 100
    if change < 0.5:
        return "no change"
    if ratio > 3:
        return f"{number(ratio, 1)} times as high"
    return f"{count(change)}% {'lower' if ratio < 1 else 'higher'}"


def place_in(values: Sequence[float], published: float) -> float | None:
    """Share of `values` below `published`, ties counted half (mid-rank); None when there are none."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite or not math.isfinite(published):
        return None
    below = sum(v < published for v in finite)
    equal = sum(v == published for v in finite)
    return (below + equal / 2) / len(finite)


def place_in_words(share: float | None, trials: int) -> str:
    """Where a published figure lies among simulated trials, in words."""
    if share is None:
        return "no simulated trials to compare with"
    percentage = number(100 * share, 1 if not 0.01 <= share <= 0.99 else 0)
    if share < 0.005:
        return f"below nearly all of {count(trials)} simulated trials: the model misses this"
    if share > 0.995:
        return f"above nearly all of {count(trials)} simulated trials: the model misses this"
    if share < 0.025 or share > 0.975:
        side = "low" if share < 0.5 else "high"
        return f"in the {side} tail: above {percentage}% of simulated trials"
    if 0.25 <= share <= 0.75:
        return f"in the middle half: above {percentage}% of simulated trials"
    side = "lower" if share < 0.5 else "upper"
    return f"in the {side} part, within the central 95%: above {percentage}% of simulated trials"
