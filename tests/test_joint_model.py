"""The joint model of a marker and an event: its likelihood against quadrature by brute force, the two halves
against statsmodels, its estimates against the truth that simulated data were made with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from equipoise.analyse import cox
from equipoise.analyse.joint import NotDefinedError, joint_measures, joint_model
from equipoise.analyse.joint.layout import laid_out
from equipoise.analyse.joint.likelihood import Nodes, Parameters, log_likelihood_and_scores
from equipoise.analyse.surrogate import MarkedTrial
from equipoise.errors import UserError

TRUE = {
    "level": 16.0, "slope": -1.5, "difference": 2.0, "sd": (4.0, 1.5), "correlation": -0.2, "residual": 2.0,
    "arm": 0.3, "association": -0.25, "hazard": 8.0,
}  # fmt: skip


def made(n: int, seed: int, **changed) -> MarkedTrial:
    """A trial that follows the model, with a constant baseline hazard: the time at which the cumulative
    hazard reaches a standard exponential number has a closed form."""
    true = TRUE | changed
    draw = np.random.default_rng(seed)
    treated = np.arange(n) % 2 == 1
    u, r = draw.standard_normal((n, 2)), true["correlation"]
    b0 = true["level"] + true["sd"][0] * u[:, 0]
    b1 = true["slope"] + true["difference"] * treated
    b1 = b1 + true["sd"][1] * (r * u[:, 0] + np.sqrt(1 - r * r) * u[:, 1])
    growth = true["association"] * b1
    at_start = true["hazard"] * np.exp(true["arm"] * treated + true["association"] * b0)
    left = 1 + growth * draw.exponential(size=n) / at_start
    with np.errstate(divide="ignore", invalid="ignore"):
        died = np.where(left > 0, np.log(left) / growth, np.inf)
    censored = draw.uniform(1.0, 3.0, n)
    time = np.minimum(died, censored)
    who, at = np.nonzero(np.arange(0, 3, 0.5) <= time[:, None])
    value = b0[who] + b1[who] * at * 0.5 + true["residual"] * draw.standard_normal(len(who))
    return MarkedTrial(
        treated, time, died <= censored, np.zeros(n, np.int64), np.full(n, ""), who, at * 0.5, value,
        "new", "old", "death", "CD4", "cells/mm3",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trial() -> MarkedTrial:
    return made(1200, 7)


@pytest.fixture(scope="module")
def fit(trial):
    return joint_model(trial, transform="as is", cuts=(1.0,))


def _some_parameters(q: int, p: int) -> Parameters:
    beta = np.array([15.0, -1.0, 0.8, 1.5, -0.7])[:p]
    return Parameters(beta, 0.6, np.array([[3.5, 0.0], [-0.6, 1.2]]), 0.4, -0.3, np.linspace(1.5, 2.5, q))


def _by_brute_force(
    trial: MarkedTrial, at: Parameters, bend: float, cuts: tuple[float, ...], i: int
) -> float:
    """log of the integral over level and slope of the density of one participant's data, on a fine grid; the
    cumulative hazard by adaptive quadrature of the hazard as it is written in the docstring."""
    w, end = float(trial.treated[i]), float(trial.time[i])
    mine = trial.who == i

    def mean(t):
        late = np.maximum(t - bend, 0.0)
        return at.beta[0] + t * (at.beta[1] + w * at.beta[3]) + late * (at.beta[2] + w * at.beta[4])

    def baseline(t):
        return np.exp(at.log_hazard[sum(t > c for c in cuts)] + at.gamma * w + at.alpha * mean(t))

    covariance = at.L @ at.L.T
    axes = [np.linspace(-8, 8, 129) * np.sqrt(covariance[k, k]) for k in (0, 1)]
    b0, b1 = np.meshgrid(*axes, indexing="ij")
    inverse = np.linalg.inv(covariance)
    log_density = -0.5 * (inverse[0, 0] * b0**2 + 2 * inverse[0, 1] * b0 * b1 + inverse[1, 1] * b1**2)
    log_density -= np.log(2 * np.pi) + 0.5 * np.log(np.linalg.det(covariance))
    sigma = np.exp(at.log_sigma)
    for t, y in zip(trial.at[mine], trial.value[mine], strict=True):
        log_density += -0.5 * ((y - mean(t) - b0 - b1 * t) / sigma) ** 2 - np.log(sigma * np.sqrt(2 * np.pi))
    breaks = [c for c in (*cuts, bend) if c < end]
    by_slope = [
        quad(lambda t, s=s: baseline(t) * np.exp(at.alpha * s * t), 0, end, points=breaks or None)[0]
        for s in axes[1]
    ]
    log_density -= np.exp(at.alpha * b0) * np.array(by_slope)[None, :]
    if trial.event[i]:
        log_density += np.log(baseline(end)) + at.alpha * (b0 + b1 * end)
    cell = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    return float(np.log(np.exp(log_density).sum() * cell))


def test_the_likelihood_is_the_integral_that_it_claims_to_be(trial):
    few = made(16, 4)
    kept = few.who != 2  # participant 2 has no measurement at all
    few = replace(few, who=few.who[kept], at=few.at[kept], value=few.value[kept])
    assert set(few.event) == {True, False}
    cuts = (0.25, 0.9)
    data = laid_out(few, (0.5,), cuts, 3)
    at = _some_parameters(3, 5)
    expected = [_by_brute_force(few, at, 0.5, cuts, i) for i in range(16)]
    found, _ = log_likelihood_and_scores(at.vector(), data, Nodes.of(25))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    usual, _ = log_likelihood_and_scores(at.vector(), data, Nodes.of(9))
    np.testing.assert_allclose(usual, expected, atol=2e-3)


def test_the_score_is_the_slope_of_the_likelihood(trial):
    data = laid_out(trial, (0.5,), (0.5, 1.0), 3)
    vector, nodes = _some_parameters(3, 5).vector(), Nodes.of(25)
    _, scores = log_likelihood_and_scores(vector, data, nodes)
    for k in range(len(vector)):
        step = np.zeros(len(vector))
        step[k] = 1e-5
        up, down = (log_likelihood_and_scores(vector + s, data, nodes)[0] for s in (step, -step))
        np.testing.assert_allclose(scores[:, k], (up - down) / 2e-5, atol=2e-3)


def test_known_parameters_are_found_again(fit):
    assert fit.converged
    assert fit.warnings == ()
    true = {
        "at randomisation": TRUE["level"], "slope per year": TRUE["slope"],
        "difference of slope per year": TRUE["difference"],
    }  # fmt: skip
    for name, value in true.items():
        assert abs(fit.fixed[name].value - value) < 3 * fit.fixed[name].se
    assert abs(fit.log_hazard_arm.value - TRUE["arm"]) < 3 * fit.log_hazard_arm.se < 0.4
    assert abs(fit.association.value - TRUE["association"]) < 3 * fit.association.se < 0.06
    assert fit.random_sd == pytest.approx(TRUE["sd"], rel=0.08)
    assert fit.residual_sd == pytest.approx(TRUE["residual"], rel=0.04)
    assert fit.random_correlation == pytest.approx(TRUE["correlation"], abs=0.1)
    assert np.log(fit.baseline_hazard) == pytest.approx(np.log([TRUE["hazard"]] * 2), abs=0.6)


def test_the_latest_measured_value_underrates_the_marker_and_the_joint_model_does_not(trial, fit):
    """Measurement error weakens the relation (Prentice, Biometrika 1982;69:331-42); here by about a fifth."""
    rows = trial.spells()
    X = np.column_stack([trial.treated[rows.who], rows.value])
    latest = cox(rows.stop, rows.event, X, entry=rows.start).coefficients[1]
    assert TRUE["association"] + 0.03 < latest < 0
    assert fit.association.value == pytest.approx(TRUE["association"], abs=0.03)


def test_estimates_scatter_as_their_standard_errors_say():
    """Twelve small trials: the standardised errors of arm and association have mean 0 and variance 1, as far
    as twelve can tell (both tests at about 1 in 1,000)."""
    fits = [joint_model(made(200, 100 + k), transform="as is", cuts=()) for k in range(12)]
    for true, estimates in (
        (TRUE["arm"], [f.log_hazard_arm for f in fits]),
        (TRUE["association"], [f.association for f in fits]),
    ):
        z = np.array([(e.value - true) / e.se for e in estimates])
        assert abs(z.mean()) < 3.3 / np.sqrt(12)
        assert 2.2 < (z**2).sum() < 32.9


def test_the_halves_apart_are_the_models_of_statsmodels():
    """Its mixed model, and its Poisson regression of events on time at risk."""
    import statsmodels.api as sm

    trial = made(300, 8)
    fit = joint_model(trial, transform="as is", cuts=(1.0,))
    X = np.column_stack([np.ones(len(trial.at)), trial.at, trial.at * trial.treated[trial.who]])
    Z = np.column_stack([np.ones(len(trial.at)), trial.at])
    mixed = sm.MixedLM(trial.value, X, trial.who, exog_re=Z).fit(reml=False, method="lbfgs")
    rows = [
        (died and low < time <= high, min(high, time) - low, k, treated)
        for died, time, treated in zip(trial.event, trial.time, trial.treated, strict=True)
        for k, (low, high) in enumerate(((0.0, 1.0), (1.0, np.inf)))
        if time > low
    ]  # fmt: skip
    event, exposure, interval, arm = (np.array(column, float) for column in zip(*rows, strict=True))
    rates = sm.GLM(
        event,
        np.column_stack([interval == 0, interval == 1, arm]).astype(float),
        sm.families.Poisson(),
        exposure=exposure,
    ).fit()
    mine = fit.apart
    assert [e.value for e in mine.fixed.values()] == pytest.approx(mixed.fe_params, abs=2e-4)
    assert [e.se for e in mine.fixed.values()] == pytest.approx(mixed.bse_fe, rel=2e-3)
    assert mine.log_hazard_arm.value == pytest.approx(rates.params[2], abs=1e-5)
    assert mine.log_hazard_arm.se == pytest.approx(rates.bse[2], rel=1e-4)
    poisson = rates.llf - float((event * np.log(exposure)).sum())  # of the times, not of the counts
    assert mine.log_likelihood == pytest.approx(mixed.llf + poisson, abs=1e-3)
    assert fit.log_likelihood > mine.log_likelihood + 25


def test_another_unit_of_the_marker_changes_nothing_else(trial, fit):
    other = joint_model(replace(trial, value=10 * trial.value + 30), transform="as is", cuts=(1.0,))
    assert other.association.value == pytest.approx(fit.association.value / 10, rel=1e-6)
    assert other.association.se == pytest.approx(fit.association.se / 10, rel=1e-4)
    assert other.log_hazard_arm.value == pytest.approx(fit.log_hazard_arm.value, abs=1e-6)
    assert other.fixed["at randomisation"].value == pytest.approx(
        10 * fit.fixed["at randomisation"].value + 30, rel=1e-7
    )
    assert other.log_likelihood == pytest.approx(fit.log_likelihood - fit.measurements * np.log(10), abs=1e-6)
    shifted = np.log(fit.baseline_hazard) - 3 * fit.association.value
    assert np.log(other.baseline_hazard) == pytest.approx(shifted, abs=1e-6)
    last = -1  # of a baseline hazard: its standard error is that of a marker of 0
    change = np.zeros(len(fit.names))
    change[last], change[fit.names.index("association")] = 1.0, -3.0
    assert other.covariance[last, last] == pytest.approx(change @ fit.covariance @ change, rel=1e-4)


def test_people_who_all_fall_alike_are_said_to_and_the_fit_still_stands():
    alike = joint_model(made(300, 10, sd=(4.0, 0.0)), transform="as is", cuts=(1.0,))
    assert alike.converged
    assert any("do not differ in level and slope both" in said for said in alike.warnings)
    assert abs(alike.association.value - TRUE["association"]) < 3 * alike.association.se


def test_a_model_that_the_data_do_not_identify_gives_no_standard_errors_and_says_so():
    """Values exactly on each participant's line: the likelihood rises for ever as the residual shrinks."""
    fit = joint_model(made(300, 2, residual=0.0), transform="as is", cuts=())
    assert not fit.converged
    assert "did not converge" in fit.warnings[0]
    assert np.isnan(fit.log_hazard_arm.se)
    assert np.isnan(fit.association.p_value)


