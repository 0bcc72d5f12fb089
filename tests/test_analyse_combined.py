"""The maximum of weighted log-ranks and the difference of restricted means, against definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from equipoise import analyse
from equipoise.analyse import combined_tests
from equipoise.analyse.undefined import NO_COMPARISON, NO_EVENTS, NOT_FOLLOWED
from equipoise.errors import UserError

USUAL = ((0, 0), (0, 1), (1, 0), (1, 1))


def people(n, seed, decimals=9, n_strata=1, delayed=False):
    rng = np.random.default_rng(seed)
    arm, strata = rng.integers(0, 2, n), rng.integers(0, n_strata, n)
    until = rng.exponential(300, n)
    if delayed:
        until = np.where((arm == 1) & (until > 100), 100 + (until - 100) * 1.8, until)
    censored = rng.uniform(200, 500, n)
    return np.round(np.minimum(until, censored), decimals), until <= censored, arm, strata


def slow_scores(time, event, arm, strata, weights):
    """Weighted observed minus expected, and the covariance, one event time at a time."""
    k = len(weights)
    U, V = np.zeros(k), np.zeros((k, k))
    for s in np.unique(strata):
        S = 1.0
        for t in np.unique(time[(strata == s) & event]):
            present = (strata == s) & (time >= t)
            died = (strata == s) & (time == t) & event
            n, d, n1, d1 = present.sum(), died.sum(), (present & (arm == 1)).sum(), (died & (arm == 1)).sum()
            w = np.array([S**rho * (1 - S) ** gamma for rho, gamma in weights])
            U += w * (d1 - d * n1 / n)
            if n > 1:
                V += np.outer(w, w) * d * (n1 / n) * (1 - n1 / n) * (n - d) / (n - 1)
            S *= 1 - d / n
    return U, V


# --- maximum of weighted log-ranks ------------------------------------------------------------------------


@pytest.mark.parametrize(("decimals", "n_strata"), [(9, 1), (-1, 1), (9, 3), (-1, 3)])
def test_weighted_log_ranks_and_their_covariance_follow_the_definition(decimals, n_strata):
    time, event, arm, strata = people(250, 1, decimals, n_strata)
    weights = ((0, 0), (0.5, 0), (0, 2), (1, 1))
    U, V = slow_scores(time, event, arm, strata, weights)
    found = analyse.maxcombo(time, event, arm, strata, weights)
    se = np.sqrt(np.diag(V))
    np.testing.assert_allclose(found.z, U / se, atol=1e-11)
    np.testing.assert_allclose(found.correlation, V / np.outer(se, se), atol=1e-12)
    assert found.statistic == pytest.approx(np.abs(U / se).max(), abs=1e-11)
    for k, (rho, gamma) in enumerate(weights):
        alone = analyse.logrank(time, event, arm, strata, rho=rho, gamma=gamma)
        assert found.z[k] ** 2 == pytest.approx(alone.chi_square, rel=1e-10)


def leaves(correlation, low, high):
    k = len(correlation)
    own = combined_tests.maxcombo_scratch(k)
    return combined_tests._leaves_box(np.array(correlation, float), k, low, high, own)


def test_with_one_weight_the_p_value_is_that_of_the_log_rank_test():
    time, event, arm, _ = people(200, 2)
    single = analyse.maxcombo(time, event, arm, weights=((0, 0),))
    assert single.p_value == pytest.approx(analyse.logrank(time, event, arm).p_value, rel=1e-12)
    assert single.p_fewer == pytest.approx(norm.cdf(single.z[0]), rel=1e-12)
    assert single.p_more == pytest.approx(norm.sf(single.z[0]), rel=1e-12)


@pytest.mark.parametrize("bound", [0.5, 1.96, 3.5, 7.0])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_independent_statistics_multiply(k, bound):
    inside = 1 - 2 * norm.sf(bound)
    expected = -math.expm1(k * math.log(inside))
    assert leaves(np.eye(k), -bound, bound) == pytest.approx(expected, rel=1e-8)
    expected = -math.expm1(k * norm.logcdf(bound))
    assert leaves(np.eye(k), -np.inf, bound) == pytest.approx(expected, rel=1e-8)


def test_the_chance_that_three_equally_correlated_are_all_below_zero_is_known():
    """1/2 - 3 arccos(r) / (4 pi) (Sheppard 1898 for two, David 1953 for three)."""
    for r in (-0.4, 0.1, 0.5, 0.9, 0.999):
        correlation = np.full((3, 3), r) + (1 - r) * np.eye(3)
        assert leaves(correlation, -np.inf, 0.0) == pytest.approx(
            0.5 + 3 * math.acos(r) / (4 * math.pi), abs=1e-11
        )
        pair = correlation[:2, :2]
        assert leaves(pair, -np.inf, 0.0) == pytest.approx(0.75 - math.asin(r) / (2 * math.pi), abs=1e-11)


@pytest.mark.parametrize(("k", "r"), [(2, 0.5), (2, 0.999), (3, 0.5), (3, 0.99), (4, 0.7)])
def test_equally_correlated_statistics_agree_with_one_dimensional_integration(k, r):
    """Given what they share, they are independent (Gupta 1963)."""
    spread = math.sqrt(1 - r)
    for bound in (1.0, 2.3, 4.0):
        ends = [(s * bound + v * spread) / math.sqrt(r) for s in (-1, 1) for v in (-6, -3, -1, 0, 1, 3, 6)]
        ends = np.sort(np.concatenate([np.linspace(-9, 9, 37), ends]))

        def passed(shared, bound=bound):
            away = [norm.sf((bound + s * math.sqrt(r) * shared) / spread) for s in (-1, 1)]
            return norm.pdf(shared) * -math.expm1(k * math.log1p(-min(sum(away), 1 - 1e-16)))

        expected = sum(quad(passed, a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(ends) if b > a)
        correlation = np.full((k, k), r) + (1 - r) * np.eye(k)
        assert leaves(correlation, -bound, bound) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_p_value_agrees_with_the_method_of_genz(k):
    rng = np.random.default_rng(k)
    for _ in range(3):
        A = rng.normal(size=(k, k))
        S = A @ A.T + 0.2 * np.eye(k)
        R = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
        for bound in (1.0, 2.3):
            inside = multivariate_normal.cdf(
                np.full(k, bound), cov=R, lower_limit=np.full(k, -bound), abseps=1e-7, releps=1e-7,
                maxpts=200_000, rng=np.random.default_rng(0),
            )  # fmt: skip
            assert leaves(R, -bound, bound) == pytest.approx(1 - inside, abs=1e-4)


def test_the_usual_weights_are_dependent_and_the_p_value_agrees_with_brute_force():
    """S + (1 - S) = 1: the plain log-rank is the sum of two others, so four statistics have three
    dimensions."""
    time, event, arm, _ = people(400, 3, delayed=True)
    found = analyse.maxcombo(time, event, arm)
    assert np.linalg.matrix_rank(found.correlation, tol=1e-9) == 3
    values, vectors = np.linalg.eigh(found.correlation)
    root = vectors * np.sqrt(np.maximum(values, 0))
    draws = 2_000_000
    z = np.random.default_rng(0).normal(size=(draws, 4)) @ root.T
    for bound in (1.5, 2.2):
        for p, hits in (
            (leaves(found.correlation, -bound, bound), np.abs(z).max(axis=1) > bound),
            (leaves(found.correlation, -np.inf, bound), z.max(axis=1) > bound),
        ):
            assert hits.mean() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / draws))
    assert analyse.maxcombo(time, event, arm).p_value == found.p_value


def test_the_order_of_the_weights_does_not_matter_and_the_bounds_hold():
    time, event, arm, strata = people(300, 4, 0, 2, delayed=True)
    values = [
        analyse.maxcombo(time, event, arm, strata, weights).p_value
        for weights in itertools.permutations(USUAL)
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-7)
    single = [analyse.logrank(time, event, arm, strata, rho=r, gamma=g).p_value for r, g in USUAL]
    assert min(single) < values[0] < 4 * min(single)


def test_under_the_null_the_covariance_and_the_p_value_are_those_of_permuted_arms():
    time, event, arm, _ = people(120, 5, 0)
    rng = np.random.default_rng(1)
    observed = analyse.maxcombo(time, event, arm)
    many = [analyse.maxcombo(time, event, rng.permutation(arm)) for _ in range(1500)]
    z = np.array([m.z for m in many])
    assert np.abs(np.corrcoef(z.T) - observed.correlation).max() < 0.06
    beyond = np.mean([m.statistic >= observed.statistic - 1e-12 for m in many])
    assert beyond == pytest.approx(observed.p_value, abs=4 * math.sqrt(0.25 / 1500))
    # p-values are uniform: their distribution function at 5% and 50%
    p = np.array([m.p_value for m in many])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 1500))
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 1500))


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_exchanging_the_arms_exchanges_the_sides(seed):
    time, event, arm, strata = people(40, seed, -1, 2)
    one, other = analyse.maxcombo(time, event, arm, strata), analyse.maxcombo(time, event, 1 - arm, strata)
    np.testing.assert_allclose(one.z, -other.z, atol=1e-10)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-6)
    assert one.p_fewer == pytest.approx(other.p_more, rel=1e-6)
    order = np.random.default_rng(seed).permutation(40)
    again = analyse.maxcombo(time[order], event[order], arm[order], strata[order])
    assert (again.statistic, again.p_value) == (one.statistic, one.p_value)
    stretched = analyse.maxcombo(np.exp(time / 50), event, arm, strata)
    assert (stretched.statistic, stretched.p_value) == (one.statistic, one.p_value)


def test_weights_that_say_nothing_are_left_out():
    """With events at one time only, a weight of 1 - S is 0 throughout."""
    time, event, arm = [5.0, 5, 5, 9, 9, 9], [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0]
    found = analyse.maxcombo(time, event, arm)
    assert np.isnan(found.z[[1, 3]]).all()
    assert found.p_value == pytest.approx(analyse.logrank(time, event, arm).p_value, rel=1e-12)
    assert analyse.maxcombo(time, [0] * 6, arm).undefined == NO_EVENTS
    apart = analyse.maxcombo([1.0, 2, 3, 4], [1, 1, 1, 1], [0, 1, 0, 1], strata=[0, 1, 0, 1])
    assert apart.undefined == NO_COMPARISON
    assert math.isnan(apart.p_value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": [0, 1, 2]}, "compares two arms: the column has 3"),
        ({"weights": ((0, 0),) * 5}, "one to 4 pairs"),
        ({"weights": ((0, -1),)}, "0 or more"),
        ({"time": [1.0, -2, 3]}, "row 2 has -2"),
        ({"event": [0, 1, 7]}, "events must be 0"),
    ],
)
def test_impossible_combinations_are_refused_in_words(change, message):
    good = {"time": [1.0, 2, 3], "event": [1, 0, 1], "arm": [0, 1, 0]}
    with pytest.raises(UserError, match=message):
        analyse.maxcombo(**(good | change))


# --- restricted means -------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [9, 0, -1])
def test_restricted_means_are_the_areas_under_the_two_curves(decimals):
    time, event, arm, _ = people(300, 6, decimals)
    found = analyse.rmst_difference(time, event, arm, 180)
    parts = [
        analyse.restricted_mean(analyse.kaplan_meier(time[arm == a], event[arm == a]), 180) for a in (0, 1)
    ]
    assert found.means == pytest.approx([p.estimate for p in parts], rel=1e-12)
    assert found.standard_errors == pytest.approx([p.se for p in parts], rel=1e-11)
    assert found.difference == pytest.approx(parts[1].estimate - parts[0].estimate, abs=1e-10)
    assert found.difference_se == pytest.approx(math.hypot(parts[0].se, parts[1].se), rel=1e-11)
    assert found.ratio == pytest.approx(parts[1].estimate / parts[0].estimate, rel=1e-12)
    log_se = math.hypot(parts[0].se / parts[0].estimate, parts[1].se / parts[1].estimate)
    assert found.log_ratio_se == pytest.approx(log_se, rel=1e-11)
    low, high = found.ratio_interval
    assert math.log(high / low) == pytest.approx(2 * 1.959963984540054 * log_se, rel=1e-9)
    assert found.difference_p == pytest.approx(2 * norm.sf(abs(found.difference) / found.difference_se))


def test_restricted_means_agree_with_lifelines():
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    time, event, arm, _ = people(300, 7)
    found = analyse.rmst_difference(time, event, arm, 150)
    for a in (0, 1):
        curve = KaplanMeierFitter().fit(time[arm == a], event[arm == a])
        assert found.means[a] == pytest.approx(restricted_mean_survival_time(curve, t=150), rel=1e-9)


def test_without_censoring_the_restricted_mean_is_a_mean():
    """Then it is the mean of min(T, horizon), and its variance that mean's, with n below the line."""
    rng = np.random.default_rng(8)
    time, arm = rng.exponential(100, 200), rng.integers(0, 2, 200)
    found = analyse.rmst_difference(time, np.ones(200, int), arm, 90)
    for a in (0, 1):
        held = np.minimum(time[arm == a], 90)
        assert found.means[a] == pytest.approx(held.mean(), rel=1e-12)
        assert found.standard_errors[a] == pytest.approx(held.std() / math.sqrt(len(held)), rel=1e-10)


