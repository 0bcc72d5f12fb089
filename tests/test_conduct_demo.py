"""The demonstration: a trial in mid-course whose ledger, rows and record are those of a real one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.conduct import clock, demo, opening

DAYS = 170


@pytest.fixture(scope="module")
def made() -> Iterator[demo.Made]:
    """A small one, that began less than half a year ago; made in the small hours, when what was learned some
    hours ago was learned on the day before."""
    folder = Path(mkdtemp(prefix="equipoise-demo-"))
    night = datetime.now(UTC).replace(hour=4, minute=0)
    with clock.at(night if night <= datetime.now(UTC) else night - timedelta(days=1)):
        made = demo.make(folder / "demo", participants=20, days=DAYS)
    yield made
    shutil.rmtree(folder)


def test_everybody_of_every_role_can_log_in(made: demo.Made) -> None:
    opening.use(made.trial)
    from allauth.mfa.models import Authenticator

    from equipoise.conduct import duties
    from equipoise.conduct.models import Person

    assert {one.role for one in made.people} == set(duties.ROLES)
    for one in made.people:
        person = Person.objects.get(username=one.username)
        assert person.check_password(made.password)
        assert not person.must_change_password
        assert Authenticator.objects.filter(user=person).exists()


def test_the_command_line_prints_the_code_that_the_second_factor_takes(made: demo.Made) -> None:
    opening.use(made.trial)
    from allauth.mfa.models import Authenticator
    from allauth.mfa.totp.internal.auth import TOTP

    code = CliRunner().invoke(app, ["conduct", "code", str(made.trial.path), "ada"])
    assert code.exit_code == 0, code.output
    held = Authenticator.objects.get(user__username="ada")
    assert TOTP(held).validate_code(code.stdout.strip())


def test_participants_are_in_every_stage(made: demo.Made) -> None:
    opening.use(made.trial)
    from equipoise.conduct.models import Allocation, Cycle, Form, Injection, Participant, Query, Trial
    from equipoise.conduct.sealing import open_arm

    status = set(Participant.objects.values_list("status", flat=True))
    assert {Participant.SCREENING, Participant.FAILED, Participant.RANDOMIZED} <= status
    assert Trial.objects.get(id=1).kind == "demonstration"
    assert {open_arm(one) for one in Allocation.objects.all()} == set(made.trial.protocol.arms)
    assert Cycle.objects.count() > 3
    assert Injection.objects.filter(state="given").exists()
    assert Form.objects.filter(kind="visit", status=Form.COMPLETE).exists()
    assert Query.objects.exclude(rule="").count() + Query.objects.filter(opened_by="mona").count() > 0


def test_the_clock_of_a_serious_event_runs(made: demo.Made) -> None:
    opening.use(made.trial)
    from equipoise.conduct.models import EventVersion

    recent = EventVersion.objects.filter(serious=True, aware_at__gte=clock.now() - timedelta(days=2))
    assert recent.exists()


@pytest.mark.requirement("A12", "K1")
def test_it_verifies_and_its_record_has_no_fault(made: demo.Made, tmp_path: Path) -> None:
    checked = CliRunner().invoke(app, ["conduct", "verify", str(made.trial.path)])
    assert checked.exit_code == 0, checked.output
    out = tmp_path / "record"
    done = CliRunner().invoke(app, ["conduct", "export", str(made.trial.path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    faults = CliRunner().invoke(app, ["record", "check", str(out)])
    assert faults.exit_code == 0, faults.output


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    for protocol, folder in (("erythropoietin", tmp_path / "new"), ("silcaat", tmp_path / "full")):
        if folder.name == "full":
            folder.mkdir()
            (folder / "mine").write_text("mine")
        refused = CliRunner().invoke(app, ["conduct", "demo", str(folder), "--protocol", protocol])
        assert refused.exit_code == 2, refused.output
        assert "Traceback" not in refused.output
    assert [one.name for one in tmp_path.iterdir()] == ["full"]
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["mine"]
