"""One simulated trial, from enrolment to its record; and both fates of every participant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.record import Provenance, Record, RecordWriter
from equipoise.simulate import assemble
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import DialChoice, Setup, prepare
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.trial import Diary, Outcomes, diary, outcomes, walk

Measures = Literal["all", "counts only"]
"""What is worked out of the measurements: CD4 counts and HIV RNA, or the counts alone."""

CHUNK = 1024
"""Participants whose notes are kept at a time by each thread. The record does not depend on it."""


def trial(
    protocol: Protocol,
    seed: int,
    trial: int = 0,
    participants: int | None = None,
    dials: DialChoice = None,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Record:
    """Simulate one trial and return its record.

    `seed` (0 to 2^64 - 1) and `trial` (the replicate) fix every chance; the same protocol, population, seed
    and trial give the same record, whatever the number of threads. `participants`: how many are randomised
    (the protocol's simulated size when left out). `dials`: the name of a preset of effect dials, or single
    dials by name, on top of the preset named under "preset". `out`: a folder that the record is streamed to,
    whole or not at all; with `force` an existing record there is replaced. Without `out` the record stays in
    memory. Raises UserError when the protocol cannot be simulated or the folder cannot be written."""
    setup = prepare(protocol, dials)
    return trial_of(setup, seed, trial, participants, out, threads, progress, force)


def trial_of(
    setup: Setup,
    seed: int,
    trial: int = 0,
    participants: int | None = None,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Record:
    """As `trial`, of a protocol that is prepared already (with another population, say)."""
    protocol = setup.protocol
    seed, trial = checked_seed(seed), checked_trial(trial)
    if participants is not None and participants < 2:
        raise UserError(f"a trial needs at least 2 participants, not {participants}")
    count = threads if threads is not None else os.cpu_count() or 1
    tell = progress if progress is not None else silent
    provenance = Provenance(
        kind="simulated",
        seed=seed,
        trial=trial,
        population=setup.population.name,
        population_sha256=setup.population_sha256,
        preset=setup.preset,
        dials=setup.settings,
        data_cut=protocol.calendar.end_of_follow_up,
    )
    # The folder is tried before the work is done: an unwritable one is said at once.
    if out is None:
        tables: dict[str, list[pl.DataFrame]] = {}
        truth: dict[str, list[pl.DataFrame]] = {}
        for name, frame, hidden in _tables(setup, seed, trial, participants, count, tell):
            (truth if hidden else tables).setdefault(name, []).append(frame)
        return Record.of(
            protocol,
            {name: pl.concat(frames) for name, frames in tables.items()},
            provenance,
            truth={name: pl.concat(frames) for name, frames in truth.items()},
        )
    with RecordWriter(out, protocol, provenance, force=force) as writer:
        for name, frame, hidden in _tables(setup, seed, trial, participants, count, tell):
            if hidden:
                writer.append_truth(name, frame)
            else:
                writer.append(name, frame)
        return writer.finish()


def checked_seed(seed: int) -> int:
    """The seed, if it is a whole number of 64 bits. Raises UserError otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise UserError(f"the seed must be a whole number from 0 to 2^64 - 1, not {seed}")
    return int(seed)


def checked_trial(trial: int) -> int:
    """The number of the replicate, if it is a whole number of 32 bits. Raises UserError otherwise."""
    if isinstance(trial, bool) or not isinstance(trial, int | np.integer) or not 0 <= trial < 2**32:
        raise UserError(f"the trial must be a whole number from 0 to 2^32 - 1, not {trial}")
    return int(trial)


def _tables(
    setup: Setup, seed: int, trial: int, participants: int | None, threads: int, tell: Progress
) -> Iterator[tuple[str, pl.DataFrame, bool]]:
    """Every table of the record piece by piece, in the order of participants: (name, rows, whether it is
    truth)."""
    enrolment = enrol(setup, seed, trial, participants)
    n = enrolment.participants
    tell("participants", 0, n)
    yield "participants", assemble.participants_table(setup, enrolment), False
    yield "screening", assemble.screening_table(setup, enrolment, seed, trial), False
    happened = outcomes(n, len(setup.landmarks))

    def chunk(start: int) -> tuple[int, assemble.Tables, assemble.Tables]:
        stop = min(start + CHUNK, n)
        notes = walk_with_diary(setup, enrolment, start, stop, seed, trial, happened)
        return stop, *assemble.chunk_tables(setup, enrolment, happened, notes, start, stop, seed, trial)

    for stop, tables, truth in in_order(chunk, range(0, n, CHUNK), threads):
        for name, frame in tables.items():
            yield name, frame, False
        for name, frame in truth.items():
            yield name, frame, True
        tell("participants", stop, n)


def in_order(work: Any, items: Any, threads: int) -> Iterator[Any]:
    """The results of work(item) in the order of the items, from that many threads, with few waiting in
    memory."""
    if threads <= 1:
        for item in items:
            yield work(item)
        return
    waiting: list[Future[Any]] = []
    pool = ThreadPoolExecutor(threads, thread_name_prefix="equipoise")
    try:
        for item in items:
            if len(waiting) > threads:
                yield waiting.pop(0).result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def walk_everybody(
    setup: Setup, enrolment: Enrolment, seed: int, trial: int, measures: Measures = "all"
) -> Outcomes:
    """What happened to each participant, without notes.

    `measures`: with "counts only" the HIV RNA is not worked out (`rnas` and `rna_sum` stay 0), which changes
    nothing else."""
    happened = outcomes(enrolment.participants, len(setup.landmarks))
    nothing = diary(0, 0, 0, 0, 0)
    for number, arm in enumerate(setup.arms):
        plan = arm.plan
        if measures == "counts only":
            plan = plan._replace(measures_rna=np.zeros_like(plan.measures_rna))
        rows = np.flatnonzero(enrolment.arm == number)
        walk(
            setup.kernel, plan, setup.plan, enrolment.people, rows, np.uint64(seed), trial, False, happened,
            nothing,
        )  # fmt: skip
    return happened


def walk_with_diary(
    setup: Setup, enrolment: Enrolment, start: int, stop: int, seed: int, trial: int, happened: Outcomes
) -> Diary:
    """Walk the participants start .. stop - 1 in their arms; returns their notes, and fills `happened`.

    A diary that proves too small is begun again, larger."""
    k = stop - start
    longest = max(len(arm.visits) for arm in setup.arms)
    room = [k * longest, k * (longest + 40), k * 16 + 64, k * 2 + 64, k * 2 + 64]
    while True:
        notes = diary(*room)
        if all(
            walk(
                setup.kernel, arm.plan, setup.plan, enrolment.people,
                start + np.flatnonzero(enrolment.arm[start:stop] == number), np.uint64(seed), trial, True,
                happened, notes,
            )
            for number, arm in enumerate(setup.arms)
        ):  # fmt: skip
            return notes
        room = [2 * rows for rows in room]


def potential_outcomes(
    protocol: Protocol,
    seed: int,
    trial: int = 0,
    participants: int | None = None,
    dials: DialChoice = None,
) -> pl.DataFrame:
    """What happens to each participant of a simulated trial in every arm: both potential outcomes (all of
    them).

    One row per participant and arm, ordered by participant: participant, arm, allocated (whether it is the
    arm that the participant was randomised to), days of the first opportunistic_disease, death and grade4
    event (null: none while followed), last_day, status, cycles, cd4_mean (mean of the measurements after
    randomisation). Chances are the same in each arm, so differences are effects of the treatment. Raises
    UserError as `trial` does."""
    setup = prepare(protocol, dials)
    seed, trial = checked_seed(seed), checked_trial(trial)
    enrolment = enrol(setup, seed, trial, participants)
    n = enrolment.participants
    everybody = np.arange(n)
    frames = []
    for number, arm in enumerate(setup.arms):
        happened = outcomes(n, len(setup.landmarks))
        people = enrolment.people._replace(goal=np.ascontiguousarray(enrolment.goals[:, number]))
        walk(
            setup.kernel, arm.plan, setup.plan, people, everybody, np.uint64(seed), trial, False, happened,
            diary(0, 0, 0, 0, 0),
        )  # fmt: skip
        frames.append(
            pl.DataFrame(
                {
                    "participant": (everybody + 1).astype(np.int32),
                    "arm": pl.repeat(arm.name, n, eager=True, dtype=pl.String),
                    "allocated": enrolment.arm == number,
                    "opportunistic_disease": _day_or_null(happened.diseases[:, 0]),
                    "death": _day_or_null(happened.death),
                    "grade4": _day_or_null(happened.grade4),
                    "last_day": happened.last_day.astype(np.int32),
                    "status": [assemble.STATUS[code] for code in happened.status.tolist()],
                    "cycles": happened.cycles.astype(np.int32),
                    "cd4_mean": pl.Series(
                        happened.count_sum / np.where(happened.counts > 0, happened.counts, np.nan)
                    ).fill_nan(None),
                }
            )
        )
    order = pl.DataFrame({"arm": [arm.name for arm in setup.arms]}).with_row_index("arm_order")
    return (
        pl.concat(frames)
        .join(order, on="arm", maintain_order="left")
        .sort("participant", "arm_order")
        .drop("arm_order")
    )


def _day_or_null(day: NDArray[np.int64]) -> pl.Series:
    return pl.Series(day.astype(np.int32)).set(pl.Series(day < 0), None)
