"""Does the biomarker stand for the outcome? Measures of a surrogate, each with its assumptions and refusals.

Every measure takes a `MarkedTrial`: two arms, one event, one marker measured over time. What is estimated, by
whose method, and when a measure is refused: docs/surrogate-methods.md.
"""

from equipoise.analyse.surrogate.data import MarkedTrial, marked_trial
from equipoise.analyse.surrogate.expected import ExpectedHazardRatio, expected_hazard_ratio
from equipoise.analyse.surrogate.explained import ProportionExplained, freedman, lin
from equipoise.analyse.surrogate.individual import IndividualLevel, individual_level
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.prentice import Prentice, prentice
from equipoise.analyse.surrogate.random_effects import RandomEffects, random_effects
from equipoise.analyse.surrogate.ratio_interval import FiellerSet, fieller
from equipoise.analyse.surrogate.scale import Transform
from equipoise.analyse.surrogate.time_varying import Landmark, TimeVarying, landmarks, time_varying
from equipoise.analyse.surrogate.trial_level import (
    TrialLevel,
    UnitEffects,
    effects_of_trials,
    trial_level,
    unit_effects,
)

__all__ = [
    "ExpectedHazardRatio", "FiellerSet", "IndividualLevel", "Landmark", "MarkedTrial", "Measure", "Prentice",
    "ProportionExplained", "RandomEffects", "TimeVarying", "Transform", "TrialLevel", "UnitEffects",
    "effects_of_trials", "expected_hazard_ratio", "fieller", "freedman", "individual_level", "landmarks",
    "lin", "marked_trial", "prentice", "random_effects", "refused", "time_varying", "trial_level",
    "unit_effects",
]  # fmt: skip
