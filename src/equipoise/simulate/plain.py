"""Plain event-time trials: from the file to one row of results per simulated trial.

No biology, visits or doses: people come, are allocated, and after a time that their arm's hazard decides have
the event, drop out or are still under observation when the data are cut. What happens to a person follows
from (seed, trial, person) and the hazards alone, not from the arm: two trials with the same seed see the same
people, and with a hazard ratio of 1 both arms have identical event times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from equipoise.analyse.combined_tests import FEWER, maxcombo_of_scores, maxcombo_scratch
from equipoise.errors import UserError
from equipoise.protocol.plain import AccrualPiece, HazardPiece, PlainTrial
from equipoise.protocol.quantities import Quantity, days, exact_days, per_day
from equipoise.simulate import plain_kernel as kernel
from equipoise.simulate.looks import LookRules, final_only, look_rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_STRATA = 100
LARGEST_TABLE = 1000
"""Arrangements of a permuted block that are kept as a table; larger blocks are drawn place by place."""
NO_END = "trial: without `follow_up` it may never end, since the hazard becomes 0 and nobody drops out"
MAX_COMBO = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
"""Weights (rho, gamma) of MaxCombo."""
WORD = 4_294_967_296


@dataclass(frozen=True)
class PlainSetup:
    """A plain trial made ready for the loop; `arms` has the reference arm first."""

    trial: PlainTrial
    arms: tuple[str, str]
    strata: tuple[str, ...]
    countries: tuple[str, ...]
    country_share: Floats
    """Cumulative share of each country in each piece of the accrual, shape (pieces, countries)."""
    plan: kernel.Plan
    rules: LookRules

    @property
    def looks(self) -> int:
        return len(self.rules.events)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a look's columns, in the order of the loop."""
        named = (
            "day", "events", "events reference", "events other", "enrolled", "z", "information", "log_hr",
            "log_se", "p",
        )  # fmt: skip
        return (*named, "rmst difference", "rmst se") if self.trial.analysis.test == "rmst" else named


def prepare_plain(trial: PlainTrial) -> PlainSetup:
    """Everything the loop needs to know of a trial, in days.

    Raises `UserError` for what the file may say but nobody can carry out: a look that waits for a date, a
    trial that may never end, interim looks with MaxCombo or restricted means, blocks that do not fit the
    ratio.
    """
    rules = _rules(trial)
    _refuse(trial, len(rules.events))
    other = next(arm for arm in trial.arms if arm != trial.reference_arm)
    arms = (trial.reference_arm, other)
    strata = tuple(trial.strata) or ("all",)
    shares = [each.share for each in trial.strata.values()] or [1.0]
    multiples = [each.hazard_multiple for each in trial.strata.values()] or [1.0]
    edges, density, countries, by_country = _accrual(trial)
    starts, by_arm = _hazards(trial, arms)
    hazards = np.array([[rate * multiple for rate in arm] for arm in by_arm for multiple in multiples])
    widths = np.diff(starts)
    cumulative = np.concatenate(
        [np.zeros((len(hazards), 1)), np.cumsum(hazards[:, :-1] * widths, axis=1)], axis=1
    )
    rates = [trial.arms[arm].dropout or trial.dropout for arm in arms]
    leave = np.array([0.0 if rate is None else per_day(rate) for rate in rates])
    longest = math.inf if trial.follow_up is None else _span(trial, trial.follow_up)
    if longest == math.inf and (leave == 0).any() and (hazards[:, -1] == 0).any():
        raise UserError(NO_END)
    delay = trial.monitoring.reporting_delay
    mean_delay = 0.0 if delay is None else exact_days(delay)
    method, block, arrangements = _allocation(trial, arms)
    horizons = _horizons(
        trial, edges, density, shares, starts, hazards, cumulative, leave, longest, mean_delay
    )
    analysis = trial.analysis
    plan = kernel.Plan(
        participants=trial.participants,
        whole_days=int(trial.times == "whole days"),
        accrual_start=edges,
        accrual_mass=np.concatenate([[0.0], np.cumsum(density * np.diff(edges))]),
        stratum_share=np.cumsum(shares),
        method=method,
        arrangements=arrangements,
        block=block,
        ratio=np.array([trial.arms[arm].share for arm in arms], np.int64),
        starts=starts,
        hazards=hazards,
        cumulative=cumulative,
        dropout=np.array([1.0 / rate if rate > 0 else math.inf for rate in leave]),
        delay=mean_delay,
        horizons=horizons,
        event_word=_smallest_word(_cumulative_hazard(horizons, starts, hazards, cumulative)),
        dropout_word=_smallest_word(
            np.where(leave > 0, (horizons[:, None] + 2.0) * np.maximum(leave, 1e-300), 0.0)
        ),
        primary_events=trial.primary_events or 0,
        longest=longest,
        stratified=int(analysis.stratified),
        test=kernel.RESTRICTED_MEAN if analysis.test == "rmst" else kernel.LOG_RANKS,
        saddlepoint=int(trial.monitoring.distribution == "saddlepoint"),
        weights=MAX_COMBO
        if analysis.test == "maxcombo"
        else np.array([[analysis.rho or 0.0, analysis.gamma or 0.0]]),
        horizon=0.0 if analysis.horizon is None else exact_days(analysis.horizon),
    )
    return PlainSetup(trial, arms, strata, countries, by_country, plan, rules)


