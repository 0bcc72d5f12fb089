"""The fields of the pages where people act: what is asked, in which words, what was typed, what is wrong.

A page that is refused shows the refusal at its field, with everything that was typed still there. Dates are
read as people write them; the form that is shown is `03 May 2026`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from equipoise.conduct import clock, entering
from equipoise.conduct.gateway import NotFound, Refused
from equipoise.conduct.models import Participant, Site
from equipoise.conduct.pages.acting import act

Kind = Literal["text", "date", "time", "number", "choice", "radio", "tick", "long"]


class Choice(NamedTuple):
    """One answer that may be picked."""

    value: str
    label: str


@dataclass(frozen=True)
class Field:
    """One thing that a page asks."""

    name: str
    label: str
    kind: Kind = "text"
    value: str = ""
    choices: tuple[Choice, ...] = ()
    hint: str = ""
    needed: bool = True
    suggestions: tuple[str, ...] = ()
    unit: str = ""
    error: str = ""
    place: str = ""
    """Tells fields of one name on one page apart."""

    @property
    def id(self) -> str:
        """Identifier within the page."""
        return f"f-{self.place}{self.name}"

    @property
    def ticked(self) -> bool:
        """Whether a tick box is ticked."""
        return self.value == "yes"


def filled(fields: tuple[Field, ...], typed: Mapping[str, str], refused: Refused | None) -> list[Field]:
    """The fields with what was typed and, at its field, what was refused."""
    return [
        replace(
            field,
            value=typed.get(field.name, "" if typed else field.value),
            error=refused.words if refused is not None and refused.field == field.name else "",
        )
        for field in fields
    ]


def site_choices(viewer: Any) -> tuple[Choice, ...]:
    """The sites whose participants somebody sees, to filter a list by."""
    return (
        Choice("", "all"),
        *(Choice(str(one.number), f"{one.number:03} {one.name}") for one in viewer.sites_of_participants()),
    )


def choices(*words: str) -> tuple[Choice, ...]:
    """Words that may be picked, as they stand; the empty one is called by a dash."""
    return tuple(Choice(word, word or "–") for word in words)


# --- what was typed ---------------------------------------------------------------------------------------


def typed(request: HttpRequest, name: str) -> str:
    """What was typed in a field."""
    return request.POST.get(name, "").strip()


def day(request: HttpRequest, name: str, today: date) -> date:
    """The date typed in a field; raises `Refused` at the field when it is none."""
    text = typed(request, name)
    try:
        return entering.read_date(text, today)
    except entering.EntryError as error:
        raise Refused(str(error), name) from None


def partial_day(request: HttpRequest, name: str, today: date, *, optional: bool = False) -> str:
    """The date typed in a field, as precise as it is known; raises `Refused` at the field."""
    text = typed(request, name)
    if optional and not text:
        return ""
    try:
        return entering.read_partial_date(text, today)
    except entering.EntryError as error:
        raise Refused(str(error), name) from None


def moment(request: HttpRequest, name: str, site: Site) -> datetime | None:
    """Date and time typed in the two fields `name`_on and `name`_time, on the clock of the site."""
    if not typed(request, f"{name}_on") and not typed(request, f"{name}_time"):
        return None
    on = day(request, f"{name}_on", clock.today(site.zone))
    try:
        at = datetime.strptime(typed(request, f"{name}_time"), "%H:%M").time()
    except ValueError:
        raise Refused("a time is hours and minutes, such as 07:30", f"{name}_time") from None
    return datetime.combine(on, at, ZoneInfo(site.zone))


def whole(request: HttpRequest, name: str) -> int | None:
    """The whole number typed in a field; None when it is empty."""
    text = typed(request, name)
    if not text:
        return None
    number = entering.read_whole(text)
    if number is None:
        raise Refused("this must be a whole number", name)
    return number


def decimal(text: str, name: str) -> float | None:
    """A number typed in a field, with point or comma; None when it is empty."""
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        raise Refused(f"“{text}” is not a number", name) from None
    if number != number or number in (float("inf"), float("-inf")):
        raise Refused(f"“{text}” is not a number", name)
    return number


def identifier(text: str) -> UUID:
    """An identifier in an address; what is none names nothing."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("there is nothing of that name for you") from None


# --- acting -----------------------------------------------------------------------------------------------


def attempt(
    request: HttpRequest, command: str, inputs: Callable[[], Mapping[str, Any]]
) -> dict[str, Any] | Refused:
    """Carry out a command with the inputs that the page gives, or say what was refused. What does not exist
    for the person stays a page of its own."""
    try:
        return act(request, command, inputs())
    except NotFound:
        raise
    except Refused as refused:
        return refused


def participant_of(request: HttpRequest) -> Participant:
    """The participant whom the address names; the table of access has seen to it that they may be seen."""
    return request.participant


def viewer_of(request: HttpRequest) -> Any:
    """Who looks."""
    return request.viewer
