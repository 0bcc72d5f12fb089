"""HIV RNA: suppressed or viraemic, with exponential sojourns and a level of the person's own."""

from __future__ import annotations

from equipoise._compile import njit
from equipoise.virtual.maths import exponential_quantile, floor_day, normal_quantile
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import VIRUS_SWITCH

__all__ = ["level", "next_switch", "next_switch_from", "suppressed_level", "viraemic_level"]


@njit(forceinline=True)
def next_switch(b, seed, trial, number, index, viraemic, day):
    """Day (whole, after `day`) of the next switch between suppressed and viraemic; `index` counts
    switches."""
    u, _ = uniforms(seed, VIRUS_SWITCH, index, number, trial)
    return next_switch_from(b, exponential_quantile(u), viraemic, day)


@njit(forceinline=True)
def next_switch_from(b, x, viraemic, day):
    """`next_switch`, given its unit exponential x."""
    rate = b.resuppression if viraemic else b.failure
    return day + 1 + floor_day(min(x / rate, 1e6))


@njit(forceinline=True)
def level(b, p, viraemic, u):
    """log10 copies/mL in a sample, from a uniform u."""
    return viraemic_level(b, p.log10_level, u) if viraemic else suppressed_level(b, u)


@njit(forceinline=True)
def viraemic_level(b, log10_level, u):
    """log10 copies/mL in a viraemic person's sample: their level with normal noise."""
    return max(log10_level + b.rna_noise * normal_quantile(u), b.rna_floor)


@njit(forceinline=True)
def suppressed_level(b, u):
    """log10 copies/mL in a suppressed person's sample: below the limit of the assay for a share of samples
    (half a log10 below it, which nobody sees), otherwise anywhere in a span above it."""
    if u < b.rna_below_limit:
        return b.rna_floor - 0.5
    return b.rna_floor + b.rna_suppressed_span * (u - b.rna_below_limit) / (1.0 - b.rna_below_limit)
