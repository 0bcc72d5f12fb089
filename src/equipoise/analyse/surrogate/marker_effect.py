"""What treatment did to the marker: each participant's mean after randomisation, by arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.analyse.surrogate.data import Floats, MarkedTrial

LEAST_IN_AN_ARM = 3


@dataclass(frozen=True)
class MarkerEffect:
    """Difference between the arms, on the scale of the marker, with its standard error; `influence` is what
    each participant adds to it, shape (n,), 0 for those without measurements. `undefined` says why there is
    none."""

    estimate: float
    se: float
    influence: Floats
    n: int
    adjusted: bool
    undefined: str = ""


def means_after(trial: MarkedTrial) -> Floats:
    """Mean of the measurements after randomisation and until the end of observation, shape (n,)."""
    counts = (trial.at > 0) & (trial.at <= trial.time[trial.who]) & ~np.isnan(trial.value)
    who, value = trial.who[counts], trial.value[counts]
    number = np.bincount(who, minlength=trial.participants)
    total = np.bincount(who, value, minlength=trial.participants)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def marker_effect(trial: MarkedTrial) -> MarkerEffect:
    """Difference of the participants' means after randomisation, adjusted for the value at baseline.

    Analysis of covariance of a summary measure (Frison & Pocock, Stat Med 1992;11:1685-704) with the
    heteroscedasticity-consistent variance HC3 (MacKinnon & White, J Econometrics 1985;29:305-25). Without
    baseline values the means are compared as they are. `trial` holds the marker on the scale wanted."""
    y, base = means_after(trial), trial.baseline()
    known = ~np.isnan(y)
    adjusted = bool((known & ~np.isnan(base)).sum() >= 0.8 * max(known.sum(), 1))
    if adjusted:
        known &= ~np.isnan(base)
    n, zeros = int(known.sum()), np.zeros(trial.participants)
    arm = trial.treated[known].astype(np.float64)
    if min(arm.sum(), n - arm.sum()) < LEAST_IN_AN_ARM:
        reason = f"fewer than {LEAST_IN_AN_ARM} participants of an arm have a marker after randomisation"
        return MarkerEffect(np.nan, np.nan, zeros, n, adjusted, reason)
    if np.ptp(y[known]) <= 1e-9 * float(np.abs(y[known]).max()):
        return MarkerEffect(np.nan, np.nan, zeros, n, adjusted, "the marker does not vary")
    columns = [np.ones(n), arm]
    if adjusted and np.ptp(base[known]) > 0:
        columns.append(base[known] - base[known].mean())
    X = np.column_stack(columns)
    inverse = np.linalg.inv(X.T @ X)
    beta = inverse @ X.T @ y[known]
    leverage = np.einsum("ij,jk,ik->i", X, inverse, X)
    left = 1 - leverage
    if (left < 1e-8).any():
        return MarkerEffect(np.nan, np.nan, zeros, n, adjusted, "one participant decides the comparison")
    zeros[known] = (X @ inverse[1]) * (y[known] - X @ beta) / left
    return MarkerEffect(float(beta[1]), float(np.sqrt((zeros**2).sum())), zeros, n, adjusted)
