"""Expected hazard ratios: what Cox's model would estimate in an endless trial, at any setting of the dials.

The partial likelihood of an endless trial has its score at zero where, summed over time,

    D1 - D (R1 exp(b)) / (R0 + R1 exp(b)) = 0,

D1 being the expected events of the arm, D those of both, R0 and R1 the expected numbers at risk (Struthers
and Kalbfleisch, Biometrika 1986;73:363: the value to which the estimate tends when hazards are not
proportional). With the same people in both arms and their hazards added up instead of drawn, little chance is
left. People are worked on in batches, each of which is spread over the whole of enrolment; what they add up
to is solved once for all, and how much chance is left is told by leaving out each batch in turn (jackknife:
Efron and Stein, Ann Stat 1981;9:586)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.simulate.ridge.courses import Crowd, cut_arm
from equipoise.simulate.ridge.kernel import (
    AFTER,
    DEATH_AFTER,
    DEATH_FREE,
    DISEASE,
    EVENTS_RECENT,
    FREE,
    FREE_RECENT,
    SUMS,
    Pieces,
    add_counts,
    add_up,
    protection,
)
from equipoise.simulate.runs import in_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH = 1000
"""People in a batch, at most."""
BATCHES = 20
"""Batches, at the least: fewer say little about the Monte Carlo error."""
AT_ONCE = 400
"""Settings of the dials whose sums are kept at a time."""
STEPS, TOLERANCE = 30, 1e-8
"""Newton's steps for a log hazard ratio, and the largest last step with which it counts as found."""

PRIMARY, DISEASES, DEATHS, RECENT, LATER = "primary", "opportunistic disease", "death", "recent", "later"
ENDPOINTS = (PRIMARY, DISEASES, DEATHS)


class Point(NamedTuple):
    """One setting of the dials."""

    phi: float
    rho: float
    tau: float
    """Days."""
    psi: float


class Rates(NamedTuple):
    """Factors on the rates of opportunistic disease and of death linked to the count, and on the power of the
    count in the latter."""

    disease: float
    death: float
    power: float


@dataclass(frozen=True, eq=False)
class Expected:
    """Expected log hazard ratios of everybody. `names`: the figures; `values`: shape (points, figures);
    `errors`: their Monte Carlo standard errors, NaN at points where they were not asked for; `reference`,
    `other`: expected share of either arm with each of `ENDPOINTS`, shape (points, 3); `levels`: expected
    primary events of both arms per person in each level of the subgroup."""

    points: tuple[Point, ...]
    names: tuple[str, ...]
    values: Floats
    errors: Floats
    reference: Floats
    other: Floats
    levels: Floats
    left_out: Floats
    """The values without each batch, shape (batches, points, figures)."""

    def of(self, name: str) -> Floats:
        """The log hazard ratios of one figure."""
        found: Floats = self.values[:, self.names.index(name)]
        return found

    def apart(self, first: int, second: int, names: Sequence[str]) -> tuple[Floats, Floats]:
        """How far apart two points (by their position) are in some figures, shape (figures,), and the same
        without each batch, shape (batches, figures): both points have the same people."""
        place = [self.names.index(name) for name in names]
        return (
            self.values[first, place] - self.values[second, place],
            self.left_out[:, first, place] - self.left_out[:, second, place],
        )


def subgroup_name(level: str) -> str:
    """The figure of one level of the subgroup."""
    return f"subgroup: {level}"


def names_of(crowd: Crowd) -> tuple[str, ...]:
    """The figures that are worked out for a trial."""
    return (*ENDPOINTS, RECENT, LATER, *(subgroup_name(level) for level in crowd.groups.levels))


