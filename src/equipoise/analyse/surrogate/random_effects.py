"""Two effects per unit, each with error: a bivariate random-effects model by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import chdtri

from equipoise.analyse.surrogate.data import Floats
from equipoise.analyse.surrogate.rows import Matrix

EDGE = 0.9999
_NO_SPREAD = "the units' effects on {} differ no more than by chance, so that nothing tells one by the other"


@dataclass(frozen=True)
class RandomEffects:
    """Maximum-likelihood fit. `means` (2,), `between` the units' covariance (2 x 2), `correlation` of the
    true effects. `line` (at 0, per step): the expected effect on the outcome by that on the marker, with its
    covariance, and `around_line` the variance of true effects around it. `undefined` says why there is
    none; `at_boundary` that the correlation is at its limit. `effects`: what was
    fitted, u x 2, and its error covariances, u x 2 x 2."""

    means: Floats
    between: Matrix
    correlation: float
    log_likelihood: float
    line: Floats
    line_covariance: Matrix
    around_line: float
    undefined: str
    at_boundary: str
    effects: tuple[Floats, Floats]

    def r_squared_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Profile-likelihood interval of the squared correlation: those of the correlation, squared."""
        cut = float(chdtri(1, 1 - confidence)) / 2
        y, S = self.effects
        start = np.log(np.maximum(np.diag(self.between), 1e-12)) / 2

        def above(rho: float) -> float:
            return _profile(y, S, rho, start)[0] - (self.log_likelihood - cut)

        low = -1.0 if above(-EDGE) > 0 else float(brentq(above, -EDGE, self.correlation, xtol=1e-5))
        high = 1.0 if above(EDGE) > 0 else float(brentq(above, self.correlation, EDGE, xtol=1e-5))
        least = 0.0 if low <= 0 <= high else min(low * low, high * high)
        return least, max(low * low, high * high)


def log_likelihood(y: Floats, S: Floats, D: Matrix) -> tuple[float, Floats, Matrix]:
    """(log likelihood, means, their covariance) of effects y (u x 2) ~ N(means, D + S_j), S: u x 2 x 2, the
    means at their generalised least-squares estimate."""
    V = S + D
    determinant = V[:, 0, 0] * V[:, 1, 1] - V[:, 0, 1] ** 2
    if not (determinant > 0).all():
        return -math.inf, np.full(2, math.nan), np.full((2, 2), math.nan)
    P = np.linalg.inv(V)
    spread = np.linalg.inv(P.sum(axis=0))
    means = spread @ np.einsum("ujk,uk->j", P, y)
    r = y - means
    value = -0.5 * float(np.log(determinant).sum() + np.einsum("uj,ujk,uk->", r, P, r))
    return value - len(y) * math.log(2 * math.pi), means, spread


def _between(log_sd: Floats, rho: float) -> Matrix:
    a, b = np.exp(np.clip(log_sd, -40, 40))
    return np.array([[a * a, rho * a * b], [rho * a * b, b * b]])


def _profile(y: Floats, S: Floats, rho: float, start: Floats) -> tuple[float, Floats]:
    """Largest log likelihood at a correlation, and the logarithms of the standard deviations there."""
    found = minimize(
        lambda s: -log_likelihood(y, S, _between(s, rho))[0], start, method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000},
    )  # fmt: skip
    return -float(found.fun), np.asarray(found.x)


