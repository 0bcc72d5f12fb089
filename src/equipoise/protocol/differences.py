"""Says in words what an amendment changes, the weightiest first, and whom each change affects."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel

from equipoise.protocol import units
from equipoise.protocol.describing import listed, plainly
from equipoise.protocol.model import Criterion, GoalRule, Hold, Protocol, Visit
from equipoise.protocol.quantities import Quantity, Timepoint, number_text

ENROLLED = "affects people already enrolled"
NEW = "only new participants"
ANALYSIS = "analysis only"
PAPER = "nobody's treatment or data"

_PROVENANCE = {"source", "assumed", "note"}
_KEYS = ("id", "endpoint", "measure", "label", "event", "term")
"""Fields by which the entries of a list are recognised when they have moved."""

_ORDER = (
    "regimens", "arms", "randomization", "eligibility", "strata", "visits", "items", "events", "endpoints",
    "analysis", "size", "calendar", "monitoring", "simulation", "published", "published_terms", "references",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change: where (path of fields and keys), before and after (None: not there)."""

    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def added(self) -> bool:
        return self.before is None

    @property
    def removed(self) -> bool:
        return self.after is None


def diff(a: Protocol, b: Protocol) -> list[str]:
    """What turns protocol `a` into `b`, one sentence each; an empty list when nothing differs.

    Treatment comes first, then allocation, eligibility, visits, events and analysis; sources and remarks
    last. Every sentence ends with whom it affects.
    """
    told = []
    for place, change in enumerate(_changes((), a, b)):
        top = change.path[0]
        remark = change.path[-1] in _PROVENANCE
        rank = _ORDER.index(top) if top in _ORDER else len(_ORDER)
        told.append(((remark, rank, place), f"{_sentence(change, a, b)} ({_affects(change)})."))
    return [sentence for _, sentence in sorted(told, key=lambda entry: entry[0])]


# --- finding ------------------------------------------------------------------------------------------------


def _changes(path: tuple[str, ...], before: Any, after: Any) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, BaseModel) and isinstance(after, BaseModel) and type(before) is type(after):
        for name, info in type(before).model_fields.items():
            key = info.alias or name
            yield from _changes((*path, key), getattr(before, name), getattr(after, name))
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _entries(path, before, after)
    elif _keyed(before) and _keyed(after) and (before or after):
        first, second = _by_key(before), _by_key(after)
        yield from _entries(path, first, second)
        kept = [key for key in first if key in second]
        if kept != [key for key in second if key in first]:
            yield Change((*path, "order"), listed(kept), listed(key for key in second if key in first))
    else:
        yield Change(path, before, after)


def _entries(path: tuple[str, ...], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterator[Change]:
    for key in before:
        if key not in after:
            yield Change((*path, str(key)), before[key], None)
        else:
            yield from _changes((*path, str(key)), before[key], after[key])
    for key in after:
        if key not in before:
            yield Change((*path, str(key)), None, after[key])


def _keyed(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, BaseModel) for entry in value)


def _by_key(entries: list[BaseModel]) -> dict[str, BaseModel]:
    found: dict[str, BaseModel] = {}
    for index, entry in enumerate(entries):
        if isinstance(entry, GoalRule):
            key = entry.when or "always"
        else:
            key = next((str(getattr(entry, k)) for k in _KEYS if hasattr(entry, k)), str(index))
        while key in found:
            key += "'"
        found[key] = entry
    return found


# --- whom it affects ----------------------------------------------------------------------------------------


def _affects(change: Change) -> str:
    top, last = change.path[0], change.path[-1]
    if last in _PROVENANCE or top in ("references", "published", "published_terms", "background", "title"):
        return PAPER
    if last in ("label", "text", "definition") and len(change.path) > 1 and top != "events":
        return "wording"
    if top == "regimens" or top == "events":
        return ENROLLED
    if top == "arms":
        return NEW if len(change.path) == 2 and change.added else ENROLLED
    if top == "visits":
        return NEW if _screening(change) else ENROLLED
    if top in ("randomization", "eligibility"):
        return NEW
    if top == "strata":
        return f"{NEW}; also the analysis where it is stratified"
    if top == "items":
        return ENROLLED
    if top in ("endpoints", "analysis"):
        return ANALYSIS
    if top == "calendar" and last == "end_of_follow_up":
        return ENROLLED
    if top == "size" and last in ("control_hazard", "dropout"):
        return PAPER
    if top in ("size", "calendar"):
        return NEW
    if top == "simulation":
        return "simulation only"
    return PAPER


def _screening(change: Change) -> bool:
    return any(isinstance(v, Visit) and v.period == "screening" for v in (change.before, change.after)) or (
        len(change.path) > 1 and change.path[1].startswith(("screening", "prestudy"))
    )


