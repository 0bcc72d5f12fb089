"""Opportunistic disease, death and grade 4 events of one participant along a course that is known.

None of them changes what cycles are given or what is measured, but that death ends it. So the course is
walked first, to the end of follow-up; here the hazards along it are worked out, all pieces together, and met
with the thresholds that were drawn. The order of operations on one day, and every bit, are those of
`equipoise.simulate.reference`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.simulate import outset
from equipoise.simulate.outset import FIRST_DEATH, FIRST_GRADE4, FIRST_OD
from equipoise.virtual.hazards import (
    ACUTE,
    BURST,
    CHRONIC,
    DAYS,
    END,
    FED,
    LONG,
    MIDDLE,
    N_START,
    N_TARGET,
    NEVER,
    PIECE_ROWS,
    SETTLE,
    SINCE,
    START,
    VIRUS,
    crossing_day,
    hazards_along,
    piece_length,
    threshold,
)
from equipoise.virtual.streams import GRADE4, OPPORTUNISTIC

OD, DIED_OF, BACKGROUND4, CYCLE4, CYCLE3 = 1, 2, 3, 4, 5
"""What happened: opportunistic disease, death, grade 4 event of the background, of a cycle, grade 3
toxicity."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Cycles(NamedTuple):
    """Scratch: the cycles of one participant, and the toxicities that showed."""

    day: Ints
    body: Floats
    """Burst, long-lived cells, acute and chronic exposure after the cycle, shape (4, cycles)."""
    dose: Floats
    given: Ints
    """Injections."""
    action: Ints
    """The decision that started it."""
    toxicity_day: Ints
    toxicity: Ints
    toxicity_cycle: Ints


class Pieces(NamedTuple):
    """Pieces of constant hazard: scratch of `happen`."""

    values: Floats
    rates: Floats
    stop: Ints
    """Day on which the piece really ends: at a cycle or on the last day it ends early."""
    stretch: Ints
    cycle: Ints


@njit
def cycles_for(longest):
    """Scratch for somebody followed for at most `longest` days."""
    n = longest + 3
    return Cycles(
        np.zeros(n, np.int64), np.zeros((4, n)), np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64),
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64),
    )  # fmt: skip


@njit
def pieces_for(longest):
    """Scratch for somebody followed for at most `longest` days: no two pieces begin on one day, but for
    those after a disease."""
    n = longest + 8
    return Pieces(
        np.zeros((PIECE_ROWS, n)), np.zeros((3, n)), np.zeros(n, np.int64), np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )  # fmt: skip


@njit(forceinline=True, borrows=True, inner=True)
def lay_out(b, d, p, couples, o, stretch, end_stretch, cycles, given, day, cycle, last, pieces):
    """Cut the time from `day`, in that stretch of the virus and after that cycle (-1: before the first), to
    the last day into pieces; returns how many."""
    v = pieces.values
    count = 0
    fed_by = b.loss_burst - p.loss_long_lived
    while True:
        coupled = cycle >= 0
        since = cycles.day[cycle] if coupled else -1
        since_switch = o.stretch[stretch]
        switch_on = o.stretch[stretch + 1] if stretch + 1 < end_stretch else NEVER
        end = min(day + piece_length(d, coupled, day - since, day - since_switch), switch_on)
        cut = cycles.day[cycle + 1] if cycle + 1 < given else NEVER
        stop = min(end, cut, last)
        middle = 0.5 * (day + end)
        at = np.uint64(count)  # an index that cannot count from the end
        v[START, at], v[END, at], v[MIDDLE, at] = day, end, middle
        v[N_START, at] = o.virus[outset.N_START, stretch]
        v[N_TARGET, at] = o.virus[outset.N_TARGET, stretch]
        v[SETTLE, at] = -o.virus[outset.N_RATE, stretch] * (middle - since_switch)
        v[VIRUS, at] = b.virus_on_hazard * (p.log10_level - b.rna_floor) if o.viraemic[stretch] else 0.0
        if couples:
            v[SINCE, at] = since
            if coupled:
                burst = cycles.body[0, cycle]
                v[BURST, at], v[LONG, at] = burst, cycles.body[1, cycle]
                v[FED, at] = b.survive * b.loss_burst * burst / fed_by
                v[ACUTE, at], v[CHRONIC, at] = cycles.body[2, cycle], cycles.body[3, cycle]
            else:
                v[BURST, at] = v[LONG, at] = v[FED, at] = 0.0
                v[ACUTE, at] = v[CHRONIC, at] = 0.0
        pieces.stop[at], pieces.stretch[at], pieces.cycle[at] = stop, stretch, cycle
        count += 1
        if stop == last:
            return count
        day = stop
        if stop == switch_on:
            stretch += 1
        if stop == cut:
            cycle += 1


@njit(forceinline=True, borrows=True, inner=True)
def within_reach(b, d, o, l, cycles, given, last):
    """Whether opportunistic disease, death and a grade 4 event of the background can come to participant l of
    the block until day `last`, if hazards are `orderly`: most people meet none of them, and a bound on the
    cumulative hazard says so of most of those at little cost.

    `given`: cycles that touch the hazards. What a cycle harms, added up until the next, is at most its
    exposure times the time constant or the days between, and meets the highest hazard of all."""
    od = death = grade4 = top_od = top_death = top_grade4 = 0.0
    for s in range(o.first_stretch[l], o.first_stretch[l + 1]):
        days = 0.25 * o.stretches[DAYS, s]
        for row in range(0, 12, 3):
            od += days * o.highest[row, s]
            death += days * o.highest[row + 1, s]
            grade4 += days * o.highest[row + 2, s]
            top_od = max(top_od, o.highest[row, s])
            top_death = max(top_death, o.highest[row + 1, s])
            top_grade4 = max(top_grade4, o.highest[row + 2, s])
    harm = 0.0
    for k in range(given):
        days = np.float64((cycles.day[k + 1] if k + 1 < given else last) - cycles.day[k])
        harm += d.rho_acute * cycles.body[2, k] * min(days, d.tau_acute)
        harm += d.rho_chronic * cycles.body[3, k] * min(days, d.tau_chronic)
    # Rounding is far smaller than this.
    room = 1.0 + 1e-9
    od_may = not (od + top_od * d.harm_opportunistic * harm) * room < o.chances[FIRST_OD, l]
    again = max(b.death_after_od, 1.0) if od_may else 1.0
    death_may = not (death + top_death * d.harm_death * harm) * again * room < o.chances[FIRST_DEATH, l]
    grade4_may = not (grade4 + top_grade4 * d.harm_grade4 * harm) * room < o.chances[FIRST_GRADE4, l]
    return od_may, death_may, grade4_may


