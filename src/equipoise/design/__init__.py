"""Design and monitoring without simulation: events and dates, boundaries, what may be said at the analysis.

    plan = design.boundaries([0.5, 0.75, 1], kind="obrien-fleming")    # z limits, drift, inflation, crossing
    now = design.recompute(plan, [98, 181], maximum=244)               # limits for the events observed
    now.finding(2.1)                                                   # decision, adjusted p, estimate

    design.schoenfeld_events(0.72, power=0.8)                          # events for a hazard ratio
    design.time_to_events(model, 291)                                  # when they come, of an EventModel

`summary` gathers all of it for a trial that is planned, which `from_protocol` reads from its file. Formulae
and papers: docs/monitoring.md and docs/design.md. Compiled cores that take no objects, for simulation:
`integration.limits`, `integration.crossing`, `integration.stagewise`, and `spending.spent`.
"""

from equipoise.design.attainable import Attained, Draws, attained_level
from equipoise.design.boundaries import Boundaries, Crossing, boundaries, hazard_ratio, information_per_event
from equipoise.design.calendar import Accrual, Arm, EventModel, Hazard, Stratum, TimeToEvents, time_to_events
from equipoise.design.events import (
    detectable_hazard_ratio,
    freedman_events,
    freedman_power,
    participants_needed,
    schoenfeld_events,
    schoenfeld_power,
)
from equipoise.design.monitoring import Finding, Monitored, recompute

__all__ = [
    "Accrual", "Arm", "Attained", "Boundaries", "Crossing", "Draws", "EventModel", "Finding", "Hazard",
    "Monitored", "Stratum", "TimeToEvents", "attained_level", "boundaries", "detectable_hazard_ratio",
    "freedman_events", "freedman_power", "hazard_ratio", "information_per_event", "participants_needed",
    "recompute", "schoenfeld_events", "schoenfeld_power", "time_to_events",
]  # fmt: skip
