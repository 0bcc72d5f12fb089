"""The drawings of an explanation: regions of functional share and harm that agree with what was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, MaxNLocator
from numpy.typing import NDArray

from equipoise.report.figures import (
    ARM,
    DASH,
    INK,
    PAPER,
    Drawn,
    Sheet,
    draw,
    legend,
    legend_room,
    shorten,
    wrap,
)
from equipoise.simulate.ridge.likelihood import DROP_TWO, LEVELS

Floats = NDArray[np.float64]

SHADES = (0.62, 0.36, 0.16)
"""Opacity of the regions of 50, 80 and 95%."""
ACROSS = "Share of the induced cells that protect (φ)"
UP = "Excess hazard just after a cycle (ρ)"


@dataclass(frozen=True)
class Mark:
    """A preset in a picture."""

    name: str
    phi: float
    rho: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of functional share against harm. `below`: log likelihood less its maximum, (phi, rho)."""

    title: str
    phi: Floats
    rho: Floats
    below: Floats
    marks: tuple[Mark, ...]


def regions(
    name: str, panels: Sequence[Panel], columns: int, columns_narrow: int, height: float = 250.0
) -> Drawn:
    """Panels in rows of so many columns; on a phone of fewer."""

    def paint(sheet: Sheet) -> Canvas:
        across = columns_narrow if sheet.narrow else columns
        rows = math.ceil(len(panels) / across)
        size = sheet.size
        small = across > 2
        tall = height if not sheet.narrow else min(height, 210.0) if not small else 110.0
        gap_x, gap_y = size * 3.4, size * (3.4 if small else 4.2)
        left, right, bottom = size * 2.8, 8.0, size * 3.6
        handles = _handles(any(panel.marks for panel in panels))
        room = (sheet.width - left - right - gap_x * (across - 1)) / across
        lines = max(len(wrap(panel.title, room, size)) for panel in panels)
        title = lines * size * 1.25 + size * 0.5
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 1.4 + title
        total = top + bottom + rows * tall + (rows - 1) * (gap_y + title - size)
        canvas = sheet.figure(total)
        for k, panel in enumerate(panels):
            i, j = divmod(k, across)
            x = left + j * (room + gap_x)
            y = total - top - i * (tall + gap_y + title - size) - tall
            axes = canvas.add_axes((x / sheet.width, y / total, room / sheet.width, tall / total))
            _panel(axes, panel, size, small)
            canvas.text(
                x / sheet.width, (y + tall + size * 0.6) / total, "\n".join(wrap(panel.title, room, size)),
                ha="left", va="bottom", linespacing=1.15,
            )  # fmt: skip
        canvas.text(
            4 / sheet.width, (total - top + title + size * 0.2) / total, shorten(UP, sheet.width - 8, size),
            ha="left", va="bottom",
        )  # fmt: skip
        canvas.text(
            (left + (sheet.width - left - right) / 2) / sheet.width, size * 0.7 / total,
            shorten(ACROSS, sheet.width - 8, size), ha="center", va="bottom",
        )  # fmt: skip
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def _handles(marked: bool) -> list[Patch | Line2D]:
    words = [f"{100 * level:g}% region" for level in LEVELS]
    found: list[Patch | Line2D] = [
        Patch(facecolor=ARM[0], alpha=shade, edgecolor=ARM[0], label=text)
        for shade, text in zip(SHADES, words, strict=True)
    ]
    if marked:
        found.append(
            Line2D([], [], marker="o", color=INK, markerfacecolor=PAPER, linestyle="none", label="preset")
        )
    return found


def _panel(axes: Axes, panel: Panel, size: float, small: bool) -> None:
    x, y = np.meshgrid(panel.phi, panel.rho, indexing="ij")
    floor = min(float(panel.below.min()), -DROP_TWO[-1]) - 1.0
    edges = [floor, *(-drop for drop in reversed(DROP_TWO)), 1e-6]
    for k, shade in enumerate(reversed(SHADES)):
        axes.contourf(
            x, y, panel.below, levels=edges[k + 1 : k + 3], colors=[ARM[0]], alpha=shade, antialiased=True
        )
    axes.contour(
        x, y, panel.below, levels=edges[1:-1], colors=[ARM[0]] * 3,
        linestyles=[DASH[2], DASH[1], DASH[0]], linewidths=1.0,
    )  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.02 * panel.rho[-1], panel.rho[-1])
    axes.grid(False)
    axes.set_xticks([0, 0.5, 1] if small else [0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_major_locator(MaxNLocator(3 if small else 6))
    for mark in panel.marks:
        axes.plot(
            [mark.phi], [mark.rho], marker="o", markersize=size * 1.25, markerfacecolor=PAPER,
            markeredgecolor=INK,
            markeredgewidth=1.1, clip_on=False, zorder=5,
        )  # fmt: skip
        axes.text(
            mark.phi, mark.rho, mark.name, ha="center", va="center_baseline", fontsize=size * 0.85, zorder=6,
            clip_on=False,
        )  # fmt: skip
