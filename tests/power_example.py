"""A small plain trial and folders of rows, shared by the tests of power runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from equipoise.protocol.plain import PlainTrial, build_plain
from equipoise.protocol.reading import parse_yaml

PLAIN = """
equipoise: 1
plain: Fictitious
arms:
  control: {hazard: 0.1 / year}
  active: {hazard_ratio: 0.7}
reference_arm: control
participants: 300
accrual: 2 years
dropout: 0.02 / year
alpha: 0.05
power: 0.6
primary_events: 90
follow_up: 12 years
monitoring: {looks: [0.5, 0.75, 1.0], spending: obrien-fleming}
"""


def plain_trial(text: str = PLAIN) -> PlainTrial:
    """The trial, or that of another text."""
    return build_plain(parse_yaml(text, "fictitious.yaml"))


def digest(folder: Path) -> str:
    """SHA-256 of all rows of a run, file by file."""
    whole: Any = hashlib.sha256()
    for file in sorted((folder / "rows").rglob("*.parquet")):
        whole.update(file.name.encode() + file.read_bytes())
    return str(whole.hexdigest())
