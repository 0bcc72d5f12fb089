"""What must hold for the dose rules whatever the protocol and whatever the history."""

from __future__ import annotations

import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.extending import register_jitable

from equipoise.protocol import bundled, load
from equipoise.rules import Decision, DoseRules, Situation, decide, dose_rules, dosing, next_decision_day
from equipoise.rules.explaining import explain
from equipoise.rules.schedule import (
    induction_due,
    interval_day,
    intervals_around,
    opening,
    opening_from_next_review,
    review_after,
    review_on_or_before,
)
from equipoise.rules.terms import (
    ESCALATE,
    HOLD,
    NEVER,
    REDUCE,
    STOP,
    UNKNOWN_BASELINE,
    UNKNOWN_COVER,
    UNKNOWN_GOAL,
    UNKNOWN_HOLD,
    UNKNOWN_MEASURE,
    UNKNOWN_TOXICITY,
    WAIT,
    starts,
)
from equipoise.rules.truth import NO, UNKNOWN, YES

EXAMPLE = Path(__file__).parent / "spec" / "example.yaml"
LAST_DAY = 2600

for _function in dosing.LOOP_FUNCTIONS:
    register_jitable(_function)


@numba.njit
def compiled(rules: DoseRules, now: Situation) -> tuple[Decision, int, int, int]:
    return (
        decide(rules, now),
        next_decision_day(rules, now),
        induction_due(rules, now),
        review_on_or_before(rules, now.day),
    )


def interpreted(rules: DoseRules, now: Situation) -> tuple[Decision, int, int, int]:
    return (
        decide(rules, now),
        next_decision_day(rules, now),
        induction_due(rules, now),
        review_on_or_before(rules, now.day),
    )


@cache
def all_rules() -> dict[str, DoseRules]:
    """The dose rules of the example trial and of every bundled protocol, one set per regimen in cycles."""
    found = {}
    for name in (str(EXAMPLE), *bundled()):
        protocol = load(name)
        for regimen, block in protocol.regimens.items():
            if block.kind == "cycles":
                found[f"{protocol.protocol} {regimen}"] = dose_rules(protocol, regimen)
    return found


REGIMENS = sorted(all_rules())
TRUTHS = st.sampled_from([NO, YES, YES, YES, UNKNOWN])


def mostly(value: int) -> st.SearchStrategy[int]:
    return st.sampled_from([value] * 12 + [NO, YES, UNKNOWN])


@st.composite
def situations(draw: st.DrawFn, rules: DoseRules) -> Situation:
    """Any situation at all, the sensible ones more often; days that the calendar names too."""
    anchors = [0, 14, 56, 57, 112, 180, 240, 336, 365, 397, 458, 487, 580, 701]
    day = draw(st.one_of(st.sampled_from(anchors), st.integers(-3, LAST_DAY)))
    cycles = draw(st.sampled_from([0, 0, 1, 2, 3, 4, 6, 9, 12, -1]))
    last = draw(st.integers(-1, max(day, 0) + 5)) if cycles else draw(st.sampled_from([-1] * 9 + [3]))
    first = draw(st.integers(-1, max(last, 0))) if cycles else -1
    dose = draw(st.sampled_from([*(x for x in rules.levels if x == x), 0.0, 5.0, 99.0, math.nan]))
    baseline = draw(st.sampled_from([50.0, 150.0, 180.0, 280.0, 10.0, math.nan]))
    known = st.one_of(st.sampled_from([180.0, 230.0, 305.0, 6.0, 8.5]), st.floats(0, 1500))
    measure = draw(st.one_of(st.just(math.nan), known))
    return Situation(
        day,
        draw(mostly(YES)),
        draw(mostly(YES)),
        draw(mostly(YES)),
        draw(mostly(NO)),
        draw(mostly(NO)),
        draw(st.sampled_from([0, 0, 0, max(day, 0), day + 1, day + 30])),
        draw(mostly(YES)),
        cycles,
        first,
        last,
        dose if cycles else 0.0,
        draw(st.integers(-1, 6)) if cycles else 0,
        draw(mostly(NO)),
        draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 5, -1])),
        baseline,
        measure,
        day - draw(st.sampled_from([0, 0, 1, 14, 15, 40, 41, 45, 46, 91, 92, 200, -1])),
        draw(st.sampled_from([305.0, 6.0, 1000.0, math.nan])),
    )


@st.composite
def rules_and_situations(draw: st.DrawFn) -> tuple[DoseRules, Situation]:
    rules = all_rules()[draw(st.sampled_from(REGIMENS))]
    return rules, draw(situations(rules))


