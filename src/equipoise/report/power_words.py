"""How the figures of a power run are written: with their Monte Carlo error, and no finer than it allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from equipoise.design.normal import Z95
from equipoise.report import words as w
from equipoise.simulate.power.characteristics import Difference, Figure

_SHARES = ("coverage", "biomarker wins", "both win", "power")


def is_share(figure: Figure | Difference) -> bool:
    """Whether a figure is a probability or a share, which is written in percent."""
    return (
        figure.section in ("decision", "stopping")
        or figure.name.startswith(_SHARES)
        or figure.name.endswith((", share", "takes place", "difference of shares"))
    )


def places(error: float) -> int:
    """Decimals of a number with this error: the error keeps one digit, two where the first is 1 or 2.

    Negative where tens or hundreds are all that is known."""
    if not math.isfinite(error) or error <= 0:
        return 2
    power = math.floor(math.log10(error))
    leading = error / 10.0**power
    # 0.0096 is 0.01 once rounded: it counts as the larger power
    if round(leading) >= 10:
        power, leading = power + 1, 1.0
    return min(6, -power + (1 if round(leading, 6) < 3 else 0))


def common_places(figures: Sequence[Figure | None]) -> int | None:
    """Decimals for a column of figures, as their largest error tells; None where none has an error."""
    errors = [_scaled(f)[1] for f in figures if f is not None and math.isfinite(f.error) and f.error > 0]
    return places(max(errors)) if errors else None


def _places_of(value: float, error: float, wanted: int | None = None) -> int:
    if math.isfinite(error) and error > 0:
        own = places(error)
        # an error that would be shown as 0 keeps its own decimals
        return own if wanted is None or error < 0.5 * 10.0**-wanted else wanted
    if not math.isfinite(value) or float(value).is_integer():
        return 0
    return min(4, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 0


def _finest(figure: Figure | Difference) -> int:
    """Most decimals that make sense: a thousandth of a year is less than half a day."""
    return 3 if figure.unit == "years" else 6


def _scaled(figure: Figure | Difference) -> tuple[float, float, str]:
    """Value, error and unit as they are shown."""
    if is_share(figure):
        return 100 * figure.value, 100 * figure.error, "%"
    return figure.value, figure.error, figure.unit


def _digits(figure: Figure | Difference, wanted: int | None = None) -> int:
    """Decimals of a figure and its error."""
    shown, size, _ = _scaled(figure)
    return min(_places_of(shown, size, wanted), _finest(figure))


def _error(size: float, digits: int) -> str:
    """An error; "<0.001" where so many decimals would show none."""
    return w.number(size, digits) if size >= 0.5 * 10.0**-digits else f"<{w.number(10.0**-digits, digits)}"


def bare(figure: Figure | None, wanted: int | None = None) -> str:
    """The value alone, without its unit: "58.6" (percent), "7.36"; "–" where there is none."""
    if figure is None or not math.isfinite(figure.value):
        return w.NONE
    known = figure.name.endswith("hazard ratio, true") and figure.error == 0
    return w.number(_scaled(figure)[0], 3 if known else _digits(figure, wanted))


def value(figure: Figure | None, wanted: int | None = None) -> str:
    """The value alone: "58.6%", "7.36"; "–" where there is none. `wanted`: decimals of the column."""
    text = bare(figure, wanted)
    return f"{text}%" if figure is not None and text != w.NONE and is_share(figure) else text


def error(figure: Figure, trials: int) -> str:
    """The Monte Carlo error alone, in the unit of the value. A share of none or all of the trials has a limit
    instead."""
    if not math.isfinite(figure.error) or not math.isfinite(figure.value):
        return w.NONE
    if extreme(figure):
        return f"{'at most' if figure.value == 0 else 'at least'} {limit(figure.value, trials)}"
    size = _scaled(figure)[1]
    return _error(size, _digits(figure)) if size > 0 else "0"


def extreme(figure: Figure) -> bool:
    """Whether none or all of the trials count."""
    return is_share(figure) and figure.error == 0 and figure.value in (0.0, 1.0)


def limit(share: float, trials: int) -> str:
    """What is known, with 95% confidence, of a share of none or all of the trials, in percent: at most 3/n,
    or at least 1 - 3/n (Hanley & Lippman-Hand, JAMA 1983;249:1743-5)."""
    bound = min(100.0, 300 / max(1, trials))
    decimals = max(0, 1 - math.floor(math.log10(bound)))
    return w.number(bound if share == 0 else 100 - bound, decimals)


def both(figure: Figure | None, trials: int, wanted: int | None = None) -> str:
    """Value and error in one unit: "58.6% ± 0.8", "7.36 ± 0.02", "0% (≤ 0.075)"."""
    if figure is None or not math.isfinite(figure.value):
        return w.NONE
    text = value(figure, wanted)
    if extreme(figure):
        return f"{text} ({'≤' if figure.value == 0 else '≥'}\u00a0{limit(figure.value, trials)})"
    if not math.isfinite(figure.error) or figure.error == 0:
        return text
    return f"{text} ±\u00a0{_error(_scaled(figure)[1], _digits(figure, wanted))}"


def signed(difference: Difference) -> str:
    """A difference with its sign and error; a difference of shares is in percentage points."""
    shown, size, unit = _scaled(difference)
    digits = _digits(difference)
    text = w.number(shown, digits)
    plus = "+" if shown > 0 and text.strip("0.,") else ""
    tail = f" ±\u00a0{_error(size, digits)}" if math.isfinite(size) and size > 0 else ""
    return f"{plus}{text}{tail}{' points' if unit == '%' else f' {unit}' if unit else ''}"


def error_of(size: float, percent: bool) -> str:
    """A bare error; in percentage points where `percent`."""
    size = 100 * size if percent else size
    if not math.isfinite(size):
        return w.NONE
    return w.number(size, places(size)) if size > 0 else "0"


def percent_of(count: int, trials: int) -> str:
    """A share of the trials in percent, without the sign, to one decimal from 200 trials on; "<1" where
    rounding would claim none."""
    if count in (0, trials):
        return "0" if count == 0 else "100"
    digits = 1 if trials >= 200 else 0
    text = w.number(100 * count / trials, digits)
    if not text.strip("0."):
        return f"<{w.number(10.0**-digits, digits)}"
    return f">{w.number(100 - 10.0**-digits, digits)}" if float(text) == 100 else text


def wilson(p: float, n: float) -> tuple[float, float]:
    """95% interval of a share p of n trials by the score (Wilson, J Am Stat Assoc 1927;22:209-12): it stays
    between 0 and 1, and a share of none or all has one too."""
    z2 = Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(value: float) -> str:
    """A planned share in percent: "2.5%"."""
    return f"{100 * value:.10g}%"
