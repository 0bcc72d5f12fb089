"""The sections of a report, in the order a clinician reads them: what happened first, how it was done last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from equipoise import __version__
from equipoise.protocol import sha256
from equipoise.protocol.model import Block as ProtocolBlock
from equipoise.protocol.model import Endpoint, Protocol, PublishedFigure
from equipoise.record import Record
from equipoise.report import consort, figures, tables
from equipoise.report import words as w
from equipoise.report.document import (
    Block, Callout, Cell, Code, Document, Drawing, Fact, Facts, Figure, Listing, Paragraph, Row, Run, Section,
    Subsection, Table, Words, columns, link, row, words,
)  # fmt: skip
from equipoise.report.tables import Arms, Rows
from equipoise.virtual.parameters import PopulationFile, Row as ParameterRow, load_population


@dataclass(frozen=True)
class Material:
    """All that a report is made from. Numbers come from `rows` alone; `record` gives the lives of a sample of
    participants, `replicates` (one row per simulated trial, columns named after rows of the results) the spread
    over repeated trials, `provenance` the lines on how to reproduce it."""

    rows: Rows
    protocol: Protocol
    arms: Arms
    record: Record | None
    replicates: pl.DataFrame | None
    provenance: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def simulated(self) -> bool:
        """Whether the participants are virtual."""
        return self.record is None or self.record.manifest.provenance.kind == "simulated"

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return self.protocol.analysis.confidence

    @property
    def primary(self) -> str | None:
        """The id of the (first) primary endpoint that is analysed."""
        planned = [plan.endpoint for plan in self.protocol.analysis.time_to_event]
        return next((e for e in planned if self.protocol.endpoints[e].role == "primary"), planned[0] if planned else None)

    @property
    def randomised(self) -> float | None:
        """Participants randomised, all arms."""
        found = self.rows.value("disposition", "all", "randomised", "n")
        return found if found is not None else self.rows.value("consort", "all", "randomised", "n")

    def trials(self) -> int:
        """Replicate trials at hand."""
        return 0 if self.replicates is None else self.replicates.height

    def spread(self, figure: PublishedFigure) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The values of a published figure's row over the replicate trials."""
        key = "|".join((figure.analysis, figure.group, figure.parameter, figure.statistic))
        if self.replicates is None or key not in self.replicates.columns:
            return None
        values = self.replicates[key].cast(pl.Float64).to_numpy()
        values = values[np.isfinite(values)]
        return values if values.size >= 20 else None


def lower_first(text: str) -> str:
    """A label inside a sentence: its first letter small, unless it begins with an abbreviation."""
    return text if text[1:2].isupper() or not text[1:2].isalpha() else text[:1].lower() + text[1:]


def document(material: Material) -> Document:
    """The whole report. Sections that have nothing to say are left out."""
    sections = [
        minute(material), participants(material), measures(material), outcomes(material), treatment(material),
        safety(material), comparison(material), protocol_section(material), assumed(material), checklist(material),
        reproduce(material), glossary(material),
    ]  # fmt: skip
    kept = tuple(s for s in sections if s is not None and s.blocks)
    protocol = material.protocol
    header = [("Trial", protocol.protocol), ("Protocol version", protocol.version)]
    if protocol.registry:
        header.append(("Registered as", protocol.registry))
    header.append(("Protocol hash (SHA-256)", sha256(protocol)[:16]))
    seed = material.provenance.get("Seed")
    if seed:
        header.append(("Seed", seed))
    title = f"{protocol.protocol}: a simulated randomised trial" if material.simulated else f"{protocol.protocol}: a randomised trial"
    return Document(title, protocol.title, "SIMULATED TRIAL" if material.simulated else "REAL DATA", tuple(header), kept)


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
                        f"A computer executed the protocol of {m.protocol.protocol} on {w.count(n)} virtual participants. The figures "
                        "show what a model of the trial does. They are no evidence about a treatment. What the real trial "
                        "found stands beside them under “Published trial”." if m.protocol.published else
                        f"A computer executed the protocol of {m.protocol.protocol} on {w.count(n)} virtual participants. The figures "
                        "show what a model of the trial does. They are no evidence about a treatment."
                    ),
                ),
            )
        )  # fmt: skip
    blocks.append(Paragraph(words(Run("The question. ", "strong"), w.sentence(m.protocol.background))))
    blocks.append(Paragraph(words(Run("What was done. ", "strong"), _done(m))))
    for plan in m.protocol.analysis.measures:
        text = _measure_in_words(m, plan.measure)
        if text:
            label = m.protocol.items[plan.measure].label
            blocks.append(Paragraph(words(Run(f"{w.capital(label)}. ", "strong"), text)))
    for plan_e in m.protocol.analysis.time_to_event:
        text = _endpoint_in_words(m, plan_e.endpoint)
        if text:
            endpoint = m.protocol.endpoints[plan_e.endpoint]
            blocks.append(Paragraph(words(Run(f"{w.capital(endpoint.label)}. ", "strong"), text)))
    beside = _beside_published(m)
    if beside:
        blocks.append(Paragraph(words(Run("Beside the published trial. ", "strong"), beside)))
    facts = _facts(m)
    if facts:
        blocks.insert(1 if m.simulated else 0, Facts(tuple(facts)))
    return Section("minute", "In one minute", tuple(blocks))


