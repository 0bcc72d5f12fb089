"""A fit from beginning to end, in a folder that it can be continued from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from equipoise.errors import UserError
from equipoise.simulate.fitting import store as keep
from equipoise.simulate.fitting.bench import Bench, bench
from equipoise.simulate.fitting.optimise import Descent, descend, misfit, slopes, starting_points
from equipoise.simulate.fitting.predictive import Check, checks, drawn_rows
from equipoise.simulate.fitting.profile import Profile, chosen, profile
from equipoise.simulate.fitting.rows import Vector
from equipoise.simulate.fitting.store import Store
from equipoise.simulate.fitting.targets import Targets
from equipoise.simulate.fitting.uncertainty import Uncertainty, uncertainty
from equipoise.simulate.power.store import held
from equipoise.simulate.power.tasks import fingerprint
from equipoise.simulate.runs import checked_seed
from equipoise.virtual.parameters import Population

PARTICIPANTS = 40_000
"""Of each simulated trial: the Monte Carlo error of a figure is then a fifth (SILCAAT) to a third (ESPRIT) of
the error of the published one."""
STEPS = 10
DRAWS = 200
FEWEST_DRAWS = 40
FEWEST_PARTICIPANTS = 1000

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Settings:
    """How a fit is to be done. `steps` 0 only compares; `starts`: how many descents, the first from the file;
    `profiles`: names of rows; `draws` 0 leaves the predictive check out."""

    seed: int = 1
    participants: int = PARTICIPANTS
    steps: int = STEPS
    starts: int = 1
    profiles: tuple[str, ...] = ()
    draws: int = DRAWS

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        for name, least in (("participants", FEWEST_PARTICIPANTS), ("steps", 0), ("starts", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be {least} or more, not {getattr(self, name)}")
        if 0 < self.draws < FEWEST_DRAWS or self.draws < 0:
            raise UserError(
                f"--draws must be {FEWEST_DRAWS} or more (or 0, to leave the predictive check out), not "
                f"{self.draws}"
            )


@dataclass(frozen=True)
class Fit:
    """A fit. `x`: the estimate, on the scale of the fit. `uncertainty` is None where only a comparison was
    asked for, and `descents` is empty."""

    bench: Bench
    settings: Settings
    x: Vector
    start_sum: float
    descents: tuple[Descent, ...]
    uncertainty: Uncertainty | None
    profiles: tuple[Profile, ...]
    checks: tuple[Check, ...]

    @property
    def command(self) -> str | None:
        """The command that began the fit."""
        return self.bench.store.command

    @property
    def population(self) -> Population:
        """The population with the rows at the estimate."""
        return self.bench.at(self.x)

    @property
    def sum_of_squares(self) -> float:
        """At the estimate (at the rows of the file, where only a comparison was asked for)."""
        return self.descents[0].sum_of_squares if self.descents else self.start_sum


def fit(
    population: Population,
    targets: Targets,
    settings: Settings,
    folder: Path | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    threads: int | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Fit:
    """Fit the free rows of `population` to `targets`.

    Every trial that is simulated on the way is kept in `folder` (if given); with `resume` those that are
    there are read back. Same population, targets, settings and version: same result to the last bit, whatever
    the number of threads and interruptions. `note` is told what has been reached, in one line each. Raises
    UserError for whatever the user can mend."""
    say: Progress = progress if progress is not None else lambda stage, share: None
    tell = note if note is not None else lambda line: None
    made = bench(population, targets, Store(None), threads)
    profiled = chosen(made, settings.profiles)
    if folder is None:
        return _fitted(made, settings, profiled, say, tell)
    asked = {
        "what": "fit", "equipoise": fingerprint(), "population": _sha256(population),
        "targets": targets.sha256, "seed": settings.seed, "participants": settings.participants,
        "command": command,
    }  # fmt: skip
    with held(folder):
        saved = keep.resume(folder, asked) if resume else keep.create(folder, asked, force)
        try:
            return _fitted(replace(made, store=saved), settings, profiled, say, tell)
        finally:
            saved.close()


def _sha256(population: Population) -> str:
    said = population.file.model_dump(mode="json")
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _fitted(
    made: Bench, settings: Settings, profiled: Sequence[int], say: Progress, note: Callable[[str], None]
) -> Fit:
    seed, size = settings.seed, settings.participants
    everything = tuple(made.setups)
    if settings.steps == 0:
        say("Comparing", None)
        figures = made.expectations([made.start], seed + 1, size, everything)[0]
        return Fit(
            made,
            settings,
            made.start,
            _sum(made, figures),
            (),
            None,
            (),
            checks(made, figures, figures, None, None),
        )
    descents = _descents(made, settings, say, note)
    start_sum = descents[0].sums[0]
    descents = tuple(sorted(descents, key=lambda each: each.sum_of_squares))
    x = descents[0].end
    say("What the figures know", None)
    found = slopes(made, x, range(len(made.rows)), seed, size, partial(_part, say, "What the figures know"))
    draws = max(settings.draws, FEWEST_DRAWS * 2)
    real = made.trials_of_real_size(
        [x] * draws, seed, 1, partial(_part, say, "Simulating trials of the published size")
    )
    known = uncertainty(made, x, found, real, size)
    profiles = []
    for position in profiled:
        words = f"Profile of {made.rows[position].name}"
        say(words, None)
        profiles.append(profile(made, x, known, position, seed, size, partial(_part, say, words)))
    drawn = None
    if settings.draws:
        drawn = made.trials_of_real_size(
            drawn_rows(made, x, known, settings.draws, seed), seed, 1,
            partial(_part, say, "Predictive check"),
        )  # fmt: skip
    # Compared on other people than those of the fit.
    say("Comparing", None)
    before, after = made.expectations([made.start, x], seed + 1, size, everything)
    return Fit(
        made, settings, x, start_sum, descents, known, tuple(profiles),
        checks(made, before, after, real[: settings.draws], drawn),
    )  # fmt: skip


def _sum(made: Bench, figures: Vector) -> float:
    return float(np.sum(misfit(made, figures, made.start) ** 2))


def _part(say: Progress, words: str, done: int, of: int) -> None:
    say(words, done / of)


def _line(note: Callable[[str], None], words: str, line: str) -> None:
    note(f"{words}: {line}")


def _descents(
    made: Bench, settings: Settings, say: Progress, note: Callable[[str], None]
) -> tuple[Descent, ...]:
    """The descents from all starting points, that from the file first."""
    found = []
    for k, begin in enumerate(starting_points(made, settings.starts, settings.seed)):
        words = "Fitting" if settings.starts == 1 else f"Fitting from start {k + 1} of {settings.starts}"
        say(words, None)
        found.append(
            descend(
                made, begin, settings.seed, settings.participants, settings.steps,
                partial(_line, note, words), partial(_part, say, words),
            )
        )  # fmt: skip
    return tuple(found)
