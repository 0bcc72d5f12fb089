"""Participants and what is recorded of them."""

from __future__ import annotations

import uuid

from django.db import models

from equipoise.conduct.models.people import Site


class Trial(models.Model):
    """The trial of this database: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=20)
    zone = models.CharField(max_length=60)
    """Time zone in which the trial as a whole counts its days. Name, kind and zone stand in trial.toml too,
    and nobody works on the trial unless both say the same."""
    protocol_sha256 = models.CharField(max_length=64)
    protocol = models.TextField()
    """The canonical form, as activated."""
    software = models.CharField(max_length=20)
    activated_at = models.DateTimeField()
    places = models.PositiveIntegerField()
    """Participants that may be randomised; raised only by a decision with its reason."""
    allocated = models.PositiveIntegerField(default=0)
    """Places taken: the counter that an allocation locks."""
    suspended = models.TextField(blank=True)
    """Why nobody may be randomised now; empty when they may."""
    frozen = models.TextField(blank=True)
    """Why nothing may be changed; empty when it may."""
    screened = models.PositiveIntegerField(default=0)


class Participant(models.Model):
    """Somebody who gave consent to be screened. No name, no date of birth: the site keeps those."""

    SCREENING, FAILED, RANDOMIZED, ENDED = "screening", "screen failure", "randomised", "ended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.CharField(max_length=20, unique=True)
    """Site, number and check character, such as "003-0012-O"."""
    candidate = models.PositiveIntegerField(unique=True)
    """Number in order of screening over all sites."""
    site = models.ForeignKey(Site, models.PROTECT, related_name="participants")
    status = models.CharField(max_length=20, default=SCREENING)
    screened_on = models.DateField()
    consent_on = models.DateField()
    consent_version = models.CharField(max_length=40)
    failure_reason = models.TextField(blank=True)
    randomized_number = models.PositiveIntegerField(null=True, unique=True)
    """Number in order of randomisation."""
    randomized_on = models.DateField(null=True)
    """Day 0, in the calendar of the site."""
    strata = models.JSONField(default=dict)
    """Levels as confirmed and used at randomisation."""
    baseline = models.JSONField(default=dict)
    """Values at randomisation, by item, as the record has them now: corrections of screening change them."""
    ended_on = models.DateField(null=True)
    ended_how = models.CharField(max_length=20, blank=True)
    """completed, died, lost to follow-up or withdrew, as the record writes it."""

    class Meta:
        indexes = [models.Index(fields=["site", "status"])]


class Allocation(models.Model):
    """Who was allocated, in which order, from which inputs. Added, never changed. The arm is enciphered with
    a key that is not in the database, with a nonce for each row; `position` is the place in its stratum."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sequence = models.PositiveIntegerField(unique=True)
    participant = models.OneToOneField(Participant, models.PROTECT, related_name="allocation")
    request_key = models.CharField(max_length=80, unique=True)
    stratum = models.CharField(max_length=300)
    position = models.PositiveIntegerField()
    inputs = models.JSONField()
    """Exactly what was confirmed: levels, values with their dates, who, for which protocol; and the values
    at baseline as they were known then."""
    sealed_arm = models.TextField()
    protocol_sha256 = models.CharField(max_length=64)
    person = models.CharField(max_length=60)
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stratum", "position"], name="one_allocation_per_position")
        ]


class AllocationError(models.Model):
    """An allocation that should not have been: a further row; the place stays used and the arm stands."""

    allocation = models.OneToOneField(Allocation, models.PROTECT, related_name="error")
    reason = models.TextField()
    person = models.CharField(max_length=60)
    at = models.DateTimeField()


