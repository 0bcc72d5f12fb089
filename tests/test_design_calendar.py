"""When events come: against other software, against simulation, and the closed forms against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from equipoise.design.calendar import (
    Accrual,
    Arm,
    EventModel,
    Hazard,
    Stratum,
    event_probability,
    events_quantile,
    expected_events,
    expected_time,
    horizon,
    log_rank,
    mean_time,
    person_time,
    probability_of_events,
    randomized,
    time_quantile,
    time_to_events,
    with_effect,
)
from equipoise.design.events import schoenfeld_power
from equipoise.errors import UserError


def two_arms(
    accrual: float,
    people: float,
    control: float,
    experimental: float,
    share: float = 0.5,
    dropout: float = 0.0,
) -> EventModel:
    return EventModel(
        Accrual.even(accrual),
        Arm("control", share * people, Hazard.constant(control), dropout),
        Arm("experimental", (1 - share) * people, Hazard.constant(experimental), dropout),
    )


PLAIN = EventModel(
    Accrual.even(3.5),
    Arm("control", 848, Hazard.constant(0.024), 0.015),
    Arm("experimental", 847, Hazard.constant(0.018), 0.015),
)
"""1,695 participants over 3.5 years, 2.4 events per 100 person-years, hazard ratio 0.75."""

UNEVEN = EventModel(
    Accrual.of_pieces([(0, 6, 10), (6, 24, 20), (6, 24, 10), (30, 36, 5)]),
    Arm("control", 140, Hazard((0, 4, 10), (0.03, 0.01, 0.05)), 0.004),
    Arm("experimental", 260, Hazard((0, 6), (0.03, 0.012)), 0.01),
    (Stratum(0.3, 2.0), Stratum(0.7, 0.6)),
    follow_up=40.0,
    end=60.0,
)
"""Pauses and overlaps in accrual, crossing hazards, strata, unequal dropout, limited follow-up; in months."""


# --- other software ---------------------------------------------------------------------------------------


def test_the_events_come_when_lrstat_says() -> None:
    # Lu, "Comparing direct approximation and Schoenfeld methods" (documentation of lrstat, 2021)
    model = two_arms(12, 200, -math.log(0.6) / 12, -math.log(0.8) / 12)
    assert expected_time(model, 40) == pytest.approx(13.63169, abs=5e-6)
    found = log_rank(model, 13.63)
    assert found.variance == pytest.approx(9.96, abs=0.005)
    assert NormalDist().cdf(found.z - 1.96) == pytest.approx(0.714, abs=5e-4)


def test_the_participants_needed_are_those_of_rpact() -> None:
    model = two_arms(12, 1, 0.018595296, 0.042568802)
    assert 58.52451 / expected_events(model, 18).sum() == pytest.approx(197.78666, rel=1e-7)


@pytest.mark.parametrize(("accrual", "people", "time"), [(6, 132, 50.431065), (300 / 22, 300, 23.551831)])
def test_the_planned_events_come_when_rpact_says(accrual: float, people: float, time: float) -> None:
    assert expected_time(two_arms(accrual, people, 0.02, 0.01), 65.345659) == pytest.approx(time, rel=1e-7)


def test_looks_with_three_to_one_allocation_come_when_rpact_says() -> None:
    model = two_arms(12, 167.28361, 0.018595296, 0.042568802, share=0.25)
    assert expected_events(model, 18).sum() == pytest.approx(57.658669, rel=1e-6)
    assert expected_time(model, 11.531734) == pytest.approx(7.0363139, rel=1e-6)
    assert expected_time(model, 28.829335) == pytest.approx(11.430238, rel=1e-6)
    assert randomized(model, 7.0363139) == pytest.approx(98.088334, rel=1e-6)


# --- simulation -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """Many trials by brute force; arrays (trials, participants)."""

    arrival: NDArray[np.float64]
    time: NDArray[np.float64]
    event: NDArray[np.bool_]
    known: NDArray[np.float64]
    treated: NDArray[np.bool_]


def simulated(model: EventModel, trials: int, seed: int) -> Simulated:
    rng = np.random.default_rng(seed)
    first, second = (round(arm.participants) for arm in model.arms)
    shape = (trials, first + second)
    if model.fixed:
        treated = np.broadcast_to(np.arange(first + second) >= first, shape)
    else:
        treated = rng.random(shape) >= model.share
    edges, shares = np.array(model.accrual.edges), np.array(model.accrual.shares)
    piece = rng.choice(len(shares), p=shares, size=shape)
    arrival = edges[piece] + rng.random(shape) * np.diff(edges)[piece]
    stratum = rng.choice(len(model.strata), p=[s.share for s in model.strata], size=shape)
    multiple = np.array([s.multiple for s in model.strata])[stratum]
    goal = rng.exponential(size=shape) / multiple
    happens = np.where(
        treated, inverted(model.experimental.hazard, goal), inverted(model.reference.hazard, goal)
    )
    rate = np.where(treated, model.experimental.dropout, model.reference.dropout)
    with np.errstate(divide="ignore"):
        leaves = rng.exponential(size=shape) / rate
    stop = np.minimum(leaves, model.follow_up)
    event = happens < stop
    time = np.minimum(happens, stop)
    delay = rng.exponential(size=shape) * model.delay
    known = np.where(event, arrival + happens + delay, np.inf)
    return Simulated(arrival, time, event, np.where(known <= model.end, known, np.inf), treated)


def inverted(hazard: Hazard, goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The time at which the cumulative hazard reaches `goal`."""
    starts = np.array(hazard.starts)
    total = np.concatenate([[0], np.cumsum(np.diff(starts) * hazard.rates[:-1])])
    place = np.searchsorted(total, goal, side="right") - 1
    return starts[place] + (goal - total[place]) / np.array(hazard.rates)[place]


