"""Treatment: dosing decisions, the cycles that they start and their injections, holds, and the flags on
decisions whose record was corrected afterwards.

The rules propose; a named investigator decides and signs. A decision is never changed by anything: when what
it was based on is corrected, it is flagged and a person looks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from equipoise.conduct import due, opening
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import (
    InjectionGiven,
    PlaceHold,
    ReleaseHold,
    SaveInjections,
    SettleFlag,
    TakeDecision,
)
from equipoise.conduct.models import (
    Cycle,
    Decision,
    Flag,
    Form,
    Hold,
    Injection,
    Participant,
    Query,
    QueryMessage,
)
from equipoise.conduct.reading import ending
from equipoise.conduct.reading import history as records
from equipoise.conduct.reading import situation as reading
from equipoise.conduct.reading.history import History, amount, shown
from equipoise.conduct.reading.situation import Known, Proposal
from equipoise.protocol.model import Cycle as CycleShape
from equipoise.rules import explaining
from equipoise.rules.schedule import induction_slot
from equipoise.rules.terms import ACTIONS, ESCALATE, NEVER, REDUCE, START, Situation
from equipoise.rules.truth import YES, word

CODES = {name: code for code, name in ACTIONS.items()}
_STARTING = (START, REDUCE, ESCALATE)
FLAG_RULE = "decision changed"
"""The check that asks about a decision whose record was corrected."""
SIGNED_AS = "decision"
"""Kind of the signature under a decision."""
MINIMUM_REASON = 3
"""Letters of the shortest reason, as in `inputs.Reason` (assumed)."""
DOSE_TOLERANCE = 1e-9
"""Relative difference between two doses that are the same: the error of arithmetic."""
PHASES = {True: "induction", False: "maintenance"}


# --- the decision -------------------------------------------------------------------------------------------


@command("decision.take", TakeDecision)
def take_decision(act: Act, given: TakeDecision) -> dict[str, Any]:
    """Take a dosing decision as it is proposed, or another with its reason, and sign it."""
    participant = act.allow_at(given.participant)
    past = _history(participant, given.regimen)
    _check_day(act, participant, given.on)
    found = reading.propose(past, given.on)
    _check_concerned(found.known)
    if given.content_sha256 != found.content_sha256:
        raise Conflict(
            "the record has changed since this proposal was shown to you: look at it again", "content_sha256"
        )
    _check_not_taken(past, given.on)
    action, dose = _decided(found, given)
    accepted = _accepted(found, given, action)
    if accepted == "yes":
        _check_since(act, past, given.on, dose)
    decision = _write(act, participant, found, given, (action, dose), accepted)
    cycle = _start(act, past, found, decision) if accepted == "yes" else None
    act.sign(
        SIGNED_AS, decision.id, signed_content(decision), _meaning(found, action, dose), participant.number
    )
    due.refresh(participant, act.today())
    return {
        "decision": str(decision.id),
        "sequence": decision.sequence,
        "action": ACTIONS[action],
        "dose": dose,
        "accepted": accepted,
        "cycle": None if cycle is None else cycle.number,
    }


def _history(participant: Participant, regimen: str) -> History:
    block = opening.folder().protocol.regimens.get(regimen)
    if block is None or block.kind != "cycles":
        raise NotFound(f'the protocol has no regimen "{regimen}" that is given in cycles')
    return records.history(participant, regimen)


def _check_concerned(known: Known) -> None:
    now = known.situation
    if now.randomized != YES or now.day < 0:
        raise Refused("the participant is not randomised: there is no dose to decide on")
    if now.assigned != YES:
        raise Refused("the participant's arm does not have this drug: there is no dose to decide on")
    if now.in_follow_up != YES:
        why = next((one.words for one in known.sources if one.field == "in_follow_up"), "not known")
        raise Refused(f"follow-up is over ({why}): there is no dose to decide on")


def _check_day(act: Act, participant: Participant, on: date) -> None:
    if on > act.today():
        raise Refused(f"{shown(on)} lies in the future", "on")
    last = Decision.objects.filter(participant=participant).order_by("-sequence").first()
    if last is not None and on < last.on:
        raise Refused(f"a decision was taken on {shown(last.on)}: this one cannot be of before", "on")


def _check_since(act: Act, past: History, on: date, dose: float) -> None:
    """A cycle of an earlier day can be entered late, but not past what is on record of the days since: what
    stops a cycle and is known when it is signed is not got round by dating the decision back."""
    barred = reading.barred_since(past, on, act.today(), dose)
    if barred:
        raise Refused(f"a cycle of {shown(on)} can no longer be entered: {barred}", "on")


def _check_not_taken(past: History, on: date) -> None:
    """One decision for each regimen and day, unless the record has changed since the first."""
    taken = [decision for decision in past.decisions if decision.on == on]
    if taken and again(past, taken[-1]) == reading.restored(taken[-1].situation):
        raise Conflict(f"the decision of {shown(on)} is taken, and the record has not changed since", "on")


def again(past: History, decision: Decision) -> Situation:
    """The situation of a decision that was taken, as the record gives it now."""
    placed = decision.sources["placed_hold"]
    return reading.known_on(past, decision.on, decision.sequence, placed).situation


def _decided(found: Proposal, given: TakeDecision) -> tuple[int, float]:
    """(action, dose), as proposed or as the investigator overrides it."""
    if given.override is None:
        if given.dose is not None and not _same(given.dose, found.dose):
            raise Refused(
                f"what is proposed has the dose {amount(found.dose, found.unit)}: another one is an override",
                "dose",
            )
        return found.decision.action, found.decision.dose
    if len(given.reason) < MINIMUM_REASON:
        raise Refused("a decision other than the proposed one needs its reason", "reason")
    action = CODES[given.override]
    if action == found.decision.action and (given.dose is None or _same(given.dose, found.dose)):
        raise Refused("this is what is proposed: accept it", "override")
    offered = [each for each in found.alternatives if each.action == action]
    if given.dose is not None:
        offered = [each for each in offered if _same(each.dose, given.dose)]
    if not offered:
        raise Refused(_why_not(found, action, given.dose), "dose" if action in _STARTING else "override")
    return offered[0].action, offered[0].dose


def _why_not(found: Proposal, action: int, dose: float | None) -> str:
    past_rules = records.rules_of(found.regimen)
    bar = reading.bars_a_cycle(past_rules, found.known.situation)
    if action in _STARTING and bar:
        return f"no cycle may start, whatever the reason: {bar}"
    said = "" if dose is None else f" at {amount(dose, found.unit)}"
    doses = [f"{each.word} {amount(each.dose, found.unit)}".strip() for each in found.alternatives]
    return (
        f"{ACTIONS[action]}{said} is not among what the protocol allows today: "
        f"{'; '.join(doses) or 'nothing else'} (doses between {amount(past_rules.floor, found.unit)} and "
        f"{amount(past_rules.ceiling, found.unit)} that the protocol names)"
    )


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=DOSE_TOLERANCE, abs_tol=DOSE_TOLERANCE)


def _accepted(found: Proposal, given: TakeDecision, action: int) -> str:
    if action not in _STARTING:
        if given.accepted != "not asked":
            raise Refused("no cycle starts: there is nothing to ask the participant", "accepted")
        return given.accepted
    if given.accepted == "not asked" and found.declined_on is None:
        raise Refused("a cycle may start: say whether the participant agrees", "accepted")
    return given.accepted


def _write(
    act: Act,
    participant: Participant,
    found: Proposal,
    given: TakeDecision,
    decided: tuple[int, float],
    accepted: str,
) -> Decision:
    last = Decision.objects.filter(participant=participant).order_by("-sequence").first()
    now, proposed = found.known.situation, found.decision
    decision = Decision(
        participant=participant,
        sequence=1 if last is None else last.sequence + 1,
        regimen=found.regimen,
        day=now.day,
        on=given.on,
        situation=reading.stored(now),
        sources=_as_json(
            {
                "read": [vars(each) for each in found.known.sources],
                "placed_hold": found.known.placed_hold,
                "proposal_sha256": found.content_sha256,
            }
        ),
        proposed_action=proposed.action,
        proposed_dose=proposed.dose,
        not_before=proposed.not_before,
        reason=proposed.reason,
        unknown=proposed.unknown,
        sentence=found.sentence,
        rules=[
            [part, line.rule, line.holds, line.value]
            for part, lines in (("condition", found.conditions), ("dose", found.dose_lines))
            for line in lines
        ],
        action=decided[0],
        dose=decided[1],
        override_reason=given.reason if given.override is not None else "",
        accepted=accepted,
        person=act.actor.person.username,
        at=act.at,
        protocol_sha256=act.trial.protocol_sha256,
    )
    act.create(
        decision, "decision", participant=participant.number, place=f"decision {decision.sequence}",
        reason=decision.override_reason,
    )  # fmt: skip
    return decision


def _as_json(content: Any) -> Any:
    return json.loads(as_text(content) or "null")


def signed_content(decision: Decision) -> dict[str, Any]:
    """What an investigator signs with a decision: all that it was based on and what it says."""
    return {
        "participant": str(decision.participant_id), "sequence": decision.sequence,
        "regimen": decision.regimen, "on": decision.on.isoformat(), "situation": decision.situation,
        "sources": decision.sources, "proposed": [decision.proposed_action, decision.proposed_dose],
        "not_before": decision.not_before, "reason": decision.reason, "unknown": decision.unknown,
        "sentence": decision.sentence, "rules": decision.rules, "decided": [decision.action, decision.dose],
        "override_reason": decision.override_reason, "accepted": decision.accepted,
        "protocol_sha256": decision.protocol_sha256,
    }  # fmt: skip


def _meaning(found: Proposal, action: int, dose: float) -> str:
    said = f"{ACTIONS[action]} {amount(dose, found.unit) if action in _STARTING else ''}".strip()
    how = "as proposed" if (action, dose) == (found.decision.action, found.decision.dose) else "overriding"
    return f"I decide: {found.label}, {said} ({how})"[:200]


def _start(act: Act, past: History, found: Proposal, decision: Decision) -> Cycle:
    """The cycle that the decision starts, with its planned administrations."""
    shape = past.protocol.regimens[past.regimen].cycle
    assert shape is not None
    now = found.known.situation
    cycle = Cycle(
        participant=past.participant,
        regimen=past.regimen,
        number=len(past.cycles) + 1,
        day=decision.day,
        on=decision.on,
        phase=PHASES[induction_slot(past.rules, now, now.day) != NEVER],
        dose=decision.dose,
        unit=shape.dose.unit,
        decision=decision,
    )
    offsets = administration_days(shape)
    act.create(
        cycle, "cycle", participant=past.participant.number, place=f"cycle {cycle.number}",
        shown={"administrations": offsets},
    )  # fmt: skip
    for number, offset in enumerate(offsets, start=1):
        planned = Injection(
            cycle=cycle, number=number, day=cycle.day + offset, on=cycle.on + timedelta(days=offset)
        )
        act.create(
            planned, "injection", participant=past.participant.number,
            place=f"cycle {cycle.number}, injection {number}",
        )  # fmt: skip
    return cycle


def administration_days(shape: CycleShape) -> list[int]:
    """The day of each administration of a cycle, counted from its first day."""
    on = [day - 1 for day in shape.on_days] if shape.on_days is not None else list(range(shape.days or 0))
    return [day for day in on for _ in range(shape.times_per_day)]


# --- injections ---------------------------------------------------------------------------------------------


@command("cycle.injections", SaveInjections)
def save_injections(act: Act, given: SaveInjections) -> dict[str, Any]:
    """Save what was given of a cycle, injection by injection."""
    participant = act.allow_at(given.participant)
    cycle = Cycle.objects.filter(participant=participant, regimen=given.regimen, number=given.cycle).first()
    if cycle is None:
        raise NotFound("there is no such cycle")
    if cycle.version != given.version:
        raise Conflict("somebody else has saved this cycle since you opened it: look at it again", "version")
    rows = {row.number: row for row in cycle.injections.order_by("number")}
    numbers = [each.number for each in given.injections]
    if len(set(numbers)) != len(numbers):
        raise Refused("an injection is named twice", "injections")
    changes = {each.number: _injection(act, participant, cycle, rows, each) for each in given.injections}
    changed = _save_rows(act, participant, cycle, rows, changes, given.reason)
    completes = given.complete and cycle.completed_at is None
    if not changed and not completes:
        raise Conflict("nothing differs from what is on record")
    if completes or cycle.completed_at is not None:
        open_ones = [number for number, row in rows.items() if row.state == Injection.PLANNED]
        if open_ones:
            listed = ", ".join(str(number) for number in open_ones)
            raise Refused(f"say of each injection what became of it; still open: {listed}", "injections")
    act.change(
        cycle, "cycle", {"version": cycle.version + 1, **({"completed_at": act.at} if completes else {})},
        participant=participant.number, place=f"cycle {cycle.number}", reason=given.reason,
    )  # fmt: skip
    return {
        "cycle": cycle.number,
        "version": cycle.version,
        "complete": cycle.completed_at is not None,
        "given": sum(row.state in (Injection.GIVEN, Injection.REDUCED) for row in rows.values()),
    }


def _injection(
    act: Act, participant: Participant, cycle: Cycle, rows: Mapping[int, Injection], each: InjectionGiven
) -> dict[str, Any]:
    """One injection as it is to be stored. Refused when it cannot be so."""
    place = f"injections.{each.number}"
    if each.number not in rows:
        raise Refused(f"a cycle has {len(rows)} injections: there is no number {each.number}", place)
    row = rows[each.number]
    was_given = each.state in (Injection.GIVEN, Injection.REDUCED)
    dose = cycle.dose if each.state == Injection.GIVEN and each.dose is None else each.dose
    if was_given:
        _check_dose(cycle, each, dose, place)
        _check_time(act, participant, row, each, place)
    elif dose or each.time or each.place:
        raise Refused(f"injection {each.number} was not given: it has no dose, time or place", place)
    return {
        "state": each.state,
        "dose": dose if was_given else None,
        "time": each.time,
        "place": each.place,
        "symptoms": each.symptoms,
    }


def _check_dose(cycle: Cycle, each: InjectionGiven, dose: float | None, place: str) -> None:
    full = amount(cycle.dose, cycle.unit)
    if dose is None or dose <= 0:
        raise Refused(f"injection {each.number} was reduced: say to which dose", place)
    if dose > cycle.dose and not _same(dose, cycle.dose):
        raise Refused(
            f"injection {each.number}: {amount(dose, cycle.unit)} is above the dose of the cycle, {full}",
            place,
        )
    reduced = not _same(dose, cycle.dose)
    if reduced != (each.state == Injection.REDUCED):
        said = "reduced" if reduced else "given"
        raise Refused(
            f"injection {each.number}: {amount(dose, cycle.unit)} of {full} is called {said}", place
        )


def _check_time(act: Act, participant: Participant, row: Injection, each: InjectionGiven, place: str) -> None:
    zone = ZoneInfo(participant.site.zone)
    at = datetime.combine(row.on, datetime.min.time(), zone)
    if each.time:
        hour, minute = each.time.split(":")
        at = at.replace(hour=int(hour), minute=int(minute))
    if at > act.at:
        raise Refused(f"injection {each.number} lies in the future: it cannot have been given", place)
    if late := ending.too_late(participant, row.on):
        raise Refused(f"injection {each.number}: {late}", place)


def _save_rows(
    act: Act,
    participant: Participant,
    cycle: Cycle,
    rows: Mapping[int, Injection],
    changes: Mapping[int, Mapping[str, Any]],
    reason: str,
) -> bool:
    differing = {
        number
        for number, fields in changes.items()
        if any(getattr(rows[number], name) != value for name, value in fields.items())
    }
    if differing and cycle.completed_at is not None and len(reason) < MINIMUM_REASON:
        raise Refused("the cycle was complete: say why it is changed", "reason")
    for number in sorted(differing):
        act.change(
            rows[number], "injection", changes[number], reason=reason, participant=participant.number,
            place=f"cycle {cycle.number}, injection {number}",
        )  # fmt: skip
    return bool(differing)


# --- holds --------------------------------------------------------------------------------------------------


@command("hold.place", PlaceHold)
def place_hold(act: Act, given: PlaceHold) -> dict[str, Any]:
    """Withhold the drug for now, for a reason that is not one of the protocol's."""
    participant = act.allow_at(given.participant)
    if participant.randomized_on is None or not records.histories([participant])[participant.id]:
        raise Refused("this participant has no cycles that could be withheld")
    if participant.ended_on is not None:
        raise Refused("follow-up is over: there is nothing to withhold")
    if given.since > act.today():
        raise Refused(f"{shown(given.since)} lies in the future", "since")
    if given.since < participant.randomized_on:
        raise Refused("that is before randomisation", "since")
    if Hold.objects.filter(participant=participant, hold="", until=None).exists():
        raise Conflict("an investigator's hold is on already")
    hold = Hold(
        participant=participant, since=given.since, reason=given.reason, person=act.actor.person.username
    )
    act.create(
        hold, "hold", participant=participant.number, place="hold", reason=given.reason,
    )  # fmt: skip
    due.refresh(participant, act.today())
    return {"hold": str(hold.id)}


