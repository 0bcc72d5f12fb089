"""The criteria language: its words, its tree, and the parser that leads from the one to the other.

    expression  = disjunction
    disjunction = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | comparison
    comparison  = sum [ ( < | <= | > | >= | == | != ) sum { the same way } ]
                | sum ( "is" | "is not" ) ( text | sum )
                | sum [ "not" ] "in" "(" text { "," text } ")"
    sum         = product { ( + | - ) product }
    product     = sign { ( * | / ) sign }
    sign        = "-" sign | value
    value       = number [ unit ] | text | true | false | name | "(" expression ")"
                | ( "min" | "max" ) "(" sum { "," sum } ")" | "abs" "(" sum ")" | "unknown" "(" name ")"

A unit follows its number: `50 cells/mm3`, `18 years`, `5 x ULN`, `100 10^9/L`. It holds no spaces (apart from
those in the forms just shown); a blank before `/` makes a division. Text stands in single or double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

from equipoise.errors import UserError

KEPT = 4096
"""Expressions that are kept once they are read (assumed): a trial asks the same few hundred again."""
MAX_LENGTH = 2000
"""Characters in one expression."""
MAX_DEPTH = 40
"""Levels of nesting, of parentheses and of the tree."""
MAX_NODES = 400
"""Parts of one expression."""

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "true", "false", "min", "max", "abs", "unknown"})
"""Words that cannot be the name of an item."""

Kind = Literal["boolean", "number", "category"]
"""What an item or an expression holds."""

Comparator = Literal["<", "<=", ">", ">=", "==", "!="]


class CriteriaError(UserError):
    """An expression that cannot be understood; `at` and `end` are offsets into `text`, from 0.

    The message names the character (counted from 1) and shows the place with a caret.
    """

    def __init__(self, message: str, text: str, at: int, end: int | None = None) -> None:
        self.message, self.text, self.at = message, text, at
        self.end = max(at + 1, end if end is not None else at + 1)
        super().__init__(f"{self.line}\n{self.picture}")

    @property
    def line(self) -> str:
        """The message on one line, with the character it points at."""
        return f"{self.message} (character {self.at + 1})"

    @property
    def picture(self) -> str:
        """The expression, or the part of it around the place, and carets under the place."""
        start = max(0, self.at - 60)
        shown = "".join(c if c.isprintable() else " " for c in self.text[start : start + 100])
        carets = min(self.end, start + len(shown) + 1) - self.at
        return f"    {shown}\n    {' ' * (self.at - start)}{'^' * max(1, carets)}"


# --- the tree -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression, from offset `at` up to `end` in its text."""

    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number as written, with its unit (None: none written). `compile` replaces it by one in the item's
    unit.
    """

    value: float
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Truth(Node):
    value: bool


@dataclass(frozen=True, slots=True)
class Text(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """The name of an item; `compile` adds the item's kind."""

    name: str
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Not(Node):
    part: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`operands[0] operators[0] operands[1] ...`; with more than one operator a range. `compile` adds the
    unit.
    """

    operands: tuple[Node, ...]
    operators: tuple[Comparator, ...]
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class In(Node):
    part: Node
    options: tuple[Text, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    operator: Literal["+", "-", "*", "/"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative(Node):
    part: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    function: Literal["min", "max", "abs"]
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unknown(Node):
    """`unknown(name)`: true where the item has no value. Always known itself."""

    part: Name


@dataclass(frozen=True, slots=True)
class Scaled(Node):
    """A part turned into another unit; made by `compile`, never written."""

    part: Node
    factor: float


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    `names` are the items it speaks of, in order of appearance. `kind` and `unit` are what it yields, known
    once it has been compiled against items (`compiled`); the numbers of a compiled expression are in the
    units of its items.
    """

    text: str
    root: Node
    names: tuple[str, ...]
    compiled: bool = False
    kind: Kind | None = None
    unit: str | None = None

    def __str__(self) -> str:
        return self.text


