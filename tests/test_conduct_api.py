"""The trial over HTTP: who gets in and how, the same commands with the same refusals, what can be read by
whom, and requests that are meant to do harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import date, timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import BaseModel

from conduct_people import at_work, browser
from conduct_samples import inputs_for
from conduct_treated import SILCAAT_CHECK, check, decide, form, in_silcaat
from conduct_trial import PASSWORD, START, actor, copied, do
from equipoise.conduct import clock

DAY_0 = date(2026, 3, 2)
HOSTILE = (
    "'; DROP TABLE conduct_participant; --", "1 OR 1=1", "\" UNION SELECT password FROM conduct_person --",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "{% debug %}", "${7*7}",
    "__import__('os').system('touch /tmp/equipoise-was-here')", "=cmd|' /C calc'!A0", "../../etc/passwd",
    "%00", "\u202eabc", "𝕏" * 50,
)  # fmt: skip


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A trial with a participant under treatment at site 1, whom everybody may read."""
    opened = copied(tmp_path_factory.mktemp("api") / "trial")
    with clock.at(START + timedelta(hours=3)):
        person = in_silcaat(DAY_0, number=900)
        form(person, "visit", "entry:0", DAY_0, cd4="150", hiv_rna="50", on_art="yes")
        check(person, "aldesleukin", DAY_0, **SILCAAT_CHECK)
        decide(person, "aldesleukin", DAY_0, "yes")
        yield opened


@pytest.fixture(autouse=True)
def _now(trial: Any) -> Iterator[None]:
    with clock.at(START + timedelta(hours=4)):
        yield


NUMBER = "001-0900-A"


def token(name: str, *scopes: str) -> str:
    """A token of somebody."""
    return str(do("token.issue", name, label="test", scopes=list(scopes or ("all",)))["token"])


def api(name: str | None = None, *scopes: str) -> Any:
    """A caller with the token of somebody."""
    return Caller({} if name is None else {"Authorization": f"Bearer {token(name, *scopes)}"})


