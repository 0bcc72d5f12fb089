"""Measures of a surrogate where the truth is known, against other software, and refused where need be."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from equipoise.analyse import cox
from equipoise.analyse.surrogate import (
    expected_hazard_ratio,
    fieller,
    freedman,
    individual_level,
    landmarks,
    lin,
    prentice,
    time_varying,
)
from equipoise.analyse.surrogate.marker_effect import marker_effect
from equipoise.analyse.surrogate.resampling import draws, refitted, sorted_rows
from equipoise.analyse.surrogate.rows import influence, rows_at_risk
from equipoise.analyse.surrogate.scale import on_scale
from equipoise.errors import UserError
from surrogate_example import carried_trial, wandering_trial


@pytest.fixture(scope="module")
def wandering():
    return wandering_trial(400)


@pytest.fixture(scope="module")
def half_carried():
    return carried_trial(60_000, through=-0.6, direct=-0.6)


# --- the truth is known -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("through", "direct"), [(-0.6, -0.6), (-1.0, 0.0), (0.0, -1.0), (-0.6, 0.3)])
def test_the_share_is_found_that_the_marker_carries(through, direct):
    trial = carried_trial(60_000, through=through, direct=direct, seed=5)
    share = lin(trial)
    truth = through / (through + direct)
    assert share.fieller.estimate == pytest.approx(truth, abs=3 * share.fieller.se)
    assert share.fieller.low < truth < share.fieller.high
    assert math.log(share.adjusted.estimate) == pytest.approx(direct, abs=3 * share.adjusted.se)
    by_odds = freedman(trial, marker_at=0.01, horizon=4.0)
    assert by_odds.fieller.estimate == pytest.approx(truth, abs=3 * by_odds.fieller.se)


def test_the_expected_hazard_ratio_is_what_the_marker_carries(half_carried):
    found = expected_hazard_ratio(half_carried)
    assert math.log(found.slope.estimate) == pytest.approx(-0.7, abs=3 * found.slope.se)
    assert math.log(found.expected.estimate) == pytest.approx(-0.6, abs=3 * found.expected.se)
    assert math.log(found.observed_over_expected.estimate) == pytest.approx(
        -0.6, abs=3 * found.observed_over_expected.se
    )
    assert found.observed_over_expected.high < 1
    assert found.mean_difference == pytest.approx(0.6 / 0.7, abs=0.02)
    # the arms differ by a shift, so the means say the same
    assert found.by_means.estimate == pytest.approx(found.expected.estimate, rel=0.02)
    # the marker stands still, so what is expected hardly changes with time
    assert np.average(found.log_hazard_ratio, weights=found.weight) == pytest.approx(-0.6, abs=0.1)
    assert (np.diff(found.times) >= 0).all()


def test_prentices_criteria_hold_where_the_marker_carries_everything():
    found = prentice(carried_trial(20_000, through=-1.0, direct=0.0))
    assert [w.split(":")[0] for w in found.words[:3]] == ["shown"] * 3
    assert found.words[3].startswith("not refuted, and not proved either")
    assert found.treatment_on_marker.estimate == pytest.approx(2 ** (1 / 0.7), rel=0.01)
    assert found.outcome_given_marker.low < 1 < found.outcome_given_marker.high


def test_prentices_fourth_criterion_fails_where_treatment_works_beside_the_marker(half_carried):
    found = prentice(half_carried)
    assert found.words[3].startswith("not met")
    assert found.outcome_given_marker.high < 1
    assert found.outcome_given_marker.warnings[-1] == found.words[3]


@pytest.mark.slow
def test_intervals_cover_what_is_true():
    """500 trials of 500: the interval of the expected ratio, and of Lin's share by Fieller, hold the truth in
    about 95%; observed over expected differs from 1 in about 5% where the marker carries everything."""
    hits = np.zeros(3)
    for seed in range(500):
        trial = carried_trial(500, through=-0.9, direct=0.0, events=0.15, seed=seed)
        found = expected_hazard_ratio(trial)
        share = lin(trial, least=0.0).set
        hits += (
            found.expected.low < math.exp(-0.9) < found.expected.high,
            1.0 in share,
            found.observed_over_expected.p > 0.05,
        )
    # three Monte Carlo errors, and one hundredth for what is not quite so in a trial of this size
    assert (np.abs(hits / 500 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 500) + 0.01).all(), hits / 500


# --- other software ---------------------------------------------------------------------------------------


def _frame(trial, rows):
    import pandas as pd

    return pd.DataFrame({
        "id": rows.who, "start": rows.start, "stop": rows.stop, "event": rows.event,
        "arm": rows.treated, "marker": rows.value, "stratum": rows.stratum,
    })  # fmt: skip


def test_the_model_by_latest_value_agrees_with_lifelines_and_statsmodels(wandering):
    from lifelines import CoxTimeVaryingFitter
    from statsmodels.duration.hazard_regression import PHReg

    mine = time_varying(wandering)
    rows = rows_at_risk(on_scale(wandering, "log2")[0])
    frame = _frame(wandering, rows)
    theirs = CoxTimeVaryingFitter().fit(
        frame, id_col="id", event_col="event", start_col="start", stop_col="stop", strata=["stratum"]
    )
    names = ["arm", "marker"]
    np.testing.assert_allclose(mine.model.coefficients, theirs.params_[names], atol=2e-5)
    np.testing.assert_allclose(mine.model.standard_errors, theirs.standard_errors_[names], rtol=1e-3)
    other = PHReg(
        frame["stop"], frame[names], status=frame["event"].astype(int), entry=frame["start"],
        strata=frame["stratum"], ties="efron",
    ).fit()  # fmt: skip
    np.testing.assert_allclose(mine.model.coefficients, other.params, atol=1e-6)
    np.testing.assert_allclose(mine.model.standard_errors, other.bse, rtol=1e-5)
    assert mine.events == int(wandering.event.sum())


def test_a_lag_covariates_and_strata_go_into_the_model_by_latest_value(wandering):
    from statsmodels.duration.hazard_regression import PHReg

    age = np.random.default_rng(3).normal(40, 9, wandering.participants)
    mine = time_varying(wandering, terms=("marker", "age"), covariates={"age": age}, lag=0.25)
    rows = rows_at_risk(on_scale(wandering, "log2")[0], 0.25)
    frame = _frame(wandering, rows).assign(age=age[rows.who])
    theirs = PHReg(
        frame["stop"], frame[["marker", "age"]], status=frame["event"].astype(int), entry=frame["start"],
        strata=frame["stratum"], ties="efron",
    ).fit()  # fmt: skip
    np.testing.assert_allclose(mine.model.coefficients, theirs.params, atol=1e-7)
    assert mine.of("age").estimate == pytest.approx(math.exp(theirs.params[1]), rel=1e-6)
    assert "counted 0.25 years late" in mine.of("marker").method


def test_a_landmark_analysis_is_a_cox_model_of_those_left(wandering):
    (found,) = landmarks(wandering, [1.0])
    value = np.log2(wandering.value_at(1.0))
    left = wandering.time > 1.0
    by_hand = cox(
        wandering.time[left] - 1.0, wandering.event[left],
        np.column_stack([wandering.treated[left], value[left]]), strata=wandering.stratum[left],
    )  # fmt: skip
    assert found.participants == int(left.sum())
    assert found.events == int(wandering.event[left].sum())
    assert math.log(found.arm_given_marker.estimate) == pytest.approx(by_hand.coefficients[0], abs=1e-9)
    assert math.log(found.marker.estimate) == pytest.approx(by_hand.coefficients[1], abs=1e-9)
    assert found.marker.se == pytest.approx(by_hand.standard_errors[1], rel=1e-9)


def test_the_effect_on_the_marker_agrees_with_statsmodels(wandering):
    import statsmodels.api as sm

    scaled = on_scale(wandering, "log2")[0]
    after = (scaled.at > 0) & (scaled.at <= scaled.time[scaled.who])
    mean = (
        pl.DataFrame({"who": scaled.who[after], "value": scaled.value[after]})
        .group_by("who").agg(pl.col("value").mean()).sort("who")
    )  # fmt: skip
    who = mean["who"].to_numpy()
    X = np.column_stack([np.ones(len(who)), scaled.treated[who], scaled.baseline()[who]])
    theirs = sm.OLS(mean["value"].to_numpy(), X).fit(cov_type="HC3")
    mine = marker_effect(scaled)
    assert mine.adjusted
    assert mine.estimate == pytest.approx(theirs.params[1], rel=1e-9)
    assert mine.se == pytest.approx(theirs.bse[1], rel=1e-9)


def test_what_participants_add_gives_the_robust_variance_of_the_model(wandering):
    rows = rows_at_risk(on_scale(wandering, "log2")[0])
    X = np.column_stack([rows.treated, rows.value])
    robust = cox(rows.stop, rows.event, X, rows.stratum, entry=rows.start, cluster=rows.who)
    each = influence(rows, X, robust)
    np.testing.assert_allclose(each.T @ each, robust.robust_covariance, rtol=1e-9)


def test_the_logistic_share_agrees_with_statsmodels(half_carried):
    import statsmodels.api as sm

    trial = half_carried
    there = (trial.time > 1.0) & ((trial.event & (trial.time <= 4.0)) | (trial.time >= 4.0))
    y = (trial.event & (trial.time <= 4.0))[there].astype(float)
    one = sm.Logit(y, np.column_stack([np.ones(len(y)), trial.treated[there]])).fit(disp=0)
    X = np.column_stack([np.ones(len(y)), trial.treated[there], np.log2(trial.value_at(1.0))[there]])
    two = sm.Logit(y, X).fit(disp=0)
    mine = freedman(trial, marker_at=1.0, horizon=4.0)
    assert mine.fieller.estimate == pytest.approx(1 - two.params[1] / one.params[1], rel=1e-6)
    robust = sm.Logit(y, X).fit(disp=0, cov_type="HC0")
    assert mine.adjusted.se == pytest.approx(robust.bse[1], rel=1e-6)


# --- intervals --------------------------------------------------------------------------------------------


def _rejected(ratio, numerator, denominator, covariance):
    weight = np.array([1.0, -ratio])
    return (numerator - ratio * denominator) ** 2 - 1.959963984540054**2 * (weight @ covariance @ weight)


@pytest.mark.parametrize(
    ("numerator", "denominator", "covariance", "kind"),
    [
        (0.5, 1.0, [[0.02, 0.005], [0.005, 0.03]], "between"),
        (0.5, 0.2, [[0.02, 0.005], [0.005, 0.03]], "outside"),
        (0.1, 0.1, [[0.02, 0.005], [0.005, 0.03]], "everything"),
        (-0.4, 0.9, [[0.04, -0.02], [-0.02, 0.09]], "between"),
    ],
)
def test_fiellers_set_is_where_the_test_does_not_reject(numerator, denominator, covariance, kind):
    from scipy.optimize import brentq

    covariance = np.array(covariance)
    found = fieller(numerator, denominator, covariance)
    assert found.kind == kind
    for ratio in np.linspace(-30, 30, 2001):
        inside = _rejected(ratio, numerator, denominator, covariance) <= 0
        assert (ratio in found) == inside, ratio
    if kind == "between":
        middle = numerator / denominator
        args = (numerator, denominator, covariance)
        assert found.low == pytest.approx(brentq(_rejected, middle - 50, middle, args=args), abs=1e-9)
        assert found.high == pytest.approx(brentq(_rejected, middle, middle + 50, args=args), abs=1e-9)


def test_resampled_fits_are_those_of_copied_rows(wandering):
    rows = rows_at_risk(on_scale(wandering, "log2")[0])
    X = np.column_stack([rows.treated, rows.value])
    first = cox(rows.stop, rows.event, X, rows.stratum, entry=rows.start).coefficients
    ordered = sorted_rows(rows, X)
    for weight in draws(wandering, 5, seed=2):
        copies = np.repeat(np.arange(len(rows.who)), weight[rows.who])
        slowly = cox(
            rows.stop[copies], rows.event[copies], X[copies], rows.stratum[copies], entry=rows.start[copies]
        )
        np.testing.assert_allclose(refitted(ordered, weight, first), slowly.coefficients, atol=1e-8)


def test_participants_are_drawn_within_arm_and_stratum(wandering):
    cell = wandering.stratum * 2 + wandering.treated
    again = [w.copy() for w in draws(wandering, 3, seed=9)]
    for weight in again:
        np.testing.assert_array_equal(np.bincount(cell, weight), np.bincount(cell))
    assert not np.array_equal(again[0], again[1])
    np.testing.assert_array_equal(list(draws(wandering, 3, seed=9)), again)


def test_fieller_bootstrap_and_delta_agree_where_the_effect_is_large():
    trial = carried_trial(3000, through=-0.6, direct=-0.6, events=0.2, seed=7)
    share = lin(trial, bootstrap=300, seed=4)
    assert share.bootstrap.low == pytest.approx(share.fieller.low, abs=0.25 * share.fieller.se)
    assert share.bootstrap.high == pytest.approx(share.fieller.high, abs=0.25 * share.fieller.se)
    assert share.bootstrap.se == pytest.approx(share.fieller.se, rel=0.15)
    assert share.bootstrap == lin(trial, bootstrap=300, seed=4).bootstrap
    by_odds = freedman(trial, marker_at=0.1, bootstrap=200, seed=4)
    assert by_odds.bootstrap.se == pytest.approx(by_odds.fieller.se, rel=0.2)


def test_the_interval_of_the_expected_ratio_is_that_of_resampled_trials():
    trial = wandering_trial(300, seed=6, strata=1)
    rows = {k: np.flatnonzero(trial.who == k) for k in range(trial.participants)}
    found = expected_hazard_ratio(trial)
    expected, by_means, beside = [], [], []
    for weight in draws(trial, 200, seed=3):
        people = np.repeat(np.arange(trial.participants), weight)
        kept = np.concatenate([rows[k] for k in people])
        again = replace(
            trial, treated=trial.treated[people], time=trial.time[people], event=trial.event[people],
            stratum=trial.stratum[people], unit=trial.unit[people],
            who=np.repeat(np.arange(len(people)), [len(rows[k]) for k in people]), at=trial.at[kept],
            value=trial.value[kept],
        )  # fmt: skip
        one = expected_hazard_ratio(again)
        expected.append(math.log(one.expected.estimate))
        by_means.append(math.log(one.by_means.estimate))
        beside.append(math.log(one.observed_over_expected.estimate))
    assert found.expected.se == pytest.approx(np.std(expected), rel=0.2)
    assert found.by_means.se == pytest.approx(np.std(by_means), rel=0.2)
    assert found.observed_over_expected.se == pytest.approx(np.std(beside), rel=0.2)


def test_the_expected_ratio_solves_its_equation_written_out_slowly(wandering):
    trial = on_scale(wandering, "log2")[0]
    rows = rows_at_risk(trial)
    slope = math.log(expected_hazard_ratio(wandering).slope.estimate)
    theta = math.log(expected_hazard_ratio(wandering).expected.estimate)
    score, differences, counts = 0.0, [], []
    for k in np.flatnonzero(rows.event):
        t, s = rows.stop[k], rows.stratum[k]
        there = (rows.start < t) & (rows.stop >= t) & (rows.stratum == s)
        by_marker = np.exp(slope * rows.value[there])
        by_arm = np.exp(theta * rows.treated[there])
        one, other = there & (rows.treated == 1), there & (rows.treated == 0)
        differences.append(rows.value[one].mean() - rows.value[other].mean())
        counts.append(one.sum() * other.sum() / there.sum() ** 2)
        score += by_marker @ rows.treated[there] / by_marker.sum()
        score -= by_arm @ rows.treated[there] / by_arm.sum()
    assert score == pytest.approx(0.0, abs=1e-8)
    mean = np.average(differences, weights=counts)
    found = expected_hazard_ratio(wandering)
    assert found.mean_difference == pytest.approx(mean, rel=1e-9)
    assert math.log(found.by_means.estimate) == pytest.approx(slope * mean, rel=1e-9)


# --- individual level -------------------------------------------------------------------------------------


def test_the_likelihood_reduction_is_that_of_the_two_models(wandering):
    scaled = on_scale(wandering, "log2")[0]
    rows = rows_at_risk(scaled)
    alone = cox(rows.stop, rows.event, rows.treated, rows.stratum, entry=rows.start)
    both = cox(
        rows.stop, rows.event, np.column_stack([rows.treated, rows.value]), rows.stratum, entry=rows.start
    )
    found = individual_level(wandering)
    gain = 2 * (both.log_likelihood - alone.log_likelihood)
    assert found.likelihood_reduction.estimate == pytest.approx(1 - math.exp(-gain / both.events), rel=1e-9)
    spread = scaled.baseline().std(ddof=1)
    assert math.log(found.per_standard_deviation.estimate) == pytest.approx(
        both.coefficients[1] * spread, rel=1e-9
    )
    from scipy.stats import ncx2

    low = -math.log(1 - found.likelihood_reduction.low) * both.events
    assert ncx2.cdf(gain, 1, low) == pytest.approx(0.975, abs=1e-6)


# --- refusals ---------------------------------------------------------------------------------------------


def test_a_share_of_no_effect_is_refused_with_the_reason():
    trial = carried_trial(1500, through=0.0, direct=0.0, events=0.15, seed=2)
    share = lin(trial, bootstrap=50)
    assert "standard errors from none, below 1.96" in share.fieller.refused
    assert math.isnan(share.fieller.estimate)
    assert share.bootstrap.refused == share.fieller.refused
    assert not share.unadjusted.refused
    asked = lin(trial, least=0.0)
    assert not asked.fieller.refused
    assert any("Fieller's interval is" in w for w in asked.fieller.warnings)
    assert math.isnan(asked.fieller.low)


def test_a_share_of_a_weak_effect_is_given_with_a_warning():
    trial = carried_trial(1500, through=-0.2, direct=-0.2, events=0.2, seed=3)
    share = lin(trial)
    assert 1.96 < share.steadiness < 4
    assert any("too uncertain to be of use" in w for w in share.fieller.warnings)


def test_without_events_arms_or_marker_everything_is_refused_in_words(wandering):
    nothing = replace(wandering, event=np.zeros(wandering.participants, bool))
    one_arm = replace(wandering, treated=np.ones(wandering.participants, bool))
    unmeasured = replace(wandering, value=np.full(len(wandering.value), np.nan))
    for trial, words in (
        (nothing, "no events"), (one_arm, "only one group"), (unmeasured, "not known at any time after"),
    ):  # fmt: skip
        assert words in lin(trial).fieller.refused
        assert words in expected_hazard_ratio(trial).expected.refused
        assert words in freedman(trial, marker_at=0.5, horizon=2.0).fieller.refused
    for trial in (nothing, one_arm, unmeasured):
        assert prentice(trial).outcome_given_marker.refused
        assert prentice(trial).words[3].startswith("not assessed")
        assert individual_level(trial).likelihood_reduction.refused or trial is one_arm
        assert landmarks(trial, [1.0])[0].arm_given_marker.refused
    assert prentice(one_arm).treatment_on_marker.refused
    assert prentice(unmeasured).treatment_on_marker.refused
    assert not prentice(unmeasured).treatment_on_outcome.refused
    assert landmarks(wandering, [99.0])[0].arm.refused
    treated_alone = replace(wandering, event=wandering.event & wandering.treated)
    assert "nobody of the reference arm had an event" in expected_hazard_ratio(treated_alone).expected.refused
    still = replace(wandering, value=np.full(len(wandering.value), 300.0))
    assert prentice(still).treatment_on_marker.refused == "the marker does not vary"
    assert "do not vary" in freedman(still).fieller.refused
    at_entry = wandering.at == 0
    before = replace(
        wandering, who=wandering.who[at_entry], at=wandering.at[at_entry], value=wandering.value[at_entry]
    )
    assert "not known at any time after" in lin(before, least=0).fieller.refused
    assert not individual_level(before).likelihood_reduction.refused


def test_the_lines_of_refused_shares_can_be_told_apart(wandering):
    nothing = replace(wandering, event=np.zeros(wandering.participants, bool))
    for share in (lin(nothing), freedman(nothing, marker_at=0.5, horizon=2.0)):
        assert all(m.refused and m.method for m in share.measures)
        assert len({(m.method, m.label) for m in share.measures}) == 4
        assert share.fieller.method.endswith("Fieller's interval")
        assert "bootstrap" in share.bootstrap.method
        assert share.adjusted.label.endswith("given CD4 count")
    weak = lin(carried_trial(1500, through=0.0, direct=0.0, events=0.15, seed=2))
    assert weak.fieller.refused
    assert weak.fieller.method != weak.bootstrap.method


@pytest.mark.parametrize(("events", "given"), [(9, False), (10, True)])
def test_logistic_models_of_fewer_than_ten_events_are_refused_and_cox_models_warn(events, given):
    trial = carried_trial(400, through=-0.6, direct=-0.6, events=0.4, seed=3)
    inside = trial.event & (trial.time > 0.5) & (trial.time < 4.0)
    inside &= np.cumsum(inside) <= events
    few = replace(trial, event=inside, time=np.where(inside, trial.time, 4.5))
    assert few.event.sum() == events
    share = freedman(few, marker_at=0.01, horizon=4.0, least=0.0)
    for measure in share.measures[:3]:
        assert bool(measure.refused) != given
        assert given or "9 with the event by year 4.00" in measure.refused
    cox_based = (
        *prentice(few).measures[1:], *expected_hazard_ratio(few).measures, *lin(few, least=0.0).measures[:3],
        *individual_level(few).measures, landmarks(few, [0.3])[0].arm,
    )  # fmt: skip
    if given:
        cox_based = tuple(m for m in cox_based if not m.name.startswith("expected."))  # by those of one arm
    for measure in cox_based:
        said = [text for text in measure.warnings if "in a Cox model: below 10" in text]
        assert len(said) == (not given), measure.name


def test_few_without_the_event_are_too_few_as_well():
    trial = carried_trial(400, through=-0.6, direct=-0.6, seed=3)
    most = replace(trial, event=np.arange(400) >= 9, time=np.full(400, 3.0) + (np.arange(400) < 9))
    assert "9 without the event" in freedman(most, marker_at=0.5, horizon=3.5).adjusted.refused


def test_mistakes_are_named(wandering):
    with pytest.raises(UserError, match="there is no covariate `age`; there are: arm, marker"):
        time_varying(wandering, terms=("arm", "age"))
    with pytest.raises(UserError, match="one value for each of 400 people"):
        time_varying(wandering, terms=("arm", "age"), covariates={"age": [1.0]})
    with pytest.raises(UserError, match="`age` is not known for everybody"):
        time_varying(wandering, terms=("age",), covariates={"age": np.full(400, np.nan)})
    with pytest.raises(UserError, match="at least one"):
        time_varying(wandering, terms=())
    with pytest.raises(UserError, match="look into the future"):
        time_varying(wandering, lag=-1)
    with pytest.raises(UserError, match="landmarks are years"):
        landmarks(wandering, [-1.0])
    with pytest.raises(UserError, match="marker must come before the horizon"):
        freedman(wandering, marker_at=3.0, horizon=2.0)
    with pytest.raises(UserError, match="between 0 and 1"):
        expected_hazard_ratio(wandering, confidence=95)
    with pytest.raises(UserError, match='not "log10"'):
        lin(wandering, transform="log10")
    with pytest.raises(UserError, match="no positive values"):
        lin(replace(wandering, value=-wandering.value))


def test_counts_of_nought_are_said_to_be_taken_as_something(wandering):
    value = wandering.value.copy()
    value[3] = 0.0
    least = value[value > 0].min() / 2
    found = time_varying(replace(wandering, value=value))
    assert found.of("marker").warnings == (
        f"1 of {len(value)} values are not positive: taken as {least:g} (assumed)",
    )
