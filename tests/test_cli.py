"""The command line: what a user types, what comes back, and how each mistake is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import equipoise
from equipoise.cli.main import app
from equipoise.simulate import prepare

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
HISTORY = EXAMPLES / "histories" / "participant.yaml"
COMMANDS = [
    ["run"], ["simulate"], ["analyse"], ["report"], ["protocols"], ["show"], ["check"], ["new"], ["diff"],
    ["schema"], ["decide"], ["record", "check"], ["verify"], ["power"], ["boundaries"], ["design"],
    ["surrogate"], ["explain"], ["fit"], ["rehearse"], ["conduct", "init"],
    ["conduct", "serve"], ["conduct", "status"],
    ["conduct", "password"], ["conduct", "code"], ["conduct", "evidence"], ["conduct", "demo"],
    ["conduct", "export"], ["conduct", "backup"], ["conduct", "restore"], ["conduct", "reconcile"],
    ["conduct", "verify"], ["conduct", "upgrade"], ["conduct", "redact"],
]  # fmt: skip
SMALL = ["--participants", "120", "--seed", "3"]


def _equipoise(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _refused(message: str, *arguments: str | Path) -> None:
    """One message, on standard error, status 2, no traceback."""
    result = _equipoise(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated trial, its folder."""
    folder = tmp_path_factory.mktemp("trials") / "small"
    result = _equipoise("simulate", "silcaat", *SMALL, "--trials", "4", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_a_trial_that_is_asked_for_by_number_says_how_it_ended_in_a_power_run(tmp_path: Path) -> None:
    result = _equipoise("simulate", "silcaat", *SMALL, "--trial", "2", "--out", tmp_path / "two")
    assert result.exit_code == 0, result.output
    assert "In a power run it ends at look" in result.stdout
    assert "Next:  equipoise analyse" in result.stdout


@pytest.fixture
def copy(trial: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trial, tmp_path / "trial"))


# --- asking -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str]):
    result = _equipoise(*command, "--help")
    assert result.exit_code == 0
    assert "Example:  equipoise " + " ".join(command) in result.output


def test_no_command_is_without_a_test_of_its_help():
    result = _equipoise("--help")
    listed = result.output.split("Commands:")[1].split()
    for command in COMMANDS:
        assert command[0] in listed
    assert sum(
        line.startswith("  ") and line[2] != " " for line in result.output.split("Commands:")[1].splitlines()
    ) == len({command[0] for command in COMMANDS})


def test_the_version():
    result = _equipoise("--version")
    assert result.output == f"equipoise {equipoise.__version__}\n"


def test_an_unknown_command_is_answered_with_the_nearest():
    result = _equipoise("simulat", "silcaat")
    assert result.exit_code == 2
    assert "Did you mean 'simulate'?" in result.output


