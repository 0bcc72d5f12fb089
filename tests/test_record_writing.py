"""A record is written whole or not at all, and the same tables give the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest

import record_example
from equipoise import record
from equipoise.errors import UserError
from equipoise.record import Provenance, Record, RecordWriter
from equipoise.record.schemas import PART_ROWS

PROVENANCE = Provenance(
    seed=1,
    trial=0,
    population="hiv_il2",
    dials={"functional_fraction": 0.5, "harm_applies_to": ["death"]},
    preset="A",
)


def _small(path: Path, **options: bool) -> Record:
    return record.write(path, record_example.tables(), record_example.protocol(), PROVENANCE, **options)


def _left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_what_was_written_is_read_back(tmp_path: Path):
    made = _small(tmp_path / "record")
    again = record.read(tmp_path / "record")
    assert again.manifest == made.manifest
    assert again.protocol == record_example.protocol()
    for name, frame in record_example.tables().items():
        columns = list(again.schema(name).schema)
        expected = frame.select(columns).cast(dict(again.schema(name).schema))  # type: ignore[arg-type]
        assert again.table(name).equals(expected)
        assert again.scan(name).collect().equals(expected)
    assert _left_behind(tmp_path) == []


def test_a_record_in_memory_is_the_same_as_one_on_disk(tmp_path: Path):
    memory = Record.of(record_example.protocol(), record_example.tables(), PROVENANCE)
    saved = record.save(memory, tmp_path / "saved")
    written = _small(tmp_path / "written")
    assert saved.manifest.record_sha256 == written.manifest.record_sha256
    for name in memory.tables:
        assert memory.table(name).equals(saved.table(name))


def test_two_writes_give_the_same_bytes(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    _small(first)
    _small(second)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for name in files:
        if name.name != "manifest.json":
            assert (first / name).read_bytes() == (second / name).read_bytes()
    one, two = (json.loads((p / "manifest.json").read_text()) for p in (first, second))
    one.pop("written"), two.pop("written")
    assert one == two


def test_the_bytes_do_not_depend_on_how_the_rows_were_appended(tmp_path: Path):
    rows = PART_ROWS + 5000
    hashes = set()
    for chunk in (rows, 10_007, 200_000):
        tables = {k: v for k, v in record_example.tables().items() if k != "measurements"}
        with RecordWriter(tmp_path / f"by {chunk}", record_example.protocol(), PROVENANCE) as writer:
            for frame in record_example.many(rows, chunk):
                writer.append("measurements", frame)
            for name, frame in tables.items():
                writer.append(name, frame)
            made = writer.finish()
        assert [f.path for f in made.manifest.tables["measurements"].files] == [
            "measurements/part-00000.parquet",
            "measurements/part-00001.parquet",
        ]
        hashes.add(made.manifest.record_sha256)
    assert len(hashes) == 1


def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import record_example as e; from equipoise import record\n"
        "print(record.write(sys.argv[1], e.tables(), e.protocol()).manifest.record_sha256)"
    )
    answers = set()
    for threads in ("1", "4"):
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / threads), str(Path(__file__).parent)],
            env=os.environ | {"POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(run.stdout)
    assert len(answers) == 1


def test_time_and_versions_are_outside_of_the_hash(tmp_path: Path):
    made = _small(tmp_path / "record")
    assert made.manifest.written is not None
    assert {"equipoise", "python", "numpy", "numba", "polars"} <= set(made.manifest.made_by)
    assert "written" not in made.manifest.contents()
    assert "made_by" not in made.manifest.contents()


def test_an_existing_record_is_not_replaced_unless_asked(tmp_path: Path):
    before = _small(tmp_path / "record")
    with pytest.raises(UserError, match=r"exists already: .*--force"):
        _small(tmp_path / "record")
    tables = record_example.tables() | {"holds": pl.DataFrame()}
    tables.pop("holds")
    after = record.write(tmp_path / "record", tables, record_example.protocol(), PROVENANCE, force=True)
    assert after.manifest.record_sha256 != before.manifest.record_sha256
    assert record.read(tmp_path / "record").table("holds").is_empty()
    assert _left_behind(tmp_path) == []


def test_force_does_not_remove_a_folder_of_something_else(tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds something else"):
        _small(tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter-1.txt").read_text() == "years of work"


def test_a_failed_write_leaves_nothing_and_the_old_record_stands(tmp_path: Path):
    before = _small(tmp_path / "record")
    broken = record_example.tables()
    broken["events"] = broken["events"].with_columns(kind=pl.lit("od2"))
    with pytest.raises(UserError, match=r'events row 1 .*kind: "od2" is not one of death, od'):
        record.write(tmp_path / "record", broken, record_example.protocol(), PROVENANCE, force=True)
    assert record.read(tmp_path / "record").manifest == before.manifest
    assert _left_behind(tmp_path) == []


def test_leaving_without_finish_leaves_nothing(tmp_path: Path):
    with RecordWriter(tmp_path / "record", record_example.protocol()) as writer:
        writer.append("participants", record_example.tables()["participants"])
        assert _left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="finished already"):
        writer.append("participants", record_example.tables()["participants"])


def test_references_are_checked_across_tables_before_anything_appears(tmp_path: Path):
    broken = record_example.tables()
    broken["events"] = broken["events"].with_columns(participant=pl.Series([1, 3, 9]))
    with pytest.raises(UserError, match=r"events row 3 \(participant 9.*no such row in participants"):
        record.write(tmp_path / "record", broken, record_example.protocol())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("site"), "participants: the column site is missing"),
        (lambda f: f.with_columns(extra=1), "participants: unexpected column extra"),
        (lambda f: f.with_columns(site=pl.lit("two")), "the column site has type String, expected Int32"),
        (lambda f: f.with_columns(site=pl.lit(1.5)), "the column site has type Float64, expected Int32"),
        (lambda f: f.with_columns(site=pl.lit(2**40)), "holds numbers beyond the range of Int32"),
    ],
)
def test_a_table_of_another_shape_is_refused(change, message: str):
    broken = record_example.tables()
    broken["participants"] = change(broken["participants"])
    with pytest.raises(UserError, match=message):
        Record.of(record_example.protocol(), broken)


def test_an_unknown_table_is_refused():
    with pytest.raises(UserError, match='no table "patients"; it has participants, screening'):
        Record.of(record_example.protocol(), {"patients": pl.DataFrame()})


def test_the_truth_stands_apart_from_the_tables(tmp_path: Path):
    truth = pl.DataFrame({"participant": [1, 2, 3, 4], "frailty": [0.5, 1.0, 2.0, 1.1]})
    made = record.write(
        tmp_path / "record", record_example.tables(), record_example.protocol(), truth={"people": truth}
    )
    assert "people" not in made.tables
    again = record.read(tmp_path / "record")
    assert again.truth("people").equals(truth)
    assert (tmp_path / "record" / "truth" / "people").is_dir()
    with pytest.raises(UserError, match='no truth "hazards"; it has people'):
        again.truth("hazards")


def test_only_a_simulated_trial_has_a_truth(tmp_path: Path):
    with (
        RecordWriter(tmp_path / "record", record_example.protocol(), Provenance(kind="conducted")) as writer,
        pytest.raises(UserError, match="only a simulated record"),
    ):
        writer.append_truth("people", pl.DataFrame({"participant": [1]}))


SLOW_WRITER = """
import sys, time
sys.path.insert(0, sys.argv[2])
import record_example
from equipoise.record import RecordWriter
with RecordWriter(sys.argv[1], record_example.protocol(), force=True) as writer:
    for frame in record_example.many(300_000, 50_000):
        writer.append("measurements", frame)
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "a record before"])
def test_a_killed_run_leaves_no_half_record_and_the_next_one_cleans_up(tmp_path: Path, before: bool):
    path = tmp_path / "record"
    stood = _small(path).manifest.record_sha256 if before else None
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(path), str(Path(__file__).parent)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    left = _left_behind(tmp_path)
    assert len(left) == 1
    assert (tmp_path / left[0] / "measurements" / "part-00000.parquet").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    if before:
        assert record.read(path).manifest.record_sha256 == stood
    else:
        with pytest.raises(UserError, match="there is no such folder"):
            record.read(path)
    with pytest.raises(UserError, match=r"unfinished one: there is no manifest\.json"):
        record.read(tmp_path / left[0])
    _small(path, force=True)
    assert _left_behind(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
def test_a_run_still_going_is_not_taken_for_a_dead_one(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(tmp_path / "record"), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"half\n"
        _small(tmp_path / "record")
        assert len(_left_behind(tmp_path)) == 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_folder_moved_aside_for_a_replacement_that_never_came_is_put_back(tmp_path: Path):
    stood = _small(tmp_path / "record")
    os.rename(tmp_path / "record", tmp_path / ".record.replaced-0badcafe")
    with pytest.raises(UserError, match="exists already"):
        _small(tmp_path / "record")
    assert record.read(tmp_path / "record").manifest == stood.manifest


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import record_example
from equipoise import record
from equipoise.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    record.write(sys.argv[1], record_example.tables(), record_example.protocol())
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs limits on files")
def test_no_room_on_the_disk_is_said_and_nothing_is_left(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "record"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}/record: cannot write" in run.stdout
    assert "choose another folder" in run.stdout
    assert list(tmp_path.iterdir()) == []


UNPRIVILEGED = """
import os, sys
sys.path.insert(0, sys.argv[2])
import record_example
from equipoise import record
from equipoise.errors import UserError
protocol = record_example.protocol()
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere; nobody may not
try:
    record.write(sys.argv[1] + "/record", record_example.tables(), protocol)
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs users")
def test_a_folder_that_may_not_be_written_is_named():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        run = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, folder, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{folder}/record: cannot write there: no permission: choose a folder" in run.stdout
        assert list(Path(folder).iterdir()) == []


def test_a_path_through_a_file_is_named(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="cannot write there: a file stands where a folder is needed"):
        _small(tmp_path / "notes.txt" / "record")
    with pytest.raises(UserError, match="is a file, not a folder"):
        _small(tmp_path / "notes.txt", force=True)


def test_memory_is_bounded_while_a_large_table_is_written(tmp_path: Path):
    """Rows wait in memory only until a part is full."""
    with RecordWriter(tmp_path / "record", record_example.protocol()) as writer:
        for frame in record_example.many(2 * PART_ROWS, 50_000):
            writer.append("measurements", frame)
            parts = writer._parts["measurements"]
            assert parts._waiting_rows < PART_ROWS
        assert len(parts._files) == 2
