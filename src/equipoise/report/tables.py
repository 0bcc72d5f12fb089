"""The table of results, looked up; and the tables of the report, built from nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.protocol.model import Protocol, PublishedFigure
from equipoise.protocol.quantities import DAYS_PER, DAYS_PER_YEAR
from equipoise.report import words as w
from equipoise.report.document import Row, Table, columns, row

Key = tuple[str, str, str, str]
Triple = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Curve:
    """A step curve over time since randomisation: days, and at each the estimate with its interval
    (probabilities, 0 to 1; unknown: NaN). All arrays have one entry per step."""

    day: NDArray[np.float64]
    estimate: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """Means of a measure by visit: years since randomisation, number measured, mean and its interval.

    All arrays have one entry per grid point; the first may be baseline (0 years)."""

    name: tuple[str, ...]
    years: NDArray[np.float64]
    n: NDArray[np.float64]
    mean: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


_POINT = re.compile(r"^(day|week|month|year) (\d+(?:\.\d+)?)$")


def years_of(parameter: str) -> float | None:
    """Years since randomisation of a grid point ("month 8"); "baseline" is 0; None when it is neither.

    Week 1 is the week of randomisation, as everywhere in a protocol."""
    if parameter == "baseline":
        return 0.0
    match = _POINT.match(parameter)
    if match is None:
        return None
    steps = float(match[2]) - (1.0 if match[1] == "week" else 0.0)
    return steps * DAYS_PER[match[1]] / DAYS_PER_YEAR


class Rows:
    """The table of results as a look-up. Every number in a report is asked for here.

    The table has the columns analysis, group, parameter, statistic, value, unit; the first four identify it.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        names = ("analysis", "group", "parameter", "statistic")
        keys: list[Key] = list(zip(*(table[name].to_list() for name in names), strict=True))
        self._value: dict[Key, float] = dict(zip(keys, table["value"].to_list(), strict=True))
        self._unit: dict[Key, str] = dict(zip(keys, table["unit"].to_list(), strict=True))
        self._parameters: dict[tuple[str, str], list[str]] = {}
        for analysis, group, parameter, _ in keys:
            known = self._parameters.setdefault((analysis, group), [])
            if not known or known[-1] != parameter:
                known.append(parameter)

    def value(self, analysis: str, group: str, parameter: str, statistic: str) -> float | None:
        """The number in a row; None where the row is absent or its value undefined."""
        found = self._value.get((analysis, group, parameter, statistic))
        return found if w.known(found) else None

    def values(self, analysis: str, group: str, parameter: str, *statistics: str) -> tuple[float | None, ...]:
        """Several statistics of one quantity."""
        return tuple(self.value(analysis, group, parameter, s) for s in statistics)

    def triple(
        self,
        analysis: str,
        group: str,
        parameter: str,
        middle: str = "estimate",
        low: str = "lower",
        high: str = "upper",
    ) -> Triple:
        """A number and the ends of its spread."""
        return tuple(self.value(analysis, group, parameter, s) for s in (middle, low, high))  # type: ignore[return-value]

    def unit(self, analysis: str, group: str, parameter: str, statistic: str) -> str:
        """The unit of a row, as print writes it ("" for a pure number or an absent row)."""
        return w.unit(self._unit.get((analysis, group, parameter, statistic)) or "")

    def parameters(self, analysis: str, group: str) -> list[str]:
        """The quantities of an analysis in a group, in the order of the table, each once."""
        return list(dict.fromkeys(self._parameters.get((analysis, group), [])))

    def groups(self, analysis: str) -> list[str]:
        """The groups that an analysis has rows for."""
        return [group for (found, group) in self._parameters if found == analysis]

    @cached_property
    def analyses(self) -> list[str]:
        """Every analysis in the table, in its order."""
        return list(dict.fromkeys(analysis for analysis, _ in self._parameters))

    def curve(self, analysis: str, group: str, quantity: str) -> Curve | None:
        """The step curve whose rows are named "<quantity> day <d>", in order of days."""
        prefix = f"{quantity} day "
        days = sorted(
            int(p.removeprefix(prefix)) for p in self.parameters(analysis, group) if p.startswith(prefix)
        )
        if len(days) < 2:
            return None
        column = [
            [self._value.get((analysis, group, f"{prefix}{day}", s), np.nan) for day in days]
            for s in ("estimate", "lower", "upper")
        ]
        return Curve(np.array(days, float), *(np.array(c, float) for c in column))

    def profile(self, analysis: str, group: str) -> Profile | None:
        """Means by visit of a measure in an arm, baseline first."""
        points = [
            (years, p)
            for p in self.parameters(analysis, group)
            if (years := years_of(p)) is not None and self.value(analysis, group, p, "mean") is not None
        ]
        # Month 0 holds the few measurements just after randomisation; baseline is the value at 0 years.
        points = sorted(
            (y, p) for y, p in points if p == "baseline" or y > 0 or (y, "baseline") not in points
        )
        if len(points) < 2:
            return None
        column = [
            [self._value.get((analysis, group, p, s), np.nan) for _, p in points]
            for s in ("n", "mean", "lower", "upper")
        ]
        return Profile(
            tuple(p for _, p in points),
            np.array([y for y, _ in points]),
            *(np.array(c, float) for c in column),
        )


