"""Simulated trials, analysed: the record gives the same numbers as the engine that never wrote one."""

from __future__ import annotations

import polars as pl
import pytest

from equipoise import analyse, simulate
from equipoise.protocol import load

NO_MODEL = "mean difference over follow-up"
"""Replicate trials have the plain difference of means under this name (docs/results.md)."""


@pytest.fixture(scope="module")
def silcaat():
    return load("silcaat")


def rows(results: analyse.Results) -> dict[tuple[str, ...], float]:
    return {tuple(row[:4]): row[4] for row in results.table.iter_rows()}


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_a_replicate_trial_is_the_analysis_of_its_record(name):
    protocol = load(name)
    replicates = simulate.replicates(protocol, 2, 41)
    found = rows(analyse.run(simulate.trial(protocol, 41, trial=1)))
    row = replicates.row(1, named=True)
    assert row["trial"] == 1
    keys = [tuple(column.split("|")) for column in row if "|" in column]
    assert len(keys) > 50
    for key in keys:
        assert key in found, key
        if key[2] != NO_MODEL:
            # a record reports a count above the range of its item as the end of the range
            close = 0.01 if key[0] == "cd4" and name != "silcaat" else 1e-9
            assert row["|".join(key)] == pytest.approx(found[key], rel=close, abs=1e-9, nan_ok=True), key


def test_a_stop_counts_once_however_often_it_is_repeated(silcaat):
    record = simulate.trial(silcaat, 41)
    stops = record.table("decisions").filter(pl.col("action") == "stop")
    found = rows(analyse.run(record))
    people = stops["participant"].n_unique()
    assert stops.height > people > 0
    assert found[("exposure", "il2", "stops", "n")] == people
    assert found[("exposure", "il2", "participants with stop", "n")] == people


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_every_published_figure_has_its_row_in_the_analysis(name):
    protocol = load(name)
    results = analyse.run(simulate.trial(protocol, 3))
    found = rows(results)
    for label, figure in protocol.published.items():
        if not figure.compared:
            continue
        key = (figure.analysis, figure.group, figure.parameter, figure.statistic)
        assert (key in found) != (figure.analysis in protocol.endpoints_not_simulated), f"{label}: {key}"
    assert analyse.summary(results, protocol).startswith(protocol.title[:30])


def test_the_effects_of_the_biomarker_are_found_again(silcaat):
    """The mixed model and the plain difference of means estimate the same thing."""
    found = rows(analyse.run(simulate.trial(silcaat, 12)))
    pair = ("cd4", "il2 vs control")
    model = found[(*pair, NO_MODEL, "estimate")]
    plain = found[(*pair, "difference of means over follow-up", "estimate")]
    error = found[(*pair, "difference of means over follow-up", "se")]
    assert abs(model - plain) < 2 * error
    assert found[(*pair, NO_MODEL, "se")] < error
