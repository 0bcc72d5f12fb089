"""The results of an analysis: one tidy table, notes in words, and where it all came from; and their files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from equipoise._atomic import new_file, refuse_existing, write_parquet
from equipoise.errors import UserError

SCHEMA: dict[str, type[pl.DataType]] = {
    "analysis": pl.String,
    "group": pl.String,
    "parameter": pl.String,
    "statistic": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
}
KEY = ("analysis", "group", "parameter", "statistic")
FORMAT = 1
_FILES = ("results.parquet", "results.csv", "results.json")


@dataclass(frozen=True)
class Results:
    """What an analysis found.

    `table` has exactly the columns of `SCHEMA` (rows: docs/results.md). `notes` are sentences that a reader
    must know: what is undefined and why, what was left out. `provenance` says what was analysed, with what.
    """

    table: pl.DataFrame
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def value(self, analysis: str, group: str, parameter: str, statistic: str) -> float:
        """One number of the table. Raises KeyError when there is no such row."""
        found = self.table.filter(
            (pl.col("analysis") == analysis)
            & (pl.col("group") == group)
            & (pl.col("parameter") == parameter)
            & (pl.col("statistic") == statistic)
        )["value"]
        if len(found) == 0:
            raise KeyError((analysis, group, parameter, statistic))
        return float(found[0])


class Rows:
    """Collects rows of the results table in the order in which they are found, and notes beside them."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {name: [] for name in SCHEMA}
        self.notes: list[str] = []

    def add(
        self,
        analysis: str,
        group: str,
        parameter: str,
        unit: str,
        units: Mapping[str, str] | None = None,
        **statistics: float | None,
    ) -> None:
        """One row for each statistic; `units` are for those whose unit differs. None means undefined."""
        for statistic, value in statistics.items():
            own = unit if units is None else units.get(statistic, unit)
            number = math.nan if value is None else float(value)
            row = (analysis, group, parameter, statistic, number, own)
            for name, cell in zip(SCHEMA, row, strict=True):
                self._rows[name].append(cell)

    def note(self, sentence: str) -> None:
        """Something that a reader of the results must know; said once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def frame(self) -> pl.DataFrame:
        """The table. Raises ValueError when two rows have the same key (a mistake in the program)."""
        table = pl.DataFrame(self._rows, schema=SCHEMA)
        twice = table.filter(table.select(KEY).is_duplicated())
        if twice.height:
            raise ValueError(f"two rows of the results have the key {twice.row(0)[:4]}")
        return table


def write(results: Results, folder: str | Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write results.parquet, results.csv and results.json into `folder`; returns their paths.

    The three appear together when all are complete. Raises UserError when one exists already (without
    `force`) or cannot be written.
    """
    place = Path(folder)
    paths = tuple(place / name for name in _FILES)
    for path in paths:
        refuse_existing(path, force)
    with contextlib.ExitStack() as stack:
        # left in reverse order: results.json, which vouches for the table, takes its place last
        described, plain, table = (
            stack.enter_context(new_file(path, force=force)) for path in reversed(paths)
        )
        write_parquet(results.table, table)
        plain.write_text(results.table.write_csv(), encoding="utf-8", newline="")
        document = {
            "format": FORMAT,
            "table": {
                "rows": results.table.height,
                "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
            },
            "notes": list(results.notes),
            "provenance": dict(results.provenance),
        }
        described.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return paths


def read(place: str | Path) -> Results:
    """Read results from the folder that holds them (or from one of the three files).

    Raises UserError where files are missing, damaged, of different analyses, or of a newer format.
    """
    folder = Path(place)
    if folder.name in _FILES:
        folder = folder.parent
    table_path, _, document_path = (folder / name for name in _FILES)
    for path in (table_path, document_path):
        if not path.is_file():
            raise UserError(f"{folder}: there are no results here ({path.name} is missing): analyse first")
    try:
        document = json.loads(document_path.read_text(encoding="utf-8"))
        version, checksum = int(document["format"]), str(document["table"]["sha256"])
        notes, provenance = tuple(map(str, document["notes"])), dict(document["provenance"])
    except OSError as error:
        raise UserError(f"{document_path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{document_path}: damaged ({error}): analyse again") from None
    if version > FORMAT:
        raise UserError(
            f"{document_path}: format {version}, this version reads up to {FORMAT}: install a newer version"
        )
    try:
        content = table_path.read_bytes()
    except OSError as error:
        raise UserError(f"{table_path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(
            f"{table_path}: not the table that {document_path.name} describes: it was changed or cut short; "
            "analyse again"
        )
    table = pl.read_parquet(content)
    if dict(table.schema) != SCHEMA:
        raise UserError(f"{table_path}: the columns are not those of a results table: analyse again")
    return Results(table, notes, provenance)
