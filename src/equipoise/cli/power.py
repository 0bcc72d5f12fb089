"""The command that repeats a trial thousands of times and says how often it would win."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli import ending
from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force
from equipoise.cli.trials import Dial, Participants, Preset, command_line, dials_of
from equipoise.errors import UserError

if TYPE_CHECKING:
    from equipoise.simulate.power.engines import Engine

TRIALS = 2000


def power(
    trial: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL",
            help="A bundled protocol, a protocol file, or the file of a plain event-time trial.",
        ),
    ],
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            help=f"Trials of each scenario. Default: {TRIALS:,}; when resuming, what the run was to have.",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="PATH=VALUES",
            help="Vary a field: from:to:step, or values with commas. Several times: every combination.",
        ),
    ] = None,
    scenarios: Annotated[
        Path | None, typer.Option("--scenarios", metavar="FILE", help="Scenarios by name, in a file (YAML).")
    ] = None,
    until_se: Annotated[
        float | None,
        typer.Option(
            "--until-se", metavar="SE", help="Stop when the standard error of the power is so small."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Continue the run in this folder, or let it grow."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the run. Default: trial and seed, silcaat-power-1."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of the random numbers. Default: 1.")
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            "--arm", metavar="NAME", help="Arm to compare with the reference arm, where several are."
        ),
    ] = None,
    participants: Participants = None,
    preset: Preset = None,
    dial: Dial = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Threads (or processes) on this machine. Default: all cores."),
    ] = None,
    processes: Annotated[
        bool,
        typer.Option("--processes", help="Processes instead of threads: a crash takes only one of them."),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Workers of a Dask scheduler, tcp://host:8786."),
    ] = None,
    force: Force = False,
) -> None:
    """Simulate a trial thousands of times: power, type I error, stopping, duration, estimates, drug.

    Example:  equipoise power silcaat --trials 10000

    Example:  equipoise power silcaat --vary functional_fraction=0:1:0.25 --trials 2000

    Example:  equipoise power my.yaml --until-se 0.003 --resume my-power-1
    """
    with Stages() as stages:
        stages("Reading the trial")
        from equipoise import job

        if resume is not None and out is not None and resume.resolve() != out.resolve():
            raise UserError("--resume and --out name different folders: give one of them")
        if resume is not None and force:
            raise UserError("--resume goes on with a run, --force replaces it: choose one")
        place = resume if resume is not None else out
        try:
            done = job.power(
                trial,
                trials=trials,
                vary=vary or [],
                scenarios=scenarios,
                until_se=until_se,
                resume=resume is not None,
                out=place,
                seed=seed,
                arm=arm,
                participants=participants,
                dials=dials_of(preset, dial),
                engine=_engine(workers, processes, cluster),
                force=force,
                command=command_line(),
                progress=stages,
            )
        except (KeyboardInterrupt, ending.Ended):
            folder = place if place is not None else job.power_folder(trial, seed)
            if (folder / "run.json").is_file():
                again = shlex.join([*sys.argv[1:], *([] if resume else ["--resume", str(folder)])])
                typer.echo(f"\nWhat is finished is kept. Go on with:  equipoise {again}", err=True)
            raise
    for remark in done.remarks:
        typer.echo(f"Note: {remark}", err=True)
    typer.echo(done.told)
    typer.echo("\n".join(f"{what:<8}  {path}" for what, path in done.files.items()))


def _engine(workers: int | None, processes: bool, cluster: str | None) -> Engine:
    from equipoise.simulate.power import engines

    if cluster is not None:
        if workers is not None or processes:
            raise UserError("--cluster brings its own workers: leave out --workers and --processes")
        return engines.cluster(cluster)
    return engines.processes(workers) if processes else engines.threads(workers)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(power)
