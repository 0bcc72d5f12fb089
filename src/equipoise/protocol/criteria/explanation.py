"""Why an expression is true, false or unknown for one person, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.protocol.criteria.compilation import Declared, compile
from equipoise.protocol.criteria.evaluation import Value, value_of
from equipoise.protocol.criteria.grammar import (
    And,
    Compare,
    Expression,
    In,
    Name,
    Node,
    Not,
    Number,
    Or,
    Text,
    Truth,
    Unknown,
    walk,
)  # fmt: skip
from equipoise.protocol.quantities import number_text

_WORDS = {
    "<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "equal to", "!=": "equal to",
}  # fmt: skip
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


@dataclass(frozen=True)
class Explanation:
    """A part of an expression with its value and the reason.

    `text` is the part as written, `value` what it yields (None: unknown), `words` a sentence without a full
    stop ("CD4 count 310 cells/mm3 is not below 300 cells/mm3"), `missing` the names that must be known
    before the value can be, `parts` the parts of `and`, `or` and `not`.
    """

    text: str
    value: Value
    words: str
    missing: tuple[str, ...] = ()
    parts: tuple[Explanation, ...] = ()


def explain(
    expression: Expression, values: Mapping[str, Value], items: Mapping[str, Declared]
) -> Explanation:
    """The reason for `evaluate(expression, values)`, part by part.

    `items` give labels and units. An expression that has not been compiled is compiled first.
    Raises `CriteriaError` (see `compile`), and ValueError as `evaluate` does.
    """
    compiled = compile(expression, items, expect=None)
    return _Teller(compiled.text, values, items).tell(compiled.root, compiled.unit or "")


class _Teller:
    def __init__(self, text: str, values: Mapping[str, Value], items: Mapping[str, Declared]) -> None:
        self.text, self.values, self.items = text, values, items

    def tell(self, node: Node, unit: str = "") -> Explanation:
        value = value_of(node, self.values)
        match node:
            case And(parts=parts) | Or(parts=parts):
                told = tuple(self.tell(part) for part in parts)
                deciding = [part for part in told if part.value is value] or list(told)
                words = "; ".join(dict.fromkeys(part.words for part in deciding))
                missing = tuple(
                    dict.fromkeys(name for part in told for name in part.missing if value is None)
                )
                return Explanation(self.source(node), value, words, missing, told)
            case Not(part=part):
                inner = self.tell(part)
                return Explanation(self.source(node), value, inner.words, inner.missing, (inner,))
            case Compare():
                words = self.comparison(node)
            case In(part=part, options=options, negated=negated):
                words = self.membership(part, [o.value for o in options], negated, value)
            case Unknown(part=part):
                words = f"{self.label(part)} is {'unknown' if value else 'known'}"
            case Name():
                words = self.item(node)
            case Truth():
                words = "always" if value else "never"
            case _ if value is None:
                words = self.nothing(node)
            case _:
                words = f"{self.source(node)} is {self.shown(value, unit)}"
        return Explanation(self.source(node), value, words, self.missing(node) if value is None else ())

    def source(self, node: Node) -> str:
        return self.text[node.at : node.end]

    def missing(self, node: Node) -> tuple[str, ...]:
        names = dict.fromkeys(part.name for part in walk(node) if isinstance(part, Name))
        return tuple(name for name in names if value_of(Name(0, 0, name), self.values) is None)

    def label(self, name: Name) -> str:
        item = self.items.get(name.name)
        return item.label if item is not None and item.label else name.name

    def item(self, name: Name) -> str:
        value = value_of(name, self.values)
        if isinstance(value, bool) or value is None:
            return f"{self.label(name)}: {'unknown' if value is None else 'yes' if value else 'no'}"
        item = self.items.get(name.name)
        return f"{self.label(name)} is {self.shown(value, item.unit if item is not None else '')}"

    def shown(self, value: Value, unit: str) -> str:
        if value is None:
            return "unknown"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return value
        return f"{number_text(float(f'{value:.10g}'))}{_joined(unit)}"

    def subject(self, node: Node, unit: str) -> str:
        """A side of a comparison, with its value."""
        value = value_of(node, self.values)
        if isinstance(node, Number | Text | Truth):
            return self.shown(value, unit)
        name = self.label(node) if isinstance(node, Name) else self.source(node)
        if value is None:
            return f"{name} (unknown)"
        return f"{name} {'' if isinstance(node, Name) else '= '}{self.shown(value, unit)}"

    def nothing(self, node: Node) -> str:
        """Words for a part without a value."""
        if isinstance(node, Name):
            return f"{self.label(node)} is unknown"
        return f"{self.source(node)} {'is unknown' if self.missing(node) else 'cannot be computed'}"

    def comparison(self, node: Compare) -> str:
        if len(node.operators) == 2 and (words := self.range(node)):
            return words
        pairs = [
            Compare(a.at, b.end, (a, b), (sign,), node.unit)
            for sign, a, b in zip(node.operators, node.operands, node.operands[1:], strict=False)
        ]
        value = value_of(node, self.values)
        deciding = [pair for pair in pairs if value_of(pair, self.values) is value] or pairs
        return "; ".join(dict.fromkeys(self.pair(pair) for pair in deciding))

    def range(self, node: Compare) -> str:
        """`50 <= cd4 < 300` when it holds: one sentence for both ends."""
        low, middle, high = node.operands
        plain = isinstance(low, Number) and isinstance(high, Number)
        if not plain or value_of(node, self.values) is not True:
            return ""
        unit = node.unit or ""
        first, second = _WORDS[_MIRROR[node.operators[0]]], _WORDS[node.operators[1]]
        ends = self.shown(value_of(low, self.values), ""), self.shown(value_of(high, self.values), unit)
        return f"{self.subject(middle, unit)} is {first} {ends[0]} and {second} {ends[1]}"

    def pair(self, node: Compare) -> str:
        (a, b), (sign,), unit = node.operands, node.operators, node.unit or ""
        if isinstance(a, Number | Text | Truth) and not isinstance(b, Number | Text | Truth):
            a, b, sign = b, a, _MIRROR[sign]  # type: ignore[assignment]
        value = value_of(node, self.values)
        if value is None and value_of(a, self.values) is None and value_of(b, self.values) is not None:
            return self.nothing(a)
        if value is None:
            return f"{self.subject(a, unit)} against {self.subject(b, unit)}: unknown"
        if node.unit is None and isinstance(b, Text | Truth) and isinstance(a, Name):
            found = self.shown(value_of(a, self.values), "")
            wanted = self.shown(value_of(b, self.values), "")
            return f"{self.label(a)} is {found}" + ("" if found == wanted else f", not {wanted}")
        holds = value is not (sign == "!=")
        return f"{self.subject(a, unit)} is {'' if holds else 'not '}{_WORDS[sign]} {self.subject(b, unit)}"

    def membership(self, part: Node, options: list[str], negated: bool, value: Value) -> str:
        found = value_of(part, self.values)
        name = self.label(part) if isinstance(part, Name) else self.source(part)
        if found is None:
            return f"{name} is unknown"
        inside = value is not negated
        listed = f"one of {', '.join(options)}" if len(options) > 1 else options[0]
        if inside and len(options) == 1:
            return f"{name} is {self.shown(found, '')}"
        return f"{name} is {self.shown(found, '')}, {'' if inside else 'not '}{listed}"


def _joined(unit: str) -> str:
    if not unit:
        return ""
    if unit in ("ULN", "LLN"):
        return f" x {unit}"
    return unit if unit == "%" else f" {unit}"
