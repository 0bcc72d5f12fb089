"""HIV RNA: suppressed or viraemic, with exponential sojourns and a level of the person's own."""

from __future__ import annotations

from equipoise._compile import njit
from equipoise.virtual.maths import exponential_quantile, floor_day, normal_quantile
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import VIRUS_SWITCH

__all__ = ["level", "next_switch"]


@njit(forceinline=True)
def next_switch(b, seed, trial, number, index, viraemic, day):
    """Day (whole, after `day`) of the next switch between suppressed and viraemic; `index` counts
    switches."""
    u, _ = uniforms(seed, VIRUS_SWITCH, index, number, trial)
    rate = b.resuppression if viraemic else b.failure
    return day + 1 + floor_day(min(exponential_quantile(u) / rate, 1e6))


@njit(forceinline=True)
def level(b, p, viraemic, u):
    """log10 copies/mL in a sample: the person's level with normal noise, or the floor plus a little; u
    uniform."""
    if viraemic:
        return min(max(p.log10_level + b.rna_noise * normal_quantile(u), b.rna_floor), 6.5)
    return b.rna_floor + b.rna_suppressed_excess * exponential_quantile(u)
