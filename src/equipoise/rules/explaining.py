"""A decision in words: one sentence for its reason, and every rule as yes, no or unknown with its value."""

from __future__ import annotations

import math
from typing import NamedTuple

from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import DAYS_PER
from equipoise.rules import dosing, reasons, schedule
from equipoise.rules.from_protocol import cyclic_regimen
from equipoise.rules.terms import (
    NEVER,
    NONE,
    UNKNOWN_BASELINE,
    UNKNOWN_MEASURE,
    UNKNOWN_REDUCED,
    Decision,
    DoseRules,
    Situation,
    unknown_names,
)
from equipoise.rules.truth import NO, UNKNOWN, YES, not_, word


class Words(NamedTuple):
    """What things are called in one regimen, and their units."""

    drug: str = "the drug"
    dose_unit: str = ""
    measure: str = "the measure"
    measure_unit: str = ""
    cover: str = "the accompanying treatment"


PLAIN_WORDS = Words()


def words(protocol: Protocol, name: str) -> Words:
    """The words of the regimen `name`. Raises UserError when the protocol has no such regimen in cycles."""
    regimen = cyclic_regimen(protocol, name)
    item = None if regimen.goal is None else protocol.items[regimen.goal.measure]
    cover = None if regimen.cover is None else protocol.regimens.get(regimen.cover)
    return Words(
        drug=regimen.drug,
        dose_unit="" if regimen.cycle is None else regimen.cycle.dose.unit,
        measure=PLAIN_WORDS.measure if item is None else item.label,
        measure_unit="" if item is None else item.unit,
        cover=PLAIN_WORDS.cover if cover is None else cover.label or cover.drug,
    )


def _number(value: float, unit: str = "") -> str:
    return "unknown" if math.isnan(value) else f"{value:.6g} {unit}".rstrip()


def _day(day: int) -> str:
    return "no day known" if day < 0 else f"day {day}"


def _called(unknown: str, names: Words) -> str:
    """What is not known, by the name of the measure where it is about the measure."""
    special = {"measure": f"the present {names.measure}", "baseline": f"{names.measure} at baseline"}
    return special.get(unknown, unknown)


def _next(decision: Decision) -> str:
    if decision.not_before == NEVER:
        return "no further cycle follows"
    return f"a cycle could start on day {decision.not_before} at the earliest"


def _span(days: int) -> str:
    """A length of time as a person says it: days, and months from two months on."""
    months = days / DAYS_PER["month"]
    return f"{days} days" if months < 2 else f"{days} days ({months:.0f} months)"


def sentence(decision: Decision, rules: DoseRules, now: Situation, names: Words = PLAIN_WORDS) -> str:
    """The reason for a decision in words, with the numbers of this participant and this protocol."""
    due = schedule.induction_due(rules, now)
    text = reasons.REASONS[decision.reason][1].format(
        drug=names.drug,
        measure=names.measure,
        cover=names.cover,
        value=_number(now.measure, names.measure_unit),
        baseline=_number(now.baseline, names.measure_unit),
        goal=_number(now.goal, names.measure_unit),
        dose=_number(decision.dose, names.dose_unit),
        dose_now=_number(now.dose, names.dose_unit),
        toxicity=now.toxicity,
        stop_from_grade=rules.stop_from_grade,
        maximum_cycles=rules.maximum_cycles,
        since_first=_span(now.day - now.first_cycle_day),
        less_than="a rise of less than" if rules.direction >= 0 else "a fall of less than",
        stop_rise=_number(rules.stop_rise, names.measure_unit),
        escalation_rise=_number(rules.escalation_rise, names.measure_unit),
        hold_until=now.hold_until,
        last_cycle_day=now.last_cycle_day,
        minimum_gap=rules.minimum_gap,
        next=_next(decision),
        next_cycle=now.cycles + 1,
        induction_cycles=rules.induction_cycles,
        induction_due=due,
        missed_due=schedule.induction_slot_before(rules, now, due),
        induction_window=rules.induction_window,
        maintenance_from=rules.maintenance_from,
        measured_day=now.measured_day,
        age=now.day - now.measured_day,
        measured_within=rules.measured_within,
        cycles_at_dose=now.cycles_at_dose,
        unknown=" and ".join(_called(name, names) for name in unknown_names(decision.unknown)),
    )
    return text[0].upper() + text[1:]


