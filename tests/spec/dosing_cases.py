"""Turns the cells of a dosing case into a situation, and into the decision it must meet."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from tables import Case

from equipoise.protocol import Protocol, load
from equipoise.rules import DoseRules, Situation, dose_rules
from equipoise.rules.explaining import Words, words
from equipoise.rules.truth import NO, UNKNOWN, YES

EXAMPLE = Path(__file__).with_name("example.yaml")
TRUTHS = {"yes": YES, "no": NO, "?": UNKNOWN}


@cache
def trial(name: str) -> Protocol:
    return load(str(EXAMPLE) if name == "example" else name)


@cache
def regimen(trial_name: str, name: str) -> tuple[DoseRules, Words]:
    protocol = trial(trial_name)
    return dose_rules(protocol, name), words(protocol, name)


def of_case(case: Case) -> tuple[DoseRules, Words]:
    return regimen(case.cell("trial", "example"), case.cell("regimen"))


def whole(text: str) -> int:
    return -1 if text in ("?", "none") else int(text)


def number(text: str) -> float:
    return math.nan if text == "?" else float(text)


def situation(case: Case, corrected: bool = False) -> Situation:
    """The situation of a case; with `corrected`, as the record stands after the correction."""
    rules, _ = of_case(case)

    def cell(column: str, default: str) -> str:
        if corrected and f"corrected {column}" in case.cells:
            return case.cells[f"corrected {column}"]
        return case.cell(column, default)

    day = cell("day", "0")
    cycles = cell("cycles", "0")
    treated = cycles != "0"
    return Situation(
        day=int(day),
        randomized=TRUTHS[cell("randomized", "yes")],
        assigned=TRUTHS[cell("assigned", "yes")],
        in_follow_up=TRUTHS[cell("in follow-up", "yes")],
        stopped=TRUTHS[cell("stopped", "no")],
        hold=TRUTHS[cell("hold", "no")],
        hold_until=int(cell("hold until", "0")),
        cover=TRUTHS[cell("cover", "yes")],
        cycles=whole(cycles),
        first_cycle_day=whole(cell("first cycle", "0" if treated else "none")),
        last_cycle_day=whole(cell("last cycle", "none")),
        dose=number(cell("dose now", str(rules.starting_dose) if treated else "0")),
        cycles_at_dose=whole(cell("cycles at dose", cycles)),
        reduced=TRUTHS[cell("reduced", "no")],
        toxicity=whole(cell("toxicity", "0")),
        baseline=number(cell("baseline", "?")),
        measure=number(cell("measure", "?")),
        measured_day=int(cell("measured", day)),
        goal=number(cell("goal", "?")),
    )
