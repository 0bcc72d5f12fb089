"""Finds contradictions in a protocol: what each field allows alone, but the fields together do not.

`problems` lists them all. An error means that the trial cannot be run as written; a warning that something is
odd or has no effect. Where the fault concerns people, the message shows one of them.
"""

from __future__ import annotations

from equipoise.protocol.checking.allocation import allocation_problems
from equipoise.protocol.checking.doses import dose_problems
from equipoise.protocol.checking.expressions import expression_problems
from equipoise.protocol.checking.items import item_problems
from equipoise.protocol.checking.outcomes import analysis_problems, outcome_problems
from equipoise.protocol.checking.people import people_problems
from equipoise.protocol.checking.plan import events_needed, plan_problems
from equipoise.protocol.checking.problem import Problem, Severity
from equipoise.protocol.checking.sources import blocks, published_problems, source_keys, source_problems
from equipoise.protocol.checking.timing import measured_problems, timing_problems
from equipoise.protocol.checking.unused import unused_problems
from equipoise.protocol.checking.visits import visit_problems
from equipoise.protocol.model import Protocol

__all__ = ["Problem", "Severity", "blocks", "events_needed", "problems", "source_keys"]

_WHOLE = (
    item_problems, allocation_problems, visit_problems, outcome_problems, analysis_problems,
    published_problems,
    source_problems, plan_problems, unused_problems,
)  # fmt: skip
_REGIMEN = (dose_problems, timing_problems, measured_problems)


def problems(protocol: Protocol) -> list[Problem]:
    """Every contradiction found, errors first, otherwise by subject."""
    broken = list(expression_problems(protocol))
    found = [*broken]
    for look in _WHOLE:
        found += look(protocol)
    for name, regimen in protocol.regimens.items():
        if regimen.kind == "cycles":
            for look_at in _REGIMEN:
                found += look_at(protocol, name, regimen)
    if not any(problem.severity == "error" for problem in broken):
        found += people_problems(protocol)
    return sorted(found, key=lambda problem: problem.severity != "error")
