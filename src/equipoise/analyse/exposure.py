"""Treatment received: cycles, doses, changes of dose, holds, offers declined, time at the goal."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from equipoise.analyse.longitudinal import Grid, nearest_values
from equipoise.analyse.results import Rows
from equipoise.protocol.model import Protocol, Regimen
from equipoise.protocol.quantities import DAYS_PER, DAYS_PER_YEAR, round_half_away
from equipoise.record import Record
from equipoise.record.schemas import PLACED_HOLD

_FULL = ("n", "mean", "sd", "median", "q1", "q3", "minimum", "maximum")
_BRIEF = ("n", "mean", "median", "q1", "q3")
_PEOPLE = {"percent": "%"}
_OFFERS = ("start", "reduce", "escalate")


def add_exposure(rows: Rows, record: Record, protocol: Protocol) -> None:
    """All rows for every arm with a regimen given in cycles."""
    people = record.table("participants").select("participant", "arm").sort("participant")
    ends = record.table("disposition").select("participant", end="day")
    people = people.join(ends, on="participant", how="left", maintain_order="left").with_columns(
        pl.col("end").fill_null(0)
    )
    for arm, given in protocol.arms.items():
        cyclic = [r for r in given.regimens if protocol.regimens[r].kind == "cycles"]
        for name in cyclic:
            prefix = f"{name}: " if len(cyclic) > 1 else ""
            own = people.filter(pl.col("arm") == arm)
            _regimen(rows, record, protocol, arm, name, prefix, own)


def _describe(
    rows: Rows, arm: str, parameter: str, unit: str, values: pl.Series, which: tuple[str, ...], of: str
) -> None:
    x = values.cast(pl.Float64).drop_nulls().to_numpy()
    empty = len(x) == 0
    found = {
        "n": float(len(x)),
        "mean": math.nan if empty else float(x.mean()),
        "sd": float(x.std(ddof=1)) if len(x) > 1 else math.nan,
        "median": math.nan if empty else float(np.median(x)),
        "q1": math.nan if empty else float(np.quantile(x, 0.25)),
        "q3": math.nan if empty else float(np.quantile(x, 0.75)),
        "minimum": math.nan if empty else float(x.min()),
        "maximum": math.nan if empty else float(x.max()),
    }
    rows.add("exposure", arm, parameter, unit, {"n": of}, **{k: found[k] for k in which})


def _share(rows: Rows, arm: str, parameter: str, n: int, whole: int, unit: str = "participants") -> None:
    percent = 100 * n / whole if whole else None
    rows.add("exposure", arm, parameter, unit, _PEOPLE, n=n, percent=percent)


def _regimen(
    rows: Rows, record: Record, protocol: Protocol, arm: str, name: str, prefix: str, own: pl.DataFrame
) -> None:
    regimen = protocol.regimens[name]
    members = own.select("participant").lazy()
    cycles = (
        record.scan("cycles")
        .filter(pl.col("regimen") == name)
        .join(members, on="participant", how="inner")
        .select(
            "participant", "cycle", "day", "phase", "dose", "administrations_planned", "administrations_given"
        )
        .collect()
        .sort("participant", "cycle")
    )
    n = own.height
    unit = regimen.cycle.dose.unit if regimen.cycle else ""
    counts = own.join(
        cycles.group_by("participant").agg(
            k=pl.len(),
            induction=(pl.col("phase") == "induction").sum(),
            total=(pl.col("dose") * pl.col("administrations_given")).sum(),
        ),
        on="participant", how="left", maintain_order="left",
    ).with_columns(pl.col("k", "induction", "total").fill_null(0))  # fmt: skip
    k = counts["k"]
    started = int((k > 0).sum())
    _share(rows, arm, f"{prefix}participants starting cycles", started, n)
    rows.add("exposure", arm, f"{prefix}cycles", "cycles", total=cycles.height)
    people = "participants"
    _describe(rows, arm, f"{prefix}cycles per participant", "cycles", k, _FULL, people)
    _describe(
        rows, arm, f"{prefix}cycles per participant who started", "cycles", k.filter(k > 0), _FULL, people
    )
    most = int(k.to_numpy().max(initial=0))
    histogram = np.bincount(k.to_numpy(), minlength=most + 1)
    for number in range(1, most + 1):
        _share(
            rows, arm, f"{prefix}participants with at least {number} cycles",
            int(histogram[number:].sum()), n,
        )  # fmt: skip
    for number in range(most + 1):
        rows.add(
            "exposure", arm, f"{prefix}participants with {number} cycles", people, n=int(histogram[number])
        )
    last = int(own["end"].to_numpy().max(initial=0))
    for year in range(1, max(1, math.ceil(last / DAYS_PER_YEAR)) + 1):
        low, high = round_half_away(DAYS_PER_YEAR * (year - 1)), round_half_away(DAYS_PER_YEAR * year)
        given = cycles.filter((pl.col("day") >= low) & (pl.col("day") < high)).height
        present = int((own["end"] >= low).sum())
        rows.add(
            "exposure", arm, f"{prefix}cycles in year {year}", "cycles",
            total=given, mean=given / present if present else None,
        )  # fmt: skip
    if regimen.induction is not None:
        done = int((counts["induction"] >= regimen.induction.cycles).sum())
        _share(rows, arm, f"{prefix}participants completing induction", done, n)
    _doses(rows, arm, prefix, unit, cycles, counts)
    gaps = cycles.select(gap=pl.col("day").diff().over("participant")).drop_nulls()["gap"]
    _describe(rows, arm, f"{prefix}interval between cycles", "days", gaps, _BRIEF, "intervals")
    _decisions(rows, record, arm, name, prefix, members, n)
    _holds(rows, record, regimen, arm, prefix, members, n)
    if regimen.goal is not None:
        _goal(rows, record, protocol, regimen, arm, name, prefix, own)


def _doses(rows: Rows, arm: str, prefix: str, unit: str, cycles: pl.DataFrame, counts: pl.DataFrame) -> None:
    dose = cycles["dose"]
    _describe(rows, arm, f"{prefix}dose per administration", unit, dose, _FULL, "cycles")
    first = cycles.filter(pl.col("cycle") == 1)["dose"]
    _describe(rows, arm, f"{prefix}dose per administration, first cycle", unit, first, _FULL, "cycles")
    for level, many in cycles.group_by("dose").len().sort("dose").iter_rows():
        label = f"{prefix}dose per administration, {level:g} {unit}".rstrip()
        _share(rows, arm, label, many, cycles.height, "cycles")
    per_cycle = cycles["dose"] * cycles["administrations_given"]
    _describe(rows, arm, f"{prefix}dose per cycle", unit, per_cycle, _FULL, "cycles")
    _describe(rows, arm, f"{prefix}dose per participant", unit, counts["total"], _FULL[1:], "participants")
    planned = int(cycles["administrations_planned"].sum())
    given = int(cycles["administrations_given"].sum())
    rows.add("exposure", arm, f"{prefix}administrations planned", "injections", n=planned)
    _share(rows, arm, f"{prefix}administrations given", given, planned, "injections")


def _decisions(
    rows: Rows, record: Record, arm: str, name: str, prefix: str, members: pl.LazyFrame, n: int
) -> None:
    # every review after a stop says stop again: the first says what was decided
    again = (pl.col("action") == "stop") & (pl.col("action").shift(1).over("participant") == "stop")
    table = (
        record.scan("decisions")
        .filter(pl.col("regimen") == name)
        .join(members, on="participant", how="inner")
        .sort("participant", "sequence")
        .filter(~again.fill_null(value=False))
        .group_by("action", "accepted")
        .agg(n=pl.len())
        .collect()
    )
    # a change of dose counts when the participant took it
    took = (pl.col("accepted") == "yes") | ~pl.col("action").is_in(_OFFERS)
    people = dict(
        record.scan("decisions")
        .filter((pl.col("regimen") == name) & took)
        .join(members, on="participant", how="inner")
        .group_by("action")
        .agg(people=pl.col("participant").n_unique())
        .collect()
        .iter_rows()
    )
    offers = table.filter(pl.col("action").is_in(_OFFERS) & (pl.col("accepted") != "not asked"))
    made = int(offers["n"].sum())
    accepted = int(offers.filter(pl.col("accepted") == "yes")["n"].sum())
    rows.add("exposure", arm, f"{prefix}offers", "decisions", n=made)
    _share(rows, arm, f"{prefix}offers accepted", accepted, made, "decisions")
    _share(rows, arm, f"{prefix}offers declined", made - accepted, made, "decisions")
    for action, words in (("escalate", "escalation"), ("reduce", "reduction"), ("stop", "stop")):
        total = int(table.filter((pl.col("action") == action) & took)["n"].sum())
        rows.add("exposure", arm, f"{prefix}{words}s", "decisions", n=total)
        _share(rows, arm, f"{prefix}participants with {words}", int(people.get(action, 0)), n)


def _holds(
    rows: Rows, record: Record, regimen: Regimen, arm: str, prefix: str, members: pl.LazyFrame, n: int
) -> None:
    mine = [*(hold.id for hold in regimen.hold_while), PLACED_HOLD]
    held = (
        record.scan("holds")
        .filter(pl.col("hold").is_in(mine))
        .join(members, on="participant", how="inner")
        .select(total=pl.len(), people=pl.col("participant").n_unique())
        .collect()
    )
    total, people = held.row(0)
    rows.add("exposure", arm, f"{prefix}holds", "periods", n=total)
    _share(rows, arm, f"{prefix}participants with hold", people, n)


def _goal(
    rows: Rows, record: Record, protocol: Protocol, regimen: Regimen, arm: str, name: str, prefix: str,
    own: pl.DataFrame,
) -> None:  # fmt: skip
    """Share of the time between the first and the last measurement (or death) that was spent at the goal."""
    assert regimen.goal is not None
    measure, up = regimen.goal.measure, regimen.goal.direction == "up"
    goals = (
        record.scan("decisions")
        .filter((pl.col("regimen") == name) & pl.col("goal").is_not_null())
        .group_by("participant")
        .agg(goal=pl.col("goal").sort_by("sequence").last())
        .collect()
    )
    if goals.is_empty():
        return
    rows.add(
        measure,
        arm,
        f"{prefix}goal",
        protocol.items[measure].unit,
        median=goals["goal"].median(),  # type: ignore[arg-type]
    )
    values = (
        record.scan("measurements")
        .filter((pl.col("item") == measure) & (pl.col("day") >= 0))
        .join(own.select("participant", "end").lazy(), on="participant", how="inner")
        .select("participant", "day", "value", "end")
        .collect()
        .join(goals, on="participant", how="inner")
        .sort("participant", "day")
    )
    reached = pl.col("value") >= pl.col("goal") if up else pl.col("value") <= pl.col("goal")
    spent = (
        values.with_columns(
            reached=reached,
            until=pl.col("day").shift(-1).over("participant").fill_null(pl.col("end")),
        )
        .with_columns(length=(pl.col("until") - pl.col("day")).clip(lower_bound=0))
        .group_by("participant")
        .agg(at_goal=(pl.col("length") * pl.col("reached")).sum(), whole=pl.col("length").sum())
        .filter(pl.col("whole") > 0)
    )
    share = 100 * spent["at_goal"] / spent["whole"]
    _describe(rows, arm, f"{prefix}time at goal", "%", share, _BRIEF, "participants")
    plan = next((p for p in protocol.analysis.measures if p.measure == measure), None)
    if plan is None:
        return
    grid = Grid(plan.by.value * DAYS_PER[plan.by.unit.removesuffix("s")])
    frame = values.select("participant", pl.col("day").cast(pl.Float64), "value", "goal")
    table = nearest_values(frame, grid).group_by("point").agg(n=reached.sum(), whole=pl.len()).sort("point")
    for point, count, whole in table.iter_rows():
        _share(rows, arm, f"{prefix}at goal, {grid.name(point)}", count, whole)
