"""What each command is told. Pages and the API build the same inputs; what is not named here is refused."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from equipoise.conduct.gateway import Inputs

Text = Annotated[str, Field(max_length=2000)]
Reason = Annotated[str, Field(min_length=3, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
PartialDate = Annotated[str, Field(pattern=r"^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$")]
"""As precise as known: 2003, 2003-05 or 2003-05-04."""
ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
ScreeningNumber = Annotated[str, Field(pattern=r"^[0-9]{3}-[0-9]{4}-[A-Z0-9]$")]

# --- the trial and its people -----------------------------------------------------------------------------


class AddSite(Inputs):
    number: Annotated[int, Field(ge=1, le=999)]
    name: Name
    country: Name
    zone: Name
    reason: Reason


class OpenSite(Inputs):
    """`protocol_sha256` is typed or pasted by who opens it: the version that the site's approvals name."""

    number: int
    approved_on: date
    protocol_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CloseSite(Inputs):
    number: int
    closed_on: date
    reason: Reason


class SetPlaces(Inputs):
    places: Annotated[int, Field(ge=1, le=1_000_000)]
    reason: Reason


class Freeze(Inputs):
    reason: Reason


class AddPerson(Inputs):
    """The answer holds a password for the first log-in, to be changed there."""

    username: Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{1,58}$")]
    full_name: Name
    email: Annotated[str, Field(max_length=200)] = ""


class DeactivatePerson(Inputs):
    username: Name
    reason: Reason


class ResetPerson(Inputs):
    """The answer holds a new password for the first log-in; the second factor is removed."""

    username: Name
    reason: Reason


class GrantDuty(Inputs):
    username: Name
    role: Name
    site: int | None = None
    since: date
    until: date | None = None
    trained_on: date


class RevokeDuty(Inputs):
    duty: UUID
    reason: Reason


class ReviewAccess(Inputs):
    note: Reason


class IssueToken(Inputs):
    """The answer holds the token, shown once."""

    label: Annotated[str, Field(min_length=1, max_length=80)]
    scopes: Annotated[list[str], Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=366)] = 90


class TakeAudit(Inputs):
    """What the table was asked for, as in the search; it is noted that it was taken."""

    asked: dict[str, Annotated[str, Field(max_length=200)]] = Field(default_factory=dict)
    spreadsheet: bool = False


class RevokeToken(Inputs):
    token: UUID


# --- screening and randomisation --------------------------------------------------------------------------


class StartScreening(Inputs):
    site: int
    screened_on: date
    consent_on: date
    consent_version: Annotated[str, Field(min_length=1, max_length=40)]


class FailScreening(Inputs):
    participant: ScreeningNumber
    reason: Reason


class SignEligibility(Inputs):
    """`content_sha256` is the hash of the assessment that was shown: what is signed is what was seen."""

    participant: ScreeningNumber
    content_sha256: str


class Randomize(Inputs):
    """`strata` are the levels as the person confirms them, one by one; they must be the recorded ones."""

    participant: ScreeningNumber
    strata: dict[str, str]


class AllocationInError(Inputs):
    participant: ScreeningNumber
    reason: Reason


class ResumeRandomization(Inputs):
    reason: Reason


# --- data -------------------------------------------------------------------------------------------------


class Answer(Inputs):
    """What was entered for one item: a text with its unit, or why there is none. An empty text with nothing
    missing clears the item."""

    item: Name
    row: Annotated[int, Field(ge=0, le=999)] = 0
    text: Annotated[str, Field(max_length=4000)] = ""
    unit: Annotated[str, Field(max_length=30)] = ""
    missing: Annotated[str, Field(max_length=20)] = ""
    measured_on: date | None = None


class SaveForm(Inputs):
    """`version` is the version that the person saw (0 for a new form). `complete`: nothing that is asked is
    left blank. `reason` is asked for every change after first completion. `confirmed` lists rules (as
    "rule:item") whose warning the person confirms, with the words in `confirmation`."""

    participant: ScreeningNumber
    kind: Literal["screening", "visit", "check", "update"]
    key: Annotated[str, Field(max_length=80)]
    done_on: date
    answers: list[Answer]
    version: Annotated[int, Field(ge=0)]
    complete: bool = False
    reason: Text = ""
    confirmed: tuple[str, ...] = ()
    confirmation: Text = ""


class FormNotDone(Inputs):
    participant: ScreeningNumber
    kind: Literal["screening", "visit", "check", "update"]
    key: Annotated[str, Field(max_length=80)]
    version: Annotated[int, Field(ge=0)]
    reason: Reason


