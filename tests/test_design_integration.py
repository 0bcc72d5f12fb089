"""The joint law of the looks, against the multivariate normal, Simpson's rule in the textbook, quadrature."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from equipoise._compile import njit
from equipoise.design import integration
from equipoise.design.normal import above, above_quantile
from equipoise.design.spending import code, spending, spent

NONE = np.zeros(0)
QUARTERS = np.array([0.25, 0.5, 0.75, 1.0])


def _correlation(t: np.ndarray) -> np.ndarray:
    """Corr(Z_j, Z_k) = sqrt(t_j / t_k) for j <= k."""
    return np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))


def _box(t, low, high, drift):
    """P(low < Z < high) at all looks, by Genz's integration of the multivariate normal."""
    return multivariate_normal.cdf(
        np.clip(high, -20, 20), mean=drift * np.sqrt(t), cov=_correlation(t),
        lower_limit=np.clip(low, -20, 20), abseps=2e-7, releps=1e-7, maxpts=2_000_000,
    )  # fmt: skip


def _simpson_grid(mean, low, high, r=60):
    """The grid of Jennison & Turnbull (2000), chapter 19, with Simpson's weights."""
    i = np.arange(1, 6 * r)
    x = np.where(
        i < r, -3 - 4 * np.log(r / i),
        np.where(i <= 5 * r, -3 + 3 * (i - r) / (2 * r), 3 + 4 * np.log(r / np.maximum(6 * r - i, 1))),
    ) + mean  # fmt: skip
    x = x[(x > low) & (x < high)]
    x = np.concatenate([[low] if low > -50 else [], x, [high] if high < 50 else []])
    z = np.empty(2 * len(x) - 1)
    z[::2], z[1::2] = x, (x[1:] + x[:-1]) / 2
    w = np.zeros_like(z)
    d = z[2::2] - z[:-2:2]
    w[:-2:2] += d / 6
    w[1::2] += 4 * d / 6
    w[2::2] += d / 6
    return z, w


def _by_simpson(t, lower, upper, theta):
    """Crossing probabilities, the textbook way."""
    below, beyond, z, h, before = [], [], np.zeros(1), np.ones(1), 0.0
    for k, here in enumerate(t):
        step = math.sqrt(here - before)
        mean = (z * math.sqrt(before) + theta * (here - before)) / math.sqrt(here)
        sd = step / math.sqrt(here)
        beyond.append(h @ ndtr((mean - upper[k]) / sd))
        below.append(h @ ndtr((lower[k] - mean) / sd))
        if k < len(t) - 1:
            new, w = _simpson_grid(theta * math.sqrt(here), lower[k], upper[k])
            q = (new[:, None] - mean[None, :]) / sd
            h = w * ((np.exp(-0.5 * q * q) / (sd * math.sqrt(2 * math.pi))) @ h)
            z, before = new, here
    return np.array(below), np.array(beyond)


@pytest.mark.parametrize("p", [1e-300, 1e-30, 1e-12, 1e-5, 0.025, 0.3, 0.5, 0.8, 1 - 1e-9])
def test_the_normal_quantile_is_that_of_scipy(p):
    x = above_quantile(p)
    assert x == pytest.approx(-ndtri(p), rel=2e-15, abs=2e-15)
    assert above(x) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("drift", [0.0, 1.3, 3.2])
@pytest.mark.parametrize(
    "t", [[0.5, 1.0], [0.3, 0.8, 1.0], [0.2, 0.45, 0.5, 1.0]], ids=["two looks", "three looks", "four looks"]
)
def test_crossing_probabilities_agree_with_the_multivariate_normal(t, drift):
    t = np.array(t)
    upper = 2.0 / np.sqrt(t)
    lower = np.linspace(-0.5, 1.0, len(t))
    below, beyond = integration.crossing(t, lower, upper, drift)
    for k in range(len(t)):
        low, high = lower[: k + 1].copy(), upper[: k + 1].copy()
        low[-1], high[-1] = upper[k], 20.0
        assert beyond[k] == pytest.approx(_box(t[: k + 1], low, high, drift), abs=1e-6)
        low[-1], high[-1] = -20.0, lower[k]
        assert below[k] == pytest.approx(_box(t[: k + 1], low, high, drift), abs=1e-6)


@pytest.mark.parametrize("drift", [0.0, 2.8])
@pytest.mark.parametrize("sided", [1, 2])
def test_crossing_probabilities_agree_with_simpsons_rule_on_the_textbook_grid(drift, sided):
    upper = np.array([4.1, 2.9, 2.4, 2.02])
    lower = -upper if sided == 2 else np.array([-1.0, 0.2, 1.1, 2.02])
    ours = integration.crossing(QUARTERS, lower, upper, drift)
    theirs = _by_simpson(QUARTERS, lower, upper, drift)
    assert np.allclose(ours, theirs, rtol=0, atol=2e-9)


