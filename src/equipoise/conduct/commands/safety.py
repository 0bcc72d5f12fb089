"""Events and the end of follow-up: reports that are never overwritten, the clock of serious ones, endpoints
that are followed up from the moment they are known."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from equipoise.conduct import checks, entering, opening
from equipoise.conduct.checks import Finding, Reported
from equipoise.conduct.commands import queries
from equipoise.conduct.commands.forms import settle
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import (
    EventFollowUp,
    EventReport,
    RecordDisposition,
    RemoveEvent,
    UndoDisposition,
)
from equipoise.conduct.models import Cycle, Event, EventVersion, Participant, Query
from equipoise.conduct.reading import ending
from equipoise.conduct.reading import safety as reading
from equipoise.protocol.nearest import near

FIELDS = (
    "term", "onset", "ended", "grade", "serious", "serious_because", "attributed", "action_taken", "outcome",
    "cycle", "aware_at", "narrative",
)  # fmt: skip
CORRECTIONS = frozenset(
    {"term", "onset", "grade", "serious", "serious_because", "attributed", "cycle", "aware_at"}
)
"""Fields that do not change by themselves as time goes on: a new value corrects the earlier one."""
TELLS_ARM = frozenset({"attributed", "action_taken", "cycle", "narrative"})
_FIELD_OF_CHECK = {"serious": "serious_because", "aware": "aware_at", "event-dates": "onset"}
LATER_SHOWN = 5
"""How many things that are dated after the end of follow-up are named in its refusal."""


# --- events -----------------------------------------------------------------------------------------------


@command("event.report", EventReport)
def report_event(act: Act, given: EventReport) -> dict[str, Any]:
    """Report an event for the first time."""
    participant = act.allow_at(given.participant)
    _check(act, participant, given, None)
    number = reading.next_number(participant, given.kind)
    event = Event(participant=participant, number=number, kind=given.kind)
    act.create(event, "event", **_where(event))
    _add_version(act, event, given, None, "")
    return _followed(act, event)


@command("event.follow_up", EventFollowUp)
def follow_up_event(act: Act, given: EventFollowUp) -> dict[str, Any]:
    """Report again on an event; the earlier reports stay."""
    participant = act.allow_at(given.participant)
    event = _standing(participant, given.event)
    if given.kind != event.kind:
        raise Refused("the kind of an event does not change: strike this event and report it anew", "kind")
    before = _latest(event)
    _check(act, participant, given, event)
    differing = [name for name in FIELDS if _field(given, name) != _field(before, name)]
    if not differing:
        raise Conflict("nothing is new in this report")
    corrected = [name for name in differing if name in CORRECTIONS and _field(before, name) not in (None, "")]
    if corrected and not given.reason.strip():
        raise Refused(f"say why it is corrected: {', '.join(_words(name) for name in corrected)}", "reason")
    _keep_day_of_death(participant, event, given)
    _add_version(act, event, given, before, given.reason.strip())
    return _followed(act, event)


@command("event.remove", RemoveEvent)
def remove_event(act: Act, given: RemoveEvent) -> dict[str, Any]:
    """Strike out an event that should not have been reported; it stays on record, with the reason."""
    found = Event.objects.select_related("participant__site").filter(id=given.event).first()
    if found is None:
        raise NotFound("there is nothing of that name for you")
    act.allow(found.participant.site)
    event = _standing(found.participant, given.event)
    if reading.is_terminal(opening.folder().protocol, event.kind) and event.participant.ended_how == "died":
        raise Refused("follow-up has ended with this death: undo that first")
    act.change(event, "event", {"removed": given.reason}, reason=given.reason, **_where(event))
    for query in Query.objects.filter(subject=str(event.id), state__in=queries.STANDING):
        queries.move(act, query, Query.CANCELLED, f"the event was struck out: {given.reason}", _place(event))
    _follow_others(act, event.participant, event)
    settle(act, event.participant)
    return {"event": str(event.id), "number": event.number}


def _standing(participant: Participant, event_id: Any) -> Event:
    event = Event.objects.select_related("participant__site").filter(id=event_id, participant=participant)
    found = event.first()
    if found is None:
        raise NotFound("there is nothing of that name for you")
    if found.removed:
        raise Conflict(f"this event was struck out: {found.removed}")
    return found


def _latest(event: Event) -> EventVersion:
    return event.versions.order_by("-version").first()


def _check(act: Act, participant: Participant, given: EventReport, event: Event | None) -> None:
    """Refuse a report that cannot be."""
    protocol = opening.folder().protocol
    if given.kind != reading.ADVERSE_EVENT and given.kind not in protocol.events:
        known = [*protocol.events, reading.ADVERSE_EVENT]
        raise Refused(f'there is no kind of event "{given.kind}"{near(given.kind, known)}', "kind")
    terms = [] if given.kind == reading.ADVERSE_EVENT else protocol.events[given.kind].terms
    if terms and given.term not in terms:
        raise Refused(
            f'"{given.term}" is not one of the terms of {protocol.events[given.kind].label}'
            f"{near(given.term, terms)}",
            "term",
        )
    if given.aware_at is not None and given.aware_at.tzinfo is None:
        raise Refused("say in which time zone the site learned of it", "aware_at")
    has_cycle = Cycle.objects.filter(participant=participant, number=given.cycle).exists()
    if given.cycle is not None and not has_cycle:
        raise Refused(f"{participant.number} has had no cycle {given.cycle}", "cycle")
    death = _death(participant, event)
    if death is not None and reading.is_terminal(protocol, given.kind):
        raise Conflict(f"a death is reported already (event {death.number}): follow it up, or strike it out")
    try:
        found = checks.blocked(_facts(act, participant, given.kind, given, event))
    except entering.EntryError as error:
        raise Refused(str(error), "onset") from None
    if found is not None:
        raise Refused(found.words, _FIELD_OF_CHECK.get(found.rule, ""))


def _death(participant: Participant, but: Event | None) -> Event | None:
    """The event that ended everything, other than this one."""
    protocol = opening.folder().protocol
    kinds = [kind for kind, event in protocol.events.items() if event.terminal]
    found = Event.objects.filter(participant=participant, kind__in=kinds, removed="")
    return found.exclude(id=but.id if but is not None else None).first()


def _facts(act: Act, participant: Participant, kind: str, said: Any, event: Event | None) -> Reported:
    """What the checks look at, of a report that is coming in or stands."""
    protocol = opening.folder().protocol
    aware = said.aware_at
    return Reported(
        kind=kind,
        label=reading.label_of(protocol, kind),
        terminal=reading.is_terminal(protocol, kind),
        grade=said.grade,
        serious=said.serious,
        serious_because=said.serious_because,
        outcome=said.outcome,
        onset=said.onset,
        ended=said.ended,
        aware_at=None if aware is None else aware.astimezone(ZoneInfo(participant.site.zone)),
        now=act.at,
        today=act.today(),
        consent_on=participant.consent_on,
        ended_on=participant.ended_on,
        has_death=_death(participant, event) is not None,
        ended_how=participant.ended_how,
    )


def _keep_day_of_death(participant: Participant, event: Event, given: EventReport) -> None:
    ended = participant.ended_how == "died" and reading.is_terminal(opening.folder().protocol, event.kind)
    if ended and not _is_on(given.onset, participant.ended_on):
        raise Refused(
            f"follow-up has ended with this death on {entering.said(participant.ended_on)}: undo that first",
            "onset",
        )


def _is_on(partial: str, day: Any) -> bool:
    return bool(entering.earliest(partial) <= day <= entering.latest(partial))


def _field(said: Any, name: str) -> Any:
    return getattr(said, name)


def _words(name: str) -> str:
    return {"serious_because": "criterion of seriousness", "attributed": "relation to the drug",
            "aware_at": "when the site learned of it"}.get(name, name)  # fmt: skip


def _add_version(
    act: Act, event: Event, given: EventReport, before: EventVersion | None, reason: str
) -> None:
    """Add a report, and note each field that is new (whoever must not know the arm reads only those)."""
    version = EventVersion(
        event=event,
        version=1 if before is None else before.version + 1,
        person=act.actor.person.username,
        at=act.at,
        **{name: _field(given, name) for name in FIELDS},
    )
    where = _where(event)
    act.create(version, "event report", reason=reason, **{**where, "reveals_arm": True})
    for name in FIELDS:
        old = None if before is None else _field(before, name)
        new = _field(given, name)
        if old == new or (before is None and new in (None, "")):
            continue
        tells = where["reveals_arm"] or name in TELLS_ARM
        act.record(
            "event", event.id, field=name, row=version.version, old=as_text(old), new=as_text(new),
            reason=reason, **{**where, "reveals_arm": tells},
        )  # fmt: skip


def _place(event: Event) -> str:
    label = reading.label_of(opening.folder().protocol, event.kind)
    return f"event {event.number}: {label}"[:120]


def _where(event: Event) -> dict[str, Any]:
    return {
        "participant": event.participant.number,
        "place": _place(event),
        "reveals_arm": reading.reveals_arm(opening.folder().protocol, event.kind),
    }


# --- what follows a report --------------------------------------------------------------------------------


def _followed(act: Act, event: Event) -> dict[str, Any]:
    """Queries, endpoint, schedule and decisions after a report; the answer of the command."""
    participant = event.participant
    found = _follow_checks(act, participant, event)
    candidate = _follow_endpoint(act, event)
    _follow_others(act, participant, event)
    settle(act, participant)
    view = reading.views(EventVersion.objects.filter(event=event))[0]
    return {
        "event": str(event.id),
        "number": event.number,
        "version": view.latest.version,
        "endpoint_candidate": candidate,
        "due": None if view.deadline is None else view.deadline.due,
        "warnings": [{"rule": one.rule, "level": one.level, "words": one.words} for one in found],
    }


def _found_in(act: Act, participant: Participant, event: Event) -> list[Finding]:
    facts = _facts(act, participant, event.kind, _latest(event), event)
    return [one for one in checks.look(facts) if one.level != checks.BLOCK]


def _follow_checks(act: Act, participant: Participant, event: Event) -> list[Finding]:
    return queries.follow_findings(
        act, participant, _found_in(act, participant, event), subject=str(event.id),
        reveals_arm=reading.reveals_arm(opening.folder().protocol, event.kind), place=_place(event),
    )  # fmt: skip


def _follow_others(act: Act, participant: Participant, but: Event | None) -> None:
    """What a death, or the end of follow-up, says of the participant's other events."""
    for event in Event.objects.filter(participant=participant, removed="").exclude(
        id=but.id if but else None
    ):
        _follow_checks(act, participant, event)


