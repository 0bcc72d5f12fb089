"""Commands on records."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

records = typer.Typer(no_args_is_help=True, help="Look into the record of a trial.", rich_markup_mode=None)


@records.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the record.")],
) -> None:
    """Look for faults in a record, row by row: damage first, then everything that cannot be.

    Example:  equipoise record check silcaat-1/record
    """
    from equipoise.errors import UserError
    from equipoise.record import check as find_faults
    from equipoise.record import read
    from equipoise.record.checking import counted

    try:
        record = read(folder)
    except UserError:
        with contextlib.suppress(UserError):  # what can still be read; the first message says what cannot
            for finding in find_faults(read(folder, verify=False)):
                typer.echo(str(finding))
        raise
    found = find_faults(record)
    for finding in found:
        typer.echo(str(finding))
    if found:
        typer.echo(f"{folder}: {counted(found)}", err=True)
        raise typer.Exit(2)
    made = record.manifest
    rows = sum(entry.rows for entry in made.tables.values())
    typer.echo(
        f"{made.protocol}, {made.tables['participants'].rows:,} participants, {rows:,} rows in "
        f"{len(made.tables)} tables: no faults. SHA-256 {made.record_sha256}"
    )


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(records, name="record")
