"""The checks on what is entered: each with its number, its version, what it says and why it is made.

Four levels. *block*: it cannot be, and is not stored. *query*: it is stored, and a query opens unless the
site confirms the value in words; the query closes itself once the reason is gone. *confirm*: shown, with the
wish that somebody looks. *note*: shown. Nothing here knows a database; the limits of a value are the
protocol's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from equipoise.conduct import entering
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Item

BLOCK, QUERY, CONFIRM, NOTE = "block", "query", "confirm", "note"

LARGE_CHANGE = 4.0
"""A value that is this many times the one before, or less than its reciprocal, is worth a second look
(assumed)..."""
LARGE_CHANGE_OF_TITRES = 100.0
"""... and for what is measured by assays with a limit of detection, which move over orders of magnitude
(assumed)."""
UNIT_MISREAD = 8.0
UNIT_FITS = 2.0
"""In another unit the value lies within UNIT_FITS of the one before, as it stands beyond UNIT_MISREAD
(both assumed)."""


@dataclass(frozen=True)
class Finding:
    """What a check found. `value` is what it was found in: a confirmation holds for this very value."""

    rule: str
    item: str
    level: str
    words: str
    value: str = ""

    @property
    def key(self) -> str:
        """As a request names it: "rule:item"."""
        return f"{self.rule}:{self.item}"


@dataclass(frozen=True)
class Answered:
    """One answer with what it is compared with. `on` is the day of its measurement, `form_on` of its form;
    `previous` the latest number before it; `known` what else is on record."""

    name: str
    item: Item
    entered: entering.Entered
    on: date
    form_on: date
    previous: float | None = None
    previous_on: date | None = None
    known: Mapping[str, Value] = field(default_factory=dict)
    value: str = ""


@dataclass(frozen=True)
class FormDay:
    """When a form was done, and what it must lie between. `earliest` and `latest` are those of the window of
    a planned visit."""

    done_on: date
    today: date
    consent_on: date
    randomized_on: date | None = None
    after_randomization: bool = False
    ended_on: date | None = None
    named_on: date | None = None
    earliest: date | None = None
    latest: date | None = None


@dataclass(frozen=True)
class Reported:
    """An event as reported, and what else stands on record of the participant."""

    kind: str
    label: str
    terminal: bool
    grade: int | None
    serious: bool
    serious_because: str
    outcome: str
    onset: str
    ended: str
    aware_at: datetime | None
    now: datetime
    today: date
    consent_on: date
    ended_on: date | None = None
    has_death: bool = False
    """Whether another event that ends everything stands on record."""
    ended_how: str = ""


Facts = Answered | FormDay | Reported


@dataclass(frozen=True)
class Check:
    """One check: its name, the version of its wording and rule, its level, what it says in general, why it is
    made, what it is asked of, and how it looks: words when it has something to say, None otherwise."""

    id: str
    version: int
    level: str
    text: str
    rationale: str
    of: type[Any]
    look: Callable[[Any], str | None]


CHECKS: dict[str, Check] = {}


def _check(id: str, version: int, level: str, of: type[Any], text: str, rationale: str) -> Callable[..., Any]:
    def register(look: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        CHECKS[id] = Check(id, version, level, text, rationale, of, look)
        return look

    return register


# --- of an answer -----------------------------------------------------------------------------------------


@_check(
    "range", 1, QUERY, Answered, "The value lies outside the range of its item.",
    "The protocol gives the range in which values are expected; outside it a slip of the pen is likelier.",
)  # fmt: skip
def _range(facts: Answered) -> str | None:
    limits, number = facts.item.range, facts.entered.number
    if limits is None or number is None or limits[0] <= number <= limits[1]:
        return None
    allowed = f"{limits[0]:g} to {limits[1]:g} {facts.item.unit}".strip()
    return f"{facts.item.label}: {_told(facts)} is outside {allowed}"


@_check(
    "unit", 1, QUERY, Answered, "The value would fit another unit better.",
    "Laboratories report in several units; a value entered with the wrong one is off by a round factor.",
)  # fmt: skip
def _unit(facts: Answered) -> str | None:
    number = facts.entered.number
    if number is None or number <= 0 or not facts.item.unit:
        return None
    written = Decimal(facts.entered.text.lstrip("<> "))
    for unit in entering.accepted_units(facts.item.unit):
        other = entering.in_unit(written, unit, facts.item.unit)
        if unit != facts.entered.unit and other != number and _fits_better(facts, number, other):
            return f"{facts.item.label}: {_told(facts)} would fit {unit} better"
    return None


def _fits_better(facts: Answered, number: float, other: float) -> bool:
    limits, previous = facts.item.range, facts.previous
    if limits is not None and not limits[0] <= other <= limits[1]:
        return False
    if previous is not None and previous > 0:
        return _times(number, previous) > UNIT_MISREAD and _times(other, previous) <= UNIT_FITS
    return limits is not None and not limits[0] <= number <= limits[1]


def _times(a: float, b: float) -> float:
    return max(a / b, b / a) if a > 0 and b > 0 else math.inf


@_check(
    "detection-limit", 1, NOTE, Answered, "The value lies below the limit of detection without a sign of it.",
    "Below its limit an assay gives no number: the laboratory reports <limit.",
)  # fmt: skip
def _detection_limit(facts: Answered) -> str | None:
    limit, number = facts.item.detection_limit, facts.entered.number
    if limit is None or number is None or facts.entered.qualifier == "<" or number >= limit:
        return None
    return f"{facts.item.label}: {_told(facts)} is below the limit of the assay; was <{limit:g} reported?"


@_check(
    "large-change", 1, CONFIRM, Answered, "The value has changed much since the one before.",
    "A large change is either important or a slip; both deserve a second look before the form is left.",
)  # fmt: skip
def _large_change(facts: Answered) -> str | None:
    number, previous = facts.entered.number, facts.previous
    if facts.item.type != "number" or number is None or previous is None or number <= 0 or previous <= 0:
        return None
    limit = LARGE_CHANGE if facts.item.detection_limit is None else LARGE_CHANGE_OF_TITRES
    if _times(number, previous) < limit:
        return None
    when = f" on {entering.short(facts.previous_on)}" if facts.previous_on else ""
    return f"{facts.item.label}: {_told(facts)}; it was {previous:g} {facts.item.unit}".rstrip() + when


@_check(
    "date-order", 1, QUERY, Answered, "The sample is dated after the day of the form.",
    "What stands on a form was known on its day or came from samples of before.",
)  # fmt: skip
def _date_order(facts: Answered) -> str | None:
    if facts.on <= facts.form_on:
        return None
    return (
        f"{facts.item.label}: measured on {entering.said(facts.on)}, after the day of the form, "
        f"{entering.said(facts.form_on)}"
    )


@_check(
    "sex", 1, QUERY, Answered, "Pregnancy or breastfeeding is reported of somebody recorded as male.",
    "One of the two is wrong, and holds and eligibility rest on it.",
)  # fmt: skip
def _sex(facts: Answered) -> str | None:
    said = facts.name in ("pregnant", "breastfeeding") and facts.entered.number == 1.0
    if not said or facts.known.get("sex") != "male":
        return None
    return f"{facts.item.label}: yes, but the sex is recorded as male"


def _told(facts: Answered) -> str:
    return f"{facts.entered.text} {facts.entered.unit}".strip()


# --- of the day of a form ---------------------------------------------------------------------------------


@_check(
    "future", 1, BLOCK, FormDay, "The day lies in the future.", "What has not happened cannot be recorded."
)
def _future(facts: FormDay) -> str | None:
    return f"{entering.said(facts.done_on)} lies in the future" if facts.done_on > facts.today else None


@_check(
    "consent",
    1,
    BLOCK,
    FormDay,
    "The day lies before consent.",
    "Nothing is done for a trial before consent.",
)
def _consent(facts: FormDay) -> str | None:
    if facts.done_on >= facts.consent_on:
        return None
    return f"{entering.said(facts.done_on)} is before consent was given ({entering.said(facts.consent_on)})"


@_check(
    "before-randomization", 1, BLOCK, FormDay, "The day lies before randomisation.",
    "Visits of treatment and follow-up are counted from randomisation.",
)  # fmt: skip
def _before_randomization(facts: FormDay) -> str | None:
    start = facts.randomized_on
    if not facts.after_randomization or start is None or facts.done_on >= start:
        return None
    return f"{entering.said(facts.done_on)} is before randomisation ({entering.said(start)})"


@_check(
    "after-end", 1, BLOCK, FormDay, "The day lies after the end of follow-up.",
    "After death, withdrawal, loss or completion nothing more is recorded; correct the end if it is wrong.",
)  # fmt: skip
def _after_end(facts: FormDay) -> str | None:
    if facts.ended_on is None or facts.done_on <= facts.ended_on:
        return None
    return f"{entering.said(facts.done_on)} is after the end of follow-up ({entering.said(facts.ended_on)})"


@_check(
    "named-day", 1, BLOCK, FormDay, "The day is not the one that the form is of.",
    "A check before a cycle, or what happened between visits, is named by its day.",
)  # fmt: skip
def _named_day(facts: FormDay) -> str | None:
    if facts.named_on is None or facts.done_on == facts.named_on:
        return None
    return f"this form is of {entering.said(facts.named_on)}; for another day there is another form"


@_check(
    "window", 1, NOTE, FormDay, "The visit took place outside its window.",
    "A visit out of window counts, and is a deviation that the report lists.",
)  # fmt: skip
def _window(facts: FormDay) -> str | None:
    if facts.earliest is None or facts.latest is None:
        return None
    if facts.earliest <= facts.done_on <= facts.latest:
        return None
    late = facts.done_on > facts.latest
    days = (facts.done_on - facts.latest if late else facts.earliest - facts.done_on).days
    return (
        f"{days} {'day' if days == 1 else 'days'} {'after' if late else 'before'} its window "
        f"({entering.short(facts.earliest)} to {entering.short(facts.latest)})"
    )


# --- of an event ------------------------------------------------------------------------------------------


@_check(
    "event-dates", 1, BLOCK, Reported, "The dates of the event cannot be.",
    "An event begins after consent, not in the future, and ends after it began.",
)  # fmt: skip
def _event_dates(facts: Reported) -> str | None:
    if entering.earliest(facts.onset) > facts.today:
        return f"the onset ({facts.onset}) lies in the future"
    if entering.latest(facts.onset) < facts.consent_on:
        return f"the onset ({facts.onset}) is before consent was given ({facts.consent_on})"
    if facts.ended and entering.earliest(facts.ended) > facts.today:
        return f"the end ({facts.ended}) lies in the future"
    if facts.ended and entering.latest(facts.ended) < entering.earliest(facts.onset):
        return f"the event ended ({facts.ended}) before it began ({facts.onset})"
    if facts.ended_on is not None and entering.earliest(facts.onset) > facts.ended_on:
        return f"the onset ({facts.onset}) is after the end of follow-up ({facts.ended_on})"
    return None


@_check(
    "serious", 1, BLOCK, Reported, "A serious event lacks its criterion or the time at which it was known.",
    "The criterion makes it serious; the 24 hours in which it is reported run from when the site knew.",
)  # fmt: skip
def _serious(facts: Reported) -> str | None:
    if not facts.serious:
        return None
    if not facts.serious_because:
        return "say by which criterion the event is serious"
    if facts.aware_at is None:
        return "say when the site learned of the serious event (day and time)"
    return None


@_check(
    "aware", 1, BLOCK, Reported, "The time at which the site learned of the event cannot be.",
    "Nobody learns of an event before it happens or in the future.",
)  # fmt: skip
def _aware(facts: Reported) -> str | None:
    if facts.aware_at is None:
        return None
    if facts.aware_at > facts.now:
        return "the site cannot have learned of the event in the future"
    if facts.aware_at.date() < entering.earliest(facts.onset):
        return "the site cannot have learned of the event before it began"
    return None


@_check(
    "grade-of-kind", 1, QUERY, Reported, "The grade is not that of the kind of event.",
    "A kind that is named by its grade holds events of that grade and above.",
)  # fmt: skip
def _grade_of_kind(facts: Reported) -> str | None:
    named = re.fullmatch(r"grade_?([1-5])", facts.kind)
    if named is None or facts.grade is None or facts.grade >= int(named[1]):
        return None
    return f"{facts.label}: reported with grade {facts.grade}"


@_check(
    "death-serious", 1, QUERY, Reported, "A death is not marked as serious, or has another outcome.",
    "Death is a criterion of seriousness, and the outcome of a death is fatal.",
)  # fmt: skip
def _death_serious(facts: Reported) -> str | None:
    if not facts.terminal:
        return None
    if not facts.serious:
        return f"{facts.label}: not marked as serious"
    return f"{facts.label}: the outcome says {facts.outcome}" if facts.outcome not in ("", "fatal") else None


def tells_of_death(terminal: bool, grade: int | None, outcome: str, serious_because: str) -> bool:
    """Whether a report says that the participant died: by the kind of the event or by what came of it."""
    return terminal or grade == 5 or outcome == "fatal" or serious_because == "death"


@_check(
    "fatal", 2, QUERY, Reported, "An event is fatal, and no death is on record.",
    "A fatal event and the death are two reports: the endpoint counts the death.",
)  # fmt: skip
def _fatal(facts: Reported) -> str | None:
    if facts.terminal or facts.has_death:
        return None
    if not tells_of_death(facts.terminal, facts.grade, facts.outcome, facts.serious_because):
        return None
    return f"{facts.label}: fatal, but no death is reported"


@_check(
    "death-ends", 1, QUERY, Reported, "A death is reported, and follow-up has not ended with it.",
    "Without its end the schedule goes on asking for visits, and observation time is counted wrongly.",
)  # fmt: skip
def _death_ends(facts: Reported) -> str | None:
    if not facts.terminal or facts.ended_how == "died":
        return None
    return f"{facts.label}: reported; record the end of follow-up"


# --- looking ----------------------------------------------------------------------------------------------


def look(facts: Facts, level: str | None = None) -> list[Finding]:
    """What the checks find in some facts, in order; of one level, or all."""
    found = []
    for check in CHECKS.values():
        if check.of is not type(facts) or (level is not None and check.level != level):
            continue
        words = check.look(facts)
        if words is not None:
            item, value = (facts.name, facts.value) if isinstance(facts, Answered) else ("", _value(facts))
            found.append(Finding(check.id, item, check.level, words, value))
    return found


def _value(facts: FormDay | Reported) -> str:
    if isinstance(facts, FormDay):
        return facts.done_on.isoformat()
    return f"{facts.grade} {facts.serious} {facts.outcome} {facts.onset}"


def blocked(facts: Facts) -> Finding | None:
    """The first reason why something cannot be stored; None when there is none."""
    return next(iter(look(facts, BLOCK)), None)


__all__ = [
    "BLOCK", "CHECKS", "CONFIRM", "NOTE", "QUERY", "Answered", "Check", "Finding", "FormDay",
    "Reported", "blocked", "look", "tells_of_death",
]  # fmt: skip
