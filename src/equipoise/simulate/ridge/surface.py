"""Expected log hazard ratios between the settings at which they were worked out.

Functional share, harm, its time constant (on the log scale) and frailty span a box. The log hazard ratios are
smooth in all four, so a polynomial in each through few well-placed nodes is enough (barycentric
interpolation: Berrut and Trefethen, SIAM Rev 2004;46:501). How far it is off is measured at settings that it
does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.simulate.ridge.expected import Point

Floats = NDArray[np.float64]

TAU_FIRST, TAU_USUAL, TAU_LAST = 14.0, 130.0, 730.0
"""Time constants (days) that are looked at: that of the acute-phase proteins, the usual one, two years."""
RHO_FIRST, RHO_USUAL = 20.0, 3.0
"""Largest excess relative hazard that is looked at, for the first and for the usual time constant."""
PSI_LAST = 1.5
_POWER = math.log(RHO_FIRST / RHO_USUAL) / math.log(TAU_USUAL / TAU_FIRST)


def rho_limit(tau: float) -> float:
    """The largest rho that is looked at: less for a harm that lasts longer."""
    return float(RHO_USUAL * (TAU_USUAL / tau) ** _POWER)


@dataclass(frozen=True)
class Nodes:
    """Where the hazard ratios are worked out. `share`: rho as a share of `rho_limit`."""

    phi: tuple[float, ...]
    share: tuple[float, ...]
    tau: tuple[float, ...]
    psi: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.phi), len(self.share), len(self.tau), len(self.psi)

    def points(self) -> list[Point]:
        """All settings, the last dial changing fastest."""
        return [
            Point(phi, share * rho_limit(tau), tau, psi)
            for phi in self.phi
            for share in self.share
            for tau in self.tau
            for psi in self.psi
        ]


def chebyshev(low: float, high: float, count: int) -> tuple[float, ...]:
    """Nodes that lie closer towards the ends, both of which they include."""
    places = 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / (count - 1))
    return tuple(float(low + (high - low) * place) for place in places)


def nodes(psi: float, finer: bool = False) -> Nodes:
    """The nodes. `psi`: the population's own frailty, which is one of them."""
    taus: tuple[float, ...] = (14.0, 24.0, 55.0, 130.0, 280.0, 500.0, 730.0)
    psis = {0.0, 0.4, psi, 1.25, PSI_LAST}
    if finer:
        taus = (14.0, 18.0, 30.0, 60.0, 130.0, 240.0, 400.0, 600.0, 730.0)
        psis |= {0.15, 1.05}
    return Nodes(
        chebyshev(0, 1, 6 if finer else 4), chebyshev(0, 1, 7 if finer else 5), taus, tuple(sorted(psis))
    )


def _weights(known: Sequence[float], wanted: Floats) -> Floats:
    """The matrix that takes values at the nodes to values at the wanted places."""
    x = np.array(known, float)
    apart = x[:, None] - x[None, :]
    np.fill_diagonal(apart, 1.0)
    own: Floats = 1.0 / apart.prod(axis=1)
    away = wanted[:, None] - x[None, :]
    exact = np.abs(away) < 1e-13
    away[exact] = 1.0
    out: Floats = own / away
    out /= out.sum(axis=1, keepdims=True)
    hit = exact.any(axis=1)
    out[hit] = exact[hit].astype(float)
    return out


@dataclass(frozen=True, eq=False)
class Surface:
    """Log hazard ratios over the box: `values`, shape (*nodes.shape, figures)."""

    nodes: Nodes
    values: Floats

    def at(self, points: Sequence[Point]) -> Floats:
        """At single settings, shape (points, figures)."""
        p = np.array(points, float)
        share = p[:, 1] / np.array([rho_limit(tau) for tau in p[:, 2]])
        found: Floats = np.einsum(
            "pa,pb,pc,pd,abcdf->pf",
            _weights(self.nodes.phi, p[:, 0]), _weights(self.nodes.share, share),
            _weights(np.log(self.nodes.tau).tolist(), np.log(p[:, 2])), _weights(self.nodes.psi, p[:, 3]),
            self.values, optimize=True,
        )  # fmt: skip
        return found

    def grid(self, phi: Floats, share: Floats, tau: Floats, psi: Floats) -> Floats:
        """At every combination, shape (phi, share, tau, psi, figures)."""
        found: Floats = np.einsum(
            "pa,qb,rc,sd,abcdf->pqrsf",
            _weights(self.nodes.phi, phi), _weights(self.nodes.share, share),
            _weights(np.log(self.nodes.tau).tolist(), np.log(tau)), _weights(self.nodes.psi, psi),
            self.values, optimize=True,
        )  # fmt: skip
        return found
