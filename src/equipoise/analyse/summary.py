"""The results in words and small tables, for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from equipoise.analyse.results import Results
from equipoise.analyse.rounding import UNDEFINED, interval, number, p_value, percent
from equipoise.protocol import Protocol
from equipoise.record import AnalysisInput

_WIDTH = 100
_NOT_ENDPOINTS = ("screening", "consort", "disposition", "baseline", "exposure", "safety")


class _Lookup:
    """Values by key, and the order of analyses and parameters."""

    def __init__(self, results: Results) -> None:
        table = results.table
        self.value = {row[:4]: (row[4], row[5]) for row in table.iter_rows()}
        self.level = f"{100 * float(results.provenance.get('confidence', 0.95)):g}% CI"
        self.analyses = table["analysis"].unique(maintain_order=True).to_list()

    def get(self, *key: str) -> float:
        return float(self.value.get(key, (math.nan, ""))[0])

    def has(self, *key: str) -> bool:
        return key in self.value

    def unit(self, *key: str) -> str:
        return str(self.value[key][1]) if key in self.value else ""

    def parameters(self, analysis: str, group: str) -> list[str]:
        return list(dict.fromkeys(k[2] for k in self.value if k[0] == analysis and k[1] == group))

    def groups(self, analysis: str) -> list[str]:
        return list(dict.fromkeys(k[1] for k in self.value if k[0] == analysis))


def summary(results: Results, plan: Protocol | AnalysisInput | None = None) -> str:
    """The results as text of at most 100 columns: who was analysed, each endpoint, each measure, treatment,
    notes. `plan` (the protocol, or the mapped data) gives labels; without it the names stand."""
    look = _Lookup(results)
    arms, endpoint_labels, item_labels = _labels(results, plan, look)
    out = [*textwrap.wrap(str(results.provenance.get("title", "Results")), _WIDTH), ""]
    out += _participants(look, arms)
    for analysis in look.analyses:
        if analysis in _NOT_ENDPOINTS or analysis.startswith("subgroup:"):
            continue
        if any(look.has(analysis, arm, "person-years", "estimate") for arm in arms):
            out += _endpoint(look, analysis, endpoint_labels.get(analysis, analysis), arms)
        else:
            out += _measure(look, analysis, item_labels.get(analysis, analysis), arms)
    out += _subgroups(look)
    out += _treatment(look, arms)
    out += _safety(look, arms)
    if results.notes:
        out += ["Notes"]
        for note in results.notes:
            out += textwrap.wrap(note, _WIDTH, initial_indent="  ", subsequent_indent="    ")
        out += [""]
    return "\n".join(out).rstrip() + "\n"


def _labels(
    results: Results, plan: Protocol | AnalysisInput | None, look: _Lookup
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    if isinstance(plan, Protocol):
        return (
            {name: arm.label for name, arm in plan.arms.items()},
            {name: endpoint.label for name, endpoint in plan.endpoints.items()},
            {name: item.label for name, item in plan.items.items()},
        )
    if isinstance(plan, AnalysisInput):
        return (
            dict(plan.arms),
            {e.name: e.label for e in plan.endpoints},
            {m.name: m.label for m in plan.measures},
        )
    names = [g for g in look.groups("baseline") if g != "all"]
    return {name: name for name in names}, {}, {}


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first to the left, the others to the right, indented by two."""
    widths = [max(len(row[k]) for row in (head, *body)) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        return ("  " + "  ".join(cells)).rstrip()

    return [line(head), *(line(row) for row in body), ""]


def _participants(look: _Lookup, arms: dict[str, str]) -> list[str]:
    total = look.get("consort", "all", "randomised", "n")
    parts = [f"{number(look.get('consort', arm, 'analysed', 'n'), 0)} {label}" for arm, label in arms.items()]
    screened = look.get("consort", "all", "assessed for eligibility", "n")
    first = f"{number(screened, 0)} assessed, " if not math.isnan(screened) else ""
    lines = textwrap.wrap(
        f"{first}{number(total, 0)} randomised; analysed by intention to treat: {', '.join(parts)}.", _WIDTH
    )
    years = look.get("disposition", "all", "observation", "median")
    if not math.isnan(years):
        lost = look.get("disposition", "all", "lost to follow-up", "n")
        gone = look.get("disposition", "all", "withdrew", "n")
        lines.append(
            f"Median follow-up {number(years, 1)} years; {number(lost, 0)} lost to follow-up, "
            f"{number(gone, 0)} withdrew."
        )
    return [*lines, ""]


def _pairs(look: _Lookup, analysis: str) -> list[str]:
    return [g for g in look.groups(analysis) if " vs " in g]


def _pair_words(pair: str, arms: dict[str, str]) -> str:
    one, _, other = pair.partition(" vs ")
    return f"{arms.get(one, one)} against {arms.get(other, other)}"


def _endpoint(look: _Lookup, name: str, label: str, arms: dict[str, str]) -> list[str]:
    body = []
    for arm, words in arms.items():
        events, n = look.get(name, arm, "events", "n"), look.get(name, arm, "participants", "n")
        rate = [look.get(name, arm, "rate", s) for s in ("estimate", "lower", "upper")]
        years = look.get(name, arm, "person-years", "estimate")
        body.append(
            [words, f"{number(events, 0)} of {number(n, 0)}", percent(events, n), number(years, 0),
             interval(rate[0], rate[1], rate[2], 2)]
        )  # fmt: skip
    lines = [
        label,
        *_table(["", "events", "share", "person-years", f"per 100 person-years ({look.level})"], body)[:-1],
    ]
    for pair in _pairs(look, name):
        ratio = [look.get(name, pair, "hazard ratio", s) for s in ("estimate", "lower", "upper")]
        stratified = look.has(name, pair, "stratified log-rank", "p_value")
        test = "stratified log-rank" if stratified else "log-rank"
        p, kind = look.get(name, pair, test, "p_value"), "stratified " if stratified else ""
        lines.append(
            f"  {_pair_words(pair, arms)}:\n"
            f"    {kind}hazard ratio {interval(ratio[0], ratio[1], ratio[2], 2)}; {test} P {_p(p)}"
        )
    return [*lines, ""]


def _p(p: float) -> str:
    """ "= 0.47", "<0.001"; for after the letter P."""
    shown = p_value(p)
    return shown if shown[:1] in "<>" else f"= {shown}"


def _measure(look: _Lookup, name: str, label: str, arms: dict[str, str]) -> list[str]:
    unit = next((look.unit(name, arm, "mean over follow-up", "estimate") for arm in arms), "")
    places = 2 if unit.startswith("log10") else 1
    lines = [f"{label}, {unit}".rstrip(", ")]
    body = []
    for arm, words in arms.items():
        mean = look.get(name, arm, "mean over follow-up", "estimate")
        body.append(
            [
                words,
                number(look.get(name, arm, "baseline", "mean"), places),
                number(mean, places),
                number(look.get(name, arm, "mean over follow-up", "se"), places),
                number(look.get(name, arm, "mean over follow-up", "n"), 0),
            ]
        )
    lines += _table(["", "mean at entry", "mean over follow-up", "SE", "participants"], body)[:-1]
    for pair in _pairs(look, name):
        found = [
            look.get(name, pair, "mean difference over follow-up", s) for s in ("estimate", "lower", "upper")
        ]
        if not math.isnan(found[0]):
            p = look.get(name, pair, "mean difference over follow-up", "p_value")
            lines.append(
                f"  {_pair_words(pair, arms)}:\n    mean difference over follow-up "
                f"{interval(found[0], found[1], found[2], places)}; P {_p(p)} (mixed model)"
            )
    return [*lines, ""]


def _subgroups(look: _Lookup) -> list[str]:
    body = []
    suffix = ": hazard ratio"
    for analysis in look.analyses:
        if not analysis.startswith("subgroup:"):
            continue
        for pair in _pairs(look, analysis):
            p = look.get(analysis, pair, "interaction", "p_value")
            title = analysis.removeprefix("subgroup:")
            shown = "" if len(_pairs(look, analysis)) == 1 else f" ({pair})"
            body.append([f"{title}{shown}", "", p_value(p)])
            for parameter in look.parameters(analysis, pair):
                if parameter.endswith(suffix):
                    ratio = [look.get(analysis, pair, parameter, s) for s in ("estimate", "lower", "upper")]
                    body.append(
                        [f"  {parameter.removesuffix(suffix)}", interval(ratio[0], ratio[1], ratio[2], 2), ""]
                    )
    if not body:
        return []
    return ["Subgroups", *_table(["", f"hazard ratio ({look.level})", "interaction P"], body)]


def _treatment(look: _Lookup, arms: dict[str, str]) -> list[str]:
    lines = []
    for arm, label in arms.items():
        if not look.has("exposure", arm, "cycles per participant", "median"):
            continue
        started = look.get("exposure", arm, "participants starting cycles", "n")
        whole = look.get("exposure", arm, "cycles per participant", "n")
        q = [look.get("exposure", arm, "cycles per participant", s) for s in ("median", "q1", "q3", "mean")]
        lines.append(
            f"  {label}: {number(started, 0)} of {number(whole, 0)} started\n"
            f"    cycles per participant: median {number(q[0], 0)} "
            f"(quartiles {number(q[1], 0)} and {number(q[2], 0)}), mean {number(q[3], 1)}"
        )
        goal = look.get("exposure", arm, "time at goal", "mean")
        if not math.isnan(goal):
            lines.append(f"    time at the goal: {number(goal, 0)}% of follow-up on average")
    return ["Treatment received", *lines, ""] if lines else []


def _safety(look: _Lookup, arms: dict[str, str]) -> list[str]:
    if not any(look.has("safety", arm, "any", "n") for arm in arms):
        return []
    body = []
    for parameter in dict.fromkeys(p for arm in arms for p in look.parameters("safety", arm)):
        counts = [look.get("safety", arm, parameter, "n") for arm in arms]
        if not any(look.has("safety", arm, parameter, "rate") for arm in arms) or not any(counts):
            continue
        body.append([parameter, *(UNDEFINED if math.isnan(c) else number(c, 0) for c in counts)])
    return ["Participants with tabulated events", *_table(["", *arms.values()], body)]
