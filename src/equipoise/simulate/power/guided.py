"""Rows of response-guided trials: accrual, dosing, events, looks, stopping, and what there is to say at the
end.

Each trial is simulated as `equipoise simulate` does it, to the end of its follow-up. Its looks are then taken
on the calendar, the committee decides, and where the trial ends before its planned end the participants are
walked again up to that day, so that cycles, doses and counts are those that were given and measured by then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.analyse.risk_table import Scratch, two_arm_scratch
from equipoise.analyse.saddlepoint import saddlepoint_of_table
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days
from equipoise.simulate import plans
from equipoise.simulate.cutting import at_look
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.looks import LookRules, cut_offs, final_only, look_rules
from equipoise.simulate.plans import Setup
from equipoise.simulate.power.deciding import Committee, committee, decision_columns
from equipoise.simulate.power.scenarios import Design
from equipoise.simulate.replicates import endpoint_times, stratum_cells
from equipoise.simulate.runs import Measures, walk_everybody
from equipoise.simulate.totals import arm_totals
from equipoise.simulate.trial import Outcomes
from equipoise.virtual.maths import exponential_quantile
from equipoise.virtual.philox import uniform_column
from equipoise.virtual.streams import REPORT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COUNTS_ONLY: Measures = "counts only"
"""HIV RNA decides nothing here and is left out."""
LOOK = (
    "day",
    "events",
    "events other",
    "events reference",
    "enrolled",
    "z",
    "information",
    "log_hr",
    "log_se",
)
"""Columns of each look; `other` is the arm that is compared with the reference arm."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A design made ready for the loop."""

    setup: Setup
    endpoint: str
    strata: tuple[str, ...]
    other: int
    """Position of the arm that is compared, and of the reference arm."""
    reference: int
    rules: LookRules
    committee: Committee
    horizon: int
    """Days from the first possible randomisation to the end of follow-up."""
    delay: float
    """Mean days from an event to its report."""
    level: float
    """Normal quantile beyond which the biomarker's difference counts as shown."""


def prepare(design: Design) -> Ready:
    """The design made ready. Raises UserError when it cannot be simulated or monitored."""
    protocol, population, baseline = design.built()
    setup = plans.prepare(protocol, design.dials, population=population, baseline=baseline)
    endpoint, strata = primary_endpoint(protocol)
    arms = list(protocol.arms)
    other, reference = arms.index(design.arm or ""), arms.index(protocol.analysis.reference_arm)
    calendar, ratio = protocol.calendar, protocol.randomization.ratio
    horizon = (calendar.end_of_follow_up - calendar.first_randomization).days
    looks = protocol.monitoring
    planned = protocol.size.primary_events
    rules = (
        look_rules(
            looks.schedule, planned, whole_days=True,
            day_of=lambda when: (when - calendar.first_randomization).days,
        )
        if looks.schedule
        else final_only(planned)
    )  # fmt: skip
    mine, theirs = ratio[arms[other]], ratio[arms[reference]]
    told = committee(
        looks, alpha=protocol.size.alpha, power=protocol.size.power, primary_events=planned,
        share=mine / (mine + theirs), duration=float(horizon), place="monitoring",
        participants=round(protocol.size.simulated * (mine + theirs) / sum(ratio.values())),
    )  # fmt: skip
    return Ready(
        setup, endpoint, strata, other, reference, rules, told, horizon,
        0.0 if looks.reporting_delay is None else float(days(looks.reporting_delay)),
        NormalDist().inv_cdf(1 - told.alpha / told.sides),
    )  # fmt: skip


def primary_endpoint(protocol: Protocol) -> tuple[str, tuple[str, ...]]:
    """The endpoint that the looks wait for and the trial is decided on, and the strata of its analysis: the
    primary one, or the first that is analysed where none is primary."""
    plans = protocol.analysis.time_to_event
    primary = [plan for plan in plans if protocol.endpoints[plan.endpoint].role == "primary"]
    chosen = (primary or plans)[0]
    return chosen.endpoint, tuple(chosen.strata)


def rows(ready: Ready, seed: int, first: int, count: int) -> pl.DataFrame:
    """One row per trial `first` .. `first` + `count` - 1."""
    found = [one(ready, seed, number) for number in range(first, first + count)]
    return pl.DataFrame(
        {
            "trial": np.arange(first, first + count, dtype=np.int64),
            **{name: np.array([row[name] for row in found]) for name in found[0]},
        }
    )


