"""Enrolment: candidates come to be screened, the eligible are randomised, until the trial is full.

Candidates are taken in the order of their numbers. Each has a country (in the proportions of the protocol's
accrual) and a site; between two assessments passes an exponential time, scaled so that the last participant
is randomised on the last day of randomisation. Accrual is thus a Poisson process over calendar time in every
country, given its total. Whoever meets all of the protocol's criteria and whose strata are known is
randomised on the day of assessment (`equipoise.simulate.sieve` puts the criteria to the candidates). The
first screening visit was up to the protocol's screening period earlier."""

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
from equipoise.simulate import sieve
from equipoise.simulate.allocation import Allocation, allocate, allocation
from equipoise.simulate.plans import Setup
from equipoise.simulate.screening import TRAITS, run_sieve, screening_of
from equipoise.simulate.trial import People
from equipoise.virtual.baseline import PlaceTables, candidates, place_tables, places
from equipoise.virtual.maths import exponential_quantiles, floor_day
from equipoise.virtual.philox import uniform_column
from equipoise.virtual.streams import ARRIVAL

BLOCK = 8192
"""Candidates drawn at a time. The result does not depend on it."""
ELIGIBLE, NOT_ELIGIBLE, ELIGIBILITY_UNKNOWN = 1, 0, -1

Column = NDArray[Any]


@dataclass(frozen=True)
class Enrolment:
    """Everybody screened for one trial, and those randomised, in the order of randomisation.

    Arrays over candidates (c,) and over participants (n,). `position`: the candidate (row of the candidate
    arrays) of each participant. Which criteria each candidate failed is told by `criteria_met`.
    """

    country: Column
    site: Column
    assessed: Column
    """Day of assessment, counted from the first day of randomisation."""
    screening: Column
    """Days from the first screening visit to the assessment."""
    eligible: Column
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
    screening = screening_of(setup)
    verdicts: list[Column] = []
    results: list[Column] = []
    found = first = 0
    while found < target:
        # Enough for what is missing at the usual rate, never more than a block at a time.
        missing = target - found
        most = min(int(missing / screening.share * 1.2) + 256, BLOCK)
        eligible = np.empty(most, np.int64)
        result = np.empty((screening.program.columns + 1, min(missing, most) + sieve.BLOCK))
        tested, more = run_sieve(
            setup, screening.program, seed, trial, first, most, missing, screening.share, eligible, result
        )
        more = min(more, missing)
        verdicts.append(eligible[:tested])
        results.append(result[:, :more])
        found += more
        first += tested
        if first > 100_000 and found < 0.001 * first:
            raise UserError(
                f"{protocol.protocol}: eligibility: of {first:,} candidates of the baseline population "
                f"{setup.baseline.name} only {found:,} are eligible; the population does not suit the "
                "criteria"
            )
    return _randomise(setup, seed, trial, np.concatenate(verdicts), np.concatenate(results, axis=1))


class _Frame(NamedTuple):
    """What is the same in every trial of a setup."""

    tables: PlaceTables
    within: int
    """Days that screening may take, and the least that it takes."""
    shortest: int
    span: int
    """Days from the first randomisation to the last, and to the end of follow-up."""
    horizon: int
    allocation: Allocation


@lru_cache(maxsize=64)
def _frame(setup: Setup) -> _Frame:
    protocol, calendar = setup.protocol, setup.protocol.calendar
    within = days(protocol.eligibility.within)
    levels = screening_of(setup).stratum_levels
    factors = [list(protocol.strata).index(name) for name in protocol.randomization.strata]
    return _Frame(
        place_tables(protocol),
        within,
        min(round(setup.population.value("screening_shortest")), within),
        (calendar.last_randomization - calendar.first_randomization).days,
        (calendar.end_of_follow_up - calendar.first_randomization).days,
        allocation(protocol, factors, [max(1, len(levels[factor])) for factor in factors]),
    )


def _randomise(setup: Setup, seed: int, trial: int, eligible: Column, result: Column) -> Enrolment:
    """The candidates up to the one who fills the trial, their times, and the arms of those randomised.

    `result`: as `sieve.sieve` gives it, only of those who are wanted."""
    frame, stratum_levels = _frame(setup), screening_of(setup).stratum_levels
    first_level = 2 + len(TRAITS)
    first_goal = first_level + len(stratum_levels)
    position = result[0].astype(np.int64)
    screened = int(position[-1]) + 1
    country, site = places(frame.tables, np.uint64(seed), trial, 0, screened)
    assessed, screening = _times(np.uint64(seed), trial, screened, frame.span, frame.within, frame.shortest)
    levels = result[first_level:first_goal].T.astype(np.int64, order="C")
    arm = allocate(frame.allocation, levels, seed, trial)
    goals = np.ascontiguousarray(result[first_goal:].T)
    goals[np.isinf(goals)] = np.nan
    columns: dict[str, Any] = {
        name: part.astype(np.int64) if name in _WHOLE else np.ascontiguousarray(part)
        for name, part in zip(People._fields, result[:first_level], strict=False)
    }
    people = People(
        **columns,
        goal=goals[np.arange(len(position)), arm],
        end_day=frame.horizon - assessed[position],
    )
    return Enrolment(
        country, site, assessed, screening, eligible[:screened], position, arm, levels, stratum_levels,
        people, goals,
    )  # fmt: skip


@njit
def _times(seed, trial, screened, span, within, shortest):
    """Day of assessment of each candidate, the last on day `span`, and days from the first screening visit to
    it: int64[2, screened]."""
    u = uniform_column(seed, ARRIVAL, 0, trial, 0, screened)
    waits, out = np.empty(screened), np.empty((2, screened), np.int64)
    exponential_quantiles(u[0], waits, screened)
    for i in range(1, screened):
        waits[i] += waits[i - 1]
    for i in range(np.uint64(screened)):
        out[0, i] = floor_day(waits[i] / waits[screened - 1] * span)
        out[1, i] = shortest + floor_day(u[1, i] * (within - shortest + 1))
    return out


_WHOLE = ("number", "female", "prior_aids", "viraemic")


# --- the criteria one by one --------------------------------------------------------------------------------


def criteria_met(setup: Setup, seed: int, trial: int, first: int, count: int) -> NDArray[np.int8]:
    """The verdict on every criterion for the candidates first .. first + count - 1, shape (count, criteria):
    1 met, 0 failed, -1 unknown."""
    met = np.empty((count, len(setup.screen.criteria)), np.int8)
    # A block at a time, for the answers of everybody together would fill the memory of a large trial.
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        drawn = candidates(
            setup.population, setup.baseline, setup.protocol, np.uint64(seed), trial, first + start, size
        )
        for place, (_, expression, include) in enumerate(setup.screen.criteria):
            truth = _columns_of(expression, drawn.columns)
            met[start : start + size, place] = truth if include else np.where(truth < 0, truth, 1 - truth)
    return met


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
