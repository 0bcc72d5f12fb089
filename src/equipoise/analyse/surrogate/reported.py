"""What a trial can say about its biomarker: rows of the results table.

A few quick measures without resampling; `equipoise surrogate` gives all of them."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.analyse.results import Rows
from equipoise.analyse.surrogate.data import MarkedTrial, marked_trial
from equipoise.analyse.surrogate.evaluation import scale_of
from equipoise.analyse.surrogate.expected import expected_hazard_ratio
from equipoise.analyse.surrogate.explained import lin
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.time_varying import time_varying
from equipoise.record import AnalysisInput

ANALYSIS = "surrogate"
OBSERVED, EXPECTED, ADJUSTED = "observed hazard ratio", "expected hazard ratio", "adjusted hazard ratio"
QUOTIENT, EXPLAINED = "observed over expected hazard ratio", "proportion explained"
DOUBLING, STEP = "hazard ratio per doubling of the biomarker", "hazard ratio per unit of the biomarker"
DIFFERENCE = "mean difference of the biomarker at events"
AS_SURROGATE = "as a surrogate for"
LATE_ENTRY = (
    "measures of a surrogate do not take late entry, and some came under observation after randomisation"
)


def add_surrogate(rows: Rows, given: AnalysisInput) -> None:
    """Rows about the first measure of the plan and the primary endpoint, for each arm compared.

    None where the plan has no measure or no primary endpoint; where there is nothing to compare, or the
    endpoint has late entry, a note says so instead."""
    ends = [end for end in given.endpoints if end.role == "primary"]
    if not given.measures or not ends:
        return
    marker, end = given.measures[0], ends[0]
    for arm in given.arms:
        if arm == given.reference_arm:
            continue
        about = (
            f"{given.arms[arm]} against {given.arms[given.reference_arm]}, {marker.label} {AS_SURROGATE} "
            f"{end.label}: "
        )
        if end.late_entry:
            rows.note(f"{about}{LATE_ENTRY}.")
            continue
        trial = marked_trial(given, arm=arm, endpoint=end.name, marker=marker.name)
        reason = _nothing(trial)
        if reason:
            rows.note(f"{about}{reason}, so there is nothing to compare.")
            continue
        _one_pair(rows, given, trial, f"{arm} vs {given.reference_arm}")


def _nothing(trial: MarkedTrial) -> str:
    """Why there is nothing to compare; empty where there is something."""
    for label, arm in ((trial.treated_label, trial.treated), (trial.reference_label, ~trial.treated)):
        if not arm.any():
            return f"nobody is in the arm {label}"
    if not trial.event.any():
        return "there was no event in either arm"
    return "" if len(trial.who) else "the biomarker was not measured"


def why_nothing_expected(notes: Sequence[str], compared: str) -> str:
    """The reason, out of the notes of the results, why there is no expected hazard ratio of the arms
    `compared` ("new against old", by their labels); empty where no note gives one."""
    for note in notes:
        if note.startswith(f"{compared}, "):
            _, found, reason = note.partition(f" ({EXPECTED}): ")
            if not found and f" {AS_SURROGATE} " in note:
                reason = note.rpartition(": ")[2]
            if reason:
                return reason.removesuffix(".")
    return ""


def _one_pair(rows: Rows, given: AnalysisInput, trial: MarkedTrial, pair: str) -> None:
    scale, level = scale_of(trial), given.confidence
    expected = expected_hazard_ratio(trial, transform=scale, confidence=level)
    both = time_varying(trial, transform=scale, confidence=level)
    share = lin(trial, transform=scale, confidence=level)
    step = DOUBLING if scale == "log2" else STEP
    for parameter, measure in (
        (OBSERVED, expected.observed),
        (EXPECTED, expected.expected),
        (QUOTIENT, expected.observed_over_expected),
        (ADJUSTED, both.of("arm")),
    ):
        _ratio(rows, pair, parameter, measure)
    _ratio(rows, pair, step, both.of("marker"))
    _ratio(rows, pair, f"{step}, reference arm", expected.slope)
    mean = expected.mean_difference
    unit = f"log2 {trial.marker_unit}".strip() if scale == "log2" else trial.marker_unit
    rows.add(ANALYSIS, pair, DIFFERENCE, unit, estimate=mean)
    found = share.fieller
    rows.add(
        ANALYSIS, pair, EXPLAINED, "", estimate=found.estimate, lower=found.low, upper=found.high,
        steadiness=share.steadiness,
    )  # fmt: skip
    if found.refused:
        rows.note(
            f"Proportion of the effect on {trial.endpoint_label} that {trial.marker_label} explains: "
            f"{found.refused}."
        )


def _ratio(rows: Rows, pair: str, parameter: str, measure: Measure) -> None:
    rows.add(
        ANALYSIS, pair, parameter, "", estimate=measure.estimate, lower=measure.low, upper=measure.high,
        p_value=measure.p, log_se=measure.se,
    )  # fmt: skip
    if measure.refused:
        rows.note(f"{measure.label} ({parameter}): {measure.refused}.")
