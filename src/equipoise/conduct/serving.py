"""The server of a trial: one command in the foreground, no other service needed.

Gunicorn (waitress on Windows) serves the pages with a few processes of several threads each. Requests are
not logged, so that no value, arm or name stands in a log; warnings and errors go to `log/server.log` of the
trial. Ctrl-C, or being told to end, lets the requests in hand finish.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise import _locks
from equipoise.conduct import opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

THREADS = 8
SWITCH_SECONDS = 0.0005
"""After so long a thread that computes lets another have its turn (assumed; in Python itself: ten times as
long). A page asks the database dozens of times, and would else wait out another's turn after each answer."""
COLLECT_AFTER = 50_000
"""Objects made beyond those given up before Python looks for rubbish among the youngest (assumed; in Python
itself: 700)."""
KEPT_SECONDS = 75
"""A connection over which nothing comes is kept so long (assumed; as nginx does): people read for a while."""
MOST_WORKERS = 8
"""Processes, unless told otherwise: they wait for one another to write (assumed)."""
GRACE_SECONDS = 30
"""How long requests in hand may take when the server ends (assumed)."""
LOCK_FILE = "data/serving.lock"
STATIC = "data/static"
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Place:
    """Where and how a trial is served."""

    host: str
    port: int
    workers: int
    behind_tls: bool = False

    @property
    def address(self) -> str:
        """What is typed into a browser on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{self.port}/"


def processes() -> int:
    """Processes that serve, unless told otherwise: one for each core, two at least, so that a long page (an
    export, a chart) never stands in the way of all others."""
    return max(2, min(MOST_WORKERS, os.cpu_count() or 2))


def serve(trial: TrialFolder, place: Place, *, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    """Serve a trial that was opened and checked (`checking.check`) until told to end. Raises UserError when
    it cannot be served as it is."""
    refuse_open_air(trial, place)
    os.environ[opening.TLS_VARIABLE] = "1" if place.behind_tls else "0"
    refuse_taken(trial, place)
    (trial.path / STATIC).mkdir(parents=True, exist_ok=True)
    sys.setswitchinterval(SWITCH_SECONDS)
    with lock(trial, place, say):
        _run(trial, place, say, ready)


def refuse_open_air(trial: TrialFolder, place: Place) -> None:
    """Raise UserError when passwords would travel unencrypted to a server of real participants."""
    if place.host not in LOCAL and not place.behind_tls and trial.kind == "real":
        raise UserError(
            f"--host {place.host}: passwords and data would travel unencrypted: put a proxy with TLS in "
            "front of the server and say --behind-tls"
        )


def refuse_taken(trial: TrialFolder, place: Place) -> None:
    """Raise UserError when another program listens at the port, or this one may not."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.host, place.port))
        except OSError as error:
            raise UserError(_not_bound(trial, place, error)) from None
        except OverflowError:
            raise UserError(f"--port {place.port}: a port is a number from 1 to 65535") from None


def _not_bound(trial: TrialFolder, place: Place, error: OSError) -> str:
    import errno

    if error.errno == errno.EADDRINUSE:
        other = served(trial)
        if other and other.get("address") == place.address:
            return f"{place.address} serves this very trial already (process {other['process']})"
        return (
            f"port {place.port} of {place.host} is in use by another program: end it, or choose another port "
            "with --port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {place.port} may not be used by you: choose one above 1023 with --port"
    return f"{place.host}:{place.port} cannot be served: {error.strerror or error}"


@contextmanager
def lock(trial: TrialFolder, place: Place, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the sign that this trial is being served; says so when another server holds it already.

    Two servers of one trial do no harm (the database keeps their writes apart), but are seldom meant.
    """
    file = trial.path / LOCK_FILE
    if not _locks.AVAILABLE:  # pragma: no cover - a second server is then noticed by its port alone
        yield
        return
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if _locks.take(descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"process": os.getpid(), "address": place.address}).encode(), 0)
        else:
            say(f"Note: this trial is being served already{_by(served(trial))}.")
        yield
    finally:
        os.close(descriptor)


def served(trial: TrialFolder) -> dict[str, Any] | None:
    """Process and address of the server that serves a trial on this machine now; None when none does."""
    file = trial.path / LOCK_FILE
    if not _locks.AVAILABLE or not file.is_file():
        return None
    descriptor = os.open(file, os.O_RDWR)
    try:
        if _locks.take(descriptor):
            return None
        return dict(json.loads(os.pread(descriptor, 1000, 0) or b"{}"))
    except ValueError:
        return {}
    finally:
        os.close(descriptor)


def _by(other: dict[str, Any] | None) -> str:
    if not other:
        return ""
    return f" at {other['address']} (process {other['process']})"


def _run(trial: TrialFolder, place: Place, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    from django.db import connections
    from django.urls import resolve

    from equipoise.conduct.wsgi import application

    resolve("/")  # reads all pages: what the processes need is read once, before they part
    connections.close_all()  # no process inherits a connection of another
    settle()
    if sys.platform == "win32":  # pragma: no cover
        _waitress(application, place, say, ready)
    else:
        _gunicorn(application, place, say, ready)


def settle() -> None:
    """Let Python look for rubbish less often, and not among what stays: the protocol and the code. A page
    makes tens of thousands of objects, nearly all of which end with it by themselves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def _waitress(
    application: Any, place: Place, say: Callable[[str], None], ready: Callable[[], None]
) -> None:  # pragma: no cover
    import waitress

    _announce(place, say, ready)
    waitress.serve(application, host=place.host, port=place.port, threads=THREADS * 2, ident="")


def _announce(place: Place, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    say(f"Open {place.address} in a browser. Ctrl-C ends the server.")
    ready()


def _gunicorn(application: Any, place: Place, say: Callable[[str], None], ready: Callable[[], None]) -> None:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        """Gunicorn with the settings of a trial."""

        def load_config(self) -> None:
            for name, value in gunicorn_settings(place).items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)
            self.cfg.set("when_ready", lambda server: _announce(place, say, ready))

        def load(self) -> Any:
            return application

    server = os.getpid()
    try:
        Server().run()
    except SystemExit as ended:
        if os.getpid() != server:
            raise  # one of its processes
        if ended.code:
            raise UserError("the server could not be started; log/server.log of the trial says why") from None
    say("The server has ended.")


def gunicorn_settings(place: Place) -> dict[str, Any]:
    """How gunicorn is set."""
    memory = Path("/dev/shm")
    host = f"[{place.host}]" if ":" in place.host else place.host
    return {
        "bind": f"{host}:{place.port}",
        "workers": place.workers,
        "threads": THREADS,
        "worker_class": "gthread",
        "preload_app": True,
        "graceful_timeout": GRACE_SECONDS,
        "timeout": 120,
        "keepalive": KEPT_SECONDS,
        "accesslog": None,
        "logger_class": _quiet_logger(),
        "worker_tmp_dir": str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None,
        "control_socket_disable": True,
        "proc_name": "equipoise",
    }


def _quiet_logger() -> type:
    from gunicorn.glogging import Logger

    class Quiet(Logger):
        """Says in the log of the trial what the server itself complains of, without any request."""

        def setup(self, cfg: Any) -> None:
            self.error_log = logging.getLogger("equipoise.server")
            self.access_log = logging.getLogger("equipoise.server.requests")
            self.access_log.disabled = True

        def exception(self, msg: Any, *args: Any, **given: Any) -> None:
            kind = sys.exc_info()[0]
            self.error_log.error("a request could not be served: %s", kind.__name__ if kind else "unknown")

        def access(self, *args: Any) -> None:
            """Requests are not logged."""

    return Quiet
