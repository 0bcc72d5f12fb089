"""Being told to end: by Ctrl-C, by the system, by a terminal that closes.

Each is an exception, so that everything half-written is removed on the way out. Libraries that call Python
back from machine code swallow exceptions; so what was asked is kept, and raised again at the next sign of
progress.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any


class Ended(SystemExit):
    """The process was told to end by a signal other than Ctrl-C; `code` is its status."""


_asked: list[BaseException] = []


def listen() -> None:
    """Answer signals from now on. One that is ignored already (under nohup) stays so."""
    _asked.clear()
    for name, usual in (
        ("SIGINT", signal.default_int_handler), ("SIGTERM", signal.SIG_DFL), ("SIGHUP", signal.SIG_DFL),
    ):  # fmt: skip
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == usual:
            signal.signal(number, _end)
    sys.unraisablehook = _swallowed


def check() -> None:
    """Raise what was asked and has been swallowed since; otherwise do nothing."""
    if _asked:
        raise _asked[0]


def _end(number: int, frame: FrameType | None) -> None:
    asked = KeyboardInterrupt() if number == signal.SIGINT else Ended(128 + number)
    _asked.append(asked)
    raise asked


def _swallowed(unraisable: Any) -> None:
    if not isinstance(unraisable.exc_value, KeyboardInterrupt | Ended):
        sys.__unraisablehook__(unraisable)
