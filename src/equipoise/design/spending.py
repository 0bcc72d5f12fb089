"""Spending functions: how much of the error probability may have been used up by a given information time.

    name                 f(t), one-sided alpha                            parameter
    obrien-fleming       2 P(Z > z(alpha/2) / sqrt(t))                    none      Lan & DeMets 1983
    pocock               alpha log(1 + (e - 1) t)                         none      Lan & DeMets 1983
    hwang-shih-decani    alpha (1 - exp(-gamma t)) / (1 - exp(-gamma))    gamma     Hwang, Shih & DeCani 1990
    kim-demets           alpha t^rho                                      rho > 0   Kim & DeMets 1987

Lan & DeMets, Biometrika 1983;70:659-63; Hwang, Shih & DeCani, Stat Med 1990;9:1439-45; Kim & DeMets,
Biometrika 1987;74:149-54. A two-sided test at alpha spends f at alpha/2 on either side. The same functions
spend type II error for futility.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise._compile import njit
from equipoise.design.normal import above, above_quantile
from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all

OBRIEN_FLEMING, POCOCK, HWANG_SHIH_DECANI, KIM_DEMETS = range(4)
NAMES = ("obrien-fleming", "pocock", "hwang-shih-decani", "kim-demets")
PARAMETERS = {"hwang-shih-decani": "gamma", "kim-demets": "rho"}
_LARGEST_GAMMA = 40.0


@njit
def spent(function, parameter, total, time):
    """Error spent by information time `time` out of `total`, one-sided; compiled, for use inside compiled
    code.

    function: OBRIEN_FLEMING, POCOCK, HWANG_SHIH_DECANI or KIM_DEMETS; parameter: gamma or rho, otherwise not
    used. 0 at time 0 and before, `total` from time 1 on.
    """
    if time <= 0.0:
        return 0.0
    if time >= 1.0:
        return total
    if function == OBRIEN_FLEMING:
        return 2.0 * above(above_quantile(0.5 * total) / math.sqrt(time))
    if function == POCOCK:
        return total * math.log1p((math.e - 1.0) * time)
    if function == HWANG_SHIH_DECANI:
        if parameter == 0.0:
            return total * time
        return total * math.expm1(-parameter * time) / math.expm1(-parameter)
    return total * time**parameter


def code(name: str, parameter: float | None, what: str = "spending") -> tuple[int, float]:
    """The number of a spending function and its parameter, for `spent`.

    Raises UserError for an unknown name (with the nearest) and for a parameter that is missing, out of range
    or superfluous; `what` names the place.
    """
    if name not in NAMES:
        raise UserError(f'{what}: there is no spending function "{name}"{near_or_all(name, NAMES)}')
    return NAMES.index(name), checked_parameter(name, parameter, what)


def checked_parameter(name: str, parameter: float | None, what: str) -> float:
    """The parameter of a spending function, 0 where it has none; raises UserError as `code` does."""
    if name not in PARAMETERS:
        if parameter is not None:
            raise UserError(f"{what}: {name} takes no parameter; leave it out")
        return 0.0
    symbol = PARAMETERS[name]
    if parameter is None:
        usual = "gamma, from -4 (like O'Brien-Fleming) to 1 (like Pocock)"
        if name == "kim-demets":
            usual = "rho, from 3 (like O'Brien-Fleming) to 1 (like Pocock)"
        raise UserError(f"{what}: {name} needs its parameter {usual}")
    if not math.isfinite(parameter):
        raise UserError(f"{what}: the parameter {symbol} is {parameter}, expected a number")
    if name == "kim-demets" and parameter <= 0:
        raise UserError(f"{what}: the parameter rho of kim-demets is {parameter:g}; it must be above 0")
    if name == "hwang-shih-decani" and abs(parameter) > _LARGEST_GAMMA:
        raise UserError(
            f"{what}: the parameter gamma of hwang-shih-decani is {parameter:g}; it must lie from -40 to 40"
        )
    return float(parameter)


def spending(
    name: str, total: float, times: ArrayLike, *, parameter: float | None = None, sides: int = 1
) -> NDArray[np.float64]:
    """Error spent by each of the information times, by the function of that name.

    total: what may be spent in all, over both sides where `sides` is 2; times: shares of the planned
    information, shape (K,); a time over 1 spends everything. Returns shape (K,). Raises UserError as `code`
    does.
    """
    function, value = code(name, parameter)
    each = np.atleast_1d(np.asarray(times, float))
    return np.array([sides * spent(function, value, total / sides, t) for t in each])
