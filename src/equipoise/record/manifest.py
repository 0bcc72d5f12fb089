"""What made a record and what is in it: manifest.json."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import equipoise
from equipoise.errors import UserError
from equipoise.record.schemas import FORMAT

FILE_NAME = "manifest.json"
PROTOCOL_FILE = "protocol.json"
_SOFTWARE = ("numpy", "numba", "polars", "scipy")


@dataclass(frozen=True)
class Provenance:
    """Where the participants came from. For a simulated trial, all that is needed to make it again.

    `dials` are the effect dials as used, by the names under which they can be given again, `preset` the name
    of the set they came from;
    `population_sha256` identifies the parameter file of the virtual population; `data_cut` is the calendar
    date after which nothing is on record.
    """

    kind: Literal["simulated", "conducted"] = "simulated"
    seed: int | None = None
    trial: int | None = None
    population: str | None = None
    population_sha256: str | None = None
    preset: str | None = None
    dials: Mapping[str, float | list[str]] = field(default_factory=dict)
    data_cut: date | None = None


@dataclass(frozen=True)
class FileEntry:
    """One file of a table: path inside the record, size in bytes, SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableEntry:
    """One table: its number of rows and its files, in order."""

    rows: int
    files: tuple[FileEntry, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """Everything that identifies a record.

    `record_sha256` covers protocol, provenance, tables and truth: two records with the same hash hold the
    same data. `made_by` (software versions) and `written` (time) stand outside of it. A record that only
    lives in memory has tables without files and no `record_sha256`.
    """

    protocol: str
    protocol_version: str
    protocol_sha256: str
    provenance: Provenance
    tables: Mapping[str, TableEntry]
    truth: Mapping[str, TableEntry] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)
    written: str | None = None
    record_sha256: str | None = None
    format: int = FORMAT

    def contents(self) -> dict[str, Any]:
        """The part that `record_sha256` covers, ready for JSON."""
        cut = self.provenance.data_cut
        return {
            "format": self.format,
            "protocol": {
                "name": self.protocol, "version": self.protocol_version, "sha256": self.protocol_sha256,
            },
            "provenance": {
                "kind": self.provenance.kind,
                "seed": self.provenance.seed,
                "trial": self.provenance.trial,
                "population": self.provenance.population,
                "population_sha256": self.provenance.population_sha256,
                "preset": self.provenance.preset,
                "dials": dict(sorted(self.provenance.dials.items())),
                "data_cut": cut.isoformat() if cut is not None else None,
            },
            "tables": _entries_as_json(self.tables),
            "truth": _entries_as_json(self.truth),
        }  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of this software, of Python and of the libraries that make the numbers."""
    found = {"equipoise": equipoise.__version__, "python": platform.python_version()}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The present time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record_sha256(manifest: Manifest) -> str:
    """SHA-256 of the canonical JSON of what the record holds."""
    text = json.dumps(
        manifest.contents(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def dumps(manifest: Manifest) -> str:
    """manifest.json as text."""
    document = manifest.contents() | {
        "record_sha256": manifest.record_sha256,
        "made_by": dict(manifest.made_by),
        "written": manifest.written,
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def loads(text: str, place: str) -> Manifest:
    """Read manifest.json. Raises UserError, with `place`, for damage and for a newer format."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{place}:{error.lineno}: not JSON ({error.msg}): the manifest is damaged, make the record again"
        ) from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise UserError(f"{place}: not the manifest of a record: it has no format number")
    if document["format"] > FORMAT:
        raise UserError(
            f"{place}: the record has format {document['format']}, this version of Equipoise "
            f"({equipoise.__version__}) reads up to {FORMAT}: install a newer version"
        )
    try:
        return _from_json(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{place}: the manifest is damaged ({error!r}): make the record again") from None


def _entries_as_json(entries: Mapping[str, TableEntry]) -> dict[str, Any]:
    return {
        name: {
            "rows": entry.rows,
            "files": [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in entry.files],
        }
        for name, entry in sorted(entries.items())
    }


def _entries_from_json(document: Mapping[str, Any]) -> dict[str, TableEntry]:
    return {
        name: TableEntry(
            int(entry["rows"]),
            tuple(FileEntry(str(f["path"]), int(f["bytes"]), str(f["sha256"])) for f in entry["files"]),
        )
        for name, entry in document.items()
    }


def _from_json(document: Mapping[str, Any]) -> Manifest:
    protocol, made = document["protocol"], document["provenance"]
    cut = made["data_cut"]
    return Manifest(
        protocol=protocol["name"],
        protocol_version=protocol["version"],
        protocol_sha256=protocol["sha256"],
        provenance=Provenance(
            kind=made["kind"],
            seed=made["seed"],
            trial=made["trial"],
            population=made["population"],
            population_sha256=made["population_sha256"],
            preset=made["preset"],
            dials=dict(made["dials"]),
            data_cut=date.fromisoformat(cut) if cut is not None else None,
        ),
        tables=_entries_from_json(document["tables"]),
        truth=_entries_from_json(document["truth"]),
        made_by=dict(document["made_by"]),
        written=document["written"],
        record_sha256=document["record_sha256"],
        format=document["format"],
    )


def signed(manifest: Manifest) -> Manifest:
    """The same manifest with its `record_sha256`."""
    return replace(manifest, record_sha256=record_sha256(manifest))
