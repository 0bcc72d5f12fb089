"""Monitoring: limits for what was observed, and what may be said once there is a statistic.

The figures of rpact are those that its own tests expect of it (test-f_analysis_base_survival.R). Its hazard
ratios are above 1 for a benefit there, so that their logarithm is our theta.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr, ndtri

from equipoise.design import boundaries, hazard_ratio, information_per_event, integration, recompute
from equipoise.errors import UserError

PLAN = boundaries([0.5, 0.75, 1])
FUTILE = boundaries([0.5, 0.75, 1], futility="hwang-shih-decani", futility_parameter=-2)
BINDING = boundaries([0.5, 0.75, 1], futility="hwang-shih-decani", futility_parameter=-2, binding=True)
TWO_SIDED = boundaries([0.5, 0.75, 1], alpha=0.05, sides=2)
EVERY = [
    PLAN, FUTILE, BINDING, TWO_SIDED, boundaries([0.5, 0.75, 1], kind="pocock exact"),
    boundaries([0.5, 0.75, 1], kind="wang-tsiatis", parameter=0.2, sides=2, alpha=0.05),
    boundaries([0.5, 0.75, 1], kind="haybittle-peto"),
]  # fmt: skip


def _name(plan):
    return f"{plan.kind}, {plan.sides} sides, futility {plan.futility_kind}, binding {plan.binding}"


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", EVERY, ids=_name)
def test_a_trial_that_goes_to_plan_keeps_the_limits_of_the_plan(plan):
    now = recompute(plan, [100, 150, 200], maximum=200)
    assert now.final
    assert now.efficacy == pytest.approx(plan.efficacy, abs=1e-9)
    if plan.futility is not None:
        assert now.futility == pytest.approx(plan.futility, abs=1e-8)
    assert now.notes == ()


@pytest.mark.parametrize("plan", EVERY, ids=_name)
@pytest.mark.parametrize(
    ("observed", "final"), [([80, 161, 200], False), ([80, 161, 223], False), ([80, 161, 181], True)],
    ids=["uneven", "over-running", "under-running"],
)  # fmt: skip
def test_type_one_error_is_exact_whatever_was_observed(plan, observed, final):
    now = recompute(plan, observed, maximum=200, final=final)
    assert now.final
    lower = np.full(3, -math.inf)
    if plan.sides == 2:
        lower = -np.array(now.efficacy)
    elif plan.binding:
        lower = np.array(now.futility)
    _, above = integration.crossing(np.array(observed, float), lower, np.array(now.efficacy), 0.0)
    assert plan.sides * above.sum() == pytest.approx(plan.alpha, abs=1e-10)
    assert now.alpha_spent[-1] == plan.alpha


def test_the_last_limit_pays_for_more_and_for_less_information():
    planned = recompute(PLAN, [100, 150, 200], maximum=200)
    over = recompute(PLAN, [100, 150, 240], maximum=200)
    under = recompute(PLAN, [100, 150, 170], maximum=200, final=True)
    assert over.efficacy[:2] == under.efficacy[:2] == planned.efficacy[:2]
    assert under.efficacy[2] < planned.efficacy[2] < over.efficacy[2]
    assert "over-ran: 120.0%" in over.notes[0]
    assert "came at 85.0% of the planned information" in under.notes[0]


def test_looks_already_taken_keep_their_limits_when_another_is_taken():
    two = recompute(PLAN, [98, 181], maximum=244)
    three = recompute(PLAN, [98, 181, 230], maximum=244)
    assert three.efficacy[:2] == pytest.approx(two.efficacy, abs=1e-13)


def test_spending_by_the_calendar_and_by_the_lesser_of_the_two():
    by_events = recompute(PLAN, [98, 181], maximum=244)
    by_calendar = recompute(PLAN, [98, 181], maximum=244, spend_by="calendar", calendar=[0.6, 0.7])
    lesser = recompute(PLAN, [98, 181], maximum=244, spend_by="minimum", calendar=[0.6, 0.7])
    assert by_calendar.spending_time == (0.6, 0.7)
    assert lesser.spending_time == pytest.approx((98 / 244, 0.7))
    assert by_calendar.alpha_spent[0] == pytest.approx(2 * ndtr(ndtri(0.0125) / math.sqrt(0.6)), rel=1e-11)
    assert by_calendar.efficacy[0] < by_events.efficacy[0]
    for now in (by_calendar, lesser):
        _, above = integration.crossing(
            np.array([98.0, 181.0]), np.full(2, -math.inf), np.array(now.efficacy), 0.0
        )
        assert np.cumsum(above) == pytest.approx(now.alpha_spent, abs=1e-12)


def test_a_calendar_that_has_run_out_ends_the_trial_however_few_events_there_are():
    now = recompute(PLAN, [98, 181], maximum=244, spend_by="calendar", calendar=[0.6, 1.0])
    assert now.final
    assert now.alpha_spent[-1] == 0.025
    lesser = recompute(PLAN, [98, 181], maximum=244, spend_by="minimum", calendar=[0.6, 1.0])
    assert not lesser.final


def test_futility_spends_beta_under_the_planned_effect_at_the_information_observed():
    now = recompute(FUTILE, [98, 181], maximum=244)
    t = np.array(now.information)
    below, _ = integration.crossing(t, np.array(now.futility), np.array(now.efficacy), FUTILE.drift)
    assert np.cumsum(below) == pytest.approx(now.beta_spent, abs=1e-10)
    last = recompute(FUTILE, [98, 181, 250], maximum=244)
    assert last.futility[-1] == last.efficacy[-1]


# --- p-values, estimates, intervals -----------------------------------------------------------------------


@pytest.mark.parametrize("plan", EVERY, ids=_name)
@pytest.mark.parametrize("looks", [1, 2, 3])
def test_at_the_limit_the_p_value_is_the_alpha_spent(plan, looks):
    now = recompute(plan, [98, 181, 244][:looks], maximum=244)
    found = now.finding(now.efficacy[-1])
    assert found.p_value == pytest.approx(now.alpha_spent[-1], abs=1e-9)
    assert found.decision == "stop for efficacy"
    assert now.finding(now.efficacy[-1] - 1e-6).decision != "stop for efficacy"


@pytest.mark.parametrize("plan", [PLAN, BINDING, TWO_SIDED], ids=_name)
def test_the_interval_holds_no_effect_exactly_when_the_test_does_not_reject(plan):
    now = recompute(plan, [98, 181, 244], maximum=244)
    for z, rejected in ((now.efficacy[-1] + 1e-4, True), (now.efficacy[-1] - 1e-4, False)):
        found = now.finding(z)
        assert (found.low > 0) is rejected
        assert (found.repeated_low > 0) is (z > PLAN_LIMIT[plan.binding])
        assert (found.p_value <= plan.alpha) is rejected


PLAN_LIMIT = {binding: recompute(PLAN, [98, 181, 244], maximum=244).efficacy[-1] for binding in (False, True)}
"""Repeated intervals leave futility aside, so that those of a binding plan go by the limits without it."""


@pytest.mark.parametrize("plan", [PLAN, FUTILE, TWO_SIDED], ids=_name)
def test_the_repeated_p_value_at_the_limit_is_alpha_at_every_look(plan):
    for looks in (1, 2, 3):
        now = recompute(plan, [98, 181, 244][:looks], maximum=244)
        assert now.finding(now.efficacy[-1]).repeated_p == pytest.approx(plan.alpha, rel=1e-7)
        assert now.finding(now.efficacy[-1] + 0.3).repeated_p < plan.alpha


def test_after_one_look_the_estimate_is_the_usual_one():
    found = recompute(boundaries([1]), [120], maximum=120).finding(2.3)
    assert found.estimate == pytest.approx(found.unadjusted, rel=1e-10)
    assert found.low == pytest.approx((2.3 + ndtri(0.025)) / math.sqrt(30), rel=1e-9)
    assert found.high == pytest.approx((2.3 - ndtri(0.025)) / math.sqrt(30), rel=1e-9)
    assert found.p_value == pytest.approx(ndtr(-2.3), rel=1e-12)


def test_a_late_stop_after_looks_pulls_the_estimate_towards_no_effect():
    found = recompute(boundaries([0.5, 0.75, 1], kind="pocock"), [100, 150, 200], maximum=200).finding(2.9)
    assert found.estimate < found.unadjusted


def test_the_median_of_the_estimate_is_the_effect():
    """In 20,000 trials of Brownian motion stopped by the plan, half of the estimates lie above the truth."""
    theta, trials = 2.8, 20_000
    plan = boundaries([0.4, 0.7, 1], kind="pocock")
    t, upper = np.array(plan.information), np.array(plan.efficacy)
    lower = np.full(3, -math.inf)
    draws = np.random.default_rng(3).normal(size=(trials, 3))
    score = np.cumsum(theta * np.diff(t, prepend=0) + draws * np.sqrt(np.diff(t, prepend=0)), axis=1)
    z = score / np.sqrt(t)
    above, covered = 0, 0
    for row in z[:4000]:
        stop = next((k for k in range(3) if row[k] >= upper[k]), 2)
        _, estimate, low, high = integration.stagewise(
            t[: stop + 1], lower[: stop + 1], upper[: stop + 1], row[stop], 0.9
        )
        above += estimate > theta
        covered += low <= theta <= high
    assert abs(above / 4000 - 0.5) < 4 * 0.5 / math.sqrt(4000)
    assert abs(covered / 4000 - 0.9) < 4 * 0.3 / math.sqrt(4000)


def test_the_beta_blocker_heart_attack_trial_stopped_at_its_sixth_look():
    """Seven looks planned, O'Brien & Fleming at two-sided 0.05, limits 5.46, 3.86, 3.15, 2.73, 2.44 and 2.23
    at the first six; at the sixth z was 2.82 (DeMets et al., Control Clin Trials 1984;5:362-72)."""
    plan = boundaries([*(k / 7 for k in range(1, 7)), 1.0], alpha=0.05, sides=2, kind="obrien-fleming exact")
    now = recompute(plan, [1, 2, 3, 4, 5, 6], maximum=7, information_per_unit=1.0)
    assert [round(z, 2) for z in now.efficacy] == [5.46, 3.86, 3.15, 2.73, 2.44, 2.23]
    assert now.finding(2.82).decision == "stop for efficacy"
    assert recompute(plan, [1, 2, 3, 4, 5], maximum=7).finding(2.34).decision == "continue"


def test_rpact_three_stages_wang_tsiatis():
    """Events 8, 15, 38 with log-rank statistics 1.52, 1.38, 2.9; information rates 0.2, 0.4, 1 as planned."""
    plan = boundaries([0.2, 0.4, 1], kind="wang-tsiatis", parameter=0.25)
    now = recompute(plan, [0.2 * 38, 0.4 * 38, 38], maximum=38)
    found = now.finding(2.9)
    assert found.decision == "stop for efficacy"
    assert found.p_value == pytest.approx(0.0074535505, abs=2e-8)
    assert math.exp(found.estimate) == pytest.approx(2.4764002, abs=2e-6)
    assert math.exp(found.low) == pytest.approx(1.222663, abs=1e-6)
    assert math.exp(found.high) == pytest.approx(4.752454, abs=3e-6)
    assert math.exp(found.unadjusted) == pytest.approx(2.5622461, abs=1e-6)
    assert math.exp(found.repeated_low) == pytest.approx(1.325822, abs=1e-6)
    assert math.exp(found.repeated_high) == pytest.approx(4.9517237, abs=3e-6)
    assert found.repeated_p == pytest.approx(0.0019646115, abs=1e-6)  # the tolerance that rpact solves it to
    shape = np.array([0.2, 0.4, 1.0]) ** -0.25
    _, above = integration.crossing(np.array(plan.information), np.full(3, -math.inf), 2.9 * shape, 0.0)
    assert found.repeated_p == pytest.approx(above.sum(), abs=1e-11)


def test_rpact_two_stages_with_binding_futility():
    """Information 0.4 and 1, futility at 0; its limits are read off the repeated intervals that it gives."""
    first = 1.92 - math.log(0.65051922) * math.sqrt(8) / 2
    t = np.array([0.4, 1.0])
    p, estimate, low, high = integration.stagewise(
        t, np.array([0.0, 0.0]), np.array([first, math.inf]), 2.1, 0.95
    )
    unit = math.sqrt(20) / 2
    assert p == pytest.approx(0.021122043, abs=2e-8)
    assert math.exp(estimate / unit) == pytest.approx(2.5476534, abs=3e-6)
    assert math.exp(low / unit) == pytest.approx(1.0341796, abs=2e-6)
    assert math.exp(high / unit) == pytest.approx(6.2409205, abs=6e-6)


@settings(max_examples=30)
@given(st.floats(-2, 5), st.floats(0.05, 0.5), st.sampled_from([0, 1, 2]))
def test_a_higher_statistic_is_better_in_every_respect(z, more, looks):
    now = recompute(BINDING, [98, 181, 244][: looks + 1], maximum=244)
    one, two = now.finding(z), now.finding(z + more)
    assert two.p_value < one.p_value
    assert two.estimate > one.estimate
    assert two.low > one.low
    assert two.high > one.high
    assert two.repeated_p <= one.repeated_p


def test_decisions():
    now = recompute(FUTILE, [98, 181], maximum=244)
    low, high = now.futility[-1], now.efficacy[-1]
    assert now.finding(high).decision == "stop for efficacy"
    assert now.finding((low + high) / 2).decision == "continue"
    assert now.finding(low).decision == "stop for futility"
    assert recompute(FUTILE, [98, 181, 244], maximum=244).finding(1.0).decision == "no difference shown"
    both = recompute(TWO_SIDED, [98, 181], maximum=244)
    assert both.finding(-both.efficacy[-1]).decision == "stop for harm"
    assert both.finding(-both.efficacy[-1]).p_value == pytest.approx(both.alpha_spent[-1], abs=1e-9)


def test_the_unit_of_information_is_events_or_information_itself():
    events = recompute(PLAN, [98, 181], maximum=244, information_per_unit=information_per_event(2 / 3))
    fisher = recompute(PLAN, [98 * 2 / 9, 181 * 2 / 9], maximum=244 * 2 / 9, information_per_unit=1.0)
    assert events.fisher_information == pytest.approx(fisher.fisher_information)
    assert events.finding(2.0).estimate == pytest.approx(fisher.finding(2.0).estimate, rel=1e-9)
    assert events.finding(2.0).unadjusted == pytest.approx(-math.log(hazard_ratio(2.0, 181, 2 / 3)))


# --- power still to come ----------------------------------------------------------------------------------


def test_conditional_power_with_one_look_to_come_is_its_formula():
    now = recompute(boundaries([0.5, 1]), [100], maximum=200)
    final = recompute(boundaries([0.5, 1]), [100, 200], maximum=200).efficacy[-1]
    z, t = 1.4, 0.5
    for name, drift in (("trend", z / math.sqrt(t)), ("design", now.design.drift), ("null", 0.0)):
        expected = ndtr((z * math.sqrt(t) + drift * (1 - t) - final) / math.sqrt(1 - t))
        assert now.conditional_power(z, name) == pytest.approx(expected, rel=1e-10)
    theta = 0.3
    drift = theta * math.sqrt(200 / 4)
    expected = ndtr((z * math.sqrt(t) + drift * (1 - t) - final) / math.sqrt(1 - t))
    assert now.conditional_power(z, theta) == pytest.approx(expected, rel=1e-10)


def test_predictive_power_with_one_look_to_come_is_its_formula():
    """Given z, the final statistic is normal with the spread of what is to come and of what is believed."""
    now = recompute(boundaries([0.5, 1]), [100], maximum=200)
    final = recompute(boundaries([0.5, 1]), [100, 200], maximum=200).efficacy[-1]
    z, t = 1.4, 0.5
    expected = ndtr((z / math.sqrt(t) - final) * math.sqrt(t / (1 - t)))
    assert now.predictive_power(z) == pytest.approx(expected, rel=1e-9)
    mean, variance = 0.1, 0.02
    information = now.fisher_information
    spread = 1 / (information + 1 / variance)
    centre = (z * math.sqrt(information) + mean / variance) * spread
    later = 50 - information
    score = z * math.sqrt(information) + later * centre
    expected = ndtr((score - final * math.sqrt(50)) / math.sqrt(later + later**2 * spread))
    assert now.predictive_power(z, prior_mean=mean, prior_variance=variance) == pytest.approx(
        expected, rel=1e-9
    )


def test_conditional_power_with_looks_to_come_counts_each_of_them():
    now = recompute(boundaries([0.5, 0.75, 1], kind="pocock"), [100], maximum=200)
    whole = recompute(boundaries([0.5, 0.75, 1], kind="pocock"), [100, 150, 200], maximum=200)
    b2, b3 = whole.efficacy[1:]
    drift, z = 2.5, 1.2
    mean = (z * math.sqrt(0.5) + drift * 0.25) / math.sqrt(0.75)
    sd = math.sqrt(0.25 / 0.75)

    def later(x):
        density = math.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
        return density * ndtr((x * math.sqrt(0.75) + drift * 0.25 - b3) / math.sqrt(0.25))

    expected = ndtr((mean - b2) / sd) + quad(later, -6, b2, epsabs=1e-13)[0]
    theta = drift / math.sqrt(50)
    assert now.conditional_power(z, theta) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("plan", [PLAN, FUTILE, TWO_SIDED], ids=_name)
def test_conditional_power_averages_to_the_power_of_the_plan(plan):
    """Over the first statistic, what is rejected now and what will be is what the plan rejects."""
    now = recompute(plan, [100], maximum=200)
    root = plan.drift * math.sqrt(0.5)

    def given_z(z):
        return math.exp(-0.5 * (z - root) ** 2) / math.sqrt(2 * math.pi) * now.conditional_power(z, "design")

    bottom = -now.efficacy[0] if plan.sides == 2 else -8.0
    later = quad(given_z, bottom, now.efficacy[0], epsabs=1e-9)[0]
    assert ndtr(root - now.efficacy[0]) + later == pytest.approx(
        plan.crossing(plan.drift, futility=False).rejected, abs=1e-7
    )


def test_a_binding_futility_limit_takes_from_the_conditional_power():
    free, bound = (
        recompute(plan, [100], maximum=200).conditional_power(1.0, "null") for plan in (FUTILE, BINDING)
    )
    assert bound > 0
    assert bound != free


# --- impossible analyses ----------------------------------------------------------------------------------

REFUSED = [
    ({"observed": []}, "observed: there are none"),
    ({"observed": [181, 98]}, "observed: 98 comes after 181"),
    ({"observed": [98], "maximum": 0}, "maximum: 0 is not above 0"),
    ({"observed": [98, 250, 260]}, "observed: look 2 (250 of 244) was at the full time of the plan"),
    ({"observed": [98], "spend_by": "calender"}, 'spend_by: there is no "calender"; did you mean "calendar"'),
    ({"observed": [98], "spend_by": "calendar"}, "needs the share of the planned duration at each look"),
    ({"observed": [98], "calendar": [0.4]}, "calendar: these shares would not be used"),
    ({"observed": [98], "spend_by": "minimum", "calendar": [0.3, 0.5]}, "there are 2 shares for 1 looks"),
    (
        {"observed": [98, 181], "spend_by": "calendar", "calendar": [30, 60]},
        "calendar: 60 is no share of the planned duration; write shares, as in 0.3 for 30%",
    ),
    (
        {"observed": [98, 181], "spend_by": "calendar", "calendar": [1.0, 1.2]},
        "calendar: look 1 was at the planned duration (1 of it) and spent everything",
    ),
    ({"observed": [98], "information_per_unit": -1}, "information_per_unit: -1 is not above 0"),
]


@pytest.mark.parametrize(("how", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_an_impossible_analysis_is_refused_with_one_clear_message(how, message):
    with pytest.raises(UserError) as refused:
        recompute(PLAN, **({"maximum": 244} | how))
    assert message in str(refused.value)


def test_impossible_questions_are_refused():
    now = recompute(PLAN, [98, 181], maximum=244)
    last = recompute(PLAN, [98, 181, 244], maximum=244)
    for ask, message in (
        (lambda: now.finding(math.nan), "z: nan is no number"),
        (lambda: now.finding(50), "a statistic of 50 is no result of a trial"),
        (lambda: now.finding(2, level=95), "level: 95 is not between 0 and 1"),
        (lambda: now.conditional_power(2, "trendy"), 'did you mean "trend"'),
        (lambda: now.conditional_power(2, math.inf), "effect: inf is no number"),
        (lambda: now.predictive_power(2, prior_mean=0.1), "a prior needs both"),
        (
            lambda: now.predictive_power(2, prior_mean=0.1, prior_variance=0.0),
            "prior_variance: 0 is not above 0",
        ),
        (lambda: last.conditional_power(2), "this was the last look"),
        (
            lambda: recompute(
                PLAN, [98, 250], maximum=244, spend_by="calendar", calendar=[0.4, 0.9]
            ).conditional_power(2),
            "the plan has no look beyond 102.5% of the information",
        ),
    ):
        with pytest.raises(UserError) as refused:
            ask()
        assert message in str(refused.value)
