"""Scenarios: what is varied is found by its path, changed with its unit, and refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.simulate.power import scenarios
from equipoise.simulate.power.scenarios import changed, design_of, find, from_file, grid, variation
from power_example import PLAIN, plain_trial

SILCAAT = design_of(load("silcaat"))


def _where(text: str) -> list[str]:
    return [".".join(map(str, path)).lstrip(".") for path in find(SILCAAT, text)]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("functional_fraction", ["dials.functional_fraction"]),
        ("gain", ["population.parameters.gain.value"]),
        ("loss", ["baseline.loss.per_year"]),
        ("size.alpha", ["size.alpha"]),
        ("participants", ["size.simulated"]),
        ("Italy", ["simulation.accrual.Italy"]),
        ("goal.rules[1].rise", ["regimens.aldesleukin.goal.rules.1.rise"]),
        (
            "aldesleukin.goal.rise",
            ["regimens.aldesleukin.goal.rules.0.rise", "regimens.aldesleukin.goal.rules.1.rise"],
        ),
        ("monitoring.looks", ["monitoring.looks"]),
        ("monitoring.parameter", ["monitoring.parameter"]),  # a field that the file leaves out
        ("preset", ["preset"]),
    ],
)
def test_a_path_leads_to_its_fields(path: str, fields: list[str]) -> None:
    assert _where(path) == fields


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("functional_fracton", "did you mean dials.functional_fraction"),
        ("goal.ryse", "did you mean regimens.aldesleukin.goal.rules.rise"),
        ("italy", "did you mean simulation.accrual.Italy"),
        ("rise", "this might mean regimens.aldesleukin.goal.rules.rise or"),
        ("no such thing", "not a path"),
        ("xyzzy", "has no such field"),
    ],
)
def test_a_path_that_leads_nowhere_names_the_nearest(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        find(SILCAAT, path)


def test_a_bare_number_takes_the_unit_of_what_it_replaces() -> None:
    design, said = changed(SILCAAT, {"aldesleukin.goal.rise": 100})
    rules = design.protocol["regimens"]["aldesleukin"]["goal"]["rules"]
    assert [rule["rise"] for rule in rules] == ["100 cells/mm3", "100 cells/mm3"]
    assert said == (("regimens.aldesleukin.goal.rules.rise", 100),)
    assert SILCAAT.protocol["regimens"]["aldesleukin"]["goal"]["rules"][0]["rise"] == "125 cells/mm3"


def test_a_preset_comes_before_single_dials() -> None:
    design, _ = changed(SILCAAT, {"rho_acute": 0.25, "preset": "D"})
    assert design.dials["preset"] == "D"
    assert design.dials["functional_fraction"] == 1.0
    assert design.dials["rho_acute"] == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size.alpha": 2}, "size.alpha = 2: size.alpha: must be below 1"),
        ({"spending": "pocok"}, 'did you mean "pocock"'),
        ({"functional_fraction": 3}, "functional_fraction must be a number from -0.5 to 1"),
        ({"preset": "Z"}, 'there is no preset "Z"'),
        ({"aldesleukin.goal.rise": "8 weeks"}, "wrong unit"),
        ({"monitoring.futility": {"spending": "pocock"}}, "one-sided"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_path(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        changed(SILCAAT, changes)
    assert message in str(refused.value)


def test_ranges_lists_and_blocks_of_values_are_read() -> None:
    assert variation("a=0:1:0.25").values == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert variation("a=3:1:-1").values == (3, 2, 1)
    assert variation("a=100,150,200").values == (100, 150, 200)
    assert variation("a=[0.5, 1],[1]").values == ([0.5, 1], [1])
    assert variation("a=pocock,obrien-fleming").values == ("pocock", "obrien-fleming")
    assert variation("a=0.1:0.3:0.1").values == (0.1, 0.2, 0.3)  # no drift from binary fractions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("functional_fraction", "expected PATH=VALUES"),
        ("a=0:1:-0.5", "leads away"),
        ("a=0:1:0", "leads away"),
        ("a=1,,2", "a value is missing"),
        ("a=1,1", "given twice"),
        ("a=0:1:0.00001", "too many"),
    ],
)
def test_a_variation_that_cannot_be_read_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        variation(text)
    assert message in str(refused.value)
    assert text in str(refused.value)


def test_every_combination_is_a_scenario_and_names_what_differs() -> None:
    made = grid(SILCAAT, [variation("functional_fraction=0,1"), variation("goal.rules[0].rise=100,200")])
    assert [each.name for each in made] == [
        "functional_fraction 0, goal.rules[0].rise 100", "functional_fraction 0, goal.rules[0].rise 200",
        "functional_fraction 1, goal.rules[0].rise 100", "functional_fraction 1, goal.rules[0].rise 200",
    ]  # fmt: skip
    assert len({each.design.sha256 for each in made}) == 4
    assert [each.name for each in grid(SILCAAT, [])] == [scenarios.BASE]


def test_the_same_design_has_the_same_hash_however_it_was_reached() -> None:
    assert changed(SILCAAT, {"functional_fraction": 1})[0].sha256 == SILCAAT.sha256  # its value already
    assert design_of(load("silcaat")).sha256 == SILCAAT.sha256
    assert design_of(load("silcaat"), participants=100).sha256 != SILCAAT.sha256


def test_scenarios_of_a_file_have_names_and_errors_their_line(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("scenarios:\n  as planned: {}\n  weaker drug: {response_multiplier: 0.7}\n")
    planned, weaker = from_file(SILCAAT, file)
    assert planned.design.sha256 == SILCAAT.sha256
    assert weaker.name == "weaker drug"
    assert weaker.design.dials["response_multiplier"] == 0.7
    file.write_text("scenarios:\n  as planned: {}\n  wrong: {respons_multiplier: 0.7}\n")
    with pytest.raises(UserError, match=r"some\.yaml:3:3: scenarios\.wrong: .*dials\.response_multiplier"):
        from_file(SILCAAT, file)
    file.write_text("vary: {functional_fraction: 0:1:0.5, size.alpha: [0.05, 0.01]}\n")
    assert [each.name for each in from_file(SILCAAT, file)][:2] == [
        "functional_fraction 0, size.alpha 0.05", "functional_fraction 0, size.alpha 0.01",
    ]  # fmt: skip
    file.write_text("scenarios: {weak: {gain: 0.2}, usual: {}}\nvary: {functional_fraction: [0, 1]}\n")
    assert [each.name for each in from_file(SILCAAT, file)] == [
        "weak, functional_fraction 0", "weak, functional_fraction 1", "usual, functional_fraction 0",
        "usual, functional_fraction 1",
    ]  # fmt: skip
    for text in (
        "a: 1\n", "scenarios: []\n", "scenarios: {}\n", "scenarios: {a: 3}\n", "vary: 3\n",
        "vary: {gain: []}\n",
        "vary: {gain: 1:2:-1}\n",
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(UserError):
            from_file(SILCAAT, file)
    with pytest.raises(UserError, match="cannot be read"):
        from_file(SILCAAT, tmp_path / "none.yaml")


def test_a_plain_trial_is_varied_alike() -> None:
    design = design_of(plain_trial())
    other, said = changed(design, {"hazard_ratio": 0.8, "control.hazard": 0.03})
    trial = other.built_plain()
    assert trial.arms["active"].hazard_ratio == 0.8
    assert str(trial.arms["control"].hazard) == "0.03 / year"
    assert [path for path, _ in said] == ["arms.active.hazard_ratio", "arms.control.hazard"]
    with pytest.raises(UserError, match="no dials"):
        design_of(plain_trial(), {"functional_fraction": 1})


def test_a_trial_of_several_arms_says_which_is_compared() -> None:
    vanguard = load("vanguard")
    with pytest.raises(UserError, match="--arm"):
        design_of(vanguard)
    assert design_of(vanguard, arm="il2_4_5").arm == "il2_4_5"
    with pytest.raises(UserError, match="no arm"):
        design_of(vanguard, arm="placebo")


def test_what_cannot_be_simulated_is_said_before_any_trial() -> None:
    with pytest.raises(UserError, match="plain event-time trial"):
        design_of(load("erythropoietin"))


def test_a_plain_trial_must_make_sense() -> None:
    for old, new, message in (
        ("reference_arm: control", "reference_arm: none", "names no arm"),
        ("primary_events: 90", "primary_events: 5000", "cannot happen"),
        ("accrual: 2 years", "accrual: 0 years", "too short"),
        ("hazard: 0.1 / year", "hazard: 0.1 / fortnight", "expected a rate"),
        ("hazard_ratio: 0.7", "hazrd_ratio: 0.7", 'did you mean "hazard_ratio"'),
    ):
        with pytest.raises(UserError) as refused:
            plain_trial(PLAIN.replace(old, new))
        assert message in str(refused.value)
        assert str(refused.value).startswith("fictitious.yaml:")
