"""The virtual people of a demonstration: what they answer at screening, and who they truly are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.protocol.model import Item, Protocol
from equipoise.protocol.quantities import number_text
from equipoise.rules.eligibility import assess
from equipoise.rules.truth import YES
from equipoise.simulate.plans import Setup
from equipoise.virtual.baseline import Candidates, candidates
from equipoise.virtual.latent import Person, person

DRAWN = 200
"""Candidates drawn at a time."""
TRIAL = 0


@dataclass(frozen=True)
class Candidate:
    """One virtual person: their country, what they answer to each item, and their true state."""

    number: int
    country: str
    answers: Mapping[str, Any]
    """A number, a truth, a word, or None where there is nothing to answer."""
    person: Person


def draw(setup: Setup, seed: int, countries: Iterable[str], eligible: int, others: int) -> list[Candidate]:
    """So many eligible candidates, and so many others, of these countries, in the order of their numbers."""
    wanted = {True: eligible, False: others}
    allowed, found = set(countries), []
    first = 0
    while any(wanted.values()) and first < DRAWN * 50:
        block = candidates(setup.population, setup.baseline, setup.protocol, seed, TRIAL, first, DRAWN)
        for row in range(DRAWN):
            one = _candidate(setup, block, row, seed)
            fits = suits(setup.protocol, one.answers)
            if one.country in allowed and wanted[fits]:
                wanted[fits] -= 1
                found.append(one)
        first += DRAWN
    return found


def suits(protocol: Protocol, answers: Mapping[str, Any]) -> bool:
    """Whether somebody with these answers is eligible."""
    return assess(protocol, answers, dict.fromkeys(answers, 0)).eligible == YES


def _candidate(setup: Setup, block: Candidates, row: int, seed: int) -> Candidate:
    protocol = setup.protocol
    names = list(protocol.simulation.accrual) if protocol.simulation is not None else []
    number = block.first + row
    traits = (block.count, block.nadir, block.age, block.female, block.prior_aids, block.viraemic,
              block.log10_level)  # fmt: skip
    true = person(*setup.kernel, seed, TRIAL, number, *(_number(column[row]) for column in traits))
    answers = {name: _value(protocol.items[name], column[row]) for name, column in block.columns.items()}
    return Candidate(number, names[int(block.country[row])], answers, Person(*true))


def _number(value: Any) -> Any:
    return int(value) if np.issubdtype(type(value), np.integer) else float(value)


def _value(item: Item, value: Any) -> Any:
    """A column's value as criteria and people take it."""
    if item.type == "category":
        return None if value is None else str(value)
    if item.type == "boolean":
        return None if value < 0 else bool(value)
    return None if math.isnan(value) else float(value)


def answer(item_name: str, item: Item, value: Any) -> dict[str, Any]:
    """One answer as it is typed into a form."""
    if value is None:
        return {"item": item_name, "missing": "not applicable"}
    if isinstance(value, bool):
        return {"item": item_name, "text": "yes" if value else "no"}
    if isinstance(value, str):
        return {"item": item_name, "text": value}
    limit = item.detection_limit
    if limit is not None and value <= limit:
        return {"item": item_name, "text": f"<{number_text(float(limit))}"}
    return {"item": item_name, "text": number_text(float(value))}
