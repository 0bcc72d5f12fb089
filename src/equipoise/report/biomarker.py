"""The chapter of a report on what the trial can and cannot say about its biomarker: five minutes for a
clinician."""

from __future__ import annotations

from equipoise.analyse.surrogate.reported import (
    ADJUSTED,
    ANALYSIS,
    DOUBLING,
    EXPECTED,
    EXPLAINED,
    QUOTIENT,
    STEP,
    why_nothing_expected,
)
from equipoise.report import surrogate_figures
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Callout,
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
from equipoise.report.material import Material
from equipoise.report.surrogate_words import ASSUMED, answered, cannot_tell, not_harm, promised

NOT_IN_RESULTS = (
    "the table of results has no row about it; a new analysis of the record gives one, or says why not"
)
TITLE = "What this trial can and cannot say about the biomarker"


def biomarker(m: Material) -> Section | None:
    """Whether the biomarker and the outcome moved, what the one promised of the other, and what nobody
    can tell.

    None where the plan has no measure or no primary endpoint. Where nothing could be expected from the
    biomarker, it says why."""
    arms = m.arms.compared
    if not m.protocol.analysis.measures or m.primary is None or not arms:
        return None
    if m.protocol.endpoints[m.primary].role != "primary":
        return None
    name = m.protocol.items[m.protocol.analysis.measures[0].measure].label
    blocks: list[Block | Subsection] = []
    if len(arms) == 1:
        blocks += _comparison(m, arms[0], name)
    else:
        blocks += [Subsection(m.arms.label[arm], tuple(_comparison(m, arm, name))) for arm in arms]
    blocks.append(Subsection("What was assumed", (Listing(tuple(words(text) for text in ASSUMED)),)))
    blocks.append(
        Callout("What nobody can tell from this trial", tuple(words(text) for text in cannot_tell(name)))
    )
    if m.simulated:
        blocks.append(
            Paragraph(
                words(
                    "In a simulated trial the truth can be looked up: ", Run("equipoise surrogate", "code"),
                    " with the folder of this report shows every standard measure with the truth beside it.",
                )
            )
        )  # fmt: skip
    return Section("biomarker", TITLE, tuple(blocks))


def _comparison(m: Material, arm: str, name: str) -> list[Block]:
    pair = m.arms.pair(arm)
    new, old = m.arms.label[arm], m.arms.label[m.arms.reference]
    expected = m.rows.value(ANALYSIS, pair, EXPECTED, "estimate") is not None
    why = "" if expected else why_nothing_expected(m.notes, f"{new} against {old}") or NOT_IN_RESULTS
    told: list[tuple[str, str | Words]] = [
        ("Did the biomarker move? ", _moved(m, pair, name, new, old)),
        ("Did the outcome? ", _outcome(m, pair)),
        (
            "What did the biomarker promise? ",
            _promised(m, pair, name, old) if expected else f"It cannot be said: {why}.",
        ),
        ("And adjusted for the biomarker? ", _adjusted(m, pair, name)),
        ("Which share of the effect went through it? ", _share(m, pair) if expected else ""),
    ]
    figure = [_figure(m, arm, pair, name, new, old)] if expected else []
    return [*answered(told), *figure]


def _moved(m: Material, pair: str, name: str, new: str, old: str) -> str:
    measure = m.protocol.analysis.measures[0].measure
    parameter = "mean difference over follow-up"
    size, low, high = m.rows.triple(measure, pair, parameter)
    if size is None or low is None or high is None:
        return "The averages over follow-up could not be compared."
    unit = m.rows.unit(measure, pair, parameter, "estimate")
    places = w.measure_places(unit, size)
    text = (
        f"Averaged over follow-up, {name} was {w.number(abs(size), places)} {unit} "
        f"{'higher' if size > 0 else 'lower'} with {new} than with {old} ({w.interval(low, high, places)})"
    )
    return f"{text}." if low > 0 or high < 0 else f"{text}, a difference that chance alone could explain."


