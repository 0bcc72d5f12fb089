"""Did the treatment work through the marker? Two analyses of mediation, and what confounding could do.

Methods, assumptions and what breaks them: docs/surrogate-mediation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.g_formula import GFormula, g_formula
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.path import DynamicPath, dynamic_path
from equipoise.analyse.surrogate.scale import Transform
from equipoise.analyse.surrogate.sensitivity import Sensitivity, sensitivity


@dataclass(frozen=True)
class Mediation:
    """Both analyses of one trial up to the same horizon, and the sensitivity of the first."""

    path: DynamicPath
    g_formula: GFormula
    sensitivity: Sensitivity

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All that can be tabulated: the path's four, its risk differences, and the four of the g-formula."""
        return (*self.path.measures, *self.path.risk_differences, *self.g_formula.measures)


def mediation(
    trial: MarkedTrial,
    *,
    horizon: float | None = None,
    transform: Transform = "log2",
    covariates: ArrayLike | None = None,
    lag: float = 0.0,
    interval: float | None = None,
    bootstrap: int = 200,
    seed: int = 1,
    confidence: float = 0.95,
) -> Mediation:
    """Dynamic path analysis, g-formula and sensitivity analysis on the same people, horizon and bootstrap.

    horizon, lag, interval: years (see `dynamic_path` and `g_formula`; the lag is of the path analysis alone).
    covariates: shape (n, p). Both adjust for the marker at randomisation. Raises UserError as they do; what
    the data do not allow is refused in the measures.
    """
    path = dynamic_path(
        trial, horizon=horizon, transform=transform, covariates=covariates, lag=lag, bootstrap=bootstrap,
        seed=seed, confidence=confidence,
    )  # fmt: skip
    formula = g_formula(
        trial, horizon=horizon, transform=transform, covariates=covariates, interval=interval,
        bootstrap=bootstrap, seed=seed, confidence=confidence,
    )  # fmt: skip
    return Mediation(path, formula, sensitivity(path))
