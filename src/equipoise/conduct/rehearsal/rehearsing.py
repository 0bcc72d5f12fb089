"""A whole rehearsal: an empty database, the real server, virtual participants who live their trial through
its API on a simulated clock; then the record is exported, analysed and reported, and everything compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise._atomic import new_folder
from equipoise.conduct.rehearsal import evidence, judging
from equipoise.conduct.rehearsal.clinic import Subject, World
from equipoise.conduct.rehearsal.people import enrolled, who_comes
from equipoise.conduct.rehearsal.preparing import Prepared, prepare_trial, reopen
from equipoise.conduct.rehearsal.running import live
from equipoise.conduct.rehearsal.server import served
from equipoise.errors import UserError
from equipoise.protocol import load, sha256
from equipoise.record import Record
from equipoise.simulate.plans import prepare
from equipoise.simulate.runs import checked_seed

if TYPE_CHECKING:
    from equipoise.conduct.exporting import Exported

MARKER = "hashes.txt"
REPLICATE = 0
"""The rehearsal is the first of the simulated trials of its seed."""
Say = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal came to."""

    folder: Path
    facts: evidence.Facts
    checks: tuple[judging.Check, ...]
    latencies: evidence.Rows
    remarks: tuple[str, ...]

    @property
    def disagreements(self) -> list[str]:
        """Everything that disagreed, in words."""
        return [f"{check.name}: {words}" for check in self.checks for words in check.disagreements]


def rehearse(
    protocol: str | Path,
    *,
    participants: int,
    out: Path,
    seed: int = 1,
    database: str = "sqlite",
    faults: bool = True,
    years: float | None = None,
    clients: int = 4,
    workers: int = 2,
    report: bool = True,
    force: bool = False,
    say: Say = lambda words, share: None,
) -> Outcome:
    """Rehearse a trial; `out` appears whole, with the trial's own folder under `trial`, or not at all.

    Raises UserError when the protocol cannot be simulated, `out` stands already, or the database is not
    empty. What disagrees is no error: it is in the outcome, and in the folder.
    """
    if participants < 2:
        raise UserError(f"a rehearsal needs at least 2 participants, not {participants}")
    if years is not None and not 0 < years < math.inf:
        raise UserError(
            f"--years {years:g}: follow-up is cut short after a number of years above 0, such as 1 or 0.5; "
            "leave --years out to follow everybody for as long as the protocol says"
        )
    seed = checked_seed(seed)
    loaded = load(protocol)
    setup = prepare(loaded)
    with new_folder(out, force=force, marker=MARKER) as place:
        begun, watch = evidence.now(), _Watch()
        say("Drawing virtual candidates", None)
        enrolment = enrolled(setup, seed, REPLICATE, participants, years)
        candidates = who_comes(setup, enrolment, seed, REPLICATE)
        say("Making the trial, its sites and people", None)
        prepared = prepare_trial(
            place / "trial", protocol, candidates, database=database, seed=seed, places=participants
        )
        world = World(setup, enrolment, seed, REPLICATE, prepared.sites, faults)
        subjects = [Subject(world, candidate) for candidate in candidates]
        preparing = watch.lap()
        with served(prepared.folder, workers) as port:
            sent, living = live(
                subjects, prepared.people, prepared.begin, port, clients,
                lambda what, done, total: say("Virtual participants live their trial", done / total),
            )  # fmt: skip
        watch.lap()
        say("Exporting and checking the record", None)
        exported = _export(prepared, place, sent[-1].at if sent else datetime.now(UTC))
        say("Comparing everything", None)
        checks = _judged(prepared, world, subjects, exported, sent[-1].at if sent else datetime.now(UTC))
        remarks: list[str] = []
        if report:
            remarks = _report(exported.record, place, say)
        entries, head = _head()
        facts = evidence.Facts(
            loaded.protocol, sha256(loaded), "SQLite" if database == "sqlite" else "PostgreSQL", seed,
            participants, len(candidates), years, clients, workers, faults, begun, preparing, living,
            watch.lap(), entries, head,
        )  # fmt: skip
        _close()
        evidence.write(place, facts, checks, subjects, sent)
    return Outcome(Path(out), facts, tuple(checks), evidence.latencies(sent), tuple(remarks))


class _Watch:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def _export(prepared: Prepared, place: Path, ended: datetime) -> Exported:
    from equipoise.conduct import clock

    trial = reopen(prepared.folder)
    with clock.at(ended + timedelta(minutes=1)):
        from equipoise.conduct.exporting import export

        return export(trial, place / "record")


def _judged(
    prepared: Prepared, world: World, subjects: list[Subject], exported: Exported, ended: datetime
) -> list[judging.Check]:
    from equipoise.conduct import clock

    with clock.at(ended + timedelta(minutes=1)):
        return judging.checks(prepared.folder, world, subjects, exported)


def _report(record: Record, place: Path, say: Say) -> list[str]:
    """Analyse the record and draw the report, as for any trial."""
    from equipoise import analyse
    from equipoise import report as reports

    say("Analysing the record", 0.0)
    results = analyse.run(record, progress=lambda words, share: say(f"Analysing the record: {words}", share))
    analyse.write(results, place)
    say("Drawing the report", None)
    remarks: list[str] = []
    reports.write(results, record.protocol, record, None, out=place, paper="never", say=remarks.append)
    return remarks


def _head() -> tuple[int, str]:
    from equipoise.conduct.models import Chain

    chain = Chain.objects.get(id=1)
    return chain.n, chain.hash


def _close() -> None:
    from django.db import connections

    connections.close_all()
