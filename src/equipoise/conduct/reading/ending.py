"""The end of follow-up holds for everything that has a date: nothing on record happened after it.

What is dated after a day stands in the way of an end on that day; once the end is recorded, nothing is taken
that is dated after it. Only the end of an event may come later: what began in follow-up is followed to its
outcome. Of a date that is not known to the day its first possible day counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from equipoise.conduct import entering
from equipoise.conduct.models import (
    Cycle,
    Decision,
    Event,
    Form,
    Hold,
    Injection,
    Medication,
    Participant,
    Value,
)


class Dated(NamedTuple):
    """One thing on record, in words, with its day."""

    on: date
    words: str


def after(participant: Participant, day: date) -> list[Dated]:
    """What is on record of the days after `day`, in order of time."""
    return sorted(one for one in _dated(participant, day) if one.on > day)


def too_late(participant: Participant, day: date) -> str:
    """Why nothing can be recorded of a day, in words: follow-up had ended; empty while it had not."""
    if participant.ended_on is None or day <= participant.ended_on:
        return ""
    return f"{entering.said(day)} is after the end of follow-up ({entering.said(participant.ended_on)})"


def _dated(participant: Participant, day: date) -> Iterator[Dated]:
    """Everything that has a date; of what the database can compare, only what lies after the day."""
    for on in Form.objects.filter(participant=participant, done_on__gt=day).values_list("done_on", flat=True):
        yield Dated(on, f"a form of {entering.said(on)}")
    for on in (
        Value.objects.filter(form__participant=participant, measured_on__gt=day)
        .order_by().values_list("measured_on", flat=True).distinct()
    ):  # fmt: skip
        yield Dated(on, f"a value that was measured on {entering.said(on)}")
    for on in Decision.objects.filter(participant=participant, on__gt=day).values_list("on", flat=True):
        yield Dated(on, f"a dosing decision of {entering.said(on)}")
    for number, on in Cycle.objects.filter(participant=participant, on__gt=day).values_list("number", "on"):
        yield Dated(on, f"cycle {number} of {entering.said(on)}")
    given = Injection.objects.filter(state__in=(Injection.GIVEN, Injection.REDUCED), on__gt=day)
    for number, cycle, on in given.filter(cycle__participant=participant).values_list(
        "number", "cycle__number", "on"
    ):
        yield Dated(on, f"injection {number} of cycle {cycle}, given on {entering.said(on)}")
    for hold in Hold.objects.filter(participant=participant, hold=""):
        yield Dated(hold.since, f"a hold that was placed from {entering.said(hold.since)} on")
        if hold.until is not None:
            yield Dated(hold.until, f"a hold that was released on {entering.said(hold.until)}")
    for event in Event.objects.filter(participant=participant, removed="").prefetch_related("versions"):
        onset = max(event.versions.all(), key=lambda version: version.version).onset
        yield Dated(entering.earliest(onset), f"event {event.number} of {entering.as_known(onset)}")
    for drug in Medication.objects.filter(participant=participant, removed=""):
        for what, said in (("begun", drug.started), ("stopped", drug.stopped)):
            if said:
                yield Dated(entering.earliest(said), f"{drug.drug}, {what} {entering.as_known(said)}")
