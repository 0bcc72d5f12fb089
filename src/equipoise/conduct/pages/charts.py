"""The chart of one participant: where they are, what is next, why."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from equipoise.conduct import access, opening
from equipoise.conduct.models import Medication, Participant, Query, Signature
from equipoise.conduct.pages import timeline
from equipoise.conduct.pages.addresses import address
from equipoise.conduct.reading import chart as reading
from equipoise.conduct.reading import forms

SHOWN_FORMS = 60
"""Latest forms listed beside the chart (assumed)."""


def chart(request: HttpRequest, number: str) -> HttpResponse:
    """Everything about one participant on one page, as far as who looks may know it."""
    viewer: access.Viewer = request.viewer
    participant: Participant = request.participant
    found = reading.chart(participant, viewer)
    sees_arm = viewer.sees_arm(participant.site)
    return render(
        request,
        "chart.html",
        {
            "participant": participant,
            "chart": found,
            "zone": participant.site.zone,
            "sees_arm": sees_arm,
            "picture": timeline.timeline(found),
            "rows": timeline.as_table(found),
            "grid": _grid(participant, found),
            "queries": _queries(participant, sees_arm),
            "signatures": _signatures(participant) if sees_arm else [],
            "medications": Medication.objects.filter(participant=participant, removed="").order_by(
                "started", "drug"
            ),
            "decisions": found.decisions[::-1],
            "next_address": _address(participant, found),
            "acts": [
                (words, name, address(name, **kwargs))
                for words, name, kwargs in _acts(viewer, participant, found)
            ],
        },
    )


def _grid(participant: Participant, found: reading.Chart) -> list[dict[str, Any]]:
    """Every form there is or should be, latest first: those of visits, then checks and updates."""
    protocol = opening.folder().protocol
    rows: list[dict[str, Any]] = [
        {"title": mark.name[:1].upper() + mark.name[1:], "of": mark.label, "kind": mark.place[0],
         "key": mark.place[1], "due": mark.due, "on": mark.on, "state": mark.state, "status": mark.status}
        for mark in found.visits if mark.state != "to come"
    ]  # fmt: skip
    for form in found.others:
        plan = forms.plan(protocol, participant, form.kind, form.key)
        rows.append(
            {"title": plan.title, "of": "", "kind": form.kind, "key": form.key, "due": plan.on,
             "on": form.on, "state": "", "status": form.status}
        )  # fmt: skip
    rows.sort(key=lambda row: row["on"] or row["due"], reverse=True)
    shown = rows[:SHOWN_FORMS]
    for row in shown:
        row["address"] = address("form", number=participant.number, kind=row["kind"], key=row["key"])
    return shown


def _queries(participant: Participant, sees_arm: bool) -> list[Query]:
    shown = Q() if sees_arm else Q(reveals_arm=False)
    waiting = (Query.OPEN, Query.ANSWERED)
    return list(Query.objects.filter(shown, participant=participant, state__in=waiting).order_by("opened_at"))


def _signatures(participant: Participant) -> list[Signature]:
    return list(Signature.objects.filter(participant=participant.number).order_by("-at")[:20])


def _address(participant: Participant, found: reading.Chart) -> str:
    """Where the next action is done; nothing where this viewer may not open it."""
    if not found.next:
        return ""
    following, number = found.next[0], participant.number
    if following.kind == "decision":
        return address("decide", number=number, regimen=following.key)
    if following.kind == "screening":
        return address("screening", number=number)
    return address("form", number=number, kind=following.kind, key=following.key)


def _acts(
    viewer: access.Viewer, participant: Participant, found: reading.Chart
) -> list[tuple[str, str, dict[str, Any]]]:
    """What this viewer may do here: words, name of the address, its parameters."""
    site, number = participant.site, participant.number
    acts: list[tuple[str, str, dict[str, Any]]] = []
    if participant.status == Participant.SCREENING:
        if viewer.may("form.save", site) or viewer.may("eligibility.sign", site):
            acts.append(("Screening", "screening", {"number": number}))
        return acts
    if participant.status == Participant.RANDOMIZED:
        for regimen in dict.fromkeys(one.key for one in found.next if one.kind == "decision"):
            if viewer.may("decision.take", site):
                acts.append(("Dosing decision", "decide", {"number": number, "regimen": regimen}))
        if viewer.may("event.report", site):
            acts.append(("Report an event", "event_new", {"number": number}))
        if viewer.may("form.save", site):
            acts.append(("Something happened between visits", "update_new", {"number": number}))
        if viewer.may("medication.save", site):
            acts.append(("Medication", "medication", {"number": number}))
        if viewer.may("disposition.record", site):
            acts.append(("End of participation", "disposition", {"number": number}))
    if viewer.may("query.open", site):
        acts.append(("Ask a query", "query_new", {"number": number}))
    return acts