@given(
    origin=st.floats(0.0, 800.0),
    every=st.sampled_from([1.0, 7.0, 30.4375, 56.0, 121.75]) | st.floats(1.0, 400.0),
    later=st.integers(0, 4000),
)
def test_the_days_around_a_day_are_those_that_counting_finds(origin: float, every: float, later: int) -> None:
    day = interval_day(origin, 0, every) + later
    count = 0
    while interval_day(origin, count + 1, every) <= day:
        count += 1
    found = interval_day(origin, count, every), interval_day(origin, count + 1, every)
    assert intervals_around(origin, day, every) == found


@settings(max_examples=500)
@given(rules_and_situations())
def test_the_next_review_opens_on_the_day_that_the_calendar_finds(
    both: tuple[DoseRules, Situation],
) -> None:
    rules, now = both
    if not 0 <= rules.maximum_cycles <= now.cycles:
        found = opening(rules, now, review_after(rules, now.day))
        assert opening_from_next_review(rules, now) == found


@settings(max_examples=500)
@given(rules_and_situations())
def test_the_induction_cycle_that_is_due_is_the_first_that_counting_finds(
    both: tuple[DoseRules, Situation],
) -> None:
    """By the calendar: whose window has not passed, and that is after the last cycle."""
    rules, now = both
    maintenance = rules.maintenance_from if rules.maintenance_from >= 0 else math.inf
    due = NEVER
    if now.cycles < rules.induction_cycles and now.day < maintenance and rules.induction_by_calendar == YES:
        for slot in range(rules.induction_cycles):
            day = interval_day(0.0, slot, rules.induction_every)
            used = now.cycles > 0 and day <= now.last_cycle_day
            if not used and now.day <= day + rules.induction_window:
                due = day if day < maintenance else NEVER
                break
    if rules.induction_by_calendar == YES:
        assert induction_due(rules, now) == due


@settings(max_examples=1500)
@given(rules_and_situations())
def test_any_situation_is_decided_alike_interpreted_and_compiled(both: tuple[DoseRules, Situation]) -> None:
    assert interpreted(*both) == compiled(*both)


@settings(max_examples=1500)
@given(rules_and_situations())
def test_a_cycle_starts_exactly_when_every_condition_that_is_shown_holds(
    both: tuple[DoseRules, Situation],
) -> None:
    rules, now = both
    told = explain(rules, now)
    assert starts(told.decision) == all(line.holds == YES for line in told.conditions)
    assert "{" not in told.sentence


@settings(max_examples=2000)
@given(rules_and_situations())
def test_no_cycle_breaks_a_limit(both: tuple[DoseRules, Situation]) -> None:
    rules, now = both
    decision = decide(rules, now)
    if not starts(decision):
        assert decision.dose == 0.0
        assert decision.action in (WAIT, HOLD, STOP)
        assert decision.not_before == NEVER or decision.not_before >= now.day
        return
    assert decision.unknown == 0
    assert decision.not_before == now.day >= 0
    assert rules.floor <= decision.dose <= rules.ceiling
    assert (now.randomized, now.assigned, now.in_follow_up, now.cover) == (YES, YES, YES, YES)
    assert (now.stopped, now.hold) == (NO, NO)
    assert now.day >= now.hold_until
    if now.cycles > 0:
        assert now.day - now.last_cycle_day >= rules.minimum_gap
        assert rules.reduce_from_grade == -1 or now.toxicity >= 0
    if decision.action == ESCALATE:
        assert decision.dose > now.dose
        assert decision.dose in rules.steps
        assert now.reduced == NO or rules.escalation_after_reduction == YES
    if decision.action == REDUCE:
        assert decision.dose < now.dose
        assert decision.dose in rules.levels


@settings(max_examples=1500)
@given(rules_and_situations())
def test_no_cycle_can_start_before_the_day_that_is_named(both: tuple[DoseRules, Situation]) -> None:
    """If nothing changes but the day (and the measure stays as fresh as it was), nothing starts earlier."""
    rules, now = both
    decision = decide(rules, now)
    if decision.not_before == NEVER or decision.unknown or decision.not_before - now.day > 400:
        return
    for day in range(now.day, decision.not_before):
        later = now._replace(day=day, measured_day=now.measured_day + day - now.day)
        assert not starts(decide(rules, later))


