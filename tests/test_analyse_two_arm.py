"""Two arms from their risk table: the same digits as the definitions and as other packages, ties or none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise import analyse
from equipoise._compile import njit
from equipoise.analyse import survival, two_arm
from equipoise.analyse.combined_tests import (
    FEWER,
    TWO_SIDED,
    maxcombo_of_table,
    maxcombo_scratch,
)
from equipoise.analyse.risk_table import risk_table_of_days, risk_table_of_times

# --- the definitions, one event time at a time ------------------------------------------------------------


def slow_risk_table(time, event, arm, stratum, n_strata):
    rows = []
    for s in range(n_strata):
        here = stratum == s
        for t in np.unique(time[here & (event == 1)]):
            present = here & (time >= t)
            died = here & (time == t) & (event == 1)
            counts = [int((present & (arm == a)).sum()) for a in (0, 1)]
            counts += [int((died & (arm == a)).sum()) for a in (0, 1)]
            rows.append((s, float(t), *counts))
    return rows


def slow_logrank(rows):
    difference = variance = 0.0
    for _, _, n0, n1, d0, d1 in rows:
        n, d = n0 + n1, d0 + d1
        difference += d1 - d * n1 / n
        if n > 1:
            variance += d * n0 * n1 * (n - d) / (n * n * (n - 1))
    return difference, variance


def slow_cox(rows, efron):
    """Newton's method on the partial likelihood of one arm, in plain Python."""
    beta = 0.0
    for _ in range(100):
        score = information = 0.0
        for _, _, n0, n1, d0, d1 in rows:
            d = d0 + d1
            score += d1
            for l in range(d):
                share = l / d if efron else 0.0
                r0, r1 = n0 - share * d0, (n1 - share * d1) * math.exp(beta)
                p = r1 / (r0 + r1)
                score -= p
                information += p * (1 - p)
        step = score / information
        beta += max(-2.0, min(2.0, step))
        if abs(step) < 1e-14:
            break
    return beta, 1 / math.sqrt(information)


