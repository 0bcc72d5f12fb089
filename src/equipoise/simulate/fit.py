"""Fits the rows marked `fitted` of the virtual population to both trials at once. Repeatable:

    python -m equipoise.simulate.fit --write new_population.yaml

The expectations of the two simulated trials, as functions of the rows, are compared with what the trials
published, in units of a tolerance for each figure (`TARGETS`), and the sum of squares is made least by
Gauss-Newton steps (SciPy's trust-region `least_squares`). The same people with the same random numbers are
walked at every step, so the sum of squares changes smoothly with the rows. Two rows are held near the
literature by a prior (`PRIORS`). Which definition of each published figure is used is part of the fit:
docs/virtual-participants.md.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.trial import Outcomes, diary, outcomes, walk
from equipoise.virtual.parameters import Population, load_population

CYCLES_AT_MOST_THREE = "share with at most three cycles"
"""A smooth stand-in for the median number of cycles, which is a whole number: a median of four means that
this share is below one half, and the share with at most four above it. Where between is assumed."""


class Target(NamedTuple):
    """One published figure: what the fit compares with it, and how far off counts as one unit."""

    trial: str
    arm: str
    figure: str
    value: float
    tolerance: float
    source: str


TARGETS = (
    Target("silcaat", "control", "mean CD4", 292.1, 4.0, "S1"),
    Target("esprit", "control", "mean CD4", 556.3, 7.0, "S2"),
    Target("silcaat", "il2 vs control", "mean CD4", 53.0, 3.0, "S1"),
    Target("esprit", "il2 vs control", "mean CD4", 159.0, 3.5, "S2"),
    Target("silcaat", "control", "SD of CD4", 119.0, 8.0, "S1, from the standard error"),
    Target("esprit", "control", "SD of CD4", 193.0, 9.0, "S2"),
    Target("silcaat", "il2", "SD of CD4", 149.0, 14.0, "S1, from the standard error"),
    Target("esprit", "il2", "SD of CD4", 273.1, 18.0, "S2"),
    Target("esprit", "il2", "month 8 rise, lower quartile", 90.0, 9.0, "S20"),
    Target("esprit", "il2", "month 8 rise, median", 233.0, 13.0, "S20"),
    Target("esprit", "il2", "month 8 rise, upper quartile", 411.0, 24.0, "S20"),
    Target("esprit", "il2", CYCLES_AT_MOST_THREE, 0.43, 0.03, "S21: median of four; 0.43 assumed"),
    Target("silcaat", "il2", "primary events", 110.0, 6.0, "S1"),
    Target("silcaat", "control", "primary events", 119.0, 6.0, "S1"),
    Target("esprit", "il2", "primary events", 159.0, 8.0, "S2"),
    Target("esprit", "control", "primary events", 165.0, 8.0, "S2"),
    Target("silcaat", "il2", "deaths", 81.0, 9.0, "S1"),
    Target("silcaat", "control", "deaths", 77.0, 9.0, "S1"),
    Target("esprit", "il2", "deaths", 107.0, 10.0, "S2"),
    Target("esprit", "control", "deaths", 116.0, 10.0, "S2"),
    Target("silcaat", "il2", "opportunistic disease", 49.0, 8.0, "S1"),
    Target("silcaat", "control", "opportunistic disease", 66.0, 8.0, "S1"),
    Target("silcaat", "il2", "grade 4 events", 203.0, 9.0, "S1"),
    Target("silcaat", "control", "grade 4 events", 186.0, 9.0, "S1"),
    Target("esprit", "il2", "grade 4 events", 466.0, 13.0, "S2"),
    Target("esprit", "control", "grade 4 events", 383.0, 13.0, "S2"),
)
ANALYSED = {
    ("silcaat", "il2"): 849,
    ("silcaat", "control"): 846,
    ("esprit", "il2"): 2071,
    ("esprit", "control"): 2040,
}
"""Participants of each published arm: counts of events are scaled to them."""


class Free(NamedTuple):
    """A row that is fitted: its value or its spread between people, on a log scale or as it stands."""

    row: str
    spread: bool
    logarithmic: bool
    scale: float
    """A step that plausibly matters."""


FREE = (
    Free("native_level", False, True, 0.05),
    Free("level_on_count", False, False, 0.05),
    Free("native_level", True, True, 0.1),
    Free("gain", False, True, 0.1),
    Free("gain", True, True, 0.1),
    Free("half_life_long_lived", False, True, 0.2),
    Free("dose_power", False, False, 0.2),
    Free("accept_maintenance", False, False, 0.3),
    Free("od_rate", False, True, 0.1),
    Free("death_rate", False, True, 0.1),
    Free("grade4_rate", False, True, 0.05),
    Free("grade4_cycle", False, True, 0.1),
)
PRIORS = {"dose_power": (1.35, 0.2), "half_life_long_lived": (math.log(1.5), 0.35)}
"""Centre and standard deviation on the scale of the fit."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Cohort:
    """One enrolled trial, walked again and again with other parameters."""

    name: str
    setup: Setup
    enrolment: Enrolment
    seed: int

    def walk(self, population: Population) -> Outcomes:
        """Everybody's outcomes if these were the parameters."""
        setup, people = self.setup, self.enrolment.people
        rates = setup.baseline.file
        kernel = population.kernel(setup.dials, rates.loss.per_year, rates.withdrawal.per_year)
        out = outcomes(self.enrolment.participants, len(setup.landmarks))
        none = diary(0, 0, 0, 0, 0)
        for code, arm in enumerate(setup.arms):
            rows = np.flatnonzero(self.enrolment.arm == code)
            walk(kernel, arm.plan, setup.plan, people, rows, np.uint64(self.seed), 0, False, out, none)
        return out

    def figures(self, population: Population) -> dict[tuple[str, str, str], float]:
        """(trial, arm, figure) -> expectation, events scaled to the size of the published arm."""
        all_of_them = self.walk(population)
        result: dict[tuple[str, str, str], float] = {}
        for code, arm in enumerate(self.setup.arms):
            here = self.enrolment.arm == code
            baseline = self.enrolment.people.baseline[here]
            for figure, value in _figures(
                Outcomes(*[column[here] for column in all_of_them]), baseline, self.setup
            ):
                counted = figure in ("primary events", "deaths", "opportunistic disease", "grade 4 events")
                result[self.name, arm.name, figure] = value * (
                    ANALYSED[self.name, arm.name] if counted else 1.0
                )
        result[self.name, "il2 vs control", "mean CD4"] = (
            result[self.name, "il2", "mean CD4"] - result[self.name, "control", "mean CD4"]
        )
        return result


