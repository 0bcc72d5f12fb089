"""What a user asks for, done from beginning to end: each job takes a trial to finished files.

`run` is the main job. Nothing heavy is imported before a job needs it.
"""

from equipoise.job.biomarker import Demonstration, Surrogacy, demonstrate_pitfall, surrogate
from equipoise.job.explanations import EXPLANATION, Explained, explain
from equipoise.job.fits import Fitted, fit, fit_folder
from equipoise.job.main_job import (
    RECORD,
    REPLICATES,
    REPORT,
    RESULTS,
    Outcome,
    Progress,
    default_folder,
    run,
    stage,
)
from equipoise.job.many_trials import (
    TRIALS,
    Power,
    Replay,
    ending,
    is_plain_file,
    power,
    power_folder,
    replay,
)

__all__ = [
    "EXPLANATION", "RECORD", "REPLICATES", "REPORT", "RESULTS", "TRIALS", "Demonstration", "Explained",
    "Fitted", "Outcome", "Power", "Progress", "Replay", "Surrogacy", "default_folder", "demonstrate_pitfall",
    "ending", "explain", "fit", "fit_folder", "is_plain_file", "power", "power_folder", "replay", "run",
    "stage", "surrogate",
]  # fmt: skip
