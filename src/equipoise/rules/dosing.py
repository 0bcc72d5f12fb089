"""The dosing decision: may this participant start a cycle today, at which dose, and why (not).

`decide` asks the questions in the order in which they stand; the first that answers, decides:

1. facts that end the matter: not randomised, arm without the drug, follow-up over, stopped, toxicity;
2. a hold;
3. the course: cycles used up, no response by the time the protocol sets;
4. the calendar: wait after a hold, minimum gap, induction cycle due, review due;
5. the goal: a measure that has reached it asks for no cycle;
6. everything that a cycle needs and that is not known: an unknown never starts a cycle;
7. the dose: toxicity lowers it, else a missing response raises it, else it stays.

So what is unknown is asked for only when it could change the answer, and lowering goes before raising.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from equipoise.rules import reasons as why
from equipoise.rules import schedule
from equipoise.rules.from_protocol import dose_rules
from equipoise.rules.schedule import (
    induction_slot,
    induction_slot_before,
    opening_and_phase,
    opening_from_next_review,
)
from equipoise.rules.terms import (
    ESCALATE,
    HOLD,
    NEVER,
    NONE,
    REDUCE,
    START,
    STOP,
    UNKNOWN_ASSIGNED,
    UNKNOWN_BASELINE,
    UNKNOWN_COVER,
    UNKNOWN_CYCLES,
    UNKNOWN_FOLLOW_UP,
    UNKNOWN_GOAL,
    UNKNOWN_HOLD,
    UNKNOWN_MEASURE,
    UNKNOWN_RANDOMIZED,
    UNKNOWN_REDUCED,
    UNKNOWN_STOPPED,
    UNKNOWN_TOXICITY,
    WAIT,
    Decision,
    DoseRules,
    Levels,
    Situation,
)
from equipoise.rules.truth import NO, UNKNOWN, YES

__all__ = ["LOOP_FUNCTIONS", "Decision", "DoseRules", "Situation", "decide", "dose_rules"]

RELATIVE_TOLERANCE = 1e-9
"""Measurements and doses are decimal numbers: at exactly the limit, binary rounding must not decide."""


# --- comparing ----------------------------------------------------------------------------------------------


def at_least(value: float, limit: float) -> bool:
    """value >= limit, for decimal numbers."""
    return value >= limit - RELATIVE_TOLERANCE * abs(limit)


def has_reached(rules: DoseRules, value: float, target: float) -> bool:
    """The value is at the target or beyond it, in the goal's direction."""
    if rules.direction < 0:
        return at_least(-value, -target)
    return at_least(value, target)


def has_risen(rules: DoseRules, now: Situation, rise: float) -> bool:
    """The measure has moved from baseline by at least `rise`, in the goal's direction."""
    return has_reached(rules, now.measure, now.baseline + rules.direction * rise)


# --- what is known ------------------------------------------------------------------------------------------


def measure_current(rules: DoseRules, now: Situation) -> bool:
    """There is a measured value, not in the future, and not older than the protocol allows."""
    if math.isnan(now.measure) or now.measured_day > now.day:
        return False
    return rules.measured_within == NONE or now.day - now.measured_day <= rules.measured_within


def response_unknowns(rules: DoseRules, now: Situation) -> int:
    """Bits of what is missing to judge the response; 0 when it can be judged."""
    missing = 0
    if not measure_current(rules, now):
        missing |= UNKNOWN_MEASURE
    if math.isnan(now.baseline):
        missing |= UNKNOWN_BASELINE
    return missing


def cycles_known(now: Situation) -> bool:
    """The earlier cycles are known and agree with each other: how many, first and last day, dose."""
    if now.cycles == 0:
        return now.last_cycle_day < 0 and now.first_cycle_day < 0
    return (
        now.cycles > 0
        and now.first_cycle_day >= 0
        and now.last_cycle_day >= now.first_cycle_day
        and now.cycles_at_dose >= 1
        and now.dose > 0.0
    )


