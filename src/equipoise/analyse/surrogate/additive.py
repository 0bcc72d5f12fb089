"""Aalen's additive hazards model: how many events more, over time, go with each covariate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.analyse.surrogate.data import MarkedTrial, Spells
from equipoise.analyse.surrogate.risk_sets import (
    RiskSets,
    covariate_columns,
    risk_sets,
)
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.errors import UserError

Floats = NDArray[np.float64]

SINGULAR = 1e-10
"""A design whose normal matrix, scaled to a unit diagonal, has a smaller least eigenvalue is singular."""


@dataclass(frozen=True)
class AdditiveHazards:
    """Cumulative regression functions of the additive model: k distinct event times, p columns.

    They step at `times` (years) and are constant between. The first column is the baseline, then the arm,
    then the covariates, then the marker. They end where the design becomes singular: `ended` says so, in
    words, or is empty. `optional` and `robust` are variances of `cumulative`."""

    names: tuple[str, ...]
    times: Floats
    """Shape (k,)."""
    cumulative: Floats
    """Shape (k, p): per unit of the covariate."""
    optional: Floats
    """Shape (k, p): the optional variation estimate."""
    robust: Floats
    """Shape (k, p): from the contributions of participants; holds when the hazards are not additive."""
    ended: str = ""


def additive_hazards(
    trial: MarkedTrial,
    *,
    marker: Transform | None = "log2",
    covariates: ArrayLike | None = None,
    names: tuple[str, ...] = (),
    until: float = np.inf,
    lag: float = 0.0,
) -> AdditiveHazards:
    """Fit h(t) = b0(t) + b1(t) arm + b2(t)'covariates + b3(t) marker(t) by least squares at each event time.

    `marker`: the scale on which the latest value enters, or None to leave it out (then all time at risk
    counts, else only the time after a first value). `covariates`: shape (n, q), fixed, with `names`. `until`
    and `lag` in years. The estimator is Aalen (Statistics in Medicine 1989;8:907-25); the optional variation
    of Aalen, Borgan and Gjessing (Survival and Event History Analysis, 2008, section 4.2); the robust
    variance sums squares of the participants' contributions, (X'X)^-1 x_i (dN_i - x_i'dB) summed over time
    (Scheike, Lifetime Data Analysis 2002;8:247-62). The design is not weighted and not penalised. Raises
    UserError when there is no event, or the design is singular at the first one.
    """
    fixed = covariate_columns(trial, covariates, names)
    labels = names or tuple(f"covariate {i + 1}" for i in range(fixed.shape[1]))
    design = np.column_stack([np.ones(trial.participants), trial.treated, fixed])
    columns = ("baseline", trial.treated_label, *labels)
    if marker is None:
        everyone = np.arange(trial.participants)[trial.time > 0]
        spells = Spells(
            everyone, np.zeros(len(everyone)), trial.time[everyone], trial.event[everyone],
            np.zeros(len(everyone)),
        )  # fmt: skip
    else:
        spells = on_scale(trial, marker)[0].spells(lag)
        columns = (*columns, trial.marker_label)
    times, steps, spread, contribution, robust = [], [], [], np.zeros((trial.participants, len(columns))), []
    ended = ""
    for block in risk_sets(spells, trial.participants, until):
        regular, jump, variation, parts = _steps(block, design, marker is not None)
        last = int(np.argmin(regular)) if not regular.all() else len(regular)
        running = contribution[:, None, :] + np.cumsum(parts[:, :last], axis=1)
        robust.append(np.einsum("nkp,nkp->kp", running, running))
        contribution = running[:, -1] if last else contribution
        times.append(block.times[:last])
        steps.append(jump[:last])
        spread.append(variation[:last])
        if last < len(regular):
            ended = (
                f"the design is singular from {block.times[last]:.3g} years: too few are at risk, or alike"
            )
            break
    if not times or not len(times[0]):
        raise UserError(f"the additive model cannot be fitted: {ended or 'there are no events'}")
    return AdditiveHazards(
        names=columns,
        times=np.concatenate(times),
        cumulative=np.cumsum(np.concatenate(steps), axis=0),
        optional=np.cumsum(np.concatenate(spread), axis=0),
        robust=np.concatenate(robust),
        ended=ended,
    )


def least_eigenvalue(normal: Floats) -> Floats:
    """Least eigenvalue of symmetric matrices (..., p, p), each scaled to a unit diagonal."""
    diagonal = np.diagonal(normal, axis1=-2, axis2=-1)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = normal * scale[..., :, None] * scale[..., None, :]
    return np.asarray(np.linalg.eigvalsh(scaled)[..., 0], np.float64)


def _steps(
    block: RiskSets, fixed: Floats, with_marker: bool
) -> tuple[NDArray[np.bool_], Floats, Floats, Floats]:
    """For each event time: whether the design is regular, the step of the cumulative functions, that of the
    optional variation, and every participant's contribution, shape (n, k, p)."""
    x = fixed[:, None, :] * block.at_risk[:, :, None]
    if with_marker:
        x = np.concatenate([x, block.marker[:, :, None]], axis=2)
    normal = np.einsum("nkp,nkq->kpq", x, x, optimize=True)
    regular = least_eigenvalue(normal) > SINGULAR
    normal[~regular] = np.eye(normal.shape[1])
    inverse = np.linalg.inv(normal)
    happened = np.zeros(x.shape[:2])
    happened[block.who, block.when] = 1.0
    jump = np.einsum("kpq,nkq,nk->kp", inverse, x, happened, optimize=True)
    influence = np.einsum("kpq,nkq->nkp", inverse, x, optimize=True)
    variation = np.einsum("nkp,nk->kp", influence**2, happened, optimize=True)
    residual = happened - np.einsum("nkp,kp->nk", x, jump, optimize=True)
    return regular, jump, variation, influence * residual[:, :, None]
