"""Does the biomarker stand for the outcome? Measures of a surrogate, each with its assumptions and refusals.

Every measure takes a `MarkedTrial`: two arms, one event, one marker measured over time. What is estimated, by
whose method, and when a measure is refused: docs/surrogate-methods.md and docs/surrogate-mediation.md. All of
them on one trial: `equipoise.analyse.surrogate.evaluation`. Functions that share the name of their module
(`mediation`, `g_formula`, `sensitivity`, `prentice`, ...) are what the package offers under that name.
"""

from equipoise.analyse.surrogate.additive import AdditiveHazards, additive_hazards
from equipoise.analyse.surrogate.data import MarkedTrial, marked_trial
from equipoise.analyse.surrogate.expected import ExpectedHazardRatio, expected_hazard_ratio
from equipoise.analyse.surrogate.explained import ProportionExplained, freedman, lin
from equipoise.analyse.surrogate.g_formula import GFormula, g_formula
from equipoise.analyse.surrogate.individual import IndividualLevel, individual_level
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.mediation import Mediation, mediation
from equipoise.analyse.surrogate.path import Band, DynamicPath, dynamic_path
from equipoise.analyse.surrogate.prentice import Prentice, prentice
from equipoise.analyse.surrogate.random_effects import RandomEffects, random_effects
from equipoise.analyse.surrogate.ratio_interval import FiellerSet, fieller
from equipoise.analyse.surrogate.scale import Transform
from equipoise.analyse.surrogate.sensitivity import CausalFraction, Confounder, Sensitivity, sensitivity
from equipoise.analyse.surrogate.time_varying import Landmark, TimeVarying, landmarks, time_varying
from equipoise.analyse.surrogate.trial_level import (
    TrialLevel,
    UnitEffects,
    effects_of_trials,
    trial_level,
    unit_effects,
)

__all__ = [
    "AdditiveHazards", "Band", "CausalFraction", "Confounder", "DynamicPath", "ExpectedHazardRatio",
    "FiellerSet", "GFormula", "IndividualLevel", "Landmark", "MarkedTrial", "Measure", "Mediation",
    "Prentice", "ProportionExplained", "RandomEffects", "Sensitivity", "TimeVarying", "Transform",
    "TrialLevel", "UnitEffects", "additive_hazards", "dynamic_path", "effects_of_trials",
    "expected_hazard_ratio", "fieller", "freedman", "g_formula", "individual_level", "landmarks", "lin",
    "marked_trial", "mediation", "prentice", "random_effects", "refused", "sensitivity", "time_varying",
    "trial_level", "unit_effects",
]  # fmt: skip
