"""What a simulated trial is prepared from: a protocol and its virtual population, turned into the loop's
numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.criteria import Expression, Thing
from equipoise.protocol.model import Item, Protocol
from equipoise.protocol.quantities import days, parse_timepoint
from equipoise.rules import schedule
from equipoise.rules.dosing import dose_rules
from equipoise.rules.goals import GoalCase, goal_cases
from equipoise.rules.schedule import PlannedVisit
from equipoise.rules.terms import MAXIMUM_EXTRA_REVIEWS, MAXIMUM_LEVELS, DoseRules
from equipoise.rules.truth import NO, YES, from_optional, or_
from equipoise.simulate.trial import ArmPlan, Plan
from equipoise.virtual.baseline import Baseline, load_baseline
from equipoise.virtual.parameters import (
    Dials,
    Kernel,
    Population,
    Settings,
    load_population,
    require_simulable,
)


class Screen(NamedTuple):
    """The protocol's entry rules, compiled once."""

    criteria: tuple[tuple[str, Expression, bool], ...]
    """Id, expression, and whether it must be true (inclusion) or false (exclusion)."""
    strata: tuple[tuple[str, str | None, tuple[tuple[str, Expression | None], ...]], ...]
    """Name, item (for a stratum that follows an item) and levels in order with their conditions."""
    goals: dict[str, tuple[GoalCase, ...]]
    """Goal rules by regimen."""
    subgroups: tuple[tuple[str, tuple[tuple[str, Expression], ...]], ...]
    """Subgroups of the analysis plan: label, and the levels with their conditions."""


DialChoice = str | Mapping[str, Any] | None
"""Effect dials: the name of a preset; or dials by name, on top of the preset named under `preset`; or None
for the population's default preset."""

EPISODE_ITEMS: tuple[Mapping[str, bool], ...] = (
    {"pregnant": True},
    {"contraception_effective": False},
    {"on_art": False},
)
"""What the record would say during each kind of episode of `equipoise.virtual.habits.EPISODES`."""

_NO_LEVELS = (float("nan"),) * MAXIMUM_LEVELS
_NO_RULES_FIELDS: dict[str, Any] = {
    name: {"levels": _NO_LEVELS, "steps": _NO_LEVELS, "extra_reviews": (-1,) * MAXIMUM_EXTRA_REVIEWS}.get(
        name, 0.0 if kind is float else -1
    )
    for name, kind in get_type_hints(DoseRules).items()
}
_NO_RULES = DoseRules(**_NO_RULES_FIELDS)
"""Rules of an arm without cycles: never used, but of the same type."""


@dataclass(frozen=True)
class ArmSetup:
    """One arm: its name, its regimen in cycles (if any), its visits after randomisation (several may fall on
    one day) and what the loop needs of it."""

    name: str
    regimen: str | None
    visits: tuple[tuple[PlannedVisit, ...], ...]
    plan: ArmPlan
    held: tuple[tuple[str, ...], ...]
    """Ids of the holds that are on under each of the 8 masks of episodes."""


@dataclass(frozen=True, eq=False)
class Setup:
    """A protocol with its virtual population, ready to be simulated. Compared by identity."""

    protocol: Protocol
    population: Population
    baseline: Baseline
    dials: Dials
    preset: str
    settings: Settings
    """The dials by the names that users give them."""
    kernel: Kernel
    screen: Screen
    arms: tuple[ArmSetup, ...]
    plan: Plan
    landmarks: tuple[str, ...]
    """Names of the landmarks of `plan`: "month 8"."""
    population_sha256: str

    @property
    def count_item(self) -> str:
        """The item that holds the CD4 count."""
        return self.population.file.needs.measures[0]

    @property
    def rna_item(self) -> str:
        """The item that holds the HIV RNA."""
        return self.population.file.needs.measures[1]


