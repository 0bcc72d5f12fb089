"""Size, calendar, monitoring, simulation."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from equipoise.protocol.checking.problem import Problems, error, there_is_no, warning
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import number_text, per_day

EVENTS_TOLERANCE = 0.15
"""A planned number of events this much below what the stated power needs (relatively) is pointed out."""


def plan_problems(protocol: Protocol) -> Problems:
    """Size, power, looks, and the countries of a simulated trial."""
    size = protocol.size
    if size.randomized is not None and size.analysed is not None and size.analysed > size.randomized:
        yield error("size.analysed", f"{size.analysed} analysed is more than {size.randomized} randomised")
    most = max(size.planned, size.randomized or 0)
    if size.primary_events is not None and size.primary_events > most:
        yield error(
            "size.primary_events", f"{size.primary_events} events cannot happen to {most} participants"
        )
    if size.hazard_ratio == 1:
        yield error(
            "size.hazard_ratio", "a hazard ratio of 1 is no effect, so no power can be planned for it"
        )
    numbers = (size.primary_events, size.hazard_ratio, size.power, size.alpha)
    reference = protocol.randomization.ratio.get(protocol.analysis.reference_arm)
    allotted = set(protocol.randomization.ratio) == set(protocol.arms)
    two_arms = len(protocol.arms) == 2 and allotted and reference is not None and size.hazard_ratio != 1
    if two_arms and all(number is not None for number in numbers):
        assert reference and size.primary_events and size.hazard_ratio and size.power and size.alpha  # noqa: PT018
        share = reference / sum(protocol.randomization.ratio.values())
        sides = protocol.monitoring.sides
        needed = events_needed(size.hazard_ratio, size.power, size.alpha, share, sides)
        if size.primary_events < (1 - EVENTS_TOLERANCE) * needed:
            yield warning(
                "size.primary_events",
                f"{size.primary_events} events are too few for {size.power:.0%} power at a hazard ratio of "
                f"{number_text(size.hazard_ratio)}: that takes {math.ceil(needed)}",
            )
    yield from _rate_problems(protocol)
    yield from _monitoring_problems(protocol)
    simulation = protocol.simulation
    if simulation is not None:
        total = sum(simulation.accrual.values())
        sizes = {n for n in (size.planned, size.randomized, size.analysed, size.simulated) if n is not None}
        if total not in sizes:
            yield warning(
                "simulation.accrual", f"the countries add up to {total}, which is no size of this trial"
            )
        for kind in simulation.without:
            if kind not in protocol.events:
                yield error("simulation.without", there_is_no("event", kind, protocol.events))
        for analysis in protocol.analysis.time_to_event:
            endpoint = protocol.endpoints.get(analysis.endpoint)
            if endpoint is not None and set(simulation.without) & set(endpoint.first_of):
                yield error(
                    "simulation.without",
                    f'"{analysis.endpoint}" is analysed, but the virtual participants do not have its events',
                )
        country = protocol.items.get("country")
        for name in simulation.accrual:
            if country is not None and country.categories and name not in country.categories:
                yield error("simulation.accrual", f'"{name}" is not a category of the item "country"')


def _rate_problems(protocol: Protocol) -> Problems:
    """The planned rates: an event rate that is no rate, or that cannot give the planned events in time."""
    size, calendar = protocol.size, protocol.calendar
    if size.control_hazard is None:
        if size.dropout is not None:
            yield warning("size.dropout", "a dropout rate is of use only beside size.control_hazard")
        return
    hazard = per_day(size.control_hazard)
    if hazard == 0:
        yield error("size.control_hazard", "a rate of 0 means that no event is expected")
        return
    longest = (calendar.end_of_follow_up - calendar.first_randomization).days
    most = max(size.planned, size.randomized or 0) * -math.expm1(-hazard * longest)
    if size.primary_events is not None and size.primary_events > most:
        yield warning(
            "size.control_hazard",
            f"at {size.control_hazard} at most {most:.0f} events can be expected by the end of follow-up, "
            f"even if everybody is followed from the first day: {size.primary_events} are planned",
        )


def _monitoring_problems(protocol: Protocol) -> Problems:
    """Looks in order, boundaries that fit them, and what a look needs to know of the rest of the protocol."""
    plan, looks = protocol.monitoring, protocol.monitoring.schedule
    shares = [look.at for look in looks if look.at is not None]
    counts = [look.events for look in looks if look.events is not None]
    dates = [look.date for look in looks if look.date is not None]
    for given in (shares, counts, dates):
        if given != sorted(set(given)):  # type: ignore[type-var]
            yield error("monitoring.looks", "the looks must rise, without repeats")
            break
    if shares and len(shares) == len(looks) and shares[-1] != 1:
        yield warning("monitoring.looks", "the last look should be at the full information, 1.0")
    if shares and shares[-1] != 1 and protocol.size.primary_events is None and counts:
        yield error("monitoring.looks", "a share of the information needs size.primary_events")
    for place, look in enumerate(looks):
        if place == 0 and look.minimum_gap is not None:
            yield error(f"monitoring.looks[{place}].minimum_gap", "the first look has no look before it")
        if look.date is not None and look.date > protocol.calendar.end_of_follow_up:
            yield error(
                f"monitoring.looks[{place}].date",
                f"{look.date} is after the end of follow-up, {protocol.calendar.end_of_follow_up}",
            )
    if looks and plan.spending == "none":
        yield warning("monitoring.spending", "looks without a spending function test at no set level")
    if not looks and plan.spending != "none":
        yield error("monitoring.looks", "a spending function needs the times of the looks")
    if plan.futility is not None:
        if plan.sides == 2:
            yield error("monitoring.futility", "a futility boundary goes with a one-sided test: sides: 1")
        if protocol.size.power is None or protocol.size.hazard_ratio is None:
            yield error(
                "monitoring.futility", "beta-spending needs the planned effect: size.hazard_ratio and power"
            )
    needs = {"hwang-shih-decani": "gamma", "kim-demets": "rho", "wang-tsiatis": "Delta"}
    for field, part in (("monitoring", plan), ("monitoring.futility", plan.futility)):
        if part is None:
            continue
        if part.spending in needs and part.parameter is None:
            yield error(f"{field}.parameter", f"{part.spending} needs its parameter, {needs[part.spending]}")
        if part.parameter is not None and part.spending not in (*needs, "haybittle-peto"):
            yield error(f"{field}.parameter", f"{part.spending} has no parameter")


def events_needed(
    hazard_ratio: float, power: float, alpha: float, share: float, sides: Literal[1, 2] = 2
) -> float:
    """Events for a log-rank test at level `alpha`; `share` of the participants is in the reference arm.

    Schoenfeld, Biometrics 1983;39:499-503, formula (1).
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / sides) + normal.inv_cdf(power)
    return float(z**2 / (share * (1 - share) * math.log(hazard_ratio) ** 2))
