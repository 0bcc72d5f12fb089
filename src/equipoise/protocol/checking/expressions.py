"""Every expression of a protocol: does it compile, and what may it speak of?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.checking.problem import Problems, error, there_is_no
from equipoise.protocol.criteria import CriteriaError, Thing
from equipoise.protocol.criteria.grammar import Kind
from equipoise.protocol.model import Item, Protocol, Regimen


@dataclass(frozen=True)
class Written:
    """An expression of the protocol: where, its text, what it may speak of, what it must yield."""

    place: str
    text: str
    names: Mapping[str, Item | Thing]
    expect: Kind = "boolean"
    unit: str | None = None


def _strata_things(protocol: Protocol) -> dict[str, Thing]:
    return {
        name: Thing(stratum.label, "category", categories=tuple(stratum.levels))
        for name, stratum in protocol.strata.items()
        if stratum.levels is not None
    }


def vocabulary(protocol: Protocol, regimen: Regimen | None = None) -> dict[str, Item | Thing]:
    """What conditions may speak of: the items, the strata by name and, in the rules of a goal, `baseline`."""
    names: dict[str, Item | Thing] = {**protocol.items, **_strata_things(protocol)}
    if regimen is not None and regimen.goal is not None and regimen.goal.measure in protocol.items:
        measure = protocol.items[regimen.goal.measure]
        names["baseline"] = Thing(f"{measure.label} at baseline", unit=measure.unit)
    return names


def written_expressions(protocol: Protocol) -> Iterator[Written]:
    """Every expression of the protocol."""
    items = protocol.items
    for name, item in items.items():
        if item.derive is not None:
            unit = item.unit if item.type == "number" else None
            yield Written(f"items.{name}.derive", item.derive, items, item.type, unit)
    for name, stratum in protocol.strata.items():
        for level, text in (stratum.levels or {}).items():
            yield Written(f"strata.{name}.levels.{level}", text, items)
    for index, criterion in enumerate(protocol.eligibility.criteria):
        kind = "require" if criterion.require is not None else "exclude"
        text = criterion.require or criterion.exclude or ""
        yield Written(f"eligibility.criteria[{index}].{kind}", text, items)
    for name, regimen in protocol.regimens.items():
        for index, hold in enumerate(regimen.hold_while):
            yield Written(f"regimens.{name}.hold_while[{index}].when", hold.when, items)
        for index, rule in enumerate(regimen.goal.rules if regimen.goal else ()):
            if rule.when is not None:
                place = f"regimens.{name}.goal.rules[{index}].when"
                yield Written(place, rule.when, vocabulary(protocol, regimen))
    for index, subgroup in enumerate(protocol.analysis.subgroups):
        for level, text in subgroup.levels.items():
            place = f"analysis.subgroups[{index}].levels.{level}"
            yield Written(place, text, vocabulary(protocol))


def expression_problems(protocol: Protocol) -> Problems:
    """Expressions that do not compile, and names of items that are not there."""
    for written in written_expressions(protocol):
        faults = criteria.check(written.text, written.names, written.expect, written.unit)
        for fault in faults:
            yield error(written.place, f'{fault.message} (character {fault.at + 1} of "{written.text}")')
    for name, regimen in protocol.regimens.items():
        if regimen.goal is not None and regimen.goal.measure not in protocol.items:
            yield error(
                f"regimens.{name}.goal.measure", there_is_no("item", regimen.goal.measure, protocol.items)
            )
    for name, stratum in protocol.strata.items():
        if stratum.item is not None and stratum.item not in protocol.items:
            yield error(f"strata.{name}.item", there_is_no("item", stratum.item, protocol.items))
        elif stratum.item is not None and protocol.items[stratum.item].type != "category":
            yield error(f"strata.{name}.item", f'"{stratum.item}" is not a category, so it has no levels')
    try:
        criteria.derivations(protocol.items)
    except CriteriaError:
        return  # reported above, with its place
    except UserError as circle:
        yield error("items", str(circle))


def names_in(text: str) -> tuple[str, ...]:
    """The names that an expression speaks of; none where it cannot be read."""
    try:
        return criteria.parse(text).names
    except CriteriaError:
        return ()
