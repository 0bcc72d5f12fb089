"""Items that are computed from other items (`derive` in the protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from equipoise.errors import UserError
from equipoise.protocol.criteria.compilation import compile
from equipoise.protocol.criteria.evaluation import Value, evaluate, evaluate_columns
from equipoise.protocol.criteria.grammar import Expression, parse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from equipoise.protocol.model import Item


def derivations(items: Mapping[str, Item]) -> dict[str, Expression]:
    """The compiled derivations of the items that have one, each after those that it needs.

    Raises `CriteriaError` for a wrong expression and `UserError` for items that are derived from each other
    in a circle.
    """
    pending = {name: parse(item.derive) for name, item in items.items() if item.derive is not None}
    ordered: dict[str, Expression] = {}
    while pending:
        ready = [name for name, expression in pending.items() if not pending.keys() & set(expression.names)]
        if not ready:
            raise UserError(f"these items are derived from each other in a circle: {', '.join(pending)}")
        for name in ready:
            item = items[name]
            unit = item.unit if item.type == "number" else None
            ordered[name] = compile(pending.pop(name), items, item.type, unit)
    return ordered


def derive(values: Mapping[str, Value], items: Mapping[str, Item]) -> dict[str, Value]:
    """The values of one person with the derived items added.

    A derived value replaces a given one wherever it can be computed.
    """
    complete = dict(values)
    for name, expression in derivations(items).items():
        value = evaluate(expression, complete)
        if value is not None:
            complete[name] = value
    return complete


def derive_columns(columns: Mapping[str, NDArray[Any]], items: Mapping[str, Item]) -> dict[str, NDArray[Any]]:
    """The columns of many people with the derived items added; agrees with `derive` row by row."""
    import numpy as np

    complete = dict(columns)
    for name, expression in derivations(items).items():
        computed = evaluate_columns(expression, complete)
        given = complete.get(name)
        if given is not None:
            if expression.kind == "number":
                computed = np.where(np.isnan(computed), given, computed)
            elif expression.kind == "boolean":
                computed = np.where(computed == -1, given, computed).astype(np.int8)
            else:
                computed = np.where(computed == "", given, computed)
        complete[name] = computed
    return complete
