"""What every page shows around its content: the trial, who looks, where they may go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest

import equipoise
from equipoise.conduct import access, clock, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.pages.addresses import address

NAVIGATION = (
    ("today", "Today"),
    ("participants", "Participants"),
    ("labs", "Labs"),
    ("safety", "Safety"),
    ("queries", "Queries"),
    ("overview", "Trial overview"),
    ("audit", "Audit"),
    ("people", "People"),
    ("trial", "Protocol and sites"),
)
"""Main navigation, in order; each role sees what its rule of access opens."""
OWN = (("role", "Change role"), ("account", "Your account"), ("tokens", "Access tokens"))
KIND_WORDS = {
    "demonstration": "All participants are fictitious. Nothing here concerns a real person.",
    "rehearsal": "Virtual participants on a simulated clock. Nothing here concerns a real person.",
}


@dataclass(frozen=True)
class Link:
    address: str
    words: str
    here: bool = False


class Frame:
    """Head and foot of a page, worked out only where a template asks."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._folder = opening.folder()
        actor = getattr(request, "actor", None)
        self._viewer: Viewer | None = getattr(request, "viewer", None)
        if self._viewer is None and actor is not None:  # an address that does not exist: no rule was applied
            self._viewer = Viewer(actor)
        self.person = actor.person if actor is not None else None
        self.name = self._folder.name
        self.kind = self._folder.kind
        self.kind_words = KIND_WORDS.get(self.kind, "")
        self.software = equipoise.__version__
        self.protocol_sha256 = self._folder.protocol_sha256

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        protocol = self._folder.protocol
        return f"{protocol.protocol}, version {protocol.version},"

    @property
    def now(self) -> Any:
        """Time of the server."""
        return clock.now()

    @property
    def roles(self) -> list[str]:
        """The roles in which the person looks."""
        return sorted(self._viewer.roles) if self._viewer is not None else []

    @cached_property
    def where(self) -> str:
        """Their site, or how many, or the whole trial."""
        if self._viewer is None or not self._viewer.duties:
            return ""
        if any(duty.site_id is None for duty in self._viewer.duties):
            return "All sites"
        sites = self._viewer.all_sites
        return f"Site {sites[0].number} · {sites[0].name}" if len(sites) == 1 else f"{len(sites)} sites"

    @property
    def stopped(self) -> list[str]:
        """What is stopped, for everybody who is logged in."""
        if self._viewer is None:
            return []
        from equipoise.conduct.models import Trial

        row = Trial.objects.filter(id=1).values_list("frozen", "suspended").first()
        if row is None:
            return []
        frozen, suspended = row
        return [
            *([f"The data are frozen: nothing can be changed. {frozen}"] if frozen else []),
            *([f"Randomisation is suspended. {suspended}"] if suspended else []),
        ]

    @property
    def searches(self) -> bool:
        """Whether they see participants."""
        return self._opens("participants")

    @cached_property
    def navigation(self) -> list[Link]:
        """Where they may go."""
        match = self._request.resolver_match
        here = match.view_name if match is not None else ""
        return [Link(address(name), words, name == here) for name, words in NAVIGATION if self._opens(name)]

    @cached_property
    def own(self) -> list[Link]:
        """Pages about themselves."""
        return [Link(address(name), words) for name, words in OWN if self._opens(name)]

    def _opens(self, name: str) -> bool:
        rule = access.rule_of(name)
        if rule is None or self._viewer is None:
            return False
        return rule.scope in ("open", "person") or bool(rule.roles & self._viewer.roles)


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """The frame, the trial's folder, and who looks."""
    return {
        "frame": Frame(request),
        "trial_folder": opening.folder(),
        "actor": getattr(request, "actor", None),
        "viewer": getattr(request, "viewer", None),
    }
