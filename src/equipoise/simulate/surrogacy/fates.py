"""What became of virtual participants, as the data that measures of a surrogate work on.

Either as they were randomised, which gives one trial, or each of them in both arms with the same chances:
both potential outcomes, which in life nobody sees. Nothing is written down but what the measures need, so
that thousands of trials are quick."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.analyse.surrogate.data import MarkedTrial
from equipoise.errors import UserError
from equipoise.protocol.nearest import near_or_all
from equipoise.protocol.quantities import DAYS_PER_YEAR
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.plans import Setup
from equipoise.simulate.replicates import endpoint_times, stratum_cells
from equipoise.simulate.runs import walk_everybody, walk_with_diary
from equipoise.simulate.trial import VISIT_ROWS, outcomes
from equipoise.virtual.parameters import Dials

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 1024
"""Participants whose notes are kept at a time. The result does not depend on it."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One arm against the reference arm, on one endpoint, in a trial that is ready to be simulated."""

    setup: Setup
    endpoint: str
    strata: tuple[str, ...]
    other: int
    """Position of the arm that is compared, and of the reference arm."""
    reference: int

    def under(self, dials: Dials) -> Comparison:
        """The same with other effect dials: the people, their chances and all that is measured stay."""
        kernel = self.setup.kernel._replace(dials=dials)
        return replace(self, setup=replace(self.setup, dials=dials, kernel=kernel))


def comparison(setup: Setup, arm: str | None = None, endpoint: str | None = None) -> Comparison:
    """`arm` against the reference arm (default: the only other one) on `endpoint` (default: the primary one).

    Raises UserError for a name that is not there, and where there is a choice to make."""
    protocol = setup.protocol
    reference = protocol.analysis.reference_arm
    others = [name for name in protocol.arms if name != reference]
    if arm is None and len(others) != 1:
        raise UserError(f"there are {len(others)} arms to compare ({', '.join(others)}): name one with --arm")
    chosen = others[0] if arm is None else arm
    if chosen not in others:
        raise UserError(f"there is no arm `{arm}` to compare with {reference}{near_or_all(chosen, others)}")
    planned = {plan.endpoint: tuple(plan.strata) for plan in protocol.analysis.time_to_event}
    primary = [name for name, each in protocol.endpoints.items() if each.role == "primary"]
    primary.sort(key=lambda name: list(planned).index(name) if name in planned else len(planned))
    end = primary[0] if endpoint is None else endpoint
    there = [name for name in protocol.endpoints if name not in protocol.endpoints_not_simulated]
    if end not in there:
        raise UserError(f"there is no simulated endpoint `{end}`{near_or_all(end, there)}")
    arms = list(protocol.arms)
    return Comparison(setup, end, planned.get(end, ()), arms.index(chosen), arms.index(reference))


@dataclass(frozen=True)
class Times:
    """The endpoint of everybody: whole days since randomisation, status (0 censored, 1 event, 2 competing
    event) and stratum."""

    day: Ints
    status: Ints


def all_in(enrolment: Enrolment, arm: int) -> Enrolment:
    """The same people, had all of them been assigned to that arm."""
    people = enrolment.people._replace(goal=np.ascontiguousarray(enrolment.goals[:, arm]))
    return replace(enrolment, arm=np.full(enrolment.participants, arm, np.int64), people=people)


def times(compared: Comparison, enrolment: Enrolment, seed: int, trial: int) -> Times:
    """When the endpoint came to each participant in the arm of the enrolment."""
    happened = walk_everybody(compared.setup, enrolment, seed, trial, "counts only")
    day, status = endpoint_times(compared.setup, enrolment, happened, seed, trial, (compared.endpoint,))[
        compared.endpoint
    ]
    return Times(day.astype(np.int64), status.astype(np.int64))


@dataclass(frozen=True)
class _Course:
    """Times of the endpoint, and every measurement after randomisation: participant, day, value."""

    times: Times
    who: Ints
    day: Ints
    value: Floats


