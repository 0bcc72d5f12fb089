"""What candidates answer and what the protocol asks, as one list of operations for the sieve.

The answers are those of `equipoise.virtual.baseline.candidates`, the verdicts those of
`equipoise.protocol.criteria`; here they are only put in an order in which little is done in vain. Criteria
that fail many for few draws come first. A comparison of one drawn number with a limit becomes a comparison of
its uniform with the uniform at which the number reaches the limit, which spares the number itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol.criteria import grammar
from equipoise.protocol.criteria.derivation import derivations
from equipoise.protocol.model import Item
from equipoise.simulate import sieve
from equipoise.simulate.plans import Setup
from equipoise.simulate.sieve import Program
from equipoise.virtual.baseline import (
    Answer,
    Shape,
    _number_column,
    asked_at_entry,
    site_blocks,
)
from equipoise.virtual.maths import log
from equipoise.virtual.streams import (
    CD4_TRUE,
    COUNTRY,
    DEMOGRAPHY,
    HISTORY,
    ITEM,
    SCREENING_COUNT,
    VIROLOGY_AT_ENTRY,
)

TRAITS = ("count", "nadir", "age", "female", "prior_aids", "viraemic", "log10_level")
"""First columns of the sieve's result; then the count at baseline, the strata's levels, the arms' goals."""

_STEP = 2.3283064365386963e-10
"""Between two uniforms of 32 bits."""
_WORDS = 2**32
_PIECES: dict[int, int] = {sieve.PAIR: 2, sieve.WORDS: 4}
_COST: dict[int, float] = {
    sieve.PAIR: 6.0, sieve.WORDS: 6.0, sieve.CUT: 9.0, sieve.NUMBER: 8.0, sieve.COUNT: 8.0,
    sieve.COPIES: 20.0, sieve.CLIPPED_NORMAL: 5.0, sieve.CHOICE: 4.0,
}  # fmt: skip
"""About how many ns an operation takes for one candidate; half a nanosecond otherwise."""


class Value(NamedTuple):
    """What an operation yields: its number in the list of all, which of its results, and of what kind."""

    operation: int
    piece: int
    kind: grammar.Kind


class _Operation(NamedTuple):
    code: int
    inputs: tuple[Value, ...]
    """Columns it reads, in the order a, b, c, d."""
    whole: tuple[int, ...]
    """Whole numbers it needs, placed after the inputs."""
    constants: tuple[float, ...]


class Screening(NamedTuple):
    """The protocol's screening, ready for the sieve."""

    program: Program
    stratum_levels: tuple[tuple[str, ...], ...]
    share: float
    """Of the first candidates, the share that is eligible; at least 1 in 100."""


class _Graph:
    """Operations, each made once however often its result is asked for."""

    def __init__(self) -> None:
        self.operations: list[_Operation] = []
        self.known: dict[_Operation, int] = {}
        self.tables: list[float] = []
        self.stretches: dict[tuple[float, ...], int] = {}
        self.codes: dict[str, float] = {}

    def make(
        self, code: int, kind: grammar.Kind, *inputs: Value, whole: tuple[int, ...] = (),
        constants: tuple[float, ...] = (), piece: int = 0,
    ) -> Value:  # fmt: skip
        operation = _Operation(code, inputs, whole, constants)
        if operation not in self.known:
            self.known[operation] = len(self.operations)
            self.operations.append(operation)
        return Value(self.known[operation], piece, kind)

    def pair(self, purpose: int, index: int, piece: int) -> Value:
        return self.make(sieve.PAIR, "number", whole=(purpose, index), piece=piece)

    def constant(self, value: float, kind: grammar.Kind = "number") -> Value:
        # A NaN differs from itself, so that it would be made again and again: one of its own.
        return self.make(sieve.CONSTANT, kind, constants=(math.nan if math.isnan(value) else value,))

    def truth(self, value: bool) -> Value:
        return self.constant(1.0 if value else -1.0, "boolean")

    def within(self, uniform: Value, low: float, high: float) -> Value:
        return self.make(sieve.WITHIN, "boolean", uniform, constants=(low, high))

    def below(self, uniform: Value, limit: float) -> Value:
        return self.within(uniform, -math.inf, limit)

    def all_of(self, truths: Sequence[Value]) -> Value:
        return self._chain(sieve.BOTH, truths)

    def any_of(self, truths: Sequence[Value]) -> Value:
        return self._chain(sieve.EITHER, truths)

    def _chain(self, code: int, truths: Sequence[Value]) -> Value:
        first, *others = truths
        for other in others:
            first = self.make(code, "boolean", first, other)
        return first

    def denied(self, truth: Value) -> Value:
        operation = self.operations[truth.operation]
        if operation.code == sieve.NOT:
            return operation.inputs[0]
        return self.make(sieve.NOT, "boolean", truth)

    def where(self, truth: Value, value: Value, otherwise: float) -> Value:
        """The value where the truth is yes, else the other."""
        return self.make(sieve.SELECT, value.kind, value, truth, constants=(otherwise,))

    def stretch(self, entries: Sequence[float]) -> tuple[int, int]:
        """Where these entries stand in the tables."""
        key = tuple(entries)
        if key not in self.stretches:
            self.stretches[key] = len(self.tables)
            self.tables.extend(key)
        return self.stretches[key], self.stretches[key] + len(key)

    def looked_up(self, position: Value, entries: Sequence[float], kind: grammar.Kind) -> Value:
        return self.make(sieve.TABLE, kind, position, whole=(self.stretch(entries)[0],))

    def choice(self, weights: Sequence[float], uniform: Value) -> Value:
        edges = _edges(weights)
        return self.make(sieve.CHOICE, "number", uniform, whole=self.stretch(edges))

    def text(self, text: str | None) -> float:
        """The number that stands for a text; NaN for none."""
        return self.codes.setdefault(text, float(len(self.codes))) if text else math.nan


