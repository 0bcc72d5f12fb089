"""Other processes that work on a trial while a test looks on, and that may be killed."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable

from equipoise.conduct import opening
from equipoise.conduct.folder import TrialFolder

WAIT_SECONDS = 60


def started(trial: TrialFolder, work: Callable[[], None]) -> int:
    """Start `work` in a process of its own, with its own connection to the database; its number."""
    opening.close()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        opening.use(trial)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; its exit code, or the signal that killed it, negative."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_process(trial: TrialFolder, work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; how it ended."""
    return ended(started(trial, work))


def wait_until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + WAIT_SECONDS
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("it never came about")
        time.sleep(0.01)
