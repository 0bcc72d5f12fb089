"""Who is at risk at each event, and which value of the marker they have then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.analyse.surrogate.data import MarkedTrial, Spells
from equipoise.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CELLS = 1_000_000
"""Participants times event times that are held in memory at once."""


class RiskSets(NamedTuple):
    """The risk sets of a run of event times. n participants, k distinct event times, e events."""

    times: Floats
    """Shape (k,), in years, ascending."""
    at_risk: Floats
    """Shape (n, k): 1 for a participant at risk, 0 for one who is not."""
    marker: Floats
    """Shape (n, k): the latest value, transformed; 0 for a participant who is not at risk."""
    who: Ints
    """Shape (e,): the participant of each event, in order of time."""
    when: Ints
    """Shape (e,): which of `times` the event is at."""


def covariate_columns(trial: MarkedTrial, covariates: ArrayLike | None, names: tuple[str, ...]) -> Floats:
    """Covariates as columns, shape (n, p), of full length and known. Raises UserError otherwise."""
    n = trial.participants
    if covariates is None:
        if names:
            raise UserError("`names` names covariates, but there are no `covariates`")
        return np.zeros((n, 0))
    columns = np.asarray(covariates, np.float64)
    columns = columns.reshape(-1, 1) if columns.ndim == 1 else columns
    if columns.ndim != 2 or len(columns) != n:
        raise UserError(f"`covariates` must have a row for each of the {n} participants")
    if not np.isfinite(columns).all():
        raise UserError("`covariates` must be known numbers: fill in or leave out what is missing")
    if names and len(names) != columns.shape[1]:
        raise UserError(f"there are {columns.shape[1]} covariates and {len(names)} names of them")
    return columns


def risk_sets(spells: Spells, participants: int, until: float) -> Iterator[RiskSets]:
    """The risk sets of all event times up to `until` (years), some event times at a time, in order.

    `spells.value` must be on the scale of the model already. Memory is bounded whatever the number of events.
    """
    counted = spells.event & (spells.stop <= until)
    order = np.argsort(spells.stop[counted], kind="stable")
    who, at = spells.who[counted][order], spells.stop[counted][order]
    times = np.unique(at)
    when = np.searchsorted(times, at)
    first = np.searchsorted(times, spells.start, side="right")
    beyond = np.searchsorted(times, spells.stop, side="right")
    width = max(1, _CELLS // max(participants, 1))
    for low in range(0, len(times), width):
        high = min(low + width, len(times))
        here = (when >= low) & (when < high)
        at_risk, marker = _block(spells, participants, first, beyond, low, high)
        yield RiskSets(times[low:high], at_risk, marker, who[here], when[here] - low)


def _block(
    spells: Spells, participants: int, first: Ints, beyond: Ints, low: int, high: int
) -> tuple[Floats, Floats]:
    """Membership and marker at event times low to high, each of shape (participants, high - low)."""
    start, stop = np.clip(first, low, high), np.clip(beyond, low, high)
    count = stop - start
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.repeat(spells.who, count), np.repeat(start - low, count) + step
    at_risk, marker = np.zeros((participants, high - low)), np.zeros((participants, high - low))
    at_risk[row, column] = 1.0
    marker[row, column] = np.repeat(spells.value, count)
    return at_risk, marker
