"""Cox, log-rank, Kaplan-Meier and restricted means against definitions written out, and against others."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.analyse import survival
from equipoise.errors import UserError

# --- the definitions, slowly ------------------------------------------------------------------------------


def partial_likelihood(beta, time, event, X, strata, entry, ties):
    """Log likelihood, score and information, straight from the definition, one event time at a time."""
    p = X.shape[1]
    loglik, U, J = 0.0, np.zeros(p), np.zeros((p, p))
    for s in np.unique(strata):
        for t in np.unique(time[(strata == s) & event]):
            at_risk = (strata == s) & (time >= t) & (entry < t)
            dying = (strata == s) & (time == t) & event
            w = np.exp(X @ beta)
            d = int(dying.sum())
            loglik += float((X[dying] @ beta).sum())
            U += X[dying].sum(axis=0)
            for l in range(d):
                share = l / d if ties == "efron" else 0.0
                v = w * at_risk - share * w * dying
                total = v.sum()
                mean = (v[:, None] * X).sum(axis=0) / total
                loglik -= math.log(total)
                U -= mean
                J += (X.T * v) @ X / total - np.outer(mean, mean)
    return loglik, U, J


def slow_cox(time, event, X, strata, entry, ties):
    beta = np.zeros(X.shape[1])
    for _ in range(60):
        loglik, U, J = partial_likelihood(beta, time, event, X, strata, entry, ties)
        step = np.linalg.solve(J, U)
        beta = beta + step
        if np.abs(step).max() < 1e-14:
            break
    loglik, U, J = partial_likelihood(beta, time, event, X, strata, entry, ties)
    return beta, np.sqrt(np.diag(np.linalg.inv(J))), loglik


def slow_score_residuals(beta, time, event, X, strata, entry, ties):
    """Each row's own contribution to the score, Efron's weights for those who die together."""
    R = np.zeros_like(X)
    w = np.exp(X @ beta)
    for s in np.unique(strata):
        for t in np.unique(time[(strata == s) & event]):
            at_risk = (strata == s) & (time >= t) & (entry < t)
            dying = (strata == s) & (time == t) & event
            d = int(dying.sum())
            for l in range(d):
                share = l / d if ties == "efron" else 0.0
                weight = at_risk - share * dying
                total = (w * weight).sum()
                mean = ((w * weight)[:, None] * X).sum(axis=0) / total
                R += (dying / d)[:, None] * (X - mean) - (weight * w / total)[:, None] * (X - mean)
    return R


def slow_logrank(time, event, group, strata, rho, gamma):
    labels = np.unique(group)
    score, V = np.zeros(len(labels)), np.zeros((len(labels), len(labels)))
    for s in np.unique(strata):
        S = 1.0
        for t in np.unique(time[(strata == s) & event]):
            at_risk = (strata == s) & (time >= t)
            dying = (strata == s) & (time == t) & event
            n, d = at_risk.sum(), dying.sum()
            weight = S**rho * (1 - S) ** gamma
            share = np.array([(at_risk & (group == g)).sum() / n for g in labels])
            seen = np.array([(dying & (group == g)).sum() for g in labels])
            score += weight * (seen - d * share)
            if n > 1:
                V += weight**2 * d * (n - d) / (n - 1) * (np.diag(share) - np.outer(share, share))
            S *= 1 - d / n
    return score, V


def people(n, seed, decimals, covariates=1, n_strata=1, late=False):
    """A made-up trial; `decimals` = -1 or less makes many ties."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [(np.arange(n) % 2).astype(float)] + [rng.normal(size=n) for _ in range(covariates - 1)]
    )
    strata = rng.integers(0, n_strata, n)
    until = rng.exponential(60 * np.exp(-0.4 * X[:, 0] + 0.3 * X[:, -1]))
    censored = rng.uniform(5, 100, n)
    time = np.round(np.minimum(until, censored), decimals)
    event = until <= censored
    time = np.maximum(time, 10.0**-decimals if decimals < 0 else 1e-3)
    entry = np.full(n, -1.0)
    if late:
        entry = np.round(time * rng.uniform(0, 0.7, n), decimals)
        entry = np.where(entry >= time, time - 10.0**-decimals, entry)
    return time, event, X, strata, entry


