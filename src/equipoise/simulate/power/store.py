"""The folder of a power run: rows of finished trials, in files that appear whole, and what they are rows of.

    run.json                 what was asked: seed, scenarios, software; written before the first trial
    designs/SHA.json         everything that fixes the trials of a scenario
    rows/SHA/000000000.parquet   the trials from that number on, one row each

A run that was interrupted, or that should grow, goes on where its rows end. Rows do not depend on when or
where they were computed, so the files of a continued run have the bytes of one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise import _locks
from equipoise._atomic import explain, new_file
from equipoise.errors import UserError
from equipoise.simulate.power.scenarios import Scenario, plain

RUN = "run.json"
LOCK = ".lock"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A scenario as the folder knows it."""

    name: str
    sha256: str
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Saved:
    """A power run in a folder. `chunk` trials go into one file."""

    folder: Path
    seed: int
    chunk: int
    fingerprint: str
    kind: str
    scenarios: tuple[Entry, ...]
    command: str | None = None
    trials_wanted: int | None = None
    """How many trials of each scenario were asked for; None in the folder of an older version."""
    error_wanted: float | None = None
    """The standard error of the power at which a scenario has enough of them."""

    def file(self, entry: Entry, first: int) -> Path:
        """Where the trials from `first` on are kept."""
        return self.folder / "rows" / entry.sha256[:16] / f"{first:09d}.parquet"

    def finished(self, entry: Entry, first: int, whole: bool = False) -> int:
        """How many trials the file that begins at `first` holds; 0 when it is not there or cannot be
        read. `whole`: every value is read, and the trials must be those that belong there."""
        path = self.file(entry, first)
        try:
            if not path.is_file():
                return 0
            if not whole:
                return int(pl.scan_parquet(path).select(pl.len()).collect().item())
            trials = pl.read_parquet(path)["trial"]
            right = trials.to_list() == list(range(first, first + len(trials)))
            return len(trials) if right else 0
        except (OSError, pl.exceptions.PolarsError):
            return 0

    def trials(self, entry: Entry) -> int:
        """How many trials there are, without a gap, from the first one on."""
        total = 0
        while True:
            rows = self.finished(entry, total)
            total += rows
            if rows < self.chunk:
                return total

    def columns(self, entry: Entry) -> list[str]:
        """Names of the columns of a scenario's rows."""
        return list(pl.scan_parquet(self.file(entry, 0)).collect_schema().names())

    def column(self, entry: Entry, name: str, trials: int) -> NDArray[np.float64]:
        """One column of the first `trials` rows; NaN where nothing is known."""
        files = [self.file(entry, first) for first in range(0, trials, self.chunk)]
        found = pl.scan_parquet(files).select(pl.col(name).cast(pl.Float64).fill_null(float("nan")))
        return found.head(trials).collect()[name].to_numpy()

    def row(self, entry: Entry, trial: int) -> dict[str, Any]:
        """The row of one trial. Raises UserError when it is not there."""
        first = trial - trial % self.chunk
        if self.finished(entry, first) <= trial - first:
            raise UserError(f"{self.folder}: there is no trial {trial} of {entry.name}")
        found = pl.read_parquet(self.file(entry, first)).row(trial - first, named=True)
        assert found["trial"] == trial
        return found

    def design(self, entry: Entry) -> dict[str, Any]:
        """Everything that fixes the trials of a scenario, as plain data."""
        path = self.folder / "designs" / f"{entry.sha256[:16]}.json"
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def write(self, entry: Entry, first: int, content: bytes) -> None:
        """Keep the rows of a finished chunk. Raises UserError when the disk is full."""
        with new_file(self.file(entry, first), force=True) as temporary:
            temporary.write_bytes(content)


def create(
    folder: Path, scenarios: Sequence[Scenario], seed: int, chunk: int, fingerprint: str, command: str | None,
    trials: int | None = None, standard_error: float | None = None,
) -> Saved:  # fmt: skip
    """A new folder for a run that is to have so many trials of each scenario, or fewer once the standard
    error of its power is small enough. Raises UserError when it exists or cannot be written."""
    if folder.is_dir() and not any(file.name != LOCK for file in folder.iterdir()):
        pass
    elif (folder / RUN).is_file():
        raise UserError(
            f"{folder} holds a power run already: continue it with --resume {folder}, choose another folder "
            "with --out, or replace it with --force"
        )
    else:
        raise UserError(f"{folder} exists already and is no power run: choose another folder with --out")
    entries = _entries(scenarios)
    saved = Saved(
        folder, seed, chunk, fingerprint, scenarios[0].design.kind, entries, command, trials, standard_error
    )
    _write(saved, scenarios)
    return saved


def _entries(scenarios: Sequence[Scenario]) -> tuple[Entry, ...]:
    return tuple(Entry(each.name, each.design.sha256, each.changes) for each in scenarios)


