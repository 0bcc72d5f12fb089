"""Promises of conduct that belong to no single part of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import conduct_ready
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock, duties
from equipoise.conduct.folder import TrialFolder


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


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
