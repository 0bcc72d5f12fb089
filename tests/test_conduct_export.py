"""The record of a conducted trial is like that of a simulated one: it passes its checks, and analysis and
report work on it; the ledger can be checked without the system."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from conduct_ready import protocol_file, ready, strata
from conduct_treated import at, check, decide, event, form, visit
from conduct_trial import START, copied, do
from equipoise.conduct import clock, ledger
from equipoise.conduct.folder import TrialFolder

DAY0 = date(2026, 3, 3)
CLEAR = {"haemoglobin": "9.0", "systolic": "140", "toxicity_reviewed": "yes"}


def day(number: int) -> date:
    return DAY0 + timedelta(days=number)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file("blocks of three"))


def _person(number: str) -> Any:
    from equipoise.conduct.models import Participant

    return Participant.objects.select_related("site").get(number=number)


def _randomised(count: int) -> dict[str, list[Any]]:
    """So many randomised today; participants by arm."""
    from equipoise.conduct.reading.arms import arm_of

    found: dict[str, list[Any]] = {"epo": [], "usual": []}
    for one in range(count):
        number = ready(("ada", "cas")[one % 2])
        do("randomize", ("ada", "cas")[one % 2], participant=number, strata=strata(number))
        person = _person(number)
        found[str(arm_of(person))].append(person)
    return found


def _cycle(person: Any, number: int, given: int = 4) -> None:
    with at(day(number)):
        check(person, "erythropoietin", day(number), **CLEAR)
        cycle = decide(person, "erythropoietin", day(number))["cycle"]
    with at(day(number + 23)):
        do(
            "cycle.injections", "ada" if person.site_id == 1 else "cas", participant=person.number,
            regimen="erythropoietin", cycle=cycle, version=0, complete=True,
            injections=[
                {"number": k, "state": "given" if k <= given else "missed"} for k in range(1, 5)
            ],
        )  # fmt: skip


def _lived(trial: TrialFolder) -> dict[str, list[Any]]:
    """Six people, two of them without the drug, for four months: cycles, a missed injection, an event, a
    death, a withdrawal, a screening failure."""
    who = _randomised(6)
    for person in (*who["epo"], *who["usual"]):
        visit(person, "entry:0", DAY0, haemoglobin="8.6", weight="70", systolic="140")
    failed = do("screening.start", "ada", site=1, screened_on=DAY0, consent_on=DAY0, consent_version="1.0")[
        "participant"
    ]
    do("screening.fail", "ada", participant=failed, reason="moved away before the tests")
    first, second = who["epo"][:2]
    _cycle(first, 1)
    with at(day(28)):
        visit(first, "four_weekly:28", day(28), haemoglobin="9.4", weight="70", systolic="138")
    _cycle(first, 32, given=3)
    with at(day(56)):
        event(first, day(56), 2, cycle=2, term="headache")
        event(second, "2026-04", None, term="rash", attributed=None)
        form(first, "update", f"{day(56)}:1", day(56), thrombosis_active="yes")
    with at(day(70)):
        do("hold.place", "ivo" if second.site_id == 1 else "ina", participant=second.number,
           since=day(60), reason="wishes to think it over")  # fmt: skip
        who["usual"][0].refresh_from_db()
        do("disposition.record", "ada" if who["usual"][0].site_id == 1 else "cas",
           participant=who["usual"][0].number, status="withdrew", on=day(68), reason="moved")  # fmt: skip
    with at(day(84)):
        visit(who["usual"][1], "quarterly:84", day(84), haemoglobin="8.1", ferritin="<5", systolic="150")
        event(first, day(83), 5, kind=_fatal(trial), serious=True, serious_because="death", attributed=False,
              term=_fatal_term(trial), aware_at=clock.now(), outcome="fatal")  # fmt: skip
        do("disposition.record", "ada" if first.site_id == 1 else "cas", participant=first.number,
           status="died", on=day(83))  # fmt: skip
    return who


def _fatal(trial: TrialFolder) -> str:
    return next(name for name, event in trial.protocol.events.items() if event.terminal)


def _fatal_term(trial: TrialFolder) -> str:
    declared = trial.protocol.events[_fatal(trial)]
    return declared.terms[0] if declared.terms else declared.label


@pytest.mark.requirement("I5")
def test_a_trial_in_conduct_is_exported_checked_analysed_and_reported(
    trial: TrialFolder, tmp_path: Path
) -> None:
    from equipoise.analyse import run
    from equipoise.conduct.exporting import export
    from equipoise.record import check as check_record
    from equipoise.report import write

    who = _lived(trial)
    with at(day(120)):
        record, faults = export(trial, tmp_path / "record")
    assert [str(finding) for finding in check_record(record)] == []
    assert faults == ()
    assert record.manifest.provenance.kind == "conducted"
    assert record.manifest.protocol_sha256 == trial.protocol_sha256
    counts = {name: record.table(name).height for name in record.tables}
    assert counts["participants"] == 6
    assert counts["screening"] == 7
    assert (counts["decisions"], counts["cycles"], counts["injections"]) == (2, 2, 8)
    assert record.table("cycles")["administrations_given"].to_list() == [4, 3]
    ends = dict(record.table("disposition").select("status", "day").iter_rows())
    assert ends["died"] == 83
    assert ends["withdrew"] == 68
    assert ends["in follow-up"] < 120
    holds = record.table("holds").sort("hold")
    assert holds["hold"].to_list() == ["investigator", "thrombosis"]
    events = record.table("events")
    assert sorted(events["kind"].to_list()) == sorted(["adverse_event", "adverse_event", _fatal(trial)])
    assert events.filter(pl.col("term") == "rash")["day"].to_list() == [(date(2026, 4, 1) - DAY0).days]
    below = record.table("measurements").filter(pl.col("qualifier") == "<")
    assert below.select("item", "value").row(0) == ("ferritin", 5.0)
    results = run(record)
    flow = results.table.filter((pl.col("analysis") == "consort") & (pl.col("parameter") == "in follow-up"))
    assert flow["value"].sum() == 4
    assert len(who["epo"]) + len(who["usual"]) == 6
    pages = write(results, record.protocol, record, out=tmp_path / "report", paper="never")
    text = pages["html"].read_text(encoding="utf-8")
    assert "In follow-up" in text
    assert trial.protocol_sha256 in text


def _death(trial: TrialFolder, onset: date | str) -> dict[str, Any]:
    return {
        "onset": onset, "grade": 5, "kind": _fatal(trial), "serious": True, "serious_because": "death",
        "attributed": False, "term": _fatal_term(trial), "aware_at": clock.now(), "outcome": "fatal",
    }  # fmt: skip


@pytest.mark.requirement("I5", "I10")
def test_a_death_of_which_only_the_month_is_known_comes_after_what_shows_the_participant_alive(
    trial: TrialFolder, tmp_path: Path
) -> None:
    from equipoise.conduct.exporting import export

    treated, later, exact = _randomised(8)["epo"][:3]
    for person in (treated, later, exact):
        visit(person, "entry:0", DAY0, haemoglobin="8.6", weight="70", systolic="140")
    _cycle(treated, 1)
    with at(day(26)):
        event(treated, **_death(trial, "2026-03"))
        event(exact, **_death(trial, day(25)))
    with at(day(35)):
        event(later, **_death(trial, "2026-04"))
        record, faults = export(trial, tmp_path / "before the ends are recorded")
    assert [str(finding) for finding in faults] == []

    def ends(record: Any) -> dict[int, int]:
        died = record.table("disposition").filter(pl.col("status") == "died")
        return dict(died.select("participant", "day").iter_rows())

    numbers = [person.randomized_number for person in (treated, later, exact)]
    april = (date(2026, 4, 1) - DAY0).days
    last_injection = 22
    assert [ends(record)[number] for number in numbers] == [last_injection, april, 25]
    assert record.table("cycles")["administrations_given"].to_list() == [4]
    with at(day(36)):
        do("disposition.record", "ada" if treated.site_id == 1 else "cas", participant=treated.number,
           status="died", on=day(24))  # fmt: skip
        record, faults = export(trial, tmp_path / "after one")
    assert faults == ()
    assert [ends(record)[number] for number in numbers] == [24, april, 25]


@pytest.mark.requirement("I10", "A7")
def test_what_is_faulty_is_told_at_the_end_of_the_export(trial: TrialFolder, tmp_path: Path) -> None:
    from equipoise.cli.main import app
    from equipoise.conduct.exporting import export
    from equipoise.conduct.models import Entry

    person = _randomised(4)["epo"][0]
    with at(day(30)):
        visit(person, "entry:0", DAY0, haemoglobin="8.6", weight="70", systolic="140")
        visit(person, "four_weekly:28", day(28), haemoglobin="9.4", weight="70", systolic="138")
        event(person, **_death(trial, day(20)))
        _, faults = export(trial, tmp_path / "record")
        told = [str(finding) for finding in faults]
        assert len(told) == 4, told
        assert all("after death" in words for words in told)
        assert Entry.objects.latest("n").new.endswith(", 4 randomised, 4 faults")
        done = CliRunner().invoke(app, ["conduct", "export", str(trial.path), "--out", str(tmp_path / "cli")])
    assert done.exit_code == 0, done.output
    assert "4 faults in the tables: they are in the record as they are in the trial" in done.stderr
    assert told[0] in done.stderr
    checked = CliRunner().invoke(app, ["record", "check", str(tmp_path / "cli")])
    assert checked.exit_code == 2
    assert checked.stdout.splitlines() == told


@pytest.mark.requirement("A10", "A12", "D18")
def test_the_ledger_is_exported_whole_and_can_be_checked_without_the_system(
    trial: TrialFolder, tmp_path: Path
) -> None:
    from equipoise.conduct.exporting import export_ledger
    from equipoise.conduct.models import Chain, Entry

    do("trial.places", "theo", places=1800, reason='=1+1 more, "as agreed"')
    head = Chain.objects.get(id=1)
    found = export_ledger(trial, tmp_path / "ledger")
    assert (found.entries, found.final_hash, found.linked) == (head.n, head.hash, True)
    noted = Entry.objects.latest("n")
    assert (noted.command, noted.kind, noted.new) == (
        "ledger.export",
        "export",
        f"{head.n} entries, {head.hash}",
    )
    told = json.loads((tmp_path / "ledger" / "ledger.json").read_text())
    assert (told["entries"], told["final_hash"]) == (head.n, head.hash)
    frame = pl.read_parquet(tmp_path / "ledger" / "parquet" / "*.parquet")
    assert frame.height == head.n
    problems = ledger.verify_chain(
        frame.iter_rows(named=True),
        ledger.checkpoints(tmp_path / "ledger" / "checkpoints.jsonl"),
        told["public_key"],
        (head.n, head.hash),
    )
    assert problems == []
    with (tmp_path / "ledger" / "ledger.csv").open(newline="", encoding="utf-8") as file:
        exact = list(csv.DictReader(file))
    assert [row["hash"] for row in exact] == frame["hash"].to_list()
    assert exact[-1]["reason"] == '=1+1 more, "as agreed"'
    with (tmp_path / "ledger" / "ledger-for-spreadsheets.csv").open(newline="", encoding="utf-8") as file:
        safe = list(csv.DictReader(file))
    assert safe[-1]["reason"] == '\'=1+1 more, "as agreed"'
    assert not any(value.startswith(("=", "+", "-", "@")) for row in safe for value in row.values())


def _grown_ledger(entries: int) -> None:
    """The ledger of the trial with so many entries, chained as all are."""
    from equipoise.conduct.models import Chain, Entry

    head = Chain.objects.get(id=1)
    model = Entry.objects.order_by("-n").values().first()
    assert model is not None
    rows, previous = [], head.hash
    for n in range(head.n + 1, entries + 1):
        fields = {**model, "n": n, "reason": f"entry {n}: {'for the test ' * 8}"}
        del fields["hash"], fields["previous"]
        previous_hash, previous = previous, ledger.entry_hash(previous, fields)
        rows.append(Entry(**fields, previous=previous_hash, hash=previous))
    Entry.objects.bulk_create(rows, batch_size=500)
    Chain.objects.update(n=entries, hash=previous)


@pytest.mark.requirement("A10")
def test_the_memory_that_the_export_of_the_ledger_takes_does_not_grow_with_it(
    trial: TrialFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read, written and forgotten in pieces; here the pieces are small."""
    import tracemalloc

    from equipoise.conduct import exporting
    from equipoise.conduct.models import Chain

    monkeypatch.setattr(exporting, "LEDGER_PART_ROWS", 1000)
    peaks = []
    for entries in (10_000, 20_000):
        _grown_ledger(entries)
        head = Chain.objects.get(id=1)
        tracemalloc.start()
        found = exporting.export_ledger(trial, tmp_path / str(entries))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found.entries, found.final_hash, found.linked) == (entries, head.hash, True)
        parts = tmp_path / str(entries) / "parquet"
        assert pl.read_parquet(parts / "*.parquet").height == entries
        assert len(list(parts.iterdir())) == entries // 1000
    assert peaks[1] < 1.25 * peaks[0], peaks


