"""Every kind of fault that a record can have, put into a faultless one, is found at its row."""

# ruff: noqa: E501
# (one line for each case of the tables reads best)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

import record_example
from equipoise import record
from equipoise.record import Provenance, Record, checking

Change = Callable[[pl.DataFrame], pl.DataFrame]


def _set(column: str, value: object, **where: object) -> Change:
    """Give a column another value in the rows where other columns have given values."""
    rows = pl.lit(True)
    for name, wanted in where.items():
        rows &= pl.col(name) == wanted

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.when(rows)
            .then(pl.lit(value))
            .otherwise(pl.col(column))
            .cast(frame[column].dtype)
            .alias(column)
        )

    return change


def _again(**where: object) -> Change:
    """Repeat a row."""
    return lambda frame: pl.concat([frame, frame.filter(**where)])


def _without(**where: object) -> Change:
    return lambda frame: frame.remove(**where)


def _findings(changes: dict[str, Change], provenance: Provenance | None = None) -> list[str]:
    tables = record_example.tables()
    for name, change in changes.items():
        tables[name] = change(tables[name])
    protocol = record_example.protocol()
    frames = {name: checking.conform(tables[name], schema) for name, schema in _schemas().items()}
    good = Record.of(protocol, record_example.tables(), provenance)
    entries = {n: record.manifest.TableEntry(f.height) for n, f in frames.items()}
    bad = Record(
        protocol, good.manifest.__class__(**(vars(good.manifest) | {"tables": entries})), frames=frames
    )
    return [str(finding) for finding in record.check(bad)]


def _schemas():
    from equipoise.record import schemas

    return schemas.tables(record_example.protocol())


def test_a_faultless_record_has_no_findings():
    assert _findings({}) == []