class SignForm(Inputs):
    form: UUID
    content_sha256: str


class VerifyItem(Inputs):
    """Source data verification of one item by the monitor; False takes it back."""

    form: UUID
    item: Name
    row: int = 0
    verified: bool = True


class SaveMedication(Inputs):
    """A new drug, or (with `medication`) a change to one, which needs a reason."""

    participant: ScreeningNumber
    medication: UUID | None = None
    drug: Annotated[str, Field(min_length=1, max_length=80)]
    started: PartialDate
    stopped: PartialDate | Literal[""] = ""
    why_stopped: Annotated[str, Field(max_length=200)] = ""
    reason: Text = ""
    remove: bool = False


class OpenQuery(Inputs):
    participant: ScreeningNumber
    form: UUID | None = None
    item: Annotated[str, Field(max_length=60)] = ""
    subject: Annotated[str, Field(max_length=64)] = ""
    text: Annotated[str, Field(min_length=3, max_length=1000)]


class AnswerQuery(Inputs):
    query: UUID
    text: Annotated[str, Field(min_length=1, max_length=1000)]
    confirmed: bool = False
    """The value is right as it is."""


class CloseQuery(Inputs):
    query: UUID
    text: Text = ""


# --- treatment --------------------------------------------------------------------------------------------


class TakeDecision(Inputs):
    """`content_sha256` is the hash of the proposal that was shown: if the record has changed since, the
    decision is refused and the page shown again. Accepting takes the proposed action and dose; overriding
    names another with its reason, within floor and ceiling, and never starts a cycle against a hold or an
    unknown. `accepted` says whether the participant agreed to a cycle, where one starts."""

    participant: ScreeningNumber
    regimen: Name
    on: date
    content_sha256: str
    override: Literal["start", "wait", "hold", "reduce", "escalate", "stop"] | None = None
    dose: Annotated[float, Field(ge=0)] | None = None
    reason: Text = ""
    accepted: Literal["yes", "no", "not asked"] = "not asked"


class InjectionGiven(Inputs):
    number: Annotated[int, Field(ge=1)]
    state: Literal["planned", "given", "reduced", "missed", "unknown"]
    dose: Annotated[float, Field(ge=0)] | None = None
    time: ClockTime | Literal[""] = ""
    place: Annotated[str, Field(max_length=40)] = ""
    symptoms: Annotated[str, Field(max_length=300)] = ""


class SaveInjections(Inputs):
    participant: ScreeningNumber
    regimen: Name
    cycle: int
    version: Annotated[int, Field(ge=0)]
    injections: list[InjectionGiven]
    complete: bool = False
    reason: Text = ""


class PlaceHold(Inputs):
    participant: ScreeningNumber
    since: date
    reason: Reason


class ReleaseHold(Inputs):
    hold: UUID
    until: date
    reason: Reason


class SettleFlag(Inputs):
    flag: UUID
    text: Reason


# --- safety and the end -----------------------------------------------------------------------------------


class EventReport(Inputs):
    """`kind` is an event of the protocol, or "adverse_event". `aware_at` is when the site learned of it, with
    its time zone; a serious event needs it."""

    participant: ScreeningNumber
    kind: Name
    term: Annotated[str, Field(min_length=1, max_length=200)]
    onset: PartialDate
    ended: PartialDate | Literal[""] = ""
    grade: Annotated[int, Field(ge=1, le=5)] | None = None
    serious: bool
    serious_because: Annotated[str, Field(max_length=200)] = ""
    attributed: bool | None = None
    action_taken: Literal[
        "", "none", "cycle interrupted", "dose reduced", "cycles stopped", "not applicable"
    ] = ""
    outcome: Literal[
        "", "recovered", "recovering", "not recovered", "recovered with sequelae", "fatal", "unknown"
    ] = ""  # fmt: skip
    cycle: int | None = None
    aware_at: datetime | None = None
    narrative: Text = ""


class EventFollowUp(EventReport):
    """A further report of an event; the earlier ones stay."""

    event: UUID
    reason: Text = ""


class RemoveEvent(Inputs):
    event: UUID
    reason: Reason


class RecordDisposition(Inputs):
    """`status` as the record writes it. A death needs its event first."""

    participant: ScreeningNumber
    status: Literal["completed", "died", "lost to follow-up", "withdrew"]
    on: date
    reason: Text = ""


class UndoDisposition(Inputs):
    participant: ScreeningNumber
    reason: Reason
