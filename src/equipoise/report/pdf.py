"""A report on paper (A4), set by Typst from the same blocks and the same drawings as the web page.

The template is fixed and reads the report as data, so a text is never read as markup, whatever it holds.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib

from equipoise import __version__
from equipoise.errors import MissingExtraError, UserError
from equipoise.report import document as d


class _Paper:
    """Blocks as plain data; drawings become files beside them, tables of figures go to the appendix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.appendix: list[Any] = []
        self._files = 0

    def _file(self, svg: str) -> str:
        self._files += 1
        name = f"drawing-{self._files:03d}.svg"
        (self.folder / name).write_text(svg, encoding="utf-8")
        return name

    def _cell(self, cell: d.Cell) -> dict[str, Any]:
        drawing = cell.drawing
        picture = {"file": self._file(drawing.svg), "alt": drawing.alt} if drawing else None
        return {"words": [dataclasses.asdict(run) for run in cell.words], "drawing": picture}

    def _table(self, table: d.Table) -> dict[str, Any]:
        return {
            "type": "Table",
            "caption": table.caption,
            "columns": [dataclasses.asdict(column) for column in table.columns],
            "rows": [{"kind": r.kind, "cells": [self._cell(c) for c in r.cells]} for r in table.rows],
            "notes": list(table.notes),
        }

    def block(self, block: d.Block | d.Subsection) -> dict[str, Any]:
        match block:
            case d.Table():
                return self._table(block)
            case d.Figure():
                if block.table:
                    self.appendix.append(self._table(block.table))
                return {
                    "type": "Figure",
                    "caption": block.caption,
                    "alt": block.alt,
                    "notes": list(block.notes),
                    "file": self._file(block.wide),
                }
            case d.Subsection():
                return {
                    "type": "Subsection",
                    "title": block.title,
                    "blocks": [self.block(b) for b in block.blocks],
                }
            case _:
                return {"type": type(block).__name__, **dataclasses.asdict(block)}


def pages(document: d.Document) -> bytes:
    """The PDF. Raises MissingExtraError without the extra `pdf`, UserError when it cannot be set."""
    try:
        import typst
    except ImportError as missing:
        raise MissingExtraError("The report as PDF", "pdf") from missing
    with tempfile.TemporaryDirectory(prefix="equipoise-") as temporary:
        folder = Path(temporary)
        paper = _Paper(folder)
        sections = [
            {"title": s.title, "blocks": [paper.block(b) for b in s.blocks]} for s in document.sections
        ]
        content = {
            "title": document.title,
            "short": document.title if len(document.title) <= 80 else document.title[:78].rstrip() + "…",
            "subtitle": document.subtitle,
            "badge": document.badge,
            "footer": f"Equipoise {__version__}",
            "header": [list(pair) for pair in document.header],
            "sections": sections,
            "appendix": paper.appendix,
        }
        (folder / "report.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        template = files("equipoise.report") / "templates" / "report.typ"
        (folder / "report.typ").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        try:
            result = typst.compile(
                str(folder / "report.typ"),
                root=str(folder),
                font_paths=[str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")],
                ignore_system_fonts=True,
                format="pdf",
                timestamp=0,
            )
        except typst.TypstError as problem:
            raise UserError(
                f"The report could not be set as PDF; the web page is complete. ({problem})"
            ) from problem
    if not isinstance(result, bytes):
        raise UserError("The report could not be set as PDF; the web page is complete.")
    return result