@dataclass(frozen=True, eq=False)
class _Compared:
    """Those in the two arms that are compared, one array element each; days of the trial or since entry."""

    entry: Ints
    day: Ints
    event: NDArray[np.uint8]
    reported: Ints
    arm: NDArray[np.uint8]
    stratum: NDArray[np.int32]
    cells: int
    scratch: Scratch
    saddlepoint: bool
    """Whether z is the saddlepoint deviate of the log-rank statistic."""


def one(ready: Ready, seed: int, trial: int) -> dict[str, float]:
    """The row of one trial."""
    setup = ready.setup
    enrolment = enrol(setup, seed, trial)
    happened = walk_everybody(setup, enrolment, seed, trial, COUNTS_ONLY)
    compared = _compared(ready, enrolment, happened, seed, trial)
    cuts = _cuts(ready, compared)
    looks = _looks(compared, cuts, ready.committee.share)
    ended = ready.committee.decide(
        looks["events"],
        looks["day"],
        looks["z"],
        looks["log_hr"],
        looks["log_se"],
        looks["information"],
    )
    out = {f"look {k + 1}|{name}": float(looks[name][k]) for k in range(len(cuts)) for name in LOOK}
    out |= decision_columns(ended, looks)
    out |= _whole(ready, compared, looks)
    cut = int(looks["day"][ended.look])
    if cut < ready.horizon:
        enrolment, happened = _until(ready, enrolment, cut, seed, trial)
    out |= _measures(ready, enrolment, happened)
    return out


def _compared(ready: Ready, enrolment: Enrolment, happened: Outcomes, seed: int, trial: int) -> _Compared:
    setup = ready.setup
    day, status = endpoint_times(setup, enrolment, happened, seed, trial, (ready.endpoint,))[ready.endpoint]
    stratum, cells = stratum_cells(setup, enrolment, list(ready.strata))
    entry = enrolment.assessed[enrolment.position]
    reported = entry + day
    if ready.delay > 0:
        reported = reported + _delays(ready, enrolment, seed, trial)
    mine = (enrolment.arm == ready.other) | (enrolment.arm == ready.reference)
    return _Compared(
        np.ascontiguousarray(entry[mine]), np.ascontiguousarray(day[mine]),
        (status[mine] == 1).astype(np.uint8), np.ascontiguousarray(reported[mine]),
        (enrolment.arm[mine] == ready.other).astype(np.uint8), stratum[mine], cells,
        two_arm_scratch(int(mine.sum()), cells, ready.horizon, int((status[mine] == 1).sum())),
        ready.committee.draws is not None,
    )  # fmt: skip


def _delays(ready: Ready, enrolment: Enrolment, seed: int, trial: int) -> Ints:
    """Whole days from each participant's event to its report."""
    numbers = enrolment.people.number
    most = int(numbers.max()) + 1
    u = uniform_column(np.uint64(seed), REPORT, 0, trial, 0, most)[0][numbers]
    return np.array([int(ready.delay * exponential_quantile(each)) for each in u], np.int64)


def _cuts(ready: Ready, compared: _Compared) -> Floats:
    """Day of the trial of each look; NaN where it does not take place."""
    # each look, the final one too, waits for reports: nobody knows of an event before
    known = np.sort(compared.reported[compared.event == 1]).astype(np.float64)
    wanted = ready.rules.events
    days_of = np.full(len(wanted), np.inf)
    for k, need in enumerate(wanted.tolist()):
        if 0 < need <= len(known):
            days_of[k] = known[need - 1]
    cuts = np.empty(len(wanted))
    cut_offs(
        ready.rules, days_of, float(compared.entry.min()), float(compared.entry.max()), float(ready.horizon),
        cuts,
    )  # fmt: skip
    return cuts


def _looks(compared: _Compared, cuts: Floats, share: float) -> dict[str, Floats]:
    """The comparison at each look; NaN where it does not take place."""
    found = np.full((len(LOOK), len(cuts)), np.nan)
    for k, cut in enumerate(cuts.tolist()):
        if not math.isnan(cut):
            found[:, k] = (cut, *_comparison(compared, int(cut), k == len(cuts) - 1))
    return dict(zip(LOOK, found, strict=True))


