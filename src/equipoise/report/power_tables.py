"""The tables of a power run: scenarios side by side, differences, each scenario in full, limits of looks."""

from __future__ import annotations

import math

import numpy as np

from equipoise.report import power_definitions, power_words
from equipoise.report import words as w
from equipoise.report.document import Column, Row, Run, Table, columns, row, words
from equipoise.report.power_material import Floats, Plan, PowerMaterial
from equipoise.simulate.power.characteristics import YEAR, Difference, Figure, quantile
from equipoise.simulate.power.deciding import EFFICACY, FUTILITY, HARM, NOT_SHOWN

MANY = 12
"""Scenarios above which pictures are of all scenarios together."""
FOLDED = 36
"""Scenarios above which a table of all scenarios opens only when asked."""
SECTIONS = {
    "decision": "Decision", "stopping": "Stopping", "duration": "Duration and events", "estimate": "Estimate",
    "biomarker": "Biomarker", "treatment": "Treatment, compared arm", "safety": "Safety",
}  # fmt: skip
REASON_WORDS = {EFFICACY: "Efficacy", FUTILITY: "Futility", HARM: "Harm", NOT_SHOWN: "Nothing shown"}


def scenarios(m: PowerMaterial) -> Table:
    """One line for each scenario."""
    offered = [
        ("Power", m.column_of("power")),
        ("Rejected either way", m.column_of("null hypothesis rejected")),
        ("Stopped early", m.column_of("stopped before the final analysis")),
        ("Duration, years (80% of trials)", _durations(m)),
        ("Partici\u00adpants", m.column_of("participants randomised")),
        ("Primary events", m.column_of("primary events")),
        ("Cycles each", m.column_of("cycles per participant")),
        (_dose_title(m), m.column_of("dose per participant")),
        ("Biomarker wins, endpoint not", m.column_of("biomarker wins, endpoint does not")),
    ]
    same = _always_randomised(m)
    if all(plan.committee.sides == 1 for plan in m.plans):
        offered = [each for each in offered if each[0] != "Rejected either way"]
    if all(plan.committee.looks == 1 for plan in m.plans):
        offered = [each for each in offered if each[0] != "Stopped early"]
    shown = [
        (title, texts)
        for title, texts in offered
        if any(text != w.NONE for text in texts) and not (same and title.startswith("Partici"))
    ]
    if m.fewest_trials != m.most_trials:
        shown.insert(0, ("Trials", [w.count(m.trials(k).count) for k in range(m.count)]))
    rows = [
        row(words(m.names[k], *_changes(m, k)), *(texts[k] for _, texts in shown)) for k in range(m.count)
    ]
    return Table(
        "table-scenarios",
        "Operating characteristics by scenario, each ± its Monte Carlo standard error",
        columns(["Scenario", *(title for title, _ in shown)], 1, [2.2, *([1.0] * len(shown))]),
        tuple(rows),
        _scenario_notes(m),
        stack=True,
        folded=m.count > FOLDED,
    )


def _always_randomised(m: PowerMaterial) -> float | None:
    """How many are randomised, where it is the same in every trial of every scenario."""
    found = {
        f.value if f is not None and f.error == 0 else math.nan
        for f in (m.figure(k, "participants randomised") for k in range(m.count))
    }
    only = found.pop() if len(found) == 1 else math.nan
    return only if math.isfinite(only) else None


def _scenario_notes(m: PowerMaterial) -> tuple[str, ...]:
    notes = [
        "Errors of percentages are in percentage points; ≤ and ≥: 95% limit of a share of none or all of "
        "the trials. Duration counts from the first possible randomisation; in brackets the 10% and 90% "
        "quantiles."
    ]
    if any(plan.committee.sides == 2 for plan in m.plans):
        notes.append("Rejected either way: efficacy or harm shown.")
    same = _always_randomised(m)
    if same:
        notes.append(f"Every trial randomises {w.count(same)} participants.")
    if m.figure(0, "cycles per participant") is not None:
        notes.append("Cycles and dose: mean per participant of the compared arm, until the trial ends.")
    return tuple(notes)


def _dose_title(m: PowerMaterial) -> str:
    found = m.figure(0, "dose per participant")
    return f"Dose each, {found.unit}" if found is not None and found.unit else "Dose each"


def _durations(m: PowerMaterial) -> list[str]:
    found = []
    for k, text in enumerate(m.column_of("duration")):
        low, high = (w.number(m.number(k, f"duration, {q} quantile"), 1) for q in ("10%", "90%"))
        found.append(f"{text} ({low}\u00a0to\u00a0{high})" if low != high else f"{text} ({low})")
    return found


