"""Cox models on the spells of a marked trial: rows at risk, fits, and what each participant adds to a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from equipoise.analyse.columns import codes, orders
from equipoise.analyse.cox_model import Cox, cox, cox_score_residuals
from equipoise.analyse.surrogate.data import Floats, Ints, MarkedTrial, Truths
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.undefined import NO_EVENTS, ONE_GROUP
from equipoise.errors import UserError

Matrix = NDArray[np.float64]

HAZARD_RATIO = "hazard ratio"
NOT_AFTER = "the marker is not known at any time after randomisation"
NOBODY = "nobody was under observation with a known marker"
FEW_EVENTS = 10
"""Below so many events logistic models and mediation are refused, and Cox models warn (chosen here)."""


@dataclass(frozen=True)
class Rows:
    """Time at risk in rows, r of them, at risk on (start, stop] in years: a participant's rows follow each
    other without gap. `value` is the marker on the scale of the model; `people` counts the participants of
    the trial, of whom some may have no row."""

    people: int
    who: Ints
    start: Floats
    stop: Floats
    event: Truths
    value: Floats
    treated: Floats
    stratum: Ints

    def pick(self, keep: Truths) -> Rows:
        return Rows(
            self.people, self.who[keep], self.start[keep], self.stop[keep], self.event[keep],
            self.value[keep], self.treated[keep], self.stratum[keep],
        )  # fmt: skip

    def whole(self) -> Rows:
        """One row for each participant, from the first row's start to the last one's stop: enough for
        covariates that do not change. `value` is the first."""
        if not len(self.who):
            return self
        first = np.flatnonzero(np.append(True, self.who[1:] != self.who[:-1]))
        last = np.append(first[1:], len(self.who)) - 1
        return Rows(
            self.people, self.who[first], self.start[first], self.stop[last], self.event[last],
            self.value[first], self.treated[first], self.stratum[first],
        )  # fmt: skip


def rows_at_risk(trial: MarkedTrial, lag: float = 0.0) -> Rows:
    """The spells of the trial with arm and stratum; `trial` holds the marker on the scale of the model."""
    spells = trial.spells(lag)
    return Rows(
        trial.participants, spells.who, spells.start, spells.stop, spells.event, spells.value,
        trial.treated[spells.who].astype(np.float64), trial.stratum[spells.who],
    )  # fmt: skip


def whole_follow_up(trial: MarkedTrial) -> Rows:
    """Everybody from randomisation, whether the marker is known or not; nobody's marker is in it (NaN)."""
    who = np.flatnonzero(trial.time > 0)
    return Rows(
        trial.participants, who, np.zeros(len(who)), trial.time[who], trial.event[who],
        np.full(len(who), np.nan), trial.treated[who].astype(np.float64), trial.stratum[who],
    )  # fmt: skip


def fit(rows: Rows, X: Floats) -> Cox:
    """Cox's model of the rows, stratified, ties by Efron. X: r x p."""
    model = cox(rows.stop, rows.event, X, strata=rows.stratum, entry=rows.start)
    return model if len(rows.who) else replace(model, undefined=NOBODY)


def score_residuals(rows: Rows, X: Floats, beta: Floats, *, efron: bool = True) -> Floats:
    """What each participant adds to the score of the partial likelihood at `beta`, shape (people, p)
    (Lin & Wei, J Am Stat Assoc 1989;84:1074-8)."""
    stratum, _ = codes(rows.stratum, len(rows.who), "strata")
    order, entry_order = orders(stratum, rows.start, rows.stop, True, latest_first=True)
    centred = np.ascontiguousarray(X - X.mean(axis=0))
    each = cox_score_residuals(
        np.ascontiguousarray(beta, dtype=np.float64), rows.start, rows.stop, rows.event.astype(np.uint8),
        centred, stratum, order, entry_order, True, efron,
    )  # fmt: skip
    out = np.zeros((rows.people, X.shape[1]))
    np.add.at(out, rows.who, each)
    return out


def influence(rows: Rows, X: Floats, model: Cox) -> Floats:
    """How far each participant moves the coefficients, shape (people, p): score residuals times the
    covariance. The sum of their squares is the robust variance of Lin & Wei (1989)."""
    return np.asarray(score_residuals(rows, X, model.coefficients) @ model.covariance)


def few_events(model: Cox) -> tuple[str, ...]:
    """A warning where a Cox model has so few events that its normal interval is not to be relied on."""
    if model.events >= FEW_EVENTS:
        return ()
    many = "1 event" if model.events == 1 else f"{model.events} events"
    return (
        f"only {many} in a Cox model: below {FEW_EVENTS} its hazard ratios, with intervals, may be far off",
    )


def z_of(confidence: float) -> float:
    """Normal quantile of a two-sided interval. Raises UserError for a confidence that is none."""
    if not 0 < confidence < 1:
        raise UserError(f"the confidence of an interval lies between 0 and 1: {confidence:g} does not")
    return float(ndtri(0.5 + confidence / 2))


def without_comparison(trial: MarkedTrial) -> str:
    """Why two arms cannot be compared at all, or nothing."""
    if trial.treated.all() or not trial.treated.any():
        return ONE_GROUP
    return "" if trial.event.any() else NO_EVENTS


def without_mediator(trial: MarkedTrial) -> str:
    """Why no part of the effect can be put down to the marker, or nothing."""
    after = (trial.at > 0) & (trial.at < trial.time[trial.who]) & ~np.isnan(trial.value)
    return without_comparison(trial) or ("" if after.any() else NOT_AFTER)


def ratio(
    model: Cox,
    k: int,
    name: str,
    label: str,
    *,
    method: str,
    confidence: float = 0.95,
    assumptions: tuple[str, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Measure:
    """The hazard ratio of covariate k; `se` is that of its logarithm. Refused where there is none."""
    if model.undefined:
        return refused(
            name, label, HAZARD_RATIO, model.undefined, method=method, assumptions=assumptions,
            warnings=warnings,
        )  # fmt: skip
    warnings = (*warnings, *(text for text in few_events(model) if text not in warnings))
    estimate, low, high = model.hazard_ratio(k, confidence)
    return Measure(
        name, label, HAZARD_RATIO, estimate, float(model.standard_errors[k]), low, high, model.p_value(k),
        confidence, method, assumptions, warnings,
    )  # fmt: skip


def log_ratio_measure(
    name: str, label: str, log_ratio: float, se: float, *, method: str, confidence: float = 0.95,
    assumptions: tuple[str, ...] = (), warnings: tuple[str, ...] = (),
) -> Measure:  # fmt: skip
    """A hazard ratio from its logarithm and the standard error of that; Wald interval and test."""
    z = z_of(confidence)
    return Measure(
        name, label, HAZARD_RATIO, math.exp(log_ratio), se, math.exp(log_ratio - z * se),
        math.exp(log_ratio + z * se), math.erfc(abs(log_ratio / se) / math.sqrt(2)) if se > 0 else math.nan,
        confidence, method, assumptions, warnings,
    )  # fmt: skip
