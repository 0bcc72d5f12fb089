"""The numbers of a regimen, read from the protocol once: days counted, units converted."""

from __future__ import annotations

import math

from equipoise.errors import UserError
from equipoise.protocol import units
from equipoise.protocol.model import Protocol, Regimen
from equipoise.protocol.quantities import Quantity, days, exact_days
from equipoise.rules.terms import (
    MAXIMUM_EXTRA_REVIEWS,
    MAXIMUM_LEVELS,
    NONE,
    DoseRules,
    ExtraReviews,
    Levels,
)
from equipoise.rules.truth import NO, YES

SIGNIFICANT_DIGITS = 12
"""Converted amounts are rounded to this many digits, so that 4.5 MIU is one number however it was written."""


def cyclic_regimen(protocol: Protocol, name: str) -> Regimen:
    """The regimen of that name, given in cycles.

    Raises UserError when the protocol has no such regimen, or when it is taken continuously.
    """
    if name not in protocol.regimens:
        known = ", ".join(protocol.regimens)
        raise UserError(f'{protocol.protocol} has no regimen "{name}"; it has: {known}')
    regimen = protocol.regimens[name]
    if regimen.kind != "cycles":
        raise UserError(f'"{name}" is taken continuously; dosing decisions are for regimens given in cycles')
    return regimen


def amount_in(amount: Quantity, unit: str) -> float:
    """The amount as a number of `unit`; an amount written without a unit is taken to be in `unit`.

    Raises UserError when the units do not agree.
    """
    if amount.unit in ("", unit):
        return amount.value
    try:
        converted = units.convert(amount.value, amount.unit, unit)
    except units.UnitError as error:
        raise UserError(f"{amount} cannot be expressed in {unit}: {error}") from None
    return float(f"{converted:.{SIGNIFICANT_DIGITS}g}")


def _padded(doses: set[float], name: str) -> Levels:
    if len(doses) > MAXIMUM_LEVELS:
        raise UserError(f'regimen "{name}" names {len(doses)} doses; at most {MAXIMUM_LEVELS} are supported')
    padded = sorted(doses) + [math.nan] * (MAXIMUM_LEVELS - len(doses))
    a, b, c, d, e, f, g, h, i, j, k, m = padded
    return a, b, c, d, e, f, g, h, i, j, k, m


def _padded_reviews(review_days: list[int], name: str) -> ExtraReviews:
    if len(review_days) > MAXIMUM_EXTRA_REVIEWS:
        raise UserError(
            f'regimen "{name}" has {len(review_days)} extra reviews; '
            f"at most {MAXIMUM_EXTRA_REVIEWS} are supported"
        )
    padded = sorted(review_days) + [NONE] * (MAXIMUM_EXTRA_REVIEWS - len(review_days))
    a, b, c, d, e, f, g, h = padded
    return a, b, c, d, e, f, g, h


def _measured_within(protocol: Protocol, regimen: Regimen) -> int:
    """The stricter of the review's limit and the time for which the item stays valid."""
    limits = []
    if regimen.maintenance is not None:
        limits.append(days(regimen.maintenance.measured_within))
    if regimen.goal is not None:
        valid_for = protocol.items[regimen.goal.measure].valid_for
        if valid_for is not None:
            limits.append(days(valid_for))
    return min(limits, default=NONE)


def dose_rules(protocol: Protocol, name: str) -> DoseRules:
    """The numbers of the regimen `name`: times in days, doses in the unit of its cycle, rises in the unit of
    its measure.

    The dose levels are the doses that the protocol names (starting dose, escalation and reduction steps)
    from floor to ceiling; floor and ceiling are limits, not steps, so a dose that nobody wrote down is never
    given.

    Raises UserError when the regimen does not exist or is continuous, when a unit does not fit, when the
    starting dose lies outside floor and ceiling, or when there are more levels than are supported.
    """
    regimen = cyclic_regimen(protocol, name)
    assert regimen.cycle is not None
    assert regimen.floor is not None
    assert regimen.ceiling is not None
    assert regimen.minimum_gap is not None
    unit = regimen.cycle.dose.unit
    start = regimen.cycle.dose.value
    floor = amount_in(regimen.floor, unit)
    ceiling = amount_in(regimen.ceiling, unit)
    if not floor <= start <= ceiling:
        raise UserError(
            f'regimen "{name}": the dose of a cycle, {regimen.cycle.dose}, must lie between the floor '
            f"{regimen.floor} and the ceiling {regimen.ceiling}"
        )
    induction, maintenance, goal = regimen.induction, regimen.maintenance, regimen.goal
    escalation, toxicity, stop = regimen.escalation, regimen.toxicity, regimen.stop_for_non_response
    measure_unit = "" if goal is None else protocol.items[goal.measure].unit

    raised = {amount_in(dose, unit) for dose in escalation.to} if escalation else set()
    lowered = {amount_in(dose, unit) for dose in toxicity.to} if toxicity else set()
    steps = {dose for dose in raised | {start} if floor <= dose <= ceiling}
    levels = steps | {dose for dose in lowered if floor <= dose <= ceiling}

    return DoseRules(
        starting_dose=start,
        floor=floor,
        ceiling=ceiling,
        levels=_padded(levels, name),
        steps=_padded(steps, name),
        minimum_gap=days(regimen.minimum_gap),
        maximum_cycles=NONE if regimen.maximum_cycles is None else regimen.maximum_cycles,
        induction_cycles=0 if induction is None else induction.cycles,
        induction_every=math.nan if induction is None else exact_days(induction.every),
        induction_by_calendar=YES if induction is not None and induction.anchor == "randomization" else NO,
        induction_window=NONE if induction is None else days(induction.start_within),
        direction=0 if goal is None else 1 if goal.direction == "up" else -1,
        maintenance_from=NONE if maintenance is None else maintenance.from_.day,
        maintenance_origin=math.nan if maintenance is None else maintenance.from_.exact,
        review_every=math.nan if maintenance is None else exact_days(maintenance.review),
        extra_reviews=_padded_reviews(
            [] if maintenance is None else [at.day for at in maintenance.extra_reviews], name
        ),
        maintenance_window=NONE if maintenance is None else days(maintenance.start_within),
        measured_within=_measured_within(protocol, regimen),
        escalation_after=NONE if escalation is None else escalation.after,
        escalation_again_after=NONE if escalation is None else escalation.again_after,
        escalation_rise=math.nan if escalation is None else amount_in(escalation.response.rise, measure_unit),
        escalation_after_reduction=YES if escalation and escalation.after_reduction == "allowed" else NO,
        reduce_from_grade=NONE if toxicity is None else toxicity.reduce_from_grade,
        stop_from_grade=NONE if toxicity is None else toxicity.stop_from_grade,
        stay_at_lowest=YES if toxicity and toxicity.below_lowest == "stay" else NO,
        stop_after=NONE if stop is None else days(stop.after),
        stop_at_latest=NONE if stop is None or stop.at_latest is None else days(stop.at_latest),
        stop_rise=math.nan if stop is None else amount_in(stop.response.rise, measure_unit),
        stop_minimum_cycles=NONE if stop is None else stop.minimum_cycles,
    )
