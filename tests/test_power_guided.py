"""Rows of response-guided trials: each agrees with the trial's own record, looked at on the same days."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from equipoise.analyse.survival import cox, logrank
from equipoise.protocol import load
from equipoise.record import Record
from equipoise.simulate.plans import prepare
from equipoise.simulate.power import guided
from equipoise.simulate.power.scenarios import Design, changed, design_of
from equipoise.simulate.power.store import rows_of
from equipoise.simulate.power.tasks import Task, compute, fingerprint, packed
from equipoise.simulate.runs import trial_of

SMALL = {"size.primary_events": 60, "monitoring.looks": [0.5, 1.0]}
SEED = 11


@cache
def _design(extra: tuple[tuple[str, object], ...] = ()) -> Design:
    design = design_of(load("silcaat"), participants=400)
    return changed(design, SMALL | dict(extra))[0]


@cache
def _rows(extra: tuple[tuple[str, object], ...] = (), count: int = 4) -> pl.DataFrame:
    return guided.rows(guided.prepare(_design(extra)), SEED, 0, count)


@cache
def _record(extra: tuple[tuple[str, object], ...], trial: int) -> Record:
    protocol, population, baseline = _design(extra).built()
    setup = prepare(protocol, _design(extra).dials, population=population, baseline=baseline)
    return trial_of(setup, SEED, trial, threads=1)


def _as_of(record: Record, day: int) -> pl.DataFrame:
    """The primary endpoint as the record's dates have it on a day of the trial."""
    begin = record.protocol.calendar.first_randomization
    first = (
        record.table("events")
        .filter(pl.col("kind").is_in(["opportunistic_disease", "death"]))
        .group_by("participant")
        .agg(event_day=pl.col("day").min())
    )
    return (
        record.table("participants")
        .join(record.table("disposition").select("participant", last="day"), on="participant")
        .join(first, on="participant", how="left")
        .with_columns(entry=(pl.col("randomized_date") - begin).dt.total_days())
        .filter(pl.col("entry") < day)
        .with_columns(until=day - pl.col("entry"))
        .with_columns(
            event=(pl.col("event_day") <= pl.col("until")).fill_null(False),
            time=pl.min_horizontal("until", "last", "event_day"),
        )
    )


EXTRAS: list[tuple[tuple[str, object], ...]] = [
    (),
    (("functional_fraction", 0.5), ("aldesleukin.goal.rise", 300), ("loss", 0.05)),
]


@pytest.mark.parametrize("extra", EXTRAS, ids=["as planned", "varied"])
@pytest.mark.parametrize("trial", [0, 3])
def test_a_row_agrees_with_the_record_of_its_trial(extra: tuple[tuple[str, object], ...], trial: int) -> None:
    row = _rows(extra).row(trial, named=True)
    record = _record(extra, trial)
    for look in ("look 1", "look 2"):
        data = _as_of(record, int(row[f"{look}|day"]))
        treated = (data["arm"] == "il2").to_numpy()
        strata = (data["stratum_cd4_stratum"] + data["stratum_country"]).to_numpy()
        time, event = data["time"].to_numpy(), data["event"].to_numpy()
        assert row[f"{look}|enrolled"] == data.height
        assert row[f"{look}|events other"] == data.filter(pl.col("arm") == "il2")["event"].sum()
        assert row[f"{look}|events reference"] == data.filter(pl.col("arm") == "control")["event"].sum()
        test = logrank(time, event, treated, strata)
        place = list(test.labels).index(True)
        z = -test.score[place] / math.sqrt(test.variance[place, place])
        assert row[f"{look}|z"] == pytest.approx(z, abs=1e-9)
        model = cox(time, event, treated.astype(float), strata)
        assert row[f"{look}|log_hr"] == pytest.approx(float(model.coefficients[0]), abs=1e-9)
        assert row[f"{look}|log_se"] == pytest.approx(float(model.standard_errors[0]), abs=1e-9)
    assert row["look 1|events"] >= 30
    whole = _as_of(record, 10**6)
    assert row["whole|events"] == whole["event"].sum()


def test_by_the_saddlepoint_distribution_only_z_is_another() -> None:
    (row,) = _rows((("monitoring.distribution", "saddlepoint"),), 1).iter_rows(named=True)
    plain = _rows().row(0, named=True)
    for look in ("look 1", "look 2"):
        data = _as_of(_record((), 0), int(row[f"{look}|day"]))
        strata = (data["stratum_cd4_stratum"] + data["stratum_country"]).to_numpy()
        treated = (data["arm"] == "il2").to_numpy().astype(int)
        found = logrank(data["time"], data["event"], treated, strata, distribution="saddlepoint")
        assert row[f"{look}|z"] == pytest.approx(-found.z, abs=1e-8)
        assert row[f"{look}|z"] != plain[f"{look}|z"]
        assert row[f"{look}|log_hr"] == plain[f"{look}|log_hr"]


