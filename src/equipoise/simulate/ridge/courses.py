"""The same virtual people in both arms of a trial: everybody's courses, had nobody fallen ill or died.

What cycles are given does not depend on clinical events (`equipoise.simulate.clinical`), so the courses are
walked with event rates of next to nothing, each to the end of follow-up, loss or withdrawal. Both arms have
the same people with the same chances; whatever differs between them is what the treatment does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.protocol import criteria
from equipoise.simulate.enrolment import Enrolment, enrol
from equipoise.simulate.outset import outset_for
from equipoise.simulate.plans import Setup
from equipoise.simulate.power.guided import primary_endpoint
from equipoise.simulate.replicates import stratum_cells
from equipoise.simulate.ridge.kernel import Pieces, cut, pieces_for
from equipoise.simulate.trial import Outcomes, diary, outcomes, traits, walk

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

INTERVAL_DAYS, LONG_INTERVAL_DAYS, LONG_FROM = 28, 56, 728
"""Intervals in which those at risk are counted: their length at first, and from that day on."""
NEXT_TO_NOTHING = -200.0
"""Logarithm of a rate at which nobody has an event."""


class Groups(NamedTuple):
    """The cell of each person: stratum of the analysis times level of a subgroup."""

    cell: Ints
    strata: int
    levels: tuple[str, ...]
    """Levels of the subgroup; a last cell in each stratum holds those of unknown level."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """The people of one trial, each of whom is in both arms."""

    setup: Setup
    enrolment: Enrolment
    seed: int
    other: int
    """Position of the arm that is compared, and of the reference arm."""
    reference: int
    groups: Groups
    edges: Ints
    """Days at which the intervals begin, and the end of the last one."""
    deviate: Floats
    """Normal deviate of each person's native recovery, to which frailty is tied."""

    @property
    def name(self) -> str:
        """The name of the trial."""
        return self.setup.protocol.protocol

    @property
    def participants(self) -> int:
        return self.enrolment.participants


def crowd(setup: Setup, arm: str, participants: int, seed: int, subgroup: str | None = None) -> Crowd:
    """That many people who are eligible for the trial. `arm`: the arm that is compared with the reference
    arm. `subgroup`: label of a subgroup of the analysis plan whose levels are told apart. Raises UserError
    when hardly anybody is eligible."""
    protocol = setup.protocol
    enrolment = enrol(setup, seed, 0, participants)
    names = list(protocol.arms)
    span = (protocol.calendar.end_of_follow_up - protocol.calendar.first_randomization).days
    edges = [
        *range(0, LONG_FROM, INTERVAL_DAYS),
        *range(LONG_FROM, span + LONG_INTERVAL_DAYS, LONG_INTERVAL_DAYS),
    ]
    one = setup.kernel._replace(dials=setup.dials._replace(psi=1.0))
    everybody = np.arange(enrolment.participants)
    frailty = traits(one, enrolment.people, everybody, np.uint64(seed), 0)[:, 4]
    return Crowd(
        setup, enrolment, seed, names.index(arm), names.index(protocol.analysis.reference_arm),
        _groups(setup, enrolment, subgroup), np.array(edges, np.int64), -np.log(frailty) - 0.5,
    )  # fmt: skip


def _groups(setup: Setup, enrolment: Enrolment, subgroup: str | None) -> Groups:
    _, strata = primary_endpoint(setup.protocol)
    stratum, count = stratum_cells(setup, enrolment, list(strata))
    levels = dict(setup.screen.subgroups).get(subgroup or "", ())
    place = np.full(enrolment.participants, len(levels), np.int64)
    columns = {setup.count_item: enrolment.people.baseline, "age": enrolment.people.age}
    names = []
    for number, (level, expression) in enumerate(levels):
        names.append(level)
        if all(name in columns for name in expression.names):
            needed = {name: columns[name] for name in expression.names}
            place[criteria.evaluate_columns(expression, needed) == 1] = number
    width = len(levels) + 1 if levels else 1
    return Groups(stratum.astype(np.int64) * width + place * bool(levels), count, tuple(names))


def cut_arm(crowd: Crowd, number: int, rows: Ints, taus: Floats) -> Pieces:
    """The courses of the people `rows` in arm `number`, in pieces. `taus`: time constants (days) for which
    the exposure to cycles is worked out."""
    plan = crowd.setup.arms[number].plan
    people = crowd.enrolment.people
    first, day, dose = _cycles(crowd, number, rows)
    longest = int(people.end_day[rows].max())
    scratch = outset_for(len(plan.planned), longest)
    room = 160 * len(rows)
    while True:
        pieces = pieces_for(len(rows), room, len(taus))
        done = cut(
            crowd.setup.kernel, plan, people, rows, np.uint64(crowd.seed), 0, scratch, longest, crowd.edges,
            first, day, dose, taus, pieces,
        )  # fmt: skip
        if done == len(rows):
            return pieces
        room *= 2


def _cycles(crowd: Crowd, number: int, rows: Ints) -> tuple[Ints, Ints, Floats]:
    """Cycles of the people `rows`: where each one's begin, day, and dose times the share of injections
    taken."""
    arm = crowd.setup.arms[number]
    if arm.regimen is None:
        return np.zeros(len(rows) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0)
    everybody = crowd.enrolment.people
    people = everybody._replace(goal=np.ascontiguousarray(crowd.enrolment.goals[:, number]))
    body = crowd.setup.kernel.biology._replace(
        ln_od=NEXT_TO_NOTHING,
        ln_death=NEXT_TO_NOTHING,
        ln_death_45=NEXT_TO_NOTHING,
        ln_grade4=NEXT_TO_NOTHING,
    )
    kernel = crowd.setup.kernel._replace(biology=body)
    happened = _room_for(crowd)
    visits = max(len(each.visits) for each in crowd.setup.arms)
    room = len(rows) * (visits + 40)
    while True:
        notes = diary(room, room, room, room, room)
        if walk(
            kernel, arm.plan, crowd.setup.plan, people, rows, np.uint64(crowd.seed), 0, True, happened, notes
        ):
            break
        room *= 2
    whole, dose = notes.cycles[: notes.used[2]], notes.cycles_values[: notes.used[2], 0]
    taken = dose * whole[:, 2] / arm.plan.administrations
    place = np.searchsorted(rows, whole[:, 0])
    order = np.lexsort((whole[:, 1], place))
    first = np.searchsorted(place[order], np.arange(len(rows) + 1)).astype(np.int64)
    return first, np.ascontiguousarray(whole[order, 1]), np.ascontiguousarray(taken[order])


def _room_for(crowd: Crowd) -> Outcomes:
    return outcomes(crowd.participants, len(crowd.setup.landmarks))