@njit(forceinline=True, borrows=True, inner=True)
def happen(
    b, d, p, bounded, o, l, cycles, given, toxicities, last, seed, trial, pieces, i, outcomes, noting, diary
):  # fmt: skip
    """What happens to participant i (number l of the block) until day `last`, along the course that is known.

    `bounded`: hazards are `orderly`. `given`: cycles that touch the hazards. Notes the days of opportunistic
    disease and of the first grade 4 event of the background in `outcomes`; if `noting`, in the diary every
    event, toxicities included.
    Returns (day of death or -1, whether the diary had room)."""
    may = (True, True, True)
    if bounded:
        may = within_reach(b, d, o, l, cycles, given, last)
        if not (may[0] or may[1] or may[2]):
            return -1, not noting or _note_toxicities(diary, i, cycles, np.int64(0), toxicities, last) >= 0
    stretch, end_stretch = o.first_stretch[l], o.first_stretch[l + 1]
    od_reached = death_reached = grade4_reached = 0.0
    od_needed, death_needed = o.chances[FIRST_OD, l], o.chances[FIRST_DEATH, l]
    grade4_needed = o.chances[FIRST_GRADE4, l]
    # Of one type from the start: a literal would be a type of its own, and all it is given to compiled twice.
    diseases = background4 = shown = np.int64(0)
    day, cycle = np.int64(0), np.int64(-1)
    while True:
        count = lay_out(b, d, p, given > 0, o, stretch, end_stretch, cycles, given, day, cycle, last, pieces)
        hazards_along(b, d, p, diseases, given > 0, may, count, pieces.values, pieces.rates)
        ill = False
        for k in range(np.uint64(count)):
            start, end, stop = (
                np.int64(pieces.values[START, k]),
                np.int64(pieces.values[END, k]),
                pieces.stop[k],
            )
            od, death, grade4 = pieces.rates[0, k], pieces.rates[1, k], pieces.rates[2, k]
            od_on = crossing_day(start, end, od_reached, od, od_needed)
            death_on = crossing_day(start, end, death_reached, death, death_needed)
            grade4_on = crossing_day(start, end, grade4_reached, grade4, grade4_needed)
            day = min(od_on, death_on, grade4_on)
            while day <= stop:
                if od_on == day:
                    if diseases < outcomes.diseases.shape[1]:
                        outcomes.diseases[i, diseases] = day
                    if noting:
                        shown = _note_toxicities(diary, i, cycles, shown, toxicities, day - 1)
                        if shown < 0 or not note_event(diary, i, day, OD, diseases):
                            return -1, False
                    diseases += 1
                    od_needed += threshold(seed, trial, p.number, OPPORTUNISTIC, diseases)
                    ill = True
                    break
                if grade4_on == day:
                    if outcomes.grade4[i] < 0:
                        outcomes.grade4[i] = day
                    if noting:
                        shown = _note_toxicities(diary, i, cycles, shown, toxicities, day - 1)
                        if shown < 0 or not note_event(diary, i, day, BACKGROUND4, background4):
                            return -1, False
                    background4 += 1
                    grade4_needed += threshold(seed, trial, p.number, GRADE4, background4)
                    grade4_on = crossing_day(start, end, grade4_reached, grade4, grade4_needed)
                else:
                    if noting:
                        shown = _note_toxicities(diary, i, cycles, shown, toxicities, day)
                        if shown < 0 or not note_event(diary, i, day, DIED_OF, 0):
                            return -1, False
                    return day, True
                day = min(od_on, death_on, grade4_on)
            if not ill:
                day = stop
            od_reached += od * (day - start)
            death_reached += death * (day - start)
            grade4_reached += grade4 * (day - start)
            if ill:
                stretch, cycle = pieces.stretch[k], pieces.cycle[k]
                break
        if not ill:
            break
    if noting and _note_toxicities(diary, i, cycles, shown, toxicities, last) < 0:
        return -1, False
    return -1, True


@njit(borrows=True, inner=True)
def _note_toxicities(diary, i, cycles, shown, toxicities, until):
    """Note the toxicities from number `shown` on that showed until that day; returns the number of the next,
    or -1 when the diary is full."""
    while shown < toxicities and cycles.toxicity_day[shown] <= until:
        kind = CYCLE4 if cycles.toxicity[shown] == 4 else CYCLE3
        if not note_event(diary, i, cycles.toxicity_day[shown], kind, cycles.toxicity_cycle[shown]):
            return -1
        shown += 1
    return shown


@njit(borrows=True, inner=True)
def note_event(diary, i, day, process, index):
    """One row of the diary's events; False when there is no room."""
    row = diary.used[3]
    if row >= diary.events.shape[0]:
        return False
    diary.used[3] = row + 1
    whole = diary.events[row]
    whole[0], whole[1], whole[2], whole[3] = i, day, process, index
    return True
