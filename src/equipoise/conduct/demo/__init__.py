"""A trial to look at: sites, people of every role and fictitious participants in mid-trial.

Everything is done by the commands that real people use, in the order of time, on a clock that is set back to
when the trial began: so the ledger, the queries, the flags and the record are those of a real trial. What
happens to the participants is what happens to virtual participants (`equipoise.virtual`), met by a clinic
that does as the system proposes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

PARTICIPANTS = 60
"""Unless told otherwise (assumed)."""
DAYS = 610
"""How long ago the trial began: about twenty months (assumed)."""
LEAST_PARTICIPANTS = 20
"""Fewer would not show something of everything (assumed)."""


@dataclass(frozen=True)
class Member:
    """One fictitious person of the trial."""

    username: str
    name: str
    role: str
    site: str


@dataclass(frozen=True)
class Made:
    """A demonstration: its folder, its people, the one password of all of them."""

    trial: TrialFolder
    people: tuple[Member, ...]
    password: str


def make(
    path: Path,
    protocol: str | Path = "silcaat",
    *,
    participants: int = PARTICIPANTS,
    seed: int = 1,
    port: int = 8000,
    database: str = "sqlite",
    days: int = DAYS,
    progress: Callable[[str, float | None], None] = lambda stage, share: None,
) -> Made:
    """Make a demonstration in a new folder, of a trial that began `days` ago.

    Nothing is left behind when it fails. Raises UserError when the protocol names no virtual population, or
    the folder exists.
    """
    from equipoise.conduct.initialise import initialise

    progress("Making the trial", None)
    now = clock.now()
    began = now - timedelta(days=days)
    folder_stood = path.exists()
    with clock.at(began):
        trial, _ = initialise(
            path, protocol, kind="demonstration", database=database, port=port, places=max(80, participants)
        )
    try:
        from equipoise.conduct.demo import cast, running

        password = "-".join(secrets.token_hex(2) for _ in range(4))
        with running.in_haste(trial):
            with clock.at(began):
                people = cast.gather(trial, password)
            running.run(trial, participants, seed, began, now, progress)
        return Made(trial, people, password)
    except BaseException:
        _remove(path, folder_stood)
        raise


def _remove(path: Path, folder_stood: bool) -> None:
    import shutil

    from django.db import connections

    connections.close_all()
    shutil.rmtree(path, ignore_errors=True)
    if folder_stood:
        path.mkdir()
