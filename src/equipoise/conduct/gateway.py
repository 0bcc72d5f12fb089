"""The one gateway: every change of a trial is a command, and every command goes through `perform`.

`perform` answers a repeated request with its first answer; checks the person's duty, the site, the second
factor and the signature; opens one transaction; lets the command do its work through an `Act`, which records
each change as it is made; and closes the transaction with the entries added to the ledger. A command that
records nothing is an error in the software and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from django.db import IntegrityError, OperationalError, models, transaction
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

import equipoise
from equipoise.conduct import clock, duties, entering, ledger, opening, sealing
from equipoise.conduct.models import Chain, Duty, Entry, Participant, Person, Request, Signature, Site, Trial
from equipoise.conduct.refusing import Conflict, NotAllowed, NotFound, Refused, Unavailable
from equipoise.errors import UserError

SYSTEM = "system"
BY_DIGEST = frozenset({"password"})
"""Columns of which the ledger holds the SHA-256, never the content."""
NOT_TOLD = frozenset({"last_login"})
"""Columns that change without an entry of their own: each log-in is an entry of the account."""

_log = logging.getLogger(__name__)


class Inputs(BaseModel):
    """What a command is told; anything else in a request is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*")
    @classmethod
    def _happens(cls, value: Any) -> Any:
        """No command is told of a day or a moment with which nothing can be reckoned."""
        if isinstance(value, date) and not entering.is_possible(value):
            raise ValueError(f"the year {value.year} cannot be")
        return value


@dataclass(frozen=True)
class Actor:
    """Who acts, in which role, how they came in, and what they have proved.

    `role` is chosen from the person's duties (None: the first that allows the command). `proved`: the
    password was given with this very request. `second_factor`: the session was opened with one.
    """

    person: Person
    origin: str
    role: str | None = None
    second_factor: bool = False
    proved: bool = False
    scopes: frozenset[str] | None = None
    """Of an API token; None for a session."""


class Secret(str):
    """A part of an answer that must stand nowhere in plain (an arm, a password, a token): who asked gets it,
    and gets it again for the same request; the database keeps it enciphered."""


@dataclass(frozen=True)
class Command:
    """A command: its name, what it is told, what it does."""

    name: str
    inputs: type[Inputs]
    work: Callable[[Act, Any], Mapping[str, Any]]
    summary: str


COMMANDS: dict[str, Command] = {}


