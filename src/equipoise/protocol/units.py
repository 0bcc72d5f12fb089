"""Units of measurement as trials write them: cells/mm3, copies/mL, g/dL, MIU, x ULN, 10^9/L, %, kg/m2,
months.

Known units are defined here, with their size; pint does the arithmetic. Things that are counted (cells,
copies, international units, multiples of the upper limit of normal) are dimensions of their own, so that
cells/mm3 and copies/mL never mix. A word that is not known is a unit of its own too, so that any trial can
be written down; it only compares with itself. A power of ten over a volume (10^9/L, 1/mm3) counts cells, as
laboratories mean it.

Times follow `quantities`: a week is 7 days, a month 30.4375 days, a year 365.25 days.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from equipoise.protocol.quantities import DAYS_PER

if TYPE_CHECKING:
    import pint

_DEFINITIONS = (
    "pico- = 1e-12 = p-", "nano- = 1e-9 = n-", "micro- = 1e-6 = u-", "milli- = 1e-3 = m-",
    "centi- = 1e-2 = c-", "deci- = 1e-1 = d-", "kilo- = 1e3 = k-", "mega- = 1e6 = M-",
    "gram = [mass] = g", "meter = [length] = m", "day = [time] = d = days", "mole = [substance] = mol",
    "mmHg = [pressure]", "pascal = mmHg / 133.322387415 = Pa", "degC = [temperature]",
    "calorie = [energy] = cal",
    "joule = calorie / 4.184 = J",
    "cell = [cell] = _ = cells", "copy = [copy] = _ = copies", "IU = [international_unit]",
    "U = [enzyme_unit]",
    "equivalent = [equivalent] = Eq", "osmole = [osmole] = Osm",
    "ULN = [upper_limit_of_normal]", "LLN = [lower_limit_of_normal]",
    "liter = 1e-3 * meter ** 3 = L = l",
    f"week = {DAYS_PER['week']} * day = _ = weeks", f"month = {DAYS_PER['month']} * day = _ = months",
    f"year = {DAYS_PER['year']} * day = _ = years", "hour = day / 24 = h = hours",
    "minute = hour / 60 = min = minutes", "second = minute / 60 = s = seconds",
    "percent = 0.01 = _ = pct",
)  # fmt: skip
"""Prefixes, dimensions and sizes, in pint's notation; every unit takes the prefixes (MIU, mEq, dL, umol)."""

_SPELLING = str.maketrans(
    {"µ": "u", "μ": "u", "×": "x", "·": "*", "²": "2", "³": "3", "⁶": "^6", "⁹": "^9", "¹": "1", "⁰": "0"}
)
_ATOM = re.compile(
    r"10(?:\^|\*\*)(?P<tens>-?[0-9]{1,2})"
    r"|(?P<number>(?=[0-9.]*[1-9])[0-9]{1,12}(?:\.[0-9]{1,12})?)"
    r"|(?P<word>[^\W\d_]\w*?)(?:(?:\^|\*\*)(?P<power>-?[1-9])|(?P<digit>[0-9]))?"
)
_TIMES = re.compile(r"\*(?!\*)(?<!\*\*)|\s+")
_CELLS = re.compile(r"(?:x ?)?(?P<power>10(?:\^|\*\*)[0-9]{1,2}|1)? ?/ ?(?P<volume>[a-z]?m\^?3|[a-z]?[lL])")


class UnitError(ValueError):
    """Two units cannot be turned into each other, or a unit cannot be read."""


def convert(value: float, from_unit: str, to_unit: str) -> float:
    """The number that expresses `value` `from_unit` in `to_unit`. Raises `UnitError` if the units do not
    agree.
    """
    ratio = factor(from_unit, to_unit)
    return value * ratio if ratio >= 1 else value / factor(to_unit, from_unit)


@cache
def same_dimension(a: str, b: str) -> bool:
    """Whether quantities in these units can be compared."""
    try:
        factor(a, b)
    except UnitError:
        return False
    return True


def factor(from_unit: str, to_unit: str) -> float:
    """What one `from_unit` is in `to_unit`. Raises `UnitError` if they cannot be compared."""
    if _tidy(from_unit) == _tidy(to_unit):
        return 1.0
    return _factor(from_unit, to_unit)