def _edges(weights: Sequence[float]) -> list[float]:
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    made: list[float] = (edges / edges[-1]).tolist()
    return made


# --- what candidates are and answer -------------------------------------------------------------------------


class _Candidates:
    """The columns of `equipoise.virtual.baseline.candidates`, each made when it is first asked for."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.graph = setup, _Graph()
        self.file, self.protocol = setup.baseline.file, setup.protocol
        self.asked = asked_at_entry(setup.protocol)
        self.derived = derivations(setup.protocol.items)
        self.order = {name: position for position, name in enumerate(self.file.items)}
        self.answers: dict[str, Value] = {}
        self.columns: dict[str, Value] = {}

    # the traits

    def shaped(self, shape: Shape, uniform: Value, high: Value | None = None) -> Value:
        constants = (
            float(shape.distribution == "lognormal"), shape.median, shape.sd, shape.low, shape.shift,
            shape.high,
        )  # fmt: skip
        inputs = (uniform,) if high is None else (uniform, high)
        return self.graph.make(
            sieve.CUT, "number", *inputs, whole=(-1,) if high is None else (), constants=constants
        )

    def trait(self, name: str) -> Value:
        graph, file = self.graph, self.file
        if name == "count":
            return self.shaped(file.count, graph.pair(CD4_TRUE, 0, 0))
        if name == "nadir":
            return self.shaped(file.nadir, graph.pair(CD4_TRUE, 0, 1), self.trait("count"))
        if name == "age":
            age = self.shaped(file.age, graph.pair(DEMOGRAPHY, 0, 0))
            return graph.make(sieve.ROUND, "number", age, constants=(100.0,))
        if name == "female":
            return graph.below(graph.pair(DEMOGRAPHY, 0, 1), file.female.share)
        if name == "prior_aids":
            return graph.below(graph.pair(HISTORY, 0, 0), file.prior_aids.share)
        if name == "viraemic":
            return graph.denied(graph.below(graph.pair(VIROLOGY_AT_ENTRY, 0, 0), file.suppressed.share))
        population = self.setup.population
        return graph.make(
            sieve.CLIPPED_NORMAL, "number", graph.pair(VIROLOGY_AT_ENTRY, 0, 1),
            constants=(population.value("rna_level"), population.spread("rna_level"),
                       population.value("rna_level_low"), population.value("rna_level_high")),
        )  # fmt: skip

    def country(self) -> Value:
        weights = [float(weight) for weight in self.accrual.values()]
        return self.graph.choice(weights, self.graph.pair(COUNTRY, 0, 0))

    def site(self) -> Value:
        graph = self.graph
        assert self.protocol.simulation is not None
        blocks = site_blocks(list(self.accrual.values()), self.protocol.simulation.sites)
        starts = np.concatenate([[0], np.cumsum(blocks)[:-1]]) + 1
        country, u = self.country(), graph.pair(COUNTRY, 0, 1)
        size = graph.looked_up(country, [float(block) for block in blocks], "number")
        square = graph.make(sieve.MULTIPLY, "number", u, u)
        within = graph.make(sieve.FLOOR, "number", graph.make(sieve.MULTIPLY, "number", square, size))
        first = graph.looked_up(country, [float(start) for start in starts], "number")
        return graph.make(sieve.ADD, "number", first, within)

    @property
    def accrual(self) -> dict[str, int]:
        assert self.protocol.simulation is not None
        return self.protocol.simulation.accrual

    # the items

    def column(self, name: str) -> Value | None:
        """An item as the criteria see it; None for one that nobody is asked at entry."""
        if name not in self.columns:
            given = self.answer(name) if name in self.asked or name in self.answers else None
            if name in self.derived:
                computed = self.expression(self.derived[name].root, self.column)
                if given is not None and computed is not None:
                    code = sieve.COALESCE_TRUTH if given.kind == "boolean" else sieve.COALESCE
                    given = self.graph.make(code, given.kind, computed, given)
                else:
                    given = computed if computed is not None else given
            if given is None:
                return None
            self.columns[name] = given
        return self.columns[name]

    def answer(self, name: str) -> Value:
        """The answers to one item."""
        if name in self.answers:
            return self.answers[name]
        protocol, baseline, graph = self.protocol, self.setup.baseline, self.graph
        item = protocol.items[name]
        if name not in self.file.items:
            raise UserError(
                f"{protocol.protocol}: items.{name}: the baseline population {baseline.name} does not say "
                f"how people answer it; add `{name}` under `items` in {baseline.place}"
            )
        spec = self.file.items[name]
        asked = []
        if spec.only is not None:
            female = self.trait("female")
            asked.append(female if spec.only == "female" else graph.denied(female))
        if spec.when is not None:
            if spec.when not in protocol.items:
                raise UserError(
                    f"{baseline.place}: items.{name}.when: {protocol.protocol} has no item `{spec.when}`"
                )
            asked.append(self.answer(spec.when))
        value = self.unconditional(name, spec, item)
        if asked:
            left_out = (1.0 if spec.otherwise else -1.0) if item.type == "boolean" else math.nan
            value = graph.where(graph.all_of(asked), value, left_out)
        self.answers[name] = value
        return value

    def unconditional(self, name: str, spec: Answer, item: Item) -> Value:
        """The answers of those who are asked."""
        graph = self.graph
        if spec.of is not None:
            return self.of_trait(spec)
        if spec.history:
            illnesses = list(self.file.history)
            edges = [-math.inf, *_edges(list(self.file.history.values()))[:-1], math.inf]
            place = illnesses.index(name)
            chosen = graph.within(graph.pair(HISTORY, 0, 1), edges[place], edges[place + 1])
            return graph.all_of([self.trait("prior_aids"), chosen])
        if spec.value is not None:
            return self.given(spec.value, item.type)
        group, piece = divmod(self.order[name], 4)
        uniform = graph.make(sieve.WORDS, "number", whole=(group,), piece=piece)
        if spec.probability is not None:
            return graph.below(uniform, spec.probability)
        if spec.choices is not None:
            chosen = graph.choice(list(spec.choices.values()), uniform)
            entries = [float(key) if item.type == "number" else graph.text(key) for key in spec.choices]
            return graph.looked_up(chosen, entries, item.type)
        low, high = item.range if item.range is not None else (-1e12, 1e12)
        logarithmic = spec.lognormal is not None
        middle, sd = spec.lognormal or spec.normal or (0.0, 0.0)
        return graph.make(
            sieve.NUMBER, "number", uniform,
            constants=(log(middle) if logarithmic else middle, sd, float(logarithmic), 10.0**spec.digits,
                       float(low), float(high)),
        )  # fmt: skip

    def given(self, value: float | bool | str, kind: grammar.Kind) -> Value:
        if kind == "boolean":
            return self.graph.truth(bool(value))
        if kind == "category":
            return self.graph.constant(self.graph.text(str(value)), "category")
        return self.graph.constant(float(value))

    def of_trait(self, spec: Answer) -> Value:
        graph = self.graph
        if spec.of == "age":
            return self.trait("age")
        if spec.of == "sex":
            position = graph.make(sieve.NUMBER_OF_TRUTH, "number", self.trait("female"))
            return graph.looked_up(position, [graph.text("male"), graph.text("female")], "category")
        if spec.of == "prior aids":
            return self.trait("prior_aids")
        if spec.of == "nadir":
            return graph.make(sieve.ROUND, "number", self.trait("nadir"), constants=(1.0,))
        if spec.of == "country":
            return graph.looked_up(self.country(), [graph.text(name) for name in self.accrual], "category")
        if spec.of == "site":
            assert self.protocol.simulation is not None
            names = [graph.text(str(number)) for number in range(self.protocol.simulation.sites + 1)]
            return graph.looked_up(self.site(), names, "category")
        if spec.of == "cd4":
            noise = graph.pair(SCREENING_COUNT, spec.sample, 0)
            return graph.make(sieve.COUNT, "number", self.trait("count"), noise)
        noise = graph.pair(SCREENING_COUNT, spec.sample, 1)
        return graph.make(sieve.COPIES, "number", self.trait("viraemic"), self.trait("log10_level"), noise)

    # expressions

    def expression(self, node: grammar.Node, column: Callable[[str], Value | None]) -> Value | None:
        """The value of an expression; None where a name has no column, so that all of it is unknown."""
        graph = self.graph
        match node:
            case grammar.Number(value=value):
                return graph.constant(value)
            case grammar.Truth(value=value):
                return graph.truth(value)
            case grammar.Text(value=text):
                return graph.constant(graph.text(text), "category")
            case grammar.Name(name=name):
                return column(name)
            case grammar.And(parts=parts):
                return graph.all_of([self.truth(part, column) for part in parts])
            case grammar.Or(parts=parts):
                return graph.any_of([self.truth(part, column) for part in parts])
            case grammar.Not(part=part):
                return graph.denied(self.truth(part, column))
            case grammar.Compare(operands=operands, operators=operators):
                found = [self.expression(operand, column) for operand in operands]
                pairs = zip(operators, found, found[1:], strict=False)
                return graph.all_of([self.compared(sign, a, b) for sign, a, b in pairs])
            case grammar.In(part=part, options=options, negated=negated):
                asked = self.expression(part, column)
                inside = graph.any_of(
                    [self.compared("==", asked, self.expression(option, column)) for option in options]
                )
                return graph.denied(inside) if negated else inside
            case grammar.Unknown(part=part):
                asked = self.expression(part, column)
                if asked is None:
                    return graph.truth(True)
                code = sieve.UNKNOWN_TRUTH if asked.kind == "boolean" else sieve.UNKNOWN_NUMBER
                return graph.make(code, "boolean", asked)
        return self.arithmetic(node, column)

    def truth(self, node: grammar.Node, column: Callable[[str], Value | None]) -> Value:
        value = self.expression(node, column)
        return self.graph.constant(0.0, "boolean") if value is None else value

    def arithmetic(self, node: grammar.Node, column: Callable[[str], Value | None]) -> Value:
        graph = self.graph
        numbers = [self.expression(part, column) for part in grammar.children(node)]
        values = [graph.constant(math.nan) if number is None else number for number in numbers]
        if isinstance(node, grammar.Arithmetic):
            codes = {"+": sieve.ADD, "-": sieve.SUBTRACT, "*": sieve.MULTIPLY, "/": sieve.DIVIDE}
            return graph.make(codes[node.operator], "number", *values)
        if isinstance(node, grammar.Negative):
            return graph.make(sieve.NEGATIVE, "number", *values)
        if isinstance(node, grammar.Scaled):
            return graph.make(sieve.MULTIPLY, "number", values[0], graph.constant(node.factor))
        if isinstance(node, grammar.Call):
            first, *others = values
            if node.function == "abs":
                return graph.make(sieve.ABSOLUTE, "number", first)
            for other in others:
                code = sieve.LEAST if node.function == "min" else sieve.MOST
                first = graph.make(code, "number", first, other)
            return first
        raise TypeError(f"{type(node).__name__} cannot be evaluated")

    def compared(self, sign: str, a: Value | None, b: Value | None) -> Value:
        graph = self.graph
        if a is None or b is None:
            return graph.constant(0.0, "boolean")
        if sign == "!=":
            return graph.denied(self.compared("==", a, b))
        if a.kind == "boolean":
            return graph.make(sieve.AGREE, "boolean", a, b)
        if sign in (">", ">="):
            turned = {">": "<", ">=": "<="}[sign]
            return self.compared(turned, b, a)
        for value, limit, way in ((a, b, sign), (b, a, {"<": ">", "<=": ">=", "==": "=="}[sign])):
            drawn = self.with_limit(value, way, limit)
            if drawn is not None:
                return drawn
        code = {"<": sieve.LESS, "<=": sieve.AT_MOST, "==": sieve.EQUAL}[sign]
        return graph.make(code, "boolean", a, b)

    def with_limit(self, value: Value, sign: str, limit: Value) -> Value | None:
        """The comparison of a drawn number with a constant as one of its uniform; None where there is no
        such."""
        graph = self.graph
        limits, drawn = graph.operations[limit.operation], graph.operations[value.operation]
        if limits.code != sieve.CONSTANT:
            return None
        bound = limits.constants[0]
        if drawn.code == sieve.SELECT and math.isnan(drawn.constants[0]):
            asked = self.with_limit(drawn.inputs[0], sign, limit)
            return None if asked is None else graph.where(drawn.inputs[1], asked, 0.0)
        if drawn.code == sieve.NUMBER:
            middle, sd = drawn.constants[:2]
            # So wide that each uniform gives another number before rounding (see `_first_at`).
            if sd < 1e-6 * max(1.0, abs(middle)) or math.isnan(bound):
                return None
            at, above = _first_at(drawn.constants, bound, False), _first_at(drawn.constants, bound, True)
            low, high = {
                "<": (-math.inf, at), "<=": (-math.inf, above), "==": (at, above),
                ">=": (at, math.inf), ">": (above, math.inf),
            }[sign]  # fmt: skip
            return graph.within(drawn.inputs[0], low, high)
        position = graph.operations[drawn.inputs[0].operation] if drawn.code == sieve.TABLE else drawn
        if drawn.code == sieve.TABLE and position.code == sieve.CHOICE and not math.isnan(bound):
            start, stop = position.whole
            edges = [-math.inf, *graph.tables[start : stop - 1], math.inf]
            first = drawn.whole[0]
            entries = graph.tables[first : first + stop - start]
            holds = [_holds(sign, entry, bound) for entry in entries]
            parts = [
                graph.within(position.inputs[0], edges[place], edges[place + 1])
                for place, yes in enumerate(holds) if yes
            ]  # fmt: skip
            if any(math.isnan(entry) for entry in entries):
                return None
            return graph.any_of(parts) if parts else graph.truth(False)
        return None


def _holds(sign: str, a: float, b: float) -> bool:
    return {"<": a < b, "<=": a <= b, "==": a == b, ">": a > b, ">=": a >= b}[sign]


@lru_cache(maxsize=4096)
def _first_at(constants: tuple[float, ...], limit: float, beyond: bool) -> float:
    """The least uniform of 32 bits whose number is at the limit (or beyond it); infinite if none is.

    Numbers rise with their uniforms. Between neighbouring uniforms the normal changes by at least 5e-10, the
    number before it is rounded by 5e-10 of its SD, and rounding errors are some 1e-16 of its mean: so long as
    the SD is not a millionth of the mean, bisection is exact."""
    low, high = 0, _WORDS
    middle, sd, logarithmic, scale, least, most = constants
    while low < high:
        word = (low + high) // 2
        number = _number_column(
            np.array([(word + 0.5) * _STEP]), middle, sd, logarithmic == 1.0, scale, least, most
        )[0]
        if number > limit or (number == limit and not beyond):
            high = word
        else:
            low = word + 1
    return (low + 0.5) * _STEP if low < _WORDS else math.inf


# --- the protocol's questions -------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def screening_of(setup: Setup) -> Screening:
    """The screening of a setup for the sieve. Raises UserError for an item that the baseline population does
    not know."""
    made = _Candidates(setup)
    graph = made.graph
    for name in made.asked:
        made.answer(name)
    judged = []
    for _, expression, include in setup.screen.criteria:
        truth = made.truth(expression.root, made.column)
        judged.append(truth if include else graph.denied(truth))
    levels, names = _strata(made)
    found = [graph.where(graph.within(level, 0.0, math.inf), graph.truth(True), 0.0) for level in levels]
    count = made.column(setup.count_item)
    baseline = graph.constant(math.nan) if count is None else count
    results = [made.trait(name) for name in TRAITS]
    flags = ("female", "prior_aids", "viraemic")
    results = [
        graph.make(sieve.NUMBER_OF_TRUTH, "number", value) if name in flags else value
        for name, value in zip(TRAITS, results, strict=True)
    ]
    results += [baseline, *levels, *_goals(made, levels, names, baseline)]
    failing, share = _failing(setup, _Lister(graph, [], [], judged).program())
    order = _in_order(graph, judged, failing)
    program = _Lister(graph, [judged[place] for place in order], found, results).program()
    return Screening(program, names, max(share, 0.01))


def _strata(made: _Candidates) -> tuple[list[Value], tuple[tuple[str, ...], ...]]:
    """The level (position) of each stratum, negative where it cannot be known, and the names of the
    levels."""
    graph, simulation = made.graph, made.protocol.simulation
    assert simulation is not None
    out: list[Value] = []
    names: list[tuple[str, ...]] = []
    for _, item, levels in made.setup.screen.strata:
        if item == "country":
            out.append(made.country())
            names.append(tuple(simulation.accrual))
            continue
        if item == "site":
            out.append(made.site())
            names.append(tuple(str(number) for number in range(int(simulation.sites) + 1)))
            continue
        names.append(tuple(level for level, _ in levels))
        state = graph.constant(sieve.OPEN)
        for position, (level, condition) in enumerate(levels):
            if condition is None:
                # No such level: no, even for whom the item is unknown.
                value = made.column(item or "")
                is_level = made.compared("==", value, graph.constant(graph.text(level), "category"))
                truth = graph.where(is_level, graph.truth(True), -1.0)
            else:
                truth = made.truth(condition.root, made.column)
            state = graph.make(sieve.LEVEL, "number", state, truth, constants=(float(position),))
        out.append(state)
    return out, tuple(names)


def _goals(
    made: _Candidates, levels: list[Value], names: tuple[tuple[str, ...], ...], baseline: Value
) -> list[Value]:
    """The goal under each arm; NaN where there is none, infinite where it cannot be known."""
    graph, screen = made.graph, made.setup.screen
    factors = {name: factor for factor, (name, item, _) in enumerate(screen.strata) if item is None}

    def column(name: str) -> Value | None:
        if name == "baseline":
            return baseline
        if name in factors:
            factor = factors[name]
            texts = [graph.text(level) for level in names[factor]]
            return graph.looked_up(levels[factor], texts, "category")
        return made.column(name)

    out = []
    for arm in made.setup.arms:
        goal = graph.constant(math.nan)
        for case in screen.goals.get(arm.regimen or "", ()):
            truth = graph.truth(True) if case.when is None else made.truth(case.when.root, column)
            value = graph.constant(case.offset)
            if case.multiple != 0.0:
                value = graph.make(sieve.SCALED, "number", baseline, constants=(case.offset, case.multiple))
            goal = graph.make(sieve.PICK, "number", goal, truth, value)
        out.append(goal)
    return out


def _failing(setup: Setup, program: Program) -> tuple[NDArray[np.float64], float]:
    """Share of the first candidates that fails each criterion, and the share that is eligible."""
    looked = 1024
    eligible = np.zeros(looked, np.int64)
    result = np.empty((program.columns + 1, looked + sieve.BLOCK))
    run_sieve(setup, program, 0, 0, 0, looked, looked, 1.0, eligible, result)
    truths = result[1:, :looked]
    return (truths < 0).mean(axis=1), float((truths > 0).all(axis=0).mean())


def _in_order(graph: _Graph, judged: Sequence[Value], failing: NDArray[np.float64]) -> list[int]:
    """Criteria in the order in which most fail for the least work."""
    made: set[int] = set()
    needs = [_needed(graph, truth) for truth in judged]
    left = list(range(len(judged)))
    order: list[int] = []
    while left:
        costs = [
            0.5 + sum(_COST.get(graph.operations[need].code, 0.5) for need in needs[place] - made)
            for place in left
        ]
        best = min(range(len(left)), key=lambda k: costs[k] / (float(failing[left[k]]) + 1e-4))
        made |= needs[left[best]]
        order.append(left.pop(best))
    return order


def _needed(graph: _Graph, value: Value) -> set[int]:
    """All operations that a value rests on."""
    found: set[int] = set()
    stack = [value.operation]
    while stack:
        operation = stack.pop()
        if operation not in found:
            found.add(operation)
            stack += [each.operation for each in graph.operations[operation].inputs]
    return found


def run_sieve(
    setup: Setup, program: Program, seed: int, trial: int, first: int, most: int, wanted: int, share: float,
    eligible: NDArray[np.int64], result: NDArray[np.float64],
) -> tuple[int, int]:  # fmt: skip
    """`sieve.sieve` with the setup's biology: (candidates tested, eligible among them)."""
    tested, found = sieve.sieve(
        program, setup.population.biology, np.uint64(ITEM), np.uint64(seed), trial, first, most, wanted,
        share, eligible, result,
    )  # fmt: skip
    return int(tested), int(found)