SHAPES = [
    pytest.param(9, 1, 1, False, id="no ties"),
    pytest.param(-1, 1, 1, False, id="heavy ties"),
    pytest.param(-1, 3, 4, False, id="heavy ties, three covariates, four strata"),
    pytest.param(9, 3, 4, True, id="late entry, three covariates, four strata"),
    pytest.param(-1, 2, 3, True, id="late entry, heavy ties, strata"),
]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(("decimals", "covariates", "n_strata", "late"), SHAPES)
def test_cox_follows_its_definition_to_ten_digits(decimals, covariates, n_strata, late, ties):
    time, event, X, strata, entry = people(160, 5, decimals, covariates, n_strata, late)
    beta, se, loglik = slow_cox(time, event, X, strata, entry, ties)
    fit = survival.cox(time, event, X, strata, ties, entry if late else None)
    assert fit.undefined is None
    np.testing.assert_allclose(fit.coefficients, beta, rtol=0, atol=1e-10)
    np.testing.assert_allclose(fit.standard_errors, se, rtol=1e-10)
    assert fit.log_likelihood == pytest.approx(loglik, abs=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(("decimals", "covariates", "n_strata", "late"), SHAPES)
def test_robust_variance_follows_its_definition(decimals, covariates, n_strata, late, ties):
    time, event, X, strata, entry = people(160, 6, decimals, covariates, n_strata, late)
    owner = np.arange(160) // 3
    fit = survival.cox(time, event, X, strata, ties, entry if late else None, cluster=owner)
    R = slow_score_residuals(fit.coefficients, time, event, X, strata, entry, ties)
    D = np.array([R[owner == o].sum(axis=0) for o in np.unique(owner)]) @ fit.covariance
    np.testing.assert_allclose(fit.robust_covariance, D.T @ D, rtol=1e-9)
    np.testing.assert_allclose(R.sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("decimals", [9, -1])
def test_cox_agrees_with_statsmodels(decimals, ties):
    from statsmodels.duration.hazard_regression import PHReg

    time, event, X, strata, entry = people(400, 7, decimals, 2, 3, late=True)
    # where an entry equals an event time statsmodels counts [entry, time], and we (entry, time]
    time, entry = time + 2, entry + 1.75
    theirs = PHReg(time, X, status=event, strata=strata, entry=entry, ties=ties).fit(
        disp=0, method="newton", tol=1e-14
    )
    mine = survival.cox(time, event, X, strata, ties, entry)
    np.testing.assert_allclose(mine.coefficients, theirs.params, atol=1e-10)
    np.testing.assert_allclose(mine.standard_errors, theirs.bse, rtol=1e-9)


def test_cox_agrees_with_scikit_survival_and_lifelines():
    from lifelines import CoxPHFitter
    from lifelines.datasets import load_rossi
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    rossi = load_rossi()
    names = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
    mine = survival.cox(rossi["week"], rossi["arrest"], rossi[names])
    lifelines = CoxPHFitter().fit(rossi, "week", "arrest")
    np.testing.assert_allclose(mine.coefficients, lifelines.params_[names], atol=1e-6)
    np.testing.assert_allclose(mine.standard_errors, lifelines.standard_errors_[names], rtol=1e-6)
    sksurv = CoxPHSurvivalAnalysis(ties="efron", tol=1e-14, n_iter=200).fit(
        rossi[names].to_numpy(float), Surv.from_arrays(rossi["arrest"] == 1, rossi["week"])
    )
    np.testing.assert_allclose(mine.coefficients, sksurv.coef_, atol=1e-10)
    # Fox, Cox Proportional-Hazards Regression for Survival Data (2002), table on page 7
    np.testing.assert_allclose(mine.coefficients[[0, 1, 6]], [-0.3794, -0.0574, 0.0915], atol=5e-5)


def test_the_two_arm_core_agrees_with_the_general_model():
    for decimals, n_strata in [(0, 1), (-1, 1), (0, 3), (-1, 3), (0, 6), (-1, 6)]:
        time, event, X, strata, _ = people(500, 11, decimals, 1, n_strata)
        time = np.round(time)
        args = (
            time.astype(np.int32),
            event.astype(np.uint8),
            X[:, 0].astype(np.uint8),
            strata.astype(np.int32),
            n_strata,
        )
        beta, se, converged, loglik = survival.cox_binary(*args)
        fit = survival.cox(time, event, X, strata)
        assert converged
        assert beta == pytest.approx(fit.coefficients[0], abs=1e-11)
        assert se == pytest.approx(fit.standard_errors[0], rel=1e-11)
        assert loglik == pytest.approx(
            slow_cox(time, event, X, strata, np.full(500, -1.0), "efron")[2], abs=1e-8
        )
        difference, variance = survival.logrank_binary(*args)
        test = survival.logrank(time, event, X[:, 0], strata)
        assert difference == pytest.approx(test.score[1], abs=1e-10)
        assert variance == pytest.approx(test.variance[1, 1], rel=1e-11)


@pytest.mark.parametrize(("rho", "gamma"), [(0, 0), (1, 0), (0, 1), (0.5, 2)])
@pytest.mark.parametrize("decimals", [9, -1])
def test_logrank_follows_its_definition(decimals, rho, gamma):
    time, event, _, strata, _ = people(200, 3, decimals, 1, 3)
    group = np.random.default_rng(0).integers(0, 3, 200)
    mine = survival.logrank(time, event, group, strata, rho=rho, gamma=gamma)
    score, V = slow_logrank(time, event, group, strata, rho, gamma)
    np.testing.assert_allclose(mine.score, score, atol=1e-11)
    np.testing.assert_allclose(mine.variance, V, atol=1e-11)
    assert mine.df == 2
    assert mine.chi_square == pytest.approx(float(score @ np.linalg.pinv(V) @ score), rel=1e-10)


def test_logrank_agrees_with_lifelines_and_scikit_survival():
    from lifelines.datasets import load_waltons
    from lifelines.statistics import logrank_test, multivariate_logrank_test
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    mice = load_waltons()
    mine = survival.logrank(mice["T"], mice["E"], mice["group"])
    theirs = multivariate_logrank_test(mice["T"], mice["group"], mice["E"])
    chi_square, p_value = compare_survival(Surv.from_arrays(mice["E"] == 1, mice["T"]), mice["group"])
    assert mine.chi_square == pytest.approx(chi_square, rel=1e-10)
    assert mine.chi_square == pytest.approx(theirs.test_statistic, rel=1e-10)
    assert mine.p_value == pytest.approx(p_value, rel=1e-8)
    mi = mice["group"] == "miR-137"
    weighted = logrank_test(
        mice["T"][mi], mice["T"][~mi], mice["E"][mi], mice["E"][~mi],
        weightings="fleming-harrington", p=1, q=0,
    )  # fmt: skip
    peto = survival.logrank(mice["T"], mice["E"], mice["group"], rho=1)
    assert peto.chi_square == pytest.approx(weighted.test_statistic, rel=1e-8)


def test_the_leukaemia_trial_of_1963_comes_out_as_printed():
    """Freireich et al., Blood 1963; Cox 1972: chi-square 16.79, log hazard ratio 1.57 (0.412)."""
    six_mp = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    observed = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    time = six_mp + placebo
    event = observed + [1] * 21
    arm = [0] * 21 + [1] * 21
    test = survival.logrank(time, event, arm)
    assert round(test.chi_square, 2) == 16.79
    assert test.expected.round(2).tolist() == [19.25, 10.75]
    efron, breslow = (survival.cox(time, event, arm, ties=t) for t in ("efron", "breslow"))
    assert round(float(efron.coefficients[0]), 4) == 1.5721
    assert round(float(efron.standard_errors[0]), 4) == 0.4124
    assert round(float(breslow.coefficients[0]), 4) == 1.5092
    assert round(float(breslow.standard_errors[0]), 4) == 0.4096
    curve = survival.kaplan_meier(six_mp, observed)
    at_10 = int(np.searchsorted(curve.times, 10))
    assert curve.at_risk[at_10] == 15
    assert round(float(curve.survival[at_10]), 3) == 0.753
    assert round(float(curve.se[at_10]), 4) == 0.0963


def test_kaplan_meier_agrees_with_lifelines():
    from lifelines import KaplanMeierFitter

    time, event, *_ = people(300, 2, -1)
    mine = survival.kaplan_meier(time, event)
    theirs = KaplanMeierFitter().fit(time, event)
    np.testing.assert_allclose(mine.survival, theirs.survival_function_.loc[mine.times].to_numpy()[:, 0])
    interval = theirs.confidence_interval_.loc[mine.times].to_numpy()
    stepped = mine.survival < 1
    np.testing.assert_allclose(mine.lower[stepped], interval[stepped, 0], rtol=1e-8)
    np.testing.assert_allclose(mine.upper[stepped], interval[stepped, 1], rtol=1e-8)


def test_number_at_risk_counts_those_who_leave_that_day():
    curve = survival.kaplan_meier([5, 5, 8, 10], [1, 0, 1, 0])
    assert [curve.number_at_risk(t) for t in (0, 5, 6, 8, 10, 11)] == [4, 4, 2, 2, 1, 0]


def test_restricted_mean_agrees_with_lifelines():
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    time, event, *_ = people(300, 2, 9)
    theirs = restricted_mean_survival_time(KaplanMeierFitter().fit(time, event), t=60)
    mine = survival.restricted_mean(survival.kaplan_meier(time, event), 60)
    assert mine.estimate == pytest.approx(theirs, rel=1e-9)
    # the variance by its definition (Klein & Moeschberger 2003, eq. 4.5.2)
    curve = survival.kaplan_meier(time, event)
    variance = 0.0
    for t, n, d in zip(curve.times, curve.at_risk, curve.events, strict=True):
        if t < 60:
            grid = np.concatenate(([t], curve.times[(curve.times > t) & (curve.times < 60)], [60.0]))
            area = sum(curve.at(a)[0] * (b - a) for a, b in itertools.pairwise(grid))
            variance += area**2 * d / (n * (n - d))
    assert mine.se == pytest.approx(math.sqrt(variance), rel=1e-9)
    beyond = survival.restricted_mean(curve, 10_000)
    assert math.isnan(beyond.estimate)


def test_non_proportional_hazards_are_noticed():
    rng = np.random.default_rng(4)
    n = 4000
    arm = np.arange(n) % 2
    steady = rng.exponential(900, n)
    crossing = np.where(arm == 1, 900 * rng.weibull(2.0, n), steady)
    stays, _ = survival.proportional_hazards(np.ceil(steady), np.ones(n, int), arm)
    crosses, p = survival.proportional_hazards(np.ceil(crossing), np.ones(n, int), arm)
    assert stays < 10 < 100 < crosses
    assert p < 1e-6


# --- where there is no estimate ---------------------------------------------------------------------------


def test_an_arm_without_events_gives_a_reason_and_no_number():
    time, event, X, _, _ = people(100, 1, 0)
    event = event & (X[:, 0] == 0)
    fit = survival.cox(time, event, X)
    assert math.isnan(fit.coefficients[0])
    assert fit.undefined == survival.ONE_SIDED
    test = survival.logrank(time, event, X[:, 0])
    assert test.undefined is None
    assert test.chi_square > 0


def test_no_events_at_all_give_a_reason():
    fit = survival.cox([1.0, 2, 3], [0, 0, 0], [0, 1, 0])
    assert fit.undefined == survival.NO_EVENTS
    assert survival.logrank([1.0, 2, 3], [0, 0, 0], [0, 1, 0]).undefined == survival.NO_EVENTS


def test_arms_never_seen_together_give_a_reason():
    fit = survival.cox([1.0, 2, 3, 4], [1, 1, 1, 1], [0, 1, 0, 1], strata=[0, 1, 0, 1])
    assert fit.undefined == survival.NO_COMPARISON
    test = survival.logrank([1.0, 2, 3, 4], [1, 1, 1, 1], [0, 1, 0, 1], strata=[0, 1, 0, 1])
    assert test.undefined == survival.NO_COMPARISON


def test_a_covariate_that_separates_the_events_gives_a_reason():
    time, event, X, _, _ = people(200, 9, 0, 3)
    X[:, 2] = event
    assert survival.cox(time, event, X).undefined == survival.MONOTONE


def test_covariates_that_repeat_each_other_give_a_reason():
    time, event, X, _, _ = people(200, 9, 0, 2)
    twice = np.column_stack([X, X[:, 0] + 2 * X[:, 1]])
    assert survival.cox(time, event, twice).undefined == survival.DEPENDENT


def test_a_very_large_but_finite_effect_is_still_estimated():
    time = np.concatenate([np.arange(1, 101), np.arange(1, 101) * 1000 + 0.5])
    event = np.ones(200, int)
    arm = np.repeat([1, 0], 100)
    event[150] = 1
    time[150] = 2.5
    fit = survival.cox(time, event, arm)
    assert fit.undefined is None
    beta, _, _ = slow_cox(
        time, event == 1, arm[:, None].astype(float), np.zeros(200), np.full(200, -1.0), "efron"
    )
    assert fit.coefficients[0] == pytest.approx(beta[0], abs=1e-9)
    assert fit.coefficients[0] > 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": [-1.0, 2, 3]}, "row 1 has -1"),
        ({"time": [math.nan, 2, 3]}, "a time is missing"),
        ({"event": [0, 2, 1]}, "events must be 0"),
        ({"entry": [0, 5, 0]}, "row 2 has 5 to 2"),
        ({"X": [[1.0], [math.nan], [0]]}, "a value is missing"),
        ({"strata": [0, 1]}, "strata"),
        ({"ties": "exact"}, "ties"),
    ],
)
def test_impossible_input_is_refused_in_words(change, message):
    good = {"time": [1.0, 2, 3], "event": [1, 0, 1], "X": [[0.0], [1], [0]]}
    with pytest.raises(UserError, match=message):
        survival.cox(**(good | change))


