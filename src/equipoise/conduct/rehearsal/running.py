"""The days of a rehearsal, one after the other, over all participants."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta

from equipoise.conduct import clock as clocks
from equipoise.conduct.rehearsal import preparing
from equipoise.conduct.rehearsal.client import Client, Refusal, Sent, SimulatedClock, Staff
from equipoise.conduct.rehearsal.clinic import IN_TURN, Subject

RENEW_BEFORE_DAYS = 60
"""Tokens are renewed so long before they end (assumed)."""
Tell = Callable[[str, int, int], None]


class Crew:
    """Threads that do what is due, each with its own connection."""

    def __init__(self, port: int, clients: int, clock: SimulatedClock) -> None:
        self.clock = clock
        self.clients = [Client(port, clock) for _ in range(clients)]
        self._free: queue.SimpleQueue[Client] = queue.SimpleQueue()
        for client in self.clients:
            self._free.put(client)
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="client")

    def do(self, subjects: Sequence[Subject], day: date, part: int) -> None:
        """Let all of them do what is due in this part of the day: in their order, or all at once."""
        if part in IN_TURN or len(subjects) == 1:
            for subject in subjects:
                self._one(subject, day, part)
            return
        for done in [self._pool.submit(self._one, subject, day, part) for subject in subjects]:
            done.result()

    def _one(self, subject: Subject, day: date, part: int) -> None:
        client = self._free.get()
        try:
            subject.act(client, day, part)
        except Refusal as refusal:
            subject.give_up(f"{day.isoformat()}, {refusal}")
        finally:
            self._free.put(client)

    def close(self) -> list[Sent]:
        """Let the threads go; everything that was sent, in order of time."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for client in self.clients:
            client.close()
        return sorted((one for client in self.clients for one in client.sent), key=lambda one: one.at)


def live(
    subjects: Sequence[Subject], people: dict[str, Staff], begin: date, port: int, clients: int, tell: Tell
) -> tuple[list[Sent], float]:
    """Let everybody live their trial; what was sent, and how many seconds it took."""
    clock = SimulatedClock()
    crew = Crew(port, clients, clock)
    begun = time.perf_counter()
    renewed = begin
    try:
        waiting = {subject.who.number: subject for subject in subjects}
        while waiting:
            day, part = min(due for subject in waiting.values() if (due := subject.due) is not None)
            clock.begin(day)
            if day - renewed > timedelta(days=preparing.TOKEN_DAYS - RENEW_BEFORE_DAYS):
                _renew(people, clock.tick())
                renewed = day
            now = [subject for _, subject in sorted(waiting.items()) if subject.due == (day, part)]
            crew.do(now, day, part)
            for subject in now:
                if subject.due is None:
                    del waiting[subject.who.number]
            tell("participants", len(subjects) - len(waiting), len(subjects))
    finally:
        sent = crew.close()
    return sent, time.perf_counter() - begun


def _renew(people: dict[str, Staff], moment: datetime) -> None:
    """Everybody gets a new token before the old one ends; not over the API, for a token issues none."""
    with clocks.at(moment):
        for who in people.values():
            who.renew(preparing.issue_token(who.username))
