"""Measures of a surrogate on real trials: CD4 counts in CPCRA 002 and in ACTG 175, against other software."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from equipoise.analyse.surrogate import (
    MarkedTrial,
    expected_hazard_ratio,
    freedman,
    lin,
    marked_trial,
    prentice,
    time_varying,
)
from equipoise.record.mapping import analysis_input
from test_real_data import EXAMPLES, shared


@pytest.fixture(scope="module")
def ddi_ddc():
    shared("aids-ddi-ddc", "aids_long.csv")
    return marked_trial(analysis_input(EXAMPLES / "ddi_ddc.yaml", shared("aids-ddi-ddc", "aids_id.csv")))


@pytest.fixture(scope="module")
def actg_175():
    people = pl.read_csv(shared("actg175", "actg175.csv"), null_values="NA")
    n = people.height
    counts = people.select("cd40", "cd420", "cd496").to_numpy().astype(float)
    at = np.tile([0.0, 20 / 52, 96 / 52], n)
    known = ~np.isnan(counts.ravel())
    return MarkedTrial(
        treated=(people["treat"] == 1).to_numpy(), time=people["days"].to_numpy() / 365.25,
        event=(people["cens"] == 1).to_numpy(), stratum=people["strat"].to_numpy().astype(np.int64),
        unit=np.full(n, ""), who=np.repeat(np.arange(n), 3)[known], at=at[known],
        value=counts.ravel()[known], treated_label="combination or didanosine",
        reference_label="zidovudine", endpoint_label="CD4 fall, AIDS or death", marker_label="CD4 count",
        marker_unit="cells/mm3",
    )  # fmt: skip


def test_cpcra_002_by_latest_square_root_agrees_with_lifelines_on_the_files_own_rows(ddi_ddc):
    """The file has the counting process laid out by its publishers: rows that this test did not make."""
    from lifelines import CoxTimeVaryingFitter

    rows = pd.read_csv(shared("aids-ddi-ddc", "aids_long.csv"))
    rows["arm"] = (rows["drug"] == "ddC").astype(float)
    theirs = CoxTimeVaryingFitter().fit(
        rows[["patient", "start", "stop", "event", "arm", "CD4"]], id_col="patient", event_col="event",
        start_col="start", stop_col="stop",
    )  # fmt: skip
    mine = time_varying(ddi_ddc, transform="square root")
    assert mine.events == 188
    assert math.log(mine.of("marker").estimate) == pytest.approx(theirs.params_["CD4"], abs=1e-4)
    assert math.log(mine.of("arm").estimate) == pytest.approx(theirs.params_["arm"], abs=1e-4)
    assert mine.of("marker").se == pytest.approx(theirs.standard_errors_["CD4"], rel=1e-3)


def test_cpcra_002_has_no_effect_of_which_a_share_could_be_explained(ddi_ddc):
    assert "standard errors from none" in lin(ddi_ddc).fieller.refused
    found = prentice(ddi_ddc)
    assert found.words[1].startswith("not shown")
    assert found.words[2].startswith("shown")
    assert found.outcome_given_marker.warnings


def test_actg_175_has_an_effect_of_which_the_count_carries_part(actg_175):
    """On the square root scale: 5 counts are 0. (The endpoint counts a fall of CD4 by half as an event.)"""
    share = lin(actg_175, transform="square root")
    assert share.steadiness > 4
    assert 0 < share.fieller.low < share.fieller.estimate < share.fieller.high < 1
    at_20_weeks = freedman(actg_175, marker_at=21 / 52, horizon=2.0, transform="square root")
    assert 0 < at_20_weeks.fieller.estimate < 1
    expected = expected_hazard_ratio(actg_175, transform="square root")
    # the count alone would have promised less than was seen
    assert expected.observed.estimate < expected.expected.estimate < 1
    assert expected.observed_over_expected.high < 1
    # on the scale of doublings the five decide, and it is said
    extreme = expected_hazard_ratio(actg_175).expected
    assert any("people with extreme values decide it" in w for w in extreme.warnings)


def test_actg_175_hazard_ratios_without_and_with_the_count_agree_with_statsmodels(actg_175):
    from statsmodels.duration.hazard_regression import PHReg

    share = lin(actg_175, transform="square root")
    spells = actg_175.spells()
    arm = actg_175.treated[spells.who].astype(float)
    for columns, measure in (
        ([arm], share.unadjusted), ([arm, np.sqrt(spells.value)], share.adjusted),
    ):  # fmt: skip
        theirs = PHReg(
            spells.stop, np.column_stack(columns), status=spells.event.astype(int), entry=spells.start,
            strata=actg_175.stratum[spells.who], ties="efron",
        ).fit()  # fmt: skip
        assert math.log(measure.estimate) == pytest.approx(theirs.params[0], abs=1e-7)
        assert measure.se == pytest.approx(theirs.bse[0], rel=1e-6)
