"""Dose steps that cannot be reached, units that do not fit."""

from __future__ import annotations

import math

from equipoise.protocol import units
from equipoise.protocol.checking.problem import Problems, error, warning
from equipoise.protocol.model import Protocol, Regimen
from equipoise.protocol.quantities import Quantity, number_text


def amount_in(amount: Quantity | None, unit: str) -> float | None:
    """The amount in `unit`; None when there is none or the units do not agree."""
    if amount is None:
        return None
    if amount.unit in ("", unit):
        return amount.value
    if not units.same_dimension(amount.unit, unit):
        return None
    return float(f"{units.convert(amount.value, amount.unit, unit):.12g}")


def _unit(place: str, amount: Quantity, unit: str, of: str) -> Problems:
    if amount_in(amount, unit) is None:
        yield error(place, f'"{amount}" is in the wrong unit: {of} is in {unit or "a pure number"}')


def dose_problems(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
    """Units, limits and steps of the doses of one regimen, and the units of its goal."""
    place = f"regimens.{name}"
    assert regimen.cycle is not None
    assert regimen.floor is not None
    assert regimen.ceiling is not None
    unit, start = regimen.cycle.dose.unit, regimen.cycle.dose.value
    named: list[tuple[str, Quantity]] = [("floor", regimen.floor), ("ceiling", regimen.ceiling)]
    raised = regimen.escalation.to if regimen.escalation else []
    lowered = regimen.toxicity.to if regimen.toxicity else []
    named += [(f"escalation.to[{i}]", dose) for i, dose in enumerate(raised)]
    named += [(f"toxicity.to[{i}]", dose) for i, dose in enumerate(lowered)]
    wrong = [
        problem for field, dose in named for problem in _unit(f"{place}.{field}", dose, unit, "the dose")
    ]
    yield from wrong
    if not wrong:
        floor, ceiling = amount_in(regimen.floor, unit), amount_in(regimen.ceiling, unit)
        assert floor is not None
        assert ceiling is not None
        if floor > ceiling:
            yield error(
                f"{place}.floor", f"the floor {regimen.floor} lies above the ceiling {regimen.ceiling}"
            )
        elif not floor <= start <= ceiling:
            yield error(
                f"{place}.cycle.dose",
                f"the dose {regimen.cycle.dose} lies outside the floor {regimen.floor} "
                f"and the ceiling {regimen.ceiling}",
            )
        else:
            yield from _raises(place, regimen, unit, start, ceiling)
            yield from _reductions(place, regimen, unit, start, floor, ceiling)
    measure = protocol.items.get(regimen.goal.measure) if regimen.goal else None
    if measure is not None and regimen.goal is not None:
        of = f"the measure {regimen.goal.measure}"
        if measure.type != "number":
            yield error(f"{place}.goal.measure", f'"{regimen.goal.measure}" is not a number')
        for index, rule in enumerate(regimen.goal.rules):
            for field, amount in (("rise", rule.rise), ("value", rule.value)):
                if amount is not None:
                    yield from _unit(f"{place}.goal.rules[{index}].{field}", amount, measure.unit, of)
            if rule.rise is not None and rule.rise.value <= 0:
                yield error(f"{place}.goal.rules[{index}].rise", "a rise must be above zero")
        for part in ("escalation", "stop_for_non_response"):
            response = getattr(getattr(regimen, part), "response", None)
            if response is not None:
                yield from _unit(f"{place}.{part}.response.rise", response.rise, measure.unit, of)
                if response.rise.value <= 0:
                    yield error(f"{place}.{part}.response.rise", "a rise must be above zero")


def _raises(place: str, regimen: Regimen, unit: str, start: float, ceiling: float) -> Problems:
    if regimen.escalation is None:
        if ceiling > start:
            yield warning(
                f"{place}.ceiling",
                f"no rule leads above the starting dose {regimen.cycle and regimen.cycle.dose}",
            )
        return
    previous = start
    reachable: list[float] = [start]
    for index, step in enumerate(regimen.escalation.to):
        field, dose = f"{place}.escalation.to[{index}]", amount_in(step, unit)
        assert dose is not None
        if dose > ceiling:
            yield error(field, f"the step {step} can never be reached: the ceiling is {regimen.ceiling}")
        elif dose <= start:
            yield error(field, f"the step {step} is not above the starting dose, so it is never reached")
        elif dose <= previous:
            yield error(field, f"the steps must rise: {step} comes after {number_text(previous)} {unit}")
        else:
            reachable.append(dose)
        previous = max(previous, dose)
    if reachable[-1] < ceiling:
        yield warning(
            f"{place}.ceiling", f"no step leads above {number_text(reachable[-1])} {unit} to the ceiling"
        )
    most = most_cycles(regimen)
    needed = regimen.escalation.after
    for index, step in enumerate(regimen.escalation.to):
        if most is not None and needed >= most:
            yield error(
                f"{place}.escalation.to[{index}]",
                f"the step {step} can never be reached: it takes {needed} cycles before it, "
                f"and at most {most} are given",
            )
        needed += regimen.escalation.again_after


def most_cycles(regimen: Regimen) -> int | None:
    """The most cycles that a participant can have; None when there is no limit."""
    limits = [] if regimen.maximum_cycles is None else [regimen.maximum_cycles]
    if regimen.maintenance is None and regimen.induction is not None:
        limits.append(regimen.induction.cycles)
    return min(limits, default=None)


def _reductions(
    place: str, regimen: Regimen, unit: str, start: float, floor: float, ceiling: float
) -> Problems:
    toxicity = regimen.toxicity
    if toxicity is None:
        if floor < start:
            yield warning(f"{place}.floor", "no rule leads below the starting dose")
        return
    steps = [start, *(regimen.escalation.to if regimen.escalation else ())]
    ladder = {value for value in (s if isinstance(s, float) else amount_in(s, unit) for s in steps) if value}
    highest = max(value for value in ladder if value <= ceiling)
    previous = math.inf
    for index, step in enumerate(toxicity.to):
        field, dose = f"{place}.toxicity.to[{index}]", amount_in(step, unit)
        assert dose is not None
        if dose < floor:
            yield error(field, f"the step {step} can never be given: the floor is {regimen.floor}")
        elif dose >= highest:
            yield error(
                field,
                f"the step {step} is never reached by a reduction: no dose above it is ever given",
            )
        elif dose >= previous:
            yield error(field, f"the steps of a reduction must fall: {step} comes after a lower one")
        elif dose in ladder:
            yield warning(field, f"{step} is a step anyway; it need not be named")
        previous = min(previous, dose)
    if toxicity.stop_from_grade <= toxicity.reduce_from_grade:
        yield error(
            f"{place}.toxicity.reduce_from_grade",
            f"no dose is ever reduced: cycles stop from grade {toxicity.stop_from_grade} on",
        )
    lowest = min([*ladder, *(d for d in (amount_in(s, unit) for s in toxicity.to) if d is not None)])
    if lowest > floor:
        yield warning(
            f"{place}.floor", f"no step leads below {number_text(lowest)} {unit} to the floor {regimen.floor}"
        )
