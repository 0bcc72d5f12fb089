"""A virtual population in words: its rows with value, spread, status and source, its dials and presets."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.virtual.parameters import Population, Row

__all__ = ["dials_table", "presets_table", "rows_table", "sources_list"]


def rows_table(rows: Mapping[str, Row]) -> str:
    """Markdown table of parameters or habits, one line for each row."""
    lines = [
        "| row | symbol | meaning | value | between people | status | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        spread = (
            "" if row.between_people is None else f"SD {row.between_people.sd:g} ({row.between_people.scale})"
        )
        meaning = row.meaning if row.note is None else f"{row.meaning} ({row.note})"
        lines.append(
            f"| `{name}` | {row.symbol} | {meaning} | {row.value:g} {row.unit}".rstrip()
            + f" | {spread} | {row.status} | {', '.join(row.source)} |"
        )
    return "\n".join(lines)


def dials_table(population: Population) -> str:
    """Markdown table of the dials: name, symbol, meaning, range, and the value without a preset."""
    lines = ["| dial | symbol | meaning | range | unless set |", "|---|---|---|---|---|"]
    for name, dial in population.file.dials.items():
        low, high = dial.range
        lines.append(
            f"| `{name}` | {dial.symbol} | {dial.meaning} | {low:g} to {high:g} {dial.unit}".rstrip()
            + f" | {dial.value:g} |"
        )
    harm = ", ".join(population.file.harm_applies_to)
    lines.append(
        f"| `harm_applies_to` | | endpoints on which harm acts | opportunistic, death, grade4 | {harm} |"
    )
    return "\n".join(lines)


def presets_table(population: Population) -> str:
    """Markdown table of the named presets; the default one is marked."""
    lines = ["| preset | meaning | sets |", "|---|---|---|"]
    for name, preset in population.file.presets.items():
        label = f"**{name}** {preset.label}" + (
            " (default)" if name == population.file.default.preset else ""
        )
        values = ", ".join(
            f"{dial} {value:g}" if isinstance(value, int | float) else f"{dial} {' and '.join(value)}"
            for dial, value in preset.set.items()
        )
        lines.append(f"| {label} | {preset.meaning} | {values} |")
    return "\n".join(lines)


def sources_list(population: Population) -> str:
    """Markdown list of the references that the rows name."""
    return "\n".join(
        f"- *{key}*: {reference.text}" + (f", <{reference.address}>" if reference.address else "")
        for key, reference in population.file.references.items()
    )