def test_help_starts_quickly_because_heavy_rooms_load_late():
    program = (
        "import sys; from equipoise.cli.main import app; from typer.testing import CliRunner\n"
        "CliRunner().invoke(app, ['--help'])\n"
        "print(sorted({'polars', 'numba', 'numpy', 'scipy', 'pydantic', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# --- protocols --------------------------------------------------------------------------------------------


def test_the_bundled_protocols_are_listed_with_what_cannot_be_simulated():
    result = _equipoise("protocols")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert {"silcaat", "esprit", "vanguard", "stalwart"} <= set(lines)
    assert "(not simulated)" not in lines["silcaat"]


def test_a_trial_is_shown_and_checked():
    shown = _equipoise("show", "silcaat")
    assert shown.exit_code == 0
    assert "4.5 MIU" in shown.output
    checked = _equipoise("check", "silcaat")
    assert checked.exit_code == 0, checked.output
    assert "no errors" in checked.output


def test_an_unknown_protocol_is_answered_with_the_nearest():
    _refused('no such file, and no bundled protocol of that name; did you mean "silcaat"?', "show", "silcat")
    _refused('did you mean "esprit"?', "run", "espirt")


def test_a_protocol_that_contradicts_itself_is_listed_and_refused(tmp_path: Path):
    text = (Path(equipoise.__file__).parent / "protocol" / "library" / "silcaat.yaml").read_text()
    assert "ceiling: 7.5 MIU" in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("ceiling: 7.5 MIU", "ceiling: 4.5 MIU", 1))
    result = _equipoise("check", path)
    assert result.exit_code == 2
    assert "error" in result.stderr
    assert "6 MIU" in result.stdout
    for command in ("run", "simulate"):
        _refused("see  equipoise check", command, path, "--out", tmp_path / "out")
    assert [left.name for left in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_new_protocol_passes_the_check_and_is_not_written_over(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    result = _equipoise("new", path)
    assert result.exit_code == 0, result.output
    assert _equipoise("check", path).exit_code == 0
    _refused("exists already", "new", path)
    assert _equipoise("new", path, "--force").exit_code == 0


def test_a_difference_is_said_in_words(tmp_path: Path):
    text = (Path(equipoise.__file__).parent / "protocol" / "library" / "silcaat.yaml").read_text()
    assert "days: 5" in text
    path = tmp_path / "amended.yaml"
    path.write_text(text.replace("days: 5", "days: 3", 1))
    result = _equipoise("diff", "silcaat", path)
    assert result.exit_code == 0
    assert "5" in result.output
    assert "3" in result.output
    assert _equipoise("diff", "silcaat", "silcaat").output == "The two say the same.\n"


def test_the_schema_is_json_schema_and_the_tables_are_the_page():
    document = json.loads(_equipoise("schema").output)
    assert document["$schema"].startswith("https://json-schema.org/")
    page = Path(__file__).parents[1] / "docs" / "record.md"
    assert _equipoise("schema", "record").output == page.read_text(encoding="utf-8")


# --- deciding ---------------------------------------------------------------------------------------------


def test_a_decision_is_explained_for_a_trial_that_is_not_simulated():
    result = _equipoise("decide", "stalwart", HISTORY)
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()[:2]
    assert first == "STALWART, IL-2, day 285: start 7.5 MIU"
    assert second == (
        "A cycle at 7.5 MIU: CD4 count is 560 cells/mm3 and has not reached the goal of 820 cells/mm3."
    )
    brief = _equipoise("decide", "stalwart", HISTORY, "--brief")
    assert brief.output.splitlines() == [first, second]


def test_json_does_as_well_as_yaml(tmp_path: Path):
    from equipoise.protocol.reading import parse_yaml

    data = parse_yaml((HISTORY).read_text()).data
    path = tmp_path / "participant.json"
    path.write_text(json.dumps(data))
    assert _equipoise("decide", "stalwart", path).output == (_equipoise("decide", "stalwart", HISTORY).output)


@pytest.mark.parametrize(
    ("old", "new", "first", "said"),
    [
        ("cd4: 560", "cd4: 900", "wait", "goal"),
        (
            "pregnant: false, breastfeeding: false}\ncycles",
            "pregnant: true, breastfeeding: false}\ncycles",
            "hold",
            "",
        ),
        (
            "pregnant: false, breastfeeding: false}\ncycles",
            "breastfeeding: false}\ncycles",
            "start 7.5 MIU",
            "",
        ),
        ("toxicity: {grade: 2}", "", "wait", "Still unknown: toxicity."),
        ("toxicity: {grade: 2}", "toxicity: {grade: 3}", "reduce", ""),
        ("day: 114, dose", "day: 260, dose", "wait", "Not before day"),
        ("{day: 280, cd4: 560, ", "{day: 280, ", "wait", "Still unknown: measure."),
        ("arm: il2", "arm: none\nregimen: aldesleukin", "wait", "arm"),
    ],
)
def test_a_history_decides(tmp_path: Path, old: str, new: str, first: str, said: str):
    text = (HISTORY).read_text()
    assert old in text
    path = tmp_path / "participant.yaml"
    path.write_text(text.replace(old, new))
    result = _equipoise("decide", "stalwart", path, "--brief")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].endswith(f"day 285: {first}") or (
        f"day 285: {first} " in result.output.splitlines()[0]
    ), result.output
    assert said in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arm: il2", "arm: il3", 'STALWART has no arm "il3"; did you mean "il2"?'),
        (
            "arm: il2",
            "arm: il2\nregimen: aldesleukine",
            'STALWART has no regimen "aldesleukine"; did you mean',
        ),
        ("cd4: 410", "cd8: 410", 'baseline: STALWART has no item "cd8"; did you mean "cd4"?'),
        ("cd4: 410", "cd4: many", "baseline: cd4 is 'many', expected a number"),
        ("sex: female", "sex: femal", 'baseline: sex is "femal"; did you mean "female" or "male"?'),
        ("{day: 160, ", "{", "measurements[0]: say the `day`, a whole number"),
        ("day: 285", "days: 285", 'unknown key "days"; did you mean "day"?'),
        ("day: 285\n", "", 'missing key "day"'),
        ("dose: 7.5}\n  - {day: 56", "dose: -1}\n  - {day: 56", "cycles[0].dose: must be above 0"),
        ("toxicity:", "holds: {surgery: 3}\ntoxicity:", 'STALWART has no hold "surgery"'),
        ("cd4: 560", "cd4: -560", "measurements[1]: cd4 is -560, outside of 0 to "),
        ("cd4: 410", "cd4: 4.1e9", "baseline: cd4 is 4.1e+09, outside of 0 to "),
    ],
)
def test_a_history_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, message: str):
    text = (HISTORY).read_text()
    assert old in text
    path = tmp_path / "participant.yaml"
    path.write_text(text.replace(old, new, 1))
    _refused(message, "decide", "stalwart", path)