class RuleLine(NamedTuple):
    """One rule as it stands today: in words, whether it holds (three-valued), and the value it looks at."""

    rule: str
    holds: int
    value: str


class Explanation(NamedTuple):
    """`conditions` must all hold (YES) for a cycle to start; `dose` are the rules that set its dose."""

    decision: Decision
    sentence: str
    conditions: list[RuleLine]
    dose: list[RuleLine]


def _due_today(rules: DoseRules, now: Situation) -> int:
    """A due induction cycle or an open review, apart from gap, hold and count of cycles."""
    if not dosing.cycles_known(now):
        return UNKNOWN
    free = rules._replace(minimum_gap=0, maximum_cycles=NONE)
    return YES if schedule.opening(free, now._replace(hold_until=0), now.day) == now.day else NO


def _responded(rules: DoseRules, now: Situation, rise: float) -> int:
    if dosing.response_unknowns(rules, now):
        return UNKNOWN
    return YES if dosing.has_risen(rules, now, rise) else NO


def _measure_value(rules: DoseRules, now: Situation, names: Words) -> str:
    if math.isnan(now.measure):
        return "not measured"
    value = f"{_number(now.measure, names.measure_unit)}, {now.day - now.measured_day} days old"
    return value if dosing.measure_current(rules, now) else f"{value}: not usable"


def _toxicity(now: Situation) -> str:
    if now.toxicity < 0:
        return "unknown"
    return "none" if now.toxicity == 0 else f"grade {now.toxicity}"


def _conditions(rules: DoseRules, now: Situation, names: Words) -> list[RuleLine]:
    known = dosing.cycles_known(now)
    response = f"{names.measure} {_measure_value(rules, now, names)}; baseline " + _number(
        now.baseline, names.measure_unit
    )
    direction = "risen" if rules.direction >= 0 else "fallen"
    lines = [
        RuleLine(
            "The participant is randomised.",
            NO if now.day < 0 else now.randomized,
            f"today is day {now.day}",
        ),
        RuleLine(f"The participant's arm has {names.drug}.", now.assigned, word(now.assigned)),
        RuleLine("The participant is in follow-up.", now.in_follow_up, word(now.in_follow_up)),
        RuleLine(
            f"Treatment with {names.drug} has not been stopped for good.",
            not_(now.stopped),
            word(not_(now.stopped)),
        ),
    ]
    if dosing.heeds_toxicity(rules):
        if dosing.must_stop_for_toxicity(rules, now) or dosing.lowest_dose_not_tolerated(rules, now):
            tolerated = NO
        else:
            tolerated = UNKNOWN if now.toxicity < 0 and now.cycles > 0 else YES
        lines.append(
            RuleLine("Toxicity since the last cycle does not stop treatment.", tolerated, _toxicity(now))
        )
    lines.append(RuleLine("No reason to withhold is present.", not_(now.hold), word(not_(now.hold))))
    lines.append(RuleLine("The earlier cycles are known.", YES if known else UNKNOWN, f"{now.cycles} cycles"))
    if rules.maximum_cycles != NONE:
        lines.append(
            RuleLine(
                f"At most {rules.maximum_cycles} cycles are given.",
                YES if now.cycles < rules.maximum_cycles else NO,
                f"{now.cycles} cycles",
            )
        )
    if dosing.at_stop_point(rules, now):
        lines.append(
            RuleLine(
                f"{names.measure} has {direction} by at least "
                f"{_number(rules.stop_rise, names.measure_unit)}, {_span(rules.stop_after)} after the first "
                "cycle.",
                _responded(rules, now, rules.stop_rise),
                response,
            )
        )
    if now.hold_until > 0:
        lines.append(
            RuleLine(
                "The wait after a hold is over.",
                YES if now.day >= now.hold_until else NO,
                _day(now.hold_until),
            )
        )
    if now.cycles > 0:
        lines.append(
            RuleLine(
                f"At least {rules.minimum_gap} days have passed since the last cycle started.",
                UNKNOWN if not known else YES if now.day - now.last_cycle_day >= rules.minimum_gap else NO,
                f"last cycle: {_day(now.last_cycle_day)}",
            )
        )
    induction = dosing.in_induction(rules, now)
    if induction:
        due = schedule.induction_due(rules, now)
        window = rules.induction_window
        rule = f"An induction cycle is due: it may start on {_day(due)} or up to {window} days after."
        lines.append(RuleLine(rule, _due_today(rules, now), f"today is day {now.day}"))
    elif rules.maintenance_from == NONE:
        lines.append(RuleLine("A cycle of the course is still to come.", NO, "the course is complete"))
    else:
        review = schedule.review_on_or_before(rules, now.day)
        lines.append(
            RuleLine(
                f"A review is open (its day or {rules.maintenance_window} days after), without a cycle yet.",
                _due_today(rules, now),
                f"latest review: {_day(review)}, next: {_day(schedule.review_after(rules, now.day))}",
            )
        )
        below = UNKNOWN
        if dosing.measure_current(rules, now) and not math.isnan(now.goal):
            below = NO if dosing.has_reached(rules, now.measure, now.goal) else YES
        lines.append(
            RuleLine(
                f"{names.measure} has not reached the goal of {_number(now.goal, names.measure_unit)}.",
                below,
                _measure_value(rules, now, names),
            )
        )
    lines.append(RuleLine(f"During the cycle this is taken: {names.cover}.", now.cover, word(now.cover)))
    if dosing.at_escalation_point(rules, now) and not dosing.must_reduce(rules, now):
        missing = dosing.missing_for_cycle(rules, now, induction)
        judged = missing & (UNKNOWN_MEASURE | UNKNOWN_BASELINE | UNKNOWN_REDUCED)
        lines.append(
            RuleLine(
                f"After {now.cycles_at_dose} cycles at one dose, the response to it is known.",
                UNKNOWN if judged else YES,
                response,
            )
        )
    return lines


