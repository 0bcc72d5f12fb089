"""How passwords are kept: as Argon2id hashes."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class PasswordHasher(Argon2PasswordHasher):
    """Argon2id with 19 MiB of memory, two passes and one lane: the smallest of the settings of equal strength
    in the OWASP Password Storage Cheat Sheet.

    Each signature asks for the password, so it is checked all day long; Django's own setting (100 MiB, eight
    lanes) keeps both cores of a small server for a quarter of a second each time, and lets a handful of
    attempts at once take a gigabyte."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