def _done(m: Material) -> str:
    arms = m.arms
    sizes = [f"{w.count(m.rows.value('disposition', a, 'randomised', 'n'))} to {arms.label[a]}" for a in arms.names]
    text = f"{w.count(m.randomised)} {'virtual ' if m.simulated else ''}participants were assigned by chance: {w.listed(sizes)}. "
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
                f"In the arm {arms.label[arm]}, {w.number(share, 0)}% started the cycles; the middle participant had "
                f"{w.count(median)} (half had between {w.count(q1)} and {w.count(q3)}). "
            )
    return text.strip()


def _measure_in_words(m: Material, measure: str) -> str:
    arms, texts = m.arms, []
    for arm in arms.compared:
        pair = arms.pair(arm)
        estimate, lower, upper = m.rows.values(measure, pair, "mean difference over follow-up", "estimate", "lower", "upper")
        if estimate is None or lower is None or upper is None:
            continue
        unit = m.rows.unit(measure, pair, "mean difference over follow-up", "estimate")
        places = 2 if unit.startswith("log") else 0
        clear = lower > 0 or upper < 0
        texts.append(
            f"Averaged over follow-up it was {w.number(abs(estimate), places)} {unit} "
            f"{'higher' if estimate > 0 else 'lower'} with {arms.label[arm]} than with {arms.label[arms.reference]} "
            f"({100 * m.level:g}% interval of the difference {w.interval(lower, upper, places)})"
            + ("." if clear else ", a difference that chance alone explains well.")
        )
    return " ".join(texts)


def _endpoint_in_words(m: Material, endpoint: str) -> str:
    arms, rows, texts = m.arms, m.rows, []
    counts = [
        f"{w.count(rows.value(endpoint, a, 'events', 'n'))} of {w.count(rows.value(endpoint, a, 'participants', 'n'))} "
        f"with {arms.label[a]}"
        for a in arms.names
    ]
    if rows.value(endpoint, arms.reference, "events", "n") is None:
        return ""
    texts.append(f"It happened to {w.listed(counts)}.")
    for arm in arms.compared:
        ratio, lower, upper = rows.values(endpoint, arms.pair(arm), "hazard ratio", "estimate", "lower", "upper")
        noun = "it" if len(arms.compared) == 1 else f"it with {arms.label[arm]}"
        texts.append(
            w.ratio_in_words(ratio, lower, upper, noun).replace("The rate of it", "Its rate").replace("The comparison of it", "The comparison")
            + (f" Hazard ratio {w.with_interval(ratio, lower, upper, 2)}." if ratio is not None else "")
        )
    return " ".join(texts)


def _beside_published(m: Material) -> str:
    if not m.protocol.published:
        return ""
    placed = [(f, w.place_in(v.tolist(), f.value)) for f in m.protocol.published.values() if (v := m.spread(f)) is not None]
    if not placed:
        return "This report shows one trial; add replicate trials to see how far one trial differs from the next by chance."
    inside = [f for f, share in placed if share is not None and 0.025 <= share <= 0.975]
    outside = [f for f, share in placed if share is not None and not 0.025 <= share <= 0.975]
    text = (
        f"The trial was simulated {w.count(m.trials())} times. {len(inside)} of {len(placed)} published figures lie within "
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
    arm = m.arms.compared[0] if m.arms.compared else None
    if arm is None:
        return facts
    pair = m.arms.pair(arm)
    for plan in m.protocol.analysis.measures[:1]:
        estimate, lower, upper = m.rows.values(plan.measure, pair, "mean difference over follow-up", "estimate", "lower", "upper")
        if estimate is not None:
            unit = m.rows.unit(plan.measure, pair, "mean difference over follow-up", "estimate")
            places = 2 if unit.startswith("log") else 0
            figure = tables.published_for(m.protocol, plan.measure, pair, "mean difference over follow-up", "estimate")
            sign = "+" if estimate > 0 else ""
            facts.append(
                Fact(f"{sign}{w.number(estimate, places)} {unit}", f"{m.protocol.items[plan.measure].label}, average difference",
                     _note(w.interval(lower, upper, places), figure, places))
            )  # fmt: skip
    for plan_e in m.protocol.analysis.time_to_event:
        ratio, lower, upper = m.rows.values(plan_e.endpoint, pair, "hazard ratio", "estimate", "lower", "upper")
        if ratio is not None:
            figure = tables.published_for(m.protocol, plan_e.endpoint, pair, "hazard ratio", "estimate")
            label = m.protocol.endpoints[plan_e.endpoint].label
            facts.append(Fact(w.number(ratio, 2), f"hazard ratio, {lower_first(label)}", _note(w.interval(lower, upper, 2), figure, 2)))
    return facts[:6]


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
            Figure("figure-flow", "Flow of participants (CONSORT 2025)", consort.in_words(found), drawn.wide, drawn.narrow,
                   consort.flow_table(found), ("Everybody randomised is analysed in the arm they were allocated to (intention to treat).",))
        )  # fmt: skip
    parts = (tables.screening(m.rows, m.protocol), tables.baseline(m.rows, m.protocol, m.arms), tables.disposition(m.rows, m.arms))
    blocks += [table for table in parts if table is not None]
    if m.protocol.analysis.cohort and m.simulated:
        blocks.append(Paragraph(words(Run("In the published trial: ", "strong"), w.sentence(m.protocol.analysis.cohort),
                                      " A simulated trial needs no such rule; everybody is analysed.")))  # fmt: skip
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
        unit = m.rows.unit(measure, next(iter(profiles)), "baseline", "mean") or item.unit
        goal = m.rows.value(measure, "all", "goal", "median")
        drawn = figures.measure_over_time(f"measure-{measure}", profiles, m.arms, item.label, unit, goal, m.level)
        ends = [
            f"{m.arms.label[a]}: {w.number(float(p.mean[0]), _places(unit))} at the start, "
            f"{w.number(float(p.mean[-1]), _places(unit))} after {w.number(float(p.years[-1]), 1)} years"
            for a, p in profiles.items()
        ]
        notes = ["Points are means of those measured; the band is the interval of the mean."]
        if goal is not None:
            notes.append(
                "The dotted line is the median of the participants' goals: cycles are given while the count is short of the "
                "participant's own goal."
            )
        figure = Figure(
            f"figure-{measure}", f"{w.capital(item.label)} over time", f"{w.capital(item.label)} by arm over time. {'; '.join(ends)}.",
            drawn.wide, drawn.narrow, tables.measure_by_visit(m.rows, m.protocol, m.arms, measure), tuple(notes),
        )  # fmt: skip
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
                f"{line.label}: {w.with_interval(line.estimate, line.lower, line.upper, 2)}" for line in lines if line.estimate
            )
            blocks.append(
                Figure(f"figure-forest-{arm}", f"Hazard ratios by endpoint and subgroup: {versus}",
                       f"Forest plot of hazard ratios. {said}.", drawn.wide, drawn.narrow,
                       tables.forest_table(lines, m.arms, arm, m.level),
                       ("A hazard ratio below 1 means fewer events per time with the treatment. Subgroups are small and many: "
                        "one of twenty will look different by chance. Subgroups are analysed for "
                        + _subgroup_endpoint(m) + ".",))
            )  # fmt: skip
    tests = tables.log_rank(m.rows, m.protocol, m.arms)
    if tests is not None:
        blocks.append(tests)
    return Section("outcomes", "Clinical outcomes", tuple(blocks))


