"""Numbers in words: how a figure is written for a reader."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.report import words as w


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [
        (1234.5, 0, "1,235"),
        (42.65, 1, "42.7"),  # half away from zero, judged in decimal
        (0.125, 2, "0.13"),
        (-0.004, 2, "0.00"),  # no sign on a zero
        (-12.345, 1, "−12.3"),
        (0.9, 2, "0.90"),
        (None, 1, "–"),
        (math.nan, 1, "–"),
        (math.inf, 1, "–"),
    ],
)
def test_a_number_is_written(value: float | None, places: int, written: str) -> None:
    assert w.number(value, places) == written


@pytest.mark.parametrize(
    ("part", "whole", "written"),
    [
        (0, 849, "0%"),
        (849, 849, "100%"),
        (1, 5000, "<0.1%"),
        (4999, 5000, ">99.9%"),
        (110, 849, "13.0%"),
        (3, 0, "–"),
    ],
)
def test_a_percentage_never_claims_nobody_or_everybody_by_rounding(
    part: int, whole: int, written: str
) -> None:
    assert w.percent(part, whole) == written


def test_an_interval_is_written_with_words_so_that_a_minus_sign_is_not_a_dash() -> None:
    assert w.with_interval(0.91, 0.70, 1.18, 2) == "0.91 (0.70 to 1.18)"
    assert w.with_interval(-0.1, -0.5, 0.3, 1) == "−0.1 (−0.5 to 0.3)"
    assert w.with_interval(0.91, None, None, 2) == "0.91"
    assert w.with_interval(None, 0.7, 1.2, 2) == "–"


@given(
    ratio=st.floats(0.05, 20),
    low=st.floats(0.05, 0.99),
    high=st.floats(1.01, 8),
)
def test_no_clear_difference_is_never_called_no_difference(ratio: float, low: float, high: float) -> None:
    text = w.ratio_in_words(ratio, ratio * low, ratio * high, "death")
    assert "no difference" not in text
    assert "no effect" not in text
    clear = ratio * low > 1 or ratio * high < 1
    assert ("chance alone could explain" in text) is not clear
    assert text.endswith(".")


def test_a_ratio_that_could_not_be_estimated_says_so() -> None:
    assert "could not be estimated" in w.ratio_in_words(None, None, None, "death")
    assert "could not be estimated" in w.ratio_in_words(1.0, 0.0, math.inf, "death")


def test_the_place_of_a_published_figure_among_trials() -> None:
    trials = [float(x) for x in range(100)]
    assert w.place_in(trials, 50.0) == pytest.approx(0.505)  # ties count half
    assert w.place_in(trials, -1.0) == 0.0
    assert w.place_in([math.nan], 1.0) is None
    assert "middle half" in w.place_in_words(0.5, 1000)
    assert "within the central 95%" in w.place_in_words(0.9, 1000)
    assert "high tail" in w.place_in_words(0.98, 1000)
    assert "above 99.4%" in w.place_in_words(0.994, 1000)  # never above 100%
    assert "the model misses this" in w.place_in_words(1.0, 1000)
    assert "the model misses this" in w.place_in_words(0.0, 1000)


def test_lists_and_sentences() -> None:
    assert w.listed(["a"]) == "a"
    assert w.listed(["a", "b", "c"]) == "a, b and c"
    assert w.sentence(" death or disease ") == "Death or disease."
    assert w.sentence("Why?") == "Why?"
    assert w.lower_first("Opportunistic disease") == "opportunistic disease"
    assert w.lower_first("CD4 count") == "CD4 count"
    assert w.unit("cells/mm3") == "cells/mm³"
