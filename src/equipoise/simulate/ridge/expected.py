"""Expected hazard ratios: what Cox's model would estimate in an endless trial, at any setting of the dials.

The partial likelihood of an endless trial has its score at zero where, summed over time,

    D1 - D (R1 exp(b)) / (R0 + R1 exp(b)) = 0,

D1 being the expected events of the arm, D those of both, R0 and R1 the expected numbers at risk (Struthers
and Kalbfleisch, Biometrika 1986;73:363: the value to which the estimate tends when hazards are not
proportional). With the same people in both arms and their hazards added up instead of drawn, little chance is
left: how much, the batches of people tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
"""People in a batch."""
AT_ONCE = 60
"""Settings of the dials whose sums are kept at a time."""

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
    """Expected log hazard ratios. `names`: the figures; `values`: shape (points, figures), mean over the
    batches; `errors`: their Monte Carlo standard errors; `controls`: expected share of the reference arm with
    each of `ENDPOINTS`, shape (points, 3)."""

    points: tuple[Point, ...]
    names: tuple[str, ...]
    values: Floats
    errors: Floats
    reference: Floats
    other: Floats
    levels: Floats
    batches: Floats
    """The values of each batch, shape (batches, points, figures)."""

    def of(self, name: str) -> Floats:
        """The log hazard ratios of one figure."""
        found: Floats = self.values[:, self.names.index(name)]
        return found

    def difference(self, first: int, second: int, name: str) -> tuple[float, float]:
        """How far apart two points (by their position) are in one figure, and the standard error of that."""
        figure = self.names.index(name)
        apart = self.batches[:, first, figure] - self.batches[:, second, figure]
        return float(apart.mean()), _error(apart[:, None])[0].item()


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
) -> Expected:
    """Expected log hazard ratios of a trial at each point.

    `rates`: by psi. The people are worked on in batches, whose results are put together in their order, so
    that no digit depends on the number of threads."""
    starts = range(0, crowd.participants, BATCH)
    found = []
    for done, each in enumerate(
        in_order(lambda start: _batch(crowd, points, rates, start), starts, threads), 1
    ):
        found.append(each)
        tell(done, len(starts))
    batches = np.array([each.values for each in found])
    reference, other, levels = (
        np.array([getattr(each, name) for each in found]).sum(axis=0) / crowd.participants
        for name in ("reference", "other", "levels")
    )
    return Expected(
        tuple(points),
        names_of(crowd),
        batches.mean(axis=0),
        _error(batches),
        reference,
        other,
        levels,
        batches,
    )


def _error(batches: Floats) -> Floats:
    """Standard error of the mean of the batches."""
    if len(batches) < 2:
        return np.full(batches.shape[1:], np.nan)
    found: Floats = batches.std(axis=0, ddof=1) / math.sqrt(len(batches))
    return found


def reference_figures(crowd: Crowd, psi: float, rates: Sequence[Rates], threads: int) -> Floats:
    """The reference arm without harm, shape (rates, 3): expected shares with an opportunistic disease and
    with death, and how far the logarithm of the count of those who die lies below that of those at risk (mean
    over the deaths: the score of Cox's model for the count that a person has at the time, at no effect)."""

    def one(start: int) -> Floats:
        rows = _rows(crowd, start)
        walked = _Arm(crowd, cut_arm(crowd, crowd.reference, rows, np.array([130.0])), rows)
        return np.array([walked.counts(psi, rate) for rate in rates])

    found = np.array(list(in_order(one, range(0, crowd.participants, BATCH), threads))).sum(axis=0)
    disease, alive, deaths, alive_count, deaths_count = np.moveaxis(found, 2, 0)
    at_risk = np.divide(alive_count, alive, out=np.zeros_like(alive), where=alive > 0)
    below = (deaths * at_risk - deaths_count).sum(axis=1) / deaths.sum(axis=1)
    n = crowd.participants
    return np.stack([disease.sum(axis=1) / n, deaths.sum(axis=1) / n, below], axis=1)


# --- one batch of people ------------------------------------------------------------------------------------


def _rows(crowd: Crowd, start: int) -> Ints:
    return np.arange(start, min(start + BATCH, crowd.participants))


class _Arm:
    """A batch of people in one arm."""

    def __init__(self, crowd: Crowd, pieces: Pieces, rows: Ints) -> None:
        self._crowd, self._pieces = crowd, pieces
        self._cell = crowd.groups.cell[rows]
        self._deviate = crowd.deviate[rows]
        self._shape = (int(crowd.groups.cell.max()) + 1, len(crowd.edges) - 1, SUMS)
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
        out = np.zeros((self._shape[1], 5))
        add_counts(
            self._crowd.setup.kernel.biology.death_after_od, self._pieces, self._disease, self._linked,
            np.exp(-psi * self._deviate - 0.5 * psi * psi), rate.disease, rate.death, out,
        )  # fmt: skip
        return out

    def sums(self, point: Point, tau: int, rate: Rates) -> Floats:
        """Sums over the people, shape (cells, intervals, SUMS)."""
        out = np.zeros(self._shape)
        psi = point.psi
        add_up(
            self._crowd.setup.dials, self._crowd.setup.kernel.biology.death_after_od, self._pieces,
            self._disease, self._linked, np.exp(-psi * self._deviate - 0.5 * psi * psi), self._cell,
            point.rho, tau, rate.disease, rate.death, out,
        )  # fmt: skip
        return out


class _Batch(NamedTuple):
    """Log hazard ratios of each point, and expected numbers with events, as in `Expected`."""

    values: Floats
    reference: Floats
    other: Floats
    levels: Floats


def _counts(sums: Floats) -> Floats:
    """Expected numbers with each of `ENDPOINTS`."""
    total = sums.sum(axis=(0, 1))
    return np.array(
        [total[DISEASE] + total[DEATH_FREE], total[DISEASE], total[DEATH_FREE] + total[DEATH_AFTER]]
    )


def _by_level(sums: Floats, crowd: Crowd) -> Floats:
    """Expected numbers with a primary event in each level of the subgroup."""
    count = len(crowd.groups.levels)
    if count == 0:
        return np.zeros(0)
    events = (sums[..., DISEASE] + sums[..., DEATH_FREE]).sum(axis=1)
    cell = np.arange(len(events)) % (count + 1)
    return np.array([events[cell == k].sum() for k in range(count)])


def _batch(crowd: Crowd, points: Sequence[Point], rates: dict[float, Rates], start: int) -> _Batch:
    rows = _rows(crowd, start)
    taus = sorted({point.tau for point in points})
    numbers = {tau: k for k, tau in enumerate(taus)}
    arms = [
        _Arm(crowd, cut_arm(crowd, number, rows, np.array(taus)), rows)
        for number in (crowd.reference, crowd.other)
    ]
    cycled = crowd.setup.arms[crowd.reference].regimen is not None
    order = sorted(range(len(points)), key=lambda k: (points[k].phi, points[k].psi, points[k]))
    values = np.empty((len(points), len(names_of(crowd))))
    counts, treated = np.empty((len(points), 3)), np.empty((len(points), 3))
    levels = np.empty((len(points), len(crowd.groups.levels)))
    reference: dict[tuple[float, ...], Floats] = {}
    set_to: tuple[float, float] | None = None
    for first in range(0, len(order), AT_ONCE):
        some = order[first : first + AT_ONCE]
        pair: list[tuple[Floats, Floats]] = []
        for k in some:
            point = points[k]
            rate, tau = rates[point.psi], numbers[point.tau]
            if set_to != (point.phi, point.psi):
                set_to = (point.phi, point.psi)
                arms[1].protect(point.phi, rate.power)
                if cycled:
                    reference.clear()
            # without cycles the reference arm knows nothing of phi, rho and tau
            key = (point.psi, point.rho, point.tau) if cycled else (point.psi,)
            if key not in reference:
                arms[0].protect(point.phi, rate.power)
                reference[key] = arms[0].sums(point, tau, rate)
            pair.append((reference[key], arms[1].sums(point, tau, rate)))
            counts[k], treated[k] = _counts(pair[-1][0]), _counts(pair[-1][1])
            levels[k] = _by_level(pair[-1][0] + pair[-1][1], crowd)
        values[some] = log_ratios(np.array([a for a, _ in pair]), np.array([b for _, b in pair]), crowd)
    return _Batch(values, counts, treated, levels)


# --- the limits of the estimates ----------------------------------------------------------------------------


def log_ratios(zero: Floats, one: Floats, crowd: Crowd) -> Floats:
    """The log hazard ratios of each point, shape (points, figures). `zero`, `one`: sums of the reference arm
    and of the other, shape (points, cells, intervals, SUMS)."""
    levels = len(crowd.groups.levels)
    by_level = (len(zero), crowd.groups.strata, levels + 1 if levels else 1, *zero.shape[2:])
    padded = [_padded(each, by_level) for each in (zero, one)]
    whole = [each.sum(axis=2) for each in padded]
    found = [_root(*_at_risk(whole[0], name), *_at_risk(whole[1], name)) for name in ENDPOINTS]
    found += list(_recent_and_later(*whole))
    found += [
        _root(*_at_risk(padded[0][:, :, k], PRIMARY), *_at_risk(padded[1][:, :, k], PRIMARY))
        for k in range(levels)
    ]
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


def _root(risk0: Floats, events0: Floats, risk1: Floats, events1: Floats) -> Floats:
    """Where the score of the arm is zero, by Newton's method; all points at once."""
    beta = np.zeros(len(risk0))
    events = events0 + events1
    for _ in range(30):
        raised = risk1 * np.exp(beta)[:, None]
        total = risk0 + raised
        share = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0)
        step = (events1 - events * share).sum(axis=1) / (events * share * (1 - share)).sum(axis=1)
        beta = beta + step
        if np.max(np.abs(step)) < 1e-12:
            break
    return beta


