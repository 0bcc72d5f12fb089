"""The criteria language: conditions on declared items, for one person or for a million.

    expression = compile("50 <= cd4 < 300 cells/uL and not pregnant", protocol.items)
    evaluate(expression, {"cd4": 210, "pregnant": None})             # None: unknown
    explain(expression, {"cd4": 310}, protocol.items).words          # why
    evaluate_columns(expression, {"cd4": array, "pregnant": array})  # int8: 1 true, 0 false, -1 unknown

`compile` is what programs use: it checks names, kinds and units against the items and turns written units
into those of the items. `parse` looks at syntax only; an expression with units must be compiled before it is
evaluated. `check` lists what `compile` would object to. Names that are not items (a stratum, `baseline`) are
declared with `Thing`, in the same mapping:

    compile("cd4 < 2 * baseline", {**protocol.items, "baseline": Thing("baseline CD4", unit="cells/mm3")})

`derive` and `derive_columns` add the items that are computed from others.

The language is set out in `grammar`, its three-valued logic in `evaluation`.
"""

from equipoise.protocol.criteria.compilation import Declared, Fault, Thing, check, compile
from equipoise.protocol.criteria.derivation import derivations, derive, derive_columns
from equipoise.protocol.criteria.evaluation import Value, evaluate, evaluate_columns
from equipoise.protocol.criteria.explanation import Explanation, explain
from equipoise.protocol.criteria.grammar import KEYWORDS, CriteriaError, Expression, Kind, parse

__all__ = [
    "KEYWORDS", "CriteriaError", "Declared", "Explanation", "Expression", "Fault", "Kind", "Thing", "Value",
    "check", "compile", "derivations", "derive", "derive_columns", "evaluate", "evaluate_columns", "explain",
    "parse",
]  # fmt: skip
