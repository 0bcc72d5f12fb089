"""How strongly the marker goes with the outcome within people, treatment aside: one standard deviation of it,
and how much of the uncertainty about who has an event it takes away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import chndtr

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.analyse.surrogate.measure import Measure, refused
from equipoise.analyse.surrogate.rows import few_events, fit, ratio, rows_at_risk
from equipoise.analyse.surrogate.scale import Transform, on_scale
from equipoise.analyse.surrogate.time_varying import PROPORTIONAL, STANDS

ASSOCIATION = "an association, from whatever cause: it does not say that moving the marker moves the outcome"


@dataclass(frozen=True)
class IndividualLevel:
    """Hazard ratio per standard deviation of the marker given arm, and the likelihood reduction factor."""

    per_standard_deviation: Measure
    likelihood_reduction: Measure

    @property
    def measures(self) -> tuple[Measure, Measure]:
        return self.per_standard_deviation, self.likelihood_reduction


def individual_level(
    trial: MarkedTrial, *, transform: Transform = "log2", lag: float = 0.0, confidence: float = 0.95
) -> IndividualLevel:
    """Individual-level association of marker and outcome given treatment.

    The hazard ratio per standard deviation (between participants, at randomisation or, where fewer than two
    are known then, of all rows) of the latest value, given arm. And the likelihood reduction factor 1 -
    exp(-G2/k), with G2 what the marker adds to twice the log partial likelihood given arm (Alonso et al.,
    Stat Med 2006;25:205-21) and k the number of events, the unit of information in censored data
    (O'Quigley, Xu & Stare, Stat Med 2005;24:479-89); interval from the non-central chi-square
    distribution."""
    scaled, warnings = on_scale(trial, transform)
    rows = rows_at_risk(scaled, lag)
    base = scaled.baseline()
    base = base[~np.isnan(base)]
    spread = float(np.std(base, ddof=1)) if len(base) > 1 else math.nan
    if not spread > 0:
        spread = float(np.std(rows.value)) if len(rows.value) else math.nan
    steps = rows.value / (spread if spread > 0 else 1.0)
    both = fit(rows, np.column_stack([rows.treated, steps]))
    alone = fit(rows, rows.treated[:, None])
    first = ratio(
        both, 1, "individual.per_sd", f"per standard deviation of {trial.marker_label}, given arm",
        method=f"Cox model by the latest value; one standard deviation is {spread:.3g}",
        confidence=confidence, assumptions=(STANDS, PROPORTIONAL, ASSOCIATION), warnings=warnings,
    )  # fmt: skip
    name, label, scale = "individual.lrf", f"uncertainty that {trial.marker_label} takes away", "share"
    method = "likelihood reduction factor per event"
    reason = both.undefined or alone.undefined
    if reason:
        return IndividualLevel(first, refused(name, label, scale, reason, method=method))
    gain = max(0.0, 2 * (both.log_likelihood - alone.log_likelihood))
    low, high = (_noncentrality(gain, tail) for tail in ((1 + confidence) / 2, (1 - confidence) / 2))
    share = [1 - math.exp(-x / both.events) for x in (gain, low, high)]
    p = math.erfc(math.sqrt(gain / 2))
    second = Measure(
        name, label, scale, share[0], math.nan, share[1], share[2], p, confidence, method,
        (STANDS, PROPORTIONAL, ASSOCIATION), warnings + few_events(both),
    )  # fmt: skip
    return IndividualLevel(first, second)


def _noncentrality(gain: float, tail: float) -> float:
    """The non-centrality at which a chi-square of one degree is below `gain` with probability `tail`; 0 where
    none is."""
    if chndtr(gain, 1, 0.0) <= tail:
        return 0.0
    upper = gain + 10 * math.sqrt(gain + 1) + 10
    return float(brentq(lambda nc: chndtr(gain, 1, nc) - tail, 0.0, upper))
