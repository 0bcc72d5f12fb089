"""Dynamic path analysis: how much of the effect on the hazard passes through the marker, over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.analyse.surrogate.additive import SINGULAR, least_eigenvalue
from equipoise.analyse.surrogate.cohort import Cohort, cohort, resampled
from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.decomposition import (
    Parts,
    Words,
    effect_measures,
    lost_warning,
    refused_measures,
    share_measure,
    spread,
)
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.risk_sets import RiskSets, risk_sets
from equipoise.analyse.surrogate.rows import z_of
from equipoise.analyse.surrogate.scale import Transform

Floats = NDArray[np.float64]

FOLLOWS = 1e-6
"""Beyond this part of its size, an effect on a marker without any spread is one that it follows from."""
ASSUMPTIONS = (
    "the latest value of the marker and the arm add to the hazard, each the same in everybody",
    "nothing unmeasured moves both marker and outcome, given arm, covariates and baseline",
    "nothing that treatment changes, other than the marker, moves both the later marker and the outcome",
    "the value that was measured last is the value that acts",
)
HAZARD = Words(
    "path", "difference of cumulative hazards", "dynamic path analysis, additive hazards", ASSUMPTIONS
)
RISK = Words("path.risk", "risk difference", HAZARD.method, ASSUMPTIONS)
RELATIVE = Words("path.survival", "relative survival", HAZARD.method, ASSUMPTIONS)


class Band(NamedTuple):
    """A curve with pointwise limits, each of shape (k,)."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class DynamicPath:
    """Direct and indirect effect of treatment over time, treated minus reference; below 0 is fewer events.

    `times`, shape (k,), are the event times up to the `horizon`, in years. `total`, `direct` and `indirect`
    are differences of cumulative hazards, total = direct + indirect at every time. `on_marker` is the
    difference that the treatment made in the marker among those at risk, on the scale of `transform`; `slope`
    the cumulative hazard per unit of that scale, `spread` the standard deviation of the marker given arm and
    covariates. `reference_hazard` is the Nelson-Aalen estimate of the reference arm. When nothing could be
    estimated the arrays are empty and every measure is `refused`."""

    horizon: float
    transform: Transform
    times: Floats
    total: Band
    direct: Band
    indirect: Band
    on_marker: Band
    slope: Band
    spread: Floats
    reference_hazard: Floats
    measures: tuple[Measure, Measure, Measure, Measure]
    """Total, direct, indirect (difference of cumulative hazards at the horizon), and the mediated share."""
    relative_survival: tuple[Measure, Measure, Measure]
    """exp(-effect) at the horizon: chances of staying free of the event as multiples; total = product."""
    risk_differences: tuple[Measure, Measure, Measure]
    """Total, direct, indirect as differences of the risk of the event up to the horizon."""
    participants: int = 0
    events: int = 0

    @property
    def share(self) -> Measure:
        return self.measures[3]


def dynamic_path(
    trial: MarkedTrial,
    *,
    horizon: float | None = None,
    transform: Transform = "log2",
    adjust_baseline: bool = True,
    covariates: ArrayLike | None = None,
    lag: float = 0.0,
    bootstrap: int = 500,
    seed: int = 1,
    confidence: float = 0.95,
) -> DynamicPath:
    """Split the difference of cumulative hazards into what passes through the marker and what does not.

    At each event time, among those at risk, the marker is regressed on arm and covariates, and the event on
    arm, covariates and marker (Aalen's additive model). Summed over event times, the coefficient of the arm
    in the second is the direct effect, and the arm's coefficient in the first times the marker's in the
    second the indirect (Fosen, Ferkingstad, Borgan and Aalen, Lifetime Data Analysis 2006;12:143-67); they
    add up to the total. As interventional effects on relative survival: Aalen, Stensrud, Didelez, Daniel,
    Roysland and Strohmaier, Biometrical Journal 2020;62:532-49.

    horizon, lag: years (default horizon: a quarter of each arm still followed). covariates: shape (n, p),
    fixed and known. adjust_baseline: the marker at randomisation is a covariate, and participants without it
    are left out. bootstrap: samples of participants, drawn within arm and stratum. Raises UserError for a
    horizon not above 0, covariates of the wrong shape, or fewer than 2 samples; what the data do not allow is
    refused in the measures.
    """
    people = cohort(trial, horizon, transform, covariates, adjust_baseline)
    if people.refused:
        return _nothing(people, transform, people.refused)
    found = _paths(people, np.ones((1, people.trial.participants)), lag)
    if np.isnan(found.total).any() or not found.total.size:
        reason = "there are no events while the marker is known"
        if found.total.size:
            first = found.times[np.isnan(found.total[0])][0]
            reason = (
                f"the regressions are not defined at {first:.3g} years: too few are at risk, or the marker "
                "follows from arm and covariates; choose an earlier horizon"
            )
        return _nothing(people, transform, reason)
    samples = _paths(people, resampled(people.trial, bootstrap, seed), lag)
    return _assembled(people, transform, found, samples, lag, confidence)


