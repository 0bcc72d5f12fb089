"""The real server of the trial, in a process of its own, for as long as the rehearsal lasts."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

START_SECONDS = 60
STOP_SECONDS = 40
"""How long the server may take to start and to end (assumed; above `serving.GRACE_SECONDS`)."""


@contextmanager
def served(trial: TrialFolder, workers: int) -> Iterator[int]:
    """Serve the trial on a free port of this machine; the port."""
    port = _free_port()
    log = trial.path / "log" / "rehearsal.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "equipoise", "conduct", "serve", str(trial.path), "--port", str(port),
             "--workers", str(workers)],
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_environment(),
        )  # fmt: skip
        try:
            _wait(process, port, log.read_text)
            yield port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    """The environment, with this very Equipoise to be found."""
    path = os.pathsep.join(part for part in sys.path if part)
    return {**os.environ, "PYTHONPATH": path}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, said: object) -> None:
    """Until the server answers. Raises UserError when it does not come up."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            probe = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            probe.request("GET", "/api/status")
            status = probe.getresponse().status
            probe.close()
            if status == 401:
                return
        time.sleep(0.1)
    words = said().strip().splitlines() if callable(said) else []
    raise UserError(f"the server of the rehearsal did not start: {words[-1] if words else 'it said nothing'}")
