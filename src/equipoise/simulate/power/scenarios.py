"""Scenarios: a trial, and what is different from it, field by field.

Everything that fixes the trials of a scenario is one block of plain data (`Design`): the protocol, the dials,
the virtual population and the baseline population, or a plain event-time trial. A change names a field by its
path, or by as much of it as makes clear which field is meant: `aldesleukin.goal.rise` is
`regimens.aldesleukin.goal.rules[..].rise`. Fields of a list that share a path change together unless a
position is given (`rules[0].rise`).
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from equipoise.errors import UserError
from equipoise.protocol import plain as plain_trials
from equipoise.protocol import resolve
from equipoise.protocol.checking import problems
from equipoise.protocol.model import Protocol
from equipoise.protocol.plain import PlainTrial
from equipoise.protocol.quantities import number_text
from equipoise.protocol.reading import (
    ProtocolError,
    Source,
    build,
    build_as,
    fields_at,
    load_source,
    parse_yaml,
    path_text,
    read_limited,
)
from equipoise.virtual.baseline import Baseline, build_baseline, load_baseline
from equipoise.virtual.parameters import Population, build_population, load_population

MOST_SCENARIOS = 1000
BASE = "as written"
"""Name of the scenario in which nothing is changed."""

Path_ = tuple[str | int, ...]
_UNSAID = frozenset({
    "note", "source", "assumed", "text", "label", "references", "published", "published_terms", "title",
    "background", "version", "address", "meaning", "status", "symbol", "definition", "not_identified",
})  # fmt: skip
"""Words for people: not offered when a path is looked for."""
_UNDERSTOOD = ("value", "per_year", "share")
"""Last steps of a path that need not be written: `gain` is `population.parameters.gain.value`."""
_ALSO_CALLED = {"participants": "size.simulated"}


@dataclass(frozen=True)
class Design:
    """What is simulated, as plain data. `protocol` is the resolved protocol or plain trial."""

    kind: str
    """"guided" (a protocol with its virtual population) or "plain"."""
    name: str
    protocol: Mapping[str, Any]
    dials: Mapping[str, Any] = field(default_factory=dict)
    """Dials by name, all of them (with `preset`, the preset that they began as)."""
    population: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    arm: str | None = None
    """The arm that is compared with the reference arm; needed where there are several."""

    def canonical(self) -> bytes:
        """One line of JSON: the same bytes for the same trials. The order of keys is kept, since arms,
        countries and levels are drawn in their order."""
        return json.dumps(
            {
                "kind": self.kind, "protocol": self.protocol, "dials": self.dials, "arm": self.arm,
                "population": self.population, "baseline": self.baseline,
            },
            ensure_ascii=False, allow_nan=False, separators=(",", ":"),
        ).encode()  # fmt: skip

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()

    def built(self) -> tuple[Protocol, Population, Baseline]:
        """Protocol, population and baseline population of a guided design."""
        return (
            build(_source(self.protocol, self.name)),
            build_population(_source(self.population, self.name)),
            build_baseline(_source(self.baseline, self.name)),
        )

    def built_plain(self) -> PlainTrial:
        """The plain event-time trial of a plain design."""
        return build_as(_source(self.protocol, self.name), PlainTrial)


@dataclass(frozen=True)
class Scenario:
    """A design under a name, with what was changed: full path and value of each change."""

    name: str
    design: Design
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """The changes by their paths."""
        return dict(self.changes)


@dataclass(frozen=True)
class Variation:
    """One thing that is varied, and its values."""

    path: str
    values: tuple[Any, ...]


def _source(data: Mapping[str, Any], place: str) -> Source:
    return parse_yaml(json.dumps(data, ensure_ascii=False), place)


# --- the design as written ----------------------------------------------------------------------------------


def design_of(
    protocol: Protocol | PlainTrial,
    dials: Mapping[str, Any] | str | None = None,
    participants: int | None = None,
    arm: str | None = None,
) -> Design:
    """The design as written. `dials`: a preset, or dials by name. Raises UserError when it cannot be
    simulated."""
    if isinstance(protocol, PlainTrial):
        if dials:
            raise UserError(f"{protocol.plain}: a plain event-time trial has no dials and no presets")
        data = plain_trials.resolved(protocol)
        if participants is not None:
            data["participants"] = participants
        other = next(name for name in protocol.arms if name != protocol.reference_arm)
        if arm not in (None, other):
            raise UserError(
                f'there is no arm "{arm}" to compare with {protocol.reference_arm}; there is {other}'
            )
        return _built(Design("plain", protocol.plain, data, arm=arm if arm is not None else other))
    simulation = protocol.simulation
    if simulation is None:
        raise UserError(
            f"{protocol.protocol}: simulation: this protocol names no virtual population, so it cannot be "
            "simulated. A plain event-time trial (a file with `plain:`) needs none."
        )
    population = load_population(simulation.population)
    data = resolve(protocol)
    if participants is not None:
        data["size"]["simulated"] = participants
    chosen: dict[str, Any] = {"preset": dials} if isinstance(dials, str) else dict(dials or {})
    preset = str(chosen.pop("preset", population.file.default.preset))
    others = [name for name in protocol.arms if name != protocol.analysis.reference_arm]
    if arm is None and len(others) > 1:
        raise UserError(
            f"{protocol.protocol}: several arms are compared with {protocol.analysis.reference_arm}: choose "
            f"one with --arm, of {', '.join(others)}"
        )
    if arm is not None and arm not in others:
        raise UserError(
            f'there is no arm "{arm}" to compare with {protocol.analysis.reference_arm}; there are '
            f"{', '.join(others)}"
        )
    return _built(
        Design(
            "guided", protocol.protocol, data,
            {"preset": preset, **population.settings(preset, chosen)},
            population.file.model_dump(mode="json", exclude_none=True),
            load_baseline(simulation.baseline).file.model_dump(mode="json", exclude_none=True),
            arm if arm is not None else others[0],
        )
    )  # fmt: skip


def _built(design: Design) -> Design:
    """The same design, once everything in it is known to be readable and sound."""
    if design.kind == "plain":
        design.built_plain()
        return design
    protocol, population, _ = design.built()
    changes = {name: value for name, value in design.dials.items() if name != "preset"}
    population.dials(str(design.dials["preset"]), changes)
    for problem in problems(protocol):
        if problem.severity == "error":
            raise UserError(f"{problem.place}: {problem.message}")
    return design


# --- finding a field ----------------------------------------------------------------------------------------


def _trees(design: Design) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a design, under the word that a path may begin with."""
    yield "", design.protocol
    if design.kind == "guided":
        yield "dials", {name: value for name, value in design.dials.items() if name != "preset"}
        # what the population says of dials and presets has become the dials of the design
        kept = {k: v for k, v in design.population.items() if k not in ("dials", "presets", "default")}
        yield "population", kept
        yield "baseline", design.baseline


