"""The calendar: when a cycle may start (induction, reviews, the minimum gap), and when visits are due.

Nothing here looks at a measurement. All days are whole days since randomisation; every window includes both
its first and its last day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from equipoise.errors import UserError
from equipoise.protocol.model import Protocol, Visit
from equipoise.protocol.quantities import DAYS_PER, days, exact_days, round_half_away
from equipoise.rules.terms import NEVER, NONE, DoseRules, Situation
from equipoise.rules.truth import NO, YES

ROUND_HALF_UP = 0.5
DAY_0 = 0.0


def interval_day(origin: float, count: int, every: float) -> int:
    """The day, rounded, on which the interval has passed `count` times since `origin`; neither is rounded."""
    return int(origin + count * every + ROUND_HALF_UP)


def intervals_until(origin: float, least: int, every: float) -> int:
    """The smallest count of intervals whose day is not before `least`."""
    if least <= origin:
        return 0
    count = int((least - origin) / every)
    if interval_day(origin, count, every) < least:
        return count + 1
    return count


def intervals_within(origin: float, most: int, every: float) -> int:
    """The largest count of intervals whose day is not after `most`, a day not before that of `origin`."""
    count = int((most - origin) / every)
    if interval_day(origin, count + 1, every) <= most:
        return count + 1
    return count


def intervals_around(origin: float, day: int, every: float) -> tuple[int, int]:
    """The last day on or before `day` on which the interval has passed a whole number of times, and the first
    after it; `day` is not before that of `origin`."""
    # Halves are rounded up: an interval that ends within half a day from now falls on this day already. At
    # exactly half a day the count is one too high; too low it never is, for rounding keeps the order.
    count = int((day + ROUND_HALF_UP - origin) / every)
    before = interval_day(origin, count, every)
    if before > day:
        return interval_day(origin, count - 1, every), before
    return before, interval_day(origin, count + 1, every)


def earliest_after_gap(rules: DoseRules, now: Situation, day: int) -> int:
    """The first day from `day` on that keeps the minimum gap and the wait after a hold."""
    earliest = max(day, now.hold_until)
    if now.cycles > 0:
        earliest = max(earliest, now.last_cycle_day + rules.minimum_gap)
    return earliest


def induction_slot(rules: DoseRules, now: Situation, day: int) -> int:
    """Due day of the induction cycle whose window is open on `day`, or of the next; NEVER after the last.

    By the calendar: due days are multiples of the interval, one cycle each, and a slot whose window has
    passed is lost. From the previous cycle: one interval after it, then every further interval until one is
    taken up.
    Induction is over once its cycles are given, and when maintenance begins.
    """
    if now.cycles >= rules.induction_cycles:
        return NEVER
    if rules.maintenance_from != NONE and day >= rules.maintenance_from:
        return NEVER
    every = rules.induction_every
    if rules.induction_by_calendar == YES:
        least = day - rules.induction_window
        if now.cycles > 0:
            least = max(least, now.last_cycle_day + 1)
        slot = intervals_until(DAY_0, least, every)
        if slot >= rules.induction_cycles:
            return NEVER
        due = interval_day(DAY_0, slot, every)
    else:
        start = DAY_0
        least = 0
        if now.cycles > 0:
            start = float(now.last_cycle_day)
            least = 1
        slot = max(least, intervals_until(start, day - rules.induction_window, every))
        due = interval_day(start, slot, every)
    if rules.maintenance_from != NONE and due >= rules.maintenance_from:
        return NEVER
    return due


def induction_slot_before(rules: DoseRules, now: Situation, due: int) -> int:
    """The induction due day one interval before `due` that the participant could have used and did not: not
    before randomisation, not yet used by a cycle, not the interval of the cycle itself; NEVER when none."""
    if due == NEVER:
        return NEVER
    start = DAY_0
    if now.cycles > 0 and rules.induction_by_calendar != YES:
        start = float(now.last_cycle_day)
    slot = intervals_within(start, due, rules.induction_every) - 1
    previous = interval_day(start, slot, rules.induction_every)
    if slot < 0 or (now.cycles > 0 and now.last_cycle_day >= previous):
        return NEVER
    return previous


def induction_due(rules: DoseRules, now: Situation) -> int:
    """Due day of the induction cycle that is open today, or of the next; NEVER when induction is over."""
    return induction_slot(rules, now, now.day)


def review_on_or_before(rules: DoseRules, day: int) -> int:
    """The latest maintenance review due on or before `day`; NEVER when there is none yet."""
    if rules.maintenance_from == NONE or day < rules.maintenance_from:
        return NEVER
    latest, _ = intervals_around(rules.maintenance_origin, day, rules.review_every)
    for extra in rules.extra_reviews:
        if extra == NONE or extra > day:
            break
        if extra >= rules.maintenance_from:
            latest = max(latest, extra)
    return latest


def review_after(rules: DoseRules, day: int) -> int:
    """The first maintenance review due after `day`; NEVER without maintenance."""
    if rules.maintenance_from == NONE:
        return NEVER
    if day < rules.maintenance_from:
        return rules.maintenance_from
    _, following = intervals_around(rules.maintenance_origin, day, rules.review_every)
    for extra in rules.extra_reviews:
        if extra == NONE or extra >= following:
            break
        if extra > day:
            return extra
    return following


def review_open(rules: DoseRules, now: Situation, day: int) -> bool:
    """Whether the latest review is still within its window on `day` and has not had its cycle."""
    review = review_on_or_before(rules, day)
    if review == NEVER or day > review + rules.maintenance_window:
        return False
    return now.cycles == 0 or now.last_cycle_day < review


def opening_and_phase(rules: DoseRules, now: Situation, day: int) -> tuple[int, bool]:
    """`opening`, and whether an induction cycle is open or still to come on that day."""
    if rules.maximum_cycles != NONE and now.cycles >= rules.maximum_cycles:
        return NEVER, False
    earliest = earliest_after_gap(rules, now, day)
    due = induction_slot(rules, now, earliest)
    if due != NEVER:
        return max(due, earliest), True
    if rules.maintenance_from == NONE:
        return NEVER, False
    if review_open(rules, now, earliest):
        return earliest, False
    return review_after(rules, earliest), False


def opening(rules: DoseRules, now: Situation, day: int) -> int:
    """The first day from `day` on at which the calendar lets a cycle start, whatever is measured until then:
    a due induction cycle or a review, inside its window, the minimum gap kept; NEVER when none will come."""
    opens, _ = opening_and_phase(rules, now, day)
    return opens


def opening_from_next_review(rules: DoseRules, now: Situation) -> int:
    """`opening` from the first review after today on, for somebody with cycles left."""
    review = review_after(rules, now.day)
    # Mostly nothing stands in its way: then it opens on its own day, and nothing need be looked up.
    if now.last_cycle_day < review == earliest_after_gap(rules, now, review):
        return review
    return opening(rules, now, review)


def next_decision_day(rules: DoseRules, now: Situation) -> int:
    """The first day after today on which the calendar lets a cycle start, so that a decision is worth taking.

    Inside an open window that is tomorrow. NEVER when nothing will come: not in this arm, follow-up over,
    stopped, cycles used up, induction over without maintenance.
    """
    if now.randomized == NO or now.assigned == NO or now.in_follow_up == NO or now.stopped == YES:
        return NEVER
    return opening(rules, now, max(now.day, -1) + 1)


def decision_days(rules: DoseRules, until_day: int) -> tuple[int, ...]:
    """The days up to and including `until_day` on which the plan of the regimen calls for a decision:
    induction cycles that follow each other without delay, and reviews. What a participant really did moves
    them; from then on `next_decision_day` tells."""
    planned = {
        interval_day(DAY_0, slot, rules.induction_every) for slot in range(max(0, rules.induction_cycles))
    }
    if rules.maintenance_from != NONE:
        planned = {day for day in planned if day < rules.maintenance_from}
    review = review_after(rules, NEVER)
    while NEVER < review <= until_day:
        planned.add(review)
        review = review_after(rules, review)
    return tuple(sorted(day for day in planned if day <= until_day))


# --- visits -------------------------------------------------------------------------------------------------


class PlannedVisit(NamedTuple):
    """One visit of one participant: `name` as people call it ("week 9"), `day` when it is due, the first and
    the last day of its window, and the items collected."""

    id: str
    name: str
    day: int
    earliest: int
    latest: int
    collect: tuple[str, ...]


TO_COME = "to come"
OPEN = "open"
OVERDUE = "overdue"
EARLY = "early"
IN_WINDOW = "in window"
LATE = "late"


def _repeats(visit: Visit, until_day: int) -> list[tuple[str, int]]:
    assert visit.every is not None
    assert visit.from_ is not None
    every = exact_days(visit.every)
    weekly = visit.every.unit.startswith("week")
    named: list[tuple[str, int]] = []
    if until_day < visit.from_.day:
        return named
    for count in range(1, intervals_within(visit.from_.exact, until_day, every) + 1):
        day = interval_day(visit.from_.exact, count, every)
        week, month = day // int(DAYS_PER["week"]) + 1, round_half_away(day / DAYS_PER["month"])
        named.append((f"week {week}" if weekly else f"month {month}", day))
    return named


def visits(protocol: Protocol, arm: str, until_day: int) -> tuple[PlannedVisit, ...]:
    """The visits of an arm due up to and including `until_day`, in order of their day; screening visits have
    negative days. Repeating visits come at rounded multiples of their interval, so that they do not drift.

    Raises UserError when the protocol has no such arm.
    """
    if arm not in protocol.arms:
        raise UserError(f'{protocol.protocol} has no arm "{arm}"; it has: {", ".join(protocol.arms)}')
    planned = []
    for visit in protocol.visits:
        if visit.arms is not None and arm not in visit.arms:
            continue
        if visit.at is not None:
            times = [(str(at), at.day) for at in visit.at if at.day <= until_day]
        else:
            times = _repeats(visit, until_day)
        early, late = days(visit.window.early), days(visit.window.late)
        planned += [
            PlannedVisit(visit.id, name, day, day - early, day + late, tuple(visit.collect))
            for name, day in times
        ]
    return tuple(sorted(planned, key=lambda one: one.day))


def window_state(visit: PlannedVisit, attended_day: int | None, today: int) -> str:
    """Where a visit stands. Attended: EARLY, IN_WINDOW or LATE. Not attended: TO_COME before its window, OPEN
    in it, OVERDUE after it. The first and the last day belong to the window."""
    if attended_day is not None:
        if attended_day < visit.earliest:
            return EARLY
        return IN_WINDOW if attended_day <= visit.latest else LATE
    if today < visit.earliest:
        return TO_COME
    return OPEN if today <= visit.latest else OVERDUE


def visit_on(planned: Sequence[PlannedVisit], day: int) -> PlannedVisit | None:
    """The planned visit that somebody who comes on `day` attends: the one whose window is open (the nearest,
    if several are), else the nearest of all; of two equally near, the earlier. None when nothing is
    planned."""
    if not planned:
        return None
    open_now = [visit for visit in planned if visit.earliest <= day <= visit.latest]
    return min(open_now or planned, key=lambda visit: (abs(visit.day - day), visit.day))


def is_missed(planned: Sequence[PlannedVisit], visit: PlannedVisit, today: int) -> bool:
    """Whether a visit that was not attended can no longer be: another visit is due by now, so that whoever
    comes attends that one. Until then it is merely overdue."""
    return today > visit.latest and any(visit.day < other.day <= today for other in planned)
