"""What somebody changes in the database behind the gateway is found and named, whatever column it is in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import UUID, uuid4

import pytest

import conduct_treated as treated
from conduct_postgres import copied_postgres
from conduct_trial import copied, do
from equipoise.conduct import clock, opening, sealing
from equipoise.conduct.folder import TrialFolder

FIRST_DAY = date(2026, 3, 3)
LAST_DAY = FIRST_DAY + timedelta(days=12)


def _randomized(number: int) -> Any:
    """Somebody in SILCAAT in the arm with interleukin, entered as a restored allocation is."""
    from equipoise.conduct import journal
    from equipoise.conduct.gateway import Act, with_system
    from equipoise.conduct.models import Allocation, Participant, Site

    person = Participant(
        number=f"001-{number:04d}-A", candidate=number, site=Site.objects.get(number=1),
        screened_on=FIRST_DAY - timedelta(days=1), consent_on=FIRST_DAY - timedelta(days=1),
        consent_version="1",
    )  # fmt: skip
    strata = {"cd4_stratum": "50-199", "country": "USA"}
    baseline = {"cd4": 150.0, "hiv_rna": 50.0, "sex": "female", "age": 40.0, "country": "USA"}
    allocation = Allocation(
        sequence=number, participant=person, request_key=str(number), stratum="all", position=number,
        inputs={"strata": strata, "baseline": baseline}, person="ivo", at=clock.now(),
        protocol_sha256=opening.folder().protocol_sha256,
    )  # fmt: skip
    allocation.sealed_arm = sealing.seal(
        opening.folder().key("allocation"), "il2", sealing.bound(allocation.id, person.id)
    )

    def work(act: Act) -> None:
        act.create(person, "participant", participant=person.number)
        journal.record_allocation(act, allocation, FIRST_DAY, strata)
        act.change(act.trial, "trial", {"screened": number, "allocated": number})

    with_system("journal.reconcile", work)
    return person


def _live() -> None:
    """Something of everything that a trial can hold."""
    from equipoise.conduct import journal
    from equipoise.conduct.models import Cycle, Event, Form, Query

    with treated.at(FIRST_DAY):
        person = _randomized(1)
        _randomized(2)
        journal.catch_up(opening.folder())
        do("allocation.in_error", "ivo", participant="001-0002-A", reason="the wrong person")
        do("token.issue", "ada", label="our own list", scopes=["read"], days=30)
    on = FIRST_DAY + timedelta(days=7)
    with treated.at(on):
        treated.check(person, "aldesleukin", on, **treated.SILCAAT_CHECK)
        treated.decide(person, "aldesleukin", on)
    with treated.at(LAST_DAY):
        event = treated.event(person, on + timedelta(days=1), 3)["event"]
        do(
            "event.follow_up", "ada", event=event, participant=person.number, kind="adverse_event",
            term="fever", onset=str(on + timedelta(days=1)), grade=4, attributed=True, serious=False,
            reason="regraded",
        )  # fmt: skip
        do("hold.place", "ivo", participant=person.number, since=LAST_DAY, reason="fever, and more of it")
        assert Cycle.objects.get(participant=person).number == 1
        given = [{"number": 1, "state": "given"}, {"number": 2, "state": "missed"}]
        do(
            "cycle.injections", "ada", participant=person.number, regimen="aldesleukin", cycle=1, version=0,
            injections=given,
        )  # fmt: skip
        do("medication.save", "ada", participant=person.number, drug="examplevir", started="2020")
        form = Form.objects.get(participant=person, kind="check")
        do("item.verify", "mona", form=form.id, item="on_art", verified=True)
        treated.form(person, "check", form.key, on, "read again", pregnant="yes")
        do("query.open", "mona", participant=person.number, text="what about this?")
        asked = Query.objects.filter(participant=person, rule="").get()
        do("query.answer", "ada", query=asked.id, text="it is so")
        do("person.reset", "admin", username="cas", reason="lost it")
        assert Event.objects.count() == 1


@cache
def _template() -> Path:
    path = Path(mkdtemp(prefix="equipoise-lived-")) / "trial"
    copied(path)
    _live()
    opening.close()
    return path


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    template = _template()
    opening.close()
    shutil.copytree(template, tmp_path / "trial")
    with treated.at(LAST_DAY, 13):
        yield opening.use(tmp_path / "trial")
    opening.close()


@contextmanager
def behind_the_gateway() -> Iterator[None]:
    """The database without its triggers, as who administers it can have it; all is taken back at the end."""
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in cursor.fetchall():
                cursor.execute(f"DROP TRIGGER {name}")
        yield
        transaction.set_rollback(True)


def problems(trial: TrialFolder) -> list[str]:
    """What verifying finds within the present transaction."""
    from equipoise.conduct import verifying

    return [*verifying.ledger_problems(trial), *verifying.state_problems(trial)]


def another(field: Any, value: Any) -> Any:
    """Another value that such a column can hold."""
    if value is None:
        kinds = {"DateField": date(2026, 1, 1), "DateTimeField": clock.now(), "JSONField": {},
                 "CharField": "", "FloatField": 0.0, "UUIDField": uuid4(), "BooleanField": False}  # fmt: skip
        value = kinds.get(field.get_internal_type(), 0)
    if field.remote_field is not None:
        others = field.related_model.objects.exclude(pk=value).values_list("pk", flat=True)
        nobody = uuid4() if isinstance(value, UUID) else 7
        return nobody if field.unique else others.first() or nobody
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1000
    if isinstance(value, datetime | date):
        return value + timedelta(days=40)
    if isinstance(value, UUID):
        return uuid4()
    if isinstance(value, str):
        return ("x" + value)[: field.max_length] if value[:1] != "x" else ""
    return {"altered": value}


def cells(model: type[Any], apart: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Each column of a table with the row that was made last and, where it is another, one made before."""
    rows = list(model.objects.order_by("pk"))
    assert rows, f"the trial of this test holds no {model.__name__}"
    for field in model._meta.concrete_fields:
        if field.name not in apart:
            for row in rows[:: max(1, len(rows) - 1)][:2]:
                yield field, row