# --- the doses ----------------------------------------------------------------------------------------------


def lower_level(levels: Levels, dose: float) -> float:
    """The highest dose level below `dose`; NaN when there is none."""
    lower = math.nan
    for level in levels:
        if math.isnan(level) or at_least(level, dose):
            break
        lower = level
    return lower


def higher_step(steps: Levels, dose: float) -> float:
    """The lowest escalation step above `dose`; NaN when there is none."""
    for step in steps:
        if math.isnan(step):
            break
        if not at_least(dose, step):
            return step
    return math.nan


def within_limits(rules: DoseRules, dose: float) -> float:
    """The dose, never above the ceiling nor below the floor."""
    return max(rules.floor, min(rules.ceiling, dose))


def dose_so_far(rules: DoseRules, now: Situation) -> float:
    """The dose that the next cycle has if nothing changes it."""
    if now.cycles == 0:
        return within_limits(rules, rules.starting_dose)
    return within_limits(rules, now.dose)


# --- the rules ----------------------------------------------------------------------------------------------


def heeds_toxicity(rules: DoseRules) -> bool:
    """The regimen has a rule on toxicity."""
    return rules.reduce_from_grade != NONE


def must_reduce(rules: DoseRules, now: Situation) -> bool:
    """Toxicity since the last cycle asks for a lower dose."""
    return heeds_toxicity(rules) and now.cycles > 0 and now.toxicity >= rules.reduce_from_grade


def must_stop_for_toxicity(rules: DoseRules, now: Situation) -> bool:
    """Toxicity since the last cycle ends treatment."""
    return heeds_toxicity(rules) and now.toxicity >= rules.stop_from_grade


def lowest_dose_not_tolerated(rules: DoseRules, now: Situation) -> bool:
    """A lower dose is needed, there is none, and the protocol then stops."""
    if not must_reduce(rules, now) or rules.stay_at_lowest == YES or not cycles_known(now):
        return False
    return math.isnan(lower_level(rules.levels, now.dose))


def at_stop_point(rules: DoseRules, now: Situation) -> bool:
    """It is time to judge whether treatment goes on: between the first and the last day that the protocol
    sets after the first cycle, both included, and after enough cycles."""
    if rules.stop_after == NONE or now.cycles < max(1, rules.stop_minimum_cycles):
        return False
    since_first = now.day - now.first_cycle_day
    if rules.stop_at_latest != NONE and since_first > rules.stop_at_latest:
        return False
    return since_first >= rules.stop_after


def at_escalation_point(rules: DoseRules, now: Situation) -> bool:
    """Enough cycles at this dose, and a higher step left; (not) after a reduction, as the protocol says."""
    if rules.escalation_after == NONE or now.cycles == 0:
        return False
    if now.reduced == YES and rules.escalation_after_reduction != YES:
        return False
    needed = rules.escalation_after
    if not at_least(rules.starting_dose, now.dose):
        needed = rules.escalation_again_after
    return now.cycles_at_dose >= needed and not math.isnan(higher_step(rules.steps, now.dose))


def in_induction(rules: DoseRules, now: Situation) -> bool:
    """An induction cycle is open today or still to come."""
    return induction_slot(rules, now, now.day) != NEVER


def induction_slot_lost(rules: DoseRules, now: Situation) -> bool:
    """The last induction cycle that was due was not started, and its window has passed."""
    return induction_slot_before(rules, now, induction_slot(rules, now, now.day)) != NEVER


def calendar_reason(rules: DoseRules, now: Situation) -> int:
    """Why the calendar lets no cycle start today."""
    if now.day < now.hold_until:
        return why.HOLD_JUST_ENDED
    if now.cycles > 0 and now.day - now.last_cycle_day < rules.minimum_gap:
        return why.TOO_SOON
    if in_induction(rules, now):
        if induction_slot_lost(rules, now):
            return why.INDUCTION_MISSED
        return why.INDUCTION_NOT_DUE
    if rules.maintenance_from == NONE:
        return why.COURSE_COMPLETE
    if now.day < rules.maintenance_from:
        return why.MAINTENANCE_NOT_BEGUN
    return why.REVIEW_NOT_DUE


