"""The g-formula for a marker that changes over time: the treatment of one arm, the marker of another.

Two models, of the marker from visit to visit and of the hazard given the marker, are run forward on virtual
copies of the participants. What it adds to dynamic path analysis: it needs no additive hazards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
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
)
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.scale import Transform
from equipoise.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_PERIODS = 40
FEWEST_EVENTS_PER_ARM = 5
EVENTS_PER_BAND = 20
"""The baseline hazard has a step for about so many events, and at most five (chosen here)."""
MOST_BANDS = 5
STEPS = 40
SMALL = 1e-9
MOST_LOG_HAZARD = 50.0
FARTHEST = 20.0
"""A log hazard ratio of the arms beyond this is a likelihood without a maximum."""

WORDS = Words(
    "g_formula",
    "risk difference",
    "g-formula, Monte Carlo",
    (
        "from visit to visit the marker is linear in arm, covariates and its own past, with normal residuals",
        "the hazard is log-linear in arm, covariates and the latest value of the marker, the same over time",
        "nothing unmeasured moves both marker and outcome, given arm, covariates and the marker's past",
        "nothing that treatment changes, other than the marker, moves both the later marker and the outcome",
    ),
)


@dataclass(frozen=True)
class GFormula:
    """Interventional effects on the risk of the event up to the `horizon` (years), treated minus reference.

    `grid`, shape (j + 1,), are the ends of the periods in years, from 0. The curves, each of shape (j + 1,),
    are chances of being free of the event: `treated`, `reference`, and `treated_with_reference_marker`, the
    treated had their marker run as it does in the reference arm. `slope` is the log hazard ratio per unit of
    the marker on the scale of `transform`, `arm` that of treatment given the marker. When nothing could be
    estimated the arrays are empty, the ratios NaN, and every measure is `refused`."""

    horizon: float
    transform: Transform
    grid: Floats
    treated: Floats
    treated_with_reference_marker: Floats
    reference: Floats
    slope: float
    arm: float
    measures: tuple[Measure, Measure, Measure, Measure]
    """Total, direct, indirect (risk differences at the horizon), and the mediated share."""
    participants: int = 0
    events: int = 0

    @property
    def share(self) -> Measure:
        return self.measures[3]


def g_formula(
    trial: MarkedTrial,
    *,
    horizon: float | None = None,
    transform: Transform = "log2",
    interval: float | None = None,
    covariates: ArrayLike | None = None,
    copies: int = 10,
    bootstrap: int = 200,
    seed: int = 1,
    confidence: float = 0.95,
) -> GFormula:
    """Total, direct and indirect effect on the risk up to a horizon by the Monte Carlo g-formula.

    The time to the horizon is cut into periods of about `interval` years (default: the median gap between
    measurements; at most 40 periods). In each, the marker is regressed by least squares on arm, covariates,
    baseline, its last value and the mean of its values so far, among those at risk; the hazard is Poisson on
    all time at risk, log-linear in arm, covariates, baseline and the latest value, with a piecewise constant
    baseline. Forward: each participant is copied `copies` times, the marker is drawn as under treatment and,
    with the same normal deviates, as under reference, and the risk averaged. Indirect effect: treated, the
    marker as under treatment against as under reference; direct: the marker as under reference, treated
    against reference. The mediational g-formula: VanderWeele and Tchetgen Tchetgen, J R Stat Soc B
    2017;79:917-38; with survival, where the marker is drawn given survival so far: Zheng and van der Laan,
    J Causal Inference 2017;5(2):20160006.

    covariates: shape (n, p), fixed and known. Participants without a value at randomisation are left out.
    bootstrap: samples of participants, drawn within arm and stratum. The seed fixes every draw. Raises
    UserError for a horizon or an interval not above 0, bad covariates, fewer than 1 copy or 2 samples; what
    the data do not allow is refused in the measures.
    """
    if interval is not None and not (interval > 0 and math.isfinite(interval)):
        raise UserError(f"the interval must be a number of years above 0, not {interval:g}")
    if copies < 1:
        raise UserError(f"each participant is copied at least once, not {copies} times")
    people = cohort(trial, horizon, transform, covariates, adjust_baseline=True)
    reason = people.refused or _too_few(people)
    if reason:
        return _nothing(people, transform, reason)
    grid = _grid(people, interval)
    process, rows = _histories(people, grid), _rows(people, grid)
    weights = resampled(people.trial, bootstrap, seed)
    normals = _normals(people, len(grid) - 1, copies, seed)
    whole = np.ones((1, people.trial.participants))
    found = _curves(people, process, rows, normals, whole, None)
    if np.isnan(found.free).any():
        return _nothing(people, transform, "the models of marker and hazard have no unique fit to these data")
    sampled = _curves(people, process, rows, normals[:, : max(1, min(copies, 2))], weights, found.hazard[0])
    parts, samples = Parts(*_parts(found.free)[0].tolist()), _parts(sampled.free)
    warnings = people.warnings + lost_warning(samples)
    effects = effect_measures(parts, samples, WORDS, confidence, warnings)
    share = share_measure(parts, samples, WORDS, confidence, warnings)
    free = np.concatenate([np.ones((3, 1)), found.free[0]], axis=1)
    return GFormula(
        people.horizon, transform, grid, free[0], free[1], free[2], float(found.hazard[0, -1]),
        float(found.hazard[0, rows.bands]), (*effects, share), people.trial.participants,
        int(rows.event.sum()),
    )  # fmt: skip


def _too_few(people: Cohort) -> str:
    trial = people.trial
    for label, arm in ((trial.treated_label, trial.treated), (trial.reference_label, ~trial.treated)):
        events = int((trial.event & (trial.time <= people.horizon) & arm).sum())
        if events < FEWEST_EVENTS_PER_ARM:
            return f"{events} events in arm {label}; fewer than {FEWEST_EVENTS_PER_ARM} are not modelled"
    return ""


def _grid(people: Cohort, interval: float | None) -> Floats:
    """Ends of the periods, from 0 to the horizon, of about the wanted length."""
    trial = people.trial
    if interval is None:
        gap = np.diff(trial.at)[(np.diff(trial.who) == 0) & (np.diff(trial.at) > 0)]
        interval = float(np.median(gap)) if len(gap) else people.horizon
    periods = int(np.clip(round(people.horizon / interval), 1, MOST_PERIODS))
    return np.linspace(0.0, people.horizon, periods + 1)


class _Period(NamedTuple):
    """The regression of one period: the design of those at risk, their marker, who they are."""

    who: Ints
    design: Floats
    value: Floats


def _histories(people: Cohort, grid: Floats) -> list[_Period]:
    """For each period, the marker of those at risk at its start, with their past.

    The marker of a period is the value that stands in its middle, or at the end of follow-up if that comes
    first: measurements fall around the planned days, so the value at the start may be of a visit before."""
    trial, periods = people.trial, []
    past = _Past(trial.baseline())
    for low, high in pairwise(grid):
        value = trial.value_at(np.minimum((low + high) / 2, trial.time))
        who = np.flatnonzero(trial.time > low)
        design = past.design(trial.treated.astype(np.float64), people.fixed)[who]
        periods.append(_Period(who, design, value[who]))
        past.add(value)
    return periods


class _Past:
    """The marker's past as it enters its regression: nothing in the first period, where the baseline is among
    the covariates; then the last value; from the third period on also the mean of the values before that."""

    def __init__(self, baseline: Floats) -> None:
        self.last, self.sum, self.count = baseline, np.zeros_like(baseline), 0

    def add(self, value: Floats) -> None:
        self.sum, self.last, self.count = self.sum + self.last, value, self.count + 1

    def design(self, arm: Floats, fixed: Floats) -> Floats:
        """Columns: 1, arm, covariates with the baseline first, then the past."""
        columns = [np.ones(len(arm)), arm, fixed]
        if self.count > 0:
            columns.append(self.last)
        if self.count > 1:
            columns.append(self.sum / self.count)
        return np.column_stack(columns)


class _Rows(NamedTuple):
    """Time at risk cut at visits and at the bands of the baseline hazard; the marker, the last column of the
    design, less `centre`."""

    who: Ints
    design: Floats
    exposure: Floats
    event: Floats
    bands: int
    band_of_period: Ints
    centre: float


def _rows(people: Cohort, grid: Floats) -> _Rows:
    trial, spells = people.trial, people.trial.spells()
    died = np.sort(trial.time[trial.event & (trial.time <= people.horizon)])
    bands = int(np.clip(len(died) // EVENTS_PER_BAND, 1, MOST_BANDS))
    wanted = np.quantile(died, np.arange(1, bands) / bands)
    inner = np.zeros(0)
    if len(grid) > 2:
        inner = np.unique(grid[1:-1][np.searchsorted(grid[1:-1], wanted).clip(0, len(grid) - 3)])
    edges = np.concatenate([[0.0], inner, [people.horizon]])
    pieces = []
    for number, (low, high) in enumerate(pairwise(edges)):
        start, stop = np.maximum(spells.start, low), np.minimum(spells.stop, high)
        kept = stop > start
        event = spells.event & (spells.stop <= high)
        pieces.append((np.flatnonzero(kept), np.full(kept.sum(), number), (stop - start)[kept], event[kept]))
    spell, band, exposure, happened = (np.concatenate([piece[i] for piece in pieces]) for i in range(4))
    who = spells.who[spell]
    steps = (band[:, None] == np.arange(len(edges) - 1)).astype(np.float64)
    # centred, so that Newton's method starts near the end
    centre = float(np.average(spells.value[spell], weights=exposure))
    marker = spells.value[spell] - centre
    design = np.column_stack([steps, trial.treated[who], people.fixed[who], marker])
    of_period = np.searchsorted(edges, grid[:-1], side="right") - 1
    return _Rows(who, design, exposure, happened.astype(np.float64), len(edges) - 1, of_period, centre)


def _normals(people: Cohort, periods: int, copies: int, seed: int) -> Floats:
    """Normal deviates of the virtual participants, shape (n, copies, periods), in antithetic pairs."""
    chance = np.random.default_rng(np.random.SeedSequence([seed, 0x67666F72]))
    half = chance.standard_normal((people.trial.participants, (copies + 1) // 2, periods))
    paired = np.stack([half, -half], axis=2).reshape(people.trial.participants, -1, periods)
    return paired[:, :copies]


class _Curves(NamedTuple):
    free: Floats
    """Shape (b, 3, j): free of the event at the end of each period: treated, treated with the marker of the
    reference arm, reference."""
    hazard: Floats
    """Shape (b, p): coefficients of the hazard."""


def _curves(
    people: Cohort,
    process: list[_Period],
    rows: _Rows,
    normals: Floats,
    weights: Floats,
    start: Floats | None,
) -> _Curves:
    """Fit both models under each weighting of the participants, shape (b, n), and run them forward."""
    marker = [_marker_models(period, weights) for period in process]
    free = np.full((len(weights), 3, len(process)), np.nan)
    hazard = np.full((len(weights), rows.design.shape[1]), np.nan)
    for b, weight in enumerate(weights):
        coefficients = _poisson(rows, weight, start)
        models = [(theta[b], sigma[b]) for theta, sigma in marker]
        if coefficients is None or any(np.isnan(theta).any() for theta, _ in models):
            continue
        hazard[b] = coefficients
        free[b] = _forward(people, models, coefficients, rows, normals, weight)
    return _Curves(free, hazard)


def _marker_models(period: _Period, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares of the marker: coefficients (b, p) and residual standard deviation (b,)."""
    x, y, w = period.design, period.value, weights[:, period.who]
    p = x.shape[1]
    both = np.column_stack([x, y])
    products = (both[:, :, None] * both[:, None, :]).reshape(len(x), -1)
    moments = (w @ products).reshape(-1, p + 1, p + 1)
    normal, right = moments[:, :p, :p], moments[:, :p, p]
    diagonal = np.diagonal(normal, axis1=1, axis2=2)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    # a past that says nothing new (no value since the baseline) has no coefficient of its own, and needs none
    inverse = np.linalg.pinv(scaled, rcond=SINGULAR, hermitian=True)
    theta = scale * np.einsum("bpq,bq->bp", inverse, scale * right)
    left = np.maximum(moments[:, p, p] - (theta * right).sum(axis=1), 0.0)
    number, treated = normal[:, 0, 0], normal[:, 1, 1]
    theta[(treated == 0) | (treated == number)] = np.nan
    return theta, np.sqrt(left / np.maximum(number - p, 1.0))