@command("hold.release", ReleaseHold)
def release_hold(act: Act, given: ReleaseHold) -> dict[str, Any]:
    """End a hold that an investigator placed."""
    hold = Hold.objects.select_related("participant__site").filter(id=given.hold).first()
    if hold is None:
        raise NotFound("there is nothing of that name for you")
    participant = act.allow_at(hold.participant.number)
    if hold.hold:
        raise Refused("a hold of the protocol ends when it is recorded that its reason has passed")
    if hold.until is not None:
        raise Conflict(f"this hold ended on {shown(hold.until)}")
    if given.until > act.today():
        raise Refused(f"{shown(given.until)} lies in the future", "until")
    if given.until < hold.since:
        raise Refused(f"the hold began on {shown(hold.since)}", "until")
    if late := ending.too_late(participant, given.until):
        raise Refused(late, "until")
    act.change(
        hold, "hold", {"until": given.until}, reason=given.reason, participant=participant.number,
        place="hold",
    )  # fmt: skip
    due.refresh(participant, act.today())
    return {"hold": str(hold.id)}


# --- what follows a change of the record -------------------------------------------------------------------

_ALWAYS = ("event.", "disposition.")


def after_change(act: Act, participant: Participant) -> tuple[History, ...]:
    """What a change of the record entails: the baseline follows corrected values of screening, the holds of
    the protocol open and close as recorded, and decisions are flagged whose basis has changed.

    Called at the end of every command that changes values, events or the end of a participation; gives back
    the histories that it read, of which it has changed nothing.
    """
    if participant.randomized_on is None:
        return ()
    values = [entry for entry in act.entries if entry["kind"] == "value"]
    forms = {entry["subject"] for entry in act.entries if entry["kind"] in ("value", "form")}
    if values and Form.objects.filter(id__in=forms, kind="screening").exists():
        _correct_baseline(act, participant)
    histories = records.histories([participant])[participant.id]
    for past in histories:
        if _touches(act, values, past.regimen):
            _follow_holds(act, past)
            _look_again(act, past)
    return histories


