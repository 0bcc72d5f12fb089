"""The whole analysis of a trial, in the order of its plan: from a record or mapped data to the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from equipoise.analyse.baseline import add_baseline
from equipoise.analyse.disposition import add_flow, add_mapped_flow, add_screening, check_flow
from equipoise.analyse.exposure import add_exposure
from equipoise.analyse.inputs import from_record
from equipoise.analyse.measures import add_measure
from equipoise.analyse.outcomes import add_endpoint
from equipoise.analyse.results import Results, Rows
from equipoise.analyse.safety import add_safety
from equipoise.analyse.subgroups import add_subgroups
from equipoise.analyse.surrogate.reported import add_surrogate
from equipoise.errors import UserError
from equipoise.protocol import Protocol, sha256
from equipoise.record import AnalysisInput, Record
from equipoise.record.manifest import versions

Progress = Callable[[str, float], None]
"""Called with what is being done, in words, and the share that is done (0 to 1)."""


def run(
    source: Record | AnalysisInput, protocol: Protocol | None = None, progress: Progress | None = None
) -> Results:
    """Carry out the analysis plan, by intention to treat.

    source: a record (its own protocol is used unless another is given, an amended plan, say), or mapped data.
    progress: told what is being done. Returns the results: rows as in docs/results.md, notes, provenance.
    Raises UserError when nobody was randomised, when the flow of participants does not close, or when a table
    cannot be read. An estimate that does not exist is a NaN with a note, never an error.
    """
    rows = Rows()
    if progress is not None:
        progress("reading the data", 0.0)
    if isinstance(source, Record):
        plan = protocol if protocol is not None else source.protocol
        given = from_record(source, plan)
    else:
        given = source
    if given.participants.is_empty():
        raise UserError("nobody was randomised, so there is nothing to analyse")
    for remark in given.remarks:
        rows.note(remark)
    steps: list[tuple[str, Callable[[], None]]] = []
    if isinstance(source, Record):
        steps += [
            ("screening", lambda: add_screening(rows, source, plan)),
            ("flow of participants", lambda: add_flow(rows, source, plan)),
        ]
    else:
        steps.append(("flow of participants", lambda: add_mapped_flow(rows, given)))
    steps.append(("baseline", lambda: add_baseline(rows, given)))
    for endpoint in given.endpoints:
        steps.append((endpoint.label, lambda e=endpoint: add_endpoint(rows, given, e)))  # type: ignore[misc]
    steps.append(("subgroups", lambda: add_subgroups(rows, given)))
    cycles = _cycles(source) if isinstance(source, Record) else None
    for measure in given.measures:
        steps.append((measure.label, lambda m=measure: add_measure(rows, given, m, cycles)))  # type: ignore[misc]
    steps.append(("the biomarker as a surrogate", lambda: add_surrogate(rows, given)))
    if isinstance(source, Record):
        steps += [
            ("treatment received", lambda: add_exposure(rows, source, plan)),
            ("safety", lambda: add_safety(rows, source, plan)),
        ]
    for done, (words, step) in enumerate(steps):
        if progress is not None:
            progress(words, done / len(steps))
        step()
    table = rows.frame()
    check_flow(table, list(given.arms))
    if progress is not None:
        progress("analysed", 1.0)
    return Results(table, tuple(rows.notes), _provenance(source, given, protocol))


def _cycles(record: Record) -> pl.DataFrame:
    return record.scan("cycles").select("participant", "day").collect()


def _provenance(
    source: Record | AnalysisInput, given: AnalysisInput, protocol: Protocol | None
) -> dict[str, Any]:
    """What was analysed and with what; nothing that changes when the same analysis is repeated."""
    found: dict[str, Any] = {"title": given.title, "software": versions(), "confidence": given.confidence}
    if not isinstance(source, Record):
        return found | {"kind": "mapped data", "source": given.source}
    plan = protocol if protocol is not None else source.protocol
    made = source.manifest
    return found | {
        "kind": made.provenance.kind,
        "protocol": {"name": plan.protocol, "version": plan.version, "sha256": sha256(plan)},
        "record": {
            "sha256": made.record_sha256,
            "protocol_sha256": made.protocol_sha256,
            "made_by": dict(made.made_by),
            "seed": made.provenance.seed,
            "trial": made.provenance.trial,
            "population": made.provenance.population,
            "population_sha256": made.provenance.population_sha256,
            "preset": made.provenance.preset,
            "dials": dict(made.provenance.dials),
            "data_cut": made.provenance.data_cut.isoformat() if made.provenance.data_cut else None,
        },
    }
