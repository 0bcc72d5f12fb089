"""Why a command is not carried out, in words for who asked."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - a command is refused, not erroneous
    """A command that is not carried out, with the reason in words. `status` is that of HTTP: 403 not
    allowed, 404 not there (or not yours to see), 409 something else came first, 422 not acceptable."""

    status = 422

    def __init__(self, words: str, field: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.field = field


class NotAllowed(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class Conflict(Refused):
    status = 409


class Unavailable(Refused):
    """The machine cannot keep what is entered now: a full disk, a database that is busy or
    read-only."""

    status = 503
