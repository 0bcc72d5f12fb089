"""Prentice's four criteria: treatment moves marker and outcome, the marker tells the outcome, and given the
marker the outcome no longer depends on treatment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.marker_effect import marker_effect
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.rows import (
    HAZARD_RATIO,
    fit,
    ratio,
    whole_follow_up,
    without_comparison,
    z_of,
)
from equipoise.analyse.surrogate.scale import Transform, on_scale, per_unit
from equipoise.analyse.surrogate.time_varying import PROPORTIONAL, STANDS, time_varying

NOT_ABSENCE = (
    "a criterion that is not shown is not disproved: the trial may be too small to show it",
    "the fourth criterion asks for no effect at all given the marker, which no trial can prove",
)
CAUSES = "marker and outcome have no common cause beyond what is in the model"


@dataclass(frozen=True)
class Prentice:
    """The four criteria in their order, each a measure with its test."""

    treatment_on_marker: Measure
    treatment_on_outcome: Measure
    marker_on_outcome: Measure
    outcome_given_marker: Measure

    @property
    def measures(self) -> tuple[Measure, Measure, Measure, Measure]:
        return (
            self.treatment_on_marker, self.treatment_on_outcome, self.marker_on_outcome,
            self.outcome_given_marker,
        )  # fmt: skip

    @property
    def words(self) -> tuple[str, str, str, str]:
        """What each criterion comes to, one sentence each."""
        first, second, third, fourth = self.measures
        return (
            _shown(first, "treatment moved the marker"),
            _shown(second, "treatment changed the outcome"),
            _shown(third, "the marker tells the outcome"),
            _given_marker(fourth),
        )


def prentice(
    trial: MarkedTrial, *, transform: Transform = "log2", lag: float = 0.0, confidence: float = 0.95
) -> Prentice:
    """Prentice, Stat Med 1989;8:431-40, with Cox models for the outcome and the latest value of the marker.

    1 treatment on marker: difference of the participants' means after randomisation, adjusted for baseline;
    on the log2 scale shown as ratio of geometric means. 2 treatment on outcome: hazard ratio of everybody.
    3 marker on outcome: hazard ratio by the latest value. 4 outcome on treatment given the marker: the arm's
    hazard ratio beside the marker's, with its interval: what the data leave open, not only a p-value.
    Measures are refused (in words) where there is one arm, no event or no marker."""
    scaled, warnings = on_scale(trial, transform)
    reason = without_comparison(trial)
    arms = f"{trial.treated_label} against {trial.reference_label}"
    alone = whole_follow_up(trial)
    if reason:
        second = refused("prentice.treatment_on_outcome", arms, HAZARD_RATIO, reason, method=COX)
    else:
        second = ratio(
            fit(alone, alone.treated[:, None]), 0, "prentice.treatment_on_outcome", arms, method=COX,
            confidence=confidence, assumptions=(PROPORTIONAL,),
        )  # fmt: skip
    third = time_varying(trial, terms=("marker",), transform=transform, lag=lag, confidence=confidence)
    fourth = time_varying(trial, terms=("arm", "marker"), transform=transform, lag=lag, confidence=confidence)
    return Prentice(
        _first(scaled, transform, confidence, warnings),
        second,
        replace(
            third.of("marker"), name="prentice.marker_on_outcome", label=f"per {per_unit(trial, transform)}"
        ),
        _fourth(fourth.of("arm"), arms, trial.marker_label),
    )


COX = "Cox model, stratified as the plan"


def _first(
    scaled: MarkedTrial, transform: Transform, confidence: float, warnings: tuple[str, ...]
) -> Measure:
    name, label = "prentice.treatment_on_marker", f"{scaled.marker_label} after randomisation"
    scale = "ratio of geometric means" if transform == "log2" else "difference of means"
    effect = marker_effect(scaled)
    method = "mean after randomisation" + (", given the baseline" if effect.adjusted else "")
    assumptions = ("those who left or died early are like the others of their arm",)
    if effect.undefined:
        return refused(name, label, scale, effect.undefined, method=method, assumptions=assumptions)
    z = z_of(confidence)
    ends = (effect.estimate, effect.estimate - z * effect.se, effect.estimate + z * effect.se)
    if transform == "log2":
        ends = (2.0 ** ends[0], 2.0 ** ends[1], 2.0 ** ends[2])
    p = math.erfc(abs(effect.estimate / effect.se) / math.sqrt(2)) if effect.se > 0 else math.nan
    return Measure(
        name, label, scale, ends[0], effect.se, ends[1], ends[2], p, confidence, method, assumptions, warnings
    )


def _fourth(measure: Measure, arms: str, marker: str) -> Measure:
    left = () if measure.refused else (_given_marker(measure),)
    return replace(
        measure, name="prentice.outcome_given_marker", label=f"{arms}, given {marker}",
        assumptions=(STANDS, PROPORTIONAL, CAUSES, *NOT_ABSENCE), warnings=measure.warnings + left,
    )  # fmt: skip


def _shown(measure: Measure, what: str) -> str:
    if measure.refused:
        return f"not assessed: {measure.refused}"
    if measure.p < 1 - measure.confidence:
        return f"shown: {what}"
    return f"not shown that {what}, which is not the same as shown that it did not"


def _given_marker(measure: Measure) -> str:
    if measure.refused:
        return f"not assessed: {measure.refused}"
    span = f"{measure.low:.2f} to {measure.high:.2f}"
    if measure.p < 1 - measure.confidence:
        return f"not met: given the marker the arms still differ (hazard ratio {span})"
    return (
        f"not refuted, and not proved either: given the marker, hazard ratios from {span} between the arms "
        "agree with the data"
    )
