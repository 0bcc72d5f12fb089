"""Criteria that nobody meets, strata that overlap or leave somebody out, goals, holds: with a witness."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from equipoise.protocol import criteria
from equipoise.protocol.checking.doses import amount_in
from equipoise.protocol.checking.expressions import names_in, vocabulary
from equipoise.protocol.checking.items import basis
from equipoise.protocol.checking.problem import Problem, Problems, Severity, error, warning
from equipoise.protocol.criteria import Expression
from equipoise.protocol.model import GoalRule, Protocol, Regimen
from equipoise.protocol.quantities import number_text
from equipoise.protocol.witness import Condition, Space, in_words


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


def people_problems(protocol: Protocol) -> Problems:
    """What only shows on people: nobody eligible, strata that overlap or have a gap, goals, holds."""
    space, eligible = _space(protocol), _eligible(protocol)
    if not space.possible(eligible):
        yield error("eligibility.criteria", _contradiction(protocol, space, eligible))
        return
    for index, condition in enumerate(eligible):
        against = Condition(condition.expression, not condition.holds)
        if not space.possible([against]):
            place = f"eligibility.criteria[{index}]"
            yield warning(
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
    behind = {b for n in spoken for b in (n, *basis(protocol, n))}

    def who(person: Mapping[str, criteria.Value]) -> str:
        shown = {n: v for n, v in person.items() if n in behind and (n in spoken or n not in protocol.strata)}
        return in_words(shown, names)

    for (a, first), (b, second) in itertools.combinations(compiled.items(), 2):
        if person := space.person([*eligible, Condition(first), Condition(second)]):
            yield Problem(severity, place, f'"{a}" and "{b}" overlap: {who(person)} belongs to both')
    if person := space.person([*eligible, *(Condition(e, False) for e in compiled.values())]):
        yield Problem(severity, place, f"an eligible person with {who(person)} belongs to no level")
    for level, expression in compiled.items():
        if not space.possible([*eligible, Condition(expression)]):
            yield warning(place, f'nobody who is eligible belongs to "{level}"')


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
            yield warning(place, "this rule never applies: nobody who is eligible is left for it")
            continue
        if rule.multiple is not None and (rule.multiple <= 1) == up and rule.multiple > 0:
            yield error(
                place,
                f"a goal of {number_text(rule.multiple)} times baseline is met at baseline by everybody",
            )
        target = amount_in(rule.value, item.unit)
        if target is None:
            continue
        text = f"{goal.measure} {'<' if up else '>'} {target!r}"
        short = criteria.compile(text, protocol.items)
        if not space.possible([*here, Condition(short)]):
            yield error(
                place, f"the goal of {rule.value} is met at baseline by everybody to whom the rule applies"
            )
        if item.range is not None and not item.range[0] <= target <= item.range[1]:
            low, high = (number_text(float(end)) for end in item.range)
            yield error(
                place,
                f"the goal of {rule.value} cannot be reached: {goal.measure} ranges from {low} to {high}",
            )
    if person := space.person([*eligible, *before]):
        shown = {n: v for n, v in person.items() if n in _goal_items(protocol, regimen)}
        yield error(
            f"regimens.{name}.goal.rules",
            f"no rule gives a goal to an eligible person with {in_words(shown, protocol.items)}",
        )


def _goal_items(protocol: Protocol, regimen: Regimen) -> set[str]:
    assert regimen.goal is not None
    spoken = {n for rule in regimen.goal.rules for n in names_in(rule.when or "true")}
    return {regimen.goal.measure, *(b for n in spoken for b in basis(protocol, n))}


def _holds(protocol: Protocol, name: str, regimen: Regimen, space: Space) -> Problems:
    for index, hold in enumerate(regimen.hold_while):
        place = f"regimens.{name}.hold_while[{index}]"
        expression = criteria.compile(hold.when, protocol.items)
        if not space.possible([Condition(expression, False)]):
            yield error(place, f'"{hold.id}" always holds, so no cycle is ever given')
        elif not space.possible([Condition(expression)]):
            yield warning(place, f'"{hold.id}" can never hold within the items\' ranges')