def _comparison(compared: _Compared, cut: int, final: bool) -> tuple[float, ...]:
    enrolled, ones, zeros, difference, variance, log_hr, log_se = at_look(
        compared.entry, compared.day, compared.event, compared.reported, compared.arm, compared.stratum,
        compared.cells, cut, final, compared.scratch,
    )  # fmt: skip
    z = -difference / math.sqrt(variance) if variance > 0 else 0.0
    if compared.saddlepoint and variance > 0:
        # the risk table of the cut-off is still in the working memory
        z = -float(saddlepoint_of_table(compared.scratch.first[compared.cells], compared.scratch))
    return (ones + zeros, ones, zeros, enrolled, z, variance, log_hr, log_se)


def _whole(ready: Ready, compared: _Compared, looks: dict[str, Floats]) -> dict[str, float]:
    """The comparison had nobody stopped the trial before the end of follow-up. `looks`: as of `_looks`."""
    if looks["day"][-1] == ready.horizon:
        found = tuple(float(looks[name][-1]) for name in LOOK[1:])
    else:
        found = _comparison(compared, ready.horizon, True)
    events, ones, zeros, enrolled, z, _, log_hr, log_se = found
    return {
        "whole|events": float(events), "whole|events other": float(ones),
        "whole|events reference": float(zeros), "whole|enrolled": float(enrolled), "whole|z": z,
        "whole|log_hr": log_hr, "whole|log_se": log_se,
    }  # fmt: skip


def _until(ready: Ready, enrolment: Enrolment, cut: int, seed: int, trial: int) -> tuple[Enrolment, Outcomes]:
    """Those randomised before the day of the cut-off, and what had happened to them by then."""
    entry = enrolment.assessed[enrolment.position]
    kept = entry < cut
    people = enrolment.people._replace(end_day=np.minimum(enrolment.people.end_day, cut - entry))
    known = replace(enrolment, people=people, arm=np.where(kept, enrolment.arm, -1))
    return known, walk_everybody(ready.setup, known, seed, trial, COUNTS_ONLY)


def _measures(ready: Ready, enrolment: Enrolment, happened: Outcomes) -> dict[str, float]:
    """Biomarker, treatment and safety at the end of the trial, by arm."""
    out: dict[str, float] = {}
    means = {}
    for who, number in (("other", ready.other), ("reference", ready.reference)):
        total, own, doses = arm_totals(
            number, enrolment.arm, happened.counts, happened.count_sum, happened.last_day,
            happened.diseases[:, 0], happened.death, happened.grade4, happened.cycles, happened.injections,
            happened.dose_total, happened.escalations, happened.reductions,
        )  # fmt: skip
        means[who] = _mean_and_error(own)
        out[f"participants {who}"] = float(total.participants)
        out[f"marker|{who}"] = means[who][0]
        out[f"years {who}"] = float(total.days) / 365.25
        out[f"opportunistic disease {who}"] = float(total.diseases)
        out[f"deaths {who}"] = float(total.deaths)
        out[f"grade 4 {who}"] = float(total.grade4)
        if ready.setup.arms[number].regimen is not None:
            n = max(1, total.participants)
            out[f"cycles {who}"] = float(total.cycles) / n
            out[f"injections {who}"] = float(total.injections) / n
            out[f"dose {who}"] = float(doses.sum()) / n
            out[f"escalated {who}"] = float(total.escalated) / n
            out[f"reduced {who}"] = float(total.reduced) / n
            out[f"starting cycles {who}"] = float(total.starting) / n
    difference = means["other"][0] - means["reference"][0]
    error = math.hypot(means["other"][1], means["reference"][1])
    out["marker|difference"], out["marker|se"] = difference, error
    out["marker|win"] = float(error > 0 and difference / error >= ready.level)
    return out


def _mean_and_error(own: Floats) -> tuple[float, float]:
    """Mean and its standard error; NaN where there are too few."""
    n = len(own)
    mean = float(own.sum()) / n if n else math.nan
    if n < 2:
        return mean, math.nan
    away = own - mean
    return mean, math.sqrt(float((away * away).sum()) / (n - 1)) / math.sqrt(n)
