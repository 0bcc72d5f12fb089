"""Finds a person for whom conditions hold, or shows that there can be none.

Used to find contradictions in a protocol: criteria that nobody can meet, strata that overlap or leave
somebody out. Conditions that compare one item with fixed values are decided exactly over the items' ranges;
others (arithmetic, items compared with each other) are taken as open, and the person found is tried out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from equipoise.protocol.criteria import Declared, Expression, Value, evaluate
from equipoise.protocol.criteria.grammar import (
    And,
    Compare,
    In,
    Name,
    Negative,
    Node,
    Not,
    Number,
    Or,
    Scaled,
    Text,
    Truth,
)  # fmt: skip
from equipoise.protocol.quantities import number_text

MAX_BRANCHES = 20_000
"""Alternatives tried before giving up (the question is then left open)."""


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`; each end belongs to it or not."""

    low: float = -math.inf
    high: float = math.inf
    low_in: bool = True
    high_in: bool = True

    def meet(self, other: Interval) -> Interval:
        """What lies in both."""
        low, low_in = max((self.low, not self.low_in), (other.low, not other.low_in))
        high, high_in = min((self.high, self.high_in), (other.high, other.high_in))
        return Interval(low, high, not low_in, high_in)

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and not (self.low_in and self.high_in))

    def example(self) -> float:
        """A number in it: an end that belongs to it, else a middle."""
        if math.isinf(self.low) and math.isinf(self.high):
            return 0.0
        if self.low_in and not math.isinf(self.low):
            return self.low
        if self.high_in and not math.isinf(self.high):
            return self.high
        if math.isinf(self.high):
            return self.low + 1.0
        if math.isinf(self.low):
            return self.high - 1.0
        middle = (self.low + self.high) / 2
        return float(round(middle)) if self.low < round(middle) < self.high else middle


@dataclass(frozen=True)
class Choice:
    """What a boolean or category item may still be; `options` None: any text but those in `without`."""

    options: frozenset[bool | str] | None
    without: frozenset[bool | str] = frozenset()

    def meet(self, other: Choice) -> Choice:
        """What lies in both."""
        without = self.without | other.without
        if self.options is None:
            return replace(other, without=without)
        if other.options is None:
            return replace(self, without=without)
        return Choice(self.options & other.options, without)

    @property
    def empty(self) -> bool:
        return self.options is not None and not self.options - self.without

    def example(self) -> Value:
        """Something that it may be; None where anything will do."""
        if self.options is None:
            return None
        return sorted(self.options - self.without, key=lambda option: (str(type(option)), option))[0]


Domain = Interval | Choice


@dataclass(frozen=True)
class Condition:
    """A compiled expression that shall hold (`holds`) or fail, for the sake of `name`."""

    expression: Expression
    holds: bool = True
    name: str = ""


@dataclass(frozen=True)
class _Atom:
    """One item within a domain; item None: an open condition."""

    item: str | None
    domain: Domain | None = None


@dataclass(frozen=True)
class _Any:
    branches: tuple[tuple[_Part, ...], ...]


