"""Who may open which address: one table, enforced in one place.

Every address of the application has a rule here; one without a rule is refused, and a test fails. Addresses
that name a participant have the parameter `number`, those that name a site `site`: what the person has no
duty for does not exist (404), what their role may not see is refused (403), and whoever is not logged in is
sent to log in (pages) or told so (API, 401).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect

from equipoise.conduct import clock, duties
from equipoise.conduct.duties import (
    ADMINISTRATOR,
    COORDINATOR,
    INSPECTOR,
    INVESTIGATOR,
    MANAGER,
    MONITOR,
    PHARMACIST,
    ROLES,
    STATISTICIAN,
)  # fmt: skip
from equipoise.conduct.gateway import Actor, NotAllowed, NotFound, Refused, duties_on, reaches
from equipoise.conduct.middleware import shown
from equipoise.conduct.models import Duty, Participant, Site

Scope = Literal["open", "person", "trial", "site", "participant"]
"""open: anybody, logged in or not; person: anybody who is logged in; trial: one of the roles, anywhere;
site and participant: one of the roles, at that site."""


class Rule(NamedTuple):
    scope: Scope
    roles: frozenset[str] = frozenset(ROLES)


_SITE_STAFF = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST})
_ENTRY = frozenset({COORDINATOR, INVESTIGATOR})
_SEES_DATA = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST, MONITOR, INSPECTOR, STATISTICIAN})
_WITH_MANAGER = _SEES_DATA | {MANAGER}
_PEOPLE = frozenset({ADMINISTRATOR, MANAGER, INSPECTOR})

RULES: dict[str, Rule] = {
    # reading pages
    "participants": Rule("trial", _WITH_MANAGER),
    "today": Rule("person"),
}
"""Name of the address -> rule. Each part of the application adds its own lines here, in order of name."""

RULES_OF_PREFIXES: tuple[tuple[str, Rule], ...] = (("account_", Rule("open")), ("mfa_", Rule("person")))
"""Addresses of allauth, which looks itself who is logged in."""


def rule_of(name: str) -> Rule | None:
    """The rule for an address; None when there is none."""
    if name in RULES:
        return RULES[name]
    return next((rule for prefix, rule in RULES_OF_PREFIXES if name.startswith(prefix)), None)


class Viewer:
    """Who looks, with the duties of today: what they may see, and of which sites."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.person = actor.person
        held = duties_on(actor.person, clock.now())
        if actor.role is not None:
            held = [duty for duty in held if duty.role == actor.role]
        self.duties: list[Duty] = held
        self.roles = {duty.role for duty in held}

    def at(self, site: Site | None) -> list[Duty]:
        """The duties that reach this site."""
        return [duty for duty in self.duties if site is None or reaches(duty, site)]

    def sees_arm(self, site: Site | None = None) -> bool:
        """Whether the arm, and what reveals it, may be shown (for a participant of that site)."""
        return any(duty.role in duties.SEES_ARM for duty in self.at(site))

    def may(self, command: str, site: Site | None = None) -> bool:
        """Whether a command is offered (the gateway decides)."""
        return any(duty.role in duties.MAY[command] for duty in self.at(site))

    def sites(self) -> Any:
        """The sites that they see, in order of number."""
        found = Site.objects.order_by("number")
        if any(duty.site_id is None for duty in self.duties):
            return found
        return found.filter(number__in={duty.site_id for duty in self.duties})

    def participants(self) -> Any:
        """The participants that they see, in order of screening."""
        if not self.roles & duties.SEES_PARTICIPANTS:
            return Participant.objects.none()
        return Participant.objects.filter(site__in=self.sites()).select_related("site").order_by("candidate")

    def participant(self, number: str) -> Participant:
        """The participant of that number; raises NotFound when there is none at a site of theirs."""
        found = self.participants().filter(number=number).first()
        if found is None:
            raise NotFound("there is nothing of that name for you")
        return found


class AccessMiddleware:
    """Applies the rule of the address before the view runs; sets `request.viewer` and, where the address
    names one, `request.participant`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """None lets the view run."""
        rule = rule_of(request.resolver_match.view_name or "")
        if rule is None:
            return shown(request, NotAllowed("this address has no rule of access"))
        actor: Actor | None = request.actor
        request.viewer = Viewer(actor) if actor is not None else None
        request.participant = None
        if rule.scope == "open":
            return None
        if actor is None:
            if request.path.startswith("/api/"):
                return JsonResponse({"refused": "log in, or send a token"}, status=401)
            return redirect(f"/account/login/?next={request.get_full_path()}")
        try:
            check(rule, request.viewer, request, kwargs)
        except Refused as error:
            return shown(request, error)
        return None


def check(rule: Rule, viewer: Viewer, request: Any, kwargs: dict[str, Any]) -> None:
    """Raise NotFound or NotAllowed unless the rule lets this viewer in."""
    if rule.scope == "person":
        return
    site: Site | None = None
    if rule.scope == "participant":
        if not viewer.roles & duties.SEES_PARTICIPANTS:
            raise NotAllowed("your role does not see participants")
        request.participant = viewer.participant(kwargs["number"])
        site = request.participant.site
    elif rule.scope == "site":
        site = viewer.sites().filter(number=kwargs["site"]).first()
        if site is None:
            raise NotFound("there is nothing of that name for you")
    if not any(duty.role in rule.roles for duty in viewer.at(site)):
        raise NotAllowed("your role does not open this page")
