"""Reads protocol files: YAML made for people, with errors that name the place and the mend.

The YAML understood is the plain core of YAML 1.2: only `true` and `false` are truth values, `null` and `~`
are nothing, numbers are decimal, dates are text until a field expects a date. Whatever makes a file mean
something other than what it shows is refused: anchors, aliases, tags, merge keys, keys said twice, several
documents.

Every error is a `ProtocolError` with one message, `file:line:column: field.path: what was expected`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from equipoise.errors import UserError
from equipoise.protocol.model import Block, Protocol
from equipoise.protocol.nearest import near

AnyBlock = TypeVar("AnyBlock", bound=BaseModel)

MAX_BYTES = 2_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000


class ProtocolError(UserError):
    """A protocol file cannot be read.

    `place` is the file (or what stands for it), `line` and `column` count from 1 (None where there is no
    line to point at), `path` names the field ("regimens.aldesleukin.cycle.dose"), `message` says what was
    expected.
    """

    def __init__(
        self, message: str, place: str, line: int | None = None, column: int | None = None, path: str = ""
    ) -> None:
        self.message, self.place, self.line, self.column, self.path = message, place, line, column, path
        where = place if line is None else f"{place}:{line}:{column}"
        super().__init__(": ".join(part for part in (where, path, message) if part))


# --- from text to data with positions -----------------------------------------------------------------------


@dataclass(frozen=True)
class Position:
    """Where something stands in the text, counted from 1."""

    line: int
    column: int


@dataclass
class _Node:
    """A value of the file with its position, and the positions of its keys if it is a mapping."""

    value: Any
    at: Position
    written: str = ""
    children: dict[str | int, _Node] = field(default_factory=dict)
    keys: dict[str, Position] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The data of a file, and the way from a field's path back to its line and column."""

    data: Any
    place: str
    _root: _Node

    def find(self, path: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Position]:
        """The part of `path` that stands in the file, and its position (that of the key, where it has one).

        Steps that are not in the file are passed over, so that the path of a field which is left out leads to
        the block that lacks it.
        """
        node, at, walked = self._root, self._root.at, []
        for step in path:
            if step in node.children:
                at = (
                    node.keys.get(step, node.children[step].at)
                    if isinstance(step, str)
                    else node.children[step].at
                )
                node = node.children[step]
                walked.append(step)
        return tuple(walked), at

    def value_at(self, path: tuple[str | int, ...]) -> Position:
        """Position of the value at `path` (not of its key); or of the nearest block around it."""
        node = self._root
        for step in path:
            node = node.children.get(step, node)
        return node.at

    def written(self, path: tuple[str | int, ...]) -> str:
        """A single value as the file spells it; "" for a list, a block or nothing."""
        node = self._root
        for step in path:
            if step not in node.children:
                return ""
            node = node.children[step]
        return node.written

    def locate(self, place: str) -> Position:
        """Position of a field given as text ("visits[2].at"), or of the nearest block around it."""
        node, at, rest = self._root, self._root.at, place
        while rest:
            step = next(
                (
                    (child, rest[len(text) :])
                    for child in sorted(node.children, key=lambda c: -len(str(c)))
                    if rest.startswith(text := path_text((child,)))
                    and rest[len(text) : len(text) + 1] in ("", ".", "[")
                ),
                None,
            )
            if step is None:
                break
            child, rest = step[0], step[1].removeprefix(".")
            at = node.keys.get(str(child), node.children[child].at)
            node = node.children[child]
        return at

    def where(self, place: str) -> str:
        """File, line and column of a field given as text: "my.yaml:35:5"."""
        at = self.locate(place)
        return f"{self.place}:{at.line}:{at.column}"

    def error(self, message: str, path: tuple[str | int, ...] = ()) -> ProtocolError:
        """An error about the field at `path`."""
        _, at = self.find(path)
        return ProtocolError(message, self.place, at.line, at.column, path_text(path))


