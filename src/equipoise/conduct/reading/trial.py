"""The protocol as text that people read, and the state of the trial as a whole.

The sizes of randomisation blocks are left out: whoever knows them may guess the next allocation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from equipoise.conduct import opening
from equipoise.conduct.models import Chain, Entry
from equipoise.protocol.describing import (
    Schedule,
    dose_rules_heading,
    eligibility,
    endpoint_sentence,
    schedule_of_activities,
    told_dose_rules,
)
from equipoise.protocol.model import Protocol


@dataclass(frozen=True)
class Section:
    """A heading with its sentences, in groups that may have a title."""

    heading: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class ProtocolText:
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    schedule: Schedule


@lru_cache(maxsize=8)
def _told(sha256: str) -> ProtocolText:
    return _text(opening.folder().protocol)


def protocol_text() -> ProtocolText:
    """The protocol in force, told."""
    return _told(opening.folder().protocol_sha256)


def _text(protocol: Protocol) -> ProtocolText:
    must, never = eligibility(protocol)
    plan = protocol.randomization
    ratio = ":".join(str(plan.ratio.get(arm, 0)) for arm in protocol.arms)
    strata = "; ".join(protocol.strata[name].label for name in plan.strata)
    arms = tuple(f"{arm.label}{' (control)' if arm.control else ''}" for arm in protocol.arms.values())
    allocation = f"Randomised {ratio} by {plan.method}{f', within strata of: {strata}' if strata else ''}."
    sections = [
        Section("Why", (("", (protocol.background,)),)),
        Section(
            "Who may take part",
            (
                ("", (f"Screening takes at most {protocol.eligibility.within}.",)),
                ("All of these must hold", tuple(one.text for one in must)),
                ("None of these may hold", tuple(one.text for one in never)),
            ),
        ),
        Section("Arms and randomisation", (("", (*arms, allocation)),)),
    ]
    for name, regimen in protocol.regimens.items():
        if regimen.kind == "cycles":
            sentences = tuple(one.text for one in told_dose_rules(protocol, name))
            sections.append(Section(dose_rules_heading(protocol, name), (("", sentences),)))
    events = tuple(f"{one.label}: {one.definition}" for one in protocol.events.values())
    endpoints = tuple(endpoint_sentence(protocol, one).text for one in protocol.endpoints.values())
    sections.append(Section("Events and endpoints", (("", events), ("Endpoints", endpoints))))
    facts = (
        ("Title", protocol.title),
        ("Version", protocol.version),
        ("Registry", protocol.registry or ""),
        ("Indication", protocol.indication),
        ("Design", f"{protocol.design.phase}, {protocol.design.allocation}, {protocol.design.masking}"),
        ("Planned", f"{protocol.size.planned} participants"),
    )
    shown = tuple(fact for fact in facts if fact[1])
    return ProtocolText(shown, tuple(sections), schedule_of_activities(protocol))


@dataclass(frozen=True)
class Copy:
    """A file in the folder for backups."""

    name: str
    at: datetime
    bytes: int


@dataclass(frozen=True)
class Keeping:
    """How far the ledger reaches, and which backups lie in the trial's folder."""

    entries: int
    head: str
    last: datetime | None
    backups: tuple[Copy, ...]


def keeping() -> Keeping:
    """The state of the records."""
    head = Chain.objects.get(id=1)
    last = Entry.objects.order_by("-n").values_list("at", flat=True).first()
    return Keeping(head.n, head.hash, last, _backups(opening.folder().path / "backups"))


def _backups(folder: Path) -> tuple[Copy, ...]:
    found = (
        sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True) if folder.is_dir() else []
    )
    return tuple(
        Copy(one.name, datetime.fromtimestamp(one.stat().st_mtime, UTC), one.stat().st_size)
        for one in found[:10]
        if one.is_file() and not one.name.startswith(".")
    )
