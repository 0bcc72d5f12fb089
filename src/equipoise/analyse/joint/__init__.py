"""Joint model of a marker and an event: the marker's true course and the hazard that depends on it, at once.

    fit = joint_model(marked_trial(given))
    fit.log_hazard_arm.ratio()          # hazard ratio at the same true value of the marker
    fit.association.ratio()             # hazard ratio of one unit of the marker

The model, and what it says of two real trials: docs/surrogate-real-data.md.
"""

from equipoise.analyse.joint.layout import NotDefinedError
from equipoise.analyse.joint.measures import joint_measures
from equipoise.analyse.joint.model import Apart, Estimate, JointModel, joint_model

__all__ = ["Apart", "Estimate", "JointModel", "NotDefinedError", "joint_measures", "joint_model"]
