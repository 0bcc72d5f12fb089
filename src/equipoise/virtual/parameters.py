"""The numbers of a virtual population: a versioned file in which each row says where it comes from.

A population file holds parameters (value, unit, spread between people, source, status), habits (acceptance,
missed visits, holds), the dials that no published data can fix, with named presets, and what the population
cannot do. `Population.kernel` turns all of it into three flat tuples of numbers for the compiled loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from equipoise.errors import UserError
from equipoise.protocol.model import Name, Protocol, Reference
from equipoise.protocol.nearest import near_or_all
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.protocol.reading import Source, parse_yaml

__all__ = [
    "Biology",
    "Dials",
    "Habits",
    "Kernel",
    "Population",
    "bundled_populations",
    "kinds_not_simulated",
    "load_population",
    "require_simulable",
]


# --- what the compiled loop sees --------------------------------------------------------------------------


class Biology(NamedTuple):
    """Parameters of the body, ready for use: rates per day, counts in cells/mm3, doses in MIU per
    injection."""

    ln_level: float
    level_count: float
    level_nadir: float
    level_age: float
    level_sd: float
    relax_suppressed: float
    relax_viraemic: float
    virus_on_level: float
    failure: float
    resuppression: float
    rna_floor: float
    rna_below_limit: float
    rna_suppressed_span: float
    rna_noise: float
    ln_gain: float
    gain_sd: float
    gain_age: float
    survive: float
    nadir_share: float
    dose_power: float
    ceiling: float
    loss_burst: float
    loss_long_lived: float
    half_life_sd: float
    count_noise: float
    ln_od: float
    od_power: float
    od_prior_aids: float
    virus_on_hazard: float
    ln_death_45: float
    death_age: float
    ln_death: float
    death_power: float
    death_linked_age: float
    death_after_od: float
    ln_grade4: float
    grade4_age: float
    grade4_power: float
    grade4_cycle: float
    grade4_dose_power: float
    grade3_cycle: float
    event_delay: float
    """Events of a cycle fall 1 to this many days after its start."""


class Dials(NamedTuple):
    """What no published trial can fix: set by the user, or by a preset."""

    phi: float
    """Functional share of the induced cells."""
    rho_acute: float
    tau_acute: float
    """Days."""
    rho_chronic: float
    tau_chronic: float
    """Days."""
    psi: float
    """Frailty: link between poor native recovery and death that is not causal."""
    functional_cap: float
    """Count (cells/mm3) above which further cells do not lower the hazard."""
    harm_opportunistic: float
    harm_death: float
    harm_grade4: float
    """1.0 if the harm acts on this endpoint, else 0.0."""
    response_multiplier: float


class Habits(NamedTuple):
    """What participants do: rates per day, shares, logits, days."""

    loss: float
    withdrawal: float
    missed_visit: float
    visit_sd: float
    contact_delay: float
    offer_again: int
    """Days after a declined offer before the next one."""
    complete_cycle: float
    accept_base: float
    accept_per_cycle: float
    accept_maintenance: float
    accept_year: float
    accept_sd: float
    pregnancy: float
    pregnancy_days: float
    no_contraception: float
    no_contraception_days: float
    off_art: float
    off_art_days: float
    childbearing_until: float
    """Age in years."""


class Kernel(NamedTuple):
    """The three tuples that the compiled loop takes."""

    biology: Biology
    dials: Dials
    habits: Habits


# --- the file ---------------------------------------------------------------------------------------------

Status = Literal["literature", "fitted", "convention", "assumed"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Spread(_Part):
    """Standard deviation between people, and the scale on which it is normal."""

    sd: Annotated[float, Field(ge=0, le=5)]
    scale: Literal["natural", "ln", "logit", "log10", "fourth root"]


class Row(_Part):
    """One number of the model."""

    symbol: str
    meaning: str
    value: float
    unit: str = ""
    between_people: Spread | None = None
    status: Status
    source: list[str] = []
    """Keys of `references`."""
    note: str | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Row:
        if self.status == "literature" and not self.source:
            raise ValueError("a value from the literature names its source")
        if not math.isfinite(self.value):
            raise ValueError("expected a finite number")
        return self


class Dial(_Part):
    symbol: str
    meaning: str
    unit: str = ""
    range: tuple[float, float]
    value: float
    """Used where a preset does not set the dial."""
    note: str | None = None

    @model_validator(mode="after")
    def _within(self) -> Dial:
        low, high = self.range
        if not low <= self.value <= high:
            raise ValueError(f"the value must lie within the range {low:g} to {high:g}")
        return self


class Preset(_Part):
    label: str
    meaning: str
    set: dict[str, float | list[str]]


class OrganClass(_Part):
    """Weights of one class of grade 4 event: the background, and what cycles add. Counts of patients."""

    background: Annotated[float, Field(ge=0)]
    cycle: Annotated[float, Field(ge=0)]
    only: Literal["female"] | None = None


class Term(_Part):
    weight: Annotated[float, Field(ge=0)]
    only: Literal["female"] | None = None


class Process(_Part):
    """An event process of the model, and the kind of event that it puts on record."""

    kind: Name
    meaning: str


class Needs(_Part):
    """What a protocol must have for this population to stand in for its participants."""

    continuous: list[Name]
    """Regimens that every arm must take throughout."""
    because: str
    measures: list[Name]
    """Items that the population can measure."""
    cycle_drugs: list[str]
    """Drugs (lower case) whose cycles the population responds to."""
    dose_unit: str


class DefaultPreset(_Part):
    preset: str
    reason: str


class PopulationFile(_Part):
    """The whole file."""

    equipoise_population: Literal[1]
    name: Name
    version: str
    title: str
    needs: Needs
    processes: dict[Name, Process]
    references: dict[str, Reference]
    parameters: dict[Name, Row]
    habits: dict[Name, Row]
    dials: dict[Name, Dial]
    harm_applies_to: list[Name]
    default: DefaultPreset
    presets: dict[str, Preset]
    grade4_terms: dict[str, OrganClass]
    grade4_source: list[str]
    opportunistic_terms: dict[str, Term]
    opportunistic_source: str
    grade3_terms: dict[str, Term]
    grade3_source: str
    not_identified: list[str]
    """What the published data cannot tell, one sentence each, for the report."""


PARAMETERS = (
    "native_level", "level_on_count", "level_on_nadir", "level_on_age", "relax_suppressed", "relax_viraemic",
    "virus_on_level", "failure", "resuppression", "rna_floor", "rna_below_limit",
    "rna_suppressed_span", "rna_level",
    "rna_level_low", "rna_level_high", "rna_noise", "gain", "gain_on_age", "survive", "nadir_share",
    "dose_power", "ceiling", "half_life_burst", "half_life_long_lived", "count_noise", "od_rate", "od_power",
    "od_prior_aids", "od_again", "virus_on_hazard", "death_rate_45", "death_on_age", "death_rate",
    "death_power", "death_linked_on_age", "death_after_od", "grade4_rate", "grade4_on_age", "grade4_power",
    "grade4_cycle", "grade4_dose_power", "grade3_cycle", "event_delay",
)  # fmt: skip
HABITS = (
    "screening_shortest", "missed_visit", "visit_sd", "contact_delay", "offer_again", "complete_cycle",
    "accept", "accept_per_cycle", "accept_maintenance", "accept_per_year", "pregnancy", "pregnancy_days",
    "no_contraception", "no_contraception_days", "off_art", "off_art_days", "childbearing_until",
)  # fmt: skip
DIALS = (
    "functional_fraction", "rho_acute", "tau_acute", "rho_chronic", "tau_chronic", "frailty",
    "functional_cap", "response_multiplier",
)  # fmt: skip
PROCESSES = ("opportunistic", "death", "grade4", "toxicity")
POSITIVE = (
    "native_level", "relax_suppressed", "relax_viraemic", "failure", "resuppression", "gain", "ceiling",
    "half_life_burst", "half_life_long_lived", "od_rate", "death_rate_45", "death_rate", "grade4_rate",
)  # fmt: skip

HARM_ENDPOINTS = ("opportunistic", "death", "grade4")

Settings = dict[str, float | list[str]]
"""Dials by the names of the file, with their values."""


class Population:
    """A virtual population, read and checked."""

    def __init__(self, file: PopulationFile, place: str) -> None:
        self.file = file
        self.place = place

    @property
    def name(self) -> str:
        """Name by which a protocol's `simulation.population` asks for it."""
        return self.file.name

    def value(self, row: str) -> float:
        """The value of a parameter or a habit."""
        rows = self.file.parameters if row in self.file.parameters else self.file.habits
        return rows[row].value

    def spread(self, row: str) -> float:
        """The standard deviation between people of a row; 0 where the file gives none."""
        rows = self.file.parameters if row in self.file.parameters else self.file.habits
        spread = rows[row].between_people
        return 0.0 if spread is None else spread.sd

    def replace(self, values: Mapping[str, float], spreads: Mapping[str, float] | None = None) -> Population:
        """The same population with other values of some parameters or habits (for fitting and
        sensitivity)."""
        changed: dict[str, dict[str, Row]] = {
            "parameters": dict(self.file.parameters),
            "habits": dict(self.file.habits),
        }
        for row in {*values, *(spreads or {})}:
            part = next((rows for rows in changed.values() if row in rows), None)
            if part is None:
                raise UserError(f"{self.place}: there is no parameter or habit `{row}`")
            update: dict[str, Any] = {}
            if row in values:
                update["value"] = float(values[row])
            if spreads and row in spreads:
                scale = part[row].between_people
                update["between_people"] = Spread(sd=spreads[row], scale=scale.scale if scale else "ln")
            part[row] = part[row].model_copy(update=update)
        return Population(self.file.model_copy(update=changed), self.place)

    def settings(
        self, preset: str | None = None, changes: Mapping[str, float | list[str]] | None = None
    ) -> Settings:
        """The dials of a preset (default: the population's default preset), with single dials changed.

        Dial names as in the file, besides `harm_applies_to`, a list of opportunistic, death and grade4: given
        as `changes` again, the result comes back. Raises UserError for an unknown preset or dial, or a value
        out of its range.
        """
        chosen = self.file.default.preset if preset is None else preset
        if chosen not in self.file.presets:
            raise UserError(f'there is no preset "{chosen}"; the presets are {", ".join(self.file.presets)}')
        values: dict[str, Any] = {name: dial.value for name, dial in self.file.dials.items()}
        values["harm_applies_to"] = list(self.file.harm_applies_to)
        for place, part in (("preset " + chosen, self.file.presets[chosen].set), ("dials", changes or {})):
            for name, value in part.items():
                values[name] = self._dial(place, name, value)
        return values

    def dials(
        self, preset: str | None = None, changes: Mapping[str, float | list[str]] | None = None
    ) -> Dials:
        """`settings` for the compiled loop. Raises UserError as it does."""
        values: dict[str, Any] = self.settings(preset, changes)
        harm = values["harm_applies_to"]
        return Dials(
            phi=values["functional_fraction"],
            rho_acute=values["rho_acute"],
            tau_acute=values["tau_acute"],
            rho_chronic=values["rho_chronic"],
            tau_chronic=values["tau_chronic"],
            psi=values["frailty"],
            functional_cap=values["functional_cap"],
            harm_opportunistic=float("opportunistic" in harm),
            harm_death=float("death" in harm),
            harm_grade4=float("grade4" in harm),
            response_multiplier=values["response_multiplier"],
        )

    def _dial(self, place: str, name: str, value: Any) -> Any:
        if name == "harm_applies_to":
            wrong = (
                value
                if not isinstance(value, list | tuple)
                else [v for v in value if v not in HARM_ENDPOINTS]
            )
            if wrong:
                raise UserError(
                    f"{place}: harm_applies_to is a list of {', '.join(HARM_ENDPOINTS)}; not {wrong}"
                )
            return list(value)
        if name not in self.file.dials:
            known = [*self.file.dials, "harm_applies_to"]
            raise UserError(f"{place}: there is no dial `{name}`{near_or_all(name, known)}")
        low, high = self.file.dials[name].range
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UserError(f"{place}: {name} must be a number from {low:g} to {high:g}, not {value}")
        return float(value)

    @cached_property
    def biology(self) -> Biology:
        """The parameters of the body as plain floats for the compiled loop.

        Logarithms are the package's own, so that they have the same bits on every machine.
        """
        from equipoise.virtual.maths import log

        v, per_day = self.value, DAYS_PER_YEAR
        return Biology(
            ln_level=log(v("native_level")),
            level_count=v("level_on_count"),
            level_nadir=v("level_on_nadir"),
            level_age=v("level_on_age"),
            level_sd=self.spread("native_level"),
            relax_suppressed=v("relax_suppressed") / per_day,
            relax_viraemic=v("relax_viraemic") / per_day,
            virus_on_level=v("virus_on_level"),
            failure=v("failure") / per_day,
            resuppression=v("resuppression") / per_day,
            rna_floor=v("rna_floor"),
            rna_below_limit=v("rna_below_limit"),
            rna_suppressed_span=v("rna_suppressed_span"),
            rna_noise=v("rna_noise"),
            ln_gain=log(v("gain")),
            gain_sd=self.spread("gain"),
            gain_age=v("gain_on_age"),
            survive=v("survive"),
            nadir_share=v("nadir_share"),
            dose_power=v("dose_power"),
            ceiling=v("ceiling"),
            loss_burst=log(2.0) / v("half_life_burst"),
            loss_long_lived=log(2.0) / (v("half_life_long_lived") * per_day),
            half_life_sd=self.spread("half_life_long_lived"),
            count_noise=v("count_noise"),
            ln_od=log(v("od_rate") / per_day),
            od_power=v("od_power"),
            od_prior_aids=v("od_prior_aids"),
            virus_on_hazard=v("virus_on_hazard"),
            ln_death_45=log(v("death_rate_45") / per_day),
            death_age=v("death_on_age"),
            ln_death=log(v("death_rate") / per_day),
            death_power=v("death_power"),
            death_linked_age=v("death_linked_on_age"),
            death_after_od=v("death_after_od"),
            ln_grade4=log(v("grade4_rate") / per_day),
            grade4_age=v("grade4_on_age"),
            grade4_power=v("grade4_power"),
            grade4_cycle=v("grade4_cycle"),
            grade4_dose_power=v("grade4_dose_power"),
            grade3_cycle=v("grade3_cycle"),
            event_delay=v("event_delay"),
        )

    def kernel(self, dials: Dials, loss_per_year: float, withdrawal_per_year: float) -> Kernel:
        """Everything as plain floats for the compiled loop. Loss and withdrawal belong to the trial."""
        v, per_day = self.value, DAYS_PER_YEAR
        habits = Habits(
            loss=loss_per_year / per_day,
            withdrawal=withdrawal_per_year / per_day,
            missed_visit=v("missed_visit"),
            visit_sd=v("visit_sd"),
            contact_delay=v("contact_delay"),
            offer_again=round(v("offer_again")),
            complete_cycle=v("complete_cycle"),
            accept_base=v("accept"),
            accept_per_cycle=v("accept_per_cycle"),
            accept_maintenance=v("accept_maintenance"),
            accept_year=v("accept_per_year"),
            accept_sd=self.spread("accept"),
            pregnancy=v("pregnancy") / per_day,
            pregnancy_days=v("pregnancy_days"),
            no_contraception=v("no_contraception") / per_day,
            no_contraception_days=v("no_contraception_days"),
            off_art=v("off_art") / per_day,
            off_art_days=v("off_art_days"),
            childbearing_until=v("childbearing_until"),
        )
        return Kernel(self.biology, dials, habits)


# --- reading ----------------------------------------------------------------------------------------------


def bundled_populations() -> list[str]:
    """Names of the populations that come with Equipoise."""
    folder = resources.files("equipoise.virtual") / "library"
    names = (f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    return sorted(name for name in names if not name.startswith("baseline_"))


def read_source(name_or_path: str | Path, known: list[str], what: str, prefix: str = "") -> Source:
    """A bundled file of the library, or a file of the user's. Raises UserError."""
    name = str(name_or_path)
    if name in known:
        file = resources.files("equipoise.virtual") / "library" / f"{prefix}{name}.yaml"
        return parse_yaml(file.read_bytes(), f"{prefix}{name}.yaml")
    try:
        return parse_yaml(Path(name).read_bytes(), name)
    except OSError:
        raise UserError(
            f'there is no {what} "{name}": neither a bundled one ({", ".join(known)}) nor a file that can be '
            "read"
        ) from None


def first_complaint(error: ValidationError, source: Source) -> UserError:
    """The first problem that the model found, with its place in the file."""
    detail = error.errors()[0]
    path = tuple(step for step in detail["loc"] if isinstance(step, str | int))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "no such field"
    elif detail["type"] == "missing":
        message = "this field is needed"
    return source.error(message, path)


def load_population(name_or_path: str | Path) -> Population:
    """A bundled population ("hiv_il2") or one in a file, checked. Raises UserError."""
    return build_population(read_source(name_or_path, bundled_populations(), "virtual population"))


def build_population(source: Source) -> Population:
    """A virtual population of data that has been read, checked. Raises UserError."""
    if not isinstance(source.data, dict):
        raise source.error("a population is a block of `key: value` lines")
    try:
        file = PopulationFile.model_validate(source.data)
    except ValidationError as error:
        raise first_complaint(error, source) from None
    for part, needed in (
        ("parameters", PARAMETERS),
        ("habits", HABITS),
        ("dials", DIALS),
        ("processes", PROCESSES),
    ):
        have = getattr(file, part)
        for name in needed:
            if name not in have:
                raise source.error(f"`{name}` is missing; the model needs {', '.join(needed)}", (part,))
        for name in have:
            if name not in needed:
                raise source.error(f"the model has no {part.rstrip('s')} `{name}`", (part, name))
    for name in POSITIVE:
        if file.parameters[name].value <= 0:
            raise source.error("must be above zero", ("parameters", name, "value"))
    for part in ("parameters", "habits"):
        for name, row in getattr(file, part).items():
            for key in row.source:
                if key not in file.references:
                    raise source.error(f"there is no reference `{key}`", (part, name, "source"))
    population = Population(file, source.place)
    if file.default.preset not in file.presets:
        raise source.error(f"there is no preset `{file.default.preset}`", ("default", "preset"))
    for preset in file.presets:
        try:
            population.dials(preset)
        except UserError as error:
            raise source.error(str(error), ("presets", preset)) from None
    return population


def require_simulable(protocol: Protocol, population: Population) -> None:
    """Raise UserError, in words, if this population cannot stand in for the participants of the protocol."""
    needs = population.file.needs
    name = protocol.protocol
    for code, arm in protocol.arms.items():
        taken = {r for r in arm.regimens if protocol.regimens[r].kind == "continuous"}
        for needed in needs.continuous:
            if needed not in taken:
                raise UserError(
                    f"{name}: arms.{code}: the virtual population {population.name} cannot simulate an arm "
                    f"without the continuous regimen `{needed}`: {needs.because}. The protocol can still be "
                    "checked, shown and decided on."
                )
        cycles = [r for r in arm.regimens if protocol.regimens[r].kind == "cycles"]
        if len(cycles) > 1:
            raise UserError(
                f"{name}: arms.{code}: the virtual population knows one regimen in cycles per arm"
            )
        for regimen_name in cycles:
            regimen = protocol.regimens[regimen_name]
            drug = regimen.drug.lower()
            if not any(word in drug for word in needs.cycle_drugs):
                raise UserError(
                    f"{name}: regimens.{regimen_name}.drug: the virtual population {population.name} does "
                    f"not know how people respond to {regimen.drug}; it knows {', '.join(needs.cycle_drugs)}"
                )
            if regimen.cycle is not None and regimen.cycle.dose.unit != needs.dose_unit:
                raise UserError(
                    f"{name}: regimens.{regimen_name}.cycle.dose: the virtual population "
                    f"{population.name} takes doses in {needs.dose_unit}, not {regimen.cycle.dose.unit}"
                )
            if regimen.goal is not None and regimen.goal.measure not in needs.measures:
                raise UserError(
                    f"{name}: regimens.{regimen_name}.goal.measure: the virtual population "
                    f"{population.name} has no {regimen.goal.measure}; it measures "
                    f"{', '.join(needs.measures)}"
                )
    missing = kinds_not_simulated(protocol, population)
    for endpoint, block in protocol.endpoints.items():
        for kind in [*block.first_of, *block.competing]:
            if block.role == "primary" and kind in missing:
                raise UserError(
                    f"{name}: endpoints.{endpoint}: the virtual population {population.name} has no events "
                    f"of kind {kind}, which the primary endpoint needs; it has "
                    f"{', '.join(sorted(_kinds(population)))}"
                )


def _kinds(population: Population) -> set[str]:
    return {process.kind for process in population.file.processes.values()}


def kinds_not_simulated(protocol: Protocol, population: Population) -> list[str]:
    """Kinds of event that the protocol declares and the population cannot bring about, in the protocol's
    order.

    A simulated record holds none of them; endpoints made of them are not analysed on simulated data.
    """
    return [kind for kind in protocol.events if kind not in _kinds(population)]
