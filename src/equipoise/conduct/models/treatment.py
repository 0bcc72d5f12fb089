"""Decisions, cycles, injections, holds, events."""

from __future__ import annotations

import uuid

from django.db import models

from equipoise.conduct.models.data import Participant


class Decision(models.Model):
    """A dosing decision: what the rules proposed from which situation, and what a named investigator
    decided and signed. Added, never changed; a later correction of its inputs adds a flag."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="decisions")
    sequence = models.PositiveIntegerField()
    regimen = models.CharField(max_length=60)
    day = models.IntegerField()
    on = models.DateField()
    situation = models.JSONField()
    """The fields of `rules.terms.Situation`, null for NaN."""
    sources = models.JSONField()
    """Identifiers of the values, events, forms and cycles that it was read from."""
    proposed_action = models.PositiveSmallIntegerField()
    proposed_dose = models.FloatField()
    not_before = models.IntegerField()
    reason = models.PositiveSmallIntegerField()
    unknown = models.PositiveIntegerField()
    sentence = models.TextField()
    rules = models.JSONField()
    """Every rule as it was shown: sentence, truth, value."""
    action = models.PositiveSmallIntegerField()
    dose = models.FloatField()
    override_reason = models.TextField(blank=True)
    accepted = models.CharField(max_length=10)
    """Whether the participant agreed to a cycle: yes, no, not asked."""
    person = models.CharField(max_length=60)
    at = models.DateTimeField()
    protocol_sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "sequence"], name="one_decision_per_sequence")
        ]


class Flag(models.Model):
    """Something that a decision was based on has been corrected. The decision stands; a person looks."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    decision = models.ForeignKey(Decision, models.PROTECT, related_name="flags")
    at = models.DateTimeField()
    what = models.TextField()
    """Which value changed, from what to what."""
    corrected_action = models.PositiveSmallIntegerField()
    corrected_dose = models.FloatField()
    corrected_sentence = models.TextField()
    differs = models.BooleanField()
    """The corrected record would have led to another action or dose: a candidate for a protocol deviation."""
    settled = models.TextField(blank=True)
    settled_by = models.CharField(max_length=60, blank=True)


class Cycle(models.Model):
    """A cycle that was started."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="cycles")
    regimen = models.CharField(max_length=60)
    number = models.PositiveIntegerField()
    day = models.IntegerField()
    on = models.DateField()
    phase = models.CharField(max_length=12)
    dose = models.FloatField()
    unit = models.CharField(max_length=20)
    decision = models.OneToOneField(Decision, models.PROTECT, related_name="cycle")
    version = models.PositiveIntegerField(default=0)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "regimen", "number"], name="one_cycle_per_number")
        ]


class Injection(models.Model):
    """One planned administration of a cycle."""

    PLANNED, GIVEN, REDUCED, MISSED, UNKNOWN = "planned", "given", "reduced", "missed", "unknown"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cycle = models.ForeignKey(Cycle, models.PROTECT, related_name="injections")
    number = models.PositiveIntegerField()
    day = models.IntegerField()
    on = models.DateField()
    state = models.CharField(max_length=10, default=PLANNED)
    dose = models.FloatField(null=True)
    time = models.CharField(max_length=5, blank=True)
    """24-hour clock of the site, "07:30"."""
    place = models.CharField(max_length=40, blank=True)
    """Where on the body."""
    symptoms = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cycle", "number"], name="one_injection_per_number")]


class Hold(models.Model):
    """A stretch of time in which no cycle may start: a hold of the protocol, opened and closed by what is
    recorded, or one that an investigator placed (`hold` empty) with a reason."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="holds")
    hold = models.CharField(max_length=60, blank=True)
    since = models.DateField()
    until = models.DateField(null=True)
    """First day without it."""
    reason = models.TextField(blank=True)
    person = models.CharField(max_length=60)


class Event(models.Model):
    """A clinical event. What is known of it stands in its versions: the latest is shown, none is lost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant = models.ForeignKey(Participant, models.PROTECT, related_name="events")
    number = models.PositiveIntegerField()
    """Within the participant; kinds that tell the arm have numbers of their own (`next_number`)."""
    kind = models.CharField(max_length=60)
    """An event of the protocol, or "adverse_event"."""
    removed = models.TextField(blank=True)
    """Why it was struck out; empty while it stands."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["participant", "number"], name="one_event_per_number")]


class EventVersion(models.Model):
    """One report of an event: the first, or a follow-up. Added, never changed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(Event, models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    term = models.CharField(max_length=200)
    onset = models.CharField(max_length=10)
    """As precisely as known: "2003-05-04", "2003-05", "2003"."""
    ended = models.CharField(max_length=10, blank=True)
    grade = models.PositiveSmallIntegerField(null=True)
    serious = models.BooleanField()
    serious_because = models.CharField(max_length=200, blank=True)
    attributed = models.BooleanField(null=True)
    action_taken = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=40, blank=True)
    cycle = models.PositiveIntegerField(null=True)
    aware_at = models.DateTimeField(null=True)
    """When the site learned of it: the clock of a serious event starts."""
    narrative = models.TextField(blank=True)
    person = models.CharField(max_length=60)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "version"], name="one_report_per_version")]