# --- simulate, analyse, report, run -----------------------------------------------------------------------


def test_each_step_reads_what_the_one_before_wrote(copy: Path):
    checked = _equipoise("record", "check", copy / "record")
    assert checked.exit_code == 0, checked.output
    assert "SILCAAT, 120 participants" in checked.stdout
    analysed = _equipoise("analyse", copy)
    assert analysed.exit_code == 0, analysed.output
    assert "hazard ratio" in analysed.stdout
    assert (copy / "results.csv").exists()
    reported = _equipoise("report", copy, "--no-pdf")
    assert reported.exit_code == 0, reported.output
    assert (copy / "report.html").read_text(encoding="utf-8").startswith("<!")
    for command in ("analyse", "report"):
        _refused("exists already", command, copy)
        assert _equipoise(command, copy, "--force").exit_code == 0


def test_a_report_is_not_made_of_results_of_another_record(copy: Path, tmp_path: Path):
    assert _equipoise("analyse", copy).exit_code == 0
    result = _equipoise("simulate", "silcaat", "--participants", "60", "--out", copy, "--force")
    assert result.exit_code == 0, result.output
    _refused("the results are not those of this record: analyse it again", "report", copy)


def test_the_main_job_makes_everything_and_says_where(tmp_path: Path):
    out = tmp_path / "small"
    result = _equipoise("run", "silcaat", *SMALL, "--trials", "8", "--out", out, "--no-pdf")
    assert result.exit_code == 0, result.output
    assert "published   " in result.stdout
    assert "8 trials: median" in result.stdout
    for name in (
        "report.html",
        "results.csv",
        "results.parquet",
        "results.json",
        "replicates.parquet",
        "record",
    ):
        assert (out / name).exists()
    assert f"report      {out / 'report.html'}" in result.stdout
    assert pl.read_parquet(out / "replicates.parquet").height == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small"]
    assert equipoise.read_record(out / "record").manifest.provenance.seed == 3
    _refused(
        "exists already: choose another place with --out, or replace it with --force",
        "run",
        "silcaat",
        "--out",
        out,
    )


def test_the_same_seed_gives_the_same_record_with_any_number_of_threads(trial: Path, tmp_path: Path):
    result = _equipoise(
        "simulate", "silcaat", *SMALL, "--threads", "1", "--trials", "4", "--out", tmp_path / "again"
    )
    assert result.exit_code == 0, result.output
    one, two = (
        equipoise.read_record(p / "record").manifest.record_sha256 for p in (trial, tmp_path / "again")
    )
    assert one == two
    frames = [pl.read_parquet(p / "replicates.parquet") for p in (trial, tmp_path / "again")]
    assert frames[0].equals(frames[1])


def test_dials_reach_the_record(tmp_path: Path):
    result = _equipoise(
        "simulate", "silcaat", *SMALL, "--dial", "functional_fraction=0", "--out", tmp_path / "t"
    )
    assert result.exit_code == 0, result.output
    made = equipoise.read_record(tmp_path / "t" / "record").manifest.provenance
    assert made.dials["functional_fraction"] == 0
    assert prepare(equipoise.load_protocol("silcaat"), made.dials).settings == made.dials
    _refused("expected NAME=VALUE", "simulate", "silcaat", "--dial", "frailty", "--out", tmp_path / "u")
    _refused("there is no dial", "simulate", "silcaat", "--dial", "fie=1", "--out", tmp_path / "u")
    _refused(
        'did you mean "functional_fraction"',
        *("simulate", "silcaat", "--dial", "functional_fractoin=1", "--out", tmp_path / "u"),
    )
    _refused("there is no preset", "simulate", "silcaat", "--preset", "Z", "--out", tmp_path / "u")
    assert not (tmp_path / "u").exists()


