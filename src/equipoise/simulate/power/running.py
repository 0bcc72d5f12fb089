"""A power run: every scenario's trials, chunk by chunk, until there are enough of them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise._atomic import explain
from equipoise.errors import UserError
from equipoise.simulate.power import store
from equipoise.simulate.power.engines import Engine, threads
from equipoise.simulate.power.scenarios import Scenario
from equipoise.simulate.power.store import Entry, Saved
from equipoise.simulate.power.tasks import Task, check, fingerprint, packed
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.runs import checked_seed

CHUNK = {"guided": 100, "plain": 5000}
"""Trials in one task and one file: about a second of work."""
FEWEST = 500
"""Trials below which a standard error is not trusted to end a run."""
MOST = 1_000_000
"""Trials at which a run that waits for a standard error ends all the same."""


@dataclass(frozen=True)
class Goal:
    """When a scenario has enough trials: at `trials`, or before, once the standard error of its power is at
    most `standard_error`."""

    trials: int
    standard_error: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.trials, bool) or not 1 <= self.trials <= MOST * 100:
            raise UserError(f"the number of trials must lie between 1 and {MOST * 100:,}, not {self.trials}")
        if self.standard_error is not None and not 0 < self.standard_error < 0.5:
            raise UserError(f"--until-se must lie between 0 and 0.5, not {self.standard_error:g}")


def run(
    scenarios: Sequence[Scenario],
    goal: Goal,
    out: str | Path,
    *,
    seed: int | None = None,
    engine: Engine | None = None,
    resume: bool = False,
    force: bool = False,
    chunk: int | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Saved:
    """Simulate the trials of all scenarios into the folder `out`, and give the run.

    Trial k of each scenario has the same virtual people and the same chances (seed and number of the trial
    fix them), so that scenarios are compared on the same people. With `resume` a run that is there already
    goes on. Interrupted at any time, it leaves whole files only. Raises UserError."""
    folder = Path(out)
    kinds = {each.design.kind for each in scenarios}
    if len(kinds) != 1:
        raise UserError("a run is either of plain event-time trials or of protocols, not of both")
    (kind,) = kinds
    for each in scenarios:  # a design that cannot be simulated is refused before anything is written
        check(each.design)
    mine = fingerprint()
    tell = progress if progress is not None else silent
    with store.held(folder):
        if resume:
            saved = store.continued(
                store.read(folder), scenarios, seed, mine, goal.trials, goal.standard_error
            )
        else:
            if force and (folder / store.RUN).is_file():
                _remove(folder)
            size = chunk if chunk is not None else CHUNK[kind]
            first = checked_seed(1 if seed is None else seed)
            saved = store.create(
                folder, scenarios, first, size, mine, command, goal.trials, goal.standard_error
            )
        total = goal.trials * len(scenarios)
        done = 0
        for entry, scenario in zip(saved.scenarios, scenarios, strict=True):
            for finished in _grow(saved, entry, scenario, goal, engine or threads()):
                tell(entry.name, done + finished, total)
            done += goal.trials
            tell(entry.name, done, total)
    return saved


def _remove(folder: Path) -> None:
    """Remove what a run left in its folder; the folder stays, and the lock in it."""
    try:
        (folder / store.RUN).unlink()
        for part in ("rows", "designs"):
            shutil.rmtree(folder / part, ignore_errors=True)
        for file in folder.iterdir():
            if file.is_file() and file.name != store.LOCK:
                file.unlink()
    except OSError as error:
        raise explain(error, folder, "replace it") from None


def _grow(saved: Saved, entry: Entry, scenario: Scenario, goal: Goal, engine: Engine) -> Iterator[int]:
    """Compute what is missing of a scenario; yields how many trials there are. Chunks are counted in order,
    so that a run that stops at a standard error stops at the same trial wherever it is computed."""
    design = packed(scenario.design)
    wins = trials = 0
    starts = range(0, goal.trials, saved.chunk)
    missing = []
    for first in starts:
        count = min(saved.chunk, goal.trials - first)
        if saved.finished(entry, first, whole=True) < count:
            missing.append(Task(design, saved.seed, first, count, saved.fingerprint))
    lacking = {task.first for task in missing}
    results = engine(missing)
    try:
        for first in starts:
            count = min(saved.chunk, goal.trials - first)
            if first in lacking:
                content = next(results)
                rows = store.rows_of(content)
                saved.write(entry, first, content)
                won = rows["win"]
            elif goal.standard_error is not None:
                import polars as pl

                won = pl.read_parquet(saved.file(entry, first), columns=["win"])["win"].head(count)
            else:
                trials += count
                yield trials
                continue
            trials += count
            wins += int(won.sum())
            yield trials
            if goal.standard_error is not None and _precise(wins, trials, goal.standard_error):
                return
    finally:
        close = getattr(results, "close", None)
        if close is not None:
            close()


def _precise(wins: int, trials: int, wanted: float) -> bool:
    """Whether the standard error of a share is small enough. Two more successes and two more failures are
    added, so that a share of 0 or 1 among few trials does not look certain (Agresti & Coull, 1998)."""
    share = (wins + 2) / (trials + 4)
    return trials >= FEWEST and math.sqrt(share * (1 - share) / (trials + 4)) <= wanted
