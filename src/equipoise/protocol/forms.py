"""Small files that go with a protocol (a mapping of data, the history of one participant), read into a model.

The same YAML as protocols, and the same kind of message: file, line, column, field, what was expected.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from equipoise.errors import UserError
from equipoise.protocol.nearest import listed, near
from equipoise.protocol.reading import Source, parse_yaml, read_limited

Form = TypeVar("Form", bound=BaseModel)

_EXPECTED = {
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "dict_type": "expected a block of `key: value` lines",
    "model_type": "expected a block of `key: value` lines",
    "model_attributes_type": "expected a block of `key: value` lines",
    "list_type": "expected a list",
    "string_pattern_mismatch": "expected a name of small letters, digits and _ that begins with a letter",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "expected {expected}",
    "too_short": "expected at least {min_length}",
}


def read_form(
    path: str | os.PathLike[str], model: type[Form], what: str, prepare: Callable[[Any], Any] | None = None
) -> Form:
    """Read a YAML or JSON file as `model`; `what` names such a file in messages ("mapping").

    `prepare` may put the data into shape first. Raises UserError at the first thing that is wrong.
    """
    try:
        content = read_limited(Path(path))
    except OSError as error:
        raise UserError(f"{path}: the {what} cannot be read: {error.strerror}") from None
    if not content.strip():
        raise UserError(f"{path}: the {what} is empty")
    source = parse_yaml(content, str(path))
    if not isinstance(source.data, dict):
        raise UserError(f"{path}: a {what} is a block of `key: value` lines")
    data = source.data if prepare is None else prepare(source.data)
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise _first(error, source, model) from None


def _first(error: ValidationError, source: Source, model: type[BaseModel]) -> UserError:
    """The first complaint; a key that does not exist comes before the one that it was meant to be."""
    details = error.errors(include_url=False)
    detail = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    path = tuple(step for step in detail["loc"] if step != "[key]")
    last = str(path[-1]) if path else ""
    if detail["type"] == "extra_forbidden":
        known = _fields(model, path[:-1])
        return source.error(
            f'unknown key "{last}"{near(last, known) or "; there are " + listed(known)}', path
        )
    if detail["type"] == "missing":
        return source.error(f'missing key "{last}"', path[:-1])
    words = _EXPECTED.get(detail["type"])
    if words is None:
        return source.error(detail["msg"].removeprefix("Value error, "), path)
    return source.error(words.format(**detail.get("ctx", {})), path)


def _fields(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys of the block at `path` in a file of this model."""
    kind: Any = model
    for step in path:
        models = _models(kind)
        if not models:
            break
        fields = models[0].model_fields
        kind = fields[step].annotation if isinstance(step, str) and step in fields else models[0]
    models = _models(kind)
    return list(models[0].model_fields) if models else []


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models that a type speaks of, through lists, mappings and choices."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models(part)]
