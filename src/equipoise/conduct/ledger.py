"""The ledger as a chain: each entry's hash covers its content and the hash before; signed checkpoints outside
the database say how far it reached.

Hash of an entry: SHA-256 of the previous hash and the entry's fields as canonical JSON (sorted keys, no
spaces, UTF-8, times in UTC with microseconds). Checkpoints are signed with Ed25519 (RFC 8032), one line of
JSON for each act in `journal/ledger.jsonl`, so that a missing tail is seen as well as an altered byte.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from equipoise import _locks
from equipoise.conduct.folder import TrialFolder

FIRST = "0" * 64
"""What the first entry follows."""
FIELDS = (
    "n", "act", "at", "command", "person", "role", "site", "origin", "participant", "kind", "subject",
    "place", "field", "row", "old", "new", "reason", "reveals_arm", "protocol_sha256", "software",
)  # fmt: skip
CHECKPOINTS = "ledger.jsonl"
REDACTION = "redaction"
"""Kind and command of the entries that say that a text was taken out of others (`redacting`)."""
MAY_STEP_BACK_SECONDS = 300
"""By how much the clock of a server may be set back without anybody being told (assumed)."""
_TAIL_BYTES = 1 << 20
_LAST_BYTES = 1 << 16


def utc(moment: datetime) -> str:
    """A time as it stands in the ledger: UTC, microseconds, always the same length."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_hash(previous: str, fields: Mapping[str, Any]) -> str:
    """The hash of an entry that follows `previous`; `fields` has all of `FIELDS`."""
    content = {name: _plain(fields[name]) for name in FIELDS}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return utc(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


# --- checkpoints ------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def signing_key(trial: TrialFolder) -> Ed25519PrivateKey:
    """The key that signs checkpoints."""
    return Ed25519PrivateKey.from_private_bytes(trial.key("ledger"))


def public_key(trial: TrialFolder) -> str:
    """The key with which anybody can check the checkpoints, in hexadecimal."""
    return signing_key(trial).public_key().public_bytes_raw().hex()


def write_checkpoint(trial: TrialFolder, n: int, head: str, at: datetime) -> None:
    """Add a signed line: the ledger reached entry `n` with this hash at this time."""
    stated = f"{n} {head} {utc(at)}"
    line = json.dumps(
        {"n": n, "hash": head, "at": utc(at), "signature": signing_key(trial).sign(stated.encode()).hex()}
    )
    append_line(trial.journal / CHECKPOINTS, line)


def append_line(file: Path, line: str, *, durable: bool = False) -> None:
    """Add one line (or several) to a file of the journal; `durable` waits until it is on the disk.

    A last line that a crash or a full disk left without its end is taken away first. Writers take turns.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _locks.wait(descriptor)
        _drop_torn_line(descriptor)
        left = (line + "\n").encode()
        while left:
            left = left[os.write(descriptor, left) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_torn_line(file: Path) -> None:
    """Take away a last line of a file of the journal that has no end: it is written again, whole."""
    if not file.exists():
        return
    descriptor = os.open(file, os.O_RDWR)
    try:
        _locks.wait(descriptor)
        _drop_torn_line(descriptor)
    finally:
        os.close(descriptor)


def _drop_torn_line(descriptor: int) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    os.lseek(descriptor, start, os.SEEK_SET)
    tail = os.read(descriptor, _TAIL_BYTES)
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, start + tail.rfind(b"\n") + 1)


@dataclass(frozen=True)
class Checkpoint:
    """A signed statement of how far the ledger reached."""

    n: int
    hash: str
    at: str
    signature: str

    def is_signed_by(self, key: str) -> bool:
        """Whether the signature is that of the public key (hexadecimal)."""
        return _is_signed(key, self.signature, f"{self.n} {self.hash} {self.at}".encode())


def checkpoints(file: Path) -> Iterator[tuple[int, Checkpoint | None]]:
    """(line number, checkpoint) of a file of checkpoints; None for a line that cannot be read. A last line
    without its end is left out: it is being written, or a full disk or a crash kept its end, and then the
    next checkpoint takes its place."""
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            one = _checkpoint(line)
            if one is not None or line.endswith("\n"):
                yield number, one


def last_checkpoint(file: Path) -> Checkpoint | None:
    """The checkpoint of the highest entry among the last lines of a file."""
    if not file.is_file():
        return None
    with file.open("rb") as content:
        content.seek(0, os.SEEK_END)
        content.seek(max(0, content.tell() - _LAST_BYTES))
        tail = content.read()
    found = [one for line in tail.splitlines() if (one := _checkpoint(line)) is not None]
    return max(found, key=lambda one: one.n, default=None)


def _checkpoint(line: str | bytes) -> Checkpoint | None:
    try:
        read = json.loads(line)
        return Checkpoint(int(read["n"]), read["hash"], read["at"], read["signature"])
    except (ValueError, KeyError, TypeError):
        return None


# --- checking ---------------------------------------------------------------------------------------------


def tombstone(trial: TrialFolder, n: int, content: str) -> str:
    """What the tombstone of entry `n` holds: the hash of what the entry says since a text was taken out of
    it, and a signature, without which whoever can write to the database could let any entry say anything."""
    return f"{content} {signing_key(trial).sign(_redacted(n, content)).hex()}"


def redactions_in(entries: Iterable[Mapping[str, Any]], key: str) -> dict[int, str]:
    """Entry -> the hash of what it says since a text was taken out of it, from the tombstones among entries
    in their order (with `kind`, `subject` and `new`) that are signed by the public key (hexadecimal); the
    latest of each counts."""
    found: dict[int, str] = {}
    for one in entries:
        if one["kind"] == REDACTION and str(one["subject"]).isdecimal():
            n, (content, _, signature) = int(one["subject"]), str(one["new"]).partition(" ")
            if _is_signed(key, signature, _redacted(n, content)):
                found[n] = content
    return found


def _redacted(n: int, content: str) -> bytes:
    return f"{REDACTION} {n} {content}".encode()


def _is_signed(key: str, signature: str, stated: bytes) -> bool:
    """Whether a signature of what is stated is that of the public key (both hexadecimal)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), stated)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Broken:
    """Where the ledger is not what it was. `n` is the entry, 0 for the ledger as a whole."""

    n: int
    words: str


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def verify_chain(
    entries: Iterable[Mapping[str, Any]],
    statements: Iterable[tuple[int, Checkpoint | None]],
    key: str,
    head: tuple[int, str],
    redacted: Mapping[int, str] = MappingProxyType({}),
) -> list[Broken]:
    """Everything that is wrong with a ledger, from its entries in order, its checkpoints and its head.

    `entries` have `FIELDS`, `previous` and `hash`. Found and named: an entry whose content was altered, one
    that is missing, one put in or out of place, one made while the clock was set back, and a tail that was
    cut off (from the checkpoints). `redacted`: the hash of what an entry says now from which a text was taken
    out, as its tombstone has it (`redactions_in`).
    """
    found: list[Broken] = []
    stated: dict[int, Checkpoint] = {}
    last_stated = 0
    for line, checkpoint in statements:
        if checkpoint is None:
            found.append(Broken(0, f"checkpoint on line {line} cannot be read"))
        elif not checkpoint.is_signed_by(key):
            found.append(Broken(0, f"checkpoint on line {line} is not signed by the trial's key"))
        else:
            stated[checkpoint.n] = checkpoint
            last_stated = max(last_stated, checkpoint.n)
    previous, expected, latest = FIRST, 1, ""
    for entry in entries:
        n = int(entry["n"])
        if n != expected:
            gap = (
                f"entry {expected} is missing"
                if n == expected + 1
                else f"entries {expected} to {n - 1} are missing"
            )
            found.append(Broken(expected, gap))
        elif entry["previous"] != previous:
            found.append(Broken(n, f"entry {n} does not follow entry {n - 1}: it was put there or moved"))
        if (made := entry_hash(entry["previous"], entry)) != entry["hash"] and redacted.get(n) != made:
            found.append(Broken(n, f"entry {n} was altered: its content does not have its hash"))
        if n in stated and stated[n].hash != entry["hash"]:
            found.append(Broken(n, f"entry {n} is not the one that was signed at {stated[n].at}"))
        at = str(_plain(entry["at"]))
        if at < latest and _seconds(at, latest) > MAY_STEP_BACK_SECONDS:
            found.append(Broken(n, f"entry {n} was made at {at}, after one of {latest}: the clock went back"))
        latest = max(latest, at)
        previous, expected = entry["hash"], n + 1
    reached = expected - 1
    if reached < last_stated:
        found.append(
            Broken(
                reached + 1,
                f"entries {reached + 1} to {last_stated} are missing at the end: a checkpoint of "
                f"{stated[last_stated].at} says that they were there",
            )
        )
    if head != (reached, previous if reached else FIRST) and reached >= last_stated:
        found.append(Broken(reached, f"the head says entry {head[0]}, the last entry is {reached}"))
    return found