def _subgroup_endpoint(m: Material) -> str:
    name = m.protocol.analysis.subgroup_endpoint or m.primary
    return lower_first(m.protocol.endpoints[name].label) if name else "the primary endpoint"


def _curves(m: Material, name: str) -> Figure | None:
    endpoint: Endpoint = m.protocol.endpoints[name]
    competing = bool(endpoint.competing)
    quantity = "cumulative incidence" if competing else "Kaplan-Meier"
    curves: dict[str, tables.Curve] = {}
    for arm in m.arms.names:
        curve = m.rows.curve(name, arm, quantity)
        if curve is not None:
            curves[arm] = curve if competing else tables.Curve(curve.day, 1 - curve.estimate, 1 - curve.upper, 1 - curve.lower)
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
    drawn = figures.event_curves(f"curve-{name}", curves, at_risk, m.arms, w.capital(endpoint.label), m.level)
    ends = [f"{m.arms.label[a]} {w.number(100 * float(c.estimate[-1]), 1)}%" for a, c in curves.items()]
    method = (
        "Cumulative incidence with death competing (Aalen-Johansen): a participant who dies without the event can no longer "
        "have it." if competing else
        "Kaplan-Meier estimate, turned over so that it shows the percentage with an event: participants whose observation "
        "ended early count for as long as they were seen."
    )  # fmt: skip
    return Figure(
        f"figure-curve-{name}", f"{w.capital(endpoint.label)}: percentage of participants with an event",
        f"{w.capital(endpoint.label)}, percentage with an event at the end of follow-up: {w.listed(ends)}.",
        drawn.wide, drawn.narrow, tables.curve_by_year(m.rows, m.protocol, m.arms, name, quantity, not competing),
        (method + " Number at risk: participants without an event and still observed just before that day.",),
    )  # fmt: skip


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
        said = "; ".join(f"{m.arms.label[a]}: {sum(c)} participants, from 0 to {len(c) - 1} cycles" for a, c in counts.items())
        blocks.append(
            Figure("figure-cycles", "How many cycles participants received", f"Participants by number of cycles. {said}.",
                   drawn.wide, drawn.narrow, tables.cycles_by_number(m.rows, m.arms))
        )  # fmt: skip
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
    kinds = {"disease": _kinds_label(m, "disease"), "grade 4": _kinds_label(m, "grade 4"), "death": _kinds_label(m, "death")}
    drawn = figures.swimmer("lives", people, m.arms, doses, unit, kinds)
    body = [
        row(
            str(p.participant), m.arms.label[p.arm], w.number(p.last_day / 365.25, 1), w.capital(p.end), str(len(p.cycles)),
            ", ".join(f"{dose:g} {unit} ×{sum(1 for _, d in p.cycles if d == dose)}" for dose in sorted({d for _, d in p.cycles})) or w.NONE,
            "; ".join(f"{kinds[kind]}, day {w.count(day)}" for day, kind in p.events) or w.NONE,
        )
        for p in people
    ]  # fmt: skip
    table = Table(
        "table-lives", "The participants in this figure",
        columns(["Participant", "Arm", "Years observed", "End", "Cycles", "Doses per injection", "Events"], 7, [0.8, 1.2, 0.8, 1.2, 0.7, 1.8, 2.2]),
        tuple(body),
    )  # fmt: skip
    return Figure(
        "figure-lives", f"{len(people)} participants, one line each",
        f"Time in the trial of {len(people)} participants: each cycle as a dot whose colour and size is its dose, events as "
        "marks, and how observation ended. The table below lists them.",
        drawn.wide, drawn.narrow, table,
        ("Chosen evenly over the number of cycles received, so that the picture shows the range; the number on the left is the "
         "participant's. Larger, darker dots are higher doses.",),
    )  # fmt: skip