@dataclass(frozen=True)
class Arms:
    """The arms as a report speaks of them: the compared ones by name, the reference arm last. (A record keeps
    no other order, and a report made from it must be the same.)"""

    names: tuple[str, ...]
    reference: str
    label: dict[str, str]

    @classmethod
    def of(cls, protocol: Protocol) -> Arms:
        """The arms of a protocol."""
        reference = protocol.analysis.reference_arm
        others = tuple(sorted(name for name in protocol.arms if name != reference))
        return cls((*others, reference), reference, {name: arm.label for name, arm in protocol.arms.items()})

    @property
    def compared(self) -> tuple[str, ...]:
        """Every arm but the reference."""
        return self.names[:-1]

    def pair(self, name: str) -> str:
        """The name of a comparison in the table of results."""
        return f"{name} vs {self.reference}"

    def titles(self) -> list[str]:
        """Labels, in order."""
        return [self.label[name] for name in self.names]


def endpoints_in_order(protocol: Protocol) -> list[str]:
    """Endpoints in the order of the analysis plan, then the others by name: a record keeps no other order."""
    planned = [plan.endpoint for plan in protocol.analysis.time_to_event]
    return [*planned, *sorted(set(protocol.endpoints) - set(planned))]


def events_in_order(protocol: Protocol) -> list[str]:
    """Kinds of event in the order in which endpoints count them, then the others by name."""
    counted = [k for e in endpoints_in_order(protocol) for k in protocol.endpoints[e].first_of]
    return list(dict.fromkeys([*counted, *sorted(protocol.events)]))


def published_for(protocol: Protocol, *key: str) -> PublishedFigure | None:
    """The published figure that is compared with a row of the results, if there is one."""
    for figure in protocol.published.values():
        if (figure.analysis, figure.group, figure.parameter, figure.statistic) == key:
            return figure
    return None


def published_text(figure: PublishedFigure | None, places: int) -> str:
    """A published figure with its interval."""
    if figure is None:
        return w.NONE
    lower, upper = figure.interval or (None, None)
    return w.with_interval(figure.value, lower, upper, places)


# --- participants -----------------------------------------------------------------------------------------


def screening(rows: Rows, protocol: Protocol) -> Table | None:
    """Why candidates were not randomised, by criterion, in the protocol's order."""
    assessed = rows.value("screening", "all", "screened", "n")
    if assessed is None:
        return None
    body: list[Row] = []
    for criterion in protocol.eligibility.criteria:
        first = rows.value("consort", "all", f"not randomised: {criterion.id}", "n")
        failed = rows.value("screening", "all", f"failed {criterion.id}", "n")
        if first or failed:
            body.append(
                row(criterion.id, criterion.text, w.count_percent(failed, assessed), w.count(first or 0.0))
            )
    for reason in ("eligibility unknown", "other reasons"):
        n = rows.value("consort", "all", f"not randomised: {reason}", "n")
        if n:
            body.append(row(w.NONE, w.capital(reason), w.NONE, w.count(n)))
    body.append(
        row(
            "All",
            "Not randomised",
            w.NONE,
            w.count(rows.value("consort", "all", "not randomised", "n")),
            kind="total",
        )
    )
    return Table(
        "table-screening",
        f"Why candidates were not randomised ({w.count(assessed)} were screened)",
        columns(
            ["Rule", "What it asks", "Failed it (some failed several)", "First rule failed"],
            2,
            [0.6, 4, 1.4, 1],
        ),
        tuple(body),
        (
            (
                "The last column counts each person once, at the first rule failed in "
                "the order of the protocol, and adds up."
            ),
        ),
        stack=True,
        folded=len(body) > 15,
    )