def _follow_endpoint(act: Act, event: Event) -> bool:
    """Open an endpoint candidate for an event that may count, in the transaction that reports it."""
    protocol, latest = opening.folder().protocol, _latest(event)
    standing = Query.objects.filter(
        participant=event.participant, subject=str(event.id), rule=queries.ENDPOINT
    ).exclude(state=Query.CANCELLED)
    counts = reading.is_endpoint(protocol, event.kind, latest.term, latest.serious)
    label = reading.label_of(protocol, event.kind)
    what = label if latest.term == label else f"{label}, {latest.term}"
    words = f"Endpoint to be documented: {what}, onset {entering.as_known(latest.onset)}"
    query = standing.first()
    if not counts:
        if query is not None and query.state in queries.STANDING:
            queries.move(act, query, Query.CANCELLED, "no longer a candidate for an endpoint", _place(event))
        return False
    tells = reading.reveals_arm(protocol, event.kind)
    if query is None:
        finding = Finding(queries.ENDPOINT, "", checks.QUERY, words)
        queries.raise_query(act, event.participant, finding, None, str(event.id), tells, _place(event))
    elif query.text != words:
        act.change(query, "query", {"text": words}, **_where(event))
    return True


def standing_value(act: Act, query: Query) -> str:
    """What a check's query about an event is about, as a confirmation holds it."""
    event = Event.objects.filter(id=query.subject, participant=query.participant).first()
    if event is None:
        return "as it stands"
    found = _found_in(act, query.participant, event)
    return next((one.value for one in found if one.rule == query.rule), "as it stands")


