"""Tells a protocol as a person would explain the trial: sentences with every number, and where it comes from.

`show` writes the whole; the report takes the pieces (`dose_rules`, `schedule_of_activities`, `assumptions`).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from equipoise.protocol import units
from equipoise.protocol.checking import blocks, source_keys
from equipoise.protocol.model import (
    Block,
    Endpoint,
    Futility,
    GoalRule,
    Item,
    Look,
    Looks,
    Protocol,
    PublishedFigure,
    Regimen,
    Visit,
)  # fmt: skip
from equipoise.protocol.quantities import (
    DAYS_PER,
    Quantity,
    Timepoint,
    exact_days,
    number_text,
    per_100_years,
    round_half_away,
)

WIDTH = 96
"""Columns that `show` fills."""

NARROWEST = 4
"""Columns below which no part of a table shrinks; words wider than their column are broken."""

BOUNDARIES = {
    "obrien-fleming": "O'Brien-Fleming-type boundary",
    "pocock": "Pocock-type boundary",
    "hwang-shih-decani": "Hwang-Shih-DeCani boundary",
    "kim-demets": "Kim-DeMets boundary",
    "obrien-fleming exact": "O'Brien-Fleming boundary",
    "pocock exact": "Pocock boundary",
    "wang-tsiatis": "Wang-Tsiatis boundary",
    "haybittle-peto": "Haybittle-Peto boundary",
    "none": "no boundary",
}
DISTRIBUTIONS = {
    "normal": "the log-rank statistic taken to be normal",
    "saddlepoint": "the log-rank statistic held against its saddlepoint distribution, with limits at levels "
    "that the number of events can attain",
}
SIDES = {1: "one-sided", 2: "two-sided"}
TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times"}


@dataclass(frozen=True)
class Told:
    """A sentence about a part of the protocol, and the part's provenance."""

    text: str
    sources: tuple[str, ...] = ()
    assumed: str | None = None
    note: str | None = None

    @property
    def marks(self) -> str:
        """The provenance in brackets: "[S1, assumed]"; empty when the part says nothing."""
        marks = [*self.sources, *(["assumed"] if self.assumed else [])]
        return f"[{', '.join(marks)}]" if marks else ""

    def __str__(self) -> str:
        return f"{self.text} {self.marks}".rstrip()


@dataclass(frozen=True)
class Assumption:
    """Something that no source gives: where in the protocol, and the reason or the choice made."""

    place: str
    text: str


@dataclass(frozen=True)
class Activity:
    """One line of the schedule of activities; `marks` has an entry for each of its visits."""

    label: str
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """The schedule of activities: visits across, activities down."""

    visits: tuple[str, ...]
    times: tuple[str, ...]
    windows: tuple[str, ...]
    arms: tuple[str, ...]
    """The arms that a visit is for; empty for all of them."""
    activities: tuple[Activity, ...]


def _told(text: str, *parts: Block | None) -> Told:
    present = [part for part in parts if part is not None]
    sources = tuple(dict.fromkeys(key for part in present for key in source_keys(part)))
    assumed = "; ".join(part.assumed for part in present if part.assumed) or None
    note = " ".join(part.note for part in present if part.note) or None
    return Told(text, sources, assumed, note)


# --- words --------------------------------------------------------------------------------------------------


def listed(words: Iterable[str], last: str = "and") -> str:
    """ "a, b and c"."""
    all_words = list(words)
    if len(all_words) < 2:
        return "".join(all_words)
    return f"{', '.join(all_words[:-1])} {last} {all_words[-1]}"


def counted(number: int, noun: str) -> str:
    """ "1 cycle", "3 cycles"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _inside(text: str) -> str:
    """A label as it stands inside a sentence: small first letter, unless it is a name or an abbreviation."""
    first = text.split(maxsplit=1)[0] if text.split() else ""
    return text if sum(letter.isupper() for letter in first) > 1 or first[1:2].isdigit() else _small(text)


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def capital(text: str) -> str:
    """First letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def _per(duration: Quantity) -> str:
    """ "8 weeks", but "week" for one of them."""
    text = str(duration)
    return text[2:] if text.startswith("1 ") else text


def _day(point: Timepoint) -> str:
    """ "week 49 (day 336)", but "day 14" alone."""
    return str(point) if str(point) == f"day {point.day}" else f"{point} (day {point.day})"


def _days_of(every: Quantity, count: int) -> list[int]:
    step = every.value * DAYS_PER[every.unit.removesuffix("s")]
    return [round_half_away(k * step) for k in range(count)]


def _regimen(regimen: Regimen) -> str:
    return regimen.label or capital(regimen.drug)


