"""Why the protocol decides as it does: a code for each reason, and the sentence that a person reads."""

from __future__ import annotations

NOT_RANDOMIZED = 1
RANDOMIZED_UNKNOWN = 2
NOT_ASSIGNED = 3
ASSIGNED_UNKNOWN = 4
FOLLOW_UP_OVER = 5
FOLLOW_UP_UNKNOWN = 6
STOPPED_EARLIER = 7
STOPPED_UNKNOWN = 8
STOP_TOXICITY = 9
STOP_BELOW_LOWEST = 10
ON_HOLD = 11
CYCLES_UNKNOWN = 12
MAXIMUM_CYCLES = 13
STOP_NO_RESPONSE = 14
HOLD_JUST_ENDED = 15
TOO_SOON = 16
INDUCTION_NOT_DUE = 17
INDUCTION_MISSED = 18
MAINTENANCE_NOT_BEGUN = 19
REVIEW_NOT_DUE = 20
COURSE_COMPLETE = 21
AT_GOAL = 22
NO_COVER = 23
HOLD_UNKNOWN = 24
COVER_UNKNOWN = 25
TOXICITY_UNKNOWN = 26
MEASURE_MISSING = 27
MEASURE_TOO_OLD = 28
GOAL_UNKNOWN = 29
STOP_RESPONSE_UNKNOWN = 30
ESCALATION_RESPONSE_UNKNOWN = 31
REDUCED_UNKNOWN = 32
REDUCE_TOXICITY = 33
STAY_AT_LOWEST = 34
ESCALATE_NO_RESPONSE = 35
START_INDUCTION = 36
START_BELOW_GOAL = 37

REASONS = {
    NOT_RANDOMIZED: ("not randomized", "No cycle: the participant is not randomised."),
    RANDOMIZED_UNKNOWN: (
        "randomization unknown",
        "No cycle: it is not known whether the participant is randomised.",
    ),
    NOT_ASSIGNED: ("not assigned", "No cycle: the participant's arm does not have {drug}."),
    ASSIGNED_UNKNOWN: (
        "assignment unknown",
        "No cycle: it is not known whether the participant's arm has {drug}.",
    ),
    FOLLOW_UP_OVER: ("follow-up over", "No cycle: follow-up is over."),
    FOLLOW_UP_UNKNOWN: (
        "follow-up unknown",
        "No cycle: it is not known whether the participant is still followed.",
    ),
    STOPPED_EARLIER: ("stopped earlier", "No cycle: {drug} was stopped for good; follow-up continues."),
    STOPPED_UNKNOWN: ("stop unknown", "No cycle: it is not known whether {drug} was stopped for good."),
    STOP_TOXICITY: (
        "stop for toxicity",
        "Stop {drug}: toxicity of grade {toxicity} since the last cycle (the protocol stops from "
        "grade {stop_from_grade}).",
    ),
    STOP_BELOW_LOWEST: (
        "stop below lowest dose",
        "Stop {drug}: toxicity of grade {toxicity} asks for a dose below {dose_now}, the lowest level.",
    ),
    ON_HOLD: ("on hold", "Hold: a reason to withhold {drug} is present."),
    CYCLES_UNKNOWN: (
        "cycles unknown",
        "Wait: the earlier cycles are not fully known (number, days or dose).",
    ),
    MAXIMUM_CYCLES: (
        "maximum cycles",
        "No cycle: all {maximum_cycles} cycles that the protocol allows have been given.",
    ),
    STOP_NO_RESPONSE: (
        "stop for no response",
        "Stop {drug}: {since_first} after the first cycle {measure} is {value}, {less_than} "
        "{stop_rise} from the baseline of {baseline}.",
    ),
    HOLD_JUST_ENDED: (
        "hold just ended",
        "Wait: a hold has only just ended and cycles resume on day {hold_until} at the earliest; {next}.",
    ),
    TOO_SOON: (
        "too soon",
        "Wait: the last cycle started on day {last_cycle_day}; at least {minimum_gap} days must pass; "
        "{next}.",
    ),
    INDUCTION_NOT_DUE: (
        "induction not due",
        "Wait: induction cycle {next_cycle} of {induction_cycles} is due on day {induction_due}.",
    ),
    INDUCTION_MISSED: (
        "induction missed",
        "Wait: the induction cycle due on day {missed_due} was not started within {induction_window} days; "
        "the next is due on day {induction_due}.",
    ),
    MAINTENANCE_NOT_BEGUN: (
        "maintenance not begun",
        "Wait: induction is over, and the first review is on day {maintenance_from}; {next}.",
    ),
    REVIEW_NOT_DUE: ("review not due", "Wait: no review is open; {next}."),
    COURSE_COMPLETE: ("course complete", "No cycle: the course is complete and no reviews follow."),
    AT_GOAL: (
        "at goal",
        "Wait: {measure} is {value} and has reached the goal of {goal}; {next}.",
    ),
    NO_COVER: ("no cover", "Wait: {cover} is not being taken, and must be during each cycle."),
    HOLD_UNKNOWN: (
        "hold unknown",
        "Wait: it is not known whether a reason to withhold {drug} is present.",
    ),
    COVER_UNKNOWN: ("cover unknown", "Wait: it is not known whether {cover} is being taken."),
    TOXICITY_UNKNOWN: ("toxicity unknown", "Wait: toxicity since the last cycle is not known."),
    MEASURE_MISSING: ("measure missing", "Wait: {measure} has not been measured."),
    MEASURE_TOO_OLD: (
        "measure too old",
        "Wait: {measure} was last measured on day {measured_day}, {age} days ago; the limit is "
        "{measured_within} days.",
    ),
    GOAL_UNKNOWN: ("goal unknown", "Wait: the participant's goal for {measure} is not known."),
    STOP_RESPONSE_UNKNOWN: (
        "response unknown, stop point",
        "Wait: {since_first} after the first cycle the response must be judged, and {unknown} is not known.",
    ),
    ESCALATION_RESPONSE_UNKNOWN: (
        "response unknown, escalation point",
        "Wait: after {cycles_at_dose} cycles at {dose_now} the response must be judged, and {unknown} is not "
        "known.",
    ),
    REDUCED_UNKNOWN: (
        "reduction unknown",
        "Wait: it is not known whether the dose was reduced before, after which it may not rise.",
    ),
    REDUCE_TOXICITY: (
        "reduce for toxicity",
        "A cycle at the lower dose of {dose}: toxicity of grade {toxicity} after {dose_now}.",
    ),
    STAY_AT_LOWEST: (
        "stay at lowest dose",
        "A cycle at {dose}: toxicity of grade {toxicity}, and there is no lower dose.",
    ),
    ESCALATE_NO_RESPONSE: (
        "escalate for no response",
        "A cycle at the higher dose of {dose}: after {cycles_at_dose} cycles at {dose_now}, {measure} is "
        "{value}, {less_than} {escalation_rise} from the baseline of {baseline}.",
    ),
    START_INDUCTION: (
        "induction due",
        "Induction cycle {next_cycle} of {induction_cycles} at {dose}: due since day {induction_due}.",
    ),
    START_BELOW_GOAL: (
        "below goal",
        "A cycle at {dose}: {measure} is {value} and has not reached the goal of {goal}.",
    ),
}
"""Reason code -> (name in the record, sentence with its numbers to fill in)."""


def name(reason: int) -> str:
    """The name of a reason, as the record writes it."""
    return REASONS[reason][0]
