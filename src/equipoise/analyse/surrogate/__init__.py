"""Does the biomarker stand for the outcome? Measures of a surrogate, each with its assumptions and refusals.

Every measure takes a `MarkedTrial`: two arms, one event, one marker measured over time. What is estimated, by
whose method, and when a measure is refused: docs/surrogate-methods.md.
"""

from equipoise.analyse.surrogate.data import MarkedTrial, marked_trial
from equipoise.analyse.surrogate.measure import Measure, refused

__all__ = ["MarkedTrial", "Measure", "marked_trial", "refused"]