def _changes(m: PowerMaterial, k: int) -> tuple[str | Run, ...]:
    """What is changed, where the name of the scenario does not say it already."""
    from equipoise.simulate.power.scenarios import plain

    entry = m.summary.saved.scenarios[k]
    told = [f"{path} = {plain(value)}" for path, value in entry.changes]
    values = [plain(value) for _, value in entry.changes]
    said = all(value in entry.name for value in values) and (len(m.varied) > 0 or not told)
    return () if said else (f": {', '.join(told)}",)


# --- the numbers of the pictures ----------------------------------------------------------------------------


def power(m: PowerMaterial) -> Table:
    rows = []
    for k in range(m.count):
        n = m.trials(k).count
        low, high = power_words.wilson(m.number(k, "power"), n)
        rows.append(
            row(
                m.names[k], m.both(k, "power"), f"{w.number(100 * low, 1)}% to {w.number(100 * high, 1)}%",
                m.both(k, "null hypothesis rejected"), w.count(n),
            )
        )  # fmt: skip
    titles = ["Scenario", "Power", "95% Monte Carlo interval", "Rejected either way", "Trials"]
    return Table("table-power", "Power by scenario", columns(titles), tuple(rows))


def duration(m: PowerMaterial) -> Table:
    names = ["duration, 10% quantile", "duration, 50% quantile", "duration, 90% quantile", "duration"]
    texts = [m.column_of(name) for name in names]
    rows = [row(m.names[k], *(each[k] for each in texts)) for k in range(m.count)]
    titles = ["Scenario", "10%", "Median", "90%", "Mean"]
    return Table("table-duration", "Duration of the trial, years", columns(titles), tuple(rows))


def endings(m: PowerMaterial) -> Table:
    """Trials by look and reason: counts that add up to the trials, and percentages."""
    reasons = reasons_shown(m)
    rows: list[Row] = []
    for k in range(m.count):
        n = m.trials(k).count
        counts = m.endings(k)
        if m.count > 1:
            rows.append(row(m.names[k], kind="heading"))
        for look, found in enumerate(counts, 1):
            cells = [_count(int(found[code]), n) for code in reasons]
            rows.append(row(f"Look\u00a0{look}", *cells, _count(int(found.sum()), n)))
        totals = [_count(int(counts[:, code].sum()), n) for code in reasons]
        rows.append(row("All", *totals, _count(int(counts.sum()), n), kind="total"))
    titles = ["Ended at", *(REASON_WORDS[code] for code in reasons), "All"]
    return Table(
        "table-stopping",
        "Trials that ended at each look, by reason (percentage)",
        columns(titles),
        tuple(rows),
    )


def _count(n: int, trials: int) -> str:
    return f"{w.count(n)} ({power_words.percent_of(n, trials)}%)" if n else "0"


def reasons_shown(m: PowerMaterial) -> tuple[int, ...]:
    """Reasons that occur, or could."""
    seen = set(np.flatnonzero(sum(m.endings(k).sum(axis=0) for k in range(m.count))).tolist())
    if any(plan.committee.plan.futility is not None for plan in m.plans):
        seen.add(FUTILITY)
    if any(plan.committee.sides == 2 for plan in m.plans):
        seen.add(HARM)
    return tuple(
        code for code in (EFFICACY, FUTILITY, HARM, NOT_SHOWN) if code in seen | {EFFICACY, NOT_SHOWN}
    )


def looks(m: PowerMaterial) -> Table:
    rows: list[Row] = []
    for k in range(m.count):
        if m.count > 1:
            rows.append(row(m.names[k], kind="heading"))
        for look in range(1, m.trials(k).looks + 1):
            years = m.column(k, f"look {look}|day") / YEAR
            found = [Figure("duration", "", *quantile(years, q), "years") for q in (0.1, 0.5, 0.9)]
            spread = [power_words.both(each, m.trials(k).count) for each in found]
            rows.append(
                row(
                    f"Look\u00a0{look}", *spread, m.both(k, f"look {look}, events"),
                    m.both(k, f"look {look} takes place"),
                )
            )  # fmt: skip
    titles = ["Look", "10%", "Median", "90%", "Events", "Takes place"]
    return Table(
        "table-looks",
        "Years from the first possible randomisation to each look",
        columns(titles),
        tuple(rows),
    )


def estimates(m: PowerMaterial) -> Table:
    rows = []
    for k in range(m.count):
        plain, adjusted = m.column(k, "stop|log_hr"), m.column(k, "stop|adjusted log_hr")
        rows.append(row(m.names[k], m.both(k, "hazard ratio, true"), *_ratios(plain), *_ratios(adjusted)))
    titles = ["Scenario", "True", "2.5%", "Median", "97.5%", "Adjusted: 2.5%", "Median", "97.5%"]
    return Table(
        "table-estimates",
        "Hazard ratios of the trials: quantiles, as estimated and adjusted for stopping",
        columns(titles),
        tuple(rows),
    )


