"""Screening: a number for who gave consent, the investigator's signature under eligibility, and failures."""

from __future__ import annotations

from typing import Any

from equipoise.conduct import journal, opening
from equipoise.conduct.entering import short
from equipoise.conduct.gateway import Act, Conflict, NotFound, Refused, as_text, command
from equipoise.conduct.inputs import FailScreening, SignEligibility, StartScreening
from equipoise.conduct.models import Participant, Site
from equipoise.conduct.numbering import screening_number
from equipoise.conduct.reading.eligibility import SIGNED_AS, screening, site_closed

FEW_PLACES = 0.2
"""Share of places below which whoever screens is warned (assumed)."""
MOST_PER_SITE = 9999
"""As many as the four digits of a screening number can count."""


@command("screening.start", StartScreening)
def start(act: Act, given: StartScreening) -> dict[str, Any]:
    """Give a screening number to somebody who gave consent."""
    site = Site.objects.filter(number=given.site).first()
    if site is None:
        raise NotFound("there is nothing of that name for you")
    act.allow(site)
    today = act.today()
    if act.trial.suspended:
        raise Refused(f"nobody is screened while randomisation is suspended: {act.trial.suspended}")
    closed = site_closed(site, today, act.trial.protocol_sha256)
    if closed:
        raise Refused(f"{closed}: nobody is screened there", "site")
    left = act.trial.places - act.trial.allocated
    if left <= 0:
        raise Refused(
            f"no places are left: all {act.trial.places} are taken; ask nobody for consent until the trial "
            "manager has raised the number"
        )
    _check_dates(site, given, today)
    last = Participant.objects.filter(site=site).order_by("-number").values_list("number", flat=True).first()
    number = 1 if last is None else int(last.split("-")[1]) + 1
    if number > MOST_PER_SITE:
        raise Refused(f"site {site.number} has used all its {MOST_PER_SITE} screening numbers", "site")
    act.change(act.trial, "trial", {"screened": act.trial.screened + 1})
    participant = Participant(
        number=screening_number(site.number, number), candidate=act.trial.screened, site=site,
        screened_on=given.screened_on, consent_on=given.consent_on, consent_version=given.consent_version,
    )  # fmt: skip
    act.create(participant, "participant", participant=participant.number)
    act.after.append(lambda: journal.catch_up(opening.folder()))
    in_screening = Participant.objects.filter(status=Participant.SCREENING).count()
    warning = ""
    if left <= FEW_PLACES * act.trial.places:
        warning = f"{left} of {act.trial.places} places are left; {in_screening} are in screening"
    return {"participant": participant.number, "places_left": left, "warning": warning}


def _check_dates(site: Site, given: StartScreening, today: Any) -> None:
    if given.consent_on > today:
        raise Refused("consent is dated in the future", "consent_on")
    if given.screened_on > today:
        raise Refused("screening is dated in the future", "screened_on")
    if given.consent_on > given.screened_on:
        raise Refused("consent comes before anything is done for screening", "consent_on")
    if given.consent_on < site.opened_on:
        raise Refused(f"consent is dated before the site was open ({short(site.opened_on)})", "consent_on")


@command("screening.fail", FailScreening)
def fail(act: Act, given: FailScreening) -> dict[str, Any]:
    """Record that somebody in screening will not be randomised, with the criteria that are not met."""
    participant = act.allow_at(given.participant)
    if participant.status != Participant.SCREENING:
        raise Conflict(f"{participant.number} is not in screening: {participant.status}")
    found = screening(participant, act.today())
    not_met = [one.id for one in found.criteria if one.met == "no"]
    not_known = [one.id for one in found.criteria if one.met == "unknown"]
    act.record(
        "participant", participant.id, participant=participant.number, field="criteria_at_failure",
        new=as_text({one.id: one.met for one in found.criteria}), reason=given.reason,
    )  # fmt: skip
    reason = given.reason
    reason += f"; not met: {', '.join(not_met)}" if not_met else ""
    act.change(
        participant,
        "participant",
        {"status": Participant.FAILED, "failure_reason": reason},
        reason=given.reason,
        participant=participant.number,
    )
    return {"participant": participant.number, "not_met": not_met, "not_known": not_known}


@command("eligibility.sign", SignEligibility)
def sign(act: Act, given: SignEligibility) -> dict[str, Any]:
    """Sign the assessment of eligibility, as it was shown."""
    participant = act.allow_at(given.participant)
    if participant.status != Participant.SCREENING:
        raise Conflict(f"{participant.number} is not in screening: {participant.status}")
    found = screening(participant, act.today())
    if given.content_sha256 != found.content_sha256:
        raise Conflict("the record has changed since the page was shown: look at it again, then sign")
    if found.eligible != "yes":
        said = [f"{one.id} is {'not met' if one.met == 'no' else 'not known'}" for one in found.criteria
                if one.met != "yes"]  # fmt: skip
        raise Refused(f"only eligibility can be signed: {'; '.join(said)}")
    signature = act.sign(
        SIGNED_AS, participant.id, found.content, "eligible by every criterion of the protocol",
        participant.number,
    )  # fmt: skip
    return {"participant": participant.number, "signature": str(signature), "days_left": found.days_left}