# --- telling ------------------------------------------------------------------------------------------------


def _sentence(change: Change, a: Protocol, b: Protocol) -> str:
    tellers: dict[str, Callable[[Change, Protocol, Protocol], str | None]] = {
        "regimens": _regimen, "eligibility": _eligibility, "visits": _visit, "randomization": _randomization,
        "arms": _arm, "strata": _stratum, "items": _item,
    }  # fmt: skip
    if change.path[-1] in _PROVENANCE:
        what = {"source": "Source", "assumed": "Assumption", "note": "Note"}[change.path[-1]]
        where = " of ".join(reversed([_spaced(part) for part in change.path[:-1]])) or "the protocol"
        return f"{what} of {where}{_from_to(change)}"
    teller = tellers.get(change.path[0])
    told = teller(change, a, b) if teller is not None else None
    return told or _plain(change)


def _plain(change: Change) -> str:
    if change.path[0] == "published" and len(change.path) > 1:
        field = f": {_spaced(change.path[2])}" if len(change.path) > 2 else ""
        return f"Published figure {change.path[1]}{field}{_from_to(change)}"
    where = ", ".join(_spaced(part) for part in change.path)
    return f"{where[:1].upper()}{where[1:]}{_from_to(change)}"


def _spaced(part: str) -> str:
    return part.replace("_", " ")


def _from_to(change: Change) -> str:
    before, after = change.before, change.after
    if change.added:
        return f" added: {_value(after)}"
    if change.removed:
        return f" removed (was {_value(before)})"
    if isinstance(before, list) and isinstance(after, list):
        return _lists(before, after)
    way = _way(before, after)
    if isinstance(before, Quantity) and isinstance(after, Quantity) and _same_unit(before, after):
        return f"{way} from {number_text(before.value)} to {after}"
    return f"{way} from {_value(before)} to {_value(after)}"


def _lists(before: list[Any], after: list[Any]) -> str:
    first, second = [_value(v) for v in before], [_value(v) for v in after]
    gone = [v for v in first if v not in second]
    new = [v for v in second if v not in first]
    parts = []
    if new:
        parts.append(f"now also {listed(new)}")
    if gone:
        parts.append(f"no longer {listed(gone)}")
    if not parts:
        return f" put in another order: {listed(second)}"
    if len(first) <= 8 and len(second) <= 8:
        return f" changed from {listed(first) or 'none'} to {listed(second) or 'none'}"
    return f": {'; '.join(parts)}"


def _way(before: Any, after: Any) -> str:
    first, second = _size(before), _size(after)
    if first is None or second is None:
        return " changed"
    if isinstance(before, Quantity) and isinstance(after, Quantity) and before.unit != after.unit:
        if not units.same_dimension(before.unit, after.unit):
            return " changed"
        second = units.convert(second, after.unit, before.unit)
    if isinstance(before, date):
        return " moved later" if second > first else " moved earlier"
    if isinstance(before, Timepoint):
        return " moved later" if second > first else " moved earlier"
    if first == second:
        return " written differently,"
    return " raised" if second > first else " lowered"


def _same_unit(before: Quantity, after: Quantity) -> bool:
    return before.unit.removesuffix("s") == after.unit.removesuffix("s")


def _size(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Quantity):
        return value.value
    if isinstance(value, Timepoint):
        return float(value.day)
    if isinstance(value, date):
        return float(value.toordinal())
    return None


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number_text(float(value))
    if isinstance(value, Timepoint):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 160 else f'"{value[:157]}..."'
    if isinstance(value, list | tuple):
        return listed(_value(v) for v in value) or "none"
    if isinstance(value, BaseModel):
        shown = {
            info.alias or name: getattr(value, name)
            for name, info in type(value).model_fields.items()
            if name not in _PROVENANCE and name in value.model_fields_set
        }
        return ", ".join(f"{_spaced(key)} {_value(part)}" for key, part in shown.items())
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(part)}" for key, part in value.items())
    return str(value)


# --- eligibility --------------------------------------------------------------------------------------------


def _eligibility(change: Change, a: Protocol, b: Protocol) -> str | None:
    if change.path[1] == "within":
        return f"Screening period{_from_to(change)}"
    if len(change.path) < 3:
        return None
    name = change.path[2]
    if name == "order":
        return "The criteria are listed in another order"
    if len(change.path) == 3:
        criterion = change.before or change.after
        assert isinstance(criterion, Criterion)
        kind = "inclusion" if criterion.require is not None else "exclusion"
        done = "added" if change.added else "removed"
        rule = criterion.require or criterion.exclude
        return f"Criterion {name} ({kind}) {done}: {criterion.text} [{rule}]"
    field = change.path[3]
    if field in ("require", "exclude"):
        if change.added:
            return f"Criterion {name}: now a rule of {_kind(field)}: {change.after}"
        if change.removed:
            return f"Criterion {name}: no longer a rule of {_kind(field)} (was: {change.before})"
        return f"Criterion {name}: {_rules(change.before, change.after)}"
    if field == "text":
        return f'Criterion {name}: now worded "{change.after}", before "{change.before}"'
    return None


