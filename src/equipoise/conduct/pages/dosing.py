"""Cycles: what the rules propose and why, what the investigator decides and signs, what was injected.

The proposal, its reasons and the choices that are offered come from the rules of the protocol; the page asks
for nothing that they do not allow. A cycle is never begun by the page: a named investigator signs.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse

from equipoise.conduct import clock, entering, opening
from equipoise.conduct.gateway import NotFound, Refused
from equipoise.conduct.models import Cycle, Decision, Flag, Hold, Injection, Participant
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import (
    Choice,
    Field,
    attempt,
    day,
    decimal,
    filled,
    identifier,
    participant_of,
    typed,
    viewer_of,
    whole,
)
from equipoise.conduct.reading.history import history
from equipoise.conduct.reading.situation import Proposal, barred_since, propose
from equipoise.rules.terms import ACTIONS
from equipoise.rules.truth import NO, YES

SIGNED = "this dosing decision"
ACTION_WORDS = {
    "start": "Start the cycle", "wait": "Wait", "hold": "Hold", "reduce": "Start the cycle at a lower dose",
    "escalate": "Start the cycle at a higher dose", "stop": "Stop cycles for good",
}  # fmt: skip
ACCEPTED = (
    Choice("yes", "Yes, agrees to the cycle"),
    Choice("no", "No, declines it"),
    Choice("not asked", "Not asked"),
)
PLACES = ("abdomen left", "abdomen right", "thigh left", "thigh right", "arm left", "arm right")
REASONS = ("transcription error", "new information", "source corrected", "answer to a query")


def _regimen(name: str) -> Any:
    found = opening.folder().protocol.regimens.get(name)
    if found is None or found.kind != "cycles":
        raise NotFound("there is nothing of that name for you")
    return found


def _day_asked(request: HttpRequest, today: date) -> tuple[date, Refused | None]:
    text = request.GET.get("on", "").strip()
    if not text:
        return today, None
    try:
        return min(entering.read_date(text, today), today), None
    except entering.EntryError as error:
        return today, Refused(str(error), "on")


# --- the decision -----------------------------------------------------------------------------------------


def decide(request: HttpRequest, number: str, regimen: str) -> HttpResponse:
    """The dosing decision of a day: the proposal with its reasons; accepting, overriding, holds, flags."""
    participant = participant_of(request)
    known = _regimen(regimen)
    today = clock.today(participant.site.zone)
    on, refused = _day_asked(request, today)
    what = typed(request, "do")
    if request.method == "POST":
        answer, words, to = _act(request, participant, regimen, what, on)
        if not isinstance(answer, Refused):
            return done(request, words, *to[:1], **to[1])
        refused = answer
    past = history(participant, regimen)
    found = propose(past, on)
    context = {
        **_shown(request, participant, regimen, found, refused, what),
        "participant": participant, "regimen": regimen, "label": known.label or known.drug,
        "drug": known.drug, "on": on, "today": today, "what": what,
        "barred": barred_since(past, on, today, found.dose) if found.starts else "",
    }  # fmt: skip
    return page(request, "entry/decide.html", context, refused)


def _act(
    request: HttpRequest, participant: Participant, regimen: str, what: str, on: date
) -> tuple[dict[str, Any] | Refused, str, tuple[str, dict[str, Any]]]:
    here = ("decide", {"number": participant.number, "regimen": regimen})
    today = clock.today(participant.site.zone)
    if what == "hold":
        answer = attempt(
            request,
            "hold.place",
            lambda: {
                "participant": participant.number, "since": day(request, "since", today),
                "reason": typed(request, "hold_reason"),
            },
        )  # fmt: skip
        return _renamed(answer, {"reason": "hold_reason"}), "The hold is placed.", here
    if what == "release":
        answer = attempt(
            request,
            "hold.release",
            lambda: {
                "hold": identifier(typed(request, "hold")), "until": day(request, "until", today),
                "reason": typed(request, "release_reason"),
            },
        )  # fmt: skip
        return _renamed(answer, {"reason": "release_reason"}), "The hold is released.", here
    if what == "settle":
        answer = attempt(
            request,
            "flag.settle",
            lambda: {"flag": identifier(typed(request, "flag")), "text": typed(request, "settle_text")},
        )
        return _renamed(answer, {"text": "settle_text"}), "The flag is settled.", here
    answer = attempt(request, "decision.take", lambda: _decision(request, participant, regimen, what, on))
    if isinstance(answer, Refused):
        return answer, "", here
    if answer["cycle"] is not None:
        where = {"number": participant.number, "regimen": regimen, "cycle": answer["cycle"]}
        return answer, f"Cycle {answer['cycle']} is started and signed.", ("injections", where)
    return answer, "The decision is signed.", here


def _renamed(answer: dict[str, Any] | Refused, names: dict[str, str]) -> dict[str, Any] | Refused:
    """A refusal at the field of this page that was meant; there are several of one name."""
    if isinstance(answer, Refused) and answer.field in names:
        return type(answer)(answer.words, names[answer.field])
    return answer


def _decision(
    request: HttpRequest, participant: Participant, regimen: str, what: str, on: date
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "participant": participant.number, "regimen": regimen, "on": on,
        "content_sha256": typed(request, "content_sha256"), "reason": typed(request, "reason"),
        "accepted": typed(request, "accepted") or "not asked",
    }  # fmt: skip
    if what == "override":
        action, _, dose = typed(request, "alternative").partition(":")
        if not action:
            raise Refused("choose what is decided instead", "alternative")
        given |= {"override": action, "dose": decimal(dose, "alternative") or None}
    return given


def _shown(
    request: HttpRequest,
    participant: Participant,
    regimen: str,
    found: Proposal,
    refused: Refused | None,
    what: str,
) -> dict[str, Any]:
    viewer, site = viewer_of(request), participant.site
    typed_now = request.POST.dict()
    earlier = Decision.objects.filter(participant=participant, regimen=regimen).order_by("-sequence")
    holds = Hold.objects.filter(participant=participant).order_by("-since", "-id")
    alternatives = tuple(
        Choice(
            f"{one.word}:{one.dose!r}" if one.dose else one.word,
            ACTION_WORDS[one.word] + (f", {one.dose:g} {found.unit}" if one.dose else ""),
        )
        for one in found.alternatives
    )
    overriding = (
        Field("alternative", "Decide instead", "radio", choices=alternatives),
        Field("reason", "Reason for departing from the protocol’s proposal", "long"),
    )
    in_follow_up = found.known.situation.in_follow_up == YES
    may_decide = viewer.may("decision.take", site) and in_follow_up
    return {
        "found": found,
        "action": ACTION_WORDS[found.action],
        "tone": "start" if found.starts else "stop" if found.action == "stop" else "not",
        "inputs": [_source(participant, one) for one in found.known.sources],
        "conditions": [_rule(line) for line in found.conditions],
        "dose_lines": [_rule(line) for line in found.dose_lines],
        "unknowns": found.unknowns,
        "check_key": f"{regimen}:{found.on.isoformat()}",
        "check": participant.forms.filter(kind="check", key=f"{regimen}:{found.on.isoformat()}").first(),
        "accepted": filled(
            (Field("accepted", "The participant agrees to the cycle", "radio", choices=ACCEPTED),),
            typed_now if what in ("accept", "override") else {}, refused,
        ),
        "overriding": filled(
            overriding, typed_now if what == "override" else {}, refused if what == "override" else None
        ),
        "alternatives": alternatives,
        "may_start": found.starts or any(one.dose for one in found.alternatives),
        "may_decide": may_decide,
        "in_follow_up": in_follow_up,
        "earlier": [_earlier(one) for one in earlier.prefetch_related("flags")],
        "cycles": Cycle.objects.filter(participant=participant, regimen=regimen).order_by("number"),
        "flags": Flag.objects.filter(
            decision__participant=participant, decision__regimen=regimen, settled=""
        ).select_related("decision").order_by("at"),
        "may_settle": viewer.may("flag.settle", site), "settle_text": typed(request, "settle_text"),
        "holds": [_hold(one, regimen) for one in holds],
        "may_hold": viewer.may("hold.place", site) and participant.ended_on is None,
        "hold_fields": filled(
            (Field("since", "Hold since", "date"), Field("hold_reason", "Reason for the hold")),
            typed_now if what == "hold" else {}, refused if what == "hold" else None,
        ),
        "release_fields": filled(
            (Field("until", "No hold from", "date", hint="the first day without it"),
             Field("release_reason", "Reason for the release")),
            typed_now if what == "release" else {}, refused if what == "release" else None,
        ),
    }  # fmt: skip


def _rule(line: Any) -> dict[str, Any]:
    return {"rule": line.rule, "holds": {YES: True, NO: False}.get(line.holds), "value": line.value}


FIELD_WORDS = {
    "assigned": "Arm", "in_follow_up": "Follow-up", "stopped": "Stopped", "hold": "Holds",
    "cover": "Accompanying treatment", "toxicity": "Toxicity since the last cycle", "baseline": "Baseline",
    "measure": "Measured now", "goal": "Goal", "cycles": "Earlier cycles", "reduced": "Reduced before",
}  # fmt: skip


def _source(participant: Participant, one: Any) -> dict[str, Any]:
    """One input of the decision, with the page on which it stands."""
    where: tuple[str, dict[str, Any]] | None = None
    if one.kind == "value" and one.place is not None:
        where = ("form", {"number": participant.number, "kind": one.place[0], "key": one.place[1]})
    elif one.kind == "event":
        where = ("event", {"number": participant.number, "event": one.id})
    elif one.kind == "randomisation":
        where = ("randomise", {"number": participant.number})
    return {
        "label": FIELD_WORDS.get(one.field, one.field), "words": one.words, "address": _address(where),
        "item": one.item if one.kind == "value" else "",
    }  # fmt: skip


def _address(where: tuple[str, dict[str, Any]] | None) -> str:
    from django.urls import reverse

    return "" if where is None else reverse(where[0], kwargs=where[1])


def _earlier(one: Decision) -> dict[str, Any]:
    proposed = ACTION_WORDS[ACTIONS[one.proposed_action]]
    return {
        "decision": one, "action": ACTION_WORDS[ACTIONS[one.action]], "proposed": proposed,
        "overridden": (one.action, one.dose) != (one.proposed_action, one.proposed_dose),
        "flags": list(one.flags.all()),
    }  # fmt: skip


def _hold(one: Hold, regimen: str) -> dict[str, Any]:
    named = next((h for h in _regimen(regimen).hold_while if h.id == one.hold), None)
    return {"hold": one, "words": one.reason or ("" if named is None else named.text) or one.hold}


# --- injections -------------------------------------------------------------------------------------------

STATES = (
    Choice("given", "Given"), Choice("reduced", "Reduced"), Choice("missed", "Missed"),
    Choice("unknown", "Not known"), Choice("planned", "Later"),
)  # fmt: skip


def cycle_of(participant: Participant, regimen: str, number: int) -> Cycle:
    """A cycle by its number; what is not there is not found."""
    _regimen(regimen)
    found = Cycle.objects.filter(participant=participant, regimen=regimen, number=number).first()
    if found is None:
        raise NotFound("there is nothing of that name for you")
    return found


def injections(request: HttpRequest, number: str, regimen: str, cycle: int) -> HttpResponse:
    """What was injected in a cycle, one line for each planned administration."""
    participant = participant_of(request)
    one = cycle_of(participant, regimen, cycle)
    rows = list(one.injections.order_by("number"))
    refused = None
    if request.method == "POST":
        answer = attempt(
            request,
            "cycle.injections",
            lambda: {
                "participant": number, "regimen": regimen, "cycle": cycle,
                "version": whole(request, "version") or 0,
                "injections": [_injection(request, row) for row in rows],
                "complete": typed(request, "do") == "complete",
                "reason": _reason(request),
            },
        )  # fmt: skip
        if not isinstance(answer, Refused):
            complete = typed(request, "do") == "complete"
            return done(
                request, f"Cycle {cycle} is complete." if complete else "Saved.", "injections",
                number=number, regimen=regimen, cycle=cycle,
            )  # fmt: skip
        refused = answer
    known = _regimen(regimen)
    context = {
        "participant": participant, "cycle": one, "label": known.label or known.drug, "regimen": regimen,
        "rows": [_row(request, row, refused) for row in rows], "states": STATES, "places": PLACES,
        "reasons": REASONS, "completed": one.completed_at is not None,
        "may": viewer_of(request).may("cycle.injections", participant.site),
        "reason": typed(request, "reason"), "reason_text": typed(request, "reason_text"),
        "shape": known.cycle, "zone": participant.site.zone,
        "stale": refused is not None and refused.status == 409,
    }  # fmt: skip
    return page(request, "entry/injections.html", context, refused)


def _reason(request: HttpRequest) -> str:
    chosen = typed(request, "reason")
    return typed(request, "reason_text") if chosen == "other" else chosen


def _injection(request: HttpRequest, row: Injection) -> dict[str, Any]:
    n = row.number
    return {
        "number": n, "state": typed(request, f"state:{n}") or row.state,
        "dose": decimal(typed(request, f"dose:{n}"), f"dose:{n}"), "time": typed(request, f"time:{n}"),
        "place": typed(request, f"place:{n}"), "symptoms": typed(request, f"symptoms:{n}"),
    }  # fmt: skip


def _row(request: HttpRequest, row: Injection, refused: Refused | None) -> dict[str, Any]:
    n = row.number
    stands = {
        "state": row.state, "dose": "" if row.dose is None else f"{row.dose:g}", "time": row.time,
        "place": row.place, "symptoms": row.symptoms,
    }  # fmt: skip
    told = request.POST if request.method == "POST" else {}
    values = {name: told.get(f"{name}:{n}", value) for name, value in stands.items()}
    places = {f"injections.{n}", *(f"{name}:{n}" for name in stands)}
    places |= {f"injections.{n - 1}.{name}" for name in stands}
    trouble = refused.words if refused is not None and refused.field in places else ""
    theirs = {name: value for name, value in stands.items() if value != values[name]} if told else {}
    return {"row": row, "trouble": trouble, "theirs": theirs, **values}


def cycle_print(request: HttpRequest, number: str, regimen: str, cycle: int) -> HttpResponse:
    """On paper: the order for the pharmacy, and the diary that the participant fills in."""
    participant = participant_of(request)
    one = cycle_of(participant, regimen, cycle)
    known = _regimen(regimen)
    rows = list(one.injections.order_by("number"))
    context = {
        "participant": participant, "cycle": one, "label": known.label or known.drug, "drug": known.drug,
        "shape": known.cycle, "rows": rows, "regimen": regimen,
        "total": one.dose * len(rows), "count": len(rows),
        "signature": _signature(one.decision), "zone": participant.site.zone,
    }  # fmt: skip
    return page(request, "entry/cycle_print.html", context)


def _signature(decision: Decision) -> Any:
    from equipoise.conduct.models import Signature

    return Signature.objects.filter(kind="decision", subject=str(decision.id)).order_by("-entry").first()
