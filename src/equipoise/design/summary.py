"""The design of a trial in numbers: events needed, power, looks with their limits and dates, what to expect.

Everything is computed, nothing simulated. A trial stops at a look when its log-rank statistic passes a
limit; the statistics at the looks are jointly normal with independent increments (Jennison & Turnbull 2000,
chapter 3), their means those of `calendar.log_rank`, so that hazards need not be proportional.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from equipoise import __version__
from equipoise.design import calendar as when
from equipoise.design import events as size
from equipoise.design import integration
from equipoise.design.attainable import MINORITY, Draws, attained_level, exposure, level_note
from equipoise.design.boundaries import Boundaries, boundaries, fixed_drift, hazard_ratio
from equipoise.design.calendar import EventModel
from equipoise.design.from_protocol import Plan
from equipoise.design.monitoring import recompute
from equipoise.errors import UserError
from equipoise.protocol.model import Look
from equipoise.protocol.quantities import DAYS_PER_MONTH, DAYS_PER_YEAR, Quantity, exact_days

LEVEL = 0.95
"""Of the intervals of dates and numbers of events."""
"""Boundaries that the design room calls otherwise than a protocol does."""
VARIED = 0.25
"""How far a sensitivity line goes from the plan, relatively."""


# --- what a summary holds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """When a look is expected, in days from the first randomisation: mean (of the day, or of the end of
    follow-up if that comes first), quantiles at the level of the summary (None: not by the end of
    follow-up), the probability that it takes place by the end, and the participants randomised and
    person-years by then."""

    mean: float | None
    median: float | None
    lower: float | None
    upper: float | None
    reached: float
    randomized: float
    person_years: float


@dataclass(frozen=True)
class LookSummary:
    """One look: what it waits for, its limits and what they mean, when it comes, how often the trial ends
    there.

    events: known events (expected ones where the look waits for a date). z: the limit, None where nothing
    can stop; nominal_p: on the sides of the test. hazard_ratio: the estimate at the limit. expected_z: the
    log-rank statistic expected under the planned effect. The probabilities hold if every look takes place.
    """

    number: int
    information: float
    events: float
    z: float | None
    nominal_p: float | None
    hazard_ratio: float | None
    futility_z: float | None
    futility_hazard_ratio: float | None
    expected_z: float
    planned: Timing
    no_effect: Timing
    stops: float
    stops_without_effect: float


@dataclass(frozen=True)
class Ending:
    """What the trial comes to on average when it stops by its limits: under the planned effect or without
    one."""

    rejects: float
    events: float
    participants: float
    days: float | None
    person_years: float


@dataclass(frozen=True)
class EndOfFollowUp:
    """What is known when follow-up ends: events expected and their interval, under the planned effect and
    without one; whether the planned number has come; the power of a log-rank test then, alone and with
    the looks that come before."""

    day: float
    events: float
    lower: int
    upper: int
    events_without_effect: float
    person_years: float
    planned_reached: float | None
    power: float
    power_with_looks: float
    detectable: float | None
    """The hazard ratio, on the planned side of 1, for which one analysis of the events expected has the
    planned power, by Schoenfeld's formula; None where no power is planned."""


@dataclass(frozen=True)
class Needed:
    """Events that the planned power takes: by the two formulas (None where the hazard ratio changes with
    time), and by the expected log-rank statistic (None where it never gets that far); each for one
    analysis, which the looks multiply by the inflation of the design."""

    schoenfeld: float | None
    freedman: float | None
    log_rank: float | None
    participants: int | None
    """Among whom so many are expected by the end of follow-up (log-rank, with the looks); None without an
    end."""


@dataclass(frozen=True)
class Scenario:
    """The plan with one assumption changed: when the planned events come (the mean; None where it is more
    likely that they do not come by the end, or where they may never come), what is known at the end."""

    change: str
    events_day: float | None
    reached: float | None
    events_at_end: float | None
    power: float
    """Of the log-rank test at the planned events (at the end of follow-up where none are planned)."""
    power_at_end: float | None


