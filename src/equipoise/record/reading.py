"""Reading a record: complete, undamaged, and of the expected shape, or one message that names the fault."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
from pydantic import ValidationError

import equipoise
from equipoise.errors import UserError
from equipoise.protocol import sha256
from equipoise.protocol.model import Protocol
from equipoise.record import checking, manifest, schemas
from equipoise.record.manifest import FileEntry, Manifest, Provenance, TableEntry


class Record:
    """The tables of one trial, on disk or in memory, with the protocol that they follow.

    `protocol` is the protocol that the record was made with, `manifest` what made it. Tables are frames with
    the columns of `equipoise.record.schemas`. The truth of a simulated trial stands apart and is not a table.
    """

    def __init__(
        self,
        protocol: Protocol,
        manifest: Manifest,
        *,
        folder: str | os.PathLike[str] | None = None,
        frames: Mapping[str, pl.DataFrame] | None = None,
        truth: Mapping[str, pl.DataFrame] | None = None,
    ) -> None:
        self.protocol = protocol
        self.manifest = manifest
        self.folder = Path(folder) if folder is not None else None
        self._schemas = schemas.tables(protocol, self.manifest.provenance.kind)
        self._frames = dict(frames or {})
        self._truth = dict(truth or {})

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        tables: Mapping[str, pl.DataFrame],
        provenance: Provenance | None = None,
        *,
        truth: Mapping[str, pl.DataFrame] | None = None,
    ) -> Record:
        """A record in memory. Raises UserError when a table breaks its schema, a key or a reference."""
        for name in tables:
            if name not in schemas.TABLES:
                raise UserError(f'a record has no table "{name}"; it has {", ".join(schemas.TABLES)}')
        frames = {}
        for name, schema in schemas.tables(protocol).items():
            if name in tables or schema.required:
                frames[name] = checking.conform(tables.get(name, schema.empty()), schema)
        made = Manifest(
            protocol=protocol.protocol,
            protocol_version=protocol.version,
            protocol_sha256=sha256(protocol),
            provenance=provenance if provenance is not None else Provenance(),
            tables={name: TableEntry(frame.height) for name, frame in frames.items()},
            truth={name: TableEntry(frame.height) for name, frame in (truth or {}).items()},
            made_by=manifest.versions(),
        )
        record = cls(protocol, made, frames=frames, truth=truth)
        findings = checking.quick(record)
        if findings:
            raise UserError(checking.in_words(findings, "the record cannot be used"))
        return record

    def __repr__(self) -> str:
        where = str(self.folder) if self.folder is not None else "in memory"
        people = self.manifest.tables["participants"].rows
        return f"<Record of {self.manifest.protocol}, {people} participants, {where}>"

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that the record has, in the order of the documentation."""
        return tuple(name for name in schemas.TABLES if name in self.manifest.tables)

    @property
    def truth_tables(self) -> tuple[str, ...]:
        """Names of the tables of the truth; empty for a conducted trial."""
        return tuple(self.manifest.truth)

    def schema(self, name: str) -> schemas.Table:
        """Description of a table under this record's protocol. Raises UserError for an unknown name."""
        if name not in self._schemas:
            raise UserError(f'a record has no table "{name}"; it has {", ".join(self._schemas)}')
        return self._schemas[name]

    def scan(self, name: str) -> pl.LazyFrame:
        """A table, lazily: only the columns and rows that are asked for are read. An optional table that the
        record does not have is empty. Raises UserError for an unknown name."""
        schema = self.schema(name)
        if name not in self.manifest.tables:
            return schema.empty().lazy()
        if self.folder is None:
            return self._frames[name].lazy()
        return self._scan_files(self.manifest.tables[name])

    def table(self, name: str) -> pl.DataFrame:
        """A table. Raises UserError for an unknown name or an unreadable file."""
        schema = self.schema(name)
        if self.folder is None and name in self._frames:
            return self._frames[name]
        return _collect(self.scan(name), f"{self.folder}: table {schema.name}")

    def chunks(self, name: str) -> Iterator[pl.DataFrame]:
        """A table in parts, to go through it in bounded memory."""
        if self.folder is None or name not in self.manifest.tables:
            yield from self.table(name).iter_slices(schemas.PART_ROWS)
            return
        for entry in self.manifest.tables[name].files:
            yield _collect(pl.scan_parquet(self.folder / entry.path), str(self.folder / entry.path))

    def truth(self, name: str) -> pl.DataFrame:
        """A table of the truth of a simulated trial: what nobody could have known. Analyses do not read it.

        Raises UserError when the record has no such table."""
        if name not in self.manifest.truth:
            raise UserError(
                f'this record holds no truth "{name}"; it has {", ".join(self.truth_tables) or "none"}'
            )
        if self.folder is None:
            return self._truth[name]
        return _collect(self._scan_files(self.manifest.truth[name]), f"{self.folder}: truth {name}")

    def _scan_files(self, entry: TableEntry) -> pl.LazyFrame:
        assert self.folder is not None
        return pl.scan_parquet([self.folder / file.path for file in entry.files], glob=False)


