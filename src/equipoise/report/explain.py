"""The page of an explanation: which explanations agree with what was published, which do not, what would
tell.

Written for a clinician who has five minutes: the answer first, then the picture, what is excluded, what more
evidence would do, what trial would have told, and the lesson for the next design."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from equipoise.report import explain_figures, html
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
    Run,
    Section,
    Subsection,
    Table,
    columns,
    row,
    words,
)
from equipoise.report.explain_figures import Mark, Panel
from equipoise.report.repeating import COMMAND, again, made_from
from equipoise.simulate.ridge.expected import DEATHS, DISEASES, LATER, PRIMARY, RECENT, Point
from equipoise.simulate.ridge.explaining import POWER, TOLERANCE, Explanation, Part
from equipoise.simulate.ridge.findings import TAUS, Findings, Plane, Range
from equipoise.simulate.ridge.lesson import MOST_EVENTS, RIGHT
from equipoise.simulate.ridge.likelihood import DROP_FOUR
from equipoise.simulate.ridge.published import Published
from equipoise.simulate.ridge.surface import PSI_LAST, TAU_USUAL

PAGE = "explain.html"
EVIDENCE = {
    "primary": "primary hazard ratios",
    "all": "all hazard ratios",
    "recent": "with events by time since a cycle, if true of every event",
    "subgroup": "by subgroup at entry",
}
"""What the settings are held against, in words."""
CUT = (
    "Each picture is a cut through the four dials at one τ and one ψ. Its 95% region lies within 3.00 of the "
    "largest log likelihood that any setting of all four has. With more than two hazard ratios in the "
    f"evidence that is narrower than a 95% region of all four dials, which goes down to {DROP_FOUR:.2f}."
)
"""What a region is."""
UNKNOWN = "not known with so few people"
"""Said where the expectations are not known well enough to tell."""
SYMBOL = {"phi": "φ", "rho": "ρ", "psi": "ψ"}


def write_explanation(
    findings: Findings,
    tables: Mapping[str, pl.DataFrame],
    out: Path,
    *,
    provenance: Mapping[str, str] | None = None,
) -> Path:
    """Write explain.html into the folder `out` and return where it is. The page needs no network and no
    script. `tables`: those of the findings. Same arguments, same bytes."""
    path = Path(out) / PAGE
    path.write_bytes(html.page(document(findings, tables, provenance or {})).encode("utf-8"))
    return path


def document(
    findings: Findings, tables: Mapping[str, pl.DataFrame], provenance: Mapping[str, str]
) -> Document:
    """The whole page."""
    x = findings.explanation
    sections = (
        minute(findings, tables), ridge(findings), excluded(findings), other_dials(findings), more(findings),
        telling(x, tables["told_apart"]), design(x, tables["lesson"]), ratios(x), methods(findings),
        repeating(x, provenance),
    )  # fmt: skip
    header = (
        ("Trials", trials_of(x)),
        ("Virtual people", f"{w.count(x.participants)} of each trial, each in both arms"),
        ("Simulated trials", f"{w.count(x.trials)} of each under each explanation"),
        ("Seed", str(x.seed)),
    )
    return Document(
        f"{trials_of(x)}: which explanations agree with the results",
        "Do the new cells protect? Does the treatment harm? What the published hazard ratios can tell",
        "SIMULATED EXPECTATIONS",
        header,
        tuple(section for section in sections if section.blocks),
    )


def trials_of(x: Explanation) -> str:
    """The names of the trials."""
    return w.listed([part.published.trial for part in x.parts])


def told(findings: Findings) -> list[str]:
    """The answer in plain sentences, for the terminal."""
    return [_published(findings.explanation), SYMBOLS, *_verdict(findings), _combined(findings)]


SYMBOLS = (
    "φ: the share of the new cells that protect as others do, from 0 to 1. ρ: the excess hazard just after a "
    "full cycle, as a multiple of the hazard. A, B, ...: the presets of the virtual population."
)


# --- in one minute ------------------------------------------------------------------------------------------


def minute(findings: Findings, tables: Mapping[str, pl.DataFrame]) -> Section:
    """The answer."""
    ranges = {(r.dial, r.given): r for r in findings.ranges("primary")}
    phi = next(r for (dial, given), r in ranges.items() if dial == "phi" and given.startswith("no harm"))
    rho = next(r for (dial, given), r in ranges.items() if dial == "rho" and given.startswith("phi 1"))
    facts = [
        Fact(
            _ends(phi), "protecting share of the new cells that agrees, if nothing harms",
            "95% interval of φ at ρ 0",
        ),
        Fact(
            _ends(rho), "excess hazard just after a cycle that agrees, if every cell protects",
            f"95% interval of ρ at φ 1, fading with {TAU_USUAL:g} days",
        ),
    ]  # fmt: skip
    lesson = tables["lesson"]
    strongest = lesson.sort("expected hazard ratio").row(0, named=True)
    facts.append(
        Fact(
            _percent(strongest["power"]),
            f"power that {strongest['trial']} had under preset {strongest['preset']}",
            f"expected hazard ratio {w.number(strongest['expected hazard ratio'], 2)}",
        )
    )
    asked = (
        "A treatment raises the CD4 count, and the patients are no better off. Two things could be so: the "
        "cells that the treatment brings protect less than others (φ, from 0 to 1), or the treatment "
        "itself harms for a while (ρ, the excess hazard just after a full cycle, which fades with τ days). "
        "A third thing hides in the background: how much of the link between a low count and death is no "
        "effect of the count (ψ). The same virtual people were followed in both arms of each trial under "
        "every combination, and the hazard ratios that a trial should then have found were held against "
        "those that were published."
    )
    paragraphs = [Paragraph(words(Run(title, "strong"), text)) for title, text in _paragraphs(findings)]
    mind = Callout(
        "What to mind",
        (
            words(
                "All this holds within one model of virtual participants, whose other parameters are kept "
                "as they are. It says which explanations the published figures leave open, not which one "
                "is true."
            ),
        ),
    )
    return Section(
        "minute", "In one minute", (Paragraph(words(asked)), Facts(tuple(facts)), *paragraphs, mind)
    )


def _paragraphs(findings: Findings) -> list[tuple[str, str]]:
    verdict = _verdict(findings)
    return [
        ("What was published. ", _published(findings.explanation)),
        ("What is not excluded. ", verdict[0]),
        ("What is excluded. ", verdict[1]),
        ("Together. ", _combined(findings)),
    ]


def _published(x: Explanation) -> str:
    each = [
        f"{part.published.trial} "
        f"{_with_interval(part.published.primary.value, part.published.primary.interval)}"
        for part in x.parts
    ]
    return f"Hazard ratio of the primary endpoint: {w.listed(each)}."


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    low, high = interval if interval is not None else (math.nan, math.nan)
    return w.with_interval(value, low, high, 2)


def _verdict(findings: Findings) -> tuple[str, str]:
    """What is not excluded, and what is."""
    ranges = findings.ranges("primary")
    alone = next(r for r in ranges if r.given.startswith("no harm"))
    full = next(r for r in ranges if r.given.startswith("phi 1"))
    none = next(r for r in ranges if r.given.startswith("phi 0"))
    if alone.everything:
        open_ = (
            "Without any harm every protecting share agrees with the results, from none of the cells to "
            f"all of them (likeliest {w.number(alone.best, 2)})."
        )
    else:
        open_ = f"Without any harm, protecting shares from {_ends(alone)} agree with the results."
    fading = f"that fades with {TAU_USUAL:g} days"
    open_ += f" If every cell protects, an excess hazard ρ {fading} agrees as well from {_ends(full)}."
    shut = " ".join(
        f"If {who}, no excess hazard {fading} is excluded within what was looked at."
        if found.open_high
        else f"If {who}, an excess hazard just after a cycle {fading} is excluded above ρ "
        f"{w.number(found.high, 2)}."
        for who, found in (("no cell protects", none), ("every cell does", full))
    )
    shut += " A harm that fades faster or more slowly has limits of its own."
    return open_, shut


def _combined(findings: Findings) -> str:
    x = findings.explanation
    plane = findings.plane("primary", TAU_USUAL, x.psi)
    where = [
        f"{p.name} ({w.number(value, 2)})"
        for p, value in zip(x.presets, _below(findings, "primary"), strict=True)
    ]
    return (
        f"Of all combinations of φ from 0 to 1 and ρ from 0 to {w.number(float(plane.rho[-1]), 0)} that "
        f"fade with {TAU_USUAL:g} days, {w.number(100 * plane.compatible, 0)}% agree at the 95% level. Log "
        f"likelihood below the largest, by preset: {', '.join(where)}; one below −3.00 is excluded."
    )


def _below(findings: Findings, which: str) -> list[float]:
    x = findings.explanation
    values = x.of_named(which)[: len(x.presets)]
    top = max(findings.best(which), float(values.max()))
    return [float(value) - top for value in values]


def _ends(r: Range) -> str:
    return f"{w.number(r.low, 2)} to {w.number(r.high, 2)}"


def _percent(share: float | None) -> str:
    return w.NONE if share is None else f"{w.number(100 * share, 0)}%"


# --- the pictures -------------------------------------------------------------------------------------------


def _panel_of(findings: Findings, plane: Plane, title: str) -> Panel:
    from equipoise.simulate.ridge.findings import PHI

    x = findings.explanation
    marks = tuple(
        Mark(p.name, p.point.phi, p.point.rho)
        for p in x.presets
        # without harm the time constant means nothing
        if (p.point.tau == plane.tau or p.point.rho == 0) and p.point.psi == plane.psi
    )
    return Panel(title, PHI, plane.rho, plane.below, marks)


def _plane_table(name: str, planes: list[tuple[str, Plane]]) -> Table:
    """What the pictures show, in numbers: the 95% interval of rho at some functional shares is in the CSV."""
    rows = [
        row(
            title, w.number(plane.tau, 0), w.number(plane.psi, 2), f"{w.number(100 * plane.compatible, 0)}%",
            f"{w.number(100 * plane.compatible_four, 0)}%",
            *(w.number(float(plane.below[i, j]), 2) for i, j in ((0, 0), (-1, 0), (0, -1), (-1, -1))),
        )
        for title, plane in planes
    ]  # fmt: skip
    top = "largest ρ"
    return Table(
        f"table-{name}", "The regions in numbers",
        columns(
            ["", "τ (days)", "ψ", "of the picture agrees", "if cut for four dials", "at φ 0, ρ 0",
             "at φ 1, ρ 0", f"at φ 0, {top}", f"at φ 1, {top}"]
        ),
        tuple(rows),
        ("The last four columns: log likelihood below its largest value; "
         f"below −3.00 is outside the 95% region; cut for four dials, below −{w.number(DROP_FOUR, 2)}.",),
    )  # fmt: skip


def ridge(findings: Findings) -> Section:
    """The picture."""
    x = findings.explanation
    planes = [
        (w.capital(EVIDENCE[which]), findings.plane(which, TAU_USUAL, x.psi))
        for which in ("primary", "all")
        if which in x.evidence
    ]
    drawn = explain_figures.regions(
        "f-ridge", [_panel_of(findings, plane, title) for title, plane in planes], 2, 1, 290.0
    )
    caption = f"Protecting share and harm that agree with {trials_of(x)}"
    alt = (
        f"{caption}: the regions run from low φ with little harm up to high φ with more; "
        f"{w.number(100 * planes[0][1].compatible, 0)}% of the picture lies within the 95% region."
    )
    notes = [
        f"Harm fades with {TAU_USUAL:g} days, ψ {x.psi:g}. Circles are the presets; those whose harm fades "
        "at another pace are not shown."
    ]
    notes.append(CUT)
    if "all" in x.evidence:
        notes.append(f"All hazard ratios: {_all_of(x)}; their correlation is that of simulated trials.")
    words_ = (
        "Along the ridge the two cancel: more protection with more harm gives the same hazard ratio. The "
        "published figures say where across the ridge the truth may lie, and next to nothing about where "
        "along it."
    )
    return Section(
        "ridge", "The ridge",
        (
            Paragraph(words(words_)),
            Figure(
                "figure-ridge", caption, alt, drawn.wide, drawn.narrow, _plane_table("ridge", planes),
                tuple(notes),
            ),
            _presets(findings),
        ),
    )  # fmt: skip


def _all_of(x: Explanation) -> str:
    return "; ".join(
        f"{part.published.trial} "
        + ", ".join(
            f"{ratio.name} {_with_interval(ratio.value, ratio.interval)}" for ratio in part.published.all
        )
        for part in x.parts
    )


def _presets(findings: Findings) -> Table:
    x = findings.explanation
    heads = ["Preset", "φ", "ρ", "τ (days)"]
    heads += [f"{part.published.trial} HR" for part in x.parts]
    heads += [f"{EVIDENCE[which]}" for which in ("primary", "all") if which in x.evidence]
    columns_ = [_below(findings, which) for which in ("primary", "all") if which in x.evidence]
    rows = []
    for k, p in enumerate(x.presets):
        rows.append(
            row(
                f"{p.name} {p.label}", w.number(p.point.phi, 2), w.number(p.point.rho, 2),
                w.number(p.point.tau, 0) if p.point.rho else w.NONE,
                *(w.number(math.exp(float(part.named.of(PRIMARY)[k])), 3) for part in x.parts),
                *(w.number(each[k], 2) for each in columns_),
            )
        )  # fmt: skip
    return Table(
        "table-presets", "The presets: expected hazard ratio, and log likelihood below the largest",
        columns(heads),
        tuple(rows), ("HR: expected hazard ratio of the primary endpoint.",),
    )  # fmt: skip


def excluded(findings: Findings) -> Section:
    """Intervals of each dial."""
    x = findings.explanation
    tables = []
    for which in x.evidence:
        rows = []
        for r in findings.ranges(which):
            said = "nothing is excluded" if r.everything else ""
            if not said and r.open_high:
                said = f"looked at up to {w.number(r.looked_at[1], 2)}"
            rows.append(row(f"{SYMBOL[r.dial]}: {_given(r)}", w.number(r.best, 2), _ends(r), said))
        tables.append(
            Table(
                f"table-intervals-{which}", f"95% intervals of the dials: {EVIDENCE[which]}",
                columns(["", "Likeliest", "95% interval", "Remark"]), tuple(rows),
                ("Profile likelihood where the other dials are not given.",), folded=which != "primary",
            )
        )  # fmt: skip
    return Section("excluded", "What is excluded, and what is not", tuple(tables))


def _given(r: Range) -> str:
    text = r.given
    for name, symbol in (("phi", "φ"), ("rho", "ρ"), ("tau", "τ"), ("psi", "ψ")):
        text = text.replace(name, symbol)
    return text


def other_dials(findings: Findings) -> Section:
    """Faster and slower harm, more and less of a link that is not causal."""
    x = findings.explanation
    psis = sorted({0.0, x.psi, PSI_LAST})
    planes = [
        (f"τ {tau:g} d, ψ {psi:g}", findings.plane("primary", tau, psi)) for tau in TAUS for psi in psis
    ]
    drawn = explain_figures.regions(
        "f-dials", [_panel_of(findings, plane, title) for title, plane in planes], 3, 3, 170.0
    )
    caption = "The same for harm that fades in weeks, months or years, and for other frailty"
    first, last = planes[0][1], planes[-1][1]
    alt = (
        f"{caption}: {w.number(100 * first.compatible, 0)}% of the picture agrees at {planes[0][0]}, "
        f"{w.number(100 * last.compatible, 0)}% at {planes[-1][0]}."
    )
    text = (
        "Downwards the harm of a cycle fades more slowly; each row has its own scale, for a short harm must "
        f"be steep to matter. A harm that fades with {TAUS[-1]:g} days is a chronic one that adds up over "
        "cycles. To the right more of the link between a low count and death is frailty, and less of it an "
        "effect of the count. When ψ is changed, three numbers are changed with it so that the control arms "
        "look the same: the rates of opportunistic disease and of death linked to the count (the same "
        "expected numbers), and the power of the count in death (those who die have as much lower counts as "
        "before). " + _frailty(x)
    )
    rates = "; ".join(
        f"ψ {psi:g}: {rate.disease:.3f}, {rate.death:.3f}, {rate.power:.3f}"
        for psi, rate in sorted(x.rates.items())
        if psi in psis
    )
    return Section(
        "dials", "Fast harm, slow harm, frailty",
        (
            Paragraph(words(text)),
            Figure(
                "figure-dials", caption, alt, drawn.wide, drawn.narrow, _plane_table("dials", planes),
                (f"Factors on the two rates and on the power: {rates}.",),
            ),
        ),
    )  # fmt: skip


def _frailty(x: Explanation) -> str:
    """What frailty does to the best that cells could do."""
    psis = (0.0, PSI_LAST)
    best = [
        [math.exp(float(v)) for v in part.surface.at([Point(1.0, 0.0, TAU_USUAL, psi) for psi in psis])[:, 0]]
        for part in x.parts
    ]
    each = [
        f"{part.published.trial} {w.number(low, 2)} at ψ 0 and {w.number(high, 2)} at ψ {PSI_LAST:g}"
        for part, (low, high) in zip(x.parts, best, strict=True)
    ]
    return f"If every cell protects and nothing harms, the expected hazard ratio is then {w.listed(each)}."


def more(findings: Findings) -> Section:
    """What each further piece of evidence would do."""
    x = findings.explanation
    sets: list[str] = [which for which in ("primary", "recent", "subgroup") if which in x.evidence]
    if len(sets) < 2:
        return Section("more", "What more evidence would do", ())
    planes = [(w.capital(EVIDENCE[which]), findings.plane(which, TAU_USUAL, x.psi)) for which in sets]
    drawn = explain_figures.regions(
        "f-more", [_panel_of(findings, plane, title) for title, plane in planes], len(sets), 1, 240.0
    )
    blocks: list[Block | Subsection] = [Paragraph(words(text)) for text in _more_words(findings, sets)]
    caption = "What each further piece of evidence would do to the ridge"
    alt = f"{caption}: " + "; ".join(
        f"{title.lower()}, {w.number(100 * plane.compatible, 0)}% of the picture agrees"
        for title, plane in planes
    )
    blocks.append(
        Figure(
            "figure-more", caption, alt, drawn.wide, drawn.narrow, _plane_table("more", planes),
            (f"Harm fades with {TAU_USUAL:g} days, ψ {x.psi:g}.", CUT),
        )
    )  # fmt: skip
    return Section("more", "What more evidence would do", tuple(blocks))


def _more_words(findings: Findings, sets: list[str]) -> list[str]:
    out = []
    for part in findings.explanation.parts:
        if part.published.recent is not None and "recent" in sets:
            out.append(_recent_words(findings, part.published))
        if part.published.levels and "subgroup" in sets:
            out.append(_subgroup_words(findings.explanation, part))
    return out


def _recent_words(findings: Findings, found: Published) -> str:
    assert found.recent is not None
    near, late = found.recent
    ranges = findings.ranges("recent")
    harm = next(r for r in ranges if r.given.startswith("phi 1"))
    none = next(r for r in ranges if r.given.startswith("phi 0"))
    alone = next(r for r in findings.ranges("primary") if r.given.startswith("no harm"))
    return (
        f"{found.trial}, {w.lower_first(near.label)}: {_with_interval(near.value, near.interval)}; later "
        f"{_with_interval(late.value, late.interval)}. If what is true of that event were true of every "
        f"primary event (an assumption), harm would lie in {_ends(harm)} if all cells protect (likeliest "
        f"{w.number(harm.best, 2)}), and in {_ends(none)} if none does. If the harm acts on that event "
        f"alone, ρ is 0 for the primary endpoint, and the protecting share lies in {_ends(alone)} "
        f"(likeliest {w.number(alone.best, 2)})."
    )


def _subgroup_words(x: Explanation, part: Part) -> str:
    found = part.published
    named = [f"{level} {w.number(value, 2)}" for level, value in found.levels]
    default = [p.name for p in x.presets].index(x.default)
    expected = [
        w.number(math.exp(float(part.named.values[default, part.names.index(f"subgroup: {level}")])), 2)
        for level, _ in found.levels
    ]
    return (
        f"{found.trial} by {found.subgroup}: {w.listed(named)} (no intervals published; their errors are "
        "assumed, dividing the information by expected events): a contrast of "
        f"{w.number(_contrast(found), 2)}. Preset {x.default} expects {w.listed(expected)}; the largest "
        f"contrast that any setting of the dials gives is {w.number(_largest_contrast(part), 2)}."
    )


def _contrast(found: Published) -> float:
    """The last level's hazard ratio over the first one's."""
    return found.levels[-1][1] / found.levels[0][1]


def _largest_contrast(part: Part) -> float:
    first, last = (part.names.index(f"subgroup: {part.published.levels[k][0]}") for k in (0, -1))
    found = part.surface.values
    return math.exp(float((found[..., last] - found[..., first]).max()))


# --- what trial would have told -----------------------------------------------------------------------------


def telling(x: Explanation, table: pl.DataFrame) -> Section:
    """The events that tell explanations apart."""
    tables = []
    for part in x.parts:
        mine = table.filter(pl.col("trial") == part.published.trial)
        by = list(dict.fromkeys(mine["by"]))
        rows = []
        for one, two in dict.fromkeys(zip(mine["one"], mine["other"], strict=True)):
            cells = []
            for each in by:
                found = mine.filter(
                    (pl.col("one") == one) & (pl.col("other") == two) & (pl.col("by") == each)
                ).row(0, named=True)
                cells.append(_events_told(found))
            rows.append(row(f"{one} or {two}", *cells))
        observed = _observed(part)
        tables.append(
            Table(
                f"table-told-{part.crowd.setup.protocol.protocol.lower()}",
                f"Primary events with which a trial like {part.published.trial} chooses rightly in "
                f"{RIGHT:.0%} of cases",
                columns(["Which preset is true?", *(f"by {each}" for each in by)]), tuple(rows),
                (
                    f"{part.published.trial} had {observed}. In brackets the 95% Monte Carlo interval. "
                    f"Never: more than {w.count(MOST_EVENTS)} events are needed. {w.capital(UNKNOWN)}: the "
                    "expected difference is within three of its Monte Carlo errors, and one that would show "
                    "is not ruled out.",
                ),
            )
        )  # fmt: skip
    never = [
        f"{r['one']} or {r['other']} ({r['trial']})"
        for r in table.filter((pl.col("by") == PRIMARY) & (pl.col("answer") == "never")).iter_rows(named=True)
    ]
    text = (
        "Suppose the truth is one of two explanations, and a trial of the same design, only larger, has to "
        "say which. Trials were simulated under both and pooled to larger ones; the likelier explanation "
        "was chosen from the hazard ratio of the primary endpoint, and from those of opportunistic disease "
        "and death together."
    )
    blocks: list[Block | Subsection] = [Paragraph(words(text)), *tables]
    if never:
        blocks.append(
            Paragraph(
                words(
                    "By the primary endpoint alone, no trial of this design can tell: ", w.listed(never), "."
                )
            )
        )
    return Section("telling", "What trial would have told", tuple(blocks))


def _events_told(found: Mapping[str, Any]) -> str:
    events, low, high = found["events"], found["low"], found["high"]
    if found["answer"] == "not known":
        return UNKNOWN
    if events is None or low is None or high is None:
        return "never"
    return f"{_three(events)} ({_three(low)} to {_three(high)})"


def _three(value: float) -> str:
    """A count with its first two digits."""
    if value < 100:
        return w.count(value)
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return w.count(round(value / step) * step)


def _observed(part: Part) -> str:
    arms = (part.published.arm, part.protocol.analysis.reference_arm)
    figures = part.protocol.published.values()
    counts = [
        next(
            (
                f.value
                for f in figures
                if f.group == arm
                and f.parameter == "events"
                and part.published.primary.label.startswith(f.label)
            ),
            None,
        )
        for arm in arms
    ]
    if any(each is None for each in counts):
        return f"{w.count(part.simulated[next(iter(part.simulated))].events.mean())} expected events"
    return f"{w.count(sum(each for each in counts if each is not None))} events"


# --- the design lesson --------------------------------------------------------------------------------------


def design(x: Explanation, table: pl.DataFrame) -> Section:
    """Power at the size that was, and the size that would have been needed."""
    blocks: list[Block | Subsection] = [Paragraph(words(_planned(x, table)))]
    for part in x.parts:
        mine = table.filter(pl.col("trial") == part.published.trial)
        rows = []
        for r in mine.iter_rows(named=True):
            needed = r["events for 90% power"]
            rows.append(
                row(
                    r["preset"], w.number(r["expected hazard ratio"], 3),
                    f"{_percent(r['power'])} ± {w.number(100 * r['power error'], 1)}",
                    _percent(r["biomarker wins, endpoint does not"]), w.count(r["events"]),
                    w.NONE if needed is None else _three(needed),
                    w.NONE if needed is None else _three(r["participants for 90% power"]),
                )
            )  # fmt: skip
        notes = [
            f"From {w.count(x.trials)} simulated trials of {w.count(part.protocol.size.simulated)} "
            "participants under each preset (± Monte Carlo standard error), each analysed once at its end, "
            f"where z from {part.critical:.2f} on wins (the protocol's error and sides); events for power by "
            "Schoenfeld's formula from the expected hazard ratio, at the same level."
        ]
        for r in mine.filter(pl.col("power then").is_not_null()).iter_rows(named=True):
            notes.append(
                f"Checked by simulation: {w.count(r['simulated with participants'])} participants under "
                f"preset {r['preset']} win in {_percent(r['power then'])} ± "
                f"{w.number(100 * r['power then error'], 1)} of trials."
            )
        blocks.append(
            Table(
                f"table-lesson-{part.crowd.setup.protocol.protocol.lower()}", part.published.trial,
                columns(
                    [
                        "Preset", "Expected HR", "Power", "Biomarker wins, endpoint does not", "Events",
                        f"Events for {POWER:.0%}", "Participants for it",
                    ]
                ),
                tuple(rows), tuple(notes),
            )
        )  # fmt: skip
    return Section("design", "The lesson for a design", tuple(blocks))


def _planned(x: Explanation, table: pl.DataFrame) -> str:
    planned = [
        f"{part.published.trial} {part.protocol.size.hazard_ratio:g}"
        for part in x.parts
        if part.protocol.size.hazard_ratio is not None
    ]
    text = f"The trials counted on a hazard ratio of {w.listed(planned)}. " if planned else ""
    best = math.exp(min(float(part.named.of(PRIMARY)[: len(x.presets)].min()) for part in x.parts))
    hoped = [p.protocol.size.hazard_ratio for p in x.parts if p.protocol.size.hazard_ratio is not None]
    if hoped and best > max(hoped):
        text += (
            "No preset gives that: even if every new cell protects as a native one and nothing harms, the "
            f"model expects {w.number(best, 2)} at the best. "
        )
    misled = float(table["biomarker wins, endpoint does not"].to_numpy().min())
    return text + (
        f"Whichever preset is true, at least {_percent(misled)} of trials of that size show the gain of the "
        "biomarker and no benefit."
    )


# --- expected hazard ratios ---------------------------------------------------------------------------------


def ratios(x: Explanation) -> Section:
    """Expected hazard ratios at the presets, and at the table's settings."""
    blocks: list[Block | Subsection] = []
    for part in x.parts:
        figures = [
            name
            for name in part.names
            if name in (PRIMARY, DISEASES, DEATHS, RECENT, LATER) or name.startswith("subgroup: ")
        ]
        heads = [name.removeprefix("subgroup: ") for name in figures]
        heads = [
            {RECENT: "within 180 days of a cycle", LATER: "at other times"}.get(head, head) for head in heads
        ]
        names = [f"preset {p.name}" for p in x.presets]
        names += [f"φ {p.phi:g}, ρ {p.rho:g}, τ {p.tau:g}" for p in x.table]
        rows = [
            row(
                name,
                *(w.number(math.exp(float(part.named.values[k, part.names.index(f)])), 3) for f in figures),
            )
            for k, name in enumerate(names)
        ]
        errors = [float(part.named.errors[:, part.names.index(f)].max()) for f in figures]
        rows.append(row("largest Monte Carlo error", *(w.number(e, 4) for e in errors), kind="total"))
        simulated = part.simulated[x.default].cycles.mean(axis=0)
        blocks.append(
            Table(
                f"table-ratios-{part.crowd.setup.protocol.protocol.lower()}",
                f"{part.published.trial}: expected hazard ratios", columns(["Setting", *heads]), tuple(rows),
                (
                    f"Participants of the arm begin {w.number(float(simulated[1]), 1)} cycles, whose "
                    f"injections come to {w.number(float(simulated[0]), 1)} full cycles of 7.5 MIU: harm is "
                    "in proportion to these.",
                ),
                folded=True,
            )
        )  # fmt: skip
    return Section("ratios", "Expected hazard ratios", tuple(blocks))


