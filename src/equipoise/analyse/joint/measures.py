"""The joint model as measures of a surrogate: the arm at the same true marker, and the marker itself."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.analyse.joint.layout import NotDefinedError
from equipoise.analyse.joint.model import joint_model
from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.rows import HAZARD_RATIO, log_ratio_measure
from equipoise.analyse.surrogate.scale import Transform, per_unit

METHOD = "joint model of marker and event, maximum likelihood (Wulfsohn & Tsiatis 1997)"
ASSUMPTIONS = (
    "each participant's marker follows the line of the arm with a level and a slope of their own, normally "
    "distributed",
    "the hazard depends on the marker's current value alone, log-linearly and alike at all times",
    "whether a value is missing depends on values that were measured, or on the event",
    "nothing else that treatment changes, or that was not measured, moves both marker and event",
)


def joint_measures(
    trial: MarkedTrial,
    *,
    transform: Transform = "square root",
    bends: Sequence[float] = (),
    intervals: int = 7,
    confidence: float = 0.95,
) -> tuple[Measure, Measure]:
    """The hazard ratios of the arm at the same true value of the marker, and of one unit of the marker, from
    `joint_model` (arguments and source as there); refused, with the reason, where the model is not defined
    for these data or did not converge. Raises UserError for an argument that cannot be."""
    try:
        fit = joint_model(trial, transform=transform, bends=bends, intervals=intervals)
    except NotDefinedError as problem:
        return _refused(trial, transform, str(problem), ())
    if not fit.converged:
        return _refused(trial, transform, fit.warnings[0], fit.warnings[1:])
    arm, marker = (
        log_ratio_measure(
            name, label, of.value, of.se, method=METHOD, confidence=confidence, assumptions=ASSUMPTIONS,
            warnings=fit.warnings,
        )
        for (name, label), of in zip(
            _labels(trial, transform), (fit.log_hazard_arm, fit.association), strict=True
        )
    )  # fmt: skip
    return arm, marker


def _refused(
    trial: MarkedTrial, transform: Transform, reason: str, warnings: tuple[str, ...]
) -> tuple[Measure, Measure]:
    arm, marker = (
        refused(
            name, label, HAZARD_RATIO, reason, method=METHOD, assumptions=ASSUMPTIONS, warnings=warnings
        )
        for name, label in _labels(trial, transform)
    )  # fmt: skip
    return arm, marker


def _labels(trial: MarkedTrial, transform: Transform) -> tuple[tuple[str, str], tuple[str, str]]:
    arms = f"{trial.treated_label} against {trial.reference_label}, at the same true {trial.marker_label}"
    return ("joint.arm", arms), ("joint.marker", f"per {per_unit(trial, transform)}, its true current value")
