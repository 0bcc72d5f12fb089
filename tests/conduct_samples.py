"""Things for the tests that open every address: one value for each parameter that an address may have.

A part of the application that adds a parameter adds a line to `SAMPLES`: a function of the screening number
of the participant whose page is opened, and whether there is such a thing (a page about something that is
not there may answer 404).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Sample(NamedTuple):
    value: object
    there: bool = True


NOT_THERE = "00000000-0000-4000-8000-000000000000"

SAMPLES: dict[str, Callable[[str], Sample]] = {
    "cycle": lambda number: Sample(1, there=False),
    "event": lambda number: Sample(NOT_THERE, there=False),
    "form": lambda number: Sample(NOT_THERE, there=False),
    "hold": lambda number: Sample(NOT_THERE, there=False),
    "item": lambda number: Sample("cd4"),
    "key": lambda number: Sample("prestudy1"),
    "kind": lambda number: Sample("screening"),
    "number": lambda number: Sample(number),
    "pk": lambda number: Sample(1, there=False),
    "query": lambda number: Sample(NOT_THERE, there=False),
    "regimen": lambda number: Sample("aldesleukin", there=False),
    "row": lambda number: Sample(0),
    "site": lambda number: Sample(int(number[:3])),
    "uidb36": lambda number: Sample("a1", there=False),
    "username": lambda number: Sample("ivo"),
}
