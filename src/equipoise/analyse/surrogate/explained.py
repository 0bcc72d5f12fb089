"""The proportion of the treatment effect that a marker explains, by Freedman and by Lin, and when it is none.

A ratio of two uncertain numbers: where the effect itself can hardly be told from none, its share is no
number, and the measure is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from equipoise.analyse.surrogate.data import Floats, Ints, MarkedTrial
from equipoise.analyse.surrogate.logistic import logistic, logistic_influence
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.prentice import CAUSES
from equipoise.analyse.surrogate.ratio_interval import FiellerSet, fieller
from equipoise.analyse.surrogate.resampling import draws, refitted, sorted_rows
from equipoise.analyse.surrogate.rows import (
    FEW_EVENTS,
    NOBODY,
    Matrix,
    few_events,
    fit,
    influence,
    log_ratio_measure,
    ratio,
    rows_at_risk,
    without_mediator,
    z_of,
)
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.analyse.surrogate.time_varying import STANDS
from equipoise.errors import UserError

SHARE = "share"
STEADY = 4.0
"""Standard errors that an effect needs for a share of it that is worth having (assumed). That it takes a
massively significant effect: Buyse & Molenberghs, Biometrics 1998;54:1014-29."""

SHARE_ASSUMPTIONS = (
    STANDS,
    CAUSES,
    "arm and marker do not interact, and both models fit: the share is a change of a coefficient, which may "
    "lie below 0 or above 1 without anything being wrong",
)


@dataclass(frozen=True)
class ProportionExplained:
    """A share with its two intervals, and the two hazard (or odds) ratios that it compares.

    `fieller` and `bootstrap` have the same estimate; `bootstrap` is refused where none was asked for.
    `steadiness`: the unadjusted effect in standard errors. `replicates`: the bootstrap's shares, in order."""

    fieller: Measure
    bootstrap: Measure
    unadjusted: Measure
    adjusted: Measure
    steadiness: float
    set: FiellerSet | None
    replicates: Floats

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.unadjusted, self.adjusted, self.fieller, self.bootstrap


def lin(
    trial: MarkedTrial,
    *,
    transform: Transform = "log2",
    lag: float = 0.0,
    bootstrap: int = 0,
    seed: int = 1,
    confidence: float = 0.95,
    least: float | None = None,
) -> ProportionExplained:
    """Proportion explained with Cox models, the marker by its latest value: 1 - adjusted/unadjusted log
    hazard ratio of the arm (Lin, Fleming & DeGruttola, Stat Med 1997;16:1515-27).

    Both models are fitted to the same people and times. Their joint covariance is the sandwich of both
    models' score residuals, since they cannot both hold. Interval by Fieller, and with `bootstrap` replicates
    by percentiles of resampled participants (within arm and stratum; by `seed`). Refused where the unadjusted
    effect is less than `least` standard errors from none (default: the normal quantile of `confidence`, below
    which Fieller's interval has no end)."""
    scaled, warnings = on_scale(trial, transform)
    rows = rows_at_risk(scaled, lag)
    whole = rows.whole()
    alone_X, both_X = whole.treated[:, None], np.column_stack([rows.treated, rows.value])
    alone, both = fit(whole, alone_X), fit(rows, both_X)
    arms = f"{trial.treated_label} against {trial.reference_label}"
    method = "Cox models without and with the latest marker value" + (f", {lag:g} years late" if lag else "")
    unadjusted = ratio(alone, 0, "lin.unadjusted", arms, method=method, confidence=confidence)
    adjusted = ratio(
        both, 0, "lin.adjusted", f"{arms}, given {trial.marker_label}", method=method, confidence=confidence
    )
    about = _About("lin", f"share explained by {trial.marker_label}", method, warnings, confidence, least)
    reason = without_mediator(trial) or alone.undefined or both.undefined or ""
    if reason:
        return _undefined(about, unadjusted, adjusted, reason)
    about = replace(about, warnings=(*warnings, *few_events(both)))
    each = np.column_stack([influence(whole, alone_X, alone)[:, 0], influence(rows, both_X, both)[:, 0]])
    first, second = sorted_rows(whole, alone_X), sorted_rows(rows, both_X)

    def again() -> Iterator[float]:
        for weight in draws(trial, bootstrap, seed):
            one = refitted(first, weight, alone.coefficients)
            two = refitted(second, weight, both.coefficients)
            if one is not None and two is not None:
                yield 1 - float(two[0] / one[0])

    b, b_given = float(alone.coefficients[0]), float(both.coefficients[0])
    return _share(about, unadjusted, adjusted, b, b_given, each.T @ each, again(), bootstrap)


