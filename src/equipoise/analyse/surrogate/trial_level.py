"""Does the effect on the marker predict the effect on the outcome? Units (countries, sites, trials) compared:
R-squared at the level of trials, and the least effect on the marker that would promise benefit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from equipoise.analyse.surrogate.cohort import subset
from equipoise.analyse.surrogate.data import Floats, MarkedTrial
from equipoise.analyse.surrogate.marker_effect import marker_effect
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.random_effects import RandomEffects, random_effects
from equipoise.analyse.surrogate.rows import Matrix, fit, influence, whole_follow_up, without_comparison, z_of
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.errors import UserError

LEAST_UNITS = 5
LEAST_EVENTS = 3
MOST_NAMED = 12
EXCHANGEABLE = (
    "the units are a sample of the trials to be predicted: units of one trial share its drug, its dose and "
    "its doctors, and a new drug may be none of them"
)
OWN_ERRORS = "each unit's errors are normal with the covariance estimated from its participants"


@dataclass(frozen=True)
class UnitEffects:
    """Effects of treatment in u units: on the marker (difference, on its scale) and on the outcome (log
    hazard ratio), each with its error covariance (u x 2 x 2; first marker, then outcome). `left_out` names
    the units without estimates, with the reason. On the "log2" scale a threshold is shown as the ratio of
    geometric means that it is."""

    names: tuple[str, ...]
    on_marker: Floats
    on_outcome: Floats
    covariance: Floats
    participants: NDArray[np.int64]
    events: NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    transform: Transform = "as is"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        u = len(self.names)
        lengths = (self.on_marker, self.on_outcome, self.participants, self.events, self.covariance)
        if any(len(each) != u for each in lengths) or np.shape(self.covariance) != (u, 2, 2):
            raise UserError(f"the effects of {u} units need {u} of each number, and covariances of 2 x 2")
        if not (np.isfinite(self.on_marker).all() and np.isfinite(self.on_outcome).all()):
            raise UserError("effects of units must be known numbers: leave out the units without them")


@dataclass(frozen=True)
class TrialLevel:
    """R-squared and surrogate threshold effect, by weighted regression and by random effects, with what a
    picture needs: over `grid` (effects on the marker) the predicted log hazard ratio and its limits for a new
    unit, by the regression (shape (3, g): line, low, high) and by random effects (None where refused)."""

    effects: UnitEffects
    r_squared: Measure
    r_squared_random: Measure
    slope: Measure
    threshold: Measure
    threshold_random: Measure
    grid: Floats
    regression: Floats | None
    random: Floats | None
    model: RandomEffects | None

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.r_squared, self.r_squared_random, self.slope, self.threshold, self.threshold_random


def unit_effects(
    trial: MarkedTrial,
    *,
    by: ArrayLike | None = None,
    transform: Transform = "log2",
    least_events: int = LEAST_EVENTS,
) -> UnitEffects:
    """Effects within the units of a trial: `by`, a label for each participant (their sites, say), shape (n,),
    by default `MarkedTrial.unit`, the countries. People whose label is empty are left out.

    On the marker as in the first of Prentice's criteria; on the outcome by a Cox model within the unit (not
    stratified further). Their error covariance has the variances of the two models and the correlation of
    what the participants add to both. A unit with fewer than `least_events` events, or without an estimate,
    is left out and named. Raises UserError unless there is one label for each participant."""
    if by is not None:
        trial = replace(trial, unit=np.asarray(by).astype(np.str_))
    scaled, warnings = on_scale(trial, transform)
    names = [name for name in np.unique(scaled.unit).tolist() if name]
    scaled = replace(scaled, stratum=np.zeros(scaled.participants, np.int64))
    units = [(name, subset(scaled, scaled.unit == name)) for name in names]
    return replace(_gathered(units, least_events, transform), warnings=warnings)


def effects_of_trials(
    trials: Sequence[MarkedTrial],
    names: Sequence[str] | None = None,
    *,
    transform: Transform = "log2",
    least_events: int = LEAST_EVENTS,
) -> UnitEffects:
    """As `unit_effects`, each trial being a unit (simulated trials, or several real ones)."""
    called = list(names) if names is not None else [f"trial {k + 1}" for k in range(len(trials))]
    if len(called) != len(trials):
        raise UserError(f"{len(called)} names for {len(trials)} trials")
    scaled = [on_scale(trial, transform) for trial in trials]
    units = [(name, each[0]) for name, each in zip(called, scaled, strict=True)]
    warnings = [f"{name}: {w}" for name, each in zip(called, scaled, strict=True) for w in each[1]]
    return replace(_gathered(units, least_events, transform), warnings=tuple(warnings))


def joined(parts: Sequence[UnitEffects]) -> UnitEffects:
    """Units of several sources together, in that order. Raises UserError for none, and where the scales of
    the marker differ."""
    scales = list(dict.fromkeys(part.transform for part in parts))
    if len(scales) != 1:
        raise UserError(f"units are compared on one scale of the marker, not on {len(scales)}: {scales}")
    warnings = [text for part in parts for text in part.warnings]
    if len(warnings) > MOST_NAMED:
        warnings = [f"{len(warnings)} warnings about values; the first: {warnings[0]}"]
    return UnitEffects(
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.on_marker for part in parts]),
        np.concatenate([part.on_outcome for part in parts]),
        np.concatenate([part.covariance for part in parts]),
        np.concatenate([part.participants for part in parts]),
        np.concatenate([part.events for part in parts]),
        tuple(text for part in parts for text in part.left_out),
        scales[0],
        tuple(warnings),
    )


def _gathered(
    units: Sequence[tuple[str, MarkedTrial]], least_events: int, transform: Transform
) -> UnitEffects:
    names, marker, outcome, covariance, people, events, left_out = [], [], [], [], [], [], []
    for name, unit in units:
        happened = int(unit.event.sum())
        if happened < least_events:
            left_out.append(f"{name}: {happened} events" if happened != 1 else f"{name}: 1 event")
            continue
        found = _effects(unit)
        if isinstance(found, str):
            left_out.append(f"{name}: {found}")
            continue
        names.append(name)
        marker.append(found[0])
        outcome.append(found[1])
        covariance.append(found[2])
        people.append(unit.participants)
        events.append(happened)
    return UnitEffects(
        tuple(names), np.array(marker, np.float64), np.array(outcome, np.float64),
        np.array(covariance, np.float64).reshape(-1, 2, 2), np.array(people, np.int64),
        np.array(events, np.int64), tuple(left_out), transform,
    )  # fmt: skip


def _effects(unit: MarkedTrial) -> tuple[float, float, Matrix] | str:
    """Effects on marker and outcome with their covariance, or why there are none."""
    reason = without_comparison(unit)
    if reason:
        return reason
    on_marker = marker_effect(unit)
    if on_marker.undefined:
        return on_marker.undefined
    rows = whole_follow_up(unit)
    model = fit(rows, rows.treated[:, None])
    if model.undefined:
        return model.undefined
    moved = influence(rows, rows.treated[:, None], model)[:, 0]
    both = float(on_marker.influence @ moved)
    sizes = math.sqrt(float((on_marker.influence**2).sum() * (moved**2).sum()))
    correlation = both / sizes if sizes > 0 else 0.0
    first, second = on_marker.se, float(model.standard_errors[0])
    together = correlation * first * second
    return (
        on_marker.estimate,
        float(model.coefficients[0]),
        np.array([[first**2, together], [together, second**2]]),
    )


# --- from effects to prediction ---------------------------------------------------------------------------


def trial_level(effects: UnitEffects, *, confidence: float = 0.95) -> TrialLevel:
    """Trial-level surrogacy in two stages (Buyse, Molenberghs, Burzykowski, Renard & Geys, Biostatistics
    2000;1:49-67).

    First the effects within units, then the effect on the outcome regressed on that on the marker: (a) least
    squares, weighted by the inverse variance of the log hazard ratio, as if the effects on the marker were
    known; (b) bivariate random effects, which allow for the errors of both (van Houwelingen, Arends &
    Stijnen, Stat Med 2002;21:589-624). Surrogate threshold effect (Burzykowski & Buyse, Pharm Stat
    2006;5:173-86): the least effect on the marker whose limit of prediction for a new unit excludes no effect
    on the outcome, in the direction in which a larger effect promises more. Intervals: R-squared by Fisher's
    z in (a), by profile likelihood in (b). Refused with fewer than 5 units."""
    u = len(effects.names)
    warnings = _warnings(effects)
    low, high = (float(f(effects.on_marker)) for f in (np.min, np.max)) if u else (0.0, 0.0)
    reach = max(abs(low), abs(high), 1e-12)
    grid = np.linspace(min(0.0, low) - 0.25 * reach, max(0.0, high) + 0.25 * reach, 101)
    reason = ""
    if u < LEAST_UNITS:
        reason = "; ".join([f"{u} units with an estimate, fewer than {LEAST_UNITS}", *_left_out(effects)])
        if not u and not effects.left_out:
            reason = "there are no units: neither country nor site of anybody is known"
    elif not np.ptp(effects.on_marker) > 0:
        reason = "the effect on the marker is the same in all units"
    if reason:
        none = [replace(_head(k, warnings, effects.transform), refused=reason) for k in range(len(_HEADS))]
        return TrialLevel(effects, none[0], none[1], none[2], none[3], none[4], grid, None, None, None)
    line = _weighted_line(effects)
    model = random_effects(effects.on_marker, effects.on_outcome, effects.covariance)
    return TrialLevel(
        effects,
        _r_squared(line, u, confidence, warnings),
        _r_squared_random(model, confidence, warnings),
        _slope(line, u, effects.transform, confidence, warnings),
        _threshold(3, line, effects.transform, confidence, reach, warnings),
        _threshold_random(model, effects.transform, confidence, reach, warnings),
        grid,
        _band(line, grid, confidence),
        None if model.undefined else _band(_line_of(model), grid, confidence),
        model,
    )


REGRESSION = "weighted regression of unit effects"
RANDOM = "bivariate random effects"
R_SQUARED = "R-squared"
DIFFERENCE = "difference in the marker"

_STEPS: dict[Transform, str] = {
    "log2": "doubling of the effect on the marker",
    "square root": "unit of effect on the square root of the marker",
    "as is": "unit of effect on the marker",
}
_HEADS = (
    ("r_squared", "effect on outcome told by effect on marker, between units", R_SQUARED, REGRESSION),
    ("r_squared_random", "the same, allowing for errors of estimation", R_SQUARED, RANDOM),
    ("slope", "log hazard ratio per {step}", "log hazard ratio", REGRESSION),
    ("threshold", "surrogate threshold effect", DIFFERENCE, REGRESSION),
    ("threshold_random", "surrogate threshold effect, allowing for errors", DIFFERENCE, RANDOM),
)


def _left_out(effects: UnitEffects) -> list[str]:
    """Which units were left out, the first of them by name."""
    if not effects.left_out:
        return []
    more = len(effects.left_out) - MOST_NAMED
    rest = [f"and {more} more"] if more > 0 else []
    return [f"left out: {'; '.join([*effects.left_out[:MOST_NAMED], *rest])}"]


def _warnings(effects: UnitEffects) -> tuple[str, ...]:
    found = [*effects.warnings, *_left_out(effects)]
    if LEAST_UNITS <= len(effects.names) < 10:
        found.append(f"only {len(effects.names)} units: the interval says how little that is")
    return tuple(found)


@dataclass(frozen=True)
class _Line:
    """Predicted log hazard ratio of a new unit: coefficients (at 0, per step), their covariance, the variance
    between units around the line, and the degrees of freedom of Student's distribution (inf: normal)."""

    coefficients: Floats
    covariance: Matrix
    between: float
    df: float
    r: float = math.nan