class _Paths(NamedTuple):
    """For each of b weightings and k event times, shape (b, k): cumulative, but for `on_marker`, `spread`."""

    times: Floats
    total: Floats
    indirect: Floats
    on_marker: Floats
    slope: Floats
    spread: Floats
    reference: Floats


def _paths(people: Cohort, weights: Floats, lag: float) -> _Paths:
    """The effects under weights of the participants, shape (b, n); NaN from where a regression fails."""
    trial = people.trial
    z = np.column_stack([np.ones(trial.participants), trial.treated, people.fixed])
    blocks = [
        (block.times, _steps(block, z, weights))
        for block in risk_sets(trial.spells(lag), trial.participants, people.horizon)
    ]
    if not blocks:
        return _Paths(np.zeros(0), *(np.zeros((len(weights), 0)) for _ in range(6)))
    total, indirect, on_marker, slope, spread, reference = (
        np.concatenate([steps[i] for _, steps in blocks], axis=1) for i in range(6)
    )
    return _Paths(
        times=np.concatenate([times for times, _ in blocks]),
        total=np.cumsum(total, axis=1),
        indirect=np.cumsum(indirect, axis=1),
        on_marker=on_marker,
        slope=np.cumsum(slope, axis=1),
        spread=spread,
        reference=np.cumsum(reference, axis=1),
    )


class _Sums(NamedTuple):
    """Weighted sums over those at risk (zz, zm, mm) and over those who had the event (dz, dm), at k event
    times under b weightings: z is the design without the marker (q columns), m the marker."""

    zz: Floats
    zm: Floats
    mm: Floats
    dz: Floats
    dm: Floats


def _sums(block: RiskSets, z: Floats, weights: Floats) -> _Sums:
    b, k, q = len(weights), len(block.times), z.shape[1]
    zz, zm = np.empty((b, k, q, q)), np.empty((b, k, q))
    for u in range(q):
        column = weights * z[:, u]
        zm[:, :, u] = column @ block.marker
        for v in range(u, q):
            zz[:, :, u, v] = zz[:, :, v, u] = (column * z[:, v]) @ block.at_risk
    drawn, starts = weights[:, block.who], np.searchsorted(block.when, np.arange(k))
    dz = np.add.reduceat(drawn[:, :, None] * z[block.who], starts, axis=1)
    dm = np.add.reduceat(drawn * block.marker[block.who, block.when], starts, axis=1)
    return _Sums(zz, zm, weights @ block.marker**2, dz, dm)


def _steps(block: RiskSets, z: Floats, weights: Floats) -> tuple[Floats, ...]:
    """Steps at the event times of a block, each (b, k): total, indirect, arm on marker, slope, spread of the
    marker, hazard of the reference arm.

    The regressions are solved by blocks: theta = zz^-1 zm regresses the marker, zz^-1 dz gives the total
    effect, and the marker's coefficient is what is left, (dm - theta'dz) / (mm - theta'zm)."""
    zz, zm, mm, dz, dm = _sums(block, z, weights)
    number, controls = zz[..., 0, 0].copy(), zz[..., 0, 0] - zz[..., 0, 1]
    failed = least_eigenvalue(zz) <= SINGULAR
    zz[failed] = np.eye(z.shape[1])
    solved = np.linalg.solve(zz, np.stack([dz, zm], axis=-1))
    total, theta = solved[..., 1, 0], solved[..., :, 1]
    on_marker = theta[..., 1]
    left = mm - (theta * zm).sum(axis=-1)
    # before anybody's marker was measured again it equals the baseline: no effect can pass through it yet
    still = left <= SINGULAR * mm
    slope = np.where(still, 0.0, (dm - (theta * dz).sum(axis=-1)) / np.where(still, 1.0, left))
    spread = np.sqrt(np.maximum(left, 0.0) / np.maximum(number, 1.0))
    # one that follows from the arm has no slope of its own
    failed |= still & (np.abs(on_marker) > FOLLOWS * np.sqrt(mm / np.maximum(number, 1.0)))
    hazard = (dz[..., 0] - dz[..., 1]) / np.maximum(controls, 1.0)
    return tuple(
        np.where(failed, np.nan, a) for a in (total, slope * on_marker, on_marker, slope, spread, hazard)
    )