# --- the list -----------------------------------------------------------------------------------------------


class _Lister:
    """Lists operations one after another and gives each result a register, taken back after its last use."""

    def __init__(
        self, graph: _Graph, judged: Sequence[Value], found: Sequence[Value], results: Sequence[Value]
    ) -> None:
        self.graph = graph
        self.steps: list[tuple[str, int | Value]] = []
        """("make", operation), ("require" or "found", truth), or ("out", value)."""
        self.seen: set[int] = set()
        for truth in judged:
            self._add(truth)
            self.steps.append(("require", truth))
        if judged or found:
            # Only those who met every criterion stay; then only those whose strata are known.
            for truth in (graph.truth(True), *found):
                self._add(truth)
                self.steps.append(("found", truth))
        for value in results:
            self._add(value)
            self.steps.append(("out", value))

    def _add(self, value: Value) -> None:
        if value.operation in self.seen:
            return
        for each in self.graph.operations[value.operation].inputs:
            self._add(each)
        self.seen.add(value.operation)
        self.steps.append(("make", value.operation))

    def program(self) -> Program:
        """The list with its registers."""
        last = self._last_uses()
        rows: list[list[int]] = []
        constants: list[list[float]] = []
        kept: list[int] = []
        registers: dict[tuple[int, int], int] = {}
        free: list[int] = []
        spare, used = [0, 1, 2], 3
        columns = 0
        for at, (what, subject) in enumerate(self.steps):
            row, numbers = [0] * 6, [0.0] * 6
            if what == "make":
                assert isinstance(subject, int)
                operation = self.graph.operations[subject]
                inputs = [registers[each.operation, each.piece] for each in operation.inputs]
                pieces = _PIECES.get(operation.code, 1)
                targets = []
                for piece in range(pieces):
                    if (subject, piece) in last:
                        if not free:
                            free.append(used)
                            used += 1
                        registers[subject, piece] = free.pop()
                        targets.append(registers[subject, piece])
                    else:
                        targets.append(spare[piece % 3])
                if operation.code == sieve.PAIR:
                    row = [operation.code, targets[0], *operation.whole, targets[1], 0]
                elif operation.code == sieve.WORDS:
                    row = [operation.code, targets[0], *operation.whole, *targets[1:]]
                else:
                    places = [*inputs, *operation.whole]
                    row = [operation.code, targets[0], *places, *[0] * (4 - len(places))]
                numbers[: len(operation.constants)] = operation.constants
            else:
                assert isinstance(subject, Value)
                register = registers[subject.operation, subject.piece]
                if what == "out":
                    row = [sieve.OUT, 0, register, columns, 0, 0]
                    columns += 1
                else:
                    start = len(kept)
                    kept += [place for key, place in registers.items() if last[key] > at]
                    row = [sieve.REQUIRE, 0, register, start, len(kept), 0]
                    numbers[0] = float(what == "require")
            rows.append(row)
            constants.append(numbers)
            for key in [key for key in registers if last[key] <= at]:
                free.append(registers.pop(key))
        return Program(
            np.array(rows, np.int64), np.array(constants, np.float64), np.array(kept, np.int64),
            np.array(self.graph.tables or [0.0], np.float64), used, columns,
        )  # fmt: skip

    def _last_uses(self) -> dict[tuple[int, int], int]:
        """The last step that reads each result."""
        last: dict[tuple[int, int], int] = {}
        for at, (what, subject) in enumerate(self.steps):
            read: tuple[Value, ...]
            if what == "make":
                assert isinstance(subject, int)
                read = self.graph.operations[subject].inputs
            else:
                assert isinstance(subject, Value)
                read = (subject,)
            for value in read:
                last[value.operation, value.piece] = at
        return last
