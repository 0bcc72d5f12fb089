"""The joint model of a marker and an event: does the arm act on the event beyond the marker's true course?

A Cox model with the last measured value takes the marker as known, without error, until the next visit. Here
its true course is estimated along with the hazard that depends on it (Wulfsohn & Tsiatis, Biometrics
1997;53:330-9; Rizopoulos, J Stat Softw 2010;35(9), with a baseline hazard constant between cuts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from equipoise.analyse.columns import two_sided_p
from equipoise.analyse.joint.fitting import Fit, in_units, maximised, starting_values
from equipoise.analyse.joint.layout import Floats, Layout, NotDefinedError, laid_out
from equipoise.analyse.joint.likelihood import Nodes, Parameters, log_likelihood_and_scores
from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.errors import UserError

_ROUGH = 0.05
"""An error of the log likelihood that no reader could see in an estimate or its standard error."""

_EDGE = 1e-4
"""Share of the variation of level and slope that is left, below which they count as one."""


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, from the observed information; NaN where there is none."""

    value: float
    se: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wald interval."""
        z = float(ndtri(0.5 + confidence / 2))
        return self.value - z * self.se, self.value + z * self.se

    def ratio(self, confidence: float = 0.95) -> tuple[float, float, float]:
        """exp(value) with its interval: a hazard ratio, from a log hazard ratio."""
        low, high = self.interval(confidence)
        with np.errstate(over="ignore"):
            ratio, lower, upper = np.exp([self.value, low, high])
        return float(ratio), float(lower), float(upper)

    @property
    def p_value(self) -> float:
        """Two-sided Wald p-value."""
        return two_sided_p(self.value / self.se) if self.se > 0 else math.nan


@dataclass(frozen=True)
class Apart:
    """Marker and event fitted apart, as if independent given the arm: `fixed`, the terms of the marker's
    mean on its scale, times in years; `log_hazard_arm`, treated arm against reference; `log_likelihood` of
    both."""

    fixed: dict[str, Estimate]
    log_hazard_arm: Estimate
    log_likelihood: float


@dataclass(frozen=True)
class JointModel:
    """A fitted joint model; read `converged` and `warnings` first.

    `fixed`: terms of the marker's mean on the scale of `transform`, times in years, arms alike at
    randomisation. `random_covariance` (2, 2): of the participants' levels and slopes per year.
    `log_hazard_arm`: treated arm against reference at the same true value of the marker. `association`: log
    hazard per unit of the marker's true current value. `baseline_hazard`: per year, in the reference arm at a
    marker of 0, between `cuts` (years). `apart`: the same data with the association held at 0: the ordinary
    mixed model, and the arm's whole effect on the event. `covariance` of all parameters, in the order of
    `names`."""

    treated_label: str
    reference_label: str
    endpoint_label: str
    marker_label: str
    transform: Transform
    participants: int
    measurements: int
    events: int
    fixed: dict[str, Estimate]
    random_covariance: Floats
    residual_sd: float
    log_hazard_arm: Estimate
    association: Estimate
    cuts: tuple[float, ...]
    baseline_hazard: Floats
    log_likelihood: float
    apart: Apart
    names: tuple[str, ...]
    covariance: Floats
    decrement: float
    """Score' information^-1 score at the estimate: twice what the log likelihood could still gain."""
    iterations: int
    converged: bool
    warnings: tuple[str, ...]

    @property
    def random_sd(self) -> tuple[float, float]:
        """Standard deviation of level and of slope (per year) between participants."""
        level, slope = np.sqrt(np.diag(self.random_covariance))
        return float(level), float(slope)

    @property
    def random_correlation(self) -> float:
        level, slope = self.random_sd
        return float(self.random_covariance[0, 1] / (level * slope)) if level * slope > 0 else math.nan


