"""The compiled loop agrees with the plain walk of one participant, day by day and dose by dose."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import equipoise.simulate  # noqa: F401
from equipoise.protocol import load
from equipoise.simulate import reference
from equipoise.simulate.enrolment import enrol
from equipoise.simulate.plans import DialChoice, Setup, prepare
from equipoise.virtual.latent import Person, person

loop = sys.modules["equipoise.simulate.trial"]
SEED, TRIAL = 20260101, 3


def notes_of(setup: Setup, people: int):
    """A small trial walked by the compiled loop, with its diary."""
    enrolment = enrol(setup, SEED, TRIAL, people)
    happened = loop.outcomes(people, len(setup.landmarks))
    diary = loop.diary(people * 90, people * 150, people * 60, people * 20, people * 20)
    for number, arm in enumerate(setup.arms):
        rows = np.flatnonzero(enrolment.arm == number)
        assert loop.walk(
            setup.kernel,
            arm.plan,
            setup.plan,
            enrolment.people,
            rows,
            np.uint64(SEED),
            TRIAL,
            True,
            happened,
            diary,
        )
    return enrolment, happened, diary


def plain_walk(setup: Setup, enrolment, i: int) -> reference.Walk:
    """The same participant, walked in plain Python."""
    people, arm = enrolment.people, setup.arms[int(enrolment.arm[i])]
    who = Person(
        *person(
            *setup.kernel,
            SEED,
            TRIAL,
            int(people.number[i]),
            people.count[i],
            people.nadir[i],
            people.age[i],
            int(people.female[i]),
            int(people.prior_aids[i]),
            int(people.viraemic[i]),
            people.log10_level[i],
        )
    )
    plan = arm.plan
    visits = tuple(
        reference.VisitPlan(int(day), int(early), int(before), bool(count), bool(rna))
        for day, early, before, count, rna in zip(
            plan.planned, plan.earliest, plan.before, plan.measures_count, plan.measures_rna, strict=True
        )
    )
    course = None
    if arm.regimen is not None:
        course = reference.Course(
            plan.rules,
            plan.administrations,
            float(people.goal[i]),
            float(people.baseline[i]),
            bool(plan.cover),
            tuple(int(x) for x in plan.holds),
            tuple(int(x) for x in plan.resume),
        )
    return reference.walk(setup.kernel, who, visits, course, int(people.end_day[i]), SEED, TRIAL)


def same_floats(found, wanted) -> None:
    np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "dials"),
    [
        ("silcaat", "C"), ("silcaat", "E"), ("esprit", "B"), ("vanguard", "C"), ("silcaat", "A"),
        ("silcaat", {"preset": "C", "functional_fraction": -0.3}),
        ("silcaat", {"preset": "E", "rho_chronic": 0.5, "harm_applies_to": ["grade4", "death"]}),
    ],
)  # fmt: skip
def test_every_participant_of_a_small_trial_meets_the_same_fate_compiled_and_in_plain_python(
    name: str, dials: DialChoice
) -> None:
    setup = prepare(load(name), dials)
    people = 60
    enrolment, happened, diary = notes_of(setup, people)
    used = diary.used
    for i in range(people):
        plain = plain_walk(setup, enrolment, i)
        assert (plain.last_day, plain.status) == (happened.last_day[i], happened.status[i])

        events = diary.events[: used[loop.EVENT_ROWS]]
        mine = [tuple(row[1:].tolist()) for row in events if row[0] == i]
        assert sorted(mine) == sorted((e.day, e.process, e.index) for e in plain.events)

        visits = diary.visits[: used[loop.VISIT_ROWS]]
        rows = visits[:, 0] == i
        assert visits[rows][:, 1:3].tolist() == [[m.visit, m.day] for m in plain.measured]
        values = diary.visits_values[: used[loop.VISIT_ROWS]][rows]
        same_floats(values[:, 0], [m.count for m in plain.measured])
        same_floats(values[:, 1], [m.copies for m in plain.measured])
        same_floats(values[:, 2:5].sum(axis=1), [m.true_count for m in plain.measured])

        cycles = diary.cycles[: used[loop.CYCLE_ROWS]]
        rows = cycles[:, 0] == i
        assert cycles[rows][:, 1:].tolist() == [
            [c.day, c.given, int(not c.induction), c.decision, c.toxicity, c.toxicity_day]
            for c in plain.cycles
        ]
        same_floats(diary.cycles_values[: used[loop.CYCLE_ROWS]][rows][:, 0], [c.dose for c in plain.cycles])

        decisions = diary.decisions[: used[loop.DECISION_ROWS]]
        rows = decisions[:, 0] == i
        wanted = [
            [
                d.situation.day,
                d.decision.action,
                d.decision.reason,
                d.decision.not_before,
                d.decision.unknown,
                d.accepted,
                d.situation.measured_day,
                d.situation.cycles,
                d.situation.toxicity,
                d.situation.hold,
                d.situation.hold_until,
                d.situation.cover,
                d.situation.stopped,
                d.situation.first_cycle_day,
                d.situation.last_cycle_day,
                d.situation.cycles_at_dose,
                d.situation.reduced,
            ]
            for d in plain.decided
        ]
        assert decisions[rows][:, 1:].tolist() == wanted
        values = diary.decisions_values[: used[loop.DECISION_ROWS]][rows]
        same_floats(values[:, 0], [d.decision.dose for d in plain.decided])
        same_floats(values[:, 1], [d.situation.measure for d in plain.decided])

        holds = diary.holds[: used[loop.HOLD_ROWS]]
        assert sorted(tuple(row[1:].tolist()) for row in holds if row[0] == i) == sorted(plain.holds)


def test_notes_change_nothing_about_what_happens() -> None:
    setup = prepare(load("silcaat"))
    enrolment, with_notes, _ = notes_of(setup, 80)
    runs = sys.modules["equipoise.simulate.runs"]
    without = runs.walk_everybody(setup, enrolment, SEED, TRIAL)
    for field in loop.Outcomes._fields:
        np.testing.assert_array_equal(getattr(without, field), getattr(with_notes, field), err_msg=field)


def test_a_diary_that_is_too_small_is_begun_again_and_gives_the_same_notes() -> None:
    setup = prepare(load("silcaat"))
    enrolment, happened, _ = notes_of(setup, 40)
    small = loop.diary(10, 10, 2, 1, 1)
    rows = np.flatnonzero(enrolment.arm == 0)
    again = loop.outcomes(40, len(setup.landmarks))
    arm = setup.arms[0].plan
    assert not loop.walk(
        setup.kernel, arm, setup.plan, enrolment.people, rows, np.uint64(SEED), TRIAL, True, again, small
    )
    large = loop.diary(4000, 4000, 4000, 4000, 4000)
    assert loop.walk(
        setup.kernel, arm, setup.plan, enrolment.people, rows, np.uint64(SEED), TRIAL, True, again, large
    )
    for field in loop.Outcomes._fields:
        np.testing.assert_array_equal(
            getattr(again, field)[rows], getattr(happened, field)[rows], err_msg=field
        )
