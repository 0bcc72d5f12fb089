"""Results of laboratories at the sites of who looks."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from equipoise.conduct import access, clock, entering, opening
from equipoise.conduct.duties import SEES_ARM
from equipoise.conduct.reading import labs as reading

PER_PAGE = 50
DAYS = (14, 60, 180, 730)


def labs(request: HttpRequest) -> HttpResponse:
    """Recent and awaited results."""
    viewer: access.Viewer = request.viewer
    get = request.GET
    items = reading.measured(opening.folder().protocol)
    item = get.get("item", "") if get.get("item", "") in items else ""
    only = get.get("only", "") if get.get("only", "") in (reading.AWAITED, "out of range") else ""
    participants = viewer.participants().filter(site__in=viewer.unblinded_sites())
    site = entering.read_whole(get.get("site", ""))
    if site is not None:
        participants = participants.filter(site=site)
    if get.get("participant"):
        participants = participants.filter(number=get["participant"][:20])
    whole = viewer.holds_at_all(SEES_ARM) and site is None and not get.get("participant")
    usual = DAYS[0] if whole else DAYS[1]
    days = next((one for one in DAYS if str(one) == get.get("days")), usual)
    found = reading.results(
        None if whole else participants, clock.today(opening.folder().zone), days, item, only
    )
    page = Paginator(found, PER_PAGE).get_page(get.get("page"))
    return render(
        request,
        "labs.html",
        {
            "results": reading.lines(page.object_list),
            "page": page,
            "items": items,
            "item": item,
            "days": days,
            "choices": DAYS,
            "only": only,
            "site": "" if site is None else str(site),
            "participant": get.get("participant", "")[:20],
            "sites": list(viewer.unblinded_sites()),
        },
    )
