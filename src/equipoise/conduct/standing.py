"""How a trial stands, for who keeps its machine: numbers without any arm, value or name of a participant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from equipoise.conduct import entering, serving
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.models import Chain, Participant, Person, Query, Site, Trial


def lines(trial: TrialFolder) -> list[tuple[str, str]]:
    """(what, words) for each thing that is told."""
    row = Trial.objects.get(id=1)
    told = [
        (
            "trial",
            f"{row.name}, {row.kind}; set up {_at(trial, row.activated_at)} by Equipoise {row.software}",
        ),
        ("protocol", row.protocol_sha256),
        ("database", _database(trial)),
        ("sites", _sites()),
        ("people", _counted(Person.objects.filter(is_active=True).count(), "account", "accounts")),
        ("participants", _participants(row)),
        ("queries", f"{Query.objects.filter(state__in=(Query.OPEN, Query.ANSWERED)).count():,} not closed"),
        ("ledger", _ledger(trial)),
        ("server", _server(trial)),
        ("backups", _backups(trial)),
    ]
    if row.suspended:
        told.append(("SUSPENDED", f"nobody may be randomised: {row.suspended}"))
    if row.frozen:
        told.append(("FROZEN", f"nothing may be changed: {row.frozen}"))
    return told


def _at(trial: TrialFolder, moment: datetime) -> str:
    there = moment.astimezone(ZoneInfo(trial.zone))
    return f"{entering.short(there)} {there:%H:%M} ({trial.zone})"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _database(trial: TrialFolder) -> str:
    if trial.uses_sqlite:
        return f"SQLite, {trial.database_file.stat().st_size / 1e6:,.1f} MB"
    return "PostgreSQL"


def _sites() -> str:
    sites: Any = Site.objects.all()
    opened = sites.filter(opened_on__isnull=False, closed_on__isnull=True).count()
    return f"{_counted(sites.count(), 'site', 'sites')}, {opened} open"


def _participants(row: Trial) -> str:
    screened = Participant.objects.count()
    failed = Participant.objects.filter(status=Participant.FAILED).count()
    return (
        f"{screened:,} screened, {failed:,} screen failures, {row.allocated:,} of {row.places:,} randomised"
    )


def _ledger(trial: TrialFolder) -> str:
    head = Chain.objects.get(id=1)
    last = "" if head.at is None else f", the last of {_at(trial, head.at)}"
    return f"{_counted(head.n, 'entry', 'entries')}{last}"


def _server(trial: TrialFolder) -> str:
    running = serving.served(trial)
    if running is None:
        return "not running on this machine"
    return f"running at {running.get('address', '?')} (process {running.get('process', '?')})"


def _backups(trial: TrialFolder) -> str:
    found: list[Path] = sorted(
        (one for one in (trial.path / "backups").glob("*") if one.is_file()),
        key=lambda one: one.stat().st_mtime,
    )
    if not found:
        return "none in the folder of the trial"
    return f"{len(found):,} in the folder of the trial, the last {found[-1].name}"
