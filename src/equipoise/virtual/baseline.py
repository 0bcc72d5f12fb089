"""Who comes to be screened: a population wider than the trial's, so that eligibility really selects.

A baseline file (`library/baseline_*.yaml`) gives the true state of candidates (CD4 count, nadir, age, sex,
earlier AIDS illness, suppression) and a distribution for every item that is asked at screening. Each
candidate's answers depend on seed, trial and candidate number only. Eligibility is judged on measured
counts, while the true count goes into the model: those selected for a low measurement are, truly, a little
higher.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from equipoise._compile import njit
from equipoise.errors import UserError
from equipoise.protocol.criteria import derive_columns
from equipoise.protocol.model import Item, Name, Protocol, Reference, Simulation
from equipoise.protocol.reading import Source
from equipoise.virtual.maths import (
    exp,
    floor_day,
    log,
    normal_quantiles,
    normal_share,
)
from equipoise.virtual.observation import copies, measured_count_from
from equipoise.virtual.parameters import Population, first_complaint, read_source
from equipoise.virtual.philox import block, split_seed, uniform_column, unit32
from equipoise.virtual.streams import (
    CD4_TRUE,
    COUNTRY,
    DEMOGRAPHY,
    HISTORY,
    ITEM,
    SCREENING_COUNT,
    VIROLOGY_AT_ENTRY,
)
from equipoise.virtual.virology import suppressed_level, viraemic_level

__all__ = [
    "Baseline",
    "Candidates",
    "bundled_baselines",
    "candidates",
    "load_baseline",
    "place_tables",
    "places",
]

Column = NDArray[Any]


# --- the file ---------------------------------------------------------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    source: list[str] | str | None = None
    assumed: str | None = None
    note: str | None = None


class Shape(_Part):
    """A distribution between limits: `median` and `sd` of a normal, or of the logarithm of a lognormal beyond
    `shift`."""

    distribution: Literal["normal", "lognormal"]
    median: float
    sd: Annotated[float, Field(gt=0)]
    low: float
    high: float
    shift: float = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Shape:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.distribution == "lognormal" and not (self.median > self.shift and self.low > self.shift):
            raise ValueError("a lognormal needs median and low above its shift")
        return self


class Share(_Part):
    share: Annotated[float, Field(ge=0, le=1)]


class Rate(_Part):
    per_year: Annotated[float, Field(ge=0, le=2)]


class Answer(_Part):
    """How candidates answer one item. Exactly one of the forms; `when` limits it to those who said yes to
    another item (others: no, or unknown for a number), `only` to one sex."""

    of: Literal["age", "sex", "country", "site", "prior aids", "nadir", "cd4", "hiv rna"] | None = None
    """A trait of the person; `cd4` and `hiv rna` are measured, with noise."""
    sample: Literal[0, 1] = 1
    """Which of the two screening samples a measurement comes from."""
    history: bool = False
    """Yes if this is the earlier AIDS illness that `history` drew."""
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    value: float | bool | str | None = None
    choices: dict[str, float] | None = None
    normal: tuple[float, float] | None = None
    """Mean and SD."""
    lognormal: tuple[float, float] | None = None
    """Median and SD of the logarithm."""
    digits: Annotated[int, Field(ge=0, le=4)] = 1
    when: Name | None = None
    only: Literal["male", "female"] | None = None
    otherwise: bool = False
    """The answer of those whom `only` leaves out."""

    @model_validator(mode="after")
    def _one_form(self) -> Answer:
        forms = [self.of, self.probability, self.value, self.choices, self.normal, self.lognormal]
        if sum(form is not None for form in forms) + self.history != 1:
            raise ValueError(
                "an answer has exactly one of `of`, `history`, `probability`, `value`, `choices`, "
                "`normal`, `lognormal`"
            )
        return self


class BaselineFile(_Part):
    equipoise_baseline: Literal[1]
    name: Name
    version: str
    title: str
    references: dict[str, Reference]
    count: Shape
    """True CD4 count of candidates, cells/mm3."""
    nadir: Shape
    """CD4 nadir; cut so that it lies at or below the true count."""
    age: Shape
    female: Share
    prior_aids: Share
    suppressed: Share
    loss: Rate
    withdrawal: Rate
    history: dict[Name, Annotated[float, Field(ge=0)]] = {}
    """Weights of the earlier AIDS illness, by the item that records it."""
    history_terms: dict[Name, str] = {}
    """What such an illness is called when it comes back in the trial; one that is not named here does not."""
    items: dict[Name, Answer]


@dataclass(frozen=True)
class Baseline:
    """A baseline population, read and checked."""

    file: BaselineFile
    place: str

    @property
    def name(self) -> str:
        """Name by which a protocol's `simulation.baseline` asks for it."""
        return self.file.name


