"""Who is in which arm. Whoever calls this has asked `Viewer.sees_arm` first."""

from __future__ import annotations

from equipoise.conduct import sealing
from equipoise.conduct.models import Allocation, Participant


def arm_of(participant: Participant) -> str | None:
    """The arm of a participant, None before randomisation. (The allocation, which never changes, is read once
    for each `participant` at hand.)"""
    try:
        return sealing.open_arm(participant.allocation)
    except Allocation.DoesNotExist:
        return None