# --- dose rules ---------------------------------------------------------------------------------------------


def dose_rules(protocol: Protocol, regimen: str) -> list[str]:
    """The rules of a regimen as sentences with every number, in the order in which they are applied."""
    return [told.text for told in told_dose_rules(protocol, regimen)]


def told_dose_rules(protocol: Protocol, name: str) -> list[Told]:
    """The same sentences with their provenance. Raises KeyError for a regimen that the protocol lacks."""
    regimen = protocol.regimens[name]
    if regimen.kind == "continuous":
        return [_told(f"Taken throughout: {regimen.drug}.", regimen)]
    if regimen.kind == "around cycles":
        return [
            _told(
                f"Taken around each cycle only: {regimen.drug}, from {regimen.before} before the cycle "
                f"begins until {regimen.after} after its last dose.",
                regimen,
            )
        ]
    return list(_cycled(protocol, regimen))


def _cycled(protocol: Protocol, regimen: Regimen) -> Iterator[Told]:
    assert regimen.cycle is not None
    yield _cycle(regimen)
    yield _limits(regimen)
    if regimen.maximum_cycles is not None:
        yield _told(f"Nobody has more than {counted(regimen.maximum_cycles, 'cycle')}.", regimen)
    if regimen.induction is not None:
        induction = regimen.induction
        if induction.anchor == "randomization":
            due = listed(str(day) for day in _days_of(induction.every, induction.cycles))
            when = f"one every {_per(induction.every)} counted from randomisation (days {due})"
        else:
            when = f"each {induction.every} after the one before, the first at randomisation"
        yield _told(
            f"Induction: {counted(induction.cycles, 'cycle')}, {when}. A cycle may start up to "
            f"{induction.start_within} late; after that it is missed and the next one is due.",
            induction,
        )
    if regimen.goal is not None:
        yield from _goal(protocol, regimen)
    if regimen.maintenance is not None and regimen.goal is not None:
        yield _maintenance(protocol, regimen)
    if regimen.escalation is not None and regimen.goal is not None:
        yield _escalation(protocol, regimen)
    if regimen.toxicity is not None:
        yield _toxicity(regimen)
    for hold in regimen.hold_while:
        wait = f", and for {hold.resume_after} afterwards" if hold.resume_after else ""
        yield _told(f"Hold: no cycle while this holds: {_inside(hold.text)}{wait}.", hold)
    if regimen.stop_for_non_response is not None and regimen.goal is not None:
        yield _stop(protocol, regimen)
    if regimen.cover is not None:
        cover = protocol.regimens.get(regimen.cover)
        drug = regimen.cover if cover is None else _inside(cover.label or cover.drug)
        yield _told(f"Cover, without which no cycle starts: {drug}.", regimen)
    yield Told("Where something that a rule needs is unknown, no cycle starts until it is known.")


def _cycle(regimen: Regimen) -> Told:
    cycle = regimen.cycle
    assert cycle is not None
    times = TIMES.get(cycle.times_per_day, f"{cycle.times_per_day} times")
    if cycle.on_days is not None:
        on = f"on days {listed(str(day) for day in cycle.on_days)} of the cycle"
    else:
        on = f"on {cycle.days} consecutive days" if cycle.days != 1 else "on one day"
    total = Quantity(cycle.dose.value * cycle.administrations, cycle.dose.unit)
    text = (
        f"Cycle: {cycle.dose} of {regimen.drug}, {cycle.route}, {times} a day {on}: "
        f"{counted(cycle.administrations, 'dose')}, {total} in all."
    )
    return _told(text, cycle)


def _limits(regimen: Regimen) -> Told:
    assert regimen.cycle is not None
    doses = [regimen.cycle.dose]
    doses += regimen.escalation.to if regimen.escalation else []
    doses += regimen.toxicity.to if regimen.toxicity else []
    unit = regimen.cycle.dose.unit
    same = all(units.same_dimension(dose.unit, unit) for dose in doses)
    steps = sorted({float(f"{units.convert(d.value, d.unit, unit):.12g}") for d in doses}) if same else []
    ladder = f" The doses are {listed(map(number_text, steps))} {unit}." if len(steps) > 1 else ""
    return _told(
        f"Limits: never below {regimen.floor} nor above {regimen.ceiling}; at least {regimen.minimum_gap} "
        f"from the start of one cycle to the start of the next.{ladder}",
        regimen,
    )


def _goal(protocol: Protocol, regimen: Regimen) -> Iterator[Told]:
    goal = regimen.goal
    assert goal is not None
    measure = _measure(protocol, regimen)
    for rule in goal.rules:
        where = f" where {plainly(rule.when, protocol)}" if rule.when else ""
        yield _told(f"Goal{where}: {_target(rule, measure, goal.direction)}.", rule)
    side = "below" if goal.direction == "up" else "above"
    yield _told(f"Cycles are given to bring the {measure} to the goal, while it is {side} it.", goal)