def freedman(
    trial: MarkedTrial,
    *,
    marker_at: float | None = None,
    horizon: float | None = None,
    transform: Transform = "log2",
    bootstrap: int = 0,
    seed: int = 1,
    confidence: float = 0.95,
    least: float | None = None,
) -> ProportionExplained:
    """Proportion explained with logistic models of an event by a horizon, the marker at one time before it
    (Freedman, Graubard & Schatzkin, Stat Med 1992;11:167-78).

    Among those at risk at `marker_at` (years) with a marker known by then: the event until `horizon`; those
    lost before it are left out, with a warning. Defaults: horizon, the time to which nine in ten of those
    without an event were followed; marker_at, a quarter of that (assumed). Not adjusted for
    strata. Refused where fewer than ten had the event, or fewer than ten had not. Joint covariance, intervals
    and further refusal as in `lin`. Raises UserError unless 0 <= marker_at < horizon."""
    scaled, warnings = on_scale(trial, transform)
    known = _until_horizon(scaled, marker_at, horizon)
    if known.lost:
        there = known.lost + len(known.who)
        warnings = (
            *warnings, f"{known.lost} of {there} left before year {known.end:.2f} and are not counted",
        )  # fmt: skip
    arms = f"{trial.treated_label} against {trial.reference_label}"
    method = f"logistic models of an event between years {known.early:.2f} and {known.end:.2f}"
    label = f"share explained by {trial.marker_label} at year {known.early:.2f}"
    about = _About("freedman", label, method, warnings, confidence, least)
    y, ones = known.event, np.ones(len(known.who))
    alone_X = np.column_stack([trial.treated[known.who], ones])
    both_X = np.column_stack([trial.treated[known.who], ones, known.value])
    alone, both = logistic(alone_X, y, ones), logistic(both_X, y, ones)
    reason = without_mediator(trial) or ("" if len(known.who) else NOBODY)
    reason = reason or _too_few(known)
    labels = {"unadjusted": arms, "adjusted": f"{arms}, given {trial.marker_label}"}
    if reason or alone is None or both is None:
        reason = reason or NO_LOGISTIC
        blank = [
            refused(f"freedman.{n}", text, "odds ratio", reason, method=method, warnings=warnings)
            for n, text in labels.items()
        ]
        return _undefined(about, blank[0], blank[1], reason)
    each = np.zeros((trial.participants, 2))
    each[known.who, 0] = logistic_influence(alone_X, y, alone)[:, 0]
    each[known.who, 1] = logistic_influence(both_X, y, both)[:, 0]
    covariance = each.T @ each
    ratios = [
        replace(
            log_ratio_measure(
                f"freedman.{name}", label, float(model[0]), math.sqrt(covariance[k, k]), method=method,
                confidence=confidence,
            ),
            scale="odds ratio",
        )
        for k, ((name, label), model) in enumerate(zip(labels.items(), (alone, both), strict=True))
    ]  # fmt: skip

    def again() -> Iterator[float]:
        for count in draws(trial, bootstrap, seed):
            times = count[known.who].astype(np.float64)
            one, two = logistic(alone_X, y, times), logistic(both_X, y, times)
            if one is not None and two is not None:
                yield 1 - float(two[0] / one[0])

    b, b_given = float(alone[0]), float(both[0])
    return _share(about, ratios[0], ratios[1], b, b_given, covariance, again(), bootstrap)


NO_LOGISTIC = (
    "the logistic models have no estimate: by the horizon nobody or everybody had the event, or arm and "
    "marker separate those who had it, or do not vary"
)


@dataclass(frozen=True)
class _UntilHorizon:
    """Those at risk at `early` with a known marker whose fate by `end` is known: their positions, marker
    then, and 1 for an event. `lost`: those whose fate is not."""

    early: float
    end: float
    who: Ints
    value: Floats
    event: Floats
    lost: int


def _until_horizon(scaled: MarkedTrial, marker_at: float | None, horizon: float | None) -> _UntilHorizon:
    censored = scaled.time[~scaled.event]
    followed = float(np.quantile(censored, 0.1)) if len(censored) else float(scaled.time.max(initial=0.0))
    end = followed if horizon is None else horizon
    early = end / 4 if marker_at is None else marker_at
    if not 0 <= early < end:
        raise UserError(f"the marker must come before the horizon: year {early:g} and year {end:g}")
    value = scaled.value_at(early)
    there = (scaled.time > early) & ~np.isnan(value)
    happened = scaled.event & (scaled.time <= end)
    seen = np.flatnonzero(there & (happened | (scaled.time >= end)))
    return _UntilHorizon(
        early, end, seen, value[seen], happened[seen].astype(np.float64), int(there.sum()) - len(seen)
    )