def _figures(o: Outcomes, baseline: Vector, setup: Setup) -> list[tuple[str, float]]:
    disease, death = o.diseases[:, 0] >= 0, o.death >= 0
    means = (o.count_sum / np.maximum(o.counts, 1))[o.counts > 0]
    figures = [
        ("mean CD4", float(means.mean())),
        ("SD of CD4", float(means.std())),
        ("primary events", float((disease | death).mean())),
        ("deaths", float(death.mean())),
        ("opportunistic disease", float(disease.mean())),
        ("grade 4 events", float((o.grade4 >= 0).mean())),
        (CYCLES_AT_MOST_THREE, float((o.cycles <= 3).mean())),
        ("share with at most four cycles", float((o.cycles <= 4).mean())),
    ]
    if "month 8" in setup.landmarks and o.cycles.any():
        at = setup.landmarks.index("month 8")
        started_full = o.first_dose == o.first_dose.max()
        usable = started_full & (o.landmark_cycle[:, at] >= 30) & ~np.isnan(o.at_landmark[:, at])
        rise = np.quantile((o.at_landmark[:, at] - baseline)[usable], [0.25, 0.5, 0.75])
        names = ("lower quartile", "median", "upper quartile")
        figures += [(f"month 8 rise, {name}", float(value)) for name, value in zip(names, rise, strict=True)]
    return figures


def cohorts(population: Population, participants: int, seed: int) -> list[Cohort]:
    """Both trials, enrolled once with `participants` each."""
    made = []
    for name in ("silcaat", "esprit"):
        setup = prepare(load(name), population=population)
        made.append(Cohort(name, setup, enrol(setup, seed, 0, participants), seed))
    return made


def start(population: Population, free: Sequence[Free] = FREE) -> Vector:
    """The rows of the file on the scale of the fit."""
    values = [population.spread(f.row) if f.spread else population.value(f.row) for f in free]
    return np.array(
        [math.log(v) if f.logarithmic else v for f, v in zip(free, values, strict=True)], np.float64
    )


