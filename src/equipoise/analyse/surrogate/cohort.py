"""Who an analysis of mediation is about, until when, and how the participants are resampled."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.resampling import draws
from equipoise.analyse.surrogate.risk_sets import covariate_columns
from equipoise.analyse.surrogate.rows import FEW_EVENTS
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.errors import UserError

Floats = NDArray[np.float64]

STILL_FOLLOWED = 0.25
"""The default horizon is the last time at which this share of each arm is still followed (chosen here)."""
MONTH = 1 / 12


@dataclass(frozen=True)
class Cohort:
    """The participants that are analysed. `trial` holds only them, its marker transformed; `fixed`, shape
    (n, p), the covariates, centred, the baseline marker first where it is adjusted for. `refused` says why
    nothing can be estimated, in words, or is empty; then `fixed` may be empty."""

    trial: MarkedTrial
    fixed: Floats
    horizon: float
    warnings: tuple[str, ...] = ()
    refused: str = ""


def cohort(
    trial: MarkedTrial,
    horizon: float | None,
    transform: Transform,
    covariates: ArrayLike | None,
    adjust_baseline: bool,
) -> Cohort:
    """Who is analysed until when. Raises UserError for a horizon that is not above 0 and bad covariates."""
    if horizon is not None and not (horizon > 0 and math.isfinite(horizon)):
        raise UserError(f"the horizon must be a number of years above 0, not {horizon:g}")
    fixed = covariate_columns(trial, covariates, ())
    whole, said = on_scale(trial, transform)
    baseline, warnings = whole.baseline(), list(said)
    kept = ~np.isnan(baseline) if adjust_baseline else np.isin(np.arange(trial.participants), trial.who)
    if not kept.all():
        lacking = "a value at randomisation" if adjust_baseline else "any value of the marker"
        warnings.append(
            f"{int((~kept).sum())} of {trial.participants} participants without {lacking} are left out"
        )
    some = subset(whole, kept)
    columns = [baseline[kept][:, None]] if adjust_baseline else []
    fixed = np.column_stack([*columns, fixed[kept]]) if columns else fixed[kept]
    for label, arm in ((some.treated_label, some.treated), (some.reference_label, ~some.treated)):
        if not arm.any():
            return Cohort(
                some, fixed, math.nan, tuple(warnings), f"the marker is known of nobody of arm {label}"
            )
    until = horizon if horizon is not None else default_horizon(some)
    for label, arm in ((some.treated_label, some.treated), (some.reference_label, ~some.treated)):
        if some.time[arm].max() < until:
            why = f"nobody of arm {label} is followed up to the horizon of {until:.3g} years"
            return Cohort(some, fixed, until, tuple(warnings), why)
    for label, arm in ((some.treated_label, some.treated), (some.reference_label, ~some.treated)):
        if not (arm[some.who] & (some.at > 0) & (some.at < until) & ~np.isnan(some.value)).any():
            why = f"the marker is not known after randomisation in arm {label}"
            return Cohort(some, fixed, until, tuple(warnings), why)
    events = some.event & (some.time <= until)
    if events.sum() < FEW_EVENTS:
        why = f"{int(events.sum())} events up to {until:.3g} years; fewer than {FEW_EVENTS} are not analysed"
        return Cohort(some, fixed, until, tuple(warnings), why)
    return Cohort(some, fixed - fixed.mean(axis=0), until, tuple(warnings))


def default_horizon(trial: MarkedTrial) -> float:
    """The last time, in years, when a quarter of each arm is still followed, rounded down to whole months."""
    last = min(
        float(np.quantile(trial.time[arm], 1 - STILL_FOLLOWED, method="lower"))
        for arm in (trial.treated, ~trial.treated)
    )
    months = math.floor(last / MONTH + 1e-9)
    return months * MONTH if months else last


def subset(trial: MarkedTrial, kept: NDArray[np.bool_]) -> MarkedTrial:
    """The same trial with only the participants in `kept`, shape (n,)."""
    place = np.cumsum(kept) - 1
    rows = kept[trial.who]
    return replace(
        trial,
        treated=trial.treated[kept], time=trial.time[kept], event=trial.event[kept],
        stratum=trial.stratum[kept], unit=trial.unit[kept],
        who=place[trial.who[rows]], at=trial.at[rows], value=trial.value[rows],
    )  # fmt: skip


def resampled(trial: MarkedTrial, replicates: int, seed: int) -> Floats:
    """How often each participant is drawn in each bootstrap sample, shape (replicates, n): within arm and
    stratum, as `draws`. Raises UserError for fewer than 2 replicates, or a negative seed."""
    if replicates < 2:
        raise UserError(f"a bootstrap needs at least 2 samples, not {replicates}")
    return np.array(list(draws(trial, replicates, seed)), np.float64)
