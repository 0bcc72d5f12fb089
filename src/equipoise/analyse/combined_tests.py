"""The maximum of several weighted log-rank tests: power against early, late and steady effects in one test.

Karrison, Stata J 2016;16:678-90; Lin et al., Stat Biopharm Res 2020;12:187-98. The p-value is the exact
probability, under the joint normal distribution of the statistics, that some of them goes as far as the one
that went furthest. That distribution is singular for the usual weights (those of S and 1 - S add up to those
of the plain log-rank), so it is integrated over as few dimensions as it has, by Gauss-Legendre rules between
the corners of the region: the same digits every time, no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise._compile import njit
from equipoise.analyse.columns import Floats, codes, exit_times
from equipoise.analyse.two_arm import risk_table, weighted_logrank_of_table
from equipoise.analyse.undefined import NO_COMPARISON, NO_EVENTS
from equipoise.errors import UserError

MOST_WEIGHTS = 4
TWO_SIDED, FEWER, MORE = 0, -1, 1
"""Alternatives: events in arm 1 differ from those expected; are fewer; are more."""

_NODES, _SHARES = np.polynomial.legendre.leggauss(8)
_PIECE = 1.25
"""Longest interval of one Gauss-Legendre rule, in standard deviations."""
_REACH = 8.5
_STEPS = (-6.5, -4.0, -2.0, 0.0, 2.0, 4.0, 6.5)
_FLAT = 1e-10
"""A coefficient, or a remaining variance, that counts as none."""


class MaxComboScratch(NamedTuple):
    """Working memory for `maxcombo_of_table` with k weights, all float64: score[k], covariance[k, k],
    at_time[k]; for the integral factor[k, k], bound[4, 2, k], corner[256], place and weight [3, 2048],
    total[3]; and int64 places[3], done[3]."""

    score: Floats
    covariance: Floats
    at_time: Floats
    factor: Floats
    bound: Floats
    corner: Floats
    place: Floats
    weight: Floats
    total: Floats
    places: NDArray[np.int64]
    done: NDArray[np.int64]


def maxcombo_scratch(weights: int) -> MaxComboScratch:
    """Working memory for that many weights (1 to 4)."""
    return MaxComboScratch(
        np.empty(weights), np.empty((weights, weights)), np.empty(weights), np.empty((weights, weights)),
        np.empty((4, 2, weights)), np.empty(256), np.empty((3, 2048)), np.empty((3, 2048)), np.empty(3),
        np.empty(3, np.int64), np.empty(3, np.int64),
    )  # fmt: skip


# --- the probability that a normal vector leaves a box ------------------------------------------------------


@njit
def _below(x):
    return 0.5 * math.erfc(-x * 0.7071067811865476)


@njit
def _factorise(covariance, count, factor):
    """Lower-trapezoidal factor of the correlation matrix, pivoted, its rows in the order of the pivots; the
    number of its columns is the dimension of the distribution. The matrix is overwritten."""
    for a in range(count):
        for b in range(count):
            factor[a, b] = 0.0
    for rank in range(count):
        pivot = rank
        for a in range(rank, count):
            if covariance[a, a] > covariance[pivot, pivot]:
                pivot = a
        if covariance[pivot, pivot] <= _FLAT:
            return rank
        for b in range(count):
            covariance[rank, b], covariance[pivot, b] = covariance[pivot, b], covariance[rank, b]
        for a in range(count):
            covariance[a, rank], covariance[a, pivot] = covariance[a, pivot], covariance[a, rank]
        for b in range(rank):
            factor[rank, b], factor[pivot, b] = factor[pivot, b], factor[rank, b]
        root = math.sqrt(covariance[rank, rank])
        factor[rank, rank] = root
        for a in range(rank + 1, count):
            factor[a, rank] = covariance[a, rank] / root
        for a in range(rank + 1, count):
            for b in range(rank + 1, count):
                covariance[a, b] -= factor[a, rank] * factor[b, rank]
    return count


@njit
def _span(F, column, columns, bound, count):
    """The interval of one coordinate within the limits that bear on it alone."""
    low = -math.inf
    high = math.inf
    for a in range(count):
        alone = abs(F[a, column]) > _FLAT
        for b in range(column + 1, columns):
            alone = alone and abs(F[a, b]) <= _FLAT
        if alone:
            one = bound[0, a] / F[a, column]
            other = bound[1, a] / F[a, column]
            low = max(low, min(one, other))
            high = min(high, max(one, other))
    return low, high


@njit
def _inside(F, column, columns, bound, count, point):
    """Whether a point of the last coordinates is within all limits, or on them."""
    for a in range(count):
        x = 0.0
        for b in range(column, columns):
            x += F[a, b] * point[b - column]
        if x < bound[0, a] - 1e-9 or x > bound[1, a] + 1e-9:
            return False
    return True


@njit
def _put_in(corner, used, x, low, high):
    """Keep a corner between the ends, the list rising."""
    if not (low < x < high) or used >= corner.shape[0] - 1:
        return used
    k = used
    while k > 0 and corner[k - 1] > x:
        corner[k] = corner[k - 1]
        k -= 1
    corner[k] = x
    return used + 1


@njit
def _steep_places(F, column, columns, bound, count, low, high, corner):
    """Intervals in which the chance of passing a limit rises from none to all faster than the density
    falls: the more two statistics are alike, the shorter."""
    used = _put_in(corner, 0, 0.5 * (low + high), low, high)
    for a in range(count):
        rest = 0.0
        for b in range(column + 1, columns):
            rest += F[a, b] * F[a, b]
        rest = math.sqrt(rest)
        if rest > _FLAT and abs(F[a, column]) > 1.5 * rest:
            for side in range(2):
                for k in range(len(_STEPS)):
                    x = (bound[side, a] - _STEPS[k] * rest) / F[a, column]
                    used = _put_in(corner, used, x, low, high)
    return used


@njit
def _corners_of_two(F, column, columns, bound, count, low, high, corner, used):
    """Where the limits of the last coordinate change, as the one before it goes from low to high."""
    for i in range(2 * count):
        p = i // 2
        for j in range(i + 1, 2 * count):
            q = j // 2
            det = F[p, column] * F[q, column + 1] - F[q, column] * F[p, column + 1]
            if abs(det) > _FLAT:
                u = bound[i % 2, p]
                v = bound[j % 2, q]
                x = (u * F[q, column + 1] - v * F[p, column + 1]) / det
                y = (F[p, column] * v - F[q, column] * u) / det
                if abs(x) < _REACH and _inside(F, column, columns, bound, count, (x, y)):
                    used = _put_in(corner, used, x, low, high)
    return used


@njit
def _corners_of_three(F, column, columns, bound, count, low, high, corner, used):
    """As `_corners_of_two`, with two coordinates left."""
    used = _steep_places(F, column, columns, bound, count, low, high, corner)
    c, d, e = column, column + 1, column + 2
    for i in range(2 * count):
        p = i // 2
        for j in range(i + 1, 2 * count):
            q = j // 2
            for k in range(j + 1, 2 * count):
                r = k // 2
                m1 = F[q, d] * F[r, e] - F[r, d] * F[q, e]
                m2 = F[p, d] * F[r, e] - F[r, d] * F[p, e]
                m3 = F[p, d] * F[q, e] - F[q, d] * F[p, e]
                det = F[p, c] * m1 - F[q, c] * m2 + F[r, c] * m3
                if abs(det) > _FLAT:
                    u, v, w = bound[i % 2, p], bound[j % 2, q], bound[k % 2, r]
                    x = (u * m1 - v * m2 + w * m3) / det
                    n1 = v * F[r, e] - w * F[q, e]
                    n2 = u * F[r, e] - w * F[p, e]
                    n3 = u * F[q, e] - v * F[p, e]
                    y = (F[p, c] * n1 - F[q, c] * n2 + F[r, c] * n3) / det
                    o1 = F[q, d] * w - F[r, d] * v
                    o2 = F[p, d] * w - F[r, d] * u
                    o3 = F[p, d] * v - F[q, d] * u
                    z = (F[p, c] * o1 - F[q, c] * o2 + F[r, c] * o3) / det
                    if abs(x) < _REACH and _inside(F, column, columns, bound, count, (x, y, z)):
                        used = _put_in(corner, used, x, low, high)
    return used


@njit
def _leaves_one(F, column, bound, count):
    """One coordinate left: the probability that some limit is passed."""
    low = -math.inf
    high = math.inf
    for a in range(count):
        f = F[a, column]
        if abs(f) > _FLAT:
            one = bound[0, a] / f
            other = bound[1, a] / f
            low = max(low, min(one, other))
            high = min(high, max(one, other))
        elif bound[0, a] > 0.0 or bound[1, a] < 0.0:
            return 1.0
    if low >= high:
        return 1.0
    return _below(low) + _below(-high)


@njit
def _fix(F, column, x, bound, count, inner):
    """The limits on what remains when one coordinate is x."""
    for a in range(count):
        inner[0, a] = bound[0, a] - F[a, column] * x
        inner[1, a] = bound[1, a] - F[a, column] * x


@njit
def _density(x):
    return 0.3989422804014327 * math.exp(-0.5 * x * x)


@njit
def _lay_out(F, column, columns, bounds, count, own, mirrored):
    """Places and weights at which a coordinate is integrated, given those before it, into `own.place` and
    `own.weight`. Returns their number and the probability that its own limits alone are passed.
    `mirrored`: the limits are symmetric about 0, so half of the places are enough."""
    bound = bounds[column]
    low, high = _span(F, column, columns, bound, count)
    if low >= high:
        return 0, 1.0
    outside = _below(low) + _below(-high)
    low, high = max(low, -_REACH), min(high, _REACH)
    if mirrored:
        low = 0.0
    corner = own.corner
    used = _steep_places(F, column, columns, bound, count, low, high, corner)
    longest = _PIECE
    if columns - column == 2:
        used = _corners_of_two(F, column, columns, bound, count, low, high, corner, used)
    elif columns - column == 3:
        used = _corners_of_three(F, column, columns, bound, count, low, high, corner, used)
    else:
        # three times integrated, the corners are smooth enough for short intervals
        longest = 0.5 * _PIECE
    corner[used] = high
    begin = low
    n = 0
    for k in range(used + 1):
        pieces = max(1, math.ceil((corner[k] - begin) / longest))
        half = 0.5 * (corner[k] - begin) / pieces
        for piece in range(pieces):
            for node in range(_NODES.shape[0]):
                x = begin + half * (2 * piece + 1 + _NODES[node])
                own.place[column, n] = x
                own.weight[column, n] = half * _SHARES[node] * _density(x) * (2.0 if mirrored else 1.0)
                n += 1
        begin = corner[k]
    return n, outside


@njit
def _leaves_box(correlation, count, low, high, own):
    """Probability that a normal vector with this correlation (overwritten) is not all within (low, high).

    One coordinate after another is fixed at its next place; when the last but one is, the last is added up
    in closed form; when a coordinate has no more places, its sum goes to the one before."""
    F = own.factor
    rank = _factorise(correlation, count, F)
    for a in range(count):
        own.bound[0, 0, a] = low
        own.bound[0, 1, a] = high
    if rank == 1:
        return _leaves_one(F, 0, own.bound[0], count)
    level = -1
    inward = True
    while True:
        if inward:
            level += 1
            mirrored = level == 0 and low == -high
            places, outside = _lay_out(F, level, rank, own.bound, count, own, mirrored)
            own.places[level] = places
            own.done[level] = 0
            own.total[level] = outside
            inward = False
        at = own.done[level]
        if at == own.places[level]:
            if level == 0:
                return own.total[0]
            level -= 1
            own.total[level] += own.weight[level, own.done[level]] * own.total[level + 1]
            own.done[level] += 1
        else:
            _fix(F, level, own.place[level, at], own.bound[level], count, own.bound[level + 1])
            if level + 2 == rank:
                tail = _leaves_one(F, rank - 1, own.bound[level + 1], count)
                own.total[level] += own.weight[level, at] * tail
                own.done[level] += 1
            else:
                inward = True


@njit
def maxcombo_of_scores(score, covariance, count, alternative, own):
    """(statistic, p-value) of `count` weighted log-ranks with this covariance (overwritten).

    alternative: `TWO_SIDED` (the statistic is the largest |z|), `FEWER` events in arm 1 (the smallest z) or
    `MORE` (the largest z). Weights without variance are left out; NaN where none is left.
    """
    kept = 0
    furthest = 0.0 if alternative == TWO_SIDED else -math.inf
    for a in range(count):
        if covariance[a, a] > 0.0:
            z = score[a] / math.sqrt(covariance[a, a])
            furthest = max(furthest, abs(z) if alternative == TWO_SIDED else alternative * z)
            for b in range(count):
                covariance[kept, b] = covariance[a, b]
            for b in range(count):
                covariance[b, kept] = covariance[b, a]
            kept += 1
    if kept == 0:
        return math.nan, math.nan
    for a in range(kept):
        for b in range(a):
            r = covariance[a, b] / math.sqrt(covariance[a, a] * covariance[b, b])
            covariance[a, b] = r
            covariance[b, a] = r
    for a in range(kept):
        covariance[a, a] = 1.0
    low = -furthest if alternative == TWO_SIDED else -math.inf
    p = _leaves_box(covariance, kept, low, furthest, own)
    return furthest if alternative == TWO_SIDED else alternative * furthest, min(1.0, p)


@njit
def maxcombo_of_table(n_strata, scratch, weights, alternative, own):
    """(statistic, p-value) of the maximum of weighted log-ranks, from the risk table in `scratch`; for use
    inside compiled loops. weights: float64[k, 2], the exponents (rho, gamma); own: `maxcombo_scratch(k)`;
    alternative: as for `maxcombo_of_scores`. Allocates nothing."""
    weighted_logrank_of_table(n_strata, scratch, weights, own.score, own.covariance, own.at_time)
    return maxcombo_of_scores(own.score, own.covariance, weights.shape[0], alternative, own)


# --- what is public ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxCombo:
    """The maximum of weighted log-rank tests of two arms, in the order of `labels`.

    For each of the k `weights` (rho, gamma): `z`, the weighted observed minus expected events of the second
    arm over its standard error (NaN where the weight gives no variance); `correlation`, k x k, between them.
    `statistic` is the largest |z| and `p_value` its two-sided p; `p_fewer` and `p_more` are one-sided, from
    the smallest and the largest z (fewer, or more, events in the second arm). `undefined` says why there is
    no test (then these are NaN), or is None.
    """

    labels: tuple[Any, ...]
    weights: tuple[tuple[float, float], ...]
    z: Floats
    correlation: Floats
    statistic: float
    p_value: float
    p_fewer: float
    p_more: float
    undefined: str | None = None


def maxcombo(
    time: ArrayLike,
    event: ArrayLike,
    arm: ArrayLike,
    strata: ArrayLike | None = None,
    weights: Sequence[tuple[float, float]] = ((0, 0), (0, 1), (1, 0), (1, 1)),
) -> MaxCombo:
    """Maximum of Fleming-Harrington weighted log-rank tests with their exact joint p-value (Karrison 2016).

    time, event, arm (and strata): columns of length n; arm takes two values. weights: one to four pairs of
    exponents (rho, gamma) of S(t-)^rho (1 - S(t-))^gamma, with the curve of everybody in the stratum. The
    covariance of two tests is the sum of both weights times the hypergeometric variance. The p-value is
    exact to about 1e-10 given that covariance, and the same in every run. Raises UserError for impossible
    times, weights or another number of arms.
    """
    pairs = _weights(weights)
    stop, happened = exit_times(time, event)
    side, labels = codes(arm, len(stop), "arms")
    if len(labels) != 2 or not len(stop):
        raise UserError(f"the maximum of log-rank tests compares two arms: the column has {len(labels)}")
    levels, cells = codes(strata, len(stop), "strata")
    _, table = risk_table(stop, happened, side, levels, len(cells))
    k = len(pairs)
    own = maxcombo_scratch(k)
    score, covariance = np.empty(k), np.empty((k, k))
    weighted_logrank_of_table(len(cells), table, pairs, score, covariance, own.at_time)
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(np.where(np.diag(covariance) > 0, np.diag(covariance), math.nan))
        z, correlation = score / se, covariance / np.outer(se, se)
    named = tuple((float(rho), float(gamma)) for rho, gamma in pairs)
    if np.isnan(z).all():
        reason = NO_COMPARISON if happened.any() else NO_EVENTS
        return MaxCombo(labels, named, z, correlation, math.nan, math.nan, math.nan, math.nan, reason)
    tests = {side: maxcombo_of_scores(score, covariance.copy(), k, side, own) for side in (0, -1, 1)}
    return MaxCombo(
        labels, named, z, correlation, tests[TWO_SIDED][0], tests[TWO_SIDED][1], tests[FEWER][1],
        tests[MORE][1],
    )  # fmt: skip


def _weights(weights: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    pairs = np.asarray(weights, dtype=np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not 1 <= len(pairs) <= MOST_WEIGHTS:
        raise UserError(f"weights must be one to {MOST_WEIGHTS} pairs of exponents, such as (0, 1)")
    if not (np.isfinite(pairs).all() and (pairs >= 0).all()):
        raise UserError("the exponents of a weight must be numbers of 0 or more")
    return np.ascontiguousarray(pairs)
