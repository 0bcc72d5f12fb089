"""When a trial is looked at: the cut-off of every interim analysis and of the final one, on the calendar.

A look waits until everything it asks for holds: a number of primary events, a time, a minimum follow-up of
the participant randomised last, a minimum gap since the look before. `at_latest` ends the wait, and no look
comes after the end of the trial. The last look of a schedule is the final analysis. Days may be whole or
real; day 0 is the first day on which anybody could be randomised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.errors import UserError
from equipoise.protocol.model import Look
from equipoise.protocol.quantities import Quantity, days, exact_days

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEVER = math.inf
AT_ONCE = -math.inf


class LookRules(NamedTuple):
    """What each look of a schedule waits for, one array element per look; the last is the final analysis."""

    events: Ints
    """Primary events; 0: it does not wait for events."""
    not_before: Floats
    """Day of the trial; -inf: none."""
    after: Floats
    """Days after the first randomisation; -inf: none."""
    follow_up: Floats
    """Days after the last randomisation; -inf: none."""
    gap: Floats
    """Days after the look before; -inf: none."""
    latest: Floats
    """Day of the trial on which the wait ends; inf: none."""
    latest_after: Floats
    """The same in days after the first randomisation; inf: none."""


def events_at(share: float, primary_events: int) -> int:
    """The first number of events at which a share of the planned information is reached."""
    return max(1, math.ceil(share * primary_events - 1e-9))


def look_rules(
    schedule: Sequence[Look],
    primary_events: int | None,
    *,
    whole_days: bool,
    day_of: Callable[[date], float] | None = None,
    place: str = "monitoring.looks",
) -> LookRules:
    """The rules of a schedule. Lengths of time are rounded to days where the trial counts in whole days.

    `day_of` gives the day of the trial of a calendar date; None: the trial has no calendar. Raises
    `UserError` for a date without a calendar, a share of the information without `primary_events`, looks that
    do not rise, or a gap before the first look.
    """
    span = days if whole_days else exact_days
    count = len(schedule)

    def none(value: float) -> Floats:
        return np.full(count, value)

    rules = LookRules(
        np.zeros(count, np.int64), none(AT_ONCE), none(AT_ONCE), none(AT_ONCE), none(AT_ONCE), none(NEVER),
        none(NEVER),
    )  # fmt: skip

    def on(when: date, key: str) -> float:
        if day_of is None:
            raise UserError(
                f"{key}: a plain trial has no calendar, so a look cannot wait for {when:%d %B %Y}; "
                "give a time after the first randomisation (`after` or `at_latest`)"
            )
        return float(day_of(when))

    for k, look in enumerate(schedule):
        here = f"{place}[{k}]"
        if look.at is not None:
            if primary_events is None:
                raise UserError(f"{here}.at: a share of the information needs the planned primary events")
            rules.events[k] = events_at(look.at, primary_events)
        if look.events is not None:
            rules.events[k] = look.events
        if look.date is not None:
            rules.not_before[k] = on(look.date, f"{here}.date")
        if look.after is not None:
            rules.after[k] = span(look.after)
        if look.minimum_follow_up is not None:
            rules.follow_up[k] = span(look.minimum_follow_up)
        if look.minimum_gap is not None:
            if k == 0:
                raise UserError(f"{here}.minimum_gap: the first look has no look before it")
            rules.gap[k] = span(look.minimum_gap)
        if isinstance(look.at_latest, Quantity):
            rules.latest_after[k] = span(look.at_latest)
        elif look.at_latest is not None:
            rules.latest[k] = on(look.at_latest, f"{here}.at_latest")
    _must_rise(rules, place)
    return rules


def _must_rise(rules: LookRules, place: str) -> None:
    waits = (
        rules.events[rules.events > 0], rules.not_before[np.isfinite(rules.not_before)],
        rules.after[np.isfinite(rules.after)],
    )  # fmt: skip
    if any((np.diff(wait) <= 0).any() for wait in waits):
        raise UserError(f"{place}: the looks must rise, without repeats")


def final_only(primary_events: int | None) -> LookRules:
    """The rules of a trial without interim looks: one analysis, at the planned events (or at the end)."""
    nothing, never = np.full(1, AT_ONCE), np.full(1, NEVER)
    wait = 0 if primary_events is None else primary_events
    # without a number of events it waits for the end of the trial
    not_before = nothing if primary_events is not None else never
    return LookRules(np.array([wait]), not_before, nothing, nothing, nothing, never, never)


@njit
def cut_offs(rules, event_days, first, last, end, out):
    """The day of every look into `out` (float64, one per look); NaN for a look that does not take place.

    event_days: for each look the day on which the events it waits for have happened (or been reported), inf
    if they never do; not read where it waits for none. first, last: days of the first and last randomisation.
    end: last possible day of the trial. The last look is the final analysis, on `end` at the latest. A look
    that would fall on the day of the next one, or after, is one with it and does not take place by itself.
    Returns the day of the final analysis.
    """
    looks = rules.events.shape[0]
    before = -math.inf
    for k in range(looks):
        day = max(rules.not_before[k], first + rules.after[k])
        day = max(day, last + rules.follow_up[k])
        if rules.events[k] > 0:
            day = max(day, event_days[k])
        if k > 0:
            day = max(day, before + rules.gap[k])
        day = min(day, min(rules.latest[k], first + rules.latest_after[k]))
        # a wait that ended before the look before: the two are one
        day = min(max(day, before), end)
        out[k] = day
        before = day
    for k in range(looks - 1):
        if out[k] >= out[k + 1]:
            out[k] = math.nan
    return before