# --- how it was done ----------------------------------------------------------------------------------------


def _reach(x: Explanation) -> str:
    """How far the published intervals of the primary hazard ratio reach on the log scale."""
    found = [part.published.primary.interval for part in x.parts]
    return w.listed([f"{math.log(high / low) / 2:.2f}" for low, high in (each for each in found if each)])


def methods(findings: Findings) -> Section:
    """Methods, errors, assumptions."""
    x = findings.explanation
    points = [
        "The same people with the same chances are walked through both arms of each protocol. What cycles "
        "they are given does not depend on these dials; their hazards are added up along the course, not "
        "drawn, so that little chance is left in a hazard ratio.",
        "Expected hazard ratio: the value to which Cox's estimate, with the strata of the protocol's plan, "
        "tends in an endless trial (Struthers and Kalbfleisch, Biometrika 1986;73:363).",
        f"Monte Carlo error of the log hazard ratios at the presets: at most {x.monte_carlo_error:.4f}, "
        f"by leaving out batches of people in turn (jackknife). Published intervals reach {_reach(x)} "
        "to either side.",
        "Hazard ratios between the settings that were worked out are interpolated by polynomials; at "
        f"{len(x.held_out)} settings held out they are off by at most {x.interpolation_error:.4f} on the "
        f"log scale (finer nodes are taken above {TOLERANCE:g}).",
        "Likelihood: the estimated log hazard ratio is normal with the published standard error; several "
        f"of one trial are jointly normal, correlated as in the simulated trials under preset {x.default}. "
        "Regions are cut as for two dials (χ² of two degrees of freedom), intervals as for one. " + CUT,
        "Without intervals (subgroups) the error is assumed: that of the primary hazard ratio, divided "
        "among the levels by expected events.",
        "Time since a cycle: within 180 days of the start of the last one, against the reference arm; at "
        "other times includes everybody who never had one.",
        "Presets that set other dials too are left out: " + w.listed(list(x.left_out)) + "."
        if x.left_out
        else "Every preset of the virtual population is shown.",
    ]
    return Section("methods", "How it was done", (Listing(tuple(words(text) for text in points)),))


def repeating(x: Explanation, provenance: Mapping[str, str]) -> Section:
    """Command, seed, version."""
    part = x.parts[0]
    lines = [
        ("Seed", words(Run(str(x.seed), "code"))),
        ("Virtual population", words(Run(part.crowd.setup.population.name, "code"))),
        (
            "SHA-256 of the populations",
            words(Run(", ".join(p.crowd.setup.population_sha256[:16] for p in x.parts), "code")),
        ),
    ]
    blocks = (
        *again(provenance.get(COMMAND), "the same figures, on any number of threads"),
        made_from(lines, provenance),
    )
    return Section("repeating", "To repeat it", blocks)
