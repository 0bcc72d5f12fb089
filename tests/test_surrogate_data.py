"""The data that measures of a surrogate work on: values that stand until the next, time cut into spells."""

import numpy as np
import polars as pl
import pytest

from equipoise.analyse import inputs
from equipoise.analyse.outcomes import times_of
from equipoise.analyse.surrogate import MarkedTrial, marked_trial
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.record import AnalysisInput
from equipoise.record.mapping import EndpointInput, MeasureInput
from equipoise.simulate import trial


def _small(**changed):
    given = {
        "treated": np.array([True, False, False]), "time": np.array([2.0, 3.0, 1.0]),
        "event": np.array([True, False, True]), "stratum": np.zeros(3, np.int64),
        "unit": np.array(["a", "a", "b"]),
        "who": np.array([0, 0, 0, 1, 2]), "at": np.array([0.0, 1.0, 2.0, 0.5, 0.0]),
        "value": np.array([100.0, 150.0, 160.0, 200.0, np.nan]), "treated_label": "new",
        "reference_label": "old",
        "endpoint_label": "death", "marker_label": "CD4", "marker_unit": "cells/mm3",
    }  # fmt: skip
    return MarkedTrial(**(given | changed))


def test_a_value_stands_until_the_next_and_the_event_ends_its_spell():
    spells = _small().spells()
    assert spells.who.tolist() == [0, 0, 1]
    assert spells.start.tolist() == [0.0, 1.0, 0.5]
    assert spells.stop.tolist() == [1.0, 2.0, 3.0]
    assert spells.event.tolist() == [False, True, False]
    assert spells.value.tolist() == [100.0, 150.0, 200.0]


def test_with_a_lag_a_value_counts_later_and_no_time_is_counted_twice():
    spells = _small().spells(lag=0.25)
    assert spells.start.tolist() == [0.25, 1.25, 0.75]
    assert spells.stop.tolist() == [1.25, 2.0, 3.0]


def test_the_value_at_a_time_is_the_latest_until_then():
    at = _small().value_at(1.5)
    assert at[0] == 150.0
    assert at[1] == 200.0
    assert np.isnan(at[2])


def test_measurements_out_of_order_are_refused():
    with pytest.raises(UserError, match="in order of participant"):
        _small(at=np.array([1.0, 0.0, 2.0, 0.5, 0.0]))


def test_a_simulated_record_gives_the_plans_own_events_and_counts():
    protocol = load("silcaat")
    record = trial(protocol, seed=3, participants=200)
    given = inputs.from_record(record, protocol)
    marked = marked_trial(given)
    people = record.table("participants")
    assert marked.participants == 200
    assert int(marked.treated.sum()) == people.filter(people["arm"] == "il2").height
    measured = record.table("measurements")
    known = measured.filter((measured["item"] == "cd4") & (measured["day"] > 0))["value"].drop_nulls()
    assert int((marked.at > 0).sum()) == known.len()
    assert marked.value[marked.at > 0].sum() == pytest.approx(known.sum())
    spells = marked.spells()
    assert int(spells.event.sum()) == int(marked.event.sum())
    assert (marked.unit != "").all()
    by_site = marked_trial(given, units="site").unit
    sites = people.sort("participant")["site"].to_list()
    assert by_site.tolist() == [f"site {number}" for number in sites]


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    protocol = load("silcaat")
    given = inputs.from_record(trial(protocol, seed=3, participants=60), protocol)
    with pytest.raises(UserError, match=r"there are: .*death"):
        marked_trial(given, endpoint="deaths")


# --- data from elsewhere ------------------------------------------------------------------------------------


def _given(*, strata=((), ()), entry=(0.0,) * 6, baseline=None, **participants):
    """Six participants, the last two of a third arm; `strata`: the levels of two strata."""
    numbers = pl.Series("participant", range(1, 7), dtype=pl.Int32)
    columns = {
        f"stratum_s{k}": pl.Series(levels, dtype=pl.String) for k, levels in enumerate(strata) if levels
    }
    people = pl.DataFrame({
        "participant": numbers, "id": numbers.cast(pl.String),
        "arm": ["new", "old", "new", "old", "third", "third"], **columns, **participants,
    })  # fmt: skip
    times = pl.DataFrame({
        "participant": numbers, "day": [900.0, 800.0, 700.0, 600.0, 500.0, 400.0],
        "status": pl.Series([1, 0, 1, 1, 0, 1], dtype=pl.Int8), "entry": list(entry),
    })  # fmt: skip
    values = pl.DataFrame({"participant": numbers, "day": [0.0] * 6, "value": [300.0] * 6})
    return AnalysisInput(
        title="made", arms={name: name for name in ("new", "old", "third")}, reference_arm="old",
        participants=people,
        endpoints=(EndpointInput("death", "death", "primary", times, tuple(c[8:] for c in columns)),),
        measures=(MeasureInput("cd4", "CD4 count", "cells/mm3", values, 90.0),), baseline=baseline,
    )  # fmt: skip


def test_an_unknown_stratum_is_a_level_of_its_own_as_in_the_plans_analysis():
    given = _given(
        strata=([None, "yes", None, "yes", "a", "a"], ["yes", None, "yes", None, "b|c", "b|c"]),
    )
    ours = marked_trial(given, arm="new").stratum
    assert ours.tolist() == [ours[0], ours[1], ours[0], ours[1]]
    assert ours[0] != ours[1]
    plans = times_of(given, given.endpoints[0]).stratum[:4]
    assert [a == b for a in ours for b in ours] == [a == b for a in plans for b in plans]


def test_a_bar_within_a_level_does_not_join_two_strata():
    given = _given(strata=(["a|b", "a", "a|b", "a", "", ""], ["c", "b|c", "c", "b|c", "", ""]))
    assert len(set(marked_trial(given, arm="new").stratum.tolist())) == 2


def test_late_entry_is_refused_rather_than_taken_for_time_at_risk():
    late = _given(entry=(0.0, 30.0, 0.0, 12.0, 0.0, 0.0))
    with pytest.raises(UserError, match=r"do not take late entry.*`death` 2 of 4 participants"):
        marked_trial(late, arm="new")
    of_others = _given(entry=(0.0, 0.0, 0.0, 0.0, 9.0, 0.0))
    assert marked_trial(of_others, arm="new").participants == 4


def test_the_units_are_countries_unless_sites_are_asked_for():
    country = pl.DataFrame({
        "participant": pl.Series([1, 2, 3], dtype=pl.Int32), "item": ["country"] * 3,
        "value": [None] * 3, "text": ["Chile", "Norway", "Chile"],
    }, schema_overrides={"value": pl.Float64})  # fmt: skip
    given = _given(baseline=country, site=pl.Series([3, 12, 3, None, 1, 1], dtype=pl.Int32))
    assert marked_trial(given, arm="new").unit.tolist() == ["Chile", "Norway", "Chile", ""]
    assert marked_trial(given, arm="new", units="site").unit.tolist() == ["site 3", "site 12", "site 3", ""]
    numbered = country.with_columns(item=pl.lit("site"), value=pl.Series([3.0, 4.0, 3.0]), text=pl.lit(None))
    mapped = _given(baseline=numbered)
    assert marked_trial(mapped, arm="new", units="site").unit.tolist() == ["site 3", "site 4", "site 3", ""]
    assert marked_trial(mapped, arm="new").unit.tolist() == [""] * 4
    with pytest.raises(UserError, match=r"no units `clinic`.*country, site"):
        marked_trial(given, arm="new", units="clinic")
