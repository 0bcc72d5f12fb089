"""Backups, restoring them without giving a place twice, finding what was tampered with, and upgrading."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from conduct_postgres import copied_postgres, server
from conduct_ready import assessment, copied_ready, filled_with, protocol_file, ready, screened, strata
from conduct_trial import START, copied, do
from equipoise.conduct import backup as backups
from equipoise.conduct import checking, clock, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

DATABASES = ("sqlite", "postgresql")


def new_trial(folder: Path, database: str) -> TrialFolder:
    """A trial with six who are ready, on that database."""
    if database == "sqlite":
        return copied_ready(folder, 6)
    return copied_postgres(folder, protocol_file(), filled_with(6))


@pytest.fixture(params=DATABASES)
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield new_trial(tmp_path / "trial", request.param)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield new_trial(tmp_path / "trial", "sqlite")


def waiting() -> list[str]:
    from equipoise.conduct.models import Participant

    found = Participant.objects.filter(status=Participant.SCREENING).order_by("candidate")
    return [one.number for one in found if not assessment(one.number).stands_in_way]


def randomize(number: str) -> dict[str, object]:
    who = "ada" if number.startswith("001") else "cas"
    return dict(do("randomize", who, participant=number, strata=strata(number)))


def restore(trial: TrialFolder, archive: Path, folder: Path | None = None) -> backups.Restored:
    """Restore; for PostgreSQL into an empty database."""
    database = None if trial.uses_sqlite else server().address(server().new_database())
    return backups.restore(archive, folder or trial.path, database=database)


@pytest.mark.requirement("B1", "B2", "D8")
def test_a_backup_restores_on_another_machine_with_the_keys_and_verifies(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    numbers = waiting()
    randomize(numbers[0])
    archive = backups.backup(trial)
    held = Entry.objects.count()
    other = trial.path.parent / "other"
    with pytest.raises(UserError, match=r"put web\.key, allocation\.key, ledger\.key there first"):
        restore(trial, archive, other)
    assert not other.exists()
    shutil.copytree(trial.path / "keys", other / "keys")
    with clock.at(START + timedelta(days=1, hours=2)):
        done = restore(trial, archive, other)
        assert (done.entries, done.age_seconds, done.lost_entries) == (held, 7200.0, 0)
        assert done.seconds > 0
        assert Entry.objects.count() == held + 1
        assert backups.verify(other) == []
        assert checking.check(other).name == trial.name
        do("randomization.resume", "stan", reason="journal and receipts agree")
        assert randomize(numbers[1])["randomized_number"] == 2
        assert backups.verify(other) == []


@pytest.mark.requirement("D7", "I1")
def test_after_an_old_backup_nobody_gets_a_place_that_was_given_already(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused
    from equipoise.conduct.models import Allocation, Participant, Trial
    from equipoise.conduct.reading.arms import arm_of

    numbers = waiting()
    randomize(numbers[0])
    archive = backups.backup(trial)
    late = ready("ada")
    given = {number: randomize(number) for number in (*numbers[1:3], late)}
    done = restore(trial, archive)
    assert done.lost_entries > 0
    assert done.allocations == (numbers[1], numbers[2], late)
    assert done.participants == (late,)
    assert Trial.objects.get(id=1).suspended.startswith("restored from the backup")
    with pytest.raises(Refused, match="suspended"):
        randomize(numbers[3])
    with pytest.raises(Refused, match="suspended"):
        screened("ada")
    for number, answer in given.items():
        participant = Participant.objects.get(number=number)
        assert arm_of(participant) == answer["arm"]
        assert participant.randomized_number == answer["randomized_number"]
    do("randomization.resume", "stan", reason="journal and receipts agree")
    assert randomize(numbers[3])["randomized_number"] == 5
    assert list(Allocation.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]
    assert screened("ada") > late
    assert backups.verify(trial.path) == []


@pytest.mark.requirement("D7")
def test_randomisation_is_not_resumed_while_the_journal_knows_more(small: TrialFolder) -> None:
    from equipoise.conduct import journal
    from equipoise.conduct.gateway import Refused

    numbers = waiting()
    archive = backups.backup(small)
    randomize(numbers[0])
    saved = (small.journal / journal.ALLOCATIONS).read_bytes()
    (small.journal / journal.ALLOCATIONS).unlink()
    done = backups.restore(archive, small.path)
    assert done.allocations == ()
    assert any("journal" in words for words in done.to_do)
    (small.journal / journal.ALLOCATIONS).write_bytes(saved)
    with pytest.raises(Refused, match="the journal has allocation 1"):
        do("randomization.resume", "stan", reason="journal and receipts agree")
    assert backups.reconcile(small).allocations == (numbers[0],)
    do("randomization.resume", "stan", reason="journal and receipts agree")
    assert backups.verify(small) == []


@pytest.mark.requirement("D7", "D8")
def test_an_older_copy_of_the_database_put_in_its_place_is_noticed(small: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    numbers = waiting()
    opening.close()
    older = small.path / "older.sqlite3"
    shutil.copyfile(small.database_file, older)
    randomize(numbers[0])
    opening.close()
    shutil.copyfile(older, small.database_file)
    with pytest.raises(UserError, match="replaced by an older copy"):
        checking.check(small)
    with pytest.raises(Refused, match="replaced by an older copy"):
        randomize(numbers[1])
    assert any("missing at the end" in words for words in backups.verify(small))


def rewritten(archive: Path, to: Path, name: str, old: bytes, new: bytes) -> None:
    """A backup in which somebody who knows how it is made changed one file."""
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(to, "w") as altered:
        altered.comment = b"0" * 64
        for one in whole.namelist():
            text = whole.read(one)
            assert one != name or old in text
            altered.writestr(one, text.replace(old, new, 1) if one == name else text)
    with to.open("rb+") as out:
        digest = backups._checksum(out)
        out.seek(-64, 2)
        out.write(digest)


@pytest.mark.requirement("B1")
def test_a_backup_that_was_cut_or_altered_is_refused_and_nothing_is_changed(small: TrialFolder) -> None:
    archive = backups.backup(small)
    content = archive.read_bytes()
    before = small.database_file.read_bytes()
    damaged = small.path / "damaged.zip"
    for cut in (0, 40, 100, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:cut])
        with pytest.raises(UserError, match="not a whole backup"):
            backups.restore(damaged, small.path)
    for at in range(0, len(content), len(content) // 50):
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match="not a whole backup"):
            backups.restore(damaged, small.path)
    rewritten(archive, damaged, backups.MANIFEST, b'"entries": ', b'"entries": 1')
    with pytest.raises(UserError, match="not signed"):
        backups.restore(damaged, small.path)
    rewritten(archive, damaged, "journal/ledger.jsonl", b'"n": 2', b'"n": 3')
    with pytest.raises(UserError, match=r"journal/ledger\.jsonl in the backup was damaged or altered"):
        backups.restore(damaged, small.path)
    assert small.database_file.read_bytes() == before


@pytest.mark.requirement("B1", "D22")
def test_a_backup_of_another_trial_or_of_a_newer_version_is_refused(
    small: TrialFolder, tmp_path: Path
) -> None:
    with sqlite3.connect(small.database_file) as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('conduct', '0999_x', '2030-01-01')"
        )
    newer = backups.backup(small)
    with pytest.raises(UserError, match="newer version"):
        backups.restore(newer, small.path)
    with pytest.raises(UserError, match="newer version"):
        checking.check(small)
    with pytest.raises(UserError, match="newer version"):
        checking.upgrade(small)
    other = copied(tmp_path / "another", protocol_file("simple"))
    with pytest.raises(UserError, match="another protocol"):
        backups.restore(newer, other.path)
    fresh = copied(tmp_path / "third", protocol_file())
    strange = fresh.path / "keys" / "allocation.key"
    strange.write_text("ab" * 32)
    with pytest.raises(UserError, match="not the key"):
        backups.restore(newer, fresh.path)


@pytest.mark.requirement("D33", "K2")
def test_a_backup_holds_no_key_and_no_password_of_the_database(trial: TrialFolder) -> None:
    randomize(waiting()[0])
    secrets = [trial.key(name).hex() for name in ("web", "allocation", "ledger")]
    if not trial.uses_sqlite:
        secrets.append(server().password)
    with zipfile.ZipFile(backups.backup(trial)) as content:
        for name in content.namelist():
            text = content.read(name)
            for secret in secrets:
                assert secret.encode() not in text, name
                assert bytes.fromhex(secret) not in text, name
