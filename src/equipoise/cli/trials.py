"""Commands that run a trial and say what happened: run, and its steps simulate, analyse, report; verify."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force, ProtocolArgument
from equipoise.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from equipoise.analyse import Results
    from equipoise.protocol import Protocol

Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of the random numbers; another seed, another trial.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the files. Default: trial and seed, silcaat-1."),
]
Participants = Annotated[
    int | None,
    typer.Option("--participants", min=2, help="Participants to randomise. Default: as the protocol says."),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="Set of effect dials. Default: that of the population."),
]
Dial = Annotated[
    list[str] | None,
    typer.Option("--dial", metavar="NAME=VALUE", help="One effect dial; may be given several times."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads. Default: all cores. The results do not depend on it."),
]
HEADLINES = ("hazard ratio", "mean difference over follow-up")
"""Parameters whose published figures are shown on the terminal; the report shows all."""
ABOUT_PEOPLE = ("baseline", "disposition", "consort", "screening")
"""Analyses left out where a trial publishes no figure of those parameters, and the others are shown."""


def run(
    protocol: ProtocolArgument,
    seed: Seed = 1,
    out: Out = None,
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="Repeated trials to show the play of chance; 0: none.")
    ] = 1000,
    participants: Participants = None,
    preset: Preset = None,
    dial: Dial = None,
    threads: Threads = None,
    no_pdf: Annotated[bool, typer.Option("--no-pdf", help="Write the report as a web page only.")] = False,
    force: Force = False,
) -> None:
    """Simulate a trial, analyse it and report it, with the published trial beside it.

    Example:  equipoise run silcaat

    Example:  equipoise run esprit --seed 7 --out esprit-7 --trials 400
    """
    with Stages() as stages:
        stages("Reading the protocol")
        from equipoise import job

        plan = sound(protocol)
        folder = out if out is not None else job.default_folder(plan, seed)
        done = job.run(
            plan,
            seed=seed,
            out=folder,
            force=force,
            participants=participants,
            trials=trials,
            dials=dials_of(preset, dial),
            threads=threads,
            pdf=not no_pdf,
            command=command_line(),
            progress=stages,
        )
    for remark in done.remarks:
        typer.echo(f"Note: {remark}", err=True)
    typer.echo(_published(plan, done.results, done.replicates))
    typer.echo()
    typer.echo("\n".join(f"{what:<10}  {path}" for what, path in done.files.items()))


def simulate(
    protocol: ProtocolArgument,
    seed: Seed = 1,
    out: Out = None,
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="Also repeat the trial so many times (replicates.parquet).")
    ] = 0,
    trial: Annotated[
        int | None,
        typer.Option("--trial", min=0, help="Number of the trial: each has other people and chances."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field, as --vary of `power` does."),
    ] = None,
    participants: Participants = None,
    preset: Preset = None,
    dial: Dial = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Simulate a trial and write its record.

    With --trial, one of the many trials of `equipoise power`, in full. PROTOCOL may also be the file of a
    plain event-time trial, whose participants are written as one table.

    Example:  equipoise simulate silcaat --seed 1 --out silcaat-1

    Example:  equipoise simulate silcaat --seed 1 --trial 4711 --set aldesleukin.goal.rise=100
    """
    with Stages() as stages:
        stages("Reading the protocol")
        from equipoise import job
        from equipoise import simulate as simulation
        from equipoise._atomic import new_file, refuse_existing, write_parquet

        if job.is_plain_file(protocol) or setting:
            again = job.replay(
                protocol, trial or 0, seed, setting or [], out, participants, dials_of(preset, dial), threads,
                force, stages,
            )  # fmt: skip
            typer.echo("\n".join(f"{what:<12}  {path}" for what, path in again.files.items()))
            typer.echo(again.ending)
            return
        plan = sound(protocol)
        folder = out if out is not None else job.default_folder(plan, seed)
        refuse_existing(folder / job.RECORD, force)
        dials = dials_of(preset, dial)
        repeated = folder / job.REPLICATES
        if trials > 0:
            refuse_existing(repeated, force)
        words = "Simulating the trial"
        stages(words)
        record = simulation.trial(
            plan,
            seed,
            trial or 0,
            participants=participants,
            dials=dials,
            out=folder / job.RECORD,
            threads=threads,
            force=force,
            progress=job.stage(stages, words),
        )
        if trials > 0:
            words = f"Repeating the trial {trials:,} times"
            stages(words, 0.0)
            frame = simulation.replicates(
                plan,
                trials,
                seed,
                participants=participants,
                dials=dials,
                threads=threads,
                progress=job.stage(stages, words),
            )
            with new_file(repeated, force=force) as temporary:
                write_parquet(frame, temporary)
        # without a number nobody asked about a trial of a power run
        ending = "" if trial is None else job.ending(plan, trial, seed, participants, dials)
    made = record.manifest
    typer.echo(
        f"{made.tables['participants'].rows:,} participants. SHA-256 of the record: {made.record_sha256}"
    )
    typer.echo(f"record      {folder / job.RECORD}")
    if trials > 0:
        typer.echo(f"replicates  {repeated}")
    if ending:
        typer.echo(ending)
    typer.echo(f"Next:  equipoise analyse {shlex.quote(str(folder))}")


