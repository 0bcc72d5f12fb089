"""CD4 and survival in CPCRA 002 and ACTG 175: the published figures come out, and the page says what does.

The data are not part of this repository: see tests/test_real_data.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def _script():
    path = DOCS / "render_surrogate_real_data.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = _script()


def _folder(*needed: str) -> Path:
    folder = script.data_folder()
    if not folder.joinpath(*needed).is_file():
        pytest.skip(f"{'/'.join(needed)} is not here: set EQUIPOISE_SHARED_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="module")
def cpcra_002():
    _folder("aids-ddi-ddc", "aids_long.csv")
    return script.cpcra_002(_folder("aids-ddi-ddc", "aids_id.csv"))


@pytest.fixture(scope="module")
def actg_175():
    return script.actg_175(_folder("actg175", "actg175.csv"))


def test_the_joint_model_of_didanosine_and_zalcitabine_comes_out_as_rizopoulos_printed_it(cpcra_002):
    """J Stat Softw 2010;35(9): to a hundredth of a standard error or the last digit printed."""
    fit = cpcra_002.as_published
    assert fit.converged
    assert fit.warnings == ()
    assert (fit.participants, fit.measurements, fit.events) == (467, 1405, 188)
    assert fit.log_hazard_arm.value == pytest.approx(0.3348, abs=0.01 * 0.1565)
    assert fit.log_hazard_arm.se == pytest.approx(0.1565, abs=1e-4)
    assert fit.log_hazard_arm.p_value == pytest.approx(0.032, abs=1e-3)
    assert fit.association.value == pytest.approx(-0.2875, abs=0.02 * 0.0359)
    assert fit.association.se == pytest.approx(0.0359, abs=1e-4)
    assert fit.fixed["slope per year"].value / 12 == pytest.approx(-0.1917, abs=2e-4)
    assert fit.fixed["difference of slope per year"].value / 12 == pytest.approx(0.0116, abs=2e-4)


def test_what_the_joint_model_adds_to_its_halves(cpcra_002):
    """Without the marker the arm's effect is that of a Cox model; the mixed model alone misses that those who
    fell fastest died, and has CD4 fall more slowly."""
    fit = cpcra_002.as_published
    assert fit.apart.log_hazard_arm.value == pytest.approx(-cpcra_002.crude.coefficients[0], abs=0.006)
    assert fit.apart.fixed["slope per year"].value > fit.fixed["slope per year"].value + 0.2
    assert fit.log_likelihood - fit.apart.log_likelihood == pytest.approx(60.3, abs=0.1)


def test_deaths_compared_without_and_with_cd4(cpcra_002):
    """What the page says in words; the digits of the Cox model itself are held elsewhere."""
    assert cpcra_002.crude.p_value() == pytest.approx(0.15, abs=5e-3)
    assert cpcra_002.adjusted.hazard_ratio()[0] == pytest.approx(0.79, abs=5e-3)
    latest = cpcra_002.latest
    assert (latest.participants, latest.events) == (467, 188)
    assert latest.of("arm").estimate < cpcra_002.crude.hazard_ratio()[0]
    true = cpcra_002.as_published.association.ratio()[0]
    assert 1 - true == pytest.approx(0.25, abs=5e-3)
    assert 1 - latest.of("marker").estimate == pytest.approx(0.18, abs=5e-3)


def test_actg_175_without_and_with_cd4(actg_175):
    """Against the hazard ratios of all 2,467 (Hammer et al. 1996), those of the 2,139."""
    for name, published in (("zdv_ddi", 0.50), ("zdv_ddc", 0.54), ("ddi", 0.61)):
        found = actg_175[name]
        assert found.crude.hazard_ratio()[0] == pytest.approx(published, abs=0.025)
        assert found.joint.converged
        bend = found.joint.fixed["difference of change of slope at 0.383 years"]
        assert bend.value < -4 * bend.se  # what the new regimens gained they gained by week 20
        assert found.joint.association.value < found.latest.model.coefficients[1] - 0.05 < -0.3
        # the whole effect of the arm, and what is left of it at the same count
        crude = found.crude.coefficients[0]
        assert found.joint.apart.log_hazard_arm.value == pytest.approx(crude, abs=0.02)
        assert crude < found.joint.log_hazard_arm.value < 0
        (said,) = found.joint.warnings
        assert 117 <= int(said.split()[0]) <= 142


def test_cd4_at_20_weeks_in_actg_175():
    difference, se = script.difference_at_20_weeks(_folder("actg175", "actg175.csv"))
    assert (round(difference, 2), round(se, 2)) == (46.81, 6.76)


def test_the_page_says_what_comes_out(cpcra_002, actg_175):
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.rendered(text, cpcra_002, actg_175, script.data_folder()) == text, (
        f"run python docs/{Path(script.__file__).name}"
    )


def test_the_python_of_the_page_runs(tmp_path):
    folder = _folder("aids-ddi-ddc", "aids_long.csv") / "aids-ddi-ddc"
    for path in (DOCS / "examples" / "ddi_ddc.yaml", folder / "aids_id.csv", folder / "aids_long.csv"):
        shutil.copy(path, tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```$", script.PAGE.read_text(encoding="utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "True ()" in done.stdout


def test_didanosine_raised_the_count_early_and_what_the_joint_model_says_of_deaths_does_not_depend_on_it(
    cpcra_002,
):
    """The rise against statsmodels: analysis of covariance of the means after randomisation, HC3."""
    import polars as pl
    import statsmodels.api as sm

    rows = pl.read_csv(script.data_folder() / "aids-ddi-ddc" / "aids_long.csv", null_values="NA")
    means = (
        rows.filter(pl.col("obstime") > 0)
        .group_by("patient")
        .agg(pl.col("CD4").mean().alias("mean"), pl.col("drug").first())
        .join(
            rows.filter(pl.col("obstime") == 0).select("patient", pl.col("CD4").alias("entry")), on="patient"
        )
    )
    X = np.column_stack([np.ones(len(means)), (means["drug"] == "ddI").to_numpy(), means["entry"].to_numpy()])
    theirs = sm.OLS(means["mean"].to_numpy(), X.astype(float)).fit(cov_type="HC3")
    assert cpcra_002.moved.estimate == pytest.approx(theirs.params[1], abs=1e-4)
    assert cpcra_002.moved.se == pytest.approx(theirs.bse[1], abs=1e-4)
    assert cpcra_002.moved.p < 0.01
    straight, bent = cpcra_002.by_deaths, cpcra_002.bent
    assert bent.converged
    assert bent.fixed["difference of slope per year"].p_value < 0.01
    assert straight.fixed["difference of slope per year"].p_value > 0.5
    assert 2 * (bent.log_likelihood - straight.log_likelihood) > 9.21  # chi-square, two degrees, 1%
    assert bent.log_hazard_arm.value == pytest.approx(straight.log_hazard_arm.value, abs=0.005)
