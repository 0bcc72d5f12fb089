"""What a protocol, or a plain event-time trial, says about its design: hazards, accrual, events, looks.

Both become one `Plan`, in days from the first randomisation. What the file leaves open, and what is to be
otherwise than it says, comes in `Changes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from equipoise.design.calendar import Accrual, Arm, EventModel, Hazard, Stratum
from equipoise.errors import UserError
from equipoise.protocol.model import BoundaryName, Look, Looks, Protocol
from equipoise.protocol.plain import HazardPiece, PlainArm, PlainTrial
from equipoise.protocol.quantities import Quantity, exact_days, number_text, per_day
from equipoise.protocol.writing import sha256

Value = TypeVar("Value")


@dataclass(frozen=True)
class Changes:
    """What is to be otherwise than the file says; None: as it says."""

    hazard_ratio: float | None = None
    control_hazard: Quantity | None = None
    dropout: Quantity | None = None
    events: int | None = None
    participants: int | None = None
    power: float | None = None
    alpha: float | None = None
    looks: tuple[float, ...] | None = None
    spending: BoundaryName | None = None
    parameter: float | None = None


@dataclass(frozen=True)
class Plan:
    """The design of a trial of two arms. `model` holds under the planned effect; its times are days from
    `start` (None: no calendar dates), and its `end` is that of follow-up."""

    name: str
    title: str
    start: date | None
    model: EventModel
    hazard_ratio: float | None
    """Experimental to reference; None if it changes with time."""
    alpha: float
    power: float | None
    events: int | None
    """Planned; None: the trial ends with follow-up, whatever the events."""
    looks: Looks
    countries: Mapping[str, float] = field(default_factory=dict)
    """Share of the participants by country."""
    stratified: bool = False
    version: str | None = None
    sha256: str | None = None
    """Of the protocol; None for a plain trial."""
    remarks: tuple[str, ...] = ()
    log_rank: bool = True
    """Whether the trial's own test is the log-rank test without weights."""


# --- from a protocol --------------------------------------------------------------------------------------


def of_protocol(protocol: Protocol, changes: Changes | None = None) -> Plan:
    """The design of a protocol. Participants come evenly, country by country, from the first day of
    randomisation to the last; follow-up of everybody ends on one day.

    Raises UserError if the protocol has not two arms, or if neither it nor `changes` gives the planned
    hazard ratio or the event rate of the reference arm.
    """
    change = changes or Changes()
    size, calendar = protocol.size, protocol.calendar
    reference, experimental = _two_arms(protocol)
    ratio = _first(change.hazard_ratio, size.hazard_ratio)
    if ratio is None:
        raise UserError(
            f"{protocol.protocol}: no effect is planned: give  size: hazard_ratio  in the protocol, or --hr"
        )
    rate = change.control_hazard or size.control_hazard
    if rate is None:
        raise UserError(
            f"{protocol.protocol}: the event rate of the reference arm is not planned: give"
            '  size: control_hazard  in the protocol, or --control-hazard "0.024 / year"'
        )
    simulation = protocol.simulation
    people = _first(change.participants, size.simulated if simulation is not None else size.planned)
    shares = _shares(simulation.accrual if simulation is not None else {})
    duration = float((calendar.last_randomization - calendar.first_randomization).days)
    allotted = protocol.randomization.ratio
    dropout = change.dropout or size.dropout
    model = _model(
        protocol.protocol,
        Accrual.of_pieces((0.0, duration, share) for share in shares.values() or (1.0,)),
        (reference, experimental),
        (allotted[reference], allotted[experimental]),
        people,
        (Hazard.constant(per_day(rate)), Hazard.constant(ratio * per_day(rate))),
        (per_day(dropout) if dropout is not None else 0.0,) * 2,
        end=float((calendar.end_of_follow_up - calendar.first_randomization).days),
        fixed=protocol.randomization.method != "simple",
        delay=_delay(protocol.monitoring),
    )
    return Plan(
        protocol.protocol,
        protocol.title,
        calendar.first_randomization,
        model,
        ratio,
        _alpha(_first(change.alpha, size.alpha), protocol.monitoring.sides),
        _first(change.power, size.power),
        _first(change.events, size.primary_events),
        _looks(protocol.monitoring, change),
        shares,
        version=protocol.version,
        sha256=sha256(protocol),
        remarks=_remarks(protocol, dropout),
    )


