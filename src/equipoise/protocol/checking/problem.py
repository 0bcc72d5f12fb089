"""What a check finds, and the words that all checks share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from equipoise.protocol.nearest import near

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something wrong in a protocol; `place` is the path of the field."""

    severity: Severity
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.message}"


Problems = Iterator[Problem]


def error(place: str, message: str) -> Problem:
    """A problem that keeps the trial from being run as written."""
    return Problem("error", place, message)


def warning(place: str, message: str) -> Problem:
    """A problem that is odd or has no effect."""
    return Problem("warning", place, message)


def there_is_no(kind: str, name: str | None, known: Iterable[str]) -> str:
    """That a name is not declared, with the nearest that is."""
    return f'there is no {kind} "{name}"{near(str(name), list(known))}'