def test_exponential_times_come_out_at_their_closed_form():
    rng = np.random.default_rng(9)
    n, rates, horizon = 40_000, np.array([0.01, 0.007]), 120.0
    arm = np.arange(n) % 2
    until, censored = rng.exponential(1 / rates[arm]), rng.uniform(60, 300, n)
    found = analyse.rmst_difference(np.minimum(until, censored), until <= censored, arm, horizon)
    truth = (1 - np.exp(-rates * horizon)) / rates
    for a in (0, 1):
        assert found.means[a] == pytest.approx(truth[a], abs=4 * found.standard_errors[a])
    assert found.difference == pytest.approx(truth[1] - truth[0], abs=4 * found.difference_se)
    assert found.difference_se < 0.6


def test_maintained_chemotherapy_keeps_the_restricted_means_that_r_prints():
    """The data set aml, to 161 weeks. R, survfit with rmean: 52.6 (19.83) and 22.7 (4.18)."""
    maintained = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
    other = [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45]
    event = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    found = analyse.rmst_difference(maintained + other, event, ["maintained"] * 11 + ["other"] * 12, 161)
    assert [round(m, 1) for m in found.means] == [52.6, 22.7]
    assert [round(s, 2) for s in found.standard_errors] == [19.83, 4.18]


def test_strata_are_averaged_by_their_share_of_the_participants():
    time, event, arm, strata = people(400, 10, 0, 3)
    found = analyse.rmst_difference(time, event, arm, 180, strata)
    parts = [analyse.rmst_difference(*(c[strata == s] for c in (time, event, arm)), 180) for s in range(3)]
    share = np.bincount(strata) / 400
    for a in (0, 1):
        assert found.means[a] == pytest.approx(share @ [p.means[a] for p in parts], rel=1e-12)
        variances = np.array([p.standard_errors[a] ** 2 for p in parts])
        assert found.standard_errors[a] ** 2 == pytest.approx(share**2 @ variances, rel=1e-12)
    one = analyse.rmst_difference(time, event, arm, 180, np.zeros(400, int))
    assert repr(one) == repr(analyse.rmst_difference(time, event, arm, 180))


