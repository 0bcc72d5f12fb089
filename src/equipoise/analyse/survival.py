"""Time to event: the log-rank test, Cox's model, the Kaplan-Meier curve, restricted means, combined tests.

Times are numbers in any unit (days, inside Equipoise); `event` is 1 for an event and 0 for censoring. Ties
are exact equality of times. Formulae and papers are gathered in docs/methods.md. Everything is computed in
compiled double precision without approximation. Each statistic has a room of its own; this is their common
door.
"""

from equipoise.analyse.columns import chi_square_p, two_sided_p
from equipoise.analyse.combined_tests import MaxCombo, maxcombo
from equipoise.analyse.cox_model import Cox, cox
from equipoise.analyse.curves import (
    Curve,
    RestrictedMean,
    Steps,
    kaplan_meier,
    log_log_interval,
    restricted_mean,
)
from equipoise.analyse.logrank_test import LogRank, logrank
from equipoise.analyse.restricted_means import RestrictedMeans, rmst_difference
from equipoise.analyse.two_arm import (
    cox_binary,
    logrank_binary,
    proportional_hazards,
    two_arm_days,
    two_arm_scratch,
    two_arm_times,
)
from equipoise.analyse.undefined import (
    DEPENDENT,
    MONOTONE,
    NO_COMPARISON,
    NO_EVENTS,
    NOT_CONVERGED,
    NOT_FOLLOWED,
    ONE_GROUP,
    ONE_SIDED,
)

__all__ = [
    "DEPENDENT", "MONOTONE", "NOT_CONVERGED", "NOT_FOLLOWED", "NO_COMPARISON", "NO_EVENTS", "ONE_GROUP",
    "ONE_SIDED", "Cox", "Curve", "LogRank", "MaxCombo", "RestrictedMean", "RestrictedMeans", "Steps",
    "chi_square_p", "cox", "cox_binary", "kaplan_meier", "log_log_interval", "logrank", "logrank_binary",
    "maxcombo", "proportional_hazards", "restricted_mean", "rmst_difference", "two_arm_days",
    "two_arm_scratch", "two_arm_times", "two_sided_p",
]  # fmt: skip
