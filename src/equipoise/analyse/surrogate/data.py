"""Two arms, one event, one marker over time: the data that every measure of a surrogate works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.analyse.measures import as_analysed, baselines, unit_of
from equipoise.analyse.outcomes import numbered_strata
from equipoise.errors import UserError
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.record import AnalysisInput
from equipoise.record.mapping import MeasureInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Truths = NDArray[np.bool_]

Units = Literal["country", "site"]
"""What the participants are grouped by, to compare effects between groups."""


class Spells(NamedTuple):
    """Time at risk cut wherever the marker was measured: start < time <= stop, in years since
    randomisation; `value` is the latest measurement at or before `start`."""

    who: Ints
    """Position of the participant in `MarkedTrial`."""
    start: Floats
    stop: Floats
    event: Truths
    value: Floats


@dataclass(frozen=True)
class MarkedTrial:
    """A trial of two arms with a marker. n participants, m measurements; times in years since randomisation.

    `who`, `at`, `value`: the measurements, by participant and then by time; those at or before 0 are of the
    baseline. `unit` is the country or the site, as `marked_trial` was asked, empty where nobody recorded one;
    `stratum` numbers the strata of the analysis plan."""

    treated: Truths
    time: Floats
    event: Truths
    stratum: Ints
    unit: NDArray[np.str_]
    who: Ints
    at: Floats
    value: Floats
    treated_label: str
    reference_label: str
    endpoint_label: str
    marker_label: str
    marker_unit: str

    def __post_init__(self) -> None:
        n, m = len(self.treated), len(self.who)
        for name in ("time", "event", "stratum", "unit"):
            if len(getattr(self, name)) != n:
                raise UserError(f"`{name}` has {len(getattr(self, name))} values for {n} participants")
        if len(self.at) != m or len(self.value) != m:
            raise UserError("`who`, `at` and `value` must be equally long")
        if m and (self.who.min() < 0 or self.who.max() >= n):
            raise UserError("`who` must number the participants from 0")
        step = np.diff(self.who)
        if (step < 0).any() or (np.diff(self.at)[step == 0] < 0).any():
            raise UserError("measurements must be in order of participant and then of time")
        if np.isnan(self.time).any() or (self.time < 0).any():
            raise UserError("times must be known and not below 0")

    @property
    def participants(self) -> int:
        return len(self.treated)

    def value_at(self, time: float | Floats) -> Floats:
        """The latest value measured at or before `time` (one for all, or one each); NaN where there is none.
        A value stands until the next: the convention of Cox models with a time-varying covariate."""
        when = np.broadcast_to(np.asarray(time, np.float64), (self.participants,))
        known = ~np.isnan(self.value)
        who, at, value = self.who[known], self.at[known], self.value[known]
        reached = at <= when[who]
        out = np.full(self.participants, np.nan)
        out[who[reached]] = value[reached]  # in order of time, so the latest stays
        return out

    def baseline(self) -> Floats:
        """The value at randomisation, shape (n,); NaN unknown."""
        return self.value_at(0.0)

    def spells(self, lag: float = 0.0) -> Spells:
        """The time at risk as counting process, a row for each value that stood for a while.

        Time before a participant's first value is left out (nothing is known of the marker then). With `lag`
        (years) a value counts only from so long after it was measured: against values that fell because the
        event was near. An event belongs to the spell that it ends. Raises UserError for a negative lag."""
        if not lag >= 0:
            raise UserError("the lag of a marker must not be negative: it would look into the future")
        known = ~np.isnan(self.value)
        who, value = self.who[known], self.value[known]
        start = np.maximum(self.at[known] + lag, 0.0)
        following = np.append(start[1:], np.inf)
        last = np.append(who[1:] != who[:-1], True) if len(who) else np.zeros(0, bool)
        end = self.time[who]
        stop = np.where(last, end, np.minimum(following, end))
        ends_it = stop == end
        keep = stop > start
        who, start, stop, value, ends_it = who[keep], start[keep], stop[keep], value[keep], ends_it[keep]
        return Spells(who, start, stop, ends_it & self.event[who], value)


def marked_trial(
    given: AnalysisInput,
    *,
    arm: str | None = None,
    endpoint: str | None = None,
    marker: str | None = None,
    units: Units = "country",
) -> MarkedTrial:
    """Pick two arms, an endpoint and a marker out of the input of an analysis (of a record, or mapped data).

    `arm`: the one compared with the reference arm (default: the only other one); `endpoint`: default the
    primary; `marker`: default the first measure of the plan; `units`: what is compared at the level of
    trials. Competing events censor, as in the Cox model of the plan. Raises UserError when a name is not
    there, there is a choice to make, or anybody came under observation after randomisation."""
    if units not in get_args(Units):
        raise UserError(f"there are no units `{units}`; there are: {', '.join(get_args(Units))}")
    others = [name for name in given.arms if name != given.reference_arm]
    chosen = _choose(arm, others, "arm", "arms to compare")
    ends = {e.name: e for e in given.endpoints}
    primary = [e.name for e in given.endpoints if e.role == "primary"]
    end = ends[_choose(endpoint, list(ends), "endpoint", "endpoints", primary)]
    measures = {m.name: m for m in given.measures}
    measure = measures[_choose(marker, list(measures), "marker", "measures", list(measures)[:1])]

    people = (
        given.participants.filter(pl.col("arm").cast(pl.String).is_in([chosen, given.reference_arm]))
        .sort("participant")
        .join(end.times, on="participant", how="inner", maintain_order="left")
    )
    late = int((people["entry"] > 0).sum())
    if late:
        raise UserError(
            f"measures of a surrogate do not take late entry, and for `{end.name}` {late:,} of "
            f"{people.height:,} participants came under observation after randomisation: name another "
            "endpoint with --endpoint, or leave these participants out of the data"
        )
    place = people.select("participant").with_row_index("who")
    return MarkedTrial(
        treated=(people["arm"].cast(pl.String) == chosen).to_numpy(),
        time=people["day"].to_numpy() / DAYS_PER_YEAR,
        event=(people["status"] == 1).to_numpy(),
        stratum=numbered_strata(people, end.strata),
        unit=_units(given, people, units),
        **_measurements(given, measure, place),
        treated_label=given.arms[chosen],
        reference_label=given.arms[given.reference_arm],
        endpoint_label=end.label,
        marker_label=measure.label,
        marker_unit=unit_of(measure),
    )


def _choose(
    wanted: str | None, there: list[str], what: str, several: str, default: list[str] | None = None
) -> str:
    if wanted is not None:
        if wanted not in there:
            raise UserError(f"there is no {what} `{wanted}`; there are: {', '.join(there) or 'none'}")
        return wanted
    candidates = default if default else there
    if len(candidates) != 1:
        named = ", ".join(there) or "none"
        raise UserError(f"there are {len(there)} {several} ({named}): name one with --{what}")
    return candidates[0]


def _units(given: AnalysisInput, people: pl.DataFrame, units: Units) -> NDArray[np.str_]:
    """Country or site of each participant; empty where nobody recorded one.

    The site is that of the record. What else there is stands in the baseline: the item of that name, as text,
    or as a number (of a site, say)."""
    if units in people.columns:
        known = people.select(unit=pl.format(f"{units} {{}}", units)).to_series()
    elif given.baseline is None:
        return np.full(people.height, "")
    else:
        item = given.baseline.filter(pl.col("item").cast(pl.String) == units).select(
            "participant",
            unit=pl.coalesce(
                pl.col("text").cast(pl.String),
                pl.format(f"{units} {{}}", pl.col("value").cast(pl.Int64, strict=False)),
            ),
        )
        known = people.join(item, on="participant", how="left", maintain_order="left")["unit"]
    return known.fill_null("").to_numpy().astype(np.str_)


def _measurements(given: AnalysisInput, measure: MeasureInput, place: pl.DataFrame) -> dict[str, Any]:
    """The baseline value at time 0, then the values after randomisation, in order."""
    first = baselines(given, measure).select(
        "participant", day=pl.lit(0.0), value=pl.col("baseline").cast(pl.Float64)
    )
    after = measure.values.filter(pl.col("day") > 0).select("participant", "day", "value")
    after = after.with_columns(value=as_analysed(pl.col("value"), measure))
    every = (
        place.join(pl.concat([first, after]).drop_nulls("value"), on="participant", how="inner")
        .filter(pl.col("value").is_not_nan())
        .sort("who", "day", "value")
    )
    return {
        "who": every["who"].cast(pl.Int64).to_numpy(),
        "at": every["day"].to_numpy() / DAYS_PER_YEAR,
        "value": every["value"].to_numpy(),
    }
