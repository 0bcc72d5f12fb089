"""Clinical events, antiretroviral drugs, and the end of a participation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse

from equipoise.conduct import clock, entering, opening
from equipoise.conduct.duties import SEES_ARM
from equipoise.conduct.gateway import NotFound, Refused
from equipoise.conduct.inputs import EventReport, RecordDisposition
from equipoise.conduct.models import Medication, Participant, Site
from equipoise.conduct.pages import tags
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import (
    Choice,
    Field,
    attempt,
    choices,
    filled,
    identifier,
    moment,
    partial_day,
    participant_of,
    site_choices,
    typed,
    viewer_of,
    whole,
)
from equipoise.conduct.pages.fields import day as typed_day
from equipoise.conduct.reading import safety as reading
from equipoise.conduct.reading.safety import Report

SERIOUS_HOURS = 24
"""Hours from knowing of a serious event within which the sponsor is told."""
GRADES = (
    Choice("", "–"), Choice("1", "1 – mild"), Choice("2", "2 – moderate"), Choice("3", "3 – severe"),
    Choice("4", "4 – potentially life-threatening"), Choice("5", "5 – death"),
)  # fmt: skip
SERIOUS_BECAUSE = (
    "", "death", "life-threatening", "hospital stay begun or prolonged", "lasting disability",
    "congenital anomaly", "other important medical event",
)  # fmt: skip
PRECISELY = "as precisely as known: 3 may 2026, may 2026 or 2026"
MOST_SHOWN = 300
YES_NO = (Choice("yes", "Yes"), Choice("no", "No"))
YES_NO_UNKNOWN = (*YES_NO, Choice("", "Not yet known"))


def kinds(viewer: Any) -> tuple[Choice, ...]:
    """The kinds of event of which somebody may hear."""
    return tuple(Choice(kind, label) for kind, label in reading.kinds_shown(viewer).items())


def _terms() -> tuple[str, ...]:
    found: list[str] = []
    for event in opening.folder().protocol.events.values():
        found += [term for term in event.terms if term not in found]
    return tuple(found)


def _allowed(field: str) -> tuple[str, ...]:
    return tuple(get_args(EventReport.model_fields[field].annotation))


def event_fields(participant: Participant, shows_arm: bool, latest: Report | None) -> tuple[Field, ...]:
    """What a report of an event asks, with what the latest report says."""
    cycles = [
        Choice(str(cycle.number), f"cycle {cycle.number}, {cycle.on:%d %b %Y}")
        for cycle in (participant.cycles.order_by("number") if shows_arm else ())
    ]
    zone = participant.site.zone
    aware = None if latest is None or latest.aware_at is None else latest.aware_at.astimezone(ZoneInfo(zone))

    def was(name: str) -> str:
        value = None if latest is None else getattr(latest, name)
        if value is None:
            return ""
        return ("yes" if value else "no") if isinstance(value, bool) else str(value)

    def was_on(name: str) -> str:
        text = was(name)
        return f"{date.fromisoformat(text):%d %b %Y}" if len(text) == 10 else text

    asked = [
        Field("term", "Event", value=was("term"), suggestions=_terms(), hint="diagnosis or main symptom"),
        Field("onset", "Began on", "date", was_on("onset"), hint=PRECISELY),
        Field("ended", "Ended on", "date", was_on("ended"), needed=False, hint="empty while it lasts"),
        Field("grade", "Grade", "choice", was("grade"), GRADES, needed=False),
        Field("serious", "Serious", "radio", was("serious"), YES_NO),
        Field("serious_because", "Serious because of", "choice", was("serious_because"),
              choices(*SERIOUS_BECAUSE), needed=False),
        Field("aware_on", "Site learned of it on", "date", "" if aware is None else f"{aware:%d %b %Y}",
              needed=False, hint="a serious event needs it: its 24 hours run from here"),
        Field("aware_time", "at", "time", "" if aware is None else f"{aware:%H:%M}", needed=False,
              hint=f"24-hour clock, {zone}"),
        Field("attributed", "Related to the trial treatment", "radio", was("attributed"), YES_NO_UNKNOWN,
              needed=False),
        Field("action_taken", "Action on trial treatment", "choice", was("action_taken"),
              choices(*_allowed("action_taken")), needed=False),
        Field("outcome", "Outcome", "choice", was("outcome"), choices(*_allowed("outcome")), needed=False),
    ]  # fmt: skip
    if cycles:
        asked.append(
            Field("cycle", "During or after cycle", "choice", was("cycle"), (Choice("", "–"), *cycles),
                  needed=False)
        )  # fmt: skip
    asked.append(Field("narrative", "What happened", "long", was("narrative"), needed=False))
    return tuple(asked)


def _yes_no(request: HttpRequest, name: str, *, needed: bool) -> bool | None:
    answer = typed(request, name)
    if answer not in ("yes", "no"):
        if needed:
            raise Refused("say yes or no", name)
        return None
    return answer == "yes"


def _report(request: HttpRequest, participant: Participant) -> dict[str, Any]:
    today = clock.today(participant.site.zone)
    return {
        "participant": participant.number,
        "term": typed(request, "term"),
        "onset": partial_day(request, "onset", today),
        "ended": partial_day(request, "ended", today, optional=True),
        "grade": whole(request, "grade"),
        "serious": _yes_no(request, "serious", needed=True),
        "serious_because": typed(request, "serious_because"),
        "attributed": _yes_no(request, "attributed", needed=False),
        "action_taken": typed(request, "action_taken"),
        "outcome": typed(request, "outcome"),
        "cycle": whole(request, "cycle"),
        "aware_at": moment(request, "aware", participant.site),
        "narrative": typed(request, "narrative"),
    }


def event_new(request: HttpRequest, number: str) -> HttpResponse:
    """Report an event for the first time."""
    participant, viewer = participant_of(request), viewer_of(request)
    refused = None
    if request.method == "POST":
        kind = typed(request, "kind")
        answer = attempt(request, "event.report", lambda: {"kind": kind, **_report(request, participant)})
        if not isinstance(answer, Refused):
            label = reading.label_of(opening.folder().protocol, kind)
            return done(request, f"{label} reported.", "event", number=number, event=answer["event"])
        refused = answer
    asked = (
        Field("kind", "Kind of event", "choice", reading.ADVERSE_EVENT, kinds(viewer)),
        *event_fields(participant, viewer.sees_arm(participant.site), None),
    )
    context = {"participant": participant, "fields": filled(asked, request.POST.dict(), refused)}
    return page(request, "entry/event_new.html", context, refused)


_COMPARED = (
    ("term", "Event", False), ("onset", "Began", False), ("ended", "Ended", False), ("grade", "Grade", False),
    ("serious", "Serious", False), ("serious_because", "Serious because of", False),
    ("aware_at", "Site learned of it", False), ("attributed", "Related", True),
    ("action_taken", "Action on trial treatment", True), ("outcome", "Outcome", False),
    ("cycle", "Cycle", True), ("narrative", "What happened", True),
)  # fmt: skip
"""Field, its name in words, whether it tells the arm."""


def _in_words(name: str, value: Any, zone: str) -> str:
    if value is None or value == "":
        return "–"
    if name in ("onset", "ended"):
        return tags.in_words(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "astimezone"):
        there = value.astimezone(ZoneInfo(zone))
        return f"{tags.in_words(there.date())} {there:%H:%M} {zone}"
    return str(value)


def compared(reports: Sequence[Report], zone: str, shows_arm: bool) -> list[dict[str, Any]]:
    """The reports of an event side by side: one line for each thing, with what changed marked."""
    lines = []
    for name, label, tells_arm in _COMPARED:
        if tells_arm and not shows_arm:
            continue
        told = [_in_words(name, getattr(report, name), zone) for report in reports]
        cells = [{"words": words, "changed": i > 0 and words != told[i - 1]} for i, words in enumerate(told)]
        lines.append({"label": label, "cells": cells})
    return lines


def serious_clock(reports: Sequence[Report], zone: str) -> dict[str, Any] | None:
    """When the 24 hours of a serious event end, on the clock of the site, and whether they have."""
    first = next((one for one in reports if one.serious and one.aware_at is not None), None)
    if first is None or first.aware_at is None:
        return None
    until = first.aware_at + timedelta(hours=SERIOUS_HOURS)
    return {
        "aware": first.aware_at.astimezone(ZoneInfo(zone)),
        "until": until.astimezone(ZoneInfo(zone)),
        "zone": zone,
        "over": clock.now() > until,
        "hours_left": max(0, round((until - clock.now()).total_seconds() / 3600)),
        "reported_within": first.at <= until,
        "reported": first.at.astimezone(ZoneInfo(zone)),
    }


def event(request: HttpRequest, number: str, event: str) -> HttpResponse:
    """One event: its reports side by side, a further report, striking it out."""
    participant = participant_of(request)
    one = reading.event_view(participant, event, viewer_of(request))
    shows_arm = viewer_of(request).sees_arm(participant.site)
    refused = None
    striking = typed(request, "do") == "remove"
    if request.method == "POST":
        if striking:
            answer = attempt(
                request, "event.remove", lambda: {"event": one.id, "reason": typed(request, "remove_reason")}
            )
        else:
            answer = attempt(
                request,
                "event.follow_up",
                lambda: {
                    "event": one.id, "kind": one.kind, "reason": typed(request, "reason"),
                    **_report(request, participant),
                },
            )  # fmt: skip
        if not isinstance(answer, Refused):
            words = "The event is struck out." if striking else "Further report saved."
            return done(request, words, "event", number=number, event=event)
        refused = answer
    asked = (
        *event_fields(participant, shows_arm, one.latest),
        Field(
            "reason", "Why this report differs", "text", needed=False, hint="what is new, or what was wrong"
        ),
    )
    typed_before = {} if striking else request.POST.dict()
    context = {
        "participant": participant, "event": one,
        "lines": compared(one.reports, participant.site.zone, shows_arm), "zone": participant.site.zone,
        "clock": serious_clock(one.reports, participant.site.zone),
        "fields": filled(asked, typed_before, None if striking else refused),
        "may_follow_up": not one.removed and viewer_of(request).may("event.follow_up", participant.site),
        "may_remove": not one.removed and viewer_of(request).may("event.remove", participant.site),
        "remove_reason": typed(request, "remove_reason"),
    }  # fmt: skip
    return page(request, "entry/event.html", context, refused)


def safety(request: HttpRequest) -> HttpResponse:
    """Events of every participant that the person sees, the latest known of each."""
    viewer = viewer_of(request)
    chosen = {name: request.GET.get(name, "") for name in ("which", "kind", "site")}
    participants, site = viewer.participants(), entering.read_whole(chosen["site"])
    if site is not None:
        participants = participants.filter(site=site)
    found = [one for one in reading.events(participants, viewer) if not one.removed]
    if chosen["kind"]:
        found = [one for one in found if one.kind == chosen["kind"]]
    if chosen["which"] == "serious":
        found = [one for one in found if one.latest.serious]
    elif chosen["which"] == "going on":
        found = [one for one in found if not one.latest.ended]
    found.sort(key=lambda one: (one.latest.onset, one.participant), reverse=True)
    filters = (
        Field("which", "Which", "choice", chosen["which"],
              (Choice("", "all"), Choice("serious", "serious"), Choice("going on", "not ended"))),
        Field("kind", "Kind", "choice", chosen["kind"], (Choice("", "all"), *kinds(viewer))),
        Field("site", "Site", "choice", chosen["site"], site_choices(viewer)),
    )  # fmt: skip
    zones = dict(Site.objects.values_list("number", "zone"))
    context = {
        "lines": [
            {"event": one, "clock": serious_clock(one.reports, zones[one.site])}
            for one in found[:MOST_SHOWN]
        ],
        "total": len(found), "most": MOST_SHOWN,
        "filters": filled(filters, {}, None), "sees_arm": bool(viewer.roles & SEES_ARM),
    }  # fmt: skip
    return page(request, "entry/safety.html", context)


# --- medication -------------------------------------------------------------------------------------------

WHY_STOPPED = (
    "", "virological failure", "toxicity", "interaction", "simplification", "choice of the participant",
    "pregnancy", "other",
)  # fmt: skip
REASONS = ("transcription error", "new information", "source corrected", "answer to a query")


def medication(request: HttpRequest, number: str) -> HttpResponse:
    """Antiretroviral drugs: what was taken from when to when."""
    participant = participant_of(request)
    refused = None
    chosen = typed(request, "medication")
    if request.method == "POST":
        answer = attempt(request, "medication.save", lambda: _medication(request, participant, chosen))
        if not isinstance(answer, Refused):
            return done(request, "Medication saved.", "medication", number=number)
        refused = answer
    rows = [
        {
            "drug": one, "key": str(one.id),
            "fields": [
                replace(field, place=f"{one.id}-")
                for field in filled(
                    _medication_fields(one), _typed_for(request, str(one.id)),
                    refused if chosen == str(one.id) else None,
                )
            ],
        }
        for one in participant.medications.order_by("started", "drug")
    ]  # fmt: skip
    context = {
        "participant": participant, "rows": rows,
        "fields": filled(_medication_fields(None), _typed_for(request, ""), refused if not chosen else None),
        "may": viewer_of(request).may("medication.save", participant.site), "chosen": chosen,
    }  # fmt: skip
    return page(request, "entry/medication.html", context, refused)


def _typed_for(request: HttpRequest, chosen: str) -> dict[str, str]:
    mine = request.method == "POST" and typed(request, "medication") == chosen
    return request.POST.dict() if mine else {}


def _medication_fields(one: Medication | None) -> tuple[Field, ...]:
    asked = (
        Field("drug", "Drug", value="" if one is None else one.drug),
        Field("started", "From", "date", "" if one is None else one.started,
              hint=PRECISELY),
        Field("stopped", "Until", "date", "" if one is None else one.stopped, needed=False,
              hint="empty while it is taken"),
        Field("why_stopped", "Why stopped", "choice", "" if one is None else one.why_stopped,
              choices(*WHY_STOPPED), needed=False),
    )  # fmt: skip
    if one is None:
        return asked
    return (
        *asked,
        Field("reason", "Reason for the change", suggestions=REASONS),
        Field("remove", "Strike this drug out: it was never taken", "tick", needed=False),
    )


def _medication(request: HttpRequest, participant: Participant, chosen: str) -> dict[str, Any]:
    today = clock.today(participant.site.zone)
    given: dict[str, Any] = {
        "participant": participant.number,
        "drug": typed(request, "drug"),
        "started": partial_day(request, "started", today),
        "stopped": partial_day(request, "stopped", today, optional=True),
        "why_stopped": typed(request, "why_stopped"),
    }
    if chosen:
        given |= {
            "medication": _own(participant, chosen),
            "reason": typed(request, "reason"),
            "remove": typed(request, "remove") == "yes",
        }
    return given


def _own(participant: Participant, chosen: str) -> UUID:
    found = participant.medications.filter(id=identifier(chosen)).first()
    if found is None:
        raise NotFound("there is nothing of that name for you")
    return UUID(str(found.id))


# --- the end ----------------------------------------------------------------------------------------------


def disposition(request: HttpRequest, number: str) -> HttpResponse:
    """How and when a participation ended, or that it did not."""
    participant = participant_of(request)
    refused = None
    undoing = typed(request, "do") == "undo"
    if request.method == "POST":
        if undoing:
            answer = attempt(
                request,
                "disposition.undo",
                lambda: {"participant": number, "reason": typed(request, "undo_reason")},
            )
        else:
            today = clock.today(participant.site.zone)
            answer = attempt(
                request,
                "disposition.record",
                lambda: {
                    "participant": number, "status": typed(request, "status"),
                    "on": typed_day(request, "on", today), "reason": typed(request, "reason"),
                },
            )  # fmt: skip
        if not isinstance(answer, Refused):
            words = (
                "The end was taken back: the participant is in follow-up."
                if undoing
                else "The end is recorded."
            )
            return done(request, words, "disposition", number=number)
        refused = answer
    statuses = get_args(RecordDisposition.model_fields["status"].annotation)
    asked = (
        Field("status", "How it ended", "radio", choices=choices(*statuses)),
        Field("on", "On", "date", hint="the day of it, such as 3 may 2026"),
        Field(
            "reason", "Why", "long", needed=False, hint="in the words of the participant, where there are any"
        ),
    )
    context = {
        "participant": participant,
        "fields": filled(asked, {} if undoing else request.POST.dict(), None if undoing else refused),
        "may_record": participant.ended_on is None
        and viewer_of(request).may("disposition.record", participant.site),
        "may_undo": participant.ended_on is not None
        and viewer_of(request).may("disposition.undo", participant.site),
        "undo_reason": typed(request, "undo_reason"),
    }
    return page(request, "entry/disposition.html", context, refused)
