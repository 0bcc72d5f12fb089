"""The time line of a participant as one picture: measures with goal and baseline, cycles with their doses,
holds, events, visits, today. Every mark says in words what it is, and opens its source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from django.utils.safestring import SafeString

from equipoise.conduct.pages import drawing
from equipoise.conduct.pages.addresses import address
from equipoise.conduct.pages.drawing import Axis
from equipoise.conduct.pages.tags import MONTHS, in_words, plain
from equipoise.conduct.reading.chart import Chart, Point, Series

WIDTH, LEFT, RIGHT, TOP = 1100, 64, 120, 22
MAIN_HEIGHT, OTHER_HEIGHT, GAP = 210, 70, 26
CYCLES_HEIGHT, ROW, VISITS_HEIGHT, AXIS_HEIGHT = 46, 17, 26, 34
OTHERS = 2
"""Measures drawn beside those that guide the dose."""
EVENT_ROWS = 4
LETTERS = 24
"""Longest text beside the mark of an event."""
LETTER_WIDTH = 6.2
WIDE_RATIO = 100
"""A measure whose values differ by more is drawn on a logarithmic scale."""
MARKS = {
    "early": "attended", "in window": "attended", "late": "attended", "to come": "coming", "open": "now",
    "overdue": "gone", "missed": "gone", "not done": "gone",
}  # fmt: skip


def timeline(chart: Chart) -> SafeString | str:
    """The picture; empty while nothing has happened."""
    days = _days(chart)
    if not days:
        return ""
    first, last = min(days), max(days)
    margin = max(timedelta(days=7), (last - first) / 60)
    first, last = first - margin, max(last, chart.today) + margin
    drawn = _Timeline(chart, Axis(first.toordinal(), last.toordinal(), LEFT, WIDTH - RIGHT), first, last)
    return drawn.picture()


def _days(chart: Chart) -> list[date]:
    """Every day that the picture must reach: what happened, and the next visits."""
    days = [point.on for series in chart.series for point in series.points]
    days += [cycle.until for cycle in chart.cycles] + [cycle.on for cycle in chart.cycles]
    days += [event.first for event in chart.events] + [hold.since for hold in chart.holds]
    days += [visit.on for visit in chart.visits if visit.on is not None]
    days += [visit.due for visit in chart.visits if visit.state != "to come"]
    coming = sorted(visit.due for visit in chart.visits if visit.state == "to come")
    days += coming[:2]
    if chart.header.randomized_on is not None:
        days.append(chart.header.randomized_on)
    return days


class _Timeline:
    """One picture being drawn, from top to bottom."""

    def __init__(self, chart: Chart, x: Axis, first: date, last: date) -> None:
        self.chart, self.x, self.first, self.last = chart, x, first, last
        self.parts: list[SafeString] = []
        self.y = float(TOP)
        self.number = chart.header.number

    def at(self, day: date) -> float:
        """Where a day lies."""
        return self.x(day.toordinal())

    def picture(self) -> SafeString:
        """All lanes, the axis and today's line."""
        main = [one for one in self.chart.series if one.main and one.points]
        others = [one for one in self.chart.series if not one.main and one.points][:OTHERS]
        for series in main or others[:1]:
            self._panel(series, MAIN_HEIGHT)
        for series in others if main else others[1:]:
            self._panel(series, OTHER_HEIGHT)
        if self.chart.cycles:
            self._cycles()
        if self.chart.events:
            self._events()
        self._visits()
        bottom = self.y
        self._axis(bottom)
        self._today(bottom)
        title = f"Time line of participant {self.number}"
        return drawing.picture(
            "timeline",
            title,
            self._said(),
            WIDTH,
            int(bottom + AXIS_HEIGHT),
            self.parts,
            "plot timeline-plot",
        )

    def _said(self) -> str:
        """The picture in words; the table below it has everything."""
        parts = []
        for series in self.chart.series:
            if series.points:
                parts.append(f"{len(series.points)} values of {series.label}, last {series.points[-1].words}")
        parts.append(f"{len(self.chart.cycles)} cycles" if self.chart.cycles else "")
        parts.append(f"{len(self.chart.events)} events" if self.chart.events else "")
        said = "; ".join(part for part in parts if part)
        return f"{said or 'No values yet'}. The same is in the tables below."

    def _lane(self, words: str, y: float) -> None:
        self.parts.append(drawing.text(LEFT - 8, y, words, "lane", "end"))

    # --- measures ---

    def _panel(self, series: Series, height: int) -> None:
        top, bottom = self.y, self.y + height
        scale, ticks = _scale(series, bottom, top + 12)
        self.parts.append(drawing.text(LEFT, top + 2, f"{series.label}, {series.unit}", "panel"))
        for value, words in ticks:
            place = scale(value)
            self.parts += [
                drawing.line(LEFT, place, WIDTH - RIGHT, place, "grid"),
                drawing.text(LEFT - 8, place + 4, words, "tick", "end"),
            ]
        self._hold_bands(top + 8, bottom, series.main)
        for level, kind, name in (
            (series.goal, "goal", "goal"),
            (series.baseline, "baseline", "baseline"),
        ):
            if level is not None and level > 0:
                place = scale(_scaled(series, level))
                self.parts += [
                    drawing.line(LEFT, place, WIDTH - RIGHT, place, kind),
                    drawing.text(WIDTH - RIGHT + 6, place + 4, f"{name} {plain(level)}", f"end {kind}"),
                ]
        places = [(self.at(point.on), scale(_scaled(series, point.value))) for point in series.points]
        self.parts.append(drawing.path(places, f"curve {'main' if series.main else 'other'}"))
        for point, (x, y) in zip(series.points, places, strict=True):
            self.parts.append(self._dot(point, x, y, series))
        self.y = bottom + GAP

    def _dot(self, point: Point, x: float, y: float, series: Series) -> SafeString:
        kind = f"dot {'main' if series.main else 'other'}{' below' if point.qualifier else ''}"
        shape = _circle(x, y, 4 if series.main else 3, kind)
        href = self._form(point.place) if point.place is not None else ""
        return drawing.titled(point.words, [shape], href)

    def _form(self, place: tuple[str, str]) -> str:
        return address("form", number=self.number, kind=place[0], key=place[1])

    def _hold_bands(self, top: float, bottom: float, words: bool) -> None:
        for hold in self.chart.holds:
            start = self.at(max(hold.since, self.first))
            end = self.at(min(hold.until or self.chart.today, self.last))
            until = "until today" if hold.until is None else f"until {in_words(hold.until)}"
            said = f"Hold: {hold.text}, from {in_words(hold.since)} {until}"
            shapes = [drawing.box(start, top, max(end - start, 2), bottom - top, "hold")]
            if words:
                shapes.append(drawing.text(start + 3, top + 10, "hold", "hold-word"))
            self.parts.append(drawing.titled(said, shapes))

    # --- lanes ---

    def _cycles(self) -> None:
        top, base = self.y, self.y + CYCLES_HEIGHT - 16
        self._lane("Cycles", base - 4)
        highest = max(cycle.dose for cycle in self.chart.cycles) or 1.0
        free = 0.0
        for cycle in self.chart.cycles:
            x, width = self.at(cycle.on), max(self.at(cycle.until) - self.at(cycle.on), 6.0)
            height = 6 + 20 * cycle.dose / highest
            kind = "cycle" if not cycle.missed and not cycle.open else "cycle partly"
            shapes = [drawing.box(x, round(base - height, 1), width, height, kind)]
            dose = plain(cycle.dose)
            if x >= free:
                shapes.append(drawing.text(x, base + 12, dose, "dose"))
                free = x + LETTER_WIDTH * len(dose) + 6
            href = address("injections", number=self.number, regimen=cycle.regimen, cycle=cycle.number)
            said = f"{cycle.words}, {in_words(cycle.on)}, {cycle.phase}"
            self.parts.append(drawing.titled(said, shapes, href))
        unit = self.chart.cycles[0].unit
        self.parts.append(drawing.text(WIDTH - RIGHT + 6, base + 12, unit, "tick"))
        self.parts.append(drawing.line(LEFT, base, WIDTH - RIGHT, base, "axis"))
        self.y = top + CYCLES_HEIGHT + 8

    def _events(self) -> None:
        ends = [0.0]
        marks = []
        for event in self.chart.events:
            x = self.at(event.first)
            words = event.term or event.label
            short = words if len(words) <= LETTERS else words[: LETTERS - 1] + "…"
            row = next((place for place, end in enumerate(ends) if x >= end), len(ends))
            if row >= EVENT_ROWS:
                row, short = EVENT_ROWS - 1, ""
            while len(ends) <= row:
                ends.append(0.0)
            ends[row] = max(ends[row], x + 12 + LETTER_WIDTH * len(short) + 6)
            marks.append((event, x, row, short))
        self._lane("Events", self.y + 10)
        for event, x, row, short in marks:
            y = self.y + row * ROW + 6
            kind = "event serious" if event.serious else "event"
            grade = f", grade {event.grade}" if event.grade is not None else ""
            serious = ", serious" if event.serious else ""
            said = f"{event.label}: {event.term}{grade}{serious}, {in_words(event.onset)}"
            shapes = [_diamond(x, y, 5, kind)]
            if short:
                shapes.append(drawing.text(x + 9, y + 4, short, "event-word"))
            href = address("event", number=self.number, event=str(event.id))
            self.parts.append(drawing.titled(said, shapes, href))
        self.y += len(ends) * ROW + 10

    def _visits(self) -> None:
        self._lane("Visits", self.y + 12)
        y = self.y + 8
        for visit in self.chart.visits:
            day = visit.on or visit.due
            if not self.first <= day <= self.last:
                continue
            x, mark = self.at(day), MARKS[visit.state]
            if mark == "attended":
                shape = _circle(x, y, 4, "visit attended")
            elif mark == "gone":
                shape = drawing.joined(
                    [
                        drawing.line(x - 4, y - 4, x + 4, y + 4, "visit gone"),
                        drawing.line(x - 4, y + 4, x + 4, y - 4, "visit gone"),
                    ]
                )
            else:
                shape = _circle(x, y, 4, f"visit {mark}")
            said = f"{visit.name}, {visit.state}, {'on' if visit.on else 'due'} {in_words(day)}"
            self.parts.append(drawing.titled(said, [shape], self._form(visit.place)))
        self.y += VISITS_HEIGHT

    # --- frame ---

    def _axis(self, bottom: float) -> None:
        self.parts.append(drawing.line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"))
        for day, words in _calendar(self.first, self.last):
            x = self.at(day)
            self.parts += [
                drawing.line(x, bottom, x, bottom + 4, "axis"),
                drawing.text(x, bottom + 17, words, "tick", "middle"),
            ]
        start = self.chart.header.randomized_on
        if start is not None:
            x = self.at(start)
            self.parts += [
                drawing.line(x, TOP, x, bottom, "start"),
                drawing.text(x + 3, bottom + 30, "randomised", "tick"),
            ]

    def _today(self, bottom: float) -> None:
        x = self.at(self.chart.today)
        self.parts += [
            drawing.line(x, TOP - 8, x, bottom, "today"),
            drawing.text(x, TOP - 11, "today", "today-word", "middle"),
        ]


def _circle(x: float, y: float, radius: float, kind: str) -> SafeString:
    return SafeString(f'<circle cx="{x}" cy="{y}" r="{radius}" class="{kind}"/>')


def _diamond(x: float, y: float, size: float, kind: str) -> SafeString:
    points = f"{x},{y - size} {x + size},{y} {x},{y + size} {x - size},{y}"
    return SafeString(f'<polygon points="{points}" class="{kind}"/>')


def _is_wide(series: Series) -> bool:
    values = [point.value for point in series.points if point.value > 0]
    return bool(values) and len(values) == len(series.points) and max(values) / min(values) > WIDE_RATIO


def _scaled(series: Series, value: float) -> float:
    return math.log10(value) if _is_wide(series) else value


def _scale(series: Series, low_end: float, high_end: float) -> tuple[Axis, list[tuple[float, str]]]:
    """The axis of a panel, and its ticks with their words."""
    values = [point.value for point in series.points]
    values += [one for one in (series.goal, series.baseline) if one is not None and one > 0]
    if _is_wide(series):
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        step = max(1, (high - low) // 3)
        marks = [(float(power), f"{10**power:,}".replace(",", " ")) for power in range(low, high + 1, step)]
        return Axis(low, max(high, low + 1), low_end, high_end), marks
    ticks = drawing.nice_ticks(
        min(0.0, *values) if min(values) < 0.5 * max(values) else 0.9 * min(values), max(values), 4
    )
    return Axis(ticks[0], ticks[-1], low_end, high_end), [(tick, f"{tick:g}") for tick in ticks]


def _calendar(first: date, last: date) -> Sequence[tuple[date, str]]:
    """First days of months or years, as many as can be read."""
    months = (last.year - first.year) * 12 + last.month - first.month
    step = next((one for one in (1, 2, 3, 6, 12, 24) if months / one <= 12), 24)
    found: list[tuple[date, str]] = []
    for place in range(first.year * 12 + first.month, last.year * 12 + last.month):
        year, month = divmod(place, 12)
        if (month % step) == 0:
            found.append((date(year, month + 1, 1), f"{MONTHS[month][:3]} {year}"))
    return found


def as_table(chart: Chart) -> list[tuple[date, str, str]]:
    """Everything on the picture as rows: date, kind, words."""
    rows: list[tuple[date, str, Any]] = []
    for series in chart.series:
        rows += [(point.on, series.label, point.words) for point in series.points]
    rows += [(cycle.on, "Cycle", f"{cycle.words}, {cycle.phase}") for cycle in chart.cycles]
    rows += [(event.first, "Event", f"{event.label}: {event.term}") for event in chart.events]
    rows += [(hold.since, "Hold", hold.text) for hold in chart.holds]
    rows += [(visit.on or visit.due, "Visit", f"{visit.name}: {visit.state}") for visit in chart.visits]
    return sorted(rows, key=lambda row: (row[0], row[1]))