@dataclass(frozen=True)
class DesignSummary:
    """A design in numbers. Days count from the first randomisation, on `start` where there is a calendar."""

    name: str
    title: str
    version: str | None
    sha256: str | None
    """Version of the protocol, and its hash; None for a plain trial."""
    start: date | None
    reference_arm: str
    experimental_arm: str
    participants: tuple[int, int]
    hazard_ratio: float | None
    hazard_ratios: tuple[tuple[float, float], ...]
    """From which day since randomisation which hazard ratio holds."""
    control_rates: tuple[tuple[float, float], ...]
    """From which day since randomisation how many events per 100 person-years in the reference arm."""
    dropout: tuple[float, float]
    """Leaving per 100 person-years, by arm."""
    accrual_days: float
    countries: Mapping[str, float]
    """Participants expected by country."""
    alpha: float
    sides: int
    power: float | None
    events: int | None
    boundary: str
    level: float
    needed: Needed | None
    schoenfeld_power: float | None
    freedman_power: float | None
    """Of one analysis at the planned events."""
    power_with_looks: float
    inflation: float
    looks: tuple[LookSummary, ...]
    planned: Ending
    no_effect: Ending
    end: EndOfFollowUp | None
    scenarios: tuple[Scenario, ...]
    remarks: tuple[str, ...]
    predicted_level: float | None = None
    """The type I error that the limits are predicted to have (`design.attainable`); None where it is not
    predicted: for another test, or where most participants have the event."""

    def date(self, day: float) -> date | None:
        """The calendar date of a day; None without a calendar."""
        return self.start + timedelta(days=round(day)) if self.start is not None else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; dates beside days where there is a calendar, months otherwise."""
        data: dict[str, Any] = {"equipoise": __version__} | _plain(asdict(self))
        for look in data["looks"]:
            for key in ("planned", "no_effect"):
                for name in ("mean", "median", "lower", "upper"):
                    self._dated(look[key], name)
        for ending in (data["planned"], data["no_effect"]):
            self._dated(ending, "days")
        if data["end"] is not None:
            self._dated(data["end"], "day")
        for scenario in data["scenarios"]:
            self._dated(scenario, "events_day")
        return data

    def _dated(self, entry: dict[str, Any], name: str) -> None:
        day = entry[name]
        found = self.date(day) if day is not None else None
        if self.start is not None:
            entry[f"{name}_date"] = None if found is None else found.isoformat()
        else:
            entry[f"{name}_months"] = None if day is None else day / DAYS_PER_MONTH


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# --- making one -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """A look as it takes place in one scenario; times in days."""

    events: float
    mean: float
    quantiles: tuple[float | None, float | None, float | None]
    reached: float


def summarise(plan: Plan, level: float = LEVEL) -> DesignSummary:
    """The design in numbers.

    Raises UserError for a plan that cannot be: more events than participants, looks that do not follow each
    other, a boundary that does not fit them, an effect of 1 with a power to be planned, no end at all.
    """
    plan = _with_events(plan)
    model, without = plan.model, plan.model.without_effect()
    schedule = _schedule(plan)
    cuts, null_cuts = (_cuts(plan, each, schedule, level) for each in (model, without))
    events = [cut.events for cut in cuts]
    _check_order(plan, events)
    design, upper, lower = _limits(plan, events, [cut.mean for cut in cuts])
    means = _statistics(plan, model, events)
    shares = [count / events[-1] for count in events]
    h1, h0 = (_stops(shares, upper, lower, each) for each in (means, [_NONE] * len(means)))
    inflation = design.inflation if design is not None else 1.0
    powers = _formula_powers(plan)
    level_found = _predicted_level(plan, events, upper, lower)
    looks = zip(cuts, null_cuts, shares, upper, lower, means, h1.ends, h0.ends, strict=True)
    return DesignSummary(
        name=plan.name,
        title=plan.title,
        version=plan.version,
        sha256=plan.sha256,
        start=plan.start,
        reference_arm=model.reference.name,
        experimental_arm=model.experimental.name,
        participants=(round(model.reference.participants), round(model.experimental.participants)),
        hazard_ratio=plan.hazard_ratio,
        hazard_ratios=_ratios(model),
        control_rates=_control_rates(model),
        dropout=(_per_100_years(model.reference.dropout), _per_100_years(model.experimental.dropout)),
        accrual_days=model.accrual.last - model.accrual.edges[0],
        countries={name: share * model.participants for name, share in plan.countries.items()},
        alpha=plan.alpha,
        sides=plan.looks.sides,
        power=plan.power,
        events=plan.events,
        boundary=plan.looks.spending,
        level=level,
        needed=_needed(plan, inflation),
        schoenfeld_power=powers[0],
        freedman_power=powers[1],
        power_with_looks=h1.rejects,
        inflation=inflation,
        looks=tuple(
            _look(number, plan, (cut, null), share, high, low, mean, (stop, stop0))
            for number, (cut, null, share, high, low, mean, stop, stop0) in enumerate(looks, 1)
        ),
        planned=_ending(model, h1, cuts),
        no_effect=_ending(without, h0, null_cuts),
        end=_end(plan, cuts, level),
        scenarios=_scenarios(plan),
        remarks=(
            *plan.remarks, *(design.notes if design is not None else ()), *_level_remark(plan, level_found)
        ),
        predicted_level=level_found,
    )  # fmt: skip


def _predicted_level(
    plan: Plan, events: Sequence[float], upper: Sequence[float], lower: Sequence[float]
) -> float | None:
    """The type I error of the limits by the law of the counts of events; None where that is not known."""
    if not plan.log_rank or events[-1] > MINORITY * plan.model.participants or min(events) < 1:
        return None
    counts = plan.looks.sides == 2 or (plan.looks.futility is not None and plan.looks.futility.binding)
    below = lower if counts else [-math.inf] * len(events)
    exposures = [exposure(plan.model, count) for count in events]
    saddlepoint = plan.looks.distribution == "saddlepoint"
    return attained_level(events, upper, below, exposures, saddlepoint=saddlepoint).level(plan.looks.sides)


def _level_remark(plan: Plan, level: float | None) -> tuple[str, ...]:
    note = None
    if level is not None:
        note = level_note(level, plan.alpha, plan.looks.distribution == "saddlepoint")
    return () if note is None else (note,)


def _formula_powers(plan: Plan) -> tuple[float | None, float | None]:
    """Power of one analysis at the planned events, by Schoenfeld's formula and by Freedman's."""
    if plan.events is None or plan.hazard_ratio is None or plan.hazard_ratio == 1:
        return None, None
    how = (plan.events, plan.hazard_ratio, plan.alpha, plan.looks.sides, plan.model.share)
    return size.schoenfeld_power(*how), size.freedman_power(*how)


def _per_100_years(rate: float) -> float:
    return 100 * DAYS_PER_YEAR * rate


def _control_rates(model: EventModel) -> tuple[tuple[float, float], ...]:
    hazard = model.reference.hazard
    return tuple((at, _per_100_years(rate)) for at, rate in zip(hazard.starts, hazard.rates, strict=True))


def _ratios(model: EventModel) -> tuple[tuple[float, float], ...]:
    """The hazard ratio from each time on at which it changes."""
    first, second = model.reference.hazard, model.experimental.hazard
    found: list[tuple[float, float]] = []
    for start in sorted({*first.starts, *second.starts}):
        below, above = float(first.at(start)), float(second.at(start))
        ratio = above / below if below > 0 else math.nan if above == 0 else math.inf
        if not found or not math.isclose(found[-1][1], ratio, rel_tol=1e-12):
            found.append((start, ratio))
    return tuple(found)


def _with_events(plan: Plan) -> Plan:
    """The plan with its planned number of events, which is what its power needs if the file names none
    and has no end of follow-up to stop at."""
    people = round(plan.model.participants)
    if plan.events is not None:
        if plan.events > people:
            raise UserError(
                f"{plan.name}: {plan.events} events cannot happen to {people} participants: "
                "give fewer --events or more --participants"
            )
        return plan
    shares = [look.at for look in plan.looks.schedule if look.at is not None]
    if plan.model.end < math.inf and not shares and plan.looks.futility is None:
        return plan
    if plan.power is None or plan.hazard_ratio is None:
        raise UserError(
            f"{plan.name}: the planned number of events is missing: give --events, or --power and --hr that "
            "it follows from"
        )
    needed = size.schoenfeld_events(
        plan.hazard_ratio, plan.power, plan.alpha, plan.looks.sides, plan.model.share
    )
    return _with_events(replace(plan, events=math.ceil(needed)))


def _check_order(plan: Plan, events: Sequence[float]) -> None:
    if events[0] < 1:
        raise UserError(
            f"{plan.name}: only {events[0]:.2g} events are expected at the first look: "
            "look later, or follow longer"
        )
    for number, (before, after) in enumerate(pairwise(events), 1):
        if after <= before * (1 + integration.CLOSEST):
            raise UserError(
                f"{plan.name}: look {number + 1} would come at {after:.4g} events and look {number} at "
                f"{before:.4g}: put them further apart, or leave one out"
            )


def _schedule(plan: Plan) -> list[Look]:
    """The looks and the final analysis: at the planned events, or at the end of follow-up where none are
    planned."""
    looks = list(plan.looks.schedule)
    last = looks[-1] if looks else None
    if plan.events is None:
        return [*looks, Look(after=Quantity(plan.model.end, "days"))]
    if last is not None and (last.at == 1 or last.events == plan.events):
        return looks
    if last is not None and last.at is None and last.events is None:
        return looks  # the last look is at a date, and is the last
    return [*looks, Look(at=1.0)]


def _cuts(plan: Plan, model: EventModel, schedule: Sequence[Look], level: float) -> list[_Cut]:
    """When each look takes place. A gap after the look before is added to each quantile of its time, and
    to its mean."""
    found: list[_Cut] = []
    for look in schedule:
        before = found[-1] if found else None
        count = _wanted(look, plan)
        gap = exact_days(look.minimum_gap) if look.minimum_gap is not None and before else 0.0
        floor = _not_before(look, plan)
        latest = _at_latest(look, plan)
        lows = [floor] * 3
        mean_floor = floor
        if before is not None and gap:
            lows = [math.inf if q is None else max(floor, q + gap) for q in before.quantiles]
            mean_floor = max(floor, before.mean + gap)
        found.append(_cut(model, count, (lows, mean_floor), latest, level))
    return found


def _cut(
    model: EventModel, count: int | None, floors: tuple[list[float], float], latest: float, level: float
) -> _Cut:
    lows, mean_floor = floors
    tail = (1 - level) / 2
    quantiles: list[float | None] = []
    for low, p in zip(lows, (tail, 0.5, 1 - tail), strict=True):
        time = when.time_quantile(model, count, p) if count is not None else 0.0
        at = min(max(math.inf if time is None else time, low), latest)
        quantiles.append(None if at > model.end or at == math.inf else at)
    if count is None:
        mean = min(max(mean_floor, 0.0), latest, model.end)
        return _Cut(float(when.expected_events(model, mean).sum()), mean, _three(quantiles), 1.0)
    mean = when.mean_time(model, count, mean_floor, latest)
    reached = 1.0  # a look that waits no longer takes place, whatever has come
    if latest > model.end or latest == math.inf:
        reached = float(when.probability_of_events(model, count, when.horizon(model)))
    only_events = mean_floor <= 0 and latest == math.inf
    events = float(count) if only_events else max(float(when.expected_events(model, mean).sum()), 1.0)
    if not only_events and latest == math.inf:
        events = max(events, float(count))
    return _Cut(events, mean, _three(quantiles), reached)


def _three(values: Sequence[float | None]) -> tuple[float | None, float | None, float | None]:
    low, middle, high = values
    return low, middle, high


def _wanted(look: Look, plan: Plan) -> int | None:
    if look.events is not None:
        return look.events
    if look.at is None:
        return None
    assert plan.events is not None
    return max(1, math.ceil(look.at * plan.events - 1e-9))


def _not_before(look: Look, plan: Plan) -> float:
    floors = [0.0]
    if look.after is not None:
        floors.append(exact_days(look.after))
    if look.minimum_follow_up is not None:
        floors.append(plan.model.accrual.last + exact_days(look.minimum_follow_up))
    if look.date is not None:
        floors.append(_day(look.date, plan))
    return max(floors)


def _at_latest(look: Look, plan: Plan) -> float:
    if look.at_latest is None:
        return math.inf
    return exact_days(look.at_latest) if isinstance(look.at_latest, Quantity) else _day(look.at_latest, plan)


def _day(day: date, plan: Plan) -> float:
    if plan.start is None:
        raise UserError(
            f"{plan.name}: a look on a date ({day}) needs a calendar, which a plain trial has not: "
            "say `after`"
        )
    return float((day - plan.start).days)


# --- over the calendar ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """Expected numbers over the calendar, in days from the first randomisation: participants randomised,
    events under the planned effect with their interval at `level`, events without effect."""

    days: tuple[float, ...]
    randomized: tuple[float, ...]
    events: tuple[float, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    events_without_effect: tuple[float, ...]
    level: float


def curves(plan: Plan, level: float = LEVEL, points: int = 61) -> Curves:
    """How participants and events accumulate until the end of follow-up, or until the planned events have
    come with near certainty. Raises UserError as `summarise` does."""
    plan = _with_events(plan)
    model, tail = plan.model, (1 - level) / 2
    last = model.end
    if plan.events is not None:
        known = [when.time_quantile(each, plan.events, 0.999) for each in (model, model.without_effect())]
        last = min(last, 1.05 * max(when.horizon(model) if time is None else time for time in known))
    changes = [edge for edge in model.accrual.edges if edge < last]
    days = np.unique(np.concatenate([np.linspace(0.0, last, points), changes]))
    return Curves(
        tuple(days.tolist()),
        tuple(when.randomized(model, days).tolist()),
        tuple(when.expected_events(model, days).sum(axis=0).tolist()),
        tuple(when.events_quantile(model, float(day), tail) for day in days),
        tuple(when.events_quantile(model, float(day), 1 - tail) for day in days),
        tuple(when.expected_events(model.without_effect(), days).sum(axis=0).tolist()),
        level,
    )


# --- limits and probabilities -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stops:
    """How often the trial ends at each look, and how often it ends for benefit at all."""

    ends: tuple[float, ...]
    rejects: float


def _limits(
    plan: Plan, events: Sequence[float], times: Sequence[float]
) -> tuple[Boundaries | None, list[float], list[float]]:
    """The group-sequential design (None: only the last look tests), and its upper and lower limits."""
    looks, count = plan.looks, len(events)
    if looks.spending == "none" or count == 1:
        last = size.critical(plan.alpha, looks.sides)
        upper = [math.inf] * (count - 1) + [last]
        lower = [-math.inf] * (count - 1) + [-last if looks.sides == 2 else -math.inf]
        return None, upper, lower
    futility = looks.futility
    design = boundaries(
        [each / events[-1] for each in events],
        alpha=plan.alpha,
        sides=looks.sides,
        kind=looks.spending,
        parameter=looks.parameter,
        power=_design_power(plan),
        futility=futility.spending if futility is not None else None,
        futility_parameter=futility.parameter if futility is not None else None,
        binding=futility.binding if futility is not None else False,
    )
    upper, lower = list(design.efficacy), list(design.lower)
    draws = None
    if looks.distribution == "saddlepoint":
        draws = Draws(round(plan.model.participants), 1 - plan.model.share)
    if looks.spend_by != "information" or draws is not None:
        shares = None if looks.spend_by == "information" else _calendar_shares(plan, times)
        now = recompute(
            design,
            events,
            maximum=events[-1],
            spend_by=looks.spend_by,
            calendar=shares,
            final=True,
            draws=draws,
        )
        upper = list(now.efficacy)
        if looks.sides == 2:
            lower = list(now.harm or (-z for z in upper))
        else:
            lower = list(now.futility or (-math.inf,) * count)
    return design, upper, lower


def _calendar_shares(plan: Plan, times: Sequence[float]) -> list[float]:
    """Shares of the planned duration, which is the time from the first randomisation to the end of follow-up,
    at looks that come at these times; those before the last are held below 1, where all would be spent."""
    if plan.model.end == math.inf:
        raise UserError(
            f"{plan.name}: spending by {plan.looks.spend_by} needs the planned duration of the trial: give "
            "`follow_up`"
        )
    close = 2 * integration.CLOSEST
    before = [min(t / plan.model.end, 1 - close * (len(times) - k)) for k, t in enumerate(times[:-1])]
    return [*before, 1.0]


def _design_power(plan: Plan) -> float:
    """The planned power; that of the planned events where none is stated."""
    if plan.power is not None:
        return plan.power
    if plan.events is None or plan.hazard_ratio in (None, 1.0):
        return 0.9
    assert plan.hazard_ratio is not None
    found = size.schoenfeld_power(
        plan.events, plan.hazard_ratio, plan.alpha, plan.looks.sides, plan.model.share
    )
    return min(max(found, 1.001 * plan.alpha / plan.looks.sides), 1 - 1e-6)


@dataclass(frozen=True)
class _Statistic:
    """The log-rank statistic as it is expected at a look; positive in the direction that is planned."""

    mean: float
    spread: float


_NONE = _Statistic(0.0, 1.0)


def _statistics(plan: Plan, model: EventModel, events: Sequence[float]) -> list[_Statistic]:
    """The statistic when so many events have happened, whatever the end of follow-up."""
    endless = replace(model, end=math.inf, delay=0.0)
    return [_statistic(plan, endless, count) for count in events]


def _direction(plan: Plan) -> float:
    """1 where the experimental arm is planned to have fewer events, -1 where more (an event that is hoped
    for)."""
    endless = replace(plan.model, end=math.inf, delay=0.0)
    at = min(plan.model.end, when.horizon(endless))
    if plan.events is not None:
        at = when.expected_time(endless, plan.events) or at
    return -1.0 if when.log_rank(endless, at, plan.stratified).z < -1e-9 else 1.0


def _statistic(plan: Plan, endless: EventModel, events: float) -> _Statistic:
    time = when.expected_time(endless, events)
    last = when.horizon(endless)
    found = when.log_rank(endless, last if time is None else time, plan.stratified)
    mean = _direction(plan) * found.z
    if time is None:  # more events than can be expected at all
        mean *= math.sqrt(events / float(when.expected_events(endless, last).sum()))
    return _Statistic(mean, found.spread)


def _stops(
    shares: Sequence[float],
    upper: Sequence[float],
    lower: Sequence[float],
    statistics: Sequence[_Statistic],
) -> _Stops:
    """Probabilities of ending at each look. Means need not be proportional to the square root of information:
    the limits are moved by them, and scaled, which leaves statistics of mean 0 and variance 1."""
    low, high = (
        np.array([(limit - each.mean) / each.spread for limit, each in zip(limits, statistics, strict=True)])
        for limits in (lower, upper)
    )
    below, above = integration.crossing(np.array(shares), low, high, 0.0)
    ends = [float(a + b) for a, b in zip(above, below, strict=True)]
    ends[-1] = 1.0 - sum(ends[:-1])
    return _Stops(tuple(ends), float(above.sum()))


def _look(
    number: int,
    plan: Plan,
    cuts: tuple[_Cut, _Cut],
    share: float,
    limit: float,
    low: float,
    statistic: _Statistic,
    stops: tuple[float, float],
) -> LookSummary:
    model, count, direction = plan.model, cuts[0].events, _direction(plan)
    shown = limit if math.isfinite(limit) else None
    futile = low if plan.looks.futility is not None and math.isfinite(low) else None
    experimental = 1 - model.share
    return LookSummary(
        number=number,
        information=share,
        events=count,
        z=shown,
        nominal_p=None if shown is None else plan.looks.sides * float(0.5 * math.erfc(shown / math.sqrt(2))),
        hazard_ratio=None if shown is None else hazard_ratio(direction * shown, count, experimental),
        futility_z=futile,
        futility_hazard_ratio=None
        if futile is None
        else hazard_ratio(direction * futile, count, experimental),
        expected_z=statistic.mean,
        planned=_timing(model, cuts[0]),
        no_effect=_timing(model.without_effect(), cuts[1]),
        stops=stops[0],
        stops_without_effect=stops[1],
    )


def _timing(model: EventModel, cut: _Cut) -> Timing:
    at = min(cut.mean, when.horizon(model))
    return Timing(
        None if math.isinf(cut.mean) else cut.mean,
        cut.quantiles[1],
        cut.quantiles[0],
        cut.quantiles[2],
        cut.reached,
        float(when.randomized(model, at)),
        float(when.person_time(model, at).sum()) / DAYS_PER_YEAR,
    )


def _ending(model: EventModel, stops: _Stops, cuts: Sequence[_Cut]) -> Ending:
    times = [min(cut.mean, when.horizon(model)) for cut in cuts]
    days = sum(p * cut.mean for p, cut in zip(stops.ends, cuts, strict=True) if p > 0)
    return Ending(
        rejects=stops.rejects,
        events=sum(p * _events_at(model, cut.events) for p, cut in zip(stops.ends, cuts, strict=True)),
        participants=float(np.dot(stops.ends, when.randomized(model, times))),
        days=days if math.isfinite(days) else None,
        person_years=float(np.dot(stops.ends, when.person_time(model, times).sum(axis=0))) / DAYS_PER_YEAR,
    )


def _events_at(model: EventModel, wanted: float) -> float:
    """Events at a look that waits for so many, but no longer than to the end of follow-up: the mean of
    the lesser of the two, by the normal approximation of the number at the end."""
    if model.end == math.inf:
        return wanted
    chance = when.event_probability(model, model.end)
    sizes = np.array([arm.participants for arm in model.arms])
    mean, spread = float(sizes @ chance), math.sqrt(float(sizes @ (chance * (1 - chance))))
    if spread == 0:
        return min(wanted, mean)
    d = (wanted - mean) / spread
    density = math.exp(-0.5 * d * d) / math.sqrt(2 * math.pi)
    return wanted - (wanted - mean) * 0.5 * math.erfc(-d / math.sqrt(2)) - spread * density


# --- needed, at the end, and if it were otherwise ---------------------------------------------------------


def _needed(plan: Plan, inflation: float) -> Needed | None:
    if plan.power is None:
        return None
    if plan.hazard_ratio == 1:
        raise UserError(f"{plan.name}: a hazard ratio of 1 is no effect, so no power can be planned for it")
    schoenfeld = freedman = None
    if plan.hazard_ratio is not None:
        asked = (plan.hazard_ratio, plan.power, plan.alpha, plan.looks.sides, plan.model.share)
        schoenfeld, freedman = size.schoenfeld_events(*asked), size.freedman_events(*asked)
    exact = _log_rank_events(plan, plan.power)
    people = None
    if plan.model.end < math.inf and exact is not None:
        chance = float(when.expected_events(plan.model, plan.model.end).sum()) / plan.model.participants
        people = size.participants_needed(math.ceil(exact * inflation), chance) if chance > 0 else None
    return Needed(schoenfeld, freedman, exact, people)


def _log_rank_events(plan: Plan, power: float) -> float | None:
    """The least number of events at which the expected log-rank statistic gives the power, with
    participants in proportion so that the timing stays: the statistic at a calendar time grows with the
    square root of their number. None where no effect is planned."""
    endless = replace(plan.model, end=math.inf, delay=0.0)
    at = plan.model.end
    if plan.events is not None:
        at = when.expected_time(endless, plan.events) or when.horizon(endless)
    found = when.log_rank(endless, at, plan.stratified)
    if abs(found.z) < 1e-9:
        return None
    critical = size.critical(plan.alpha, plan.looks.sides)
    wanted = critical + found.spread * (fixed_drift(plan.alpha, plan.looks.sides, power) - critical)
    return float(when.expected_events(endless, at).sum()) * (wanted / found.z) ** 2


def _end(plan: Plan, cuts: Sequence[_Cut], level: float) -> EndOfFollowUp | None:
    model = plan.model
    if model.end == math.inf:
        return None
    tail = (1 - level) / 2
    events = float(when.expected_events(model, model.end).sum())
    reached = (
        None if plan.events is None else float(when.probability_of_events(model, plan.events, model.end))
    )
    return EndOfFollowUp(
        day=model.end,
        events=events,
        lower=when.events_quantile(model, model.end, tail),
        upper=when.events_quantile(model, model.end, 1 - tail),
        events_without_effect=float(when.expected_events(model.without_effect(), model.end).sum()),
        person_years=float(when.person_time(model, model.end).sum()) / DAYS_PER_YEAR,
        planned_reached=reached,
        power=_single_power(plan, model, events),
        power_with_looks=_power_at_end(plan, [cut.events for cut in cuts], events),
        detectable=None if plan.power is None else _detectable(plan, events, plan.power),
    )


def _detectable(plan: Plan, events: float, power: float) -> float:
    found = size.detectable_hazard_ratio(events, power, plan.alpha, plan.looks.sides, plan.model.share)
    return found if _direction(plan) > 0 else 1 / found


def _power_at_end(plan: Plan, counts: Sequence[float], events: float) -> float:
    """Power when the trial ends with the events expected at the end of follow-up: the looks that come
    before keep their limits and the last, then, takes what is left of alpha. The design's own where its
    events come."""
    if events >= counts[-1] - 1e-9:
        return _stops_of(plan, counts)
    before = [count for count in counts[:-1] if count < events * (1 - integration.CLOSEST)]
    if not before or plan.looks.spending == "none":
        return _single_power(plan, plan.model, events)
    design, _, _ = _limits(replace(plan, looks=_by_information(plan)), counts, counts)
    assert design is not None
    observed = [*before, events]
    now = recompute(design, observed, maximum=counts[-1], final=True)
    upper = list(now.efficacy)
    lower = [-z for z in upper] if plan.looks.sides == 2 else list(now.futility or (-math.inf,) * len(upper))
    shares = [count / events for count in observed]
    return _stops(shares, upper, lower, _statistics(plan, plan.model, observed)).rejects


def _stops_of(plan: Plan, counts: Sequence[float]) -> float:
    _, upper, lower = _limits(replace(plan, looks=_by_information(plan)), counts, counts)
    shares = [count / counts[-1] for count in counts]
    return _stops(shares, upper, lower, _statistics(plan, plan.model, counts)).rejects


def _by_information(plan: Plan) -> Any:
    return plan.looks.model_copy(update={"spend_by": "information"})


def _single_power(plan: Plan, model: EventModel, events: float) -> float:
    """Power of one log-rank test when so many events have happened, in the planned direction."""
    found = _statistics(plan, model, [events])[0]
    short = size.critical(plan.alpha, plan.looks.sides) - found.mean
    return 0.5 * math.erfc(short / (found.spread * math.sqrt(2)))


def _scenarios(plan: Plan) -> tuple[Scenario, ...]:
    model, percent = plan.model, f"{VARIED:.0%}"
    slower = replace(model, accrual=model.accrual.stretched(1 / (1 - VARIED)))
    varied: list[tuple[str, EventModel]] = [("as planned", model)]
    varied += [(f"event rates {percent} lower", model.scaled(1 - VARIED))]
    varied += [(f"event rates {percent} higher", model.scaled(1 + VARIED))]
    varied += [(f"accrual {percent} slower", slower)]
    for share, word in ((1 - VARIED, "smaller"), (1 + VARIED, "larger")):
        ratio = "" if plan.hazard_ratio is None else f" (hazard ratio {plan.hazard_ratio**share:.3g})"
        varied.append((f"effect {percent} {word}{ratio}", when.with_effect(model, share)))
    return tuple(_scenario(plan, name, each) for name, each in varied)


def _scenario(plan: Plan, name: str, model: EventModel) -> Scenario:
    at_end = float(when.expected_events(model, model.end).sum()) if model.end < math.inf else None
    end_power = None if at_end is None else _single_power(plan, model, at_end)
    if plan.events is None:
        assert end_power is not None
        return Scenario(name, None, None, at_end, end_power, end_power)
    reached = float(when.probability_of_events(model, plan.events, when.horizon(model)))
    mean = when.mean_time(model, plan.events) if reached > 0.5 else math.inf
    return Scenario(
        name,
        mean if mean < math.inf else None,
        reached,
        at_end,
        _single_power(plan, model, plan.events),
        end_power,
    )
