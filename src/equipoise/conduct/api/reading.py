"""What can be read over HTTP: what the same person may see on the pages, of their own sites, and no arm, nor
what reveals it, for those who are blinded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import NinjaAPI, Query
from pydantic import BaseModel, Field

import equipoise
from equipoise.conduct import clock, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.api.auth import check_may_read
from equipoise.conduct.api.shapes import plain
from equipoise.conduct.models import Chain, Decision, Entry, Hold, Participant, Trial
from equipoise.conduct.models import Query as Asked
from equipoise.conduct.reading import audit
from equipoise.conduct.reading.arms import arm_of
from equipoise.conduct.reading.eligibility import screening
from equipoise.conduct.reading.forms import form_view
from equipoise.conduct.reading.safety import events
from equipoise.conduct.reading.schedule import planned
from equipoise.conduct.reading.situation import proposal
from equipoise.conduct.reading.tasks import tasks

MOST_ROWS = 1000
FormKind = Literal["screening", "visit", "check", "update"]
Rows = Annotated[int, Field(ge=1, le=MOST_ROWS)]


class Page(BaseModel):
    """A part of a long list: `after` is the number of the last row that was seen."""

    after: Annotated[int, Field(ge=0, le=10**12)] = 0
    limit: Rows = 100


def add_reading(api: NinjaAPI) -> None:
    """Add the operations that read."""
    for path, name, view in (
        ("/status", "status", status),
        ("/tasks", "tasks", task_list),
        ("/ledger", "ledger", ledger_entries),
        ("/participants", "participants", participants),
        ("/participants/{number}", "participant", participant),
        ("/participants/{number}/screening", "screening", screening_of),
        ("/participants/{number}/schedule", "schedule", schedule_of),
        ("/participants/{number}/forms/{kind}/{key}", "form", form_of),
        ("/participants/{number}/proposal/{regimen}", "proposal", proposal_of),
        ("/participants/{number}/decisions", "decisions", decisions_of),
        ("/participants/{number}/events", "events", events_of),
        ("/participants/{number}/holds", "holds", holds_of),
        ("/participants/{number}/queries", "queries", queries_of),
    ):
        api.get(
            path,
            url_name=name,
            operation_id=f"read_{name}",
            summary=(view.__doc__ or "").strip().split("\n")[0],
            tags=["reading"],
        )(view)


# --- the trial --------------------------------------------------------------------------------------------


def status(request: Any) -> Any:
    """The trial, its protocol, how far it is, and the head of the ledger."""
    check_may_read(request)
    trial = Trial.objects.get(id=1)
    chain = Chain.objects.get(id=1)
    return {
        "name": trial.name,
        "kind": trial.kind,
        "protocol": opening.folder().protocol.protocol,
        "protocol_sha256": trial.protocol_sha256,
        "software": equipoise.__version__,
        "now": plain(clock.now()),
        "screened": trial.screened,
        "randomised": trial.allocated,
        "places": trial.places,
        "suspended": trial.suspended,
        "frozen": trial.frozen,
        "ledger": {"entries": chain.n, "hash": chain.hash} if request.viewer.sees_every_arm else None,
    }


def task_list(request: Any) -> Any:
    """What waits for the person today, at each of their sites."""
    check_may_read(request)
    return [plain(task) for task in tasks(request.viewer)]


def ledger_entries(request: Any, page: Query[Page], participant: str = "") -> Any:
    """Entries of the ledger that the person may see, in order, a page at a time."""
    check_may_read(request)
    found = audit.visible(request.viewer)
    if participant:
        found = found.filter(participant=request.viewer.participant(participant).number)
    found = found.order_by("n")
    if request.viewer.sees_every_arm:
        rows = list(found.filter(n__gt=page.after)[: page.limit])
        entries = [_entry(row) for row in rows]
    else:  # numbers and hashes would tell how much is not shown
        rows = list(found[page.after : page.after + page.limit])
        entries = [_blinded(request.viewer, row, page.after + place + 1) for place, row in enumerate(rows)]
    return {"entries": entries, "next": entries[-1]["n"] if len(entries) == page.limit else None}


_SHOWN = (
    "at", "command", "person", "role", "site", "origin", "participant", "kind", "subject", "place", "field",
    "row", "old", "new", "reason", "protocol_sha256", "software",
)  # fmt: skip


def _blinded(viewer: Viewer, row: Entry, position: int) -> dict[str, Any]:
    """An entry for somebody who must not know every arm: that something was changed, seldom to what. The
    numbers of rows are left out as well: a gap in those of reports would tell."""
    shown = {"n": position, **_entry(row, _SHOWN), **audit.told(viewer, row)._asdict()}
    return shown if viewer.sees_arm_at(row.site) else {**shown, "row": 0}


def _entry(row: Entry, names: tuple[str, ...] = ("n", *_SHOWN, "previous", "hash")) -> dict[str, Any]:
    return {name: plain(getattr(row, name)) for name in names}


# --- participants -----------------------------------------------------------------------------------------


def participants(request: Any, page: Query[Page]) -> Any:
    """The participants of the person's sites, in order of screening, a page at a time."""
    check_may_read(request)
    found = request.viewer.participants().filter(candidate__gt=page.after)
    rows = list(found[: page.limit])
    return {
        "participants": [_participant(request.viewer, row) for row in rows],
        "next": rows[-1].candidate if len(rows) == page.limit else None,
    }


