"""Cox's proportional hazards model: strata, ties by Efron or Breslow, late entry, robust variance.

Newton's method is followed to convergence without approximation, and a likelihood that has no maximum is
reported as undefined, with the reason, never as a number. One covariate of two values, without late entry or
clusters, is fitted from the risk table (`equipoise.analyse.two_arm`), as in simulated trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from equipoise._compile import njit
from equipoise.analyse.columns import (
    Codes,
    Floats,
    checked,
    codes,
    exit_times,
    few_values,
    orders,
    two_sided_p,
)
from equipoise.analyse.two_arm import (
    ALL_IN_ONE_ARM,
    NOTHING_TO_COMPARE,
    cox_loglik_of_table,
    cox_of_table,
    logrank_of_table,
    risk_table,
    score_of_table,
)
from equipoise.analyse.undefined import (
    DEPENDENT,
    MONOTONE,
    NO_COMPARISON,
    NO_EVENTS,
    NOT_CONVERGED,
    ONE_SIDED,
)
from equipoise.errors import UserError


@njit
def _moments(X):
    """Mean and standard deviation of each covariate; exactly 0 for a constant."""
    n, p = X.shape
    mean = np.zeros(p)
    low = X[0].copy()
    high = X[0].copy()
    for i in range(n):
        for a in range(p):
            mean[a] += X[i, a]
            low[a] = min(low[a], X[i, a])
            high[a] = max(high[a], X[i, a])
    mean /= n
    square = np.zeros(p)
    for i in range(n):
        for a in range(p):
            square[a] += (X[i, a] - mean[a]) ** 2
    spread = np.sqrt(square / n)
    for a in range(p):
        if low[a] == high[a]:
            spread[a] = 0.0
    return mean, spread


@njit
def _in_order(X, order, mean, spread):
    """The covariates centred, of unit spread, their rows put in order."""
    out = np.empty(X.shape)
    for k in range(order.shape[0]):
        for a in range(X.shape[1]):
            out[k, a] = (X[order[k], a] - mean[a]) / spread[a]
    return out


@njit
def _cox_terms(beta, start, stop, event, X, weight, stratum, order, entry_order, late_entry, efron, U, J):
    """Log partial likelihood; fills the score U[p] and the information J[p, p].

    Rows in `order` rise by stratum and fall by time; `entry_order` rises by stratum and falls by start. A
    row of weight w (int64, 1 or more) counts as w rows.
    """
    n = order.shape[0]
    p = X.shape[1]
    risk = np.empty(n)
    for i in range(n):
        eta = 0.0
        for a in range(p):
            eta += X[i, a] * beta[a]
        risk[i] = weight[i] * math.exp(eta)
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
                    S0 -= risk[i]
                    for a in range(p):
                        S1[a] -= risk[i] * X[i, a]
                        for b in range(a + 1):
                            S2[a, b] -= risk[i] * X[i, a] * X[i, b]
                    present -= weight[i]
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
                S0 += risk[i]
                for a in range(p):
                    S1[a] += risk[i] * X[i, a]
                    for b in range(a + 1):
                        S2[a, b] += risk[i] * X[i, a] * X[i, b]
                if event[i]:
                    d += weight[i]
                    D0 += risk[i]
                    eta = 0.0
                    for a in range(p):
                        eta += X[i, a] * beta[a]
                        U[a] += weight[i] * X[i, a]
                        D1[a] += risk[i] * X[i, a]
                        for b in range(a + 1):
                            D2[a, b] += risk[i] * X[i, a] * X[i, b]
                    loglik += weight[i] * eta
                present += weight[i]
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
def cox_newton(first, start, stop, event, X, weight, stratum, order, entry_order, late_entry, efron):
    """Maximise from `first`. X is centred and scaled to unit spread, so steps are comparable; order of rows
    and weights as `_cox_terms` wants them.

    Returns (status, beta, J, loglik, loglik at first, score chi-square there, iterations); status 0
    converged, 1 covariates dependent, 2 likelihood without a maximum, 3 not converged.
    """
    p = X.shape[1]
    beta = first.copy()
    U = np.zeros(p)
    J = np.zeros((p, p))
    step = np.zeros(p)
    trial = np.zeros(p)
    null = _cox_terms(
        beta, start, stop, event, X, weight, stratum, order, entry_order, late_entry, efron, U, J
    )
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
        new = _cox_terms(
            trial, start, stop, event, X, weight, stratum, order, entry_order, late_entry, efron, U, J
        )
        if largest > 1e-5:
            for _ in range(60):
                if new >= loglik:
                    break
                largest *= 0.5
                for a in range(p):
                    step[a] *= 0.5
                    trial[a] = beta[a] + step[a]
                new = _cox_terms(
                    trial, start, stop, event, X, weight, stratum, order, entry_order, late_entry, efron, U, J
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
def cox_score_residuals(beta, start, stop, event, X, stratum, order, entry_order, late_entry, efron):
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


def _exp(x: float) -> float:
    return math.inf if x > 709.0 else math.exp(x)


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
    stop, happened = exit_times(time, event)
    n = len(stop)
    covariates = np.asarray(X, dtype=np.float64)
    if covariates.ndim == 1:
        covariates = covariates[:, None]
    if covariates.ndim != 2 or covariates.shape[0] != n:
        raise UserError("the covariates must have one row for each time")
    if not np.isfinite(covariates).all():
        raise UserError("covariates must be finite numbers: a value is missing")
    levels, labels = codes(strata, n, "strata")
    efron = ties == "efron"
    if covariates.shape[1] == 1 and entry is None and cluster is None and n:
        side, values = few_values(covariates[:, 0], 2)
        if len(values) == 2:
            return _of_two_values(stop, happened, side, values, levels, len(labels), efron)
    return _of_rows(time, event, covariates, levels, efron, entry, cluster)


def _without_estimate(p: int, n: int, events: int, reason: str, iterations: int = 0) -> Cox:
    nothing, square = np.full(p, math.nan), np.full((p, p), math.nan)
    return Cox(nothing, nothing, square, None, math.nan, math.nan, math.nan, iterations, n, events, reason)


_REASONS = {NOTHING_TO_COMPARE: NO_COMPARISON, ALL_IN_ONE_ARM: ONE_SIDED}


def _of_two_values(
    stop: Codes | Floats, happened: NDArray[np.uint8], side: Codes, values: tuple[float, ...],
    levels: Codes, n_strata: int, efron: bool,
) -> Cox:  # fmt: skip
    n, events = len(stop), int(np.count_nonzero(happened))
    if events == 0:
        return _without_estimate(1, n, 0, NO_EVENTS)
    rows, scratch = risk_table(stop, happened, side, levels, n_strata)
    difference, variance = logrank_of_table(rows, scratch)
    start = difference / variance if variance > 0 else 0.0
    beta, se, status, iterations = cox_of_table(rows, scratch, efron, start)
    if status:
        return _without_estimate(1, n, events, _REASONS.get(status, NOT_CONVERGED), iterations)
    gap = values[1] - values[0]
    score, information = score_of_table(0.0, rows, scratch, efron)
    return Cox(
        coefficients=np.array([beta / gap]),
        standard_errors=np.array([se / gap]),
        covariance=np.array([[(se / gap) ** 2]]),
        robust_covariance=None,
        log_likelihood=cox_loglik_of_table(beta, rows, scratch, efron),
        log_likelihood_null=cox_loglik_of_table(0.0, rows, scratch, efron),
        score_chi_square=score * score / information,
        iterations=iterations,
        n=n,
        events=events,
    )


def _of_rows(
    time: ArrayLike, event: ArrayLike, covariates: Floats, levels: Codes, efron: bool,
    entry: ArrayLike | None, cluster: ArrayLike | None,
) -> Cox:  # fmt: skip
    stop, happened, start = checked(time, event, entry)
    n, p = covariates.shape
    late = entry is not None
    events = int(happened.sum())
    if events == 0:
        return _without_estimate(p, n, 0, NO_EVENTS)
    covariates = np.ascontiguousarray(covariates)
    mean, spread = _moments(covariates)
    if not (spread > 0).all():
        return _without_estimate(p, n, events, DEPENDENT)
    order, entry_order = orders(levels, start, stop, late, latest_first=True)
    # the rows are put in order once, so that every step of Newton's method reads them as they lie
    rows = np.arange(n)
    entries = rows
    if late:
        place = np.empty(n, np.int64)
        place[order] = rows
        entries = place[entry_order]
    scaled = _in_order(covariates, order, mean, spread)
    ordered = (start[order], stop[order], happened[order], scaled)
    as_they_lie = (levels[order], rows, entries, late, efron)
    status, beta, information, loglik, null, score_test, iterations = cox_newton(
        np.zeros(p), *ordered, np.ones(n, np.int64), *as_they_lie
    )
    if status:
        binary = p == 1 and len(np.unique(covariates)) == 2
        reasons = {1: NO_COMPARISON if binary else DEPENDENT, 2: ONE_SIDED if binary else MONOTONE}
        return _without_estimate(p, n, events, reasons.get(status, NOT_CONVERGED), iterations)
    scaled_covariance = np.linalg.inv(information)
    covariance = scaled_covariance / np.outer(spread, spread)
    robust = None
    if cluster is not None:
        owners, names = codes(cluster, n, "clusters")
        influence = np.zeros((len(names), p))
        residuals = cox_score_residuals(beta, *ordered, *as_they_lie)
        np.add.at(influence, owners[order], residuals @ scaled_covariance / spread)
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