def read(path: str | os.PathLike[str], *, verify: bool = True) -> Record:
    """Open the record in the folder `path`.

    Checks that manifest, protocol and every file are there with the right size, and that tables have their
    columns; with `verify` also every checksum, value, key and reference. Raises UserError naming what is
    wrong.
    """
    folder = Path(path)
    made = _read_manifest(folder)
    protocol = _read_protocol(folder, made)
    for entry in (*made.tables.values(), *made.truth.values()):
        for file in entry.files:
            _check_file(folder, file, verify)
    record = Record(protocol, made, folder=folder)
    for name, schema in schemas.tables(protocol).items():
        if schema.required and name not in made.tables:
            raise UserError(f"{folder}: the table {name} is missing: make the record again")
    for name in made.tables:
        if name not in schemas.TABLES:
            raise UserError(f"{folder}: unknown table {name}; a record has {', '.join(schemas.TABLES)}")
        for file in made.tables[name].files:
            _check_columns(folder / file.path, schemas.table(name, protocol))
    if verify and manifest.record_sha256(made) != made.record_sha256:
        raise UserError(
            f"{folder / manifest.FILE_NAME}: the manifest was changed after it was written "
            "(its record_sha256 does not fit): make the record again or restore it from a copy"
        )
    if verify:
        findings = checking.quick(record)
        if findings:
            raise UserError(f"{folder}: " + checking.in_words(findings, "the record is not used"))
    return record


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text: the record is damaged, make it again") from None


def _read_manifest(folder: Path) -> Manifest:
    path = folder / manifest.FILE_NAME
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; `equipoise run` makes one with a record")
    if not folder.is_dir():
        raise UserError(f"{folder}: a record is a folder, this is a file")
    if not path.is_file():
        inner = folder / "record"
        if (inner / manifest.FILE_NAME).is_file():
            raise UserError(f"{folder}: not a record, but it contains one: give {inner}")
        raise UserError(
            f"{folder}: not a record, or an unfinished one: there is no {manifest.FILE_NAME} in it"
        )
    return manifest.loads(_read_text(path), str(path))


def _read_protocol(folder: Path, made: Manifest) -> Protocol:
    path = folder / manifest.PROTOCOL_FILE
    if not path.is_file():
        raise UserError(f"{path}: the protocol of this record is missing: make the record again")
    text = _read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: the protocol of this record is damaged ({error}): make the record again"
        ) from None
    # the file as it was written: another version of Equipoise may fill in other defaults
    if hashlib.sha256(text.encode()).hexdigest() != made.protocol_sha256:
        raise UserError(
            f"{path}: this is not the protocol that the record was made with (its SHA-256 does not fit the "
            "manifest): restore it from a copy or make the record again"
        )
    try:
        return Protocol.model_validate(document)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path}: this version of Equipoise ({equipoise.__version__}) cannot read {place or 'it'}, "
            f"written by version {made.made_by.get('equipoise', 'unknown')}: read the record with that "
            "version, or make it again"
        ) from None


def _check_file(folder: Path, entry: FileEntry, verify: bool) -> None:
    path = folder / entry.path
    if ".." in Path(entry.path).parts or Path(entry.path).is_absolute():
        raise UserError(f"{folder / manifest.FILE_NAME}: the file {entry.path} lies outside of the record")
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            word = "truncated" if size < entry.bytes else "longer than it was"
            raise UserError(
                f"{path}: {word} ({size:,} bytes, the manifest says {entry.bytes:,}): "
                "restore it from a copy or make the record again"
            )
        if verify:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != entry.sha256:
                raise UserError(
                    f"{path}: the content was changed after the record was written (its SHA-256 does not "
                    "fit the manifest): restore it from a copy or make the record again"
                )
    except FileNotFoundError:
        raise UserError(
            f"{path}: the file is missing: restore it from a copy or make the record again"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _check_columns(path: Path, table: schemas.Table) -> None:
    try:
        found = dict(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file ({_first_line(error)}): make the record again"
        ) from None
    expected = table.schema
    for name, dtype in expected.items():
        if name not in found:
            raise UserError(f"{path}: the column {name} of {table.name} is missing: make the record again")
        if found[name] != dtype:
            raise UserError(
                f"{path}: the column {name} of {table.name} has type {found[name]}, expected {dtype}"
            )
    for name in found:
        if name not in expected:
            raise UserError(f"{path}: unexpected column {name}; {table.name} has {', '.join(expected)}")


def _collect(frame: pl.LazyFrame, place: str) -> pl.DataFrame:
    try:
        return frame.collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{place} cannot be read ({_first_line(error)}): check the record") from None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
