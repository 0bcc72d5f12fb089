"""The folder of a trial: its settings, its protocol, its keys, its embedded database, its journal.

```
trial/
  trial.toml              name, database, time zone, what kind of trial (real, demonstration, rehearsal)
  protocol.yaml           the protocol as it was given; protocol.json is its canonical form, which is executed
  data/trial.sqlite3      the embedded database (unless trial.toml names a PostgreSQL database)
  keys/                   web.key, allocation.key, ledger.key: readable by the owner only, never in a backup
  journal/                what is kept beside the database: allocations, signed checkpoints of the ledger
  backups/  outbox/  log/
```
"""

from __future__ import annotations

import json
import os
import secrets
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from equipoise._atomic import explain_reading
from equipoise.errors import UserError
from equipoise.protocol import Protocol, loads, sha256

SETTINGS_FILE = "trial.toml"
PROTOCOL_FILE = "protocol.json"
SOURCE_FILE = "protocol.yaml"
DATABASE_FILE = "data/trial.sqlite3"
KEYS = ("web", "allocation", "ledger")
"""Secrets of a trial, by name."""
KEY_BYTES = 32
"""256 bits: the length of keys of AES-256 and Ed25519 (RFC 8032)."""
PUT_BACK = "put back the file that was activated: it is in every backup"
"""What to do when the protocol is gone."""

Kind = Literal["real", "demonstration", "rehearsal"]


@dataclass(frozen=True)
class TrialFolder:
    """Where a trial lives. `database` is "sqlite" or the address of a PostgreSQL database; `kind` says
    whether participants are real: a demonstration or a rehearsal can never become a real trial."""

    path: Path
    name: str
    database: str
    zone: str
    kind: Kind
    port: int = 8000
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")

    @property
    def protocol_file(self) -> Path:
        """The protocol in canonical form."""
        return self.path / PROTOCOL_FILE

    @property
    def database_file(self) -> Path:
        """The embedded database."""
        return self.path / DATABASE_FILE

    @property
    def journal(self) -> Path:
        """What is kept beside the database."""
        return self.path / "journal"

    @property
    def uses_sqlite(self) -> bool:
        """Whether the database is the embedded one."""
        return self.database == "sqlite"

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol of the trial."""
        try:
            text = self.protocol_file.read_text(encoding="utf-8")
        except OSError as error:
            raise explain_reading(error, self.protocol_file, "read the protocol", PUT_BACK) from None
        return loads(text, str(self.protocol_file))

    @cached_property
    def protocol_sha256(self) -> str:
        """The hash of the protocol, which names its version."""
        return sha256(self.protocol)

    def differing(self, name: str, kind: str, zone: str) -> tuple[str, ...]:
        """What the settings say otherwise than the trial was set up with, in words."""
        said = (("name", self.name, name), ("kind", self.kind, kind), ("time_zone", self.zone, zone))
        return tuple(
            f'{self.path / SETTINGS_FILE}: {what} is "{now}", the trial was set up with "{then}": these '
            "never change; write back what it was"
            for what, now, then in said
            if now != then
        )

    def key(self, name: str) -> bytes:
        """A secret of the trial: `web`, `allocation` or `ledger`, `KEY_BYTES` bytes.

        Raises UserError when it is missing, damaged, or readable by others.
        """
        file = self.path / "keys" / f"{name}.key"
        try:
            found = file.stat()
            content = _content(file, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except OSError as error:
            raise explain_reading(
                error, file, f"read the {name} key of the trial", "put back the file that was kept apart"
            ) from None
        if os.name == "posix" and found.st_mode & 0o077:
            raise UserError(f"{file}: others on this machine may read this key: run  chmod 600 {file}")
        try:
            key = bytes.fromhex(content)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise UserError(f"{file}: this is not a key of the trial: put back the file that was kept apart")
        return key


@lru_cache(maxsize=16)
def _content(file: Path, *state: int) -> str:
    """What a key file says; read again only when the state of the file is another."""
    return file.read_text(encoding="ascii", errors="replace").strip()


def read(path: str | os.PathLike[str]) -> TrialFolder:
    """The trial at `path`. Raises UserError when there is none, or its settings cannot be used."""
    folder = Path(path)
    file = folder / SETTINGS_FILE
    if not file.is_file():
        raise UserError(
            f"{folder} is not the folder of a trial (it has no {SETTINGS_FILE}): name one that "
            "`equipoise conduct init` made"
        )
    try:
        given: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    try:
        found = TrialFolder(
            path=folder.resolve(),
            name=str(given["name"]),
            database=str(given["database"]),
            zone=str(given["time_zone"]),
            kind=given["kind"],
            port=int(given.get("port", 8000)),
            hosts=tuple(given.get("hosts", TrialFolder.hosts)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: {error} is missing or of the wrong kind") from None
    check_zone(found.zone, file)
    check_database(found.database, file)
    if found.kind not in ("real", "demonstration", "rehearsal"):
        raise UserError(f'{file}: kind must be "real", "demonstration" or "rehearsal", not "{found.kind}"')
    return found


def check_zone(zone: str, place: Path | str) -> None:
    """Raise UserError unless `zone` names a time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f'{place}: there is no time zone "{zone}"; write one as "Europe/Copenhagen" or "UTC"'
        ) from None


def check_database(database: str, place: Path | str) -> None:
    """Raise UserError unless `database` is "sqlite" or the address of a PostgreSQL database."""
    if database != "sqlite" and not database.startswith(("postgresql://", "postgres://")):
        raise UserError(
            f'{place}: the database must be "sqlite" or an address such as '
            f'"postgresql://user:password@host:5432/name", not "{database}"'
        )


def write(folder: TrialFolder) -> None:
    """Write the settings of a trial and make its keys; nothing that exists is replaced."""
    for name in ("data", "keys", "journal", "backups", "outbox", "log"):
        (folder.path / name).mkdir(parents=True, exist_ok=True)
    os.chmod(folder.path / "keys", 0o700)
    for name in KEYS:
        file = folder.path / "keys" / f"{name}.key"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_hex(KEY_BYTES) + "\n")
    write_settings(folder)


def write_settings(folder: TrialFolder) -> None:
    """Write the settings of a trial, whole or not at all."""
    lines = [
        f"name = {json.dumps(folder.name)}",
        f"database = {json.dumps(folder.database)}",
        f"time_zone = {json.dumps(folder.zone)}",
        f"kind = {json.dumps(folder.kind)}",
        f"port = {folder.port}",
        f"hosts = {json.dumps(list(folder.hosts))}",
    ]
    temporary = folder.path / f".{SETTINGS_FILE}"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    os.replace(temporary, folder.path / SETTINGS_FILE)