def log_rank_z(trial: Simulated, number: int, now: float) -> float:
    """The log-rank statistic of one trial at a calendar time, positive when the treated do better."""
    here = trial.arrival[number] < now
    time = np.minimum(trial.time[number], now - trial.arrival[number])[here]
    event = (trial.event[number] & (trial.arrival[number] + trial.time[number] <= now))[here]
    treated = trial.treated[number][here]
    order = np.argsort(time)
    event, treated = event[order], treated[order].astype(float)
    at_risk = np.arange(len(event), 0, -1)
    share = np.cumsum(treated[::-1])[::-1] / at_risk
    score = (treated - share)[event].sum()
    return -float(score / np.sqrt((share * (1 - share))[event].sum()))


def test_events_and_person_time_are_those_of_simulated_trials() -> None:
    trials = simulated(UNEVEN, 3000, 1)
    for now in (5.0, 20.0, 33.0, 60.0):
        counts = (trials.known <= now).sum(axis=1)
        wanted = expected_events(UNEVEN, now)
        se = counts.std() / math.sqrt(len(counts))
        assert counts.mean() == pytest.approx(wanted.sum(), abs=4 * se)
        treated = ((trials.known <= now) & trials.treated).sum(axis=1)
        assert treated.mean() == pytest.approx(wanted[1], abs=4 * se)
        followed = np.clip(now - trials.arrival, 0, trials.time).sum(axis=1)
        assert followed.mean() == pytest.approx(
            person_time(UNEVEN, now).sum(), abs=4 * followed.std() / math.sqrt(len(followed))
        )
        came = (trials.arrival <= now).sum(axis=1)
        assert came.mean() == pytest.approx(float(randomized(UNEVEN, now)), abs=4 * came.std() / 50 + 1e-9)


@pytest.mark.parametrize("fixed", [True, False], ids=["permuted blocks", "simple"])
@pytest.mark.parametrize("delay", [0.0, 3.0])
def test_the_time_of_an_event_is_distributed_as_in_simulated_trials(fixed: bool, delay: float) -> None:
    model = replace(UNEVEN, fixed=fixed, delay=delay)
    number, trials = 120, 4000
    times = np.sort(simulated(model, trials, 7).known, axis=1)[:, number - 1]
    for probability in (0.025, 0.25, 0.5, 0.75, 0.975):
        at = time_quantile(model, number, probability)
        assert at is not None
        share = (times <= at).mean()
        assert share == pytest.approx(
            probability, abs=4 * math.sqrt(probability * (1 - probability) / trials)
        )
    ended = np.minimum(times, model.end)
    assert mean_time(model, number) == pytest.approx(ended.mean(), abs=4 * ended.std() / math.sqrt(trials))
    low, high = (time_quantile(model, number, p) for p in (0.3, 0.8))
    assert low is not None and high is not None  # noqa: PT018
    held = np.clip(times, low, high)
    assert mean_time(model, number, low, high) == pytest.approx(
        held.mean(), abs=4 * held.std() / math.sqrt(trials)
    )


