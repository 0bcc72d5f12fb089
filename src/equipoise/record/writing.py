"""Writing a record: whole or not at all, in bounded memory, the same tables giving the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import polars as pl

from equipoise._atomic import explain, new_folder
from equipoise.errors import UserError
from equipoise.protocol import canonical, sha256
from equipoise.protocol.model import Protocol
from equipoise.record import checking, manifest, schemas
from equipoise.record.manifest import FileEntry, Manifest, Provenance, TableEntry
from equipoise.record.reading import Record
from equipoise.record.schemas import PART_ROWS

_ROW_GROUP = 131_072
TRUTH = "truth"


class _DiscardedError(Exception):
    """Leaves the folder under construction without moving it into place."""


class RecordWriter:
    """Writes a record table by table and chunk by chunk; nothing is at `path` before `finish`.

    Use it as a context manager; leaving the block without `finish`, or by an exception, discards what was
    written.

        with RecordWriter("record", protocol, Provenance(seed=1)) as writer:
            writer.append("participants", frame)
            record = writer.finish()

    Memory is bounded by one part (`PART_ROWS` rows) of each table and the chunk that is being appended.
    Raises UserError when `path` exists (without `force`), cannot be written, or a table breaks its schema.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        protocol: Protocol,
        provenance: Provenance | None = None,
        *,
        force: bool = False,
    ) -> None:
        self._path = Path(path)
        self._protocol = protocol
        self._provenance = provenance if provenance is not None else Provenance()
        self._tables = schemas.tables(protocol, self._provenance.kind)
        self._parts: dict[str, _Parts] = {}
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(new_folder(path, force=force, marker=manifest.FILE_NAME))
        self._open = True

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table. Columns may come in any order; nullable ones may be left out.

        Raises UserError for an unknown table, wrong columns or types, and values that the schema forbids.
        """
        if table not in self._tables:
            raise UserError(f'a record has no table "{table}"; it has {", ".join(self._tables)}')
        schema = self._tables[table]
        rows = checking.conform(frame, schema)
        parts = self._parts_of(table, schema.empty())
        findings = checking.columns(rows, schema, self._protocol, first_row=parts.rows + 1)
        if findings:
            raise UserError(checking.in_words(findings, "the record is not written"))
        parts.append(rows)

    def append_truth(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a table of the truth, which only simulated records have; its columns are free but
        fixed."""
        if self._provenance.kind != "simulated":
            raise UserError("only a simulated record can hold the truth")
        self._parts_of(f"{TRUTH}/{table}", frame.clear()).append(frame)

    def finish(self) -> Record:
        """Write what is left, check the record, write the manifest and move the folder into place."""
        if not self._open:
            raise UserError(f"{self._path}: this record is finished already")
        for name, schema in self._tables.items():
            if schema.required:
                self._parts_of(name, schema.empty())
        entries = {name: parts.close() for name, parts in sorted(self._parts.items())}
        truth = f"{TRUTH}/"
        unsigned = Manifest(
            protocol=self._protocol.protocol,
            protocol_version=self._protocol.version,
            protocol_sha256=sha256(self._protocol),
            provenance=self._provenance,
            tables={name: entry for name, entry in entries.items() if not name.startswith(truth)},
            truth={
                name.removeprefix(truth): entry for name, entry in entries.items() if name.startswith(truth)
            },
            made_by=manifest.versions(),
            written=manifest.now(),
        )
        signed = manifest.signed(unsigned)
        findings = checking.quick(Record(self._protocol, signed, folder=self._folder))
        if findings:
            self.discard()
            raise UserError(checking.in_words(findings, "the record is not written"))
        self._write(manifest.PROTOCOL_FILE, canonical(self._protocol))
        self._write(manifest.FILE_NAME, manifest.dumps(signed).encode())
        self._open = False
        self._stack.close()
        return Record(self._protocol, signed, folder=self._path)

    def discard(self) -> None:
        """Remove everything written so far; does nothing after `finish`."""
        if self._open:
            self._open = False
            try:
                with self._stack:
                    raise _DiscardedError
            except _DiscardedError:
                pass

    def _parts_of(self, name: str, empty: pl.DataFrame) -> _Parts:
        if not self._open:
            raise UserError(f"{self._path}: this record is finished already")
        if name not in self._parts:
            self._parts[name] = _Parts(self._folder, self._path, name, empty)
        return self._parts[name]

    def _write(self, name: str, content: bytes) -> None:
        try:
            (self._folder / name).write_bytes(content)
        except OSError as error:
            raise explain(error, self._path, f"write {name}") from error


class _Parts:
    """The files of one table: collects rows and writes them in parts of equal length."""

    def __init__(self, folder: Path, shown: Path, name: str, empty: pl.DataFrame) -> None:
        self._folder, self._shown, self._name, self._empty = folder, shown, name, empty
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._files: list[FileEntry] = []
        self.rows = 0

    def append(self, frame: pl.DataFrame) -> None:
        if frame.schema != self._empty.schema:
            raise UserError(
                f"{self._name}: the columns {frame.schema} differ from those before, {self._empty.schema}"
            )
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        self.rows += frame.height
        if self._waiting_rows >= PART_ROWS:
            together = pl.concat(self._waiting)
            whole = together.height - together.height % PART_ROWS
            for start in range(0, whole, PART_ROWS):
                self._write(together.slice(start, PART_ROWS))
            rest = together.slice(whole)
            self._waiting = [rest]
            self._waiting_rows = rest.height

    def close(self) -> TableEntry:
        if self._waiting_rows or not self._files:
            self._write(pl.concat([self._empty, *self._waiting]))
        self._waiting = []
        return TableEntry(self.rows, tuple(self._files))

    def _write(self, frame: pl.DataFrame) -> None:
        content = io.BytesIO()
        frame.write_parquet(content, compression="zstd", compression_level=3, row_group_size=_ROW_GROUP)
        path = f"{self._name}/part-{len(self._files):05d}.parquet"
        try:
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(content.getbuffer())
        except OSError as error:
            raise explain(error, self._shown, f"write {path}") from error
        digest = hashlib.sha256(content.getbuffer()).hexdigest()
        self._files.append(FileEntry(path, content.getbuffer().nbytes, digest))


def write(
    path: str | os.PathLike[str],
    tables: Mapping[str, pl.DataFrame],
    protocol: Protocol,
    provenance: Provenance | None = None,
    *,
    truth: Mapping[str, pl.DataFrame] | None = None,
    force: bool = False,
) -> Record:
    """Write whole tables as a record at `path` and return it. Tables left out have no rows.

    Raises UserError when `path` exists (without `force`), cannot be written, or a table breaks its schema.
    """
    with RecordWriter(path, protocol, provenance, force=force) as writer:
        for name, frame in tables.items():
            writer.append(name, frame)
        for name, frame in (truth or {}).items():
            writer.append_truth(name, frame)
        return writer.finish()


def save(record: Record, path: str | os.PathLike[str], *, force: bool = False) -> Record:
    """Write a record that lives in memory (or copy one) to `path`; the tables and their bytes are the
    same."""
    with RecordWriter(path, record.protocol, record.manifest.provenance, force=force) as writer:
        for name in record.tables:
            for chunk in record.chunks(name):
                writer.append(name, chunk)
        for name in record.truth_tables:
            writer.append_truth(name, record.truth(name))
        return writer.finish()
