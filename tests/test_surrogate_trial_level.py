"""Units compared: effects on marker and outcome with their errors, R-squared, the surrogate threshold."""

import math
from dataclasses import replace

import numpy as np
import pytest

from equipoise.analyse import cox
from equipoise.analyse.surrogate import (
    UnitEffects,
    effects_of_trials,
    random_effects,
    trial_level,
    unit_effects,
)
from equipoise.errors import UserError
from surrogate_example import carried_trial, wandering_trial

BETWEEN = np.array([[0.09, -0.06], [-0.06, 0.05]])  # R-squared 0.8


def _units(u, *, seed=1, error=0.15, between=BETWEEN, means=(0.5, -0.3), transform="as is"):
    """Units whose true effects scatter by `between` and whose estimates err by `error`."""
    rng = np.random.default_rng(seed)
    truth = rng.multivariate_normal(means, between, size=u)
    sizes = error * rng.uniform(0.5, 1.5, (u, 2))
    covariance = np.einsum("ui,uj->uij", sizes, sizes) * np.array([[1.0, -0.3], [-0.3, 1.0]])
    y = truth + np.array([rng.multivariate_normal([0, 0], each) for each in covariance])
    return UnitEffects(
        tuple(f"unit {k}" for k in range(u)), y[:, 0], y[:, 1], covariance, np.full(u, 100), np.full(u, 20),
        transform=transform,
    )  # fmt: skip


def test_r_squared_of_the_regression_is_the_weighted_correlation_squared():
    units = _units(12, error=0.05)
    found = trial_level(units)
    weight = 1 / units.covariance[:, 1, 1]
    moments = np.cov(units.on_marker, units.on_outcome, aweights=weight)
    assert found.r_squared.estimate == pytest.approx(
        moments[0, 1] ** 2 / moments[0, 0] / moments[1, 1], rel=1e-9
    )
    assert found.slope.estimate == pytest.approx(moments[0, 1] / moments[0, 0], rel=1e-9)
    # Fisher's z of the correlation, by hand
    z = math.atanh(math.sqrt(found.r_squared.estimate))
    assert found.r_squared.low == pytest.approx(math.tanh(z - 1.959964 / 3) ** 2, rel=1e-5)
    assert found.r_squared.high == pytest.approx(math.tanh(z + 1.959964 / 3) ** 2, rel=1e-5)


def test_the_regression_agrees_with_statsmodels():
    import statsmodels.api as sm

    units = _units(12)
    found = trial_level(units)
    theirs = sm.WLS(
        units.on_outcome, sm.add_constant(units.on_marker), weights=1 / units.covariance[:, 1, 1]
    ).fit()
    assert found.slope.se == pytest.approx(theirs.bse[1], rel=1e-9)
    assert found.slope.p == pytest.approx(theirs.pvalues[1], rel=1e-7)
    np.testing.assert_allclose([found.slope.low, found.slope.high], theirs.conf_int()[1], rtol=1e-7)
    new = theirs.get_prediction(
        sm.add_constant(found.grid), weights=np.mean(1 / units.covariance[:, 1, 1])
    ).summary_frame(alpha=0.05)
    np.testing.assert_allclose(found.regression[1], new["obs_ci_lower"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.regression[2], new["obs_ci_upper"], rtol=1e-7, atol=1e-9)


def test_random_effects_maximise_the_likelihood_of_the_bivariate_normal():
    from scipy.optimize import minimize
    from scipy.stats import multivariate_normal

    units = _units(15, seed=3)
    y = np.column_stack([units.on_marker, units.on_outcome])

    def minus(x):
        L = np.array([[math.exp(x[2]), 0.0], [x[3], math.exp(x[4])]])
        return -sum(
            multivariate_normal.logpdf(each, x[:2], L @ L.T + S)
            for each, S in zip(y, units.covariance, strict=True)
        )

    direct = minimize(minus, [0.5, -0.3, -1.0, -0.2, -2.0], method="BFGS", options={"gtol": 1e-7})
    L = np.array([[math.exp(direct.x[2]), 0.0], [direct.x[3], math.exp(direct.x[4])]])
    mine = random_effects(units.on_marker, units.on_outcome, units.covariance)
    assert mine.log_likelihood == pytest.approx(-direct.fun, abs=1e-7)
    np.testing.assert_allclose(mine.means, direct.x[:2], atol=1e-5)
    np.testing.assert_allclose(mine.between, L @ L.T, atol=1e-5)
    # the line's covariance from the direct likelihood's own curvature

    def line(x):
        slope = x[3] / math.exp(x[2])
        return np.array([x[1] - slope * x[0], slope])

    def curvature(one, two):
        at, h = direct.x, 1e-4
        a, b = np.eye(5)[one] * h, np.eye(5)[two] * h
        return (minus(at + a + b) - minus(at + a - b) - minus(at - a + b) + minus(at - a - b)) / (4 * h * h)

    H = np.array([[curvature(i, j) for j in range(5)] for i in range(5)])
    G = np.column_stack([(line(direct.x + e) - line(direct.x - e)) / 2e-4 for e in np.eye(5) * 1e-4])
    np.testing.assert_allclose(mine.line, line(direct.x), atol=1e-5)
    np.testing.assert_allclose(mine.line_covariance, G @ np.linalg.inv(H) @ G.T, rtol=0.02)


BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
    (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
])  # fmt: skip
"""Tuberculosis and none, vaccinated and not, in 13 trials (Colditz et al., JAMA 1994;271:698-702)."""


