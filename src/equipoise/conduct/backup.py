"""Backups of a trial while it runs, and restoring them so that nobody's place is ever given twice.

A backup is one zip file: the database as it was at one moment, the protocol, the settings without passwords,
the journal, and last a signed list of everything in it with checksums, so that a truncated or altered file is
known as such. Keys are never in it: they are kept apart. A copy of the database file made by other means may
lack what was written last, and is not a backup.

After a restore randomisation is suspended. What the journal beside the database knows and the backup does not
is entered again; the unblinded statistician then lets randomisation go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidSignature

import equipoise
from equipoise._atomic import explain, explain_reading, new_file
from equipoise.conduct import clock, ledger, opening, sealing, starting
from equipoise.conduct import folder as folders
from equipoise.conduct.folder import KEYS, TrialFolder
from equipoise.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
TABLES = "tables/"
LEFT_OUT = frozenset({"django_session", "conduct_cache"})
"""Tables that are not kept: log-ins, and what can be worked out anew."""
_PIECE = 1 << 20
_SEAL = 64
_ROWS = 1000
_NAMED = 40
"""People whose rights are listed after a restore."""


# --- backing up -------------------------------------------------------------------------------------------


def backup(path: str | os.PathLike[str] | TrialFolder, to: str | os.PathLike[str] | None = None) -> Path:
    """Back up a trial while it runs, into one file; its path.

    Without `to` it goes into the folder `backups` of the trial. Raises UserError when it cannot be written;
    no half of a backup is left then.
    """
    trial = opening.use(path)
    final = Path(to) if to is not None else trial.path / "backups"
    if final.is_dir():
        final = _free_name(final, trial.name)
    with new_file(final) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            archive.comment = b"0" * _SEAL
            _fill(trial, _Archive(archive), file.parent)
        with file.open("rb+") as whole:
            digest = _checksum(whole)
            whole.seek(-_SEAL, os.SEEK_END)
            whole.write(digest)
    return final


def _free_name(folder: Path, trial: str) -> Path:
    """A name for a backup made now that nothing has yet."""
    name = "".join(c if c.isalnum() else "-" for c in trial.lower())
    stem = f"{name}-{clock.now():%Y%m%d-%H%M%S}"
    endings = chain([""], (f"-{number}" for number in count(2)))
    return next(file for end in endings if not (file := folder / f"{stem}{end}.zip").exists())


def _checksum(file: IO[bytes]) -> bytes:
    """The checksum over a whole backup, which is its last bytes (as zip's comment)."""
    left = file.seek(0, os.SEEK_END) - _SEAL
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0 and (piece := file.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest().encode()


class _Archive:
    """A zip file being written, with the size and checksum of everything in it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        """Add one file."""
        digest, size = hashlib.sha256(), 0
        with self._archive.open(name, "w", force_zip64=True) as out:
            for piece in pieces:
                out.write(piece)
                digest.update(piece)
                size += len(piece)
        self.files[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


def _fill(trial: TrialFolder, archive: _Archive, scratch: Path) -> None:
    facts = _sqlite(trial, archive, scratch) if trial.uses_sqlite else _postgres(trial, archive)
    for name in (folders.PROTOCOL_FILE, folders.SOURCE_FILE):
        if (trial.path / name).is_file():
            archive.add(name, _pieces(trial.path / name))
    # Read after the database, so that the journal knows everything that the database knows.
    for name in ("journal/allocations.jsonl", "journal/screenings.jsonl"):
        archive.add(name, _pieces(trial.path / name) if (trial.path / name).is_file() else ())
    archive.add(f"journal/{ledger.CHECKPOINTS}", _checkpoints(trial, facts["entries"]))
    stated = {
        "format": FORMAT,
        "made_at": ledger.utc(clock.now()),
        "software": equipoise.__version__,
        "name": trial.name,
        "kind": trial.kind,
        "time_zone": trial.zone,
        "port": trial.port,
        "hosts": list(trial.hosts),
        "ledger_key": ledger.public_key(trial),
        "allocation_key_check": sealing.key_check(trial.key("allocation")),
        **facts,
        "files": archive.files,
    }
    signature = ledger.signing_key(trial).sign(_canonical(stated)).hex()
    archive.add(MANIFEST, [json.dumps({**stated, "signature": signature}, indent=1).encode()])


def _canonical(stated: Mapping[str, Any]) -> bytes:
    return json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()


def _checkpoints(trial: TrialFolder, reached: int) -> Iterator[bytes]:
    """The checkpoints up to the entry that the backup reaches."""
    file = trial.journal / ledger.CHECKPOINTS
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                if int(json.loads(line)["n"]) > reached:
                    continue
            yield line


def _sqlite(trial: TrialFolder, archive: _Archive, scratch: Path) -> dict[str, Any]:
    """The database at one moment, by SQLite's own backup, which waits for writers and misses nothing."""
    copy = scratch / f".copy-{os.getpid()}.sqlite3"
    try:
        with closing(_connect(trial.database_file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target, pages=-1)
            found = target.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise UserError(f"{trial.database_file}: the database is damaged: {found}")
            facts = _facts("sqlite", lambda sql: target.execute(sql).fetchall())
        archive.add(folders.DATABASE_FILE, _pieces(copy))
        return facts
    except sqlite3.Error as error:
        raise UserError(f"{trial.database_file}: cannot be backed up: {error}") from None
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(f"{copy.name}-journal").unlink(missing_ok=True)


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=opening.SQLITE_WAIT_SECONDS)


def _postgres(trial: TrialFolder, archive: _Archive) -> dict[str, Any]:
    """Every table as lines of JSON, all read from one snapshot."""
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(trial.database, connect_timeout=5) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.execute("SET TIME ZONE 'UTC'")
            facts = _facts("postgresql", lambda query: connection.execute(query).fetchall())
            for table in facts["tables"]:
                with connection.cursor(name="rows") as rows:
                    rows.itersize = _ROWS
                    rows.execute(
                        sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier(table))
                    )
                    archive.add(f"{TABLES}{table}.jsonl", (f"{row}\n".encode() for (row,) in rows))
    except psycopg.Error as error:
        raise UserError(f"the database cannot be backed up: {_first_line(error)}") from None
    return facts


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _facts(kind: str, ask: Callable[[str], list[Any]]) -> dict[str, Any]:
    """What a backup says of the database in it."""
    listing = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        if kind == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    tables = [str(name) for (name,) in ask(listing) if name not in LEFT_OUT]
    entries, head, at = ask("SELECT n, hash, at FROM conduct_chain WHERE id = 1")[0]
    return {
        "database": kind,
        "protocol_sha256": ask("SELECT protocol_sha256 FROM conduct_trial WHERE id = 1")[0][0],
        "migrations": [list(row) for row in ask("SELECT app, name FROM django_migrations ORDER BY id")],
        "entries": entries,
        "head": head,
        "last_at": _utc(at),
        "tables": {table: ask(f'SELECT count(*) FROM "{table}"')[0][0] for table in tables},
    }


def _utc(moment: Any) -> str | None:
    if moment is None:
        return None
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return ledger.utc(found if found.tzinfo else found.replace(tzinfo=UTC))


# --- restoring --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """What a restore did. `age_seconds` is how far back the last entry lies (what could be lost, RPO),
    `seconds` how long it took (RTO). `lost_entries` counts entries that were signed after the backup, where
    the folder had checkpoints of them. `participants` were unknown to the backup, `allocations` missing in
    it: both were entered again from the journal. `to_do` says what a person must do now."""

    trial: TrialFolder
    made_at: str
    entries: int
    last_at: str | None
    age_seconds: float
    seconds: float
    lost_entries: int
    participants: tuple[str, ...]
    allocations: tuple[str, ...]
    to_do: tuple[str, ...]


def restore(
    archive: str | os.PathLike[str], path: str | os.PathLike[str], *, database: str | None = None
) -> Restored:
    """Restore a backup into a trial's folder, or a new folder that holds the keys.

    `database`: for a PostgreSQL trial the address of an empty database. The embedded database of an existing
    folder is put aside, not removed. Raises UserError, and leaves the folder as it was, when the backup is
    damaged, of another trial or a newer version, or when keys are missing.
    """
    began = time.monotonic()
    file, folder = Path(archive), Path(os.path.abspath(path))
    _check_there(file)
    try:
        _check_whole(file)
        with zipfile.ZipFile(file) as content:
            manifest = _manifest(content, file)
            _check_clock(manifest)
            trial = _target(folder, manifest, database)
            _check_contents(content, manifest, file)
            checkpoints = _later_checkpoints(trial, manifest)
            with not_served(trial):
                journal_kept = _put_back(content, manifest, trial)
    except zipfile.BadZipFile:
        raise UserError(
            f"{file}: this is not a whole backup: it was truncated, damaged, or is another file: take another"
        ) from None
    except OSError as error:
        raise explain(error, folder, "restore the backup") from None
    return _settle(trial, manifest, checkpoints, journal_kept, began)


def _check_there(file: Path) -> None:
    """Refuse a file that cannot be opened."""
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        mend = "name the file that  equipoise conduct backup  wrote (without --to it is in backups/)"
        raise explain_reading(error, file, "restore this backup", mend) from None


def _check_whole(file: Path) -> None:
    """Refuse a file with one bit that is not as it was written."""
    with file.open("rb") as whole:
        digest = _checksum(whole)
        if whole.read() != digest:
            raise zipfile.BadZipFile


def _manifest(content: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(content.read(MANIFEST))
        version = read["format"]
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{file}: this is not a backup of a trial") from None
    if version != FORMAT:
        raise UserError(f"{file}: this backup was made by a newer version of Equipoise: install that version")
    return read


def _check_clock(manifest: Mapping[str, Any]) -> None:
    """Refuse on a machine whose clock is behind the backup: nothing could be written to the ledger."""
    last_at = manifest["last_at"]
    if last_at is None:
        return
    ahead = (datetime.fromisoformat(last_at) - clock.now()).total_seconds()
    if ahead > ledger.MAY_STEP_BACK_SECONDS:
        raise UserError(
            f"the last entry of the backup was made at {last_at}, and the clock of this machine says "
            f"{ledger.utc(clock.now())}: set it right first"
        )


def _target(folder: Path, manifest: Mapping[str, Any], database: str | None) -> TrialFolder:
    """The trial to be restored into; its keys are there and are the right ones."""
    existing = (folder / folders.SETTINGS_FILE).is_file()
    if existing:
        trial = folders.read(folder)
        if database is not None:
            trial = replace(trial, database=database)
        if trial.protocol_sha256 != manifest["protocol_sha256"]:
            raise UserError(
                f"{folder}: this trial has another protocol than the backup ({manifest['name']}): choose the "
                "folder of that trial, or a new one"
            )
    else:
        trial = TrialFolder(
            folder, manifest["name"], database or _same_kind(manifest), manifest["time_zone"],
            manifest["kind"], manifest["port"], tuple(manifest["hosts"]),
        )  # fmt: skip
    folders.check_database(trial.database, "--database")
    if trial.uses_sqlite != (manifest["database"] == "sqlite"):
        kind = "the embedded SQLite" if manifest["database"] == "sqlite" else "PostgreSQL"
        raise UserError(f"the backup is of {kind} database: name a database of that kind with --database")
    _check_keys(trial, manifest)
    return trial


def _same_kind(manifest: Mapping[str, Any]) -> str:
    if manifest["database"] == "sqlite":
        return "sqlite"
    raise UserError(
        "the backup is of a PostgreSQL database: name an empty one with --database postgresql://..."
    )


def _check_keys(trial: TrialFolder, manifest: Mapping[str, Any]) -> None:
    missing = [name for name in KEYS if not (trial.path / "keys" / f"{name}.key").is_file()]
    if missing:
        names = ", ".join(f"{name}.key" for name in missing)
        raise UserError(
            f"{trial.path / 'keys'}: put {names} there first, from where the keys of the trial are kept: "
            "without them no allocation can be read or made"
        )
    if ledger.public_key(trial) != manifest["ledger_key"]:
        raise UserError(
            f"{trial.path / 'keys' / 'ledger.key'}: this is not the key of the trial in the backup"
        )
    if sealing.key_check(trial.key("allocation")) != manifest["allocation_key_check"]:
        raise UserError(
            f"{trial.path / 'keys' / 'allocation.key'}: this is not the key of the trial in the backup"
        )
    trial.key("web")
    stated = {name: value for name, value in manifest.items() if name != "signature"}
    public = ledger.signing_key(trial).public_key()
    try:
        public.verify(bytes.fromhex(str(manifest.get("signature", ""))), _canonical(stated))
    except (InvalidSignature, ValueError):
        raise UserError("the list in the backup is not signed by the trial's key: it was altered") from None


def _check_contents(content: zipfile.ZipFile, manifest: Mapping[str, Any], file: Path) -> None:
    """Refuse a backup with a part that is missing, altered or too much."""
    listed = manifest["files"]
    if sorted(content.namelist()) != sorted([*listed, MANIFEST]):
        raise UserError(f"{file}: the backup does not hold what its list says: take another one")
    for name, stated in listed.items():
        digest = hashlib.sha256()
        for piece in _stream(content, name):
            digest.update(piece)
        if digest.hexdigest() != stated["sha256"]:
            raise UserError(f"{file}: {name} in the backup was damaged or altered: take another one")
    newer = [f"{app} {name}" for app, name in manifest["migrations"] if not _is_known(app, name)]
    if newer:
        raise UserError(
            f"{file}: the backup was made by a newer version of Equipoise ({manifest['software']}; it has "
            f"{newer[0]}): install that version"
        )


def _stream(content: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with content.open(name) as part:
        while piece := part.read(_PIECE):
            yield piece


def _is_known(app: str, name: str) -> bool:
    """Whether this version of the software has that step of the tables (only ours are looked at)."""
    from importlib.util import find_spec

    return app != "conduct" or find_spec(f"equipoise.conduct.migrations.{name}") is not None


def _later_checkpoints(trial: TrialFolder, manifest: Mapping[str, Any]) -> int:
    """How many entries the folder knows of that came after the backup."""
    last = max(
        (one.n for _, one in ledger.checkpoints(trial.journal / ledger.CHECKPOINTS) if one is not None),
        default=0,
    )
    return max(0, last - int(manifest["entries"]))


@contextmanager
def not_served(trial: TrialFolder) -> Iterator[None]:
    """Refuse while a server of the trial runs on this machine."""
    from equipoise.conduct import serving

    running = serving.served(trial)
    if running is not None:
        raise UserError(
            f"the trial is being served (process {running.get('process', '?')}): end the server first"
        )
    yield


def _put_back(content: zipfile.ZipFile, manifest: Mapping[str, Any], trial: TrialFolder) -> bool:
    """Put database, protocol and journal in their places; whether the folder had a journal of its own that
    goes at least as far as the one in the backup."""
    new = not (trial.path / folders.SETTINGS_FILE).is_file()
    for name in ("data", "journal", "backups", "outbox", "log"):
        (trial.path / name).mkdir(parents=True, exist_ok=True)
    if trial.uses_sqlite:
        _put_sqlite(content, trial)
    else:
        _put_postgres(content, manifest, trial)
    if new or folders.read(trial.path).database != trial.database:
        for name in (folders.PROTOCOL_FILE, folders.SOURCE_FILE):
            if name in manifest["files"] and new:
                _write(trial.path / name, _stream(content, name))
        folders.write_settings(trial)
    stamp = clock.now().strftime("%Y%m%d-%H%M%S")
    checkpoints = trial.journal / ledger.CHECKPOINTS
    if checkpoints.exists():
        checkpoints.rename(checkpoints.with_name(f"ledger-before-restore-{stamp}.jsonl"))
    _write(checkpoints, _stream(content, f"journal/{ledger.CHECKPOINTS}"))
    kept = True
    for name in ("allocations.jsonl", "screenings.jsonl"):
        own, copied = trial.journal / name, content.read(f"journal/{name}")
        if not own.exists() or len(copied) > own.stat().st_size:
            if own.exists():
                own.rename(own.with_name(f"{own.stem}-before-restore-{stamp}.jsonl"))
            _write(own, [copied])
            kept = False
    return kept


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that appears whole, on the disk."""
    temporary = file.with_name(f".{file.name}.restoring")
    with temporary.open("wb") as out:
        for piece in pieces:
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(temporary, 0o600)
    os.replace(temporary, file)


SET_ASIDE = "this database was replaced by a restored backup and set aside"


def _put_sqlite(content: zipfile.ZipFile, trial: TrialFolder) -> None:
    file = trial.database_file
    waiting = file.with_name(".restoring.sqlite3")
    _write(waiting, _stream(content, folders.DATABASE_FILE))
    with closing(sqlite3.connect(waiting)) as database:
        database.execute("DELETE FROM django_session")
        database.commit()
    if file.exists():
        stamp = clock.now().strftime("%Y%m%d-%H%M%S")
        aside = file.with_name(f"before-restore-{stamp}.sqlite3")
        try:
            with closing(_connect(file)) as old:
                # Whoever still holds the old file open can write nothing more to it.
                old.execute("UPDATE conduct_trial SET frozen = ?", (SET_ASIDE,))
                old.commit()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                waiting.unlink()
                raise UserError(
                    f"{file}: the database is locked by another program: close it first"
                ) from None
        except sqlite3.DatabaseError:
            pass  # it is damaged: that may be why it is restored
        os.replace(file, aside)
        for ending in ("-journal", "-wal", "-shm"):
            left = file.with_name(file.name + ending)
            if left.exists():
                left.rename(aside.with_name(aside.name + ending))
    os.replace(waiting, file)


def _put_postgres(content: zipfile.ZipFile, manifest: Mapping[str, Any], trial: TrialFolder) -> None:
    """Make the tables in an empty database, as the backup had them, and fill them in one transaction."""
    opening.use(trial)
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.db.migrations.executor import MigrationExecutor

    starting.check_empty()
    applied = {(app, name) for app, name in manifest["migrations"]}
    executor = MigrationExecutor(connection)
    targets = [key for key in executor.loader.graph.nodes if key in applied and not any(
        child.key in applied for child in executor.loader.graph.node_map[key].children)]  # fmt: skip
    with transaction.atomic():
        executor.migrate(targets)
        call_command("createcachetable", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            for table in reversed(list(manifest["tables"])):
                cursor.execute(f'SELECT count(*) FROM "{table}"')
                if cursor.fetchone()[0]:
                    cursor.execute(f'DELETE FROM "{table}"')
            for table, rows in manifest["tables"].items():
                _load(cursor, table, content, rows)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _set_counters(cursor, manifest["tables"])


def _load(cursor: Any, table: str, content: zipfile.ZipFile, rows: int) -> None:
    statement = f'INSERT INTO "{table}" SELECT * FROM json_populate_recordset(NULL::"{table}", %s::json)'
    lines: list[str] = []
    loaded = 0
    with content.open(f"{TABLES}{table}.jsonl") as part:
        for line in _lines(part):
            lines.append(line)
            if len(lines) == _ROWS:
                cursor.execute(statement, [f"[{','.join(lines)}]"])
                loaded, lines = loaded + len(lines), []
    if lines:
        cursor.execute(statement, [f"[{','.join(lines)}]"])
    if loaded + len(lines) != rows:
        raise UserError(f"the backup has {loaded + len(lines)} rows of {table}, its list says {rows}")


def _lines(part: IO[bytes]) -> Iterator[str]:
    for line in part:
        yield line.decode().rstrip("\n")


def _set_counters(cursor: Any, tables: Iterable[str]) -> None:
    """Let numbers that the database gives go on behind those that are there."""
    for table in tables:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = %s AND is_identity = 'YES'",
            [table],
        )
        for (column,) in cursor.fetchall():
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), "
                f'coalesce((SELECT max("{column}") FROM "{table}"), 1))'
            )


