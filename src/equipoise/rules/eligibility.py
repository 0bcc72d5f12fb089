"""Who may enter: every criterion answered yes, no or unknown, with the reason; only a whole yes is
eligible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from equipoise.protocol import criteria
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days
from equipoise.rules.truth import NO, UNKNOWN, YES, and_, from_optional, not_
from equipoise.rules.values import Ages, current

SCREENING_PERIOD = "screening period"
"""Identifier of the rule that screening must not take longer than the protocol allows."""


class CriterionResult(NamedTuple):
    """One criterion: `met` YES means that it does not stand in the way (an exclusion that does not apply is
    met); `words` says why; `missing` names the items that would have to be known."""

    id: str
    text: str
    met: int
    words: str
    missing: tuple[str, ...]


class Assessment(NamedTuple):
    """The answer for one candidate. `eligible` is NO when any criterion fails, YES when all are met, UNKNOWN
    otherwise; `failed` and `unknown` are criterion ids in the protocol's order; `expired` are the items whose
    value was too old to be used."""

    eligible: int
    criteria: tuple[CriterionResult, ...]
    failed: tuple[str, ...]
    unknown: tuple[str, ...]
    expired: tuple[str, ...]


def assess(
    protocol: Protocol,
    values: Mapping[str, Value],
    ages_days: Ages,
    days_since_screening: int | None = None,
) -> Assessment:
    """Whether a candidate may be randomised today.

    `values`: item -> value in the item's unit, None or absent unknown. `ages_days`: item -> days since it was
    measured; an item that the protocol lets expire is unknown when it is older than that, or when its age is
    not given. Derived items (the mean of two counts, say) are computed from what is still valid.
    `days_since_screening`: days since the first screening visit; when given, the protocol's screening period
    is one more criterion.
    """
    known = current(protocol.items, values, ages_days)
    results = []
    for criterion in protocol.eligibility.criteria:
        text = criterion.require if criterion.require is not None else criterion.exclude
        assert text is not None
        expression = criteria.compile(text, protocol.items)
        told = criteria.explain(expression, known.values, protocol.items)
        truth = from_optional(told.value)
        met = truth if criterion.require is not None else not_(truth)
        words = told.words + "".join(
            f"; {protocol.items[name].label} is too old or undated"
            for name in expression.names
            if name in known.expired
        )
        results.append(CriterionResult(criterion.id, criterion.text, met, words, told.missing))
    if days_since_screening is not None:
        results.append(_within_period(protocol, days_since_screening))
    eligible = YES
    for result in results:
        eligible = and_(eligible, result.met)
    return Assessment(
        eligible,
        tuple(results),
        tuple(result.id for result in results if result.met == NO),
        tuple(result.id for result in results if result.met == UNKNOWN),
        known.expired,
    )


def _within_period(protocol: Protocol, days_since_screening: int) -> CriterionResult:
    limit = days(protocol.eligibility.within)
    return CriterionResult(
        SCREENING_PERIOD,
        f"Randomised within {limit} days of the first screening visit",
        YES if 0 <= days_since_screening <= limit else NO,
        f"{days_since_screening} days since the first screening visit",
        (),
    )
