"""Dosing decisions on real participants: proposed by the rules, taken and signed by an investigator, never
changed; cycles with their injections; holds; flags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from conduct_treated import SILCAAT_CHECK, at, check, decide, event, form, in_silcaat, proposal, visit
from conduct_trial import START, actor, copied, do
from equipoise.conduct import clock
from equipoise.conduct.folder import TrialFolder

DAY0 = date(2026, 3, 3)
DRUG = "aldesleukin"
CD4 = {
    56: "year1:56",
    112: "year1:112",
    168: "year1:168",
    224: "year1:224",
    280: "year1:280",
    336: "year1:336",
}


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


# --- what is proposed, and what may be decided --------------------------------------------------------------


def _ready(cd4: float = 150.0, **answers: str) -> Any:
    person = in_silcaat(DAY0, cd4=cd4)
    with at(DAY0):
        check(person, DRUG, DAY0, **{**SILCAAT_CHECK, **answers})
    return person


def _refused(match: str, person: Any, on: date, **more: Any) -> None:
    from equipoise.conduct.gateway import Refused
    from equipoise.conduct.models import Cycle, Decision

    before = Decision.objects.count(), Cycle.objects.count()
    with at(on), pytest.raises(Refused, match=match):
        decide(person, DRUG, more.pop("of", on), **more)
    assert (Decision.objects.count(), Cycle.objects.count()) == before


@pytest.mark.requirement("K4", "S2")
def test_a_decision_is_signed_over_all_that_it_was_based_on_and_can_never_be_changed(
    trial: TrialFolder,
) -> None:
    from django.db import DatabaseError, transaction

    from equipoise.conduct.commands.treatment import signed_content
    from equipoise.conduct.gateway import NotAllowed, content_hash, perform
    from equipoise.conduct.models import Decision, Signature

    person = _ready()
    found = proposal(person, DRUG, DAY0)
    inputs = {
        "participant": person.number, "regimen": DRUG, "on": DAY0, "accepted": "yes",
        "content_sha256": found.content_sha256,
    }  # fmt: skip
    with at(DAY0):
        for who, proved in (("ada", {}), ("pia", {}), ("ivo", {"proved": False}), ("mona", {})):
            with pytest.raises(NotAllowed):
                perform("decision.take", actor(who, **proved), inputs)
        decide(person, DRUG, DAY0)
    decision = Decision.objects.get()
    assert decision.situation["goal"] == 275
    assert decision.sources["proposal_sha256"] == found.content_sha256
    assert decision.person == "ivo"
    assert any(source["item"] == "pregnant" for source in decision.sources["read"])
    assert all(len(line) == 4 for line in decision.rules)
    signature = Signature.objects.get(kind="decision", subject=str(decision.id))
    assert signature.content_sha256 == content_hash(signed_content(decision))
    assert signature.meaning == "I decide: IL-2, start 4.5 MIU (as proposed)"
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Decision.objects.filter(id=decision.id).update(dose=7.5)


@pytest.mark.requirement("K4")
def test_a_decision_on_a_record_that_has_changed_since_is_refused(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict
    from equipoise.conduct.models import Decision

    person = _ready()
    stale = proposal(person, DRUG, DAY0).content_sha256
    with at(day(1)):
        form(person, "update", f"{day(1)}:1", day(1), cd4="140")
        with pytest.raises(Conflict, match="changed since"):
            decide(person, DRUG, day(1), content_sha256=stale)
    assert not Decision.objects.exists()


@pytest.mark.requirement("K3", "K4")
def test_no_reason_overrides_a_hold_a_gap_an_unknown_or_a_dose_that_the_protocol_does_not_name(
    trial: TrialFolder,
) -> None:
    person = _ready(pregnant="yes")
    why = "the participant insists"
    _refused("withhold the drug is present", person, DAY0, override="start", reason=why)
    with at(day(1)):
        check(person, DRUG, day(1), **{**SILCAAT_CHECK, "on_art": "unknown"})
    _refused("each cycle is not known", person, day(1), override="start", reason=why)
    with at(day(2)):
        check(person, DRUG, day(2), **SILCAAT_CHECK)
    _refused("needs its reason", person, day(2), override="wait")
    for dose in (9.0, 1.0, 5.0, 7.5):
        _refused("not among what", person, day(2), override="escalate", dose=dose, reason=why)
    _refused("accept it", person, day(2), override="start", reason=why)
    _refused("another one is an override", person, day(2), dose=3.0)
    _refused("say whether the participant agrees", person, day(2), accepted="not asked")
    _refused("in the future", person, day(2), of=day(3))
    with at(day(2)):
        assert decide(person, DRUG, day(2), override="reduce", dose=3.0, reason="frail")["dose"] == 3.0
    with at(day(30)):
        check(person, DRUG, day(30), **SILCAAT_CHECK)
    _refused("less than 42 days", person, day(30), override="start", reason=why)


@pytest.mark.requirement("K3")
def test_an_override_may_start_a_cycle_outside_of_the_calendar(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Cycle, Decision

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(45)):
        check(person, DRUG, day(45), **SILCAAT_CHECK)
        assert not proposal(person, DRUG, day(45)).starts
        decide(person, DRUG, day(45), override="start", reason="travels next month")
    decision = Decision.objects.latest("sequence")
    assert (decision.proposed_action, decision.action, decision.dose) == (2, 1, 4.5)
    assert decision.override_reason == "travels next month"
    assert [cycle.phase for cycle in Cycle.objects.order_by("number")] == ["induction", "induction"]


@pytest.mark.requirement("K3", "K4")
def test_where_toxicity_asks_for_less_no_reason_gives_the_same_or_more(trial: TrialFolder) -> None:
    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(56)):
        event(person, day(6), 3, cycle=1)
        check(person, DRUG, day(56), **SILCAAT_CHECK)
        offered = {(each.word, each.dose) for each in proposal(person, DRUG, day(56)).alternatives}
    assert offered == {("wait", 0), ("hold", 0), ("stop", 0), ("reduce", 1.5)}
    _refused("not among", person, day(56), override="start", dose=4.5, reason="it was mild")
    with at(day(56)):
        assert decide(person, DRUG, day(56), override="stop", reason="does not want more")["action"] == "stop"
    with at(day(112)):
        check(person, DRUG, day(112), **SILCAAT_CHECK)
        assert proposal(person, DRUG, day(112)).alternatives == ()


@pytest.mark.requirement("K4", "D2")
def test_one_decision_a_day_unless_the_record_changes_and_a_declined_cycle_is_no_cycle(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.gateway import Conflict, Refused
    from equipoise.conduct.models import Cycle

    person = _ready()
    with at(DAY0):
        assert decide(person, DRUG, DAY0, accepted="no")["cycle"] is None
        with pytest.raises(Conflict, match="has not changed since"):
            decide(person, DRUG, DAY0)
        form(person, "update", f"{DAY0}:1", DAY0, breastfeeding="yes")
        assert decide(person, DRUG, DAY0)["action"] == "hold"
    with at(day(1)):
        form(person, "update", f"{day(1)}:1", day(1), breastfeeding="no")
        assert proposal(person, DRUG, day(1)).declined_on == DAY0
        assert decide(person, DRUG, day(1), accepted="not asked")["accepted"] == "not asked"
    with at(day(2)):
        with pytest.raises(Refused, match="cannot be of before"):
            decide(person, DRUG, DAY0)
        assert decide(person, DRUG, day(2))["cycle"] == 1
    assert Cycle.objects.count() == 1


@pytest.mark.requirement("K3", "K4", "I1")
def test_nobody_outside_of_the_arm_and_nobody_whose_follow_up_is_over_is_dosed(trial: TrialFolder) -> None:
    control = in_silcaat(DAY0, arm="control")
    _refused("arm does not have", control, DAY0, override="start", reason="to try", accepted="yes")
    treated = in_silcaat(DAY0, number=2)
    with at(DAY0):
        check(treated, DRUG, DAY0, **SILCAAT_CHECK)
    with at(day(1)):
        do("disposition.record", "ada", participant=treated.number, status="withdrew", on=day(1),
           reason="moved")  # fmt: skip
    _refused("follow-up is over", treated, day(1))


_DEAD = {"kind": "death", "serious": True, "serious_because": "death", "outcome": "fatal", "attributed": None}


def _reported_dead(person: Any, how: str) -> None:
    """On day 10 somebody is reported dead in one of the ways in which that is said."""
    from equipoise.conduct import opening

    terms = opening.folder().protocol.events["death"].terms or ["unknown"]
    with at(day(10)):
        aware = {"aware_at": clock.now()}
        match how:
            case "a death":
                event(person, day(9), 5, **_DEAD, term=terms[0], **aware)
            case "a death, known to the month":
                event(person, "2026-03", 5, **_DEAD, term=terms[0], **aware)
            case "an event with a fatal outcome":
                event(person, day(5), 4, attributed=False, outcome="fatal")
            case "an event of grade 5":
                event(person, day(5), 5, attributed=False)
            case "serious because of death":
                event(person, day(5), None, attributed=False, serious=True, serious_because="death", **aware)


@pytest.mark.requirement("K3", "K4")
@pytest.mark.parametrize(
    "how",
    [
        "a death", "a death, known to the month", "an event with a fatal outcome", "an event of grade 5",
        "serious because of death",
    ],
)  # fmt: skip
def test_nobody_who_is_reported_dead_is_proposed_a_dose(trial: TrialFolder, how: str) -> None:
    from equipoise.conduct.models import Flag
    from equipoise.conduct.reading.situation import next_decisions

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(8)):
        decide(person, DRUG, day(8))
    _reported_dead(person, how)
    assert not Flag.objects.exists(), "both decisions were taken before"
    for number in (8, 9, 10, 56):
        with at(day(56)):
            found = proposal(person, DRUG, day(number))
            assert (found.action, found.dose, found.alternatives) == ("wait", 0, ())
    with at(day(56)):
        check(person, DRUG, day(56), **SILCAAT_CHECK)
        assert next_decisions(person, day(56)) == ()
    _refused("follow-up is over .a death is reported: ", person, day(56))
    why = "the family asks"
    _refused("follow-up is over", person, day(56), override="start", reason=why, of=day(9))


@pytest.mark.requirement("K3", "K4")
def test_a_decision_taken_after_the_death_is_flagged_once_the_death_is_known(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Flag

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(9)):
        decide(person, DRUG, day(9))
    with at(day(10)):
        decide(person, DRUG, day(10))
    _reported_dead(person, "a death")
    assert [flag.decision.on for flag in Flag.objects.all()] == [day(10)]
    assert Flag.objects.get().what == "in follow-up from yes to no"


@pytest.mark.requirement("K3", "K4")
def test_dating_a_decision_back_does_not_get_round_what_is_known_when_it_is_signed(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.models import Hold

    late = "can no longer be entered: by what is on record of"

    people = [in_silcaat(DAY0, number=number) for number in range(1, 6)]
    for number in (0, 56):  # the second cycle is due on day 56, and entered on day 60
        for person in people:
            with at(day(60 if number else 0)):
                check(person, DRUG, day(number), **SILCAAT_CHECK)
                assert proposal(person, DRUG, day(number)).starts
                if not number:
                    decide(person, DRUG, DAY0)
    nothing, placed, of_the_protocol, toxic, unjudged = people
    with at(day(60)):
        visit(nothing, CD4[56], day(58), cd4="160", hiv_rna="<50", on_art="yes")
        assert decide(nothing, DRUG, day(56))["cycle"] == 2
    with at(day(60)):
        do("hold.place", "ivo", participant=placed.number, since=day(58), reason="surgery planned")
    _refused(f"{late} 30 April 2026, a reason to withhold the drug is present", placed, day(60), of=day(56))
    with at(day(60)):
        do("hold.release", "ivo", hold=Hold.objects.get().id, until=day(59), reason="recovered")
    _refused(f"{late} 30 April 2026, a reason to withhold", placed, day(60), of=day(56))
    with at(day(60)):
        form(of_the_protocol, "update", f"{day(60)}:1", day(60), pregnant="yes")
    _refused(f"{late} 2 May 2026, a reason to withhold", of_the_protocol, day(60), of=day(56))
    with at(day(60)):
        event(toxic, day(57), 3, cycle=1)
    _refused(f"{late} 29 April 2026, toxicity asks for a lower dose", toxic, day(60), of=day(56))
    more = {"override": "escalate", "dose": 6.0, "reason": "it was mild"}
    _refused("toxicity asks for a lower dose", toxic, day(60), of=day(56), **more)
    with at(day(60)):
        lower = {"override": "reduce", "dose": 3.0, "reason": "fever since"}
        assert decide(toxic, DRUG, day(56), **lower)["cycle"] == 2
    with at(day(60)):
        event(unjudged, day(57), 4, attributed=None)
    _refused(f"{late} 29 April 2026, something that a cycle", unjudged, day(60), of=day(56))
    with at(day(60)):
        assert decide(unjudged, DRUG, day(56), override="hold", reason="fever since")["cycle"] is None


# --- the end of follow-up -----------------------------------------------------------------------------------


def _end(person: Any, on: date) -> None:
    do("disposition.record", "ada", participant=person.number, status="withdrew", on=on, reason="moved")


def _drug(person: Any, **more: Any) -> None:
    do("medication.save", "ada", participant=person.number, drug="zidovudine", **more)


def _measured(person: Any, on: date, taken: date) -> None:
    from equipoise.conduct.gateway import perform

    perform(
        "form.save", actor("ada"),
        {
            "participant": person.number, "kind": "update", "key": f"{on}:1", "done_on": on, "version": 0,
            "answers": [{"item": "cd4", "text": "300", "measured_on": taken}],
        },
    )  # fmt: skip


@pytest.mark.requirement("I1")
def test_follow_up_does_not_end_before_what_is_on_record(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused
    from equipoise.conduct.models import Hold

    people = [in_silcaat(DAY0, number=number) for number in range(1, 7)]
    for person in people:
        with at(DAY0):
            check(person, DRUG, DAY0, **SILCAAT_CHECK)
            decide(person, DRUG, DAY0)
    measured, decided, held, injected, treated, free = people
    with at(day(30)):
        _measured(measured, day(5), day(15))
        decide(decided, DRUG, day(12))
        do("hold.place", "ivo", participant=held.number, since=day(20), reason="fever")
        do(
            "cycle.injections", "ada", participant=injected.number, regimen=DRUG, cycle=1, version=0,
            injections=[{"number": 9, "state": "given"}],
        )  # fmt: skip
        _drug(treated, started="2026-03-20")
        for person, words, on in (
            (measured, "a value that was measured on Wednesday 18 March 2026", 15),
            (decided, "a dosing decision of Sunday 15 March 2026", 12),
            (held, "a hold that was placed from Monday 23 March 2026 on", 20),
            (treated, "zidovudine, begun 20 March 2026", 17),
            (injected, "injection 9 of cycle 1, given on Saturday 7 March 2026", 4),
        ):
            with pytest.raises(Refused, match=f"on record after .*: {words}.* or later"):
                _end(person, day(on - 1))
        do("hold.release", "ivo", hold=Hold.objects.get().id, until=day(25), reason="recovered")
        with pytest.raises(Refused, match="placed from Monday 23 March 2026 on; a hold that was released on"):
            _end(held, day(6))
        with pytest.raises(Refused, match="released on Saturday 28 March 2026"):
            _end(held, day(24))
        for person, on in (
            (measured, 15),
            (decided, 12),
            (held, 25),
            (injected, 4),
            (treated, 17),
            (free, 0),
        ):
            _end(person, day(on))


@pytest.mark.requirement("I1")
def test_nothing_is_recorded_of_a_day_after_the_end_of_follow_up(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Refused

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(3)):
        hold = do("hold.place", "ivo", participant=person.number, since=day(3), reason="fever")["hold"]
        _end(person, day(3))
    over = "after the end of follow-up .Friday 6 March 2026"
    with at(day(9)):
        with pytest.raises(Refused, match=f"CD4 count: Saturday 7 March 2026 is {over}"):
            _measured(person, day(3), day(4))
        with pytest.raises(Refused, match=f"injection 9: Saturday 7 March 2026 is {over}"):
            _inject(person, 0, {"number": 9, "state": "given"})
        with pytest.raises(Refused, match=over):
            do("hold.release", "ivo", hold=hold, until=day(4), reason="recovered")
        for dates in ({"started": "2026-03-08"}, {"started": "2025", "stopped": "2026-03-08"}):
            with pytest.raises(Refused, match=over):
                _drug(person, **dates)
        _measured(person, day(3), day(3))
        _inject(person, 0, {"number": 7, "state": "given"}, {"number": 9, "state": "missed"})
        do("hold.release", "ivo", hold=hold, until=day(3), reason="recovered")
        _drug(person, started="2026-03")


# --- injections ---------------------------------------------------------------------------------------------


def _inject(person: Any, version: int, *rows: dict[str, Any], who: str = "ada", **more: Any) -> Any:
    return do(
        "cycle.injections", who, participant=person.number, regimen=DRUG, cycle=1, version=version,
        injections=list(rows), **more,
    )  # fmt: skip


@pytest.mark.requirement("K3", "A8", "D31", "I4")
def test_the_grid_of_injections(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, Refused
    from equipoise.conduct.models import Cycle, Entry, Injection

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    rows = list(Injection.objects.order_by("number"))
    assert [(row.number, row.on, row.state) for row in rows] == [
        (number, day((number - 1) // 2), "planned") for number in range(1, 11)
    ]
    with at(day(1), hour=9):
        first = {"number": 1, "state": "given", "time": "08:30", "place": "abdomen", "symptoms": "fever"}
        assert _inject(person, 0, first)["version"] == 1
        with pytest.raises(Conflict, match="saved this cycle"):
            _inject(person, 0, first)
        with pytest.raises(Conflict, match="nothing differs"):
            _inject(person, 1, first)
        for match, row in (
            ("in the future", {"number": 3, "state": "given", "time": "10:31"}),
            ("in the future", {"number": 5, "state": "given"}),
            ("above the dose of the cycle", {"number": 2, "state": "given", "dose": 6.0}),
            ("is called reduced", {"number": 2, "state": "given", "dose": 3.0}),
            ("to which dose", {"number": 2, "state": "reduced"}),
            ("has no dose", {"number": 2, "state": "missed", "time": "20:00"}),
            ("no number 11", {"number": 11, "state": "missed"}),
        ):
            with pytest.raises(Refused, match=match):
                _inject(person, 1, row)
        with pytest.raises(Refused, match="still open: 2, 3"):
            _inject(person, 1, first, complete=True)
    with at(day(5)):
        rest = [{"number": k, "state": "given", "time": "08:00" if k % 2 else "20:00"} for k in range(2, 9)]
        last = {"number": 9, "state": "reduced", "dose": 3.0}, {"number": 10, "state": "missed"}
        done = _inject(person, 1, *rest, *last, who="pia", complete=True)
        assert (done["given"], done["complete"]) == (9, True)
        with pytest.raises(Refused, match="say why"):
            _inject(person, 2, {"number": 10, "state": "unknown"})
        _inject(person, 2, {"number": 10, "state": "unknown"}, reason="source corrected")
    entry = Entry.objects.filter(kind="injection", field="state").latest("n")
    assert (entry.old, entry.new, entry.reason) == ("missed", "unknown", "source corrected")
    assert entry.place == "cycle 1, injection 10"
    assert entry.reveals_arm
    assert Cycle.objects.get().completed_at is not None


# --- holds and flags ----------------------------------------------------------------------------------------


@pytest.mark.requirement("K3", "U2")
def test_a_hold_of_an_investigator_stops_cycles_until_it_is_released(trial: TrialFolder) -> None:
    from equipoise.conduct.gateway import Conflict, NotFound, Refused

    person = _ready()
    why = "surgery planned"
    with at(DAY0):
        hold = do("hold.place", "ivo", participant=person.number, since=DAY0, reason=why)["hold"]
        with pytest.raises(Conflict, match="on already"):
            do("hold.place", "ivo", participant=person.number, since=DAY0, reason=why)
        assert decide(person, DRUG, DAY0)["action"] == "hold"
    with at(day(3)):
        with pytest.raises(NotFound):
            do("hold.release", "ina", hold=hold, until=day(3), reason="recovered")
        with pytest.raises(Refused, match="in the future"):
            do("hold.release", "ivo", hold=hold, until=day(4), reason="recovered")
        do("hold.release", "ivo", hold=hold, until=day(3), reason="recovered")
        assert decide(person, DRUG, day(3))["cycle"] == 1
    control = in_silcaat(DAY0, arm="control", number=2)
    with at(day(4)), pytest.raises(Refused, match="no cycles"):
        do("hold.place", "ivo", participant=control.number, since=day(1), reason=why)


def test_a_hold_on_file_follows_a_corrected_record(trial: TrialFolder) -> None:
    from equipoise.conduct.models import Entry, Hold

    person = _ready()
    with at(day(9)):
        form(person, "update", f"{day(9)}:1", day(9), breastfeeding="yes")
    assert Hold.objects.get().since == day(9)
    with at(day(10)):
        form(person, "update", f"{day(9)}:1", day(9), "wrong person", breastfeeding="no")
    assert Hold.objects.get().until == day(9)
    entries = Entry.objects.filter(kind="hold")
    assert entries.count() == 2
    assert all(entry.reveals_arm for entry in entries)


@pytest.mark.requirement("I9")
def test_a_late_event_flags_the_decision_that_did_not_know_it_and_striking_it_takes_the_question_back(
    trial: TrialFolder,
) -> None:
    from equipoise.conduct.models import Flag, Query

    person = _ready()
    with at(DAY0):
        decide(person, DRUG, DAY0)
    with at(day(56)):
        check(person, DRUG, day(56), **SILCAAT_CHECK)
        decide(person, DRUG, day(56))
    with at(day(57)):
        form(person, "update", f"{day(57)}:1", day(57), hiv_rna="<50")
        event(person, day(56), 3, cycle=2)
        assert not Flag.objects.exists()
        late = event(person, day(8), 3, cycle=1)
    flag = Flag.objects.get()
    assert flag.what == "worst grade since the last cycle from 0 to 3"
    assert (flag.corrected_action, flag.corrected_dose, flag.differs) == (4, 3.0, True)
    assert flag.decision.sequence == 2
    query = Query.objects.get(rule="decision changed")
    assert query.state == "open"
    with at(day(58)):
        do("event.remove", "ivo", event=late["event"], reason="entered for the wrong person")
    flag.refresh_from_db()
    query.refresh_from_db()
    assert flag.settled_by == "system"
    assert query.state == "closed"


@pytest.mark.requirement("I9", "D6", "D30")
def test_a_corrected_baseline_flags_decisions_while_the_allocation_stands(tmp_path: Path) -> None:
    from conduct_ready import protocol_file, randomized, save
    from equipoise.conduct.models import Allocation, Decision, Flag, Participant
    from equipoise.conduct.reading.arms import arm_of

    regimen = "erythropoietin"
    with clock.at(START + timedelta(days=1)):
        copied(tmp_path / "few", protocol_file())
        person = next(
            found
            for _ in range(6)
            if arm_of(found := Participant.objects.get(number=randomized("ada"))) == "epo"
        )
        check(person, regimen, DAY0, haemoglobin="8.5", systolic="140", toxicity_reviewed="yes")
        decide(person, regimen, DAY0)
    made = Allocation.objects.get(participant=person)
    with at(day(2)):
        save(person.number, "ada", DAY0, version=1, reason="transcription error", haemoglobin="9.9")
    person.refresh_from_db()
    assert person.baseline["haemoglobin"] == 9.9
    assert person.strata == made.inputs["strata"]
    flag = Flag.objects.get()
    assert "Haemoglobin at baseline from 8.5 g/dL to 9.9 g/dL" in flag.what
    assert not flag.differs
    assert Decision.objects.get().situation["baseline"] == 8.5
    assert Allocation.objects.get(participant=person).inputs == made.inputs
