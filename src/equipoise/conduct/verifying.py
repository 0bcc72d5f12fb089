"""Whether a trial is what its ledger says: what was altered, taken out or put in is found and named.

Looked at, in this order: the chain of the ledger against its signed checkpoints; the triggers that keep rows
from being changed; the protocol; every row of the trial against the entries that made it; signatures;
allocations, replayed from the key; the journal beside the database. Everything is read in pieces, so that a
trial of any size can be verified.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, models

from equipoise.conduct import clock, entering, journal, ledger, opening
from equipoise.conduct.commands import randomization
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import as_text
from equipoise.conduct.models import (
    Allocation,
    AllocationError,
    Chain,
    Cycle,
    Decision,
    Duty,
    Entry,
    Event,
    EventVersion,
    Flag,
    Form,
    Hold,
    Injection,
    Medication,
    Participant,
    Person,
    Query,
    Signature,
    Site,
    Trial,
    Value,
)
from equipoise.conduct.reading import forms as reading
from equipoise.errors import UserError
from equipoise.protocol import canonical, loads, sha256

CHUNK = 500
MOST_CHECKPOINTS = 100_000
"""Signed checkpoints that are looked at one by one (assumed); of a longer file an even choice, and all of
its end."""
LAST_CHECKPOINTS = 1000
"""As many are its end (assumed)."""


class Kept(NamedTuple):
    """A table whose rows are compared with the ledger, and the word that the ledger uses for it. `untouched`
    are fields that hold what a new row holds, until the ledger says otherwise. Rows of a table that is not
    `strict` are added together with another thing, without an entry of their own."""

    model: type[models.Model]
    kind: str
    untouched: tuple[str, ...] = ()
    strict: bool = True


KEPT = (
    Kept(Site, "site", ("opened_on", "closed_on", "protocol_sha256")),
    Kept(Person, "person", ("is_active",)),
    Kept(Duty, "duty"),
    Kept(
        Participant,
        "participant",
        (
            "failure_reason",
            "randomized_number",
            "randomized_on",
            "strata",
            "baseline",
            "ended_on",
            "ended_how",
        ),
    ),
    Kept(Allocation, "allocation"),
    Kept(AllocationError, "allocation error"),
    Kept(Form, "form", ("not_done_reason", "completed_at")),
    Kept(Medication, "medication", ("removed",)),
    Kept(Query, "query", ("confirmed",)),
    Kept(Decision, "decision"),
    Kept(Cycle, "cycle", ("completed_at",)),
    Kept(Injection, "injection", ("state", "time", "place", "symptoms"), strict=False),
    Kept(Hold, "hold", ("until",)),
    Kept(Event, "event", ("removed",)),
    Kept(Flag, "flag", ("settled", "settled_by")),
)

NOT_TOLD = frozenset({"password"})
"""Fields of which the ledger says that they were changed, never to what."""


def verify(path: str | os.PathLike[str] | TrialFolder) -> list[str]:
    """Everything that is wrong with a trial, in words; empty when nothing is."""
    trial = opening.use(path)
    return [*ledger_problems(trial), *state_problems(trial)]


# --- the ledger -------------------------------------------------------------------------------------------


def ledger_problems(trial: TrialFolder) -> list[str]:
    """What is wrong with the ledger, its head and its checkpoints."""
    head = Chain.objects.filter(id=1).values_list("n", "hash").first()
    if head is None:
        return ["the ledger has no head: it was taken out"]
    entries = Entry.objects.filter(n__lte=head[0]).order_by("n").values().iterator(chunk_size=2000)
    statements = _up_to(head[0], thinned(trial.journal / ledger.CHECKPOINTS))
    found = [one.words for one in ledger.verify_chain(entries, statements, ledger.public_key(trial), head)]
    beyond = Entry.objects.filter(n__gt=head[0]).count()
    if beyond and Chain.objects.get(id=1).n == head[0]:
        found.append(f"{beyond} entries stand behind the head of the ledger: they were put there")
    return found


def _up_to(
    n: int, statements: Iterable[tuple[int, ledger.Checkpoint | None]]
) -> Iterator[tuple[int, ledger.Checkpoint | None]]:
    """The checkpoints, without those that other processes wrote for entries made while we look on. What is
    behind the head of the database but was signed long before is a tail that was cut off, and stays."""
    began = ledger.utc(clock.now())
    for line, one in statements:
        if one is not None and one.n > n and one.at > began:
            continue
        yield line, one


def thinned(file: Path) -> Iterator[tuple[int, ledger.Checkpoint | None]]:
    """The checkpoints of a file; of a very long one every so many, and the last ones."""
    if not file.exists():
        return
    with file.open("rb") as content:
        lines = sum(1 for _ in content)
    every = max(1, lines // MOST_CHECKPOINTS)
    for line, one in ledger.checkpoints(file):
        if one is None or line % every == 0 or line > lines - LAST_CHECKPOINTS:
            yield line, one


# --- what the tables hold ---------------------------------------------------------------------------------


def state_problems(trial: TrialFolder) -> list[str]:
    """What is wrong with everything but the ledger itself."""
    return [
        *trigger_problems(),
        *protocol_problems(trial),
        *trial_row_problems(),
        *(problem for kept in KEPT for problem in row_problems(kept)),
        *report_problems(),
        *value_problems(trial),
        *signature_problems(),
        *randomization.replay(trial),
        *sealed_problems(),
        *journal_problems(trial),
    ]


def protected_tables() -> tuple[str, ...]:
    """The tables whose rows are added and never changed."""
    return tuple(import_module("equipoise.conduct.migrations.0002_append_only").TABLES)


def trigger_problems() -> list[str]:
    """Triggers that are missing or switched off."""
    postgres = connection.vendor == "postgresql"
    suffixes = ("append_only", "not_emptied") if postgres else ("no_update", "no_delete")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"
            if postgres
            else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        )
        present = {name for (name,) in cursor.fetchall()}
    wanted = [f"{table}_{suffix}" for table in protected_tables() for suffix in suffixes]
    return [f"the trigger {name} is missing or switched off" for name in wanted if name not in present]


def protocol_problems(trial: TrialFolder) -> list[str]:
    """Whether the protocol is, in the folder and in the database, the one that was activated."""
    row = Trial.objects.get(id=1)
    found = []
    if sha256(loads(row.protocol, "the protocol in the database")) != row.protocol_sha256:
        found.append("the protocol in the database does not have the hash with which it was activated")
    try:
        content = trial.protocol_file.read_bytes()
        if content != row.protocol.encode() or canonical(trial.protocol) != content:
            found.append(f"{trial.protocol_file.name} is not the protocol that was activated")
    except (OSError, UserError) as error:
        found.append(f"{trial.protocol_file.name} cannot be read as a protocol: {error}")
    first = Entry.objects.order_by("n").first()
    if first is not None and first.protocol_sha256 != row.protocol_sha256:
        found.append("the first entry of the ledger names another protocol than the database")
    return found


def trial_row_problems() -> list[str]:
    """Whether the row of the trial is what the ledger says, and its counters count."""
    row = Trial.objects.get(id=1)
    found = []
    begun = Entry.objects.filter(kind="trial", field="").order_by("n").first()
    stated = _latest("trial", ["1"]).get("1", {})
    for name, default in (("places", None), ("allocated", 0), ("screened", 0), ("suspended", ""),
                          ("frozen", "")):  # fmt: skip
        text = stated.get(name, None if default is None else as_text(default))
        if text is not None and as_text(getattr(row, name)) != text:
            found.append(f"the trial's {name} is {getattr(row, name)!r}, the ledger says {text!r}")
    if begun is not None and "places" not in stated and f"{row.places} places" not in (begun.new or ""):
        found.append(f"the trial has {row.places} places, the ledger says: {begun.new}")
    for name, count in (("allocated", Allocation.objects.count()), ("screened", Participant.objects.count())):
        if getattr(row, name) != count:
            found.append(f"the trial counts {getattr(row, name)} {name}, there are {count}")
    return found


def _chunks(things: Iterable[Any]) -> Iterator[list[Any]]:
    running = iter(things)
    while chunk := list(islice(running, CHUNK)):
        yield chunk


def _latest(kind: str, subjects: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Subject -> field -> the latest text of the ledger; the field "" is what it was made with."""
    found: dict[str, dict[str, str | None]] = {}
    entries = Entry.objects.filter(kind=kind, subject__in=subjects).order_by("n")
    for subject, field, new in entries.values_list("subject", "field", "new"):
        said = found.setdefault(subject, {})
        if field or "" not in said:
            said[field] = new
    return found