def command(name: str, inputs: type[Inputs]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function a command; its first line of documentation is its summary."""

    def register(work: Callable[..., Any]) -> Callable[..., Any]:
        if name in COMMANDS or name not in duties.MAY:
            raise RuntimeError(f'"{name}" is not in the table of duties, or is there twice')
        COMMANDS[name] = Command(name, inputs, work, (work.__doc__ or "").strip().splitlines()[0])
        return work

    return register


@dataclass
class Act:
    """One command being carried out. Every change is made through it, and thereby recorded.

    `trial` is the row of the trial; `at` the time of the act. `duty` is set by `allow`, which every command
    calls with the site that it concerns before it changes anything.
    """

    actor: Actor
    command: str
    trial: Trial
    at: datetime
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    role: str = ""
    site: Site | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)
    signatures: list[tuple[int, Signature]] = field(default_factory=list)
    """Each with the place of its entry among `entries`."""
    after: list[Callable[[], None]] = field(default_factory=list)
    """What is done once the transaction is closed (journal, messages)."""

    # --- who may ---

    def allow(self, site: Site | None) -> None:
        """Refuse unless the person has a duty today that allows this command at this site (None: a command
        for the whole trial). A site that the person has nothing to do with does not exist for them."""
        held = duties_on(self.actor.person, self.at, site)
        if site is not None and not any(reaches(duty, site) for duty in held):
            raise NotFound("there is nothing of that name for you")
        allowing = [
            duty for duty in held
            if duty.role in duties.MAY[self.command] and (site is None or reaches(duty, site))
            and self.actor.role in (None, duty.role)
        ]  # fmt: skip
        if not allowing:
            raise NotAllowed(f"none of your duties allows this ({self.command})")
        self.role, self.site = allowing[0].role, site
        if self.command in duties.SECOND_FACTOR and not self.actor.second_factor:
            raise NotAllowed("this needs a second factor: log in with your code or passkey")
        if self.command in duties.SIGNS and not self.actor.proved:
            raise NotAllowed("this is signed: give your password again")

    def allow_at(self, number: str) -> Participant:
        """The participant of that screening number, locked, if the person may do this at their site."""
        found = Participant.objects.select_related("site").filter(number=number).first()
        if found is None:
            raise NotFound("there is nothing of that name for you")
        self.allow(found.site)
        return found

    def today(self) -> date:
        """The calendar date where this happens."""
        zone = self.site.zone if self.site is not None else opening.folder().zone
        return clock.today(zone)

    # --- what changes ---

    def record(
        self,
        kind: str,
        subject: Any,
        *,
        participant: str = "",
        place: str = "",
        field: str = "",
        row: int = 0,
        old: str | None = None,
        new: str | None = None,
        reason: str = "",
        reveals_arm: bool = False,
    ) -> None:
        """Note one fact for the ledger."""
        self.entries.append(
            {
                "kind": kind, "subject": str(subject), "participant": participant, "place": place,
                "field": field, "row": row, "old": old, "new": new, "reason": reason,
                "reveals_arm": reveals_arm or self.command in duties.REVEALS_ARM,
            }
        )  # fmt: skip

    def create(
        self,
        thing: models.Model,
        kind: str,
        *,
        shown: Mapping[str, Any] | None = None,
        apart: Collection[str] = (),
        **where: Any,
    ) -> None:
        """Add a row and note it, with all of its columns but those noted `apart`. `shown` says some of them
        in the words of people, or more."""
        thing.save(force_insert=True)
        self.record(kind, thing.pk, new=as_text({**columns(thing, apart), **(shown or {})}), **where)

    def change(
        self, thing: models.Model, kind: str, changes: Mapping[str, Any], *, reason: str = "", **where: Any
    ) -> bool:
        """Set fields of a row, noting each that differs with its old and new value; False if none does."""
        differing = {name: new for name, new in changes.items() if getattr(thing, name) != new}
        for name, new in differing.items():
            old = getattr(thing, name)
            setattr(thing, name, new)
            self.record(
                kind, thing.pk, field=name, old=as_text(told(thing, name, old)),
                new=as_text(told(thing, name, new)), reason=reason, **where,
            )  # fmt: skip
        if differing:
            thing.save(update_fields=list(differing))
        return bool(differing)

    def sign(self, kind: str, subject: Any, content: Any, meaning: str, participant: str = "") -> uuid.UUID:
        """Sign the content of something: the signature holds its hash. Needs the password of this request."""
        if not self.actor.proved:
            raise NotAllowed("this is signed: give your password again")
        digest = content_hash(content)
        zone = self.site.zone if self.site is not None else opening.folder().zone
        made = Signature(
            id=uuid.uuid4(), person=self.actor.person.username, printed_name=self.actor.person.full_name,
            role=self.role, at=self.at, zone=zone, meaning=meaning, participant=participant, kind=kind,
            subject=str(subject), content_sha256=digest,
        )  # fmt: skip
        self.signatures.append((len(self.entries), made))
        self.record(
            "signature", made.id, participant=participant, place=f"{kind} {subject}",
            new=as_text(columns(made, apart=("entry",))),
        )  # fmt: skip
        key: uuid.UUID = made.id
        return key

    # --- closing ---

    def _close(self) -> tuple[int, str]:
        if not self.entries:
            raise RuntimeError(f"{self.command} recorded nothing: it must leave an entry in the ledger")
        head = Chain.objects.get(id=1)
        n, previous = head.n, head.hash
        rows = []
        for noted in self.entries:
            n += 1
            fields = {
                **noted, "n": n, "act": self.id, "at": self.at, "command": self.command,
                "person": self.actor.person.username, "role": self.role,
                "site": None if self.site is None else self.site.number, "origin": self.actor.origin,
                "protocol_sha256": self.trial.protocol_sha256, "software": equipoise.__version__,
            }  # fmt: skip
            digest = ledger.entry_hash(previous, fields)
            rows.append(Entry(**fields, previous=previous, hash=digest))
            previous = digest
        Entry.objects.bulk_create(rows)
        for place, made in self.signatures:
            made.entry = rows[place].n
        Signature.objects.bulk_create(made for _, made in self.signatures)
        at = self.at if head.at is None else max(head.at, self.at)
        Chain.objects.filter(id=1).update(n=n, hash=previous, at=at)
        return n, previous

    def _follow(self, n: int, head: str) -> None:
        """What comes after the transaction: the checkpoint, and what the command asked for. All is saved by
        then: a disk that is full now takes nothing back, and the next act signs for this one as well."""
        try:
            ledger.write_checkpoint(opening.folder(), n, head, self.at)
        except OSError as error:
            _log.error("the checkpoint of entry %s could not be written: %s", n, error.strerror)
        for then in self.after:
            then()


def content_hash(content: Any) -> str:
    """The hash of what is signed: SHA-256 of its canonical JSON."""
    return hashlib.sha256((as_text(content) or "").encode()).hexdigest()


def columns(thing: models.Model, apart: Collection[str] = ()) -> dict[str, Any]:
    """The columns of a row as the ledger holds them, but for those told `apart`, and for the key, which is
    the subject of its entry."""
    return {
        field.name: told(thing, field.name, getattr(thing, field.attname))
        for field in thing._meta.concrete_fields
        if not field.primary_key and field.name not in NOT_TOLD and field.name not in apart
    }


def told(thing: models.Model, name: str, value: Any) -> Any:
    """The value of a column as the ledger holds it: what the database will give back; other rows by their
    keys, what nobody may read by its digest."""
    key = value.pk if isinstance(value, models.Model) else value
    read = thing._meta.get_field(name).to_python(key)
    if isinstance(read, uuid.UUID):
        return str(read)
    if name in BY_DIGEST:
        return hashlib.sha256(str(read).encode()).hexdigest()
    return read


def as_text(value: Any) -> str | None:
    """A value as the ledger writes it: None stays None, text stays text, everything else is JSON with sorted
    keys."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return ledger.utc(value)
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=as_text)


