"""A simulated trial: the same whatever the threads, both fates, a record without a fault, refusals in
words."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import equipoise.simulate as simulate
from equipoise import analyse, record
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.rules import randomization
from equipoise.simulate.enrolment import ELIGIBLE, enrol
from equipoise.simulate.plans import prepare
from equipoise.virtual.baseline import load_baseline
from equipoise.virtual.parameters import load_population
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import ALLOCATION

runs = sys.modules["equipoise.simulate.runs"]


@pytest.fixture(scope="module")
def silcaat() -> record.Record:
    return simulate.trial(load("silcaat"), seed=7, participants=300)


@pytest.fixture(scope="module")
def whole() -> record.Record:
    return simulate.trial(load("silcaat"), seed=5, trial=3)


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_the_record_of_a_simulated_trial_has_no_fault(name: str) -> None:
    made = simulate.trial(load(name), seed=11, participants=200)
    assert record.check(made) == []
    for table in made.tables:
        if table != "holds":
            assert made.table(table).height > 0, table


def test_threads_and_chunks_change_nothing(silcaat: record.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = load("silcaat")
    monkeypatch.setattr(runs, "CHUNK", 37)
    for threads in (1, 3):
        other = simulate.trial(protocol, seed=7, participants=300, threads=threads)
        for name in silcaat.tables:
            assert other.table(name).equals(silcaat.table(name)), name
        for name in silcaat.truth_tables:
            assert other.truth(name).equals(silcaat.truth(name)), name


def test_the_record_on_disk_is_the_record_in_memory(silcaat: record.Record, tmp_path: Path) -> None:
    written = simulate.trial(load("silcaat"), seed=7, participants=300, out=tmp_path / "one")
    again = simulate.trial(load("silcaat"), seed=7, participants=300, out=tmp_path / "two", threads=1)
    assert written.manifest.record_sha256 == again.manifest.record_sha256
    opened = record.read(tmp_path / "one")
    for name in silcaat.tables:
        assert opened.table(name).equals(silcaat.table(name)), name
    assert opened.truth("persons").equals(silcaat.truth("persons"))
    assert opened.manifest.provenance.seed == 7


def test_the_protocol_of_a_record_gives_that_record_again(silcaat: record.Record, tmp_path: Path) -> None:
    simulate.trial(load("silcaat"), seed=7, participants=300, out=tmp_path / "one")
    again = simulate.trial(load(str(tmp_path / "one" / "protocol.json")), seed=7, participants=300)
    assert again.manifest.record_sha256 == silcaat.manifest.record_sha256


def test_another_seed_or_another_trial_is_another_trial(silcaat: record.Record) -> None:
    protocol = load("silcaat")
    for other in (
        simulate.trial(protocol, seed=8, participants=300),
        simulate.trial(protocol, seed=7, trial=1, participants=300),
    ):
        assert not other.table("measurements").equals(silcaat.table("measurements"))


def test_without_any_effect_both_arms_meet_identical_fates() -> None:
    fates = simulate.potential_outcomes(load("silcaat"), seed=3, participants=400, dials={"preset": "A"})
    one, other = (fates.filter(pl.col("arm") == arm) for arm in ("il2", "control"))
    assert one["cycles"].sum() > 500
    assert other["cycles"].sum() == 0
    for what in ("opportunistic_disease", "death", "last_day", "status"):
        assert one[what].equals(other[what]), what
    assert one["cd4_mean"].mean() > other["cd4_mean"].mean() + 20


def test_the_allocated_fate_is_the_one_on_record(silcaat: record.Record) -> None:
    fates = simulate.potential_outcomes(load("silcaat"), seed=7, participants=300).filter("allocated")
    assert fates["arm"].equals(silcaat.table("participants")["arm"])
    assert fates["last_day"].equals(silcaat.table("disposition")["day"].alias("last_day"))
    deaths = silcaat.table("events").filter(pl.col("kind") == "death").select("participant", "day")
    assert (
        deaths.sort("participant").rows() == fates.drop_nulls("death").select("participant", "death").rows()
    )
    cycles = silcaat.table("cycles").group_by("participant").len().sort("participant")
    assert cycles.rows() == fates.filter(pl.col("cycles") > 0).select("participant", "cycles").rows()


def test_more_participants_leave_the_first_candidates_as_they_were() -> None:
    setup = prepare(load("silcaat"))
    few, many = enrol(setup, 5, 0, 100), enrol(setup, 5, 0, 400)
    np.testing.assert_array_equal(few.people.number, many.people.number[:100])
    np.testing.assert_array_equal(few.people.count, many.people.count[:100])
    np.testing.assert_array_equal(few.eligible, many.eligible[: len(few.eligible)])


def test_enrolment_does_not_depend_on_how_many_candidates_are_drawn_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = prepare(load("silcaat"))
    whole = enrol(setup, 5, 0, 150)
    monkeypatch.setattr(sys.modules["equipoise.simulate.enrolment"], "BLOCK", 41)
    pieces = enrol(setup, 5, 0, 150)
    for field in ("country", "site", "assessed", "screening", "eligible", "position", "arm", "levels"):
        np.testing.assert_array_equal(getattr(whole, field), getattr(pieces, field), err_msg=field)
    for field in whole.people._fields:
        np.testing.assert_array_equal(
            getattr(whole.people, field), getattr(pieces.people, field), err_msg=field
        )


def test_enrolment_stops_with_the_participant_who_fills_the_trial() -> None:
    setup = prepare(load("silcaat"))
    enrolment = enrol(setup, 5, 0, 150)
    assert enrolment.participants == 150
    assert (enrolment.eligible == ELIGIBLE).sum() == 150
    assert enrolment.eligible[-1] == ELIGIBLE
    assert (np.diff(enrolment.assessed) >= 0).all()
    calendar = setup.protocol.calendar
    assert enrolment.assessed[-1] == (calendar.last_randomization - calendar.first_randomization).days


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_the_compiled_allocation_is_the_one_of_the_rules(name: str) -> None:
    protocol = load(name)
    setup = prepare(protocol)
    enrolment = enrol(setup, 9, 2, 200)
    plan = randomization.scheme(protocol)
    places = [list(protocol.strata).index(stratum) for stratum in plan.strata]
    entries = [
        (
            [enrolment.stratum_levels[place][enrolment.levels[i, place]] for place in places],
            *uniforms(9, ALLOCATION, i, 0, 2),
        )
        for i in range(200)
    ]
    assert randomization.replay(plan, entries) == enrolment.arm.tolist()


def test_counts_and_ages_at_entry_meet_the_criteria(silcaat: record.Record) -> None:
    baseline = silcaat.table("baseline")
    cd4 = baseline.filter(pl.col("item") == "cd4")["value"]
    age = baseline.filter(pl.col("item") == "age")["value"]
    assert cd4.is_between(50, 299.99).all()
    assert (age >= 18).all()
    assert (baseline.filter(pl.col("item") == "pregnant")["value"].fill_null(0) == 0).all()


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate.trial(load("silcaat"), seed=1, participants=100, out=tmp_path / "record", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("erythropoietin", "names no virtual population"),
        ("stalwart", "no life off therapy"),
    ],
)
def test_a_trial_that_cannot_be_simulated_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        simulate.trial(load(name), seed=1)


@pytest.mark.parametrize(
    ("dials", "words"),
    [
        ("Z", 'no preset "Z"; the presets are'),
        ({"functional_fracton": 0.5}, "did you mean|the dials are"),
        ({"functional_fraction": 7}, "must be a number from"),
    ],
)
def test_an_unknown_dial_is_refused_in_words(dials: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        simulate.trial(load("silcaat"), seed=1, dials=dials)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
def test_a_seed_is_a_whole_number_of_64_bits(seed: object) -> None:
    with pytest.raises(UserError, match="seed must be a whole number"):
        simulate.trial(load("silcaat"), seed=seed)


def test_the_largest_seed_works() -> None:
    assert simulate.trial(load("silcaat"), seed=2**64 - 1, participants=20).table("participants").height == 20


def test_a_recurrence_is_the_disease_that_the_person_had_before(whole: record.Record) -> None:
    terms = load_baseline("silcaat").file.history_terms
    had = whole.table("baseline").filter(pl.col("item").is_in(list(terms)) & (pl.col("value") == 1))
    before = had.select("participant", term=pl.col("item").replace_strict(terms))
    diseases = (
        whole.table("events").filter(pl.col("kind") == "opportunistic_disease").sort("participant", "day")
    )
    earlier = set(before.rows())
    for participant, term, word in diseases.select("participant", "term", "adjudication").iter_rows():
        assert word == ("recurrence" if (participant, term) in earlier else "confirmed")
        earlier.add((participant, term))
    assert "recurrence" in diseases["adjudication"].to_list()


def test_no_man_has_a_womans_disease(whole: record.Record) -> None:
    file = load_population("hiv_il2").file
    rows = {**file.opportunistic_terms, **file.grade4_terms}
    hers = [term for term, row in rows.items() if row.only == "female"]
    assert hers
    people = whole.table("participants").filter(pl.col("sex") == "male")
    assert whole.table("events").join(people, on="participant").filter(pl.col("term").is_in(hers)).is_empty()


def test_an_endpoint_of_new_disease_is_the_same_with_and_without_a_record() -> None:
    esprit = load("esprit")
    made = analyse.run(simulate.trial(esprit, seed=3, trial=1, participants=1500), esprit)
    row = simulate.replicates(esprit, 1, seed=3, first=1, participants=1500).row(0, named=True)
    for arm in ("il2", "control"):
        new = made.value("new_disease", arm, "events", "n")
        assert row[f"new_disease|{arm}|events|n"] == new
        assert new <= made.value("primary", arm, "events", "n")


def test_nobody_enters_with_a_value_below_what_the_assay_can_see(silcaat: record.Record) -> None:
    entry = silcaat.table("baseline").filter(pl.col("item") == "hiv_rna")["value"]
    assert entry.min() == 50.0
    assert 0.2 < (entry == 50.0).mean() < 0.7
    reported = silcaat.table("measurements").filter((pl.col("item") == "hiv_rna") & (pl.col("value") == 50.0))
    assert set(reported["qualifier"].unique()) <= {"<", None}
    assert (reported["qualifier"] == "<").mean() > 0.9
