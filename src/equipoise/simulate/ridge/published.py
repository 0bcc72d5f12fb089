"""What a trial published of its hazard ratios, read from its protocol, in the form that a likelihood
needs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from equipoise.design.normal import Z95
from equipoise.errors import UserError
from equipoise.protocol.model import Protocol, PublishedFigure
from equipoise.simulate.ridge.expected import DEATHS, DISEASES, LATER, PRIMARY, RECENT, subgroup_name
from equipoise.simulate.ridge.kernel import RECENT_DAYS
from equipoise.virtual.parameters import Population

_WITHIN = re.compile(r"hazard ratio, within (\d+) days of a cycle")
_AFTER = re.compile(r"hazard ratio, (\d+) days or more after a cycle")


@dataclass(frozen=True)
class Ratio:
    """One published hazard ratio. `name`: the figure of `equipoise.simulate.ridge.expected` that it is
    compared with; `error`: standard error of its logarithm."""

    name: str
    label: str
    value: float
    error: float
    interval: tuple[float, float] | None

    @property
    def log(self) -> float:
        return math.log(self.value)


@dataclass(frozen=True)
class Published:
    """The hazard ratios of one trial."""

    trial: str
    arm: str
    primary: Ratio
    others: tuple[Ratio, ...]
    """Opportunistic disease and death, where published."""
    recent: tuple[Ratio, Ratio] | None
    """A clinical event within 180 days of a cycle and later, each against the reference arm."""
    shared: float
    """Variance that the two have in common, for they share their reference arm."""
    subgroup: str | None
    """Label of a subgroup whose hazard ratios are published."""
    levels: tuple[tuple[str, float], ...]
    """Its levels and their hazard ratios (their intervals, where published, are not used)."""

    @property
    def all(self) -> tuple[Ratio, ...]:
        return (self.primary, *self.others)


def published(protocol: Protocol, population: Population) -> Published:
    """The published hazard ratios of a trial, with 95% intervals.

    Raises UserError, naming the place, where the protocol has none for its primary endpoint in the events
    that the virtual population knows."""
    names = endpoints_of(protocol, population)
    reference = protocol.analysis.reference_arm
    primary = next((name for name, figure in names.items() if figure == PRIMARY), None)
    for arm in protocol.arms:
        if arm == reference or primary is None:
            continue
        found = {
            names[each.analysis]: _ratio(each, names[each.analysis])
            for each in protocol.published.values()
            if each.analysis in names
            and _is_ratio(each, f"{arm} vs {reference}")
            and each.interval is not None
        }
        if PRIMARY in found:
            others = tuple(found[name] for name in (DISEASES, DEATHS) if name in found)
            subgroup, levels = _subgroup(protocol, f"{arm} vs {reference}")
            recent, shared = _recent(protocol, f"{arm} vs {reference}", reference)
            return Published(protocol.protocol, arm, found[PRIMARY], others, recent, shared, subgroup, levels)
    raise UserError(
        f"{protocol.protocol}: published: there is no hazard ratio of the primary endpoint with its "
        f"interval, of one arm against {reference}, in the events that the virtual population knows "
        "(opportunistic disease, death). Give it as a published figure with `parameter: hazard ratio`, "
        "`statistic: estimate` and an `interval`"
    )


def endpoints_of(protocol: Protocol, population: Population) -> dict[str, str]:
    """Endpoints of the protocol that can be compared, and the figure that each is compared with."""
    processes = population.file.processes
    disease, death = processes["opportunistic"].kind, processes["death"].kind
    kinds = {PRIMARY: {disease, death}, DISEASES: {disease}, DEATHS: {death}}
    found: dict[str, str] = {}
    for name, endpoint in protocol.endpoints.items():
        if endpoint.terms or endpoint.recurrences == "left out":
            continue
        for figure, needed in kinds.items():
            primary = (endpoint.role == "primary") == (figure == PRIMARY)
            if set(endpoint.first_of) == needed and primary and figure not in found.values():
                found[name] = figure
    return found


def _is_ratio(each: PublishedFigure, group: str) -> bool:
    return each.group == group and each.parameter == "hazard ratio" and each.statistic == "estimate"


def _ratio(each: PublishedFigure, name: str) -> Ratio:
    if each.interval is None:
        raise UserError(f"published: {each.label}: a hazard ratio without its interval has no likelihood")
    low, high = each.interval
    if not 0 < low < each.value < high:
        raise UserError(
            f"published: {each.label}: {each.value:g} ({low:g} to {high:g}) is no hazard ratio within its "
            "interval"
        )
    return Ratio(name, each.label, each.value, math.log(high / low) / (2 * Z95), each.interval)


def _recent(protocol: Protocol, group: str, reference: str) -> tuple[tuple[Ratio, Ratio] | None, float]:
    found: dict[str, PublishedFigure] = {}
    for each in protocol.published.values():
        if each.group != group or each.interval is None:
            continue
        for pattern, name in ((_WITHIN, RECENT), (_AFTER, LATER)):
            match = pattern.fullmatch(each.parameter)
            if match and int(match[1]) == RECENT_DAYS:
                found[name] = each
    if len(found) < 2 or found[RECENT].analysis != found[LATER].analysis:
        return None, 0.0
    events = [
        each.value
        for each in protocol.published.values()
        if (each.analysis, each.group, each.parameter) == (found[RECENT].analysis, reference, "events")
    ]
    return (
        (_ratio(found[RECENT], RECENT), _ratio(found[LATER], LATER)),
        1.0 / events[0] if events else 0.0,
    )


def _subgroup(protocol: Protocol, group: str) -> tuple[str | None, tuple[tuple[str, float], ...]]:
    """The first subgroup of the analysis plan for every level of which a hazard ratio is published."""
    for subgroup in protocol.analysis.subgroups:
        values = {
            each.parameter.removesuffix(": hazard ratio"): each.value
            for each in protocol.published.values()
            if each.analysis == f"subgroup:{subgroup.label}" and each.group == group
        }
        if all(level in values for level in subgroup.levels):
            return subgroup.label, tuple((level, values[level]) for level in subgroup.levels)
    return None, ()


def level_ratios(found: Published, shares: tuple[float, ...]) -> tuple[Ratio, ...]:
    """The hazard ratios by level of the subgroup, with assumed errors: the information of the primary hazard
    ratio is divided in proportion to the expected primary events (`shares`, adding up to 1)."""
    return tuple(
        Ratio(
            subgroup_name(level), f"{found.primary.label}, {level}", value,
            found.primary.error / math.sqrt(share), None,
        )
        for (level, value), share in zip(found.levels, shares, strict=True)
    )  # fmt: skip