def path_text(path: tuple[str | int, ...]) -> str:
    """`("visits", 2, "at")` as text: "visits[2].at"; lists count from 0, as in JSON."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Composer:
    """Turns the events of the YAML parser into nodes, refusing what a protocol may not contain."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=_Loader)
        self.count = 0

    def fail(self, message: str, mark: Any, path: tuple[str | int, ...] = ()) -> ProtocolError:
        return ProtocolError(message, self.place, mark.line + 1, mark.column + 1, path_text(path))

    def document(self) -> _Node | None:
        next(self.events)
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self.node(next(self.events), (), 1)
        next(self.events)
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.fail("a protocol is one document; a second one starts here", event.start_mark)
        return node

    def refuse(self, event: Any, path: tuple[str | int, ...]) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise self.fail("aliases (*name) are not allowed; write the value out", mark, path)
        if event.anchor is not None:
            raise self.fail(
                "anchors (&name) are not allowed; write the value out where it is needed", mark, path
            )
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self.fail(f"tags ({_short(tag, 60)}) are not allowed; write the plain value", mark, path)
        if isinstance(event, yaml.ScalarEvent) and (bad := _CONTROL.search(event.value)):  # by an escape
            raise self.fail(f"the control character U+{ord(bad[0]):04X} is not allowed", mark, path)

    def node(self, event: Any, path: tuple[str | int, ...], depth: int) -> _Node:
        mark = event.start_mark
        self.refuse(event, path)
        self.count += 1
        if self.count > MAX_NODES:
            raise self.fail(f"too many values (more than {MAX_NODES:,}) for a protocol", mark, path[:3])
        if depth > MAX_DEPTH:
            raise self.fail(f"nested too deeply (more than {MAX_DEPTH} levels)", mark, path[:3])
        at = Position(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event, path) if event.implicit[0] else event.value
            return _Node(value, at, event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(at, path, depth)
        return self.mapping(at, path, depth)

    def sequence(self, at: Position, path: tuple[str | int, ...], depth: int) -> _Node:
        children: dict[str | int, _Node] = {}
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            index = len(children)
            children[index] = self.node(event, (*path, index), depth + 1)
        return _Node([child.value for child in children.values()], at, children=children)

    def mapping(self, at: Position, path: tuple[str | int, ...], depth: int) -> _Node:
        node = _Node({}, at)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            mark: Any = event.start_mark
            self.refuse(event, path)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.fail("a key must be a plain word, not a list or a block", mark, path)
            key = event.value
            key_path = (*path, key) if len(key) <= 80 else path
            if key == "<<":
                raise self.fail("merge keys (<<) are not allowed; write the values out", mark, path)
            if key in node.keys:
                first = node.keys[key]
                raise self.fail(f"said twice; the first is at line {first.line}", mark, key_path)
            node.keys[key] = Position(mark.line + 1, mark.column + 1)
            child = self.node(next(self.events), key_path, depth + 1)
            node.children[key] = child
            node.value[key] = child.value
        return node

    def scalar(self, event: yaml.ScalarEvent, path: tuple[str | int, ...]) -> Any:
        """The value of unquoted text, by the rules of the YAML 1.2 core."""
        text = event.value
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if INTEGER.fullmatch(text):
            return int(text)
        if NUMBER.fullmatch(text):
            number = float(text)
            if math.isfinite(number):
                return number
            raise self.fail(f"expected a finite number, not {_short(text, 30)}", event.start_mark, path)
        if NOT_FINITE.fullmatch(text):
            raise self.fail(f"expected a finite number, not {text}", event.start_mark, path)
        return text


_TABS = "tabs are not allowed at the start of a line; use spaces"
_YAML_WORDS = [
    # what the YAML parser says (the compiled and the plain one differ), and what we say
    (
        r"found character .*that cannot start any token",
        "this character cannot start a value; put the text in quotes",
    ),
    (
        r"mapping values are not allowed",
        "a colon is not allowed here; put the text in quotes, or start a new line",
    ),
    (r"could not find expected ':'", "expected `key: value`; a colon is missing"),
    (
        r"did not find expected key|expected <block end>",
        "expected a key that lines up with those above it; or is a quote above not closed?",
    ),
    (r"did not find expected '-' indicator", "expected a list entry that lines up with those above it"),
    (r"(?:did not find )?expected ',' or '}'", "expected a comma or } here"),
    (r"(?:did not find )?expected ',' or ']'", "expected a comma or ] here"),
    (r"found unexpected end of stream", "the text ends in the middle of a quoted value"),
    (r"did not find expected node content|expected the node content", "expected a value here"),
    (
        r"(did not find )?expected '?<document start>",
        "expected `key: value` lines only; this line is neither",
    ),
    (r"exceeded maximum nesting depth", f"nested too deeply (more than {MAX_DEPTH} levels)"),
    (r"found duplicate anchor", "anchors (&name) are not allowed; write the value out where it is needed"),
]


def parse_yaml(text: str | bytes, place: str = "protocol") -> Source:
    """Data and positions of a YAML text. Raises `ProtocolError`; never runs or fetches anything."""
    content = _decode(text, place)
    composer = _Composer(content, place)
    try:
        root = composer.document()
    except yaml.YAMLError as error:
        raise _yaml_error(error, content, place) from None
    if root is None or root.value is None:
        raise ProtocolError("the file is empty; `equipoise new` writes one to start from", place)
    return Source(root.value, place, root)


def _decode(text: str | bytes, place: str) -> str:
    if len(text) > MAX_BYTES:
        raise _too_large(place)
    try:
        content = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8")
        raise ProtocolError("not UTF-8 text; save the file as UTF-8", place, *_line_column(before)) from None
    content = content.removeprefix("\ufeff")
    if bad := _CONTROL.search(content):
        message = f"the control character U+{ord(bad[0]):04X} is not allowed"
        raise ProtocolError(message, place, *_line_column(content[: bad.start()]))
    return content


def _line_column(before: str) -> tuple[int, int]:
    """Line and column of the place that follows this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _too_large(place: str) -> ProtocolError:
    return ProtocolError(f"too large for a protocol (at most {MAX_BYTES:,} bytes)", place)


def read_limited(path: Path) -> bytes:
    """What a file, a pipe or a device holds, and no more than shows that it is too large. Raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _yaml_error(error: yaml.YAMLError, text: str, place: str) -> ProtocolError:
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "this is not YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if line[: len(line) - len(line.lstrip())].count("\t"):
        column = line.index("\t") + 1
        return ProtocolError(_TABS, place, mark.line + 1, column)
    if mark is None:
        return ProtocolError(problem, place)
    words = next((words for pattern, words in _YAML_WORDS if re.match(pattern, problem)), problem)
    return ProtocolError(words, place, mark.line + 1, mark.column + 1)


# --- from data to a protocol --------------------------------------------------------------------------------


def bundled() -> list[str]:
    """Names of the protocols that come with Equipoise, in alphabetical order."""
    folder = resources.files("equipoise.protocol") / "library"
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load(name_or_path: str | Path) -> Protocol:
    """The protocol of a bundled name ("silcaat") or of a file.

    Raises `ProtocolError` (a `UserError`) if there is no such protocol or it cannot be read.
    """
    return build(load_source(name_or_path))


def load_source(name_or_path: str | Path) -> Source:
    """The data of a bundled name or of a file, with positions; not yet validated. Raises `ProtocolError`."""
    name = str(name_or_path)
    known = bundled()
    if name in known:
        text = (resources.files("equipoise.protocol") / "library" / f"{name}.yaml").read_bytes()
        return parse_yaml(text, f"{name}.yaml")
    path = Path(name_or_path)
    try:
        if path.is_dir():
            raise ProtocolError("this is a folder; name the protocol file in it", name)
        return parse_yaml(read_limited(path), name)
    except FileNotFoundError:
        raise ProtocolError(
            f"no such file, and no bundled protocol of that name{near(name, known)}", name
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ProtocolError(f"cannot be read: {reason}", name) from None


def loads(text: str | bytes, place: str = "protocol") -> Protocol:
    """The protocol written in `text` (YAML or JSON); `place` stands for the file in messages.

    Raises `ProtocolError`.
    """
    return build(parse_yaml(text, place))


def build(source: Source) -> Protocol:
    """The protocol of data that has been read. Raises `ProtocolError` at the first field that is wrong."""
    return build_as(source, Protocol)


def build_as(source: Source, kind: type[AnyBlock]) -> AnyBlock:
    """What the data say, as a block of that kind. Raises `ProtocolError` at the first field that is wrong."""
    if not isinstance(source.data, dict):
        what = "a list" if isinstance(source.data, list) else "a single value"
        raise source.error(f"a protocol is a block of `key: value` lines, not {what}")
    try:
        return kind.model_validate_json(json.dumps(source.data), strict=True)
    except ValidationError as error:
        raise _translate(error, source, kind) from None


@dataclass(frozen=True)
class _Complaint:
    rank: int
    at: Position
    path: tuple[str | int, ...]
    message: str


def _translate(error: ValidationError, source: Source, root: type[BaseModel]) -> ProtocolError:
    """The first thing that is wrong, in words, and how many more there are."""
    groups: dict[tuple[str | int, ...], list[Any]] = {}
    for detail in error.errors(include_url=False):
        groups.setdefault(_real_path(detail, source), []).append(detail)
    groups = _of_the_branch_that_was_meant(groups, source)
    complaints = sorted(
        (_complain(path, details, source, root) for path, details in groups.items()),
        key=lambda c: (c.rank, c.at.line, c.at.column),
    )
    first = complaints[0]
    message = first.message
    if (others := len(complaints) - 1) > 0:
        message += f" (and {others} more {'mistake' if others == 1 else 'mistakes'})"
    return ProtocolError(message, source.place, first.at.line, first.at.column, path_text(first.path))


def _of_the_branch_that_was_meant(
    groups: dict[tuple[str | int, ...], list[Any]], source: Source
) -> dict[tuple[str | int, ...], list[Any]]:
    """Where a block may stand for a single value, a block is what was meant: that it is no number is not
    worth saying beside what is wrong within it."""
    kept = {}
    for path, details in groups.items():
        missing = any(detail["type"] == "missing" for detail in details)
        if path and not missing and isinstance(_value_at(source, path), dict):
            inner = [detail for detail in details if detail["type"] not in _WANTED]
            deeper = any(other[: len(path)] == path and other != path for other in groups)
            if not inner and deeper:
                continue
            details = inner or details
        kept[path] = details
    return kept


def _real_path(detail: Any, source: Source) -> tuple[str | int, ...]:
    """The path of a complaint without the validator's own marks (branches of unions, "[key]")."""
    node, path = source.data, []
    for index, step in enumerate(detail["loc"]):
        inside = (
            isinstance(step, int) and step < len(node) if isinstance(node, list) else isinstance(node, dict)
        )
        if inside and (isinstance(node, list) or step in node):
            node = node[step]
        elif index == len(detail["loc"]) - 1 and detail["type"] == "missing":
            pass
        else:
            continue
        path.append(step)
    return tuple(path)


def _complain(
    path: tuple[str | int, ...], details: list[Any], source: Source, root: type[BaseModel]
) -> _Complaint:
    detail = details[0]
    kind = detail["type"]
    parent, name = path[:-1], path[-1] if path else ""
    _, at = source.find(path)
    if kind == "extra_forbidden":
        known = fields_at(parent, root)
        message = f'unknown key "{_short(name, 60)}"' + (
            near(str(name), known, 0.7) or _choice("; known here", known)
        )
        return _Complaint(0, at, path, message)
    if kind == "missing":
        _, at = source.find(parent)
        if isinstance(name, int):
            return _Complaint(1, at, parent, f"expected {name + 1} values or more")
        return _Complaint(1, at, parent, f'missing key "{name}"')
    if detail["loc"] and detail["loc"][-1] == "[key]":
        return _Complaint(1, at, path, _NOT_A_NAME.format(f'"{_short(name, 60)}"'))
    value = _value_at(source, path)
    if len(details) > 1 and len({d["type"] for d in details}) > 1:
        wanted = [w for d in details if (w := _WANTED.get(d["type"]))]
        if len(wanted) == len(details):
            return _Complaint(
                1, source.value_at(path), path, f"expected {' or '.join(wanted)}, not {_shown(value)}"
            )
    at = source.value_at(path) if kind not in ("value_error",) or not isinstance(value, dict) else at
    return _Complaint(1, at, path, _words(detail, value, source.written(path)))


_WANTED = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a block of `key: value` lines",
    "model_type": "a block of `key: value` lines",
    "model_attributes_type": "a block of `key: value` lines",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "date_type": "a date such as 2001-04-30",
    "date_parsing": "a date such as 2001-04-30",
    "date_from_datetime_parsing": "a date such as 2001-04-30",
    "date_from_datetime_inexact": "a date such as 2001-04-30",
}

_NOT_A_NAME = (
    "{} is not a name; names have lower-case letters, digits and _, start with a letter and have at most "
    "60 characters"
)

_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _words(detail: Any, value: Any, written: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type" and isinstance(value, int | float):
        return f'expected text, not {_short(written, 40)}; put it in quotes: "{_short(written, 40)}"'
    if kind in _WANTED:
        hint = ""
        if kind.startswith("bool") and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
            hint = "; write true or false, without quotes"
        if kind in ("int_type", "float_type") and isinstance(value, str) and NUMBER.fullmatch(value):
            hint = "; leave out the quotes"
        return f"expected {_WANTED[kind]}, not {_shown(value)}{hint}"
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"must be {word} {_shown(context[key])}, not {_shown(value)}"
    if kind == "literal_error":
        allowed = [a.strip().strip("'") for a in re.split(r", (?=')| or (?=')", context["expected"])]
        guess = near(value, allowed) if isinstance(value, str) else ""
        if len(allowed) == 1:
            return f"expected {allowed[0]}, not {_shown(value)}"
        return f"expected one of: {', '.join(allowed)}; not {_shown(value)}{guess}"
    if kind == "string_pattern_mismatch":
        return _NOT_A_NAME.format(_shown(value))
    if kind == "string_too_long":
        return f"too long: at most {context['max_length']} characters"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "too_short":
        least = context["min_length"]
        return f"needs at least {'one entry' if least == 1 else f'{least} entries'}"
    if kind == "too_long":
        return f"has too many entries: at most {context['max_length']}"
    message = str(detail["msg"])
    return message[0].lower() + message[1:]


def _value_at(source: Source, path: tuple[str | int, ...]) -> Any:
    node = source.data
    for step in path:
        if isinstance(node, dict | list):
            node = node[step]  # type: ignore[index]
    return node


def _short(value: Any, length: int) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.15g}"
    if isinstance(value, str):
        return f'"{_short(value, 60)}"'
    return "a list" if isinstance(value, list) else "a block"


def _choice(opening: str, known: list[str]) -> str:
    return f"{opening}: {', '.join(known)}" if known and len(known) <= 40 else ""


def fields_at(path: tuple[str | int, ...], root: type[BaseModel]) -> list[str]:
    """The keys that the model knows for the block at `path`."""
    kinds: list[Any] = [root]
    for step in path:
        kinds = [inner for kind in kinds for inner in _step(kind, step)]
    names: dict[str, None] = {}
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names.update(dict.fromkeys(f.alias or n for n, f in kind.model_fields.items()))
    return sorted(names, key=lambda name: name in Block.model_fields)


def _step(kind: Any, step: str | int) -> list[Any]:
    """Types that a value of type `kind` may hold at `step`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [
            inner
            for name, info in kind.model_fields.items()
            if step == (info.alias or name)
            for inner in _flat(info.annotation)
        ]
    arguments = get_args(kind)
    if get_origin(kind) is dict and isinstance(step, str):
        return _flat(arguments[1])
    if get_origin(kind) in (list, tuple) and isinstance(step, int):
        return _flat(arguments[0])
    return []


def _flat(kind: Any) -> list[Any]:
    """The members of a union, without annotations."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return [inner for member in get_args(kind) for inner in _flat(member)]
    if origin is Literal:
        return []
    if hasattr(kind, "__metadata__"):
        return _flat(get_args(kind)[0])
    return [kind]
