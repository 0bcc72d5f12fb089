"""The trials of a fit, simulated again and again with other rows and the same people and chances.

An evaluation is one trial with one set of rows. Its people are enrolled once; what happens to them is worked
out anew, from the same random numbers, so that figures change smoothly with the rows and two evaluations
differ by what the rows do and by little else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.fitting.rows import Free, Vector, free_rows, start, with_rows
from equipoise.simulate.fitting.store import Store, Task
from equipoise.simulate.fitting.targets import Target, Targets, scaled, with_landmarks
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.replicates import figures as figures_of
from equipoise.simulate.runs import in_order, walk_everybody
from equipoise.virtual.parameters import Population

AT_ENTRY = frozenset(
    ("rna_level", "rna_level_low", "rna_level_high", "rna_noise", "rna_floor", "rna_below_limit",
     "rna_suppressed_span", "count_noise", "screening_shortest")
)  # fmt: skip
"""Rows on which it depends who is enrolled: when one of them may move, everybody is enrolled anew."""
TRIED = 600
"""Participants of the small trial that shows which figures a protocol has."""

Tell = Callable[[int, int], None]
"""Called with how many evaluations are done, and of how many."""


@dataclass(frozen=True)
class Bench:
    """Population, targets and rows of a fit, and the trials prepared. Figures come in the order of
    `targets.targets`."""

    population: Population
    targets: Targets
    rows: tuple[Free, ...]
    setups: dict[str, Setup]
    store: Store
    threads: int
    enrolled: dict[tuple[str, int, int, int], Enrolment]

    @property
    def start(self) -> Vector:
        """The rows of the file, on the scale of the fit."""
        return start(self.population, self.rows)

    @property
    def moving(self) -> NDArray[np.intp]:
        """Positions of the rows that the fit moves."""
        return np.flatnonzero([row.moves for row in self.rows])

    @property
    def fitted_trials(self) -> tuple[str, ...]:
        """Trials that have a figure which the fit may see."""
        named = {target.trial for target in self.targets.targets if target.fitted}
        return tuple(name for name in self.setups if name in named)

    def at(self, x: Vector) -> Population:
        """The population with the rows at x."""
        return with_rows(self.population, x, self.rows)

    def figures(self, tasks: Sequence[Task], tell: Tell | None = None) -> list[Vector]:
        """The figures of each task's trial, NaN at the targets of other trials. Evaluations that the store
        has are taken from there; new ones are kept, in order, as they are finished."""
        missing = [task for task in dict.fromkeys(tasks) if task not in self.store.known]
        made = in_order(self._one, missing, min(self.threads, len(missing)))
        for done, (task, values) in enumerate(zip(missing, made, strict=True), 1):
            self.store.add(task, values)
            if tell is not None:
                tell(done, len(missing))
        return [np.array(self.store.known[task]) for task in tasks]

    def expectations(
        self,
        points: Sequence[Vector],
        seed: int,
        participants: int,
        trials: Sequence[str] | None = None,
        tell: Tell | None = None,
    ) -> NDArray[np.float64]:
        """Expected figures at each point, on the scale of comparison (ratios by their logarithm), float64
        [points, targets]: those of one simulated trial of each kind with so many participants."""
        names = self.fitted_trials if trials is None else tuple(trials)
        tasks = [Task(tuple(x.tolist()), name, seed, 0, participants) for x in points for name in names]
        found = self.figures(tasks, tell)
        out = np.full((len(points), len(self.targets.targets)), np.nan)
        for k, values in enumerate(found):
            row = out[k // len(names)]
            np.copyto(row, values, where=~np.isnan(values))
        return self.compared(out)

    def trials_of_real_size(
        self, points: Sequence[Vector], seed: int, first: int, tell: Tell | None = None
    ) -> NDArray[np.float64]:
        """Figures of one trial of the published size at each point, float64[points, targets], on the scale of
        comparison. The trial at points[k] is number `first` + k."""
        tasks = [
            Task(tuple(x.tolist()), name, seed, first + k, sum(self.targets.sizes[name].values()))
            for k, x in enumerate(points)
            for name in self.setups
        ]
        found = np.array(self.figures(tasks, tell)).reshape(len(points), len(self.setups), -1)
        out = np.full((len(points), found.shape[2]), np.nan)
        for k in range(found.shape[1]):
            np.copyto(out, found[:, k], where=~np.isnan(found[:, k]))
        return self.compared(out)

    def compared(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Figures on the scale of comparison."""
        out = figures.copy()
        for k, target in enumerate(self.targets.targets):
            if target.logarithmic:
                column = out[:, k]
                known = column > 0
                out[:, k] = np.where(known, np.log(np.where(known, column, 1.0)), np.nan)
        return out

    @property
    def observed(self) -> Vector:
        """The published figures on the scale of comparison."""
        return np.array([target.onto(target.value) for target in self.targets.targets])

    def _one(self, task: Task) -> tuple[float, ...]:
        """The figures of one simulated trial, those of groups scaled to their published size."""
        population = self.at(np.array(task.x))
        setup = _moved(self.setups[task.trial], population)
        enrolment = self._enrolment(task, setup)
        happened = walk_everybody(setup, enrolment, task.seed, task.number)
        found = figures_of(setup, enrolment, happened, task.seed, task.number)
        sizes = dict(self.targets.sizes[task.trial])
        simulated = {arm.name: int((enrolment.arm == k).sum()) for k, arm in enumerate(setup.arms)}
        return tuple(
            _of_size(found, target, sizes, simulated) if target.trial == task.trial else math.nan
            for target in self.targets.targets
        )

    def _enrolment(self, task: Task, setup: Setup) -> Enrolment:
        if any(row.row in AT_ENTRY for row in self.rows):
            return enrol(setup, task.seed, task.number, task.participants)
        key = (task.trial, task.seed, task.number, task.participants)
        found = self.enrolled.get(key)
        if found is None:
            found = enrol(self.setups[task.trial], task.seed, task.number, task.participants)
            if task.number == 0:  # trials of the published size come once or twice each
                self.enrolled[key] = found
        return found


