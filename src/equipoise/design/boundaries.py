"""Boundaries of a group-sequential trial: the limits that its test statistic is held against at each look.

The statistic is on the scale of z, positive where the treatment does better; information is a share of the
planned maximum. Methods and papers are gathered in docs/monitoring.md; how the probabilities are computed is
told in `equipoise.design.integration`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from equipoise.design import integration
from equipoise.design.spending import NAMES as SPENDING
from equipoise.design.spending import PARAMETERS, checked_parameter, spending
from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all

Floats = NDArray[np.float64]

EXACT_SHAPES = {"obrien-fleming exact": 0.0, "pocock exact": 0.5}
"""Members of the Wang-Tsiatis family with a name, and their Delta."""
CLASSICAL = (*EXACT_SHAPES, "wang-tsiatis", "haybittle-peto")
KINDS = (*SPENDING, *CLASSICAL)
HAYBITTLE_PETO = 3.0
"""The limit at every look but the last (Haybittle 1971; Peto et al. 1976)."""
MOST_LOOKS = 100
_FAR_OUT = 6.0


@dataclass(frozen=True)
class Crossing:
    """Probabilities of ending at each look, under one drift."""

    efficacy: tuple[float, ...]
    """Passing the efficacy limit first at this look."""
    lower: tuple[float, ...]
    """Passing the lower limit first at this look: for futility, or, in a two-sided test, for harm."""

    @property
    def rejected(self) -> float:
        """The probability of passing the efficacy limit at any look."""
        return sum(self.efficacy)


@dataclass(frozen=True)
class Boundaries:
    """The limits of a group-sequential design, and what follows from them. Made by `boundaries`."""

    kind: str
    parameter: float | None
    information: tuple[float, ...]
    """Shares of the maximum at which the looks are planned; the last is 1."""
    alpha: float
    """Type I error, over both sides where `sides` is 2."""
    sides: int
    power: float
    futility_kind: str | None
    futility_parameter: float | None
    binding: bool
    efficacy: tuple[float, ...]
    """Limits on the scale of z; infinite at a look where nothing can be spent."""
    futility: tuple[float, ...] | None
    """Limits on the scale of z; the last is the efficacy limit. None without futility limits."""
    alpha_spent: tuple[float, ...]
    """Cumulative type I error, over both sides where `sides` is 2."""
    beta_spent: tuple[float, ...] | None
    """Cumulative type II error at futility limits, under the drift."""
    drift: float
    """Mean of the last statistic under the alternative, for which the power is as planned."""
    notes: tuple[str, ...]
    """What was done at looks where numbers end."""

    @property
    def nominal_p(self) -> tuple[float, ...]:
        """One-sided p-values that the efficacy limits amount to."""
        return tuple(float(ndtr(-z)) for z in self.efficacy)

    @property
    def nominal_p_two_sided(self) -> tuple[float, ...]:
        """Two-sided p-values that the efficacy limits amount to."""
        return tuple(2 * p for p in self.nominal_p)

    @property
    def inflation(self) -> float:
        """The inflation factor: the maximum information as a multiple of that of a fixed design with the same
        errors.

        The fixed design has drift z(1 - alpha/sides) + z(power) (Jennison & Turnbull 2000, chapter 2).
        """
        return (self.drift / fixed_drift(self.alpha, self.sides, self.power)) ** 2

    @cached_property
    def lower(self) -> tuple[float, ...]:
        """The lower limits in force: futility, or the mirror of efficacy in a two-sided test, or none."""
        if self.sides == 2:
            return tuple(-z for z in self.efficacy)
        return self.futility or (-math.inf,) * len(self.efficacy)

    def crossing(self, drift: float, *, futility: bool = True) -> Crossing:
        """Probabilities of ending at each look when the mean of the last statistic is `drift`.

        `futility=False`: as if no trial were stopped for futility. At the last look of a design with futility
        limits, lower is everything short of efficacy.
        """
        if not math.isfinite(drift):
            raise UserError(f"drift: {drift} is no number")
        ignored = self.futility is not None and not futility
        lower = (-math.inf,) * len(self.efficacy) if ignored else self.lower
        below, above = integration.crossing(
            np.array(self.information), np.array(lower), np.array(self.efficacy), float(drift)
        )
        return Crossing(tuple(above.tolist()), tuple(below.tolist()))

    def expected_information(self, drift: float) -> float:
        """Mean information at the end of the trial, as a share of the maximum, all limits being kept to."""
        ended = self.crossing(drift)
        left = 1.0
        mean = 0.0
        for share, above, below in zip(self.information[:-1], ended.efficacy, ended.lower, strict=False):
            mean += share * (above + below)
            left -= above + below
        return mean + self.information[-1] * left

    def hazard_ratios(
        self, events: float, allocation: float = 0.5
    ) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Hazard ratios at the efficacy and the futility limits, for a maximum of `events`.

        allocation: the share of participants in the experimental arm. By Schoenfeld (Biometrika
        1981;68:316-9), the log hazard ratio has variance 1 / (p (1 - p) d) with d events.
        """
        counts = [share * events for share in self.information]
        each = [
            tuple(hazard_ratio(z, d, allocation) for z, d in zip(limits, counts, strict=True))
            for limits in (self.efficacy, self.futility or ())
            if limits
        ]
        return each[0], each[1] if len(each) == 2 else None