def children(node: Node) -> tuple[Node, ...]:
    """The parts directly below a node."""
    if isinstance(node, And | Or | Call):
        return node.parts
    if isinstance(node, Not | Negative | Unknown | Scaled):
        return (node.part,)
    if isinstance(node, Compare):
        return node.operands
    if isinstance(node, In):
        return (node.part, *node.options)
    if isinstance(node, Arithmetic):
        return (node.left, node.right)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    yield node
    for child in children(node):
        yield from walk(child)


# --- words --------------------------------------------------------------------------------------------------

_UNIT_WORD = r"[A-Za-zµμ°%][A-Za-zµμ°%0-9]*"
_POWER_OF_TEN = r"10(?:\^|\*\*)[0-9]+"
_UNIT = re.compile(
    rf"(?:[x×][ ]?(?:{_POWER_OF_TEN}|ULN|LLN)|log10[ ]{_UNIT_WORD}|{_POWER_OF_TEN}|{_UNIT_WORD})"
    rf"(?:\^-?[0-9]+)?(?:[/·]{_UNIT_WORD}(?:\^-?[0-9]+)?)*"
)
_NUMBER = re.compile(
    r"(?:[0-9]{1,3}(?:[ _][0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+(?![A-Za-z0-9]))?"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]+)?"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'")
_SYMBOL = re.compile(r"<=|>=|==|!=|<>|&&|\|\||[<>=≤≥≠+\-−–*×/÷(),!]")
_BLANK = re.compile(r"\s+")

_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "−": "-", "–": "-", "×": "*", "÷": "/"}
_INSTEAD = {
    "=": 'write "==" for equal',
    "<>": 'write "!=" for not equal',
    "&&": 'write "and"',
    "||": 'write "or"',
    "!": 'write "not"',
}


class _Token(NamedTuple):
    kind: Literal["number", "text", "name", "symbol", "end"]
    text: str
    at: int
    end: int
    value: float = 0.0
    unit: str | None = None


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if match := _BLANK.match(text, at):
            at = match.end()
        elif match := _NUMBER.match(text, at):
            number = float(match[0].replace(" ", "").replace("_", ""))
            if number in (float("inf"), float("-inf")):
                raise CriteriaError("expected a finite number", text, at, match.end())
            unit, end = _unit_after(text, match.end())
            yield _Token("number", match[0], at, end, number, unit)
            at = end
        elif match := _NAME.match(text, at):
            yield _Token("name", match[0], at, match.end())
            at = match.end()
        elif match := _TEXT.match(text, at):
            content = match[1] if match[1] is not None else match[2]
            if not content:
                raise CriteriaError(
                    "a text must not be empty; write unknown(x) for no value", text, at, match.end()
                )
            yield _Token("text", content, at, match.end())
            at = match.end()
        elif match := _SYMBOL.match(text, at):
            if match[0] in _INSTEAD:
                raise CriteriaError(f"{_INSTEAD[match[0]]}, not {match[0]!r}", text, at, match.end())
            yield _Token("symbol", _SAME.get(match[0], match[0]), at, match.end())
            at = match.end()
        elif text[at] in "\"'":
            raise CriteriaError("this quotation mark is never closed", text, at)
        else:
            raise CriteriaError(f"the character {text[at]!r} has no meaning here", text, at)
    yield _Token("end", "", len(text), len(text) + 1)


def _unit_after(text: str, at: int) -> tuple[str | None, int]:
    """The unit that follows a number, and where it ends; None if none does."""
    start = at
    if match := _BLANK.match(text, at):
        start = match.end()
    if (match := _UNIT.match(text, start)) is None:
        return None, at
    word = _NAME.match(text, start)
    if word is not None and word[0] in KEYWORDS:
        return None, at
    return match[0], match.end()


# --- the parser ---------------------------------------------------------------------------------------------

