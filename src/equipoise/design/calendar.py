"""When participants and events come, and what the log-rank test may expect, by calendar time.

Participants arrive with a density that is constant between given times (the sum over countries), have events
by a hazard that is piecewise constant in the time since randomisation, leave at a constant rate, and are
followed at most so long. Everything expected is a closed form (Lachin & Foulkes, Biometrics 1986;42:507-19,
extended to pieces).

The number of events by a calendar time is a binomial count, one for each arm when permuted blocks fix the
size of the arms; so the time of the k-th event has an exact distribution: P(T_k <= t) = P(at least k events
by t). Arrivals are taken as independent of each other and their total as fixed.

The expected log-rank statistic is an integral over the people at risk, as in Lakatos, Biometrics
1988;44:229-41, and Schoenfeld, Biometrika 1981;68:316-9, so hazards need not be proportional.

Times are in one unit throughout, chosen by the caller, and counted from the first day of accrual; rates are
per that unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc, gammaln, xlog1py, xlogy

from equipoise.errors import UserError

Array = NDArray[np.float64]

FOREVER = 45.0
"""Mean times after which what has not happened never will (exp(-45) is 3e-20)."""
TINY = 1e-13
"""Probability that is left out at either end when the mean of a time is taken."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_POLYNOMIALS = np.polynomial.legendre.legvander(_NODES, 15)
_RUNNING = np.polynomial.legendre.legval(
    _NODES, np.polynomial.legendre.legint(np.eye(16), lbnd=-1)
).T @ np.linalg.inv(_POLYNOMIALS)
"""Integrals from -1 to each node of what has given values at the nodes."""


