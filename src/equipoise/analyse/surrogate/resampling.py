"""Bootstrap of a trial: participants drawn with replacement within arm and stratum, models refitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.analyse.columns import codes, orders
from equipoise.analyse.cox_model import cox_newton
from equipoise.analyse.surrogate.data import Floats, Ints, MarkedTrial
from equipoise.analyse.surrogate.rows import Rows
from equipoise.errors import UserError


def draws(trial: MarkedTrial, replicates: int, seed: int) -> Iterator[Ints]:
    """How often each participant was drawn, shape (n,), once for each replicate.

    As many as there are in each arm of each stratum, with replacement (Efron & Tibshirani, An Introduction to
    the Bootstrap, 1993). Replicate k depends on the seed and k only. Raises UserError for a negative number
    or seed."""
    if replicates < 0 or seed < 0:
        raise UserError("the number of replicates and the seed must not be negative")
    _, cell = np.unique(trial.stratum * 2 + trial.treated, return_inverse=True)
    members = [np.flatnonzero(cell == k) for k in range(int(cell.max()) + 1 if len(cell) else 0)]
    for k in range(replicates):
        rng = np.random.default_rng([seed, k])
        count = np.zeros(trial.participants, np.int64)
        for people in members:
            count[people] = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people))
        yield count


@dataclass(frozen=True)
class SortedRows:
    """Rows of a Cox model, sorted once to be fitted under many weights. Columns of
    `X` are centred and divided by `spread`; `by_entry` gives the rows by stratum and falling start."""

    who: Ints
    start: Floats
    stop: Floats
    event: NDArray[np.uint8]
    X: Floats
    stratum: NDArray[np.int32]
    by_entry: Ints
    spread: Floats


def sorted_rows(rows: Rows, X: Floats) -> SortedRows:
    """The rows in order. X: r x p, no column constant."""
    stratum, _ = codes(rows.stratum, len(rows.who), "strata")
    order, by_entry = orders(stratum, rows.start, rows.stop, True, latest_first=True)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    spread = X.std(axis=0)
    return SortedRows(
        rows.who[order], rows.start[order], rows.stop[order], rows.event[order].astype(np.uint8),
        ((X - X.mean(axis=0)) / spread)[order], stratum[order], place[by_entry], spread,
    )  # fmt: skip


def refitted(rows: SortedRows, weight: Ints, first: Floats) -> Floats | None:
    """Coefficients, shape (p,), with participants counted `weight` times (shape (people,)), started from
    `first`; None where there is no maximum."""
    each = weight[rows.who]
    keep = each > 0
    place = np.cumsum(keep) - 1
    entries = place[rows.by_entry[keep[rows.by_entry]]]
    status, beta, *_ = cox_newton(
        first * rows.spread, rows.start[keep], rows.stop[keep], rows.event[keep],
        np.ascontiguousarray(rows.X[keep]), each[keep], rows.stratum[keep], np.arange(len(entries)), entries,
        True, True,
    )  # fmt: skip
    return np.asarray(beta / rows.spread) if status == 0 else None
