"""The page about a biomarker as a surrogate: what it promised, what came, and what nobody can tell.

Written for two readers. A clinician reads the first part in five minutes; a statistician finds every
measure with its interval, its assumptions and its warnings, and, of simulated trials, the truth beside
it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from equipoise.analyse.surrogate import telling
from equipoise.analyse.surrogate.evaluation import Evaluation, Group
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.scale import per_unit
from equipoise.report import html, surrogate_figures
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Callout,
    Document,
    Fact,
    Facts,
    Figure,
    Listing,
    Paragraph,
    Row,
    Section,
    Subsection,
    Table,
    Words,
    columns,
    row,
    words,
)
from equipoise.report.figures import Drawn
from equipoise.report.repeating import COMMAND, again, made_from
from equipoise.report.surrogate_words import answered, cannot_tell, not_harm, promised
from equipoise.simulate.surrogacy.beside import hazard_ratio
from equipoise.simulate.surrogacy.between import ALL, MEANING, BetweenTrials
from equipoise.simulate.surrogacy.characteristics import FEWEST_ANSWERS, METHODS, Characteristics
from equipoise.simulate.surrogacy.truth import Quantity, Truth

PAGE = "surrogate.html"


@dataclass(frozen=True)
class SurrogateMaterial:
    """All that the page is made from. `truths`: by name of the measure that they stand beside.
    `no_truth`: why there are none, where the trial is simulated."""

    evaluation: Evaluation
    truth: Truth | None
    no_truth: str
    truths: Mapping[str, Quantity]
    characteristics: Characteristics | None
    between: BetweenTrials | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the participants are virtual."""
        return self.truth is not None or bool(self.no_truth)

    def measure(self, name: str) -> Measure:
        """A measure by its name. Raises KeyError."""
        found = next((m for m in self.evaluation.measures if m.name == name), None)
        if found is None:
            raise KeyError(name)
        return found


def number(x: float, scale: str) -> str:
    """As on the terminal, with a true minus sign."""
    return telling.number(x, scale).replace("-", w.MINUS) if not math.isnan(x) else w.NONE


def value(measure: Measure) -> str:
    """Estimate and interval, with true minus signs."""
    return telling.value(measure).replace("-", w.MINUS)


def table(evaluation: Evaluation, truths: Mapping[str, Quantity]) -> pl.DataFrame:
    """The table of all measures, with the truth and its Monte Carlo error (null where it is not known)."""
    frame = evaluation.table()
    names = frame["name"].to_list()
    known = [truths.get(name) for name in names]
    return frame.with_columns(
        truth=pl.Series([None if q is None else q.value for q in known], dtype=pl.Float64),
        truth_error=pl.Series([None if q is None else q.error for q in known], dtype=pl.Float64),
    ).fill_nan(None)


def rendered(material: SurrogateMaterial) -> str:
    """The page as HTML. It needs no network and no script; same material, same bytes."""
    return html.page(document(material))


def document(m: SurrogateMaterial) -> Document:
    """The whole page. Sections that have nothing to say are left out."""
    trial = m.evaluation.trial
    sections = (
        minute(m),
        truth(m),
        measures(m),
        over_time(m),
        sensitive(m),
        between_units(m),
        many(m),
        simulated_units(m),
        methods(m),
        repeating(m),
    )
    header = [
        ("Biomarker", trial.marker_label),
        ("Outcome", trial.endpoint_label),
        ("Participants", w.count(trial.participants)),
        ("Events", w.count(int(trial.event.sum()))),
    ]
    return Document(
        f"{trial.marker_label} as a surrogate for {w.lower_first(trial.endpoint_label)}",
        f"{trial.treated_label} against {trial.reference_label}",
        "SIMULATED TRIAL" if m.simulated else "REAL DATA",
        tuple(header),
        tuple(section for section in sections if section is not None and section.blocks),
    )


# --- in five minutes ----------------------------------------------------------------------------------------


