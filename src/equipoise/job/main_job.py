"""The main job: simulate a trial, analyse it, repeat it many times, report it beside the published one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise._atomic import new_folder, write_parquet

if TYPE_CHECKING:
    import polars as pl

    from equipoise.analyse import Results
    from equipoise.protocol import Protocol
    from equipoise.record import Record


RECORD = "record"
REPLICATES = "replicates.parquet"
REPORT = "report.html"
RESULTS = ("results.parquet", "results.csv", "results.json")
REPLICATE_TRIALS = 1000
"""Repeated trials of the main job: enough for the 2.5th and 97.5th percentile to be steady."""

Progress = Callable[[str, float | None], None]
"""Called with the stage in words, and the share of it that is done (0 to 1; None when nobody can tell)."""


@dataclass(frozen=True)
class Outcome:
    """What the main job made. `files` are the finished files by what they are; `folder` holds them all."""

    folder: Path
    files: Mapping[str, Path]
    record: Record
    results: Results
    replicates: pl.DataFrame | None
    remarks: tuple[str, ...] = ()
    """What the reader should know: a PDF that could not be written, say."""


def default_folder(protocol: Protocol, seed: int) -> Path:
    """Where the files go unless told otherwise: `silcaat-1` for seed 1."""
    name = re.sub(r"[^a-z0-9]+", "-", protocol.protocol.lower()).strip("-") or "trial"
    return Path(f"{name}-{seed}")


def run(
    protocol: Protocol | str | os.PathLike[str],
    *,
    seed: int = 1,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    participants: int | None = None,
    trials: int = REPLICATE_TRIALS,
    dials: Mapping[str, Any] | str | None = None,
    threads: int | None = None,
    pdf: bool = True,
    command: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Simulate a trial of `protocol`, analyse it, repeat it `trials` times and write everything into `out`.

    `out` (default: name of the protocol and seed) appears whole, at the end, or not at all. `participants`:
    randomised, when not as many as the protocol says. `dials`: a preset, or dials by name. `command` is shown
    in the report as the way to reproduce it. Raises UserError for whatever the user can mend.
    """
    from equipoise import analyse, record, report, simulate
    from equipoise.protocol import Protocol, load

    plan = protocol if isinstance(protocol, Protocol) else load(os.fspath(protocol))
    folder = Path(out) if out is not None else default_folder(plan, seed)
    say: Progress = progress if progress is not None else lambda stage, share: None
    remarks: list[str] = []
    with new_folder(folder, force=force, marker=RECORD + "/manifest.json") as place:
        say("Simulating the trial", None)
        made = simulate.trial(
            plan,
            seed,
            participants=participants,
            dials=dials,
            out=place / RECORD,
            threads=threads,
            progress=stage(say, "Simulating the trial"),
        )
        say("Analysing the record", 0.0)
        results = analyse.run(
            made, progress=lambda words, share: say(f"Analysing the record: {words}", share)
        )
        analyse.write(results, place)
        repeated = None
        if trials > 0:
            words = f"Repeating the trial {trials:,} times"
            say(words, 0.0)
            repeated = simulate.replicates(
                plan,
                trials,
                seed,
                participants=participants,
                dials=dials,
                threads=threads,
                progress=stage(say, words),
            )
            write_parquet(repeated, place / REPLICATES)
        say("Writing the report", None)
        provenance = {"Command": command} if command is not None else {}
        written = report.write(
            results, plan, made, repeated, out=place, paper="if possible" if pdf else "never",
            provenance=provenance, say=remarks.append,
        )  # fmt: skip
        names = {
            "report": place / REPORT,
            **({"paper": written["pdf"]} if "pdf" in written else {}),
            "results": place / "results.csv",
            "record": place / RECORD,
            **({"replicates": place / REPLICATES} if repeated is not None else {}),
        }
        names = {what: folder / path.relative_to(place) for what, path in names.items()}
    finished = record.read(folder / RECORD, verify=False)
    return Outcome(folder, names, finished, results, repeated, tuple(remarks))


def stage(say: Progress, words: str) -> Callable[[str, int, int], None]:
    """Progress of one stage that is counted: called with what, how many are done and how many there are."""
    return lambda what, done, total: say(words, done / total if total else None)


def provenance(command: str | None) -> dict[str, str]:
    """What a page says of how it was made."""
    return {} if command is None else {"Command": command}