def prepare(
    protocol: Protocol,
    dials: DialChoice = None,
    *,
    population: Population | None = None,
    baseline: Baseline | None = None,
) -> Setup:
    """Everything that simulating this protocol needs.

    `population` and `baseline` stand in for those that the protocol names (for fitting and sensitivity).
    Raises UserError when the protocol names no virtual population, the population is not known or cannot
    stand in for the participants, or a dial or preset is not known."""
    if protocol.simulation is None:
        raise UserError(
            f"{protocol.protocol}: simulation: this protocol names no virtual population, so it cannot be "
            "simulated. It can still be checked, shown and decided on."
        )
    people = load_population(protocol.simulation.population) if population is None else population
    require_simulable(protocol, people)
    entrants = load_baseline(protocol.simulation.baseline) if baseline is None else baseline
    preset, changes = _choice(dials)
    chosen = people.dials(preset, changes)
    horizon = (protocol.calendar.end_of_follow_up - protocol.calendar.first_randomization).days
    count_item, rna_item = people.file.needs.measures[:2]
    landmarks = _landmarks(protocol, count_item)
    return Setup(
        protocol=protocol,
        population=people,
        baseline=entrants,
        dials=chosen,
        preset=preset if preset is not None else people.file.default.preset,
        settings=people.settings(preset, changes),
        kernel=people.kernel(chosen, entrants.file.loss.per_year, entrants.file.withdrawal.per_year),
        screen=screen_of(protocol),
        arms=tuple(_arm(protocol, name, count_item, rna_item, horizon) for name in protocol.arms),
        plan=Plan(
            landmarks=np.array([parse_timepoint(name).day for name in landmarks], np.int64),
            landmark_reach=_reach(protocol, count_item),
            rna_limit=_detection_limit(protocol, rna_item),
        ),
        landmarks=landmarks,
        population_sha256=hashlib.sha256(
            (people.file.model_dump_json() + entrants.file.model_dump_json()).encode()
        ).hexdigest(),
    )


def screen_of(protocol: Protocol) -> Screen:
    """The protocol's entry rules, compiled. Raises CriteriaError for a rule that does not compile."""
    rules = []
    for criterion in protocol.eligibility.criteria:
        text = criterion.require if criterion.require is not None else criterion.exclude
        assert text is not None
        rules.append((criterion.id, criteria.compile(text, protocol.items), criterion.require is not None))
    strata: list[tuple[str, str | None, tuple[tuple[str, Expression | None], ...]]] = []
    for name, stratum in protocol.strata.items():
        if stratum.item is not None:
            item = protocol.items[stratum.item]
            strata.append((name, stratum.item, tuple((level, None) for level in item.categories or ())))
        else:
            conditions = (stratum.levels or {}).items()
            compiled = [
                (level, criteria.compile(condition, protocol.items)) for level, condition in conditions
            ]
            strata.append((name, None, tuple(compiled)))
    goals = {
        name: tuple(goal_cases(protocol, name))
        for name, regimen in protocol.regimens.items()
        if regimen.kind == "cycles" and regimen.goal is not None
    }
    names: dict[str, Item | Thing] = dict(protocol.items)
    for name, stratum in protocol.strata.items():
        if stratum.levels is not None:
            names[name] = Thing(stratum.label, "category", categories=tuple(stratum.levels))
    subgroups = tuple(
        (
            subgroup.label,
            tuple((level, criteria.compile(text, names)) for level, text in subgroup.levels.items()),
        )
        for subgroup in protocol.analysis.subgroups
    )
    return Screen(tuple(rules), tuple(strata), goals, subgroups)


def _choice(dials: DialChoice) -> tuple[str | None, Mapping[str, Any]]:
    if dials is None or isinstance(dials, str):
        return dials, {}
    changes = dict(dials)
    preset = changes.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise UserError(f"preset must be a name, not {preset!r}")
    return preset, changes


def _detection_limit(protocol: Protocol, item: str) -> float:
    limit = protocol.items[item].detection_limit if item in protocol.items else None
    return 1.0 if limit is None else float(limit)


def _reach(protocol: Protocol, item: str) -> int:
    """Half of the visit grid on which the analysis plan shows the measure."""
    grids = [days(each.by) for each in protocol.analysis.measures if each.measure == item]
    return grids[0] // 2 if grids else 61


def _landmarks(protocol: Protocol, item: str) -> tuple[str, ...]:
    """Grid points of the measure for which a figure is published."""
    named = []
    for figure in protocol.published.values():
        found = re.match(r"(?:day|week|month|year) \d+", figure.parameter)
        if figure.analysis == item and found is not None and found[0] not in named:
            named.append(found[0])
    return tuple(named)


# --- one arm ------------------------------------------------------------------------------------------------


