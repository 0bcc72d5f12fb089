"""Charts drawn by the server as plain SVG: shapes and text with classes of the stylesheet, no style and no
script, so that they are allowed by the content policy, print, and can be read out. `kind` is always a class
of the stylesheet and `anchor` a word of SVG, named by who draws; all words are escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover the range: steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-9)
    raw = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw * (1 - 1e-9))
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [round(k * step, 10) for k in range(first, last + 1)]


@dataclass(frozen=True)
class Axis:
    """Where numbers lie on the paper: from `low` at `start` to `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a number, rounded to a tenth."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> SafeString:
    """A straight line."""
    return SafeString(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>')


def path(points: Sequence[tuple[float, float]], kind: str, step: bool = False) -> SafeString:
    """A line through points; `step`: level until the next."""
    if not points:
        return SafeString("")
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for x, y in points[1:]:
        parts.append(f"H{x}V{y}" if step else f"L{x} {y}")
    return SafeString(f'<path d="{"".join(parts)}" class="{kind}"/>')


def text(x: float, y: float, words: object, kind: str = "", anchor: str = "start") -> SafeString:
    """Words at a place."""
    said = conditional_escape(words)
    return SafeString(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{said}</text>')


def box(x: float, y: float, width: float, height: float, kind: str) -> SafeString:
    """A rectangle."""
    width, height = round(max(width, 0), 1), round(max(height, 0), 1)
    return SafeString(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{kind}"/>')


def titled(words: str, shapes: Iterable[SafeString], href: str = "") -> SafeString:
    """Shapes with words that appear when the pointer rests on them; a link to their source."""
    said = conditional_escape(words)
    inside = f"<title>{said}</title>{joined(shapes)}"
    if href:
        return SafeString(f'<a href="{conditional_escape(href)}" aria-label="{said}">{inside}</a>')
    return SafeString(f"<g>{inside}</g>")


def joined(parts: Iterable[SafeString]) -> SafeString:
    """Parts in a row."""
    return SafeString("".join(conditional_escape(part) for part in parts))


def picture(
    name: str,
    title: str,
    description: str,
    width: int,
    height: int,
    parts: Iterable[SafeString],
    kind: str = "plot",
) -> SafeString:
    """The whole: scales with the page, says what it shows. `name` makes its identifiers unique."""
    role = format_html('role="group" aria-labelledby="{0}-title {0}-desc"', name)
    return format_html(
        '<svg viewBox="0 0 {} {}" class="{}" {} xmlns="http://www.w3.org/2000/svg">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}</svg>',
        width, height, kind, role, name, title, name, description, joined(parts),
    )  # fmt: skip
