"""What people type, turned into what is stored: numbers with their qualifier and unit, yes and no, coded
answers, reasons why there is no value, dates whole and in part.

The text is kept as it was reported. A number is also given in the unit of its item, worked out in decimal
arithmetic; where the laboratory's unit is the item's, it is exactly the number that was written. What cannot
be read in one way only is refused, in words that say what to type instead.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from equipoise.protocol import units
from equipoise.protocol.model import Item

MISSING_KEYS: Final = {
    "d": "not done",
    "u": "unknown",
    "a": "not applicable",
    "r": "refused",
    "w": "awaited",
}
"""One key each: why there is no value."""
MISSING_WORDS: Final = (*MISSING_KEYS.values(), "not asked")
_MISSING_CODES: Final = {
    "nd": "not done", "unk": "unknown", "un": "unknown", "na": "not applicable", "n/a": "not applicable",
    "ref": "refused", "aw": "awaited", **{word: word for word in MISSING_WORDS},
}  # fmt: skip
_YES: Final = frozenset({"yes", "y", "1", "true"})
_NO: Final = frozenset({"no", "n", "0", "2", "false"})

USUAL_UNITS: Final = (
    "cells/mm3", "cells/uL", "10^9/L", "10^6/L", "copies/mL", "g/dL", "g/L", "mg/dL", "mg/L",
    "ug/L", "ng/mL", "mmol/L", "umol/L", "U/L", "mmHg", "kPa", "kg", "g", "m", "cm", "degC", "%", "days",
    "weeks", "months", "years", "hours", "mL/min", "L/min",
)  # fmt: skip
"""Units in which laboratories and clinics report; those that measure the same are offered for an item."""

_NUMBER = re.compile(
    r"(?P<qualifier>[<>]?)\s*(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)"
)
_LONGEST_NUMBER = 40


class EntryError(ValueError):
    """What was typed cannot be stored; the words say what to type instead."""


@dataclass(frozen=True)
class Entered:
    """What is stored of one answer: the text as reported, or why there is none. `number` is in the unit of
    the item (1 and 0 for yes and no); an answer with neither text nor `missing` clears the item."""

    text: str = ""
    unit: str = ""
    qualifier: str = ""
    number: float | None = None
    missing: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nothing was entered."""
        return not self.text and not self.missing


# --- answers ----------------------------------------------------------------------------------------------


def read(item: Item, text: str, unit: str = "", missing: str = "") -> Entered:
    """What an answer to an item means. Raises EntryError in words."""
    text, unit, missing = text.strip(), unit.strip(), missing.strip()
    if missing:
        if missing not in MISSING_WORDS:
            raise EntryError(f"why there is no value is one of: {', '.join(MISSING_WORDS)}")
        if text:
            raise EntryError(f'there is a value ("{text}") and a reason why there is none ("{missing}")')
        return Entered(missing=missing)
    if not text:
        return Entered()
    if item.type == "category":
        return _category(item, text)
    word = _MISSING_CODES.get(text.casefold())
    if word is not None:
        return Entered(missing=word)
    return _yes_or_no(text) if item.type == "boolean" else _number(item, text, unit)


def _category(item: Item, text: str) -> Entered:
    by_word = {category.casefold(): category for category in item.categories or ()}
    known = by_word.get(text.casefold())
    if known is None and re.fullmatch(r"[0-9]{1,3}", text) and 1 <= int(text) <= len(by_word):
        known = (item.categories or [])[int(text) - 1]
    if known is not None:
        return Entered(known)
    word = _MISSING_CODES.get(text.casefold())
    if word is not None:
        return Entered(missing=word)
    if not by_word:
        return Entered(text)
    raise EntryError(f'"{text}" is not one of: {", ".join(item.categories or ())}')


def _yes_or_no(text: str) -> Entered:
    said = text.casefold()
    if said in _YES:
        return Entered("yes", number=1.0)
    if said in _NO:
        return Entered("no", number=0.0)
    raise EntryError(f'answer yes or no, not "{text}"')


def _number(item: Item, text: str, unit: str) -> Entered:
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if match is None:
        raise EntryError(_why_no_number(text, item))
    reported = unit or item.unit
    written = Decimal(match["number"])
    number = in_unit(written, reported, item.unit)
    return Entered(text, reported, match["qualifier"], number)


