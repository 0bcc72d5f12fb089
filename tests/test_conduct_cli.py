"""Conducting a trial from the command line: making, serving, mending; and one clear message for each thing
that can be wrong with a trial, its machine or its disk, with nothing half done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from typer.testing import CliRunner, Result

from conduct_trial import copied
from equipoise.cli.main import app
from equipoise.conduct import opening, serving, starting
from equipoise.conduct.folder import TrialFolder


def _equipoise(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _refused(message: str, *arguments: str | Path) -> None:
    """One message, status 2, no traceback."""
    result = _equipoise(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    return copied(tmp_path / "trial")


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Path, str]]:
    """A trial made by the command, and what it said."""
    folder = Path(mkdtemp()) / "made"
    result = _equipoise("conduct", "init", folder, "--protocol", "silcaat", "--administrator", "Ada  Example")
    assert result.exit_code == 0, result.output
    yield folder, result.stdout
    shutil.rmtree(folder.parent)


# --- making -----------------------------------------------------------------------------------------------


def test_init_prints_the_first_password_and_what_comes_next(made: tuple[Path, str]) -> None:
    folder, said = made
    opening.use(folder)
    from equipoise.conduct.models import Person

    password = re.search(r"First password:  (\S+)", said)
    assert password is not None
    person = Person.objects.get(username="ada.example")
    assert person.full_name == "Ada Example"
    assert person.must_change_password
    assert person.check_password(password[1])
    assert f"equipoise conduct serve {folder}" in said


@pytest.mark.requirement("D25", "D34")
def test_keys_are_readable_by_their_owner_only(made: tuple[Path, str]) -> None:
    for name in ("web", "allocation", "ledger"):
        assert (made[0] / "keys" / f"{name}.key").stat().st_mode & 0o077 == 0


def test_init_refuses_what_it_cannot_use_and_leaves_nothing(tmp_path: Path) -> None:
    new = tmp_path / "new"
    for message, options in (
        ('did you mean "silcaat"?', ["--protocol", "silcat"]),
        (
            'there is no time zone "Europe/Kobenhavn"',
            ["--protocol", "silcaat", "--time-zone", "Europe/Kobenhavn"],
        ),
        ('the database must be "sqlite"', ["--protocol", "silcaat", "--database", "mysql://x"]),
        ("cannot be reached", ["--protocol", "silcaat", "--database", "postgresql://a@127.0.0.1:9/b"]),
        ("--administrator: write a name", ["--protocol", "silcaat", "--administrator", "???"]),
    ):
        _refused(message, "conduct", "init", new, *options)
        assert not new.exists()
        _refused(message, "conduct", "init", new / "deep" / "deeper", *options)
        assert not new.exists()
    new.mkdir()
    nowhere = ["--protocol", "silcaat", "--database", "postgresql://a@127.0.0.1:9/b"]
    for folder in (new / "deep" / "deeper", new):
        _refused("cannot be reached", "conduct", "init", folder, *nowhere)
        assert list(new.iterdir()) == []
    (new / "thesis.txt").write_text("mine")
    _refused("exists already and is not empty", "conduct", "init", new, "--protocol", "silcaat")
    assert [one.name for one in new.iterdir()] == ["thesis.txt"]


# --- asking -----------------------------------------------------------------------------------------------


def test_status_tells_how_the_trial_stands(trial: TrialFolder) -> None:
    result = _equipoise("conduct", "status", trial.path)
    assert result.exit_code == 0, result.output
    told = {line[:14].strip(): line[14:] for line in result.stdout.splitlines()}
    assert told["sites"] == "3 sites, 3 open"
    assert told["people"] == "10 accounts"
    assert told["participants"] == "0 screened, 0 screen failures, 0 of 1,680 randomised"
    assert told["server"] == "not running on this machine"
    assert told["protocol"] == trial.protocol_sha256


@pytest.mark.requirement("A6")
def test_a_new_password_on_the_machine_is_recorded_and_ends_the_old_one(trial: TrialFolder) -> None:
    result = _equipoise("conduct", "password", trial.path, "ivo")
    assert result.exit_code == 0, result.output
    made = re.search(r"password of ivo:  (\S+)", result.stdout)
    assert made is not None
    from conduct_trial import PASSWORD
    from equipoise.conduct.models import Entry, Person

    person = Person.objects.get(username="ivo")
    assert person.check_password(made[1])
    assert not person.check_password(PASSWORD)
    assert person.must_change_password
    last = Entry.objects.order_by("-n").first()
    assert (last.command, last.person, last.subject) == ("person.password", "system", str(person.id))
    assert made[1] not in json.dumps(list(Entry.objects.values("old", "new", "reason", "subject")))
    _refused('nobody logs in as "ivoo"; did you mean "ivo"?', "conduct", "password", trial.path, "ivoo")


def test_codes_are_never_printed_for_real_people(trial: TrialFolder) -> None:
    _refused("codes are printed for demonstrations only", "conduct", "code", trial.path, "ivo")


# --- serving ----------------------------------------------------------------------------------------------


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "conduct", "serve", str(folder), "--port", str(port), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            if server.poll() is not None:
                raise AssertionError("".join(server.communicate()))
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield address, server
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def test_the_server_says_where_it_is_answers_and_ends_when_told(trial: TrialFolder) -> None:
    with _served(trial.path, "--workers", "1") as (address, server):
        page = urllib.request.urlopen(address + "account/login/")
        assert page.status == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        status = _equipoise("conduct", "status", trial.path).stdout
        assert f"running at {address} (process {server.pid})" in status
        _refused("serves this very trial already", "conduct", "serve", trial.path, "--port", address[17:-1])
        server.send_signal(signal.SIGTERM)
        said, complained = server.communicate(timeout=20)
    assert server.returncode == 0
    assert f"Open {address} in a browser" in said
    assert said.count("The server has ended.") == 1
    assert complained == ""
    assert serving.served(trial) is None


@pytest.mark.requirement("D33")
def test_nothing_of_a_request_stands_in_the_log(trial: TrialFolder) -> None:
    with _served(trial.path, "--workers", "1") as (address, server):
        for path in ("account/login/?next=/participants/CONFIDENTIAL/", "nowhere/CONFIDENTIAL"):
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(address + path).read()
        server.send_signal(signal.SIGINT)
        said = "".join(server.communicate(timeout=20))
    logs = "".join(one.read_text() for one in (trial.path / "log").glob("*"))
    assert "CONFIDENTIAL" not in said + logs


def test_the_check_for_deployment_finds_nothing_behind_tls(trial: TrialFolder) -> None:
    program = (
        "from equipoise.conduct import opening\n"
        f"opening.use({str(trial.path)!r})\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='WARNING')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env=os.environ | {opening.TLS_VARIABLE: "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_real_data_are_never_served_unencrypted_to_a_network(made: tuple[Path, str]) -> None:
    _refused("would travel unencrypted", "conduct", "serve", made[0], "--host", "0.0.0.0")


# --- what can be wrong ------------------------------------------------------------------------------------


def _ledger_of(folder: TrialFolder) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(folder.database_file)) as database:
        return database.execute("select n, hash from conduct_entry order by n").fetchall()


@pytest.mark.requirement("D25")
def test_a_folder_that_is_no_trial(tmp_path: Path) -> None:
    for command in ("serve", "status"):
        _refused("is not the folder of a trial", "conduct", command, tmp_path)
        _refused("is not the folder of a trial", "conduct", command, tmp_path / "nowhere")


@pytest.mark.requirement("D25")
def test_a_database_that_another_program_has_locked(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "LOCKED_SECONDS", 0.2)
    with closing(sqlite3.connect(trial.database_file, isolation_level=None)) as other:
        other.execute("begin immediate")
        _refused("the database is locked by another program", "conduct", "serve", trial.path)
        _refused("the database is locked by another program", "conduct", "password", trial.path, "ivo")
        other.execute("rollback")


@pytest.mark.requirement("D24", "D25")
def test_a_database_of_a_newer_and_of_an_older_version(trial: TrialFolder) -> None:
    with closing(sqlite3.connect(trial.database_file)) as database:
        database.execute(
            "insert into django_migrations (app, name, applied) "
            "values ('conduct', '0099_later', '2030-01-01')"
        )
        database.commit()
        _refused(
            "made by a newer version of Equipoise (it has conduct 0099_later)", "conduct", "serve", trial.path
        )
        database.execute("delete from django_migrations where name in ('0099_later', '0002_append_only')")
        database.commit()
    _refused("run  equipoise conduct upgrade", "conduct", "serve", trial.path)


@pytest.mark.requirement("D25")
def test_a_port_in_use(trial: TrialFolder) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        _refused(f"port {port} of 127.0.0.1 is in use", "conduct", "serve", trial.path, "--port", str(port))


@pytest.mark.requirement("D22", "D25")
def test_a_protocol_changed_by_one_character(trial: TrialFolder) -> None:
    before = trial.protocol_file.read_text()
    place = before.index("7.5")
    trial.protocol_file.write_text(before[:place] + "8.5" + before[place + 3 :])
    _refused("this is not the protocol that was activated", "conduct", "serve", trial.path)
    _refused(f"differs from character {place + 1} on", "conduct", "status", trial.path)
    trial.protocol_file.write_text(before + " ")
    _refused("this is not the protocol that was activated", "conduct", "serve", trial.path)
    trial.protocol_file.write_text(before)
    assert _equipoise("conduct", "status", trial.path).exit_code == 0


@pytest.mark.requirement("D25")
def test_a_protocol_that_is_none_or_is_gone(trial: TrialFolder) -> None:
    for rubbish in ("garbage\n", '{"protocol": ', "", "\0\0"):
        trial.protocol_file.write_text(rubbish)
        for command in ("verify", "status", "serve"):
            _refused("this is not the protocol that was activated", "conduct", command, trial.path)
    trial.protocol_file.unlink()
    for command in ("verify", "status", "serve"):
        _refused(
            "protocol.json: cannot read the protocol: there is no such file: put back the file",
            "conduct", command, trial.path,
        )  # fmt: skip


@pytest.mark.requirement("D25")
def test_a_backup_that_is_not_there(trial: TrialFolder, tmp_path: Path) -> None:
    file = tmp_path / "monday.zip"
    _refused(f"{file}: cannot restore this backup: there is no such file: name the file",
             "conduct", "restore", file, trial.path)  # fmt: skip
    _refused(f"{tmp_path}: cannot restore this backup: this is a folder, not a file: name the file",
             "conduct", "restore", tmp_path, trial.path)  # fmt: skip


@pytest.mark.requirement("T4", "D25")
def test_a_clock_that_went_backwards(trial: TrialFolder) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")
    with closing(sqlite3.connect(trial.database_file)) as database:
        database.execute("update conduct_chain set at = ?", (ahead,))
        database.commit()
    before = _ledger_of(trial)
    _refused("the clock of the server went backwards", "conduct", "serve", trial.path)
    _refused("the clock of the server went backwards", "conduct", "password", trial.path, "ivo")
    assert _ledger_of(trial) == before


@pytest.mark.requirement("D25")
def test_a_key_that_is_missing_damaged_or_open_to_all(trial: TrialFolder) -> None:
    key = trial.path / "keys" / "allocation.key"
    kept = key.read_text()
    key.chmod(0o644)
    _refused("others on this machine may read this key", "conduct", "serve", trial.path)
    key.chmod(0o600)
    key.write_text(kept[:-5] + "\n")
    _refused("this is not a key of the trial", "conduct", "serve", trial.path)
    key.unlink()
    _refused(
        "cannot read the allocation key of the trial: there is no such file: put back the file that was kept",
        "conduct", "serve", trial.path,
    )  # fmt: skip


@pytest.mark.requirement("D25")
def test_a_database_that_is_missing_or_is_none(trial: TrialFolder) -> None:
    trial.database_file.write_bytes(b"not a database at all" * 400)
    _refused("this is not a sound database", "conduct", "status", trial.path)
    trial.database_file.unlink()
    _refused("the database of the trial is not there", "conduct", "serve", trial.path)
    assert not trial.database_file.exists()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["equipoise", *{arguments!r}]
from equipoise.cli.main import main
main()
"""


