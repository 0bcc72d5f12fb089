"""Adverse events by term and arm, by intention to treat."""

from __future__ import annotations

import polars as pl

from equipoise.analyse.rates import rate_interval, rate_ratio
from equipoise.analyse.results import Rows
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.record import Record

_UNITS = {"percent": "%", "events": "events", "rate": "per 100 person-years"}
_UNITS |= {"lower": "per 100 person-years", "upper": "per 100 person-years"}


def add_safety(rows: Rows, record: Record, protocol: Protocol) -> None:
    """The tabulated kind by its terms with rates and rate ratios; serious and attributed events; every kind.

    A participant is at risk of the first event of a term until it happens or observation ends.
    """
    confidence = protocol.analysis.confidence
    people = (
        record.table("participants")
        .select("participant", "arm")
        .join(
            record.table("disposition").select("participant", end="day"),
            on="participant", how="left", maintain_order="left",
        )
        .with_columns(pl.col("end").fill_null(0))
    )  # fmt: skip
    size = dict(people.group_by("arm").len().iter_rows())
    years = {a: d / DAYS_PER_YEAR for a, d in people.group_by("arm").agg(pl.col("end").sum()).iter_rows()}
    events = (
        record.scan("events")
        .filter((pl.col("day") >= 0) & (pl.col("adjudication") != "refuted"))
        .select("participant", "day", "kind", "term", "serious", "attributed")
        .collect()
        .join(people, on="participant", how="inner", maintain_order="left")
        .filter(pl.col("day") <= pl.col("end"))
    )
    kind = protocol.analysis.safety_by
    arms = list(protocol.arms)
    reference = protocol.analysis.reference_arm
    if kind is not None:
        own = events.filter(pl.col("kind") == kind)
        terms = own["term"].unique().to_list()
        declared = [t for t in protocol.events[kind].terms if t in terms]
        listed = [*declared, *sorted(t for t in terms if t not in declared)]
        for label in ["any", *listed]:
            part = own if label == "any" else own.filter(pl.col("term") == label)
            first = part.group_by("participant", "arm").agg(
                day=pl.col("day").min(), end=pl.col("end").first(), events=pl.len()
            )
            found: dict[str, tuple[int, float]] = {}
            for arm in arms:
                mine = first.filter(pl.col("arm") == arm)
                n = mine.height
                saved = float((mine["end"] - mine["day"]).sum()) / DAYS_PER_YEAR
                at_risk = years.get(arm, 0.0) - saved
                found[arm] = (n, at_risk)
                rate = rate_interval(n, max(at_risk, 0.0), confidence=confidence)
                rows.add(
                    "safety", arm, label, "participants", _UNITS, n=n,
                    percent=100 * n / size[arm] if size.get(arm) else None,
                    events=int(mine["events"].sum()), rate=rate.estimate, lower=rate.lower, upper=rate.upper,
                )  # fmt: skip
            for arm in arms:
                if arm == reference:
                    continue
                ratio = rate_ratio(*found[arm], *found[reference], confidence=confidence)
                rows.add(
                    "safety", f"{arm} vs {reference}", label, "", rate_ratio=ratio.estimate,
                    lower=ratio.lower, upper=ratio.upper, p_value=ratio.p_value,
                )  # fmt: skip
    chosen = [
        ("serious adverse event", pl.col("serious")),
        ("attributed to treatment", pl.col("attributed").fill_null(False)),
        *((f"event: {name}", pl.col("kind") == name) for name in protocol.events),
    ]
    for label, condition in chosen:
        part = events.filter(condition)
        for arm in arms:
            mine = part.filter(pl.col("arm") == arm)
            n = mine["participant"].n_unique()
            rows.add(
                "safety", arm, label, "participants", _UNITS, n=n,
                percent=100 * n / size[arm] if size.get(arm) else None, events=mine.height,
            )  # fmt: skip
