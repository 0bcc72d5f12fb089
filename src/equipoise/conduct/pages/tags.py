"""Small words for templates: dates, truth, states, the hidden fields of forms.

Available in every template without `{% load %}`:

| in a template | shows |
|---|---|
| `{{ date|day }}` | 3 May 2003, with the weekday as title; a partial date as precisely as it is known |
| `{{ time|moment:zone }}` | 3 May 2003 14:05 Europe/Copenhagen (the trial's zone when none is given) |
| `{{ truth|truth:"met,not met,unknown" }}` | ✓ met, ✗ not met, ? unknown |
| `{{ number|plain }}` | 4.5, 7, 1200: no trailing zeros; nothing for None |
| `{{ word|badge }}`, `{{ word|badge:"warn" }}` | a state as a badge, with its usual tone or the one named |
| `{% request_key %}` | the hidden field that makes a repeated submit harmless |
| `{% sign_fields "meaning" %}` | the password with which something is signed |
| `{% refusal %}` | why the command was refused (`refused` of the context), at the head of the page |
| `{% trouble "field" %}` | the same at its field |
"""

from __future__ import annotations

import math
import uuid
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from equipoise.conduct import entering, opening

register = template.Library()

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
TONES = {
    "good": {
        "complete", "signed", "given", "closed", "met", "done", "randomised", "open for randomisation",
        "verified", "completed", "accepted", "in window", "recovered",
    },
    "warn": {
        "incomplete", "due", "answered", "early", "late", "window open", "reduced", "unknown", "awaited",
        "not done", "hold", "on hold", "lapsed", "corrected", "open", "out of range", "window closing",
    },
    "bad": {"overdue", "missed", "serious", "died", "screen failure", "refused", "not met", "frozen",
            "suspended"},
    "info": {"planned", "screening", "eligible", "upcoming", "new", "partly given"},
}  # fmt: skip
"""Usual tone of a state; a word not named here has none."""


def in_words(day: date | str | None) -> str:
    """A date as it is read aloud: 3 May 2003; of a partial one what is known: May 2003."""
    if day is None or day == "":
        return ""
    if isinstance(day, date):
        return entering.full(day)
    return entering.as_known(day)


@register.filter
def day(value: date | str | None) -> SafeString | str:
    """A date with its weekday as title, or a partial date."""
    if isinstance(value, datetime):
        value = value.astimezone(ZoneInfo(opening.folder().zone)).date()
    if isinstance(value, str) and len(value) == 10:
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return value
    if not isinstance(value, date):
        return in_words(value)
    return _day(value)


@lru_cache(maxsize=8192)
def _day(value: date) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', value.isoformat(), f"{value:%A}", in_words(value)
    )


@register.filter
def moment(value: datetime | None, zone: str | None = None) -> SafeString | str:
    """A time, in the zone named (else the trial's), with the name of the zone."""
    if value is None:
        return ""
    name = zone or opening.folder().zone
    there = value.astimezone(ZoneInfo(name))
    return format_html(
        '<time datetime="{}" title="{}">{} {}</time> <span class="quietly">{}</span>',
        there.isoformat(timespec="seconds"), f"{there:%A}", in_words(there.date()), f"{there:%H:%M}", name,
    )  # fmt: skip


@register.filter
def clocktime(value: datetime | None, zone: str | None = None) -> SafeString | str:
    """A time without the name of the zone, for tables whose head names it."""
    if value is None:
        return ""
    there = value.astimezone(ZoneInfo(zone or opening.folder().zone))
    return format_html(
        '<time datetime="{}" title="{}">{} {}</time>',
        there.isoformat(timespec="seconds"), f"{there:%A} {there:%H:%M:%S}, {there.tzinfo}",
        in_words(there.date()), f"{there:%H:%M}",
    )  # fmt: skip


@register.filter
def truth(value: bool | None, words: str = "yes,no,unknown") -> SafeString:
    """True, False or None as a mark with its word."""
    yes, no, unknown = words.split(",")
    kind, mark, word = (
        ("unknown", "?", unknown) if value is None else ("yes", "✓", yes) if value else ("no", "✗", no)
    )
    return format_html(
        '<span class="truth {}"><span aria-hidden="true">{}</span> {}</span>', kind, mark, word
    )


@register.filter
def plain(value: Any) -> str:
    """A number without trailing zeros; nothing for one that is not known."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@register.filter
def badge(word: object, tone: str = "") -> SafeString | str:
    """A state as a badge."""
    text = str(word or "")
    return _badge(text, tone) if text else ""


@lru_cache(maxsize=512)
def _badge(text: str, tone: str) -> SafeString:
    found = tone or next((name for name, words in TONES.items() if text.lower() in words), "plain")
    return format_html('<span class="badge {}">{}</span>', found, text)


@register.simple_tag
def request_key() -> SafeString:
    """The hidden field that names this request: sent twice, it is carried out once."""
    return format_html('<input type="hidden" name="request_key" value="{}">', uuid.uuid4())


@register.inclusion_tag("part/sign_fields.html", takes_context=True)
def sign_fields(context: Context, meaning: str = "") -> dict[str, Any]:
    """The field in which the person gives the password again."""
    actor = context.get("actor")
    return {
        "person": actor.person if actor is not None else None,
        "meaning": meaning,
        "refused": context.get("refused"),
    }


@register.inclusion_tag("part/refusal.html", takes_context=True)
def refusal(context: Context) -> dict[str, Any]:
    """Why the command was refused."""
    return {"refused": context.get("refused")}


@register.simple_tag(takes_context=True)
def trouble(context: Context, field: str) -> SafeString | str:
    """What is wrong with this field, where the refusal names it. The field's input has
    `aria-describedby="trouble-FIELD"`."""
    refused = context.get("refused")
    if refused is None or refused.field != field:
        return ""
    return format_html('<span class="trouble" id="trouble-{}">{}</span>', field, refused.words)
