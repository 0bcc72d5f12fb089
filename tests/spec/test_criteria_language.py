"""Every line of the chapter on criteria comes out as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tables import HERE, Case, cases

from equipoise.protocol import criteria

LINES = cases(HERE / "criteria.md")
DECLARED = [line for line in LINES if "item" in line.cells]
ANSWERS = [line for line in LINES if "answer" in line.cells]
MISTAKES = [line for line in LINES if "character" in line.cells]

TRUTHS = {"yes": True, "no": False, "unknown": None, "": None}
CODES = {"yes": 1, "no": 0, "unknown": -1, "": -1}


def thing(line: Case) -> criteria.Thing:
    categories = tuple(filter(None, line.cell("categories").split(", "))) or None
    kinds: dict[str, criteria.Kind] = {"number": "number", "boolean": "boolean", "category": "category"}
    return criteria.Thing(line.cell("label"), kinds[line.cell("type")], line.cell("unit"), categories)


def value(line: Case) -> criteria.Value:
    text = line.cell("value")
    if line.cell("type") == "boolean":
        return TRUTHS[text]
    return (float(text) if text else None) if line.cell("type") == "number" else text


def column(line: Case) -> np.ndarray:
    """Two people alike."""
    text = line.cell("value")
    if line.cell("type") == "boolean":
        return np.array([CODES[text]] * 2, dtype=np.int8)
    if line.cell("type") == "number":
        return np.array([float(text) if text else math.nan] * 2)
    return np.array([text] * 2, dtype=object)


ITEMS = {line.cell("item"): thing(line) for line in DECLARED}
PERSON = {line.cell("item"): value(line) for line in DECLARED}
COLUMNS = {line.cell("item"): column(line) for line in DECLARED}


def expression_of(line: Case) -> str:
    return line.cell("expression").strip("`")


@pytest.mark.parametrize("line", ANSWERS, ids=expression_of)
def test_the_answer_and_its_reason_are_as_the_table_says(line: Case) -> None:
    expression = criteria.compile(expression_of(line), ITEMS)
    assert criteria.evaluate(expression, PERSON) is TRUTHS[line.cell("answer")]
    assert criteria.evaluate_columns(expression, COLUMNS).tolist() == [CODES[line.cell("answer")]] * 2
    explanation = criteria.explain(expression, PERSON, ITEMS)
    assert explanation.value is TRUTHS[line.cell("answer")]
    assert explanation.words == line.cell("because")
    assert ", ".join(explanation.missing) == line.cell("missing")


@pytest.mark.parametrize("line", MISTAKES, ids=expression_of)
def test_a_mistake_is_pointed_at_as_the_table_says(line: Case) -> None:
    with pytest.raises(criteria.CriteriaError) as caught:
        criteria.compile(expression_of(line), ITEMS)
    assert caught.value.message == line.cell("message")
    assert caught.value.at + 1 == int(line.cell("character"))
    first = criteria.check(expression_of(line), ITEMS)[0]
    assert (first.message, first.at) == (caught.value.message, caught.value.at)


def test_the_chapter_has_examples_of_everything() -> None:
    assert len(ANSWERS) > 50
    assert len(MISTAKES) > 30
