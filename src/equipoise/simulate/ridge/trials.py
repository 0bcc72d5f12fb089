"""Whole trials simulated under each explanation: what their estimates scatter like, and how often they win.

Trial k of every explanation has the same people and the same chances. Each is followed to its planned end and
analysed once; nobody stops it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.analyse.survival import cox_binary
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup
from equipoise.simulate.power.guided import COUNTS_ONLY, primary_endpoint
from equipoise.simulate.replicates import endpoint_times, stratum_cells
from equipoise.simulate.ridge.courses import Crowd
from equipoise.simulate.ridge.expected import DEATHS, DISEASES, PRIMARY
from equipoise.simulate.runs import in_order, walk_everybody
from equipoise.simulate.trial import Outcomes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trials:
    """Simulated trials of one protocol under one explanation, arrays over the trials. `log_hr` and `log_se`:
    shape (trials, endpoints), NaN where there is no estimate."""

    endpoints: tuple[str, ...]
    """Figures of `equipoise.simulate.ridge.expected`."""
    log_hr: Floats
    log_se: Floats
    events: Floats
    """Primary events in both arms."""
    participants: int
    marker_z: Floats
    """Difference of the mean counts over follow-up, in standard errors."""
    cycles: Floats
    """Cycles per participant of the arm, counted as if of 7.5 MIU, and as such."""

    @property
    def count(self) -> int:
        return len(self.events)

    def wins(self, critical: float) -> NDArray[np.bool_]:
        """Trials whose primary hazard ratio is below 1 by more than chance (Wald test)."""
        z = -self.log_hr[:, 0] / self.log_se[:, 0]
        return np.nan_to_num(z) >= critical

    def correlation(self) -> Floats:
        """Correlation of the log hazard ratios."""
        known = self.log_hr[~np.isnan(self.log_hr).any(axis=1)]
        return np.atleast_2d(np.corrcoef(known.T))


def simulate(
    crowd: Crowd,
    setups: Mapping[str, Setup],
    trials: int,
    threads: int,
    names: Mapping[str, str],
    participants: int | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Trials]:
    """Simulate that many trials under each of the explanations `setups` (by name).

    `names`: the figure that each endpoint of the protocol stands for. `participants`: of each trial, the
    protocol's number when left out."""
    first = next(iter(setups.values()))
    _, strata = primary_endpoint(first.protocol)

    def one(number: int) -> dict[str, Floats]:
        # trial 0 are the people of the expectations
        enrolment = enrol(first, crowd.seed, number + 1, participants)
        stratum, cells = stratum_cells(first, enrolment, list(strata))
        return {
            name: _figures(crowd, setup, enrolment, stratum, cells, number + 1, names)
            for name, setup in setups.items()
        }

    found: list[dict[str, Floats]] = []
    for row in in_order(one, range(trials), threads):
        found.append(row)
        tell(len(found), trials)
    size = first.protocol.size.simulated if participants is None else participants
    endpoints = tuple(sorted(names.values(), key=(PRIMARY, DISEASES, DEATHS).index))
    out = {}
    for name in setups:
        rows = np.array([row[name] for row in found])
        k = len(endpoints)
        out[name] = Trials(
            endpoints, rows[:, :k], rows[:, k : 2 * k], rows[:, 2 * k], size, rows[:, 2 * k + 1],
            rows[:, 2 * k + 2 :],
        )  # fmt: skip
    return out


def _figures(
    crowd: Crowd, setup: Setup, enrolment: Enrolment, stratum: NDArray[np.int32], cells: int, trial: int,
    names: Mapping[str, str],
) -> Floats:  # fmt: skip
    happened = walk_everybody(setup, enrolment, crowd.seed, trial, COUNTS_ONLY)
    times = endpoint_times(setup, enrolment, happened, crowd.seed, trial, tuple(names))
    mine = (enrolment.arm == crowd.other) | (enrolment.arm == crowd.reference)
    treated = (enrolment.arm[mine] == crowd.other).astype(np.uint8)
    estimates: dict[str, tuple[float, float]] = {}
    events = 0.0
    for endpoint, figure in names.items():
        day, status = times[endpoint]
        event = (status[mine] == 1).astype(np.uint8)
        beta, se, converged, _ = cox_binary(day[mine].astype(np.int32), event, treated, stratum[mine], cells)
        estimates[figure] = (beta, se) if converged else (math.nan, math.nan)
        if figure == PRIMARY:
            events = float(event.sum())
    ordered = sorted(estimates, key=(PRIMARY, DISEASES, DEATHS).index)
    other = enrolment.arm == crowd.other
    log_hr, log_se = ([estimates[figure][k] for figure in ordered] for k in (0, 1))
    full = happened.dose_total[other].mean() / _full_cycle(setup, crowd)
    marker = _marker(enrolment, happened, crowd)
    return np.array([*log_hr, *log_se, events, marker, full, happened.cycles[other].mean()])


def _full_cycle(setup: Setup, crowd: Crowd) -> float:
    """Dose of a whole cycle of injections of 7.5 MIU."""
    return 7.5 * setup.arms[crowd.other].plan.administrations


def _marker(enrolment: Enrolment, happened: Outcomes, crowd: Crowd) -> float:
    """Difference of the participants' mean counts over follow-up in its standard errors."""
    means, variances = [], []
    for number in (crowd.other, crowd.reference):
        seen = (enrolment.arm == number) & (happened.counts > 0)
        own = happened.count_sum[seen] / happened.counts[seen]
        means.append(float(own.mean()))
        variances.append(float(own.var(ddof=1)) / len(own))
    return (means[0] - means[1]) / math.sqrt(sum(variances))
