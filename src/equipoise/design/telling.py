"""The design of a trial in words and tables, for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from equipoise.design.summary import DesignSummary, Ending, LookSummary, Timing
from equipoise.protocol.describing import BOUNDARIES, SIDES
from equipoise.protocol.quantities import DAYS_PER_MONTH, number_text

WIDTH = 100
_UNLIKELY = 0.5
"""A look whose events come with less than this probability is not given a date."""


def text(summary: DesignSummary) -> str:
    """The summary as plain text, ending in a line end."""
    parts = [
        _title(summary),
        _block("What is planned", _plan(summary)),
        _block("Events and power", _power(summary)),
        _block("Looks", _looks(summary)),
        _block(f"When they come, with {summary.level:.0%} intervals", _dates(summary)),
        _block("On average, stopping by these limits", _endings(summary)),
    ]
    if summary.end is not None:
        parts.append(_block("At the end of follow-up", _end(summary)))
    parts.append(_block("If it were otherwise", _scenarios(summary)))
    if summary.remarks:
        parts.append(_block("Note", [line for remark in summary.remarks for line in _sentence(remark)]))
    return "\n\n".join(parts) + "\n"


def _title(s: DesignSummary) -> str:
    return s.name if not s.title else s.title if s.title.startswith(s.name) else f"{s.name}: {s.title}"


def _block(heading: str, lines: Sequence[str]) -> str:
    return "\n".join([heading, *(f"  {line}".rstrip() for line in lines)])


# --- blocks -----------------------------------------------------------------------------------------------


def _plan(s: DesignSummary) -> list[str]:
    first, second = s.participants
    months = s.accrual_days / DAYS_PER_MONTH
    rate = (first + second) / months
    countries = f", {_count(len(s.countries), 'country', 'countries')}" if len(s.countries) > 1 else ""
    leaving = (
        f"{s.dropout[0]:.3g}"
        if s.dropout[0] == s.dropout[1]
        else f"{s.dropout[0]:.3g} ({s.reference_arm}) and {s.dropout[1]:.3g} ({s.experimental_arm})"
    )
    return _pairs(
        [
            (
                "Participants",
                f"{first + second:,} ({s.experimental_arm} {second:,}, {s.reference_arm} {first:,})",
            ),
            ("Accrual", f"{months:.1f} months, {rate:.1f} a month{countries}"),
            ("Event rate", f"{_stepwise(s.control_rates)} per 100 person-years ({s.reference_arm})"),
            ("Hazard ratio", f"{_stepwise(s.hazard_ratios)} ({s.experimental_arm} to {s.reference_arm})"),
            ("Dropout", f"{leaving} per 100 person-years"),
            ("Level", f"{SIDES[s.sides]} alpha of {number_text(s.alpha)}"),
            ("Boundary", BOUNDARIES[s.boundary] if len(s.looks) > 1 else "none: one analysis"),
            *([("Protocol", f"version {s.version}, SHA-256 {s.sha256}")] if s.sha256 is not None else []),
        ]
    )


def _power(s: DesignSummary) -> list[str]:
    rows = []
    if s.needed is not None and s.power is not None:
        rows.append((f"Needed for {s.power:.0%}", _needed(s, 1.0)))
        if s.inflation != 1:
            rows.append(("  with the looks", f"{_needed(s, s.inflation)} (x {s.inflation:.4f})"))
        if s.needed.participants is not None:
            words = f"{s.needed.participants:,} for so many by the end of follow-up"
            rows.append(("  participants", words))
    planned = "at the end of follow-up" if s.events is None else f"{s.events}"
    rows.append(("Planned events", planned))
    if s.schoenfeld_power is not None and s.freedman_power is not None:
        formulas = f"{s.schoenfeld_power:.1%} by Schoenfeld's formula, {s.freedman_power:.1%} by Freedman's"
        rows.append(("  their power", formulas))
    rows.append(
        (
            "  with the looks" if len(s.looks) > 1 else "  expected",
            f"{s.power_with_looks:.1%} (log-rank test, expected over the people at risk)",
        )
    )
    return _pairs(rows)


def _needed(s: DesignSummary, multiple: float) -> str:
    assert s.needed is not None
    ways = (
        (s.needed.schoenfeld, "by Schoenfeld's formula"),
        (s.needed.freedman, "by Freedman's"),
        (s.needed.log_rank, "by the expected log-rank"),
    )
    known = [f"{math.ceil(count * multiple - 1e-9)} {way}" for count, way in ways if count is not None]
    return ", ".join(known) or "no number: no effect is planned"


def _looks(s: DesignSummary) -> list[str]:
    futile = any(look.futility_z is not None for look in s.looks)
    sign = "±" if s.sides == 2 else ""
    head = ["look", "events", "share", "limit z", "p", "hazard ratio", "ends, effect", "ends, none"]
    if futile:
        head[6:6] = ["futility z", "hazard ratio"]
    rows = []
    for look in s.looks:
        row = [
            str(look.number),
            _events(look),
            f"{look.information:.0%}",
            "none" if look.z is None else f"{sign}{look.z:.3f}",
            "" if look.nominal_p is None else _p(look.nominal_p),
            "" if look.hazard_ratio is None else f"{look.hazard_ratio:.3f}",
            f"{look.stops:.1%}",
            f"{look.stops_without_effect:.1%}",
        ]
        if futile:
            row[6:6] = (
                ["", ""]
                if look.futility_z is None
                else [f"{look.futility_z:.3f}", f"{look.futility_hazard_ratio:.3f}"]
            )
        rows.append(row)
    return _table(head, rows)


def _dates(s: DesignSummary) -> list[str]:
    rows = [
        [
            str(look.number),
            _when(s, look.planned),
            _when(s, look.no_effect),
            f"{look.planned.randomized:,.0f}",
            f"{look.planned.person_years:,.0f}",
        ]
        for look in s.looks
    ]
    return _table(["look", "planned effect", "no effect", "randomised", "person-years"], rows)


def _when(s: DesignSummary, timing: Timing) -> str:
    if timing.reached < _UNLIKELY or timing.mean is None:
        return f"not by the end ({timing.reached:.0%} chance)" if timing.mean is not None else "perhaps never"
    if timing.lower is not None and timing.upper is not None and timing.upper - timing.lower < 0.5:
        return _day(s, timing.mean)
    start, end = ("the end" if each is None else _day(s, each) for each in (timing.lower, timing.upper))
    if s.start is None:
        start = start.removesuffix(" months")
        return f"{_day(s, timing.mean)} ({start} to {end.removesuffix(' months')})"
    return f"{_day(s, timing.mean)} ({start} to {end})"


def _endings(s: DesignSummary) -> list[str]:
    def row(name: str, ending: Ending) -> list[str]:
        return [
            name,
            f"{ending.rejects:.1%}",
            f"{ending.events:.0f}",
            "perhaps never" if ending.days is None else _day(s, ending.days),
            f"{ending.participants:,.0f}",
            f"{ending.person_years:,.0f}",
        ]

    head = ["", "benefit shown", "events", "ends", "randomised", "person-years"]
    lines = _table(head, [row("planned effect", s.planned), row("no effect", s.no_effect)])
    if s.end is not None and s.end.planned_reached is not None and s.end.planned_reached < _UNLIKELY:
        lines.append("Benefit shown: were all planned events to come. Follow-up ends before; see below.")
    return lines


def _end(s: DesignSummary) -> list[str]:
    end = s.end
    assert end is not None
    rows = [
        ("Ends", _day(s, end.day)),
        (
            "Events expected",
            f"{end.events:.0f} ({end.lower} to {end.upper}); {end.events_without_effect:.0f} without effect",
        ),
        ("Person-years", f"{end.person_years:,.0f}"),
    ]
    if end.planned_reached is not None:
        chance = end.planned_reached
        shown = "under 0.1%" if chance < 0.001 else "over 99.9%" if chance > 0.999 else f"{chance:.1%}"
        rows.append((f"{s.events} by then", f"{shown} probability"))
    looks = f"; {end.power_with_looks:.1%} with the looks before" if len(s.looks) > 1 else ""
    rows.append(("Power then", f"{end.power:.1%}{looks}"))
    if end.detectable is not None and s.power is not None:
        shown = f"a hazard ratio of {end.detectable:.3f} with {s.power:.0%} power, by Schoenfeld's formula"
        rows.append(("Could show", shown))
    return _pairs(rows)


def _scenarios(s: DesignSummary) -> list[str]:
    planned, ends = s.events is not None, s.end is not None
    head = [
        "",
        *([f"{s.events} events", "power"] if planned else []),
        *(["at the end", "power"] if ends else []),
    ]
    rows = []
    for each in s.scenarios:
        row = [each.change]
        if planned:
            day = each.events_day
            never = "not by the end" if ends else "perhaps never"
            row += [never if day is None else _day(s, day), f"{each.power:.1%}"]
        if ends and each.events_at_end is not None and each.power_at_end is not None:
            row += [f"{each.events_at_end:.0f} events", f"{each.power_at_end:.1%}"]
        rows.append(row)
    return _table(head, rows)


# --- words ------------------------------------------------------------------------------------------------


def _events(look: LookSummary) -> str:
    return f"{look.events:.0f}" if float(look.events).is_integer() else f"{look.events:.1f}"


def _p(value: float) -> str:
    return f"{value:.1e}" if value < 0.0001 else f"{value:.5f}"


def _day(s: DesignSummary, day: float) -> str:
    found = s.date(day)
    return f"{day / DAYS_PER_MONTH:.1f} months" if found is None else f"{found.day} {found:%b %Y}"


def _sentence(remark: str) -> list[str]:
    return textwrap.wrap(f"{remark[:1].upper()}{remark[1:].removesuffix('.')}.", WIDTH)


def _stepwise(pieces: Sequence[tuple[float, float]]) -> str:
    """A rate or ratio with its changes: "1, then 0.6 from 6 months"."""
    return ", then ".join(
        f"{value:.4g}" + (f" from {start / DAYS_PER_MONTH:.3g} months" if start > 0 else "")
        for start, value in pieces
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns with two spaces between; the first to the left, the others to the left under their heading."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
