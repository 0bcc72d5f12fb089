"""The drawings of a report, as SVG whose text stays text: each in two widths, for a page and for a phone.

Drawings are made in fixed colours (`INK`, `ARM`, ...), which paper keeps and which `web` turns into the
page's own, so that one drawing serves light and dark pages. Lines and marks differ in shape as well as in
colour. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.report import words as w
from equipoise.report.tables import Arms, Curve, ForestLine, Profile

INK, MUTED, GRID, PAPER, SHADE = "#1f2a37", "#5b6674", "#d5dbe2", "#fefefe", "#eef1f4"
ARM = ("#0b6a88", "#b4520b", "#6d4aa8", "#2f7d3b")
REFERENCE = "#6b5a4c"
PUBLISHED = "#b0125b"
DOSE = ("#9ecae1", "#4a98c9", "#0a4f8f", "#6a3d9a", "#d9772b", "#7f3b08")
DEATH, DISEASE, GRADE4 = "#111418", "#b3261e", "#a06a00"

VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    SHADE: "shade",
    REFERENCE: "reference",
    PUBLISHED: "published",
    DEATH: "death",
    DISEASE: "disease",
    GRADE4: "grade4",
    **{colour: f"arm{i}" for i, colour in enumerate(ARM)},
    **{colour: f"dose{i}" for i, colour in enumerate(DOSE)},
}
"""Each marker colour and the CSS variable (--c-...) that stands for it on a page."""

DASH = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (7, 1.5, 1.5, 1.5)))
MARK = ("o", "s", "^", "D")
FONT = "DejaVu Sans"

WIDE, NARROW = 760.0, 350.0
"""Width of a drawing in units; a unit is a CSS pixel on the page and a point of type."""


@dataclass(frozen=True)
class Drawn:
    """A drawing in its two widths."""

    wide: str
    narrow: str


@dataclass(frozen=True)
class Sheet:
    """What a drawing function is told: how wide it may be and how large its type is."""

    width: float
    narrow: bool

    @property
    def size(self) -> float:
        """Type size, in units."""
        return 11.0 if self.narrow else 12.5

    def figure(self, height: float) -> Canvas:
        """An empty canvas of this width and some height, in units."""
        return Canvas(figsize=(self.width / 72, height / 72), dpi=72)


@contextmanager
def _style(name: str, size: float) -> Iterator[None]:
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.family": [FONT],
        "font.size": size,
        "axes.labelsize": size,
        "xtick.labelsize": size,
        "ytick.labelsize": size,
        "legend.fontsize": size,
        "axes.titlesize": size,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "axes.unicode_minus": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "hatch.linewidth": 0.7,
        "path.simplify": False,
        "text.usetex": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _svg(canvas: Canvas, name: str) -> str:
    """The drawing as a bare SVG element: no metadata, no dates, every id its own within a page."""
    buffer = io.StringIO()
    FigureCanvasSVG(canvas).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"[ \t]*\n\s*", "\n", text)
    return re.sub(r"<g>\s*</g>\n?", "", text).strip()


def draw(name: str, painter: Callable[[Sheet], Canvas]) -> Drawn:
    """Both widths of a drawing. `name` keeps its ids apart from those of other drawings on the page."""
    out = []
    for sheet in (Sheet(WIDE, False), Sheet(NARROW, True)):
        with _style(name, sheet.size):
            out.append(_svg(painter(sheet), f"{name}-{'n' if sheet.narrow else 'w'}"))
    return Drawn(*out)


def web(svg: str, alt: str, css_class: str) -> str:
    """A drawing as a part of a page, with its words for those who cannot see it, in the page's colours."""
    for colour, variable in VARIABLES.items():
        svg = re.sub(re.escape(colour) + r"\b", f"var(--c-{variable})", svg, flags=re.I)
    svg = re.sub(r"(font-family|font): ([^;\"]*?)'?DejaVu Sans'?[^;\"]*", _font, svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' xmlns(:\w+)?="[^"]+"', "", svg)
    head, rest = svg.split(">", 1)
    match = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    width, height = (match[1], match[2]) if match else ("760", "400")
    words = escape(alt, quote=True)
    return (
        f'<svg class="{css_class}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}" '
        f'style="max-width:{float(width):.0f}px"><title>{words}</title>{rest}'
    )