@settings(max_examples=1000)
@given(rules_and_situations())
def test_an_unknown_that_is_named_matters(both: tuple[DoseRules, Situation]) -> None:
    """Something named as unknown can make the difference: with everything that is named filled in well, a
    cycle starts, and before that none does."""
    rules, now = both
    decision = decide(rules, now)
    named = decision.unknown
    askable = (
        UNKNOWN_HOLD | UNKNOWN_COVER | UNKNOWN_TOXICITY | UNKNOWN_MEASURE | UNKNOWN_GOAL | UNKNOWN_BASELINE
    )
    if not named or named & ~askable:
        return
    assert decision.action == WAIT
    away = -float(rules.direction or 1)
    filled = now._replace(
        hold=NO if named & UNKNOWN_HOLD else now.hold,
        cover=YES if named & UNKNOWN_COVER else now.cover,
        toxicity=0 if named & UNKNOWN_TOXICITY else now.toxicity,
    )
    if named & UNKNOWN_MEASURE:
        measure = 100.0 if math.isnan(now.goal) else now.goal + away
        filled = filled._replace(measure=measure, measured_day=now.day)
    if named & UNKNOWN_GOAL:
        filled = filled._replace(goal=filled.measure - away)
    if named & (UNKNOWN_BASELINE | UNKNOWN_MEASURE):
        filled = filled._replace(baseline=filled.measure + away * 1e6)
    assert starts(decide(rules, filled))


def walk(rules: DoseRules, chance: random.Random) -> list[tuple[Situation, Decision]]:
    """One participant through time: comes on decision days or at odd ones, with labs that go missing or grow
    old, toxicity, holds that come and go, cycles that are declined."""
    day = chance.randint(-5, 20)
    now = Situation(
        day, NO if day < 0 else YES, YES, YES, NO, NO, 0, YES, 0, -1, -1, 0.0, 0, NO, 0,
        chance.choice([60.0, 180.0, 290.0, 10.0]), math.nan, 0, chance.choice([305.0, 1000.0, 6.0]),
    )  # fmt: skip
    taken = []
    while now.day < LAST_DAY:
        decision = decide(rules, now)
        taken.append((now, decision))
        if decision.action == STOP:
            now = now._replace(stopped=YES)
        if starts(decision) and chance.random() < 0.8:
            same = now.cycles > 0 and decision.dose == now.dose
            now = now._replace(
                cycles=now.cycles + 1,
                first_cycle_day=now.day if now.cycles == 0 else now.first_cycle_day,
                last_cycle_day=now.day,
                dose=decision.dose,
                cycles_at_dose=now.cycles_at_dose + 1 if same else 1,
                reduced=YES if decision.action == REDUCE else now.reduced,
                toxicity=chance.choice([0, 0, 0, 0, 0, 2, 3, 4, -1]),
            )
        following = next_decision_day(rules, now)
        step = chance.choice([1, 3, 10, 40])
        day = following if following > now.day and chance.random() < 0.6 else now.day + step
        hold = chance.choice([now.hold] * 6 + [NO, NO, YES, UNKNOWN])
        if now.hold == YES and hold == NO:
            now = now._replace(hold_until=day + chance.choice([0, 30]))
        if chance.random() < 0.7:
            measure = chance.choice([math.nan, chance.uniform(0, 400), chance.uniform(0, 1200)])
            now = now._replace(measure=measure, measured_day=day - chance.choice([0, 0, 0, 20, 60]))
        if now.toxicity < 0 and chance.random() < 0.5:
            now = now._replace(toxicity=0)
        now = now._replace(
            day=day,
            randomized=YES if day >= 0 else NO,
            hold=hold,
            cover=chance.choice([YES] * 9 + [NO, UNKNOWN]),
            in_follow_up=YES if day < LAST_DAY - 300 else NO,
        )
    return taken


@pytest.mark.parametrize("regimen", REGIMENS)
def test_random_histories_keep_every_limit(regimen: str) -> None:
    rules = all_rules()[regimen]
    given_cycles = 0
    for seed in range(150):
        taken = walk(rules, random.Random(seed))
        started = []
        for now, decision in taken:
            assert decision == compiled(rules, now)[0]
            if not starts(decision):
                continue
            given_cycles += 1
            started.append(now.day)
            assert now.day >= 0
            assert now.hold == NO
            assert decision.unknown == 0
            assert rules.floor <= decision.dose <= rules.ceiling
            assert decision.dose in rules.levels
            if now.cycles > 0:
                assert now.day - now.last_cycle_day >= rules.minimum_gap
            if rules.maximum_cycles > 0:
                assert now.cycles < rules.maximum_cycles
            if now.day >= rules.maintenance_from >= 0:
                assert now.day - now.measured_day <= rules.measured_within
                assert (now.measure < now.goal) if rules.direction > 0 else (now.measure > now.goal)
        stops = [number for number, (_, decision) in enumerate(taken) if decision.action == STOP]
        if stops:
            assert all(decision.action == STOP or not starts(decision) for _, decision in taken[stops[0] :])
    assert given_cycles > 150


