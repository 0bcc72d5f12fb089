"""What is due, kept at hand: one row for each visit and each cycle that a participant has before them, so
that the list of the day is read with one question however many participants there are.

The rows repeat what the rules say of the record and can be made anew at any time (`rebuild`). They follow
the status of a participant by themselves; whatever else changes a schedule (values, visits, decisions, holds)
calls `refresh` in its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from equipoise.conduct import clock, opening
from equipoise.conduct.models import Due, Participant
from equipoise.conduct.reading import forms as reading

HORIZON_DAYS = 400
"""How far ahead visits are kept at hand; each change of a participant moves it on."""


def refresh(participant: Participant, today: date) -> None:
    """Bring the rows of one participant up to date."""
    wanted = {(row.kind, row.key): row for row in _wanted(participant, today)}
    for row in Due.objects.filter(participant=participant):
        fresh = wanted.pop((row.kind, row.key), None)
        if fresh is None:
            row.delete()
        elif _told(row) != _told(fresh):
            fresh.id = row.id
            fresh.save(force_update=True)
    Due.objects.bulk_create(wanted.values())


def rebuild() -> int:
    """Make every row anew; how many participants were gone through."""
    count = 0
    zones = Participant.objects.select_related("site").order_by("candidate")
    for participant in zones.iterator(chunk_size=500):
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


def _told(row: Due) -> tuple[object, ...]:
    return row.words, row.opens, row.due, row.closes, row.passes, row.reveals_arm


def _wanted(participant: Participant, today: date) -> Iterable[Due]:
    if participant.status != Participant.RANDOMIZED:
        return ()
    return [*_visits(participant, today), *_cycles(participant, today)]


def _visits(participant: Participant, today: date) -> list[Due]:
    protocol, start = opening.folder().protocol, participant.randomized_on
    until = (today - start).days + HORIZON_DAYS
    planned = reading.planned_visits(protocol, participant, until)
    planned = tuple(one for one in planned if one.day >= 0)
    specific = {line.id for line in protocol.visits if line.arms is not None}
    settled = reading.settled_visits(participant)
    rows = []
    for position, visit in enumerate(planned):
        key = reading.visit_key(visit)
        if key in settled:
            continue
        later = next((other.day for other in planned[position + 1 :] if other.day > visit.day), None)
        rows.append(
            Due(
                participant=participant,
                kind=Due.VISIT,
                key=key,
                words=visit.name,
                opens=start + timedelta(days=visit.earliest),
                due=start + timedelta(days=visit.day),
                closes=start + timedelta(days=visit.latest),
                passes=None if later is None else start + timedelta(days=max(visit.latest + 1, later)),
                reveals_arm=visit.id in specific,
            )
        )
    return rows


def _cycles(participant: Participant, today: date) -> list[Due]:
    from equipoise.conduct.reading.situation import next_decisions

    return [
        Due(
            participant=participant,
            kind=Due.CYCLE,
            key=regimen,
            words=words[:200],
            opens=on,
            due=on,
            closes=None,
            passes=None,
            reveals_arm=True,
        )
        for regimen, on, words in next_decisions(participant, today)
    ]


__all__ = ["HORIZON_DAYS", "rebuild", "refresh"]
