"""The flow of participants: its numbers close, in the table and in the diagram, or there is no diagram."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.report import consort
from equipoise.report.tables import Arms, Rows

Numbers = dict[tuple[str, str], int]


def rows(numbers: Numbers) -> Rows:
    body = [
        ("consort", group, parameter, "n", float(n), "participants")
        for (group, parameter), n in numbers.items()
    ]
    return Rows(
        pl.DataFrame(
            body, schema=["analysis", "group", "parameter", "statistic", "value", "unit"], orient="row"
        )
    )


def closing(reasons: dict[str, int], arms: dict[str, tuple[int, int, int, int, int]]) -> Numbers:
    """A flow that closes: reasons by criterion; by arm: not received, completed, died, lost, withdrew."""
    total = sum(sum(a[1:]) for a in arms.values())
    numbers: Numbers = {
        ("all", "assessed for eligibility"): total + sum(reasons.values()),
        ("all", "not randomised"): sum(reasons.values()),
        **{("all", f"not randomised: {r}"): n for r, n in reasons.items()},
        ("all", "randomised"): total,
    }
    for arm, (untreated, *ends) in arms.items():
        allocated = sum(ends)
        untreated = min(untreated, allocated)
        numbers |= {
            (arm, "allocated"): allocated,
            (arm, "received allocated treatment"): allocated - untreated,
            (arm, "did not receive allocated treatment"): untreated,
            **{(arm, end): n for end, n in zip(consort.ENDS, ends, strict=True)},
            (arm, "analysed"): allocated,
            (arm, "excluded from analysis"): 0,
        }
    return numbers


def texts(svg: str) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("\u00a0", " ")


def counts(svg: str, words: str) -> list[int]:
    return [int(n.replace(",", "")) for n in re.findall(rf"{words} \(n = ([\d,]+)\)", texts(svg))]


protocol = load("silcaat")
arms = Arms.of(protocol)
criteria = [c.id for c in protocol.eligibility.criteria]
people = st.tuples(*(st.integers(0, 400) for _ in range(5)))


@settings(max_examples=40)
@given(
    reasons=st.dictionaries(st.sampled_from(criteria), st.integers(1, 900), max_size=25),
    il2=people,
    control=people,
)
def test_a_flow_that_closes_is_drawn_and_its_drawing_closes(
    reasons: dict[str, int], il2: tuple[int, ...], control: tuple[int, ...]
) -> None:
    found = consort.flow(rows(closing(reasons, {"il2": il2, "control": control})), protocol, arms)  # type: ignore[dict-item]
    assert found is not None
    assert found.gaps() == []
    for svg in (consort.diagram(found).wide, consort.diagram(found).narrow):
        (assessed,), (excluded,), (randomised,) = (
            counts(svg, x) for x in ("Assessed for eligibility", "Not randomised", "Randomised")
        )
        assert assessed == excluded + randomised
        received, untreated = counts(svg, "Received it"), counts(svg, "Did not receive it")
        assert sum(received) + sum(untreated) == randomised
        ends = [
            n
            for end in ("Completed follow-up", "Died", "Lost to follow-up", "Withdrew")
            for n in counts(svg, end)
        ]
        assert sum(ends) == randomised
        assert sum(counts(svg, "Analysed")) + sum(counts(svg, "Excluded from analysis")) == randomised
        every = [int(n.replace(",", "")) for n in re.findall(r"\(n = ([\d,]+)\)", texts(svg))]
        start = every.index(excluded, 1) + 1 if reasons else 0
        shown = every[start : start + min(len(reasons), 10 if "760" in svg[:120] else 7)] if reasons else []
        assert sum(shown) == excluded  # the reasons named, and the rest together


@pytest.mark.parametrize(
    ("where", "parameter", "place"),
    [
        ("all", "assessed for eligibility", "assessed for eligibility"),
        ("all", "not randomised: I5", "reasons"),
        ("il2", "received allocated treatment", "allocated"),
        ("control", "died", "follow-up"),
        ("control", "analysed", "analysis"),
    ],
)
def test_a_flow_that_does_not_close_is_refused_and_says_where(where: str, parameter: str, place: str) -> None:
    numbers = closing({"I5": 100, "I7": 30}, {"il2": (10, 80, 10, 5, 5), "control": (0, 80, 12, 5, 3)})
    numbers[where, parameter] += 1
    with pytest.raises(UserError, match="does not add up") as refused:
        consort.flow(rows(numbers), protocol, arms)
    assert place in str(refused.value)


def test_without_a_record_of_screening_the_flow_begins_with_randomisation() -> None:
    numbers = closing({}, {"il2": (10, 80, 10, 5, 5), "control": (0, 80, 12, 5, 3)})
    del numbers["all", "assessed for eligibility"], numbers["all", "not randomised"]
    found = consort.flow(rows(numbers), protocol, arms)
    assert found is not None
    assert found.assessed is None
    assert "Assessed" not in texts(consort.diagram(found).wide)
    assert "Randomised (n = 200)" in texts(consort.diagram(found).wide)


def test_the_diagram_has_no_part_outside_its_frame() -> None:
    found = consort.flow(
        rows(closing(dict.fromkeys(criteria, 7), {"il2": (9, 800, 1, 5, 5), "control": (0, 800, 1, 5, 3)})),
        protocol,
        arms,
    )
    assert found is not None
    for svg in (consort.diagram(found).wide, consort.diagram(found).narrow):
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())  # type: ignore[union-attr]
        boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" rx="3" width="([\d.]+)" height="([\d.]+)"', svg)
        assert boxes
        for x, y, w, h in (map(float, box) for box in boxes):
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height


def test_the_checklist_names_each_item_of_consort_2025_once() -> None:
    items = [item for item, *_ in consort.CHECKLIST]
    assert len(items) == len(set(items))
    assert {int(re.match(r"\d+", item).group()) for item in items} == set(range(1, 31))  # type: ignore[union-attr]