_Part = _Atom | _Any
_OPEN = _Atom(None)
_NEVER = _Any(())
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Space:
    """The people that the items allow.

    `items`: every name that conditions may use. `same_as`: names that stand for an item (`baseline` for the
    measure). `levels`: for a name whose categories are set by conditions (a stratum), those conditions.
    """

    def __init__(
        self,
        items: Mapping[str, Declared],
        ranges: Mapping[str, tuple[float, float]],
        same_as: Mapping[str, str] | None = None,
        levels: Mapping[str, Mapping[str, Expression]] | None = None,
    ) -> None:
        self.items = items
        self.ranges = ranges
        self.same_as = dict(same_as or {})
        self.levels = dict(levels or {})

    def person(self, conditions: Sequence[Condition]) -> dict[str, Value] | None:
        """Values of the items that the conditions speak of, such that all hold; None when there are none.

        Also None where a person was found for the decidable parts only, but does not meet the rest, or
        when too many alternatives had to be tried: then nothing is known. `possible` tells these apart.
        """
        found = self._solve(conditions)
        if found is None:
            return None
        values: dict[str, Value] = {item: domain.example() for item, domain in found.items()}
        spoken = {self._item(name) for condition in conditions for name in self._names(condition.expression)}
        for name in spoken - values.keys():
            if name in self.items and name not in self.levels:
                values[name] = self._full(name).example()
        return values if self._meets(values, conditions) else None

    def possible(self, conditions: Sequence[Condition]) -> bool:
        """False when it is certain that no person meets the conditions."""
        return self._solve(conditions) is not None

    def domains(self, conditions: Sequence[Condition]) -> dict[str, Domain] | None:
        """What the conditions that need no alternative leave of each item; None when they contradict."""
        parts = [part for condition in conditions for part in self._parts(condition)]
        return self._narrow({}, [part for part in parts if isinstance(part, _Atom)])

    # --- search ---

    def _solve(self, conditions: Sequence[Condition]) -> dict[str, Domain] | None:
        self._left = MAX_BRANCHES
        return self._search({}, [part for condition in conditions for part in self._parts(condition)])

    def _search(self, domains: dict[str, Domain], parts: list[_Part]) -> dict[str, Domain] | None:
        narrowed = self._narrow(domains, [part for part in parts if isinstance(part, _Atom)])
        if narrowed is None:
            return None
        alternatives = sorted(
            (part for part in parts if isinstance(part, _Any)), key=lambda part: len(part.branches)
        )
        if not alternatives:
            return narrowed
        first, rest = alternatives[0], list(alternatives[1:])
        for branch in first.branches:
            self._left -= 1
            if self._left <= 0:
                return narrowed
            if (found := self._search(narrowed, [*branch, *rest])) is not None:
                return found
        return None

    def _narrow(self, domains: dict[str, Domain], atoms: Sequence[_Atom]) -> dict[str, Domain] | None:
        narrowed = dict(domains)
        for atom in atoms:
            if atom.item is None or atom.domain is None:
                continue
            before = narrowed.get(atom.item) or self._full(atom.item)
            if isinstance(before, Interval) and isinstance(atom.domain, Interval):
                met: Domain = before.meet(atom.domain)
            elif isinstance(before, Choice) and isinstance(atom.domain, Choice):
                met = before.meet(atom.domain)
            else:
                continue
            if met.empty:
                return None
            narrowed[atom.item] = met
        return narrowed

    def _full(self, name: str) -> Domain:
        item = self.items[name]
        if item.type == "number":
            low, high = self.ranges.get(name, (-math.inf, math.inf))
            return Interval(low, high)
        if item.type == "boolean":
            return Choice(frozenset({True, False}))
        return Choice(frozenset(item.categories)) if item.categories else Choice(None)

    # --- conditions into parts ---

    def _item(self, name: str) -> str:
        return self.same_as.get(name, name)

    def _names(self, expression: Expression) -> Iterator[str]:
        for name in expression.names:
            yield name
            for level in self.levels.get(name, {}).values():
                yield from level.names

    def _parts(self, condition: Condition) -> tuple[_Part, ...]:
        return self._node(condition.expression.root, condition.holds)

    def _node(self, node: Node, holds: bool) -> tuple[_Part, ...]:
        match node:
            case Truth(value=value):
                return () if value == holds else (_NEVER,)
            case Not(part=part):
                return self._node(part, not holds)
            case And(parts=parts) | Or(parts=parts):
                each = [self._node(part, holds) for part in parts]
                if isinstance(node, And) == holds:
                    return tuple(part for group in each for part in group)
                return (_Any(tuple(each)),)
            case Name(name=name):
                return (_Atom(self._item(name), Choice(frozenset({holds}))),)
            case In(part=Name(name=name), options=options, negated=negated):
                return self._category(name, frozenset(text.value for text in options), holds != negated)
            case Compare(operands=operands, operators=operators):
                pairs = [
                    self._pair(a, sign, b, holds)
                    for a, sign, b in zip(operands[:-1], operators, operands[1:], strict=True)
                ]
                if holds or len(pairs) == 1:
                    return tuple(part for pair in pairs for part in pair)
                return (_Any(tuple(pairs)),)
        return (_OPEN,)

    def _pair(self, left: Node, sign: str, right: Node, holds: bool) -> tuple[_Part, ...]:
        if not holds:
            sign = _OPPOSITE[sign]
        if isinstance(left, Name) and isinstance(right, Text):
            return self._category(left.name, frozenset({right.value}), sign == "==")
        if isinstance(right, Name) and isinstance(left, Text):
            return self._category(right.name, frozenset({left.value}), sign == "==")
        value = _number(right)
        named = _named(left)
        if value is None:
            value, named, sign = _number(left), _named(right), _MIRROR[sign]
        if value is None or named is None:
            return (_OPEN,)
        name, factor = named
        item, value = self._item(name), value / factor
        if sign == "!=":
            return (
                _Any(
                    (
                        (_Atom(item, Interval(high=value, high_in=False)),),
                        (_Atom(item, Interval(low=value, low_in=False)),),
                    )
                ),
            )
        if sign in ("<", "<="):
            return (_Atom(item, Interval(high=value, high_in=sign == "<=")),)
        if sign in (">", ">="):
            return (_Atom(item, Interval(low=value, low_in=sign == ">=")),)
        return (_Atom(item, Interval(value, value)),)

    def _category(self, name: str, options: frozenset[str], holds: bool) -> tuple[_Part, ...]:
        if name in self.levels:
            chosen = [
                expression for level, expression in self.levels[name].items() if (level in options) == holds
            ]
            return (_Any(tuple(self._node(expression.root, True) for expression in chosen)),)
        if holds:
            return (_Atom(self._item(name), Choice(frozenset(options))),)
        full = self._full(self._item(name))
        if isinstance(full, Choice) and full.options is not None:
            return (_Atom(self._item(name), Choice(full.options - options)),)
        return (_Atom(self._item(name), Choice(None, frozenset(options))),)

    # --- trying out ---

    def _meets(self, values: dict[str, Value], conditions: Sequence[Condition]) -> bool:
        known = {**values, **{name: values.get(item) for name, item in self.same_as.items()}}
        for name, levels in self.levels.items():
            known[name] = next((level for level, e in levels.items() if evaluate(e, known) is True), None)
        return all(
            evaluate(condition.expression, known) in (condition.holds, None) for condition in conditions
        )


def _number(node: Node) -> float | None:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Negative) and isinstance(node.part, Number):
        return -node.part.value
    return None


def _named(node: Node) -> tuple[str, float] | None:
    """The item that a part is, and the factor that it is multiplied with."""
    if isinstance(node, Name):
        return node.name, 1.0
    if isinstance(node, Scaled) and isinstance(node.part, Name) and node.factor > 0:
        return node.part.name, node.factor
    return None


def in_words(values: Mapping[str, Value], items: Mapping[str, Declared]) -> str:
    """The values of a person, for a message: "cd4 = 199 cells/mm3, pregnant = false"."""
    parts = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            shown = "true" if value else "false"
        elif isinstance(value, float | int):
            shown = f"{number_text(float(value))} {items[name].unit}".rstrip()
        else:
            shown = f'"{value}"'
        parts.append(f"{name} = {shown}")
    return ", ".join(parts) or "anybody"
