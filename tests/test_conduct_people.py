"""People: log-in, second factor, lock-out, idle time-out, drafts, tokens, rights on any date."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_people import at_work, browser, code, log_in, set_up_authenticator
from conduct_trial import PASSWORD, START, actor, copied, do
from equipoise.conduct import clock, duties, opening
from equipoise.conduct.folder import TrialFolder


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


def entries(since: int = 0) -> list[tuple[str, str]]:
    """(what happened, to whom) of the entries about accounts after entry `since`."""
    from equipoise.conduct.models import Entry

    found = Entry.objects.filter(kind="account", n__gt=since).order_by("n")
    return [(one.field, json.loads(one.new or "{}")["person"]) for one in found]


def last_entry() -> int:
    from equipoise.conduct.models import Chain

    return int(Chain.objects.get(id=1).n)


def person(name: str) -> Any:
    from equipoise.conduct.models import Person

    return Person.objects.get(username=name)


# --- log-in and the second factor -------------------------------------------------------------------------


@pytest.mark.requirement("A6", "D14")
def test_log_in_failed_log_in_and_log_out_are_one_entry_each_and_the_key_of_the_session_changes(
    trial: TrialFolder,
) -> None:
    client = browser()
    client.get("/account/login/")
    session = client.session
    session["x"] = 1
    session.save()
    before = session.session_key
    assert log_in(client, "pia", "wrong").status_code == 200
    assert log_in(client, "Pia").status_code == 302
    assert client.session.session_key not in (before, None)
    assert client.get("/").status_code == 200
    client.post("/account/logout/")
    assert client.get("/").status_code == 302
    assert entries() == [("failed log-in", "pia"), ("log-in", "pia"), ("log-out", "pia")]


@pytest.mark.requirement("A6")
def test_no_password_stands_in_the_ledger_or_beside_it_even_when_typed_as_a_name(trial: TrialFolder) -> None:
    from axes.models import AccessAttempt

    from equipoise.conduct.models import Entry

    client = browser()
    log_in(client, "hunter2-typed-as-name", "hunter3-as-password")
    log_in(client, "pia", "hunter3-as-password")
    kept = json.dumps([list(Entry.objects.values()), list(AccessAttempt.objects.values())], default=str)
    assert "hunter" not in kept
    assert entries()[0] == ("failed log-in", "somebody not known here")


@pytest.mark.requirement("A6", "D14")
def test_the_first_log_in_leads_to_a_password_of_one_s_own_and_a_second_factor(trial: TrialFolder) -> None:
    first = do("person.add", "admin", username="pat", full_name="Pat Example")["password"]
    do("duty.grant", "admin", username="pat", role="investigator", site=1, since=START.date(),
       trained_on=START.date())  # fmt: skip
    client = browser()
    assert log_in(client, "pat", first).status_code == 302
    for page in ("/", "/own/", "/account/second-factor/"):
        assert client.get(page)["Location"] == "/account/password/change/"
    changed = {
        "oldpassword": first,
        "password1": "four quiet herons wait",
        "password2": "four quiet herons wait",
    }
    same = client.post("/account/password/change/", {**changed, "password1": first, "password2": first})
    assert b"choose another one" in same.content
    assert client.post("/account/password/change/", changed).status_code == 302
    assert log_in(client, "pat", first).status_code == 200
    assert log_in(client, "pat", "four quiet herons wait").status_code == 302
    for page in ("/", "/own/", "/account/second-factor/totp/deactivate/"):
        assert client.get(page)["Location"] == "/account/second-factor/"
    secret = set_up_authenticator(client)
    assert client.get("/").status_code == 200
    assert client.get("/own/").wsgi_request.actor.second_factor
    assert [what for what, _ in entries()] == [
        "log-in", "password change", "log-out", "failed log-in", "log-in", "second factor added",
        "second factor added",
    ]  # fmt: skip
    again = browser()
    assert log_in(again, "pat", "four quiet herons wait")["Location"].endswith("/authenticate/")
    assert again.get("/").status_code == 302
    wrong = again.post("/account/second-factor/authenticate/", {"code": "000000"})
    assert wrong.status_code == 200
    assert b"Incorrect code" in wrong.content
    assert again.post("/account/second-factor/authenticate/", {"code": code(secret, 1)}).status_code == 302
    assert again.get("/own/").wsgi_request.actor.second_factor


@pytest.mark.requirement("U7")
def test_a_session_without_a_second_factor_cannot_do_what_needs_one(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "admin")
    assert client.get("/people/")["Location"] == "/account/second-factor/"
    plain = at_work("admin", second_factor=False)
    answer = plain.post("/people/", {"username": "pat", "full_name": "Pat Example"})
    assert answer.status_code == 403
    assert b"second factor" in answer.content
    assert at_work("admin").post("/people/", {"username": "pat", "full_name": "Pat"}).status_code == 200


@pytest.mark.requirement("A6", "U7")
def test_whoever_removes_the_last_second_factor_has_none_in_this_session_and_no_tokens(
    trial: TrialFolder,
) -> None:
    client = browser()
    log_in(client, "admin")
    set_up_authenticator(client)
    answer = client.post("/own/tokens/", {"label": "reports", "days": "9", "scopes": ["read"]})
    token = re.search(r"equipoise_[\w-]+", answer.content.decode())
    assert token is not None
    from equipoise.conduct.tokens import actor_of_token

    assert actor_of_token(token.group(0), "api") is not None
    since = last_entry()
    assert client.post("/account/second-factor/totp/deactivate/").status_code == 302
    assert ("second factor removed", "admin") in entries(since)
    assert actor_of_token(token.group(0), "api") is None
    assert client.get("/people/")["Location"] == "/account/second-factor/"
    assert not client.get("/account/second-factor/").wsgi_request.actor.second_factor


def test_the_secret_of_an_authenticator_is_enciphered_in_the_database(trial: TrialFolder) -> None:
    from allauth.mfa.models import Authenticator

    client = browser()
    log_in(client, "ivo")
    secret = set_up_authenticator(client)
    assert secret not in json.dumps(list(Authenticator.objects.values("data")))


def test_a_recovery_code_lets_in_once(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "ivo")
    set_up_authenticator(client)
    shown = client.get("/account/second-factor/recovery-codes/").content.decode()
    recovery = re.findall(r"<code>(\w+)</code>", shown)[0]
    for expected in (302, 200):
        again = browser()
        log_in(again, "ivo")
        answer = again.post("/account/second-factor/authenticate/", {"code": recovery})
        assert answer.status_code == expected


@pytest.mark.requirement("T4", "A6")
def test_nobody_gets_in_while_the_clock_is_set_back_and_is_told_so(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Chain

    before = Chain.objects.values().get(id=1)
    client = browser()
    with clock.at(START - timedelta(days=2)):
        answer = log_in(client, "pia")
        assert answer.status_code == 422
        assert "he clock of the server went backwards" in answer.content.decode()
        assert client.get("/").status_code == 302
    assert Chain.objects.values().get(id=1) == before


@pytest.mark.requirement("A6")
def test_nobody_gets_in_while_the_ledger_cannot_be_written_and_is_told_so(trial: TrialFolder) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER full BEFORE INSERT ON conduct_entry BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    client = browser()
    right = log_in(client, "pia")
    wrong = log_in(client, "pia", "wrong")
    for answer in (right, wrong):
        assert answer.status_code == 503
        assert b"the ledger cannot be written" in answer.content.lower()
    assert client.get("/").status_code == 302
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER full")
    assert log_in(client, "pia").status_code == 302


@pytest.mark.requirement("D14")
def test_all_sessions_end_with_the_password_and_with_the_account(trial: TrialFolder) -> None:
    one, other = browser(), browser("192.0.2.2")
    log_in(one, "pia")
    log_in(other, "pia")
    assert other.get("/").status_code == 200
    new = "four quiet herons wait"
    wrong = {"oldpassword": "wrong", "password1": new, "password2": new}
    assert b"not your password" in one.post("/account/password/change/", wrong).content
    one.post("/account/password/change/", {**wrong, "oldpassword": PASSWORD})
    assert one.get("/").status_code == 302
    assert other.get("/").status_code == 302
    log_in(other, "pia", new)
    assert other.get("/").status_code == 200
    do("person.deactivate", "admin", username="pia", reason="left the site")
    assert other.get("/").status_code == 302
    from equipoise.conduct.accounts import sessions_of

    assert sessions_of(person("pia")) == []
    log_in(other, "pia", new)
    assert other.get("/").status_code == 302


def test_a_person_sees_their_sessions_and_ends_the_others(trial: TrialFolder) -> None:
    one, other = browser(), browser("192.0.2.2")
    log_in(one, "pia")
    log_in(other, "pia")
    page = one.get("/own/").content.decode()
    assert "192.0.2.1" in page
    assert "192.0.2.2" in page
    one.post("/own/")
    assert one.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert ("sessions ended", "pia") in entries()


# --- lock-out ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("D15", "U5", "A6")
def test_five_failures_lock_the_name_at_that_address_only(trial: TrialFolder) -> None:
    attacker, doctor = browser("203.0.113.9"), browser("192.0.2.1")
    for name in ("ivo", "IVO", "ivo", " Ivo "):
        assert log_in(attacker, name, "guess").status_code == 200
    fifth = log_in(attacker, "ivo", "guess")
    assert fifth.status_code == 429
    assert b"Wait 15 minutes" in fifth.content
    assert log_in(attacker, "ivo").status_code == 429
    assert log_in(attacker, "pia", "wrong").status_code == 200
    assert log_in(doctor, "ivo").status_code == 302
    assert entries().count(("failed log-in", "ivo")) == 5
    assert entries().count(("lock-out", "ivo")) == 1


@pytest.mark.requirement("D15", "U5")
def test_wrong_codes_of_the_second_factor_lock_as_wrong_passwords_do(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "ivo")
    secret = set_up_authenticator(client)
    attacker = browser("203.0.113.9")
    log_in(attacker, "ivo")
    statuses = [
        attacker.post("/account/second-factor/authenticate/", {"code": f"00000{n}"}).status_code
        for n in range(5)
    ]
    assert statuses == [200, 200, 200, 200, 429]
    right = attacker.post("/account/second-factor/authenticate/", {"code": code(secret)})
    assert right.status_code == 429
    assert attacker.get("/").status_code == 302


@pytest.mark.requirement("S4", "D15")
def test_wrong_passwords_at_signing_count_as_failed_log_ins_and_end_the_session(trial: TrialFolder) -> None:
    from django.test import RequestFactory

    from equipoise.conduct.proving import proved

    def request() -> Any:
        made = RequestFactory().post("/", {"narrative": "clinical words"}, REMOTE_ADDR="192.0.2.1")
        made.user, made.session = person("ivo"), client.session
        return made

    client = at_work("ivo")
    assert proved(request(), PASSWORD)
    assert [proved(request(), "guess") for _ in range(5)] == [False] * 5
    assert not proved(request(), PASSWORD)
    assert client.get("/").status_code == 302
    assert log_in(browser("192.0.2.1"), "ivo").status_code == 429
    assert log_in(browser("192.0.2.7"), "ivo").status_code == 302
    assert entries().count(("failed log-in", "ivo")) == 5
    from axes.models import AccessAttempt

    assert "clinical" not in json.dumps(list(AccessAttempt.objects.values()), default=str)


@pytest.mark.requirement("U5")
def test_behind_the_proxy_the_address_is_what_the_proxy_wrote_last(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.test import RequestFactory

    from equipoise.conduct.accounts import client_address, lockout_address

    def seen(forwarded: str) -> str:
        return client_address(
            RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": forwarded})
        )

    assert seen("198.51.100.7") == "127.0.0.1"
    monkeypatch.setenv(opening.TLS_VARIABLE, "1")
    assert seen("198.51.100.7") == "198.51.100.7"
    assert seen("10.0.0.1, 198.51.100.7") == "198.51.100.7"
    assert seen("198.51.100.7, <script>") == "127.0.0.1"
    monkeypatch.delenv(opening.TLS_VARIABLE)
    ward = [f"2001:db8:1:2:{n}::1" for n in (1, 2)]
    assert len({lockout_address(RequestFactory().get("/", REMOTE_ADDR=one)) for one in ward}) == 1


# --- idle -------------------------------------------------------------------------------------------------


def _leave_idle(client: Any, minutes: float) -> None:
    session = client.session
    session["seen"] = session.get("seen", session["began"]) - minutes * 60
    session.save()


@pytest.mark.requirement("U6", "A6")
def test_an_idle_session_ends_at_the_server_and_what_was_typed_is_offered_again(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "pia")
    _leave_idle(client, 19)
    assert client.get("/").status_code == 200
    _leave_idle(client, 21)
    sent_from = {"Referer": "http://localhost/own/"}
    late = client.post(
        "/own/role/", {"note": "two pages of text", "password": "x", "code": "y"}, headers=sent_from
    )
    assert late["Location"] == "/account/login/?next=%2Fown%2F"
    assert client.get("/").status_code == 302
    assert entries()[-1] == ("session ended, idle", "pia")
    log_in(client, "pia")
    kept = client.post("/drafts/", {"do": "give", "page": "/own/"}, content_type="application/json").json()
    assert kept["content"] == {"note": ["two pages of text"]}


def test_no_session_stays_open_for_a_whole_day_however_busy(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "pia")
    session = client.session
    session["began"] -= 12 * 3600 + 1
    session.save()
    assert client.get("/").status_code == 302
    assert entries()[-1] == ("session ended, too long", "pia")


@pytest.mark.requirement("U6")
def test_drafts_are_kept_for_their_person_alone_and_forgotten_when_the_form_is_taken(
    trial: TrialFolder,
) -> None:
    ivo, ada = at_work("ivo"), at_work("ada")

    def send(client: Any, **told: Any) -> Any:
        return client.post("/drafts/", {"page": "/own/tokens/", **told}, content_type="application/json")

    assert send(ivo, do="keep", content={"label": ["for the ward"]}).json() == {"kept": True}
    assert send(ada, do="give").json() == {"content": None}
    sent_from = {"Referer": "http://localhost/own/tokens/"}
    refused = ivo.post("/own/tokens/", {"label": "x", "days": "0", "scopes": ["read"]}, headers=sent_from)
    assert refused.status_code == 422
    assert send(ivo, do="give").json()["content"] == {"label": ["for the ward"]}
    ivo.post("/own/tokens/", {"label": "x", "days": "9", "scopes": ["read"]}, headers=sent_from)
    assert send(ivo, do="give").json() == {"content": None}
    for content in ({"password": ["x"]}, {"a": "x"}, ["x"], None):
        assert send(ivo, do="keep", content=content).status_code == 422
    assert send(ivo, do="keep", page="/account/login/", content={"a": ["x"]}).json() == {"kept": False}
    assert send(ivo, do="keep", page="//elsewhere.example/", content={"a": ["x"]}).json() == {"kept": False}
    assert ivo.get("/drafts/").status_code == 405


@pytest.mark.requirement("U6")
def test_what_a_page_sends_by_itself_shows_nobody_at_the_keyboard(trial: TrialFolder) -> None:
    client = browser()
    log_in(client, "pia")
    _leave_idle(client, 19)
    seen = client.session["seen"]
    body = {"do": "keep", "page": "/own/", "content": {"note": ["x"]}}
    by_itself = {"Equipoise-Automatic": "1"}
    assert (
        client.post("/drafts/", body, content_type="application/json", headers=by_itself).status_code == 200
    )
    assert client.session["seen"] == seen
    client.post("/drafts/", body, content_type="application/json")
    assert client.session["seen"] > seen
    _leave_idle(client, 21)
    client.get("/own/", headers=by_itself)
    assert client.get("/").status_code == 302


def test_pages_of_a_session_are_kept_in_no_cache(trial: TrialFolder) -> None:
    assert "no-store" in at_work("pia").get("/own/")["Cache-Control"]


# --- duties and rights ------------------------------------------------------------------------------------


def _seeded() -> None:
    """A history: pat is coordinator from day 1, revoked on day 10; quinn is deactivated on day 20."""
    with clock.at(START + timedelta(days=1)):
        for name in ("pat", "quinn"):
            do("person.add", "admin", username=name, full_name=f"{name.title()} Example")
            do("duty.grant", "admin", username=name, role="coordinator", site=1,
               since=date(2026, 2, 1), trained_on=date(2026, 1, 20))  # fmt: skip
    from equipoise.conduct.models import Duty

    duty = Duty.objects.get(person__username="pat")
    with clock.at(START + timedelta(days=10)):
        do("duty.revoke", "admin", duty=duty.id, reason="moved to another ward")
    with clock.at(START + timedelta(days=20)):
        do("person.deactivate", "admin", username="quinn", reason="left the hospital")


@pytest.mark.requirement("U4")
def test_the_rights_of_any_past_date_are_those_that_were_in_force_then(trial: TrialFolder) -> None:
    _seeded()
    with clock.at(START + timedelta(days=30)):
        client = at_work("admin")
        for days, holders in (
            (-10, set()), (0, set()), (1, {"pat", "quinn"}), (9, {"pat", "quinn"}), (10, {"pat", "quinn"}),
            (11, {"quinn"}), (20, {"quinn"}), (21, set()), (30, set()),
        ):  # fmt: skip
            day = (START + timedelta(days=days)).date()
            answer = client.get(f"/people/rights/?on={day}")
            shown = {name for name in ("pat", "quinn") if f">{name}<" in answer.content.decode()}
            assert shown == holders, day
        assert client.get("/people/rights/?on=3/4/26").status_code == 422


@pytest.mark.requirement("U4", "U3")
def test_the_delegation_log_keeps_everybody_with_who_granted_and_who_ended_and_why(
    trial: TrialFolder,
) -> None:
    _seeded()
    with clock.at(START + timedelta(days=30)):
        page = at_work("ivo").get("/people/site/1/").content.decode()
    for words in ("Pat Example", "moved to another ward", "left the hospital", "Ada Example", "admin"):
        assert words in page
    assert "Cas Example" not in page


@pytest.mark.requirement("U3", "A6")
def test_a_revoked_duty_ends_at_once(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict
    from equipoise.conduct.models import Duty

    client = at_work("mona")
    assert client.get("/people/site/2/").status_code == 200
    duty = Duty.objects.get(person__username="mona")
    do("duty.revoke", "admin", duty=duty.id, reason="end of the contract")
    assert client.get("/people/site/2/").status_code == 404
    with pytest.raises(Conflict):
        do("duty.revoke", "admin", duty=duty.id, reason="end of the contract")


@pytest.mark.requirement("U3", "A6")
def test_a_revoked_duty_ends_at_once_where_it_is_still_the_day_before(trial: TrialFolder) -> None:
    """In New York it is the evening of the day that has passed in the zone of the trial."""
    from equipoise.conduct.gateway import NotFound, duties_on
    from equipoise.conduct.models import Duty, Site

    west = Site.objects.get(number=2)
    today = {
        "site": 2,
        "screened_on": date(2026, 3, 3),
        "consent_on": date(2026, 3, 3),
        "consent_version": "1",
    }
    with clock.at(datetime(2026, 3, 4, 2, tzinfo=UTC)):
        do("screening.start", "cas", **today)
    with clock.at(datetime(2026, 3, 4, 2, 1, tzinfo=UTC)):
        for duty in Duty.objects.filter(person__username="cas"):
            do("duty.revoke", "admin", duty=duty.id, reason="left the site")
        assert duties_on(person("cas"), clock.now(), west) == []
        with pytest.raises(NotFound):
            do("screening.start", "cas", **today)
        before = clock.now() - timedelta(seconds=1)
        assert [one.role for one in duties_on(person("cas"), before, west)] == ["coordinator"]


def test_the_only_administrator_stays(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict
    from equipoise.conduct.models import Duty

    duty = Duty.objects.get(person__username="admin")
    with pytest.raises(Conflict, match="only administrator"):
        do("person.deactivate", "admin", username="admin", reason="leaves")
    with pytest.raises(Conflict, match="only administrator"):
        do("duty.revoke", "admin", duty=duty.id, reason="leaves")
    do("person.add", "admin", username="pat", full_name="Pat Example")
    do(
        "duty.grant",
        "admin",
        username="pat",
        role="administrator",
        since=START.date(),
        trained_on=START.date(),
    )
    do("person.deactivate", "admin", username="admin", reason="leaves")


@pytest.mark.requirement("S6")
def test_a_name_is_never_used_again_and_its_signatures_stay(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict

    do("person.deactivate", "admin", username="pia", reason="left the site")
    with pytest.raises(Conflict, match="never used again"):
        do("person.add", "admin", username="pia", full_name="Another Example")


@pytest.mark.requirement("A6")
@pytest.mark.parametrize("by", ["admin", "the server itself"])
def test_whose_log_in_was_reset_is_told_by_message_and_on_the_next_page(trial: TrialFolder, by: str) -> None:
    from equipoise.conduct import rescue
    from equipoise.conduct.models import Outbox, Person

    do(
        "person.add", "admin", username="una", full_name="Una Example", email="una@example.org",
    )  # fmt: skip
    assert Person.objects.get(username="una").email == "una@example.org"
    if by == "admin":
        first = do("person.reset", "admin", username="una", reason="lost the telephone")["password"]
    else:
        first = rescue.new_password("una")
    words = "Your log-in was reset " + ("by admin" if by == "admin" else "on the server itself")
    assert Outbox.objects.get(to="una@example.org").body.startswith(words)
    client = browser()
    assert log_in(client, "una", first).status_code == 302
    assert words in client.get("/account/password/change/").content.decode()
    other = browser()
    assert log_in(other, "una", first).status_code == 302
    assert words not in other.get("/account/password/change/").content.decode()


@pytest.mark.requirement("A6", "A12")
def test_a_password_hashed_with_an_older_setting_lets_in_and_is_changed_by_no_log_in(
    trial: TrialFolder,
) -> None:
    from django.contrib.auth.hashers import make_password

    from equipoise.conduct import rescue, verifying

    kept = make_password(PASSWORD, hasher="pbkdf2_sha256")
    rescue.set_password(person("ada"), kept)
    assert log_in(browser(), "ada").status_code == 302
    assert person("ada").password == kept
    assert verifying.verify(trial) == []


@pytest.mark.requirement("A6")
def test_a_password_given_on_the_machine_ends_sessions_and_tokens(trial: TrialFolder) -> None:
    from equipoise.conduct import rescue, tokens

    client = at_work("ada")
    token = do("token.issue", "ada", label="our own list", scopes=["read"], days=30)["token"]
    assert tokens.actor_of_token(token, "api") is not None
    assert client.get("/").status_code == 200
    rescue.new_password("ada")
    assert tokens.actor_of_token(token, "api") is None
    assert client.get("/").status_code == 302


@pytest.mark.requirement("A6")
def test_a_log_in_that_is_lost_is_reset_by_another_administrator_only(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed
    from equipoise.conduct.models import Entry

    client = browser()
    log_in(client, "ivo")
    set_up_authenticator(client)
    first = do("person.reset", "admin", username="ivo", reason="lost the telephone")["password"]
    assert client.get("/own/").status_code == 302
    assert log_in(client, "ivo").status_code == 200
    assert log_in(client, "ivo", first).status_code == 302
    assert client.get("/")["Location"] == "/account/password/change/"
    assert first not in json.dumps(list(Entry.objects.values("old", "new", "reason")))
    with pytest.raises(NotAllowed, match="another administrator"):
        do("person.reset", "admin", username="admin", reason="lost the telephone")


@pytest.mark.requirement("U4")
def test_a_review_of_access_is_recorded_with_the_hash_of_what_was_looked_through(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry

    client = at_work("admin")
    assert client.post("/people/rights/", {"note": "all still at work"}).status_code == 302
    entry = Entry.objects.latest("n")
    assert (entry.command, entry.reason, json.loads(entry.new)["rights"]) == (
        "access.review", "all still at work", 10,
    )  # fmt: skip
    assert "all still at work" in client.get("/people/rights/").content.decode()


@pytest.mark.requirement("A6")
def test_the_pages_add_grant_revoke_reset_and_close(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Duty

    client = at_work("admin")
    added = client.post("/people/", {"username": "pat", "full_name": "Pat Example", "request_key": "one"})
    assert b"First password" in added.content
    again = client.post("/people/", {"username": "pat", "full_name": "Pat Example", "request_key": "one"})
    assert b"cannot be shown again" in again.content
    page = "/people/account/pat/"
    given = {"do": "duty.grant", "role": "investigator", "since": "today", "trained_on": "1 mar 2026"}
    refused = client.post(page, given)
    assert refused.status_code == 422
    assert b"has a site" in refused.content
    assert client.post(page, {**given, "site": "1"}).status_code == 302
    duty = Duty.objects.get(person__username="pat")
    assert client.post(page, {"do": "duty.revoke", "duty": duty.id, "reason": "a mistake"}).status_code == 302
    assert b"First password" in client.post(page, {"do": "person.reset", "reason": "lost it"}).content
    assert client.post(page, {"do": "person.deactivate", "reason": "left"}).status_code == 302
    assert not person("pat").is_active
    assert client.post(page, {"do": "site.close", "reason": "left"}).status_code == 422
    assert client.get("/people/account/nobody/").status_code == 404
    reader = at_work("rosa")
    shown = reader.get(page).content.decode()
    assert "a mistake" in shown
    assert "Grant a duty" not in shown
    assert reader.post(page, {"do": "person.reset", "reason": "lost it"}).status_code == 403


# --- tokens -----------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_kept_as_a_hash_and_does_what_its_scopes_name(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, perform
    from equipoise.conduct.models import Request, Token
    from equipoise.conduct.tokens import actor_of_token

    issued = do("token.issue", "theo", key="k", label="reports", scopes=["trial.places", "read"], days=30)
    text = issued["token"]
    again = do("token.issue", "theo", key="k", label="reports", scopes=["trial.places", "read"], days=30)
    assert "token" not in again
    kept = json.dumps([list(Token.objects.values()), list(Request.objects.values())], default=str)
    assert text not in kept
    found = actor_of_token(text, "api 192.0.2.1")
    assert found is not None
    assert (found.person.username, found.second_factor, found.proved) == ("theo", True, False)
    perform("trial.places", found, {"places": 1800, "reason": "more sites"})
    with pytest.raises(NotAllowed, match="token does not allow"):
        perform("trial.freeze", found, {"reason": "look at the data"})
    all_of_it = actor_of_token(do("token.issue", "theo", label="all", scopes=["all"])["token"], "api")
    assert all_of_it is not None
    with pytest.raises(NotAllowed, match="cannot issue"):
        perform("token.issue", all_of_it, {"label": "x", "scopes": ["all"]})
    assert actor_of_token(text[:-1] + "x", "api") is None
    assert actor_of_token("", "api") is None


@pytest.mark.requirement("U7")
def test_a_token_needs_a_second_factor_and_only_duties_that_its_owner_has(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, Refused, perform

    with pytest.raises(NotAllowed, match="second factor"):
        perform("token.issue", actor("theo", second_factor=False), {"label": "x", "scopes": ["read"]})
    with pytest.raises(Refused, match="none of your duties"):
        do("token.issue", "pia", label="x", scopes=["trial.places"])
    with pytest.raises(Refused, match="no command"):
        do("token.issue", "theo", label="x", scopes=["trial.sell"])


def test_a_token_ends_with_its_days_when_revoked_and_with_its_owner(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotFound
    from equipoise.conduct.tokens import actor_of_token

    issued = do("token.issue", "pia", label="x", scopes=["read"], days=10)
    with clock.at(START + timedelta(days=10)):
        assert actor_of_token(issued["token"], "api") is not None
    with clock.at(START + timedelta(days=11)):
        assert actor_of_token(issued["token"], "api") is None
    with pytest.raises(NotFound):
        do("token.revoke", "theo", token=issued["id"])
    do("token.revoke", "pia", token=issued["id"])
    assert actor_of_token(issued["token"], "api") is None
    other = do("token.issue", "pia", label="y", scopes=["read"])["token"]
    do("person.deactivate", "admin", username="pia", reason="left the site")
    assert actor_of_token(other, "api") is None


@pytest.mark.requirement("S4")
def test_a_token_signs_only_with_the_password_of_its_owner_and_wrong_ones_count(trial: TrialFolder) -> None:
    from django.contrib.auth.models import AnonymousUser
    from django.test import RequestFactory

    from equipoise.conduct.tokens import actor_of_token

    text = do("token.issue", "ivo", label="x", scopes=["all"])["token"]

    def proved(password: str) -> bool:
        request = RequestFactory().post(
            "/", headers={"Equipoise-Password": password}, REMOTE_ADDR="192.0.2.5"
        )
        request.user = AnonymousUser()
        found = actor_of_token(text, "api", request)
        assert found is not None
        return found.proved

    assert proved(PASSWORD)
    assert [proved(PASSWORD + "x") for _ in range(5)] == [False] * 5
    assert not proved(PASSWORD)
    assert entries().count(("lock-out", "ivo")) == 1


def test_whose_duties_need_a_second_factor_is_read_off_the_table(
    trial: TrialFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from equipoise.conduct.accounts import wants_second_factor

    def wanted() -> set[str]:
        names = ("ada", "ivo", "pia", "mona", "theo", "stan", "rosa", "admin")
        return {name for name in names if wants_second_factor(person(name))}

    assert wanted() == {"ada", "ivo", "theo", "stan", "admin"}
    monkeypatch.setattr(duties, "SECOND_FACTOR", frozenset({"item.verify", "cycle.injections"}))
    assert wanted() == {"ada", "ivo", "pia", "mona"}


def test_passwords_are_kept_as_the_manual_says() -> None:
    # In a process of its own: those of the tests are hashed with less work.
    program = (
        "from django.conf import settings; settings.configure()\n"
        "from equipoise.conduct.hashing import PasswordHasher\n"
        "print(PasswordHasher().encode('correct horse battery', 'saltsaltsalt'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
