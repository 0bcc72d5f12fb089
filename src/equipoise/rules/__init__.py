"""What the protocol decides for one participant: eligible or not, arm, dose, what is due, what counts.

Pure functions of plain numbers, without clock, randomness or files; they run as Python and compiled.
"""

from equipoise.rules.dosing import LOOP_FUNCTIONS, decide, dose_rules
from equipoise.rules.schedule import next_decision_day
from equipoise.rules.terms import ACTIONS, Decision, DoseRules, Situation, starts, unknown_names

__all__ = [
    "ACTIONS",
    "LOOP_FUNCTIONS",
    "Decision",
    "DoseRules",
    "Situation",
    "decide",
    "dose_rules",
    "next_decision_day",
    "starts",
    "unknown_names",
]
