"""Rates and competing events against published tables, definitions and other packages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from equipoise.analyse.competing import aalen_johansen
from equipoise.analyse.rates import rate_interval, rate_ratio
from equipoise.analyse.survival import kaplan_meier
from equipoise.errors import UserError


@pytest.mark.parametrize(
    ("count", "lower", "upper"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (50, 37.11, 65.92)],
)
def test_poisson_limits_are_those_of_garwoods_table(count, lower, upper):
    """Garwood, Biometrika 1936; also Ulm 1990, table 1."""
    rate = rate_interval(count, 1.0, per=1.0)
    assert rate.lower == pytest.approx(lower, abs=6e-3)
    assert rate.upper == pytest.approx(upper, abs=6e-3)


def test_a_rate_is_per_100_years_and_undefined_without_time():
    rate = rate_interval(93, 13_880)
    assert round(rate.estimate, 2) == 0.67  # bacterial pneumonia in ESPRIT, aldesleukin arm
    assert all(math.isnan(x) for x in rate_interval(0, 0.0))
    with pytest.raises(UserError):
        rate_interval(-1, 1.0)


def test_rate_ratio_is_the_exact_conditional_one():
    ratio = rate_ratio(41, 28_010, 15, 19_017)  # Rothman, Modern Epidemiology: fluoroscopy and breast cancer
    assert round(ratio.estimate, 2) == 1.86
    share = 28_010 / (28_010 + 19_017)
    interval = stats.binomtest(41, 56).proportion_ci(method="exact")
    odds = [p / (1 - p) * 19_017 / 28_010 for p in (interval.low, interval.high)]
    assert (ratio.lower, ratio.upper) == pytest.approx(odds)
    tail = stats.binom(56, share).sf(40)
    assert ratio.p_value == pytest.approx(2 * tail)


def test_rate_ratio_without_events_in_one_group():
    none = rate_ratio(0, 100.0, 5, 100.0)
    assert (none.estimate, none.lower) == (0.0, 0.0)
    assert none.upper < 1.2
    other = rate_ratio(5, 100.0, 0, 100.0)
    assert math.isinf(other.estimate)
    assert math.isinf(other.upper)
    assert all(math.isnan(x) for x in rate_ratio(0, 1.0, 0, 1.0))


def competing_trial(n, seed, decimals):
    rng = np.random.default_rng(seed)
    a, b, c = rng.exponential(50, n), rng.exponential(80, n), rng.uniform(5, 90, n)
    time = np.maximum(np.round(np.minimum(np.minimum(a, b), c), decimals), 1)
    status = np.where(np.minimum(a, b) > c, 0, np.where(a < b, 1, 2))
    return time, status


@pytest.mark.parametrize("decimals", [9, -1])
def test_aalen_johansen_follows_its_definition(decimals):
    time, status = competing_trial(150, 1, decimals)
    curve = aalen_johansen(time, status)
    S, F = 1.0, 0.0
    seen = []
    for t in np.unique(time):
        n = (time >= t).sum()
        d1, d = ((time == t) & (status == 1)).sum(), ((time == t) & (status > 0)).sum()
        F += S * d1 / n
        seen.append((t, F, S, n, d, d1))
        S *= 1 - d / n
    np.testing.assert_allclose(curve.incidence, [s[1] for s in seen], atol=1e-13)
    for k in (3, len(seen) // 2, len(seen) - 2):
        Ft = seen[k][1]
        variance = 0.0
        for _, Fi, Si, n, d, d1 in seen[: k + 1]:
            variance += (Ft - Fi) ** 2 * d / (n * (n - d))
            variance += Si**2 * (n - d1) * d1 / n**3
            variance -= 2 * (Ft - Fi) * Si * d1 / n**2
        assert curve.se[k] == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_aalen_johansen_agrees_with_lifelines():
    from lifelines import AalenJohansenFitter

    time, status = competing_trial(300, 2, 9)
    mine = aalen_johansen(time, status)
    theirs = AalenJohansenFitter(calculate_variance=True).fit(time, status, event_of_interest=1)
    np.testing.assert_allclose(mine.incidence, theirs.cumulative_density_.to_numpy()[1:, 0], atol=1e-12)
    np.testing.assert_allclose(mine.se**2, theirs.variance_.to_numpy()[1:], rtol=1e-6)


def test_without_competitors_incidence_is_one_minus_kaplan_meier():
    time, status = competing_trial(200, 3, -1)
    happened = (status > 0).astype(int)
    curve, km = aalen_johansen(time, happened), kaplan_meier(time, happened)
    np.testing.assert_allclose(curve.incidence, 1 - km.survival, atol=1e-13)
    alive = km.survival > 0
    np.testing.assert_allclose(curve.se[alive], km.se[alive], rtol=1e-8)
    np.testing.assert_allclose(curve.lower[alive], 1 - km.upper[alive], atol=1e-8)


def test_incidences_of_all_causes_add_up_to_everybody():
    time, status = competing_trial(200, 4, -1)
    first = aalen_johansen(time, status)
    second = aalen_johansen(time, np.where(status == 0, 0, 3 - status))
    km = kaplan_meier(time, status > 0)
    np.testing.assert_allclose(first.incidence + second.incidence + km.survival, 1, atol=1e-12)


def test_another_status_is_refused():
    with pytest.raises(UserError, match="0 \\(censored\\), 1 \\(event\\)"):
        aalen_johansen([1, 2], [0, 3])