def test_the_verification_is_a_table_with_its_answer_as_status(tmp_path: Path):
    result = _equipoise("verify", "--trials", "3", "--page", tmp_path / "verification.md")
    assert result.exit_code in (0, 1), result.output
    inside = sum(line.endswith("inside") for line in result.stdout.splitlines())
    outside = sum(line.endswith("OUTSIDE") for line in result.stdout.splitlines())
    assert inside + outside > 10
    assert f"{inside} of {inside + outside} figures lie where they must." in result.stdout
    assert result.exit_code == (1 if outside else 0)
    assert (tmp_path / "verification.md").read_text(encoding="utf-8").startswith("# Verification")


def test_a_trial_without_a_virtual_population_is_refused_in_words(tmp_path: Path):
    result = _equipoise("run", "erythropoietin", "--out", tmp_path / "t")
    assert result.exit_code == 2
    assert "simulat" in result.stderr
    assert list(tmp_path.iterdir()) == []


# --- other people's data ----------------------------------------------------------------------------------


@pytest.fixture
def breast_cancer(tmp_path: Path) -> Path:
    datasets = pytest.importorskip("lifelines.datasets")
    path = tmp_path / "gbsg2.csv"
    datasets.load_gbsg2().to_csv(path, index=False)
    return path


def test_mapped_data_are_analysed_and_printed(breast_cancer: Path, tmp_path: Path):
    result = _equipoise("analyse", breast_cancer, "--mapping", EXAMPLES / "gbsg2.yaml")
    assert result.exit_code == 0, result.output
    assert "686 randomised" in result.stdout
    assert "Recurrence or death" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["gbsg2.csv"]
    kept = _equipoise(
        "analyse", breast_cancer, "--mapping", EXAMPLES / "gbsg2.yaml", "--out", tmp_path / "res"
    )
    assert kept.exit_code == 0
    assert (tmp_path / "res" / "results.csv").exists()
    _refused("results without a record", "report", tmp_path / "res")


def test_a_mapping_that_names_a_missing_column(breast_cancer: Path, tmp_path: Path):
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text((EXAMPLES / "gbsg2.yaml").read_text().replace("time: time", "time: tiem"))
    _refused('there is no column "tiem"', "analyse", breast_cancer, "--mapping", mapping)


def test_times_that_are_negative(breast_cancer: Path):
    lines = breast_cancer.read_text().splitlines()
    lines[3] = lines[3].replace(",712,", ",-712,")
    breast_cancer.write_text("\n".join(lines))
    _refused("row 3: time is negative", "analyse", breast_cancer, "--mapping", EXAMPLES / "gbsg2.yaml")


def test_an_arm_without_events_is_analysed_and_said(breast_cancer: Path):
    frame = pl.read_csv(breast_cancer).with_columns(
        cens=pl.when(pl.col("horTh") == "yes").then(0).otherwise(pl.col("cens"))
    )
    frame.write_csv(breast_cancer)
    result = _equipoise("analyse", breast_cancer, "--mapping", EXAMPLES / "gbsg2.yaml")
    assert result.exit_code == 0, result.output
    assert "0 of 246" in result.stdout
    assert "there is no event in the arm Hormone therapy" in " ".join(result.stdout.split())


def test_data_without_a_mapping_and_nothing_at_all(breast_cancer: Path):
    _refused("say what its columns mean with --mapping FILE", "analyse", breast_cancer)
    _refused("say what to analyse", "analyse")
    _refused("leave out --protocol", "analyse", "--mapping", EXAMPLES / "gbsg2.yaml", "--protocol", "silcaat")


# --- what goes wrong --------------------------------------------------------------------------------------


def test_a_truncated_record_is_named(copy: Path):
    file = copy / "record" / "events" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    for command in (["analyse"], ["report"], ["record", "check"]):
        target = copy / "record" if command[0] == "record" else copy
        _refused("events/part-00000.parquet: truncated", *command, target)


