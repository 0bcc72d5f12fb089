"""The report: one page and one PDF that show the table of results, to everybody, without a network."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from equipoise import analyse, report, simulate
from equipoise.errors import MissingExtraError, UserError
from equipoise.protocol import canonical, load, loads, sha256
from equipoise.protocol.describing import assumptions
from equipoise.protocol.model import Protocol
from equipoise.record import Record
from equipoise.report import words as w
from equipoise.report.consort import CHECKLIST
from equipoise.report.tables import Arms, Rows, exposure

COMMAND = "equipoise run silcaat --seed 4 --participants 240"


@dataclass(frozen=True)
class Trial:
    """A small simulated SILCAAT, analysed, with some trials to compare it with."""

    protocol: Protocol
    record: Record
    results: analyse.Results
    replicates: pl.DataFrame

    def write(self, out: Path, **more: object) -> dict[str, Path]:
        arguments = {
            "record": self.record,
            "replicates": self.replicates,
            "provenance": {"Command": COMMAND},
        } | more
        protocol = arguments.pop("protocol", self.protocol)
        results = arguments.pop("results", self.results)
        return report.write(results, protocol, out=out, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trial() -> Trial:
    protocol = load("silcaat")
    record = simulate.trial(protocol, 4, participants=240)
    return Trial(
        protocol,
        record,
        analyse.run(record, protocol),
        simulate.replicates(protocol, 30, 4, participants=240),
    )


@pytest.fixture(scope="module")
def paths(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trial.write(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(paths: dict[str, Path]) -> str:
    return paths["html"].read_text(encoding="utf-8")


STATISTICS = ("estimate", "lower", "upper")


class Reader(HTMLParser):
    """Every element of a page with its attributes, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for found, attributes in self.elements if found == tag)


def pdf_text(path: Path) -> str:
    pymupdf = pytest.importorskip("pymupdf")
    with pymupdf.open(path) as document:
        return re.sub(r"\s+", " ", " ".join(sheet.get_text() for sheet in document))


# --- one file, no network -----------------------------------------------------------------------------------


def test_the_page_is_one_file_that_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert not [
        tag
        for tag, _ in reader.elements
        if tag in ("script", "link", "iframe", "img", "object", "embed", "base")
    ]
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes
        target = attributes.get("href") or ""
        assert (
            target.startswith("#")
            or (tag == "a" and target.startswith(("http://", "https://")))
            or not target
        )
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_every_link_within_the_page_leads_somewhere_and_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    ids = Counter(a["id"] for _, a in reader.elements if a.get("id"))
    assert not [name for name, n in ids.items() if n > 1]
    targets = {(a.get("href") or "")[1:] for _, a in reader.elements if (a.get("href") or "").startswith("#")}
    assert targets <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_the_same_trial_gives_the_same_bytes(trial: Trial, paths: dict[str, Path], tmp_path: Path) -> None:
    again = trial.write(tmp_path)
    assert again["html"].read_bytes() == paths["html"].read_bytes()
    assert again["pdf"].read_bytes() == paths["pdf"].read_bytes()


def test_a_report_made_from_the_record_alone_is_the_same(
    trial: Trial, paths: dict[str, Path], tmp_path: Path
) -> None:
    kept = loads(canonical(trial.protocol).decode(), "protocol.json")
    assert list(kept.published) == list(trial.protocol.published)
    again = trial.write(tmp_path, protocol=kept)
    assert again["html"].read_bytes() == paths["html"].read_bytes()


# --- for everybody ------------------------------------------------------------------------------------------


def test_every_figure_says_in_words_what_it_shows(page: str) -> None:
    drawings = list(Reader(page).all("svg"))
    assert len(drawings) > 20
    for drawing in drawings:
        assert drawing.get("role") == "img"
        assert len(drawing.get("aria-label") or "") > 20


def test_every_figure_has_its_numbers_in_a_table_or_beside_it(page: str) -> None:
    for figure in re.findall(r'<figure id="([^"]+)">.*?</figure>\s*(<details>)?', page, re.S):
        name, details = figure
        assert details or name.startswith("figure-safety"), f"{name} has no table"


def test_every_table_has_a_caption_and_headers(page: str) -> None:
    tables = re.findall(r"<table>(.*?)</table>", page, re.S)
    assert len(tables) > 20
    for table in tables:
        assert "<caption>" in table
        assert 'scope="col"' in table
        assert table.count("<tr") - 1 == len(re.findall(r'scope="row(?:group)?"', table))