@pytest.mark.parametrize("regimen", REGIMENS)
def test_the_next_decision_day_misses_no_cycle(regimen: str) -> None:
    """Between today and the next decision day no day lets a cycle start, however the measure turns out."""
    rules = all_rules()[regimen]
    for seed in range(25):
        for now, _ in walk(rules, random.Random(seed))[::5]:
            calm = now._replace(
                hold=NO, cover=YES, toxicity=0, reduced=YES, stopped=NO, in_follow_up=YES, randomized=YES,
                baseline=0.0, goal=math.inf * (rules.direction or 1),
                measure=1e5 if rules.direction >= 0 else -1e5,
            )  # fmt: skip
            following = next_decision_day(rules, calm)
            end = following if following != NEVER else now.day + 200
            for day in range(now.day + 1, min(end, now.day + 200)):
                assert not starts(decide(rules, calm._replace(day=day, measured_day=day)))
            if following != NEVER and following < LAST_DAY:
                assert starts(decide(rules, calm._replace(day=following, measured_day=following)))


# --- many rows at once --------------------------------------------------------------------------------------


@numba.njit
def decide_rows(rules: DoseRules, whole: Any, decimal: Any, answers: Any) -> None:
    for i in range(whole.shape[0]):
        w, d = whole[i], decimal[i]
        now = Situation(
            w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], d[0], w[11], w[12], w[13],
            d[1], d[2], w[14], d[3],
        )  # fmt: skip
        decision = decide(rules, now)
        answers[i, 0] = decision.action
        answers[i, 1] = decision.dose
        answers[i, 2] = decision.not_before
        answers[i, 3] = decision.reason
        answers[i, 4] = decision.unknown


def random_rows(rows: int, seed: int) -> tuple[Any, Any]:
    chance = np.random.default_rng(seed)
    day = chance.integers(-2, 1200, rows)
    cycles = chance.integers(0, 9, rows)
    last = np.where(cycles > 0, np.maximum(day - chance.integers(0, 200, rows), 0), -1)
    first = np.where(cycles > 0, (last * chance.random(rows)).astype(np.int64), -1)

    def truths(usual: int) -> Any:
        return np.where(chance.random(rows) < 0.95, usual, chance.integers(-1, 2, rows))

    whole = np.column_stack(
        [
            day, truths(YES), truths(YES), truths(YES), truths(NO), truths(NO),
            np.where(chance.random(rows) < 0.9, 0, day + chance.integers(-10, 30, rows)), truths(YES),
            cycles, first, last, np.where(cycles > 0, chance.integers(1, 5, rows), 0), truths(NO),
            np.where(chance.random(rows) < 0.8, 0, chance.integers(-1, 6, rows)),
            day - chance.integers(0, 60, rows),
        ]
    ).astype(np.int64)  # fmt: skip
    dose = np.where(cycles > 0, chance.choice([1.5, 3.0, 4.5, 6.0, 7.5], rows), 0.0)
    measure = np.where(chance.random(rows) < 0.1, np.nan, np.round(chance.uniform(50, 500, rows)))
    baseline = np.where(chance.random(rows) < 0.05, np.nan, np.round(chance.uniform(50, 299, rows)))
    goal = baseline + np.where(baseline < 200, 125.0, 175.0)
    return whole, np.column_stack([dose, baseline, measure, goal])


def compare_rows(rows: int) -> None:
    rules = all_rules()["EXAMPLE aldesleukin"]
    whole, decimal = random_rows(rows, seed=11)
    answers = np.empty((rows, 5))
    decide_rows(rules, whole, decimal, answers)
    expected = np.empty((rows, 5))
    for i, (w, d) in enumerate(zip(whole.tolist(), decimal.tolist(), strict=True)):
        now = Situation(*w[:11], d[0], *w[11:14], *d[1:3], w[14], d[3])
        expected[i] = decide(rules, now)
    np.testing.assert_array_equal(answers, expected)
    assert len(np.unique(answers[:, 3])) >= 25


def test_many_rows_are_decided_alike_interpreted_and_compiled() -> None:
    compare_rows(50_000)


@pytest.mark.slow
def test_a_million_rows_are_decided_alike_interpreted_and_compiled() -> None:
    compare_rows(1_000_000)
