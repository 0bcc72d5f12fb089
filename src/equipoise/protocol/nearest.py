"""The nearest valid name, for messages that say what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, known: Sequence[str], most: int = 1, likeness: float = 0.6) -> list[str]:
    """The known words most like a word, the likest first, whatever their case; at most `most` of them."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=most, cutoff=likeness)
    return [by_lower[name] for name in close]


def near(word: str, known: Sequence[str], likeness: float = 0.6) -> str:
    """ "; did you mean "silcaat"?" for the nearest of the known words, or nothing."""
    close = nearest(word, known, 1, likeness)
    return f'; did you mean "{close[0]}"?' if close else ""


def near_or_all(word: str, known: Sequence[str]) -> str:
    """ "; did you mean "month" or "months"?", or else "; there are ..." with what is known."""
    close = nearest(word, known, 3)
    if close:
        return "; did you mean " + " or ".join(f'"{name}"' for name in close) + "?"
    return f"; there are {listed(known)}"


def listed(names: Sequence[str], most: int = 30) -> str:
    """Names with commas between them; of a long list the first, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
