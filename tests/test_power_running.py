"""Power runs: the same rows whoever computes them, kept through interruption, continued to the same bytes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pytest

from equipoise.errors import UserError
from equipoise.simulate.power import engines, running, store
from equipoise.simulate.power.engines import Engine
from equipoise.simulate.power.running import Goal
from equipoise.simulate.power.scenarios import Scenario, design_of, grid, variation
from equipoise.simulate.power.tasks import Task, compute, packed
from power_example import PLAIN, digest, plain_trial

DESIGN = design_of(plain_trial())
ONE = grid(DESIGN, [])
TWO = grid(DESIGN, [variation("hazard_ratio=0.7,1")])


def _run(folder: Path, trials: int, scenarios: list[Scenario] = ONE, **options: object) -> store.Saved:
    settings = {"seed": 5, "chunk": 40, "engine": engines.threads(1)} | options
    return running.run(scenarios, Goal(trials), folder, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 200 trials that nothing disturbed."""
    folder = tmp_path_factory.mktemp("power") / "straight"
    _run(folder, 200)
    return folder


def test_the_rows_do_not_depend_on_threads(straight: Path, tmp_path: Path) -> None:
    _run(tmp_path / "threads", 200, engine=engines.threads(3))
    assert digest(tmp_path / "threads") == digest(straight)


def test_the_rows_do_not_depend_on_the_chunks(straight: Path, tmp_path: Path) -> None:
    saved = _run(tmp_path / "chunks", 200, chunk=33)
    whole = store.read(straight)
    for name in whole.columns(whole.scenarios[0]):
        one = saved.column(saved.scenarios[0], name, 200)
        two = whole.column(whole.scenarios[0], name, 200)
        assert one.tobytes() == two.tobytes(), name


