"""Things for the tests that open every address: one value for each parameter that an address may have.

A part of the application that adds a parameter adds a line to `SAMPLES`: a function of the screening number
of the participant whose page is opened, and whether there is such a thing (a page about something that is
not there may answer 404).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Sample(NamedTuple):
    value: object
    there: bool = True


NOT_THERE = "00000000-0000-4000-8000-000000000000"


def add_participant(number: str) -> Any:
    """A participant in screening at the site of that number, with one event and one query."""
    from datetime import date

    from equipoise.conduct import clock
    from equipoise.conduct.models import Event, EventVersion, Participant, Query

    now = clock.now()
    made = Participant.objects.create(
        number=number, candidate=int(number[4:8]), site_id=int(number[:3]), screened_on=date(2026, 3, 2),
        consent_on=date(2026, 3, 2), consent_version="1",
    )  # fmt: skip
    event = Event.objects.create(participant=made, number=1, kind="adverse_event")
    EventVersion.objects.create(
        event=event, version=1, term="headache", onset="2026-03-02", serious=False, person="ada", at=now
    )
    Query.objects.create(participant=made, item="cd4", text="please look", opened_by="mona", opened_at=now,
                         changed_at=now)  # fmt: skip
    return made


def _of(kind: str, number: str) -> Sample:
    from equipoise.conduct import models

    found = getattr(models, kind).objects.filter(participant__number=number).first()
    return Sample(NOT_THERE, there=False) if found is None else Sample(found.pk)


SAMPLES: dict[str, Callable[[str], Sample]] = {
    "cycle": lambda number: Sample(1, there=False),
    "event": lambda number: _of("Event", number),
    "form": lambda number: _of("Form", number),
    "hold": lambda number: _of("Hold", number),
    "item": lambda number: Sample("cd4"),
    "key": lambda number: Sample("prestudy1"),
    "kind": lambda number: Sample("screening"),
    "number": lambda number: Sample(number),
    "pk": lambda number: Sample(1, there=False),
    "query": lambda number: _of("Query", number),
    "regimen": lambda number: Sample("aldesleukin", there=False),
    "row": lambda number: Sample(0),
    "site": lambda number: Sample(int(number[:3])),
    "uidb36": lambda number: Sample("a1", there=False),
    "username": lambda number: Sample("ivo"),
}


# --- every address -----------------------------------------------------------------------------------------


class Route(NamedTuple):
    name: str
    parameters: tuple[str, ...]


def routes() -> list[Route]:
    """Every address of the application that has, or should have, a name."""
    from django.urls import get_resolver

    found: list[Route] = []

    def walk(patterns: Any, space: str, before: tuple[str, ...]) -> None:
        for one in patterns:
            own = (*before, *one.pattern.regex.groupindex)
            if hasattr(one, "url_patterns"):
                inside = f"{space}{one.namespace}:" if one.namespace else space
                walk(one.url_patterns, inside, own)
            else:
                found.append(Route(f"{space}{one.name or one.pattern}", own))

    walk(get_resolver().url_patterns, "", ())
    return found


def address(route: Route, number: str) -> tuple[str, bool]:
    """The address of a route for a participant or their site, and whether all that it names is there."""
    from django.urls import reverse

    unknown = [name for name in route.parameters if name not in SAMPLES]
    assert not unknown, (
        f'the address "{route.name}" has the parameter "{unknown[0]}", which the tests do not know: '
        "add a line to SAMPLES in tests/conduct_samples.py"
    )
    samples = {name: SAMPLES[name](number) for name in route.parameters}
    made = reverse(route.name, kwargs={name: sample.value for name, sample in samples.items()})
    return made, all(sample.there for sample in samples.values())
