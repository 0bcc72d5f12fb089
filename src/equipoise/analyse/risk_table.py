"""The risk table of a trial in two arms: who was under observation at each event time, and who had the event.

Everything that compares two arms (log-rank, weighted or not, Cox's model of the arm, restricted means) is
computed from this table, so the data are read once. Whole days are counted into a histogram, without sorting.
Real times are grouped by buckets: only the event times are sorted, and the participants are counted between
them. Ties are exact equality of times. All of it is compiled and allocates nothing: the caller brings the
working memory (`two_arm_scratch`), so a loop over many trials can reuse it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit

_U = np.uint64
SMALL = 65_536
"""Below this many participants two counts fit in 32 bits."""
DENSE = 8
"""A histogram of days is used while it has at most this many cells per participant."""


class Scratch(NamedTuple):
    """Working memory for the analysis of one trial after another, and the risk table found in it.

    With capacity for `events` events and `strata` strata:

    cells    uint32 or uint64 [>= 2 (events + 1)]  pairs of counts, arm 1 in the upper half; a histogram of
                                                   days takes 2 strata days of them; 32 bits below 65,536
                                                   participants
    days     int                 days that the histogram has, from day 0; 0 for none
    table    float64[5, events]  at risk in arms 0 and 1 just before an event time, events in arms 0 and 1 at
                                 it, the time; one row (second index) for each distinct event time of a
                                 stratum, times rising within a stratum
    first    int64[strata + 1]   rows first[s] .. first[s + 1] - 1 belong to stratum s
    bucket   int32[>= max(2 events, strata) + 1]    where the event times of each interval of time begin
    moment   float64[2, events]  event times before and after they are sorted
    home     int32[events]       the bucket of each event
    last     float64[strata, 2]  longest time observed, by stratum and arm (restricted means only)
    size     float64[strata]     participants (restricted means only)
    """

    cells: NDArray[Any]
    days: int
    table: NDArray[np.float64]
    first: NDArray[np.int64]
    bucket: NDArray[np.int32]
    moment: NDArray[np.float64]
    home: NDArray[np.int32]
    last: NDArray[np.float64]
    size: NDArray[np.float64]


def two_arm_scratch(
    participants: int, n_strata: int = 1, last_day: int | None = None, events: int | None = None
) -> Scratch:
    """Working memory for trials of at most `participants` people, with at most `events` events (everybody,
    where not said).

    last_day: the latest day that occurs, where times are whole days; without it, or where strata and days
    are many for the people there are, days are handled as real times are, with the same result.
    """
    most = participants if events is None else min(events, participants)
    cells, days = 2 * (most + 1), 0
    if last_day is not None and n_strata * (last_day + 1) <= max(DENSE * participants, 4096):
        days = last_day + 1
        cells = max(cells, 2 * n_strata * days)
    return Scratch(
        cells=np.empty(cells, np.uint32 if participants < SMALL else np.uint64),
        days=days,
        table=np.empty((5, most)),
        first=np.empty(n_strata + 1, np.int64),
        bucket=np.empty(max(2 * most, n_strata) + 1, np.int32),
        moment=np.empty((2, most)),
        home=np.empty(most, np.int32),
        last=np.empty((n_strata, 2)),
        size=np.empty(n_strata),
    )


@njit
def _half(cells):
    """Bits of one count: half a cell."""
    return _U(cells.itemsize * 4)


@njit
def _too_many(participants, cells):
    """Whether a count could overflow its half of a cell."""
    return cells.itemsize == 4 and participants >= SMALL


@njit
def _all_fit(days, arm, stratum, n_strata, width):
    """Whether every row belongs to the comparison and its day to the histogram. A negative number is a very
    large one without a sign, so three maxima answer it."""
    last = np.uint32(0)
    side = np.uint8(0)
    level = np.uint32(0)
    for i in range(days.shape[0]):
        last = max(last, np.uint32(days[i]))
    for i in range(days.shape[0]):
        side = max(side, arm[i])
    for i in range(days.shape[0]):
        level = max(level, np.uint32(stratum[i]))
    return last < width and side <= 1 and level < n_strata


@njit
def _fill_days(days, event, arm, stratum, n_strata, width, cells):
    """Count who leaves observation, by stratum and day: censored in the first half of `cells`, events in the
    second. False where a day lies beyond the histogram."""
    if not _all_fit(days, arm, stratum, n_strata, width):
        return _fill_some_days(days, event, arm, stratum, n_strata, width, cells)
    half = _half(cells)
    across = _U(width)
    events = _U(n_strata) * across
    cells[: 2 * n_strata * width] = 0
    if n_strata == 1:
        for i in range(days.shape[0]):
            at = _U(np.uint32(days[i])) + events * _U(event[i] != 0)
            cells[at] += _U(1) << (_U(arm[i]) * half)
    else:
        for i in range(days.shape[0]):
            at = _U(np.uint32(stratum[i])) * across + _U(np.uint32(days[i])) + events * _U(event[i] != 0)
            cells[at] += _U(1) << (_U(arm[i]) * half)
    return True


@njit
def _fill_some_days(days, event, arm, stratum, n_strata, width, cells):
    """As `_fill_days`, leaving out the rows that do not belong."""
    half = _half(cells)
    across = _U(width)
    strata = _U(n_strata)
    events = strata * across
    cells[: 2 * n_strata * width] = 0
    for i in range(days.shape[0]):
        day = _U(np.uint32(days[i]))
        level = _U(np.uint32(stratum[i]))
        side = _U(arm[i])
        if level < strata and side <= _U(1):
            if day < across:
                at = level * across + day + events * _U(event[i] != 0)
                cells[at] += _U(1) << (side * half)
            elif days[i] >= 0:
                return False
    return True


@njit
def _read_cells(begin, width, events, cells, table, found):
    """Table rows of one stratum from its counts, cell k being time k. -1: no room in the table."""
    half = _half(cells)
    mask = (_U(1) << half) - _U(1)
    censored = cells[begin : begin + width]
    died = cells[begin + events : begin + events + width]
    n0 = table[0]
    n1 = table[1]
    d0 = table[2]
    d1 = table[3]
    when = table[4]
    room = _U(n0.shape[0])
    row = _U(found)
    present = _U(0)
    for k in range(width):
        present += _U(censored[k]) + _U(died[k])
    for k in range(width):
        deaths = _U(died[k])
        if deaths != _U(0):
            if row >= room:
                return -1
            n0[row] = np.float64(np.int64(present & mask))
            n1[row] = np.float64(np.int64(present >> half))
            d0[row] = np.float64(np.int64(deaths & mask))
            d1[row] = np.float64(np.int64(deaths >> half))
            when[row] = k
            row += _U(1)
        present -= deaths + _U(censored[k])
    return np.int64(row)


@njit
def _bucket_of(time, low, scale, count):
    """The interval of time that holds `time` >= low. Never falls as time rises: rounding keeps order."""
    place = (time - low) * scale
    return np.int64(place) if place < count - 1 else count - 1


@njit
def _events_by_bucket(time, event, arm, stratum, n_strata, scratch):
    """Put the event times in order of bucket. Returns (events, low, scale, buckets per stratum); events is -1
    where they have no room."""
    moment = scratch.moment[0]
    home = scratch.home
    found = 0
    low = np.inf
    high = -np.inf
    strata = _U(n_strata)
    for i in range(time.shape[0]):
        if event[i] and _U(np.uint32(stratum[i])) < strata and arm[i] <= 1:
            t = np.float64(time[i]) + 0.0
            if t >= 0.0 and t < np.inf:
                if found == moment.shape[0]:
                    return -1, 0.0, 0.0, 1
                moment[found] = t
                home[found] = stratum[i]
                found += 1
                low = min(low, t)
                high = max(high, t)
    count = max(1, min((scratch.bucket.shape[0] - 1) // n_strata, 2 * found // n_strata))
    span = high - low
    scale = count / span if span > 0.0 else 0.0
    if not (scale > 0.0 and scale < np.inf and span < np.inf):
        scale = 0.0
        count = 1
    bucket = scratch.bucket
    if n_strata * count >= bucket.shape[0]:
        return -1, 0.0, 0.0, 1
    bucket[: n_strata * count + 1] = 0
    for k in range(found):
        b = home[k] * count + _bucket_of(moment[k], low, scale, count)
        home[k] = b
        bucket[b + 1] += 1
    for b in range(n_strata * count):
        bucket[b + 1] += bucket[b]
    ordered = scratch.moment[1]
    for k in range(found):
        # each bucket is filled from its start, so that bucket[b] becomes its end
        b = home[k]
        ordered[bucket[b]] = moment[k]
        bucket[b] += 1
    return found, low, scale, count


@njit
def _sort_few(values):
    """Insertion sort of a handful; anything larger is left to the library."""
    if values.shape[0] > 24:
        values.sort()
        return
    for k in range(1, values.shape[0]):
        x = values[k]
        j = k - 1
        while j >= 0 and values[j] > x:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = x


@njit
def _distinct_times(count, n_strata, scratch):
    """Sort within buckets and keep each time once, in the fifth line of the table; `bucket[b]` becomes the
    first row of bucket b. Returns the number of rows."""
    bucket = scratch.bucket
    ordered = scratch.moment[1]
    when = scratch.table[4]
    rows = 0
    begin = 0
    for s in range(n_strata):
        scratch.first[s] = rows
        for b in range(s * count, (s + 1) * count):
            end = bucket[b]
            bucket[b] = rows
            if end - begin > 1:
                _sort_few(ordered[begin:end])
            for k in range(begin, end):
                if k == begin or ordered[k] != ordered[k - 1]:
                    when[rows] = ordered[k]
                    rows += 1
            begin = end
    scratch.first[n_strata] = rows
    bucket[n_strata * count] = rows
    return rows


@njit
def _first_later(t, at, end, when):
    """First row at or after `at` whose time is later than t, before `end`."""
    while end - at > _U(8):
        middle = (at + end) >> _U(1)
        if when[middle] <= t:
            at = middle + _U(1)
        else:
            end = middle
    while at < end and when[at] <= t:
        at += _U(1)
    return at


@njit
def _table_by_bucket(time, event, arm, stratum, n_strata, scratch):
    if _too_many(time.shape[0], scratch.cells):
        return -1
    found, low, scale, count = _events_by_bucket(time, event, arm, stratum, n_strata, scratch)
    if found < 0:
        return -1
    rows = _distinct_times(count, n_strata, scratch)
    cells = scratch.cells
    half = _half(cells)
    bucket = scratch.bucket
    when = scratch.table[4]
    first = scratch.first
    events = _U(rows + 1)
    cells[: 2 * (rows + 1)] = 0
    strata = _U(n_strata)
    for i in range(time.shape[0]):
        s = _U(np.uint32(stratum[i]))
        side = _U(arm[i])
        t = np.float64(time[i])
        if s < strata and side <= _U(1) and t >= low:
            b = s * _U(count) + _U(_bucket_of(t, low, scale, count))
            # a participant is counted in the cell of the last row at which they were still present
            passed = _first_later(t, _U(bucket[b]), _U(bucket[b + _U(1)]), when)
            cell = passed if passed > _U(first[s]) else _U(0)
            cells[cell + (events if event[i] and t < np.inf else _U(0))] += _U(1) << (side * half)
    for level in range(n_strata):
        _count_rows(first[level], first[level + 1], rows + 1, cells, scratch.table)
    return rows


@njit
def _count_rows(begin, end, events, cells, table):
    """Numbers at risk and events of the rows of one stratum from the cells, one past each row."""
    half = _half(cells)
    mask = (_U(1) << half) - _U(1)
    present = _U(0)
    for row in range(end - 1, begin - 1, -1):
        deaths = _U(cells[events + row + 1])
        present += deaths + _U(cells[row + 1])
        table[0, row] = np.float64(np.int64(present & mask))
        table[1, row] = np.float64(np.int64(present >> half))
        table[2, row] = np.float64(np.int64(deaths & mask))
        table[3, row] = np.float64(np.int64(deaths >> half))


@njit
def risk_table_of_times(time, event, arm, stratum, n_strata, scratch):
    """Fill `scratch.table` and `scratch.first` from times of any kind; returns the number of rows.

    time: [n], any unit, >= 0; event: [n], 1 for an event; arm: uint8[n] in {0, 1}; stratum: int32[n] in
    0..n_strata-1. Rows with another arm or stratum, or a negative or missing time, are left out. -1: the
    working memory is too small. Time of the order of n, plus sorting events within short intervals.
    """
    return _table_by_bucket(time, event, arm, stratum, n_strata, scratch)


@njit
def risk_table_of_days(days, event, arm, stratum, n_strata, scratch):
    """As `risk_table_of_times`, for int32 whole days: counted into a histogram where the working memory has
    one that reaches the last day."""
    width = scratch.days
    if _too_many(days.shape[0], scratch.cells):
        return -1
    if width == 0 or not _fill_days(days, event, arm, stratum, n_strata, width, scratch.cells):
        return _table_by_bucket(days, event, arm, stratum, n_strata, scratch)
    found = 0
    for s in range(n_strata):
        scratch.first[s] = found
        found = _read_cells(s * width, width, n_strata * width, scratch.cells, scratch.table, found)
        if found < 0:
            return -1
    scratch.first[n_strata] = found
    return found


@njit
def follow_up(time, arm, stratum, n_strata, scratch):
    """Fill `scratch.last` and `scratch.size`: the longest time observed in each stratum and arm (-1 where
    there is nobody) and the participants of each stratum."""
    scratch.last[:n_strata] = -1.0
    scratch.size[:n_strata] = 0.0
    for i in range(time.shape[0]):
        s = stratum[i]
        if 0 <= s < n_strata and arm[i] <= 1 and time[i] >= 0:
            scratch.size[s] += 1.0
            if time[i] > scratch.last[s, arm[i]]:
                scratch.last[s, arm[i]] = time[i]