def missing_for_cycle(rules: DoseRules, now: Situation, inducting: bool) -> int:
    """Bits of everything unknown that a cycle today depends on; 0 when nothing is."""
    missing = 0
    if now.hold == UNKNOWN:
        missing |= UNKNOWN_HOLD
    if now.cover == UNKNOWN:
        missing |= UNKNOWN_COVER
    if now.cycles > 0 and now.toxicity < 0 and heeds_toxicity(rules):
        missing |= UNKNOWN_TOXICITY
    if not inducting:
        if not measure_current(rules, now):
            missing |= UNKNOWN_MEASURE
        if math.isnan(now.goal):
            missing |= UNKNOWN_GOAL
    if at_stop_point(rules, now):
        missing |= response_unknowns(rules, now)
    if at_escalation_point(rules, now) and not must_reduce(rules, now):
        response = response_unknowns(rules, now)
        missing |= response
        if (
            now.reduced == UNKNOWN
            and rules.escalation_after_reduction != YES
            and (response != 0 or not has_risen(rules, now, rules.escalation_rise))
        ):
            missing |= UNKNOWN_REDUCED
    return missing


def missing_reason(rules: DoseRules, now: Situation, inducting: bool, missing: int) -> int:
    """The reason for waiting when `missing` is not empty: the first of hold, cover, toxicity, measure, goal,
    response."""
    if missing & UNKNOWN_HOLD:
        return why.HOLD_UNKNOWN
    if missing & UNKNOWN_COVER:
        return why.COVER_UNKNOWN
    if missing & UNKNOWN_TOXICITY:
        return why.TOXICITY_UNKNOWN
    if not inducting:
        if missing & UNKNOWN_MEASURE:
            if math.isnan(now.measure) or now.measured_day > now.day:
                return why.MEASURE_MISSING
            return why.MEASURE_TOO_OLD
        if missing & UNKNOWN_GOAL:
            return why.GOAL_UNKNOWN
    if missing & (UNKNOWN_MEASURE | UNKNOWN_BASELINE):
        if at_stop_point(rules, now):
            return why.STOP_RESPONSE_UNKNOWN
        return why.ESCALATION_RESPONSE_UNKNOWN
    return why.REDUCED_UNKNOWN


