"""One participant, walked day by day in plain Python: the readable definition that the compiled loop must
match.

The walk goes from one day on which something happens to the next. On each such day, in this order:

 1. opportunistic disease (the cumulative hazard has reached its threshold),
 2. grade 4 event of the background, 3. toxicity of the last cycle (grade 3 or 4), 4. death, which ends the
 walk,
 5. a switch of the virus, or the end of a quadrature piece: a new piece begins,
 6. start or end of an episode (pregnancy, no contraception, off therapy) that may hold cycles,
 7. a visit: CD4 and HIV RNA are measured; visits still happen on the last day of follow-up,
 8. before the last day, at an attended visit or a contact for a cycle: the dosing decision, the offer, its
    acceptance, the cycle (impulse, toxicity drawn, hazard pieces cut),
 9. the last day: the walk ends.

The CD4 count between events is a closed form from the last event (native cells: last switch of the virus;
induced cells: last cycle), so visits cut nothing. The next contact after a decision is the day on which the
calendar lets a cycle start, plus the person's delay; after a declined offer it comes `offer_again` days
later at the earliest, and until then visits make no offer. A person off therapy has no cover. Every draw is
a function of purpose, index, person and trial (see `equipoise.virtual.streams`), never of the order of the
walk.

`steps` tells what happens as it happens, and asks the clinic for each dosing decision; `walk` is `steps` with
a clinic that does what the rules say. A rehearsal lets the conduct system be the clinic.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from equipoise.rules.dosing import decide
from equipoise.rules.schedule import induction_slot, next_decision_day
from equipoise.rules.terms import ESCALATE, NEVER, REDUCE, START, STOP, Decision, DoseRules, Situation
from equipoise.rules.truth import NO, YES
from equipoise.simulate.trial import (
    BACKGROUND4,
    COMPLETED,
    CYCLE3,
    CYCLE4,
    DIED,
    DIED_OF,
    LOST,
    OD,
    WITHDREW,
)
from equipoise.virtual import habits, hazards, latent, observation, virology
from equipoise.virtual.latent import Person
from equipoise.virtual.parameters import Kernel
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import DEATH, GRADE4, MEASUREMENT, OPPORTUNISTIC


class VisitPlan(NamedTuple):
    """One planned visit of an arm. `before`: first day that belongs to the next visit's window."""

    planned: int
    earliest: int
    before: int
    count: bool  # type: ignore[assignment]
    """CD4 is measured."""
    rna: bool


class Course(NamedTuple):
    """What the drug's rules need to know about this participant; None of it for an arm without cycles."""

    rules: DoseRules
    administrations: int
    goal: float
    baseline: float
    cover: bool
    """Cycles need the cover of antiretroviral therapy."""
    holds: tuple[int, ...]
    """Truth of `any hold` for each mask of episodes (bit 0 pregnancy, 1 no contraception, 2 off therapy)."""
    resume: tuple[int, ...]
    """Days to wait after the holds of each mask have ended."""


class Measured(NamedTuple):
    visit: int
    day: int
    count: float  # type: ignore[assignment]
    """As reported; NaN if not measured."""
    copies: float
    true_count: float


class Decided(NamedTuple):
    situation: Situation
    decision: Decision
    accepted: int
    """1, 0, or -1 when no cycle was offered."""


class Given(NamedTuple):
    day: int
    dose: float
    given: int
    induction: bool
    decision: int
    """Position in the list of decisions."""
    toxicity: int
    toxicity_day: int


class Happened(NamedTuple):
    """process: 1 opportunistic disease, 2 death, 3 grade 4 of the background, 4 grade 4 of a cycle, 5 grade
    3."""

    day: int
    process: int
    index: int  # type: ignore[assignment]
    """Occurrence of the process, or the cycle for 4 and 5, from 0."""


class Episode(NamedTuple):
    """An episode that may hold cycles began, or ended, on `day`. kind: 0 pregnancy, 1 no contraception, 2 off
    therapy."""

    day: int
    kind: int
    began: bool


class Asked(NamedTuple):
    """A dosing decision is needed. `came`: at a visit of this day, else at a contact for a cycle. `offered`:
    a cycle that the clinic decides on now would be offered; not so soon after a declined offer."""

    situation: Situation
    came: bool
    offered: bool