def bundled_baselines() -> list[str]:
    """Names of the baseline populations that come with Equipoise."""
    folder = resources.files("equipoise.virtual") / "library"
    return sorted(
        f.name.removeprefix("baseline_").removesuffix(".yaml")
        for f in folder.iterdir()
        if f.name.startswith("baseline_") and f.name.endswith(".yaml")
    )


def load_baseline(name_or_path: str | Path) -> Baseline:
    """A bundled baseline population ("silcaat") or one in a file, checked. Raises UserError."""
    return build_baseline(read_source(name_or_path, bundled_baselines(), "baseline population", "baseline_"))


def build_baseline(source: Source) -> Baseline:
    """A baseline population of data that has been read, checked. Raises UserError."""
    if not isinstance(source.data, dict):
        raise source.error("a baseline population is a block of `key: value` lines")
    try:
        file = BaselineFile.model_validate(source.data)
    except ValidationError as error:
        raise first_complaint(error, source) from None
    for name, answer in file.items.items():
        if answer.history and name not in file.history:
            raise source.error(f"`{name}` has no weight in `history`", ("items", name))
        if answer.when is not None and answer.when not in file.items:
            raise source.error(f"there is no item `{answer.when}`", ("items", name, "when"))
    if file.history and not any(w > 0 for w in file.history.values()):
        raise source.error("at least one weight must be above zero", ("history",))
    return Baseline(file, source.place)


# --- candidates -------------------------------------------------------------------------------------------


class Candidates(NamedTuple):
    """Candidates number `first` and on, n of them: what they answer, and what they truly are.

    `columns`: item to column as `equipoise.protocol.criteria.evaluate_columns` takes them (numbers float64,
    truths int8 1/0, categories object), derived items included. `country` (position in the protocol's
    accrual) and `site` (1 and up) say where they are screened. The rest, shape (n,): the arguments of
    `equipoise.virtual.latent.person` after the candidate number.
    """

    first: int
    columns: dict[str, Column]
    country: Column
    site: Column
    count: Column  # type: ignore[assignment]
    nadir: Column
    age: Column
    female: Column
    prior_aids: Column
    viraemic: Column
    log10_level: Column


@njit
def _cut_column(u, lognormal, median, sd, low, high, shift):
    """Quantiles of a normal or shifted lognormal, cut to lie between low and high[i] (its own inverse
    law)."""
    out = np.empty(len(u))
    share, top = np.empty(len(u)), np.empty(len(u))
    middle = log(median - shift) if lognormal else median
    bottom = ((log(low - shift) if lognormal else low) - middle) / sd
    below = normal_share(bottom)
    previous, highest, within = np.nan, 0.0, 0.0
    for i in range(len(u)):
        if high[i] != previous:
            previous = high[i]
            limit = max(previous, low)
            highest = ((log(limit - shift) if lognormal else limit) - middle) / sd
            within = normal_share(highest) - below
        top[i] = highest
        share[i] = min(max(below + u[i] * within, 1e-15), 1.0 - 1e-15)
    normal_quantiles(share, out, len(u))
    if lognormal:
        for i in range(np.uint64(len(u))):
            out[i] = shift + exp(middle + sd * min(max(out[i], bottom), top[i]))
    else:
        for i in range(np.uint64(len(u))):
            out[i] = middle + sd * min(max(out[i], bottom), top[i])
    return out


