"""Opening a trial: its database with the settings that it needs, and Django for it.

SQLite: versions 3.7.0 to 3.51.2 (but for the mended 3.44.6 and 3.50.7 lines) may corrupt a database in
write-ahead mode when a checkpoint meets a restart of the log (sqlite.org, change log of 3.51.3). With those
the rollback journal is used, with `synchronous = EXTRA`; with others write-ahead with `synchronous = FULL`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from equipoise import _locks
from equipoise.conduct import folder as folders
from equipoise.conduct import require
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import MissingExtraError, UserError

TURN_FILE = "data/writing.lock"
FOLDER_VARIABLE = "EQUIPOISE_TRIAL"
TLS_VARIABLE = "EQUIPOISE_BEHIND_TLS"
SQLITE_WAIT_SECONDS = 30
"""How long a request waits for its turn to write, as long as gunicorn waits for a request (assumed)."""

_open: TrialFolder | None = None


def folder() -> TrialFolder:
    """The trial that this process works for. Raises UserError when none is named."""
    global _open
    if _open is None:
        named = os.environ.get(FOLDER_VARIABLE)
        if not named:
            raise UserError(f"no trial is open: set {FOLDER_VARIABLE} to its folder")
        _open = folders.read(named)
    return _open


def behind_tls() -> bool:
    """Whether a proxy with TLS stands in front: cookies are then for encrypted connections only."""
    return os.environ.get(TLS_VARIABLE, "") == "1"


def use(path: str | os.PathLike[str] | TrialFolder) -> TrialFolder:
    """Work for the trial at `path` from now on: Django is set up for it, or turned to it.

    Raises UserError when the folder is no trial's, MissingExtraError without the libraries.
    """
    global _open
    require()
    _open = path if isinstance(path, TrialFolder) else folders.read(path)
    os.environ[FOLDER_VARIABLE] = str(_open.path)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "equipoise.conduct.settings")
    import django
    from django.apps import apps
    from django.conf import settings

    if not apps.ready:
        django.setup()
        return _open
    _turn_to(database_settings(_open))
    settings.SECRET_KEY = _open.key("web").hex()
    settings.ALLOWED_HOSTS = [
        *_open.hosts,
        *(["testserver"] if "testserver" in settings.ALLOWED_HOSTS else []),
    ]
    return _open


def _turn_to(database: dict[str, Any]) -> None:
    from django.db import connections

    close()
    connections.settings["default"] = connections.configure_settings({"default": database})["default"]


def use_database(trial: TrialFolder, file: Path) -> None:
    """Work on another SQLite file with the settings of a trial, until `use` is called again."""
    _turn_to({**database_settings(trial), "NAME": str(file)})


def close() -> None:
    """Close the connection to the database; the next question opens it again."""
    from django.db import connections

    connections["default"].close()
    with suppress(AttributeError):
        del connections["default"]


def sqlite_may_corrupt(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether this SQLite must not be used in write-ahead mode."""
    if (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51):
        return False
    return (3, 7, 0) <= version <= (3, 51, 2)


def database_settings(trial: TrialFolder) -> dict[str, Any]:
    """The database of a trial, as Django names it."""
    common: dict[str, Any] = {"ATOMIC_REQUESTS": False, "CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": 600}
    if trial.uses_sqlite:
        journal, synchronous = ("DELETE", "EXTRA") if sqlite_may_corrupt() else ("WAL", "FULL")
        return {
            **common,
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(trial.database_file),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": SQLITE_WAIT_SECONDS,
                "init_command": (
                    f"PRAGMA journal_mode={journal}; PRAGMA synchronous={synchronous}; "
                    "PRAGMA foreign_keys=ON; PRAGMA cache_size=-65536"
                ),
            },
        }
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise MissingExtraError("A PostgreSQL database", "conduct,postgresql") from None
    parts = urlsplit(trial.database)
    return {
        **common,
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {"connect_timeout": 5},
    }


_turn = threading.local()


@contextmanager
def in_turn(trial: TrialFolder) -> Iterator[None]:
    """Wait for one's turn to write to the embedded database.

    SQLite lets those who wait try again by chance, so that under load one of them may never come in; a lock
    of the operating system serves them in order. It is dropped when its holder ends, however it ends.
    PostgreSQL needs none of this.
    """
    if getattr(_turn, "mine", False) or (descriptor := _turn_file(trial)) is None:
        yield
        return
    try:
        _locks.wait(descriptor)
        _turn.mine = True
        yield
    finally:
        _turn.mine = False
        os.close(descriptor)


def _turn_file(trial: TrialFolder) -> int | None:
    """The open file on which writers wait; None where there is none, and the database itself must do."""
    if not _locks.AVAILABLE or not trial.uses_sqlite:
        return None
    with suppress(OSError):
        return os.open(trial.path / TURN_FILE, os.O_RDONLY | os.O_CREAT, 0o600)
    return None


def logging_settings(trial: TrialFolder) -> dict[str, Any]:
    """Warnings and errors go to a file of the trial; requests are not logged, so that no value, arm or name
    can stand in a log."""
    log = Path(trial.path) / "log"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "plain": {
                "()": "equipoise.conduct.logs.WithoutValues",
                "format": "{asctime} {levelname} {name} {message}",
                "style": "{",
            }
        },
        "handlers": {
            "file": {
                "class": "logging.handlers.RotatingFileHandler",
                "filename": str(log / "server.log"),
                "maxBytes": 5_000_000,
                "backupCount": 5,
                "formatter": "plain",
                "delay": True,
                "level": "WARNING",
            }
        },
        "root": {"handlers": ["file"], "level": "WARNING"},
        "loggers": {"django.request": {"level": "ERROR"}, "axes": {"level": "ERROR"}},
    }