def decide(rules: DoseRules, now: Situation) -> Decision:
    """What the protocol says today for this participant, and why. See the order at the top of this module."""
    # 1. Facts that end the matter.
    if now.randomized == NO or now.day < 0:
        return Decision(WAIT, 0.0, NEVER, why.NOT_RANDOMIZED, 0)
    if now.randomized == UNKNOWN:
        return Decision(WAIT, 0.0, NEVER, why.RANDOMIZED_UNKNOWN, UNKNOWN_RANDOMIZED)
    if now.assigned == NO:
        return Decision(WAIT, 0.0, NEVER, why.NOT_ASSIGNED, 0)
    if now.assigned == UNKNOWN:
        return Decision(WAIT, 0.0, NEVER, why.ASSIGNED_UNKNOWN, UNKNOWN_ASSIGNED)
    if now.in_follow_up == NO:
        return Decision(WAIT, 0.0, NEVER, why.FOLLOW_UP_OVER, 0)
    if now.in_follow_up == UNKNOWN:
        return Decision(WAIT, 0.0, NEVER, why.FOLLOW_UP_UNKNOWN, UNKNOWN_FOLLOW_UP)
    if now.stopped == YES:
        return Decision(STOP, 0.0, NEVER, why.STOPPED_EARLIER, 0)
    if must_stop_for_toxicity(rules, now):
        return Decision(STOP, 0.0, NEVER, why.STOP_TOXICITY, 0)
    if lowest_dose_not_tolerated(rules, now):
        return Decision(STOP, 0.0, NEVER, why.STOP_BELOW_LOWEST, 0)
    if now.stopped == UNKNOWN:
        return Decision(WAIT, 0.0, now.day, why.STOPPED_UNKNOWN, UNKNOWN_STOPPED)

    # 2. A hold.
    if now.hold == YES:
        return Decision(HOLD, 0.0, NEVER, why.ON_HOLD, 0)

    # 3. The course so far.
    if not cycles_known(now):
        return Decision(WAIT, 0.0, now.day, why.CYCLES_UNKNOWN, UNKNOWN_CYCLES)
    if rules.maximum_cycles != NONE and now.cycles >= rules.maximum_cycles:
        return Decision(WAIT, 0.0, NEVER, why.MAXIMUM_CYCLES, 0)
    if (
        at_stop_point(rules, now)
        and response_unknowns(rules, now) == 0
        and not has_risen(rules, now, rules.stop_rise)
    ):
        return Decision(STOP, 0.0, NEVER, why.STOP_NO_RESPONSE, 0)

    # 4. The calendar.
    opens, inducting = opening_and_phase(rules, now, now.day)
    if opens != now.day:
        return Decision(WAIT, 0.0, opens, calendar_reason(rules, now), 0)

    # 5. The goal, once induction is over.
    if (
        not inducting
        and measure_current(rules, now)
        and not math.isnan(now.goal)
        and has_reached(rules, now.measure, now.goal)
    ):
        return Decision(WAIT, 0.0, opening_from_next_review(rules, now), why.AT_GOAL, 0)

    # 6. What a cycle needs.
    if now.cover == NO:
        return Decision(WAIT, 0.0, NEVER, why.NO_COVER, 0)
    missing = missing_for_cycle(rules, now, inducting)
    if missing != 0:
        return Decision(WAIT, 0.0, now.day, missing_reason(rules, now, inducting, missing), missing)

    # 7. The dose.
    dose = dose_so_far(rules, now)
    if must_reduce(rules, now):
        lower = lower_level(rules.levels, now.dose)
        if math.isnan(lower):
            return Decision(START, dose, now.day, why.STAY_AT_LOWEST, 0)
        return Decision(REDUCE, lower, now.day, why.REDUCE_TOXICITY, 0)
    if at_escalation_point(rules, now) and not has_risen(rules, now, rules.escalation_rise):
        return Decision(ESCALATE, higher_step(rules.steps, now.dose), now.day, why.ESCALATE_NO_RESPONSE, 0)
    if inducting:
        return Decision(START, dose, now.day, why.START_INDUCTION, 0)
    return Decision(START, dose, now.day, why.START_BELOW_GOAL, 0)


LOOP_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    schedule.interval_day,
    schedule.intervals_until,
    schedule.intervals_within,
    schedule.intervals_around,
    schedule.induction_slot_before,
    schedule.earliest_after_gap,
    schedule.induction_slot,
    schedule.induction_due,
    schedule.review_on_or_before,
    schedule.review_after,
    schedule.review_open,
    schedule.opening_and_phase,
    schedule.opening,
    schedule.opening_from_next_review,
    schedule.next_decision_day,
    at_least,
    has_reached,
    has_risen,
    measure_current,
    response_unknowns,
    cycles_known,
    lower_level,
    higher_step,
    within_limits,
    dose_so_far,
    heeds_toxicity,
    must_reduce,
    must_stop_for_toxicity,
    lowest_dose_not_tolerated,
    at_stop_point,
    at_escalation_point,
    in_induction,
    induction_slot_lost,
    calendar_reason,
    missing_for_cycle,
    missing_reason,
    decide,
)
"""Every function that the compiled loop may call; the loop makes them known to its compiler."""
