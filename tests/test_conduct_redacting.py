"""A name that must not stand in a trial is taken out, and the ledger stays whole: each entry that lost its
text has a tombstone, and any other change is still found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import Error
from typer.testing import CliRunner

from conduct_data import send, viewer
from conduct_postgres import copied_postgres
from conduct_ready import protocol_file, randomized, screened
from conduct_trial import START, copied, do
from equipoise.cli.main import app
from equipoise.conduct import clock, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

NAME = 'Jürgen "JJ" Fictitious'
REASON = "a name, found by the monitor, decided by the trial manager"
DAY = START + timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrialFolder]:
    make = copied if request.param == "sqlite" else copied_postgres
    with clock.at(DAY):
        yield make(tmp_path / "trial", protocol_file())
    opening.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(DAY):
        yield copied(tmp_path / "trial", protocol_file())
    opening.close()


def named() -> str:
    """Somebody randomised of whom a name stands in a query and its answer, a narrative and a reason."""
    number = randomized("ada")
    do("query.open", "mona", participant=number, text=f"Is {NAME} the one who was seen?")
    do("query.answer", "ada", query=_query(number).id, text=f"{NAME}, yes")
    do("query.close", "mona", query=_query(number).id, text="thank you")
    event = do(
        "event.report", "ada", participant=number, kind="adverse_event", term="fever", onset="2026-03-03",
        grade=3, attributed=False, serious=False,
        narrative=f"{NAME} was taken in.\nThe fever fell. {NAME} went home.",
    )["event"]  # fmt: skip
    do("event.remove", "ivo", event=event, reason=f"it was not {NAME}")
    return number


def _query(number: str) -> Any:
    from equipoise.conduct.models import Query

    return Query.objects.get(participant__number=number, rule="")


def wrong(trial: TrialFolder) -> list[str]:
    from equipoise.conduct.verifying import verify

    return verify(trial)


def everything() -> str:
    """All that the tables hold, as text."""
    from django.apps import apps

    tables = apps.get_app_config("conduct").get_models()
    return "\n".join(str(row) for model in tables for row in model.objects.values_list())


@pytest.mark.requirement("A5", "A12")
def test_a_name_is_taken_out_and_each_entry_that_held_it_has_a_tombstone(trial: TrialFolder) -> None:
    """Text in words, within JSON, with quotation marks and letters outside ASCII; once or twice in a text."""
    from equipoise.conduct import redacting
    from equipoise.conduct.models import Entry, EventVersion

    number = named()
    before = {entry.n: entry for entry in Entry.objects.all()}
    assert wrong(trial) == []
    held = [
        n for n, entry in before.items() if any("Fictitious" in str(value) for value in vars(entry).values())
    ]
    assert redacting.look(number, NAME).entries == tuple(held)
    done = redacting.redact(number, NAME, REASON)
    assert done.entries == tuple(held)
    assert done.rows == {"query": 1, "query message": 2, "event": 1, "event report": 1}
    assert done.elsewhere == {}
    assert "Fictitious" not in everything()
    assert redacting.look(number, NAME).is_nothing
    narrative = EventVersion.objects.get().narrative
    assert narrative == "[removed] was taken in.\nThe fever fell. [removed] went home."
    after = {entry.n: entry for entry in Entry.objects.all()}
    for n, entry in before.items():
        assert (after[n].hash, after[n].previous) == (entry.hash, entry.previous)
        same = all(getattr(after[n], name) == getattr(entry, name) for name in ("old", "new", "reason"))
        assert same == (n not in held)
    stones = [entry for n, entry in after.items() if n not in before]
    assert [int(stone.subject) for stone in stones] == held
    assert {(stone.kind, stone.reason, stone.participant) for stone in stones} == {
        ("redaction", REASON, number)
    }
    assert wrong(trial) == []


@pytest.mark.requirement("A4", "A5", "A12")
def test_after_a_redaction_rows_are_protected_and_any_other_change_is_found(trial: TrialFolder) -> None:
    """The triggers are back; an entry with a tombstone may say what the tombstone has the hash of."""
    from django.db import connection, transaction

    from equipoise.conduct import redacting
    from equipoise.conduct.models import Entry

    n = redacting.redact(named(), NAME, REASON).entries[0]
    for change in (lambda: Entry.objects.filter(n=n).update(reason="x"), Entry.objects.all().delete):
        with pytest.raises(Error, match="never changed"), transaction.atomic():
            change()
    table, trigger = "conduct_entry", "append_only"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_{trigger}")
        else:
            cursor.execute(f"DROP TRIGGER {table}_no_update")
    Entry.objects.filter(n=n).update(new="Is Somebody Else the one who was seen?")
    assert f"entry {n} was altered: its content does not have its hash" in wrong(trial)


@pytest.mark.requirement("A5", "A9")
def test_the_people_of_the_site_read_of_a_redaction_without_its_digest(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting
    from equipoise.conduct.models import Entry
    from equipoise.conduct.reading import audit

    done = redacting.redact(named(), NAME, REASON)
    told = Entry.objects.filter(kind="redaction").order_by("n")
    for name, seen in (("ada", True), ("mona", True), ("cas", False)):
        mine = audit.visible(viewer(name)).filter(n__in=told.values("n")).order_by("n")
        shown = [(line.what, line.new, line.reason) for line in audit.lines(mine, viewer(name))]
        assert shown == [(f"redaction: entry {n}", "", REASON) for n in done.entries if seen]


@pytest.mark.requirement("A12")
def test_a_tombstone_that_is_not_signed_by_the_key_of_the_trial_excuses_nothing(
    on_sqlite: TrialFolder,
) -> None:
    """Whoever can write to the database alters an entry, and has an entry made that would excuse it."""
    from django.db import connection

    from equipoise.conduct import ledger
    from equipoise.conduct.gateway import with_system
    from equipoise.conduct.models import Entry

    named()
    real = Entry.objects.filter(kind="query message").order_by("n").first()
    assert real is not None
    n = real.n
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER conduct_entry_no_update")
    Entry.objects.filter(n=n).update(new="Is Somebody Else the one who was seen?")
    altered = Entry.objects.values().get(n=n)
    content = ledger.entry_hash(altered["previous"], altered)
    others = ledger.tombstone(on_sqlite, n + 1, content)
    for stone in (content, f"{content} {'0' * 128}", others):

        def forge(act: Any, stone: str = stone) -> None:
            act.record("redaction", n, new=stone, reason="a name")

        with_system("redaction", forge)
        assert f"entry {n} was altered: its content does not have its hash" in wrong(on_sqlite)


@pytest.mark.requirement("A5", "S5")
def test_the_signature_of_a_form_that_loses_a_text_lapses(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting
    from equipoise.conduct.models import Entry, Form
    from equipoise.conduct.reading import forms

    number = randomized("ada")
    send(
        "form.not_done", "ada", participant=number, kind="update", key="2026-03-03:1", version=0,
        reason=f"{NAME} did not come",
    )  # fmt: skip
    form = Form.objects.get(participant__number=number, kind="update")
    do("form.sign", "ivo", form=form.id, content_sha256=forms.content_sha256(form, number))
    redacting.redact(number, NAME, REASON)
    form.refresh_from_db()
    assert (form.not_done_reason, form.signed) == ("[removed] did not come", False)
    lapsed = Entry.objects.get(kind="signature", field="state")
    assert lapsed.new == "lapsed: what Ivo Example signed has changed"
    assert wrong(on_sqlite) == []


@pytest.mark.requirement("A5", "A11")
def test_a_tombstone_tells_the_arm_no_more_than_its_entry(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting
    from equipoise.conduct.models import Entry

    done = redacting.redact(named(), NAME, REASON)
    stones = Entry.objects.filter(kind="redaction").in_bulk()
    entries = Entry.objects.in_bulk(done.entries)
    assert {int(one.subject): one.reveals_arm for one in stones.values()} == {
        n: entry.reveals_arm for n, entry in entries.items()
    }


def test_nothing_of_it_is_left_in_the_file_of_the_database(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting

    number = named()
    words = b"Fictitious"
    assert any(words in file.read_bytes() for file in on_sqlite.path.rglob("*") if file.is_file())
    redacting.redact(number, NAME, REASON)
    opening.close()
    assert not any(words in file.read_bytes() for file in on_sqlite.path.rglob("*") if file.is_file())


def test_what_is_typed_and_not_saved_goes_and_what_is_of_others_stays(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting
    from equipoise.conduct.models import Draft, Person

    number, other = named(), screened("ada")
    do("query.open", "mona", participant=other, text=f"{NAME} again?")
    ada = Person.objects.get(username="ada")
    for page in (f"/participant/{number}/event/new/", f"/participant/{other}/event/new/"):
        Draft.objects.create(person=ada, page=page, content={"narrative": [NAME]}, saved_at=clock.now())
    done = redacting.redact(number, NAME, REASON)
    assert done.drafts == 1
    assert Draft.objects.get().page == f"/participant/{other}/event/new/"
    assert done.elsewhere == {"query": 1, "query message": 1, "entry of the ledger": 2, "draft": 1}
    assert _query(other).text == f"{NAME} again?"
    assert wrong(on_sqlite) == []


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("Nobody Such", REASON, "nothing that concerns this participant holds this text"),
        ("JJ", REASON, "fewer than 3 letters"),
        (NAME, " ", "say why"),
        (NAME, f"the name {NAME}", "the reason holds the very text"),
        ("removed", REASON, "stands in place of what was taken out"),
        ("one\nand two", REASON, "is one line"),
    ],
)
def test_what_cannot_be_taken_out_is_refused_and_nothing_is_changed(
    on_sqlite: TrialFolder, text: str, reason: str, words: str
) -> None:
    from equipoise.conduct import redacting

    number = named()
    before = everything()
    with pytest.raises(UserError, match=words):
        redacting.redact(number, text, reason)
    assert everything() == before


@pytest.mark.requirement("I7")
def test_nothing_is_taken_out_of_frozen_data(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting

    number = named()
    do("trial.freeze", "theo", reason="the analysis begins")
    before = everything()
    with pytest.raises(UserError, match="frozen"):
        redacting.redact(number, NAME, REASON)
    assert everything() == before


def test_a_text_too_long_with_its_replacement_is_refused(on_sqlite: TrialFolder) -> None:
    from equipoise.conduct import redacting

    number = randomized("ada")
    do("medication.save", "ada", participant=number, drug="abc" * 26, started="2020")
    before = everything()
    with pytest.raises(UserError, match="drug would be longer than 80 letters"):
        redacting.redact(number, "abc", REASON)
    assert everything() == before


def test_the_command_asks_says_what_it_did_and_takes_no_for_an_answer(on_sqlite: TrialFolder) -> None:
    number = named()
    before = everything()
    opening.close()
    command = ["conduct", "redact", str(on_sqlite.path), number, "--reason", REASON]
    answered = CliRunner().invoke(app, command, input=f"{NAME}\nn\n")
    held = "entries of the ledger (7), event (1), event report (1), query (1), query message (2)"
    assert answered.exit_code == 0
    assert sorted(held.split(", ")) == sorted(
        answered.output.split("It stands in ")[1].split(".\n")[0].split(", ")
    )
    assert "Nothing was changed." in answered.output
    opening.use(on_sqlite)
    assert everything() == before
    opening.close()
    done = CliRunner().invoke(app, [*command, "--yes"], input=f"{NAME}\n")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Taken out of entries of the ledger (7)")
    assert "Backups and exports made before hold it still." in done.output
    again = CliRunner().invoke(app, [*command, "--yes"], input=f"{NAME}\n")
    assert again.exit_code == 2
    assert "nothing that concerns this participant holds this text" in again.output
