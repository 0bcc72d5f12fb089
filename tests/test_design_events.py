"""Events for a power, power for events: against published tables, other software and themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines.statistics import power_under_cph, sample_size_necessary_under_cph

from equipoise.design import (
    detectable_hazard_ratio,
    freedman_events,
    participants_needed,
    schoenfeld_events,
    schoenfeld_power,
)
from equipoise.design.boundaries import information_per_event
from equipoise.design.events import freedman_power
from equipoise.errors import UserError


@pytest.mark.parametrize(
    ("hazard_ratio", "power", "alpha", "sides", "published"),
    [
        # rpact's unit tests (typeOfComputation Schoenfeld), to all printed digits
        (0.5, 0.8, 0.025, 1, 65.345659),
        (0.042568802 / 0.018595296, 0.8, 0.01, 1, 58.52451),
        (3.1062837, 0.8, 0.01, 1, 31.248898),
        (4.1062837, 0.8, 0.01, 1, 20.120262),
    ],
)
def test_schoenfelds_formula_gives_the_events_that_rpact_gives(
    hazard_ratio: float, power: float, alpha: float, sides: Any, published: float
) -> None:
    assert schoenfeld_events(hazard_ratio, power, alpha, sides) == pytest.approx(published, rel=1e-7)


def test_the_two_reference_trials_were_sized_by_schoenfelds_formula() -> None:
    assert math.ceil(schoenfeld_events(0.72, 0.80)) == 291
    assert schoenfeld_power(320, 0.73) == pytest.approx(0.80, abs=0.005)
    assert schoenfeld_power(320, 0.70) == pytest.approx(0.89, abs=0.005)
    assert schoenfeld_power(230, 0.75) == pytest.approx(0.588, abs=5e-4)


def test_a_halved_hazard_takes_71_events_by_freedmans_formula() -> None:
    # z^2 ((1 + h) / (1 - h))^2 = 9 (1.95996 + 0.84162)^2
    assert freedman_events(0.5, 0.8) == pytest.approx(9 * (1.959964 + 0.841621) ** 2, rel=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("hazard_ratio", [0.5, 0.8, 1.4])
def test_freedmans_formula_agrees_with_lifelines_for_any_allocation(
    ratio: float, hazard_ratio: float
) -> None:
    share = 1 / (1 + ratio)
    events = freedman_events(hazard_ratio, 0.9, 0.05, 2, share)
    people = sample_size_necessary_under_cph(
        0.9, ratio, 1.0, 1.0, hazard_ratio, 0.05
    )  # everybody has an event
    assert sum(people) == pytest.approx(events, abs=2)  # it rounds the arms up
    n_experimental, n_control = 400 * ratio / (1 + ratio), 400 / (1 + ratio)
    known = power_under_cph(n_experimental, n_control, 1.0, 1.0, hazard_ratio, 0.05)
    assert freedman_power(400, hazard_ratio, 0.05, 2, share) == pytest.approx(known, abs=1e-9)


@given(
    hazard_ratio=st.floats(0.2, 5).filter(lambda h: abs(math.log(h)) > 0.05),
    power=st.floats(0.5, 0.99),
    alpha=st.floats(0.001, 0.2),
    sides=st.sampled_from([1, 2]),
    share=st.floats(0.1, 0.9),
    inflation=st.floats(1, 1.3),
)
def test_power_undoes_events(
    hazard_ratio: float, power: float, alpha: float, sides: Any, share: float, inflation: float
) -> None:
    how = (alpha, sides, share, inflation)
    events = schoenfeld_events(hazard_ratio, power, *how)
    assert schoenfeld_power(events, hazard_ratio, *how) == pytest.approx(power, abs=1e-9)
    assert detectable_hazard_ratio(events, power, *how) == pytest.approx(
        math.exp(-abs(math.log(hazard_ratio))), rel=1e-9
    )
    other = freedman_events(hazard_ratio, power, *how)
    assert freedman_power(other, hazard_ratio, *how) == pytest.approx(power, abs=1e-9)


def test_the_two_formulas_agree_near_no_effect() -> None:
    assert freedman_events(0.99, 0.9) == pytest.approx(schoenfeld_events(0.99, 0.9), rel=1e-3)


def test_a_two_sided_test_needs_what_a_one_sided_test_at_half_the_level_needs() -> None:
    assert schoenfeld_events(0.7, 0.9, 0.05, 2) == pytest.approx(schoenfeld_events(0.7, 0.9, 0.025, 1))


def test_unequal_arms_need_more_events_in_proportion_to_their_information() -> None:
    assert schoenfeld_events(0.7, 0.9, share=0.25) / schoenfeld_events(0.7, 0.9) == pytest.approx(
        information_per_event(0.5) / information_per_event(0.25)
    )


def test_participants_are_events_over_their_probability_rounded_up() -> None:
    assert participants_needed(291, 0.1) == 2910
    assert participants_needed(291, 0.1001) == 2908


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: schoenfeld_events(1.0, 0.9), "a hazard ratio of 1 is no effect"),
        (lambda: freedman_events(0.0, 0.9), "a hazard ratio must be above 0, not 0"),
        (lambda: schoenfeld_events(0.7, 1.0), "the power must be between 0 and 1, not 1"),
        (lambda: schoenfeld_events(0.7, 0.9, alpha=5), "alpha must be between 0 and 1, not 5"),
        (lambda: schoenfeld_events(0.7, 0.9, sides=3), "1 or 2 sides, not 3"),  # type: ignore[arg-type]
        (lambda: schoenfeld_power(0, 0.7), "number of events must be above 0, not 0"),
        (lambda: schoenfeld_power(math.nan, 0.7), "number of events must be above 0, not nan"),
        (lambda: detectable_hazard_ratio(100, 0.01), "needs no event"),
        (lambda: participants_needed(100, 0), "above 0 and at most 1, not 0"),
    ],
)
def test_what_cannot_be_is_refused_with_one_message(call: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        call()
