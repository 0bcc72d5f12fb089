"""The calendar of a regimen: gaps, windows, maintenance, and what must be measured meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from equipoise.protocol.checking.doses import most_cycles
from equipoise.protocol.checking.expressions import names_in
from equipoise.protocol.checking.items import basis
from equipoise.protocol.checking.problem import Problems, error, warning
from equipoise.protocol.model import Protocol, Regimen, Visit
from equipoise.protocol.quantities import DAYS_PER, Quantity, days, round_half_away


def _exact(duration: Quantity) -> float:
    return duration.value * DAYS_PER[duration.unit.removesuffix("s")]


def longest_follow_up(protocol: Protocol) -> int:
    """Days from the first randomisation to the end of follow-up: the longest that anybody is followed."""
    return (protocol.calendar.end_of_follow_up - protocol.calendar.first_randomization).days


def timing_problems(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
    """Gaps, windows, induction, maintenance and stopping of one regimen against each other."""
    place = f"regimens.{name}"
    assert regimen.cycle is not None
    assert regimen.minimum_gap is not None
    gap, longest = days(regimen.minimum_gap), longest_follow_up(protocol)
    duration = regimen.cycle.days if regimen.cycle.days is not None else (regimen.cycle.on_days or [1])[-1]
    if gap < duration:
        yield error(
            f"{place}.minimum_gap",
            f"a gap of {regimen.minimum_gap} lets the next cycle begin before one of {duration} days is over",
        )
    induction, maintenance = regimen.induction, regimen.maintenance
    if induction is not None:
        every = days(induction.every)
        if gap > every:
            yield error(
                f"{place}.minimum_gap",
                f"the minimum gap of {regimen.minimum_gap} is longer than the interval of "
                f"induction, {induction.every}",
            )
        if days(induction.start_within) >= every:
            yield error(
                f"{place}.induction.start_within",
                f"a cycle that may start {induction.start_within} late runs into the next, due after "
                f"{induction.every}",
            )
        last = round_half_away((induction.cycles - 1) * _exact(induction.every))
        if maintenance is not None and last >= maintenance.from_.day:
            yield error(
                f"{place}.induction.cycles",
                f"induction is longer than the time before maintenance: cycle {induction.cycles} is due on "
                f"day {last}, maintenance begins at {maintenance.from_} (day {maintenance.from_.day})",
            )
        if regimen.maximum_cycles is not None and induction.cycles > regimen.maximum_cycles:
            yield error(
                f"{place}.maximum_cycles",
                f"induction alone has {induction.cycles} cycles, above the most allowed, "
                f"{regimen.maximum_cycles}",
            )
    if maintenance is not None:
        if gap > days(maintenance.review):
            yield error(
                f"{place}.minimum_gap",
                f"the minimum gap of {regimen.minimum_gap} is longer than the interval of reviews, "
                f"{maintenance.review}",
            )
        if maintenance.from_.day >= longest:
            yield error(
                f"{place}.maintenance.from",
                f"maintenance begins on day {maintenance.from_.day}, but nobody is followed longer than "
                f"{longest} days",
            )
        for index, extra in enumerate(maintenance.extra_reviews):
            if extra.day < maintenance.from_.day:
                yield error(
                    f"{place}.maintenance.extra_reviews[{index}]",
                    f"the review at {extra} comes before maintenance begins, at {maintenance.from_}",
                )
    stop = regimen.stop_for_non_response
    if stop is not None:
        if stop.at_latest is not None and days(stop.at_latest) < days(stop.after):
            yield error(
                f"{place}.stop_for_non_response.at_latest", f"{stop.at_latest} is before {stop.after}"
            )
        if days(stop.after) >= longest:
            yield error(
                f"{place}.stop_for_non_response.after",
                f"nobody is followed for {stop.after} ({longest} days)",
            )
        most = most_cycles(regimen)
        if most is not None and stop.minimum_cycles > most:
            yield error(
                f"{place}.stop_for_non_response.minimum_cycles",
                f"nobody has {stop.minimum_cycles} cycles: at most {most} are given",
            )
    ids = Counter(hold.id for hold in regimen.hold_while)
    for hold_id, count in ids.items():
        if count > 1:
            yield error(f"{place}.hold_while", f'{count} holds have the id "{hold_id}"')


def planned_days(visit: Visit, until: int) -> list[int]:
    """Planned days of a line of the schedule, up to a day; a repeated visit is rounded one by one."""
    if visit.at is not None:
        return [at.day for at in visit.at]
    assert visit.every is not None
    assert visit.from_ is not None
    step = _exact(visit.every)
    if step <= 0:
        return []
    count = int(max(0, until - visit.from_.day) / step)
    return [visit.from_.day + round_half_away(k * step) for k in range(1, count + 1)]


def _arms_with(protocol: Protocol, regimen: str) -> list[str]:
    return [name for name, arm in protocol.arms.items() if regimen in arm.regimens]


def attended(visit: Visit, arm: str) -> bool:
    return visit.arms is None or arm in visit.arms


def measured_problems(protocol: Protocol, name: str, regimen: Regimen) -> Problems:
    """What the rules of a regimen ask for during treatment must be measured then."""
    place = f"regimens.{name}"
    for arm in _arms_with(protocol, name):
        after_entry = [v for v in protocol.visits if v.period != "screening" and attended(v, arm)]
        collected = {item for visit in after_entry for item in visit.collect}
        for index, hold in enumerate(regimen.hold_while):
            for item_name in sorted({b for n in names_in(hold.when) for b in basis(protocol, n)}):
                item = protocol.items.get(item_name)
                if item is None or item.derive is not None:
                    continue
                if {"cycles", "as it happens"} & set(item.collect) or item_name in collected:
                    continue
                yield error(
                    f"{place}.hold_while[{index}].when",
                    f'nobody measures "{item_name}" during treatment, so "{hold.id}" would never be known',
                )
        goal, maintenance = regimen.goal, regimen.maintenance
        if goal is None or goal.measure not in protocol.items:
            continue
        needed = (maintenance, regimen.escalation, regimen.stop_for_non_response)
        if any(part is not None for part in needed) and goal.measure not in collected:
            yield error(
                f"{place}.goal.measure",
                f'nobody measures "{goal.measure}" after entry in the arm "{arm}": no visit collects it',
            )
            continue
        if maintenance is not None:
            yield from _reviews(
                protocol, name, regimen, [v for v in after_entry if goal.measure in v.collect]
            )


def _reviews(protocol: Protocol, name: str, regimen: Regimen, visits: Sequence[Visit]) -> Problems:
    """Each review needs a planned measurement that is fresh enough at some day of its window."""
    maintenance, goal = regimen.maintenance, regimen.goal
    assert maintenance is not None
    assert goal is not None
    until = longest_follow_up(protocol)
    measured = sorted({day for visit in visits for day in planned_days(visit, until)})
    limit, window = days(maintenance.measured_within), days(maintenance.start_within)
    valid = protocol.items[goal.measure].valid_for
    field = f"regimens.{name}.maintenance.measured_within"
    if valid is not None and days(valid) < limit:
        yield warning(
            field, f"{goal.measure} counts for {valid} only (`valid_for`), which is shorter and so decides"
        )
        limit = days(valid)
    step = _exact(maintenance.review)
    if step <= 0:
        yield error(f"regimens.{name}.maintenance.review", "the interval of reviews must be above zero")
        return
    count = int(max(0, until - maintenance.from_.day) / step)
    due = [maintenance.from_.day + round_half_away(k * step) for k in range(count + 1)]
    due = sorted({*due, *(extra.day for extra in maintenance.extra_reviews)})
    blind = [d for d in due if d <= until and not any(d - limit <= m <= d + window for m in measured)]
    if not blind:
        return
    earlier = [m for m in measured if m <= blind[0]]
    last = f"the last is {blind[0] - earlier[-1]} days old" if earlier else "there is none before"
    message = f"no planned {goal.measure} is at most {limit} days old at the review on day {blind[0]}: {last}"
    if len(blind) == len(due):
        yield error(field, f"{message}; no cycle would ever be given in maintenance")
    else:
        yield warning(field, f"{message} ({len(blind)} of {len(due)} reviews)")
