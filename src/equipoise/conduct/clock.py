"""What time it is. The one place that asks; a rehearsal sets it, nothing else can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

HEADER = "Equipoise-Now"
"""In which a request of a rehearsal says what time it is."""
_rehearsed: ContextVar[datetime | None] = ContextVar("rehearsed", default=None)


def now() -> datetime:
    """The time of the server, in UTC; in a rehearsal, the simulated time of the request."""
    return _rehearsed.get() or datetime.now(UTC)


def today(zone: str) -> date:
    """The calendar date in a time zone: what day it is for the people of a site."""
    return now().astimezone(ZoneInfo(zone)).date()


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Inside the block it is `moment`. For rehearsals and tests only; the web sets it only where the trial
    is a rehearsal."""
    token = _rehearsed.set(moment.astimezone(UTC))
    try:
        yield
    finally:
        _rehearsed.reset(token)
