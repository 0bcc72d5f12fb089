"""The drawings of a power run: power and duration by scenario, looks, stopping, estimates.

Scenarios stand in the order of the run. Where there are too many to be named they are drawn by their numbers,
which the tables give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from equipoise.report.figures import (
    ARM,
    DASH,
    DISEASE,
    GRID,
    INK,
    MARK,
    MUTED,
    PUBLISHED,
    Drawn,
    Sheet,
    axis_title,
    canvas_with_axes,
    draw,
    legend,
    legend_room,
    shorten,
    wrap,
)
from equipoise.report.power_words import percent_of

Floats = NDArray[np.float64]

MOST_NAMED = 24
"""Scenarios that are drawn by their names."""
MOST_PANELS = 12
"""Scenarios that get a picture of their own among small ones."""
DARKEST = 0.5
"""Opacity of the strongest shade, on which ink can still be read, on light pages and on dark ones."""
REASON_COLOUR = (MUTED, ARM[0], ARM[1], DISEASE)
"""By code of the reason why a trial ended."""


@dataclass(frozen=True)
class Series:
    """One mark per scenario: low, middle, high; None where a scenario has none. No label: no legend."""

    label: str
    ranges: tuple[tuple[float, float, float] | None, ...]
    strokes: tuple[float, ...] = ()
    """A second mark of each scenario, an upright stroke."""

    def limits(self) -> list[float]:
        drawn = [x for each in self.ranges if each is not None for x in each]
        return [x for x in (*drawn, *self.strokes) if math.isfinite(x)]


@dataclass(frozen=True)
class Reference:
    """A value to compare with, and what it is."""

    value: float
    label: str


def _colour(number: int) -> str:
    return (*ARM, PUBLISHED, INK)[number % (len(ARM) + 2)]


def _handle(number: int, label: str) -> Line2D:
    return Line2D(
        [], [], color=_colour(number), marker=_mark(number), markersize=6, linewidth=1.6, label=label
    )


def _mark(number: int) -> str:
    return (*MARK, "v", "P")[number % (len(MARK) + 2)]


def _reference_style(number: int) -> dict[str, Any]:
    return {"color": INK, "linewidth": 1.1, "linestyle": (0, (2, 2)) if number == 0 else (0, (7, 2, 1.5, 2))}


def _reference_handles(references: Sequence[Reference]) -> list[Line2D]:
    return [Line2D([], [], label=r.label, **_reference_style(n)) for n, r in enumerate(references)]


def _round_ticks(most: int) -> MaxNLocator:
    return MaxNLocator(most, steps=[1, 2, 5, 10])


def _spread(values: Sequence[float], floor: float | None, ceiling: float | None) -> tuple[float, float]:
    """Ends of an axis that shows all values with some air, within bounds."""
    low, high = min(values), max(values)
    air = max(0.06 * (high - low), 0.02 * abs(high)) or 0.5
    low, high = low - air, high + air
    return (
        low if floor is None else max(floor - 0.02 * (high - low), low),
        high if ceiling is None else min(ceiling + 0.02 * (high - low), high),
    )


# --- ranges by scenario -------------------------------------------------------------------------------------


def by_scenario(
    name: str,
    labels: Sequence[str],
    series: Sequence[Series],
    title: str,
    texts: Sequence[str] = (),
    references: Sequence[Reference] = (),
    floor: float | None = None,
    ceiling: float | None = None,
) -> Drawn:
    """A mark with its range for each scenario, one row each; many scenarios side by side, by number.

    `texts`: what is written beside each row. `references`: lines across. `floor` and `ceiling`: what the axis
    does not pass."""
    if len(labels) > MOST_NAMED:
        return draw(name, lambda sheet: _columns(sheet, series, title, references, floor, ceiling))
    return draw(name, lambda sheet: _rows(sheet, labels, series, title, texts, references, floor, ceiling))


def _rows(
    sheet: Sheet,
    labels: Sequence[str],
    series: Sequence[Series],
    title: str,
    texts: Sequence[str],
    references: Sequence[Reference],
    floor: float | None,
    ceiling: float | None,
) -> Canvas:
    size = sheet.size
    left = 10.0 if sheet.narrow else 236.0
    beside = 0.0 if sheet.narrow else max((len(t) for t in texts), default=0) * size * 0.6
    right = 14.0 + beside
    names_room = (
        sheet.width - left - 14 - max((len(t) for t in texts), default=0) * size * 0.6
        if sheet.narrow
        else left - 14
    )
    named = [_lines(label, names_room, size, 2 if sheet.narrow else 3) for label in labels]
    band = size * (0.85 if len(series) > 1 else 1.1)
    marks = band * len(series)
    heights = [
        marks + len(lines) * size * 1.3 + size * 0.9
        if sheet.narrow
        else max(marks, len(lines) * size * 1.3) + size * 0.7
        for lines in named
    ]
    handles = [_handle(k, s.label) for k, s in enumerate(series) if s.label]
    handles += _reference_handles(references)
    top = (legend_room([str(h.get_label()) for h in handles], sheet) if handles else 4.0) + size * 0.6
    canvas, axes = canvas_with_axes(sheet, sum(heights), left, right, top, size * 3.8)
    values = [x for s in series for x in s.limits()] + [r.value for r in references]
    axes.set_xlim(*_spread(values, floor, ceiling))
    axes.set_ylim(sum(heights), 0)
    width = sheet.width - left - right
    y = 0.0
    for k, (lines, height) in enumerate(zip(named, heights, strict=True)):
        text_height = len(lines) * size * 1.3
        start = y + (size * 0.45 + text_height if sheet.narrow else (height - marks) / 2)
        middle = y + (size * 0.45 + text_height / 2 if sheet.narrow else height / 2)
        axes.text(
            0.0 if sheet.narrow else -(left - 6) / width, middle, "\n".join(lines),
            transform=axes.get_yaxis_transform(), ha="left", va="center", linespacing=1.15,
        )  # fmt: skip
        if k < len(texts):
            axes.text(
                1.0 if sheet.narrow else 1 + (right - 6) / width, middle, texts[k],
                transform=axes.get_yaxis_transform(), ha="right", va="center", color=INK,
            )  # fmt: skip
        if k:
            axes.axhline(y, color=GRID, linewidth=0.6)
        for n, each in enumerate(series):
            found = each.ranges[k]
            if found is not None:
                _bar(axes, found, start + band * (n + 0.5), n, size)
            if each.strokes:
                axes.plot(
                    [each.strokes[k]], [start + band * (n + 0.5)], marker="|", color=INK,
                    markersize=size * 0.95, markeredgewidth=1.6, linestyle="none", zorder=4,
                )  # fmt: skip
        y += height
    for n, reference in enumerate(references):
        axes.axvline(reference.value, zorder=1, **_reference_style(n))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.xaxis.set_major_locator(_round_ticks(5 if sheet.narrow else 9))
    axes.set_xlabel(shorten(title, sheet.width - 20, size))
    _centre_label(axes, sheet, left, right)
    if handles:
        legend(canvas, handles, sheet)
    return canvas


def _centre_label(axes: Axes, sheet: Sheet, left: float, right: float) -> None:
    """A title of the axis wider than the axis is centred on the sheet instead."""
    width = sheet.width - left - right
    if len(axes.get_xlabel()) * sheet.size * 0.56 > width:
        axes.xaxis.set_label_coords((sheet.width / 2 - left) / width, -sheet.size * 2.4 / axes.bbox.height)


def _lines(text: str, room: float, size: float, most: int) -> list[str]:
    """Lines of a name, broken after its commas where they then fit; none for no name."""
    if not text:
        return []
    letters = int(room / (size * 0.56))
    lines = [""]
    for piece in text.replace(", ", ",\n").split("\n"):
        joined = f"{lines[-1]} {piece}".strip()
        lines = [*lines[:-1], joined] if len(joined) <= letters or not lines[-1] else [*lines, piece]
    if len(lines) > most or any(len(line) > letters for line in lines):
        lines = wrap(text, room, size)
    if len(lines) > most:
        lines = [*lines[: most - 1], shorten(" ".join(lines[most - 1 :]), room, size)]
    return lines


def _bar(axes: Axes, found: tuple[float, float, float], y: float, number: int, size: float) -> None:
    low, middle, high = found
    axes.plot(
        [low, high], [y, y], color=_colour(number), linewidth=size * 0.26, solid_capstyle="butt", alpha=0.55,
        zorder=2,
    )  # fmt: skip
    axes.plot(
        [middle], [y], marker=_mark(number), color=_colour(number), markersize=size * 0.55, linestyle="none",
        zorder=3,
    )  # fmt: skip


def _columns(
    sheet: Sheet,
    series: Sequence[Series],
    title: str,
    references: Sequence[Reference],
    floor: float | None,
    ceiling: float | None,
) -> Canvas:
    size = sheet.size
    count = len(series[0].ranges)
    handles = [_handle(k, s.label) for k, s in enumerate(series) if s.label]
    handles += _reference_handles(references)
    top = (legend_room([str(h.get_label()) for h in handles], sheet) if handles else 4.0) + size * 2.0
    canvas, axes = canvas_with_axes(sheet, 240, size * 3.6, 14, top, size * 3.8)
    small = max(1.0, min(5.0, 0.6 * (sheet.width - 60) / count))
    for k, each in enumerate(series):
        x = np.array([i + 1 for i, found in enumerate(each.ranges) if found is not None], float)
        known = np.array([found for found in each.ranges if found is not None])
        axes.vlines(x, known[:, 0], known[:, 2], color=_colour(k), linewidth=small * 0.6, alpha=0.55)
        axes.plot(x, known[:, 1], color=_colour(k), marker=_mark(k), markersize=small, linestyle="none")
        if each.strokes:
            axes.plot(
                np.arange(1, count + 1), each.strokes, color=INK, marker="_", markersize=small * 1.4,
                markeredgewidth=1.2, linestyle="none",
            )  # fmt: skip
    for n, reference in enumerate(references):
        axes.axhline(reference.value, zorder=1, **_reference_style(n))
    values = [x for s in series for x in s.limits()] + [r.value for r in references]
    axes.set_ylim(*_spread(values, floor, ceiling))
    axes.set_xlim(0, count + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5 if sheet.narrow else 10, integer=True))
    axes.set_xlabel("Number of the scenario")
    axis_title(canvas, axes, title, sheet)
    if handles:
        legend(canvas, handles, sheet)
    return canvas


# --- over what is varied ------------------------------------------------------------------------------------


def curves(
    name: str,
    values: Sequence[float],
    lines: Sequence[Series],
    title: str,
    varied: str,
    references: Sequence[Reference] = (),
    floor: float | None = None,
    ceiling: float | None = None,
) -> Drawn:
    """A figure over a number that is varied; a line for each value of a second one."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        handles: list[Any] = []
        for k, line in enumerate(lines):
            if line.label:
                handle = _handle(k, line.label)
                handle.set_linestyle(DASH[k % len(DASH)])
                handles.append(handle)
        handles += _reference_handles(references)
        top = (legend_room([str(h.get_label()) for h in handles], sheet) if handles else 4.0) + size * 2.0
        canvas, axes = canvas_with_axes(sheet, 220 if sheet.narrow else 280, size * 3.6, 18, top, size * 3.8)
        span = max(values) - min(values)
        for k, line in enumerate(lines):
            # intervals at the same place stand a little apart
            aside = (k - (len(lines) - 1) / 2) * span * 0.008
            found = [(x, r) for x, r in zip(values, line.ranges, strict=True) if r is not None]
            x = np.array([each[0] for each in found])
            y = np.array([each[1] for each in found])
            axes.vlines(x + aside, y[:, 0], y[:, 2], color=_colour(k), linewidth=2.2, alpha=0.55)
            axes.plot(
                x + aside, y[:, 1], color=_colour(k), marker=_mark(k), markersize=size * 0.45,
                linestyle=DASH[k % len(DASH)], linewidth=1.4,
            )  # fmt: skip
        for n, reference in enumerate(references):
            axes.axhline(reference.value, zorder=1, **_reference_style(n))
        shown = [x for line in lines for x in line.limits()] + [r.value for r in references]
        axes.set_ylim(*_spread(shown, floor, ceiling))
        axes.yaxis.set_major_locator(_round_ticks(7))
        if len(values) <= (6 if sheet.narrow else 10):
            axes.set_xticks(list(values), [f"{v:g}" for v in values])
        axes.set_xlabel(shorten(varied, sheet.width - 20, size))
        _centre_label(axes, sheet, size * 3.6, 18)
        axis_title(canvas, axes, title, sheet)
        if handles:
            legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def over_grid(
    name: str,
    across: Sequence[str],
    down: Sequence[str],
    shares: Floats,
    texts: Sequence[Sequence[str]],
    varied: tuple[str, str],
) -> Drawn:
    """A share over two things that are varied: shaded cells with the number in each.

    `shares` and `texts`: (down, across); `varied`: what is varied across and down."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        left = min(max(len(t) for t in down) * size * 0.6 + 14, sheet.width * 0.3)
        step = size * 2.3
        canvas, axes = canvas_with_axes(sheet, step * len(down), left, 10, size * 2.2, size * 3.8)
        cell = (sheet.width - left - 10) / len(across)
        fits = max(len(t) for line in texts for t in line) * size * 0.58 < cell
        for j in range(len(down)):
            for i in range(len(across)):
                _cell(axes, i, j, float(shares[j, i]), ARM[0], texts[j][i] if fits else "", size)
        _matrix(axes, across, down, cell, size)
        axes.set_xlabel(shorten(varied[0], sheet.width - 20, size))
        _centre_label(axes, sheet, left, 10)
        axis_title(canvas, axes, varied[1], sheet)
        return canvas

    return draw(name, paint)


def _cell(axes: Axes, x: float, y: float, share: float, colour: str, text: str, size: float) -> None:
    """A shaded cell of a heat map: the share as its shade and in words."""
    if math.isfinite(share):
        axes.add_patch(
            Rectangle(
                (x - 0.5, y - 0.5), 1, 1, facecolor=colour, alpha=DARKEST * math.sqrt(share), edgecolor="none"
            )
        )
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=GRID, linewidth=0.8))
    if text:
        axes.text(x, y, text, ha="center", va="center", fontsize=size * 0.96)


def _matrix(axes: Axes, across: Sequence[str], down: Sequence[str], cell: float, size: float) -> None:
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(len(down) - 0.5, -0.5)
    widest = max(len(t) for t in across) * size * 0.58
    every = max(1, math.ceil(widest / cell))
    axes.set_xticks(list(range(0, len(across), every)), list(across)[::every])
    axes.set_yticks(list(range(len(down))), list(down))
    axes.tick_params(length=0)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)


# --- stopping -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopping:
    """How the trials of a scenario ended: `counts` (looks, reasons), and how many trials there are."""

    label: str
    counts: NDArray[np.int64]
    trials: int


def stopping(name: str, panels: Sequence[Stopping], reasons: Sequence[int], words: Sequence[str]) -> Drawn:
    """Look by reason, one panel for each scenario, with the percentage in each cell. `reasons` are the codes
    shown, `words` what they are called."""
    looks = max(len(p.counts) for p in panels)

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        names = max(len(word) for word in words) * size * 0.57 + 8
        most = 1 if sheet.narrow else max(1, int((sheet.width - 20) / (names + 44 * looks + 16)))
        columns = min(most, len(panels), 3)
        cell = min(92.0, ((sheet.width - 8) / columns - names - 16) / looks)
        step = size * 2.1
        titles = [_lines(p.label, names + cell * looks, size, 2) for p in panels]
        rows = math.ceil(len(panels) / columns)
        deep = [
            max(len(t) for t in titles[r * columns : (r + 1) * columns]) * size * 1.3 for r in range(rows)
        ]
        each = [size * 1.2 + d + step * len(reasons) + size * 1.9 for d in deep]
        total = sum(each) + 4
        canvas = sheet.figure(total)
        for k, panel in enumerate(panels):
            row, column = divmod(k, columns)
            x0 = column * (sheet.width / columns) + names + 4
            y0 = sum(each[:row]) + size * 0.8 + deep[row]
            axes = canvas.add_axes(
                (x0 / sheet.width, 1 - (y0 + step * len(reasons)) / total, cell * looks / sheet.width,
                 step * len(reasons) / total)
            )  # fmt: skip
            for j, code in enumerate(reasons):
                for i in range(len(panel.counts)):
                    n = int(panel.counts[i, code])
                    text = percent_of(n, panel.trials)
                    _cell(axes, i, j, n / panel.trials, REASON_COLOUR[code], text, size)
            _matrix(
                axes, [f"look {i + 1}" if cell > 46 else str(i + 1) for i in range(looks)], words, cell, size
            )
            canvas.text(
                (x0 - names) / sheet.width, 1 - (y0 - size * 0.5) / total, "\n".join(titles[k]), ha="left",
                va="bottom", fontweight="bold", linespacing=1.15,
            )  # fmt: skip
        return canvas

    return draw(name, paint)


def stopping_of_many(
    name: str, panels: Sequence[Stopping], reasons: Sequence[int], words: Sequence[str]
) -> Drawn:
    """Every scenario as a line: shades for how often its trials end at each look, and why."""
    looks = max(len(p.counts) for p in panels)
    kinds = [
        (code, look)
        for code in reasons
        for look in range(looks)
        if any(look < len(p.counts) and p.counts[look, code] for p in panels)
    ]

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        step = max(2.0, min(14.0, 480.0 / len(panels)))
        left = size * 3.0
        cell = min(80.0, (sheet.width - left - 10) / len(kinds))
        right = sheet.width - left - cell * len(kinds)
        canvas, axes = canvas_with_axes(sheet, step * len(panels), left, right, size * 4.4, size * 1.0)
        for j, panel in enumerate(panels):
            for i, (code, look) in enumerate(kinds):
                share = float(panel.counts[look, code]) / panel.trials if look < len(panel.counts) else 0.0
                if share > 0:
                    axes.add_patch(
                        Rectangle(
                            (i - 0.5, j - 0.5), 1, 1, facecolor=REASON_COLOUR[code], edgecolor="none",
                            alpha=0.9 * math.sqrt(share),
                        )
                    )  # fmt: skip
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.set_ylim(len(panels) - 0.5, -0.5)
        axes.xaxis.set_ticks_position("top")
        axes.set_xticks(list(range(len(kinds))), [str(look + 1) for _, look in kinds])
        ticks = _every(len(panels))
        axes.set_yticks([t - 1 for t in ticks], [str(t) for t in ticks])
        axes.tick_params(length=0)
        axes.grid(False)
        for side in axes.spines.values():
            side.set_color(GRID)
            side.set_visible(True)
        height = step * len(panels)
        start = 0
        for code, word in zip(reasons, words, strict=True):
            width = sum(kind == code for kind, _ in kinds)
            if width:
                axes.axvline(start - 0.5, color=INK, linewidth=0.8)
                axes.text(
                    start - 0.5 + width / 2, 1 + size * 2.6 / height,
                    "\n".join(_lines(word, max(cell * width, 60), size, 2)),
                    transform=axes.get_xaxis_transform(), ha="center", va="center", fontweight="bold",
                    linespacing=1.05,
                )  # fmt: skip
            start += width
        return canvas

    return draw(name, paint)


def _every(count: int) -> list[int]:
    """Numbers of scenarios that an axis shows."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if count / s <= 21)
    return [1, *range(step if step > 1 else 2, count + 1, step)]


