"""Finds contradictions in a protocol: what each field allows alone, but the fields together do not.

`problems` lists them all. An error means that the trial cannot be run as written; a warning that something is
odd or has no effect. Where the fault concerns people, the message shows one of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from pydantic import BaseModel

from equipoise.errors import UserError
from equipoise.protocol import criteria, units
from equipoise.protocol.criteria import CriteriaError, Expression, Thing
from equipoise.protocol.criteria.grammar import Kind
from equipoise.protocol.model import Block, GoalRule, Item, Protocol, Regimen, Visit
from equipoise.protocol.quantities import DAYS_PER, Quantity, days, number_text, round_half_away
from equipoise.protocol.reading import near
from equipoise.protocol.witness import Condition, Space, in_words

Severity = Literal["error", "warning"]

ANALYSES = ("disposition", "screening", "baseline", "exposure", "safety", "consort")
"""Parts of the results that are neither an endpoint, nor a measure, nor a subgroup."""

EVENTS_TOLERANCE = 0.15
"""A planned number of events this much below what the stated power needs (relatively) is pointed out."""


@dataclass(frozen=True)
class Problem:
    """Something wrong in a protocol; `place` is the path of the field."""

    severity: Severity
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.message}"


Problems = Iterator[Problem]


def problems(protocol: Protocol) -> list[Problem]:
    """Every contradiction found, errors first, otherwise in the order of the file."""
    broken = list(_expressions(protocol))
    found = [*broken, *_items(protocol), *_allocation(protocol), *_visits(protocol), *_outcomes(protocol),
             *_analysis(protocol), *_published(protocol), *_sources(protocol), *_plan(protocol),
             *_unused(protocol)]  # fmt: skip
    for name, regimen in protocol.regimens.items():
        if regimen.kind == "cycles":
            found += _doses(protocol, name, regimen)
            found += _timing(protocol, name, regimen)
            found += _measured(protocol, name, regimen)
    if not any(problem.severity == "error" for problem in broken):
        found += _people(protocol)
    return sorted(found, key=lambda problem: problem.severity != "error")


def _error(place: str, message: str) -> Problem:
    return Problem("error", place, message)


def _warning(place: str, message: str) -> Problem:
    return Problem("warning", place, message)


def _no(kind: str, name: str | None, known: Iterable[str]) -> str:
    """That a name is not declared, with the nearest that is."""
    return f'there is no {kind} "{name}"{near(str(name), list(known))}'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


# --- expressions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Written:
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


def _written(protocol: Protocol) -> Iterator[_Written]:
    items = protocol.items
    for name, item in items.items():
        if item.derive is not None:
            unit = item.unit if item.type == "number" else None
            yield _Written(f"items.{name}.derive", item.derive, items, item.type, unit)
    for name, stratum in protocol.strata.items():
        for level, text in (stratum.levels or {}).items():
            yield _Written(f"strata.{name}.levels.{level}", text, items)
    for index, criterion in enumerate(protocol.eligibility.criteria):
        kind = "require" if criterion.require is not None else "exclude"
        text = criterion.require or criterion.exclude or ""
        yield _Written(f"eligibility.criteria[{index}].{kind}", text, items)
    for name, regimen in protocol.regimens.items():
        for index, hold in enumerate(regimen.hold_while):
            yield _Written(f"regimens.{name}.hold_while[{index}].when", hold.when, items)
        for index, rule in enumerate(regimen.goal.rules if regimen.goal else ()):
            if rule.when is not None:
                place = f"regimens.{name}.goal.rules[{index}].when"
                yield _Written(place, rule.when, vocabulary(protocol, regimen))
    for index, subgroup in enumerate(protocol.analysis.subgroups):
        for level, text in subgroup.levels.items():
            place = f"analysis.subgroups[{index}].levels.{level}"
            yield _Written(place, text, vocabulary(protocol))


def _expressions(protocol: Protocol) -> Problems:
    for written in _written(protocol):
        faults = criteria.check(written.text, written.names, written.expect, written.unit)
        for fault in faults:
            yield _error(written.place, f'{fault.message} (character {fault.at + 1} of "{written.text}")')
    for name, regimen in protocol.regimens.items():
        if regimen.goal is not None and regimen.goal.measure not in protocol.items:
            yield _error(f"regimens.{name}.goal.measure", _no("item", regimen.goal.measure, protocol.items))
    for name, stratum in protocol.strata.items():
        if stratum.item is not None and stratum.item not in protocol.items:
            yield _error(f"strata.{name}.item", _no("item", stratum.item, protocol.items))
        elif stratum.item is not None and protocol.items[stratum.item].type != "category":
            yield _error(f"strata.{name}.item", f'"{stratum.item}" is not a category, so it has no levels')
    try:
        criteria.derivations(protocol.items)
    except CriteriaError:
        return  # reported above, with its place
    except UserError as error:
        yield _error("items", str(error))


def _names_in(text: str) -> tuple[str, ...]:
    try:
        return criteria.parse(text).names
    except CriteriaError:
        return ()


# --- items --------------------------------------------------------------------------------------------------


def _basis(protocol: Protocol, name: str) -> set[str]:
    """The items that a name rests on: itself, or what its stratum or derivation needs, all the way down."""
    found: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current in protocol.strata and current not in protocol.items:
            for text in (protocol.strata[current].levels or {}).values():
                pending += [n for n in _names_in(text) if n not in found]
            continue
        if current in found:
            continue
        found.add(current)
        item = protocol.items.get(current)
        if item is not None and item.derive is not None:
            pending += _names_in(item.derive)
    return found


def _collecting(protocol: Protocol, *periods: str) -> set[str]:
    """The items that the visits of these periods collect."""
    return {name for visit in protocol.visits if visit.period in periods for name in visit.collect}


def _known_at_entry(protocol: Protocol, name: str) -> str | None:
    """Why the value of a name cannot be known at randomisation; None when it can."""
    item = protocol.items.get(name)
    if item is None or item.derive is not None:
        return None
    if not {"screening", "baseline"} & set(item.collect):
        return f'"{name}" is not collected at screening or baseline'
    screening = _collecting(protocol, "screening")
    if screening and name not in screening:
        return f'nobody measures "{name}": no screening visit collects it'
    return None


def _items(protocol: Protocol) -> Problems:
    for name, item in protocol.items.items():
        place = f"items.{name}"
        for word in units.strange_words(item.unit) if item.unit else ():
            yield _warning(
                f"{place}.unit", f'the unit "{word}" is not known here and only compares with itself'
            )
        if item.detection_limit is not None and item.range is not None:
            low, high = item.range
            if not low <= item.detection_limit <= high:
                yield _error(f"{place}.detection_limit", "the detection limit lies outside the range")
        if "visits" in item.collect and name not in _collecting(protocol, "treatment", "follow-up"):
            yield _error(
                f"{place}.collect", "it is said to be collected at visits, but no visit after entry lists it"
            )
    asked: dict[str, set[str]] = {}
    for written in _written(protocol):
        if not written.place.startswith(("eligibility", "strata", "analysis.subgroups", "regimens")):
            continue
        if ".hold_while" in written.place:
            continue
        for name in _names_in(written.text):
            asked.setdefault(written.place, set()).update(_basis(protocol, name))
    for name, stratum in protocol.strata.items():
        if stratum.item is not None:
            asked[f"strata.{name}.item"] = _basis(protocol, stratum.item)
    for place, names in asked.items():
        for name in sorted(names):
            if (why := _known_at_entry(protocol, name)) is not None:
                yield _error(place, f"this rule needs an item that is never known at entry: {why}")


# --- people: criteria, strata, goals, holds ----------------------------------------------------------------


def _space(protocol: Protocol, regimen: Regimen | None = None) -> Space:
    names = vocabulary(protocol, regimen)
    ranges = {n: (float(i.range[0]), float(i.range[1])) for n, i in protocol.items.items() if i.range}
    levels = {
        name: {level: criteria.compile(text, protocol.items) for level, text in stratum.levels.items()}
        for name, stratum in protocol.strata.items()
        if stratum.levels is not None and name not in protocol.items
    }
    same = {"baseline": regimen.goal.measure} if regimen is not None and regimen.goal is not None else {}
    return Space(names, ranges, same, levels)


def _eligible(protocol: Protocol) -> list[Condition]:
    return [
        Condition(
            criteria.compile(criterion.require or criterion.exclude or "", protocol.items),
            criterion.require is not None,
            criterion.id,
        )
        for criterion in protocol.eligibility.criteria
    ]


def _people(protocol: Protocol) -> Problems:
    space, eligible = _space(protocol), _eligible(protocol)
    if not space.possible(eligible):
        yield _error("eligibility.criteria", _contradiction(protocol, space, eligible))
        return
    for index, condition in enumerate(eligible):
        against = Condition(condition.expression, not condition.holds)
        if not space.possible([against]):
            place = f"eligibility.criteria[{index}]"
            yield _warning(
                place, f"{condition.name} excludes nobody: within the items' ranges it always holds"
            )
    yield from _partitions(protocol, space, eligible)
    for name, regimen in protocol.regimens.items():
        if regimen.kind == "cycles":
            yield from _goals(protocol, name, regimen, eligible)
            yield from _holds(protocol, name, regimen, space)


def _contradiction(protocol: Protocol, space: Space, eligible: Sequence[Condition]) -> str:
    by_id = {criterion.id: criterion.text for criterion in protocol.eligibility.criteria}
    for size in (1, 2, 3):
        for group in itertools.combinations(eligible, size):
            if not space.possible(group):
                rules = "; ".join(f'{c.name} "{by_id[c.name]}"' for c in group)
                alone = "nobody can meet" if size == 1 else "nobody can meet these together:"
                return f"no one can be eligible: {alone} {rules}"
    return "no one can be eligible: the criteria contradict each other"


def _partitions(protocol: Protocol, space: Space, eligible: Sequence[Condition]) -> Problems:
    for name, stratum in protocol.strata.items():
        if stratum.levels is not None:
            yield from _partition(protocol, space, eligible, f"strata.{name}", stratum.levels, "error")
    for index, subgroup in enumerate(protocol.analysis.subgroups):
        place = f"analysis.subgroups[{index}]"
        yield from _partition(protocol, space, eligible, place, subgroup.levels, "warning")


def _partition(
    protocol: Protocol,
    space: Space,
    eligible: Sequence[Condition],
    place: str,
    levels: Mapping[str, str],
    severity: Severity,
) -> Problems:
    names = vocabulary(protocol)
    compiled = {level: criteria.compile(text, names) for level, text in levels.items()}
    spoken = {n for expression in compiled.values() for n in expression.names}
    basis = {b for n in spoken for b in (n, *_basis(protocol, n))}

    def who(person: Mapping[str, criteria.Value]) -> str:
        shown = {n: v for n, v in person.items() if n in basis and (n in spoken or n not in protocol.strata)}
        return in_words(shown, names)

    for (a, first), (b, second) in itertools.combinations(compiled.items(), 2):
        if person := space.person([*eligible, Condition(first), Condition(second)]):
            yield Problem(severity, place, f'"{a}" and "{b}" overlap: {who(person)} belongs to both')
    if person := space.person([*eligible, *(Condition(e, False) for e in compiled.values())]):
        yield Problem(severity, place, f"an eligible person with {who(person)} belongs to no level")
    for level, expression in compiled.items():
        if not space.possible([*eligible, Condition(expression)]):
            yield _warning(place, f'nobody who is eligible belongs to "{level}"')


def _compiled_goal(protocol: Protocol, regimen: Regimen, rule: GoalRule) -> Expression:
    return criteria.compile(rule.when or "true", vocabulary(protocol, regimen))


def _goals(protocol: Protocol, name: str, regimen: Regimen, eligible: list[Condition]) -> Problems:
    goal = regimen.goal
    if goal is None or goal.measure not in protocol.items:
        return
    space, item = _space(protocol, regimen), protocol.items[goal.measure]
    up = goal.direction == "up"
    before: list[Condition] = []
    for index, rule in enumerate(goal.rules):
        place = f"regimens.{name}.goal.rules[{index}]"
        when = _compiled_goal(protocol, regimen, rule)
        here = [*eligible, *before, Condition(when)]
        before.append(Condition(when, False))
        if not space.possible(here):
            yield _warning(place, "this rule never applies: nobody who is eligible is left for it")
            continue
        if rule.multiple is not None and (rule.multiple <= 1) == up and rule.multiple > 0:
            yield _error(
                place,
                f"a goal of {number_text(rule.multiple)} times baseline is met at baseline by everybody",
            )
        target = _amount(rule.value, item.unit)
        if target is None:
            continue
        text = f"{goal.measure} {'<' if up else '>'} {target!r}"
        short = criteria.compile(text, protocol.items)
        if not space.possible([*here, Condition(short)]):
            yield _error(
                place, f"the goal of {rule.value} is met at baseline by everybody to whom the rule applies"
            )
        if item.range is not None and not item.range[0] <= target <= item.range[1]:
            low, high = (number_text(float(end)) for end in item.range)
            yield _error(
                place,
                f"the goal of {rule.value} cannot be reached: {goal.measure} ranges from {low} to {high}",
            )
    if person := space.person([*eligible, *before]):
        shown = {n: v for n, v in person.items() if n in _goal_items(protocol, regimen)}
        yield _error(
            f"regimens.{name}.goal.rules",
            f"no rule gives a goal to an eligible person with {in_words(shown, protocol.items)}",
        )


def _goal_items(protocol: Protocol, regimen: Regimen) -> set[str]:
    assert regimen.goal is not None
    spoken = {n for rule in regimen.goal.rules for n in _names_in(rule.when or "true")}
    return {regimen.goal.measure, *(b for n in spoken for b in _basis(protocol, n))}


def _holds(protocol: Protocol, name: str, regimen: Regimen, space: Space) -> Problems:
    for index, hold in enumerate(regimen.hold_while):
        place = f"regimens.{name}.hold_while[{index}]"
        expression = criteria.compile(hold.when, protocol.items)
        if not space.possible([Condition(expression, False)]):
            yield _error(place, f'"{hold.id}" always holds, so no cycle is ever given')
        elif not space.possible([Condition(expression)]):
            yield _warning(place, f'"{hold.id}" can never hold within the items\' ranges')


# --- allocation ---------------------------------------------------------------------------------------------


def _allocation(protocol: Protocol) -> Problems:
    ids = Counter(criterion.id for criterion in protocol.eligibility.criteria)
    for name, count in ids.items():
        if count > 1:
            yield _error("eligibility.criteria", f'{count} criteria have the id "{name}"')
    plan = protocol.randomization
    for arm in plan.ratio:
        if arm not in protocol.arms:
            yield _error(f"randomization.ratio.{arm}", _no("arm", arm, protocol.arms))
    for arm in protocol.arms:
        if arm not in plan.ratio:
            yield _error("randomization.ratio", f'the arm "{arm}" has no part in the ratio')
    for name, arm_ in protocol.arms.items():
        if not arm_.regimens and not arm_.control:
            yield _error(f"arms.{name}.regimens", "an arm that is not a control needs a regimen")
        for regimen in arm_.regimens:
            if regimen not in protocol.regimens:
                yield _error(f"arms.{name}.regimens", _no("regimen", regimen, protocol.regimens))
                continue
            cover = protocol.regimens[regimen].cover
            if cover is not None and cover in protocol.regimens and cover not in arm_.regimens:
                yield _error(
                    f"arms.{name}.regimens",
                    f'"{regimen}" needs "{cover}" as its cover, which this arm does not take',
                )
    for (a, first), (b, second) in itertools.combinations(protocol.arms.items(), 2):
        if sorted(first.regimens) == sorted(second.regimens):
            yield _warning(f"arms.{b}.regimens", f'the arms "{a}" and "{b}" take the same regimens')
    taken = {regimen for arm_ in protocol.arms.values() for regimen in arm_.regimens}
    for name, regimen_ in protocol.regimens.items():
        place = f"regimens.{name}"
        if name not in taken:
            yield _warning(place, "no arm takes this regimen")
        taken_by = protocol.items.get(regimen_.taken) if regimen_.taken is not None else None
        if regimen_.taken is not None and (taken_by is None or taken_by.type != "boolean"):
            yield _error(f"{place}.taken", f'"{regimen_.taken}" is not an item that is true or false')
        elif taken_by is not None and not {"visits", "cycles", "as it happens"} & set(taken_by.collect):
            yield _error(f"{place}.taken", f'nobody asks for "{regimen_.taken}" during treatment')
        if regimen_.cover is not None and regimen_.cover not in protocol.regimens:
            yield _error(f"{place}.cover", _no("regimen", regimen_.cover, protocol.regimens))
        elif regimen_.cover is not None and protocol.regimens[regimen_.cover].kind == "cycles":
            yield _error(f"{place}.cover", "a cover is taken continuously or around cycles, not in cycles")
    yield from _method(protocol)


def _method(protocol: Protocol) -> Problems:
    plan = protocol.randomization
    total = sum(plan.ratio.values())
    ratio = ":".join(str(part) for part in plan.ratio.values())
    if plan.method == "permuted blocks":
        if not plan.blocks:
            yield _error("randomization.blocks", "permuted blocks need their sizes")
        for index, size in enumerate(plan.blocks or ()):
            if size % total:
                yield _error(
                    f"randomization.blocks[{index}]",
                    f"a block of {size} cannot hold the ratio {ratio}: sizes must be multiples of {total}",
                )
    elif plan.blocks:
        yield _warning("randomization.blocks", f'block sizes have no effect with method "{plan.method}"')
    if plan.method == "minimisation":
        if plan.best_arm_probability is None:
            yield _error("randomization.best_arm_probability", "minimisation needs its random element")
        elif plan.best_arm_probability == 1:
            yield _warning(
                "randomization.best_arm_probability",
                "without a random element the next arm can be foretold",
            )
        if not plan.strata:
            yield _error("randomization.strata", "minimisation needs the strata that it balances")
    elif plan.best_arm_probability is not None:
        yield _warning("randomization.best_arm_probability", "only minimisation uses this probability")
    if plan.method == "simple" and plan.strata:
        yield _warning("randomization.strata", "simple randomisation does not use strata")
    for name in plan.strata:
        if name not in protocol.strata:
            yield _error("randomization.strata", _no("stratum", name, protocol.strata))


# --- doses --------------------------------------------------------------------------------------------------


def _amount(amount: Quantity | None, unit: str) -> float | None:
    """The amount in `unit`; None when there is none or the units do not agree."""
    if amount is None:
        return None
    if amount.unit in ("", unit):
        return amount.value
    if not units.same_dimension(amount.unit, unit):
        return None
    return float(f"{units.convert(amount.value, amount.unit, unit):.12g}")


def _unit(place: str, amount: Quantity, unit: str, of: str) -> Problems:
    if _amount(amount, unit) is None:
        yield _error(place, f'"{amount}" is in the wrong unit: {of} is in {unit or "a pure number"}')


def _doses(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
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
        floor, ceiling = _amount(regimen.floor, unit), _amount(regimen.ceiling, unit)
        assert floor is not None
        assert ceiling is not None
        if floor > ceiling:
            yield _error(
                f"{place}.floor", f"the floor {regimen.floor} lies above the ceiling {regimen.ceiling}"
            )
        elif not floor <= start <= ceiling:
            yield _error(
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
            yield _error(f"{place}.goal.measure", f'"{regimen.goal.measure}" is not a number')
        for index, rule in enumerate(regimen.goal.rules):
            for field, amount in (("rise", rule.rise), ("value", rule.value)):
                if amount is not None:
                    yield from _unit(f"{place}.goal.rules[{index}].{field}", amount, measure.unit, of)
            if rule.rise is not None and rule.rise.value <= 0:
                yield _error(f"{place}.goal.rules[{index}].rise", "a rise must be above zero")
        for part in ("escalation", "stop_for_non_response"):
            response = getattr(getattr(regimen, part), "response", None)
            if response is not None:
                yield from _unit(f"{place}.{part}.response.rise", response.rise, measure.unit, of)
                if response.rise.value <= 0:
                    yield _error(f"{place}.{part}.response.rise", "a rise must be above zero")


def _raises(place: str, regimen: Regimen, unit: str, start: float, ceiling: float) -> Problems:
    if regimen.escalation is None:
        if ceiling > start:
            yield _warning(
                f"{place}.ceiling",
                f"no rule leads above the starting dose {regimen.cycle and regimen.cycle.dose}",
            )
        return
    previous = start
    reachable: list[float] = [start]
    for index, step in enumerate(regimen.escalation.to):
        field, dose = f"{place}.escalation.to[{index}]", _amount(step, unit)
        assert dose is not None
        if dose > ceiling:
            yield _error(field, f"the step {step} can never be reached: the ceiling is {regimen.ceiling}")
        elif dose <= start:
            yield _error(field, f"the step {step} is not above the starting dose, so it is never reached")
        elif dose <= previous:
            yield _error(field, f"the steps must rise: {step} comes after {number_text(previous)} {unit}")
        else:
            reachable.append(dose)
        previous = max(previous, dose)
    if reachable[-1] < ceiling:
        yield _warning(
            f"{place}.ceiling", f"no step leads above {number_text(reachable[-1])} {unit} to the ceiling"
        )
    most = _most_cycles(regimen)
    needed = regimen.escalation.after
    for index, step in enumerate(regimen.escalation.to):
        if most is not None and needed >= most:
            yield _error(
                f"{place}.escalation.to[{index}]",
                f"the step {step} can never be reached: it takes {needed} cycles before it, "
                f"and at most {most} are given",
            )
        needed += regimen.escalation.again_after


def _most_cycles(regimen: Regimen) -> int | None:
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
            yield _warning(f"{place}.floor", "no rule leads below the starting dose")
        return
    steps = [start, *(regimen.escalation.to if regimen.escalation else ())]
    ladder = {value for value in (s if isinstance(s, float) else _amount(s, unit) for s in steps) if value}
    highest = max(value for value in ladder if value <= ceiling)
    previous = math.inf
    for index, step in enumerate(toxicity.to):
        field, dose = f"{place}.toxicity.to[{index}]", _amount(step, unit)
        assert dose is not None
        if dose < floor:
            yield _error(field, f"the step {step} can never be given: the floor is {regimen.floor}")
        elif dose >= highest:
            yield _error(
                field,
                f"the step {step} is never reached by a reduction: no dose above it is ever given",
            )
        elif dose >= previous:
            yield _error(field, f"the steps of a reduction must fall: {step} comes after a lower one")
        elif dose in ladder:
            yield _warning(field, f"{step} is a step anyway; it need not be named")
        previous = min(previous, dose)
    if toxicity.stop_from_grade <= toxicity.reduce_from_grade:
        yield _error(
            f"{place}.toxicity.reduce_from_grade",
            f"no dose is ever reduced: cycles stop from grade {toxicity.stop_from_grade} on",
        )
    lowest = min([*ladder, *(d for d in (_amount(s, unit) for s in toxicity.to) if d is not None)])
    if lowest > floor:
        yield _warning(
            f"{place}.floor", f"no step leads below {number_text(lowest)} {unit} to the floor {regimen.floor}"
        )


# --- the calendar of a regimen ------------------------------------------------------------------------------


def _exact(duration: Quantity) -> float:
    return duration.value * DAYS_PER[duration.unit.removesuffix("s")]


def _length(protocol: Protocol) -> int:
    """Days from the first randomisation to the end of follow-up: the longest that anybody is followed."""
    return (protocol.calendar.end_of_follow_up - protocol.calendar.first_randomization).days


def _timing(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
    place = f"regimens.{name}"
    assert regimen.cycle is not None
    assert regimen.minimum_gap is not None
    gap, longest = days(regimen.minimum_gap), _length(protocol)
    duration = regimen.cycle.days if regimen.cycle.days is not None else (regimen.cycle.on_days or [1])[-1]
    if gap < duration:
        yield _error(
            f"{place}.minimum_gap",
            f"a gap of {regimen.minimum_gap} lets the next cycle begin before one of {duration} days is over",
        )
    induction, maintenance = regimen.induction, regimen.maintenance
    if induction is not None:
        every = days(induction.every)
        if gap > every:
            yield _error(
                f"{place}.minimum_gap",
                f"the minimum gap of {regimen.minimum_gap} is longer than the interval of "
                f"induction, {induction.every}",
            )
        if days(induction.start_within) >= every:
            yield _error(
                f"{place}.induction.start_within",
                f"a cycle that may start {induction.start_within} late runs into the next, due after "
                f"{induction.every}",
            )
        last = round_half_away((induction.cycles - 1) * _exact(induction.every))
        if maintenance is not None and last >= maintenance.from_.day:
            yield _error(
                f"{place}.induction.cycles",
                f"induction is longer than the time before maintenance: cycle {induction.cycles} is due on "
                f"day {last}, maintenance begins at {maintenance.from_} (day {maintenance.from_.day})",
            )
        if regimen.maximum_cycles is not None and induction.cycles > regimen.maximum_cycles:
            yield _error(
                f"{place}.maximum_cycles",
                f"induction alone has {induction.cycles} cycles, above the most allowed, "
                f"{regimen.maximum_cycles}",
            )
    if maintenance is not None:
        if gap > days(maintenance.review):
            yield _error(
                f"{place}.minimum_gap",
                f"the minimum gap of {regimen.minimum_gap} is longer than the interval of reviews, "
                f"{maintenance.review}",
            )
        if maintenance.from_.day >= longest:
            yield _error(
                f"{place}.maintenance.from",
                f"maintenance begins on day {maintenance.from_.day}, but nobody is followed longer than "
                f"{longest} days",
            )
        for index, extra in enumerate(maintenance.extra_reviews):
            if extra.day < maintenance.from_.day:
                yield _error(
                    f"{place}.maintenance.extra_reviews[{index}]",
                    f"the review at {extra} comes before maintenance begins, at {maintenance.from_}",
                )
    stop = regimen.stop_for_non_response
    if stop is not None:
        if stop.at_latest is not None and days(stop.at_latest) < days(stop.after):
            yield _error(
                f"{place}.stop_for_non_response.at_latest", f"{stop.at_latest} is before {stop.after}"
            )
        if days(stop.after) >= longest:
            yield _error(
                f"{place}.stop_for_non_response.after",
                f"nobody is followed for {stop.after} ({longest} days)",
            )
        most = _most_cycles(regimen)
        if most is not None and stop.minimum_cycles > most:
            yield _error(
                f"{place}.stop_for_non_response.minimum_cycles",
                f"nobody has {stop.minimum_cycles} cycles: at most {most} are given",
            )
    ids = Counter(hold.id for hold in regimen.hold_while)
    for hold_id, count in ids.items():
        if count > 1:
            yield _error(f"{place}.hold_while", f'{count} holds have the id "{hold_id}"')


def _planned(visit: Visit, until: int) -> list[int]:
    """Planned days of a line of the schedule, up to a day; a repeated visit is rounded one by one."""
    if visit.at is not None:
        return [at.day for at in visit.at]
    assert visit.every is not None
    assert visit.from_ is not None
    step = _exact(visit.every)
    if step <= 0:
        return []
    count = int(max(0, until - visit.from_.day) / step)
    return [visit.from_.day + round_half_away(k * step) for k in range(1, count + 1)]


def _arms_with(protocol: Protocol, regimen: str) -> list[str]:
    return [name for name, arm in protocol.arms.items() if regimen in arm.regimens]


def _attended(visit: Visit, arm: str) -> bool:
    return visit.arms is None or arm in visit.arms


def _measured(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
    """What the rules of a regimen ask for during treatment must be measured then."""
    place = f"regimens.{name}"
    for arm in _arms_with(protocol, name):
        after_entry = [v for v in protocol.visits if v.period != "screening" and _attended(v, arm)]
        collected = {item for visit in after_entry for item in visit.collect}
        for index, hold in enumerate(regimen.hold_while):
            for item_name in sorted({b for n in _names_in(hold.when) for b in _basis(protocol, n)}):
                item = protocol.items.get(item_name)
                if item is None or item.derive is not None:
                    continue
                if {"cycles", "as it happens"} & set(item.collect) or item_name in collected:
                    continue
                yield _error(
                    f"{place}.hold_while[{index}].when",
                    f'nobody measures "{item_name}" during treatment, so "{hold.id}" would never be known',
                )
        goal, maintenance = regimen.goal, regimen.maintenance
        if goal is None or goal.measure not in protocol.items:
            continue
        needed = (maintenance, regimen.escalation, regimen.stop_for_non_response)
        if any(part is not None for part in needed) and goal.measure not in collected:
            yield _error(
                f"{place}.goal.measure",
                f'nobody measures "{goal.measure}" after entry in the arm "{arm}": no visit collects it',
            )
            continue
        if maintenance is not None:
            yield from _reviews(
                protocol, name, regimen, [v for v in after_entry if goal.measure in v.collect]
            )


def _reviews(protocol: Protocol, name: str, regimen: Regimen, visits: Sequence[Visit]) -> Problems:
    """Each review needs a planned measurement that is fresh enough at some day of its window."""
    maintenance, goal = regimen.maintenance, regimen.goal
    assert maintenance is not None
    assert goal is not None
    until = _length(protocol)
    measured = sorted({day for visit in visits for day in _planned(visit, until)})
    limit, window = days(maintenance.measured_within), days(maintenance.start_within)
    valid = protocol.items[goal.measure].valid_for
    field = f"regimens.{name}.maintenance.measured_within"
    if valid is not None and days(valid) < limit:
        yield _warning(
            field, f"{goal.measure} counts for {valid} only (`valid_for`), which is shorter and so decides"
        )
        limit = days(valid)
    step = _exact(maintenance.review)
    if step <= 0:
        yield _error(f"regimens.{name}.maintenance.review", "the interval of reviews must be above zero")
        return
    count = int(max(0, until - maintenance.from_.day) / step)
    due = [maintenance.from_.day + round_half_away(k * step) for k in range(count + 1)]
    due = sorted({*due, *(extra.day for extra in maintenance.extra_reviews)})
    blind = [d for d in due if d <= until and not any(d - limit <= m <= d + window for m in measured)]
    if not blind:
        return
    earlier = [m for m in measured if m <= blind[0]]
    last = f"the last is {blind[0] - earlier[-1]} days old" if earlier else "there is none before"
    message = f"no planned {goal.measure} is at most {limit} days old at the review on day {blind[0]}: {last}"
    if len(blind) == len(due):
        yield _error(field, f"{message}; no cycle would ever be given in maintenance")
    else:
        yield _warning(field, f"{message} ({len(blind)} of {len(due)} reviews)")


# --- visits -------------------------------------------------------------------------------------------------


def _visits(protocol: Protocol) -> Problems:
    longest = _length(protocol)
    ids = Counter(visit.id for visit in protocol.visits)
    for name, count in ids.items():
        if count > 1:
            yield _error("visits", f'{count} visits have the id "{name}"')
    last: tuple[int, str] | None = None
    for index, visit in enumerate(protocol.visits):
        place = f"visits[{index}]"
        planned = _planned(visit, longest)
        if visit.every is not None and days(visit.every) <= 0:
            yield _error(f"{place}.every", "the interval must be above zero")
            continue
        if planned != sorted(set(planned)):
            at = _listed([str(point) for point in visit.at or ()])
            yield _error(f"{place}.at", f"the visits are out of order: {at}")
        if not planned or min(planned) > longest:
            yield _error(
                place, f'"{visit.id}" never takes place: nobody is followed longer than {longest} days'
            )
            continue
        if max(planned) > longest:
            yield _error(
                f"{place}.at", f"day {max(planned)} is after the end of the longest follow-up, day {longest}"
            )
        if visit.period == "screening" and max(planned) > 0:
            yield _error(place, f'the screening visit "{visit.id}" is planned after randomisation')
        if visit.period != "screening" and min(planned) < 0:
            yield _error(place, f'the visit "{visit.id}" is planned before randomisation')
        if last is not None and min(planned) < last[0]:
            yield _error(
                place,
                f'the visits are out of order: "{visit.id}" begins before "{last[1]}", which is listed first',
            )
        last = (min(planned), visit.id)
        within = days(protocol.eligibility.within)
        if visit.period == "screening" and within < days(visit.window.early) - min(planned):
            yield _error(
                f"{place}.window",
                f'"{visit.id}" may take place {days(visit.window.early) - min(planned)} days before '
                f"randomisation, but the screening period is {protocol.eligibility.within}",
            )
        for arm in visit.arms or ():
            if arm not in protocol.arms:
                yield _error(f"{place}.arms", _no("arm", arm, protocol.arms))
        for name in visit.collect:
            yield from _collected(protocol, place, visit, name)
    if not any(v.at is not None and any(p.day == 0 for p in v.at) for v in protocol.visits):
        yield _warning("visits", "there is no visit on day 0, the day of randomisation")
    yield from _windows(protocol, longest)


def _collected(protocol: Protocol, place: str, visit: Visit, name: str) -> Problems:
    item = protocol.items.get(name)
    if item is None:
        yield _error(f"{place}.collect", _no("item", name, protocol.items))
        return
    wanted = {"screening", "baseline"} if visit.period == "screening" else {"visits"}
    at_entry = visit.at is not None and all(point.day == 0 for point in visit.at)
    if at_entry:
        wanted |= {"baseline"}
    if not wanted & set(item.collect):
        yield _error(
            f"{place}.collect",
            f'the item "{name}" says it is collected at {_listed(item.collect)}, '
            "not at a visit of this period",
        )


def _windows(protocol: Protocol, longest: int) -> Problems:
    told: set[tuple[str, str]] = set()
    for arm in protocol.arms:
        slots = sorted(
            (day, day - days(visit.window.early), day + days(visit.window.late), visit.id)
            for visit in protocol.visits
            if _attended(visit, arm) and (visit.every is None or days(visit.every) > 0)
            for day in _planned(visit, longest)
        )
        for (day, _, late, a), (next_day, early, _, b) in itertools.pairwise(slots):
            if early <= late and (a, b) not in told:
                told.add((a, b))
                yield _error(
                    "visits",
                    f'the windows of "{a}" (day {day}, up to day {late}) and "{b}" (day {next_day}, '
                    f"from day {early}) overlap",
                )


# --- events, endpoints, analysis ----------------------------------------------------------------------------


def _outcomes(protocol: Protocol) -> Problems:
    terminal = {name for name, event in protocol.events.items() if event.terminal}
    if not terminal:
        yield _warning("events", "no event is terminal: death would not end observation")
    for name, endpoint in protocol.endpoints.items():
        place = f"endpoints.{name}"
        for field in ("first_of", "competing"):
            for kind in getattr(endpoint, field):
                if kind not in protocol.events:
                    yield _error(f"{place}.{field}", _no("event", kind, protocol.events))
        both = [kind for kind in endpoint.first_of if kind in endpoint.competing]
        if both:
            yield _error(f"{place}.competing", f"{_listed(both)} cannot both count and compete")
        for kind in endpoint.competing:
            if kind in protocol.events and kind not in terminal:
                yield _error(
                    f"{place}.competing",
                    f'"{kind}" is not terminal: it does not prevent {_listed(endpoint.first_of)}',
                )
        left = terminal - set(endpoint.first_of) - set(endpoint.competing)
        if left:
            yield _warning(
                f"{place}.competing",
                f"{_listed(sorted(left))} neither counts nor competes: people would be censored at it",
            )
        if endpoint.terms:
            known = {
                t
                for kind in endpoint.first_of
                if kind in protocol.events
                for t in protocol.events[kind].terms
            }
            for term in endpoint.terms:
                if term not in known:
                    yield _error(f"{place}.terms", f'"{term}" is not a term of {_listed(endpoint.first_of)}')
    for name, event in protocol.events.items():
        repeated = [term for term, count in Counter(event.terms).items() if count > 1]
        if repeated:
            yield _error(f"events.{name}.terms", f"named more than once: {_listed(repeated)}")


def _analysis(protocol: Protocol) -> Problems:
    plan, place = protocol.analysis, "analysis"
    if plan.reference_arm not in protocol.arms:
        yield _error(f"{place}.reference_arm", _no("arm", plan.reference_arm, protocol.arms))
    elif not protocol.arms[plan.reference_arm].control:
        yield _warning(f"{place}.reference_arm", f'"{plan.reference_arm}" is not marked as a control')
    analysed = [analysis.endpoint for analysis in plan.time_to_event]
    for index, analysis in enumerate(plan.time_to_event):
        if analysis.endpoint not in protocol.endpoints:
            yield _error(
                f"{place}.time_to_event[{index}].endpoint",
                _no("endpoint", analysis.endpoint, protocol.endpoints),
            )
        for name in analysis.strata:
            if name not in protocol.strata:
                yield _error(f"{place}.time_to_event[{index}].strata", _no("stratum", name, protocol.strata))
    for name, count in Counter(analysed).items():
        if count > 1:
            yield _error(f"{place}.time_to_event", f'the endpoint "{name}" is analysed {count} times')
    primary = [name for name, endpoint in protocol.endpoints.items() if endpoint.role == "primary"]
    for name in primary:
        if name not in analysed:
            yield _error(f"{place}.time_to_event", f'the primary endpoint "{name}" is not analysed')
    if not primary:
        yield _warning("endpoints", "no endpoint is primary")
    for index, measure in enumerate(plan.measures):
        item = protocol.items.get(measure.measure)
        field = f"{place}.measures[{index}].measure"
        if item is None:
            yield _error(field, _no("item", measure.measure, protocol.items))
        elif item.type != "number":
            yield _error(field, f'"{measure.measure}" is not a number')
        elif measure.measure not in _collecting(protocol, "treatment", "follow-up"):
            yield _error(field, f'nobody measures "{measure.measure}" after entry: no visit collects it')
    labels = Counter(subgroup.label for subgroup in plan.subgroups)
    for label, count in labels.items():
        if count > 1:
            yield _error(f"{place}.subgroups", f'{count} subgroups have the label "{label}"')
    if plan.subgroups and plan.subgroup_endpoint is None:
        yield _error(f"{place}.subgroup_endpoint", "subgroups need the endpoint that they are compared on")
    if plan.subgroup_endpoint is not None:
        if plan.subgroup_endpoint not in analysed:
            yield _error(f"{place}.subgroup_endpoint", f'"{plan.subgroup_endpoint}" is not analysed')
        if not plan.subgroups:
            yield _warning(f"{place}.subgroup_endpoint", "there are no subgroups")
    if plan.safety_by is not None:
        if plan.safety_by not in protocol.events:
            yield _error(f"{place}.safety_by", _no("event", plan.safety_by, protocol.events))
        elif not protocol.events[plan.safety_by].terms:
            yield _warning(f"{place}.safety_by", f'"{plan.safety_by}" has no terms to tabulate it by')


# --- published figures, sources -----------------------------------------------------------------------------


def _published(protocol: Protocol) -> Problems:
    known = {
        *ANALYSES, *protocol.endpoints, *(m.measure for m in protocol.analysis.measures),
        *(f"subgroup:{subgroup.label}" for subgroup in protocol.analysis.subgroups),
    }  # fmt: skip
    rows = Counter((f.analysis, f.group, f.parameter, f.statistic) for f in protocol.published.values())
    for row, count in rows.items():
        if count > 1:
            yield _error("published", f"{count} figures are about the same row: {' / '.join(row)}")
    for name, figure in protocol.published.items():
        place = f"published.{name}"
        if figure.analysis not in known:
            yield _error(f"{place}.analysis", _no("analysis", figure.analysis, known))
        arms = [] if figure.group == "all" else re.split(r" vs | and ", figure.group)
        for arm in arms:
            if arm not in protocol.arms:
                yield _error(f"{place}.group", f'"{arm}" in "{figure.group}" is not an arm')
        if figure.interval is not None and not figure.interval[0] <= figure.value <= figure.interval[1]:
            yield _error(f"{place}.interval", "the figure lies outside its own interval")
        if figure.source is None:
            yield _error(place, "a published figure must name its source")
    for index, published in enumerate(protocol.published_terms):
        place = f"published_terms[{index}]"
        event = protocol.events.get(published.kind)
        if event is None:
            yield _error(f"{place}.kind", _no("event", published.kind, protocol.events))
        elif published.term not in event.terms:
            yield _error(f"{place}.term", f'"{published.term}" is not a term of {published.kind}')
        for arm in {a for counts in (published.participants, *published.groups.values()) for a in counts}:
            if arm not in protocol.arms:
                yield _error(place, _no("arm", arm, protocol.arms))
        if published.source is None:
            yield _error(place, "a published figure must name its source")


def blocks(value: object, place: str = "") -> Iterator[tuple[str, Block]]:
    """Every part of a protocol that may carry a source, with its path, in the order of the model."""
    if isinstance(value, Block):
        yield place, value
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            key = info.alias or name
            yield from blocks(getattr(value, name), f"{place}.{key}" if place else key)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from blocks(part, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from blocks(part, f"{place}[{index}]")


def source_keys(block: Block) -> list[str]:
    """The keys of `references` that a part names."""
    if block.source is None:
        return []
    return [block.source] if isinstance(block.source, str) else list(block.source)


def _sources(protocol: Protocol) -> Problems:
    used: set[str] = set()
    prose: list[str] = []
    for place, block in blocks(protocol):
        prose += [text for text in (block.note, block.assumed) if text]
        for key in source_keys(block):
            used.add(key)
            if key not in protocol.references:
                yield _error(f"{place}.source".lstrip("."), f'"{key}" is not among the references')
    spoken = set(re.findall(r"\w+", " ".join(prose)))
    for key in protocol.references:
        if key not in used and key not in spoken:
            yield _warning(f"references.{key}", "nothing cites this reference")


# --- size, calendar, monitoring, simulation -----------------------------------------------------------------


def _plan(protocol: Protocol) -> Problems:
    size = protocol.size
    if size.randomized is not None and size.analysed is not None and size.analysed > size.randomized:
        yield _error("size.analysed", f"{size.analysed} analysed is more than {size.randomized} randomised")
    most = max(size.planned, size.randomized or 0)
    if size.primary_events is not None and size.primary_events > most:
        yield _error(
            "size.primary_events", f"{size.primary_events} events cannot happen to {most} participants"
        )
    numbers = (size.primary_events, size.hazard_ratio, size.power, size.alpha)
    reference = protocol.randomization.ratio.get(protocol.analysis.reference_arm)
    if len(protocol.arms) == 2 and reference and all(number is not None for number in numbers):
        assert size.primary_events and size.hazard_ratio and size.power and size.alpha  # noqa: PT018
        share = reference / sum(protocol.randomization.ratio.values())
        needed = events_needed(size.hazard_ratio, size.power, size.alpha, share)
        if size.primary_events < (1 - EVENTS_TOLERANCE) * needed:
            yield _warning(
                "size.primary_events",
                f"{size.primary_events} events are too few for {size.power:.0%} power at a hazard ratio of "
                f"{number_text(size.hazard_ratio)}: that takes {math.ceil(needed)}",
            )
    looks = protocol.monitoring.looks
    if looks != sorted(set(looks)):
        yield _error("monitoring.looks", "the looks must rise, without repeats")
    if looks and looks[-1] != 1:
        yield _warning("monitoring.looks", "the last look should be at the full information, 1.0")
    if looks and protocol.monitoring.spending == "none":
        yield _warning("monitoring.spending", "looks without a spending function test at no set level")
    if not looks and protocol.monitoring.spending != "none":
        yield _error("monitoring.looks", "a spending function needs the times of the looks")
    simulation = protocol.simulation
    if simulation is not None:
        total = sum(simulation.accrual.values())
        sizes = {n for n in (size.planned, size.randomized, size.analysed, size.simulated) if n is not None}
        if total not in sizes:
            yield _warning(
                "simulation.accrual", f"the countries add up to {total}, which is no size of this trial"
            )
        country = protocol.items.get("country")
        for name in simulation.accrual:
            if country is not None and country.categories and name not in country.categories:
                yield _error("simulation.accrual", f'"{name}" is not a category of the item "country"')


def events_needed(hazard_ratio: float, power: float, alpha: float, share: float) -> float:
    """Events for a two-sided log-rank test; `share` of the participants is in the reference arm.

    Schoenfeld, Biometrics 1983;39:499-503, formula (1).
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    return float(z**2 / (share * (1 - share) * math.log(hazard_ratio) ** 2))


