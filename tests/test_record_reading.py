"""A record that is incomplete, damaged or changed is not read; the message names the fault."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import record_example
from equipoise import record
from equipoise.errors import UserError
from equipoise.record import manifest

EVENTS = "events/part-00000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "record"
    record.write(path, record_example.tables(), record_example.protocol())
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "record"))


def _edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / manifest.FILE_NAME
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def _sign(folder: Path) -> None:
    """What a hand would do who changes a record and mends the manifest's own hash."""
    path = folder / manifest.FILE_NAME
    unsigned = manifest.loads(path.read_text(), "x")
    path.write_text(manifest.dumps(manifest.signed(unsigned)))


def test_a_copied_record_reads_as_the_first(whole: Path, copy: Path):
    assert record.read(copy).manifest == record.read(whole).manifest


def test_a_truncated_table_is_named_with_its_sizes(copy: Path):
    file = copy / EVENTS
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=r"events/part-00000\.parquet: truncated \([\d,]+ bytes, the manifest"
    ):
        record.read(copy)
    with pytest.raises(UserError, match="truncated"):
        record.read(copy, verify=False)


def test_a_longer_file_is_named(copy: Path):
    with (copy / EVENTS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="longer than it was"):
        record.read(copy)


def test_one_changed_byte_is_noticed(copy: Path):
    file = copy / EVENTS
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"events/part-00000\.parquet: the content was changed after"):
        record.read(copy)


def test_a_missing_file_is_named(copy: Path):
    (copy / EVENTS).unlink()
    with pytest.raises(UserError, match=r"events/part-00000\.parquet: the file is missing"):
        record.read(copy)


def test_a_missing_manifest_means_an_unfinished_record(copy: Path):
    (copy / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"not a record, or an unfinished one: there is no manifest\.json"):
        record.read(copy)


def test_the_folder_around_a_record_is_recognised(copy: Path):
    with pytest.raises(UserError, match=r"it contains one: give .*record"):
        record.read(copy.parent)


def test_no_such_folder_and_a_file_instead(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such folder"):
        record.read(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="a record is a folder, this is a file"):
        record.read(tmp_path / "file")


def test_a_record_of_a_newer_format_says_what_to_do(copy: Path):
    _edit_manifest(copy, lambda d: d.update(format=2))
    with pytest.raises(UserError, match=r"has format 2, .* reads up to 1: install a newer version"):
        record.read(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"manifest\.json:1: not JSON"),
        ("[]", "not the manifest of a record"),
        ('{"format": 1}', "the manifest is damaged"),
        ('{"format": 1, "protocol": 3, "provenance": {}}', "the manifest is damaged"),
    ],
)
def test_a_damaged_manifest_is_named(copy: Path, text: str, message: str):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        record.read(copy)


def test_a_manifest_that_is_not_text(copy: Path):
    (copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        record.read(copy)


def test_a_changed_manifest_is_noticed(copy: Path):
    _edit_manifest(copy, lambda d: d["provenance"].update(seed=2))
    with pytest.raises(UserError, match="the manifest was changed after it was written"):
        record.read(copy)


def test_a_manifest_cannot_point_outside_of_the_record(copy: Path):
    _edit_manifest(copy, lambda d: d["tables"]["events"]["files"][0].update(path="../../secret"))
    with pytest.raises(UserError, match="lies outside of the record"):
        record.read(copy)


def test_another_protocol_is_noticed(copy: Path):
    path = copy / "protocol.json"
    path.write_text(path.read_text().replace('"minimum_gap":"8 weeks"', '"minimum_gap":"1 weeks"'))
    with pytest.raises(UserError, match="not the protocol that the record was made with"):
        record.read(copy)
    path.write_text("{")
    with pytest.raises(UserError, match="the protocol of this record is damaged"):
        record.read(copy)
    path.unlink()
    with pytest.raises(UserError, match="the protocol of this record is missing"):
        record.read(copy)


def _as_another_version_wrote_it(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The protocol of a record in a form that this version does not write, with manifest and hash to fit."""
    path = folder / "protocol.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    made = manifest.loads((folder / "manifest.json").read_text(), "manifest.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    signed = manifest.signed(replace(made, protocol_sha256=digest))
    (folder / "manifest.json").write_text(manifest.dumps(signed))


def test_the_protocol_of_another_version_is_read_as_it_was_written(copy: Path):
    _as_another_version_wrote_it(copy, lambda protocol: None)
    assert record.read(copy).protocol == record_example.protocol()


def test_the_protocol_of_another_version_that_cannot_be_read_is_no_damage(copy: Path):
    _as_another_version_wrote_it(copy, lambda protocol: protocol.update(novelty=1))
    with pytest.raises(UserError, match="cannot read novelty, written by version"):
        record.read(copy)


def _replace_table(folder: Path, name: str, frame: pl.DataFrame) -> None:
    """Replace a table and put its new size and checksum into a manifest that is consistent with itself."""
    import hashlib

    file = folder / name / "part-00000.parquet"
    frame.write_parquet(file)
    content = file.read_bytes()
    entry = {"path": f"{name}/part-00000.parquet", "bytes": len(content)}
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    _edit_manifest(folder, lambda d: d["tables"].update({name: {"rows": frame.height, "files": [entry]}}))
    _sign(folder)


def test_a_table_of_another_shape_is_named(copy: Path):
    events = record.read(copy).table("events")
    _replace_table(copy, "events", events.drop("grade"))
    with pytest.raises(UserError, match="the column grade of events is missing"):
        record.read(copy)
    _replace_table(copy, "events", events.with_columns(pl.col("grade").cast(pl.Float64)))
    with pytest.raises(UserError, match="the column grade of events has type Float64, expected Int32"):
        record.read(copy)
    _replace_table(copy, "events", events.with_columns(note=pl.lit("x")))
    with pytest.raises(UserError, match="unexpected column note"):
        record.read(copy)


def test_wrong_values_are_found_even_when_all_checksums_hold(copy: Path):
    events = record.read(copy).table("events")
    _replace_table(copy, "events", events.with_columns(participant=pl.col("participant") + 10))
    with pytest.raises(UserError, match="3 faults in the tables: the record is not used\n  events row 1"):
        record.read(copy)
    assert len(record.check(copy)) == 3


def test_a_file_that_is_not_parquet(copy: Path):
    import hashlib

    content = b"PAR1 but no more"
    (copy / EVENTS).write_bytes(content)
    entry = {"path": EVENTS, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _edit_manifest(copy, lambda d: d["tables"].update(events={"rows": 3, "files": [entry]}))
    _sign(copy)
    with pytest.raises(UserError, match=r"events/part-00000\.parquet: not a readable Parquet file"):
        record.read(copy)


def test_a_table_left_out_is_missed(copy: Path):
    _edit_manifest(copy, lambda d: d["tables"].pop("disposition"))
    _sign(copy)
    with pytest.raises(UserError, match="the table disposition is missing"):
        record.read(copy)


def test_an_optional_table_left_out_is_empty(tmp_path: Path):
    tables = record_example.tables()
    tables.pop("injections")
    made = record.write(tmp_path / "record", tables, record_example.protocol())
    again = record.read(tmp_path / "record")
    assert "injections" not in again.tables
    assert again.table("injections").is_empty()
    assert again.table("injections").columns == made.table("injections").columns


def test_an_unknown_table_is_refused(whole: Path):
    with pytest.raises(UserError, match='no table "truth"; it has participants'):
        record.read(whole).table("truth")