def joint_model(
    trial: MarkedTrial,
    *,
    transform: Transform = "square root",
    bends: Sequence[float] = (),
    cuts: Sequence[float] | None = None,
    intervals: int = 7,
    nodes: int = 9,
) -> JointModel:
    """Fit the joint model of the marker and the event of a trial by maximum likelihood.

    Marker, on the scale of `transform`: y(t) = m(t) + residual, where m(t) = b0 + b1 t + the mean of the arm,
    a line whose slope may change at each of `bends` (years), and (b0, b1) are normal. Event: hazard
    h0(t) exp(gamma treated + alpha m(t)), h0 constant between `cuts` (years), by default the quantiles of the
    event times that make `intervals` intervals. Measurements after the end of a participant's follow-up are
    left out. `nodes`: Gauss-Hermite nodes for each of the two random effects.

    Wulfsohn & Tsiatis 1997; Rizopoulos 2010 (method "piecewise-PH-GH" of his R package JM). Standard errors
    are from the observed information. A fit that reached no maximum has `converged` False, standard errors
    NaN and the reason among its `warnings`. Strata of the plan are not used. Raises UserError where the model
    is not defined: an empty arm, no event in an arm or in an interval, nobody measured twice, values that the
    scale does not take."""
    if nodes < 3:
        raise UserError(
            f"a joint model needs at least 3 quadrature nodes for each random effect, not {nodes}"
        )
    scaled, remarks = on_scale(trial, transform)
    centre, spread = _centre_and_spread(scaled)
    standard = replace(scaled, value=(scaled.value - centre) / spread)
    data = laid_out(standard, bends, cuts, intervals)
    grid = Nodes.of(nodes)
    p = len(data.terms)
    free = np.ones(p + 6 + data.intervals, bool)
    free[p + 5] = False  # the association
    exact = Nodes.of(2)  # without it only the squares of normal variables are averaged
    apart = maximised(starting_values(data).vector(), free, data, exact)
    joint = maximised(apart.vector, np.ones_like(free), data, grid)
    finer = log_likelihood_and_scores(joint.vector, data, Nodes.of(2 * nodes))[0].sum() - joint.log_likelihood
    apart, joint = (in_units(fit, data, centre, spread) for fit in (apart, joint))
    at = Parameters.of(joint.vector, p)
    return JointModel(
        treated_label=trial.treated_label,
        reference_label=trial.reference_label,
        endpoint_label=trial.endpoint_label,
        marker_label=trial.marker_label,
        transform=transform,
        participants=trial.participants,
        measurements=len(data.y),
        events=int(data.event.sum()),
        fixed=_fixed(joint, data),
        random_covariance=_random_covariance(joint, data),
        residual_sd=math.exp(at.log_sigma),
        log_hazard_arm=_estimate(joint, p + 4),
        association=_estimate(joint, p + 5),
        cuts=data.cuts,
        baseline_hazard=np.exp(at.log_hazard),
        log_likelihood=joint.log_likelihood,
        apart=Apart(_fixed(apart, data), _estimate(apart, p + 4), apart.log_likelihood),
        names=_names(data),
        covariance=joint.covariance,
        decrement=joint.decrement,
        iterations=joint.iterations,
        converged=not joint.problem,
        warnings=remarks + _warnings(joint, apart, data, trial, finer),
    )


def _centre_and_spread(trial: MarkedTrial) -> tuple[float, float]:
    """Mean and standard deviation of the marker, in whose units the search is well conditioned."""
    known = trial.value[~np.isnan(trial.value)]
    if not len(known) or not np.std(known) > 0:
        raise NotDefinedError(f"{trial.marker_label} has no two different values: there is nothing to model")
    return float(np.mean(known)), float(np.std(known))


def _estimate(fit: Fit, k: int) -> Estimate:
    variance = float(fit.covariance[k, k])
    return Estimate(float(fit.vector[k]), math.sqrt(variance) if variance >= 0 else math.nan)


def _random_covariance(fit: Fit, data: Layout) -> Floats:
    L = Parameters.of(fit.vector, len(data.terms)).L
    return np.asarray(L @ L.T, np.float64)


def _fixed(fit: Fit, data: Layout) -> dict[str, Estimate]:
    return {name: _estimate(fit, k) for k, name in enumerate(data.terms)}


def _names(data: Layout) -> tuple[str, ...]:
    return (
        *data.terms,
        "log residual SD",
        "root of covariance: level",
        "root of covariance: slope by level",
        "root of covariance: slope",
        "log hazard of arm",
        "association",
        *(f"log baseline hazard {k + 1}" for k in range(data.intervals)),
    )


def _warnings(joint: Fit, apart: Fit, data: Layout, trial: MarkedTrial, finer: float) -> tuple[str, ...]:
    said = []
    if joint.problem:
        said.append(f"the joint model did not converge: {joint.problem}; its numbers are no estimates")
    if apart.problem:
        said.append(f"the separate models did not converge: {apart.problem}")
    if not abs(finer) < _ROUGH:
        said.append(
            f"twice as many quadrature nodes change the log likelihood by {finer:.2g}: fit with more `nodes`"
        )
    spread = _random_covariance(joint, data)
    level, slope = np.diag(spread)
    if level * slope - spread[0, 1] ** 2 <= _EDGE * level * slope:
        said.append(
            "participants do not differ in level and slope both (a variance of 0, or a correlation of 1): "
            "standard errors take that as known"
        )
    if data.after_end:
        said.append(
            f"{data.after_end} values of {trial.marker_label} were measured after the event or the end of "
            "follow-up and are left out"
        )
    never = trial.participants - len(np.unique(data.who))
    if never:
        said.append(f"{never} participants have no value of {trial.marker_label}: only their arm is known")
    return tuple(said)
