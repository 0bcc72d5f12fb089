"""The command that says which explanations agree with the published results of one or several trials."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force
from equipoise.cli.trials import Threads, command_line, sound


def explain(
    trials: Annotated[
        list[str], typer.Argument(metavar="TRIAL...", help="Bundled protocols or protocol files.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the files. Default: explain-silcaat-esprit."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random numbers.")] = 1,
    people: Annotated[
        int | None,
        typer.Option("--people", min=1, help="Virtual people of each trial, in both arms. Default: 20,000."),
    ] = None,
    simulated: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Simulated trials under each explanation. Default: 300."),
    ] = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Say which explanations agree with published hazard ratios: cells that do not protect, cycles that harm.

    Example:  equipoise explain silcaat esprit

    Example:  equipoise explain esprit --out only-esprit
    """
    with Stages() as stages:
        stages("Reading the protocols")
        from equipoise import job

        done = job.explain(
            [sound(each) for each in trials],
            out=out,
            seed=seed,
            participants=people,
            simulated=simulated,
            threads=threads,
            force=force,
            command=command_line(),
            progress=stages,
        )
    typer.echo("\n".join(line for text in done.told for line in textwrap.wrap(text, 100)))
    typer.echo()
    typer.echo("\n".join(f"{what:<12}  {path}" for what, path in done.files.items()))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)
