"""Group-sequential design and monitoring: boundaries, and what may be said at the analysis.

    plan = design.boundaries([0.5, 0.75, 1], kind="obrien-fleming")    # z limits, drift, inflation, crossing
    now = design.recompute(plan, [98, 181], maximum=244)               # limits for the events observed
    now.finding(2.1)                                                   # decision, adjusted p, estimate,
    interval

Formulae and papers: docs/monitoring.md. Compiled cores that take no objects, for simulation:
`integration.limits`, `integration.crossing`, `integration.stagewise`, and `spending.spent`.
"""

from equipoise.design.boundaries import Boundaries, Crossing, boundaries, hazard_ratio, information_per_event
from equipoise.design.monitoring import Finding, Monitored, recompute

__all__ = [
    "Boundaries", "Crossing", "Finding", "Monitored", "boundaries", "hazard_ratio", "information_per_event",
    "recompute",
]  # fmt: skip
