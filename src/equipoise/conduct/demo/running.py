"""Letting a demonstration happen: everybody's next act in the order of time, up to the present moment."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from equipoise.conduct import clock
from equipoise.conduct.demo import LEAST_PARTICIPANTS, candidates, cast, monitoring
from equipoise.conduct.demo.lives import Clinic, Life
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError
from equipoise.simulate.plans import prepare

FAILURES, IN_SCREENING, READY = 0.15, 0.06, 0.04
"""Shares of those screened (assumed)."""
SETTLED_DAYS = 45
"""Before the first participant comes, and before the present day: the last to be randomised have begun
(assumed)."""

Progress = Callable[[str, float | None], None]


@contextmanager
def in_haste(trial: TrialFolder) -> Iterator[None]:
    """SQLite need not wait for the disk at every commit while a demonstration is made."""
    from django.db import connection

    if trial.uses_sqlite:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
    try:
        yield
    finally:
        connection.close()


def run(
    trial: TrialFolder, participants: int, seed: int, began: datetime, now: datetime, progress: Progress
) -> None:
    """Let the participants of a demonstration live from when it began to now."""
    if participants < LEAST_PARTICIPANTS:
        raise UserError(f"--participants: a demonstration has at least {LEAST_PARTICIPANTS}")
    progress("Drawing virtual people", None)
    setup = prepare(trial.protocol)
    failures = round(participants * FAILURES)
    drawn = candidates.draw(setup, seed, cast.countries(trial), participants - failures, failures)
    clinic = Clinic(trial, setup, seed, now)
    begin = _calendar(trial, drawn, participants, seed, began, now)
    lives: list[Iterator[datetime]] = [
        Life(clinic, one, day0, number).live()
        for number, (one, day0) in enumerate(zip(drawn, begin, strict=True))
    ]
    lives.append(monitoring.visits(clinic, began))
    in_order(lives, began, now, progress)


def _calendar(
    trial: TrialFolder, drawn: list[candidates.Candidate], participants: int, seed: int,
    began: datetime, now: datetime,
) -> list[datetime]:  # fmt: skip
    """When each candidate is, or would be, randomised: for the last few eligible ones it is yet to come."""
    chance = random.Random(seed)
    ready = round(participants * READY)
    to_come = ready + round(participants * IN_SCREENING)
    first, end = began + timedelta(days=SETTLED_DAYS), now - timedelta(days=SETTLED_DAYS)
    days = [first + (end - first) * chance.random() for _ in drawn]
    eligible = [n for n, one in enumerate(drawn) if candidates.suits(trial.protocol, one.answers)]
    for place, n in enumerate(eligible[-to_come:]):
        days[n] = now + timedelta(days=1 if place < ready else 3 + 4 * (place - ready))
    return days


def in_order(lives: list[Iterator[datetime]], began: datetime, now: datetime, progress: Progress) -> None:
    """Let each life go on to its next act, whoever's is next, until now."""
    waiting: list[tuple[datetime, int, Iterator[datetime]]] = []
    for number, life in enumerate(lives):
        _wait(waiting, number, life, began)
    while waiting:
        moment, number, life = heapq.heappop(waiting)
        if moment > now:
            return
        progress("Letting the trial happen", (moment - began) / (now - began))
        with clock.at(moment):
            _wait(waiting, number, life, moment)


def _wait(
    waiting: list[tuple[datetime, int, Iterator[datetime]]], number: int, life: Iterator[datetime],
    moment: datetime,
) -> None:  # fmt: skip
    following = next(life, None)
    if following is not None:
        heapq.heappush(waiting, (max(following, moment), number, life))
