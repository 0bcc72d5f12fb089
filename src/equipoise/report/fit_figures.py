"""The drawings of a fit: estimates beside file and priors, directions, profiles, predictive checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from equipoise.report.figures import (
    ARM,
    GRID,
    INK,
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


@dataclass(frozen=True)
class Line:
    """One row of a picture: its name, an interval with a middle, and a second mark."""

    name: str
    low: float
    middle: float
    high: float
    mark: float = math.nan
    hollow: bool = False
    wide: tuple[float, float] | None = None
    """A wider, thinner interval behind it: a prior."""


@dataclass(frozen=True)
class Legend:
    """What the parts of a `Line` mean; None where a picture has none of them."""

    interval: str
    mark: str
    wide: str | None = None
    hollow: str | None = None


def lines(name: str, drawn: Sequence[Line], title: str, told: Legend, zero: bool = True) -> Drawn:
    """Intervals one below the other, each with its mark; a line at zero."""
    return draw(name, lambda sheet: _lines(sheet, drawn, title, told, zero))


def _lines(sheet: Sheet, drawn: Sequence[Line], title: str, told: Legend, zero: bool) -> Canvas:
    size = sheet.size
    left = 10.0 if sheet.narrow else 330.0
    room = sheet.width - left - 16 if sheet.narrow else left - 16
    names = [wrap(line.name, room, size) for line in drawn]
    heights = [len(n) * size * 1.25 + size * (1.7 if sheet.narrow else 0.7) for n in names]
    handles = _line_handles(told)
    top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 0.6
    canvas, axes = canvas_with_axes(sheet, sum(heights), left, 16, top, size * 3.6)
    y = 0.0
    for line, lines_of_name, height in zip(drawn, names, heights, strict=True):
        words = len(lines_of_name) * size * 1.25
        middle = y + (words + size * 0.9 if sheet.narrow else height / 2)
        where = y + size * 0.25 + words / 2 if sheet.narrow else height / 2 + y
        axes.text(
            0.0 if sheet.narrow else -(left - 6) / (sheet.width - left - 16), where,
            "\n".join(lines_of_name), transform=axes.get_yaxis_transform(), ha="left", va="center",
            linespacing=1.15,
        )  # fmt: skip
        if y > 0:
            axes.axhline(y, color=GRID, linewidth=0.6)
        _one(axes, line, middle, size)
        y += height
    axes.set_ylim(y, 0)
    if zero:
        axes.axvline(0, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.set_xlabel(shorten(title, sheet.width - 20, size))
    if not sheet.narrow and len(title) * size * 0.56 > sheet.width - left - 16:
        axes.xaxis.set_label_coords((sheet.width / 2 - left) / (sheet.width - left - 16), -size * 2.4 / y)
    legend(canvas, handles, sheet)
    return canvas


def _one(axes: Axes, line: Line, y: float, size: float) -> None:
    plot = axes.plot
    colour = ARM[1] if line.hollow else ARM[0]
    if line.wide is not None:
        plot(line.wide, [y, y], color=MUTED, linewidth=1.0, zorder=2)
        for end in line.wide:
            plot([end], [y], marker="|", color=MUTED, markersize=size * 0.5, linestyle="none", zorder=2)
    plot([line.low, line.high], [y, y], color=colour, linewidth=size * 0.28, alpha=0.55, zorder=3,
         solid_capstyle="butt")  # fmt: skip
    face = "none" if line.hollow else colour
    plot([line.middle], [y], marker="s" if line.hollow else "o", color=colour, markerfacecolor=face,
         markersize=size * 0.5, linestyle="none", zorder=4)  # fmt: skip
    if math.isfinite(line.mark):
        plot([line.mark], [y], marker="D", color=PUBLISHED, markersize=size * 0.5, linestyle="none", zorder=5)


def _line_handles(told: Legend) -> list[Line2D]:
    found = [Line2D([], [], color=ARM[0], marker="o", markersize=5, linewidth=2.4, label=told.interval)]
    if told.hollow:
        found.append(
            Line2D([], [], color=ARM[1], marker="s", markerfacecolor="none", markersize=5, linewidth=2.4,
                   label=told.hollow)
        )  # fmt: skip
    if told.mark:
        found.append(
            Line2D([], [], color=PUBLISHED, marker="D", markersize=5, linestyle="none", label=told.mark)
        )
    if told.wide:
        found.append(Line2D([], [], color=MUTED, marker="|", markersize=6, linewidth=1.0, label=told.wide))
    return found


def loadings(
    name: str, rows: Sequence[str], seen: Sequence[float], weights: Sequence[Sequence[float]], flat: float
) -> Drawn:
    """Rows against directions: the larger the mark, the larger the loading; filled up, hollow down. Above
    each direction, how far the figures see it. `weights`: by direction."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        shown = len(seen) if not sheet.narrow else min(len(seen), 6)
        left = size * 0.6 * (max(map(len, rows)) + 1)
        left = min(left, 150.0) if sheet.narrow else left
        step = size * 1.6
        handles = [
            Line2D([], [], color=ARM[0], marker="o", markersize=8, linestyle="none", label="moves up"),
            Line2D([], [], color=ARM[1], marker="s", markerfacecolor="none", markersize=8, linestyle="none",
                   label="moves down"),
        ]  # fmt: skip
        top = legend_room(["moves down"] * 2, sheet) + size * 3.4
        canvas, axes = canvas_with_axes(sheet, step * len(rows), left, 14, top, size * 3.6)
        for k in range(shown):
            for r, weight in enumerate(weights[k][: len(rows)]):
                if abs(weight) < 0.05:
                    continue
                up = weight > 0
                axes.plot(
                    [k + 1], [r], marker="o" if up else "s", color=ARM[0] if up else ARM[1],
                    markerfacecolor=ARM[0] if up else "none", linestyle="none",
                    markersize=size * 1.15 * math.sqrt(abs(weight)),
                )  # fmt: skip
            axes.text(k + 1, -0.85, f"{seen[k]:.2f}" if seen[k] < 10 else f"{seen[k]:.0f}", ha="center",
                      va="bottom", fontsize=size * 0.9,
                      color=PUBLISHED if seen[k] < flat else INK)  # fmt: skip
        axes.set_xlim(0.5, shown + 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [shorten(r, left, size) for r in rows])
        axes.set_xticks(range(1, shown + 1))
        axes.set_xlabel("Direction, the least seen first")
        axes.tick_params(length=0)
        axes.grid(True, axis="both", color=GRID, linewidth=0.5)
        title = "Standard errors that a plausible step moves the figures by"
        below = legend_room(["moves down"] * 2, sheet) + size * 1.4
        canvas.text(
            4 / sheet.width, 1 - below / (canvas.get_figheight() * 72),
            shorten(title, sheet.width - 8, size), ha="left", va="baseline", fontsize=size,
        )  # fmt: skip
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def profile(
    name: str, values: Sequence[float], rises: Sequence[float], estimate: float, file: float, limit: float,
    label: str, logarithmic: bool,
) -> Drawn:  # fmt: skip
    """The calibrated rise of the sum of squares over the values of one row."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        handles = [
            Line2D([], [], color=ARM[0], marker="o", markersize=5, linewidth=1.6, label="others refitted"),
            Line2D([], [], color=INK, linestyle=(0, (2, 2)), linewidth=1.1, label=f"{limit:.2f} (95%)"),
            Line2D([], [], color=MUTED, linestyle=(0, (7, 2, 1.5, 2)), linewidth=1.1, label="estimate"),
            Line2D([], [], color=PUBLISHED, marker="D", markersize=5, linestyle="none", label="in the file"),
        ]  # fmt: skip
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 2.0
        canvas, axes = canvas_with_axes(sheet, 190 if sheet.narrow else 230, size * 3.6, 18, top, size * 3.8)
        axes.plot(values, rises, color=ARM[0], marker="o", markersize=size * 0.4, linewidth=1.6)
        axes.axhline(limit, color=INK, linestyle=(0, (2, 2)), linewidth=1.1)
        axes.axvline(estimate, color=MUTED, linestyle=(0, (7, 2, 1.5, 2)), linewidth=1.1)
        axes.plot([file], [0], marker="D", color=PUBLISHED, markersize=size * 0.5, linestyle="none", zorder=5)
        if logarithmic:
            axes.set_xscale("log")
            ticks = sorted(values)[:: 4 if sheet.narrow else 2]
            axes.set_xticks(ticks, [f"{float(f'{t:.3g}'):g}" for t in ticks])
            axes.set_xticks([], minor=True)
        axes.set_ylim(-0.4, max(*rises, limit * 1.3) * 1.05)
        axes.set_xlabel(shorten(label, sheet.width - 20, size))
        axis_title(canvas, axes, "Calibrated rise of the sum of squares", sheet)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)