def _kind(field: str) -> str:
    return "inclusion" if field == "require" else "exclusion"


def _rules(before: str, after: str) -> str:
    """Two rules in words; where only one number differs, that number."""
    first, second = re.split(r"(\s+)", before), re.split(r"(\s+)", after)
    changed = [
        (first[i1:i2], second[j1:j2])
        for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, first, second).get_opcodes()
        if tag != "equal"
    ]
    if len(changed) == 1 and len(changed[0][0]) == 1 and len(changed[0][1]) == 1:
        old, new = changed[0][0][0], changed[0][1][0]
        try:
            way = "raised" if float(new) > float(old) else "lowered"
        except ValueError:
            pass
        else:
            return f"limit {way} from {old} to {new}: now {after}, before {before}"
    return f"rule changed: now {after}, before {before}"


# --- dose rules ---------------------------------------------------------------------------------------------

_FIELDS: dict[tuple[str, ...], str] = {
    ("cycle", "dose"): "dose per administration",
    ("cycle", "times_per_day"): "administrations a day",
    ("cycle", "days"): "days of a cycle",
    ("cycle", "on_days"): "days of a cycle that carry doses",
    ("cycle", "route"): "route",
    ("floor",): "lowest dose",
    ("ceiling",): "highest dose",
    ("minimum_gap",): "least time between cycles",
    ("maximum_cycles",): "most cycles",
    ("induction", "cycles"): "cycles of induction",
    ("induction", "every"): "interval of induction",
    ("induction", "anchor"): "induction counted from",
    ("induction", "start_within"): "how late an induction cycle may start",
    ("goal", "measure"): "measure of the goal",
    ("goal", "direction"): "direction of the goal",
    ("maintenance", "from"): "begin of maintenance",
    ("maintenance", "review"): "interval of reviews in maintenance",
    ("maintenance", "extra_reviews"): "extra reviews in maintenance",
    ("maintenance", "measured_within"): "greatest age of the measure at a review",
    ("maintenance", "start_within"): "how late a maintenance cycle may start",
    ("escalation", "after"): "cycles before the dose is raised",
    ("escalation", "to"): "steps of escalation",
    ("escalation", "response", "rise"): "rise that counts as a response, for escalation",
    ("escalation", "again_after"): "further cycles before the next step",
    ("escalation", "after_reduction"): "escalation after a reduction",
    ("toxicity", "reduce_from_grade"): "grade from which the dose is reduced",
    ("toxicity", "stop_from_grade"): "grade from which cycles stop",
    ("toxicity", "to"): "steps of reduction",
    ("toxicity", "below_lowest"): "what happens below the lowest dose",
    ("stop_for_non_response", "after"): "time after which cycles stop without a response",
    ("stop_for_non_response", "at_latest"): "latest time to stop without a response",
    ("stop_for_non_response", "response", "rise"): "rise that counts as a response, for stopping",
    ("stop_for_non_response", "minimum_cycles"): "cycles needed before stopping for non-response",
    ("cover",): "cover",
    ("drug",): "drug",
    ("kind",): "kind of treatment",
}  # fmt: skip


def _regimen(change: Change, a: Protocol, b: Protocol) -> str | None:
    name = change.path[1]
    regimen = a.regimens.get(name) or b.regimens[name]
    if len(change.path) == 2:
        done = "added" if change.added else "removed"
        return f"Regimen {name} ({regimen.drug}) {done}"
    start, rest = f"Dose of {regimen.drug}", change.path[2:]
    if name != regimen.drug:
        start += f" ({name})"
    if rest[0] == "goal" and len(rest) > 1 and rest[1] == "rules":
        return f"{start}: {_goal(change, rest, a, b)}"
    if rest[0] == "hold_while" and len(rest) > 1:
        return f"{start}: {_hold(change, rest)}"
    if rest in _FIELDS:
        return f"{start}: {_FIELDS[rest]}{_from_to(change)}"
    if len(rest) == 1:
        done = "added" if change.added else "removed" if change.removed else "changed"
        shown = change.after if change.after is not None else change.before
        return f"{start}: {_spaced(rest[0])} {done}: {_value(shown)}"
    return f"{start}: {' '.join(_spaced(part) for part in rest)}{_from_to(change)}"