def _measure(protocol: Protocol, regimen: Regimen) -> str:
    assert regimen.goal is not None
    item = protocol.items.get(regimen.goal.measure)
    return _inside(item.label) if item is not None else regimen.goal.measure


def _target(rule: GoalRule, measure: str, direction: str) -> str:
    bound = "at least" if direction == "up" else "at most"
    if rule.rise is not None:
        way = "above" if direction == "up" else "below"
        return f"a {measure} {rule.rise} {way} baseline"
    if rule.multiple is not None:
        times = {2.0: "twice", 3.0: "three times"}.get(rule.multiple, f"{number_text(rule.multiple)} times")
        return f"a {measure} of {bound} {times} baseline"
    return f"a {measure} of {bound} {rule.value}"


def _maintenance(protocol: Protocol, regimen: Regimen) -> Told:
    maintenance, goal = regimen.maintenance, regimen.goal
    assert maintenance is not None
    assert goal is not None
    measure = _measure(protocol, regimen)
    extra = f", and at {listed(map(str, maintenance.extra_reviews))}" if maintenance.extra_reviews else ""
    side = "below" if goal.direction == "up" else "above"
    text = (
        f"Maintenance: from {_day(maintenance.from_)} a review every "
        f"{_per(maintenance.review)}{extra}. If the {measure}, measured at most "
        f"{maintenance.measured_within} before, is {side} the goal, a cycle may start, up to "
        f"{maintenance.start_within} after the review."
    )
    return _told(text, maintenance)


def dose_rules_heading(protocol: Protocol, name: str) -> str:
    """What stands above the dose rules of a regimen; with its arms where others go by the same label."""
    label = _regimen(protocol.regimens[name])
    if sum(_regimen(other) == label for other in protocol.regimens.values()) == 1:
        return f"Dose rules: {label}"
    arms = [arm.label for arm in protocol.arms.values() if name in arm.regimens]
    return f"Dose rules: {label}, for {listed(arms)}"


def _rise(protocol: Protocol, regimen: Regimen, rise: Quantity) -> str:
    assert regimen.goal is not None
    way = "risen" if regimen.goal.direction == "up" else "fallen"
    by = str(rise) if rise.value != 1 else re.sub(r"^1 cells\b", "1 cell", str(rise))
    return f"the {_measure(protocol, regimen)} has {way} by at least {by} from baseline"


def _escalation(protocol: Protocol, regimen: Regimen) -> Told:
    escalation = regimen.escalation
    assert escalation is not None
    steps = listed(map(str, escalation.to), "then")
    after = "" if escalation.after_reduction == "allowed" else " Nobody is raised after a reduction."
    again = ""
    if len(escalation.to) > 1:
        again = f", each further step after {counted(escalation.again_after, 'more cycle')}"
    text = (
        f"Escalation: without a response after {counted(escalation.after, 'cycle')} at one dose, the dose "
        f"rises to {steps}{again}. A response: {_rise(protocol, regimen, escalation.response.rise)}.{after}"
    )
    return _told(text, escalation, escalation.response)


def _toxicity(regimen: Regimen) -> Told:
    toxicity = regimen.toxicity
    assert toxicity is not None
    last = "cycles stop" if toxicity.below_lowest == "stop" else "the lowest dose stays"
    text = (
        f"Toxicity: after an event of grade {toxicity.reduce_from_grade} or more that is attributed to the "
        f"drug, since the last cycle, the next lower dose is given (steps: {listed(map(str, toxicity.to))}); "
        f"at the lowest, {last}. From grade {toxicity.stop_from_grade} on, cycles stop."
    )
    return _told(text, toxicity)


def _stop(protocol: Protocol, regimen: Regimen) -> Told:
    stop = regimen.stop_for_non_response
    assert stop is not None
    until = f" (at the latest {stop.at_latest})" if stop.at_latest else ""
    text = (
        f"Stopping: without a response {stop.after} after the first cycle{until}, and after at least "
        f"{counted(stop.minimum_cycles, 'cycle')}, cycles stop; follow-up goes on. A response: "
        f"{_rise(protocol, regimen, stop.response.rise)}."
    )
    return _told(text, stop, stop.response)


# --- conditions in plain words ------------------------------------------------------------------------------

