"""After the last day: does the record of the system hold what was sent, and is it the trial that the
simulation would have had?

Each check says how many things it looked at, and each disagreement in words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.rehearsal.clinic import Judged, Subject, World
from equipoise.record import Record
from equipoise.rules.terms import starts
from equipoise.simulate import assemble
from equipoise.simulate.enrolment import Enrolment
from equipoise.simulate.runs import walk_with_diary
from equipoise.simulate.trial import outcomes

if TYPE_CHECKING:
    from equipoise.conduct.exporting import Exported


@dataclass(frozen=True)
class Check:
    """One thing that was checked: in words, how many were looked at, and what disagreed."""

    name: str
    looked_at: int
    disagreements: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing disagreed."""
        return not self.disagreements


def checks(trial: TrialFolder, world: World, subjects: Sequence[Subject], exported: Exported) -> list[Check]:
    """Every check, in the order in which they are told. The trial must be open, and not served."""
    found = [
        _eligibility(subjects),
        _proposals(subjects),
        _decisions_stored(subjects),
        _flags(subjects),
        _requests(subjects),
        _rows(subjects),
        _ends(subjects),
        _allocations(trial, subjects),
        _verified(trial),
        _record(exported),
    ]
    if not world.faults:
        found.append(_simulation(world, subjects, exported.record))
    return found


# --- what the clinic saw ----------------------------------------------------------------------------------


def _eligibility(subjects: Sequence[Subject]) -> Check:
    told = [words for subject in subjects for words in subject.problems]
    return Check("Everybody could go through their trial, and is as eligible as the simulation judged",
                 len(subjects), tuple(told))  # fmt: skip


def _proposals(subjects: Sequence[Subject]) -> Check:
    judged = [one for subject in subjects for one in subject.decisions]
    return Check(
        "Every decision is the one that the rules take from the clinic's own records, to the last dose",
        len(judged),
        tuple(_differs(one) for one in judged if not one.same),
    )


def _differs(one: Judged) -> str:
    parts = [
        f"{name} {getattr(one.proposed, name)} instead of {getattr(one.expected, name)}"
        for name in one.expected._fields
        if getattr(one.proposed, name) != getattr(one.expected, name)
    ]
    return f"{one.participant}, decision {one.sequence} of {one.on}: {', '.join(parts)}"


# --- what is stored ---------------------------------------------------------------------------------------


def _decisions_stored(subjects: Sequence[Subject]) -> Check:
    from equipoise.conduct.models import Decision

    stored = {
        (row.participant.number, row.sequence): row for row in Decision.objects.select_related("participant")
    }
    wanted = {(one.participant, one.sequence): one for subject in subjects for one in subject.decisions}
    told = [f"{_place(key)} is stored and was not taken" for key in stored.keys() - wanted.keys()]
    told += [f"{_place(key)} was taken and is not stored" for key in wanted.keys() - stored.keys()]
    for key in stored.keys() & wanted.keys():
        row, one = stored[key], wanted[key]
        proposed = (
            row.proposed_action, row.proposed_dose, row.not_before, row.reason, row.unknown
        )  # fmt: skip
        if proposed != tuple(one.proposed) or row.on != one.on or row.accepted != one.accepted:
            told.append(f"{_place(key)} is not stored as it was proposed and answered")
        if (row.action, row.dose) != (one.proposed.action, one.proposed.dose):
            told.append(f"{_place(key)} was accepted as proposed, and another action or dose is stored")
    return Check("Decisions are stored as they were taken, and stand unchanged", len(wanted), tuple(told))


def _place(key: tuple[str, int]) -> str:
    return f"{key[0]}, decision {key[1]}"


