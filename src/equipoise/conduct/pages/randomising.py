"""Randomisation: what is confirmed, one button, and the result, the same on every reload."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from equipoise.conduct import clock, opening
from equipoise.conduct.gateway import Refused
from equipoise.conduct.models import Allocation, Participant
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import attempt, participant_of, typed, viewer_of
from equipoise.conduct.pages.screening import strata_used
from equipoise.conduct.reading.eligibility import Screening, screening, stratum_differences
from equipoise.conduct.reading.forms import VISIT, plan, planned_visits, visit_key


def randomise(request: HttpRequest, number: str) -> HttpResponse:
    """Confirm the strata one by one and randomise; afterwards, the result."""
    participant = participant_of(request)
    allocation = Allocation.objects.filter(participant=participant).first()
    refused = None
    if request.method == "POST" and typed(request, "do") == "in error":
        answer = attempt(
            request,
            "allocation.in_error",
            lambda: {"participant": number, "reason": typed(request, "reason")},
        )
        if not isinstance(answer, Refused):
            return done(request, "Recorded as randomised in error.", "randomise", number=number)
        refused = answer
    elif request.method == "POST":
        confirmed = {
            name.removeprefix("stratum:"): value
            for name, value in request.POST.items()
            if name.startswith("stratum:")
        }
        answer = attempt(request, "randomize", lambda: {"participant": number, "strata": confirmed})
        if not isinstance(answer, Refused):
            return done(request, f"{number} is randomised.", "randomise", number=number)
        refused = answer
    if allocation is None:
        found = screening(participant, clock.today(participant.site.zone))
        return page(request, "entry/randomise.html", _before(request, participant, found), refused)
    return page(request, "entry/randomised.html", _after(request, participant, allocation), refused)


def _before(request: HttpRequest, participant: Participant, found: Screening) -> dict[str, Any]:
    protocol = opening.folder().protocol
    return {
        "participant": participant,
        "found": found,
        "strata": [
            {"stratum": stratum, "ticked": request.POST.get(f"stratum:{stratum.name}") == stratum.level}
            for stratum in found.strata
            if stratum.confirmed
        ],
        "blocked": found.stands_in_way,
        "may": viewer_of(request).may("randomize", participant.site),
        "second_factor": request.actor.second_factor,
        "arms": [arm.label for arm in protocol.arms.values()],
    }


def _after(request: HttpRequest, participant: Participant, allocation: Allocation) -> dict[str, Any]:
    from equipoise.conduct.reading.arms import arm_of

    protocol = opening.folder().protocol
    viewer = viewer_of(request)
    sees_arm = viewer.sees_arm(participant.site)
    arm = arm_of(participant) if sees_arm else None
    cycles = [
        {"name": name, "label": protocol.regimens[name].label or protocol.regimens[name].drug}
        for name in (protocol.arms[arm].regimens if arm is not None else ())
        if protocol.regimens[name].kind == "cycles"
    ]
    return {
        "participant": participant,
        "allocation": allocation,
        "error": getattr(allocation, "error", None),
        "arm": None if arm is None else protocol.arms[arm].label,
        "sees_arm": sees_arm,
        "cycles": cycles,
        "today": _due(participant),
        "strata": strata_used(participant),
        "differences": [
            {"label": protocol.strata[name].label, "used": used, "now": now}
            for name, (used, now) in stratum_differences(participant).items()
        ],
        "may_error": viewer.may("allocation.in_error", participant.site),
        "reason": typed(request, "reason"),
    }


def _due(participant: Participant) -> list[dict[str, str]]:
    """The visit of the day of randomisation, if the protocol has one."""
    protocol = opening.folder().protocol
    planned = planned_visits(protocol, participant, 1)
    keys = [visit_key(visit) for visit in planned if visit.day == 0]
    return [{"key": key, "name": plan(protocol, participant, VISIT, key).title} for key in keys]
