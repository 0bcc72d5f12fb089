"""What stands behind a trial: its protocol, what is assumed, the checklist, how to make it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from equipoise.protocol import describing, sha256
from equipoise.protocol.model import Protocol, Reference
from equipoise.report import consort, tables
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Listing,
    Paragraph,
    Run,
    Section,
    Subsection,
    Table,
    columns,
    link,
    row,
    words,
)
from equipoise.report.material import Material
from equipoise.report.repeating import COMMAND, again, made_from
from equipoise.report.words import lower_first
from equipoise.virtual.parameters import PopulationFile, load_population
from equipoise.virtual.parameters import Row as ParameterRow

# --- the protocol -----------------------------------------------------------------------------------------


def protocol(m: Material) -> Section:
    """What the protocol says: design, who, treatment, schedule, outcomes, analysis."""
    p = m.protocol
    blocks: list[Block | Subsection] = [
        _design(p),
        _eligibility(p),
        *_treatments(p),
        _schedule(p),
        _endpoints(p),
        _plan(m),
    ]
    return Section(
        "protocol",
        "What the protocol says",
        tuple(b for b in blocks if not isinstance(b, Subsection) or b.blocks),
    )


def _design(p: Protocol) -> Subsection:
    d, s, c, mon, r = p.design, p.size, p.calendar, p.monitoring, p.randomization
    names = [a for a in tables.Arms.of(p).names if a in r.ratio]
    ratio = ":".join(str(r.ratio[a]) for a in names)
    arms = w.listed([p.arms[a].label for a in names])
    how = f"{w.capital(r.method)}, {ratio} ({arms})"
    if r.blocks:
        how += f", blocks of {w.listed([str(b) for b in r.blocks])}"
    if r.best_arm_probability is not None:
        how += f", the better balancing arm with probability {r.best_arm_probability:g}"
    if r.strata:
        how += f", stratified by {w.listed([lower_first(p.strata[x].label) for x in r.strata])}"
    size = f"{w.count(s.planned)} planned"
    for value, text in (
        (s.randomized, "randomised"),
        (s.analysed, "analysed"),
        (s.simulated, "in a simulated trial"),
    ):
        size += f"; {w.count(value)} {text}" if value is not None else ""
    if s.power is not None and s.hazard_ratio is not None:
        size += f". Power {100 * s.power:g}% for a hazard ratio of {s.hazard_ratio:g}"
        size += f" with {w.count(s.primary_events)} primary events" if s.primary_events else ""
        size += f" at a {describing.SIDES[mon.sides]} level of {s.alpha:g}" if s.alpha else ""
    if rates := describing.planned_rates(p):
        size += f". Counted on: {rates}"
    monitoring = " ".join(w.sentence(w.capital(each)) for each in describing.monitoring_words(p))
    if mon.blinding:
        monitoring += " " + w.sentence(mon.blinding)
    lines = [
        ("Phase", d.phase),
        ("Allocation", w.sentence(d.allocation)),
        ("Masking", w.sentence(d.masking)),
        ("Comparison", w.sentence(d.comparison)),
        ("Randomisation", w.sentence(how)),
        ("Size", w.sentence(size)),
        (
            "Calendar",
            (
                f"First randomisation {_date(c.first_randomization)}, last "
                f"{_date(c.last_randomization)}; follow-up to {_date(c.end_of_follow_up)}."
            ),
        ),
        ("Monitoring", monitoring),
        ("Sponsor", w.sentence(d.sponsor) if d.sponsor else ""),
    ]
    body = tuple(row(a, b) for a, b in lines if b)
    return Subsection(
        "Design",
        (Table("table-design", "Design of the trial", columns(["", "As planned"], 2, [1, 4]), body),),
    )


def _date(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _eligibility(p: Protocol) -> Subsection:
    take = [c for c in p.eligibility.criteria if c.require is not None]
    leave = [c for c in p.eligibility.criteria if c.exclude is not None]
    blocks: list[Block] = []
    for title, group in (("To take part, all of these must hold:", take), ("None of these may hold:", leave)):
        if group:
            blocks.append(Paragraph(words(Run(title, "strong"))))
            blocks.append(
                Listing(tuple(words(Run(f"{c.id}  ", "strong"), w.sentence(c.text)) for c in group))
            )
    return Subsection("Who could take part", tuple(blocks))


def _treatments(p: Protocol) -> list[Subsection]:
    names = tables.Arms.of(p).names
    taken = [regimen for name in names for regimen in p.arms[name].regimens]
    points = tuple(
        words(
            Run(f"{arm.label}: ", "strong"),
            w.sentence(w.listed([p.regimens[r].label or p.regimens[r].drug for r in arm.regimens])),
        )
        for arm in (p.arms[name] for name in names)
    )
    found = [Subsection("Arms", (Listing(points),))]
    for name in dict.fromkeys([*taken, *sorted(p.regimens)]):
        regimen = p.regimens[name]
        if regimen.kind == "cycles":
            points = tuple(
                words(told.text, *_marks(told.marks)) for told in describing.told_dose_rules(p, name)
            )
            found.append(Subsection(describing.dose_rules_heading(p, name), (Listing(points),)))
    return found


def _marks(marks: str) -> tuple[str, ...]:
    return (f" {marks}",) if marks else ()


def _schedule(p: Protocol) -> Subsection:
    plan = describing.schedule_of_activities(p)
    body = [row("When", *plan.times), row("Window", *plan.windows)]
    body += [row(activity.label, *activity.marks) for activity in plan.activities]
    shape = columns(["", *plan.visits], 1 + len(plan.visits), [1.8] + [1.0] * len(plan.visits))
    table = Table("table-schedule", "Schedule of activities: what is done at which visit", shape, tuple(body))
    return Subsection("Schedule of activities", (table,))


def _endpoints(p: Protocol) -> Subsection:
    body = []
    for endpoint in (p.endpoints[name] for name in tables.endpoints_in_order(p)):
        first = w.listed([lower_first(p.events[k].label) for k in endpoint.first_of]).replace(" and ", " or ")
        text = f"Time to the first of: {first}" if len(endpoint.first_of) > 1 else f"Time to: {first}"
        if endpoint.terms:
            text += f", counting {len(endpoint.terms)} named conditions only"
        if endpoint.competing:
            text += f". Competing: {w.listed([lower_first(p.events[k].label) for k in endpoint.competing])}"
        body.append(row(w.capital(endpoint.label), w.capital(endpoint.role), w.sentence(text)))
    events = tuple(
        words(Run(f"{w.capital(e.label)}: ", "strong"), w.sentence(lower_first(e.definition)))
        for e in (p.events[kind] for kind in tables.events_in_order(p))
    )
    return Subsection(
        "Outcomes",
        (
            Table(
                "table-endpoints",
                "Outcomes",
                columns(["Outcome", "Role", "Definition"], 3, [1.6, 0.8, 3]),
                tuple(body),
            ),
            Listing(events),
        ),
    )


def _plan(m: Material) -> Subsection:
    p = m.protocol
    blocks: list[Block] = []
    points = []
    for plan in p.analysis.time_to_event:
        text = "Cox model" + (
            f" stratified by {w.listed([lower_first(p.strata[s].label) for s in plan.strata])}"
            if plan.strata
            else ", not stratified"
        )
        text += f"; ties by {plan.ties.capitalize()}'s method; log-rank test" + (
            " within the strata" if plan.strata else ""
        )
        points.append(
            words(Run(f"{w.capital(p.endpoints[plan.endpoint].label)}: ", "strong"), w.sentence(text))
        )
    for measure in p.analysis.measures:
        text = (
            f"means every {measure.by}; average difference over follow-up from "
            "a mixed model of all measurements"
        )
        text += ", on the log10 scale" if measure.transform == "log10" else ""
        points.append(
            words(Run(f"{w.capital(p.items[measure.measure].label)}: ", "strong"), w.sentence(text))
        )
    for subgroup in p.analysis.subgroups:
        points.append(
            words(
                Run(f"Subgroup, {lower_first(subgroup.label)}: ", "strong"),
                w.sentence("; ".join(sorted(subgroup.levels, key=tables.by_number))),
            )
        )
    blocks += [
        Paragraph(
            words(
                f"Analysis by {p.analysis.population}: everybody is analysed in the arm "
                "they were allocated to, whatever they received."
            )
        ),
        Listing(tuple(points)),
    ]
    rows_ = []
    for plan in p.analysis.time_to_event:
        e = plan.estimand
        if e is None:
            continue
        rows_.append(row(w.capital(p.endpoints[plan.endpoint].label), kind="heading"))
        rows_ += [
            row(name, w.sentence(value), kind="detail")
            for name, value in (
                ("Treatment", e.treatment),
                ("Population", e.population),
                ("Variable", e.variable),
                ("Summary", e.summary),
            )
        ]
        rows_ += [
            row("If this happens", w.sentence(f"{i.event}: {i.strategy}"), kind="detail")
            for i in e.intercurrent_events
        ]
    if rows_:
        blocks.append(
            Table(
                "table-estimands",
                ("What is estimated (estimands, ICH E9(R1))"),
                columns(["Attribute", "As planned"], 2, [1.2, 4]),
                tuple(rows_),
                (
                    (
                        "Treatment policy: what happens after the event counts as it is. "
                        "Composite: the event is part of the outcome. "
                        "While on treatment: only the time before the event counts. "
                        "Hypothetical: as if the event had not happened."
                    ),
                ),
            )
        )
    return Subsection("Analysis plan", tuple(blocks))


# --- assumptions ------------------------------------------------------------------------------------------


def assumed(m: Material) -> Section:
    """Everything that no source gives, and what no data of this kind can decide."""
    blocks: list[Block | Subsection] = []
    if m.simulated:
        population = _population(m)
        if population is not None:
            blocks += _identified(m, population)
    found = tuple(
        words(Run(f"{_place(each.place)}: ", "strong"), w.sentence(each.text))
        for each in sorted(describing.assumptions(m.protocol), key=lambda each: each.place)
    )
    if found:
        blocks.append(
            Subsection(
                "In the protocol",
                (
                    Paragraph(
                        words(
                            "No source gives these; they are choices, and each can "
                            "be changed in the protocol file."
                        )
                    ),
                    Listing(found),
                ),
            )
        )
    missing = (
        "Participants lost or withdrawn are taken to have the same risk afterwards as those "
        "who stayed (uninformative censoring). Measurements that are missing are taken to be "
        "missing at random, given the arm and the earlier measurements."
    )
    inner: list[Block] = [Paragraph(words(missing))]
    if m.notes:
        inner.append(Listing(tuple(words(w.sentence(note)) for note in m.notes)))
    blocks.append(Subsection("In the analysis", tuple(inner)))
    return Section("assumed", "What is assumed, and what cannot be known", tuple(blocks))


def _population(m: Material) -> PopulationFile | None:
    return load_population(m.protocol.simulation.population).file if m.protocol.simulation else None


def _identified(m: Material, population: PopulationFile) -> list[Subsection]:
    blocks: list[Block] = [
        Paragraph(
            words(
                "Different beliefs about the treatment fit the published trials about "
                "equally well. A simulated trial must choose one of them; these are the "
                "named choices:"
            )
        )
    ]
    provenance = m.record.manifest.provenance if m.record is not None else None
    used = (provenance.preset if provenance else None) or population.default.preset
    body = []
    for name, preset in population.presets.items():
        settings = "; ".join(f"{_setting_of(population, k)} = {_setting(v)}" for k, v in preset.set.items())
        here = Run("used here", "strong") if name == used else Run("")
        body.append(row(f"{name}: {preset.label}", w.sentence(preset.meaning), settings, words(here)))
    blocks.append(
        Table(
            "table-presets",
            ("Beliefs about the treatment that the published trials do not tell apart"),
            columns(["Choice", "Meaning", "Settings", ""], 4, [1.4, 2.4, 2.4, 0.8]),
            tuple(body),
            stack=True,
        )
    )
    if used == population.default.preset:
        blocks.append(
            Paragraph(
                words(Run("Why this one by default. ", "strong"), w.sentence(population.default.reason))
            )
        )
    if provenance and provenance.dials:
        body = [row(what, value) for what, value in _dials(population, provenance.dials)]
        blocks.append(
            Table(
                "table-dials",
                "The belief that this trial used",
                columns(["", "Value"], 2, [3, 1]),
                tuple(body),
            )
        )
    blocks.append(Paragraph(words("What the published trials leave open:")))
    blocks.append(Listing(tuple(words(w.sentence(text)) for text in population.not_identified)))
    rows_ = [
        row(
            w.capital(parameter.meaning),
            f"{parameter.value:g} {w.unit(parameter.unit)}".strip(),
            parameter.status,
            _population_sources(parameter),
            parameter.note or "",
        )
        for parameter in (*population.parameters.values(), *population.habits.values())
    ]
    statuses = (
        "Literature: read in a publication. Fitted: adjusted until the published results were "
        "met. Convention: fixed, because the data cannot tell. Assumed: a guess, marked as one."
    )
    table = Table(
        "table-parameters",
        "The virtual participants in numbers",
        columns(["What", "Value", "Status", "Source", "Note"], 5, [3, 1.2, 0.9, 1.1, 2]),
        tuple(rows_),
        (statuses,),
        stack=True,
    )
    return [
        Subsection("What cannot be known from the published trials", tuple(blocks)),
        Subsection("The virtual participants", (table,)),
    ]


def _dials(population: PopulationFile, used: Mapping[str, float | list[str]]) -> list[tuple[str, str]]:
    """The dials of a trial: what each means, and its value with its unit."""
    lines = []
    for name, value in used.items():
        if isinstance(value, list):
            meanings = [population.processes[n].meaning if n in population.processes else n for n in value]
            lines.append(("What that excess acts on", w.capital("; ".join(meanings)) or "Nothing"))
            continue
        dial = population.dials.get(name)
        meaning, unit = (dial.meaning, dial.unit) if dial else (name.replace("_", " "), "")
        lines.append((w.capital(meaning), f"{value:g} {w.unit(unit)}".strip()))
    return lines


def _setting_of(population: PopulationFile, name: str) -> str:
    dial = population.dials.get(name)
    return lower_first(dial.meaning) if dial else name.replace("_", " ")


def _setting(value: float | list[str]) -> str:
    return w.listed(value) if isinstance(value, list) else f"{value:g}"


def _population_sources(parameter: ParameterRow) -> str:
    return ", ".join(parameter.source) if parameter.source else ""


def _place(path: str) -> str:
    """A place in the protocol file, as a reader says it."""
    counted = re.sub(r"\[(\d+)\]", lambda m: f" {int(m[1]) + 1}", path)
    return w.capital(counted.replace("_", " ").replace(".", ", "))


# --- the checklist, how to reproduce, the words ------------------------------------------------------------


def checklist(m: Material) -> Section:
    """CONSORT 2025, item by item."""
    funding = (
        f"{m.protocol.design.sponsor} sponsored the real trial"
        if m.protocol.design.sponsor
        else "not in the protocol file"
    )
    people = (
        "Not applicable: the software enrolled and assigned virtual participants"
        if m.simulated
        else "Not available in the record"
    )
    numbers = {"top": "", "minute": "minute"}
    body = []
    for item, topic, section, where in consort.CHECKLIST:
        text = where.format(funding=funding, people=people) if "{" in where else where
        target = numbers.get(section, section)
        body.append(row(item, topic, words(link(text, f"#{target}") if target else text)))
    return Section(
        "consort",
        "CONSORT 2025 checklist",
        (
            Paragraph(
                words(
                    "The items that a report of a randomised trial should answer (CONSORT 2025, BMJ "
                    "2025;389:e081123), in our own short words, and where this report does."
                )
            ),
            Table(
                "table-checklist",
                "Where each item is answered",
                columns(["Item", "Topic", "Where"], 3, [0.5, 2.4, 3]),
                tuple(body),
            ),
        ),
    )


def reproduce(m: Material) -> Section:
    """Command, seed, hashes, versions; sources."""
    lines = [("SHA-256 of the protocol", words(Run(sha256(m.protocol), "code")))]
    blocks: list[Block | Subsection] = [
        *again(m.provenance.get(COMMAND), "the same bytes, on any number of cores"),
        made_from(lines, m.provenance, what="report"),
    ]
    if m.protocol.references:
        blocks.append(Subsection("Sources of the published figures", (_sources(m.protocol.references),)))
    population = _population(m) if m.simulated else None
    if population is not None:
        blocks.append(Subsection("Sources of the virtual participants", (_sources(population.references),)))
    return Section("reproduce", "How to reproduce this", tuple(blocks))


def _natural(item: tuple[str, Reference]) -> tuple[str, int, str]:
    """S2 before S10."""
    match = re.fullmatch(r"(\D*)(\d+)(.*)", item[0])
    return (match[1], int(match[2]), match[3]) if match else (item[0], 0, "")


def _sources(references: Mapping[str, Reference]) -> Listing:
    return Listing(
        tuple(
            words(Run(f"{key}  ", "strong"), reference.text, *_address(reference.address))
            for key, reference in sorted(references.items(), key=_natural)
        )
    )


def _address(address: str | None) -> tuple[str | Run, ...]:
    return (" ", link(address, address)) if address else ()


def glossary(m: Material) -> Section:
    """The few terms that a reader may not use every day."""
    terms = [
        (
            "Hazard ratio",
            (
                "how often an event happens per time in one arm, divided by the same in the "
                "other. 1 means equally often, 0.5 half as often."
            ),
        ),
        (
            f"{100 * m.level:g}% interval",
            (
                "a range that would hold the true value in that share of "
                "repeated trials (confidence interval)."
            ),
        ),
        (
            "P",
            (
                "how often chance alone would give a difference at least this large if there were "
                "none. It is not the probability that the treatment works."
            ),
        ),
        (
            "Intention to treat",
            ("everybody is analysed in the arm they were allocated to, whatever they received."),
        ),
        ("Number at risk", "participants without an event and still observed at that time."),
        (
            "Competing event",
            ("an event after which the one of interest can no longer happen, such as death before disease."),
        ),
        (
            "Person-years",
            (
                "the years of observation of all participants added up. 100 person-years: "
                "100 people for one year, or 50 for two."
            ),
        ),
        (
            "Mixed model",
            (
                "a way to average many measurements of the same people without counting "
                "anybody twice, also when some are missing."
            ),
        ),
        (
            "Median and quartiles",
            ("the middle value, and the values below which a quarter and three quarters of the people lie."),
        ),
    ]
    cycles = any(r.kind == "cycles" for r in m.protocol.regimens.values())
    if cycles:
        terms.append(
            (
                "Cycle",
                (
                    "one course of the drug. Induction: the fixed courses at the start. "
                    "Maintenance: later courses, given when the measure is short of the goal."
                ),
            )
        )
    return Section(
        "terms", "Words used", (Listing(tuple(words(Run(f"{a}: ", "strong"), b) for a, b in terms)),)
    )
