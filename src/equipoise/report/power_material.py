"""What the page of a power run is made from: the summary, the names of its scenarios, what is varied, the
plan of monitoring of each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.protocol.model import Looks
from equipoise.report import power_words
from equipoise.simulate.power.characteristics import Figure, Summary, Trials
from equipoise.simulate.power.deciding import REASONS, Committee
from equipoise.simulate.power.scenarios import Design, plain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Varied:
    """One thing in which the scenarios differ. `values` and `numbers` by scenario; `numbers` is None where
    they are not all numbers of one unit."""

    label: str
    values: tuple[str, ...]
    numbers: tuple[float, ...] | None
    unit: str = ""

    @property
    def title(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class Plan:
    """A plan of monitoring, and the scenarios (positions) that have it."""

    committee: Committee
    looks: Looks
    assumed_alpha: bool
    scenarios: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PowerMaterial:
    """A power run, ready to be told."""

    summary: Summary
    provenance: Mapping[str, str]
    _designs: dict[int, dict[str, Any]] = field(default_factory=dict)
    _built: dict[str, tuple[Committee, Looks]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of scenarios."""
        return len(self.summary.trials)

    @property
    def plain(self) -> bool:
        """Whether the run is of plain event-time trials."""
        return self.summary.saved.kind == "plain"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the scenarios on one line each, with their numbers where there are several."""
        bare = [" ".join(entry.name.split()) for entry in self.summary.saved.scenarios]
        return tuple(f"{k}. {name}" if len(bare) > 1 else name for k, name in enumerate(bare, 1))

    def said(self, scenario: int) -> str:
        """A scenario within a sentence."""
        if self.count == 1:
            return "the scenario"
        name = " ".join(self.summary.saved.scenarios[scenario].name.split())
        return f"scenario {scenario + 1} ({name})"

    def trials(self, scenario: int) -> Trials:
        return self.summary.trials[scenario]

    def column(self, scenario: int, name: str) -> Floats:
        return self.summary.trials[scenario].column(name)

    @cached_property
    def _by_name(self) -> tuple[dict[str, Figure], ...]:
        return tuple({figure.name: figure for figure in found} for found in self.summary.figures)

    def figure(self, scenario: int, name: str) -> Figure | None:
        """The figure of that name; None where the run has none."""
        return self._by_name[scenario].get(name)

    def both(self, scenario: int, name: str, wanted: int | None = None) -> str:
        """A figure with its error, in words. `wanted`: decimals of its column."""
        return power_words.both(self.figure(scenario, name), self.trials(scenario).count, wanted)

    def column_of(self, name: str) -> list[str]:
        """A figure of every scenario with its error, with the same decimals where the errors allow it."""
        wanted = power_words.common_places([self.figure(k, name) for k in range(self.count)])
        return [self.both(k, name, wanted) for k in range(self.count)]

    def error(self, scenario: int, figure: Figure) -> str:
        """The error of a figure, or that it can only be so."""
        told = self.plan_of(scenario).committee
        fixed = (
            figure.name == "look 1: reached"
            or (figure.name.endswith("futility") and told.plan.futility is None)
            or (figure.name.endswith("harm") and told.sides == 1)
            or (told.looks == 1 and figure.name == "stopped before the final analysis")
        )
        return "by design" if fixed else power_words.error(figure, self.trials(scenario).count)

    def number(self, scenario: int, name: str) -> float:
        """The value of a figure, NaN where there is none."""
        found = self.figure(scenario, name)
        return math.nan if found is None else found.value

    def design(self, scenario: int) -> dict[str, Any]:
        """Everything that fixes the trials of a scenario, as plain data."""
        if scenario not in self._designs:
            self._designs[scenario] = self.summary.saved.design(self.summary.saved.scenarios[scenario])
        return self._designs[scenario]

    @property
    def title(self) -> str:
        """The name of the trial."""
        protocol = self.design(0)["protocol"]
        return str(protocol["plain" if self.plain else "protocol"])

    @property
    def most_trials(self) -> int:
        return max(trials.count for trials in self.summary.trials)

    @property
    def fewest_trials(self) -> int:
        return min(trials.count for trials in self.summary.trials)

    def null(self, scenario: int) -> bool:
        """Whether the null hypothesis is true by construction."""
        return self.summary.trials[scenario].true_log_hr == 0

    def participants(self, scenario: int) -> int:
        """Participants of a simulated trial."""
        protocol = self.design(scenario)["protocol"]
        return int(protocol["participants"] if self.plain else protocol["size"]["simulated"])

    def arms(self) -> tuple[str, str]:
        """Labels of the arm that is compared and of the reference arm."""
        design = self.design(0)
        protocol = design["protocol"]
        reference = protocol["reference_arm"] if self.plain else protocol["analysis"]["reference_arm"]
        both = (str(design["arm"]), str(reference))
        one, two = (str(protocol["arms"][name].get("label") or name) for name in both)
        return one, two

    def marker(self) -> tuple[str, str]:
        """Label and unit of the biomarker."""
        protocol = self.design(0)["protocol"]
        for planned in protocol.get("analysis", {}).get("measures", []):
            item = protocol.get("items", {}).get(planned["measure"], {})
            return str(item.get("label") or planned["measure"]), str(item.get("unit") or "")
        return "biomarker", ""

    def endings(self, scenario: int) -> NDArray[np.int64]:
        """Trials by look at which they ended and by reason: (looks, reasons)."""
        look, reason = self.column(scenario, "stop|look"), self.column(scenario, "stop|reason")
        counts = np.zeros((self.trials(scenario).looks, len(REASONS)), np.int64)
        np.add.at(counts, (look.astype(int) - 1, reason.astype(int)), 1)
        return counts

    # --- what is varied -------------------------------------------------------------------------------------

    @cached_property
    def varied(self) -> tuple[Varied, ...]:
        """The things in which the scenarios differ, where each scenario says all of them (a grid); otherwise
        none."""
        entries = self.summary.saved.scenarios
        changes = [dict(entry.changes) for entry in entries]
        paths = list(changes[0])
        if self.count < 2 or not paths or any(set(each) != set(paths) for each in changes):
            return ()
        # fields that always change together are one thing, such as the goals of every stratum
        together: dict[str, list[str]] = {}
        for path in paths:
            together.setdefault(json.dumps([each[path] for each in changes]), []).append(path)
        found = []
        for key, alike in together.items():
            values = json.loads(key)
            numbers, unit = _numbers(values)
            label = self._asked(values, alike[0])
            found.append(Varied(label, tuple(plain(value) for value in values), numbers, unit))
        return tuple(each for each in found if len(set(each.values)) > 1)

    def _asked(self, values: list[Any], path: str) -> str:
        """A path as the user wrote it, which the names of a grid tell; otherwise its last two steps."""
        candidates: set[str] | None = None
        for entry, value in zip(self.summary.saved.scenarios, values, strict=True):
            parts = entry.name.split(", ")
            tail = f" {plain(value)}"
            asked = {part.removesuffix(tail) for part in parts if part.endswith(tail)}
            candidates = asked if candidates is None else candidates & asked
        last = re.split(r"[.\[]", path)[-1]
        fitting = [each for each in sorted(candidates or ()) if each.split(".")[-1] in path.split(".")]
        exact = [each for each in fitting if each.split(".")[-1] == last]
        return (exact or fitting or [".".join(path.split(".")[-2:])])[0]

    @cached_property
    def numeric(self) -> tuple[Varied, ...]:
        """The varied things, where they are one or two numbers and every combination occurs once; otherwise
        none."""
        varied = self.varied
        if not 1 <= len(varied) <= 2 or any(each.numbers is None for each in varied):
            return ()
        combinations = set(zip(*(each.values for each in varied), strict=True))
        full = math.prod(len(set(each.values)) for each in varied)
        return varied if len(combinations) == full == self.count else ()

    # --- monitoring -----------------------------------------------------------------------------------------

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """The different plans of monitoring of the run."""
        found: dict[str, list[int]] = {}
        for k in range(self.count):
            protocol = self.design(k)["protocol"]
            names = (
                ("monitoring", "alpha", "power", "primary_events", "follow_up", "analysis")
                if self.plain
                else ("monitoring", "size", "calendar", "randomization")
            )
            told: dict[str, Any] = {name: protocol.get(name) for name in names}
            if self.plain:
                told["shares"] = [arm.get("share") for arm in protocol["arms"].values()]
            else:
                told["size"] = {n: v for n, v in protocol["size"].items() if n in _TESTED}
            found.setdefault(json.dumps(told, sort_keys=True), []).append(k)
        return tuple(self._plan(tuple(scenarios)) for scenarios in found.values())

    def _plan(self, scenarios: tuple[int, ...]) -> Plan:
        data = self.design(scenarios[0])
        design = Design(name=self.title, **data)
        if self.plain:
            from equipoise.simulate.power import event_times

            trial = design.built_plain()
            return Plan(event_times.committee_of(trial), trial.monitoring, False, scenarios)
        from equipoise.simulate.power import guided

        made = guided.prepare(design)
        protocol, _, _ = design.built()
        return Plan(made.committee, protocol.monitoring, protocol.size.alpha is None, scenarios)

    def plan_of(self, scenario: int) -> Plan:
        return next(plan for plan in self.plans if scenario in plan.scenarios)


_TESTED = ("alpha", "power", "primary_events")
_QUANTITY = re.compile(r"([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)\s*(\D*)")


def _numbers(values: list[Any]) -> tuple[tuple[float, ...] | None, str]:
    """Values as numbers, and their unit; None where they are not all numbers of one unit."""
    found = []
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append((float(value), ""))
        elif isinstance(value, str) and (match := _QUANTITY.fullmatch(value.strip())):
            found.append((float(match[1]), match[2].strip()))
        else:
            return None, ""
    units = {unit for _, unit in found}
    return (tuple(number for number, _ in found), units.pop()) if len(units) == 1 else (None, "")
