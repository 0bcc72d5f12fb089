"""Who is in which arm. Whoever calls this has asked `Viewer.sees_arm` first."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from equipoise.conduct import sealing
from equipoise.conduct.models import Allocation, Participant

_OPENED = "_opened_arm"


def arm_of(participant: Participant) -> str | None:
    """The arm of a participant, None before randomisation."""
    return arms_of([participant]).get(participant.id)


def arms_of(participants: Iterable[Participant]) -> dict[UUID, str]:
    """The arms of those participants who have one, by identifier, with one question to the database. An
    allocation never changes: it is read and opened once for each participant at hand."""
    people = {one.id: one for one in participants}
    unread = [key for key, one in people.items() if _OPENED not in one.__dict__]
    for allocation in Allocation.objects.filter(participant__in=unread) if unread else ():
        people[allocation.participant_id].__dict__[_OPENED] = sealing.open_arm(allocation)
    return {key: one.__dict__[_OPENED] for key, one in people.items() if _OPENED in one.__dict__}
