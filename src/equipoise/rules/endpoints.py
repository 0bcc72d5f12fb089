"""What counts as an endpoint: the first event of a kind, what competes with it, what ends observation.

Days are whole days since randomisation; `NO_DAY` (-1) where there is no such event. The rules at the edges:

* an event on the last day of observation, or on the data cut-off itself, counts; one day later it does not;
* an event and a competing event on the same day: the event counts (disease found on the day of death);
* an event on the day of randomisation counts; before it, it is history and does not;
* an event that became known only after a participant was lost (a death in a register) does not count unless
  everybody's last known day was moved to the date of the search: otherwise only the bad news would be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from equipoise.errors import UserError
from equipoise.protocol.model import Endpoint, Protocol

NO_DAY = -1
CENSORED = 0
EVENT = 1
COMPETING = 2


def end_of_observation(last_known_day: int, cutoff_day: int) -> int:
    """The last day on which an event would have been seen; never before randomisation."""
    return max(0, min(last_known_day, cutoff_day))


def earlier(a: int, b: int) -> int:
    """The earlier of two days, either of which may be NO_DAY."""
    if a < 0:
        return b
    if b < 0:
        return a
    return min(a, b)


def derive(first_event_day: int, competing_day: int, last_known_day: int, cutoff_day: int) -> tuple[int, int]:
    """(day, status) of one participant for one endpoint: status CENSORED 0, EVENT 1, COMPETING 2.

    `last_known_day`: the last day up to which events are known (of death, of loss, of withdrawal, of the last
    contact); `cutoff_day`: the data cut-off, in this participant's days.
    """
    end = end_of_observation(last_known_day, cutoff_day)
    has_event = 0 <= first_event_day <= end
    has_competing = 0 <= competing_day <= end
    if has_event and (not has_competing or first_event_day <= competing_day):
        return first_event_day, EVENT
    if has_competing:
        return competing_day, COMPETING
    return end, CENSORED


LOOP_FUNCTIONS: tuple[Callable[..., Any], ...] = (end_of_observation, earlier, derive)
"""Every function of this module that the compiled loop may call."""


class RecordedEvent(NamedTuple):
    """An event as the record holds it. `recurrence`: the same disease as before entry or before this event;
    `refuted`: the review committee found that it was not one."""

    kind: str
    day: int
    term: str = ""
    recurrence: bool = False
    refuted: bool = False


def counts(protocol: Protocol, endpoint: Endpoint, event: RecordedEvent) -> bool:
    """Whether an event is one of those that the endpoint counts: its kind, its term, not refuted, not a mere
    recurrence where the protocol counts only new events (of that kind, or for this endpoint), and not before
    randomisation."""
    if event.kind not in endpoint.first_of or event.day < 0 or event.refuted:
        return False
    only_new = endpoint.recurrences == "left out" or not protocol.events[event.kind].recurrent_counts
    if event.recurrence and only_new:
        return False
    return not endpoint.terms or protocol.events[event.kind].terminal or event.term in endpoint.terms


def first_day(days: Iterable[int]) -> int:
    """The earliest of some days, NO_DAY when there is none."""
    first = NO_DAY
    for day in days:
        first = earlier(first, day)
    return first


def time_to_event(
    protocol: Protocol, name: str, events: Iterable[RecordedEvent], last_known_day: int, cutoff_day: int
) -> tuple[int, int]:
    """(day, status) of one participant for the endpoint `name`, from the events on record.

    Raises UserError when the protocol has no such endpoint.
    """
    if name not in protocol.endpoints:
        raise UserError(
            f'{protocol.protocol} has no endpoint "{name}"; it has: {", ".join(protocol.endpoints)}'
        )
    endpoint = protocol.endpoints[name]
    on_record = list(events)
    first = first_day(event.day for event in on_record if counts(protocol, endpoint, event))
    competing = first_day(
        event.day for event in on_record if event.kind in endpoint.competing and not event.refuted
    )
    return derive(first, competing, last_known_day, cutoff_day)


def last_known(endpoint: Endpoint, last_contact_day: int, left_by: str, cutoff_day: int) -> int:
    """The last day up to which the endpoint is known: the last contact when the way the participant left
    censors, the cut-off when the protocol goes on observing all the same (through registers, say).

    `left_by`: "loss to follow-up", "withdrawal", "end of study", or "death".
    """
    if left_by in ("loss to follow-up", "withdrawal") and left_by not in endpoint.censor_at:
        return cutoff_day
    return last_contact_day