@pytest.mark.parametrize("now", [15.0, 30.0, 60.0])
def test_the_log_rank_statistic_is_on_average_what_is_expected(now: float) -> None:
    model = replace(UNEVEN, strata=(Stratum(),))
    trials = 1500
    data = simulated(model, trials, 11)
    z = np.array([log_rank_z(data, i, now) for i in range(trials)])
    assert z.mean() == pytest.approx(log_rank(model, now).z, abs=4 * z.std() / math.sqrt(trials) + 0.02)


@pytest.mark.parametrize(
    ("share", "ratio", "schoenfeld_errs"), [(1 / 3, 0.65, -1), (2 / 3, 0.65, 1), (1 / 3, 1 / 0.65, 1)]
)
def test_power_with_unequal_arms_is_that_of_simulated_trials(
    share: float, ratio: float, schoenfeld_errs: int
) -> None:
    model = two_arms(1.5, 450, 0.3, 0.3 * ratio, share=share, dropout=0.02)
    trials, number = 2000, 190
    data = simulated(model, trials, 5)
    times = np.sort(data.known, axis=1)[:, number - 1]
    z = np.array([abs(log_rank_z(data, i, times[i])) for i in range(trials)])
    at = expected_time(model, number)
    assert at is not None
    power = log_rank(model, at).power(1.959964)
    assert (z > 1.959964).mean() == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / trials))
    formula = schoenfeld_power(number, ratio, share=share)
    assert (formula - power) * schoenfeld_errs > 0.02  # what the formula leaves out


def test_the_plain_trial_of_1695_comes_to_its_230th_event_after_9_13_years_with_power_0_588() -> None:
    found = time_to_events(PLAIN, 230)
    assert found.mean == pytest.approx(9.13, abs=0.005)
    assert found.lower is not None and found.upper is not None  # noqa: PT018
    assert found.lower < found.mean < found.upper
    assert found.reached == pytest.approx(1.0)
    assert log_rank(PLAIN, found.mean).power(1.959964) == pytest.approx(0.588, abs=0.006)


# --- closed forms against quadrature, and properties -------------------------------------------------------


def test_the_closed_forms_agree_with_quadrature_over_arrivals() -> None:
    def probability(arm: Arm, followed: float) -> float:
        def density(s: float) -> float:
            return sum(
                stratum.share * float(hazard.at(s)) * float(hazard.survival(s, arm.dropout))
                for stratum in UNEVEN.strata
                for hazard in [arm.hazard.times(stratum.multiple)]
            )

        stop = min(followed, UNEVEN.follow_up)
        points = [p for p in (4, 6, 10) if p < stop]
        return float(quad(density, 0, stop, points=points or None)[0])

    edges, shares = UNEVEN.accrual.edges, UNEVEN.accrual.shares
    now = 45.0
    for arm, found in zip(UNEVEN.arms, event_probability(UNEVEN, now), strict=True):
        wanted = 0.0
        for a, b, share in zip(edges, edges[1:], shares, strict=False):
            points = [now - p for p in (4, 6, 10, 40) if a < now - p < b]
            area = quad(lambda u, arm=arm: probability(arm, now - u), a, b, points=points or None)[0]
            wanted += share / (b - a) * area
        assert float(found) == pytest.approx(wanted, rel=1e-8)


def test_reports_that_come_at_once_are_the_limit_of_reports_that_come_late() -> None:
    at = np.array([5.0, 20.0, 59.0])
    nearly = expected_events(replace(UNEVEN, delay=1e-6), at)
    np.testing.assert_allclose(nearly, expected_events(UNEVEN, at), rtol=1e-5)
    # a delay as long as the mean time to the event: both rates are equal
    equal = two_arms(10, 100, 0.1, 0.1)
    near = expected_events(replace(equal, delay=10.0001), at)
    np.testing.assert_allclose(expected_events(replace(equal, delay=10.0), at), near, rtol=1e-4)


def test_tiny_rates_lose_no_digits() -> None:
    model = two_arms(3.5, 1e6, 1e-12, 1e-12)
    wanted = 1e6 * 1e-12 * (10 - 1.75)  # so rare that time at risk is everybody's
    assert expected_events(model, 10).sum() == pytest.approx(wanted, rel=1e-9)


rates = st.floats(0.001, 0.5)