class Form(models.Model):
    """One form of one participant. `kind` and `key` say which: ("screening", "prestudy1"),
    ("visit", "later:457") for the visit planned on day 457, ("check", "aldesleukin:2003-05-04") for the check
    before a cycle, ("update", "2003-05-09:1") for what happened between visits."""

    EMPTY, INCOMPLETE, COMPLETE, NOT_DONE = "empty", "incomplete", "complete", "not done"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="forms")
    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=80)
    done_on = models.DateField(null=True)
    """The day of the visit; entry comes when it comes."""
    status = models.CharField(max_length=12, default=EMPTY)
    not_done_reason = models.TextField(blank=True)
    version = models.PositiveIntegerField(default=0)
    """Counts the times it was saved: who saves names the version they saw."""
    completed_at = models.DateTimeField(null=True)
    """First completion; from then on every change has a reason."""
    signed = models.BooleanField(default=False)
    """Whether a signature holds for the form as it stands."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "kind", "key"], name="one_form_per_key")
        ]
        indexes = [
            models.Index(fields=["participant", "done_on"]),
            models.Index(fields=["kind", "status", "key"]),
            models.Index(fields=["done_on"]),
            models.Index(fields=["signed", "status"]),
        ]


class Value(models.Model):
    """The present value of one item on one form. Exactly one of `text` and `missing` is filled: nothing is
    blank without a word for why. What is blank on an incomplete form has no row."""

    MISSING = ("not done", "unknown", "not applicable", "refused", "awaited", "not asked")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    form = models.ForeignKey(Form, models.PROTECT, related_name="values")
    item = models.CharField(max_length=60)
    row = models.PositiveIntegerField(default=0)
    text = models.TextField(blank=True)
    """As reported."""
    unit = models.CharField(max_length=30, blank=True)
    """As reported."""
    qualifier = models.CharField(max_length=1, blank=True)
    number = models.FloatField(null=True)
    """In the unit of the item; 1 and 0 for yes and no."""
    missing = models.CharField(max_length=20, blank=True)
    measured_on = models.DateField(null=True)
    """When the sample was taken; the day of the form unless it says otherwise."""
    verified_by = models.CharField(max_length=60, blank=True)
    """Monitor who compared it with the source; emptied when it changes."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["form", "item", "row"], name="one_value_per_item")]
        indexes = [
            models.Index(fields=["item"]),
            models.Index(fields=["missing"]),
        ]


class Medication(models.Model):
    """An antiretroviral drug: when it began and ended, as precisely as is known ("2003-05")."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="medications")
    drug = models.CharField(max_length=80)
    started = models.CharField(max_length=10)
    stopped = models.CharField(max_length=10, blank=True)
    why_stopped = models.CharField(max_length=200, blank=True)
    removed = models.TextField(blank=True)


class Query(models.Model):
    """A question about something on record. One that a rule raised closes itself when it no longer holds."""

    OPEN, ANSWERED, CLOSED, CANCELLED = "open", "answered", "closed", "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="queries")
    form = models.ForeignKey(Form, models.PROTECT, null=True, related_name="queries")
    item = models.CharField(max_length=60, blank=True)
    subject = models.CharField(max_length=64, blank=True)
    """Event, decision or cycle, when it is not about a form."""
    rule = models.CharField(max_length=60, blank=True)
    """The check that raised it; empty for a person's question."""
    reveals_arm = models.BooleanField(default=False)
    text = models.TextField()
    state = models.CharField(max_length=10, default=OPEN)
    confirmed = models.TextField(blank=True)
    """The site confirmed the value: the check is not raised again for this very value."""
    opened_by = models.CharField(max_length=60)
    opened_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["participant", "state"]), models.Index(fields=["state", "opened_at"])]


class QueryMessage(models.Model):
    """What was said in a query."""

    query = models.ForeignKey(Query, models.PROTECT, related_name="messages")
    at = models.DateTimeField()
    person = models.CharField(max_length=60)
    state = models.CharField(max_length=10)
    text = models.TextField()


class Due(models.Model):
    """A visit that a participant has before them, or that was missed and is not explained. Worked out from
    the record by the rules (`conduct.due`): kept at hand for lists, never a record itself. Visits that all
    arms have stand here in plain; what would tell the arm (visits of one arm, cycles) stands together in one
    sealed row, which everybody has."""

    VISIT, SEALED = "visit", "sealed"

    participant = models.ForeignKey(Participant, models.PROTECT, related_name="dues")
    kind = models.CharField(max_length=10)
    key = models.CharField(max_length=80, blank=True)
    """Key of the form of the visit."""
    words = models.CharField(max_length=200, blank=True)
    """Name of the visit."""
    opens = models.DateField()
    due = models.DateField()
    closes = models.DateField(null=True)
    """Last day of the window."""
    passes = models.DateField(null=True)
    """First day on which it can no longer be attended: another visit is due."""
    reveals_arm = models.BooleanField(default=False)
    sealed = models.TextField(blank=True)
    """Enciphered with a key that is not in the database; of one length for everybody."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["participant", "kind", "key"], name="one_due_per_key")]
        indexes = [models.Index(fields=["opens"])]