# --- what nothing reads -------------------------------------------------------------------------------------


def _unused(protocol: Protocol) -> Problems:
    read = {b for written in _written(protocol) for n in _names_in(written.text) for b in _basis(protocol, n)}
    read |= {stratum.item for stratum in protocol.strata.values() if stratum.item is not None}
    read |= {measure.measure for measure in protocol.analysis.measures}
    read |= {regimen.goal.measure for regimen in protocol.regimens.values() if regimen.goal is not None}
    read |= {regimen.taken for regimen in protocol.regimens.values() if regimen.taken is not None}
    for name, item in protocol.items.items():
        if name not in read and "baseline" not in item.collect:
            yield _warning(
                f"items.{name}", "nothing reads this item: no rule, no analysis, no baseline table"
            )
    conditions = {n for written in _written(protocol) for n in _names_in(written.text)}
    strata = {*protocol.randomization.strata, *(s for a in protocol.analysis.time_to_event for s in a.strata)}
    for name in protocol.strata:
        if name not in strata | conditions:
            yield _warning(f"strata.{name}", "neither randomisation nor an analysis uses this stratum")
    analysed = {analysis.endpoint for analysis in protocol.analysis.time_to_event}
    compared = {figure.analysis for figure in protocol.published.values()}
    for name in protocol.endpoints:
        if name not in analysed | compared:
            yield _warning(f"endpoints.{name}", "nothing analyses this endpoint")
    kinds = {kind for e in protocol.endpoints.values() for kind in (*e.first_of, *e.competing)}
    kinds |= {protocol.analysis.safety_by} if protocol.analysis.safety_by else set()
    graded = any(regimen.toxicity is not None for regimen in protocol.regimens.values())
    for name in protocol.events:
        if name not in kinds and not graded:
            yield _warning(f"events.{name}", "nothing reads this event: no endpoint, no table, no dose rule")