def _kind_of(protocol: Protocol, kind: str) -> str:
    event = protocol.events.get(kind)
    if event is not None and event.terminal:
        return "death"
    return "grade 4" if kind == protocol.analysis.safety_by else "disease"


def _kinds_label(m: Material, mark: str) -> str:
    labels = [e.label for k, e in m.protocol.events.items() if _kind_of(m.protocol, k) == mark]
    return w.listed(labels[:1] + [lower_first(label) for label in labels[1:]]) if labels else mark


def sample(record: Record, protocol: Protocol, arms: Arms, given: Sequence[str], with_cycles: int = 22, without: int = 6) -> list[figures.Swimmer]:
    """A sample of participants for the swimmer plot: in arms with cycles spread evenly over the number of cycles, in
    the others evenly over the order of randomisation. Which ones does not depend on chance."""
    people = record.table("participants").select("participant", "arm")
    ends = record.table("disposition").select("participant", "day", "status")
    cycles = record.table("cycles").select("participant", "day", "dose")
    n_cycles = cycles.group_by("participant").len("n")
    frame = people.join(ends, on="participant").join(n_cycles, on="participant", how="left").with_columns(pl.col("n").fill_null(0))
    chosen: list[tuple[int, str, int, str]] = []
    share = max(4, with_cycles // max(1, len(given)))
    for arm in arms.names:
        members = frame.filter(pl.col("arm") == arm).sort("n", "participant")
        wanted = min(share if arm in given else without, members.height)
        picks = np.unique(np.linspace(0, members.height - 1, wanted).round().astype(int)) if wanted else []
        for i in picks:
            person = members.row(int(i), named=True)
            chosen.append((person["participant"], arm, person["day"], person["status"]))
    numbers = [c[0] for c in chosen]
    their_cycles = cycles.filter(pl.col("participant").is_in(numbers)).sort("participant", "day")
    events = record.table("events").filter(pl.col("participant").is_in(numbers)).select("participant", "day", "kind", "grade").sort("participant", "day")
    holds = record.table("holds").filter(pl.col("participant").is_in(numbers)).select("participant", "from_day", "to_day")
    counted = {k for e in protocol.endpoints.values() for k in e.first_of}
    lives = []
    for number, arm, last, status in chosen:
        own_cycles = tuple((int(d), float(x)) for p, d, x in their_cycles.iter_rows() if p == number)
        marks = tuple(
            (int(d), _kind_of(protocol, k)) for p, d, k, _ in events.iter_rows() if p == number and k in counted
        )
        own_holds = tuple((int(a), int(last if b is None else b)) for p, a, b in holds.iter_rows() if p == number)
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
        blocks.append(Paragraph(words(Run(f"{w.capital(event.label)}: ", "strong"), w.sentence(lower_first(event.definition)))))
    terms = tables.safety_terms(m.rows, m.arms)[:16]
    for arm in m.arms.compared:
        if not terms:
            break
        shares = {a: [m.rows.value("safety", a, t, "percent") or 0.0 for t in terms] for a in (arm, m.arms.reference)}
        ratios = []
        for term in terms:
            estimate, lower, upper = m.rows.values("safety", m.arms.pair(arm), term, "rate_ratio", "lower", "upper")
            known = estimate is not None and lower is not None and upper is not None and estimate > 0
            ratios.append((float(estimate or 0), float(lower or 0), float(upper or 0)) if known else None)
        drawn = figures.safety(f"safety-{arm}", terms, shares, ratios, m.arms, arm, m.level)
        said = "; ".join(f"{t} {w.number(shares[arm][i], 1)}% against {w.number(shares[m.arms.reference][i], 1)}%" for i, t in enumerate(terms))
        blocks.append(
            Figure(f"figure-safety-{arm}", f"Events by organ class: {m.arms.label[arm]} against {m.arms.label[m.arms.reference]}",
                   f"Percentage of participants with an event: {said}.", drawn.wide, drawn.narrow, None,
                   ("Left: percentage of participants with at least one event. Right: ratio of the rates, with its interval; "
                    "right of 1 means more events with the treatment. The most frequent classes are shown; the table has all.",))
        )  # fmt: skip
    blocks.append(table)
    return Section("safety", "Safety", tuple(blocks))


# --- published against simulated --------------------------------------------------------------------------


def _decimals(figure: PublishedFigure) -> int:
    """As many decimals as the publication gives."""
    values = [figure.value, *(figure.interval or ())]
    return min(3, max(len(f"{v:.10g}".partition(".")[2]) for v in values))


def comparison(m: Material) -> Section | None:
    """Each published figure beside this trial and the spread of repeated trials."""
    figures_published = list(m.protocol.published.values())
    if not figures_published:
        return None
    repeated = m.trials() > 0 and any(m.spread(f) is not None for f in figures_published)
    blocks: list[Block | Subsection] = []
    if repeated:
        blocks.append(
            Paragraph(words(
                f"The trial was simulated {w.count(m.trials())} times with the same model and different chance. Each small histogram shows "
                "what these trials gave; the shaded part holds the central 95% of them, between the two numbers below it. The diamond is "
                "the published figure, the dot this trial. If the model were right, a published figure would fall outside the shaded "
                "part once in twenty times.",
            ))
        )  # fmt: skip
    else:
        blocks.append(
            Paragraph(words("One simulated trial stands beside the published one. Two trials of the same design differ by chance, so a "
                            "difference here is not by itself a fault of the model."))
        )  # fmt: skip
    size, n = m.protocol.size.analysed, m.randomised
    if size and n and abs(n - size) > 0.02 * size and m.simulated:
        blocks.append(
            Callout("The trials differ in size.", (words(
                f"This run has {w.count(n)} participants, the published analysis {w.count(size)}: counts cannot be compared, and intervals "
                "differ in width. Averages and ratios can be compared.",
            ),))
        )  # fmt: skip
    titles = ["Published figure", "Published", "This trial"]
    if repeated:
        titles += ["Mean of the trials", "All simulated trials"]
    body: list[Row] = []
    current = ""
    for figure in figures_published:
        subject = _subject(m, figure)
        if subject != current:
            body.append(row(subject, kind="heading"))
            current = subject
        body.append(_compared(m, figure, repeated))
    blocks.append(
        Table("table-published", "Published and simulated, figure by figure",
              columns(titles, 5, [2.0, 1.3, 1.3, 0.9, 2.4][: len(titles)]), tuple(body),
              ("Published: as printed in the source, with its interval where it gives one. Sources are listed at the end.",), stack=True)
    )  # fmt: skip
    return Section("published", "The published trial and the simulated one", tuple(blocks))


def _subject(m: Material, figure: PublishedFigure) -> str:
    if figure.analysis in m.protocol.endpoints:
        return w.capital(m.protocol.endpoints[figure.analysis].label)
    if figure.analysis in m.protocol.items:
        return w.capital(m.protocol.items[figure.analysis].label)
    return w.capital(figure.analysis.replace("subgroup:", "Subgroup: "))


def _compared(m: Material, figure: PublishedFigure, repeated: bool) -> Row:
    places = _decimals(figure)
    key = (figure.analysis, figure.group, figure.parameter)
    here = m.rows.value(*key, figure.statistic)
    lower, upper = m.rows.values(*key, "lower", "upper") if figure.statistic == "estimate" else (None, None)
    group = figure.group
    if group in m.arms.label:
        group = m.arms.label[group]
    elif " vs " in group:
        first, second = group.split(" vs ", 1)
        group = f"{m.arms.label.get(first, first)} against {m.arms.label.get(second, second)}"
    unit = f", {figure.unit}" if figure.unit else ""
    source = _sources(figure)
    name: Words = words(figure.label, Run(f" — {group}{unit}" if group != "all" else unit), f" [{source}]" if source else "")
    published = tables.published_text(figure, places)
    if figure.p_value is not None:
        published += f"; P {w.p_value(figure.p_value)}"
    cells: list[str | Words | Cell] = [name, published, w.with_interval(here, lower, upper, places) if here is not None else w.NONE]
    if repeated:
        values = m.spread(figure)
        if values is None:
            cells += [w.NONE, "Not among the figures that the repeated trials keep."]
        else:
            said = w.capital(w.place_in_words(w.place_in(values.tolist(), figure.value), int(values.size)))
            q1, q2 = np.quantile(values, [0.025, 0.975])
            alt = (
                f"{figure.label}: central 95% of {values.size} simulated trials from {w.number(float(q1), places)} to "
                f"{w.number(float(q2), places)}; published {w.number(figure.value, places)}"
            )
            strip = Drawing(figures.strip(values, figure.value, here, places), alt)
            cells += [w.number(float(values.mean()), max(places, 1) if figure.statistic == "n" else places), Cell(words(said), strip)]
    return row(*cells)


def _sources(part: ProtocolBlock) -> str:
    source = part.source
    return "" if source is None else source if isinstance(source, str) else ", ".join(source)


# --- the protocol -----------------------------------------------------------------------------------------


def protocol_section(m: Material) -> Section:
    """What the protocol says: design, who, treatment, schedule, outcomes, analysis."""
    p = m.protocol
    blocks: list[Block | Subsection] = [_design(p), _eligibility(p), *_treatments(p), _schedule(p), _endpoints(p), _plan(m)]
    return Section("protocol", "What the protocol says", tuple(b for b in blocks if not isinstance(b, Subsection) or b.blocks))


def _design(p: Protocol) -> Subsection:
    d, s, c, mon, r = p.design, p.size, p.calendar, p.monitoring, p.randomization
    ratio = ":".join(str(r.ratio[a]) for a in r.ratio)
    arms = w.listed([p.arms[a].label for a in r.ratio])
    how = f"{w.capital(r.method)}, {ratio} ({arms})"
    if r.blocks:
        how += f", blocks of {w.listed([str(b) for b in r.blocks])}"
    if r.best_arm_probability is not None:
        how += f", the better balancing arm with probability {r.best_arm_probability:g}"
    if r.strata:
        how += f", stratified by {w.listed([lower_first(p.strata[x].label) for x in r.strata])}"
    size = f"{w.count(s.planned)} planned"
    for value, text in ((s.randomized, "randomised"), (s.analysed, "analysed"), (s.simulated, "in a simulated trial")):
        size += f"; {w.count(value)} {text}" if value is not None else ""
    if s.power is not None and s.hazard_ratio is not None:
        size += f". Power {100 * s.power:g}% for a hazard ratio of {s.hazard_ratio:g}"
        size += f" with {w.count(s.primary_events)} primary events" if s.primary_events else ""
        size += f" at a two-sided level of {s.alpha:g}" if s.alpha else ""
    looks = [f"{100 * x:g}%" for x in mon.looks]
    monitoring = w.sentence(mon.committee)
    if looks:
        monitoring += f" Planned looks at {w.listed(looks)} of the primary events; error spending: {mon.spending}."
    if mon.blinding:
        monitoring += " " + w.sentence(mon.blinding)
    lines = [
        ("Phase", d.phase), ("Allocation", w.sentence(d.allocation)), ("Masking", w.sentence(d.masking)), ("Comparison", w.sentence(d.comparison)),
        ("Randomisation", w.sentence(how)), ("Size", w.sentence(size)),
        ("Calendar", f"First randomisation {_date(c.first_randomization)}, last {_date(c.last_randomization)}; follow-up to {_date(c.end_of_follow_up)}."),
        ("Monitoring", monitoring), ("Sponsor", w.sentence(d.sponsor) if d.sponsor else ""),
    ]  # fmt: skip
    body = tuple(row(a, b) for a, b in lines if b)
    return Subsection("Design", (Table("table-design", "Design of the trial", columns(["", "As planned"], 2, [1, 4]), body),))


def _date(day: Any) -> str:
    return f"{day.day} {day:%B %Y}"


def _eligibility(p: Protocol) -> Subsection:
    take = [c for c in p.eligibility.criteria if c.require is not None]
    leave = [c for c in p.eligibility.criteria if c.exclude is not None]
    blocks: list[Block] = []
    for title, group in (("To take part, all of these must hold:", take), ("None of these may hold:", leave)):
        if group:
            blocks.append(Paragraph(words(Run(title, "strong"))))
            blocks.append(Listing(tuple(words(Run(f"{c.id}  ", "strong"), w.sentence(c.text)) for c in group)))
    return Subsection("Who could take part", tuple(blocks))


def _treatments(p: Protocol) -> list[Subsection]:
    from equipoise.protocol import describing

    points = tuple(words(Run(f"{arm.label}: ", "strong"), w.sentence(w.listed([p.regimens[r].label or p.regimens[r].drug for r in arm.regimens]))) for arm in p.arms.values())
    found = [Subsection("Arms", (Listing(points),))]
    for name, regimen in p.regimens.items():
        if regimen.kind == "cycles":
            sentences = describing.dose_rules(p, name)
            found.append(Subsection(f"Dose rules: {regimen.label or regimen.drug}", (Listing(tuple(words(w.sentence(s)) for s in sentences)),)))
    return found


def _schedule(p: Protocol) -> Subsection:
    body = []
    for visit in p.visits:
        when = ", ".join(str(t) for t in visit.at) if visit.at else f"every {visit.every} after {visit.from_}"
        window = f"{visit.window.early} before to {visit.window.late} after"
        labels = [lower_first(p.items[i].label) for i in visit.collect if i in p.items]
        shown = labels if len(labels) <= 9 else [*labels[:8], f"{len(labels) - 8} further items"]
        who = w.listed([p.arms[a].label for a in visit.arms]) if visit.arms else "all"
        body.append(row(visit.label, when, window, who, w.capital("; ".join([*shown, *visit.activities]))))
    return Subsection(
        "Schedule of visits",
        (Table("table-schedule", "Schedule of visits", columns(["Visit", "When", "Window", "Arms", "What is done"], 5, [1.3, 1.3, 1.1, 0.9, 3.4]), tuple(body), stack=True),),
    )  # fmt: skip


def _endpoints(p: Protocol) -> Subsection:
    body = []
    for endpoint in p.endpoints.values():
        first = w.listed([lower_first(p.events[k].label) for k in endpoint.first_of]).replace(" and ", " or ")
        text = f"Time to the first of: {first}" if len(endpoint.first_of) > 1 else f"Time to: {first}"
        if endpoint.terms:
            text += f", counting {len(endpoint.terms)} named conditions only"
        if endpoint.competing:
            text += f". Competing: {w.listed([lower_first(p.events[k].label) for k in endpoint.competing])}"
        body.append(row(w.capital(endpoint.label), w.capital(endpoint.role), w.sentence(text)))
    events = tuple(words(Run(f"{w.capital(e.label)}: ", "strong"), w.sentence(lower_first(e.definition))) for e in p.events.values())
    return Subsection(
        "Outcomes",
        (Table("table-endpoints", "Outcomes", columns(["Outcome", "Role", "Definition"], 3, [1.6, 0.8, 3]), tuple(body)), Listing(events)),
    )  # fmt: skip


def _plan(m: Material) -> Subsection:
    p = m.protocol
    blocks: list[Block] = []
    points = []
    for plan in p.analysis.time_to_event:
        text = "Cox model" + (f" stratified by {w.listed([lower_first(p.strata[s].label) for s in plan.strata])}" if plan.strata else ", not stratified")
        text += f"; ties by {plan.ties.capitalize()}'s method; log-rank test" + (" within the strata" if plan.strata else "")
        points.append(words(Run(f"{w.capital(p.endpoints[plan.endpoint].label)}: ", "strong"), w.sentence(text)))
    for measure in p.analysis.measures:
        text = f"means every {measure.by}; average difference over follow-up from a mixed model of all measurements"
        text += ", on the log10 scale" if measure.transform == "log10" else ""
        points.append(words(Run(f"{w.capital(p.items[measure.measure].label)}: ", "strong"), w.sentence(text)))
    for subgroup in p.analysis.subgroups:
        points.append(words(Run(f"Subgroup, {lower_first(subgroup.label)}: ", "strong"), w.sentence("; ".join(subgroup.levels))))
    blocks += [Paragraph(words(f"Analysis by {p.analysis.population}: everybody is analysed in the arm they were allocated to, whatever they received.")), Listing(tuple(points))]
    rows_ = []
    for plan in p.analysis.time_to_event:
        e = plan.estimand
        if e is None:
            continue
        rows_.append(row(w.capital(p.endpoints[plan.endpoint].label), kind="heading"))
        rows_ += [row(name, w.sentence(value), kind="detail") for name, value in (("Treatment", e.treatment), ("Population", e.population), ("Variable", e.variable), ("Summary", e.summary))]
        rows_ += [row("If this happens", w.sentence(f"{i.event}: {i.strategy}"), kind="detail") for i in e.intercurrent_events]
    if rows_:
        blocks.append(
            Table("table-estimands", "What is estimated (estimands, ICH E9(R1))", columns(["Attribute", "As planned"], 2, [1, 4]), tuple(rows_),
                  ("Treatment policy: what happens after the event counts as it is. Composite: the event is part of the outcome. "
                   "While on treatment: only the time before the event counts. Hypothetical: as if the event had not happened.",))
        )  # fmt: skip
    return Subsection("Analysis plan", tuple(blocks))


# --- assumptions ------------------------------------------------------------------------------------------


def assumed(m: Material) -> Section:
    """Everything that no source gives, and what no data of this kind can decide."""
    blocks: list[Block | Subsection] = []
    if m.simulated:
        population = _population(m)
        if population is not None:
            blocks += _identified(m, population)
    found = tuple(words(Run(f"{place}: ", "strong"), w.sentence(text)) for place, text in assumptions(m.protocol))
    if found:
        blocks.append(Subsection("In the protocol", (Paragraph(words("No source gives these; they are choices, and each can be changed in the protocol file.")), Listing(found))))
    missing = "Participants lost or withdrawn are taken to have the same risk afterwards as those who stayed (uninformative censoring). Measurements that are missing are taken to be missing at random, given the arm and the earlier measurements."
    inner: list[Block] = [Paragraph(words(missing))]
    if m.notes:
        inner.append(Listing(tuple(words(w.sentence(note)) for note in m.notes)))
    blocks.append(Subsection("In the analysis", tuple(inner)))
    return Section("assumed", "What is assumed, and what cannot be known", tuple(blocks))


def _population(m: Material) -> PopulationFile | None:
    return load_population(m.protocol.simulation.population).file if m.protocol.simulation else None


def _identified(m: Material, population: PopulationFile) -> list[Subsection]:
    blocks: list[Block] = [Paragraph(words("Different beliefs about the treatment fit the published trials about equally well. A simulated trial must choose one of them; these are the named choices:"))]
    provenance = m.record.manifest.provenance if m.record is not None else None
    used = (provenance.preset if provenance else None) or population.default.preset
    body = []
    for name, preset in population.presets.items():
        settings = "; ".join(f"{_dial(population, k)} {_setting(v)}" for k, v in preset.set.items())
        here = Run("used here", "strong") if name == used else Run("")
        body.append(row(f"{name}: {preset.label}", w.sentence(preset.meaning), settings, words(here)))
    blocks.append(Table("table-presets", "Beliefs about the treatment that the published trials do not tell apart",
                        columns(["Choice", "Meaning", "Settings", ""], 4, [1.4, 2.4, 2.4, 0.8]), tuple(body), stack=True))  # fmt: skip
    if used == population.default.preset:
        blocks.append(Paragraph(words(Run("Why this one by default. ", "strong"), w.sentence(population.default.reason))))
    if provenance and provenance.dials:
        dials = "; ".join(f"{_dial(population, k)} = {v:g}" for k, v in provenance.dials.items())
        blocks.append(Paragraph(words(Run("As used in this trial. ", "strong"), w.sentence(dials))))
    blocks.append(Listing(tuple(words(w.sentence(text)) for text in population.not_identified)))
    rows_ = [
        row(w.capital(parameter.meaning), f"{parameter.value:g} {parameter.unit}".strip(), parameter.status, _population_sources(parameter), parameter.note or "")
        for parameter in (*population.parameters.values(), *population.habits.values())
    ]
    statuses = "Literature: read in a publication. Fitted: adjusted until the published results were met. Convention: fixed, because the data cannot tell. Assumed: a guess, marked as one."
    table = Table("table-parameters", "The virtual participants in numbers",
                  columns(["What", "Value", "Status", "Source", "Note"], 5, [3, 1.2, 0.9, 1.1, 2]), tuple(rows_), (statuses,), stack=True)  # fmt: skip
    return [Subsection("What cannot be known from the published trials", tuple(blocks)), Subsection("The virtual participants", (table,))]


def _dial(population: PopulationFile, name: str) -> str:
    dial = population.dials.get(name)
    return lower_first(dial.meaning) if dial is not None else name.replace("_", " ")


def _setting(value: float | list[str]) -> str:
    return w.listed(value) if isinstance(value, list) else f"{value:g}"


def _population_sources(parameter: ParameterRow) -> str:
    return ", ".join(parameter.source) if parameter.source else ""


def assumptions(protocol: Protocol) -> list[tuple[str, str]]:
    """Every place of the protocol that says it is assumed: its place in words, and the reason."""
    found: list[tuple[str, str]] = []

    def walk(value: Any, place: str) -> None:
        if isinstance(value, ProtocolBlock):
            if value.assumed:
                found.append((w.capital(place), value.assumed))
            for name in type(value).model_fields:
                walk(getattr(value, name), _place(place, name, value))
        elif isinstance(value, dict):
            for key, inner in value.items():
                label = getattr(inner, "label", None)
                walk(inner, f"{place}, {lower_first(label) if label else str(key).replace('_', ' ')}")
        elif isinstance(value, list | tuple):
            for inner in value:
                label = getattr(inner, "label", None) or getattr(inner, "id", None)
                walk(inner, f"{place}, {lower_first(str(label))}" if label else place)

    walk(protocol, "")
    return [(place.strip(", ") or protocol.protocol, text) for place, text in found]


def _place(place: str, name: str, _: ProtocolBlock) -> str:
    words_ = name.rstrip("_").replace("_", " ")
    return f"{place}, {words_}".strip(", ")


# --- the checklist, how to reproduce, the words ------------------------------------------------------------


def checklist(m: Material) -> Section:
    """CONSORT 2025, item by item."""
    funding = f"{m.protocol.design.sponsor} sponsored the real trial" if m.protocol.design.sponsor else "not in the protocol file"
    people = "Not applicable: the software enrolled and assigned virtual participants" if m.simulated else "Not available in the record"
    numbers = {"top": "", "minute": "minute"}
    body = []
    for item, topic, section, where in consort.CHECKLIST:
        text = where.format(funding=funding, people=people) if "{" in where else where
        target = numbers.get(section, section)
        body.append(row(item, topic, words(link(text, f"#{target}") if target else text)))
    return Section(
        "consort", "CONSORT 2025 checklist",
        (Paragraph(words("The items that a report of a randomised trial should answer (CONSORT 2025, BMJ 2025;389:e081123), in our own short words, and where this report does.")),
         Table("table-checklist", "Where each item is answered", columns(["Item", "Topic", "Where"], 3, [0.5, 2.4, 3]), tuple(body))),
    )  # fmt: skip


def reproduce(m: Material) -> Section:
    """Command, seed, hashes, versions; sources."""
    blocks: list[Block | Subsection] = []
    command = m.provenance.get("Command")
    if command:
        blocks += [Paragraph(words("The same command with the same version gives the same bytes, on any number of cores:")), Code(command)]
    body = [row(name, words(Run(value, "code"))) for name, value in m.provenance.items() if name != "Command"]
    body.append(row("SHA-256 of the protocol", words(Run(sha256(m.protocol), "code"))))
    body.append(row("Written by", f"Equipoise {__version__}"))
    blocks.append(Table("table-provenance", "What this report was made from", columns(["", "Value"], 2, [1, 3]), tuple(body)))
    if m.protocol.references:
        points = tuple(
            words(Run(f"{key}  ", "strong"), reference.text, *([" ", link(reference.address, reference.address)] if reference.address else []))
            for key, reference in m.protocol.references.items()
        )
        blocks.append(Subsection("Sources of the published figures", (Listing(points),)))
    return Section("reproduce", "How to reproduce this", tuple(blocks))


def glossary(m: Material) -> Section:
    """The few terms that a reader may not use every day."""
    terms = [
        ("Hazard ratio", "how often an event happens per time in one arm, divided by the same in the other. 1 means equally often, 0.5 half as often."),
        (f"{100 * m.level:g}% interval", "a range that would hold the true value in that share of repeated trials (confidence interval)."),
        ("P", "how often chance alone would give a difference at least this large if there were none. It is not the probability that the treatment works."),
        ("Intention to treat", "everybody is analysed in the arm they were allocated to, whatever they received."),
        ("Number at risk", "participants without an event and still observed at that time."),
        ("Competing event", "an event after which the one of interest can no longer happen, such as death before disease."),
        ("Person-years", "the years of observation of all participants added up. 100 person-years: 100 people for one year, or 50 for two."),
        ("Mixed model", "a way to average many measurements of the same people without counting anybody twice, also when some are missing."),
        ("Median and quartiles", "the middle value, and the values below which a quarter and three quarters of the people lie."),
    ]  # fmt: skip
    cycles = any(r.kind == "cycles" for r in m.protocol.regimens.values())
    if cycles:
        terms.append(("Cycle", "one course of the drug. Induction: the fixed courses at the start. Maintenance: later courses, given when the measure is short of the goal."))
    return Section("terms", "Words used", (Listing(tuple(words(Run(f"{a}: ", "strong"), b) for a, b in terms)),))
