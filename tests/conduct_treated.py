"""Participants under treatment, for tests: somebody in an arm, and what happens to them by commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from conduct_trial import actor, do
from equipoise.conduct import clock, opening

STAFF = {1: ("ada", "ivo"), 2: ("cas", "ina")}
"""Site -> coordinator and investigator."""
SILCAAT_CHECK = {
    "on_art": "yes", "pregnant": "no", "breastfeeding": "no", "contraception_effective": "yes",
    "oral_contraceptive_restarted": "no", "toxicity_reviewed": "yes",
}  # fmt: skip
"""Nothing that stands in the way of a cycle."""


@contextmanager
def at(day: date, hour: int = 12) -> Iterator[None]:
    """Inside the block it is noon (UTC) of that day."""
    with clock.at(datetime(day.year, day.month, day.day, hour, tzinfo=UTC)):
        yield


def placed(
    arm: str,
    on: date,
    *,
    baseline: Mapping[str, Any],
    strata: Mapping[str, str],
    number: int = 1,
    site: int = 1,
) -> Any:
    """Somebody randomised to that arm on that day, with these values at baseline."""
    from equipoise.conduct import sealing
    from equipoise.conduct.models import Allocation, Participant, Site

    person = Participant.objects.create(
        number=f"{site:03d}-{number:04d}-A", candidate=number, site=Site.objects.get(number=site),
        status=Participant.RANDOMIZED, screened_on=on - timedelta(days=10),
        consent_on=on - timedelta(days=10), consent_version="1", randomized_number=number, randomized_on=on,
        strata=dict(strata), baseline=dict(baseline),
    )  # fmt: skip
    allocation = Allocation(
        sequence=number, participant=person, request_key=str(number), stratum="all", position=number,
        inputs={"strata": dict(strata), "baseline": dict(baseline)},
        protocol_sha256=opening.folder().protocol_sha256, person="ivo", at=clock.now(),
    )  # fmt: skip
    allocation.sealed_arm = sealing.seal(
        opening.folder().key("allocation"), arm, sealing.bound(allocation.id, person.id)
    )
    allocation.save()
    return person


def in_silcaat(on: date, arm: str = "il2", cd4: float = 150.0, number: int = 1) -> Any:
    """Somebody in SILCAAT with this CD4 count at baseline."""
    level = "50-199" if cd4 < 200 else "200-299"
    return placed(
        arm, on, baseline={"cd4": cd4, "hiv_rna": 50.0, "sex": "female", "age": 40.0, "country": "USA"},
        strata={"cd4_stratum": level, "country": "USA"}, number=number,
    )  # fmt: skip


def form(person: Any, kind: str, key: str, on: date, reason: str = "", **answers: str) -> Mapping[str, Any]:
    """Save answers on a form as the coordinator of the site; a form that stands is changed."""
    from equipoise.conduct.models import Form

    found = Form.objects.filter(participant=person, kind=kind, key=key).first()
    from equipoise.conduct.gateway import perform

    return perform(
        "form.save", actor(STAFF[person.site_id][0]),
        {
            "participant": person.number, "kind": kind, "key": key, "done_on": on, "reason": reason,
            "answers": [_answer(item, text) for item, text in answers.items()],
            "version": 0 if found is None else found.version,
        },
    )  # fmt: skip


def _answer(item: str, text: str) -> dict[str, str]:
    from equipoise.conduct.models import Value

    return {"item": item, "missing": text} if text in Value.MISSING else {"item": item, "text": text}


def visit(person: Any, key: str, on: date, reason: str = "", **answers: str) -> Mapping[str, Any]:
    """Answers at a planned visit."""
    return form(person, "visit", key, on, reason, **answers)


def check(person: Any, regimen: str, on: date, **answers: str) -> Mapping[str, Any]:
    """Answers to the check before a cycle."""
    return form(person, "check", f"{regimen}:{on.isoformat()}", on, **answers)


def proposal(person: Any, regimen: str, on: date) -> Any:
    """What the rules propose."""
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading import situation

    return situation.proposal(Participant.objects.select_related("site").get(id=person.id), regimen, on)


def decide(
    person: Any, regimen: str, on: date, accepted: str | None = None, **more: Any
) -> Mapping[str, Any]:
    """Take the decision that is proposed (or with `override` another); a cycle is agreed to unless
    `accepted` says otherwise."""
    found = proposal(person, regimen, on)
    begins = found.starts if "override" not in more else more["override"] in ("start", "reduce", "escalate")
    answer = accepted if accepted is not None else "yes" if begins else "not asked"
    return do(
        "decision.take", STAFF[person.site_id][1], participant=person.number, regimen=regimen, on=on,
        **{"content_sha256": found.content_sha256, "accepted": answer, **more},
    )  # fmt: skip


def event(person: Any, onset: date | str, grade: int | None, *, kind: str = "adverse_event",
          attributed: bool | None = True, **more: Any) -> Mapping[str, Any]:  # fmt: skip
    """Report an event."""
    return do(
        "event.report", STAFF[person.site_id][0], participant=person.number, kind=kind,
        onset=str(onset), grade=grade, attributed=attributed,
        **{"term": "fever", "serious": False, **more},
    )  # fmt: skip


def in_treatment(number: str) -> Any:
    """Somebody in SILCAAT with everything that a participant can have: forms, a decision with its cycle and a
    flag, an event, a medication, a query, a hold. Site and count are those of the number."""
    today = clock.now().date()
    site, count = int(number[:3]), int(number[4:8])
    coordinator, investigator = STAFF[site]
    person = placed(
        "il2", today, number=count, site=site,
        baseline={"cd4": 150.0, "hiv_rna": 50.0, "sex": "female", "age": 40.0, "country": "USA"},
        strata={"cd4_stratum": "50-199", "country": "USA"},
    )  # fmt: skip
    form(person, "screening", "prestudy1", today, age="40")
    visit(person, "entry:0", today, cd4="150", hiv_rna="50", on_art="yes")
    check(person, "aldesleukin", today, **SILCAAT_CHECK)
    decide(person, "aldesleukin", today)
    form(person, "check", f"aldesleukin:{today.isoformat()}", today, "source corrected", pregnant="yes")
    event(person, today, 2, attributed=False)
    do("medication.save", coordinator, participant=number, drug="zidovudine", started="2003-05")
    do("query.open", "mona", participant=number, text="please look")
    do("hold.place", investigator, participant=number, since=today, reason="intercurrent illness")
    return person