class Answered(NamedTuple):
    """What became of a decision: the participant's answer to the offer, and the cycle if one was given."""

    day: int
    accepted: int
    cycle: Given | None


class Ended(NamedTuple):
    """The last day, and how it came: the codes of `equipoise.simulate.trial`."""

    day: int
    status: int


Step = Measured | Happened | Episode | Asked | Answered | Ended
"""One thing that happens to a participant."""


@dataclass
class Walk:
    """Everything that happened to one participant."""

    last_day: int = 0
    status: int = COMPLETED
    missed: list[int] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    cycles: list[Given] = field(default_factory=list)
    events: list[Happened] = field(default_factory=list)
    holds: list[tuple[int, int, int]] = field(default_factory=list)
    """(episode kind, first day, last day or -1)."""


class _Virtual:
    """The state that the walk carries: body, hazards reached, episodes."""

    def __init__(self, kernel: Kernel, person: Person, seed: int, trial: int) -> None:
        self.b, self.d, self.h = kernel
        self.p, self.seed, self.trial = person, seed, trial
        self.couples = hazards.touched(self.d)
        self.viraemic = person.viraemic
        self.switches = 0
        self.n_start, self.n_day = person.count, 0
        self.n_rate, self.n_target = latent.relax(self.b, person, self.viraemic)
        self.switch_day = self._next_switch(0)
        self.burst = self.long = self.acute = self.chronic = 0.0
        self.cycle_day = -1
        self.after_od = 0
        self.reached = [0.0, 0.0, 0.0]
        self.occurrence = [0, 0, 0]
        self.needed = [self._threshold(i) for i in range(3)]
        self.start_piece(0)

    PURPOSES = (OPPORTUNISTIC, DEATH, GRADE4)

    def _threshold(self, process: int) -> float:
        purpose, occurrence = self.PURPOSES[process], self.occurrence[process]
        return hazards.threshold(self.seed, self.trial, self.p.number, purpose, occurrence)

    def _next_switch(self, day: int) -> int:
        return virology.next_switch(
            self.b, self.seed, self.trial, self.p.number, self.switches, self.viraemic, day
        )

    def start_piece(self, day: int) -> None:
        """Hazards are constant from `day` to the end of the piece; on which day does each event fall?"""
        coupled = self.couples and self.cycle_day >= 0
        length = hazards.piece_length(self.d, coupled, day - self.cycle_day, day - self.n_day)
        self.piece_start, self.piece_end = day, min(day + length, self.switch_day)
        self.hazard = hazards.piece_hazards(
            self.b, self.d, self.p, self.viraemic, self.after_od, day, self.piece_end,
            self.n_start, self.n_target, self.n_rate, self.n_day,
            self.burst, self.long, self.acute, self.chronic, self.cycle_day,
        )  # fmt: skip
        self.due = [self._crossing(i) for i in range(3)]

    def _crossing(self, process: int) -> int:
        return hazards.crossing_day(
            self.piece_start,
            self.piece_end,
            self.reached[process],
            self.hazard[process],
            self.needed[process],
        )

    def end_piece(self, day: int) -> None:
        for process in range(3):
            self.reached[process] += self.hazard[process] * (day - self.piece_start)

    def next_occurrence(self, process: int) -> None:
        self.occurrence[process] += 1
        self.needed[process] += self._threshold(process)

    def switch_virus(self, day: int) -> None:
        self.n_start = latent.native(self.n_start, self.n_target, self.n_rate, day - self.n_day)
        self.n_day = day
        self.viraemic = 1 - self.viraemic
        self.switches += 1
        self.n_rate, self.n_target = latent.relax(self.b, self.p, self.viraemic)
        self.switch_day = self._next_switch(day)

    def counts(self, day: int) -> tuple[float, float, float]:
        """Native, burst and long-lived cells on `day`."""
        n = latent.native(self.n_start, self.n_target, self.n_rate, day - self.n_day)
        if self.cycle_day < 0:
            return n, 0.0, 0.0
        return (n, *latent.long_lived(self.b, self.p, self.burst, self.long, day - self.cycle_day))

    def start_cycle(self, day: int, dose: float, taken: float) -> None:
        """The impulse of a cycle on cells and exposure."""
        n, burst, long = self.counts(day)
        self.burst = burst + latent.rise(self.b, self.p, dose, taken, n, n + burst + long)
        self.long = long
        units = dose * taken / 7.5
        if self.cycle_day >= 0:
            since = day - self.cycle_day
            self.acute = latent.exposure(self.acute, since, self.d.tau_acute)
            self.chronic = latent.exposure(self.chronic, since, self.d.tau_chronic)
        self.acute += units
        self.chronic += units
        self.cycle_day = day


