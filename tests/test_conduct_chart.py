"""The chart of a participant: where they are, what came, what comes next; and nothing that tells the arm to
those who do not see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_treated import SILCAAT_CHECK, at, check, decide, event, form, in_silcaat, visit
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

DAY0 = date(2026, 3, 3)
DRUG = "aldesleukin"


def day(number: int) -> date:
    return DAY0 + timedelta(days=number)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[TrialFolder]:
    with clock.at(START + timedelta(days=1)):
        yield copied(tmp_path / "trial")


def _chart(person: Any, who: str) -> Any:
    from equipoise.conduct.access import Viewer
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.chart import chart

    found = Participant.objects.select_related("site").get(id=person.id)
    return chart(found, Viewer(actor(who)))


def _treated(number: int = 1) -> Any:
    """Two months of a participant with interleukin-2."""
    person = in_silcaat(DAY0, number=number)
    with at(DAY0):
        visit(person, "entry:0", DAY0, cd4="150", hiv_rna="<50", on_art="yes")
        check(person, DRUG, DAY0, **SILCAAT_CHECK)
        decide(person, DRUG, DAY0)
    with at(day(6)):
        do("cycle.injections", "ada", participant=person.number, regimen=DRUG, cycle=1, version=0,
           injections=[{"number": k, "state": "given" if k < 9 else "missed"} for k in range(1, 11)],
           complete=True)  # fmt: skip
        event(person, day(2), 2, cycle=1)
        event(person, day(4), 3, attributed=False, term="broken arm")
    with at(day(57)):
        visit(person, "year1:56", day(56), cd4="260", hiv_rna="<50", on_art="yes")
        form(person, "update", f"{day(57)}:1", day(57), breastfeeding="yes")
    return person


def test_the_chart_tells_where_somebody_is_what_came_and_what_comes_next(trial: TrialFolder) -> None:
    person = _treated()
    with at(day(57)):
        found = _chart(person, "ivo")
    assert (found.header.arm, found.header.day, found.header.on_hold) == ("IL-2 + ART", 57, True)
    assert found.header.strata == (("CD4 count at entry", "50-199"), ("Country", "USA"))
    cd4, rna = found.series
    assert (cd4.item, cd4.main, cd4.goal, cd4.baseline) == ("cd4", True, 275, 150)
    assert [(point.day, point.value) for point in cd4.points] == [(0, 150), (56, 260)]
    assert cd4.points[-1].place == ("visit", "year1:56")
    assert [point.qualifier for point in rna.points] == ["<", "<"]
    (cycle,) = found.cycles
    assert (cycle.on, cycle.until, cycle.dose) == (DAY0, day(4), 4.5)
    assert (cycle.given, cycle.missed, cycle.open, cycle.planned, cycle.complete) == (8, 2, 0, 10, True)
    (decision,) = found.decisions
    assert (decision.action, decision.cycle, decision.overridden) == ("start", 1, False)
    assert [(hold.text, hold.since, hold.until) for hold in found.holds] == [("Breastfeeding", day(57), None)]
    assert [mark.term for mark in found.events] == ["fever", "broken arm"]
    assert [(mark.kind, mark.on) for mark in found.others] == [("update", day(57)), ("check", DAY0)]
    visits = {mark.name: mark for mark in found.visits}
    assert visits["week 9"].state == "in window"
    assert visits["week 17"].state == "to come"
    assert (visits["week 17"].earliest, visits["week 17"].latest) == (day(98), day(126))
    assert found.next[0].kind == "decision"
    assert found.next[0].words.startswith("IL-2: Hold: a reason to withhold")
    assert found.next[1].key == "year1:112"
    assert found.goal_words == ("Goal: CD4 count of at least 275 cells/mm3",)


@pytest.mark.requirement("D9", "A11", "D10")
def test_whoever_does_not_see_the_arm_sees_the_same_chart_in_either(trial: TrialFolder) -> None:
    treated = _treated()
    control = in_silcaat(DAY0, arm="control", number=2)
    with at(day(57), hour=13):
        visit(control, "entry:0", DAY0, cd4="150", hiv_rna="<50", on_art="yes")
        event(control, day(2), 2, attributed=False)
        event(control, day(4), 3, attributed=False, term="broken arm")
        visit(control, "year1:56", day(56), cd4="140", hiv_rna="<50", on_art="yes")
        form(control, "update", f"{day(57)}:1", day(57), breastfeeding="yes")
        seen = [asdict(_chart(person, "theo")) for person in (treated, control)]
    for chart in seen:
        for own in ("number", "randomized_number"):
            del chart["header"][own]
        for mark in chart["events"]:
            del mark["id"]
    assert seen[0] == seen[1]
    assert seen[0]["header"]["arm"] is None
    assert not seen[0]["cycles"] + seen[0]["decisions"] + seen[0]["holds"]
    assert [mark["kind"] for mark in seen[0]["others"]] == ["update"]
    assert {point["day"] for series in seen[0]["series"] for point in series["points"]} == {0}


def test_somebody_in_screening_has_a_chart(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Participant

    number = do("screening.start", "ada", site=1, screened_on=DAY0, consent_on=DAY0, consent_version="1")
    person = Participant.objects.get(number=number["participant"])
    with at(DAY0):
        found = _chart(person, "ada")
    assert found.header.day is None
    assert [mark.id for mark in found.visits] == ["prestudy1", "prestudy2"]
    assert found.next[0].kind == "screening"
