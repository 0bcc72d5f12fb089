"""The data that measures of a surrogate work on: values that stand until the next, time cut into spells."""

import numpy as np
import pytest

from equipoise.analyse import inputs
from equipoise.analyse.surrogate import MarkedTrial, marked_trial
from equipoise.errors import UserError
from equipoise.protocol import load
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


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    protocol = load("silcaat")
    given = inputs.from_record(trial(protocol, seed=3, participants=60), protocol)
    with pytest.raises(UserError, match=r"there are: .*death"):
        marked_trial(given, endpoint="deaths")