def _touches(act: Act, values: Iterable[Mapping[str, Any]], regimen: str) -> bool:
    """Whether what this act changed is looked at by dosing decisions."""
    if act.command.startswith(_ALWAYS):
        return True
    read = records.items_read(regimen)
    moved = ("done_on", "status", "baseline")
    return any(entry["field"] in read for entry in values) or any(
        entry["kind"] in ("form", "participant") and entry["field"] in moved for entry in act.entries
    )


def _correct_baseline(act: Act, participant: Participant) -> None:
    """Values of screening that were corrected after randomisation: the baseline follows the record, the
    allocation and what it was made from stay."""
    known = _as_json(records.baseline_on_record(participant))
    now = {name: known.get(name) for name in {**participant.baseline, **known}}
    changed = {name for name in now if now[name] != participant.baseline.get(name)}
    if changed:
        act.change(
            participant, "participant", {"baseline": now}, participant=participant.number, place="baseline",
            reason="a value of screening was corrected: " + ", ".join(sorted(changed))[:300],
        )  # fmt: skip


def _follow_holds(act: Act, past: History) -> None:
    """Make the holds of the protocol on file those that the recorded values give. One that never was, as the
    corrected record has it, is left with an end on its first day."""
    names = {hold.id for hold in past.protocol.regimens[past.regimen].hold_while}
    wanted = past.protocol_holds
    on_file = list(Hold.objects.filter(participant=past.participant, hold__in=names).order_by("since", "id"))
    where: dict[str, Any] = {"participant": past.participant.number, "place": "hold", "reveals_arm": True}
    for name in sorted(names):
        mine = [row for row in on_file if row.hold == name and row.until != row.since]
        now = [each for each in wanted if each.hold == name]
        for row, each in zip(mine, now, strict=False):
            act.change(row, "hold", {"since": each.since, "until": each.until}, **where)
        for row in mine[len(now) :]:
            words = "the record was corrected: there was no such hold"
            act.change(row, "hold", {"until": row.since}, reason=words, **where)
        for each in now[len(mine) :]:
            hold = Hold(
                participant=past.participant, hold=name, since=each.since, until=each.until,
                person=act.actor.person.username,
            )  # fmt: skip
            act.create(hold, "hold", **where)


