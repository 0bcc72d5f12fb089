"""Whether a trial is what its ledger says: what was altered, taken out or put in is found and named.

Looked at, in this order: the chain of the ledger against its signed checkpoints; the triggers that keep rows
from being changed; the settings and the protocol; every row of the trial, column by column, against the
entries that made and changed it; values; signatures; allocations, replayed from the key; the journal beside
the database. Everything is read in pieces, so that a trial of any size can be verified.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import Max

from equipoise.conduct import clock, entering, journal, ledger, opening
from equipoise.conduct.commands import randomization
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.gateway import as_text, columns
from equipoise.conduct.models import (
    Allocation,
    AllocationError,
    Chain,
    Cycle,
    Decision,
    Draft,
    Due,
    Duty,
    Entry,
    Event,
    EventVersion,
    Flag,
    Form,
    Hold,
    Injection,
    Medication,
    Outbox,
    Participant,
    Person,
    Query,
    QueryMessage,
    Request,
    Signature,
    Site,
    Token,
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
WRITING_SECONDS = 0.5
"""What is being written beside the database at this moment is given this time (assumed)."""


class Kept(NamedTuple):
    """A table each of whose rows is compared, column by column, with what the ledger last said of it, and the
    word that the ledger uses for it. `apart`: columns that are looked at in a way of their own."""

    model: type[models.Model]
    kind: str
    apart: tuple[str, ...] = ()


KEPT = (
    Kept(Trial, "trial", ("protocol",)),  # `protocol_problems`
    Kept(Site, "site"),
    Kept(Person, "person"),
    Kept(Duty, "duty"),
    Kept(Token, "token"),
    Kept(Participant, "participant"),
    Kept(Allocation, "allocation"),
    Kept(AllocationError, "allocation error"),
    Kept(Form, "form"),
    Kept(Medication, "medication"),
    Kept(Query, "query"),
    Kept(QueryMessage, "query message"),
    Kept(Decision, "decision"),
    Kept(Flag, "flag"),
    Kept(Cycle, "cycle"),
    Kept(Injection, "injection"),
    Kept(Hold, "hold"),
    Kept(Event, "event"),
    Kept(EventVersion, "event report"),
    Kept(Signature, "signature", ("entry",)),  # `signature_problems`
)
IN_ITS_OWN_WAY = {
    Entry: "`ledger_problems`: each entry has its hash, which follows the one before",
    Chain: "`ledger_problems`: the head is the last entry",
    Value: "`value_problems`: the ledger names a value by its form and item",
}
NO_RECORD = {
    Due: "worked out from the record by the rules, again and again",
    Draft: "what somebody types and has not saved",
    Outbox: "messages about what stands in the ledger",
    Request: "answers kept for a request that comes twice; what it did stands in the ledger",
}
"""Tables that hold nothing that the ledger does not, and why. Every table of conduct is in `KEPT`, in
`IN_ITS_OWN_WAY` or here."""


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
    stones = Entry.objects.filter(command=ledger.REDACTION).order_by("n").values("kind", "subject", "new")
    key = ledger.public_key(trial)
    broken = ledger.verify_chain(entries, statements, key, head, ledger.redactions_in(stones, key))
    found = [one.words for one in broken]
    beyond = Entry.objects.filter(n__gt=head[0]).count()
    if beyond and Chain.objects.get(id=1).n == head[0]:
        found.append(f"{beyond} entries stand behind the head of the ledger: they were put there")
    return [*found, *clock_problems(), *unsigned_problems(trial)]


def clock_problems() -> Iterator[str]:
    """Whether the head of the ledger holds the latest time of its entries, below which nothing is written."""
    with transaction.atomic():
        head = Chain.objects.get(id=1)
        latest = Entry.objects.filter(n__lte=head.n).aggregate(latest=Max("at"))["latest"]
    if head.at != latest:
        said, made = _short(as_text(head.at)), _short(as_text(latest))
        yield f"the head says that the latest entry was made at {said}, it was made at {made}"


def unsigned_problems(trial: TrialFolder) -> Iterator[str]:
    """Entries at the end for which there is no signed checkpoint."""
    file = trial.journal / ledger.CHECKPOINTS
    reached, signed = _reached(file)
    if signed < reached:
        time.sleep(WRITING_SECONDS)
        signed = max(signed, _reached(file)[1])
    if signed < reached:
        yield (
            f"the last {reached - signed} of {reached} entries are not signed for: their checkpoints could "
            f"not be written to {file} (log/server.log says why), or were taken out; what is saved next is "
            "signed together with them"
        )


def _reached(file: Path) -> tuple[int, int]:
    """How far the ledger reaches, and how far it is signed for."""
    last = ledger.last_checkpoint(file)
    return Chain.objects.values_list("n", flat=True).get(id=1), 0 if last is None else last.n


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
        *settings_problems(trial),
        *protocol_problems(trial),
        *_lasting(lambda: list(counter_problems())),
        *(problem for kept in KEPT for problem in row_problems(kept)),
        *value_problems(trial),
        *signature_problems(),
        *randomization.replay(trial),
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


def settings_problems(trial: TrialFolder) -> tuple[str, ...]:
    """What trial.toml says otherwise than the trial was set up with."""
    row = Trial.objects.get(id=1)
    return trial.differing(row.name, row.kind, row.zone)


def counter_problems() -> Iterator[str]:
    """Whether the counters of the trial count."""
    row = Trial.objects.get(id=1)
    for name, count in (("allocated", Allocation.objects.count()), ("screened", Participant.objects.count())):
        if getattr(row, name) != count:
            yield f"the trial counts {getattr(row, name)} {name}, there are {count}"


def _lasting(look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds; of what it finds while others write to the ledger, what it finds twice: it reads a
    row and its entries one after the other."""
    before = Chain.objects.values_list("n", flat=True).get(id=1)
    found = look()
    if not found or Chain.objects.values_list("n", flat=True).get(id=1) == before:
        return found
    again = set(look())
    return [words for words in found if words in again]


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
    rows = kept.model.objects.order_by("pk")
    for keys in _chunks(rows.values_list("pk", flat=True).iterator(CHUNK)):
        yield from _lasting(partial(_rows, kept, keys))
    made = Entry.objects.filter(kind=kept.kind, field="", old=None).order_by("n")
    for subjects in _chunks(made.values_list("subject", flat=True).iterator(CHUNK)):
        keys = [key for key in map(_key(kept.model), subjects) if key is not None]
        there = {str(key) for key in kept.model.objects.filter(pk__in=keys).values_list("pk", flat=True)}
        for key in keys:
            if str(key) not in there:
                yield f"{kept.kind} {key} is gone: the ledger says that it was added"


