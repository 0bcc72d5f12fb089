"""Writes protocols: YAML for people, the resolved form for machines, and the hash that names a version.

The resolved form is the protocol with every default filled in; what is absent stays absent. The canonical
form is the resolved form as JSON with the fields in one order, runs of white space in texts made one space,
texts in Unicode NFC, and numbers in one spelling (4, 4.0 and 4e0 are all `4`). Comments, the order of fields,
quotes and layout do not count, so that two files of the same meaning have the same SHA-256. The order of what
the protocol names itself counts (arms, levels, countries): random draws go through them in that order.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import unicodedata
from typing import Any

import yaml

from equipoise.protocol import model
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import number_text
from equipoise.protocol.reading import INTEGER, NOT_FINITE, NUMBER

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def resolve(protocol: Protocol) -> dict[str, Any]:
    """The resolved form: plain data (dict, list, str, float, int, bool) with defaults filled in."""
    data: dict[str, Any] = protocol.model_dump(mode="json", by_alias=True, exclude_none=True)
    return data


def canonical(protocol: Protocol) -> bytes:
    """The canonical form: one line of UTF-8 JSON; the same bytes for the same meaning."""
    data = _plain(resolve(protocol))
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def sha256(protocol: Protocol) -> str:
    """Hexadecimal SHA-256 of the canonical form: the identity of this version of the protocol."""
    return hashlib.sha256(canonical(protocol)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return unicodedata.normalize("NFC", " ".join(value.split()))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


class _Dumper(yaml.SafeDumper):
    """Writes what `reading` reads: quotes only where the plain text would mean something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own declaration)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = _fits_a_line(node.value, 60)
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = bool(node.value) and _fits_a_line(
            [part for pair in node.value for part in pair], 76
        )
        return node

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _fits_a_line(nodes: list[Any], room: int) -> bool:
    """Whether a list or block is short and flat enough for one line with brackets."""
    for node in nodes:
        if not isinstance(node, yaml.ScalarNode) and not node.flow_style:
            return False
        room -= sum(len(scalar.value) + 2 for scalar in _scalars(node))
    return room >= 0


def _scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        return [node]
    parts = (
        node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    )
    return [scalar for part in parts for scalar in _scalars(part)]


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    if "\n" in value.strip() and not any(line != line.rstrip() for line in value.split("\n")):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    return dumper.represent_scalar("tag:yaml.org,2002:str", value)


def _number(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    text = number_text(value)
    tag = "tag:yaml.org,2002:int" if INTEGER.fullmatch(text) else "tag:yaml.org,2002:float"
    return dumper.represent_scalar(tag, text)


_Dumper.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(rf"^(?:{INTEGER.pattern})$"), list("-+0123456789")
)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(rf"^(?:{NUMBER.pattern}|{NOT_FINITE.pattern})$"),
    list("-+.0123456789"),
)
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)


def _descriptions() -> dict[str, dict[str, str]]:
    """What stands under each field of the model: block name -> key in the file -> text."""
    found: dict[str, dict[str, str]] = {}
    for block in ast.parse(inspect.getsource(model)).body:
        if not isinstance(block, ast.ClassDef):
            continue
        fields = getattr(model, block.name).model_fields
        texts = found.setdefault(block.name, {})
        for field, below in zip(block.body, block.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                name = field.target.id
                texts[fields[name].alias or name] = inspect.cleandoc(below.value.value)
    return found


def dumps(protocol: Protocol) -> str:
    """The protocol as YAML, in the order of the model, without what equals a default.

    `loads(dumps(p))` has the same `sha256` as `p`.
    """
    data = protocol.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    data = {"equipoise": protocol.equipoise, **data}
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of protocol files, for editors and other programs.

    The description of a field is the text that stands under it in the model.
    """
    schema = Protocol.model_json_schema(by_alias=True, mode="validation")
    described = _descriptions()
    blocks = [(name, block) for name, block in schema["$defs"].items()] + [("Protocol", schema)]
    for name, block in blocks:
        for key, words in described.get(name, {}).items():
            block["properties"].setdefault(key, {}).setdefault("description", words)
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "Equipoise protocol, format 1"}