_SIGNS = (
    ("<=", "at most"),
    (">=", "at least"),
    ("!=", "not"),
    ("==", "equal to"),
    ("<", "below"),
    (">", "above"),
)
_RANGE = re.compile(r"^(?P<low>[^<>=]+?)\s*<=\s*(?P<name>[a-z_0-9]+)\s*<\s*(?P<high>[^<>=]+)$")


def plainly(text: str, protocol: Protocol) -> str:
    """A condition in plain words: item and stratum names become labels, signs become words."""
    if match := _RANGE.match(text):
        name = _label(match["name"], protocol)
        return f"{name} is at least {match['low']} and below {match['high']}"
    parts = re.split(r"(\"[^\"]*\"|'[^']*')", text)
    for index in range(0, len(parts), 2):
        for sign, word in _SIGNS:
            parts[index] = parts[index].replace(sign, f"is {word}")
        parts[index] = re.sub(r"\b[a-z][a-z0-9_]*\b", lambda m: _label(m[0], protocol), parts[index])
    for index in range(1, len(parts), 2):
        parts[index] = parts[index][1:-1]
    return "".join(parts)


def _label(name: str, protocol: Protocol) -> str:
    if name == "baseline":
        return "the baseline value"
    if name in protocol.items:
        return _inside(protocol.items[name].label)
    if name in protocol.strata:
        return _inside(protocol.strata[name].label)
    return name


# --- other pieces -------------------------------------------------------------------------------------------


def eligibility(protocol: Protocol) -> tuple[list[Told], list[Told]]:
    """The criteria as sentences, those that must hold and those that exclude, each with its id in front."""
    must = [_told(f"{c.id}  {c.text}.", c) for c in protocol.eligibility.criteria if c.require is not None]
    never = [_told(f"{c.id}  {c.text}.", c) for c in protocol.eligibility.criteria if c.exclude is not None]
    return must, never


def assumptions(protocol: Protocol) -> list[Assumption]:
    """Everything that is marked as assumed, in the order of the file."""
    return [Assumption(place or "protocol", b.assumed) for place, b in blocks(protocol) if b.assumed]


def notes(protocol: Protocol) -> list[tuple[str, str]]:
    """Every note with its place (at most three parts of its path), in the order of the file, but for those on
    references."""
    found = [
        (".".join(place.split(".")[:3]) or "protocol", block.note)
        for place, block in blocks(protocol)
        if block.note
    ]
    return [
        (place, text) for place, text in found if not place.startswith(("references", "published.country"))
    ]


def schedule_of_activities(protocol: Protocol) -> Schedule:
    """Visits across, activities down. Items asked at screening only are counted in one line."""
    visits = protocol.visits
    later = {name for visit in visits if visit.period != "screening" for name in visit.collect}
    lines: list[Activity] = []

    def line(label: str, marks: Iterable[str]) -> None:
        marks = tuple(marks)
        if any(marks):
            lines.append(Activity(label, marks))

    entry = [[name for name in visit.collect if name not in later] for visit in visits]
    line("Questions and tests for eligibility and baseline", (str(len(e)) if e else "" for e in entry))
    for name in dict.fromkeys(name for visit in visits for name in visit.collect if name in later):
        label = protocol.items[name].label if name in protocol.items else name
        line(label, ("x" if name in visit.collect else "" for visit in visits))
    for activity in dict.fromkeys(a for visit in visits for a in visit.activities):
        line(capital(activity), ("x" if activity in visit.activities else "" for visit in visits))
    for name, regimen in protocol.regimens.items():
        if regimen.kind != "cycles":
            continue
        arms = listed(
            protocol.arms[arm].label for arm in protocol.arms if name in protocol.arms[arm].regimens
        )
        taking = {arm for arm in protocol.arms if name in protocol.arms[arm].regimens}
        marks = (_cycle_mark(regimen, v) if taking & set(v.arms or taking) else "" for v in visits)
        line(f"Cycle of {_regimen(regimen)} ({arms})", marks)
    return Schedule(
        tuple(visit.label for visit in visits),
        tuple(_when(visit) for visit in visits),
        tuple(_window(visit) for visit in visits),
        tuple(_arms(protocol, visit) for visit in visits),
        tuple(lines),
    )


def _cycle_mark(regimen: Regimen, visit: Visit) -> str:
    """ "due" where every visit of the line has an induction cycle due, "some" where some do, and "at goal
    review" in maintenance."""
    if visit.period == "screening":
        return ""
    marks = []
    induction, maintenance = regimen.induction, regimen.maintenance
    at = [point.day for point in visit.at or ()]
    if induction is not None:
        due = _days_of(induction.every, induction.cycles)
        hits = sum(day in due for day in at)
        if hits:
            marks.append("due" if hits == len(at) else f"{hits} of {len(at)} due")
    if maintenance is not None and (visit.every is not None or any(d >= maintenance.from_.day for d in at)):
        marks.append("if below goal" if regimen.goal and regimen.goal.direction == "up" else "if above goal")
    return ", ".join(marks)


