"""Logistic regression of an event by a horizon, participants counted as often as they were drawn."""

from __future__ import annotations

import numpy as np

from equipoise.analyse.surrogate.data import Floats


def logistic(X: Floats, y: Floats, weight: Floats) -> Floats | None:
    """Maximum-likelihood coefficients, shape (p,), by Newton's method; None where there is no maximum.

    X: n x p with its column of ones, y: 0 or 1, weight: how often each row counts."""
    if not (weight @ y > 0 and weight @ (1 - y) > 0):
        return None
    b = np.zeros(X.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-X @ b))
        information = (X.T * (weight * p * (1 - p))) @ X
        if not np.linalg.cond(information) < 1e12:
            return None
        step = np.linalg.solve(information, X.T @ (weight * (y - p)))
        b = b + step
        if np.abs(step).max() < 1e-9 * max(1.0, float(np.abs(b).max())):
            return b
    return None


def logistic_influence(X: Floats, y: Floats, beta: Floats) -> Floats:
    """How far each row moves the coefficients, n x p: the sandwich's inside (White, Econometrica
    1982;50:1-25)."""
    p = 1 / (1 + np.exp(-X @ beta))
    return np.asarray((X * (y - p)[:, None]) @ np.linalg.inv((X.T * (p * (1 - p))) @ X))