def _weighted_line(effects: UnitEffects) -> _Line:
    weight = np.asarray(1 / effects.covariance[:, 1, 1], np.float64)
    X = np.column_stack([np.ones(len(weight)), effects.on_marker])
    y = effects.on_outcome
    inverse = np.linalg.inv((X.T * weight) @ X)
    b: Floats = np.asarray(inverse @ (X.T @ (weight * y)), np.float64)
    df = float(len(y) - 2)
    around = float(weight @ (y - X @ b) ** 2)
    variance = around / df
    total = float(weight @ (y - np.average(y, weights=weight)) ** 2)
    r = math.copysign(math.sqrt(max(0.0, 1 - around / total)), b[1]) if total > 0 else math.nan
    # a new unit that is as precise as these are on average
    return _Line(b, np.asarray(inverse * variance, np.float64), variance / float(weight.mean()), df, r)


def _line_of(model: RandomEffects) -> _Line:
    return _Line(model.line, model.line_covariance, model.around_line, math.inf)


def _head(which: int, warnings: tuple[str, ...], transform: Transform = "log2") -> Measure:
    name, label, scale, method = _HEADS[which]
    return Measure(
        f"trial_level.{name}", label.format(step=_STEPS[transform]), scale, method=method,
        assumptions=(EXCHANGEABLE, OWN_ERRORS), warnings=warnings,
    )  # fmt: skip


