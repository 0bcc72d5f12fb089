"""Operating characteristics of a power run: what the rows of its trials say, each with its Monte Carlo error.

Rows are read one column at a time, so that a million trials need no more memory than one number of each.
Scenarios are compared with the first one trial by trial: trial k of each has the same virtual people and the
same chances, so the difference is known far better than either figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.simulate.power.deciding import EFFICACY, FUTILITY, HARM, NOT_SHOWN, USUAL_ALPHA
from equipoise.simulate.power.store import Entry, Saved

Floats = NDArray[np.float64]

YEAR = 365.25
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Figure:
    """One operating characteristic. `error`: its Monte Carlo standard error; NaN where there is none."""

    section: str
    name: str
    value: float
    error: float
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Trials:
    """The rows of one scenario."""

    saved: Saved
    entry: Entry
    count: int
    names: frozenset[str]
    true_log_hr: float | None
    """Where it is known by construction (a plain trial with proportional hazards)."""

    def column(self, name: str) -> Floats:
        """One column, NaN where nothing is known; all NaN where the run has no such column."""
        if name not in self.names:
            return np.full(self.count, np.nan)
        return self.saved.column(self.entry, name, self.count)

    def has(self, name: str) -> bool:
        return name in self.names

    @cached_property
    def looks(self) -> int:
        """Number of looks of the design, the final analysis included."""
        return max(int(name[5:].partition("|")[0]) for name in self.names if name.startswith("look "))

    @cached_property
    def truth(self) -> tuple[float, float]:
        """The log hazard ratio that is estimated, and its Monte Carlo error. Where it is not known by
        construction it is the mean of the estimates of all trials, none of them stopped."""
        if self.true_log_hr is not None:
            return self.true_log_hr, 0.0
        return mean(self.column("whole|log_hr"))


def trials_of(saved: Saved, entry: Entry, true_log_hr: float | None = None) -> Trials:
    """The rows of a scenario: all that there are, without a gap."""
    return Trials(saved, entry, saved.trials(entry), frozenset(saved.columns(entry)), true_log_hr)


# --- estimates with their errors ----------------------------------------------------------------------------


def mean(values: Floats) -> tuple[float, float]:
    """Mean of the known values and its standard error."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return math.nan, math.nan
    if len(known) > 1 and known.min() == known.max():  # the same in every trial, to the last digit
        return float(known[0]), 0.0
    error = float(known.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return float(known.mean()), error


def share(values: Floats) -> tuple[float, float]:
    """A share and its standard error, that of a binomial proportion."""
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return math.nan, math.nan
    p = float(known.mean())
    return p, math.sqrt(p * (1 - p) / len(known))


def quantile(values: Floats, q: float) -> tuple[float, float]:
    """A quantile (definition 7 of Hyndman & Fan 1996) and its standard error: half the distance between the
    order statistics one standard error of the rank away on either side (Woodruff 1952)."""
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    if n == 0:
        return math.nan, math.nan
    spread = math.sqrt(n * q * (1 - q))
    low, high = (int(min(max(round(n * q + s * spread), 0), n - 1)) for s in (-1, 1))
    return float(np.quantile(known, q)), float(known[high] - known[low]) / 2


# --- the figures of one scenario ----------------------------------------------------------------------------


def figures(trials: Trials) -> list[Figure]:
    """Everything there is to say of one scenario, by section."""
    return [
        figure
        for part in (_decisions, _stopping, _duration, _estimates, _marker, _treatment, _safety)
        for figure in part(trials)
    ]


def _decisions(trials: Trials) -> Iterator[Figure]:
    reason = trials.column("stop|reason")
    yield Figure("decision", "power", *share(trials.column("win")))
    yield Figure("decision", "shown to harm", *share((reason == HARM).astype(float)))
    either = (reason == EFFICACY) | (reason == HARM)
    yield Figure("decision", "null hypothesis rejected", *share(either.astype(float)))


def _stopping(trials: Trials) -> Iterator[Figure]:
    look, reason = trials.column("stop|look"), trials.column("stop|reason")
    for k in range(1, trials.looks + 1):
        here = look == k
        taken = ~np.isnan(trials.column(f"look {k}|day"))
        for name, code in (("efficacy", EFFICACY), ("futility", FUTILITY), ("harm", HARM)):
            if code == FUTILITY and k == trials.looks:
                continue
            yield Figure("stopping", f"look {k}: {name}", *share((here & (reason == code)).astype(float)))
        ended = (here & (reason == NOT_SHOWN)).astype(float)
        yield Figure("stopping", f"look {k}: no difference shown", *share(ended))
        yield Figure("stopping", f"look {k}: reached", *share(((look >= k) & taken).astype(float)))
    early = (look < trials.looks) & (reason != NOT_SHOWN)
    yield Figure("stopping", "stopped before the final analysis", *share(early.astype(float)))


def _duration(trials: Trials) -> Iterator[Figure]:
    years = trials.column("stop|day") / YEAR
    yield Figure("duration", "duration", *mean(years), "years")
    for q in QUANTILES:
        yield Figure("duration", f"duration, {100 * q:.0f}% quantile", *quantile(years, q), "years")
    yield Figure("duration", "participants randomised", *mean(trials.column("stop|enrolled")))
    yield Figure("duration", "primary events", *mean(trials.column("stop|events")))
    for k in range(1, trials.looks + 1):
        day = trials.column(f"look {k}|day") / YEAR
        yield Figure("duration", f"look {k} takes place", *share((~np.isnan(day)).astype(float)))
        yield Figure("duration", f"look {k}, time", *mean(day), "years")
        yield Figure("duration", f"look {k}, events", *mean(trials.column(f"look {k}|events")))
    yield Figure("duration", "events had nobody stopped", *mean(trials.column("whole|events")))


def _estimates(trials: Trials) -> Iterator[Figure]:
    truth, error = trials.truth
    plain, se = trials.column("stop|log_hr"), trials.column("stop|log_se")
    adjusted = trials.column("stop|adjusted log_hr")
    whole = trials.column("whole|log_hr")
    yield Figure("estimate", "hazard ratio, true", math.exp(truth), math.exp(truth) * error)
    yield Figure("estimate", "log hazard ratio, true", truth, error)
    yield Figure("estimate", "log hazard ratio, SD between trials", *_spread(plain))
    yield Figure("estimate", "log hazard ratio, mean standard error", *mean(se))
    without = np.isnan(plain).astype(float)
    if without.any():
        yield Figure("estimate", "trials without an estimate, share", *share(without))
    for name, values in (("as estimated", plain), ("adjusted for stopping", adjusted)):
        # the truth is itself a mean over these trials: the difference is taken trial by trial
        off = values - truth if trials.true_log_hr is not None else values - whole
        yield Figure("estimate", f"bias of the log hazard ratio, {name}", *mean(off))
        middle, middle_error = quantile(values, 0.5)
        both = math.hypot(middle_error, error)
        yield Figure("estimate", f"median bias of the log hazard ratio, {name}", middle - truth, both)
    z = _normal(trials)
    inside = (np.abs(plain - truth) <= z * se).astype(float)
    inside[np.isnan(plain)] = np.nan
    yield Figure("estimate", "coverage of the interval, as estimated", *share(inside))
    low, high = trials.column("stop|adjusted low"), trials.column("stop|adjusted high")
    within = ((low <= truth) & (truth <= high)).astype(float)
    within[np.isnan(low)] = np.nan
    yield Figure("estimate", "coverage of the interval, adjusted for stopping", *share(within))
    if trials.has("look 1|rmst difference"):
        name = f"look {trials.looks}|rmst difference"
        yield Figure("estimate", "difference of restricted means", *mean(trials.column(name)), "days")


def _normal(trials: Trials) -> float:
    """The quantile of the interval whose level is that of the test: 1.96 for 0.05, two-sided."""
    return NormalDist().inv_cdf(1 - one_sided_alpha(trials.saved, trials.entry))


def _spread(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return math.nan, math.nan
    sd = float(known.std(ddof=1))
    return sd, sd / math.sqrt(2.0 * (len(known) - 1))


def _marker(trials: Trials) -> Iterator[Figure]:
    if not trials.has("marker|win"):
        return
    won, shown = trials.column("win"), trials.column("marker|win")
    yield Figure("biomarker", "difference of the biomarker", *mean(trials.column("marker|difference")))
    yield Figure("biomarker", "biomarker wins", *share(shown))
    yield Figure("biomarker", "biomarker wins, endpoint does not", *share(shown * (1 - won)))
    yield Figure("biomarker", "both win", *share(shown * won))


def _treatment(trials: Trials) -> Iterator[Figure]:
    for name, label, unit in (
        ("cycles other", "cycles per participant", ""),
        ("injections other", "injections per participant", ""),
        ("dose other", "dose per participant", "MIU"),
    ):
        if trials.has(name):
            yield Figure("treatment", label, *mean(trials.column(name)), unit)
    if trials.has("dose other"):
        total = trials.column("dose other") * trials.column("participants other")
        yield Figure("treatment", "dose of the trial", *mean(total), "MIU")
        yield Figure("treatment", "dose of the trial, 95% quantile", *quantile(total, 0.95), "MIU")
    for name in ("starting cycles", "escalated", "reduced"):
        if trials.has(f"{name} other"):
            yield Figure("treatment", f"{name}, share", *mean(trials.column(f"{name} other")))


def _safety(trials: Trials) -> Iterator[Figure]:
    for name in ("grade 4", "deaths", "opportunistic disease"):
        if not trials.has(f"{name} other"):
            continue
        for who in ("other", "reference"):
            number = trials.column(f"{name} {who}")
            yield Figure("safety", f"{name}, participants, {_arm(who)}", *mean(number))
        one = trials.column(f"{name} other") / trials.column("participants other")
        two = trials.column(f"{name} reference") / trials.column("participants reference")
        yield Figure("safety", f"{name}, difference of shares", *mean(one - two))


def _arm(who: str) -> str:
    return "compared arm" if who == "other" else "reference arm"


# --- differences between scenarios --------------------------------------------------------------------------


COMPARED: tuple[tuple[str, str, str, Callable[[Trials], Floats]], ...] = (
    ("power", "decision", "", lambda t: t.column("win")),
    ("duration", "duration", "years", lambda t: t.column("stop|day") / YEAR),
    ("participants randomised", "duration", "", lambda t: t.column("stop|enrolled")),
    ("primary events", "duration", "", lambda t: t.column("stop|events")),
    ("log hazard ratio", "estimate", "", lambda t: t.column("whole|log_hr")),
    ("difference of the biomarker", "biomarker", "", lambda t: t.column("marker|difference")),
    ("cycles per participant", "treatment", "", lambda t: t.column("cycles other")),
    ("dose per participant", "treatment", "MIU", lambda t: t.column("dose other")),
    ("grade 4, participants, compared arm", "safety", "", lambda t: t.column("grade 4 other")),
)


@dataclass(frozen=True)
class Difference:
    """How a scenario differs from the first one, on the same virtual people. `unpaired` is the error that
    independent trials would have had."""

    name: str
    section: str
    value: float
    error: float
    unpaired: float
    unit: str = ""


def differences(first: Trials, other: Trials) -> list[Difference]:
    """Paired differences, `other` minus `first`, over the trials that both have."""
    n = min(first.count, other.count)
    found = []
    for name, section, unit, of in COMPARED:
        a, b = of(first)[:n], of(other)[:n]
        known = ~(np.isnan(a) | np.isnan(b))
        if known.sum() < 2:
            continue
        value, error = mean(b[known] - a[known])
        found.append(
            Difference(name, section, value, error, math.hypot(mean(a[known])[1], mean(b[known])[1]), unit)
        )
    return found


@dataclass(frozen=True, eq=False)
class Summary:
    """A power run summed up. `trials`, `figures` and `differences` are by scenario, in the order of the
    run; the first scenario has no differences."""

    saved: Saved
    trials: tuple[Trials, ...]
    figures: tuple[tuple[Figure, ...], ...]
    differences: tuple[tuple[Difference, ...], ...]

    def value(self, scenario: int, name: str) -> Figure:
        """The figure of that name. Raises KeyError when there is none."""
        for figure in self.figures[scenario]:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def table(self) -> pl.DataFrame:
        """Everything as one table: scenario, section, characteristic, value, error, unit, trials; differences
        have the section with ", difference from" and the name of the first scenario."""
        rows = [
            (entry.name, f.section, f.name, f.value, f.error, f.unit, trials.count)
            for entry, trials, found in zip(self.saved.scenarios, self.trials, self.figures, strict=True)
            for f in found
        ]
        base = self.saved.scenarios[0].name
        rows += [
            (
                entry.name,
                f"difference from {base}",
                d.name,
                d.value,
                d.error,
                d.unit,
                min(trials.count, self.trials[0].count),
            )
            for entry, trials, found in zip(self.saved.scenarios, self.trials, self.differences, strict=True)
            for d in found
        ]
        columns = ["scenario", "section", "characteristic", "value", "error", "unit", "trials"]
        return pl.DataFrame(rows, schema=columns, orient="row")


def summarise(saved: Saved) -> Summary:
    """The operating characteristics of a run, of the trials that it has."""
    every = tuple(trials_of(saved, entry, _known_truth(saved, entry)) for entry in saved.scenarios)
    return Summary(
        saved,
        every,
        tuple(tuple(figures(trials)) for trials in every),
        ((), *(tuple(differences(every[0], other)) for other in every[1:])),
    )


def one_sided_alpha(saved: Saved, entry: Entry) -> float:
    """The level of a scenario's test on one side."""
    protocol = saved.design(entry)["protocol"]
    plain = saved.kind == "plain"
    sides = int(protocol["monitoring"].get("sides", 2))
    alpha = protocol.get("alpha") if plain else protocol["size"].get("alpha")
    return float(alpha if alpha is not None else USUAL_ALPHA[sides]) / sides


def _known_truth(saved: Saved, entry: Entry) -> float | None:
    """The log hazard ratio of a plain trial whose hazards are proportional."""
    if saved.kind != "plain":
        return None
    trial = saved.design(entry)["protocol"]
    multiples = {stratum.get("hazard_multiple", 1.0) for stratum in trial.get("strata", {}).values()}
    if len(multiples) > 1 and not trial["analysis"].get("stratified", False):
        return None  # proportional within strata is not proportional across them
    other = next(arm for name, arm in trial["arms"].items() if name != trial["reference_arm"])
    reference = trial["arms"][trial["reference_arm"]]
    ratio = other.get("hazard_ratio")
    if isinstance(ratio, int | float):
        return math.log(ratio)
    both = (other.get("hazard"), reference.get("hazard"))
    if all(isinstance(each, str) for each in both):
        from equipoise.protocol.quantities import parse_rate, per_day

        one, two = (per_day(parse_rate(each)) for each in both)
        return math.log(one / two) if one > 0 and two > 0 else None
    return None
