"""Time to event: the log-rank test, Cox's model, the Kaplan-Meier curve, the restricted mean.

Times are numbers in any unit (days, inside Equipoise); `event` is 1 for an event and 0 for censoring. Ties
are exact equality of times. Formulae and papers are gathered in docs/methods.md. Everything is computed in
compiled double precision without approximation: Newton's method is followed to convergence, and a likelihood
that has no maximum is reported as undefined, with the reason, never as a number.
"""

from __future__ import annotations

import math
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
ONE_SIDED = (
    "every event that can be compared happened in one group, so the hazard ratio has no finite estimate"
)
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
    """Risk sets at each distinct event day in each stratum, by counting: no comparison of times.

    A table of exits by stratum and day where it is smaller than the data, a counting sort otherwise.

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
    if n_strata == 1 or n_strata * (last_day + 1) <= n:
        # code 0, 1: censored in arm 0, 1; code 2, 3: event in arm 0, 1
        exits = np.zeros((n_strata, last_day + 1, 4), np.int32)
        for i in range(n):
            if stratum[i] < 0 or stratum[i] >= n_strata or arm[i] > 1 or time_days[i] < 0:
                continue
            exits[stratum[i], time_days[i], arm[i] + (2 if event[i] else 0)] += 1
        for s in range(n_strata):
            at_risk0 = 0
            at_risk1 = 0
            for d in range(last_day, -1, -1):
                e0 = exits[s, d, 2]
                e1 = exits[s, d, 3]
                at_risk0 += exits[s, d, 0] + e0
                at_risk1 += exits[s, d, 1] + e1
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
    last = math.inf
    loglik, score, information = _binary_terms(beta, found, n0, n1, d0, d1, efron)
    for _ in range(100):
        step = score / information
        if step > 4.0:
            step = 4.0
        elif step < -4.0:
            step = -4.0
        new_loglik, new_score, new_information = _binary_terms(beta + step, found, n0, n1, d0, d1, efron)
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
        size = abs(step)
        # done, or as near as rounding allows: a small step that no longer shrinks
        if size <= 1e-12 * max(1.0, abs(beta)) or (size <= 1e-9 and size >= 0.5 * last) or score == 0.0:
            return beta, 1.0 / math.sqrt(information), 0, loglik
        last = size
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


@njit
def _binary_time_dependence(found, n0, n1, d0, d1, clock, beta):
    """Score test of adding arm x clock(t) to a fitted one-covariate model (Grambsch & Therneau 1994).

    `clock` holds the transformed time of each tied group. Returns the chi-square on 1 df, NaN if undefined.
    """
    ratio = math.exp(beta)
    total_events = 0.0
    centre = 0.0
    for g in range(found):
        centre += clock[g] * (d0[g] + d1[g])
        total_events += d0[g] + d1[g]
    if total_events == 0.0:
        return math.nan
    centre /= total_events
    score = 0.0
    i_bb = 0.0
    i_bt = 0.0
    i_tt = 0.0
    for g in range(found):
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


# --- any number of groups, covariates, strata, entry times ------------------------------------------------


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
def _cox_terms(beta, start, stop, event, X, stratum, order, entry_order, late_entry, efron, U, J):
    """Log partial likelihood; fills the score U[p] and the information J[p, p].

    Rows in `order` rise by stratum and fall by time; `entry_order` rises by stratum and falls by start.
    """
    n = order.shape[0]
    p = X.shape[1]
    U[:] = 0.0
    J[:, :] = 0.0
    S1 = np.zeros(p)
    S2 = np.zeros((p, p))
    D1 = np.zeros(p)
    D2 = np.zeros((p, p))
    mean = np.zeros(p)
    loglik = 0.0
    position = 0
    while position < n:
        here = stratum[order[position]]
        end = position
        while end < n and stratum[order[end]] == here:
            end += 1
        leaving = position
        S0 = 0.0
        present = 0
        S1[:] = 0.0
        S2[:, :] = 0.0
        while position < end:
            now = stop[order[position]]
            if late_entry:
                while leaving < end and start[entry_order[leaving]] >= now:
                    i = entry_order[leaving]
                    eta = 0.0
                    for a in range(p):
                        eta += X[i, a] * beta[a]
                    risk = math.exp(eta)
                    S0 -= risk
                    for a in range(p):
                        S1[a] -= risk * X[i, a]
                        for b in range(a + 1):
                            S2[a, b] -= risk * X[i, a] * X[i, b]
                    present -= 1
                    leaving += 1
                if present == 0:
                    S0 = 0.0
                    S1[:] = 0.0
                    S2[:, :] = 0.0
            d = 0
            D0 = 0.0
            D1[:] = 0.0
            D2[:, :] = 0.0
            while position < end and stop[order[position]] == now:
                i = order[position]
                eta = 0.0
                for a in range(p):
                    eta += X[i, a] * beta[a]
                risk = math.exp(eta)
                S0 += risk
                for a in range(p):
                    S1[a] += risk * X[i, a]
                    for b in range(a + 1):
                        S2[a, b] += risk * X[i, a] * X[i, b]
                if event[i]:
                    d += 1
                    D0 += risk
                    loglik += eta
                    for a in range(p):
                        U[a] += X[i, a]
                        D1[a] += risk * X[i, a]
                        for b in range(a + 1):
                            D2[a, b] += risk * X[i, a] * X[i, b]
                present += 1
                position += 1
            for l in range(d):
                share = l / d if efron else 0.0
                total = S0 - share * D0
                loglik -= math.log(total)
                for a in range(p):
                    mean[a] = (S1[a] - share * D1[a]) / total
                for a in range(p):
                    U[a] -= mean[a]
                    for b in range(a + 1):
                        J[a, b] += (S2[a, b] - share * D2[a, b]) / total - mean[a] * mean[b]
    for a in range(p):
        for b in range(a):
            J[b, a] = J[a, b]
    return loglik


@njit
def _solve(J, U, out):
    """Solve J out = U for a symmetric positive definite J by Cholesky; False where J is singular."""
    p = U.shape[0]
    L = np.zeros((p, p))
    for a in range(p):
        for b in range(a + 1):
            s = J[a, b]
            for k in range(b):
                s -= L[a, k] * L[b, k]
            if a == b:
                if not s > 1e-11 * J[a, a] or J[a, a] <= 0.0:
                    return False
                L[a, a] = math.sqrt(s)
            else:
                L[a, b] = s / L[b, b]
    y = np.zeros(p)
    for a in range(p):
        s = U[a]
        for k in range(a):
            s -= L[a, k] * y[k]
        y[a] = s / L[a, a]
    for a in range(p - 1, -1, -1):
        s = y[a]
        for k in range(a + 1, p):
            s -= L[k, a] * out[k]
        out[a] = s / L[a, a]
    return True


@njit
def _cox_newton(start, stop, event, X, stratum, order, entry_order, late_entry, efron):
    """Maximise from 0. X is centred and scaled to unit spread, so steps are comparable.

    Returns (status, beta, J, loglik, loglik at 0, score chi-square, iterations); status 0 converged,
    1 covariates dependent, 2 likelihood without a maximum, 3 not converged.
    """
    p = X.shape[1]
    beta = np.zeros(p)
    U = np.zeros(p)
    J = np.zeros((p, p))
    step = np.zeros(p)
    trial = np.zeros(p)
    null = _cox_terms(beta, start, stop, event, X, stratum, order, entry_order, late_entry, efron, U, J)
    J0 = np.zeros(p)
    for a in range(p):
        J0[a] = J[a, a]
    if not _solve(J, U, step):
        return 1, beta, J, null, null, math.nan, 0
    score_test = 0.0
    for a in range(p):
        score_test += step[a] * U[a]
    loglik = null
    last = math.inf
    for iteration in range(1, 101):
        largest = 0.0
        for a in range(p):
            largest = max(largest, abs(step[a]))
        if largest > 5.0:
            for a in range(p):
                step[a] *= 5.0 / largest
            largest = 5.0
        for a in range(p):
            trial[a] = beta[a] + step[a]
        new = _cox_terms(trial, start, stop, event, X, stratum, order, entry_order, late_entry, efron, U, J)
        if largest > 1e-5:
            for _ in range(60):
                if new >= loglik:
                    break
                largest *= 0.5
                for a in range(p):
                    step[a] *= 0.5
                    trial[a] = beta[a] + step[a]
                new = _cox_terms(
                    trial, start, stop, event, X, stratum, order, entry_order, late_entry, efron, U, J
                )
        reach = 0.0
        for a in range(p):
            beta[a] = trial[a]
            reach = max(reach, abs(beta[a]))
        loglik = new
        for a in range(p):
            # information that has died away along a covariate: its maximum lies at infinity
            if not J[a, a] > 1e-9 * J0[a] and abs(beta[a]) > 6.0:
                return 2, beta, J, loglik, null, score_test, iteration
        if reach > 60.0:
            return 2, beta, J, loglik, null, score_test, iteration
        # done, or as near as rounding allows: a small step that no longer shrinks
        if largest <= 1e-12 * max(1.0, reach) or (largest <= 1e-9 and largest >= 0.5 * last):
            return 0, beta, J, loglik, null, score_test, iteration
        last = largest
        if not _solve(J, U, step):
            return 2, beta, J, loglik, null, score_test, iteration
    return 3, beta, J, loglik, null, score_test, 100


@njit
def _cox_score_residuals(beta, start, stop, event, X, stratum, order, entry_order, late_entry, efron):
    """Score residual of each row, n x p (Therneau, Grambsch & Fleming 1990; Efron weights for tied rows)."""
    n = order.shape[0]
    p = X.shape[1]
    residual = np.zeros((X.shape[0], p))
    risk = np.exp(X @ beta)
    S1 = np.zeros(p)
    D1 = np.zeros(p)
    # cumulated over tied groups of one stratum, latest first: hazard increments and their mean-weighted sums
    times = np.zeros(n)
    H = np.zeros(n + 1)
    HX = np.zeros((n + 1, p))
    tie_h = np.zeros(n)
    tie_hx = np.zeros((n, p))
    tie_mean = np.zeros((n, p))
    position = 0
    while position < n:
        here = stratum[order[position]]
        begin = position
        end = position
        while end < n and stratum[order[end]] == here:
            end += 1
        leaving = begin
        S0 = 0.0
        present = 0
        S1[:] = 0.0
        found = 0
        H[0] = 0.0
        HX[0, :] = 0.0
        while position < end:
            now = stop[order[position]]
            if late_entry:
                while leaving < end and start[entry_order[leaving]] >= now:
                    i = entry_order[leaving]
                    S0 -= risk[i]
                    for a in range(p):
                        S1[a] -= risk[i] * X[i, a]
                    present -= 1
                    leaving += 1
                if present == 0:
                    S0 = 0.0
                    S1[:] = 0.0
            d = 0
            D0 = 0.0
            D1[:] = 0.0
            while position < end and stop[order[position]] == now:
                i = order[position]
                S0 += risk[i]
                for a in range(p):
                    S1[a] += risk[i] * X[i, a]
                if event[i]:
                    d += 1
                    D0 += risk[i]
                    for a in range(p):
                        D1[a] += risk[i] * X[i, a]
                present += 1
                position += 1
            if d > 0:
                h = 0.0
                th = 0.0
                times[found] = now
                for a in range(p):
                    HX[found + 1, a] = HX[found, a]
                    tie_hx[found, a] = 0.0
                    tie_mean[found, a] = 0.0
                for l in range(d):
                    share = l / d if efron else 0.0
                    total = S0 - share * D0
                    h += 1.0 / total
                    th += (1.0 - share) / total
                    for a in range(p):
                        m = (S1[a] - share * D1[a]) / total
                        HX[found + 1, a] += m / total
                        tie_hx[found, a] += (1.0 - share) * m / total
                        tie_mean[found, a] += m / d
                H[found + 1] = H[found] + h
                tie_h[found] = th
                found += 1
        # a row with (start, stop] meets the tied groups with start < time <= stop
        group = 0
        for k in range(begin, end):
            i = order[k]
            while group < found and times[group] > stop[i]:
                group += 1
            if event[i]:
                first = group + 1
                for a in range(p):
                    residual[i, a] += (
                        X[i, a] - tie_mean[group, a] - risk[i] * (X[i, a] * tie_h[group] - tie_hx[group, a])
                    )
            else:
                first = group
            for a in range(p):
                residual[i, a] -= risk[i] * (X[i, a] * (H[found] - H[first]) - (HX[found, a] - HX[first, a]))
        if late_entry:
            group = 0
            for k in range(begin, end):
                i = entry_order[k]
                while group < found and times[group] > start[i]:
                    group += 1
                for a in range(p):
                    residual[i, a] += risk[i] * (
                        X[i, a] * (H[found] - H[group]) - (HX[found, a] - HX[group, a])
                    )
    return residual


@njit
def _product_limit(start, stop, event, order, entry_order, late_entry):
    """Distinct times with numbers at risk (just before), events and exits; rows rise by time."""
    n = order.shape[0]
    times = np.empty(n)
    at_risk = np.empty(n)
    events = np.empty(n)
    found = 0
    position = 0
    entering = 0
    present = 0.0 if late_entry else float(n)
    while position < n:
        now = stop[order[position]]
        if late_entry:
            while entering < n and start[entry_order[entering]] < now:
                present += 1.0
                entering += 1
        d = 0.0
        left = 0.0
        while position < n and stop[order[position]] == now:
            if event[order[position]]:
                d += 1.0
            left += 1.0
            position += 1
        times[found] = now
        at_risk[found] = present
        events[found] = d
        found += 1
        present -= left
    return times[:found], at_risk[:found], events[:found]


# --- what is public ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogRank:
    """A log-rank test of `groups` groups. Arrays have one entry per group, in order of `labels`.

    `score` is the (weighted) observed minus expected, `variance` its covariance matrix. `undefined` says why
    there is no chi-square, or is None.
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