def participant(request: Any, number: str) -> Any:
    """One participant."""
    check_may_read(request)
    return _participant(request.viewer, request.participant)


def _participant(viewer: Any, row: Participant) -> dict[str, Any]:
    return {
        "number": row.number,
        "site": row.site_id,
        "status": row.status,
        "screened_on": plain(row.screened_on),
        "consent_on": plain(row.consent_on),
        "randomized_number": row.randomized_number,
        "randomized_on": plain(row.randomized_on),
        "strata": row.strata,
        "ended_on": plain(row.ended_on),
        "ended_how": row.ended_how,
        "arm": arm_of(row) if viewer.sees_arm(row.site) else None,
    }


def screening_of(request: Any, number: str) -> Any:
    """The assessment of eligibility as of today: every criterion with its value, source and expiry."""
    check_may_read(request)
    return plain(screening(request.participant, _today(request)))


def schedule_of(request: Any, number: str) -> Any:
    """The visits that are planned, with their windows and where each stands today."""
    check_may_read(request)
    return [plain(visit) for visit in planned(request.participant, _today(request), request.viewer)]


def form_of(request: Any, number: str, kind: FormKind, key: str) -> Any:
    """A form: what it asks, what is entered, its version, warnings and queries."""
    check_may_read(request)
    return plain(form_view(request.participant, kind, key, request.viewer))


def proposal_of(request: Any, number: str, regimen: str) -> Any:
    """What the rules propose today for a regimen, with every rule in words, and the hash that is signed."""
    check_may_read(request)
    return plain(proposal(request.participant, regimen, _today(request)))


def decisions_of(request: Any, number: str) -> Any:
    """The dosing decisions, as they were proposed and taken, with the flags that corrections raised."""
    check_may_read(request)
    rows = Decision.objects.filter(participant=request.participant).order_by("sequence")
    return [
        {
            **_fields(row, but={"id", "participant"}),
            "id": str(row.id),
            "flags": [
                _fields(flag, but={"decision"}) for flag in row.flags.order_by("at", "id")
            ],
        }
        for row in rows.prefetch_related("flags")
    ]  # fmt: skip


def events_of(request: Any, number: str) -> Any:
    """The clinical events, each with all its reports."""
    check_may_read(request)
    return [
        {
            "id": str(one.id),
            "number": one.number,
            "kind": one.kind,
            "removed": one.removed,
            "versions": [plain(report) for report in one.reports],
        }
        for one in events([request.participant], request.viewer)
    ]


def holds_of(request: Any, number: str) -> Any:
    """The stretches of time in which no cycle may start."""
    check_may_read(request)
    rows = Hold.objects.filter(participant=request.participant).order_by("since", "id")
    return [_fields(row, but={"participant"}) for row in rows]


def queries_of(request: Any, number: str) -> Any:
    """The queries, open and closed."""
    check_may_read(request)
    rows = Asked.objects.filter(participant=request.participant).order_by("opened_at", "id")
    return [_fields(row, but={"participant"}) for row in rows]


def _fields(row: Any, but: set[str]) -> dict[str, Any]:
    names = [part.name for part in row._meta.concrete_fields if part.name not in but]
    return {name: plain(getattr(row, f"{name}_id" if _is_key(row, name) else name)) for name in names}


def _is_key(row: Any, name: str) -> bool:
    return bool(row._meta.get_field(name).is_relation)


def _today(request: Any) -> Any:
    return clock.today(request.participant.site.zone)
