"""Replicate trials: the same trials as one by one, and figures that the analysis of the record confirms."""

from __future__ import annotations

import math

import polars as pl
import pytest

import equipoise.simulate as simulate
from equipoise.analyse.survival import cox, logrank
from equipoise.errors import UserError
from equipoise.protocol import load


@pytest.fixture(scope="module")
def three() -> pl.DataFrame:
    return simulate.replicates(load("silcaat"), 3, seed=7, participants=400)


def test_one_row_for_each_trial_and_the_same_in_any_order(three: pl.DataFrame) -> None:
    assert three["trial"].to_list() == [0, 1, 2]
    last = simulate.replicates(load("silcaat"), 1, seed=7, participants=400, first=2, threads=1)
    assert last.equals(three[2])


def test_the_figures_are_those_of_the_record(three: pl.DataFrame) -> None:
    made = simulate.trial(load("silcaat"), seed=7, trial=1, participants=400)
    row = three.row(1, named=True)
    people = made.table("participants").join(made.table("disposition"), on="participant")
    first = (
        made.table("events")
        .filter(pl.col("kind").is_in(["opportunistic_disease", "death"]))
        .group_by("participant")
        .agg(first=pl.col("day").min())
    )
    data = people.join(first, on="participant", how="left", maintain_order="left").with_columns(
        event=pl.col("first").is_not_null(), time=pl.coalesce("first", "day")
    )
    treated = (data["arm"] == "il2").to_numpy().astype(float)
    strata = (data["stratum_cd4_stratum"] + data["stratum_country"]).to_numpy()
    for arm in ("il2", "control"):
        mine = data.filter(pl.col("arm") == arm)
        assert row[f"primary|{arm}|events|n"] == mine["event"].sum()
        assert row[f"primary|{arm}|person-years|estimate"] == pytest.approx(mine["time"].sum() / 365.25)
        assert row[f"disposition|{arm}|died|n"] == (mine["status"] == "died").sum()
    model = cox(data["time"].to_numpy(), data["event"].to_numpy(), treated[:, None], strata=strata)
    assert row["primary|il2 vs control|hazard ratio|estimate"] == pytest.approx(
        math.exp(model.coefficients[0]), rel=1e-9
    )
    plain = logrank(data["time"].to_numpy(), data["event"].to_numpy(), treated)
    assert row["primary|il2 vs control|log-rank|chi_square"] == pytest.approx(plain.chi_square, rel=1e-9)

    after = made.table("measurements").filter((pl.col("item") == "cd4") & (pl.col("day") > 0))
    own = after.group_by("participant").agg(mean=pl.col("value").mean()).join(people, on="participant")
    for arm in ("il2", "control"):
        mean = own.filter(pl.col("arm") == arm)["mean"].mean()
        assert row[f"cd4|{arm}|mean over follow-up|estimate"] == pytest.approx(mean, rel=1e-12)
    rna = made.table("measurements").filter((pl.col("item") == "hiv_rna") & (pl.col("day") > 0))
    own = rna.group_by("participant").agg(mean=pl.col("value").log10().mean()).join(people, on="participant")
    mean = own.filter(pl.col("arm") == "il2")["mean"].mean()
    assert row["hiv_rna|il2|mean over follow-up|estimate"] == pytest.approx(mean, rel=1e-12)
    cycles = made.table("cycles").height
    assert row["exposure|il2|cycles|total"] == cycles
    assert row["baseline|all|age|mean"] == pytest.approx(made.table("participants")["age"].mean())
    assert row["screening|all|screened|n"] == made.table("screening").height


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_every_published_figure_of_known_events_is_among_the_columns(name: str) -> None:
    protocol = load(name)
    columns = simulate.replicates(protocol, 2, seed=1, participants=300).columns
    unknown = {"serious_non_aids", "bacterial_pneumonia"}
    for figure in protocol.published.values():
        if figure.compared and figure.analysis not in unknown:
            assert f"{figure.analysis}|{figure.group}|{figure.parameter}|{figure.statistic}" in columns


def test_the_number_of_trials_is_above_zero() -> None:
    with pytest.raises(UserError, match="whole number above 0"):
        simulate.replicates(load("silcaat"), 0, seed=1)


def test_the_mean_of_hiv_rna_lies_near_that_of_esprit() -> None:
    """Published: 2.17 and 2.20 log10 copies/mL over follow-up (registry record of ESPRIT)."""
    frame = simulate.replicates(load("esprit"), 4, 8)
    for arm in ("il2", "control"):
        mean = frame[f"hiv_rna|{arm}|mean over follow-up|estimate"].mean()
        assert isinstance(mean, float)
        assert 2.14 < mean < 2.23
