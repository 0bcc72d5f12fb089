"""Today: what there is to do, one line for each task, the gravest first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import capfirst

from equipoise.conduct import access, clock, entering, opening
from equipoise.conduct.pages.addresses import address
from equipoise.conduct.pages.context import NAVIGATION
from equipoise.conduct.reading.tasks import Task, tasks

URGENCIES = (("now", "Now"), ("soon", "Soon"), ("later", "Later"))
KINDS = {
    "awaited": "results awaited", "check": "checks before a cycle", "decision": "decisions",
    "eligibility": "eligibility", "endpoint": "endpoints", "event": "serious events",
    "expiring": "results that age",
    "flag": "corrected decisions", "hold": "holds", "incomplete": "incomplete forms",
    "injections": "injections", "query": "queries", "randomise": "to randomise", "screening": "screening",
    "sign": "forms to sign", "visit": "visits",
}  # fmt: skip
"""Kinds of task as they are counted."""


@dataclass(frozen=True)
class Line:
    """One task as it is shown."""

    participant: str
    words: str
    address: str
    due: date | None
    overdue: bool


def today(request: HttpRequest) -> HttpResponse:
    """The work list of who looks, for all of their sites or one."""
    viewer: access.Viewer = request.viewer
    sites = viewer.all_sites
    site, kind = entering.read_whole(request.GET.get("site", "")), request.GET.get("kind", "")
    everything = tasks(viewer)
    here = [one for one in everything if site is None or one.site == site]
    shown = [one for one in here if one.kind == kind] if kind in KINDS else here
    days = {one.number: clock.today(one.zone) for one in sites}
    groups = [
        (name, heading, [_line(one, days.get(one.site)) for one in shown if one.urgency == name])
        for name, heading in URGENCIES
    ]
    by_kind = Counter(one.kind for one in here)
    by_site = Counter(one.site for one in everything)
    return render(
        request,
        "today.html",
        {
            "groups": [group for group in groups if group[2]],
            "count": len(shown),
            "kinds": [(name, KINDS.get(name, name), number) for name, number in by_kind.most_common()],
            "kind": kind if kind in KINDS else "",
            "sites": [(one, by_site[one.number]) for one in sites],
            "site": "" if site is None else str(site),
            "on": clock.today(sites[0].zone if len(sites) == 1 else opening.folder().zone),
            "places": _places(viewer),
        },
    )


def _line(task: Task, today: date | None) -> Line:
    overdue = task.due is not None and today is not None and task.due < today
    return Line(task.participant, capfirst(task.words), address(task.url, **task.kwargs), task.due, overdue)


def _places(viewer: access.Viewer) -> list[dict[str, Any]]:
    """Where somebody may go who has no list of their own."""
    found = []
    for name, words in NAVIGATION:
        rule = access.rule_of(name)
        if name != "today" and rule is not None and (rule.scope == "person" or rule.roles & viewer.roles):
            found.append({"address": address(name), "words": words})
    return found
