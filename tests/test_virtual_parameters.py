"""The population file: complete, sourced, refused with a useful message when wrong; what it can stand in
for."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.virtual import kinds_not_simulated, load_population, require_simulable
from equipoise.virtual.baseline import bundled_baselines, load_baseline

POPULATION = load_population("hiv_il2")
TEXT = (resources.files("equipoise.virtual") / "library" / "hiv_il2.yaml").read_text(encoding="utf-8")


def test_every_row_says_what_it_is_and_where_it_comes_from():
    for name, row in (POPULATION.file.parameters | POPULATION.file.habits).items():
        assert row.meaning, name
        assert row.status in ("literature", "fitted", "convention", "assumed")
        assert row.status not in ("literature", "fitted") or row.source, name


def test_the_kernel_is_in_days():
    b, d, h = POPULATION.kernel(POPULATION.dials(), 0.0165, 0.0)
    assert b.loss_burst == pytest.approx(math.log(2) / POPULATION.value("half_life_burst"))
    assert b.relax_suppressed * 365.25 == pytest.approx(POPULATION.value("relax_suppressed"))
    assert math.exp(b.ln_od) * 365.25 == pytest.approx(POPULATION.value("od_rate"))
    assert h.loss * 365.25 == pytest.approx(0.0165)
    assert d == POPULATION.dials(POPULATION.file.default.preset)


@pytest.mark.parametrize(
    ("preset", "phi", "rho", "tau"),
    [
        ("A", 0.0, 0.0, 130.0),
        ("B", 0.4, 0.0, 130.0),
        ("C", 1.0, 0.5, 130.0),
        ("D", 1.0, 0.0, 130.0),
        ("E", 1.0, 4.0, 14.0),
    ],
)
def test_the_named_presets(preset, phi, rho, tau):
    dials = POPULATION.dials(preset)
    assert (dials.phi, dials.rho_acute, dials.tau_acute) == (phi, rho, tau)


def test_the_default_preset_gives_its_reason():
    assert POPULATION.file.default.preset in POPULATION.file.presets
    assert len(POPULATION.file.default.reason) > 100


def test_single_dials_change_a_preset():
    dials = POPULATION.dials("A", {"functional_fraction": 0.5, "harm_applies_to": ["death"]})
    assert (dials.phi, dials.harm_death, dials.harm_opportunistic) == (0.5, 1.0, 0.0)


def test_settings_given_again_are_the_same_dials():
    settings = POPULATION.settings("E", {"frailty": 0.3, "harm_applies_to": ["death"]})
    assert POPULATION.settings("A", settings) == settings
    assert POPULATION.dials("A", settings) == POPULATION.dials(
        "E", {"frailty": 0.3, "harm_applies_to": ["death"]}
    )


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("F", {}, 'there is no preset "F"; the presets are A, B, C, D, E'),
        ("A", {"phi": 1.0}, "there is no dial `phi`"),
        ("A", {"functional_fraction": 2.0}, "functional_fraction must be a number from -0.5 to 1, not 2.0"),
        ("A", {"functional_fraction": True}, "functional_fraction must be a number"),
        ("A", {"functional_fraction": math.nan}, "functional_fraction must be a number"),
        ("A", {"harm_applies_to": ["stroke"]}, "harm_applies_to is a list of opportunistic, death, grade4"),
    ],
)
def test_wrong_dials_are_refused_in_words(preset, changes, message):
    with pytest.raises(UserError) as error:
        POPULATION.dials(preset, changes)
    assert message in str(error.value)


def test_replacing_rows_leaves_the_original_alone():
    other = POPULATION.replace({"gain": 0.5}, {"gain": 0.1})
    assert (other.value("gain"), other.spread("gain")) == (0.5, 0.1)
    assert POPULATION.value("gain") != 0.5
    with pytest.raises(UserError, match="no parameter or habit `gian`"):
        POPULATION.replace({"gian": 0.5})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  od_rate: {", "  od_rat: {", "od_rate"),
        ("status: literature, source: [kovacs]}", "status: literature}", "names its source"),
        ("source: [kovacs]", "source: [kovaks]", "there is no reference `kovaks`"),
        ("preset: C\n", "preset: Z\n", "there is no preset `Z`"),
        ("range: [-0.5, 1.0], value: 0.0", "range: [0.5, 1.0], value: 0.0", "within the range"),
        (
            "set: {functional_fraction: 0.4}",
            "set: {functional_fraction: 4}",
            "functional_fraction must be a number",
        ),
        ("value: 2500", "value: -1", "must be above zero"),
        ("value: 2500", "value: many", "parameters.ceiling.value"),
    ],
)
def test_a_wrong_population_file_gets_one_clear_message(tmp_path, old, new, message):
    assert old in TEXT
    path = tmp_path / "people.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_population(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_population_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UserError, match="hiv_il2"):
        load_population("hiv_il3")
    with pytest.raises(UserError, match="silcaat"):
        load_baseline("silcat")


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_the_trials_of_interleukin_2_can_be_simulated(name):
    require_simulable(load(name), POPULATION)
    assert load(name).simulation.baseline in bundled_baselines()


def test_a_trial_without_continuous_therapy_is_refused_in_words():
    with pytest.raises(UserError, match=r"no life off therapy.*can still be checked, shown"):
        require_simulable(load("stalwart"), POPULATION)


def test_events_that_the_population_cannot_bring_about_are_named():
    assert kinds_not_simulated(load("silcaat"), POPULATION) == []
    assert kinds_not_simulated(load("esprit"), POPULATION) == ["serious_non_aids", "bacterial_pneumonia"]


@pytest.mark.parametrize("name", ["silcaat", "esprit", "vanguard"])
def test_the_names_of_events_are_those_of_the_protocol(name):
    protocol, file = load(name), POPULATION.file
    for process, terms in (
        ("opportunistic", file.opportunistic_terms),
        ("grade4", file.grade4_terms),
        ("toxicity", file.grade3_terms),
    ):
        kind = file.processes[process].kind
        if kind in protocol.events:
            assert set(terms) <= set(protocol.events[kind].terms)


def test_the_manual_shows_the_rows_as_they_are():
    root = Path(__file__).resolve().parent.parent
    run = subprocess.run(
        [sys.executable, str(root / "docs" / "render_population.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