def _look_again(act: Act, past: History) -> None:
    """Flag each decision whose situation the record now gives differently; take back the question about one
    whose situation is again what it was."""
    flags: dict[Any, list[Flag]] = {}
    for flag in Flag.objects.filter(decision__in=past.decisions).order_by("at"):
        flags.setdefault(flag.decision_id, []).append(flag)
    for decision in past.decisions:
        then = reading.restored(decision.situation)
        placed = decision.sources["placed_hold"]
        now = reading.known_on(past, decision.on, decision.sequence, placed)
        standing = flags.get(decision.id, [])
        if reading.stored(now.situation) == decision.situation:
            _take_back(act, past, decision, standing)
        else:
            _flag(act, past, decision, then, now, standing)


def _flag(
    act: Act, past: History, decision: Decision, then: Situation, now: Known, standing: list[Flag]
) -> None:
    names = explaining.words(past.protocol, past.regimen)
    what = _difference(then, now.situation, names)
    if standing and standing[-1].what == what:
        return
    again = explaining.reassess(past.rules, then, now.situation)
    flag = Flag(
        decision=decision,
        at=act.at,
        what=what,
        corrected_action=again.corrected.action,
        corrected_dose=again.corrected.dose,
        corrected_sentence=explaining.sentence(again.corrected, past.rules, now.situation, names),
        differs=again.differs,
    )
    number = past.participant.number
    act.create(
        flag, "flag", participant=number, place=f"decision {decision.sequence}", reveals_arm=True,
    )  # fmt: skip
    told = "The rules would have said something else" if flag.differs else "The rules would say the same"
    text = (
        f"What the dosing decision of {shown(decision.on)} was based on has been corrected: {what}. {told}: "
        f"{flag.corrected_sentence} The decision stands; look whether anything follows from it."
    )
    _close_queries(act, past.participant, decision, "asked again with what is known now")
    query = Query(
        participant=past.participant, subject=str(decision.id), rule=FLAG_RULE, reveals_arm=True,
        text=text, opened_by="system", opened_at=act.at, changed_at=act.at,
    )  # fmt: skip
    act.create(query, "query", participant=number, reveals_arm=True)