# --- what is assumed --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accrual:
    """How arrivals are spread: the share of the participants who come between each two of `edges`, evenly
    within."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.shares) + 1 or any(b <= a for a, b in pairwise(self.edges)):
            raise UserError("accrual needs rising times, one more than there are shares")
        if min(self.shares) < 0 or not math.isclose(sum(self.shares), 1, rel_tol=1e-9):
            raise UserError("the shares of an accrual must not be negative and add up to 1")

    @staticmethod
    def even(duration: float) -> Accrual:
        """Everybody within `duration`, evenly."""
        return Accrual((0.0, duration), (1.0,))

    @staticmethod
    def of_pieces(pieces: Iterable[tuple[float, float, float]]) -> Accrual:
        """The sum of pieces (from, to, rate), which may overlap, as those of several countries do. Raises
        UserError when nobody comes at all."""
        known = [piece for piece in pieces if piece[2] > 0]
        if not known:
            raise UserError("nobody is accrued: every rate is 0")
        edges = sorted({edge for piece in known for edge in piece[:2]})
        sizes = [
            (b - a) * sum(rate for start, end, rate in known if start <= a and b <= end)
            for a, b in pairwise(edges)
        ]
        total = sum(sizes)
        return Accrual(tuple(edges), tuple(size / total for size in sizes))

    def stretched(self, factor: float) -> Accrual:
        """The same arrivals, taking `factor` times as long."""
        return replace(self, edges=tuple(factor * edge for edge in self.edges))

    @property
    def last(self) -> float:
        """When the last participant may come."""
        return self.edges[-1]

    def by(self, time: ArrayLike) -> Array:
        """Share of the participants who have come by each time."""
        shares = np.concatenate([[0.0], np.cumsum(self.shares)])
        return np.asarray(np.interp(np.asarray(time, dtype=float), self.edges, shares), dtype=np.float64)


@dataclass(frozen=True)
class Hazard:
    """A hazard that is constant from each of `starts` (times since randomisation, the first is 0) to the
    next."""

    starts: tuple[float, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        fits = len(self.starts) == len(self.rates) > 0 and self.starts[0] == 0
        if not fits or any(b <= a for a, b in pairwise(self.starts)) or min(self.rates) < 0:
            raise UserError("a hazard needs rising times from 0 on, and a rate of 0 or more for each of them")

    @staticmethod
    def constant(rate: float) -> Hazard:
        return Hazard((0.0,), (rate,))

    def times(self, ratio: Hazard | float) -> Hazard:
        """This hazard multiplied by a ratio, which may be piecewise constant itself."""
        if not isinstance(ratio, Hazard):
            return Hazard(self.starts, tuple(ratio * rate for rate in self.rates))
        starts = tuple(sorted({*self.starts, *ratio.starts}))
        both = self.at(starts) * ratio.at(starts)
        return Hazard(starts, tuple(float(rate) for rate in both))

    def at(self, time: ArrayLike) -> Array:
        """The hazard at each time since randomisation."""
        place = np.searchsorted(self.starts, np.asarray(time, dtype=float), side="right") - 1
        return np.asarray(self.rates, dtype=np.float64)[place]

    def survival(self, time: ArrayLike, dropout: float = 0.0) -> Array:
        """Probability that nothing has happened by each time, nor the participant dropped out."""
        at = np.asarray(time, dtype=float)
        ends = (*self.starts[1:], math.inf)
        total = dropout * at
        for start, end, rate in zip(self.starts, ends, self.rates, strict=True):
            total = total + rate * np.clip(at - start, 0.0, end - start)
        return np.asarray(np.exp(-total), dtype=np.float64)


@dataclass(frozen=True)
class Arm:
    """The participants of one arm, their hazard of the event and their rate of dropping out."""

    name: str
    participants: float
    hazard: Hazard
    dropout: float = 0.0


@dataclass(frozen=True)
class Stratum:
    """A share of the participants whose hazards are `multiple` times those of their arm."""

    share: float = 1.0
    multiple: float = 1.0


@dataclass(frozen=True)
class EventModel:
    """All that is assumed about the coming of events in a trial of two arms.

    follow_up: of one participant, at most. end: calendar time at which follow-up of everybody ends. delay:
    mean time (exponential) from an event to its report; events count when they are known. fixed: whether the
    sizes of the arms are fixed (permuted blocks) or each participant's arm is drawn by itself.
    """

    accrual: Accrual
    reference: Arm
    experimental: Arm
    strata: tuple[Stratum, ...] = (Stratum(),)
    follow_up: float = math.inf
    end: float = math.inf
    delay: float = 0.0
    fixed: bool = True

    def __post_init__(self) -> None:
        if not self.participants > 0:
            raise UserError("a trial needs participants")
        if self.end <= self.accrual.edges[0] or self.follow_up <= 0:
            raise UserError("follow-up must end after it has begun")

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.reference, self.experimental

    @property
    def participants(self) -> float:
        return self.reference.participants + self.experimental.participants

    @property
    def share(self) -> float:
        """Share of the participants in the reference arm."""
        return self.reference.participants / self.participants

    def without_effect(self) -> EventModel:
        """The same trial when the experimental arm has the hazard and the dropout of the reference arm."""
        like = replace(self.experimental, hazard=self.reference.hazard, dropout=self.reference.dropout)
        return replace(self, experimental=like)

    def scaled(self, multiple: float) -> EventModel:
        """The same trial with every hazard of the event multiplied."""
        first, second = (replace(arm, hazard=arm.hazard.times(multiple)) for arm in self.arms)
        return replace(self, reference=first, experimental=second)


# --- expected numbers by calendar time --------------------------------------------------------------------


def with_effect(model: EventModel, share: float) -> EventModel:
    """The same trial when the logarithm of the hazard ratio is `share` of what is assumed (0: no effect)."""
    reference, other = model.reference.hazard, model.experimental.hazard
    starts = tuple(sorted({*reference.starts, *other.starts}))
    rates = []
    for first, second in zip(reference.at(starts), other.at(starts), strict=True):
        rates.append(float(first * (second / first) ** share if first > 0 and second > 0 else second))
    return replace(model, experimental=replace(model.experimental, hazard=Hazard(starts, tuple(rates))))


def randomized(model: EventModel, time: ArrayLike) -> Array:
    """Expected number of participants randomised by each calendar time."""
    return model.participants * model.accrual.by(np.minimum(np.asarray(time, dtype=float), model.end))


def event_probability(model: EventModel, time: ArrayLike) -> Array:
    """Probability that a participant, of those who will ever be randomised, has a known event by each
    calendar time; shape (2, ...): reference arm, experimental arm."""
    found = np.stack([_averaged(model, arm, time, _known_events) for arm in model.arms])
    return np.clip(found, 0.0, 1.0)  # rounding may leave it


def expected_events(model: EventModel, time: ArrayLike) -> Array:
    """Expected known events by each calendar time; shape (2, ...): reference arm, experimental arm."""
    sizes = np.array([arm.participants for arm in model.arms])
    found = event_probability(model, time)
    return sizes.reshape(2, *[1] * (found.ndim - 1)) * found


def person_time(model: EventModel, time: ArrayLike) -> Array:
    """Expected time at risk by each calendar time, in the unit of time; shape (2, ...) as
    `expected_events`."""
    return np.stack([arm.participants * _averaged(model, arm, time, _at_risk) for arm in model.arms])


_Integral = Callable[[Hazard, float, EventModel, Array], Array]


def _averaged(model: EventModel, arm: Arm, time: ArrayLike, integral: _Integral) -> Array:
    """Mean over arrivals of a function of the time since arrival, of which `integral` is the integral
    from 0."""
    at = np.minimum(np.asarray(time, dtype=float), model.end)
    total: Array = np.zeros_like(at)
    edges = model.accrual.edges
    for stratum in model.strata:
        hazard = arm.hazard.times(stratum.multiple)
        reached = [integral(hazard, arm.dropout, model, np.maximum(at - edge, 0.0)) for edge in edges]
        for (a, b), share, (early, late) in zip(
            pairwise(edges), model.accrual.shares, pairwise(reached), strict=True
        ):
            total = total + stratum.share * share / (b - a) * (early - late)
    return total


def _known_events(hazard: Hazard, dropout: float, model: EventModel, x: Array) -> Array:
    """Integral over (0, x) of the probability that an event has happened, and is known, so long after
    arrival."""
    inside, happened, unknown = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    known = 1.0 / model.delay if model.delay > 0 else math.inf
    for start, end, rate, at_risk in _pieces(hazard, dropout, model.follow_up):
        within = np.clip(x - start, 0.0, end - start)
        once, twice = _integrals(rate + dropout, within)
        inside = inside + rate * at_risk * (twice + once * np.maximum(x - end, 0.0))
        if known < math.inf:
            happened = happened + rate * at_risk * once
            since = np.maximum(x - start - within, 0.0)
            unknown = unknown + rate * at_risk * np.exp(-known * since) * _lagged(
                rate + dropout, known, within
            )
    return inside if known == math.inf else inside - (happened - unknown) / known


def _at_risk(hazard: Hazard, dropout: float, model: EventModel, x: Array) -> Array:
    """Integral over (0, x) of the expected time at risk within so long after arrival."""
    total = np.zeros_like(x)
    for start, end, rate, at_risk in _pieces(hazard, dropout, model.follow_up):
        once, twice = _integrals(rate + dropout, np.clip(x - start, 0.0, end - start))
        total = total + at_risk * (twice + once * np.maximum(x - end, 0.0))
    return total


def _pieces(hazard: Hazard, dropout: float, follow_up: float) -> Iterable[tuple[float, float, float, float]]:
    """Each piece of follow-up: from, to, hazard, and the probability of being at risk at its start."""
    at_risk = 1.0
    for start, end, rate in zip(hazard.starts, (*hazard.starts[1:], math.inf), hazard.rates, strict=True):
        stop = min(end, follow_up)
        if stop <= start:
            return
        yield start, stop, rate, at_risk
        at_risk *= math.exp(-(rate + dropout) * (stop - start)) if stop < math.inf else 0.0


def _integrals(rate: float, x: Array) -> tuple[Array, Array]:
    """The integral of exp(-rate s) over (0, x), and the integral of that; exact for small rates too."""
    if rate == 0:
        return x, 0.5 * x * x
    y = rate * x
    once = -np.expm1(-y) / rate
    series = x * x * (1 / 2 - y / 6 + y**2 / 24 - y**3 / 120 + y**4 / 720)
    return once, np.where(y < 1e-2, series, (x - once) / rate)


def _lagged(rate: float, known: float, x: Array) -> Array:
    """The integral over s in (0, x) of exp(-rate s - known (x - s)): happened, but not known at x."""
    y = (known - rate) * x
    near = np.abs(y) < 1e-3
    series = x * np.exp(-known * x) * (1 + y / 2 + y**2 / 6 + y**3 / 24)
    apart = known - rate if known != rate else 1.0
    return np.where(near, series, (np.exp(-rate * x) - np.exp(-known * x)) / apart)


# --- the time of the k-th event ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TimeToEvents:
    """When so many events will have come.

    expected: the calendar time at which so many are expected (None: not by the end of follow-up). median,
    lower, upper: quantiles of the time itself at `level` (None: not by the end). mean: of the time at which
    they have come or, failing that, follow-up has ended (infinite if it never ends and they may not come).
    reached: probability that they come at all by the end.
    """

    events: int
    level: float
    expected: float | None
    mean: float
    median: float | None
    lower: float | None
    upper: float | None
    reached: float


def time_to_events(model: EventModel, events: int, level: float = 0.95) -> TimeToEvents:
    """The calendar time of the `events`-th known event. Raises UserError for a level that is not between
    0 and 1 or fewer than one event."""
    if not 0 < level < 1:
        raise UserError(f"the level of an interval must be between 0 and 1, not {level:g}")
    if events < 1:
        raise UserError("the time to no event is no time: give at least 1 event")
    tail = (1 - level) / 2
    low, middle, high = (time_quantile(model, events, p) for p in (tail, 0.5, 1 - tail))
    return TimeToEvents(
        events,
        level,
        expected_time(model, events),
        mean_time(model, events),
        middle,
        low,
        high,
        float(probability_of_events(model, events, horizon(model))),
    )


def horizon(model: EventModel) -> float:
    """The end of follow-up, or the time after which no event is left to come."""
    if model.end < math.inf:
        return model.end
    slowest = math.inf
    for arm in model.arms:
        for stratum in model.strata:
            rate = arm.hazard.rates[-1] * stratum.multiple + arm.dropout
            slowest = min(slowest, rate) if rate > 0 else slowest
    last = max(arm.hazard.starts[-1] for arm in model.arms)
    longest = last + (FOREVER / slowest if slowest < math.inf else 1.0)
    return model.accrual.last + min(model.follow_up, longest) + FOREVER * model.delay


def probability_of_events(model: EventModel, events: int, time: ArrayLike) -> Array:
    """Probability that at least `events` events are known by each calendar time; shape of `time`."""
    chance = event_probability(model, time)
    if events <= 0:
        return np.ones(chance.shape[1:])
    if not model.fixed:
        mixed = model.share * chance[0] + (1 - model.share) * chance[1]
        return _at_least(round(model.participants), events, mixed)
    first, second = (round(arm.participants) for arm in model.arms)
    flat = chance.reshape(2, -1)
    found = [_at_least_of_two(first, p, second, q, events) for p, q in flat.T]
    return np.array(found).reshape(chance.shape[1:])


def _at_least(n: int, k: ArrayLike, p: ArrayLike) -> Array:
    """P(Binomial(n, p) >= k)."""
    wanted = np.asarray(k, dtype=float)
    inside = (wanted >= 1) & (wanted <= n)
    safe = np.where(inside, wanted, 1.0)
    return np.where(wanted < 1, 1.0, np.where(inside, betainc(safe, n - safe + 1, p), 0.0))


def _at_least_of_two(n: int, p: float, m: int, q: float, k: int) -> float:
    """P(Binomial(n, p) + Binomial(m, q) >= k), summed over the first where it is not negligible."""
    spread = 12 * math.sqrt(n * p * (1 - p)) + 12
    low, high = max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread))
    i = np.arange(low, high + 1)
    log = gammaln(n + 1) - gammaln(i + 1) - gammaln(n - i + 1) + xlogy(i, p) + xlog1py(n - i, -p)
    return min(1.0, float(np.exp(log) @ _at_least(m, k - i, q)))


def expected_time(model: EventModel, events: float) -> float | None:
    """The calendar time at which `events` known events are expected; None if not by the end of follow-up."""
    return _inverse(model, lambda t: float(expected_events(model, t).sum()) / events, 1.0)


def time_quantile(model: EventModel, events: int, probability: float) -> float | None:
    """The time by which the `events`-th event has come with this probability; None if not by the end."""
    return _inverse(model, lambda t: float(probability_of_events(model, events, t)), probability)


def _inverse(model: EventModel, rising: Callable[[float], float], value: float) -> float | None:
    start, end = model.accrual.edges[0], horizon(model)
    if rising(end) < value:
        return None
    step = model.accrual.last - start
    while start + step < end and rising(start + step) < value:
        step *= 2  # a horizon of centuries would cost the root its digits
    return float(brentq(lambda t: rising(t) - value, start, min(start + step, end), xtol=1e-9, rtol=1e-13))


def mean_time(model: EventModel, events: int, not_before: float = 0.0, at_latest: float = math.inf) -> float:
    """The mean of the time of the `events`-th event, or of the end of follow-up if that comes first, when one
    looks no sooner than `not_before` and no later than `at_latest`; infinite where nothing ends the wait.

    The integral of the probability that the wait goes on.
    """
    last = min(model.end, at_latest)
    first = min(max(not_before, model.accrual.edges[0]), last)
    low, high = (time_quantile(model, events, p) for p in (TINY, 1 - TINY))
    if high is None and last == math.inf:
        return math.inf
    a = last if low is None else min(max(low, first), last)
    b = last if high is None else min(max(high, a), last)
    edges = np.linspace(a, b, 17)
    half = np.diff(edges)[:, None] / 2
    times = (edges[:-1, None] + half) + half * _NODES
    waiting = 1 - probability_of_events(model, events, times)
    return a + float((half * _WEIGHTS * waiting).sum())


def events_quantile(model: EventModel, time: float, probability: float) -> int:
    """The least number of events that is not exceeded at a calendar time with this probability."""
    low, high = -1, round(model.participants)
    while high - low > 1:
        middle = (low + high) // 2
        if 1 - float(probability_of_events(model, middle + 1, time)) >= probability:
            high = middle
        else:
            low = middle
    return high


# --- the log-rank test ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogRank:
    """What the log-rank test is expected to find at a calendar time: observed minus expected events of
    the experimental arm; their variance as the test takes it (the information); z, positive when the
    experimental arm does better; and the standard deviation of z, which is 1 without an effect and near
    it otherwise."""

    o_minus_e: float
    variance: float
    z: float
    spread: float

    def power(self, critical: float) -> float:
        """The probability that z is beyond a critical value above 0, on the side of the expected z."""
        return 0.5 * math.erfc((critical - abs(self.z)) / (self.spread * math.sqrt(2)))


def log_rank(model: EventModel, time: float, stratified: bool = False) -> LogRank:
    """The expected log-rank statistic at a calendar time, from integrals over the people at risk Y:

        O - E = int Y0 Y1 / (Y0 + Y1) (h1 - h0) ds,   V = int Y0 Y1 / (Y0 + Y1)^2 (Y0 h0 + Y1 h1) ds.

    Raises UserError if no event can have happened by then. Reporting delay is not counted.
    """
    now = min(time, model.end)
    if not now > model.accrual.edges[0]:
        raise UserError("no event can be expected by then, so there is no log-rank statistic")
    grid = _grid(model, now)
    open_ = model.accrual.by(now - grid.points) * (grid.points < model.follow_up)
    at_risk, events, sizes = [], [], []
    for arm in model.arms:
        hazards = [arm.hazard.times(stratum.multiple) for stratum in model.strata]
        size = np.array([arm.participants * stratum.share for stratum in model.strata])[:, None]
        people = size * np.stack([h.survival(grid.points, arm.dropout) for h in hazards]) * open_
        at_risk.append(people)
        events.append(people * np.stack([h.at(grid.points) for h in hazards]))
        sizes.append(size)
    if not stratified:
        at_risk, events, sizes = (
            [each.sum(axis=0, keepdims=True) for each in of_arms] for of_arms in (at_risk, events, sizes)
        )
    (y0, y1), (d0, d1) = at_risk, events
    everybody = np.where(y0 + y1 > 0, y0 + y1, 1.0)
    drift = float((grid.weights * (y0 * d1 - y1 * d0) / everybody).sum())
    variance = float((grid.weights * y0 * y1 * (d0 + d1) / everybody**2).sum())
    if not variance > 0:
        raise UserError("no event can be expected by then, so there is no log-rank statistic")
    spread = math.sqrt(_score_variance(grid, at_risk, events, sizes, model.fixed) / variance)
    return LogRank(drift, variance, -drift / math.sqrt(variance), spread)


def _score_variance(
    grid: _Grid, at_risk: list[Array], events: list[Array], sizes: list[Array], fixed: bool
) -> float:
    """The variance of observed minus expected events: a sum over participants of independent terms

        event (Z - e(X)) - int_0^X (Z - e(s)) h(s) ds,    e = Y1 / (Y0 + Y1), h the hazard of both together,

    Z = 1 in the experimental arm, X the time under observation (Lin & Wei, J Am Stat Assoc 1989;84:1074-8).
    Rows are strata. With fixed sizes the means of the arms do not vary.
    """
    everybody = np.where(at_risk[0] + at_risk[1] > 0, at_risk[0] + at_risk[1], 1.0)
    share, pooled = at_risk[1] / everybody, (events[0] + events[1]) / everybody
    means, squares = [], []
    for treated, (people, happened) in enumerate(zip(at_risk, events, strict=True)):
        off = treated - share
        pull = off * (happened - people * pooled)
        so_far = grid.running(off * pooled)
        means.append((grid.weights * pull).sum(axis=1))
        squares.append((grid.weights * (off**2 * happened - 2 * so_far * pull)).sum(axis=1))
    if fixed:
        spent = sum(mean**2 / size[:, 0] for mean, size in zip(means, sizes, strict=True))
    else:
        spent = (means[0] + means[1]) ** 2 / (sizes[0] + sizes[1])[:, 0]
    return float((squares[0] + squares[1] - spent).sum())


@dataclass(frozen=True)
class _Grid:
    """Points and weights over the time since randomisation, in panels within which everything is smooth;
    `half` the half-widths of the panels."""

    points: Array
    weights: Array
    half: Array

    def running(self, values: Array) -> Array:
        """The integral of `values` (strata, points) from 0 to each point."""
        panels = values.reshape(len(values), len(self.half), len(_NODES))
        inside = self.half[:, None] * (panels @ _RUNNING.T)
        whole = self.half * (panels @ _WEIGHTS)
        before = np.cumsum(whole, axis=1) - whole
        return np.asarray((before[:, :, None] + inside).reshape(values.shape), dtype=np.float64)


def _grid(model: EventModel, now: float) -> _Grid:
    last = min(now - model.accrual.edges[0], model.follow_up)
    breaks = {0.0, last}
    breaks |= {start for arm in model.arms for start in arm.hazard.starts}
    breaks |= {now - edge for edge in model.accrual.edges}
    known = sorted(each for each in breaks if 0 <= each <= last)
    fastest = max(
        max(arm.hazard.rates) * max(s.multiple for s in model.strata) + arm.dropout for arm in model.arms
    )
    edges = [known[0]]
    for a, b in pairwise(known):
        panels = math.ceil(min(1 + fastest * (b - a), 200))
        edges += np.linspace(a, b, panels + 1)[1:].tolist()
    half = np.diff(edges) / 2
    points = np.array(edges[:-1])[:, None] + half[:, None] * (1 + _NODES)
    return _Grid(points.ravel(), (half[:, None] * _WEIGHTS).ravel(), half)
