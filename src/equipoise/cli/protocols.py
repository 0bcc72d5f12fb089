"""Commands on protocols: list, show, check, new, diff, schema, and decide for one participant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

ProtocolArgument = Annotated[
    str, typer.Argument(metavar="PROTOCOL", help="Name of a bundled protocol, or path of a protocol file.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def list_protocols() -> None:
    """List the protocols that come with Equipoise.

    Example:  equipoise protocols
    """
    from equipoise.protocol import bundled, load

    names = bundled()
    width = max(map(len, names))
    for name in names:
        protocol = load(name)
        conduct = "" if protocol.simulation is not None else " (not simulated)"
        typer.echo(f"{name:<{width}}  {protocol.title}{conduct}")


def show(protocol: ProtocolArgument) -> None:
    """Explain a trial in words: who, what, when, which dose, how it is analysed.

    Example:  equipoise show silcaat
    """
    from equipoise.protocol import load
    from equipoise.protocol.describing import show as describe

    typer.echo(describe(load(protocol)))


def check(protocol: ProtocolArgument) -> None:
    """Look for mistakes and contradictions in a protocol.

    Example:  equipoise check my-trial.yaml
    """
    from equipoise.protocol import sha256
    from equipoise.protocol.checking import problems
    from equipoise.protocol.reading import build, load_source

    source = load_source(protocol)
    read = build(source)
    found = sorted(problems(read), key=lambda p: (p.severity != "error", source.locate(p.place).line))
    for problem in found:
        where = source.where(problem.place)
        typer.echo(f"{where}: {problem.severity}: {problem.place}: {problem.message}")
    errors = sum(problem.severity == "error" for problem in found)
    if errors:
        typer.echo(
            f"{protocol}: {_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}", err=True
        )
        raise typer.Exit(2)
    warnings = f", {_count(len(found), 'warning')}" if found else ""
    typer.echo(f"{read.protocol}, version {read.version}: no errors{warnings}. SHA-256 {sha256(read)}")


def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the trial; default: the name of the file.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a protocol to start from: a small complete trial, with comments.

    Example:  equipoise new my-trial.yaml
    """
    from equipoise._atomic import new_file
    from equipoise.protocol import template

    with new_file(file, force=force) as temporary:
        temporary.write_text(template.new(name or file.stem), encoding="utf-8")
    typer.echo(f"{file} written. Edit it, then:  equipoise check {file}")


def diff(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A protocol: bundled name or file.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The amended protocol.")],
) -> None:
    """Say in words what changes from one protocol to another.

    Example:  equipoise diff silcaat my-silcaat.yaml
    """
    from equipoise.protocol import load
    from equipoise.protocol.differences import diff as differences

    changes = differences(load(before), load(after))
    for change in changes:
        typer.echo(change)
    if not changes:
        typer.echo("The two say the same.")


def schema(
    what: Annotated[
        Literal["protocol", "record"],
        typer.Argument(help="protocol: JSON Schema of protocol files; record: its tables."),
    ] = "protocol",
) -> None:
    """Print the JSON Schema of protocol files (for editors), or the tables of a record.

    Example:  equipoise schema > protocol.schema.json
    """
    if what == "record":
        from equipoise.record import schemas

        typer.echo(schemas.documentation(), nl=False)
        return
    from equipoise.protocol import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def decide(
    protocol: ProtocolArgument,
    history: Annotated[
        Path, typer.Argument(metavar="HISTORY", help="YAML or JSON: what is on record for one participant.")
    ],
    brief: Annotated[
        bool, typer.Option("--brief", help="Only the decision, not every rule behind it.")
    ] = False,
) -> None:
    """Say what the dose rules decide for one participant on one day, and why.

    Example:  equipoise decide stalwart participant.yaml
    """
    from equipoise.cli import deciding
    from equipoise.protocol import load

    typer.echo(deciding.explain(load(protocol), deciding.read(history), brief=brief))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("protocols")(list_protocols)
    for command in (show, check, new, diff, schema, decide):
        app.command()(command)