def _remarks(protocol: Protocol, dropout: Quantity | None) -> tuple[str, ...]:
    said = [] if dropout is not None else ["nobody is taken to be lost to follow-up"]
    if protocol.size.assumed is not None:
        said.append(f"assumed in the protocol's size: {protocol.size.assumed}")
    return tuple(said)


def _two_arms(protocol: Protocol) -> tuple[str, str]:
    """Reference arm and experimental arm. Raises UserError if there are others."""
    reference = protocol.analysis.reference_arm
    others = [name for name in protocol.arms if name != reference]
    allotted = protocol.randomization.ratio
    if len(others) != 1 or reference not in allotted or others[0] not in allotted:
        raise UserError(
            f"{protocol.protocol}: a design compares two arms; this trial has {len(protocol.arms)}"
        )
    return reference, others[0]


def _shares(accrual: Mapping[str, int]) -> dict[str, float]:
    total = sum(accrual.values())
    return {country: count / total for country, count in accrual.items()}


# --- from a plain trial -----------------------------------------------------------------------------------


def of_plain(trial: PlainTrial, changes: Changes | None = None) -> Plan:
    """The design of a plain event-time trial. Raises UserError for a change that does not fit its arms."""
    change = changes or Changes()
    reference = trial.reference_arm
    experimental = next(name for name in trial.arms if name != reference)
    first, second = trial.arms[reference], trial.arms[experimental]
    base = _hazard(first.hazard)
    if change.control_hazard is not None:
        base = Hazard.constant(per_day(change.control_hazard))
        if second.hazard is not None and change.hazard_ratio is None:
            raise UserError(
                f'the arm "{experimental}" has a hazard of its own: with --control-hazard give --hr as well'
            )
    other = base.times(change.hazard_ratio) if change.hazard_ratio is not None else _other(second, base)
    accrual, shares = _plain_accrual(trial)
    leaving = [change.dropout or arm.dropout or trial.dropout for arm in (first, second)]
    model = _model(
        trial.plain,
        accrual,
        (reference, experimental),
        (first.share, second.share),
        _first(change.participants, trial.participants),
        (base, other),
        tuple(per_day(rate) if rate is not None else 0.0 for rate in leaving),
        end=exact_days(trial.follow_up) if trial.follow_up is not None else math.inf,
        fixed=trial.randomization == "permuted blocks",
        delay=_delay(trial.monitoring),
        strata=tuple(Stratum(each.share, each.hazard_multiple) for each in trial.strata.values()),
    )
    return Plan(
        trial.plain,
        trial.title,
        None,
        model,
        _constant_ratio(base, other),
        _alpha(_first(change.alpha, trial.alpha), trial.monitoring.sides),
        _first(change.power, trial.power),
        _first(change.events, trial.primary_events),
        _looks(trial.monitoring, change),
        shares,
        trial.analysis.stratified,
        remarks=_test_remark(trial),
        log_rank=trial.analysis.test == "log-rank",
    )


def _test_remark(trial: PlainTrial) -> tuple[str, ...]:
    test = trial.analysis.test
    return (
        () if test == "log-rank" else (f"the trial's own test is {test}; power here is the log-rank test's",)
    )


def _plain_accrual(trial: PlainTrial) -> tuple[Accrual, dict[str, float]]:
    if isinstance(trial.accrual, Quantity):
        return Accrual.even(exact_days(trial.accrual)), {}
    pieces = {
        country: [
            (exact_days(p.from_) if p.from_ is not None else 0.0, exact_days(p.to), per_day(p.rate))
            for p in listed
        ]
        for country, listed in trial.accrual.items()
    }
    sizes = {name: sum((b - a) * rate for a, b, rate in found) for name, found in pieces.items()}
    total = sum(sizes.values())
    return (
        Accrual.of_pieces(piece for found in pieces.values() for piece in found),
        {name: size / total for name, size in sizes.items()},
    )