def minute(m: SurrogateMaterial) -> Section:
    """What a clinician needs."""
    trial, expected = m.evaluation.trial, m.evaluation.expected
    moved, outcome, _, given = m.evaluation.prentice.measures
    marker = trial.marker_label
    told: list[tuple[str, str | Words]] = [
        ("Did the biomarker move? ", _moved(moved, m)),
        ("Did the outcome? ", _outcome(outcome, m)),
        (
            "What did the biomarker promise? ",
            _promised(expected.expected, expected.observed_over_expected, m),
        ),
        ("And adjusted for the biomarker? ", "" if given.refused else not_harm(marker, value(given))),
        ("Which share went through it? ", _share(m)),
    ]
    blocks: list[Block | Subsection] = []
    if m.simulated:
        blocks.append(
            Callout(
                "No person took part in this trial.",
                (words("What is said here shows what a model does. It is no evidence about a treatment."),),
            )
        )
    blocks.append(Facts(_facts(m)))
    blocks += answered(told)
    figure = _forest(m)
    if figure is not None:
        blocks.append(figure)
    blocks.append(
        Callout("What nobody can tell from this trial", tuple(words(text) for text in cannot_tell(marker)))
    )
    return Section("minute", "In five minutes", tuple(blocks))


def _moved(measure: Measure, m: SurrogateMaterial) -> str:
    if measure.refused:
        return f"It cannot be said: {measure.refused}."
    trial = m.evaluation.trial
    marker, new, old = w.capital(trial.marker_label), trial.treated_label, trial.reference_label
    if measure.scale.startswith("ratio"):
        null = 1.0
        text = f"{w.number(measure.estimate, 2)} times as high with {new} as with {old}"
    else:
        null, way = 0.0, "higher" if measure.estimate > 0 else "lower"
        far = number(abs(measure.estimate), measure.scale)
        text = f"{far} {trial.marker_unit} {way} with {new} than with {old}"
    chance = ", a difference that chance alone could explain" if measure.low <= null <= measure.high else ""
    return f"{marker} after randomisation was {text} ({_interval(measure)}){chance}."


def _outcome(measure: Measure, m: SurrogateMaterial) -> str:
    if measure.refused:
        return f"It cannot be said: {measure.refused}."
    noun = w.lower_first(m.evaluation.trial.endpoint_label)
    text = w.ratio_in_words(measure.estimate, measure.low, measure.high, noun)
    return f"{text} Hazard ratio {value(measure)}."


def _promised(expected: Measure, quotient: Measure, m: SurrogateMaterial) -> str:
    if expected.refused:
        return f"It cannot be said: {expected.refused}."
    trial = m.evaluation.trial
    ends = (None, None) if quotient.refused else (quotient.low, quotient.high)
    per = f"per {per_unit(trial, m.evaluation.transform)}"
    found = m.evaluation.expected.slope
    slope = f"hazard ratio {per} {value(found)}"
    related = not found.low <= 1 <= found.high
    return promised(trial.marker_label, trial.reference_label, slope, related, value(expected), *ends)


def _share(m: SurrogateMaterial) -> str:
    share, known = m.evaluation.lin.fieller, m.evaluation.expected.slope.warnings
    if share.refused:
        text = f"By the usual formula there is no number for that: {share.refused}. "
    else:
        said = (f"{w.capital(each)}. " for each in share.warnings if each not in known)
        text = f"By the usual formula {value(share)} (1 is all of it). " + "".join(said)
    others = [
        f"{name} {value(measure)}"
        for name, measure in (
            ("by a model of events by a time", m.evaluation.freedman.fieller),
            ("by dynamic paths", m.evaluation.mediation.path.share),
            ("by the g-formula", m.evaluation.mediation.g_formula.share),
        )
        if not measure.refused
    ]
    if others:
        text += (
            f"Other methods give a number: {'; '.join(others)}. They measure different things and need not "
            "agree; where they do not, none of them is the share."
        )
    return text.strip()


def _interval(measure: Measure) -> str:
    return f"{100 * measure.confidence:g}% interval {value(measure).partition('(')[2].rstrip(')')}"


def _facts(m: SurrogateMaterial) -> tuple[Fact, ...]:
    moved, outcome, _, given = m.evaluation.prentice.measures
    facts = []
    for measure, label in (
        (moved, f"{m.evaluation.trial.marker_label}, {moved.scale}"),
        (outcome, "hazard ratio observed"),
        (m.evaluation.expected.expected, "hazard ratio expected from the biomarker"),
        (given, "hazard ratio adjusted for the biomarker"),
    ):
        if not measure.refused:
            span = value(measure).partition("(")[2].rstrip(")")
            known = m.truths.get(measure.name)
            truth = f"; truth {number(known.value, measure.scale)}" if known is not None else ""
            facts.append(Fact(number(measure.estimate, measure.scale), label, f"{span}{truth}"))
    return tuple(facts)