def _font(match: re.Match[str]) -> str:
    """Keep size and weight, let the page choose the face."""
    return f"font: {match[2].strip()} var(--face)" if match[1] == "font" else "font-family: inherit"


def arm_colour(arms: Arms, name: str) -> str:
    """The colour of an arm; the reference arm has its own."""
    return REFERENCE if name == arms.reference else ARM[arms.names.index(name) % len(ARM)]


def _arm_line(arms: Arms, name: str) -> tuple[Any, str]:
    if name == arms.reference:
        return (0, (4, 2)), "s"
    index = arms.names.index(name)
    return (DASH[0] if index == 0 else DASH[index % len(DASH)]), MARK[index % len(MARK)] if index else "o"


def wrap(text: str, units: float, size: float) -> list[str]:
    """Lines no wider than so many units, judged by an average width of a letter (a wide face)."""
    room = max(4, int(units / (size * 0.56)))
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        while len(word) > room:
            if current:
                lines.append(current)
                current = ""
            lines.append(word[:room])
            word = word[room:]
        if current and len(current) + 1 + len(word) > room:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}".strip()
    return [*lines, current] if current or not lines else lines


def shorten(text: str, units: float, size: float) -> str:
    """The text, cut where it would be wider than so many units."""
    room = max(4, int(units / (size * 0.56)))
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _year_ticks(axes: Axes, last: float) -> None:
    step = 1 if last > 1.5 else 0.25
    axes.set_xticks(np.arange(0, last + 0.03, step))
    axes.set_xlabel("Years since randomisation")


def _below(
    axes: Axes, lines: Sequence[tuple[str, str, Sequence[tuple[float, str]]]], title: str, sheet: Sheet
) -> None:
    """Numbers below the time axis (at risk, measured): for each arm a line of label and one of numbers."""
    size = sheet.size
    height = axes.get_window_extent().height
    step = size * 1.35
    y = -(size * 4.6)
    transform = axes.get_xaxis_transform()
    axes.text(
        0,
        y / height,
        title,
        transform=axes.transAxes,
        ha="left",
        va="baseline",
        fontsize=size,
        fontweight="bold",
    )
    for label, colour, numbers in lines:
        y -= step
        axes.text(
            0,
            y / height,
            label,
            transform=axes.transAxes,
            ha="left",
            va="baseline",
            color=colour,
            fontsize=size,
        )
        y -= step
        for x, text in numbers:
            axes.text(
                x, y / height, text, transform=transform, ha="center", va="baseline", fontsize=size * 0.94
            )


def _room_below(lines: int, sheet: Sheet) -> float:
    return sheet.size * (5.2 + 2.7 * lines)


def canvas_with_axes(
    sheet: Sheet, plot_height: float, left: float, right: float, top: float, bottom: float
) -> tuple[Canvas, Axes]:
    """One plot of some height, with room around it, in units."""
    total = plot_height + top + bottom
    canvas = sheet.figure(total)
    axes = canvas.add_axes(
        (left / sheet.width, bottom / total, (sheet.width - left - right) / sheet.width, plot_height / total)
    )
    return canvas, axes


def legend(canvas: Canvas, handles: Sequence[Any], sheet: Sheet) -> None:
    """A legend at the top, in as many columns as its words leave room for."""
    for handle in handles:
        handle.set_label(shorten(handle.get_label(), sheet.width - 5 * sheet.size, sheet.size))
    canvas.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        ncols=_legend_columns([h.get_label() for h in handles], sheet),
        handlelength=2.4,
        columnspacing=1.6,
        labelspacing=0.35,
    )


def _legend_columns(labels: Sequence[str], sheet: Sheet) -> int:
    widest = max(map(len, labels), default=1) * sheet.size * 0.56 + sheet.size * 5
    return max(1, min(4, int(sheet.width / widest)))


def legend_room(labels: Sequence[str], sheet: Sheet) -> float:
    """Height that the legend takes, in units."""
    return math.ceil(len(labels) / _legend_columns(labels, sheet)) * sheet.size * 1.5 + 8


def _ticks_shown(last: float, sheet: Sheet) -> list[float]:
    step = 2.0 if sheet.narrow and last > 4 else 1.0
    return [float(x) for x in np.arange(0, math.floor(last + 0.03) + 1e-9, step)]


# --- measures over time -----------------------------------------------------------------------------------


