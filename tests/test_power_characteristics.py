"""Operating characteristics: shares, means and quantiles with their errors, against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from equipoise.simulate.power import characteristics as c
from equipoise.simulate.power import engines, running
from equipoise.simulate.power.characteristics import Summary, summarise
from equipoise.simulate.power.running import Goal
from equipoise.simulate.power.scenarios import design_of, grid, variation
from equipoise.simulate.power.telling import told, with_error
from power_example import plain_trial


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Three hazard ratios, 2,000 trials of each."""
    scenarios = grid(design_of(plain_trial()), [variation("hazard_ratio=0.7,1,0.5")])
    folder = tmp_path_factory.mktemp("power") / "run"
    return summarise(running.run(scenarios, Goal(2000), folder, seed=3, engine=engines.threads(1)))


def test_the_errors_are_those_of_the_textbook() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, math.nan])
    assert c.share(values) == pytest.approx((0.75, math.sqrt(0.75 * 0.25 / 4)))
    assert c.mean(np.array([1.0, 2.0, 3.0, math.nan])) == pytest.approx((2.0, 1.0 / math.sqrt(3)))
    assert all(math.isnan(x) for x in c.mean(np.array([math.nan])))


def test_the_error_of_a_quantile_is_that_of_many_samples() -> None:
    rng = np.random.default_rng(5)
    draws = rng.exponential(size=(400, 1000))
    found = np.array([c.quantile(sample, 0.9) for sample in draws])
    assert found[:, 0].mean() == pytest.approx(math.log(10), abs=0.02)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(ddof=1), rel=0.1)


def test_the_ways_to_end_add_up_to_all_trials(run: Summary) -> None:
    for figures in run.figures:
        value = {f.name: f.value for f in figures}
        stops = sum(
            v for name, v in value.items() if name.startswith("look ") and name[8:] in ("efficacy", "harm")
        )
        assert stops == pytest.approx(value["null hypothesis rejected"])
        assert value["power"] + value["shown to harm"] == pytest.approx(value["null hypothesis rejected"])
        assert value["look 1: reached"] == 1.0


def test_type_one_error_power_and_truth_are_what_theory_says(run: Summary) -> None:
    null = run.value(1, "null hypothesis rejected")
    assert abs(null.value - 0.05) < 4 * null.error
    assert run.trials[1].truth == (0.0, 0.0)
    strong = run.value(2, "power")
    # Schoenfeld (1981): 90 events, ratio 0.5: 0.908; the looks cost less than two points
    assert strong.value == pytest.approx(0.90, abs=0.03)


def test_adjusting_for_stopping_removes_the_median_bias(run: Summary) -> None:
    plain = run.value(2, "median bias of the log hazard ratio, as estimated")
    adjusted = run.value(2, "median bias of the log hazard ratio, adjusted for stopping")
    assert plain.value < -2 * plain.error  # stopped early, the effect looks larger than it is
    assert abs(adjusted.value) < abs(plain.value)
    coverage = run.value(2, "coverage of the interval, adjusted for stopping")
    assert abs(coverage.value - 0.95) < 4 * coverage.error


def test_scenarios_are_compared_on_the_same_people(run: Summary) -> None:
    assert run.differences[0] == ()
    found = {d.name: d for d in run.differences[1]}
    power = [run.value(k, "power").value for k in (0, 1)]
    assert found["power"].value == pytest.approx(power[1] - power[0])
    ratio = found["log hazard ratio"]
    assert ratio.value == pytest.approx(math.log(1 / 0.7), abs=5 * ratio.error + 0.02)
    assert ratio.error < 0.4 * ratio.unpaired
    assert found["primary events"].error < found["primary events"].unpaired


def test_the_table_holds_every_figure(run: Summary) -> None:
    table = run.table()
    assert table["scenario"].unique(maintain_order=True).to_list() == [
        "hazard_ratio 0.7", "hazard_ratio 1", "hazard_ratio 0.5",
    ]  # fmt: skip
    assert table.height == sum(map(len, run.figures)) + sum(map(len, run.differences))
    assert (table["trials"] == 2000).all()


def test_the_words_give_digits_that_the_error_supports(run: Summary) -> None:
    assert with_error(56.3251, 0.72, "%") == "56.33% ± 0.72"
    assert with_error(1695.0, 0.0) == "1695 ± 0"
    assert with_error(199954.2, 251.7) == "199954 ± 252"
    assert with_error(math.nan, math.nan) == "not known"
    text = told(run)
    assert "2,000 trials of each scenario, seed 3" in text
    assert "hazard_ratio 0.5" in text
    assert "on the same virtual people" in text


def test_one_scenario_is_told_in_full(tmp_path: Path) -> None:
    scenarios = grid(design_of(plain_trial()), [])
    saved = running.run(scenarios, Goal(50), tmp_path / "one", seed=3, engine=engines.threads(1))
    text = told(summarise(saved))
    for words in ("Decision", "Stopping", "Estimate", "coverage of the interval", "50 trials, seed 3"):
        assert words in text