def row_problems(kept: Kept) -> Iterator[str]:
    """Rows of a table that are not what the ledger says of them, that it does not know, or that are gone."""
    for rows in _chunks(kept.model.objects.order_by("pk").iterator(CHUNK)):
        said = _latest(kept.kind, [str(row.pk) for row in rows])
        for row in rows:
            yield from _row(kept, row, said.get(str(row.pk), {}))
    made = Entry.objects.filter(kind=kept.kind, field="", old=None).order_by("n")
    for subjects in _chunks(made.values_list("subject", flat=True).iterator(CHUNK)):
        keys = [key for key in map(_key(kept.model), subjects) if key is not None]
        there = {str(key) for key in kept.model.objects.filter(pk__in=keys).values_list("pk", flat=True)}
        for key in keys:
            if str(key) not in there:
                yield f"{kept.kind} {key} is gone: the ledger says that it was added"


def _key(model: type[models.Model]) -> Any:
    """From a subject of the ledger to the key of a row; None when it is no key."""

    def read(subject: str) -> Any:
        try:
            return UUID(subject) if isinstance(model._meta.pk, models.UUIDField) else int(subject)
        except ValueError:
            return None

    return read


def _row(kept: Kept, row: Any, said: Mapping[str, str | None]) -> Iterator[str]:
    if "" not in said and kept.strict:
        yield f"{kept.kind} {row.pk} has no entry in the ledger: it was put there"
        return
    stated = _stated(said)
    for name in kept.untouched:
        stated.setdefault(name, as_text(_field(kept.model, name).get_default()))
    for name, text in stated.items():
        field = _field(kept.model, name)
        if field is None or name in NOT_TOLD:
            continue
        found = _shown(row, field)
        if text not in found:
            yield (
                f"{kept.kind} {row.pk}: {name} is {_short(found[0])}, the ledger says {_short(text)}: it was "
                "changed without an entry"
            )


