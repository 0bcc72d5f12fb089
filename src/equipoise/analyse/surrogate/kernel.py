"""Cox's model refitted to resampled participants: whole-number weights on rows that are sorted once.

The bootstrap of a trial refits the same rows a thousand times with other weights. A weight of w stands for w
copies of the row, ties by Efron among all copies: exactly what `equipoise.analyse.cox` gives on copied rows.
"""

import math

import numpy as np

from equipoise._compile import njit


@njit
def _terms(beta, start, stop, event, X, stratum, entries, weight, risk, U, J):
    """Log partial likelihood; fills the score U[p] and the information J[p, p]. Rows rise by stratum and
    fall by stop; `entries` gives the rows by stratum and falling start."""
    n, p = X.shape
    U[:] = 0.0
    J[:, :] = 0.0
    S1 = np.zeros(p)
    S2 = np.zeros((p, p))
    D1 = np.zeros(p)
    D2 = np.zeros((p, p))
    loglik = 0.0
    for i in range(n):
        eta = 0.0
        for a in range(p):
            eta += X[i, a] * beta[a]
        risk[i] = weight[i] * math.exp(eta)
    position = 0
    while position < n:
        here = stratum[position]
        leaving = position
        S0 = 0.0
        present = 0
        S1[:] = 0.0
        S2[:, :] = 0.0
        while position < n and stratum[position] == here:
            now = stop[position]
            while leaving < n and stratum[entries[leaving]] == here and start[entries[leaving]] >= now:
                i = entries[leaving]
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
            while position < n and stratum[position] == here and stop[position] == now:
                i = position
                S0 += risk[i]
                for a in range(p):
                    S1[a] += risk[i] * X[i, a]
                    for b in range(a + 1):
                        S2[a, b] += risk[i] * X[i, a] * X[i, b]
                if event[i] and weight[i] > 0:
                    d += weight[i]
                    D0 += risk[i]
                    for a in range(p):
                        loglik += weight[i] * X[i, a] * beta[a]
                        U[a] += weight[i] * X[i, a]
                        D1[a] += risk[i] * X[i, a]
                        for b in range(a + 1):
                            D2[a, b] += risk[i] * X[i, a] * X[i, b]
                present += weight[i]
                position += 1
            for l in range(d):
                share = l / d
                total = S0 - share * D0
                loglik -= math.log(total)
                for a in range(p):
                    mean = (S1[a] - share * D1[a]) / total
                    U[a] -= mean
                    for b in range(a + 1):
                        other = (S1[b] - share * D1[b]) / total
                        J[a, b] += (S2[a, b] - share * D2[a, b]) / total - mean * other
    for a in range(p):
        for b in range(a):
            J[b, a] = J[a, b]
    return loglik


@njit
def _step(U, J, out):
    """Solve J out = U, p being 1 or 2; False where J is singular."""
    if U.shape[0] == 1:
        if not J[0, 0] > 0.0:
            return False
        out[0] = U[0] / J[0, 0]
        return True
    determinant = J[0, 0] * J[1, 1] - J[0, 1] * J[1, 0]
    if not determinant > 1e-11 * J[0, 0] * J[1, 1]:
        return False
    out[0] = (J[1, 1] * U[0] - J[0, 1] * U[1]) / determinant
    out[1] = (J[0, 0] * U[1] - J[1, 0] * U[0]) / determinant
    return True


@njit
def weighted_cox(first, start, stop, event, X, stratum, entries, weight, beta):
    """Maximise the partial likelihood from `first`; fills `beta`. False where no maximum was reached.

    start, stop, event, stratum, weight (int64, 0 or more): [n], sorted as `_terms` wants; X: [n, p], p 1 or
    2, centred and of spread about 1."""
    p = X.shape[1]
    U = np.zeros(p)
    J = np.zeros((p, p))
    step = np.zeros(p)
    trial = np.zeros(p)
    risk = np.empty(X.shape[0])
    beta[:] = first
    loglik = _terms(beta, start, stop, event, X, stratum, entries, weight, risk, U, J)
    for _ in range(50):
        if not _step(U, J, step):
            return False
        largest = 0.0
        for a in range(p):
            largest = max(largest, abs(step[a]))
        if not largest < 1e6:
            return False
        for a in range(p):
            trial[a] = beta[a] + step[a]
        # a step that is small has arrived to the square of its size: no need to look again
        if largest < 1e-7:
            beta[:] = trial
            return True
        new = _terms(trial, start, stop, event, X, stratum, entries, weight, risk, U, J)
        halvings = 0
        while not new >= loglik - 1e-9 and halvings < 40:
            for a in range(p):
                step[a] *= 0.5
                trial[a] = beta[a] + step[a]
            new = _terms(trial, start, stop, event, X, stratum, entries, weight, risk, U, J)
            halvings += 1
        beta[:] = trial
        loglik = new
        for a in range(p):
            if abs(beta[a]) > 30.0:
                return False
    return False