@pytest.mark.requirement("A12", "D34")
def test_every_table_of_conduct_is_verified_or_holds_no_record(trial: TrialFolder) -> None:
    """Whoever adds a table says how `verify` looks at it."""
    from django.apps import apps

    from equipoise.conduct import verifying

    kept = [one.model for one in verifying.KEPT]
    told = [*kept, *verifying.IN_ITS_OWN_WAY, *verifying.NO_RECORD]
    assert len(told) == len(set(told))
    assert set(told) == set(apps.get_app_config("conduct").get_models())


@pytest.mark.requirement("A1", "A12")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_tables_of_a_trial_that_has_lived_are_what_the_ledger_says(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """(The two were put into an arm for the test: their allocations do not replay.)"""
    if database == "sqlite":
        lived = request.getfixturevalue("trial")
    else:
        lived = copied_postgres(tmp_path / "trial")
        _live()
    from equipoise.conduct import verifying

    found = verifying.verify(lived)
    assert [words for words in found if "replay" not in words and "stratum" not in words] == []


@pytest.mark.requirement("A12", "D34")
def test_whatever_column_of_whatever_table_is_changed_it_is_named(trial: TrialFolder) -> None:
    from equipoise.conduct import verifying
    from equipoise.conduct.gateway import NOT_TOLD

    for kept in verifying.KEPT:
        changed = 0
        for field, row in cells(kept.model, (*kept.apart, *NOT_TOLD)):
            with behind_the_gateway():
                now = another(field, getattr(row, field.attname))
                assert kept.model._base_manager.filter(pk=row.pk).update(**{field.attname: now}) == 1
                found = list(verifying.row_problems(kept))
            name = f"{kept.kind} {row.pk}" + ("" if field.primary_key else f": {field.name} is")
            assert any(words.startswith(name) for words in found), (kept.kind, field.name, now, found)
            changed += 1
        assert changed >= len(kept.model._meta.concrete_fields) - len(kept.apart) - 1
    from equipoise.conduct.models import Value

    for field, row in cells(Value, ("id",)):
        with behind_the_gateway():
            now = another(field, getattr(row, field.attname))
            Value.objects.filter(pk=row.pk).update(**{field.attname: now})
            found = list(verifying.value_problems(trial))
        assert any(row.item in words for words in found), (field.name, now, found)


@pytest.mark.requirement("A12", "D34")
def test_a_row_that_is_put_in_or_taken_out_is_named(trial: TrialFolder) -> None:
    from equipoise.conduct import verifying

    for kept in verifying.KEPT:
        row = kept.model.objects.order_by("pk").last()
        with behind_the_gateway():
            kept.model._base_manager.filter(pk=row.pk)._raw_delete("default")
            assert f"{kept.kind} {row.pk} is gone: the ledger says that it was added" in list(
                verifying.row_problems(kept)
            )
    from equipoise.conduct.models import Person, Token

    with behind_the_gateway():
        put_in = Token.objects.create(
            person=Person.objects.get(username="ivo"), label="x", sha256="b" * 64, scopes=["all"],
            created_at=clock.now(), expires_at=clock.now() + timedelta(days=365),
        )  # fmt: skip
        found = problems(trial)
    assert f"token {put_in.pk} has no entry in the ledger: it was put there" in found


@pytest.mark.requirement("A12")
def test_verifying_names_what_was_changed_in_each_table(trial: TrialFolder) -> None:
    """One column of each table, with the whole of `verify`."""
    from equipoise.conduct import verifying

    before = set(verifying.verify(trial))
    for kept in verifying.KEPT:
        field, row = next(
            cell for cell in cells(kept.model, kept.apart)
            if not cell[0].primary_key and cell[0].remote_field is None and not cell[0].unique
            and cell[0].name not in ("last_login", "protocol_sha256")
        )  # fmt: skip
        with behind_the_gateway():
            now = another(field, getattr(row, field.attname))
            kept.model._base_manager.filter(pk=row.pk).update(**{field.attname: now})
            found = set(problems(trial)) - before
        assert any(f"{kept.kind} {row.pk}: {field.name} is" in words for words in found), (kept.kind, field)


@pytest.mark.requirement("A12")
def test_a_clock_of_the_ledger_that_was_put_back_is_named(trial: TrialFolder) -> None:
    from equipoise.conduct import verifying
    from equipoise.conduct.models import Chain

    with behind_the_gateway():
        Chain.objects.update(at=clock.now() - timedelta(days=400))
        found = list(verifying.clock_problems())
    assert len(found) == 1
    assert found[0].startswith("the head says that the latest entry was made at")


@pytest.mark.requirement("A12")
def test_what_others_write_meanwhile_is_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.conduct import verifying
    from equipoise.conduct.models import Trial

    copied(tmp_path / "trial")
    (kept,) = (one for one in verifying.KEPT if one.model is Trial)
    reads, places = verifying._latest, iter((1801, 1802))

    def read_then_change(*asked: Any) -> Any:
        said = reads(*asked)
        if (number := next(places, None)) is not None:
            do("trial.places", "theo", places=number, reason="more sites")
        return said

    monkeypatch.setattr(verifying, "_latest", read_then_change)
    assert list(verifying.row_problems(kept)) == []
    places = iter((1803,))
    Trial.objects.update(screened=7)
    (found,) = verifying.row_problems(kept)
    assert 'screened is "7"' in found