def _goal(change: Change, rest: tuple[str, ...], a: Protocol, b: Protocol) -> str:
    if len(rest) == 2 or rest[2] == "order":
        return "the rules of the goal are applied in another order"
    where = "" if rest[2] == "always" else f" {_where(rest[2], a)}"
    if len(rest) == 3:
        rule = change.after or change.before
        assert isinstance(rule, GoalRule)
        kind = next(f for f in ("rise", "multiple", "value") if getattr(rule, f) is not None)
        done = "added" if change.added else "removed"
        return f"goal{where} {done}: {kind} {_value(getattr(rule, kind))}"
    if rest[3] in ("rise", "multiple", "value"):
        return f"goal {rest[3]}{where}{_from_to(change)}"
    return f"goal{where}, {_spaced(rest[3])}{_from_to(change)}"


def _where(when: str, protocol: Protocol) -> str:
    match = re.fullmatch(r"([a-z0-9_]+) is [\"']([^\"']+)[\"']", when)
    if match and match[1] in protocol.strata:
        return f"for stratum {match[2]}"
    return f"where {plainly(when, protocol)}"


def _hold(change: Change, rest: tuple[str, ...]) -> str:
    if rest[1] == "order":
        return "the holds are listed in another order"
    if len(rest) == 2:
        hold = change.after or change.before
        assert isinstance(hold, Hold)
        done = "added" if change.added else "removed"
        return f'hold "{rest[1]}" {done}: {hold.text}'
    names = {"when": "condition", "resume_after": "wait afterwards", "text": "wording"}
    return f'hold "{rest[1]}": {names.get(rest[2], _spaced(rest[2]))}{_from_to(change)}'


# --- arms, randomisation, strata, visits, items -------------------------------------------------------------


def _arm(change: Change, a: Protocol, b: Protocol) -> str | None:
    name = change.path[1]
    arm = a.arms.get(name) or b.arms[name]
    if len(change.path) == 2:
        return f'Arm {name} ("{arm.label}") {"added" if change.added else "removed"}'
    if change.path[2] == "regimens":
        return f"Arm {name}: regimens{_from_to(change)}"
    return None


def _randomization(change: Change, a: Protocol, b: Protocol) -> str | None:
    field = change.path[1]
    if field == "ratio":
        first = ":".join(str(n) for n in a.randomization.ratio.values())
        second = ":".join(str(n) for n in b.randomization.ratio.values())
        part = f"part of {change.path[2]} in the ratio{_from_to(change)}"
        return f"Randomisation: {part} (ratio {first}, now {second})"
    words = {"method": "method", "blocks": "block sizes", "strata": "strata",
             "best_arm_probability": "probability of the arm that balances best"}  # fmt: skip
    return f"Randomisation: {words[field]}{_from_to(change)}" if field in words else None


def _stratum(change: Change, a: Protocol, b: Protocol) -> str | None:
    name = change.path[1]
    if len(change.path) == 2:
        done = "added" if change.added else "removed"
        return f"Stratum {name} {done}: {_value(change.after or change.before)}"
    if change.path[2] == "levels" and len(change.path) == 4:
        return f"Stratum {name}: level {change.path[3]}{_from_to(change)}"
    return None


def _visit(change: Change, a: Protocol, b: Protocol) -> str | None:
    name = change.path[1]
    if name == "order":
        return "The visits are listed in another order"
    visit = next((v for p in (a, b) for v in p.visits if v.id == name), None)
    if visit is None:
        return None
    if len(change.path) == 2:
        return f'Visits "{visit.label}" ({name}) {"added" if change.added else "removed"}: {_times(visit)}'
    start, field = f'Visits "{visit.label}"', change.path[2]
    if field in ("at", "every", "from"):
        return f"{start} moved: {_spaced(field)}{_from_to(change)}"
    if field == "window":
        return f"{start}: window, {change.path[-1]}{_from_to(change)}"
    if field == "collect":
        return f"{start}: {_collected(change)}"
    return f"{start}: {_spaced(field)}{_from_to(change)}"


def _times(visit: Visit) -> str:
    if visit.at is not None:
        return listed(map(str, visit.at))
    return f"every {visit.every} after {visit.from_}"


def _collected(change: Change) -> str:
    before, after = change.before or [], change.after or []
    new = [name for name in after if name not in before]
    gone = [name for name in before if name not in after]
    parts = []
    if new:
        parts.append(f"now also collect {listed(new)}")
    if gone:
        parts.append(f"no longer collect {listed(gone)}")
    return "; ".join(parts) or "collect the same items in another order"


def _item(change: Change, a: Protocol, b: Protocol) -> str | None:
    name = change.path[1]
    item = a.items.get(name) or b.items[name]
    if len(change.path) == 2:
        return f"Item {name} ({item.label}) {'added' if change.added else 'removed'}"
    return f"Item {name}: {_spaced(change.path[2])}{_from_to(change)}"
