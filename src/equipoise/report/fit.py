"""The page of a fit: what the rows are estimated to be, what the published figures do not know of them, and
which figures the model misses.

Written for the methodologist who has to decide how far a virtual population can be believed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from equipoise import _atomic
from equipoise.design.normal import Z95
from equipoise.report import fit_figures, html
from equipoise.report import words as w
from equipoise.report.document import (
    Block,
    Callout,
    Column,
    Document,
    Fact,
    Facts,
    Figure,
    Listing,
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
from equipoise.report.fit_figures import Legend, Line
from equipoise.report.repeating import COMMAND, again, made_from
from equipoise.simulate.fitting import telling
from equipoise.simulate.fitting.predictive import Check
from equipoise.simulate.fitting.profile import LIMIT
from equipoise.simulate.fitting.running import Fit
from equipoise.simulate.fitting.uncertainty import FLAT, Direction, Uncertainty, in_words

PAGE = "fit.html"
OFF_THE_PICTURE = 8.0
"""Standard deviations at which a figure far from its prediction is drawn."""


def three(value: float, count: int = 3) -> str:
    """A number to three figures (or so many), with a true minus sign."""
    return telling.figures(value, count).replace("-", w.MINUS)


def write_fit(
    fit: Fit, out: Path, *, provenance: Mapping[str, str] | None = None, force: bool = False
) -> Path:
    """Write fit.html into the folder `out` and return where it is.

    The page needs no network and no script; same fit, same bytes. `provenance` adds lines to its last
    section; "Command" is the command that made the fit. Raises UserError when the page exists and `force` is
    not set, or when it cannot be written."""
    path = Path(out) / PAGE
    _atomic.refuse_existing(path, force, "another folder")
    content = html.page(document(fit, dict(provenance or {}))).encode("utf-8")
    with _atomic.new_file(path, force=force) as temporary:
        temporary.write_bytes(content)
    return path


def document(fit: Fit, provenance: Mapping[str, str]) -> Document:
    """The whole page. A comparison alone has no estimates, directions or profiles."""
    known = fit.uncertainty
    sections = [minute(fit)]
    if known is not None:
        sections += [estimates(fit, known), unseen(fit, known), *profiles(fit)]
    sections += [held_against(fit), methods(fit), repeating(fit, provenance)]
    population = fit.bench.population.file
    return Document(
        f"{population.name}: rows fitted to published figures"
        if known is not None
        else f"{population.name}: held against published figures",
        population.title,
        "FIT",
        (
            ("Population", f"{population.name} {population.version}"),
            ("Targets", fit.bench.targets.file.title),
            ("Figures", f"{len(fit.bench.targets.fitted)} fitted, {_held(fit)} held out"),
            ("Seed", str(fit.settings.seed)),
        ),
        tuple(sections),
    )


def _held(fit: Fit) -> int:
    return len(fit.bench.targets.targets) - len(fit.bench.targets.fitted)


# --- in one minute ------------------------------------------------------------------------------------------


def minute(fit: Fit) -> Section:
    """What came out, for somebody with a minute."""
    known = fit.uncertainty
    names = [plan.protocol for plan in fit.bench.targets.protocols.values()]
    blocks: list[Block | Subsection] = [
        Paragraph(
            words(
                Run("What was done. ", "strong"),
                f"{w.listed(names)} were simulated with {w.count(fit.settings.participants)} virtual "
                "participants "
                f"each, and their expected figures held against {len(fit.checks)} published ones, of which "
                f"{len(fit.bench.targets.fitted)} may be fitted and {_held(fit)} are held out. ",
                "" if known is None else f"{len(fit.bench.moving)} rows of the population file were moved.",
            )
        ),
        Facts(_facts(fit)),
    ]
    if known is not None:
        blocks += [
            Paragraph(words(Run("Estimates. ", "strong"), telling.moved(fit))),
            Paragraph(words(Run("What is not known. ", "strong"), _unknown(fit, known))),
        ]
    if fit.settings.draws and known is not None:
        blocks.append(Paragraph(words(Run("What the model misses. ", "strong"), _misses(fit))))
    if telling.few(fit):
        blocks.append(Callout("Few participants", (words(telling.few(fit)),)))
    blocks.append(
        Callout(
            "What to mind",
            (
                words(
                    "A model that meets the figures it was fitted to may still be wrong. Rows that are only "
                    "known by their sum or product are not known one by one, whatever their estimate says; "
                    "intervals hold if the model is right and if the rows that were not moved have "
                    "the values "
                    "of the file."
                ),
            ),
        )
    )
    return Section("minute", "In one minute", tuple(blocks))


def _facts(fit: Fit) -> tuple[Fact, ...]:
    facts = [Fact(w.number(fit.start_sum, 1), "sum of squares with the rows of the file")]
    if fit.uncertainty is not None:
        flat = sum(d.flat for d in fit.uncertainty.directions)
        facts += [
            Fact(
                w.number(fit.sum_of_squares, 1), "at the estimate", f"{len(fit.bench.targets.fitted)} figures"
            ),
            Fact(f"{flat} of {len(fit.uncertainty.directions)}", "directions not seen", "of the fitted rows"),
        ]
    if fit.settings.draws and fit.uncertainty is not None:
        for fitted, label in ((True, "fitted figures missed"), (False, "held-out figures missed")):
            mine = [c for c in fit.checks if c.target.fitted == fitted]
            if mine:
                facts.append(Fact(f"{sum(c.missed for c in mine)} of {len(mine)}", label))
    return tuple(facts)


def _unknown(fit: Fit, known: Uncertainty) -> str:
    flat = [d for d in known.directions if d.flat]
    if not flat:
        text = "The figures see every direction of the rows that were moved. "
    else:
        said = "; ".join(in_words(d, fit.bench.rows) for d in flat)
        text = (
            "A plausible step in these directions moves all fitted figures together by less than one "
            "standard "
            f"error: {said}. "
        )
    examined = [c for c in known.compensations if not c.free.moves and c.left < FLAT]
    if examined:
        text += (
            "Rows that keep their value could not be told either, for the fitted rows would make up "
            "for them: "
            f"{w.listed([c.free.name for c in examined])}."
        )
    return text


def _misses(fit: Fit) -> str:
    out = telling.missed(fit)
    if not out:
        return "Every published figure lies within its 95% predictive interval."
    said = [
        f"{telling.named(fit, c.target)} ({three(c.target.value)}, predicted {three(c.lower, 4)} to "
        f"{three(c.upper)})"
        for c in out
    ]
    return (
        f"{len(out)} of {len(fit.checks)} published figures lie outside their 95% predictive interval (about "
        f"{0.05 * len(fit.checks):.0f} would by chance): {'; '.join(said)}."
    )


# --- estimates ----------------------------------------------------------------------------------------------


def estimates(fit: Fit, known: Uncertainty) -> Section:
    """Each row with its interval, its prior, and how far it moved."""
    drawn = []
    for e in known.estimates:
        began, step = e.free.onto(e.began), e.free.step
        x = e.free.onto(e.value)
        prior = e.free.prior
        wide = None
        if prior is not None:
            low, high = (e.free.centre + side * Z95 * prior.sd for side in (-1, 1))
            wide = (low - began) / step, (high - began) / step
        drawn.append(
            Line(
                f"{e.free.name} ({e.free.short})", (e.free.onto(e.lower) - began) / step, (x - began) / step,
                (e.free.onto(e.upper) - began) / step, wide=wide,
            )
        )  # fmt: skip
    picture = fit_figures.lines(
        "f-estimates", drawn, "Plausible steps from the value in the file",
        Legend("estimate, 95% interval", "", wide="prior, 95%"),
    )  # fmt: skip
    table = Table(
        "table-estimates", "Estimates",
        columns(["Row", "Unit", "In the file", "Estimate", "95% interval", "Prior", "SE / prior SD",
                 "Moved, SE"], 2,
                [2.6, 1.2, 1, 1, 1.6, 1.6, 1, 1]),
        tuple(_estimate_row(e) for e in known.estimates),
        (
            "Moved: estimate less value in the file, in standard errors. SE / prior SD: how much the figures "
            "narrowed what the prior says; near 1 or above they added nothing. SD of: the spread "
            "between people.",
        ),
        stack=True,
    )  # fmt: skip
    figure = Figure(
        "figure-estimates", "Estimates beside the file and the priors",
        "Estimates with 95% intervals of each row, in plausible steps from the value in the file.",
        picture.wide, picture.narrow, None,
        ("Dotted: the value in the file.",),
    )  # fmt: skip
    noise = max(e.monte_carlo / e.se for e in known.estimates if e.se > 0)
    text = (
        f"Monte Carlo error is in the intervals; it is at most {100 * noise:.0f}% of a standard error "
        "(four times the participants halve it)."
    )
    return Section("estimates", "Estimates", (figure, table, Paragraph(words(text))))


def _estimate_row(e: object) -> Row:
    from equipoise.simulate.fitting.uncertainty import Estimate

    assert isinstance(e, Estimate)
    prior = e.free.prior
    said = w.NONE
    if prior is not None:
        low, high = (e.free.back(e.free.centre + side * Z95 * prior.sd) for side in (-1, 1))
        said = f"{three(prior.centre)} ({three(low)} to {three(high)})"
    return row(
        words(f"{e.free.name} ", Run(e.free.short, "code")), w.unit(e.free.unit), three(e.began),
        three(e.value),
        f"{three(e.lower)} to {three(e.upper)}", said, w.number(e.prior_ratio, 2), w.number(e.moved, 1),
    )  # fmt: skip


# --- directions ---------------------------------------------------------------------------------------------


def unseen(fit: Fit, known: Uncertainty) -> Section:
    """Directions that the figures do not see; one row at a time."""
    rows = fit.bench.rows
    moving = [int(k) for k in fit.bench.moving]
    blocks: list[Block | Subsection] = [
        Paragraph(
            words(
                "Move the rows by a plausible step in some direction: how far do the fitted figures move, "
                "all together, in standard errors of the published values? Where it is less than one, the "
                "figures do not see the direction, and only a prior, a convention or new data fix it. "
                "Tolerances and priors play no part here."
            )
        ),
        _directions_figure("fitted", "The rows that were moved", [rows[k].name for k in moving],
                           [_of(d, moving) for d in known.directions], known.directions),
        _directions_table("fitted", known.directions, fit),
    ]  # fmt: skip
    if len(rows) > len(moving):
        everything = list(range(len(rows)))
        least = known.with_what_if[: min(12, len(known.with_what_if))]
        blocks += [
            Subsection(
                "If the rows that keep their value were free as well",
                (
                    _directions_figure("all", "All rows, the least seen directions", [f.name for f in rows],
                                       [_of(d, everything) for d in least], least),
                    _directions_table("all", known.with_what_if, fit),
                ),
            )
        ]  # fmt: skip
    blocks.append(Subsection("One row at a time", (_one_by_one(known),)))
    return Section("directions", "What the figures do not know", tuple(blocks))


def _of(direction: Direction, positions: Sequence[int]) -> list[float]:
    return [direction.loadings[k] for k in positions]


def _directions_figure(
    name: str,
    caption: str,
    rows: Sequence[str],
    weights: Sequence[Sequence[float]],
    drawn: Sequence[Direction],
) -> Figure:
    picture = fit_figures.loadings(f"f-directions-{name}", rows, [d.seen for d in drawn], weights, FLAT)
    return Figure(
        f"figure-directions-{name}", caption,
        "Loadings of each row on each direction, the least seen first; the table says the same in words.",
        picture.wide, picture.narrow, None,
        ("Number above a direction: how many standard errors a plausible step moves all fitted figures by.",),
    )  # fmt: skip


def _directions_table(name: str, directions: Sequence[Direction], fit: Fit) -> Table:
    return Table(
        f"table-directions-{name}", "Directions in words (rows with a loading above 0.3)",
        columns(["", "Direction", "Seen, standard errors", ""], 2, [0.4, 5, 1.2, 1]),
        tuple(
            row(str(k), in_words(d, fit.bench.rows), w.number(d.seen, 2), "not seen" if d.flat else "")
            for k, d in enumerate(directions, 1)
        ),
        folded=name == "all",
    )  # fmt: skip


def _one_by_one(known: Uncertainty) -> Table:
    rows: list[Row] = []
    for moves, title in ((True, "Rows that were moved"), (False, "Rows that keep their value")):
        mine = [c for c in known.compensations if c.free.moves == moves]
        if mine:
            rows.append(row(title, kind="heading"))
        for c in mine:
            by = "; ".join(f"{other.name} {w.number(move, 1)}" for other, move in c.others[:4])
            share = w.NONE if c.alone == 0 else f"{100 * c.absorbed:.0f}%"
            rows.append(
                row(
                    words(f"{c.free.name} ", Run(c.free.short, "code")), w.number(c.alone, 2),
                    w.number(c.left, 2),
                    share, by or w.NONE,
                )
            )  # fmt: skip
    return Table(
        "table-one-by-one", "One row moved by a plausible step, and what the fitted rows make up for",
        (*columns(["Row", "Alone", "Others follow", "Made up for"], 1, [2.4, 0.9, 1, 0.9]),
         Column("By (steps)", width=3.4)),
        tuple(rows),
        (
            "Alone: how many standard errors the fitted figures move by, all together, when the "
            "others stay. Others "
            f"follow: when the fitted rows move with it as well as they can; below {FLAT:g} the "
            "figures cannot tell "
            "the move. By: the fitted rows that follow by more than 0.3 of their steps.",
        ),
        stack=True,
    )  # fmt: skip


# --- profiles -----------------------------------------------------------------------------------------------


def profiles(fit: Fit) -> list[Section]:
    """Profile likelihoods of the rows that were asked for."""
    if not fit.profiles:
        return []
    blocks: list[Block] = [
        Paragraph(
            words(
                "The row is held at each value and the others are fitted again. The rise of the sum "
                "of squares "
                "is calibrated so that 3.84 bounds a 95% interval."
            )
        )
    ]
    at = {f.name: k for k, f in enumerate(fit.bench.rows)}
    for p in fit.profiles:
        k = at[p.free.name]
        unit = f" ({w.unit(p.free.unit)})" if p.free.unit else ""
        values = [*p.values]
        picture = fit_figures.profile(
            f"f-profile-{k}", values, p.rises, p.free.back(float(fit.x[k])),
            p.free.back(float(fit.bench.start[k])), LIMIT, f"{p.free.name}{unit}", p.free.logarithmic,
        )  # fmt: skip
        table = Table(
            f"table-profile-{k}", f"Profile of {p.free.name}", columns(["Value", "Rise"], 0),
            tuple(row(three(v), w.number(r, 2)) for v, r in zip(p.values, p.rises, strict=True)), folded=True,
        )  # fmt: skip
        inside = [v for v, r in zip(p.values, p.rises, strict=True) if r <= LIMIT]
        alt = f"Profile of {p.free.name}: {three(min(inside))} to {three(max(inside))} stay below 3.84."
        blocks.append(
            Figure(
                f"figure-profile-{k}", f"Profile of {p.free.name}", alt, picture.wide, picture.narrow, table
            )
        )
    return [Section("profiles", "Profile likelihoods", tuple(blocks))]


# --- predictive ---------------------------------------------------------------------------------------------


def held_against(fit: Fit) -> Section:
    """Every figure, fitted or held out, beside what the model predicts."""
    blocks: list[Block | Subsection] = []
    drawn = fit.settings.draws > 0 and fit.uncertainty is not None
    if drawn:
        blocks.append(
            Paragraph(
                words(
                    "Each draw takes the rows from what is known of them and simulates one trial of "
                    "the published "
                    f"size ({fit.settings.draws} draws). So a predictive interval holds what is not "
                    "known of the "
                    "rows and the play of chance in a real trial. A published figure outside it is "
                    "one that the "
                    "model does not explain."
                )
            )
        )
        blocks += [
            figure for name in fit.bench.setups if (figure := _predictive_figure(fit, name)) is not None
        ]
    for name, plan in fit.bench.targets.protocols.items():
        mine = [c for c in fit.checks if c.target.trial == name]
        if mine:
            blocks.append(_predictive_table(fit, name, plan.protocol, mine, drawn))
    title = "Held against every figure" if drawn else "Expected and published figures"
    return Section("predictive", title, tuple(blocks))


def _predictive_figure(fit: Fit, trial: str) -> Figure | None:
    """Intervals scaled by their widths, so that figures of all units share an axis."""
    drawn, clipped = [], False
    for c in fit.checks:
        if c.target.trial != trial or not c.draws:
            continue
        low, middle, high, published = (
            c.target.onto(v) for v in (c.lower, c.median, c.upper, c.target.value)
        )
        sd = (high - low) / (2 * Z95)
        if not sd > 0:
            continue
        mark = (published - middle) / sd
        # a figure far out would squeeze all others; the table has its number
        clipped = clipped or abs(mark) > OFF_THE_PICTURE
        drawn.append(
            Line(
                telling.of_group(fit, c.target), (low - middle) / sd, 0.0, (high - middle) / sd,
                float(np.clip(mark, -OFF_THE_PICTURE, OFF_THE_PICTURE)), not c.target.fitted,
            )
        )  # fmt: skip
    if not drawn:
        return None
    name = fit.bench.targets.protocols[trial].protocol
    picture = fit_figures.lines(
        f"f-predictive-{trial}", drawn, "Standard deviations of the prediction from its median",
        Legend("predicted, 95% (fitted)", "published", hollow="predicted, 95% (held out)"),
    )  # fmt: skip
    out = [c for c in telling.missed(fit) if c.target.trial == trial]
    alt = f"{name}: {len(drawn)} figures, of which {len(out)} lie outside their predictive interval."
    return Figure(
        f"figure-predictive-{trial}", f"{name}: published figures against prediction", alt, picture.wide,
        picture.narrow, None,
        ("Published figures more than eight standard deviations away are drawn there.",) if clipped else (),
    )  # fmt: skip


CHANCE = (
    "Off: from the published figure, in tolerances. Chance: standard error of that which comes from "
    "simulating, in tolerances too, where it can be told."
)


def _predictive_table(fit: Fit, trial: str, name: str, mine: Sequence[Check], drawn: bool) -> Table:
    titles = ["Figure", "Use", "Published", "Rows of the file", "Estimate", "Off, tolerances", "Chance"]
    widths = [3.4, 0.9, 1, 1, 1, 1, 0.8]
    if fit.uncertainty is None:
        titles.remove("Estimate")
        widths.pop()
    if drawn:
        titles += ["Predicted, 95%", "Tail", "From rows"]
        widths += [1.6, 0.8, 0.8]
    return Table(
        f"table-predictive-{trial}", f"{name}: expected and published", columns(titles, 2, widths),
        tuple(_check_row(fit, c, drawn) for c in mine),
        (
            f"Expectations on other people than those of the fit. {CHANCE} Tail: twice the smaller share of "
            "draws on one "
            "side of the published figure. From rows: share of the predictive variance that is there "
            "because the rows are not known.",
        )
        if drawn
        else (f"Figures of trials with {w.count(fit.settings.participants)} participants each. {CHANCE}",),
        stack=True,
    )  # fmt: skip


def _check_row(fit: Fit, c: Check, drawn: bool) -> Row:
    label: list[str | Run] = [f"{telling.of_group(fit, c.target)} "]
    if c.target.unit:
        label.append(f"({w.unit(c.target.unit)}) ")
    if c.missed:
        label.append(Run("missed", "strong"))
        if c.target.note:
            label.append(f". {w.sentence(c.target.note)}")
    cells: list[str | Words] = [
        words(*label), "fitted" if c.target.fitted else "held out", three(c.target.value, 4),
    ]  # fmt: skip
    if fit.uncertainty is not None:
        cells.append(three(c.before, 4))
    by_chance = telling.chance(fit, fit.bench.targets.targets.index(c.target))
    cells += [
        three(c.expected, 4), w.number(c.off, 1), w.NONE if math.isnan(by_chance) else w.number(by_chance, 1)
    ]  # fmt: skip
    if drawn:
        tail = w.NONE if math.isnan(c.tail) else ("<0.01" if c.tail < 0.01 else w.number(c.tail, 2))
        share = w.NONE if math.isnan(c.from_rows) else f"{100 * c.from_rows:.0f}%"
        interval = w.NONE if math.isnan(c.lower) else f"{three(c.lower, 4)} to {three(c.upper, 4)}"
        cells += [interval, tail, share]
    return row(*cells)


# --- how, and again -----------------------------------------------------------------------------------------

PAPERS = (
    "Estimate: least sum of squares by Gauss-Newton steps within a trust region (Branch, Coleman, "
    "Li, SIAM J Sci "
    "Comput 1999;21:1-23), with common random numbers and central differences over plausible steps.",
    "Standard errors: the sandwich covariance of a weighted estimator (White, Econometrica "
    "1982;50:1-25). Errors of "
    "the published figures are those published, or simulated where none is; their correlations are "
    "simulated.",
    "Directions: singular vectors of the derivatives, in standard errors per plausible step.",
    "Profiles: calibrated as composite likelihoods are (Varin, Reid, Firth, Stat Sinica 2011;21:5-42).",
    "Predictive check: Gelman, Meng, Stern, Stat Sinica 1996;6:733-807.",
)


def methods(fit: Fit) -> Section:
    """How it was done."""
    counted = (
        "A figure of the simulated trials has the definition that the results table gives it; numbers of "
        "participants are scaled to the published size of the arm. Hazard ratios are compared by their "
        "logarithms. The effect dials stay as the targets file says (the default preset of the population "
        "where it says nothing)."
    )
    priors = [
        f"{f.name}: {three(f.prior.centre)}, standard deviation {f.prior.sd:g}"
        f"{' of the logarithm' if f.logarithmic else ''}; "
        + "; ".join(part for part in (_cited(fit, f.prior.source), f.prior.assumed, f.prior.note) if part)
        for f in fit.bench.rows
        if f.prior is not None
    ]
    blocks: list[Block | Subsection] = [
        Paragraph(words(counted)),
        Subsection("Methods", (Listing(tuple(words(text) for text in PAPERS)),)),
    ]
    if priors:
        blocks.append(Subsection("Priors", (Listing(tuple(words(text) for text in priors)),)))
    return Section("methods", "How it was done", tuple(blocks))


def _cited(fit: Fit, keys: Sequence[str]) -> str:
    """The texts of references, by their keys in the targets file."""
    return "; ".join(fit.bench.targets.file.references[key].text for key in keys)


def repeating(fit: Fit, provenance: Mapping[str, str]) -> Section:
    """Command, seed, hashes."""
    lines: list[tuple[str, str | Words]] = [
        ("Seed", words(Run(str(fit.settings.seed), "code"))),
        ("Participants of each trial", w.count(fit.settings.participants)),
        ("SHA-256 of the targets", words(Run(fit.bench.targets.sha256, "code"))),
    ]
    if len(fit.descents) > 1:
        sums = ", ".join(f"{d.sum_of_squares:.2f}" for d in fit.descents)
        lines.append(("Sums of squares of the descents, the least first", sums))
    blocks = (
        *again(provenance.get(COMMAND), "the same numbers, on any number of threads"),
        made_from(lines, provenance),
    )
    return Section("repeat", "Doing it again", blocks)
