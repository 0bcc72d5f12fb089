"""What is declared and read by nothing."""

from __future__ import annotations

from equipoise.protocol.checking.expressions import names_in, written_expressions
from equipoise.protocol.checking.items import basis
from equipoise.protocol.checking.problem import Problems, warning
from equipoise.protocol.model import Protocol


def unused_problems(protocol: Protocol) -> Problems:
    """Items, strata, endpoints and events that nothing reads."""
    read = {
        b
        for written in written_expressions(protocol)
        for n in names_in(written.text)
        for b in basis(protocol, n)
    }
    read |= {stratum.item for stratum in protocol.strata.values() if stratum.item is not None}
    read |= {measure.measure for measure in protocol.analysis.measures}
    read |= {regimen.goal.measure for regimen in protocol.regimens.values() if regimen.goal is not None}
    read |= {regimen.taken for regimen in protocol.regimens.values() if regimen.taken is not None}
    for name, item in protocol.items.items():
        if name not in read and "baseline" not in item.collect:
            yield warning(f"items.{name}", "nothing reads this item: no rule, no analysis, no baseline table")
    conditions = {n for written in written_expressions(protocol) for n in names_in(written.text)}
    strata = {*protocol.randomization.strata, *(s for a in protocol.analysis.time_to_event for s in a.strata)}
    for name in protocol.strata:
        if name not in strata | conditions:
            yield warning(f"strata.{name}", "neither randomisation nor an analysis uses this stratum")
    analysed = {analysis.endpoint for analysis in protocol.analysis.time_to_event}
    compared = {figure.analysis for figure in protocol.published.values()}
    for name in protocol.endpoints:
        if name not in analysed | compared:
            yield warning(f"endpoints.{name}", "nothing analyses this endpoint")
    kinds = {kind for e in protocol.endpoints.values() for kind in (*e.first_of, *e.competing)}
    kinds |= {protocol.analysis.safety_by} if protocol.analysis.safety_by else set()
    graded = any(regimen.toxicity is not None for regimen in protocol.regimens.values())
    for name in protocol.events:
        if name not in kinds and not graded:
            yield warning(f"events.{name}", "nothing reads this event: no endpoint, no table, no dose rule")
