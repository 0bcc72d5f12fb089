"""The closed form of the CD4 count is the solution of its differential equations; a cycle does what it
should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from equipoise.virtual import latent, load_population, observation, virology
from equipoise.virtual.hazards import functional

POPULATION = load_population("hiv_il2")
KERNEL = POPULATION.kernel(POPULATION.dials("C"), 0.01, 0.001)
B, D, H = KERNEL


def someone(
    number=5, count=320.0, nadir=110.0, age=44.0, female=0, prior_aids=0, viraemic=0, level=3.9, dials=D
):
    return latent.person(B, dials, H, 3, 0, number, count, nadir, age, female, prior_aids, viraemic, level)


@st.composite
def schedules(draw):
    """A person, switches of the virus and cycles on random days of eight years."""
    days = sorted(draw(st.lists(st.integers(1, 2900), min_size=1, max_size=14, unique=True)))
    kinds = [draw(st.sampled_from(["cycle", "switch"])) for _ in days]
    doses = [draw(st.sampled_from([1.5, 4.5, 6.0, 7.5])) for _ in days]
    shares = [draw(st.sampled_from([0.3, 0.9, 1.0])) for _ in days]
    person = someone(
        number=draw(st.integers(0, 10_000)),
        count=draw(st.floats(40.0, 900.0)),
        nadir=draw(st.floats(1.0, 300.0)),
        age=draw(st.floats(20.0, 70.0)),
        viraemic=draw(st.integers(0, 1)),
        level=draw(st.floats(2.7, 5.5)),
    )
    return person, list(zip(days, kinds, doses, shares, strict=True)), 2920


def closed_form(person, events, end):
    """Native, burst and long-lived cells at the end, as the walk computes them: from event to event."""
    viraemic = person.viraemic
    rate, target = latent.relax(B, person, viraemic)
    n, n_day, burst, long, cycle_day = person.count, 0, 0.0, 0.0, 0
    for day, kind, dose, taken in events:
        if kind == "switch":
            n = latent.native(n, target, rate, day - n_day)
            n_day, viraemic = day, 1 - viraemic
            rate, target = latent.relax(B, person, viraemic)
        else:
            now = latent.native(n, target, rate, day - n_day)
            burst, long = latent.long_lived(B, person, burst, long, day - cycle_day)
            burst += latent.rise(B, person, dose, taken, now, now + burst + long)
            cycle_day = day
    burst, long = latent.long_lived(B, person, burst, long, end - cycle_day)
    return np.array([latent.native(n, target, rate, end - n_day), burst, long])


def solved(person, events, end):
    """The same by an ODE solver, with the equations written out again."""
    state = np.array([person.count, 0.0, 0.0])
    viraemic, start = person.viraemic, 0
    k = person.loss_long_lived
    for day, kind, dose, taken in [*events, (end, "end", 0.0, 0.0)]:
        target = person.native_level
        rate = B.relax_suppressed
        if viraemic:
            target *= math.exp(-B.virus_on_level * (person.log10_level - 1.7))
            rate = B.relax_viraemic

        def slope(_, y, rate=rate, target=target):
            return [rate * (target - y[0]), -B.loss_burst * y[1], B.survive * B.loss_burst * y[1] - k * y[2]]

        if day > start:
            solution = solve_ivp(slope, (start, day), state, method="DOP853", rtol=1e-12, atol=1e-12)
            state = solution.y[:, -1]
        start = day
        if kind == "switch":
            viraemic = 1 - viraemic
        elif kind == "cycle":
            room = max(0.0, 1.0 - state.sum() / B.ceiling)
            gain = person.response * (dose * taken / 7.5) ** B.dose_power
            state[1] += gain * (state[0] + B.nadir_share * person.nadir) * room
    return state


@settings(max_examples=40)
@given(schedules())
def test_the_closed_form_agrees_with_an_ode_solver(schedule):
    exact, got = solved(*schedule), closed_form(*schedule)
    assert got == pytest.approx(exact, rel=1e-8, abs=1e-8)


def test_a_suppressed_person_settles_at_the_native_level():
    person = someone()
    rate, target = latent.relax(B, person, 0)
    assert latent.native(person.count, target, rate, 200_000) == pytest.approx(person.native_level)


def test_viraemia_lowers_the_level_and_hastens_the_way_there():
    person = someone()
    assert latent.relax(B, person, 1)[1] < latent.relax(B, person, 0)[1]
    assert latent.relax(B, person, 1)[0] > latent.relax(B, person, 0)[0]


def test_a_cycle_gives_more_to_those_with_more_cells_and_a_higher_nadir():
    low, high = someone(nadir=20.0), someone(nadir=200.0)
    assert latent.rise(B, low, 7.5, 1.0, 300.0, 300.0) < latent.rise(B, high, 7.5, 1.0, 300.0, 300.0)
    assert latent.rise(B, low, 7.5, 1.0, 300.0, 300.0) < latent.rise(B, low, 7.5, 1.0, 400.0, 400.0)
    assert latent.rise(B, low, 4.5, 1.0, 300.0, 300.0) < latent.rise(B, low, 7.5, 1.0, 300.0, 300.0)


@pytest.mark.parametrize(
    ("dose", "taken", "count"), [(0.0, 1.0, 300.0), (7.5, 0.0, 300.0), (7.5, 1.0, 2500.0), (7.5, 1.0, 9000.0)]
)
def test_no_dose_or_no_room_gives_no_cells(dose, taken, count):
    assert latent.rise(B, someone(), dose, taken, 300.0, count) == 0.0


def test_the_burst_halves_in_its_half_life():
    burst, _ = latent.long_lived(B, someone(), 100.0, 0.0, 12.0)
    assert burst == pytest.approx(50.0)


def test_frailty_has_mean_one_and_goes_with_poor_recovery():
    people = [someone(number=i) for i in range(4000)]
    assert np.mean([p.frailty for p in people]) == pytest.approx(1.0, abs=0.06)
    levels = np.log([p.native_level for p in people])
    assert np.corrcoef(levels, np.log([p.frailty for p in people]))[0, 1] == pytest.approx(-1.0)


def test_no_frailty_link_means_the_same_risk_for_all():
    dials = POPULATION.dials("C", {"frailty": 0.0})
    assert {someone(number=i, dials=dials).frailty for i in range(20)} == {1.0}


def test_the_mean_exposure_is_the_integral_of_the_exposure():
    days = np.linspace(3.0, 47.0, 200_001)
    curve = [latent.exposure(1.7, day, 14.0) for day in days]
    mean = np.trapezoid(curve, days) / 44.0
    assert latent.mean_exposure(1.7, 3.0, 47.0, 14.0) == pytest.approx(mean, rel=1e-8)


def test_functional_cells_are_native_plus_the_functional_share_up_to_the_cap():
    half = D._replace(phi=0.5, functional_cap=750.0)
    assert functional(half, 300.0, 200.0) == 400.0
    assert functional(half, 700.0, 400.0) == 750.0
    assert functional(D._replace(phi=-0.5), 10.0, 900.0) == 1.0


# --- what the laboratory reports ---


@pytest.mark.parametrize(("count", "variation"), [(200.0, 0.202), (400.0, 0.170), (800.0, 0.143)])
def test_counts_vary_as_published_on_the_fourth_root_scale(count, variation):
    u = (np.arange(4000) + 0.5) / 4000
    reported = np.array([observation.measured_count(B, count, x) for x in u])
    assert np.std(reported) / np.mean(reported) == pytest.approx(variation, rel=0.03)
    assert np.median(reported) == pytest.approx(count, abs=1.0)


def test_a_count_never_falls_below_one():
    assert observation.measured_count(B, 1.0, 1e-12) == 1.0


def test_rna_of_the_suppressed_stays_near_the_limit_and_that_of_the_viraemic_near_their_level():
    person = someone(level=4.2)
    u = (np.arange(1000) + 0.5) / 1000
    suppressed = [virology.level(B, person, 0, x) for x in u]
    viraemic = [virology.level(B, person, 1, x) for x in u]
    assert np.mean(np.array(suppressed) < B.rna_floor) == pytest.approx(B.rna_below_limit, abs=0.002)
    assert max(suppressed) <= B.rna_floor + B.rna_suppressed_span < np.log10(500)
    reported = np.maximum(suppressed, B.rna_floor)
    assert np.mean(reported) - B.rna_floor == pytest.approx(
        (1 - B.rna_below_limit) * B.rna_suppressed_span / 2, abs=0.005
    )
    assert np.mean(viraemic) == pytest.approx(4.2, abs=0.01)
    assert observation.copies(3.0) == 1000.0


def test_the_virus_switches_at_the_rates_of_the_file():
    failures = [virology.next_switch(B, 1, 0, i, 0, 0, 0) for i in range(20_000)]
    assert np.mean(failures) == pytest.approx(365.25 / POPULATION.value("failure"), rel=0.03)
