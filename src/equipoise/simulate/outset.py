"""What can be settled for a block of participants before any of them is walked.

Traits, the end of contact, the first chances of every kind, the course of the virus, the visits that are kept
and the native cells at each: all of it the same in every arm, and independent of cycles and clinical events.
It is worked out step by step for all participants of the block together, in loops without branches, so that
the compiler works on several at once. Every value has the bits that the functions of `equipoise.virtual` give
for one participant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.rules.truth import YES
from equipoise.virtual.habits import episode_start, leaving_day, visit_day_from
from equipoise.virtual.hazards import (
    DAYS,
    OLDEST,
    PRIOR,
    STRETCH_ROWS,
    VIRAEMIC,
    highest,
    oldest,
    orderly,
)
from equipoise.virtual.hazards import FRAILTY as FRAILTY_THEN
from equipoise.virtual.latent import Person, native, person_from, relax
from equipoise.virtual.maths import exponential_quantiles, normal_quantiles
from equipoise.virtual.observation import copies, measured_count_from
from equipoise.virtual.philox import block, split_seed, unit
from equipoise.virtual.streams import (
    CYCLE,
    CYCLE_TOXICITY,
    DEATH,
    GRADE4,
    LOSS,
    MEASUREMENT,
    OFF_ART,
    OPPORTUNISTIC,
    TRAITS_HABIT,
    TRAITS_NATIVE,
    VIRUS_SWITCH,
    VISIT,
)
from equipoise.virtual.virology import next_switch, next_switch_from, suppressed_level, viraemic_level

PARTICIPANTS = 32
"""In a block. The result does not depend on it."""
CYCLES_AHEAD = 8
"""Cycles of each participant whose chances are drawn here; those of later ones are drawn one by one."""

COUNTS_AHEAD = 8
"""Visits for which the walk works out the counts together."""

COMPLETED, DIED, LOST, WITHDREW = 0, 1, 2, 3
"""How follow-up ended."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Rows of `Outset.traits`.
LEVEL, RESPONSE, LOSS_LONG_LIVED, WILLINGNESS, FRAILTY = range(5)
# Rows of `Outset.chances`: unit exponentials.
FIRST_OD, FIRST_DEATH, FIRST_GRADE4, FIRST_SWITCH, FIRST_OFF_ART = range(5)
# Rows of `Outset.virus`: native cells at the start of a stretch, their target and rate.
N_START, N_TARGET, N_RATE = range(3)
# Rows of `Outset.visits`: noise of the count (normal), of the HIV RNA (uniform), native cells, copies/mL, and
# the count as measured (in an arm with cycles to be filled by the walk).
NOISE, RNA_CHANCE, NATIVE, COPIES, COUNT = range(5)


class Outset(NamedTuple):
    """Scratch of one block, over its participants (p,), stretches of the virus (s,) and visits (v,)."""

    traits: Floats
    chances: Floats
    last: Ints
    """Last day of follow-up, as long as the participant lives."""
    status: Ints
    off_art: Ints
    """First day off therapy."""
    first_stretch: Ints
    """Position of each participant's first stretch, and the end of the last one's."""
    stretch: Ints
    """Day on which a stretch between two switches of the virus begins."""
    viraemic: Ints
    virus: Floats
    stretches: Floats
    """What else bounds the hazards in each stretch, and `highest` these bounds, if they are `orderly`."""
    highest: Floats
    first_visit: Ints
    """Position of each participant's first visit, and the end of the last one's."""
    visit: Ints
    """Position of a kept visit in the plan of the arm."""
    day: Ints
    viraemic_then: Ints
    visits: Floats
    cycles: Floats
    """Uniforms of the first CYCLES_AHEAD cycles of each participant in turn: the two of CYCLE, the two of
    CYCLE_TOXICITY."""
    foreseen: Floats
    """Counts at the next COUNTS_AHEAD visits of the participant who is walked, if no cycle comes between."""
    who: NDArray[np.uint64]
    which: NDArray[np.uint64]
    work: Floats