@settings(max_examples=60)
@given(st.data())
def test_any_small_trial_agrees_with_the_definition_or_says_why_not(data):
    n = data.draw(st.integers(2, 14))
    whole = st.integers(0, 6)
    time = np.array(data.draw(st.lists(whole, min_size=n, max_size=n)), float)
    event = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    arm = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    strata = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    args = (time.astype(np.int32), event.astype(np.uint8), arm.astype(np.uint8), strata.astype(np.int32), 3)
    beta, se, converged, _ = survival.cox_binary(*args)
    difference, variance = survival.logrank_binary(*args)
    test = survival.logrank(time, event, arm, strata)
    if len(test.labels) == 2:
        assert difference == pytest.approx(test.score[1], abs=1e-12)
        assert variance == pytest.approx(test.variance[1, 1], abs=1e-12)
    X = arm[:, None].astype(float)
    if converged:
        _, U, J = partial_likelihood(np.array([beta]), time, event, X, strata, np.full(n, -1.0), "efron")
        assert U[0] == pytest.approx(0, abs=1e-9)
        assert se == pytest.approx(1 / math.sqrt(J[0, 0]), rel=1e-9)
    else:
        ends = [
            partial_likelihood(np.array([b]), time, event, X, strata, np.full(n, -1.0), "efron")[1][0]
            for b in (-40.0, 40.0)
        ]
        assert min(abs(e) for e in ends) < 1e-9