# --- the end of follow-up ---------------------------------------------------------------------------------


@command("disposition.record", RecordDisposition)
def record_disposition(act: Act, given: RecordDisposition) -> dict[str, Any]:
    """Record how and when the follow-up of a participant ended."""
    participant = act.allow_at(given.participant)
    if participant.status != Participant.RANDOMIZED:
        raise Conflict(f"{participant.number} is not in follow-up: {participant.status}")
    if given.on > act.today():
        raise Refused(f"{entering.said(given.on)} lies in the future", "on")
    if given.on < participant.randomized_on:
        raise Refused(f"{entering.said(given.on)} is before randomisation", "on")
    if given.status in ("withdrew", "lost to follow-up") and not given.reason.strip():
        raise Refused("say why, as far as it is known", "reason")
    _check_death(participant, given)
    _check_nothing_later(participant, given.on)
    act.change(
        participant,
        "participant",
        {"status": Participant.ENDED, "ended_on": given.on, "ended_how": given.status},
        reason=given.reason,
        participant=participant.number,
        place="end of follow-up",
    )
    _follow_others(act, participant, None)
    settle(act, participant)
    return {"participant": participant.number, "status": given.status, "on": given.on}


def _check_death(participant: Participant, given: RecordDisposition) -> None:
    """The end and the death agree, or neither is there."""
    death = _death(participant, None)
    if given.status != "died":
        if death is not None:
            raise Refused(f"a death is reported (event {death.number}): follow-up ended with it", "status")
        return
    if death is None:
        raise Refused("report the death as an event first", "status")
    onset = _latest(death).onset
    if not _is_on(onset, given.on):
        raise Refused(f"the death is reported on {onset}, not on {entering.said(given.on)}", "on")


