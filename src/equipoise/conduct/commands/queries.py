"""Queries: questions about what is on record. People open and answer them; those that a check raised close
themselves once their reason is gone, and are not raised again for a value that the site has confirmed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from equipoise.conduct import checks, opening
from equipoise.conduct.access import Viewer
from equipoise.conduct.checks import Finding
from equipoise.conduct.gateway import SYSTEM, Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import AnswerQuery, CloseQuery, OpenQuery
from equipoise.conduct.models import Cycle, Decision, Event, Form, Participant, Query, QueryMessage, Value
from equipoise.conduct.reading import forms as reading
from equipoise.conduct.reading import safety as events
from equipoise.conduct.reading.forms import FormPlan

STANDING = (Query.OPEN, Query.ANSWERED)
"""States in which a query still waits for somebody."""
MENDED = "mended: the reason for this query is gone"
ENDPOINT = "endpoint"
"""The rule under which an endpoint is followed up until it is documented."""


# --- following a form -------------------------------------------------------------------------------------


def follow(
    act: Act,
    participant: Participant,
    form: Form,
    plan: FormPlan,
    confirmed: Iterable[str],
    confirmation: str,
    *,
    raise_new: bool,
) -> list[Finding]:
    """Let the queries of the checks follow a form that was saved: those that are mended close, what the site
    confirmed is noted, and new ones open if `raise_new`. Returns what is found and not confirmed."""
    found = reading.findings(participant, form, plan, act.today())
    wanted = set(confirmed)
    if wanted and not confirmation.strip():
        raise Refused("say in words why the value is right", "confirmation")
    return follow_findings(
        act, participant, found, form=form, reveals_arm=plan.kind != reading.SCREENING, place=plan.title,
        confirmed=wanted, confirmation=confirmation.strip(), raise_new=raise_new,
    )  # fmt: skip


def follow_findings(
    act: Act,
    participant: Participant,
    found: list[Finding],
    *,
    form: Form | None = None,
    subject: str = "",
    reveals_arm: bool = False,
    place: str = "",
    confirmed: set[str] | None = None,
    confirmation: str = "",
    raise_new: bool = True,
) -> list[Finding]:
    """The same for any place: a form, or an event (`subject`)."""
    raised = Query.objects.filter(participant=participant, form=form, subject=subject)
    raised = list(raised.exclude(rule__in=("", ENDPOINT)))
    settled = {(one.rule, one.item, one.confirmed) for one in raised if one.confirmed}
    standing = {(one.rule, one.item): one for one in raised if one.state in STANDING}
    open_findings = []
    for finding in found:
        query = standing.pop((finding.rule, finding.item), None)
        if (finding.rule, finding.item, finding.value) in settled:
            if query is not None and query.confirmed != finding.value:
                move(act, query, Query.CLOSED, MENDED, place)
            continue
        if finding.key in (confirmed or ()):
            _confirm(act, participant, finding, query, form, subject, confirmation, reveals_arm, place)
            continue
        open_findings.append(finding)
        if finding.level != checks.QUERY:
            continue
        if query is not None:
            if query.text != finding.words:
                act.change(query, "query", {"text": finding.words}, **_where(query, place))
        elif raise_new:
            raise_query(act, participant, finding, form, subject, reveals_arm, place)
    for query in standing.values():
        move(act, query, Query.CLOSED, MENDED, place)
    return open_findings


def _confirm(
    act: Act, participant: Participant, finding: Finding, query: Query | None, form: Form | None,
    subject: str, words: str, reveals_arm: bool, place: str,
) -> None:  # fmt: skip
    if query is None:
        query = raise_query(act, participant, finding, form, subject, reveals_arm, place)
    act.change(query, "query", {"confirmed": finding.value}, **_where(query, place))
    move(act, query, Query.CLOSED, f"confirmed by the site: {words}", place)


def raise_query(
    act: Act, participant: Participant, finding: Finding, form: Form | None, subject: str, reveals_arm: bool,
    place: str,
) -> Query:  # fmt: skip
    """Open a query for what a check has found."""
    query = Query(
        participant=participant, form=form, item=finding.item, subject=subject, rule=finding.rule,
        reveals_arm=reveals_arm, text=finding.words, opened_by=SYSTEM, opened_at=act.at, changed_at=act.at,
    )  # fmt: skip
    _create(act, query, place)
    return query


def _create(act: Act, query: Query, place: str) -> None:
    act.create(query, "query", **_where(query, place))
    _say(act, query, query.state, query.text, place)


def _where(query: Query, place: str) -> dict[str, Any]:
    return {
        "participant": query.participant.number,
        "place": (place or _place(query))[:120],
        "reveals_arm": query.reveals_arm,
    }


def _place(query: Query) -> str:
    if query.form is None:
        return "event" if query.subject else "participant"
    return reading.plan(opening.folder().protocol, query.participant, query.form.kind, query.form.key).title


def _say(act: Act, query: Query, state: str, words: str, place: str) -> None:
    by = SYSTEM if words in (MENDED, query.text) and query.rule else act.actor.person.username
    message = QueryMessage(query=query, at=act.at, person=by, state=state, text=words)
    act.create(message, "query message", **_where(query, place))


def move(act: Act, query: Query, state: str, words: str, place: str = "") -> None:
    """Take a query to another state, with what was said."""
    act.change(query, "query", {"state": state, "changed_at": act.at}, reason=words, **_where(query, place))
    _say(act, query, state, words, place)


# --- what people do ---------------------------------------------------------------------------------------


def _found(act: Act, query_id: UUID) -> Query:
    query = Query.objects.select_related("participant__site", "form").filter(id=query_id).first()
    if query is None:
        raise NotFound("there is nothing of that name for you")
    act.allow(query.participant.site)
    _check_sight(act, query.participant, query.reveals_arm)
    return query


def _check_sight(act: Act, participant: Participant, reveals_arm: bool) -> None:
    """Whoever does not see the arm sees no query that reveals it."""
    if reveals_arm and not Viewer(act.actor).sees_arm(participant.site):
        raise NotFound("there is nothing of that name for you")


@command("query.open", OpenQuery)
def open_query(act: Act, given: OpenQuery) -> dict[str, Any]:
    """Ask a question about something on record."""
    participant = act.allow_at(given.participant)
    form, reveals, place = None, False, "participant"
    if given.form is not None:
        form = Form.objects.filter(id=given.form, participant=participant).first()
        if form is None:
            raise NotFound("there is nothing of that name for you")
        plan = reading.plan(opening.folder().protocol, participant, form.kind, form.key)
        reveals, place = plan.kind != reading.SCREENING, plan.title
        if given.item and given.item not in plan.asked:
            raise Refused(f'this form does not ask "{given.item}"', "item")
    elif given.item:
        raise Refused("name the form on which the item stands", "form")
    if given.subject:
        reveals, place = _subject(participant, given.subject)
    _check_sight(act, participant, reveals)
    query = Query(
        participant=participant, form=form, item=given.item, subject=given.subject, reveals_arm=reveals,
        text=given.text, opened_by=act.actor.person.username, opened_at=act.at, changed_at=act.at,
    )  # fmt: skip
    _create(act, query, place)
    return {"query": str(query.id)}


def _subject(participant: Participant, subject: str) -> tuple[bool, str]:
    """Whether a question about it would tell the arm, and where it stands."""
    try:
        key = UUID(subject)
    except ValueError:
        raise NotFound("there is nothing of that name for you") from None
    event = Event.objects.filter(id=key, participant=participant).first()
    if event is not None:
        return events.reveals_arm(opening.folder().protocol, event.kind), f"event {event.number}"
    if Decision.objects.filter(id=key, participant=participant).exists():
        return True, "dose decision"
    if Cycle.objects.filter(id=key, participant=participant).exists():
        return True, "cycle"
    raise NotFound("there is nothing of that name for you")


@command("query.answer", AnswerQuery)
def answer_query(act: Act, given: AnswerQuery) -> dict[str, Any]:
    """Answer a question, or confirm that the value is right as it is."""
    query = _found(act, given.query)
    if query.state not in STANDING:
        raise Conflict(f"this query is {query.state}")
    if given.confirmed:
        act.change(query, "query", {"confirmed": _standing_value(act, query)}, **_where(query, ""))
    move(act, query, Query.ANSWERED, given.text)
    return {"query": str(query.id), "state": query.state}


def _standing_value(act: Act, query: Query) -> str:
    """The value that a query is about, as a confirmation holds it."""
    if query.form is not None and query.item:
        value = Value.objects.filter(form=query.form, item=query.item).first()
        return "blank" if value is None else as_text(reading.answer_parts(value)) or ""
    if query.rule and query.subject:
        from equipoise.conduct.commands import safety

        return safety.standing_value(act, query)
    return "as it stands"


@command("query.close", CloseQuery)
def close_query(act: Act, given: CloseQuery) -> dict[str, Any]:
    """Close a question whose answer is accepted."""
    query = _found(act, given.query)
    if query.state not in STANDING:
        raise Conflict(f"this query is {query.state} already")
    if query.state == Query.OPEN and not given.text.strip():
        raise Refused("nobody has answered: say why it is closed", "text")
    move(act, query, Query.CLOSED, given.text.strip() or "accepted")
    return {"query": str(query.id), "state": query.state}


@command("query.cancel", CloseQuery)
def cancel_query(act: Act, given: CloseQuery) -> dict[str, Any]:
    """Take back a question that should not have been asked."""
    query = _found(act, given.query)
    if query.state not in STANDING:
        raise Conflict(f"this query is {query.state} already")
    if not given.text.strip():
        raise Refused("say why it is taken back", "text")
    move(act, query, Query.CANCELLED, given.text.strip())
    return {"query": str(query.id), "state": query.state}