def _ratios(log_hr: Floats) -> list[str]:
    digits = 3 if len(log_hr) >= 1000 else 2
    return [w.number(math.exp(quantile(log_hr, q)[0]), digits) for q in (0.025, 0.5, 0.975)]


def bias(m: PowerMaterial) -> Table:
    """Bias and coverage, with and without adjustment for stopping."""
    names = (
        "hazard ratio, true",
        "bias of the log hazard ratio, as estimated",
        "bias of the log hazard ratio, adjusted for stopping",
        "median bias of the log hazard ratio, as estimated",
        "median bias of the log hazard ratio, adjusted for stopping",
        "coverage of the interval, as estimated",
        "coverage of the interval, adjusted for stopping",
    )
    titles = [
        "Scenario", "True hazard ratio", "Bias", "Bias, adjusted", "Median bias", "Median bias, adjusted",
        "Coverage", "Coverage, adjusted",
    ]  # fmt: skip
    texts = [m.column_of(name) for name in names]
    rows = [row(m.names[k], *(each[k] for each in texts)) for k in range(m.count)]
    return Table(
        "table-bias",
        "Bias of the log hazard ratio and coverage of its interval, as estimated and adjusted for stopping",
        columns(titles, 1, [2.0, *([1.0] * len(names))]),
        tuple(rows),
        (
            "Bias below 0: a benefit is exaggerated. A bias of −0.02 makes a hazard ratio 2% too small.",
            "Intervals are at the level of the test: 95% for a two-sided alpha of 0.05.",
        ),
        stack=True,
        folded=m.count > FOLDED,
    )


# --- differences --------------------------------------------------------------------------------------------


def differences(m: PowerMaterial) -> tuple[Table, ...]:
    """Differences from the first scenario; with many scenarios the power and the duration first."""
    rows: list[Row] = []
    for k in range(1, m.count):
        rows.append(row(m.names[k], kind="heading"))
        rows += [
            _difference(w.capital(d.name), d)
            for d in m.summary.differences[k]
            if d.unpaired or d.value or d.name == "power"
        ]
    full = Table(
        "table-differences",
        f"Differences from {m.names[0]}",
        columns(_DIFFERENCE_TITLES, 1, _DIFFERENCE_WIDTHS),
        tuple(rows),
        stack=True,
        folded=m.count > 6,
    )
    if not full.folded:
        return (full,)
    by_name = [{d.name: d for d in found} for found in m.summary.differences]
    short = [
        Table(
            f"table-differences-{name.split()[0]}",
            f"{w.capital(name)}: difference from {m.names[0]}",
            columns(["Scenario", *_DIFFERENCE_TITLES[1:]], 1, _DIFFERENCE_WIDTHS),
            tuple(_difference(m.names[k], by_name[k][name]) for k in range(1, m.count) if name in by_name[k]),
            stack=True,
            folded=m.count > FOLDED,
        )
        for name in ("power", "duration")
    ]
    return (*short, Table(full.id, "All differences", full.columns, full.rows, full.notes, True, True))


_DIFFERENCE_WIDTHS = [2.0, 1.5, 1.0, 1.0]
_DIFFERENCE_TITLES = ["Characteristic", "Difference ± error", "Error if independent", "Trials then needed"]


def _difference(name: str, d: Difference) -> Row:
    percent = power_words.is_share(d)
    factor = (d.unpaired / d.error) ** 2 if d.error > 0 else math.nan
    return row(name, power_words.signed(d), power_words.error_of(d.unpaired, percent), _times(factor))


def _times(factor: float) -> str:
    if not math.isfinite(factor):
        return w.NONE
    return f"× {w.number(factor, 1 if factor < 9.95 else 0 if factor < 999.5 else -2)}"


# --- in full ------------------------------------------------------------------------------------------------


def full(m: PowerMaterial, scenario: int) -> Table:
    """Every characteristic of a scenario with its error."""
    rows: list[Row] = []
    section = ""
    trials = m.trials(scenario).count
    for figure in m.summary.figures[scenario]:
        if figure.section != section:
            section = figure.section
            rows.append(row(SECTIONS.get(section, w.capital(section)), kind="heading"))
        rows.append(
            row(w.capital(figure.name), power_words.bare(figure), m.error(scenario, figure), unit(m, figure))
        )
    several = m.count > 1
    return Table(
        f"table-scenario-{scenario + 1}",
        m.names[scenario] if several else "Every operating characteristic, with its Monte Carlo error",
        (
            Column("Characteristic", "left", 3.0),
            Column("Value", "right"),
            Column("Monte Carlo error", "right"),
            Column("Unit", "left"),
        ),
        tuple(rows),
        (f"{w.count(trials)} trials.",),
        folded=m.count > 2,
    )