def walk(
    kernel: Kernel,
    person: Person,
    visits: tuple[VisitPlan, ...],
    course: Course | None,
    end_day: int,
    seed: int,
    trial: int,
) -> Walk:
    """Follow one participant from randomisation (day 0) to `end_day`, death, loss or withdrawal.

    `person` from `equipoise.virtual.latent.person`; `course` None in an arm without cycles. The same person,
    seed and trial with another course is that person's other potential outcome.
    """
    following = steps(kernel, person, visits, course, end_day, seed, trial)
    decision: Decision | None = None
    while True:
        try:
            step = following.send(decision)
        except StopIteration as end:
            finished: Walk = end.value
            return finished
        decision = None
        if isinstance(step, Asked):
            assert course is not None
            decision = decide(course.rules, step.situation)


def steps(
    kernel: Kernel,
    person: Person,
    visits: tuple[VisitPlan, ...],
    course: Course | None,
    end_day: int,
    seed: int,
    trial: int,
) -> Generator[Step, Decision | None, Walk]:
    """As `walk`, one thing at a time, in the order of time: what happens, and an `Asked` for each decision,
    to which the clinic sends its `Decision` (to everything else, None). Returns the whole walk."""
    b, h = kernel.biology, kernel.habits
    out = Walk()
    body = _Virtual(kernel, person, seed, trial)

    last, out.status = end_day, COMPLETED
    lost, withdrew = habits.leaving(h, seed, trial, person.number)
    if lost < last:
        last, out.status = lost, LOST
    if withdrew < last:
        last, out.status = withdrew, WITHDREW

    visit = -1
    visit_day = hazards.NEVER

    def next_visit(after: int) -> None:
        nonlocal visit, visit_day
        visit, visit_day = after, hazards.NEVER
        while True:
            visit += 1
            if visit >= len(visits):
                return
            plan = visits[visit]
            if plan.planned > last + 365:
                return
            day = habits.visit_day(
                h, seed, trial, person.number, visit, plan.planned, plan.earliest, plan.before
            )
            if day >= 0:
                visit_day = day
                return
            if plan.planned <= last:
                out.missed.append(visit)

    next_visit(-1)

    contact_day = 0 if course is not None else hazards.NEVER
    contacts = 0
    offers = 0
    offer_from = 0
    stopped = NO
    cycles, first_day, last_cycle, dose, at_dose, reduced = 0, -1, -1, 0.0, 0, NO
    toxicity, toxicity_day = 0, hazards.NEVER
    toxicity_reported = True
    measure, measured_day = math.nan, -1
    if course is not None:
        measure, measured_day = course.baseline, 0
    mask = 0
    hold_until = 0
    held_since = [-1, -1, -1]
    episode_index = [0, 0, 0]
    episode_day = [
        habits.episode_switch(h, person, seed, trial, kind, 0, 0) if course is not None else hazards.NEVER
        for kind in range(3)
    ]

    while True:
        day = min(
            body.due[0], body.due[1], body.due[2], body.piece_end, visit_day, contact_day, last,
            hazards.NEVER if toxicity_reported else toxicity_day, *episode_day,
        )  # fmt: skip

        # 1-4. Clinical events.
        if body.due[0] == day:
            out.events.append(Happened(day, OD, body.occurrence[0]))
            yield out.events[-1]
            body.end_piece(day)
            body.after_od = 1
            body.next_occurrence(0)
            body.start_piece(day)
        while body.due[2] == day:
            out.events.append(Happened(day, BACKGROUND4, body.occurrence[2]))
            yield out.events[-1]
            body.next_occurrence(2)
            body.due[2] = body._crossing(2)
        if not toxicity_reported and toxicity_day == day:
            toxicity_reported = True
            out.events.append(Happened(day, CYCLE4 if toxicity == 4 else CYCLE3, cycles - 1))
            yield out.events[-1]
        if body.due[1] == day:
            out.events.append(Happened(day, DIED_OF, 0))
            yield out.events[-1]
            last, out.status = day, DIED
            break

        # 5. A new piece.
        if day == body.piece_end:
            body.end_piece(day)
            if day == body.switch_day:
                body.switch_virus(day)
            body.start_piece(day)

        # 6. Episodes that may hold cycles.
        for kind in range(3):
            if episode_day[kind] == day and course is not None:
                if episode_index[kind] % 2 == 0:
                    mask |= 1 << kind
                    held_since[kind] = day
                else:
                    if course.holds[mask] == YES:
                        hold_until = max(hold_until, day + course.resume[mask])
                    mask &= ~(1 << kind)
                    out.holds.append((kind, held_since[kind], day))
                    held_since[kind] = -1
                yield Episode(day, kind, episode_index[kind] % 2 == 0)
                episode_index[kind] += 1
                episode_day[kind] = habits.episode_switch(
                    h, person, seed, trial, kind, episode_index[kind], day
                )

        # 7. A visit.
        came = False
        if visit_day == day:
            came = True
            plan = visits[visit]
            u, v = uniforms(seed, MEASUREMENT, visit, person.number, trial)
            true_count = sum(body.counts(day))
            count = observation.measured_count(b, true_count, u) if plan.count else math.nan
            copies = observation.copies(virology.level(b, person, body.viraemic, v)) if plan.rna else math.nan
            out.measured.append(Measured(visit, day, count, copies, true_count))
            yield out.measured[-1]
            if plan.count:
                measure, measured_day = count, day
            next_visit(visit)

        # 9. (before 8: no decision is taken on the last day)
        if day == last:
            break

        # 8. The dosing decision.
        if course is not None and (came or contact_day == day):
            now = Situation(
                day, YES, YES, YES, stopped, course.holds[mask], hold_until,
                NO if course.cover and mask & 4 else YES,
                cycles, first_day, last_cycle, dose, at_dose, reduced,
                toxicity if toxicity_reported else 0,
                course.baseline, measure, measured_day, course.goal,
            )  # fmt: skip
            decided = yield Asked(now, came, day >= offer_from)
            if decided is None:
                raise RuntimeError("a decision was needed, and the clinic sent none")
            decision = decided
            contact_day = hazards.NEVER
            accepted = -1
            cycle = None
            due = decision.not_before
            if decision.action in (START, REDUCE, ESCALATE):
                if day < offer_from:
                    due = next_decision_day(course.rules, now._replace(day=offer_from - 1))
                else:
                    maintenance = induction_slot(course.rules, now, day) == NEVER
                    accepted = habits.accepts(h, person, seed, trial, offers, cycles, maintenance, day)
                    offers += 1
                    if accepted == 1:
                        given, toxicity, delay = habits.cycle_outcome(
                            b, h, seed, trial, person.number, cycles, decision.dose, course.administrations
                        )
                        toxicity_day, toxicity_reported = day + delay, toxicity == 0
                        body.start_cycle(day, decision.dose, given / course.administrations)
                        cycle = Given(
                            day,
                            decision.dose,
                            given,
                            not maintenance,
                            len(out.decided),
                            toxicity,
                            toxicity_day,
                        )
                        out.cycles.append(cycle)
                        at_dose = at_dose + 1 if decision.dose == dose and cycles > 0 else 1
                        if decision.action == REDUCE:
                            reduced = YES
                        dose, last_cycle, cycles = decision.dose, day, cycles + 1
                        if first_day < 0:
                            first_day = day
                        if body.couples:
                            body.end_piece(day)
                            body.start_piece(day)
                    else:
                        offer_from = day + h.offer_again
                    after = now._replace(
                        day=max(day, offer_from - 1), cycles=cycles, first_cycle_day=first_day,
                        last_cycle_day=last_cycle, dose=dose, cycles_at_dose=at_dose, reduced=reduced,
                    )  # fmt: skip
                    due = next_decision_day(course.rules, after)
            elif decision.action == STOP:
                stopped = YES
            if due > day:
                contact_day = due + habits.contact_delay(h, seed, trial, person.number, contacts)
                contacts += 1
            out.decided.append(Decided(now, decision, accepted))
            yield Answered(day, accepted, cycle)

    for kind in range(3):
        if held_since[kind] >= 0:
            out.holds.append((kind, held_since[kind], -1))
    out.last_day = last
    yield Ended(last, out.status)
    return out
