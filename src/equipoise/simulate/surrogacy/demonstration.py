"""The pitfall, shown where the truth is known: adjusting for the biomarker makes a treatment look
harmful.

Each virtual person is walked in both arms under four truths. A Cox model of the primary endpoint is
fitted with the arm alone, then with the arm and the latest measured count. The adjusted hazard ratio of
the arm lies above 1 even when every cell works and nothing harms, for two reasons: among people a low
count also marks those who recover badly (the link with risk is steeper than the effect of a cell), and
beyond the cap further cells do not help while the model goes on crediting them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from equipoise.analyse.surrogate.rows import fit, influence, rows_at_risk
from equipoise.analyse.surrogate.scale import on_scale
from equipoise.protocol import load
from equipoise.simulate.plans import prepare
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.runs import in_order
from equipoise.simulate.surrogacy.fates import both_fates, comparison

PEOPLE = 15_000
"""Virtual people in each arm, as in the reference."""
SEED = 20_090_220
TRUTHS = ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 0.5))
"""Functional fraction of the cells, and subacute harm (excess relative risk just after a full cycle,
which fades with a time constant of `FADES` days)."""
FADES = 130.0


@dataclass(frozen=True)
class Pitfall:
    """One truth in one trial: hazard ratio of the arm, the same adjusted for the latest count, hazard
    ratio per doubling of the count within arms, and the proportion explained that a naive reader would
    compute (NaN where there is no effect to explain)."""

    trial: str
    functional: float
    harm: float
    hazard_ratio: float
    adjusted: float
    per_doubling: float
    explained: float
    events: int
    hazard_ratio_error: float
    adjusted_error: float
    """Monte Carlo standard errors of the two log hazard ratios, and of the proportion explained: each person
    is drawn once and walked in both arms."""
    explained_error: float


REFERENCE = {
    ("silcaat", 0.0, 0.0): (1.00, 1.20, math.nan),
    ("silcaat", 0.5, 0.0): (0.91, 1.08, 1.8),
    ("silcaat", 1.0, 0.0): (0.85, 1.02, 1.1),
    ("silcaat", 1.0, 0.5): (0.93, 1.11, 2.4),
    ("esprit", 0.0, 0.0): (1.00, 1.24, math.nan),
    ("esprit", 0.5, 0.0): (0.92, 1.14, 2.5),
    ("esprit", 1.0, 0.0): (0.86, 1.06, 1.4),
    ("esprit", 1.0, 0.5): (0.95, 1.16, 4.0),
}
"""What an independent first implementation of the model found: hazard ratio, adjusted, proportion
explained."""


def demonstrate(
    protocols: tuple[str, ...] = ("silcaat", "esprit"),
    *,
    people: int = PEOPLE,
    seed: int = SEED,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[Pitfall, ...]:
    """The pitfall in each trial and under each truth, in that order. The result does not depend on `threads`.

    Raises UserError for a protocol that cannot be simulated."""
    tell = progress if progress is not None else silent
    cases = [(name, *each) for name in protocols for each in TRUTHS]
    found: list[Pitfall] = []
    tell("truths", 0, len(cases))
    results: Iterator[Pitfall] = in_order(
        lambda case: pitfall(*case, people=people, seed=seed), cases, threads
    )
    for one in results:
        found.append(one)
        tell("truths", len(found), len(cases))
    return tuple(found)


def pitfall(name: str, functional: float, harm: float, *, people: int = PEOPLE, seed: int = SEED) -> Pitfall:
    """One trial under one truth."""
    dials = {
        "functional_fraction": functional, "rho_acute": harm, "tau_acute": FADES, "rho_chronic": 0.0,
    }  # fmt: skip
    marked = both_fates(comparison(prepare(load(name), dials)), seed, 0, people)
    scaled, _ = on_scale(marked, "log2")
    rows = rows_at_risk(scaled, 0.0)
    whole_rows = rows.whole()
    arm, beside = whole_rows.treated[:, None], np.column_stack([rows.treated, rows.value])
    alone, adjusted = fit(whole_rows, arm), fit(rows, beside)
    whole, direct = float(alone.coefficients[0]), float(adjusted.coefficients[0])
    # a person's two fates belong together
    moves = np.column_stack(
        [influence(whole_rows, arm, alone)[:, 0], influence(rows, beside, adjusted)[:, 0]]
    )
    moves = moves[:people] + moves[people:]
    errors = np.sqrt((moves**2).sum(axis=0))
    explained = explained_error = math.nan
    if abs(whole) > 0.005:
        explained = 1 - direct / whole
        explained_error = float(np.sqrt(((moves @ [direct / whole**2, -1 / whole]) ** 2).sum()))
    return Pitfall(
        name, functional, harm, math.exp(whole), math.exp(direct), math.exp(adjusted.coefficients[1]),
        explained, int(marked.event.sum()), float(errors[0]), float(errors[1]), explained_error,
    )  # fmt: skip


# --- shown --------------------------------------------------------------------------------------------------


def table(rows: tuple[Pitfall, ...]) -> pl.DataFrame:
    """One row for each trial and truth, with the figures of the reference beside ours (null where it has
    none)."""
    found = []
    for each in rows:
        ours = {name: getattr(each, name) for name in Pitfall.__dataclass_fields__}
        quoted = REFERENCE.get((each.trial, each.functional, each.harm), (math.nan,) * 3)
        names = ("reference_hazard_ratio", "reference_adjusted", "reference_explained")
        found.append(ours | dict(zip(names, quoted, strict=True)))
    return pl.DataFrame(found).fill_nan(None)


def told(rows: tuple[Pitfall, ...]) -> str:
    """The demonstration in words and a table, for a terminal."""
    head = (
        "What a Cox model says of the arm once it is adjusted for the latest CD4 count, where the truth is "
        "known.\n"
        "±: Monte Carlo standard error. In brackets: an independent first implementation of the model.\n"
    )
    lines = [
        head,
        f"{'trial':9}{'cells that work':>15}{'harm':>6}{'hazard ratio':>21}{'adjusted':>21}"
        f"{'explained':>18}{'events':>8}",
    ]
    for each in rows:
        quoted = REFERENCE.get((each.trial, each.functional, each.harm), (math.nan,) * 3)
        shown = [
            _beside(x, error, y, places)
            for x, error, y, places in zip(
                (each.hazard_ratio, each.adjusted, each.explained),
                (
                    each.hazard_ratio * each.hazard_ratio_error,
                    each.adjusted * each.adjusted_error,
                    each.explained_error,
                ),
                quoted,
                (2, 2, 1),
                strict=True,
            )
        ]
        lines.append(
            f"{each.trial:9}{each.functional:>14.0%} "
            f"{each.harm:>6g}{shown[0]:>21}{shown[1]:>21}{shown[2]:>18}{each.events:>8,}"
        )
    clear = all(math.log(each.adjusted) > 2 * each.adjusted_error for each in rows)
    words = MORAL if clear else f"{MORAL} {BLURRED}"
    return "\n".join([*lines, "", *textwrap.wrap(words, 100)])


MORAL = (
    "Even where every cell works and nothing harms, the adjusted hazard ratio lies above 1 and the "
    "proportion explained above 100%: a low count also marks people who recover badly, so that risk "
    "follows the count more steeply among people than it follows the cells that the drug makes. A hazard "
    "ratio above 1 beside the biomarker is no proof of harm, and none that the cells are useless."
)
BLURRED = (
    "Not every line shows it by itself: some adjusted hazard ratios lie less than two standard errors above "
    "1 here. More people (--participants) make them narrower."
)


def _beside(ours: float, error: float, reference: float, places: int) -> str:
    if math.isnan(ours):
        return "undefined"
    quoted = "" if math.isnan(reference) else f" [{reference:.{places}f}]"
    return f"{ours:.{places}f} ± {error:.{places}f}{quoted}"