def _r_squared(line: _Line, u: int, confidence: float, warnings: tuple[str, ...]) -> Measure:
    if math.isnan(line.r):
        return replace(_head(0, warnings), refused="the effect on the outcome is the same in all units")
    middle = math.atanh(max(-1 + 1e-15, min(1 - 1e-15, line.r)))
    half = z_of(confidence) / math.sqrt(u - 3)
    ends = [math.tanh(middle - half), math.tanh(middle + half)]
    low = 0.0 if ends[0] <= 0 <= ends[1] else min(e * e for e in ends)
    r2 = line.r**2
    se = 2 * abs(line.r) * (1 - r2) / math.sqrt(u - 3)
    high = max(e * e for e in ends)
    return replace(_head(0, warnings), estimate=r2, se=se, low=low, high=high, confidence=confidence)


def _r_squared_random(model: RandomEffects, confidence: float, warnings: tuple[str, ...]) -> Measure:
    if model.undefined:
        return replace(_head(1, warnings), refused=model.undefined)
    low, high = model.r_squared_interval(confidence)
    if model.at_boundary:
        warnings = (*warnings, model.at_boundary)
    estimate = model.correlation**2
    return replace(_head(1, warnings), estimate=estimate, low=low, high=high, confidence=confidence)


def _slope(
    line: _Line, u: int, transform: Transform, confidence: float, warnings: tuple[str, ...]
) -> Measure:
    b, se = float(line.coefficients[1]), math.sqrt(line.covariance[1, 1])
    t = _quantile(confidence, line.df)
    p = 2 * float(stdtr(line.df, -abs(b / se))) if se > 0 else math.nan
    return replace(
        _head(2, warnings, transform),
        estimate=b,
        se=se,
        low=b - t * se,
        high=b + t * se,
        p=p,
        confidence=confidence,
    )