def plain_rows(setup: PlainSetup, seed: int, first: int, count: int) -> dict[str, NDArray[Any]]:
    """Trials number first .. first + count - 1, one row each, whatever the chunks they are asked for in.

    Columns: `trial`; for each look k = 1.. `look k|day` (cut-off, days since the first possible day of
    accrual), `look k|events`, `... reference`, `... other`, `look k|enrolled` (randomised by then), `look
    k|z` (positive: fewer events in the other arm), `look k|information` (variance of the score; of restricted
    means 1 / se^2), `look k|log_hr` and `look k|log_se` (Cox, Efron ties, stratified where the analysis is),
    `look k|p` (one-sided); for restricted means `look k|rmst difference` (days, other minus reference) and
    `look k|rmst se`; `end|day` and `participants` of the final analysis, which is the last look. A look that
    does not take place, because the trial ended before it, is NaN. Raises `UserError` for numbers outside 0
    .. 2^32 - 1 (trials) or 2^64 - 1 (seed). Needs memory for one trial, besides the rows.
    """
    _check_numbers(seed, first, count)
    out = np.full((count, setup.looks, kernel.COLUMNS), math.nan)
    enrolled = np.empty(count, np.int64)
    weights = len(setup.plan.weights)
    score, covariance = np.zeros((count, weights)), np.zeros((count, weights, weights))
    kernel.simulate(
        setup.plan, setup.rules, np.uint64(seed), first, count, kernel.workspace(setup.plan), out, enrolled,
        score, covariance,
    )  # fmt: skip
    if setup.trial.analysis.test == "maxcombo":
        p = _joint_p(score, covariance)
        out[:, -1, kernel.P] = p
        out[:, -1, kernel.Z] = -ndtri(np.clip(p, 1e-300, 1.0 - 1e-16))
    rows: dict[str, NDArray[Any]] = {"trial": np.arange(first, first + count, dtype=np.int64)}
    for k in range(setup.looks):
        for place, name in enumerate(setup.columns):
            rows[f"look {k + 1}|{name}"] = np.ascontiguousarray(out[:, k, place])
    rows["end|day"] = np.ascontiguousarray(out[:, -1, kernel.DAY])
    rows["participants"] = enrolled
    return rows


def _joint_p(score: Floats, covariance: Floats) -> Floats:
    """One-sided p-value of the maximum of each row's weighted log-ranks: float64[rows, weights] and
    [rows, weights, weights] (overwritten)."""
    own = maxcombo_scratch(score.shape[1])
    pairs = zip(score, covariance, strict=True)
    return np.array([maxcombo_of_scores(u, v, len(u), FEWER, own)[1] for u, v in pairs], dtype=np.float64)


