"""The plain walk of one participant: what must hold on every day of it."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import pytest

from equipoise.protocol import load
from equipoise.rules.truth import YES
from equipoise.simulate import reference
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.plans import prepare
from equipoise.simulate.reference import BACKGROUND4, CYCLE4, DIED, DIED_OF, OD, Course, VisitPlan, walk
from equipoise.virtual import latent

SEED = 11


@lru_cache
def study(name, preset, people):
    setup = prepare(load(name), preset)
    return setup, enrol(setup, SEED, 0, people)


def arms_of(setup):
    """Name of the first arm with cycles, and of the control arm, with their positions."""
    cycled = next(i for i, arm in enumerate(setup.arms) if arm.regimen is not None)
    control = next(i for i, arm in enumerate(setup.arms) if arm.regimen is None)
    return cycled, control


def follow(setup, enrolment, i, arm):
    """Participant i walked in an arm, whichever arm that participant was given."""
    people, plan = enrolment.people, setup.arms[arm].plan
    person = latent.person(
        *setup.kernel, SEED, 0, people.number[i], people.count[i], people.nadir[i], people.age[i],
        people.female[i], people.prior_aids[i], people.viraemic[i], people.log10_level[i],
    )  # fmt: skip
    visits = tuple(
        VisitPlan(int(planned), int(earliest), int(before), count == YES, rna == YES)
        for planned, earliest, before, count, rna in zip(
            plan.planned, plan.earliest, plan.before, plan.measures_count, plan.measures_rna, strict=True
        )
    )
    course = None
    if plan.cycled == YES:
        goal = people.goal[i] if not math.isnan(people.goal[i]) else 2.0 * people.baseline[i]
        course = Course(
            plan.rules, plan.administrations, float(goal), float(people.baseline[i]), plan.cover == YES,
            tuple(int(x) for x in plan.holds), tuple(int(x) for x in plan.resume),
        )  # fmt: skip
    return walk(setup.kernel, person, visits, course, int(people.end_day[i]), SEED, 0)


def clinical(walked):
    return [event for event in walked.events if event.process in (OD, DIED_OF, BACKGROUND4)]


@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_with_null_cells_and_no_harm_both_arms_have_the_same_events_on_the_same_days(name):
    setup, enrolment = study(name, "A", 150)
    cycled, control = arms_of(setup)
    cycles = events = 0
    for i in range(150):
        treated, untreated = follow(setup, enrolment, i, cycled), follow(setup, enrolment, i, control)
        assert clinical(treated) == clinical(untreated)
        assert (treated.last_day, treated.status) == (untreated.last_day, untreated.status)
        cycles += len(treated.cycles)
        events += len(clinical(treated))
    assert cycles > 300
    assert events > 30


def test_functional_cells_delay_or_prevent_events_and_never_bring_them_forward():
    setup, enrolment = study("esprit", "D", 150)
    cycled, control = arms_of(setup)
    moved = 0
    for i in range(150):
        treated, untreated = follow(setup, enrolment, i, cycled), follow(setup, enrolment, i, control)
        for process in (OD, DIED_OF):
            days = [
                next((e.day for e in walked.events if e.process == process), math.inf)
                for walked in (treated, untreated)
            ]
            # The quadrature pieces of the two arms differ: a day or two either way, never more.
            assert days[0] >= days[1] - 2
            moved += days[0] > days[1]
    assert moved > 0


@pytest.mark.parametrize("name", ["silcaat", "esprit"])
def test_what_holds_on_every_walk(name):
    setup, enrolment = study(name, "C", 120)
    cycled, _ = arms_of(setup)
    rules, plan = setup.arms[cycled].plan.rules, setup.arms[cycled].plan
    held = declined = 0
    for i in range(120):
        walked = follow(setup, enrolment, i, cycled)
        assert 1 <= walked.last_day <= enrolment.people.end_day[i]
        for event in walked.events:
            assert 1 <= event.day <= walked.last_day
        assert (walked.status == DIED) == any(e.process == DIED_OF for e in walked.events)
        attended = [m.visit for m in walked.measured]
        assert attended == sorted(set(attended))
        assert not set(attended) & set(walked.missed)
        for m in walked.measured:
            assert plan.earliest[m.visit] <= m.day < plan.before[m.visit]
            assert m.day <= walked.last_day
        days = [cycle.day for cycle in walked.cycles]
        assert all(later - earlier >= rules.minimum_gap for earlier, later in pairwise(days))
        assert all(0 <= day < walked.last_day for day in days)
        for cycle in walked.cycles:
            assert rules.floor <= cycle.dose <= rules.ceiling
            assert 1 <= cycle.given <= plan.administrations
            assert not any(
                start <= cycle.day < (end if end >= 0 else math.inf)
                for kind, start, end in walked.holds
                if plan.holds[1 << kind] == YES
            )
            chosen = walked.decided[cycle.decision]
            assert chosen.accepted == 1
            assert chosen.situation.day == cycle.day
            assert chosen.decision.dose == cycle.dose
        toxic = [
            c.toxicity_day for c in walked.cycles if c.toxicity == 4 and c.toxicity_day <= walked.last_day
        ]
        assert [e.day for e in walked.events if e.process == CYCLE4] == [
            d for d in toxic if d <= walked.last_day
        ]
        offers = [d.situation.day for d in walked.decided if d.accepted == 0]
        declined += len(offers)
        held += len(walked.holds)
        asked = [d.situation.day for d in walked.decided if d.accepted >= 0]
        for day in offers:
            later = [other for other in asked if other > day]
            assert not later or later[0] >= day + setup.kernel.habits.offer_again
    assert declined > 50
    assert held > 0


def test_decisions_rest_on_what_was_measured_never_on_the_true_count():
    setup, enrolment = study("esprit", "C", 60)
    cycled, _ = arms_of(setup)
    for i in range(60):
        walked = follow(setup, enrolment, i, cycled)
        measured = {m.day: m.count for m in walked.measured} | {0: enrolment.people.baseline[i]}
        for decided in walked.decided:
            now = decided.situation
            assert now.measure == measured[now.measured_day]
            assert now.measured_day <= now.day


def test_the_same_person_twice_is_the_same_walk():
    setup, enrolment = study("silcaat", "C", 120)
    cycled, _ = arms_of(setup)
    assert follow(setup, enrolment, 3, cycled) == follow(setup, enrolment, 3, cycled)


def test_an_untreated_arm_decides_nothing():
    setup, enrolment = study("silcaat", "C", 120)
    _, control = arms_of(setup)
    walked = follow(setup, enrolment, 5, control)
    assert walked.decided == walked.cycles == walked.holds == []
    assert walked.measured
    assert reference.COMPLETED == 0
