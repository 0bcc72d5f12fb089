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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binom, hypergeom

from equipoise.design import integration
from equipoise.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """Whom the events are drawn from: participants in both arms, and the share in the experimental arm."""

    participants: int
    share: float = 0.5

    @property
    def experimental(self) -> int:
        """Participants in the experimental arm."""
        return round(self.participants * self.share)


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
    if not 0 < draws.experimental < draws.participants:
        raise UserError(f"participants: {draws.participants} are too few for two arms")


def levels(draws: Draws, events: int) -> tuple[Floats, Floats]:
    """Limits of z that a count can attain, for efficacy and, with the sign changed, for harm: rising arrays
    (events,) of deviates of P(at least c events in one arm), c from 1 on."""
    counts = np.arange(1, events + 1)
    arms = (draws.participants - draws.experimental, draws.experimental)
    return tuple(  # type: ignore[return-value]
        -ndtri(hypergeom.sf(counts - 1, draws.participants, size, events)) for size in arms
    )


def attainable_limits(
    information: Floats, spent: Floats, events: Sequence[float], draws: Draws, *, sides: int, ended: bool,
    futility: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """(lower, upper, error spent) with every limit before the end at a level that can be attained.

    information: shares, rising (K,); spent: cumulative type I error that may be spent by each look, over both
    sides where `sides` is 2; events: counts at the looks; ended: the last look is the final one, which takes
    all that is left and is not moved (a reader of its p-value is told what it is); futility: limits that count
    as kept to (binding), or None. Infinite where no count is extreme enough.
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


def _next_level(attained: Floats, limit: float) -> float:
    beyond = attained[attained >= limit - 1e-9]
    return float(beyond[0]) if len(beyond) else math.inf


# --- the level of limits that were set for a normal statistic ---------------------------------------------


def attained_level(
    events: Sequence[float], upper: Sequence[float], lower: Sequence[float], draws: Draws, *,
    dropouts: float = 0.0, saddlepoint: bool = False,
) -> Attained:  # fmt: skip
    """The level that limits of z have when the log-rank statistic is what the events make it.

    events: at the looks, rising; upper, lower: limits at them (infinite: none); dropouts: participants lost
    per event; saddlepoint: z is the saddlepoint deviate, not the statistic over its standard deviation.

    The count in the reference arm is carried from look to look by hypergeometric draws. Given the count c of d
    events, observed minus expected is (c - d p)(1 + d / 2N), because the arm that had more events has had fewer
    people at risk, with a spread that comes from when they left: the bridge of the count, and the dropouts,
    p (1 - p) d^3 (1/12 + r/3) / N^2 for r dropouts an event. First-order in d / N: for trials in which a minority
    has the event, and looks in which the order of events is that of the calendar.
    """
    check_draws(draws, events)
    counts = [round(each) for each in events]
    reached = np.ones(1)
    before = 0
    efficacy, harmful = [], []
    for d, high, low in zip(counts, upper, lower, strict=True):
        reached = _drawn(reached, before, d, draws)
        z, spread = _statistic(d, draws, dropouts, saddlepoint)
        over, under = _passing(z, spread, high), _passing(-z, spread, -low)
        efficacy.append(float(reached @ over))
        harmful.append(float(reached @ under))
        reached = reached * (1.0 - over - under)
        before = d
    return Attained(tuple(efficacy), tuple(harmful))


def _drawn(reached: Floats, before: int, now: int, draws: Draws) -> Floats:
    """The distribution of the count in the reference arm after more events, from that of before."""
    reference = draws.participants - draws.experimental
    out = np.zeros(now + 1)
    more = np.arange(now - before + 1)
    for count in np.flatnonzero(reached):
        chance = hypergeom.pmf(more, draws.participants - before, reference - count, now - before)
        out[count : count + len(more)] += reached[count] * chance
    return out


def _statistic(d: int, draws: Draws, dropouts: float, saddlepoint: bool) -> tuple[Floats, float]:
    """z for each count in the reference arm, and the spread that it has given the count."""
    p = 1.0 - draws.experimental / draws.participants
    count = np.arange(d + 1)
    shift = d / (2.0 * draws.participants) * (count - d * p)
    excess = count - d * p + shift
    variance = d * p * (1 - p) - (1 - 2 * p) * shift
    spread = math.sqrt(p * (1 - p) * d**3 * (1 / 12 + dropouts / 3)) / draws.participants
    if saddlepoint:
        share = np.clip(p - shift / d, 1e-9, 1 - 1e-9)
        tail = binom.sf(count, d, share) + 0.5 * binom.pmf(count, d, share)
        z = -ndtri(np.clip(tail, 1e-300, 1 - 1e-16))
        # a mid-p value is that of a variable with the variance of the lattice cell besides
        z *= 1.0 + 1.0 / (12.0 * variance)
    else:
        z = excess / np.sqrt(np.maximum(variance, 1e-12))
    return z, spread / math.sqrt(d * p * (1 - p))


def _passing(z: Floats, spread: float, limit: float) -> Floats:
    """The chance that z, with this spread, is at or over a limit."""
    if math.isinf(limit):
        return np.zeros(len(z))
    passing: Floats = ndtr((z - limit) / max(spread, 1e-9))
    return passing