def measure_over_time(
    name: str,
    profiles: dict[str, Profile],
    arms: Arms,
    label: str,
    unit: str,
    goals: dict[str, float],
    level: float,
) -> Drawn:
    """Means by visit and arm with their intervals, the median goal of arms that have one as a line, numbers
    measured below."""

    def paint(sheet: Sheet) -> Canvas:
        # A point where only few were measured says little and would stretch the axes. In an arm of a few
        # people there is nothing else to draw.
        most = {arm: float(p.n.max()) for arm, p in profiles.items()}
        shown = {arm: p.n >= max(min(5.0, most[arm]), 0.1 * most[arm]) for arm, p in profiles.items()}
        last = max(float(p.years[shown[arm]][-1]) for arm, p in profiles.items())
        several = len(set(goals.values())) > 1
        lines_of_goals: dict[str, tuple[float, str]] = {}
        for arm, value in goals.items():
            whose = f", {arms.label[arm]}" if several else ""
            text = f"Median goal{whose} ({w.number(value, w.places_for(value))})"
            lines_of_goals[arm if several else "all"] = (value, text)
        labels = [arms.label[a] for a in profiles] + [text for _, text in lines_of_goals.values()]
        top = legend_room(labels, sheet) + sheet.size * 1.8
        canvas, axes = canvas_with_axes(
            sheet, 250 if sheet.narrow else 320, sheet.size * 3.9, 14, top, _room_below(len(profiles), sheet)
        )
        handles: list[Any] = []
        for arm, profile in profiles.items():
            colour, (dash, mark) = arm_colour(arms, arm), _arm_line(arms, arm)
            keep = shown[arm]
            axes.fill_between(
                profile.years[keep],
                profile.lower[keep],
                profile.upper[keep],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
            axes.plot(
                profile.years[keep],
                profile.mean[keep],
                color=colour,
                linestyle=dash,
                marker=mark,
                markersize=3.0 if sheet.narrow else 4.0,
                linewidth=1.8,
            )
            handles.append(
                Line2D(
                    [],
                    [],
                    color=colour,
                    linestyle=dash,
                    marker=mark,
                    markersize=4,
                    linewidth=1.8,
                    label=arms.label[arm],
                )
            )
        for arm, (goal, label_of_goal) in lines_of_goals.items():
            style: dict[str, Any] = {
                "color": arm_colour(arms, arm) if several else INK,
                "linewidth": 1.1,
                "linestyle": (0, (2, 2)),
            }
            axes.axhline(goal, **style)
            handles.append(Line2D([], [], label=label_of_goal, **style))
        axes.set_xlim(-0.15, last + 0.15)
        axes.margins(y=0.08)
        if not unit.startswith("log"):
            low, high = axes.get_ylim()
            axes.set_ylim(0 if low < 0.6 * high else low, high)
        _year_ticks(axes, last)
        ticks = _ticks_shown(last, sheet)
        lines = []
        for arm, profile in profiles.items():
            numbers = []
            for year in ticks:
                nearest = int(np.argmin(np.abs(profile.years - year)))
                if abs(profile.years[nearest] - year) < 0.26:
                    numbers.append((year, w.count(float(profile.n[nearest]))))
            lines.append((arms.label[arm], arm_colour(arms, arm), numbers))
        _below(axes, lines, "Participants measured", sheet)
        axis_title(canvas, axes, f"{w.capital(label)} ({unit}), mean and {100 * level:g}% interval", sheet)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def axis_title(canvas: Canvas, axes: Axes, text: str, sheet: Sheet) -> None:
    """What the vertical axis shows, written level above it, so that nobody has to tilt their head."""
    bounds = axes.get_position()
    height = canvas.get_figheight() * 72
    y = bounds.y1 + sheet.size * 0.6 / height
    canvas.text(
        4 / sheet.width,
        y,
        shorten(text, sheet.width - 8, sheet.size),
        ha="left",
        va="baseline",
        fontsize=sheet.size,
    )


# --- event curves -----------------------------------------------------------------------------------------


def event_curves(
    name: str,
    curves: dict[str, Curve],
    at_risk: dict[str, dict[int, float]],
    arms: Arms,
    title: str,
    level: float,
) -> Drawn:
    """Percentage with an event over time, by arm, with intervals and the numbers at risk below.

    `curves` hold cumulative percentages as probabilities (0 to 1); `at_risk` numbers by whole year."""

    def paint(sheet: Sheet) -> Canvas:
        last = max(float(c.day[-1]) for c in curves.values()) / DAYS_PER_YEAR
        top = legend_room([arms.label[a] for a in curves], sheet) + sheet.size * 1.8
        canvas, axes = canvas_with_axes(
            sheet, 250 if sheet.narrow else 320, sheet.size * 3.4, 14, top, _room_below(len(curves), sheet)
        )
        handles = []
        for arm, curve in curves.items():
            colour, (dash, _) = arm_colour(arms, arm), _arm_line(arms, arm)
            years = curve.day / DAYS_PER_YEAR
            known = np.isfinite(curve.lower) & np.isfinite(curve.upper)
            axes.fill_between(
                years[known],
                100 * curve.lower[known],
                100 * curve.upper[known],
                step="post",
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.step(years, 100 * curve.estimate, where="post", color=colour, linestyle=dash, linewidth=1.8)
            handles.append(Line2D([], [], color=colour, linestyle=dash, linewidth=1.8, label=arms.label[arm]))
        axes.set_xlim(-0.15, last + 0.05)
        highest = max(float(np.nanmax(c.estimate)) for c in curves.values())
        axes.set_ylim(0, min(100.0, max(1.0, 100 * highest * 1.35)))
        _year_ticks(axes, last)
        lines = [
            (
                arms.label[arm],
                arm_colour(arms, arm),
                [
                    (y, w.count(n))
                    for y in _ticks_shown(last, sheet)
                    if (n := at_risk.get(arm, {}).get(int(y))) is not None
                ],
            )
            for arm in curves
        ]
        _below(axes, lines, "Number at risk", sheet)
        axis_title(canvas, axes, f"{title} (%), {100 * level:g}% interval", sheet)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


# --- forest plot ------------------------------------------------------------------------------------------


def forest(name: str, lines: Sequence[ForestLine], arms: Arms, arm: str, level: float) -> Drawn:
    """Hazard ratios with intervals, simulated (square) and published (diamond), on a logarithmic axis."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        step = size * (3.0 if sheet.narrow else 1.95)
        positions, y = [], 0.0
        for line in lines:
            positions.append(y)
            y += step * (0.75 if line.heading and sheet.narrow else 1.0)
        plot_height = y + size * 0.5
        shown = [line for line in lines if not line.heading]
        has_published = any(line.published for line in shown)
        top = legend_room(["This trial", "Published trial"][: 1 + has_published], sheet) + size * 2.6
        left = 10.0 if sheet.narrow else 352.0
        right = 12.0 if sheet.narrow else 148.0
        canvas, axes = canvas_with_axes(sheet, plot_height, left, right, top, size * 5.0)
        axes.set_xscale("log")
        axes.set_ylim(plot_height - size, -size * 1.2)
        bounds = [b for line in shown for b in (line.lower, line.upper) if b]
        bounds += [
            b for line in shown if line.published and line.published.interval for b in line.published.interval
        ]
        low, high = max(0.2, min([0.6, *bounds])), min(5.0, max([1.6, *bounds]))
        axes.set_xlim(low * 0.93, high * 1.07)
        ticks = [t for t in (0.2, 0.33, 0.5, 0.75, 1, 1.5, 2, 3, 5) if low * 0.93 <= t <= high * 1.07]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False)
        axes.axvline(1, color=MUTED, linewidth=1)
        colour = arm_colour(arms, arm)
        transform = axes.get_yaxis_transform()
        width = sheet.width - left - right
        # On a phone the words stand on the plot: a plate keeps the line at 1 from running through them.
        plate = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0} if sheet.narrow else None
        for line, at in zip(lines, positions, strict=True):
            offset = size * 0.9 if sheet.narrow and not line.heading else 0.0
            text_y = at - (size * 0.55 if sheet.narrow and not line.heading else 0.0)
            label_x = -(left - 4) / width if not sheet.narrow else 0.0
            note = f"  ({line.note})" if line.note else ""
            ratio = w.with_interval(line.estimate, line.lower, line.upper, 2)
            room = (left - 92) if not sheet.narrow else (sheet.width - 150)
            if line.heading:
                axes.text(
                    label_x,
                    at,
                    shorten(line.label + note, sheet.width * 0.9, size),
                    transform=transform,
                    ha="left",
                    va="center",
                    fontweight="bold",
                    bbox=plate,
                )
                continue
            axes.text(
                label_x,
                text_y,
                shorten(line.label, room, size),
                transform=transform,
                ha="left",
                va="center",
                bbox=plate,
            )
            if not sheet.narrow:
                axes.text(
                    -8 / width,
                    at,
                    " v ".join(c.split(" / ")[0] for c in line.counts),
                    transform=transform,
                    ha="right",
                    va="center",
                    color=MUTED,
                )
            axes.text(
                1 + (right - 4) / width if not sheet.narrow else 1.0,
                text_y,
                ratio,
                transform=transform,
                ha="right",
                va="center",
                bbox=plate,
            )
            middle = at + offset
            if line.estimate and line.lower and line.upper:
                shift = -size * 0.2 if line.published else 0.0
                axes.plot(
                    [line.lower, line.upper],
                    [middle + shift] * 2,
                    color=colour,
                    linewidth=1.6,
                    solid_capstyle="butt",
                    clip_on=True,
                )
                axes.plot([line.estimate], [middle + shift], marker="s", color=colour, markersize=size * 0.5)
            if line.published is not None:
                lower, upper = line.published.interval or (line.published.value, line.published.value)
                axes.plot(
                    [lower, upper],
                    [middle + size * 0.38] * 2,
                    color=PUBLISHED,
                    linewidth=1.2,
                    linestyle=(0, (2, 1)),
                )
                axes.plot(
                    [line.published.value],
                    [middle + size * 0.38],
                    marker="D",
                    color=PAPER,
                    markeredgecolor=PUBLISHED,
                    markersize=size * 0.45,
                    markeredgewidth=1.2,
                )
        axes.set_xlabel(f"Hazard ratio with {100 * level:g}% interval (logarithmic)")
        arrows = "← fewer events", "more events →"
        y_arrow = -(size * 4.2) / plot_height
        axes.text(
            0,
            y_arrow,
            arrows[0],
            transform=axes.transAxes,
            ha="left",
            va="center",
            color=MUTED,
            fontsize=size * 0.92,
        )
        axes.text(
            1,
            y_arrow,
            arrows[1],
            transform=axes.transAxes,
            ha="right",
            va="center",
            color=MUTED,
            fontsize=size * 0.92,
        )
        if not sheet.narrow:
            axes.text(
                -8 / width, -size * 1.3, "Events", transform=transform, ha="right", va="bottom", color=MUTED
            )
        handles = [Line2D([], [], color=colour, marker="s", markersize=6, linewidth=1.6, label="This trial")]
        if has_published:
            handles.append(
                Line2D(
                    [],
                    [],
                    color=PUBLISHED,
                    marker="D",
                    markerfacecolor=PAPER,
                    markersize=6,
                    linewidth=1.2,
                    linestyle=(0, (2, 1)),
                    label="Published trial",
                )
            )
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


# --- treatment --------------------------------------------------------------------------------------------


def cycles(name: str, counts: dict[str, list[int]], arms: Arms) -> Drawn:
    """Participants by number of cycles received."""

    def paint(sheet: Sheet) -> Canvas:
        several = len(counts) > 1
        top = (legend_room([arms.label[a] for a in counts], sheet) if several else 4) + sheet.size * 1.8
        canvas, axes = canvas_with_axes(
            sheet, 170 if sheet.narrow else 210, sheet.size * 3.6, 14, top, sheet.size * 4.2
        )
        most = max(len(c) for c in counts.values())
        width = 0.82 / len(counts)
        for i, (arm, c) in enumerate(counts.items()):
            x = np.arange(len(c)) + (i - (len(counts) - 1) / 2) * width
            axes.bar(
                x,
                c,
                width,
                color=arm_colour(arms, arm),
                hatch="" if i == 0 else "//",
                edgecolor=PAPER,
                linewidth=0.4,
            )
        step = max(1, math.ceil(most / (9 if sheet.narrow else 22)))
        axes.set_xticks(range(0, most, step))
        axes.set_xlim(-0.6, most - 0.4)
        axes.set_xlabel("Cycles received from randomisation to the end of follow-up")
        axis_title(canvas, axes, "Participants", sheet)
        if several:
            legend(
                canvas,
                [
                    Patch(
                        facecolor=arm_colour(arms, a),
                        hatch="" if i == 0 else "//",
                        edgecolor=PAPER,
                        label=arms.label[a],
                    )
                    for i, a in enumerate(counts)
                ],
                sheet,
            )
        return canvas

    return draw(name, paint)


@dataclass(frozen=True)
class Swimmer:
    """One participant's time in the trial, days since randomisation.

    `cycles`: day and dose per administration; `events`: day and one of "death", "disease", "grade 4";
    `holds`: first and last day; `end`: how observation ended, as in the table of disposition."""

    participant: int
    arm: str
    last_day: int
    end: str
    cycles: tuple[tuple[int, float], ...]
    events: tuple[tuple[int, str], ...]
    holds: tuple[tuple[int, int], ...]


EVENT_MARKS = {"disease": ("D", DISEASE), "grade 4": ("x", GRADE4), "death": ("X", DEATH)}


def _legend_of_lives(
    people: Sequence[Swimmer], dose_levels: Sequence[float], unit: str, kinds: dict[str, str], size: float
) -> list[Line2D]:
    used = {kind for p in people for _, kind in p.events}
    handles = [
        _dose_mark(i, size, label=f"Cycle, {dose:g} {unit}".rstrip()) for i, dose in enumerate(dose_levels)
    ]
    for kind, (mark, colour) in EVENT_MARKS.items():
        if kind in used:
            handles.append(_mark(mark, colour, colour, size * 0.6, kinds[kind]))
    if any(p.holds for p in people):
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (1, 1)), label="On hold"))
    handles.append(_mark(">", MUTED, MUTED, size * 0.48, "Followed to the end"))
    handles.append(_mark("o", PAPER, MUTED, size * 0.48, "Lost or withdrew"))
    return handles


def _mark(mark: str, face: str, edge: str, size: float, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=mark, color=face, markeredgecolor=edge, markersize=size, label=label
    )


def _dose_mark(level: int, size: float, label: str) -> Line2D:
    mark = _mark("o", DOSE[level % len(DOSE)], INK, size * (0.34 + 0.1 * level), label)
    mark.set_markeredgewidth(0.4)
    return mark


def swimmer(
    name: str,
    people: Sequence[Swimmer],
    arms: Arms,
    dose_levels: Sequence[float],
    unit: str,
    kinds: dict[str, str],
) -> Drawn:
    """Lives of a sample of participants, one line each: cycles coloured and sized by dose, events, end.

    `kinds` names what each mark of an event means."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        step = size * (1.25 if sheet.narrow else 1.4)
        groups: list[tuple[str, list[Swimmer]]] = [(a, [p for p in people if p.arm == a]) for a in arms.names]
        groups = [(a, sorted(g, key=lambda p: (-p.last_day, p.participant))) for a, g in groups if g]
        height = step * (len(people) + 1.35 * len(groups)) + size
        handles = _legend_of_lives(people, dose_levels, unit, kinds, size)
        top = legend_room([str(h.get_label()) for h in handles], sheet) + size * 0.5
        canvas, axes = canvas_with_axes(
            sheet, height, size * (2.6 if sheet.narrow else 3.4), 14, top, size * 3.6
        )
        last = max(p.last_day for p in people) / DAYS_PER_YEAR
        y = 0.0
        axes.set_ylim(height, -size)
        ends = {
            "completed": (">", MUTED, MUTED),
            "in follow-up": (">", MUTED, MUTED),
            "lost to follow-up": ("o", PAPER, MUTED),
            "withdrew": ("o", PAPER, MUTED),
        }
        for arm, members in groups:
            axes.text(
                -0.01 * last,
                y,
                arms.label[arm],
                ha="left",
                va="center",
                fontweight="bold",
                color=arm_colour(arms, arm),
            )
            y += step * 1.1
            for person in members:
                axes.plot(
                    [0, person.last_day / DAYS_PER_YEAR],
                    [y, y],
                    color=GRID,
                    linewidth=size * 0.42,
                    solid_capstyle="butt",
                    zorder=1,
                )
                for start, stop in person.holds:
                    axes.plot(
                        [start / DAYS_PER_YEAR, stop / DAYS_PER_YEAR],
                        [y, y],
                        color=INK,
                        linewidth=1.0,
                        linestyle=(0, (1, 1)),
                        zorder=2,
                    )
                for day, dose in person.cycles:
                    level = _level(dose, dose_levels)
                    axes.plot(
                        [day / DAYS_PER_YEAR],
                        [y],
                        marker="o",
                        color=DOSE[level % len(DOSE)],
                        markersize=size * (0.34 + 0.1 * level),
                        markeredgecolor=INK,
                        markeredgewidth=0.4,
                        zorder=3,
                    )
                for day, kind in person.events:
                    mark, colour = EVENT_MARKS[kind]
                    axes.plot(
                        [day / DAYS_PER_YEAR],
                        [y],
                        marker=mark,
                        color=colour,
                        markersize=size * 0.6,
                        markeredgecolor=colour if mark == "x" else PAPER,
                        markeredgewidth=1.6 if mark == "x" else 0.6,
                        zorder=5 if kind == "death" else 4,
                        linestyle="none",
                    )
                if person.end in ends:
                    mark, face, edge = ends[person.end]
                    axes.plot(
                        [person.last_day / DAYS_PER_YEAR],
                        [y],
                        marker=mark,
                        color=face,
                        markeredgecolor=edge,
                        markersize=size * 0.48,
                        zorder=3,
                    )
                axes.text(
                    -0.012 * last,
                    y,
                    str(person.participant),
                    ha="right",
                    va="center",
                    color=MUTED,
                    fontsize=size * 0.8,
                )
                y += step
            y += step * 0.25
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(True, axis="x")
        axes.set_xlim(0, last * 1.02)
        _year_ticks(axes, last)
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


def _level(dose: float, levels: Sequence[float]) -> int:
    return int(np.argmin([abs(dose - x) for x in levels])) if levels else 0


# --- safety -----------------------------------------------------------------------------------------------


def safety(
    name: str,
    terms: Sequence[str],
    shares: dict[str, list[float]],
    ratios: Sequence[tuple[float, float, float] | None],
    arms: Arms,
    arm: str,
    level: float,
) -> Drawn:
    """Organ classes: percentage of each arm with an event (dots) and the rate ratio with its interval.

    `shares`: percentages by arm, by term; `ratios`: estimate, lower, upper; None where undefined."""

    def paint(sheet: Sheet) -> Canvas:
        size = sheet.size
        step = size * (2.5 if sheet.narrow else 1.75)
        height = step * len(terms)
        top = legend_room([arms.label[a] for a in shares], sheet) + size * (3.2 if sheet.narrow else 1.8)
        total = height + top + size * 3.8
        canvas = sheet.figure(total)
        label_room = 8.0 if sheet.narrow else 230.0
        usable = sheet.width - label_room - 14
        first = usable * 0.5
        rectangle = (label_room / sheet.width, size * 3.8 / total, (first - 14) / sheet.width, height / total)
        left = canvas.add_axes(rectangle)
        right = canvas.add_axes(
            (
                (label_room + first + 14) / sheet.width,
                rectangle[1],
                (usable - first - 14) / sheet.width,
                rectangle[3],
            )
        )
        for axes in (left, right):
            axes.set_ylim(height - step / 2, -step / 2)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.grid(False)
        highest = max((max(s) for s in shares.values()), default=1.0)
        left.set_xlim(-0.02 * highest, max(1.0, highest * 1.08))
        for i, term in enumerate(terms):
            y = i * step
            row_y = y + (size * 0.75 if sheet.narrow else 0.0)
            left.axhline(row_y, color=GRID, linewidth=0.7)
            if sheet.narrow:
                left.text(
                    0,
                    y - size * 0.35,
                    shorten(w.capital(term), sheet.width - 20, size),
                    ha="left",
                    va="center",
                    transform=left.get_yaxis_transform(),
                )
            else:
                left.text(
                    -10 / (first - 14),
                    y,
                    shorten(w.capital(term), label_room - 14, size),
                    ha="right",
                    va="center",
                    transform=left.get_yaxis_transform(),
                )
            for other, values in shares.items():
                left.plot(
                    [values[i]],
                    [row_y],
                    marker=_arm_line(arms, other)[1],
                    color=arm_colour(arms, other),
                    markersize=size * 0.52,
                    linestyle="none",
                )
            ratio = ratios[i]
            if ratio is not None:
                estimate, low, high = ratio
                right.plot(
                    [max(low, 0.05), min(high, 20)], [row_y] * 2, color=arm_colour(arms, arm), linewidth=1.5
                )
                right.plot(
                    [estimate], [row_y], marker="o", color=arm_colour(arms, arm), markersize=size * 0.48
                )
        right.set_xscale("log")
        right.set_xlim(0.1, 10)
        ticks = [0.1, 0.33, 1, 3, 10] if sheet.narrow else [0.1, 0.2, 0.5, 1, 2, 5, 10]
        right.set_xticks(ticks, [f"{t:g}" for t in ticks])
        right.set_xticks([], minor=True)
        right.axvline(1, color=MUTED, linewidth=1)
        left.set_xlabel("Participants (%)")
        right.set_xlabel("Rate ratio" if sheet.narrow else f"Rate ratio with {100 * level:g}% interval")
        handles = [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=_arm_line(arms, a)[1],
                color=arm_colour(arms, a),
                markersize=size * 0.52,
                label=arms.label[a],
            )
            for a in shares
        ]
        legend(canvas, handles, sheet)
        return canvas

    return draw(name, paint)


# --- a published figure among simulated trials ------------------------------------------------------------


def strip(values: NDArray[np.float64], published: float, here: float | None, places: int) -> str:
    """A small histogram of the trials, the central 95% shaded, the published value a diamond, this trial a
    circle. A bare SVG of 230 x 52 units."""
    finite = np.sort(values[np.isfinite(values)])
    marks = [published] + ([here] if here is not None else [])
    low, high = float(min(finite[0], *marks)), float(max(finite[-1], *marks))
    span = (high - low) or 1.0
    low, high = low - 0.04 * span, high + 0.04 * span

    def x(value: float) -> float:
        return 6 + 218 * (value - low) / (high - low)

    if finite[0] < finite[-1]:
        counts, edges = np.histogram(finite, bins=min(30, max(8, int(math.sqrt(finite.size)) + 4)))
    else:  # every trial gave the same
        counts, edges = np.array([finite.size]), finite[0] + span * np.array([-0.01, 0.01])
    tallest = max(1, int(counts.max()))
    q1, q2 = (float(q) for q in np.quantile(finite, [0.025, 0.975]))
    parts = [
        f'<rect x="{x(q1):.1f}" y="4" width="{max(1.0, x(q2) - x(q1)):.1f}" height="32" fill="{SHADE}"/>'
    ]
    for n, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if n:
            height = 26 * int(n) / tallest
            parts.append(
                f'<rect x="{x(float(left)):.1f}" y="{36 - height:.1f}" '
                f'width="{max(0.8, x(float(right)) - x(float(left)) - 0.6):.1f}" '
                f'height="{height:.1f}" fill="{MUTED}" fill-opacity="0.55"/>'
            )
    parts.append(f'<path d="M6 36H224" stroke="{MUTED}" stroke-width="1" fill="none"/>')
    if here is not None:
        parts.append(
            f'<circle cx="{x(here):.1f}" cy="36" r="4" fill="{ARM[0]}" stroke="{PAPER}" stroke-width="1"/>'
        )
    at = x(published)
    parts.append(f'<path d="M{at:.1f} 3V36" stroke="{PUBLISHED}" stroke-width="1.5" fill="none"/>')
    parts.append(
        f'<path d="M{at:.1f} 0l4.5 4.5l-4.5 4.5l-4.5 -4.5z" '
        f'fill="{PAPER}" stroke="{PUBLISHED}" stroke-width="1.5"/>'
    )
    text_low, text_high = w.number(q1, places), w.number(q2, places)
    anchor = "text-anchor:middle;font-family:'DejaVu Sans';font-size:10px"
    x1, x2 = min(max(x(q1), 16), 190), max(min(x(q2), 214), 40)
    if x2 - x1 < 44:
        middle = (x1 + x2) / 2
        x1, x2 = max(16.0, middle - 24), min(214.0, middle + 24)
    parts.append(f'<text x="{x1:.1f}" y="49" style="{anchor}" fill="{MUTED}">{text_low}</text>')
    parts.append(f'<text x="{x2:.1f}" y="49" style="{anchor}" fill="{MUTED}">{text_high}</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="230" height="52" viewBox="0 0 230 52">'
        + "".join(parts)
        + "</svg>"
    )
