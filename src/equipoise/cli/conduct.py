"""Commands that conduct a trial with real participants: make it, serve it, keep it safe, take its record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.protocols import Force
from equipoise.errors import UserError

if TYPE_CHECKING:
    from equipoise.conduct.folder import TrialFolder
    from equipoise.conduct.redacting import Redacted

conduct = typer.Typer(
    no_args_is_help=True, help="Conduct a trial: participants, pages, database, backups.",
    rich_markup_mode=None,
)  # fmt: skip

Trial = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the trial.")]
User = Annotated[str, typer.Argument(metavar="USER", help="Name with which the person logs in.")]


@conduct.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make for the trial.")],
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="PROTOCOL", help="Bundled protocol or protocol file.")
    ],
    database: Annotated[
        str,
        typer.Option(
            "--database", metavar="ADDRESS", help='"sqlite", in the folder, or postgresql://USER@HOST/NAME.'
        ),
    ] = "sqlite",
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help='Of the trial\'s office: "Europe/Copenhagen".')
    ] = "UTC",
    places: Annotated[
        int | None,
        typer.Option("--places", min=1, help="Who may be randomised at most. Default: planned and a fifth."),
    ] = None,
    administrator: Annotated[
        str | None,
        typer.Option("--administrator", metavar="NAME", help="Who adds all others, as the name is printed."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the server.")] = 8000,
) -> None:
    """Make the folder, keys and database of a trial, and the account of its administrator.

    Example:  equipoise conduct init trial/ --protocol silcaat --administrator "Ada Example"
    """
    from equipoise.cli.trials import sound
    from equipoise.conduct import require, starting
    from equipoise.conduct.folder import TrialFolder
    from equipoise.conduct.initialise import initialise

    require()
    sound(protocol)
    name, printed = _administrator(administrator)
    with starting.plainly(TrialFolder(folder, "the new trial", database, time_zone, "real")):
        trial, password = initialise(
            folder, protocol, database=database, zone=time_zone, kind="real", places=places,
            administrator=(name, printed), port=port,
        )  # fmt: skip
    typer.echo(f"{trial.path}: {trial.name}, protocol {trial.protocol_sha256}")
    typer.echo(f"Log-in of {printed}:  {name}   First password:  {password}")
    typer.echo(
        "Keep a copy of the folder keys/ apart from the backups: without it no allocation can be read.\n"
        f"Next:  equipoise conduct serve {folder}   then log in, set a password and a second factor,\n"
        "       and add the people of the trial."
    )


def _administrator(printed: str | None) -> tuple[str, str]:
    """(log-in, printed name): the log-in is the printed name in small letters, with points."""
    if printed is None:
        return "admin", "Administrator"
    name = ".".join(re.findall(r"[a-z0-9]+", printed.lower()))
    if not re.fullmatch(r"[a-z][a-z0-9._-]{1,58}", name):
        raise UserError(
            f'--administrator: write a name in Latin letters, such as "Ada Example", not "{printed}"'
        )
    return name, " ".join(printed.split())


@conduct.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make for the demonstration.")],
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="PROTOCOL", help="Bundled protocol or protocol file.")
    ] = "silcaat",
    participants: Annotated[
        int, typer.Option("--participants", min=20, max=500, help="Fictitious participants.")
    ] = 60,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what happens to them.")] = 1,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the server.")] = 8000,
) -> None:
    """Make a trial to look at: sites, people of every role, fictitious participants in mid-trial.

    Example:  equipoise conduct demo demo/
    """
    from equipoise.cli.progress import Stages
    from equipoise.cli.trials import sound
    from equipoise.conduct import require

    require()
    sound(protocol)
    with Stages() as stages:
        from equipoise.conduct import demo as demonstration

        made = demonstration.make(
            folder, protocol, participants=participants, seed=seed, port=port, progress=stages
        )
    typer.echo(f"{made.trial.path}: {made.trial.name}, a demonstration. Everybody is fictitious.")
    typer.echo(f"Password of all of them:  {made.password}   (shown only now)")
    for member in made.people:
        typer.echo(f"  {member.username:<8}{member.role:<24}{member.name}, {member.site}")
    typer.echo(
        f"Next:  equipoise conduct serve {folder}\n"
        f"       equipoise conduct code {folder} ada   prints the code that the log-in asks for"
    )


@conduct.command()
def serve(
    folder: Trial,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port. Default: that of the trial.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")
    ] = "127.0.0.1",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes. Default: one for each core.")
    ] = None,
    behind_tls: Annotated[
        bool, typer.Option("--behind-tls", help="A proxy with TLS stands in front of the server.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve the pages of a trial until Ctrl-C.

    Example:  equipoise conduct serve trial/

    Example:  equipoise conduct serve trial/ --port 8010 --open
    """
    import os
    import webbrowser

    from equipoise.conduct import checking, opening, require, serving
    from equipoise.conduct import folder as folders

    require()
    trial = folders.read(folder)
    os.environ[opening.TLS_VARIABLE] = "1" if behind_tls else "0"
    place = serving.Place(host, port or trial.port, workers or serving.processes(), behind_tls)
    serving.refuse_open_air(trial, place)
    checking.check(trial)
    typer.echo(f"{trial.name}: {_kind(trial)}. Folder {trial.path}")

    def ready() -> None:
        if open_browser:
            webbrowser.open(place.address)

    serving.serve(trial, place, say=typer.echo, ready=ready)


