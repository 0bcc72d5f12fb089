"""What the dose rules are told, and what they answer: plain numbers, so that one source runs everywhere.

`DoseRules` are the numbers of one regimen, taken from the protocol; `Situation` is one participant on one
day; `Decision` is the answer. Days are whole days since randomisation; doses are in the unit of the
regimen's cycle (per administration); the measure, its goal and its baseline are in the unit of the item.
"""

from __future__ import annotations

from typing import NamedTuple

MAXIMUM_LEVELS = 12
"""Most dose levels (start, escalation and reduction together) of one regimen."""
MAXIMUM_EXTRA_REVIEWS = 8
"""Most extra reviews of one regimen."""
NEVER = -1
"""No such day: the rule gives no day on which a cycle could start."""
NONE = -1
"""The protocol has no such rule or limit (in the whole-number fields of `DoseRules`)."""

Levels = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
ExtraReviews = tuple[int, int, int, int, int, int, int, int]

# Actions.
START = 1
WAIT = 2
HOLD = 3
REDUCE = 4
ESCALATE = 5
STOP = 6

ACTIONS = {
    START: "start",
    WAIT: "wait",
    HOLD: "hold",
    REDUCE: "reduce",
    ESCALATE: "escalate",
    STOP: "stop",
}
"""Action code -> its word. `START`, `REDUCE` and `ESCALATE` start a cycle; the others do not."""

# What may be unknown: bits of `Decision.unknown`.
UNKNOWN_RANDOMIZED = 1
UNKNOWN_ASSIGNED = 2
UNKNOWN_FOLLOW_UP = 4
UNKNOWN_STOPPED = 8
UNKNOWN_CYCLES = 16
UNKNOWN_HOLD = 32
UNKNOWN_COVER = 64
UNKNOWN_TOXICITY = 128
UNKNOWN_MEASURE = 256
UNKNOWN_GOAL = 512
UNKNOWN_BASELINE = 1024
UNKNOWN_REDUCED = 2048

UNKNOWNS = {
    UNKNOWN_RANDOMIZED: "randomisation",
    UNKNOWN_ASSIGNED: "assigned regimen",
    UNKNOWN_FOLLOW_UP: "follow-up",
    UNKNOWN_STOPPED: "earlier stop",
    UNKNOWN_CYCLES: "earlier cycles",
    UNKNOWN_HOLD: "hold",
    UNKNOWN_COVER: "cover",
    UNKNOWN_TOXICITY: "toxicity",
    UNKNOWN_MEASURE: "measure",
    UNKNOWN_GOAL: "goal",
    UNKNOWN_BASELINE: "baseline",
    UNKNOWN_REDUCED: "earlier reduction",
}
"""Bit -> what is not known, in words."""


def unknown_names(mask: int) -> list[str]:
    """The words for the bits of `Decision.unknown`, in the order of `UNKNOWNS`."""
    return [name for bit, name in UNKNOWNS.items() if mask & bit]


class DoseRules(NamedTuple):
    """The numbers of one regimen. Days, doses and measures as at the top of this module.

    A rule that the protocol does not have is `NONE` (-1) in a whole-number field and NaN in a tuple or a
    decimal field, so that every regimen has one and the same machine type.
    """

    starting_dose: float
    floor: float
    ceiling: float
    levels: Levels
    """Each dose the protocol names (start, escalation, reduction), floor to ceiling, rising, then NaN."""
    steps: Levels
    """The doses an escalation may move to (start and escalation steps), rising, then NaN."""
    minimum_gap: int
    maximum_cycles: int
    induction_cycles: int
    """0 when there is no induction."""
    induction_every: float
    """Days, not rounded; the due days are."""
    induction_by_calendar: int
    """YES: due days are counted from randomisation; NO: from the previous cycle."""
    induction_window: int
    direction: int
    """1: the goal lies above (up), -1: below (down), 0: the regimen has no goal."""
    maintenance_from: int
    """Day of the first review."""
    maintenance_origin: float
    """The same, not rounded: reviews are counted from it."""
    review_every: float
    """Days, not rounded; the review days are."""
    extra_reviews: ExtraReviews
    maintenance_window: int
    measured_within: int
    """A measure older than this, in days, is unknown; NONE: no limit."""
    escalation_after: int
    escalation_again_after: int
    escalation_rise: float
    escalation_after_reduction: int
    """YES: a participant whose dose was once reduced may escalate again."""
    reduce_from_grade: int
    stop_from_grade: int
    stay_at_lowest: int
    """YES: toxicity at the lowest level leaves the dose there; NO: it stops the cycles."""
    stop_after: int
    stop_at_latest: int
    stop_rise: float
    stop_minimum_cycles: int


class Situation(NamedTuple):
    """One participant on one day, as the record knows it (never the true state, always what was measured).

    `randomized`, `assigned`, `in_follow_up`, `stopped`, `hold`, `cover`, `reduced` are three-valued.
    """

    day: int
    randomized: int
    assigned: int
    """The participant's arm has this regimen."""
    in_follow_up: int
    stopped: int
    """Cycles of this regimen were stopped for good."""
    hold: int
    """Any hold condition is on."""
    hold_until: int
    """No cycle before this day, because a hold has only just ended; 0 none."""
    cover: int
    """The regimen that must accompany each cycle is being taken; YES when none is needed."""
    cycles: int
    """Cycles started so far."""
    first_cycle_day: int
    last_cycle_day: int
    dose: float
    """Dose of the last cycle; 0.0 before the first."""
    cycles_at_dose: int
    """Consecutive cycles, the last one included, at that dose."""
    reduced: int
    """The dose was ever reduced."""
    toxicity: int
    """Worst grade attributed to the drug since the last cycle; 0 none, -1 unknown."""
    baseline: float
    measure: float
    """The latest measured value; NaN when there is none."""
    measured_day: int
    goal: float


class Decision(NamedTuple):
    """What the protocol says for one participant on one day."""

    action: int
    dose: float
    """Dose of the cycle that may start; 0.0 when none may."""
    not_before: int
    """First day on which a cycle could start: today when one may, or when only something unknown stands in
    the way; the next day that the calendar opens when it is too early or the goal is reached; `NEVER` when no
    day can be named (on hold, no cover) or none will come."""
    reason: int
    unknown: int
    """Bits of what is unknown and stands in the way (see `UNKNOWNS`)."""


def starts(decision: Decision) -> bool:
    """Whether the decision starts a cycle."""
    return decision.action == START or decision.action == REDUCE or decision.action == ESCALATE
