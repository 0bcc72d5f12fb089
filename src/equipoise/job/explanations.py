"""Which explanations agree with what was published of some trials."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise._atomic import new_folder, write_parquet
from equipoise.job.main_job import Progress, provenance

if TYPE_CHECKING:
    from equipoise.protocol import Protocol
    from equipoise.simulate.ridge.findings import Findings


@dataclass(frozen=True)
class Explained:
    """What `explain` made: everything that it found, the answer in sentences, and the finished files."""

    findings: Findings
    told: tuple[str, ...]
    files: Mapping[str, Path]


EXPLANATION = "explain.html"


def explain(
    trials: Sequence[Protocol | str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 1,
    participants: int | None = None,
    simulated: int | None = None,
    threads: int | None = None,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> Explained:
    """Hold the explanations (cells that do not protect, cycles that harm) against the published hazard ratios
    of some trials, jointly, and write the page and the tables into `out` (default: explain and the names).

    `participants`: virtual people of each trial whose expected events are added up in both arms (20,000 when
    left out). `simulated`: trials of each protocol that are simulated under each preset (300). Nothing
    depends on `threads`. Raises UserError for whatever the user can mend."""
    from equipoise.protocol import Protocol, load
    from equipoise.report import explain as page
    from equipoise.simulate.ridge import explaining
    from equipoise.simulate.ridge.findings import Findings

    say: Progress = progress if progress is not None else lambda stage, share: None
    plans = [each if isinstance(each, Protocol) else load(os.fspath(each)) for each in trials]
    folder = (
        Path(out) if out is not None else Path("-".join(["explain", *(_short(p.protocol) for p in plans)]))
    )
    with new_folder(folder, force=force, marker=EXPLANATION) as place:
        found = explaining.explain(
            plans,
            seed=seed,
            participants=explaining.PARTICIPANTS if participants is None else participants,
            simulated=explaining.TRIALS if simulated is None else simulated,
            threads=threads,
            say=say,
        )
        say("Drawing the regions", None)
        findings = Findings(found)
        tables = findings.tables()
        page.write_explanation(findings, tables, place, provenance=provenance(command))
        for name, table in tables.items():
            write_parquet(table, place / f"{name}.parquet")
            (place / f"{name}.csv").write_text(table.write_csv(), encoding="utf-8", newline="")
    files = {"page": folder / EXPLANATION}
    files |= {name: folder / f"{name}.csv" for name in tables}
    return Explained(findings, tuple(page.told(findings)), files)


def _short(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "trial"
