"""Many processes at once, processes that are killed, answers that are lost: no place is lost, none given
twice.

The suite lets eight processes randomise eight participants each; as many as one likes are randomised with

EQUIPOISE_ALLOCATIONS=400 python -m pytest tests/test_conduct_concurrency.py -k eight_processes
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from conduct_postgres import copied_postgres
from conduct_processes import ended, in_process, started
from conduct_ready import READY, copied_ready, filled_with, protocol_file, strata
from conduct_trial import START, do
from equipoise.conduct import checking, clock
from equipoise.conduct.folder import TrialFolder

ALLOCATIONS = int(os.environ.get("EQUIPOISE_ALLOCATIONS", READY))
"""Participants whom all eight processes submit at once."""


@pytest.fixture(params=["sqlite", "postgresql"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        if request.param == "sqlite":
            yield copied_ready(tmp_path / "trial", ALLOCATIONS)
        else:
            yield copied_postgres(tmp_path / "trial", protocol_file(), filled_with(ALLOCATIONS))


def who_at(number: str) -> str:
    return "ada" if number.startswith("001") else "cas"


def waiting() -> dict[str, dict[str, str]]:
    """Number -> strata to confirm, of those who are ready."""
    from equipoise.conduct.models import Participant

    found = Participant.objects.filter(status=Participant.SCREENING).order_by("candidate")
    return {one.number: strata(one.number) for one in found}


def submits(places: dict[str, dict[str, str]], out: Path, shuffled: int) -> Callable[[], None]:
    """Submit everybody, in an order of one's own; the answers are written down."""

    def work() -> None:
        order = list(places)
        random.Random(shuffled).shuffle(order)
        answers = {
            number: do("randomize", who_at(number), participant=number, strata=places[number])
            for number in order
        }
        out.write_text(json.dumps(answers))

    return work


@pytest.mark.requirement("D1", "D2")
def test_eight_processes_that_submit_everybody_make_one_row_for_each(trial: TrialFolder) -> None:
    from equipoise.conduct import journal
    from equipoise.conduct.models import Allocation, Trial
    from equipoise.conduct.verifying import verify

    places = waiting()
    files = [trial.path / f"answers-{n}" for n in range(8)]
    children = [started(trial, submits(places, file, n)) for n, file in enumerate(files)]
    assert [ended(child) for child in children] == [0] * 8
    answers = [json.loads(file.read_text()) for file in files]
    assert all(one == answers[0] for one in answers)
    assert sorted(one["randomized_number"] for one in answers[0].values()) == list(range(1, ALLOCATIONS + 1))
    assert Allocation.objects.count() == Trial.objects.get(id=1).allocated == ALLOCATIONS
    assert verify(trial) == []
    assert journal.last_sequence(trial) == ALLOCATIONS


@pytest.mark.requirement("D2")
def test_sixteen_submits_of_one_participant_make_one_row(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Allocation

    number, confirmed = next(iter(waiting().items()))
    files = [trial.path / f"answers-{n}" for n in range(16)]
    children = [started(trial, submits({number: confirmed}, file, 0)) for file in files]
    assert [ended(child) for child in children] == [0] * 16
    assert len({file.read_text() for file in files}) == 1
    assert Allocation.objects.count() == 1


def dying(places: dict[str, dict[str, str]], when: str) -> Callable[[], None]:
    """Randomise the first, and be killed: before the row is written, after it, or after the commit."""

    def work() -> None:
        from django.db import transaction
        from django.db.models.signals import post_save, pre_save

        from equipoise.conduct.models import Allocation

        def die(**_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def die_after_commit(**_: object) -> None:
            transaction.on_commit(die)

        if when == "before":
            pre_save.connect(die, sender=Allocation, weak=False)
        else:
            handler = die if when == "inside" else die_after_commit
            post_save.connect(handler, sender=Allocation, weak=False)
        number, confirmed = next(iter(places.items()))
        do("randomize", who_at(number), key="the request", participant=number, strata=confirmed)

    return work


@pytest.mark.requirement("D3", "D4")
def test_a_process_killed_at_any_moment_leaves_all_or_nothing_and_can_be_asked_again(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct import journal
    from equipoise.conduct.models import Allocation, Trial
    from equipoise.conduct.verifying import verify

    places = waiting()
    number, confirmed = next(iter(places.items()))
    for when, rows in (("before", 0), ("inside", 0), ("after", 1)):
        assert in_process(trial, dying(places, when)) == -signal.SIGKILL
        assert Allocation.objects.count() == Trial.objects.get(id=1).allocated == rows
    assert journal.last_sequence(trial) == 0
    assert checking.check(trial).name == trial.name
    assert journal.last_sequence(trial) == 1
    again = do("randomize", who_at(number), key="the request", participant=number, strata=confirmed)
    assert again["randomized_number"] == 1
    assert verify(trial) == []
