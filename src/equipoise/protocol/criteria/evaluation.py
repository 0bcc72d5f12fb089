"""What an expression yields: for one person, or for a column of people; the same answer either way.

Truth has three values, true, false and unknown, by Kleene's strong logic ("On notation for ordinal numbers",
J Symb Log 1938;3:150-155): `false and unknown` is false, `true or unknown` is true, `not unknown` is
unknown. A comparison or a sum with something unknown is unknown, and so is a division by zero.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from equipoise.protocol.criteria.grammar import (
    And,
    Arithmetic,
    Call,
    Compare,
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
    children,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = bool | float | str | None
"""A value for one person: None (or NaN, or the empty text) is unknown."""

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _ready(expression: Expression) -> None:
    if expression.compiled:
        return
    stack: list[Node] = [expression.root]
    while stack:
        node = stack.pop()
        if isinstance(node, Number) and node.unit is not None:
            raise ValueError(
                f'"{expression.text}" holds units: use criteria.compile(text, items) before evaluating it'
            )
        stack.extend(children(node))


# --- one person ---------------------------------------------------------------------------------------------


def evaluate(expression: Expression, values: Mapping[str, Value]) -> Value:
    """The value of the expression for one person.

    `values` maps item names to numbers (in the item's unit), True/False, or the text of a category. None,
    NaN, "" and a missing name all mean unknown. Returns True, False, a float, a text, or None for unknown.
    Raises ValueError if a value is not of the kind that the expression needs, or if the expression holds
    units and has not been compiled.
    """
    _ready(expression)
    return value_of(expression.root, values)


def value_of(node: Node, values: Mapping[str, Value]) -> Value:
    """The value of one part of a compiled expression (see `evaluate`)."""
    match node:
        case Number(value=value) | Truth(value=value) | Text(value=value):
            return value
        case Name(name=name):
            return _known(values.get(name))
        case And(parts=parts):
            return _all(parts, values)
        case Or(parts=parts):
            return _any(parts, values)
        case Not(part=part):
            truth = _truth(value_of(part, values))
            return None if truth is None else not truth
        case Compare():
            return _compare(node, values)
        case In(part=part, options=options, negated=negated):
            text = value_of(part, values)
            if text is None:
                return None
            return (_text(text) in {option.value for option in options}) != negated
        case Unknown(part=part):
            return value_of(part, values) is None
        case _:
            return _arithmetic(node, values)


def _arithmetic(node: Node, values: Mapping[str, Value]) -> float | None:
    match node:
        case Arithmetic(operator=sign, left=left, right=right):
            a, b = _number(value_of(left, values)), _number(value_of(right, values))
            if a is None or b is None or (sign == "/" and b == 0.0):
                return None
            return _finite({"+": _add, "-": _subtract, "*": _multiply, "/": _divide}[sign](a, b))
        case Negative(part=part):
            a = _number(value_of(part, values))
            return None if a is None else -a
        case Scaled(part=part, factor=factor):
            a = _number(value_of(part, values))
            return None if a is None else _finite(a * factor)
        case Call(function=function, parts=parts):
            numbers = [_number(value_of(part, values)) for part in parts]
            known = [n for n in numbers if n is not None]
            if len(known) < len(numbers):
                return None
            return abs(known[0]) if function == "abs" else (min(known) if function == "min" else max(known))
    raise TypeError(f"{type(node).__name__} cannot be evaluated")


_add: Callable[[float, float], float] = operator.add
_subtract: Callable[[float, float], float] = operator.sub
_multiply: Callable[[float, float], float] = operator.mul
_divide: Callable[[float, float], float] = operator.truediv


def _finite(value: float) -> float | None:
    """A result that no number can hold is unknown."""
    return value if math.isfinite(value) else None


def _known(value: Value) -> Value:
    if value is None or value == "":
        return None
    if isinstance(value, bool | str):
        return value
    number = float(value)
    return None if math.isnan(number) else number


def _truth(value: Value) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, not {value!r}")


def _number(value: Value) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool | str):
        raise ValueError(f"expected a number, not {value!r}")
    return value


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected a category, not {value!r}")


def _all(parts: tuple[Node, ...], values: Mapping[str, Value]) -> bool | None:
    truths = [_truth(value_of(part, values)) for part in parts]
    if any(t is False for t in truths):
        return False
    return None if any(t is None for t in truths) else True


def _any(parts: tuple[Node, ...], values: Mapping[str, Value]) -> bool | None:
    truths = [_truth(value_of(part, values)) for part in parts]
    if any(t is True for t in truths):
        return True
    return None if any(t is None for t in truths) else False


def _compare(node: Compare, values: Mapping[str, Value]) -> bool | None:
    found = [value_of(operand, values) for operand in node.operands]
    unknown = False
    for sign, a, b in zip(node.operators, found, found[1:], strict=False):
        if a is None or b is None:
            unknown = True
            continue
        plain = isinstance(a, float) and isinstance(b, float)
        if not plain and (type(a) is not type(b) or sign not in ("==", "!=")):
            raise ValueError(f"cannot compare {a!r} with {b!r} by {sign}")
        if not _COMPARE[sign](a, b):
            return False
    return None if unknown else True


# --- a column of people -------------------------------------------------------------------------------------


def evaluate_columns(expression: Expression, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The value of the expression for many people at once; agrees with `evaluate` row by row.

    `columns` maps item names to arrays of one length n: numbers as float64 (or integers) with NaN for
    unknown; truths as int8 1, 0, -1 (unknown), or as bool; categories as arrays of text (dtype object or
    str) with None or "" for unknown. An item without a column is unknown for everybody; at least one column
    must be given. Returns shape (n,): int8 1/0/-1 for a truth, float64 with NaN for a number, object with ""
    for a category. Raises ValueError for columns of unequal length or of the wrong kind.
    """
    import numpy as np

    _ready(expression)
    lengths = {np.shape(column) for column in columns.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError("expected columns of one dimension and one length, at least one")
    (n,) = next(iter(lengths))
    result: Any = _Columns(columns).value(expression.root)
    if result is None:
        unknown = np.bool_(False)
        empty = {
            "boolean": _Truths(unknown, unknown),
            "category": _Texts("", unknown),
            "number": np.float64("nan"),
        }
        result = empty[expression.kind or "number"]
    if isinstance(result, _Truths):
        out = np.full(n, -1, dtype=np.int8)
        out[np.broadcast_to(result.yes, n)] = 1
        out[np.broadcast_to(result.no, n)] = 0
        return out
    if isinstance(result, _Texts):
        texts = np.array(np.broadcast_to(np.asarray(result.text, dtype=object), n))
        texts[~np.broadcast_to(result.known, n)] = ""
        return texts
    return np.array(np.broadcast_to(result, n), dtype=np.float64)


class _Truths:
    """Three-valued truths as two masks; unknown where neither holds."""

    __slots__ = ("no", "yes")

    def __init__(self, yes: Any, no: Any) -> None:
        self.yes, self.no = yes, no


class _Texts:
    """Categories and the mask of those that are known."""

    __slots__ = ("known", "text")

    def __init__(self, text: Any, known: Any) -> None:
        self.text, self.known = text, known


class _Columns:
    """Evaluates parts to _Truths, _Texts, float64 arrays, or None for a name without a column."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        import numpy

        self.np, self.columns = numpy, columns
        self.read: dict[str, Any] = {}

    def value(self, node: Node) -> Any:
        np = self.np
        match node:
            case Number(value=value):
                return np.float64(value)
            case Truth(value=value):
                return _Truths(np.bool_(value), np.bool_(not value))
            case Text(value=value):
                return _Texts(value, np.bool_(True))
            case Name(name=name, kind=kind):
                if name not in self.read:
                    self.read[name] = self.column(name, kind)
                return self.read[name]
            case And(parts=parts):
                return self.both([self.truths(part) for part in parts])
            case Or(parts=parts):
                return self.either([self.truths(part) for part in parts])
            case Not(part=part):
                truth = self.truths(part)
                return _Truths(truth.no, truth.yes)
            case Compare():
                return self.compare(node)
            case In(part=part, options=options, negated=negated):
                return self.membership(self.value(part), options, negated)
            case Unknown(part=part):
                unknown = self.unknown(self.value(part))
                return _Truths(unknown, ~unknown)
            case _:
                return self.arithmetic(node)

    def column(self, name: str, kind: Kind | None) -> Any:
        np = self.np
        if name not in self.columns:
            return None
        column = self.columns[name]
        read: Any
        letter = column.dtype.kind
        if letter == "b":
            read, found = _Truths(column, ~column), "boolean"
        elif letter in "iuf" and (kind == "boolean" or (kind is None and column.dtype == np.int8)):
            read, found = _Truths(column == 1, column == 0), "boolean"
        elif letter in "iuf":
            read, found = column.astype(np.float64, copy=False), "number"
        elif letter == "O":
            read, found = _Texts(column, np.not_equal(column, None) & np.not_equal(column, "")), "category"
        elif letter in "UT":
            read, found = _Texts(column, column != ""), "category"
        else:
            raise ValueError(f"{name}: expected numbers, truths or texts, not a column of {column.dtype}")
        if kind is not None and kind != found:
            raise ValueError(f"{name}: expected a column of kind {kind}, not {column.dtype}")
        return read

    def both(self, truths: list[_Truths]) -> _Truths:
        first, *others = truths
        yes, no = first.yes, first.no
        for other in others:
            yes, no = yes & other.yes, no | other.no
        return _Truths(yes, no)

    def either(self, truths: list[_Truths]) -> _Truths:
        first, *others = truths
        yes, no = first.yes, first.no
        for other in others:
            yes, no = yes | other.yes, no & other.no
        return _Truths(yes, no)

    def truths(self, node: Node) -> _Truths:
        value = self.value(node)
        if value is None:
            return _Truths(self.np.bool_(False), self.np.bool_(False))
        if isinstance(value, _Truths):
            return value
        raise ValueError("expected a truth, not a number or a category")

    def numbers(self, node: Node) -> Any:
        value = self.value(node)
        if value is None:
            return self.np.float64("nan")
        if isinstance(value, _Truths | _Texts):
            raise ValueError("expected a number, not a truth or a category")
        return value

    def unknown(self, value: Any) -> Any:
        np = self.np
        if value is None:
            return np.bool_(True)
        if isinstance(value, _Truths):
            return ~(value.yes | value.no)
        if isinstance(value, _Texts):
            return ~value.known
        return np.isnan(value)

    def compare(self, node: Compare) -> _Truths:
        found = [self.value(operand) for operand in node.operands]
        truths = [self.pair(sign, a, b) for sign, a, b in zip(node.operators, found, found[1:], strict=False)]
        return self.both(truths)

    def pair(self, sign: str, a: Any, b: Any) -> _Truths:
        np = self.np
        if a is None or b is None:
            return _Truths(np.bool_(False), np.bool_(False))
        kinds = {type(x) if isinstance(x, _Truths | _Texts) else float for x in (a, b)}
        if len(kinds) > 1 or (sign not in ("==", "!=") and float not in kinds):
            raise ValueError(f"cannot compare these with {sign}")
        if isinstance(a, _Truths):
            equal = _Truths((a.yes & b.yes) | (a.no & b.no), (a.yes & b.no) | (a.no & b.yes))
        elif isinstance(a, _Texts):
            known = a.known & b.known
            same = np.asarray(np.equal(a.text, b.text), dtype=np.bool_) & known
            equal = _Truths(same, known & ~same)
        elif sign in ("==", "!="):
            equal = _Truths(a == b, (a < b) | (a > b))
        else:
            return _Truths(_COMPARE[sign](a, b), _COMPARE[_OPPOSITE[sign]](a, b))
        return equal if sign == "==" else _Truths(equal.no, equal.yes)

    def membership(self, value: Any, options: tuple[Text, ...], negated: bool) -> _Truths:
        truths = [self.pair("==", value, _Texts(option.value, self.np.bool_(True))) for option in options]
        inside = self.either(truths)
        return _Truths(inside.no, inside.yes) if negated else inside

    def arithmetic(self, node: Node) -> Any:
        np = self.np
        match node:
            case Arithmetic(operator=sign, left=left, right=right):
                a, b = self.numbers(left), self.numbers(right)
                with np.errstate(all="ignore"):
                    return self.finite(
                        {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[sign](a, b)
                    )
            case Negative(part=part):
                return -self.numbers(part)
            case Scaled(part=part, factor=factor):
                with np.errstate(all="ignore"):
                    return self.finite(self.numbers(part) * factor)
            case Call(function=function, parts=parts):
                numbers = [self.numbers(part) for part in parts]
                if function == "abs":
                    return np.abs(numbers[0])
                result = numbers[0]
                for other in numbers[1:]:
                    result = (np.minimum if function == "min" else np.maximum)(result, other)
                return result
        raise TypeError(f"{type(node).__name__} cannot be evaluated")

    def finite(self, result: Any) -> Any:
        np = self.np
        return np.where(np.isfinite(result), result, np.nan)