def expected(
    crowd: Crowd,
    points: Sequence[Point],
    rates: dict[float, Rates],
    threads: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
    errors_at: Sequence[int] | None = None,
) -> Expected:
    """Expected log hazard ratios of a trial at each point.

    `rates`: by psi. `errors_at`: positions of the points whose Monte Carlo error is wanted (all when left
    out). The people are worked on in batches, whose sums are added up in their order, so that no digit
    depends on the number of threads. Raises UserError when a hazard ratio is not found."""
    wanted = set(range(len(points)) if errors_at is None else errors_at)
    # neighbours share what is worked out for a functional share and a frailty
    order = sorted(range(len(points)), key=lambda k: (points[k].phi, points[k].psi, points[k]))
    runs = [order[first : first + AT_ONCE] for first in range(0, len(order), AT_ONCE)]
    found: list[tuple[Floats, ...]] = []
    for number, some in enumerate(runs):
        chosen = [points[k] for k in some]
        errors = np.array([j for j, k in enumerate(some) if k in wanted], np.int64)
        each = len(batches_of(crowd))
        told = partial(_part, tell, number * each, len(runs) * each)
        found.append(_of_some(crowd, chosen, rates, errors, threads, told))
    back = np.argsort(order)
    values, left_out, reference, other, levels = (
        np.concatenate([each[k] for each in found], axis=0)[back] for k in range(5)
    )
    left_out = np.swapaxes(left_out, 0, 1)
    return Expected(
        tuple(points), names_of(crowd), values, jackknife_error(left_out), reference, other, levels, left_out
    )


def _part(tell: Callable[[int, int], None], before: int, of: int, done: int) -> None:
    tell(before + done, of)


def _of_some(
    crowd: Crowd, points: Sequence[Point], rates: dict[float, Rates], errors: Ints, threads: int,
    tell: Callable[[int], None],
) -> tuple[Floats, ...]:  # fmt: skip
    """Of some points: values, the values without each batch at the positions `errors`, shape (points,
    batches, figures), and expected shares with events of both arms and by level."""
    groups = batches_of(crowd)
    which = _references(crowd, points)
    kept: list[tuple[Floats, Floats]] = []
    total: _Sums | None = None
    for done, each in enumerate(
        in_order(lambda rows: _batch(crowd, points, rates, which, rows), groups, threads), 1
    ):
        # copies: the first batch is what the others are added to
        kept.append((each.reference[which[errors]], each.other[errors]))
        if total is None:
            total = each
        else:
            np.add(total.reference, each.reference, out=total.reference)
            np.add(total.other, each.other, out=total.other)
        tell(done)
    assert total is not None
    values = log_ratios(total.reference[which], total.other, crowd)
    left_out = np.full((len(points), len(groups), values.shape[1]), np.nan)
    zero, one = total.reference[which[errors]], total.other[errors]
    for number, (less_zero, less_one) in enumerate(kept if len(errors) else []):
        left_out[errors, number] = log_ratios(_less(zero, less_zero), _less(one, less_one), crowd)
    n = crowd.participants
    return (
        values,
        left_out,
        _counts(total.reference)[which] / n,
        _counts(total.other) / n,
        (_by_level(total.reference, crowd)[which] + _by_level(total.other, crowd)) / n,
    )


def _less(whole: Floats, part: Floats) -> Floats:
    """Sums without those of a batch; rounding leaves nothing below zero."""
    found: Floats = np.maximum(whole - part, 0.0)
    return found


def jackknife_error(left_out: Floats) -> Floats:
    """Standard error of a figure of everybody from its values without each batch, shape (batches, ...)
    (Efron and Stein, Ann Stat 1981;9:586)."""
    count = len(left_out)
    if count < 2:
        return np.full(left_out.shape[1:], np.nan)
    found: Floats = np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return found


