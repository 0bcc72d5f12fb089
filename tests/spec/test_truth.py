"""Three-valued truth is as the tables say."""

from __future__ import annotations

import pytest
from dosing_cases import TRUTHS
from tables import HERE, Case, cases

from equipoise.rules.truth import and_, from_optional, not_, or_, word


@pytest.mark.parametrize("case", cases(HERE / "truth.md"), ids=str)
def test_truth_is_as_the_table_says(case: Case) -> None:
    a = TRUTHS[case.cell("a")]
    answer = TRUTHS[case.cell("answer")]
    if case.section == "Not":
        assert not_(a) == answer
        return
    combine = and_ if case.section == "And" else or_
    b = TRUTHS[case.cell("b")]
    assert combine(a, b) == combine(b, a) == answer


def test_truth_from_a_value_of_the_criteria_language() -> None:
    assert [word(from_optional(value)) for value in (True, False, None)] == ["yes", "no", "unknown"]
