"""The protocol as text, its sites, and how the records are kept."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from equipoise.conduct import access, duties
from equipoise.conduct.gateway import Refused
from equipoise.conduct.models import Participant, Trial
from equipoise.conduct.pages.acting import act, done, fields, page
from equipoise.conduct.reading import trial as reading

ACTS = {
    "site.add": ("number", "name", "country", "zone", "reason"),
    "site.open": ("number", "approved_on", "protocol_sha256"),
    "site.close": ("number", "closed_on", "reason"),
    "trial.places": ("places", "reason"),
    "trial.freeze": ("reason",),
    "trial.unfreeze": ("reason",),
}
"""What the trial manager does here, with the fields of each."""
DONE = {
    "site.add": "The site is added. It may screen once it is open.",
    "site.open": "The site is open.",
    "site.close": "The site is closed.",
    "trial.places": "The number of places is set.",
    "trial.freeze": "The data are frozen.",
    "trial.unfreeze": "The data can be changed again.",
}


def trial(request: HttpRequest) -> HttpResponse:
    """The protocol, the sites, the state of the records; forms for the trial manager."""
    refused, asked = None, ""
    if request.method == "POST":
        asked = request.POST.get("do", "")
        try:
            if asked not in ACTS:
                raise Refused("this page does nothing of that name")
            act(request, asked, fields(request, *ACTS[asked]))
        except Refused as error:
            refused = error
        else:
            return done(request, DONE[asked], "trial")
    return page(request, "trial.html", _context(request.viewer, asked), refused)


def _context(viewer: access.Viewer, asked: str) -> dict[str, Any]:
    keeps = viewer.roles & {duties.MANAGER, duties.ADMINISTRATOR, duties.INSPECTOR}
    sites = viewer.all_sites
    return {
        "row": Trial.objects.get(id=1),
        "text": reading.protocol_text(),
        "sites": sites,
        "waiting": [one for one in sites if one.opened_on is None or one.closed_on is not None],
        "open_sites": [one for one in sites if one.opened_on is not None and one.closed_on is None],
        "randomized": Participant.objects.filter(randomized_on__isnull=False).count(),
        "may": {name.replace(".", "_"): viewer.may(name) for name in ACTS},
        "keeping": reading.keeping() if keeps else None,
        "sees_arm": viewer.sees_every_arm,
        "asked": asked,
    }
