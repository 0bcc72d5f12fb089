"""What the record knows of one participant on one day, as the dose rules ask for it, and what they answer.

Only what is recorded counts: values by the day of their sample, events by their onset, cycles and decisions
as they were taken. Every number says where it comes from, and what is unknown says where it can be entered.
The rules themselves are those of `equipoise.rules`, which the simulation calls as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from equipoise.conduct import opening
from equipoise.conduct.gateway import content_hash
from equipoise.conduct.models import Participant
from equipoise.conduct.reading.forms import TOXICITY_REVIEWED
from equipoise.conduct.reading.history import (
    History,
    Noted,
    amount,
    cover_item,
    histories,
    history,
    hold_items,
    in_words,
    parts_of,
    plain,
    planned_visits,
    shown,
)
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Protocol
from equipoise.rules import dosing, explaining, holds, schedule
from equipoise.rules.explaining import RuleLine
from equipoise.rules.terms import (
    ACTIONS,
    ESCALATE,
    HOLD,
    NEVER,
    NONE,
    REDUCE,
    START,
    STOP,
    UNKNOWN_BASELINE,
    UNKNOWN_COVER,
    UNKNOWN_GOAL,
    UNKNOWN_HOLD,
    UNKNOWN_MEASURE,
    UNKNOWN_TOXICITY,
    WAIT,
    DoseRules,
    Situation,
    starts,
)
from equipoise.rules.terms import Decision as Decided
from equipoise.rules.truth import NO, UNKNOWN, YES, or_
from equipoise.rules.values import is_valid

_WORST_GRADE = 5


@dataclass(frozen=True)
class Source:
    """Where one part of a situation comes from: in words, with what was read and, for values, the form on
    which it stands."""

    field: str
    """Field of `equipoise.rules.terms.Situation`."""
    words: str
    on: date | None
    kind: str
    """value, event, cycle, decision, hold, randomisation, disposition or form."""
    id: str
    item: str = ""
    form: str = ""
    place: tuple[str, str] | None = None
    """Kind and key of the form."""


@dataclass(frozen=True)
class Asked:
    """Something that is not known: what it is, and the form on which it can be entered."""

    bit: int
    """Of `equipoise.rules.terms.UNKNOWNS`."""
    words: str
    place: tuple[str, str]
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """The situation of a participant on a day, where it was read, and what is unknown."""

    situation: Situation
    sources: tuple[Source, ...]
    asked: tuple[Asked, ...]
    placed_hold: int
    """Whether a hold that an investigator placed was on."""


def situation(participant: Participant, regimen: str, on: date, before: int | None = None) -> Known:
    """What is known of a participant on the day `on`, from rows that are dated on or before it.

    `before`: only decisions with a smaller sequence, and the cycles that they started, count; so that the
    situation of an earlier decision can be told again. Raises NotFound when the protocol has no such
    regimen in cycles.
    """
    return known_on(history(participant, regimen), on, before)


def known_on(
    past: History,
    on: date,
    before: int | None = None,
    placed_hold: int | None = None,
    until: date | None = None,
) -> Known:
    """As `situation`, from a history. `placed_hold` stands in for the holds that investigators placed, when
    an earlier decision is looked at again: one that was placed only afterwards did not count then.

    `until`: what is dated up to this later day and may stop a cycle (values that holds and cover rest on,
    holds, events, reviews) counts as if it had been known on the day `on` already.
    """
    return _Reading(past, on, before, placed_hold, until or on).known()


class _Reading:
    """Reads one situation, noting sources and gaps on the way."""

    def __init__(
        self, past: History, on: date, before: int | None, placed_hold: int | None, until: date
    ) -> None:
        self.past, self.on, self.before, self.until = past, on, before, until
        self.protocol, self.regimen = past.protocol, past.protocol.regimens[past.regimen]
        self.person, self.rules = past.participant, past.rules
        self.decisions = [
            decision
            for decision in past.decisions
            if decision.on <= on and (before is None or decision.sequence < before)
        ]
        taken = {decision.id for decision in self.decisions}
        self.cycles = [cycle for cycle in past.cycles if cycle.on <= on and cycle.decision_id in taken]
        self.placed = placed_hold
        self.sources: list[Source] = []
        self.asked: list[Asked] = []

    def known(self) -> Known:
        day0 = self.person.randomized_on
        day = -1 if day0 is None else (self.on - day0).days
        cycles = self.cycles
        measure, measured_day, baseline = self._measure(day)
        hold, until = self._hold()
        situation = Situation(
            day=day,
            randomized=NO if day0 is None else YES,
            assigned=self._assigned(),
            in_follow_up=self._in_follow_up(),
            stopped=self._stopped(),
            hold=hold,
            hold_until=until,
            cover=self._cover(),
            cycles=len(cycles),
            first_cycle_day=cycles[0].day if cycles else -1,
            last_cycle_day=cycles[-1].day if cycles else -1,
            dose=cycles[-1].dose if cycles else 0.0,
            cycles_at_dose=self._at_dose(),
            reduced=self._reduced(),
            toxicity=self._toxicity(),
            baseline=baseline,
            measure=measure,
            measured_day=measured_day,
            goal=self._goal(),
        )
        for cycle in cycles:
            words = f"cycle {cycle.number}, {amount(cycle.dose, cycle.unit)}, {shown(cycle.on)}"
            self._source("cycles", words, cycle.on, "cycle", cycle.id)
        placed = NO if self.placed is None else self.placed
        return Known(situation, tuple(self.sources), tuple(self.asked), placed)

    # --- one thing after the other ---

    def _source(self, field: str, words: str, on: date | None, kind: str, id: Any, **more: Any) -> None:
        self.sources.append(Source(field, words, on, kind, str(id), **more))

    def _value(self, field: str, value: Noted) -> None:
        self._source(
            field, in_words(self.protocol, value), value.on, "value", value.id,
            item=value.item, form=str(value.form), place=(value.kind, value.key),
        )  # fmt: skip

    def _check_form(self) -> tuple[str, str]:
        return "check", f"{self.past.regimen}:{self.on.isoformat()}"

    def _ask(self, bit: int, words: str, place: tuple[str, str], *items: str) -> None:
        self.asked.append(Asked(bit, words, place, items))

    def _assigned(self) -> int:
        if self.past.arm is None:
            return UNKNOWN
        arm = self.protocol.arms[self.past.arm]
        day0 = self.person.randomized_on
        self._source("assigned", f"randomised to {arm.label}", day0, "randomisation", self.person.id)
        return YES if self.past.regimen in arm.regimens else NO

    def _in_follow_up(self) -> int:
        """Until its end or a death is on record: from then on nothing is decided, of whatever day. A decision
        that was taken counts as taken before, unless it is of a later day."""
        ended, death = self.person.ended_on, self.past.death
        if ended is not None and (self.before is None or ended < self.on):
            words = f"{self.person.ended_how}, {shown(ended)}"
            self._source("in_follow_up", words, ended, "disposition", self.person.id)
            return NO
        if death is not None and death.died is not None and (self.before is None or death.died < self.on):
            words = f"a death is reported: {death.term}, {shown(death.died)}"
            self._source("in_follow_up", words, death.died, "event", death.id)
            return NO
        return YES

    def _stopped(self) -> int:
        for decision in self.decisions:
            if decision.action == STOP:
                words = f"stopped for good, {shown(decision.on)}"
                self._source("stopped", words, decision.on, "decision", decision.id)
                return YES
        return NO

    def _hold(self) -> tuple[int, int]:
        states = self.past.hold_states(self.on, self.until)
        latest = self.past.latest(hold_items(self.past.regimen), self.until)
        for name in sorted(latest):
            self._value("hold", latest[name])
        for state in states:
            if state.on == UNKNOWN:
                labels = ", ".join(self.protocol.items[name].label for name in state.missing)
                self._ask(
                    UNKNOWN_HOLD, f"{state.text}: not known ({labels})", self._check_form(), *state.missing
                )
        if self.placed is None:
            self.placed = NO
            for hold in self.past.placed:
                if hold.since <= self.until and (hold.until is None or hold.until > self.until):
                    self.placed = YES
                    words = f"hold placed {shown(hold.since)}: {hold.reason}"
                    self._source("hold", words, hold.since, "hold", hold.id)
        return or_(holds.any_hold(list(states)), self.placed), self._hold_until()

    def _hold_until(self) -> int:
        """The wait after the latest end of each hold; it counts from the day on which the hold was recorded
        as no longer present, as the simulation counts it."""
        day0 = self.person.randomized_on
        ended: dict[str, int] = {}
        for each in self.past.protocol_holds:
            if day0 is not None and each.until is not None and each.until <= self.until:
                ended[each.hold] = max(ended.get(each.hold, NEVER), (each.until - day0).days)
        return holds.hold_until(self.protocol, self.past.regimen, ended)

    def _cover(self) -> int:
        item = cover_item(self.protocol, self.past.regimen)
        if item is None:
            return YES
        value = self.past.latest([item], self.until).get(item)
        answer: Value = None
        if value is not None:
            self._value("cover", value)
            if is_valid(self.protocol.items[item], value.age(self.on)):
                answer = plain(self.protocol, value)
        if answer is None:
            label = self.protocol.items[item].label
            self._ask(UNKNOWN_COVER, f"{label}: not known", self._check_form(), item)
            return UNKNOWN
        return YES if answer else NO

    def _at_dose(self) -> int:
        count = 0
        for cycle in reversed(self.cycles):
            if cycle.dose != self.cycles[-1].dose:
                break
            count += 1
        return count

    def _reduced(self) -> int:
        given = {cycle.decision_id for cycle in self.cycles}
        lowered = [each for each in self.decisions if each.action == REDUCE and each.id in given]
        for decision in lowered:
            words = f"reduced to {amount(decision.dose, _unit(self.protocol, self.past.regimen))}"
            self._source("reduced", words, decision.on, "decision", decision.id)
        return YES if lowered else NO

    def _toxicity(self) -> int:
        if not self.cycles:
            return 0
        last = self.cycles[-1]
        worst, unjudged = 0, 0
        for event in self.past.events:
            later = event.cycle is not None and event.cycle > last.number
            # what began on the day of this cycle, of an earlier one, was heeded when this one was decided
            heeded_then = event.cycle is not None and event.cycle < last.number and event.last <= last.on
            if (
                event.attributed is False
                or later
                or heeded_then
                or event.last < last.on
                or event.first > self.until
            ):
                continue
            grade = event.grade
            if event.attributed:
                words = f"{event.term}, grade {'not known' if grade is None else grade}, {shown(event.first)}"
                self._source("toxicity", words, event.first, "event", event.id)
                worst = max(worst, grade or 0)
                unjudged = max(unjudged, _WORST_GRADE if grade is None else 0)
            elif grade is not None:
                unjudged = max(unjudged, grade)
        if not dosing.heeds_toxicity(self.rules):
            return worst
        heeded = self.rules.reduce_from_grade
        if unjudged > worst and unjudged >= heeded:
            self._ask(UNKNOWN_TOXICITY, "an event is not yet graded or attributed", ("event", ""))
            return UNKNOWN
        if worst >= heeded or self._reviewed(last.on):
            return worst
        self._ask(
            UNKNOWN_TOXICITY, "adverse events since the last cycle: not reviewed for this day",
            self._check_form(), TOXICITY_REVIEWED,
        )  # fmt: skip
        return UNKNOWN

    def _reviewed(self, since: date) -> bool:
        """The check of this very day says that all adverse events since the last cycle are entered.

        No earlier answer counts, be it of yesterday: an event may have come since. So each decision has its
        own review, as it has its own check.
        """
        checks = [
            value
            for value in self.past.values
            if value.item == TOXICITY_REVIEWED and since < value.done_on and self.on <= value.done_on
            and value.done_on <= self.until and value.kind == "check"
            and value.key.startswith(f"{self.past.regimen}:")
        ]  # fmt: skip
        if not checks:
            return False
        last = max(checks, key=lambda value: value.done_on)
        self._value("toxicity", last)
        return last.number == 1

    def _measure(self, day: int) -> tuple[float, int, float]:
        """(measure, its day, baseline); after randomisation the latest measured value, else the baseline."""
        goal, day0 = self.regimen.goal, self.person.randomized_on
        if goal is None or day0 is None:
            return math.nan, -1, math.nan
        item = self.protocol.items[goal.measure]
        found = self.person.baseline.get(goal.measure)
        known = isinstance(found, int | float) and not isinstance(found, bool)
        baseline = float(found) if known else math.nan
        screening = _entry_place(self.protocol, goal.measure)
        if known:
            words = f"{item.label} at baseline {amount(baseline, item.unit)}"
            self._source(
                "baseline", words, day0, "randomisation", self.person.id, item=goal.measure, place=screening
            )
        else:
            self._ask(
                UNKNOWN_BASELINE, f"{item.label} at baseline: not known", screening, goal.measure
            )  # fmt: skip
        measured = [
            value
            for value in self.past.values
            if value.item == goal.measure and day0 < value.on <= self.on and value.number is not None
            and value.kind != "screening" and not value.missing
        ]  # fmt: skip
        measure, measured_day = baseline, 0
        if measured:
            self._value("measure", measured[-1])
            assert measured[-1].number is not None
            measure, measured_day = measured[-1].number, (measured[-1].on - day0).days
        limit = self.rules.measured_within
        if math.isnan(measure) or (limit != NONE and day - measured_day > limit):
            words = f"{item.label}: not measured lately"
            self._ask(UNKNOWN_MEASURE, words, self._visit_place(goal.measure, day), goal.measure)
        return measure, measured_day, baseline

    def _goal(self) -> float:
        goal = self.regimen.goal
        if goal is not None:
            item = self.protocol.items[goal.measure]
            if math.isnan(self.past.goal):
                place = _entry_place(self.protocol, goal.measure)
                self._ask(UNKNOWN_GOAL, f"goal for {item.label}: not known", place, goal.measure)
            else:
                words = f"goal {amount(self.past.goal, item.unit)}"
                self._source(
                    "goal", words, self.person.randomized_on, "randomisation", self.person.id,
                    item=goal.measure,
                )  # fmt: skip
        return self.past.goal

    def _visit_place(self, item: str, day: int) -> tuple[str, str]:
        """The form of the visit of this day on which the item is collected; else one between visits."""
        if self.past.arm is not None:
            planned = [
                visit
                for visit in planned_visits(self.past.arm, day + 1)
                if visit.day > 0 and item in visit.collect and visit.earliest <= day <= visit.latest
            ]
            if (visit := schedule.visit_on(planned, day)) is not None:
                return "visit", f"{visit.id}:{visit.day}"
        return "update", f"{self.on.isoformat()}:1"


def _entry_place(protocol: Protocol, item: str) -> tuple[str, str]:
    wanted = {item, *parts_of(item)}
    for visit in protocol.visits:
        if visit.period == "screening" and wanted & set(visit.collect):
            return "screening", visit.id
    return "screening", protocol.visits[0].id


def _unit(protocol: Protocol, regimen: str) -> str:
    cycle = protocol.regimens[regimen].cycle
    return "" if cycle is None else cycle.dose.unit


def stored(now: Situation) -> dict[str, Any]:
    """A situation ready for JSON: null where a number is not known."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in now._asdict().items()
    }


