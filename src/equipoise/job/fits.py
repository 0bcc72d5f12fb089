"""The fitted rows of a virtual population, estimated again from published figures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise._atomic import new_file
from equipoise.errors import UserError
from equipoise.job.main_job import Progress, provenance

if TYPE_CHECKING:
    from equipoise.simulate.fitting.running import Fit


@dataclass(frozen=True)
class Fitted:
    """What a fit made: the fit itself, its result in words, and the finished files."""

    fit: Fit
    told: str
    files: Mapping[str, Path]


def fit_folder(population: str, seed: int) -> Path:
    """Where a fit goes unless told otherwise: `hiv-il2-fit-1`."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(population).stem.lower()).strip("-") or "population"
    return Path(f"{name}-fit-{seed}")


def fit(
    population: str | os.PathLike[str],
    targets: str | os.PathLike[str] | None = None,
    *,
    seed: int = 1,
    participants: int | None = None,
    steps: int | None = None,
    starts: int = 1,
    profiles: Sequence[str] = (),
    draws: int | None = None,
    out: str | os.PathLike[str] | None = None,
    write: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Fitted:
    """Fit the free rows of a virtual population to published figures, with what is not known of them.

    `population`: a bundled one or a file. `targets`: a targets file, or the name of a bundled one (that of
    the same name as the population, when left out). `participants` of each simulated trial (40,000),
    `steps` at most (10; 0 only compares), `starts`: descents from so many points, `profiles`: names of rows,
    `draws` of the predictive check (200; 0: none). `out`: the folder (default: population and seed); with
    `resume` the fit that is there goes on. `write`: where to put the population file with the new values.
    Raises UserError for whatever the user can mend.
    """
    from equipoise._atomic import refuse_existing
    from equipoise.report.fit import write_fit
    from equipoise.simulate.fitting import rows, running, telling
    from equipoise.simulate.fitting.targets import bundled_targets, load_targets
    from equipoise.virtual.parameters import load_population

    people = load_population(os.fspath(population))
    if targets is None and people.name not in bundled_targets():
        raise UserError(
            f"no targets come with Equipoise for the population {people.name}: give a targets file "
            "with --targets"
        )
    held_against = load_targets(os.fspath(targets) if targets is not None else people.name)
    settings = running.Settings(
        seed, running.PARTICIPANTS if participants is None else participants,
        running.STEPS if steps is None else steps, starts, tuple(profiles),
        running.DRAWS if draws is None else draws,
    )  # fmt: skip
    if write is not None:
        if settings.steps == 0:
            raise UserError("--write needs a fit: --steps 0 only compares")
        refuse_existing(Path(write), force, "another name with --write")
        free = [row for row in rows.free_rows(held_against, people) if row.moves]
        text = rows.text_of(people)
        rows.written(text, people, free, people.place)  # whether it can be done is known before any work
    folder = Path(out) if out is not None else fit_folder(os.fspath(population), seed)
    done = running.fit(
        people, held_against, settings, folder, resume=resume, force=force, threads=threads,
        command=command, progress=progress, note=note,
    )  # fmt: skip
    files = {"page": write_fit(done, folder, provenance=provenance(done.command), force=True)}
    for name, table in telling.tables(done).items():
        with new_file(folder / name, force=True) as temporary:
            temporary.write_text(table.write_csv(), encoding="utf-8", newline="")
        files[name.removesuffix(".csv").replace("_", " ")] = folder / name
    if write is not None:
        with new_file(write, force=force) as temporary:
            content = rows.written(text, done.population, free, people.place)
            temporary.write_text(content, encoding="utf-8", newline="")
        files["population"] = Path(write)
    return Fitted(done, telling.told(done), files)