def _dose_lines(rules: DoseRules, now: Situation, names: Words) -> list[RuleLine]:
    lines = [
        RuleLine(
            f"The dose is the starting dose, then the dose of the last cycle; never below "
            f"{_number(rules.floor, names.dose_unit)} nor above {_number(rules.ceiling, names.dose_unit)}.",
            YES,
            _number(rules.starting_dose if now.cycles == 0 else now.dose, names.dose_unit),
        )
    ]
    if rules.reduce_from_grade != NONE:
        reduce = NO if now.cycles == 0 else UNKNOWN if now.toxicity < 0 else NO
        if dosing.must_reduce(rules, now):
            reduce = YES
        lines.append(
            RuleLine(
                f"Toxicity of grade {rules.reduce_from_grade} or more lowers the dose by one level.",
                reduce,
                _toxicity(now),
            )
        )
    if rules.escalation_after != NONE:
        raises = NO
        if dosing.at_escalation_point(rules, now) and not dosing.must_reduce(rules, now):
            raises = not_(_responded(rules, now, rules.escalation_rise))
        moved = "rise" if rules.direction >= 0 else "fall"
        lines.append(
            RuleLine(
                f"After {rules.escalation_after} cycles at the starting dose "
                f"({rules.escalation_again_after} at a raised one) without a {moved} of at least "
                f"{_number(rules.escalation_rise, names.measure_unit)}, the dose rises by one step.",
                raises,
                f"{now.cycles_at_dose} cycles at this dose; {_measure_value(rules, now, names)}",
            )
        )
    return lines


def explain(rules: DoseRules, now: Situation, names: Words = PLAIN_WORDS) -> Explanation:
    """The decision of today with every rule behind it; a cycle starts when every condition holds."""
    decision = dosing.decide(rules, now)
    return Explanation(
        decision,
        sentence(decision, rules, now, names),
        _conditions(rules, now, names),
        _dose_lines(rules, now, names),
    )


class Reassessment(NamedTuple):
    """What was decided on what was then known, and what would have been decided on the corrected record."""

    decided: Decision
    corrected: Decision
    differs: bool
    """Another action or another dose. A flag for a person to look at: nothing is changed by it."""
    reason_differs: bool


def reassess(rules: DoseRules, then: Situation, corrected: Situation) -> Reassessment:
    """Whether a correction of the record (a laboratory value, a date, a grade) would have led to another
    decision on the day it was taken. The decision itself stands as it was taken.

    `corrected` is the situation of the same day; only what was known wrongly differs from `then`.
    """
    decided = dosing.decide(rules, then)
    again = dosing.decide(rules, corrected)
    return Reassessment(
        decided,
        again,
        differs=(decided.action, decided.dose) != (again.action, again.dose),
        reason_differs=decided.reason != again.reason,
    )
