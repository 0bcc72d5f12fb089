"""The folder of a fit: what was asked, and every trial that was evaluated on the way.

    run.json            what was asked: population, targets, seed, participants, software
    evaluations.jsonl   one line for each evaluation: the rows, the trial, its figures

Whatever is in the file is read back instead of computed, and everything that the fit does follows from it. So
a fit that was interrupted goes on by running again, and comes to the bytes of one that was not.
"""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from equipoise._atomic import explain, new_file
from equipoise.errors import UserError

RUN = "run.json"
EVALUATIONS = "evaluations.jsonl"
FORMAT = 1

Point = tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """One evaluation: the rows, the trial, seed and number of the simulated trial, and its size."""

    x: Point
    trial: str
    seed: int
    number: int
    participants: int


@dataclass
class Store:
    """Evaluations of one fit, in memory and (with a `folder`) in its file."""

    folder: Path | None
    command: str | None = None
    """The command that began the fit."""
    known: dict[Task, tuple[float, ...]] = field(default_factory=dict)
    _file: IO[bytes] | None = None

    def add(self, task: Task, values: tuple[float, ...]) -> None:
        """Keep an evaluation. Raises UserError when it cannot be written."""
        if task in self.known:
            return
        self.known[task] = values
        if self.folder is None:
            return
        path = self.folder / EVALUATIONS
        try:
            if self._file is None:
                self._file = path.open("ab", buffering=0)
            line = _line(task, values)
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise explain(error, path, "write there") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(task: Task, values: tuple[float, ...]) -> bytes:
    said = {
        "trial": task.trial, "seed": task.seed, "number": task.number, "participants": task.participants,
        "x": list(task.x), "figures": [None if math.isnan(v) else v for v in values],
    }  # fmt: skip
    return json.dumps(said).encode() + b"\n"


def create(folder: Path, asked: dict[str, Any], force: bool) -> Store:
    """A new folder for a fit. Raises UserError when something stands there."""
    if (folder / RUN).is_file():
        if not force:
            raise UserError(
                f"{folder} holds a run already: continue it with --resume {folder}, choose another folder "
                "with --out, or replace it with --force"
            )
        if _read(folder).get("what") != "fit":
            raise UserError(
                f"{folder} holds a run of something else and is not replaced: choose another --out"
            )
        (folder / EVALUATIONS).unlink(missing_ok=True)
    elif any(file.name != ".lock" for file in folder.iterdir()):
        raise UserError(f"{folder} exists already and is no fit: choose another folder with --out")
    with new_file(folder / RUN, force=True) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **asked}, indent=1) + "\n", encoding="utf-8")
    return Store(folder, asked.get("command"))


def resume(folder: Path, asked: dict[str, Any]) -> Store:
    """The fit in a folder, ready to go on. Raises UserError when what is asked now would be another fit."""
    said = _read(folder)
    if said.get("what") != "fit" or said.get("format") != FORMAT:
        raise UserError(f"{folder}: holds no fit of this version of Equipoise")
    for name, words in (
        ("equipoise", "was computed by another version of Equipoise"),
        ("population", "is a fit of another population file"),
        ("targets", "is a fit to other targets"),
        ("seed", "has another seed"),
        ("participants", "has another number of participants"),
    ):
        if said.get(name) != asked[name]:
            then, now = _short(said.get(name)), _short(asked[name])
            raise UserError(
                f"{folder}: {words} ({then}, not {now}); give the same again, or begin a new fit with --out"
            )
    store = Store(folder, said.get("command"))
    _read_back(folder / EVALUATIONS, store)
    return store


def _short(value: Any) -> str:
    """A hash by its first digits, anything else in full."""
    text = str(value)
    return text if len(text) < 40 else text[:12]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RUN
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError
        return said
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no fit there (no {RUN}); leave out --resume to begin one") from None
    except OSError as error:
        raise explain(error, path, "read it") from None
    except ValueError:
        raise UserError(f"{path}: damaged; the fit cannot be continued") from None


def _read_back(path: Path, store: Store) -> None:
    """Every whole line; what a killed process left of the last one is cut off."""
    try:
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                said = json.loads(line)
                task = Task(
                    tuple(said["x"]), said["trial"], said["seed"], said["number"], said["participants"]
                )
                store.known[task] = tuple(math.nan if v is None else v for v in said["figures"])
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}:{number}: damaged; delete this line and those below it") from None
        if len(whole) < len(content):
            with path.open("r+b") as file:
                file.truncate(len(whole))
    except OSError as error:
        raise explain(error, path, "read it") from None