def test_values_after_the_event_and_people_without_any_are_counted():
    trial = made(300, 4)
    late = replace(trial, time=np.where(np.arange(300) == 0, 0.2, trial.time))
    dropped = int(((trial.who == 0) & (trial.at > 0.2)).sum())
    assert dropped > 0
    without = late.who != 1
    late = replace(late, who=late.who[without], at=late.at[without], value=late.value[without])
    fit = joint_model(late, transform="as is", cuts=())
    assert f"{dropped} values of CD4 were measured after the event" in fit.warnings[0]
    assert fit.warnings[1].startswith("1 participants have no value of CD4")
    assert fit.measurements == without.sum() - dropped


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"treated": np.ones(60, bool)}, {}, "nobody is in old"),
        ({"event": np.zeros(60, bool)}, {}, "no death in new"),
        ({"who": np.zeros(0, int), "at": np.zeros(0), "value": np.zeros(0)}, {}, "no two different values"),
        ({}, {"cuts": (1.0, 1.0001)}, "no event between 1 and 1 "),
        ({}, {"cuts": (1.0, 0.5)}, "must rise and be above 0"),
        ({}, {"bends": (9.0,)}, "may bend at rising times between 0 and the last measurement"),
        ({}, {"intervals": 0}, "at least one interval"),
        ({}, {"nodes": 2}, "at least 3 quadrature nodes"),
        ({}, {"transform": "cube"}, 'not "cube"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_the_model_is_not_defined_for_is_refused(changed, options, message):
    trial = replace(made(60, 5), **changed)
    with pytest.raises(UserError, match=message):
        joint_model(trial, **({"transform": "as is"} | options))


def test_one_value_each_is_refused():
    trial = made(60, 5)
    first = trial.at == 0
    trial = replace(trial, who=trial.who[first], at=trial.at[first], value=trial.value[first])
    with pytest.raises(UserError, match="two or more values of CD4"):
        joint_model(trial, transform="as is")


def test_as_measures_of_a_surrogate_the_hazard_ratios_and_their_intervals(trial, fit):
    arm, marker = joint_measures(trial, transform="as is", intervals=2, confidence=0.9)
    assert (arm.name, marker.name) == ("joint.arm", "joint.marker")
    assert "new against old, at the same true CD4" in arm.label
    assert marker.label == "per cells/mm3 of CD4, its true current value"
    assert arm.estimate == pytest.approx(np.exp(fit.log_hazard_arm.value), abs=0.02)  # other cuts
    assert arm.low == pytest.approx(np.exp(np.log(arm.estimate) - 1.6449 * arm.se), rel=1e-4)
    assert marker.se == pytest.approx(fit.association.se, rel=0.03)
    assert marker.p < 1e-10


def test_a_measure_that_cannot_be_had_says_why():
    trial = made(60, 5)
    arm, _ = joint_measures(replace(trial, event=trial.event & ~trial.treated), transform="as is")
    assert arm.refused == "a joint model needs events in both arms; there is no death in new"
    assert np.isnan(arm.estimate)
    _, marker = joint_measures(made(300, 2, residual=0.0), transform="as is", intervals=1)
    assert "did not converge" in marker.refused
    with pytest.raises(UserError, match="may bend") as caught:
        joint_measures(trial, transform="as is", bends=(9.0,))
    assert not isinstance(caught.value, NotDefinedError)
