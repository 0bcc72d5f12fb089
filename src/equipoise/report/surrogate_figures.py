"""The drawings of the page about a surrogate: hazard ratios, effects over time, effects by unit,
estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from equipoise.analyse.surrogate.path import DynamicPath
from equipoise.analyse.surrogate.trial_level import TrialLevel
from equipoise.report.figures import (
    ARM,
    DASH,
    GRID,
    INK,
    MUTED,
    PAPER,
    PUBLISHED,
    Drawn,
    Sheet,
    axis_title,
    canvas_with_axes,
    draw,
    legend,
    legend_room,
    shorten,
)
from equipoise.report.power_figures import Reference, Series, by_scenario

_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class Ratio:
    """A hazard ratio with its interval, and the truth (NaN where it is not known)."""

    label: str
    estimate: float
    low: float
    high: float
    truth: float = math.nan


def ratios(name: str, lines: Sequence[Ratio]) -> Drawn:
    """Hazard ratios below each other on a log scale; an upright stroke where the truth is known."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        left = 10.0 if sheet.narrow else 250.0
        step = size * (3.0 if sheet.narrow else 2.2)
        right = 10.0 if sheet.narrow else 150.0
        known = any(math.isfinite(line.truth) for line in lines)
        handles = [
            Line2D(
                [], [], color=ARM[0], marker="o", linewidth=1.6, markersize=6, label="Estimate and interval"
            )
        ]
        if known:
            handles.append(
                Line2D(
                    [], [], color=PUBLISHED, marker="|", linestyle="none", markersize=12, markeredgewidth=2,
                    label="Truth",
                )
            )  # fmt: skip
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 0.6
        canvas, axes = canvas_with_axes(sheet, step * len(lines), left, right, top, size * 3.8)
        shown = [
            x for line in lines for x in (line.low, line.high, line.truth, line.estimate) if math.isfinite(x)
        ]
        low, high = max(0.08, min(0.8, *shown) * 0.95), min(12.0, max(1.25, *shown) * 1.05)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(len(lines), 0)
        axes.axvline(1, color=MUTED, linewidth=1, zorder=1)
        for k, line in enumerate(lines):
            y = k + (0.68 if sheet.narrow else 0.5)
            ends = [max(low, line.low), min(high, line.high)]
            axes.plot(ends, [y, y], color=ARM[0], linewidth=1.8, zorder=2)
            axes.plot([line.estimate], [y], marker="o", color=ARM[0], markersize=size * 0.5, zorder=3)
            if math.isfinite(line.truth):
                axes.plot([line.truth], [y], marker="|", color=PUBLISHED, markersize=size * 1.2,
                          markeredgewidth=2, zorder=4)  # fmt: skip
            text = f"{line.estimate:.2f} ({line.low:.2f} to {line.high:.2f})"
            place = axes.get_yaxis_transform()
            if sheet.narrow:
                # on a phone the words stand on the plot: a plate keeps lines from running through them
                plate = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
                common: dict[str, Any] = {"transform": place, "va": "center", "bbox": plate}
                axes.text(0.0, k + 0.25, shorten(line.label, sheet.width - 150, size), **common)
                axes.text(1.0, k + 0.25, text, ha="right", **common)
            else:
                width = sheet.width - left - right
                axes.text(
                    -(left - 6) / width, y, shorten(line.label, left - 14, size), transform=place, va="center"
                )
                axes.text(1 + (right - 4) / width, y, text, transform=place, va="center", ha="right")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x", color=GRID)
        ticks = [x for x in _TICKS if low <= x <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{x:g}" for x in ticks])
        axes.set_xlabel("Hazard ratio")
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


_PARTS = (
    ("total", "Total", INK),
    ("direct", "Direct, past the biomarker", ARM[1]),
    ("indirect", "Indirect, through the biomarker", ARM[0]),
)


def path(name: str, found: DynamicPath) -> Drawn:
    """Differences of cumulative hazards over time, times 100, with pointwise intervals of the parts."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        handles = [
            Line2D([], [], color=colour, linestyle=DASH[k], linewidth=1.8, label=label)
            for k, (_, label, colour) in enumerate(_PARTS)
        ]
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 2.0
        canvas, axes = canvas_with_axes(sheet, 220 if sheet.narrow else 290, size * 3.6, 14, top, size * 3.8)
        times = np.concatenate([[0.0], found.times, [found.horizon]])
        limits = []
        for k, (part, _, colour) in enumerate(_PARTS):
            band = getattr(found, part)
            value, low, high = (
                100 * np.concatenate([[0.0], x, x[-1:]]) for x in (band.value, band.low, band.high)
            )
            axes.plot(times, value, drawstyle="steps-post", color=colour, linestyle=DASH[k], linewidth=1.8)
            limits += [value.min(), value.max()]
            if part != "total":
                axes.fill_between(times, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
                limits += [float(np.nanmin(low)), float(np.nanmax(high))]
        axes.axhline(0, color=MUTED, linewidth=1)
        air = 0.06 * (max(limits) - min(limits) or 1.0)
        axes.set_ylim(min(limits) - air, max(limits) + air)
        axes.set_xlim(0, found.horizon)
        axes.set_xlabel("Years since randomisation")
        axis_title(canvas, axes, "Difference of cumulative hazards × 100", sheet)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def units(
    name: str, found: TrialLevel, marker: str, transform: str, groups: Sequence[str] | None = None
) -> Drawn:
    """Log hazard ratio of each unit over its effect on the biomarker, with the line of prediction and its
    limits. `groups`: a word for each unit; units of one word have one colour."""
    named = list(dict.fromkeys(groups)) if groups is not None else []
    palette = (*ARM, PUBLISHED)
    marks = [(each, palette[k % len(palette)]) for k, each in enumerate(sorted(named))] or [
        ("A unit", ARM[0])
    ]
    colours = [dict(marks)[each] for each in groups] if groups is not None else ARM[0]

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        handles = [
            *(
                Line2D([], [], color=colour, marker="o", linestyle="none", markersize=6, label=label)
                for label, colour in marks
            ),
            Line2D([], [], color=INK, linewidth=1.4, label="Prediction for a new unit"),
            Patch(color=INK, alpha=0.1, label="Its limits"),
        ]
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 2.0
        canvas, axes = canvas_with_axes(sheet, 220 if sheet.narrow else 290, size * 3.6, 14, top, size * 3.8)
        assert found.regression is not None
        line, low, high = found.regression
        effects = found.effects
        axes.fill_between(found.grid, low, high, color=INK, alpha=0.1, linewidth=0)
        axes.plot(found.grid, line, color=INK, linewidth=1.4)
        area = 6 + 160 * effects.events / effects.events.max()
        axes.scatter(
            effects.on_marker, effects.on_outcome, s=area, color=colours, alpha=0.7, linewidth=0, zorder=3
        )
        axes.axhline(0, color=MUTED, linewidth=1)
        reach = 1.6 * float(np.abs(effects.on_outcome).max()) + 0.1
        axes.set_ylim(max(float(low.min()), -reach), min(float(high.max()), reach))
        axes.set_xlim(float(found.grid[0]), float(found.grid[-1]))
        step = "log2, 1 is a doubling" if transform == "log2" else "difference"
        axes.set_xlabel(shorten(f"Effect on {marker} ({step})", sheet.width - 30, size))
        axis_title(canvas, axes, "Log hazard ratio", sheet)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def estimates(name: str, labels: Sequence[str], rows: pl.DataFrame, title: str) -> Drawn:
    """Median and middle 90% of the estimates in each scenario, with the truth as an upright stroke.

    rows: columns low, median, high, truth, one row for each label."""
    ranges: list[tuple[float, float, float] | None] = []
    for low, middle, high in rows.select("low", "median", "high").iter_rows():
        ranges.append((low, middle, high) if math.isfinite(middle) else None)
    strokes = tuple(rows["truth"].to_list())
    ratio = "hazard ratio" in title or "the same" in title
    return by_scenario(
        name, labels, [Series("", tuple(ranges), strokes)], title[:1].upper() + title[1:],
        references=[Reference(1.0, "no difference")] if ratio else [],
    )  # fmt: skip