def baseline(rows: Rows, protocol: Protocol, arms: Arms) -> Table | None:
    """Participants at randomisation, by arm: who they are, what is measured, the strata.

    What was asked only to decide who may take part is left to the table of results."""
    groups = [*arms.names, "all"]
    parameters = rows.parameters("baseline", "all") or rows.parameters("baseline", arms.names[0])
    total = {group: rows.value("baseline", group, "participants", "n") for group in groups}
    levels: dict[str, list[str]] = {}
    for parameter in parameters:
        item, _, level = parameter.partition(": ")
        levels.setdefault(item, []).extend([level] if level else [])
    shown = [item for item in levels if item != "participants" and _describes(protocol, item)]
    body: list[Row] = []
    for item in shown:
        label = _item_label(protocol, item)
        if not levels[item]:
            body.append(_number_at_baseline(rows, protocol, item, groups))
        elif set(levels[item]) <= {"yes", "no"}:
            body.append(row(label, *(_share(rows, f"{item}: yes", g, total[g]) for g in groups)))
        else:
            body.append(row(label, kind="heading"))
            for level in _in_order(protocol, item, levels[item]):
                numbers = [_share(rows, f"{item}: {level}", group, total[group]) for group in groups]
                body.append(row(w.capital(level.replace("_", " ")), *numbers, kind="detail"))
    if not body:
        return None
    titles = [
        f"{title} (n = {w.count(total[g])})" for title, g in zip([*arms.titles(), "All"], groups, strict=True)
    ]
    notes = [
        "Numbers are median (first to third quartile) or participants (percent). "
        "Differences between the groups here are chance: randomisation made them."
    ]
    if hidden := len(levels) - 1 - len(shown):
        notes.append(
            f"The table of results has {hidden} more: what was asked only to "
            "decide who may take part, and strata "
            "that repeat an item."
        )
    return Table(
        "table-baseline",
        "Participants at randomisation",
        columns(["", *titles], 1, [2.2] + [1.3] * len(groups)),
        tuple(body),
        tuple(notes),
    )


def _describes(protocol: Protocol, name: str) -> bool:
    """Whether an item says who the participants are, rather than only whether they may take part."""
    if name.startswith("stratum "):
        stratum = protocol.strata.get(name.removeprefix("stratum "))
        return stratum is None or stratum.item is None
    item = protocol.items.get(name)
    return item is None or any(when in item.collect for when in ("baseline", "visits"))


def _in_order(protocol: Protocol, name: str, levels: list[str]) -> list[str]:
    """Categories in the order of the protocol; levels of a stratum by their first number."""
    item = protocol.items.get(name)
    if item is None:
        return sorted(levels, key=by_number)
    planned = list(item.categories or [])
    return [level for level in planned if level in levels] + [
        level for level in levels if level not in planned
    ]


def by_number(text: str) -> tuple[float, str]:
    """50-199 before 200-299; words without a number last."""
    match = re.search(r"\d+(?:\.\d+)?", text)
    return (float(match[0]) if match else float("inf"), text)


def _share(rows: Rows, parameter: str, group: str, total: float | None) -> str:
    return w.count_percent(rows.value("baseline", group, parameter, "n") or 0.0, total)


def _number_at_baseline(rows: Rows, protocol: Protocol, item: str, groups: list[str]) -> Row:
    unit = next((u for g in groups if (u := rows.unit("baseline", g, item, "median"))), "")
    spread = [rows.triple("baseline", g, item, "median", "q1", "q3") for g in groups]
    places = w.measure_places(unit, *(x for triple in spread for x in triple))
    if all(x is None or float(x).is_integer() for triple in spread for x in triple):
        places = 0
    label = _item_label(protocol, item) + (f" ({unit})" if unit else "")
    missing = rows.value("baseline", "all", item, "missing")
    if missing:
        label += f"; {w.count(missing)} not known"
    return row(label, *(w.with_interval(*triple, places) for triple in spread))


def _item_label(protocol: Protocol, name: str) -> str:
    if name.startswith("stratum "):
        stratum = protocol.strata.get(name.removeprefix("stratum "))
        return f"Stratum: {stratum.label}" if stratum else w.capital(name)
    item = protocol.items.get(name)
    return w.capital(item.label if item else name.replace("_", " "))


# --- outcomes ---------------------------------------------------------------------------------------------


