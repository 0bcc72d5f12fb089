"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from equipoise.protocol.model import Protocol, PublishedFigure
from equipoise.record import Record
from equipoise.report.tables import Arms, Rows


@dataclass(frozen=True)
class Material:
    """All that a report is made from. Numbers come from `rows` alone; `record` gives the lives of a sample of
    participants, `replicates` (one row per simulated trial, columns named after rows of the results) the
    spread over repeated trials, `provenance` the lines on how to reproduce it."""

    rows: Rows
    protocol: Protocol
    arms: Arms
    record: Record | None
    replicates: pl.DataFrame | None
    provenance: Mapping[str, str]
    notes: tuple[str, ...]
    simulated: bool
    """Whether the participants are virtual."""

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return self.protocol.analysis.confidence

    @property
    def primary(self) -> str | None:
        """The id of the (first) primary endpoint that is analysed."""
        planned = [plan.endpoint for plan in self.protocol.analysis.time_to_event]
        return next(
            (e for e in planned if self.protocol.endpoints[e].role == "primary"),
            planned[0] if planned else None,
        )

    @property
    def randomised(self) -> float | None:
        """Participants randomised, all arms."""
        found = self.rows.value("disposition", "all", "randomised", "n")
        return found if found is not None else self.rows.value("consort", "all", "randomised", "n")

    def trials(self) -> int:
        """Replicate trials at hand."""
        return 0 if self.replicates is None else self.replicates.height

    def spread(self, figure: PublishedFigure) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The values of a published figure's row over the replicate trials."""
        key = "|".join((figure.analysis, figure.group, figure.parameter, figure.statistic))
        if self.replicates is None or key not in self.replicates.columns:
            return None
        values = self.replicates[key].cast(pl.Float64).to_numpy()
        values = values[np.isfinite(values)]
        return values if values.size >= 20 else None
