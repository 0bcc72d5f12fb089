"""Taking out of a trial what must not stand in it: the name of a participant in a reason or a narrative, say.

The text is replaced by `REMOVED` in the entries of the ledger that concern the participant and in the rows
that hold it, and nowhere is a row or an entry taken away. Entries keep their hash and their place in the
chain. For each entry that lost its text another is added, its tombstone: which entry, why, and the hash of
what it says now with a signature, so that `verify` accepts the entry as it is and finds any other change.

Not reached: backups and exports made before, and what a disk or PostgreSQL keeps of what was overwritten. The
hash of an entry as it was stays: whoever guesses the text to the letter can see that the guess is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection, models
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from equipoise.conduct import ledger, opening
from equipoise.conduct.gateway import Act, as_text, with_system
from equipoise.conduct.models import (
    AllocationError,
    Decision,
    Draft,
    Entry,
    Event,
    EventVersion,
    Flag,
    Form,
    Hold,
    Injection,
    Medication,
    Participant,
    Query,
    QueryMessage,
)
from equipoise.conduct.verifying import IN_ITS_OWN_WAY, KEPT, NO_RECORD, protected_tables
from equipoise.errors import UserError

KIND = ledger.REDACTION
REMOVED = "[removed]"
LEAST = 3
"""Letters of the shortest text that is taken out (assumed): a shorter one stands in too many words."""
NEVER_FREE = frozenset({"value", "verification", KIND})
"""Entries that hold no free text but their reason: answers are numbers, days or words of the protocol."""
CHUNK = 2000


class Free(NamedTuple):
    """Columns of a table in which people write what they like, and the path from a row to its participant."""

    columns: tuple[str, ...]
    path: str = "participant"


FREE: Mapping[type[models.Model], Free] = {
    Participant: Free(("failure_reason",), "pk"),
    AllocationError: Free(("reason",), "allocation__participant"),
    Form: Free(("not_done_reason",)),
    Medication: Free(("drug", "why_stopped", "removed")),
    Query: Free(("text", "confirmed")),
    QueryMessage: Free(("text",), "query__participant"),
    Decision: Free(("override_reason",)),
    Flag: Free(("what", "settled"), "decision__participant"),
    Injection: Free(("symptoms",), "cycle__participant"),
    Hold: Free(("reason",)),
    Event: Free(("removed",)),
    EventVersion: Free(("term", "serious_because", "action_taken", "narrative"), "event__participant"),
}


@dataclass(frozen=True)
class Redacted:
    """What a text stands in, or stood in: entries of the ledger by number, rows and drafts by the kind of
    thing, and rows of others, which are left as they are."""

    entries: tuple[int, ...]
    rows: Mapping[str, int]
    drafts: int
    elsewhere: Mapping[str, int]

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to take out."""
        return not (self.entries or self.rows or self.drafts)


def look(number: str, text: str) -> Redacted:
    """Where a text stands, for the participant of that number and elsewhere. Raises UserError."""
    person = _participant(number)
    _check(text, "")
    entries = tuple(entry.n for entry, _ in _entries(person, text))
    rows = Counter(_kind(model) for model, _, _ in _rows(person, text))
    return Redacted(entries, rows, _drafts(person, text).count(), _elsewhere(person, text))


def redact(number: str, text: str, reason: str) -> Redacted:
    """Take a text out of everything that concerns a participant; returns where it stood, and `elsewhere` what
    it still stands in. Raises UserError when it cannot be done, and changes nothing then."""
    person = _participant(number)
    _check(text, reason)
    if not reason.strip():
        raise UserError("say why the text is taken out, and who decided it")
    found: list[Redacted] = []

    def work(act: Act) -> None:
        if act.trial.frozen:
            raise UserError("the data are frozen: nothing may be changed in them now")
        act.site = person.site  # whose people read of it
        found.append(_take_out(act, person, text, reason))

    with _overwriting():
        with_system(KIND, work)
        found.append(Redacted(found[0].entries, found[0].rows, found[0].drafts, _elsewhere(person, text)))
    return found[-1]


