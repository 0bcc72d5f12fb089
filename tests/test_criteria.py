"""The criteria language: what it accepts, what it answers, and how it objects."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import UserError
from equipoise.protocol import criteria
from equipoise.protocol.criteria import CriteriaError, Thing
from equipoise.protocol.criteria.grammar import MAX_DEPTH, MAX_LENGTH, MAX_NODES
from equipoise.protocol.model import Item

ITEMS: dict[str, Thing] = {
    "cd4": Thing("CD4 count", unit="cells/mm3"),
    "nadir": Thing("Lowest CD4 count", unit="cells/uL"),
    "rna": Thing("HIV RNA", unit="copies/mL"),
    "age": Thing("Age", unit="years"),
    "alt": Thing("ALT", unit="ULN"),
    "platelets": Thing("Platelets", unit="cells/mm3"),
    "drugs": Thing("Antiretrovirals"),
    "goal": Thing("Goal", unit="cells/mm3"),
    "pregnant": Thing("Pregnant", "boolean"),
    "consent": Thing("Consent", "boolean"),
    "sex": Thing("Sex", "category", categories=("female", "male")),
    "country": Thing("Country", "category", categories=("France", "Spain", "Italy")),
}

PERSON: dict[str, criteria.Value] = {
    "cd4": 310.0, "nadir": 150.0, "rna": 50.0, "age": 17.0, "alt": 3.0, "platelets": 80_000.0, "drugs": None,
    "pregnant": False, "consent": True, "sex": "female", "country": "",
}  # fmt: skip


@pytest.mark.parametrize("a", [True, False, None])
@pytest.mark.parametrize("b", [True, False, None])
def test_logic_is_kleenes(a: bool | None, b: bool | None) -> None:
    order = {False: 0, None: 1, True: 2}
    lesser, greater = sorted((a, b), key=lambda truth: order[truth])
    values = {"pregnant": a, "consent": b}
    assert criteria.evaluate(criteria.compile("pregnant and consent", ITEMS), values) is lesser
    assert criteria.evaluate(criteria.compile("pregnant or consent", ITEMS), values) is greater
    assert criteria.evaluate(criteria.compile("not pregnant", ITEMS), values) is (
        None if a is None else not a
    )


def test_a_name_without_a_value_is_unknown() -> None:
    expression = criteria.compile("cd4 < 300 and not pregnant", ITEMS)
    assert expression.names == ("cd4", "pregnant")
    assert criteria.evaluate(expression, {}) is None
    assert criteria.evaluate(expression, {"cd4": math.nan, "pregnant": False}) is None
    assert criteria.evaluate(expression, {"cd4": 400}) is False
    assert criteria.evaluate_columns(expression, {"cd4": np.array([400.0, 200.0])}).tolist() == [0, -1]


def test_numbers_and_categories_can_be_the_result() -> None:
    number = criteria.compile("cd4 - nadir", ITEMS, expect="number", unit="10^9/L")
    assert (number.kind, number.unit) == ("number", "10^9/L")
    assert criteria.evaluate(number, PERSON) == pytest.approx(0.16)
    assert criteria.evaluate_columns(number, columns_of([PERSON])) == pytest.approx([0.16])
    category = criteria.compile("sex", ITEMS, expect="category")
    assert criteria.evaluate(category, PERSON) == "female"
    assert criteria.evaluate_columns(category, columns_of([PERSON, {}])).tolist() == ["female", ""]


def test_columns_may_come_in_several_types() -> None:
    truth = criteria.compile("pregnant", ITEMS)
    assert criteria.evaluate_columns(truth, {"pregnant": np.array([True, False])}).tolist() == [1, 0]
    assert criteria.evaluate_columns(truth, {"pregnant": np.array([1.0, np.nan, 0.0])}).tolist() == [1, -1, 0]
    number = criteria.compile("cd4 >= 2", ITEMS)
    assert criteria.evaluate_columns(number, {"cd4": np.array([1, 2], dtype=np.int8)}).tolist() == [0, 1]
    category = criteria.compile('sex is "male"', ITEMS)
    assert criteria.evaluate_columns(category, {"sex": np.array(["male", "", "x"])}).tolist() == [1, -1, 0]
    assert criteria.evaluate_columns(category, {"sex": np.array(["male", None], dtype=object)}).tolist() == [
        1,
        -1,
    ]


def test_values_of_the_wrong_kind_are_refused() -> None:
    number = criteria.compile("cd4 + 1 < 300", ITEMS)
    with pytest.raises(ValueError, match="expected a number"):
        criteria.evaluate(number, {"cd4": "high"})
    with pytest.raises(ValueError, match="expected a number"):
        criteria.evaluate(number, {"cd4": True})
    with pytest.raises(ValueError, match="kind number"):
        criteria.evaluate_columns(number, {"cd4": np.array(["high"])})
    with pytest.raises(ValueError, match="one length"):
        criteria.evaluate_columns(number, {"cd4": np.zeros(2), "rna": np.zeros(3)})
    with pytest.raises(ValueError, match="one length"):
        criteria.evaluate_columns(number, {})
    with pytest.raises(ValueError, match="compile"):
        criteria.evaluate(criteria.parse("age >= 18 years"), {"age": 20.0})


OBJECTIONS = [
    # text, character (from 1), message; the others stand in tests/spec/criteria.md
    ("", 1, "there is nothing"),
    ("   ", 1, "there is nothing"),
    ("(" * 60 + "cd4" + ")" * 60, MAX_DEPTH + 2, "nested too deeply"),
    ("not " * 60 + "consent", 4 * MAX_DEPTH + 5, "nested too deeply"),
    ("-" * 60 + "cd4 > 0", MAX_DEPTH + 2, "nested too deeply"),
    ("cd4 > " + " + ".join(["1"] * 60), 6 + 4 * MAX_DEPTH + 3, "nested too deeply"),
    ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "too long"),
]


@pytest.mark.parametrize(("text", "character", "message"), OBJECTIONS, ids=[t[:30] for t, _, _ in OBJECTIONS])
def test_an_objection_points_at_the_character(text: str, character: int, message: str) -> None:
    with pytest.raises(CriteriaError) as caught:
        criteria.compile(text, ITEMS)
    assert message in caught.value.message
    assert caught.value.at + 1 == character
    first = criteria.check(text, ITEMS)[0]
    assert (first.message, first.at) == (caught.value.message, caught.value.at)


CODE = (
    "__import__('os').system('true')", "().__class__.__bases__[0]", "exec('1')", "eval('1 + 1')",
    "open('/etc/passwd')", "cd4.__class__", "lambda: 1", "[x for x in (1,)]", "1 if consent else 2",
    "f'{cd4}'", "cd4; import os", "globals()", "getattr(cd4, 'real') > 1", "print(cd4)", "{{ 7 * 7 }}",
    "9 ** 9 ** 9 > cd4", "(x := 1) > 0", "cd4 > `id`", "$(id) > 1", "@consent", "yield consent",
)  # fmt: skip
"""Code of Python and of shells, in place of an expression of a protocol."""
RUNS = {"exec", "compile", "import", "open", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
watching: list[str] | None = None


def _watch(event: str, arguments: Any) -> None:
    if watching is not None and event in RUNS:
        watching.append(event)


sys.addaudithook(_watch)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fails when the interpreter is asked to compile, run, import or open anything inside."""
    global watching
    watching = []
    try:
        yield
        assert watching == []
    finally:
        watching = None