def restored(kept: Mapping[str, Any]) -> Situation:
    """The situation that `stored` kept."""
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in kept.items()}
    return Situation(**known)


# --- the proposal -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alternative:
    """Another decision that an investigator may take, with a reason."""

    action: int
    word: str
    dose: float


@dataclass(frozen=True)
class Proposal:
    """What the rules propose for one participant on one day, and everything behind it."""

    number: str
    regimen: str
    label: str
    on: date
    known: Known
    decision: Decided
    action: str
    dose: float
    """0 when no cycle may start."""
    unit: str
    starts: bool
    sentence: str
    conditions: tuple[RuleLine, ...]
    dose_lines: tuple[RuleLine, ...]
    limits: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    unknowns: tuple[Asked, ...]
    not_before: date | None
    """First date on which a cycle could start; None when none can be named."""
    declined_on: date | None
    """When the participant last declined a cycle that was offered, if none was given since: they need not be
    asked again."""
    content_sha256: str


def proposal(participant: Participant, regimen: str, on: date) -> Proposal:
    """What the protocol proposes for this participant on this day. Raises NotFound when the protocol has no
    such regimen in cycles."""
    return propose(history(participant, regimen), on)


def propose(past: History, on: date) -> Proposal:
    """As `proposal`, from a history."""
    known = known_on(past, on)
    rules, now = past.rules, known.situation
    told = explaining.explain(rules, now, explaining.words(past.protocol, past.regimen))
    decision = told.decision
    block = past.protocol.regimens[past.regimen]
    day0 = past.participant.randomized_on
    named = decision.not_before != NEVER and day0 is not None
    not_before = day0 + timedelta(days=decision.not_before) if named and day0 is not None else None
    found = Proposal(
        number=past.participant.number,
        regimen=past.regimen,
        label=block.label or block.drug,
        on=on,
        known=known,
        decision=decision,
        action=ACTIONS[decision.action],
        dose=decision.dose,
        unit=_unit(past.protocol, past.regimen),
        starts=starts(decision),
        sentence=told.sentence,
        conditions=tuple(told.conditions),
        dose_lines=tuple(told.dose),
        limits=_limits(past, now, on),
        alternatives=alternatives(rules, now, decision),
        unknowns=tuple(each for each in known.asked if each.bit & decision.unknown),
        not_before=not_before,
        declined_on=_declined(past),
        content_sha256="",
    )
    return _hashed(found)


