"""Monitoring: what a group-sequential plan says at the analysis, for the information that was really
observed.

Looks never fall exactly where they were planned. The error that may have been spent by now is read off the
spending function at the time reached (information, calendar, or the lesser of the two), and the limits follow
for the looks as they were (Lan & DeMets, Biometrika 1983;70:659-63). The last look spends all that is left,
whether it came early (under-running) or late (over-running). Once there is a statistic, the module gives the
decision, and the p-value, estimate and intervals that allow for the looks taken.

The effect is called theta: the log hazard ratio with its sign changed, or any parameter whose estimate has
variance 1 / information. It is positive where the treatment does better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from equipoise.design import integration
from equipoise.design.attainable import Draws, attainable_limits, check_draws, next_level
from equipoise.design.boundaries import (
    Boundaries,
    classical_limits,
    cumulative_alpha,
    information_per_event,
    notes,
    rising,
)
from equipoise.design.spending import NAMES, spending
from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all

Floats = NDArray[np.float64]
Clock = Literal["information", "calendar", "minimum"]
CLOCKS = ("information", "calendar", "minimum")
Decision = Literal[
    "stop for efficacy", "stop for futility", "stop for harm", "no difference shown", "continue"
]
MOST_TIMES_LONGER = 2.0
"""A trial that took longer than this many planned durations is taken to have been given in per cent."""
_NO_FUTILITY = np.zeros(0)
_POSTERIOR_NODES, _POSTERIOR_WEIGHTS = np.polynomial.legendre.leggauss(64)
_POSTERIOR_REACH = 7.5


@dataclass(frozen=True)
class Finding:
    """What may be said at the latest look, with a statistic at hand."""

    z: float
    decision: Decision
    level: float
    """Confidence level of the intervals."""
    p_value: float
    """Stage-wise; one-sided in a one-sided test, two-sided in a two-sided one."""
    unadjusted: float
    """The usual estimate of theta, z / sqrt(information), which is biased after early stopping."""
    estimate: float
    """Median-unbiased estimate of theta."""
    low: float
    high: float
    """Stage-wise interval of theta."""
    repeated_low: float
    repeated_high: float
    """Repeated interval of theta: it holds whatever the reason for stopping, or for going on."""
    repeated_p: float | None
    """The smallest alpha at which the plan would have stopped here; None for haybittle-peto, whose limit
    before the last look is the same at every alpha."""


@dataclass(frozen=True)
class Monitored:
    """A plan at the analysis: the limits for what has been observed so far. Made by `recompute`."""

    design: Boundaries
    observed: tuple[float, ...]
    """Events, or Fisher information, at each look taken."""
    maximum: float
    """What the plan counts on at the last look, in the same unit."""
    information_per_unit: float
    information: tuple[float, ...]
    """Shares of the planned maximum; over 1 where the trial over-ran."""
    spending_time: tuple[float, ...]
    """The time at which the spending functions were read."""
    final: bool
    """Whether the latest look is the last, so that all error is spent."""
    efficacy: tuple[float, ...]
    futility: tuple[float, ...] | None
    alpha_spent: tuple[float, ...]
    beta_spent: tuple[float, ...] | None
    notes: tuple[str, ...]
    harm: tuple[float, ...] | None = None
    """Limits for harm of a two-sided test, where they are not those of efficacy with the sign changed."""
    draws: Draws | None = None
    """Whom the events are drawn from, where limits are at levels that their number can attain."""

    @property
    def fisher_information(self) -> float:
        """Information on theta at the latest look."""
        return self.observed[-1] * self.information_per_unit

    @property
    def planned_effect(self) -> float:
        """theta under the alternative of the plan, at the planned maximum."""
        return self.design.drift / math.sqrt(self.maximum * self.information_per_unit)

    def finding(self, z: float, *, level: float | None = None) -> Finding:
        """The decision at the latest look, and p-value, estimate and intervals that allow for the looks.

        level: of the intervals; by default that which matches alpha (0.95 for a one-sided 0.025). The
        stage-wise ordering (Armitage 1957; Siegmund 1978; Fairbanks & Madsen 1982; Tsiatis, Rosner & Mehta
        1984) counts a stop at an earlier look as stronger evidence; it needs the limits of the looks taken
        and no others. Futility limits enter it where they are binding. Repeated intervals (Jennison &
        Turnbull, J R Stat Soc B 1989;51:305-61) are the estimate plus and minus the limit, in standard
        errors.
        """
        _check_z(z)
        if level is None:
            level = 1 - 2 * self.design.alpha / self.design.sides
        if not 0 < level < 1:
            raise UserError(f"level: {level:g} is not between 0 and 1")
        t = np.array(self.information)
        lower = np.array(self._stopping_below())
        p, estimate, low, high = integration.stagewise(
            t, lower, np.array(self.efficacy), float(z), float(level)
        )
        unit = math.sqrt(self.maximum * self.information_per_unit)
        root = math.sqrt(self.fisher_information)
        limit = self._limit_at((1 - level) / 2 * self.design.sides)
        return Finding(
            z=float(z),
            decision=self._decision(z),
            level=level,
            p_value=p if self.design.sides == 1 else min(1.0, 2 * min(p, 1 - p)),
            unadjusted=z / root,
            estimate=estimate / unit,
            low=low / unit,
            high=high / unit,
            repeated_low=(z - limit) / root,
            repeated_high=(z + limit) / root,
            repeated_p=self._repeated_p(z),
        )

    def conditional_power(
        self, z: float, effect: Literal["trend", "design", "null"] | float = "trend"
    ) -> float:
        """Probability of passing the efficacy limit at a look still to come, given z at this one.

        effect: "trend", the effect as estimated now; "design", that of the plan; "null", none; or a number,
        theta (minus the log hazard ratio). The looks to come are those of the plan beyond the present
        information, with the spending by information. Non-binding futility limits are not counted as stops.
        With one look to come this is the formula of Lan, Simon & Halperin (Commun Stat C 1982;1:207-19).
        """
        _check_z(z)
        return self._chance(z, self._drift(z, effect), self._to_come())

    def predictive_power(
        self, z: float, *, prior_mean: float | None = None, prior_variance: float = math.inf
    ) -> float:
        """Conditional power averaged over what is believed of theta, given z at the latest look.

        The prior is normal with this mean and variance (of theta; minus the log hazard ratio), by default
        flat (Spiegelhalter, Freedman & Blackburn, Control Clin Trials 1986;7:8-17).
        """
        _check_z(z)
        if not prior_variance > 0:
            raise UserError(f"prior_variance: {prior_variance:g} is not above 0")
        if (prior_mean is None) != (prior_variance == math.inf):
            raise UserError("a prior needs both its mean and its variance; leave both out for a flat one")
        to_come = self._to_come()
        now = self.fisher_information
        precision = 0.0 if prior_mean is None else 1 / prior_variance
        mean = (z * math.sqrt(now) + precision * (prior_mean or 0.0)) / (now + precision)
        spread = 1 / math.sqrt(now + precision)
        unit = math.sqrt(self.maximum * self.information_per_unit)
        total = 0.0
        for x, weight in zip(_POSTERIOR_NODES * _POSTERIOR_REACH, _POSTERIOR_WEIGHTS, strict=True):
            belief = math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * weight * _POSTERIOR_REACH
            total += belief * self._chance(z, (mean + x * spread) * unit, to_come)
        return min(1.0, total)

    def _stopping_below(self) -> tuple[float, ...]:
        """The lower limits that ended trials at the looks taken."""
        if self.harm is not None:
            return self.harm
        if self.design.sides == 2:
            return tuple(-limit for limit in self.efficacy)
        if self.futility is not None and self.design.binding:
            return self.futility
        return (-math.inf,) * len(self.efficacy)

    def _decision(self, z: float) -> Decision:
        limit = self.efficacy[-1]
        if z >= limit:
            return "stop for efficacy"
        if self.design.sides == 2 and z <= self._stopping_below()[-1]:
            return "stop for harm"
        if self.final:
            return "no difference shown"
        if self.futility is not None and z <= self.futility[-1]:
            return "stop for futility"
        return "continue"

    def _limit_at(self, alpha: float) -> float:
        """The efficacy limit of the latest look, had the plan had this alpha; futility left aside."""
        t = np.array(self.information)
        spent = _spent(self.design, t, np.array(self.spending_time), self.final, alpha)
        limit = float(
            integration.limits(t, spent, _NO_FUTILITY, 0.0, self.design.sides, False, self.final)[1][-1]
        )
        if self.draws is None or self.final:
            return limit
        return next_level(self.draws, self.observed[-1], limit, self.design.sides)

    def _repeated_p(self, z: float) -> float | None:
        if self.design.kind == "haybittle-peto":
            return None
        z = abs(z) if self.design.sides == 2 else z
        most = 0.4999 * self.design.sides

        def short(log_odds: float) -> float:
            return min(self._limit_at(most * float(expit(log_odds))), 40.0) - z

        low, high = float(logit(1e-15)), float(logit(1 - 1e-9))
        if short(high) >= 0:
            return 1.0
        if short(low) <= 0:
            return 0.0
        return most * float(expit(brentq(short, low, high, xtol=1e-10)))

    def _drift(self, z: float, effect: Literal["trend", "design", "null"] | float) -> float:
        """The drift, as a mean at the planned maximum, of an effect named or given as theta."""
        if effect == "trend":
            return z / math.sqrt(self.information[-1])
        if effect == "design":
            return self.design.drift
        if effect == "null":
            return 0.0
        if isinstance(effect, str):
            known = near_or_all(effect, ("trend", "design", "null"))
            raise UserError(f'effect: there is no "{effect}"{known}; or give a number')
        if not math.isfinite(effect):
            raise UserError(f"effect: {effect} is no number")
        return effect * math.sqrt(self.maximum * self.information_per_unit)

    def _to_come(self) -> tuple[Floats, Floats, Floats]:
        """Information and limits (lower, upper) of the looks that the plan still has."""
        if self.final:
            raise UserError("this was the last look: nothing is left on which power could be conditional")
        now = self.information[-1]
        ahead = [share for share in self.design.information if share > now * (1 + 1e-3)]
        if not ahead:
            raise UserError(
                f"the plan has no look beyond {now:.1%} of the information, so there is no power to speak of"
            )
        whole = _at(
            self.design,
            (*self.observed, *(share * self.maximum for share in ahead)),
            (*self.spending_time, *(max(share, self.spending_time[-1]) for share in ahead[:-1]), 1.0),
            self.maximum,
            self.information_per_unit,
            self.draws,
        )
        taken = len(self.observed)
        return (
            np.array(whole.information[taken:]),
            np.array(whole._stopping_below()[taken:]),
            np.array(whole.efficacy[taken:]),
        )

    def _chance(self, z: float, drift: float, to_come: tuple[Floats, Floats, Floats]) -> float:
        t, lower, upper = to_come
        return float(integration.crossing(t, lower, upper, drift, float(z), self.information[-1])[1].sum())


def recompute(
    design: Boundaries,
    observed: Sequence[float],
    *,
    maximum: float,
    information_per_unit: float | None = None,
    final: bool = False,
    spend_by: Clock = "information",
    calendar: Sequence[float] | None = None,
    draws: Draws | None = None,
) -> Monitored:
    """The limits of a plan for the looks taken so far.

    observed: events (or Fisher information) at each look so far, rising; maximum: what the plan counts on at
    the last, in the same unit; information_per_unit: Fisher information per unit observed, by default that of
    one event with equal allocation, 1/4 (`information_per_event`), and 1 where `observed` is Fisher
    information itself. final: the latest look is the last one, whatever was observed. spend_by: the clock by
    which error is spent; calendar: for "calendar" and "minimum" the share of the planned duration at each
    look. draws: the participants and their allocation, for efficacy limits at levels that a number of events
    can attain (`equipoise.design.attainable`); observed are then events, and z is to be the saddlepoint
    deviate.

    A look at the full time is the last. A classical boundary keeps the constant of the plan at the
    information observed; its last look takes what is left of alpha, so that type I error is exact. Raises
    UserError for looks that are impossible.
    """
    events = rising(observed, "observed")
    if not (math.isfinite(maximum) and maximum > 0):
        raise UserError(f"maximum: {maximum:g} is not above 0")
    t = np.array(events) / maximum
    times = _spending_times(t, spend_by, calendar)
    if final:
        times[-1] = 1.0
    over = np.flatnonzero(times[:-1] >= 1.0)
    if len(over):
        at = int(over[0])
        raise UserError(
            f"observed: look {at + 1} ({events[at]:g} of {maximum:g}) was at the full time of the plan and "
            "spent everything, so it was the last; leave out the looks after it"
        )
    unit = information_per_event() if information_per_unit is None else information_per_unit
    if not (math.isfinite(unit) and unit > 0):
        raise UserError(f"information_per_unit: {unit:g} is not above 0")
    if draws is not None:
        check_draws(draws, events)
    return _at(design, events, tuple(times.tolist()), maximum, unit, draws)


def _at(
    design: Boundaries, observed: tuple[float, ...], times: tuple[float, ...], maximum: float, unit: float,
    draws: Draws | None = None,
) -> Monitored:  # fmt: skip
    """The plan at looks with this information observed and the spending functions read at these times."""
    t = np.array(observed) / maximum
    ended = times[-1] >= 1.0
    spent = _spent(design, t, np.array(times), ended, design.alpha)
    futility = beta = None
    if design.futility_kind is None:
        lower, upper = integration.limits(t, spent, _NO_FUTILITY, 0.0, design.sides, False, ended)
    else:
        used = spending(design.futility_kind, 1 - design.power, times, parameter=design.futility_parameter)
        lower, upper = integration.limits(t, spent, used, design.drift, 1, design.binding, ended)
    harm = None
    if draws is not None:
        below, upper, spent = attainable_limits(
            t, spent, observed, draws, sides=design.sides, ended=ended,
            futility=lower if design.binding else None,
        )  # fmt: skip
        harm = tuple(below.tolist()) if design.sides == 2 else None
    if design.futility_kind is not None:
        futility, beta = tuple(np.minimum(lower, upper).tolist()), tuple(used.tolist())
    return Monitored(
        design=design,
        observed=observed,
        maximum=float(maximum),
        information_per_unit=unit,
        information=tuple(t.tolist()),
        spending_time=times,
        final=ended,
        efficacy=tuple(upper.tolist()),
        futility=futility,
        alpha_spent=tuple(spent.tolist()),
        beta_spent=beta,
        notes=(*notes(upper, futility), *_remarks(t, ended, futility, upper)),
        harm=harm,
        draws=draws,
    )


def _spending_times(t: Floats, spend_by: str, calendar: Sequence[float] | None) -> Floats:
    if spend_by not in CLOCKS:
        raise UserError(f'spend_by: there is no "{spend_by}"{near_or_all(spend_by, CLOCKS)}')
    information = np.minimum(t, 1.0)
    if spend_by == "information":
        if calendar is not None:
            raise UserError(
                'calendar: these shares would not be used; let spending go by "calendar" or "minimum"'
            )
        return information
    if calendar is None:
        raise UserError(
            f'calendar: spending by "{spend_by}" needs the share of the planned duration at each look'
        )
    shares = np.array(rising(calendar, "calendar"))
    if len(shares) != len(t):
        raise UserError(f"calendar: there are {len(shares)} shares for {len(t)} looks; one each is needed")
    if shares[-1] > MOST_TIMES_LONGER:
        raise UserError(
            f"calendar: {shares[-1]:g} is no share of the planned duration; write shares, as in 0.3 for 30%"
        )
    early = np.flatnonzero(shares[:-1] >= 1.0)
    if len(early):
        raise UserError(
            f"calendar: look {early[0] + 1} was at the planned duration ({shares[early[0]]:g} of it) and "
            "spent everything, so it was the last; leave out the looks after it"
        )
    shares = np.minimum(shares, 1.0)
    return np.asarray(shares if spend_by == "calendar" else np.minimum(shares, information))


def _spent(design: Boundaries, t: Floats, times: Floats, ended: bool, alpha: float) -> Floats:
    """Cumulative type I error at the looks taken, out of alpha; over both sides where there are two."""
    if design.kind in NAMES:
        return spending(design.kind, alpha, times, parameter=design.parameter, sides=design.sides)
    planned = np.array(design.information)
    upper = classical_limits(design.kind, design.parameter, planned, t, alpha, design.sides)
    spent = np.minimum(cumulative_alpha(t, upper, design.sides), alpha)
    if ended:
        spent[-1] = alpha
    return np.asarray(spent)


def _remarks(t: Floats, ended: bool, futility: tuple[float, ...] | None, upper: Floats) -> list[str]:
    said = []
    if ended and t[-1] > 1 + 1e-9:
        said.append(
            f"the trial over-ran: {t[-1]:.1%} of the planned information; the last limit allows for it"
        )
    elif ended and t[-1] < 1 - 1e-9:
        said.append(
            f"the last look came at {t[-1]:.1%} of the planned information and spends all that is left"
        )
    for look, limit in enumerate((futility or ())[: -1 if ended else None], 1):
        if limit == upper[look - 1]:
            said.append(f"look {look}: the futility limit reaches the efficacy limit, so the trial ends here")
    return said


def _check_z(z: float) -> None:
    if not math.isfinite(z):
        raise UserError(f"z: {z} is no number")
    if abs(z) > 30:
        raise UserError(f"z: a statistic of {z:g} is no result of a trial; check it")
