"""The command boundaries: the limits of a group-sequential design, and what they say at the analysis."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from equipoise.errors import UserError

if TYPE_CHECKING:
    from equipoise.design import Boundaries, Finding, Monitored

_FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "looks", "parameter", "alpha", "sides", "power", "futility", "futility_parameter", "binding",
        "observed", "calendar", "spend_by", "allocation", "participants",
    )
} | {"kind": "--spending", "maximum": "--events"}  # fmt: skip
"""Arguments of the functions, and the options that a user gives them by."""


def boundaries(
    looks: Annotated[
        str,
        typer.Option("--looks", metavar="SHARES", help="Shares of the information at the looks: 0.5,0.75,1"),
    ],
    spending: Annotated[
        str,
        typer.Option(
            "--spending",
            metavar="NAME",
            help="Spending function: obrien-fleming, pocock, hwang-shih-decani, kim-demets. Or a classical "
            'boundary: "obrien-fleming exact", "pocock exact", wang-tsiatis, haybittle-peto.',
        ),
    ] = "obrien-fleming",
    parameter: Annotated[
        float | None,
        typer.Option("--parameter", help="Gamma, rho, Delta, or the limit of haybittle-peto (3)."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="Type I error, over both sides. Default: 0.025 per side."),
    ] = None,
    sides: Annotated[int, typer.Option("--sides", help="1, or 2 for a symmetric two-sided test.")] = 1,
    power: Annotated[float, typer.Option("--power", help="Power under the planned effect.")] = 0.9,
    futility: Annotated[
        str | None, typer.Option("--futility", metavar="NAME", help="Spending function of type II error.")
    ] = None,
    futility_parameter: Annotated[
        float | None, typer.Option("--futility-parameter", help="Gamma or rho of that function.")
    ] = None,
    binding: Annotated[
        bool, typer.Option("--binding", help="Efficacy limits count on futility limits being kept to.")
    ] = False,
    events: Annotated[
        float | None, typer.Option("--events", help="Events planned at the last look: adds hazard ratios.")
    ] = None,
    allocation: Annotated[
        str, typer.Option("--allocation", metavar="A:B", help="Participants, experimental to control.")
    ] = "1:1",
    observed: Annotated[
        str | None,
        typer.Option("--observed", metavar="EVENTS", help="Events at the looks taken so far: 98,181"),
    ] = None,
    participants: Annotated[
        int | None,
        typer.Option(
            "--participants",
            min=4,
            metavar="N",
            help="Participants in both arms: interim limits at levels that the number of events can "
            "attain, for a z by the saddlepoint distribution.",
        ),
    ] = None,
    final: Annotated[
        bool, typer.Option("--final", help="The latest look is the last, so it spends all that is left.")
    ] = False,
    spend_by: Annotated[
        Literal["information", "calendar", "minimum"],
        typer.Option("--spend-by", help="The clock by which error is spent."),
    ] = "information",
    calendar: Annotated[
        str | None,
        typer.Option(
            "--calendar", metavar="SHARES", help="Shares of the planned duration at the looks taken."
        ),
    ] = None,
    z: Annotated[
        float | None, typer.Option("--z", help="Statistic at the latest look, positive for benefit.")
    ] = None,
    hr: Annotated[float | None, typer.Option("--hr", help="Or the hazard ratio at the latest look.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON.")] = False,
) -> None:
    """Print the boundaries of a group-sequential trial; with --observed, those of the analysis.

    Example:  equipoise boundaries --looks 0.5,0.75,1 --spending obrien-fleming

    Example:  equipoise boundaries --looks 0.5,0.75,1 --events 244 --observed 98,181 --hr 0.73
    """
    from equipoise import design

    with _flags("--z" if hr is None else "--hr"):
        share = _allocation(allocation)
        _consistent(events, observed, final, spend_by, calendar, z, hr, participants)
        plan = design.boundaries(
            _numbers(looks, "looks"),
            alpha=0.025 * sides if alpha is None else alpha,
            sides=sides,
            kind=spending,
            parameter=parameter,
            power=power,
            futility=futility,
            futility_parameter=futility_parameter,
            binding=binding,
        )
        if observed is None:
            typer.echo(_plan_json(plan, events, share) if as_json else "\n".join(_plan(plan, events, share)))
            return
        counts = _numbers(observed, "observed")
        now = design.recompute(
            plan,
            counts,
            maximum=_maximum(plan, counts, events),
            information_per_unit=design.information_per_event(share),
            final=final,
            spend_by=spend_by,
            calendar=None if calendar is None else _numbers(calendar, "calendar"),
            draws=None if participants is None else design.Draws(participants, share),
        )
        statistic = z if hr is None else -math.log(hr) * math.sqrt(now.fisher_information)
        found = None if statistic is None else now.finding(statistic)
        if as_json:
            typer.echo(_analysis_json(now, found, share))
            return
        lines = _analysis(now, share)
        if found is not None:
            lines += _found(now, found)
        typer.echo("\n".join(lines))


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(boundaries)


# --- what the user gave -----------------------------------------------------------------------------------


@contextmanager
def _flags(statistic: str) -> Iterator[None]:
    """Say mistakes of arguments with the names of the options; `statistic`: the one that gave z."""
    try:
        yield
    except UserError as error:
        place, colon, rest = str(error).partition(":")
        flags = _FLAGS | {"z": statistic}
        raise UserError(f"{flags.get(place, place)}{colon}{rest}") from None


def _numbers(text: str, place: str) -> list[float]:
    values = []
    for part in text.split(","):
        try:
            values.append(float(part))
        except ValueError:
            raise UserError(
                f'{place}: "{part.strip()}" is no number; write numbers with commas between them'
            ) from None
    return values


def _allocation(text: str) -> float:
    """The share in the experimental arm."""
    try:
        experimental, control = (float(part) for part in text.split(":"))
    except ValueError:
        experimental = control = math.nan
    if not (0 < experimental < math.inf and 0 < control < math.inf):
        raise UserError(f'allocation: "{text}" is not understood; write experimental to control, as in 2:1')
    return experimental / (experimental + control)


def _consistent(
    events: float | None,
    observed: str | None,
    final: bool,
    spend_by: str,
    calendar: str | None,
    z: float | None,
    hr: float | None,
    participants: int | None,
) -> None:
    """Options that need, or exclude, others."""
    if events is not None and not 0 < events < math.inf:
        raise UserError(f"--events: {events:g} is not above 0")
    if observed is None:
        for given, flag in (
            (final, "--final"), (spend_by != "information", "--spend-by"),
            (calendar is not None, "--calendar"), (z is not None, "--z"), (hr is not None, "--hr"),
            (participants is not None, "--participants"),
        ):  # fmt: skip
            if given:
                raise UserError(
                    f"{flag} is about an analysis; say with --observed how many events there were"
                )
    if z is not None and hr is not None:
        raise UserError("--z and --hr say the same thing; give one of them")
    if hr is not None and not 0 < hr < math.inf:
        raise UserError(f"--hr: {hr:g} is not above 0")


def _maximum(plan: Boundaries, counts: Sequence[float], events: float | None) -> float:
    if events is not None:
        return events
    if len(counts) != len(plan.information):
        raise UserError(
            f"--events: {len(counts)} of {len(plan.information)} looks have been taken, so say how many "
            "events the plan counts on at the last"
        )
    return counts[-1]


# --- the plan ---------------------------------------------------------------------------------------------


def _plan(plan: Boundaries, events: float | None, share: float) -> list[str]:
    counts = None if events is None else [_whole(t * events) for t in plan.information]
    lines = [_title(plan), ""]
    lines += _limits_table(
        plan, plan.information, counts, share, plan.efficacy, plan.futility, plan.alpha_spent
    )
    lines += ["", "Probability of ending at each look"]
    lines += _crossing_table(plan)
    lines += [
        "",
        *_size(plan, events, share),
        *(f"Note: {note}." for note in (*plan.notes, *_doubts(plan, counts, share))),
    ]
    return lines


def _doubts(plan: Boundaries, counts: Sequence[float] | None, share: float) -> list[str]:
    """Where few events or unequal arms make the type I error other than planned."""
    from equipoise.design.attainable import few_events_notes

    if counts is None:
        return []
    return few_events_notes(counts, plan.efficacy, share, plan.alpha, plan.sides)


def _title(plan: Boundaries) -> str:
    words = [
        f"{'One' if plan.sides == 1 else 'Two'}-sided test at {plan.alpha:g}, power {plan.power:g}",
        _named(plan.kind, plan.parameter),
    ]
    if plan.futility_kind is not None:
        kept = "binding" if plan.binding else "non-binding"
        words.append(f"{kept} futility {_named(plan.futility_kind, plan.futility_parameter)}")
    return "; ".join(words)


def _named(kind: str, parameter: float | None) -> str:
    return kind if parameter is None else f"{kind} ({parameter:g})"


def _limits_table(
    plan: Boundaries,
    information: Sequence[float],
    counts: Sequence[float] | None,
    share: float,
    efficacy: Sequence[float],
    futility: Sequence[float] | None,
    spent: Sequence[float],
) -> list[str]:
    head = ["look", "information"]
    if counts is not None:
        head.append("events")
    head += ["efficacy z", "p (one-sided)" if plan.sides == 1 else "p (two-sided)", "alpha spent"]
    if counts is not None:
        head.append("hazard ratio")
    if futility is not None:
        head.append("futility z")
        if counts is not None:
            head.append("hazard ratio")
    rows = []
    for k, limit in enumerate(efficacy):
        row = [f"{k + 1}", f"{information[k]:.4g}"]
        if counts is not None:
            row.append(f"{counts[k]:g}")
        p = plan.sides * 0.5 * math.erfc(limit / math.sqrt(2))
        row += [_z(limit), _p(p), _p(spent[k])]
        if counts is not None:
            row.append(_ratio(limit, counts[k], share))
        if futility is not None:
            row.append(_z(futility[k]))
            if counts is not None:
                row.append(_ratio(futility[k], counts[k], share))
        rows.append(row)
    return _table(head, rows)


def _crossing_table(plan: Boundaries) -> list[str]:
    effects = {"no effect": 0.0, "half the effect": plan.drift / 2, "planned effect": plan.drift}
    below = "harm" if plan.sides == 2 else "futility" if plan.futility is not None else None
    head = ["look"]
    columns: list[tuple[float, ...]] = []
    for name, drift in effects.items():
        ended = plan.crossing(drift)
        head.append(f"{name}: efficacy")
        columns.append(ended.efficacy)
        if below is not None:
            head.append(below)
            columns.append(ended.lower)
    rows = [[f"{k + 1}", *(_chance(c[k]) for c in columns)] for k in range(len(plan.efficacy))]
    return _table(head, [*rows, ["all", *(_chance(sum(c)) for c in columns)]])


def _size(plan: Boundaries, events: float | None, share: float) -> list[str]:
    from equipoise.design import hazard_ratio

    expected = [plan.expected_information(plan.drift * part) for part in (0.0, 0.5, 1.0)]
    lines = [
        f"Planned effect: mean of the last z {plan.drift:.4f}; maximum information {plan.inflation:.4f} "
        "times that of a trial without looks",
        "Expected information, as a share of the maximum: "
        f"{expected[0]:.4f} with no effect, {expected[1]:.4f} with half of it, {expected[2]:.4f} as planned",
    ]
    if events is not None:
        means = [share_ * events for share_ in expected]
        lines.append(
            f"With {events:g} events: planned hazard ratio {hazard_ratio(plan.drift, events, share):.3f}; "
            f"expected events {means[0]:.1f}, {means[1]:.1f}, {means[2]:.1f}"
        )
    return lines


# --- the analysis -----------------------------------------------------------------------------------------


def _analysis(now: Monitored, share: float) -> list[str]:
    last = ", the last" if now.final else ""
    lines = [
        _title(now.design),
        f"Look {len(now.observed)}{last}: {now.observed[-1]:g} of {now.maximum:g} events, "
        f"{now.information[-1]:.1%} of the planned information; error spent as at "
        f"{now.spending_time[-1]:.1%}",
        "",
    ]
    lines += _limits_table(
        now.design, now.information, now.observed, share, now.efficacy, now.futility, now.alpha_spent
    )
    said = [f"Note: {note}." for note in now.notes]
    if not now.final and len(now.observed) >= len(now.design.information):
        said.append("Note: all the looks of the plan have been taken; if this was the last, add --final.")
    return lines + said


def _power_to_come(now: Monitored, found: Finding) -> dict[str, float]:
    """Conditional power under each effect; nothing where the plan has no look to come."""
    if now.final:
        return {}
    try:
        return {e: now.conditional_power(found.z, e) for e in ("trend", "design", "null")}
    except UserError:
        return {}


def _found(now: Monitored, found: Finding) -> list[str]:
    sided = "one-sided" if now.design.sides == 1 else "two-sided"
    level = f"{100 * found.level:.4g}%"
    rows = [
        ("Hazard ratio, unadjusted", f"{_hr(found.unadjusted)}"),
        (
            "Median-unbiased, stage-wise",
            f"{_hr(found.estimate)} ({level} interval {_hr(found.high)} to {_hr(found.low)}); "
            f"p = {_p(found.p_value)}, {sided}"
            + ("; as if the trial ended here" if found.decision == "continue" else ""),
        ),
        (
            f"Repeated {level} interval",
            f"{_hr(found.repeated_high)} to {_hr(found.repeated_low)}"
            + ("" if found.repeated_p is None else f"; repeated p = {_p(found.repeated_p)}, {sided}"),
        ),
    ]
    power = _power_to_come(now, found)
    if power:
        rows += [
            (
                "Conditional power",
                f"{power['trend']:.3f} if the trend goes on, {power['design']:.3f} with the planned effect "
                f"(hazard ratio {_hr(now.planned_effect)}), {power['null']:.3f} with none",
            ),
            ("Predictive power", f"{now.predictive_power(found.z):.3f} (flat prior)"),
        ]
    width = max(len(name) for name, _ in rows)
    limits = f"efficacy limit {_z(now.efficacy[-1])}"
    if now.harm is not None:
        limits += f", harm limit {_z(now.harm[-1])}"
    if now.futility is not None and not now.final:
        limits += f", futility limit {_z(now.futility[-1])}"
    return [
        "",
        f"z = {found.z:.4f} against {limits}: {found.decision}",
        *(f"{n:<{width}}  {t}" for n, t in rows),
    ]


# --- numbers and tables -----------------------------------------------------------------------------------


def _whole(events: float) -> float:
    """The count at which a share of the events has been reached."""
    return math.ceil(events - 1e-9)


def _z(z: float) -> str:
    return "none" if math.isinf(z) else f"{z:.4f}"


def _ratio(z: float, events: float, share: float) -> str:
    from equipoise.design import hazard_ratio

    return "none" if math.isinf(z) else f"{hazard_ratio(z, events, share):.3f}"


def _p(p: float) -> str:
    return f"{p:.3g}" if p < 0.0001 else f"{p:.6f}"


def _chance(p: float) -> str:
    return f"{p:.4f}"


def _hr(theta: float) -> str:
    try:
        return f"{math.exp(-theta):.3f}"
    except OverflowError:
        return "inf"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)
    ]


# --- JSON -------------------------------------------------------------------------------------------------


def _plan_json(plan: Boundaries, events: float | None, share: float) -> str:
    out = _fields(plan)
    out |= {
        "nominal_p": list(plan.nominal_p),
        "nominal_p_two_sided": list(plan.nominal_p_two_sided),
        "inflation": plan.inflation,
    }
    effects = {"no effect": 0.0, "half the effect": plan.drift / 2, "planned effect": plan.drift}
    out["crossing"] = {
        name: _fields(plan.crossing(drift)) | {"expected_information": plan.expected_information(drift)}
        for name, drift in effects.items()
    }
    if events is not None:
        efficacy, futility = plan.hazard_ratios(events, share)
        out["hazard_ratios"] = {"efficacy": efficacy, "futility": futility}
    return _json(out)


def _analysis_json(now: Monitored, found: Finding | None, share: float) -> str:
    out = _fields(now)
    if found is not None:
        out["finding"] = _fields(found)
        if not now.final:
            power = _power_to_come(now, found)
            if power:
                out["conditional_power"] = power
                out["predictive_power"] = now.predictive_power(found.z)
    return _json(out)


def _fields(instance: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(instance)


def _json(value: dict[str, Any]) -> str:
    """JSON without infinities, which it cannot hold: an infinite limit is null."""

    def plain(each: Any) -> Any:
        if isinstance(each, dict):
            return {key: plain(inner) for key, inner in each.items()}
        if isinstance(each, list | tuple):
            return [plain(inner) for inner in each]
        return None if isinstance(each, float) and not math.isfinite(each) else each

    return json.dumps(plain(value), indent=2)