def _hashed(found: Proposal) -> Proposal:
    content = {
        "participant": found.number, "regimen": found.regimen, "on": found.on,
        "protocol_sha256": opening.folder().protocol_sha256, "situation": stored(found.known.situation),
        "sources": [vars(each) for each in found.known.sources], "decision": list(found.decision),
        "sentence": found.sentence, "conditions": [list(line) for line in found.conditions],
        "dose": [list(line) for line in found.dose_lines], "limits": list(found.limits),
        "alternatives": [vars(each) for each in found.alternatives],
        "unknowns": [vars(each) for each in found.unknowns], "declined_on": found.declined_on,
    }  # fmt: skip
    return Proposal(**{**vars(found), "content_sha256": content_hash(content)})


def _declined(past: History) -> date | None:
    given = {cycle.decision_id for cycle in past.cycles}
    declined: date | None = None
    for decision in past.decisions:
        if decision.id in given:
            declined = None
        elif decision.accepted == "no":
            declined = decision.on
    return declined


def _limits(past: History, now: Situation, on: date) -> tuple[str, ...]:
    """The limits of the protocol that stand in the way today, in words."""
    rules, unit = past.rules, _unit(past.protocol, past.regimen)
    day0 = past.participant.randomized_on
    found = []
    if now.cycles > 0 and day0 is not None:
        earliest = day0 + timedelta(days=now.last_cycle_day + rules.minimum_gap)
        if on < earliest:
            found.append(
                f"Least time between cycles ({rules.minimum_gap} days): none before {shown(earliest)}."
            )
        if dosing.at_least(now.dose, rules.ceiling):
            found.append(f"The dose is at the ceiling of {amount(rules.ceiling, unit)}.")
        if dosing.at_least(rules.floor, now.dose):
            found.append(f"The dose is at the floor of {amount(rules.floor, unit)}.")
        elif math.isnan(dosing.lower_level(rules.levels, now.dose)):
            found.append(f"{amount(now.dose, unit)} is the lowest dose that the protocol names.")
    if now.hold_until > now.day and day0 is not None:
        resumes = day0 + timedelta(days=now.hold_until)
        found.append(f"A hold has only just ended: no cycle before {shown(resumes)}.")
    if rules.maximum_cycles != NONE and now.cycles >= rules.maximum_cycles:
        found.append(f"All {rules.maximum_cycles} cycles that the protocol allows have been given.")
    return tuple(found)


