"""Other people's trial data as the input of an analysis: a mapping file says which column means what.

`AnalysisInput` is the one thing that the statistics start from. A mapped file yields it here; a record yields
it in `equipoise.analyse`, where the protocol's endpoint rules are applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl


@dataclass(frozen=True)
class EndpointInput:
    """One time-to-event endpoint.

    `times` has one row per participant, in the order of `AnalysisInput.participants`, and the columns
    participant (Int32), day (Float64, days from randomisation to event or censoring, above or at 0),
    status (Int8: 0 censored, 1 event, 2 competing event), entry (Float64, day of entry into observation, 0
    when everybody is observed from randomisation; always below `day` where late entry is used).
    """

    name: str
    label: str
    role: Literal["primary", "secondary", "safety"]
    times: pl.DataFrame
    strata: tuple[str, ...] = ()
    ties: Literal["efron", "breslow"] = "efron"

    @property
    def competing(self) -> bool:
        """Whether any participant had a competing event."""
        return bool((self.times["status"] == 2).any())

    @property
    def late_entry(self) -> bool:
        """Whether anybody came under observation after day 0."""
        return bool((self.times["entry"] > 0).any())


@dataclass(frozen=True)
class MeasureInput:
    """One longitudinal measure: `values` is long, with participant (Int32), day (Float64), value (Float64).

    Day 0 or less is baseline. Values are in `unit`, as measured; `transform` is what the plan asks of the
    analysis. `grid_days` is the length of the visit grid on which means are shown.
    """

    name: str
    label: str
    unit: str
    values: pl.DataFrame
    grid_days: float
    transform: Literal["none", "log10"] = "none"


@dataclass(frozen=True)
class SubgroupInput:
    """Levels of a subgroup: `levels` has participant (Int32) and level (Utf8, null where unknown)."""

    label: str
    levels: pl.DataFrame


@dataclass(frozen=True)
class AnalysisInput:
    """Everything that the analysis of a two- or many-arm trial needs, wherever the data come from.

    participants: one row each: participant (Int32, unique, ascending), id (Utf8, the identifier in the
    source), arm (Utf8, a key of `arms`), stratum_<name> (Utf8, null where unknown) per stratification factor.
    baseline: long: participant (Int32), item (Utf8), value (Float64, null), text (Utf8, null);
    `baseline_items` gives label and unit of each item, in the order in which they are shown.
    arms: name to label in the order of presentation.
    """

    title: str
    arms: Mapping[str, str]
    reference_arm: str
    participants: pl.DataFrame
    endpoints: tuple[EndpointInput, ...]
    confidence: float = 0.95
    strata: Mapping[str, str] = field(default_factory=dict)
    """Names of the stratification factors, to their labels."""
    baseline: pl.DataFrame | None = None
    baseline_items: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    measures: tuple[MeasureInput, ...] = ()
    subgroups: tuple[SubgroupInput, ...] = ()
    subgroup_endpoint: str | None = None
    source: str = ""
    """Where the data came from, in words (file names and checksums)."""
    remarks: tuple[str, ...] = ()
    """What the reader of the data noticed and the report must repeat (rows set aside, an arm without
    events)."""
