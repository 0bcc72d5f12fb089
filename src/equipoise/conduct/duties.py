"""Roles, who may do what, and who may see the arm.

Each role has its own duties. A sponsor's role can never write what belongs to a site; whoever reads is not
who writes. The table `MAY` is the whole of it: a command that is not in it can be done by nobody.
"""

from __future__ import annotations

from typing import Final

COORDINATOR: Final = "coordinator"
INVESTIGATOR: Final = "investigator"
PHARMACIST: Final = "pharmacist"
MONITOR: Final = "monitor"
MANAGER: Final = "trial manager"
STATISTICIAN: Final = "unblinded statistician"
ADMINISTRATOR: Final = "administrator"
INSPECTOR: Final = "inspector"

ROLES: Final = (
    COORDINATOR, INVESTIGATOR, PHARMACIST, MONITOR, MANAGER, STATISTICIAN, ADMINISTRATOR, INSPECTOR,
)  # fmt: skip

AT_SITES: Final = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST})
"""Held at named sites only. Monitors and inspectors may be held at named sites or at all."""
ALL_SITES: Final = frozenset({MANAGER, STATISTICIAN, ADMINISTRATOR})
"""Held for the whole trial only."""

SEES_ARM: Final = frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST, MONITOR, STATISTICIAN, INSPECTOR})
"""The trials are open label at the site; the trial manager and the administrator stay blinded, and with the
arm everything that would reveal it: doses, cycles, decisions, counts after randomisation."""
SEES_PARTICIPANTS: Final = frozenset(
    {COORDINATOR, INVESTIGATOR, PHARMACIST, MONITOR, MANAGER, STATISTICIAN, INSPECTOR}
)
"""The administrator sees people and settings, no participant."""
READS_ONLY: Final = frozenset({STATISTICIAN, INSPECTOR})

FORBIDDEN_PAIRS: Final = (
    *((blinded, seeing) for blinded in ROLES if blinded not in SEES_ARM
      for seeing in ROLES if seeing in SEES_ARM),
    (STATISTICIAN, COORDINATOR), (STATISTICIAN, INVESTIGATOR), (STATISTICIAN, PHARMACIST),
    (STATISTICIAN, MONITOR),
    (MONITOR, COORDINATOR), (MONITOR, INVESTIGATOR), (MONITOR, PHARMACIST),
    (INSPECTOR, COORDINATOR), (INSPECTOR, INVESTIGATOR), (INSPECTOR, PHARMACIST), (INSPECTOR, MONITOR),
    (INSPECTOR, STATISTICIAN),
)  # fmt: skip
"""Duties that nobody may hold together, at whatever site: whoever is blinded sees the arm nowhere, and who
checks or only reads is not who writes."""

_SITE: Final = frozenset({COORDINATOR, INVESTIGATOR})

MAY: Final[dict[str, frozenset[str]]] = {
    # the trial and its people
    "site.add": frozenset({MANAGER}),
    "site.open": frozenset({MANAGER}),
    "site.close": frozenset({MANAGER}),
    "trial.places": frozenset({MANAGER}),
    "trial.freeze": frozenset({MANAGER}),
    "trial.unfreeze": frozenset({MANAGER}),
    "person.add": frozenset({ADMINISTRATOR}),
    "person.deactivate": frozenset({ADMINISTRATOR}),
    "person.reset": frozenset({ADMINISTRATOR}),
    "duty.grant": frozenset({ADMINISTRATOR}),
    "duty.revoke": frozenset({ADMINISTRATOR}),
    "access.review": frozenset({ADMINISTRATOR}),
    "token.issue": frozenset(ROLES),
    "token.revoke": frozenset(ROLES),
    "audit.take": frozenset(ROLES),
    # screening and randomisation
    "screening.start": _SITE,
    "screening.fail": _SITE,
    "eligibility.sign": frozenset({INVESTIGATOR}),
    "randomize": _SITE,
    "allocation.in_error": frozenset({INVESTIGATOR}),
    "randomization.resume": frozenset({STATISTICIAN}),
    # data
    "form.save": _SITE,
    "form.not_done": _SITE,
    "form.sign": frozenset({INVESTIGATOR}),
    "item.verify": frozenset({MONITOR}),
    "medication.save": _SITE,
    "query.open": frozenset({MONITOR, MANAGER, COORDINATOR, INVESTIGATOR}),
    "query.answer": _SITE,
    "query.close": frozenset({MONITOR, MANAGER}),
    "query.cancel": frozenset({MONITOR, MANAGER}),
    # treatment
    "decision.take": frozenset({INVESTIGATOR}),
    "cycle.injections": frozenset({COORDINATOR, INVESTIGATOR, PHARMACIST}),
    "hold.place": frozenset({INVESTIGATOR}),
    "hold.release": frozenset({INVESTIGATOR}),
    "flag.settle": frozenset({INVESTIGATOR}),
    # safety and the end
    "event.report": _SITE,
    "event.follow_up": _SITE,
    "event.remove": frozenset({INVESTIGATOR}),
    "disposition.record": _SITE,
    "disposition.undo": frozenset({INVESTIGATOR}),
}
"""Command -> roles that may do it. The trial manager may query site data, never change it."""

SIGNS: Final = frozenset(
    {"eligibility.sign", "form.sign", "decision.take", "allocation.in_error", "disposition.undo"}
)
"""Commands that are signed: the person gives the password again."""
SECOND_FACTOR: Final = SIGNS | frozenset(
    {
        "randomize", "randomization.resume", "person.add", "person.deactivate", "person.reset",
        "duty.grant", "duty.revoke", "trial.freeze", "trial.unfreeze", "trial.places", "site.open",
        "token.issue",
    }
)  # fmt: skip
"""Commands for which the session must have been opened with a second factor."""
REVEALS_ARM: Final = frozenset(
    {"decision.take", "cycle.injections", "hold.place", "hold.release", "flag.settle"}
)
"""Commands whose mere presence tells the arm: blinded readers of the ledger do not see them."""
SHOWN_ONCE: Final = frozenset({"password", "token", "arm"})
"""Parts of an answer that are kept nowhere: a request sent again gets its answer without them."""
WHILE_FROZEN: Final = frozenset(
    {"trial.unfreeze", "audit.take", "token.issue", "token.revoke", "duty.grant", "duty.revoke", "person.add",
     "person.deactivate", "person.reset", "access.review"}
)  # fmt: skip
"""What may still be done while the data are frozen."""