def bars_a_cycle(rules: DoseRules, now: Situation) -> str:
    """What no reason can override: why no cycle may start today, in words; empty when one may.

    The calendar of induction and reviews, and a goal that has been reached, can be overridden; a hold, the
    wait after it, missing cover, the minimum gap, the number of cycles, toxicity that ends treatment, and
    anything that is not known cannot.
    """
    if now.randomized != YES or now.day < 0:
        return "the participant is not randomised"
    if now.assigned != YES:
        return "the participant's arm does not have this drug"
    if now.in_follow_up != YES:
        return "follow-up is over"
    if now.stopped != NO:
        return "the drug was stopped for good"
    if dosing.must_stop_for_toxicity(rules, now) or dosing.lowest_dose_not_tolerated(rules, now):
        return "toxicity since the last cycle ends treatment"
    if now.hold != NO:
        return "a reason to withhold the drug is " + ("present" if now.hold == YES else "not excluded")
    if now.day < now.hold_until:
        return "a hold has only just ended"
    if now.cover != YES:
        return "what must be taken during each cycle is " + ("not taken" if now.cover == NO else "not known")
    if not dosing.cycles_known(now):
        return "the earlier cycles are not known"
    if rules.maximum_cycles != NONE and now.cycles >= rules.maximum_cycles:
        return "all cycles that the protocol allows have been given"
    if now.cycles > 0 and now.day - now.last_cycle_day < rules.minimum_gap:
        return f"less than {rules.minimum_gap} days have passed since the last cycle"
    if dosing.missing_for_cycle(rules, now, dosing.in_induction(rules, now)):
        return "something that a cycle depends on is not known"
    return ""


