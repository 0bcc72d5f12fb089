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
    """`beta` (p,): fixed effects of the marker; `log_sigma`: of the residual; `L` (2, 2): lower triangle with
    L L' the covariance of level and slope; `gamma`: log hazard ratio of the treated arm; `alpha`: log hazard
    ratio of one unit of the marker; `log_hazard` (q,): baseline, per year."""

    beta: Floats
    log_sigma: float
    L: Floats
    gamma: float
    alpha: float
    log_hazard: Floats

    def vector(self) -> Floats:
        """All in one row, the diagonal of L as logarithms."""
        L = self.L
        covariance = [np.log(L[0, 0]), L[1, 0], np.log(L[1, 1])]
        return np.array(
            [*self.beta, self.log_sigma, *covariance, self.gamma, self.alpha, *self.log_hazard], np.float64
        )

    @classmethod
    def of(cls, vector: Floats, p: int) -> Parameters:
        l11, l21, l22 = vector[p + 1 : p + 4]
        L = np.array([[np.exp(l11), 0.0], [l21, np.exp(l22)]])
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
    """Log likelihood of each participant (n,) and its gradient (n, parameters), at `Parameters.vector()`."""
    at = Parameters.of(vector, data.X.shape[1])
    n = len(data.treated)
    sigma2 = float(np.exp(2 * at.log_sigma))
    residual = data.y - data.X @ at.beta
    loglik, mean, root = _given_the_measurements(at, data, residual, sigma2)

    # an event tilts the normal distribution of b, and moves its mean
    reach = np.einsum("nab,nb->na", root, _rows(root, data.Z_end))  # V z(T), with V = root root'
    at_end = at.log_hazard[data.end] + at.gamma * data.treated + at.alpha * (data.X_end @ at.beta)
    at_end += at.alpha * np.sum(data.Z_end * mean, axis=1)
    at_end += 0.5 * at.alpha**2 * np.sum(data.Z_end * reach, axis=1)
    loglik = loglik + data.event * at_end
    mean = mean + at.alpha * data.event[:, None] * reach

    # the average of exp(-H) over what is known of b, and what b is once survival is known too
    i = data.who_risk
    steady = at.log_hazard[data.interval] + at.gamma * data.treated[i] + at.alpha * (data.X_risk @ at.beta)
    steady += at.alpha * np.sum(data.Z_risk * mean[i], axis=1) + np.log(data.weight)
    along = np.einsum("ra,rab->rb", data.Z_risk, root[i])  # root' z at each point
    averaged, u, uu, cumulative, of_u = survival_averaged(
        np.searchsorted(i, np.arange(n + 1)), steady, at.alpha * along, nodes.x, nodes.log_weight
    )
    loglik = loglik + averaged
    expected = mean + np.einsum("nab,nb->na", root, u)
    square = np.einsum("nab,nbc,ndc->nad", root, uu - u[:, :, None] * u[:, None, :], root)
    square += expected[:, :, None] * expected[:, None, :]
    of_b = cumulative * np.sum(data.Z_risk * mean[i], axis=1) + np.sum(along * of_u, axis=1)
    scores = np.column_stack(
        [
            *_score_of_marker(at, data, residual, expected, square, sigma2, cumulative).T,
            data.treated * (data.event - _by_person(cumulative, i, n)),
            data.event * (data.X_end @ at.beta + np.sum(data.Z_end * expected, axis=1))
            - _by_person(cumulative * (data.X_risk @ at.beta) + of_b, i, n),
            *_score_of_hazard(data, cumulative).T,
        ]
    )
    return loglik, scores


def _given_the_measurements(
    at: Parameters, data: Layout, residual: Floats, sigma2: float
) -> tuple[Floats, Floats, Floats]:
    """log p(y) (n,), the mean of b given y (n, 2) and a square root (n, 2, 2) of its variance.

    Laird & Ware, Biometrics 1982;38:963-74. With the root L of the covariance of b, nothing is divided by
    it, so a variance of 0 is no special case."""
    n = len(data.treated)
    ZL = data.Z @ at.L
    information = np.eye(2) + _by_person(ZL[:, :, None] * ZL[:, None, :], data.who, n) / sigma2
    pull = _by_person(ZL * residual[:, None], data.who, n) / sigma2
    root = np.linalg.cholesky(np.linalg.inv(information))
    shift = np.einsum("nba,nb->na", root, pull)
    count = np.bincount(data.who, minlength=n)
    squares = _by_person(residual**2, data.who, n)
    loglik = -0.5 * count * np.log(2 * np.pi * sigma2)
    loglik += np.log(root[:, 0, 0] * root[:, 1, 1]) - 0.5 * squares / sigma2 + 0.5 * np.sum(shift**2, axis=1)
    root_of_b = np.einsum("ab,nbc->nac", at.L, root)
    return loglik, np.einsum("nab,nb->na", root_of_b, shift), root_of_b


def _score_of_marker(
    at: Parameters, data: Layout, residual: Floats, expected: Floats, square: Floats, sigma2: float,
    cumulative: Floats,
) -> Floats:  # fmt: skip
    """Of the fixed effects, the residual and the covariance of b: (n, p + 4)."""
    n = len(data.treated)
    left = residual - np.sum(data.Z * expected[data.who], axis=1)
    beta = _by_person(data.X * left[:, None], data.who, n) / sigma2
    beta += at.alpha * data.event[:, None] * data.X_end
    beta -= at.alpha * _by_person(data.X_risk * cumulative[:, None], data.who_risk, n)
    variance = square - expected[:, :, None] * expected[:, None, :]
    squares = left**2 + np.einsum("ma,mab,mb->m", data.Z, variance[data.who], data.Z)
    count = np.bincount(data.who, minlength=n)
    log_sigma = _by_person(squares, data.who, n) / sigma2 - count
    inverse = np.linalg.inv(at.L)
    whitened = np.einsum("ab,nbc,dc->nad", inverse, square, inverse)  # of L^-1 b
    by_L = np.einsum("ba,nbc->nac", inverse, whitened - np.eye(2))
    return np.column_stack(
        [beta, log_sigma, by_L[:, 0, 0] * at.L[0, 0], by_L[:, 1, 0], by_L[:, 1, 1] * at.L[1, 1]]
    )


def _score_of_hazard(data: Layout, cumulative: Floats) -> Floats:
    """Of the log baseline hazards: events less expected events, by interval (n, q)."""
    n, q = len(data.treated), data.intervals
    out = np.zeros((n, q))
    out[np.arange(n), data.end] = data.event
    np.subtract.at(out, (data.who_risk, data.interval), cumulative)
    return out


def _rows(root: Floats, z: Floats) -> Floats:
    """root' z for each participant."""
    return np.einsum("nba,nb->na", root, z)


def _by_person(values: Floats, who: Ints, n: int) -> Floats:
    """Sums over the rows of each of n participants; rows are in order of participant."""
    out = np.zeros((n, *values.shape[1:]))
    if len(who):
        first = np.flatnonzero(np.append(True, who[1:] != who[:-1]))
        out[who[first]] = np.add.reduceat(values, first, axis=0)
    return out
