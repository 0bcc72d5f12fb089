"""Hazards per day of opportunistic disease, death and grade 4 events, and how they are integrated.

Time is cut into quadrature pieces within which the hazard is constant: its value at the functional CD4
count in the middle of the piece times the exact mean of the exposure kernels. Pieces are cut at switches of
the virus, at opportunistic disease, and (when cycles touch the hazards at all) at cycles. An event falls on
the day on which the cumulative hazard reaches a unit exponential that was drawn beforehand.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from equipoise._compile import njit
from equipoise.virtual.latent import mean_exposure, native
from equipoise.virtual.maths import exp, exp4, exponential_quantile, log
from equipoise.virtual.philox import uniforms

__all__ = [
    "NEVER",
    "PIECE_ROWS",
    "Hazards",
    "crossing_day",
    "functional",
    "hazards",
    "hazards_along",
    "highest",
    "oldest",
    "orderly",
    "piece_hazards",
    "piece_length",
    "threshold",
    "touched",
]

NEVER = 1 << 40
"""A day that never comes."""

QUIET_DAYS = (28, 46, 91, 122)
"""Longest piece without a recent cycle, in the first half year, half year to a year, second and third year,
and later, counted from randomisation or the last switch of the virus: native cells move fastest at first."""
_AWAY = 0.5 * QUIET_DAYS[3]
"""The middle of a piece, half of the longest, is at most so many days away from any day of the piece."""
RECENT_DAYS = 28
"""Longest piece in the 112 days after a cycle."""
FRESH_DAYS = 14
"""Longest piece in the 28 days after a cycle; half of it when the acute harm lasts less than 28 days."""

(
    START, END, MIDDLE, N_START, N_TARGET, SETTLE, VIRUS, COUNT, HARM, SINCE, BURST, LONG, FED, ACUTE,
    CHRONIC, FADED,
) = range(16)  # fmt: skip
"""Rows of the pieces of `hazards_along`, days as floats. START, END, MIDDLE of the piece. Native cells were
N_START and settle to N_TARGET, by e to the power SETTLE until the middle. VIRUS: what the virus adds to the
logarithm of the hazards. SINCE: day of the last cycle, at which burst, long-lived cells and exposures were
BURST, LONG, ACUTE, CHRONIC; FED: the long-lived cells that the burst feeds. COUNT, HARM, FADED: scratch."""
PIECE_ROWS = 16
DAYS, OLDEST, FRAILTY, VIRAEMIC, PRIOR, LOWEST = range(6)
"""Rows of the stretches of `highest`. DAYS that it lasts; age of the person in the middle of the last piece
(OLDEST), and FRAILTY; what the virus (VIRAEMIC) and earlier AIDS (PRIOR) add to the logarithm of the hazards.
LOWEST: scratch."""
STRETCH_ROWS = 6

LN_350 = 5.857933154483459
"""Logarithm of the functional count (cells/mm3) to which the rates of the parameter file belong."""
_LN_500 = 6.214608098422191
_LN_750 = 6.620073206530356


class Hazards(NamedTuple):
    """Per day."""

    opportunistic: float
    death: float
    grade4: float


@njit(forceinline=True)
def threshold(seed, trial, number, purpose, index):
    """Unit exponential that the cumulative hazard must reach: purpose as in `streams`, index = occurrence."""
    u, _ = uniforms(seed, purpose, index, number, trial)
    return exponential_quantile(u)


@njit(forceinline=True)
def touched(d):
    """Whether some dial lets what a cycle does touch the hazards."""
    return d.phi != 0.0 or d.rho_acute != 0.0 or d.rho_chronic != 0.0


@njit(forceinline=True)
def piece_length(d, couples, since_cycle, since_switch):
    """Longest piece (days) that may start `since_cycle` days after the last cycle (any number if not
    `couples`) and `since_switch` days after randomisation or the last switch of the virus.

    `couples`: there has been a cycle and some dial lets cycles touch the hazards. Without it both arms use
    the same pieces, so that a person's event times are identical in both. The lengths keep the cumulative
    hazard over eight years within 0.1 % of that of fine steps (tests/test_virtual_hazards.py).
    """
    if couples and since_cycle < 28:
        return FRESH_DAYS // 2 if d.rho_acute != 0.0 and d.tau_acute < 28.0 else FRESH_DAYS
    if couples and since_cycle < 112:
        return RECENT_DAYS
    if since_switch < 183:
        return QUIET_DAYS[0]
    if since_switch < 365:
        return QUIET_DAYS[1]
    return QUIET_DAYS[2] if since_switch < 1096 else QUIET_DAYS[3]


@njit(forceinline=True)
def functional(d, native_now, induced_now):
    """Functional CD4: native cells plus the functional share of the induced ones, capped; at least 1."""
    return max(min(native_now + d.phi * induced_now, d.functional_cap), 1.0)


@njit(forceinline=True)
def hazards(b, d, p, viraemic, after_od, day, functional_now, acute, chronic):
    """Hazards per day at `day` (float, since randomisation) for a functional count and mean exposures."""
    harm = d.rho_acute * acute + d.rho_chronic * chronic
    return _hazards_at(b, d, p, viraemic, after_od, day, log(functional_now), harm)


@njit(forceinline=True)
def _hazards_at(b, d, p, viraemic, after_od, day, log_functional, harm):
    """`hazards`, given the logarithm of the functional count and the harm of the exposures together."""
    age = p.age + day / 365.25
    lf = log_functional - LN_350
    virus = b.virus_on_hazard * (p.log10_level - b.rna_floor) if viraemic else 0.0
    prior = b.od_prior_aids if p.prior_aids else 0.0
    od, background, linked, g4 = exp4(
        b.ln_od - b.od_power * lf + virus + prior,
        b.ln_death_45 + b.death_age * (age - 45.0),
        b.ln_death - b.death_power * lf + virus + b.death_linked_age * (age - 40.0),
        b.ln_grade4 + b.grade4_age * (age - 45.0) - b.grade4_power * (min(lf + LN_350, _LN_750) - _LN_500),
    )
    death = (background + p.frailty * linked) * (b.death_after_od if after_od else 1.0)
    return Hazards(
        od * (1.0 + d.harm_opportunistic * harm),
        death * (1.0 + d.harm_death * harm),
        g4 * (1.0 + d.harm_grade4 * harm),
    )


@njit(forceinline=True)
def piece_hazards(
    b,
    d,
    p,
    viraemic,
    after_od,
    start,
    end,
    n_start,
    n_target,
    n_rate,
    n_day,
    burst,
    long,
    acute,
    chronic,
    cycle_day,
):
    """Hazards of the piece from day `start` to `end`.

    Native cells were `n_start` on `n_day` and relax to `n_target`; burst, long-lived cells and exposures
    were as given on `cycle_day` (-1: no cycle yet).
    """
    middle = 0.5 * (start + end)
    if cycle_day < 0 or not touched(d):
        n = native(n_start, n_target, n_rate, middle - n_day)
        return hazards(b, d, p, viraemic, after_od, middle, functional(d, n, 0.0), 0.0, 0.0)
    # As `native`, `long_lived` and `mean_exposure`, with four of their exponentials taken at once.
    since, until = middle - cycle_day, end - cycle_day
    k = p.loss_long_lived
    settled, fast, slow, faded = exp4(
        -n_rate * (middle - n_day), -b.loss_burst * since, -k * since, -(start - cycle_day) / d.tau_acute
    )
    n = n_target + (n_start - n_target) * settled
    fed = b.survive * b.loss_burst * burst / (b.loss_burst - k)
    induced = burst * fast + (long * slow + fed * (slow - fast))
    a = 0.0
    x = 0.0
    if d.rho_acute != 0.0 and end > start:
        a = acute * d.tau_acute / (end - start) * (faded - exp(-until / d.tau_acute))
    elif d.rho_acute != 0.0:
        a = acute * faded
    if d.rho_chronic != 0.0:
        x = mean_exposure(chronic, start - cycle_day, end - cycle_day, d.tau_chronic)
    return hazards(b, d, p, viraemic, after_od, middle, functional(d, n, induced), a, x)


@njit(forceinline=True)
def orderly(b, d):
    """Whether more cells never raise a hazard, age never lowers one, and cycles add cells and harm only, so
    that `highest` bounds them. So it is but for a negative dial phi and odd populations."""
    cells = b.od_power >= 0.0 and b.death_power >= 0.0 and b.grade4_power >= 0.0
    ageing = b.death_age >= 0.0 and b.death_linked_age >= 0.0 and b.grade4_age >= 0.0
    return cells and ageing and d.phi >= 0.0 and b.survive >= 0.0 and b.nadir_share >= 0.0


@njit(forceinline=True, borrows=True)
def highest(b, d, n_start, n_target, n_rate, count, stretches, rates):
    """Bounds on the hazards in `count` stretches between two switches of the virus, each of some person: in
    each quarter of a stretch no hazard is higher, to 1e-12 of it, if `orderly`, without harm and before any
    opportunistic disease, and whatever pieces the days are cut into.

    Native cells only rise or only fall meanwhile, from n_start to n_target at n_rate per day (float64[at
    least count], as the rows of the others). stretches: float64[STRETCH_ROWS], the rows as named in this
    module. Out: rates (float64[12]: opportunistic disease, death, grade 4 of the first quarter, and so
    on)."""
    k = np.uint64(count)
    days, age, frailty = stretches[DAYS], stretches[OLDEST], stretches[FRAILTY]
    virus, prior, lf = stretches[VIRAEMIC], stretches[PRIOR], stretches[LOWEST]
    for quarter in range(4):
        od, death, grade4 = rates[3 * quarter], rates[3 * quarter + 1], rates[3 * quarter + 2]
        for i in range(k):
            # A piece takes count and age in its middle, which may lie in another quarter.
            first = 0.25 * days[i] + _AWAY if n_target[i] < n_start[i] else -_AWAY
            since = max(first + quarter * (0.25 * days[i]), 0.0)
            native_then = n_target[i] + (n_start[i] - n_target[i]) * exp(-n_rate[i] * since)
            lf[i] = log(functional(d, native_then, 0.0)) - LN_350
        for i in range(k):
            od[i] = od_hazard(b, lf[i], virus[i], prior[i])
        for i in range(k):
            age_then = age[i] - (3 - quarter) * (0.25 * days[i]) / 365.25
            death[i] = _death(b, age_then, lf[i], virus[i], frailty[i])
        for i in range(k):
            grade4[i] = _grade4(b, age[i] - (3 - quarter) * (0.25 * days[i]) / 365.25, lf[i])


@njit(forceinline=True)
def oldest(age, day):
    """Age in the middle of the last piece that touches `day`, at most, of somebody of that age on day 0."""
    return age + (day + _AWAY) / 365.25


@njit(forceinline=True)
def od_hazard(b, lf, virus, prior):
    """Hazard of opportunistic disease: lf is the logarithm of the functional count over 350, virus and prior
    what the virus and earlier AIDS add to the logarithm of the hazard."""
    return exp(b.ln_od - b.od_power * lf + virus + prior)


@njit(forceinline=True)
def _death(b, age, lf, virus, frailty):
    """Hazard of death before any opportunistic disease, as `od_hazard`."""
    background = background_death(b, age)
    return background + frailty * linked_death(b, age, lf, virus)


@njit(forceinline=True)
def background_death(b, age):
    """Hazard of death whatever the count."""
    return exp(b.ln_death_45 + b.death_age * (age - 45.0))


@njit(forceinline=True)
def linked_death(b, age, lf, virus):
    """Hazard of death that is linked to the count, at frailty 1, as `od_hazard`."""
    return exp(b.ln_death - b.death_power * lf + virus + b.death_linked_age * (age - 40.0))


@njit(forceinline=True)
def _grade4(b, age, lf):
    """Hazard of a grade 4 event of the background, as `od_hazard`."""
    below = min(lf + LN_350, _LN_750) - _LN_500
    return exp(b.ln_grade4 + b.grade4_age * (age - 45.0) - b.grade4_power * below)


@njit(forceinline=True, borrows=True)
def hazards_along(b, d, p, after_od, coupled, wanted, count, pieces, rates):
    """The hazards of `count` pieces of one person, with the same bits as from `piece_hazards`.

    wanted: whether each of the three is worked out; else it is put down as 0. pieces: float64[PIECE_ROWS, at
    least count], the rows as named in this module; rows from SINCE on are only read where `coupled` (a cycle
    touches the hazards of some piece; before the first cycle burst, long-lived cells and exposures are 0).
    Out: rates (float64[3, at least count]: opportunistic disease, death, grade 4). Step by step for all
    pieces together, so that the compiler works on several at once; some rows serve as scratch."""
    k = np.uint64(count)
    middle, virus = pieces[MIDDLE], pieces[VIRUS]
    n_start, n_target, settle = pieces[N_START], pieces[N_TARGET], pieces[SETTLE]
    count_then, harm = pieces[COUNT], pieces[HARM]
    for i in range(k):
        count_then[i] = n_target[i] + (n_start[i] - n_target[i]) * exp(settle[i])
    if coupled:
        since, burst, long, fed = pieces[SINCE], pieces[BURST], pieces[LONG], pieces[FED]
        loss = p.loss_long_lived
        for i in range(k):
            fast = exp(-b.loss_burst * (middle[i] - since[i]))
            slow = exp(-loss * (middle[i] - since[i]))
            induced = burst[i] * fast + (long[i] * slow + fed[i] * (slow - fast))
            count_then[i] = log(functional(d, count_then[i], induced))
        _harm(d, wanted, k, pieces)
    else:
        for i in range(k):
            count_then[i] = log(functional(d, count_then[i], 0.0))
            harm[i] = 0.0
    prior = b.od_prior_aids if p.prior_aids else 0.0
    again = b.death_after_od if after_od else 1.0
    od, death, grade4 = rates[0], rates[1], rates[2]
    for row in range(3):
        if not wanted[row]:
            rates[row, :count] = 0.0
    for i in range(k if wanted[0] else np.uint64(0)):
        od[i] = od_hazard(b, count_then[i] - LN_350, virus[i], prior) * (1.0 + d.harm_opportunistic * harm[i])
    for i in range(k if wanted[1] else np.uint64(0)):
        age = p.age + middle[i] / 365.25
        before_od = _death(b, age, count_then[i] - LN_350, virus[i], p.frailty)
        death[i] = before_od * again * (1.0 + d.harm_death * harm[i])
    for i in range(k if wanted[2] else np.uint64(0)):
        age = p.age + middle[i] / 365.25
        grade4[i] = _grade4(b, age, count_then[i] - LN_350) * (1.0 + d.harm_grade4 * harm[i])


@njit(forceinline=True, borrows=True)
def _harm(d, wanted, k, pieces):
    """The harm of the exposures in each piece; none where it touches no hazard that is wanted."""
    start, end, since, harm = pieces[START], pieces[END], pieces[SINCE], pieces[HARM]
    acute, chronic, faded = pieces[ACUTE], pieces[CHRONIC], pieces[FADED]
    for i in range(k):
        harm[i] = 0.0
    od_or_death = (wanted[0] and d.harm_opportunistic != 0.0) or (wanted[1] and d.harm_death != 0.0)
    if not (od_or_death or (wanted[2] and d.harm_grade4 != 0.0)):
        return
    if d.rho_acute != 0.0:
        for i in range(k):
            faded[i] = exp(-(end[i] - since[i]) / d.tau_acute)
        # A piece begins where the last one ended, except at a cycle, where nothing has faded yet.
        before = exp(-(start[0] - since[0]) / d.tau_acute)
        for i in range(k):
            if i > 0:
                before = faded[i - np.uint64(1)] if since[i] == since[i - np.uint64(1)] else 1.0
            length = end[i] - start[i]
            mean = (
                acute[i] * d.tau_acute / length * (before - faded[i]) if length > 0.0 else acute[i] * before
            )
            harm[i] = d.rho_acute * mean
    if d.rho_chronic != 0.0:
        for i in range(k):
            x = mean_exposure(chronic[i], start[i] - since[i], end[i] - since[i], d.tau_chronic)
            harm[i] += d.rho_chronic * x


@njit(forceinline=True)
def crossing_day(start, end, reached, hazard, needed):
    """Whole day in [start, end] on which the cumulative hazard, `reached` on day `start`, gets to `needed`
    (never before `start`); NEVER if not within the piece."""
    if reached + hazard * (end - start) < needed:
        return NEVER
    days = (needed - reached) / hazard
    day = start + max(math.ceil(days), 0)
    return min(day, end)