@settings(max_examples=60, deadline=None)
@given(
    first=rates,
    later=rates,
    ratio=st.floats(0.3, 2),
    dropout=st.floats(0, 0.2),
    accrual=st.floats(0.5, 10),
    follow_up=st.floats(0.5, 20),
    people=st.integers(10, 300),
    fixed=st.booleans(),
)
def test_events_only_ever_add_up(
    first: float, later: float, ratio: float, dropout: float, accrual: float, follow_up: float, people: int,
    fixed: bool,
) -> None:  # fmt: skip
    hazard = Hazard((0.0, 1.5), (first, later))
    model = EventModel(
        Accrual.even(accrual),
        Arm("a", people, hazard, dropout),
        Arm("b", people, hazard.times(ratio), dropout),
        follow_up=follow_up,
        fixed=fixed,
    )
    times = np.linspace(0, 3 * accrual + 5, 40)
    events = expected_events(model, times)
    assert (np.diff(events, axis=1) >= -1e-9).all()
    assert (events <= people + 1e-9).all()
    assert (events <= person_time(model, times) * max(first, later) * max(1, ratio) + 1e-9).all()
    number = max(1, int(expected_events(model, horizon(model)).sum() / 2))
    found = time_to_events(model, number, 0.9)
    if found.lower is not None and found.median is not None and found.upper is not None:
        assert found.lower <= found.median <= found.upper
        assert float(probability_of_events(model, number, found.median)) == pytest.approx(0.5, abs=1e-6)
    middle = events_quantile(model, float(times[-1]), 0.5)
    assert float(probability_of_events(model, middle + 1, times[-1])) <= 0.5
    assert middle == 0 or float(probability_of_events(model, middle, times[-1])) > 0.5


def test_equal_hazards_are_expected_to_show_nothing() -> None:
    none = UNEVEN.without_effect()
    assert log_rank(none, 40).o_minus_e == pytest.approx(0, abs=1e-12)
    same_dropout = replace(none, experimental=replace(none.experimental, dropout=0.1))
    assert log_rank(none, 40).spread == pytest.approx(1, abs=1e-12)
    assert log_rank(same_dropout, 40).spread == pytest.approx(1, abs=0.01)
    assert log_rank(with_effect(UNEVEN, 0.0), 40).o_minus_e == pytest.approx(0, abs=1e-9)
    same = with_effect(UNEVEN, 1.0)
    assert log_rank(same, 40).z == pytest.approx(log_rank(UNEVEN, 40).z, rel=1e-12)


def test_a_test_stratified_by_prognosis_expects_more_than_one_that_is_not() -> None:
    model = replace(PLAIN, strata=(Stratum(0.5, 0.1), Stratum(0.5, 1.9)))
    assert log_rank(model, 20, stratified=True).z > log_rank(model, 20).z > 0
    one = replace(PLAIN, strata=(Stratum(0.5, 1.0), Stratum(0.5, 1.0)))
    assert log_rank(one, 9, stratified=True).z == pytest.approx(log_rank(PLAIN, 9).z, rel=1e-12)


def test_events_that_follow_up_cannot_bring_have_no_date() -> None:
    short = replace(PLAIN, end=5.0)
    found = time_to_events(short, 230)
    assert (found.expected, found.median, found.lower, found.upper) == (None, None, None, None)
    assert found.mean == pytest.approx(5.0)
    assert found.reached < 1e-12
    limited = replace(PLAIN, follow_up=1.0)  # without an end, but nobody is followed for long
    assert time_to_events(limited, 230).mean == math.inf


def test_countries_that_open_one_after_the_other_add_up() -> None:
    together = Accrual.of_pieces([(0, 12, 3), (6, 12, 3), (9, 18, 2)])
    assert together.edges == (0, 6, 9, 12, 18)
    np.testing.assert_allclose(np.array(together.shares) * 72, [18, 18, 24, 12])
    assert float(together.by(9)) == pytest.approx(36 / 72)
    assert together.stretched(2).edges == (0, 12, 18, 24, 36)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Accrual((0.0, 0.0), (1.0,)), "rising times"),
        (lambda: Accrual((0.0, 1.0, 2.0), (0.9, 0.9)), "add up to 1"),
        (lambda: Accrual.of_pieces([(0, 1, 0)]), "nobody is accrued"),
        (lambda: Hazard((1.0,), (0.1,)), "rising times from 0"),
        (lambda: Hazard((0.0,), (-0.1,)), "0 or more"),
        (lambda: replace(PLAIN, end=0.0), "must end after it has begun"),
        (lambda: time_to_events(PLAIN, 0), "at least 1 event"),
        (lambda: time_to_events(PLAIN, 10, 95), "between 0 and 1, not 95"),
        (lambda: log_rank(PLAIN, 0.0), "no event can be expected by then"),
        (lambda: two_arms(1, 0, 0.1, 0.1), "needs participants"),
    ],
)
def test_what_cannot_be_assumed_is_refused(make: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()  # type: ignore[operator]
