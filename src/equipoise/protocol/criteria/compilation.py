"""Checks an expression against the items it speaks of, and turns its numbers into their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from equipoise.protocol import units
from equipoise.protocol.criteria.grammar import (
    KEPT,
    KEYWORDS,
    And,
    Arithmetic,
    Call,
    Compare,
    CriteriaError,
    Expression,
    In,
    Kind,
    Name,
    Negative,
    Node,
    Not,
    Number,
    Or,
    Scaled,
    Text,
    Truth,
    Unknown,
    parse,
)  # fmt: skip
from equipoise.protocol.nearest import near


class Declared(Protocol):
    """What an expression must know of a name: an `Item` of a protocol, or a `Thing`."""

    @property
    def label(self) -> str: ...
    @property
    def type(self) -> Kind: ...
    @property
    def unit(self) -> str: ...
    @property
    def categories(self) -> Sequence[str] | None: ...


@dataclass(frozen=True)
class Thing:
    """A name that is not an item but may stand in an expression (a stratum, `baseline`)."""

    label: str
    type: Kind = "number"
    unit: str = ""
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Fault:
    """Something wrong in an expression, from offset `at` up to `end`."""

    message: str
    at: int
    end: int


def compile(
    text: str | Expression,
    items: Mapping[str, Declared],
    expect: Kind | None = "boolean",
    unit: str | None = None,
) -> Expression:
    """An expression whose names, kinds and units agree with `items`, ready to be evaluated.

    Numbers written with a unit are turned into the unit of what they are compared with; a bare number is
    taken to be in that unit. `expect` is the kind that the expression must yield (None: any); `unit` is the
    unit in which a number is wanted (None: as it comes). Raises `CriteriaError` for the first fault,
    pointing at the character.
    """
    parsed = parse(text) if isinstance(text, str) else text
    if parsed.compiled:
        return parsed
    spoken_of = tuple((name, _thing(items[name])) for name in parsed.names if name in items)
    expression = _faultless(parsed.text, spoken_of, expect, unit)
    if expression is None:
        first = min(_compile(parsed, items, expect, unit)[1], key=lambda fault: fault.at)
        raise CriteriaError(first.message, parsed.text, first.at, first.end)
    return expression


def _thing(declared: Declared) -> Thing:
    """What of an item decides how an expression is compiled."""
    categories = None if declared.categories is None else tuple(declared.categories)
    return Thing("", declared.type, declared.unit, categories)


@lru_cache(maxsize=KEPT)
def _faultless(
    text: str, spoken_of: tuple[tuple[str, Thing], ...], expect: Kind | None, unit: str | None
) -> Expression | None:
    """The compiled expression, worked out once; None when there is a fault in it."""
    expression, faults = _compile(parse(text), dict(spoken_of), expect, unit)
    return None if faults else expression


def check(
    text: str | Expression,
    items: Mapping[str, Declared],
    expect: Kind | None = "boolean",
    unit: str | None = None,
) -> list[Fault]:
    """Everything that `compile` would object to, in order of the text; an empty list if all is well."""
    try:
        parsed = parse(text) if isinstance(text, str) else text
    except CriteriaError as error:
        return [Fault(error.message, error.at, error.end)]
    if parsed.compiled:
        return []
    return sorted(_compile(parsed, items, expect, unit)[1], key=lambda fault: fault.at)


def _compile(
    parsed: Expression, items: Mapping[str, Declared], expect: Kind | None, unit: str | None
) -> tuple[Expression, list[Fault]]:
    compiler = _Compiler(items)
    typed = compiler.visit(parsed.root)
    if typed.kind is not None and expect is not None and typed.kind != expect:
        compiler.fault(f"expected {_A[expect]}, but this is {_A[typed.kind]}", parsed.root)
    elif typed.kind == "number" and unit is not None:
        typed = compiler.in_unit(typed, unit)
    expression = replace(parsed, root=typed.node, compiled=True, kind=typed.kind, unit=typed.unit or "")
    return expression, compiler.faults


_A: dict[Kind, str] = {
    "boolean": "a condition that is true or false",
    "number": "a number",
    "category": "a category",
}


@dataclass(frozen=True)
class _Typed:
    """A part with its kind (None: not known because of a fault) and unit (None: a bare number, fits any)."""

    node: Node
    kind: Kind | None
    unit: str | None = None
    written: bool = False
    """Made of written numbers only."""


class _Compiler:
    def __init__(self, items: Mapping[str, Declared]) -> None:
        self.items = items
        self.faults: list[Fault] = []

    def fault(self, message: str, node: Node) -> None:
        self.faults.append(Fault(message, node.at, node.end))

    def visit(self, node: Node) -> _Typed:
        match node:
            case Number(unit=unit):
                return _Typed(node, "number", unit, written=True)
            case Truth():
                return _Typed(node, "boolean")
            case Text():
                return _Typed(node, "category")
            case Name():
                return self.name(node)[1]
            case And(parts=parts) | Or(parts=parts):
                return _Typed(
                    replace(node, parts=tuple(self.wanted(p, "boolean").node for p in parts)), "boolean"
                )
            case Not(part=part):
                return _Typed(replace(node, part=self.wanted(part, "boolean").node), "boolean")
            case Compare():
                return self.compare(node)
            case In():
                return self.membership(node)
            case Unknown(part=part):
                return _Typed(replace(node, part=self.name(part)[0]), "boolean")
            case _:
                return self.arithmetic(node)

    def wanted(self, node: Node, kind: Kind) -> _Typed:
        typed = self.visit(node)
        if typed.kind is not None and typed.kind != kind:
            self.fault(f"expected {_A[kind]}, but this is {_A[typed.kind]}", node)
            return replace(typed, kind=None)
        return typed

    def name(self, node: Name) -> tuple[Name, _Typed]:
        item = self.items.get(node.name)
        if item is None:
            self.fault(f'there is no item "{node.name}"{near(node.name, list(self.items))}', node)
            return node, _Typed(node, None)
        if node.name in KEYWORDS:
            self.fault(f'"{node.name}" is a word of the language, not a name', node)
        named = replace(node, kind=item.type)
        return named, _Typed(named, item.type, item.unit if item.type == "number" else None)

    def in_unit(self, typed: _Typed, unit: str) -> _Typed:
        """The part, turned into `unit`."""
        node = typed.node
        if typed.kind != "number":
            return typed
        if typed.unit is None or typed.unit == unit:
            if isinstance(node, Number):
                node = replace(node, unit=None)
            return replace(typed, node=node, unit=unit)
        try:
            if isinstance(node, Number):
                return replace(
                    typed,
                    node=replace(node, value=units.convert(node.value, typed.unit, unit), unit=None),
                    unit=unit,
                )
            factor = units.factor(typed.unit, unit)
        except units.UnitError:
            if typed.unit and unit:
                message = f'the units "{typed.unit}" and "{unit}" do not go together'
            else:
                message = f'a number in "{typed.unit or unit}" does not go together with one without a unit'
            self.fault(message, node)
            return replace(typed, kind=None)
        if factor != 1.0:
            node = Scaled(node.at, node.end, node, factor)
        return replace(typed, node=node, unit=unit)

    def agree(self, parts: list[_Typed]) -> list[_Typed]:
        """Numbers in one unit: that of the first item among them, or of the first that has one."""
        named = [p for p in parts if p.unit is not None and not p.written]
        candidates = named or [p for p in parts if p.unit is not None]
        if not candidates:
            return parts
        unit = candidates[0].unit or ""
        return [self.in_unit(part, unit) for part in parts]

    def compare(self, node: Compare) -> _Typed:
        parts = [self.visit(operand) for operand in node.operands]
        kinds = {part.kind for part in parts if part.kind is not None}
        unit = None
        if len(kinds) > 1:
            first = parts[0].kind
            other = next((p for p in parts if p.kind not in (None, first)), parts[-1])
            self.fault(
                f"{_A[other.kind or 'number']} cannot be compared with {_A[first or 'number']}", other.node
            )
        elif kinds == {"number"}:
            parts = self.agree(parts)
            unit = next((part.unit for part in parts if part.unit is not None), "")
        elif kinds and any(sign not in ("==", "!=") for sign in node.operators):
            self.fault(f'{_A[next(iter(kinds))]} has no order; use "is" or "is not"', node)
        elif kinds == {"category"}:
            for part, other in ((parts[0], parts[-1]), (parts[-1], parts[0])):
                if isinstance(part.node, Text):
                    self.category(other.node, part.node)
        return _Typed(replace(node, operands=tuple(part.node for part in parts), unit=unit), "boolean")

    def membership(self, node: In) -> _Typed:
        part = self.wanted(node.part, "category")
        for option in node.options:
            self.category(part.node, option)
        return _Typed(replace(node, part=part.node), "boolean")

    def category(self, node: Node, text: Text) -> None:
        item = self.items.get(node.name) if isinstance(node, Name) else None
        if item is None or item.categories is None or text.value in item.categories:
            return
        known = list(item.categories)
        choice = f": {', '.join(known)}" if len(known) <= 12 else ""
        guess = near(text.value, known)
        name = node.name if isinstance(node, Name) else ""
        self.fault(f'"{text.value}" is not a category of {name}{guess or choice}', text)

    def arithmetic(self, node: Node) -> _Typed:
        match node:
            case Arithmetic(operator=sign, left=left, right=right):
                a, b = self.wanted(left, "number"), self.wanted(right, "number")
                written = a.written and b.written
                if a.kind is None or b.kind is None:
                    return _Typed(node, None)
                if sign in ("+", "-"):
                    a, b = self.agree([a, b])
                    unit = a.unit
                elif sign == "*":
                    unit = (
                        a.unit
                        if b.unit is None
                        else b.unit
                        if a.unit is None
                        else units.product(a.unit, b.unit)
                    )
                elif a.unit == b.unit:
                    unit = None if a.unit is None else ""
                elif b.unit is None:
                    unit = a.unit
                else:
                    a, b, unit = self.ratio(a, b)
                if a.kind is None or b.kind is None:
                    return _Typed(node, None)
                return _Typed(replace(node, left=_bare(a.node), right=_bare(b.node)), "number", unit, written)
            case Negative(part=part):
                a = self.wanted(part, "number")
                if isinstance(a.node, Number):
                    return replace(a, node=replace(a.node, value=-a.node.value, at=node.at))
                return replace(a, node=replace(node, part=a.node))
            case Call(parts=parts):
                typed = self.agree([self.wanted(part, "number") for part in parts])
                if any(part.kind is None for part in typed):
                    return _Typed(node, None)
                unit = next((part.unit for part in typed if part.unit is not None), None)
                written = all(part.written for part in typed)
                return _Typed(
                    replace(node, parts=tuple(_bare(part.node) for part in typed)), "number", unit, written
                )
        raise TypeError(f"{type(node).__name__} cannot stand in an expression")

    def ratio(self, a: _Typed, b: _Typed) -> tuple[_Typed, _Typed, str]:
        """A division of unlike units: a pure number where the units can be turned into each other."""
        above, below = a.unit or "", b.unit or ""
        if above and units.same_dimension(above, below):
            return a, self.in_unit(b, above), ""
        return a, b, units.quotient(above, below)


def _bare(node: Node) -> Node:
    return replace(node, unit=None) if isinstance(node, Number) else node
