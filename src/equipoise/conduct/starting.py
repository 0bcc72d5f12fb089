"""What must be right before a trial is worked on: its keys, its database, its protocol, its clock, its disk.

Each thing that is wrong is one message that says what and how to mend it. Nothing is changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from equipoise._atomic import explain_reading, reason
from equipoise.conduct import entering, opening
from equipoise.conduct.folder import KEYS, PUT_BACK, TrialFolder
from equipoise.conduct.refusing import Refused
from equipoise.errors import UserError
from equipoise.protocol import canonical

NEEDED_BYTES = 50_000_000
"""Free space without which a trial is not served: forms, journal and backups would be refused soon
(assumed)."""
PROBE_BYTES = 1_000_000
LOCKED_SECONDS = 2.0
"""What is written to see whether there is room, and how long a locked database is waited for (assumed)."""


def open_trial(path: str | os.PathLike[str] | TrialFolder) -> TrialFolder:
    """The trial at `path`, open, with keys, database and protocol as they must be.

    Raises UserError with one message for the first thing that is wrong.
    """
    trial = opening.use(path)
    check_keys(trial)
    with plainly(trial):
        check_tables()
        check_settings(trial)
        check_protocol(trial)
    return trial


def open_to_verify(path: str | os.PathLike[str] | TrialFolder) -> TrialFolder:
    """As `open_trial`, but for settings and protocol: that they were changed is among the things that
    `verify` names. That the protocol is none at all is named here: nothing can be compared with it."""
    trial = opening.use(path)
    check_keys(trial)
    with plainly(trial):
        check_tables()
        try:
            read = trial.protocol
        except UserError:
            read = None
        if read is None:
            check_protocol(trial)
    return trial


def check_to_serve(trial: TrialFolder) -> None:
    """Raise UserError unless an open trial can be written to: database, clock, disk."""
    check_disk(trial)
    with plainly(trial):
        check_writable(trial)
        check_clock()


def check_keys(trial: TrialFolder) -> None:
    """Raise UserError unless every key is there, whole, and nobody else's to read."""
    for name in KEYS:
        trial.key(name)


@contextmanager
def plainly(trial: TrialFolder) -> Iterator[None]:
    """What the database complains of, or the gateway refuses, as a message to a person."""
    from django.db import DatabaseError

    try:
        yield
    except DatabaseError as error:
        raise database_trouble(trial, error) from None
    except Refused as error:
        raise UserError(error.words) from None


def database_trouble(trial: TrialFolder, error: Exception) -> UserError:
    """What is wrong with the database of a trial, and what to do."""
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    if not trial.uses_sqlite:
        return UserError(f"the database of {trial.name} cannot be used: {said}")
    file = trial.database_file
    if "locked" in said:
        return UserError(
            f"{file}: the database is locked by another program: close it there (or wait) and try again"
        )
    if "full" in said or "disk I/O" in said:
        return UserError(
            f"{file}: the disk is full, or the file may not grow: free some space; nothing was changed"
        )
    if "readonly" in said or "unable to open" in said:
        return UserError(f"{file}: the database cannot be written to: {said}")
    if "not a database" in said or "malformed" in said:
        return UserError(
            f"{file}: this is not a sound database: restore a backup with  equipoise conduct restore"
        )
    return UserError(f"{file}: the database cannot be used: {said}")


def check_tables() -> None:
    """Raise UserError unless the tables are those of this version of the software."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    trial = opening.folder()
    if trial.uses_sqlite and not trial.database_file.is_file():
        raise UserError(f"{trial.database_file}: the database of the trial is not there")
    if "conduct_trial" not in connection.introspection.table_names():
        raise UserError(f"the database of {trial.path} holds no trial: it was not made by conduct init")
    check_not_newer()
    loader = MigrationLoader(connection)
    missing = [key for key in loader.graph.leaf_nodes() if key not in loader.applied_migrations]
    if missing:
        raise UserError(
            f"the database was made by an older version of Equipoise: run  equipoise conduct upgrade "
            f"{trial.path}"
        )


def check_not_newer() -> None:
    """Raise UserError when the tables are those of a newer version."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    newer = [f"{app} {name}" for app, name in loader.applied_migrations
             if app == "conduct" and (app, name) not in loader.disk_migrations]  # fmt: skip
    if newer:
        raise UserError(
            f"the database was made by a newer version of Equipoise (it has {newer[0]}): install that version"
        )


