"""Conducting a trial: real participants, real database, real pages, driven by the protocol file.

Everything that changes anything goes through one function, `equipoise.conduct.gateway.perform`, which checks
who may do it, does it in one transaction, and writes what was done into a ledger that nothing can change.
The decisions themselves are those of `equipoise.rules`, the same functions that the simulation calls.
"""

from __future__ import annotations

from importlib.util import find_spec

from equipoise.errors import MissingExtraError

_NEEDED = ("django", "allauth", "axes", "ninja", "csp", "whitenoise", "argon2", "cryptography")


def require() -> None:
    """Raise MissingExtraError when the libraries for conducting a trial are not installed."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise MissingExtraError("Conducting a trial", "conduct")
