"""Design and monitoring of a trial without simulating it: events, size, calendar, looks, boundaries.

`events` says how many events a hazard ratio takes, `calendar` when they come, `boundaries` when a trial
stops, `monitoring` what may be said at the analysis, `summary` all of it for a trial that is planned.

    plan = design.boundaries([0.5, 0.75, 1], kind="obrien-fleming")  # z limits, drift, inflation, crossing
    now = design.recompute(plan, [98, 181], maximum=244)             # limits for the events observed
    now.finding(2.1)                                                 # decision, adjusted p, estimate

Formulae and papers: docs/design.md, docs/monitoring.md. Compiled cores that take no objects, for simulation:
`integration.limits`, `integration.crossing`, `integration.stagewise`, and `spending.spent`.
"""

from equipoise.design.boundaries import Boundaries, Crossing, boundaries, hazard_ratio, information_per_event
from equipoise.design.calendar import Accrual, Arm, EventModel, Hazard, time_to_events
from equipoise.design.events import (
    detectable_hazard_ratio,
    freedman_events,
    participants_needed,
    schoenfeld_events,
    schoenfeld_power,
)
from equipoise.design.monitoring import Finding, Monitored, recompute

__all__ = [
    "Accrual", "Arm", "Boundaries", "Crossing", "EventModel", "Finding", "Hazard", "Monitored", "boundaries",
    "detectable_hazard_ratio", "freedman_events", "hazard_ratio", "information_per_event",
    "participants_needed", "recompute", "schoenfeld_events", "schoenfeld_power", "time_to_events",
]  # fmt: skip