@cache
def _factor(from_unit: str, to_unit: str) -> float:
    quantity = _registry().Quantity
    ratio = quantity(_expression(from_unit)) / quantity(_expression(to_unit))
    if not ratio.dimensionless:
        raise UnitError(f"{_shown(from_unit)} cannot be compared with {_shown(to_unit)}")
    return float(f"{ratio.to_base_units().magnitude:.15g}")


def strange_words(unit: str) -> list[str]:
    """The words of a unit that are not known here, and so stand for a unit of their own."""
    parts = _parts(unit)
    if parts is None:
        return [_tidy(unit)]
    return [word for _, word, _, _ in parts if word and not _is_known(word)]


def product(a: str, b: str) -> str:
    """The unit of a product."""
    return _joined(_split(a)[0] + _split(b)[0], _split(a)[1] + _split(b)[1])


def quotient(a: str, b: str) -> str:
    """The unit of a quotient; "" (a pure number) if the units are the same."""
    return _joined(_split(a)[0] + _split(b)[1], _split(a)[1] + _split(b)[0])


def _split(unit: str) -> tuple[list[str], list[str]]:
    head, *below = _tidy(unit).split("/")
    return [head] * (head not in ("", "1")), below


def _joined(above: list[str], below: list[str]) -> str:
    for word in list(above):
        if word in below:
            above.remove(word)
            below.remove(word)
    return "/".join(["*".join(above) or ("1" if below else ""), *below])


def _shown(unit: str) -> str:
    return f'"{unit}"' if unit else "a pure number"


def _tidy(unit: str) -> str:
    """One spelling for one unit, still readable."""
    text = " ".join(unit.translate(_SPELLING).split()).replace("%", "percent").replace("°", "deg")
    text = re.sub(r"\s*/\s*|\s+per\s+", "/", text)
    text = re.sub(r"(?<![\w^*.])([0-9]+(?:\.[0-9]+)?)(?=[A-Za-z])", r"\1 ", text)
    return re.sub(r"^x ?(?=10[\^*]|[UL]LN\b)", "", text)


def _parts(unit: str) -> list[tuple[float, str, int, int]] | None:
    """Factors as (number, word, power, +1 above or -1 below the line); None if the text is not built of
    factors.
    """
    text = _tidy(unit)
    if match := _CELLS.fullmatch(text):
        text = f"{match['power'] or '1'} cell/{match['volume']}"
    if text.startswith("log"):
        return None
    parts: list[tuple[float, str, int, int]] = []
    for index, group in enumerate(text.split("/")):
        for piece in _TIMES.split(group):
            if not piece:
                continue
            match = _ATOM.fullmatch(piece)
            if match is None:
                return None
            side = 1 if index == 0 else -1
            if match["word"] is None:
                parts.append((float(match["number"] or f"1e{match['tens']}"), "", 1, side))
            else:
                word, power, digit = match["word"], match["power"], match["digit"]
                if digit and re.fullmatch("[a-z]?m[23]", word + digit):
                    power = digit
                elif digit:
                    word += digit
                parts.append((1.0, word, int(power or 1), side))
    return parts


@cache
def _expression(unit: str) -> str:
    """The unit in pint's notation; words that are not known are entered as units of their own."""
    parts = _parts(unit)
    if parts is None:
        return _own(_tidy(unit))
    text = "1"
    for number, word, power, side in parts:
        text += " * " if side == 1 else " / "
        text += f"{number!r}" if not word else f"({word if _is_known(word) else _own(word)}) ** {power}"
    return text


def _is_known(word: str) -> bool:
    if not (word.isascii() and word.isidentifier()):
        return False
    try:
        return word in _registry()
    except ValueError:  # a word that reads as a number: NaN, in whatever case
        return False


def _own(word: str) -> str:
    name = "own_" + word.encode().hex() + "_"
    registry = _registry()
    if not _is_known(name):
        registry.define(f"{name} = [{name}]")
    return name


@cache
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.UnitRegistry(None)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry
