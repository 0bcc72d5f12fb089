"""The trial as data: what a protocol file may say, field by field.

Every block may say where its figures come from (`source`, keys of `references`), or that they are assumed
(`assumed`, with the reason), and carry a `note`. Everything here is executed or rendered; nothing is inert.
"""

from __future__ import annotations

from datetime import date
from datetime import date as date_
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from equipoise.protocol.quantities import Amount, At, Count, Duration, Rate

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Expression = Annotated[str, Field(min_length=1, max_length=2000)]
"""Text in the criteria language of `equipoise.protocol.criteria`."""


class Block(BaseModel):
    """A part of a protocol, with its provenance."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    source: list[str] | str | None = None
    assumed: str | None = None
    note: str | None = None


class Reference(Block):
    """A publication or registry record that figures are taken from."""

    text: str
    address: str | None = None
    status: Literal["registry", "abstract", "secondary", "derived", "memory"] | None = None


# --- what is recorded -------------------------------------------------------------------------------------


class Item(Block):
    """One thing that is asked, measured or derived, with its unit; criteria and rules speak of items only.

    `collect` says when: at screening, at every visit that lists it, at each cycle, or whenever it happens.
    `valid_for` makes an older value unknown. `derive` computes it from other items wherever it is not itself
    measured; an item that is derived and also collected at visits is derived at entry and measured later.
    An empty list of `categories` leaves them open; the item named `site` is the participant's site number.
    """

    label: str
    type: Literal["number", "boolean", "category"] = "number"
    unit: str = ""
    categories: list[str] | None = None
    range: tuple[float, float] | None = None
    detection_limit: float | None = None
    valid_for: Duration | None = None
    collect: list[Literal["screening", "baseline", "visits", "cycles", "as it happens"]] = Field(min_length=1)
    derive: Expression | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Item:
        if (self.type == "category") != (self.categories is not None):
            raise ValueError("`categories` go with type: category, and only with it")
        if self.type != "number" and (self.unit or self.range or self.detection_limit is not None):
            raise ValueError("only a number has a unit, a range or a detection limit")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range must go from low to high")
        return self


class Stratum(Block):
    """A stratification factor: either levels with their conditions, or a categorical item as it stands."""

    label: str
    levels: dict[str, Expression] | None = None
    item: Name | None = None

    @model_validator(mode="after")
    def _one_definition(self) -> Stratum:
        if (self.levels is None) == (self.item is None):
            raise ValueError("a stratum has either `levels` with conditions or the `item` that it follows")
        return self


class Criterion(Block):
    """One rule of eligibility. Inclusion: `require` must be true. Exclusion: `exclude` must be false."""

    id: str = Field(min_length=1, max_length=20)
    text: str
    require: Expression | None = None
    exclude: Expression | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Criterion:
        if (self.require is None) == (self.exclude is None):
            raise ValueError("a criterion has either `require` (inclusion) or `exclude` (exclusion)")
        return self


class Eligibility(Block):
    within: Duration
    """The screening period: at most this long from first screening visit to randomisation."""
    criteria: list[Criterion] = Field(min_length=1)


# --- what is done -----------------------------------------------------------------------------------------


class Arm(Block):
    label: str
    regimens: list[Name]
    control: bool = False


class Randomization(Block):
    ratio: dict[Name, Annotated[int, Field(ge=1, le=100)]]
    method: Literal["permuted blocks", "minimisation", "simple"]
    blocks: list[Annotated[int, Field(ge=2, le=100)]] | None = None
    strata: list[Name] = []
    best_arm_probability: Annotated[float, Field(gt=0.5, le=1.0)] | None = None
    """Minimisation: probability of taking the arm that balances best (the random element)."""


class Cycle(Block):
    """The shape of one course of the drug: `dose` per administration, on which days, how often a day."""

    dose: Amount
    route: str
    times_per_day: Annotated[int, Field(ge=1, le=24)] = 1
    days: Annotated[int, Field(ge=1, le=365)] | None = None
    on_days: list[Annotated[int, Field(ge=1, le=365)]] | None = None
    """Days of the cycle that carry doses, counted from 1, when they are not consecutive."""

    @model_validator(mode="after")
    def _has_days(self) -> Cycle:
        if (self.days is None) == (self.on_days is None):
            raise ValueError("a cycle has either `days` (consecutive) or `on_days` (a list)")
        if self.dose.value <= 0:
            raise ValueError("the dose of a cycle must be above zero")
        if self.on_days is not None and sorted(set(self.on_days)) != self.on_days:
            raise ValueError("on_days must rise, without repeats")
        return self

    @property
    def administrations(self) -> int:
        """Doses in one complete cycle (10 for twice daily on five days)."""
        return self.times_per_day * (self.days if self.days is not None else len(self.on_days or []))


class Induction(Block):
    """A fixed course of cycles at the start. `anchor` says what the interval is counted from."""

    cycles: Annotated[Count, Field(ge=1)]
    every: Duration
    anchor: Literal["randomization", "previous cycle"] = "randomization"
    start_within: Duration
    """A cycle may start up to this long after it is due; afterwards it is missed and the next one is due."""


class GoalRule(Block):
    """One way to set the goal: a rise over baseline, a multiple of baseline, or a value; the first whose
    `when` holds applies."""

    when: Expression | None = None
    rise: Amount | None = None
    multiple: Annotated[float, Field(gt=0)] | None = None
    value: Amount | None = None

    @model_validator(mode="after")
    def _one_form(self) -> GoalRule:
        if sum(x is not None for x in (self.rise, self.multiple, self.value)) != 1:
            raise ValueError("a goal rule has exactly one of `rise`, `multiple`, `value`")
        return self


class Goal(Block):
    """What the drug is given for. `direction` up: cycles are given while the measure is below the goal."""

    measure: Name
    direction: Literal["up", "down"] = "up"
    rules: list[GoalRule] = Field(min_length=1)


class Maintenance(Block):
    """After induction: at each review, a cycle if the measure has not reached the goal."""

    from_: At = Field(alias="from")
    review: Duration
    extra_reviews: list[At] = []
    measured_within: Duration
    """The measure must be at most this old at the review; otherwise it is unknown and no cycle starts."""
    start_within: Duration

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, str_strip_whitespace=True)


class Response(Block):
    """Response = the measure has moved by at least `rise` from baseline in the goal's direction."""

    rise: Amount


class Escalation(Block):
    after: Annotated[Count, Field(ge=1)]
    """Cycles at one dose before a non-responder moves up one step."""
    to: list[Amount] = Field(min_length=1)
    response: Response
    again_after: Annotated[Count, Field(ge=1)]
    """Further cycles at the raised dose before the next step."""
    after_reduction: Literal["allowed", "never"] = "never"


class Toxicity(Block):
    """Dose change after toxicity that is attributed to the drug, since the last cycle."""

    reduce_from_grade: Annotated[int, Field(ge=1, le=4)]
    stop_from_grade: Annotated[int, Field(ge=2, le=5)] = 5
    to: list[Amount] = Field(min_length=1)
    """The doses below the starting dose or between steps that a reduction may use, with the levels above
    forming one ladder: a reduction goes to the next lower level."""
    below_lowest: Literal["stop", "stay"] = "stop"


class Hold(Block):
    """While `when` holds, no cycle; afterwards not before `resume_after` has passed."""

    id: Name
    text: str
    when: Expression
    resume_after: Duration | None = None


class StopForNonResponse(Block):
    """No response this long after the first cycle: stop cycling; follow-up continues."""

    after: Duration
    at_latest: Duration | None = None
    response: Response
    minimum_cycles: Count = 1


class Regimen(Block):
    """A treatment. `continuous` is taken throughout; `cycles` is given in courses that the rules decide;
    `around cycles` is taken only about each cycle of the regimens that name it as their `cover`, from
    `before` the cycle begins until `after` its last dose."""

    kind: Literal["continuous", "cycles", "around cycles"]
    drug: str
    label: str | None = None
    cycle: Cycle | None = None
    ceiling: Amount | None = None
    floor: Amount | None = None
    minimum_gap: Duration | None = None
    """Least time from the start of one cycle to the start of the next."""
    maximum_cycles: Count | None = None
    induction: Induction | None = None
    goal: Goal | None = None
    maintenance: Maintenance | None = None
    escalation: Escalation | None = None
    toxicity: Toxicity | None = None
    hold_while: list[Hold] = []
    stop_for_non_response: StopForNonResponse | None = None
    cover: Name | None = None
    """A regimen that must be taken during each cycle of this one (antiretroviral cover, say)."""
    taken: Name | None = None
    """The item that says whether the regimen is being taken; a cover is known by it."""
    before: Duration | None = None
    after: Duration | None = None

    @model_validator(mode="after")
    def _complete(self) -> Regimen:
        if (self.kind == "around cycles") != (self.before is not None and self.after is not None):
            raise ValueError("`before` and `after` go with kind: around cycles, and only with it")
        if self.kind != "cycles":
            given = [
                f for f in ("cycle", "ceiling", "floor", "minimum_gap", "maximum_cycles", "induction", "goal",
                            "maintenance", "escalation", "toxicity", "stop_for_non_response", "cover")
                if getattr(self, f) is not None
            ]  # fmt: skip
            if self.hold_while:
                given.append("hold_while")
            if given:
                raise ValueError(f"only a regimen given in cycles has {', '.join(given)}")
            return self
        missing = [f for f in ("cycle", "ceiling", "floor", "minimum_gap") if getattr(self, f) is None]
        if missing:
            raise ValueError(f"a regimen given in cycles needs {', '.join(missing)}")
        if self.induction is None and self.maintenance is None:
            raise ValueError("a regimen given in cycles needs `induction`, `maintenance` or both")
        if self.maintenance is not None and self.goal is None:
            raise ValueError("maintenance needs a `goal`")
        if (self.escalation or self.stop_for_non_response) and self.goal is None:
            raise ValueError("a response is judged on the goal's measure: give a `goal`")
        return self


# --- visits -----------------------------------------------------------------------------------------------


class Window(Block):
    early: Duration
    late: Duration


class Visit(Block):
    """One line of the schedule of activities: one visit, a list of visits, or a repeating one."""

    id: Name
    label: str
    period: Literal["screening", "treatment", "follow-up"]
    at: list[At] | None = None
    every: Duration | None = None
    from_: At | None = Field(default=None, alias="from")
    """Repeating visits start one interval after this point and go on to the end of follow-up."""
    window: Window
    arms: list[Name] | None = None
    """Only for these arms; all arms when left out."""
    collect: list[Name] = []
    activities: list[str] = []

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, str_strip_whitespace=True)

    @model_validator(mode="after")
    def _has_times(self) -> Visit:
        if (self.at is None) == (self.every is None):
            raise ValueError("a visit has either `at` (time points) or `every` (an interval)")
        if (self.every is None) != (self.from_ is None):
            raise ValueError("`every` and `from` go together")
        return self


# --- endpoints, safety, analysis --------------------------------------------------------------------------

EventKind = Name
"""A kind of event on record: declared in `events`."""


class Event(Block):
    """A kind of clinical event that is reported, with its definition."""

    label: str
    definition: str
    terms: list[str] = []
    """The conditions or organ classes that count, by name."""
    terminal: bool = False
    """Nothing can be observed after it (death)."""
    recurrent_counts: bool = True
    report_within: Duration | None = None


class Endpoint(Block):
    """Time from randomisation to the first of some kinds of event, and how everything else is treated."""

    label: str
    first_of: list[EventKind] = Field(min_length=1)
    competing: list[EventKind] = []
    terms: list[str] = []
    """Of the kinds in `first_of`, only events of these terms count, and terminal ones (death) whatever their
    term; every term when left out."""
    recurrences: Literal["counted", "left out"] = "counted"
    """Left out: only new disease counts, not the return of one that the person had before, whether before
    entry or in the trial (adjudicated as "recurrence")."""
    censor_at: list[Literal["loss to follow-up", "withdrawal", "end of study"]] = [
        "loss to follow-up", "withdrawal", "end of study",
    ]  # fmt: skip
    role: Literal["primary", "secondary", "safety"]


class IntercurrentEvent(Block):
    event: str
    strategy: Literal[
        "treatment policy", "hypothetical", "composite", "while on treatment", "principal stratum"
    ]


class Estimand(Block):
    """The five attributes of ICH E9(R1)."""

    treatment: str
    population: str
    variable: str
    summary: str
    intercurrent_events: list[IntercurrentEvent]