def _take_back(act: Act, past: History, decision: Decision, standing: list[Flag]) -> None:
    words = "the record says again what the decision was based on"
    for flag in standing:
        if not flag.settled:
            _settle(act, flag, past.participant.number, words, "system")
    if standing:
        _close_queries(act, past.participant, decision, words)


def _settle(act: Act, flag: Flag, number: str, words: str, person: str) -> None:
    act.change(
        flag, "flag", {"settled": words, "settled_by": person}, participant=number, reveals_arm=True,
        place=f"decision {flag.decision.sequence}", reason=words,
    )  # fmt: skip


def _close_queries(act: Act, participant: Participant, decision: Decision, words: str) -> None:
    for query in Query.objects.filter(
        participant=participant,
        rule=FLAG_RULE,
        subject=str(decision.id),
        state__in=[Query.OPEN, Query.ANSWERED],
    ):
        act.change(
            query, "query", {"state": Query.CLOSED, "changed_at": act.at}, participant=participant.number,
            reason=words, reveals_arm=True,
        )  # fmt: skip
        message = QueryMessage(
            query=query, at=act.at, person=act.actor.person.username, state=Query.CLOSED, text=words
        )
        act.create(message, "query message", participant=participant.number, reveals_arm=True)


_WHAT = {
    "in_follow_up": "in follow-up",
    "stopped": "stopped for good",
    "hold": "reason to withhold",
    "hold_until": "wait after a hold, until day",
    "cover": "accompanying treatment taken",
    "cycles": "cycles before",
    "toxicity": "worst grade since the last cycle",
    "reduced": "dose reduced before",
}
_TRUTHS = ("randomized", "assigned", "in_follow_up", "stopped", "hold", "cover", "reduced")


