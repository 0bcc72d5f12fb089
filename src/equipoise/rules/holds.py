"""Reasons to withhold a drug for a while, and the wait after they have passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from equipoise.protocol import criteria
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days
from equipoise.rules.from_protocol import cyclic_regimen
from equipoise.rules.truth import NO, YES, from_optional, or_
from equipoise.rules.values import Ages, current


class HoldState(NamedTuple):
    """One reason to withhold: whether it is present (three-valued) and why."""

    id: str
    text: str
    on: int
    words: str
    missing: tuple[str, ...]


def hold_states(
    protocol: Protocol, regimen: str, values: Mapping[str, Value], ages_days: Ages
) -> list[HoldState]:
    """Every hold of the regimen as it stands, in the protocol's order.

    `values` and `ages_days` as in `eligibility.assess`: a value that has expired leaves its hold unknown.
    """
    known = current(protocol.items, values, ages_days).values
    states = []
    for hold in cyclic_regimen(protocol, regimen).hold_while:
        expression = criteria.compile(hold.when, protocol.items)
        told = criteria.explain(expression, known, protocol.items)
        states.append(HoldState(hold.id, hold.text, from_optional(told.value), told.words, told.missing))
    return states


def any_hold(states: list[HoldState]) -> int:
    """Three-valued: YES if any hold is on, else UNKNOWN if any is unknown (`Situation.hold`)."""
    on = NO
    for state in states:
        on = or_(on, state.on)
    return on


def hold_until(protocol: Protocol, regimen: str, ended: Mapping[str, int]) -> int:
    """The first day on which a cycle may start again, 0 when no wait applies (`Situation.hold_until`).

    `ended`: hold id -> the last day on which it was on. The wait counts from that day: with `resume_after` of
    30 days and a hold last on on day 100, day 130 is the first allowed.
    """
    until = 0
    for hold in cyclic_regimen(protocol, regimen).hold_while:
        if hold.id in ended and hold.resume_after is not None:
            until = max(until, ended[hold.id] + days(hold.resume_after))
    return until


def present(states: list[HoldState]) -> list[str]:
    """The ids of the holds that are on."""
    return [state.id for state in states if state.on == YES]
