"""The loop of plain event-time trials: people drawn, events selected, looks timed, risk tables built.

One pass over the participants draws their chances in loops without branches. Only those whose event or
dropout can come before the end of the trial (about a third, usually) need a logarithm, and only their events
are sorted: everybody else leaves at the cut-off, in reverse order of arrival, and is merely counted. People
are numbered by arrival: given their total, the arrivals of a Poisson process are order statistics, which gaps
of unit exponentials yield in order (Devroye 1986, section V.2), so nobody is sorted by arrival either.

The tests and the estimate are those of `equipoise.analyse.survival`, on its table of risk sets.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.analyse.risk_table import Scratch
from equipoise.analyse.saddlepoint import saddlepoint_of_table
from equipoise.analyse.two_arm import (
    cox_of_table,
    logrank_of_table,
    restricted_means_of_table,
    weighted_logrank_of_table,
)
from equipoise.simulate.looks import cut_offs
from equipoise.virtual.maths import log, normal_share
from equipoise.virtual.philox import block, split_seed, uniforms, unit
from equipoise.virtual.streams import PLAIN_BLOCK, PLAIN_PERSON, PLAIN_REPORT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]

LOG_RANKS, RESTRICTED_MEAN = 0, 1
"""Tests: log-ranks, weighted or not, or the difference of restricted means."""
PERMUTED_BLOCKS, LARGE_BLOCKS, SIMPLE = 0, 1, 2
"""How participants are allocated; blocks are large when their arrangements are too many for a table."""
DAY, EVENTS, EVENTS_0, EVENTS_1, ENROLLED, Z, INFORMATION, LOG_HR, LOG_SE, P, RMST, RMST_SE = range(12)
"""Columns of a look."""
COLUMNS = 12

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


part = functools.partial(njit, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For what only compiled code calls: without doors from Python, which take long to compile."""


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
    delay: float
    """Mean time from an event to its report (days); 0: none."""
    horizons: Floats
    """Days of the trial up to which events are searched for, one after another; the last is inf."""
    event_word: Words
    """Smallest first word of an event before each horizon, shape (horizons, cells)."""
    dropout_word: Words
    """Smallest word of a dropout before each horizon, shape (horizons, arms)."""
    primary_events: int
    """Events that end the trial; 0: none."""
    longest: float
    """Days from the first randomisation to the end of the trial; inf: no limit."""
    stratified: int
    test: int
    saddlepoint: int
    """Whether z is the saddlepoint deviate of the log-rank statistic."""
    weights: Floats
    """Exponents (rho, gamma) of the log-ranks, shape (weights, 2): one, or those of MaxCombo."""
    horizon: float
    """Of the restricted mean (days)."""


class Work(NamedTuple):
    """Room for one trial after another, an array element per participant (and one more)."""

    arrival: Floats
    cell: Bytes
    side: Bytes
    """Cell of the analysis: arm x strata of the analysis + stratum."""
    gone: Bytes
    words: Words
    """Random words of each participant: lines HIGH, LOW, GAP, LEAVE."""
    times: Floats
    """Of those who may leave before the end: lines EVENT_AFTER to DROPOUT_TIME."""
    lists: Words
    """Positions: lines LISTED to BEFORE."""
    lost: Ints
    """Dropouts between one event and the next, by stratum of the analysis, packed as in `_rows`."""
    place: Ints
    rows: Ints
    """Rows of the risk table by stratum of the analysis."""
    table: Scratch
    """The risk table, and the working memory of its statistics."""


HIGH, LOW, GAP, LEAVE = range(4)
EVENT_AFTER, DROPOUT_AFTER, RATE, MEAN, EVENT_TIME, EVENT_DAY, KNOWN_DAY, DROPOUT_TIME = range(8)
LISTED, EVENT_PERSON, DROPOUT_PERSON, ORDER, BEFORE = range(5)
"""Lines of `Work`. ORDER: events in order of time; BEFORE: for each dropout the first event, in that order,
that it does not live to see."""