def people(n, seed, decimals, n_strata=1, log_ratio=-0.5):
    """A made-up trial: time, event, arm and stratum as the compiled functions take them."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, n).astype(np.uint8)
    stratum = rng.integers(0, n_strata, n).astype(np.int32)
    until = rng.exponential(300 * np.exp(-log_ratio * arm))
    censored = rng.uniform(30, 500, n)
    time = np.round(np.minimum(until, censored), decimals)
    return time, (until <= censored).astype(np.uint8), arm, stratum


def table_rows(scratch, n_strata):
    return [
        (s, float(scratch.table[4, g]), *(int(x) for x in scratch.table[:4, g]))
        for s in range(n_strata)
        for g in range(scratch.first[s], scratch.first[s + 1])
    ]


TRIALS = [
    pytest.param(300, 9, 1, id="no ties"),
    pytest.param(300, -1, 1, id="heavy ties"),
    pytest.param(300, 9, 4, id="no ties, four strata"),
    pytest.param(300, -1, 4, id="heavy ties, four strata"),
    pytest.param(300, 0, 40, id="whole days, forty strata"),
    pytest.param(2, 0, 1, id="two participants"),
]


# --- the table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "decimals", "n_strata"), TRIALS)
def test_the_risk_table_counts_who_is_there_at_each_event_time(n, decimals, n_strata):
    time, event, arm, stratum = people(n, 3, decimals, n_strata)
    expected = slow_risk_table(time, event, arm, stratum, n_strata)
    scratch = two_arm.two_arm_scratch(n, n_strata)
    assert risk_table_of_times(time, event, arm, stratum, n_strata, scratch) == len(expected)
    assert table_rows(scratch, n_strata) == expected
    if decimals <= 0:
        days = time.astype(np.int32)
        for last_day in (None, int(days.max()), int(days.max()) // 2):
            own = two_arm.two_arm_scratch(n, n_strata, last_day)
            assert risk_table_of_days(days, event, arm, stratum, n_strata, own) == len(expected)
            assert table_rows(own, n_strata) == expected


def test_times_of_very_different_size_and_times_close_together_are_told_apart():
    base = np.array([0.0, 1e-300, 1.0, np.nextafter(1.0, 2.0), 1.0, 1e9, 1e300, 1e300, 3.0, 1e-300])
    time = np.concatenate([base, base * 1.5, np.full(40, 1.0), np.nextafter(np.full(40, 1.0), 2.0)])
    rng = np.random.default_rng(0)
    event = rng.integers(0, 2, len(time)).astype(np.uint8)
    arm = rng.integers(0, 2, len(time)).astype(np.uint8)
    stratum = np.zeros(len(time), np.int32)
    scratch = two_arm.two_arm_scratch(len(time))
    risk_table_of_times(time, event, arm, stratum, 1, scratch)
    assert table_rows(scratch, 1) == slow_risk_table(time, event, arm, stratum, 1)


def test_rows_outside_the_comparison_are_left_out():
    time, event, arm, stratum = people(200, 4, 0, 3)
    days = time.astype(np.int32)
    stratum[:20] = -1
    stratum[20:40] = 3
    arm[40:60] = 2
    days[60:80] = -5
    kept = (stratum >= 0) & (stratum < 3) & (arm < 2) & (days >= 0)
    expected = slow_risk_table(days[kept], event[kept], arm[kept], stratum[kept], 3)
    for table, column in ((risk_table_of_days, days), (risk_table_of_times, days.astype(float))):
        scratch = two_arm.two_arm_scratch(200, 3, int(days.max()))
        table(column, event, arm, stratum, 3, scratch)
        assert table_rows(scratch, 3) == expected
    missing = np.where(kept, days, np.nan)
    scratch = two_arm.two_arm_scratch(200, 3)
    risk_table_of_times(missing, event, arm, stratum, 3, scratch)
    assert table_rows(scratch, 3) == expected


def test_working_memory_that_is_too_small_is_said():
    time, event, arm, stratum = people(200, 4, 0)
    event[:] = 1
    small = two_arm.two_arm_scratch(200, 1, int(time.max()), events=20)
    assert two_arm.two_arm_days(time.astype(np.int32), event, arm, stratum, 1, small)[4] == two_arm.TOO_SMALL
    assert two_arm.two_arm_times(time, event, arm, stratum, 1, small)[4] == two_arm.TOO_SMALL
    many = np.zeros(70_000, np.int32)
    column = np.zeros(70_000, np.uint8)
    narrow = two_arm.two_arm_scratch(60_000, 1, 10)
    assert two_arm.two_arm_days(many, column, column, many, 1, narrow)[4] == two_arm.TOO_SMALL


def test_a_trial_of_a_hundred_thousand_is_counted_as_a_small_one_is():
    time, event, arm, stratum = people(100_000, 5, 0, 2)
    days = time.astype(np.int32)
    wide = two_arm.two_arm_scratch(100_000, 2, int(days.max()))
    found = two_arm.two_arm_days(days, event, arm, stratum, 2, wide)
    other = two_arm.two_arm_scratch(100_000, 2)
    assert two_arm.two_arm_times(time, event, arm, stratum, 2, other) == found
    assert table_rows(wide, 2) == table_rows(other, 2)
    difference, variance = slow_logrank(table_rows(wide, 2))
    assert found[0] == pytest.approx(difference, abs=1e-8)
    assert found[1] == pytest.approx(variance, rel=1e-12)


# --- log-rank and Cox -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "decimals", "n_strata"), TRIALS[:-1])
def test_logrank_and_cox_follow_their_definitions_to_ten_digits(n, decimals, n_strata):
    time, event, arm, stratum = people(n, 6, decimals, n_strata)
    rows = slow_risk_table(time, event, arm, stratum, n_strata)
    scratch = two_arm.two_arm_scratch(n, n_strata)
    o_minus_e, variance, beta, se, status = two_arm.two_arm_times(
        time, event, arm, stratum, n_strata, scratch
    )
    assert status == two_arm.CONVERGED
    assert (o_minus_e, variance) == pytest.approx(slow_logrank(rows), rel=1e-11, abs=1e-11)
    assert (beta, se) == pytest.approx(slow_cox(rows, efron=True), rel=1e-11, abs=1e-11)
    breslow = two_arm.cox_of_table(len(rows), scratch, False, 0.0)
    assert breslow[:2] == pytest.approx(slow_cox(rows, efron=False), rel=1e-11, abs=1e-11)
    fit = analyse.cox(time, event, arm, stratum, "breslow")
    assert fit.coefficients[0] == pytest.approx(breslow[0], abs=1e-13)


@pytest.mark.parametrize("decimals", [9, -1])
def test_cox_of_an_arm_agrees_with_statsmodels(decimals):
    from statsmodels.duration.hazard_regression import PHReg

    time, event, arm, stratum = people(400, 8, decimals, 3)
    for ties in ("efron", "breslow"):
        theirs = PHReg(time, arm[:, None].astype(float), status=event, strata=stratum, ties=ties).fit(
            disp=0, method="newton", tol=1e-14
        )
        mine = analyse.cox(time, event, arm, stratum, ties)
        assert mine.coefficients[0] == pytest.approx(theirs.params[0], abs=1e-10)
        assert mine.standard_errors[0] == pytest.approx(theirs.bse[0], rel=1e-10)
        assert mine.log_likelihood == pytest.approx(theirs.llf, rel=1e-11)


def test_the_arm_by_itself_and_the_arm_among_others_take_two_roads_to_one_answer():
    """Two values go through the risk table; with a cluster for each row the general model is used."""
    time, event, arm, stratum = people(500, 9, -1, 3)
    for ties in ("efron", "breslow"):
        table = analyse.cox(time, event, 3.0 + 2.0 * arm, stratum, ties)
        general = analyse.cox(time, event, 3.0 + 2.0 * arm, stratum, ties, cluster=np.arange(500))
        assert table.coefficients[0] == pytest.approx(general.coefficients[0], abs=1e-12)
        assert table.covariance[0, 0] == pytest.approx(general.covariance[0, 0], rel=1e-12)
        assert table.log_likelihood == pytest.approx(general.log_likelihood, rel=1e-13)
        assert table.log_likelihood_null == pytest.approx(general.log_likelihood_null, rel=1e-13)
        assert table.score_chi_square == pytest.approx(general.score_chi_square, rel=1e-11)


@pytest.mark.parametrize(("rho", "gamma"), [(0, 0), (1, 0), (0, 1), (0.5, 2)])
def test_two_groups_and_three_take_two_roads_to_one_log_rank(rho, gamma):
    """A third group of nobody's comparison: all its members are censored before the first event."""
    time, event, arm, stratum = people(300, 10, -1, 3)
    time = time + 10
    pair = analyse.logrank(time, event, arm, stratum, rho=rho, gamma=gamma)
    third = analyse.logrank(
        np.append(time, [1.0, 2.0]), np.append(event, [0, 0]), np.append(arm, [2, 2]),
        np.append(stratum, [0, 1]), rho=rho, gamma=gamma,
    )  # fmt: skip
    np.testing.assert_allclose(pair.score, third.score[:2], atol=1e-11)
    np.testing.assert_allclose(pair.variance, third.variance[:2, :2], atol=1e-11)
    np.testing.assert_allclose(pair.expected, third.expected[:2], atol=1e-10)
    assert pair.chi_square == pytest.approx(third.chi_square, rel=1e-10)
    assert (pair.df, third.df) == (1, 1)