def _flags(subjects: Sequence[Subject]) -> Check:
    from equipoise.conduct.models import Flag

    latest: dict[tuple[str, int], tuple[int, float]] = {}
    for flag in Flag.objects.select_related("decision__participant").order_by("at", "decision"):
        key = (flag.decision.participant.number, flag.decision.sequence)
        latest[key] = (flag.corrected_action, flag.corrected_dose)
    wanted = {
        (one.participant, one.sequence): one
        for subject in subjects
        for one in subject.decisions
        if one.flagged
    }
    told = [
        f"{_place(key)} is flagged, and nothing it was based on changed" for key in latest.keys() - wanted
    ]
    told += [f"{_place(key)} is not flagged though its basis was corrected" for key in wanted.keys() - latest]
    for key in latest.keys() & wanted.keys():
        corrected = wanted[key].corrected
        if corrected is not None and latest[key] != (corrected.action, corrected.dose):
            told.append(f"{_place(key)}: the flag gives another corrected action or dose than the rules")
    return Check("Decisions whose basis was corrected are flagged, and no others", len(wanted), tuple(told))


def _requests(subjects: Sequence[Subject]) -> Check:
    """Nothing lost, nothing twice: each request that was answered is kept once, with that answer."""
    from equipoise.conduct.models import Request

    kept: Counter[str] = Counter()
    answers: dict[str, Mapping[str, Any]] = {}
    for row in Request.objects.filter(key__startswith="candidate-").iterator():
        kept[row.key] += 1
        answers[row.key] = row.answer
    sent = {key: answer for subject in subjects for key, answer in subject.done.items()}
    told = [f"request {key} was answered and is not kept" for key in sent.keys() - kept.keys()]
    told += [f"request {key} is kept and was never answered" for key in kept.keys() - sent.keys()]
    told += [f"request {key} is kept {count} times" for key, count in kept.items() if count > 1]
    for key in sent.keys() & kept.keys():
        plain = {name: part for name, part in answers[key].items() if not isinstance(part, dict)}
        if any(sent[key].get(name) != part for name, part in plain.items()):
            told.append(f"request {key} is kept with another answer")
    return Check("Every request is kept once, with the answer that was given", len(sent), tuple(sorted(told)))


def _rows(subjects: Sequence[Subject]) -> Check:
    from equipoise.conduct.models import Allocation, Cycle, Event, Form, Participant

    done: Counter[str] = Counter()
    for subject in subjects:
        done.update(subject.commands)
    cycles = sum(
        one.accepted == "yes" and starts(one.proposed) for subject in subjects for one in subject.decisions
    )
    wanted = {
        "participants": (done["screening.start"], Participant.objects.count()),
        "allocations": (done["randomize"], Allocation.objects.count()),
        "forms": (sum(subject.forms for subject in subjects), Form.objects.count()),
        "cycles": (cycles, Cycle.objects.count()),
        "cycles with their injections": (
            done["cycle.injections"], Cycle.objects.filter(version__gt=0).count()
        ),
        "events": (done["event.report"], Event.objects.count()),
        "ends of follow-up": (
            done["disposition.record"], Participant.objects.exclude(ended_on=None).count()
        ),
    }  # fmt: skip
    told = [
        f"{sent} {what} were sent, {stored} are stored"
        for what, (sent, stored) in wanted.items()
        if sent != stored
    ]
    return Check("As many rows as were sent", sum(sent for sent, _ in wanted.values()), tuple(told))


def _ends(subjects: Sequence[Subject]) -> Check:
    randomized = [subject for subject in subjects if subject.arm is not None]
    told = [
        f"{subject.number or f'candidate {subject.who.number + 1}'} did not come to the end of follow-up"
        for subject in randomized
        if not subject.ended
    ]
    wanted = sum(subject.who.place is not None for subject in subjects)
    if len(randomized) != wanted:
        told.append(f"{len(randomized)} were randomised, {wanted} by the simulation")
    return Check("Everybody who was randomised came to the end of follow-up", len(randomized), tuple(told))


def _allocations(trial: TrialFolder, subjects: Sequence[Subject]) -> Check:
    from equipoise.conduct.commands.randomization import replay
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.arms import arms_of

    told = list(replay(trial))
    people = list(Participant.objects.exclude(randomized_on=None))
    by_id = arms_of(people)
    arms = {one.number: by_id.get(one.id) for one in people}
    for subject in subjects:
        if subject.arm is not None and arms.get(subject.number) != subject.arm.name:
            told.append(f"{subject.number}: the arm that was told is not the arm that is stored")
    return Check("Allocations replay from the key, and are those that the sites were told",
                 len(arms), tuple(told))  # fmt: skip