class Caller:
    """Sends requests to the API and reads the answers."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.client, self.headers = browser(), headers

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api{path}", query, headers=self.headers)

    def post(self, command: str, key_: str = "", password_: str = "", **inputs: Any) -> Any:
        headers = dict(self.headers)
        headers |= {"Idempotency-Key": key_} if key_ else {}
        headers |= {"Equipoise-Password": password_} if password_ else {}
        return self.client.post(
            f"/api/commands/{command.replace('.', '/')}", json.dumps(inputs, default=str),
            content_type="application/json", headers=headers,
        )  # fmt: skip


def screen(caller: Caller, key_: str = "", **more: Any) -> Any:
    """Start screening somebody at site 1."""
    told = {"site": 1, "screened_on": DAY_0, "consent_on": DAY_0, "consent_version": "1", **more}
    return caller.post("screening.start", key_, **told)


def entries() -> int:
    """Entries of the ledger."""
    from equipoise.conduct.models import Entry

    return Entry.objects.count()


# --- ways in ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("D13")
def test_every_operation_is_let_in_by_a_token_or_by_a_session_with_its_csrf_token(trial: Any) -> None:
    from ninja.security.session import SessionAuth

    from equipoise.conduct.api.auth import WAYS_IN_TYPES
    from equipoise.conduct.api.urls import api as built

    operations = [
        operation
        for _, router in built._routers
        for view in router.path_operations.values()
        for operation in view.operations
    ]
    assert len(operations) > 40
    for operation in operations:
        ways = {type(way): way for way in operation.auth_callbacks}
        assert set(ways) == set(WAYS_IN_TYPES), operation.view_func.__name__
        assert ways[SessionAuth].csrf is True, operation.view_func.__name__


@pytest.mark.requirement("D13")
def test_a_session_alone_changes_nothing_without_the_csrf_token(trial: Any) -> None:
    client = at_work("ada")
    client.handler.enforce_csrf_checks = True
    told = json.dumps(
        {"site": 1, "screened_on": "2026-03-02", "consent_on": "2026-03-02", "consent_version": "1"}
    )
    before = entries()
    refused = client.post("/api/commands/screening/start", told, content_type="application/json")
    assert refused.status_code == 403
    assert entries() == before
    client.get("/account/")
    csrf = client.cookies["csrftoken"].value
    let_in = client.post(
        "/api/commands/screening/start", told, content_type="application/json", headers={"X-CSRFToken": csrf}
    )
    assert let_in.status_code == 200, let_in.content
    assert entries() > before


def test_nobody_and_a_wrong_token_are_told_so_even_with_a_session_beside(trial: Any) -> None:
    assert Caller({}).get("/status").status_code == 401
    assert set(Caller({}).get("/status").json()) >= {"refused"}
    assert Caller({"Authorization": "Bearer equipoise_nonsense"}).get("/status").status_code == 401
    client = at_work("ada")
    assert client.get("/api/status").status_code == 200
    assert client.get("/api/status", headers={"Authorization": "Bearer equipoise_x"}).status_code == 401
    assert client.get("/api/status", headers={"Authorization": "Basic YWRhOng="}).status_code == 401


def test_a_token_does_what_its_scopes_name_and_no_more(trial: Any) -> None:
    reads, screens = api("ada", "read"), api("ada", "screening.start")
    assert reads.get("/participants").status_code == 200
    assert screen(reads).status_code == 403
    assert screen(screens).status_code == 200
    assert screens.get("/participants").status_code == 403
    assert screens.post("hold.place", participant=NUMBER, since=DAY_0, reason="ill").status_code == 403


@pytest.mark.requirement("S3", "S4", "D15")
def test_a_signed_command_needs_the_password_and_wrong_ones_lock_out(trial: Any) -> None:
    ivo = api("ivo")
    told = {"participant": NUMBER, "regimen": "aldesleukin", "on": DAY_0, "content_sha256": "x"}
    assert ivo.post("decision.take", **told).status_code == 403
    # the right password: now the content is looked at, and it is not what was shown
    assert ivo.post("decision.take", password_=PASSWORD, **told).status_code == 409
    answers = [ivo.post("decision.take", password_="wrong", **told).status_code for _ in range(5)]
    assert answers == [403, 403, 403, 403, 429]
    assert ivo.post("decision.take", password_=PASSWORD, **told).status_code == 429


# --- commands ---------------------------------------------------------------------------------------------


def test_every_command_of_the_gateway_has_its_address_and_each_says_who_may(trial: Any) -> None:
    from equipoise.conduct.gateway import COMMANDS

    schema = api("ada").get("/openapi.json").json()
    for name in COMMANDS:
        operation = schema["paths"][f"/api/commands/{name.replace('.', '/')}"]["post"]
        assert operation["summary"]
        assert "May be done by" in operation["description"]


@pytest.mark.requirement("D2")
def test_a_request_sent_again_with_its_key_does_nothing_again(trial: Any) -> None:
    ada = api("ada")
    first = screen(ada, "key-1")
    before = entries()
    assert screen(ada, "key-1").json() == first.json()
    assert entries() == before
    other = screen(ada, "key-1", consent_version="2")
    assert (other.status_code, entries()) == (409, before)
    assert screen(ada, "k" * 81).status_code == 422


def test_refusals_are_json_with_the_status_that_says_why(trial: Any) -> None:
    ada, theo = api("ada"), api("theo")
    for answer, status in (
        (ada.post("screening.fail", participant="001-9999-A", reason="ill"), 404),
        (theo.post("screening.fail", participant=NUMBER, reason="ill"), 403),
        (ada.post("screening.fail", participant=NUMBER, reason="ill"), 409),
        (screen(ada, consent_on="2026-03-09"), 422),
        (screen(ada, consent_on="yesterday"), 422),
        (ada.get("/nothing"), 404),
    ):
        assert answer.status_code == status, answer.content
        if "json" in answer["Content-Type"]:
            assert answer.json()["refused"]
    assert screen(ada, consent_on="2026-03-09").json()["field"] == "consent_on"


@pytest.mark.requirement("U2", "D11")
def test_another_site_does_not_exist(trial: Any) -> None:
    cas = api("cas")
    for part in ("", "/screening", "/schedule", "/decisions", "/events", "/holds", "/queries",
                 "/proposal/aldesleukin", "/forms/visit/entry:0"):  # fmt: skip
        there = cas.get(f"/participants/{NUMBER}{part}")
        nobody = cas.get(f"/participants/001-4711-A{part}")
        assert (there.status_code, there.content) == (404, nobody.content)
    assert cas.get("/participants").json()["participants"] == []
    assert cas.post("screening.fail", participant=NUMBER, reason="ill").status_code == 404


# --- reading ----------------------------------------------------------------------------------------------


def test_the_site_reads_its_participant(trial: Any) -> None:
    ivo = api("ada")
    one = ivo.get(f"/participants/{NUMBER}").json()
    assert (one["number"], one["arm"], one["site"]) == (NUMBER, "il2", 1)
    seen = ivo.get(f"/participants/{NUMBER}/forms/visit/entry:0").json()
    assert {field["item"] for field in seen["fields"]} == {"cd4", "hiv_rna", "on_art"}
    decision = ivo.get(f"/participants/{NUMBER}/decisions").json()[0]
    assert (decision["dose"], decision["accepted"], decision["flags"]) == (4.5, "yes", [])
    assert len(ivo.get(f"/participants/{NUMBER}/schedule").json()) > 3
    assert ivo.get(f"/participants/{NUMBER}/screening").json()["content_sha256"]
    assert ivo.get(f"/participants/{NUMBER}/proposal/aldesleukin").json()["content_sha256"]
    assert ivo.get("/tasks").status_code == 200


@pytest.mark.requirement("D9", "A11")
def test_who_is_blinded_reads_no_arm_and_nothing_that_tells_it(trial: Any) -> None:
    theo = api("theo")
    assert theo.get(f"/participants/{NUMBER}").json()["arm"] is None
    for part in ("/decisions", "/events", "/holds", "/proposal/aldesleukin", "/forms/visit/entry:0"):
        assert theo.get(f"/participants/{NUMBER}{part}").status_code == 403
    assert theo.get("/status").json()["ledger"] is None
    told = theo.get("/ledger", limit=1000).json()["entries"]
    assert told
    assert not any(entry["command"] in ("decision.take", "cycle.injections") for entry in told)
    assert not any("hash" in entry for entry in told)
    text = json.dumps(told)
    assert not [word for word in ("il2", "aldesleukin", '"150"') if word in text]


def test_the_ledger_is_read_a_page_at_a_time_without_gap_or_repeat(trial: Any) -> None:
    rosa = api("rosa")
    numbers: list[int] = []
    after = 0
    while True:
        page = rosa.get("/ledger", after=after, limit=25).json()
        numbers += [entry["n"] for entry in page["entries"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == entries()
    assert rosa.get("/ledger", limit=5000).status_code == 422


# --- meant to do harm -------------------------------------------------------------------------------------


@pytest.mark.requirement("D16", "D17")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_kept_as_they_are_and_do_nothing(trial: Any, text: str) -> None:
    from pathlib import Path

    ada = api("ada")
    answer = screen(ada, consent_version=text[:40])
    assert answer.status_code == 200
    number = answer.json()["participant"]
    failed = ada.post("screening.fail", participant=number, reason=text)
    assert failed.status_code == 200
    from equipoise.conduct.models import Participant

    kept = Participant.objects.get(number=number)
    assert kept.consent_version == text[:40]
    assert kept.failure_reason.startswith(text)
    shown = ada.get("/ledger", limit=1000, participant=number)
    assert shown["Content-Type"].startswith("application/json")
    assert shown["X-Content-Type-Options"] == "nosniff"
    item = {"item": "cd4_visit1", "text": text, "unit": "cells/mm3"}
    saved = ada.post(
        "form.save", participant=number, kind="screening", key="prestudy1", done_on=DAY_0, answers=[item],
        version=0,
    )  # fmt: skip
    assert saved.status_code == 422
    assert ada.get(f"/participants/{text.replace('/', '')}").status_code == 404
    assert not Path("/tmp/equipoise-was-here").exists()


def _places(inputs: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The inputs of a command, and those inside of them, each with where it stands."""
    yield at, inputs
    for name, field in inputs.model_fields.items():
        for inner in get_args(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _places(inner, (*at, name, 0))


@pytest.mark.requirement("D12")
def test_every_column_of_the_tables_that_a_command_does_not_ask_for_is_refused_by_it(trial: Any) -> None:
    """What is sent is right but for the one field: nothing else can be what was refused."""
    from django.apps import apps

    from equipoise.conduct.gateway import COMMANDS, Refused, perform

    tables = apps.get_app_config("conduct").get_models()
    columns = {one.name for table in tables for one in table._meta.concrete_fields}
    columns |= {"arm", "signed_by", "is_staff", "is_superuser"}
    assert len(columns) > 100
    before, tried, inside, ada = entries(), 0, 0, actor("ada")
    for name, found in COMMANDS.items():
        right = inputs_for(found.inputs, NUMBER)
        found.inputs.model_validate(right)
        for where, inputs in _places(found.inputs):
            for column in columns - set(inputs.model_fields):
                told = deepcopy(right)
                target = told
                for step in where:
                    target = target[step]
                target[column] = "x"
                with pytest.raises(Refused, match="Extra inputs are not permitted") as refused:
                    perform(name, ada, told)
                assert refused.value.field == ".".join(str(step) for step in (*where, column))
                tried, inside = tried + 1, inside + bool(where)
    assert tried > 4000
    assert inside > 200
    assert entries() == before


@pytest.mark.requirement("D12")
def test_the_api_refuses_a_field_that_no_command_asks_for_at_that_field(trial: Any) -> None:
    from equipoise.conduct.gateway import COMMANDS

    ada, before = api("ada"), entries()
    for name, found in COMMANDS.items():
        for field in {"arm", "signed_by", "status", "at"} - set(found.inputs.model_fields):
            answer = ada.post(name, **inputs_for(found.inputs, NUMBER), **{field: "x"})
            assert (answer.status_code, answer.json()["field"]) == (422, field), name
    assert entries() == before


def _screening(last: bytes) -> bytes:
    """A request to start screening, sound up to its last part."""
    return b'{"site": 1, "screened_on": "2026-03-02", "consent_on": "2026-03-02", ' + last + b"}"


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"", "Field required"), (b"{", "is not JSON"), (b"[]", "a valid dictionary"),
     (b"null", "a valid dictionary"), (b'"x"', "a valid dictionary"), (b"\xff\xfe", "is not JSON"),
     (b'{"site": NaN}', "NaN is not a number"), (b'{"site": 1e999}', "a number is too large"),
     (b"[" * 100_000, "nested too deeply"),
     (_screening(b'"consent_version": "a\\u0000b"'), "a text holds a NUL character"),
     (_screening(b'"consent_version": "\\ud800"'), "consent_version: Input should be a valid string"),
     (_screening(b'"consent_version": "1", "site": 1.5'), "site: Input should be a valid integer")],
)  # fmt: skip
def test_bodies_that_are_no_sound_json_are_refused_in_words(trial: Any, body: bytes, words: str) -> None:
    caller = api("ada")
    before = entries()
    answer = caller.client.post(
        "/api/commands/screening/start", body, content_type="application/json", headers=caller.headers
    )
    assert (answer.status_code, entries()) == (422, before), answer.content
    assert words in answer.json()["refused"]


