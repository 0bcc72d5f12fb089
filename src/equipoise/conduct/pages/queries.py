"""Questions about what is on record: the list, one question and what was said, answering, closing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from equipoise.conduct import clock, entering, opening
from equipoise.conduct.access import TELLS_NO_ARM
from equipoise.conduct.gateway import NotFound, Refused, perform
from equipoise.conduct.models import Cycle, Decision, Event, Form, Participant, Query, Site
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import (
    Choice,
    Field,
    attempt,
    choices,
    filled,
    identifier,
    participant_of,
    site_choices,
    typed,
    viewer_of,
)

MOST_SHOWN = 200
"""Queries on one page: what is older comes first, so that nothing old is out of sight."""
MOST_DAYS = 9999
STATES = (Query.OPEN, Query.ANSWERED, Query.CLOSED, Query.CANCELLED)
AGES = ((7, "7 days or more"), (14, "14 days or more"), (28, "28 days or more"), (90, "90 days or more"))


class Asked(NamedTuple):
    """One query as a line of a list."""

    query: Query
    days: int
    about: str
    ageing: str
    """"" new, "old" from two weeks, "very old" from four."""


def visible(viewer: Any) -> Any:
    """The queries that somebody may see: at their sites, and what tells the arm only to those who see it."""
    found = Query.objects.filter(participant__in=viewer.participants()).select_related(
        "participant__site", "form"
    )
    return found.filter(viewer.in_sight("participant__site", TELLS_NO_ARM & ~Q(form__kind="check")))


def form_name(form: Form) -> str:
    """A form by its visit and day, in words."""
    protocol = opening.folder().protocol
    if form.kind == "check":
        regimen, _, on = form.key.partition(":")
        known = protocol.regimens.get(regimen)
        return f"Check before a cycle of {regimen if known is None else known.label or known.drug}, {on}"
    if form.kind == "update":
        return f"Between visits, {form.key.partition(':')[0]}"
    visit_id, _, day = form.key.partition(":")
    label = next((visit.label for visit in protocol.visits if visit.id == visit_id), visit_id)
    return f"{label}, day {day}" if day else label


def item_name(item: str) -> str:
    """An item by its name in words."""
    known = opening.folder().protocol.items.get(item)
    return item.replace("_", " ").capitalize() if known is None else known.label


def about(query: Query) -> str:
    """What a query is about, in words."""
    parts = [item_name(query.item)] if query.item else []
    if query.form is not None:
        parts.append(form_name(query.form))
    elif query.subject:
        parts.append(_subject(query))
    return ", ".join(parts) or "the participant"


def _subject(query: Query) -> str:
    """What a query is about when it is about no form: an event, a decision, a cycle."""
    key = _as_identifier(query.subject)
    event = Event.objects.filter(id=key).first()
    if event is not None:
        latest = event.versions.order_by("-version").first()
        return f"event {event.number}" if latest is None else f"event {event.number}, {latest.term}"
    decision = Decision.objects.filter(id=key).first()
    if decision is not None:
        return f"dosing decision {decision.sequence}"
    cycle = Cycle.objects.filter(id=key).first()
    return "the participant" if cycle is None else f"cycle {cycle.number}"


def _line(query: Query) -> Asked:
    days = (clock.now() - query.opened_at).days
    settled = query.state in (Query.CLOSED, Query.CANCELLED)
    ageing = "" if settled or days < 14 else "old" if days < 28 else "very old"
    return Asked(query, days, about(query), ageing)


def _filtered(request: HttpRequest) -> tuple[Any, dict[str, str]]:
    chosen = {
        "state": request.GET.get("state", "to do"),
        "age": request.GET.get("age", ""),
        "site": request.GET.get("site", ""),
    }
    found = visible(viewer_of(request))
    if chosen["state"] in STATES:
        found = found.filter(state=chosen["state"])
    elif chosen["state"] == "to do":
        found = found.filter(state__in=(Query.OPEN, Query.ANSWERED))
    age, site = entering.read_whole(chosen["age"]), entering.read_whole(chosen["site"])
    if age is not None:
        found = found.filter(opened_at__lte=clock.now() - timedelta(days=min(age, MOST_DAYS)))
    if site is not None:
        found = found.filter(participant__site__number=site)
    return found.order_by("opened_at", "id"), chosen


def queries(request: HttpRequest) -> HttpResponse:
    """The list of queries, by state, age and site; monitors close many at once."""
    refused = None
    viewer = viewer_of(request)
    if request.method == "POST":
        refused = _close_many(request)
        if refused is None:
            return redirect(request.get_full_path())
    found, chosen = _filtered(request)
    filters = (
        Field("state", "State", "choice", chosen["state"],
              (Choice("to do", "open or answered"), *choices(*STATES), Choice("all", "all"))),
        Field("age", "Age", "choice", chosen["age"],
              (Choice("", "any"), *(Choice(str(days), words) for days, words in AGES))),
        Field("site", "Site", "choice", chosen["site"], site_choices(viewer)),
    )  # fmt: skip
    total = found.count()
    context = {
        "lines": [_line(query) for query in found[:MOST_SHOWN]], "total": total, "most": MOST_SHOWN,
        "filters": filled(filters, {}, None), "may_close": viewer.may("query.close"),
        "text": typed(request, "text"), "ticked": set(request.POST.getlist("query")),
    }  # fmt: skip
    return page(request, "entry/queries.html", context, refused)


def _close_many(request: HttpRequest) -> Refused | None:
    chosen = [identifier(text) for text in request.POST.getlist("query")[:MOST_SHOWN]]
    if not chosen:
        return Refused("tick the queries to close", "query")
    seen = set(visible(viewer_of(request)).filter(id__in=chosen).values_list("id", flat=True))
    if seen != set(chosen):
        raise NotFound("there is nothing of that name for you")
    key = typed(request, "request_key")
    for closed, query in enumerate(chosen):
        try:
            perform(
                "query.close",
                request.actor,
                {"query": query, "text": typed(request, "text")},
                f"{key}:{query}"[:80] if key else None,
            )
        except Refused as refused:
            so_far = f" ({closed} of {len(chosen)} were closed)" if closed else ""
            return type(refused)(refused.words + so_far, refused.field)
    done(request, f"{len(chosen)} queries closed." if len(chosen) > 1 else "1 query closed.", "queries")
    return None


def place(query: Query) -> str:
    """The address of what a query is about."""
    number = query.participant.number
    if query.form is not None:
        address = reverse("form", kwargs={"number": number, "kind": query.form.kind, "key": query.form.key})
        return f"{address}#item-{query.item}" if query.item else address
    key = _as_identifier(query.subject)
    if query.participant.events.filter(id=key).exists():
        return reverse("event", kwargs={"number": number, "event": query.subject})
    decision = query.participant.decisions.filter(id=key).first()
    if decision is not None:
        return reverse("decide", kwargs={"number": number, "regimen": decision.regimen})
    cycle = query.participant.cycles.filter(id=key).first()
    if cycle is not None:
        where = {"number": number, "regimen": cycle.regimen, "cycle": cycle.number}
        return reverse("injections", kwargs=where)
    return ""


def _as_identifier(text: str) -> Any:
    try:
        return identifier(text)
    except NotFound:
        return None


def query(request: HttpRequest, number: str, query: str) -> HttpResponse:
    """One query and what was said; the site answers, the monitor closes."""
    viewer = viewer_of(request)
    found = visible(viewer)
    one = found.filter(participant=participant_of(request), id=identifier(query)).first()
    if one is None:
        raise NotFound("there is nothing of that name for you")
    refused = None
    if request.method == "POST":
        refused = _say(request, one)
        if refused is None:
            return redirect("query", number=number, query=query)
    open_ones = found.filter(Q(state__in=(Query.OPEN, Query.ANSWERED)) | Q(id=one.id))
    earlier = (
        open_ones.filter(Q(opened_at__lt=one.opened_at) | Q(opened_at=one.opened_at, id__lt=one.id))
        .order_by("-opened_at", "-id")
        .first()
    )
    later = open_ones.filter(
        Q(opened_at__gt=one.opened_at) | Q(opened_at=one.opened_at, id__gt=one.id)
    ).order_by("opened_at", "id").first()  # fmt: skip
    site: Site = one.participant.site
    live = one.state in (Query.OPEN, Query.ANSWERED)
    context = {
        "participant": one.participant, "line": _line(one),
        "messages_said": one.messages.order_by("at", "id"),
        "place": place(one), "earlier": earlier, "later": later, "zone": site.zone,
        "may_answer": live and viewer.may("query.answer", site),
        "may_close": live and viewer.may("query.close", site), "text": typed(request, "text"),
    }  # fmt: skip
    return page(request, "entry/query.html", context, refused)


def _say(request: HttpRequest, one: Query) -> Refused | None:
    what = typed(request, "do")
    text = typed(request, "text")
    if what == "close":
        answer = attempt(request, "query.close", lambda: {"query": one.id, "text": text})
        words = "Query closed."
    elif what == "cancel":
        answer = attempt(request, "query.cancel", lambda: {"query": one.id, "text": text})
        words = "Query cancelled."
    else:
        confirmed = what == "confirm"
        answer = attempt(
            request, "query.answer", lambda: {"query": one.id, "text": text, "confirmed": confirmed}
        )
        words = "Confirmed as correct." if confirmed else "Answer saved."
    if isinstance(answer, Refused):
        return answer
    done(request, words, "queries")
    return None


def query_new(request: HttpRequest, number: str) -> HttpResponse:
    """Ask a question about an item, a form or a participant."""
    participant: Participant = participant_of(request)
    form = _form_asked_about(request, participant)
    item = request.GET.get("item", "") if form is not None else ""
    refused = None
    if request.method == "POST":
        answer = attempt(
            request,
            "query.open",
            lambda: {
                "participant": number, "form": None if form is None else form.id, "item": item,
                "text": typed(request, "text"),
            },
        )  # fmt: skip
        if not isinstance(answer, Refused):
            return done(request, "Query opened.", "query", number=number, query=answer["query"])
        refused = answer
    context = {
        "participant": participant,
        "about": ", ".join(
            ([item_name(item)] if item else [])
            + ([form_name(form)] if form is not None else ["the participant"])
        ),
        "fields": filled((Field("text", "Question", "long"),), request.POST.dict(), refused),
    }
    return page(request, "entry/query_new.html", context, refused)


def _form_asked_about(request: HttpRequest, participant: Participant) -> Form | None:
    named = request.GET.get("form", "")
    if not named:
        return None
    form = participant.forms.filter(id=identifier(named)).first()
    if form is None or (form.kind != "screening" and not viewer_of(request).sees_arm(participant.site)):
        raise NotFound("there is nothing of that name for you")
    return form
