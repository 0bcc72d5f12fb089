"""Reads the specification chapters: Markdown in which every table line is a case.

A table stands below a heading and, if need be, a fenced block ("yaml given") with what holds for all of its
lines. The same files are the tests and, with the reason in words added, chapters of the manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
CHAPTERS = sorted(path for path in HERE.glob("*.md"))


@dataclass(frozen=True)
class Case:
    """One line of a table: its cells by column, what is given for the whole table, and where it stands."""

    chapter: str
    section: str
    line: int
    cells: dict[str, str]
    given: dict[str, str]

    def __str__(self) -> str:
        return (
            f"{self.section}: {self.cells['case']}" if "case" in self.cells else f"{self.section}:{self.line}"
        )

    def cell(self, column: str, default: str | None = None) -> str:
        """The cell, else what is given, else the default."""
        value = self.cells.get(column, self.given.get(column, default))
        if value is None:
            raise KeyError(f"{self.chapter}:{self.line}: neither the table nor what is given has {column!r}")
        return value


def row_cells(line: str) -> list[str]:
    """The cells of a Markdown table line; `\\|` is a bar within a cell."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def cases(chapter: Path) -> list[Case]:
    """Every case of a chapter, in order."""
    found: list[Case] = []
    section, given, columns = "", {}, []
    block: list[str] | None = None
    for number, line in enumerate(chapter.read_text("utf-8").splitlines(), start=1):
        if block is not None:
            if line.startswith("```"):
                given = {str(k): str(v) for k, v in yaml.load("\n".join(block), yaml.BaseLoader).items()}
                block = None
            else:
                block.append(line)
        elif line.startswith("```yaml given"):
            block = []
        elif line.startswith("#"):
            section, given, columns = line.lstrip("# "), {}, []
        elif line.startswith("|"):
            cells = row_cells(line)
            if not columns:
                columns = cells
            elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                if len(cells) != len(columns):
                    raise ValueError(
                        f"{chapter.name}:{number}: {len(cells)} cells for {len(columns)} columns"
                    )
                found.append(
                    Case(chapter.name, section, number, dict(zip(columns, cells, strict=True)), given)
                )
        else:
            columns = []
    return found