def unit(m: PowerMaterial, figure: Figure) -> str:
    """The unit of a figure as print writes it."""
    if power_words.is_share(figure):
        return "%"
    return w.unit(m.marker()[1]) if figure.name == "difference of the biomarker" else figure.unit


def limits(m: PowerMaterial, plan: Plan, number: int) -> Table:
    """The limits of each look as planned."""
    told = plan.committee
    made = told.plan
    known = math.isfinite(told.maximum)
    ratios: tuple[tuple[float, ...], tuple[float, ...] | None] | None = (
        made.hazard_ratios(told.maximum, told.share) if known and not told.weighted else None
    )
    p = made.nominal_p if told.sides == 1 else made.nominal_p_two_sided
    titles = ["Look", "Information"]
    titles += ["Events"] if known else []
    titles += ["Limit of z", "p-value at the limit"]
    titles += ["Hazard ratio at the limit"] if ratios else []
    titles += ["Futility below z"] if made.futility is not None else []
    titles += ["Error spent"]
    rows = []
    for k, share in enumerate(made.information):
        sign = "± " if told.sides == 2 and math.isfinite(made.efficacy[k]) else ""
        cells = [f"Look\u00a0{k + 1}" if told.looks > 1 else "Final analysis", f"{w.number(100 * share, 0)}%"]
        cells += [w.count(math.ceil(share * told.maximum - 1e-9))] if known else []
        cells += [f"{sign}{_z(made.efficacy[k])}", _small(p[k])]
        cells += [_z(ratios[0][k])] if ratios else []
        if made.futility is not None:
            cells += [_z(made.futility[k]) if k < len(made.information) - 1 else w.NONE]
        cells += [_small(made.alpha_spent[k])]
        rows.append(row(*cells))
    notes = []
    if told.looks > 1:
        notes.append(
            "Each simulated trial recomputes its limits for the events that it observes; the last spends "
            "all that is left."
        )
    if told.sides == 2:
        notes.append("The limit with the other sign is that of harm. p-values and errors are two-sided.")
    if ratios:
        notes.append("Hazard ratio at the limit: by Schoenfeld's approximation (Biometrika 1981;68:316–9).")
    return Table(
        f"table-limits-{number}", "Limits as planned", columns(titles), tuple(rows), tuple(notes), True
    )


def _z(value: float) -> str:
    return w.number(value, 3) if math.isfinite(value) else "none"


def _small(p: float) -> str:
    """A probability to four decimals, more where they would show nothing."""
    if not math.isfinite(p) or p == 0:
        return "0"
    if p < 1e-6:
        return "<0.000001"
    return w.number(p, 4 if p >= 0.001 else 6)


# --- how it was done ----------------------------------------------------------------------------------------


def definitions(m: PowerMaterial) -> Table:
    """The characteristics of this run, a sentence each."""
    found = {
        d: None
        for figures in m.summary.figures
        for f in figures
        if (d := power_definitions.definition(f.name)) is not None
    }
    order = [(listed, what) for _, listed, what in power_definitions.CHARACTERISTICS]
    chosen = [each for each in order if each in found]
    return Table(
        "table-definitions", "What each characteristic is",
        columns(["Characteristic", "Meaning"], 2, [1, 2.6]),
        tuple(row(listed, what) for listed, what in chosen), stack=True, folded=True,
    )  # fmt: skip


def dials(m: PowerMaterial) -> Table | None:
    """How the drug works in the virtual participants of the first scenario."""
    chosen = m.design(0).get("dials") or {}
    if not chosen:
        return None
    shown = [(name, value) for name, value in chosen.items() if name != "preset"]
    rows = [row("preset", str(chosen.get("preset", w.NONE)))]
    rows += [row(name, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for name, v in shown]
    where = "" if m.count == 1 else f" in {m.said(0)}"
    return Table(
        "table-dials", f"Dials of the virtual population{where}", columns(["Dial", "Value"], 2, [1, 2]),
        tuple(rows), folded=True,
    )  # fmt: skip


def row_columns(m: PowerMaterial) -> Table:
    """The columns of the rows of this run."""
    found = {
        c for trials in m.summary.trials for name in trials.names if (c := power_definitions.column(name))
    }
    order = [(listed, what) for _, listed, what in power_definitions.ROW_COLUMNS]
    chosen = [each for each in order if each in found]
    return Table(
        "table-columns", "Columns of the rows of trials", columns(["Column", "What it holds"], 2, [1, 2]),
        tuple(row(words(Run(listed, "code")), what) for listed, what in chosen), stack=True, folded=True,
    )  # fmt: skip