def _outcome(m: Material, pair: str) -> str:
    assert m.primary is not None
    ratio, low, high = m.rows.triple(m.primary, pair, "hazard ratio")
    label = w.lower_first(m.protocol.endpoints[m.primary].label)
    text = w.ratio_in_words(ratio, low, high, label)
    return text if ratio is None else f"{text} Hazard ratio {w.with_interval(ratio, low, high, 2)}."


def _promised(m: Material, pair: str, name: str, old: str) -> str:
    expected = m.rows.triple(ANALYSIS, pair, EXPECTED)
    quotient = m.rows.triple(ANALYSIS, pair, QUOTIENT)
    per, step = "per doubling", DOUBLING
    slope = m.rows.triple(ANALYSIS, pair, f"{step}, reference arm")
    if slope[0] is None:
        per, step = "per unit", STEP
        slope = m.rows.triple(ANALYSIS, pair, f"{step}, reference arm")
    said = f"hazard ratio {per} {w.with_interval(*slope, 2)}"
    related = slope[1] is None or slope[2] is None or not slope[1] <= 1 <= slope[2]
    return promised(name, old, said, related, w.with_interval(*expected, 2), quotient[1], quotient[2])


def _adjusted(m: Material, pair: str, name: str) -> str | Words:
    ratio, low, high = m.rows.triple(ANALYSIS, pair, ADJUSTED)
    return "" if ratio is None else not_harm(name, w.with_interval(ratio, low, high, 2))


def _share(m: Material, pair: str) -> str:
    share, low, high = m.rows.triple(ANALYSIS, pair, EXPLAINED)
    steady = m.rows.value(ANALYSIS, pair, EXPLAINED, "steadiness")
    if share is None:
        far = "" if steady is None else f", being {w.number(steady, 1)} standard errors from none"
        return f"No number is given: the effect is too uncertain for a share of it{far}."
    text = f"By the usual formula {w.with_interval(share, low, high, 2)}, where 1 is all of it"
    if steady is not None and steady < 4:
        text += (
            f"; the effect is only {w.number(steady, 1)} standard errors from none, so the share says little"
        )
    return f"{text}."


def _figure(m: Material, arm: str, pair: str, name: str, new: str, old: str) -> Figure:
    assert m.primary is not None
    found = [
        ("Observed", m.rows.triple(m.primary, pair, "hazard ratio")),
        (f"Expected from {name}", m.rows.triple(ANALYSIS, pair, EXPECTED)),
        ("Observed over expected", m.rows.triple(ANALYSIS, pair, QUOTIENT)),
        (f"Adjusted for {name}", m.rows.triple(ANALYSIS, pair, ADJUSTED)),
    ]
    lines = [
        surrogate_figures.Ratio(label, ratio, low, high)
        for label, (ratio, low, high) in found
        if ratio is not None and low is not None and high is not None
    ]
    drawn = surrogate_figures.ratios(f"biomarker-{arm}", lines)
    body = [(label, w.with_interval(*triple, 2)) for label, triple in found]
    for step in (DOUBLING, STEP):
        slopes = ((f"{step}, reference arm", old), (step, "both arms, given the arm"))
        for parameter, whom in slopes:
            slope = m.rows.triple(ANALYSIS, pair, parameter)
            if slope[0] is not None:
                label = w.capital(step.replace("the biomarker", name))
                body.append((f"{label}: {whom}", w.with_interval(*slope, 2)))
    said = "; ".join(f"{w.lower_first(label)} {text}" for label, text in body[:4])
    return Figure(
        f"figure-biomarker-{arm}",
        f"Hazard ratios, {new} against {old}: observed, expected from {name}, and adjusted for it",
        f"Hazard ratios: {said}.",
        drawn.wide,
        drawn.narrow,
        Table(
            f"table-biomarker-{arm}",
            "The hazard ratios of this figure, and how risk follows the biomarker",
            columns(["", f"Hazard ratio ({100 * m.level:g}% interval)"]),
            tuple(row(label, text) for label, text in body),
        ),
        (
            "Expected: from how risk follows the latest value in the reference arm, and how far treatment "
            "moved it. Left of 1: fewer events with treatment.",
        ),
    )
