"""Why did it not work? The explanations that agree with what some trials published, and what else they
imply."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.simulate.plans import Setup, prepare
from equipoise.simulate.power.deciding import USUAL_ALPHA
from equipoise.simulate.ridge import lesson, trials
from equipoise.simulate.ridge.courses import Crowd, crowd
from equipoise.simulate.ridge.expected import (
    DEATHS,
    DISEASES,
    PRIMARY,
    Expected,
    Point,
    Rates,
    expected,
    names_of,
    reference_figures,
)
from equipoise.simulate.ridge.lesson import Told
from equipoise.simulate.ridge.likelihood import Evidence, correlated, independent
from equipoise.simulate.ridge.published import Published, endpoints_of, level_ratios, published
from equipoise.simulate.ridge.surface import PSI_LAST, TAU_FIRST, TAU_LAST, Nodes, Surface, nodes, rho_limit
from equipoise.simulate.ridge.trials import Trials
from equipoise.simulate.runs import checked_seed

Floats = NDArray[np.float64]
Say = Callable[[str, float | None], None]

PARTICIPANTS = 20_000
"""People of each trial whose courses are walked in both arms."""
TRIALS = 300
"""Trials simulated under each explanation."""
TOLERANCE = 0.003
"""Largest error of the interpolated log hazard ratios, where finer nodes are not called for."""
HELD_OUT = 24
"""Settings at which the interpolation is checked."""
SOLVED, ROUNDS = 1e-7, 12
"""How near the logarithms of what the reference arms show must come to what they were, and in how many
rounds."""
POWER = 0.90
"""The power that the design lesson asks for."""


@dataclass(frozen=True)
class Preset:
    """A named explanation."""

    name: str
    label: str
    meaning: str
    point: Point


@dataclass(frozen=True, eq=False)
class Part:
    """One trial of the explanation."""

    protocol: Protocol
    published: Published
    crowd: Crowd
    surface: Surface
    named: Expected
    """At the presets, in their order, then at the points of the table."""
    held_out: tuple[Floats, Floats]
    """Log hazard ratios at the settings held out: worked out, and interpolated."""
    simulated: Mapping[str, Trials]
    """Trials of the size that was, by preset."""
    confirmed: Mapping[str, Trials]
    """Trials of the size that would have been needed."""

    @property
    def names(self) -> tuple[str, ...]:
        """The figures of the expectations."""
        return self.named.names

    @property
    def critical(self) -> float:
        """The value of z above which a single analysis has won."""
        return NormalDist().inv_cdf(1 - one_sided_alpha(self.protocol))

    @property
    def share(self) -> float:
        """Share of the participants compared who are in the arm."""
        ratio = self.protocol.randomization.ratio
        mine = ratio[self.published.arm]
        return mine / (mine + ratio[self.protocol.analysis.reference_arm])


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything that `explain` found. Log likelihoods are 0 where every published figure is met exactly."""

    parts: tuple[Part, ...]
    presets: tuple[Preset, ...]
    default: str
    """The population's default preset."""
    table: tuple[Point, ...]
    """Settings of the table of expected hazard ratios."""
    left_out: tuple[str, ...]
    """Presets that set more than the dials that are looked at."""
    rates: Mapping[float, Rates]
    """Factors on the rates, by frailty, that keep the reference arms as they were."""
    psi: float
    """The population's own frailty."""
    held_out: tuple[Point, ...]
    seed: int
    participants: int
    trials: int

    @cached_property
    def evidence(self) -> dict[str, tuple[Evidence, ...]]:
        """What the settings are held against, by name. `primary`: the primary hazard ratios. `all`: with
        opportunistic disease and death. `recent`: the primary ones with what is known by time since a cycle,
        taken to hold for every primary event. `subgroup`: by level of a subgroup, where published."""
        sets: dict[str, list[Evidence]] = {"primary": [], "all": [], "recent": [], "subgroup": []}
        for k, part in enumerate(self.parts):
            alone = independent(k, [part.published.primary])
            sets["primary"].append(alone)
            simulated = part.simulated[self.default]
            place = [simulated.endpoints.index(ratio.name) for ratio in part.published.all]
            matrix = simulated.correlation()[np.ix_(place, place)]
            sets["all"].append(correlated(k, part.published.all, matrix))
            sets["recent"].append(alone)
            if part.published.recent is not None:
                both = independent(k, part.published.recent)
                sets["recent"].append(Evidence(k, both.ratios, both.covariance + _shared(part.published)))
            sets["subgroup"].append(self._by_level(k, part) or alone)
        out = {name: tuple(each) for name, each in sets.items()}
        if len(out["recent"]) == len(self.parts):
            del out["recent"]
        if all(each.ratios[0].name == PRIMARY for each in out["subgroup"]):
            del out["subgroup"]
        if all(len(part.published.all) == 1 for part in self.parts):
            del out["all"]
        return out

    def _by_level(self, number: int, part: Part) -> Evidence | None:
        levels = part.crowd.groups.levels
        if not levels or not part.published.levels:
            return None
        counts = part.named.levels[[p.name for p in self.presets].index(self.default)]
        if not (counts > 0).all():
            return None
        shares = tuple(float(each) for each in counts / counts.sum())
        return independent(number, level_ratios(part.published, shares))

    def log_likelihood(self, which: str, phi: Floats, share: Floats, tau: Floats, psi: Floats) -> Floats:
        """At every combination of functional shares, harms (as shares of `rho_limit`), time constants (days)
        and frailties, shape (phi, share, tau, psi), from the evidence of that name."""
        total = np.zeros((len(phi), len(share), len(tau), len(psi)))
        for k, part in enumerate(self.parts):
            mine = [each for each in self.evidence[which] if each.trial == k]
            surface = part.surface.grid(phi, share, tau, psi)
            for each in mine:
                total += each.log_likelihood(surface, part.names)
        return total

    def at(self, which: str, points: Sequence[Point]) -> Floats:
        """The log likelihood at single settings, interpolated."""
        total = np.zeros(len(points))
        for each in self.evidence[which]:
            part = self.parts[each.trial]
            total += each.log_likelihood(part.surface.at(points), part.names)
        return total

    def of_named(self, which: str) -> Floats:
        """The log likelihood at the presets and the points of the table, worked out there."""
        total = np.zeros(len(self.presets) + len(self.table))
        for each in self.evidence[which]:
            part = self.parts[each.trial]
            total += each.log_likelihood(part.named.values, part.names)
        return total

    @property
    def interpolation_error(self) -> float:
        """Largest error of an interpolated log hazard ratio at the settings held out."""
        return max(largest_gap(*part.held_out, part.crowd.name) for part in self.parts)

    @property
    def monte_carlo_error(self) -> float:
        """Largest standard error of the log hazard ratio of an endpoint at the presets."""
        return max(
            float(part.named.errors[: len(self.presets), part.names.index(name)].max())
            for part in self.parts
            for name in (ratio.name for ratio in part.published.all)
        )

    def told_apart(self, number: int, one: str, two: str, figures: Sequence[str]) -> Told:
        """Primary events with which a trial like number `number` tells two presets apart by these figures."""
        part = self.parts[number]
        names = [p.name for p in self.presets]
        apart, left_out = part.named.apart(names.index(one), names.index(two), figures)
        return lesson.told_apart(
            part.simulated[one], part.simulated[two], figures, apart, left_out, self.seed
        )

    def events_needed(self, number: int, preset: str) -> float:
        """Primary events for `POWER` under a preset, from the expected hazard ratio."""
        part = self.parts[number]
        log_hr = float(part.named.of(PRIMARY)[[p.name for p in self.presets].index(preset)])
        return _events(log_hr, part.protocol, part.share)


