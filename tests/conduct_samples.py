"""Things for the tests that open every address and give every command: one value for each parameter that an
address may have, and inputs for each command.

A part of the application that adds a parameter adds a line to `SAMPLES`: a function of the screening number
of the participant whose page is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from equipoise.conduct import duties, opening

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


def _of(model: str, number: str, **more: Any) -> Any:
    """The key of something of a participant; of what the blinded see too, where there is a difference."""
    from equipoise.conduct import models

    found = getattr(models, model).objects.filter(participant__number=number, **more).first()
    return NOT_THERE if found is None else found.pk


def _flag(number: str) -> Any:
    from equipoise.conduct.models import Flag

    found = Flag.objects.filter(decision__participant__number=number).first()
    return NOT_THERE if found is None else found.pk


SAMPLES: dict[str, Callable[[str], Any]] = {
    "cycle": lambda number: 1,
    "event": lambda number: _of("Event", number),
    "flag": _flag,
    "form": lambda number: _of("Form", number, kind="screening"),
    "hold": lambda number: _of("Hold", number, hold=""),
    "item": lambda number: "age",
    "key": lambda number: "prestudy1",
    "kind": lambda number: "screening",
    "number": lambda number: number,
    "pk": lambda number: 1,
    "query": lambda number: _of("Query", number, reveals_arm=False),
    "regimen": lambda number: "aldesleukin",
    "row": lambda number: 0,
    "site": lambda number: int(number[:3]),
    "uidb36": lambda number: "a1",
    "username": lambda number: "ivo",
}


def _duty(number: str) -> Any:
    """A duty that stands, whoever's."""
    from equipoise.conduct.models import Duty

    return Duty.objects.get(person__username="ivo", role=duties.INVESTIGATOR).pk


def _protocol(number: str) -> str:
    """The version of the protocol that is in force."""
    return opening.folder().protocol_sha256


GIVEN: dict[str, Callable[[str], Any]] = {
    "duty": _duty,
    "event": SAMPLES["event"],
    "flag": SAMPLES["flag"],
    "form": SAMPLES["form"],
    "hold": SAMPLES["hold"],
    "onset": lambda number: "2026-01",
    "participant": lambda number: number,
    "protocol_sha256": _protocol,
    "query": SAMPLES["query"],
    "regimen": lambda number: "aldesleukin",
    "role": lambda number: duties.PHARMACIST,
    "site": SAMPLES["site"],
    "started": lambda number: "2026-01",
    "username": lambda number: "pia",
    "zone": lambda number: "UTC",
}
"""Name of an input -> what a command is told there."""


def inputs_for(model: Any, number: str) -> dict[str, Any]:
    """Inputs of the right form for a command, about a participant or their site, as JSON has them."""
    schema = model.model_json_schema()
    shapes = schema.get("$defs", {})

    def value(name: str, shape: dict[str, Any]) -> Any:
        shape = shapes[shape["$ref"].rsplit("/", 1)[1]] if "$ref" in shape else shape
        kind = shape.get("type")
        if name in GIVEN and kind != "object":
            found = GIVEN[name](number)
            return found if isinstance(found, int) else str(found)
        if "enum" in shape or "const" in shape:
            return shape.get("const", shape.get("enum", [None])[0])
        if "anyOf" in shape:
            return value(name, shape["anyOf"][0])
        if kind == "object":
            return {
                key: value(key, one)
                for key, one in shape.get("properties", {}).items()
                if key in shape.get("required", ())
            }
        if kind == "array":
            return [value(name, shape["items"])]
        if kind in ("integer", "number"):
            return max(1, shape.get("minimum", 1))
        if kind == "boolean":
            return False
        if shape.get("format") == "date":
            return "2026-03-03"
        if shape.get("format") == "date-time":
            return "2026-03-03T09:00:00Z"
        if shape.get("format") == "uuid":
            return NOT_THERE
        return "x" * max(3, shape.get("minLength", 3))

    return {
        name: value(name, shape)
        for name, shape in schema["properties"].items()
        if name in schema.get("required", ())
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


def address(route: Route, number: str) -> str:
    """The address of a route for a participant or their site."""
    from django.urls import reverse

    unknown = [name for name in route.parameters if name not in SAMPLES]
    assert not unknown, (
        f'the address "{route.name}" has the parameter "{unknown[0]}", which the tests do not know: '
        "add a line to SAMPLES in tests/conduct_samples.py"
    )
    return str(reverse(route.name, kwargs={name: SAMPLES[name](number) for name in route.parameters}))