def test_a_faulty_record_is_listed_row_by_row(tmp_path: Path):
    import record_example
    from equipoise import record

    tables = record_example.tables()
    tables["measurements"] = tables["measurements"].with_columns(unit=pl.lit("cells/L"))
    record.write(tmp_path / "record", tables, record_example.protocol())
    result = _equipoise("record", "check", tmp_path / "record")
    assert result.exit_code == 2
    assert (
        "measurements row 1 (participant 1, item cd4, day 0, visit day 0), unit: is not the unit"
        in result.stdout
    )
    assert "6 faults" in result.stderr


def test_a_folder_without_a_record(tmp_path: Path):
    _refused("there is no such folder", "analyse", tmp_path / "nothing")
    _refused("there is no manifest.json", "record", "check", tmp_path)


def test_results_that_are_missing(copy: Path):
    _refused("analyse first", "report", copy)


@pytest.mark.skipif(os.name != "posix", reason="needs users")
def test_an_unwritable_folder_is_said_before_any_work():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        program = (
            "import os; import equipoise as eq\n"
            "from equipoise import analyse, job, record, report, simulate\n"
            "protocol = eq.load_protocol('silcaat')\n"
            "if os.geteuid() == 0: os.seteuid(65534)\n"
            "try:\n"
            f"    eq.run(protocol, out='{folder}/out', progress=lambda stage, share: print(stage))\n"
            "except eq.UserError as error:\n"
            "    print(error)"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert run.stdout.startswith(f"{folder}/out: cannot write there: no permission: choose a folder")
        assert "Simulating" not in run.stdout
        assert list(Path(folder).iterdir()) == []


def test_a_missing_extra_is_said_and_the_page_is_written(tmp_path: Path):
    program = (
        "import sys; sys.modules['typst'] = None\n"
        "from equipoise.cli import main\n"
        "sys.argv = ['equipoise', 'run', 'silcaat', '--participants', '60', '--trials', '0', '--out',\n"
        f"            '{tmp_path}/t']\n"
        "main()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 'pip install "equipoise[pdf]"' in run.stderr
    assert (tmp_path / "t" / "report.html").exists()
    assert not (tmp_path / "t" / "report.pdf").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals, status: int):
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "run", "silcaat", "--trials", "1000000", "--no-pdf",
         "--out", str(tmp_path / "out")],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # tests that were started with nohup, or in the background, pass on that a signal is ignored
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    seen = []
    try:
        for line in process.stderr:
            seen.append(line)
            if line.startswith("Repeating"):
                break
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, "".join(seen) + errors
    assert "Traceback" not in errors
    said = "interrupted" if number == signal.SIGINT else "told to end"
    assert errors.strip() == f"equipoise: {said}; nothing half-written was left behind"
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_called_one(monkeypatch: pytest.MonkeyPatch):
    """An error nobody foresaw is one message and how to report it; --debug shows where it came from."""
    from equipoise import protocol

    def broken() -> list[str]:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(protocol, "bundled", broken)
    result = _equipoise("protocols")
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: division by zero" in result.stderr
    assert "defect of Equipoise" in result.stderr
    assert isinstance(_equipoise("--debug", "protocols").exception, ZeroDivisionError)


# --- from Python ------------------------------------------------------------------------------------------


def test_every_name_of_the_python_face_is_there():
    for name in equipoise.__all__:
        assert getattr(equipoise, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'simulat_trial'"):
        equipoise.simulat_trial  # noqa: B018


def test_the_python_face_does_what_the_command_line_does(trial: Path):
    protocol = equipoise.load_protocol("silcaat")
    record = equipoise.simulate_trial(protocol, seed=3, participants=120)
    assert record.manifest.tables["participants"].rows == 120
    on_disk = equipoise.read_record(trial / "record")
    for name in record.tables:
        assert record.table(name).equals(on_disk.table(name))
    assert equipoise.check_record(record) == []
    results = equipoise.analyse_record(record)
    assert "hazard ratio" in equipoise.summary(results, protocol)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("esprit", "Bacterial pneumonia, hazard ratio\n  this trial  not simulated"),
        ("vanguard", "Dose raised to 6 or 7.5 MIU"),
    ],
)
def test_the_main_job_prints_published_figures_of_every_trial(name: str, words: str, tmp_path: Path):
    result = _equipoise(
        "run", name, "--participants", "60", "--trials", "3", "--no-pdf", "--out", tmp_path / "r"
    )
    assert result.exit_code == 0, result.output
    assert words.lower() in result.stdout.lower()
    assert result.stdout.count("published   ") >= 5
    assert "\nRandomised\n" not in result.stdout