def test_a_site_of_a_number_that_no_database_holds_does_not_exist(trial: Any) -> None:
    ada, before = api("ada"), entries()
    for number in (-1, 0, 10**6, 10**23):
        assert 400 <= screen(ada, site=number).status_code < 500
    assert entries() == before


def _asked(operation: Any, callers: list[Caller]) -> list[int]:
    """Status of what is made up from the description of an operation, sent by each caller."""
    from schemathesis import checks

    from equipoise.conduct.wsgi import application

    statuses: list[int] = []

    @given(case=operation.as_strategy())
    @settings(
        max_examples=2, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Any) -> None:
        for caller in callers:
            # a key of its own, so that what was made up for one command does not answer for another
            own = {"Idempotency-Key": str(uuid4())}
            headers = {**caller.headers, "Equipoise-Password": PASSWORD, **own}
            with clock.at(START + timedelta(hours=4)):
                answer = case.call(app=application, base_url="http://localhost", headers=headers)
            statuses.append(answer.status_code)
            case.validate_response(answer, checks=[checks.not_a_server_error])

    ask()
    return statuses


@pytest.mark.requirement("D16")
def test_whatever_the_schema_allows_is_answered_and_never_breaks_the_server(trial: Any) -> None:
    import schemathesis

    from equipoise.conduct.duties import MAY

    people = {name: api(name) for name in ("admin", "theo", "mona", "ina", "cas", "stan", "rosa")}
    held = {"admin": "administrator", "theo": "trial manager", "mona": "monitor", "ina": "investigator",
            "cas": "coordinator", "stan": "unblinded statistician", "rosa": "inspector"}  # fmt: skip
    described = people["theo"].get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    asked: list[int] = []
    wanted = sorted(schema.get_all_operations(), key=lambda one: "freeze" in one.ok().path)
    for result in wanted:
        operation = result.ok()
        name = operation.path.removeprefix("/api/commands/").replace("/", ".")
        callers = [
            people[one]
            for one, role in held.items()
            if role in MAY.get(name, ("coordinator", "trial manager"))
        ]

        asked += _asked(operation, callers[:2])
    assert len(asked) > 80
    assert {200, 403, 404, 422} <= set(asked)