@njit
def _number_column(u, middle, sd, logarithmic, scale, low, high):
    """Normal (or lognormal) values of the uniforms u, rounded to steps of 1 / scale, within low and high."""
    out = np.empty(len(u))
    normal_quantiles(u, out, len(u))
    for i in range(np.uint64(len(u))):
        value = middle + sd * out[i]
        if logarithmic:
            value = exp(value)
        out[i] = np.float64(floor_day(min(max(value, low), high) * scale + 0.5)) / scale
    return out


@njit
def _normal_of(u):
    out = np.empty(len(u))
    normal_quantiles(u, out, len(u))
    return out


@njit
def _count_column(b, count, u):
    """CD4 as reported for true counts and uniforms u."""
    out = np.empty(len(u))
    normal_quantiles(u, out, len(u))
    for i in range(np.uint64(len(u))):
        out[i] = measured_count_from(b, count[i], out[i])
    return out


@njit
def _copies_column(b, viraemic, log10_level, u):
    """HIV RNA (copies/mL, before any limit of detection) for uniforms u."""
    out = np.empty(len(u))
    for i in range(len(u)):
        if viraemic[i]:
            out[i] = copies(viraemic_level(b, log10_level[i], u[i]))
        else:
            out[i] = copies(suppressed_level(b, u[i]))
    return out


@njit
def _choice_column(edges, u):
    """Position of the first edge above each uniform; edges rise to 1."""
    out = np.empty(len(u), np.int64)
    for i in range(len(u)):
        k = 0
        while k < len(edges) - 1 and u[i] >= edges[k]:
            k += 1
        out[i] = k
    return out


@njit
def _words(seed, purpose, index, trial, first, count):
    """Uniforms of 32 bits in (0, 1), shape (4, count): four items share one block.

    The loop has no branches, so that the compiler works on several candidates at once.
    """
    k0, k1 = split_seed(seed)
    out = np.empty((4, count))
    a, b, c, d = out[0], out[1], out[2], out[3]
    c0, c1, c3, start = np.uint64(purpose), np.uint64(index), np.uint64(trial), np.uint64(first)
    for i in range(np.uint64(count)):
        w0, w1, w2, w3 = block(c0, c1, (start + i) & np.uint64(0xFFFFFFFF), c3, k0, k1)
        a[i] = unit32(w0)
        b[i] = unit32(w1)
        c[i] = unit32(w2)
        d[i] = unit32(w3)
    return out


def _shaped(shape: Shape, u: Column, high: Column | None = None) -> Column:
    limit = np.full(len(u), shape.high) if high is None else np.minimum(high, shape.high)
    column: Column = _cut_column(
        u, shape.distribution == "lognormal", shape.median, shape.sd, shape.low, limit, shape.shift
    )
    return column


def _chosen(weights: list[float], u: Column) -> Column:
    """Position of the choice for each uniform."""
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    chosen: Column = _choice_column(edges / edges[-1], u)
    return chosen


def asked_at_entry(protocol: Protocol) -> dict[str, Item]:
    """Items that candidates are asked or measured on at screening or baseline, without the derived ones."""
    return {
        name: item
        for name, item in protocol.items.items()
        if item.derive is None and ("screening" in item.collect or "baseline" in item.collect)
    }


def candidates(
    population: Population,
    baseline: Baseline,
    protocol: Protocol,
    seed: int | np.uint64,
    trial: int,
    first: int,
    count: int,
) -> Candidates:
    """Draw the candidates first .. first + count - 1 (numbered from 0 within a trial).

    Independent of how the candidates are divided into calls. Raises UserError for an item of the protocol
    that the baseline population does not know.
    """
    file = baseline.file
    u_count, u_nadir = uniform_column(seed, CD4_TRUE, 0, trial, first, count)
    u_age, u_sex = uniform_column(seed, DEMOGRAPHY, 0, trial, first, count)
    u_aids, u_illness = uniform_column(seed, HISTORY, 0, trial, first, count)
    u_virus, u_level = uniform_column(seed, VIROLOGY_AT_ENTRY, 0, trial, first, count)

    true_count = _shaped(file.count, u_count)
    nadir = _shaped(file.nadir, u_nadir, high=true_count)
    age = np.round(_shaped(file.age, u_age), 2)
    female = (u_sex < file.female.share).astype(np.int64)
    prior_aids = (u_aids < file.prior_aids.share).astype(np.int64)
    viraemic = (u_virus >= file.suppressed.share).astype(np.int64)
    level = np.clip(
        population.value("rna_level") + population.spread("rna_level") * _normal_of(u_level),
        population.value("rna_level_low"),
        population.value("rna_level_high"),
    )
    country, site = places(place_tables(protocol), seed, trial, first, count)
    person = Candidates(first, {}, country, site, true_count, nadir, age, female, prior_aids, viraemic, level)

    answers = _Answers(population, baseline, protocol, seed, trial, person, u_illness)
    for name in asked_at_entry(protocol):
        answers.column(name)
    return person._replace(columns=derive_columns(person.columns, protocol.items))