def _poisson(rows: _Rows, weight: Floats, start: Floats | None) -> Floats | None:
    """Coefficients of the log hazard by Newton's method; None where the likelihood has no maximum."""
    w = weight[rows.who]
    used = w > 0
    x, exposure, event, w = rows.design[used], rows.exposure[used], rows.event[used], w[used]
    if start is None:
        beta = np.zeros(x.shape[1])
        beta[: rows.bands] = math.log((w * event).sum() / (w * exposure).sum())
    else:
        beta = start.copy()
    happened = (w * event) @ x
    likelihood, expected = _likelihood(beta, x, w * exposure, happened)
    for _ in range(STEPS):
        information = (x * expected[:, None]).T @ x
        if least_eigenvalue(information) <= SINGULAR:
            return None
        step = np.linalg.solve(information, happened - expected @ x)
        if np.abs(step).max() < SMALL:
            return beta + step if abs(beta[rows.bands]) < FARTHEST else None
        size = 1.0
        while True:
            there, expected = _likelihood(beta + size * step, x, w * exposure, happened)
            if there >= likelihood - SMALL * abs(likelihood) or size < SMALL:
                break
            size /= 2
        beta, likelihood = beta + size * step, there
    return None


def _likelihood(beta: Floats, x: Floats, exposure: Floats, happened: Floats) -> tuple[float, Floats]:
    """Log likelihood and expected events of each row."""
    expected = exposure * np.exp(np.minimum(x @ beta, MOST_LOG_HAZARD))
    return float(happened @ beta - expected.sum()), expected