def workspace(plan: Plan) -> Work:
    """Room for trials of this plan: about 180 bytes per participant."""
    n = plan.participants + 1
    several = len(plan.stratum_share) > 1
    strata = len(plan.stratum_share) if plan.stratified else 1
    cell = np.empty(n, np.uint8)
    side = np.empty(n, np.uint8) if several and not plan.stratified else cell
    return Work(
        np.empty(n), cell, side, np.zeros(n, np.uint8), np.empty((4, n), np.uint32), np.empty((8, n)),
        np.empty((5, n), np.uint32), np.zeros((n, strata), np.int64), np.empty(2 * n + 8, np.int64),
        np.empty(strata, np.int64), _table(n, strata),
    )  # fmt: skip


def _table(rows: int, strata: int) -> Scratch:
    """Room for a risk table of so many rows, without what only its making from columns of times would
    need."""
    none = np.empty(0, np.int32)
    return Scratch(
        cells=np.empty(0, np.uint64), days=0, table=np.empty((5, rows)), first=np.empty(strata + 1, np.int64),
        bucket=none, moment=np.empty((2, 0)), home=none, last=np.empty((strata, 2)), size=np.empty(strata),
    )  # fmt: skip


# --- who comes, and what becomes of them --------------------------------------------------------------------


@part
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


@part
def _exponentials(word, count, out):
    """Unit exponentials of the first `count` words; a resolution of 2^-32 in probability."""
    for i in range(np.uint64(count)):
        out[i] = -log((np.float64(np.int64(word[i])) + 0.5) * 2.3283064365386963e-10)


@part
def _running_sums(x, count):
    """Running sums of the first `count` numbers, in place; returns their total.

    In four stretches side by side, so that one addition need not wait for the one before.
    """
    quarter = np.uint64(count) >> np.uint64(2)
    two, three = quarter + quarter, quarter + quarter + quarter
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for i in range(quarter):
        a += x[i]
        b += x[quarter + i]
        c += x[two + i]
        d += x[three + i]
        x[i], x[quarter + i], x[two + i], x[three + i] = a, b, c, d
    for i in range(quarter):
        x[quarter + i] += a
    b += a
    for i in range(quarter):
        x[two + i] += b
    c += b
    for i in range(quarter):
        x[three + i] += c
    d += c
    for i in range(three + quarter, np.uint64(count)):
        d += x[i]
        x[i] = d
    return d


@part
def _arrive(plan, work):
    """Arrivals in order: the normalised sums of gaps, spread by the intensity of the accrual."""
    n = plan.participants
    arrival = work.arrival
    _exponentials(work.words[GAP], n + 1, arrival)
    total = _running_sums(arrival, n + 1)
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


@part
def _allocate(plan, seed, trial, work):
    """Stratum and arm of everybody, in order of arrival: `cell`."""
    n, strata = plan.participants, plan.stratum_share.shape[0]
    cell = work.cell
    if strata == 1 and plan.method == PERMUTED_BLOCKS:
        _allocate_blocks(plan, seed, trial, work)
        return
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & _LOW
    shares = plan.ratio[0] + plan.ratio[1]
    begun, left, left1 = np.empty(strata, np.int64), np.empty(strata, np.int64), np.empty(strata, np.int64)
    bits = np.empty(strata, np.uint32)
    for s in range(strata):
        begun[s], left[s], left1[s], bits[s] = 0, 0, 0, 0
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


@part
def _arrangement(plan, seed, trial, stratum, number):
    """The arrangement of the number-th block of a stratum."""
    k0, k1 = split_seed(seed)
    words = block(
        np.uint64(PLAIN_BLOCK), np.uint64(stratum), np.uint64(number >> 2), np.uint64(trial) & _LOW, k0, k1
    )
    which = number & 3
    word = words[0] if which == 0 else words[1] if which == 1 else words[2] if which == 2 else words[3]
    return plan.arrangements[(word * np.uint64(plan.arrangements.shape[0])) >> _32]


