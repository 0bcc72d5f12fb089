"""Promises of conduct that belong to no single part of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import conduct_ready
from conduct_people import at_work
from conduct_postgres import copied_postgres
from conduct_samples import inputs_for
from conduct_trial import START, actor, copied, do, fill
from equipoise.conduct import clock, duties
from equipoise.conduct.folder import TrialFolder


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


@pytest.fixture(params=["sqlite", "postgresql"])
def on_either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrialFolder]:
    """A trial on each of the two databases."""
    with clock.at(START + timedelta(days=1)):
        yield (copied if request.param == "sqlite" else copied_postgres)(tmp_path / "trial")


@pytest.mark.requirement("A4")
def test_entries_of_the_ledger_are_neither_changed_nor_removed_by_anybody(on_either: TrialFolder) -> None:
    """Neither by the application nor by words to the database itself."""
    from django.db import DatabaseError, connection, transaction

    from equipoise.conduct.models import Entry

    def told(sql: str) -> Any:
        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql)

        return work

    before = list(Entry.objects.order_by("n").values())
    first = Entry.objects.get(n=1)
    first.new = "x"
    ways = [
        first.save, first.delete, Entry.objects.filter(n=2).delete,
        lambda: Entry.objects.update(reason="x"),
        told("DELETE FROM conduct_entry"), told("DELETE FROM conduct_entry WHERE n = 3"),
    ]  # fmt: skip
    for field in Entry._meta.concrete_fields:
        ways.append(told(f'UPDATE conduct_entry SET "{field.column}" = NULL WHERE n = 3'))
    if not on_either.uses_sqlite:
        ways += [told("TRUNCATE conduct_entry"), told("TRUNCATE conduct_entry CASCADE")]
    for way in ways:
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            way()
    assert list(Entry.objects.order_by("n").values()) == before


@pytest.mark.requirement("A7")
def test_no_command_ends_well_that_leaves_no_entry(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command is given to a function that changes something and notes nothing."""
    from dataclasses import replace

    from equipoise.conduct.gateway import COMMANDS, perform
    from equipoise.conduct.models import Entry, Request, Site

    def silent(act: Any, given: Any) -> dict[str, Any]:
        act.role = "whoever"
        Site.objects.filter(number=1).update(name="changed in silence")
        return {"done": True}

    before = Entry.objects.count()
    for name, found in list(COMMANDS.items()):
        monkeypatch.setitem(COMMANDS, name, replace(found, work=silent))
        with pytest.raises(RuntimeError, match=f"{re.escape(name)} recorded nothing"):
            perform(name, actor("theo"), inputs_for(found.inputs, "001-0001-A"), name)
    assert set(COMMANDS) == set(duties.MAY)
    assert Site.objects.get(number=1).name == "Northfield"
    assert (Entry.objects.count(), Request.objects.count()) == (before, 0)


@pytest.mark.requirement("T2")
def test_a_browser_whose_clock_is_wrong_by_a_day_changes_no_time(tmp_path: Path) -> None:
    """In a real trial; in a rehearsal a request says what time it is."""
    from django.utils.http import http_date

    from equipoise.conduct import opening
    from equipoise.conduct.initialise import initialise

    now = START + timedelta(days=1)
    with clock.at(START):
        initialise(tmp_path / "trial", "silcaat", kind="real")
        fill()
    with clock.at(now):
        assert opening.use(tmp_path / "trial").kind == "real"
        from equipoise.conduct.models import Entry, Participant

        client = at_work("ada")
        for wrong in (now - timedelta(days=1), now + timedelta(days=1)):
            claimed = {"Date": http_date(wrong.timestamp()), "Equipoise-Now": wrong.isoformat()}
            told = {"consent_on": "t", "screened_on": "t", "consent_version": "1", "at": wrong.isoformat()}
            answer = client.post("/site/1/screening/", told, headers=claimed)
            assert answer.status_code == 302
            assert Entry.objects.latest("n").at == now
            begun = Participant.objects.latest("candidate")
            assert begun.screened_on == begun.consent_on == now.date()
        ahead = {**told, "screened_on": (now + timedelta(days=1)).strftime("%d %b %Y")}
        assert client.post("/site/1/screening/", ahead, headers=claimed).status_code == 422


@pytest.mark.requirement("A5")
def test_the_ledger_cannot_be_switched_off_unnoticed(trial: TrialFolder) -> None:
    """No setting does it; who takes the protection away in the database itself is named."""
    from django.db import connection

    from equipoise.conduct import backup

    settings = trial.path / "trial.toml"
    settings.write_text(settings.read_text() + "ledger = false\naudit = false\n")
    from equipoise.conduct import opening
    from equipoise.conduct.models import Entry

    opening.use(trial.path)
    before = Entry.objects.count()
    do("site.close", "theo", number=2, closed_on=clock.today("UTC"), reason="no more participants")
    assert Entry.objects.count() > before
    assert backup.verify(trial) == []
    with connection.cursor() as cursor:
        cursor.execute("drop trigger conduct_entry_no_delete")
    assert any("conduct_entry" in words for words in backup.verify(trial))


@pytest.mark.requirement("I7")
def test_while_the_data_are_frozen_every_command_that_writes_is_refused(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import COMMANDS, NotAllowed, perform
    from equipoise.conduct.models import Entry

    do("trial.freeze", "theo", reason="the final analysis begins")
    before = Entry.objects.count()
    refused = 0
    for name, command in COMMANDS.items():
        if name in duties.WHILE_FROZEN:
            continue
        with pytest.raises(NotAllowed, match="the data are frozen: the final analysis begins"):
            perform(name, actor("theo"), command.inputs.model_construct())
        refused += 1
    assert refused == len(duties.MAY) - len(duties.WHILE_FROZEN)
    assert Entry.objects.count() == before


@pytest.mark.requirement("S8")
def test_a_signature_can_be_checked_after_the_account_is_closed(tmp_path: Path) -> None:
    with clock.at(START + timedelta(days=1)):
        trial = copied(tmp_path / "trial", conduct_ready.protocol_file())
        number = conduct_ready.ready()
        from equipoise.conduct import backup
        from equipoise.conduct.models import Duty, Person, Signature

        for duty in Duty.objects.filter(person__username="ivo"):
            do("duty.revoke", "admin", duty=duty.id, reason="left the site")
        do("person.deactivate", "admin", username="ivo", reason="left the site")
        assert not Person.objects.get(username="ivo").is_active
        signed = Signature.objects.get(participant=number)
        assert (signed.person, signed.printed_name) == ("ivo", "Ivo Example")
        assert backup.verify(trial) == []


@pytest.mark.requirement("B7")
def test_the_tables_have_no_place_for_who_a_participant_is(trial: TrialFolder) -> None:
    from django.apps import apps

    from equipoise.conduct.models import Participant

    of_participants = [
        model for model in apps.get_app_config("conduct").get_models()
        if model is Participant
        or any(field.related_model is Participant for field in model._meta.concrete_fields)
    ]  # fmt: skip
    assert len(of_participants) > 6
    identifying = re.compile(r"name|birth|address|initials|phone|e_?mail|postcode|insurance")
    found = [
        f"{model.__name__}.{field.name}"
        for model in of_participants
        for field in model._meta.concrete_fields
        if identifying.search(field.name)
    ]
    assert found == []