def test_two_looks_agree_with_a_nested_quadrature_to_twelve_digits():
    t, upper, lower, drift = np.array([0.4, 1.0]), np.array([2.6, 1.97]), np.array([-0.2, 1.97]), 3.1
    m1, rho = drift * math.sqrt(t[0]), math.sqrt(t[0])
    sd = math.sqrt(1 - rho**2)

    def inner(z):
        mean = drift + rho * (z - m1)
        return math.exp(-0.5 * (z - m1) ** 2) / math.sqrt(2 * math.pi) * ndtr((mean - upper[1]) / sd)

    expected = quad(inner, lower[0], upper[0], epsabs=1e-14, epsrel=1e-13)[0]
    below, beyond = integration.crossing(t, lower, upper, drift)
    assert beyond[1] == pytest.approx(expected, rel=1e-12)
    assert beyond[0] == pytest.approx(ndtr(m1 - upper[0]), rel=1e-13)
    assert below.sum() + beyond.sum() == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize(
    "t", [[0.25, 0.5, 0.75, 1], [0.1, 0.15, 0.2, 0.9, 1], [0.5, 0.502, 0.9, 1], np.arange(1, 31) / 30],
    ids=["even", "uneven", "two looks close together", "thirty looks"],
)  # fmt: skip
@pytest.mark.parametrize("drift", [0.0, 3.0])
def test_halving_the_panels_changes_nothing_that_matters(t, drift):
    t = np.array(t, float)
    upper, lower = 2.1 / np.sqrt(t), np.full(len(t), -math.inf)
    coarse = integration.crossing(t, lower, upper, drift)[1]
    fine = integration.crossing(t, lower, upper, drift, 0.0, 0.0, 2.0)[1]
    assert np.allclose(coarse, fine, rtol=1e-10, atol=1e-15)


def test_tiny_probabilities_keep_their_relative_accuracy():
    t, upper = np.array([0.1, 0.3, 1.0]), np.array([8.8, 7.5, 6.9])
    _, beyond = integration.crossing(t, np.full(3, -math.inf), upper, 0.0)
    assert beyond[0] == pytest.approx(ndtr(-8.8), rel=1e-12)

    def inner(z):
        return (
            math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            * ndtr((z * math.sqrt(1 / 3) - upper[1]) / math.sqrt(2 / 3))
        )  # fmt: skip

    expected = quad(inner, -9, upper[0], points=[4.3], epsabs=0, epsrel=1e-11, limit=400)[0]
    assert expected < 1e-13
    assert beyond[1] == pytest.approx(expected, rel=1e-9)


def test_limits_that_do_not_exist_cut_nothing():
    inf = math.inf
    t = np.array([0.3, 0.6, 1.0])
    below, beyond = integration.crossing(t, np.full(3, -inf), np.array([inf, inf, 1.96]), 0.7)
    assert below.tolist() == [0, 0, 0]
    assert beyond[:2].tolist() == [0, 0]
    assert beyond[2] == pytest.approx(ndtr(0.7 - 1.96), abs=1e-13)


