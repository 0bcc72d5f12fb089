"""People, their duties, their tokens."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models


class People(BaseUserManager):
    """Finds people by the name with which they log in."""

    def get_by_natural_key(self, username: str | None) -> Any:
        """The person of that name, whatever its case."""
        return self.get(username__iexact=username)


class Person(AbstractBaseUser):
    """Somebody with a personal account. Accounts are never deleted, and names never used again."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=60, unique=True)
    full_name = models.CharField(max_length=120)
    """As it is printed beside signatures."""
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    must_change_password = models.BooleanField(default=True)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ("full_name",)
    objects = People()

    def check_password(self, raw_password: str) -> bool:
        """Whether this is the password. (Its hash stays as it is until a new password is chosen: it changes
        by no act that does not stand in the ledger.)"""
        return check_password(raw_password, self.password)

    @property
    def is_staff(self) -> bool:
        """Nobody uses Django's own administration pages."""
        return False

    def get_full_name(self) -> str:
        """The printed name."""
        return self.full_name

    def get_short_name(self) -> str:
        """The name for log-in."""
        return self.username


class Site(models.Model):
    """A centre. It may screen and randomise from the day on which its approvals were in, until it closes."""

    number = models.PositiveIntegerField(primary_key=True)
    name = models.CharField(max_length=120)
    country = models.CharField(max_length=80)
    zone = models.CharField(max_length=60)
    """Time zone of the people there, such as "Europe/Copenhagen"."""
    opened_on = models.DateField(null=True)
    """Date of approval of the protocol version that the site works by."""
    protocol_sha256 = models.CharField(max_length=64, blank=True)
    closed_on = models.DateField(null=True)


class Duty(models.Model):
    """One role of one person, at one site or (site None) for the whole trial, between two dates, both
    included. Revoking sets `revoked_at`, and `until` to the day before; rows stay, so that the rights of any
    past date can be told."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(Person, models.PROTECT, related_name="duties")
    role = models.CharField(max_length=30)
    site = models.ForeignKey(Site, models.PROTECT, null=True, related_name="duties")
    since = models.DateField()
    until = models.DateField(null=True)
    revoked_at = models.DateTimeField(null=True)
    """When it was taken away: nothing is allowed by it from that moment on."""
    trained_on = models.DateField()
    granted_by = models.CharField(max_length=60)
    granted_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["person", "role"])]


class Token(models.Model):
    """A personal key to the API. Only its hash is kept; it can do what its owner may and its scopes name."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(Person, models.PROTECT, related_name="tokens")
    label = models.CharField(max_length=80)
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    """Names of commands, "read", or "all"."""
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)


class Draft(models.Model):
    """What somebody has typed and not yet saved, kept over a time-out: one for each person and page."""

    person = models.ForeignKey(Person, models.CASCADE)
    page = models.CharField(max_length=300)
    content = models.JSONField()
    saved_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "page"], name="one_draft_per_page")]