_IN_FOREST = (
    ("prentice.treatment_on_outcome", "Observed"),
    ("expected.expected", "Expected from the biomarker"),
    ("expected.observed_over_expected", "Observed over expected"),
    ("prentice.outcome_given_marker", "Adjusted for the latest value"),
)


def _forest(m: SurrogateMaterial) -> Figure | None:
    lines = [(m.measure(name), label) for name, label in _IN_FOREST]
    lines += [
        (each.arm_given_marker, f"Adjusted for the value at year {each.time:g}")
        for each in m.evaluation.landmarks
    ]
    shown = [(measure, label) for measure, label in lines if not measure.refused]
    if not shown:
        return None
    drawn = surrogate_figures.ratios(
        "f-ratios",
        [
            surrogate_figures.Ratio(
                label, measure.estimate, measure.low, measure.high,
                m.truths[measure.name].value if measure.name in m.truths else math.nan,
            )
            for measure, label in shown
        ],
    )  # fmt: skip
    said = "; ".join(f"{w.lower_first(label)} {value(measure)}" for measure, label in shown)
    note = "Bars: intervals. Left of 1: fewer events with treatment."
    if m.truths:
        note += " Upright strokes: the truth of the virtual population."
    return Figure(
        "figure-ratios", "Hazard ratios: observed, expected from the biomarker, and adjusted for it",
        f"Hazard ratios: {said}.", drawn.wide, drawn.narrow, None, (note,),
    )  # fmt: skip


# --- the truth ----------------------------------------------------------------------------------------------


def truth(m: SurrogateMaterial) -> Section | None:
    """What is true in the virtual population."""
    if m.no_truth:
        return Section("truth", "The truth", (Paragraph(words(f"Nothing is said here: {m.no_truth}.")),))
    known = m.truth
    if known is None:
        return None
    about = (
        f"{w.count(known.people)} virtual people were walked in both arms with the same chances; then again "
        "with treatment, the cells that it made switched off (counted, but of no use), and with its harm "
        "switched off. What is left without the cells is the direct effect; the rest of the total went "
        f"through the cells. Risks are compared at year {known.horizon:.2f}; in the reference arm the risk "
        f"is {w.number(100 * known.reference_risk.value, 1)}%. Behind ±: Monte Carlo standard errors."
    )
    lines = [
        row(label, _quantity(hazard_ratio(effect), 3), _percent(effect.risk_difference))
        for label, effect in (
            ("Total", known.total),
            ("Direct: with the cells off", known.direct),
            ("Through the cells: total less direct", known.mediated),
            ("The cells by themselves: with the harm off", known.without_harm),
        )
    ]
    if known.no_share:
        lines.append(row("Share through the cells", "none", "none"))
    else:
        lines.append(
            row(
                "Share through the cells",
                _quantity(known.share, 2),
                "none" if known.no_share_of_risk else _quantity(known.share_of_risk, 2),
                kind="total",
            )
        )
    shares: tuple[str, ...] = ()
    if known.no_share:
        shares = (f"No share: {known.no_share}.",)
    elif known.no_share_of_risk:
        shares = (f"No share of the risk difference: {known.no_share_of_risk}.",)
    return Section(
        "truth", "The truth, looked up in the model",
        (
            Paragraph(words(about)),
            Table(
                "table-truth", "True effects in the virtual population",
                columns(["", "Hazard ratio; share of its logarithm", "Risk difference; share of it"]),
                tuple(lines),
                ("A share above 1 means that something else undoes part of what the cells do.", *shares),
            ),
        ),
    )  # fmt: skip


def _quantity(q: Quantity, places: int) -> str:
    return f"{w.number(q.value, places)} ± {w.number(q.error, places)}"


def _percent(q: Quantity) -> str:
    return f"{w.number(100 * q.value, 2)}% ± {w.number(100 * q.error, 2)}%"


# --- every measure ------------------------------------------------------------------------------------------


def measures(m: SurrogateMaterial) -> Section:
    """Every measure, by question."""
    return Section("measures", "Every measure", tuple(_group(m, group) for group in m.evaluation.groups))


