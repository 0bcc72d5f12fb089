"""The joint law of the statistics at the looks of a group-sequential trial, by recursive integration.

At look k the information is I_k and the statistic Z_k; the scores S_k = Z_k sqrt(I_k) have independent
increments, normal with mean theta (I_k - I_{k-1}) and variance I_k - I_{k-1}: the canonical joint
distribution (Jennison & Turnbull 2000, chapter 3), to which log-rank, Cox, means and proportions come
alike. The density of Z_k among trials that no earlier look has stopped follows from that at look k-1 by one
integral (Armitage, McPherson & Rowe, J R Stat Soc A 1969;132:235-44). `theta` is the drift per unit of square
root of information: with information fractions, where the last look is 1, it is the mean of the final
statistic.

How it is integrated. Between two looks the integrand is a normal density times a function as smooth as one,
so Gauss-Legendre panels of 16 points converge far faster than the composite Simpson rule of Jennison &
Turnbull's chapter 19: at the panel width used here errors are below 1e-12, and the tests hold that against
finer panels, against Simpson's rule on their grid, and against the multivariate normal distribution. Panels
narrow where looks are close to each other. A region without a limit is cut `REACH` = 10 standard deviations
from its mean. Tail probabilities keep their relative accuracy, so that a spending of 1e-18 at an early look
gives its limit (8.7) and not an infinite one; below `SMALLEST` = 1e-22 a look has no limit: infinity, which
stops no trial.

Change of drift costs nothing: the density under another theta is the one at hand times a likelihood ratio
that depends on Z_k alone. Everything here is compiled, keeps nothing between calls and may run in any number
of threads.
"""

from __future__ import annotations

import math

import numpy as np

from equipoise._compile import njit
from equipoise.design.normal import above, above_quantile, density

REACH = 10.0
"""Standard deviations from the mean beyond which a region without a limit is cut."""
SMALLEST = 1e-22
"""An error probability below this spends nothing: the look has an infinite limit."""
CLOSEST = 1e-4
"""A look that brings less new information than this, as a share, is taken to bring this much."""
PANEL = 6.5
"""Width of a panel, in units of the narrowest feature of the integrand."""

_ORDER = 16
_BAND = 12.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_ORDER)
_ROOT2PI = math.sqrt(2.0 * math.pi)


# --- the grid of one look, and the density on it ----------------------------------------------------------


@njit
def _grid(low, high, width):
    """Points and weights of Gauss-Legendre panels no wider than `width` over (low, high)."""
    if not high > low:
        return np.zeros(0), np.zeros(0)
    panels = math.ceil((high - low) / width)
    half = 0.5 * (high - low) / panels
    z = np.empty(panels * _ORDER)
    w = np.empty(panels * _ORDER)
    for p in range(panels):
        middle = low + (2 * p + 1) * half
        for j in range(_ORDER):
            z[p * _ORDER + j] = middle + half * _NODES[j]
            w[p * _ORDER + j] = half * _WEIGHTS[j]
    return z, w


@njit
def _width(before, here, after, refine):
    """Panel width at a look: the density has features of the step before, the next kernel those of the step
    after."""
    step_in = (here - before) / here
    step_out = (after - here) / here
    floor = CLOSEST * CLOSEST
    narrow = 1.0 / math.sqrt(1.0 / max(step_in, floor) + 1.0 / max(step_out, floor))
    return PANEL * max(narrow, 0.5 * CLOSEST) / refine


@njit
def _spread(z0, h0, before, here, theta, z, w):
    """Weights times the density of Z at `here` on the points z, from weights h0 on the points z0 at `before`.

    Both sets of points rise; terms more than `_BAND` standard deviations away are left out.
    """
    n0 = z0.shape[0]
    n = z.shape[0]
    h = np.zeros(n)
    step = math.sqrt(here - before)
    a = math.sqrt(here) / step
    b = math.sqrt(before) / step
    shift = theta * step
    scale = a / _ROOT2PI
    first = 0
    for i in range(n):
        x = a * z[i] - shift
        while first < n0 and x - b * z0[first] > _BAND:
            first += 1
        total = 0.0
        for j in range(first, n0):
            q = x - b * z0[j]
            if q < -_BAND:
                break
            total += h0[j] * math.exp(-0.5 * q * q)
        h[i] = w[i] * scale * total
    return h