def test_a_horizon_beyond_follow_up_has_no_estimate():
    time, event, arm = [1.0, 2, 3, 4, 5, 9], [1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]
    assert analyse.rmst_difference(time, event, arm, 3).undefined is None
    beyond = analyse.rmst_difference(time, event, arm, 4)
    assert beyond.undefined == NOT_FOLLOWED
    assert math.isnan(beyond.difference)
    assert math.isnan(beyond.means[0])
    assert not math.isnan(beyond.means[1])
    # a curve that has come down to 0 stays there
    ended = analyse.rmst_difference([1.0, 2, 3, 4, 5, 9], [1, 1, 1, 1, 0, 0], arm, 8)
    assert ended.undefined is None
    assert ended.means[0] == pytest.approx(2.0)
    nobody = analyse.rmst_difference(time, event, arm, 3, strata=[0, 0, 0, 1, 1, 1])
    assert nobody.undefined == NOT_FOLLOWED


def test_impossible_horizons_and_arms_are_refused_in_words():
    with pytest.raises(UserError, match="horizon must be a number above 0, not -3"):
        analyse.rmst_difference([1.0, 2], [1, 1], [0, 1], -3)
    with pytest.raises(UserError, match="between two arms: the column has 1"):
        analyse.rmst_difference([1.0, 2], [1, 1], [0, 0], 3)