def boundaries(
    information: Sequence[float],
    *,
    alpha: float = 0.025,
    sides: int = 1,
    kind: str = "obrien-fleming",
    parameter: float | None = None,
    power: float = 0.9,
    futility: str | None = None,
    futility_parameter: float | None = None,
    binding: bool = False,
) -> Boundaries:
    """The limits of a group-sequential design.

    information: shares of the maximum at the looks, rising, the last one 1. kind: a spending function
    (obrien-fleming, pocock, hwang-shih-decani with gamma, kim-demets with rho as `parameter`), or a classical
    boundary: "obrien-fleming exact" (O'Brien & Fleming 1979), "pocock exact" (Pocock 1977), wang-tsiatis with
    Delta as `parameter` (Wang & Tsiatis 1987: limits proportional to t^(Delta - 1/2)), haybittle-peto (3, or
    `parameter`, at every look but the last, where what is left of alpha decides). A two-sided test is
    symmetric, with alpha over both sides.

    futility: the name of the spending function for type II error, one-sided tests only. Non-binding limits
    leave the efficacy limits as if they were not there, so that they may be overruled; binding ones lower
    them. The drift is solved for so that the power is as planned and the two limits meet at the last look
    (Pampallona, Tsiatis & Kim, Drug Inf J 2001;35:1113-21).

    Raises UserError for an impossible schedule, error probabilities out of range, an unknown name.
    """
    looks = checked_looks(information)
    _check_errors(alpha, sides, power)
    if kind not in KINDS:
        raise UserError(f'kind: there is no boundary "{kind}"{near_or_all(kind, KINDS)}')
    value = _checked(kind, parameter)
    _check_futility(kind, sides, futility, futility_parameter, binding)
    spent = efficacy_spent(kind, value, looks, alpha, sides)
    t = np.array(looks)
    if futility is None:
        _, upper = integration.limits(t, spent, np.zeros(0), 0.0, sides, False, True)
        lower = -upper if sides == 2 else np.full(len(t), -math.inf)
        drift = _drift(t, lower, upper, alpha, sides, power)
        beta_spent = limits_below = None
    else:
        beta = spending(futility, 1 - power, t, parameter=futility_parameter)
        drift = _drift_with_futility(t, spent, beta, alpha, power, binding)
        lower, upper = integration.limits(t, spent, beta, drift, sides, binding, True)
        beta_spent = tuple(beta.tolist())
        limits_below = tuple(lower.tolist())
    return Boundaries(
        kind=kind,
        parameter=value,
        information=looks,
        alpha=alpha,
        sides=sides,
        power=power,
        futility_kind=futility,
        futility_parameter=futility_parameter,
        binding=binding,
        efficacy=tuple(upper.tolist()),
        futility=limits_below,
        alpha_spent=tuple(spent.tolist()),
        beta_spent=beta_spent,
        drift=drift,
        notes=notes(upper, limits_below),
    )


def hazard_ratio(z: float, events: float, allocation: float = 0.5) -> float:
    """The hazard ratio that a statistic z amounts to with so many events; 0 or infinite for infinite z."""
    if not 0 < events < math.inf:
        raise UserError(f"events: {events:g} is not above 0")
    try:
        return math.exp(-z / math.sqrt(information_per_event(allocation) * events))
    except OverflowError:
        return math.inf


def information_per_event(allocation: float = 0.5) -> float:
    """Information on the log hazard ratio per event: p (1 - p), p the share in the experimental arm."""
    if not 0 < allocation < 1:
        raise UserError(
            f"allocation: a share of {allocation:g} in the experimental arm is not between 0 and 1"
        )
    return allocation * (1 - allocation)


def fixed_drift(alpha: float, sides: int, power: float) -> float:
    """The drift at which a trial without interim looks has this power."""
    return float(-ndtri(alpha / sides) + ndtri(power))


