"""Screening and randomisation of real participants: what is asked, refused, allocated, kept secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from conduct_ready import assessment, protocol_file, randomized, ready, save, screened, sign, strata
from conduct_trial import START, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial", protocol_file())


def test_x(trial: TrialFolder) -> None:
    import time

    for _ in range(3):
        t = time.time()
        n = screened()
        print("screened", time.time() - t)
        t = time.time()
        s = assessment(n)
        print("assess", time.time() - t)
        t = time.time()
        sign(n)
        print("sign", time.time() - t)
        t = time.time()
        st = strata(n)
        t = time.time()
        print(do("randomize", "ada", participant=n, strata=st, key=n))
        print("rand", time.time() - t)
    print(s.criteria[0], s.stands_in_way)
    print((trial.journal / "allocations.jsonl").read_text()[:1500])


def test_y(trial: TrialFolder) -> None:
    from equipoise.conduct.verifying import verify

    n = randomized()
    ready()
    screened()
    assert verify(trial) == []
