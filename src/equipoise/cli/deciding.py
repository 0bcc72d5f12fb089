"""The history of one participant, from a file, and what the dose rules make of it.

A history says what is on record, and nothing else; what is left out is unknown, and an unknown that matters
starts no cycle. Days count from randomisation (day 0).

    day: 250                        # the day of the question
    arm: il2
    regimen: aldesleukin            # may be left out when there is only one in cycles
    randomized: true                # may be left out: true
    follow_up: true                 # may be left out: true
    stopped: false                  # whether cycles were stopped for good; may be left out: false
    cover: true                     # whether the regimen that goes with each cycle is taken; may be left out
                                    # where an item of the protocol tells it
    baseline: {cd4: 210, sex: male} # items at randomisation
    measurements:                   # any order
      - {day: 240, cd4: 320, pregnant: false}
    cycles:
      - {day: 0, dose: 4.5}         # in the unit of the regimen
    toxicity:                       # worst grade attributed to the drug since the last cycle; 0: none
      grade: 0
    holds:                          # reasons to withhold that have passed: last day on which each was present
      pregnancy: 130
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from equipoise import rules
from equipoise.errors import UserError
from equipoise.protocol import Protocol
from equipoise.protocol.forms import read_form
from equipoise.protocol.nearest import near_or_all
from equipoise.rules import explaining, goals, holds
from equipoise.rules.terms import Situation
from equipoise.rules.truth import NO, UNKNOWN, YES, from_optional
from equipoise.rules.values import current

Value = float | bool | str | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenCycle(_Part):
    """A cycle that was started."""

    day: int = Field(ge=0)
    dose: float = Field(gt=0)


class Toxicity(_Part):
    """The worst grade that was attributed to the drug since the last cycle."""

    grade: int = Field(ge=0, le=5)


class History(_Part):
    """What is on record for one participant."""

    day: int = Field(ge=0)
    arm: str
    regimen: str | None = None
    randomized: bool | None = True
    follow_up: bool | None = True
    stopped: bool | None = False
    cover: bool | None = None
    baseline: dict[str, Value] = {}
    measurements: list[dict[str, Value]] = []
    cycles: list[GivenCycle] = []
    toxicity: Toxicity | None = None
    holds: dict[str, int] = {}


def read(path: Path) -> History:
    """Read a history. Raises UserError: file, line, field, what was expected."""
    return read_form(path, History, "history")


def explain(protocol: Protocol, history: History, *, brief: bool = False) -> str:
    """The decision for this history in words: the sentence, then every rule with its answer and value.

    Raises UserError when the history speaks of an arm, regimen, item or hold that the protocol does not have.
    """
    name = _regimen(protocol, history)
    dose_rules = rules.dose_rules(protocol, name)
    now = situation(protocol, name, history)
    words = explaining.words(protocol, name)
    told = explaining.explain(dose_rules, now, words)
    decision = told.decision
    action = rules.ACTIONS[decision.action]
    dose = f" {decision.dose:g} {words.dose_unit}" if rules.starts(decision) else ""
    lines = [
        f"{protocol.protocol}, {protocol.regimens[name].label or words.drug}, day {history.day}: "
        f"{action}{dose}",
        told.sentence,
    ]
    if not rules.starts(decision) and decision.not_before > history.day:
        lines.append(f"Not before day {decision.not_before}.")
    if decision.unknown:
        lines.append(f"Still unknown: {', '.join(rules.unknown_names(decision.unknown))}.")
    if brief:
        return "\n".join(lines)
    for heading, answers in (
        ("A cycle starts when all of this holds", told.conditions),
        ("Which dose", told.dose),
    ):
        if answers:
            lines += ["", heading]
            width = max(len(line.rule) for line in answers)
            lines += [
                f"  {_ANSWERS[line.holds]:<8} {line.rule:<{width}}  {line.value}".rstrip() for line in answers
            ]
    return "\n".join(lines)


_ANSWERS: Mapping[int, str] = {YES: "yes", NO: "no", UNKNOWN: "unknown"}


def _regimen(protocol: Protocol, history: History) -> str:
    in_cycles = [name for name, regimen in protocol.regimens.items() if regimen.kind == "cycles"]
    if history.arm not in protocol.arms:
        near = near_or_all(history.arm, list(protocol.arms))
        raise UserError(f'{protocol.protocol} has no arm "{history.arm}"{near}')
    if history.regimen is not None:
        if history.regimen not in protocol.regimens:
            near = near_or_all(history.regimen, in_cycles)
            raise UserError(f'{protocol.protocol} has no regimen "{history.regimen}"{near}')
        return history.regimen
    own = [name for name in protocol.arms[history.arm].regimens if name in in_cycles]
    candidates = own or in_cycles
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise UserError(f"{protocol.protocol} has no regimen in cycles, so there is nothing to decide")
    raise UserError(f"the history must say which `regimen` is meant: {', '.join(candidates)}")


def situation(protocol: Protocol, name: str, history: History) -> Situation:
    """What the dose rules are told about a participant with this history on the day of the question."""
    regimen = protocol.regimens[name]
    latest, ages = _latest(protocol, history)
    _known(protocol, history.baseline, "baseline")
    states = holds.hold_states(protocol, name, latest, ages)
    for hold in history.holds:
        known = [h.id for h in regimen.hold_while]
        if hold not in known:
            raise UserError(f'{protocol.protocol} has no hold "{hold}"{near_or_all(hold, known)}')
    cycles = sorted((c for c in history.cycles if c.day <= history.day), key=lambda c: c.day)
    doses = [cycle.dose for cycle in cycles]
    at_dose = next((k for k, dose in enumerate(reversed(doses)) if dose != doses[-1]), len(doses))
    lowered = any(later < earlier for earlier, later in pairwise(doses))
    measure, measured_day, baseline, goal = math.nan, -1, math.nan, math.nan
    if regimen.goal is not None:
        item = regimen.goal.measure
        baseline = _number(history.baseline.get(item))
        measure = _number(latest.get(item))
        if not math.isnan(measure):
            measured_day = history.day - ages[item]
        found = goals.goal_value(protocol, name, history.baseline)
        goal = math.nan if found is None else found
    cover = YES if regimen.cover is None else _cover(protocol, regimen.cover, history, latest, ages)
    return Situation(
        day=history.day,
        randomized=from_optional(history.randomized),
        assigned=YES if name in protocol.arms[history.arm].regimens else NO,
        in_follow_up=from_optional(history.follow_up),
        stopped=from_optional(history.stopped),
        hold=holds.any_hold(states),
        hold_until=holds.hold_until(protocol, name, history.holds),
        cover=cover,
        cycles=len(cycles),
        first_cycle_day=cycles[0].day if cycles else -1,
        last_cycle_day=cycles[-1].day if cycles else -1,
        dose=doses[-1] if doses else 0.0,
        cycles_at_dose=at_dose,
        reduced=YES if lowered else NO,
        toxicity=history.toxicity.grade if history.toxicity is not None else (-1 if cycles else 0),
        baseline=baseline,
        measure=measure,
        measured_day=measured_day,
        goal=goal,
    )


def _cover(
    protocol: Protocol, name: str, history: History, latest: Mapping[str, Value], ages: Mapping[str, int]
) -> int:
    """Whether the regimen that goes with each cycle is taken: as the history says, or by the item for it."""
    item = protocol.regimens[name].taken
    if history.cover is not None or item is None:
        return from_optional(history.cover)
    return from_optional(current(protocol.items, latest, ages).values.get(item))


def _latest(protocol: Protocol, history: History) -> tuple[dict[str, Value], dict[str, int]]:
    """The latest value of each item on the day of the question, and its age in days."""
    latest: dict[str, Value] = {name: value for name, value in history.baseline.items() if value is not None}
    ages = dict.fromkeys(latest, history.day)
    for number, row in enumerate(history.measurements):
        day = row.get("day")
        if not isinstance(day, int | float) or isinstance(day, bool) or day != int(day):
            raise UserError(f"measurements[{number}]: say the `day`, a whole number")
        _known(protocol, {k: v for k, v in row.items() if k != "day"}, f"measurements[{number}]")
        age = history.day - int(day)
        for name, value in row.items():
            if name == "day" or value is None or age < 0:
                continue
            if name not in ages or age <= ages[name]:
                latest[name], ages[name] = value, age
    return latest, ages


def _known(protocol: Protocol, values: Mapping[str, Value], where: str) -> None:
    expected = {"number": "a number", "boolean": "true or false", "category": "one of its words"}
    for name, value in values.items():
        if name not in protocol.items:
            near = near_or_all(name, list(protocol.items))
            raise UserError(f'{where}: {protocol.protocol} has no item "{name}"{near}')
        item = protocol.items[name]
        fits = {
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            "category": isinstance(value, str),
        }
        if value is not None and not fits[item.type]:
            raise UserError(f"{where}: {name} is {value!r}, expected {expected[item.type]}")
        if isinstance(value, str) and item.categories and value not in item.categories:
            raise UserError(f'{where}: {name} is "{value}"{near_or_all(value, item.categories)}')
        if item.range is not None and isinstance(value, int | float):
            low, high = item.range
            if not low <= value <= high:
                raise UserError(
                    f"{where}: {name} is {value:g}, outside of {low:g} to {high:g} {item.unit}".rstrip()
                    + ": check the value and its unit; leave it out when it is not known"
                )


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
