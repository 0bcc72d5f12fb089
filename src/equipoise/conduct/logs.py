"""The server's log: when, where and what kind of trouble, never the values that it was about.

The words of an exception may quote what a person typed or a row of the database holds (an arm, a value, a
name). So only the class of an exception and the lines of code that it passed are kept.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType


class WithoutValues(logging.Formatter):
    """A line for each message; below it, for an exception, its classes and the places in the code."""

    def formatException(  # noqa: N802 - the name is that of the standard library
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The places in the code, and the class of the exception and of what caused it."""
        error = ei[1]
        parts: list[str] = []
        while error is not None:
            parts.append(type(error).__name__)
            parts += [
                f"  {place.filename}:{place.lineno} {place.name}"
                for place in traceback.extract_tb(error.__traceback__)
            ]
            error = error.__cause__ or error.__context__
        return "\n".join(parts)
