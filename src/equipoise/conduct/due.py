"""What is due, kept at hand: the visits and cycles that each participant has before them, so that the list of
the day is read with one question however many participants there are.

Visits that all arms have stand in the database in plain. What would tell the arm is enciphered, with a key
that is not in the database, and filled up to one length, so that nobody reads from the rows who got what.

The rows repeat what the rules say of the record and can be made anew at any time (`rebuild`). They follow the
status of a participant by themselves; whatever else changes a schedule (values, visits, decisions, holds)
calls `refresh` in its own transaction.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db.models import Q
from django.db.models.signals import post_save
from django.dispatch import receiver

from equipoise.conduct import clock, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.models import Due, Participant
from equipoise.conduct.reading import forms as reading
from equipoise.conduct.reading.history import History

HORIZON_DAYS = 400
"""How far ahead visits are kept at hand: more than a year (assumed); each change of a participant moves
it on."""
SEALED_BYTES = 4096
"""What is sealed is filled up to a multiple of this, so that its length tells nothing (assumed)."""
NONCE_BYTES = 12
"""96 bits, as NIST SP 800-38D (5.2.1.1) recommends."""
VISIT, CYCLE = "visit", "cycle"


class Someone(NamedTuple):
    """Who has something before them."""

    id: UUID
    number: str
    site_id: int


class Coming(NamedTuple):
    """A visit (by the key of its form) or a cycle to decide on (by its regimen) that somebody has before
    them: from when to when, and from which day a visit can no longer be attended."""

    kind: str
    key: str
    words: str
    opens: date
    due: date
    closes: date | None
    passes: date | None
    reveals_arm: bool


def coming(sites: Iterable[int], until: date) -> list[tuple[Someone, Coming]]:
    """Everything that has come due by a day at some sites, in order of its day. Whoever calls this may see
    arms."""
    rows = Due.objects.filter(Q(kind=Due.SEALED) | Q(opens__lte=until), participant__site__in=sites)
    found = [
        (Someone(person, number, site), one)
        for person, sealed, number, site, *row in rows.values_list(
            "participant", "sealed", "participant__number", "participant__site", *Coming._fields
        )
        for one in _told(person, sealed, Coming(*row))
        if one.opens <= until
    ]
    return sorted(found, key=lambda pair: (pair[1].due, pair[0].number, pair[1].key))


def ahead(participants: Iterable[Participant], viewer: Viewer) -> dict[Any, list[Coming]]:
    """What each of some participants has before them, in order of its day; where the viewer does not see the
    arm, the visits that all arms have."""
    rows = Due.objects.filter(participant__in=[one.pk for one in participants])
    rows = rows.filter(viewer.in_sight("participant__site"))
    found: dict[Any, list[Coming]] = {}
    for person, sealed, *row in rows.values_list("participant", "sealed", *Coming._fields):
        found.setdefault(person, []).extend(_told(person, sealed, Coming(*row)))
    return {key: sorted(of_one, key=lambda one: (one.due, one.key)) for key, of_one in found.items()}


def refresh(participant: Participant, today: date, past: Sequence[History] | None = None) -> None:
    """Bring the rows of one participant up to date. `past`: their histories, where they have been read."""
    wanted = {(row.kind, row.key): row for row in _rows(participant, today, past)}
    for row in Due.objects.filter(participant=participant):
        fresh = wanted.pop((row.kind, row.key), None)
        if fresh is None:
            row.delete()
        elif (there := _content(row)) is None or there != _content(fresh):
            fresh.id = row.id
            fresh.save(force_update=True)
    Due.objects.bulk_create(wanted.values())


def rebuild() -> int:
    """Make every row anew; how many participants were gone through."""
    count = 0
    everybody = Participant.objects.select_related("site").order_by("candidate")
    for participant in everybody.iterator(chunk_size=500):
        refresh(participant, clock.today(participant.site.zone))
        count += 1
    return count


@receiver(post_save, sender=Participant)
def _follow(
    sender: type[Participant], instance: Participant, update_fields: Iterable[str] | None, **more: Any
) -> None:
    """Whoever is randomised gets their rows in that very transaction, and loses them when follow-up ends."""
    if update_fields is not None and "status" in update_fields:
        refresh(instance, clock.today(instance.site.zone))


# --- what a participant has before them -------------------------------------------------------------------


def _rows(participant: Participant, today: date, past: Sequence[History] | None) -> list[Due]:
    if participant.status != Participant.RANDOMIZED:
        return []
    found = [*_visits(participant, today), *_cycles(participant, today, past)]
    hidden = [one for one in found if one.reveals_arm]
    plain = [
        Due(participant=participant, **one._asdict()) for one in found if not one.reveals_arm
    ]  # those are visits: cycles are never of all arms
    sealed = Due(
        participant=participant, kind=Due.SEALED, opens=participant.randomized_on,
        due=participant.randomized_on, reveals_arm=True, sealed=_seal(participant, hidden),
    )  # fmt: skip
    return [*plain, sealed]


def _visits(participant: Participant, today: date) -> list[Coming]:
    protocol, start = opening.folder().protocol, participant.randomized_on
    until = (today - start).days + HORIZON_DAYS
    planned = [one for one in reading.planned_visits(protocol, participant, until) if one.day >= 0]
    specific = {line.id for line in protocol.visits if line.arms is not None}
    settled = reading.settled_visits(participant)
    found = []
    for position, visit in enumerate(planned):
        key = reading.visit_key(visit)
        if key in settled:
            continue
        others = (
            planned[position + 1 :] if visit.id in specific else _of_all_arms(planned, position, specific)
        )
        later = next((other.day for other in others if other.day > visit.day), None)
        found.append(
            Coming(
                kind=VISIT,
                key=key,
                words=visit.name,
                opens=start + timedelta(days=visit.earliest),
                due=start + timedelta(days=visit.day),
                closes=start + timedelta(days=visit.latest),
                passes=None if later is None else start + timedelta(days=max(visit.latest + 1, later)),
                reveals_arm=visit.id in specific,
            )
        )
    return found


def _of_all_arms(planned: Sequence[Any], position: int, specific: set[str]) -> list[Any]:
    """The later visits that all arms have: what stands in plain of a visit must not depend on others."""
    return [one for one in planned[position + 1 :] if one.id not in specific]


def _cycles(participant: Participant, today: date, past: Sequence[History] | None = None) -> list[Coming]:
    from equipoise.conduct.reading.situation import decisions_ahead, next_decisions

    ahead = next_decisions(participant, today) if past is None else decisions_ahead(past, today)
    return [
        Coming(CYCLE, regimen, words, on, on, None, None, reveals_arm=True) for regimen, on, words in ahead
    ]


# --- sealing ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> ChaCha20Poly1305:
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"equipoise due").derive(key)
    return ChaCha20Poly1305(derived)


def _bound(participant_id: Any) -> bytes:
    return f"due of {participant_id}".encode()


def _seal(participant: Participant, hidden: Sequence[Coming]) -> str:
    text = json.dumps([[*one[:3], *(None if day is None else day.isoformat() for day in one[3:7])]
                       for one in hidden], ensure_ascii=False)  # fmt: skip
    content = text.encode()
    filled = content.ljust(-(-len(content) // SEALED_BYTES) * SEALED_BYTES)
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(opening.folder().key("allocation")).encrypt(nonce, filled, _bound(participant.id))
    return base64.b64encode(nonce + sealed).decode()


def _told(participant_id: UUID, sealed: str, row: Coming) -> list[Coming]:
    """What a row says; of one whose seal does not open (copied from elsewhere, say), what the record says."""
    opened = _opened(participant_id, sealed, row)
    if opened is not None:
        return opened
    person = Participant.objects.select_related("site").get(id=participant_id)
    today = clock.today(person.site.zone)
    return [one for one in (*_visits(person, today), *_cycles(person, today)) if one.reveals_arm]


def _content(row: Due) -> list[Coming] | None:
    """What a row says; None when its seal does not open."""
    plain = Coming(*(getattr(row, name) for name in Coming._fields))
    return _opened(row.participant_id, row.sealed, plain)


def _opened(participant_id: UUID, sealed: str, row: Coming) -> list[Coming] | None:
    """What a row says: itself, or if it is sealed what is within; None when the seal does not open."""
    if row.kind != Due.SEALED:
        return [row]
    content = base64.b64decode(sealed)
    try:
        text = _cipher(opening.folder().key("allocation")).decrypt(
            content[:NONCE_BYTES], content[NONCE_BYTES:], _bound(participant_id)
        )
    except InvalidTag:
        return None
    return [
        Coming(
            kind, key, words, date.fromisoformat(opens), date.fromisoformat(on),
            None if closes is None else date.fromisoformat(closes),
            None if passes is None else date.fromisoformat(passes), reveals_arm=True,
        )
        for kind, key, words, opens, on, closes, passes in json.loads(text)
    ]  # fmt: skip
