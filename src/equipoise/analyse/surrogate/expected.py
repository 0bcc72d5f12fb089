"""The hazard ratio to be expected if the marker told everything: what the risk of untreated people at each
marker value would make of the difference that treatment made, beside the hazard ratio that was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from equipoise.analyse.surrogate.data import Floats, Ints, MarkedTrial
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.rows import (
    HAZARD_RATIO,
    Rows,
    few_events,
    fit,
    influence,
    log_ratio_measure,
    ratio,
    rows_at_risk,
    score_residuals,
    without_mediator,
)
from equipoise.analyse.surrogate.scale import Transform, on_scale, per_unit
from equipoise.analyse.surrogate.time_varying import PROPORTIONAL, STANDS
from equipoise.analyse.undefined import NO_EVENTS

CARRIES = (
    "risk follows the marker in the treated as it does among the untreated: a count that treatment made "
    "protects as much as one that a person has by nature (the marker stands for the cause)"
)

NO_EVENT_UNTREATED = "nobody of the reference arm had an event while their marker was known"
EXTREMES = (
    "expected {:.2f} from everybody's own value but {:.2f} from the mean difference: people with extreme "
    "values decide it, of whom the model knows least"
)


@dataclass(frozen=True)
class ExpectedHazardRatio:
    """Expected and observed hazard ratio of the arms, and their quotient: what treatment did beside the
    marker, if the assumptions hold. `by_means` is the expected one as slope times `mean_difference`, which no
    few people with extreme values can carry; the two agree where the arms differ by a shift.

    The arrays are for a picture, one value for each time of an event: `times` (years), `difference` (mean
    marker of the treated at risk less that of the others, on the model's scale), `log_hazard_ratio` (expected
    at that time), `weight` (what the time counts for)."""

    slope: Measure
    expected: Measure
    by_means: Measure
    observed: Measure
    observed_over_expected: Measure
    mean_difference: float
    times: Floats
    difference: Floats
    log_hazard_ratio: Floats
    weight: Floats

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.slope, self.expected, self.by_means, self.observed, self.observed_over_expected


@dataclass(frozen=True)
class _AtEvents:
    """Sums over those at risk at each (stratum, time) with events, k of them, rising; column 0 the untreated,
    column 1 the treated: how many, their marker, exp(slope x marker), and marker times that."""

    stratum: Ints
    time: Floats
    events: Floats
    number: Floats
    value: Floats
    risk: Floats
    risk_value: Floats


def expected_hazard_ratio(
    trial: MarkedTrial,
    *,
    transform: Transform = "log2",
    lag: float = 0.0,
    confidence: float = 0.95,
) -> ExpectedHazardRatio:
    """The arms' hazard ratio that the marker alone would make, beside the observed one.

    The slope is that of a Cox model by the latest value among the untreated. If risk follows the marker alike
    in both arms, an event at a time belongs to each person at risk with probability in proportion to
    exp(slope x value), hence to the treated arm with a probability q. The expected log hazard ratio solves
    Cox's score equation for the arm with the arm of each event replaced by its q (risk sets as they were).
    Beside it, to first order, the slope times the arms' mean difference, averaged over the event times by the
    information that each has on the arm; a warning says where the two differ by more than 0.05. Intervals by
    the sandwich (Lin & Wei 1989), with the uncertainty of the slope and of the marker difference. Derivation:
    docs/surrogate-methods.md. Refused where a part of it has no estimate."""
    scaled, warnings = on_scale(trial, transform)
    rows = rows_at_risk(scaled, lag)
    untreated, whole = rows.pick(rows.treated == 0), rows.whole()
    slope_model = fit(untreated, untreated.value[:, None])
    alone = fit(whole, whole.treated[:, None])
    arms = f"{trial.treated_label} against {trial.reference_label}"
    slope = ratio(
        slope_model, 0, "expected.slope", f"per {per_unit(trial, transform)}, {trial.reference_label}",
        method="Cox model by the latest marker value in the reference arm", confidence=confidence,
        assumptions=(STANDS, PROPORTIONAL), warnings=warnings,
    )  # fmt: skip
    observed = ratio(
        alone, 0, "expected.observed", f"{arms}, observed", method="Cox model", confidence=confidence,
        assumptions=(PROPORTIONAL,), warnings=warnings,
    )  # fmt: skip
    labels = (
        f"{arms}, expected from {trial.marker_label}",
        f"{arms}, expected from the mean difference in {trial.marker_label}",
        f"{arms}, observed over expected",
    )
    reason = without_mediator(trial) or slope_model.undefined or alone.undefined or ""
    if reason == NO_EVENTS and trial.event.any():
        reason = NO_EVENT_UNTREATED
    if reason:
        return _refused(slope, observed, labels, reason)
    warnings = (*warnings, *few_events(slope_model))
    b = float(slope_model.coefficients[0])
    slope_moves = influence(untreated, untreated.value[:, None], slope_model)[:, 0]
    sums = _at_events(rows, b)
    theta, weight = _solved(sums)
    moves = _moves(rows, b, theta, sums, slope_moves)
    mean, mean_moves = _mean_difference(rows, sums)
    gap_moves = influence(whole, whole.treated[:, None], alone)[:, 0] - moves
    if abs(theta - b * mean) > 0.05:
        warnings = (*warnings, EXTREMES.format(math.exp(theta), math.exp(b * mean)))
    said = partial(
        log_ratio_measure, method=METHOD, confidence=confidence, assumptions=ASSUMPTIONS, warnings=warnings
    )
    return ExpectedHazardRatio(
        slope,
        said("expected.expected", labels[0], theta, _root_sum_square(moves)),
        said("expected.by_means", labels[1], b * mean, _root_sum_square(b * mean_moves + mean * slope_moves)),
        observed,
        said(
            "expected.observed_over_expected", labels[2], float(alone.coefficients[0]) - theta,
            _root_sum_square(gap_moves),
        ),
        mean,
        *_over_time(sums, weight),
    )  # fmt: skip


METHOD = "risk by marker among the untreated, times the arms' difference in the marker"
ASSUMPTIONS = (CARRIES, STANDS, PROPORTIONAL)


def _refused(
    slope: Measure, observed: Measure, labels: tuple[str, str, str], reason: str
) -> ExpectedHazardRatio:
    expected, by_means, over = (
        refused(
            f"expected.{name}", label, HAZARD_RATIO, reason, method=METHOD, assumptions=ASSUMPTIONS,
            warnings=observed.warnings,
        )
        for name, label in zip(("expected", "by_means", "observed_over_expected"), labels, strict=True)
    )  # fmt: skip
    none = np.zeros(0)
    return ExpectedHazardRatio(slope, expected, by_means, observed, over, math.nan, none, none, none, none)


def _over_time(sums: _AtEvents, weight: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Times, marker difference, expected log hazard ratio and weight, in order of time, where both arms were
    at risk."""
    used = weight > 0
    number, risk, value = sums.number[used], sums.risk[used], sums.value[used]
    order = np.argsort(sums.time[used], kind="stable")
    means, log_risk = value / number, np.log(risk / number)
    return (
        sums.time[used][order],
        (means[:, 1] - means[:, 0])[order],
        (log_risk[:, 1] - log_risk[:, 0])[order],
        weight[used][order],
    )