def outcomes(rows: Rows, protocol: Protocol, arms: Arms) -> Table | None:
    """Every endpoint: participants with an event, rates, hazard ratios, tests; the published ratio beside."""
    body: list[Row] = []
    any_published = False
    for plan in protocol.analysis.time_to_event:
        name = plan.endpoint
        endpoint = protocol.endpoints[name]
        if not rows.parameters(name, arms.reference):
            continue
        body.append(row(f"{w.capital(endpoint.label)} ({endpoint.role})", kind="heading"))
        for arm in arms.names:
            events, n = rows.value(name, arm, "events", "n"), rows.value(name, arm, "participants", "n")
            rate = w.with_interval(*rows.triple(name, arm, "rate"), 2)
            pair = arms.pair(arm)
            if arm == arms.reference:
                ratio, published, p = "1 (reference)", w.NONE, w.NONE
            else:
                ratio = w.with_interval(*rows.triple(name, pair, "hazard ratio"), 2)
                figure = published_for(protocol, name, pair, "hazard ratio", "estimate")
                any_published |= figure is not None
                published = published_text(figure, 2)
                p = w.p_value(rows.value(name, pair, "hazard ratio", "p_value"))
            body.append(
                row(arms.label[arm], w.count_percent(events, n), rate, ratio, p, published, kind="detail")
            )
    if not body:
        return None
    level = f"{100 * protocol.analysis.confidence:g}%"
    titles = [
        "",
        "With an event",
        "Rate per 100 person-years",
        f"Hazard ratio ({level} interval)",
        "P",
        "Published",
    ]
    keep = [0, 1, 2, 3, 4] + ([5] if any_published else [])
    trimmed = tuple(Row(tuple(r.cells[i] for i in keep), r.kind) if len(r.cells) > 1 else r for r in body)
    return Table(
        "table-outcomes",
        "Clinical outcomes, by intention to treat",
        columns([titles[i] for i in keep], 1, [[2.0, 1.0, 1.5, 1.4, 0.6, 1.4][i] for i in keep]),
        trimmed,
        (
            (
                f"Rates and hazard ratios with their {level} confidence intervals. "
                "P: Wald test of the same Cox model. "
            )
            + (
                "The published hazard ratio of the real trial stands beside the simulated one."
                if any_published
                else ""
            ),
        ),
    )


_TESTS = (
    ("log-rank", "Log-rank test"),
    ("stratified log-rank", "Log-rank test within strata"),
    ("proportional hazards", "Are the hazards proportional?"),
)


def log_rank(rows: Rows, protocol: Protocol, arms: Arms) -> Table | None:
    """Tests of the planned endpoints."""
    body: list[Row] = []
    for plan in protocol.analysis.time_to_event:
        for arm in arms.compared:
            lines = []
            for parameter, name in _TESTS:
                found = rows.values(plan.endpoint, arms.pair(arm), parameter, "chi_square", "df", "p_value")
                if found[0] is not None:
                    shown = (w.number(found[0], 2), w.count(found[1]), w.p_value(found[2]))
                    lines.append(row(name, *shown, kind="detail"))
            label = w.capital(protocol.endpoints[plan.endpoint].label)
            if len(arms.compared) > 1:
                label += f": {arms.label[arm]}"
            body += [row(label, kind="heading"), *lines] if lines else []
    if not body:
        return None
    note = (
        "The last test of each outcome asks whether one hazard ratio can "
        "describe the whole of follow-up; a small "
        "P says that it cannot."
    )
    titles = ["", "Chi-square", "Degrees of freedom", "P"]
    return Table("table-tests", "Tests", columns(titles, 1, [2.4, 1, 1, 0.8]), tuple(body), (note,))


def curve_by_year(
    rows: Rows, protocol: Protocol, arms: Arms, endpoint: str, quantity: str, invert: bool
) -> Table | None:
    """The numbers behind an event curve: percentage with an event at the end of each year, and at risk."""
    years = sorted(
        {
            int(p.rsplit(" ", 1)[1])
            for arm in arms.names
            for p in rows.parameters(endpoint, arm)
            if p.startswith(f"{quantity} year ")
        }
    )
    if not years:
        return None
    body = []
    for year in years:
        cells: list[str] = [count_years(year)]
        for arm in arms.names:
            estimate, lower, upper = rows.triple(endpoint, arm, f"{quantity} year {year}")
            if invert and estimate is not None:
                estimate, lower, upper = (None if x is None else 1 - x for x in (estimate, upper, lower))
            share, low, high = (None if x is None else 100 * x for x in (estimate, lower, upper))
            at_risk = rows.value(endpoint, arm, f"Kaplan-Meier year {year}", "at_risk")
            cells += [w.with_interval(share, low, high, 1), w.count(at_risk)]
        body.append(row(*cells))
    titles = ["Time since randomisation"]
    for arm in arms.names:
        titles += [f"{arms.label[arm]}: % with an event (interval)", f"{arms.label[arm]}: at risk"]
    return Table(
        f"table-curve-{endpoint}",
        f"{w.capital(protocol.endpoints[endpoint].label)}: percentage with an event, by year",
        columns(titles),
        tuple(body),
    )