@pytest.mark.requirement("D25")
@pytest.mark.skipif(os.name != "posix", reason="limits on the size of files are POSIX's")
def test_a_full_disk_when_the_trial_is_made_and_when_it_is_served(trial: TrialFolder, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    new = tmp_path / "new"
    for arguments, limit in (
        (["conduct", "init", str(new), "--protocol", "silcaat"], 100_000),
        (["conduct", "serve", str(trial.path), "--port", str(_free_port())], 400_000),
        (["conduct", "password", str(trial.path), "ivo"], 400_000),
    ):
        before = _ledger_of(trial)
        done = subprocess.run(
            [sys.executable, "-c", LIMITED.format(limit=limit, arguments=arguments)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert re.search("disk is full|larger than is allowed", done.stderr), done.stderr
        assert _ledger_of(trial) == before
    assert not new.exists()
    assert not list(trial.path.rglob(".probe*"))


# --- keeping it safe --------------------------------------------------------------------------------------


@pytest.mark.requirement("A12", "B1", "D7")
def test_a_backup_is_restored_and_then_nobody_is_randomised_unreconciled(
    trial: TrialFolder, tmp_path: Path
) -> None:
    archive = tmp_path / "monday.zip"
    done = _equipoise("conduct", "backup", trial.path, "--to", archive)
    assert done.exit_code == 0, done.output
    assert "The keys are not in it" in done.stdout
    assert _equipoise("conduct", "password", trial.path, "ivo").exit_code == 0
    back = subprocess.run(  # as people do it: in a process that has opened no trial before
        [sys.executable, "-m", "equipoise", "conduct", "restore", archive, trial.path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert back.returncode == 0, back.stderr
    assert "Randomisation is suspended" in back.stdout
    assert "SUSPENDED" in _equipoise("conduct", "status", trial.path).stdout
    assert _equipoise("conduct", "reconcile", trial.path).exit_code == 0


@pytest.mark.requirement("A12", "D34")
def test_verify_says_that_all_is_well_and_names_what_is_not(trial: TrialFolder) -> None:
    good = _equipoise("conduct", "verify", trial.path)
    assert good.exit_code == 0, good.output
    assert "all is well" in good.stdout
    with closing(sqlite3.connect(trial.database_file)) as database:
        database.execute("update conduct_site set name = 'Elsewhere' where number = 2")
        database.commit()
    wrong = _equipoise("conduct", "verify", trial.path)
    assert wrong.exit_code == 1, wrong.output
    assert "Elsewhere" in wrong.stdout
    assert "1 thing is wrong" in wrong.stderr


def test_an_upgrade_of_what_is_new_has_nothing_to_do(trial: TrialFolder) -> None:
    done = _equipoise("conduct", "upgrade", trial.path)
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.stdout


def test_record_and_audit_trail_are_exported(trial: TrialFolder, tmp_path: Path) -> None:
    trail = _equipoise("conduct", "export", trial.path, "--ledger", "--out", tmp_path / "trail")
    assert trail.exit_code == 0, trail.output
    assert re.search(r"[\d,]+ entries, the last with the hash [0-9a-f]{64}", trail.stdout)
    _refused("exists already", "conduct", "export", trial.path, "--out", tmp_path / "trail")
