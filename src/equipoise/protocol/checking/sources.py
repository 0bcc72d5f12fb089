"""Published figures and the references behind every figure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel

from equipoise.protocol.checking.problem import Problems, error, there_is_no, warning
from equipoise.protocol.model import Block, Protocol

ANALYSES = ("disposition", "screening", "baseline", "exposure", "safety", "consort")
"""Parts of the results that are neither an endpoint, nor a measure, nor a subgroup."""


def published_problems(protocol: Protocol) -> Problems:
    """Published figures that compare with no row, contradict themselves or have no source."""
    known = {
        *ANALYSES, *protocol.endpoints, *(m.measure for m in protocol.analysis.measures),
        *(f"subgroup:{subgroup.label}" for subgroup in protocol.analysis.subgroups),
    }  # fmt: skip
    rows = Counter((f.analysis, f.group, f.parameter, f.statistic) for f in protocol.published.values())
    for row, count in rows.items():
        if count > 1:
            yield error("published", f"{count} figures are about the same row: {' / '.join(row)}")
    for name, figure in protocol.published.items():
        place = f"published.{name}"
        if figure.analysis not in known:
            yield error(f"{place}.analysis", there_is_no("analysis", figure.analysis, known))
        arms = [] if figure.group == "all" else re.split(r" vs | and ", figure.group)
        for arm in arms:
            if arm not in protocol.arms:
                yield error(f"{place}.group", f'"{arm}" in "{figure.group}" is not an arm')
        if figure.interval is not None and not figure.interval[0] <= figure.value <= figure.interval[1]:
            yield error(f"{place}.interval", "the figure lies outside its own interval")
        if figure.source is None:
            yield error(place, "a published figure must name its source")
    for index, published in enumerate(protocol.published_terms):
        place = f"published_terms[{index}]"
        event = protocol.events.get(published.kind)
        if event is None:
            yield error(f"{place}.kind", there_is_no("event", published.kind, protocol.events))
        elif published.term not in event.terms:
            yield error(f"{place}.term", f'"{published.term}" is not a term of {published.kind}')
        for arm in {a for counts in (published.participants, *published.groups.values()) for a in counts}:
            if arm not in protocol.arms:
                yield error(place, there_is_no("arm", arm, protocol.arms))
        if published.source is None:
            yield error(place, "a published figure must name its source")


def blocks(value: object, place: str = "") -> Iterator[tuple[str, Block]]:
    """Every part of a protocol that may carry a source, with its path, in the order of the model."""
    if isinstance(value, Block):
        yield place, value
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            key = info.alias or name
            yield from blocks(getattr(value, name), f"{place}.{key}" if place else key)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from blocks(part, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from blocks(part, f"{place}[{index}]")


def source_keys(block: Block) -> list[str]:
    """The keys of `references` that a part names."""
    if block.source is None:
        return []
    return [block.source] if isinstance(block.source, str) else list(block.source)


def source_problems(protocol: Protocol) -> Problems:
    """Sources that are not among the references, and references that nothing cites."""
    used: set[str] = set()
    prose: list[str] = []
    for place, block in blocks(protocol):
        prose += [text for text in (block.note, block.assumed) if text]
        for key in source_keys(block):
            used.add(key)
            if key not in protocol.references:
                yield error(f"{place}.source".lstrip("."), f'"{key}" is not among the references')
    spoken = set(re.findall(r"\w+", " ".join(prose)))
    for key in protocol.references:
        if key not in used and key not in spoken:
            yield warning(f"references.{key}", "nothing cites this reference")
