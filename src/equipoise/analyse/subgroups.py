"""The treatment effect in subgroups, and whether it differs between them."""

from __future__ import annotations

import math

import polars as pl

from equipoise.analyse.outcomes import Times, add_hazard_ratio, cox_of, times_of
from equipoise.analyse.results import Rows
from equipoise.analyse.survival import Cox, chi_square_p
from equipoise.record import AnalysisInput
from equipoise.record.mapping import SubgroupInput


def add_subgroups(rows: Rows, given: AnalysisInput) -> None:
    """Hazard ratios by level of each subgroup, and the likelihood ratio test of interaction.

    In each level the model is that of the plan (same strata). The test compares one hazard ratio for all
    levels with one for each, every level keeping its own baseline hazard in both models.
    """
    if not given.subgroups or not given.endpoints:
        return
    wanted = given.subgroup_endpoint
    chosen = [e for e in given.endpoints if e.name == wanted] or [
        e for e in given.endpoints if e.role == "primary"
    ]
    endpoint = chosen[0] if chosen else given.endpoints[0]
    times = times_of(given, endpoint)
    for subgroup in given.subgroups:
        _one(rows, given, endpoint.ties, bool(endpoint.strata), times, subgroup)


def _one(
    rows: Rows, given: AnalysisInput, ties: str, stratified: bool, times: Times, subgroup: SubgroupInput
) -> None:
    analysis = f"subgroup:{subgroup.label}"
    frame = given.participants.select("participant").join(
        subgroup.levels, on="participant", how="left", maintain_order="left"
    )
    level = frame["level"]
    order = (
        level.dtype.categories.to_list() if isinstance(level.dtype, pl.Enum) else sorted(set(level) - {None})
    )
    names = [name for name in order if (level == name).any()]
    codes = (
        level.cast(pl.String)
        .replace_strict({name: k for k, name in enumerate(names)}, default=-1, return_dtype=pl.Int64)
        .to_numpy()
    )
    for k, name in enumerate(names):
        for code, arm in enumerate(given.arms):
            own = (codes == k) & (times.arm == code)
            rows.add(analysis, arm, f"{name}: participants", "participants", n=int(own.sum()))
            events = int(times.event[own].sum())
            rows.add(analysis, arm, f"{name}: events", "participants", n=events)
    rows.add(analysis, "all", "not in any level", "participants", n=int((codes < 0).sum()))
    reference = list(given.arms).index(given.reference_arm)
    for code, arm in enumerate(given.arms):
        if code == reference:
            continue
        pair = f"{arm} vs {given.reference_arm}"
        compared = (times.arm == code) | (times.arm == reference)
        fits: list[Cox] = []
        for k, name in enumerate(names):
            part = times.of(compared & (codes == k))
            fit = cox_of(part, code, ties, part.stratum if stratified else None)
            fits.append(fit)
            add_hazard_ratio(rows, analysis, pair, f"{name}: hazard ratio", fit, given.confidence)
            if fit.undefined:
                rows.note(
                    f"{subgroup.label}, {name}, {pair}: there is no hazard ratio, because {fit.undefined}."
                )
        chi_square, df = math.nan, max(len(names) - 1, 0)
        if len(fits) > 1 and not any(fit.undefined for fit in fits):
            known = compared & (codes >= 0)
            whole = times.of(known)
            cells = whole.stratum * len(names) + codes[known]
            common = cox_of(whole, code, ties, cells)
            chi_square = 2 * (sum(fit.log_likelihood for fit in fits) - common.log_likelihood)
            chi_square = max(float(chi_square), 0.0)
        else:
            rows.note(f"{subgroup.label}, {pair}: interaction cannot be tested.")
        rows.add(
            analysis, pair, "interaction", "",
            chi_square=chi_square, df=df, p_value=chi_square_p(chi_square, df),
        )  # fmt: skip