def bench(population: Population, targets: Targets, store: Store, threads: int | None = None) -> Bench:
    """Prepare the trials of a fit. Raises UserError where a target names a figure that a simulated trial does
    not have, with the nearest ones, or a trial cannot be simulated with this population."""
    setups = {}
    for name, protocol in targets.protocols.items():
        mine = [target for target in targets.targets if target.trial == name]
        dials = dict(targets.file.dials) or None
        setups[name] = prepare(with_landmarks(protocol, mine), dials, population=population)
    made = Bench(
        population, targets, free_rows(targets, population), setups, store,
        threads if threads is not None else os.cpu_count() or 1, {},
    )  # fmt: skip
    _check_figures(made)
    return made


def _moved(setup: Setup, population: Population) -> Setup:
    if population is setup.population:
        return setup
    rates = setup.baseline.file
    kernel = population.kernel(setup.dials, rates.loss.per_year, rates.withdrawal.per_year)
    return replace(setup, population=population, kernel=kernel)


def _of_size(
    found: dict[str, float], target: Target, sizes: dict[str, int], simulated: dict[str, int]
) -> float:
    value = found.get(target.key, math.nan)
    group = target.parts[1]
    arms = list(sizes) if group == "all" else group.split(" vs ")
    return scaled(
        target.key, value, sum(simulated.get(arm, 0) for arm in arms), sum(sizes.get(arm, 0) for arm in arms)
    )


def _check_figures(made: Bench) -> None:
    """Each figure must be one that a simulated trial gives: a small one is tried."""
    for name, setup in made.setups.items():
        enrolment = enrol(setup, 1, 0, TRIED)
        known = figures_of(setup, enrolment, walk_everybody(setup, enrolment, 1, 0), 1, 0)
        for k, target in enumerate(made.targets.targets):
            if target.trial == name and target.key not in known:
                raise UserError(f"{made.targets.where(k)}: {_nearest(target, list(known))}")


def _nearest(target: Target, known: list[str]) -> str:
    """What is wrong with the name of a figure: its first part that leads nowhere."""
    parts = list(target.parts)
    for k, what in enumerate(("analysis", "group", "parameter", "statistic")):
        here = {key.split("|")[k]: None for key in known if key.split("|")[:k] == parts[:k]}
        if parts[k] not in here:
            before = f" of {' | '.join(parts[:k])}" if k else ""
            return f'a simulated trial has no {what} "{parts[k]}"{before}{near_or_all(parts[k], list(here))}'
    raise AssertionError(target.key)
