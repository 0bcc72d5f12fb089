"""The page of a power run: every operating characteristic with its error, pictures, how to repeat it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from equipoise.errors import UserError
from equipoise.protocol import load
from equipoise.protocol.plain import build_plain
from equipoise.protocol.reading import parse_yaml
from equipoise.report import power_definitions, power_words
from equipoise.report.power import write_power
from equipoise.report.power_material import PowerMaterial
from equipoise.simulate.power import running, scenarios
from equipoise.simulate.power.characteristics import Figure, Summary, summarise

TRIAL = """
equipoise: 1
plain: SMALL
arms:
  control: {hazard: 0.4 / year}
  active: {hazard_ratio: 0.6, label: "New <b>drug</b>"}
reference_arm: control
participants: 160
accrual: 1 year
alpha: 0.05
power: 0.9
primary_events: 80
follow_up: 5 years
monitoring: {looks: [0.5, 1.0], spending: obrien-fleming}
"""
MARKUP = "weaker <script>alert(1)</script> & slower"
TRIALS = 300


class Page(HTMLParser):
    """Elements and text of a page, and its tables: rows of the texts of their cells, by id."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._inside = ""
        self._table: list[list[str]] = []
        self._cell = False
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._inside = tag
        if tag == "div" and str(attributes.get("class", "")).startswith("scroll"):
            self._table = self.tables.setdefault(str(attributes["id"]), [])
        if tag == "tr":
            self._table.append([])
        if tag in ("th", "td"):
            self._table[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data
        if self._cell:
            self._table[-1][-1] += data

    def drawings(self, figure: str, width: str = "wide") -> list[str]:
        """The words drawn in a figure."""
        inside = self.source.split(f'<figure id="{figure}">')[1].split("</figure>")[0]
        svg = inside.split(f'<svg class="{width}"')[1].split("</svg>")[0]
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def design() -> scenarios.Design:
    return scenarios.design_of(build_plain(parse_yaml(TRIAL, "small.yaml")))


def run(out: Path, made: list[scenarios.Scenario], trials: int) -> Summary:
    return summarise(
        running.run(made, running.Goal(trials), out, seed=3, command="equipoise power small.yaml")
    )


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    folder = tmp_path_factory.mktemp("power")
    file = folder / "scenarios.yaml"
    file.write_text(
        "scenarios:\n  as planned: {}\n"
        f'  "{MARKUP}": {{arms.active.hazard_ratio: 0.8, accrual: 2 years}}\n'
        "  no effect: {arms.active.hazard_ratio: 1}\n",
        encoding="utf-8",
    )
    return run(folder / "run", scenarios.from_file(design(), file), TRIALS)


@pytest.fixture(scope="module")
def page(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_power(summary, tmp_path_factory.mktemp("page"), provenance={"Machine": "two cores"}))


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    folder = tmp_path_factory.mktemp("guided")
    made = scenarios.grid(scenarios.design_of(load("silcaat"), participants=60), [])
    return summarise(running.run(made, running.Goal(5), folder / "run", seed=2, chunk=5))


def number(text: str) -> tuple[float, float]:
    """A number as it is printed, and half a unit of its last decimal."""
    bare = text.replace("−", "-").replace(",", "").rstrip("%")
    decimals = len(bare.partition(".")[2])
    return float(bare), 0.5 * 10.0**-decimals + 1e-9


# --- every figure -------------------------------------------------------------------------------------------


def test_every_characteristic_of_every_scenario_is_on_the_page_with_its_value(
    summary: Summary, page: Page
) -> None:
    for k, figures in enumerate(summary.figures, 1):
        rows = {row[0]: row for row in page.tables[f"table-scenario-{k}"] if len(row) == 4}
        for figure in figures:
            shown = rows[figure.name[:1].upper() + figure.name[1:]]
            if math.isnan(figure.value):
                assert shown[1] == "–"
                continue
            scale = 100 if shown[3] == "%" else 1
            value, half = number(shown[1])
            assert abs(value - scale * figure.value) <= half
            if figure.error > 0:
                error, half = number(shown[2].removeprefix("<"))
                assert abs(error - scale * figure.error) <= 2 * half


def test_probabilities_are_in_percent_and_nothing_else_is(summary: Summary, page: Page) -> None:
    percent = {row[0] for row in page.tables["table-scenario-1"] if len(row) == 4 and row[3] == "%"}
    assert {"Power", "Look 1: efficacy", "Look 2 takes place"} <= percent
    assert not {"Duration", "Primary events", "Hazard ratio, true", "Look 1, time"} & percent


def test_every_difference_stands_beside_the_error_of_independent_trials(summary: Summary, page: Page) -> None:
    rows = [row for row in page.tables["table-differences"][1:] if len(row) == 4]
    expected = [
        d for found in summary.differences for d in found if d.unpaired or d.value or d.name == "power"
    ]
    assert len(rows) == len(expected)
    for shown, difference in zip(rows, expected, strict=True):
        scale = 100 if difference.name == "power" else 1
        value, half = number(shown[1].split(" ")[0].removeprefix("+"))
        assert abs(value - scale * difference.value) <= half
        if difference.error > 0:
            assert (
                abs(float(shown[3].removeprefix("× ")) / (difference.unpaired / difference.error) ** 2 - 1)
                < 0.1
            )


def test_every_characteristic_and_every_column_is_explained(summary: Summary, guided: Summary) -> None:
    for each in (summary, guided):
        names = {figure.name for figures in each.figures for figure in figures}
        assert [name for name in names if power_definitions.definition(name) is None] == []
        columns = {name for trials in each.trials for name in trials.names}
        assert [name for name in columns if power_definitions.column(name) is None] == []


# --- pictures -----------------------------------------------------------------------------------------------


def test_the_endings_of_a_scenario_add_up_to_its_trials(summary: Summary, page: Page) -> None:
    for width in ("wide", "narrow"):
        cells = [float(t) for t in page.drawings("figure-stopping", width) if re.fullmatch(r"[\d.]+", t)]
        of_one = len(cells) // len(summary.trials)
        assert of_one == 6
        for k in range(len(summary.trials)):
            assert sum(cells[k * of_one : (k + 1) * of_one]) == pytest.approx(100, abs=0.35)


def test_the_numbers_of_the_endings_are_those_of_the_rows(summary: Summary, page: Page) -> None:
    rows = [row for row in page.tables["table-stopping"][1:] if len(row) > 1]
    totals = [row for row in rows if row[0] == "All"]
    assert [row[-1] for row in totals] == [f"{TRIALS} (100%)"] * 3
    for k, trials in enumerate(summary.trials):
        looks = rows[3 * k : 3 * k + 2]
        wins = sum(int(row[1].split(" ")[0]) for row in looks)
        assert wins == int(trials.column("win").sum())
        assert sum(int(cell.split(" ")[0]) for row in looks for cell in row[1:-1]) == TRIALS


def test_each_picture_has_words_for_those_who_cannot_see_it_and_its_numbers(page: Page) -> None:
    for name in ("power", "duration", "stopping", "estimates", "looks"):
        assert f'<figure id="figure-{name}">' in page.source
        assert page.tables[f"table-{name}"]
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawings) == 10
    assert all(len(str(each["aria-label"])) > 30 for each in drawings)


