"""Mistakes that a user can mend: one message that names the place and the mend."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's files, values or surroundings is wrong; the message says where and what to do.

    The command line prints the message alone and ends with status 2.
    """


class MissingExtraError(UserError):
    """A feature needs an optional part of the installation."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f'{feature} needs an optional part: install it with  pip install "equipoise[{extra}]"'
        )
