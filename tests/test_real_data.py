"""Real trials, analysed from their published data files: the numbers must be those that were printed.

The files are not part of this repository. They are looked for in `shared/data` beside it, or where
EQUIPOISE_SHARED_DATA says; without them these tests are skipped, and pytest says so.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise import analyse
from equipoise.record.mapping import analysis_input

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"


def shared(*names: str) -> Path:
    """A file of the shared data; skips the test where it is absent."""
    chosen = os.environ.get("EQUIPOISE_SHARED_DATA")
    folder = Path(chosen) if chosen else ROOT.parent / "shared" / "data"
    path = folder.joinpath(*names)
    if not path.is_file():
        pytest.skip(f"{'/'.join(names)} is not here: set EQUIPOISE_SHARED_DATA to the folder that has it")
    return path


def rounded(
    results: analyse.Results, analysis: str, group: str, parameter: str, *statistics: str
) -> list[float]:
    return [round(results.value(analysis, group, parameter, s), 2) for s in statistics]


def test_actg_320_comes_out_as_hammer_and_others_printed_it():
    """N Engl J Med 1997;337:725-33: 33 against 63 events, HR 0.50 (0.33-0.76), P = 0.001; deaths 8 against
    18, HR 0.43 (0.19-0.99), P = 0.04; stratified by the CD4 count at screening."""
    given = analysis_input(EXAMPLES / "actg320.yaml", shared("actg320", "actg320.csv"))
    results = analyse.run(given)
    pair = "indinavir vs control"
    estimate = ("estimate", "lower", "upper")
    assert results.value("primary", "indinavir", "events", "n") == 33
    assert results.value("primary", "control", "events", "n") == 63
    assert rounded(results, "primary", pair, "hazard ratio", *estimate) == [0.50, 0.33, 0.76]
    assert round(results.value("primary", pair, "hazard ratio", "p_value"), 3) == 0.001
    assert results.value("death", "indinavir", "events", "n") == 8
    assert results.value("death", "control", "events", "n") == 18
    assert rounded(results, "death", pair, "hazard ratio", *estimate) == [0.43, 0.19, 0.99]
    assert round(results.value("death", pair, "stratified log-rank", "p_value"), 2) == 0.04
    # the interval of the paper needs the strata: without them it is another one
    assert rounded(results, "death", pair, "hazard ratio, unstratified", *estimate) != [0.43, 0.19, 0.99]
    # "the effects of treatment were similar in both CD4 cell strata"
    assert results.value("subgroup:CD4 count at screening", pair, "interaction", "p_value") > 0.5
    # the number at risk is counted before those who leave that day
    people = pl.read_csv(shared("actg320", "actg320.csv"))
    day = 180
    for arm, code in (("indinavir", 1), ("control", 0)):
        expected = people.filter((pl.col("tx") == code) & (pl.col("time") >= day)).height
        curve = results.table.filter(
            (pl.col("analysis") == "primary") & (pl.col("group") == arm)
            & (pl.col("parameter") == f"Kaplan-Meier day {day}") & (pl.col("statistic") == "at_risk")
        )  # fmt: skip
        if curve.height:
            assert curve["value"][0] == expected
    summary = analyse.summary(results, given)
    assert "stratified hazard ratio 0.50 (0.33 to 0.76)" in summary
    assert "stratified hazard ratio 0.43 (0.19 to 0.99)" in summary


def test_cpcra_002_comes_out_as_abrams_and_others_printed_it():
    """N Engl J Med 1994;330:657-62: 100 deaths of 230 on didanosine, 88 of 237 on zalcitabine."""
    shared("aids-ddi-ddc", "aids_long.csv")
    given = analysis_input(EXAMPLES / "ddi_ddc.yaml", shared("aids-ddi-ddc", "aids_id.csv"))
    results = analyse.run(given)
    assert results.value("death", "ddi", "events", "n") == 100
    assert results.value("death", "ddi", "participants", "n") == 230
    assert results.value("death", "ddc", "events", "n") == 88
    assert results.value("death", "ddc", "participants", "n") == 237
    pair = "ddc vs ddi"
    assert rounded(results, "death", pair, "hazard ratio", "estimate", "lower", "upper") == [0.81, 0.61, 1.08]
    # CD4 over time by arm, from the square roots in the file, by hand
    long = pl.read_csv(shared("aids-ddi-ddc", "aids_long.csv")).with_columns(count=pl.col("CD4") ** 2)
    for arm, drug in (("ddi", "ddI"), ("ddc", "ddC")):
        at_entry = long.filter((pl.col("drug") == drug) & (pl.col("obstime") == 0))["count"]
        assert results.value("cd4", arm, "baseline", "mean") == pytest.approx(at_entry.mean())
        at_six = long.filter((pl.col("drug") == drug) & (pl.col("obstime") == 6))["count"]
        assert results.value("cd4", arm, "month 6", "mean") == pytest.approx(at_six.mean())
        assert results.value("cd4", arm, "month 6", "n") == len(at_six)


def test_actg_175_hazard_ratios_and_the_difference_at_20_weeks():
    """The 2,139 of the public file: 0.49, 0.53, 0.59 against zidovudine; CD4 at 20 weeks +46.81 (SE 6.76)."""
    people = pl.read_csv(shared("actg175", "actg175.csv"), null_values="NA")
    arms = np.column_stack([(people["arms"] == k).to_numpy() for k in (1, 2, 3)])
    fit = analyse.cox(people["days"].to_numpy(), people["cens"].to_numpy(), arms)
    for k, expected in enumerate((0.492, 0.525, 0.586)):
        assert fit.hazard_ratio(k)[0] == pytest.approx(expected, abs=6e-4)
    one, other = (people.filter(pl.col("treat") == k)["cd420"].to_numpy() for k in (1, 0))
    assert one.mean() - other.mean() == pytest.approx(46.81, abs=5e-3)
    test = analyse.logrank(people["days"], people["cens"], people["arms"])
    assert test.df == 3
    assert test.p_value < 1e-9


def test_cgd_recurrent_infections_with_a_robust_variance():
    """Andersen-Gill model of the interferon trial: HR 0.334, robust SE 0.3119 (survival 3.8 in R); first
    infections 14 of 63 against 30 of 65, log-rank P = 0.0006."""
    rows = pl.read_csv(shared("cgd", "cgd.csv"))
    treated = (rows["treat"] == "rIFN-g").to_numpy().astype(float)
    fit = analyse.cox(
        rows["tstop"].to_numpy(), rows["status"].to_numpy(), treated,
        entry=rows["tstart"].to_numpy(), cluster=rows["id"].to_numpy(),
    )  # fmt: skip
    assert fit.hazard_ratio()[0] == pytest.approx(0.334, abs=5e-4)
    assert fit.standard_errors[0] == pytest.approx(0.3119, abs=5e-5)
    assert fit.events == 76
    first = rows.filter(pl.col("enum") == 1)
    test = analyse.logrank(first["tstop"], first["status"], first["treat"])
    assert dict(zip(test.labels, test.observed, strict=True)) == {"placebo": 30, "rIFN-g": 14}
    assert round(test.p_value, 4) == 0.0006


# --- data that come with a test dependency: these run anywhere --------------------------------------------


def test_the_german_breast_cancer_study_comes_out_as_published(tmp_path):
    """GBSG-2 (Schumacher et al., J Clin Oncol 1994;12:2086-93): 299 events in 686; hormonal therapy alone
    against none, relative risk 0.69 (0.54-0.89) in the 686 with complete data (Sauerbrei & Royston 1999)."""
    from lifelines.datasets import load_gbsg2

    frame = load_gbsg2()
    path = tmp_path / "gbsg2.csv"
    frame.to_csv(path, index=False)
    given = analysis_input(EXAMPLES / "gbsg2.yaml", path)
    results = analyse.run(given)
    endpoint = given.endpoints[0].name
    arms = [a for a in given.arms if a != given.reference_arm]
    pair = f"{arms[0]} vs {given.reference_arm}"
    events = sum(results.value(endpoint, a, "events", "n") for a in given.arms)
    assert events == 299
    unstratified = "hazard ratio, unstratified" if given.endpoints[0].strata else "hazard ratio"
    assert rounded(results, endpoint, pair, unstratified, "estimate", "lower", "upper") == [0.69, 0.54, 0.89]
    plain = analyse.cox(frame["time"], frame["cens"], (frame["horTh"] == "yes").to_numpy())
    assert results.value(endpoint, pair, unstratified, "estimate") == pytest.approx(
        float(np.exp(plain.coefficients[0])), rel=1e-12
    )


def test_the_recidivism_experiment_agrees_with_lifelines():
    """Rossi, Berk & Lenihan 1980: financial aid after release, seven covariates."""
    from lifelines import CoxPHFitter
    from lifelines.datasets import load_rossi

    rossi = load_rossi()
    names = [c for c in rossi.columns if c not in ("week", "arrest")]
    mine = analyse.cox(rossi["week"], rossi["arrest"], rossi[names], cluster=np.arange(len(rossi)))
    theirs = CoxPHFitter().fit(rossi, "week", "arrest", robust=True)
    np.testing.assert_allclose(mine.coefficients, theirs.params_[names], atol=1e-6)
    model = CoxPHFitter().fit(rossi, "week", "arrest")
    np.testing.assert_allclose(np.sqrt(np.diag(mine.covariance)), model.standard_errors_[names], rtol=1e-6)