def _group(m: SurrogateMaterial, group: Group) -> Subsection:
    any_truth = any(each.name in m.truths for each in group.measures)
    several = len({each.method for each in group.measures}) > 1
    titles = ["Measure", "Scale", "Estimate", "p", *(["Truth"] if any_truth else [])]
    lines: list[Row] = []
    method = ""
    for each in group.measures:
        if several and each.method != method:
            lines.append(row(w.capital(each.method), kind="heading"))
        method = each.method
        cells = [
            w.capital(each.label), each.scale, "refused" if each.refused else value(each),
            "" if each.refused else w.p_value(each.p),
        ]  # fmt: skip
        if any_truth:
            known = m.truths.get(each.name)
            cells.append("" if known is None else number(known.value, each.scale))
        lines.append(row(*cells))
    blocks: list[Block] = [Paragraph(words(group.question))]
    if group.id == "prentice":
        points = (words(w.sentence(text)) for text in m.evaluation.prentice.words)
        blocks.append(Listing(tuple(points), ordered=True))
    widths = [3, 1.6, 2.2, 0.7, *([1] if any_truth else [])]
    table_of = Table(
        f"table-{group.id}", group.title, columns(titles, 2, widths), tuple(lines), _notes(group), stack=True
    )
    return Subsection(group.title, (*blocks, table_of))


def _notes(group: Group) -> tuple[str, ...]:
    """Each reason for a refusal and each warning, once."""
    reasons = dict.fromkeys(x.refused for x in group.measures if x.refused)
    warnings = dict.fromkeys(text for x in group.measures for text in x.warnings)
    return (*(f"Refused: {reason}." for reason in reasons), *(w.sentence(text) for text in warnings))


# --- pictures -----------------------------------------------------------------------------------------------


def over_time(m: SurrogateMaterial) -> Section | None:
    """Dynamic path analysis over time."""
    path = m.evaluation.mediation.path
    if not len(path.times):
        return None
    trial = m.evaluation.trial
    drawn = surrogate_figures.path("f-path", path)
    last = {name: float(getattr(path, name).value[-1]) for name in ("total", "direct", "indirect")}
    said = ", ".join(f"{name} {number(100 * x, '')}" for name, x in last.items())
    figure = Figure(
        "figure-path", "Effect of treatment on the cumulative hazard: total, past and through the biomarker",
        f"Differences of cumulative hazards at year {path.horizon:.2f}, times 100: {said}.",
        drawn.wide, drawn.narrow, None,
        (
            "Below 0: fewer events with treatment. Total = direct + indirect. Shaded: pointwise intervals of "
            "the parts; that of the total is in the table above. A cumulative hazard times 100 is near the "
            "number of events per 100 people while they are few; risk differences are in the table.",
        ),
    )  # fmt: skip
    text = (
        f"At each event, among those still at risk, treatment's effect on the latest {trial.marker_label} "
        "is multiplied by what that value adds to the hazard: the indirect effect. What treatment adds to "
        "the hazard beside it is the direct effect. It is causal only if nothing unmeasured moves both "
        "biomarker and outcome, which is the very thing in doubt."
    )
    return Section("path", "Through the biomarker and past it, over time", (Paragraph(words(text)), figure))


def sensitive(m: SurrogateMaterial) -> Section | None:
    """How the mediated share depends on what cannot be known: how much of the biomarker's slope is causal."""
    found = m.evaluation.mediation.sensitivity
    if found.refused or not found.fractions:
        return None
    lines = [
        row(
            f"{w.number(100 * each.fraction, 0)}%", _per_hundred(each.direct), _per_hundred(each.indirect),
            "refused" if each.share.refused else value(each.share),
        )
        for each in found.fractions
    ]  # fmt: skip
    text = (
        "Part of the link between biomarker and risk may be no effect of the biomarker: whoever recovers "
        "badly has a low count and a high risk. No data of this trial say how much. If only so much of the "
        "slope is causal, the effect splits as follows (differences of cumulative hazards, times 100: larger "
        "than the risk differences above where events are many)."
    )
    return Section(
        "sensitivity", "If part of the biomarker's link with risk is not causal",
        (
            Paragraph(words(text)),
            Table(
                "table-sensitivity", "Direct and indirect effect by the causal part of the slope",
                columns(["Causal part", "Past the biomarker", "Through it", "Share through it"]),
                tuple(lines),
            ),
        ),
    )  # fmt: skip


def _per_hundred(measure: Measure) -> str:
    return w.with_interval(100 * measure.estimate, 100 * measure.low, 100 * measure.high, 2)


