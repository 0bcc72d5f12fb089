"""The list of participants."""

from __future__ import annotations

from dataclasses import fields

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from equipoise.conduct import access
from equipoise.conduct.reading import participants as reading
from equipoise.conduct.reading.safety import kinds_shown

PER_PAGE = 50
"""Participants on a page (assumed)."""


def participants(request: HttpRequest) -> HttpResponse:
    """Everybody at the sites of who looks, narrowed by what the address asks for; a number that is found
    exactly opens its chart."""
    viewer: access.Viewer = request.viewer
    asked = {one.name: request.GET.get(one.name, "").strip()[:80] for one in fields(reading.Wanted)}
    if asked["visit"] and "%" in asked["visit"]:
        asked["visit"] = ""
    wanted = reading.Wanted(**asked)
    if wanted.q:
        exact = viewer.participants().filter(number__iexact=wanted.q).first()
        if exact is not None:
            return redirect("chart", number=exact.number)
    pages = Paginator(reading.chosen(viewer, wanted), PER_PAGE)
    page = pages.get_page(request.GET.get("page"))
    return render(
        request,
        "participants.html",
        {
            "page": page,
            "lines": reading.lines(list(page.object_list), viewer),
            "wanted": wanted,
            "sites": list(viewer.sites_of_participants()),
            "statuses": reading.STATUSES,
            "events": kinds_shown(viewer),
            "screens_at": [
                site
                for site in viewer.all_sites
                if site.opened_on is not None
                and site.closed_on is None
                and viewer.may("screening.start", site)
            ],
        },
    )