def report_problems() -> Iterator[str]:
    """Clinical events whose latest report is not what the ledger says."""
    for events in _chunks(Event.objects.order_by("pk").iterator(CHUNK)):
        said = _latest("event", [str(event.pk) for event in events])
        reports: dict[Any, EventVersion] = {}
        for report in EventVersion.objects.filter(event__in=events).order_by("version"):
            reports[report.event_id] = report
        for event in events:
            stated = {name: text for name, text in said.get(str(event.pk), {}).items() if name}
            for name, text in stated.items():
                field = _field(EventVersion, name)
                found = None if event.pk not in reports else getattr(reports[event.pk], name, None)
                if field is not None and as_text(found) != text:
                    yield (
                        f"event {event.pk}: {name} is {_short(as_text(found))}, the ledger says "
                        f"{_short(text)}: it was changed without an entry"
                    )


def _shown(row: Any, field: Any) -> tuple[str | None, ...]:
    """The ways in which the ledger may show the value of a field: another row by its key, or its name."""
    value = getattr(row, field.attname)
    plain = str(value) if isinstance(value, UUID) else as_text(value)
    if field.remote_field is None or value is None:
        return (plain,)
    other = getattr(row, field.name)
    return plain, getattr(other, "username", plain), getattr(other, "number", plain)


