"""The mixed model against statsmodels and least squares; summaries by visit against plain arithmetic."""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from equipoise.analyse import longitudinal
from equipoise.analyse.longitudinal import Grid, MixedModelData


def follow_up(n=300, arms=2, seed=1, visits=9, jitter=10):
    """CD4-like counts: arms drift apart and come together; a fifth of visits are missed."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, arms, n)
    baseline = rng.normal(200, 60, n)
    level, trend = rng.normal(0, 50, n), rng.normal(0, 12, n)
    who, day, y = [], [], []
    for i in range(n):
        for v in range(1, visits + 1):
            if rng.random() < 0.2:
                continue
            d = v * 122 + (rng.integers(-jitter, jitter + 1) if jitter else 0)
            t = d / 365.25
            effect = arm[i] * 90 * t * math.exp(-t)
            who.append(i)
            day.append(d)
            y.append(baseline[i] * 0.8 + 40 + 15 * t + effect + level[i] + trend[i] * t + rng.normal(0, 30))
    return np.array(who), np.array(day, float), np.array(y), arm, baseline


def design(who, day, arm, baseline, arms, knots, categorical, data):
    basis = np.zeros((len(day), len(knots)))
    for r in range(len(day)):
        longitudinal._basis(day[r], knots, categorical, basis[r])
    seen = np.unique(who)
    centred = baseline - baseline[seen].mean()
    columns = [basis, centred[who][:, None]]
    columns += [basis * (arm[who] == a)[:, None] for a in range(1, arms)]
    return np.column_stack(columns)


@pytest.mark.parametrize(("arms", "visits", "jitter"), [(2, 9, 10), (3, 9, 10), (2, 4, 0)])
def test_the_mixed_model_agrees_with_statsmodels(arms, visits, jitter):
    from statsmodels.regression.mixed_linear_model import MixedLM

    who, day, y, arm, baseline = follow_up(arms=arms, visits=visits, jitter=jitter)
    mine = longitudinal.mixed_model(who, day, y, arm, baseline, arms)
    distinct, counts = np.unique(day, return_counts=True)
    knots, categorical = longitudinal.knots_for(distinct, counts)
    assert categorical == (jitter == 0)
    X = design(who, day, arm, baseline, arms, knots, categorical, mine)
    Z = np.column_stack([np.ones(len(day)), day / 365.25])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MixedLM(y, X, groups=who, exog_re=Z).fit(reml=True, method="bfgs", gtol=1e-9, maxiter=2000)
    assert mine.undefined is None
    p = X.shape[1]
    np.testing.assert_allclose(mine.coefficients, theirs.fe_params, rtol=1e-5, atol=1e-4)
    assert mine.residual_variance == pytest.approx(theirs.scale, rel=1e-5)
    assert mine.intercept_variance == pytest.approx(theirs.cov_re[0, 0], rel=1e-5)
    assert mine.slope_variance == pytest.approx(theirs.cov_re[1, 1], rel=1e-4)
    # generalised least squares at their variances (their own standard errors come from a joint Hessian)
    A = np.zeros((p, p))
    for i in np.unique(who):
        rows = who == i
        V = Z[rows] @ theirs.cov_re @ Z[rows].T + theirs.scale * np.eye(rows.sum())
        A += X[rows].T @ np.linalg.solve(V, X[rows])
    covariance = np.linalg.inv(A)
    np.testing.assert_allclose(mine.standard_errors(), np.sqrt(np.diag(covariance)), rtol=1e-5)
    assert mine.reml_log_likelihood == pytest.approx(theirs.llf, abs=1e-3)
    # the average difference: the contrast by hand
    basis = X[:, : len(knots)]
    per_person = np.array([basis[who == i].mean(axis=0) for i in np.unique(who)])
    for a in range(1, arms):
        contrast = np.zeros(p)
        contrast[len(knots) + 1 + (a - 1) * len(knots) :][: len(knots)] = per_person.mean(axis=0)
        estimate, se, lower, upper, _ = mine.difference(a)
        assert estimate == pytest.approx(float(contrast @ theirs.fe_params), rel=1e-5)
        assert se == pytest.approx(math.sqrt(contrast @ covariance @ contrast), rel=1e-5)
        assert upper - lower == pytest.approx(2 * 1.959964 * se, rel=1e-6)


def test_the_maximum_is_a_maximum():
    who, day, y, arm, baseline = follow_up(seed=5)
    mine = longitudinal.mixed_model(who, day, y, arm, baseline, 2)
    distinct, counts = np.unique(day, return_counts=True)
    knots, categorical = longitudinal.knots_for(distinct, counts)
    X = design(who, day, arm, baseline, 2, knots, categorical, mine)

    def reml(intercept, covariance, slope, residual):
        """The restricted likelihood by its definition (Laird & Ware 1982), matrices written out."""
        total, A, b = 0.0, np.zeros((X.shape[1],) * 2), np.zeros(X.shape[1])
        pieces = []
        for i in np.unique(who):
            rows = who == i
            Z = np.column_stack([np.ones(rows.sum()), day[rows] / 365.25])
            V = Z @ np.array([[intercept, covariance], [covariance, slope]]) @ Z.T
            V += residual * np.eye(rows.sum())
            W = np.linalg.inv(V)
            A += X[rows].T @ W @ X[rows]
            b += X[rows].T @ W @ y[rows]
            total += np.linalg.slogdet(V)[1]
            pieces.append((rows, W))
        beta = np.linalg.solve(A, b)
        total += np.linalg.slogdet(A)[1]
        for rows, W in pieces:
            r = y[rows] - X[rows] @ beta
            total += r @ W @ r
        return -0.5 * (total + (len(y) - X.shape[1]) * math.log(2 * math.pi))

    at = [
        mine.intercept_variance,
        mine.intercept_slope_covariance,
        mine.slope_variance,
        mine.residual_variance,
    ]
    best = reml(*at)
    assert best == pytest.approx(mine.reml_log_likelihood, abs=1e-6)
    for j in range(4):
        for factor in (0.98, 1.02):
            moved = list(at)
            moved[j] *= factor
            assert reml(*moved) < best


def test_chunks_give_the_same_fit_as_one_table():
    who, day, y, arm, baseline = follow_up()
    whole = longitudinal.mixed_model(who, day, y, arm, baseline, 2)
    knots, categorical = longitudinal.knots_for(*np.unique(day, return_counts=True))
    parts = MixedModelData(arm, baseline, 2, knots, categorical=categorical)
    for piece in np.array_split(np.random.default_rng(0).permutation(len(y)), 7):
        parts.add(who[piece], day[piece], y[piece])
    fit = parts.fit()
    assert fit.differences[0] == pytest.approx(whole.differences[0], rel=1e-7)


def test_one_visit_is_an_analysis_of_covariance():
    who, day, y, arm, baseline = follow_up(visits=1, jitter=0)
    fit = longitudinal.mixed_model(who, day, y, arm, baseline, 2)
    X = np.column_stack([np.ones(len(y)), baseline[who] - baseline[np.unique(who)].mean(), arm[who]])
    beta, rss, *_ = np.linalg.lstsq(X, y, rcond=None)
    se = math.sqrt(rss[0] / (len(y) - 3) * np.linalg.inv(X.T @ X)[2, 2])
    assert fit.differences[0] == pytest.approx((beta[2], se), rel=1e-9)


def test_without_measurements_in_an_arm_there_is_a_reason_and_no_number():
    who, day, y, arm, baseline = follow_up()
    only = arm[who] == 0
    fit = longitudinal.mixed_model(who[only], day[only], y[only], arm, baseline, 2)
    assert fit.undefined == "an arm has no measurements after randomisation"
    assert math.isnan(fit.difference(1)[0])


def test_summaries_are_plain_arithmetic():
    values = [210.0, 340, 150, 420, 388, 275]
    frame = pl.DataFrame({"g": ["a"] * 6, "v": values})
    row = frame.group_by("g").agg(longitudinal.summary_expressions("v", 0.95)).row(0, named=True)
    mean, sd = np.mean(values), np.std(values, ddof=1)
    t = stats.t.ppf(0.975, 5)
    expected = {
        "n": 6, "mean": mean, "sd": sd, "se": sd / math.sqrt(6), "median": np.median(values),
        "lower": mean - t * sd / math.sqrt(6), "upper": mean + t * sd / math.sqrt(6),
        "q1": np.quantile(values, 0.25), "q3": np.quantile(values, 0.75),
    }  # fmt: skip
    for name, number in expected.items():
        assert row[name] == pytest.approx(number), name


def test_the_grid_speaks_as_visits_are_named():
    four_months = Grid(4 * 30.4375)
    assert [four_months.name(k) for k in (0, 1, 2)] == ["month 0", "month 4", "month 8"]
    assert Grid(122).name(3) == "month 12"
    assert [Grid(28).name(k) for k in (0, 1)] == ["week 1", "week 5"]
    assert Grid(10).name(2) == "day 20"


def test_a_grid_point_takes_the_nearest_measurement_of_each_participant():
    grid = Grid(4 * 30.4375)
    values = pl.DataFrame(
        {
            "participant": [1, 1, 1, 2, 2],
            "day": [0.0, 110, 125, 120, 300],
            "value": [1.0, 2, 3, 4, 5],
        }
    )
    nearest = longitudinal.nearest_values(values, grid)
    assert nearest.select("participant", "point", "value").rows() == [(1, 1, 3.0), (2, 1, 4.0), (2, 2, 5.0)]


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-5, 60)), max_size=25), st.randoms())
def test_the_nearest_measurement_is_the_nearest_whatever_the_order(rows, random):
    grid = Grid(10)
    random.shuffle(rows)
    values = pl.DataFrame(
        {
            "participant": [p for p, _ in rows],
            "day": [float(d) for _, d in rows],
            "value": [float(d) for _, d in rows],
        },
        schema={"participant": pl.Int32, "day": pl.Float64, "value": pl.Float64},
    )
    best: dict[tuple[int, int], int] = {}
    for who, day in sorted(rows):
        point = math.floor(day / 10 + 0.5)
        kept = best.get((who, point))
        if day > 0 and (kept is None or abs(day - 10 * point) < abs(kept - 10 * point)):
            best[who, point] = day
    found = longitudinal.nearest_values(values, grid)
    assert {(p, k): int(v) for p, v, k in found.select("participant", "value", "point").rows()} == best
