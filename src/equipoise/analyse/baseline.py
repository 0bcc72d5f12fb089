"""Who the participants were: baseline characteristics by arm, without tests of difference."""

from __future__ import annotations

import polars as pl

from equipoise.analyse.results import Rows
from equipoise.record import AnalysisInput


def add_baseline(rows: Rows, given: AnalysisInput) -> None:
    """Numbers as mean, SD, median, quartiles, range; categories as counts and percent; by arm and for all."""
    arm = given.participants.select("participant", pl.col("arm").cast(pl.Enum(list(given.arms))))
    groups = [*given.arms, "all"]
    size = dict(arm.group_by("arm").len().iter_rows())
    size["all"] = arm.height
    for group in groups:
        rows.add("baseline", group, "participants", "participants", n=size.get(group, 0))
    if given.baseline is not None:
        for item, (_, unit) in given.baseline_items.items():
            mine = given.baseline.filter(pl.col("item") == item).with_columns(pl.col("text").cast(pl.String))
            own = mine.join(arm, on="participant", how="inner")
            if own["value"].null_count() < own.height:
                _number(rows, item, unit, own, groups, size)
            elif own["text"].null_count() < own.height:
                _category(rows, item, own.select("arm", level="text"), groups, size)
    for name in given.strata:
        levels = given.participants.select(level=f"stratum_{name}").with_columns(arm["arm"])
        _category(rows, f"stratum {name}", levels, groups, size)


def _number(
    rows: Rows, item: str, unit: str, own: pl.DataFrame, groups: list[str], size: dict[str, int]
) -> None:
    x = pl.col("value")
    statistics = [
        x.count().alias("n"),
        x.mean().alias("mean"),
        x.std().alias("sd"),
        x.median().alias("median"),
        x.quantile(0.25, "linear").alias("q1"),
        x.quantile(0.75, "linear").alias("q3"),
        x.min().alias("minimum"),
        x.max().alias("maximum"),
    ]
    found = {r["arm"]: r for r in own.group_by("arm").agg(statistics).iter_rows(named=True)}
    found["all"] = own.select(statistics).row(0, named=True)
    for group in groups:
        row = dict(
            found.get(group) or dict.fromkeys(("mean", "sd", "median", "q1", "q3", "minimum", "maximum"))
        )
        row.pop("arm", None)
        n = row.pop("n", 0)
        rows.add(
            "baseline", group, item, unit, {"n": "participants", "missing": "participants"},
            n=n, missing=size.get(group, 0) - n, **row,
        )  # fmt: skip


def _category(rows: Rows, item: str, own: pl.DataFrame, groups: list[str], size: dict[str, int]) -> None:
    counts = {(a, level): n for a, level, n in own.group_by("arm", "level").len().iter_rows()}
    levels = sorted({level for _, level in counts if level is not None})
    for level in levels:
        for group in groups:
            n = counts.get((group, level), 0)
            if group == "all":
                n = sum(k for (_, other), k in counts.items() if other == level)
            whole = size.get(group, 0)
            rows.add(
                "baseline", group, f"{item}: {level}", "participants", {"percent": "%"},
                n=n, percent=100 * n / whole if whole else None,
            )  # fmt: skip