def test_power_is_a_curve_over_one_number_and_lines_over_two(tmp_path: Path) -> None:
    one = scenarios.grid(design(), [scenarios.variation("hazard_ratio=0.5,0.7,0.9")])
    page = Page(write_power(run(tmp_path / "one", one, 20), tmp_path / "one"))
    assert "Power by hazard_ratio" in page.text
    assert {"0.5", "0.7", "0.9"} <= set(page.drawings("figure-power"))
    two = scenarios.grid(
        design(),
        [scenarios.variation("hazard_ratio=0.5,0.7"), scenarios.variation("participants=120,140,160")],
    )
    page = Page(write_power(run(tmp_path / "two", two, 20), tmp_path / "two"))
    assert "Power by hazard_ratio and participants" in page.text
    assert {"hazard_ratio 0.5", "hazard_ratio 0.7", "120", "160"} <= set(page.drawings("figure-power"))


def test_a_large_grid_is_a_heat_map_and_its_tables_open_when_asked(tmp_path: Path) -> None:
    made = scenarios.grid(
        design(),
        [scenarios.variation("hazard_ratio=0.4:0.8:0.1"), scenarios.variation("participants=100:180:20")],
    )
    summary = run(tmp_path / "run", made, 4)
    path = write_power(summary, tmp_path)
    page = Page(path)
    drawn = page.drawings("figure-power")
    wins = [summary.value(k, "power").value for k in range(len(made))]
    assert sum(t == "0" for t in drawn) == sum(win == 0 for win in wins)
    assert {"0.4", "0.8", "100", "180"} <= set(drawn)
    assert page.source.count("<details>") >= len(made)
    assert path.stat().st_size < 50_000 * len(made)


# --- in words -----------------------------------------------------------------------------------------------


def test_where_there_is_no_effect_the_page_speaks_of_the_type_one_error(page: Page) -> None:
    assert "There is no effect in scenario 3 (no effect)" in page.text
    assert "(planned: 5%)" in page.text
    assert "type I error" in page.text


def test_few_trials_are_called_few(page: Page) -> None:
    assert "There are few trials (300 trials each)" in page.text


def test_what_differs_is_said_where_the_name_does_not_say_it(page: Page) -> None:
    first, second, third = (row[0] for row in page.tables["table-scenarios"][1:])
    assert first == "1. as planned"
    assert second == f"2. {MARKUP}: arms.active.hazard_ratio = 0.8, accrual = 2 years"
    assert third == "3. no effect: arms.active.hazard_ratio = 1"


def test_limits_are_those_of_the_plan(page: Page) -> None:
    # Lan and DeMets, O'Brien-Fleming type, looks at half and all of the information, two-sided 0.05
    rows = page.tables["table-limits-1"]
    assert [row[rows[0].index("Limit of z")] for row in rows[1:]] == ["± 2.963", "± 1.969"]
    assert [row[rows[0].index("Events")] for row in rows[1:]] == ["40", "80"]


