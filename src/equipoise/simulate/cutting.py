"""What is known at a look: the trial cut off on a day of the calendar, and the test and estimate on it."""

from __future__ import annotations

import numpy as np

from equipoise._compile import njit
from equipoise.analyse.two_arm import two_arm_days


@njit
def at_look(entry, day, event, reported, arm, stratum, cells, cut, see_all, scratch):
    """The comparison as it stands on day `cut` of the trial.

    entry: int64[n], day of the trial on which each participant was randomised; day: int64[n], days from then
    to the event or the end of observation; event: uint8[n]; reported: int64[n], day of the trial on which an
    event is known; arm: uint8[n], 1 for the arm that is compared with the reference; stratum: int32[n] of
    0..cells-1; see_all: events count when they have happened (final analysis), not only when reported;
    scratch: of `two_arm_scratch`.

    Returns (enrolled, events of arm 1, events of arm 0, observed minus expected of arm 1, its variance, log
    hazard ratio, its standard error); the last two are NaN where there is no finite estimate. Somebody
    randomised on the day of the cut-off has no time under observation and is not yet counted.
    """
    n = entry.shape[0]
    days = np.empty(n, np.int32)
    events = np.empty(n, np.uint8)
    arms = np.empty(n, np.uint8)
    strata = np.empty(n, np.int32)
    kept = 0
    ones = zeros = 0
    for i in range(n):
        under = cut - entry[i]
        if under <= 0:
            continue
        happened = event[i] == 1 and day[i] <= under and (see_all or reported[i] <= cut)
        # an event that is not reported yet looks like a participant without one
        gone = day[i] if (happened or event[i] == 0) else under
        days[kept] = min(gone, under)
        events[kept] = 1 if happened else 0
        arms[kept] = arm[i]
        strata[kept] = stratum[i]
        if happened:
            if arm[i] == 1:
                ones += 1
            else:
                zeros += 1
        kept += 1
    difference, variance, beta, se, _ = two_arm_days(
        days[:kept], events[:kept], arms[:kept], strata[:kept], cells, scratch
    )
    return kept, ones, zeros, difference, variance, beta, se