def test_late_entry_does_not_wear_out_precision():
    time, event, X, strata, entry = people(4000, 12, 2, 2, 2, late=True)
    table = pd.DataFrame({"t": time, "e": event, "s": strata, "n": entry, "a": X[:, 0], "b": X[:, 1]})
    shuffled = table.sample(frac=1, random_state=0)
    first = survival.cox(time, event, X, strata, "efron", entry)
    again = survival.cox(
        shuffled["t"], shuffled["e"], shuffled[["a", "b"]], shuffled["s"], "efron", shuffled["n"]
    )
    np.testing.assert_allclose(first.coefficients, again.coefficients, atol=1e-12)


def test_a_hundred_thousand_events_still_converge():
    rng = np.random.default_rng(8)
    n = 200_000
    arm = (np.arange(n) % 2).astype(np.uint8)
    day = np.ceil(rng.exponential(900 * np.exp(0.3 * arm))).astype(np.int32)
    event = (day < 2_000).astype(np.uint8)
    day = np.minimum(day, 2_000)
    beta, se, converged, _ = survival.cox_binary(day, event, arm, np.zeros(n, np.int32), 1)
    assert converged
    fit = survival.cox(day, event, np.column_stack([arm, rng.normal(size=n)]), entry=np.full(n, -0.5))
    assert fit.undefined is None
    assert fit.iterations < 12
    assert beta == pytest.approx(-0.3, abs=4 * se)
    assert fit.coefficients[0] == pytest.approx(beta, abs=1e-4)