CASES: list[tuple[str, dict[str, Change], str]] = [
    # values by themselves
    ("a word that the schema does not know", {"disposition": _set("status", "moved", participant=1)},
     'disposition row 1 (participant 1), status: "moved" is not one of completed, died, lost to follow-up, withdrew'),
    ("an arm that the protocol does not have", {"participants": _set("arm", "il7", participant=2)},
     'participants row 2 (participant 2), arm: "il7" is not one of il2, control'),
    ("a country where the trial is not run", {"participants": _set("country", "France", participant=2)},
     '"France" is not one of USA, Spain'),
    ("a stratum that does not exist", {"participants": _set("stratum_cd4_stratum", "middle", participant=2)},
     '"middle" is not one of low, high'),
    ("an item nobody declared", {"measurements": _set("item", "cd8", day=0)}, '"cd8" is not one of age, cd4, hiv_rna'),
    ("a missing value", {"participants": _set("country", None, participant=3)},
     "participants row 3 (participant 3), country: the value is missing"),
    ("a number that is none", {"measurements": _set("value", float("nan"), day=125)},
     "value: the value is not a finite number"),
    ("a grade of 6", {"events": _set("grade", 6, day=40)}, "grade: must be at most 5 (found 6)"),
    ("a cycle before randomisation", {"cycles": _set("day", -1, cycle=1)}, "day: must be at least 0 (found -1)"),
    # keys and references
    ("a participant twice", {"participants": _again(participant=2)},
     "participants row 5 (participant 2): the key (participant) appears a second time"),
    ("two ends of one follow-up", {"disposition": _again(participant=2)}, "appears a second time"),
    ("events of nobody", {"events": _set("participant", 77, day=40)},
     "events row 1 (participant 77, event 1), participant: there is no such row in participants"),
    ("a cycle without a decision", {"decisions": _without(participant=1, sequence=2)},
     "cycles row 2 (participant 1, regimen aldesleukin, cycle 2), participant, decision: there is no such row in "
     "decisions"),
    ("injections of a cycle that was not", {"injections": _set("cycle", 3, cycle=2)}, "no such row in cycles"),
    # participants
    ("screened too early", {"participants": _set("screened_date", date(1998, 1, 1), participant=1)},
     "screened more than 45 days before randomisation (found 384)"),
    ("screened after randomisation", {"participants": _set("screened_date", date(1999, 6, 1), participant=1)},
     "screened after randomisation"),
    ("numbers out of order", {"participants": _set("randomized_date", date(1999, 1, 10), participant=4)},
     "the one before was randomised later"),
    ("the stratum against the baseline", {"participants": _set("stratum_cd4_stratum", "high", participant=1)},
     'participants row 1 (participant 1), stratum_cd4_stratum: the level is "high", but at baseline `cd4 >= 200` '
     "does not hold"),
    # screening
    ("randomised without being eligible", {"screening": _set("participant", None, candidate=4)},
     "screening (participant 3): randomised without a row here"),
    ("ineligible yet randomised", {"screening": lambda f: _set("failed", "I1", candidate=1)(
        _set("eligible", "no", candidate=1)(f))}, "randomised without being eligible (found no)"),
    ("no reason for a failure", {"screening": _set("failed", "", candidate=3)}, "no failed criterion is named"),
    ("a criterion that does not exist", {"screening": _set("failed", "E1;E9", candidate=3)},
     'the protocol has no criterion "E9"'),
    ("randomised twice", {"screening": _set("participant", 1, candidate=4)}, "randomised a second time"),
    # disposition
    ("no end of follow-up", {"disposition": _without(participant=4)},
     "disposition (participant 4): the participant has no row: say how follow-up ended"),
    ("died without a death", {"disposition": _set("status", "died", participant=4)}, "died, but there is no such event"),
    ("a death unnoticed", {"disposition": _set("status", "withdrew", participant=3)}, "there is a death in events"),
    ("another day of death", {"disposition": _set("day", 201, participant=3)},
     "is not the day of the death in events (found 200)"),
    # in time
    ("an event after death", {"events": _set("day", 201, participant=3, kind="od")},
     "events row 2 (participant 3, event 1), day: after death (found 201)"),
    ("measured after the last contact", {"measurements": _set("day", 131, participant=4, day=120)},
     "day: after the last day of follow-up (found 131)"),
    ("measured long before screening", {"measurements": _set("day", -46, participant=4, day=-3)},
     "earlier than the screening period allows (found -46)"),
    # visits
    ("attended outside of the window", {"visits": _set("day", 160, planned_day=122, day=125)},
     "attended, but the day is outside of the window (found 160)"),
    ("late inside the window", {"visits": _set("day", 250, planned_day=244)},
     "late, but the day is not after the window"),
    ("missed with a day", {"visits": _set("day", 122, status="missed")}, "missed, yet it has a day"),
    ("attended without a day", {"visits": _set("day", None, participant=4)}, "not missed, but it has no day"),
    # measurements
    ("another unit", {"measurements": _set("unit", "cells/L", participant=2)},
     "is not the unit of the item (found cells/L)"),
    ("a value beyond belief", {"measurements": _set("value", 31000.0, participant=2)},
     "above the range of the item (found 31000)"),
    ("another detection limit", {"measurements": _set("value", 400.0, qualifier="<")},
     "it is not the detection limit of the item (found 400)"),
    # decisions and cycles
    ("a start without a dose", {"decisions": _set("dose", None, participant=3)},
     "a cycle is to start, but there is no dose"),
    ("a start on an unknown", {"decisions": _set("unknown", "toxicity", participant=3)},
     "a cycle starts on something unknown (found toxicity)"),
    ("asked about nothing", {"decisions": _set("accepted", "no", action="hold")},
     "nothing was offered, yet the participant was asked (found no)"),
    ("decided by another protocol", {"decisions": _set("protocol_sha256", "0" * 64, participant=3)},
     "decided by another version of the protocol"),
    ("decisions out of order", {"decisions": _set("day", 200, sequence=2)}, "earlier than the decision before it"),
    ("a measurement from the future", {"decisions": _set("measured_day", 57, sequence=2)}, "later than the decision"),
    ("a dose above the ceiling", {"cycles": _set("dose", 9.0, cycle=1)},
     "cycles row 1 (participant 1, regimen aldesleukin, cycle 1), dose: above the ceiling of the regimen (found 9)"),
    ("a dose below the floor", {"cycles": _set("dose", 1.0, cycle=1)}, "below the floor of the regimen (found 1)"),
    ("a dose other than decided", {"cycles": _set("dose", 6.0, cycle=2)}, "is not the dose decided (found 3)"),
    ("another unit of dose", {"cycles": _set("unit", "mg", cycle=2)}, "is not the unit of the regimen's dose"),
    ("too soon", {"cycles": _set("day", 57, cycle=2)},
     "cycles row 2 (participant 1, regimen aldesleukin, cycle 2), day: closer to the cycle before than the minimum "
     "gap (days since it) (found 55)"),
    ("more cycles than allowed", {"cycles": _set("cycle", 4, cycle=2), "injections": _set("cycle", 4, cycle=2)},
     "more cycles than the protocol allows"),
    ("a cycle number left out", {"cycles": _set("cycle", 3, cycle=2), "injections": _set("cycle", 3, cycle=2)},
     "cycles are numbered 1, 2, ... without gaps"),
    ("a cycle in the other arm", {"participants": _set("arm", "control", participant=1)},
     "the participant's arm does not have this regimen"),
    ("a cycle during a hold", {"holds": _set("from_day", 50, participant=1)},
     'a cycle while the hold "pregnancy" was on (found 58)'),
    ("a cycle that was declined", {"decisions": _set("accepted", "no", sequence=2)},
     "the participant had declined this cycle"),
    ("a cycle on a decision to wait", {"cycles": _set("decision", 3, cycle=2)}, "the decision does not start a cycle"),
    ("two cycles on one decision", {"cycles": _set("decision", 1, cycle=2)},
     "the decision has started another cycle before"),
    ("decided afterwards", {"cycles": _set("day", 55, cycle=2)}, "decided after the cycle began (found 56)"),
    ("more injections than planned", {"cycles": _set("administrations_given", 11, cycle=1)},
     "more given than planned (found 11)"),
    ("another number planned", {"cycles": _set("administrations_planned", 8, cycle=2)}, "differs from the protocol"),
    ("injections that do not add up", {"injections": _set("given", False, number=10)},
     "injections (participant 1, cycle 1), given: 9 given one by one, 10 in cycles"),
    ("an injection before its cycle", {"injections": _set("day", 1, number=10)}, "before the cycle began"),
    # events and holds
    ("dying twice", {"events": _set("kind", "death", participant=3)}, "the participant dies a second time"),
    ("events out of order", {"events": _set("day", 200, participant=3, kind="od")}, ""),
    ("a cycle that was not", {"events": _set("cycle", 3, participant=1)}, "the participant had no such cycle (found 3)"),
    ("an event before its cycle", {"events": _set("cycle", 2, participant=1)},
     "the event is earlier than this cycle (found 58)"),
    ("a hold that ends before it begins", {"holds": _set("to_day", 100, participant=1)},
     "not after the first day (found 100)"),
    ("a hold inside another", {"holds": lambda f: pl.concat([f, f.with_columns(from_day=pl.lit(200, pl.Int64))])},
     "begins before the same hold had ended (found 200)"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_fault_is_found_at_its_row(changes: dict[str, Change], message: str):
    found = _findings(changes)
    if message:
        assert any(message in line for line in found), found
    else:
        assert found == []


def test_nothing_lies_after_the_data_cut():
    found = _findings({}, Provenance(data_cut=date(1999, 5, 1)))
    assert any("visits row 2" in line and "after the data cut of 1999-05-01" in line for line in found), found


def test_many_faults_of_one_kind_are_counted_not_listed():
    protocol = record_example.protocol()
    frame = record_example.many(5000, 5000)[0].with_columns(unit=pl.lit("IU/mL"))
    tables = record_example.tables() | {"measurements": frame, "disposition": _long_follow_up()}
    tables["visits"] = tables["visits"].clear()
    findings = record.check(Record.of(protocol, tables))
    assert len(findings) == checking.SHOWN + 1
    assert findings[-1].more == 5000 - checking.SHOWN
    assert str(findings[-1]) == "measurements, unit: is not the unit of the item: 4,980 more rows like this"


def _long_follow_up() -> pl.DataFrame:
    return _set("day", 6000, participant=1)(record_example.tables()["disposition"])


@pytest.mark.parametrize("order", ["by participant", "by item"])
def test_a_key_repeated_in_another_part_is_found(monkeypatch: pytest.MonkeyPatch, order: str):
    from equipoise.record import schemas

    monkeypatch.setattr(schemas, "PART_ROWS", 3)
    tables = record_example.tables()
    measured = tables["measurements"].sort("participant" if order == "by participant" else "item")
    last = measured.height
    tables["measurements"] = pl.concat([measured, measured.tail(1)])
    protocol = record_example.protocol()
    frames = {n: checking.conform(tables.get(n, s.empty()), s) for n, s in schemas.tables(protocol).items()}
    entries = {n: record.manifest.TableEntry(f.height) for n, f in frames.items()}
    made = replace(Record.of(protocol, record_example.tables()).manifest, tables=entries)
    (found,) = record.check(Record(protocol, made, frames=frames))
    assert found.row == last + 1
    assert "appears a second time" in found.message


def test_participants_are_checked_block_by_block_as_all_at_once(monkeypatch: pytest.MonkeyPatch):
    changes = {"measurements": _set("unit", "cells/L"), "disposition": _without(participant=4)}
    together = _findings(changes)
    monkeypatch.setattr(checking, "_BLOCK", 1)
    assert sorted(_findings(changes)) == sorted(together)


def test_a_message_for_a_user_shows_the_first_findings_and_counts_the_rest():
    findings = [checking.Finding("events", "wrong", "day", row=n) for n in range(1, 11)]
    words = checking.in_words(findings, "the record is not written", shown=2)
    assert words.splitlines() == [
        "10 faults in the tables: the record is not written",
        "  events row 1, day: wrong",
        "  events row 2, day: wrong",
        "  ... `equipoise record check DIR` lists them all",
    ]


def test_a_protocol_without_a_simulation_allows_any_country():
    text = record_example.PROTOCOL_TEXT.split("simulation:")[0]
    from equipoise.protocol import loads, sha256

    protocol = loads(text)
    tables = record_example.tables()
    tables["decisions"] = tables["decisions"].with_columns(protocol_sha256=pl.lit(sha256(protocol)))
    tables["participants"] = _set("country", "Argentina", participant=1)(tables["participants"])
    tables["screening"] = _set("country", "Argentina", candidate=1)(tables["screening"])
    assert record.check(Record.of(protocol, tables)) == []
