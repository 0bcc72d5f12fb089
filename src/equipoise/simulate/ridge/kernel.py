"""Expected events along the courses of virtual people, added up instead of drawn.

Nothing that cycles do, and nothing that is measured, depends on the dials of this module (functional share of
the induced cells, harm after a cycle and its time constant, frailty). So a person's course is worked out
once, cut into pieces within which the hazards are taken as constant, and the hazards are integrated along it
for every setting of the dials. A person moves between three states: free of opportunistic disease, alive
after one, dead. With hazards constant in a piece, times and events in it are closed forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.simulate import outset
from equipoise.simulate.outset import PARTICIPANTS, person_of, settle
from equipoise.virtual.hazards import LN_350, background_death, linked_death, od_hazard
from equipoise.virtual.latent import dose_effect, long_lived, mean_exposure, native, rise_from
from equipoise.virtual.maths import exp, log

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FRESH_DAYS, SOON_DAYS = 7, 28
"""Longest piece in the 28 days after a cycle, and until 112 days after it."""
RECENT_DAYS = 180
"""Days after the start of a cycle that count as recent, as in the report on pneumonia in ESPRIT."""

FREE, DISEASE, DEATH_FREE, AFTER, DEATH_AFTER, FREE_RECENT, EVENTS_RECENT = range(7)
"""Rows of the sums: person-days free of disease, first diseases, deaths before any, person-days alive after
one, deaths after one; person-days free of disease, and first events, while a cycle was recent."""
SUMS = 7


class Pieces(NamedTuple):
    """The courses of some people in one arm, cut into pieces. `first`: where each person's pieces begin, and
    the end of the last one's; all others over the pieces."""

    first: Ints
    interval: Ints
    """The interval of the calendar since randomisation that the piece lies in."""
    recent: Ints
    length: Floats
    """Days."""
    native: Floats
    induced: Floats
    """Native and induced cells in the middle of the piece, cells/mm3."""
    disease: Floats
    background: Floats
    linked: Floats
    """Factors of the hazards that the dials do not touch, per day: of opportunistic disease, of death
    whatever the count, of death linked to the count (both at 350 functional cells)."""
    exposure: Floats
    """Mean exposure to cycles in the piece, shape (time constants, pieces)."""


def pieces_for(people: int, room: int, constants: int) -> Pieces:
    """Empty pieces."""

    def whole() -> Ints:
        return np.empty(room, np.int64)

    def real() -> Floats:
        return np.empty(room)

    first = np.zeros(people + 1, np.int64)
    return Pieces(
        first, whole(), whole(), real(), real(), real(), real(), real(), real(), np.empty((constants, room))
    )


@njit
def cut(kernel, arm, people, rows, seed, trial, o, longest, edges, first_cycle, day, dose, taus, pieces):
    """Cut the courses of the participants `rows` into pieces, at the `edges` of the intervals, at switches of
    the virus, at cycles, and closer after a cycle.

    Cycles of person k: first_cycle[k] .. first_cycle[k + 1] - 1 of `day` and `dose` (MIU per injection times
    the share of injections taken). Returns how many people there was room for."""
    b = kernel.biology
    room = len(pieces.length)
    used = start = 0
    while start < len(rows):
        block = rows[start : start + PARTICIPANTS]
        settled = settle(kernel, arm, people, block, seed, trial, o, longest)
        for l in range(settled):
            k = start + l
            pieces.first[k] = used
            s, end_stretch = o.first_stretch[l], o.first_stretch[l + 1]
            c, end_cycle = first_cycle[k], first_cycle[k + 1]
            last = o.last[l]
            most = 10 * (end_cycle - c) + (end_stretch - s) + len(edges) + 2
            if used + most > room:
                return k
            p = person_of(o, people, block[l], l)
            prior = b.od_prior_aids if p.prior_aids else 0.0
            burst = long = 0.0
            acute = np.zeros(len(taus))
            cycle_day, now, interval = -1, 0, 0
            while now < last:
                while c < end_cycle and day[c] <= now:
                    cells = native(
                        o.virus[outset.N_START, s], o.virus[outset.N_TARGET, s], o.virus[outset.N_RATE, s],
                        day[c] - o.stretch[s],
                    )  # fmt: skip
                    if cycle_day >= 0:
                        burst, long = long_lived(b, p, burst, long, day[c] - cycle_day)
                        for t in range(len(taus)):
                            acute[t] *= exp(-(day[c] - cycle_day) / taus[t])
                    if dose[c] > 0.0:
                        burst += rise_from(b, p, dose_effect(b, dose[c]), cells, cells + burst + long)
                        for t in range(len(taus)):
                            acute[t] += dose[c] / 7.5
                    cycle_day = day[c]
                    c += 1
                stop = min(edges[interval + 1], last)
                if s + 1 < end_stretch:
                    stop = min(stop, o.stretch[s + 1])
                if c < end_cycle:
                    stop = min(stop, day[c])
                recent = 0
                if cycle_day >= 0:
                    since = now - cycle_day
                    if since < 28:
                        stop = min(stop, now + FRESH_DAYS)
                    elif since < 112:
                        stop = min(stop, now + SOON_DAYS)
                    if since < RECENT_DAYS:
                        recent = 1
                        stop = min(stop, cycle_day + RECENT_DAYS)
                middle = 0.5 * (now + stop)
                age = p.age + middle / 365.25
                virus = b.virus_on_hazard * (p.log10_level - b.rna_floor) if o.viraemic[s] else 0.0
                pieces.interval[used], pieces.recent[used] = interval, recent
                pieces.length[used] = stop - now
                pieces.native[used] = native(
                    o.virus[outset.N_START, s], o.virus[outset.N_TARGET, s], o.virus[outset.N_RATE, s],
                    middle - o.stretch[s],
                )  # fmt: skip
                pieces.induced[used] = 0.0
                for t in range(len(taus)):
                    pieces.exposure[t, used] = 0.0
                if cycle_day >= 0:
                    fast, slow = long_lived(b, p, burst, long, middle - cycle_day)
                    pieces.induced[used] = fast + slow
                    for t in range(len(taus)):
                        pieces.exposure[t, used] = mean_exposure(
                            acute[t], now - cycle_day, stop - cycle_day, taus[t]
                        )
                pieces.disease[used] = od_hazard(b, 0.0, virus, prior)
                pieces.background[used] = background_death(b, age)
                pieces.linked[used] = linked_death(b, age, 0.0, virus)
                used += 1
                now = stop
                if now >= edges[interval + 1]:
                    interval += 1
                if s + 1 < end_stretch and o.stretch[s + 1] <= now:
                    s += 1
            pieces.first[k + 1] = used
        start += settled
    return len(rows)


