"""Hazards: what raises them, how they are added up over time, and on which day an event falls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.virtual import hazards, latent, load_population
from equipoise.virtual.streams import DEATH, OPPORTUNISTIC

POPULATION = load_population("hiv_il2")
B, D, H = POPULATION.kernel(POPULATION.dials("C"), 0.01, 0.001)


def someone(**changes):
    values = {
        "count": 320.0,
        "nadir": 110.0,
        "age": 45.0,
        "prior_aids": 0,
        "viraemic": 0,
        "level": 3.9,
        "number": 5,
    }
    v = values | changes
    return latent.person(
        B,
        D,
        H,
        3,
        0,
        v["number"],
        v["count"],
        v["nadir"],
        v["age"],
        0,
        v["prior_aids"],
        v["viraemic"],
        v["level"],
    )


def per_year(person, functional=350.0, viraemic=0, after_od=0, day=0.0, acute=0.0, chronic=0.0, dials=D):
    return 365.25 * np.array(
        hazards.hazards(B, dials, person, viraemic, after_od, day, functional, acute, chronic)
    )


def test_the_rates_of_the_file_at_their_reference_points():
    person = someone(age=45.0)._replace(frailty=1.0)
    od, death, _ = per_year(person, 350.0)
    assert od == pytest.approx(POPULATION.value("od_rate"))
    linked = POPULATION.value("death_rate") * np.exp(5 * POPULATION.value("death_linked_on_age"))
    assert death == pytest.approx(POPULATION.value("death_rate_45") + linked)
    assert per_year(person, 500.0)[2] == pytest.approx(POPULATION.value("grade4_rate"))


def test_risk_per_doubling_of_the_count():
    person = someone()
    assert per_year(person, 400.0)[0] / per_year(person, 200.0)[0] == pytest.approx(
        2 ** -POPULATION.value("od_power")
    )
    assert per_year(person, 400.0)[1] > per_year(person, 400.0)[1] * 2 ** -POPULATION.value("death_power")


def test_more_cells_than_750_lower_no_grade_4_rate():
    person = someone()
    assert per_year(person, 751.0)[2] == per_year(person, 2000.0)[2] < per_year(person, 700.0)[2]


def test_what_raises_the_hazards():
    calm = per_year(someone())
    assert per_year(someone(), viraemic=1)[0] > calm[0]
    assert per_year(someone(prior_aids=1))[0] == pytest.approx(
        calm[0] * np.exp(POPULATION.value("od_prior_aids"))
    )
    assert per_year(someone(), after_od=1)[1] == pytest.approx(POPULATION.value("death_after_od") * calm[1])
    assert per_year(someone(), day=3652.5)[1] > calm[1]


def test_harm_acts_on_the_chosen_endpoints_only():
    calm = per_year(someone())
    harmed = per_year(someone(), acute=1.0, dials=D._replace(rho_acute=0.5, harm_death=0.0))
    assert harmed == pytest.approx(calm * np.array([1.5, 1.0, 1.0]))
    both = per_year(
        someone(), acute=1.0, chronic=2.0, dials=D._replace(rho_acute=0.5, rho_chronic=0.1, harm_grade4=1.0)
    )
    assert both == pytest.approx(calm * 1.7)


# --- adding up ---


def cumulative(person, cycles, viraemic, dials, step=None):
    """Cumulative hazards over eight years: in the pieces of the walk, or in fine steps of `step` days."""
    rate, target = latent.relax(B, person, viraemic)
    total, day, end = np.zeros(3), 0, 2920
    burst = long = acute = chronic = 0.0
    cycle_day = -1
    stops = [*cycles, (end, 0.0)]
    for stop, dose in stops:
        while day < stop:
            if step is None:
                length = hazards.piece_length(dials, cycle_day >= 0, day - cycle_day, day)
            else:
                length = step
            until = min(day + length, stop)
            total += (until - day) * np.array(
                hazards.piece_hazards(
                    B, dials, person, viraemic, 0, day, until, person.count, target, rate, 0,
                    burst, long, acute, chronic, cycle_day,
                )
            )  # fmt: skip
            day = until
        since = stop - max(cycle_day, 0)
        native = latent.native(person.count, target, rate, stop)
        burst, long = latent.long_lived(B, person, burst, long, since)
        burst += latent.rise(B, person, dose, 1.0, native, native + burst + long)
        if cycle_day >= 0:
            acute = latent.exposure(acute, since, dials.tau_acute)
            chronic = latent.exposure(chronic, since, dials.tau_chronic)
        acute, chronic, cycle_day = acute + dose / 7.5, chronic + dose / 7.5, stop
    return total


@pytest.mark.parametrize("cycle_day", [-1, 0, 300])
@pytest.mark.parametrize("preset", ["A", "B", "C", "E"])
def test_a_piece_takes_the_count_in_its_middle_and_the_mean_exposures(preset, cycle_day):
    dials = POPULATION.dials(preset, {"rho_chronic": 0.1} if preset == "E" else {})
    person = someone()
    rate, target = latent.relax(B, person, 0)
    start, end, middle = 350, 378, 364.0
    n = latent.native(320.0, target, rate, middle - 10)
    induced = acute = chronic = 0.0
    if cycle_day >= 0 and preset != "A":
        induced = sum(latent.long_lived(B, person, 90.0, 40.0, middle - cycle_day))
        acute = latent.mean_exposure(1.2, start - cycle_day, end - cycle_day, dials.tau_acute)
        chronic = latent.mean_exposure(2.0, start - cycle_day, end - cycle_day, dials.tau_chronic)
    expected = hazards.hazards(
        B, dials, person, 0, 0, middle, hazards.functional(dials, n, induced), acute, chronic
    )
    got = hazards.piece_hazards(
        B, dials, person, 0, 0, start, end, 320.0, target, rate, 10, 90.0, 40.0, 1.2, 2.0, cycle_day
    )
    assert tuple(got) == pytest.approx(tuple(expected), rel=1e-14)


@pytest.mark.parametrize("after_od", [0, 1])
@pytest.mark.parametrize("cycle_day", [-1, 200, 300])
@pytest.mark.parametrize("preset", ["A", "B", "C", "E"])
def test_pieces_worked_out_together_have_the_same_bits(preset, cycle_day, after_od):
    dials = POPULATION.dials(preset, {"rho_chronic": 0.1} if preset == "E" else {})
    person = someone(viraemic=1)
    rate, target = latent.relax(B, person, 1)
    coupled = bool(hazards.touched(dials)) and cycle_day >= 0
    burst, long, acute, chronic = (90.0, 40.0, 1.2, 2.0) if coupled else (0.0, 0.0, 0.0, 0.0)
    days = [300, 307, 335, 335, 381, 472, 600]
    pieces = np.full((hazards.PIECE_ROWS, 10), np.nan)
    count = len(days) - 1
    for i, (start, end) in enumerate(itertools.pairwise(days)):
        middle = 0.5 * (start + end)
        for row, value in (
            (hazards.START, start), (hazards.END, end), (hazards.MIDDLE, middle), (hazards.N_START, 320.0),
            (hazards.N_TARGET, target), (hazards.SETTLE, -rate * (middle - 10)),
            (hazards.VIRUS, B.virus_on_hazard * (person.log10_level - B.rna_floor)),
            (hazards.SINCE, cycle_day), (hazards.BURST, burst), (hazards.LONG, long),
            (hazards.FED, B.survive * B.loss_burst * burst / (B.loss_burst - person.loss_long_lived)),
            (hazards.ACUTE, acute), (hazards.CHRONIC, chronic),
        ):  # fmt: skip
            pieces[row, i] = value
    rates = np.full((3, 10), np.nan)
    hazards.hazards_along(B, dials, person, after_od, coupled, (True, True, True), count, pieces, rates)
    body = (320.0, target, rate, 10, burst, long, acute, chronic, cycle_day)
    for i, (start, end) in enumerate(itertools.pairwise(days)):
        expected = hazards.piece_hazards(B, dials, person, 1, after_od, start, end, *body)
        assert tuple(rates[:, i]) == tuple(expected)
    assert np.isnan(rates[:, count:]).all()
    some = np.full((3, 10), np.nan)
    hazards.hazards_along(B, dials, person, after_od, coupled, (False, True, False), count, pieces, some)
    assert some[1, :count].tolist() == rates[1, :count].tolist()
    assert (some[[0, 2], :count] == 0.0).all()


def highest_of(people, viraemic, start, end):
    """Bounds in the quarters from day `start` to `end` for each person: shape (people, 4, 3)."""
    n = len(people)
    course = np.array([(p.count, *latent.relax(B, p, viraemic)) for p in people])
    stretches, rates = np.zeros((hazards.STRETCH_ROWS, n)), np.full((12, n), np.nan)
    stretches[hazards.DAYS] = end - start
    stretches[hazards.OLDEST] = [hazards.oldest(p.age, end) for p in people]
    stretches[hazards.FRAILTY] = [p.frailty for p in people]
    virus = [B.virus_on_hazard * (p.log10_level - B.rna_floor) for p in people]
    stretches[hazards.VIRAEMIC] = virus if viraemic else 0.0
    stretches[hazards.PRIOR] = [B.od_prior_aids * p.prior_aids for p in people]
    n_start, n_rate, n_target = (np.ascontiguousarray(row) for row in course.T)
    hazards.highest(B, D, n_start, n_target, n_rate, n, stretches, rates)
    return rates.T.reshape(n, 4, 3)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 10_000), min_size=1, max_size=9),
    count=st.floats(20.0, 900.0),
    age=st.floats(18.0, 75.0),
    prior_aids=st.integers(0, 1),
    viraemic=st.integers(0, 1),
    start=st.integers(0, 2000),
    days=st.integers(1, 3000),
    burst=st.floats(0.0, 800.0),
    preset=st.sampled_from(["A", "B", "D"]),
)
def test_no_piece_has_a_higher_hazard_than_the_bound_of_the_quarters_that_it_touches(
    numbers, count, age, prior_aids, viraemic, start, days, burst, preset
):
    dials, end = POPULATION.dials(preset), start + days
    assert hazards.orderly(B, dials)
    people = [
        someone(number=number, count=count, age=age, prior_aids=prior_aids, viraemic=viraemic)
        for number in numbers
    ]
    cycle = (burst, 0.0, 0.0, 0.0, start) if burst > 0.0 else (0.0, 0.0, 0.0, 0.0, -1)
    for person, bound in zip(people, highest_of(people, viraemic, start, end), strict=True):
        rate, target = latent.relax(B, person, viraemic)
        day = start
        while day < end:
            until = day + hazards.piece_length(dials, burst > 0.0, day - start, day - start)
            found = hazards.piece_hazards(
                B, dials, person, viraemic, 0, day, until, person.count, target, rate, start, *cycle
            )
            for quarter in range(4):
                first, last = start + quarter * days / 4, start + (quarter + 1) * days / 4
                if day < last and until > first:
                    assert (np.array(found) <= bound[quarter] * (1 + 1e-12)).all()
            day = until


def test_cells_that_harm_leave_the_hazards_without_a_bound():
    assert not hazards.orderly(B, POPULATION.dials("C", {"functional_fraction": -0.1}))
    assert not hazards.orderly(B._replace(death_age=-0.01), D)


@settings(max_examples=25)
@given(
    first=st.integers(0, 30),
    gaps=st.lists(st.integers(42, 300), max_size=8),
    number=st.integers(0, 10_000),
    count=st.floats(50.0, 800.0),
    viraemic=st.integers(0, 1),
    preset=st.sampled_from(["A", "B", "C", "D", "E"]),
)
def test_the_pieces_of_the_walk_are_short_enough(first, gaps, number, count, viraemic, preset):
    """Within 0.1 % of half-day steps over eight years, for every preset."""
    dials = POPULATION.dials(preset)
    person = someone(number=number, count=count, viraemic=viraemic)
    cycles = [(first + sum(gaps[:i]), 7.5) for i in range(len(gaps) + 1)]
    coarse = cumulative(person, cycles, viraemic, dials)
    fine = cumulative(person, cycles, viraemic, dials, step=0.5)
    assert coarse == pytest.approx(fine, rel=1e-3)


def test_an_event_falls_on_the_day_on_which_the_hazard_is_used_up():
    assert hazards.crossing_day(10, 38, 0.5, 0.01, 0.75) == 35
    assert hazards.crossing_day(10, 38, 0.5, 0.01, 0.501) == 11
    assert hazards.crossing_day(10, 38, 0.5, 0.01, 0.79) == hazards.NEVER
    assert hazards.crossing_day(10, 38, 0.5, 0.01, 0.4) == 10


def test_thresholds_are_unit_exponentials_and_differ_between_events():
    od = np.array([hazards.threshold(1, 0, i, OPPORTUNISTIC, 0) for i in range(20_000)])
    death = np.array([hazards.threshold(1, 0, i, DEATH, 0) for i in range(20_000)])
    assert od.mean() == pytest.approx(1.0, abs=0.03)
    assert od.var() == pytest.approx(1.0, abs=0.08)
    assert abs(np.corrcoef(od, death)[0, 1]) < 0.03