def barred_since(past: History, on: date, today: date, dose: float) -> str:
    """What is on record of the days after `on`, up to today, that bars a cycle of the day `on` at this dose
    when it is entered today: in words, with the day of which it is recorded; empty when nothing does.

    Each of those days is looked at, as the last day that is known: a hold that has ended again was on while
    the cycle would have gone on. What was known on the day itself does not grow old by the time that passed
    until it was entered.
    """
    for day in _days_on_record(past, on, today):
        now = known_on(past, on, until=day).situation
        words = bars_a_cycle(past.rules, now)
        if not words and dosing.must_reduce(past.rules, now):
            so_far = dosing.dose_so_far(past.rules, now)
            words = "toxicity asks for a lower dose" if dosing.at_least(dose, so_far) else ""
        if words:
            return f"by what is on record of {shown(day)}, {words}"
    return ""


def _days_on_record(past: History, on: date, today: date) -> list[date]:
    """The days after `on`, up to today, of which the record says something that dosing decisions look at."""
    days = {day for value in past.values for day in (value.on, value.done_on)}
    days |= {event.first for event in past.events} | {hold.since for hold in past.placed} | {today}
    return sorted(day for day in days if on < day <= today)


def alternatives(rules: DoseRules, now: Situation, decision: Decided) -> tuple[Alternative, ...]:
    """The decisions other than the proposed one that may be taken with a reason. Doses are those that the
    protocol names, within floor and ceiling; where toxicity asks for a lower dose, only lower ones."""
    if now.randomized != YES or now.assigned != YES or now.in_follow_up != YES or now.stopped != NO:
        return ()
    found = [(WAIT, 0.0), (HOLD, 0.0), (STOP, 0.0)]
    if not bars_a_cycle(rules, now):
        dose = dosing.dose_so_far(rules, now)
        lower = [
            level for level in rules.levels if not math.isnan(level) and not dosing.at_least(level, dose)
        ]
        if not dosing.must_reduce(rules, now) or not lower:
            found.append((START, dose))
        found += [(REDUCE, level) for level in reversed(lower)]
        higher = dosing.higher_step(rules.steps, dose)
        after = now.reduced == NO or rules.escalation_after_reduction == YES
        if (
            now.cycles > 0
            and after
            and rules.escalation_after != NONE
            and not dosing.must_reduce(rules, now)
            and not math.isnan(higher)
        ):
            found.append((ESCALATE, higher))
    return tuple(
        Alternative(action, ACTIONS[action], dose)
        for action, dose in found
        if not (action == decision.action and math.isclose(dose, decision.dose))
    )


