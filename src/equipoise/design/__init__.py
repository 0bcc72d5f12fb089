"""Design of a trial without simulating it: events, size, calendar, looks and boundaries.

`events` says how many events a hazard ratio takes, `calendar` when they come, `summary` all of that for a
trial that is planned, which `from_protocol` reads from its file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.design.calendar import Accrual, Arm, EventModel, Hazard, time_to_events
    from equipoise.design.events import (
        detectable_hazard_ratio,
        freedman_events,
        participants_needed,
        schoenfeld_events,
        schoenfeld_power,
    )

_PLACES = {
    "Accrual": "calendar",
    "Arm": "calendar",
    "EventModel": "calendar",
    "Hazard": "calendar",
    "detectable_hazard_ratio": "events",
    "freedman_events": "events",
    "participants_needed": "events",
    "schoenfeld_events": "events",
    "schoenfeld_power": "events",
    "time_to_events": "calendar",
}

__all__ = [
    "Accrual", "Arm", "EventModel", "Hazard", "detectable_hazard_ratio", "freedman_events",
    "participants_needed", "schoenfeld_events", "schoenfeld_power", "time_to_events",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'equipoise.design' has no attribute {name!r}")
    return getattr(import_module(f"equipoise.design.{_PLACES[name]}"), name)