class TimeToEventAnalysis(Block):
    endpoint: Name
    strata: list[Name] = []
    """Strata of the Cox model and of the stratified log-rank test; empty: unstratified, as the plan says."""
    ties: Literal["efron", "breslow"] = "efron"
    estimand: Estimand | None = None


class MeasureAnalysis(Block):
    """A longitudinal measure: by visit, and the average over follow-up from a mixed model."""

    measure: Name
    transform: Literal["none", "log10"] = "none"
    by: Duration
    """Length of the visit grid on which means are shown (a measurement belongs to the nearest point)."""


class Subgroup(Block):
    label: str
    levels: dict[str, Expression]


class Analysis(Block):
    reference_arm: Name
    population: Literal["intention to treat"] = "intention to treat"
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    time_to_event: list[TimeToEventAnalysis] = Field(min_length=1)
    measures: list[MeasureAnalysis] = []
    subgroups: list[Subgroup] = []
    subgroup_endpoint: Name | None = None
    safety_by: EventKind | None = None
    """The kind of event that is tabulated by its terms (grade 4 events by organ class)."""
    cohort: str | None = None
    """In words: who is analysed when not everybody randomised is."""


class Size(Block):
    planned: Annotated[int, Field(ge=2)]
    randomized: Annotated[int, Field(ge=2)] | None = None
    analysed: Annotated[int, Field(ge=2)] | None = None
    simulated: Annotated[int, Field(ge=2)]
    """Participants that a simulated trial randomises."""
    primary_events: Annotated[int, Field(ge=1)] | None = None
    hazard_ratio: Annotated[float, Field(gt=0, lt=10)] | None = None
    power: Annotated[float, Field(gt=0, lt=1)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    control_hazard: Rate | None = None
    """Rate of the primary endpoint that the plan counts on in the reference arm."""
    dropout: Rate | None = None
    """Rate of loss to follow-up that the plan counts on, in every arm; none when left out."""


class Calendar(Block):
    first_randomization: date
    last_randomization: date
    end_of_follow_up: date

    @model_validator(mode="after")
    def _in_order(self) -> Calendar:
        if not self.first_randomization < self.last_randomization < self.end_of_follow_up:
            raise ValueError("first randomisation, last randomisation and end of follow-up must be in order")
        return self


class Look(Block):
    """One time at which the data are looked at. The cut-off is the first day on which everything that is
    given holds; `at_latest` ends the wait, whatever is still missing."""

    at: Annotated[float, Field(gt=0, le=1)] | None = None
    """Information fraction: share of the planned primary events."""
    events: Annotated[int, Field(ge=1)] | None = None
    """Primary events."""
    date: date_ | None = None
    """Not before this day."""
    after: Duration | None = None
    """Not before this long after the first randomisation."""
    minimum_follow_up: Duration | None = None
    """Not before the participant randomised last has been followed this long."""
    minimum_gap: Duration | None = None
    """Not before this long after the look before."""
    at_latest: date_ | Duration | None = None
    """A date, or a time after the first randomisation."""

    @model_validator(mode="after")
    def _says_when(self) -> Look:
        times = (self.at, self.events, self.date, self.after, self.minimum_follow_up, self.minimum_gap)
        if all(each is None for each in times):
            raise ValueError(
                "a look says when: `at`, `events`, `date`, `after`, `minimum_follow_up` or `minimum_gap`"
            )
        if self.at is not None and self.events is not None:
            raise ValueError("a look waits for a fraction (`at`) or a number of `events`, not for both")
        return self


BoundaryName = Literal[
    "obrien-fleming", "pocock", "hwang-shih-decani", "kim-demets", "obrien-fleming exact", "pocock exact",
    "wang-tsiatis", "haybittle-peto", "none",
]  # fmt: skip
"""The first four are spending functions (Lan and DeMets), the next four classical boundaries."""


class Futility(Block):
    """Stopping because the trial is unlikely to succeed, by beta-spending."""

    spending: Literal["obrien-fleming", "pocock", "hwang-shih-decani", "kim-demets"]
    parameter: float | None = None
    binding: bool = False
    """Whether the efficacy boundary relies on the trial stopping there (non-binding: it does not)."""


class Looks(Block):
    """When the data are looked at, and the boundaries of each look."""

    looks: list[Annotated[float, Field(gt=0, le=1)] | Look] = []
    """A bare number is an information fraction, the share of the planned primary events."""
    spending: BoundaryName = "none"
    parameter: float | None = None
    """gamma of Hwang, Shih and DeCani; rho of Kim and DeMets; Delta of Wang and Tsiatis; the z limit of the
    looks before the last for Haybittle and Peto."""
    sides: Literal[1, 2] = 2
    spend_by: Literal["information", "calendar", "minimum"] = "information"
    """What the error is spent by: information, share of the planned duration, or the lesser of the two."""
    futility: Futility | None = None
    reporting_delay: Duration | None = None
    """Mean time from an event to its report (exponential): a look knows only what has been reported."""
    distribution: Literal["normal", "saddlepoint"] | None = None
    """What the log-rank statistic is held against; normal when left out. With `saddlepoint` it is the
    distribution that the events give it, and limits are placed at levels that their number can attain."""

    @property
    def schedule(self) -> tuple[Look, ...]:
        """The looks, bare fractions written out."""
        return tuple(each if isinstance(each, Look) else Look(at=each) for each in self.looks)


class Monitoring(Looks):
    committee: str
    blinding: str | None = None


class Design(Block):
    phase: str
    allocation: str
    masking: str
    comparison: str
    sponsor: str | None = None


class PublishedFigure(Block):
    """One published result, and the row of the results table that it is compared with."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    p_value: Annotated[float, Field(ge=0, le=1)] | None = None
    p_below: Annotated[float, Field(gt=0, le=1)] | None = None
    """Where P is published only as below a value."""
    unit: str = ""
    analysis: str
    group: str
    parameter: str
    statistic: str
    compared: bool = True
    """False for a figure that no row of the results means the same as: it is shown as published, beside no
    simulated one."""
    status: Literal["registry", "abstract", "secondary", "derived"]


class PublishedTerm(Block):
    """Participants with events of one term (an organ class, say) as published, by arm, beside the same rows
    of `safety`. `groups` are finer kinds within the term; a participant with two of them counts in both,
    so a term's own figure may be their sum and then exceeds the number of participants."""

    kind: EventKind
    term: str
    participants: dict[Name, Annotated[int, Field(ge=0)]]
    groups: dict[str, dict[Name, Annotated[int, Field(ge=0)]]] = {}
    status: Literal["registry", "abstract", "secondary", "derived"]


class Simulation(Block):
    """Which virtual population stands in for the participants. Without this block a trial is conducted,
    checked, shown and decided on, but not simulated."""

    population: str
    baseline: str
    accrual: dict[str, Annotated[int, Field(ge=1)]]
    """Participants by country; fixes the country mix of a simulated trial."""
    sites: Annotated[int, Field(ge=1)]
    without: list[EventKind] = []
    """Kinds of event that the virtual participants do not have: their endpoints are left out of the analysis
    of a simulated record, where counting none would mislead."""


class Protocol(Block):
    """A whole trial."""

    equipoise: Literal[1]
    """Version of the file format."""
    protocol: Annotated[str, Field(min_length=1, max_length=60)]
    title: str
    version: str
    registry: str | None = None
    indication: str
    background: str
    """Why the trial was done, in a paragraph a patient could read."""
    design: Design
    references: dict[str, Reference] = {}
    items: dict[Name, Item]
    strata: dict[Name, Stratum] = {}
    eligibility: Eligibility
    arms: dict[Name, Arm] = Field(min_length=1)
    randomization: Randomization
    regimens: dict[Name, Regimen]
    visits: list[Visit] = Field(min_length=1)
    events: dict[Name, Event]
    endpoints: dict[Name, Endpoint]
    analysis: Analysis
    size: Size
    calendar: Calendar
    monitoring: Monitoring
    published: dict[Name, PublishedFigure] = {}
    published_terms: list[PublishedTerm] = []
    simulation: Simulation | None = None

    @property
    def endpoints_not_simulated(self) -> frozenset[str]:
        """Endpoints that count events which the virtual participants do not have (`simulation: without`)."""
        missing = set(self.simulation.without) if self.simulation else set()
        return frozenset(name for name, e in self.endpoints.items() if missing & set(e.first_of))
