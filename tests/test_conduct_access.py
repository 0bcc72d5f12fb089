"""Who may open which address, and who may do what: every address and every command, for every role, at one's
own site and at another. The expectation is worked out here from the tables alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

import pytest

from conduct_people import at_work, browser
from conduct_samples import NOT_THERE, SAMPLES, add_participant, address, routes
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock, duties
from equipoise.conduct.folder import TrialFolder

OWN, OTHER = "001-0001-A", "002-0002-B"
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


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialFolder]:
    """A trial with a participant at each of two sites. The tests here only look."""
    with clock.at(START + timedelta(days=1)):
        made = copied(tmp_path_factory.mktemp("access") / "trial")
        for name, role in (("mia", duties.MONITOR), ("ruth", duties.INSPECTOR)):
            do("person.add", "admin", username=name, full_name=f"{name.title()} Example")
            do("duty.grant", "admin", username=name, role=role, site=1, since=START.date(),
               trained_on=START.date())  # fmt: skip
        from equipoise.conduct.models import Person

        Person.objects.update(must_change_password=False)
        for number in (OWN, OTHER):
            add_participant(number)
        for person in Person.objects.all():
            _second_factor(person)
        yield made


def _second_factor(person: Any) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(person, generate_totp_secret())
    RecoveryCodes.activate(person)


# --- every address ----------------------------------------------------------------------------------------


def expected(rule: Any, who: Somebody | None, site: int) -> str:
    """ "in", "log in", "not allowed" or "not there"."""
    if rule.scope == "closed":
        return "not there"
    if rule.scope == "open":
        return "in"
    if who is None:
        return "log in"
    if rule.scope == "person":
        return "in"
    if rule.scope == "participant" and who.role not in duties.SEES_PARTICIPANTS:
        return "not allowed"
    if rule.scope in ("site", "participant") and who.site not in (None, site):
        return "not there"
    return "in" if who.role in rule.roles else "not allowed"


def outcome(answer: Any, there: bool) -> str:
    """What an answer was, in the same words."""
    status = answer.status_code
    if status == 401 or (status == 302 and answer["Location"].startswith("/account/login/")):
        return "log in"
    if status == 403:
        return "not allowed"
    if status == 404:
        return "not there" if there else "in"
    return "in" if status < 400 or status in (405, 409, 422) else f"status {status}"


def test_every_address_has_a_rule_and_every_rule_an_address(trial: TrialFolder) -> None:
    from equipoise.conduct.access import RULES, rule_of

    names = {route.name for route in routes()}
    assert sorted(name for name in names if rule_of(name) is None) == []
    assert sorted(set(RULES) - names) == []


@pytest.mark.requirement("U2", "D11")
@pytest.mark.parametrize("who", [*WHO, None], ids=lambda one: f"{one.username}" if one else "nobody")
def test_every_address_opens_to_whom_its_rule_says_at_one_s_own_site_and_not_at_another(
    trial: TrialFolder, who: Somebody | None
) -> None:
    from equipoise.conduct.access import rule_of

    client = browser() if who is None else at_work(who.username)
    client.raise_request_exception = False
    wrong = []
    for route in routes():
        rule = rule_of(route.name)
        if rule is None:
            wrong.append(f"{route.name}: has no rule")
            continue
        at_sites = who is not None and who.site is not None and {"number", "site"} & set(route.parameters)
        numbers = (OWN, OTHER) if at_sites else (OWN,)
        for number in numbers:
            made, there = address(route, number)
            wanted = expected(rule, who, int(number[:3]))
            got = outcome(client.get(made), there or wanted == "not there")
            if got != wanted and not (wanted == "in" and rule.scope == "open"):
                wrong.append(f"{route.name} ({made}): {wanted} was expected, but: {got}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.requirement("D13")
def test_no_page_takes_what_another_site_sends_in_a_person_s_name(trial: TrialFolder) -> None:
    from equipoise.conduct.access import rule_of

    client = at_work("admin")
    client.handler.enforce_csrf_checks = True
    for route in routes():
        rule = rule_of(route.name)
        if rule is not None and rule.scope != "closed" and not route.name.startswith("api:"):
            assert client.post(address(route, OWN)[0], {"x": "y"}).status_code == 403, route.name


def test_a_participant_who_is_not_there_answers_as_one_of_another_site(trial: TrialFolder) -> None:
    from equipoise.conduct.access import RULES

    client = at_work("ada")
    for route in routes():
        if RULES.get(route.name) is None or RULES[route.name].scope != "participant":
            continue
        strange = client.get(address(route, OTHER)[0])
        missing = client.get(address(route, "001-0999-Z")[0])
        assert (strange.status_code, missing.status_code) == (404, 404)
        hide = re.compile(rb"\d{1,2}:\d\d|value=\"[^\"]*\"|X-CSRFToken[^}]*|datetime=\"[^\"]*\"")
        assert hide.sub(b"", strange.content) == hide.sub(b"", missing.content)


@pytest.mark.requirement("D11")
def test_what_belongs_to_a_participant_is_not_found_under_another_s_number(trial: TrialFolder) -> None:
    from django.urls import reverse

    client = at_work("mona")
    for route in routes():
        for thing in {"event", "query", "form", "hold"} & set(route.parameters):
            if "number" in route.parameters and SAMPLES[thing](OTHER).there:
                given = {name: SAMPLES[name](OWN).value for name in route.parameters}
                given[thing] = SAMPLES[thing](OTHER).value
                assert client.get(reverse(route.name, kwargs=given)).status_code == 404, (route.name, thing)


# --- every command ----------------------------------------------------------------------------------------

_TEXTS = {
    "participant": OWN, "username": "pia", "role": duties.PHARMACIST, "protocol_sha256": "0" * 64,
    "zone": "UTC", "started": "2026-01", "onset": "2026-01", "regimen": "aldesleukin", "kind": "screening",
}  # fmt: skip


def _given(model: Any) -> dict[str, Any]:
    """Inputs of the right form for a command, about participant `OWN` and site 1."""
    schema = model.model_json_schema()
    shapes = schema.get("$defs", {})

    def value(name: str, shape: dict[str, Any]) -> Any:
        shape = shapes[shape["$ref"].rsplit("/", 1)[1]] if "$ref" in shape else shape
        kind = shape.get("type")
        if "enum" in shape or "const" in shape:
            return shape.get("const", shape.get("enum", [None])[0])
        if "anyOf" in shape:
            return value(name, shape["anyOf"][0])
        if kind == "object":
            return {
                key: value(key, one)
                for key, one in shape.get("properties", {}).items()
                if key in shape.get("required", ())
            }
        if kind == "array":
            return [value(name, shape["items"])] if shape.get("minItems") else []
        if kind in ("integer", "number"):
            return max(1, shape.get("minimum", 1))
        if kind == "boolean":
            return False
        if shape.get("format") == "date":
            return "2026-03-03"
        if shape.get("format") == "date-time":
            return "2026-03-03T09:00:00Z"
        if shape.get("format") == "uuid":
            return NOT_THERE
        return _TEXTS.get(name, "x" * max(3, shape.get("minLength", 3)))

    return {
        name: value(name, shape)
        for name, shape in schema["properties"].items()
        if name in schema.get("required", ())
    }


@pytest.mark.requirement("U1", "U8", "U9")
def test_no_role_can_do_what_the_table_does_not_give_it_and_nothing_is_recorded(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import COMMANDS, NotAllowed, NotFound, perform
    from equipoise.conduct.models import Entry

    before = Entry.objects.count()
    for name, command in COMMANDS.items():
        given = command.inputs.model_validate(_given(command.inputs))
        for who in WHO:
            if who.role in duties.MAY[name]:
                continue
            with pytest.raises((NotAllowed, NotFound)):
                perform(name, actor(who.username), given)
    assert Entry.objects.count() == before


@pytest.mark.requirement("U2", "D11")
def test_at_another_site_a_command_finds_nothing(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import COMMANDS, NotFound, perform
    from equipoise.conduct.models import Entry

    before = Entry.objects.count()
    for name, command in COMMANDS.items():
        given = _given(command.inputs)
        strange = {"participant": OTHER, "site": 2, **{
            thing: str(SAMPLES[thing](OTHER).value) for thing in ("event", "query", "form", "hold")
        }}  # fmt: skip
        if name.startswith("duty.") or not strange.keys() & given.keys():
            continue
        given.update({key: value for key, value in strange.items() if key in given})
        for who in WHO:
            if who.role in duties.MAY[name] and who.site == 1:
                with pytest.raises(NotFound, match=r"nothing of that name|there is no"):
                    perform(name, actor(who.username), given)
    assert Entry.objects.count() == before


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
        fixed = {name: SAMPLES[name](OWN).value for name in route.parameters}
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
                    perform(name, actor("ada"), {**_given(command.inputs), field: trap})
                assert refused.value.field == field
                tried.add((name, field))
    assert ("event.report", "aware_at") in tried
    assert ("form.save", "done_on") in tried
    answer = {"item": "cd4", "text": "1", "measured_on": "9999-12-31"}
    with pytest.raises(Refused, match="the year 9999 cannot be"):
        perform("form.save", actor("ada"), {**_given(COMMANDS["form.save"].inputs), "answers": [answer]})


@pytest.mark.requirement("D12")
@pytest.mark.parametrize("field", ["participant", "onset", "ended"])
def test_digits_of_other_scripts_are_refused(trial: TrialFolder, field: str) -> None:
    from equipoise.conduct.gateway import COMMANDS, Refused, perform

    given = _given(COMMANDS["event.report"].inputs)
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
                    perform(name, actor("pat"), _given(command.inputs))


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
