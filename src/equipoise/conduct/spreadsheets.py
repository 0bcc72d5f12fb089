"""Tables that somebody opens with a spreadsheet, which runs what looks like a formula."""

from __future__ import annotations

from typing import TypeVar

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
"""What a cell must not begin with: it would be run (OWASP ASVS 5.0, 1.2.10)."""
Cell = TypeVar("Cell")


def harmless(cell: Cell) -> Cell | str:
    """A cell that no spreadsheet runs; all but text stays as it is."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