def _arm(protocol: Protocol, name: str, count_item: str, rna_item: str, horizon: int) -> ArmSetup:
    regimens = [each for each in protocol.arms[name].regimens if protocol.regimens[each].kind == "cycles"]
    regimen = regimens[0] if regimens else None
    visits = _visits(protocol, name, horizon)
    earliest, before = _windows(visits)
    cycled = protocol.regimens[regimen] if regimen is not None else None
    if cycled is not None and cycled.goal is not None and cycled.goal.measure != count_item:
        raise UserError(
            f"{protocol.protocol}: regimens.{regimen}.goal.measure: a simulated trial can only be guided by "
            f"{count_item}, not by {cycled.goal.measure}"
        )
    held, resume = _holds(protocol, regimen)
    plan = ArmPlan(
        cycled=NO if regimen is None else YES,
        rules=_NO_RULES if regimen is None else typed_rules(dose_rules(protocol, regimen)),
        administrations=1 if cycled is None or cycled.cycle is None else cycled.cycle.administrations,
        cover=NO if cycled is None or cycled.cover is None else YES,
        holds=np.array([any_on for any_on, _ in held], np.int64),
        resume=np.array(resume, np.int64),
        planned=np.array([group[0].day for group in visits], np.int64),
        earliest=earliest,
        before=before,
        measures_count=_measured(visits, count_item),
        measures_rna=_measured(visits, rna_item),
    )
    return ArmSetup(name, regimen, visits, plan, tuple(ids for _, ids in held))


def typed_rules(rules: DoseRules) -> DoseRules:
    """The same numbers with each field of its declared type, so that the loop is compiled once for all
    protocols."""
    kinds = get_type_hints(DoseRules)
    return DoseRules(
        *[
            kinds[name](value) if kinds[name] in (int, float) else value
            for name, value in rules._asdict().items()
        ]
    )


def _visits(protocol: Protocol, arm: str, horizon: int) -> tuple[tuple[PlannedVisit, ...], ...]:
    by_day: dict[int, list[PlannedVisit]] = {}
    for visit in schedule.visits(protocol, arm, horizon):
        if visit.day > 0:
            by_day.setdefault(visit.day, []).append(visit)
    return tuple(tuple(by_day[day]) for day in sorted(by_day))


def _windows(visits: Sequence[Sequence[PlannedVisit]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """First day of each visit's window, and first day that belongs to the next one; overlaps belong to the
    next."""
    opens = [max(visit.earliest for visit in group) for group in visits]
    earliest, before = [], []
    free = 1
    for position, group in enumerate(visits):
        earliest.append(max(opens[position], free))
        latest = min(visit.latest for visit in group)
        closes = latest + 1 if position + 1 == len(visits) else max(opens[position + 1], group[0].day + 1)
        before.append(max(closes, group[0].day + 1))
        free = before[-1]
    return np.array(earliest, np.int64), np.array(before, np.int64)


def _measured(visits: Sequence[Sequence[PlannedVisit]], item: str) -> np.ndarray[Any, Any]:
    return np.array(
        [YES if any(item in visit.collect for visit in group) else NO for group in visits], np.int64
    )


def _holds(protocol: Protocol, regimen: str | None) -> tuple[list[tuple[int, tuple[str, ...]]], list[int]]:
    """For each mask of episodes: truth of any hold with the ids of those that are on, and the days to wait
    after."""
    usual = {name: False for name, item in protocol.items.items() if item.type == "boolean"}
    usual |= {"contraception_effective": True, "on_art": True}
    held: list[tuple[int, tuple[str, ...]]] = []
    resume = []
    for mask in range(8):
        values: dict[str, Any] = dict(usual)
        for kind, changes in enumerate(EPISODE_ITEMS):
            if mask & (1 << kind):
                values |= changes
        any_on, on, wait = NO, [], 0
        for hold in protocol.regimens[regimen].hold_while if regimen is not None else []:
            truth = from_optional(criteria.evaluate(criteria.compile(hold.when, protocol.items), values))
            any_on = or_(any_on, truth)
            if truth == YES:
                on.append(hold.id)
                if hold.resume_after is not None:
                    wait = max(wait, days(hold.resume_after))
        held.append((any_on, tuple(on)))
        resume.append(wait)
    return held, resume