def _quantile(confidence: float, df: float) -> float:
    return z_of(confidence) if math.isinf(df) else float(stdtrit(df, 0.5 + confidence / 2))


def _band(line: _Line, grid: Floats, confidence: float) -> Floats:
    X = np.column_stack([np.ones(len(grid)), grid])
    middle = X @ line.coefficients
    half = _quantile(confidence, line.df) * np.sqrt(
        np.einsum("ij,jk,ik->i", X, line.covariance, X) + line.between
    )
    return np.vstack([middle, middle - half, middle + half])


def _threshold_random(
    model: RandomEffects, transform: Transform, confidence: float, reach: float, warnings: tuple[str, ...]
) -> Measure:
    if model.undefined:
        return replace(_head(4, warnings), refused=model.undefined)
    return _threshold(4, _line_of(model), transform, confidence, reach, warnings)


def _threshold(
    which: int, line: _Line, transform: Transform, confidence: float, reach: float, warnings: tuple[str, ...]
) -> Measure:
    """Where the upper limit of prediction falls through 0, going the way in which the line falls."""
    a, b = (float(x) for x in line.coefficients)
    t2 = _quantile(confidence, line.df) ** 2
    C = line.covariance
    # (a + b x)^2 = t^2 (C00 + 2 C01 x + C11 x^2 + between): of its two roots, the one where a + b x < 0
    p, q, r = b * b - t2 * C[1, 1], a * b - t2 * C[0, 1], a * a - t2 * (C[0, 0] + line.between)
    if not p > 0:
        return replace(_head(which, warnings), refused=NO_THRESHOLD)
    root = math.sqrt(max(q * q - p * r, 0.0))
    x = (-q - root) / p if b > 0 else (-q + root) / p
    if abs(x) > 2 * reach:
        warnings = (*warnings, "far outside of the effects that were seen")
    if x * b > 0:
        warnings = (*warnings, "benefit would be predicted without any effect on the marker")
    scale = DIFFERENCE
    if transform == "log2":
        x, scale = 2.0**x, "ratio of geometric means"
    return replace(_head(which, warnings), scale=scale, estimate=x, confidence=confidence)


NO_THRESHOLD = (
    "the relation between the effects on marker and outcome cannot be told from none, so the units do not "
    "say which effect on the marker would promise benefit"
)
