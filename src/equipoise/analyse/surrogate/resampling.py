"""Bootstrap of a trial: participants drawn with replacement within arm and stratum, models refitted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from equipoise.analyse.columns import codes, orders
from equipoise.analyse.surrogate.data import Floats, Ints, MarkedTrial
from equipoise.analyse.surrogate.kernel import weighted_cox
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


class Refit:
    """One Cox model of one or two covariates, sorted once and fitted under many weights."""

    def __init__(self, rows: Rows, X: Floats) -> None:
        stratum, _ = codes(rows.stratum, len(rows.who), "strata")
        order, by_entry = orders(stratum, rows.start, rows.stop, True, latest_first=True)
        self._mean, self._spread = X.mean(axis=0), np.maximum(X.std(axis=0), 1e-300)
        self._who = rows.who[order]
        self._columns = (rows.start[order], rows.stop[order], rows.event[order])
        self._X = np.ascontiguousarray(((X - self._mean) / self._spread)[order])
        self._stratum = stratum[order]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        self._by_entry = place[by_entry]

    def coefficients(self, weight: Ints, first: Floats) -> Floats | None:
        """Coefficients with participants counted `weight` times, started from `first`; None without a
        maximum. weight: shape (people,)."""
        each = weight[self._who]
        keep = each > 0
        place = np.cumsum(keep) - 1
        start, stop, event = (column[keep] for column in self._columns)
        entries = place[self._by_entry[keep[self._by_entry]]]
        beta = np.empty(self._X.shape[1])
        done = weighted_cox(
            first * self._spread, start, stop, event, self._X[keep], self._stratum[keep], entries, each[keep],
            beta,
        )  # fmt: skip
        return beta / self._spread if done else None
