"""Levels that a count of events can attain: limits that respect them, and the level of those that do not.

At an interim look with few events the log-rank statistic takes few values: each event falls on one arm or the
other. With d of N participants having had an event, and no effect, their number in an arm is hypergeometric,
whoever dropped out when, since the allocation was drawn at random. A limit between two possible counts has
the level of the next count beyond it. Here that is said (`attained_level`), and mended (`attainable_limits`):
limits are placed at levels that can be attained, none above what may be spent, and what is left unspent
is carried on to the next look, as exact group-sequential tests of counts do (Jennison & Turnbull 2000,
chapter 12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binom, hypergeom

from equipoise.design import integration
from equipoise.design.calendar import EventModel, expected_events, expected_time, horizon, person_time
from equipoise.errors import UserError

Floats = NDArray[np.float64]

NOTICEABLE = 0.05
"""A type I error is off when it differs from its level by more than this share of it."""
FEW_EVENTS = 100
"""Below this number the times of events and dropouts do not fill the gaps between the counts."""
MINORITY = 0.5
"""Events per participant up to which a level is predicted."""


@dataclass(frozen=True)
class Draws:
    """Whom the events are drawn from: participants in both arms, and the share in the experimental arm."""

    participants: int
    share: float = 0.5

    @property
    def sizes(self) -> tuple[int, int]:
        """Participants in the reference and the experimental arm; equal arms stay equal."""
        return round(self.participants * (1 - self.share)), round(self.participants * self.share)


@dataclass(frozen=True)
class Attained:
    """Probabilities, without an effect, of passing the limits at each look first."""

    efficacy: tuple[float, ...]
    lower: tuple[float, ...]
    """Passing the lower limit: for harm, or for futility."""

    def level(self, sides: int) -> float:
        """The type I error: on the side of efficacy, or on both."""
        return sum(self.efficacy) + (sum(self.lower) if sides == 2 else 0.0)


def check_draws(draws: Draws, events: Sequence[float]) -> None:
    """Raises UserError for more events than participants, or arms without any."""
    if max(events) > draws.participants:
        raise UserError(
            f"participants: {max(events):g} events cannot happen to {draws.participants} participants"
        )
    if min(draws.sizes) < 1:
        raise UserError(f"participants: {draws.participants} are too few for two arms")


def levels(draws: Draws, events: int) -> tuple[Floats, Floats]:
    """Limits of z that a count can attain, for efficacy and, with the sign changed, for harm: rising arrays
    (events,) of deviates of P(at least c events in one arm), c from 1 on."""
    counts = np.arange(1, events + 1)
    arms = draws.sizes
    good, bad = (-ndtri(hypergeom.sf(counts - 1, sum(arms), size, events)) for size in arms)
    return good, bad


def attainable_limits(
    information: Floats, spent: Floats, events: Sequence[float], draws: Draws, *, sides: int, ended: bool,
    futility: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """(lower, upper, error spent) with every limit before the end at a level that can be attained.

    information: shares, rising (K,); spent: cumulative type I error that may be spent by each look, over both
    sides where `sides` is 2; events: counts at the looks; ended: the last look is the final one, which takes
    all that is left and is not moved; futility: limits that count as kept to (binding), or None. Infinite
    where no count is extreme enough.
    """
    looks = len(information)
    lower, upper = np.full(looks, -math.inf), np.full(looks, math.inf)
    if futility is not None:
        lower[:] = futility
    used = np.zeros(2)
    kept = np.zeros(looks)
    for k in range(looks):
        may = np.maximum(spent[k] / sides - used, 0.0)
        low, high = integration.next_limits(
            information[: k + 1], lower[:k], upper[:k], may[0] if sides == 2 else 0.0, may[1]
        )
        if k < looks - 1 or not ended:
            good, bad = levels(draws, round(events[k]))
            high, low = _next_level(good, high), -_next_level(bad, -low)
        upper[k] = high
        if sides == 2:
            lower[k] = low
        below, beyond = integration.crossing(information[: k + 1], lower[: k + 1], upper[: k + 1], 0.0)
        used = np.array([below.sum(), beyond.sum()])
        kept[k] = used.sum() if sides == 2 else used[1]
    return lower, upper, kept


def next_level(draws: Draws, events: float, limit: float, sides: int) -> float:
    """The least limit, not under this one, at an attainable level: of efficacy or, two-sided, of both."""
    good, bad = levels(draws, round(events))
    return max(_next_level(good, limit), _next_level(bad, limit)) if sides == 2 else _next_level(good, limit)


def _next_level(attained: Floats, limit: float) -> float:
    beyond = attained[attained >= limit - 1e-9]
    return float(beyond[0]) if len(beyond) else math.inf


# --- the level of limits that were set for a normal statistic ---------------------------------------------


@dataclass(frozen=True)
class Exposure:
    """How a trial stands at a look, without an effect, as far as the law of its event counts depends on it.

    participants: as many with equal chances of an event as would give arms balanced by blocks the same
    variance, (sum of chances)^2 / (sum of their squares): those randomised late, or in a stratum of low
    hazard, hardly count. dropouts: per event. share: in the experimental arm.
    """

    participants: float
    dropouts: float
    share: float


def exposure(model: EventModel, events: float) -> Exposure:
    """The exposure when so many events are expected (at the end of follow-up, if they are not)."""
    null = replace(model.without_effect(), delay=0.0)
    time = expected_time(null, events)
    at = horizon(null) if time is None else time
    chances, weights = _chances(null, at)
    mean, square = float(weights @ chances), float(weights @ chances**2)
    happened = float(expected_events(null, at).sum())
    arm = null.reference
    lost = arm.dropout * float(person_time(null, at).sum())
    return Exposure(null.participants * mean * mean / square, lost / happened, 1 - null.share)


def _chances(model: EventModel, time: float, steps: int = 400) -> tuple[Floats, Floats]:
    """Each participant's chance of an event by a time, for arrivals in equal steps and each stratum, with
    weights."""
    edges = np.linspace(model.accrual.edges[0], model.accrual.last, steps + 1)
    share = np.diff(model.accrual.by(edges))
    followed = np.maximum(time - (edges[1:] + edges[:-1]) / 2, 0.0)
    arm = model.reference
    chances, weights = [], []
    for stratum in model.strata:
        hazard = arm.hazard.times(stratum.multiple)
        # of those who have an event or leave, the share of events is taken to be that of constant hazards
        events = -np.log(np.maximum(hazard.survival(followed, 0.0), 1e-300))
        both = events + arm.dropout * followed
        chances.append(-np.expm1(-both) * np.divide(events, both, out=np.zeros(steps), where=both > 0))
        weights.append(stratum.share * share)
    return np.concatenate(chances), np.concatenate(weights)


def attained_level(
    events: Sequence[float], upper: Sequence[float], lower: Sequence[float], exposures: Sequence[Exposure], *,
    saddlepoint: bool = False,
) -> Attained:  # fmt: skip
    """The level that limits of z have when the log-rank statistic is what the events make it.

    events: at the looks, rising; upper, lower: limits at them (infinite: none); exposures: of the looks;
    saddlepoint: z is the saddlepoint deviate, not the statistic over its standard deviation.

    Each limit has, at its look alone, the level that the count of events gives it. The normal limits of those
    levels are then taken through the looks by the recursion for independent increments.

    With d events among N participants the count c in an arm of share p is hypergeometric. An event or a
    dropout moves the expected events of those after it, so that given c, observed minus expected is in
    proportion to c - d p, and spread by the order in which they came, with variance
    p (1 - p) d^3 (1/12 + r/3) / N^2 for r dropouts per event (a bridge, and a sum of the dropouts' excess
    in an arm). The factor of c - d p is the one that gives observed minus expected its variance, d p (1 - p).
    First order in d / N: for trials in which a minority has the event.
    """
    information = np.asarray(events, dtype=float)
    looks = zip([round(each) for each in events], upper, lower, exposures, strict=True)
    equivalent = np.array([_equivalent(d, high, low, at, saddlepoint) for d, high, low, at in looks])
    below, beyond = integration.crossing(information, equivalent[:, 0], equivalent[:, 1], 0.0)
    return Attained(tuple(beyond.tolist()), tuple(below.tolist()))


def _equivalent(d: int, high: float, low: float, at: Exposure, saddlepoint: bool) -> tuple[float, float]:
    """The limits, lower and upper, that would have the same levels were z normal."""
    people = max(round(at.participants), d + 2)
    reference = min(max(round(people * (1 - at.share)), 1), people - 1)
    chance = hypergeom.pmf(np.arange(d + 1), people, reference, d)
    z, spread = _statistic(d, at, saddlepoint)
    over, under = float(chance @ _passing(z, spread, high)), float(chance @ _passing(-z, spread, -low))
    return float(ndtri(under)), float(-ndtri(over))


def _statistic(d: int, at: Exposure, saddlepoint: bool) -> tuple[Floats, float]:
    """z for each count in the reference arm, and the spread that it has given the count."""
    p = 1.0 - at.share
    count = np.arange(d + 1)
    even = d * p * (1 - p)
    spread2 = even * (d / at.participants) ** 2 * (1 / 12 + at.dropouts / 3)
    kept = max(1.0 - d / at.participants, 0.05)
    excess = (count - d * p) * math.sqrt(max(even - spread2, 0.0) / (even * kept))
    shift = excess - (count - d * p)
    variance = np.maximum(even - (1 - 2 * p) * shift, 1e-12)
    if saddlepoint:
        share = np.clip(p - shift / d, 1e-9, 1 - 1e-9)
        tail = binom.sf(count, d, share) + 0.5 * binom.pmf(count, d, share)
        # a mid-p value is that of a variable with the variance of a lattice cell besides
        z = -ndtri(np.clip(tail, 1e-300, 1 - 1e-16)) * (1.0 + 1.0 / (12.0 * variance))
    else:
        z = excess / np.sqrt(variance)
    return z, math.sqrt(spread2 / even)


def _passing(z: Floats, spread: float, limit: float) -> Floats:
    """The chance that z, with this spread, is at or over a limit."""
    if math.isinf(limit):
        return np.zeros(len(z))
    passing: Floats = ndtr((z - limit) / max(spread, 1e-9))
    return passing


# --- said in words ----------------------------------------------------------------------------------------


def level_note(attained: float, nominal: float, saddlepoint: bool) -> str | None:
    """What to say of a design whose type I error is predicted to be noticeably off; None where it is not."""
    if abs(attained - nominal) <= NOTICEABLE * nominal:
        return None
    mend = "" if saddlepoint else "; `distribution: saddlepoint` in the monitoring keeps the level"
    return (
        f"the type I error is predicted to be {attained:.4f}, not {nominal:g}: with so few events, or arms "
        f"so unequal, the log-rank statistic is not normal{mend}"
    )


def few_events_notes(
    events: Sequence[float], upper: Sequence[float], share: float, alpha: float, sides: int
) -> list[str]:
    """What is to be said of limits for a normal statistic where no more is known than the events at the looks
    and the share in the experimental arm: counts that leave a gap around a limit, and skewness."""
    return [*_gaps(events, upper, share, alpha, sides), *_skewness(events, upper, share, alpha, sides)]


def _gaps(
    events: Sequence[float], upper: Sequence[float], share: float, alpha: float, sides: int
) -> list[str]:
    found = []
    for look, (count, limit) in enumerate(zip(events[:-1], upper[:-1], strict=True), 1):
        d = round(count)
        if d >= FEW_EVENTS or math.isinf(limit):
            continue
        tails = binom.sf(np.arange(d + 1) - 1, d, 1 - share)
        meant = float(ndtr(-limit))
        over, under = float(tails[tails >= meant].min()), float(np.max(tails[tails < meant], initial=0.0))
        if sides * (over - under) > NOTICEABLE * alpha:
            found.append(
                f"with {d} events, look {look} can have a one-sided level of {under:.4f} or {over:.4f}, not "
                f"of {meant:.4f}: the counts leave no other; with `distribution: saddlepoint` in the "
                "monitoring (here --participants) limits allow for that"
            )
    return found


def _skewness(
    events: Sequence[float], upper: Sequence[float], share: float, alpha: float, sides: int
) -> list[str]:
    if sides == 2:  # what one side gains the other loses
        return []
    counts, limits = np.asarray(events, dtype=float), np.asarray(upper, dtype=float)
    skewness = (2 * share - 1) / np.sqrt(share * (1 - share) * counts)
    finite = np.isfinite(limits)
    normal = np.where(finite, limits, 0.0)
    # the first term of Cornish & Fisher: the normal deviate of a limit of the skewed statistic
    moved = np.where(finite, normal - skewness / 6 * (normal**2 - 1), math.inf)
    _, beyond = integration.crossing(counts, np.full(len(counts), -math.inf), moved, 0.0)
    note = level_note(float(beyond.sum()), alpha, saddlepoint=False)
    return [] if note is None else [note]
