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
    assert len(named["T1"]) == 5


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
    assert (result["A1"], result["A2"], result["A3"], result["A4"]) == (
        "passed",
        "failed",
        "not run",
        "passed",
    )
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
        for fact in (sys.version.split()[0], "Django", evidence.requirements()[0].what, "FAILED", "NO TEST"):
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
