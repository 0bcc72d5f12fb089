"""Writing a report: the page, and the paper where the extra for it is installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from equipoise import _atomic
from equipoise.analyse.results import Results
from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.record import Record
from equipoise.report import html, pdf, sections
from equipoise.report.material import Material
from equipoise.report.tables import Arms, Rows


def write(
    results: Results,
    protocol: Protocol,
    record: Record | None = None,
    replicates: pl.DataFrame | None = None,
    *,
    out: str | os.PathLike[str],
    paper: Literal["if possible", "always", "never"] = "if possible",
    provenance: Mapping[str, str] | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Write report.html and report.pdf into the folder `out` and return where they are, by "html" and "pdf".

    Every number shown comes from the table of `results`; `record` gives the lives of a sample of participants
    and how to reproduce the trial; `replicates` (one row per simulated trial, columns named
    "analysis|group|parameter|statistic") gives the spread over repeated trials. `provenance` adds lines such
    as {"Command": "equipoise run silcaat --seed 1"} to the last section. Same arguments, same bytes.

    Without the extra `pdf` the page is still written, `say` is told in one line what is missing, and "pdf" is
    absent from the answer; with `paper="always"` MissingExtraError is raised once the page is written.
    Raises UserError when nothing says whether the participants were virtual, when the folder cannot be
    written to or when the flow of participants does not add up.
    """
    lines = _provenance(record) | dict(provenance or {})
    material = Material(
        Rows(results.table),
        protocol,
        Arms.of(protocol),
        record,
        replicates,
        lines,
        results.notes,
        _simulated(results, record),
    )
    document = sections.document(material)
    folder = Path(out)
    paths = {"html": folder / "report.html"}
    _put(paths["html"], html.page(document).encode("utf-8"))
    if paper == "never":
        return paths
    try:
        _put(folder / "report.pdf", pdf.pages(document))
    except UserError as problem:
        if paper == "always":
            raise
        if say is not None:
            say(str(problem))
        return paths
    return paths | {"pdf": folder / "report.pdf"}


def _simulated(results: Results, record: Record | None) -> bool:
    """Whether the participants are virtual; a report never leaves that open."""
    kind = results.provenance.get("kind") if record is None else record.manifest.provenance.kind
    if kind is None:
        raise UserError(
            "These results do not say whether their participants were virtual: give the record too"
        )
    return bool(kind == "simulated")


def _provenance(record: Record | None) -> dict[str, str]:
    """What the record says about its making, as lines of the last section."""
    if record is None:
        return {}
    manifest = record.manifest
    made = manifest.provenance
    lines = {
        "Seed": made.seed,
        "Trial number": made.trial,
        "Virtual population": made.population,
        "SHA-256 of the population": made.population_sha256,
        "Choice of effect dials": made.preset,
        "Data cut": made.data_cut,
        "SHA-256 of the record": manifest.record_sha256,
    }
    found = {name: str(value) for name, value in lines.items() if value is not None}
    if manifest.made_by:
        found["Versions"] = ", ".join(f"{name} {version}" for name, version in manifest.made_by.items())
    return found


def _put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, in place of an older one."""
    with _atomic.new_file(path, force=True) as temporary:
        temporary.write_bytes(content)
