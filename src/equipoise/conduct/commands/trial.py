"""The trial as a whole: its sites, its places, freezing."""

from __future__ import annotations

from typing import Any

from equipoise.conduct import folder as folders
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import AddSite, CloseSite, Freeze, OpenSite, SetPlaces, TakeAudit
from equipoise.conduct.models import Site
from equipoise.errors import UserError


@command("site.add", AddSite)
def add_site(act: Act, given: AddSite) -> dict[str, Any]:
    """Add a site; it opens once its approvals are in."""
    act.allow(None)
    if Site.objects.filter(number=given.number).exists():
        raise Conflict(f"there is a site {given.number} already")
    try:
        folders.check_zone(given.zone, "time zone")
    except UserError as error:
        raise Refused(str(error), "zone") from None
    site = Site(number=given.number, name=given.name, country=given.country, zone=given.zone)
    act.create(site, "site", reason=given.reason)
    return {"site": site.number}


def _site(number: int) -> Site:
    found = Site.objects.filter(number=number).first()
    if found is None:
        raise NotFound(f"there is no site {number}")
    return found


@command("site.open", OpenSite)
def open_site(act: Act, given: OpenSite) -> dict[str, Any]:
    """Open a site for the version of the protocol that its approvals name."""
    act.allow(None)
    site = _site(given.number)
    if given.protocol_sha256 != act.trial.protocol_sha256:
        raise Refused(
            "the approvals name another version of the protocol than the one in force", "protocol_sha256"
        )
    if given.approved_on > act.today():
        raise Refused("the date of approval lies in the future", "approved_on")
    if site.opened_on is not None and site.closed_on is None:
        raise Conflict(f"site {site.number} is open already")
    act.change(
        site,
        "site",
        {"opened_on": given.approved_on, "protocol_sha256": given.protocol_sha256, "closed_on": None},
    )
    return {"site": site.number}


@command("site.close", CloseSite)
def close_site(act: Act, given: CloseSite) -> dict[str, Any]:
    """Close a site: nobody more is screened or randomised there."""
    act.allow(None)
    site = _site(given.number)
    if site.opened_on is None or site.closed_on is not None:
        raise Conflict(f"site {site.number} is not open")
    act.change(site, "site", {"closed_on": given.closed_on}, reason=given.reason)
    return {"site": site.number}


@command("trial.places", SetPlaces)
def set_places(act: Act, given: SetPlaces) -> dict[str, Any]:
    """Set how many participants may be randomised, never fewer than are."""
    act.allow(None)
    if given.places < act.trial.allocated:
        raise Refused(f"{act.trial.allocated} are randomised already", "places")
    if not act.change(act.trial, "trial", {"places": given.places}, reason=given.reason):
        raise Conflict("that is the number of places already")
    return {"places": given.places}


@command("trial.freeze", Freeze)
def freeze(act: Act, given: Freeze) -> dict[str, Any]:
    """Freeze the data: every command that would change them is refused."""
    act.allow(None)
    act.change(act.trial, "trial", {"frozen": given.reason}, reason=given.reason)
    return {"frozen": given.reason}


@command("trial.unfreeze", Freeze)
def unfreeze(act: Act, given: Freeze) -> dict[str, Any]:
    """Let the data be changed again."""
    act.allow(None)
    if not act.change(act.trial, "trial", {"frozen": ""}, reason=given.reason):
        raise Conflict("the data are not frozen")
    return {"frozen": ""}


@command("audit.take", TakeAudit)
def take_audit(act: Act, given: TakeAudit) -> dict[str, Any]:
    """Note that somebody takes entries of the ledger away as a table."""
    act.allow(None)
    asked = {name: text for name, text in sorted(given.asked.items()) if text}
    act.record("export", "audit", new=as_text({"asked": asked, "spreadsheet": given.spreadsheet}))
    return {"asked": asked}