def _settle(
    trial: TrialFolder, manifest: Mapping[str, Any], lost: int, journal_kept: bool, began: float
) -> Restored:
    """Suspend randomisation and enter again what the journal knows."""
    trial = opening.use(trial.path)
    from equipoise.conduct import checking, journal, starting

    checking.migrate_here()
    last_at = manifest["last_at"]
    words = f"restored from the backup of {manifest['made_at']}, which ends with entry {manifest['entries']}"
    if lost:
        words += f"; {lost} later entries are lost"
    with starting.plainly(trial):
        _begin_again(f"{words}; it is to be reconciled with the journal")
    to_do = []
    participants: tuple[str, ...] = ()
    allocations: tuple[str, ...] = ()
    try:
        entered = journal.reconcile(trial)
        participants, allocations = entered.participants, entered.allocations
    except UserError as error:
        to_do.append(f"{error}; then run  equipoise conduct reconcile {trial.path}")
    if not journal_kept:
        to_do.append(
            "the folder had no journal that goes further than the backup: if allocations.jsonl and "
            f"screenings.jsonl were saved from the old machine, put them into {trial.journal} and run  "
            f"equipoise conduct reconcile {trial.path}; compare the receipts that were sent by e-mail"
        )
    if participants:
        to_do.append(f"enter the forms again of {', '.join(participants)}: the backup did not know them")
    to_do.append(_rights_to_review(trial, last_at))
    to_do.append("let the unblinded statistician resume randomisation")
    age = (clock.now() - datetime.fromisoformat(last_at)).total_seconds() if last_at else 0.0
    return Restored(
        trial, manifest["made_at"], manifest["entries"], last_at, age, time.monotonic() - began, lost,
        participants, allocations, tuple(to_do),
    )  # fmt: skip