WITHOUT_THE_SERVER = """
import json, sys

for name in ("django", "ninja", "allauth", "equipoise.conduct"):
    sys.modules[name] = None  # importing it fails
from equipoise.record import check, read

record = read(sys.argv[1], verify=True)
assert check(record) == []
print(json.dumps({name: record.table(name).schema.names() for name in record.tables}))
"""


@pytest.mark.requirement("I10")
def test_the_record_opens_where_there_is_no_server_with_its_schema_and_checksums(
    trial: TrialFolder, tmp_path: Path
) -> None:
    from equipoise.conduct.exporting import export
    from equipoise.errors import UserError
    from equipoise.protocol import canonical
    from equipoise.record import read

    _lived(trial)
    with at(day(120)):
        export(trial, tmp_path / "record")
    moved = (tmp_path / "record").rename(tmp_path / "archive")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_SERVER, str(moved)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    opened = json.loads(done.stdout)
    told = json.loads((moved / "manifest.json").read_text())["tables"]
    assert set(opened) == set(told) >= {"participants", "measurements", "decisions", "events"}
    files = [one for table in told.values() for one in table["files"]]
    for file in moved.rglob("*.parquet"):
        stated = next(one for one in files if moved / one["path"] == file)
        assert stated["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (moved / "protocol.json").read_bytes() == canonical(trial.protocol)
    altered = moved / files[0]["path"]
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)
    with pytest.raises(UserError, match=altered.name):
        read(moved, verify=True)
