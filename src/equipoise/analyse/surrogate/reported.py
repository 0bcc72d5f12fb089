"""What a trial can say about its biomarker: rows of the results table."""

from __future__ import annotations

from equipoise.analyse.results import Rows
from equipoise.record import AnalysisInput


def add_surrogate(rows: Rows, given: AnalysisInput) -> None:
    """Rows about the first measure of the plan and the primary endpoint, for each arm compared."""
