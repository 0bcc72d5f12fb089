"""Who takes part in a demonstration: sites in the countries of the protocol, and people of every role."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from equipoise.conduct import clock, duties, rescue
from equipoise.conduct.demo import Member
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import Actor, perform
from equipoise.conduct.models import Person, Site

SITES = 5
TOWNS = ("Northfield", "Westbrook", "Eastgate", "Southmere", "Midvale")
COORDINATORS = ("Ada", "Cas", "Dora", "Eli", "Fay")
INVESTIGATORS = ("Ivo", "Ina", "Jon", "Kim", "Lea")
PHARMACISTS = ("Pia", "Pete", "Quinn", "Rhea", "Sol")
OF_THE_TRIAL = (
    ("Mona", duties.MONITOR), ("Theo", duties.MANAGER), ("Stan", duties.STATISTICIAN),
    ("Rosa", duties.INSPECTOR),
)  # fmt: skip
ADMINISTRATOR = "admin"
ZONES = {
    "Argentina": "America/Argentina/Buenos_Aires", "Australia": "Australia/Sydney",
    "Austria": "Europe/Vienna", "Belgium": "Europe/Brussels", "Brazil": "America/Sao_Paulo",
    "Canada": "America/Toronto", "Denmark": "Europe/Copenhagen", "Finland": "Europe/Helsinki",
    "France": "Europe/Paris", "Germany": "Europe/Berlin", "Ireland": "Europe/Dublin",
    "Israel": "Asia/Jerusalem", "Italy": "Europe/Rome", "Japan": "Asia/Tokyo", "Morocco": "Africa/Casablanca",
    "Netherlands": "Europe/Amsterdam", "Norway": "Europe/Oslo", "Poland": "Europe/Warsaw",
    "Portugal": "Europe/Lisbon", "Singapore": "Asia/Singapore", "South Africa": "Africa/Johannesburg",
    "Spain": "Europe/Madrid", "Sweden": "Europe/Stockholm", "Switzerland": "Europe/Zurich",
    "Thailand": "Asia/Bangkok", "UK": "Europe/London", "United Kingdom": "Europe/London",
    "USA": "America/New_York",
}  # fmt: skip
"""Zones of the countries of the bundled protocols; another country gets that of the trial."""


def do(command: str, who: str, **inputs: Any) -> dict[str, Any]:
    """Carry out a command as that person, who has proved all that there is to prove."""
    actor = Actor(Person.objects.get(username=who), "demonstration", second_factor=True, proved=True)
    return perform(command, actor, inputs)


def countries(trial: TrialFolder) -> list[str]:
    """The countries with most participants, one for each site."""
    simulation = trial.protocol.simulation
    accrual = {} if simulation is None else simulation.accrual
    most = sorted(accrual, key=lambda name: -accrual[name])
    return [most[n % len(most)] if most else "USA" for n in range(SITES)]


def gather(trial: TrialFolder, password: str) -> tuple[Member, ...]:
    """Sites and people, all with the same password and a second factor each."""
    from django.contrib.auth.hashers import make_password

    encoded = make_password(password)
    found = [Member(ADMINISTRATOR, "Administrator", duties.ADMINISTRATOR, "the trial")]
    rescue.set_password(Person.objects.get(username=ADMINISTRATOR), encoded)
    for name, role in OF_THE_TRIAL:
        found.append(_join(name, role, None, encoded))
    for number, (town, country) in enumerate(zip(TOWNS, countries(trial), strict=True), start=1):
        _open_site(trial, number, town, country)
        for names, role in (
            (COORDINATORS, duties.COORDINATOR), (INVESTIGATORS, duties.INVESTIGATOR),
            (PHARMACISTS, duties.PHARMACIST),
        ):  # fmt: skip
            found.append(_join(names[number - 1], role, number, encoded))
    for member in found:
        rescue.activate_code(Person.objects.get(username=member.username))
    return tuple(found)


def _open_site(trial: TrialFolder, number: int, town: str, country: str) -> None:
    do(
        "site.add", "theo", number=number, name=f"{town} Hospital (fictitious)", country=country,
        zone=ZONES.get(country, trial.zone), reason="planned site of the demonstration",
    )  # fmt: skip
    approved = clock.today(trial.zone) - timedelta(days=1)
    do("site.open", "theo", number=number, approved_on=approved, protocol_sha256=trial.protocol_sha256)


def _join(name: str, role: str, site: int | None, encoded: str) -> Member:
    username, printed = name.lower(), f"{name} Example"
    do("person.add", ADMINISTRATOR, username=username, full_name=printed)
    rescue.set_password(Person.objects.get(username=username), encoded)
    today = clock.today("UTC") - timedelta(days=1)
    do("duty.grant", ADMINISTRATOR, username=username, role=role, site=site, since=today, trained_on=today)
    where = "the trial" if site is None else f"site {site}, {Site.objects.get(number=site).name}"
    return Member(username, printed, role, where)