def count_years(year: float) -> str:
    """ "1 year", "2 years"."""
    return f"{year:g} year{'' if year == 1 else 's'}"


@dataclass(frozen=True)
class ForestLine:
    """One line of the forest plot; a line without an estimate is a heading."""

    label: str
    heading: bool = False
    counts: tuple[str, ...] = ()
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    published: PublishedFigure | None = None
    note: str = ""


def forest(rows: Rows, protocol: Protocol, arms: Arms, arm: str) -> list[ForestLine]:
    """Hazard ratios of one comparison: every endpoint, then every subgroup with its test of interaction."""
    pair, lines = arms.pair(arm), [ForestLine("Endpoints", heading=True)]

    def line(label: str, analysis: str, prefix: str) -> ForestLine:
        events = tuple(
            f"{w.count(rows.value(analysis, a, prefix + 'events', 'n'))} / "
            f"{w.count(rows.value(analysis, a, prefix + 'participants', 'n'))}"
            for a in (arm, arms.reference)
        )
        ratio = rows.triple(analysis, pair, f"{prefix}hazard ratio")
        figure = published_for(protocol, analysis, pair, f"{prefix}hazard ratio", "estimate")
        return ForestLine(w.capital(label), False, events, *ratio, published=figure)

    for plan in protocol.analysis.time_to_event:
        if rows.parameters(plan.endpoint, pair):
            lines.append(line(protocol.endpoints[plan.endpoint].label, plan.endpoint, ""))
    for subgroup in protocol.analysis.subgroups:
        analysis = f"subgroup:{subgroup.label}"
        if not rows.parameters(analysis, pair):
            continue
        p = rows.value(analysis, pair, "interaction", "p_value")
        note = f"interaction P {w.p_value(p)}" if p is not None else ""
        lines.append(ForestLine(w.capital(subgroup.label), heading=True, note=note))
        levels = [p.removesuffix(": participants") for p in rows.parameters(analysis, arm)]
        lines += [line(x, analysis, f"{x}: ") for x in levels if x in subgroup.levels]
    return lines


def forest_table(lines: list[ForestLine], arms: Arms, arm: str, level: float) -> Table:
    """The forest plot in numbers."""
    body = []
    for line in lines:
        if line.heading:
            body.append(row(line.label + (f" ({line.note})" if line.note else ""), kind="heading"))
        else:
            ratio = w.with_interval(line.estimate, line.lower, line.upper, 2)
            body.append(
                row(line.label, *line.counts, ratio, published_text(line.published, 2), kind="detail")
            )
    titles = [
        "",
        f"{arms.label[arm]}: events / n",
        f"{arms.label[arms.reference]}: events / n",
        f"Hazard ratio ({100 * level:g}% interval)",
        "Published",
    ]
    return Table(
        f"table-forest-{arm}",
        "Hazard ratios by endpoint and subgroup",
        columns(titles, 1, [2.2, 1.2, 1.2, 1.5, 1.5]),
        tuple(body),
    )


# --- measures ---------------------------------------------------------------------------------------------


def measure_summary(rows: Rows, protocol: Protocol, arms: Arms, measure: str) -> Table | None:
    """The average over follow-up by arm, and the differences, published beside."""
    unit = rows.unit(measure, arms.reference, "mean over follow-up", "estimate")
    values = {
        a: (
            rows.value(measure, a, "mean over follow-up", "n"),
            *rows.triple(measure, a, "mean over follow-up"),
        )
        for a in arms.names
    }
    if all(v[1] is None for v in values.values()):
        return None
    places = 2 if unit.startswith("log") else 1
    body = [
        row(
            arms.label[a],
            w.count(n),
            w.with_interval(mean, lower, upper, places),
            published_text(published_for(protocol, measure, a, "mean over follow-up", "estimate"), places),
            w.NONE,
        )
        for a, (n, mean, lower, upper) in values.items()
    ]
    for arm in arms.compared:
        pair = arms.pair(arm)
        versus = f"Difference, {arms.label[arm]} against {arms.label[arms.reference]}"
        for parameter, how in (
            ("mean difference over follow-up", "mixed model"),
            ("difference of means over follow-up", "no model"),
        ):
            estimate, lower, upper, p = rows.values(
                measure, pair, parameter, "estimate", "lower", "upper", "p_value"
            )
            if estimate is not None:
                figure = published_for(protocol, measure, pair, parameter, "estimate")
                body.append(
                    row(
                        f"{versus} ({how})",
                        w.NONE,
                        w.with_interval(estimate, lower, upper, places),
                        published_text(figure, places),
                        w.p_value(p),
                        kind="total",
                    )
                )
    label = _item_label(protocol, measure)
    level = f"{100 * protocol.analysis.confidence:g}%"
    return Table(
        f"table-mean-{measure}",
        f"{label}: average over follow-up ({unit})",
        columns(
            ["", "Participants", f"Mean ({level} interval)", "Published", "P"], 1, [2.6, 1, 1.5, 1.5, 0.6]
        ),
        tuple(body),
    )


