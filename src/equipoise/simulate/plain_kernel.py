"""The loop of plain event-time trials: people drawn, events selected, looks timed, risk tables built.

One pass over the participants draws their chances in loops without branches. Only those whose event or dropout
can come before the end of the trial (about a third, usually) need a logarithm, and only their events are
sorted: everybody else leaves at the cut-off, in reverse order of arrival, and is merely counted. People are
numbered by arrival: given their total, the arrivals of a Poisson process are order statistics, which gaps of
unit exponentials yield in order (Devroye 1986, section V.2), so nobody is sorted by arrival either.

The tests and the estimate are those of `equipoise.analyse.survival`, on its table of risk sets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.analyse.risk_table import Scratch, two_arm_scratch
from equipoise.analyse.two_arm import (
    cox_of_table,
    logrank_of_table,
    restricted_means_of_table,
    weighted_logrank_of_table,
)
from equipoise.simulate.looks import cut_offs
from equipoise.virtual.maths import log, normal_share
from equipoise.virtual.philox import _unit as unit
from equipoise.virtual.philox import block, split_seed, uniforms
from equipoise.virtual.streams import PLAIN_BLOCK, PLAIN_PERSON, PLAIN_REPORT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]

LOG_RANK, MAX_COMBO, RESTRICTED_MEAN = 0, 1, 2
"""Tests; the log-rank may have Fleming-Harrington weights."""
PERMUTED_BLOCKS, LARGE_BLOCKS, SIMPLE = 0, 1, 2
"""How participants are allocated; blocks are large when their arrangements are too many for a table."""
DAY, EVENTS, EVENTS_0, EVENTS_1, ENROLLED, Z, INFORMATION, LOG_HR, LOG_SE, P, RMST, RMST_SE = range(12)
"""Columns of a look."""
COLUMNS = 12

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


class Plan(NamedTuple):
    """A plain trial as the loop needs it. Arm 0 is the reference arm; a cell is arm x strata + stratum."""

    participants: int
    whole_days: int
    accrual_start: Floats
    """Start of each piece of the accrual, rising (days), with the end of the last one at the end."""
    accrual_mass: Floats
    """Participants expected before each of these times, in any unit."""
    stratum_share: Floats
    """Cumulative, one per stratum."""
    method: int
    arrangements: Words
    """Of a permuted block; bit j is the arm of its j-th participant."""
    block: int
    ratio: Ints
    starts: Floats
    """Start of each piece of the hazards (days), shape (pieces,)."""
    hazards: Floats
    """Per day, shape (cells, pieces)."""
    cumulative: Floats
    """Cumulative hazard at `starts`, shape (cells, pieces)."""
    dropout: Floats
    """Mean time to dropout by arm (days); inf: none."""
    delay: Floats
    """Mean time from an event to its report (days), one element; 0: none."""
    horizons: Floats
    """Days of the trial up to which events are searched for, one after another; the last is inf."""
    event_word: Ints
    """Smallest first word of an event before each horizon, shape (horizons, cells)."""
    dropout_word: Ints
    """Smallest word of a dropout before each horizon, shape (horizons, arms)."""
    primary_events: int
    """Events that end the trial; 0: none."""
    longest: float
    """Days from the first randomisation to the end of the trial; inf: no limit."""
    stratified: int
    test: int
    rho: float
    gamma: float
    horizon: float
    """Of the restricted mean (days)."""


class Work(NamedTuple):
    """Room for one trial after another. The first group has one element per participant (and one more), the
    second one per participant who may leave before the end."""

    arrival: Floats
    cell: Bytes
    side: Bytes
    """Cell of the analysis: arm x strata of the analysis + stratum."""
    high: Words
    low: Words
    leave: Words
    gap: Words
    gone: Bytes
    listed: Ints

    event_after: Floats
    dropout_after: Floats
    event_time: Floats
    event_day: Floats
    known_day: Floats
    event_person: Ints
    dropout_time: Floats
    dropout_person: Ints
    event_order: Ints
    dropout_order: Ints
    spare: Floats
    place: Ints

    rows: Ints
    """Rows of the risk table by stratum of the analysis."""
    table: Scratch
    """The risk table, and the working memory of its statistics."""
    weights: Floats
    """Exponents (rho, gamma) of the weighted log-ranks, shape (weights, 2)."""
    score: Floats
    covariance: Floats
    at_time: Floats


def workspace(plan: Plan) -> Work:
    """Room for trials of this plan: about 300 bytes per participant."""
    n = plan.participants + 1
    strata = len(plan.stratum_share) if plan.stratified else 1
    weights = np.array([[plan.rho, plan.gamma]])
    k = len(weights)

    def floats() -> Floats:
        return np.empty(n, np.float64)

    def ints() -> Ints:
        return np.empty(n, np.int64)

    def words() -> Words:
        return np.empty(n, np.uint32)

    return Work(
        floats(), np.empty(n, np.uint8), np.empty(n, np.uint8), words(), words(), words(), words(),
        np.zeros(n, np.uint8), ints(),
        floats(), floats(), floats(), floats(), floats(), ints(), floats(), ints(), ints(), ints(), floats(),
        np.empty(2 * n + 8, np.int64),
        np.empty(strata, np.int64), two_arm_scratch(n, strata), weights,
        np.empty(k), np.empty((k, k)), np.empty(k),
    )  # fmt: skip


# --- who comes, and what becomes of them --------------------------------------------------------------------


@njit
def _draw(seed, trial, count, high, low, gap, leave):
    """The words of persons 0 .. count - 1; no branches, so that the compiler works on several at once."""
    k0, k1 = split_seed(seed)
    c0, c3 = np.uint64(PLAIN_PERSON), np.uint64(trial) & _LOW
    for i in range(np.uint64(count)):
        x0, x1, x2, x3 = block(c0, np.uint64(0), i & _LOW, c3, k0, k1)
        high[i] = x0
        low[i] = x1
        gap[i] = x2
        leave[i] = x3


@njit
def _exponentials(word, count, out):
    """Unit exponentials of the first `count` words; a resolution of 2^-32 in probability."""
    for i in range(np.uint64(count)):
        out[i] = -log((np.float64(np.int64(word[i])) + 0.5) * 2.3283064365386963e-10)


@njit
def _arrive(plan, work):
    """Arrivals in order: the normalised sums of gaps, spread by the intensity of the accrual."""
    n = plan.participants
    arrival = work.arrival
    _exponentials(work.gap, n + 1, arrival)
    total = 0.0
    for i in range(n + 1):
        total += arrival[i]
        arrival[i] = total
    pieces = plan.accrual_mass.shape[0] - 1
    scale = plan.accrual_mass[pieces] / total
    j = 0
    start = plan.accrual_start[0]
    mass = plan.accrual_mass[0]
    per_mass = (plan.accrual_start[1] - start) / (plan.accrual_mass[1] - mass)
    if pieces == 1:
        for i in range(np.uint64(n)):
            arrival[i] = start + (arrival[i] * scale - mass) * per_mass
    else:
        for i in range(n):
            reached = arrival[i] * scale
            while j < pieces - 1 and reached >= plan.accrual_mass[j + 1]:
                j += 1
                start = plan.accrual_start[j]
                mass = plan.accrual_mass[j]
                per_mass = (plan.accrual_start[j + 1] - start) / (plan.accrual_mass[j + 1] - mass)
            arrival[i] = start + (reached - mass) * per_mass
    if plan.whole_days:
        for i in range(np.uint64(n)):
            arrival[i] = np.floor(arrival[i])


@njit
def _allocate(plan, seed, trial, work):
    """Stratum and arm of everybody, in order of arrival: `cell`."""
    n, strata = plan.participants, plan.stratum_share.shape[0]
    cell = work.cell
    if strata == 1 and plan.method == PERMUTED_BLOCKS:
        _allocate_blocks(plan, seed, trial, cell)
        return
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & _LOW
    shares = plan.ratio.sum()
    begun = np.zeros(strata, np.int64)
    left = np.zeros(strata, np.int64)
    left1 = np.zeros(strata, np.int64)
    bits = np.zeros(strata, np.uint32)
    for i in range(n):
        _, in_stratum, in_simple, in_block = block(
            np.uint64(PLAIN_PERSON), np.uint64(1), np.uint64(i), c3, k0, k1
        )
        s = 0
        u = (np.float64(np.int64(in_stratum)) + 0.5) * 2.3283064365386963e-10
        while s < strata - 1 and u >= plan.stratum_share[s]:
            s += 1
        if plan.method == SIMPLE:
            arm = np.int64((in_simple * np.uint64(shares)) >> _32) >= plan.ratio[0]
        else:
            if left[s] == 0:
                left[s] = plan.block
                left1[s] = plan.block // shares * plan.ratio[1]
                if plan.method == PERMUTED_BLOCKS:
                    bits[s] = _arrangement(plan, seed, trial, s, begun[s])
                begun[s] += 1
            if plan.method == PERMUTED_BLOCKS:
                arm = (bits[s] >> np.uint32(plan.block - left[s])) & np.uint32(1) == 1
            else:
                # one of the places that are left in the block
                arm = np.int64((in_block * np.uint64(left[s])) >> _32) < left1[s]
            left[s] -= 1
            left1[s] -= arm
        cell[i] = arm * strata + s


@njit
def _arrangement(plan, seed, trial, stratum, number):
    """The arrangement of the number-th block of a stratum."""
    k0, k1 = split_seed(seed)
    words = block(
        np.uint64(PLAIN_BLOCK), np.uint64(stratum), np.uint64(number >> 2), np.uint64(trial) & _LOW, k0, k1
    )
    which = number & 3
    word = words[0] if which == 0 else words[1] if which == 1 else words[2] if which == 2 else words[3]
    return plan.arrangements[(word * np.uint64(plan.arrangements.shape[0])) >> _32]


@njit
def _allocate_blocks(plan, seed, trial, cell):
    """Without strata, small blocks: the same as `_allocate`, block by block."""
    n, size = plan.participants, plan.block
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & _LOW
    many = np.uint64(plan.arrangements.shape[0])
    i = 0
    number = np.uint64(0)
    while i < n:
        words = block(np.uint64(PLAIN_BLOCK), np.uint64(0), number, c3, k0, k1)
        number += np.uint64(1)
        for word in words:
            bits = plan.arrangements[(word * many) >> _32]
            for j in range(min(size, n - i)):
                cell[i + j] = (bits >> np.uint32(j)) & np.uint32(1)
            i += size
            if i >= n:
                break


@njit
def draw_people(plan, seed, trial, work):
    """Arrival, cell and words of everybody into `work`."""
    n = plan.participants
    _draw(seed, trial, n + 1, work.high, work.low, work.gap, work.leave)
    _arrive(plan, work)
    _allocate(plan, seed, trial, work)
    strata = plan.stratum_share.shape[0]
    if plan.stratified or strata == 1:
        work.side[:n] = work.cell[:n]
    else:
        for i in range(n):
            work.side[i] = work.cell[i] // strata


@njit
def time_of(plan, cell, threshold):
    """The time at which the cumulative hazard of a cell reaches a threshold (days); inf if it never does."""
    j = plan.starts.shape[0] - 1
    while plan.cumulative[cell, j] > threshold:
        j -= 1
    # a piece without hazard is passed in no time: the threshold belongs to the last piece that begins below it
    if plan.hazards[cell, j] == 0.0:
        return math.inf
    return plan.starts[j] + (threshold - plan.cumulative[cell, j]) / plan.hazards[cell, j]


@njit
def _up(plan, time):
    """A time since randomisation as it is recorded: the whole day that it falls on, the first being day 1."""
    if plan.whole_days and time < 1e15:
        return max(np.ceil(time), 1.0)
    return time


@njit
def report_delay(plan, seed, trial, person):
    """Days from an event to its report."""
    if plan.delay[0] == 0.0:
        return 0.0
    delay = -log(uniforms(seed, PLAIN_REPORT, 0, person, trial)[0]) * plan.delay[0]
    return np.floor(delay + 0.5) if plan.whole_days else delay


@njit
def _leavers(plan, seed, trial, level, work):
    """Who has an event, or drops out before one, by horizon `level`: numbers of events and of dropouts.

    Events after the horizon are left out; what comes before it is complete.
    """
    n, strata = plan.participants, plan.stratum_share.shape[0]
    listed, cell = work.listed, work.cell
    event_word = plan.event_word[level]
    dropout_word = np.empty(2 * strata, np.int64)
    for c in range(2 * strata):
        dropout_word[c] = plan.dropout_word[level, c // strata]
    found = 0
    for i in range(n):
        listed[found] = i
        c = cell[i]
        found += (work.high[i] >= event_word[c]) | (work.leave[i] >= dropout_word[c])
    event_after, dropout_after = work.event_after, work.dropout_after
    for k in range(found):
        i = listed[k]
        event_after[k] = unit(np.uint64(work.high[i]), np.uint64(work.low[i]))
        dropout_after[k] = (np.float64(np.int64(work.leave[i])) + 0.5) * 2.3283064365386963e-10
    for k in range(np.uint64(found)):
        event_after[k] = -log(event_after[k])
        dropout_after[k] = -log(dropout_after[k])
    events = 0
    dropouts = 0
    horizon = plan.horizons[level]
    single = plan.starts.shape[0] == 1
    for k in range(found):
        i = listed[k]
        c = np.int64(cell[i])
        if single:
            time = event_after[k] / plan.hazards[c, 0]
        else:
            time = time_of(plan, c, event_after[k])
        leaves = dropout_after[k] * plan.dropout[c // strata]
        if time <= leaves:
            time = _up(plan, time)
            day = work.arrival[i] + time
            work.event_time[events] = time
            work.event_day[events] = day
            work.event_person[events] = i
            events += day <= horizon and day < math.inf
        else:
            work.dropout_time[dropouts] = _up(plan, leaves)
            work.dropout_person[dropouts] = i
            dropouts += 1
    if plan.delay[0] > 0.0:
        for k in range(events):
            work.known_day[k] = work.event_day[k] + report_delay(plan, seed, trial, work.event_person[k])
    else:
        work.known_day[:events] = work.event_day[:events]
    return events, dropouts


# --- order ----------------------------------------------------------------------------------------------------


@njit
def nth_smallest(values, count, nth, spare):
    """The nth smallest (from 1) of the first `count` values (finite); `spare`: as much room.

    By counting into as many drawers as there are values, then within the one drawer that holds it.
    """
    if nth > count:
        return math.inf
    spare[:count] = values[:count]
    drawers = np.zeros(64, np.int64)
    while count > 24:
        low, high = spare[0], spare[0]
        for k in range(1, count):
            low = min(low, spare[k])
            high = max(high, spare[k])
        if high <= low:
            return low
        scale = 63.999 / (high - low)
        drawers[:] = 0
        for k in range(count):
            drawers[np.int64((spare[k] - low) * scale)] += 1
        here = 0
        while nth > drawers[here]:
            nth -= drawers[here]
            here += 1
        kept = 0
        for k in range(count):
            value = spare[k]
            spare[kept] = value
            kept += np.int64((value - low) * scale) == here
        count = kept
    for k in range(1, count):
        value = spare[k]
        j = k - 1
        while j >= 0 and spare[j] > value:
            spare[j + 1] = spare[j]
            j -= 1
        spare[j + 1] = value
    return spare[nth - 1]


@njit
def _sift(order, key, first, root, size):
    """Restore the heap below `root` of order[first : first + size]."""
    moved = order[first + root]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        if child + 1 < size and key[order[first + child]] < key[order[first + child + 1]]:
            child += 1
        if not key[moved] < key[order[first + child]]:
            break
        order[first + root] = order[first + child]
        root = child
    order[first + root] = moved


@njit
def _heap_sort(order, key, first, size):
    for root in range(size // 2 - 1, -1, -1):
        _sift(order, key, first, root, size)
    for last in range(size - 1, 0, -1):
        order[first], order[first + last] = order[first + last], order[first]
        _sift(order, key, first, 0, last)


@njit
def sort_times(key, count, order, place):
    """Positions 0 .. count - 1 into `order`, rising by key (finite).

    As many drawers as values, then insertion within each; a drawer that holds many is sorted by a heap, so
    that the time stays within n log n whatever the distribution. `place`: whole numbers, 2 count + 2 of them.
    """
    if count == 0:
        return
    low, high = key[0], key[0]
    for k in range(1, count):
        low = min(low, key[k])
        high = max(high, key[k])
    scale = (count - 0.001) / (high - low) if high > low else 0.0
    place[: count + 2] = 0
    drawer = place[count + 2 :]
    for k in range(count):
        d = np.int64((key[k] - low) * scale)
        drawer[k] = d
        place[d + 1] += 1
    most = 0
    for d in range(1, count + 1):
        most = max(most, place[d])
        place[d] += place[d - 1]
    for k in range(count):
        d = drawer[k]
        order[place[d]] = k
        place[d] += 1
    if most > 32 and high > low:
        first = 0
        for d in range(count):
            size = place[d] - first
            if size > 32:
                _heap_sort(order, key, first, size)
            first = place[d]
    for k in range(1, count):
        moved = order[k]
        value = key[moved]
        j = k - 1
        while j >= 0 and key[order[j]] > value:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = moved


@njit
def _sort_leavers(last, events, dropouts, work):
    """Keep the events and dropouts up to the day `last` and put them in order of time; returns how many."""
    kept = 0
    for k in range(events):
        work.event_time[kept] = work.event_time[k]
        work.event_day[kept] = work.event_day[k]
        work.known_day[kept] = work.known_day[k]
        work.event_person[kept] = work.event_person[k]
        kept += work.event_day[k] <= last
    left = 0
    for k in range(dropouts):
        day = work.arrival[work.dropout_person[k]] + work.dropout_time[k]
        work.dropout_time[left] = work.dropout_time[k]
        work.dropout_person[left] = work.dropout_person[k]
        left += day <= last
    sort_times(work.event_time, kept, work.event_order, work.place)
    sort_times(work.dropout_time, left, work.dropout_order, work.place)
    return kept, left


# --- one look -------------------------------------------------------------------------------------------------


@njit
def _count(plan, cut, work, strata, at_risk):
    """Participants randomised by a cut-off, and `at_risk`: how many in each cell of the analysis."""
    side = work.side
    enrolled = plan.participants
    while enrolled > 0 and work.arrival[enrolled - 1] > cut:
        enrolled -= 1
    if strata == 1:
        others = 0
        for i in range(np.uint64(enrolled)):
            others += side[i]
        at_risk[0], at_risk[1] = enrolled - others, others
    else:
        at_risk[:] = 0
        for i in range(enrolled):
            at_risk[side[i]] += 1
    return enrolled


@njit
def _follow_up(plan, cut, enrolled, at_risk, events, dropouts, strata, work):
    """Participants of each stratum, and the longest time that anybody in it was observed, by arm."""
    last, size = work.table.last, work.table.size
    for s in range(strata):
        size[s] = at_risk[s] + at_risk[strata + s]
        last[s, 0] = -1.0
        last[s, 1] = -1.0
    for k in range(events):
        work.gone[work.event_person[k]] = 1
    for k in range(dropouts):
        work.gone[work.dropout_person[k]] = 1
    for i in range(enrolled):
        s = np.int64(work.side[i])
        if work.gone[i] == 0:
            last[s % strata, s // strata] = max(last[s % strata, s // strata], cut - work.arrival[i])
    for k in range(events):
        i = work.event_person[k]
        s = np.int64(work.side[i])
        if i < enrolled:
            time = min(cut - work.arrival[i], work.event_time[k])
            last[s % strata, s // strata] = max(last[s % strata, s // strata], time)
    for k in range(dropouts):
        i = work.dropout_person[k]
        s = np.int64(work.side[i])
        if i < enrolled:
            time = min(cut - work.arrival[i], work.dropout_time[k])
            last[s % strata, s // strata] = max(last[s % strata, s // strata], time)


@njit
def _known(cut, last_look, events, dropouts, strata, work):
    """Mark who has left by a cut-off for good; the events known by then into `listed`, in order of time.

    An event that is not known yet (the last look knows all) leaves its participant under observation. The
    rows that each stratum takes at most are reserved in `rows` and `table.first`. Returns the events and
    those in arm 1.
    """
    side, gone, first, rows = work.side, work.gone, work.table.first, work.rows
    counted = 0
    events1 = 0
    rows[:] = 0
    for k in range(events):
        e = work.event_order[k]
        seen = work.event_day[e] <= cut and (last_look or work.known_day[e] <= cut)
        work.listed[counted] = e
        i = work.event_person[e]
        gone[i] = seen
        s = np.int64(side[i])
        counted += seen
        events1 += seen and s >= strata
        if strata > 1:
            rows[s % strata] += seen
    for k in range(dropouts):
        i = work.dropout_person[k]
        gone[i] = work.arrival[i] + work.dropout_time[k] <= cut
    first[0] = 0
    for s in range(strata):
        first[s + 1] = first[s] + rows[s]
        rows[s] = first[s]
    return counted, events1


@njit
def _close_up(strata, work):
    """Take out the rows that were reserved for ties, so that strata follow each other; returns the rows."""
    first, rows, table = work.table.first, work.rows, work.table.table
    if strata == 1:
        first[1] = rows[0]
        return rows[0]
    end = 0
    for s in range(strata):
        begin = first[s]
        first[s] = end
        for g in range(begin, rows[s]):
            for line in range(5):
                table[line, end] = table[line, g]
            end += 1
    first[strata] = end
    return end


@njit
def risk_table(plan, cut, last_look, events, dropouts, work):
    """The risk table of the analysis, in `work.table`, as it stands at a cut-off.

    Returns (rows, enrolled, events in arm 0, events in arm 1).
    """
    arrival, side, gone, rows = work.arrival, work.side, work.gone, work.rows
    strata = plan.stratum_share.shape[0] if plan.stratified else 1
    n0, n1, d0, d1 = work.table.table[0], work.table.table[1], work.table.table[2], work.table.table[3]
    when = work.table.table[4]
    at_risk = np.zeros(2 * strata, np.int64)
    enrolled = _count(plan, cut, work, strata, at_risk)
    if plan.test == RESTRICTED_MEAN:
        _follow_up(plan, cut, enrolled, at_risk, events, dropouts, strata, work)
    counted, events1 = _known(cut, last_look, events, dropouts, strata, work)
    died = np.zeros(2 * strata, np.int64)
    present = enrolled
    left = 0
    k = 0
    while k < counted:
        now = work.event_time[work.listed[k]]
        while left < dropouts and work.dropout_time[work.dropout_order[left]] < now:
            i = work.dropout_person[work.dropout_order[left]]
            at_risk[side[i]] -= gone[i]
            left += 1
        while present > 0 and cut - arrival[present - 1] < now:
            present -= 1
            at_risk[side[present]] -= 1 - gone[present]
        begin = k
        while k < counted and work.event_time[work.listed[k]] == now:
            died[side[work.event_person[work.listed[k]]]] += 1
            k += 1
        for tied in range(begin, k):
            s = np.int64(side[work.event_person[work.listed[tied]]]) % strata
            if died[s] + died[strata + s] == 0:
                continue  # another event of this time and stratum made the row
            row = rows[s]
            n0[row] = at_risk[s]
            n1[row] = at_risk[strata + s]
            d0[row] = died[s]
            d1[row] = died[strata + s]
            when[row] = now
            at_risk[s] -= died[s]
            at_risk[strata + s] -= died[strata + s]
            died[s] = 0
            died[strata + s] = 0
            rows[s] += 1
    for k in range(events):
        gone[work.event_person[k]] = 0
    for k in range(dropouts):
        gone[work.dropout_person[k]] = 0
    return _close_up(strata, work), enrolled, counted - events1, events1


@njit
def analyse_look(plan, cut, last_look, events, dropouts, work, out):
    """One look: the test and the estimate into the columns `out`."""
    table = work.table
    strata = plan.stratum_share.shape[0] if plan.stratified else 1
    rows, enrolled, events0, events1 = risk_table(plan, cut, last_look, events, dropouts, work)
    out[DAY] = cut
    out[EVENTS] = events0 + events1
    out[EVENTS_0] = events0
    out[EVENTS_1] = events1
    out[ENROLLED] = enrolled
    score, variance = logrank_of_table(rows, table)
    beta, se, status, _ = cox_of_table(rows, table, True, score / variance if variance > 0.0 else 0.0)
    out[LOG_HR] = beta
    out[LOG_SE] = se
    if plan.test == RESTRICTED_MEAN:
        mean0, variance0, mean1, variance1 = restricted_means_of_table(strata, table, plan.horizon)
        variance = variance0 + variance1
        out[RMST] = mean1 - mean0
        out[RMST_SE] = math.sqrt(variance)
        out[INFORMATION] = 1.0 / variance
        score = -out[RMST] / variance
        variance = out[INFORMATION]
    elif plan.rho != 0.0 or plan.gamma != 0.0:
        weighted_logrank_of_table(strata, table, work.weights, work.score, work.covariance, work.at_time)
        score, variance = work.score[0], work.covariance[0, 0]
    out[INFORMATION] = variance
    if variance > 0.0:
        out[Z] = -score / math.sqrt(variance)
        out[P] = normal_share(-out[Z])


# --- one trial ------------------------------------------------------------------------------------------------


@njit
def _last_exit(plan, events, dropouts, work):
    """The day on which the last participant leaves; everybody is in one of the two lists."""
    last = 0.0
    for k in range(events):
        last = max(last, work.event_day[k])
    for k in range(dropouts):
        last = max(last, work.arrival[work.dropout_person[k]] + work.dropout_time[k])
    return last


@njit
def look_days(plan, rules, events, dropouts, complete, everybody, work, event_days, out):
    """The days of the looks into `out`; False when events after the day `complete` decide them."""
    first, last = work.arrival[0], work.arrival[plan.participants - 1]
    end = first + plan.longest
    if plan.primary_events > 0:
        end = min(end, nth_smallest(work.known_day, events, plan.primary_events, work.spare))
    if end == math.inf and everybody:
        end = _last_exit(plan, events, dropouts, work)
    if end > complete:
        return False
    for k in range(rules.events.shape[0]):
        wanted = rules.events[k]
        if wanted == plan.primary_events:
            event_days[k] = end  # or earlier than it can be waited for
        elif wanted > 0:
            event_days[k] = nth_smallest(work.known_day, events, wanted, work.spare)
    cut_offs(rules, event_days, first, last, end, out)
    return True


@njit
def simulate(plan, rules, seed, first, count, work, out, enrolled):
    """Trials first .. first + count - 1; out: float64[count, looks, COLUMNS], enrolled: int64[count]."""
    looks = rules.events.shape[0]
    days = np.empty(looks)
    event_days = np.empty(looks)
    out[:] = math.nan
    for row in range(count):
        trial = first + row
        draw_people(plan, seed, trial, work)
        for level in range(plan.horizons.shape[0]):
            events, dropouts = _leavers(plan, seed, trial, level, work)
            everybody = plan.horizons[level] == math.inf
            if look_days(
                plan, rules, events, dropouts, plan.horizons[level], everybody, work, event_days, days
            ):
                break
        events, dropouts = _sort_leavers(days[looks - 1], events, dropouts, work)
        for k in range(looks):
            if not math.isnan(days[k]):
                analyse_look(plan, days[k], k == looks - 1, events, dropouts, work, out[row, k])
        enrolled[row] = np.int64(out[row, looks - 1, ENROLLED])