def _forward(
    people: Cohort,
    models: list[tuple[Floats, Floats]],
    hazard: Floats,
    rows: _Rows,
    normals: Floats,
    weight: Floats,
) -> Floats:
    """Shape (3, j): mean chance, over participants, of being free of the event at the end of each period."""
    drawn = np.flatnonzero(weight > 0)
    copies = normals.shape[1]
    who = np.repeat(drawn, copies)
    share = np.repeat(weight[drawn] / weight.sum() / copies, copies)
    deviates = normals[drawn].reshape(len(who), -1)
    baseline, fixed = people.trial.baseline()[who], people.fixed[who]
    arms = (np.ones(len(who)), np.zeros(len(who)))
    pasts = (_Past(baseline), _Past(baseline))
    cumulative = np.zeros((3, len(who)))
    free = np.empty((3, len(models)))
    length = people.horizon / len(models)
    for j, (theta, sigma) in enumerate(models):
        values = []
        for arm, past in zip(arms, pasts, strict=True):
            value = past.design(arm, fixed) @ theta + sigma * deviates[:, j]
            past.add(value)
            values.append(value)
        base = hazard[rows.band_of_period[j]] + fixed @ hazard[rows.bands + 1 : -1]
        under = (hazard[rows.bands], values[0]), (hazard[rows.bands], values[1]), (0.0, values[1])
        for k, (effect, value) in enumerate(under):
            cumulative[k] += length * np.exp(base + effect + hazard[-1] * (value - rows.centre))
        free[:, j] = np.exp(-cumulative) @ share
    return free


def _parts(free: Floats) -> Floats:
    """Risk differences at the horizon, shape (b, 3): total, direct, indirect."""
    treated, crossed, reference = free[:, 0, -1], free[:, 1, -1], free[:, 2, -1]
    return np.stack([reference - treated, reference - crossed, crossed - treated], axis=1)


def _nothing(people: Cohort, transform: Transform, reason: str) -> GFormula:
    none = np.zeros(0)
    four = refused_measures(reason, WORDS, people.warnings)
    return GFormula(
        people.horizon, transform, none, none, none, none, math.nan, math.nan, four,
        people.trial.participants, 0,
    )  # fmt: skip