def test_a_killed_worker_process_changes_nothing(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "processes"
    killed: list[int] = []

    def kill_one(pids: list[int]) -> None:
        if not killed and pids and len(list(folder.rglob("*.parquet"))) >= 1:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    _run(folder, 200, engine=engines.processes(2, kill_one))
    assert killed
    assert digest(folder) == digest(straight)


def test_workers_that_always_die_end_the_run_in_words(tmp_path: Path) -> None:
    def kill_all(pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(UserError, match="died"):
        _run(tmp_path / "dying", 80, engine=engines.processes(1, kill_all))


def test_a_killed_worker_of_a_cluster_changes_nothing(straight: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    folder = tmp_path / "cluster"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as local:
        with distributed.Client(local.scheduler_address, set_as_default=False) as client:
            workers = list(client.run(os.getpid).values())
        real = engines.cluster(local.scheduler_address)

        def killing(tasks: Iterable[Task]) -> Iterator[bytes]:
            for number, found in enumerate(real(tasks)):
                if number == 0:
                    os.kill(workers[0], signal.SIGKILL)
                yield found

        _run(folder, 200, engine=killing)
    assert digest(folder) == digest(straight)


def test_an_address_that_does_not_answer_gives_one_line() -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    with pytest.raises(UserError) as refused:
        engines.cluster("tcp://127.0.0.1:9", patience=0.5)
    assert "no Dask scheduler answers" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_worker_of_another_version_is_refused() -> None:
    with pytest.raises(UserError, match="another version"):
        compute(Task(packed(DESIGN), 1, 0, 1, "0.0.1-0000"))


def _interrupted(after: int) -> Engine:
    """Computes so many tasks and is then interrupted, as by Ctrl-C."""

    def engine(tasks: Iterable[Task]) -> Iterator[bytes]:
        for number, task in enumerate(tasks):
            if number == after:
                raise KeyboardInterrupt
            yield compute(task)

    return engine


def test_an_interrupted_run_goes_on_to_the_same_bytes(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        _run(folder, 200, engine=_interrupted(2))
    saved = store.read(folder)
    assert saved.trials(saved.scenarios[0]) == 80  # what was finished is kept
    _run(folder, 200, resume=True, seed=None)
    assert digest(folder) == digest(straight)


def test_a_run_that_grows_has_the_bytes_of_one_that_was_large_at_once(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    _run(folder, 50)  # ends in the middle of a chunk
    _run(folder, 200, resume=True)
    assert digest(folder) == digest(straight)


def test_scenarios_may_be_added_to_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "more"
    _run(folder, 40, TWO[:1])
    saved = _run(folder, 40, TWO, resume=True)
    assert [saved.trials(entry) for entry in saved.scenarios] == [40, 40]
    with pytest.raises(UserError, match="not taken away"):
        _run(folder, 40, TWO[1:], resume=True)


def test_a_damaged_file_is_computed_again(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    saved = _run(folder, 200)
    one, two, three = (saved.file(saved.scenarios[0], first) for first in (40, 80, 120))
    one.write_bytes(one.read_bytes()[:100])
    spoilt = bytearray(two.read_bytes())
    for place in range(200, 1200, 7):
        spoilt[place] ^= 0xFF
    two.write_bytes(bytes(spoilt))
    pl.read_parquet(three).with_columns(trial=pl.col("trial") + 5).write_parquet(three)
    _run(folder, 200, resume=True)
    assert digest(folder) == digest(straight)


def test_a_run_is_only_continued_as_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "was"
    _run(folder, 40)
    with pytest.raises(UserError, match="has seed 5, not 6"):
        _run(folder, 80, resume=True, seed=6)
    other = grid(design_of(plain_trial(PLAIN.replace("0.7", "0.75"))), [])
    with pytest.raises(UserError, match=r"arms\.active\.hazard_ratio was 0\.7 and is now 0\.75"):
        _run(folder, 80, other, resume=True)
    said = json.loads((folder / store.RUN).read_text())
    (folder / store.RUN).write_text(json.dumps({**said, "equipoise": "0.0.1-0000"}))
    with pytest.raises(UserError, match="another version"):
        _run(folder, 80, resume=True)
    (folder / store.RUN).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        _run(folder, 80, resume=True)


def test_a_folder_is_not_taken_for_a_run_by_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="no power run there"):
        _run(folder, 40, resume=True)
    _run(folder, 40)
    with pytest.raises(UserError, match="--resume"):
        _run(folder, 40)
    _run(folder, 40, force=True)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("ten years of work")
    for force in (False, True):
        with pytest.raises(UserError, match="exists already"):
            _run(strange, 40, force=force)
    assert [file.name for file in strange.iterdir()] == ["thesis.txt"]


def test_two_processes_do_not_write_into_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "held"
    _run(folder, 40)
    before = digest(folder)
    with store.held(folder):
        for options in ({"resume": True}, {"force": True}):
            with pytest.raises(UserError, match="another process"):
                _run(folder, 80, **options)
    assert digest(folder) == before


def test_a_run_ends_when_it_is_precise_enough_and_at_the_same_trial(tmp_path: Path) -> None:
    goal = Goal(5000, 0.02)
    counts = []
    for name, engine in (("one", engines.threads(1)), ("three", engines.threads(3))):
        saved = running.run(ONE, goal, tmp_path / name, seed=5, chunk=100, engine=engine)
        counts.append(saved.trials(saved.scenarios[0]))
        wins = saved.column(saved.scenarios[0], "win", counts[-1])
        share = wins.mean()
        assert (share * (1 - share) / len(wins)) ** 0.5 <= 0.0205
    assert counts[0] == counts[1]
    assert running.FEWEST <= counts[0] < 5000
    assert digest(tmp_path / "one") == digest(tmp_path / "three")


@pytest.mark.parametrize("goal", [(0, None), (10, 0.0), (10, 0.7)])
def test_an_impossible_goal_is_refused(goal: tuple[int, float | None]) -> None:
    with pytest.raises(UserError):
        Goal(*goal)


def test_memory_does_not_hold_the_rows(straight: Path) -> None:
    saved = store.read(straight)
    entry = saved.scenarios[0]
    assert saved.row(entry, 57)["trial"] == 57
    with pytest.raises(UserError, match="no trial 200"):
        saved.row(entry, 200)
    names = pl.scan_parquet(saved.file(entry, 0)).collect_schema().names()
    assert {"win", "stop|day", "look 1|z", "stop|adjusted log_hr"} <= set(names)