def efficacy_spent(
    kind: str, parameter: float | None, looks: Sequence[float], alpha: float, sides: int
) -> Floats:
    """Cumulative type I error spent at the planned looks, over both sides; shape (K,)."""
    t = np.array(looks)
    if kind in SPENDING:
        return spending(kind, alpha, t, parameter=parameter, sides=sides)
    spent = cumulative_alpha(t, classical_limits(kind, parameter, t, t, alpha, sides), sides)
    if kind == "haybittle-peto" and len(t) > 1 and spent[-2] >= alpha:
        raise UserError(
            f"parameter: limits of {parameter:g} before the last look spend {spent[-2]:.4g} of alpha "
            f"{alpha:g}, which leaves nothing for the last; choose a higher limit or fewer looks"
        )
    spent[-1] = alpha
    return spent


def classical_limits(
    kind: str, parameter: float | None, planned: Floats, t: Floats, alpha: float, sides: int
) -> Floats:
    """Limits at the looks t of a classical boundary whose constant was found for the looks planned.

    C t^(Delta - 1/2), with C such that alpha is spent over the looks planned; haybittle-peto: its one limit
    at each, whatever alpha is (the caller lets the last look take what is left).
    """
    if kind == "haybittle-peto":
        return np.full(len(t), HAYBITTLE_PETO if parameter is None else parameter)
    power = (EXACT_SHAPES[kind] if kind in EXACT_SHAPES else float(parameter or 0.0)) - 0.5
    shape = planned**power
    single = -float(ndtri(alpha / sides))
    constant = _root(
        lambda c: 1 - float(cumulative_alpha(planned, c * shape, sides)[-1]) / alpha, 0.5 * single, 2 * single
    )
    return np.asarray(constant * t**power)


def cumulative_alpha(t: Floats, upper: Floats, sides: int) -> Floats:
    """Cumulative type I error of efficacy limits, over both sides where there are two, without futility."""
    lower = -upper if sides == 2 else np.full(len(t), -math.inf)
    _, above = integration.crossing(t, lower, upper, 0.0)
    return np.asarray(sides * np.cumsum(above))


def checked_looks(information: Sequence[float]) -> tuple[float, ...]:
    """The looks as shares of the planned information; raises UserError for an impossible schedule."""
    looks = rising(information, "looks")
    if looks[-1] > 1 + 1e-12:
        over = "; write shares (0.5), not per cent" if looks[-1] > 2 else ""
        raise UserError(f"looks: {looks[-1]:g} is more than the planned information, which is 1{over}")
    if abs(looks[-1] - 1) > 1e-12:
        raise UserError(f"looks: the last is {looks[-1]:g}; a plan ends at the full information: add 1")
    return (*looks[:-1], 1.0)


def rising(values: Sequence[float], place: str) -> tuple[float, ...]:
    """Positive numbers that rise by enough to be told apart; `place` names them in the UserError
    otherwise."""
    looks = tuple(float(value) for value in values)
    if not looks:
        raise UserError(f"{place}: there are none; name at least one")
    if len(looks) > MOST_LOOKS:
        raise UserError(f"{place}: there are {len(looks)}; at most {MOST_LOOKS} can be handled")
    for number, look in enumerate(looks):
        if not math.isfinite(look):
            raise UserError(f"{place}: {look} is no number")
        if look <= 0:
            raise UserError(f"{place}: {look:g} is not above 0")
        before = looks[number - 1] if number else 0.0
        if look <= before:
            raise UserError(f"{place}: {look:g} comes after {before:g}; they must rise, without repeats")
        if number and look - before < integration.CLOSEST * look:
            raise UserError(f"{place}: {before!r} and {look!r} are too close to be two looks; leave one out")
    return looks


def notes(efficacy: Floats, futility: tuple[float, ...] | None) -> tuple[str, ...]:
    """What a reader must know about limits where numbers end, one sentence per look concerned."""
    said = []
    for look, z in enumerate(efficacy, 1):
        if z == math.inf:
            said.append(
                f"look {look}: less than {integration.SMALLEST:g} may be spent here, which is too little to "
                "resolve; the limit is infinite and no trial stops for efficacy at this look"
            )
        elif z > _FAR_OUT:
            said.append(
                f"look {look}: the limit {z:.2f} (p = {float(ndtr(-z)):.1e}) is right for a normal "
                "statistic, but no trial's is normal so far out; read it as no stop for efficacy here"
            )
    for look, z in enumerate(futility or (), 1):
        if z == -math.inf:
            said.append(
                f"look {look}: nothing can be spent on futility here; no trial stops for it at this look"
            )
    return tuple(said)