def _begin_again(words: str) -> None:
    """Suspend randomisation, and end every key to the API: some of them may have been ended since the backup.
    (Sessions are in no backup.)"""
    from equipoise.conduct import accounts
    from equipoise.conduct.gateway import Act, with_system
    from equipoise.conduct.models import Person

    def work(act: Act) -> None:
        act.change(act.trial, "trial", {"suspended": words}, reason=words)
        for person in Person.objects.filter(tokens__revoked_at=None, tokens__isnull=False).distinct():
            accounts.revoke_tokens(act, person, words)

    with_system("trial.restore", work)


def _rights_to_review(trial: TrialFolder, last_at: str | None) -> str:
    """What to look at of who may do what: it is again as it was at the backup."""
    from equipoise.conduct.reading import people

    held: dict[str, list[str]] = {}
    for right in people.rights_on(clock.today(trial.zone)):
        where = "the whole trial" if right.site is None else f"site {right.site}"
        held.setdefault(right.username, []).append(f"{right.role} for {where}")
    named = [f"{name} ({', '.join(roles)})" for name, roles in sorted(held.items())]
    more = f" and {len(named) - _NAMED} more on the page People" if len(named) > _NAMED else ""
    return (
        "let the administrator review who may do what: rights, accounts, passwords and second factors are as "
        f"they were at {last_at}: what was ended since is to be ended again. In force now: "
        f"{'; '.join(named[:_NAMED])}{more}. All sessions and all keys to the API have ended"
    )


def reconcile(path: str | os.PathLike[str] | TrialFolder) -> Any:
    """Enter again, from the journal, what the database of a trial lacks (see `journal.reconcile`)."""
    trial = opening.use(path)
    from equipoise.conduct import journal

    return journal.reconcile(trial)


def verify(path: str | os.PathLike[str] | TrialFolder) -> list[str]:
    """Everything that is wrong with a trial (see `verifying.verify`)."""
    trial = opening.use(path)
    from equipoise.conduct import verifying

    return verifying.verify(trial)
