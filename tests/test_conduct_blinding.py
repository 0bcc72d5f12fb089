"""What a blinded role can learn: with the arms of two participants exchanged, every address that they may
open answers with the same bytes, although one of the two had a toxicity, an adverse event that was attributed
to the drug, a hold, cycles and questions about them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conduct_people import at_work
from conduct_samples import NOT_THERE, SAMPLES, routes
from conduct_treated import SILCAAT_CHECK, at, check, decide, event, in_silcaat, visit
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock, duties
from equipoise.conduct.folder import TrialFolder

DRUG = "aldesleukin"
TOXICITY, TOXIC_TERM = "toxicity", "fever and flu-like symptoms"
DAY0 = date(2026, 3, 3)
LOOKED_AT = datetime(2026, 6, 22, 12, tzinfo=UTC)
NUMBERS = ("001-0001-A", "001-0002-A")
BLINDED = {"theo": duties.MANAGER, "admin": duties.ADMINISTRATOR}
SERIOUS: dict[str, Any] = {
    "serious": True, "serious_because": "other important medical event",
    "aware_at": datetime(2026, 5, 2, 9, tzinfo=UTC),
}  # fmt: skip


def day(number: int) -> date:
    return DAY0 + timedelta(days=number)


def lived(arms: tuple[str, str]) -> None:
    """Two participants in these arms, to whom the same happens apart from their treatment."""
    with at(DAY0):
        both = [in_silcaat(DAY0, arm=arm, cd4=150.0, number=n) for n, arm in enumerate(arms, start=1)]
    for number, key in ((0, "entry:0"), (56, "year1:56")):
        for person, arm in zip(both, arms, strict=True):
            with at(day(number), hour=_hour(person)):
                visit(person, key, day(number), cd4=f"{160 + number}", hiv_rna="<50", on_art="yes")
                if arm == "il2":
                    check(person, DRUG, day(number), **SILCAAT_CHECK)
                    decide(person, DRUG, day(number))
    with at(day(61)):
        _treated(both[arms.index("il2")])
    for person, arm in zip(both, arms, strict=True):
        with at(day(69 + int(person.candidate)), hour=18):
            found = _fell_ill(person, arm)
        with at(day(70 + int(person.candidate))):
            do("query.open", "mona", participant=person.number, subject=found, text="how long was it?")
    with at(day(73)):
        asked = do("query.open", "mona", participant=both[0].number, text="please send the letter")
        do("query.answer", "ada", query=asked["query"], text="it is on its way")
        why = "moved away after the cycles" if arms[1] == "il2" else "moved away"
        do("disposition.record", "ada", participant=both[1].number, status="withdrew", on=day(69),
           reason=why)  # fmt: skip


def _hour(person: Any) -> int:
    """Each is seen at an hour of their own, so that everything has an order in time."""
    return 11 + int(person.candidate)


def _treated(person: Any) -> None:
    """What happens in the arm with the drug alone."""
    from equipoise.conduct.models import Decision

    number = person.number
    found = event(person, "2026-04", 3, kind=TOXICITY, term=TOXIC_TERM, cycle=1, **SERIOUS)
    do("query.open", "mona", participant=number, subject=found["event"], text="after which injection?")
    decision = Decision.objects.filter(participant=person).order_by("sequence").first()
    do("query.open", "mona", participant=number, subject=str(decision.id), text="why this dose?")
    do("hold.place", "ivo", participant=number, since=day(61), reason="the participant asked for a pause")
    do("medication.save", "ada", participant=number, drug="ibuprofen", started="2026-04")


def _fell_ill(person: Any, arm: str) -> str:
    """An adverse event, reported again: attributed to the drug in the arm that has one. Its identifier."""
    said: dict[str, Any] = {"term": "headache", "onset": "2026-05-01", "grade": 2, **SERIOUS}
    told: dict[str, Any] = {"attributed": False}
    found = event(person, attributed=None, **said)
    again = {"participant": person.number, "event": found["event"], "kind": "adverse_event"}
    if arm == "il2":
        told = {"attributed": True, "action_taken": "cycle interrupted", "cycle": 1}
    do("event.follow_up", "ada", **again, **said, **told)
    if arm == "il2":
        told["action_taken"] = "dose reduced"
        do("event.follow_up", "ada", **again, **said, **told)
    do("event.follow_up", "ada", **again, **said, **told, outcome="recovered", ended="2026-05-03")
    return str(found["event"])


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialFolder]:
    """The first participant has the drug."""
    with clock.at(START + timedelta(days=1)):
        folder = copied(tmp_path_factory.mktemp("blinding") / "trial")
        lived(("il2", "control"))
    with clock.at(LOOKED_AT):
        yield folder


# --- every address that they may open ---------------------------------------------------------------------


class Address(NamedTuple):
    """A name that is the same in both trials, of which route it is, and where it leads."""

    name: str
    route: str
    path: str


def _asked() -> dict[str, tuple[str, ...]]:
    """What the lists may be asked for."""
    from equipoise.conduct import opening
    from equipoise.conduct.reading.audit import FILTERS

    kinds = ("adverse_event", *opening.folder().protocol.events)
    since = "since=2026-03-01"
    audit = (
        since, f"{since}&reason=cycle", f"{since}&reason=moved", f"{since}&person=ivo",
        *(f"participant={number}" for number in NUMBERS), *(f"{since}&review={one}" for one in FILTERS),
        *(f"{since}&command={one}" for one in duties.MAY),
    )  # fmt: skip
    return {
        "today": ("kind=event", "kind=query", "site=1"),
        "participants": (
            *(f"event={kind}" for kind in kinds), "queries=1", "overdue=1", "status=withdrew", "q=0001",
            "visit=year1:56", "site=1",
        ),
        "safety": (*(f"kind={kind}" for kind in kinds), "which=serious", "which=going+on", "site=1"),
        "queries": ("state=all", "state=closed", "age=28", "site=1"),
        "overview": ("site=1", "site=2"),
        "audit": audit,
        "audit_csv": (since, f"{since}&reason=cycle"),
        "api:ledger": ("limit=1000", *(f"participant={number}&limit=1000" for number in NUMBERS)),
        "query_new": tuple(f"form={NOT_THERE}&item={item}" for item in ("cd4", "on_art")),
    }  # fmt: skip


FORMS = (
    ("screening", "prestudy1"), ("visit", "entry:0"), ("visit", "year1:56"), ("visit", "year1:112"),
    ("check", f"{DRUG}:{DAY0.isoformat()}"), ("update", f"{DAY0.isoformat()}:1"),
)  # fmt: skip


def _things(number: str) -> dict[str, list[str]]:
    """What somebody blinded may know of a participant, in an order that is the same in either arm."""
    from equipoise.conduct.models import Event, Form, Query

    events = Event.objects.filter(participant__number=number).exclude(kind=TOXICITY).order_by("number")
    queries = Query.objects.filter(participant__number=number, reveals_arm=False).order_by(
        "opened_at", "text"
    )
    forms = Form.objects.filter(participant__number=number, kind="visit").order_by("key")
    found = {"event": events, "query": queries, "form": forms}
    return {"hold": [NOT_THERE], **{name: [*(str(one.id) for one in rows), NOT_THERE]
                                    for name, rows in found.items()}}  # fmt: skip


def _opens(route: str, role: str) -> bool:
    from equipoise.conduct.access import RULES

    rule = RULES[route]
    own = route.startswith(("account_", "mfa_"))  # log-in and second factor: nothing of the trial
    reads = rule.scope != "participant" or role in duties.SEES_PARTICIPANTS
    return not own and reads and rule.scope not in ("open", "closed") and role in rule.roles


def addresses(role: str) -> list[Address]:
    """Every address that a role may open, for both participants and everything that is theirs."""
    from django.urls import reverse

    found = []
    for route in routes():
        if not _opens(route.name, role):
            continue
        for number in NUMBERS if {"number", "username"} & set(route.parameters) else NUMBERS[:1]:
            fixed = {name: SAMPLES[name](number) for name in route.parameters}
            fixed |= {"item": "cd4"} if "item" in fixed else {}
            choices: list[dict[str, Any]] = [fixed]
            for name in {"event", "query", "form", "hold"} & fixed.keys():
                choices = [{**fixed, name: value} for value in _things(number)[name]]
            if {"kind", "key"} <= fixed.keys():
                choices = [{**fixed, "kind": kind, "key": key} for kind, key in FORMS]
            for place, chosen in enumerate(choices):
                path = reverse(route.name, kwargs=chosen)
                for query in ("", *_asked().get(route.name, ())):
                    full = f"{path}?{query}" if query else path
                    found.append(Address(f"{route.name} {number} {place} {query}", route.name, full))
    return found


_CHANGING = (
    (rb'(csrfmiddlewaretoken" value="|X-CSRFToken": ")\w+', rb"\1"),
    (rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"id"),
    (rb'<td class="number">\d+ min', b"minutes of a session"),
)  # fmt: skip
"""What differs from one answer to the next, whoever asks."""


def _fixed(body: bytes) -> bytes:
    for pattern, instead in _CHANGING:
        body = re.sub(pattern, instead, body)
    return body


def served(who: str, at_addresses: list[Address]) -> dict[str, tuple[int, bytes]]:
    """What each address answers, but for what differs from one answer to the next."""
    from equipoise.conduct.models import Person

    client = at_work(who)
    Person.objects.update(last_login=None)  # that of the test, by the clock of the machine
    found = {}
    for one in at_addresses:
        answer = client.get(one.path)
        found[one.name] = answer.status_code, _fixed(answer.getvalue())
    return found


def test_the_addresses_are_all_those_that_the_rules_open_to_a_blinded_role(trial: TrialFolder) -> None:
    from equipoise.conduct.access import RULES

    opened = {one.route for one in addresses(duties.MANAGER)}
    wanted = {
        name for name, rule in RULES.items() if rule.scope != "person" and duties.MANAGER in rule.roles
    } - {name for name, rule in RULES.items() if rule.scope in ("open", "closed")}
    assert wanted <= opened
    assert {"event", "safety", "query", "chart", "overview", "api:ledger", "api:tasks"} <= opened
    answers = served("theo", addresses(duties.MANAGER))
    assert {name for name, (status, _) in answers.items() if status >= 500} == set()
    well = {name.split()[0] for name, (status, _) in answers.items() if status == 200}
    assert wanted - well <= {"history", "api:form"}


@pytest.mark.requirement("D9", "D10", "A11")
@pytest.mark.parametrize("who", BLINDED)
def test_exchanging_the_arms_changes_no_byte_for_whoever_is_blinded(
    trial: TrialFolder, tmp_path: Path, who: str
) -> None:
    from equipoise.conduct import opening

    def of(name: str, arms: tuple[str, str]) -> dict[str, tuple[int, bytes]]:
        with clock.at(START + timedelta(days=1)):
            copied(tmp_path / name)
            lived(arms)
        pages = served(who, addresses(BLINDED[who]))
        seen = [one for one in addresses(duties.MONITOR) if one.route in ("chart", "safety")]
        return pages | {f"mona: {name}": page for name, page in served("mona", seen).items()}

    try:
        as_it_is, exchanged = of("as it is", ("il2", "control")), of("exchanged", ("control", "il2"))
    finally:
        opening.use(trial)
    assert as_it_is.keys() == exchanged.keys()
    differing = {page for page in as_it_is if as_it_is[page] != exchanged[page]}
    assert {page for page in differing if not page.startswith("mona: ")} == set()
    assert {f"mona: chart {number} 0 " for number in NUMBERS} <= differing
    assert f"mona: safety {NUMBERS[0]} 0 kind={TOXICITY}" in differing


@pytest.mark.requirement("D9", "A11")
@pytest.mark.parametrize("who", BLINDED)
def test_kinds_of_event_that_tell_the_arm_do_not_exist_for_whoever_is_blinded(
    trial: TrialFolder, who: str
) -> None:
    from equipoise.conduct.reading.safety import hidden_kinds

    protocol = trial.protocol
    assert hidden_kinds(protocol) == {TOXICITY}
    words = re.compile(rf"\b{TOXICITY}\b|{protocol.events[TOXICITY].label}|{TOXIC_TERM}", re.I)
    told = ("trial", "api:openapi-json")  # the text of the protocol, and what the API can do
    asked = [one for one in addresses(BLINDED[who]) if one.route not in told and TOXICITY not in one.path]
    found = served(who, asked)
    assert [name for name, (_, body) in found.items() if words.search(body.decode())] == []
    assert words.search(at_work("mona").get("/safety/").content.decode())


@pytest.mark.requirement("D9", "A11")
def test_what_is_hidden_answers_as_what_is_not_there(trial: TrialFolder) -> None:
    """By its identifier or its number, on every page that names such a thing."""
    from django.urls import reverse

    from equipoise.conduct.models import Event, Form, Query

    person = NUMBERS[0]
    toxic = Event.objects.get(participant__number=person, kind=TOXICITY)
    hidden: dict[str, list[str]] = {
        "event": [str(toxic.id), str(toxic.number)],
        "query": [str(one.id) for one in Query.objects.filter(participant__number=person, reveals_arm=True)],
        "form": [str(one.id) for one in Form.objects.filter(participant__number=person, kind="check")],
    }
    assert all(hidden.values())
    client = at_work("theo")

    def answer(path: str) -> tuple[int, bytes]:
        found = client.get(path)
        return found.status_code, _fixed(found.getvalue())

    tried = 0
    for route in routes():
        if not _opens(route.name, duties.MANAGER):
            continue
        fixed = {name: SAMPLES[name](person) for name in route.parameters}
        for name in hidden.keys() & fixed.keys():
            missing = answer(reverse(route.name, kwargs={**fixed, name: NOT_THERE}))
            assert missing[0] == 404
            for value in hidden[name]:
                assert answer(reverse(route.name, kwargs={**fixed, name: value})) == missing, route.name
                tried += 1
    asking = f"/participant/{person}/queries/new/?form="
    assert {answer(asking + form) for form in hidden["form"]} == {answer(asking + NOT_THERE)}
    assert tried > 5


# --- one rule for all pages -------------------------------------------------------------------------------


@pytest.mark.requirement("A11")
def test_the_chart_the_list_the_page_and_the_tasks_know_the_same_events(trial: TrialFolder) -> None:
    from equipoise.conduct.access import Viewer
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.chart import chart
    from equipoise.conduct.reading.safety import events
    from equipoise.conduct.reading.tasks import tasks

    person = Participant.objects.select_related("site").get(number=NUMBERS[0])
    for who, terms in (("theo", {"headache"}), ("mona", {"headache", TOXIC_TERM})):
        viewer = Viewer(actor(who))
        known = events([person], viewer)
        assert {one.latest.term for one in known} == terms
        assert {mark.id for mark in chart(person, viewer).events} == {one.id for one in known}
        client = at_work(who)
        listed = client.get("/safety/").content.decode()
        for one in known:
            address = f"/participant/{person.number}/events/{one.id}/"
            assert address in listed
            assert f"event {one.number} of" in client.get(address).content.decode()
        waiting = {one.kwargs["event"] for one in tasks(viewer) if one.kind == "event"}
        assert waiting == {one.number for one in known}
    answered = at_work("mona").get(f"/api/participants/{person.number}/events").json()
    assert {one["versions"][-1]["term"] for one in answered} == terms


@pytest.mark.requirement("A11")
def test_an_event_has_one_number_for_everybody_and_no_gap_tells_of_another(trial: TrialFolder) -> None:
    from equipoise.conduct.access import Viewer
    from equipoise.conduct.models import Entry, Participant
    from equipoise.conduct.reading.safety import events

    everybody = Participant.objects.all()
    whole = {one.id: one.number for one in events(everybody, Viewer(actor("mona")))}
    for person in everybody:
        seen = events([person], Viewer(actor("theo")))
        assert [one.number for one in seen] == list(range(1, len(seen) + 1))
        assert all(whole[one.id] == one.number for one in seen)
    assert len(whole) == 3
    assert max(whole.values()) > 1000
    # the ledger writes the same numbers
    places = Entry.objects.filter(kind="event", participant=NUMBERS[0], reveals_arm=False)
    assert {place.split(":")[0] for place in places.values_list("place", flat=True)} == {"event 1"}


@pytest.mark.requirement("A11")
def test_a_report_that_says_nothing_but_what_is_hidden_is_not_there_either(trial: TrialFolder) -> None:
    from equipoise.conduct.access import Viewer
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.safety import events

    everybody = Participant.objects.order_by("number")
    told = [one for one in events(everybody, Viewer(actor("mona"))) if one.kind != TOXICITY]
    seen = events(everybody, Viewer(actor("theo")))
    assert [len(one.reports) for one in told] == [4, 3]
    assert [[report.version for report in one.reports] for one in seen] == [[1, 2], [1, 2]]
    assert [one.latest.outcome for one in seen] == ["recovered", "recovered"]
    assert {report.attributed for one in seen for report in one.reports} == {None}
    assert {report.action_taken for one in seen for report in one.reports} == {""}


@pytest.mark.requirement("A11")
def test_reasons_about_a_participant_are_not_told_to_whoever_is_blinded(trial: TrialFolder) -> None:
    def of(who: str, query: str) -> str:
        return str(at_work(who).get(f"/audit/?since=2026-03-01&{query}").content.decode())

    assert "moved away" in of("mona", "reason=moved")
    assert "moved away" not in of("theo", "command=disposition.record")
    assert "withdrew" in of("theo", "command=disposition.record")
    assert "No entry matches" in of("theo", "reason=moved")
    ledger = at_work("theo").get("/api/ledger?limit=1000").json()["entries"]
    about = [one for one in ledger if one["participant"]]
    assert about
    assert {one["reason"] for one in about} == {""}
    assert {one["row"] for one in about} == {0}
    assert "planned" in {one["reason"] for one in ledger}
