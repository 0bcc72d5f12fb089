"""The CD4 count that nobody sees, in closed form between events.

Three linear compartments (cells/mm3): native cells N that relax to a level set by antiretroviral therapy, a
short-lived burst P that a cycle throws out, and the long-lived cells M that survive from it. Between two
events (a switch of the virus, a cycle) every compartment is a sum of exponentials, so its value on any day
follows from its value at the last event; nothing is stepped. A cycle of five days against eight weeks
between cycles is treated as an impulse. Written as a piecewise deterministic process with impulse control,
after the models of interleukin-7 cycles (Pasin et al., Bull Math Biol 2018); equations in
docs/virtual-participants.md.
"""

from __future__ import annotations

from typing import NamedTuple

from equipoise._compile import njit
from equipoise.virtual.maths import exp, expit, log, normal_quantile
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import TRAITS_HABIT, TRAITS_NATIVE

__all__ = [
    "Person", "dose_effect", "expit", "exposure", "long_lived", "native", "native_level", "person",
    "person_from", "relax", "rise", "rise_from",
]  # fmt: skip


class Person(NamedTuple):
    """One person's constants. Counts in cells/mm3, age in years at randomisation, rates per day."""

    number: int
    """Candidate number: the person word of every random draw."""
    count: float  # type: ignore[assignment]
    """True CD4 count on the day of randomisation."""
    nadir: float
    age: float
    female: int
    prior_aids: int
    viraemic: int
    """1 if viraemic on the day of randomisation."""
    log10_level: float
    """log10 copies/mL while viraemic."""
    native_level: float
    """Where native cells settle while the virus is suppressed."""
    response: float
    """Cells gained per (native + nu nadir) at a full 7.5 MIU cycle, far from the ceiling."""
    loss_long_lived: float
    """Loss rate of the long-lived cells, per day."""
    willingness: float
    """Normal deviate on the logit scale of accepting a cycle."""
    frailty: float
    """Factor on the CD4-linked hazard of death, mean one, tied to poor native recovery."""


@njit(forceinline=True)
def native_level(b, count, nadir, age, eta):
    """Level (cells/mm3) to which native cells tend while suppressed: log-linear in count, nadir, age and
    eta."""
    return exp(
        b.ln_level
        + b.level_count * log(count / 400.0)
        + b.level_nadir * log(nadir / 150.0)
        + b.level_age * (age - 40.0)
        + b.level_sd * eta
    )


@njit
def person(b, d, h, seed, trial, number, count, nadir, age, female, prior_aids, viraemic, log10_level):
    """Complete a candidate with the traits that nobody can measure. Floats but for the flags; see
    `Person`."""
    u1, u2 = uniforms(seed, TRAITS_NATIVE, 0, number, trial)
    u3, u4 = uniforms(seed, TRAITS_HABIT, 0, number, trial)
    return person_from(
        b, d, h, number, count, nadir, age, female, prior_aids, viraemic, log10_level, normal_quantile(u1),
        normal_quantile(u2), normal_quantile(u3), normal_quantile(u4),
    )  # fmt: skip


@njit(forceinline=True)
def person_from(
    b, d, h, number, count, nadir, age, female, prior_aids, viraemic, log10_level, eta, z_response,
    z_willingness, z_half_life,
):  # fmt: skip
    """`person`, given the four normals of the traits."""
    return Person(
        number,
        count,
        nadir,
        age,
        female,
        prior_aids,
        viraemic,
        log10_level,
        native_level(b, count, nadir, age, eta),
        d.response_multiplier * exp(b.ln_gain + b.gain_age * (age - 40.0) + b.gain_sd * z_response),
        b.loss_long_lived * exp(-b.half_life_sd * z_half_life),
        h.accept_sd * z_willingness,
        exp(-d.psi * eta - 0.5 * d.psi * d.psi),
    )


@njit(forceinline=True)
def relax(b, p, viraemic):
    """Rate (per day) and target (cells/mm3) of the native cells in this state of the virus."""
    if viraemic:
        return b.relax_viraemic, p.native_level * exp(-b.virus_on_level * (p.log10_level - b.rna_floor))
    return b.relax_suppressed, p.native_level


@njit(forceinline=True)
def native(start, target, rate, days):
    """Native cells `days` after they were `start`: N* + (N - N*) e^(-k t)."""
    return target + (start - target) * exp(-rate * days)


@njit(forceinline=True)
def long_lived(b, p, burst, long, days):
    """Burst and long-lived cells `days` after they were (burst, long): dP = -kP P, dM = sigma kP P - kM M."""
    return long_lived_from(b, p, burst, long, fed_by_burst(b, p, burst), days)


@njit(forceinline=True)
def fed_by_burst(b, p, burst):
    """Long-lived cells that come of a burst, before any of them or of it is lost."""
    return b.survive * b.loss_burst * burst / (b.loss_burst - p.loss_long_lived)


@njit(forceinline=True)
def long_lived_from(b, p, burst, long, fed, days):
    """`long_lived`, given `fed_by_burst`."""
    fast = exp(-b.loss_burst * days)
    slow = exp(-p.loss_long_lived * days)
    return burst * fast, long * slow + fed * (slow - fast)


@njit(forceinline=True)
def rise(b, p, dose, taken, native_now, count_now):
    """Cells that a cycle throws out: dose in MIU per injection, `taken` the share of its injections."""
    if dose <= 0.0 or taken <= 0.0:
        return 0.0
    return rise_from(b, p, dose_effect(b, dose * taken), native_now, count_now)


@njit(forceinline=True)
def dose_effect(b, dose):
    """Factor on the rise of a cycle whose injections come to `dose` MIU, were they all given: 1 at 7.5."""
    return exp(b.dose_power * log(dose / 7.5))


@njit(forceinline=True)
def rise_from(b, p, effect, native_now, count_now):
    """`rise`, given the `dose_effect`."""
    room = 1.0 - count_now / b.ceiling
    if room <= 0.0:
        return 0.0
    return p.response * effect * (native_now + b.nadir_share * p.nadir) * room


@njit(forceinline=True)
def exposure(at_cycle, days, tau):
    """Decaying exposure `days` after it was `at_cycle` (in cycles of 7.5 MIU)."""
    return at_cycle * exp(-days / tau)


@njit(forceinline=True)
def mean_exposure(at_cycle, from_day, to_day, tau):
    """Exact mean of the exposure between two days after it was `at_cycle`."""
    h = to_day - from_day
    if h <= 0.0:
        return exposure(at_cycle, from_day, tau)
    return at_cycle * tau / h * (exp(-from_day / tau) - exp(-to_day / tau))