def random_effects(on_marker: Floats, on_outcome: Floats, covariance: Floats) -> RandomEffects:
    """Fit y_j ~ N(means, D + S_j), y_j the two effects of unit j and S_j their error covariance (van
    Houwelingen, Arends & Stijnen, Stat Med 2002;21:589-624), by maximum likelihood.

    on_marker, on_outcome: (u,); covariance: u x 2 x 2. Undefined where the units' true effects on the marker
    or on the outcome do not differ: then there is nothing to correlate."""
    y, S = np.column_stack([on_marker, on_outcome]), covariance
    # steps of unit size on both scales, so that the search treats them alike
    scale = np.maximum(y.std(axis=0), 1e-12)
    z, Z = y / scale, S / np.outer(scale, scale)

    def minus(x: Floats) -> float:
        return -log_likelihood(z, Z, _between(x[:2], math.tanh(x[2])))[0]

    best = None
    for first in (-0.5, -2.0):
        for rho in (-0.5, 0.5):
            found = minimize(
                minus, np.array([first, first, math.atanh(rho)]), method="Nelder-Mead",
                options={"xatol": 1e-8, "fatol": 1e-11, "maxiter": 4000},
            )  # fmt: skip
            if best is None or found.fun < best.fun:
                best = found
    assert best is not None
    log_sd, rho = np.asarray(best.x[:2]), math.tanh(float(best.x[2]))
    edge = abs(rho) > EDGE
    rho = max(-EDGE, min(EDGE, rho))
    if edge:
        log_sd = _profile(z, Z, rho, log_sd)[1]
    D = _between(log_sd, rho)
    value, _, _ = log_likelihood(z, Z, D)
    undefined = ""
    for k, what in enumerate(("the marker", "the outcome")):
        # variance between units that is no more than a thousandth of what was seen is none
        if D[k, k] < 1e-3:
            undefined = undefined or _NO_SPREAD.format(what)
    means = log_likelihood(z, Z, D)[1]
    line, line_covariance = _line(z, Z, log_sd, rho, scale)
    sizes = np.outer(scale, scale)
    D_own = D * sizes
    return RandomEffects(
        means * scale,
        D_own,
        rho,
        value - len(y) * float(np.log(scale).sum()),
        line,
        line_covariance,
        float(D_own[1, 1] * (1 - rho**2)),
        undefined,
        "the correlation is estimated at its limit: the data do not bound it" if edge else "",
        (y, S),
    )


def _line(z: Floats, Z: Floats, log_sd: Floats, rho: float, scale: Floats) -> tuple[Floats, Matrix]:
    """Line of true effects and its covariance by the delta method, from the observed information."""
    at = np.array([*log_sd, math.atanh(rho)])

    def line(x: Floats, means: Floats) -> Floats:
        D = _between(x[:2], math.tanh(x[2]))
        slope = D[0, 1] / D[0, 0]
        return np.array([means[1] - slope * means[0], slope])

    def minus(x: Floats) -> float:
        return -log_likelihood(z, Z, _between(x[:2], math.tanh(x[2])))[0]

    _, means, means_covariance = log_likelihood(z, Z, _between(at[:2], rho))
    information = _hessian(minus, at)
    values, vectors = np.linalg.eigh(information)
    # a direction in which the likelihood is flat (a correlation at its limit) is held where it is
    inverse = np.where(values > 1e-6 * max(values.max(), 1e-300), 1 / np.maximum(values, 1e-300), 0.0)
    by_spread = _gradient(lambda x: line(x, log_likelihood(z, Z, _between(x[:2], math.tanh(x[2])))[1]), at)
    by_means = np.array([[-line(at, means)[1], 1.0], [0.0, 0.0]])
    covariance = by_spread @ (vectors * inverse) @ vectors.T @ by_spread.T
    covariance = covariance + by_means @ means_covariance @ by_means.T
    own = np.array([scale[1], scale[1] / scale[0]])
    return line(at, means) * own, covariance * np.outer(own, own)


def _gradient(f: Callable[[Floats], Floats], at: Floats) -> Matrix:
    """Derivatives of a vector by each of p numbers, shape (values, p), by central differences."""
    columns = []
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = 1e-5
        columns.append((f(at + step) - f(at - step)) / 2e-5)
    return np.column_stack(columns)


def _hessian(f: Callable[[Floats], float], at: Floats) -> Matrix:
    """Second derivatives, p x p, by central differences."""
    p, h = len(at), 1e-3
    out = np.empty((p, p))
    for i in range(p):
        for j in range(p):
            one, two = np.eye(p)[i] * h, np.eye(p)[j] * h
            out[i, j] = (f(at + one + two) - f(at + one - two) - f(at - one + two) + f(at - one - two)) / (
                4 * h * h
            )
    return out
