"""Time to event: the log-rank test, Cox's model, the Kaplan-Meier curve, the restricted mean.

Times are numbers in any unit (days, inside Equipoise); `event` is 1 for an event and 0 for censoring. Ties are
exact equality of times. Formulae and papers are gathered in docs/methods.md. Everything is computed in compiled
double precision without approximation: Newton's method is followed to convergence, and a likelihood that has no
maximum is reported as undefined, with the reason, never as a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtri

from equipoise._compile import njit
from equipoise.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_EVENTS = "there were no events"
NO_COMPARISON = "no event happened while both groups were under observation"
ONE_SIDED = "every event that can be compared happened in one group, so the hazard ratio has no finite estimate"
MONOTONE = (
    "the likelihood rises without limit (in some group or direction nobody had an event), "
    "so there is no finite estimate"
)
DEPENDENT = (
    "the covariates cannot be told apart (one is constant or follows from the others among those at risk)"
)
NOT_CONVERGED = "the likelihood could not be maximised to the required precision"


# --- two groups, times in whole days: the core that replicate trials use ---------------------------------


@njit
def _tied_groups_by_day(time_days, event, arm, stratum, n_strata):
    """Risk sets at each distinct event day in each stratum, by counting sort: no comparison of times.

    Rows with a stratum outside 0..n_strata-1, an arm other than 0 or 1, or a negative day are left out.
    Returns (number, n0, n1, d0, d1, day): at risk just before the day, and events, in arms 0 and 1; latest
    day first within a stratum.
    """
    n = time_days.shape[0]
    last_day = 0
    events = 0
    for i in range(n):
        if time_days[i] > last_day:
            last_day = time_days[i]
        if event[i]:
            events += 1
    n0 = np.zeros(events, np.float64)
    n1 = np.zeros(events, np.float64)
    d0 = np.zeros(events, np.float64)
    d1 = np.zeros(events, np.float64)
    day = np.zeros(events, np.int64)
    found = 0
    if n_strata == 1:
        # code 0, 1: censored in arm 0, 1; code 2, 3: event in arm 0, 1
        exits = np.zeros((last_day + 1, 4), np.int32)
        for i in range(n):
            if stratum[i] != 0 or arm[i] > 1 or time_days[i] < 0:
                continue
            exits[time_days[i], arm[i] + (2 if event[i] else 0)] += 1
        at_risk0 = 0
        at_risk1 = 0
        for d in range(last_day, -1, -1):
            e0 = exits[d, 2]
            e1 = exits[d, 3]
            at_risk0 += exits[d, 0] + e0
            at_risk1 += exits[d, 1] + e1
            if e0 + e1 > 0:
                n0[found] = at_risk0
                n1[found] = at_risk1
                d0[found] = e0
                d1[found] = e1
                day[found] = d
                found += 1
        return found, n0, n1, d0, d1, day
    by_day = np.zeros(last_day + 2, np.int64)
    by_stratum = np.zeros(n_strata + 1, np.int64)
    kept = 0
    for i in range(n):
        if stratum[i] < 0 or stratum[i] >= n_strata or arm[i] > 1 or time_days[i] < 0:
            continue
        by_day[last_day - time_days[i] + 1] += 1
        by_stratum[stratum[i] + 1] += 1
        kept += 1
    for d in range(1, last_day + 2):
        by_day[d] += by_day[d - 1]
    for s in range(1, n_strata + 1):
        by_stratum[s] += by_stratum[s - 1]
    latest_first = np.empty(kept, np.int64)
    for i in range(n):
        if stratum[i] < 0 or stratum[i] >= n_strata or arm[i] > 1 or time_days[i] < 0:
            continue
        place = last_day - time_days[i]
        latest_first[by_day[place]] = i
        by_day[place] += 1
    order = np.empty(kept, np.int64)
    for k in range(kept):
        i = latest_first[k]
        order[by_stratum[stratum[i]]] = i
        by_stratum[stratum[i]] += 1
    k = 0
    while k < kept:
        here = stratum[order[k]]
        at_risk0 = 0
        at_risk1 = 0
        while k < kept and stratum[order[k]] == here:
            d = time_days[order[k]]
            e0 = 0
            e1 = 0
            while k < kept and stratum[order[k]] == here and time_days[order[k]] == d:
                i = order[k]
                if arm[i] == 1:
                    at_risk1 += 1
                    if event[i]:
                        e1 += 1
                else:
                    at_risk0 += 1
                    if event[i]:
                        e0 += 1
                k += 1
            if e0 + e1 > 0:
                n0[found] = at_risk0
                n1[found] = at_risk1
                d0[found] = e0
                d1[found] = e1
                day[found] = d
                found += 1
    return found, n0, n1, d0, d1, day


@njit
def _binary_terms(beta, found, n0, n1, d0, d1, efron):
    """Log partial likelihood, score and information of one 0/1 covariate (Cox 1972; Efron 1977 eq. 3.9)."""
    ratio = math.exp(beta)
    loglik = 0.0
    score = 0.0
    information = 0.0
    for g in range(found):
        d = d0[g] + d1[g]
        loglik += beta * d1[g]
        score += d1[g]
        for l in range(int(d)):
            share = l / d if efron else 0.0
            r0 = n0[g] - share * d0[g]
            r1 = (n1[g] - share * d1[g]) * ratio
            total = r0 + r1
            p = r1 / total
            loglik -= math.log(total)
            score -= p
            information += p * (r0 / total)
    return loglik, score, information


@njit
def _maximise_binary(found, n0, n1, d0, d1, efron):
    """Newton with step halving on one 0/1 covariate; (beta, se, status, loglik).

    status: 0 converged, 1 no comparable event, 2 all comparable events in one group, 3 not converged.
    """
    comparable = 0.0
    comparable1 = 0.0
    for g in range(found):
        if n0[g] > 0 and n1[g] > 0:
            comparable += d0[g] + d1[g]
            comparable1 += d1[g]
    if comparable == 0.0:
        return math.nan, math.nan, 1, math.nan
    if comparable1 == 0.0 or comparable1 == comparable:
        return math.nan, math.nan, 2, math.nan
    beta = 0.0
    loglik, score, information = _binary_terms(beta, found, n0, n1, d0, d1, efron)
    for _ in range(100):
        step = score / information
        if step > 4.0:
            step = 4.0
        elif step < -4.0:
            step = -4.0
        new_loglik, new_score, new_information = _binary_terms(
            beta + step, found, n0, n1, d0, d1, efron
        )
        if abs(step) > 1e-5:
            for _ in range(60):
                if new_loglik >= loglik:
                    break
                step *= 0.5
                new_loglik, new_score, new_information = _binary_terms(
                    beta + step, found, n0, n1, d0, d1, efron
                )
        beta += step
        loglik = new_loglik
        score = new_score
        information = new_information
        if abs(step) <= 1e-12 * max(1.0, abs(beta)) or abs(score) <= 1e-14 * comparable:
            return beta, 1.0 / math.sqrt(information), 0, loglik
    return math.nan, math.nan, 3, math.nan


@njit
def cox_binary(time_days, event, arm, stratum, n_strata):
    """Exact Cox estimate of one 0/1 arm, Efron ties, stratified; for use inside compiled loops.

    time_days: int32[n], whole days >= 0; event: uint8[n]; arm: uint8[n] in {0, 1}; stratum: int32[n] in
    0..n_strata-1 (rows outside are left out). Returns (beta, se, converged, loglik): beta is the log hazard
    ratio of arm 1 to arm 0. With no events, or all comparable events in one arm, there is no finite
    estimate: beta, se and loglik are NaN and converged is False. Working memory O(n + last day).
    """
    found, n0, n1, d0, d1, _ = _tied_groups_by_day(time_days, event, arm, stratum, n_strata)
    beta, se, status, loglik = _maximise_binary(found, n0, n1, d0, d1, True)
    return beta, se, status == 0, loglik


@njit
def logrank_binary(time_days, event, arm, stratum, n_strata):
    """Stratified log-rank of arm 1 against arm 0 (Mantel 1966); for use inside compiled loops.

    Arguments as for `cox_binary`. Returns (o_minus_e, variance) of the events in arm 1, with the
    hypergeometric variance; the chi-square on 1 df is o_minus_e**2 / variance. variance is 0 when no event
    can be compared.
    """
    found, n0, n1, d0, d1, _ = _tied_groups_by_day(time_days, event, arm, stratum, n_strata)
    difference = 0.0
    variance = 0.0
    for g in range(found):
        n = n0[g] + n1[g]
        d = d0[g] + d1[g]
        difference += d1[g] - d * n1[g] / n
        if n > 1.0:
            variance += d * (n1[g] / n) * (n0[g] / n) * (n - d) / (n - 1.0)
    return difference, variance
