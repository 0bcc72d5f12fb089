"""Rows of plain event-time trials, with the committee's decisions: the engine without visits or biology."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.protocol.plain import PlainTrial
from equipoise.protocol.quantities import days
from equipoise.simulate.plain import PlainSetup, plain_rows, prepare_plain
from equipoise.simulate.power.deciding import (
    EFFICACY,
    HARM,
    NOT_SHOWN,
    Committee,
    committee,
    decision_columns,
)
from equipoise.simulate.power.scenarios import Design

Floats = NDArray[np.float64]

LOOK = ("day", "events", "enrolled", "z", "information", "log_hr", "log_se")


@dataclass(frozen=True, eq=False)
class Ready:
    """A plain design made ready for the loop."""

    trial: PlainTrial
    setup: PlainSetup
    committee: Committee


def prepare(design: Design) -> Ready:
    """The design made ready. Raises UserError when it cannot be simulated or monitored."""
    trial = design.built_plain()
    return Ready(trial, prepare_plain(trial), committee_of(trial))


def committee_of(trial: PlainTrial) -> Committee:
    """The committee of a plain trial. Raises UserError for a plan of looks that has no boundaries."""
    other = trial.arms[next(name for name in trial.arms if name != trial.reference_arm)]
    reference = trial.arms[trial.reference_arm]
    return committee(
        trial.monitoring, alpha=trial.alpha, power=trial.power, primary_events=trial.primary_events,
        share=other.share / (other.share + reference.share),
        duration=math.nan if trial.follow_up is None else float(days(trial.follow_up)),
        weighted=trial.analysis.test == "fleming-harrington", participants=trial.participants,
        place="monitoring",
    )  # fmt: skip


def rows(ready: Ready, seed: int, first: int, count: int) -> pl.DataFrame:
    """One row per trial `first` .. `first` + `count` - 1."""
    found: dict[str, NDArray[Any]] = dict(plain_rows(ready.setup, seed, first, count))
    looks = ready.committee.looks
    last = f"look {looks}"
    if looks == 1:
        found |= _single(ready.committee, found)
    else:
        found |= _stopped(ready.committee, found, count)
    for name in ("events", "enrolled", "z", "log_hr", "log_se"):
        found[f"whole|{name}"] = found[f"{last}|{name}"]
    return pl.DataFrame(found)


def _single(told: Committee, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The decisions of trials that are analysed once: the estimate needs no adjustment."""
    z, log_hr, log_se = (found[f"look 1|{name}"] for name in ("z", "log_hr", "log_se"))
    limit = told.plan.efficacy[-1]
    reason = np.where(z >= limit, EFFICACY, np.where((told.sides == 2) & (z <= -limit), HARM, NOT_SHOWN))
    normal = _upper(1 - told.alpha / told.sides)
    return {
        "win": (reason == EFFICACY).astype(np.float64),
        "stop|look": np.ones(len(z)),
        "stop|reason": reason.astype(np.float64),
        **{
            f"stop|{name}": found[f"look 1|{name}"]
            for name in ("day", "events", "enrolled", "z", "log_hr", "log_se")
        },
        "stop|adjusted p": found["look 1|p"]
        if told.sides == 1
        else 2 * np.minimum(found["look 1|p"], 1 - found["look 1|p"]),
        "stop|adjusted log_hr": log_hr,
        "stop|adjusted low": log_hr - normal * log_se,
        "stop|adjusted high": log_hr + normal * log_se,
    }


def _upper(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _stopped(told: Committee, found: dict[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    columns = {
        name: np.column_stack([found[f"look {k + 1}|{name}"] for k in range(told.looks)]).astype(np.float64)
        for name in LOOK
    }
    decided = []
    for n in range(count):
        looks = {name: column[n] for name, column in columns.items()}
        ended = told.decide(
            looks["events"], looks["day"], looks["z"], looks["log_hr"], looks["log_se"],
            looks["information"],
        )  # fmt: skip
        decided.append(decision_columns(ended, looks))
    return {name: np.array([each[name] for each in decided]) for name in decided[0]}