@part
def _allocate_blocks(plan, seed, trial, work):
    """Without strata, small blocks: the same as `_allocate`, all blocks at once."""
    n, size = plan.participants, plan.block
    cell, word = work.cell, work.words[GAP]
    blocks = (n + size - 1) // size
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & _LOW
    for number in range(np.uint64((blocks + 3) // 4)):
        # `gap` has done its part; it has room for a word for each block of two, rounded up to fours
        at = number << np.uint64(2)
        w0, w1, w2, w3 = block(np.uint64(PLAIN_BLOCK), np.uint64(0), number, c3, k0, k1)
        word[at], word[at + np.uint64(1)], word[at + np.uint64(2)], word[at + np.uint64(3)] = w0, w1, w2, w3
    many = np.uint64(plan.arrangements.shape[0])
    at = np.uint64(0)
    whole = np.uint64(n // size)
    for number in range(whole):
        bits = plan.arrangements[(np.uint64(word[number]) * many) >> _32]
        if size == 4:
            for j in range(np.uint64(4)):
                cell[at + j] = (bits >> j) & np.uint32(1)
        else:
            for j in range(np.uint64(size)):
                cell[at + j] = (bits >> j) & np.uint32(1)
        at += np.uint64(size)
    if at < np.uint64(n):
        bits = plan.arrangements[(np.uint64(word[whole]) * many) >> _32]
        for j in range(np.uint64(n) - at):
            cell[at + j] = (bits >> j) & np.uint32(1)


@part
def draw_people(plan, seed, trial, work):
    """Arrival, cell and words of everybody into `work`."""
    n = plan.participants
    _draw(seed, trial, n + 1, work.words[HIGH], work.words[LOW], work.words[GAP], work.words[LEAVE])
    _arrive(plan, work)
    _allocate(plan, seed, trial, work)
    strata = plan.stratum_share.shape[0]
    if strata > 1 and not plan.stratified:
        for i in range(n):
            work.side[i] = work.cell[i] // strata


@part
def time_of(plan, cell, threshold):
    """The time at which the cumulative hazard of a cell reaches a threshold (days); inf if it never does."""
    j = plan.starts.shape[0] - 1
    while plan.cumulative[cell, j] > threshold:
        j -= 1
    # a piece without hazard is passed in no time: the threshold belongs to the last piece that begins below
    # it
    if plan.hazards[cell, j] == 0.0:
        return math.inf
    return plan.starts[j] + (threshold - plan.cumulative[cell, j]) / plan.hazards[cell, j]


@part
def report_delay(plan, seed, trial, person):
    """Days from an event to its report."""
    if plan.delay == 0.0:
        return 0.0
    delay = -log(uniforms(seed, PLAIN_REPORT, 0, person, trial)[0]) * plan.delay
    return np.floor(delay + 0.5) if plan.whole_days else delay


@part
def _may_leave(plan, level, work):
    """Positions of those whose event or dropout may come by horizon `level`, into `listed`; how many."""
    n, strata = plan.participants, plan.stratum_share.shape[0]
    listed, cell, high, leave, gone = (
        work.lists[LISTED],
        work.cell,
        work.words[HIGH],
        work.words[LEAVE],
        work.gone,
    )
    if strata == 1:
        event0, event1 = plan.event_word[level, 0], plan.event_word[level, 1]
        dropout0, dropout1 = plan.dropout_word[level, 0], plan.dropout_word[level, 1]
        for i in range(np.uint64(n)):
            event = event1 if cell[i] != 0 else event0
            dropout = dropout1 if cell[i] != 0 else dropout0
            gone[i] = (high[i] >= event) | (leave[i] >= dropout)
    else:
        for i in range(np.uint64(n)):
            c = np.uint32(cell[i])
            arm = np.uint32(c >= np.uint32(strata))
            gone[i] = (high[i] >= plan.event_word[level, c]) | (leave[i] >= plan.dropout_word[level, arm])
    found = np.uint64(0)
    for i in range(np.uint64(n)):
        listed[found] = i
        found += np.uint64(gone[i])
        gone[i] = 0
    return np.int64(found)


@part
def _leaving_times(plan, found, work):
    """Times from randomisation to event and to dropout of those listed."""
    listed, cell, rate, mean = work.lists[LISTED], work.cell, work.times[RATE], work.times[MEAN]
    event_after, dropout_after = work.times[EVENT_AFTER], work.times[DROPOUT_AFTER]
    strata = np.uint32(plan.stratum_share.shape[0])
    high, low, leave = work.lists[ORDER], work.lists[BEFORE], work.lists[DROPOUT_PERSON]  # not in use yet
    for k in range(np.uint64(found)):
        i = listed[k]
        c = np.uint32(cell[i])
        high[k], low[k], leave[k] = work.words[HIGH][i], work.words[LOW][i], work.words[LEAVE][i]
        rate[k] = plan.hazards[c, np.uint32(0)]
        mean[k] = plan.dropout[np.uint32(c >= strata)]
    for k in range(np.uint64(found)):
        event_after[k] = -log(unit(np.uint64(high[k]), np.uint64(low[k])))
    for k in range(np.uint64(found)):
        dropout_after[k] = -log((np.float64(np.int64(leave[k])) + 0.5) * 2.3283064365386963e-10) * mean[k]
    if plan.starts.shape[0] == 1:
        for k in range(np.uint64(found)):
            event_after[k] /= rate[k]
    else:
        for k in range(found):
            event_after[k] = time_of(plan, np.int64(cell[listed[k]]), event_after[k])


@part
def _recorded(plan, time, leaves):
    """Times since randomisation as they are recorded: the whole day that they fall on, the first being day
    1."""
    if plan.whole_days:
        return max(np.ceil(time), 1.0), max(np.ceil(leaves), 1.0)
    return time, leaves


@part
def leavers(plan, seed, trial, level, work):
    """Who has an event, or drops out before one, by horizon `level`: numbers of events and of dropouts.

    Events after the horizon are left out; what comes before it is complete.
    """
    found = _may_leave(plan, level, work)
    _leaving_times(plan, found, work)
    horizon = plan.horizons[level]
    event_after, dropout_after, arrival = work.times[EVENT_AFTER], work.times[DROPOUT_AFTER], work.arrival
    event_time, event_day = work.times[EVENT_TIME], work.times[EVENT_DAY]
    event_person = work.lists[EVENT_PERSON]
    dropout_time, dropout_person = work.times[DROPOUT_TIME], work.lists[DROPOUT_PERSON]
    events = np.uint64(0)
    dropouts = np.uint64(0)
    # both lists are written every time, and move on where it was right to: no branches
    for k in range(np.uint64(found)):
        i = work.lists[LISTED][k]
        time, leaves = event_after[k], dropout_after[k]
        first = time <= leaves
        time, leaves = _recorded(plan, time, leaves)
        day = arrival[i] + time
        event_time[events] = time
        event_day[events] = day
        event_person[events] = i
        dropout_time[dropouts] = leaves
        dropout_person[dropouts] = i
        events += np.uint64(first & (day <= horizon) & (day < math.inf))
        dropouts += np.uint64(not first)
    if plan.delay > 0.0:
        for k in range(events):
            work.times[KNOWN_DAY][k] = event_day[k] + report_delay(plan, seed, trial, event_person[k])
    else:
        for k in range(events):
            work.times[KNOWN_DAY][k] = event_day[k]
    return np.int64(events), np.int64(dropouts)


# --- order ------------------------------------------------------------------------------------------------


@njit
def nth_smallest(values, count, nth, spare):
    """The nth smallest (from 1) of the first `count` values (finite); `spare`: as much room.

    By counting into as many drawers as there are values, then within the one drawer that holds it.
    """
    if nth > count:
        return math.inf
    for k in range(np.uint64(count)):
        spare[k] = values[k]
    drawers = np.empty(64, np.int64)
    while count > 24:
        low, high = spare[0], spare[0]
        for k in range(1, count):
            low = min(low, spare[k])
            high = max(high, spare[k])
        if high <= low:
            return low
        scale = 63.999 / (high - low)
        for d in range(64):
            drawers[d] = 0
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


@part
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


@part
def _heap_sort(order, key, first, size):
    for root in range(size // 2 - 1, -1, -1):
        _sift(order, key, first, root, size)
    for last in range(size - 1, 0, -1):
        order[first], order[first + last] = order[first + last], order[first]
        _sift(order, key, first, 0, last)


@njit
def sort_times(key, count, order, place):
    """Positions 0 .. count - 1 into `order`, rising by key (finite). Returns (low, scale) of the drawers.

    As many drawers as values, then insertion within each; a drawer that holds many is sorted by a heap, so
    that the time stays within n log n whatever the distribution. Value x lies in drawer int((x - low) scale),
    and place[d] becomes the end of drawer d. `place`: whole numbers, 2 count + 2 of them.
    """
    if count == 0:
        return 0.0, 0.0
    n = np.uint64(count)
    low, high = key[0], key[0]
    for k in range(n):
        low = min(low, key[k])
        high = max(high, key[k])
    scale = (count - 0.001) / (high - low) if high > low else 0.0
    drawer = place[count + 2 :]
    for d in range(n + np.uint64(2)):
        place[d] = 0
    for k in range(n):
        its = np.uint64(np.int64((key[k] - low) * scale))
        drawer[k] = its
        place[its + np.uint64(1)] += 1
    most = 0
    for d in range(np.uint64(1), n + np.uint64(1)):
        most = max(most, place[d])
        place[d] += place[d - np.uint64(1)]
    for k in range(n):
        its = np.uint64(drawer[k])
        order[np.uint64(place[its])] = k
        place[its] += 1
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
    return low, scale


@part
def put_in_order(last, events, dropouts, work):
    """Keep the events and dropouts up to the day `last`; put the events in order of time, and find the place
    of each dropout among them. Returns how many there are of each."""
    time, day, known, person = (
        work.times[EVENT_TIME],
        work.times[EVENT_DAY],
        work.times[KNOWN_DAY],
        work.lists[EVENT_PERSON],
    )
    kept = np.uint64(0)
    for k in range(np.uint64(events)):
        keep = day[k] <= last
        time[kept], day[kept], known[kept], person[kept] = time[k], day[k], known[k], person[k]
        kept += np.uint64(keep)
    leaves, who = work.times[DROPOUT_TIME], work.lists[DROPOUT_PERSON]
    left = np.uint64(0)
    for k in range(np.uint64(dropouts)):
        keep = work.arrival[who[k]] + leaves[k] <= last
        leaves[left], who[left] = leaves[k], who[k]
        left += np.uint64(keep)
    low, scale = sort_times(time, np.int64(kept), work.lists[ORDER], work.place)
    # place[d] is where the events of drawer d end: those of the drawer before it come before any of its own
    for k in range(left):
        d = min(max((leaves[k] - low) * scale, 0.0), np.float64(kept))
        drawer = np.int64(d)
        at = np.uint64(work.place[drawer - 1]) if drawer > 0 else np.uint64(0)
        while at < kept and time[work.lists[ORDER][at]] <= leaves[k]:
            at += np.uint64(1)
        work.lists[BEFORE][k] = at
    return np.int64(kept), np.int64(left)


# --- one look ---------------------------------------------------------------------------------------------


@part
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
        for c in range(2 * strata):
            at_risk[c] = 0
        for i in range(enrolled):
            at_risk[side[i]] += 1
    return enrolled


@part
def _follow_up(cut, enrolled, at_risk, events, dropouts, strata, work):
    """Participants of each stratum, and the longest time that anybody in it was observed, by arm."""
    last, size = work.table.last, work.table.size
    for s in range(strata):
        size[s] = at_risk[s] + at_risk[strata + s]
        last[s, 0] = -1.0
        last[s, 1] = -1.0
    for i in range(enrolled):
        c = np.int64(work.side[i])
        if work.gone[i] == 0:
            last[c % strata, c // strata] = max(last[c % strata, c // strata], cut - work.arrival[i])
    for k in range(events):
        c = np.int64(work.side[work.lists[EVENT_PERSON][k]])
        if work.gone[work.lists[EVENT_PERSON][k]]:
            last[c % strata, c // strata] = max(last[c % strata, c // strata], work.times[EVENT_TIME][k])
    for k in range(dropouts):
        c = np.int64(work.side[work.lists[DROPOUT_PERSON][k]])
        if work.gone[work.lists[DROPOUT_PERSON][k]]:
            last[c % strata, c // strata] = max(last[c % strata, c // strata], work.times[DROPOUT_TIME][k])


@part
def _leave_for_good(cut, last_look, events, dropouts, work):
    """Mark in `gone` who has had an event, or dropped out, by a cut-off. An event that is not known yet (the
    last look knows all) leaves its participant under observation."""
    gone = work.gone
    known = work.times[EVENT_DAY] if last_look else work.times[KNOWN_DAY]
    for k in range(np.uint64(events)):
        gone[work.lists[EVENT_PERSON][k]] = known[k] <= cut
    for k in range(np.uint64(dropouts)):
        i = work.lists[DROPOUT_PERSON][k]
        gone[i] = work.arrival[i] + work.times[DROPOUT_TIME][k] <= cut


@part
def _rows(cut, enrolled, at_risk, events, dropouts, work):
    """Rows of the risk table without strata; returns (rows, events in arm 0, events in arm 1).

    The numbers of both arms are packed into one: that of arm 1 in the upper half.
    """
    arrival, side, gone = work.arrival, work.side, work.gone
    time, person = work.times[EVENT_TIME], work.lists[EVENT_PERSON]
    who, before = work.lists[DROPOUT_PERSON], work.lists[BEFORE]
    n0, n1, d0, d1 = work.table.table[0], work.table.table[1], work.table.table[2], work.table.table[3]
    when, lost, order = work.table.table[4], work.lost[:, 0], work.lists[ORDER]
    one, half, low_half = np.int64(1), np.int64(32), np.int64(0xFFFFFFFF)
    for j in range(np.uint64(dropouts)):
        lost[before[j]] += np.int64(gone[who[j]]) << (np.int64(side[who[j]]) << np.int64(5))
    present = np.int64(enrolled)
    here = at_risk[0] + (at_risk[1] << half)
    rows = np.uint64(0)
    all_died = np.int64(0)
    k = np.uint64(0)
    many = np.uint64(events)
    while k < many:
        e = order[k]
        now = time[e]
        here -= lost[k]
        lost[k] = 0
        died = np.int64(gone[person[e]]) << (np.int64(side[person[e]]) << np.int64(5))
        k += np.uint64(1)
        while k < many and time[order[k]] == now:
            e = order[k]
            died += np.int64(gone[person[e]]) << (np.int64(side[person[e]]) << np.int64(5))
            k += np.uint64(1)
        while present > 0 and cut - arrival[np.uint64(present - one)] < now:
            present -= one
            i = np.uint64(present)
            here -= np.int64(1 - gone[i]) << (np.int64(side[i]) << np.int64(5))
        n0[rows] = here & low_half
        n1[rows] = here >> half
        d0[rows] = died & low_half
        d1[rows] = died >> half
        when[rows] = now
        rows += np.uint64(died != 0)
        here -= died
        all_died += died
    lost[many] = 0
    work.table.first[0] = 0
    work.table.first[1] = rows
    return np.int64(rows), all_died & low_half, all_died >> half


@part
def _rows_by_stratum(cut, enrolled, at_risk, events, dropouts, strata, work):
    """As `_rows`, with strata: each is given room for all its events, and the rows are closed up at the
    end."""
    arrival, side, gone = work.arrival, work.side, work.gone
    time, person, order = work.times[EVENT_TIME], work.lists[EVENT_PERSON], work.lists[ORDER]
    lost, table, first, rows = work.lost, work.table.table, work.table.first, work.rows
    for s in range(strata + 1):
        first[s] = 0
    for k in range(events):
        first[np.int64(side[person[k]]) % strata + 1] += gone[person[k]]
    for s in range(strata):
        first[s + 1] += first[s]
        rows[s] = first[s]
    half, low_half = np.int64(32), np.int64(0xFFFFFFFF)
    here = np.empty(strata, np.int64)
    died = np.empty(strata, np.int64)
    for s in range(strata):
        died[s] = 0
        here[s] = at_risk[s] + (at_risk[strata + s] << half)
    for k in range(dropouts):
        i = work.lists[DROPOUT_PERSON][k]
        c = np.int64(side[i])
        lost[work.lists[BEFORE][k], c % strata] += np.int64(gone[i]) << (half * (c // strata))
    present = enrolled
    all_died = np.int64(0)
    k = 0
    while k < events:
        now = time[order[k]]
        for s in range(strata):
            here[s] -= lost[k, s]
            lost[k, s] = 0
        begin = k
        while k < events and time[order[k]] == now:
            i = person[order[k]]
            died[np.int64(side[i]) % strata] += np.int64(gone[i]) << (half * (np.int64(side[i]) // strata))
            k += 1
        while present > 0 and cut - arrival[present - 1] < now:
            present -= 1
            c = np.int64(side[present])
            here[c % strata] -= np.int64(1 - gone[present]) << (half * (c // strata))
        for tied in range(begin, k):
            s = np.int64(side[person[order[tied]]]) % strata
            if died[s] != 0:  # else not known yet, or in the row of another event of this time and stratum
                row = rows[s]
                table[0, row] = here[s] & low_half
                table[1, row] = here[s] >> half
                table[2, row] = died[s] & low_half
                table[3, row] = died[s] >> half
                table[4, row] = now
                rows[s] += 1
                here[s] -= died[s]
                all_died += died[s]
                died[s] = 0
    end = 0
    for s in range(strata):
        lost[events, s] = 0
        begin = first[s]
        first[s] = end
        for g in range(begin, rows[s]):
            for line in range(5):
                table[line, end] = table[line, g]
            end += 1
    first[strata] = end
    return end, all_died & low_half, all_died >> half


@part
def risk_table(plan, cut, last_look, events, dropouts, work):
    """The risk table of the analysis, in `work.table`, as it stands at a cut-off.

    Returns (rows, enrolled, events in arm 0, events in arm 1).
    """
    strata = plan.stratum_share.shape[0] if plan.stratified else 1
    at_risk = np.empty(2 * strata, np.int64)
    enrolled = _count(plan, cut, work, strata, at_risk)
    _leave_for_good(cut, last_look, events, dropouts, work)
    if plan.test == RESTRICTED_MEAN:
        _follow_up(cut, enrolled, at_risk, events, dropouts, strata, work)
    if strata == 1:
        rows, events0, events1 = _rows(cut, enrolled, at_risk, events, dropouts, work)
    else:
        rows, events0, events1 = _rows_by_stratum(cut, enrolled, at_risk, events, dropouts, strata, work)
    for k in range(np.uint64(events)):
        work.gone[work.lists[EVENT_PERSON][k]] = 0
    for k in range(np.uint64(dropouts)):
        work.gone[work.lists[DROPOUT_PERSON][k]] = 0
    return rows, enrolled, events0, events1


@part
def analyse_look(plan, cut, last_look, events, dropouts, work, out, score, covariance):
    """One look: the test and the estimate into the columns `out`; of weighted log-ranks their scores and
    the covariance between them as well."""
    table = work.table
    strata = plan.stratum_share.shape[0] if plan.stratified else 1
    rows, enrolled, events0, events1 = risk_table(plan, cut, last_look, events, dropouts, work)
    out[DAY] = cut
    out[EVENTS] = events0 + events1
    out[EVENTS_0] = events0
    out[EVENTS_1] = events1
    out[ENROLLED] = enrolled
    excess, variance = logrank_of_table(rows, table)
    start = excess / variance if variance > 0.0 else 0.0
    out[LOG_HR], out[LOG_SE], _, _ = cox_of_table(rows, table, True, start)
    many = plan.weights.shape[0]
    if plan.test == RESTRICTED_MEAN:
        mean0, variance0, mean1, variance1 = restricted_means_of_table(strata, table, plan.horizon)
        out[RMST] = mean1 - mean0
        out[RMST_SE] = math.sqrt(variance0 + variance1)
        variance = 1.0 / (variance0 + variance1)
        excess = -out[RMST] * variance
    elif many > 1 or plan.weights[0, 0] != 0.0 or plan.weights[0, 1] != 0.0:
        weighted_logrank_of_table(strata, table, plan.weights, score, covariance, np.empty(many))
        excess, variance = score[0], covariance[0, 0]
    out[INFORMATION] = variance
    if variance > 0.0:
        out[Z] = -saddlepoint_of_table(rows, table) if plan.saddlepoint else -excess / math.sqrt(variance)
        out[P] = normal_share(-out[Z])


# --- one trial --------------------------------------------------------------------------------------------


@part
def _last_exit(plan, events, dropouts, work):
    """The day on which the last participant leaves; everybody is in one of the two lists."""
    last = 0.0
    for k in range(events):
        last = max(last, work.times[EVENT_DAY][k])
    for k in range(dropouts):
        last = max(last, work.arrival[work.lists[DROPOUT_PERSON][k]] + work.times[DROPOUT_TIME][k])
    return last


@part
def look_days(plan, rules, events, dropouts, complete, everybody, work, event_days, out):
    """The days of the looks into `out`; False when events after the day `complete` decide them."""
    first, last = work.arrival[0], work.arrival[plan.participants - 1]
    end = first + plan.longest
    if plan.primary_events > 0:
        end = min(end, nth_smallest(work.times[KNOWN_DAY], events, plan.primary_events, work.times[RATE]))
    if end == math.inf and everybody:
        end = _last_exit(plan, events, dropouts, work)
    if end > complete:
        return False
    for k in range(rules.events.shape[0]):
        wanted = rules.events[k]
        if wanted == plan.primary_events:
            event_days[k] = end  # or earlier than it can be waited for
        elif wanted > 0:
            event_days[k] = nth_smallest(work.times[KNOWN_DAY], events, wanted, work.times[RATE])
    cut_offs(rules, event_days, first, last, end, out)
    return True


@njit
def simulate(plan, rules, seed, first, count, work, out, enrolled, score, covariance):
    """Trials first .. first + count - 1.

    out: float64[count, looks, COLUMNS], NaN before; enrolled: int64[count]; score: float64[count, weights]
    and covariance: float64[count, weights, weights], of the weighted log-ranks of the final analysis.
    """
    looks = rules.events.shape[0]
    days = np.empty(looks)
    event_days = np.empty(looks)
    for row in range(count):
        trial = first + row
        draw_people(plan, seed, trial, work)
        for level in range(plan.horizons.shape[0]):
            events, dropouts = leavers(plan, seed, trial, level, work)
            everybody = plan.horizons[level] == math.inf
            if look_days(
                plan, rules, events, dropouts, plan.horizons[level], everybody, work, event_days, days
            ):
                break
        events, dropouts = put_in_order(days[looks - 1], events, dropouts, work)
        for k in range(looks):
            if not math.isnan(days[k]):
                analyse_look(
                    plan,
                    days[k],
                    k == looks - 1,
                    events,
                    dropouts,
                    work,
                    out[row, k],
                    score[row],
                    covariance[row],
                )
        enrolled[row] = np.int64(out[row, looks - 1, ENROLLED])


# --- one trial, person by person --------------------------------------------------------------------------


@njit
def everybody(plan, seed, trial, work, event, dropout, delay, country):
    """Every person of one trial, with the draws of `simulate`: arrival and cell in `work`; days from
    randomisation to event and to dropout (inf: never) and from an event to its report; the word that decides
    the country."""
    n = plan.participants
    k0, k1 = split_seed(seed)
    draw_people(plan, seed, trial, work)
    for i in range(n):
        work.lists[LISTED, i] = i
    _leaving_times(plan, n, work)
    first = np.empty(n, np.bool_)
    for i in range(n):
        first[i] = work.times[EVENT_AFTER, i] <= work.times[DROPOUT_AFTER, i]
        event[i], dropout[i] = _recorded(plan, work.times[EVENT_AFTER, i], work.times[DROPOUT_AFTER, i])
        delay[i] = report_delay(plan, seed, trial, i)
        country[i] = block(
            np.uint64(PLAIN_PERSON), np.uint64(1), np.uint64(i), np.uint64(trial) & _LOW, k0, k1
        )[0]
    return first