def _when(visit: Visit) -> str:
    if visit.at is not None:
        return ", ".join(str(point) for point in visit.at)
    if visit.every is None or visit.from_ is None:
        return ""
    step, month = exact_days(visit.every), DAYS_PER["month"]
    first, second = (round_half_away((visit.from_.exact + k * step) / month) for k in (1, 2))
    named = f" (months {first}, {second} and so on)" if visit.every.unit.startswith("month") else ""
    return f"every {_per(visit.every)} after {visit.from_}{named}"


def _arms(protocol: Protocol, visit: Visit) -> str:
    return ", ".join(protocol.arms[a].label if a in protocol.arms else a for a in visit.arms or ())


def _window(visit: Visit) -> str:
    if visit.window.early.value == 0 and visit.window.late.value == 0:
        return "on the day"
    return f"-{visit.window.early} to +{visit.window.late}"


def endpoint_sentence(protocol: Protocol, endpoint: Endpoint) -> Told:
    """What counts, what competes and what ends observation."""

    def labels(kinds: Sequence[str]) -> list[str]:
        return [_inside(protocol.events[k].label) if k in protocol.events else k for k in kinds]

    what = listed(labels(endpoint.first_of), "or")
    first = (
        f"time from randomisation to the first of {what}" if len(endpoint.first_of) > 1 else f"time to {what}"
    )
    text = f"{endpoint.label} ({endpoint.role}): {first}"
    if endpoint.terms:
        text += f" (counting only: {'; '.join(endpoint.terms)})"
    if endpoint.recurrences == "left out":
        text += "; only new disease counts, not the return of one that the person had before"
    if endpoint.competing:
        text += f"; {listed(labels(endpoint.competing))} competes"
    return _told(f"{text}; observation ends at {listed(endpoint.censor_at, 'or')}.", endpoint)


def published_results(protocol: Protocol) -> list[tuple[PublishedFigure, str]]:
    """The published figures, each with its value in words ("0.91 (0.70 to 1.18), P = 0.47")."""
    return [(figure, _figure(figure)) for figure in protocol.published.values()]


def _figure(figure: PublishedFigure) -> str:
    numbers = [figure.value, *(figure.interval or ())]
    decimals = max(len(number_text(n).partition(".")[2]) for n in numbers)
    text = f"{figure.value:.{decimals}f}"
    if figure.interval is not None:
        text += f" ({figure.interval[0]:.{decimals}f} to {figure.interval[1]:.{decimals}f})"
    if figure.unit:
        text += f" {figure.unit}"
    if figure.p_value is not None:
        p = number_text(figure.p_value)
        text += f", P = {f'{figure.p_value:.2f}' if len(p) < 4 else p}"
    if figure.p_below is not None:
        text += f", P < {number_text(figure.p_below)}"
    return text


# --- the whole ----------------------------------------------------------------------------------------------


class _Page:
    """Lines of a given width."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[str] = []

    def heading(self, text: str) -> None:
        self.lines += ["", text.upper(), "-" * len(text)]

    def paragraph(self, text: str) -> None:
        self.lines += textwrap.wrap(text, self.width, break_long_words=False, break_on_hyphens=False) or [""]

    def point(self, text: str, sign: str = "-") -> None:
        indent = " " * (len(sign) + 1)
        self.lines += textwrap.wrap(
            f"{sign} {text}",
            self.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        shown = [(a, b) for a, b in pairs if b]
        left = max((len(a) for a, _ in shown), default=0) + 2
        for a, b in shown:
            wrapped = textwrap.wrap(
                b, max(20, self.width - left), break_long_words=False, break_on_hyphens=False
            ) or [""]
            self.lines.append(f"{a:<{left}}{wrapped[0]}")
            self.lines += [" " * left + line for line in wrapped[1:]]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table that fits the width: every column is wrapped to its share."""
        count = len(head)
        natural = [max(len(row[i]) for row in [head, *rows]) for i in range(count)]
        longest = [
            max(len(w) for row in [head, *rows] for w in (row[i].split() or [" "])) for i in range(count)
        ]
        room = self.width - 2 * (count - 1)
        widths = list(longest)
        while sum(widths) > room and max(widths) > NARROWEST:
            widths[widths.index(max(widths))] -= 1
        spare = room - sum(widths)
        while spare > 0 and any(widths[i] < natural[i] for i in range(count)):
            index = max(range(count), key=lambda i: natural[i] / widths[i] if widths[i] < natural[i] else 0)
            widths[index] += 1
            spare -= 1
        for number, row in enumerate([head, *rows]):
            cells = [textwrap.wrap(row[i], widths[i]) or [""] for i in range(count)]
            for depth in range(max(map(len, cells))):
                parts = [
                    (cells[i][depth] if depth < len(cells[i]) else "").ljust(widths[i]) for i in range(count)
                ]
                self.lines.append("  ".join(parts).rstrip())
            if number == 0:
                self.lines.append("  ".join("-" * width for width in widths))

    def text(self) -> str:
        return "\n".join(self.lines).strip("\n") + "\n"


