"""The page of a power run: how often a design wins, how long it takes, when it stops, how it estimates.

Written for the statistician who has to choose between designs: the answer first, then the scenarios side by
side, pictures, differences, everything in full, and how it was done.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equipoise import _atomic
from equipoise.design.normal import Z95
from equipoise.protocol import describing
from equipoise.report import html, power_definitions, power_figures, power_tables, power_words
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Callout,
    Code,
    Document,
    Fact,
    Facts,
    Figure,
    Listing,
    Paragraph,
    Run,
    Section,
    Subsection,
    Table,
    Words,
    columns,
    row,
    words,
)
from equipoise.report.figures import Drawn
from equipoise.report.power_figures import Estimates, Reference, Series, Stopping
from equipoise.report.power_material import Floats, Plan, PowerMaterial, Varied
from equipoise.report.power_tables import MANY, REASON_WORDS
from equipoise.report.repeating import COMMAND, again, made_from
from equipoise.simulate.power.characteristics import YEAR, Summary
from equipoise.simulate.power.deciding import FUTILITY
from equipoise.simulate.power.scenarios import plain

PAGE = "power.html"
COARSE = 0.02
"""Monte Carlo error of a power above which the reader is warned."""


def write_power(
    summary: Summary, out: Path, *, provenance: Mapping[str, str] | None = None, force: bool = False
) -> Path:
    """Write power.html into the folder `out` and return where it is.

    The page needs no network and no script. `provenance` adds lines to its last section; "Command" is the
    command that made the run (that of the folder when not given), "Replay" the one that replays a trial. Same
    arguments, same bytes. Raises UserError when the page exists and `force` is not set, or when it cannot be
    written.
    """
    path = Path(out) / PAGE
    _atomic.refuse_existing(path, force, "another folder")
    content = html.page(document(PowerMaterial(summary, dict(provenance or {})))).encode("utf-8")
    with _atomic.new_file(path, force=force) as temporary:
        temporary.write_bytes(content)
    return path


def document(m: PowerMaterial) -> Document:
    """The whole page. Sections that have nothing to say are left out."""
    saved = m.summary.saved
    sections = (
        minute(m), side_by_side(m), pictures(m), compared(m), monitoring(m), bias(m), in_full(m), methods(m),
        repeating(m),
    )  # fmt: skip
    header = [
        ("Design", m.title),
        ("Scenarios", w.count(m.count)),
        ("Trials", _trials_each(m)),
        ("Seed", str(saved.seed)),
    ]
    title = str(m.design(0)["protocol"].get("title") or "")
    return Document(
        f"{m.title}: operating characteristics of the design",
        title if title and title != m.title else f"{_scenarios(m)}, {_trials_each(m)}",
        "SIMULATED TRIALS",
        tuple(header),
        tuple(section for section in sections if section is not None and section.blocks),
    )


def _scenarios(m: PowerMaterial) -> str:
    return "One scenario" if m.count == 1 else f"{w.count(m.count)} scenarios"


def _trials_each(m: PowerMaterial) -> str:
    if m.fewest_trials == m.most_trials:
        return f"{w.count(m.most_trials)} trials" + (" each" if m.count > 1 else "")
    return f"{w.count(m.fewest_trials)} to {w.count(m.most_trials)} trials each"


# --- in one minute ------------------------------------------------------------------------------------------


def minute(m: PowerMaterial) -> Section:
    """What was asked and what came out, for somebody with a minute."""
    told = [("What was simulated. ", _simulated(m)), (f"{_power_word(m)}. ", _power(m))]
    told += [("Duration. ", _duration(m)), ("Stopping. ", _stopping(m)), ("Biomarker. ", _biomarker(m))]
    paragraphs = [Paragraph(words(Run(title, "strong"), text)) for title, text in told if text]
    mind = Callout("What to mind", tuple(words(text) for text in _mind(m)))
    return Section("minute", "In one minute", (*paragraphs[:1], Facts(_facts(m)), *paragraphs[1:], mind))


def _power_word(m: PowerMaterial) -> str:
    nulls = [m.null(k) for k in range(m.count)]
    return "Type I error" if all(nulls) else "Power and type I error" if any(nulls) else "Power"


def _simulated(m: PowerMaterial) -> str:
    one, two = m.arms()
    sizes = {m.participants(k) for k in range(m.count)}
    told = m.plans[0].committee
    people = w.count(m.participants(0))
    text = f"{m.title} compares {one} with {two} in {people} virtual participants. {_test(m)}"
    if math.isfinite(told.maximum):
        text += f", planned at {w.count(told.maximum)} primary events"
    text += f"; {_level(told.alpha, told.sides)}"
    text += " (so in the first scenario). " if len(sizes) > 1 or len(m.plans) > 1 else ". "
    if not m.plain:
        population = m.design(0)["protocol"]["simulation"]["population"]
        preset = m.design(0)["dials"].get("preset")
        text += f"The virtual population is {population}, with the dials of preset {preset}"
        text += " where no scenario says otherwise. " if m.count > 1 else ". "
    if m.count == 1:
        return text + f"It was simulated {w.count(m.most_trials)} times, with seed {m.summary.saved.seed}."
    text += f"There are {w.count(m.count)} scenarios"
    if m.varied:
        text += f", which differ in {w.listed([_values(each) for each in m.varied])}"
    return text + (
        f": {_trials_each(m)}, with seed {m.summary.saved.seed}. Trial k of every scenario has the same "
        "virtual people and the same chances."
    )


def _values(varied: Varied) -> str:
    distinct = list(dict.fromkeys(varied.values))
    shown = distinct if len(distinct) <= 6 else [*distinct[:2], "…", distinct[-1]]
    return f"{varied.label} ({', '.join(shown)})"


def _test(m: PowerMaterial) -> str:
    if m.plain:
        analysis = m.design(0)["protocol"]["analysis"]
        name = {
            "log-rank": "log-rank test", "fleming-harrington": "weighted (Fleming-Harrington) log-rank test",
            "maxcombo": "MaxCombo test", "rmst": "difference of restricted means",
        }[analysis["test"]]  # fmt: skip
        return f"The analysis is a{' stratified' if analysis.get('stratified') else ''} {name}"
    return "The analysis is the log-rank test of the primary endpoint"


def _level(alpha: float, sides: int) -> str:
    return f"{describing.SIDES[sides]} alpha {alpha:g}"


_MEANING = "What stands behind ± is one Monte Carlo standard error."


def _power(m: PowerMaterial) -> str:
    if m.count == 1:
        either = m.both(0, "null hypothesis rejected")
        text = f"Efficacy is shown in {m.both(0, 'power')} of the trials"
        text += f"; the null hypothesis is rejected either way in {either}" if _two_sided(m) else ""
        return f"{text}. {_MEANING}{_wrongly(m)}"
    named = [f"{text} in {m.said(k)}" for k, text in enumerate(m.column_of("power"))]
    if m.count <= 6 and sum(map(len, named)) < 260:
        return f"Efficacy is shown in this share of the trials: {w.listed(named)}. {_MEANING}{_wrongly(m)}"
    low, high = _ends(m, "power")
    return (
        f"Efficacy is shown most rarely, in {m.both(low, 'power')} of the trials, in {m.said(low)}, and most "
        f"often, in {m.both(high, 'power')}, in {m.said(high)}. {_MEANING}{_wrongly(m)}"
    )


def _wrongly(m: PowerMaterial) -> str:
    """The type I error, where there is no effect by construction."""
    nulls = [k for k in range(m.count) if m.null(k)]
    if not nulls:
        return ""
    wanted = power_words.share(m.plan_of(nulls[0]).committee.alpha)
    if len(nulls) <= 3:
        either = w.listed([m.both(k, "null hypothesis rejected") for k in nulls])
        where = f" in {w.listed([m.said(k) for k in nulls])}" if m.count > 1 else ""
    else:
        either = _range(m, "null hypothesis rejected", nulls)
        where = f" in {w.count(len(nulls))} of the scenarios"
    return (
        f" There is no effect{where}: the null hypothesis is wrongly rejected in {either} of the trials "
        f"(planned: {wanted})."
    )


def _two_sided(m: PowerMaterial) -> bool:
    return any(plan.committee.sides == 2 for plan in m.plans)


def _ends(m: PowerMaterial, name: str) -> tuple[int, int]:
    """Scenarios in which a figure is least and greatest."""
    known = [k for k in range(m.count) if math.isfinite(m.number(k, name))]
    return min(known, key=lambda k: m.number(k, name)), max(known, key=lambda k: m.number(k, name))


def _duration(m: PowerMaterial) -> str:
    def spread(k: int) -> str:
        ends = (m.number(k, "duration, 10% quantile"), m.number(k, "duration, 90% quantile"))
        low, high = (w.number(x, 1) for x in ends)
        same = f"at least 80% of them {low}" if low == high else f"80% of them between {low} and {high}"
        return f"{m.both(k, 'duration')} years on average ({same})"

    events = m.both(0, "primary events")
    if m.count == 1:
        return (
            f"A trial lasts {spread(0)} from the first possible randomisation, with "
            f"{m.both(0, 'participants randomised')} participants and {events} primary events."
        )
    low, high = _ends(m, "duration")
    return f"A trial lasts from {spread(low)} in {m.said(low)} to {spread(high)} in {m.said(high)}."


def _stopping(m: PowerMaterial) -> str:
    name = "stopped before the final analysis"
    if all(plan.committee.looks == 1 for plan in m.plans):
        return "There is one analysis, at the end."
    if m.count == 1:
        text = f"The committee stops {m.both(0, name)} of the trials before the final analysis"
        counts = m.endings(0)[:-1].sum(axis=0)
        why = [
            f"{power_words.percent_of(int(counts[code]), m.trials(0).count)}% for "
            f"{REASON_WORDS[code].lower()}"
            for code in power_tables.reasons_shown(m)
            if code != 0 and counts[code]
        ]
        return f"{text}: {w.listed(why)}." if why else f"{text}."
    low, high = _ends(m, name)
    return (
        "The share of trials that the committee stops before the final analysis goes from "
        f"{m.both(low, name)} in {m.said(low)} to {m.both(high, name)} in {m.said(high)}."
    )


def _biomarker(m: PowerMaterial) -> str:
    name = "biomarker wins, endpoint does not"
    if m.figure(0, name) is None:
        return ""
    label, unit = m.marker()
    if m.count == 1:
        return (
            f"The difference in {w.lower_first(label)} is {m.both(0, 'difference of the biomarker')} "
            f"{w.unit(unit)} on average. It wins in {m.both(0, 'biomarker wins')} of the trials, and in "
            f"{m.both(0, name)} it wins while the primary endpoint does not."
        )
    low, high = _ends(m, name)
    return (
        f"The biomarker ({w.lower_first(label)}) wins while the primary endpoint does not in "
        f"{m.both(low, name)} of the trials in {m.said(low)}, up to {m.both(high, name)} in {m.said(high)}."
    )


def _facts(m: PowerMaterial) -> tuple[Fact, ...]:
    if m.count == 1:
        facts = [
            Fact(*_split(m, 0, "power"), note="type I error, efficacy" if m.null(0) else "efficacy shown"),
            Fact(*_split(m, 0, "null hypothesis rejected"), note="efficacy or harm shown"),
            Fact(*_split(m, 0, "stopped before the final analysis")),
            Fact(*_split(m, 0, "duration", " years")),
            Fact(*_split(m, 0, "primary events")),
            Fact(*_split(m, 0, "biomarker wins, endpoint does not")),
            Fact(*_split(m, 0, "cycles per participant"), note="compared arm"),
        ]
        if m.plans[0].committee.looks == 1:
            del facts[2]
        return tuple(fact for fact in facts if fact.value != w.NONE)[:6]
    real = [k for k in range(m.count) if not m.null(k)]
    nulls = [k for k in range(m.count) if m.null(k)]
    every = list(range(m.count))
    facts = [
        Fact(w.count(m.count), "scenarios", _trials_each(m)),
        Fact(_range(m, "power", real), "power", f"error at most {_largest_error(m)}"),
        Fact(_range(m, "null hypothesis rejected", nulls), "type I error", "where there is no effect"),
        Fact(_range(m, "duration", every, " years"), "mean duration"),
        Fact(_range(m, "stopped before the final analysis", every), "stopped before the final analysis"),
        Fact(_range(m, "primary events", every), "primary events, mean"),
        Fact(_range(m, "biomarker wins, endpoint does not", every), "biomarker wins, endpoint does not"),
    ]
    return tuple(fact for fact in facts if fact.value != w.NONE)[:6]


def _split(m: PowerMaterial, k: int, name: str, unit: str = "") -> tuple[str, str]:
    text = m.both(k, name)
    return (text if text == w.NONE else f"{text}{unit}"), name


def _range(m: PowerMaterial, name: str, scenarios: Sequence[int], unit: str = "") -> str:
    """The least and the greatest of some scenarios, rounded for a first look."""
    found = [f for k in scenarios if (f := m.figure(k, name)) is not None and math.isfinite(f.value)]
    if not found:
        return w.NONE
    low, high = min(found, key=lambda f: f.value), max(found, key=lambda f: f.value)
    if power_words.value(low) == power_words.value(high):
        return f"{power_words.value(low)}{unit}"
    if power_words.is_share(low):
        digits = 0 if high.value - low.value > 0.1 else 1
        return f"{w.number(100 * low.value, digits)}% to {w.number(100 * high.value, digits)}%"
    digits = w.places_for(high.value)
    ends = (w.number(low.value, digits), w.number(high.value, digits))
    return f"{ends[0]}{unit}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}{unit}"


def _largest_error(m: PowerMaterial) -> str:
    found = [f.error for k in range(m.count) if (f := m.figure(k, "power")) is not None]
    return f"{power_words.error_of(max(found), True)} points"


def _mind(m: PowerMaterial) -> list[str]:
    """What a reader could take wrongly."""
    texts = [
        "No person took part in these trials. They show what a model of the design does, and are no "
        "evidence about a treatment."
    ]
    worst = max((f.error for k in range(m.count) if (f := m.figure(k, "power")) is not None), default=0.0)
    if worst > COARSE or m.fewest_trials < 1000:
        half = Z95 * max(worst, 0.5 / math.sqrt(m.fewest_trials) if worst == 0 else worst)
        texts.append(
            f"There are few trials ({_trials_each(m)}): a power is known to about ± "
            f"{w.number(100 * half, 0)} percentage points only (95%), and quantiles and rare outcomes less "
            "well. Four times the trials halve the error."
        )
    if m.count > 1:
        texts.append(
            "The scenarios share their virtual people, so that their figures err together. Compare them by "
            "their differences below, whose errors allow for that."
        )
    told, events = m.plans[0].committee, m.number(0, "events had nobody stopped")
    if math.isfinite(told.maximum) and events < 0.97 * told.maximum:
        where = f" in {m.said(0)}" if m.count > 1 else ""
        texts.append(
            f"The design plans {w.count(told.maximum)} primary events, but a trial that nobody stops has "
            f"only {m.both(0, 'events had nobody stopped')} on average when it ends{where}. Its power is "
            "that of the events that it has."
        )
    if any(trials.true_log_hr is None for trials in m.summary.trials):
        texts.append(
            "The true hazard ratio is not known by construction. What is called true here is the geometric "
            "mean of the estimates of all trials had nobody stopped them; bias and coverage refer to it."
        )
    if any(FUTILITY in _possible(plan) for plan in m.plans):
        texts.append(
            "Limits of futility were followed in every trial. Where they are non-binding the limits of "
            "efficacy do not count on that, so the type I error shown here lies below the nominal one."
        )
    if any(plan.assumed_alpha for plan in m.plans):
        assumed = next(plan for plan in m.plans if plan.assumed_alpha).committee
        texts.append(f"The protocol gives no alpha: a {_level(assumed.alpha, assumed.sides)} was assumed.")
    if any(plan.looks.schedule and not math.isfinite(plan.committee.maximum) for plan in m.plans):
        texts.append("The design names no planned number of events; its analysis waits for a time.")
    return texts


def _possible(plan: Plan) -> tuple[int, ...]:
    return (FUTILITY,) if plan.committee.plan.futility is not None else ()


# --- scenarios ----------------------------------------------------------------------------------------------


def side_by_side(m: PowerMaterial) -> Section:
    title = "Scenarios side by side" if m.count > 1 else "The scenario"
    table = power_tables.scenarios(m)
    if not table.folded:
        return Section("scenarios", title, (table,))
    text = "There are many scenarios: the pictures below show them together, and this table opens when asked."
    return Section("scenarios", title, (Paragraph(words(text)), table))


# --- pictures -----------------------------------------------------------------------------------------------


def pictures(m: PowerMaterial) -> Section:
    """Power, duration, looks, stopping, estimates."""
    drawn = (
        _power_picture(m),
        _duration_picture(m),
        _stopping_picture(m),
        _estimates_picture(m),
        _looks_picture(m),
    )
    return Section("pictures", "Pictures", tuple(figure for figure in drawn if figure is not None))


def _figure(name: str, caption: str, alt: str, drawn: Drawn, table: Table, *notes: str) -> Figure:
    return Figure(f"figure-{name}", caption, alt, drawn.wide, drawn.narrow, table, notes)


def _power_range(m: PowerMaterial, k: int) -> tuple[float, float, float]:
    value = m.number(k, "power")
    low, high = power_words.wilson(value, m.trials(k).count)
    return 100 * low, 100 * value, 100 * high


def _references(m: PowerMaterial) -> list[Reference]:
    """The planned power, where it lies near enough to be drawn, and the type I error where there is no
    effect."""
    found = []
    highest = max(_power_range(m, k)[2] for k in range(m.count))
    designs = [m.design(k)["protocol"] for k in range(m.count)]
    powers = {(each if m.plain else each["size"]).get("power") for each in designs}
    if len(powers) == 1 and (planned := powers.pop()) is not None and 100 * planned < highest + 25:
        found.append(Reference(100 * float(planned), f"planned power, {100 * float(planned):g}%"))
    alphas = {plan.committee.alpha / plan.committee.sides for plan in m.plans}
    if any(m.null(k) for k in range(m.count)) and len(alphas) == 1:
        one_sided = 100 * alphas.pop()
        found.append(Reference(one_sided, f"error planned on the side of efficacy, {one_sided:g}%"))
    return found


def _power_picture(m: PowerMaterial) -> Figure | None:
    if m.count == 1:
        return None
    ranges = [_power_range(m, k) for k in range(m.count)]
    alt = f"Power by scenario, from {_range(m, 'power', range(m.count))}."
    note = "Bars are 95% Monte Carlo intervals (Wilson)."
    numeric = m.numeric
    if len(numeric) == 1 and m.count > 2:
        drawn = _curve(m, "f-power", numeric[0], ranges)
        caption, alt = f"Power by {numeric[0].label}", f"{alt} A curve over {numeric[0].title}."
    elif len(numeric) == 2:
        drawn, lines = _two_ways(m, numeric, ranges)
        caption = f"Power by {numeric[0].label} and {numeric[1].label}"
        if not lines:
            note = "The darker, the higher the power. Errors are in the numbers of this figure."
    else:
        texts = [text.replace("\u00a0", " ") for text in m.column_of("power")]
        drawn = power_figures.by_scenario(
            "f-power", m.names, [Series("", tuple(ranges))], "Power (%)", texts, _references(m), 0.0, 100.0
        )
        caption = "Power by scenario"
    return _figure("power", caption, alt, drawn, power_tables.power(m), note)


def _curve(
    m: PowerMaterial, name: str, varied: Varied, ranges: Sequence[tuple[float, float, float]]
) -> Drawn:
    assert varied.numbers is not None
    order = np.argsort(varied.numbers)
    line = Series("", tuple(ranges[int(k)] for k in order))
    values = [varied.numbers[int(k)] for k in order]
    return power_figures.curves(name, values, [line], "Power (%)", varied.title, _references(m), 0.0, 100.0)


def _two_ways(
    m: PowerMaterial, numeric: tuple[Varied, ...], ranges: Sequence[tuple[float, float, float]]
) -> tuple[Drawn, bool]:
    """Lines over the thing with more values, or a heat map where there would be too many; and whether it is
    lines."""
    across, other = sorted(numeric, key=lambda each: -len(set(each.values)))
    assert across.numbers is not None
    assert other.numbers is not None
    xs, ys = sorted(set(across.numbers)), sorted(set(other.numbers))
    place = {(x, y): k for k, (x, y) in enumerate(zip(across.numbers, other.numbers, strict=True))}
    if len(ys) <= 4:
        lines = [Series(f"{other.title} {y:g}", tuple(ranges[place[x, y]] for x in xs)) for y in ys]
        return (
            power_figures.curves(
                "f-power", xs, lines, "Power (%)", across.title, _references(m), 0.0, 100.0
            ),
            True,
        )  # fmt: skip
    shares = np.array([[m.number(place[x, y], "power") for x in xs] for y in ys])
    wanted = power_words.common_places([m.figure(k, "power") for k in range(m.count)])
    texts = [[power_words.bare(m.figure(place[x, y], "power"), wanted) for x in xs] for y in ys]
    drawn = power_figures.over_grid(
        "f-power", [f"{x:g}" for x in xs], [f"{y:g}" for y in ys], shares, texts,
        (across.title, f"Power (%) by {other.title} (down) and {across.title} (across)"),
    )  # fmt: skip
    return drawn, False


def _duration_picture(m: PowerMaterial) -> Figure | None:
    if m.count == 1:
        return None
    ranges = tuple(_quantiles(m.column(k, "stop|day") / YEAR) for k in range(m.count))
    means = tuple(m.number(k, "duration") for k in range(m.count))
    drawn = power_figures.by_scenario(
        "f-duration", m.names, [Series("", ranges, means)], "Years from the first possible randomisation",
        [f"mean {w.number(mean, 2)}" for mean in means],
    )  # fmt: skip
    between = _range(m, "duration", range(m.count), " years")
    alt = f"Duration of the trial by scenario; the means go from {between}."
    note = "Dot: median; bar: the middle 80% of the trials; stroke: mean."
    if any(each is not None and each[0] == each[2] for each in ranges):
        note += " Where there is no bar, at least 80% of the trials last equally long."
    return _figure("duration", "Duration of the trial", alt, drawn, power_tables.duration(m), note)


def _quantiles(values: Floats) -> tuple[float, float, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = (float(x) for x in np.quantile(known, [0.1, 0.5, 0.9]))
    return low, middle, high


def _stopping_picture(m: PowerMaterial) -> Figure | None:
    if all(plan.committee.looks == 1 for plan in m.plans):
        return None
    reasons = power_tables.reasons_shown(m)
    named = [REASON_WORDS[code] for code in reasons]
    panels = [
        Stopping(m.names[k] if m.count > 1 else "", m.endings(k), m.trials(k).count) for k in range(m.count)
    ]
    if m.count > MANY:
        drawn = power_figures.stopping_of_many("f-stopping", panels, reasons, named)
        note = "A line for each scenario by number; the darker, the more trials end there for that reason."
    else:
        drawn = power_figures.stopping("f-stopping", panels, reasons, named)
        note = "Percent of all trials of the scenario, by the look at which they end and why."
    first = m.endings(0)
    ended = [
        f"{power_words.percent_of(int(first[i, code]), m.trials(0).count)}% at look {i + 1}: "
        f"{REASON_WORDS[code].lower()}"
        for i in range(len(first))
        for code in reasons
        if first[i, code]
    ]
    where = f" in {m.said(0)}" if m.count > 1 else ""
    alt = f"When and why trials end{where}: {'; '.join(ended)}."
    return _figure(
        "stopping", "When trials end, and why", alt, drawn, power_tables.endings(m), note,
        "“Nothing shown”: the trial ends at its last analysis with no limit passed.",
    )  # fmt: skip


def _estimates_picture(m: PowerMaterial) -> Figure | None:
    panels = []
    # with many scenarios, some of them from the first to the last
    chosen = (
        range(m.count) if m.count <= MANY else [round(i * (m.count - 1) / (MANY - 1)) for i in range(MANY)]
    )
    for k in chosen:
        plain, adjusted = m.column(k, "stop|log_hr"), m.column(k, "stop|adjusted log_hr")
        same = m.plan_of(k).committee.looks == 1
        panels.append(
            Estimates(
                m.names[k] if m.count > 1 else "",
                plain,
                None if same else adjusted,
                m.number(k, "log hazard ratio, true"),
            )
        )
    if not any(np.isfinite(p.plain).any() for p in panels):
        return None
    drawn = power_figures.estimates("f-estimates", panels)
    low, high = power_figures.window(panels)
    beyond = sum(int(((p.plain < low) | (p.plain > high)).sum()) for p in panels)
    notes = []
    if beyond:
        of = sum(p.plain.size for p in panels)
        lie = "lies" if beyond == 1 else "lie"
        notes.append(f"{w.count(beyond)} of {w.count(of)} estimates {lie} beyond the ends of the axis.")
    if m.count > MANY:
        notes.append(f"{MANY} of the scenarios, evenly spread; the others are in the numbers of this figure.")
    alt = (
        "Distribution of the estimated hazard ratio over the trials, true value "
        f"{power_words.value(m.figure(0, 'hazard ratio, true'))}{f' in {m.said(0)}' if m.count > 1 else ''}."
    )
    return _figure(
        "estimates", "Estimates of the hazard ratio", alt, drawn, power_tables.estimates(m), *notes
    )


def _looks_picture(m: PowerMaterial) -> Figure | None:
    most = max(trials.looks for trials in m.summary.trials)
    if most == 1 and m.count > 1:
        return None
    names = [f"Look {n}" if n < most or most == 1 else f"Look {n} (final)" for n in range(1, most + 1)]
    days = [
        [_quantiles(m.column(k, f"look {n}|day") / YEAR) for k in range(m.count)] for n in range(1, most + 1)
    ]
    title = "Years from the first possible randomisation"
    if m.count == 1:
        ranges = [*(each[0] for each in days), _quantiles(m.column(0, "stop|day") / YEAR)]
        drawn = power_figures.by_scenario(
            "f-looks", [*names, "End of the trial"], [Series("", tuple(ranges))], title
        )
    else:
        series = [Series(name, tuple(each)) for name, each in zip(names, days, strict=True)]
        drawn = power_figures.by_scenario("f-looks", m.names, series, title)
    middle = [
        f"{name} after {w.number(each[0][1], 1)} years"
        for name, each in zip(names, days, strict=True)
        if each[0]
    ]
    where = f" in {m.said(0)}" if m.count > 1 else ""
    alt = f"When the looks take place{where}, medians: {'; '.join(middle)}."
    return _figure(
        "looks", "When the looks take place", alt, drawn, power_tables.looks(m),
        "Mark: median; bar: the middle 80% of the trials. Looks are shown as they would be held had nobody "
        "stopped the trial before.",
    )  # fmt: skip


# --- differences --------------------------------------------------------------------------------------------


def compared(m: PowerMaterial) -> Section | None:
    """Scenarios against the first one, trial by trial."""
    if m.count == 1:
        return None
    text = (
        "Trial k of every scenario has the same virtual people with the same chances as trial k of "
        f"{m.said(0)}. The difference of two scenarios is taken trial by trial, so that what the two share "
        "drops out and its error is smaller. Beside it stands the error that two independent sets of trials "
        "would have had, and by which factor their number would have to be larger to reach the same error."
    )
    return Section(
        "differences",
        "Differences on the same virtual people",
        (Paragraph(words(text)), *power_tables.differences(m)),
    )


# --- monitoring, bias, in full ------------------------------------------------------------------------------


def monitoring(m: PowerMaterial) -> Section:
    """The plan of the committee, once for all scenarios that share it."""
    blocks: list[Block | Subsection] = []
    for number, plan in enumerate(m.plans[:MANY], 1):
        inside = (Paragraph(words(_plan(plan))), power_tables.limits(m, plan, number))
        if len(m.plans) == 1:
            blocks += inside
        else:
            blocks.append(Subsection(_who(m, plan), inside))
    if len(m.plans) > MANY:
        blocks.append(
            Paragraph(words(f"{len(m.plans) - MANY} further plans are in the files of the designs."))
        )
    return Section("monitoring", "The plan of monitoring", tuple(blocks))


def _who(m: PowerMaterial, plan: Plan) -> str:
    if len(plan.scenarios) == 1:
        return f"Scenario {m.names[plan.scenarios[0]]}"
    numbers = [str(k + 1) for k in plan.scenarios[:8]]
    more = len(plan.scenarios) - len(numbers)
    return f"Scenarios {w.listed([*numbers, f'{more} more'] if more else numbers)}"


def _plan(plan: Plan) -> str:
    told = plan.committee
    by = "assumed, as the protocol gives none" if plan.assumed_alpha else ""
    level = f"{w.capital(_level(told.alpha, told.sides))}{f' ({by})' if by else ''}"
    if told.looks == 1:
        waits = f", planned at {w.count(told.maximum)} primary events" if math.isfinite(told.maximum) else ""
        return f"{level}. There is a single analysis{waits}."
    phrases = describing.looks_words(plan.looks)
    text = f"{level}. {w.capital('; '.join(phrases))}."
    if told.plan.futility is not None:
        text += " Simulated committees follow the limits of futility."
    return text


def bias(m: PowerMaterial) -> Section:
    """How good the estimate of a stopped trial is."""
    known = all(trials.true_log_hr is not None for trials in m.summary.trials)
    truth = (
        "The true hazard ratio is known by construction."
        if known
        else "The true hazard ratio is the geometric mean of the estimates of all trials, none stopped."
    )
    text = (
        "A trial that stops early for efficacy tends to exaggerate. The adjusted estimate is "
        "median-unbiased, by the stage-wise ordering of outcomes; its interval allows for the looks in the "
        "same way. "
    )
    if all(plan.committee.looks == 1 for plan in m.plans):
        text = "With a single analysis the estimate needs no adjustment for stopping. "
    return Section("bias", "Bias and coverage", (Paragraph(words(text + truth)), power_tables.bias(m)))


def in_full(m: PowerMaterial) -> Section:
    blocks: list[Block | Subsection] = []
    if m.count > 2:
        blocks.append(
            Paragraph(words("Every characteristic with its Monte Carlo error; open a scenario to read it."))
        )
    blocks += [power_tables.full(m, k) for k in range(m.count)]
    return Section("full", "Each scenario in full" if m.count > 1 else "The scenario in full", tuple(blocks))


# --- how it was done ----------------------------------------------------------------------------------------


def methods(m: PowerMaterial) -> Section:
    """Definitions, methods and their papers."""
    how = (
        "Each trial is enrolled on the calendar, randomised, followed and looked at as its protocol says; "
        "at each look the committee holds the statistic against limits recomputed for the events observed. "
        "Chance is fixed by the seed and the number of the trial alone."
        if not m.plain
        else "Each trial draws entry, events and dropout of its participants by the hazards of the arms. At "
        "each look the committee holds the statistic against limits recomputed for the events observed. "
        "Chance is fixed by the seed and the number of the trial alone."
    )
    errors = (
        "The error of a mean is its standard deviation over the trials divided by the root of their number, "
        "that of a share is binomial, that of a quantile comes from the order statistics on either side. "
        "Numbers are shown no finer than their errors allow. A share of none or of all trials has no error: "
        "its 95% limit is given instead."
    )
    return Section(
        "methods",
        "How it was done",
        (
            Paragraph(words(how)),
            Paragraph(words(errors)),
            power_tables.definitions(m),
            Subsection("Methods", (Listing(tuple(words(text) for text in power_definitions.PAPERS)),)),
        ),
    )


def repeating(m: PowerMaterial) -> Section:
    """Command, seed, hashes; how to replay a trial; the columns of the rows."""
    saved = m.summary.saved
    command = m.provenance.get(COMMAND) or saved.command
    blocks: list[Block | Subsection] = [
        *again(command, "the same rows, on any number of workers"),
        Paragraph(
            words(
                "One trial can be replayed in full, participant by participant, and agrees with its row. "
                f"Trial {_example(m)}, for instance:"
            )
        ),
        Code(m.provenance.get("Replay") or _replay(m, command)),
    ]
    lines: list[tuple[str, str | Words]] = [
        ("Seed", words(Run(str(saved.seed), "code"))),
        ("Trials", _trials_each(m)),
        ("Computed by", words("Equipoise ", Run(saved.fingerprint, "code"))),
    ]
    blocks.append(made_from(lines, m.provenance, shown=(COMMAND, "Replay", "Seed", "Trials")))
    designs = Table(
        "table-designs", "Designs (SHA-256 of everything that fixes the trials of a scenario)",
        columns(["Scenario", "SHA-256"], 2, [1, 2]),
        tuple(
            row(m.names[k], words(Run(entry.sha256, "code"))) for k, entry in enumerate(saved.scenarios)
        ),
        folded=m.count > MANY, stack=True,
    )  # fmt: skip
    blocks += [designs, *([told] if (told := power_tables.dials(m)) is not None else [])]
    blocks.append(power_tables.row_columns(m))
    return Section("repeat", "How to repeat it", tuple(blocks))


def _example(m: PowerMaterial) -> int:
    return 4711 if m.most_trials > 4711 else m.most_trials - 1


_WHOLE_TRIAL = ("--participants", "--preset", "--dial")
"""Options of a run that a trial of it is replayed with."""


def _replay(m: PowerMaterial, command: str | None) -> str:
    """The command that replays a trial: the protocol is that of the command of the run."""
    try:
        parts = shlex.split(command or "")
    except ValueError:
        parts = []
    named = parts[2] if parts[:2] == ["equipoise", "power"] and len(parts) > 2 else "…"
    kept = ["equipoise", "simulate", named, "--seed", str(m.summary.saved.seed), "--trial", str(_example(m))]
    for place, part in enumerate(parts):
        if part in _WHOLE_TRIAL and place + 1 < len(parts):
            kept += parts[place : place + 2]
        elif part.partition("=")[0] in _WHOLE_TRIAL and "=" in part:
            kept.append(part)
    for path, value in m.summary.saved.scenarios[0].changes:
        kept += ["--set", f"{path}={plain(value)}"]
    return " ".join(part if part == "…" else shlex.quote(part) for part in kept)