def test_the_text_in_drawings_is_text_and_large_enough(page: str) -> None:
    drawing = re.search(r'<svg class="narrow".*?</svg>', page, re.S)
    assert drawing
    assert "<text" in drawing[0]
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: ?(?:bold )?([\d.]+)px", page)]
    assert sizes
    assert min(sizes) >= 8.5


def test_colours_follow_the_page_so_that_it_can_be_light_or_dark(page: str) -> None:
    used = set(re.findall(r"var\((--c-[a-z0-9]+)\)", page))
    light, dark = page.split("prefers-color-scheme: dark")[:2]
    for variable in used:
        assert f"{variable}:" in light
    assert all(f"{v}:" in dark for v in ("--c-ink", "--c-paper", "--c-arm0", "--c-reference"))
    drawings = " ".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert not re.findall(r"#[0-9a-f]{6}\b", re.sub(r'href="#[^"]*"|url\(#[^)]*\)', "", drawings))


# --- what it says -------------------------------------------------------------------------------------------


def test_it_says_first_that_nobody_took_part(page: str) -> None:
    text = Reader(page).text
    assert text.index("SIMULATED TRIAL") < text.index("In one minute")
    assert text.index("No person took part in this trial") < text.index("The question.")


def test_a_reader_with_a_minute_sees_the_primary_endpoint_death_and_safety(page: str) -> None:
    minute = re.search(r'<section id="minute".*?</section>', page, re.S)
    assert minute
    text = Reader(minute[0]).text
    for label in (
        "Opportunistic disease or death.",
        "Death from any cause.",
        "First grade 4 clinical event.",
    ):
        assert label in text
    assert len(re.findall(r"Hazard ratio \d", text)) <= 4


def test_a_clinician_reads_what_the_trial_can_and_cannot_say_about_the_biomarker(
    trial: Trial, page: str
) -> None:
    start = page.index('id="biomarker"')
    text = Reader(page[start : page.index("</section>", start)]).text
    assert "What this trial can and cannot say about the biomarker" in text
    assert "What nobody can tell from this trial" in text
    assert "must not be read as the harm" in text
    for parameter in ("expected hazard ratio", "adjusted hazard ratio"):
        found = [trial.results.value("surrogate", "il2 vs control", parameter, s) for s in STATISTICS]
        assert w.with_interval(*found, 2) in text, parameter


def test_every_number_of_the_outcomes_comes_from_the_table_of_results(trial: Trial, page: str) -> None:
    table = re.search(r'id="table-outcomes">(.*?)</table>', page, re.S)
    assert table
    text = Reader(table[1]).text
    for plan in trial.protocol.analysis.time_to_event:
        ratio = [
            trial.results.value(plan.endpoint, "il2 vs control", "hazard ratio", s)
            for s in ("estimate", "lower", "upper")
        ]
        assert w.with_interval(*ratio, 2) in text
        for arm in ("il2", "control"):
            events = trial.results.value(plan.endpoint, arm, "events", "n")
            n = trial.results.value(plan.endpoint, arm, "participants", "n")
            assert w.count_percent(events, n) in text


def test_every_published_figure_and_its_source_is_shown(trial: Trial, page: str) -> None:
    text = Reader(page).text
    for figure in trial.protocol.published.values():
        assert figure.label in text
    for key, reference in trial.protocol.references.items():
        assert key in text
        assert reference.text in text


def test_the_place_of_each_published_figure_among_the_trials_is_said_in_words(
    trial: Trial, page: str
) -> None:
    assert f"simulated {trial.replicates.height} times" in Reader(page).text
    assert (
        len(
            re.findall(r"above \d+% of simulated trials|nearly all of 30 simulated trials", Reader(page).text)
        )
        >= 8
    )


def test_a_small_trial_says_that_its_counts_cannot_be_compared(page: str) -> None:
    assert "The trials differ in size." in page


def test_every_assumption_of_the_protocol_is_shown(trial: Trial, page: str) -> None:
    found = assumptions(trial.protocol)
    text = re.sub(r"\s+", " ", Reader(page).text)
    assert len(found) > 10
    for reason in (each.text for each in found):
        assert re.sub(r"\s+", " ", w.sentence(reason)) in text


