"""The monitor of a demonstration: comes every month, compares some forms with their source, asks questions;
the sites answer most of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from equipoise.conduct.demo.cast import do
from equipoise.conduct.demo.lives import Clinic
from equipoise.conduct.models import Form, Query

EVERY_DAYS = 28
ANSWERED_AFTER_DAYS = 9
COMPARED, ASKED_ABOUT = 4, 2
"""Days between visits of the monitor and until an answer; forms compared and asked about at each
(assumed)."""
QUESTIONS = (
    "The source shows another date for this visit. Please check.",
    "The laboratory sheet for this value was not found. Please confirm the value.",
    "The diary of side effects mentions a fever on this day. Is an event to be reported?",
)
MONITOR = "mona"


def visits(clinic: Clinic, began: datetime) -> Iterator[datetime]:
    """The monitor's visits, and between them the answers of the sites."""
    moment = began + timedelta(days=2 * EVERY_DAYS)
    number = 0
    while True:
        yield moment
        number += 1
        _close_answered()
        forms = _to_compare(number)
        for form in forms[:COMPARED]:
            _compare(form)
        for place, form in enumerate(forms[COMPARED : COMPARED + ASKED_ABOUT]):
            _ask(form, QUESTIONS[(number + place) % len(QUESTIONS)])
        yield moment + timedelta(days=ANSWERED_AFTER_DAYS)
        _answer()
        moment += timedelta(days=EVERY_DAYS)


def _to_compare(number: int) -> list[Form]:
    """Complete forms that nobody has compared, some of each visit's time."""
    found = (
        Form.objects.filter(status=Form.COMPLETE, kind="visit", values__verified_by="")
        .select_related("participant").distinct().order_by("-done_on", "participant__number")
    )  # fmt: skip
    return list(found[number % 3 :: 3][: COMPARED + ASKED_ABOUT])


def _compare(form: Form) -> None:
    for value in form.values.filter(verified_by=""):
        do("item.verify", MONITOR, form=form.id, item=value.item, row=value.row)


def _ask(form: Form, text: str) -> None:
    item = form.values.order_by("item").values_list("item", flat=True).first() or ""
    do("query.open", MONITOR, participant=form.participant.number, form=form.id, item=item, text=text)


def _asked() -> list[Query]:
    found = Query.objects.filter(opened_by=MONITOR).select_related("participant__site")
    return list(found.order_by("opened_at", "participant__number"))


def _answer() -> None:
    """The sites answer two of three."""
    for place, query in enumerate(_asked()):
        if query.state == Query.OPEN and place % 3 != 2:
            coordinator = Clinic.coordinator(query.participant.site_id)
            do(
                "query.answer", coordinator, query=query.id, confirmed=True,
                text="Compared with the source: it is right as entered.",
            )  # fmt: skip


def _close_answered() -> None:
    for query in _asked():
        if query.state == Query.ANSWERED:
            do("query.close", MONITOR, query=query.id, text="Seen, thank you.")
