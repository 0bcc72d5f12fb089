"""Items: units, ranges, who measures them, and whether entry rules can know them."""

from __future__ import annotations

from equipoise.protocol import units
from equipoise.protocol.checking.expressions import names_in, written_expressions
from equipoise.protocol.checking.problem import Problems, error, warning
from equipoise.protocol.model import Protocol


def basis(protocol: Protocol, name: str) -> set[str]:
    """The items that a name rests on: itself, or what its stratum or derivation needs, all the way down."""
    found: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current in protocol.strata and current not in protocol.items:
            for text in (protocol.strata[current].levels or {}).values():
                pending += [n for n in names_in(text) if n not in found]
            continue
        if current in found:
            continue
        found.add(current)
        item = protocol.items.get(current)
        if item is not None and item.derive is not None:
            pending += names_in(item.derive)
    return found


def collecting(protocol: Protocol, *periods: str) -> set[str]:
    """The items that the visits of these periods collect."""
    return {name for visit in protocol.visits if visit.period in periods for name in visit.collect}


def _known_at_entry(protocol: Protocol, name: str) -> str | None:
    """Why the value of a name cannot be known at randomisation; None when it can."""
    item = protocol.items.get(name)
    if item is None or item.derive is not None:
        return None
    if not {"screening", "baseline"} & set(item.collect):
        return f'"{name}" is not collected at screening or baseline'
    screening = collecting(protocol, "screening")
    if screening and name not in screening:
        return f'nobody measures "{name}": no screening visit collects it'
    return None


def item_problems(protocol: Protocol) -> Problems:
    """Units that are not known, items that nobody measures, entry rules on items never known at entry."""
    for name, item in protocol.items.items():
        place = f"items.{name}"
        for word in units.strange_words(item.unit) if item.unit else ():
            yield warning(
                f"{place}.unit", f'the unit "{word}" is not known here and only compares with itself'
            )
        if item.detection_limit is not None and item.range is not None:
            low, high = item.range
            if not low <= item.detection_limit <= high:
                yield error(f"{place}.detection_limit", "the detection limit lies outside the range")
        if "visits" in item.collect and name not in collecting(protocol, "treatment", "follow-up"):
            yield error(
                f"{place}.collect", "it is said to be collected at visits, but no visit after entry lists it"
            )
    asked: dict[str, set[str]] = {}
    for written in written_expressions(protocol):
        if not written.place.startswith(("eligibility", "strata", "analysis.subgroups", "regimens")):
            continue
        if ".hold_while" in written.place:
            continue
        for name in names_in(written.text):
            asked.setdefault(written.place, set()).update(basis(protocol, name))
    for name, stratum in protocol.strata.items():
        if stratum.item is not None:
            asked[f"strata.{name}.item"] = basis(protocol, stratum.item)
    for place, names in asked.items():
        for name in sorted(names):
            if (why := _known_at_entry(protocol, name)) is not None:
                yield error(place, f"this rule needs an item that is never known at entry: {why}")