def in_unit(written: Decimal, reported: str, wanted: str) -> float:
    """A reported number in another unit, in decimal arithmetic. Raises EntryError when the units measure
    different things, or the number is too large."""
    try:
        converted = _converted(written, reported, wanted)
        number = float(converted)
    except units.UnitError:
        raise EntryError(
            f'"{reported}" cannot be turned into {wanted or "a number without unit"}; '
            f"give it in {' or '.join(accepted_units(wanted)) or 'no unit'}"
        ) from None
    except (InvalidOperation, OverflowError):
        number = math.inf
    if not math.isfinite(number):
        raise EntryError("the number is too large")
    return number


def _converted(written: Decimal, reported: str, wanted: str) -> Decimal:
    ratio = units.factor(reported, wanted)
    if ratio == 1:
        return written
    if ratio > 1:
        return written * Decimal(repr(ratio))
    return written / Decimal(repr(units.factor(wanted, reported)))


def _why_no_number(text: str, item: Item) -> str:
    shown = text if len(text) <= _LONGEST_NUMBER else text[:_LONGEST_NUMBER] + "..."
    if re.fullmatch(r"[<>]?\s*[+-]?[0-9]+,[0-9]+", text):
        whole, decimals = text.split(",")
        either = f" or, if thousands are meant, {whole}{decimals}" if len(decimals) == 3 else ""
        return f'"{shown}": write the decimals after a point: {whole}.{decimals}{either}'
    if re.fullmatch(r"[<>]?\s*[0-9]{1,3}(?:[ ,'_][0-9]{3})+(?:\.[0-9]+)?", text):
        plain = re.sub(r"[ ,_']", "", text)
        return f'"{shown}": write thousands without a sign between: {plain}'
    if re.match(r"[<>]=|[≤≥]", text):
        return f'"{shown}": a value at the limit of the assay is written <50 or >50'
    if len(text) > _LONGEST_NUMBER:
        return f'"{shown}" is too long for a number'
    if _NUMBER.match(text):
        return f'"{shown}": only the number stands here; the unit has its own place'
    return f'expected a number such as {_example(item)}, not "{shown}"'


def _example(item: Item) -> str:
    if item.range is None:
        return "4.5"
    return f"{(item.range[0] + item.range[1]) / 10:g}"


def accepted_units(unit: str) -> tuple[str, ...]:
    """The units in which an item may be reported, its own first; others that measure the same are accepted
    too when they are typed."""
    if not unit:
        return ()
    others = [one for one in USUAL_UNITS if one != unit and units.same_dimension(one, unit)]
    return (unit, *others)


def read_whole(text: str) -> int | None:
    """The whole number that a text is: digits 0 to 9 alone, and no more than six of them, so that it can be
    stored and reckoned with. None for anything else, other digits, superscripts and signs among it."""
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else None


# --- dates ------------------------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
)  # fmt: skip
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2199
_NOT_KNOWN = frozenset({"un", "unk"})
FORMAT_WORDS = "write a date as 3 may 2003, 03052003 or 2003-05-03; t is today, -1 yesterday"


def _month(word: str) -> int | None:
    said = word.casefold().rstrip(".")
    if said in _MONTHS:
        return _MONTHS.index(said) + 1
    return _LONG_MONTHS.index(said) + 1 if said in _LONG_MONTHS else None


