"""Who may open which address, and who may do what: every address and every command, for every role, at one's
own site and at another. What is expected is worked out here from the table of addresses, `access.RULES` and
`duties.MAY` alone, as the status of HTTP: 403 for what a role may not, 404 for what is another site's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

import pytest

from conduct_people import at_work, browser
from conduct_presses import ELSEWHERE, PRESSES
from conduct_samples import SAMPLES, Route, add_participant, address, inputs_for, routes
from conduct_treated import in_treatment
from conduct_trial import PASSWORD, START, actor, copied, do
from equipoise.conduct import clock, duties
from equipoise.conduct.folder import TrialFolder

OWN, OTHER = "001-0001-A", "002-0002-A"
"""Participants of site 1 and site 2."""


class Somebody(NamedTuple):
    username: str
    role: str
    site: int | None
    """None: at all sites."""


WHO = (
    Somebody("ada", duties.COORDINATOR, 1),
    Somebody("ivo", duties.INVESTIGATOR, 1),
    Somebody("pia", duties.PHARMACIST, 1),
    Somebody("mona", duties.MONITOR, None),
    Somebody("mia", duties.MONITOR, 1),
    Somebody("theo", duties.MANAGER, None),
    Somebody("stan", duties.STATISTICIAN, None),
    Somebody("admin", duties.ADMINISTRATOR, None),
    Somebody("rosa", duties.INSPECTOR, None),
    Somebody("ruth", duties.INSPECTOR, 1),
)
EVERYBODY = (None, *WHO)
"""None is whoever is not logged in."""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialFolder]:
    """A trial with a participant under treatment at each of two sites. The tests here only look."""
    with clock.at(START + timedelta(days=1)):
        made = copied(tmp_path_factory.mktemp("access") / "trial")
        for name, role in (("mia", duties.MONITOR), ("ruth", duties.INSPECTOR)):
            do("person.add", "admin", username=name, full_name=f"{name.title()} Example")
            do("duty.grant", "admin", username=name, role=role, site=1, since=START.date(),
               trained_on=START.date())  # fmt: skip
        from equipoise.conduct.models import Person

        Person.objects.update(
            must_change_password=False, password=Person.objects.get(username="ada").password
        )
        for number in (OWN, OTHER):
            in_treatment(number)
        for person in Person.objects.all():
            _second_factor(person)
        yield made


def _second_factor(person: Any) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(person, generate_totp_secret())
    RecoveryCodes.activate(person)


# --- every address ----------------------------------------------------------------------------------------


LOG_IN = 302
"""Whoever is not logged in is sent to log in by a page; the API answers 401."""
UNUSUAL: dict[str, tuple[int, int]] = {
    **{f"api:do {name}": (405, 422) for name in duties.MAY},
    "api:do audit.take": (405, 200),  # nothing has to be told
    **{
        f"api:{name}": (200, 405)
        for name in ("decisions", "events", "form", "holds", "ledger", "participant", "participants",
                     "proposal", "queries", "schedule", "screening", "status", "tasks")
    },
    "account": (200, 302),
    "account_inactive": (200, 405),
    "account_login": (302, 302),
    "account_logout": (200, 302),
    "draft": (405, 422),
    "mfa_activate_totp": (302, 302),  # to the password again
    "mfa_add_webauthn": (302, 302),
    "mfa_authenticate": (302, 302),
    "mfa_deactivate_totp": (302, 302),
    "mfa_download_recovery_codes": (302, 302),
    "mfa_edit_webauthn": (302, 302),
    "mfa_generate_recovery_codes": (302, 302),
    "mfa_index": (200, 405),
    "mfa_list_webauthn": (200, 405),
    "mfa_reauthenticate_webauthn": (302, 302),
    "mfa_remove_webauthn": (302, 302),
    "mfa_view_recovery_codes": (302, 405),
    "role": (200, 302),
    "tokens": (200, 422),
}  # fmt: skip
"""Address -> status of GET and of an empty POST for whoever is let in, where that is not 200 for both."""
LOGGED_OUT = {"account_login": (200, 200), "account_logout": (302, 302)}
"""The same where it differs for whoever is not logged in."""


def refusal(rule: Any, who: Somebody | None, site: int, name: str) -> int | None:
    """The status with which an address refuses somebody; None when it lets them in."""
    if rule.scope == "closed":
        return 404
    if rule.scope == "open":
        return None
    if who is None:
        return 401 if name.startswith("api:") else LOG_IN
    if rule.scope == "person":
        return None
    if rule.scope == "participant" and who.role not in duties.SEES_PARTICIPANTS:
        return 403
    if rule.scope in ("site", "participant") and who.site not in (None, site):
        return 404
    return None if who.role in rule.roles else 403


def answered(name: str, who: Somebody | None, method: str) -> int:
    """The status with which an address answers whom it lets in."""
    there = {**UNUSUAL, **LOGGED_OUT} if who is None else UNUSUAL
    return there.get(name, (200, 200))[method == "post"]


def numbers_for(who: Somebody | None) -> tuple[str, ...]:
    """A participant of one's own site and one of another; one will do where all sites are one's own."""
    return (OWN,) if who is None or who.site is None else (OWN, OTHER)


def first_let_in(route: Route, rule: Any) -> Somebody | Literal["nobody at all"] | None:
    """Somebody whom an address lets in; None is whoever is not logged in."""
    return next((who for who in EVERYBODY if refusal(rule, who, 1, route.name) is None), "nobody at all")


def test_every_address_has_a_rule_and_every_rule_an_address(trial: TrialFolder) -> None:
    from equipoise.conduct.access import RULES, rule_of

    names = {route.name for route in routes()}
    assert sorted(name for name in names if rule_of(name) is None) == []
    assert sorted(set(RULES) - names) == []


def test_nobody_proves_who_they_are_by_a_code_that_is_sent_to_them(trial: TrialFolder) -> None:
    from allauth.account.adapter import get_adapter
    from allauth.account.models import EmailAddress

    from equipoise.conduct.models import Person

    person = Person.objects.get(username="ada")
    address = EmailAddress.objects.create(user=person, email="ada@example.org", verified=True)
    ways = {one["id"] for one in get_adapter().get_reauthentication_methods(person)}
    address.delete()
    assert ways == {"reauthenticate", "mfa_reauthenticate"}


@pytest.mark.requirement("U2", "D11")
@pytest.mark.parametrize("who", EVERYBODY, ids=lambda one: f"{one.username}" if one else "nobody")
def test_every_address_answers_each_role_as_its_rule_says_at_one_s_own_site_and_at_another(
    trial: TrialFolder, who: Somebody | None
) -> None:
    from equipoise.conduct.access import rule_of

    client = browser() if who is None else at_work(who.username)
    client.raise_request_exception = False
    wrong = []
    for route in sorted(routes(), key=lambda one: one.name == "account_logout"):  # leaving comes last
        rule = rule_of(route.name)
        if route.name.startswith("api:do ") and who not in EVERYBODY[:2]:
            continue  # what each role is answered there is below
        for number in numbers_for(who) if {"number", "site"} & set(route.parameters) else (OWN,):
            made = address(route, number)
            refused = refusal(rule, who, int(number[:3]), route.name)
            for method in ("get", "post"):
                if method == "post" and refused is None and not sends(route, rule, who):
                    continue
                wanted = answered(route.name, who, method) if refused is None else refused
                told = {"content_type": "application/json", "data": "{}"} if "api:" in route.name else {}
                answer = client.get(made) if method == "get" else client.post(made, **told)
                if answer.status_code != wanted:
                    wrong.append(f"{method} {route.name} ({made}): {answer.status_code}, not {wanted}")
                if refused == LOG_IN and not answer["Location"].startswith("/account/login/?next="):
                    wrong.append(f"{method} {route.name} ({made}): leads to {answer['Location']}")
    assert not wrong, "\n".join(wrong)


def sends(route: Route, rule: Any, who: Somebody | None) -> bool:
    """Whether somebody who is let in sends something empty. What the pages take that have buttons is below; a
    page that only reads answers as if it were opened, which one person finds out."""
    if route.name in {one.route for one in PRESSES} - UNUSUAL.keys():
        return False
    return route.name in UNUSUAL or who == first_let_in(route, rule)


def refusal_of_command(name: str, inputs: Any, who: Somebody, site: int) -> int | None:
    """The status with which a command about something of a site refuses somebody; None when they may."""
    about = {"participant", "event", "query", "form", "hold", "flag"} & inputs.model_fields.keys()
    if (about or name == "screening.start") and who.site not in (None, site):
        return 404
    return None if who.role in duties.MAY[name] else 403


@pytest.mark.requirement("U2", "U8", "U9", "D11")
@pytest.mark.parametrize("who", WHO, ids=lambda one: one.username)
def test_every_page_refuses_what_is_sent_by_whom_the_command_is_not_for(
    trial: TrialFolder, who: Somebody
) -> None:
    from equipoise.conduct.access import RULES

    client = at_work(who.username)
    client.raise_request_exception = False
    addresses = {route.name: route for route in routes()}
    wrong = []
    for press in PRESSES:
        route = addresses[press.route]
        for number in numbers_for(who) if {"number", "site"} & set(route.parameters) else (OWN,):
            refused = refusal(RULES[press.route], who, int(number[:3]), press.route)
            if refused is None and who.role not in duties.MAY[press.command]:
                refused = 403
            wanted = press.then if refused is None else refused
            if wanted is None:
                continue  # it would be done
            answer = client.post(address(route, number), press.told(number))
            if answer.status_code != wanted:
                wrong.append(
                    f"{press.command} at {press.route}, {number}: {answer.status_code}, not {wanted}"
                )
    assert not wrong, "\n".join(wrong)


def test_every_command_is_pressed_on_a_page_or_given_elsewhere() -> None:
    assert {one.command for one in PRESSES} | ELSEWHERE == set(duties.MAY)
    assert not {one.command for one in PRESSES} & ELSEWHERE


@pytest.mark.requirement("U2", "U8", "U9", "D11")
@pytest.mark.parametrize("who", WHO, ids=lambda one: one.username)
def test_the_api_refuses_commands_of_other_roles_and_finds_nothing_at_other_sites(
    trial: TrialFolder, who: Somebody
) -> None:
    """Whoever may give a command is told that something is missing from what they sent."""
    from equipoise.conduct.gateway import COMMANDS
    from equipoise.conduct.models import Entry

    client = at_work(who.username)
    before = Entry.objects.count()
    wrong = []
    for name, command in COMMANDS.items():
        for number in numbers_for(who):
            wanted = refusal_of_command(name, command.inputs, who, int(number[:3]))
            told = {} if wanted is None else inputs_for(command.inputs, number)
            if wanted is None and not any(one.is_required() for one in command.inputs.model_fields.values()):
                continue  # it would be done
            answer = client.post(
                f"/api/commands/{name.replace('.', '/')}", json.dumps(told),
                content_type="application/json", headers={"Equipoise-Password": PASSWORD},
            )  # fmt: skip
            if answer.status_code != (wanted or 422):
                wrong.append(f"{name}, {number}: {answer.status_code}, not {wanted or 422}")
    assert not wrong, "\n".join(wrong)
    assert Entry.objects.count() == before


@pytest.mark.requirement("D13")
def test_nothing_is_taken_that_another_page_sends_in_a_person_s_name(trial: TrialFolder) -> None:
    """Each address is tried for somebody whom it lets in, so that only the missing token can refuse."""
    from equipoise.conduct.access import rule_of

    clients = {who: browser() if who is None else at_work(who.username) for who in EVERYBODY}
    for client in clients.values():
        client.handler.enforce_csrf_checks = True
    tried = 0
    for route in routes():
        rule = rule_of(route.name)
        who = next(
            (one for one in [*WHO, None] if refusal(rule, one, 1, route.name) is None), "nobody at all"
        )
        if who == "nobody at all" or UNUSUAL.get(route.name, (200, 200))[1] == 405:
            continue
        made = address(route, OWN)
        if route.name.startswith("api:"):
            answer = clients[who].post(made, "{}", content_type="application/json")
            words = b"CSRF"
        else:
            answer = clients[who].post(made, {"x": "y"})
            words = b"Load the page again"
        assert (answer.status_code, words in answer.content) == (403, True), route.name
        tried += 1
    assert tried > 70


def test_a_participant_who_is_not_there_answers_as_one_of_another_site(trial: TrialFolder) -> None:
    from equipoise.conduct.access import RULES

    client = at_work("ada")
    for route in routes():
        if RULES.get(route.name) is None or RULES[route.name].scope != "participant":
            continue
        strange = client.get(address(route, OTHER))
        missing = client.get(address(route, "001-0999-Z"))
        assert (strange.status_code, missing.status_code) == (404, 404)
        hide = re.compile(rb"\d{1,2}:\d\d|value=\"[^\"]*\"|X-CSRFToken[^}]*|datetime=\"[^\"]*\"")
        assert hide.sub(b"", strange.content) == hide.sub(b"", missing.content)


@pytest.mark.requirement("D11")
def test_what_belongs_to_a_participant_is_not_found_under_another_s_number(trial: TrialFolder) -> None:
    from django.urls import reverse

    client = at_work("mona")
    for route in routes():
        for thing in {"event", "query", "form", "hold"} & set(route.parameters):
            if "number" in route.parameters:
                given = {name: SAMPLES[name](OWN) for name in route.parameters}
                given[thing] = SAMPLES[thing](OTHER)
                assert client.get(reverse(route.name, kwargs=given)).status_code == 404, (route.name, thing)


# --- every command ----------------------------------------------------------------------------------------


@pytest.mark.requirement("U8", "U9")
def test_who_reads_writes_nothing_and_no_sponsor_writes_what_belongs_to_a_site() -> None:
    own = {"token.issue", "token.revoke", "audit.take"}
    for name, roles in duties.MAY.items():
        if name not in own | {"randomization.resume"}:
            assert not roles & duties.READS_ONLY, name
    of_sites = {
        name
        for name, roles in duties.MAY.items()
        if roles & duties.AT_SITES and name not in own | {"query.open"}
    }
    for name in of_sites:
        assert duties.MAY[name] <= duties.AT_SITES, name


# --- what cannot be ---------------------------------------------------------------------------------------

TRAPS = ("²", "٣", "9" * 3000, "9999999999999999999", "9999-12-31", "0001-01-01", "20260301", "٢٠٢٦-٠٣-٠١")
"""Digits that are no numbers, numbers that nothing can hold, days with which nothing can be reckoned."""
ASKED = (
    "site", "age", "days", "page", "since", "until", "on", "visit", "stratum", "level", "item", "kind",
    "person", "q",
)  # fmt: skip


@pytest.mark.requirement("D16")
@pytest.mark.parametrize("trap", TRAPS, ids=range(len(TRAPS)))
def test_numbers_and_days_that_cannot_be_break_no_page(trial: TrialFolder, trap: str) -> None:
    """Asked for in every list, and named in every address."""
    from urllib.parse import urlencode

    from django.urls import NoReverseMatch, reverse

    from equipoise.conduct.access import RULES

    client = at_work("mona")
    client.raise_request_exception = False
    broken = []
    for route in routes():
        if not _reads(RULES[route.name], route.name):
            continue
        fixed = {name: SAMPLES[name](OWN) for name in route.parameters}
        tried = [f"{reverse(route.name, kwargs=fixed)}?{urlencode(dict.fromkeys(ASKED, trap))}"]
        for name in route.parameters:
            for given in _named(name, trap):
                try:
                    tried.append(reverse(route.name, kwargs={**fixed, **given}))
                except NoReverseMatch:
                    continue
        broken += [path[:200] for path in tried if client.get(path).status_code >= 500]
    assert broken == []


def _reads(rule: Any, name: str) -> bool:
    own = name.startswith(("account_", "mfa_", "api:do "))
    return not own and rule.scope != "closed" and duties.MONITOR in rule.roles


def _named(name: str, trap: str) -> list[dict[str, str]]:
    """Ways to name a trap as this parameter."""
    if name != "key":
        return [{name: trap[:200]}]
    keys = (("check", f"aldesleukin:{trap}"), ("update", f"{trap}:1"), ("visit", f"year1:{trap}"))
    return [{"kind": kind, "key": key[:200]} for kind, key in keys]


@pytest.mark.requirement("D12")
def test_no_command_takes_a_day_or_a_moment_with_which_nothing_can_be_reckoned(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import COMMANDS, Refused, perform

    days = ("0001-01-01", "9999-12-31", "1899-12-31", "2200-01-01")
    moments = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z")
    tried = set()
    for name, command in COMMANDS.items():
        for field, shape in command.inputs.model_json_schema()["properties"].items():
            formats = {one.get("format") for one in (shape, *shape.get("anyOf", ()))}
            traps = days if "date" in formats else moments if "date-time" in formats else ()
            for trap in traps:
                with pytest.raises(Refused, match=r"the year [0-9]+ cannot be") as refused:
                    perform(name, actor("ada"), {**inputs_for(command.inputs, OWN), field: trap})
                assert refused.value.field == field
                tried.add((name, field))
    assert ("event.report", "aware_at") in tried
    assert ("form.save", "done_on") in tried
    answer = {"item": "cd4", "text": "1", "measured_on": "9999-12-31"}
    with pytest.raises(Refused, match="the year 9999 cannot be"):
        perform(
            "form.save", actor("ada"), {**inputs_for(COMMANDS["form.save"].inputs, OWN), "answers": [answer]}
        )


@pytest.mark.requirement("D12")
@pytest.mark.parametrize("field", ["participant", "onset", "ended"])
def test_digits_of_other_scripts_are_refused(trial: TrialFolder, field: str) -> None:
    from equipoise.conduct.gateway import COMMANDS, Refused, perform

    given = inputs_for(COMMANDS["event.report"].inputs, OWN)
    other = {"participant": "٠٠١-٠٠٠١-A", "onset": "٢٠٢٦-٠٣", "ended": "٢٠٢٦"}
    with pytest.raises(Refused, match=r"pattern") as refused:
        perform("event.report", actor("ada"), {**given, field: other[field]})
    assert refused.value.field.startswith(field)


@pytest.mark.parametrize("stated", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "²"])
def test_the_clock_of_a_rehearsal_is_set_to_no_moment_that_cannot_be(trial: TrialFolder, stated: str) -> None:
    answer = at_work("mona").get("/", headers={"Equipoise-Now": stated.encode().decode("latin-1")})
    assert answer.status_code == 400


# --- duties that must be apart, and that end --------------------------------------------------------------


@pytest.fixture
def other(tmp_path: Any) -> Iterator[TrialFolder]:
    """A trial that a test may change."""
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


def _grant(name: str, role: str, site: int | None, since: date, until: date | None = None) -> None:
    do("duty.grant", "admin", username=name, role=role, site=site, since=since, until=until,
       trained_on=START.date())  # fmt: skip


@pytest.mark.requirement("U1")
def test_nobody_is_given_two_duties_that_must_be_apart_at_whatever_sites(other: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    do("person.add", "admin", username="pat", full_name="Pat Example")
    since = START.date()
    for one, another in duties.FORBIDDEN_PAIRS:
        for first, second in ((one, another), (another, one)):
            since += timedelta(days=40)
            until = since + timedelta(days=30)
            _grant("pat", first, 1 if first in duties.AT_SITES else None, since, until)
            with pytest.raises(Refused, match=f"{one} and {another} at the same time"):
                _grant("pat", second, 2 if second in duties.AT_SITES else None, until, until)
    _grant("pat", second, None, until + timedelta(days=1))


def test_whoever_is_blinded_may_have_no_duty_that_sees_the_arm() -> None:
    apart = {frozenset(pair) for pair in duties.FORBIDDEN_PAIRS}
    blinded = set(duties.ROLES) - duties.SEES_ARM
    assert blinded == {duties.MANAGER, duties.ADMINISTRATOR}
    for one in blinded:
        for other in duties.SEES_ARM:
            assert frozenset({one, other}) in apart, (one, other)


@pytest.mark.requirement("D9", "D11")
@pytest.mark.parametrize("role", [duties.ADMINISTRATOR, duties.MANAGER])
def test_a_duty_for_all_sites_widens_no_other(other: TrialFolder, role: str) -> None:
    """Who is monitor of site 2, and by a mistake has a blinded duty for the whole trial as well, sees the arm
    at site 2 alone; and no participant of another site unless the other duty shows them."""
    from equipoise.conduct.access import Viewer
    from equipoise.conduct.models import Duty, Entry, Event, EventVersion, Hold, Person, Query
    from equipoise.conduct.reading import audit, chart, overview, participants, safety, tasks

    for number in (OWN, OTHER):
        person = add_participant(number)
        toxic = Event.objects.create(participant=person, number=1001, kind="toxicity")
        EventVersion.objects.create(
            event=toxic, version=1, term="depressed mood", onset="2026-03", serious=True, person="ada",
            at=clock.now(), aware_at=clock.now(), attributed=None,
        )  # fmt: skip
        Query.objects.create(participant=person, text="why?", reveals_arm=True, state=Query.ANSWERED,
                             opened_by="mona", opened_at=clock.now(), changed_at=clock.now())  # fmt: skip
        Hold.objects.create(participant=person, since=START.date(), reason="fever", person="ivo")
    first = Entry.objects.order_by("n").first()
    for n, (number, site) in enumerate(((OWN, 1), (OTHER, 2)), start=100_000):
        first.n, first.site, first.participant, first.reveals_arm = n, site, number, True
        first.kind, first.command, first.reason, first.hash = "hold", "hold.place", "because", f"{n}"
        first.save(force_insert=True)
    do("person.add", "admin", username="pat", full_name="Pat Example")
    pat = Person.objects.get(username="pat")
    Person.objects.filter(pk=pat.pk).update(must_change_password=False)
    for held, site in ((duties.MONITOR, 2), (role, None)):
        Duty.objects.create(person=pat, role=held, site_id=site, since=START.date(), granted_at=clock.now(),
                            trained_on=START.date(), granted_by="admin")  # fmt: skip
    viewer = Viewer(actor("pat"))
    seen = [OWN, OTHER] if role == duties.MANAGER else [OTHER]
    everybody = viewer.participants()
    assert [one.number for one in everybody] == seen
    assert [viewer.sees_arm_at(one) for one in (1, 2, None)] == [False, True, False]
    told = {(one.participant, one.kind) for one in safety.events(everybody, viewer)}
    assert told == {(number, "adverse_event") for number in seen} | {(OTHER, "toxicity")}
    assert [one.number for one in participants.chosen(viewer, participants.Wanted(event="toxicity"))] == [
        OTHER
    ]
    held = {one.participant.number: (one.held, one.queries) for one in participants.lines(everybody, viewer)}
    assert held == {number: (number == OTHER, 1 + (number == OTHER)) for number in seen}
    found = overview.overview(viewer.sites_of_participants(), everybody, viewer)
    assert {one.kind: one.participants for one in found.events}["toxicity"] == 1
    assert [one.number for one in found.sites] == ([1, 2, 3] if role == duties.MANAGER else [2])
    about = {one.participant for one in tasks.tasks(viewer) if one.kind in ("event", "query")}
    assert about == {OTHER}
    entries = audit.visible(viewer).filter(n__gte=100_000)
    assert [(line.participant, line.reason, line.n) for line in audit.lines(entries, viewer)] == [
        (OTHER, "because", None)
    ]
    assert {one.site for one in audit.visible(viewer).exclude(participant="")} == {2}
    for person in everybody:
        assert bool(chart.chart(person, viewer).holds) == (person.number == OTHER)
    client = at_work("pat")
    for path in ("/labs/", "/safety/", "/queries/?state=all", "/participants/", "/overview/", "/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert role == duties.MANAGER or OWN not in answer.content.decode(), path
    assert "Northfield" not in client.get("/labs/").content.decode()
    assert client.get(f"/participant/{OWN}/").status_code == (200 if role == duties.MANAGER else 404)
    assert client.get(f"/participant/{OWN}/randomise/").status_code in (403, 404)


@pytest.mark.requirement("U3")
def test_a_duty_needs_training_before_it_and_dates_in_order(other: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, Refused

    today = START.date() + timedelta(days=1)
    do("person.add", "admin", username="pat", full_name="Pat Example")
    given = {"username": "pat", "role": duties.MONITOR, "site": 1, "since": today}
    with pytest.raises(Refused, match="training"):
        do("duty.grant", "admin", **given, trained_on=today + timedelta(days=1))
    with pytest.raises(Refused, match="before it begins"):
        do("duty.grant", "admin", **given, trained_on=today, until=today - timedelta(days=1))
    do("duty.grant", "admin", **given, trained_on=today)
    with pytest.raises(Conflict, match="already"):
        do("duty.grant", "admin", **given, trained_on=today)


@pytest.mark.requirement("U3")
def test_when_a_delegation_ends_entry_is_refused_and_the_pages_close(other: TrialFolder) -> None:
    """Policy: whoever's delegation has ended reads no more; the rights of the past stay in the report."""
    from equipoise.conduct.gateway import COMMANDS, NotAllowed, NotFound, perform

    add_participant(OWN)
    today = START.date() + timedelta(days=1)
    do("person.add", "admin", username="pat", full_name="Pat Example")
    _grant("pat", duties.COORDINATOR, 1, today, today + timedelta(days=7))
    from equipoise.conduct.models import Person

    Person.objects.filter(username="pat").update(must_change_password=False)
    client = at_work("pat")
    assert client.get("/people/site/1/").status_code == 200
    with clock.at(START + timedelta(days=8)):
        assert client.get("/people/site/1/").status_code == 200
    with clock.at(START + timedelta(days=9)):
        assert client.get("/people/site/1/").status_code == 404
        assert client.get("/own/").status_code == 200
        for name, command in COMMANDS.items():
            if duties.COORDINATOR in duties.MAY[name]:
                with pytest.raises((NotAllowed, NotFound)):
                    perform(name, actor("pat"), inputs_for(command.inputs, OWN))


def test_a_role_that_was_chosen_gives_never_more_than_the_duties(other: TrialFolder) -> None:
    from equipoise.conduct.gateway import NotAllowed, perform

    today = START.date() + timedelta(days=1)
    _grant("ivo", duties.COORDINATOR, 1, today)
    client = at_work("ivo")
    assert client.post("/own/role/", {"role": duties.COORDINATOR}).status_code == 302
    assert client.session["role"] == duties.COORDINATOR
    assert client.post("/own/role/", {"role": duties.ADMINISTRATOR}).status_code == 422
    assert client.session["role"] == duties.COORDINATOR
    with pytest.raises(NotAllowed):
        perform("person.add", actor("ivo", role=duties.ADMINISTRATOR), {"username": "pat", "full_name": "P"})
    session = client.session
    session["role"] = duties.ADMINISTRATOR
    session.save()
    assert client.get("/people/").status_code == 403