def batches_of(crowd: Crowd) -> list[Ints]:
    """The people of each batch. They are numbered in order of entry and followed to a common date, so a batch
    takes every so many: each is a small sample of everybody."""
    n = crowd.participants
    count = min(n, max(BATCHES, -(-n // BATCH)))
    return [np.arange(k, n, count) for k in range(count)]


def reference_figures(crowd: Crowd, psi: float, rates: Sequence[Rates], threads: int) -> Floats:
    """The reference arm without harm, shape (rates, 3): expected shares with an opportunistic disease and
    with death, and how far the logarithm of the count of those who die lies below that of those at risk (mean
    over the deaths: the score of Cox's model for the count that a person has at the time, at no effect)."""

    def one(rows: Ints) -> Floats:
        walked = _Arm(crowd, cut_arm(crowd, crowd.reference, rows, np.array([130.0])), rows)
        return np.array([walked.counts(psi, rate) for rate in rates])

    found = np.array(list(in_order(one, batches_of(crowd), threads))).sum(axis=0)
    disease, alive, deaths, alive_count, deaths_count = np.moveaxis(found, 2, 0)
    at_risk = np.divide(alive_count, alive, out=np.zeros_like(alive), where=alive > 0)
    below = (deaths * at_risk - deaths_count).sum(axis=1) / deaths.sum(axis=1)
    n = crowd.participants
    return np.stack([disease.sum(axis=1) / n, deaths.sum(axis=1) / n, below], axis=1)


# --- one batch of people ------------------------------------------------------------------------------------


class _Arm:
    """A batch of people in one arm."""

    def __init__(self, crowd: Crowd, pieces: Pieces, rows: Ints) -> None:
        self._crowd, self._pieces = crowd, pieces
        self._cell = crowd.groups.cell[rows]
        self._deviate = crowd.deviate[rows]
        self.shape = (int(crowd.groups.cell.max()) + 1, len(crowd.edges) - 1, SUMS)
        used = int(pieces.first[-1])
        self._disease, self._linked = np.empty(used), np.empty(used)

    def protect(self, phi: float, power: float) -> None:
        """Set the functional share, and the factor on the power of the count in death."""
        b = self._crowd.setup.kernel.biology
        protection(
            self._crowd.setup.dials, b.od_power, b.death_power * power, phi, self._pieces, self._disease,
            self._linked,
        )  # fmt: skip

    def counts(self, psi: float, rate: Rates) -> Floats:
        """Sums of `add_counts`, shape (intervals, 5)."""
        self.protect(0.0, rate.power)
        out = np.zeros((self.shape[1], 5))
        add_counts(
            self._crowd.setup.kernel.biology.death_after_od, self._pieces, self._disease, self._linked,
            np.exp(-psi * self._deviate - 0.5 * psi * psi), rate.disease, rate.death, out,
        )  # fmt: skip
        return out

    def sums(self, point: Point, tau: int, rate: Rates) -> Floats:
        """Sums over the people, shape (cells, intervals, SUMS)."""
        out = np.zeros(self.shape)
        psi = point.psi
        add_up(
            self._crowd.setup.dials, self._crowd.setup.kernel.biology.death_after_od, self._pieces,
            self._disease, self._linked, np.exp(-psi * self._deviate - 0.5 * psi * psi), self._cell,
            point.rho, tau, rate.disease, rate.death, out,
        )  # fmt: skip
        return out


class _Sums(NamedTuple):
    """Sums of either arm, shape (settings, cells, intervals, SUMS). Settings that the reference arm cannot
    tell apart share theirs (`_references`)."""

    reference: Floats
    other: Floats


def _cycled(crowd: Crowd) -> bool:
    return crowd.setup.arms[crowd.reference].regimen is not None


def _references(crowd: Crowd, points: Sequence[Point]) -> Ints:
    """Which sums of the reference arm belong to each point: without cycles that arm knows nothing of phi, rho
    and tau."""
    if _cycled(crowd):
        return np.arange(len(points))
    known: dict[float, int] = {}
    return np.array([known.setdefault(point.psi, len(known)) for point in points])


def _counts(sums: Floats) -> Floats:
    """Expected numbers with each of `ENDPOINTS`, shape (settings, 3)."""
    total = sums.sum(axis=(1, 2))
    disease, free, after = total[:, DISEASE], total[:, DEATH_FREE], total[:, DEATH_AFTER]
    return np.stack([disease + free, disease, free + after], axis=1)


def _by_level(sums: Floats, crowd: Crowd) -> Floats:
    """Expected numbers with a primary event, shape (settings, levels of the subgroup)."""
    count = len(crowd.groups.levels)
    events = (sums[..., DISEASE] + sums[..., DEATH_FREE]).sum(axis=2)
    level = np.arange(events.shape[1]) % (count + 1)
    found = [events[:, level == k].sum(axis=1) for k in range(count)]
    return np.stack(found, axis=1) if found else np.zeros((len(sums), 0))


def _batch(
    crowd: Crowd, points: Sequence[Point], rates: dict[float, Rates], which: Ints, rows: Ints
) -> _Sums:
    """Sums of the people `rows` at each point; `which`: as `_references` gives it."""
    taus = sorted({point.tau for point in points})
    numbers = {tau: k for k, tau in enumerate(taus)}
    reference, other = (
        _Arm(crowd, cut_arm(crowd, number, rows, np.array(taus)), rows)
        for number in (crowd.reference, crowd.other)
    )
    out = _Sums(np.empty((int(which.max()) + 1, *reference.shape)), np.empty((len(points), *other.shape)))
    done = np.zeros(len(out.reference), bool)
    set_to: tuple[float, float] | None = None
    for k, point in enumerate(points):
        rate, tau = rates[point.psi], numbers[point.tau]
        if set_to != (point.phi, point.psi):
            set_to = (point.phi, point.psi)
            other.protect(point.phi, rate.power)
        if not done[which[k]]:
            reference.protect(point.phi, rate.power)
            out.reference[which[k]] = reference.sums(point, tau, rate)
            done[which[k]] = True
        out.other[k] = other.sums(point, tau, rate)
    return out


# --- the limits of the estimates ----------------------------------------------------------------------------


def log_ratios(zero: Floats, one: Floats, crowd: Crowd) -> Floats:
    """Log hazard ratios of each point, shape (points, figures); NaN where a figure has nobody at risk or no
    events. `zero`, `one`: sums of the reference arm and of the other, shape (points, cells, intervals, SUMS).
    Raises UserError when Newton's method does not get there."""
    levels = len(crowd.groups.levels)
    by_level = (len(zero), crowd.groups.strata, levels + 1 if levels else 1, *zero.shape[2:])
    padded = [_padded(each, by_level) for each in (zero, one)]
    whole = [each.sum(axis=2) for each in padded]
    found = [
        _root(*_at_risk(whole[0], name), *_at_risk(whole[1], name), f"{crowd.name}, {name}")
        for name in ENDPOINTS
    ]
    found += list(_recent_and_later(whole[0], whole[1], f"{crowd.name}, by time since a cycle"))
    found += [
        _root(
            *_at_risk(padded[0][:, :, k], PRIMARY), *_at_risk(padded[1][:, :, k], PRIMARY),
            f"{crowd.name}, {subgroup_name(crowd.groups.levels[k])}",
        )
        for k in range(levels)
    ]  # fmt: skip
    return np.stack(found, axis=1)


def _padded(sums: Floats, shape: tuple[int, ...]) -> Floats:
    cells = shape[1] * shape[2]
    out = np.zeros((len(sums), cells, *sums.shape[2:]))
    out[:, : sums.shape[1]] = sums
    return out.reshape(shape)


def _at_risk(sums: Floats, endpoint: str) -> tuple[Floats, Floats]:
    """Person-days at risk and events of an endpoint, shape (points, strata x intervals)."""
    if endpoint == DEATHS:
        at_risk, events = sums[..., FREE] + sums[..., AFTER], sums[..., DEATH_FREE] + sums[..., DEATH_AFTER]
    elif endpoint == DISEASES:
        at_risk, events = sums[..., FREE], sums[..., DISEASE]
    else:
        at_risk, events = sums[..., FREE], sums[..., DISEASE] + sums[..., DEATH_FREE]
    return at_risk.reshape(len(sums), -1), events.reshape(len(sums), -1)


def _root(risk0: Floats, events0: Floats, risk1: Floats, events1: Floats, place: str) -> Floats:
    """Where the score of the arm is zero, by Newton's method; all points at once."""
    events = events0 + events1
    there = (
        (risk0.sum(axis=1) > 0)
        & (risk1.sum(axis=1) > 0)
        & (events0.sum(axis=1) > 0)
        & (events1.sum(axis=1) > 0)
    )
    beta = np.where(there, 0.0, np.nan)
    risk0, risk1, events, events1 = risk0[there], risk1[there], events[there], events1[there]

    def step(at: Floats) -> Floats:
        raised = risk1 * np.exp(at)
        total = risk0 + raised
        share = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0)
        score = (events1 - events * share).sum(axis=1)
        found: Floats = score / (events * share * (1 - share)).sum(axis=1)
        return found[:, None]

    beta[there] = _newton(step, np.zeros((int(there.sum()), 1)), place)[:, 0]
    return beta


def _newton(step: Callable[[Floats], Floats], beta: Floats, place: str) -> Floats:
    """Coefficients where the step is zero, shape (points, coefficients). Raises UserError, naming `place`,
    when it is not small after `STEPS` steps."""
    off = 0.0
    with np.errstate(all="ignore"):
        for _ in range(STEPS if beta.size else 0):
            moved = step(beta)
            beta = beta + moved
            off = float(np.max(np.abs(moved)))
            if off < 1e-12:
                break
    if not off < TOLERANCE:
        raise UserError(
            f"{place}: an expected hazard ratio is not found (Newton's method does not settle): there are "
            "too few events; take more virtual people"
        )
    return beta


def _recent_and_later(zero: Floats, one: Floats, place: str) -> tuple[Floats, Floats]:
    """Log hazard ratios of the primary endpoint while a cycle was recent, and at all other times, against the
    reference arm: Cox's model with two covariates that depend on time."""
    n = len(zero)
    risk0, events0 = _at_risk(zero, PRIMARY)
    risk1, events1 = _at_risk(one, PRIMARY)
    risk_r, events_r = one[..., FREE_RECENT].reshape(n, -1), one[..., EVENTS_RECENT].reshape(n, -1)
    risk_l, events_l = risk1 - risk_r, events1 - events_r
    sums = [each.sum(axis=1) for each in (risk0, risk_r, risk_l, events0, events_r, events_l)]
    there = np.all([each > 0 for each in sums], axis=0)
    risk0, risk_r, risk_l = risk0[there], risk_r[there], risk_l[there]
    events_r, events_l, events = events_r[there], events_l[there], (events0 + events1)[there]
    beta = np.full((n, 2), np.nan)

    def step(at: Floats) -> Floats:
        raised = [risk * np.exp(at[:, k])[:, None] for k, risk in enumerate((risk_r, risk_l))]
        total = risk0 + raised[0] + raised[1]
        p, q = (np.divide(each, total, out=np.zeros_like(each), where=total > 0) for each in raised)
        score = np.stack([(events_r - events * p).sum(axis=1), (events_l - events * q).sum(axis=1)], axis=1)
        a, b = (events * p * (1 - p)).sum(axis=1), (events * q * (1 - q)).sum(axis=1)
        c = -(events * p * q).sum(axis=1)
        found = np.stack([b * score[:, 0] - c * score[:, 1], a * score[:, 1] - c * score[:, 0]], axis=1)
        return np.asarray(found / (a * b - c * c)[:, None])

    beta[there] = _newton(step, np.zeros((int(there.sum()), 2)), place)
    return beta[:, 0], beta[:, 1]