def read_date(text: str, today: date) -> date:
    """The date that was typed: "3 may 2003", "03052003", "2003-05-03", "t" (today), "-1" (yesterday). Raises
    EntryError for what could be read in two ways ("3/5/03") and for days that do not exist."""
    said = text.strip()
    if said.casefold() in ("t", "today"):
        return today
    if re.fullmatch(r"[+-][0-9]{1,4}", said):
        return today + timedelta(days=int(said))
    if match := re.fullmatch(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", said):
        return _day(int(match[1]), int(match[2]), int(match[3]), said)
    if match := re.fullmatch(r"([0-9]{2})([0-9]{2})([0-9]{4})", said):
        return _day(int(match[3]), int(match[2]), int(match[1]), said)
    if match := re.fullmatch(r"([0-9]{1,2})[ -]?([A-Za-z]+\.?)[ -]?([0-9]{4})", said):
        month = _month(match[2])
        if month is None:
            raise EntryError(f'"{match[2]}" is not a month; {FORMAT_WORDS}')
        return _day(int(match[3]), month, int(match[1]), said)
    if re.fullmatch(r"[0-9]{1,4}[/. -][0-9]{1,2}[/. -][0-9]{1,4}", said):
        raise EntryError(f'"{said}": is the day or the month first? {FORMAT_WORDS}')
    raise EntryError(f'"{said}" is not a date; {FORMAT_WORDS}')


def is_possible(day: date) -> bool:
    """Whether a date, or a moment, lies in years in which something can happen: far enough from the ends of
    the calendar that days may be added and time zones changed."""
    return FIRST_YEAR <= day.year <= LAST_YEAR


def _day(year: int, month: int, day: int, said: str) -> date:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise EntryError(f'"{said}": the year {year} cannot be')
    try:
        return date(year, month, day)
    except ValueError:
        raise EntryError(f'"{said}": there is no such day') from None


def read_partial_date(text: str, today: date) -> str:
    """A date as precisely as it is known: "2003-05-03", "2003-05", "2003"; parts that are not known may be
    typed as UN or UNK ("UN may 2003", "UN UNK 2003"). Never filled in."""
    said = text.strip()
    if re.fullmatch(r"[0-9]{4}", said):
        return _partial(int(said), None, said)
    if match := re.fullmatch(r"([0-9]{4})-([0-9]{2})", said):
        return _partial(int(match[1]), int(match[2]), said)
    words = re.split(r"[ -]+", said)
    if words[0].casefold() in _NOT_KNOWN and len(words) > 1:
        words = words[1:]
        if words[0].casefold() in _NOT_KNOWN and len(words) > 1:
            words = words[1:]
        if len(words) == 1 and re.fullmatch(r"[0-9]{4}", words[0]):
            return _partial(int(words[0]), None, said)
    if len(words) == 2 and re.fullmatch(r"[0-9]{4}", words[1]):
        month = _month(words[0])
        if month is None:
            raise EntryError(f'"{words[0]}" is not a month; {FORMAT_WORDS}; or may 2003, or 2003')
        return _partial(int(words[1]), month, said)
    return read_date(said, today).isoformat()


def _partial(year: int, month: int | None, said: str) -> str:
    first = _day(year, month or 1, 1, said)
    return f"{first:%Y}" if month is None else f"{first:%Y-%m}"


def earliest(partial: str) -> date:
    """The first day that a date known in part can mean. Raises EntryError when there is no such day."""
    year, month, day = [*(int(part) for part in partial.split("-")), 1, 1][:3]
    return _day(year, month, day, partial)


def latest(partial: str) -> date:
    """The last day that a date known in part can mean. Raises EntryError when there is no such day."""
    parts = [int(part) for part in partial.split("-")]
    if len(parts) == 3:
        return _day(parts[0], parts[1], parts[2], partial)
    year, month = parts[0], parts[1] if len(parts) == 2 else 12
    _day(year, month, 1, partial)
    after = date(year + 1, 1, 1) if month == 12 else date(year, month + 1, 1)
    return after - timedelta(days=1)


# --- dates in words ---------------------------------------------------------------------------------------


def said(day: date) -> str:
    """A date with its weekday: "Wednesday 3 September 2003"."""
    return f"{day:%A} {full(day)}"


@lru_cache(maxsize=8192)
def full(day: date) -> str:
    """A date: "3 September 2003"."""
    return f"{day.day} {day:%B} {day.year}"


@lru_cache(maxsize=8192)
def short(day: date) -> str:
    """A date in a line of words: "3 Sep 2003"."""
    return f"{day.day} {day:%b} {day.year}"


def as_known(partial: str) -> str:
    """A date as precisely as it is known: "3 September 2003", "September 2003", "2003"; what is no date as it
    stands."""
    try:
        numbers = [int(part) for part in partial.split("-")]
        if len(numbers) == 3:
            return full(date(*numbers))
        return partial if len(numbers) != 2 else f"{date(numbers[0], numbers[1], 1):%B %Y}"
    except ValueError:
        return partial
