"""The trial of a rehearsal: a new folder of its own kind on an empty database, with sites where the virtual
candidates come, and people who work there."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

from equipoise.conduct import clock, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.initialise import initialise
from equipoise.conduct.rehearsal.client import Staff
from equipoise.conduct.rehearsal.clinic import Site
from equipoise.conduct.rehearsal.people import Candidate
from equipoise.errors import UserError

ZONES = {
    "Argentina": "America/Argentina/Buenos_Aires", "Australia": "Australia/Sydney",
    "Austria": "Europe/Vienna", "Belgium": "Europe/Brussels", "Brazil": "America/Sao_Paulo",
    "Canada": "America/Toronto", "Chile": "America/Santiago", "Denmark": "Europe/Copenhagen",
    "France": "Europe/Paris", "Gambia": "Africa/Banjul", "Germany": "Europe/Berlin",
    "Ireland": "Europe/Dublin", "Israel": "Asia/Jerusalem", "Italy": "Europe/Rome", "Japan": "Asia/Tokyo",
    "Morocco": "Africa/Casablanca", "Netherlands": "Europe/Amsterdam", "Norway": "Europe/Oslo",
    "Poland": "Europe/Warsaw", "Portugal": "Europe/Lisbon", "Seychelles": "Indian/Mahe",
    "Singapore": "Asia/Singapore", "Spain": "Europe/Madrid", "Sweden": "Europe/Stockholm",
    "Switzerland": "Europe/Zurich", "Thailand": "Asia/Bangkok", "UK": "Europe/London",
    "United Kingdom": "Europe/London", "USA": "America/New_York",
}  # fmt: skip
"""Where it is what time; other countries keep UTC."""
TOKEN_DAYS = 366
"""The longest that a token lasts, as in `inputs.IssueToken`."""
LEAD_DAYS = 7
"""The sites are opened so many days before the first candidate comes (assumed)."""


@dataclass(frozen=True)
class Prepared:
    """A trial that is ready to be rehearsed. `people`: everybody by name, whose tokens must be renewed."""

    folder: TrialFolder
    sites: dict[int, Site]
    people: dict[str, Staff]
    begin: date


def prepare_trial(
    path: Path,
    protocol: str | Path,
    candidates: Sequence[Candidate],
    *,
    database: str,
    seed: int,
    places: int,
) -> Prepared:
    """Make the trial of a rehearsal. Raises UserError when the folder or the database is not empty."""
    begin = min(candidate.first_day for candidate in candidates) - timedelta(days=LEAD_DAYS)
    with _on(begin):
        trial, _ = initialise(path, protocol, database=database, kind="rehearsal", places=places)
        _seed_allocation(trial, seed)
        people = _people(candidates, begin)
        sites = _sites(trial, candidates, people, begin)
    from django.db import connections

    connections.close_all()
    return Prepared(trial, sites, people, begin)


@contextlib.contextmanager
def _on(day: date) -> Iterator[None]:
    with clock.at(datetime.combine(day, time_of_day(10, tzinfo=UTC))):
        yield


def _seed_allocation(trial: TrialFolder, seed: int) -> None:
    """Make the secret of allocation follow from the seed, so that a rehearsal can be repeated. Nobody real is
    ever randomised with it."""
    if trial.kind != "rehearsal":
        raise UserError("only a rehearsal may have a sequence that can be repeated")
    file = trial.path / "keys" / "allocation.key"
    key = hashlib.sha256(f"rehearsal {trial.protocol_sha256} {seed}".encode()).hexdigest()
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(key + "\n")


def perform_as(who: str, command: str, /, **inputs: Any) -> dict[str, Any]:
    """Carry out a command for somebody of the rehearsal at its set-up, at the command line."""
    from equipoise.conduct.gateway import Actor, perform
    from equipoise.conduct.models import Person

    person = Person.objects.get(username=who)
    return perform(command, Actor(person, "command line", second_factor=True, proved=True), inputs)


def _people(candidates: Iterable[Candidate], begin: date) -> dict[str, Staff]:
    """Two coordinators and an investigator for each country, a trial manager, an unblinded statistician."""
    passwords: dict[str, str] = {}
    countries = sorted({candidate.country for candidate in candidates})
    wanted = [("manager", "Max Example, trial manager"), ("statistician", "Sam Example, statistician")]
    for place, country in enumerate(countries, 1):
        for kind in ("coordinator", "colleague", "investigator"):
            wanted.append((f"{kind}.{place}", f"{kind.capitalize()} Example, {country}"))
    for username, full_name in wanted:
        passwords[username] = perform_as("admin", "person.add", username=username, full_name=full_name)[
            "password"
        ]
    for username, role in (("manager", "trial manager"), ("statistician", "unblinded statistician")):
        _grant(username, role, None, begin)
    return {name: Staff(name, "", password) for name, password in passwords.items()}


def _grant(username: str, role: str, site: int | None, begin: date) -> None:
    perform_as("admin", "duty.grant", username=username, role=role, site=site, since=begin, trained_on=begin)


def _sites(
    trial: TrialFolder, candidates: Sequence[Candidate], people: dict[str, Staff], begin: date
) -> dict[int, Site]:
    """A site wherever candidates come, open, with the staff of its country."""
    countries = sorted({candidate.country for candidate in candidates})
    where = {candidate.site: candidate.country for candidate in candidates}
    for number, country in sorted(where.items()):
        perform_as(
            "manager", "site.add", number=number, name=f"{country} {number}", country=country,
            zone=ZONES.get(country, "UTC"), reason="site of the rehearsal",
        )  # fmt: skip
        perform_as(
            "manager", "site.open", number=number, approved_on=begin, protocol_sha256=trial.protocol_sha256
        )
        place = countries.index(country) + 1
        for kind, role in (("coordinator",) * 2, ("colleague", "coordinator"), ("investigator",) * 2):
            _grant(f"{kind}.{place}", role, number, begin)
    for username in list(people):
        people[username].renew(issue_token(username))
    staffed = {}
    for number, country in where.items():
        place = countries.index(country) + 1
        staffed[number] = Site(
            *(people[f"{kind}.{place}"] for kind in ("coordinator", "colleague", "investigator"))
        )
    return staffed


def issue_token(username: str) -> str:
    """A token for everything that the person may do, as they would issue it after logging in."""
    issued = perform_as(username, "token.issue", label="rehearsal", scopes=["all"], days=TOKEN_DAYS)
    return str(issued["token"])


def reopen(trial: TrialFolder) -> TrialFolder:
    """Turn to the trial again, after another process served it."""
    return opening.use(trial.path)
