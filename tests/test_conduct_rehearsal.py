"""A rehearsal in small: the real server, virtual participants, faults on purpose, everything compared; and
that the comparison finds what is wrong."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from equipoise.conduct.rehearsal import evidence, judging
from equipoise.conduct.rehearsal.clinic import Judged, as_reported
from equipoise.conduct.rehearsal.faults import Faults
from equipoise.conduct.rehearsal.rehearsing import Outcome, rehearse
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.record import read
from equipoise.rules.terms import START, WAIT, Decision, Situation
from equipoise.simulate import reference
from equipoise.simulate.reference import Answered, Asked, Ended
from test_virtual_walk import SEED, arms_of, study


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Four participants of Vanguard for half a year, with faults."""
    out = tmp_path_factory.mktemp("rehearsal") / "vanguard"
    return rehearse("vanguard", participants=4, years=0.5, faults=True, out=out, report=False, clients=3)


@pytest.mark.requirement("K5", "D2", "D4", "D31")
def test_with_faults_nothing_disagrees(rehearsed: Outcome) -> None:
    assert rehearsed.disagreements == []
    looked_at = {check.name: check.looked_at for check in rehearsed.checks}
    assert len(looked_at) == 10
    assert sum(looked_at.values()) > 500
    assert all(looked_at[name] > 0 for name in looked_at if "flagged" not in name)


@pytest.mark.requirement("B4")
def test_the_folder_can_be_filed_as_evidence(rehearsed: Outcome) -> None:
    folder = rehearsed.folder
    lines = (folder / "hashes.txt").read_text().splitlines()
    named = {line.split("  ")[1] for line in lines}
    assert {"summary.md", "summary.html", "decisions.parquet", "faults.csv", "requests.parquet"} <= named
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    decisions = pl.read_parquet(folder / "decisions.parquet")
    assert decisions.height > 0
    assert decisions["same"].all()
    assert (decisions["expected_dose"] == decisions["proposed_dose"]).all()
    summary = (folder / "summary.md").read_text()
    assert "Nothing disagreed." in summary
    assert rehearsed.facts.head in summary
    with (folder / "faults.csv").open() as file:
        faults = list(csv.DictReader(file))
    assert faults
    requests = pl.read_parquet(folder / "requests.parquet")
    assert (requests["simulated_time"].diff().drop_nulls().dt.total_microseconds() >= 0).all()


def test_the_record_of_the_rehearsal_is_that_of_a_real_trial(rehearsed: Outcome) -> None:
    record = read(rehearsed.folder / "record")
    assert record.manifest.tables["participants"].rows == 4
    assert record.manifest.tables["decisions"].rows == sum(
        check.looked_at for check in rehearsed.checks if check.name.startswith("Decisions are stored")
    )


@pytest.mark.slow
@pytest.mark.requirement("K1", "K3", "K5", "K6")
def test_without_faults_the_record_is_that_of_the_simulated_trial_and_repeats(tmp_path: Path) -> None:
    first = rehearse("silcaat", participants=3, years=0.5, faults=False, out=tmp_path / "first")
    assert first.disagreements == []
    assert first.checks[-1].name.startswith("The record is that of the simulated trial")
    assert first.checks[-1].looked_at > 100
    assert (first.folder / "report.html").stat().st_size > 10_000
    again = rehearse("silcaat", participants=3, years=0.5, faults=False, out=tmp_path / "again", report=False)
    same = pl.read_parquet(first.folder / "decisions.parquet")
    assert same.equals(pl.read_parquet(again.folder / "decisions.parquet"))
    tables = [read(one.folder / "record").table("participants") for one in (first, again)]
    assert tables[0].equals(tables[1])


# --- the comparison finds what is wrong -------------------------------------------------------------------

SITUATION = Situation(0, 1, 1, 1, 0, 0, 0, 1, 0, -1, -1, 0.0, 0, 0, 0, 150.0, 150.0, 0, 275.0)
START_4_5 = Decision(START, 4.5, 0, 1, 0)


def test_a_decision_with_another_dose_is_named() -> None:
    one = Judged("001-0001-A", 3, date(2003, 5, 4), SITUATION, START_4_5, START_4_5, "yes")
    assert one.same
    other = replace(one, proposed=START_4_5._replace(dose=6.0))
    assert not other.same
    assert judging._differs(other) == "001-0001-A, decision 3 of 2003-05-04: dose 6.0 instead of 4.5"


