"""How a page was made: the command that makes it again, and what it was made from."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from equipoise import __version__
from equipoise.report.document import Block, Code, Paragraph, Run, Table, Words, columns, row, words

COMMAND = "Command"
"""Key of the command in the provenance of a page."""


def again(command: str | None, gives: str) -> tuple[Block, ...]:
    """The command, where it is known. `gives`: what the same command with the same version gives."""
    if not command:
        return ()
    return Paragraph(words(f"The same command with the same version gives {gives}:")), Code(command)


def made_from(
    lines: Iterable[tuple[str, str | Words]],
    provenance: Mapping[str, str],
    *,
    what: str = "page",
    shown: Container[str] = (COMMAND,),
) -> Table:
    """What a page was made from, the version last: `lines` of its own, then the provenance in code type, but
    for what is `shown` elsewhere on the page."""
    own = [(name, words(value) if isinstance(value, str) else value) for name, value in lines]
    given = [(name, words(Run(value, "code"))) for name, value in provenance.items() if name not in shown]
    version = ("Written by", words(f"Equipoise {__version__}"))
    return Table(
        "table-provenance", f"What this {what} was made from", columns(["", "Value"], 2, [1, 3]),
        tuple(row(name, value) for name, value in (*own, *given, version)),
    )  # fmt: skip