_WAY = {"<": 1, "<=": 1, ">": -1, ">=": -1, "==": 0, "!=": 2}


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.position = 0
        self.depth = 0
        self.nodes = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.position]

    def is_next(self, *words: str) -> bool:
        return self.token.kind in ("symbol", "name") and self.token.text in words

    def take(self) -> _Token:
        token = self.token
        self.position += 1
        return token

    def fail(self, message: str, token: _Token | None = None) -> CriteriaError:
        token = token or self.token
        return CriteriaError(message, self.text, token.at, token.end)

    def made(self, node: Node) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise CriteriaError(f"too long: at most {MAX_NODES} parts", self.text, node.at, node.end)
        return node

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested too deeply: at most {MAX_DEPTH} levels")

    def close(self, opening: _Token) -> _Token:
        if not self.is_next(")"):
            raise self.fail(f'expected ")" for the "(" at character {opening.at + 1}{self.found()}')
        return self.take()

    def found(self) -> str:
        return ", but the expression ends here" if self.token.kind == "end" else f", not {self.shown()}"

    def shown(self) -> str:
        return self.text[self.token.at : self.token.end]

    def whole(self) -> Node:
        node = self.disjunction()
        if self.token.kind == "end":
            return node
        if self.is_next(")"):
            raise self.fail('this ")" closes nothing')
        if self.is_next("<", "<=", ">", ">=", "==", "!=", "is", "in"):
            raise self.fail(
                'a second comparison needs "and" or "or" before it, or parentheses around the first'
            )
        raise self.fail(f'expected "and", "or", a comparison or the end{self.found()}')

    def disjunction(self) -> Node:
        parts = [self.conjunction()]
        while self.is_next("or"):
            self.take()
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else self.made(Or(parts[0].at, parts[-1].end, tuple(parts)))

    def conjunction(self) -> Node:
        parts = [self.negation()]
        while self.is_next("and"):
            self.take()
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else self.made(And(parts[0].at, parts[-1].end, tuple(parts)))

    def negation(self) -> Node:
        if not self.is_next("not"):
            return self.comparison()
        word = self.take()
        self.deeper()
        part = self.negation()
        self.depth -= 1
        return self.made(Not(word.at, part.end, part))

    def comparison(self) -> Node:
        first = self.sum()
        if self.is_next("is"):
            return self.identity(first)
        if self.is_next("in", "not"):
            return self.membership(first)
        operands, operators = [first], list[Comparator]()
        while self.is_next("<", "<=", ">", ">=", "==", "!="):
            sign = self.token
            operator: Comparator = sign.text  # type: ignore[assignment]
            if operators and (_WAY[operator] != _WAY[operators[0]] or operator in ("==", "!=")):
                raise self.fail(
                    'a range goes one way, as in "50 <= cd4 < 300"; join other comparisons with "and"', sign
                )
            self.take()
            operators.append(operator)
            operands.append(self.sum())
        if not operators:
            return first
        return self.made(Compare(first.at, operands[-1].end, tuple(operands), tuple(operators)))

    def identity(self, first: Node) -> Node:
        self.take()
        operator: Comparator = "=="
        if self.is_next("not"):
            self.take()
            operator = "!="
        other = self.sum()
        return self.made(Compare(first.at, other.end, (first, other), (operator,)))

    def membership(self, first: Node) -> Node:
        negated = self.is_next("not")
        if negated:
            self.take()
            if not self.is_next("in"):
                raise self.fail(f'expected "in" after "not"{self.found()}')
        self.take()
        if not self.is_next("("):
            raise self.fail(f'expected a list such as ("a", "b") after "in"{self.found()}')
        opening = self.take()
        options = [self.option()]
        while self.is_next(","):
            self.take()
            options.append(self.option())
        closing = self.close(opening)
        return self.made(In(first.at, closing.end, first, tuple(options), negated))

    def option(self) -> Text:
        token = self.token
        if token.kind != "text":
            raise self.fail(f"expected a text in quotes{self.found()}")
        self.take()
        self.made(node := Text(token.at, token.end, token.text))
        return node

    def sum(self) -> Node:
        left = self.product()
        levels = self.depth
        while self.is_next("+", "-"):
            self.deeper()
            operator = self.take().text
            right = self.product()
            left = self.made(Arithmetic(left.at, right.end, operator, left, right))  # type: ignore[arg-type]
        self.depth = levels
        return left

    def product(self) -> Node:
        left = self.sign()
        levels = self.depth
        while self.is_next("*", "/"):
            self.deeper()
            operator = self.take().text
            right = self.sign()
            left = self.made(Arithmetic(left.at, right.end, operator, left, right))  # type: ignore[arg-type]
        self.depth = levels
        return left

    def sign(self) -> Node:
        if not self.is_next("-", "+"):
            return self.value()
        sign = self.take()
        self.deeper()
        part = self.sign()
        self.depth -= 1
        return part if sign.text == "+" else self.made(Negative(sign.at, part.end, part))

    def value(self) -> Node:
        token = self.token
        if token.kind == "number":
            self.take()
            return self.made(Number(token.at, token.end, token.value, token.unit))
        if token.kind == "text":
            self.take()
            return self.made(Text(token.at, token.end, token.text))
        if token.kind == "name" and token.text in ("true", "false"):
            self.take()
            return self.made(Truth(token.at, token.end, token.text == "true"))
        if token.kind == "name" and token.text in ("min", "max", "abs", "unknown"):
            return self.call()
        if token.kind == "name" and token.text not in KEYWORDS:
            self.take()
            if self.is_next("("):
                raise self.fail(
                    f'"{token.text}" is not a function; there are min, max, abs and unknown', token
                )
            return self.made(Name(token.at, token.end, token.text))
        if self.is_next("("):
            opening = self.take()
            self.deeper()
            node = self.disjunction()
            self.depth -= 1
            closing = self.close(opening)
            return replace(node, at=opening.at, end=closing.end)
        raise self.fail(f"expected a name, a number or a text{self.found()}")

    def call(self) -> Node:
        word = self.take()
        if not self.is_next("("):
            raise self.fail(f'expected "(" after {word.text}{self.found()}')
        opening = self.take()
        self.deeper()
        if word.text == "unknown":
            token = self.token
            if token.kind != "name" or token.text in KEYWORDS:
                raise self.fail(f"expected the name of an item{self.found()}")
            self.take()
            name = Name(token.at, token.end, token.text)
            self.made(name)
            closing = self.close(opening)
            self.depth -= 1
            return self.made(Unknown(word.at, closing.end, name))
        parts = [self.sum()]
        while self.is_next(","):
            self.take()
            parts.append(self.sum())
        if word.text == "abs" and len(parts) > 1:
            raise CriteriaError("abs takes one value", self.text, parts[1].at, parts[1].end)
        if word.text != "abs" and len(parts) < 2:
            raise self.fail(f"{word.text} takes two values or more{self.found()}")
        closing = self.close(opening)
        self.depth -= 1
        return self.made(Call(word.at, closing.end, word.text, tuple(parts)))  # type: ignore[arg-type]


@lru_cache(maxsize=KEPT)
def parse(text: str) -> Expression:
    """Read an expression without regard to what its names mean.

    Raises `CriteriaError`, which points at the character. Use `compile` wherever items are known: it also
    checks names, kinds and units, and turns written units into those of the items.
    """
    if len(text) > MAX_LENGTH:
        raise CriteriaError(f"too long: at most {MAX_LENGTH:,} characters", text, MAX_LENGTH)
    if not text.strip():
        raise CriteriaError("expected an expression, but there is nothing", text, 0)
    root = _Parser(text).whole()
    names = dict.fromkeys(node.name for node in walk(root) if isinstance(node, Name))
    return Expression(text, root, tuple(names))