def _write(saved: Saved, scenarios: Sequence[Scenario]) -> None:
    for each in scenarios:
        path = saved.folder / "designs" / f"{each.design.sha256[:16]}.json"
        if not path.exists():
            with new_file(path) as temporary:
                temporary.write_bytes(each.design.canonical())
    said = {
        "format": FORMAT, "equipoise": saved.fingerprint, "kind": saved.kind, "seed": saved.seed,
        "chunk": saved.chunk, "command": saved.command, "trials": saved.trials_wanted,
        "until_se": saved.error_wanted,
        "scenarios": [
            {"name": e.name, "sha256": e.sha256, "changes": [list(change) for change in e.changes]}
            for e in saved.scenarios
        ],
    }  # fmt: skip
    with new_file(saved.folder / RUN, force=True) as temporary:
        temporary.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Saved:
    """The run in a folder. Raises UserError when there is none, or it is damaged."""
    path = folder / RUN
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(
            Entry(e["name"], e["sha256"], tuple((p, v) for p, v in e["changes"])) for e in said["scenarios"]
        )
        if int(said["chunk"]) < 1:
            raise ValueError
        if said["format"] != FORMAT:
            raise UserError(f"{path}: of another version of Equipoise (format {said['format']})")
        return Saved(
            folder, int(said["seed"]), int(said["chunk"]), said["equipoise"], said["kind"], entries,
            said["command"], said.get("trials"), said.get("until_se"),
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"{folder}: no power run there (no {RUN}); leave out --resume to begin one") from None
    except OSError as error:
        raise explain(error, path, "read it") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; it cannot be continued") from None


def continued(
    saved: Saved, scenarios: Sequence[Scenario], seed: int | None, fingerprint: str,
    trials: int | None = None, standard_error: float | None = None,
) -> Saved:  # fmt: skip
    """The saved run, ready to go on with these scenarios (those it has, and perhaps more) to so many trials.

    Raises UserError when what is asked now would not continue the same trials."""
    if seed is not None and seed != saved.seed:
        raise UserError(f"{saved.folder}: has seed {saved.seed}, not {seed}; leave out --seed to go on")
    if fingerprint != saved.fingerprint:
        raise UserError(
            f"{saved.folder}: was computed by another version of Equipoise ({saved.fingerprint}; this is "
            f"{fingerprint}); its trials cannot be continued: begin a new run"
        )
    asked = {each.name: each for each in scenarios}
    for entry in saved.scenarios:
        other = asked.get(entry.name)
        if other is None:
            raise UserError(
                f'{saved.folder}: also has the scenario "{entry.name}": give the same --vary, --scenarios '
                "and --dial as before; scenarios may be added, not taken away"
            )
        if other.design.sha256 != entry.sha256:
            raise UserError(
                f'{saved.folder}: "{entry.name}" was another design: {_difference(saved, entry, other)}'
            )
    grown = Saved(
        saved.folder, saved.seed, saved.chunk, saved.fingerprint, saved.kind, _entries(scenarios),
        saved.command, trials, standard_error,
    )  # fmt: skip
    if grown != saved:
        _write(grown, scenarios)
    return grown


def _difference(saved: Saved, entry: Entry, now: Scenario) -> str:
    """The first field in which a design differs from the one that was saved."""
    path = saved.folder / "designs" / f"{entry.sha256[:16]}.json"
    try:
        then = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return "its file in designs/ cannot be read"
    today = json.loads(now.design.canonical())
    place, before, after = next(_differences(then, today, ""), ("", "", ""))
    return f"{place.removeprefix('protocol.')} was {before} and is now {after}"


def _differences(then: Any, now: Any, place: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            inside = f"{place}.{key}" if place else key
            yield from _differences(then.get(key), now.get(key), inside)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for k, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from _differences(a, b, f"{place}[{k}]")
    elif then != now:
        yield place, _short(then), _short(now)


def _short(value: Any) -> str:
    text = "not there" if value is None else plain(value)
    return text if len(text) <= 60 else text[:57] + "..."


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else may write into the folder of a run meanwhile; it is made if need be, and goes again if
    nothing comes to lie in it. Raises UserError when somebody else is at work in it."""
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file, not a folder: choose another place with --out")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        _forget(made)
        raise explain(error, folder, "write there") from None
    try:
        if _locks.AVAILABLE and not _locks.take(descriptor):
            raise UserError(f"{folder}: another process is at work in this run")
        yield
    except BaseException:
        os.close(descriptor)
        descriptor = -1
        if not (folder / RUN).is_file():
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
            _forget(made)
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _forget(made: list[Path]) -> None:
    """Remove folders again that nothing came to lie in."""
    for part in made:
        with contextlib.suppress(OSError):
            part.rmdir()


def rows_of(content: bytes) -> pl.DataFrame:
    """The rows of a finished task."""
    return pl.read_parquet(io.BytesIO(content))