def between_units(m: SurrogateMaterial) -> Section | None:
    """The effects within countries or sites."""
    found = m.evaluation.trial_level
    if found.regression is None:
        return None
    effects = found.effects
    drawn = surrogate_figures.units("f-units", found, m.evaluation.trial.marker_label, m.evaluation.transform)
    lines = [
        row(name, w.count(int(n)), w.count(int(d)), w.number(float(x), 3), w.number(math.exp(float(y)), 2))
        for name, n, d, x, y in zip(
            effects.names,
            effects.participants,
            effects.events,
            effects.on_marker,
            effects.on_outcome,
            strict=True,
        )
    ]
    scale = m.evaluation.transform
    figure = Figure(
        "figure-units", "Effect on the outcome against effect on the biomarker, by unit",
        f"{len(effects.names)} units; the table lists them.", drawn.wide, drawn.narrow,
        Table(
            "table-units-effects", "Effects within units",
            columns(["Unit", "Participants", "Events", f"Effect on the biomarker ({scale})", "Hazard ratio"]),
            tuple(lines),
        ),
        ("Area of a mark: events. Line and band: prediction for a new unit, by weighted regression.",),
    )  # fmt: skip
    return Section("units", "Between countries or sites", (figure,))


# --- many trials --------------------------------------------------------------------------------------------


def many(m: SurrogateMaterial) -> Section | None:
    """Operating characteristics."""
    found = m.characteristics
    if found is None:
        return None
    frame = found.table()
    text = (
        f"The trial was repeated {w.count(found.trials)} times under each preset of effect dials, with "
        f"{w.count(found.participants)} participants each. Every method was held against the truth of its "
        "preset. Answers: trials in which the method gave a number; it should refuse where none is defined. "
        f"Means and coverage are of the answers, and are left out below {FEWEST_ANSWERS} of them. Bias: with "
        "its Monte Carlo standard error, that of the truth included. Covered: of the intervals given, those "
        f"that hold the truth. Misled: of all trials. Risks are compared at year {found.horizon:.2f}."
    )
    blocks: list[Block | Subsection] = [Paragraph(words(text))]
    for method in METHODS:
        rows = frame.filter(pl.col("method") == method.name)
        blocks.append(_characteristic(found, rows, method.label, method.misleads, method.name))
    return Section("trials", "How often each method would have misled", tuple(blocks))


def _characteristic(
    found: Characteristics, rows: pl.DataFrame, label: str, misleads: str, name: str
) -> Subsection:
    places = 4 if name == "path" else 2
    labels = {s.preset: f"{s.preset}: {s.label}" for s in found.scenarios}
    lines = []
    for r in rows.iter_rows(named=True):
        of_answers = (w.NONE,) * 4
        if r["answered"] >= FEWEST_ANSWERS:
            of_answers = (
                w.number(r["mean"], places), _plus_minus(r["bias"], r["bias_error"], places),
                w.interval(r["low"], r["high"], places), _share_of(r["coverage"]),
            )  # fmt: skip
        lines.append(
            row(
                labels[r["preset"]], w.number(r["truth"], places), *of_answers, w.count(r["answered"]),
                _share_of(r["misled"]),
            )
        )  # fmt: skip
    heads = ["Preset", "Truth", "Mean", "Bias", "90% of the estimates", "Covered", "Answers", "Misled"]
    blocks: list[Block] = [Paragraph(words(f"It misleads when {misleads}."))]
    enough = rows.filter(pl.col("answered") >= FEWEST_ANSWERS)
    if enough.height and name != "prentice":
        named = [labels[preset] for preset in enough["preset"]]
        drawn = surrogate_figures.estimates(f"f-{name}", named, enough, label)
        blocks.append(
            Figure(
                f"figure-{name}", w.capital(label),
                f"Estimates of {label} by preset; the table has the numbers.",
                drawn.wide, drawn.narrow, None,
                ("Mark: median; bar: the middle 90% of the estimates; upright stroke: the truth.",),
            )
        )  # fmt: skip
    note = "Ratios: the mean is geometric, the bias a difference of logarithms." if name in (
        "observed", "expected", "adjusted", "landmark") else ""  # fmt: skip
    blocks.append(
        Table(
            f"table-{name}",
            w.capital(label),
            columns(heads, 1, [2.4, 1, 1, 1, 1.8, 1.1, 1.1, 1]),
            tuple(lines),
            (note,) if note else (),
            stack=True,
        )
    )
    return Subsection(w.capital(label), tuple(blocks))


def _share_of(x: float) -> str:
    return w.NONE if x is None or math.isnan(x) else f"{w.number(100 * x, 0)}%"


