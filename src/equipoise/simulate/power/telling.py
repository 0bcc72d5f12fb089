"""A power run in words and small tables, for a terminal. Every figure comes with its Monte Carlo error."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from equipoise.simulate.power.characteristics import Figure, Summary

_WIDTH = 100
_OVERVIEW = (
    ("power", "power", 100.0, "%"),
    ("shown to harm", "harm", 100.0, "%"),
    ("stopped before the final analysis", "stopped early", 100.0, "%"),
    ("duration", "years", 1.0, ""),
    ("participants randomised", "participants", 1.0, ""),
    ("primary events", "events", 1.0, ""),
    ("cycles per participant", "cycles", 1.0, ""),
    ("biomarker wins, endpoint does not", "marker only", 100.0, "%"),
)
"""Figures shown for every scenario: name, heading, factor, sign."""
_SECTIONS = {
    "decision": "Decision",
    "stopping": "Stopping",
    "duration": "Duration and size",
    "estimate": "Estimate",
    "biomarker": "Biomarker",
    "treatment": "Treatment",
    "safety": "Safety",
}
FIRST_LOOK = "look 1: reached"
"""No trial can end before it."""
_SHARES = ("decision", "stopping")
MOST_ROWS = 40


def told(summary: Summary) -> str:
    """The run as text of about 100 columns: one scenario in full, several side by side."""
    saved = summary.saved
    counts = [trials.count for trials in summary.trials]
    each = f"{counts[0]:,} trials" if len(set(counts)) == 1 else f"{min(counts):,} to {max(counts):,} trials"
    lines = [
        f"{each} of each scenario, seed {saved.seed}" if len(counts) > 1 else f"{each}, seed {saved.seed}"
    ]
    lines[0] += "; ± is the Monte Carlo standard error"
    lines.append("")
    if len(counts) == 1:
        lines += _in_full(summary.figures[0], counts[0])
    else:
        lines += _side_by_side(summary)
        lines += _compared(summary)
    return "\n".join(lines).rstrip() + "\n"


def with_error(value: float, error: float, sign: str = "") -> str:
    """`12.3% ± 0.4`: the value to the digit that its error reaches."""
    if math.isnan(value):
        return "not known"
    if math.isnan(error):
        return f"{_rounded(value, 3)}{sign}"
    if error <= 0:
        return f"{_rounded(value, 2 if sign else 3)}{sign} ± 0"
    digits = min(max(0, 1 - math.floor(math.log10(error))), 6)
    return f"{value:.{digits}f}{sign} ± {error:.{digits}f}"


def _rounded(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if value else "0"


def shown_share(figure: Figure, n: int) -> str:
    """A share in per cent; where it happened in none or in all of n trials, the 95% limit (the rule of three:
    Hanley & Lippman-Hand, JAMA 1983), unless it cannot be otherwise."""
    if figure.name == FIRST_LOOK and figure.value == 1:
        return "100% (by design)"
    if n > 0 and figure.value == 0:
        return f"0% (below {with_error(300 / n, math.nan)}%)"
    if n > 0 and figure.value == 1:
        return f"100% (above {with_error(100 - 300 / n, math.nan)}%)"
    return with_error(100 * figure.value, 100 * figure.error, "%")


def _in_full(figures: Sequence[Figure], n: int) -> list[str]:
    lines = []
    for section, title in _SECTIONS.items():
        mine = [f for f in figures if f.section == section and not _empty(f)]
        if not mine:
            continue
        lines.append(title)
        for figure in mine:
            sign = "%" if _is_share(figure) else ""
            shown = shown_share(figure, n) if sign else with_error(figure.value, figure.error)
            unit = f" {figure.unit}" if figure.unit else ""
            lines.append(f"  {figure.name:<62} {shown}{unit}")
        lines.append("")
    return lines


def _is_share(figure: Figure) -> bool:
    return figure.section in _SHARES or figure.name.startswith(
        ("coverage", "biomarker wins", "both win", "starting", "escalated", "reduced")
    ) or figure.name.endswith(("takes place", "difference of shares"))  # fmt: skip


def _empty(figure: Figure) -> bool:
    """Not worth a line: unknown, or a way of stopping that the design does not have."""
    return math.isnan(figure.value) or (figure.section == "stopping" and figure.value == 0)


def _side_by_side(summary: Summary) -> list[str]:
    columns = [
        (name, heading, factor, sign)
        for name, heading, factor, sign in _OVERVIEW
        if any(f.name == name and not math.isnan(f.value) for f in summary.figures[0])
    ]
    rows = [["", *(heading for _, heading, _, _ in columns)]]
    entries = summary.saved.scenarios
    both = list(zip(entries, summary.figures, summary.trials, strict=True))
    for entry, figures, trials in both[:MOST_ROWS]:
        known = {f.name: f for f in figures}
        cells = [
            shown_share(known[name], trials.count)
            if sign
            else with_error(factor * known[name].value, factor * known[name].error)
            for name, _, factor, sign in columns
        ]
        rows.append([entry.name, *cells])
    lines = _table(rows)
    if len(entries) > MOST_ROWS:
        lines.append(f"  … and {len(entries) - MOST_ROWS} more: see the page and the tables")
    return [*lines, ""]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, the first to the left and wrapped, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    widths[0] = min(widths[0], max(24, _WIDTH - sum(width + 2 for width in widths[1:])))
    lines = []
    for row in rows:
        first = textwrap.wrap(row[0], widths[0]) or [""]
        rest = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines += [*(f"{part}" for part in first[:-1]), f"{first[-1]:<{widths[0]}}{rest}".rstrip()]
    return lines


def _compared(summary: Summary) -> list[str]:
    entries = summary.saved.scenarios
    lines = [f"Compared with “{entries[0].name}”, on the same virtual people (error of independent trials):"]
    for entry, differences in list(zip(entries, summary.differences, strict=True))[1:MOST_ROWS]:
        known = {d.name: d for d in differences}
        parts = []
        for name, factor, sign in (("power", 100.0, " points"), ("duration", 1.0, " years")):
            if name in known:
                d = known[name]
                value = with_error(factor * d.value, factor * d.error)
                shown = f"{'+' if d.value >= 0 else ''}{value}{sign}"
                parts.append(f"{name} {shown} ({factor * d.unpaired:.2g})")
        lines.append(f"  {entry.name}: {', '.join(parts)}")
    return lines