def _too_few(known: _UntilHorizon) -> str:
    """Why so few are not modelled: of those with the event and those without, the rarer kind counts."""
    had = int(known.event.sum())
    without = len(known.who) - had
    if min(had, without) >= FEW_EVENTS:
        return ""
    what = f"{had} with the event" if had <= without else f"{without} without the event"
    return (
        f"{what} by year {known.end:.2f}, of {len(known.who)} at risk at year {known.early:.2f} with a known "
        f"marker; fewer than {FEW_EVENTS} are not modelled"
    )


@dataclass(frozen=True)
class _About:
    name: str
    label: str
    method: str
    warnings: tuple[str, ...]
    confidence: float
    least: float | None


INTERVALS = {"fieller": "Fieller's interval", "bootstrap": "bootstrap of participants"}


def _undefined(about: _About, unadjusted: Measure, adjusted: Measure, reason: str) -> ProportionExplained:
    def no(kind: str) -> Measure:
        return refused(
            f"{about.name}.{kind}", about.label, SHARE, reason, method=f"{about.method}; {INTERVALS[kind]}",
            assumptions=SHARE_ASSUMPTIONS, warnings=about.warnings,
        )  # fmt: skip

    return ProportionExplained(
        no("fieller"), no("bootstrap"), unadjusted, adjusted, math.nan, None, np.zeros(0)
    )


def _share(
    about: _About, unadjusted: Measure, adjusted: Measure, b: float, b_given: float, covariance: Matrix,
    again: Iterator[float], asked: int,
) -> ProportionExplained:  # fmt: skip
    """The share 1 - b_given/b = (b - b_given)/b, of which Fieller wants numerator and denominator. `again`
    gives the shares of resampled trials; where the share is refused nothing is resampled."""
    change = np.array([[1.0, -1.0], [1.0, 0.0]])
    inner = fieller(b - b_given, b, change @ covariance @ change.T, about.confidence)
    steadiness = abs(b) / math.sqrt(covariance[0, 0])
    least = z_of(about.confidence) if about.least is None else about.least
    if steadiness < least:
        reason = (
            f"the effect to be explained is {steadiness:.1f} standard errors from none, below {least:.2f}: "
            f"a share of it is not defined (Fieller's interval: {inner.words})"
        )
        empty = _undefined(about, unadjusted, adjusted, reason)
        return replace(empty, steadiness=steadiness, set=inner)
    warnings = about.warnings
    if steadiness < STEADY:
        warnings = (
            *warnings,
            f"the effect to be explained is only {steadiness:.1f} standard errors from none; below "
            f"{STEADY:g} its share is too uncertain to be of use",
        )
    estimate = 1 - b_given / b
    if not 0 <= estimate <= 1:
        warnings = (*warnings, "a share below 0 or above 1 cannot be a share of an effect")
    gradient = np.array([b_given / b**2, -1 / b])
    se = math.sqrt(gradient @ covariance @ gradient)
    common = Measure(
        f"{about.name}.fieller", about.label, SHARE, estimate, se, confidence=about.confidence,
        method=f"{about.method}; {INTERVALS['fieller']}", assumptions=SHARE_ASSUMPTIONS, warnings=warnings,
    )  # fmt: skip
    exact = replace(common, low=inner.low, high=inner.high)
    if inner.kind != "between":
        exact = replace(common, warnings=(*warnings, f"Fieller's interval is {inner.words}"))
    shares = np.array(list(again))
    return ProportionExplained(
        exact, _percentiles(common, about, shares, asked), unadjusted, adjusted, steadiness, inner, shares
    )


def _percentiles(common: Measure, about: _About, shares: Floats, asked: int) -> Measure:
    name, method = f"{about.name}.bootstrap", f"{about.method}; {INTERVALS['bootstrap']}"
    if len(shares) < max(2, 0.9 * asked) or not asked:
        reason = (
            f"only {len(shares)} of {asked} resampled trials had both models" if asked else "not asked for"
        )
        return refused(
            name, about.label, SHARE, reason, method=method, assumptions=SHARE_ASSUMPTIONS,
            warnings=common.warnings,
        )  # fmt: skip
    tail = (1 - about.confidence) / 2
    low, high = np.quantile(shares, [tail, 1 - tail])
    return replace(
        common, name=name, low=float(low), high=float(high), se=float(shares.std(ddof=1)),
        method=f"{method}, {asked} times, percentiles",
    )  # fmt: skip