@njit
def outset_for(planned, longest):
    """Scratch for blocks of participants with at most that many planned visits, followed for at most
    `longest` days."""
    n, stretches = PARTICIPANTS, 8 * PARTICIPANTS + 2 * (longest + 3)
    visits = n * max(planned, CYCLES_AHEAD)
    return Outset(
        np.zeros((5, n)), np.zeros((5, n)), np.zeros(n, np.int64), np.zeros(n, np.int64),
        np.zeros(n, np.int64), np.zeros(n + 1, np.int64), np.zeros(stretches, np.int64),
        np.zeros(stretches, np.int64), np.zeros((3, stretches)), np.zeros((STRETCH_ROWS, stretches)),
        np.zeros((12, stretches)), np.zeros(n + 1, np.int64),
        np.zeros(visits, np.int64), np.zeros(visits, np.int64), np.zeros(visits, np.int64),
        np.zeros((5, visits)), np.zeros((4, n * CYCLES_AHEAD)), np.zeros(COUNTS_AHEAD),
        np.zeros(visits, np.uint64), np.zeros(visits, np.uint64), np.zeros((11, visits)),
    )  # fmt: skip


@njit(forceinline=True, borrows=True, inner=True)
def person_of(o, people, i, l):
    """Participant i, the block's number l, with all traits."""
    return Person(
        people.number[i], people.count[i], people.nadir[i], people.age[i], people.female[i],
        people.prior_aids[i], people.viraemic[i], people.log10_level[i], o.traits[LEVEL, l],
        o.traits[RESPONSE, l], o.traits[LOSS_LONG_LIVED, l], o.traits[WILLINGNESS, l], o.traits[FRAILTY, l],
    )  # fmt: skip


@njit(inner=True)
def settle(kernel, arm, people, rows, seed, trial, o, longest):
    """Settle what can be settled for the participants `rows` (at most PARTICIPANTS), into the scratch `o`.

    Returns how many were settled: fewer than asked when the virus of some switches very often."""
    b, d, h = kernel.biology, kernel.dials, kernel.habits
    n = np.uint64(len(rows))
    for l in range(n):
        o.who[l] = np.uint64(people.number[rows[l]])
    _traits(b, d, h, people, rows, seed, trial, o)
    u = o.work
    for purpose, row in (
        (OPPORTUNISTIC, FIRST_OD), (DEATH, FIRST_DEATH), (GRADE4, FIRST_GRADE4), (VIRUS_SWITCH, FIRST_SWITCH),
        (OFF_ART, FIRST_OFF_ART),
    ):  # fmt: skip
        _pairs(seed, purpose, trial, o.who, n, u[0], u[1])
        exponential_quantiles(u[0], o.chances[row], n)
    for l in range(n):
        o.off_art[l] = episode_start(o.chances[FIRST_OFF_ART, l], h.off_art, 0)
    _pairs(seed, LOSS, trial, o.who, n, u[0], u[1])
    for l in range(n):
        lost, withdrew = leaving_day(u[0, l], h.loss), leaving_day(u[1, l], h.withdrawal)
        last, status = people.end_day[rows[l]], COMPLETED
        status = LOST if lost < last else status
        last = min(lost, last)
        status = WITHDREW if withdrew < last else status
        o.last[l], o.status[l] = min(withdrew, last), status
    settled = _course_of_the_virus(b, people, rows, seed, trial, o, longest)
    if orderly(b, d):
        _highest_hazards(b, d, people, rows[:settled], o)
    _kept_visits(b, h, arm, people, rows[:settled], seed, trial, o)
    if arm.cycled == YES:
        _chances_of_cycles(people, rows[:settled], seed, trial, o)
    return settled


@njit(forceinline=True, inner=True)
def _pairs(seed, purpose, trial, who, n, first, second):
    """The two uniforms of index 0 of one purpose for each participant."""
    k0, k1 = split_seed(seed)
    c0, c3 = np.uint64(purpose), np.uint64(trial) & np.uint64(0xFFFFFFFF)
    for l in range(n):
        x0, x1, x2, x3 = block(c0, np.uint64(0), who[l], c3, k0, k1)
        first[l] = unit(x0, x1)
        second[l] = unit(x2, x3)