def with_rows(population: Population, x: Vector, free: Sequence[Free] = FREE) -> Population:
    """The population with the rows at x."""
    values: dict[str, float] = {}
    spreads: dict[str, float] = {}
    for f, at in zip(free, x, strict=True):
        (spreads if f.spread else values)[f.row] = math.exp(at) if f.logarithmic else float(at)
    return population.replace(values, spreads)


def residuals(figures: Mapping[tuple[str, str, str], float], x: Vector) -> Vector:
    """Distances from the targets in units of their tolerances, and from the priors in theirs."""
    off = [(figures[t.trial, t.arm, t.figure] - t.value) / t.tolerance for t in TARGETS]
    for position, f in enumerate(FREE):
        if f.row in PRIORS and not f.spread:
            centre, sd = PRIORS[f.row]
            off.append((x[position] - centre) / sd)
    return np.array(off)


def fit(
    population: Population, participants: int, seed: int, steps: int, note: Callable[[str], None] = print
) -> Population:
    """The population with its fitted rows at the least sum of squares."""
    from scipy.optimize import least_squares

    both = cohorts(population, participants, seed)

    def off(x: Vector) -> Vector:
        moved = with_rows(population, x)
        figures: dict[tuple[str, str, str], float] = {}
        for cohort in both:
            figures |= cohort.figures(moved)
        return residuals(figures, x)

    begin = start(population)
    note(f"sum of squares at the start: {float(np.sum(off(begin) ** 2)):.2f}")
    found = least_squares(
        off, begin, diff_step=0.02, x_scale=[f.scale for f in FREE], max_nfev=steps, xtol=1e-4, ftol=1e-4
    )
    note(f"sum of squares after {found.nfev} steps: {2.0 * found.cost:.2f}")
    return with_rows(population, found.x)


def report(population: Population, participants: int, seed: int) -> list[str]:
    """Lines that compare the expectations under these rows with the targets."""
    figures: dict[tuple[str, str, str], float] = {}
    for cohort in cohorts(population, participants, seed):
        figures |= cohort.figures(population)
    lines = [f"{'trial':8} {'arm':15} {'figure':32} {'published':>10} {'model':>10} {'off':>6}"]
    for t in TARGETS:
        got = figures[t.trial, t.arm, t.figure]
        lines.append(
            f"{t.trial:8} {t.arm:15} {t.figure:32} {t.value:10.4g} {got:10.4g} "
            f"{(got - t.value) / t.tolerance:6.2f}"
        )
    four = figures["esprit", "il2", "share with at most four cycles"]
    lines.append(f"esprit   il2             share with at most four cycles {'above 0.5':>12} {four:10.4g}")
    return lines


def written(text: str, population: Population) -> str:
    """The text of a population file with the fitted rows' new values, to three figures; all else as it
    was."""
    for f in FREE:
        line = re.search(rf"^  {f.row}: .*$", text, re.MULTILINE)
        if line is None:
            raise UserError(f"{population.place}: there is no line for `{f.row}`")
        key, new = ("sd", population.spread(f.row)) if f.spread else ("value", population.value(f.row))
        changed = re.sub(rf"\b{key}: -?[\d.eE-]+", f"{key}: {float(f'{new:.3g}'):g}", line[0], count=1)
        text = text.replace(line[0], changed)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the fit; see the top of this module."""
    parser = argparse.ArgumentParser(prog="python -m equipoise.simulate.fit", description=__doc__)
    parser.add_argument("--population", default="hiv_il2")
    parser.add_argument("--participants", type=int, default=40_000, help="of each trial (default 40000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=15, help="at most this many steps; 0 only compares")
    parser.add_argument("--write", type=Path, help="write the population file with the fitted rows here")
    chosen: Any = parser.parse_args(arguments)
    population = load_population(chosen.population)
    if chosen.steps > 0:
        population = fit(population, chosen.participants, chosen.seed, chosen.steps)
        for f in FREE:
            kind = "SD between people" if f.spread else "value"
            now = population.spread(f.row) if f.spread else population.value(f.row)
            print(f"{f.row:24} {kind:18} {now:.4g}")
    # Compared on other people than those of the fit.
    print("\n".join(report(population, chosen.participants, chosen.seed + 1)))
    if chosen.write is not None:
        place = Path(population.place)
        source = place if place.exists() else Path(__file__).parents[1] / "virtual" / "library" / place.name
        chosen.write.write_text(written(source.read_text(encoding="utf-8"), population), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
