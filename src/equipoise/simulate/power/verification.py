"""Is the type I error of each kind of monitoring what it should be? A hundred thousand plain trials say.

Every kind of boundary is held against its nominal level on the same simulated trials, in which both arms
have the same hazard: looks by events, by the calendar, early and many looks, a trial that ends with too few
events. Two designs are not at their nominal level, because the log-rank statistic is not normal there. They
are held against the level that `equipoise.design.attainable` says they have, and their remedy, the
saddlepoint distribution, against the nominal one. Run as `equipoise verify --type-one-error`, or as `python
-m equipoise.simulate.power.verification`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.design.attainable import attained_level, exposure
from equipoise.design.from_protocol import of_plain
from equipoise.protocol.model import Futility, Looks
from equipoise.protocol.plain import PlainTrial
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.simulate.plain import plain_rows, prepare_plain
from equipoise.simulate.power.deciding import EFFICACY, HARM, Committee, committee
from equipoise.simulate.power.engines import cores
from equipoise.simulate.progress import Progress, silent
from equipoise.simulate.runs import in_order

Floats = NDArray[np.float64]

PLANNED_YEARS = 8.2
"""Planned duration, for spending by calendar: when 230 events are expected without effect, 8.16
years by `equipoise.design.calendar.expected_time`."""
TRIALS = 100_000
SEED = 1983
CHUNK = 5_000
ERRORS = 3.0
"""A type I error may be this many Monte Carlo errors from its level."""
FEW = "58 events at the first look: a log-rank statistic of few values, on which this limit relies most"
UNEQUAL = "unequal arms: the log-rank statistic is skewed, which two sides cancel and one does not"
SADDLEPOINT = (("distribution", "saddlepoint"),)
LATE = (0.25, {"at": 0.5, "minimum_gap": "1 year"}, {"at": 0.75, "minimum_gap": "1 year"}, 1.0)
STRATIFIED: tuple[tuple[str, Any], ...] = (
    ("arms", {"control": {"hazard": "0.024 / year"}, "active": {"hazard_ratio": 1.0, "share": 2}}),
    ("strata", {"low": {"share": 0.7}, "high": {"share": 0.3, "hazard_multiple": 3.0}}),
    ("analysis", {"stratified": True}),
)

FOUR = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Schedule:
    """When some designs look: their plain trial without boundaries, and the boundaries that are tried."""

    label: str
    looks: tuple[Any, ...]
    plans: tuple[tuple[str, dict[str, Any]], ...]
    changes: tuple[tuple[str, Any], ...] = ()
    """Fields of the trial that differ from `_trial`."""
    known: tuple[tuple[str, str], ...] = ()
    """Plans that are held against the level which they are said to have, since it is not the nominal one, and
    why."""
    options: tuple[tuple[str, Any], ...] = ()
    """Further fields of its `monitoring`."""


@dataclass(frozen=True)
class Check:
    """The type I error of one design. `level`: nominal; `said`: the level that it is said to have, which is
    the nominal one but for designs with a reason, `known`; `error`: the Monte Carlo error at that level."""

    schedule: str
    plan: str
    level: float
    said: float
    found: float
    error: float
    known: str = ""

    @property
    def holds(self) -> bool:
        """Whether it lies where it must: no further from what is said than chance explains."""
        return abs(self.found - self.said) <= ERRORS * self.error


_EVERY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("O'Brien-Fleming type, two-sided", {"spending": "obrien-fleming"}),
    ("O'Brien-Fleming type, one-sided", {"spending": "obrien-fleming", "sides": 1}),
    ("Pocock type, two-sided", {"spending": "pocock"}),
    ("Pocock type, one-sided", {"spending": "pocock", "sides": 1}),
    ("Hwang-Shih-DeCani, gamma -4", {"spending": "hwang-shih-decani", "parameter": -4.0}),
    ("Hwang-Shih-DeCani, gamma 1", {"spending": "hwang-shih-decani", "parameter": 1.0}),
    ("Kim-DeMets, rho 3", {"spending": "kim-demets", "parameter": 3.0}),
    ("O'Brien-Fleming, classical", {"spending": "obrien-fleming exact"}),
    ("Pocock, classical", {"spending": "pocock exact"}),
    ("Wang-Tsiatis, Delta 0.25", {"spending": "wang-tsiatis", "parameter": 0.25}),
    ("Haybittle-Peto", {"spending": "haybittle-peto"}),
    (
        "O'Brien-Fleming type, non-binding futility",
        {"spending": "obrien-fleming", "sides": 1, "futility": Futility(spending="obrien-fleming")},
    ),
    (
        "O'Brien-Fleming type, binding futility",
        {
            "spending": "obrien-fleming", "sides": 1,
            "futility": Futility(spending="hwang-shih-decani", parameter=-2.0, binding=True),
        },
    ),
)  # fmt: skip
_SPENT = (_EVERY[0], _EVERY[2], _EVERY[6])
SCHEDULES = (
    Schedule("looks at quarters of the events", FOUR, _EVERY),
    Schedule("one analysis", (1.0,), (("one analysis", {}), ("one analysis, one-sided", {"sides": 1}))),
    Schedule("ten looks", tuple(k / 10 for k in range(1, 11)), _SPENT),
    Schedule("a first look at a tenth of the events", (0.1, 0.6, 1.0), (*_SPENT, _EVERY[1])),
    Schedule(
        "too few events by the end", FOUR, (*_SPENT, _EVERY[7], _EVERY[10]), (("follow_up", "7 years"),)
    ),
    Schedule(
        "looks every two years",
        (*({"after": f"{years} years"} for years in (3, 5, 7)), 1.0),
        (
            *_SPENT,
            ("Pocock type, by calendar", {"spending": "pocock", "spend_by": "calendar"}),
            ("Pocock type, by the lesser clock", {"spending": "pocock", "spend_by": "minimum"}),
        ),
    ),
    Schedule(
        "reports 60 days late, looks a year apart or more",
        LATE, _SPENT, options=(("reporting_delay", "60 days"),), known=((_EVERY[2][0], FEW),),
    ),
    Schedule(
        "the same, by the saddlepoint distribution", LATE, _SPENT,
        options=(("reporting_delay", "60 days"), *SADDLEPOINT),
    ),
    Schedule(
        "two to one, strata of unequal hazard, a stratified test", FOUR, (*_SPENT, _EVERY[1]), STRATIFIED,
        known=((_EVERY[1][0], UNEQUAL),),
    ),
    Schedule(
        "two to one, by the saddlepoint distribution", FOUR, (*_SPENT, _EVERY[1], _EVERY[3]), STRATIFIED,
        options=SADDLEPOINT,
    ),
    Schedule(
        "a weighted test, Fleming-Harrington (0, 1)", FOUR, _SPENT,
        (("analysis", {"test": "fleming-harrington", "rho": 0, "gamma": 1}),),
    ),
)  # fmt: skip


def _trial(schedule: Schedule) -> PlainTrial:
    """Two arms of equal hazard."""
    data: dict[str, Any] = {
        "equipoise": 1, "plain": "No effect", "reference_arm": "control", "participants": 1695,
        "arms": {"control": {"hazard": "0.024 / year"}, "active": {"hazard_ratio": 1.0}},
        "accrual": "3.5 years", "dropout": "0.015 / year", "primary_events": 230, "follow_up": "15 years",
        "monitoring": {"looks": list(schedule.looks), "spending": "pocock", **dict(schedule.options)},
    } | dict(schedule.changes)  # fmt: skip
    return PlainTrial.model_validate(data)


def verify(trials: int = TRIALS, seed: int = SEED, progress: Progress | None = None) -> list[Check]:
    """The type I error of every design, over so many trials of each schedule."""
    tell = progress if progress is not None else silent
    checks: list[Check] = []
    for place, schedule in enumerate(SCHEDULES):
        tell(schedule.label, place, len(SCHEDULES))
        checks += _checks(schedule, trials, seed)
    tell("done", len(SCHEDULES), len(SCHEDULES))
    return checks


def _checks(schedule: Schedule, trials: int, seed: int) -> Iterator[Check]:
    trial = _trial(schedule)
    setup = prepare_plain(trial)
    firsts = range(0, trials, CHUNK)

    def chunk(first: int) -> dict[str, Floats]:
        return plain_rows(setup, seed, first, min(CHUNK, trials - first))

    parts = list(in_order(chunk, firsts, cores()))
    rows = {name: np.concatenate([part[name] for part in parts]).astype(float) for name in parts[0]}
    count = len(schedule.looks)
    looks = {
        name: np.column_stack([rows[f"look {k + 1}|{name}"] for k in range(count)])
        for name in ("events", "day", "z", "information")
    }
    assert trial.follow_up is not None
    weighted = trial.analysis.test == "fleming-harrington"
    known = dict(schedule.known)
    for label, options in schedule.plans:
        plan = Looks.model_validate({"looks": list(schedule.looks), **dict(schedule.options), **options})
        level = 0.05 if plan.sides == 2 else 0.025
        active = trial.arms["active"].share
        told = committee(
            plan, alpha=level, power=0.8, primary_events=trial.primary_events, share=active / (active + 1),
            duration=PLANNED_YEARS * DAYS_PER_YEAR, place="monitoring", weighted=weighted,
            participants=trial.participants,
        )  # fmt: skip
        found = float(np.mean([_rejected(told, looks, n) for n in range(trials)]))
        said = _said(trial, told, looks) if label in known else level
        error = math.sqrt(said * (1 - said) / trials)
        yield Check(schedule.label, label, level, said, found, error, known.get(label, ""))


def _said(trial: PlainTrial, told: Committee, looks: dict[str, Floats]) -> float:
    """The level that a design is said to have, with the usual numbers of events at its looks."""
    usual = {name: np.median(column, axis=0) for name, column in looks.items()}
    limits = told.limits(usual["events"], usual["day"], usual["information"])
    events = [float(usual["events"][k]) for k in limits.taken]
    model = of_plain(trial).model
    exposures = [exposure(model, each) for each in events]
    return attained_level(events, limits.upper, limits.lower, exposures).level(told.sides)


def _rejected(told: Committee, looks: dict[str, Floats], n: int) -> bool:
    """Whether trial n rejects: on either side in a two-sided test, for efficacy in a one-sided one. Futility
    limits that do not bind are not kept to, since the level must hold without them."""
    limits = told.limits(looks["events"][n], looks["day"][n], looks["information"][n])
    _, reason = told.stop(limits, looks["z"][n], futility=told.plan.binding)
    return reason in (EFFICACY, HARM)


def table(checks: list[Check]) -> str:
    """The checks as text, and in words those that are not at their nominal level."""
    lines = [f"{'':<44}{'level':>7}  {'found':>7}  {'±':>7}  {'errors':>6}"]
    heading = ""
    for check in checks:
        if check.schedule != heading:
            heading = check.schedule
            lines.append(heading[0].upper() + heading[1:])
        off = (check.found - check.said) / check.error
        mark = "" if check.holds else "   too far"
        if check.known:
            mark += f"   from {check.said:.4f}, the level it is said to have ({check.known})"
        figures = f"{check.level:>7.3f}  {check.found:>7.4f}  {check.error:>7.5f}  {off:>+6.1f}"
        lines.append(f"  {check.plan:<42}{figures}{mark}")
    known = sum(bool(check.known) for check in checks)
    if known:
        lines.append(
            f"{known} of these designs are not at their nominal level: they are held against the level they "
            "are said to have; with `distribution: saddlepoint` in their monitoring they are at the nominal "
            "one"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 when a type I error is too far from its level."""
    parser = argparse.ArgumentParser(description="Type I error of every kind of monitoring")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    checks = verify(options.trials, options.seed)
    print(table(checks))
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
