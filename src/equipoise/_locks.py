"""Locks on files, which the operating system drops when their holder ends, however it ends.

Where there are none (Windows), `AVAILABLE` is False, `wait` does not wait and `take` takes nothing: whoever
asks says what then holds instead.
"""

from __future__ import annotations

try:
    import fcntl as _fcntl
except ImportError:  # pragma: no cover - Windows
    AVAILABLE = False
else:
    AVAILABLE = True


def wait(descriptor: int) -> None:
    """Hold the open file alone, as soon as nobody else does; those who wait come in order."""
    if AVAILABLE:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX)


def take(descriptor: int) -> bool:
    """Hold the open file alone if nobody else does; False when somebody does, or the file system has no
    locks."""
    if not AVAILABLE:  # pragma: no cover
        return False
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError:
        return False
    return True