# --- duties -----------------------------------------------------------------------------------------------


def duties_on(person: Person, moment: datetime, site: Site | None = None) -> list[Duty]:
    """The duties that a person has at a time, with dates counted where the site is. One that was revoked
    ended at that moment, whatever the date is there."""
    zone = site.zone if site is not None else opening.folder().zone
    day = moment.astimezone(_zone(zone)).date()
    if not person.is_active:
        return []
    return [
        duty
        for duty in Duty.objects.filter(person=person, since__lte=day).select_related("site")
        if (duty.until is None or duty.until >= day) and (duty.revoked_at is None or moment < duty.revoked_at)
    ]


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def reaches(duty: Duty, site: Site) -> bool:
    """Whether a duty is held at a site, or for the whole trial."""
    return duty.site_id is None or duty.site_id == site.number


# --- performing -------------------------------------------------------------------------------------------


def perform(
    name: str, actor: Actor, inputs: Mapping[str, Any] | Inputs, key: str | None = None
) -> dict[str, Any]:
    """Carry out a command and return its answer (ready for JSON).

    `key` names the request: the same request of the same person, sent again, gets the same answer and
    changes nothing; the same key with other inputs is a `Conflict`. Raises `Refused` in words, and changes
    nothing then.
    """
    if name not in COMMANDS:
        raise NotFound(f'there is no command "{name}"')
    found = COMMANDS[name]
    if actor.scopes is not None and not actor.scopes & {"all", name}:
        raise NotAllowed(f'the token does not allow "{name}"')
    try:
        given = inputs if isinstance(inputs, found.inputs) else found.inputs.model_validate(dict(inputs))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(f"{where}: {first['msg']}" if where else first["msg"], where) from None
    digest = content_hash({"command": name, "inputs": given.model_dump(mode="json")})
    try:
        return _perform(found, actor, given, key, digest)
    except IntegrityError as error:
        # Two requests of one kind met, and the other was first: what it did is there now.
        again = _answered(actor, key, digest)
        if again is not None:
            return again
        raise Conflict("somebody else was first; look at the page again") from error
    except OperationalError as error:
        if "locked" in str(error) or "timeout" in str(error):
            raise Unavailable("the database is busy: nothing was saved; send it again in a moment") from error
        if any(word in str(error) for word in _CANNOT_WRITE):
            raise Unavailable(
                "the disk is full, or cannot be written to: nothing was saved; tell who keeps the server"
            ) from error
        raise


_CANNOT_WRITE = ("full", "disk I/O", "readonly", "read-only", "No space left", "unable to open")
"""Words in which the databases say that they cannot write."""


def _answered(actor: Actor, key: str | None, digest: str) -> dict[str, Any] | None:
    if key is None:
        return None
    done = Request.objects.filter(person=actor.person.username, key=key).first()
    if done is None:
        return None
    if done.inputs_sha256 != digest:
        raise Conflict("this request was sent before with other content: load the page again")
    return _opened(dict(done.answer), f"{actor.person.username} {key}")