@pytest.mark.parametrize("trial", [0, 1, 2, 3])
def test_what_was_given_and_measured_is_that_until_the_trial_ended(trial: int) -> None:
    row, record = _rows().row(trial, named=True), _record((), trial)
    day = int(row["stop|day"])
    begin = record.protocol.calendar.first_randomization
    end = begin + timedelta(days=day)
    people = record.table("participants").filter(pl.col("randomized_date") < end)
    horizon = people.select(
        "participant", "arm", until=(pl.lit(end) - pl.col("randomized_date")).dt.total_days()
    )
    treated = horizon.filter(pl.col("arm") == "il2")
    assert row["participants other"] == treated.height
    # on the last day no decision is taken any more
    cycles = record.table("cycles").join(treated, on="participant").filter(pl.col("day") < pl.col("until"))
    assert row["cycles other"] == pytest.approx(cycles.height / treated.height, rel=1e-12)
    # the drug is that of the cycles begun; a record does not hold the injections that death or loss prevented
    last = record.table("disposition").select("participant", last="day")
    cut_short = (pl.col("last") - pl.col("day")) < 5
    begun = cycles.join(last, on="participant").with_columns(
        low=pl.col("dose") * pl.col("administrations_given"),
        high=pl.col("dose") * pl.when(cut_short).then("administrations_planned").otherwise(
            "administrations_given"
        ),
    )  # fmt: skip
    total = row["dose other"] * treated.height
    assert begun["low"].sum() - 1e-6 <= total <= begun["high"].sum() + 1e-6
    counts = (
        record.table("measurements")
        .filter((pl.col("item") == "cd4") & (pl.col("day") > 0))
        .join(horizon, on="participant")
        .filter(pl.col("day") <= pl.col("until"))
        .group_by("participant", "arm")
        .agg(own=pl.col("value").mean())
    )
    means = {arm: counts.filter(pl.col("arm") == arm)["own"].mean() for arm in ("il2", "control")}
    assert row["marker|difference"] == pytest.approx(means["il2"] - means["control"], rel=1e-9)
    died = (
        record.table("events").filter(pl.col("kind") == "death").join(horizon, on="participant")
        .filter((pl.col("day") <= pl.col("until")) & (pl.col("arm") == "control"))
    )  # fmt: skip
    assert row["deaths reference"] == died.height


def test_rows_do_not_depend_on_where_they_begin() -> None:
    later = guided.rows(guided.prepare(_design()), SEED, 2, 2)
    assert later.equals(_rows()[2:])


def test_a_design_simulates_the_same_trials_after_its_journey_to_a_worker() -> None:
    # countries, arms and levels are drawn in their order, which the journey must keep
    content = compute(Task(packed(_design()), SEED, 0, 4, fingerprint()))
    assert rows_of(content).equals(_rows())


def test_cells_that_do_nothing_leave_the_endpoint_as_it_would_have_been() -> None:
    null = (("functional_fraction", 0.0), ("rho_acute", 0.0))
    more = (*null, ("gain", 0.8))  # a drug that raises the count twice as much
    one, two = _rows(null), _rows(more)
    for name in ("look 1|day", "look 2|z", "whole|log_hr", "whole|events other"):
        assert one[name].to_list() == two[name].to_list()
    assert (two["marker|difference"] > one["marker|difference"]).all()


def test_events_that_are_reported_late_delay_the_looks() -> None:
    late = _rows((("monitoring.reporting_delay", "120 days"),))
    prompt = _rows()
    assert (late["look 1|day"] > prompt["look 1|day"]).all()
    # the final analysis waits for reports as well, and then counts all that has happened
    assert (late["look 2|day"] >= prompt["look 2|day"]).all()
    assert (late["look 2|events"] >= prompt["look 2|events"]).all()


def test_a_trial_without_looks_is_analysed_once_at_its_end() -> None:
    design = changed(design_of(load("silcaat"), participants=120), {"monitoring.looks": [1.0]})[0]
    row = guided.rows(guided.prepare(design), SEED, 0, 1).row(0, named=True)
    horizon = 3487  # 30 April 1999 to 15 November 2008
    assert row["look 1|day"] == row["stop|day"] == horizon
    assert row["stop|log_hr"] == row["whole|log_hr"]


def test_the_arms_of_a_larger_trial_are_compared_two_by_two() -> None:
    design = design_of(load("vanguard"), arm="il2_7_5", participants=80)
    row = guided.rows(guided.prepare(design), SEED, 0, 1).row(0, named=True)
    assert row["participants other"] + row["participants reference"] < 80
    assert np.isfinite(row["marker|difference"])
