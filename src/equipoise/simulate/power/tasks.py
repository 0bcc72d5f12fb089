"""One task of a power run: some trials of one design, computed wherever a worker is.

A task is small plain data that travels to a thread, a process or another machine, and its result is the rows
of its trials as the bytes of a Parquet file. Chance depends on seed and number of the trial only, so it does
not matter who computes a task, or how often.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

import equipoise
from equipoise.errors import UserError
from equipoise.simulate.power.scenarios import Design

_ROOMS = ("protocol", "rules", "virtual", "analyse", "design", "simulate")
"""Rooms whose code decides what a row holds."""


@cache
def fingerprint() -> str:
    """Version and sources of what computes: rows of different fingerprints are not put together."""
    digest = hashlib.sha256()
    place = Path(equipoise.__file__).parent
    for file in sorted(file for room in _ROOMS for file in (place / room).rglob("*.py")):
        digest.update(file.relative_to(place).as_posix().encode())
        digest.update(file.read_bytes())
    return f"{equipoise.__version__}-{digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class Task:
    """Trials `first` .. `first` + `count` - 1 of a design, with this seed."""

    design: bytes
    """Compressed JSON of the design."""
    seed: int
    first: int
    count: int
    fingerprint: str


def packed(design: Design) -> bytes:
    """A design for the journey to a worker. The order of keys is kept: countries and levels have one."""
    fields = {
        "kind": design.kind, "name": design.name, "protocol": design.protocol, "dials": design.dials,
        "population": design.population, "baseline": design.baseline, "arm": design.arm,
    }  # fmt: skip
    return zlib.compress(json.dumps(fields).encode())


def check(design: Design) -> None:
    """Raise UserError when a design cannot be simulated or monitored."""
    _prepared(packed(design))


def compute(task: Task) -> bytes:
    """The rows of a task as a Parquet file. Raises UserError where the worker is of another version."""
    mine = fingerprint()
    if task.fingerprint != mine:
        raise UserError(
            f"a worker has another version of Equipoise ({mine}) than the run ({task.fingerprint}): "
            "install the same one everywhere"
        )
    return encoded(rows(task.design, task.seed, task.first, task.count))


def rows(design: bytes, seed: int, first: int, count: int) -> pl.DataFrame:
    """One row per trial, in order; see docs/power.md for the columns."""
    kind, ready = _prepared(design)
    found: pl.DataFrame = _engine(kind).rows(ready, seed, first, count)
    return found


def _engine(kind: str) -> Any:
    """The module that simulates this kind of design; only what a run needs is loaded."""
    return import_module(f"equipoise.simulate.power.{'event_times' if kind == 'plain' else 'guided'}")


@lru_cache(maxsize=64)
def _prepared(design: bytes) -> tuple[str, Any]:
    """The design made ready for the loop, once in each worker."""
    made = Design(**json.loads(zlib.decompress(design)))
    return made.kind, _engine(made.kind).prepare(made)


def encoded(frame: pl.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd", statistics=False)
    return content.getvalue()
