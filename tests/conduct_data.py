"""Entering data in tests: forms saved as people save them, in the trial with few questions of `conduct_ready`
or in SILCAAT."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from conduct_trial import actor
from equipoise.conduct import clock

SEEN = object()
"""Stands for the version that the form has now."""


def send(command: str, who: str, **inputs: Any) -> Mapping[str, Any]:
    """Carry out a command whose inputs may have any name."""
    from equipoise.conduct.gateway import perform

    return perform(command, actor(who), inputs)


def save(
    number: str,
    kind: str,
    key: str,
    on: date,
    answers: Mapping[str, Any],
    *,
    who: str = "ada",
    version: Any = SEEN,
    **more: Any,
) -> Mapping[str, Any]:
    """Save a form. An answer is a text, or a mapping of the parts of an answer."""
    given = [
        {"item": item, **(said if isinstance(said, Mapping) else {"text": said})}
        for item, said in answers.items()
    ]
    if version is SEEN:
        version = version_of(number, kind, key)
    return send(
        "form.save", who, participant=number, kind=kind, key=key, done_on=on, answers=given,
        version=version, **more,
    )  # fmt: skip


def version_of(number: str, kind: str, key: str) -> int:
    """The version that somebody who opens the form now sees."""
    form = form_of(number, kind, key)
    return 0 if form is None else form.version


def form_of(number: str, kind: str, key: str) -> Any:
    """The form, None when nothing was saved."""
    from equipoise.conduct.models import Form

    return Form.objects.filter(participant__number=number, kind=kind, key=key).first()


def person(number: str) -> Any:
    """The participant, fresh from the database."""
    from equipoise.conduct.models import Participant

    return Participant.objects.select_related("site").get(number=number)


def viewer(name: str) -> Any:
    """Somebody who looks."""
    from equipoise.conduct.access import Viewer

    return Viewer(actor(name))


def later(days: int, hours: int = 0) -> Any:
    """Inside the block it is so many days later than now."""
    return clock.at(clock.now() + timedelta(days=days, hours=hours))


def arms(number: str) -> str:
    """The arm of somebody randomised."""
    from equipoise.conduct.reading.arms import arm_of

    return str(arm_of(person(number)))


def randomized_to(arm: str, **answers: str) -> str:
    """Somebody randomised to this arm: people are randomised until one falls to it."""
    from conduct_ready import randomized

    for _ in range(20):
        number = randomized(**answers)
        if arms(number) == arm:
            return number
    raise AssertionError(f"nobody fell to {arm}")


def make_due_anew() -> int:
    """Work out anew what is due; for how many participants."""
    from equipoise.conduct import due

    return due.rebuild()