def test_the_biomarker_and_the_cycles_of_a_guided_trial_are_told(guided: Summary, tmp_path: Path) -> None:
    page = Page(write_power(guided, tmp_path))
    heads = page.tables["table-scenarios"][0]
    assert {"Cycles each", "Dose each, MIU", "Biomarker wins, endpoint not"} <= set(heads)
    headings = [row[0] for row in page.tables["table-scenario-1"] if len(row) == 1]
    assert {"Biomarker", "Treatment, compared arm", "Safety"} <= set(headings)
    shown = next(r for r in page.tables["table-scenario-1"] if r[0] == "Difference of the biomarker")
    assert shown[3] == "cells/mm³"
    assert "not known by construction" in page.text
    assert ["preset", "C"] in page.tables["table-dials"]


def test_the_page_says_how_to_repeat_the_run_and_one_trial(summary: Summary, page: Page) -> None:
    assert "equipoise power small.yaml" in page.text
    assert "equipoise simulate small.yaml --seed 3 --trial 299" in page.text
    assert ["Machine", "two cores"] in page.tables["table-provenance"]
    assert [row[1] for row in page.tables["table-designs"][1:]] == [e.sha256 for e in summary.saved.scenarios]


# --- the file -----------------------------------------------------------------------------------------------


def test_the_page_is_one_file_without_script_or_network(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "img", "object", "embed", "base"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert str(attributes.get("href") or "#").startswith("#")
    assert "http" not in page.source
    assert not re.search(r"url\((?!#)", page.source)


def test_names_are_text_and_never_markup(page: Page) -> None:
    assert MARKUP in page.text
    assert "<script>" not in page.source
    assert "New <b>drug</b>" in page.text


def test_every_link_leads_somewhere_and_ids_are_unique(page: Page) -> None:
    ids = Counter(a["id"] for _, a in page.elements if a.get("id"))
    assert not [name for name, n in ids.items() if n > 1]
    assert {str(a["href"])[1:] for _, a in page.elements if a.get("href")} <= set(ids)


def test_the_same_run_gives_the_same_bytes(summary: Summary, tmp_path: Path) -> None:
    one = write_power(summary, tmp_path / "one").read_bytes()
    assert write_power(summarise(summary.saved), tmp_path / "two").read_bytes() == one


def test_a_page_is_replaced_only_when_asked(summary: Summary, tmp_path: Path) -> None:
    path = write_power(summary, tmp_path)
    with pytest.raises(UserError, match="exists already"):
        write_power(summary, tmp_path)
    assert write_power(summary, tmp_path, force=True) == path


# --- how numbers are written --------------------------------------------------------------------------------


def shares() -> Iterator[tuple[Figure, str]]:
    yield Figure("decision", "power", 0.58612, 0.0078), "58.6% ±\u00a00.8"
    yield Figure("decision", "power", 0.02633, 0.00253), "2.63% ±\u00a00.25"
    yield Figure("decision", "power", 0.0, 0.0), "0% (≤\u00a00.075)"
    yield Figure("decision", "power", 1.0, 0.0), "100% (≥\u00a099.925)"
    yield Figure("duration", "duration", 8.05949, 0.0244, "years"), "8.059 ±\u00a00.024"
    yield Figure("duration", "duration", 5.003022, 0.00013, "years"), "5.003 ±\u00a0<0.001"
    yield Figure("duration", "participants randomised", 1695.0, 0.0), "1,695"
    yield Figure("treatment", "dose of the trial", 199954.35, 350.7, "MIU"), "200,000 ±\u00a0400"
    yield (
        Figure("estimate", "bias of the log hazard ratio, as estimated", -0.0318, 0.0096),
        "−0.032 ±\u00a00.010",
    )
    yield Figure("duration", "duration", math.nan, math.nan, "years"), "–"


@pytest.mark.parametrize(("figure", "text"), list(shares()))
def test_a_figure_is_written_no_finer_than_its_error_tells(figure: Figure, text: str) -> None:
    assert power_words.both(figure, 4000) == text


def test_a_small_share_is_never_written_as_none() -> None:
    assert power_words.percent_of(0, 4000) == "0"
    assert power_words.percent_of(1, 4000) == "<0.1"
    assert power_words.percent_of(3999, 4000) == ">99.9"
    assert power_words.percent_of(57, 150) == "38"


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    # Newcombe, Stat Med 1998;17:857-72, table I, method 3
    assert power_words.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert power_words.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_fields_that_change_together_are_one_thing(guided: Summary, tmp_path: Path) -> None:
    base = scenarios.design_of(load("silcaat"), participants=60)
    made = scenarios.grid(base, [scenarios.variation("aldesleukin.goal.rise=100,200")])
    saved = running.run(made, running.Goal(2), tmp_path / "run", chunk=2)
    material = PowerMaterial(summarise(saved), {})
    assert [(each.label, each.numbers) for each in material.varied] == [("aldesleukin.goal.rise", (100, 200))]
