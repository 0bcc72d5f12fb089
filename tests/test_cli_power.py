"""The command `power`: what a statistician types, what comes back, and how each mistake is said."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import equipoise as eq
from equipoise.cli.main import app
from equipoise.simulate.power import store
from equipoise.simulate.power.verification import Check
from power_example import PLAIN, digest


def _equipoise(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    file = tmp_path / "fictitious.yaml"
    file.write_text(PLAIN)
    return file


def test_the_run_leaves_a_page_a_table_and_its_rows(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = _equipoise("power", plain, "--trials", "300", "--vary", "hazard_ratio=0.7,1", "--out", out)
    assert result.exit_code == 0, result.output
    assert "300 trials of each scenario, seed 1" in result.stdout
    for words in ("hazard_ratio 0.7", "hazard_ratio 1", "on the same virtual people", "power.html"):
        assert words in result.stdout
    page = (out / "power.html").read_text()
    assert "hazard_ratio 0.7" in page
    assert "<script" not in page
    table = pl.read_parquet(out / "characteristics.parquet")
    assert table.equals(pl.read_csv(out / "characteristics.csv").cast(table.schema))  # type: ignore[arg-type]
    rows = pl.scan_parquet(out / "rows" / "*" / "*.parquet").collect()
    assert rows.height == 600


def test_a_saved_run_grows(plain: Path, tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for arguments in (
        ("--trials", "200", "--out", grown), ("--trials", "700", "--resume", grown),
        ("--trials", "700", "--out", whole),
    ):  # fmt: skip
        result = _equipoise("power", plain, "--seed", "1", *arguments)
        assert result.exit_code == 0, result.output
    assert digest(grown) == digest(whole)
    result = _equipoise("power", plain, "--until-se", "0.014", "--resume", grown)
    assert result.exit_code == 0, result.output
    saved = store.read(grown)
    assert saved.trials(saved.scenarios[0]) >= 700


def test_a_run_that_goes_on_has_the_goal_that_it_had(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert _equipoise("power", plain, "--trials", "700", "--out", out).exit_code == 0
    saved = store.read(out)
    assert saved.trials_wanted == 700
    (saved.file(saved.scenarios[0], 0)).unlink()  # as if the run had been stopped before it
    assert _equipoise("power", plain, "--resume", out).exit_code == 0
    assert saved.trials(saved.scenarios[0]) == 700
    assert _equipoise("power", plain, "--trials", "800", "--resume", out).exit_code == 0
    assert store.read(out).trials_wanted == 800
    result = _equipoise("power", plain, "--until-se", "0.3", "--resume", out)
    assert result.exit_code == 0, result.output
    assert store.read(out).error_wanted == 0.3


def test_a_run_of_an_older_version_has_no_goal(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert _equipoise("power", plain, "--trials", "50", "--out", out).exit_code == 0
    said = json.loads((out / "run.json").read_text())
    del said["trials"], said["until_se"]
    (out / "run.json").write_text(json.dumps(said))
    assert store.read(out).trials_wanted is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that keeps no files")
def test_a_place_that_keeps_no_files_is_said(plain: Path) -> None:
    result = _equipoise("power", plain, "--trials", "20", "--out", "/proc/nothing")
    assert result.exit_code == 2
    assert "no files can be kept in /proc: choose another folder" in result.stderr


def test_the_first_look_is_reached_by_design(plain: Path, tmp_path: Path) -> None:
    result = _equipoise("power", plain, "--trials", "300", "--out", tmp_path / "run")
    line = next(line for line in result.stdout.splitlines() if "look 1: reached" in line)
    assert line.endswith("100% (by design)")


def test_one_trial_of_a_run_is_replayed_in_full(plain: Path, tmp_path: Path) -> None:
    out, replayed = tmp_path / "run", tmp_path / "one"
    assert _equipoise("power", plain, "--trials", "10", "--out", out).exit_code == 0
    result = _equipoise("simulate", plain, "--trial", "7", "--out", replayed)
    assert result.exit_code == 0, result.output
    people = pl.read_parquet(replayed / "participants.parquet")
    saved = store.read(out)
    row = saved.row(saved.scenarios[0], 7)
    assert people.height == 300
    assert row["look 3|events"] <= 90 + 5
    assert f"on day {row['stop|day']:.6g}" in result.stdout

    small = ("--participants", "60", "--seed", "4")
    changed = ("functional_fraction=0.5",)
    result = _equipoise(
        "power", "silcaat", *small, "--trials", "6", "--vary", *changed, "--out", tmp_path / "guided"
    )
    assert result.exit_code == 0, result.output
    result = _equipoise(
        "simulate", "silcaat", *small, "--trial", "5", "--set", *changed, "--out", tmp_path / "five"
    )
    assert result.exit_code == 0, result.output
    record = eq.read_record(tmp_path / "five" / "record")
    assert record.manifest.provenance.trial == 5
    saved = store.read(tmp_path / "guided")
    row = saved.row(saved.scenarios[0], 5)
    deaths = record.table("events").filter(pl.col("kind") == "death").height
    assert row["deaths other"] + row["deaths reference"] == deaths
    arm = record.table("participants").filter(pl.col("arm") == "il2").height
    assert row["cycles other"] == pytest.approx(record.table("cycles").height / arm)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["silcat"], 'did you mean "silcaat"'),
        (["silcaat", "--vary", "functional_fracton=1"], "did you mean dials.functional_fraction"),
        (["silcaat", "--vary", "rise=1"], "this might mean"),
        (["silcaat", "--vary", "functional_fraction"], "expected PATH=VALUES"),
        (["silcaat", "--vary", "functional_fraction=7"], "from -0.5 to 1"),
        (["silcaat", "--vary", "size.alpha=0.05", "--scenarios", "x.yaml"], "choose one"),
        (["silcaat", "--scenarios", "x.yaml"], "cannot be read"),
        (["silcaat", "--resume", "nowhere"], "no power run there"),
        (["silcaat", "--resume", "a", "--out", "b"], "different folders"),
        (["silcaat", "--resume", "a", "--force"], "choose one"),
        (["silcaat", "--until-se", "0.9"], "--until-se"),
        (["silcaat", "--cluster", "tcp://x:1", "--workers", "2"], "brings its own workers"),
        (["vanguard"], "--arm"),
        (["vanguard", "--arm", "placebo"], "no arm"),
        (["erythropoietin"], "names no virtual population"),
        (["silcaat", "--preset", "Z"], 'no preset "Z"'),
        (["silcaat", "--participants", "60", "--vary", "spending=none"], "at no set level"),
        (["fictitious.yaml", "--preset", "A"], "no dials"),
        (["fictitious.yaml", "--arm", "control"], "there is active"),
        (
            ["fictitious.yaml", "--vary", "hazard_ratio=1,2", "--vary", "active.hazard_ratio=1,2"],
            "the same field",
        ),
        (["fictitious.yaml", "--out", "taken"], "exists already"),
        (["wrong.yaml"], 'did you mean "hazard_ratio"'),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fictitious.yaml").write_text(PLAIN)
    Path("wrong.yaml").write_text(PLAIN.replace("hazard_ratio", "hazrd_ratio"))
    Path("taken").mkdir()
    Path("taken/notes.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = _equipoise("power", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert "Traceback" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_full_disk_keeps_what_is_finished(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert _equipoise("power", plain, "--trials", "100", "--out", out).exit_code == 0
    before = digest(out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = _equipoise("power", plain, "--trials", "200", "--resume", out)
    assert result.exit_code == 2
    assert "the disk is full" in result.stderr
    assert digest(out) == before


def test_a_type_one_error_too_far_from_its_level_does_not_hold_whatever_is_known_of_it() -> None:
    error = 0.00069
    assert Check("", "", 0.05, 0.05, 0.05 + 2.9 * error, error).holds
    assert not Check("", "", 0.05, 0.05, 0.05 + 3.1 * error, error).holds
    # a reason changes what it is held against, not how closely
    assert Check("", "", 0.05, 0.0529, 0.0529, error, known="few events").holds
    assert not Check("", "", 0.05, 0.0529, 0.05, error, known="few events").holds


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_ctrl_c_keeps_what_is_finished_and_the_run_goes_on(
    plain: Path, tmp_path: Path, processes: bool
) -> None:
    out, straight = tmp_path / "run", tmp_path / "straight"
    whole = ["power", str(plain), "--trials", "60000", "--seed", "1"]
    command = [sys.executable, "-m", "equipoise", *whole, "--out", str(out)]
    command += ["--processes", "--workers", "2"] if processes else []
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 240
        while not list(out.rglob("0*.parquet")):
            assert time.monotonic() < until
            assert run.poll() is None, run.communicate()
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=120)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 130, said
    assert "--resume" in said
    assert "Traceback" not in said
    saved = store.read(out)
    kept = saved.trials(saved.scenarios[0])
    assert 0 < kept < 60000
    assert not list(out.rglob("*.writing-*"))
    more = str(kept + 5000)
    assert _equipoise("power", plain, "--trials", more, "--resume", out).exit_code == 0
    assert _equipoise("power", plain, "--trials", more, "--seed", "1", "--out", straight).exit_code == 0
    assert digest(out) == digest(straight)


def test_the_type_one_error_of_monitoring_is_verified_by_a_command() -> None:
    result = _equipoise("verify", "--type-one-error", "--trials", "1500")
    assert "Looks at quarters of the events" in result.stdout
    assert "by the saddlepoint distribution" in result.stdout
    assert "2 of these designs are not at their nominal level" in result.stdout
    counted = re.search(r"(\d+) of (\d+) type I errors are as planned", result.stdout)
    assert counted is not None
    assert result.stdout.count("too far") == int(counted[2]) - int(counted[1])
    assert result.exit_code == (1 if counted[1] != counted[2] else 0)
    assert _equipoise("verify", "--type-one-error", "--preset", "A").exit_code == 2


LOOKS = {
    "at a number of events": "[{events: 45}, {events: 90}]",
    "after a time": "[{after: 3 years}, 1.0]",
    "with a follow-up and a gap": "[{minimum_follow_up: 6 months}, {at: 0.8, minimum_gap: 1 year}, 1.0]",
    "at the latest": "[{at: 0.5, at_latest: 4 years}, 1.0]",
}


@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
def test_every_kind_of_look_reaches_the_page(looks: str, plain: Path, tmp_path: Path) -> None:
    plain.write_text(PLAIN.replace("[0.5, 0.75, 1.0]", looks))
    result = _equipoise("power", plain, "--trials", "200", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "power.html").is_file()


def test_looks_of_a_protocol_by_date_are_told_in_words(tmp_path: Path) -> None:
    text = (Path(eq.__file__).parent / "protocol" / "library" / "silcaat.yaml").read_text()
    file = tmp_path / "dated.yaml"
    file.write_text(
        text.replace("looks: [0.25, 0.5, 0.75, 1.0]", "looks: [{date: 2003-01-01}, {events: 200}, 1.0]")
    )
    result = _equipoise("show", file)
    assert result.exit_code == 0, result.output
    assert "not before 01 January 2003" in result.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("primary_events: 90\nfollow_up: 12 years", "primary_events: 90\n"), "give `follow_up`"),
        (("[0.5, 0.75, 1.0]", "[{events: 45}, {events: 80}]"), "make the two agree"),
    ],
)
def test_a_plan_of_looks_that_does_not_hold_together_is_refused(
    change: tuple[str, str], message: str, plain: Path, tmp_path: Path
) -> None:
    text = PLAIN.replace(*change)
    if "follow_up" not in text:
        text = text.replace("spending: obrien-fleming", "spending: obrien-fleming, spend_by: calendar")
    plain.write_text(text)
    result = _equipoise("power", plain, "--trials", "20", "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_looks_after_the_planned_duration_spend_what_is_left(plain: Path, tmp_path: Path) -> None:
    text = PLAIN.replace("[0.5, 0.75, 1.0]", "[{after: 11.99 years}, 1.0]")
    plain.write_text(text.replace("spending: obrien-fleming", "spending: pocock, spend_by: minimum"))
    result = _equipoise("power", plain, "--trials", "300", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output


def test_a_precision_that_is_not_reached_is_said(plain: Path, tmp_path: Path) -> None:
    result = _equipoise("power", plain, "--trials", "100", "--until-se", "0.001", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "go on with --resume and more --trials" in result.stderr
