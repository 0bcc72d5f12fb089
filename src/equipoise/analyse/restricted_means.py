"""Restricted mean survival time in two arms: how much time free of the event the treatment gained, up to a
horizon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from equipoise.analyse.columns import codes, exit_times, two_sided_p
from equipoise.analyse.two_arm import follow_up, restricted_means_of_table, risk_table
from equipoise.analyse.undefined import NOT_FOLLOWED
from equipoise.errors import UserError


@dataclass(frozen=True)
class RestrictedMeans:
    """Restricted means of two arms, in the order of `labels`, up to `horizon`, in the unit of time.

    `difference` is the second minus the first, `ratio` the second over the first, each with its interval and
    two-sided p-value (normal; the ratio on the log scale, with `log_ratio_se`). `undefined` says why there is
    no comparison (then its numbers are NaN), or is None.
    """

    labels: tuple[Any, ...]
    horizon: float
    means: tuple[float, float]
    standard_errors: tuple[float, float]
    difference: float
    difference_se: float
    difference_interval: tuple[float, float]
    difference_p: float
    ratio: float
    log_ratio_se: float
    ratio_interval: tuple[float, float]
    ratio_p: float
    undefined: str | None = None


def rmst_difference(
    time: ArrayLike,
    event: ArrayLike,
    arm: ArrayLike,
    horizon: float,
    strata: ArrayLike | None = None,
    confidence: float = 0.95,
) -> RestrictedMeans:
    """Difference and ratio of the restricted means of two arms (Royston & Parmar 2013; Uno et al. 2014).

    time, event, arm (and strata): columns of length n; arm takes two values, of which the later in sorted
    order is compared with the earlier. horizon: in the unit of time. The variance of each mean is that of
    Klein & Moeschberger (2003), eq. 4.5.2; the ratio by the delta method on the log scale. With strata, each
    mean is the average over strata by their share of all participants. Undefined where an arm was not
    followed up to the horizon, in some stratum. Raises UserError for impossible times, a horizon that is not
    above 0, or another number of arms.
    """
    if not (horizon > 0 and math.isfinite(horizon)):
        raise UserError(f"the horizon must be a number above 0, not {horizon:g}")
    stop, happened = exit_times(time, event)
    side, labels = codes(arm, len(stop), "arms")
    if len(labels) != 2 or not len(stop):
        raise UserError(f"restricted means are compared between two arms: the column has {len(labels)}")
    levels, cells = codes(strata, len(stop), "strata")
    _, scratch = risk_table(stop, happened, side, levels, len(cells))
    follow_up(stop, side.astype(np.uint8), levels, len(cells), scratch)
    mean0, variance0, mean1, variance1 = restricted_means_of_table(len(cells), scratch, float(horizon))
    defined = not (math.isnan(mean0) or math.isnan(mean1))
    return _compared(
        labels, float(horizon), (mean0, mean1), (variance0, variance1), confidence,
        None if defined else NOT_FOLLOWED,
    )  # fmt: skip


def _compared(
    labels: tuple[Any, ...], horizon: float, means: tuple[float, float], variances: tuple[float, float],
    confidence: float, undefined: str | None,
) -> RestrictedMeans:  # fmt: skip
    if undefined:
        nothing = (math.nan, math.nan)
        return RestrictedMeans(
            labels, horizon, means, (math.sqrt(variances[0]), math.sqrt(variances[1])), math.nan, math.nan,
            nothing, math.nan, math.nan, math.nan, nothing, math.nan, undefined,
        )  # fmt: skip
    z = float(ndtri(0.5 + confidence / 2))
    difference, se = means[1] - means[0], math.sqrt(variances[0] + variances[1])
    log_ratio = log_se = math.nan
    if min(means) > 0:
        log_ratio = math.log(means[1] / means[0])
        log_se = math.sqrt(variances[0] / means[0] ** 2 + variances[1] / means[1] ** 2)
    return RestrictedMeans(
        labels=labels,
        horizon=horizon,
        means=means,
        standard_errors=(math.sqrt(variances[0]), math.sqrt(variances[1])),
        difference=difference,
        difference_se=se,
        difference_interval=(difference - z * se, difference + z * se),
        difference_p=two_sided_p(difference / se) if se > 0 else math.nan,
        ratio=math.exp(log_ratio),
        log_ratio_se=log_se,
        ratio_interval=(math.exp(log_ratio - z * log_se), math.exp(log_ratio + z * log_se)),
        ratio_p=two_sided_p(log_ratio / log_se) if log_se > 0 else math.nan,
    )