def _root_sum_square(each: Floats) -> float:
    return float(np.sqrt((each**2).sum()))


def _at_events(rows: Rows, slope: float) -> _AtEvents:
    """Sums over the risk set of each stratum and event time: those who leave at that time or later, less
    those who enter at that time or later."""
    centred = rows.value - rows.value.mean()
    risk = np.exp(slope * centred)
    each = np.column_stack(
        [c * arm for c in (np.ones(len(risk)), rows.value, risk, risk * rows.value)
         for arm in (1 - rows.treated, rows.treated)]
    )  # fmt: skip
    parts, strata, times, events = [], [], [], []
    for level in np.unique(rows.stratum[rows.event]):
        here = rows.stratum == level
        when, number = np.unique(rows.stop[here & rows.event], return_counts=True)
        present = _from(rows.stop[here], each[here], when) - _from(rows.start[here], each[here], when)
        parts.append(present)
        strata.append(np.full(len(when), level))
        times.append(when)
        events.append(number)
    total = np.concatenate(parts).reshape(-1, 4, 2)
    # counts are whole numbers, and what nobody adds to is 0, whatever rounding left
    number_at_risk = np.round(total[:, 0])
    total = np.where(number_at_risk[:, None, :] > 0, total, 0.0)
    return _AtEvents(
        np.concatenate(strata), np.concatenate(times), np.concatenate(events).astype(np.float64),
        number_at_risk, total[:, 1], total[:, 2], total[:, 3],
    )  # fmt: skip