def show(protocol: Protocol, width: int = WIDTH) -> str:
    """The trial in words, for a terminal of `width` columns: who, what, when, how it is judged, what is
    assumed, what came out."""
    page = _Page(width)
    page.paragraph(f"{protocol.protocol}: {protocol.title}")
    page.lines.append("=" * min(width, len(f"{protocol.protocol}: {protocol.title}")))
    page.paragraph(protocol.background)
    page.lines.append("")
    _facts(page, protocol)
    _who(page, protocol)
    _treatment(page, protocol)
    _when_what(page, protocol)
    _judged(page, protocol)
    _provenance(page, protocol)
    return page.text()


def _facts(page: _Page, protocol: Protocol) -> None:
    size, calendar, design = protocol.size, protocol.calendar, protocol.design
    people = [f"{size.planned} planned"]
    people += [f"{size.randomized} randomised"] if size.randomized else []
    people += [f"{size.analysed} analysed"] if size.analysed else []
    people += [f"{size.simulated} in a simulated trial"] if protocol.simulation else []
    power = []
    if size.primary_events:
        power.append(counted(size.primary_events, "primary event"))
    if size.power and size.hazard_ratio and size.alpha:
        power.append(
            f"{size.power:.0%} power for a hazard ratio of {number_text(size.hazard_ratio)} at a "
            f"{SIDES[protocol.monitoring.sides]} alpha of {number_text(size.alpha)}"
        )
    watch = "; ".join(monitoring_words(protocol))
    page.pairs(
        [
            ("Version", protocol.version),
            ("Registry", protocol.registry or ""),
            ("Condition", protocol.indication),
            ("Design", f"phase {design.phase}; {design.allocation}; {design.masking}"),
            ("Question", design.comparison),
            ("Sponsor", design.sponsor or ""),
            ("Participants", "; ".join(people)),
            ("Power", "; ".join(power)),
            ("Planned rates", planned_rates(protocol)),
            ("First randomised", f"{calendar.first_randomization:%d %B %Y}"),
            ("Last randomised", f"{calendar.last_randomization:%d %B %Y}"),
            ("End of follow-up", f"{calendar.end_of_follow_up:%d %B %Y}"),
            ("Monitoring", watch),
            ("Simulation", _simulation(protocol)),
            ("Blinding", protocol.monitoring.blinding or ""),
        ]
    )


def planned_rates(protocol: Protocol) -> str:
    """The rates of events and of loss that the plan counts on, in words; empty if it names none."""
    size = protocol.size
    parts = []
    if size.control_hazard is not None:
        arm = protocol.arms.get(protocol.analysis.reference_arm)
        where = f" on {arm.label}" if arm is not None else ""
        parts.append(f"{per_100_years(size.control_hazard):.4g} primary events per 100 person-years{where}")
    if size.dropout is not None:
        parts.append(f"{per_100_years(size.dropout):.4g} lost to follow-up per 100 person-years")
    return "; ".join(parts)


def monitoring_words(protocol: Protocol) -> list[str]:
    """Who watches, when they look, by which boundaries: a phrase each."""
    return [protocol.monitoring.committee, *looks_words(protocol.monitoring)]


def looks_words(plan: Looks) -> list[str]:
    """When the data are looked at, by which boundaries: a phrase each."""
    words = []
    looks = plan.schedule
    plain = [look.at for look in looks if look.model_dump(exclude_none=True).keys() == {"at"}]
    if looks and len(plain) == len(looks):
        shares = listed(f"{100 * share:.15g}%" for share in plain if share is not None)
        words.append(f"looks at {shares} of the information, {_boundary(plan)}")
    elif looks:
        words.append(f"looks {'; then '.join(_look_when(look) for look in looks)}; {_boundary(plan)}")
    if plan.futility is not None:
        kind = "binding" if plan.futility.binding else "non-binding"
        words.append(f"{kind} futility, {BOUNDARIES[plan.futility.spending]}{_parameter(plan.futility)}")
    if plan.spend_by != "information":
        by = "the share of the planned duration" if plan.spend_by == "calendar" else (
            "information or the share of the planned duration, whichever is less"
        )  # fmt: skip
        words.append(f"the error is spent by {by}")
    if plan.reporting_delay is not None:
        words.append(f"events are known {plan.reporting_delay} after they happen on average")
    if plan.distribution is not None:
        words.append(DISTRIBUTIONS[plan.distribution])
    return words