def _course(compared: Comparison, enrolment: Enrolment, seed: int, trial: int) -> _Course:
    setup, n = compared.setup, enrolment.participants
    happened = outcomes(n, len(setup.landmarks))
    item = setup.protocol.items[setup.count_item]
    low = -np.inf if item.detection_limit is None else item.detection_limit
    high = np.inf if item.range is None else item.range[1]
    parts = []
    for start in range(0, n, CHUNK):
        notes = walk_with_diary(setup, enrolment, start, min(start + CHUNK, n), seed, trial, happened)
        used = int(notes.used[VISIT_ROWS])
        who, day, value = notes.visits[:used, 0], notes.visits[:used, 2], notes.visits_values[:used, 0]
        kept = (day > 0) & ~np.isnan(value)
        parts.append((who[kept], day[kept], np.clip(value[kept], low, high)))
    who, day, value = (np.concatenate([part[k] for part in parts]) for k in range(3))
    order = np.lexsort((value, day, who))
    day_of, status = endpoint_times(setup, enrolment, happened, seed, trial, (compared.endpoint,))[
        compared.endpoint
    ]
    return _Course(
        Times(day_of.astype(np.int64), status.astype(np.int64)), who[order], day[order], value[order]
    )


def simulated_trial(
    compared: Comparison, seed: int, trial: int, participants: int | None = None
) -> MarkedTrial:
    """The trial number `trial`, as `marked_trial` takes it from the record that `simulate` writes of it, with
    the count that guides the doses as the marker. Arms that are not compared are left out."""
    enrolment = enrol(compared.setup, seed, trial, participants)
    found = _course(compared, enrolment, seed, trial)
    kept = (enrolment.arm == compared.other) | (enrolment.arm == compared.reference)
    return _marked(compared, [(enrolment, found, kept)])


def both_fates(compared: Comparison, seed: int, trial: int, participants: int) -> MarkedTrial:
    """Everybody twice: first all of them in the reference arm, then all of them in the arm compared.

    Participant i of the first `participants` rows is the same person, with the same chances, as row
    i + `participants`. What differs between the two is the effect of the treatment on that person."""
    enrolment = enrol(compared.setup, seed, trial, participants)
    everybody = np.full(enrolment.participants, True)
    fates = [
        (one := all_in(enrolment, arm), _course(compared, one, seed, trial), everybody)
        for arm in (compared.reference, compared.other)
    ]
    return _marked(compared, fates)


def _marked(compared: Comparison, groups: list[tuple[Enrolment, _Course, NDArray[np.bool_]]]) -> MarkedTrial:
    """The participants `kept` of each enrolment, one group after the other."""
    setup, protocol = compared.setup, compared.setup.protocol
    countries = np.array(list(protocol.simulation.accrual) if protocol.simulation is not None else [""])
    columns: dict[str, list[NDArray[np.generic]]] = {}
    first = 0
    for enrolment, found, kept in groups:
        place = np.full(enrolment.participants, -1, np.int64)
        place[kept] = first + np.arange(int(kept.sum()))
        base = enrolment.people.baseline[kept]
        known = np.flatnonzero(~np.isnan(base))
        mine = kept[found.who]
        own = {
            "treated": enrolment.arm[kept] == compared.other,
            "time": found.times.day[kept] / DAYS_PER_YEAR,
            "event": found.times.status[kept] == 1,
            "stratum": stratum_cells(setup, enrolment, list(compared.strata))[0][kept].astype(np.int64),
            "unit": countries[enrolment.country[enrolment.position[kept]]],
            "who": np.concatenate((first + known, place[found.who[mine]])),
            "at": np.concatenate((np.zeros(len(known)), found.day[mine] / DAYS_PER_YEAR)),
            "value": np.concatenate((base[known], found.value[mine])),
        }
        order = np.lexsort((own["value"], own["at"], own["who"]))
        own |= {name: own[name][order] for name in ("who", "at", "value")}
        for name, column in own.items():
            columns.setdefault(name, []).append(column)
        first += int(kept.sum())
    arms = list(protocol.arms.values())
    item = protocol.items[setup.count_item]
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return MarkedTrial(
        treated=joined["treated"],
        time=joined["time"],
        event=joined["event"],
        stratum=joined["stratum"],
        unit=joined["unit"].astype(np.str_),
        who=joined["who"],
        at=joined["at"],
        value=joined["value"],
        treated_label=arms[compared.other].label,
        reference_label=arms[compared.reference].label,
        endpoint_label=protocol.endpoints[compared.endpoint].label,
        marker_label=item.label,
        marker_unit=item.unit or "",
    )
