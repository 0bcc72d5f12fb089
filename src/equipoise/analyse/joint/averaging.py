"""Averages over the random effects: each participant's survival, and what it says of level and slope.

Self-contained machine code (it calls no other compiled function), in one pass without large arrays.
"""

import math

import numpy as np

from equipoise._compile import njit

_LARGEST = 200.0
"""A log hazard above this only occurs on a trial step of the optimiser; it is cut there to stay finite."""


@njit
def survival_averaged(first, steady, slope, x, log_w):
    """Averages of exp(-H) over two independent standard normal variables u, on the grid x by x.

    first (n + 1,): where each participant's points at risk begin; the hazard mass of point r is
    exp(steady[r] + slope[r] . u). x, log_w (k,): nodes and log weights of one axis. Returns the log of the
    average (n,); with the weights that survival gives to u, its mean (n, 2) and second moments (n, 2, 2); and
    for each point its mean mass (r,) and mean mass times u (r, 2).
    """
    n = len(first) - 1
    k = len(x)
    log_average = np.zeros(n)
    mean = np.zeros((n, 2))
    second = np.zeros((n, 2, 2))
    mass = np.zeros(len(steady))
    mass_u = np.zeros((len(steady), 2))
    H = np.empty((k, k))
    along = np.empty(k)
    across = np.empty(k)
    furthest = np.abs(x).max()
    for i in range(n):
        H[:, :] = 0.0
        for r in range(first[i], first[i + 1]):
            _masses(steady[r], slope[r, 0], slope[r, 1], x, furthest, along, across)
            for a in range(k):
                for b in range(k):
                    H[a, b] += along[a] * across[b]
        top = -math.inf
        for a in range(k):
            for b in range(k):
                H[a, b] = log_w[a] + log_w[b] - H[a, b]
                top = max(top, H[a, b])
        total = 0.0
        for a in range(k):
            for b in range(k):
                H[a, b] = math.exp(H[a, b] - top)
                total += H[a, b]
        log_average[i] = top + math.log(total)
        for a in range(k):
            for b in range(k):
                H[a, b] /= total
                mean[i, 0] += H[a, b] * x[a]
                mean[i, 1] += H[a, b] * x[b]
                second[i, 0, 0] += H[a, b] * x[a] * x[a]
                second[i, 0, 1] += H[a, b] * x[a] * x[b]
                second[i, 1, 1] += H[a, b] * x[b] * x[b]
        second[i, 1, 0] = second[i, 0, 1]
        for r in range(first[i], first[i + 1]):
            _masses(steady[r], slope[r, 0], slope[r, 1], x, furthest, along, across)
            for a in range(k):
                here = 0.0
                moved = 0.0
                for b in range(k):
                    part = H[a, b] * across[b]
                    here += part
                    moved += part * x[b]
                mass[r] += along[a] * here
                mass_u[r, 0] += along[a] * here * x[a]
                mass_u[r, 1] += along[a] * moved
    return log_average, mean, second, mass, mass_u


@njit
def _masses(steady, slope_0, slope_1, x, furthest, along, across):
    """The mass at node (a, b) is along[a] across[b]; slopes that reach beyond `_LARGEST` are shrunk."""
    reach = (abs(slope_0) + abs(slope_1)) * furthest
    shrink = 1.0 if reach <= _LARGEST else _LARGEST / reach
    level = min(steady, _LARGEST)
    for a in range(len(x)):
        along[a] = math.exp(level + shrink * slope_0 * x[a])
        across[a] = math.exp(shrink * slope_1 * x[a])
