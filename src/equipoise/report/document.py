"""A report as a list of blocks, before anybody decides whether it becomes a web page or a PDF.

Everything that a reader will see is text in these blocks. None of it is markup: what comes from a protocol, a
record or a command line stays text in both forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Align = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Run:
    """A stretch of text in one style; a link leads to `address` (http, https, or "#id" within the report)."""

    text: str
    kind: Literal["plain", "strong", "code", "link"] = "plain"
    address: str = ""

    def __post_init__(self) -> None:
        if self.kind == "link" and not self.address.startswith(("https://", "http://", "#")):
            raise ValueError(f"a link leads to a web address or a place in the report, not {self.address!r}")


Words = tuple[Run, ...]


def words(*parts: str | Run) -> Words:
    """Plain strings and runs, as one stretch of words."""
    return tuple(Run(part) if isinstance(part, str) else part for part in parts)


def link(text: str, address: str | None) -> Run:
    """A link where the address is one that may be followed, otherwise the bare text."""
    if address and address.startswith(("https://", "http://", "#")):
        return Run(text, "link", address)
    return Run(text)


@dataclass(frozen=True)
class Paragraph:
    words: Words


@dataclass(frozen=True)
class Listing:
    """Points, one below the other."""

    points: tuple[Words, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Callout:
    """Something the reader must not miss."""

    title: str
    paragraphs: tuple[Words, ...]


@dataclass(frozen=True)
class Fact:
    """One figure, large, with what it is."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """The few figures that matter most."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Code:
    """Text to be typed or compared letter by letter."""

    text: str


@dataclass(frozen=True)
class Drawing:
    """A small picture (SVG) inside a cell, with what it shows in words."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Cell:
    """Words, perhaps a drawing above them. `place` is an id that links may lead to."""

    words: Words
    drawing: Drawing | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table. A "heading" row is one cell that titles the rows below it; "detail" is set in."""

    cells: tuple[Cell, ...]
    kind: Literal["body", "heading", "detail", "total"] = "body"


@dataclass(frozen=True)
class Column:
    title: str
    align: Align = "left"
    width: float = 1.0
    """Share of the width, on paper."""


@dataclass(frozen=True)
class Table:
    """The first cell of each row is its header. `stack`: on a phone each row becomes a card. `folded`: on a
    page the table opens when asked; on paper it is there."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    stack: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing in two widths (page and phone), what it shows in words, and the same numbers as a table."""

    id: str
    caption: str
    alt: str
    wide: str
    narrow: str
    table: Table | None = None
    notes: tuple[str, ...] = ()


Block = Paragraph | Listing | Callout | Facts | Code | Table | Figure


@dataclass(frozen=True)
class Subsection:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    blocks: tuple[Block | Subsection, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    badge: str
    """"Simulated" or "Real data": shown beside the title and on each sheet of paper."""
    header: tuple[tuple[str, str], ...]
    """Name and value of what identifies the report: trial, registry, seed, hash."""
    sections: tuple[Section, ...]


def cell(content: str | Run | Words | Cell) -> Cell:
    """A cell from text."""
    if isinstance(content, Cell):
        return content
    if isinstance(content, str | Run):
        return Cell(words(content))
    return Cell(content)


def row(
    *contents: str | Run | Words | Cell, kind: Literal["body", "heading", "detail", "total"] = "body"
) -> Row:
    """A line of a table from its cells' texts."""
    return Row(tuple(cell(content) for content in contents), kind)


def columns(
    titles: Sequence[str], numbers_from: int = 1, widths: Sequence[float] | None = None
) -> tuple[Column, ...]:
    """Columns of which those from `numbers_from` on hold numbers (set to the right)."""
    shares = widths or [1.0] * len(titles)
    return tuple(
        Column(title, "left" if i < numbers_from else "right", width)
        for i, (title, width) in enumerate(zip(titles, shares, strict=True))
    )
