"""Two arms compared from the risk table: log-ranks and their covariance, Cox, restricted means.

The functions for use inside compiled loops take the working memory of `two_arm_scratch` and allocate nothing:
read the data once with `risk_table_of_days` or `risk_table_of_times`, then ask for as many statistics of the
table as are wanted. `two_arm_days` and `two_arm_times` do the usual pair, log-rank and Cox, in one call.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise._compile import njit
from equipoise.analyse.columns import Codes, Floats, chi_square_p, codes, exit_times
from equipoise.analyse.risk_table import (
    DENSE,
    SMALL,
    Scratch,
    follow_up,
    risk_table_of_days,
    risk_table_of_times,
    two_arm_scratch,
)

CONVERGED, NOTHING_TO_COMPARE, ALL_IN_ONE_ARM, DID_NOT_CONVERGE, TOO_SMALL = range(5)
"""Status of an estimate: there is one; or there is none, since no event happened while both arms were under
observation; or every event that can be compared was in one arm; or Newton's method failed; or the working
memory is too small."""

__all__ = [
    "ALL_IN_ONE_ARM", "CONVERGED", "DID_NOT_CONVERGE", "NOTHING_TO_COMPARE", "TOO_SMALL", "cox_binary",
    "cox_loglik_of_table", "cox_of_table", "follow_up", "logrank_binary", "logrank_of_table",
    "proportional_hazards", "restricted_means_of_table", "risk_table", "risk_table_of_days",
    "risk_table_of_times", "score_of_table", "two_arm_days", "two_arm_scratch", "two_arm_times",
    "weighted_logrank_of_table",
]  # fmt: skip


# --- log-rank ---------------------------------------------------------------------------------------------


@njit
def logrank_of_table(rows, scratch):
    """(observed minus expected events in arm 1, hypergeometric variance) over all strata (Mantel 1966)."""
    n0, n1, d0, d1 = scratch.table[0], scratch.table[1], scratch.table[2], scratch.table[3]
    difference = 0.0
    variance = 0.0
    for g in range(rows):
        n = n0[g] + n1[g]
        d = d0[g] + d1[g]
        share = n1[g] / n
        difference += d1[g] - d * share
        if d == 1.0:
            variance += share * (1.0 - share)
        elif n > 1.0:
            variance += d * share * (n0[g] / n) * (n - d) / (n - 1.0)
    return difference, variance


@njit
def weight_at(survival, rho, gamma):
    """S^rho (1 - S)^gamma, without powers where the exponent is 0 or 1."""
    weight = 1.0
    if rho == 1.0:
        weight = survival
    elif rho != 0.0:
        weight = survival**rho
    if gamma == 1.0:
        weight *= 1.0 - survival
    elif gamma != 0.0:
        weight *= (1.0 - survival) ** gamma
    return weight


@njit
def weighted_logrank_of_table(n_strata, scratch, weights, score, covariance, at_time):
    """Fleming-Harrington log-ranks of several weights, and the covariance between them.

    weights: float64[k, 2], the exponents (rho, gamma) of S(t-)^rho (1 - S(t-))^gamma, S the Kaplan-Meier
    curve of everybody in the stratum (Fleming & Harrington 1991, definition 7.2.1). Fills score[k] (weighted
    observed minus expected in arm 1) and covariance[k, k]: the sum of both weights times the hypergeometric
    variance, over event times (Karrison 2016, section 2). at_time: float64[k], working memory.
    """
    n0, n1, d0, d1 = scratch.table[0], scratch.table[1], scratch.table[2], scratch.table[3]
    k = weights.shape[0]
    score[:k] = 0.0
    covariance[:k, :k] = 0.0
    for s in range(n_strata):
        survival = 1.0
        for g in range(scratch.first[s], scratch.first[s + 1]):
            n = n0[g] + n1[g]
            d = d0[g] + d1[g]
            share = n1[g] / n
            excess = d1[g] - d * share
            spread = d * share * (n0[g] / n) * (n - d) / (n - 1.0) if n > 1.0 else 0.0
            for a in range(k):
                w = weight_at(survival, weights[a, 0], weights[a, 1])
                at_time[a] = w
                score[a] += w * excess
                for b in range(a + 1):
                    covariance[a, b] += w * at_time[b] * spread
            survival *= 1.0 - d / n
    for a in range(k):
        for b in range(a):
            covariance[b, a] = covariance[a, b]


# --- Cox's model of the arm -------------------------------------------------------------------------------


@njit
def _cox_terms(beta, rows, table, efron):
    """Expected events in arm 1, information and its derivative at a log hazard ratio (Cox 1972; Efron 1977
    eq. 3.9). With p the chance that the event falls in arm 1: sums of p, p (1 - p), p (1 - p)(1 - 2p)."""
    n0, n1, d0, d1 = table[0], table[1], table[2], table[3]
    ratio = math.exp(beta)
    expected = 0.0
    information = 0.0
    slope = 0.0
    for g in range(rows):
        d = d0[g] + d1[g]
        if d == 1.0 or not efron:
            r1 = n1[g] * ratio
            each = 1.0 / (n0[g] + r1)
            p = r1 * each
            q = n0[g] * each
            expected += d * p
            information += d * (p * q)
            slope += d * (p * q * (q - p))
        else:
            tied1 = d1[g] * ratio / d
            tied0 = d0[g] / d
            all1 = n1[g] * ratio
            for l in range(int(d)):
                r0 = n0[g] - l * tied0
                r1 = all1 - l * tied1
                each = 1.0 / (r0 + r1)
                p = r1 * each
                q = r0 * each
                expected += p
                information += p * q
                slope += p * q * (q - p)
    return expected, information, slope


@njit
def _maximise(rows, table, efron, start):
    """Halley's method on the score, kept between the bounds that its sign gives (the score falls as beta
    rises). Returns (beta, information, status, iterations)."""
    comparable = 0.0
    comparable1 = 0.0
    observed = 0.0
    for g in range(rows):
        observed += table[3, g]
        if table[0, g] > 0 and table[1, g] > 0:
            comparable += table[2, g] + table[3, g]
            comparable1 += table[3, g]
    if comparable == 0.0:
        return math.nan, math.nan, NOTHING_TO_COMPARE, 0
    if comparable1 == 0.0 or comparable1 == comparable:
        return math.nan, math.nan, ALL_IN_ONE_ARM, 0
    beta = min(max(start, -2.0), 2.0)
    low = -math.inf
    high = math.inf
    for iteration in range(1, 201):
        expected, information, slope = _cox_terms(beta, rows, table, efron)
        score = observed - expected
        if score >= 0.0:
            low = beta
        if score <= 0.0:
            high = beta
        step = score / information
        bend = 1.0 + 0.5 * step * slope / information
        if bend > 0.5:
            step /= bend
        step = min(max(step, -4.0), 4.0)
        if abs(step) <= 1e-6 * max(1.0, abs(beta)):
            # the error left is of the third order of the step; the information moves with it
            beta += step
            information += step * slope
            return beta, information, CONVERGED, iteration
        if not (low < beta + step < high):
            step = 0.5 * (low + high) - beta
        beta += step
    return math.nan, math.nan, DID_NOT_CONVERGE, 200


@njit
def cox_of_table(rows, scratch, efron, start):
    """Exact Cox estimate: (log hazard ratio of arm 1 to arm 0, standard error, status, iterations).

    efron: Efron's ties (1977), else Breslow's (1974). start: where to begin, such as the log-rank's observed
    minus expected over its variance; the answer does not depend on it. Where the likelihood has no maximum
    the numbers are NaN and the status says why.
    """
    beta, information, status, iterations = _maximise(rows, scratch.table, efron, start)
    if status != CONVERGED:
        return math.nan, math.nan, status, iterations
    return beta, 1.0 / math.sqrt(information), status, iterations


@njit
def score_of_table(beta, rows, scratch, efron):
    """(score, information) of the log partial likelihood at a log hazard ratio."""
    expected, information, _ = _cox_terms(beta, rows, scratch.table, efron)
    observed = 0.0
    for g in range(rows):
        observed += scratch.table[3, g]
    return observed - expected, information


@njit
def cox_loglik_of_table(beta, rows, scratch, efron):
    """Log partial likelihood at a log hazard ratio (Cox 1975; ties as in `cox_of_table`)."""
    n0, n1, d0, d1 = scratch.table[0], scratch.table[1], scratch.table[2], scratch.table[3]
    ratio = math.exp(beta)
    loglik = 0.0
    product = 1.0
    for g in range(rows):
        d = d0[g] + d1[g]
        loglik += beta * d1[g]
        for l in range(int(d)):
            share = l / d if efron else 0.0
            product *= n0[g] - share * d0[g] + (n1[g] - share * d1[g]) * ratio
            # one logarithm serves many factors
            if product > 1e200 or product < 1e-200:
                loglik -= math.log(product)
                product = 1.0
    return loglik - math.log(product)


# --- both in one call -------------------------------------------------------------------------------------


@njit
def _both(rows, scratch):
    if rows < 0:
        return math.nan, math.nan, math.nan, math.nan, TOO_SMALL
    difference, variance = logrank_of_table(rows, scratch)
    start = difference / variance if variance > 0.0 else 0.0
    beta, se, status, _ = cox_of_table(rows, scratch, True, start)
    return difference, variance, beta, se, status


@njit
def two_arm_days(days, event, arm, stratum, n_strata, scratch):
    """Log-rank and exact Cox estimate of one trial on whole days; for use inside compiled loops.

    days: int32[n] >= 0; event: uint8[n]; arm: uint8[n] in {0, 1}; stratum: int32[n] in 0..n_strata-1 (rows
    outside are left out); scratch: from `two_arm_scratch`. Returns (o_minus_e, variance, beta, se, status):
    stratified log-rank of arm 1 (Mantel 1966), log hazard ratio with Efron ties and its standard error; beta
    and se are NaN unless status is `CONVERGED`. The risk table stays in `scratch` for further statistics.
    """
    return _both(risk_table_of_days(days, event, arm, stratum, n_strata, scratch), scratch)


@njit
def two_arm_times(time, event, arm, stratum, n_strata, scratch):
    """As `two_arm_days`, for times of any unit (float64[n], in any order)."""
    return _both(risk_table_of_times(time, event, arm, stratum, n_strata, scratch), scratch)


# --- one trial, with working memory of its own --------------------------------------------------------------


@njit
def _scratch_around(cells, days, events, n_strata):
    return Scratch(
        cells,
        days,
        np.empty((5, events)),
        np.empty(n_strata + 1, np.int64),
        np.empty(max(2 * events, n_strata) + 1, np.int32),
        np.empty((2, events)),
        np.empty(events, np.int32),
        np.empty((n_strata, 2)),
        np.empty(n_strata),
    )


@njit
def _cells_needed(days, event, n_strata):
    """(cells, days of the histogram, events), as `two_arm_scratch` has them."""
    n = days.shape[0]
    last = 0
    events = 0
    for i in range(n):
        last = max(last, days[i])
        events += event[i] != 0
    cells = 2 * (events + 1)
    if n_strata * (last + 1) <= max(DENSE * n, 4096):
        return max(cells, 2 * n_strata * (last + 1)), last + 1, events
    return cells, 0, events


@njit
def _cox_with(days, event, arm, stratum, n_strata, scratch):
    rows = risk_table_of_days(days, event, arm, stratum, n_strata, scratch)
    _, _, beta, se, status = _both(rows, scratch)
    loglik = cox_loglik_of_table(beta, rows, scratch, True) if status == CONVERGED else math.nan
    return beta, se, status == CONVERGED, loglik


@njit
def cox_binary(time_days, event, arm, stratum, n_strata):
    """Exact Cox estimate of one 0/1 arm, Efron ties, stratified; for use inside compiled loops.

    time_days: int32[n], whole days >= 0; event: uint8[n]; arm: uint8[n] in {0, 1}; stratum: int32[n] in
    0..n_strata-1 (rows outside are left out). Returns (beta, se, converged, loglik): beta is the log hazard
    ratio of arm 1 to arm 0. With no events, or all comparable events in one arm, there is no finite
    estimate: beta, se and loglik are NaN and converged is False. Working memory O(n + last day), allocated
    in each call: `two_arm_days` does the same in memory that is kept.
    """
    size, days, events = _cells_needed(time_days, event, n_strata)
    if time_days.shape[0] < SMALL:
        narrow = _scratch_around(np.empty(size, np.uint32), days, events, n_strata)
        return _cox_with(time_days, event, arm, stratum, n_strata, narrow)
    wide = _scratch_around(np.empty(size, np.uint64), days, events, n_strata)
    return _cox_with(time_days, event, arm, stratum, n_strata, wide)


@njit
def _logrank_with(days, event, arm, stratum, n_strata, scratch):
    return logrank_of_table(risk_table_of_days(days, event, arm, stratum, n_strata, scratch), scratch)


@njit
def logrank_binary(time_days, event, arm, stratum, n_strata):
    """Stratified log-rank of arm 1 against arm 0 (Mantel 1966); for use inside compiled loops.

    Arguments as for `cox_binary`. Returns (o_minus_e, variance) of the events in arm 1, with the
    hypergeometric variance; the chi-square on 1 df is o_minus_e**2 / variance. variance is 0 when no event
    can be compared.
    """
    size, days, events = _cells_needed(time_days, event, n_strata)
    if time_days.shape[0] < SMALL:
        narrow = _scratch_around(np.empty(size, np.uint32), days, events, n_strata)
        return _logrank_with(time_days, event, arm, stratum, n_strata, narrow)
    wide = _scratch_around(np.empty(size, np.uint64), days, events, n_strata)
    return _logrank_with(time_days, event, arm, stratum, n_strata, wide)


def risk_table(
    time: Codes | Floats, event: NDArray[np.uint8], arm: Codes, stratum: Codes, n_strata: int
) -> tuple[int, Scratch]:
    """(rows, working memory with the table) of columns as `exit_times` and `codes` give them, not empty."""
    side = arm.astype(np.uint8)
    events = int(np.count_nonzero(event))
    if time.dtype != np.int32:
        scratch = two_arm_scratch(len(side), n_strata, None, events)
        return risk_table_of_times(time, event, side, stratum, n_strata, scratch), scratch
    scratch = two_arm_scratch(len(side), n_strata, int(time.max()), events)
    return risk_table_of_days(time, event, side, stratum, n_strata, scratch), scratch


# --- restricted means -------------------------------------------------------------------------------------


@njit
def _restricted_mean(begin, end, scratch, arm, horizon):
    """(area under the Kaplan-Meier curve of one stratum and arm up to the horizon, its variance, the height
    of the curve there)."""
    table = scratch.table
    area = 0.0
    survival = 1.0
    before = 0.0
    for g in range(begin, end):
        if table[4, g] >= horizon:
            break
        if table[2 + arm, g] > 0.0:
            area += survival * (table[4, g] - before)
            before = table[4, g]
            survival *= 1.0 - table[2 + arm, g] / table[arm, g]
    last = survival
    area += survival * (horizon - before)
    variance = 0.0
    remaining = area
    survival = 1.0
    before = 0.0
    for g in range(begin, end):
        if table[4, g] >= horizon:
            break
        d = table[2 + arm, g]
        n = table[arm, g]
        if d > 0.0:
            remaining -= survival * (table[4, g] - before)
            before = table[4, g]
            survival *= 1.0 - d / n
            if n > d:
                variance += remaining * remaining * d / (n * (n - d))
    return area, variance, last


@njit
def restricted_means_of_table(n_strata, scratch, horizon):
    """(mean of arm 0, its variance, mean of arm 1, its variance) of the time up to `horizon`, in its unit.

    Needs the risk table and `follow_up` in `scratch`. The area under the Kaplan-Meier curve (Irwin 1949) with
    the variance of Klein & Moeschberger (2003), eq. 4.5.2; with strata, the average over strata by their
    share of all participants. NaN for an arm that in some stratum was not followed up to the horizon, and
    whose curve there is not down to 0.
    """
    total = 0.0
    for s in range(n_strata):
        total += scratch.size[s]
    mean0 = 0.0
    mean1 = 0.0
    variance0 = 0.0
    variance1 = 0.0
    for s in range(n_strata):
        share = scratch.size[s] / total
        if share > 0.0:
            begin, end = scratch.first[s], scratch.first[s + 1]
            area, variance, survival = _restricted_mean(begin, end, scratch, 0, horizon)
            if scratch.last[s, 0] < horizon and not (survival == 0.0 and scratch.last[s, 0] >= 0.0):
                area = math.nan
            mean0 += share * area
            variance0 += share * share * variance
            area, variance, survival = _restricted_mean(begin, end, scratch, 1, horizon)
            if scratch.last[s, 1] < horizon and not (survival == 0.0 and scratch.last[s, 1] >= 0.0):
                area = math.nan
            mean1 += share * area
            variance1 += share * share * variance
    if total == 0.0:
        mean0 = math.nan
        mean1 = math.nan
    if math.isnan(mean0):
        variance0 = math.nan
    if math.isnan(mean1):
        variance1 = math.nan
    return mean0, variance0, mean1, variance1


# --- proportional hazards ---------------------------------------------------------------------------------


@njit
def _time_dependence(rows, scratch, clock, beta):
    """Score test of adding arm x clock(t) to a fitted one-covariate model (Grambsch & Therneau 1994).

    `clock` holds the transformed time of each row. Returns the chi-square on 1 df, NaN if undefined.
    """
    n0, n1, d0, d1 = scratch.table[0], scratch.table[1], scratch.table[2], scratch.table[3]
    ratio = math.exp(beta)
    total_events = 0.0
    centre = 0.0
    for g in range(rows):
        centre += clock[g] * (d0[g] + d1[g])
        total_events += d0[g] + d1[g]
    if total_events == 0.0:
        return math.nan
    centre /= total_events
    score = 0.0
    i_bb = 0.0
    i_bt = 0.0
    i_tt = 0.0
    for g in range(rows):
        d = d0[g] + d1[g]
        c = clock[g] - centre
        score += c * d1[g]
        for l in range(int(d)):
            share = l / d
            r0 = n0[g] - share * d0[g]
            r1 = (n1[g] - share * d1[g]) * ratio
            p = r1 / (r0 + r1)
            v = p * (1.0 - p)
            score -= c * p
            i_bb += v
            i_bt += c * v
            i_tt += c * c * v
    if i_bb <= 0.0:
        return math.nan
    variance = i_tt - i_bt * i_bt / i_bb
    if variance <= 1e-12 * i_tt:
        return math.nan
    return score * score / variance


def proportional_hazards(
    days: ArrayLike, event: ArrayLike, arm: ArrayLike, stratum: ArrayLike | None = None
) -> tuple[float, float]:
    """(chi-square on 1 df, p-value) of a hazard ratio that changes with log time.

    Score test in the model with arm alone, Efron ties (Grambsch & Therneau, Biometrika 1994, as an exact
    score test). days: whole days >= 0 (day 0 counts as half a day); arm: 0 or 1. NaN where undefined.
    """
    stop, happened = exit_times(days, event)
    levels, labels = codes(stratum, len(stop), "strata")
    side = np.ascontiguousarray(arm, dtype=np.int32)
    if not len(stop):
        return math.nan, math.nan
    rows, scratch = risk_table(stop.astype(np.int32), happened, side, levels, len(labels))
    beta, _, status, _ = cox_of_table(rows, scratch, True, 0.0)
    if status:
        return math.nan, math.nan
    clock = np.log(np.maximum(scratch.table[4, :rows], 0.5))
    chi_square = _time_dependence(rows, scratch, clock, beta)
    return chi_square, chi_square_p(chi_square, 1)
