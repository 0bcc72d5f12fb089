"""Randomisation: one allocation in one transaction, in an order that nobody can foresee and anybody with the
key can replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from equipoise.conduct import duties, journal, opening, sealing
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, Secret, as_text, command, duties_on
from equipoise.conduct.inputs import AllocationInError, Randomize, ResumeRandomization
from equipoise.conduct.ledger import utc
from equipoise.conduct.models import Allocation, AllocationError, Outbox, Participant, Person, Query
from equipoise.conduct.models import QueryMessage as Message
from equipoise.conduct.reading.eligibility import Screening, screening, stratum_differences
from equipoise.rules import randomization as rules

STRATUM_RULE = "stratum"
"""The check that asks about a stratum that was corrected after randomisation."""
_CHUNK = 2000


@command("randomize", Randomize)
def randomize(act: Act, given: Randomize) -> dict[str, Any]:
    """Randomise a participant; asked again, the answer is the same."""
    participant = act.allow_at(given.participant)
    done = Allocation.objects.filter(participant=participant).first()
    if done is not None:
        if dict(given.strata) != done.inputs["strata"]:
            raise Conflict(f"{participant.number} was randomised already, with other strata")
        act.record(
            "allocation", done.id, participant=participant.number, field="asked again",
            new=str(done.sequence),
        )  # fmt: skip
        return _answer(act, participant, done)
    found = screening(participant, act.today())
    if found.stands_in_way:
        raise Refused("; ".join(found.stands_in_way))
    strata = _confirmed(found, given.strata)
    act.change(act.trial, "trial", {"allocated": act.trial.allocated + 1})
    allocation = _allocate(act, found, strata)
    journal.record_allocation(act, allocation, found.on, found.levels)
    _receipts(act, participant, allocation)
    act.after.append(lambda: journal.catch_up(opening.folder()))
    return _answer(act, participant, allocation)


def _confirmed(found: Screening, given: dict[str, str]) -> dict[str, str]:
    """The levels that the person confirms, which must be those on record."""
    recorded = {one.name: one for one in found.strata if one.confirmed}
    for name in given:
        if name not in recorded:
            raise Refused(f'"{name}" is not a stratum of this randomisation', "strata")
    for name, stratum in recorded.items():
        if name not in given:
            raise Refused(f"confirm the stratum: {stratum.label}", "strata")
        if given[name] != stratum.level:
            raise Refused(
                f"{stratum.label}: you confirm {given[name]}, the record says {stratum.level}: look at both "
                "and correct what is wrong",
                "strata",
            )
    return dict(given)


def stratum_name(plan: rules.Scheme, levels: dict[str, str]) -> str:
    """A stratum as it is stored: its factors and levels in the order of the protocol."""
    return json.dumps([[name, levels[name]] for name in plan.strata], ensure_ascii=False)


@lru_cache(maxsize=4096)
def _levels(stratum: str) -> tuple[str, ...]:
    return tuple(level for _, level in json.loads(stratum))


def _allocate(act: Act, found: Screening, strata: dict[str, str]) -> Allocation:
    trial = opening.folder()
    plan = rules.scheme(trial.protocol)
    stratum = stratum_name(plan, strata)
    position = Allocation.objects.filter(stratum=stratum).count() + 1
    sequence = sealing.Sequence(trial.key("allocation"))
    state = rules.EMPTY
    for _, allocated in _stepped(plan, sequence, _earlier(plan, stratum)):
        state = allocated.state
    drawn = sequence.uniforms(act.trial.protocol_sha256, stratum, position)
    arm = plan.arms[rules.step(plan, state, _levels(stratum), *drawn).arm]
    allocation = Allocation(
        sequence=act.trial.allocated,
        participant=found.participant,
        request_key=str(act.id),
        stratum=stratum,
        position=position,
        inputs=_inputs(act, found, strata),
        protocol_sha256=act.trial.protocol_sha256,
        person=act.actor.person.username,
        at=act.at,
    )
    allocation.sealed_arm = sealing.seal(
        trial.key("allocation"), arm, sealing.bound(allocation.id, found.participant.id)
    )
    return allocation


def _inputs(act: Act, found: Screening, strata: dict[str, str]) -> dict[str, Any]:
    """Exactly what the allocation was made from."""
    text = as_text(
        {
            "strata": strata,
            "values": found.content["values"],
            "baseline": dict(found.values),
            "consent_on": found.participant.consent_on,
            "consent_version": found.participant.consent_version,
            "eligibility_sha256": found.content_sha256,
            "signature": None if found.signature is None else str(found.signature.id),
            "day_0": found.on,
            "role": act.role,
        }
    )
    return dict(json.loads(text or "{}"))


def _answer(act: Act, participant: Participant, allocation: Allocation) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "participant": participant.number,
        "randomized_number": allocation.sequence,
        "at": allocation.at,
        "day_0": allocation.inputs["day_0"],
        "strata": allocation.inputs["strata"],
        "in_error": AllocationError.objects.filter(allocation=allocation).exists(),
    }
    if act.role in duties.SEES_ARM:
        answer["arm"] = Secret(sealing.open_arm(allocation))
    return answer


def _receipts(act: Act, participant: Participant, allocation: Allocation) -> None:
    """A message to who randomised and to the trial managers, from which it can be told later who had a
    place. It holds no arm and nothing clinical."""
    managers = [
        person
        for person in Person.objects.filter(duties__role=duties.MANAGER, is_active=True).distinct()
        if any(duty.role == duties.MANAGER for duty in duties_on(person, act.at))
    ]
    addresses = {person.email for person in [act.actor.person, *managers] if person.email}
    Outbox.objects.bulk_create(
        Outbox(
            at=act.at,
            to=address,
            subject=f"{act.trial.name}: {participant.number} was randomised",
            body=f"{participant.number} was randomised as number {allocation.sequence} on {utc(act.at)} "
            f"(allocation {allocation.id}). Keep this receipt.",
        )
        for address in sorted(addresses)
    )


# --- replaying --------------------------------------------------------------------------------------------


Row = tuple[int, str, int, str]
"""Sequence, stratum, position in the stratum, hash of the protocol."""


def _earlier(plan: rules.Scheme, stratum: str) -> Iterator[Row]:
    """The allocations on which the next one of a stratum depends, in order."""
    rows = Allocation.objects.order_by("sequence")
    if plan.method == "simple":
        rows = rows.none()
    elif plan.method == "permuted blocks":
        rows = rows.filter(stratum=stratum)
    found = rows.values_list("sequence", "stratum", "position", "protocol_sha256")
    return iter(found.iterator(_CHUNK))


def _stepped(
    plan: rules.Scheme, sequence: sealing.Sequence, rows: Iterator[Row]
) -> Iterator[tuple[Row, rules.Allocation]]:
    """Walk through recorded allocations, from the first on."""
    state = rules.EMPTY
    for row in rows:
        _, stratum, position, protocol = row
        drawn = sequence.uniforms(protocol, stratum, position)
        allocated = rules.step(plan, state, _levels(stratum), *drawn)
        state = allocated.state
        yield row, allocated


def replay(trial: TrialFolder) -> list[str]:
    """Make every allocation again from the key and the recorded inputs; what does not come out the same.

    Also named: a number left out, a place in a stratum left out, a sealed arm that does not open.
    """
    plan = rules.scheme(trial.protocol)
    sequence = sealing.Sequence(trial.key("allocation"))
    key = trial.key("allocation")
    problems: list[str] = []
    state = rules.EMPTY
    last = 0
    places: dict[str, int] = {}
    for allocation in Allocation.objects.order_by("sequence").iterator(_CHUNK):
        number = allocation.sequence
        if number != last + 1:
            problems.append(f"allocation {last + 1} is missing before allocation {number}")
        last = number
        place = places[allocation.stratum] = places.get(allocation.stratum, 0) + 1
        if allocation.position != place:
            problems.append(
                f"allocation {number} has place {allocation.position} of its stratum, not {place}"
            )
        try:
            levels = _levels(allocation.stratum)
        except (ValueError, TypeError):
            problems.append(f"the stratum of allocation {number} cannot be read: it was altered")
            continue
        drawn = sequence.uniforms(allocation.protocol_sha256, allocation.stratum, allocation.position)
        allocated = rules.step(plan, state, levels, *drawn)
        state = allocated.state
        try:
            arm = sealing.unseal(
                key, allocation.sealed_arm, sealing.bound(allocation.id, allocation.participant_id)
            )
        except ValueError:
            problems.append(
                f"the arm of allocation {number} does not open: it was altered, or belongs to another row"
            )
            continue
        if arm != plan.arms[allocated.arm]:
            problems.append(f"allocation {number} does not replay: the key and its inputs give another arm")
    return problems


# --- afterwards -------------------------------------------------------------------------------------------


@command("allocation.in_error", AllocationInError)
def in_error(act: Act, given: AllocationInError) -> dict[str, Any]:
    """Record that an allocation should not have been made; the place stays used and the arm stands."""
    participant = act.allow_at(given.participant)
    allocation = Allocation.objects.filter(participant=participant).first()
    if allocation is None:
        raise NotFound(f"{participant.number} was not randomised")
    if AllocationError.objects.filter(allocation=allocation).exists():
        raise Conflict(f"the allocation of {participant.number} is recorded as an error already")
    error = AllocationError(
        allocation=allocation, reason=given.reason, person=act.actor.person.username, at=act.at
    )
    shown = {"allocation": str(allocation.id), "sequence": allocation.sequence, "reason": given.reason}
    act.create(error, "allocation error", participant=participant.number, reason=given.reason)
    act.sign("allocation error", allocation.id, shown, "randomised in error", participant.number)
    return {"participant": participant.number, "randomized_number": allocation.sequence}


@command("randomization.resume", ResumeRandomization)
def resume(act: Act, given: ResumeRandomization) -> dict[str, Any]:
    """Let randomisation go on after a restore, once the journal and the database agree."""
    act.allow(None)
    if not act.trial.suspended:
        raise Conflict("randomisation is not suspended")
    differing = journal.compare(opening.folder()).words
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise Refused(f"the journal and the database do not agree: {differing[0]}{more}")
    problems = replay(opening.folder())
    if problems:
        raise Refused(f"the allocations do not replay: {problems[0]}")
    act.change(act.trial, "trial", {"suspended": ""}, reason=given.reason)
    return {"suspended": ""}


def after_change(act: Act, participant: Participant) -> None:
    """Ask about a stratum that differs from the one used: the allocation stands, both strata are kept, and
    a query says so until somebody confirms or mends it. Called when something on record has changed."""
    differing = stratum_differences(participant)
    protocol = opening.folder().protocol
    said = "; ".join(
        f"{protocol.strata[name].label}: randomised as {used}, now on record as {now or 'not known'}"
        for name, (used, now) in differing.items()
    )
    standing = Query.objects.filter(participant=participant, rule=STRATUM_RULE)
    for query in standing.filter(state__in=[Query.OPEN, Query.ANSWERED]):
        if query.text != said:
            _settle(act, participant, query)
    if said and not standing.filter(text=said).exclude(state=Query.CANCELLED).exists():
        query = Query(
            participant=participant, rule=STRATUM_RULE, text=said, opened_by="system", opened_at=act.at,
            changed_at=act.at,
        )  # fmt: skip
        act.create(query, "query", participant=participant.number)


def _settle(act: Act, participant: Participant, query: Query) -> None:
    words = "the record has changed: the question no longer stands as it was asked"
    act.change(
        query, "query", {"state": Query.CLOSED, "changed_at": act.at}, participant=participant.number,
        reason=words,
    )  # fmt: skip
    message = Message(query=query, at=act.at, person="system", state=Query.CLOSED, text=words)
    act.create(message, "query message", participant=participant.number)
