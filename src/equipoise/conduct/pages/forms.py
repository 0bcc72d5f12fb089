"""The forms, one item on a line, as the protocol makes them: entering, completing, correcting, signing.

What was typed is never lost: a refusal shows it again at its item, and when somebody else has saved the form
meanwhile both versions stand beside each other. Answers that the person did not touch keep what stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from equipoise.conduct import clock, entering, opening
from equipoise.conduct.commands.forms import REASONS, FormChanged
from equipoise.conduct.gateway import Refused
from equipoise.conduct.pages.acting import done, page
from equipoise.conduct.pages.fields import (
    Field,
    attempt,
    day,
    filled,
    participant_of,
    typed,
    viewer_of,
    whole,
)
from equipoise.conduct.reading.forms import (
    CHECK,
    SCREENING,
    UPDATE,
    VISIT,
    FormView,
    form_view,
    planned_visits,
    visit_key,
)
from equipoise.conduct.reading.forms import Field as Asked
from equipoise.protocol import units

FEW_CATEGORIES = 6
"""As many categories as are shown beside each other; more make a list (assumed)."""
SIGNED = "I have reviewed this form and what it says is right"


class Given(NamedTuple):
    """What stands, or was typed, in the fields of one item."""

    text: str = ""
    unit: str = ""
    missing: str = ""
    measured_on: str = ""

    @property
    def blank(self) -> bool:
        """Nothing is answered, whatever unit is chosen."""
        return not self.text and not self.missing


@dataclass(frozen=True)
class Line:
    """One item of a form on the page. `shown` is what its fields hold; `stands` what is stored, where that is
    something else (somebody else saved it meanwhile)."""

    asked: Asked
    shown: Given
    dated: bool
    error: str = ""
    stands: str = ""
    seen: str = ""
    """What stood there when the page was made, as it comes back with the form."""

    @property
    def options(self) -> tuple[str, ...]:
        """Coded answers that are shown beside each other."""
        if self.asked.type == "boolean":
            return ("yes", "no")
        few = self.asked.type == "category" and 0 < len(self.asked.categories) <= FEW_CATEGORIES
        return self.asked.categories if few else ()

    @property
    def listed(self) -> bool:
        """Coded answers that make a list."""
        return self.asked.type == "category" and len(self.asked.categories) > FEW_CATEGORIES

    @property
    def units(self) -> tuple[str, ...]:
        """Units to choose from; the one shown is among them."""
        offered = self.asked.accepted_units
        return offered if self.shown.unit in ("", *offered) else (*offered, self.shown.unit)

    @property
    def unit(self) -> str:
        """The unit chosen."""
        return self.shown.unit or self.asked.preset

    @property
    def open_queries(self) -> list[Any]:
        """Queries that still wait."""
        return [query for query in self.asked.queries if query.state in ("open", "answered")]


MISSING = entering.MISSING_KEYS
"""Key -> why there is no value."""


def standing(asked: Asked) -> Given:
    """What is stored of an item, as its fields hold it."""
    on = asked.measured_on
    return Given(
        asked.text, asked.reported or asked.preset, asked.missing, "" if on is None else entering.short(on)
    )


def is_dated(name: str) -> bool:
    """Whether the day of the sample is asked: of results that expire, and of what is measured in a unit that
    is no length of time."""
    item = opening.folder().protocol.items.get(name)
    if item is None:
        return False
    measured = item.type == "number" and bool(item.unit) and not units.same_dimension(item.unit, "days")
    return item.valid_for is not None or measured


# --- the page ---------------------------------------------------------------------------------------------


def form(request: HttpRequest, number: str, kind: str, key: str) -> HttpResponse:
    """One form of one participant."""
    participant = participant_of(request)
    view = form_view(participant, kind, key, viewer_of(request))
    if request.method != "POST":
        return _shown(request, view, _lines(view, {}, {}, None), None)
    what, _, of = typed(request, "do").partition(":")
    told = _told(request, view)
    answer: dict[str, Any] | Refused
    if what == "not done":
        answer = attempt(
            request, "form.not_done", lambda: {**_which(request, view), "reason": _why_not(request)}
        )
    elif what == "sign":
        answer = attempt(request, "form.sign", lambda: {
            "form": None if view.form is None else view.form.id,
            "content_sha256": typed(request, "content_sha256"),
        })  # fmt: skip
    elif what in ("verify", "unverify"):
        answer = attempt(request, "item.verify", lambda: {
            "form": None if view.form is None else view.form.id, "item": of, "verified": what == "verify",
        })  # fmt: skip
    else:
        answer = attempt(request, "form.save", lambda: _saving(request, view, told, what == "complete"))
    if not isinstance(answer, Refused):
        return _after(request, view, what, of, answer)
    fresh = form_view(participant, kind, key, viewer_of(request)) if answer.status == 409 else view
    typed_now = told if what in ("save", "complete", "") else {}
    lines = _lines(fresh, typed_now, _seen(request, view), answer)
    return _shown(request, fresh, lines, answer)


def _after(request: HttpRequest, view: FormView, what: str, of: str, answer: dict[str, Any]) -> HttpResponse:
    here = {"number": view.participant.number, "kind": view.kind, "key": view.key}
    if what == "not done":
        return done(request, f"{view.title}: recorded as not done.", "form", **here)
    if what == "sign":
        return done(request, f"{view.title}: signed.", "form", **here)
    if what in ("verify", "unverify"):
        return redirect(f"{reverse('form', kwargs=here)}#item-{of}")
    count = len(answer.get("warnings", ()))
    warned = f" {count} warning{'' if count == 1 else 's'} to look at." if count else ""
    words = f"{view.title}: saved, {answer['status']}.{warned}"
    if view.kind == CHECK and answer["status"] == "complete" and not count:
        regimen = view.key.partition(":")[0]
        messages.success(request, words, extra_tags="good")
        on = urlencode({"on": view.named_on.isoformat() if view.named_on else ""})
        return redirect(f"{reverse('decide', kwargs={'number': here['number'], 'regimen': regimen})}?{on}")
    messages.add_message(
        request,
        messages.WARNING if count else messages.SUCCESS,
        words,
        extra_tags="warn" if count else "good",
    )
    return redirect("form", **here)


def _shown(request: HttpRequest, view: FormView, lines: list[Line], refused: Refused | None) -> HttpResponse:
    viewer, site = viewer_of(request), view.participant.site
    posted = request.method == "POST"
    before, after = _neighbours(view)
    context = {
        "participant": view.participant, "view": view, "lines": lines, "missing": MISSING.values(),
        "keys": MISSING, "answered": sum(not line.shown.blank for line in lines),
        "done_on": typed(request, "done_on") if posted and "done_on" in request.POST else _done_on(view),
        "weekday": f"{view.done_on:%A}" if view.done_on else "",
        "may_save": viewer.may("form.save", site), "may_sign": viewer.may("form.sign", site)
        and view.form is not None and not view.signed and view.status in ("complete", "not done"),
        "may_verify": viewer.may("item.verify", site) and view.form is not None,
        "may_query": viewer.may("query.open", site),
        "warned": [
            one
            for one in (*(each for line in lines for each in line.asked.warnings), *view.warnings)
            if one.level != "note"
        ],
        "confirmed": request.POST.getlist("confirmed"), "confirmation": typed(request, "confirmation"),
        "reasons": REASONS, "reason": typed(request, "reason"), "reason_text": typed(request, "reason_text"),
        "not_done_reason": typed(request, "not_done_reason"), "meaning": SIGNED,
        "changes": refused.changes if isinstance(refused, FormChanged) else (),
        "open_details": typed(request, "do").partition(":")[0] if posted else "",
        "before": before, "after": after, "today": clock.today(site.zone),
    }  # fmt: skip
    return page(request, "entry/form.html", context, refused)


def _done_on(view: FormView) -> str:
    on = view.done_on or view.named_on
    return "" if on is None else entering.short(on)


# --- what was typed ---------------------------------------------------------------------------------------


def _told(request: HttpRequest, view: FormView) -> dict[str, Given]:
    """What was typed for the items of the form; whatever else a request holds is not looked at."""
    told = {}
    for asked in view.fields:
        name = asked.item
        if f"missing:{name}" not in request.POST and f"text:{name}" not in request.POST:
            continue
        missing = typed(request, f"missing:{name}")
        text = typed(request, f"text:{name}")
        if missing and asked.type == "boolean":
            text = ""  # a choice between yes and no cannot be taken back but by saying why there is none
        if missing == "clear":
            text = missing = ""
        told[name] = Given(text, typed(request, f"unit:{name}"), missing, typed(request, f"on:{name}"))
    return told


def _which(request: HttpRequest, view: FormView) -> dict[str, Any]:
    return {
        "participant": view.participant.number, "kind": view.kind, "key": view.key,
        "version": whole(request, "version") or 0,
    }  # fmt: skip


def _why_not(request: HttpRequest) -> str:
    return typed(request, "not_done_reason")


def _saving(request: HttpRequest, view: FormView, told: dict[str, Given], complete: bool) -> dict[str, Any]:
    today = clock.today(view.participant.site.zone)
    done_on = day(request, "done_on", today)
    reason = typed(request, "reason")
    return {
        **_which(request, view),
        "done_on": done_on,
        "answers": [_answer(name, given, today) for name, given in told.items()],
        "complete": complete,
        "reason": typed(request, "reason_text") if reason == "other" else reason,
        "confirmed": request.POST.getlist("confirmed"),
        "confirmation": typed(request, "confirmation"),
    }


def _answer(name: str, given: Given, today: date) -> dict[str, Any]:
    on = None
    if given.measured_on and not given.blank:
        try:
            on = entering.read_date(given.measured_on, today)
        except entering.EntryError as error:
            raise Refused(str(error), name) from None
    unit = given.unit if given.text else ""
    return {"item": name, "text": given.text, "unit": unit, "missing": given.missing, "measured_on": on}


def _seen(request: HttpRequest, view: FormView) -> dict[str, Given]:
    """What stood in the fields when the person opened the form, as the page sent it along."""
    seen = {}
    for asked in view.fields:
        try:
            parts = json.loads(request.POST.get(f"seen:{asked.item}", ""))
        except ValueError:
            continue
        if isinstance(parts, list) and len(parts) == len(Given._fields):
            seen[asked.item] = Given(*(str(part) for part in parts))
    return seen


def _lines(
    view: FormView,
    told: Mapping[str, Given],
    seen: Mapping[str, Given],
    refused: Refused | None,
) -> list[Line]:
    """The items with what their fields hold. After somebody else saved: what this person did not touch shows
    what stands now, what they did touch keeps what they typed, with what stands beside it."""
    lines = []
    for asked in view.fields:
        stands = standing(asked)
        given = told.get(asked.item, stands)
        conflict = refused is not None and refused.status == 409
        if conflict and asked.item in seen and given[:3] == seen[asked.item][:3]:
            given = stands
        differs = conflict and asked.item in told and _said(given) != _said(stands)
        error = refused.words if refused is not None and refused.field == asked.item else ""
        lines.append(
            Line(
                asked, given, is_dated(asked.item), error,
                (_said(stands) or "blank") if differs else "", json.dumps(list(stands)),
            )
        )  # fmt: skip
    return lines


def _said(given: Given) -> str:
    return given.missing or f"{given.text} {given.unit if given.text else ''}".strip()


# --- the forms before and after ---------------------------------------------------------------------------


def _neighbours(view: FormView) -> tuple[str, str]:
    """Addresses of the forms of this kind before and after this one; empty where there is none."""
    keys = _keys(view)
    if view.key not in keys:
        return "", ""
    at = keys.index(view.key)
    return (
        _address(view, keys[at - 1]) if at else "",
        _address(view, keys[at + 1]) if at + 1 < len(keys) else "",
    )


def _address(view: FormView, key: str) -> str:
    return reverse("form", kwargs={"number": view.participant.number, "kind": view.kind, "key": key})


def _keys(view: FormView) -> list[str]:
    """The forms of this kind, in order: those of screening as the protocol has them, visits that may have
    been by now, checks and updates that are on record."""
    participant = view.participant
    protocol = opening.folder().protocol
    if view.kind == SCREENING:
        return [visit.id for visit in protocol.visits if visit.period == "screening"]
    if view.kind == VISIT and participant.randomized_on is not None:
        days = (clock.today(participant.site.zone) - participant.randomized_on).days
        planned = planned_visits(protocol, participant, max(days, 0) + 1)
        return [visit_key(one) for one in planned if one.day >= 0 and one.earliest <= days]
    return list(
        participant.forms.filter(kind=view.kind).order_by("done_on", "key").values_list("key", flat=True)
    )


# --- on paper ---------------------------------------------------------------------------------------------


def form_print(request: HttpRequest, number: str, kind: str, key: str) -> HttpResponse:
    """A form on paper: blank, to be filled in by hand, or with what is on record (`?filled`)."""
    view = form_view(participant_of(request), kind, key, viewer_of(request))
    with_answers = "filled" in request.GET
    lines = [Line(asked, standing(asked) if with_answers else Given(), is_dated(asked.item))
             for asked in view.fields]  # fmt: skip
    context = {
        "participant": view.participant, "view": view, "lines": lines, "with_answers": with_answers,
        "missing": MISSING,
    }  # fmt: skip
    return page(request, "entry/form_print.html", context)


# --- between visits ---------------------------------------------------------------------------------------


def update_new(request: HttpRequest, number: str) -> HttpResponse:
    """Which day it was on which something happened between visits; then the form of that day."""
    participant = participant_of(request)
    today = clock.today(participant.site.zone)
    refused = None
    text = request.GET.get("on", "").strip()
    if "on" in request.GET:
        try:
            on = entering.read_date(text, today)
        except entering.EntryError as error:
            refused = Refused(str(error), "on")
        else:
            taken = participant.forms.filter(kind=UPDATE, key__startswith=f"{on.isoformat()}:").count()
            return redirect("form", number=number, kind=UPDATE, key=f"{on.isoformat()}:{taken + 1}")
    fields = filled((Field("on", "It was on", "date", hint="3 may 2026; t is today, -1 yesterday"),),
                    {"on": text} if text else {}, refused)  # fmt: skip
    return page(request, "entry/update_new.html", {"participant": participant, "fields": fields}, refused)