def test_random_effects_of_the_bcg_trials_come_out_as_printed():
    """van Houwelingen, Arends & Stijnen 2002, pages 604-605: log odds -4.834 and -4.096 of the vaccinated and
    the others, variances between trials 1.431 and 2.407, correlation 0.947."""
    got, none, got_control, none_control = BCG.T
    errors = np.zeros((13, 2, 2))
    errors[:, 0, 0], errors[:, 1, 1] = 1 / got_control + 1 / none_control, 1 / got + 1 / none
    found = random_effects(np.log(got_control / none_control), np.log(got / none), errors)
    np.testing.assert_array_equal(found.means.round(3), [-4.096, -4.834])
    np.testing.assert_array_equal(np.diag(found.between).round(3), [2.407, 1.431])
    assert round(found.correlation, 3) == 0.947


def test_random_effects_see_through_the_errors_that_hide_the_relation_from_a_regression():
    units = _units(400, seed=5)
    found = trial_level(units)
    assert found.r_squared_random.low < 0.8 < found.r_squared_random.high
    assert abs(found.r_squared_random.estimate - 0.8) < 0.12
    assert found.r_squared.high < 0.7
    np.testing.assert_allclose(found.model.between, BETWEEN, atol=0.02)


def test_the_profile_interval_ends_where_the_likelihood_ratio_says():
    from scipy.optimize import minimize

    from equipoise.analyse.surrogate.random_effects import log_likelihood

    units = _units(15, seed=3)
    y = np.column_stack([units.on_marker, units.on_outcome])
    model = random_effects(units.on_marker, units.on_outcome, units.covariance)
    low, high = model.r_squared_interval()

    def best(rho):
        def minus(s):
            a, b = np.exp(s)
            D = np.array([[a * a, rho * a * b], [rho * a * b, b * b]])
            return -log_likelihood(y, units.covariance, D)[0]

        return -minimize(minus, [-1.2, -1.5], method="BFGS").fun

    assert low < model.correlation**2 < high
    assert 2 * (model.log_likelihood - best(-math.sqrt(low))) == pytest.approx(3.8415, abs=0.01)
    if high < 1:
        assert 2 * (model.log_likelihood - best(-math.sqrt(high))) == pytest.approx(3.8415, abs=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_threshold_is_where_the_limit_of_prediction_passes_no_effect(sign):
    units = _units(30, seed=2, error=0.05, means=(0.8, -0.6))
    units = replace(units, on_marker=sign * units.on_marker)
    found = trial_level(units)
    for measure, band in (
        (found.threshold, found.regression), (found.threshold_random, found.random),
    ):  # fmt: skip
        edge = np.flatnonzero(np.diff(np.sign(band[2])))
        assert len(edge) == 1
        k = int(edge[0])
        assert min(found.grid[k : k + 2]) <= measure.estimate <= max(found.grid[k : k + 2])
        assert sign * measure.estimate > 0


def test_on_the_log_scale_a_threshold_is_a_ratio():
    units = _units(30, seed=2, error=0.05, means=(0.8, -0.6))
    plain, logged = trial_level(units), trial_level(replace(units, transform="log2"))
    assert logged.threshold.estimate == pytest.approx(2**plain.threshold.estimate)
    assert logged.threshold.scale == "ratio of geometric means"


def test_without_a_relation_there_is_no_threshold():
    units = _units(8, seed=4, between=np.diag([0.09, 0.05]))
    found = trial_level(units)
    assert "the units do not say which effect on the marker" in found.threshold.refused
    assert found.slope.label == "log hazard ratio per unit of effect on the marker"
    doubling = trial_level(replace(units, transform="log2"))
    assert doubling.slope.label == "log hazard ratio per doubling of the effect on the marker"
    assert doubling.slope.estimate == found.slope.estimate
    assert any("only 8 units" in w for w in found.r_squared.warnings)


def test_units_that_differ_by_chance_alone_are_refused_the_random_effects():
    units = _units(12, seed=8, between=np.zeros((2, 2)))
    assert "differ no more than by chance" in trial_level(units).r_squared_random.refused


def test_fewer_than_five_units_are_refused_and_those_left_out_are_named():
    trial = wandering_trial(160, strata=1)
    event = trial.event & (np.isin(trial.unit, ["a", "b", "c"]))
    found = trial_level(unit_effects(replace(trial, event=event)))
    assert found.r_squared.refused.startswith("3 units with an estimate, fewer than 5; left out: d: 0 events")
    assert all(m.refused for m in found.measures)
    everywhere = trial_level(unit_effects(trial, by=np.arange(160)))
    assert everywhere.r_squared.refused.endswith("and 148 more")
    assert len(everywhere.effects.left_out) == 160
    nobody = trial_level(unit_effects(replace(trial, unit=np.full(160, ""))))
    assert nobody.r_squared.refused.startswith("there are no units")


def test_effects_of_a_unit_are_those_of_its_people_alone():
    trial = wandering_trial(600, seed=2)
    units = unit_effects(trial)
    assert units.names == tuple("abcdefgh")
    here = trial.unit == "c"
    alone = cox(trial.time[here], trial.event[here], trial.treated[here])
    k = units.names.index("c")
    assert units.on_outcome[k] == pytest.approx(alone.coefficients[0], rel=1e-9)
    assert units.covariance[k, 1, 1] == pytest.approx(alone.covariance[0, 0], rel=1e-9)
    assert units.events[k] == trial.event[here].sum()
    assert units.participants[k] == 75
    sites = unit_effects(replace(trial, unit=np.full(600, "")), by=[ord(u) for u in trial.unit])
    assert set(sites.names) == {str(k) for k in range(97, 105)}
    assert sorted(sites.on_outcome) == pytest.approx(sorted(units.on_outcome))
    with pytest.raises(UserError, match="`unit` has 2 values for 600 participants"):
        unit_effects(trial, by=["a", "b"])
    # a better marker goes with fewer events, so their errors go against each other
    assert np.mean(units.covariance[:, 0, 1]) < 0


def test_the_errors_of_a_units_effects_go_together_as_in_repeated_trials():
    """300 trials of one design: the scatter of the two effects is the covariance that each estimates."""
    trials = [wandering_trial(150, seed=seed, strata=1) for seed in range(300)]
    units = effects_of_trials(trials)
    seen = np.cov(units.on_marker, units.on_outcome)
    said = units.covariance.mean(axis=0)
    assert said[0, 0] == pytest.approx(seen[0, 0], rel=0.25)
    assert said[1, 1] == pytest.approx(seen[1, 1], rel=0.25)
    assert said[0, 1] / math.sqrt(said[0, 0] * said[1, 1]) == pytest.approx(
        seen[0, 1] / math.sqrt(seen[0, 0] * seen[1, 1]), abs=0.15
    )


def test_trials_that_move_the_marker_more_save_more_where_the_marker_carries_the_effect():
    trials = [
        carried_trial(2000, through=-0.15 * k, direct=0.0, events=0.2, seed=k) for k in range(10)
    ]  # fmt: skip
    found = trial_level(effects_of_trials(trials, [f"dose {k}" for k in range(10)]))
    assert found.effects.names[3] == "dose 3"
    assert found.r_squared.estimate > 0.8
    # the slope of the hazards: 0.7 of log hazard per doubling
    assert found.slope.low < -0.7 < found.slope.high
    assert 1.0 < found.threshold.estimate < 2 ** (0.15 * 9 / 0.7)


def test_effects_that_do_not_fit_together_are_a_mistake():
    units = _units(6)
    with pytest.raises(UserError, match="effects of 6 units need 6 of each number"):
        replace(units, on_marker=units.on_marker[:5])
    with pytest.raises(UserError, match="must be known numbers"):
        replace(units, on_outcome=np.full(6, np.nan))
    with pytest.raises(UserError, match="1 names for 0 trials"):
        effects_of_trials([], ["a"])
