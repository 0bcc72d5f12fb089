"""The gateway and its ledger: who may, what is recorded, what cannot be changed."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock, duties, ledger, logs, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


def test_an_act_leaves_entries_that_say_who_what_when_why_and_under_which_version(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    do("trial.places", "theo", places=1800, reason="more sites")
    entry = Entry.objects.latest("n")
    assert (entry.person, entry.role, entry.site) == ("theo", "trial manager", None)
    assert (entry.kind, entry.field, entry.new, entry.reason) == ("trial", "places", "1800", "more sites")
    assert entry.origin == "test"
    assert entry.old not in (None, "1800")
    assert entry.protocol_sha256 == trial.protocol_sha256
    assert entry.at == START + timedelta(days=1)


def test_a_repeated_request_gets_the_same_answer_and_other_content_is_refused(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict
    from equipoise.conduct.models import Entry

    first = do("trial.places", "theo", key="k1", places=1801, reason="more sites")
    count = Entry.objects.count()
    assert do("trial.places", "theo", key="k1", places=1801, reason="more sites") == first
    assert Entry.objects.count() == count
    with pytest.raises(Conflict, match="other content"):
        do("trial.places", "theo", key="k1", places=1802, reason="more sites")


def test_only_a_duty_allows_and_a_strange_site_does_not_exist(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed

    for name in ("ada", "ivo", "mona", "stan", "rosa", "admin"):
        with pytest.raises(NotAllowed):
            do("trial.places", name, places=1800, reason="more sites")


def test_a_second_factor_is_needed_where_the_table_says_so(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, perform

    with pytest.raises(NotAllowed, match="second factor"):
        perform("trial.places", actor("theo", second_factor=False), {"places": 1800, "reason": "more sites"})


def test_what_is_not_named_in_the_inputs_is_refused(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    with pytest.raises(Refused, match="arm"):
        do("trial.places", "theo", places=1800, reason="more sites", arm="il2")


def test_a_clock_that_went_back_stops_all_writing(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    do("trial.places", "theo", places=1800, reason="more sites")
    with clock.at(START - timedelta(days=2)), pytest.raises(Refused, match="backwards"):
        do("trial.places", "theo", places=1801, reason="more sites")


def test_a_clock_that_went_back_stops_the_system_as_well_and_the_head_keeps_the_latest_time(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct import verifying
    from equipoise.conduct.gateway import Act, Refused, with_system
    from equipoise.conduct.models import Chain

    def work(act: Act) -> None:
        act.record("trial", 1, field="looked at", new="yes")

    do("trial.places", "theo", places=1800, reason="more sites")
    before = Chain.objects.get(id=1)
    with clock.at(START - timedelta(days=2)), pytest.raises(Refused, match="backwards"):
        with_system("trial.look", work)
    assert Chain.objects.get(id=1).n == before.n
    with clock.at(before.at - timedelta(minutes=4)):
        with_system("trial.look", work)
    with clock.at(before.at - timedelta(minutes=8)), pytest.raises(Refused, match="backwards"):
        with_system("trial.look", work)
    assert (Chain.objects.get(id=1).n, Chain.objects.get(id=1).at) == (before.n + 1, before.at)
    assert verifying.verify(trial) == []


def test_entries_made_while_the_clock_was_set_back_are_named(trial: TrialFolder) -> None:
    do("trial.places", "theo", places=1800, reason="more sites")
    entries, head = _chain()
    earlier = {**entries[-1], "at": START - timedelta(days=2)}
    earlier["hash"] = ledger.entry_hash(str(earlier["previous"]), earlier)
    found = _broken(trial, [*entries[:-1], earlier], (head[0], str(earlier["hash"])))
    assert any(f"entry {head[0]} was made at 2026-02-28" in words for words in found)


SETTINGS = {
    "kind": ('kind = "rehearsal"', 'kind = "real"', 'kind is "real", the trial was set up with "rehearsal"'),
    "name": ('name = "SILCAAT"', 'name = "OTHER"', 'name is "OTHER", the trial was set up with "SILCAAT"'),
    "time_zone": (
        'time_zone = "UTC"', 'time_zone = "Asia/Tokyo"',
        'time_zone is "Asia/Tokyo", the trial was set up with "UTC"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_trial_stays_what_it_was_set_up_as(trial: TrialFolder, setting: str) -> None:
    from equipoise.conduct import starting, verifying
    from equipoise.conduct.gateway import Conflict, with_system

    file = trial.path / "trial.toml"
    then, now, words = SETTINGS[setting]
    content = file.read_text()
    assert starting.open_trial(trial.path).kind == "rehearsal"
    assert content.count(then) == 1
    file.write_text(content.replace(then, now))
    with pytest.raises(UserError) as refused:
        starting.open_trial(trial.path)
    assert words in str(refused.value)
    assert str(refused.value).count("\n") == 0
    assert any(words in one for one in verifying.verify(trial.path))
    opening.use(trial.path)
    with pytest.raises(Conflict) as conflict:
        do("trial.places", "theo", places=1800, reason="more sites")
    assert words in conflict.value.words
    with pytest.raises(Conflict):
        with_system("trial.look", lambda act: act.record("trial", 1, field="looked at", new="yes"))
    file.write_text(content)
    assert verifying.verify(trial.path) == []


def test_nobody_moves_the_clock_of_a_real_trial_by_calling_it_a_rehearsal(trial: TrialFolder) -> None:
    from conduct_people import browser
    from equipoise.conduct.models import Trial

    Trial.objects.update(kind="real")
    client = browser()
    told = client.get("/account/login/", headers={"Equipoise-Now": "2031-05-04T09:30:00+00:00"})
    assert told.status_code == 409
    assert 'kind is "rehearsal", the trial was set up with "real"' in told.content.decode()
    assert opening.folder().kind == "rehearsal"


@pytest.mark.requirement("A5", "D25")
def test_a_checkpoint_that_cannot_be_written_is_no_error_to_who_saved_and_is_said(
    trial: TrialFolder, caplog: pytest.LogCaptureFixture
) -> None:
    from equipoise.conduct import verifying

    file = trial.journal / ledger.CHECKPOINTS
    aside = file.with_name("aside")
    file.rename(aside)
    file.symlink_to("/dev/full")
    caplog.set_level("ERROR")
    assert do("trial.places", "theo", key="k1", places=1800, reason="more sites") == {"places": 1800}
    file.unlink()
    aside.rename(file)
    assert [one.getMessage() for one in caplog.records if "checkpoint" in one.getMessage()] != []
    found = verifying.verify(trial)
    assert len(found) == 1
    assert found[0].startswith("the last 1 of ")
    assert "are not signed for" in found[0]
    do("trial.places", "theo", places=1801, reason="more sites")
    assert verifying.verify(trial) == []


@pytest.mark.requirement("A5")
def test_a_torn_last_line_of_the_checkpoints_is_written_again_with_the_next_act(trial: TrialFolder) -> None:
    from equipoise.conduct import checking, verifying

    do("trial.places", "theo", places=1800, reason="more sites")
    file = trial.journal / ledger.CHECKPOINTS
    file.write_bytes(file.read_bytes()[:-30])
    found = verifying.verify(trial)
    assert len(found) == 1
    assert "are not signed for" in found[0]
    do("trial.places", "theo", places=1801, reason="more sites")
    assert verifying.verify(trial) == []
    assert all(one is not None for _, one in ledger.checkpoints(file))
    checking.check(trial)


@pytest.mark.requirement("A5", "A12")
def test_what_nobody_signed_for_is_signed_at_the_next_start_if_it_follows(trial: TrialFolder) -> None:
    """As after a process that was killed between its commit and its checkpoint."""
    from equipoise.conduct import checking, verifying
    from equipoise.conduct.models import Chain

    do("trial.places", "theo", places=1800, reason="more sites")
    file = trial.journal / ledger.CHECKPOINTS
    *earlier, _ = file.read_text().splitlines(keepends=True)
    file.write_text("".join(earlier))
    last, head = ledger.last_checkpoint(file), Chain.objects.get(id=1)
    assert last is not None
    assert last.n < head.n
    Chain.objects.update(hash="0" * 64)  # no longer what the entries come to
    checking.check(trial)
    assert ledger.last_checkpoint(file) == last
    assert any("the head says" in words for words in verifying.verify(trial))
    Chain.objects.update(hash=head.hash)
    checking.check(trial)
    signed = ledger.last_checkpoint(file)
    assert signed is not None
    assert (signed.n, signed.hash) == (head.n, head.hash)
    assert verifying.verify(trial) == []


def _chain() -> tuple[list[dict[str, object]], tuple[int, str]]:
    from equipoise.conduct.models import Chain, Entry

    head = Chain.objects.get(id=1)
    return list(Entry.objects.order_by("n").values()), (head.n, head.hash)


def _broken(trial: TrialFolder, entries: list[dict[str, object]], head: tuple[int, str]) -> list[str]:
    file = trial.journal / ledger.CHECKPOINTS
    found = ledger.verify_chain(entries, ledger.checkpoints(file), ledger.public_key(trial), head)
    return [one.words for one in found]


def test_verification_names_the_altered_the_missing_and_the_moved(trial: TrialFolder) -> None:
    do("trial.places", "theo", places=1800, reason="more sites")
    entries, head = _chain()
    assert _broken(trial, entries, head) == []
    for field in ("new", "person", "at", "reason"):
        altered = [dict(entry) for entry in entries]
        altered[4][field] = START + timedelta(hours=1) if field == "at" else "x"
        assert _broken(trial, altered, head)[0].startswith("entry 5 was altered")
    missing = entries[:6] + entries[7:]
    assert "entry 7 is missing" in _broken(trial, missing, head)
    moved = [*entries[:2], {**entries[3], "n": 3}, {**entries[2], "n": 4}, *entries[4:]]
    assert any(words.startswith("entry 3 ") for words in _broken(trial, moved, head))
    cut = entries[:-1]
    words = _broken(trial, cut, (len(cut), str(cut[-1]["hash"])))
    assert any(f"entries {len(entries)} to {len(entries)} are missing at the end" in one for one in words)


def test_a_checkpoint_that_was_forged_is_named(trial: TrialFolder) -> None:
    entries, head = _chain()
    file = trial.journal / ledger.CHECKPOINTS
    lines = file.read_text().splitlines()
    forged = {**json.loads(lines[0]), "n": 2}
    file.write_text("\n".join([json.dumps(forged), *lines[1:], "no json"]) + "\n")
    words = _broken(trial, entries, head)
    assert any("line 1 is not signed" in one for one in words)
    assert any(f"line {len(lines) + 1} cannot be read" in one for one in words)


def test_the_settings_of_sqlite_are_those_that_its_version_allows(trial: TrialFolder) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        journal = cursor.fetchone()[0]
        cursor.execute("PRAGMA synchronous")
        synchronous = cursor.fetchone()[0]
        cursor.execute("PRAGMA foreign_keys")
        keys = cursor.fetchone()[0]
    assert (journal, synchronous, keys) == (
        ("delete", 3, 1) if opening.sqlite_may_corrupt() else ("wal", 2, 1)
    )
    assert opening.sqlite_may_corrupt((3, 40, 1))
    assert opening.sqlite_may_corrupt((3, 51, 2))
    assert not opening.sqlite_may_corrupt((3, 51, 3))
    assert not opening.sqlite_may_corrupt((3, 44, 6))
    assert not opening.sqlite_may_corrupt((3, 50, 7))


def test_what_is_shown_once_is_kept_nowhere(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry, Request

    answer = do("person.add", "admin", key="k2", username="nina", full_name="Nina Example")
    kept = "\n".join(
        [str(one.answer) for one in Request.objects.all()] + [str(e.new) for e in Entry.objects.all()]
    )
    assert answer["password"] not in kept
    assert do("person.add", "admin", key="k2", username="nina", full_name="Nina Example") == {
        "username": "nina"
    }


def test_whoever_administers_has_a_second_factor_and_only_what_nobody_may_read_is_shown_once() -> None:
    administering = {
        name for name, roles in duties.MAY.items() if roles <= {duties.ADMINISTRATOR, duties.MANAGER}
    }
    assert {"site.add", "site.close", "access.review", "trial.places"} <= administering
    assert administering <= duties.SECOND_FACTOR
    assert duties.SIGNS <= duties.SECOND_FACTOR
    assert sorted(duties.SHOWN_ONCE) == ["password", "token"], "the arm is given again to who asks again"


def test_a_busy_database_cannot_keep_what_is_sent_which_is_no_conflict(trial: TrialFolder) -> None:
    from django.db import connection

    from equipoise.conduct.gateway import Unavailable

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(trial.database_file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy: nothing was saved; send it again") as told:
            do("trial.places", "theo", places=400, reason="more sites")
    assert told.value.status == 503


@pytest.mark.requirement("D33")
def test_the_log_names_the_place_of_an_error_and_never_its_words() -> None:
    formatter = logs.WithoutValues("{levelname} {message}", style="{")
    try:
        try:
            raise ValueError("arm il2 of 001-0012-E")
        except ValueError as error:
            raise KeyError("il2") from error
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "trouble", (), sys.exc_info())
    text = formatter.format(record)
    assert text.startswith("ERROR trouble\nKeyError\n")
    assert "ValueError" in text
    assert "test_the_log_names_the_place" in text
    assert "il2" not in text
    assert "001-0012-E" not in text