# --- what comes next ----------------------------------------------------------------------------------------


class NextDecision(NamedTuple):
    """The next dosing decision of a participant: of which regimen, when it is due, and what it is about."""

    regimen: str
    due: date
    words: str


def next_decisions(participant: Participant, today: date) -> tuple[NextDecision, ...]:
    """The dosing decisions that come next, due today or later; none where nothing will come. Whoever calls
    this may see the arm."""
    return decisions_ahead(histories([participant]).get(participant.id, ()), today)


def decisions_ahead(histories: Iterable[History], today: date) -> tuple[NextDecision, ...]:
    """As `next_decisions`, of somebody whose histories have been read."""
    return tuple(each for past in histories if (each := next_decision(past, today)) is not None)


def next_decision(past: History, today: date) -> NextDecision | None:
    """The decision that comes next under one regimen."""
    day0 = past.participant.randomized_on
    if day0 is None or today < day0:
        return None
    rules = past.rules
    known = known_on(past, today)
    now = known.situation
    if now.in_follow_up == NO or now.assigned == NO or now.stopped == YES:
        return None
    decision = dosing.decide(rules, now)
    label = past.protocol.regimens[past.regimen].label or past.protocol.regimens[past.regimen].drug
    latest = max((each.on for each in past.decisions), default=None)
    if latest is not None and latest >= today:
        day, words = schedule.next_decision_day(rules, now), f"{label}: next decision"
    elif decision.action == STOP:
        day, words = now.day, f"{label}: {_told(past, now, decision)}"
    elif decision.action == HOLD or decision.not_before == NEVER:
        day = schedule.opening(rules, now, now.day)
        words = f"{label}: {_told(past, now, decision)}"
    elif decision.not_before > now.day:
        day, words = decision.not_before, f"{label}: next cycle may be due"
    elif starts(decision):
        dose = amount(decision.dose, _unit(past.protocol, past.regimen))
        day, words = _open_since(past, now), f"{label}: cycle {now.cycles + 1} due, {dose}"
    else:
        day, words = _open_since(past, now), f"{label}: {_told(past, now, decision)}"
    if day == NEVER:
        return None
    return NextDecision(past.regimen, day0 + timedelta(days=day), words)


def _open_since(past: History, now: Situation) -> int:
    """The day since which a decision has been due: that of the induction cycle or review that is open, but
    not before the gap and the wait after a hold are over, nor before the day after the last decision."""
    rules = past.rules
    due = schedule.induction_due(rules, now)
    if due == NEVER or due > now.day:
        due = max(0, schedule.review_on_or_before(rules, now.day))
    decided = max((decision.day + 1 for decision in past.decisions), default=0)
    return min(now.day, max(schedule.earliest_after_gap(rules, now, due), decided))


def _told(past: History, now: Situation, decision: Decided) -> str:
    names = explaining.words(past.protocol, past.regimen)
    return explaining.sentence(decision, past.rules, now, names)