@njit(forceinline=True, inner=True)
def _traits(b, d, h, people, rows, seed, trial, o):
    n = np.uint64(len(rows))
    z = o.work
    _pairs(seed, TRAITS_NATIVE, trial, o.who, n, z[0], z[1])
    _pairs(seed, TRAITS_HABIT, trial, o.who, n, z[2], z[3])
    for row in range(4):
        normal_quantiles(z[row], z[4 + row], n)
    # What the formulas need, side by side.
    counts, nadirs, ages = z[8], z[9], z[10]
    for l in range(n):
        counts[l], nadirs[l], ages[l] = people.count[rows[l]], people.nadir[rows[l]], people.age[rows[l]]
    z0, z1, z2, z3 = z[4], z[5], z[6], z[7]
    t0, t1, t2, t3, t4 = o.traits[0], o.traits[1], o.traits[2], o.traits[3], o.traits[4]
    for l in range(n):
        p = person_from(b, d, h, 0, counts[l], nadirs[l], ages[l], 0, 0, 0, 0.0, z0[l], z1[l], z2[l], z3[l])
        t0[l], t1[l], t2[l], t3[l], t4[l] = (
            p.native_level, p.response, p.loss_long_lived, p.willingness, p.frailty,
        )  # fmt: skip


@njit(forceinline=True, inner=True)
def _course_of_the_virus(b, people, rows, seed, trial, o, longest):
    """Stretches between two switches of the virus up to the last day; returns for how many participants there
    was room."""
    s = 0
    for l in range(len(rows)):
        o.first_stretch[l] = s
        if s + longest + 3 > len(o.stretch):
            return l
        i = rows[l]
        p = person_of(o, people, i, l)
        viraemic, start, since = p.viraemic, p.count, 0
        switch_on = next_switch_from(b, o.chances[FIRST_SWITCH, l], viraemic, 0)
        switches = 0
        while True:
            rate, target = relax(b, p, viraemic)
            o.stretch[s], o.viraemic[s] = since, viraemic
            o.virus[N_START, s], o.virus[N_TARGET, s], o.virus[N_RATE, s] = start, target, rate
            s += 1
            if switch_on > o.last[l]:
                break
            start, since = native(start, target, rate, switch_on - since), switch_on
            viraemic = 1 - viraemic
            switches += 1
            switch_on = next_switch(b, seed, trial, p.number, switches, viraemic, since)
    o.first_stretch[len(rows)] = s
    return len(rows)


@njit(forceinline=True, inner=True)
def _highest_hazards(b, d, people, rows, o):
    """Bounds on everybody's hazards in each stretch up to the last day."""
    for l in range(len(rows)):
        i, end_stretch = rows[l], o.first_stretch[l + 1]
        for s in range(o.first_stretch[l], end_stretch):
            end = min(o.stretch[s + 1], o.last[l]) if s + 1 < end_stretch else o.last[l]
            o.stretches[DAYS, s] = end - o.stretch[s]
            o.stretches[OLDEST, s] = oldest(people.age[i], end)
            o.stretches[FRAILTY_THEN, s] = o.traits[FRAILTY, l]
            virus = b.virus_on_hazard * (people.log10_level[i] - b.rna_floor)
            o.stretches[VIRAEMIC, s] = virus if o.viraemic[s] else 0.0
            o.stretches[PRIOR, s] = b.od_prior_aids if people.prior_aids[i] else 0.0
    highest(
        b, d, o.virus[N_START], o.virus[N_TARGET], o.virus[N_RATE], o.first_stretch[len(rows)], o.stretches,
        o.highest,
    )  # fmt: skip