def _stated(said: Mapping[str, str | None]) -> dict[str, str | None]:
    """Field -> text, from what a thing was made with and what was changed since."""
    try:
        made = json.loads(said.get("") or "")
    except ValueError:
        made = {}
    stated = {name: as_text(value) for name, value in made.items()} if isinstance(made, dict) else {}
    return {**stated, **{name: text for name, text in said.items() if name}}


def _field(model: type[models.Model], name: str) -> Any:
    return next((field for field in model._meta.concrete_fields if field.name == name), None)


def _short(text: str | None) -> str:
    return "nothing" if text is None else f'"{text}"' if len(text) <= 60 else f'"{text[:57]}..."'


def value_problems(trial: TrialFolder) -> Iterator[str]:
    """Values that are not what the ledger says, or are not what their text says."""
    for forms in _chunks(Form.objects.select_related("participant").order_by("pk").iterator(CHUNK)):
        stored: dict[str, dict[str, Value]] = {str(form.pk): {} for form in forms}
        for value in Value.objects.filter(form__in=forms):
            stored[str(value.form_id)][value.item] = value
        said = _latest("value", list(stored))
        for form in forms:
            yield from _values(trial, form, stored[str(form.pk)], said.get(str(form.pk), {}))


def _values(
    trial: TrialFolder, form: Form, stored: Mapping[str, Value], said: Mapping[str, str | None]
) -> Iterator[str]:
    where = f"participant {form.participant.number}, form {form.kind} {form.key}"
    for item in sorted({*stored, *(name for name, text in said.items() if text is not None)}):
        value = stored.get(item)
        found = None if value is None else as_text(reading.answer_parts(value))
        if found != said.get(item):
            yield (
                f"{where}: {item} is {_short(found)}, the ledger says {_short(said.get(item))}: it was "
                "changed without an entry"
            )
        elif value is not None and not _reads_so(trial, value):
            yield f"{where}: the number or qualifier of {item} is not what its text says: it was changed"


def _reads_so(trial: TrialFolder, value: Value) -> bool:
    """Whether the number that rules use is that of the text that people entered."""
    item = reading.item_of(trial.protocol, value.item)
    try:
        read = entering.read(item, value.text, value.unit, value.missing)
    except entering.EntryError:
        return False
    return (read.number, read.qualifier) == (value.number, value.qualifier)


def signature_problems() -> Iterator[str]:
    """Signatures that their entry in the ledger does not bear out."""
    for signatures in _chunks(Signature.objects.order_by("entry").iterator(CHUNK)):
        entries = Entry.objects.in_bulk([one.entry for one in signatures])
        for one in signatures:
            entry = entries.get(one.entry)
            if entry is None or (entry.kind, entry.subject) != ("signature", str(one.id)):
                yield f"signature {one.id} of {one.person} has no entry in the ledger: it was put there"
            elif (entry.person, entry.role, entry.at, entry.participant, entry.place, entry.new) != (
                one.person, one.role, one.at, one.participant, f"{one.kind} {one.subject}",
                f"{one.meaning}: {one.content_sha256}",
            ):  # fmt: skip
                yield f"signature {one.id} of {one.person} is not what its entry says: it was changed"
    stated = Entry.objects.filter(kind="signature", field="").count()
    if stated > Signature.objects.count():
        yield f"{stated - Signature.objects.count()} signatures are gone: the ledger has their entries"


def sealed_problems() -> Iterator[str]:
    """Sealed arms that are not those that the ledger holds."""
    for allocations in _chunks(Allocation.objects.order_by("sequence").iterator(CHUNK)):
        said = _latest("allocation", [str(one.pk) for one in allocations])
        for one in allocations:
            if said.get(str(one.pk), {}).get("sealed_arm") != one.sealed_arm:
                yield f"the sealed arm of allocation {one.sequence} is not the one in the ledger"


def journal_problems(trial: TrialFolder) -> list[str]:
    """How the journal differs from the database. What is being written at this moment is given the time."""
    found = journal.compare(trial).words
    if found:
        time.sleep(0.5)
        found = journal.compare(trial).words
    return found
