"""The drawing of a design: participants and events expected over the calendar, with the looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from equipoise.design.summary import Curves, DesignSummary, LookSummary
from equipoise.protocol.quantities import DAYS_PER_MONTH, DAYS_PER_YEAR
from equipoise.report import figures as f

_DPI = 160
_MOST_MONTHS = 72
"""A trial without a calendar that lasts longer than so many months is drawn in years."""


def draw(summary: DesignSummary, curves: Curves, path: Path, kind: str) -> None:
    """Draw accrual above and events below, over one calendar, into a file; kind: ".png" or ".svg"."""
    sheet = f.Sheet(f.WIDE, narrow=False)
    place, unit = _axis(summary, curves)
    with f._style("design", sheet.size):
        canvas = sheet.figure(540.0)
        upper, lower = canvas.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 2.4], "hspace": 0.12}
        )
        upper.plot([place(day) for day in curves.days], curves.randomized, color=f.ARM[0], linewidth=2)
        upper.set_ylabel("Randomised")
        upper.set_title(summary.name, loc="left")
        _events(lower, summary, curves, place)
        lower.set_xlabel(unit)
        for axes in (upper, lower):
            axes.set_ylim(bottom=0)
        canvas.align_ylabels()
        canvas.savefig(
            path,
            format=kind.removeprefix("."),
            dpi=_DPI,
            bbox_inches="tight",
            facecolor=f.PAPER,
            metadata={"Date": None} if kind == ".svg" else None,
        )


def _axis(summary: DesignSummary, curves: Curves) -> tuple[Callable[[float], Any], str]:
    """Where a day lies on the axis of time, and what the axis is called."""
    start = summary.start
    if start is not None:
        return (lambda day: start + timedelta(days=day)), ""
    if curves.days[-1] <= _MOST_MONTHS * DAYS_PER_MONTH:
        return (lambda day: day / DAYS_PER_MONTH), "Months from the first randomisation"
    return (lambda day: day / DAYS_PER_YEAR), "Years from the first randomisation"


def _events(axes: Axes, summary: DesignSummary, curves: Curves, place: Callable[[float], Any]) -> None:
    planned = f.ARM[0]
    x = [place(day) for day in curves.days]
    interval = f"{curves.level:.0%} interval"
    axes.fill_between(x, curves.lower, curves.upper, color=planned, alpha=0.15, linewidth=0, label=interval)
    axes.plot(x, curves.events, color=planned, linewidth=2, label="Planned effect")
    axes.plot(x, curves.events_without_effect, color=f.REFERENCE, linestyle=f.DASH[1], label="No effect")
    for look in summary.looks:
        _look(axes, look, curves.days[-1], place)
    axes.set_ylabel("Events")
    axes.legend(loc="lower right")


def _look(axes: Axes, look: LookSummary, last: float, place: Callable[[float], Any]) -> None:
    """A line at the events of a look; on it the median of its date and, thick, the interval."""
    axes.axhline(look.events, color=f.MUTED, linewidth=0.8, linestyle=f.DASH[2])
    axes.annotate(
        f"look {look.number}: {look.events:.0f}",
        (0.005, look.events),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        color=f.MUTED,
    )
    low, high = look.planned.lower, look.planned.upper
    if low is None or low > last:
        return
    ends = [place(low), place(min(last, high if high is not None else last))]
    axes.plot(ends, [look.events] * 2, color=f.ARM[0], linewidth=3, solid_capstyle="butt")
    if look.planned.median is not None:
        axes.plot([place(look.planned.median)], [look.events], f.MARK[0], color=f.ARM[0])
