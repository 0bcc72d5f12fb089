"""Endpoints are derived as the tables say."""

from __future__ import annotations

import re

import pytest
from dosing_cases import trial, whole
from tables import HERE, Case, cases

from equipoise.errors import UserError
from equipoise.rules.endpoints import (
    CENSORED,
    COMPETING,
    EVENT,
    RecordedEvent,
    derive,
    last_known,
    time_to_event,
)

CASES = cases(HERE / "endpoints.md")
STATUS = {"censored": CENSORED, "event": EVENT, "competing": COMPETING}
WRITTEN = re.compile(r"(?P<kind>\w+)@(?P<day>-?\d+)(?: \((?P<term>\w+)\))?(?P<mark>[*-]?)")


def of_section(name: str) -> list[Case]:
    return [case for case in CASES if case.section == name]


def events(text: str) -> list[RecordedEvent]:
    return [
        RecordedEvent(m["kind"], int(m["day"]), m["term"] or "", m["mark"] == "*", m["mark"] == "-")
        for m in WRITTEN.finditer(text)
    ]


@pytest.mark.parametrize("case", of_section("From days to an endpoint"), ids=str)
def test_days_give_the_endpoint_of_the_table(case: Case) -> None:
    found = derive(
        whole(case.cell("event")),
        whole(case.cell("competing")),
        int(case.cell("last known")),
        int(case.cell("cut-off")),
    )
    assert found == (int(case.cell("day")), STATUS[case.cell("status")])


@pytest.mark.parametrize("case", of_section("From the events on record"), ids=str)
def test_events_give_the_endpoint_of_the_table(case: Case) -> None:
    protocol, name = trial("example"), case.cell("endpoint")
    cutoff = int(case.cell("cut-off"))
    known = last_known(protocol.endpoints[name], int(case.cell("last contact")), case.cell("left by"), cutoff)
    found = time_to_event(protocol, name, events(case.cell("events")), known, cutoff)
    assert found == (int(case.cell("day")), STATUS[case.cell("status")])


def test_an_endpoint_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match='no endpoint "cure"; it has: primary, disease'):
        time_to_event(trial("example"), "cure", [], 10, 10)