@pytest.mark.requirement("D20")
@pytest.mark.parametrize("text", CODE)
def test_code_in_place_of_an_expression_is_refused_and_never_run(text: str) -> None:
    criteria.check("no such thing", ITEMS)  # what the messages need is imported
    with nothing_runs(), pytest.raises(CriteriaError):
        criteria.compile(text, ITEMS)


WORDS = st.sampled_from(
    [
        *("__import__", "os", "system", "eval", "exec", "lambda", "cd4", "consent", "sex", "is", "'female'"),
        *("and", "or", "not", "min", "**", "\n", *"()[]{}.,:;=<3*-\\"),
    ]
)


@pytest.mark.requirement("D20")
@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_whatever_stands_in_an_expression_runs_nothing(text: str) -> None:
    criteria.check("no such thing", ITEMS)
    with nothing_runs():
        try:
            expression = criteria.compile(text, ITEMS)
        except CriteriaError:
            return
        criteria.evaluate(expression, PERSON)


def test_the_picture_shows_a_caret_under_the_place() -> None:
    with pytest.raises(CriteriaError) as caught:
        criteria.compile("age >= 18 years and cd5 > 3", ITEMS)
    assert str(caught.value).splitlines() == [
        'there is no item "cd5"; did you mean "cd4"? (character 21)',
        "    age >= 18 years and cd5 > 3",
        "                        ^^^",
    ]


