"""Who comes to be screened in a rehearsal, and who of them is randomised: the virtual people of the simulated
trial with the same seed, with their answers at screening."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Protocol
from equipoise.rules.schedule import PlannedVisit, visits
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup
from equipoise.virtual.baseline import candidates


@dataclass(frozen=True)
class Candidate:
    """Somebody who comes to be screened. `number` from 0, in the order of assessment; `eligible` as the
    simulation judged (1, 0, -1 unknown); `place` among those randomised from 0, None for screen failures.
    `visits`: the visits of screening with their dates."""

    number: int
    country: str
    site: int
    first_day: date
    assessed: date
    visits: tuple[tuple[PlannedVisit, date], ...]
    answers: dict[str, Value]
    eligible: int
    place: int | None


def who_comes(setup: Setup, enrolment: Enrolment, seed: int, trial: int) -> list[Candidate]:
    """All candidates of the trial, in the order of their assessment."""
    protocol = setup.protocol
    n = len(enrolment.country)
    drawn = candidates(setup.population, setup.baseline, protocol, np.uint64(seed), trial, 0, n)
    countries = list(protocol.simulation.accrual) if protocol.simulation is not None else []
    place_of = {int(candidate): place for place, candidate in enumerate(enrolment.position)}
    begin = protocol.calendar.first_randomization
    planned = screening_visits(protocol)
    return [
        Candidate(
            number=i,
            country=countries[int(enrolment.country[i])],
            site=int(enrolment.site[i]),
            first_day=begin + timedelta(int(enrolment.assessed[i]) - int(enrolment.screening[i])),
            assessed=begin + timedelta(int(enrolment.assessed[i])),
            visits=_dated(
                planned, begin + timedelta(int(enrolment.assessed[i])), int(enrolment.screening[i])
            ),
            answers={
                name: _value(column[i], protocol.items[name].type) for name, column in drawn.columns.items()
            },
            eligible=int(enrolment.eligible[i]),
            place=place_of.get(i),
        )
        for i in range(n)
    ]


def shortened(setup: Setup, enrolment: Enrolment, years: float | None) -> Enrolment:
    """The enrolment with follow-up cut short after so many years."""
    from dataclasses import replace

    if years is None:
        return enrolment
    people = enrolment.people
    most = math.floor(years * 365.25)
    return replace(enrolment, people=people._replace(end_day=np.minimum(people.end_day, most)))


def enrolled(setup: Setup, seed: int, trial: int, participants: int, years: float | None) -> Enrolment:
    """The enrolment of the simulated trial, with follow-up cut short where that is asked for."""
    return shortened(setup, enrol(setup, seed, trial, participants), years)


def screening_visits(protocol: Protocol) -> list[PlannedVisit]:
    """The visits of screening, in order."""
    named = {visit.id for visit in protocol.visits if visit.period == "screening"}
    return [visit for visit in visits(protocol, next(iter(protocol.arms)), 0) if visit.id in named]


def _dated(
    planned: list[PlannedVisit], assessed: date, screening: int
) -> tuple[tuple[PlannedVisit, date], ...]:
    """The first as long before the assessment as screening took, the others in proportion."""
    first = min((visit.day for visit in planned), default=0)
    return tuple(
        (visit, assessed - timedelta(math.floor(screening * (visit.day / first if first < 0 else 0.0) + 0.5)))
        for visit in planned
    )


def _value(drawn: Any, kind: str) -> Value:
    if kind == "boolean":
        return None if drawn < 0 else bool(drawn)
    if kind == "number":
        return None if math.isnan(drawn) else float(drawn)
    return str(drawn) or None
