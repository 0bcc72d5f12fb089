"""Backups, restoring them without giving a place twice, finding what was tampered with, and upgrading."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from conduct_postgres import copied_postgres, server
from conduct_processes import ended, in_process, started, wait_until
from conduct_ready import (
    READY,
    assessment,
    copied_ready,
    filled_with,
    protocol_file,
    ready,
    save,
    screened,
    strata,
)
from conduct_trial import START, do
from equipoise.conduct import backup as backups
from equipoise.conduct import checking, clock, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError
from equipoise.protocol import canonical, load

DATABASES = ("sqlite", "postgresql")


def new_trial(folder: Path, database: str) -> TrialFolder:
    """A trial with some who are ready, on that database."""
    if database == "sqlite":
        return copied_ready(folder, READY)
    return copied_postgres(folder, protocol_file(), filled_with(READY))


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


@pytest.mark.requirement("B1", "B2")
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


@pytest.mark.requirement("D6", "D7", "I9")
def test_a_value_of_screening_that_was_corrected_is_no_contradiction_of_the_journal(
    small: TrialFolder,
) -> None:
    from equipoise.conduct.models import Allocation, Participant

    numbers = waiting()
    older = backups.backup(small)
    randomize(numbers[0])
    made = Allocation.objects.get().inputs
    save(numbers[0], "ada", date(2026, 3, 3), version=1, reason="transcription error", ferritin="250")
    person = Participant.objects.get(number=numbers[0])
    assert (person.baseline["ferritin"], made["baseline"]["ferritin"]) == (250.0, 200.0)
    assert backups.verify(small) == []
    newer = backups.backup(small)
    assert restore(small, newer).allocations == ()
    assert backups.verify(small) == []
    assert backups.reconcile(small).allocations == ()
    do("randomization.resume", "stan", reason="journal and receipts agree")
    assert restore(small, older).allocations == (numbers[0],)
    person.refresh_from_db()
    assert person.baseline == made["baseline"], "the correction was made after the backup"
    do("randomization.resume", "stan", reason="journal and receipts agree")
    assert Allocation.objects.get().inputs == made
    assert randomize(numbers[1])["randomized_number"] == 2
    assert backups.verify(small) == []


@pytest.mark.requirement("B1", "A6")
def test_after_a_restore_sessions_and_tokens_have_ended_and_the_rights_to_review_are_listed(
    trial: TrialFolder,
) -> None:
    from django.contrib.sessions.models import Session

    from conduct_people import at_work
    from equipoise.conduct import tokens
    from equipoise.conduct.models import Duty, Token

    client = at_work("mona")
    issued = do("token.issue", "ada", label="our own list", scopes=["read"], days=30)
    archive = backups.backup(trial)
    do("token.revoke", "ada", token=issued["id"])
    mona = Duty.objects.get(person__username="mona")
    do("duty.revoke", "admin", duty=mona.id, reason="end of the contract")
    done = restore(trial, archive)
    assert Duty.objects.get(pk=mona.pk).revoked_at is None
    assert tokens.actor_of_token(issued["token"], "api") is None
    assert Token.objects.filter(revoked_at=None).count() == 0
    assert Session.objects.count() == 0
    assert client.get("/").status_code == 302
    (review,) = [words for words in done.to_do if "review who may do what" in words]
    assert "mona (monitor for the whole trial)" in review
    assert "ada (coordinator for site 1)" in review
    assert str(done.last_at) in review
    assert backups.verify(trial.path) == []


@pytest.mark.requirement("B1", "T4")
def test_nothing_is_restored_on_a_machine_whose_clock_is_behind_the_backup(small: TrialFolder) -> None:
    archive = backups.backup(small)
    before = small.database_file.read_bytes()
    with clock.at(START - timedelta(days=2)), pytest.raises(UserError, match="set it right first"):
        backups.restore(archive, small.path)
    assert small.database_file.read_bytes() == before


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


@pytest.mark.requirement("D7")
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
    other = copied_ready(tmp_path / "another", READY)
    other.protocol_file.write_bytes(canonical(load(protocol_file("simple"))))
    with pytest.raises(UserError, match="another protocol"):
        backups.restore(newer, other.path)
    fresh = copied_ready(tmp_path / "third", READY)
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


# --- verifying --------------------------------------------------------------------------------------------


def tamper(*statements: str) -> None:
    """What an administrator with access to the database does: the triggers are put away and back."""
    from django.db import connection

    from equipoise.conduct.verifying import protected_tables

    postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if postgres:
            for table in protected_tables():
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            cursor.execute(statement)
        if postgres:
            for table in protected_tables():
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        else:
            for _, sql in triggers:
                cursor.execute(sql)


TAMPERINGS = {
    "a value": (
        ["UPDATE conduct_value SET text = '9.9', number = 9.9 WHERE item = 'haemoglobin'"],
        'haemoglobin is "{"text":"9.9"',
    ),
    "a number alone": (
        ["UPDATE conduct_value SET number = 9.9 WHERE item = 'haemoglobin'"],
        "the number or qualifier of haemoglobin is not what its text says",
    ),
    "a value less": (
        ["DELETE FROM conduct_value WHERE item = 'systolic'"], "systolic is nothing, the ledger says"
    ),
    "consent": (["UPDATE conduct_participant SET consent_on = '2026-03-02'"], "consent_on is"),
    "an end": (["UPDATE conduct_participant SET ended_how = 'died'"], 'ended_how is "died"'),
    "places": (["UPDATE conduct_trial SET places = places + 1"], "trial 1: places is"),
    "the counter": (["UPDATE conduct_trial SET allocated = allocated - 1"], "the trial counts 1 allocated"),
    "a duty": (["UPDATE conduct_duty SET until = '2040-01-01'"], "duty"),
    "a stratum": (
        ["UPDATE conduct_allocation SET position = position + 7 WHERE sequence = 1"],
        "allocation 1 has place 8 of its stratum",
    ),
    "a stratum's name": (
        ["UPDATE conduct_allocation SET stratum = 'all' WHERE sequence = 2"],
        "the stratum of allocation 2 cannot be read",
    ),
    "who allocated": (["UPDATE conduct_allocation SET person = 'cas'"], 'the ledger says "ada"'),
    "a signature": (
        ["UPDATE conduct_signature SET meaning = 'seen'"],
        'meaning is "seen", the ledger says "eligible by every criterion of the protocol"',
    ),
    "a signature less": (
        ["DELETE FROM conduct_signature WHERE kind = 'eligibility'"],
        "is gone: the ledger says that it was added",
    ),
    "an entry": (
        ["UPDATE conduct_entry SET reason = 'because' WHERE n = 7"],
        "entry 7 was altered: its content does not have its hash",
    ),
    "an entry less": (["DELETE FROM conduct_entry WHERE n = 7"], "entry 7 is missing"),
    "the tail": (
        ["DELETE FROM conduct_entry WHERE n > 40",
         "UPDATE conduct_chain SET n = 40, hash = (SELECT hash FROM conduct_entry WHERE n = 40)"],
        "are missing at the end",
    ),
    "the order": (
        ["UPDATE conduct_entry SET n = 100000 WHERE n = 7", "UPDATE conduct_entry SET n = 7 WHERE n = 8",
         "UPDATE conduct_entry SET n = 8 WHERE n = 100000"],
        "entry 7 does not follow entry 6",
    ),
}  # fmt: skip


ALSO_ON_POSTGRESQL = ("a value", "who allocated", "a signature", "an entry", "the tail")


@pytest.mark.requirement("A12", "D34")
def test_what_an_administrator_changes_in_the_database_is_found_and_named(trial: TrialFolder) -> None:
    from django.db import transaction

    numbers = waiting()
    randomize(numbers[0])
    randomize(numbers[2])
    assert backups.verify(trial) == []
    for what in TAMPERINGS if trial.uses_sqlite else ALSO_ON_POSTGRESQL:
        statements, words = TAMPERINGS[what]
        with transaction.atomic():
            tamper(*statements)
            found = problems(trial)
            transaction.set_rollback(True)
        assert any(words in one for one in found), (what, words, found[:5])
    assert backups.verify(trial) == []


def problems(trial: TrialFolder) -> list[str]:
    """What verifying finds within the present transaction."""
    from equipoise.conduct import verifying

    return [*verifying.ledger_problems(trial), *verifying.state_problems(trial)]


@pytest.mark.requirement("D34", "K2")
def test_a_sealed_arm_that_was_moved_to_another_row_does_not_open(trial: TrialFolder) -> None:
    from django.db import transaction

    from equipoise.conduct.models import Allocation

    numbers = waiting()
    randomize(numbers[0])
    randomize(numbers[2])
    (one, first), (two, second) = Allocation.objects.order_by("sequence").values_list("id", "sealed_arm")
    with transaction.atomic():
        tamper(
            f"UPDATE conduct_allocation SET sealed_arm = '{second}' WHERE sequence = 1",
            f"UPDATE conduct_allocation SET sealed_arm = '{first}' WHERE sequence = 2",
        )
        found = problems(trial)
        transaction.set_rollback(True)
    for number, key in ((1, one), (2, two)):
        assert any(words.startswith(f"the arm of allocation {number} does not open") for words in found)
        assert any(words.startswith(f"allocation {key}: sealed_arm is") for words in found)


@pytest.mark.requirement("A12")
def test_a_trigger_that_is_missing_is_named(trial: TrialFolder) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        if trial.uses_sqlite:
            cursor.execute("DROP TRIGGER conduct_entry_no_update")
            wanted = "conduct_entry_no_update"
        else:
            cursor.execute("ALTER TABLE conduct_entry DISABLE TRIGGER conduct_entry_append_only")
            wanted = "conduct_entry_append_only"
    assert backups.verify(trial) == [f"the trigger {wanted} is missing or switched off"]


@pytest.mark.requirement("A12")
def test_one_bit_changed_anywhere_in_the_journal_is_found(small: TrialFolder) -> None:
    from equipoise.conduct import journal, verifying

    randomize(waiting()[0])
    looked_at = {
        "allocations.jsonl": lambda: journal.compare(small).words,
        "screenings.jsonl": lambda: journal.compare(small).words,
        "ledger.jsonl": lambda: verifying.ledger_problems(small),
    }
    for name, found in looked_at.items():
        assert found() == []
        file = small.journal / name
        content = file.read_bytes()
        for at in range(3, len(content), max(1, len(content) // 12)):
            if content[at : at + 1] in b'\n"{}:, ':
                continue  # what lies between words says nothing
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert found(), (name, at)
        file.write_bytes(content)
    (small.journal / "allocations.jsonl").write_bytes(b"")
    assert problems(small) == ["the last 1 allocations of the database are not in the journal"]


def test_a_new_password_is_no_tampering(small: TrialFolder) -> None:
    from equipoise.conduct import rescue

    rescue.new_password("ada")
    assert backups.verify(small) == []


# --- starting and upgrading -------------------------------------------------------------------------------


@pytest.mark.requirement("D25")
def test_a_full_disk_saves_nothing_and_is_said_in_one_sentence(small: TrialFolder) -> None:
    import resource

    from equipoise.conduct.gateway import Unavailable

    numbers = waiting()
    confirmed = strata(numbers[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    left = small.path / "backups"
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
        with pytest.raises(Unavailable, match="nothing was saved"):
            do("randomize", "ada", participant=numbers[0], strata=confirmed)
        with pytest.raises(UserError):
            backups.backup(small)
        with pytest.raises(UserError, match="cannot be written to"):
            checking.check(small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(left.iterdir()) == []
    opening.close()
    assert backups.verify(small) == []
    assert randomize(numbers[0])["randomized_number"] == 1


def made_older() -> None:
    """Take back the last step of the tables, as a database of an older version would be."""
    from django.core.management import call_command

    call_command("migrate", "conduct", "0001_initial", verbosity=0)


@pytest.mark.requirement("B6", "D24")
def test_tables_of_an_older_version_are_upgraded_with_a_backup_before(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    randomize(waiting()[0])
    assert checking.upgrade(trial) == (None, ())
    made_older()
    with pytest.raises(UserError, match=r"older version.*conduct upgrade"):
        checking.check(trial)
    kept, steps = checking.upgrade(trial)
    assert kept is not None
    assert zipfile.is_zipfile(kept)
    assert steps == ("conduct 0002_append_only",)
    assert checking.check(trial).name == trial.name
    assert Entry.objects.latest("n").command == "trial.upgrade"
    assert backups.verify(trial) == []


@pytest.mark.requirement("D24")
def test_an_upgrade_after_which_the_trial_does_not_verify_is_undone(trial: TrialFolder) -> None:
    from django.db import connection

    made_older()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE conduct_participant SET consent_on = '2020-01-01'")
    with pytest.raises(UserError, match="it was undone: participant"):
        checking.upgrade(trial)
    assert checking.steps_missing() == [("conduct", "0002_append_only")]


@pytest.mark.requirement("D24")
def test_a_killed_upgrade_leaves_the_old_version(trial: TrialFolder) -> None:
    made_older()

    def dying() -> None:
        from django.db.models.signals import post_migrate

        post_migrate.connect(lambda **_: os.kill(os.getpid(), signal.SIGKILL), weak=False)
        checking.upgrade(trial)

    assert in_process(trial, dying) == -signal.SIGKILL
    assert checking.steps_missing() == [("conduct", "0002_append_only")]
    assert checking.upgrade(trial)[1] == ("conduct 0002_append_only",)
    assert backups.verify(trial) == []


@pytest.mark.requirement("B1", "D8")
def test_a_backup_while_others_write_holds_everything_that_was_saved_before_it(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Chain

    stop = trial.path / "stop"

    def writing() -> None:
        places = 5000
        while not stop.exists():
            places += 1
            do("trial.freeze", "theo", reason=f"look {places}")
            do("trial.unfreeze", "theo", reason=f"look {places}")

    first = Chain.objects.get(id=1).n
    writer = started(trial, writing)
    try:
        wait_until(lambda: Chain.objects.get(id=1).n > first + 20)
        reached = Chain.objects.get(id=1).n
        archive = backups.backup(trial)
        after = Chain.objects.get(id=1).n
        wait_until(lambda: Chain.objects.get(id=1).n > after + 4)
    finally:
        stop.touch()
        end = ended(writer)
    assert end == 0
    other = trial.path.parent / "other"
    shutil.copytree(trial.path / "keys", other / "keys")
    done = restore(trial, archive, other)
    assert reached <= done.entries <= after
    assert backups.verify(other) == []


@pytest.mark.requirement("D8")
def test_a_backup_in_the_middle_of_a_transaction_holds_nothing_of_it(small: TrialFolder) -> None:
    """What is not committed may stand in the file already: a copy of the file would have it."""
    import threading

    opening.close()
    writer = sqlite3.connect(small.database_file, isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA cache_size = 2")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE conduct_value SET text = ?", ("uncommitted " * 400,))
    assert b"uncommitted" in b"".join(
        file.read_bytes() for file in small.database_file.parent.glob(f"{small.database_file.name}*")
    )
    undo = threading.Timer(1.0, lambda: writer.execute("ROLLBACK"))
    undo.start()
    archive = backups.backup(small)
    undo.join()
    writer.close()
    with zipfile.ZipFile(archive) as kept:
        assert b"uncommitted" not in b"".join(kept.read(name) for name in kept.namelist())
    assert backups.verify(small) == []