def test_a_row_that_differs_from_the_simulation_is_named() -> None:
    wanted = pl.DataFrame({"participant": [1, 2], "day": [300, 400], "status": ["died", "completed"]})
    assert list(judging._table_differs("disposition", wanted, wanted)) == []
    found = pl.DataFrame({"participant": [1, 2], "day": [300, 401], "status": ["died", "completed"]})
    assert list(judging._table_differs("disposition", wanted, found)) == [
        "disposition, participant 2: day 401 instead of 400"
    ]
    fewer = list(judging._table_differs("disposition", wanted, found.head(1)))
    assert fewer == ["disposition: 1 rows, 2 in the simulation", "disposition, participant 2: not there"]


def test_a_disagreement_is_in_the_verdict() -> None:
    held = judging.Check("rows", 7, ())
    assert evidence.verdict([held]) == "Nothing disagreed."
    assert evidence.verdict([held, judging.Check("doses", 3, ("one",))]) == "1 disagreements."


# --- faults and values ------------------------------------------------------------------------------------


def test_faults_follow_from_the_seed_and_can_be_turned_off() -> None:
    drawn = [[Faults(seed, 7, True).entry() for _ in range(1)] for seed in range(400)]
    assert {"right", "late", "missing"} <= {one[0] for one in drawn}
    first, again = Faults(3, 7, True), Faults(3, 7, True)
    assert [first.line() for _ in range(200)] == [again.line() for _ in range(200)]
    off = Faults(3, 7, False)
    assert {off.entry() for _ in range(200)} == {"right"}
    assert not any(off.two_at_once() for _ in range(200))


@pytest.mark.parametrize("right", [1.0, 9.0, 11.0, 100.0, 212.0, 2999.0, 3000.0])
def test_a_slip_of_the_pen_is_another_value_within_the_limits(right: float) -> None:
    wrong = Faults(1, 1, True).wrong(right, 0.0, 3000.0)
    assert wrong != right
    assert 0 <= wrong <= 3000


def test_values_are_reported_as_laboratories_do() -> None:
    items = load("silcaat").items
    assert as_reported(items["hiv_rna"], 12.0) == "<50"
    assert as_reported(items["hiv_rna"], 12_000_000.0) == "12000000"
    assert as_reported(items["cd4"], 201.5) == "201.5"
    assert as_reported(items["cd4"], 3100.0) == ">3000"


def test_what_cannot_be_rehearsed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no virtual population"):
        rehearse("erythropoietin", participants=4, out=tmp_path / "out")
    with pytest.raises(UserError, match="at least 2 participants"):
        rehearse("silcaat", participants=1, out=tmp_path / "out")
    for years in (-1.0, 0.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"--years {years:g}: .* a number of years above 0, such as 1"):
            rehearse("silcaat", participants=2, years=years, out=tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="exists already"):
        rehearse("silcaat", participants=2, out=tmp_path / "there")


# --- the walk with another clinic -------------------------------------------------------------------------


def test_a_clinic_that_never_starts_a_cycle_gives_none() -> None:
    setup, enrolment = study("silcaat", "C", 20)
    cycled, _ = arms_of(setup)
    decided = 0
    for i in range(20):
        walking = _steps(setup, enrolment, i, cycled)
        step = next(walking)
        while not isinstance(step, Ended):
            answer = None
            if isinstance(step, Asked):
                decided += 1
                answer = Decision(WAIT, 0.0, step.situation.day + 30, 0, 0)
            elif isinstance(step, Answered):
                assert step.cycle is None
            step = walking.send(answer)
        assert step.day > 0
    assert decided > 100


def test_a_clinic_must_answer() -> None:
    setup, enrolment = study("silcaat", "C", 20)
    walking = _steps(setup, enrolment, 0, arms_of(setup)[0])
    with pytest.raises(RuntimeError, match="the clinic sent none"):
        list(walking)


def _steps(setup, enrolment, i, arm):  # type: ignore[no-untyped-def]
    from equipoise.rules.truth import YES
    from equipoise.virtual import latent

    people, plan = enrolment.people, setup.arms[arm].plan
    person = latent.person(
        *setup.kernel, SEED, 0, people.number[i], people.count[i], people.nadir[i], people.age[i],
        people.female[i], people.prior_aids[i], people.viraemic[i], people.log10_level[i],
    )  # fmt: skip
    visits = tuple(
        reference.VisitPlan(int(planned), int(earliest), int(before), count == YES, rna == YES)
        for planned, earliest, before, count, rna in zip(
            plan.planned, plan.earliest, plan.before, plan.measures_count, plan.measures_rna, strict=True
        )
    )
    course = reference.Course(
        plan.rules, plan.administrations, 300.0, float(people.baseline[i]), plan.cover == YES,
        tuple(int(x) for x in plan.holds), tuple(int(x) for x in plan.resume),
    )  # fmt: skip
    return reference.steps(setup.kernel, person, visits, course, int(people.end_day[i]), SEED, 0)
