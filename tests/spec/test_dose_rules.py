"""The numbers of a regimen are those that the protocol writes, in days and in the unit of its cycle."""

from __future__ import annotations

import math

import pytest
from dosing_cases import EXAMPLE, trial

from equipoise.errors import UserError
from equipoise.protocol import loads
from equipoise.rules import DoseRules, dose_rules

TEXT = EXAMPLE.read_text("utf-8")


def amended(old: str, new: str, regimen: str = "aldesleukin") -> DoseRules:
    assert old in TEXT
    return dose_rules(loads(TEXT.replace(old, new, 1)), regimen)


def known(values: tuple[float, ...]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def test_amounts_are_in_the_unit_of_the_cycle_and_times_in_days() -> None:
    rules = dose_rules(trial("example"), "aldesleukin")
    assert known(rules.levels) == [1.5, 3.0, 4.5, 6.0, 7.5]
    assert known(rules.steps) == [4.5, 6.0, 7.5]
    assert (rules.minimum_gap, rules.induction_every, rules.review_every) == (42, 56.0, 121.75)
    assert (rules.stop_after, rules.stop_at_latest) == (365, 487)


def test_an_amendment_of_units_changes_nothing() -> None:
    rules = amended("ceiling: 7.5 MIU\n    floor: 1.5 MIU", "ceiling: 7500000 IU\n    floor: 1500 kIU")
    assert str(rules) == str(dose_rules(trial("example"), "aldesleukin"))


def test_the_stricter_limit_on_the_age_of_a_measure_counts() -> None:
    item = "uric_acid: {label: Uric acid, unit: mg/dL,"
    assert dose_rules(trial("example"), "pegloticase").measured_within == 14
    assert amended(item, f"{item} valid_for: 10 days,", "pegloticase").measured_within == 10
    assert amended(item, f"{item} valid_for: 20 days,", "pegloticase").measured_within == 14
    assert amended(item, f"{item} valid_for: 0 days,", "pegloticase").measured_within == 0


def test_a_dose_outside_floor_and_ceiling_is_no_level() -> None:
    rules = amended("to: [3 MIU, 1.5 MIU]", "to: [3 MIU, 1 MIU, 9 MIU]")
    assert known(rules.levels) == [3.0, 4.5, 6.0, 7.5]
    rules = amended("to: [6 MIU, 7500000 IU]", "to: [6 MIU, 8 MIU]")
    assert known(rules.steps) == [4.5, 6.0]


def test_floor_and_ceiling_are_limits_not_steps() -> None:
    rules = amended("floor: 1.5 MIU", "floor: 1 MIU")
    assert known(rules.levels)[0] == 1.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("floor: 1.5 MIU", "floor: 5 MIU", "must lie between the floor 5 MIU and the ceiling 7.5 MIU"),
        ("ceiling: 7.5 MIU", "ceiling: 4 MIU", "must lie between the floor 1.5 MIU and the ceiling 4 MIU"),
        ("floor: 1.5 MIU", "floor: 1.5 mL", "1.5 mL cannot be expressed in MIU"),
    ],
)
def test_a_dose_that_cannot_be_is_refused_in_words(old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        amended(old, new)


def test_a_starting_dose_on_the_floor_or_the_ceiling_is_allowed() -> None:
    assert amended("floor: 1.5 MIU", "floor: 4.5 MIU").floor == 4.5
    assert amended("ceiling: 7.5 MIU", "ceiling: 4.5 MIU").ceiling == 4.5


def test_there_is_room_for_twelve_levels_and_eight_extra_reviews() -> None:
    def steps(count: int) -> str:
        return "to: [" + ", ".join(f"{1.5 + 0.1 * k:.1f} MIU" for k in range(count)) + "]"

    def reviews(count: int) -> str:
        return "extra_reviews: [" + ", ".join(f"day {400 + k}" for k in range(count)) + "]"

    assert len(known(amended("to: [3 MIU, 1.5 MIU]", steps(9)).levels)) == 12
    with pytest.raises(UserError, match="names 13 doses; at most 12"):
        amended("to: [3 MIU, 1.5 MIU]", steps(10))
    assert amended("extra_reviews: [day 397]", reviews(8)).extra_reviews == tuple(range(400, 408))
    with pytest.raises(UserError, match="has 9 extra reviews; at most 8"):
        amended("extra_reviews: [day 397]", reviews(9))


def test_only_a_regimen_in_cycles_has_dose_rules() -> None:
    with pytest.raises(UserError, match='no regimen "aspirin"; it has: art, aldesleukin'):
        dose_rules(trial("example"), "aspirin")
    with pytest.raises(UserError, match='"art" is taken continuously'):
        dose_rules(trial("example"), "art")