def test_events_in_one_arm_only_leave_no_number():
    time, event, arm, stratum = people(100, 11, 0)
    scratch = two_arm.two_arm_scratch(100)
    for side in (0, 1):
        only = (event & (arm == side)).astype(np.uint8)
        *_, beta, se, status = two_arm.two_arm_times(time, only, arm, stratum, 1, scratch)
        assert math.isnan(beta)
        assert math.isnan(se)
        assert status == two_arm.ALL_IN_ONE_ARM
    apart = arm.astype(np.int32)
    assert two_arm.two_arm_times(time, event, arm, apart, 2, two_arm.two_arm_scratch(100, 2))[4] == (
        two_arm.NOTHING_TO_COMPARE
    )
    none = np.zeros(100, np.uint8)
    assert two_arm.two_arm_times(time, none, arm, stratum, 1, scratch)[4] == two_arm.NOTHING_TO_COMPARE


def test_a_very_large_effect_is_still_followed_to_its_maximum():
    time = np.concatenate([np.arange(1, 101), np.arange(1, 101) * 1000 + 0.5])
    time[150] = 2.5
    event, arm = np.ones(200, np.uint8), np.repeat([1, 0], 100).astype(np.uint8)
    stratum = np.zeros(200, np.int32)
    found = two_arm.two_arm_times(time, event, arm, stratum, 1, two_arm.two_arm_scratch(200))
    rows = slow_risk_table(time, event, arm, stratum, 1)
    assert found[2:4] == pytest.approx(slow_cox(rows, efron=True), rel=1e-10)
    assert found[2] > 4


# --- what must not matter ---------------------------------------------------------------------------------


