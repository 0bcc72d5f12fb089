"""`equipoise surrogate` as its user meets it: table, page, truth, operating characteristics, mistakes."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from equipoise import analyse, report
from equipoise.analyse.surrogate.measure import refused
from equipoise.analyse.surrogate.reported import why_nothing_expected
from equipoise.analyse.surrogate.telling import number
from equipoise.analyse.surrogate.trial_level import UnitEffects, joined, trial_level
from equipoise.cli.main import app
from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.simulate import trial
from equipoise.simulate.plans import prepare
from equipoise.simulate.surrogacy.between import between_trials
from equipoise.simulate.surrogacy.characteristics import (
    METHODS,
    Characteristics,
    Method,
    characteristics,
    misled,
    target_of,
)
from equipoise.simulate.surrogacy.characteristics import told as told_characteristics
from equipoise.simulate.surrogacy.truth import Effect, Quantity, Truth

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `equipoise run` leaves, of a small SILCAAT."""
    place = tmp_path_factory.mktemp("run") / "small"
    protocol = load("silcaat")
    record = trial(protocol, seed=2, participants=300, out=place / "record")
    analyse.write(analyse.run(record), place)
    return place


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    done = CliRunner().invoke(app, ["surrogate", str(folder), "--bootstrap", "20"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def page(printed: str, folder: Path) -> str:
    return (folder / "surrogate.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def many() -> Characteristics:
    return characteristics(
        prepare(load("silcaat")), 3, presets=["A", "D"], seed=5, participants=300, people=1000
    )


def report_of(folder: Path) -> str:
    """The report of a folder that `equipoise run` left."""
    place = folder.with_name("report")
    paths = report.write(analyse.read(folder), load("silcaat"), out=place, paper="never")
    return paths["html"].read_text("utf-8")


def effect(log_ratio: float) -> Effect:
    return Effect(Quantity(log_ratio, 0.001), Quantity(log_ratio / 10, 0.0001))


def known(total: float, direct: float) -> Truth:
    share = Quantity((total - direct) / total if total else math.nan, 0.01)
    return Truth(
        1000, 5.0, Quantity(0.1, 0.01), effect(total), effect(direct), effect(total), effect(total - direct),
        share, share, "" if total else "nothing to share", "" if total else "nothing to share",
    )  # fmt: skip


# --- the command --------------------------------------------------------------------------------------------


def test_every_method_speaks_and_the_truth_stands_beside_it(printed):
    for title in ("Prentice", "Expected", "Proportion", "Landmark", "Mediation", "Between countries"):
        assert re.search(rf"^{title}", printed, re.M), title
    assert "truth" in printed
    assert "300 participants" in printed


def test_the_table_has_each_measure_once_and_a_reason_for_each_refusal(printed, folder):
    table = pl.read_csv(folder / "surrogate.csv")
    assert not table["name"].is_duplicated().any()
    answered = table.filter(pl.col("refused").fill_null("") == "")
    assert answered["estimate"].null_count() == 0
    silent = table.filter(pl.col("refused").fill_null("") != "")
    assert silent["estimate"].null_count() == silent.height
    ratios = answered.filter(pl.col("lower").is_not_null())
    assert (ratios["lower"] <= ratios["estimate"]).all()
    assert (ratios["estimate"] <= ratios["upper"]).all()
    truths = table.drop_nulls("truth")
    assert {"expected.expected", "prentice.outcome_given_marker", "path.risk.indirect"} <= set(truths["name"])


def test_the_page_is_one_file_that_loads_nothing_and_says_that_nobody_took_part(page):
    assert "No person took part in this trial." in page
    assert not re.search(r'(?:src|href)="http', page)
    assert "<script" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_page_never_calls_an_adjusted_ratio_harm(page):
    assert "must not be read as the harm" in page
    assert "What nobody can tell from this trial" in page


def test_the_numbers_of_the_page_are_those_of_the_table(page, folder):
    table = pl.read_csv(folder / "surrogate.csv")
    text = re.sub(r"<[^>]+>", "", page).replace("−", "-")
    for row in table.drop_nulls("estimate").iter_rows(named=True):
        assert number(row["estimate"], row["scale"]) in text, row["name"]


def test_an_existing_page_is_not_replaced_unless_asked(printed, folder):
    again = CliRunner().invoke(app, ["surrogate", str(folder), "--bootstrap", "20"])
    assert again.exit_code == 2
    assert "surrogate.html" in again.output
    assert "--force" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which trial"),
        (["nowhere"], "nowhere"),
        (["FOLDER", "--landmarks", "one"], "years since randomisation"),
        (["FOLDER", "--arm", "il3"], "there is no arm `il3`"),
        (["FOLDER", "--endpoint", "deth"], "there is no endpoint `deth`"),
        (["FOLDER", "--marker", "cd5"], "there is no marker `cd5`"),
        (["FOLDER", "--units", "ward"], "there are no units `ward`"),
        (["FOLDER", "--participants", "300"], "goes with --demonstrate"),
        (["FOLDER", "--demonstrate"], "leave out PLACE"),
        (["FOLDER", "--horizon", "-1"], "horizon"),
        (["FOLDER", "--horizon", "50"], "beyond the follow-up"),
        (["FOLDER", "--scale", "log10"], 'no scale "log10"; the scales of a biomarker are log2, sqrt, as-is'),
        (["FOLDER", "--scale", "sqrt", "--trials", "3"], "leave out --scale"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(folder, tmp_path, arguments, said):
    given = [str(folder) if word == "FOLDER" else word for word in arguments]
    done = CliRunner().invoke(app, ["surrogate", *given, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not (tmp_path / "out" / "surrogate.html").exists()


def test_real_participants_have_no_truth_and_cannot_be_repeated():
    data = ROOT.parent / "shared" / "data" / "aids-ddi-ddc" / "aids_id.csv"
    if not data.is_file():
        pytest.skip("the ddI/ddC data are not here")
    mapping = str(ROOT / "docs" / "examples" / "ddi_ddc.yaml")
    arguments = ["surrogate", str(data), "--mapping", mapping, "--bootstrap", "20", "--landmarks", "0.5"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "truth" not in done.output
    assert re.search(r"Zalcitabine against Didanosine \[hazard ratio\] +0\.81", done.output)
    assert "Joint model" not in done.output
    with_joint = CliRunner().invoke(app, [*arguments, "--joint"])
    assert re.search(r"Zalcitabine against Didanosine, at the same true CD4 +0\.7\d \(", with_joint.output)
    again = CliRunner().invoke(app, [*arguments, "--trials", "3"])
    assert again.exit_code == 2
    assert "these participants are real" in again.output


def test_the_command_takes_the_scale(folder, tmp_path):
    arguments = ["--bootstrap", "20", "--scale", "sqrt", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["surrogate", str(folder), *arguments])
    assert done.exit_code == 0, done.output
    table = pl.read_csv(tmp_path / "surrogate.csv")
    (first,) = table.filter(pl.col("name") == "prentice.treatment_on_marker").iter_rows(named=True)
    assert first["scale"] == "difference of means"
    assert table.filter(pl.col("label").str.contains("doubling")).is_empty()


# --- many trials --------------------------------------------------------------------------------------------


def test_the_characteristics_do_not_depend_on_threads(many):
    again = characteristics(
        prepare(load("silcaat")), 3, presets=["A", "D"], seed=5, participants=300, people=1000, threads=2
    )
    assert again.table().equals(many.table(), null_equal=True)


def test_means_of_a_few_answers_are_not_shown_and_the_answers_are_counted(many):
    table = many.table().filter(pl.col("method") == "observed")
    assert table["answered"].to_list() == [3, 3]
    block = told_characteristics(many).split("\n\n")[1]
    for line in block.splitlines()[2:]:
        assert re.search(r"[AD] .* +\d\.\d\d +- +- +- +3 +\d+%$", line), line
    enough = dataclasses.replace(
        many,
        trials=12,
        scenarios=tuple(
            dataclasses.replace(
                s,
                estimates=np.tile(s.estimates, 4),
                low=np.tile(s.low, 4),
                high=np.tile(s.high, 4),
                units=s.units * 4,
            )
            for s in many.scenarios
        ),
    )
    block = told_characteristics(enough).split("\n\n")[1]
    assert all(re.search(r" ± \d\.\d\d +\d+% +12 ", line) for line in block.splitlines()[2:])
    errors = enough.table().filter(pl.col("method") == "observed")["bias_error"].to_list()
    for scenario, error in zip(enough.scenarios, errors, strict=True):
        spread = np.log(scenario.estimates[0]).std(ddof=1) / math.sqrt(12)
        assert error == pytest.approx(math.hypot(spread, scenario.truth.total.log_hazard_ratio.error))


def test_the_trials_compare_risks_at_the_horizon_that_was_asked_for(many):
    sooner = characteristics(
        prepare(load("silcaat")), 2, presets=["D"], seed=5, participants=300, horizon=2.0, people=1000
    )
    assert sooner.horizon == sooner.scenarios[0].truth.horizon == 2.0
    assert many.horizon > 3
    assert sooner.scenarios[0].truth.reference_risk.value < many.scenarios[1].truth.reference_risk.value


def test_presets_move_the_outcome_but_not_the_biomarker_in_the_same_people(many):
    found = between_trials(many)
    null, works = found.means
    assert math.isnan(null.marker_difference)
    assert works.on_marker > 0.15
    assert abs(works.marker_difference) < 0.02
    assert works.outcome_difference == pytest.approx(works.on_outcome - null.on_outcome, abs=1e-12)
    trials = found.trials()
    for mean in found.means:
        own = trials.filter(pl.col("preset") == mean.preset)
        assert own.height == mean.trials == 3
        assert own["on_marker"].mean() == pytest.approx(mean.on_marker, rel=1e-12)


def test_the_units_are_the_trials_and_no_two_of_all_presets_share_their_people(many):
    found = between_trials(many)
    observed = [method.name for method in METHODS].index("observed")
    for scenario, (preset, units) in zip(many.scenarios, found.units, strict=True):
        assert scenario.preset == preset
        # the plan's ratio is stratified, that of a unit is not
        np.testing.assert_allclose(np.exp(units.on_outcome), scenario.estimates[observed], rtol=0.1)
        assert (units.participants == 300).all()
    assert found.together.effects.names == ("A 1", "D 2", "A 3")
    assert found.presets_of == ("A", "D", "A")
    table = found.table()
    assert table["preset"].unique(maintain_order=True).to_list() == ["all", "A", "D"]
    assert table["refused"].str.starts_with("3 units").all()


def test_units_of_several_sources_are_taken_together_and_compared_as_always():
    effects = [_effects_of(seed) for seed in range(12)]
    for parts in (effects, [joined(effects[:5]), joined(effects[5:])]):
        whole = joined(parts)
        assert whole.names == tuple(f"trial {seed}" for seed in range(12))
        assert trial_level(whole).slope.estimate == pytest.approx(
            np.polyfit(whole.on_marker, whole.on_outcome, 1, w=whole.covariance[:, 1, 1] ** -0.5)[0]
        )
    with pytest.raises(UserError, match="one scale"):
        joined([effects[0], replace(effects[1], transform="log2")])


def _effects_of(seed: int) -> UnitEffects:
    rng = np.random.default_rng(seed)
    move = 0.2 + rng.random()
    return UnitEffects(
        (f"trial {seed}",), np.array([move]), np.array([0.1 * rng.standard_normal() - move]),
        np.array([[[0.01, -0.002], [-0.002, 0.01 + 0.02 * rng.random()]]]), np.array([100]), np.array([20]),
    )  # fmt: skip


@pytest.mark.slow
def test_the_page_shows_simulated_trials_as_units_at_its_own_horizon(folder, tmp_path):
    arguments = ["surrogate", str(folder), "--trials", "6", "--horizon", "2.5", "--bootstrap", "20"]
    done = CliRunner().invoke(app, [*arguments, "--units", "site", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "same people" in done.output
    page = (tmp_path / "surrogate.html").read_text("utf-8")
    assert "Between simulated trials" in page
    assert "at year 2.50" in page
    table = pl.read_csv(tmp_path / "surrogate.csv").filter(pl.col("name") == "path.risk.indirect")
    many = pl.read_csv(tmp_path / "surrogate-characteristics.csv").filter(pl.col("method") == "path")
    assert table["truth"][0] in many["truth"].to_list()
    assert pl.read_csv(tmp_path / "surrogate-trials.csv").height == 30
    assert set(pl.read_csv(tmp_path / "surrogate-between.csv")["preset"]) == {"all", *"ABCDE"}


def test_what_the_biomarker_promises_is_the_same_whether_or_not_the_cells_work(many):
    null, works = many.scenarios
    row = [method.name for method in METHODS].index("expected")
    assert np.nanmax(np.abs(np.log(null.estimates[row] / works.estimates[row]))) < 0.15
    table = many.table()
    null_row = table.filter((pl.col("preset") == "A") & (pl.col("method") == "expected"))
    assert null_row["truth"][0] == 1.0
    assert null_row["bias"][0] < -0.05


def test_every_share_is_of_trials_and_every_refusal_is_counted(many):
    table = many.table()
    assert table.height == 2 * len(METHODS)
    for name in ("refused", "misled"):
        assert table[name].is_between(0, 1).all()
    answered = [
        1 - float(np.isnan(scenario.estimates[k]).mean())
        for scenario in many.scenarios
        for k in range(len(METHODS))
    ]
    assert table["refused"].to_list() == pytest.approx([1 - share for share in answered])


def method(name: str) -> Method:
    return next(each for each in METHODS if each.name == name)


def test_an_adjusted_ratio_misleads_when_it_claims_a_harm_that_is_not_there():
    low, high, said = np.array([1.1, 0.8]), np.array([1.5, 1.4]), np.array([1.3, 1.1])
    assert misled(method("adjusted"), known(-0.15, 0.0), said, low, high).tolist() == [True, False]
    assert misled(method("adjusted"), known(-0.08, 0.08), said, low, high).tolist() == [False, False]


def test_prentice_misleads_when_it_takes_part_for_the_whole_or_the_whole_for_part():
    nan = np.full(3, math.nan)
    said = np.array([1.0, 0.0, math.nan])
    assert misled(method("prentice"), known(-0.15, 0.0), said, nan, nan).tolist() == [False, True, False]
    assert misled(method("prentice"), known(-0.08, 0.08), said, nan, nan).tolist() == [True, False, False]
    assert misled(method("prentice"), known(0.0, 0.0), said, nan, nan).tolist() == [True, False, False]


def test_any_share_of_no_effect_misleads_and_a_refusal_never_does():
    said = np.array([0.4, math.nan])
    low, high = np.array([0.1, math.nan]), np.array([0.9, math.nan])
    assert misled(method("lin"), known(0.0, 0.0), said, low, high).tolist() == [True, False]
    assert misled(method("lin"), known(-0.1, -0.05), said, low, high).tolist() == [False, False]
    assert misled(method("lin"), known(-0.1, 0.1), said, low, high).tolist() == [True, False]
    assert target_of(known(-0.1, 0.1), "direct") == pytest.approx(math.exp(0.1))


# --- the chapter of the report ------------------------------------------------------------------------------


def test_the_rows_of_the_report_are_those_of_the_command(folder, printed):
    table, results = pl.read_csv(folder / "surrogate.csv"), analyse.read(folder)
    for name, parameter in (
        ("expected.expected", "expected hazard ratio"),
        ("prentice.outcome_given_marker", "adjusted hazard ratio"),
        ("expected.observed_over_expected", "observed over expected hazard ratio"),
    ):
        row = table.filter(pl.col("name") == name).row(0, named=True)
        for statistic, column in (("estimate", "estimate"), ("lower", "lower"), ("upper", "upper")):
            value = results.value("surrogate", "il2 vs control", parameter, statistic)
            assert row[column] == pytest.approx(value, rel=1e-12)


def test_a_trial_without_events_has_no_rows_and_says_why(tmp_path):
    protocol = load("silcaat")
    record = trial(protocol, seed=2, participants=6)
    results = analyse.run(record)
    assert results.value("primary", "control", "events", "n") == 0
    assert results.value("primary", "il2", "events", "n") == 0
    assert any("nothing to compare" in note for note in results.notes)
    assert results.table.filter(pl.col("analysis") == "surrogate").is_empty()
    page = report.write(results, protocol, record=record, out=tmp_path, paper="never")["html"].read_text()
    chapter = page.partition('id="biomarker"')[2].partition("</section>")[0]
    assert "What did the biomarker promise? </strong>It cannot be said: there was no event" in chapter
    assert "What nobody can tell from this trial" in chapter


def test_a_chapter_without_an_expected_ratio_gives_the_reason_of_the_right_comparison():
    notes = [
        "IL-2 against none, expected from CD4: all (expected hazard ratio): there were no events: none.",
        "IL-3 against none, CD4 as a surrogate for death: any cause: nobody is in the arm IL-3.",
        "IL-4 against none, given CD4 (adjusted hazard ratio): something else.",
    ]
    assert why_nothing_expected(notes, "IL-2 against none") == "there were no events: none"
    assert why_nothing_expected(notes, "IL-3 against none") == "nobody is in the arm IL-3"
    assert why_nothing_expected(notes, "IL-4 against none") == ""


def test_a_command_within_a_sentence_is_set_as_code(folder, page):
    for place in (page, report_of(folder)):
        assert "<code>equipoise surrogate --demonstrate</code>" in place


def test_a_refusal_is_shown_without_a_number():
    measure = refused("x", "share", "share", "there is nothing to share")
    assert math.isnan(measure.estimate)
    assert number(measure.estimate, measure.scale) == "-"