def _difference(then: Situation, now: Situation, names: explaining.Words) -> str:
    """What differs between two situations, each thing from what to what."""
    said = []
    if (then.measure, then.measured_day) != (now.measure, now.measured_day) and not (
        math.isnan(then.measure) and math.isnan(now.measure)
    ):
        said.append(f"{names.measure} from {_measured(then, names)} to {_measured(now, names)}")
    for field, label in (("baseline", f"{names.measure} at baseline"), ("goal", "goal")):
        before, after = getattr(then, field), getattr(now, field)
        if before != after and not (math.isnan(before) and math.isnan(after)):
            said.append(f"{label} from {_known(before, names)} to {_known(after, names)}")
    for field, before in then._asdict().items():
        after = getattr(now, field)
        if field in ("measure", "measured_day", "baseline", "goal") or before == after:
            continue
        label = _WHAT.get(field, field.replace("_", " "))
        if field in _TRUTHS:
            said.append(f"{label} from {word(before)} to {word(after)}")
        else:
            said.append(f"{label} from {_count(before)} to {_count(after)}")
    return "; ".join(said)


def _measured(now: Situation, names: explaining.Words) -> str:
    if math.isnan(now.measure):
        return "not measured"
    return f"{amount(now.measure, names.measure_unit)} (day {now.measured_day})"


def _known(value: float, names: explaining.Words) -> str:
    return "not known" if math.isnan(value) else amount(value, names.measure_unit)


def _count(value: float) -> str:
    return "not known" if value < 0 else f"{value:g}"


@command("flag.settle", SettleFlag)
def settle_flag(act: Act, given: SettleFlag) -> dict[str, Any]:
    """Say what follows from a correction that came after a decision; the question about it closes."""
    flag = Flag.objects.select_related("decision__participant__site").filter(id=given.flag).first()
    if flag is None:
        raise NotFound("there is nothing of that name for you")
    participant = act.allow_at(flag.decision.participant.number)
    if flag.settled:
        raise Conflict(f"this was settled by {flag.settled_by}")
    _settle(act, flag, participant.number, given.text, act.actor.person.username)
    if not Flag.objects.filter(decision=flag.decision, settled="").exists():
        _close_queries(act, participant, flag.decision, given.text)
    return {"flag": str(flag.id)}