def test_a_trial_that_goes_on_from_a_known_statistic():
    _below, beyond = integration.crossing(
        np.array([1.0]), np.array([-math.inf]), np.array([1.96]), 1.5, 1.2, 0.4
    )
    mean = (1.2 * math.sqrt(0.4) + 1.5 * 0.6) / 1
    assert beyond[0] == pytest.approx(ndtr((mean - 1.96) / math.sqrt(0.6)), rel=1e-13)
    two = integration.crossing(
        np.array([0.7, 1.0]), np.full(2, -math.inf), np.array([2.3, 1.96]), 1.5, 1.2, 0.4
    )
    at = (1.2 * math.sqrt(0.4) + 1.5 * 0.3) / math.sqrt(0.7)
    sd = math.sqrt(0.3 / 0.7)

    def inner(z):
        mean = z * math.sqrt(0.7) + 1.5 * 0.3
        density = math.exp(-0.5 * ((z - at) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
        return density * ndtr((mean - 1.96) / math.sqrt(0.3))

    assert two[1][1] == pytest.approx(quad(inner, -8, 2.3, epsabs=1e-13)[0], abs=1e-11)


def test_limits_spend_exactly_what_they_are_given():
    spent = np.array([1e-18, 1e-9, 0.004, 0.025])
    lower, upper = integration.limits(QUARTERS, spent, NONE, 0.0, 1, False, True)
    _, beyond = integration.crossing(QUARTERS, lower, upper, 0.0)
    assert np.cumsum(beyond) == pytest.approx(spent, rel=1e-9)
    assert upper[0] == pytest.approx(-ndtri(1e-18), abs=1e-10)


def test_what_cannot_be_resolved_is_an_infinite_limit():
    spent = np.array([1e-30, 0.001, 0.001, 0.025])
    _, upper = integration.limits(QUARTERS, spent, NONE, 0.0, 1, False, True)
    assert upper[0] == math.inf
    assert upper[2] == math.inf
    assert upper[1] == pytest.approx(-ndtri(0.001), abs=1e-9)


@pytest.mark.parametrize("binding", [False, True])
def test_futility_limits_spend_exactly_what_they_are_given_under_the_drift(binding):
    alpha = 0.025 * QUARTERS**3
    beta = 0.1 * QUARTERS**2
    drift = 3.5
    lower, upper = integration.limits(QUARTERS, alpha, beta, drift, 1, binding, False)
    below, _ = integration.crossing(QUARTERS, lower, upper, drift)
    assert np.cumsum(below) == pytest.approx(beta, abs=1e-11)
    kept = lower if binding else np.full(4, -math.inf)
    _, beyond = integration.crossing(QUARTERS, kept, upper, 0.0)
    assert np.cumsum(beyond) == pytest.approx(alpha, abs=1e-12)


def test_the_last_limits_meet_where_they_are_told_to():
    lower, upper = integration.limits(QUARTERS, 0.025 * QUARTERS, 0.1 * QUARTERS, 3.4, 1, False, True)
    assert lower[3] == upper[3]
    assert lower[2] < upper[2]


def test_a_look_without_a_new_event_and_one_without_any_event_are_no_trouble():
    """The limits of the other looks are those of the trial without that look."""
    spent_by = np.array([0.0, 0.004, 0.004, 0.025])
    _, upper = integration.limits(np.array([0.0, 0.5, 0.5, 1.0]), spent_by, NONE, 0.0, 1, False, True)
    _, plain = integration.limits(np.array([0.5, 1.0]), spent_by[[1, 3]], NONE, 0.0, 1, False, True)
    assert upper[[0, 2]].tolist() == [math.inf, math.inf]
    assert upper[[1, 3]] == pytest.approx(plain, abs=2e-4)
    found = integration.stagewise(np.array([0.0, 0.5, 0.5, 1.0]), np.full(4, -math.inf), upper, 2.2, 0.95)
    alone = integration.stagewise(np.array([0.5, 1.0]), np.full(2, -math.inf), plain, 2.2, 0.95)
    assert found == pytest.approx(alone, abs=5e-4)


def test_a_last_look_without_a_new_event_may_still_spend_what_is_left():
    """The statistic is that of the look before: the two are as good as one look with all of alpha."""
    _, upper = integration.limits(np.array([0.5, 0.5]), np.array([0.004, 0.025]), NONE, 0.0, 1, False, True)
    assert upper[1] == pytest.approx(-ndtri(0.025), abs=5e-3)


def test_threads_give_the_same_limits():
    def one(n):
        t = np.array([0.2 + 0.01 * n, 0.6, 1.0])
        return integration.limits(t, 0.025 * t**3, NONE, 0.0, 1, False, True)[1]

    alone = [one(n) for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(24)))
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


@njit
def _inside(information, alpha, z):
    """Limits and estimate of one trial, as a simulation computes them: within compiled code."""
    spent_by = np.empty(information.shape[0])
    for k in range(information.shape[0]):
        spent_by[k] = spent(0, 0.0, alpha, information[k])
    lower, upper = integration.limits(information, spent_by, np.zeros(0), 0.0, 1, False, True)
    return upper[-1], integration.stagewise(information, lower, upper, z, 0.95)


def test_compiled_code_may_call_them():
    last, found = _inside(QUARTERS, 0.025, 2.2)
    alpha = spending("obrien-fleming", 0.025, QUARTERS)
    lower, upper = integration.limits(QUARTERS, alpha, NONE, 0.0, 1, False, True)
    assert last == upper[-1]
    assert found == integration.stagewise(QUARTERS, lower, upper, 2.2, 0.95)


rising_looks = st.lists(st.floats(0.05, 1), min_size=1, max_size=4, unique=True).map(sorted).filter(
    lambda looks: all(b - a > 0.02 for a, b in itertools.pairwise(looks))
)  # fmt: skip


@settings(max_examples=60)
@given(rising_looks, st.floats(-2, 4), st.floats(1.2, 4), st.floats(-2, 1))
def test_stages_add_up_to_one_when_the_last_limits_meet(looks, drift, top, bottom):
    t = np.array(looks)
    upper = top / np.sqrt(t)
    lower = np.minimum(bottom, upper)
    lower[-1] = upper[-1]
    below, beyond = integration.crossing(t, lower, upper, drift)
    assert below.min() >= 0
    assert beyond.min() >= 0
    assert below.sum() + beyond.sum() == pytest.approx(1, abs=1e-10)


@settings(max_examples=60)
@given(rising_looks, st.floats(-1, 4), st.floats(1.2, 4))
def test_a_further_look_leaves_the_looks_before_it_as_they_are(looks, drift, top):
    t = np.array([*looks, looks[-1] + 0.3])
    upper, lower = np.full(len(t), top), np.full(len(t), -math.inf)
    whole = integration.crossing(t, lower, upper, drift)[1]
    part = integration.crossing(t[:-1], lower[:-1], upper[:-1], drift)[1]
    assert np.allclose(whole[:-1], part, rtol=0, atol=1e-12)


@settings(max_examples=60)
@given(rising_looks, st.floats(0, 4), st.floats(1.2, 4), st.floats(0.5, 40))
def test_the_unit_of_information_does_not_matter(looks, drift, top, unit):
    t = np.array(looks)
    upper, lower = np.full(len(t), top), np.full(len(t), -1.0)
    one = integration.crossing(t, lower, upper, drift)
    other = integration.crossing(unit * t, lower, upper, drift / math.sqrt(unit))
    assert np.allclose(one, other, rtol=0, atol=1e-11)


# --- stage-wise inference ---------------------------------------------------------------------------------


def _higher(t, upper, z, theta):
    """P of a result as high or higher in the stage-wise ordering, by the multivariate normal."""
    total = 0.0
    for k in range(len(t)):
        low, high = np.full(k + 1, -20.0), np.array(upper[: k + 1], float)
        low[-1], high[-1] = (z if k == len(t) - 1 else upper[k]), 20.0
        total += _box(t[: k + 1], low, high, theta)
    return total


@pytest.mark.parametrize("z", [-1.0, 1.5, 2.6])
def test_the_estimate_is_exceeded_half_of_the_time_and_the_interval_in_its_tails(z):
    t, upper = np.array([0.4, 0.7, 1.0]), np.array([3.0, 2.5, 2.0])
    p, middle, low, high = integration.stagewise(t, np.full(3, -math.inf), upper, z, 0.95)
    assert _higher(t, upper, z, middle) == pytest.approx(0.5, abs=1e-6)
    assert _higher(t, upper, z, low) == pytest.approx(0.025, abs=1e-6)
    assert _higher(t, upper, z, high) == pytest.approx(0.975, abs=1e-6)
    assert p == pytest.approx(_higher(t, upper, z, 0.0), abs=1e-6)


def test_with_one_look_the_estimate_is_the_usual_one():
    p, middle, low, high = integration.stagewise(np.array([60.0]), np.zeros(1), np.zeros(1), 2.2, 0.9)
    root = math.sqrt(60)
    assert p == pytest.approx(ndtr(-2.2), rel=1e-13)
    assert (middle, low, high) == pytest.approx(
        (2.2 / root, (2.2 - ndtri(0.95)) / root, (2.2 + ndtri(0.95)) / root), rel=1e-10
    )


@settings(max_examples=40)
@given(st.floats(-1.5, 5), st.floats(0.05, 0.5), st.integers(1, 3), st.floats(1.5, 3.5))
def test_more_is_always_more(z, more, looks, top):
    t = np.arange(1, looks + 1) / 3
    upper, lower = np.full(looks, top), np.full(looks, -0.5)
    one = integration.stagewise(t, lower, upper, z, 0.95)
    two = integration.stagewise(t, lower, upper, z + more, 0.95)
    assert two[0] < one[0]
    assert two[1] > one[1]
    assert one[2] < one[1] < one[3]
    assert two[2] > one[2]
    assert two[3] > one[3]


@settings(max_examples=40)
@given(st.floats(-3, 6), st.floats(1.6, 3.5))
def test_estimate_and_interval_agree_with_the_p_value_at_any_statistic(z, top):
    """Moved by the estimate, the result is a middling one: the p-value against that effect is one half."""
    t, upper = np.array([0.3, 0.6, 1.0]), np.array([top + 0.5, top, 2.0])
    lower = np.array([-1.0, 0.1, 2.0])
    _, middle, low, high = integration.stagewise(t, lower, upper, z, 0.9)
    for theta, wanted in ((middle, 0.5), (low, 0.05), (high, 0.95)):
        root = theta * np.sqrt(t)
        p = integration.stagewise(t, lower - root, upper - root, z - root[-1], 0.9)[0]
        assert p == pytest.approx(wanted, abs=1e-9)


def test_spending_inside_compiled_code_is_that_outside():
    for name, parameter in (("obrien-fleming", None), ("pocock", None), ("kim-demets", 2.5)):
        function, value = code(name, parameter)
        inside = [spent(function, value, 0.025, t) for t in (0.0, 0.3, 1.0, 1.2)]
        assert inside == spending(name, 0.025, [0.0, 0.3, 1.0, 1.2], parameter=parameter).tolist()
