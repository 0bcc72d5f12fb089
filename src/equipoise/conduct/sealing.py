"""The secrets of allocation: the sequence that decides who gets which arm, and arms as they are kept.

The sequence exists nowhere: each uniform number is HMAC-SHA256 (RFC 2104), under a key that lies outside the
database and its backups, of the protocol's hash, the stratum, the place in the stratum and what is drawn. Who
has not the key can neither foresee the next allocation nor read an earlier one; who has it can replay them
all. Arms are enciphered with ChaCha20-Poly1305 (RFC 8439), a fresh nonce for each row, all of one length, and
bound to their row: a sealed arm that was moved to another participant does not open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from equipoise.conduct import opening
from equipoise.conduct.folder import TrialFolder
from equipoise.errors import UserError

NONCE_BYTES = 12
"""96 bits, as NIST SP 800-38D (5.2.1.1) recommends."""
SEALED_LENGTH = 128
"""Bytes to which a name is filled up before it is sealed, so that its length tells nothing (assumed)."""


@lru_cache(maxsize=64)
def _subkey(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose (HKDF, RFC 5869)."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"equipoise {purpose}".encode()).derive(key)


# --- the sequence -----------------------------------------------------------------------------------------


class Sequence:
    """The secret sequence of a trial: uniform numbers in [0, 1) for each place of each stratum."""

    def __init__(self, allocation_key: bytes) -> None:
        self._key = _subkey(allocation_key, "sequence")

    def uniforms(self, protocol_sha256: str, stratum: str, position: int) -> tuple[float, float]:
        """The number that draws the size of a new block, and the one that draws the arm."""
        return (
            self._uniform(protocol_sha256, stratum, position, "block size"),
            self._uniform(protocol_sha256, stratum, position, "arm"),
        )

    def _uniform(self, protocol_sha256: str, stratum: str, position: int, purpose: str) -> float:
        text = json.dumps([protocol_sha256, stratum, position, purpose])
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return float((int.from_bytes(digest[:8]) >> 11) / (1 << 53))


def key_check(allocation_key: bytes) -> str:
    """A short value by which the right key is recognised, and which tells nothing about it."""
    return _subkey(allocation_key, "check").hex()[:16]


# --- sealed texts -----------------------------------------------------------------------------------------


def seal(key: bytes, text: str, bound_to: str) -> str:
    """A short text, enciphered and bound to a place: base64 of nonce and ciphertext."""
    content = text.encode()
    if len(content) >= SEALED_LENGTH:
        raise ValueError(f"a text of {len(content)} bytes is too long to be sealed")
    filled = content.ljust(SEALED_LENGTH, b"\0")
    nonce = os.urandom(NONCE_BYTES)
    sealed = ChaCha20Poly1305(_subkey(key, "seal")).encrypt(nonce, filled, bound_to.encode())
    return base64.b64encode(nonce + sealed).decode()


def unseal(key: bytes, sealed: str, bound_to: str) -> str:
    """The text of `seal`. Raises ValueError when the key or the place is another, or a bit was changed."""
    try:
        content = base64.b64decode(sealed, validate=True)
        filled = ChaCha20Poly1305(_subkey(key, "seal")).decrypt(
            content[:NONCE_BYTES], content[NONCE_BYTES:], bound_to.encode()
        )
    except (InvalidTag, ValueError):
        raise ValueError("the seal is broken") from None
    return filled.rstrip(b"\0").decode()


def bound(allocation_id: Any, participant_id: Any) -> str:
    """What the arm of an allocation is bound to."""
    return f"allocation {allocation_id} of {participant_id}"


def open_arm(allocation: Any, trial: TrialFolder | None = None) -> str:
    """The arm of an allocation. Who calls this has made sure that it may be seen."""
    trial = trial or opening.folder()
    try:
        return unseal(
            trial.key("allocation"), allocation.sealed_arm, bound(allocation.id, allocation.participant_id)
        )
    except ValueError:
        raise UserError(
            f"the arm of allocation {allocation.sequence} cannot be opened: the key in {trial.path / 'keys'} "
            "is not that of this database, or the row was tampered with (run `equipoise conduct verify`)"
        ) from None