def _leaves(data: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every value, and every list of values, by its path."""
    if isinstance(data, Mapping):
        for key, inner in data.items():
            if key not in _UNSAID:
                yield from _leaves(inner, (*path, key))
        return
    if isinstance(data, list):
        if not any(isinstance(inner, Mapping) for inner in data):
            yield path
        for place, inner in enumerate(data):
            yield from _leaves(inner, (*path, place))
        return
    yield path


def _tokens(text: str) -> Path_:
    """`rules[0].rise` as its steps. Raises UserError when it is no path."""
    if not re.fullmatch(r"[^\s\[\].]+(?:\[\d+\]|\.[^\s\[\].]+)*", text):
        raise UserError(f"{text}: not a path; write names with dots, such as aldesleukin.goal.rise")
    return tuple(int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", text))


def _subsequence(asked: Path_, path: Path_) -> bool:
    steps = iter(path)
    return all(any(step == each for each in steps) for step in asked)


def _named(path: Path_) -> Path_:
    """A path without the positions in lists."""
    return tuple(step for step in path if isinstance(step, str))


def find(design: Design, text: str) -> list[Path_]:
    """The fields that a path means, each with the name of its part in front ("" for the protocol).

    Raises UserError where the path leads nowhere (with the nearest ones) or might mean several things.
    """
    asked = _tokens(_ALSO_CALLED.get(text, text) if design.kind == "guided" else text)
    if asked == ("preset",) and design.kind == "guided":
        return [("preset",)]
    if design.kind == "guided" and len(asked) == 1 and asked[0] in design.dials:
        return [("dials", *asked)]
    ranked: dict[int, list[Path_]] = {}
    for part, tree in _trees(design):
        for path in _leaves(tree):
            whole = (part, *path)
            for offered in (whole, whole[:-1] if whole[-1] in _UNDERSTOOD else whole):
                rank = _rank(asked, offered)
                if rank is not None:
                    ranked.setdefault(rank, []).append(whole)
                    break
    if not ranked:
        absent = _absent(design, asked)
        if absent is not None:
            return [absent]
        raise UserError(f"{text}: {_nowhere(design)} has no such field{_nearest(design, text)}")
    found = ranked[min(ranked)]
    kinds = list(dict.fromkeys(_named(path) for path in found))
    if len(kinds) > 1:
        shown = " or ".join(_shown(kind) for kind in kinds[:4])
        more = f" (and {len(kinds) - 4} more)" if len(kinds) > 4 else ""
        raise UserError(f"{text}: this might mean {shown}{more}; write more of the path")
    # a list of values is changed as a whole, unless a position in it was asked for
    whole_lists = [
        path for path in found if any(other[: len(path)] == path and other != path for other in found)
    ]
    return whole_lists or found


def _rank(asked: Path_, offered: Path_) -> int | None:
    """How well a path fits: 0 exactly, 1 as its end, 2 with steps left out; None not at all."""
    if not any(isinstance(step, int) for step in asked):
        offered = _named(offered)
    known = offered[1:] if offered[0] == "" else offered
    if asked == known:
        return 0
    if asked[-1] != known[-1] or not _subsequence(asked, known):
        return None
    return 1 if known[-len(asked) :] == asked else 2


def _absent(design: Design, asked: Path_) -> Path_ | None:
    """A field that the file may have but does not: by its full path only."""
    root = PlainTrial if design.kind == "plain" else Protocol
    node: Any = design.protocol
    for step in asked[:-1]:
        inside = step in node if isinstance(node, Mapping) else (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        )  # fmt: skip
        if not inside:
            return None
        node = node[step]
    known = asked[-1] in fields_at(asked[:-1], root) and asked[-1] not in _UNSAID
    return ("", *asked) if isinstance(node, Mapping) and known else None


def _nowhere(design: Design) -> str:
    return "the trial" if design.kind == "plain" else "protocol, dials and population"


def _shown(path: Path_) -> str:
    return path_text(path[1:] if path and path[0] == "" else path)


def _nearest(design: Design, text: str) -> str:
    known = {_named((part, *path)): None for part, tree in _trees(design) for path in _leaves(tree)}
    asked = [str(step).lower() for step in _tokens(text)]
    scored = []
    for each in known:
        steps = [str(step).lower() for step in each if step not in ("", *_UNDERSTOOD)]
        if not steps:
            continue
        last = _alike(asked[-1], steps[-1])
        before = [max((_alike(step, other) for other in steps[:-1]), default=0.0) for step in asked[:-1]]
        scored.append((last + sum(before) / len(before) if before else 2 * last, _shown(each)))
    best = sorted((-score, len(shown), shown) for score, shown in scored if score >= 1.3)
    return f"; did you mean {' or '.join(shown for _, _, shown in best[:3])}?" if best else ""


def _alike(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


# --- changing it --------------------------------------------------------------------------------------------


def changed(design: Design, changes: Mapping[str, Any]) -> tuple[Design, tuple[tuple[str, Any], ...]]:
    """The design with these fields changed, and the full path and value of each change.

    A bare number takes the unit of the value that it replaces. Raises UserError for a path that leads
    nowhere or a value that does not fit."""
    said: list[tuple[str, Any]] = []
    touched: dict[Path_, str] = {}
    parts: dict[str | int, Any] = {part: json.loads(json.dumps(tree)) for part, tree in _trees(design)}
    dials = dict(design.dials)
    # a preset sets every dial: it comes first, whatever the order
    for text in sorted(changes, key=lambda each: each != "preset"):
        value = changes[text]
        for path in find(design, text):
            if path == ("preset",):
                population = build_population(_source(design.population, design.name))
                dials = {"preset": str(value), **population.settings(str(value))}
                parts["dials"] = {name: each for name, each in dials.items() if name != "preset"}
                said.append(("preset", str(value)))
                continue
            if path in touched:
                raise UserError(f"{text} and {touched[path]} are the same field: give it once")
            touched[path] = text
            new = _with_unit(_at(parts[path[0]], path[1:]), value)
            _put(parts[path[0]], path[1:], new)
            shown = _shown(_named(path)) if text.count("[") == 0 else _shown(path)
            if (shown, value) not in said:
                said.append((shown, value))
    if "dials" in parts:
        dials = {
            "preset": design.dials["preset"] if "preset" not in changes else dials["preset"],
            **parts["dials"],
        }
    made = replace(
        design, protocol=parts[""], dials=dials, baseline=parts.get("baseline", {}),
        population={**design.population, **parts.get("population", {})},
    )  # fmt: skip
    words = ", ".join(f"{path} = {plain(value)}" for path, value in said)
    try:
        return _built(made), tuple(said)
    except ProtocolError as error:
        where = f"{error.path}: " if error.path else ""
        raise UserError(f"{words}: {where}{error.message}") from None
    except UserError as error:
        raise UserError(f"{words}: {error}") from None


def _at(data: Any, path: Path_) -> Any:
    for step in path:
        if isinstance(data, Mapping) and step not in data:
            return None
        data = data[step]
    return data


def _put(data: Any, path: Path_, value: Any) -> None:
    _at(data, path[:-1])[path[-1]] = value


_LEADING_NUMBER = re.compile(r"^\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*(?=\D)")


def _with_unit(old: Any, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and isinstance(old, str) and (match := _LEADING_NUMBER.match(old)):
        return f"{number_text(float(value))} {old[match.end() :].strip()}"
    if number and isinstance(old, int) and not isinstance(old, bool) and float(value).is_integer():
        return int(value)
    if number and isinstance(old, float):
        return float(value)
    return value


def plain(value: Any) -> str:
    """A value as a name shows it."""
    if isinstance(value, float):
        return number_text(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- what is varied -----------------------------------------------------------------------------------------


def variation(text: str, option: str = "--vary") -> Variation:
    """Read `path=0:1:0.25` (from, to, step) or `path=100,150,200`; `option` names it in messages.
    Raises UserError with what was expected."""
    path, equals, values = text.partition("=")
    path, values = path.strip(), values.strip()
    if not equals or not path or not values:
        raise UserError(
            f"{option} {text}: expected PATH=VALUES, such as functional_fraction=0:1:0.25 or "
            "aldesleukin.goal.rise=100,150,200"
        )
    steps = _steps(f"{option} {text}", values)
    if steps is None:
        steps = [_value(f"{option} {text}", part) for part in _parts(values)]
    if len({json.dumps(step) for step in steps}) != len(steps):
        raise UserError(f"{option} {text}: a value is given twice")
    return Variation(path, tuple(steps))


def _steps(place: str, values: str) -> list[Any] | None:
    ends = values.split(":")
    if len(ends) != 3:
        return None
    try:
        low, high, step = (Decimal(end.strip()) for end in ends)
    except InvalidOperation:
        return None
    if step == 0 or (high - low) * step < 0:
        raise UserError(f"{place}: the step leads away from the end")
    count = int((high - low) / step) + 1
    if count > MOST_SCENARIOS:
        raise UserError(f"{place}: {count:,} values are too many (at most {MOST_SCENARIOS:,})")
    numbers = [low + step * k for k in range(count)]
    return [int(n) if n == n.to_integral_value() and "." not in values else float(n) for n in numbers]


def _parts(values: str) -> list[str]:
    """The values between commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(values):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append(values[start:place])
            start = place + 1
    return [*parts, values[start:]]


def _value(place: str, text: str) -> Any:
    if not text.strip():
        raise UserError(f"{place}: a value is missing between two commas")
    try:
        return parse_yaml(text.strip(), place).data
    except ProtocolError as error:
        raise UserError(f"{place}: {error.message}") from None


def grid(design: Design, variations: Sequence[Variation]) -> list[Scenario]:
    """A scenario for every combination of the values; the design as written when nothing is varied.

    Raises UserError for a path that leads nowhere, a value that does not fit, or too many scenarios."""
    if not variations:
        return [Scenario(BASE, design)]
    total = 1
    for each in variations:
        total *= len(each.values)
    if total > MOST_SCENARIOS:
        raise UserError(f"{total:,} scenarios are too many (at most {MOST_SCENARIOS:,}); vary less")
    asked = [each.path for each in variations]
    if len(set(asked)) != len(asked):
        raise UserError("the same path is varied twice: give all its values in one --vary")
    made = []
    for values in itertools.product(*(each.values for each in variations)):
        changes = dict(zip(asked, values, strict=True))
        other, said = changed(design, changes)
        name = ", ".join(f"{path} {plain(value)}" for path, value in changes.items())
        made.append(Scenario(name, other, said))
    return made


def from_file(design: Design, path: Path) -> list[Scenario]:
    """The scenarios of a file: names, and under each the changes by path; and perhaps a grid.

    scenarios:
      as planned: {}
      weaker drug: {response_multiplier: 0.7}
      lower goal, fewer cycles: {aldesleukin.goal.rise: 100, aldesleukin.induction.cycles: 3}
    vary:
      functional_fraction: 0:1:0.25
      size.alpha: [0.05, 0.01]

    With `vary` every scenario (or the design as written) is taken with every combination of the values.
    Raises UserError."""
    try:
        source = parse_yaml(read_limited(path), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    data = source.data
    if not isinstance(data, dict) or not data or not set(data) <= {"scenarios", "vary"}:
        raise UserError(
            f"{path}: expected `scenarios:`, with a name for each scenario, or `vary:`, with values by path"
        )
    named = _named_scenarios(design, source, data.get("scenarios", {BASE: {}}))
    if "vary" not in data:
        return named
    variations = _file_variations(source, data["vary"])
    made = []
    for scenario in named:
        for point in grid(scenario.design, variations):
            name = point.name if "scenarios" not in data else f"{scenario.name}, {point.name}"
            made.append(Scenario(name, point.design, (*scenario.changes, *point.changes)))
    if len(made) > MOST_SCENARIOS:
        raise UserError(f"{path}: {len(made):,} scenarios are too many (at most {MOST_SCENARIOS:,})")
    return made


def _named_scenarios(design: Design, source: Source, data: Any) -> list[Scenario]:
    place = source.place
    if not isinstance(data, dict):
        raise source.error("expected a name for each scenario, and under it its changes", ("scenarios",))
    if not data:
        raise UserError(f"{place}: scenarios: there are none")
    if len(data) > MOST_SCENARIOS:
        raise UserError(f"{place}: too many scenarios (at most {MOST_SCENARIOS:,})")
    made = []
    for name, changes in data.items():
        if changes is None:
            changes = {}
        if not isinstance(changes, dict):
            raise source.error("expected the changes as a block: path: value", ("scenarios", name))
        try:
            other, said = changed(design, changes)
        except UserError as error:
            at = source.find(("scenarios", name))[1]
            raise UserError(f"{place}:{at.line}:{at.column}: scenarios.{name}: {error}") from None
        made.append(Scenario(str(name), other, said))
    return made


def _file_variations(source: Source, data: Any) -> list[Variation]:
    if not isinstance(data, dict) or not data:
        raise source.error("expected values by path", ("vary",))
    found = []
    for path, values in data.items():
        if isinstance(values, list):
            if not values:
                raise source.error("there are no values", ("vary", path))
            found.append(Variation(path, tuple(values)))
        else:
            at = source.find(("vary", path))[1]
            found.append(variation(f"{path}={plain(values)}", f"{source.place}:{at.line}:{at.column}: vary:"))
    return found


def load_target(name_or_path: str | Path) -> Protocol | PlainTrial:
    """A protocol (bundled or of a file), or a plain event-time trial (a file with `plain:`). Raises
    `ProtocolError` if there is none or it cannot be read."""
    source = load_source(name_or_path)
    return plain_trials.build_plain(source) if plain_trials.is_plain(source) else build(source)