def _simulation(protocol: Protocol) -> Simulation:
    if protocol.simulation is None:
        raise UserError(
            f"{protocol.protocol}: simulation: this protocol names no virtual population, so it cannot be "
            "simulated"
        )
    return protocol.simulation


def site_blocks(weights: list[int], sites: int) -> list[int]:
    """Number of sites of each country, in proportion to its participants (largest remainders, at least
    one)."""
    total = sum(weights)
    sites = max(sites, len(weights))
    exact = [sites * weight / total for weight in weights]
    blocks = [max(1, int(share)) for share in exact]
    while sum(blocks) < sites:
        most = max(range(len(weights)), key=lambda i: exact[i] - blocks[i])
        blocks[most] += 1
    while sum(blocks) > sites:
        least = max((i for i in range(len(weights)) if blocks[i] > 1), key=lambda i: blocks[i] - exact[i])
        blocks[least] -= 1
    return blocks


class PlaceTables(NamedTuple):
    """Where candidates of a protocol are screened: rising edges of the countries' shares, to 1; number of
    sites of each country; sites before its first."""

    edges: Column
    sites: Column
    before: Column


def place_tables(protocol: Protocol) -> PlaceTables:
    """The tables of `places`. Raises UserError when the protocol names no virtual population."""
    simulation = _simulation(protocol)
    weights = list(simulation.accrual.values())
    edges = np.cumsum(np.array(weights, np.float64))
    blocks = np.array(site_blocks(weights, simulation.sites), np.int64)
    return PlaceTables(edges / edges[-1], blocks, np.concatenate([[0], np.cumsum(blocks)[:-1]]))


@njit
def places(tables, seed, trial, first, count):
    """Country (position in the accrual) and site (1 and up) of the candidates first .. first + count - 1,
    shape (2, count); large sites are assumed a few. tables: `PlaceTables`."""
    u = uniform_column(seed, COUNTRY, 0, trial, first, count)
    country = _choice_column(tables.edges, u[0])
    out = np.empty((2, count), np.int64)
    for i in range(count):
        k = country[i]
        out[0, i] = k
        out[1, i] = tables.before[k] + floor_day(u[1, i] * u[1, i] * tables.sites[k]) + 1
    return out


