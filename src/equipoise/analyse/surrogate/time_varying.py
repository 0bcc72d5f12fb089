"""Risk by the latest marker value: Cox's model with a time-varying covariate, and landmark analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from equipoise.analyse.cox_model import Cox
from equipoise.analyse.surrogate.data import Floats, MarkedTrial
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.rows import Rows, fit, ratio, rows_at_risk
from equipoise.analyse.surrogate.scale import Transform, on_scale, per_unit
from equipoise.errors import UserError

STANDS = "a value stands until the next is measured, and nothing else about its history matters"
PROPORTIONAL = "the hazard ratio is the same at all times, and the risk is log-linear in the marker"
LANDMARK_SELECTION = (
    "those still at risk at a landmark are no longer a randomised comparison: treatment may have decided "
    "who they are"
)


@dataclass(frozen=True)
class TimeVarying:
    """A Cox model by the latest marker value: a measure for each term, in the order of `terms`."""

    terms: tuple[str, ...]
    measures: tuple[Measure, ...]
    model: Cox
    participants: int
    events: int

    def of(self, term: str) -> Measure:
        """The hazard ratio of one term. Raises UserError for one that is not in the model."""
        if term not in self.terms:
            raise UserError(f"there is no term `{term}` in the model; there are: {', '.join(self.terms)}")
        return self.measures[self.terms.index(term)]


@dataclass(frozen=True)
class Landmark:
    """What followed a landmark, among those still at risk then whose marker was known: the arms compared
    without and with the marker of that time, and the marker's own hazard ratio."""

    time: float
    participants: int
    events: int
    arm: Measure
    arm_given_marker: Measure
    marker: Measure


def time_varying(
    trial: MarkedTrial,
    *,
    terms: Sequence[str] = ("arm", "marker"),
    covariates: Mapping[str, ArrayLike] | None = None,
    transform: Transform = "log2",
    lag: float = 0.0,
    confidence: float = 0.95,
) -> TimeVarying:
    """Cox's model with the latest marker value (Cox, J R Stat Soc B 1972;34:187-220), stratified by the plan.

    terms: "arm", "marker" and names of `covariates` (each a column of shape (n,), known at randomisation);
    lag: years before a value counts. The rows are those of `MarkedTrial.spells`: time without a known marker
    is left out whatever the terms, so that models with and without it are of the same people and times.
    Raises UserError for a term that is unknown or given twice, or a covariate of the wrong length."""
    scaled, warnings = on_scale(trial, transform)
    rows = rows_at_risk(scaled, lag)
    chosen = tuple(terms)
    if not chosen or len(set(chosen)) != len(chosen):
        raise UserError("name each term of the model once, and at least one")
    columns = [_column(term, trial, rows, covariates or {}) for term in chosen]
    X = np.column_stack(columns)
    model = fit(rows, X)
    method = "Cox model by the latest marker value" + (f", counted {lag:g} years late" if lag else "")
    measures = tuple(
        ratio(
            model, k, f"time_varying.{term}", _label(term, chosen, trial, transform), method=method,
            confidence=confidence, assumptions=(STANDS, PROPORTIONAL), warnings=warnings,
        )
        for k, term in enumerate(chosen)
    )  # fmt: skip
    return TimeVarying(chosen, measures, model, len(np.unique(rows.who)), int(rows.event.sum()))


def _column(term: str, trial: MarkedTrial, rows: Rows, covariates: Mapping[str, ArrayLike]) -> Floats:
    if term == "arm":
        return rows.treated
    if term == "marker":
        return rows.value
    if term not in covariates:
        there = ", ".join(["arm", "marker", *covariates])
        raise UserError(f"there is no covariate `{term}`; there are: {there}")
    column = np.asarray(covariates[term], np.float64)
    if column.shape != (trial.participants,):
        raise UserError(f"the covariate `{term}` must have one value for each of {trial.participants} people")
    if not np.isfinite(column).all():
        raise UserError(f"the covariate `{term}` is not known for everybody")
    return column[rows.who]


def _label(term: str, terms: tuple[str, ...], trial: MarkedTrial, transform: Transform) -> str:
    others = {"arm": "arm", "marker": trial.marker_label}
    given = [others.get(other, other) for other in terms if other != term]
    words = {
        "arm": f"{trial.treated_label} against {trial.reference_label}",
        "marker": f"per {per_unit(trial, transform)}",
    }.get(term, term)
    return f"{words}, given {' and '.join(given)}" if given else words


def landmarks(
    trial: MarkedTrial,
    times: Sequence[float],
    *,
    transform: Transform = "log2",
    confidence: float = 0.95,
) -> tuple[Landmark, ...]:
    """Landmark analyses (Anderson, Cain & Gelber, J Clin Oncol 1983;1:710-9) at `times`, in years.

    At each time, those still at risk whose marker is known by then, by arm and by the marker of that time.
    Raises UserError for a negative time. Measures are refused where nobody is left or nothing follows."""
    if any(not time >= 0 for time in times):
        raise UserError("landmarks are years since randomisation, 0 or later")
    scaled, warnings = on_scale(trial, transform)
    return tuple(_landmark(scaled, float(time), transform, confidence, warnings) for time in times)


def _landmark(
    scaled: MarkedTrial, time: float, transform: Transform, confidence: float, warnings: tuple[str, ...]
) -> Landmark:
    value = scaled.value_at(time)
    who = np.flatnonzero((scaled.time > time) & ~np.isnan(value))
    rows = Rows(
        scaled.participants, who, np.full(len(who), time), scaled.time[who], scaled.event[who], value[who],
        scaled.treated[who].astype(np.float64), scaled.stratum[who],
    )  # fmt: skip
    alone = fit(rows, rows.treated[:, None])
    both = fit(rows, np.column_stack([rows.treated, rows.value]))
    arms = f"{scaled.treated_label} against {scaled.reference_label}"
    assumptions = (LANDMARK_SELECTION, PROPORTIONAL)
    method = f"Cox model of what followed year {time:g}"

    def measure(model: Cox, k: int, name: str, label: str) -> Measure:
        return ratio(
            model, k, f"landmark.{time:g}.{name}", label, method=method,
            confidence=confidence, assumptions=assumptions, warnings=warnings,
        )  # fmt: skip

    return Landmark(
        time,
        len(who),
        int(rows.event.sum()),
        measure(alone, 0, "arm", f"{arms}, after year {time:g}"),
        measure(
            both, 0, "arm_given_marker", f"{arms}, after year {time:g}, given {scaled.marker_label} then"
        ),
        measure(both, 1, "marker", f"per {per_unit(scaled, transform)} at year {time:g}, given arm"),
    )