def measure_by_visit(rows: Rows, protocol: Protocol, arms: Arms, measure: str) -> Table | None:
    """Means by visit: the numbers behind the picture."""
    profiles = {a: p for a in arms.names if (p := rows.profile(measure, a)) is not None}
    if not profiles:
        return None
    unit = rows.unit(measure, arms.reference, "baseline", "mean")
    places = 2 if unit.startswith("log") else 0
    order: dict[str, float] = {}
    for profile in profiles.values():
        order.update(zip(profile.name, profile.years.tolist(), strict=True))
    body = []
    for name in sorted(order, key=lambda n: order[n]):
        cells = [w.capital(name)]
        for arm in profiles:
            n, mean, lower, upper = rows.values(measure, arm, name, "n", "mean", "lower", "upper")
            cells += [w.count(n), w.with_interval(mean, lower, upper, places)]
        body.append(row(*cells))
    titles = ["Visit"]
    for arm in profiles:
        titles += [f"{arms.label[arm]}: measured", f"{arms.label[arm]}: mean (interval)"]
    return Table(
        f"table-visits-{measure}",
        f"{_item_label(protocol, measure)} by visit ({unit})",
        columns(titles),
        tuple(body),
    )


# --- treatment --------------------------------------------------------------------------------------------


def cycling_arms(rows: Rows, arms: Arms) -> list[str]:
    """Arms with a regimen given in cycles, as far as the results have them."""
    return [
        a for a in arms.names if rows.value("exposure", a, "participants starting cycles", "n") is not None
    ]


def exposure(rows: Rows, protocol: Protocol, arms: Arms) -> Table | None:
    """Treatment received, as given: cycles, doses, changes, time at goal."""
    given = cycling_arms(rows, arms)
    if not given:
        return None

    def share(parameter: str) -> list[str]:
        found = [rows.values("exposure", a, parameter, "n", "percent") for a in given]
        return [
            w.count_percent(n, None) if not n or pc is None else f"{w.count(n)} ({w.percent(pc, 100.0)})"
            for n, pc in found
        ]

    def quartiles(parameter: str) -> list[str]:
        cells = []
        for a in given:
            median, q1, q3, mean = rows.values("exposure", a, parameter, "median", "q1", "q3", "mean")
            unit = rows.unit("exposure", a, parameter, "median")
            places = 0 if all(x is None or float(x).is_integer() for x in (median, q1, q3)) else 1
            shown = w.with_interval(median, q1, q3, places)
            suffix = "" if shown == w.NONE or not unit else "%" if unit == "%" else f" {unit}"
            if unit == "%" and shown != w.NONE:
                shown = shown.replace(" (", "% (").replace(" to ", "% to ").replace(")", "%)")
                suffix = ""
            cells.append(
                shown
                + suffix
                + (f"; mean {w.number(mean, 1)}{'%' if unit == '%' else ''}" if mean is not None else "")
            )
        return cells

    def plain(parameter: str, statistic: str) -> list[str]:
        return [w.count(rows.value("exposure", a, parameter, statistic)) for a in given]

    lines: list[tuple[str, list[str]]] = [
        ("Started cycles, participants", share("participants starting cycles")),
        ("Completed induction, participants", share("participants completing induction")),
        ("Cycles given, all together", plain("cycles", "total")),
        ("Cycles per participant randomised", quartiles("cycles per participant")),
        ("Cycles per participant who started", quartiles("cycles per participant who started")),
        ("Days between cycles", quartiles("interval between cycles")),
        ("Dose per injection, first cycle", quartiles("dose per administration, first cycle")),
        ("Dose per injection, all cycles", quartiles("dose per administration")),
        ("Dose per cycle, as given", quartiles("dose per cycle")),
        ("Injections given, of those planned", share("administrations given")),
        ("Cycles offered and accepted", share("offers accepted")),
        ("Cycles offered and declined", share("offers declined")),
        ("Participants with a dose raised", share("participants with escalation")),
        ("Participants with a dose lowered", share("participants with reduction")),
        ("Participants with a hold", share("participants with hold")),
        ("Participants stopped by a rule", share("participants with stop")),
        ("Share of observed time at the goal", quartiles("time at goal")),
    ]
    body = [row(label, *cells) for label, cells in lines if any(c != w.NONE for c in cells)]
    return Table(
        "table-exposure",
        "Treatment received",
        columns(["", *[arms.label[a] for a in given]], 1, [1.5] + [1.5] * len(given)),
        tuple(body),
        ("Spreads are median (first to third quartile).",),
    )


