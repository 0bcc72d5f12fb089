"""Addresses of pages. Django works each out anew, and a chart has hundreds of links: they are remembered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.urls import reverse


def address(name: str, **parameters: Any) -> str:
    """The address of a page, by its name and what it is of (hashable values). Raises NoReverseMatch when
    there is none such."""
    return _address(name, tuple(parameters.items()))


@lru_cache(maxsize=20_000)
def _address(name: str, parameters: tuple[tuple[str, Any], ...]) -> str:
    return reverse(name, kwargs=dict(parameters))
