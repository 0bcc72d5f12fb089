"""Constructed trials where the truth about the marker is known: hazards follow it by a known slope."""

from __future__ import annotations

import numpy as np

from equipoise.analyse.surrogate import MarkedTrial


def carried_trial(
    people: int,
    *,
    through: float,
    direct: float,
    slope: float = -0.7,
    events: float = 0.04,
    seed: int = 1,
    strata: int = 1,
) -> MarkedTrial:
    """A marker that treatment moves at once and that then stands: hazard = rate exp(slope log2 marker +
    direct treated), the move such that slope x move = `through`. Where events are rare the log hazard ratio
    of the arms is through + direct, and the share that the marker carries is through/(through + direct)."""
    rng = np.random.default_rng(seed)
    treated = rng.permutation(np.arange(people) % 2 == 1)
    stratum = rng.integers(0, strata, people)
    first = 8 + 0.6 * rng.standard_normal(people) + 0.3 * stratum
    later = first + treated * through / slope + 0.2 * rng.standard_normal(people)
    hazard = events / 5 * np.exp(slope * (later - 8) + direct * treated)
    happens = rng.exponential(1 / hazard)
    leaves = rng.uniform(4, 6, people)
    return MarkedTrial(
        treated=treated, time=np.minimum(happens, leaves), event=happens <= leaves, stratum=stratum,
        unit=np.full(people, ""), who=np.repeat(np.arange(people), 2),
        at=np.tile([0.0, 1e-4], people), value=2.0 ** np.column_stack([first, later]).ravel(),
        treated_label="new", reference_label="old", endpoint_label="death", marker_label="CD4 count",
        marker_unit="cells/mm3",
    )  # fmt: skip


def wandering_trial(people: int, *, visits: int = 8, seed: int = 1, strata: int = 2) -> MarkedTrial:
    """A marker that wanders from visit to visit and is missed at some; hazards follow it and the arm. Times
    are whole days, so that events tie."""
    rng = np.random.default_rng(seed)
    treated = rng.permutation(np.arange(people) % 2 == 1)
    marker = 8 + np.cumsum(rng.normal(0.0, 0.4, (people, visits)), axis=1) + 0.4 * treated[:, None]
    level = rng.exponential(1.0, people)
    cumulative = np.cumsum(0.06 * np.exp(-0.6 * (marker - 8) + 0.3 * treated[:, None]), axis=1)
    interval = (cumulative < level[:, None]).sum(axis=1)
    before = np.where(
        interval > 0, np.take_along_axis(cumulative, np.maximum(interval - 1, 0)[:, None], 1)[:, 0], 0
    )
    inside = np.take_along_axis(cumulative, np.minimum(interval, visits - 1)[:, None], 1)[:, 0] - before
    time = np.where(interval < visits, interval + (level - before) / np.maximum(inside, 1e-9), visits) * 0.5
    leaves = rng.uniform(1, visits * 0.5, people)
    event = (interval < visits) & (time <= leaves)
    days = np.maximum(np.ceil(np.minimum(time, leaves) * 365.25 / 7) * 7, 7)
    at = np.tile(np.arange(visits) * 0.5, people)
    who = np.repeat(np.arange(people), visits)
    seen = ((rng.random(people * visits) < 0.85) | (at == 0)) & (at <= days[who] / 365.25)
    return MarkedTrial(
        treated=treated, time=days / 365.25, event=event, stratum=rng.integers(0, strata, people),
        unit=np.array(["abcdefgh"[k % 8] for k in range(people)]), who=who[seen], at=at[seen],
        value=2.0 ** marker.ravel()[seen], treated_label="new", reference_label="old",
        endpoint_label="death", marker_label="CD4 count", marker_unit="cells/mm3",
    )  # fmt: skip
