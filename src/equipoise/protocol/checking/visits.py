"""The schedule: order, windows, what is collected."""

from __future__ import annotations

import itertools
from collections import Counter

from equipoise.protocol.checking.problem import Problems, error, there_is_no, warning
from equipoise.protocol.checking.timing import attended, longest_follow_up, planned_days
from equipoise.protocol.model import Protocol, Visit
from equipoise.protocol.nearest import listed
from equipoise.protocol.quantities import days


def visit_problems(protocol: Protocol) -> Problems:
    """Order, periods, windows and contents of the visits."""
    longest = longest_follow_up(protocol)
    ids = Counter(visit.id for visit in protocol.visits)
    for name, count in ids.items():
        if count > 1:
            yield error("visits", f'{count} visits have the id "{name}"')
    last: tuple[int, str] | None = None
    for index, visit in enumerate(protocol.visits):
        place = f"visits[{index}]"
        planned = planned_days(visit, longest)
        if visit.every is not None and days(visit.every) <= 0:
            yield error(f"{place}.every", "the interval must be above zero")
            continue
        if planned != sorted(set(planned)):
            at = listed([str(point) for point in visit.at or ()])
            yield error(f"{place}.at", f"the visits are out of order: {at}")
        if not planned or min(planned) > longest:
            yield error(
                place, f'"{visit.id}" never takes place: nobody is followed longer than {longest} days'
            )
            continue
        if max(planned) > longest:
            yield error(
                f"{place}.at", f"day {max(planned)} is after the end of the longest follow-up, day {longest}"
            )
        if visit.period == "screening" and max(planned) > 0:
            yield error(place, f'the screening visit "{visit.id}" is planned after randomisation')
        if visit.period != "screening" and min(planned) < 0:
            yield error(place, f'the visit "{visit.id}" is planned before randomisation')
        if last is not None and min(planned) < last[0]:
            yield error(
                place,
                f'the visits are out of order: "{visit.id}" begins before "{last[1]}", which is listed first',
            )
        last = (min(planned), visit.id)
        within = days(protocol.eligibility.within)
        if visit.period == "screening" and within < days(visit.window.early) - min(planned):
            yield error(
                f"{place}.window",
                f'"{visit.id}" may take place {days(visit.window.early) - min(planned)} days before '
                f"randomisation, but the screening period is {protocol.eligibility.within}",
            )
        for arm in visit.arms or ():
            if arm not in protocol.arms:
                yield error(f"{place}.arms", there_is_no("arm", arm, protocol.arms))
        for name in visit.collect:
            yield from _collected(protocol, place, visit, name)
    if not any(v.at is not None and any(p.day == 0 for p in v.at) for v in protocol.visits):
        yield warning("visits", "there is no visit on day 0, the day of randomisation")
    yield from _windows(protocol, longest)


def _collected(protocol: Protocol, place: str, visit: Visit, name: str) -> Problems:
    item = protocol.items.get(name)
    if item is None:
        yield error(f"{place}.collect", there_is_no("item", name, protocol.items))
        return
    wanted = {"screening", "baseline"} if visit.period == "screening" else {"visits"}
    at_entry = visit.at is not None and all(point.day == 0 for point in visit.at)
    if at_entry:
        wanted |= {"baseline"}
    if not wanted & set(item.collect):
        yield error(
            f"{place}.collect",
            f'the item "{name}" says it is collected at {listed(item.collect)}, '
            "not at a visit of this period",
        )


def _windows(protocol: Protocol, longest: int) -> Problems:
    told: set[tuple[str, str]] = set()
    for arm in protocol.arms:
        slots = sorted(
            (day, day - days(visit.window.early), day + days(visit.window.late), visit.id)
            for visit in protocol.visits
            if attended(visit, arm) and (visit.every is None or days(visit.every) > 0)
            for day in planned_days(visit, longest)
        )
        for (day, _, late, a), (next_day, early, _, b) in itertools.pairwise(slots):
            if early <= late and (a, b) not in told:
                told.add((a, b))
                yield error(
                    "visits",
                    f'the windows of "{a}" (day {day}, up to day {late}) and "{b}" (day {next_day}, '
                    f"from day {early}) overlap",
                )
