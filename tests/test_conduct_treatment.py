"""Dosing decisions on real participants: proposed by the rules, taken and signed by an investigator, never
changed; cycles with their injections; holds; flags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_treated import SILCAAT_CHECK, at, check, decide, event, form, in_silcaat, proposal, visit
from conduct_trial import START, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

DAY0 = date(2026, 3, 3)
DRUG = "aldesleukin"
CD4 = {56: "year1:56", 112: "year1:112", 168: "year1:168", 224: "year1:224", 280: "year1:280", 336: "year1:336"}


def day(number: int) -> date:
    return DAY0 + timedelta(days=number)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


def _cycle(person: Any, number: int, cd4: str = "160") -> dict[str, Any]:
    """A visit with its count, the check, and the decision, all on one day."""
    on = day(number)
    with at(on):
        if number in CD4:
            visit(person, CD4[number], on, cd4=cd4, hiv_rna="<50", on_art="yes")
        check(person, DRUG, on, **SILCAAT_CHECK)
        return dict(decide(person, DRUG, on))


@pytest.mark.requirement("K3", "K4", "I9", "D30")
def test_a_course_with_escalation_toxicity_hold_and_a_corrected_count(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Cycle, Decision, Flag, Hold, Query

    person = in_silcaat(DAY0, cd4=150)
    assert proposal(person, DRUG, DAY0).known.situation.goal == 275
    first = _cycle(person, 0)
    assert (first["action"], first["dose"], first["cycle"]) == ("start", 4.5, 1)
    _cycle(person, 56)
    _cycle(person, 112)
    raised = _cycle(person, 168)
    assert (raised["action"], raised["dose"]) == ("escalate", 6.0)
    with at(day(172)):
        event(person, day(170), 3, cycle=4)
    lowered = _cycle(person, 224)
    assert (lowered["action"], lowered["dose"]) == ("reduce", 4.5)
    with at(day(250)):
        form(person, "update", f"{day(250)}:1", day(250), pregnant="yes")
    hold = Hold.objects.get(participant=person)
    assert (hold.hold, hold.since, hold.until) == ("pregnancy", day(250), None)
    with at(day(280)):
        visit(person, CD4[280], day(280), cd4="170", hiv_rna="<50", on_art="yes")
        check(person, DRUG, day(280), **{**SILCAAT_CHECK, "pregnant": "yes"})
        assert decide(person, DRUG, day(280))["action"] == "hold"
        assert Cycle.objects.filter(participant=person).count() == 5
    with at(day(290)):
        form(person, "update", f"{day(290)}:1", day(290), pregnant="no")
    hold.refresh_from_db()
    assert hold.until == day(290)
    before = list(Decision.objects.filter(participant=person).order_by("sequence").values())
    assert not Flag.objects.exists()
    with at(day(291)):
        visit(person, CD4[168], day(168), "source corrected", cd4="260")
    flag = Flag.objects.get()
    assert flag.decision.on == day(168)
    assert flag.what == "CD4 count from 160 cells/mm3 (day 168) to 260 cells/mm3 (day 168)"
    assert flag.differs
    assert flag.corrected_action == 1
    query = Query.objects.get(rule="decision changed")
    assert query.reveals_arm
    assert flag.what in query.text
    assert list(Decision.objects.filter(participant=person).order_by("sequence").values()) == before
    with at(day(292)):
        do("flag.settle", "ivo", flag=flag.id, text="the dose had been raised too early; reported")
    query.refresh_from_db()
    assert query.state == "closed"