def _hazard(given: Quantity | list[HazardPiece] | None) -> Hazard:
    assert given is not None
    if isinstance(given, Quantity):
        return Hazard.constant(per_day(given))
    return _pieces(given, [per_day(p.hazard) for p in given if p.hazard is not None])


def _other(arm: PlainArm, base: Hazard) -> Hazard:
    """The hazard of the experimental arm: its own, or the reference arm's times its ratio."""
    if arm.hazard is not None:
        return _hazard(arm.hazard)
    ratio = arm.hazard_ratio
    if isinstance(ratio, list):
        return base.times(_pieces(ratio, [p.hazard_ratio for p in ratio if p.hazard_ratio is not None]))
    assert ratio is not None
    return base.times(ratio)


def _pieces(given: list[HazardPiece], values: list[float]) -> Hazard:
    ends = [exact_days(piece.until) for piece in given if piece.until is not None]
    return Hazard((0.0, *ends), tuple(values))


def _constant_ratio(base: Hazard, other: Hazard) -> float | None:
    starts = sorted({*base.starts, *other.starts})
    pairs = [(a, b) for a, b in zip(base.at(starts), other.at(starts), strict=True) if a > 0 or b > 0]
    ratios = [float(b / a) if a > 0 else math.inf for a, b in pairs]
    constant = ratios and all(math.isclose(each, ratios[0], rel_tol=1e-12) for each in ratios)
    return ratios[0] if constant and 0 < ratios[0] < math.inf else None


# --- both -------------------------------------------------------------------------------------------------


def _model(
    trial: str,
    accrual: Accrual,
    names: tuple[str, str],
    ratio: tuple[int, int],
    participants: int,
    hazards: tuple[Hazard, Hazard],
    dropout: tuple[float, ...],
    *,
    end: float,
    fixed: bool,
    delay: float,
    strata: tuple[Stratum, ...] = (),
) -> EventModel:
    if not max(hazards[0].rates) > 0:
        raise UserError(f"{trial}: the event rate of the reference arm is 0: no event would come")
    first = round(participants * ratio[0] / sum(ratio))
    sizes = (first, participants - first)
    if min(sizes) < 1:
        raise UserError(f"{trial}: {participants} participants are too few for two arms")
    arms = [
        Arm(name, float(size), hazard, rate)
        for name, size, hazard, rate in zip(names, sizes, hazards, dropout, strict=True)
    ]
    if end <= accrual.edges[0]:
        raise UserError(f"{trial}: follow-up ends before the first participant comes")
    return EventModel(accrual, arms[0], arms[1], strata or (Stratum(),), end=end, fixed=fixed, delay=delay)


def _looks(monitoring: Looks, change: Changes) -> Looks:
    """The looks as the file or the changes have them; whatever is changed, the rest stays."""
    update: dict[str, object] = {}
    if change.looks is not None:
        _check_looks(change.looks)
        update["looks"] = [Look(at=share) for share in change.looks]
        if monitoring.spending == "none" and change.spending is None and len(change.looks) > 1:
            raise UserError("looks need a boundary: give --spending, such as --spending obrien-fleming")
    if change.spending is not None:
        update |= {"spending": change.spending, "parameter": change.parameter}
    elif change.parameter is not None:
        update["parameter"] = change.parameter
    return monitoring.model_copy(update=update)


def _check_looks(looks: tuple[float, ...]) -> None:
    for share in looks:
        if not 0 < share <= 1:
            raise UserError(
                f"--looks: {number_text(share)} is no share of the planned events: give numbers above 0 and "
                "up to 1"
            )
    if list(looks) != sorted(set(looks)):
        raise UserError("--looks: the looks must rise, without repeats")


def _delay(monitoring: Looks) -> float:
    return exact_days(monitoring.reporting_delay) if monitoring.reporting_delay is not None else 0.0


def _alpha(alpha: float | None, sides: int) -> float:
    return (0.05 if sides == 2 else 0.025) if alpha is None else alpha


def _first(changed: Value | None, given: Value) -> Value:
    return given if changed is None else changed
