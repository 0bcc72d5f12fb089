"""Surroundings that do not cooperate: full disks, shared temporary folders, tiny trials, endless files."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise import _atomic, job
from equipoise.analyse import results
from equipoise.errors import UserError
from equipoise.protocol import ProtocolError, load
from equipoise.protocol.reading import MAX_BYTES


@pytest.mark.parametrize("participants", [2, 3, 5])
def test_a_trial_of_a_few_people_is_reported(tmp_path: Path, participants: int):
    made = job.run("vanguard", out=tmp_path / "few", participants=participants, trials=2, pdf=False)
    assert made.files["report"].is_file()


# --- disks ------------------------------------------------------------------------------------------------


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_atomic, "sync_file", _full)
    for write in (_atomic.new_file, _atomic.new_folder):
        with (
            pytest.raises(UserError, match="deeper/x: cannot write there: the disk is full"),
            write(tmp_path / "new" / "deeper" / "x") as place,
        ):
            (place / "content" if place.is_dir() else place).write_text("y")
        assert list(tmp_path.iterdir()) == []


def test_a_table_on_a_full_disk_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "write_bytes", _full)
    found = results.Results(results.Rows().frame(), (), {})
    with pytest.raises(UserError, match="the disk is full"):
        results.write(found, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_messages_name_the_folder_that_was_asked_for(tmp_path: Path):
    with (
        pytest.raises(UserError, match=r"/asked/inner: cannot be made") as raised,
        _atomic.new_folder(tmp_path / "asked") as place,
    ):
        raise UserError(f"{place}/inner: cannot be made")
    assert ".writing-" not in str(raised.value)


def test_a_folder_that_was_there_before_stays(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyError), _atomic.new_file(tmp_path / "mine" / "made" / "x"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless files")
def test_an_endless_file_is_refused_at_once():
    with pytest.raises(ProtocolError, match=f"too large for a protocol \\(at most {MAX_BYTES:,} bytes"):
        load("/dev/zero")


# --- machine code -----------------------------------------------------------------------------------------

_WHERE = """
from equipoise import _compile
from equipoise.virtual import maths
print(_compile._FOLDER, maths.exp(0.0))
"""


def _cache(**surroundings: str) -> str:
    """Where a new process keeps its machine code."""
    environment = {k: v for k, v in os.environ.items() if k not in ("EQUIPOISE_CACHE", "NUMBA_CACHE_DIR")}
    run = subprocess.run(
        [sys.executable, "-c", _WHERE],
        env=environment | surroundings, capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder, answer = run.stdout.split()
    assert answer == "1.0"
    return folder


def test_machine_code_is_kept_apart_for_each_source(tmp_path: Path):
    for name in ("EQUIPOISE_CACHE", "NUMBA_CACHE_DIR"):
        folder = _cache(**{name: str(tmp_path)})
        assert folder.startswith(str(tmp_path / "compiled"))
        assert _cache(**{name: folder}) == folder


@pytest.mark.skipif(os.name != "posix", reason="owners and permissions of folders")
def test_machine_code_is_never_taken_from_a_folder_that_others_may_write_to(tmp_path: Path):
    nowhere = tmp_path / "file"
    nowhere.touch()
    surroundings = {
        "HOME": str(nowhere),
        "XDG_CACHE_HOME": "",
        "EQUIPOISE_CACHE": str(nowhere),
        "TMPDIR": str(tmp_path),
    }
    own = tmp_path / f"equipoise-{os.getuid()}"
    assert _cache(**surroundings).startswith(str(own))
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    own.chmod(0o777)
    assert _cache(**surroundings) == "None"


# --- being told to end ------------------------------------------------------------------------------------

_SWALLOWED = """
import ctypes, os, signal, sys
from equipoise.cli import ending, progress

ending.listen()
called_back = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), getattr(signal, sys.argv[1])))
called_back()  # machine code swallows what a function that it calls raises
try:
    with progress.Stages() as stages:
        stages("The next stage")
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("name", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Ended")])
def test_an_interruption_that_a_library_swallows_is_not_lost(name: str, raised: str):
    run = subprocess.run(
        [sys.executable, "-c", _SWALLOWED, name], capture_output=True, text=True, check=True, timeout=60
    )
    assert (run.stdout, run.stderr) == (f"{raised}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_nowhere_fit_are_not_cut_short_in_silence(unbuffered: str):
    with open("/dev/full", "w", encoding="utf-8") as full:
        run = subprocess.run(
            [sys.executable, "-m", "equipoise", "schema"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith("equipoise: the disk is full")