def _rows(kept: Kept, keys: Sequence[Any]) -> list[str]:
    said = _latest(kept.kind, [str(key) for key in keys])
    rows = kept.model.objects.filter(pk__in=keys).order_by("pk")
    return [words for row in rows for words in _row(kept, row, said.get(str(row.pk), {}))]


def _key(model: type[models.Model]) -> Any:
    """From a subject of the ledger to the key of a row; None when it is no key."""

    def read(subject: str) -> Any:
        try:
            return UUID(subject) if isinstance(model._meta.pk, models.UUIDField) else int(subject)
        except ValueError:
            return None

    return read


def _row(kept: Kept, row: Any, said: Mapping[str, str | None]) -> Iterator[str]:
    if "" not in said:
        yield f"{kept.kind} {row.pk} has no entry in the ledger: it was put there"
        return
    stated = _stated(said)
    for name, value in columns(row, kept.apart).items():
        found, text = as_text(value), stated.get(name)
        if name not in stated or not _is(row, name, found, text):
            yield (
                f"{kept.kind} {row.pk}: {name} is {_short(found)}, the ledger says {_short(text)}: it was "
                "changed without an entry"
            )


def _is(row: Any, name: str, found: str | None, text: str | None) -> bool:
    """Whether the text of the ledger is what a column holds. The ledger shows a person by their name; a
    database may write a number within JSON in another way."""
    if found == text:
        return True
    if found is None or text is None:
        return False
    field = row._meta.get_field(name)
    if isinstance(field, models.JSONField):
        return bool(json.loads(found) == json.loads(text))
    return field.related_model is Person and Person.objects.filter(pk=found, username=text).exists()


