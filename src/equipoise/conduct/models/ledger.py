"""The ledger: who did what, when and why. Rows are added, never changed: triggers see to it."""

from __future__ import annotations

from django.db import models


class Chain(models.Model):
    """The head of the ledger: one row, locked by whoever writes, so that entries stand in one order."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    n = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64)
    at = models.DateTimeField(null=True)


class Entry(models.Model):
    """One fact of the ledger. `hash` covers everything in the row and the hash of the row before."""

    n = models.BigIntegerField(primary_key=True)
    act = models.UUIDField()
    """Entries of one act belong together."""
    at = models.DateTimeField()
    command = models.CharField(max_length=40)
    person = models.CharField(max_length=60)
    """Name for log-in; "system" for what no person did."""
    role = models.CharField(max_length=30)
    site = models.PositiveIntegerField(null=True)
    origin = models.CharField(max_length=80)
    """Where it came from: page, api or command line, with the address."""
    participant = models.CharField(max_length=20, blank=True)
    """Screening number."""
    kind = models.CharField(max_length=30)
    """What was changed: form, value, event, duty, ..."""
    subject = models.CharField(max_length=64)
    """Its identifier."""
    place = models.CharField(max_length=120, blank=True)
    """Where a person finds it: form and visit, cycle and injection."""
    field = models.CharField(max_length=60, blank=True)
    """Item or field; empty for a thing as a whole."""
    row = models.PositiveIntegerField(default=0)
    old = models.TextField(null=True)
    new = models.TextField(null=True)
    reason = models.TextField(blank=True)
    reveals_arm = models.BooleanField(default=False)
    protocol_sha256 = models.CharField(max_length=64)
    software = models.CharField(max_length=20)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["subject", "field"]),
            models.Index(fields=["participant", "n"]),
            models.Index(fields=["person", "n"]),
            models.Index(fields=["command", "n"]),
            models.Index(fields=["act"]),
        ]


class Signature(models.Model):
    """A signature, never changed: it is valid while the content of what was signed has this hash."""

    id = models.UUIDField(primary_key=True, editable=False)
    person = models.CharField(max_length=60)
    printed_name = models.CharField(max_length=120)
    role = models.CharField(max_length=30)
    at = models.DateTimeField()
    zone = models.CharField(max_length=60)
    meaning = models.CharField(max_length=200)
    participant = models.CharField(max_length=20)
    kind = models.CharField(max_length=30)
    subject = models.CharField(max_length=64)
    content_sha256 = models.CharField(max_length=64)
    entry = models.BigIntegerField()
    """The entry of the ledger that holds it."""

    class Meta:
        indexes = [models.Index(fields=["kind", "subject"]), models.Index(fields=["participant"])]


class Request(models.Model):
    """A request that was carried out, by its key: sent again, it gets the same answer and does nothing."""

    person = models.CharField(max_length=60)
    key = models.CharField(max_length=80)
    command = models.CharField(max_length=40)
    inputs_sha256 = models.CharField(max_length=64)
    answer = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "key"], name="one_answer_per_request")]


class Outbox(models.Model):
    """A message to be sent after the transaction that wrote it. It never holds an arm or clinical data."""

    at = models.DateTimeField()
    to = models.CharField(max_length=200)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    sent_at = models.DateTimeField(null=True)
