"""The journal beside the database: every screening number and every allocation, signed, on the disk at once.

After a database was restored from a backup, this is what knows of the places that were given since: until
both agree again, nobody is randomised. Lines are written after the transaction that they tell of; one that a
crash kept from being written is added at the next start or the next allocation. Arms stand here sealed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from equipoise import _locks
from equipoise.conduct import ledger
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import Act, as_text, with_system
from equipoise.conduct.models import Allocation, Participant, Site, Trial
from equipoise.errors import UserError

ALLOCATIONS = "allocations.jsonl"
SCREENINGS = "screenings.jsonl"
_LOCK = ".lock"
_CHUNK = 500
_TAIL_BYTES = 1 << 20

_log = logging.getLogger(__name__)


# --- writing ----------------------------------------------------------------------------------------------


def catch_up(trial: TrialFolder) -> None:
    """Write what the database has and the journal lacks at its end.

    Called after each screening and allocation, and at the start of a server. The transaction is closed by
    then: a disk that is full now loses nothing, the lines are written the next time.
    """
    try:
        with _held(trial):
            _add(trial, SCREENINGS, _screened)
            _add(trial, ALLOCATIONS, _allocated)
    except OSError as error:
        _log.error("the journal could not be written: %s", error.strerror)


@contextmanager
def _held(trial: TrialFolder) -> Iterator[None]:
    # without locks a line may be written twice, which does no harm
    descriptor = os.open(trial.journal / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _locks.wait(descriptor)
        yield
    finally:
        os.close(descriptor)


def _add(trial: TrialFolder, name: str, told: Callable[[int], Iterable[dict[str, Any]]]) -> None:
    file = trial.journal / name
    ledger.drop_torn_line(file)
    key = ledger.signing_key(trial)
    lines = []
    for content in told(_last_number(file)):
        text = as_text(content)
        assert text is not None
        lines.append(json.dumps({**json.loads(text), "signature": key.sign(text.encode()).hex()}))
    if lines:
        ledger.append_line(file, "\n".join(lines), durable=True)


def _last_number(file: Path) -> int:
    """The number on the last line of a file of the journal, 0 when it is empty."""
    if not file.exists():
        return 0
    with file.open("rb") as content:
        content.seek(0, os.SEEK_END)
        content.seek(max(0, content.tell() - _TAIL_BYTES))
        whole = content.read().rsplit(b"\n", 1)[0].rsplit(b"\n", 1)[-1]
    try:
        return int(json.loads(whole)["order"])
    except (ValueError, KeyError, TypeError):
        return max((int(line["order"]) for _, line in _lines(file) if line is not None), default=0)


def last_sequence(trial: TrialFolder) -> int:
    """The number of the last allocation in the journal; it needs no database."""
    return _last_number(trial.journal / ALLOCATIONS)


def _screened(last: int) -> Iterator[dict[str, Any]]:
    found = Participant.objects.filter(candidate__gt=last).order_by("candidate")
    return (_screening_line(one) for one in found.iterator(_CHUNK))


def _allocated(last: int) -> Iterator[dict[str, Any]]:
    found = Allocation.objects.filter(sequence__gt=last).select_related("participant")
    return (_allocation_line(one) for one in found.order_by("sequence").iterator(_CHUNK))


def _screening_line(participant: Participant) -> dict[str, Any]:
    return {
        "order": participant.candidate, "participant": str(participant.id), "number": participant.number,
        "site": participant.site_id, "screened_on": participant.screened_on,
        "consent_on": participant.consent_on, "consent_version": participant.consent_version,
    }  # fmt: skip


def _allocation_line(allocation: Allocation) -> dict[str, Any]:
    """What never changes of an allocation. The values at baseline stand in its inputs, as it was made from
    them: those of the participant follow corrections."""
    participant = allocation.participant
    return {
        "order": allocation.sequence, "allocation": str(allocation.id), "participant": str(participant.id),
        "number": participant.number, "stratum": allocation.stratum, "position": allocation.position,
        "inputs": allocation.inputs, "sealed_arm": allocation.sealed_arm,
        "request_key": allocation.request_key, "protocol_sha256": allocation.protocol_sha256,
        "person": allocation.person, "at": allocation.at, "randomized_on": participant.randomized_on,
        "strata": participant.strata,
    }  # fmt: skip


# --- reading ----------------------------------------------------------------------------------------------


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(line number, content), None for a line that cannot be read."""
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                read = json.loads(line)
                int(read["order"])
                yield number, read
            except (ValueError, KeyError, TypeError):
                yield number, None


