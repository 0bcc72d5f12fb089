"""The goal of one participant: what the measure must reach, from the rules of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.criteria import Expression, Thing, Value
from equipoise.protocol.model import Item, Protocol
from equipoise.rules.from_protocol import amount_in, cyclic_regimen
from equipoise.rules.values import stratum_levels


class GoalCase(NamedTuple):
    """One rule: where `when` holds (None: always), the goal is multiple x baseline + offset, in the unit of
    the measure."""

    when: Expression | None
    multiple: float
    offset: float


def vocabulary(protocol: Protocol, regimen: str) -> dict[str, Item | Thing]:
    """What the conditions of goal rules may speak of: items, strata by name, and `baseline` (of the
    measure)."""
    goal = cyclic_regimen(protocol, regimen).goal
    names: dict[str, Item | Thing] = dict(protocol.items)
    for name, stratum in protocol.strata.items():
        if stratum.levels is not None:
            names[name] = Thing(stratum.label, "category", categories=tuple(stratum.levels))
    if goal is not None:
        measure = protocol.items[goal.measure]
        names["baseline"] = Thing(f"{measure.label} at baseline", unit=measure.unit)
    return names


def goal_cases(protocol: Protocol, regimen: str) -> list[GoalCase]:
    """The goal rules of a regimen, compiled, in their order; the first that holds applies.

    Raises UserError when the regimen has no goal, and CriteriaError for a condition that does not compile.
    """
    goal = cyclic_regimen(protocol, regimen).goal
    if goal is None:
        raise UserError(f'regimen "{regimen}" has no goal')
    unit = protocol.items[goal.measure].unit
    names = vocabulary(protocol, regimen)
    cases = []
    for rule in goal.rules:
        when = None if rule.when is None else criteria.compile(rule.when, names)
        if rule.rise is not None:
            rise = amount_in(rule.rise, unit)
            cases.append(GoalCase(when, 1.0, rise if goal.direction == "up" else -rise))
        elif rule.multiple is not None:
            cases.append(GoalCase(when, rule.multiple, 0.0))
        elif rule.value is not None:
            cases.append(GoalCase(when, 0.0, amount_in(rule.value, unit)))
    return cases


def goal_value(protocol: Protocol, regimen: str, values: Mapping[str, Value]) -> float | None:
    """The goal of one participant, in the unit of the measure; None when it is not known or no rule applies.

    `values`: the participant's values at baseline, items and (if known already) strata by name. `baseline` is
    the measure's value at baseline unless given. A rule whose condition is unknown leaves the goal unknown,
    for it may be the one that applies.
    """
    goal = cyclic_regimen(protocol, regimen).goal
    measure = "" if goal is None else goal.measure
    known: dict[str, Value] = {**stratum_levels(protocol, values), **values}
    known.setdefault("baseline", values.get(measure))
    for case in goal_cases(protocol, regimen):
        holds = True if case.when is None else criteria.evaluate(case.when, known)
        if holds is None:
            return None
        if holds:
            return _goal(case, known["baseline"])
    return None


def _goal(case: GoalCase, baseline: Value) -> float | None:
    if case.multiple == 0.0:
        return case.offset
    if baseline is None or isinstance(baseline, str) or baseline != baseline:
        return None
    return case.multiple * baseline + case.offset
