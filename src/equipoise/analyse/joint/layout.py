"""A trial laid out for the joint model: the marker's measurements, and the time at risk as weighted points.

The mean of the marker bends only where it is told to, the participants differ in level and slope, and the
baseline hazard is constant between cuts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NotDefinedError(UserError):
    """The model is not defined for these data, whatever the arguments."""


POINTS = 4
"""Gauss-Legendre points in each piece of time between cuts and bends: the hazard there is the exponential of
a line, and one that grows e-fold over the piece is integrated to eight digits."""


@dataclass(frozen=True)
class Layout:
    """n participants, m measurements, r points at risk, p fixed effects, q intervals of the hazard.

    Measurements and points are in order of participant. `X` (m, p): fixed effects; `Z` (m, 2): random
    effects; `y` (m,): the marker on the scale of the model. `X_end`, `Z_end`, `end`: the same at each
    participant's end of follow-up, and the interval of it. `X_risk` (r, p), `Z_risk` (r, 2), `interval` (r,),
    `weight` (r,) in years: the points over which the hazard is integrated. Times in years."""

    treated: Floats
    event: Floats
    who: Ints
    y: Floats
    X: Floats
    Z: Floats
    X_end: Floats
    Z_end: Floats
    end: Ints
    who_risk: Ints
    X_risk: Floats
    Z_risk: Floats
    interval: Ints
    weight: Floats
    terms: tuple[str, ...]
    cuts: tuple[float, ...]
    after_end: int
    """Measurements left out because they were made after the event or the end of follow-up."""

    @property
    def intervals(self) -> int:
        return len(self.cuts) + 1


def laid_out(
    trial: MarkedTrial, bends: Sequence[float], cuts: Sequence[float] | None, intervals: int
) -> Layout:
    """The design of the joint model, for a marker on the scale of the model. Raises UserError where the model
    is not defined for these data."""
    _refuse_without_events(trial)
    known = ~np.isnan(trial.value)
    inside = known & (trial.at <= trial.time[trial.who])
    who, at = trial.who[inside].astype(np.int64), np.maximum(trial.at[inside], 0.0)
    if not len(who) or np.bincount(who).max() < 2:
        raise NotDefinedError(
            f"a joint model needs participants with two or more values of {trial.marker_label} during "
            "follow-up; nobody has them"
        )
    bends = _bends(bends, float(at.max()))
    hazard_cuts = _cuts(trial, cuts, intervals)
    treated = trial.treated.astype(np.float64)
    who_risk, at_risk, interval, weight = _points_at_risk(trial.time, hazard_cuts, bends)
    return Layout(
        treated=treated,
        event=trial.event.astype(np.float64),
        who=who,
        y=trial.value[inside],
        X=_fixed(at, treated[who], bends),
        Z=_random(at),
        X_end=_fixed(trial.time, treated, bends),
        Z_end=_random(trial.time),
        end=np.searchsorted(np.array(hazard_cuts), trial.time, side="left").astype(np.int64),
        who_risk=who_risk,
        X_risk=_fixed(at_risk, treated[who_risk], bends),
        Z_risk=_random(at_risk),
        interval=interval,
        weight=weight,
        terms=_terms(bends),
        cuts=hazard_cuts,
        after_end=int(known.sum() - inside.sum()),
    )


def _refuse_without_events(trial: MarkedTrial) -> None:
    for treated, label in ((True, trial.treated_label), (False, trial.reference_label)):
        arm = trial.treated == treated
        if not arm.any():
            raise NotDefinedError(f"a joint model compares two arms; nobody is in {label}")
        if not trial.event[arm].any():
            raise NotDefinedError(
                f"a joint model needs events in both arms; there is no {trial.endpoint_label} in {label}"
            )


def _bends(bends: Sequence[float], last: float) -> tuple[float, ...]:
    wanted = tuple(float(b) for b in bends)
    if any(not 0.0 < b < last for b in wanted) or any(b <= a for a, b in pairwise(wanted)):
        raise UserError(
            f"the marker may bend at rising times between 0 and the last measurement ({last:.2f} years), "
            f"not at {', '.join(f'{b:g}' for b in wanted)}"
        )
    return wanted


def _cuts(trial: MarkedTrial, cuts: Sequence[float] | None, intervals: int) -> tuple[float, ...]:
    """Cuts of the baseline hazard: quantiles of the event times unless they are given."""
    times = trial.time[trial.event]
    if cuts is None:
        if intervals < 1:
            raise UserError(f"the baseline hazard needs at least one interval, not {intervals}")
        shares = np.arange(1, intervals) / intervals
        found = np.unique(np.quantile(times, shares)) if intervals > 1 else np.empty(0)
        chosen = tuple(float(c) for c in found if times.min() <= c < times.max())
    else:
        chosen = tuple(float(c) for c in cuts)
        if any(not c > 0.0 for c in chosen) or any(b <= a for a, b in pairwise(chosen)):
            raise UserError("the cuts of the baseline hazard must rise and be above 0")
    in_each = np.bincount(np.searchsorted(np.array(chosen), times, side="left"), minlength=len(chosen) + 1)
    if (in_each == 0).any():
        k = int(np.argmax(in_each == 0))
        edges = ["0", *(f"{c:.3g}" for c in chosen), "the end"]
        raise UserError(
            f"there is no event between {edges[k]} and {edges[k + 1]} (years), so the baseline hazard there "
            "is not defined: leave out a cut"
        )
    return chosen


def _points_at_risk(
    time: Floats, cuts: tuple[float, ...], bends: tuple[float, ...]
) -> tuple[Ints, Floats, Ints, Floats]:
    """Points and weights that integrate over each participant's time at risk, piece by piece."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    edges = np.array([0.0, *sorted({*cuts, *bends}), math.inf])
    interval = np.searchsorted(np.array(cuts), edges[:-1], side="right")
    low = np.minimum(edges[:-1], time[:, None])
    high = np.minimum(edges[1:], time[:, None])
    person, piece = np.nonzero(high > low)
    half = (high - low)[person, piece] / 2
    middle = (high + low)[person, piece] / 2
    return (
        np.repeat(person, POINTS).astype(np.int64),
        (middle[:, None] + half[:, None] * nodes).ravel(),
        np.repeat(interval[piece], POINTS).astype(np.int64),
        (half[:, None] * weights).ravel(),
    )


def _course(at: Floats, bends: tuple[float, ...]) -> Floats:
    """Time, and time since each bend: the columns of a line that may bend."""
    return np.column_stack([at, *(np.maximum(at - b, 0.0) for b in bends)])


def _fixed(at: Floats, treated: Floats, bends: tuple[float, ...]) -> Floats:
    """Intercept, course, and how the course differs by arm; at randomisation the arms are alike."""
    course = _course(at, bends)
    return np.column_stack([np.ones(len(at)), course, course * treated[:, None]])


def _random(at: Floats) -> Floats:
    return np.column_stack([np.ones(len(at)), at])


def _terms(bends: tuple[float, ...]) -> tuple[str, ...]:
    course = ["slope per year", *(f"change of slope at {b:.3g} years" for b in bends)]
    return ("at randomisation", *course, *(f"difference of {name}" for name in course))
