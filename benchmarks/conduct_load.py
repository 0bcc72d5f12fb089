"""How fast a trial in conduct is at the size of ESPRIT: pages with many users at once, export, backup.

A demonstration is made by the real commands, followed for years, and copied participant by participant (rows
with new identifiers, entries of the ledger chained anew) until there are as many participants, and entries,
as asked for. It is then served by the real server. Each user looks at a page, thinks for some seconds
(exponential), and looks at the next: Today and the chart of a participant of theirs in turn.

python benchmarks/conduct_load.py                                   # 4,150 participants, SQLite, 10 users
python benchmarks/conduct_load.py --database postgresql --users 50  # a PostgreSQL of its own, from the wheel
python benchmarks/conduct_load.py --participants 415 --years 2      # smaller, for a look
"""

from __future__ import annotations

import argparse
import http.client
import random
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SITES_PER_COUNTRY = 20
TEMPLATE = 24
"""Participants of the demonstration that is copied."""
BATCH = 5000
PASSED_MS = 300.0
WARM_SECONDS = 15.0
"""Everybody has looked at some pages before they are timed."""


# --- filling ----------------------------------------------------------------------------------------------


class Copy:
    """One copy of the participants of the template: other identifiers, other numbers, another site."""

    def __init__(self, number: int, template: Template) -> None:
        self.number, self.template = number, template
        self.mask = random.Random(number).getrandbits(128)
        self.shift = len(template.sites) * (number % SITES_PER_COUNTRY)

    def id(self, old: uuid.UUID) -> uuid.UUID:
        return uuid.UUID(int=old.int ^ self.mask)

    def text(self, old: str) -> str:
        """A text, with the identifiers and numbers in it changed."""
        if old in self.template.numbers:
            return self.number_of(old)
        try:
            return str(self.id(uuid.UUID(old))) if len(old) == 36 else old
        except ValueError:
            return old

    def number_of(self, old: str) -> str:
        from equipoise.conduct.commands.screening import screening_number

        site, place, _ = old.split("-")
        step = int(place) + 100 * (self.number // SITES_PER_COUNTRY)
        return screening_number(int(site) + self.shift, step)


class Template:
    """The rows of the participants that are copied: all but those in screening, of whom a trial that is full
    has few."""

    def __init__(self) -> None:
        from equipoise.conduct import models

        whose = {
            models.Participant: "", models.Allocation: "participant__", models.Form: "participant__",
            models.Value: "form__participant__", models.Medication: "participant__",
            models.Query: "participant__", models.QueryMessage: "query__participant__",
            models.Due: "participant__", models.Decision: "participant__",
            models.Flag: "decision__participant__", models.Cycle: "participant__",
            models.Injection: "cycle__participant__", models.Hold: "participant__",
            models.Event: "participant__", models.EventVersion: "event__participant__",
        }  # fmt: skip
        screening = models.Participant.objects.filter(status=models.Participant.SCREENING)
        apart = list(screening.values_list("number", flat=True))
        self.rows: dict[Any, list[dict[str, Any]]] = {
            model: list(model.objects.exclude(**{f"{path}number__in": apart}).values())
            for model, path in whose.items()
        }
        self.rows[models.Signature] = list(
            models.Signature.objects.exclude(participant__in=[*apart, ""]).values()
        )
        self.models = list(self.rows)
        self.numbers = {row["number"] for row in self.rows[models.Participant]}
        self.candidates = models.Participant.objects.count()
        self.sites = list(models.Site.objects.values())
        self.entries = list(models.Entry.objects.exclude(participant__in=[*apart, ""]).order_by("n").values())
        self.randomized = len(self.rows[models.Allocation])


def fill(trial: Any, participants: int, entries: int) -> tuple[int, int]:
    """Copy until there are so many participants and entries; how many there are."""
    from django.db import connection, transaction

    from equipoise.conduct.models import Chain, Entry, Participant, Site, Trial

    template = Template()
    copies = -(-participants // len(template.numbers)) - 1
    again = max(0, round(entries / max(1, len(template.entries) * (copies + 1))) - 1)
    for site in template.sites:
        for step in range(1, SITES_PER_COUNTRY):
            number = site["number"] + len(template.sites) * step
            Site.objects.create(**{**site, "number": number, "name": f"Site {number} (fictitious)"})
    head = Chain.objects.get(id=1)
    state = [head.n, head.hash]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
    for number in range(1, copies + 1):
        copy = Copy(number, template)
        with transaction.atomic():
            for model in template.models:
                _add(model, (_row(copy, model, row, trial) for row in template.rows[model]))
            for _ in range(again + 1):
                _add(Entry, _chained(copy, template, state))
            Chain.objects.filter(id=1).update(n=state[0], hash=state[1])
        print(f"\rcopy {number} of {copies}, entry {state[0]:,}", end="", file=sys.stderr)
    print(file=sys.stderr)
    allocated = Participant.objects.exclude(randomized_on=None).count()
    places = max(allocated + 100, Trial.objects.get(id=1).places)
    Trial.objects.update(allocated=allocated, screened=Participant.objects.count(), places=places)
    from equipoise.conduct import ledger

    ledger.write_checkpoint(trial, state[0], state[1], head.at)
    return Participant.objects.count(), state[0]


def _add(model: Any, rows: Iterator[Any]) -> None:
    while batch := list(islice(rows, BATCH)):
        model.objects.bulk_create(batch, batch_size=BATCH)


def _row(copy: Copy, model: Any, old: dict[str, Any], trial: Any) -> Any:
    """One row of a copy."""
    from equipoise.conduct import due, models, sealing

    new: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        value = old[field.attname]
        if field.primary_key and isinstance(value, int) and model is not models.Site:
            continue
        if isinstance(value, uuid.UUID):
            value = copy.id(value)
        elif isinstance(value, str):
            value = copy.text(value)
        new[field.attname] = value
    if model is models.Participant:
        new["candidate"] += copy.template.candidates * copy.number
        new["site_id"] += copy.shift
        if new["randomized_number"]:
            new["randomized_number"] += copy.template.randomized * copy.number
    if model is models.Allocation:
        new["sequence"] += copy.template.randomized * copy.number
        new["position"] += copy.template.randomized * copy.number
        key = trial.key("allocation")
        arm = sealing.unseal(key, old["sealed_arm"], sealing.bound(old["id"], old["participant_id"]))
        new["sealed_arm"] = sealing.seal(key, arm, sealing.bound(new["id"], new["participant_id"]))
    if model is models.Due and old["sealed"]:
        hidden = due._opened(models.Due(**old)) or []
        new["sealed"] = due._seal(models.Participant(id=new["participant_id"]), hidden)
    return model(**new)


def _chained(copy: Copy, template: Template, state: list[Any]) -> Iterator[Any]:
    """The entries of a copy, following the head."""
    from equipoise.conduct import ledger
    from equipoise.conduct.models import Entry

    for old in template.entries:
        state[0] += 1
        fields = {
            **old, "n": state[0], "act": copy.id(old["act"]), "subject": copy.text(old["subject"]),
            "participant": copy.number_of(old["participant"]),
            "site": None if old["site"] is None else old["site"] + copy.shift,
        }  # fmt: skip
        previous = state[1]
        state[1] = ledger.entry_hash(previous, fields)
        yield Entry(**{**fields, "previous": previous, "hash": state[1]})


# --- users ------------------------------------------------------------------------------------------------


def sessions(users: int) -> list[tuple[str, list[str]]]:
    """(session, addresses of charts) of so many coordinators, each at a site of their own. The charts are
    those of the quarter of its participants with most forms: whoever has few is quick to draw."""
    import secrets

    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.db.models import Count

    from equipoise.conduct import accounts, clock, duties, rescue
    from equipoise.conduct.models import Duty, Participant, Person, Site

    made = []
    sites = list(Site.objects.filter(participants__isnull=False).distinct().order_by("number"))
    for number in range(users):
        site = sites[number * len(sites) // users]
        name = f"load{number}-{secrets.token_hex(3)}"  # not one of an earlier run
        person = Person(username=name, full_name=f"Load Example {number}", created_at=clock.now())
        person.set_password(secrets.token_urlsafe(12))
        person.must_change_password = False
        person.save()
        rescue.activate_code(person)
        since = clock.now().date() - timedelta(days=1)
        Duty.objects.create(
            person=person, role=duties.COORDINATOR, site=site, since=since, trained_on=since,
            granted_by="admin", granted_at=clock.now(),
        )  # fmt: skip
        session = SessionStore()
        session[SESSION_KEY] = str(person.pk)
        session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
        session[HASH_SESSION_KEY] = person.get_session_auth_hash()
        session["account_authentication_methods"] = [{"method": "mfa", "type": "totp", "at": time.time()}]
        session["seen"] = accounts.seconds()
        session.save()
        longest = (
            Participant.objects.filter(site=site).annotate(forms_held=Count("forms")).order_by("-forms_held")
        )
        charts = [f"/participant/{one.number}/" for one in longest[: -(-longest.count() // 4)]]
        made.append((str(session.session_key), charts))
    return made


def look(
    port: int, held: list[tuple[str, list[str]]], think: float, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of each kind of page, looked at by all users at once for so long."""
    found: dict[str, list[float]] = {"today": [], "chart": []}
    wrong: list[str] = []
    until = time.monotonic() + seconds

    def user(number: int, session: str, charts: list[str]) -> None:
        chance = random.Random(number)
        time.sleep(chance.random() * think)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < until:
            kind = "today" if chance.random() < 0.5 else "chart"
            page = "/" if kind == "today" else chance.choice(charts)
            began = time.perf_counter()
            try:
                try:
                    answer = fetch(connection, page, session)
                except (
                    http.client.RemoteDisconnected
                ):  # the server had let it go meanwhile: as a browser does
                    connection.close()
                    answer = fetch(connection, page, session)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"{kind}: {error!r}")
                return
            found[kind].append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                wrong.append(f"{kind}: {answer.status} {answer.headers.get('Location', '')}")
            time.sleep(chance.expovariate(1 / think) if think else 0)

    threads = [threading.Thread(target=user, args=(n, *one)) for n, one in enumerate(held)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{len(wrong)} pages were not served: {wrong[0]}")
    return found


def fetch(connection: http.client.HTTPConnection, page: str, session: str) -> http.client.HTTPResponse:
    """One page, read to its end."""
    connection.request("GET", page, headers={"Cookie": f"session={session}"})
    answer = connection.getresponse()
    answer.read()
    return answer


def told(name: str, milliseconds: list[float]) -> str:
    ordered = sorted(milliseconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return (
        f"{name:<8}{len(ordered):>6} pages   median {statistics.median(ordered):7.1f} ms   "
        f"95% {p95:7.1f} ms   "
        f"{'good' if p95 < PASSED_MS else 'TOO SLOW'}"
    )


# --- the whole --------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path, workers: int) -> Iterator[int]:
    from equipoise.conduct import serving

    port = 8900 + random.randrange(90)
    server = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "conduct", "serve", str(folder), "--port", str(port),
         "--workers", str(workers)], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("Open "):
            break
    try:
        yield port
    finally:
        server.terminate()
        server.wait(timeout=serving.GRACE_SECONDS + 10)


def timed(name: str, program: str) -> None:
    """Run a piece of work in a process of its own; its time and its peak of memory."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{name:<24}{seconds:8.1f} s   peak of all such processes so far {peak:,.0f} MB")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--participants", type=int, default=4150)
    asked.add_argument("--entries", type=int, default=5_000_000)
    asked.add_argument("--years", type=float, default=5.0)
    asked.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    asked.add_argument("--users", type=int)
    asked.add_argument("--think", type=float, default=5.0)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--keep", type=Path, help="use this folder, or leave the trial there")
    given = asked.parse_args()
    folder = given.keep or Path(mkdtemp(prefix="equipoise-load-")) / "trial"
    try:
        measure(given, folder)
    finally:
        if given.keep is None:
            shutil.rmtree(folder.parent, ignore_errors=True)


def measure(given: argparse.Namespace, folder: Path) -> None:
    from equipoise.conduct import demo, opening

    if not folder.exists():
        database = "sqlite"
        if given.database == "postgresql":
            from conduct_postgres import server

            started = server()
            database = started.address(started.new_database())
        began = time.perf_counter()
        made = demo.make(folder, participants=TEMPLATE, database=database, days=round(365 * given.years))
        print(f"template                {time.perf_counter() - began:8.1f} s")
        began = time.perf_counter()
        people, entries = fill(made.trial, given.participants, given.entries)
        print(f"copying                 {time.perf_counter() - began:8.1f} s   {people:,} participants, "
              f"{entries:,} entries")  # fmt: skip
    trial = opening.use(folder)
    if trial.uses_sqlite:
        print(f"database                {trial.database_file.stat().st_size / 1e6:8.0f} MB")
    users = given.users or (10 if trial.uses_sqlite else 50)
    held = sessions(users)
    opening.close()
    with served(folder, given.workers) as port:
        look(port, held, given.think, WARM_SECONDS)
        for name, milliseconds in look(port, held, given.think, given.seconds).items():
            print(told(name, milliseconds))
        backup = f"from equipoise.conduct import backup; backup.backup({str(folder)!r})"
        timed("backup while in use", backup)
    places = f"{str(folder)!r}, {f'{folder}-record'!r}"
    export = f"from equipoise.conduct import exporting as e; e.export({places})"
    timed("export of the record", export)
    timed(
        "export of the ledger", export.replace("e.export(", "e.export_ledger(").replace("-record", "-trail")
    )
    for name in ("-record", "-trail"):
        shutil.rmtree(f"{folder}{name}", ignore_errors=True)


if __name__ == "__main__":
    main()
