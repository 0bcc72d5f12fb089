"""Screening: taking consent down, the criteria one by one, the investigator's signature, screen failures."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from equipoise.conduct import clock, opening
from equipoise.conduct.gateway import NotFound, Refused
from equipoise.conduct.models import Form, Participant, Site
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import (
    Field,
    attempt,
    day,
    filled,
    participant_of,
    typed,
    viewer_of,
)
from equipoise.conduct.reading.eligibility import Screening
from equipoise.conduct.reading.eligibility import screening as assessed
from equipoise.protocol.quantities import days

SIGNED = "I have checked the eligibility of this participant against the source documents"


def screening_start(request: HttpRequest, site: int) -> HttpResponse:
    """Begin screening somebody who has given consent: they get their number."""
    place = Site.objects.filter(number=site).first()
    if place is None or not viewer_of(request).sites().filter(number=site).exists():
        raise NotFound("there is nothing of that name for you")
    today = clock.today(place.zone)
    refused = None
    if request.method == "POST":
        answer = attempt(
            request,
            "screening.start",
            lambda: {
                "site": site, "screened_on": day(request, "screened_on", today),
                "consent_on": day(request, "consent_on", today),
                "consent_version": typed(request, "consent_version"),
            },
        )  # fmt: skip
        if not isinstance(answer, Refused):
            number = answer["participant"]
            return done(request, f"Screening of {number} has begun.", "screening", number=number)
        refused = answer
    asked = (
        Field("consent_on", "Consent signed on", "date", hint="3 may 2026; t is today, -1 yesterday"),
        Field("consent_version", "Version of the consent form", hint="as printed on the form, such as 2.1"),
        Field("screened_on", "First screening visit on", "date", hint="screening lasts at most "
              f"{days(opening.folder().protocol.eligibility.within)} days from here"),
    )  # fmt: skip
    context = {"site": place, "fields": filled(asked, request.POST.dict(), refused)}
    return page(request, "entry/screening_start.html", context, refused)


def screening(request: HttpRequest, number: str) -> HttpResponse:
    """Where the eligibility of a participant stands: what is met, what is not, what is not known; signing."""
    participant = participant_of(request)
    viewer = viewer_of(request)
    refused = None
    failing = typed(request, "do") == "fail"
    if request.method == "POST":
        if failing:
            answer = attempt(
                request, "screening.fail", lambda: {"participant": number, "reason": typed(request, "reason")}
            )
            words = "Recorded as a screen failure."
        else:
            answer = attempt(
                request,
                "eligibility.sign",
                lambda: {"participant": number, "content_sha256": typed(request, "content_sha256")},
            )
            words = "Eligibility is signed."
        if not isinstance(answer, Refused):
            return done(request, words, "screening", number=number)
        refused = answer
    on = participant.randomized_on or clock.today(participant.site.zone)
    found = assessed(participant, on)
    open_ = participant.status == Participant.SCREENING
    context = {
        "participant": participant, "found": found, "forms": forms_grid(participant),
        "over": participant.randomized_on is not None, "used": strata_used(participant),
        "counts": _counts(found), "derived": [one for one in found.results if one.derived],
        "expiring": sorted(
            (one for one in found.results if one.valid_until is not None and not one.derived),
            key=lambda one: (one.valid_until, one.label),
        ),
        "may_enter": open_ and viewer.may("form.save", participant.site),
        "may_sign": open_ and found.eligible == "yes" and not found.signed
        and viewer.may("eligibility.sign", participant.site),
        "may_fail": open_ and viewer.may("screening.fail", participant.site),
        "may_randomise": open_ and not found.stands_in_way and viewer.may("randomize", participant.site),
        "meaning": SIGNED, "reason": typed(request, "reason"), "failing": failing,
        "suggestions": [f"{one.id}: {one.text}" for one in found.criteria if one.met == "no"],
    }  # fmt: skip
    return page(request, "entry/screening.html", context, refused)


def _counts(found: Screening) -> dict[str, int]:
    met = [one.met for one in found.criteria]
    return {"not_met": met.count("no"), "unknown": met.count("unknown"), "met": met.count("yes")}


def strata_used(participant: Participant) -> list[dict[str, str]]:
    """The strata as they were confirmed at randomisation, in words."""
    known = opening.folder().protocol.strata
    return [
        {"label": known[name].label if name in known else name, "level": level}
        for name, level in participant.strata.items()
    ]


def forms_grid(participant: Participant) -> list[dict[str, Any]]:
    """The forms of the screening visits, in the order of the protocol, with their state."""
    stored = {form.key: form for form in Form.objects.filter(participant=participant, kind="screening")}
    return [
        {"key": visit.id, "label": visit.label, "form": stored.get(visit.id), "activities": visit.activities}
        for visit in opening.folder().protocol.visits
        if visit.period == "screening"
    ]
