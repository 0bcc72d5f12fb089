"""What the measures of a surrogate say, in lines for a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from equipoise.analyse.surrogate.evaluation import Evaluation, Group
from equipoise.analyse.surrogate.measure import Measure
from equipoise.analyse.surrogate.numbers import number

__all__ = ["number", "told", "value"]

WIDTH = 100
_LABEL = 56


def told(evaluation: Evaluation, truths: Mapping[str, float] | None = None) -> str:
    """Every measure with its interval, or the reason why it has none; `truths` (by name of the measure),
    where the trial is simulated, in a column of their own."""
    trial = evaluation.trial
    head = (
        f"{trial.marker_label} as a surrogate for {trial.endpoint_label}: {trial.treated_label} against "
        f"{trial.reference_label}"
    )
    known = truths if truths is not None else {}
    people = f"{trial.participants:,} participants, {int(trial.event.sum()):,} with the event, "
    lines = [
        *textwrap.wrap(head, WIDTH),
        f"{people}{len(trial.who):,} values; intervals {_level(evaluation)}%",
    ]
    for group in evaluation.groups:
        lines += ["", *_group(group, known)]
    return "\n".join(lines)


def _level(evaluation: Evaluation) -> str:
    return f"{100 * evaluation.measures[0].confidence:g}"


def _group(group: Group, truths: Mapping[str, float]) -> list[str]:
    """Title and question; the measures, under the name of their method where there are several; each refusal
    and each warning once."""
    title = f"{group.title}: {group.question[:1].lower()}{group.question[1:]}"
    lines = textwrap.wrap(title, WIDTH)
    if any(m.name in truths for m in group.measures):
        lines.append(f"{'':<{_LABEL + 2}}{'estimate':<26}  truth")
    several = len({m.method for m in group.measures}) > 1
    method = reason = ""
    for measure in group.measures:
        if several and measure.method and measure.method != method:
            lines += textwrap.wrap(
                f"by {measure.method}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
        lines += _measure(measure, truths, measure.refused == reason)
        method, reason = measure.method, measure.refused
    for warning in dict.fromkeys(text for m in group.measures for text in m.warnings):
        lines += textwrap.wrap(warning, WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    return lines


def _measure(measure: Measure, truths: Mapping[str, float], again: bool) -> list[str]:
    """One measure. `again`: refused for the reason that was just given."""
    shown = f"{value(measure):<26}"
    if measure.refused:
        shown = "refused, as above" if again else "refused:"
    truth = f"  {number(truths[measure.name], measure.scale)}" if measure.name in truths else ""
    label = textwrap.wrap(f"{measure.label} [{measure.scale}]", _LABEL - 4, subsequent_indent="  ")
    lines = [f"    {label[0]:<{_LABEL - 2}}{shown}{truth}".rstrip(), *(f"    {more}" for more in label[1:])]
    if measure.refused and not again:
        lines += textwrap.wrap(measure.refused, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return lines


def value(measure: Measure) -> str:
    """Estimate and interval: "0.91 (0.70 to 1.18)"."""
    middle = number(measure.estimate, measure.scale)
    if math.isnan(measure.low) and math.isnan(measure.high):
        return middle
    return f"{middle} ({number(measure.low, measure.scale)} to {number(measure.high, measure.scale)})"
