"""The sections of a report, in the order of reading: what happened first, how it was done last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import polars as pl

from equipoise.protocol import sha256
from equipoise.protocol.model import Block as ProtocolBlock
from equipoise.protocol.model import Endpoint, Protocol, PublishedFigure
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.record import Record
from equipoise.report import background, biomarker, consort, figures, tables
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Callout,
    Cell,
    Document,
    Drawing,
    Fact,
    Facts,
    Figure,
    Paragraph,
    Row,
    Run,
    Section,
    Subsection,
    Table,
    Words,
    columns,
    row,
    words,
)
from equipoise.report.material import Material
from equipoise.report.tables import Arms
from equipoise.report.words import lower_first


def document(material: Material) -> Document:
    """The whole report. Sections that have nothing to say are left out."""
    sections = [
        minute(material),
        participants(material),
        measures(material),
        outcomes(material),
        treatment(material),
        safety(material),
        biomarker.biomarker(material),
        comparison(material),
        background.protocol(material),
        background.assumed(material),
        background.checklist(material),
        background.reproduce(material),
        background.glossary(material),
    ]
    kept = tuple(s for s in sections if s is not None and s.blocks)
    protocol = material.protocol
    header = [("Trial", protocol.protocol), ("Protocol version", protocol.version)]
    if protocol.registry:
        header.append(("Registered as", protocol.registry))
    header.append(("Protocol hash (SHA-256)", sha256(protocol)[:16]))
    seed = material.provenance.get("Seed")
    if seed:
        header.append(("Seed", seed))
    title = (
        f"{protocol.protocol}: a simulated randomised trial"
        if material.simulated
        else f"{protocol.protocol}: a randomised trial"
    )
    return Document(
        title, protocol.title, "SIMULATED TRIAL" if material.simulated else "REAL DATA", tuple(header), kept
    )


# --- in one minute ----------------------------------------------------------------------------------------


def minute(m: Material) -> Section:
    """The trial and what happened in it, for somebody with a minute."""
    blocks: list[Block | Subsection] = []
    n = m.randomised
    if m.simulated:
        blocks.append(
            Callout(
                "No person took part in this trial.",
                (
                    words(
                        f"A computer executed the protocol of {m.protocol.protocol} on "
                        f"{w.count(n)} virtual participants. The figures "
                        "show what a model of the trial does. They are no evidence about "
                        "a treatment. What the real trial "
                        "found stands beside them under “Published trial”."
                        if m.protocol.published
                        else f"A computer executed the protocol of {m.protocol.protocol} on "
                        f"{w.count(n)} virtual participants. The figures "
                        "show what a model of the trial does. They are no evidence about a treatment."
                    ),
                ),
            )
        )
    blocks.append(Paragraph(words(Run("The question. ", "strong"), w.sentence(m.protocol.background))))
    blocks.append(Paragraph(words(Run("What was done. ", "strong"), _done(m))))
    for plan in m.protocol.analysis.measures:
        text = _measure_in_words(m, plan.measure)
        if text:
            label = m.protocol.items[plan.measure].label
            blocks.append(Paragraph(words(Run(f"{w.capital(label)}. ", "strong"), text)))
    for name in headline(m, 4):
        text = _endpoint_in_words(m, name)
        if text:
            endpoint = m.protocol.endpoints[name]
            blocks.append(Paragraph(words(Run(f"{w.capital(endpoint.label)}. ", "strong"), text)))
    beside = _beside_published(m)
    if beside:
        blocks.append(Paragraph(words(Run("Beside the published trial. ", "strong"), beside)))
    facts = _facts(m)
    if facts:
        blocks.insert(1 if m.simulated else 0, Facts(tuple(facts)))
    return Section("minute", "In one minute", tuple(blocks))


def headline(m: Material, most: int) -> list[str]:
    """The endpoints that a reader with a minute should see, in the order of the plan: the primary one, those
    on safety, death, then the others, as many as there is room for."""
    planned = [
        p.endpoint
        for p in m.protocol.analysis.time_to_event
        if m.rows.parameters(p.endpoint, m.arms.reference)
    ]

    def rank(name: str) -> int:
        endpoint = m.protocol.endpoints[name]
        fatal = all(m.protocol.events[kind].terminal for kind in endpoint.first_of)
        return (
            ["primary", "safety"].index(endpoint.role) if endpoint.role != "secondary" else 2 if fatal else 3
        )

    chosen = sorted(planned, key=rank)[:most]
    return [name for name in planned if name in chosen]


def _done(m: Material) -> str:
    arms = m.arms
    sizes = [
        f"{w.count(m.rows.value('disposition', a, 'randomised', 'n'))} to {arms.label[a]}" for a in arms.names
    ]
    text = (
        f"{w.count(m.randomised)} {'virtual ' if m.simulated else ''}participants were "
        f"assigned by chance: {w.listed(sizes)}. "
    )
    observed = m.rows.value("disposition", "all", "observation", "median")
    years = m.rows.value("disposition", "all", "observation", "total")
    if observed is not None:
        text += f"Half of them were observed for {w.number(observed, 1)} years or longer"
        text += f" ({w.count(years)} years of observation in all). " if years is not None else ". "
    for arm in tables.cycling_arms(m.rows, arms):
        started, share = m.rows.values("exposure", arm, "participants starting cycles", "n", "percent")
        median, q1, q3 = m.rows.values("exposure", arm, "cycles per participant", "median", "q1", "q3")
        if started is not None and median is not None:
            text += (
                f"In the arm {arms.label[arm]}, {w.number(share, 0)}% started the "
                "cycles; the middle participant had "
                f"{w.count(median)} (half had between {w.count(q1)} and {w.count(q3)}). "
            )
    return text.strip()


def _measure_in_words(m: Material, measure: str) -> str:
    arms, texts = m.arms, []
    for arm in arms.compared:
        pair = arms.pair(arm)
        estimate, lower, upper = m.rows.values(
            measure, pair, "mean difference over follow-up", "estimate", "lower", "upper"
        )
        if estimate is None or lower is None or upper is None:
            continue
        unit = m.rows.unit(measure, pair, "mean difference over follow-up", "estimate")
        places = _places(unit)
        size = w.number(abs(estimate), places)
        clear = lower > 0 or upper < 0 or size == w.number(0.0, places)
        higher = "higher" if estimate > 0 else "lower"
        with_arms = f"with {arms.label[arm]} than with {arms.label[arms.reference]}"
        texts.append(
            (
                f"Averaged over follow-up it was {size} {unit} {higher} {with_arms} "
                if size != w.number(0.0, places)
                else f"Averaged over follow-up it was neither higher nor lower {with_arms}: {size} {unit} "
            )
            + f"({100 * m.level:g}% interval of the difference {w.interval(lower, upper, places)})"
            + ("." if clear else ", a difference that chance alone could explain.")
        )
    return " ".join(texts)


def _endpoint_in_words(m: Material, endpoint: str) -> str:
    arms, rows, texts = m.arms, m.rows, []
    counts = [
        f"{w.count(rows.value(endpoint, a, 'events', 'n'))} of "
        f"{w.count(rows.value(endpoint, a, 'participants', 'n'))} "
        f"with {arms.label[a]}"
        for a in arms.names
    ]
    if rows.value(endpoint, arms.reference, "events", "n") is None:
        return ""
    texts.append(f"It happened to {w.listed(counts)}.")
    for arm in arms.compared:
        ratio, lower, upper = rows.values(
            endpoint, arms.pair(arm), "hazard ratio", "estimate", "lower", "upper"
        )
        noun = "it" if len(arms.compared) == 1 else f"it with {arms.label[arm]}"
        texts.append(
            w.ratio_in_words(ratio, lower, upper, noun)
            .replace("The rate of it", "Its rate")
            .replace("The comparison of it", "The comparison")
            + (f" Hazard ratio {w.with_interval(ratio, lower, upper, 2)}." if ratio is not None else "")
        )
    return " ".join(texts)


def _beside_published(m: Material) -> str:
    if not m.protocol.published:
        return ""
    placed = [(f, w.place_in(v.tolist(), f.value)) for f in in_order(m) if (v := m.spread(f)) is not None]
    if not placed:
        return (
            "This report shows one trial; add replicate trials to see how far one "
            "trial differs from the next by chance."
        )
    inside = [f for f, share in placed if share is not None and 0.025 <= share <= 0.975]
    outside = [f for f, share in placed if share is not None and not 0.025 <= share <= 0.975]
    text = (
        f"The trial was simulated {w.count(m.trials())} times. {len(inside)} of "
        f"{len(placed)} published figures lie within "
        "the central 95% of what the simulated trials gave"
    )
    if not outside:
        return text + "."
    names = list(dict.fromkeys(_figure_name(m, f) for f in outside))
    shown = names[:6]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{text}; outside lie: {'; '.join(lower_first(x) for x in shown)}{more}."


def _figure_name(m: Material, figure: PublishedFigure) -> str:
    arm = m.arms.label.get(figure.group)
    return f"{figure.label} ({arm})" if arm else figure.label


def _facts(m: Material) -> list[Fact]:
    facts = []
    if m.randomised is not None:
        facts.append(Fact(w.count(m.randomised), "participants randomised"))
    several = len(m.arms.compared) > 1
    found = [
        _facts_of(m, arm, f", {m.arms.label[arm]}" if several else "", 1 if several else 4)
        for arm in m.arms.compared
    ]
    facts += [fact for alike in zip_longest(*found) for fact in alike if fact is not None]
    return facts[:7]


def _facts_of(m: Material, arm: str, named: str, endpoints: int) -> list[Fact]:
    """The main figures of one arm against the reference; `named` says which arm, where there are several."""
    facts = []
    pair = m.arms.pair(arm)
    for plan in m.protocol.analysis.measures[:1]:
        estimate, lower, upper = m.rows.values(
            plan.measure, pair, "mean difference over follow-up", "estimate", "lower", "upper"
        )
        if estimate is not None:
            unit = m.rows.unit(plan.measure, pair, "mean difference over follow-up", "estimate")
            places = _places(unit)
            figure = tables.published_for(
                m.protocol, plan.measure, pair, "mean difference over follow-up", "estimate"
            )
            sign = "+" if estimate > 0 else ""
            facts.append(
                Fact(
                    (f"{sign}{w.number(estimate, places)} {unit}"),
                    (f"{m.protocol.items[plan.measure].label}, average difference{named}"),
                    _note(w.interval(lower, upper, places), figure, places),
                )
            )
    for name in headline(m, endpoints):
        ratio, lower, upper = m.rows.values(name, pair, "hazard ratio", "estimate", "lower", "upper")
        if ratio is not None:
            figure = tables.published_for(m.protocol, name, pair, "hazard ratio", "estimate")
            label = m.protocol.endpoints[name].label
            facts.append(
                Fact(
                    w.number(ratio, 2),
                    f"hazard ratio, {lower_first(label)}{named}",
                    _note(w.interval(lower, upper, 2), figure, 2),
                )
            )
    return facts[:5]


def _note(spread: str, figure: PublishedFigure | None, places: int) -> str:
    return f"{spread}; published {tables.published_text(figure, places)}" if figure else spread


# --- participants -----------------------------------------------------------------------------------------


def participants(m: Material) -> Section:
    """Flow, screening, baseline, how participation ended."""
    blocks: list[Block | Subsection] = []
    found = consort.flow(m.rows, m.protocol, m.arms)
    if found is not None:
        drawn = consort.diagram(found)
        blocks.append(
            Figure(
                "figure-flow",
                "Flow of participants (CONSORT 2025)",
                consort.in_words(found),
                drawn.wide,
                drawn.narrow,
                consort.flow_table(found),
                (
                    (
                        "Everybody randomised is analysed in the arm they were "
                        "allocated to (intention to treat)."
                    ),
                ),
            )
        )
    parts = (
        tables.screening(m.rows, m.protocol),
        tables.baseline(m.rows, m.protocol, m.arms),
        tables.disposition(m.rows, m.arms),
    )
    blocks += [table for table in parts if table is not None]
    if m.protocol.analysis.cohort and m.simulated:
        blocks.append(
            Paragraph(
                words(
                    Run("In the published trial: ", "strong"),
                    w.sentence(m.protocol.analysis.cohort),
                    (" A simulated trial needs no such rule; everybody is analysed."),
                )
            )
        )
    return Section("participants", "Participants", tuple(blocks))


# --- measures ---------------------------------------------------------------------------------------------


def measures(m: Material) -> Section | None:
    """Each measure over time: picture, average over follow-up."""
    blocks: list[Block | Subsection] = []
    for plan in m.protocol.analysis.measures:
        measure = plan.measure
        profiles = {a: p for a in m.arms.names if (p := m.rows.profile(measure, a)) is not None}
        if not profiles:
            continue
        item = m.protocol.items[measure]
        unit = m.rows.unit(measure, next(iter(profiles)), "baseline", "mean") or w.unit(item.unit)
        goals = {a: g for a in profiles if (g := m.rows.value(measure, a, "goal", "median")) is not None}
        drawn = figures.measure_over_time(
            f"measure-{measure}", profiles, m.arms, item.label, unit, goals, m.level
        )
        ends = [
            f"{m.arms.label[a]}: {w.number(float(p.mean[0]), _places(unit))} at the start, "
            f"{w.number(float(p.mean[-1]), _places(unit))} after {w.number(float(p.years[-1]), 1)} years"
            for a, p in profiles.items()
        ]
        notes = [
            "Points are means of those measured, drawn while at least a tenth of the participants were; the "
            "band is the interval of the mean."
        ]
        if goals:
            notes.append(
                "The dotted line is the median of the participants' goals: cycles are given while a "
                "participant is short of their own goal."
            )
        figure = Figure(
            f"figure-{measure}",
            f"{w.capital(item.label)} over time",
            (f"{w.capital(item.label)} by arm over time. {'; '.join(ends)}."),
            drawn.wide,
            drawn.narrow,
            tables.measure_by_visit(m.rows, m.protocol, m.arms, measure),
            tuple(notes),
        )
        inner: list[Block] = [figure]
        summary = tables.measure_summary(m.rows, m.protocol, m.arms, measure)
        if summary is not None:
            inner.append(summary)
        blocks.append(Subsection(w.capital(item.label), tuple(inner)))
    if not blocks:
        return None
    title = w.listed([m.protocol.items[p.measure].label for p in m.protocol.analysis.measures])
    return Section("measures", w.capital(title), tuple(blocks))


def _places(unit: str) -> int:
    return 2 if unit.startswith("log") else 0


# --- outcomes ---------------------------------------------------------------------------------------------


def outcomes(m: Material) -> Section:
    """Event curves, the table of outcomes, the forest plot."""
    blocks: list[Block | Subsection] = []
    table = tables.outcomes(m.rows, m.protocol, m.arms)
    if table is not None:
        blocks.append(table)
    for plan in m.protocol.analysis.time_to_event:
        figure = _curves(m, plan.endpoint)
        if figure is not None:
            blocks.append(figure)
    for arm in m.arms.compared:
        lines = tables.forest(m.rows, m.protocol, m.arms, arm)
        if any(line.estimate is not None for line in lines):
            versus = f"{m.arms.label[arm]} against {m.arms.label[m.arms.reference]}"
            drawn = figures.forest(f"forest-{arm}", lines, m.arms, arm, m.level)
            said = "; ".join(
                f"{line.label}: {w.with_interval(line.estimate, line.lower, line.upper, 2)}"
                for line in lines
                if line.estimate
            )
            blocks.append(
                Figure(
                    f"figure-forest-{arm}",
                    f"Hazard ratios by endpoint and subgroup: {versus}",
                    f"Forest plot of hazard ratios. {said}.",
                    drawn.wide,
                    drawn.narrow,
                    tables.forest_table(lines, m.arms, arm, m.level),
                    (
                        "A hazard ratio below 1 means fewer events per time with the "
                        "treatment. Subgroups are small and many: "
                        "one of twenty will look different by chance. Subgroups are analysed for "
                        + _subgroup_endpoint(m)
                        + ".",
                    ),
                )
            )
    tests = tables.log_rank(m.rows, m.protocol, m.arms)
    if tests is not None:
        blocks.append(tests)
    return Section("outcomes", "Clinical outcomes", tuple(blocks))


def _subgroup_endpoint(m: Material) -> str:
    name = m.protocol.analysis.subgroup_endpoint or m.primary
    return lower_first(m.protocol.endpoints[name].label) if name else "the primary endpoint"


def _while_enough(m: Material, name: str, arm: str, curve: tables.Curve) -> tables.Curve:
    """The curve as far as a tenth of the participants are at risk; beyond, one event moves it a long way."""
    prefix = "Kaplan-Meier day "
    risk = sorted(
        (int(p.removeprefix(prefix)), n)
        for p in m.rows.parameters(name, arm)
        if p.startswith(prefix) and (n := m.rows.value(name, arm, p, "at_risk")) is not None
    )
    few = [day for day, n in risk if n < 0.1 * risk[0][1]]
    if not few:
        return curve
    keep = curve.day < few[0]
    ends = [np.append(line[keep], line[keep][-1:]) for line in (curve.estimate, curve.lower, curve.upper)]
    return tables.Curve(np.append(curve.day[keep], float(few[0])), *ends)


def _curves(m: Material, name: str) -> Figure | None:
    endpoint: Endpoint = m.protocol.endpoints[name]
    competing = bool(endpoint.competing)
    quantity = "cumulative incidence" if competing else "Kaplan-Meier"
    curves: dict[str, tables.Curve] = {}
    for arm in m.arms.names:
        curve = m.rows.curve(name, arm, quantity)
        if curve is not None:
            curves[arm] = (
                curve
                if competing
                else tables.Curve(curve.day, 1 - curve.estimate, 1 - curve.upper, 1 - curve.lower)
            )
    if not curves:
        return None
    at_risk: dict[str, dict[int, float]] = {}
    prefix = "Kaplan-Meier year "
    for arm in curves:
        at_risk[arm] = {
            int(p.removeprefix(prefix)): n
            for p in m.rows.parameters(name, arm)
            if p.startswith(prefix) and (n := m.rows.value(name, arm, p, "at_risk")) is not None
        }
    curves = {a: _while_enough(m, name, a, c) for a, c in curves.items()}
    drawn = figures.event_curves(f"curve-{name}", curves, at_risk, m.arms, w.capital(endpoint.label), m.level)
    ends = [f"{m.arms.label[a]} {w.number(100 * float(c.estimate[-1]), 1)}%" for a, c in curves.items()]
    method = (
        "Cumulative incidence with death competing (Aalen-Johansen): a participant "
        "who dies without the event can no longer "
        "have it."
        if competing
        else "Kaplan-Meier estimate, turned over so that it shows the percentage with "
        "an event: participants whose observation "
        "ended early count for as long as they were seen."
    )
    return Figure(
        f"figure-curve-{name}",
        f"{w.capital(endpoint.label)}: percentage of participants with an event",
        f"{w.capital(endpoint.label)}, percentage with an event at the end of follow-up: {w.listed(ends)}.",
        drawn.wide,
        drawn.narrow,
        tables.curve_by_year(m.rows, m.protocol, m.arms, name, quantity, not competing),
        (
            f"{method} Number at risk: participants without an event and "
            "still observed just before that day. "
            "Curves are drawn while a tenth of the participants are at risk; the table goes on.",
        ),
    )


# --- treatment --------------------------------------------------------------------------------------------


def treatment(m: Material) -> Section | None:
    """Cycles, doses, changes, time at goal, lives of a sample."""
    given = tables.cycling_arms(m.rows, m.arms)
    if not given:
        return None
    blocks: list[Block | Subsection] = []
    table = tables.exposure(m.rows, m.protocol, m.arms)
    if table is not None:
        blocks.append(table)
    counts = {a: c for a in given if (c := tables.cycle_counts(m.rows, a))}
    if counts:
        drawn = figures.cycles("cycles", counts, m.arms)
        said = "; ".join(
            f"{m.arms.label[a]}: {sum(c)} participants, from 0 to {len(c) - 1} cycles"
            for a, c in counts.items()
        )
        blocks.append(
            Figure(
                "figure-cycles",
                "How many cycles participants received",
                (f"Participants by number of cycles. {said}."),
                drawn.wide,
                drawn.narrow,
                tables.cycles_by_number(m.rows, m.arms),
            )
        )
    for extra in (tables.doses(m.rows, m.arms), tables.cycles_by_year(m.rows, m.arms)):
        if extra is not None:
            blocks.append(extra)
    lives = _lives(m, given)
    if lives is not None:
        blocks.append(lives)
    return Section("treatment", "Treatment received", tuple(blocks))


def _lives(m: Material, given: Sequence[str]) -> Figure | None:
    """The swimmer plot: a sample of participants, one line each."""
    if m.record is None:
        return None
    people = sample(m.record, m.protocol, m.arms, given)
    if not people:
        return None
    doses = sorted({dose for person in people for _, dose in person.cycles})
    cycles = m.record.table("cycles")
    unit = cycles["unit"][0] if cycles.height else ""
    kinds = {
        "disease": _kinds_label(m, "disease"),
        "grade 4": _kinds_label(m, "grade 4"),
        "death": _kinds_label(m, "death"),
    }
    drawn = figures.swimmer("lives", people, m.arms, doses, unit, kinds)
    body = [
        row(
            str(p.participant),
            m.arms.label[p.arm],
            w.number(p.last_day / DAYS_PER_YEAR, 1),
            w.capital(p.end),
            str(len(p.cycles)),
            ", ".join(
                (f"{dose:g} {unit} ×{sum(1 for _, d in p.cycles if d == dose)}")
                for dose in sorted({d for _, d in p.cycles})
            )
            or w.NONE,
            "; ".join(f"{kinds[kind]}, day {w.count(day)}" for day, kind in p.events) or w.NONE,
        )
        for p in people
    ]
    table = Table(
        "table-lives",
        "The participants in this figure",
        columns(
            ["Participant", "Arm", "Years observed", "End", "Cycles", "Doses per injection", "Events"],
            7,
            [0.8, 1.2, 0.8, 1.2, 0.7, 1.8, 2.2],
        ),
        tuple(body),
    )
    return Figure(
        "figure-lives",
        f"{len(people)} participants, one line each",
        f"Time in the trial of {len(people)} participants: each cycle as a dot whose "
        "colour and size is its dose, events as "
        "marks, and how observation ended. The table below lists them.",
        drawn.wide,
        drawn.narrow,
        table,
        (
            "Chosen evenly over the number of cycles received, so that the picture shows "
            "the range; the number on the left is the "
            "participant's. Larger, darker dots are higher doses.",
        ),
    )


def _kind_of(protocol: Protocol, kind: str) -> str:
    event = protocol.events.get(kind)
    if event is not None and event.terminal:
        return "death"
    return "grade 4" if kind == protocol.analysis.safety_by else "disease"


def _counted(protocol: Protocol) -> list[str]:
    """The kinds of event that some endpoint counts."""
    kinds = {kind for endpoint in protocol.endpoints.values() for kind in endpoint.first_of}
    return [kind for kind in tables.events_in_order(protocol) if kind in kinds]


def _kinds_label(m: Material, mark: str) -> str:
    nobody = m.protocol.simulation.without if m.simulated and m.protocol.simulation else []
    counted = [kind for kind in _counted(m.protocol) if kind not in nobody]
    labels = [m.protocol.events[k].label for k in counted if _kind_of(m.protocol, k) == mark]
    return w.listed(labels[:1] + [lower_first(label) for label in labels[1:]]) if labels else mark


def sample(
    record: Record,
    protocol: Protocol,
    arms: Arms,
    given: Sequence[str],
    with_cycles: int = 22,
    without: int = 6,
) -> list[figures.Swimmer]:
    """A sample of participants for the swimmer plot: in arms with cycles spread evenly over their number,
    in the others over the order of randomisation. Which ones does not depend on chance."""
    people = record.table("participants").select("participant", "arm")
    ends = record.table("disposition").select("participant", "day", "status")
    cycles = record.table("cycles").select("participant", "day", "dose")
    n_cycles = cycles.group_by("participant").len("n")
    frame = (
        people.join(ends, on="participant")
        .join(n_cycles, on="participant", how="left")
        .with_columns(pl.col("n").fill_null(0))
    )
    chosen: list[tuple[int, str, int, str]] = []
    share = max(4, with_cycles // max(1, len(given)))
    for arm in arms.names:
        members = frame.filter(pl.col("arm") == arm).sort("n", "participant")
        wanted = min(share if arm in given else without, members.height)
        picks: Sequence[int] = (
            np.unique(np.linspace(0, members.height - 1, wanted).round().astype(int)).tolist()
            if wanted
            else []
        )
        for i in picks:
            person = members.row(i, named=True)
            chosen.append((person["participant"], arm, person["day"], person["status"]))
    numbers = [c[0] for c in chosen]
    their_cycles = cycles.filter(pl.col("participant").is_in(numbers)).sort("participant", "day")
    events = (
        record.table("events")
        .filter(pl.col("participant").is_in(numbers))
        .select("participant", "day", "kind", "grade")
        .sort("participant", "day")
    )
    holds = (
        record.table("holds")
        .filter(pl.col("participant").is_in(numbers))
        .select("participant", "from_day", "to_day")
    )
    counted = _counted(protocol)
    lives = []
    for number, arm, last, status in chosen:
        own_cycles = tuple((int(d), float(x)) for p, d, x in their_cycles.iter_rows() if p == number)
        marks = tuple(
            (int(d), _kind_of(protocol, k))
            for p, d, k, _ in events.iter_rows()
            if p == number and k in counted
        )
        own_holds = tuple(
            (int(a), int(last if b is None else b)) for p, a, b in holds.iter_rows() if p == number
        )
        lives.append(figures.Swimmer(number, arm, int(last), status, own_cycles, marks, own_holds))
    return lives


# --- safety -----------------------------------------------------------------------------------------------


def safety(m: Material) -> Section | None:
    """Events by organ class: picture and table."""
    table = tables.safety(m.rows, m.protocol, m.arms)
    if table is None:
        return None
    kind = m.protocol.analysis.safety_by
    event = m.protocol.events.get(kind) if kind else None
    blocks: list[Block | Subsection] = []
    if event is not None:
        blocks.append(
            Paragraph(
                words(Run(f"{w.capital(event.label)}: ", "strong"), w.sentence(lower_first(event.definition)))
            )
        )
    terms = tables.safety_terms(m.rows, m.arms)[:16]
    for arm in m.arms.compared:
        if not terms:
            break
        shares = {
            a: [m.rows.value("safety", a, t, "percent") or 0.0 for t in terms]
            for a in (arm, m.arms.reference)
        }
        ratios = []
        for term in terms:
            estimate, lower, upper = m.rows.values(
                "safety", m.arms.pair(arm), term, "rate_ratio", "lower", "upper"
            )
            known = estimate is not None and lower is not None and upper is not None and estimate > 0
            ratios.append((float(estimate or 0), float(lower or 0), float(upper or 0)) if known else None)
        drawn = figures.safety(f"safety-{arm}", terms, shares, ratios, m.arms, arm, m.level)
        said = "; ".join(
            f"{t} {w.number(shares[arm][i], 1)}% against {w.number(shares[m.arms.reference][i], 1)}%"
            for i, t in enumerate(terms)
        )
        blocks.append(
            Figure(
                f"figure-safety-{arm}",
                (f"Events by organ class: {m.arms.label[arm]} against {m.arms.label[m.arms.reference]}"),
                f"Percentage of participants with an event: {said}.",
                drawn.wide,
                drawn.narrow,
                None,
                (
                    (
                        "Left: percentage of participants with at least one event. Right: "
                        "ratio of the rates, with its interval; "
                        "right of 1 means more events with the treatment. The most frequent "
                        "classes are shown; the table has all."
                    ),
                ),
            )
        )
    blocks.append(table)
    return Section("safety", "Safety", tuple(blocks))


# --- published against simulated --------------------------------------------------------------------------


def _decimals(m: Material, figure: PublishedFigure) -> int:
    """As many decimals as the publication gives for figures of this kind."""
    alike = [
        f
        for f in m.protocol.published.values()
        if (f.analysis, f.parameter, f.statistic) == (figure.analysis, figure.parameter, figure.statistic)
    ]
    values = [v for f in alike for v in (f.value, *(f.interval or ()))]
    written = max(len(f"{v:.10g}".partition(".")[2]) for v in values)
    whole = figure.unit in ("participants", "cycles") or max(map(abs, values)) >= 10
    return min(3, written if whole else max(1, written))


def in_order(m: Material) -> list[PublishedFigure]:
    """The published figures by subject, in the order of the analysis plan; within a subject the arms, then
    everybody, then comparisons. The same whatever the order in the file (a record keeps none)."""
    plan = [p.endpoint for p in m.protocol.analysis.time_to_event]
    plan += [p.measure for p in m.protocol.analysis.measures]
    groups = [*m.arms.names, "all"]

    def place(item: tuple[str, PublishedFigure]) -> tuple[int, str, int, str]:
        key, figure = item
        subject = plan.index(figure.analysis) if figure.analysis in plan else len(plan)
        group = groups.index(figure.group) if figure.group in groups else len(groups)
        return subject, figure.analysis, group, key

    return [figure for _, figure in sorted(m.protocol.published.items(), key=place)]


def comparison(m: Material) -> Section | None:
    """Each published figure beside this trial and the spread of repeated trials."""
    everything = in_order(m)
    if not everything:
        return None
    figures_published = [f for f in everything if f.compared]
    repeated = m.trials() > 0 and any(m.spread(f) is not None for f in figures_published)
    blocks: list[Block | Subsection] = []
    if repeated:
        blocks.append(
            Paragraph(
                words(
                    f"The trial was simulated {w.count(m.trials())} times with the same model "
                    "and different chance. Each small histogram shows "
                    "what these trials gave; the shaded part holds the central 95% of them, "
                    "between the two numbers below it. The diamond is "
                    "the published figure, the dot this trial. If the model were right, a "
                    "published figure would fall outside the shaded "
                    "part once in twenty times.",
                )
            )
        )
    else:
        blocks.append(
            Paragraph(
                words(
                    "One simulated trial stands beside the published one. Two trials of "
                    "the same design differ by chance, so a "
                    "difference here is not by itself a fault of the model."
                )
            )
        )
    size, n = m.protocol.size.analysed, m.randomised
    if size and n and abs(n - size) > 0.02 * size and m.simulated:
        blocks.append(
            Callout(
                "The trials differ in size.",
                (
                    words(
                        f"This run has {w.count(n)} participants, the published analysis "
                        f"{w.count(size)}: counts cannot be compared, and intervals "
                        "differ in width. Averages and ratios can be compared.",
                    ),
                ),
            )
        )
    main = [f for f in figures_published if f.analysis not in _ABOUT_PEOPLE]
    blocks.append(
        _comparison_table(m, "table-published", "Published and simulated, figure by figure", main, repeated)
    )
    people = [f for f in figures_published if f.analysis in _ABOUT_PEOPLE]
    if people:
        title = "Participants, published and simulated"
        blocks.append(_comparison_table(m, "table-published-people", title, people, repeated, strips=False))
    if also := [f for f in everything if not f.compared]:
        blocks.append(_published_only(m, also))
    return Section("published", "The published trial and the simulated one", tuple(blocks))


_ABOUT_PEOPLE = ("baseline", "disposition", "consort", "screening")
_MIXED = "mean difference over follow-up"


def _comparison_table(
    m: Material,
    name: str,
    caption: str,
    published: Sequence[PublishedFigure],
    repeated: bool,
    strips: bool = True,
) -> Table:
    titles = ["Published figure", "Published", "This trial"]
    if repeated:
        titles += ["Mean of the trials", "All simulated trials" if strips else "Central 95% of the trials"]
    body: list[Row] = []
    current = ""
    for figure in published:
        subject = _subject(m, figure)
        if subject != current:
            body.append(row(subject, kind="heading"))
            current = subject
        body.append(_compared(m, figure, repeated, strips))
    note = (
        "Published: as printed in the source, with its interval where it gives "
        "one; sources are listed at the end. "
        "A dash: not known, or not kept over the simulated trials."
    )
    if m.simulated and any(f.analysis in m.protocol.endpoints_not_simulated for f in published):
        note += " Not simulated: the virtual participants do not have events of this kind."
    if repeated and any(f.parameter == _MIXED and m.spread(f) is not None for f in published):
        note += (
            " Mean difference over follow-up: in this trial from the mixed model; in the many "
            "simulated trials, to save time, the plain difference of the arms' means, which "
            "spreads a little wider around the same value."
        )
    shape = columns(titles, 5, [2.0, 1.3, 1.3, 0.9, 2.4 if strips else 1.5][: len(titles)])
    return Table(name, caption, shape, tuple(body), (note,), stack=True)


def _published_only(m: Material, published: Sequence[PublishedFigure]) -> Table:
    """What the publications also give, without a counterpart in the results."""
    body: list[Row] = []
    current = ""
    for figure in published:
        if _subject(m, figure) != current:
            current = _subject(m, figure)
            body.append(row(current, kind="heading"))
        body.append(row(_name(m, figure), _as_published(figure, _decimals(m, figure))))
    return Table(
        "table-published-only",
        "Also published, without a simulated counterpart",
        columns(["Published figure", "Published"], 2, [2.4, 1.6]),
        tuple(body),
        ("The virtual participants have nothing that these figures could be compared with.",),
    )


def _name(m: Material, figure: PublishedFigure) -> Words:
    """What a figure is about, of whom, in which unit, from which source."""
    group = figure.group
    if group in m.arms.label:
        group = m.arms.label[group]
    elif " vs " in group:
        first, second = group.split(" vs ", 1)
        group = f"{m.arms.label.get(first, first)} against {m.arms.label.get(second, second)}"
    source = _sources(figure)
    named = figure.label if group == "all" else f"{figure.label}: {group}"
    named += f" ({w.unit(figure.unit)})" if figure.unit else ""
    return words(named, f" [{source}]" if source else "")


def _as_published(figure: PublishedFigure, places: int) -> str:
    published = tables.published_text(figure, places)
    if figure.p_value is not None:
        published += f"; P {w.p_value(figure.p_value)}"
    if figure.p_below is not None:
        published += f"; P < {figure.p_below:g}"
    return published


def _subject(m: Material, figure: PublishedFigure) -> str:
    if figure.analysis in m.protocol.endpoints:
        return w.capital(m.protocol.endpoints[figure.analysis].label)
    if figure.analysis in m.protocol.items:
        return w.capital(m.protocol.items[figure.analysis].label)
    return w.capital(figure.analysis.replace("subgroup:", "Subgroup: "))


def _compared(m: Material, figure: PublishedFigure, repeated: bool, strips: bool) -> Row:
    places = _decimals(m, figure)
    key = (figure.analysis, figure.group, figure.parameter)
    here = m.rows.value(*key, figure.statistic)
    lower, upper = m.rows.values(*key, "lower", "upper") if figure.statistic == "estimate" else (None, None)
    shown = w.with_interval(here, lower, upper, places) if here is not None else w.NONE
    if m.simulated and figure.analysis in m.protocol.endpoints_not_simulated:
        shown = "not simulated"
    cells: list[str | Words | Cell] = [_name(m, figure), _as_published(figure, places), shown]
    if repeated:
        values = m.spread(figure)
        if values is None:
            cells += [w.NONE, w.NONE]
        else:
            q1, q2 = (float(q) for q in np.quantile(values, [0.025, 0.975]))
            cells.append(
                w.number(float(values.mean()), max(places, 1) if figure.statistic == "n" else places)
            )
            if strips:
                said = w.capital(
                    w.place_in_words(w.place_in(values.tolist(), figure.value), int(values.size))
                )
                alt = (
                    f"{figure.label}: central 95% of {values.size} simulated trials "
                    f"from {w.number(q1, places)} to "
                    f"{w.number(q2, places)}; published {w.number(figure.value, places)}"
                )
                strip = Drawing(figures.strip(values, figure.value, here, places), alt)
                cells.append(Cell(words(said), strip))
            else:
                outside = "" if q1 <= figure.value <= q2 else "; the published figure lies outside"
                cells.append(w.interval(q1, q2, places) + outside)
    return row(*cells)


def _sources(part: ProtocolBlock) -> str:
    source = part.source
    return "" if source is None else source if isinstance(source, str) else ", ".join(source)
