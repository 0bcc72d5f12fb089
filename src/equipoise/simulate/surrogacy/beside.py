"""Which number of the truth stands beside which measure of a simulated trial."""

from __future__ import annotations

import math

from equipoise.analyse.surrogate.evaluation import Evaluation
from equipoise.simulate.surrogacy.truth import Effect, Quantity, Truth

_RATIOS = {
    "prentice.treatment_on_outcome": "total",
    "prentice.outcome_given_marker": "direct",
    "expected.expected": "mediated",
    "expected.by_means": "mediated",
    "expected.observed": "total",
    "expected.observed_over_expected": "direct",
    "lin.unadjusted": "total",
    "lin.adjusted": "direct",
    "joint.arm": "direct",
}
"""Measures on the scale of the hazard ratio, and the effect that they are read as."""
_RISKS = {
    "path.risk.total": "total",
    "path.risk.direct": "direct",
    "path.risk.indirect": "mediated",
    "g_formula.total": "total",
    "g_formula.direct": "direct",
    "g_formula.indirect": "mediated",
}
_RISK_SHARES = ("path.share", "g_formula.share")


def beside(evaluation: Evaluation, known: Truth) -> dict[str, Quantity]:
    """The truth by the name of the measure it stands beside; a share is missing where none can be taken.

    Hazard ratios with the standard error that their logarithm's implies. The truth of a landmark analysis is
    not looked up: it is about those whom treatment left at risk."""
    effects = {"total": known.total, "direct": known.direct, "mediated": known.mediated}
    found: dict[str, Quantity] = {}
    for measure in evaluation.measures:
        name = measure.name
        if name in _RATIOS:
            found[name] = hazard_ratio(effects[_RATIOS[name]])
        elif name in _RISKS:
            found[name] = effects[_RISKS[name]].risk_difference
        elif not known.no_share_of_risk and name in _RISK_SHARES:
            found[name] = known.share_of_risk
        elif (
            not known.no_share and name.partition(".")[0] in ("lin", "freedman") and measure.scale == "share"
        ):
            found[name] = known.share
    return found


def hazard_ratio(effect: Effect) -> Quantity:
    """Hazard ratio of an effect, with its Monte Carlo standard error."""
    ratio = math.exp(effect.log_hazard_ratio.value)
    return Quantity(ratio, ratio * effect.log_hazard_ratio.error)
