"""What the reading functions return, as JSON: frozen data classes, dates, rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from django.db.models import Model

from equipoise.conduct import ledger

NOT_SHOWN = frozenset({"participant", "form_row"})
"""Whose it is, the address says."""


@cache
def _worked_out(kind: type) -> tuple[str, ...]:
    """Names of what a data class works out from its fields."""
    return tuple(
        name
        for name, part in vars(kind).items()
        if isinstance(part, property | cached_property) and not name.startswith("_")
    )


def plain(value: Any) -> Any:
    """The value as JSON can hold it. A number that is not known is null; a row is its identifier."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, datetime):
        return ledger.utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Model):
        return str(value.pk)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [part.name for part in dataclasses.fields(value) if part.name not in NOT_SHOWN]
        return {name: plain(getattr(value, name)) for name in (*names, *_worked_out(type(value)))}
    if hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    return str(value)