def _take_out(act: Act, person: Participant, text: str, reason: str) -> Redacted:
    rows: Counter[str] = Counter()
    numbers: list[int] = []
    with _unprotected():
        for model, key, changed in list(_rows(person, text)):
            _fits(model, changed)
            rows[_kind(model)] += 1
            if model is Form:
                _change_form(act, person, key, changed)
            else:
                model._default_manager.filter(pk=key).update(**changed)
        for entry, changed in list(_entries(person, text)):
            Entry.objects.filter(n=entry.n).update(**changed)
            for name, value in changed.items():
                setattr(entry, name, value)
            fields = {name: getattr(entry, name) for name in ledger.FIELDS}
            said = ledger.entry_hash(entry.previous, fields)
            numbers.append(entry.n)
            act.record(
                KIND, entry.n, participant=person.number, place=f"entry {entry.n}",
                field=", ".join(changed), new=ledger.tombstone(opening.folder(), entry.n, said),
                reason=reason, reveals_arm=entry.reveals_arm,
            )  # fmt: skip
    drafts, _ = _drafts(person, text).delete()
    if drafts or (rows and not numbers):
        act.record(
            KIND, person.id, participant=person.number, new=as_text({"drafts": drafts, **rows}),
            reason=reason,
        )  # fmt: skip
    if not act.entries:
        raise UserError(f"{person.number}: nothing that concerns this participant holds this text")
    return Redacted(tuple(numbers), rows, drafts, {})


def _change_form(act: Act, person: Participant, key: Any, changed: Mapping[str, str]) -> None:
    """A form of which a signature holds is no longer what was signed."""
    from equipoise.conduct.commands import forms

    form = Form.objects.get(pk=key)
    held = forms.valid_signatures(form, person)
    Form.objects.filter(pk=key).update(**changed)
    form.refresh_from_db()
    forms.lapse(act, form, person, held, participant=person.number)


# --- where it stands --------------------------------------------------------------------------------------


def _entries(person: Participant, text: str) -> Iterator[tuple[Entry, dict[str, str]]]:
    """The entries of a participant in which the text stands, each with its columns as they will be."""
    of_kind = {kept.kind: kept.model for kept in KEPT}
    for entry in Entry.objects.filter(participant=person.number).order_by("n").iterator(CHUNK):
        fixed = _fixed(of_kind.get(entry.kind))
        changed = {}
        for name in () if entry.kind in NEVER_FREE else ("old", "new"):
            said = getattr(entry, name)
            after = said if said is None or entry.field in fixed else _without(said, text, fixed)
            if after != said:
                changed[name] = after
        if text in entry.reason:
            changed["reason"] = entry.reason.replace(text, REMOVED)
        if changed:
            yield entry, changed


def _fixed(model: type[models.Model] | None) -> frozenset[str]:
    """The columns of a table whose content is never free text."""
    if model is None:
        return frozenset()
    free = FREE[model].columns if model in FREE else ()
    return frozenset(field.name for field in model._meta.concrete_fields) - frozenset(free)


def _without(said: str, text: str, fixed: frozenset[str]) -> str:
    """What an entry says, without the text: within JSON in the words, not in what is fixed."""
    with suppress(ValueError):
        parts = json.loads(said)
        if isinstance(parts, dict):
            after = {name: part if name in fixed else _cleared(part, text) for name, part in parts.items()}
            return said if after == parts else as_text(after) or ""
    return said.replace(text, REMOVED)


def _cleared(part: Any, text: str) -> Any:
    if isinstance(part, str):
        return part.replace(text, REMOVED)
    if isinstance(part, list):
        return [_cleared(one, text) for one in part]
    if isinstance(part, dict):
        return {name: _cleared(one, text) for name, one in part.items()}
    return part


def _rows(person: Participant, text: str) -> Iterator[tuple[type[models.Model], Any, dict[str, str]]]:
    """The rows of a participant in which the text stands, each with its columns as they will be."""
    for model, free in FREE.items():
        holds = Q()
        for name in free.columns:
            holds |= Q(**{f"{name}__contains": text})
        rows = model._default_manager.filter(holds, **{free.path: person.pk}).order_by("pk")
        for key, *values in rows.values_list("pk", *free.columns):
            named = zip(free.columns, values, strict=True)
            changed = {name: said.replace(text, REMOVED) for name, said in named if text in said}
            if changed:  # the database may not tell capitals from small letters
                yield model, key, changed


