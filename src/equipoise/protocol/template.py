"""A new protocol to start from: small, complete, and explained field by field (`template.yaml`)."""

from __future__ import annotations

import json
from importlib.resources import files

from equipoise.errors import UserError

MAX_NAME = 60
_NAMED = 'protocol: "My trial"'


def new(name: str) -> str:
    """The text of a commented protocol called `name`, free of contradictions, to be edited.

    Raises UserError for a name that is empty, longer than 60 characters or more than one line.
    """
    tidy = name.strip()
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise UserError(f"a protocol needs a name of 1 to {MAX_NAME} printable characters, not {name!r}")
    text = files("equipoise.protocol").joinpath("template.yaml").read_text(encoding="utf-8")
    return text.replace(_NAMED, f"protocol: {json.dumps(tidy, ensure_ascii=False)}", 1)