def _check_nothing_later(participant: Participant, day: date) -> None:
    later = ending.after(participant, day)
    if later:
        shown = "; ".join(one.words for one in later[:LATER_SHOWN])
        more = f" and {len(later) - LATER_SHOWN} more" if len(later) > LATER_SHOWN else ""
        raise Refused(
            f"something is on record after {entering.said(day)}: {shown}{more}. Correct what is wrong, or "
            f"date the end on {entering.said(later[-1].on)} or later",
            "on",
        )


@command("disposition.undo", UndoDisposition)
def undo_disposition(act: Act, given: UndoDisposition) -> dict[str, Any]:
    """Take back the end of a follow-up that was recorded in error."""
    participant = act.allow_at(given.participant)
    if participant.status != Participant.ENDED:
        raise Conflict(f"the follow-up of {participant.number} has not ended")
    said = {
        "participant": participant.number,
        "ended_on": participant.ended_on,
        "ended_how": participant.ended_how,
        "reason": given.reason,
    }
    act.sign(
        "disposition", participant.id, said, "the end of this follow-up was recorded in error",
        participant.number,
    )  # fmt: skip
    act.change(
        participant,
        "participant",
        {"status": Participant.RANDOMIZED, "ended_on": None, "ended_how": ""},
        reason=given.reason,
        participant=participant.number,
        place="end of follow-up",
    )
    _follow_others(act, participant, None)
    settle(act, participant)
    return {"participant": participant.number, "status": participant.status}
