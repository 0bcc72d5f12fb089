"""Numbers are shown as trial reports show them."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.analyse.rounding import interval, number, p_value, percent, rounded


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (42.65, 1, "42.7"),  # the banker's rule and binary rounding both say 42.6
        (2.675, 2, "2.68"),
        (0.125, 2, "0.13"),
        (-0.125, 2, "-0.13"),
        (-0.004, 2, "0.00"),
        (1234.5, 0, "1,235"),
        (1e-300, 3, "0.000"),
        (1.5e22, 0, "15,000,000,000,000,000,000,000"),
        (math.nan, 1, "–"),
        (math.inf, 1, "∞"),
    ],
)
def test_halves_go_away_from_zero(value, places, shown):
    assert number(value, places) == shown


@given(st.integers(-(10**9), 10**9), st.integers(0, 4))
def test_every_half_of_a_last_digit_moves_outwards(n, places):
    half = (Decimal(n) + Decimal("0.5")).scaleb(-places)
    value = float(half)
    if Decimal(repr(value)) == half:
        expected = Decimal(n + 1 if n >= 0 else n).scaleb(-places)
        assert rounded(value, places) == expected


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0123, "0.012"), (0.0994, "0.099"),
        (0.0996, "0.10"), (0.47, "0.47"), (0.985, "0.99"), (0.9951, ">0.99"), (1.0, ">0.99"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_p_values_are_never_0_or_1(p, shown):
    assert p_value(p) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 50, "0%"), (50, 50, "100%"), (1, 1000, "<1%"), (999, 1000, ">99%"), (33, 574, "6%"), (1, 0, "–")],
)
def test_a_percentage_claims_nobody_or_everybody_only_when_true(part, whole, shown):
    assert percent(part, whole) == shown


def test_an_interval_is_written_in_words():
    assert interval(0.9104, 0.7, 1.1795, 2) == "0.91 (0.70 to 1.18)"
    assert interval(math.nan, math.nan, math.nan, 2) == "–"
