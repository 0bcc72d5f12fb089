"""Searching the ledger, taking it away as a table, and the history of one item."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from equipoise.conduct import access, clock, duties, entering, opening
from equipoise.conduct.gateway import perform
from equipoise.conduct.models import Entry, Form
from equipoise.conduct.reading import audit as reading
from equipoise.conduct.spreadsheets import harmless

PER_PAGE = 100
"""Entries on a page (assumed)."""
MOST_PAGES = 200
"""Pages that can be turned to: who looks further back narrows the search (assumed)."""
HEAD = (
    "at (UTC)", "person", "role", "site", "origin", "command", "participant", "what", "field", "old", "new",
    "reason",
)  # fmt: skip


def audit(request: HttpRequest) -> HttpResponse:
    """The entries that match, newest first."""
    viewer: access.Viewer = request.viewer
    wanted, trouble = asked(request)
    entries = reading.search(viewer, wanted)
    number = request.GET.get("page", "1")
    page = _Pages(entries, PER_PAGE).get_page(number)
    return render(
        request,
        "audit.html",
        {
            "wanted": wanted,
            "typed": request.GET,
            "trouble": trouble,
            "lines": list(reading.lines(page.object_list, viewer)),
            "page": page,
            "reviews": reading.FILTERS,
            "commands": sorted(duties.MAY)
            if viewer.sees_every_arm
            else sorted(reading.BLINDED_MAY_READ | reading.OF_FORMS),
            "recent": reading.RECENT_DAYS,
            "numbers": viewer.sees_every_arm,
        },
    )


class _Pages(Paginator):
    """Pages that are counted only as far as they can be opened."""

    @property
    def count(self) -> int:
        """How many entries there are, up to the last page that is offered."""
        if not hasattr(self, "_count"):
            most = PER_PAGE * MOST_PAGES
            self._count = self.object_list[:most].count()
        return self._count


def asked(request: HttpRequest) -> tuple[reading.Search, str]:
    """What the address asks for, and what in it could not be read."""
    get, today = request.GET, clock.today(opening.folder().zone)
    days: dict[str, date | None] = {}
    trouble = ""
    for name in ("since", "until"):
        text = get.get(name, "").strip()
        try:
            days[name] = entering.read_date(text, today) if text else None
        except entering.EntryError:
            days[name] = None
            trouble = f'"{text[:40]}" is not a date as 2026-05-03'
    texts = {
        name: get.get(name, "").strip()[:200].replace("\0", "")
        for name in ("participant", "person", "command", "field", "reason", "review")
    }
    return reading.Search(**texts, since=days["since"], until=days["until"]), trouble


class _Echo:
    """Gives back what is written, for a table that is sent as it is made."""

    def write(self, text: str) -> str:
        """The text."""
        return text


def audit_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The entries that match as a table: exact, or (`for=spreadsheet`) with cells that a spreadsheet would
    run as formulas made harmless."""
    viewer: access.Viewer = request.viewer
    wanted, _ = asked(request)
    safe = request.GET.get("for") == "spreadsheet"
    chosen = {name: str(value) for name, value in vars(wanted).items() if value}
    perform("audit.take", request.actor, {"asked": chosen, "spreadsheet": safe})
    entries = reading.search(viewer, wanted).iterator(chunk_size=2000)
    rows = _rows(reading.lines(entries, viewer, whole=True), viewer.sees_every_arm, safe)
    writer = csv.writer(_Echo())
    name = f"audit-{clock.today(opening.folder().zone).isoformat()}{'-spreadsheet' if safe else ''}.csv"
    return StreamingHttpResponse(
        (writer.writerow(row) for row in rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _rows(lines: Iterable[reading.Line], numbers: bool, safe: bool) -> Iterator[list[str]]:
    yield ["entry", *HEAD] if numbers else list(HEAD)
    for one in lines:
        cells = [
            one.at.strftime("%Y-%m-%dT%H:%M:%SZ"), one.person, one.role,
            "" if one.site is None else str(one.site),
            one.origin, one.command, one.participant, one.what, one.field, one.old, one.new, one.reason,
        ]  # fmt: skip
        if numbers:
            cells.insert(0, str(one.n))
        yield [harmless(cell) for cell in cells] if safe else cells


def history(request: HttpRequest, number: str, form: str, item: str) -> HttpResponse:
    """Everything that was ever recorded for one item of a form; as a fragment where the page asks so."""
    viewer: access.Viewer = request.viewer
    participant = request.participant
    try:
        found = Form.objects.filter(id=UUID(form), participant=participant).first()
    except ValueError:
        found = None
    entries = list(reading.history(viewer, str(found.id), item)) if found is not None else []
    if found is None or not entries:
        raise Http404("no history")
    protocol = opening.folder().protocol
    fragment = request.headers.get("HX-Request") == "true"
    return render(
        request,
        "part/history.html" if fragment else "history.html",
        {
            "participant": participant,
            "label": protocol.items[item].label if item in protocol.items else item,
            "lines": list(reading.lines(entries, viewer)),
            "place": _place(entries),
        },
    )


def _place(entries: list[Entry]) -> str:
    return next((one.place for one in reversed(entries) if one.place), "")
