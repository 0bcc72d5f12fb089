"""Each time-to-event endpoint of the plan, by intention to treat: rows of the results table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from equipoise.analyse import survival
from equipoise.analyse.competing import CumulativeIncidence, aalen_johansen
from equipoise.analyse.rates import rate_interval, rate_ratio
from equipoise.analyse.results import Rows
from equipoise.analyse.survival import Cox, Curve, LogRank
from equipoise.protocol.quantities import DAYS_PER_YEAR, round_half_away
from equipoise.record import AnalysisInput
from equipoise.record.mapping import EndpointInput
from equipoise.record.schemas import STRATUM_PREFIX

_MOST_STEPS = 400
"""Points of a curve that are put into the table; a curve with more steps is shown at this many of them."""
_PROBABILITY = {"at_risk": "participants"}


@dataclass(frozen=True)
class Times:
    """One endpoint as columns, one entry per participant: days, status 0/1/2, entry day, arm code, stratum.

    Arm codes follow the order of the arms; `stratum` numbers the combinations of the plan's strata.
    """

    day: NDArray[np.float64]
    status: NDArray[np.int8]
    entry: NDArray[np.float64] | None
    arm: NDArray[np.int64]
    stratum: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> Times:
        """The same for some of the participants."""
        entry = None if self.entry is None else self.entry[chosen]
        return Times(self.day[chosen], self.status[chosen], entry, self.arm[chosen], self.stratum[chosen])

    @property
    def event(self) -> NDArray[np.bool_]:
        """Whether the event of interest happened."""
        return np.equal(self.status, 1)

    @property
    def years(self) -> float:
        """Person-years under observation."""
        start = 0.0 if self.entry is None else float(self.entry.sum())
        return (float(self.day.sum()) - start) / DAYS_PER_YEAR


def times_of(given: AnalysisInput, endpoint: EndpointInput) -> Times:
    """Columns of an endpoint, in the order of the participants; an unknown stratum is a level of its own."""
    frame = given.participants.join(endpoint.times, on="participant", how="left", maintain_order="left")
    codes = {name: k for k, name in enumerate(given.arms)}
    return Times(
        frame["day"].to_numpy(),
        frame["status"].to_numpy(),
        frame["entry"].to_numpy() if endpoint.late_entry else None,
        frame["arm"].replace_strict(codes, return_dtype=pl.Int64).to_numpy(),
        numbered_strata(frame, endpoint.strata),
    )


def numbered_strata(people: pl.DataFrame, strata: Sequence[str]) -> NDArray[np.int64]:
    """Combinations of the levels of `strata`, numbered from 0, one for each row of `people`, shape (n,).

    `people`: a column stratum_<name> (text) for each name. An unknown level is a level of its own."""
    if not strata:
        return np.zeros(people.height, np.int64)
    levels = [pl.col(f"{STRATUM_PREFIX}{name}").fill_null("") for name in strata]
    joined = people.select(pl.concat_str(levels, separator="\x1f")).to_series()
    return np.unique(joined.to_numpy(), return_inverse=True)[1].astype(np.int64)


def add_endpoint(rows: Rows, given: AnalysisInput, endpoint: EndpointInput) -> None:
    """All rows of one endpoint."""
    times = times_of(given, endpoint)
    arms = list(given.arms)
    reference = arms.index(given.reference_arm)
    rivals = endpoint.competing
    per_arm = [times.of(times.arm == code) for code in range(len(arms))]
    if not times.event.any():
        rows.note(f"{endpoint.label}: there was no such event in any arm, so nothing can be compared.")
    for code, arm in enumerate(arms):
        _one_arm(rows, given, endpoint, arm, per_arm[code], rivals)
    horizon = math.floor(min((float(t.day.max()) for t in per_arm if len(t.day)), default=0.0))
    for code, arm in enumerate(arms):
        if code != reference:
            pair = f"{arm} vs {given.reference_arm}"
            _one_pair(
                rows, given, endpoint, pair, times.of((times.arm == code) | (times.arm == reference)), code
            )
            _rate_ratio(rows, endpoint.name, pair, per_arm[code], per_arm[reference], given.confidence)
    if len(arms) > 2:
        _add_test(rows, endpoint.name, "all", "log-rank", _logrank(times, None))
        if endpoint.strata:
            _add_test(rows, endpoint.name, "all", "stratified log-rank", _logrank(times, times.stratum))
    if not rivals and horizon > 0:
        _restricted_means(rows, given, endpoint, per_arm, reference, horizon)


def _one_arm(
    rows: Rows, given: AnalysisInput, endpoint: EndpointInput, arm: str, times: Times, rivals: bool
) -> None:
    name, n, events = endpoint.name, len(times.day), int(times.event.sum())
    rows.add(name, arm, "participants", "participants", n=n)
    rows.add(
        name, arm, "events", "participants", {"percent": "%"},
        n=events, percent=100 * events / n if n else math.nan,
    )  # fmt: skip
    if rivals:
        rows.add(name, arm, "competing events", "participants", n=int((times.status == 2).sum()))
    rows.add(name, arm, "person-years", "years", estimate=times.years)
    rate = rate_interval(events, times.years, confidence=given.confidence)
    rows.add(name, arm, "rate", "per 100 person-years", **rate._asdict())
    if not n:
        rows.note(f"{endpoint.label}: nobody is in the arm {given.arms[arm]}.")
        return
    curve = survival.kaplan_meier(times.day, times.event, entry=times.entry, confidence=given.confidence)
    _curve_rows(rows, name, arm, "Kaplan-Meier", curve)
    incidence: CumulativeIncidence | Curve = curve
    if rivals:
        incidence = aalen_johansen(times.day, times.status, confidence=given.confidence)
    _curve_rows(rows, name, arm, "cumulative incidence", incidence)
    watched = survival.kaplan_meier(times.day, times.status == 0, confidence=given.confidence)
    rows.add(
        name, arm, "follow-up", "years",
        median=watched.quantile(0.5) / DAYS_PER_YEAR,
        q1=watched.quantile(0.25) / DAYS_PER_YEAR,
        q3=watched.quantile(0.75) / DAYS_PER_YEAR,
    )  # fmt: skip


def _curve_rows(rows: Rows, name: str, arm: str, quantity: str, curve: Curve | CumulativeIncidence) -> None:
    steps = curve.times[curve.events > 0]
    if isinstance(curve, CumulativeIncidence):
        steps = curve.times[(curve.events > 0) | (curve.competing > 0)]
    last = math.ceil(float(curve.times[-1]))
    days = sorted({0, *(math.ceil(t) for t in steps.tolist()), last})
    if len(days) > _MOST_STEPS:
        chosen = np.unique(np.linspace(0, len(days) - 1, _MOST_STEPS).round().astype(int))
        days = [days[k] for k in chosen]
    years = list(range(int(last / DAYS_PER_YEAR) + 1))
    points = [(f"day {d}", d) for d in days]
    points += [(f"year {y}", round_half_away(DAYS_PER_YEAR * y)) for y in years]
    for label, day in points:
        estimate, lower, upper = curve.at(day)
        if quantity == "cumulative incidence" and isinstance(curve, Curve):
            estimate, lower, upper = 1 - estimate, 1 - upper, 1 - lower
        rows.add(
            name, arm, f"{quantity} {label}", "probability", _PROBABILITY,
            estimate=estimate, lower=lower, upper=upper, at_risk=curve.number_at_risk(day),
        )  # fmt: skip


def _logrank(times: Times, strata: NDArray[np.int64] | None) -> LogRank:
    return survival.logrank(times.day, times.event, times.arm, strata, entry=times.entry)


def _add_test(rows: Rows, name: str, group: str, parameter: str, test: LogRank) -> None:
    rows.add(name, group, parameter, "", chi_square=test.chi_square, df=test.df, p_value=test.p_value)


def cox_of(times: Times, arm: int, ties: str, strata: NDArray[np.int64] | None) -> Cox:
    """Cox model of one arm against everybody else in `times`."""
    return survival.cox(
        times.day,
        times.event,
        (times.arm == arm).astype(np.float64),
        strata,
        "breslow" if ties == "breslow" else "efron",
        times.entry,
    )


def add_hazard_ratio(
    rows: Rows, analysis: str, group: str, parameter: str, fit: Cox, confidence: float
) -> None:
    """The five statistics of a hazard ratio."""
    estimate, lower, upper = fit.hazard_ratio(0, confidence)
    rows.add(
        analysis, group, parameter, "", estimate=estimate, lower=lower, upper=upper,
        p_value=fit.p_value(0), log_se=float(fit.standard_errors[0]),
    )  # fmt: skip


def _one_pair(
    rows: Rows, given: AnalysisInput, endpoint: EndpointInput, pair: str, times: Times, code: int
) -> None:
    name = endpoint.name
    strata = times.stratum if endpoint.strata else None
    planned = cox_of(times, code, endpoint.ties, strata)
    add_hazard_ratio(rows, name, pair, "hazard ratio", planned, given.confidence)
    if planned.undefined and times.event.any():
        rows.note(f"{endpoint.label}, {pair}: there is no hazard ratio, because {planned.undefined}.")
    if strata is not None:
        plain = cox_of(times, code, endpoint.ties, None)
        add_hazard_ratio(rows, name, pair, "hazard ratio, unstratified", plain, given.confidence)
    test = _logrank(times, None)
    _add_test(rows, name, pair, "log-rank", test)
    if test.undefined and times.event.any():
        rows.note(f"{endpoint.label}, {pair}: there is no log-rank test, because {test.undefined}.")
    if strata is not None:
        _add_test(rows, name, pair, "stratified log-rank", _logrank(times, strata))
    if times.entry is None:
        chi_square, p = survival.proportional_hazards(
            np.ceil(times.day), times.event, times.arm == code, strata
        )
        rows.add(
            name, pair, "proportional hazards", "",
            chi_square=chi_square, df=1, p_value=p,
        )  # fmt: skip


def _rate_ratio(rows: Rows, name: str, pair: str, times: Times, reference: Times, confidence: float) -> None:
    ratio = rate_ratio(
        int(times.event.sum()),
        times.years,
        int(reference.event.sum()),
        reference.years,
        confidence=confidence,
    )
    rows.add(name, pair, "rate ratio", "", **ratio._asdict())


def _restricted_means(
    rows: Rows,
    given: AnalysisInput,
    endpoint: EndpointInput,
    per_arm: Sequence[Times],
    reference: int,
    horizon: int,
) -> None:
    arms = list(given.arms)
    means = []
    for code, arm in enumerate(arms):
        times = per_arm[code]
        curve = survival.kaplan_meier(times.day, times.event, entry=times.entry, confidence=given.confidence)
        mean = survival.restricted_mean(curve, float(horizon), given.confidence)
        means.append(mean)
        rows.add(
            endpoint.name, arm, f"restricted mean to day {horizon}", "days",
            estimate=mean.estimate, se=mean.se, lower=mean.lower, upper=mean.upper,
        )  # fmt: skip
    z = float(ndtri(0.5 + given.confidence / 2))
    for code, arm in enumerate(arms):
        if code == reference:
            continue
        difference = means[code].estimate - means[reference].estimate
        se = math.hypot(means[code].se, means[reference].se)
        rows.add(
            endpoint.name, f"{arm} vs {given.reference_arm}",
            f"restricted mean difference to day {horizon}", "days", {"p_value": ""},
            estimate=difference, se=se, lower=difference - z * se, upper=difference + z * se,
            p_value=survival.two_sided_p(difference / se) if se > 0 else math.nan,
        )  # fmt: skip