class _Answers:
    """The answers of one block of candidates; draws that several items share are made once."""

    def __init__(
        self,
        population: Population,
        baseline: Baseline,
        protocol: Protocol,
        seed: int | np.uint64,
        trial: int,
        person: Candidates,
        u_illness: Column,
    ) -> None:
        self.population, self.baseline, self.protocol = population, baseline, protocol
        self.seed, self.trial, self.person = seed, trial, person
        self.order = {name: position for position, name in enumerate(baseline.file.items)}
        self.words: dict[int, Column] = {}
        self.samples: dict[int, Column] = {}
        history = baseline.file.history
        self.illnesses = list(history)
        if history:
            self.illness = np.where(person.prior_aids == 1, _chosen(list(history.values()), u_illness), -1)

    def column(self, name: str) -> Column:
        """The answers to one item, those it depends on included."""
        columns, protocol = self.person.columns, self.protocol
        if name in columns:
            return columns[name]
        item = protocol.items[name]
        if name not in self.baseline.file.items:
            raise UserError(
                f"{protocol.protocol}: items.{name}: the baseline population {self.baseline.name} does "
                "not say how "
                f"people answer it; add `{name}` under `items` in {self.baseline.place}"
            )
        spec = self.baseline.file.items[name]
        asked = None
        if spec.only is not None:
            asked = self.person.female == (1 if spec.only == "female" else 0)
        if spec.when is not None:
            if spec.when not in protocol.items:
                raise UserError(
                    f"{self.baseline.place}: items.{name}.when: {protocol.protocol} has no item `{spec.when}`"
                )
            yes = self.column(spec.when) == 1
            asked = yes if asked is None else asked & yes
        columns[name] = self._of_those_asked(spec, name, item, asked)
        return columns[name]

    def _of_those_asked(self, spec: Answer, name: str, item: Item, asked: Column | None) -> Column:
        if asked is None:
            return self._answer(spec, name, item, slice(None))
        kinds: dict[str, tuple[Any, Any]] = {
            "boolean": (np.int8(spec.otherwise), np.int8),
            "number": (np.nan, np.float64),
            "category": ("", object),
        }
        rows = np.flatnonzero(asked)
        column = np.full(len(asked), kinds[item.type][0], dtype=kinds[item.type][1])
        column[rows] = self._answer(spec, name, item, rows)
        return column

    def _answer(self, spec: Answer, name: str, item: Item, rows: Any) -> Column:
        """The answers of these rows."""
        if spec.of is not None:
            trait: Column = self._trait(spec)[rows]
            return trait
        if spec.history:
            return (self.illness[rows] == self.illnesses.index(name)).astype(np.int8)
        if spec.value is not None:
            kinds: dict[str, Any] = {"boolean": np.int8, "number": np.float64, "category": object}
            return np.full(len(self.person.count), spec.value, dtype=kinds[item.type])[rows]
        u = self._uniform(name)[rows]
        if spec.probability is not None:
            return (u < spec.probability).astype(np.int8)
        if spec.choices is not None:
            chosen = _chosen(list(spec.choices.values()), u)
            if item.type == "number":
                return np.array([float(key) for key in spec.choices])[chosen]
            return np.array(list(spec.choices), dtype=object)[chosen]
        low, high = item.range if item.range is not None else (-1e12, 1e12)
        logarithmic = spec.lognormal is not None
        middle, sd = spec.lognormal or spec.normal or (0.0, 0.0)
        numbers: Column = _number_column(
            u, log(middle) if logarithmic else middle, sd, logarithmic, 10.0**spec.digits, low, high
        )
        return numbers

    def _uniform(self, name: str) -> Column:
        """An item's own uniforms: a quarter of a block of random words, by its position in the baseline
        file."""
        group, place = divmod(self.order[name], 4)
        if group not in self.words:
            n = len(self.person.count)
            self.words[group] = _words(self.seed, ITEM, group, self.trial, self.person.first, n)
        uniforms: Column = self.words[group][place]
        return uniforms

    def _trait(self, spec: Answer) -> Column:
        person, simulation = self.person, _simulation(self.protocol)
        if spec.of == "age":
            return person.age
        if spec.of == "sex":
            return np.array(["male", "female"], dtype=object)[person.female]
        if spec.of == "prior aids":
            return person.prior_aids.astype(np.int8)
        if spec.of == "nadir":
            return np.round(person.nadir)
        if spec.of == "country":
            return np.array(list(simulation.accrual), dtype=object)[person.country]
        if spec.of == "site":
            return np.array([str(number) for number in range(simulation.sites + 1)], dtype=object)[
                person.site
            ]
        if spec.sample not in self.samples:
            n = len(person.count)
            self.samples[spec.sample] = uniform_column(
                self.seed, SCREENING_COUNT, spec.sample, self.trial, person.first, n
            )
        u_count, u_copies = self.samples[spec.sample]
        biology = self.population.biology
        if spec.of == "cd4":
            counts: Column = _count_column(biology, person.count, u_count)
            return counts
        copies_now: Column = _copies_column(biology, person.viraemic, person.log10_level, u_copies)
        return copies_now