@njit
def _beyond(z0, h0, before, here, theta, limit):
    """P(still going at the look before, Z > limit here), and the density of Z at the limit."""
    step = math.sqrt(here - before)
    a = math.sqrt(here) / step
    b = math.sqrt(before) / step
    x = a * limit - theta * step
    tail = 0.0
    slope = 0.0
    for j in range(z0.shape[0]):
        q = x - b * z0[j]
        tail += h0[j] * above(q)
        slope += h0[j] * density(q)
    return tail, a * slope


@njit
def _upper_limit(z0, h0, before, here, theta, target):
    """The limit with P(still going at the look before, Z above it) = target.

    Infinite where the target is below `SMALLEST`, minus infinity where fewer trials than that are left.
    Newton on the logarithm of the tail, which is nearly concave, from a point that lies above the solution.
    """
    if target < SMALLEST:
        return math.inf
    left = 0.0
    for j in range(h0.shape[0]):
        left += h0[j]
    if target >= left:
        return -math.inf
    high = theta * math.sqrt(here) + above_quantile(target)
    low = high - 1.0
    while _beyond(z0, h0, before, here, theta, low)[0] < target:
        high = low
        low -= 2.0
    u = high
    for _ in range(80):
        tail, slope = _beyond(z0, h0, before, here, theta, u)
        if tail < target:
            high = u
        else:
            low = u
        new = 0.5 * (low + high)
        if tail > 0.0 and slope > 0.0:
            newton = u + math.log(tail / target) * tail / slope
            if low <= newton <= high:
                new = newton
        if abs(new - u) < 1e-13 * max(1.0, abs(u)):
            return new
        u = new
    return u


@njit
def _lower_limit(z0, h0, before, here, theta, target):
    """The limit with P(still going at the look before, Z below it) = target; infinite where fewer are
    left."""
    return -_upper_limit(-z0, h0, before, here, -theta, target)


@njit
def _region(lower, upper, mean):
    """The part of (lower, upper) that matters where Z has this mean and a variance of 1 at most."""
    return max(lower, mean - REACH), min(upper, mean + REACH)


@njit
def _apart(information, start):
    """The information at the looks, each at least `CLOSEST` above the one before, and above nothing.

    A simulated trial may have no new event between two looks, or none at all at its first.
    """
    out = np.empty(information.shape[0])
    before = start
    for k in range(information.shape[0]):
        out[k] = max(information[k], before * (1.0 + CLOSEST), 1e-100)
        before = out[k]
    return out


# --- what the rest of the package, and the simulation, call -----------------------------------------------


@njit
def crossing(information, lower, upper, theta, start=0.0, start_information=0.0, refine=1.0):
    """Probabilities of passing the lower and the upper limit first at each look.

    information, lower, upper: float arrays (K,), information rising, limits on the scale of z (may be
    infinite); theta: drift per sqrt(information). From `start` and `start_information` the trial goes on from
    that z and information (conditional probabilities); by default from the beginning. `refine` = 2 halves the
    panels. Returns two arrays (K,). About 0.14 ms for four looks.
    """
    K = information.shape[0]
    information = _apart(information, start_information)
    below = np.zeros(K)
    beyond = np.zeros(K)
    z0 = np.array([start])
    h0 = np.ones(1)
    before = start_information
    for k in range(K):
        here = information[k]
        if upper[k] < math.inf:
            beyond[k] = _beyond(z0, h0, before, here, theta, upper[k])[0]
        if lower[k] > -math.inf:
            below[k] = _beyond(-z0, h0, before, here, -theta, -lower[k])[0]
        if k == K - 1:
            break
        # given the start, Z is not centred at theta sqrt(I): the region moves with its conditional mean
        mean = theta * math.sqrt(here) + (start - theta * math.sqrt(start_information)) * math.sqrt(
            start_information / here
        )
        low, high = _region(lower[k], upper[k], mean)
        z, w = _grid(low, high, _width(before, here, information[k + 1], refine))
        h0 = _spread(z0, h0, before, here, theta, z, w)
        z0 = z
        before = here
    return below, beyond


