"""The likelihood of a marker and an event that share each participant's level and slope, and its score.

With b the random effects, y the measurements, T the end of follow-up and d = 1 for an event, a participant
contributes log p(y) + log E[ h(T|b)^d exp(-H(T|b)) | y ] (Wulfsohn & Tsiatis, Biometrics 1997;53:330-9, whose
hazard h0(t) exp(gamma w + alpha m(t)) depends on the current value m(t) of the marker). Given y, b is normal
and known in closed form, so is the effect of the factor exp(alpha m(T)) on it; what is left, exp(-H), is
averaged by Gauss-Hermite quadrature centred and scaled for each participant. The score follows from Fisher's
identity: the mean, given everything observed, of the score that one would have if b were known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.analyse.joint.averaging import survival_averaged
from equipoise.analyse.joint.layout import Floats, Ints, Layout


@dataclass(frozen=True)
class Parameters:
    """`beta` (p,): fixed effects of the marker; `log_sigma`: of the residual; `L` (2, 2): lower triangle
    with L L' the covariance of level and slope (a column may have either sign); `gamma`: log hazard ratio of
    the treated arm; `alpha`: log hazard ratio of one unit of the marker; `log_hazard` (q,): baseline, per
    year."""

    beta: Floats
    log_sigma: float
    L: Floats
    gamma: float
    alpha: float
    log_hazard: Floats

    def vector(self) -> Floats:
        """All in one row."""
        L = (self.L[0, 0], self.L[1, 0], self.L[1, 1])
        return np.array(
            [*self.beta, self.log_sigma, *L, self.gamma, self.alpha, *self.log_hazard], np.float64
        )

    @classmethod
    def of(cls, vector: Floats, p: int) -> Parameters:
        L = np.array([[vector[p + 1], 0.0], [vector[p + 2], vector[p + 3]]])
        return cls(
            vector[:p], float(vector[p]), L, float(vector[p + 4]), float(vector[p + 5]), vector[p + 6 :]
        )


@dataclass(frozen=True)
class Nodes:
    """Gauss-Hermite nodes for a standard normal variable and the logarithms of their weights, (k,) each."""

    x: Floats
    log_weight: Floats

    @classmethod
    def of(cls, number: int) -> Nodes:
        x, w = np.polynomial.hermite_e.hermegauss(number)
        return cls(x, np.log(w / w.sum()))


def log_likelihood_and_scores(vector: Floats, data: Layout, nodes: Nodes) -> tuple[Floats, Floats]:
    """Log likelihood of each participant (n,) and its gradient (n, parameters), at `Parameters.vector()`.

    The random effects are L v, with v standard normal, so that nothing is divided by a variance, which may
    be 0."""
    at = Parameters.of(vector, data.X.shape[1])
    n = len(data.treated)
    residual = data.y - data.X @ at.beta
    loglik, v, root = _given_the_measurements(at, data, residual)

    # an event tilts the normal distribution of v, and moves its mean
    z_end = data.Z_end @ at.L
    reach = np.einsum("nba,nb->na", root, z_end)
    at_end = at.log_hazard[data.end] + at.gamma * data.treated + at.alpha * (data.X_end @ at.beta)
    at_end += at.alpha * np.sum(z_end * v, axis=1) + 0.5 * at.alpha**2 * np.sum(reach**2, axis=1)
    loglik = loglik + data.event * at_end
    v = v + at.alpha * data.event[:, None] * np.einsum("nab,nb->na", root, reach)

    # the average of exp(-H) over what is known of v, and what v is once survival is known too
    i, z_risk = data.who_risk, data.Z_risk @ at.L
    steady = at.log_hazard[data.interval] + at.gamma * data.treated[i] + at.alpha * (data.X_risk @ at.beta)
    steady += at.alpha * np.sum(z_risk * v[i], axis=1) + np.log(data.weight)
    averaged, u, uu, mass, mass_u = survival_averaged(
        np.searchsorted(i, np.arange(n + 1)),
        steady,
        at.alpha * np.einsum("rba,rb->ra", root[i], z_risk),
        nodes.x,
        nodes.log_weight,
    )
    mass_v = mass[:, None] * v[i] + np.einsum("rab,rb->ra", root[i], mass_u)
    v = v + np.einsum("nab,nb->na", root, u)
    vv = np.einsum("nab,nbc,ndc->nad", root, uu - u[:, :, None] * u[:, None, :], root)
    vv += v[:, :, None] * v[:, None, :]
    marker_at_risk = mass * (data.X_risk @ at.beta) + np.sum(z_risk * mass_v, axis=1)
    scores = np.column_stack(
        [
            _score_of_marker(at, data, residual, v, vv),
            data.treated * (data.event - _by_person(mass, i, n)),
            data.event * (data.X_end @ at.beta + np.sum(z_end * v, axis=1))
            - _by_person(marker_at_risk, i, n),
            _score_of_hazard(data, mass),
        ]
    )
    p = data.X.shape[1]
    scores[:, :p] += at.alpha * (
        data.event[:, None] * data.X_end - _by_person(data.X_risk * mass[:, None], i, n)
    )
    of_L = data.event[:, None, None] * data.Z_end[:, :, None] * v[:, None, :]
    of_L -= _by_person(data.Z_risk[:, :, None] * mass_v[:, None, :], i, n)
    scores[:, p + 1 : p + 4] += at.alpha * _lower(of_L)
    return loglik + averaged, scores


def _given_the_measurements(at: Parameters, data: Layout, residual: Floats) -> tuple[Floats, Floats, Floats]:
    """log p(y) (n,), and of v given y the mean (n, 2) and a root (n, 2, 2) of the variance (Laird & Ware,
    Biometrics 1982;38:963-74)."""
    n = len(data.treated)
    sigma2 = np.exp(2 * at.log_sigma)
    z = data.Z @ at.L
    information = np.eye(2) + _by_person(z[:, :, None] * z[:, None, :], data.who, n) / sigma2
    pull = _by_person(z * residual[:, None], data.who, n) / sigma2
    root = np.linalg.cholesky(np.linalg.inv(information))
    shift = np.einsum("nba,nb->na", root, pull)
    count = np.bincount(data.who, minlength=n)
    squares = _by_person(residual**2, data.who, n)
    loglik = -0.5 * count * np.log(2 * np.pi * sigma2)
    loglik += np.log(root[:, 0, 0] * root[:, 1, 1]) - 0.5 * squares / sigma2 + 0.5 * np.sum(shift**2, axis=1)
    return loglik, np.einsum("nab,nb->na", root, shift), root


def _score_of_marker(at: Parameters, data: Layout, residual: Floats, v: Floats, vv: Floats) -> Floats:
    """What the measurements say of the fixed effects, the residual and L: (n, p + 4)."""
    n = len(data.treated)
    sigma2 = np.exp(2 * at.log_sigma)
    z = data.Z @ at.L
    left = residual - np.sum(z * v[data.who], axis=1)
    beta = _by_person(data.X * left[:, None], data.who, n) / sigma2
    variance = (vv - v[:, :, None] * v[:, None, :])[data.who]
    squares = left**2 + np.einsum("ma,mab,mb->m", z, variance, z)
    log_sigma = _by_person(squares, data.who, n) / sigma2 - np.bincount(data.who, minlength=n)
    left_v = left[:, None] * v[data.who] - np.einsum("ma,mab->mb", z, variance)
    of_L = _by_person(data.Z[:, :, None] * left_v[:, None, :], data.who, n) / sigma2
    return np.column_stack([beta, log_sigma, _lower(of_L)])


def _lower(of_L: Floats) -> Floats:
    return np.column_stack([of_L[:, 0, 0], of_L[:, 1, 0], of_L[:, 1, 1]])


def _score_of_hazard(data: Layout, mass: Floats) -> Floats:
    """Of the log baseline hazards: events less expected events, by interval (n, q)."""
    n, q = len(data.treated), data.intervals
    events = np.zeros((n, q))
    events[np.arange(n), data.end] = data.event
    return events - np.bincount(data.who_risk * q + data.interval, mass, minlength=n * q).reshape(n, q)


def _by_person(values: Floats, who: Ints, n: int) -> Floats:
    """Sums over the rows of each of n participants; rows are in order of participant."""
    out = np.zeros((n, *values.shape[1:]))
    if len(who):
        first = np.flatnonzero(np.append(True, who[1:] != who[:-1]))
        out[who[first]] = np.add.reduceat(values, first, axis=0)
    return out