def _signed_lines(trial: TrialFolder, name: str, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The lines that the trial's key has signed, each once; for others a problem is noted."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ledger.public_key(trial)))
    last = 0
    for number, read in _lines(trial.journal / name):
        where = f"journal/{name}, line {number}"
        if read is None:
            problems.append(f"{where} cannot be read")
            continue
        signature = read.pop("signature", "")
        try:
            key.verify(bytes.fromhex(str(signature)), (as_text(read) or "").encode())
        except (InvalidSignature, ValueError):
            problems.append(f"{where} is not signed by the trial's key: it was altered, or put there")
            continue
        order = int(read["order"])
        if order <= last:
            problems.append(f"{where} stands out of order: number {order} after {last}")
            continue
        if order > last + 1:
            problems.append(f"{where}: numbers {last + 1} to {order - 1} are missing before it")
        last = order
        yield read


@dataclass
class Comparison:
    """How the journal and the database differ. `participants` and `allocations` are lines whose row the
    database lacks; `problems` are differences that a person must look into."""

    problems: list[str] = field(default_factory=list)
    participants: list[dict[str, Any]] = field(default_factory=list)
    allocations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """Everything that differs."""
        return [
            *self.problems,
            *(f"the journal has participant {one['number']}, the database has not"
              for one in self.participants),
            *(f"the journal has allocation {one['order']}, of participant {one['number']}, the database has "
              "not" for one in self.allocations),
        ]  # fmt: skip


def compare(trial: TrialFolder) -> Comparison:
    """Compare the journal with the database, line by line."""
    found = Comparison()
    _compare_screenings(trial, found)
    _compare_allocations(trial, found)
    return found


def _chunks(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(lines, _CHUNK)):
        yield chunk


def _compare_screenings(trial: TrialFolder, found: Comparison) -> None:
    last = 0
    for chunk in _chunks(_signed_lines(trial, SCREENINGS, found.problems)):
        stored = {
            one.candidate: one
            for one in Participant.objects.filter(candidate__in=[line["order"] for line in chunk])
        }
        for line in chunk:
            last = int(line["order"])
            row = stored.get(last)
            if row is None:
                found.participants.append(line)
            elif json.loads(as_text(_screening_line(row)) or "") != line:
                found.problems.append(
                    f"participant {row.number} is not what the journal says of number {last} "
                    f"({line['number']})"
                )
    _at_the_end(Participant.objects.filter(candidate__gt=last).count(), "screening numbers", found)


def _compare_allocations(trial: TrialFolder, found: Comparison) -> None:
    last = 0
    for chunk in _chunks(_signed_lines(trial, ALLOCATIONS, found.problems)):
        stored = {
            one.sequence: one
            for one in Allocation.objects.filter(
                sequence__in=[line["order"] for line in chunk]
            ).select_related("participant")
        }
        for line in chunk:
            last = int(line["order"])
            row = stored.get(last)
            if row is None:
                found.allocations.append(line)
                continue
            told = json.loads(as_text(_allocation_line(row)) or "")
            differing = sorted(name for name in line if told.get(name) != line[name])
            if differing:
                found.problems.append(
                    f"allocation {last} is not what the journal says: {', '.join(differing)}"
                )
    _at_the_end(Allocation.objects.filter(sequence__gt=last).count(), "allocations", found)


def _at_the_end(count: int, what: str, found: Comparison) -> None:
    if count:
        found.problems.append(f"the last {count} {what} of the database are not in the journal")


# --- entering again ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reconciled:
    """What was entered again from the journal. `participants` were not in the backup at all: their forms
    have to be entered again at their sites."""

    participants: tuple[str, ...]
    allocations: tuple[str, ...]


def reconcile(trial: TrialFolder) -> Reconciled:
    """Enter again, from the journal, what the database lacks: nothing that was given is ever given twice.

    Randomisation stays suspended until the unblinded statistician lets it go on. Raises UserError, and
    changes nothing, when the two contradict each other.
    """
    catch_up(trial)
    found = compare(trial)
    if found.problems:
        raise UserError(f"the journal and the database contradict each other: {found.problems[0]}")
    sites = {line["site"] for line in found.participants}
    unknown = sorted(sites - set(Site.objects.filter(number__in=sites).values_list("number", flat=True)))
    if unknown:
        raise UserError(
            f"the database does not know site {unknown[0]}, where {found.participants[0]['number']} was "
            "screened: let the trial manager add the site again first"
        )
    if not found.participants and not found.allocations:
        return Reconciled((), ())

    def enter(act: Act) -> None:
        for line in found.participants:
            _enter_participant(act, line)
        for line in found.allocations:
            _enter_allocation(act, line)
        counters = {
            "screened": max([act.trial.screened, *(line["order"] for line in found.participants)]),
            "allocated": max([act.trial.allocated, *(line["order"] for line in found.allocations)]),
        }
        act.change(act.trial, "trial", counters, reason="from the journal")

    with_system("journal.reconcile", enter)
    return Reconciled(
        tuple(line["number"] for line in found.participants),
        tuple(line["number"] for line in found.allocations),
    )


_AGAIN = "entered again from the journal"


def _enter_participant(act: Act, line: Mapping[str, Any]) -> None:
    participant = Participant(
        id=UUID(line["participant"]), number=line["number"], candidate=line["order"], site_id=line["site"],
        screened_on=date.fromisoformat(line["screened_on"]),
        consent_on=date.fromisoformat(line["consent_on"]), consent_version=line["consent_version"],
    )  # fmt: skip
    act.create(participant, "participant", participant=participant.number, reason=_AGAIN)


def _enter_allocation(act: Act, line: Mapping[str, Any]) -> None:
    participant = Participant.objects.get(id=UUID(line["participant"]))
    allocation = Allocation(
        id=UUID(line["allocation"]), sequence=line["order"], participant=participant,
        request_key=line["request_key"], stratum=line["stratum"], position=line["position"],
        inputs=line["inputs"], sealed_arm=line["sealed_arm"], protocol_sha256=line["protocol_sha256"],
        person=line["person"], at=datetime.fromisoformat(line["at"]),
    )  # fmt: skip
    record_allocation(act, allocation, date.fromisoformat(line["randomized_on"]), line["strata"], _AGAIN)


# --- how both are recorded --------------------------------------------------------------------------------


def record_allocation(
    act: Act,
    allocation: Allocation,
    day_0: date,
    strata: Mapping[str, Any],
    reason: str = "",
) -> None:
    """Add an allocation and what it makes of its participant; the baseline is that of its inputs."""
    participant = allocation.participant
    where = {"participant": participant.number, "reason": reason}
    act.create(allocation, "allocation", apart=("sealed_arm",), **where)
    act.record(
        "allocation", allocation.id, field="sealed_arm", new=allocation.sealed_arm, reveals_arm=True, **where
    )
    act.change(
        participant,
        "participant",
        {
            "status": Participant.RANDOMIZED, "randomized_number": allocation.sequence,
            "randomized_on": day_0, "strata": dict(strata), "baseline": dict(allocation.inputs["baseline"]),
        },
        **where,
    )  # fmt: skip


def suspend(reason: str, command: str) -> None:
    """Let nobody be randomised until the journal and the database agree and somebody has said so."""

    def work(act: Act) -> None:
        act.change(act.trial, "trial", {"suspended": reason}, reason=reason)

    if Trial.objects.get(id=1).suspended != reason:
        with_system(command, work)