def test_what_cannot_be_known_is_said_with_the_choice_that_was_made(page: str) -> None:
    text = Reader(page).text
    assert "What cannot be known from the published trials" in text
    assert text.count("used here") == 1
    assert "Why this one by default." in text


def test_the_rates_that_the_size_counts_on_are_told(page: str) -> None:
    assert "Counted on: 2.1 primary events per 100 person-years on ART alone" in page


def test_it_can_be_reproduced(trial: Trial, page: str) -> None:
    text = Reader(page).text
    assert COMMAND in text
    assert sha256(trial.protocol) in text
    assert (trial.record.manifest.record_sha256 or "") in text


def test_each_item_of_the_checklist_leads_to_a_section_of_the_report(page: str) -> None:
    sections = set(re.findall(r'<section id="([^"]+)"', page)) | {"top"}
    assert {section for _, _, section, _ in CHECKLIST if section} <= sections


def test_the_lives_in_the_picture_are_those_in_the_record(trial: Trial, page: str) -> None:
    table = re.search(r'id="table-lives">(.*?)</table>', page, re.S)
    assert table
    rows = re.findall(r'<th scope="row">(\d+)</th>((?:<td.*?</td>)+)', table[1])
    assert len(rows) > 20
    cycles = dict(trial.record.table("cycles").group_by("participant").len().iter_rows())
    for number, cells in rows:
        shown = re.findall(r"<td[^>]*>(.*?)</td>", cells)
        assert int(shown[3]) == cycles.get(int(number), 0)


# --- on paper -----------------------------------------------------------------------------------------------


def test_the_pdf_has_the_same_sections_and_numbers(paths: dict[str, Path], page: str) -> None:
    text = pdf_text(paths["pdf"])
    for title in re.findall(r'<h2 id="[^"]+"><span class="n">\d+</span> ([^<]+)</h2>', page):
        assert title in text
    assert "SIMULATED TRIAL" in text
    assert "Number at risk" in text  # the text of drawings is text on paper too


def test_without_the_extra_the_page_is_written_and_one_line_says_what_is_missing(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    said: list[str] = []
    written = trial.write(tmp_path, say=said.append)
    assert list(written) == ["html"]
    assert written["html"].exists()
    assert len(said) == 1
    assert "equipoise[pdf]" in said[0]
    assert "\n" not in said[0]
    with pytest.raises(MissingExtraError):
        trial.write(tmp_path, paper="always")


# --- hostile and odd input ----------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg></style><b>bold</b>",
    '#panic("boom") #read("/etc/passwd") $x$ *bold* _em_ @ref \\ `code` = heading',
    "{{ 7*7 }} {% raw %} ${x} $\\alpha$ %s",
    "naïve 漢字 \u202e right-to-left",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_protocol_says_stays_text(trial: Trial, tmp_path: Path, text: str) -> None:
    plan = trial.protocol
    hostile = plan.model_copy(
        update={
            "title": text,
            "background": text,
            "protocol": text[:60],
            "arms": {k: a.model_copy(update={"label": f"{text} {k}"}) for k, a in plan.arms.items()},
            "events": {
                k: e.model_copy(update={"label": text, "definition": text}) for k, e in plan.events.items()
            },
            "endpoints": {
                k: e.model_copy(update={"label": f"{k} {text}"}) for k, e in plan.endpoints.items()
            },
            "published": {k: f.model_copy(update={"label": text}) for k, f in plan.published.items()},
            "references": {
                k: r.model_copy(update={"text": text, "address": "javascript:alert(1)"})
                for k, r in plan.references.items()
            },
        }
    )
    written = trial.write(tmp_path, protocol=hostile, provenance={"Command": text})
    page = written["html"].read_text(encoding="utf-8")
    reader = Reader(page)
    assert text.split()[0] in reader.text
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "img", "object", "iframe", "em"}
    assert "<b>bold</b>" not in page
    assert "javascript:" not in {(a.get("href") or "")[:11] for a in reader.all("a")}
    assert not [a for _, a in reader.elements if any(name.startswith("on") for name in a)]
    on_paper = pdf_text(written["pdf"])
    if text.isascii():
        assert text.split()[0] in on_paper


def test_results_that_do_not_say_whether_anybody_was_real_are_refused(trial: Trial, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="virtual"):
        trial.write(tmp_path, results=analyse.Results(trial.results.table), record=None)


