"""What is looked at before a trial is worked on, beyond `starting`: that the database is the one that the
journal beside it tells of, not an older copy; and bringing the tables of an older version up to date."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from equipoise._atomic import explain, sync_file
from equipoise.conduct import ledger, opening, starting
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

_log = logging.getLogger(__name__)


def check(path: str | os.PathLike[str] | TrialFolder) -> TrialFolder:
    """A trial that can be worked on. Raises UserError, with one message, for the first thing that is wrong.

    Lines that a crash kept from the journal are added; where the journal knows of allocations that the
    database lacks, randomisation is suspended.
    """
    trial = starting.open_trial(path)
    starting.check_to_serve(trial)
    with starting.plainly(trial):
        check_is_the_latest(trial)
    return trial


def check_is_the_latest(trial: TrialFolder) -> None:
    """Raise UserError when the database is behind its signed checkpoints, or not the one they are of."""
    from equipoise.conduct import journal
    from equipoise.conduct.models import Chain, Entry, Trial

    last = ledger.last_checkpoint(trial.journal / ledger.CHECKPOINTS)
    head = Chain.objects.get(id=1)
    if last is not None:
        found = Entry.objects.filter(n=last.n).values_list("hash", flat=True).first()
        if found != last.hash:
            behind = f"it ends with entry {head.n}, entry {last.n} was signed at {last.at}"
            raise UserError(
                f"the database is not the one that {trial.journal / ledger.CHECKPOINTS} tells of ({behind}): "
                "it was replaced by an older copy, or is of another trial. Bring it back with  equipoise "
                "conduct restore, which keeps anybody's place from being given twice"
            )
        sign_for_the_rest(trial, last)
    journal.catch_up(trial)
    if journal.last_sequence(trial) > Trial.objects.get(id=1).allocated:
        journal.suspend(
            "the journal knows of allocations that the database does not have; they are to be reconciled",
            "trial.suspend",
        )


def sign_for_the_rest(trial: TrialFolder, last: ledger.Checkpoint) -> None:
    """Sign for the entries behind the last checkpoint, which a process wrote that was killed before it signed
    for them: as the next act would, once they follow one from the other. If they do not, `verify` says so."""
    from equipoise.conduct.models import Chain, Entry

    head = Chain.objects.get(id=1)
    reached, digest = last.n, last.hash
    for entry in Entry.objects.filter(n__gt=last.n, n__lte=head.n).order_by("n").values().iterator():
        if (entry["n"], entry["previous"]) != (reached + 1, digest):
            return
        reached, digest = entry["n"], ledger.entry_hash(digest, entry)
    if reached == last.n or (reached, digest) != (head.n, head.hash):
        return
    try:
        ledger.write_checkpoint(trial, head.n, head.hash, head.at)
    except OSError as error:
        raise explain(error, trial.journal / ledger.CHECKPOINTS, "sign for the ledger") from None
    _log.warning("signed for the entries %s to %s, which nobody had signed for", last.n + 1, head.n)


# --- tables of an older version ---------------------------------------------------------------------------


def steps_missing() -> list[tuple[str, str]]:
    """The steps that the tables of the open trial lack."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [(step.app_label, step.name) for step, _ in plan]


def migrate_here() -> None:
    """Take the steps that the tables of the open trial lack."""
    from django.core.management import call_command

    if steps_missing():
        call_command("migrate", verbosity=0, interactive=False)


def upgrade(path: str | os.PathLike[str] | TrialFolder) -> tuple[Path | None, tuple[str, ...]]:
    """Bring the tables of a trial to this version: back up, change, verify, or leave all as it was.

    Returns (backup, steps taken): no backup and no steps when the tables are those of this version. However
    the process ends, the database is either the old one or the new one: SQLite is changed in a copy that
    takes the place of the original at the end, PostgreSQL in one transaction. Raises UserError when the
    tables are newer, the trial is being served, or it does not verify after the change.
    """
    from equipoise.conduct import backup

    trial = opening.use(path)
    starting.check_keys(trial)
    if trial.uses_sqlite and not trial.database_file.is_file():
        raise UserError(f"{trial.database_file}: the database of the trial is not there")
    with starting.plainly(trial), backup.not_served(trial):
        starting.check_not_newer()
        steps = steps_missing()
        if not steps:
            return None, ()
        kept = backup.backup(trial)
        (_upgrade_sqlite if trial.uses_sqlite else _upgrade_postgres)(trial)
    names = tuple(f"{app} {name}" for app, name in steps)
    opening.use(trial)
    with starting.plainly(trial):
        _note(names)
    return kept, names


def _note(steps: tuple[str, ...]) -> None:
    from equipoise.conduct.gateway import Act, with_system

    def work(act: Act) -> None:
        act.record("trial", 1, field="tables", new=", ".join(steps))

    with_system("trial.upgrade", work)


def _change_and_verify(trial: TrialFolder) -> None:
    """Take the missing steps in the database that is open, and verify it."""
    migrate_here()
    from equipoise.conduct import verifying

    found = [*verifying.ledger_problems(trial), *verifying.state_problems(trial)]
    if found:
        raise UserError(f"after the change the trial does not verify, and it was undone: {found[0]}")


def _upgrade_postgres(trial: TrialFolder) -> None:
    from django.db import transaction

    with transaction.atomic():
        _change_and_verify(trial)


def _upgrade_sqlite(trial: TrialFolder) -> None:
    """Change a copy, while nobody can write to the original; then let it take its place."""
    file = trial.database_file
    copy = file.with_name(".upgrading.sqlite3")
    copy.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(file, timeout=starting.LOCKED_SECONDS, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            opening.use_database(trial, copy)
            _change_and_verify(trial)
            opening.close()
            sync_file(copy)
            held.execute("ROLLBACK")
        os.replace(copy, file)
    except sqlite3.Error as error:
        raise starting.database_trouble(trial, error) from None
    finally:
        opening.use(trial)
        for ending in ("", "-journal", "-wal", "-shm"):
            copy.with_name(copy.name + ending).unlink(missing_ok=True)
