"""What an unmeasured cause of both marker and outcome would have to be like to explain the mediation away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from equipoise.analyse.surrogate.decomposition import with_interval
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.path import DynamicPath
from equipoise.errors import UserError

CORRELATIONS = (0.2, 0.4, 0.6, 0.8, 1.0)


class CausalFraction(NamedTuple):
    """What the decomposition would be if only a fraction of the marker's slope were its effect."""

    fraction: float
    direct: Measure
    indirect: Measure
    share: Measure


class Confounder(NamedTuple):
    """An unmeasured cause, of unit variance, just strong enough to bring the indirect effect to zero."""

    correlation: float
    """Between the cause and the marker, given arm and covariates (absolute value)."""
    times_marker: float
    """Change of the hazard per standard deviation of the cause, as a multiple of that per standard deviation
    of the marker as it was observed."""
    relative_excess: float
    """The same change as a multiple of the mean hazard of the reference arm: 0.5 is half as many again."""


@dataclass(frozen=True)
class Sensitivity:
    """How the mediation by the path analysis depends on an unmeasured common cause of marker and outcome.

    The cause U has unit variance, is balanced between the arms, has correlation r with the marker given arm
    and covariates, and changes the hazard, per standard deviation, by g times what a standard deviation of
    the marker seems to. Then a fraction r g of the marker's slope is U's (see docs/surrogate-mediation.md),
    and the true indirect effect is (1 - r g) times the one observed. `slope_per_sd`: difference of cumulative
    hazards at the horizon per standard deviation of the marker. `to_interval`: the least r g at which the
    interval of the indirect effect reaches zero: 0 when it does already. `refused`: why there is nothing to
    say, in words."""

    fractions: tuple[CausalFraction, ...] = ()
    confounders: tuple[Confounder, ...] = ()
    slope_per_sd: float = math.nan
    to_interval: float = math.nan
    refused: str = ""

    @property
    def verdict(self) -> str:
        """One or two sentences for a reader who knows no formula."""
        if self.refused:
            return f"There is no indirect effect to explain away: {self.refused}."
        if self.to_interval == 0:
            return (
                "The indirect effect cannot be told from none: no unmeasured cause is needed to explain it."
            )
        return (
            "Let a common cause of marker and outcome change the hazard, standard deviation for standard "
            f"deviation, as much as the marker seems to. If it explained {self.to_interval**2:.0%} of the "
            "marker's variation within an arm, the indirect effect could not be told from none; to remove it "
            "the cause would have to explain all of it."
        )


def sensitivity(
    path: DynamicPath,
    *,
    fractions: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
    correlations: tuple[float, ...] = CORRELATIONS,
) -> Sensitivity:
    """The decomposition under causal fractions of the slope, and the confounders that would remove mediation.

    With h(t) = b0 + b1 arm + b2 marker + c U, least squares without U gives the marker the slope
    b2 + c r / sd(marker), by the formula of the omitted variable at each event time; randomisation keeps the
    total effect free of it, so what the indirect effect loses the direct effect gains. The tipping point,
    where the indirect effect is zero, is r g = 1. `fractions` and `correlations` from 0 to 1, correlations
    above 0; raises UserError otherwise. The idea of stating the strength that would be needed: Cornfield et
    al., JNCI 1959;22:173-203.
    """
    if any(not 0 <= f <= 1 for f in fractions):
        raise UserError("causal fractions lie between 0 and 1")
    if any(not 0 < r <= 1 for r in correlations):
        raise UserError("correlations of the unmeasured cause lie above 0 and up to 1")
    total, direct, indirect, share = path.measures
    if total.refused:
        return Sensitivity(refused=total.refused)
    step = np.diff(path.slope.value, prepend=0.0)
    per_sd = float((step * path.spread).sum())
    mean = float(path.reference_hazard[-1])
    excess = abs(per_sd) / mean if mean > 0 else math.nan
    return Sensitivity(
        fractions=tuple(_fraction(f, total, direct, indirect, share) for f in fractions),
        confounders=tuple(Confounder(r, 1 / r, excess / r) for r in correlations),
        slope_per_sd=per_sd,
        to_interval=_to_interval(indirect),
    )


def _to_interval(indirect: Measure) -> float:
    if indirect.low <= 0 <= indirect.high:
        return 0.0
    nearest = min(indirect.low, indirect.high, key=abs)
    return nearest / indirect.estimate


def _fraction(
    fraction: float, total: Measure, direct: Measure, indirect: Measure, share: Measure
) -> CausalFraction:
    """The three measures when `fraction` of the slope is causal. The covariance of total and indirect follows
    from the three variances, as total = direct + indirect in every sample."""
    covariance = (total.se**2 + indirect.se**2 - direct.se**2) / 2
    variance = total.se**2 + fraction**2 * indirect.se**2 - 2 * fraction * covariance
    rest = replace(direct, estimate=total.estimate - fraction * indirect.estimate)
    through = replace(indirect, estimate=fraction * indirect.estimate)
    part = share
    if not share.refused:
        part = replace(
            share, estimate=fraction * share.estimate, se=fraction * share.se, low=fraction * share.low,
            high=fraction * share.high,
        )  # fmt: skip
    return CausalFraction(
        fraction,
        with_interval(rest, math.sqrt(max(variance, 0.0)), total.confidence),
        with_interval(through, fraction * indirect.se, total.confidence),
        part,
    )
