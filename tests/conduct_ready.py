"""Participants who are ready to be randomised, in a trial with few questions: a variant of the bundled
erythropoietin protocol, randomised in permuted blocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from conduct_trial import START, actor, copied, do, fill
from equipoise.conduct import clock, opening
from equipoise.conduct.folder import TrialFolder

ANSWERS = {
    "age": "61", "sex": "female", "weight": "70", "haemoglobin": "8.5", "ferritin": "200", "egfr": "20",
    "dialysis": "none", "systolic": "140", "stroke_months": "600", "thrombosis_active": "no",
    "epo_past_3_months": "no", "consent": "yes",
}  # fmt: skip
"""Eligible, in the stratum "below 9" without dialysis."""
METHODS = {
    "permuted blocks": "method: permuted blocks\n  blocks: [3, 6]",
    "blocks of three": "method: permuted blocks\n  blocks: [3]",
    "minimisation": "method: minimisation\n  best_arm_probability: 0.8",
    "simple": "method: simple",
}
READY = 8
"""Ready participants of the trials that several tests share."""
SITES = {"ada": ("ivo", 1), "cas": ("ina", 2)}
"""Coordinator -> investigator and site."""


@cache
def protocol_file(method: str = "permuted blocks") -> str:
    """A protocol file that randomises 2:1 by this method."""
    import equipoise.protocol as protocols

    library = Path(protocols.__file__).parent / "library" / "erythropoietin.yaml"
    text = library.read_text(encoding="utf-8").replace("  best_arm_probability: 0.8\n", "")
    assert "method: minimisation" in text
    file = Path(mkdtemp(prefix="equipoise-protocol-")) / "few.yaml"
    file.write_text(text.replace("method: minimisation", METHODS[method]), encoding="utf-8")
    if method == "simple":
        file.write_text(file.read_text().replace("\n  strata: [haemoglobin_stratum, dialysis]\n", "\n"))
    return str(file)


def screened(who: str = "ada", **answers: str) -> str:
    """Somebody screened today with these answers; their number."""
    today = clock.today("Europe/Copenhagen")
    number = do(
        "screening.start", who, site=SITES[who][1], screened_on=today, consent_on=today, consent_version="1.0"
    )["participant"]
    save(number, who, today, **answers)
    return str(number)


def save(number: str, who: str, on: date, *, version: int = 0, reason: str = "", **answers: str) -> None:
    """Save the screening form with these answers beside the usual ones."""
    from equipoise.conduct.gateway import perform

    given = [{"item": item, "text": text} for item, text in {**ANSWERS, **answers}.items()]
    inputs = {
        "participant": number, "kind": "screening", "key": "screening", "done_on": on, "answers": given,
        "version": version, "complete": True, "reason": reason,
    }  # fmt: skip
    perform("form.save", actor(who), inputs)


def assessment(number: str) -> Any:
    """The assessment of today."""
    from equipoise.conduct.models import Participant
    from equipoise.conduct.reading.eligibility import screening

    found = Participant.objects.select_related("site").get(number=number)
    return screening(found, clock.today(found.site.zone))


def sign(number: str, who: str = "ada") -> None:
    """Let the investigator of that site sign the eligibility."""
    do(
        "eligibility.sign",
        SITES[who][0],
        participant=number,
        content_sha256=assessment(number).content_sha256,
    )


def ready(who: str = "ada", **answers: str) -> str:
    """Somebody who can be randomised now; their number."""
    number = screened(who, **answers)
    sign(number, who)
    return number


def strata(number: str) -> dict[str, str]:
    """The strata to confirm."""
    return {one.name: one.level for one in assessment(number).strata if one.confirmed}


def randomized(who: str = "ada", **answers: str) -> str:
    """Somebody who has been randomised; their number."""
    number = ready(who, **answers)
    do("randomize", who, participant=number, strata=strata(number))
    return number


@cache
def filled_with(number: int) -> Callable[[], None]:
    """What fills a new trial with people, sites, and so many participants who are ready."""

    def work() -> None:
        fill()
        add_ready(number)

    return work


def add_ready(number: int) -> None:
    """Add so many participants who are ready the day after the trial began, at two sites in turn."""
    with clock.at(START + timedelta(days=1)):
        for one in range(number):
            ready(list(SITES)[one % 2])


@cache
def _template(number: int, method: str) -> Path:
    path = Path(mkdtemp(prefix="equipoise-ready-")) / "trial"
    copied(path, protocol_file(method))
    add_ready(number)
    return path


def copied_ready(folder: Path, number: int, method: str = "permuted blocks") -> TrialFolder:
    """A trial of one's own in `folder`, on SQLite, open, with so many participants who are ready."""
    template = _template(number, method)
    opening.close()
    shutil.copytree(template, folder)
    return opening.use(folder)