def _assembled(
    people: Cohort, transform: Transform, found: _Paths, samples: _Paths, lag: float, confidence: float
) -> DynamicPath:
    z = z_of(confidence)

    def band(value: Floats, sampled: Floats) -> Band:
        told = sampled[~np.isnan(sampled).any(axis=1)]
        se = np.array([spread(column) for column in told.T])
        return Band(value[0], value[0] - z * se, value[0] + z * se)

    whole, sampled = _parts(found), _parts(samples)
    parts = Parts(*whole[0].tolist())
    events, not_counted = _events(people, lag)
    warnings = people.warnings + lost_warning(sampled) + not_counted
    hazard = effect_measures(parts, sampled, HAZARD, confidence, warnings)
    share = share_measure(parts, sampled, HAZARD, confidence, warnings)
    risk, risks = _risks(whole, found.reference[:, -1]), _risks(sampled, samples.reference[:, -1])
    return DynamicPath(
        horizon=people.horizon,
        transform=transform,
        times=found.times,
        total=band(found.total, samples.total),
        direct=band(found.total - found.indirect, samples.total - samples.indirect),
        indirect=band(found.indirect, samples.indirect),
        on_marker=band(found.on_marker, samples.on_marker),
        slope=band(found.slope, samples.slope),
        spread=found.spread[0],
        reference_hazard=found.reference[0],
        measures=(*hazard, share),
        relative_survival=_relative(hazard),
        risk_differences=effect_measures(Parts(*risk[0].tolist()), risks, RISK, confidence, warnings),
        participants=people.trial.participants,
        events=events,
    )


def _events(people: Cohort, lag: float) -> tuple[int, tuple[str, ...]]:
    """How many events are counted up to the horizon, with a warning of those that are not."""
    spells = people.trial.spells(lag)
    counted = int((spells.event & (spells.stop <= people.horizon)).sum())
    every = int((people.trial.event & (people.trial.time <= people.horizon)).sum())
    if counted == every:
        return counted, ()
    return counted, (
        f"{every - counted} of {every} events, before a value of the marker counts, are left out",
    )


def _parts(found: _Paths) -> Floats:
    """Total, direct and indirect at the horizon, shape (b, 3)."""
    total, indirect = found.total[:, -1], found.indirect[:, -1]
    return np.stack([total, total - indirect, indirect], axis=1)


def _risks(parts: Floats, reference: Floats) -> Floats:
    """Differences of the risk at the horizon, shape (b, 3), from those of cumulative hazards: the direct
    effect against the reference arm, the indirect against the treated with the reference arm's marker."""
    free = np.exp(-reference)
    both, past = free * np.exp(-parts[:, 0]), free * np.exp(-parts[:, 1])
    return np.stack([free - both, free - past, past - both], axis=1)


def _relative(hazard: tuple[Measure, Measure, Measure]) -> tuple[Measure, Measure, Measure]:
    """Relative survival exp(-effect) with the limits of the difference of cumulative hazards."""
    three = [
        replace(
            m, name=m.name.replace(HAZARD.prefix, RELATIVE.prefix, 1), scale=RELATIVE.scale,
            estimate=math.exp(-m.estimate), se=m.se * math.exp(-m.estimate), low=math.exp(-m.high),
            high=math.exp(-m.low),
        )
        for m in hazard
    ]  # fmt: skip
    return three[0], three[1], three[2]


def _nothing(people: Cohort, transform: Transform, reason: str) -> DynamicPath:
    none = np.zeros(0)
    empty = Band(none, none, none)
    relative = refused_measures(reason, RELATIVE, people.warnings)[:3]
    risk = refused_measures(reason, RISK, people.warnings)[:3]
    return DynamicPath(
        people.horizon, transform, none, empty, empty, empty, empty, empty, none, none,
        refused_measures(reason, HAZARD, people.warnings), relative, risk, people.trial.participants, 0,
    )  # fmt: skip