@st.composite
def trials(draw):
    n = draw(st.integers(2, 40))
    column = lambda values: draw(st.lists(values, min_size=n, max_size=n))  # noqa: E731
    time = np.array(column(st.integers(0, 12)), float)
    event = np.array(column(st.integers(0, 1)), np.uint8)
    arm = np.array(column(st.integers(0, 1)), np.uint8)
    return time, event, arm, np.array(column(st.integers(0, 2)), np.int32)


def both(time, event, arm, stratum, n_strata=3):
    scratch = two_arm.two_arm_scratch(len(time), n_strata)
    return two_arm.two_arm_times(np.asarray(time, float), event, arm, stratum, n_strata, scratch)


@settings(max_examples=150)
@given(trials(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_a_bit(trial, random):
    order = list(range(len(trial[0])))
    random.shuffle(order)
    assert repr(both(*trial)) == repr(both(*(column[order] for column in trial)))


@settings(max_examples=150)
@given(trials())
def test_a_clock_that_keeps_the_order_of_times_does_not_change_a_bit(trial):
    time, *rest = trial
    first = repr(both(time, *rest))
    for clock in (np.exp(time), np.sqrt(time), 1e-9 * time, time**3 + 7.25, np.expm1(20 * time)):
        assert repr(both(clock, *rest)) == first


@settings(max_examples=150)
@given(trials())
def test_exchanging_the_arms_changes_the_sign(trial):
    time, event, arm, stratum = trial
    o_minus_e, variance, beta, se, status = both(time, event, arm, stratum)
    other = both(time, event, 1 - arm, stratum)
    assert other[0] == pytest.approx(-o_minus_e, abs=1e-12)
    assert other[1] == pytest.approx(variance, abs=1e-12)
    assert other[4] == status
    if status == two_arm.CONVERGED:
        assert other[2] == pytest.approx(-beta, abs=1e-10)
        assert other[3] == pytest.approx(se, rel=1e-9)


@settings(max_examples=150)
@given(trials())
def test_one_stratum_is_no_strata(trial):
    time, event, arm, _ = trial
    everybody = np.zeros(len(time), np.int32)
    assert repr(both(time, event, arm, everybody, 1)) == repr(both(time, event, arm, everybody + 2, 3))
    if len(set(arm.tolist())) == 2:
        alone = analyse.logrank(time, event, arm)
        named = analyse.logrank(time, event, arm, np.full(len(time), "one"))
        assert repr(alone) == repr(named)


@settings(max_examples=150)
@given(trials())
def test_any_small_trial_follows_the_definitions_or_says_why_not(trial):
    rows = slow_risk_table(*trial, 3)
    o_minus_e, variance, beta, se, status = both(*trial)
    assert (o_minus_e, variance) == pytest.approx(slow_logrank(rows), rel=1e-12, abs=1e-12)
    comparable = [(d0, d1) for _, _, n0, n1, d0, d1 in rows if n0 and n1]
    if not comparable:
        assert status == two_arm.NOTHING_TO_COMPARE
    elif not sum(d0 for d0, _ in comparable) or not sum(d1 for _, d1 in comparable):
        assert status == two_arm.ALL_IN_ONE_ARM
    else:
        assert (beta, se) == pytest.approx(slow_cox(rows, efron=True), rel=1e-9, abs=1e-9)


# --- inside compiled loops --------------------------------------------------------------------------------


@njit
def _many_trials(time, event, arm, stratum, weights, scratch, own, horizon, out):
    for k in range(out.shape[0]):
        found = two_arm.two_arm_times(time[k], event[k], arm, stratum, 2, scratch)
        out[k, 0] = found[0]
        out[k, 1] = found[2]
        out[k, 2] = maxcombo_of_table(2, scratch, weights, TWO_SIDED, own)[1]
        out[k, 3] = maxcombo_of_table(2, scratch, weights, FEWER, own)[1]
        two_arm.follow_up(time[k], arm, stratum, 2, scratch)
        mean0, _, mean1, _ = two_arm.restricted_means_of_table(2, scratch, horizon)
        out[k, 4] = mean1 - mean0


def test_a_compiled_loop_over_trials_reuses_one_working_memory():
    made = [people(150, seed, 1, 2) for seed in range(6)]
    arm, stratum = made[0][2], made[0][3]
    time, event = np.array([m[0] for m in made]), np.array([m[1] for m in made])
    weights = np.array([(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
    out = np.empty((6, 5))
    scratch = two_arm.two_arm_scratch(150, 2)
    _many_trials(time, event, arm, stratum, weights, scratch, maxcombo_scratch(3), 100.0, out)
    for k in range(6):
        test = analyse.logrank(time[k], event[k], arm, stratum)
        assert out[k, 0] == pytest.approx(test.score[1], abs=1e-11)
        fit = analyse.cox(time[k], event[k], arm, stratum)
        assert out[k, 1] == pytest.approx(fit.coefficients[0], abs=1e-12)
        combined = survival.maxcombo(time[k], event[k], arm, stratum, weights)
        assert (out[k, 2], out[k, 3]) == (combined.p_value, combined.p_fewer)
        gained = analyse.rmst_difference(time[k], event[k], arm, 100, stratum)
        assert out[k, 4] == pytest.approx(gained.difference, abs=1e-12)


# --- printed in the manual of R's survival package --------------------------------------------------------


def test_maintained_chemotherapy_in_leukaemia_comes_out_as_r_prints_it():
    """The data set aml (Miller 1997, page 49). R: coxph 0.9155 (0.5119), exp 2.498; survdiff chi-square 3.4,
    P = 0.07."""
    maintained = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
    other = [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45]
    event = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    time, arm = maintained + other, [0] * 11 + [1] * 12
    fit = analyse.cox(time, event, arm)
    assert round(float(fit.coefficients[0]), 4) == 0.9155
    assert round(float(fit.standard_errors[0]), 4) == 0.5119
    test = analyse.logrank(time, event, arm)
    assert round(test.chi_square, 1) == 3.4
    assert round(test.p_value, 2) == 0.07


def test_lung_cancer_comes_out_as_r_prints_it():
    """The data set lung (Loprinzi et al. 1994). R: survdiff by sex, expected 91.6 and 73.4, chi-square 10.3;
    coxph by sex -0.5310 (0.1672); with age and performance status 0.011067 (0.009267), -0.552612 (0.167739),
    0.463728 (0.113577)."""
    from lifelines.datasets import load_lung

    lung = load_lung()
    test = analyse.logrank(lung["time"], lung["status"], lung["sex"])
    assert test.observed.tolist() == [112, 53]
    assert test.expected.round(1).tolist() == [91.6, 73.4]
    assert round(test.chi_square, 1) == 10.3
    fit = analyse.cox(lung["time"], lung["status"], lung["sex"])
    assert round(float(fit.coefficients[0]), 4) == -0.5310
    assert round(float(fit.standard_errors[0]), 4) == 0.1672
    known = lung.dropna(subset=["ph.ecog"])
    several = analyse.cox(known["time"], known["status"], known[["age", "sex", "ph.ecog"]])
    np.testing.assert_allclose(several.coefficients, [0.011067, -0.552612, 0.463728], atol=5e-7)
    np.testing.assert_allclose(several.standard_errors, [0.009267, 0.167739, 0.113577], atol=5e-7)


def test_the_veterans_trial_comes_out_as_r_prints_it():
    """The data set veteran (Kalbfleisch & Prentice 1980). R, six covariates: treatment 0.2946 (0.2075),
    performance status -0.03282 (0.005508); survdiff by cell type chi-square 25.4 on 3 degrees of freedom."""
    from sksurv.datasets import load_veterans_lung_cancer

    covariates, outcome = load_veterans_lung_cancer()
    time, event = outcome["Survival_in_days"], outcome["Status"]
    cell = covariates["Celltype"].astype(str).to_numpy()
    X = np.column_stack(
        [
            covariates["Treatment"].astype(str) == "test",
            *(cell == name for name in ("smallcell", "adeno", "large")),
            covariates["Karnofsky_score"],
            covariates["Months_from_Diagnosis"],
            covariates["Age_in_years"],
            (covariates["Prior_therapy"].astype(str) == "yes") * 10,
        ]
    ).astype(float)
    fit = analyse.cox(time, event, X)
    printed = [0.2946, 0.8616, 1.1961, 0.4013, -0.03282, 0.00008132, -0.008706, 0.007159]
    np.testing.assert_allclose(fit.coefficients, printed, atol=6e-5)
    np.testing.assert_allclose(fit.standard_errors[[0, 4]], [0.2075, 0.005508], atol=5e-5)
    test = analyse.logrank(time, event, cell)
    assert test.df == 3
    assert round(test.chi_square, 1) == 25.4
