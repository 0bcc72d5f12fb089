"""A biomarker over time: means by visit, the mean over follow-up, and the mixed model that compares arms.

Two questions are kept apart. *How did the arms look at month m?* is answered by plain summaries of the
values nearest to each grid point. *By how much did they differ over the whole of follow-up?* is answered by a
linear mixed model in which each participant has an intercept and a slope of their own, and the difference
between arms may take any smooth shape over time; the answer is that difference averaged over follow-up.
docs/methods.md has the formulae.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import ndtri, stdtrit

from equipoise._compile import njit
from equipoise.analyse.survival import two_sided_p
from equipoise.errors import UserError
from equipoise.protocol.quantities import DAYS_PER_MONTH

Floats = NDArray[np.float64]

_FEW_TIMES = 6


# --- summaries by visit -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """The points in time on which a measure is shown: every `step` days, named in the unit of the plan."""

    step: float

    @property
    def unit(self) -> str:
        """month, week or day: the largest of which the step is a whole number."""
        months = round(self.step / DAYS_PER_MONTH)
        if months >= 1 and abs(self.step - months * DAYS_PER_MONTH) <= 0.5:
            return "month"
        if abs(self.step / 7 - round(self.step / 7)) < 1e-9:
            return "week"
        return "day"

    def day(self, point: int) -> float:
        """Day of a grid point; months are counted by their mean length."""
        if self.unit == "month":
            return point * round(self.step / DAYS_PER_MONTH) * DAYS_PER_MONTH
        return point * self.step

    def name(self, point: int) -> str:
        """Name of a grid point, as visits are named: month 8, week 9 (weeks count from 1), day 14."""
        if self.unit == "month":
            return f"month {point * round(self.step / DAYS_PER_MONTH)}"
        if self.unit == "week":
            return f"week {1 + point * round(self.step / 7)}"
        return f"day {self.day(point):g}"


def summary_expressions(value: str, confidence: float) -> list[pl.Expr]:
    """n, mean, sd, se, lower, upper, median, q1, q3 of a column, for a polars aggregation.

    The interval of the mean is Student's; sd has n - 1; quartiles interpolate linearly (type 7).
    """
    x = pl.col(value)
    n = x.len()
    se = x.std() / n.sqrt()

    def t_quantile(count: pl.Series) -> pl.Series:
        df = np.maximum(count.to_numpy().astype(np.float64) - 1, 1)
        return pl.Series(stdtrit(df, 0.5 + confidence / 2))

    half = n.map_batches(t_quantile, return_dtype=pl.Float64, returns_scalar=True) * se
    return [
        n.cast(pl.Float64).alias("n"),
        x.mean().alias("mean"),
        x.std().alias("sd"),
        se.alias("se"),
        (x.mean() - half).alias("lower"),
        (x.mean() + half).alias("upper"),
        x.median().alias("median"),
        x.quantile(0.25, "linear").alias("q1"),
        x.quantile(0.75, "linear").alias("q3"),
    ]


SUMMARY = ("n", "mean", "sd", "se", "lower", "upper", "median", "q1", "q3")


@njit
def _nearest(order, participant, day, step):
    """Rows (of `order`, rising by participant and day) that lie nearest to a grid point, and the points."""
    n = order.shape[0]
    rows = np.empty(n, np.int64)
    points = np.empty(n, np.int32)
    found = 0
    for k in range(n):
        r = order[k]
        if not day[r] > 0.0:
            continue
        point = np.int32(math.floor(day[r] / step + 0.5))
        if found > 0 and points[found - 1] == point and participant[rows[found - 1]] == participant[r]:
            if abs(day[r] - point * step) < abs(day[rows[found - 1]] - point * step):
                rows[found - 1] = r
            continue
        rows[found] = r
        points[found] = point
        found += 1
    return rows[:found], points[:found]


def nearest_values(values: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """One row per participant and grid point: the measurement nearest to it (the earlier of two).

    `values` has participant, day, value; only days after 0 are used. Adds `point`.
    """
    participant = values["participant"].cast(pl.Int64).to_numpy()
    day = values["day"].cast(pl.Float64).to_numpy()
    order = np.lexsort((day, participant))
    rows, points = _nearest(order, participant, day, grid.day(1))
    nearest: pl.DataFrame = values[rows]
    return nearest.with_columns(point=pl.Series(points))


# --- the mixed model --------------------------------------------------------------------------------------


@njit
def _accumulate(who, day, y, knots, categorical, sums, sums_t, sums_y, scalars, cross):
    """Add rows to the sufficient statistics of each participant; rows in any order.

    who: int64 row of the participant; day: time; y: value. For each participant: sums[i] = sum of B(t),
    sums_t[i] = sum of t B(t), sums_y[i] = sum of B(t) y, scalars[i] = (n, sum t, sum t^2, sum y, sum t y,
    sum y^2, arm); cross[arm] = sum of B(t) B(t)'. t is in years, B the basis of time, its first column 1.
    """
    k = sums.shape[1]
    basis = np.zeros(k)
    for r in range(who.shape[0]):
        i = who[r]
        t = day[r] / 365.25
        _basis(day[r], knots, categorical, basis)
        scalars[i, 0] += 1.0
        scalars[i, 1] += t
        scalars[i, 2] += t * t
        scalars[i, 3] += y[r]
        scalars[i, 4] += t * y[r]
        scalars[i, 5] += y[r] * y[r]
        g = int(scalars[i, 6])
        for a in range(k):
            sums[i, a] += basis[a]
            sums_t[i, a] += t * basis[a]
            sums_y[i, a] += y[r] * basis[a]
            for b in range(k):
                cross[g, a, b] += basis[a] * basis[b]


@njit
def _basis(day, knots, categorical, out):
    """Basis of time at one day: 1, and indicators of all knots but the first or a natural cubic spline.

    Spline: truncated powers restricted to be linear beyond the outer knots (Harrell 2015, eq. 2.25), in units
    of the range of the knots.
    """
    out[:] = 0.0
    out[0] = 1.0
    m = knots.shape[0]
    if categorical:
        for j in range(1, m):
            if day == knots[j]:
                out[j] = 1.0
        return
    last = knots[m - 1]
    before = knots[m - 2]
    span = last - knots[0]
    out[1] = (day - knots[0]) / span
    for j in range(m - 2):
        a = max(day - knots[j], 0.0) ** 3
        b = max(day - before, 0.0) ** 3
        c = max(day - last, 0.0) ** 3
        out[2 + j] = (
            a - b * (last - knots[j]) / (last - before) + c * (before - knots[j]) / (last - before)
        ) / span**3


@njit
def _reml(theta, slope, ZtX, scalars, XtX, Xty, yty, A, u):
    """REML deviance, residual variance and fixed effects profiled out; fills A = X'WX and u = X'Wy.

    theta: (l11, l21, l22), the Cholesky factor of the random effects' covariance relative to the residual
    variance (l21 and l22 are 0 without a random slope). Returns (deviance, residual sum of squares).
    Bates et al. 2015, eq. 41; the Woodbury identity per participant.
    """
    n = scalars.shape[0]
    p = XtX.shape[0]
    A[:, :] = XtX
    u[:] = Xty
    rss = yty
    log_det = 0.0
    rows = 0.0
    l11 = theta[0]
    l21 = theta[1] if slope else 0.0
    l22 = theta[2] if slope else 0.0
    v0 = np.zeros(p)
    v1 = np.zeros(p)
    for i in range(n):
        s0 = scalars[i, 0]
        if s0 == 0.0:
            continue
        rows += s0
        s1 = scalars[i, 1]
        s2 = scalars[i, 2]
        # L'Z'Z L + I
        m00 = l11 * l11 * s0 + 2 * l11 * l21 * s1 + l21 * l21 * s2 + 1.0
        m01 = l11 * l22 * s1 + l21 * l22 * s2
        m11 = l22 * l22 * s2 + 1.0
        c00 = math.sqrt(m00)
        c10 = m01 / c00
        c11 = math.sqrt(m11 - c10 * c10)
        log_det += 2.0 * (math.log(c00) + math.log(c11))
        # columns of the half-solved L'Z'[X y]
        y0 = (l11 * scalars[i, 3] + l21 * scalars[i, 4]) / c00
        y1 = (l22 * scalars[i, 4] - c10 * y0) / c11
        rss -= y0 * y0 + y1 * y1
        for a in range(p):
            v0[a] = (l11 * ZtX[i, 0, a] + l21 * ZtX[i, 1, a]) / c00
            v1[a] = (l22 * ZtX[i, 1, a] - c10 * v0[a]) / c11
            u[a] -= v0[a] * y0 + v1[a] * y1
            for b in range(a + 1):
                A[a, b] -= v0[a] * v0[b] + v1[a] * v1[b]
    for a in range(p):
        for b in range(a):
            A[b, a] = A[a, b]
    L = np.zeros((p, p))
    w = np.zeros(p)
    for a in range(p):
        for b in range(a + 1):
            s = A[a, b]
            for k in range(b):
                s -= L[a, k] * L[b, k]
            if a == b:
                if s <= 1e-12 * XtX[a, a]:
                    return math.inf, math.nan
                L[a, a] = math.sqrt(s)
            else:
                L[a, b] = s / L[b, b]
        s = u[a]
        for k in range(a):
            s -= L[a, k] * w[k]
        w[a] = s / L[a, a]
        rss -= w[a] * w[a]
        log_det += 2.0 * math.log(L[a, a])
    if rss <= 0.0:
        return math.inf, rss
    df = rows - p
    return log_det + df * (1.0 + math.log(2.0 * math.pi * rss / df)), rss


@njit
def _reml_gradient(theta, slope, ZtX, scalars, inverse, beta, rss, df):
    """Gradient of the deviance of `_reml` in (l11, l21, l22), given A^-1, the fixed effects and the rss.

    With G = Z'WX, P = Z'WZ and q = Z'W(y - Xb) of each participant, the derivative in the relative covariance
    LL' is K = sum(P - G A^-1 G' - q q' df/rss), and in L it is 2 K L (Laird & Ware 1982, section 5).
    """
    p = ZtX.shape[2]
    l11 = theta[0]
    l21 = theta[1] if slope else 0.0
    l22 = theta[2] if slope else 0.0
    k00 = 0.0
    k01 = 0.0
    k11 = 0.0
    g0 = np.zeros(p)
    g1 = np.zeros(p)
    for i in range(scalars.shape[0]):
        s0 = scalars[i, 0]
        s1 = scalars[i, 1]
        s2 = scalars[i, 2]
        m00 = l11 * l11 * s0 + 2 * l11 * l21 * s1 + l21 * l21 * s2 + 1.0
        m01 = l11 * l22 * s1 + l21 * l22 * s2
        m11 = l22 * l22 * s2 + 1.0
        det = m00 * m11 - m01 * m01
        # Q = L M^-1 L', so that Z'W. = Z'. - S Q Z'.
        i00 = m11 / det
        i01 = -m01 / det
        i11 = m00 / det
        q00 = l11 * l11 * i00
        q01 = l11 * (l21 * i00 + l22 * i01)
        q11 = l21 * l21 * i00 + 2 * l21 * l22 * i01 + l22 * l22 * i11
        t00 = 1.0 - (s0 * q00 + s1 * q01)
        t01 = -(s0 * q01 + s1 * q11)
        t10 = -(s1 * q00 + s2 * q01)
        t11 = 1.0 - (s1 * q01 + s2 * q11)
        r0 = scalars[i, 3]
        r1 = scalars[i, 4]
        for a in range(p):
            r0 -= ZtX[i, 0, a] * beta[a]
            r1 -= ZtX[i, 1, a] * beta[a]
            g0[a] = t00 * ZtX[i, 0, a] + t01 * ZtX[i, 1, a]
            g1[a] = t10 * ZtX[i, 0, a] + t11 * ZtX[i, 1, a]
        w0 = t00 * r0 + t01 * r1
        w1 = t10 * r0 + t11 * r1
        k00 += t00 * s0 + t01 * s1 - w0 * w0 * df / rss
        k01 += t00 * s1 + t01 * s2 - w0 * w1 * df / rss
        k11 += t10 * s1 + t11 * s2 - w1 * w1 * df / rss
        for a in range(p):
            h0 = 0.0
            h1 = 0.0
            for b in range(p):
                h0 += inverse[a, b] * g0[b]
                h1 += inverse[a, b] * g1[b]
            k00 -= g0[a] * h0
            k01 -= g0[a] * h1
            k11 -= g1[a] * h1
    out = np.zeros(3)
    out[0] = 2 * (k00 * l11 + k01 * l21)
    out[1] = 2 * (k01 * l11 + k11 * l21)
    out[2] = 2 * k11 * l22
    return out


@dataclass(frozen=True)
class MixedModel:
    """A fitted mixed model of one measure.

    `terms` names the p fixed effects; `coefficients` (p) and `covariance` (p x p) are theirs. `differences`
    has (estimate, se) of the average difference over follow-up for each arm but the reference. Variances are
    in squared units, time in years. `undefined` says why there is no fit, or is None.
    """

    terms: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    intercept_variance: float
    slope_variance: float
    intercept_slope_covariance: float
    residual_variance: float
    reml_log_likelihood: float
    differences: tuple[tuple[float, float], ...]
    participants: int
    rows: int
    undefined: str | None = None

    def standard_errors(self) -> Floats:
        """Of the fixed effects."""
        return np.sqrt(np.diag(self.covariance))

    def difference(self, arm: int, confidence: float = 0.95) -> tuple[float, float, float, float, float]:
        """(estimate, se, lower, upper, p-value) of arm number `arm` (1, 2, ...) against the reference (0)."""
        estimate, se = self.differences[arm - 1]
        z = float(ndtri(0.5 + confidence / 2))
        return estimate, se, estimate - z * se, estimate + z * se, two_sided_p(estimate / se)


class MixedModelData:
    """What the mixed model needs to know of the data, gathered in any number of chunks.

    Memory grows with participants, not with measurements. arm: int, 0 for the reference, one entry per
    participant; baseline: value before treatment, NaN where unknown (those are left out). knots: the days of
    a natural cubic spline, or, with `categorical`, all days that occur.
    """

    def __init__(
        self, arm: ArrayLike, baseline: ArrayLike, arms: int, knots: ArrayLike, *, categorical: bool
    ) -> None:
        self.arm = np.ascontiguousarray(arm, dtype=np.int64)
        self.baseline = np.ascontiguousarray(baseline, dtype=np.float64)
        self.arms = arms
        self.knots = np.ascontiguousarray(knots, dtype=np.float64)
        self.categorical = categorical
        n = len(self.arm)
        width = len(self.knots)
        self._sums = np.zeros((n, width))
        self._sums_t = np.zeros((n, width))
        self._sums_y = np.zeros((n, width))
        self._scalars = np.zeros((n, 7))
        self._scalars[:, 6] = self.arm
        self._cross = np.zeros((arms, width, width))

    def add(self, who: ArrayLike, day: ArrayLike, value: ArrayLike) -> None:
        """Add measurements after randomisation: row of the participant (0-based), day, value."""
        rows = np.ascontiguousarray(who, dtype=np.int64)
        days = np.ascontiguousarray(day, dtype=np.float64)
        y = np.ascontiguousarray(value, dtype=np.float64)
        use = np.isfinite(y) & np.isfinite(self.baseline[rows]) & (days > 0)
        _accumulate(
            rows[use], days[use], y[use], self.knots, self.categorical,
            self._sums, self._sums_t, self._sums_y, self._scalars, self._cross,
        )  # fmt: skip

    def fit(self) -> MixedModel:
        """Maximise the restricted likelihood. No data or no contrast: NaN, with the reason in `undefined`."""
        width, arms = len(self.knots), self.arms
        measured = self._scalars[:, 0] > 0
        terms = self._terms()
        p = len(terms)
        rows = int(self._scalars[:, 0].sum())
        people = int(measured.sum())
        if rows <= p or len(np.unique(self.arm[measured])) < arms:
            return self._undefined(terms, people, rows, "an arm has no measurements after randomisation")
        scalars = np.ascontiguousarray(self._scalars[measured])
        arm = self.arm[measured]
        sums, sums_t, sums_y = self._sums[measured], self._sums_t[measured], self._sums_y[measured]
        centre = float(self.baseline[measured].mean())
        b = self.baseline[measured] - centre
        n = scalars[:, 0]
        # fixed effects: basis of time; baseline; basis of time in each further arm
        ZtX = np.zeros((people, 2, p))
        ZtX[:, 0, :width], ZtX[:, 1, :width] = sums, sums_t
        ZtX[:, 0, width], ZtX[:, 1, width] = b * n, b * scalars[:, 1]
        XtX, Xty = np.zeros((p, p)), np.zeros(p)
        XtX[:width, :width] = self._cross.sum(axis=0)
        XtX[width, width] = (b * b * n).sum()
        XtX[width, :width] = (b[:, None] * sums).sum(axis=0)
        Xty[:width], Xty[width] = sums_y.sum(axis=0), (b * scalars[:, 3]).sum()
        for a in range(1, arms):
            here = arm == a
            block = slice(width + 1 + (a - 1) * width, width + 1 + a * width)
            ZtX[here, 0, block], ZtX[here, 1, block] = sums[here], sums_t[here]
            XtX[block, block] = XtX[block, :width] = self._cross[a]
            XtX[block, width] = (b[here, None] * sums[here]).sum(axis=0)
            Xty[block] = sums_y[here].sum(axis=0)
        XtX = np.tril(XtX) + np.tril(XtX, -1).T
        yty = float(scalars[:, 5].sum())
        slope = bool(np.any((n > 1) & (scalars[:, 2] - scalars[:, 1] ** 2 / n > 1e-9))) and bool(
            (n > 2).any()
        )
        repeated = bool((n > 1).any())
        A, u = np.zeros((p, p)), np.zeros(p)
        best: Floats = np.zeros(3)
        if repeated:
            best = _minimise(slope, ZtX, scalars, XtX, Xty, yty, A, u)
        deviance, rss = _reml(best, slope, ZtX, scalars, XtX, Xty, yty, A, u)
        if not math.isfinite(deviance):
            return self._undefined(terms, people, rows, "the effects in the mixed model cannot be told apart")
        residual = rss / (rows - p)
        inverse = np.linalg.inv(A)
        beta = inverse @ u
        covariance = inverse * residual
        weights = (sums / n[:, None]).mean(axis=0)
        differences = []
        for a in range(1, arms):
            contrast = np.zeros(p)
            contrast[width + 1 + (a - 1) * width : width + 1 + a * width] = weights
            differences.append((float(contrast @ beta), math.sqrt(float(contrast @ covariance @ contrast))))
        l11, l21, l22 = best
        return MixedModel(
            terms=terms,
            coefficients=beta,
            covariance=covariance,
            intercept_variance=residual * l11 * l11,
            slope_variance=residual * (l21 * l21 + l22 * l22),
            intercept_slope_covariance=residual * l11 * l21,
            residual_variance=residual,
            reml_log_likelihood=-0.5 * deviance,
            differences=tuple(differences),
            participants=people,
            rows=rows,
        )

    def _terms(self) -> tuple[str, ...]:
        kind = [f"day {k:g}" for k in self.knots[1:]] if self.categorical else [
            f"time {j}" for j in range(1, len(self.knots))
        ]  # fmt: skip
        names = ["intercept", *kind, "baseline"]
        for a in range(1, self.arms):
            names += [f"arm {a}", *(f"arm {a} x {k}" for k in kind)]
        return tuple(names)

    def _undefined(self, terms: tuple[str, ...], people: int, rows: int, reason: str) -> MixedModel:
        nan, p = math.nan, len(terms)
        return MixedModel(
            terms, np.full(p, nan), np.full((p, p), nan), nan, nan, nan, nan, nan,
            ((nan, nan),) * (self.arms - 1), people, rows, reason,
        )  # fmt: skip


def _minimise(
    slope: bool, ZtX: Floats, scalars: Floats, XtX: Floats, Xty: Floats, yty: float, A: Floats, u: Floats
) -> Floats:
    """Relative Cholesky factor (l11, l21, l22) at the maximum of the restricted likelihood.

    BFGS with the exact gradient to the neighbourhood of the maximum, then Newton steps while they help.
    """
    size = 3 if slope else 1
    df = float(scalars[:, 0].sum()) - len(Xty)

    def full(theta: Floats) -> Floats:
        out = np.zeros(3)
        out[:size] = theta
        return out

    def deviance(theta: Floats) -> tuple[float, Floats]:
        at = full(theta)
        value, rss = _reml(at, slope, ZtX, scalars, XtX, Xty, yty, A, u)
        if not math.isfinite(value):
            return math.inf, np.zeros(size)
        inverse = np.linalg.inv(A)
        slopes = _reml_gradient(at, slope, ZtX, scalars, inverse, inverse @ u, rss, df)[:size]
        return value / df, slopes / df

    start = np.array([1.0, 0.0, 0.3])[:size]
    found = minimize(deviance, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 200})
    theta: Floats = found.x
    best, slopes = deviance(theta)
    for _ in range(6):
        hessian = np.zeros((size, size))
        for j in range(size):
            h = 1e-5 * max(0.1, abs(theta[j]))
            step = np.eye(size)[j] * h
            hessian[j] = (deviance(theta + step)[1] - deviance(theta - step)[1]) / (2 * h)
        hessian = (hessian + hessian.T) / 2
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            break
        candidate = theta - np.linalg.solve(hessian, slopes)
        value, new_slopes = deviance(candidate)
        if not value <= best + 1e-13 * abs(best) or np.abs(new_slopes).max() >= np.abs(slopes).max():
            break
        theta, best, slopes = candidate, value, new_slopes
    return full(theta)


def knots_for(days: ArrayLike, counts: ArrayLike) -> tuple[Floats, bool]:
    """(knots, categorical) for measurements on distinct `days` that occur `counts` times.

    Up to six distinct days are a category each. Otherwise five knots at the 5th, 27.5th, 50th, 72.5th and
    95th percentile of the days (Harrell 2015, table 2.3), fewer where they coincide.
    """
    day = np.asarray(days, dtype=np.float64)
    count = np.asarray(counts, dtype=np.float64)
    order = np.argsort(day)
    day, count = day[order], count[order]
    if len(day) <= _FEW_TIMES:
        return day, True
    share = np.cumsum(count) / count.sum()
    knots = np.unique([day[int(np.searchsorted(share, q))] for q in (0.05, 0.275, 0.5, 0.725, 0.95)])
    if len(knots) < 3:
        knots = np.unique([day[0], day[len(day) // 2], day[-1]])
    return knots, False


def mixed_model(
    participant: ArrayLike,
    day: ArrayLike,
    value: ArrayLike,
    arm: ArrayLike,
    baseline: ArrayLike,
    arms: int,
) -> MixedModel:
    """Fit the mixed model to rows (participant number 0..n-1, day > 0, value) in memory.

    arm (0 = reference) and baseline have one entry per participant. See `MixedModelData`.
    """
    days = np.asarray(day, dtype=np.float64)
    if len(days) == 0:
        raise UserError("there are no measurements after randomisation")
    distinct, counts = np.unique(days[days > 0], return_counts=True)
    knots, categorical = knots_for(distinct, counts)
    data = MixedModelData(arm, baseline, arms, knots, categorical=categorical)
    data.add(participant, days, value)
    return data.fit()
