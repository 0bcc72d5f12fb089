"""The report: what happened in a trial, for a clinician, on one page that needs no network, and as PDF."""

from equipoise.report.writing import write

__all__ = ["write"]
