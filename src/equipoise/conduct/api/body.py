"""What a request may hold: JSON that every database can store."""

from __future__ import annotations

import json
import math
from typing import Any

from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.parser import Parser


class StrictParser(Parser):
    """Reads JSON; refuses numbers that are none, NUL characters, and nesting without end."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body as Python values. Raises HttpError (422) when it cannot be used."""
        try:
            read = json.loads(request.body, parse_constant=_no_number)
            _check(read)
        except (ValueError, RecursionError) as error:
            raise HttpError(422, f"the body is not JSON that can be used: {_words(error)}") from None
        return read


def _words(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _check(value: Any) -> None:
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("a text holds a NUL character")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, dict):
        for key, part in value.items():
            _check(key)
            _check(part)
    elif isinstance(value, list):
        for part in value:
            _check(part)
