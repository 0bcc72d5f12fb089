"""Units as trials write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.protocol import units

SAME = [
    # a, b, how many b are in one a
    ("cells/mm3", "cells/uL", 1.0),
    ("cells/mm3", "cells/µL", 1.0),
    ("cells/mm3", "10^6 cells/L", 1.0),
    ("cells/mm^3", "cells/mm³", 1.0),
    ("10^9/L", "cells/mm3", 1000.0),
    ("x 10^9/L", "/uL", 1000.0),
    ("×10⁹/L", "1/mm3", 1000.0),
    ("copies/mL", "copies/L", 1000.0),
    ("MIU", "IU", 1e6),
    ("mIU", "IU", 1e-3),
    ("g/dL", "g/L", 10.0),
    ("mmol/L", "mol/m3", 1.0),
    ("x ULN", "ULN", 1.0),
    ("× ULN", "x ULN", 1.0),
    ("%", "", 0.01),
    ("years", "months", 12.0),
    ("months", "days", 30.4375),
    ("weeks", "days", 7.0),
    ("hours", "minutes", 60.0),
    ("mg/kg", "g/kg", 1e-3),
    ("kg/m2", "kg/m^2", 1.0),
    ("mL/min/1.73 m2", "mL/min/1.73m2", 1.0),
    ("mmHg", "kPa", 0.133322387415),
    ("°C", "degC", 1.0),
    ("log10 copies/mL", "log10  copies/mL", 1.0),
    ("puffs per day", "puffs/week", 7.0),
]


@pytest.mark.parametrize(("a", "b", "ratio"), SAME)
def test_units_of_one_dimension_convert_both_ways(a: str, b: str, ratio: float) -> None:
    assert units.factor(a, b) == pytest.approx(ratio, rel=1e-12)
    assert units.factor(b, a) == pytest.approx(1 / ratio, rel=1e-12)
    assert units.same_dimension(a, b)


APART = [
    ("cells/mm3", "copies/mL"),
    ("MIU", "mg"),
    ("IU", "U"),
    ("ULN", "LLN"),
    ("ULN", ""),
    ("log10 copies/mL", "copies/mL"),
    ("puffs", "sprays"),
    ("puffs", ""),
    ("cells", ""),
    ("years", "kg"),
    ("mmol/L", "mg/dL"),
]


@pytest.mark.parametrize(("a", "b"), APART)
def test_units_of_different_dimensions_never_mix(a: str, b: str) -> None:
    assert not units.same_dimension(a, b)
    with pytest.raises(units.UnitError, match="cannot be compared"):
        units.convert(1.0, a, b)


def test_conversion_keeps_round_numbers_round() -> None:
    assert units.convert(4_500_000, "IU", "MIU") == 4.5
    assert units.convert(300, "cells/uL", "cells/mm3") == 300
    assert units.convert(18, "years", "months") == 216
    assert units.convert(9.5, "g/dL", "g/L") == 95


def test_a_word_that_is_not_known_is_named() -> None:
    assert units.strange_words("cels/mm3") == ["cels"]
    assert units.strange_words("cells/mm3") == []
    assert units.strange_words("x ULN") == []
    assert units.strange_words("!!") == ["!!"]


def test_units_of_products_and_quotients() -> None:
    assert units.quotient("cells/mm3", "cells/mm3") == ""
    assert units.quotient("g", "dL") == "g/dL"
    assert units.product("g/dL", "dL") == "g"
    assert units.same_dimension(units.quotient("mg/kg", "day"), "mg/kg/week")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_unit_of_its_own_or_a_known_one(a: str, b: str) -> None:
    assert units.factor(a, a) == 1.0
    if units.same_dimension(a, b):
        assert units.factor(a, b) * units.factor(b, a) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("word", ["NAN", "nan", "NaN", "inf", "INF"])
def test_a_word_that_reads_as_a_number_is_a_unit_of_its_own(word: str) -> None:
    assert units.factor(word, word) == 1.0
    assert not units.same_dimension("cells", word)
    assert not units.same_dimension(word, "day")
