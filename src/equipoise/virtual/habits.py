"""What participants do with a protocol: accept or decline, miss visits, stop a cycle early, leave, become
pregnant.

All of it is drawn from the person's own streams, so that it is the same in both arms as far as it can be.
"""

from __future__ import annotations

from equipoise._compile import njit
from equipoise.virtual.maths import exp, expit, exponential_quantile, floor_day, log, normal_quantile
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import (
    CYCLE,
    CYCLE_TOXICITY,
    LOSS,
    NO_CONTRACEPTION,
    OFF_ART,
    OFFER,
    PREGNANCY,
    VISIT,
)

__all__ = [
    "EPISODES",
    "accepts",
    "accepts_from",
    "contact_delay",
    "contact_delay_from",
    "cycle_outcome",
    "cycle_outcome_from",
    "episode_start",
    "episode_switch",
    "leaving",
    "leaving_day",
    "toxicity_chances",
    "visit_day",
]

EPISODES = (PREGNANCY, NO_CONTRACEPTION, OFF_ART)
"""Kinds of episode that can hold cycles, by the stream they are drawn from: bit 0, 1, 2 of a hold mask."""

_FAR = 1e6


@njit
def leaving(h, seed, trial, number):
    """(loss day, withdrawal day): days (whole, from 1) on which contact is lost, or consent withdrawn."""
    u, v = uniforms(seed, LOSS, 0, number, trial)
    return leaving_day(u, h.loss), leaving_day(v, h.withdrawal)


@njit(forceinline=True)
def leaving_day(u, rate):
    """Day (whole, from 1) on which somebody leaves at a rate per day, given its uniform u."""
    return 1 + floor_day(min(exponential_quantile(u) / max(rate, 1e-12), _FAR))


@njit(forceinline=True)
def visit_day(h, seed, trial, number, index, planned, earliest, before):
    """Day on which planned visit `index` is made, or -1 if it is missed.

    Normal around the planned day, never before `earliest`, always before the day `before` (the opening of the
    next visit's window; past its own window the visit counts as late). Day 0 is kept by everybody.
    """
    u, v = uniforms(seed, VISIT, index, number, trial)
    return visit_day_from(h, u, normal_quantile(v), planned, earliest, before)


@njit(forceinline=True)
def visit_day_from(h, u, z, planned, earliest, before):
    """`visit_day`, given its uniform u (missed or not) and its standard normal z (the day)."""
    if planned <= 0:
        return planned
    if u < h.missed_visit:
        return -1
    day = planned + floor_day(h.visit_sd * z + 0.5)
    return max(min(day, before - 1), earliest)


@njit(forceinline=True)
def contact_delay(h, seed, trial, number, index):
    """Whole days between the day on which a cycle is due and the contact at which it is offered."""
    _, v = uniforms(seed, OFFER, index, number, trial)
    return contact_delay_from(h, exponential_quantile(v))


@njit(forceinline=True)
def contact_delay_from(h, x):
    """`contact_delay`, given its unit exponential x."""
    return floor_day(x * h.contact_delay)


@njit
def accepts(h, p, seed, trial, index, cycles, maintenance, day):
    """1 if offer `index` is accepted, else 0: logistic in the person's willingness, earlier cycles and
    time."""
    u, _ = uniforms(seed, OFFER, index, p.number, trial)
    return accepts_from(h, p, u, cycles, maintenance, day)


@njit(forceinline=True)
def accepts_from(h, p, u, cycles, maintenance, day):
    """`accepts`, given its uniform u."""
    logit = h.accept_base + p.willingness + h.accept_per_cycle * cycles
    if maintenance:
        logit += h.accept_maintenance + h.accept_year * (day / 365.25 - 1.0)
    return 1 if u < expit(logit) else 0


@njit
def cycle_outcome(b, h, seed, trial, number, index, dose, planned):
    """What becomes of cycle `index` (from 0) at `dose` MIU with `planned` injections.

    Returns (injections given, worst toxicity attributed to it: 0, 3 or 4, days from its start to that
    toxicity). Those who stop early have taken the first injections only. Grade 4 has probability 1 - exp(-p
    (dose/7.5)^q).
    """
    u, v = uniforms(seed, CYCLE, index, number, trial)
    w, y = uniforms(seed, CYCLE_TOXICITY, index, number, trial)
    return cycle_outcome_from(b, h, u, v, w, y, toxicity_chances(b, dose), planned)


@njit(forceinline=True)
def toxicity_chances(b, dose):
    """Probability of a toxicity of grade 4 and, without one, of grade 3 at `dose` MIU."""
    strength = exp(b.grade4_dose_power * log(dose / 7.5))
    return 1.0 - exp(-b.grade4_cycle * strength), 1.0 - exp(-b.grade3_cycle * strength)


@njit(forceinline=True)
def cycle_outcome_from(b, h, u, v, w, y, chances, planned):
    """`cycle_outcome`, given its uniforms and the `toxicity_chances` of the dose."""
    given = planned
    if u >= h.complete_cycle:
        given = max(
            1,
            min(
                planned - 1, 1 + floor_day((planned - 1) * (u - h.complete_cycle) / (1.0 - h.complete_cycle))
            ),
        )
    grade = 0
    if v < chances[0]:
        grade = 4
    elif w < chances[1]:
        grade = 3
    return given, grade, 1 + floor_day(y * b.event_delay)


@njit
def episode_switch(h, p, seed, trial, kind, index, day):
    """Day (after `day`) on which episode `kind` (0, 1, 2 as in `EPISODES`) starts (even index) or ends
    (odd)."""
    if kind == 0:
        rate, length, stream = h.pregnancy, h.pregnancy_days, PREGNANCY
    elif kind == 1:
        rate, length, stream = h.no_contraception, h.no_contraception_days, NO_CONTRACEPTION
    else:
        rate, length, stream = h.off_art, h.off_art_days, OFF_ART
    if kind < 2 and index % 2 == 0 and (p.female == 0 or p.age + day / 365.25 >= h.childbearing_until):
        return day + floor_day(_FAR)
    if kind == 0 and index % 2 == 1:
        return day + max(1, floor_day(length))
    u, _ = uniforms(seed, stream, index, p.number, trial)
    if index % 2 == 1:
        return day + 1 + floor_day(min(exponential_quantile(u) * length, _FAR))
    return episode_start(exponential_quantile(u), rate, day)


@njit(forceinline=True)
def episode_start(x, rate, day):
    """Day (after `day`) on which an episode starts that comes at a rate per day, given its unit
    exponential."""
    return day + 1 + floor_day(min(x / max(rate, 1e-12), _FAR))