@njit
def protection(d, od_power, death_power, phi, pieces, disease, linked):
    """The factors of the hazards for a functional share `phi` of the induced cells, without frailty and harm:
    out, over the pieces, `disease` and `linked` (of death), per day."""
    for j in range(pieces.first[-1]):
        count = max(min(pieces.native[j] + phi * pieces.induced[j], d.functional_cap), 1.0)
        lf = log(count) - LN_350
        disease[j] = pieces.disease[j] * exp(-od_power * lf)
        linked[j] = pieces.linked[j] * exp(-death_power * lf)


@njit(forceinline=True)
def _step(free, ill, od, death, after_od, days):
    """One piece: person-days free of disease and first diseases, deaths after one, and who is free and ill at
    the end. `free`, `ill`: probabilities at the start; hazards per day."""
    out_of_free, out_of_ill = od + death, after_od * death
    stay, live = exp(-out_of_free * days), exp(-out_of_ill * days)
    free_days = free * (1.0 - stay) / out_of_free
    diseases = od * free_days
    gap = out_of_ill - out_of_free
    if abs(gap) * days > 1e-7:
        still_ill = ill * live + free * od * (stay - live) / gap
    else:
        still_ill = ill * live + free * od * days * stay
    deaths_ill = max(ill + diseases - still_ill, 0.0)
    return free_days, diseases, deaths_ill, free * stay, still_ill


@njit(borrows=True)
def add_up(d, after_od, pieces, disease, linked, frailty, cell, rho, tau, od_scale, death_scale, sums):
    """Add the expected person-days and events of everybody to `sums`, shape (cells, intervals, SUMS).

    `disease`, `linked`: of `protection`. `frailty`, `cell`: over the people. `rho` and `tau` (the number of a
    time constant): harm just after a cycle, and how it fades. `after_od`: factor on death after a disease.
    `od_scale`, `death_scale`: factors on the rates of disease and of death linked to the count."""
    for k in range(len(frailty)):
        free, ill = 1.0, 0.0
        into = sums[cell[k]]
        z = frailty[k] * death_scale
        for j in range(pieces.first[k], pieces.first[k + 1]):
            harm = rho * pieces.exposure[tau, j]
            od = disease[j] * od_scale * (1.0 + d.harm_opportunistic * harm)
            death = (pieces.background[j] + z * linked[j]) * (1.0 + d.harm_death * harm)
            free_days, diseases, deaths_ill, free, ill = _step(
                free, ill, od, death, after_od, pieces.length[j]
            )
            row = into[pieces.interval[j]]
            row[FREE] += free_days
            row[DISEASE] += diseases
            row[DEATH_FREE] += death * free_days
            row[AFTER] += deaths_ill / (after_od * death)
            row[DEATH_AFTER] += deaths_ill
            if pieces.recent[j] == 1:
                row[FREE_RECENT] += free_days
                row[EVENTS_RECENT] += (od + death) * free_days


@njit(borrows=True)
def add_counts(after_od, pieces, disease, linked, frailty, od_scale, death_scale, sums):
    """Of people without harm: add to `sums`, shape (intervals, 5), first diseases, person-days alive, deaths,
    and the last two times the logarithm of the native count."""
    for k in range(len(frailty)):
        free, ill = 1.0, 0.0
        z = frailty[k] * death_scale
        for j in range(pieces.first[k], pieces.first[k + 1]):
            death = pieces.background[j] + z * linked[j]
            free_days, diseases, deaths_ill, free, ill = _step(
                free, ill, disease[j] * od_scale, death, after_od, pieces.length[j]
            )
            alive, deaths = free_days + deaths_ill / (after_od * death), death * free_days + deaths_ill
            count = log(max(pieces.native[j], 1.0))
            row = sums[pieces.interval[j]]
            row[0] += diseases
            row[1] += alive
            row[2] += deaths
            row[3] += alive * count
            row[4] += deaths * count