@njit(forceinline=True, inner=True)
def _kept_visits(b, h, arm, people, rows, seed, trial, o):
    """The visits that are kept up to the last day, with what there is to measure but for induced cells."""
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & np.uint64(0xFFFFFFFF)
    u, v, z = o.work[0], o.work[1], o.work[2]
    drawn = 0
    for l in range(len(rows)):
        o.first_visit[l] = drawn
        number = np.uint64(people.number[rows[l]])
        due = np.searchsorted(arm.earliest, o.last[l], side="right")
        for k in range(np.uint64(due)):
            o.who[np.uint64(drawn) + k], o.which[np.uint64(drawn) + k] = number, k
        drawn += due
    o.first_visit[len(rows)] = drawn
    who, index = o.who, o.which
    c0 = np.uint64(VISIT)
    for j in range(np.uint64(drawn)):
        x0, x1, x2, x3 = block(c0, index[j], who[j], c3, k0, k1)
        u[j] = unit(x0, x1)
        v[j] = unit(x2, x3)
    normal_quantiles(v, z, drawn)
    kept, j = np.int64(0), 0
    for l in range(len(rows)):
        stop, last = o.first_visit[l + 1], o.last[l]
        o.first_visit[l] = kept
        while j < stop:
            visit = np.int64(index[j])
            day = visit_day_from(h, u[j], z[j], arm.planned[visit], arm.earliest[visit], arm.before[visit])
            o.visit[kept], o.day[kept] = visit, day
            index[kept], who[kept] = index[j], who[j]
            kept += 1 if (day >= 0) & (day <= last) else 0
            j += 1
    o.first_visit[len(rows)] = kept
    noise, chance, cells, rna = o.visits[NOISE], o.visits[RNA_CHANCE], o.visits[NATIVE], o.visits[COPIES]
    c0 = np.uint64(MEASUREMENT)
    for j in range(np.uint64(kept)):
        x0, x1, x2, x3 = block(c0, index[j], who[j], c3, k0, k1)
        u[j] = unit(x0, x1)
        chance[j] = unit(x2, x3)
    normal_quantiles(u, noise, kept)
    _native_cells(o, len(rows), kept, cells)
    _rna(b, arm, people, rows, o, kept, chance, rna)
    if arm.cycled != YES:
        count = o.visits[COUNT]
        for j in range(np.uint64(kept)):
            count[j] = measured_count_from(b, cells[j], noise[j])


@njit(forceinline=True, inner=True)
def _chances_of_cycles(people, rows, seed, trial, o):
    """The uniforms of everybody's first cycles."""
    who, index = o.who, o.which
    for l in range(len(rows)):
        number = np.uint64(people.number[rows[l]])
        for k in range(np.uint64(CYCLES_AHEAD)):
            who[np.uint64(l * CYCLES_AHEAD) + k], index[np.uint64(l * CYCLES_AHEAD) + k] = number, k
    n = np.uint64(len(rows) * CYCLES_AHEAD)
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & np.uint64(0xFFFFFFFF)
    for row, purpose in ((0, CYCLE), (2, CYCLE_TOXICITY)):
        first, second = o.cycles[row], o.cycles[row + 1]
        c0 = np.uint64(purpose)
        for j in range(n):
            x0, x1, x2, x3 = block(c0, index[j], who[j], c3, k0, k1)
            first[j] = unit(x0, x1)
            second[j] = unit(x2, x3)


@njit(forceinline=True, inner=True)
def _native_cells(o, n, kept, cells):
    """Native cells at each kept visit."""
    start, target, rate, since = o.work[0], o.work[1], o.work[2], o.work[3]
    for l in range(n):
        s, end = o.first_stretch[l], o.first_stretch[l + 1]
        for j in range(o.first_visit[l], o.first_visit[l + 1]):
            while s + 1 < end and o.stretch[s + 1] <= o.day[j]:
                s += 1
            start[j], target[j], rate[j] = o.virus[N_START, s], o.virus[N_TARGET, s], o.virus[N_RATE, s]
            since[j] = np.float64(o.day[j] - o.stretch[s])
            o.viraemic_then[j] = o.viraemic[s]
    for j in range(np.uint64(kept)):
        cells[j] = native(start[j], target[j], rate[j], since[j])


@njit(forceinline=True, inner=True)
def _rna(b, arm, people, rows, o, kept, chance, rna):
    """Copies/mL at each kept visit."""
    if not (arm.measures_rna == YES).any():
        return
    for j in range(np.uint64(kept)):
        rna[j] = suppressed_level(b, chance[j])
    for l in range(len(rows)):
        for j in range(o.first_visit[l], o.first_visit[l + 1]):
            if o.viraemic_then[j] == 1:
                rna[j] = viraemic_level(b, people.log10_level[rows[l]], chance[j])
    for j in range(np.uint64(kept)):
        rna[j] = copies(rna[j])
