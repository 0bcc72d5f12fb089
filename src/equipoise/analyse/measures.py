"""A measured item over follow-up, by arm: rows of the results table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from scipy.special import ndtri

from equipoise.analyse.longitudinal import (
    SUMMARY,
    Grid,
    MixedModelData,
    knots_for,
    nearest_values,
    summary_expressions,
)
from equipoise.analyse.results import Rows
from equipoise.analyse.survival import two_sided_p
from equipoise.record import AnalysisInput
from equipoise.record.mapping import MeasureInput

CLEAR_OF_A_CYCLE = 30
"""Days from the start of a cycle after which its transient effect on a count is taken to be over."""


def unit_of(measure: MeasureInput) -> str:
    """Unit of the analysed values."""
    return f"log10 {measure.unit}".rstrip() if measure.transform == "log10" else measure.unit


def baselines(given: AnalysisInput, measure: MeasureInput) -> pl.DataFrame:
    """participant, baseline (as analysed): the baseline item of that name, else the mean up to day 0."""
    people = given.participants.select("participant")
    before = (
        measure.values.filter(pl.col("day") <= 0).group_by("participant").agg(measured=pl.col("value").mean())
    )
    found = people.join(before, on="participant", how="left", maintain_order="left")
    if given.baseline is not None and measure.name in given.baseline_items:
        item = given.baseline.filter(pl.col("item") == measure.name).select("participant", "value")
        found = found.join(item, on="participant", how="left", maintain_order="left")
        found = found.with_columns(measured=pl.coalesce("value", "measured"))
    return found.select("participant", baseline=as_analysed(pl.col("measured"), measure))


def as_analysed(value: pl.Expr, measure: MeasureInput) -> pl.Expr:
    """A value on the scale of the analysis; null where it has none."""
    if measure.transform == "log10":
        return pl.when(value > 0).then(value.log10())
    return value


def add_measure(
    rows: Rows, given: AnalysisInput, measure: MeasureInput, cycles: pl.DataFrame | None = None
) -> None:
    """All rows of one measure. `cycles` (participant, day), if any, is for the values clear of a cycle."""
    name, unit, grid = measure.name, unit_of(measure), Grid(measure.grid_days)
    arms = pl.Enum(list(given.arms))
    people = given.participants.select("participant", pl.col("arm").cast(arms))
    base = people.join(baselines(given, measure), on="participant", how="left", maintain_order="left")
    values = measure.values.with_columns(value=as_analysed(pl.col("value"), measure)).drop_nulls("value")
    lost = measure.values.height - values.height
    if lost:
        rows.note(f"{measure.label}: {lost} values of zero or below have no logarithm and are left out.")
    _summaries(
        rows, name, unit, base.drop_nulls("baseline"), "baseline", given.confidence, lambda _: "baseline"
    )
    means: dict[tuple[str, int], tuple[float, float, int]] = {}
    for arm in given.arms:  # one arm at a time: the rows of all together need not fit into memory twice
        own = base.filter(pl.col("arm") == arm)
        mine = nearest_values(values.join(own, on="participant", how="semi"), grid).join(
            own, on="participant", how="inner", maintain_order="left"
        )
        means |= _one_arm(rows, given, name, unit, grid, mine, cycles)
    _visit_differences(rows, given, name, unit, means, grid)
    _over_follow_up(rows, given, name, unit, people, values)
    _mixed_model(rows, given, measure, base, values)


def _one_arm(
    rows: Rows,
    given: AnalysisInput,
    name: str,
    unit: str,
    grid: Grid,
    mine: pl.DataFrame,
    cycles: pl.DataFrame | None,
) -> dict[tuple[str, int], tuple[float, float, int]]:
    """Rows by visit of one arm; (mean, sd, n) by arm and grid point."""
    _summaries(rows, name, unit, mine, "value", given.confidence, grid.name)
    change = mine.drop_nulls("baseline").with_columns(change=pl.col("value") - pl.col("baseline"))
    _summaries(rows, name, unit, change, "change", given.confidence, lambda k: f"{grid.name(k)} change")
    treated = None
    if cycles is not None:
        treated = cycles.join(change, on="participant", how="semi")
    if treated is not None and treated.height:
        cycle_day = pl.col("day").cast(pl.Float64).alias("cycle_day")
        clear = (
            change.select("participant", "arm", "point", "day", "change")
            .sort("day")
            .join_asof(
                treated.select("participant", cycle_day).sort("cycle_day"),
                left_on="day",
                right_on="cycle_day",
                by="participant",
                allow_exact_matches=False,  # a cycle begins after what was measured that day
                check_sortedness=False,
            )
            .filter(pl.col("day") - pl.col("cycle_day") >= CLEAR_OF_A_CYCLE)
        )
        _summaries(
            rows, name, unit, clear, "change", given.confidence,
            lambda k: f"{grid.name(k)} change, {CLEAR_OF_A_CYCLE} days after a cycle",
        )  # fmt: skip
    if "below" in mine.columns and mine["below"].any():
        _below_detection(rows, name, mine, grid)
    table = mine.group_by("arm", "point").agg(pl.col("value").mean(), sd=pl.col("value").std(), n=pl.len())
    return {
        (arm, point): (mean, math.nan if sd is None else sd, n)
        for arm, point, mean, sd, n in table.iter_rows()
    }


def _summaries(
    rows: Rows,
    name: str,
    unit: str,
    frame: pl.DataFrame,
    column: str,
    confidence: float,
    label: Callable[[int], str],
) -> None:
    keys = ["arm", "point"] if "point" in frame.columns else ["arm"]
    table = frame.group_by(keys).agg(summary_expressions(column, confidence)).sort(keys)
    for row in table.iter_rows(named=True):
        rows.add(
            name, row["arm"], label(row.get("point", 0)), unit, {"n": "participants"},
            **{statistic: row[statistic] for statistic in SUMMARY},
        )  # fmt: skip


def _difference(
    rows: Rows, name: str, pair: str, parameter: str, unit: str, confidence: float,
    one: tuple[float, float, float], other: tuple[float, float, float], with_p: bool,
) -> None:  # fmt: skip
    """Difference of two means, each (mean, sd, n), with separate variances and a normal interval."""
    z = float(ndtri(0.5 + confidence / 2))
    estimate = one[0] - other[0]
    se = math.sqrt(one[1] ** 2 / one[2] + other[1] ** 2 / other[2]) if one[2] and other[2] else math.nan
    found = {"estimate": estimate, "se": se, "lower": estimate - z * se, "upper": estimate + z * se}
    if with_p:
        found["p_value"] = two_sided_p(estimate / se) if se > 0 else math.nan
    rows.add(name, pair, parameter, unit, {"p_value": ""}, **found)


def _visit_differences(
    rows: Rows,
    given: AnalysisInput,
    name: str,
    unit: str,
    means: Mapping[tuple[str, int], tuple[float, float, int]],
    grid: Grid,
) -> None:
    for arm in given.arms:
        if arm == given.reference_arm:
            continue
        for point in sorted(p for a, p in means if a == arm):
            one, other = means[arm, point], means.get((given.reference_arm, point))
            if other is None or one[2] < 2 or other[2] < 2:
                continue
            _difference(
                rows, name, f"{arm} vs {given.reference_arm}", f"{grid.name(point)} difference", unit,
                given.confidence, one, other, with_p=False,
            )  # fmt: skip


def _over_follow_up(
    rows: Rows, given: AnalysisInput, name: str, unit: str, people: pl.DataFrame, values: pl.DataFrame
) -> None:
    """Each participant's mean of all values after day 0, then the mean over participants."""
    own = (
        values.filter(pl.col("day") > 0)
        .group_by("participant")
        .agg(mean=pl.col("value").mean())
        .join(people, on="participant", how="inner")
    )
    table = own.group_by("arm").agg(summary_expressions("mean", given.confidence))
    found = {r["arm"]: r for r in table.iter_rows(named=True)}
    for arm in given.arms:
        row = found.get(arm)
        if row is None:
            rows.note(f"{name}: nobody in the arm {given.arms[arm]} has a value after randomisation.")
            continue
        rows.add(
            name, arm, "mean over follow-up", unit, {"n": "participants"}, n=row["n"], estimate=row["mean"],
            sd=row["sd"], se=row["se"], lower=row["lower"], upper=row["upper"],
        )  # fmt: skip
    other = found.get(given.reference_arm)
    for arm in given.arms:
        one = found.get(arm)
        if arm == given.reference_arm or one is None or other is None:
            continue
        if one["sd"] is None or other["sd"] is None:
            continue
        _difference(
            rows, name, f"{arm} vs {given.reference_arm}", "difference of means over follow-up", unit,
            given.confidence, (one["mean"], one["sd"], one["n"]), (other["mean"], other["sd"], other["n"]),
            with_p=True,
        )  # fmt: skip


