"""Three-valued truth: yes, no, or not known (Kleene's strong logic), as small whole numbers.

A missing laboratory value is not "no": every condition of a rule answers `YES`, `NO` or `UNKNOWN`.
"""

from __future__ import annotations

NO = 0
YES = 1
UNKNOWN = -1


def not_(a: int) -> int:
    """Kleene negation: unknown stays unknown."""
    if a == YES:
        return NO
    if a == NO:
        return YES
    return UNKNOWN


def and_(a: int, b: int) -> int:
    """Kleene conjunction: one `NO` decides, else one unknown leaves it open."""
    if a == NO or b == NO:
        return NO
    if a == YES and b == YES:
        return YES
    return UNKNOWN


def or_(a: int, b: int) -> int:
    """Kleene disjunction: one `YES` decides, else one unknown leaves it open."""
    if a == YES or b == YES:
        return YES
    if a == NO and b == NO:
        return NO
    return UNKNOWN


def word(a: int) -> str:
    """The truth value as a word: "yes", "no" or "unknown"."""
    return "yes" if a == YES else "no" if a == NO else "unknown"


def from_optional(value: object) -> int:
    """Truth of a value of the criteria language: True, False, or None for unknown."""
    return UNKNOWN if value is None else YES if value else NO