def simulated_units(m: SurrogateMaterial) -> Section | None:
    """Trial-level surrogacy with the simulated trials as units."""
    found = m.between
    if found is None:
        return None
    first = found.means[0].preset
    means = [
        row(
            f"{x.preset}: {x.label}", w.count(x.trials), _plus_minus(x.on_marker, x.on_marker_error),
            _plus_minus(x.on_outcome, x.on_outcome_error),
            _plus_minus(x.marker_difference, x.marker_difference_error),
            _plus_minus(x.outcome_difference, x.outcome_difference_error),
        )
        for x in found.means
    ]  # fmt: skip
    scale = m.evaluation.transform
    heads = [
        "Preset", "Trials", f"Effect on the biomarker ({scale})", "Log hazard ratio",
        f"Biomarker, less {first}", f"Log hazard ratio, less {first}",
    ]  # fmt: skip
    levels = ((ALL, "All presets, each trial under one of them", found.together), *found.within)
    lines, notes = [], []
    for preset, label, level in levels:
        title = label if preset == ALL else f"{preset}: {label}"
        shown = ["refused" if x.refused else value(x) for x in level.measures[:3]]
        lines.append(row(title, w.count(len(level.effects.names)), *shown))
        notes += [f"{title}: refused: {x.refused}." for x in level.measures[:3] if x.refused]
        notes += [f"{title}: {text}." for x in level.measures[:3] for text in x.warnings]
    about = (
        "Now each simulated trial is a unit, with its effect on the biomarker and its effect on the outcome. "
        "Trials of the same number have the same people under each preset; so presets are compared in the "
        "same people, and where all presets stand together each trial is taken under one of them, in turn."
    )
    blocks: list[Block | Subsection] = [Paragraph(words(about)), Paragraph(words(MEANING))]
    if found.together.regression is not None:
        blocks.append(
            Figure(
                "figure-simulated-units", "Effect on the outcome against effect on the biomarker, by trial",
                f"{len(found.together.effects.names)} simulated trials; the next table has the means.",
                *_both(surrogate_figures.units(
                    "f-simulated-units", found.together, m.evaluation.trial.marker_label,
                    m.evaluation.transform, found.presets_of,
                )),
                None,
                ("Area of a mark: events. Line and band: prediction for a new trial, by the regression.",),
            )
        )  # fmt: skip
    blocks += [
        Table(
            "table-preset-means", "Mean effects by preset, ± Monte Carlo standard error",
            columns(heads, 1, [2.4, 0.8, 1.5, 1.5, 1.5, 1.5]), tuple(means), stack=True,
        ),
        Table(
            "table-simulated-units", "Does the effect on the biomarker tell the effect on the outcome?",
            columns(
                ["Trials of", "Units", "R-squared", "R-squared, random effects", "Slope"],
                1, [2.4, 0.8, 1.8, 1.8, 1.8],
            ),
            tuple(lines), tuple(dict.fromkeys(notes)), stack=True,
        ),
    ]  # fmt: skip
    return Section("simulated-units", "Between simulated trials", tuple(blocks))


def _both(drawn: Drawn) -> tuple[str, str]:
    return drawn.wide, drawn.narrow


def _plus_minus(x: float, error: float, places: int = 3) -> str:
    return w.NONE if math.isnan(x) else f"{w.number(x, places)}\u00a0±\u00a0{w.number(error, places)}"


# --- how ----------------------------------------------------------------------------------------------------


def methods(m: SurrogateMaterial) -> Section:
    """Methods and assumptions, each once."""
    lines = []
    for group in m.evaluation.groups:
        for method in dict.fromkeys(x.method for x in group.measures if x.method):
            assumed = dict.fromkeys(a for x in group.measures if x.method == method for a in x.assumptions)
            lines.append(row(group.title, method, "; ".join(assumed)))
    return Section(
        "methods", "How, and what is assumed",
        (
            Table(
                "table-methods", "Methods and their assumptions",
                columns(["Question", "Method", "Holds only if"], 3, [1.2, 1.6, 3]), tuple(lines), stack=True,
            ),
        ),
    )  # fmt: skip


def repeating(m: SurrogateMaterial) -> Section:
    """Command, seed, version."""
    lines = [
        ("Bootstrap samples", w.count(m.evaluation.bootstrap)),
        ("Seed of the bootstrap", str(m.evaluation.seed)),
        ("Scale of the biomarker", m.evaluation.transform),
    ]
    blocks = (*again(m.provenance.get(COMMAND), "this page again"), made_from(lines, m.provenance))
    return Section("repeat", "How to repeat it", blocks)
