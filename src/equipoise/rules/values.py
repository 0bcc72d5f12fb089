"""A person's values on the day of a question: what is too old is unknown, what is derived is derived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from equipoise.protocol import criteria
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Item, Protocol
from equipoise.protocol.quantities import days

Ages = Mapping[str, int]
"""Days since each item was measured, 0 today."""


class CurrentValues(NamedTuple):
    """`values` that may be used; `expired`: the items whose value was too old, dated in the future, or
    undated although its age matters."""

    values: dict[str, Value]
    expired: tuple[str, ...]


def is_valid(item: Item, age: int | None) -> bool:
    """Whether a value of that age, in days, still counts: exactly `valid_for` days old does; an age below 0
    (a date in the future) never does; an unknown age does only if the item never expires."""
    if age is not None and age < 0:
        return False
    if item.valid_for is None:
        return True
    return age is not None and age <= days(item.valid_for)


def current(items: Mapping[str, Item], given: Mapping[str, Value], ages_days: Ages) -> CurrentValues:
    """The values that count today, derived items added.

    `given`: values in the items' units, None unknown. An expired value is unknown, and with it every derived
    item that is computed from it.
    """
    values: dict[str, Value] = {}
    expired: list[str] = []
    for name, value in given.items():
        if value is not None and name in items and not is_valid(items[name], ages_days.get(name)):
            expired.append(name)
            values[name] = None
        else:
            values[name] = value
    for name, expression in criteria.derivations(items).items():
        if any(part in expired for part in expression.names):
            values[name] = None
            expired.append(name)
    complete = criteria.derive(values, items)
    return CurrentValues(complete, tuple(expired))


def stratum_levels(protocol: Protocol, values: Mapping[str, Value]) -> dict[str, str | None]:
    """The level of every stratification factor: the first level whose condition holds.

    None when an earlier level's condition is unknown, when none holds, or when the item is not known: nobody
    is randomised on an unknown stratum.
    """
    levels: dict[str, str | None] = {}
    for name, stratum in protocol.strata.items():
        levels[name] = None
        if stratum.item is not None:
            levels[name] = _level(values.get(stratum.item))
            continue
        for level, condition in (stratum.levels or {}).items():
            holds = criteria.evaluate(criteria.compile(condition, protocol.items), values)
            if holds is None:
                break
            if holds:
                levels[name] = level
                break
    return levels


def _level(value: Value) -> str | None:
    """The value of an item as the name of a level: yes and no in words, numbers as written, None unknown."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"
