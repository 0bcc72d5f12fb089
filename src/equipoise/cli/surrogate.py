"""The command that asks whether a biomarker stands in for the outcome."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force
from equipoise.cli.trials import Threads, command_line, record_in, results_beside
from equipoise.errors import UserError

if TYPE_CHECKING:
    from equipoise.analyse.surrogate.data import Units
    from equipoise.record import AnalysisInput, Record


def surrogate(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="PLACE",
            help="Folder of `equipoise run`, a record, or data: a mapping file (YAML), or with --mapping a "
            "data file.",
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="FILE", help="What the columns of the data file mean (YAML)."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="NAME", help="Outcome. Default: the primary endpoint.")
    ] = None,
    marker: Annotated[
        str | None,
        typer.Option("--marker", metavar="NAME", help="Biomarker. Default: the first measure of the plan."),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(
            "--arm", metavar="NAME", help="Arm to compare with the reference arm, where several are."
        ),
    ] = None,
    units: Annotated[
        str,
        typer.Option(
            "--units",
            metavar="country|site",
            help="What is compared at the level of trials: country or site.",
        ),
    ] = "country",
    bootstrap: Annotated[
        int | None, typer.Option("--bootstrap", min=20, metavar="N", help="Bootstrap samples. Default: 200.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap and of --trials.")] = 1,
    landmarks: Annotated[
        str | None,
        typer.Option(
            "--landmarks",
            metavar="YEARS",
            help="Landmarks in years, with commas. Default: 1,2,3, as far as half are followed.",
        ),
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option("--horizon", metavar="YEARS", help="Year at which mediation compares risks."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale",
            metavar="SCALE",
            help="Scale of the biomarker: log2, sqrt or as-is. Default: log2, but as-is for a logarithm or "
            "for negative values.",
        ),
    ] = None,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="Also fit a joint model of biomarker and outcome (about a minute)."),
    ] = False,
    trials: Annotated[
        int,
        typer.Option(
            "--trials",
            min=0,
            metavar="N",
            help="Repeat a simulated trial under each preset: how often is a method wrong?",
        ),
    ] = 0,
    demonstrate: Annotated[
        bool,
        typer.Option(
            "--demonstrate", help="Instead: why adjusting for the biomarker misleads, on virtual people."
        ),
    ] = False,
    participants: Annotated[
        int | None,
        typer.Option(
            "--participants", min=200, help="Of --demonstrate: people in each arm. Default: 15,000."
        ),
    ] = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for page and tables. Default for a record: beside it; else none.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Does the biomarker stand in for the outcome? Every standard measure, with its interval and warnings.

    Of a simulated trial the truth is known, and stands beside each measure.

    Example:  equipoise surrogate silcaat-1

    Example:  equipoise surrogate silcaat-1 --trials 200

    Example:  equipoise surrogate --demonstrate
    """
    if demonstrate:
        if place is not None or mapping is not None:
            raise UserError("--demonstrate brings its own trials: leave out PLACE and --mapping")
        _demonstrate(participants, threads, out, force)
        return
    if scale is not None and trials:
        raise UserError("--trials repeats the trial on the usual scale of the biomarker: leave out --scale")
    if participants is not None:
        raise UserError("--participants goes with --demonstrate: a trial has the participants that it has")
    if place is None and mapping is None:
        raise UserError(
            "say which trial: a folder of `equipoise run`, a record, or a mapping file; or --demonstrate"
        )
    moments = None if landmarks is None else _years(landmarks)
    with Stages() as stages:
        stages("Reading the trial")
        from equipoise import job

        source, folder = _source(place, mapping)
        done = job.surrogate(
            source,
            arm=arm,
            endpoint=endpoint,
            marker=marker,
            units=cast("Units", units),
            bootstrap=bootstrap,
            seed=seed,
            landmarks=moments,
            horizon=horizon,
            scale=scale,
            joint=joint,
            trials=trials,
            threads=threads,
            out=out if out is not None else folder,
            force=force,
            command=command_line(),
            progress=stages,
        )
    typer.echo(done.told)
    if done.no_truth:
        typer.echo(f"\nNo truth beside the estimates: {done.no_truth}.")
    if done.files:
        typer.echo()
        typer.echo("\n".join(f"{what:<16}{path}" for what, path in done.files.items()))


def _source(place: Path | None, mapping: Path | None) -> tuple[Record | AnalysisInput, Path | None]:
    """The record or the mapped data, and the folder where results of it go."""
    from equipoise.record import read
    from equipoise.record.mapping import analysis_input

    if mapping is not None:
        return analysis_input(mapping, place), None
    assert place is not None
    if place.suffix.lower() in (".yaml", ".yml") and place.is_file():
        return analysis_input(place), None
    if place.is_file():
        raise UserError(f"{place} is a file: say what its columns mean with --mapping FILE")
    record = record_in(place)
    return read(record), results_beside(record)


def _years(text: str) -> tuple[float, ...]:
    try:
        years = tuple(float(word) for word in text.split(","))
    except ValueError:
        years = ()
    if not years or any(not 0 <= year < 1000 for year in years):
        raise UserError(
            f"--landmarks {shlex.quote(text)}: years since randomisation with commas, such as 1,2,3"
        )
    return years


def _demonstrate(people: int | None, threads: int | None, out: Path | None, force: bool) -> None:
    with Stages() as stages:
        stages("Walking everybody in both arms")
        from equipoise import job

        done = job.demonstrate_pitfall(people=people, threads=threads, out=out, force=force, progress=stages)
    typer.echo(done.told)
    if done.files:
        typer.echo()
        typer.echo("\n".join(f"{what:<8}{path}" for what, path in done.files.items()))


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(surrogate)
