"""The trace from requirements to tests to results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.conduct import evidence

TESTS = Path(__file__).parent
ASKED = {
    *(f"A{n}" for n in range(1, 14)), *(f"T{n}" for n in range(1, 6)), *(f"S{n}" for n in range(1, 9)),
    *(f"U{n}" for n in range(1, 11)), *(f"I{n}" for n in range(1, 11)), *(f"K{n}" for n in range(1, 8)),
    *(f"B{n}" for n in range(1, 8)), *(f"D{n}" for n in range(1, 36)),
}  # fmt: skip
SUITE = """
import pytest
pytestmark = pytest.mark.requirement("T1")

@pytest.mark.requirement("A1", "D25")
@pytest.mark.parametrize("n", [1, 2])
def test_good(n): pass

@pytest.mark.requirement("A2")
def test_bad(): assert not "<script>"

@pytest.mark.requirement("A3")
@pytest.mark.skip
def test_left_out(): pass

@pytest.mark.requirement("A6")
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.skip)])
def test_half(n): pass

@pytest.mark.requirement("A4")
class TestTogether:
    def test_one(self): pass

    @pytest.mark.requirement("A5")
    def test_two(self): pass
"""


@pytest.mark.requirement("B4")
def test_every_requirement_is_covered_or_says_why_not() -> None:
    assert {one.id for one in evidence.requirements()} == ASKED
    for one in evidence.requirements():
        assert len(one.what) > 15
        assert not one.later or len(one.later) > 15


@pytest.mark.requirement("B4")
def test_every_requirement_that_is_covered_is_named_by_a_test() -> None:
    named = evidence.named_in(TESTS)
    unknown = sorted(set(named) - ASKED)
    assert not unknown, f"tests name {unknown}, which are no requirements"
    without = [one.id for one in evidence.requirements() if not one.later and one.id not in named]
    assert not without, f"no test names {without}"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_some.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = requirement: shown\n")
    return folder


def test_the_text_of_the_tests_is_enough_to_know_what_they_name(suite: Path) -> None:
    named = evidence.named_in(suite)
    assert named["A1"] == named["D25"] == ["tests/test_some.py::test_good"]
    assert named["A4"] == [f"tests/test_some.py::TestTogether::test_{n}" for n in ("one", "two")]
    assert named["A5"] == ["tests/test_some.py::TestTogether::test_two"]
    assert len(named["T1"]) == 6


@pytest.mark.requirement("B4")
@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_results_come_from_the_tests_themselves(suite: Path, tmp_path: Path, processes: list[str]) -> None:
    results = tmp_path / "requirements.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "equipoise.conduct.evidence", *processes,
         "--requirements-file", str(results), str(suite)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found = evidence.trace(None, results, suite)
    result = {one.requirement.id: one.result for one in found.shown}
    assert {id: result[id] for id in ("A1", "A2", "A3", "A4", "A6")} == {
        "A1": "passed", "A2": "failed", "A3": "not run", "A4": "passed", "A6": "passed in part",
    }  # fmt: skip
    assert result["T1"] == "failed"
    assert result["K1"] == "no test"
    shown = next(one for one in found.shown if one.requirement.id == "A1")
    assert [test for test, _ in shown.tests] == [f"tests/test_some.py::test_good[{n}]" for n in (1, 2)]


@pytest.mark.requirement("B4")
def test_the_page_is_dated_and_says_what_it_was_made_on(suite: Path, tmp_path: Path) -> None:
    for name in ("page.html", "page.md"):
        out = tmp_path / name
        done = CliRunner().invoke(
            app, ["conduct", "evidence", "--tests", str(suite), "--run", "--out", str(out),
                  "--results", str(tmp_path / "r.json")],
        )  # fmt: skip
        assert done.exit_code == 1, done.output
        page = out.read_text()
        facts = ("Django", evidence.requirements()[0].what, "FAILED", "NO TEST", "passed in part")
        for fact in (sys.version.split()[0], "1 passed in part", *facts):
            assert fact in page
        assert re.search(r"Made \d\d \w{3} \d{4}, \d\d:\d\d UTC", page)
        assert re.search(r"[0-9a-f]{64}", page)
        assert not re.search(r"(src|href)=.https?:", page)


def test_what_are_no_results_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    for content in ("[1]", "no json", json.dumps({"tests": [{}], "made_at": "", "facts": {}})):
        file.write_text(content)
        done = CliRunner().invoke(
            app, ["conduct", "evidence", "--results", str(file), "--out", str(tmp_path / "x")]
        )
        assert done.exit_code == 2
        assert "these are not results of tests" in done.stderr
        assert not (tmp_path / "x").exists()


@pytest.mark.requirement("B4")
def test_a_test_that_was_not_run_leaves_the_requirement_passed_in_part(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "some.json"
    ran = {"test": "tests/test_some.py::TestTogether::test_one", "outcome": "passed", "requirements": ["A4"]}
    results.write_text(json.dumps({"made_at": "today", "facts": {}, "tests": [ran]}))
    found = evidence.trace(None, results, suite)
    result = {one.requirement.id: one.result for one in found.shown}
    assert (result["A4"], result["A5"]) == ("passed in part", "not run")
    assert found.counts["passed in part"] == 1
    assert not found.shows_all


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    "broken",
    ["import nothing_of_that_name\n", "def test_nothing(): pass\n"],
    ids=["broken", "no test marked"],
)
def test_results_of_an_earlier_run_are_never_shown_as_those_of_this_one(tmp_path: Path, broken: str) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_some.py").write_text(broken)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = requirement: shown\n")
    results, out = tmp_path / "results.json", tmp_path / "page.html"
    old = {"test": "tests/test_some.py::test_old", "outcome": "passed", "requirements": ["A1"]}
    results.write_text(json.dumps({"made_at": "last year", "facts": {}, "tests": [old]}))
    done = CliRunner().invoke(
        app, ["conduct", "evidence", "--tests", str(tests), "--run", "--results", str(results),
              "--out", str(out)],
    )  # fmt: skip
    assert done.exit_code == 2, done.output
    assert "did not run to the end" in done.stderr
    assert not out.exists()
    assert not results.exists()


@pytest.mark.requirement("B4")
def test_evidence_without_tests_says_what_is_needed_and_ends_with_status_1(
    suite: Path, tmp_path: Path
) -> None:
    for number, more in enumerate(([], ["--tests", str(suite)])):
        done = CliRunner().invoke(
            app, ["conduct", "evidence", *more, "--out", str(tmp_path / f"{number}.html")]
        )
        assert done.exit_code == 1
        assert "NO TEST" in done.stdout
        assert "--tests" in done.stderr
        assert "--run" in done.stderr


@pytest.mark.requirement("B4")
def test_evidence_ends_with_status_0_only_when_all_tests_of_each_requirement_passed(tmp_path: Path) -> None:
    covered = [one.id for one in evidence.requirements() if not one.later]
    later = next(one.id for one in evidence.requirements() if one.later)
    results, out = tmp_path / "results.json", tmp_path / "page.html"

    def ends(*tests: tuple[str, list[str]]) -> int:
        ran = [
            {"test": f"tests/test_some.py::test_{n}", "outcome": outcome, "requirements": ids}
            for n, (outcome, ids) in enumerate(tests)
        ]
        results.write_text(json.dumps({"made_at": "today", "facts": {}, "tests": ran}))
        return CliRunner().invoke(
            app, ["conduct", "evidence", "--results", str(results), "--out", str(out), "--force"]
        ).exit_code  # fmt: skip

    assert ends(("passed", covered)) == 0
    assert ends(("passed", covered[1:])) == 1
    for outcome in ("skipped", "failed"):
        assert ends(("passed", covered), (outcome, covered[:1])) == 1
    assert ends(("passed", covered), ("failed", [later])) == 1