def analyse(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE", help="Folder with a record; or with --mapping, a data file (CSV, Parquet)."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", metavar="FILE", help="What the columns of the data file mean (YAML)."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="Use the analysis plan of this protocol, not that of the record."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the results. Default for a record: beside it; for data: none.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Analyse a record, or anybody's trial data, and print the results.

    Example:  equipoise analyse silcaat-1

    Example:  equipoise analyse actg320.csv --mapping actg320.yaml
    """
    if mapping is None and source is None:
        raise UserError("say what to analyse: a folder with a record, or a data file with --mapping")
    if mapping is not None and protocol is not None:
        raise UserError("--mapping brings its own plan of analysis: leave out --protocol")
    with Stages() as stages:
        stages("Reading the data")
        from equipoise import analyse as analysis
        from equipoise import job
        from equipoise._atomic import refuse_existing
        from equipoise.protocol import load
        from equipoise.record import AnalysisInput, Record, read
        from equipoise.record.mapping import analysis_input

        given: Record | AnalysisInput
        if mapping is not None:
            given = analysis_input(mapping, source)
            folder = out
        else:
            assert source is not None
            if source.is_file():
                raise UserError(f"{source} is a file: say what its columns mean with --mapping FILE")
            place = record_in(source)
            folder = out if out is not None else results_beside(place)
            if folder is not None:
                for name in job.RESULTS:
                    refuse_existing(folder / name, force)
            given = read(place)
        plan: Protocol | None = load(protocol) if protocol is not None else None
        stages("Analysing", 0.0)
        results = analysis.run(
            given, plan, progress=lambda words, share: stages(f"Analysing: {words}", share)
        )
        written = analysis.write(results, folder, force=force) if folder is not None else ()
    labels = given if isinstance(given, AnalysisInput) else plan or given.protocol
    typer.echo(analysis.summary(results, labels), nl=False)
    if written:
        typer.echo()
        typer.echo("\n".join(f"results  {path}" for path in written))


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder with the record and the results, as `simulate` and `analyse` leave it.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the report. Default: DIR.")
    ] = None,
    no_pdf: Annotated[bool, typer.Option("--no-pdf", help="Write the report as a web page only.")] = False,
    force: Force = False,
) -> None:
    """Write the report of a trial that was simulated and analysed.

    Example:  equipoise report silcaat-1
    """
    with Stages() as stages:
        stages("Reading the results")
        import polars as pl

        from equipoise import analyse as analysis
        from equipoise import job
        from equipoise import report as reports
        from equipoise._atomic import refuse_existing
        from equipoise.record import read

        place = record_in(folder)
        target = out if out is not None else folder
        refuse_existing(target / job.REPORT, force)
        if not (place / "manifest.json").is_file() and (folder / job.RESULTS[0]).is_file():
            raise UserError(
                f"{folder}: results without a record (of mapped data, say): a report needs the record too; "
                "`equipoise analyse` prints these results"
            )
        record = read(place)
        results = analysis.read(folder if place != folder else results_beside(place) or folder)
        _same_record(folder, results, record.manifest.record_sha256)
        repeated = folder / job.REPLICATES
        replicates = None
        if repeated.is_file():
            try:
                replicates = pl.read_parquet(repeated)
            except (OSError, pl.exceptions.PolarsError) as error:
                first = str(error).splitlines()[0]
                raise UserError(
                    f"{repeated}: cannot be read ({first}): simulate again with --trials"
                ) from None
        stages("Writing the report")
        remarks: list[str] = []
        written = reports.write(
            results,
            record.protocol,
            record,
            replicates,
            out=target,
            paper="never" if no_pdf else "if possible",
            provenance={"Command": command_line()},
            say=remarks.append,
        )
    for remark in remarks:
        typer.echo(f"Note: {remark}", err=True)
    typer.echo("\n".join(f"report  {path}" for path in written.values()))


def verify(
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=2,
            help="Repeated trials of each protocol. Default: 400; of --type-one-error 100,000.",
        ),
    ] = None,
    type_one_error: Annotated[
        bool,
        typer.Option(
            "--type-one-error", help="Instead: is the type I error of every kind of monitoring as planned?"
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed. Default: that of the manual.")
    ] = None,
    preset: Preset = None,
    dial: Dial = None,
    threads: Threads = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Also write the page of the manual.")
    ] = None,
    force: Force = False,
) -> None:
    """Hold simulated SILCAAT and ESPRIT against what the two trials published.

    Ends with status 1 when a figure lies outside of its range.

    Example:  equipoise verify --trials 400

    Example:  equipoise verify --type-one-error
    """
    if type_one_error:
        if page is not None or preset is not None or dial or threads is not None:
            raise UserError(
                "--type-one-error has no use for --page, --preset, --dial and --threads: leave them out"
            )
        _verify_type_one_error(trials, seed)
        return
    from equipoise._atomic import new_file

    with ExitStack() as stack:
        place = None if page is None else stack.enter_context(new_file(page, force=force))
        stages = stack.enter_context(Stages())
        stages("Simulating both trials")
        from equipoise import job
        from equipoise.simulate import verification

        names = ("silcaat", "esprit")
        chosen = seed if seed is not None else verification.SEED
        trials = trials if trials is not None else verification.TRIALS
        checks = verification.verify(
            names,
            trials,
            chosen,
            dials_of(preset, dial),
            threads,
            job.stage(stages, "Simulating both trials"),
        )
        if place is not None:
            place.write_text(verification.page(checks, trials, chosen, names), encoding="utf-8")
    typer.echo(verification.table(checks))
    outside = sum(not check.holds for check in checks)
    typer.echo(f"\n{len(checks) - outside} of {len(checks)} figures lie where they must.")
    if page is not None:
        typer.echo(f"page  {page}")
    if outside:
        raise typer.Exit(1)


def _verify_type_one_error(trials: int | None, seed: int | None) -> None:
    with Stages() as stages:
        words = "Simulating trials without an effect"
        stages(words)
        from equipoise import job
        from equipoise.simulate.power import verification

        checks = verification.verify(
            trials if trials is not None else verification.TRIALS,
            seed if seed is not None else verification.SEED,
            job.stage(stages, words),
        )
    typer.echo(verification.table(checks))
    outside = sum(not check.holds for check in checks)
    typer.echo(f"\n{len(checks) - outside} of {len(checks)} type I errors are as planned.")
    if outside:
        raise typer.Exit(1)


def sound(name: str) -> Protocol:
    """The protocol, which must not contradict itself: what it does not say cannot be simulated."""
    from equipoise.protocol import load
    from equipoise.protocol.checking import problems

    plan = load(name)
    errors = [problem for problem in problems(plan) if problem.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(
            f"{name}: {errors[0].place}: {errors[0].message}{more}; see  equipoise check {shlex.quote(name)}"
        )
    return plan


def command_line() -> str:
    """The command as it was given, to be shown as the way to reproduce what it made."""
    return " ".join(["equipoise", *map(shlex.quote, sys.argv[1:])])


def dials_of(preset: str | None, dial: list[str] | None) -> Mapping[str, Any] | None:
    """Preset and dials as `simulate` takes them; None when neither is given."""
    chosen: dict[str, Any] = {} if preset is None else {"preset": preset}
    for text in dial or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UserError(f"--dial {text}: expected NAME=VALUE, such as --dial functional_fraction=0.5")
        try:
            chosen[name.strip()] = float(value)
        except ValueError:
            chosen[name.strip()] = [word.strip() for word in value.split(",")]
    return chosen or None


def record_in(folder: Path) -> Path:
    """The record itself, when the folder around it was given."""
    inner = folder / "record"
    return (
        inner if (inner / "manifest.json").is_file() and not (folder / "manifest.json").is_file() else folder
    )


def results_beside(record: Path) -> Path:
    """Where the results of a record go: the folder around it when it is called `record`."""
    return record.parent if record.name == "record" else record.with_name(f"{record.name}-results")


def _same_record(folder: Path, results: Results, sha256: str | None) -> None:
    found = results.provenance.get("record", {}).get("sha256")
    if found != sha256:
        raise UserError(f"{folder}: the results are not those of this record: analyse it again")


def _published(plan: Protocol, results: Results, replicates: pl.DataFrame | None) -> str:
    """The main figures of this trial and of the published one, with the spread over repeated trials."""
    title = f"{plan.protocol}: {plan.title}" if not plan.title.startswith(plan.protocol) else plan.title
    lines = [title, ""]
    compared = [f for f in plan.published.values() if f.compared]
    main = [f for f in compared if f.parameter in HEADLINES and f.statistic == "estimate"]
    others = [f for f in compared if f.analysis not in ABOUT_PEOPLE]
    for figure in main or others:
        key = (figure.analysis, figure.group, figure.parameter)
        spread = ("lower", "upper") if figure.statistic == "estimate" else ("", "")
        shown = _interval(*(_value(results, *key, name) for name in (figure.statistic, *spread)))
        if figure.analysis in plan.endpoints_not_simulated:
            shown = "not simulated: the virtual participants have no such events"
        low, high = figure.interval if figure.interval is not None else (math.nan, math.nan)
        unit = f" {figure.unit}" if figure.unit else ""
        lines += [
            figure.label,
            f"  this trial  {shown}{unit}",
            f"  published   {_interval(figure.value, low, high)}{unit}",
        ]
        column = "|".join((*key, figure.statistic))
        if replicates is not None and column in replicates.columns:
            values = replicates[column].drop_nulls().drop_nans()
            if len(values) > 1:
                ends = (values.quantile(0.025, "linear"), values.quantile(0.975, "linear"))
                plain = " (without the mixed model)" if figure.parameter == HEADLINES[1] else ""
                lines.append(
                    f"  {len(values):,} trials: median {_number(values.median())}, 95% of them from "
                    f"{_number(ends[0])} to {_number(ends[1])}{unit}{plain}"
                )
    return "\n".join(lines)


def _value(results: Results, analysis: str, group: str, parameter: str, statistic: str) -> float:
    try:
        return results.value(analysis, group, parameter, statistic)
    except KeyError:
        return math.nan


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or math.isnan(value):
        return "not estimable"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"


def _interval(value: float, low: float, high: float) -> str:
    return _number(value) if math.isnan(low) else f"{_number(value)} ({_number(low)} to {_number(high)})"


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (run, simulate, analyse, report, verify):
        app.command()(command)
