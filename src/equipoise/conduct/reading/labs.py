"""Results of measurements: recent ones and those still awaited, as reported and in the unit of the item."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Lower

from equipoise.conduct import opening
from equipoise.conduct.models import Decision, Entry, Form, Participant, Value
from equipoise.conduct.reading.forms import item_of, measured_on
from equipoise.protocol.model import Item, Protocol
from equipoise.protocol.quantities import DAYS_PER

AWAITED = "awaited"
AWAITED_DAYS = 365
"""How far back awaited results are looked for (assumed)."""


@dataclass(frozen=True)
class Result:
    """One result. `range_words` is empty where it lies within the range of the item; `decided` says that a
    dosing decision was read from it, `corrected` that it was changed after its form was complete."""

    participant: str
    site: int
    item: str
    label: str
    on: date
    reported: str
    converted: str
    missing: str
    range_words: str
    decided: bool
    corrected: bool
    verified: bool
    form: Any
    kind: str
    key: str


def measured(protocol: Protocol) -> dict[str, Item]:
    """Items that a laboratory or an instrument measures: numbers with a unit that is not one of time."""
    times = {word for unit in DAYS_PER for word in (unit, f"{unit}s")}
    return {
        name: item
        for name, item in protocol.items.items()
        if item.type == "number" and item.unit and item.unit not in times
    }


def results(
    participants: QuerySet[Participant] | None, today: date, days: int, item: str = "", only: str = ""
) -> QuerySet[Value]:
    """Values of measured items, latest first; of everybody without `participants`. `only`: awaited, out of
    range."""
    names = [item] if item else list(measured(opening.folder().protocol))
    back = max(days, AWAITED_DAYS) if only == AWAITED else days
    forms = Form.objects.filter(done_on__gte=today - timedelta(days=back)).order_by()
    if participants is not None:
        forms = forms.filter(participant__in=participants.order_by())
    found = (
        Value.objects.alias(
            named=Lower("item")
        )  # not by the index of items: the dates of forms narrow it more
        .filter(form__in=forms, named__in=names)
        .select_related("form__participant")
        .order_by("-form__done_on", "form__participant__number", "item")
    )
    if only == AWAITED:
        return found.filter(missing=AWAITED)
    found = found.filter(Q(missing="") | Q(missing=AWAITED))
    if only == "out of range":
        outside = Q(pk__in=[])
        for name, one in measured(opening.folder().protocol).items():
            if one.range is not None:
                outside |= Q(item=name) & (Q(number__lt=one.range[0]) | Q(number__gt=one.range[1]))
        found = found.filter(outside)
    return found


def lines(values: Iterable[Value]) -> list[Result]:
    """Results as they are shown, with what became of them."""
    shown = list(values)
    protocol = opening.folder().protocol
    forms = {str(one.form_id) for one in shown}
    corrected = set(
        Entry.objects.filter(subject__in=forms, kind="value", old__isnull=False)
        .exclude(reason="")
        .values_list("subject", "field")
    )
    decided: set[str] = set()
    people = {one.form.participant_id for one in shown}
    for sources in Decision.objects.filter(participant__in=people).values_list("sources", flat=True):
        decided |= {str(one["id"]) for one in sources["read"] if one["kind"] == "value"}
    return [_result(protocol, one, decided, corrected) for one in shown]


def _result(protocol: Protocol, value: Value, decided: set[str], corrected: set[tuple[str, str]]) -> Result:
    item = item_of(protocol, value.item)
    unit = value.unit or item.unit
    converted = ""
    if value.number is not None and unit != item.unit:
        converted = f"{value.qualifier}{value.number:g} {item.unit}"
    return Result(
        participant=value.form.participant.number,
        site=value.form.participant.site_id,
        item=value.item,
        label=item.label,
        on=measured_on(value),
        reported=f"{value.text} {unit}".strip() if value.text else "",
        converted=converted,
        missing=value.missing,
        range_words=_outside(item, value.number),
        decided=str(value.id) in decided,
        corrected=(str(value.form_id), value.item) in corrected,
        verified=bool(value.verified_by),
        form=value.form_id,
        kind=value.form.kind,
        key=value.form.key,
    )


def _outside(item: Item, number: float | None) -> str:
    if item.range is None or number is None or item.range[0] <= number <= item.range[1]:
        return ""
    return f"outside {item.range[0]:g} to {item.range[1]:g} {item.unit}"