def _boundary(plan: Looks) -> str:
    return f"{BOUNDARIES[plan.spending]}{_parameter(plan)}"


def _parameter(plan: Looks | Futility) -> str:
    return "" if plan.parameter is None else f" ({number_text(plan.parameter)})"


def _look_when(look: Look) -> str:
    parts = []
    if look.at is not None:
        parts.append(f"at {100 * look.at:.15g}% of the information")
    if look.events is not None:
        parts.append(f"at {counted(look.events, 'primary event')}")
    if look.date is not None:
        parts.append(f"not before {look.date:%d %B %Y}")
    if look.after is not None:
        parts.append(f"not before {look.after} from the first randomisation")
    if look.minimum_follow_up is not None:
        parts.append(f"{look.minimum_follow_up} after the last randomisation or later")
    if look.minimum_gap is not None:
        parts.append(f"{look.minimum_gap} after the look before or later")
    if look.at_latest is not None:
        latest = (
            f"{look.at_latest} from the first randomisation"
            if isinstance(look.at_latest, Quantity)
            else f"{look.at_latest:%d %B %Y}"
        )
        parts.append(f"at the latest {latest}")
    return ", ".join(parts)


def _simulation(protocol: Protocol) -> str:
    simulation = protocol.simulation
    if simulation is None:
        return "none: no virtual population stands in for the participants"
    labels = [_inside(protocol.events[k].label) if k in protocol.events else k for k in simulation.without]
    without = f"; they do not have: {listed(labels)}" if labels else ""
    return (
        f"virtual participants of {simulation.population} ({simulation.baseline}), "
        f"{counted(simulation.sites, 'site')} in {len(simulation.accrual)} "
        f"{'country' if len(simulation.accrual) == 1 else 'countries'}{without}"
    )


def _who(page: _Page, protocol: Protocol) -> None:
    page.heading("Who may take part")
    page.paragraph(f"Screening takes at most {protocol.eligibility.within}.")
    must, never = eligibility(protocol)
    for title, group in (("All of these must hold:", must), ("None of these may hold:", never)):
        if group:
            page.lines += ["", title]
            for number, told in enumerate(group, 1):
                page.point(str(told), f"{number:3d}.")


def _treatment(page: _Page, protocol: Protocol) -> None:
    page.heading("Arms and randomisation")
    plan = protocol.randomization
    for name, arm in protocol.arms.items():
        taken = listed(_regimen(protocol.regimens[r]) for r in arm.regimens if r in protocol.regimens)
        control = ", control" if arm.control else ""
        page.point(f"{arm.label} ({name}{control}): {taken or 'nothing'}")
    ratio = ":".join(str(plan.ratio.get(arm, 0)) for arm in protocol.arms)
    how = f"Randomised {ratio} by {plan.method}"
    if plan.blocks:
        how += f" of {listed(map(str, plan.blocks), 'or')}"
    if plan.best_arm_probability is not None:
        how += (
            f", taking the arm that balances best with probability {number_text(plan.best_arm_probability)}"
        )
    page.paragraph(str(_told(f"{how}.", plan)))
    for name in plan.strata:
        stratum = protocol.strata.get(name)
        if stratum is None:
            continue
        levels = "; ".join(f"{k} ({plainly(v, protocol)})" for k, v in (stratum.levels or {}).items())
        page.point(
            str(_told(f"within strata of {_inside(stratum.label)}{': ' if levels else ''}{levels}", stratum))
        )
    for name in protocol.regimens:
        page.heading(dose_rules_heading(protocol, name))
        for told in told_dose_rules(protocol, name):
            page.point(str(told))


def _when_what(page: _Page, protocol: Protocol) -> None:
    page.heading("Schedule of activities")
    schedule = schedule_of_activities(protocol)
    rows = [["When", *schedule.times], ["Window", *schedule.windows]]
    if any(schedule.arms):
        rows.append(["Arms", *(arms or "all" for arms in schedule.arms)])
    rows += [[activity.label, *activity.marks] for activity in schedule.activities]
    page.table(["", *schedule.visits], rows)
    often = [item.label for item in protocol.items.values() if "as it happens" in item.collect]
    cycles = [item.label for item in protocol.items.values() if "cycles" in item.collect]
    if cycles:
        page.lines.append("")
        page.paragraph(f"Asked at each cycle: {'; '.join(_inside(label) for label in cycles)}.")
    if often:
        page.paragraph(f"Noted whenever it happens: {'; '.join(_inside(label) for label in often)}.")


