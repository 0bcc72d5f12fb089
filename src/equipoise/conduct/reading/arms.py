"""Who is in which arm. Whoever calls this has asked `Viewer.sees_arm` first."""

from __future__ import annotations

from equipoise.conduct import sealing
from equipoise.conduct.models import Allocation, Participant


def arm_of(participant: Participant) -> str | None:
    """The arm of a participant, None before randomisation."""
    found = Allocation.objects.filter(participant=participant).first()
    return None if found is None else sealing.open_arm(found)