def _verified(trial: TrialFolder) -> Check:
    from equipoise.conduct.models import Chain
    from equipoise.conduct.verifying import verify

    told = verify(trial)
    entries = Chain.objects.get(id=1).n
    return Check("The ledger is whole, and the trial is what it says (entries)", entries, tuple(told))


def _record(exported: Exported) -> Check:
    told = [str(finding) for finding in exported.faults]
    rows = sum(entry.rows for entry in exported.record.manifest.tables.values())
    return Check("The exported record has no faults (rows)", rows, tuple(told))


# --- the simulated trial ----------------------------------------------------------------------------------

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "participants": ("participant",),
    "visits": ("participant", "planned_day", "visit_id"),
    "measurements": ("participant", "day", "item"),
    "decisions": ("participant", "sequence"),
    "cycles": ("participant", "cycle"),
    "injections": ("participant", "cycle", "number"),
    "events": ("participant", "day", "kind", "term"),
    "disposition": ("participant",),
}
"""Tables that a rehearsal without faults has in common with the simulated trial, and what names a row."""
NOT_COMPARED: Final[dict[str, frozenset[str]]] = {
    "participants": frozenset({"site", "country"}),
    "decisions": frozenset({"protocol_sha256"}),
    "events": frozenset({"event", "adjudication"}),
}
"""What a real trial has otherwise: no committee has reviewed the events."""
MOST_TOLD: Final = 20
"""Differences that are told one by one (assumed)."""


def _simulation(world: World, subjects: Sequence[Subject], record: Record) -> Check:
    """The record against the simulation of the same people in the arms that the system allocated."""
    setup = world.setup
    enrolment = _as_allocated(world, subjects)
    n = enrolment.participants
    happened = outcomes(n, len(setup.landmarks))
    notes = walk_with_diary(setup, enrolment, 0, n, world.seed, world.trial, happened)
    tables, _ = assemble.chunk_tables(setup, enrolment, happened, notes, 0, n, world.seed, world.trial)
    tables["participants"] = assemble.participants_table(setup, enrolment)
    told: list[str] = []
    rows = 0
    for name in KEYS:
        wanted, found = tables[name], record.table(name)
        rows += wanted.height
        told += list(_table_differs(name, wanted, found))
    return Check("The record is that of the simulated trial, row by row", rows, tuple(told))


def _as_allocated(world: World, subjects: Sequence[Subject]) -> Enrolment:
    """The enrolment with everybody in the arm that the system gave them."""
    enrolment = world.enrolment
    names = [arm.name for arm in world.setup.arms]
    arm = enrolment.arm.copy()
    for subject in subjects:
        if subject.arm is not None and subject.who.place is not None:
            arm[subject.who.place] = names.index(subject.arm.name)
    goal = enrolment.goals[np.arange(len(arm)), arm]
    return replace(enrolment, arm=arm, people=enrolment.people._replace(goal=np.ascontiguousarray(goal)))


def _table_differs(name: str, wanted: pl.DataFrame, found: pl.DataFrame) -> Iterator[str]:
    keys = KEYS[name]
    columns = [
        column
        for column in wanted.columns
        if column in found.columns and column not in NOT_COMPARED.get(name, frozenset())
    ]
    left = wanted.select(columns).sort(keys).rows(named=True)
    right = found.select(columns).sort(keys).rows(named=True)
    if len(left) != len(right):
        yield f"{name}: {len(right)} rows, {len(left)} in the simulation"
    by_key = {tuple(row[key] for key in keys): row for row in right}
    shown = 0
    for row in left:
        key = tuple(row[part] for part in keys)
        where = ", ".join(f"{part} {value}" for part, value in zip(keys, key, strict=True))
        other = by_key.get(key)
        differing = (
            ["not there"]
            if other is None
            else [
                f"{column} {other[column]} instead of {row[column]}"
                for column in columns
                if not _equal(row[column], other[column])
            ]
        )
        if differing and shown < MOST_TOLD:
            shown += 1
            yield f"{name}, {where}: {', '.join(differing)}"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return bool(a == b)