def test_check_lists_every_fault_in_order() -> None:
    faults = criteria.check("cd5 > 3 and rna < 3 years and sex is 'x'", ITEMS)
    assert [fault.at for fault in faults] == [0, 18, 37]


def test_too_many_parts_are_refused() -> None:
    criteria.parse(" or ".join(["a<1"] * (MAX_NODES // 4)))
    with pytest.raises(CriteriaError, match=f"at most {MAX_NODES} parts"):
        criteria.parse(" or ".join(["a<1"] * (MAX_NODES // 2)))


def test_an_expression_is_compiled_once_for_the_same_items_and_anew_for_others() -> None:
    text = "weight < 2 kg"
    kilograms, grams = criteria.Thing("Weight", unit="kg"), criteria.Thing("Weight", unit="g")
    first = criteria.compile(text, {"weight": kilograms})
    assert criteria.compile(text, {"weight": kilograms, "age": grams}) is first
    assert criteria.evaluate(first, {"weight": 3.0}) is False
    assert criteria.evaluate(criteria.compile(text, {"weight": grams}), {"weight": 3.0}) is True
    with pytest.raises(criteria.CriteriaError, match='no item "weight"; did you mean "weights"'):
        criteria.compile(text, {"weights": grams})
    with pytest.raises(criteria.CriteriaError, match='no item "weight"; did you mean "height"'):
        criteria.compile(text, {"height": grams})


def test_an_explanation_has_parts() -> None:
    explanation = criteria.explain(criteria.parse("cd4 < 300 or not (pregnant or drugs > 1)"), PERSON, ITEMS)
    assert [part.value for part in explanation.parts] == [False, None]
    assert explanation.parts[1].parts[0].missing == ("drugs",)


def test_derived_items_are_computed_in_the_order_they_need() -> None:
    items = {
        "rise": Item(label="Rise", unit="cells/mm3", derive="mean - nadir", collect=["screening"]),
        "mean": Item(label="Mean", unit="cells/uL", derive="(a + b) / 2", collect=["screening"]),
        "a": Item(label="A", unit="cells/mm3", collect=["screening"]),
        "b": Item(label="B", unit="10^9/L", collect=["screening"]),
        "nadir": Item(label="Nadir", unit="cells/mm3", collect=["screening"]),
        "low": Item(label="Low", type="boolean", derive="mean < 200", collect=["screening"]),
    }
    values = {"a": 100.0, "b": 0.3, "nadir": 50.0}
    found = criteria.derive(values, items)
    assert found["mean"] == pytest.approx(200)
    assert found["rise"] == pytest.approx(150)
    assert found["low"] is False
    columns = criteria.derive_columns(
        {name: np.array([value, np.nan]) for name, value in values.items()}, items
    )
    assert columns["rise"][0] == pytest.approx(150)
    assert math.isnan(columns["rise"][1])
    assert columns["low"].tolist() == [0, -1]


def test_items_derived_in_a_circle_are_refused() -> None:
    items = {
        "a": Item(label="A", derive="b + 1", collect=["screening"]),
        "b": Item(label="B", derive="a + 1", collect=["screening"]),
    }
    with pytest.raises(UserError, match="in a circle: a, b"):
        criteria.derive({}, items)


# --- one person and many people agree -----------------------------------------------------------------------

NUMBERS = ["cd4", "nadir", "rna", "age", "alt", "drugs", "goal"]
TRUTHS = ["pregnant", "consent"]
CATEGORIES = {"sex": ["female", "male"], "country": ["France", "Spain", "Italy"]}
FREE = {
    **{name: Thing(name) for name in NUMBERS},
    **{name: Thing(name, "boolean") for name in TRUTHS},
    **{name: Thing(name, "category", categories=tuple(c)) for name, c in CATEGORIES.items()},
}

number_texts = st.recursive(
    st.sampled_from(NUMBERS) | st.integers(0, 5).map(str) | st.sampled_from(["0.5", "1e300", "2.5e-3"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        )
        | inner.map(lambda t: f"-{t}")
        | inner.map(lambda t: f"abs({t})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
    ),
    max_leaves=5,
)
comparisons = st.tuples(number_texts, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), number_texts).map(
    lambda t: f"{t[0]} {t[1]} {t[2]}"
)
ranges = st.tuples(number_texts, number_texts, number_texts, st.sampled_from(["<", "<="])).map(
    lambda t: f"{t[0]} {t[3]} {t[1]} < {t[2]}"
)
belongings = st.sampled_from(list(CATEGORIES)).flatmap(
    lambda name: (
        st.tuples(
            st.sampled_from(["in", "not in"]), st.lists(st.sampled_from(CATEGORIES[name]), min_size=1)
        ).map(lambda t: f"{name} {t[0]} ({', '.join(repr(c) for c in t[1])})")
        | st.tuples(st.sampled_from(["is", "is not", "!="]), st.sampled_from(CATEGORIES[name])).map(
            lambda t: f"{name} {t[0]} {t[1]!r}"
        )
    )
)
truth_texts = st.recursive(
    comparisons
    | ranges
    | belongings
    | st.sampled_from(
        [*TRUTHS, "true", "false", "sex == country", "pregnant is consent", "pregnant is not true"]
    )
    | st.sampled_from([*NUMBERS, *TRUTHS, *CATEGORIES]).map(lambda name: f"unknown({name})"),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda t: f"not ({t})")
    ),
    max_leaves=8,
)
people = st.fixed_dictionaries(
    {
        **{
            name: st.none()
            | st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, 1e300, math.nan])
            | st.floats(-10, 10)
            for name in NUMBERS
        },
        **{name: st.sampled_from([True, False, None]) for name in TRUTHS},
        **{name: st.sampled_from([*c, None, ""]) for name, c in CATEGORIES.items()},
    }
)


def columns_of(persons: list[dict[str, criteria.Value]]) -> dict[str, np.ndarray[Any, Any]]:
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for name, thing in ITEMS.items():
        found = [person.get(name) for person in persons]
        if thing.type == "number":
            columns[name] = np.array([math.nan if v is None else v for v in found], dtype=np.float64)
        elif thing.type == "boolean":
            columns[name] = np.array([truth_code(v) for v in found], dtype=np.int8)
        else:
            columns[name] = np.array(found, dtype=object)
    return columns


def truth_code(value: Any) -> int:
    return -1 if value is None else int(value)


@settings(max_examples=300)
@given(truth_texts, st.lists(people, min_size=1, max_size=6))
def test_many_people_get_the_answers_of_one_by_one(
    text: str, persons: list[dict[str, criteria.Value]]
) -> None:
    expression = criteria.compile(text, FREE)
    one_by_one = [truth_code(criteria.evaluate(expression, person)) for person in persons]
    assert criteria.evaluate_columns(expression, columns_of(persons)).tolist() == one_by_one
    for person in persons:
        explanation = criteria.explain(expression, person, FREE)
        assert explanation.value is criteria.evaluate(expression, person)
        assert explanation.words
        if explanation.value is None and not any(sign in text for sign in "/*+-"):
            assert explanation.missing


@settings(max_examples=200)
@given(number_texts, st.lists(people, min_size=1, max_size=6))
def test_numbers_agree_too(text: str, persons: list[dict[str, criteria.Value]]) -> None:
    expression = criteria.compile(text, FREE, expect="number")
    one_by_one = [criteria.evaluate(expression, person) for person in persons]
    many = criteria.evaluate_columns(expression, columns_of(persons)).tolist()
    assert [None if math.isnan(v) else v for v in many] == one_by_one


@given(st.text(max_size=60) | st.text("cd4<>=() andornti'\"0123.+-*/,", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for fault in criteria.check(text, ITEMS):
        assert 0 <= fault.at < fault.end
        error = CriteriaError(fault.message, text, fault.at, fault.end)
        assert "^" in error.picture
        assert len(error.picture.splitlines()) == 2
