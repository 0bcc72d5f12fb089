"""The committee in a simulated trial: limits at each look for what was observed, and when the trial stops.

The limits are those of `equipoise.design.monitoring`, the functions that a real committee's analysis uses:
recomputed for the events observed, with all error spent at the last look. Trials with the same events at
their looks share them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.design import integration
from equipoise.design.attainable import Draws
from equipoise.design.boundaries import CLASSICAL, Boundaries, boundaries
from equipoise.design.monitoring import recompute
from equipoise.design.spending import spending
from equipoise.errors import UserError
from equipoise.protocol.model import Looks

Floats = NDArray[np.float64]

NOT_SHOWN, EFFICACY, FUTILITY, HARM = 0, 1, 2, 3
REASONS = ("no difference shown", "efficacy", "futility", "harm")
"""Why a trial ended, by code."""
USUAL_ALPHA = {1: 0.025, 2: 0.05}
"""Assumed where a protocol gives no alpha."""
KEPT = 50_000


@dataclass(frozen=True)
class Limits:
    """Of one sequence of looks: those that count (positions), and the limits of z at each."""

    taken: tuple[int, ...]
    upper: tuple[float, ...]
    lower: tuple[float, ...]
    """Below it the trial ends: for futility (one-sided) or harm (two-sided)."""
    ordering: tuple[float, ...]
    """The lower limits that the stage-wise ordering counts on."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended. `look` counts from 0."""

    look: int
    reason: int
    p_value: float
    """Stage-wise; one-sided in a one-sided test, two-sided in a two-sided one."""
    log_hr: float
    """Median-unbiased estimate of the log hazard ratio."""
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Committee:
    """The plan of monitoring of a design, ready to be asked."""

    sides: int
    alpha: float
    plan: Boundaries
    maximum: float
    """Events planned at the last look; NaN where a single analysis waits for none."""
    share: float
    """Share of participants in the arm that is compared with the reference."""
    looks: int
    spend_by: Any = "information"
    duration: float = math.nan
    """Planned days to the last look, for spending by calendar."""
    weighted: bool = False
    """Whether the score is weighted, so that its variance, not the events, is the information between
    looks."""
    draws: Draws | None = None
    """Whom the events are drawn from, where z is a saddlepoint deviate and limits are at levels that can be
    attained."""
    known: dict[Any, Limits] = field(default_factory=dict)

    def limits(self, events: Floats, days: Floats, information: Floats) -> Limits:
        """Limits of a trial with these events, days and information at its looks (NaN: not taken). The last
        look taken is final."""
        if self.weighted:
            return self._weighted_limits(events, information)
        calendar = self.spend_by != "information"
        key = (events.tobytes(), days.tobytes() if calendar else b"")
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= KEPT:
                self.known.clear()
            found = self.known[key] = self._limits(events, days)
        return found

    def _limits(self, events: Floats, days: Floats) -> Limits:
        taken = _counted(events, self.maximum)
        observed = [float(events[k]) for k in taken]
        shares = [float(days[k]) / self.duration for k in taken]
        if self.spend_by == "calendar":
            # a look at the full time has spent everything: it was the last
            over = next((n for n, share in enumerate(shares) if share >= 1.0), len(taken) - 1)
            taken, observed, shares = taken[: over + 1], observed[: over + 1], shares[: over + 1]
        if len(taken) == 1:
            limit = self.plan.efficacy[-1] if self.looks == 1 else _single(self.alpha, self.sides)
            lower = -limit if self.sides == 2 else (limit if self.plan.futility is not None else -math.inf)
            return Limits(tuple(taken), (limit,), (lower,), (-math.inf,))
        found = recompute(
            self.plan, observed, maximum=self.maximum, final=True, spend_by=self.spend_by,
            calendar=None if self.spend_by == "information" else shares,
            information_per_unit=self.share * (1 - self.share), draws=self.draws,
        )  # fmt: skip
        upper = found.efficacy
        if self.sides == 2:
            lower_limits = ordering = found.harm or tuple(-z for z in upper)
        elif found.futility is not None:
            lower_limits = found.futility
            # the simulated committee keeps to its futility limits, so estimates allow for them
            ordering = lower_limits
        else:
            lower_limits = ordering = (-math.inf,) * len(upper)
        return Limits(tuple(taken), upper, lower_limits, ordering)

    def _weighted_limits(self, events: Floats, information: Floats) -> Limits:
        """As `_limits` for a weighted log-rank test: the error is spent by events, the correlation between
        looks is that of the variances of the score (the canonical joint distribution: Jennison & Turnbull
        2000, chapter 3)."""
        counted = _counted(events, self.maximum)
        whole = information[counted[-1]]
        taken = [k for k in counted if k == counted[-1] or information[k] < (1 - 1e-3) * whole]
        times = np.minimum(events[taken] / self.maximum, 1.0)
        times[-1] = 1.0
        variance = information[taken]
        variance = np.maximum.accumulate(variance) / variance[-1] if variance[-1] > 0 else times
        spent = spending(self.plan.kind, self.alpha, times, parameter=self.plan.parameter, sides=self.sides)
        _, upper = integration.limits(variance, spent, np.zeros(0), 0.0, self.sides, False, True)
        lower = -upper if self.sides == 2 else np.full(len(upper), -math.inf)
        both = tuple(lower.tolist())
        return Limits(tuple(taken), tuple(upper.tolist()), both, both)

    def stop(self, limits: Limits, z: Floats, futility: bool = True) -> tuple[int, int]:
        """The look at which a trial ends, as a position in `limits.taken`, and why. `futility`: whether
        futility limits are kept to."""
        last = len(limits.taken) - 1
        n, reason = last, NOT_SHOWN
        for n, k in enumerate(limits.taken):
            if z[k] >= limits.upper[n]:
                reason = EFFICACY
                break
            if self.sides == 2 and z[k] <= limits.lower[n]:
                reason = HARM
                break
            if futility and self.sides == 1 and n < last and z[k] <= limits.lower[n]:
                reason = FUTILITY
                break
        return n, reason

    def decide(
        self,
        events: Floats,
        days: Floats,
        z: Floats,
        log_hr: Floats,
        log_se: Floats,
        information: Floats,
    ) -> Ended:
        """How a trial ended whose looks found this. Arrays (looks,); NaN where a look did not take place. z
        is positive where the arm does better than the reference."""
        limits = self.limits(events, days, information)
        n, reason = self.stop(limits, z)
        k = limits.taken[n]
        if self.weighted:
            # the hazard ratio is not what a weighted test stops on: there is no adjusting it
            p = self._weighted_p(limits, n, information, z[k])
            return Ended(k, reason, p, math.nan, math.nan, math.nan)
        p, estimate, low, high = self._adjusted(limits, n, events, log_hr[k], log_se[k])
        return Ended(k, reason, p, estimate, low, high)

    def _weighted_p(self, limits: Limits, n: int, information: Floats, z: float) -> float:
        """Stage-wise p-value of a weighted test, from its own statistic and variances."""
        known = np.maximum.accumulate(information[list(limits.taken[: n + 1])])
        if not known[-1] > 0:
            return math.nan
        p, *_ = integration.stagewise(
            known, np.array(limits.ordering[: n + 1]), np.array(limits.upper[: n + 1]), z, 0.95
        )
        return float(p) if self.sides == 1 else min(1.0, 2 * min(p, 1 - p))

    def _adjusted(
        self, limits: Limits, n: int, events: Floats, log_hr: float, log_se: float
    ) -> tuple[float, float, float, float]:
        """Stage-wise p-value, median-unbiased log hazard ratio and interval. The information at the last look
        is that of the estimate; at earlier looks it is less in proportion to the events, so that with a
        single look the result is the estimate itself."""
        if not log_se > 0:
            return (math.nan,) * 4
        known = 1.0 / log_se**2
        counts = np.array([events[k] for k in limits.taken[: n + 1]])
        level = 1 - 2 * self.alpha / self.sides
        p, theta, low, high = integration.stagewise(
            known * counts / counts[-1], np.array(limits.ordering[: n + 1]), np.array(limits.upper[: n + 1]),
            -log_hr / log_se, level,
        )  # fmt: skip
        return (p if self.sides == 1 else min(1.0, 2 * min(p, 1 - p))), -theta, -high, -low


