"""A trial in conduct for tests: made once for each protocol and copied; people of every role, three sites."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from equipoise.conduct import opening
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.initialise import initialise

PASSWORD = "correct horse battery staple"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SITES = {1: ("Northfield", "Denmark", "Europe/Copenhagen"), 2: ("Westbrook", "USA", "America/New_York"),
         3: ("Eastgate", "Thailand", "Asia/Bangkok")}  # fmt: skip
PEOPLE = {
    "ada": ("Ada Example", [("coordinator", 1)]),
    "ivo": ("Ivo Example", [("investigator", 1)]),
    "pia": ("Pia Example", [("pharmacist", 1)]),
    "cas": ("Cas Example", [("coordinator", 2)]),
    "ina": ("Ina Example", [("investigator", 2)]),
    "mona": ("Mona Example", [("monitor", None)]),
    "theo": ("Theo Example", [("trial manager", None)]),
    "stan": ("Stan Example", [("unblinded statistician", None)]),
    "rosa": ("Rosa Example", [("inspector", None)]),
}
"""Name -> printed name, duties. The administrator is "admin"."""


def _hash_cheaply() -> None:
    """Passwords of tests are hashed as those of a trial are, with less work."""
    from equipoise.conduct.hashing import PasswordHasher

    PasswordHasher.time_cost = 1
    PasswordHasher.memory_cost = 64
    PasswordHasher.parallelism = 1


@cache
def _template(protocol: str) -> Path:
    from equipoise.conduct import clock

    _hash_cheaply()
    path = Path(mkdtemp(prefix="equipoise-template-")) / "trial"
    with clock.at(START):
        initialise(path, protocol, kind="rehearsal")
        fill()
    return path


def fill() -> None:
    """Sites and people for the trial that is open, whose administrator is "admin"."""
    _choose_password("admin")
    for name, (full_name, held) in PEOPLE.items():
        do("person.add", "admin", username=name, full_name=full_name)
        _choose_password(name)
        for role, site in held:
            if site is None:
                _grant(name, role, None)
    for number, (place, country, zone) in SITES.items():
        do("site.add", "theo", number=number, name=place, country=country, zone=zone, reason="planned")
        do(
            "site.open", "theo", number=number, approved_on=date(2026, 3, 1),
            protocol_sha256=opening.folder().protocol_sha256,
        )  # fmt: skip
    for name, (_, held) in PEOPLE.items():
        for role, site in held:
            if site is not None:
                _grant(name, role, site)


def _choose_password(name: str) -> None:
    from django.contrib.auth.hashers import make_password

    from equipoise.conduct import rescue
    from equipoise.conduct.models import Person

    rescue.set_password(Person.objects.get(username=name), make_password(PASSWORD))


def _grant(name: str, role: str, site: int | None) -> None:
    do(
        "duty.grant", "admin", username=name, role=role, site=site, since=date(2026, 3, 2),
        trained_on=date(2026, 3, 1),
    )  # fmt: skip


def copied(folder: Path, protocol: str = "silcaat") -> TrialFolder:
    """A trial of one's own in `folder`, open, as the template left it at `START`."""
    template = _template(protocol)
    from django.db import connections

    connections.close_all()
    shutil.copytree(template, folder)
    return opening.use(folder)


def actor(name: str, **proved: Any) -> Any:
    """Somebody of the trial who has proved all that there is to prove."""
    from equipoise.conduct.gateway import Actor
    from equipoise.conduct.models import Person

    given: dict[str, Any] = {"second_factor": True, "proved": True, **proved}
    return Actor(Person.objects.get(username=name), "test", **given)


def do(command: str, who: str, *, key: str | None = None, **inputs: Any) -> Mapping[str, Any]:
    """Carry out a command as that person."""
    from equipoise.conduct.gateway import perform

    return perform(command, actor(who), inputs, key)
