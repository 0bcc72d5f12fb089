"""The log-rank test of two or more groups: stratified, weighted, with late entry.

Two groups without late entry are compared from the risk table (`equipoise.analyse.two_arm`), as in simulated
trials; anything else by walking through the rows in order of time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from equipoise._compile import njit
from equipoise.analyse.columns import Codes, Floats, checked, chi_square_p, codes, exit_times, orders
from equipoise.analyse.saddlepoint import saddlepoint_of_table
from equipoise.analyse.two_arm import risk_table, weight_at
from equipoise.analyse.undefined import NO_COMPARISON, NO_EVENTS, ONE_GROUP
from equipoise.errors import UserError

Distribution = Literal["normal", "saddlepoint"]


@njit
def _logrank(start, stop, event, group, stratum, order, entry_order, n_groups, late_entry, rho, gamma):
    """Weighted stratified log-rank; rows in `order` rise by stratum, then time.

    Weights are S(t-)^rho (1 - S(t-))^gamma with the pooled Kaplan-Meier curve of the stratum (Fleming and
    Harrington 1991, definition 7.2.1). `entry_order` rises by stratum, then start.
    """
    n = order.shape[0]
    observed = np.zeros(n_groups)
    expected = np.zeros(n_groups)
    weighted = np.zeros(n_groups)
    variance = np.zeros((n_groups, n_groups))
    at_risk = np.zeros(n_groups)
    died = np.zeros(n_groups)
    position = 0
    while position < n:
        here = stratum[order[position]]
        end = position
        at_risk[:] = 0.0
        while end < n and stratum[order[end]] == here:
            if not late_entry:
                at_risk[group[order[end]]] += 1.0
            end += 1
        entering = position
        survival = 1.0
        while position < end:
            now = stop[order[position]]
            if late_entry:
                while entering < end and start[entry_order[entering]] < now:
                    at_risk[group[entry_order[entering]]] += 1.0
                    entering += 1
            died[:] = 0.0
            d = 0.0
            first = position
            while position < end and stop[order[position]] == now:
                if event[order[position]]:
                    died[group[order[position]]] += 1.0
                    d += 1.0
                position += 1
            if d > 0.0:
                total = at_risk.sum()
                weight = 1.0
                if rho != 0.0:
                    weight *= survival**rho
                if gamma != 0.0:
                    weight *= (1.0 - survival) ** gamma
                spread = 0.0
                if total > 1.0:
                    spread = d * (total - d) / (total - 1.0)
                for a in range(n_groups):
                    share = at_risk[a] / total
                    observed[a] += died[a]
                    expected[a] += d * share
                    weighted[a] += weight * (died[a] - d * share)
                    for b in range(n_groups):
                        same = share if a == b else 0.0
                        variance[a, b] += weight * weight * spread * (same - share * at_risk[b] / total)
                survival *= 1.0 - d / total
            for k in range(first, position):
                at_risk[group[order[k]]] -= 1.0
    return observed, expected, weighted, variance


@njit
def _two_groups(n_strata, scratch, rho, gamma):
    """What `_logrank` gives, for two groups, from their risk table."""
    table = scratch.table
    observed = np.zeros(2)
    expected = np.zeros(2)
    weighted = 0.0
    variance = 0.0
    for s in range(n_strata):
        survival = 1.0
        for g in range(scratch.first[s], scratch.first[s + 1]):
            n0, n1, d0, d1 = table[0, g], table[1, g], table[2, g], table[3, g]
            n = n0 + n1
            d = d0 + d1
            weight = weight_at(survival, rho, gamma)
            observed[0] += d0
            observed[1] += d1
            expected[0] += d * (n0 / n)
            expected[1] += d * (n1 / n)
            weighted += weight * (d1 - d * (n1 / n))
            if n > 1.0:
                variance += weight * weight * d * (n0 / n) * (n1 / n) * (n - d) / (n - 1.0)
            survival *= 1.0 - d / n
    score = np.array([-weighted, weighted])
    return observed, expected, score, np.array([[variance, -variance], [-variance, variance]])


@dataclass(frozen=True)
class LogRank:
    """A log-rank test of `groups` groups. Arrays have one entry per group, in order of `labels`.

    `score` is the (weighted) observed minus expected, `variance` its covariance matrix. `z` is the normal
    deviate of two groups, positive with more events in the second than expected: score over its standard
    deviation or, where that was asked for, the saddlepoint deviate; NaN with more groups. `p_value` is that
    of the chi-square or, by saddlepoint, of `z`, on both sides. `undefined` says why there is no chi-square,
    or is None.
    """

    labels: tuple[Any, ...]
    observed: Floats
    expected: Floats
    score: Floats
    variance: Floats
    chi_square: float
    df: int
    p_value: float
    undefined: str | None = None
    z: float = math.nan


def _from_table(
    time: ArrayLike, event: ArrayLike, group: Codes, strata: ArrayLike | None, rho: float, gamma: float
) -> tuple[Floats, Floats, Floats, Floats]:
    stop, happened = exit_times(time, event)
    levels, labels = codes(strata, len(stop), "strata")
    _, scratch = risk_table(stop, happened, group, levels, len(labels))
    return _two_groups(len(labels), scratch, rho, gamma)  # type: ignore[no-any-return]


def _from_rows(
    time: ArrayLike, event: ArrayLike, entry: ArrayLike | None, group: Codes, strata: ArrayLike | None,
    groups: int, rho: float, gamma: float,
) -> tuple[Floats, Floats, Floats, Floats]:  # fmt: skip
    stop, happened, start = checked(time, event, entry)
    levels, _ = codes(strata, len(stop), "strata")
    late = entry is not None
    order, entry_order = orders(levels, start, stop, late, latest_first=False)
    return _logrank(  # type: ignore[no-any-return]
        start, stop, happened, group, levels, order, entry_order, groups, late, rho, gamma
    )


def logrank(
    time: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    rho: float = 0.0,
    gamma: float = 0.0,
    entry: ArrayLike | None = None,
    distribution: Distribution = "normal",
) -> LogRank:
    """Log-rank test of two or more groups, stratified and weighted if asked.

    time, event, group (and strata, entry): columns of length n; time in any unit. rho and gamma are the
    exponents of the Fleming-Harrington weights S(t-)^rho (1 - S(t-))^gamma; both 0 is the log-rank test.
    Mantel (1966); Fleming & Harrington (1991), section 7.2.

    distribution: "saddlepoint" holds the statistic of two groups against the distribution that the events
    give it, skewed where the groups are unequal (`equipoise.analyse.saddlepoint`); for few events. Raises
    UserError for negative or missing times, and for a saddlepoint with weights, late entry or more than two
    groups.
    """
    _check_distribution(distribution, rho, gamma, entry)
    group_codes, labels = codes(group, len(np.asarray(time)), "groups")
    k = len(labels)
    if distribution == "saddlepoint" and k > 2:
        raise UserError(f'distribution: "saddlepoint" compares two groups; there are {k}')
    if k == 2 and entry is None:
        found = _from_table(time, event, group_codes, strata, float(rho), float(gamma))
    else:
        found = _from_rows(time, event, entry, group_codes, strata, k, float(rho), float(gamma))
    observed, expected, score, variance = found
    undefined = None
    chi_square, df = math.nan, 0
    if not observed.any():
        undefined = NO_EVENTS
    elif k < 2:
        undefined = ONE_GROUP
    else:
        informative = np.diag(variance) > 1e-12 * max(1.0, float(np.abs(variance).max()))
        if informative.sum() < 2:
            undefined = NO_COMPARISON
        else:
            # the scores add up to nothing among groups that can be compared: leave one out
            keep = np.flatnonzero(informative)[1:]
            part = variance[np.ix_(keep, keep)]
            df = int(np.linalg.matrix_rank(part, hermitian=True))
            if df == len(keep):
                chi_square = float(score[keep] @ np.linalg.solve(part, score[keep]))
            else:
                chi_square = float(score[keep] @ np.linalg.pinv(part, hermitian=True) @ score[keep])
    z, p_value = math.nan, chi_square_p(chi_square, df)
    if k == 2 and undefined is None:
        z = float(score[1] / math.sqrt(variance[1, 1]))
        if distribution == "saddlepoint":
            z = _deviate(time, event, group_codes, strata)
            p_value = chi_square_p(z * z, 1)
    return LogRank(
        labels, observed, expected, score, variance, chi_square, df, p_value, undefined, z
    )  # fmt: skip


def _check_distribution(distribution: str, rho: float, gamma: float, entry: ArrayLike | None) -> None:
    if distribution not in get_args(Distribution):
        raise UserError(f'distribution: there is no "{distribution}"; choose normal or saddlepoint')
    if distribution == "saddlepoint" and (rho != 0 or gamma != 0 or entry is not None):
        raise UserError(
            'distribution: "saddlepoint" is for the log-rank test without weights or late entry; '
            "leave both out"
        )


def _deviate(time: ArrayLike, event: ArrayLike, group: Codes, strata: ArrayLike | None) -> float:
    stop, happened = exit_times(time, event)
    levels, labels = codes(strata, len(stop), "strata")
    rows, scratch = risk_table(stop, happened, group, levels, len(labels))
    return float(saddlepoint_of_table(rows, scratch))