_SEALED = "sealed"


def _kept(answer: Mapping[str, Any], secret: Mapping[str, Any], bound_to: str) -> dict[str, Any]:
    """An answer as the database keeps it: what is shown once is left out, a secret enciphered."""
    key = opening.folder().key("allocation")
    hidden = {
        name: {_SEALED: sealing.seal(key, value, bound_to)}
        for name, value in secret.items()
        if isinstance(value, Secret)
    }
    return {**answer, **hidden}


def _opened(kept: Mapping[str, Any], bound_to: str) -> dict[str, Any]:
    """The answer that was kept."""
    key = opening.folder().key("allocation")
    return {
        name: sealing.unseal(key, value[_SEALED], bound_to)
        if isinstance(value, dict) and set(value) == {_SEALED}
        else value
        for name, value in kept.items()
    }


def _perform(found: Command, actor: Actor, given: Inputs, key: str | None, digest: str) -> dict[str, Any]:
    with opening.in_turn(opening.folder()), transaction.atomic():
        lock_ledger()
        again = _answered(actor, key, digest)
        if again is not None:
            return again
        trial = Trial.objects.get(id=1)
        check_settings(trial)
        check_time()
        if trial.frozen and found.name not in duties.WHILE_FROZEN:
            raise NotAllowed(f"the data are frozen: {trial.frozen}")
        act = Act(actor, found.name, trial, clock.now())
        given_back = dict(found.work(act, given))
        answer = json.loads(as_text(given_back) or "{}")
        if not act.role:
            raise RuntimeError(f"{found.name} did not ask who may do it")
        n, head = act._close()
        if key is not None:
            kept = {name: part for name, part in answer.items() if name not in duties.SHOWN_ONCE}
            Request.objects.create(
                person=actor.person.username, key=key, command=found.name, inputs_sha256=digest,
                answer=_kept(kept, given_back, f"{actor.person.username} {key}"), at=act.at,
            )  # fmt: skip
    act._follow(n, head)
    return answer


def lock_ledger() -> None:
    """Take the lock under which entries are added; held to the end of the transaction. (An update takes it on
    both databases, whereas SQLite ignores `SELECT ... FOR UPDATE`.)"""
    if not Chain.objects.filter(id=1).update(id=1):
        raise UserError("the database has no ledger: it was not made by `equipoise conduct init`")


def check_settings(row: Trial) -> None:
    """Refuse to work on a trial whose settings say another name, kind or time zone than it was set up with:
    a real trial never becomes a rehearsal, nor the other way round, and its days stay the days they were."""
    differing = opening.folder().differing(row.name, row.kind, row.zone)
    if differing:
        raise Conflict(differing[0])


def check_time() -> None:
    """Refuse to write when the clock has gone back behind the last entry."""
    last = Chain.objects.values_list("at", flat=True).get(id=1)
    if last is not None and (last - clock.now()).total_seconds() > ledger.MAY_STEP_BACK_SECONDS:
        raise Refused(
            f"the clock of the server went backwards (it says {ledger.utc(clock.now())}, the last entry was "
            f"made at {ledger.utc(last)}): nothing is written until it is set right"
        )


def system_act(name: str, trial: Trial, origin: str = "command line") -> Act:
    """An act of the system itself, for what no person's command does: use `with_system`."""
    person = Person(username=SYSTEM, full_name="Equipoise", created_at=datetime(2000, 1, 1, tzinfo=UTC))
    act = Act(Actor(person, origin), name, trial, clock.now())
    act.role = SYSTEM
    return act


def with_system(name: str, work: Callable[[Act], None], origin: str = "command line") -> None:
    """Let the system itself change something (set-up, restoring, log-ins), recorded as everything is. Raises
    `Refused` when the clock has gone back."""
    with opening.in_turn(opening.folder()), transaction.atomic():
        lock_ledger()
        trial = Trial.objects.get(id=1)
        check_settings(trial)
        check_time()
        act = system_act(name, trial, origin)
        work(act)
        n, head = act._close()
    act._follow(n, head)


__all__ = [
    "COMMANDS", "Act", "Actor", "Conflict", "Inputs", "NotAllowed", "NotFound", "Refused", "Secret",
    "Unavailable", "columns", "command", "content_hash", "duties_on", "perform", "reaches", "told",
    "with_system",
]  # fmt: skip