def _checked(kind: str, parameter: float | None) -> float | None:
    """The parameter of a boundary, None where it has none."""
    if kind in SPENDING:
        value = checked_parameter(kind, parameter, "parameter")
        return value if kind in PARAMETERS else None
    if kind in EXACT_SHAPES:
        if parameter is not None:
            raise UserError(f'parameter: "{kind}" takes none; leave it out, or choose wang-tsiatis')
        return None
    if kind == "wang-tsiatis":
        if parameter is None:
            raise UserError(
                "parameter: wang-tsiatis needs its parameter Delta, from 0 (O'Brien-Fleming) to 0.5 (Pocock)"
            )
        if not -0.5 <= parameter <= 0.5:
            raise UserError(
                f"parameter: Delta of wang-tsiatis is {parameter:g}; it must lie from -0.5 to 0.5"
            )
        return float(parameter)
    value = HAYBITTLE_PETO if parameter is None else float(parameter)
    if not 1 <= value <= 8:
        raise UserError(f"parameter: the limit of haybittle-peto is {value:g}; it must lie from 1 to 8")
    return value


def _check_errors(alpha: float, sides: int, power: float) -> None:
    if sides not in (1, 2):
        raise UserError(f"sides: {sides} is neither 1 nor 2")
    if not 1e-9 <= alpha / sides < 0.5:
        raise UserError(
            f"alpha: {alpha:g} is out of range; a one-sided level lies between 0 and 0.5 (usually 0.025), a "
            "two-sided one between 0 and 1 (usually 0.05)"
        )
    if not alpha / sides < power < 1 - 1e-9:
        raise UserError(
            f"power: {power:g} is out of range; it must lie between alpha and 1 (usually 0.8 or 0.9)"
        )


def _check_futility(
    kind: str, sides: int, futility: str | None, parameter: float | None, binding: bool
) -> None:
    if futility is None:
        if parameter is not None:
            raise UserError("futility_parameter: there is no futility spending that it could belong to")
        if binding:
            raise UserError(
                "binding: there are no futility limits that could bind; name their spending function"
            )
        return
    if futility not in SPENDING:
        known = near_or_all(futility, SPENDING)
        raise UserError(f'futility: there is no spending function "{futility}"{known}')
    if sides == 2:
        raise UserError(
            "futility: two-sided tests with futility limits are not done; use a one-sided test at "
            "half the alpha"
        )
    if binding and kind in CLASSICAL:
        raise UserError(
            f'binding: "{kind}" limits do not depend on futility; choose a spending function, or '
            "non-binding limits"
        )
    checked_parameter(futility, parameter, "futility_parameter")


def _drift(t: Floats, lower: Floats, upper: Floats, alpha: float, sides: int, power: float) -> float:
    """The drift under which the efficacy limit is passed with the planned probability."""
    least = fixed_drift(alpha, sides, power)
    return _root(
        lambda d: float(integration.crossing(t, lower, upper, d)[1].sum()) - power, 0.9 * least, 1.2 * least
    )


def _drift_with_futility(
    t: Floats, spent: Floats, beta: Floats, alpha: float, power: float, binding: bool
) -> float:
    """The drift at which the futility limit, with all of beta spent, meets the efficacy limit at the last
    look.

    A larger drift raises the futility limits; no smaller one than that of the fixed design can do, since no
    design has more power than that one at the same information (Neyman and Pearson).
    """

    def gap(drift: float) -> float:
        lower, upper = integration.limits(t, spent, beta, drift, 1, binding, False)
        if np.any(lower[:-1] >= upper[:-1]) or (math.isinf(lower[-1]) and math.isinf(upper[-1])):
            return 10.0
        return float(np.clip(lower[-1] - upper[-1], -10.0, 10.0))

    least = fixed_drift(alpha, 1, power)
    drift = _root(gap, least * (1 - 1e-9), 1.2 * least)
    if abs(gap(drift)) > 1e-6:
        raise UserError(
            "futility: with this spending the futility limit reaches the efficacy limit before the last "
            "look; choose a spending function that spends later, or fewer looks"
        )
    return drift


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes 0; the ends are moved outwards until they hold it."""
    for _ in range(60):
        if f(low) <= 0:
            break
        low *= 0.8
    for _ in range(60):
        if f(high) >= 0:
            break
        high *= 1.25
    return float(brentq(f, low, high, xtol=1e-13, rtol=1e-14))
