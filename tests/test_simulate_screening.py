"""The compiled sieve gives every candidate the verdict, the stratum and the goal that the rules give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.protocol import criteria, load
from equipoise.protocol.criteria import Expression
from equipoise.rules.goals import goal_value
from equipoise.rules.truth import NO, UNKNOWN, YES
from equipoise.rules.values import stratum_levels
from equipoise.simulate import screening, sieve
from equipoise.simulate.enrolment import criteria_met, enrol
from equipoise.simulate.plans import Setup, prepare
from equipoise.virtual.baseline import _number_column, candidates

SEED, TRIAL, COUNT = 41, 6, 3000


def drawn_by(setup: Setup):
    return candidates(setup.population, setup.baseline, setup.protocol, np.uint64(SEED), TRIAL, 0, COUNT)


def sieved(setup: Setup):
    """Everybody's verdict, and the columns of the eligible."""
    made = screening.screening_of(setup)
    eligible = np.full(COUNT, 7, np.int64)
    result = np.full((made.program.columns + 1, COUNT + sieve.BLOCK), np.nan)
    tested, found = screening.run_sieve(
        setup, made.program, SEED, TRIAL, 0, COUNT, COUNT, made.share, eligible, result
    )
    assert tested == COUNT
    return made, eligible, result[:, :found]


def value_of(column, row: int):
    value = column[row]
    if column.dtype == np.int8:
        return None if value < 0 else bool(value)
    if column.dtype == object:
        return value or None
    return None if math.isnan(value) else float(value)


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_the_sieve_lets_through_exactly_those_who_meet_every_criterion(name: str) -> None:
    setup = prepare(load(name))
    _, eligible, result = sieved(setup)
    met = criteria_met(setup, SEED, TRIAL, 0, COUNT)
    wanted = np.where((met == 0).any(axis=1), NO, np.where((met < 0).any(axis=1), UNKNOWN, YES))
    assert 0.2 < (wanted == YES).mean() < 0.9
    np.testing.assert_array_equal(eligible, wanted)
    np.testing.assert_array_equal(result[0], np.flatnonzero(wanted == YES))


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_those_let_through_are_who_they_were_drawn_as(name: str) -> None:
    setup = prepare(load(name))
    _, _, result = sieved(setup)
    drawn, rows = drawn_by(setup), result[0].astype(int)
    for place, trait in enumerate(screening.TRAITS):
        np.testing.assert_array_equal(result[1 + place], getattr(drawn, trait)[rows], err_msg=trait)
    np.testing.assert_array_equal(result[1 + len(screening.TRAITS)], drawn.columns[setup.count_item][rows])


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_strata_and_goals_are_those_of_the_rules_one_by_one(name: str) -> None:
    setup = prepare(load(name))
    made, _, result = sieved(setup)
    drawn = drawn_by(setup)
    first = 2 + len(screening.TRAITS)
    strata = list(setup.protocol.strata)
    for k in range(0, result.shape[1], 7):
        row = int(result[0, k])
        values = {item: value_of(column, row) for item, column in drawn.columns.items()}
        levels = stratum_levels(setup.protocol, values)
        for place, stratum in enumerate(strata):
            assert made.stratum_levels[place][int(result[first + place, k])] == levels[stratum]
        for place, arm in enumerate(setup.arms):
            goal = result[first + len(strata) + place, k]
            if arm.regimen is None or setup.protocol.regimens[arm.regimen].goal is None:
                assert math.isnan(goal)
            else:
                assert goal == goal_value(setup.protocol, arm.regimen, values)


EXPRESSIONS = [
    "not consent or age >= 40 years",
    "(cd4_historical + cd4_visit1) / 2 < 200 and cd4_visit1 - cd4_historical > -20",
    "max(cd4_historical, cd4_visit1) >= 250 or min(cd4_nadir, 50) == 50",
    "abs(cd4_historical - cd4_visit1) / cd4_nadir > 0.5",
    "sex is 'female' and country in ('USA', 'France')",
    "sex is not 'male'",
    "unknown(lymphoma_remission_years) or lymphoma_remission_years < 3 years",
    "lymphoma_remission_years >= 2 years",
    "unknown(consent) or unknown(sex)",
    "karnofsky == 90 %",
    "karnofsky != 90 %",
    "80 % <= karnofsky < 100 %",
    "ast_uln <= 0.85 x ULN",
    "ast_uln == 0.85 x ULN",
    "0.5 x ULN > ast_uln or ast_uln >= 1.5 x ULN",
    "bilirubin_uln < ast_uln",
    "consent == follow_up_agreed",
    "art_drugs * 2 - 1 > art_drugs + 2",
    "cd4_nadir / (cd4_nadir - cd4_nadir) > 1",
    "hiv_rna >= 10000 copies/mL",
    "factor_viii <= 5 % and haemophilia",
    "false or not true",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_any_expression_means_the_same_in_the_sieve(text: str) -> None:
    setup = prepare(load("silcaat"))
    compiled: Expression = criteria.compile(text, setup.protocol.items)
    made = screening._Candidates(setup)
    truth = made.truth(compiled.root, made.column)
    program = screening._Lister(made.graph, [], [], [truth]).program()
    result = np.empty((2, COUNT + sieve.BLOCK))
    screening.run_sieve(setup, program, SEED, TRIAL, 0, COUNT, COUNT, 1.0, np.empty(COUNT, np.int64), result)
    wanted = criteria.evaluate_columns(compiled, drawn_by(setup).columns)
    codes = {1: 1.0, 0: -1.0, -1: 0.0}
    np.testing.assert_array_equal(result[1, :COUNT], [codes[int(t)] for t in wanted])


@pytest.mark.parametrize(
    "law",
    [
        (math.log(0.85), 0.5, 1.0, 100.0, 0.0, 50.0),
        (14.2, 1.5, 0.0, 10.0, 3.0, 25.0),
        (math.log(60000.0), 1.6, 1.0, 1.0, 0.0, 1e8),
        (0.0, 1.0, 0.0, 1e4, -1e12, 1e12),
    ],
)
def test_a_number_passes_its_limit_at_one_uniform(law) -> None:
    """Every one of the 10,000 uniforms on either side of the place found is on the right side."""
    middle, sd, logarithmic, scale, low, high = law
    numbers = _number_column(np.linspace(0.001, 0.999, 9), middle, sd, logarithmic == 1.0, scale, low, high)
    for limit in [*numbers.tolist(), float(numbers[4]) + 0.3 / scale]:
        for beyond in (False, True):
            at = screening._first_at(law, limit, beyond)
            word = round(at * 2.0**32 - 0.5)
            words = np.arange(max(word - 10_000, 0), min(word + 10_000, 2**32))
            around = _number_column((words + 0.5) / 2.0**32, middle, sd, logarithmic == 1.0, scale, low, high)
            reached = around > limit if beyond else around >= limit
            np.testing.assert_array_equal(reached, words >= word)


def test_hardly_anybody_eligible_still_fills_a_trial_with_the_same_people() -> None:
    """A block of candidates may leave nobody at all."""
    setup = prepare(load("silcaat"))
    few = enrol(setup, 3, 1, 2)
    many = enrol(setup, 3, 1, 40)
    np.testing.assert_array_equal(few.people.number, many.people.number[:2])
