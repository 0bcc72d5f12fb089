"""Locks on files: held by one, refused to another, in order for those who wait, dropped with their holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from equipoise import _locks

pytestmark = pytest.mark.skipif(not _locks.AVAILABLE, reason="this system has no such locks")


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT)


def test_what_one_holds_another_does_not_get_until_it_is_let_go(tmp_path: Path) -> None:
    first, second = _opened(tmp_path / "lock"), _opened(tmp_path / "lock")
    assert _locks.take(first)
    assert not _locks.take(second)
    os.close(first)
    assert _locks.take(second)
    os.close(second)


def test_who_waits_comes_in_when_the_holder_is_done(tmp_path: Path) -> None:
    held, waiting = _opened(tmp_path / "lock"), _opened(tmp_path / "lock")
    assert _locks.take(held)
    came_in = threading.Event()

    def wait() -> None:
        _locks.wait(waiting)
        came_in.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not came_in.wait(0.2)
    os.close(held)
    thread.join(timeout=20)
    assert came_in.is_set()
    os.close(waiting)


def test_a_lock_ends_with_its_holder_however_it_ends(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from equipoise import _locks; "
        "assert _locks.take(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")], check=False)
    assert done.returncode == -9
    left = _opened(tmp_path / "lock")
    assert _locks.take(left)
    os.close(left)