def one_sided_alpha(protocol: Protocol) -> float:
    """The level of the primary test on the side of benefit, as `equipoise power` takes it: the planned error,
    divided by the sides of the monitoring plan."""
    sides = protocol.monitoring.sides
    alpha = protocol.size.alpha if protocol.size.alpha is not None else USUAL_ALPHA[sides]
    return alpha / sides


def _events(log_hr: float, protocol: Protocol, share: float) -> float:
    return lesson.events_for_power(log_hr, POWER, one_sided_alpha(protocol), share)


def _shared(found: Published) -> Floats:
    """What two hazard ratios against the same people have in common."""
    out: Floats = found.shared * (1.0 - np.eye(2))
    return out


def table_points(psi: float) -> tuple[Point, ...]:
    """The settings of the table of expected hazard ratios: functional share and harm at 130 days."""
    pairs = (
        (0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.25, 0.0), (0.5, 0.0), (0.5, 0.25), (0.75, 0.25), (1.0, 0.0),
        (1.0, 0.25), (1.0, 0.5), (1.0, 1.0),
    )  # fmt: skip
    return tuple(Point(phi, rho, 130.0, psi) for phi, rho in pairs)


def explain(
    protocols: Sequence[Protocol],
    *,
    seed: int = 1,
    participants: int = PARTICIPANTS,
    simulated: int = TRIALS,
    threads: int | None = None,
    say: Say = lambda stage, share: None,
) -> Explanation:
    """Hold every explanation against the published hazard ratios of some trials, jointly.

    `participants`: people of each trial whose expected events are added up. `simulated`: trials of each
    protocol under each preset. No digit depends on `threads`. Raises UserError for a protocol without a
    virtual population or without published hazard ratios, and for trials of different populations."""
    if not protocols:
        raise UserError("name at least one trial: equipoise explain silcaat esprit")
    if len({each.protocol for each in protocols}) < len(protocols):
        raise UserError("the same trial is named twice: its hazard ratios would count double")
    if participants < 2000:
        raise UserError(f"--people must be 2,000 at the least, not {participants:,}: less is a guess")
    if simulated < 40:
        raise UserError(f"--trials must be 40 at the least, not {simulated}: less says nothing about chance")
    seed = checked_seed(seed)
    workers = threads if threads is not None else os.cpu_count() or 1
    setups = [prepare(each) for each in protocols]
    if len({setup.population.name for setup in setups}) > 1:
        raise UserError("the trials have different virtual populations: explain them one by one")
    found = [published(setup.protocol, setup.population) for setup in setups]
    population = setups[0].population
    psi = population.file.dials["frailty"].value
    presets, left_out = _presets(setups[0])
    say("Enrolling virtual people", None)
    crowds = [
        crowd(setup, each.arm, participants, seed, each.subgroup)
        for setup, each in zip(setups, found, strict=True)
    ]
    work = _Work(crowds, setups, found, presets, psi, workers, say)
    surfaces, held_out, named, rates = work.surfaces()
    parts = []
    for k, (setup, each) in enumerate(zip(setups, found, strict=True)):
        repeated = work.simulated(k, simulated)
        confirmed = work.confirmed(k, named[k], repeated, max(40, 2 * simulated // 3))
        parts.append(
            Part(setup.protocol, each, crowds[k], surfaces[k], named[k], work.checked[k], repeated, confirmed)
        )
    return Explanation(
        tuple(parts), presets, population.file.default.preset, table_points(psi), left_out, rates, psi,
        held_out,
        seed, participants, simulated,
    )  # fmt: skip


def _presets(setup: Setup) -> tuple[tuple[Preset, ...], tuple[str, ...]]:
    """The presets that set nothing but the dials that are looked at, and the names of the others."""
    population = setup.population
    usual = population.dials()
    chosen, left_out = [], []
    for name, preset in population.file.presets.items():
        d = population.dials(name)
        point = Point(d.phi, d.rho_acute, d.tau_acute, d.psi)
        looked_at = d._replace(
            phi=usual.phi, rho_acute=usual.rho_acute, tau_acute=usual.tau_acute, psi=usual.psi
        )
        if looked_at == usual and d.rho_chronic == 0 and TAU_FIRST <= d.tau_acute <= TAU_LAST:
            chosen.append(Preset(name, preset.label, preset.meaning, point))
        else:
            left_out.append(name)
    if population.file.default.preset not in [p.name for p in chosen]:
        raise UserError(
            f"{population.place}: the default preset sets more than functional share, acute harm and "
            "frailty: explain knows no other dials"
        )
    return tuple(chosen), tuple(left_out)


class _Work:
    """The steps of the work, each of which tells how far it is."""

    def __init__(
        self, crowds: Sequence[Crowd], setups: Sequence[Setup], found: Sequence[Published],
        presets: tuple[Preset, ...], psi: float, threads: int, say: Say,
    ) -> None:  # fmt: skip
        self._crowds, self._setups, self._found = crowds, setups, found
        self._presets, self._psi, self._threads, self._say = presets, psi, threads, say
        self.checked: list[tuple[Floats, Floats]] = []

    def surfaces(
        self,
    ) -> tuple[list[Surface], tuple[Point, ...], list[Expected], dict[float, Rates]]:
        """Surfaces that are near enough everywhere, with finer nodes where they have to be."""
        for finer in (False, True):
            chosen = nodes(self._psi, finer)
            held_out = _spread(HELD_OUT)
            named = [*(p.point for p in self._presets), *table_points(self._psi)]
            points = [*chosen.points(), *named, *held_out]
            rates = self._rates(chosen, {point.psi for point in points})
            first = math.prod(chosen.shape)
            errors_at = range(first, first + len(named))
            found = [self._expected(k, points, rates, errors_at) for k in range(len(self._crowds))]
            surfaces = [_surface(chosen, each) for each in found]
            self.checked = [
                (each.values[first + len(named) :], surface.at(held_out))
                for each, surface in zip(found, surfaces, strict=True)
            ]
            off = max(
                largest_gap(*each, crowd.name) for each, crowd in zip(self.checked, self._crowds, strict=True)
            )
            if off <= TOLERANCE:
                break
        return surfaces, held_out, [_some(each, first, first + len(named)) for each in found], rates

    def _expected(
        self, number: int, points: Sequence[Point], rates: dict[float, Rates], errors_at: Sequence[int]
    ) -> Expected:
        words = f"Expected hazard ratios of {self._crowds[number].name}"
        self._say(words, 0.0)
        return expected(
            self._crowds[number], points, rates, self._threads,
            lambda done, total: self._say(words, done / total), errors_at,
        )  # fmt: skip

    def _rates(self, chosen: Nodes, wanted: set[float]) -> dict[float, Rates]:
        """Factors on the rates at each frailty: solved for at the nodes, a polynomial between them."""
        self._say("Keeping the reference arms as they were", None)
        solved = [
            Rates(1.0, 1.0, 1.0)
            if psi == self._psi
            else solve_rates(self._crowds, psi, self._psi, self._threads)
            for psi in chosen.psi
        ]
        curve = Surface(
            Nodes((0.0,), (0.0,), (1.0,), chosen.psi), np.log(np.array(solved))[None, None, None, :, :]
        )
        out = {}
        for psi in sorted(wanted):
            if psi in chosen.psi:
                out[psi] = solved[chosen.psi.index(psi)]
            else:
                one = np.array([0.0])
                factors = np.exp(curve.grid(one, one, np.array([1.0]), np.array([psi]))[0, 0, 0, 0])
                out[psi] = Rates(*(float(v) for v in factors))
        return out

    def simulated(self, number: int, count: int) -> dict[str, Trials]:
        """Trials of the real size under each preset."""
        crowd = self._crowds[number]
        words = f"Simulating {count} trials like {crowd.name} under each explanation"
        self._say(words, 0.0)
        return trials.simulate(
            crowd, self._of_presets(number, self._presets), count, self._threads,
            endpoints_of(crowd.setup.protocol, crowd.setup.population),
            tell=lambda done, total: self._say(words, done / total),
        )  # fmt: skip

    def confirmed(
        self, number: int, named: Expected, repeated: Mapping[str, Trials], count: int
    ) -> dict[str, Trials]:
        """Trials of the size that the strongest effect among the presets would have needed."""
        crowd, ratio = self._crowds[number], self._crowds[number].setup.protocol.randomization.ratio
        protocol = crowd.setup.protocol
        effects = named.of(PRIMARY)[: len(self._presets)]
        strongest = self._presets[int(np.argmin(effects))]
        mine, theirs = ratio[self._found[number].arm], ratio[protocol.analysis.reference_arm]
        needed = _events(float(effects.min()), protocol, mine / (mine + theirs))
        each = repeated[strongest.name]
        people = needed / each.events.mean() * each.participants
        if not people < 200_000:
            return {}
        words = f"Simulating {count} trials of {crowd.name} that are large enough"
        self._say(words, 0.0)
        return trials.simulate(
            crowd, self._of_presets(number, (strongest,)), count, self._threads,
            endpoints_of(protocol, crowd.setup.population), participants=math.ceil(people),
            tell=lambda done, total: self._say(words, done / total),
        )  # fmt: skip

    def _of_presets(self, number: int, presets: Sequence[Preset]) -> dict[str, Setup]:
        setup = self._setups[number]
        return {
            preset.name: prepare(
                setup.protocol, preset.name, population=setup.population, baseline=setup.baseline
            )
            for preset in presets
        }


def solve_rates(crowds: Sequence[Crowd], psi: float, usual: float, threads: int) -> Rates:
    """The factors with which the reference arms, all trials together, look at this frailty as they do at the
    usual one: the same expected numbers of opportunistic diseases and of deaths, and those who die having as
    much lower counts than those at risk (Newton's method on the logarithms of the factors). So more of the
    link between the count and death that the controls show is then frailty, and less is an effect of the
    count. Raises UserError when there are none."""
    sizes = np.array([each.setup.protocol.size.simulated for each in crowds], float)

    def figures(frailty: float, rates: Sequence[Rates]) -> Floats:
        found = np.array([reference_figures(each, frailty, rates, threads) for each in crowds])
        numbers = found[:, :, :2] * sizes[:, None, None]
        below = (found[:, :, 2] * numbers[:, :, 1]).sum(axis=0) / numbers[:, :, 1].sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):  # what is not above zero is told below
            logarithms: Floats = np.log(np.column_stack([numbers.sum(axis=0), below]))
        return logarithms

    goal = figures(usual, [Rates(1.0, 1.0, 1.0)])[0]
    x, step = np.zeros(3), 1e-3
    for _ in range(ROUNDS):
        tried = [x, *(x + step * unit for unit in np.eye(3))]
        got = figures(psi, [Rates(*(float(v) for v in np.exp(each))) for each in tried])
        off = got[0] - goal
        if np.abs(off).max() < SOLVED:
            return Rates(*(float(v) for v in np.exp(x)))
        slopes = (got[1:] - got[0]).T / step
        if not (np.isfinite(slopes).all() and np.linalg.matrix_rank(slopes) == 3):
            break
        x = x - np.linalg.solve(slopes, off)
    raise UserError(
        f"{', '.join(each.name for each in crowds)}: no rates are found with which the reference arms look "
        f"at frailty {psi:g} as they do at {usual:g}; the box of explanations cannot be spanned"
    )


def largest_gap(worked_out: Floats, interpolated: Floats, name: str) -> float:
    """Largest difference, shapes (points, figures); a figure that a trial does not have (NaN everywhere) is
    left out. Raises UserError for one that is missing at some points only."""
    has = ~(np.isnan(worked_out) & np.isnan(interpolated)).all(axis=0)
    gap = float(np.abs(worked_out[:, has] - interpolated[:, has]).max())
    if not math.isfinite(gap):
        raise UserError(
            f"{name}: a hazard ratio is expected at some settings of the dials only; take more virtual people"
        )
    return gap


def _surface(chosen: Nodes, found: Expected) -> Surface:
    count = math.prod(chosen.shape)
    return Surface(chosen, found.values[:count].reshape(*chosen.shape, -1))


def _some(found: Expected, first: int, stop: int) -> Expected:
    return Expected(
        found.points[first:stop], found.names, found.values[first:stop], found.errors[first:stop],
        found.reference[first:stop], found.other[first:stop], found.levels[first:stop],
        found.left_out[:, first:stop],
    )  # fmt: skip


def _spread(count: int) -> tuple[Point, ...]:
    """Settings spread evenly over the box (Halton, Numer Math 1960;2:84)."""
    places = np.array([[_radical(k, base) for base in (2, 3, 5, 7)] for k in range(1, count + 1)])
    tau = TAU_FIRST * (TAU_LAST / TAU_FIRST) ** places[:, 2]
    return tuple(
        Point(float(p[0]), float(p[1]) * rho_limit(float(t)), float(t), PSI_LAST * float(p[3]))
        for p, t in zip(places, tau, strict=True)
    )


def _radical(number: int, base: int) -> float:
    value, share = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        share /= base
        value += digit * share
    return value


__all__ = [
    "DEATHS", "DISEASES", "PRIMARY", "Explanation", "Part", "Preset", "explain", "names_of", "solve_rates",
]  # fmt: skip
