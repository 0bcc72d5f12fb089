"""From a record to the input of an analysis: endpoints derived by the protocol's rules, values, levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.protocol import criteria
from equipoise.protocol.model import Endpoint, Event, Item, Protocol, Subgroup
from equipoise.protocol.quantities import DAYS_PER
from equipoise.record import AnalysisInput, Record
from equipoise.record.mapping import EndpointInput, MeasureInput, SubgroupInput
from equipoise.record.schemas import STRATUM_PREFIX

_CENSORS = {"lost to follow-up": "loss to follow-up", "withdrew": "withdrawal"}
_FROM_PARTICIPANTS = ("age", "sex", "country")


def from_record(record: Record, protocol: Protocol) -> AnalysisInput:
    """Everything the analysis plan needs from a record, all randomised participants by their arm.

    Endpoints: every one of the protocol, with the strata and ties of the plan where the plan names it; of a
    simulated record, only those whose events the virtual participants can have.
    Measures: those of the plan; values after day 0 from `measurements`, `below` marks values reported as
    below a limit. Raises UserError for an unreadable table.
    """
    people = record.table("participants").sort("participant")
    planned = {plan.endpoint: plan for plan in protocol.analysis.time_to_event}
    ends = _ends(record, protocol, people)
    endpoints = []
    simulated = record.manifest.provenance.kind == "simulated"
    left_out = protocol.endpoints_not_simulated if simulated else frozenset()
    for name, endpoint in protocol.endpoints.items():
        if name in left_out:
            continue
        plan = planned.get(name)
        endpoints.append(
            EndpointInput(
                name=name,
                label=endpoint.label,
                role=endpoint.role,
                times=endpoint_times(endpoint, protocol.events, record.scan("events"), ends),
                strata=tuple(plan.strata) if plan else (),
                ties=plan.ties if plan else "efron",
            )
        )
    order = {plan.endpoint: k for k, plan in enumerate(protocol.analysis.time_to_event)}
    endpoints.sort(key=lambda e: order.get(e.name, len(order)))
    baseline, items = _baseline(record, protocol, people)
    strata = [f"{STRATUM_PREFIX}{name}" for name in protocol.strata]
    return AnalysisInput(
        title=protocol.title,
        arms={name: arm.label for name, arm in protocol.arms.items()},
        reference_arm=protocol.analysis.reference_arm,
        participants=people.select(
            "participant", pl.col("participant").cast(pl.String).alias("id"), "arm", "site", *strata
        ),
        endpoints=tuple(endpoints),
        confidence=protocol.analysis.confidence,
        strata={name: stratum.label for name, stratum in protocol.strata.items()},
        baseline=baseline,
        baseline_items=items,
        measures=tuple(_measure(record, protocol, k) for k in range(len(protocol.analysis.measures))),
        subgroups=tuple(_subgroup(s, protocol, people, baseline) for s in protocol.analysis.subgroups),
        subgroup_endpoint=protocol.analysis.subgroup_endpoint,
    )


def _ends(record: Record, protocol: Protocol, people: pl.DataFrame) -> pl.DataFrame:
    """participant, day and status of the end of follow-up, and the day of the data cut."""
    cut = record.manifest.provenance.data_cut or protocol.calendar.end_of_follow_up
    return (
        people.select("participant", cutoff=(pl.lit(cut) - pl.col("randomized_date")).dt.total_days())
        .join(record.table("disposition"), on="participant", how="left", maintain_order="left")
        .with_columns(pl.col("day").fill_null(0), pl.col("status").fill_null("lost to follow-up"))
    )


def endpoint_times(
    endpoint: Endpoint, kinds: Mapping[str, Event], events: pl.LazyFrame, ends: pl.DataFrame
) -> pl.DataFrame:
    """participant, day, status, entry of one endpoint: `rules.endpoints.derive` for everybody at once.

    events: participant, day, kind, term, adjudication ("refuted" and "recurrence" are heeded). ends:
    participant, day and status of the end of follow-up, cutoff (day of the data cut).
    """
    standing = (pl.col("day") >= 0) & (pl.col("adjudication") != "refuted")
    new = endpoint.recurrences == "left out"
    only_new = [kind for kind in endpoint.first_of if new or not kinds[kind].recurrent_counts]
    counts = pl.col("kind").is_in(endpoint.first_of)
    counts &= ~(pl.col("kind").is_in(only_new) & (pl.col("adjudication") == "recurrence"))
    if endpoint.terms:
        terminal = [kind for kind in endpoint.first_of if kinds[kind].terminal]
        counts &= pl.col("term").is_in(endpoint.terms) | pl.col("kind").is_in(terminal)
    first = events.filter(standing & counts).group_by("participant").agg(first=pl.col("day").min())
    competes = pl.col("kind").is_in(endpoint.competing)
    other = events.filter(standing & competes).group_by("participant").agg(other=pl.col("day").min())
    # follow-up that ends in a way the endpoint does not censor at goes on to the data cut
    uncensored = [s for s, word in _CENSORS.items() if word not in endpoint.censor_at]
    known_to = pl.when(pl.col("status").is_in(uncensored)).then("cutoff").otherwise("day")
    event = pl.col("first").is_not_null() & (pl.col("first") <= pl.col("end"))
    rival = pl.col("other").is_not_null() & (pl.col("other") <= pl.col("end"))
    event &= ~rival | (pl.col("first") <= pl.col("other"))
    status = pl.when("event").then(1).when("rival").then(2).otherwise(0)
    day = pl.when("event").then("first").when("rival").then("other").otherwise("end")
    return (
        ends.join(first.collect(), on="participant", how="left", maintain_order="left")
        .join(other.collect(), on="participant", how="left", maintain_order="left")
        .with_columns(end=pl.max_horizontal(pl.min_horizontal(known_to, "cutoff"), 0))
        .with_columns(event=event, rival=rival)
        .select("participant", day=day.cast(pl.Float64), status=status.cast(pl.Int8), entry=pl.lit(0.0))
    )


def _baseline(
    record: Record, protocol: Protocol, people: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, tuple[str, str]]]:
    """Baseline values, long and compact (words as numbers); yes and no in words. Age, sex and country come
    from `participants` where the protocol has no such item on record. Read part by part, so that a hundred
    items of a hundred thousand people fit into memory."""
    names = [n for n in protocol.items if n != "site"]
    every = pl.Enum([*names, *(n for n in _FROM_PARTICIPANTS if n not in names)])
    booleans = [n for n, item in protocol.items.items() if item.type == "boolean"]
    is_boolean = pl.col("item").is_in(booleans)
    word = pl.when(pl.col("value") == 1).then(pl.lit("yes")).when(pl.col("value") == 0).then(pl.lit("no"))
    parts = [
        part.filter(pl.col("item").is_in(names)).select(
            "participant",
            pl.col("item").cast(every),
            value=pl.when(~is_boolean).then(pl.col("value")),
            text=pl.when(is_boolean).then(word).otherwise(pl.col("text")).cast(pl.Categorical),
        )
        for part in record.chunks("baseline")
    ]
    if not parts:
        parts = [pl.DataFrame(schema={"participant": pl.Int32, "item": every, "value": pl.Float64,
                                      "text": pl.Categorical})]  # fmt: skip
    present = {name for part in parts for name in part["item"].unique().to_list()}
    for name in _FROM_PARTICIPANTS:
        if name in present or name not in people.columns or people[name].null_count() == people.height:
            continue
        present.add(name)
        number = people[name].dtype.is_numeric()
        parts.append(
            people.select(
                "participant",
                pl.lit(name).cast(every).alias("item"),
                value=pl.col(name).cast(pl.Float64) if number else pl.lit(None, pl.Float64),
                text=(pl.lit(None, pl.String) if number else pl.col(name)).cast(pl.Categorical),
            )
        )
    items = {
        name: (protocol.items[name].label, protocol.items[name].unit)
        if name in protocol.items
        else (name.capitalize(), "years" if name == "age" else "")
        for name in every.categories.to_list()
        if name in present
    }
    return pl.concat(parts, rechunk=False), items


def _measure(record: Record, protocol: Protocol, number: int) -> MeasureInput:
    plan = protocol.analysis.measures[number]
    item = protocol.items[plan.measure]
    values = (
        record.scan("measurements")
        .filter(pl.col("item") == plan.measure)
        .select(
            "participant",
            pl.col("day").cast(pl.Float64),
            "value",
            below=(pl.col("qualifier") == "<").fill_null(False),
        )
        .collect()
    )
    singular = plan.by.unit.removesuffix("s")
    return MeasureInput(
        name=plan.measure,
        label=item.label,
        unit=item.unit,
        values=values,
        grid_days=plan.by.value * DAYS_PER[singular],
        transform=plan.transform,
    )


def _subgroup(
    subgroup: Subgroup, protocol: Protocol, people: pl.DataFrame, baseline: pl.DataFrame
) -> SubgroupInput:
    """The level of each participant: the first whose condition holds; null where none does or can be told."""
    declared: dict[str, criteria.Declared] = dict(protocol.items)
    for name, stratum in protocol.strata.items():
        if name not in declared:
            levels = tuple(stratum.levels) if stratum.levels is not None else ()
            declared[name] = criteria.Thing(stratum.label, "category", categories=levels or None)
    conditions = {
        level: criteria.compile(text, declared, "boolean") for level, text in subgroup.levels.items()
    }
    derived = criteria.derivations(protocol.items)
    needed = {name for condition in conditions.values() for name in condition.names}
    needed |= {name for expression in derived.values() for name in expression.names}
    columns = _columns(needed, protocol.items, people, baseline)
    complete = criteria.derive_columns(columns, protocol.items) if needed & set(derived) else columns
    level = np.full(people.height, None, dtype=object)
    for name, condition in reversed(conditions.items()):
        level[criteria.evaluate_columns(condition, complete) == 1] = name
    return SubgroupInput(
        subgroup.label,
        people.select("participant").with_columns(
            level=pl.Series(level.tolist(), dtype=pl.Enum(list(conditions)))
        ),
    )


def _columns(
    names: set[str], items: Mapping[str, Item], people: pl.DataFrame, baseline: pl.DataFrame
) -> dict[str, NDArray[Any]]:
    """Columns for the criteria language, one entry per participant in order."""
    columns: dict[str, NDArray[Any]] = {}
    for name in sorted(names):
        stratum = f"{STRATUM_PREFIX}{name}"
        if stratum in people.columns and name not in items:
            columns[name] = people[stratum].fill_null("").to_numpy()
            continue
        found = (
            people.select("participant")
            .join(
                baseline.filter(pl.col("item").cast(pl.String) == name).select(
                    "participant", "value", "text"
                ),
                on="participant",
                how="left",
                maintain_order="left",
            )
            .with_columns(pl.col("text").cast(pl.String))
        )
        kind = items[name].type if name in items else "number"
        if kind == "number":
            columns[name] = found["value"].fill_null(float("nan")).to_numpy()
        elif kind == "boolean":
            truth = found["text"].replace_strict({"yes": 1, "no": 0}, default=-1, return_dtype=pl.Int8)
            columns[name] = truth.to_numpy()
        else:
            columns[name] = found["text"].fill_null("").to_numpy()
    return columns
