"""The trial at a glance."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from equipoise.conduct import access, clock, entering, opening
from equipoise.conduct.pages import drawing
from equipoise.conduct.pages.drawing import Axis
from equipoise.conduct.pages.tags import MONTHS, in_words
from equipoise.conduct.reading import overview as reading
from equipoise.conduct.reading.safety import kinds_shown

KEPT_SECONDS = 60
"""A count is shown, with its time, for so long: a large trial is not counted for every look."""
WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 50, 110, 14, 34


def overview(request: HttpRequest) -> HttpResponse:
    """Enrolment, visits, lag, queries, events, cycles: over the sites of who looks."""
    viewer: access.Viewer = request.viewer
    sites, participants = viewer.sites_of_participants(), viewer.participants()
    chosen = entering.read_whole(request.GET.get("site", ""))
    if chosen is not None:
        sites = sites.filter(number=chosen)
        participants = participants.filter(site=chosen)
    as_of, found = _kept(sites, participants, viewer)
    return render(
        request,
        "overview.html",
        {
            "overview": found,
            "enrolment": enrolment(found.months, found.planned),
            "choices": list(viewer.sites_of_participants()),
            "chosen": "" if chosen is None else str(chosen),
            "as_of": as_of,
            "suffix": f"&site={chosen}" if chosen is not None else "",
            "links": {name: access.rule_of(name) is not None for name in ("safety", "queries")},
        },
    )


def _kept(sites: Any, participants: Any, viewer: access.Viewer) -> tuple[datetime, reading.Overview]:
    """The overview of these sites, counted anew when the last count is a minute old; when it was counted."""
    numbers = [(number, viewer.sees_arm_at(number)) for number in sites.values_list("number", flat=True)]
    of = repr((numbers, list(kinds_shown(viewer)), clock.today(opening.folder().zone)))
    key = f"overview-{hashlib.sha256(of.encode()).hexdigest()}"
    found: tuple[datetime, reading.Overview] | None = cache.get(key)
    if found is None:
        found = (clock.now(), reading.overview(sites, participants, viewer))
        cache.set(key, found, KEPT_SECONDS)
    return found


def enrolment(months: tuple[reading.Month, ...], planned: int) -> Any:
    """Participants screened and randomised, cumulative by month, against the plan."""
    if not months:
        return ""
    most = max([*(one.screened for one in months), *(one.planned or 0 for one in months), 4])
    ticks = drawing.nice_ticks(0, most)
    x = Axis(0, max(len(months) - 1, 1), LEFT, WIDTH - RIGHT)
    y = Axis(0, ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = []
    for tick in ticks:
        parts += [
            drawing.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"),
            drawing.text(LEFT - 6, y(tick) + 4, f"{tick:g}", "tick", "end"),
        ]
    every = max(1, len(months) // 8)
    for place in range(0, len(months), every):
        last = months[place].last
        parts.append(
            drawing.text(x(place), HEIGHT - 14, f"{MONTHS[last.month - 1][:3]} {last.year}", "tick", "middle")
        )
    ends = []
    for kind, name in (("planned", "plan"), ("screened", "screened"), ("randomized", "randomised")):
        points = [(x(i), y(asdict(one)[kind])) for i, one in enumerate(months)]
        if len(points) == 1:
            points.append((x(1), points[0][1]))
        parts.append(drawing.path(points, f"curve {kind}"))
        ends.append((points[-1][1], f"{asdict(months[-1])[kind]:.0f} {name}", kind))
    for height, words, kind in _apart(ends):
        parts.append(drawing.text(WIDTH - RIGHT + 8, height + 4, words, f"end {kind}"))
    latest = months[-1]
    said = (
        f"By {in_words(latest.last)}: {latest.screened} screened, {latest.randomized} randomised; the plan "
        f"would have {latest.planned:.0f} of {planned} randomised."
    )
    return drawing.picture("enrolment", "Enrolment against plan", said, WIDTH, HEIGHT, parts)


def _apart(ends: list[tuple[float, str, str]], least: float = 15) -> list[tuple[float, str, str]]:
    """Labels at the ends of curves, moved so that none lies on another."""
    placed: list[tuple[float, str, str]] = []
    for height, words, kind in sorted(ends, reverse=True):
        lowest = placed[-1][0] - least if placed else height
        placed.append((min(height, lowest), words, kind))
    return placed