@njit
def next_limits(information, lower, upper, below, beyond):
    """Limits of z at one look more, whatever the limits were at the looks before; without drift.

    information: float64 array (K,), rising, in any unit; lower, upper: float64 arrays (K - 1,), the limits at
    the looks before; below, beyond: probabilities of passing the lower and the upper limit first at look K.
    Returns (lower, upper): infinite where the probability is under `SMALLEST`.
    """
    K = information.shape[0]
    information = _apart(information, 0.0)
    z0 = np.zeros(1)
    h0 = np.ones(1)
    before = 0.0
    for k in range(K - 1):
        low, high = _region(lower[k], upper[k], 0.0)
        z, w = _grid(low, high, _width(before, information[k], information[k + 1], 1.0))
        h0 = _spread(z0, h0, before, information[k], 0.0, z, w)
        z0 = z
        before = information[k]
    here = information[K - 1]
    return _lower_limit(z0, h0, before, here, 0.0, below), _upper_limit(z0, h0, before, here, 0.0, beyond)


@njit
def limits(information, alpha_spent, beta_spent, drift, sides, binding, meet):
    """Limits on the scale of z for given information and error probabilities spent, look by look.

    information: float64 array (K,), rising, as a share of the planned maximum (any positive unit will do
    where there is no futility); alpha_spent: float64 array (K,), cumulative type I error spent, over both
    sides where `sides` is 2; beta_spent: float64 array (K,), cumulative type II error spent under `drift`
    (the mean of Z at information 1), or of length 0 for no futility limits; sides: 1 or 2 (symmetric; no
    futility then); binding: whether the efficacy limits count on the futility limits being kept to; meet:
    whether the last look is the final one, so that its futility limit is its efficacy limit.

    Returns (lower, upper), float64 arrays (K,). Where nothing is left to spend at a look the limit is
    infinite. A futility limit that would pass the efficacy limit before the end is returned as it is: the
    caller sees that the spending cannot be kept to. A look without a new event does no harm (`CLOSEST`).
    About 0.1 ms for four looks; accurate to 1e-9. Callable from compiled code and from threads.
    """
    K = information.shape[0]
    information = _apart(information, 0.0)
    upper = np.full(K, math.inf)
    lower = np.full(K, -math.inf)
    futility = beta_spent.shape[0] == K
    z0 = np.zeros(1)
    h0 = np.ones(1)  # under no drift, within the limits that the type I error counts on
    zf = np.zeros(1)
    hf = np.ones(1)  # under the drift, within both limits
    before = 0.0
    alpha_before = 0.0
    beta_before = 0.0
    for k in range(K):
        here = information[k]
        upper[k] = _upper_limit(z0, h0, before, here, 0.0, (alpha_spent[k] - alpha_before) / sides)
        alpha_before = max(alpha_before, alpha_spent[k])
        if sides == 2:
            lower[k] = -upper[k]
        elif futility:
            if meet and k == K - 1:
                lower[k] = upper[k]
            else:
                lower[k] = _lower_limit(zf, hf, before, here, drift, beta_spent[k] - beta_before)
                beta_before = max(beta_before, beta_spent[k])
        if k == K - 1:
            break
        width = _width(before, here, information[k + 1], 1.0)
        kept = lower[k] if (sides == 2 or binding) else -math.inf
        low, high = _region(kept, upper[k], 0.0)
        z, w = _grid(low, high, width)
        h0 = _spread(z0, h0, before, here, 0.0, z, w)
        z0 = z
        if futility:
            low, high = _region(lower[k], upper[k], drift * math.sqrt(here))
            z, w = _grid(low, high, width)
            hf = _spread(zf, hf, before, here, drift, z, w)
            zf = z
        before = here
    return lower, upper


