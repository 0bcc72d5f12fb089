"""Events, endpoints and the analysis plan."""

from __future__ import annotations

from collections import Counter

from equipoise.protocol.checking.items import collecting
from equipoise.protocol.checking.problem import Problems, error, there_is_no, warning
from equipoise.protocol.model import Protocol
from equipoise.protocol.nearest import listed


def outcome_problems(protocol: Protocol) -> Problems:
    """Events and endpoints: undeclared, counting and competing, not terminal."""
    terminal = {name for name, event in protocol.events.items() if event.terminal}
    if not terminal:
        yield warning("events", "no event is terminal: death would not end observation")
    for name, endpoint in protocol.endpoints.items():
        place = f"endpoints.{name}"
        for field in ("first_of", "competing"):
            for kind in getattr(endpoint, field):
                if kind not in protocol.events:
                    yield error(f"{place}.{field}", there_is_no("event", kind, protocol.events))
        both = [kind for kind in endpoint.first_of if kind in endpoint.competing]
        if both:
            yield error(f"{place}.competing", f"{listed(both)} cannot both count and compete")
        for kind in endpoint.competing:
            if kind in protocol.events and kind not in terminal:
                yield error(
                    f"{place}.competing",
                    f'"{kind}" is not terminal: it does not prevent {listed(endpoint.first_of)}',
                )
        left = terminal - set(endpoint.first_of) - set(endpoint.competing)
        if left:
            yield warning(
                f"{place}.competing",
                f"{listed(sorted(left))} neither counts nor competes: people would be censored at it",
            )
        if endpoint.terms:
            known = {
                t
                for kind in endpoint.first_of
                if kind in protocol.events
                for t in protocol.events[kind].terms
            }
            for term in endpoint.terms:
                if term not in known:
                    yield error(f"{place}.terms", f'"{term}" is not a term of {listed(endpoint.first_of)}')
        repeatable = [
            kind
            for kind in endpoint.first_of
            if kind in protocol.events
            and protocol.events[kind].recurrent_counts
            and not protocol.events[kind].terminal
        ]
        if endpoint.recurrences == "left out" and not repeatable:
            yield warning(
                f"{place}.recurrences", f"{listed(endpoint.first_of)} cannot come back: nothing is left out"
            )
    for name, event in protocol.events.items():
        repeated = [term for term, count in Counter(event.terms).items() if count > 1]
        if repeated:
            yield error(f"events.{name}.terms", f"named more than once: {listed(repeated)}")


def analysis_problems(protocol: Protocol) -> Problems:
    """The analysis plan: endpoints, strata, measures, subgroups and safety that it names."""
    plan, place = protocol.analysis, "analysis"
    if plan.reference_arm not in protocol.arms:
        yield error(f"{place}.reference_arm", there_is_no("arm", plan.reference_arm, protocol.arms))
    elif not protocol.arms[plan.reference_arm].control:
        yield warning(f"{place}.reference_arm", f'"{plan.reference_arm}" is not marked as a control')
    analysed = [analysis.endpoint for analysis in plan.time_to_event]
    for index, analysis in enumerate(plan.time_to_event):
        if analysis.endpoint not in protocol.endpoints:
            yield error(
                f"{place}.time_to_event[{index}].endpoint",
                there_is_no("endpoint", analysis.endpoint, protocol.endpoints),
            )
        for name in analysis.strata:
            if name not in protocol.strata:
                yield error(
                    f"{place}.time_to_event[{index}].strata", there_is_no("stratum", name, protocol.strata)
                )
    for name, count in Counter(analysed).items():
        if count > 1:
            yield error(f"{place}.time_to_event", f'the endpoint "{name}" is analysed {count} times')
    primary = [name for name, endpoint in protocol.endpoints.items() if endpoint.role == "primary"]
    for name in primary:
        if name not in analysed:
            yield error(f"{place}.time_to_event", f'the primary endpoint "{name}" is not analysed')
    if not primary:
        yield warning("endpoints", "no endpoint is primary")
    for index, measure in enumerate(plan.measures):
        item = protocol.items.get(measure.measure)
        field = f"{place}.measures[{index}].measure"
        if item is None:
            yield error(field, there_is_no("item", measure.measure, protocol.items))
        elif item.type != "number":
            yield error(field, f'"{measure.measure}" is not a number')
        elif measure.measure not in collecting(protocol, "treatment", "follow-up"):
            yield error(field, f'nobody measures "{measure.measure}" after entry: no visit collects it')
    labels = Counter(subgroup.label for subgroup in plan.subgroups)
    for label, count in labels.items():
        if count > 1:
            yield error(f"{place}.subgroups", f'{count} subgroups have the label "{label}"')
    if plan.subgroups and plan.subgroup_endpoint is None:
        yield error(f"{place}.subgroup_endpoint", "subgroups need the endpoint that they are compared on")
    if plan.subgroup_endpoint is not None:
        if plan.subgroup_endpoint not in analysed:
            yield error(f"{place}.subgroup_endpoint", f'"{plan.subgroup_endpoint}" is not analysed')
        if not plan.subgroups:
            yield warning(f"{place}.subgroup_endpoint", "there are no subgroups")
    if plan.safety_by is not None:
        if plan.safety_by not in protocol.events:
            yield error(f"{place}.safety_by", there_is_no("event", plan.safety_by, protocol.events))
        elif not protocol.events[plan.safety_by].terms:
            yield warning(f"{place}.safety_by", f'"{plan.safety_by}" has no terms to tabulate it by')
