"""Enrolment: candidates come to be screened, the eligible are randomised, until the trial is full.

Candidates are taken in the order of their numbers. Each has a country (in the proportions of the protocol's
accrual) and a site; between two assessments passes an exponential time, scaled so that the last participant
is randomised on the last day of randomisation. Accrual is thus a Poisson process over calendar time in every
country, given its total. Eligibility is judged on the protocol's criteria, column by column; whoever meets
all of them and whose strata are known is randomised on the day of assessment. The first screening visit was
up to the protocol's screening period earlier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.criteria import Expression
from equipoise.protocol.criteria.grammar import Name, Not
from equipoise.protocol.quantities import days
from equipoise.simulate.allocation import allocate
from equipoise.simulate.plans import Screen, Setup
from equipoise.simulate.trial import People
from equipoise.virtual.baseline import Candidates, candidates
from equipoise.virtual.maths import exponential_quantile
from equipoise.virtual.philox import uniform_column
from equipoise.virtual.streams import ARRIVAL

BLOCK = 8192
"""Candidates drawn at a time. The result does not depend on it."""
ELIGIBLE, NOT_ELIGIBLE, ELIGIBILITY_UNKNOWN = 1, 0, -1

Column = NDArray[Any]


@dataclass(frozen=True)
class Enrolment:
    """Everybody screened for one trial, and those randomised, in the order of randomisation.

    Arrays over candidates (c,) and over participants (n,). `met` has shape (c, criteria): 1 criterion met, 0
    failed, -1 unknown. `position`: the candidate (row of the candidate arrays) of each participant.
    """

    country: Column
    site: Column
    assessed: Column
    """Day of assessment, counted from the first day of randomisation."""
    screening: Column
    """Days from the first screening visit to the assessment."""
    eligible: Column
    met: NDArray[np.int8]
    position: Column
    arm: Column
    levels: Column
    """Level (position in `stratum_levels`) of each participant in each stratum of the protocol, int64[n,
    strata]."""
    stratum_levels: tuple[tuple[str, ...], ...]
    people: People
    goals: Column
    """Goal that each participant has, or would have, in each arm, shape (n, arms); NaN unknown or none."""

    @property
    def participants(self) -> int:
        """Number randomised."""
        return len(self.position)


def enrol(setup: Setup, seed: int, trial: int, participants: int | None = None) -> Enrolment:
    """Screen and randomise one trial.

    `participants`: how many are randomised; the protocol's simulated size when left out. The candidates, and
    who of them is eligible, do not depend on it. Raises UserError when hardly any candidate is eligible."""
    protocol = setup.protocol
    target = protocol.size.simulated if participants is None else participants
    screen = setup.screen
    blocks: list[_Block] = []
    eligible_so_far = 0
    first = 0
    while eligible_so_far < target:
        # Enough for what is missing at the usual rate, never more than a block at a time.
        missing = target - eligible_so_far
        size = min(int(missing / usual_share(setup) * 1.04) + 64, BLOCK)
        block = _screen_block(setup, screen, seed, trial, first, size, target - eligible_so_far)
        blocks.append(block)
        eligible_so_far += int((block.eligible == ELIGIBLE).sum())
        first += len(block.eligible)
        if first > 100_000 and eligible_so_far < 0.001 * first:
            raise UserError(
                f"{protocol.protocol}: eligibility: of {first:,} candidates of the baseline population "
                f"{setup.baseline.name} only {eligible_so_far:,} are eligible; the population does not suit "
                "the criteria"
            )
    return _randomise(setup, screen, blocks, seed, trial)


@lru_cache(maxsize=64)
def usual_share(setup: Setup) -> float:
    """Share of candidates that is eligible, from a look at the first of them; at least 1 in 100."""
    look = _screen_block(setup, setup.screen, 0, 0, 0, 1024, 1024)
    return max(float((look.eligible == ELIGIBLE).mean()), 0.01)


class _Block(NamedTuple):
    country: Column
    site: Column
    gap: Column
    screening: Column
    eligible: Column
    met: NDArray[np.int8]
    levels: Column
    """Only of the eligible, as everything below."""
    stratum_levels: tuple[tuple[str, ...], ...]
    persons: tuple[Column, ...]
    goals: Column
    """Goal under each arm, shape (eligible, arms)."""


def _screen_block(
    setup: Setup, screen: Screen, seed: int, trial: int, first: int, count: int, wanted: int
) -> _Block:
    """Candidates first .. first + count - 1, cut after the one who fills the trial."""
    drawn = candidates(setup.population, setup.baseline, setup.protocol, np.uint64(seed), trial, first, count)
    by_criterion = np.empty((len(screen.criteria), count), np.int8)
    for place, (_, expression, include) in enumerate(screen.criteria):
        truth = _columns_of(expression, drawn.columns)
        by_criterion[place] = truth if include else np.where(truth < 0, truth, 1 - truth)
    eligible = by_criterion.min(axis=0, initial=1).astype(np.int64)
    eligible[(by_criterion == 0).any(axis=0)] = NOT_ELIGIBLE
    met = by_criterion.T
    levels, names = stratum_columns(setup, screen, drawn)
    eligible[(eligible == ELIGIBLE) & (levels < 0).any(axis=1)] = ELIGIBILITY_UNKNOWN
    found = np.flatnonzero(eligible == ELIGIBLE)
    last = int(found[wanted - 1]) + 1 if len(found) >= wanted else count
    found = found[:wanted]
    gap, length = uniform_column(np.uint64(seed), ARRIVAL, 0, trial, first, count)
    within = days(setup.protocol.eligibility.within)
    shortest = min(round(setup.population.value("screening_shortest")), within)
    return _Block(
        drawn.country[:last], drawn.site[:last], gap[:last],
        shortest + np.floor(length[:last] * (within - shortest + 1)).astype(np.int64),
        eligible[:last], met[:last], levels[found], names,
        (
            first + found, drawn.count[found], drawn.nadir[found], drawn.age[found], drawn.female[found],
            drawn.prior_aids[found], drawn.viraemic[found], drawn.log10_level[found],
            drawn.columns[setup.count_item][found],
        ),
        _goal_columns(setup, screen, drawn, levels, names, found),
    )  # fmt: skip


def _columns_of(expression: Expression, columns: Mapping[str, Column]) -> Column:
    """The truth of an expression for everybody, given only the columns that it speaks of. Most criteria are
    one yes/no item, or its denial: those are the column itself."""
    root = expression.root
    if isinstance(root, Name) and root.name in columns and columns[root.name].dtype == np.int8:
        return columns[root.name]
    if isinstance(root, Not) and isinstance(root.part, Name) and root.part.name in columns:
        truth: Column = columns[root.part.name]
        return np.where(truth < 0, truth, 1 - truth)
    named = {name: columns[name] for name in expression.names if name in columns}
    return criteria.evaluate_columns(expression, named or columns)


def stratum_columns(
    setup: Setup, screen: Screen, drawn: Candidates
) -> tuple[Column, tuple[tuple[str, ...], ...]]:
    """Level of each candidate in each stratum (first level whose condition holds; -1 unknown), and the names
    of the levels."""
    n = len(drawn.count)
    out = np.full((n, len(screen.strata)), -1, np.int64)
    names: list[tuple[str, ...]] = []
    for place, (_, item, levels) in enumerate(screen.strata):
        if item == "country" and setup.protocol.simulation is not None:
            out[:, place] = drawn.country
            names.append(tuple(setup.protocol.simulation.accrual))
            continue
        if item == "site" and setup.protocol.simulation is not None:
            out[:, place] = drawn.site
            names.append(tuple(str(number) for number in range(int(setup.protocol.simulation.sites) + 1)))
            continue
        names.append(tuple(level for level, _ in levels))
        open_ = np.ones(n, bool)
        for position, (level, condition) in enumerate(levels):
            if condition is None:
                truth = (np.asarray(drawn.columns[item or ""], dtype=object) == level).astype(np.int8)
            else:
                truth = _columns_of(condition, drawn.columns)
            out[open_ & (truth == 1), place] = position
            open_ &= truth == 0
    return out, tuple(names)


def _goal_columns(
    setup: Setup,
    screen: Screen,
    drawn: Candidates,
    levels: Column,
    names: tuple[tuple[str, ...], ...],
    found: Column,
) -> Column:
    """Goal of each eligible candidate under each arm; NaN where unknown or where the arm has none."""
    out = np.full((len(found), len(setup.arms)), np.nan)
    baseline = drawn.columns[setup.count_item][found]
    factors = {name: factor for factor, (name, item, _) in enumerate(screen.strata) if item is None}

    def column(name: str) -> Column:
        if name == "baseline":
            return baseline
        if name in factors:
            factor = factors[name]
            return np.array(names[factor], dtype=object)[levels[found, factor]]
        chosen: Column = drawn.columns[name][found]
        return chosen

    for place, arm in enumerate(setup.arms):
        for case in screen.goals.get(arm.regimen or "", ()):
            truth = np.ones(len(found), np.int8)
            if case.when is not None:
                named = {name: column(name) for name in case.when.names}
                truth = criteria.evaluate_columns(case.when, named or {"baseline": baseline})
            value = case.offset + (case.multiple * baseline if case.multiple != 0.0 else 0.0)
            open_ = np.isnan(out[:, place])
            out[:, place] = np.where(open_ & (truth == 1), value, out[:, place])
            # Where a rule's condition is unknown the goal is unknown: later rules must not fill it.
            out[open_ & (truth < 0), place] = np.inf
    out[np.isinf(out)] = np.nan
    return out


def _randomise(setup: Setup, screen: Screen, blocks: list[_Block], seed: int, trial: int) -> Enrolment:
    protocol = setup.protocol

    def joined(field: int) -> Column:
        return np.concatenate([block[field] for block in blocks])

    eligible = joined(4)
    position = np.flatnonzero(eligible == ELIGIBLE)
    span = (protocol.calendar.last_randomization - protocol.calendar.first_randomization).days
    elapsed = np.cumsum(_exponentials(joined(2)))
    assessed = np.floor(elapsed / elapsed[-1] * span).astype(np.int64)
    levels = joined(6)
    stratum_levels = blocks[0].stratum_levels
    factors = [list(protocol.strata).index(name) for name in protocol.randomization.strata]
    arm = allocate(
        protocol, levels[:, factors], [max(1, len(stratum_levels[f])) for f in factors], seed, trial
    )
    parts = [np.concatenate([block.persons[k] for block in blocks]) for k in range(9)]
    goals = np.concatenate([block.goals for block in blocks])
    goal = goals[np.arange(len(position)), arm]
    horizon = (protocol.calendar.end_of_follow_up - protocol.calendar.first_randomization).days
    columns: dict[str, Any] = {
        name: np.ascontiguousarray(part, np.int64 if name in _WHOLE else np.float64)
        for name, part in zip(People._fields, [*parts, goal, horizon - assessed[position]], strict=True)
    }
    people = People(**columns)
    return Enrolment(
        joined(0), joined(1), assessed, joined(3), eligible, joined(5), position, arm, levels, stratum_levels,
        people, goals,
    )  # fmt: skip


_WHOLE = ("number", "female", "prior_aids", "viraemic", "end_day")


@njit
def _exponentials(u):
    """Unit exponentials of uniforms."""
    out = np.empty(len(u))
    for i in range(len(u)):
        out[i] = exponential_quantile(u[i])
    return out