def _recent_and_later(zero: Floats, one: Floats) -> tuple[Floats, Floats]:
    """Log hazard ratios of the primary endpoint while a cycle was recent, and at all other times, against the
    reference arm: Cox's model with two covariates that depend on time."""
    n = len(zero)
    risk0, events0 = _at_risk(zero, PRIMARY)
    risk1, events1 = _at_risk(one, PRIMARY)
    risk_r, events_r = one[..., FREE_RECENT].reshape(n, -1), one[..., EVENTS_RECENT].reshape(n, -1)
    risk_l, events_l = risk1 - risk_r, events1 - events_r
    events = events0 + events1
    beta = np.zeros((n, 2))
    if not risk_r.any():
        return np.full(n, np.nan), np.full(n, np.nan)
    for _ in range(30):
        raised = [risk * np.exp(beta[:, k])[:, None] for k, risk in enumerate((risk_r, risk_l))]
        total = risk0 + raised[0] + raised[1]
        p, q = (np.divide(each, total, out=np.zeros_like(each), where=total > 0) for each in raised)
        score = np.stack([(events_r - events * p).sum(axis=1), (events_l - events * q).sum(axis=1)], axis=1)
        a, b = (events * p * (1 - p)).sum(axis=1), (events * q * (1 - q)).sum(axis=1)
        c = -(events * p * q).sum(axis=1)
        step = np.stack([b * score[:, 0] - c * score[:, 1], a * score[:, 1] - c * score[:, 0]], axis=1)
        step /= (a * b - c * c)[:, None]
        beta = beta + step
        if np.max(np.abs(step)) < 1e-12:
            break
    return beta[:, 0], beta[:, 1]
