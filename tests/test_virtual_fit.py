"""The fit: rows go onto its scale and back, its targets quote the protocols, the file is what it leads to."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from equipoise.protocol import load
from equipoise.simulate import fit
from equipoise.virtual import load_population

POPULATION = load_population("hiv_il2")
TEXT = (resources.files("equipoise.virtual") / "library" / "hiv_il2.yaml").read_text(encoding="utf-8")


def test_the_fitted_rows_are_those_marked_as_fitted():
    rows = POPULATION.file.parameters | POPULATION.file.habits
    assert {name for name, row in rows.items() if row.status == "fitted"} == {free.row for free in fit.FREE}


def test_rows_go_onto_the_scale_of_the_fit_and_back():
    x = fit.start(POPULATION)
    same = fit.with_rows(POPULATION, x)
    assert fit.start(same) == pytest.approx(x)
    moved = fit.with_rows(POPULATION, x + 0.1)
    assert moved.value("gain") == pytest.approx(POPULATION.value("gain") * np.exp(0.1))
    assert moved.value("accept_maintenance") == pytest.approx(POPULATION.value("accept_maintenance") + 0.1)


def test_the_written_file_differs_in_the_fitted_rows_only(tmp_path):
    moved = fit.with_rows(POPULATION, fit.start(POPULATION) + 0.1)
    text = fit.written(TEXT, moved)
    path = tmp_path / "moved.yaml"
    path.write_text(text, encoding="utf-8")
    assert fit.start(load_population(path)) == pytest.approx(fit.start(moved), abs=5e-3)
    changed = [a for a, b in zip(TEXT.splitlines(), text.splitlines(), strict=True) if a != b]
    assert {line.split(":")[0].strip() for line in changed} == {free.row for free in fit.FREE}


@pytest.mark.parametrize(
    ("trial", "figure", "arm", "target"),
    [
        ("silcaat", "primary_events_il2", "il2", "primary events"),
        ("silcaat", "primary_events_control", "control", "primary events"),
        ("esprit", "primary_events_il2", "il2", "primary events"),
        ("esprit", "cd4_mean_control", "control", "mean CD4"),
        ("esprit", "cd4_difference", "il2 vs control", "mean CD4"),
        ("esprit", "cd4_month8_rise", "il2", "month 8 rise, median"),
    ],
)
def test_the_targets_are_the_figures_that_the_protocols_quote(trial, figure, arm, target):
    values = {(t.trial, t.arm, t.figure): t.value for t in fit.TARGETS}
    assert values[trial, arm, target] == load(trial).published[figure].value


@pytest.mark.slow
def test_the_shipped_rows_are_near_the_least_sum_of_squares():
    """With few people and so some noise: no figure is off by four tolerances, few by two."""
    figures = {}
    for cohort in fit.cohorts(POPULATION, 6000, seed=3):
        figures |= cohort.figures(POPULATION)
    off = np.abs(fit.residuals(figures, fit.start(POPULATION)))
    assert off.max() < 4
    assert np.mean(off > 2) < 0.2