def _kind(trial: TrialFolder) -> str:
    return {
        "real": "real participants",
        "demonstration": "a demonstration, with fictitious participants",
        "rehearsal": "a rehearsal, with virtual participants",
    }[trial.kind]


@conduct.command()
def status(folder: Trial) -> None:
    """Say how a trial stands: sites, people, participants, ledger, server, backups.

    Example:  equipoise conduct status trial/
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    from equipoise.conduct import standing

    with starting.plainly(trial):
        for what, words in standing.lines(trial):
            typer.echo(f"{what:<14}{words}")


@conduct.command()
def export(
    folder: Trial,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written.")],
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Write the audit trail instead of the record.")
    ] = False,
    force: Force = False,
) -> None:
    """Write the record of a trial, as simulate writes it, and say what is faulty in it; or write its whole
    audit trail.

    Example:  equipoise conduct export trial/ --out record/

    Example:  equipoise conduct export trial/ --ledger --out audit-trail/
    """
    from equipoise._atomic import refuse_existing
    from equipoise.conduct import starting

    refuse_existing(out, force)
    trial = starting.open_trial(folder)
    from equipoise.conduct import exporting

    with starting.plainly(trial):
        if ledger:
            trail = exporting.export_ledger(trial, out, force=force)
            typer.echo(f"{out}: {trail.entries:,} entries, the last with the hash {trail.final_hash}")
            return
        exported = exporting.export(trial, out, force=force)
    made = exported.record.manifest
    rows = sum(entry.rows for entry in made.tables.values())
    typer.echo(f"{out}: {made.tables['participants'].rows:,} participants, {rows:,} rows")
    typer.echo(f"SHA-256 {made.record_sha256}")
    if exported.faults:
        from equipoise.record.checking import in_words

        consequence = "they are in the record as they are in the trial; correct them there"
        typer.echo(in_words(exported.faults, consequence), err=True)
    typer.echo(f"Next:  equipoise analyse {out}")


@conduct.command()
def backup(
    folder: Trial,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="File to write. Default: in backups/.")
    ] = None,
) -> None:
    """Back up a trial into one file, while people work.

    Example:  equipoise conduct backup trial/ --to /elsewhere/monday.zip
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    from equipoise.conduct import backup as backups

    with starting.plainly(trial):
        made = backups.backup(trial, to)
    typer.echo(f"{made}: {made.stat().st_size / 1e6:,.1f} MB. The keys are not in it: keep keys/ apart.")


@conduct.command()
def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="Backup of a trial.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the trial, with its keys.")],
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="ADDRESS", help="Address of an empty PostgreSQL database."),
    ] = None,
) -> None:
    """Restore a backup. Nobody is randomised afterwards until it has been reconciled with the journal.

    Example:  equipoise conduct restore monday.zip trial/
    """
    from equipoise.conduct import backup as backups
    from equipoise.conduct import require

    require()
    done = backups.restore(archive, folder, database=database)
    typer.echo(
        f"{done.trial.path}: restored in {done.seconds:,.1f} s, to entry {done.entries:,} of {done.last_at}"
    )
    if done.lost_entries:
        typer.echo(f"{done.lost_entries:,} later entries were signed and are lost")
    for what, entered in (("participants", done.participants), ("allocations", done.allocations)):
        if entered:
            typer.echo(f"Entered again from the journal, {what}: {', '.join(entered)}")
    typer.echo("Randomisation is suspended. To do:")
    for number, words in enumerate(done.to_do, start=1):
        typer.echo(f"  {number}. {words}")


