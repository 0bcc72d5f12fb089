"""Who may open which address: one table, enforced in one place.

Every address of the application has a rule here; one without a rule is refused, and a test fails. Addresses
that name a participant have the parameter `number`, those that name a site `site`: what the person has no
duty for does not exist (404), what their role may not see is refused (403), and whoever is not logged in is
sent to log in (pages) or told so (API, 401).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.http import urlencode

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

TELLS_NO_ARM = Q(reveals_arm=False)
"""Rows that are not marked as telling the arm."""

Scope = Literal["closed", "open", "person", "trial", "site", "participant"]
"""closed: nobody, it does not exist here; open: anybody, logged in or not; person: anybody who is logged in;
trial: one of the roles, anywhere; site and participant: one of the roles, at that site."""


class Rule(NamedTuple):
    scope: Scope
    roles: frozenset[str] = frozenset(ROLES)


_SITE_STAFF = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST})
_ENTRY = frozenset({COORDINATOR, INVESTIGATOR})
_SEES_DATA = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST, MONITOR, INSPECTOR, STATISTICIAN})
_WITH_MANAGER = _SEES_DATA | {MANAGER}
_PEOPLE = frozenset({ADMINISTRATOR, MANAGER, INSPECTOR})

_NOBODY = Rule("closed")
"""Pages of the log-in library for what is not done here: signing up, passwords by mail."""

RULES: dict[str, Rule] = {
    # reading pages
    "audit": Rule("trial", _WITH_MANAGER | _PEOPLE),
    "audit_csv": Rule("trial", _WITH_MANAGER | _PEOPLE),
    "chart": Rule("participant", _WITH_MANAGER),
    "history": Rule("participant", _WITH_MANAGER),
    "labs": Rule("trial", _SEES_DATA),
    "overview": Rule("trial", _WITH_MANAGER),
    "participants": Rule("trial", _WITH_MANAGER),
    "today": Rule("person"),
    "trial": Rule("person"),
    # people
    "access_report": Rule("trial", _PEOPLE),
    "account": Rule("person"),
    "delegation_log": Rule("site", _PEOPLE | _SITE_STAFF | {MONITOR}),
    "draft": Rule("person"),
    "people": Rule("trial", _PEOPLE),
    "person": Rule("trial", _PEOPLE),
    "role": Rule("person"),
    "tokens": Rule("person"),
    # over HTTP: who may carry out a command, the gateway says
    **{f"api:do {name}": Rule("person") for name in duties.MAY},
    "api:api-root": _NOBODY,
    "api:decisions": Rule("participant", _SEES_DATA),
    "api:events": Rule("participant", _SEES_DATA),
    "api:form": Rule("participant", _SEES_DATA),
    "api:holds": Rule("participant", _SEES_DATA),
    "api:ledger": Rule("person"),
    "api:openapi-json": Rule("person"),
    "api:participant": Rule("participant", _WITH_MANAGER),
    "api:participants": Rule("trial", _WITH_MANAGER),
    "api:proposal": Rule("participant", _SEES_DATA),
    "api:queries": Rule("participant", _SEES_DATA),
    "api:schedule": Rule("participant", _SEES_DATA),
    "api:screening": Rule("participant", _SEES_DATA),
    "api:status": Rule("person"),
    "api:tasks": Rule("person"),
    # log-in and second factor
    "account_change_password": Rule("person"),
    "account_confirm_email": _NOBODY,
    "account_confirm_login_code": _NOBODY,
    "account_confirm_reauthentication_code": _NOBODY,
    "account_email": _NOBODY,
    "account_email_verification_sent": _NOBODY,
    "account_inactive": Rule("open"),
    "account_login": Rule("open"),
    "account_logout": Rule("open"),
    "account_reauthenticate": Rule("person"),
    "account_request_reauthentication_code": _NOBODY,
    "account_reset_password": _NOBODY,
    "account_reset_password_done": _NOBODY,
    "account_reset_password_from_key": _NOBODY,
    "account_reset_password_from_key_done": _NOBODY,
    "account_set_password": _NOBODY,
    "account_signup": _NOBODY,
    "mfa_activate_totp": Rule("person"),
    "mfa_add_webauthn": Rule("person"),
    "mfa_authenticate": Rule("open"),
    "mfa_deactivate_totp": Rule("person"),
    "mfa_download_recovery_codes": Rule("person"),
    "mfa_edit_webauthn": Rule("person"),
    "mfa_generate_recovery_codes": Rule("person"),
    "mfa_index": Rule("person"),
    "mfa_list_webauthn": Rule("person"),
    "mfa_reauthenticate": Rule("person"),
    "mfa_reauthenticate_webauthn": Rule("person"),
    "mfa_remove_webauthn": Rule("person"),
    "mfa_view_recovery_codes": Rule("person"),
    # pages where people act
    "cycle_print": Rule("participant", _SEES_DATA),
    "decide": Rule("participant", _SEES_DATA),
    "disposition": Rule("participant", _WITH_MANAGER),
    "event": Rule("participant", _WITH_MANAGER),
    "event_new": Rule("participant", _ENTRY),
    "form": Rule("participant", _WITH_MANAGER),
    "form_print": Rule("participant", _WITH_MANAGER),
    "injections": Rule("participant", _SEES_DATA),
    "medication": Rule("participant", _SEES_DATA),
    "queries": Rule("trial", _WITH_MANAGER),
    "query": Rule("participant", _WITH_MANAGER),
    "query_new": Rule("participant", _ENTRY | {MONITOR, MANAGER}),
    "randomise": Rule("participant", _SEES_DATA),
    "safety": Rule("trial", _WITH_MANAGER),
    "screening": Rule("participant", _WITH_MANAGER),
    "screening_start": Rule("site", _ENTRY),
    "update_new": Rule("participant", _ENTRY),
}
"""Name of the address -> rule. Each part of the application adds its own lines here, in order of name."""


def rule_of(name: str) -> Rule | None:
    """The rule for an address; None when there is none."""
    return RULES.get(name)


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

    def sees_arm(self, site: Site) -> bool:
        """Whether the arm, and what reveals it, may be shown for the participants of a site."""
        return self.sees_arm_at(site.number)

    def sees_arm_at(self, number: int | None) -> bool:
        """The same by the number of the site; None is what belongs to the trial, not to a site: only who sees
        the arm wherever they have a duty sees what that may tell."""
        if number is None:
            return self.sees_every_arm
        return bool({None, number} & self._held(duties.SEES_ARM))

    @property
    def sees_every_arm(self) -> bool:
        """Whether they see the arm at every site at which they have a duty."""
        held, unblinded = self._held(), self._held(duties.SEES_ARM)
        return bool(held) and (None in unblinded or held <= unblinded)

    def in_sight(self, path: str, elsewhere: Q = TELLS_NO_ARM) -> Q:
        """Rows that may be shown to them: every one at the sites whose arm they see, and those of `elsewhere`
        at the others. `path` leads from a row to its site."""
        if self.sees_every_arm:
            return Q()
        return elsewhere | Q(**{f"{path}__in": self._held(duties.SEES_ARM)})

    def may(self, command: str, site: Site | None = None) -> bool:
        """Whether a command is offered (the gateway decides)."""
        return any(duty.role in duties.MAY[command] for duty in self.at(site))

    def sites(self) -> Any:
        """The sites at which they have any duty, in order of number."""
        return self._sites_of()

    @cached_property
    def all_sites(self) -> tuple[Site, ...]:
        """The same, read once."""
        if None in self._held():
            return tuple(self.sites())
        found = {duty.site.number: duty.site for duty in self.duties if duty.site is not None}
        return tuple(found[number] for number in sorted(found))

    def sites_of_participants(self) -> Any:
        """The sites whose participants they see, in order of number."""
        return self._sites_of(duties.SEES_PARTICIPANTS)

    def unblinded_sites(self) -> Any:
        """The sites at which they see the arm, in order of number."""
        return self._sites_of(duties.SEES_ARM)

    def holds_at_all(self, roles: frozenset[str]) -> bool:
        """Whether they have one of these roles for the whole trial."""
        return None in self._held(roles)

    def _held(self, roles: frozenset[str] = frozenset(ROLES)) -> set[int | None]:
        """The sites of their duties in some roles; None is the whole trial."""
        return {duty.site_id for duty in self.duties if duty.role in roles}

    def _sites_of(self, roles: frozenset[str] = frozenset(ROLES)) -> Any:
        found, numbers = Site.objects.order_by("number"), self._held(roles)
        return found if None in numbers else found.filter(number__in=numbers)

    def participants(self) -> Any:
        """The participants that they see, in order of screening."""
        found = Participant.objects.select_related("site").order_by("candidate")
        numbers = self._held(duties.SEES_PARTICIPANTS)
        return found if None in numbers else found.filter(site__in=numbers)

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
        if rule.scope == "closed":
            return shown(request, NotFound("there is nothing of that name"))
        if rule.scope == "open":
            return None
        if actor is None:
            if request.path.startswith("/api/"):
                return JsonResponse({"refused": "log in, or send a token"}, status=401)
            return redirect(f"/account/login/?{urlencode({'next': request.get_full_path()})}")
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