# --- estimates ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimates:
    """The log hazard ratios of a scenario's trials, as estimated and adjusted for stopping (None where that
    is the same), and the true one."""

    label: str
    plain: Floats
    adjusted: Floats | None
    truth: float


def window(panels: Sequence[Estimates]) -> tuple[float, float]:
    """Ends of the axis of log hazard ratios: all but a few of the estimates, and the truths."""
    every = [x for p in panels for x in (p.plain, p.adjusted) if x is not None]
    ends = [np.quantile(x[np.isfinite(x)], [0.002, 0.998]) for x in every if np.isfinite(x).any()]
    truths = [p.truth for p in panels if math.isfinite(p.truth)]
    low, high = min([float(e[0]) for e in ends] + truths), max([float(e[1]) for e in ends] + truths)
    air = 0.04 * (high - low) or 0.1
    return low - air, high + air


def estimates(name: str, panels: Sequence[Estimates]) -> Drawn:
    """Histograms of the hazard ratio on a logarithmic axis: as estimated (filled), adjusted for stopping
    (line), the true one marked. One panel for each scenario, on the same axes."""
    low, high = window(panels)
    most = max(len(p.plain) for p in panels)
    edges = np.linspace(low, high, 1 + min(48, max(10, round(2 * most ** (1 / 3)))))
    adjusted = any(p.adjusted is not None for p in panels)
    bins = [
        [_percent(p.plain, edges), None if p.adjusted is None else _percent(p.adjusted, edges)]
        for p in panels
    ]
    tallest = max(float(b.max()) for pair in bins for b in pair if b is not None) or 1.0

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        columns = 1 if sheet.narrow or len(panels) == 1 else 2 if len(panels) <= 4 else 3
        handles: list[Any] = [Patch(facecolor=ARM[0], alpha=0.35, label="As estimated")]
        if adjusted:
            handles.append(Line2D([], [], color=ARM[1], linewidth=1.6, label="Adjusted for stopping"))
        handles.append(Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="True"))
        top = legend_room([str(h.get_label()) for h in handles], sheet)
        width = (sheet.width - 12) / columns
        room = 26.0
        titles = [_lines(p.label, width - 12, size, 2) for p in panels]
        rows = math.ceil(len(panels) / columns)
        plot = 130.0 if len(panels) > 1 else 210.0
        deep = [
            max(len(t) for t in titles[r * columns : (r + 1) * columns]) * size * 1.3 for r in range(rows)
        ]
        each = [size * 0.9 + d + plot + size * 1.9 for d in deep]
        total = top + sum(each) + size * 1.9
        canvas = sheet.figure(total)
        ticks = _ratio_ticks(low, high, (width - room) / (size * 4.6))
        for k, panel in enumerate(panels):
            row, column = divmod(k, columns)
            x0 = 6 + column * width + room
            y0 = top + sum(each[:row]) + size * 0.7 + deep[row]
            axes = canvas.add_axes(
                (x0 / sheet.width, 1 - (y0 + plot) / total, (width - room - 12) / sheet.width, plot / total)
            )
            first, second = bins[k]
            assert first is not None
            axes.stairs(first, edges, fill=True, color=ARM[0], alpha=0.35, linewidth=0)
            axes.stairs(first, edges, color=ARM[0], linewidth=0.9)
            if second is not None:
                axes.stairs(second, edges, color=ARM[1], linewidth=1.5)
            if math.isfinite(panel.truth):
                axes.axvline(panel.truth, color=INK, linewidth=1.6, linestyle=(0, (4, 2)))
            axes.set_xlim(low, high)
            axes.set_ylim(0, tallest * 1.08)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=tallest > 3))
            axes.set_xticks([math.log(t) for t in ticks], [f"{t:g}" for t in ticks])
            canvas.text(
                (x0 - room + 4) / sheet.width, 1 - (y0 - size * 0.5) / total, "\n".join(titles[k]), ha="left",
                va="bottom", fontweight="bold", linespacing=1.15,
            )  # fmt: skip
        canvas.text(0.5, size * 0.5 / total, _ESTIMATE_AXIS[sheet.narrow], ha="center", va="bottom")
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


_ESTIMATE_AXIS = {
    False: "Hazard ratio (logarithmic axis); height: percent of the trials in each bar",
    True: "Hazard ratio; height: % of the trials",
}


def _percent(values: Floats, edges: Floats) -> Floats:
    known = values[np.isfinite(values)]
    counts: Floats = np.histogram(known, bins=edges)[0].astype(np.float64)
    return 100 * counts / max(1, len(known))


def _ratio_ticks(low: float, high: float, most: float) -> list[float]:
    """Round hazard ratios between two logarithms, at most so many."""
    every = [
        [0.1, 0.2, 0.5, 1, 2, 5, 10],
        [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10],
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.4, 1.6, 2, 2.5, 3, 4, 5, 10],
        [round(0.05 * k, 2) for k in range(2, 60)],
    ]
    fitting = [[t for t in ticks if low <= math.log(t) <= high] for ticks in every]
    chosen = [ticks for ticks in fitting if len(ticks) <= max(2.0, most)]
    return max(chosen, key=len) if chosen else fitting[0]