def _below_detection(rows: Rows, name: str, mine: pl.DataFrame, grid: Grid) -> None:
    table = mine.group_by("arm", "point").agg(below=pl.col("below").sum(), n=pl.len()).sort("arm", "point")
    for row in table.iter_rows(named=True):
        rows.add(
            name, row["arm"], f"below detection, {grid.name(row['point'])}", "participants",
            {"percent": "%"}, n=row["below"], percent=100 * row["below"] / row["n"],
        )  # fmt: skip


def _mixed_model(
    rows: Rows, given: AnalysisInput, measure: MeasureInput, base: pl.DataFrame, values: pl.DataFrame
) -> None:
    name, unit = measure.name, unit_of(measure)
    others = [arm for arm in given.arms if arm != given.reference_arm]
    order = [given.reference_arm, *others]
    arm = (
        base["arm"].cast(pl.String).replace_strict({a: k for k, a in enumerate(order)}, return_dtype=pl.Int64)
    )
    after = values.filter(pl.col("day") > 0).select("participant", "day", "value")
    baseline = base["baseline"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    unknown = int(np.isnan(baseline).sum())
    if after.is_empty() or unknown == len(baseline):
        rows.note(f"{measure.label}: there is no mixed model, because nothing was measured before or after.")
        return
    if unknown:
        rows.note(
            f"{measure.label}: {unknown} participants without a baseline value are not in the mixed model."
        )
    days = after["day"].value_counts().sort("day")
    knots, categorical = knots_for(days["day"].to_numpy(), days["count"].to_numpy())
    numbers = base["participant"].to_numpy()
    who = np.searchsorted(numbers, after["participant"].to_numpy())
    data = MixedModelData(arm.to_numpy(), baseline, len(order), knots, categorical=categorical)
    data.add(who, after["day"].to_numpy(), after["value"].to_numpy())
    fit = data.fit()
    if fit.undefined:
        rows.note(f"{measure.label}: there is no mixed model, because {fit.undefined}.")
    for k, other in enumerate(others, start=1):
        estimate, se, lower, upper, p = fit.difference(k, given.confidence)
        rows.add(
            name, f"{other} vs {given.reference_arm}", "mean difference over follow-up", unit,
            {"p_value": ""}, estimate=estimate, se=se, lower=lower, upper=upper, p_value=p,
        )  # fmt: skip
    for term, value, error in zip(fit.terms, fit.coefficients, fit.standard_errors(), strict=True):
        words = term
        for k, other in enumerate(others, start=1):
            words = words.replace(f"arm {k}", other)
        rows.add(name, "all", f"mixed model: {words}", unit, estimate=value, se=error)
    rows.add(
        name, "all", "mixed model: variance", f"({unit})^2",
        intercept=fit.intercept_variance, slope=fit.slope_variance,
        covariance=fit.intercept_slope_covariance, residual=fit.residual_variance,
    )  # fmt: skip
