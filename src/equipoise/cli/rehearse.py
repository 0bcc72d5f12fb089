"""The command that rehearses a trial with virtual participants through the real system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.progress import Stages
from equipoise.cli.protocols import Force, ProtocolArgument

DISAGREED = 1
MOST_SHOWN = 30


def rehearse(
    protocol: ProtocolArgument,
    participants: Annotated[
        int, typer.Option("--participants", min=2, help="Virtual participants to randomise.")
    ] = 200,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Seed of the random numbers; another seed, another rehearsal."),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the evidence. Default: trial and date."),
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            "--database", metavar="ADDRESS", help='"sqlite", or the address of an empty PostgreSQL database.'
        ),
    ] = "sqlite",
    faults: Annotated[
        bool,
        typer.Option(
            "--faults/--no-faults",
            help="Late, wrong and missing data, requests sent twice or cut off, two people at once. "
            "Without them the record must be that of the simulated trial.",
        ),
    ] = True,
    years: Annotated[
        float | None, typer.Option("--years", help="Cut follow-up short. Default: as the protocol says.")
    ] = None,
    clients: Annotated[
        int, typer.Option("--clients", min=1, max=64, help="People who work at the same time.")
    ] = 4,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes of the server.")] = 2,
    force: Force = False,
) -> None:
    """Rehearse a trial: virtual participants live it through the real system, and everything is compared.

    The real server runs on an empty database. Every dosing decision must be the one that the rules take from
    the same data, to the last dose; nothing may be lost or done twice; allocations must replay from the key.
    Leaves a folder that can be filed as evidence of acceptance testing. Ends with status 1 when anything
    disagreed.

    Example:  equipoise rehearse silcaat --participants 200

    Example:  equipoise rehearse my-trial.yaml --participants 20 --years 1 --no-faults --out rehearsal
    """
    from equipoise.conduct import require

    require()
    with Stages() as stages:
        stages("Reading the protocol")
        from equipoise.conduct.rehearsal import evidence
        from equipoise.conduct.rehearsal.rehearsing import rehearse as run

        folder = out if out is not None else _default(str(protocol))
        done = run(
            protocol, participants=participants, out=folder, seed=seed, database=database, faults=faults,
            years=years, clients=clients, workers=workers, force=force, say=stages,
        )  # fmt: skip
    for remark in done.remarks:
        typer.echo(f"Note: {remark}", err=True)
    for check in done.checks:
        outcome = "holds" if check.holds else f"{len(check.disagreements):,} DISAGREE"
        typer.echo(f"{check.looked_at:>9,}  {outcome:<12}  {check.name}")
    facts, (_, requests, median, tail, longest) = done.facts, done.latencies[0]
    typer.echo(
        f"\n{facts.participants:,} participants of {facts.candidates:,} screened; {requests} requests in "
        f"{facts.seconds_living:.0f} s (median {median} ms, 95th percentile {tail} ms, longest {longest} ms)"
    )
    typer.echo(f"{evidence.verdict(done.checks)} Evidence: {done.folder / 'summary.html'}")
    for words in done.disagreements[:MOST_SHOWN]:
        typer.echo(words, err=True)
    if done.disagreements:
        more = len(done.disagreements) - MOST_SHOWN
        if more > 0:
            typer.echo(f"... and {more:,} more, in {done.folder / 'summary.md'}", err=True)
        raise typer.Exit(DISAGREED)


def _default(protocol: str) -> Path:
    from datetime import date

    return Path(f"rehearsal-{Path(protocol).stem}-{date.today().isoformat()}")


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(rehearse)