def test_real_participants_are_never_called_simulated(trial: Trial, tmp_path: Path) -> None:
    conducted = analyse.Results(trial.results.table, (), {"kind": "conducted"})
    written = trial.write(tmp_path, results=conducted, record=None, replicates=None, paper="never")
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    assert "REAL DATA" in text
    assert "SIMULATED" not in text
    assert "virtual participants were" not in text
    assert "No person took part" not in text


def test_an_unwritable_place_is_named(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        trial.write(tmp_path / "file", paper="never")


def test_a_trial_without_events_is_reported(trial: Trial, tmp_path: Path) -> None:
    table = trial.results.table
    gone = table.filter(
        ~pl.col("parameter").str.contains("hazard ratio|log-rank|rate ratio|proportional")
        & ~pl.col("analysis").str.starts_with("subgroup:")
    ).with_columns(
        pl.when(pl.col("parameter") == "events").then(0.0).otherwise(pl.col("value")).alias("value"),
    )
    written = trial.write(
        tmp_path,
        results=analyse.Results(gone, (), trial.results.provenance),
        replicates=None,
        record=None,
        paper="never",
    )
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    assert "could not be estimated" in text


@pytest.mark.parametrize("name", ["esprit", "vanguard"])
def test_other_bundled_trials_are_reported(name: str, tmp_path: Path) -> None:
    protocol = load(name)
    record = simulate.trial(protocol, 2, participants=120)
    written = report.write(analyse.run(record, protocol), protocol, record, out=tmp_path, paper="if possible")
    assert set(written) == {"html", "pdf"}
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    for arm in protocol.arms.values():
        assert arm.label in text


def test_events_that_nobody_can_have_are_called_not_simulated(tmp_path: Path) -> None:
    protocol = load("esprit")
    record = simulate.trial(protocol, 2, participants=120)
    repeated = simulate.replicates(protocol, 20, 2, participants=120)
    written = report.write(
        analyse.run(record, protocol), protocol, record, repeated, out=tmp_path, paper="never"
    )
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    absent = [f for f in protocol.published.values() if f.analysis in protocol.endpoints_not_simulated]
    assert absent
    assert text.count("not simulated") == len(absent)
    assert "do not have events of this kind" in text
    assert "Also published, without a simulated counterpart" in text
    assert "Any change of antiretroviral therapy" in text
    assert "serious non-AIDS event and bacterial pneumonia" not in text
    assert "in the many simulated trials, to save time, the plain difference" in text


def test_with_several_arms_each_main_figure_names_its_arm(tmp_path: Path) -> None:
    protocol = load("vanguard")
    record = simulate.trial(protocol, 2)
    written = report.write(analyse.run(record, protocol), protocol, record, out=tmp_path, paper="never")
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    for arm in ("il2_1_5", "il2_4_5", "il2_7_5"):
        assert f"CD4 count, average difference, {protocol.arms[arm].label}" in text


def test_one_of_many_is_not_nobody() -> None:
    protocol = load("silcaat")
    shares = {
        "participants starting cycles": (1999.0, 99.96),
        "participants with stop": (1.0, 0.04),
        "participants with hold": (0.0, 0.0),
    }
    table = pl.DataFrame(
        [
            ("exposure", "il2", parameter, statistic, value, "")
            for parameter, both in shares.items()
            for statistic, value in zip(("n", "percent"), both, strict=True)
        ],
        schema=["analysis", "group", "parameter", "statistic", "value", "unit"],
        orient="row",
    )
    arms = Arms(("il2", "control"), "control", {"il2": "IL-2", "control": "Control"})
    shown = exposure(Rows(table), protocol, arms)
    assert shown is not None
    words = str(shown.rows)
    assert "1,999 (>99.9%)" in words
    assert "1 (<0.1%)" in words
    assert "(0.0%)" not in words


def test_a_difference_of_nothing_is_neither_higher_nor_lower(trial: Trial, tmp_path: Path) -> None:
    here = (
        (pl.col("analysis") == "hiv_rna")
        & (pl.col("parameter") == "mean difference over follow-up")
        & (pl.col("statistic") == "estimate")
    )
    table = trial.results.table.with_columns(value=pl.when(here).then(-0.001).otherwise("value"))
    results = analyse.Results(table, (), trial.results.provenance)
    written = trial.write(tmp_path, results=results, replicates=None, paper="never")
    text = Reader(written["html"].read_text(encoding="utf-8")).text
    assert "it was neither higher nor lower with" in text
    assert "0.00 log10 copies/mL lower" not in text