def _drafts(person: Participant, text: str) -> models.QuerySet[Draft]:
    """What was typed on pages of the participant and not saved, with the text in it."""
    found = Draft.objects.annotate(typed=Cast("content", TextField())).filter(page__contains=person.number)
    holds = Q(pk__in=[])
    for written in _written(text):
        holds |= Q(typed__contains=written)
    return found.filter(holds)


def _written(text: str) -> set[str]:
    """How a text may stand in a column: as it is, or within JSON."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _elsewhere(person: Participant, text: str) -> dict[str, int]:
    """In how many other rows of each table the text stands, whomever they concern."""
    found: dict[str, int] = {}
    tables: tuple[type[models.Model], ...] = (*(one.model for one in KEPT), *IN_ITS_OWN_WAY, *NO_RECORD)
    for model in tables:
        texts, documents = [], []
        for field in model._meta.concrete_fields:
            if isinstance(field, models.JSONField):
                documents.append(field.name)
            elif isinstance(field, models.CharField | models.TextField):
                texts.append(field.name)
        shown = {f"{name}_text": Cast(name, TextField()) for name in documents}
        holds = Q(pk__in=[])
        for name in (*texts, *shown):
            for written in _written(text):
                holds |= Q(**{f"{name}__contains": written})
        rows = model._default_manager.annotate(**shown).filter(holds)
        if model in FREE:
            rows = rows.exclude(**{FREE[model].path: person.pk})
        elif model is Entry:
            rows = rows.exclude(participant=person.number)
        elif model is Draft:
            rows = rows.exclude(page__contains=person.number)
        if count := rows.count():
            found[_kind(model)] = count
    return found


def _kind(model: type[models.Model]) -> str:
    kinds = {kept.model: kept.kind for kept in KEPT}
    return "entry of the ledger" if model is Entry else kinds.get(model, str(model._meta.verbose_name))


# --- what may be taken out --------------------------------------------------------------------------------


def _participant(number: str) -> Participant:
    found = Participant.objects.select_related("site").filter(number=number).first()
    if found is None:
        raise UserError(f'there is no participant "{number}"')
    return found


def _check(text: str, reason: str) -> None:
    if len(text.strip()) < LEAST:
        raise UserError(f"a text of fewer than {LEAST} letters stands in too many words to be taken out")
    if "\n" in text or "\r" in text:
        raise UserError("the text to be taken out is one line")
    if text in REMOVED:
        raise UserError(f'"{text}" is what stands in place of what was taken out')
    if text in reason:
        raise UserError("the reason holds the very text that is to be taken out: say it without")


def _fits(model: type[models.Model], changed: Mapping[str, str]) -> None:
    for name, value in changed.items():
        longest = getattr(model._meta.get_field(name), "max_length", None)
        if longest is not None and len(value) > longest:
            raise UserError(
                f"{_kind(model)}: with {REMOVED} in place of the text, {name} would be longer than {longest} "
                "letters: take out more of it at once"
            )


# --- the protection of rows -------------------------------------------------------------------------------


@contextmanager
def _unprotected() -> Iterator[None]:
    """Rows that are never changed can be, within the transaction that is open; its end, good or bad, leaves
    them protected."""
    tables = protected_tables()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
            yield
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")
            return
        names = [f"{table}_no_update" for table in tables]
        marks = ", ".join(["%s"] * len(names))
        which = f"type = 'trigger' AND name IN ({marks})"
        cursor.execute(f"SELECT name, sql FROM sqlite_master WHERE {which}", names)
        made: Sequence[tuple[str, str]] = cursor.fetchall()
        for name, _ in made:
            cursor.execute(f"DROP TRIGGER {name}")
        yield
        for _, statement in made:
            cursor.execute(statement)


@contextmanager
def _overwriting() -> Iterator[None]:
    """What SQLite no longer needs is overwritten in its file, and in what it keeps beside it."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete")
        before = cursor.fetchone()
        cursor.execute("PRAGMA secure_delete = ON")
        try:
            yield
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.fetchall()
        finally:
            cursor.execute(f"PRAGMA secure_delete = {int(before[0])}")
