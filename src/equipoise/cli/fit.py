"""The command that fits a virtual population to published figures and says what they do not know."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli import ending
from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force
from equipoise.cli.trials import Seed, Threads, command_line
from equipoise.errors import UserError


def fit(
    population: Annotated[
        str, typer.Argument(metavar="POPULATION", help="A bundled virtual population, or a population file.")
    ],
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            metavar="FILE",
            help="Published figures to fit to (YAML). Default: those that come with the population.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=0, help="Steps at most; 0 only compares. Default: 10."),
    ] = None,
    starts: Annotated[
        int,
        typer.Option("--starts", min=1, help="Descents: one from the file, others from random points."),
    ] = 1,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile", metavar="ROW", help="Profile likelihood of a row; may be given several times."
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", min=0, help="Draws of the predictive check. Default: 200."),
    ] = None,
    participants: Annotated[
        int | None,
        typer.Option("--participants", min=1000, help="Participants of each trial. Default: 40,000."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Write the population file with the new values here."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the fit. Default: population and seed."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Go on with the fit in this folder.")
    ] = None,
    seed: Seed = 1,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Fit a virtual population to published figures: estimates, what is not known, what the model misses.

    Example:  equipoise fit hiv_il2

    Example:  equipoise fit hiv_il2 --profile half_life_long_lived --write new_population.yaml

    Example:  equipoise fit my_population.yaml --targets my_targets.yaml --starts 3
    """
    with Stages() as stages:
        stages("Reading the population")
        from equipoise import job

        if resume is not None and out is not None and resume.resolve() != out.resolve():
            raise UserError("--resume and --out name different folders: give one of them")
        if resume is not None and force:
            raise UserError("--resume goes on with a fit, --force replaces it: choose one")
        place = resume if resume is not None else out
        folder = place if place is not None else job.fit_folder(population, seed)
        try:
            done = job.fit(
                population,
                targets,
                seed=seed,
                participants=participants,
                steps=steps,
                starts=starts,
                profiles=profile or [],
                draws=draws,
                out=folder,
                write=write,
                resume=resume is not None,
                force=force,
                threads=threads,
                command=command_line(),
                progress=stages,
                note=lambda line: typer.echo(line, err=True),
            )
        except (KeyboardInterrupt, ending.Ended):
            if (folder / "run.json").is_file():
                words = [word for word in sys.argv[1:] if word != "--force"]
                again = shlex.join([*words, *([] if resume else ["--resume", str(folder)])])
                typer.echo(f"\nWhat is evaluated is kept. Go on with:  equipoise {again}", err=True)
            raise
    typer.echo(done.told)
    typer.echo()
    typer.echo("\n".join(f"{what:<16}  {path}" for what, path in done.files.items()))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fit)
