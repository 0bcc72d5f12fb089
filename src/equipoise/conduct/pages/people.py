"""People: who has which duty, adding and ending, rights on any date, the delegation log of a site; and each
person's own account: role, sessions, tokens."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from equipoise.conduct import accounts, clock, duties, entering, opening
from equipoise.conduct.gateway import COMMANDS, NotFound, Refused
from equipoise.conduct.models import Person, Site, Token
from equipoise.conduct.pages.acting import act, done, fields, page
from equipoise.conduct.reading import people as reading


def _today() -> date:
    return clock.today(opening.folder().zone)


def _date(text: str, field: str) -> date:
    try:
        return entering.read_date(text, _today())
    except entering.EntryError as error:
        raise Refused(str(error), field) from None


def people(request: Any) -> HttpResponse:
    """The list of people, and adding one."""
    refused, once = None, None
    if request.method == "POST":
        try:
            once = act(request, "person.add", fields(request, "username", "full_name", "email"))
        except Refused as error:
            refused = error
    context = {
        "accounts": reading.accounts_on(_today()), "once": once, "today": _today(),
        "may": {"add": request.viewer.may("person.add")}, "sites": request.viewer.sites(),
    }  # fmt: skip
    return page(request, "people.html", context, refused)


def person(request: Any, username: str) -> HttpResponse:
    """One person: their duties ever, granting and revoking, leaving, a log-in that was lost."""
    found = Person.objects.filter(username=username).first()
    if found is None:
        raise NotFound("there is nobody of that name")
    refused, once, doing = None, None, request.POST.get("do", "")
    if request.method == "POST":
        try:
            once = _do(request, doing, username)
        except Refused as error:
            refused = error
        else:
            if "password" not in once:
                return done(request, DONE[doing], "person", username=username)
    context = {
        "account": reading.accounts_on(_today(), [found])[0], "rights": reading.rights_of(found),
        "once": once, "today": _today(), "doing": doing, "roles": duties.ROLES,
        "sites": Site.objects.order_by("number"), "may": request.viewer.may("duty.grant"),
    }  # fmt: skip
    return page(request, "people_person.html", context, refused)


DONE = {
    "duty.grant": "The duty is granted.",
    "duty.revoke": "The duty is ended.",
    "person.deactivate": "The account is closed; sessions, duties and tokens have ended.",
    "person.reset": "The log-in is reset.",
}


def _do(request: Any, doing: str, username: str) -> dict[str, Any]:
    if doing == "duty.grant":
        given: dict[str, Any] = fields(request, "role", "site")
        for name in ("since", "until", "trained_on"):
            if request.POST.get(name, "").strip():
                given[name] = _date(request.POST[name], name)
        return act(request, doing, {"username": username, **given})
    if doing == "duty.revoke":
        return act(request, doing, fields(request, "duty", "reason"))
    if doing in ("person.deactivate", "person.reset"):
        return act(request, doing, {"username": username, **fields(request, "reason")})
    raise Refused("this page does not do that")


def access_report(request: Any) -> HttpResponse:
    """People and rights on any date, and the reviews of them."""
    refused = None
    if request.method == "POST":
        try:
            act(request, "access.review", fields(request, "note"))
        except Refused as error:
            refused = error
        else:
            return done(request, "The review is recorded.", "access_report")
    try:
        on = _date(request.GET.get("on", "") or "today", "on")
    except Refused as error:
        refused, on = error, _today()
    found = reading.rights_on(on)
    context = {
        "on": on, "today": _today(), "rights": found, "holders": len({right.username for right in found}),
        "reviews": reading.reviews(), "may": request.viewer.may("access.review"),
    }  # fmt: skip
    return page(request, "people_report.html", context, refused)


def delegation_log(request: Any, site: int) -> HttpResponse:
    """Who was given which duty at a site, by whom, from when to when, after which training."""
    found = Site.objects.get(number=site)
    context = {"site": found, "rights": reading.delegation_log(site), "today": clock.today(found.zone)}
    return page(request, "people_delegation.html", context)


# --- one's own account ------------------------------------------------------------------------------------


def role(request: Any) -> HttpResponse:
    """Choose the role to work in, among one's duties of today."""
    held = accounts.roles_today(request.user)
    if request.method == "POST":
        chosen = request.POST.get("role", "")
        if chosen and chosen not in held:
            raise Refused("you have no such duty today", "role")
        request.session["role"] = chosen or None
        messages.success(request, f"You work as {chosen or 'all of your roles together'}.", extra_tags="good")
        return redirect(_back(request))
    context = {"roles": held, "chosen": request.session.get("role"), "next": _back(request)}
    return page(request, "people_role.html", context)


def _back(request: Any) -> str:
    asked = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(asked, allowed_hosts={request.get_host()}):
        return str(asked)
    return reverse("today")


def account(request: Any) -> HttpResponse:
    """One's own account: duties, second factor, sessions."""
    if request.method == "POST":
        ended = accounts.end_sessions(request.user, but=request.session.session_key)
        if ended:
            accounts.note("sessions ended", request, request.user, sessions=str(ended))
        return done(request, f"Sessions ended: {ended}.", "account")
    sessions = []
    for one in accounts.sessions_of(request.user):
        content = one.get_decoded()
        idle = accounts.seconds() - content.get("seen", 0)
        if idle <= settings.IDLE_MINUTES * 60:
            sessions.append(
                {
                    "address": content.get("address", ""), "idle": int(idle // 60),
                    "here": one.session_key == request.session.session_key,
                    "minutes": int((accounts.seconds() - content.get("began", 0)) // 60),
                }
            )  # fmt: skip
    context = {
        "account": reading.accounts_on(_today(), [request.user])[0], "sessions": sessions, "today": _today(),
        "rights": reading.rights_of(request.user), "second_factor": request.actor.second_factor,
    }  # fmt: skip
    return page(request, "people_account.html", context)


def tokens(request: Any) -> HttpResponse:
    """One's own keys to the API."""
    refused, once = None, None
    if request.method == "POST":
        try:
            if "token" in request.POST:
                act(request, "token.revoke", fields(request, "token"))
                return done(request, "The token has ended.", "tokens")
            given: dict[str, Any] = {
                **fields(request, "label", "days"), "scopes": request.POST.getlist("scopes")
            }  # fmt: skip
            once = act(request, "token.issue", given)
        except Refused as error:
            refused = error
    held = set(accounts.roles_today(request.user))
    context = {
        "tokens": Token.objects.filter(person=request.user).order_by("-created_at"), "once": once,
        "now": clock.now(), "second_factor": request.actor.second_factor,
        "scopes": sorted(name for name in COMMANDS if held & duties.MAY[name]),
        "chosen": request.POST.getlist("scopes"),
    }  # fmt: skip
    return page(request, "people_tokens.html", context, refused)
