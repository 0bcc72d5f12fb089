"""Maximum likelihood for the joint model: quasi-Newton from the separate models, then Newton to the top.

`scipy.optimize.minimize` (BFGS) starts from the information that the participants' scores give; Newton steps
with the observed information, differenced from the score, end the work and give the standard errors. What is
not at a maximum is never passed off as an estimate: see `Fit.problem`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from equipoise.analyse.joint.layout import Floats, Layout
from equipoise.analyse.joint.likelihood import Nodes, Parameters, log_likelihood_and_scores

_FLAT = 1e-7
"""Newton decrement (twice the height still to be gained) below which a maximum is reached."""

_FAR = 1e-3
"""Above this decrement a Newton step is long enough for the information to be differenced anew."""

_MOST_STEPS = 20

_NOISE = 1e-4
"""The score is that of the integral, the likelihood its quadrature: they may disagree by this little."""

_NO_MAXIMUM = (
    "there is no maximum where the search ended, perhaps because the data do not identify a parameter"
)

_STEP = 1e-4
"""Step of the central differences of the score, per unit of each parameter."""


@dataclass(frozen=True)
class Fit:
    """A maximum: `vector` and `covariance` in the order of `Parameters.vector`; only the `free` ones were
    estimated, the others have variance 0. `decrement`: score' information^-1 score, 0 at a maximum.
    `problem` says in words why it is not a maximum, or is empty."""

    vector: Floats
    covariance: Floats
    log_likelihood: float
    decrement: float
    iterations: int
    free: NDArray[np.bool_]
    problem: str = ""


def maximised(start: Floats, free: NDArray[np.bool_], data: Layout, nodes: Nodes) -> Fit:
    """Maximise over the `free` parameters, the others staying as in `start`."""
    surface = _Surface(start, free, data, nodes)
    first = start[free]
    _, scores = surface.at(first)
    rough = minimize(
        surface.falling, first, jac=True, method="BFGS",
        options={"hess_inv0": _inverse(scores.T @ scores), "gtol": 1e-3, "maxiter": 200},
    )  # fmt: skip
    here, steps = rough.x, 0
    information = surface.information(here)
    decrement, problem = math.inf, _NO_MAXIMUM
    while _positive(information):
        loglik, scores = surface.at(here)
        score = scores.sum(axis=0)
        step = np.linalg.solve(information, score)
        decrement = float(score @ step)
        if decrement < _FLAT:
            problem = ""
            break
        problem = f"the likelihood was still rising after {int(rough.nit) + steps} iterations"
        if steps == _MOST_STEPS:
            break
        here, steps = surface.uphill(here, step, float(loglik.sum())), steps + 1
        if decrement > _FAR:
            information = surface.information(here)
    covariance = np.full((len(start), len(start)), np.nan)
    if not problem:
        covariance = np.zeros_like(covariance)
        covariance[np.ix_(free, free)] = np.linalg.inv(information)
    height = float(surface.at(here)[0].sum())
    iterations = int(rough.nit) + steps
    return Fit(surface.whole(here), covariance, height, decrement, iterations, free, problem)


class _Surface:
    """The log likelihood over the free parameters."""

    def __init__(self, start: Floats, free: NDArray[np.bool_], data: Layout, nodes: Nodes) -> None:
        self._start, self._free, self._data, self._nodes = start, free, data, nodes

    def whole(self, part: Floats) -> Floats:
        out = self._start.copy()
        out[self._free] = part
        return out

    def at(self, part: Floats) -> tuple[Floats, Floats]:
        loglik, scores = log_likelihood_and_scores(self.whole(part), self._data, self._nodes)
        return loglik, scores[:, self._free]

    def falling(self, part: Floats) -> tuple[float, Floats]:
        """What a minimiser needs; a step so long that the likelihood is no number is a very bad one."""
        with np.errstate(all="ignore"):
            try:
                loglik, scores = self.at(part)
            except np.linalg.LinAlgError:
                return 1e300, np.zeros(len(part))
        value, slope = -float(loglik.sum()), -scores.sum(axis=0)
        if not np.isfinite(value) or not np.isfinite(slope).all():
            return 1e300, np.zeros(len(part))
        return value, slope

    def information(self, part: Floats) -> Floats:
        columns = []
        for k in range(len(part)):
            step = np.zeros(len(part))
            step[k] = _STEP * max(1.0, abs(part[k]))
            up, down = self.at(part + step)[1].sum(axis=0), self.at(part - step)[1].sum(axis=0)
            columns.append((down - up) / (2 * step[k]))
        matrix = np.array(columns)
        return np.asarray((matrix + matrix.T) / 2, np.float64)

    def uphill(self, here: Floats, step: Floats, loglik: float) -> Floats:
        """The longest of the halved steps that leads up, within the error of the quadrature."""
        for halving in range(12):
            there = here + step * 0.5**halving
            if -self.falling(there)[0] >= loglik - _NOISE:
                return there
        return here


def starting_values(data: Layout) -> Parameters:
    """Least squares for the marker, with its variance shared between people and residual; the crude rate of
    events in each interval; no effect of arm or marker."""
    beta, *_ = np.linalg.lstsq(data.X, data.y, rcond=None)
    variance = max(float(np.var(data.y - data.X @ beta)), 1e-8)
    last = max(float(data.Z[:, 1].max()), 1e-8)
    exposure = np.bincount(data.interval, data.weight, minlength=data.intervals)
    events = np.bincount(data.end, data.event, minlength=data.intervals)
    return Parameters(
        beta=np.asarray(beta, np.float64),
        log_sigma=0.5 * np.log(variance / 4),
        L=np.diag([np.sqrt(variance * 0.7), np.sqrt(variance * 0.05) / last]),
        gamma=0.0,
        alpha=0.0,
        log_hazard=np.log(events / exposure),
    )


def in_units(fit: Fit, data: Layout, centre: float, spread: float) -> Fit:
    """A fit to (marker - centre) / spread as the fit to the marker, with a positive diagonal of L."""
    p = len(data.terms)
    scale = np.ones(len(fit.vector))
    scale[:p] = scale[p + 1 : p + 4] = spread
    scale[p + 5] = 1 / spread
    first, second = np.sign(fit.vector[p + 1]) or 1.0, np.sign(fit.vector[p + 3]) or 1.0
    scale[p + 1 : p + 3] *= first
    scale[p + 3] *= second
    change = np.diag(scale)
    change[p + 6 :, p + 5] = -centre / spread  # the baseline hazard is that of a marker of 0
    shift = np.zeros(len(scale))
    shift[0], shift[p] = centre, math.log(spread)
    return replace(
        fit,
        vector=change @ fit.vector + shift,
        covariance=change @ fit.covariance @ change.T,
        log_likelihood=fit.log_likelihood - len(data.y) * math.log(spread),
    )


def _positive(matrix: Floats) -> bool:
    if not np.isfinite(matrix).all():
        return False
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if (scale == 0).any():
        return False
    return bool(np.linalg.eigvalsh(matrix / np.outer(scale, scale)).min() > 1e-9)


def _inverse(matrix: Floats) -> Floats:
    """Inverse of an information matrix, made safely positive definite where the data say little."""
    scale = np.sqrt(np.diag(matrix)) + 1e-8
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    inverse = (vectors / np.maximum(values, 1e-4)) @ vectors.T
    out = inverse / np.outer(scale, scale)
    return np.asarray((out + out.T) / 2, np.float64)
