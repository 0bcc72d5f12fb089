"""The log-rank statistic held against its own distribution, rather than against the normal one.

Given who was at risk, the events of one time fall on the two arms as a hypergeometric draw, and the log-rank
statistic is the sum of those draws. Its distribution is skewed where the arms are unequal, and takes few
values where there are few events. The saddlepoint approximation (Daniels 1954; Lugannani & Rice 1980) gives
its tail from the cumulant generating function; Strawderman & Wells (1998) use it for several two-by-two
tables. Written as a normal deviate (Barndorff-Nielsen 1986) it stands in for z wherever z is used.
"""

from __future__ import annotations

import math

from equipoise._compile import njit

_NEAR = 0.02
"""Standard deviations from the mean within which the formula, 0/0 at the mean, is interpolated."""
_LARGE = 1e200


@njit
def _tied(n0, n1, d, theta):
    """`_draw` of several events at one time: weights of the hypergeometric distribution, one after another,
    scaled down before they overflow."""
    low = max(0.0, d - n0)
    ratio = math.exp(theta)
    tilted, plain = 1.0, 1.0
    total, first, second, untilted = 1.0, 0.0, 0.0, 1.0
    scale = 0.0
    for k in range(int(min(d, n1) - low)):
        j = low + k
        odds = (n1 - j) * (d - j) / ((j + 1.0) * (n0 - d + j + 1.0))
        tilted *= odds * ratio
        plain *= odds
        total += tilted
        first += (k + 1.0) * tilted
        second += (k + 1.0) * (k + 1.0) * tilted
        untilted += plain
        if total > _LARGE:
            tilted, total, first, second = tilted / _LARGE, total / _LARGE, first / _LARGE, second / _LARGE
            scale += math.log(_LARGE)
        if untilted > _LARGE:
            plain, untilted = plain / _LARGE, untilted / _LARGE
            scale -= math.log(_LARGE)
    mean = first / total
    return theta * low + math.log(total / untilted) + scale, low + mean, second / total - mean * mean


@njit
def _draw(n0, n1, d, theta):
    """Logarithm of E exp(theta x), and mean and variance of x tilted by theta, of the number x of events in
    arm 1 among d at one time, with n0 and n1 at risk."""
    if d != 1.0:
        return _tied(n0, n1, d, theta)
    weight = n1 * math.exp(theta)
    total = n0 + weight
    share = weight / total
    return math.log(total / (n0 + n1)), share, share * (n0 / total)


@njit
def _draws(rows, table, theta):
    """`_draw` added up over the rows of a risk table: event times are independent given who is at risk."""
    log_moment, mean, variance = 0.0, 0.0, 0.0
    for g in range(rows):
        a, b, c = _draw(table[0, g], table[1, g], table[2, g] + table[3, g], theta)
        log_moment += a
        mean += b
        variance += c
    return log_moment, mean, variance


@njit
def _deviate(rows, table, theta):
    """(events in arm 1 of which theta is the saddlepoint, their normal deviate)."""
    log_moment, mean, variance = _draws(rows, table, theta)
    r = math.copysign(math.sqrt(2.0 * max(theta * mean - log_moment, 0.0)), theta)
    return mean, r + math.log(theta * math.sqrt(variance) / r) / r


@njit
def _log_chance_of_all(own, other, d):
    """Log of the chance that as many of d events at one time fall on an arm of `own` people as can."""
    total = own + other
    out = 0.0
    if d <= own:
        for i in range(int(d)):
            out += math.log((own - i) / (total - i))
    else:
        for i in range(int(own)):
            out += math.log((d - i) / (total - i))
    return out


@njit
def _extreme(log_chance):
    """The normal deviate of an outcome than which none is more extreme: its tail is half its chance."""
    r = math.sqrt(-2.0 * log_chance)
    if log_chance < -600.0:
        return r
    wanted = log_chance - math.log(2.0)
    z = r
    for _ in range(60):
        tail = 0.5 * math.erfc(z / math.sqrt(2.0))
        step = (math.log(tail) - wanted) * tail * math.sqrt(2.0 * math.pi) * math.exp(0.5 * z * z)
        z += step
        if abs(step) < 1e-12:
            break
    return z


@njit
def _solve(rows, table, x, mean, variance):
    """The saddlepoint: the theta under which x events are expected in arm 1, by guarded Newton steps."""
    theta = min(max((x - mean) / variance, -2.0), 2.0)
    low, high = -math.inf, math.inf
    for _ in range(200):
        _, tilted_mean, tilted_variance = _draws(rows, table, theta)
        step = min(max((x - tilted_mean) / tilted_variance, -2.0), 2.0)
        if abs(step) <= 1e-8 * max(1.0, abs(theta)):
            return theta + step
        if step > 0.0:
            low = theta
        else:
            high = theta
        theta += step
        if not low < theta < high:
            theta = 0.5 * (low + high)
    return theta


@njit
def saddlepoint_of_table(rows, scratch):
    """The normal deviate of the log-rank test of arm 1 from a risk table: positive with more events in arm 1
    than expected; for use inside compiled loops.

    rows: of the table, over all strata; scratch: holds it (`equipoise.analyse.risk_table`). The continuous
    form of the formula is used, without a correction for the lattice: its variance is 1, as that of the
    log-rank statistic is, and its tail is close to the mid-p value, half the probability of what was
    observed and all of what is more extreme (Pierce & Peters 1992). At the most extreme outcome, where the
    formula has no solution, the mid-p value is used itself. NaN where no event can be compared.
    """
    table = scratch.table
    x, least, most = 0.0, 0.0, 0.0
    for g in range(rows):
        d = table[2, g] + table[3, g]
        x += table[3, g]
        least += max(0.0, d - table[0, g])
        most += min(d, table[1, g])
    if not most > least:
        return math.nan
    if x in (least, most):
        log_chance = 0.0
        for g in range(rows):
            n0, n1, d = table[0, g], table[1, g], table[2, g] + table[3, g]
            log_chance += _log_chance_of_all(n1, n0, d) if x == most else _log_chance_of_all(n0, n1, d)
        return _extreme(log_chance) if x == most else -_extreme(log_chance)
    _, mean, variance = _draws(rows, table, 0.0)
    near = _NEAR / math.sqrt(variance)
    if abs(x - mean) < _NEAR * math.sqrt(variance):
        below, low = _deviate(rows, table, -near)
        above, high = _deviate(rows, table, near)
        return low + (x - below) * (high - low) / (above - below)
    return _deviate(rows, table, _solve(rows, table, x, mean, variance))[1]
