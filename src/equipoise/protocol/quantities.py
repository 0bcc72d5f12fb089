"""Quantities as a protocol writes them: "4.5 MIU", "8 weeks", "50 cells/mm3", "week 9", "6 cycles".

A quantity keeps the number and the unit that the author wrote. Times are turned into whole days by one
convention, stated here and nowhere else:

* a week is 7 days, a month 30.4375 days, a year 365.25 days, and the result is rounded to the nearest day
  (half away from zero);
* "week w" names a visit and counts from 1, so that week 1 is day 0 (randomisation) and week 9 is day 56;
* "month m" and "day d" count from 0, so that month 4 is day 122 and day 0 is the day of randomisation.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DAYS_PER = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}
DAYS_PER_MONTH = DAYS_PER["month"]
DAYS_PER_YEAR = DAYS_PER["year"]

_NUMBER = r"[+-]?(?:\d+(?:[ _]\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?|[+-]?\.\d+"
_QUANTITY = re.compile(rf"^\s*(?P<value>{_NUMBER})\s*(?P<unit>\S(?:.*\S)?)?\s*$")
_TIMEPOINT = re.compile(r"^\s*(?P<name>day|week|month|year)\s+(?P<count>[+-]?\d+(?:\.\d+)?)\s*$")


def round_half_away(value: float) -> int:
    """Nearest whole number, halves away from zero (the trialist's rounding, not the banker's)."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def number_text(value: float) -> str:
    """Shortest text that reads back as exactly this number, without a needless ".0"."""
    return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@dataclass(frozen=True)
class Quantity:
    """A number with the unit that the protocol wrote; an empty unit means a pure number."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{number_text(self.value)} {self.unit}".rstrip()


def _named(value: Any) -> str:
    """A value of any kind, as a message shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return f'"{value}"'
    return {type(None): "nothing", list: "a list", dict: "a block"}.get(type(value), repr(value))


def parse_quantity(text: Any) -> Quantity:
    """Read "4.5 MIU" (or a bare number). Raises ValueError with what was expected."""
    if isinstance(text, Quantity):
        return text
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f'expected a quantity such as "4.5 MIU", not {_named(text)}')
    if isinstance(text, int | float):
        if not math.isfinite(text):
            raise ValueError("expected a finite number")
        return Quantity(float(text), "")
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f'expected a number and a unit such as "4.5 MIU", not "{text}"')
    value = float(match["value"].replace(" ", "").replace("_", ""))
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return Quantity(value, (match["unit"] or "").strip())


def _time_unit(unit: str) -> str | None:
    singular = unit[:-1] if unit.endswith("s") else unit
    return singular if singular in DAYS_PER else None


def parse_duration(text: Any) -> Quantity:
    """Read "8 weeks", "4 months", "5 days", "2 years". Raises ValueError otherwise."""
    try:
        quantity = parse_quantity(text)
    except ValueError:
        quantity = None
    if quantity is None or _time_unit(quantity.unit) is None:
        raise ValueError(f'expected a time such as "8 weeks" or "4 months", not {_named(text)}')
    return quantity


def days(duration: Quantity) -> int:
    """Whole days in a duration, by the convention at the top of this module."""
    unit = _time_unit(duration.unit)
    if unit is None:
        raise ValueError(f'"{duration}" is not a time')
    return round_half_away(duration.value * DAYS_PER[unit])


def exact_days(duration: Quantity) -> float:
    """Days in a duration, not rounded: an interval is repeated first and rounded then, so that months do not
    drift. Raises ValueError when it is not a time."""
    unit = _time_unit(duration.unit)
    if unit is None:
        raise ValueError(f'"{duration}" is not a time')
    return duration.value * DAYS_PER[unit]


@dataclass(frozen=True)
class Timepoint:
    """A named day of the trial ("week 9", "month 8", "day 0") or a time after randomisation ("4 months")."""

    name: str
    day: int

    def __str__(self) -> str:
        return self.name

    @property
    def exact(self) -> float:
        """Days after randomisation before rounding (243.5 for "month 8"), from which repeats are counted."""
        match = _TIMEPOINT.match(self.name)
        if match is None:
            return exact_days(parse_duration(self.name))
        offset = 1.0 if match["name"] == "week" else 0.0
        return (float(match["count"]) - offset) * DAYS_PER[match["name"]]


_RATE = re.compile(r"^\s*(?P<value>.*?)\s*(?:/|per)\s*(?P<unit>[a-z]+)\s*$")


def parse_rate(text: Any) -> Quantity:
    """Read a hazard or an accrual rate: "0.024 / year", "20 per month". Raises ValueError otherwise."""
    if isinstance(text, Quantity):
        return text
    match = _RATE.match(text) if isinstance(text, str) else None
    unit = _time_unit(match["unit"]) if match is not None else None
    try:
        value = parse_quantity(match["value"]) if match is not None else None
    except ValueError:
        value = None
    if unit is None or value is None or value.unit or value.value < 0:
        raise ValueError(f'expected a rate such as "0.024 / year" or "20 / month", not {_named(text)}')
    return Quantity(value.value, f"/ {unit}")


def per_day(rate: Quantity) -> float:
    """A rate as so many per day, by the convention at the top of this module."""
    return rate.value / DAYS_PER[rate.unit.removeprefix("/ ")]


def per_100_years(rate: Quantity) -> float:
    """A rate as so many per 100 person-years, as trials report it."""
    return 100 * DAYS_PER_YEAR * per_day(rate)


def parse_timepoint(text: Any) -> Timepoint:
    """Read "week 9" (day 56), "month 8" (day 244), "day 14" or "4 months" (day 122)."""
    if isinstance(text, Timepoint):
        return text
    if isinstance(text, str) and (match := _TIMEPOINT.match(text)):
        count = float(match["count"])
        offset = 1.0 if match["name"] == "week" else 0.0
        return Timepoint(text.strip(), round_half_away((count - offset) * DAYS_PER[match["name"]]))
    try:
        duration = parse_duration(text)
    except ValueError:
        raise ValueError(
            f'expected a time point such as "week 9", "month 8" or "4 months", not {_named(text)}'
        ) from None
    return Timepoint(str(text).strip(), days(duration))


def parse_count(text: Any) -> int:
    """Read "3 cycles" or 3 as the whole number 3."""
    if isinstance(text, bool):
        raise ValueError(f'expected a count such as "3 cycles", not {_named(text)}')
    quantity = parse_quantity(text)
    if quantity.unit not in ("", "cycle", "cycles", "visit", "visits", "participants", "events"):
        raise ValueError(f'expected a count such as "3 cycles", not "{text}"')
    if quantity.value != int(quantity.value) or quantity.value < 0:
        raise ValueError(f'expected a whole number, not "{text}"')
    return int(quantity.value)


def _schema(pattern_words: str, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "number"}],
            "description": pattern_words,
            "examples": [example],
        }
    )


_as_text = PlainSerializer(str, return_type=str)

Amount = Annotated[
    Quantity, BeforeValidator(parse_quantity), _as_text, _schema("a number with its unit", "4.5 MIU")
]
Duration = Annotated[
    Quantity, BeforeValidator(parse_duration), _as_text, _schema("a length of time", "8 weeks")
]
Rate = Annotated[
    Quantity, BeforeValidator(parse_rate), _as_text, _schema("so many per unit of time", "0.024 / year")
]
At = Annotated[Timepoint, BeforeValidator(parse_timepoint), _as_text, _schema("a day of the trial", "week 9")]
Count = Annotated[int, BeforeValidator(parse_count), _schema("a whole number", "3 cycles")]
