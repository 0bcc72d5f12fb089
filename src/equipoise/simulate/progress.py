"""How long work tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) from the calling thread: "participants" or "trials", how many are
done, and of how many. Raising KeyboardInterrupt (Ctrl-C) between two calls leaves nothing half-written
behind."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