def doses(rows: Rows, arms: Arms) -> Table | None:
    """Cycles given at each dose."""
    given = cycling_arms(rows, arms)
    prefix = "dose per administration, "
    levels = list(
        dict.fromkeys(
            p
            for a in given
            for p in rows.parameters("exposure", a)
            if p.startswith(prefix) and "first cycle" not in p
        )
    )
    if not levels:
        return None
    levels.sort(key=lambda p: float(re.sub(r"[^0-9.].*$", "", p.removeprefix(prefix)) or "nan"))
    body = []
    for parameter in levels:
        cells = []
        for a in given:
            n, share = rows.values("exposure", a, parameter, "n", "percent")
            cells.append(w.NONE if n is None else f"{w.count(n)} ({w.number(share, 1)}%)")
        body.append(row(parameter.removeprefix(prefix), *cells))
    return Table(
        "table-doses",
        "Cycles at each dose per injection",
        columns(["Dose per injection", *[f"{arms.label[a]}: cycles" for a in given]]),
        tuple(body),
    )


def cycles_by_number(rows: Rows, arms: Arms) -> Table | None:
    """How many participants had how many cycles."""
    given = cycling_arms(rows, arms)
    counts = {a: cycle_counts(rows, a) for a in given}
    most = max((len(c) for c in counts.values()), default=0)
    if most == 0:
        return None
    body = []
    for k in range(most):
        cells = []
        for c in counts.values():
            total = sum(c)
            cells.append(w.count_percent(float(c[k]) if k < len(c) else 0.0, float(total)))
        body.append(row(str(k), *cells))
    return Table(
        "table-cycles",
        "Participants by number of cycles received",
        columns(["Cycles", *[arms.label[a] for a in given]]),
        tuple(body),
    )


def cycle_counts(rows: Rows, arm: str) -> list[int]:
    """Participants with 0, 1, 2, ... cycles in an arm."""
    found: dict[int, int] = {}
    for parameter in rows.parameters("exposure", arm):
        match = re.fullmatch(r"participants with (\d+) cycles?", parameter)
        if match and (n := rows.value("exposure", arm, parameter, "n")) is not None:
            found[int(match[1])] = int(n)
    return [found.get(k, 0) for k in range(max(found) + 1)] if found else []


def cycles_by_year(rows: Rows, arms: Arms) -> Table | None:
    """When cycles were given."""
    given = cycling_arms(rows, arms)
    years = sorted(
        {
            int(m[1])
            for a in given
            for p in rows.parameters("exposure", a)
            if (m := re.fullmatch(r"cycles in year (\d+)", p))
        }
    )
    if not years:
        return None
    body = []
    for year in years:
        cells = []
        for a in given:
            total, mean = rows.values("exposure", a, f"cycles in year {year}", "total", "mean")
            cells += [w.count(total), w.number(mean, 2)]
        body.append(row(f"Year {year}", *cells))
    titles = [""]
    for a in given:
        titles += [f"{arms.label[a]}: cycles", f"{arms.label[a]}: cycles per participant still observed"]
    return Table("table-cycles-years", "When cycles were given", columns(titles), tuple(body))


# --- safety -----------------------------------------------------------------------------------------------

_NOT_TERMS = ("any", "serious adverse event", "attributed to treatment")


def safety_terms(rows: Rows, arms: Arms) -> list[str]:
    """The terms (organ classes) with at least one event, most frequent first."""
    terms = dict.fromkeys(p for a in arms.names for p in rows.parameters("safety", a))
    kept = [t for t in terms if t not in _NOT_TERMS and not t.startswith("event: ")]
    total = {t: sum(rows.value("safety", a, t, "n") or 0.0 for a in arms.names) for t in kept}
    return sorted((t for t in kept if total[t] > 0), key=lambda t: (-total[t], t))