def _from(time: Floats, each: Floats, when: Floats) -> Floats:
    """Sums of the rows whose time is at `when` or later, shape (times, columns)."""
    order = np.argsort(time, kind="stable")
    sums = np.zeros((len(time) + 1, each.shape[1]))
    sums[:-1] = np.cumsum(each[order][::-1], axis=0)[::-1]
    return np.asarray(sums[np.searchsorted(time[order], when, side="left")])


def _solved(sums: _AtEvents) -> tuple[float, Floats]:
    """Expected log hazard ratio, and what each event time counts for at it: d pi (1 - pi)."""
    q = sums.risk[:, 1] / sums.risk.sum(axis=1)
    theta = 0.0
    for _ in range(100):
        treated = sums.number[:, 1] * math.exp(theta)
        share = treated / (treated + sums.number[:, 0])
        weight = sums.events * share * (1 - share)
        step = float(sums.events @ (q - share)) / float(weight.sum())
        theta += max(-1.0, min(1.0, step))
        if abs(step) < 1e-13:
            break
    return theta, weight


def _moves(rows: Rows, slope: float, theta: float, sums: _AtEvents, slope_moves: Floats) -> Floats:
    """How far each participant moves the expected log hazard ratio, shape (people,)."""
    X = np.column_stack([rows.treated, rows.value])
    by_marker = score_residuals(rows, X, np.array([0.0, slope]), efron=False)[:, 0]
    whole = rows.whole()
    by_arm = score_residuals(whole, whole.treated[:, None], np.array([theta]), efron=False)[:, 0]
    _, weight = _solved(sums)
    risk = sums.risk.sum(axis=1)
    q = sums.risk[:, 1] / risk
    # how fast q rises with the slope: the treated's share of the risk-weighted marker, less its mean
    rise = sums.risk_value[:, 1] / risk - q * sums.risk_value.sum(axis=1) / risk
    return np.asarray((by_arm - by_marker + float(sums.events @ rise) * slope_moves) / float(weight.sum()))


def _mean_difference(rows: Rows, sums: _AtEvents) -> tuple[float, Floats]:
    """Mean marker of the treated at risk less that of the others, averaged over the event times by d n0 n1 /
    (n0 + n1)^2, the information that each has on the arm; and how far each participant moves it."""
    both = sums.number.prod(axis=1) > 0
    n, events = sums.number[both], sums.events[both]
    means = sums.value[both] / n
    gap = means[:, 1] - means[:, 0]
    share = n.prod(axis=1) / n.sum(axis=1) ** 2
    weight = events * share / float(events @ share)
    mean = float(weight @ gap)
    moves = np.zeros(rows.people)
    for level in np.unique(sums.stratum[both]):
        at = sums.stratum[both] == level
        when = sums.time[both][at]
        for arm, sign in ((0, -1.0), (1, 1.0)):
            here = (rows.stratum == level) & (rows.treated == arm)
            # what one step of a person's marker, and a step of nothing, add between two times
            steps = np.column_stack([weight[at] / n[at, arm], weight[at] * means[at, arm] / n[at, arm]])
            sums_to = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)])
            inside = (
                sums_to[np.searchsorted(when, rows.stop[here], side="right")]
                - sums_to[np.searchsorted(when, rows.start[here], side="right")]
            )
            np.add.at(moves, rows.who[here], sign * (rows.value[here] * inside[:, 0] - inside[:, 1]))
        # each event also decides how much its time counts
        happened = rows.event & (rows.stratum == level) & np.isin(rows.stop, when)
        place = np.searchsorted(when, rows.stop[happened])
        np.add.at(moves, rows.who[happened], (weight[at] / events[at] * (gap[at] - mean))[place])
    return mean, moves