@conduct.command()
def reconcile(folder: Trial) -> None:
    """Enter again, from the journal beside the database, what a restored database lacks.

    Example:  equipoise conduct reconcile trial/
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    from equipoise.conduct import backup as backups

    with starting.plainly(trial):
        done = backups.reconcile(trial)
    for what, entered in (("participants", done.participants), ("allocations", done.allocations)):
        typer.echo(f"Entered again, {what}: {', '.join(entered) or 'none'}")


@conduct.command()
def verify(folder: Trial) -> None:
    """Look whether a trial is what its ledger says: whatever was altered, taken out or put in is named.

    Ends with status 1 when anything is wrong.

    Example:  equipoise conduct verify trial/
    """
    from equipoise.conduct import starting

    trial = starting.open_to_verify(folder)
    from equipoise.conduct import backup as backups

    with starting.plainly(trial):
        found = backups.verify(trial)
    for words in found:
        typer.echo(words)
    if found:
        typer.echo(
            f"{folder}: {len(found):,} {'thing is' if len(found) == 1 else 'things are'} wrong", err=True
        )
        raise typer.Exit(1)
    from equipoise.conduct.models import Chain

    head = Chain.objects.get(id=1)
    typer.echo(
        f"{trial.name}: all is well: {head.n:,} entries of the ledger, every row, signature and allocation "
        f"and the journal agree. Last hash {head.hash}"
    )


@conduct.command()
def upgrade(folder: Trial) -> None:
    """Bring the tables of a trial to this version: back up, change, verify, or leave all as it was.

    Example:  equipoise conduct upgrade trial/
    """
    from equipoise.conduct import checking, require

    require()
    kept, steps = checking.upgrade(folder)
    if not steps:
        typer.echo(f"{folder}: nothing to do, the tables are those of this version")
        return
    typer.echo(f"{folder}: {', '.join(steps)}. The state before is in {kept}")


@conduct.command()
def password(
    folder: Trial,
    user: User,
    forget_second_factor: Annotated[
        bool,
        typer.Option(
            "--forget-second-factor", help="Also forget codes and passkeys, for a phone that is lost."
        ),
    ] = False,
) -> None:
    """Give somebody a new first password, when no administrator can log in. The ledger says so.

    Example:  equipoise conduct password trial/ ada.example
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    starting.check_to_serve(trial)
    from equipoise.conduct import rescue

    with starting.plainly(trial):
        made = rescue.new_password(user, forget_second_factor=forget_second_factor)
    typer.echo(f"New first password of {user}:  {made}")
    typer.echo("It is to be changed at the next log-in; all sessions have ended.")


@conduct.command()
def code(folder: Trial, user: User) -> None:
    """Print the code that somebody's second factor would show now; in demonstrations only.

    Example:  equipoise conduct code demo/ ivo
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    from equipoise.conduct import rescue

    with starting.plainly(trial):
        typer.echo(rescue.present_code(trial, user))


@conduct.command()
def redact(
    folder: Trial,
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help="Number of the participant.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, and who decided it; it stays on record.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; the text is then a line of standard input.")
    ] = False,
) -> None:
    """Take a text that identifies somebody out of what is on record of a participant, for good.

    The text is asked for. In the ledger a tombstone says which entry lost it, when and why; `verify` accepts
    the entry as it is then, and in no other way. Signatures of forms that change lapse.

    Example:  equipoise conduct redact trial/ 003-0012-O --reason "a name, found by the monitor"
    """
    from equipoise.conduct import starting

    trial = starting.open_trial(folder)
    starting.check_to_serve(trial)
    from equipoise.conduct import redacting

    with starting.plainly(trial):
        text = (
            typer.get_text_stream("stdin").readline() if yes else typer.prompt("Text to take out")
        ).strip()
        found = redacting.look(participant, text)
        if found.is_nothing:
            raise UserError(f"{participant}: nothing that concerns this participant holds this text")
        if not yes:
            typer.echo(f"It stands in {_held(found)}.")
            if not typer.confirm("Take it out of all of them, for good?"):
                typer.echo("Nothing was changed.")
                return
        done = redacting.redact(participant, text, reason)
    typer.echo(f"Taken out of {_held(done)}.")
    for kind, count in done.elsewhere.items():
        typer.echo(f"Not touched, for it is not of this participant: {kind} ({count:,})")
    typer.echo("Backups and exports made before hold it still.")


def _held(found: Redacted) -> str:
    held = {"entries of the ledger": len(found.entries), **found.rows, "draft": found.drafts}
    return ", ".join(f"{kind} ({count:,})" for kind, count in held.items() if count)


@conduct.command()
def evidence(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of a trial, whose protocol is named.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Page to write: .html, or .md for plain text.")
    ] = Path("evidence.html"),
    tests: Annotated[
        Path | None, typer.Option("--tests", metavar="DIR", help="Folder of the tests of Equipoise.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="FILE", help="How the tests ended, as --run wrote it.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Run the tests of requirements first.")] = False,
    force: Force = False,
) -> None:
    """Print which requirement is shown by which tests, and how these ended, as a dated page.

    The tests are those of a copy of the repository of this version. Ends with status 1 unless each
    requirement that is covered has tests, and all of them were run and passed.

    Example:  equipoise conduct evidence trial/ --tests tests/ --run --out evidence.html
    """
    from equipoise._atomic import new_file
    from equipoise.conduct import evidence as made
    from equipoise.conduct import folder as folders

    trial = None if folder is None else folders.read(folder)
    if run:
        if tests is None:
            raise UserError("--run needs the folder of the tests: name it with --tests")
        results = results or Path(made.RESULTS_NAME)
        made.run_tests(tests, results)
    found = made.trace(trial, results, tests)
    with new_file(out, force=force) as file:
        plain = out.suffix.lower() in (".md", ".markdown")
        file.write_text((made.as_markdown if plain else made.as_html)(found), encoding="utf-8")
    typer.echo(f"{out}: {made.summary(found)}")
    if not found.shows_all:
        if results is None:
            typer.echo(
                "No tests were run: name those of a copy of the repository with --tests, and give --run.",
                err=True,
            )
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(conduct, name="conduct")