def safety(rows: Rows, protocol: Protocol, arms: Arms) -> Table | None:
    """Participants with an event of each organ class, by arm; the published counts beside."""
    terms = ["any", *safety_terms(rows, arms)]
    if rows.value("safety", arms.reference, "any", "n") is None:
        return None
    total = {a: rows.value("disposition", a, "randomised", "n") for a in arms.names}
    published = _published_terms(protocol, arms)
    body = []
    for term in terms:
        cells = [w.count_percent(rows.value("safety", a, term, "n") or 0.0, total[a]) for a in arms.names]
        for arm in arms.compared:
            ratio = rows.triple("safety", arms.pair(arm), term, "rate_ratio")
            cells.append(w.with_interval(*ratio, 2))
        if published:
            counts = [w.count(published.get((a, term))) for a in arms.names]
            cells.append(w.NONE if all(c == w.NONE for c in counts) else " / ".join(counts))
        label = "Any" if term == "any" else w.capital(term)
        body.append(row(label, *cells, kind="total" if term == "any" else "body"))
    titles = ["", *[f"{arms.label[a]} (n = {w.count(total[a])})" for a in arms.names]]
    titles += [
        "Rate ratio (interval)" if len(arms.compared) == 1 else f"{arms.label[a]}: rate ratio (interval)"
        for a in arms.compared
    ]
    if published:
        titles.append("Published: " + " / ".join(arms.titles()))
    kind = protocol.analysis.safety_by
    label = protocol.events[kind].label if kind and kind in protocol.events else "Events"
    notes = [
        (
            "Participants with at least one event of the class (percent). One "
            "participant can be in several classes."
        )
    ]
    if published:
        notes.append(
            "Published: participants in the real trial. Where the source gives "
            "counts for the groups within an organ "
            "class, their sum is shown, which counts a person with two kinds of event twice."
        )
    return Table(
        "table-safety",
        f"{w.capital(label)} by organ class",
        columns(titles, 1, [2.0] + [1.3] * (len(titles) - 1)),
        tuple(body),
        tuple(notes),
    )


def _published_terms(protocol: Protocol, arms: Arms) -> dict[tuple[str, str], float]:
    """Published participants with an event, by arm and term ("any" included)."""
    endpoints = {
        plan.endpoint
        for plan in protocol.analysis.time_to_event
        if protocol.endpoints[plan.endpoint].first_of == [protocol.analysis.safety_by]
    }
    found = {}
    for arm in arms.names:
        for endpoint in endpoints:
            if (figure := published_for(protocol, endpoint, arm, "events", "n")) is not None:
                found[arm, "any"] = figure.value
        for term in protocol.published_terms:
            if term.kind == protocol.analysis.safety_by and arm in term.participants:
                found[arm, term.term] = float(term.participants[arm])
    return found


def disposition(rows: Rows, arms: Arms) -> Table | None:
    """How participants' time in the trial ended, and how long they were observed."""
    groups = [*arms.names, "all"]
    total = [rows.value("disposition", g, "randomised", "n") for g in groups]
    if all(n is None for n in total):
        return None
    body = [
        row(
            w.capital(p),
            *(
                w.count_percent(rows.value("disposition", g, p, "n"), n)
                for g, n in zip(groups, total, strict=True)
            ),
        )
        for p in ("completed", "died", "lost to follow-up", "withdrew", "in follow-up")
        if p != "in follow-up" or rows.value("disposition", "all", p, "n") is not None
    ]
    observed = [rows.triple("disposition", g, "observation", "median", "q1", "q3") for g in groups]
    body.append(row("Years observed, median (quartiles)", *(w.with_interval(*o, 1) for o in observed)))
    person_years = [rows.value("disposition", g, "observation", "total") for g in groups]
    body.append(row("Person-years observed", *(w.count(x) for x in person_years)))
    visits = [rows.value("disposition", g, "visits attended", "percent") for g in groups]
    if any(v is not None for v in visits):
        body.append(
            row(
                "Visits attended, of those due",
                *(w.NONE if v is None else f"{w.number(v, 1)}%" for v in visits),
            )
        )
    titles = ["", *(f"{t} (n = {w.count(n)})" for t, n in zip([*arms.titles(), "All"], total, strict=True))]
    return Table(
        "table-disposition",
        "How participation ended",
        columns(titles, 1, [2.0] + [1.2] * len(groups)),
        tuple(body),
    )