@dataclass(frozen=True)
class Cox:
    """A fitted Cox model. Coefficients are log hazard ratios per unit of each covariate, p of them.

    `covariance` is the model-based p x p matrix; `standard_errors` come from `robust_covariance` where a
    cluster was given. `undefined` says why there is no estimate (then all numbers are NaN), or is None.
    """

    coefficients: Floats
    standard_errors: Floats
    covariance: Floats
    robust_covariance: Floats | None
    log_likelihood: float
    log_likelihood_null: float
    score_chi_square: float
    iterations: int
    n: int
    events: int
    undefined: str | None = None

    def hazard_ratio(self, covariate: int = 0, confidence: float = 0.95) -> tuple[float, float, float]:
        """(estimate, lower, upper) of exp(coefficient), Wald interval."""
        b, se = float(self.coefficients[covariate]), float(self.standard_errors[covariate])
        z = float(ndtri(0.5 + confidence / 2))
        return _exp(b), _exp(b - z * se), _exp(b + z * se)

    def p_value(self, covariate: int = 0) -> float:
        """Two-sided Wald p-value."""
        z = float(self.coefficients[covariate]) / float(self.standard_errors[covariate])
        return two_sided_p(z)


@dataclass(frozen=True)
class Steps:
    """What every curve of steps has: one entry per distinct time of leaving observation, rising; `at_risk`
    counts those under observation, without an event, just before each time."""

    times: Floats
    at_risk: Floats

    def number_at_risk(self, day: float) -> float:
        """At risk just before the events of a day (of the 24 hours that end it): those who leave on that day
        still count. Without late entry."""
        k = int(np.searchsorted(self.times, day - 1, side="right"))
        return float(self.at_risk[k]) if k < len(self.times) else 0.0

    def last_step(self, time: float) -> int:
        """Position of the step that holds at `time`; -1 before the first."""
        return int(np.searchsorted(self.times, time, side="right")) - 1