def _stated(said: Mapping[str, str | None]) -> dict[str, str | None]:
    """Field -> text, from what a thing was made with and what was changed since."""
    try:
        made = json.loads(said.get("") or "")
    except ValueError:
        made = {}
    stated = {name: as_text(value) for name, value in made.items()} if isinstance(made, dict) else {}
    return {**stated, **{name: text for name, text in said.items() if name}}


def _short(text: str | None) -> str:
    return "nothing" if text is None else f'"{text}"' if len(text) <= 60 else f'"{text[:57]}..."'


def value_problems(trial: TrialFolder) -> Iterator[str]:
    """Values that are not what the ledger says, or are not what their text says."""
    for forms in _chunks(Form.objects.select_related("participant").order_by("pk").iterator(CHUNK)):
        yield from _lasting(partial(_values_of, trial, forms))


def _values_of(trial: TrialFolder, forms: Sequence[Form]) -> list[str]:
    stored: dict[str, list[Value]] = {str(form.pk): [] for form in forms}
    for value in Value.objects.filter(form__in=forms).order_by("item", "row"):
        stored[str(value.form_id)].append(value)
    said = _answers(list(stored))
    found = []
    for form in forms:
        where = f"participant {form.participant.number}, form {form.kind} {form.key}"
        for words in _values(trial, stored[str(form.pk)], said.get(str(form.pk), {})):
            found.append(f"{where}: {words}")
    return found


def _answers(forms: Sequence[str]) -> dict[str, dict[str, tuple[str | None, str]]]:
    """Form -> item -> what the ledger last said of its value, and who compared that with the source."""
    found: dict[str, dict[str, tuple[str | None, str]]] = {}
    entries = Entry.objects.filter(kind__in=("value", "verification"), subject__in=forms).order_by("n")
    for kind, form, item, new in entries.values_list("kind", "subject", "field", "new"):
        said = found.setdefault(form, {})
        said[item] = (new, "") if kind == "value" else (said.get(item, (None, ""))[0], new or "")
    return found


def _values(
    trial: TrialFolder, stored: Sequence[Value], said: Mapping[str, tuple[str | None, str]]
) -> Iterator[str]:
    present = {value.item: value for value in stored if value.row == 0}
    for value in stored:
        if value.row:
            yield f"{value.item} has a row {value.row}, which the ledger does not know: it was put there"
    for item in sorted({*present, *(name for name, (text, _) in said.items() if text is not None)}):
        text, verified_by = said.get(item, (None, ""))
        held = present.get(item)
        found = None if held is None else as_text(reading.answer_parts(held))
        if found != text:
            yield (
                f"{item} is {_short(found)}, the ledger says {_short(text)}: it was changed without an entry"
            )
        elif held is not None and not _reads_so(trial, held):
            yield f"the number or qualifier of {item} is not what its text says: it was changed"
        if held is not None and held.verified_by != verified_by:
            yield (
                f"{item}: verified_by is {_short(held.verified_by)}, the ledger says {_short(verified_by)}: "
                "it was changed without an entry"
            )


def _reads_so(trial: TrialFolder, value: Value) -> bool:
    """Whether the number that rules use is that of the text that people entered."""
    item = reading.item_of(trial.protocol, value.item)
    try:
        read = entering.read(item, value.text, value.unit, value.missing)
    except entering.EntryError:
        return False
    return (read.number, read.qualifier) == (value.number, value.qualifier)


def signature_problems() -> Iterator[str]:
    """Signatures that name another entry of the ledger than the one that holds them."""
    for signatures in _chunks(Signature.objects.order_by("entry").iterator(CHUNK)):
        entries = Entry.objects.in_bulk([one.entry for one in signatures])
        for one in signatures:
            entry = entries.get(one.entry)
            if entry is None or (entry.kind, entry.subject, entry.field) != ("signature", str(one.id), ""):
                yield f"signature {one.id} of {one.person}: entry {one.entry} of the ledger is not its entry"


def journal_problems(trial: TrialFolder) -> list[str]:
    """How the journal differs from the database. What is being written at this moment is given the time."""
    found = journal.compare(trial).words
    if found:
        time.sleep(WRITING_SECONDS)
        found = journal.compare(trial).words
    return found