def _counted(events: Floats, maximum: float) -> list[int]:
    """The looks that add information: taken, with more events than the one before. Of two with the same
    events the later one counts, so that the final analysis always does; a look with all the planned events is
    the last."""
    taken = [int(k) for k in np.flatnonzero(~np.isnan(events))]
    if not taken:
        raise ValueError("a trial has at least its final analysis")
    kept: list[int] = []
    for k in taken:
        while kept and events[k] - events[kept[-1]] < max(1.0, 2 * integration.CLOSEST * events[k]):
            kept.pop()
        kept.append(k)
    kept = [k for k in kept if events[k] > 0] or [taken[-1]]
    for n, k in enumerate(kept):
        if events[k] >= maximum:
            return kept[: n + 1]
    return kept


def _single(alpha: float, sides: int) -> float:
    return NormalDist().inv_cdf(1 - alpha / sides)


def committee(
    looks: Looks,
    *,
    alpha: float | None,
    power: float | None,
    primary_events: int | None,
    share: float,
    duration: float,
    place: str,
    weighted: bool = False,
    participants: int = 0,
) -> Committee:
    """The committee of a design. `share`: of participants in the arm that is compared; `duration`: planned
    days to the end; `participants`: in the two arms that are compared. Raises UserError for a
    plan of looks that has no boundaries."""
    level = alpha if alpha is not None else USUAL_ALPHA[looks.sides]
    count = max(1, len(looks.schedule))
    draws = Draws(participants, share) if looks.distribution == "saddlepoint" else None
    if draws is not None and weighted:
        raise UserError(f"{place}.distribution: saddlepoint does not go with a weighted log-rank test")
    if count == 1:
        plan = _boundaries((1.0,), alpha=level, sides=looks.sides, power=power or 0.9)
        return Committee(
            looks.sides, level, plan, float(primary_events or math.nan), share, 1, "information", duration,
            draws=draws,
        )  # fmt: skip
    if looks.spending == "none":
        raise UserError(
            f"{place}.spending: {count} looks are tested at no set level; choose a boundary "
            "(obrien-fleming, pocock, ...) or leave out the looks"
        )
    if primary_events is None:
        raise UserError(
            f"{place}: several looks need the planned primary events, against which information is measured"
        )
    last = looks.schedule[-1]
    waits = last.events if last.at is None else max(1, math.ceil(last.at * primary_events - 1e-9))
    if waits is not None and waits != primary_events:
        raise UserError(
            f"{place}.looks: the last look is the final analysis and waits for {waits} events, but "
            f"{primary_events} primary events are planned: make the two agree"
        )
    if looks.spend_by != "information" and not math.isfinite(duration):
        raise UserError(
            f"{place}.spend_by: spending by {looks.spend_by} needs the planned duration of the trial: give "
            "`follow_up`"
        )
    shares = _planned(looks, primary_events)
    if shares is None and looks.spending in CLASSICAL:
        raise UserError(
            f"{place}.spending: {looks.spending} needs looks at planned shares of the information; choose a "
            "spending function for looks by date"
        )
    futility = looks.futility
    if weighted and (looks.spending in CLASSICAL or futility is not None or looks.spend_by != "information"):
        raise UserError(
            f"{place}: a weighted log-rank test is monitored with a spending function by information, and "
            "without futility"
        )
    plan = _boundaries(
        tuple(shares if shares is not None else [(k + 1) / count for k in range(count)]),
        alpha=level, sides=looks.sides, kind=looks.spending, parameter=looks.parameter, power=power or 0.9,
        futility=None if futility is None else futility.spending,
        futility_parameter=None if futility is None else futility.parameter,
        binding=futility is not None and futility.binding,
    )  # fmt: skip
    return Committee(
        looks.sides,
        level,
        plan,
        float(primary_events),
        share,
        count,
        looks.spend_by,
        duration,
        weighted,
        draws,
    )


@lru_cache(maxsize=256)
def _boundaries(information: tuple[float, ...], **how: Any) -> Boundaries:
    """The boundaries of a plan, which most scenarios of a run share: they take a second to compute."""
    return boundaries(information, **how)


def _planned(looks: Looks, primary_events: int) -> list[float] | None:
    """Planned shares of the information; None where a look waits for no number of events."""
    found = []
    for look in looks.schedule:
        if look.at is None and look.events is None:
            return None
        found.append(look.at if look.at is not None else float(look.events or 0) / primary_events)
    return found


def decision_columns(ended: Ended, looks: Mapping[str, Floats]) -> dict[str, float]:
    """The columns that say how a trial ended, from the columns of its looks (arrays by name)."""
    k = ended.look
    return {
        "win": float(ended.reason == EFFICACY),
        "stop|look": float(k + 1),
        "stop|reason": float(ended.reason),
        **{
            f"stop|{name}": float(looks[name][k])
            for name in ("day", "events", "enrolled", "z", "log_hr", "log_se")
        },
        "stop|adjusted p": ended.p_value,
        "stop|adjusted log_hr": ended.log_hr,
        "stop|adjusted low": ended.low,
        "stop|adjusted high": ended.high,
    }