@njit
def _paths(information, lower, upper, theta):
    """Points and weights of every look but the last, one after the other, the start (one point) first.

    Returns (z, h, first): look k (from 0, the start) has the entries first[k] to first[k + 1].
    """
    K = information.shape[0]
    first = np.zeros(K + 1, np.int64)
    first[1] = 1
    zs = np.zeros(1)
    hs = np.ones(1)
    z0 = np.zeros(1)
    h0 = np.ones(1)
    before = 0.0
    for k in range(K - 1):
        here = information[k]
        low, high = _region(lower[k], upper[k], theta * math.sqrt(here))
        z, w = _grid(low, high, _width(before, here, information[k + 1], 1.0))
        h0 = _spread(z0, h0, before, here, theta, z, w)
        z0 = z
        zs = np.concatenate((zs, z0))
        hs = np.concatenate((hs, h0))
        first[k + 2] = zs.shape[0]
        before = here
    return zs, hs, first


@njit
def _at_least(information, upper, z, theta, made, zs, hs, first):
    """P_theta of a result at least as high as z at the last look, from paths that were made under another
    drift.

    In the stage-wise ordering, higher is: over the upper limit at an earlier look, or z or more at this one.
    """
    K = information.shape[0]
    total = 0.0
    before = 0.0
    for k in range(K):
        limit = z if k == K - 1 else upper[k]
        if limit < math.inf:
            step = math.sqrt(information[k] - before)
            x = math.sqrt(information[k]) / step * limit - theta * step
            b = math.sqrt(before) / step
            root = (theta - made) * math.sqrt(before)
            constant = -0.5 * (theta * theta - made * made) * before
            for j in range(first[k], first[k + 1]):
                total += hs[j] * math.exp(root * zs[j] + constant) * above(x - b * zs[j])
        before = information[k]
    return total


@njit
def stagewise(information, lower, upper, z, level):
    """p-value, median-unbiased estimate and interval by the stage-wise ordering, for a trial that ended with
    z.

    information: float64 array (K,), of the looks taken, in any unit; lower, upper: float64 arrays (K,), the
    limits that stopped trials at the looks before (the last entries are not used); z: the last statistic;
    level: that of the interval, 0.95 say.

    Returns (p, estimate, low, high): p one-sided, against no effect; the others are of theta, the effect for
    which Z at information I has mean theta sqrt(I). The estimate is exceeded with probability one half
    (Tsiatis, Rosner & Mehta, Biometrics 1984;40:797-803; Fairbanks & Madsen, Biometrika 1982;69:69-74). About
    0.12 ms for four looks. Callable from compiled code and from threads.
    """
    K = information.shape[0]
    information = _apart(information, 0.0)
    unit = 1.0 / math.sqrt(information[K - 1])
    made = z * unit
    zs, hs, first = _paths(information, lower, upper, made)
    out = np.empty(4)
    wanted = (0.5, 0.5 * (1.0 - level), 0.5 * (1.0 + level))
    for n in range(3):
        goal = above_quantile(wanted[n])
        low = -math.inf
        high = math.inf
        theta = (z - goal) * unit
        slope = -1.0 / unit
        theta_before = math.nan
        off_before = math.nan
        for _ in range(100):
            if abs(theta - made) > 3.0 * unit:
                made = theta
                zs, hs, first = _paths(information, lower, upper, made)
            chance = _at_least(information, upper, z, theta, made, zs, hs, first)
            off = above_quantile(chance) - goal
            if off > 0.0:
                low = theta
            else:
                high = theta
            if abs(off) < 1e-11:
                break
            if abs(off) < math.inf and abs(off_before) < math.inf and theta != theta_before:
                secant = (off - off_before) / (theta - theta_before)
                if secant < 0.0:
                    slope = secant
            theta_before = theta
            off_before = off
            change = min(max(-off / slope, -2.0 * unit), 2.0 * unit)
            theta += change
            if not low < theta < high:
                theta = 0.5 * (low + high)
            if theta == theta_before:
                break
        out[n + 1] = theta
    if abs(made) > 3.0 * unit:
        made = 0.0
        zs, hs, first = _paths(information, lower, upper, made)
    out[0] = _at_least(information, upper, z, 0.0, made, zs, hs, first)
    return out[0], out[1], out[2], out[3]