def check_empty() -> None:
    """Raise UserError unless the database can be reached and holds nothing: no trial is put over another."""
    from django.db import DatabaseError, connection

    try:
        with connection.cursor():
            standing = connection.introspection.table_names()
    except DatabaseError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"the database cannot be reached: {lines[0]}") from None
    if standing:
        raise UserError(
            "the database is not empty, and nothing is put over another trial: make an empty one and name it "
            "with --database"
        )


def check_settings(trial: TrialFolder) -> None:
    """Raise UserError unless name, kind and time zone are those with which the trial was set up."""
    from equipoise.conduct.models import Trial

    row: Any = Trial.objects.filter(id=1).first()
    if row is None:
        raise UserError(f"the database of {trial.path} holds no trial: it was not made by conduct init")
    differing = trial.differing(row.name, row.kind, row.zone)
    if differing:
        raise UserError(differing[0])


def check_protocol(trial: TrialFolder) -> None:
    """Raise UserError unless the protocol file is, to the last character, the one that was activated."""
    from equipoise.conduct.models import Trial

    row: Any = Trial.objects.filter(id=1).first()
    if row is None:
        raise UserError(f"the database of {trial.path} holds no trial: it was not made by conduct init")
    try:
        found = trial.protocol_file.read_bytes()
    except OSError as error:
        raise explain_reading(error, trial.protocol_file, "read the protocol", PUT_BACK) from None
    if found == row.protocol.encode():
        if canonical(trial.protocol) != found or trial.protocol_sha256 != row.protocol_sha256:
            raise UserError(
                f"{trial.protocol_file}: this version of Equipoise reads the protocol otherwise than the one "
                f"that activated it ({row.software}): install that version"
            )
        return
    place = next(
        (n for n, (a, b) in enumerate(zip(found, row.protocol.encode(), strict=False)) if a != b),
        min(len(found), len(row.protocol.encode())),
    )
    raise UserError(
        f"{trial.protocol_file}: this is not the protocol that was activated on "
        f"{entering.short(row.activated_at)} (it differs from character {place + 1} on): put that file back; "
        "an amendment is a new version, never a change of this file"
    )


def check_writable(trial: TrialFolder) -> None:
    """Raise UserError unless the database lets this process write, soon."""
    from django.db import connection, transaction

    from equipoise.conduct.models import Chain

    with _patience(trial), transaction.atomic():
        if not Chain.objects.filter(id=1).update(id=1):
            raise UserError("the database has no ledger: it was not made by `equipoise conduct init`")
        transaction.set_rollback(True)
    connection.close()


@contextmanager
def _patience(trial: TrialFolder) -> Iterator[None]:
    """At the start nobody waits half a minute for a lock."""
    from django.db import connection

    with connection.cursor() as cursor:
        if trial.uses_sqlite:
            cursor.execute(f"PRAGMA busy_timeout = {int(LOCKED_SECONDS * 1000)}")
        else:
            cursor.execute(f"SET lock_timeout = {int(LOCKED_SECONDS * 1000)}")
    yield


def check_clock() -> None:
    """Raise UserError when the clock has gone back behind the last entry of the ledger."""
    from equipoise.conduct.gateway import check_time

    try:
        check_time()
    except Refused as error:
        raise UserError(error.words) from None


def check_disk(trial: TrialFolder) -> None:
    """Raise UserError unless files of some size can be written where the trial writes."""
    for name in ("data", "journal", "log"):
        place = trial.path / name
        probe = place / f".probe-{os.getpid()}"
        try:
            place.mkdir(exist_ok=True)
            _fill(probe)
            free = shutil.disk_usage(place).free
        except OSError as error:
            raise UserError(f"{place}: cannot be written to: {reason(error)}") from None
        finally:
            with suppress(OSError):
                probe.unlink()
        if free < NEEDED_BYTES:
            raise UserError(
                f"{place}: only {free / 1e6:.0f} MB are free: free some space before people enter data here"
            )


def _fill(file: Path) -> None:
    with file.open("wb") as out:
        out.write(b"\0" * PROBE_BYTES)
        out.flush()
        os.fsync(out.fileno())