@dataclass(frozen=True)
class Curve(Steps):
    """A Kaplan-Meier curve: `survival`, `se`, `lower` and `upper` hold from each time on."""

    events: Floats
    survival: Floats
    se: Floats
    lower: Floats
    upper: Floats

    def at(self, time: float) -> tuple[float, float, float]:
        """(survival, lower, upper) at a time; 1 before the first step."""
        k = self.last_step(time)
        if k < 0:
            return 1.0, 1.0, 1.0
        return float(self.survival[k]), float(self.lower[k]), float(self.upper[k])

    def quantile(self, probability: float) -> float:
        """First time at which survival is at or below 1 - probability; NaN if never reached."""
        reached = np.flatnonzero(self.survival <= 1 - probability + 1e-12)
        return float(self.times[reached[0]]) if len(reached) else math.nan


@dataclass(frozen=True)
class RestrictedMean:
    """Area under the survival curve up to `horizon`, in the unit of time."""

    horizon: float
    estimate: float
    se: float
    lower: float
    upper: float


def two_sided_p(z: float) -> float:
    """Two-sided normal p-value of a z statistic; NaN for NaN."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def chi_square_p(value: float, df: int) -> float:
    """Upper tail of the chi-square distribution; NaN for NaN or no degrees of freedom."""
    return float(chdtrc(df, value)) if df > 0 and not math.isnan(value) else math.nan


def _exp(x: float) -> float:
    return math.inf if x > 709.0 else math.exp(x)


def _checked(
    time: ArrayLike, event: ArrayLike, entry: ArrayLike | None
) -> tuple[Floats, NDArray[np.uint8], Floats]:
    stop = np.ascontiguousarray(time, dtype=np.float64)
    happened_raw = np.asarray(event)
    if stop.ndim != 1 or happened_raw.shape != stop.shape:
        raise UserError("times and events must be two columns of the same length")
    if len(stop) and not np.isfinite(stop).all():
        raise UserError("times must be finite numbers: a time is missing")
    if len(stop) and stop.min() < 0:
        row = int(np.argmax(stop < 0))
        raise UserError(f"times must not be negative: row {row + 1} has {stop[row]:g}")
    if happened_raw.dtype.kind == "f" and not np.isfinite(happened_raw).all():
        raise UserError("events must be 0 or 1: an event is missing")
    if len(stop) and not np.isin(happened_raw, (0, 1)).all():
        raise UserError("events must be 0 (censored) or 1 (event)")
    happened = np.ascontiguousarray(happened_raw, dtype=np.uint8)
    if entry is None:
        return stop, happened, np.full(len(stop), -1.0)
    start = np.ascontiguousarray(entry, dtype=np.float64)
    if start.shape != stop.shape or not np.isfinite(start).all():
        raise UserError("entry times must be finite numbers, one for each time")
    if (start >= stop).any():
        row = int(np.argmax(start >= stop))
        raise UserError(f"entry must come before exit: row {row + 1} has {start[row]:g} to {stop[row]:g}")
    return stop, happened, start


def _codes(values: ArrayLike | None, n: int, what: str) -> tuple[Ints, tuple[Any, ...]]:
    if values is None:
        return np.zeros(n, np.int64), (0,)
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != n:
        raise UserError(f"{what} must be one column, as long as the times")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{what} must not be missing")
    if array.dtype == object and any(v is None for v in array):
        raise UserError(f"{what} must not be missing")
    labels, codes = np.unique(array, return_inverse=True)
    return codes.astype(np.int64), tuple(labels.tolist())


def _orders(
    stratum: Ints, start: Floats, stop: Floats, late_entry: bool, latest_first: bool
) -> tuple[Ints, Ints]:
    sign = -1.0 if latest_first else 1.0
    order = np.lexsort((sign * stop, stratum)).astype(np.int64)
    if not late_entry:
        return order, order
    return order, np.lexsort((sign * start, stratum)).astype(np.int64)


def logrank(
    time: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    rho: float = 0.0,
    gamma: float = 0.0,
    entry: ArrayLike | None = None,
) -> LogRank:
    """Log-rank test of two or more groups, stratified and weighted if asked.

    time, event, group (and strata, entry): columns of length n; time in any unit. rho and gamma are the
    exponents of the Fleming-Harrington weights S(t-)^rho (1 - S(t-))^gamma; both 0 is the log-rank test.
    Mantel (1966); Fleming & Harrington (1991), section 7.2. Raises UserError for negative or missing times.
    """
    stop, happened, start = _checked(time, event, entry)
    codes, labels = _codes(group, len(stop), "groups")
    levels, _ = _codes(strata, len(stop), "strata")
    late = entry is not None
    order, entry_order = _orders(levels, start, stop, late, latest_first=False)
    k = len(labels)
    observed, expected, score, variance = _logrank(
        start, stop, happened, codes, levels, order, entry_order, k, late, float(rho), float(gamma)
    )
    undefined = None
    chi_square, df = math.nan, 0
    if not happened.any():
        undefined = NO_EVENTS
    elif k < 2:
        undefined = "there is only one group"
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
    return LogRank(
        labels, observed, expected, score, variance, chi_square, df, chi_square_p(chi_square, df), undefined
    )


def cox(
    time: ArrayLike,
    event: ArrayLike,
    X: ArrayLike,
    strata: ArrayLike | None = None,
    ties: Literal["efron", "breslow"] = "efron",
    entry: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> Cox:
    """Cox's proportional hazards model by exact maximisation of the partial likelihood.

    time, event: columns of length n. X: n x p covariates (a column of length n when p is 1). strata: separate
    baseline hazards. ties: Efron (1977) or Breslow (1974). entry: with it, row i is at risk on (entry, time]
    (counting process, delayed entry, recurrent events). cluster: rows that belong together; gives the robust
    variance of Lin & Wei (1989), summed within clusters. Raises UserError for impossible times.

    Newton's method with step halving, stopped when a step is below 1e-12 of a covariate's spread. No finite
    maximum gives NaN and the reason in `undefined`.
    """
    if ties not in ("efron", "breslow"):
        raise UserError(f'ties are handled by "efron" or "breslow", not "{ties}"')
    stop, happened, start = _checked(time, event, entry)
    n = len(stop)
    covariates = np.asarray(X, dtype=np.float64)
    if covariates.ndim == 1:
        covariates = covariates[:, None]
    if covariates.ndim != 2 or covariates.shape[0] != n:
        raise UserError("the covariates must have one row for each time")
    if not np.isfinite(covariates).all():
        raise UserError("covariates must be finite numbers: a value is missing")
    p = covariates.shape[1]
    levels, _ = _codes(strata, n, "strata")
    late = entry is not None
    events = int(happened.sum())
    nothing = np.full(p, math.nan)

    def without_estimate(reason: str, iterations: int = 0) -> Cox:
        square = np.full((p, p), math.nan)
        return Cox(
            nothing, nothing, square, None, math.nan, math.nan, math.nan, iterations, n, events, reason
        )

    if events == 0:
        return without_estimate(NO_EVENTS)
    spread = covariates.std(axis=0)
    if not (spread > 0).all():
        return without_estimate(DEPENDENT)
    scaled = np.ascontiguousarray((covariates - covariates.mean(axis=0)) / spread)
    order, entry_order = _orders(levels, start, stop, late, latest_first=True)
    efron = ties == "efron"
    status, beta, information, loglik, null, score_test, iterations = _cox_newton(
        start, stop, happened, scaled, levels, order, entry_order, late, efron
    )
    if status:
        binary = p == 1 and len(np.unique(covariates)) == 2
        reasons = {1: NO_COMPARISON if binary else DEPENDENT, 2: ONE_SIDED if binary else MONOTONE}
        return without_estimate(reasons.get(status, NOT_CONVERGED), iterations)
    scaled_covariance = np.linalg.inv(information)
    covariance = scaled_covariance / np.outer(spread, spread)
    robust = None
    if cluster is not None:
        owners, names = _codes(cluster, n, "clusters")
        residuals = _cox_score_residuals(
            beta, start, stop, happened, scaled, levels, order, entry_order, late, efron
        )
        influence = np.zeros((len(names), p))
        np.add.at(influence, owners, residuals @ scaled_covariance / spread)
        robust = influence.T @ influence
    return Cox(
        coefficients=beta / spread,
        standard_errors=np.sqrt(np.diag(covariance if robust is None else robust)),
        covariance=covariance,
        robust_covariance=robust,
        log_likelihood=loglik,
        log_likelihood_null=null,
        score_chi_square=score_test,
        iterations=iterations,
        n=n,
        events=events,
    )


def proportional_hazards(
    days: ArrayLike, event: ArrayLike, arm: ArrayLike, stratum: ArrayLike | None = None
) -> tuple[float, float]:
    """(chi-square on 1 df, p-value) of a hazard ratio that changes with log time.

    Score test in the model with arm alone, Efron ties (Grambsch & Therneau, Biometrika 1994, as an exact
    score test). days: whole days >= 0 (day 0 counts as half a day); arm: 0 or 1. NaN where undefined.
    """
    when, happened, side, level, count = _whole_days(days, event, arm, stratum)
    found, n0, n1, d0, d1, day = _tied_groups_by_day(when, happened, side, level, count)
    beta, _, status, _ = _maximise_binary(found, n0, n1, d0, d1, True)
    if status:
        return math.nan, math.nan
    clock = np.log(np.maximum(day[:found].astype(np.float64), 0.5))
    chi_square = _binary_time_dependence(found, n0, n1, d0, d1, clock, beta)
    return chi_square, chi_square_p(chi_square, 1)


def _whole_days(
    days: ArrayLike, event: ArrayLike, arm: ArrayLike, stratum: ArrayLike | None
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32], int]:
    stop, happened, _ = _checked(days, event, None)
    levels, labels = _codes(stratum, len(stop), "strata")
    return (
        stop.astype(np.int32),
        happened,
        np.ascontiguousarray(arm, dtype=np.uint8),
        levels.astype(np.int32),
        len(labels),
    )


def kaplan_meier(
    time: ArrayLike, event: ArrayLike, *, entry: ArrayLike | None = None, confidence: float = 0.95
) -> Curve:
    """The product-limit curve (Kaplan & Meier 1958), Greenwood's standard error, log-log interval.

    time, event: columns of length n; with entry, row i is at risk on (entry, time]. Where survival is 1 the
    interval is (1, 1); where it is 0 it is undefined (NaN).
    """
    stop, happened, start = _checked(time, event, entry)
    order, entry_order = _orders(
        np.zeros(len(stop), np.int64), start, stop, entry is not None, latest_first=False
    )
    times, at_risk, events = _product_limit(start, stop, happened, order, entry_order, entry is not None)
    survival = np.cumprod(1.0 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        se = survival * np.sqrt(greenwood)
        se = np.where(survival > 0, se, math.nan)
        lower, upper = log_log_interval(survival, se, confidence)
    return Curve(times, at_risk, events, survival, se, lower, upper)


def log_log_interval(survival: Floats, se: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Interval of a probability on the log(-log) scale (Kalbfleisch & Prentice 1980, section 1.4)."""
    z = float(ndtri(0.5 + confidence / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        width = z * se / (survival * np.abs(np.log(survival)))
        lower = survival ** np.exp(width)
        upper = survival ** np.exp(-width)
    certain = survival >= 1.0
    return np.where(certain, 1.0, lower), np.where(certain, 1.0, upper)


def restricted_mean(curve: Curve, horizon: float, confidence: float = 0.95) -> RestrictedMean:
    """Restricted mean survival time up to `horizon` (Irwin 1949; Royston & Parmar 2013), in the curve's unit.

    The variance is that of Klein & Moeschberger (2003), eq. 4.5.2. Undefined (NaN) beyond the last time at
    which anybody was observed, unless the curve has come down to 0.
    """
    if len(curve.times) == 0 or (horizon > curve.times[-1] and curve.survival[-1] > 0):
        return RestrictedMean(horizon, math.nan, math.nan, math.nan, math.nan)
    inside = curve.times < horizon
    steps = np.concatenate(([0.0], curve.times[inside], [horizon]))
    level = np.concatenate(([1.0], curve.survival[inside]))
    pieces = level * np.diff(steps)
    remaining = np.cumsum(pieces[::-1])[::-1][1:]
    events, at_risk = curve.events[inside], curve.at_risk[inside]
    usable = at_risk > events
    variance = float(
        np.sum(
            remaining[usable] ** 2 * events[usable] / (at_risk[usable] * (at_risk[usable] - events[usable]))
        )
    )
    estimate, se = float(pieces.sum()), math.sqrt(variance)
    z = float(ndtri(0.5 + confidence / 2))
    return RestrictedMean(horizon, estimate, se, estimate - z * se, estimate + z * se)