def plain_participants(setup: PlainSetup, seed: int, trial: int) -> pl.DataFrame:
    """One trial replayed in full: everybody who was randomised up to its end, one row each.

    Columns: `participant` (from 1, in order of randomisation), `country`, `stratum`, `arm`, `randomised` (day
    of the trial), `event` and `dropout` (days since randomisation; null: never, whatever else happens first),
    `reported` (days from the event to its report), and what is observed at the end of the trial: `observed`
    (days since randomisation) and `status` ("event", "dropout", or "under observation"). The same draws as
    the row of `plain_rows`. Raises `UserError` as that does.
    """
    _check_numbers(seed, trial, 1)
    plan, n = setup.plan, setup.plan.participants
    work = kernel.workspace(plan)
    event, dropout, delay, word = np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.uint32)
    first = kernel.everybody(plan, np.uint64(seed), trial, work, event, dropout, delay, word)
    end = float(plain_rows(setup, seed, trial, 1)["end|day"][0])
    arrival, cell = work.arrival[:n], work.cell[:n].astype(np.int64)
    follow_up = end - arrival
    happened = first & (arrival + event <= end)
    left = ~first & (arrival + dropout <= end)
    piece = np.clip(
        np.searchsorted(plan.accrual_start, arrival, side="right") - 1, 0, len(setup.country_share) - 1
    )
    country = (((word + 0.5) / WORD)[:, None] >= setup.country_share[piece, :-1]).sum(axis=1)
    strata = len(setup.strata)
    frame = pl.DataFrame(
        {
            "participant": np.arange(1, n + 1),
            "country": np.array(setup.countries)[country],
            "stratum": np.array(setup.strata)[cell % strata],
            "arm": np.array(setup.arms)[cell // strata],
            "randomised": arrival.copy(),
            "event": event,
            "dropout": dropout,
            "reported": delay,
            "observed": np.where(happened, event, np.where(left, dropout, follow_up)),
            "status": np.where(happened, "event", np.where(left, "dropout", "under observation")),
        }
    )
    never = [pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in ("event", "dropout")]
    return frame.with_columns(never).filter(pl.col("randomised") <= end)


def _check_numbers(seed: int, first: int, count: int) -> None:
    if not 0 <= seed < 2**64:
        raise UserError(f"seed: a whole number from 0 to 18446744073709551615, not {seed}")
    if first < 0 or count < 0 or first + count > WORD:
        raise UserError(f"trials are numbered from 0 to {WORD - 1}, not {first} to {first + count - 1}")


# --- from the file to arrays ------------------------------------------------------------------------------


def _span(trial: PlainTrial, duration: Quantity) -> float:
    """A length of time in days: whole ones where the trial counts in whole days."""
    return float(days(duration)) if trial.times == "whole days" else exact_days(duration)


def _rules(trial: PlainTrial) -> LookRules:
    schedule = trial.monitoring.schedule
    if not schedule:
        return final_only(trial.primary_events)
    return look_rules(schedule, trial.primary_events, whole_days=trial.times == "whole days")


def _refuse(trial: PlainTrial, looks: int) -> None:
    test = trial.analysis.test
    if looks > 1 and test in ("maxcombo", "rmst"):
        raise UserError(
            f"analysis.test: {test} has no independent increments, so it goes with a single analysis; "
            "leave out `monitoring.looks` or use log-rank or fleming-harrington"
        )
    if trial.monitoring.distribution == "saddlepoint" and test != "log-rank":
        raise UserError(
            "monitoring.distribution: saddlepoint is the distribution of the log-rank statistic, not of "
            f"{test}; use test: log-rank or leave it out"
        )
    horizon = trial.analysis.horizon
    if (
        horizon is not None
        and trial.follow_up is not None
        and exact_days(horizon) > exact_days(trial.follow_up)
    ):
        raise UserError(
            f"analysis.horizon: nobody is followed for {horizon}; the trial lasts {trial.follow_up}"
        )
    if len(trial.strata) > MOST_STRATA:
        raise UserError(f"strata: {len(trial.strata)} are too many; at most {MOST_STRATA}")
    for k, look in enumerate(trial.monitoring.schedule):
        if look.events is not None and look.events > trial.participants:
            raise UserError(
                f"monitoring.looks[{k}].events: {look.events} events cannot happen to {trial.participants} "
                "participants"
            )


def _accrual(trial: PlainTrial) -> tuple[Floats, Floats, tuple[str, ...], Floats]:
    """Edges of the pieces of the accrual (days), the intensity in each, the countries, and their cumulative
    shares in each piece. Pieces without accrual are kept between others: nobody comes in them."""
    if isinstance(trial.accrual, Quantity):
        length = _span(trial, trial.accrual)
        if length <= 0:
            raise UserError(f"accrual: {trial.accrual} is too short for anybody to come")
        return np.array([0.0, length]), np.array([1.0]), ("all",), np.ones((1, 1))
    spans = {country: _spans(trial, country, pieces) for country, pieces in trial.accrual.items()}
    edges = sorted(
        {0.0, *(edge for pieces in spans.values() for start, end, _ in pieces for edge in (start, end))}
    )
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    rates = np.array(
        [
            [sum(rate for start, end, rate in pieces if start <= middle < end) for pieces in spans.values()]
            for middle in middles
        ]
    )
    density = rates.sum(axis=1)
    shares = np.cumsum(rates, axis=1) / np.where(density > 0, density, 1.0)[:, None]
    # pieces at the ends in which nobody comes
    busy = np.flatnonzero(density > 0)
    if not len(busy):
        raise UserError("accrual: nobody is accrued; its pieces are shorter than a day")
    keep = slice(busy[0], busy[-1] + 1)
    return np.array(edges[busy[0] : busy[-1] + 2]), density[keep], tuple(spans), shares[keep]


def _spans(trial: PlainTrial, country: str, pieces: list[AccrualPiece]) -> list[tuple[float, float, float]]:
    """(from, to, rate per day) of each piece of a country."""
    found = [
        (
            _span(trial, piece.from_) if piece.from_ is not None else 0.0,
            _span(trial, piece.to),
            per_day(piece.rate),
        )
        for piece in pieces
    ]
    for (_, end, _), (start, _, _) in pairwise(sorted(found)):
        if start < end:
            raise UserError(
                f"accrual.{country}: its pieces overlap; give each `from` the `to` of the one before"
            )
    return found


def _pieces(given: Quantity | float | list[HazardPiece], name: str) -> list[tuple[float, float]]:
    """(start in days, value) of each piece of a hazard (per day) or of a hazard ratio."""

    def value(each: Quantity | float) -> float:
        return per_day(each) if isinstance(each, Quantity) else float(each)

    if not isinstance(given, list):
        return [(0.0, value(given))]
    starts = [0.0, *(exact_days(piece.until) for piece in given[:-1] if piece.until is not None)]
    return [(start, value(getattr(piece, name))) for start, piece in zip(starts, given, strict=True)]


def _at(pieces: list[tuple[float, float]], time: float) -> float:
    """The value that holds from a time on."""
    return next(value for start, value in reversed(pieces) if start <= time)


def _hazards(trial: PlainTrial, arms: tuple[str, str]) -> tuple[Floats, list[list[float]]]:
    """Starts of the pieces that the arms share (days) and the hazards of each arm in them (per day)."""
    reference, other = trial.arms[arms[0]], trial.arms[arms[1]]
    assert reference.hazard is not None
    base = _pieces(reference.hazard, "hazard")
    if other.hazard is not None:
        own = _pieces(other.hazard, "hazard")
        starts = sorted({start for start, _ in base} | {start for start, _ in own})
        return np.array(starts), [[_at(base, t) for t in starts], [_at(own, t) for t in starts]]
    assert other.hazard_ratio is not None
    ratio = _pieces(other.hazard_ratio, "hazard_ratio")
    starts = sorted({start for start, _ in base} | {start for start, _ in ratio})
    return np.array(starts), [[_at(base, t) for t in starts], [_at(base, t) * _at(ratio, t) for t in starts]]


def _allocation(trial: PlainTrial, arms: tuple[str, str]) -> tuple[int, int, NDArray[np.uint32]]:
    """Method, size of the blocks, and the arrangements of a block (bit j: arm of its j-th participant)."""
    none = np.zeros(1, np.uint32)
    shares = [trial.arms[arm].share for arm in arms]
    if trial.randomization == "simple":
        if trial.block is not None:
            raise UserError("block: simple randomisation has no blocks; leave it out")
        return kernel.SIMPLE, 1, none
    unit = sum(shares)
    size = trial.block or unit * math.ceil(4 / unit)
    if size % unit:
        raise UserError(f"block: {size} is not a multiple of {unit}, the sum of the arms' shares")
    others = size // unit * shares[1]
    if size > 32 or math.comb(size, others) > LARGEST_TABLE:
        return kernel.LARGE_BLOCKS, size, none
    masks = [sum(1 << place for place in chosen) for chosen in combinations(range(size), others)]
    return kernel.PERMUTED_BLOCKS, size, np.array(masks, np.uint32)


# --- how far ahead to search for events -------------------------------------------------------------------


def _cumulative_hazard(times: Floats, starts: Floats, hazards: Floats, cumulative: Floats) -> Floats:
    """Cumulative hazard of each cell two days after each time, shape (times, cells); inf at infinity."""
    later = times[:, None] + 2.0
    finite = np.where(np.isfinite(later), later, 0.0)
    piece = np.searchsorted(starts, finite[:, 0], side="right") - 1
    reached: Floats = cumulative.T[piece] + hazards.T[piece] * (finite - starts[piece, None])
    return np.where(np.isfinite(later), reached, math.inf)


def _smallest_word(threshold: Floats) -> NDArray[np.uint32]:
    """The smallest first word of 32 bits whose exponential may stay below a threshold; a little too small
    rather than too large, since the loop decides exactly."""
    words: Floats = np.clip(np.floor(np.exp(-threshold) * WORD) - 4.0, 0.0, WORD - 1.0)
    return words.astype(np.uint32)


def _horizons(
    trial: PlainTrial,
    edges: Floats,
    density: Floats,
    shares: list[float],
    starts: Floats,
    hazards: Floats,
    cumulative: Floats,
    leave: Floats,
    longest: float,
    delay: float,
) -> Floats:
    """Days up to which events are searched for: one that nearly always suffices, one further, infinity.

    The results do not depend on them: a trial that is not decided by the first is searched further.
    """
    limit = math.inf
    if math.isfinite(longest):
        # the first participant comes within this share of the accrual but once in a million trials
        limit = edges[0] + (edges[-1] - edges[0]) * (1.0 - 1e-6 ** (1.0 / trial.participants)) + longest
    if trial.primary_events is None:
        return np.array([limit, math.inf])
    ratio = np.array([trial.arms[arm].share for arm in _arm_order(trial)], float)
    weight = np.outer(ratio / ratio.sum(), shares).ravel()
    wanted = trial.primary_events + 4.0 * math.sqrt(trial.primary_events) + 2.0
    expected = _Expectation(
        trial, edges, density, weight, starts, hazards, cumulative, np.repeat(leave, len(shares))
    )
    reach = float(edges[-1])
    while expected.events(reach) < wanted and reach < min(limit, 1e7):
        reach *= 1.25
    low, high = 0.0, reach
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if expected.events(middle) < wanted else (low, middle)
    first = high + 4.0 * delay
    return np.array(sorted({min(first, limit), min(1.5 * first, limit), math.inf}))


def _arm_order(trial: PlainTrial) -> tuple[str, ...]:
    return (trial.reference_arm, *(arm for arm in trial.arms if arm != trial.reference_arm))


@dataclass(frozen=True)
class _Expectation:
    """Expected numbers of events by a day, roughly: 64 arrivals, each followed in 64 steps of time."""

    trial: PlainTrial
    edges: Floats
    density: Floats
    weight: Floats
    starts: Floats
    hazards: Floats
    cumulative: Floats
    leave: Floats

    def events(self, day: float) -> float:
        mass = np.concatenate([[0.0], np.cumsum(self.density * np.diff(self.edges))])
        arrivals = np.interp((np.arange(64) + 0.5) / 64 * mass[-1], mass, self.edges)
        follow_up = np.maximum(day - arrivals, 0.0)
        steps = follow_up[:, None] * np.linspace(0.0, 1.0, 65)
        hazard = _cumulative_hazard(steps.ravel() - 2.0, self.starts, self.hazards, self.cumulative)
        dying = -np.diff(np.exp(-hazard).reshape(64, 65, -1), axis=1)
        stay = np.exp(-self.leave * ((steps[:, :-1] + steps[:, 1:]) / 2)[:, :, None])
        return float(self.trial.participants * (self.weight * (dying * stay).sum(axis=1)).sum() / 64)
