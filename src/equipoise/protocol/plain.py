"""A plain event-time trial as data: hazards per arm, accrual, dropout, looks; no visits, doses or biology.

For the ordinary trial whose only question is the time to an event. It is a file of its own, shorter than a
protocol, and shares with it the looks, the words for quantities and the way errors are told.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from equipoise.protocol.model import Block, Looks, Name
from equipoise.protocol.quantities import Duration, Rate, days, exact_days, per_day
from equipoise.protocol.reading import Source, build_as, load_source


class HazardPiece(Block):
    """A constant hazard, or hazard ratio, from the end of the piece before until `until` (the last piece has
    none)."""

    until: Duration | None = None
    hazard: Rate | None = None
    hazard_ratio: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> HazardPiece:
        if (self.hazard is None) == (self.hazard_ratio is None):
            raise ValueError("a piece has either a `hazard` or a `hazard_ratio`")
        return self


class PlainArm(Block):
    """An arm by its hazard, or by its hazard ratio to the reference arm (whose pieces it then shares)."""

    label: str | None = None
    hazard: Rate | list[HazardPiece] | None = None
    hazard_ratio: Annotated[float, Field(gt=0, le=100)] | list[HazardPiece] | None = None
    share: Annotated[int, Field(ge=1, le=100)] = 1
    """Of the randomisation ratio."""
    dropout: Rate | None = None
    """Instead of the dropout of the trial."""

    @model_validator(mode="after")
    def _one_form(self) -> PlainArm:
        if (self.hazard is None) == (self.hazard_ratio is None):
            raise ValueError("an arm has either a `hazard` or a `hazard_ratio` to the reference arm")
        for name, kind in (("hazard", self.hazard), ("hazard_ratio", self.hazard_ratio)):
            if not isinstance(kind, list):
                continue
            if not kind or any(getattr(piece, name) is None for piece in kind):
                raise ValueError(f"every piece of `{name}` gives a {name}")
            ends = [None if piece.until is None else exact_days(piece.until) for piece in kind]
            if ends[-1] is not None or any(end is None for end in ends[:-1]):
                raise ValueError("every piece but the last says until when it holds")
            known = [0.0, *(end for end in ends[:-1] if end is not None)]
            if any(b <= a for a, b in pairwise(known)):
                raise ValueError("the pieces must follow each other in time")
        return self


class AccrualPiece(Block):
    """Participants come at `rate` between two times after the first centre opens."""

    from_: Duration | None = Field(default=None, alias="from")
    to: Duration
    rate: Rate

    @model_validator(mode="after")
    def _forwards(self) -> AccrualPiece:
        if exact_days(self.to) <= (exact_days(self.from_) if self.from_ is not None else 0.0):
            raise ValueError("`to` must come after `from`")
        return self


class PlainStratum(Block):
    """A part of the participants, whose hazards are those of the trial times `hazard_multiple`."""

    share: Annotated[float, Field(gt=0, le=1)]
    hazard_multiple: Annotated[float, Field(gt=0, le=100)] = 1.0


class PlainAnalysis(Block):
    """The test of the primary endpoint, and the estimate (Cox's hazard ratio, or the difference of restricted
    means)."""

    test: Literal["log-rank", "fleming-harrington", "maxcombo", "rmst"] = "log-rank"
    rho: Annotated[float, Field(ge=0, le=10)] | None = None
    gamma: Annotated[float, Field(ge=0, le=10)] | None = None
    horizon: Duration | None = None
    """Of the restricted mean survival time."""
    stratified: bool = False

    @model_validator(mode="after")
    def _complete(self) -> PlainAnalysis:
        if (self.test == "fleming-harrington") != (self.rho is not None or self.gamma is not None):
            raise ValueError("`rho` and `gamma` go with test: fleming-harrington, which needs one of them")
        if (self.test == "rmst") != (self.horizon is not None):
            raise ValueError("`horizon` goes with test: rmst, and only with it")
        return self


class PlainTrial(Block):
    """A whole plain event-time trial."""

    equipoise: Literal[1]
    """Version of the file format."""
    plain: Annotated[str, Field(min_length=1, max_length=60)]
    """Name of the trial."""
    title: str = ""
    arms: dict[Name, PlainArm] = Field(min_length=2, max_length=2)
    reference_arm: Name
    participants: Annotated[int, Field(ge=4, le=1_000_000)]
    accrual: Duration | dict[str, list[AccrualPiece]]
    """A length of time, over which participants come evenly; or pieces by country. The rates say how the
    arrivals are spread; `participants` says how many there are."""
    dropout: Rate | None = None
    strata: dict[str, PlainStratum] = Field(default_factory=dict)
    randomization: Literal["permuted blocks", "simple"] = "permuted blocks"
    block: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Size of the blocks; the smallest multiple of the ratio of at least 4 when left out."""
    times: Literal["whole days", "exact"] = "whole days"
    """Whether times are recorded in whole days, as trials do, or exactly."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """Type I error, over both sides of a two-sided test; 0.05 (one-sided 0.025) when left out."""
    power: Annotated[float, Field(gt=0, lt=1)] | None = None
    primary_events: Annotated[int, Field(ge=2)] | None = None
    """Events at which the trial ends."""
    follow_up: Duration | None = None
    """Longest duration of the trial, from the first participant on."""
    analysis: PlainAnalysis = PlainAnalysis()
    monitoring: Looks = Looks()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> PlainTrial:
        if self.reference_arm not in self.arms:
            raise ValueError(f"`reference_arm` names no arm; the arms are {', '.join(self.arms)}")
        if self.arms[self.reference_arm].hazard is None:
            raise ValueError("the reference arm needs a `hazard`")
        if self.primary_events is None and self.follow_up is None:
            raise ValueError("the end is missing: `primary_events`, `follow_up` or both")
        if self.primary_events is not None and self.primary_events > self.participants:
            raise ValueError(
                f"{self.primary_events} events cannot happen to {self.participants} participants"
            )
        if self.strata and abs(sum(each.share for each in self.strata.values()) - 1) > 1e-9:
            raise ValueError("the shares of the strata must add up to 1")
        if self.analysis.stratified and not self.strata:
            raise ValueError("a stratified analysis needs `strata`")
        if isinstance(self.accrual, dict) and not any(
            per_day(piece.rate) > 0 for pieces in self.accrual.values() for piece in pieces
        ):
            raise ValueError("nobody is accrued: every rate is 0")
        if not isinstance(self.accrual, dict) and exact_days(self.accrual) <= 0:
            raise ValueError(f"`accrual`: {self.accrual} is too short for anybody to come")
        if self.follow_up is not None and days(self.follow_up) < 1:
            raise ValueError("`follow_up` must be at least a day")
        needs_events = [look for look in self.monitoring.schedule if look.at is not None]
        if needs_events and self.primary_events is None:
            raise ValueError("looks at a share of the information need `primary_events`")
        return self


def is_plain(source: Source) -> bool:
    """Whether the data are those of a plain event-time trial (it has the key `plain`)."""
    return isinstance(source.data, dict) and "plain" in source.data


def load_plain(path: str | Path) -> PlainTrial:
    """The plain event-time trial of a file. Raises `ProtocolError` if it cannot be read."""
    return build_plain(load_source(path))


def build_plain(source: Source) -> PlainTrial:
    """The plain event-time trial of data that has been read. Raises `ProtocolError` at what is wrong."""
    if not isinstance(source.data, dict):
        raise source.error("a plain trial is a block of `key: value` lines")
    return build_as(source, PlainTrial)


def resolved(trial: PlainTrial) -> dict[str, Any]:
    """The trial as plain data with defaults filled in."""
    data: dict[str, Any] = trial.model_dump(mode="json", by_alias=True, exclude_none=True)
    return data