def _judged(page: _Page, protocol: Protocol) -> None:
    page.heading("Events and endpoints")
    for event in protocol.events.values():
        terms = f" Kinds: {'; '.join(event.terms)}." if event.terms else ""
        soon = f" Reported within {event.report_within}." if event.report_within else ""
        definition = event.definition.rstrip(".")
        page.point(str(_told(f"{event.label}: {_inside(definition)}.{terms}{soon}", event)))
    page.lines.append("")
    for endpoint in protocol.endpoints.values():
        page.point(str(endpoint_sentence(protocol, endpoint)))
    page.heading("Analysis")
    plan = protocol.analysis
    reference = protocol.arms.get(plan.reference_arm)
    against = _inside(reference.label) if reference else plan.reference_arm
    page.paragraph(
        f"By {plan.population}, against {against}, with {plan.confidence:.0%} confidence intervals."
    )
    if plan.cohort:
        page.paragraph(plan.cohort)
    for analysis in plan.time_to_event:
        analysed = protocol.endpoints.get(analysis.endpoint)
        label = analysed.label if analysed else analysis.endpoint
        strata = [_inside(protocol.strata[s].label) if s in protocol.strata else s for s in analysis.strata]
        model = f"stratified by {listed(strata)}" if strata else "unstratified"
        page.point(
            str(
                _told(
                    f"{label}: log-rank test and Cox model, {model}, ties after {analysis.ties.title()}.",
                    analysis,
                )
            )
        )
        if analysis.estimand is not None:
            estimand = analysis.estimand
            events = "; ".join(f"{e.event}: {e.strategy}" for e in estimand.intercurrent_events)
            page.point(
                f"Estimand: {estimand.treatment}. Population: {estimand.population}. "
                f"Variable: {estimand.variable}. Summary: {estimand.summary}. Intercurrent events: {events}.",
                "   ",
            )
    for measure in plan.measures:
        item: Item | None = protocol.items.get(measure.measure)
        label = item.label if item else measure.measure
        scale = " on the log10 scale" if measure.transform == "log10" else ""
        page.point(
            str(
                _told(
                    f"{label}{scale}: by visit (every {_per(measure.by)}) and averaged over follow-up.",
                    measure,
                )
            )
        )
    for subgroup in plan.subgroups:
        levels = "; ".join(f"{k} ({plainly(v, protocol)})" for k, v in subgroup.levels.items())
        page.point(str(_told(f"Subgroups by {_inside(subgroup.label)}: {levels}.", subgroup)))
    if plan.safety_by is not None and plan.safety_by in protocol.events:
        page.point(f"Safety: {_inside(protocol.events[plan.safety_by].label)} by kind, in each arm.")


def _provenance(page: _Page, protocol: Protocol) -> None:
    assumed = assumptions(protocol)
    if assumed:
        page.heading("What is assumed")
        for assumption in assumed:
            page.point(f"{assumption.place}: {assumption.text}")
    noted = notes(protocol)
    if noted:
        page.heading("Notes")
        for place, text in noted:
            page.point(f"{place}: {text}")
    if protocol.published:
        page.heading("Published results")
        rows = [
            [figure.label, figure.group, value, ", ".join(source_keys(figure))]
            for figure, value in published_results(protocol)
        ]
        page.table(["Figure", "Group", "Published", "Source"], rows)
    if protocol.published_terms:
        _terms(page, protocol)
    if protocol.references:
        page.heading("Sources")
        page.pairs(_reference(key, protocol) for key in protocol.references)


def _terms(page: _Page, protocol: Protocol) -> None:
    page.lines.append("")
    kinds = dict.fromkeys(published.kind for published in protocol.published_terms)
    for kind in kinds:
        label = protocol.events[kind].label if kind in protocol.events else kind
        page.paragraph(f"{label}, participants by kind as published:")
        rows: list[Sequence[str]] = []
        for published in protocol.published_terms:
            if published.kind == kind:
                rows.append([published.term, *_counts(published.participants, protocol)])
        page.table(["", *(arm.label for arm in protocol.arms.values())], rows)


def _counts(participants: Mapping[str, int], protocol: Protocol) -> list[str]:
    return [str(participants[arm]) if arm in participants else "" for arm in protocol.arms]


def _reference(key: str, protocol: Protocol) -> tuple[str, str]:
    reference = protocol.references[key]
    return key, f"{reference.text}{': ' + reference.address if reference.address else ''}"
