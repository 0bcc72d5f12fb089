"""The loop of a simulated trial: every participant walked from randomisation to the end of follow-up.

This is the compiled twin of the plain walk in `equipoise.simulate.reference`, which defines the order of
operations; a test holds the two together day by day and dose by dose. The dosing decision is `decide` of
`equipoise.rules.dosing`, the very function that is called for a real participant.

One source serves two purposes. Always kept is what happened to each participant (`Outcomes`), which is all
that a thousand replicate trials need. With `keep_diary` every visit, decision, cycle, event and hold is noted
as well (`Diary`), from which `equipoise.simulate.assemble` makes the record. Nothing is allocated within the
loop."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.rules import dosing
from equipoise.rules.dosing import decide
from equipoise.rules.schedule import induction_slot, next_decision_day
from equipoise.rules.terms import ESCALATE, NEVER, REDUCE, START, STOP, DoseRules, Situation
from equipoise.rules.truth import NO, YES
from equipoise.simulate import outset
from equipoise.simulate.clinical import (
    BACKGROUND4,
    CYCLE3,
    CYCLE4,
    DIED_OF,
    OD,
    Cycles,
    Pieces,
    cycles_for,
    happen,
    pieces_for,
)
from equipoise.simulate.outset import (
    COMPLETED,
    DIED,
    LOST,
    PARTICIPANTS,
    WITHDREW,
    Outset,
    outset_for,
    person_of,
    settle,
)
from equipoise.virtual.habits import (
    accepts,
    accepts_from,
    contact_delay,
    contact_delay_from,
    cycle_outcome,
    cycle_outcome_from,
    episode_switch,
    toxicity_chances,
)
from equipoise.virtual.hazards import NEVER as NO_DAY
from equipoise.virtual.hazards import orderly, touched
from equipoise.virtual.latent import (
    dose_effect,
    exposure,
    fed_by_burst,
    long_lived_from,
    native,
    person,
    rise_from,
)
from equipoise.virtual.maths import exponential_quantiles, log, whole_number
from equipoise.virtual.observation import measured_count_from
from equipoise.virtual.parameters import Kernel
from equipoise.virtual.philox import uniform_indices
from equipoise.virtual.streams import OFFER

__all__ = [
    "BACKGROUND4", "COMPLETED", "CYCLE3", "CYCLE4", "DIED", "DIED_OF", "LOST", "OD", "WITHDREW", "ArmPlan",
    "Diary", "Outcomes", "People", "Plan", "diary", "outcomes", "traits", "walk",
]  # fmt: skip

for _rule in dosing.LOOP_FUNCTIONS:
    register_jitable(forceinline=True, no_cfunc_wrapper=True)(_rule)

DISEASES_KEPT = 4
"""First occurrences of opportunistic disease that `Outcomes` keeps for each participant."""

OFFERS_AHEAD, OFFERS_AT_ONCE = 128, 16
"""Offers and contacts whose chances are drawn ahead, so many at once; later ones are drawn one by one."""

NOT_FORESEEN = -(1 << 40)
"""The visit from which counts are foreseen, when none are."""

LN_10 = 2.302585092994046

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class ArmPlan(NamedTuple):
    """What the loop needs to know of one arm."""

    cycled: int
    """YES when the arm has a regimen given in cycles; without one, `rules` is not used."""
    rules: DoseRules
    administrations: int
    cover: int
    """YES when a cycle needs the cover of antiretroviral therapy."""
    holds: Ints
    """Truth of `any hold` for each of the 8 masks of episodes (bit 0 pregnancy, 1 no contraception, 2 off
    therapy)."""
    resume: Ints
    """Days to wait after the holds of each mask have ended."""
    planned: Ints
    """Days of the planned visits after randomisation, rising."""
    earliest: Ints
    before: Ints
    """First day that belongs to the next visit's window."""
    measures_count: Ints
    measures_rna: Ints


class People(NamedTuple):
    """Those randomised, one array element each. Counts in cells/mm3, days since randomisation."""

    number: Ints
    """Candidate number: the person word of every random draw."""
    count: Floats  # type: ignore[assignment]  # the model's own word; tuple.count is not needed
    """True CD4 count at randomisation."""
    nadir: Floats
    age: Floats
    female: Ints
    prior_aids: Ints
    viraemic: Ints
    log10_level: Floats
    baseline: Floats
    """CD4 as measured at baseline; NaN unknown."""
    goal: Floats
    """NaN in an arm without a goal."""
    end_day: Ints
    """Day on which the trial ends for this participant."""


class Outcomes(NamedTuple):
    """What happened, one row for each participant. Days are -1 where there is none."""

    diseases: Ints
    """Days of the first opportunistic diseases, shape (participants, DISEASES_KEPT)."""
    death: Ints
    grade4: Ints
    """First grade 4 event, of the background or of a cycle."""
    last_day: Ints
    status: Ints
    cycles: Ints
    injections: Ints
    dose_total: Floats
    """Sum of the doses of all injections given (MIU)."""
    first_dose: Floats
    last_dose: Floats
    escalations: Ints
    reductions: Ints
    visits: Ints
    """Visits attended."""
    counts: Ints
    """CD4 measurements after randomisation."""
    count_sum: Floats
    rnas: Ints
    rna_sum: Floats
    """Sum of log10 copies/mL, values below the limit taken as the limit."""
    at_landmark: Floats
    """CD4 measured nearest to each landmark, shape (participants, landmarks); NaN none."""
    landmark_cycle: Ints
    """Days from the start of the last cycle to that measurement; -1 before the first cycle."""
    landmark_day: Ints


class Diary(NamedTuple):
    """Notes of a chunk of participants; `used` counts the rows of each table.

    Columns, the first of whole numbers being the position of the participant: `visits` (visit, day, viraemic;
    values: count, copies/mL, native, burst, long-lived, acute and chronic exposure); `decisions` (day,
    action, reason, not before, unknown, accepted or -1, measured day, cycles, toxicity, hold, hold until,
    cover, stopped, first and last cycle day, cycles at dose, reduced; values: dose decided, measure, dose
    before); `cycles` (day, injections given, maintenance, position of the decision, toxicity, its day; value:
    dose); `events` (day, process, occurrence or cycle); `holds` (episode, first day, first day without or
    -1)."""

    used: Ints
    visits: Ints
    visits_values: Floats
    decisions: Ints
    decisions_values: Floats
    cycles: Ints
    cycles_values: Floats
    events: Ints
    holds: Ints


class Plan(NamedTuple):
    """What all arms share."""

    landmarks: Ints
    """Days at which the CD4 count is looked up for each participant."""
    landmark_reach: int
    """A measurement belongs to a landmark when it is at most this many days away."""
    rna_limit: float
    """Limit of detection, copies/mL."""


def outcomes(participants: int, landmarks: int) -> Outcomes:
    """Empty outcomes for that many participants."""

    def none() -> Ints:
        return np.full(participants, -1, np.int64)

    def zero() -> Ints:
        return np.zeros(participants, np.int64)

    def zeros() -> Floats:
        return np.zeros(participants)

    return Outcomes(
        diseases=np.full((participants, DISEASES_KEPT), -1, np.int64), death=none(), grade4=none(),
        last_day=none(), status=zero(), cycles=zero(), injections=zero(), dose_total=zeros(),
        first_dose=zeros(), last_dose=zeros(), escalations=zero(), reductions=zero(), visits=zero(),
        counts=zero(), count_sum=zeros(), rnas=zero(), rna_sum=zeros(),
        at_landmark=np.full((participants, landmarks), np.nan),
        landmark_cycle=np.full((participants, landmarks), -1, np.int64),
        landmark_day=np.full((participants, landmarks), -1, np.int64),
    )  # fmt: skip


VISIT_ROWS, DECISION_ROWS, CYCLE_ROWS, EVENT_ROWS, HOLD_ROWS = range(5)
"""Positions in `Diary.used`."""


def diary(visits: int, decisions: int, cycles: int, events: int, holds: int) -> Diary:
    """An empty diary with room for that many rows of each table."""
    return Diary(
        np.zeros(5, np.int64), np.empty((visits, 4), np.int64), np.empty((visits, 7)),
        np.empty((decisions, 18), np.int64), np.empty((decisions, 3)), np.empty((cycles, 7), np.int64),
        np.empty((cycles, 1)), np.empty((events, 4), np.int64), np.empty((holds, 4), np.int64),
    )  # fmt: skip


def walk(
    kernel: Kernel,
    arm: ArmPlan,
    plan: Plan,
    people: People,
    rows: Ints,
    seed: np.uint64,
    trial: int,
    keep_diary: bool,
    outcomes: Outcomes,
    diary: Diary,
) -> bool:
    """Walk the participants `rows` (positions in `people`), all of one arm, and note what happened to them.

    Returns True, or False when the diary is full (the notes are then to be thrown away). Without
    `keep_diary` the diary is not touched. Order of operations on one day: see
    `equipoise.simulate.reference`."""
    if len(rows) == 0:
        return True
    longest = int(people.end_day[rows].max())
    scratch = _scratch(len(arm.planned), longest)
    # The diary ends on the last day, which is known only when everybody has been walked.
    _walk(kernel, arm, plan, people, rows, seed, trial, outcomes, longest, *scratch, False, diary)
    return not keep_diary or bool(
        _walk(kernel, arm, plan, people, rows, seed, trial, outcomes, longest, *scratch, True, diary)
    )


_OF_THREAD = threading.local()


def _scratch(planned: int, longest: int) -> tuple[Outset, Cycles, Pieces, Floats]:
    """The arrays that the loop works in, made once in each thread: they do not grow with the number of
    trials."""
    made: dict[tuple[int, int], tuple[Outset, Cycles, Pieces, Floats]]
    made = _OF_THREAD.__dict__.setdefault("scratch", {})
    # In steps of a year, so that trials of much the same length share them.
    size = (planned, -(-longest // 366) * 366)
    if size not in made:
        if len(made) >= 8:
            made.clear()
        longest = size[1]
        offers = np.empty((2, OFFERS_AHEAD))
        made[size] = (outset_for(planned, longest), cycles_for(longest), pieces_for(longest), offers)
    return made[size]


@njit(borrows=True)
def _walk(
    kernel, arm, plan, people, rows, seed, trial, outcomes, longest, o, courses, pieces, offers, noting, diary
):  # fmt: skip
    """The course of each participant is walked to the end of follow-up, then the events along it are found,
    for nothing that is done or measured depends on them; then all is counted up to the last day.

    `noting`: the outcomes are known; the participants are walked again to the last day, and everything is
    noted in the diary. One kernel does both, so that one is compiled. Returns whether the diary had room."""
    b, d, h = kernel.biology, kernel.dials, kernel.habits
    couples, bounded = touched(d), orderly(b, d)
    start = 0
    while start < len(rows):
        block = rows[start : start + PARTICIPANTS]
        settled = settle(kernel, arm, people, block, seed, trial, o, longest)
        for l in range(settled):
            i = block[l]
            p = person_of(o, people, i, l)
            last, status = o.last[l], o.status[l]
            if noting:
                last, status = outcomes.last_day[i], outcomes.status[i]
            else:
                _clear(outcomes, i)
            cycles = toxicities = 0
            if noting or arm.cycled == YES:
                cycles, toxicities, room = _course(
                    b, d, h, arm, people, seed, trial, o, courses, offers, l, i, p, last, status == DIED,
                    noting, diary,
                )  # fmt: skip
                if not room:
                    return False
            death, room = happen(
                b, d, p, bounded, o, l, courses, cycles if couples else 0, toxicities, last, seed, trial,
                pieces, i, outcomes, noting, diary,
            )  # fmt: skip
            if not room:
                return False
            if noting:
                continue
            if death >= 0:
                last, status = death, DIED
            outcomes.death[i], outcomes.last_day[i], outcomes.status[i] = death, last, status
            _tally(arm, plan, o, courses, cycles, toxicities, l, i, last, status == DIED, outcomes)
        start += settled
    return True


@njit(forceinline=True, borrows=True, inner=True)
def _course(
    b, d, h, arm, people, seed, trial, o, courses, offer_chances, l, i, p, last, dies, noting, diary
):  # fmt: skip
    """The course of participant i (number l of the block) up to day `last`: visits, decisions, cycles and
    what the body makes of them, all but the clinical events.

    `dies`: the last day is that of death. Out: counts measured, in `o`; cycles and toxicities, in `courses`;
    everything else in the diary, if `noting`. Returns (cycles, toxicities that showed, whether the
    diary had room)."""
    cycled = arm.cycled == YES
    rules = arm.rules
    number = p.number
    full = (0, 0, False)
    dose_known, chances, effect = 0.0, (0.0, 0.0), 0.0

    # The body: native cells relax from the last switch, induced cells and exposure fade from the last
    # cycle.
    stretch, end_stretch = o.first_stretch[l], o.first_stretch[l + 1]
    burst = long = fed = acute = chronic = 0.0
    cycle_day = -1

    # The course of the drug, as the rules know it.
    contact_on = 0 if cycled else NO_DAY
    # Of one type from the start: a literal would be a type of its own, and all it is given to compiled twice.
    contacts = offers = decisions = drawn = np.int64(0)
    offer_from = 0
    stopped, reduced = NO, NO
    cycles: int = np.int64(0)  # type: ignore[assignment]
    at_dose: int = cycles
    first_cycle = last_cycle = -1
    dose = 0.0
    toxicity, toxicity_on, toxicities = 0, NO_DAY, 0
    measure, measured_day = people.baseline[i], 0
    mask, hold_until = 0, 0
    held_since = (-1, -1, -1)
    switched = (0, 0, 0)
    episodes = (NO_DAY, NO_DAY, NO_DAY)
    if cycled:
        episodes = (
            episode_switch(h, p, seed, trial, contacts, contacts, contacts),
            episode_switch(h, p, seed, trial, contacts + 1, contacts, contacts),
            o.off_art[l],
        )
    visit, end_visit = o.first_visit[l], o.first_visit[l + 1]
    visit_on = o.day[visit] if visit < end_visit else NO_DAY
    foreseen_from = NOT_FORESEEN

    while True:
        # The next day on which something happens.
        day = min(visit_on, contact_on, last)
        if cycled:
            day = min(day, toxicity_on, episodes[0], episodes[1], episodes[2])
        while stretch + 1 < end_stretch and o.stretch[stretch + 1] <= day:
            stretch += 1

        # 3. Toxicity of the last cycle.
        if toxicity_on == day:
            toxicity_on = NO_DAY
            courses.toxicity_day[toxicities], courses.toxicity[toxicities] = day, toxicity
            courses.toxicity_cycle[toxicities] = cycles - 1
            toxicities += 1
        # 4. Death.
        if dies and day == last:
            break

        # 6. Episodes that may hold cycles: pregnancy, no contraception, off therapy.
        if cycled and (episodes[0] == day or episodes[1] == day or episodes[2] == day):
            for kind in range(3):
                if episodes[kind] != day:
                    continue
                since = -1
                if switched[kind] % 2 == 0:
                    mask |= 1 << kind
                    since = day
                else:
                    if arm.holds[mask] == YES:
                        hold_until = max(hold_until, day + arm.resume[mask])
                    mask &= ~(1 << kind)
                    if noting and not _note_hold(diary, i, kind, held_since[kind], day):
                        return full
                held_since = _set(held_since, kind, since)
                switched = _set(switched, kind, switched[kind] + 1)
                following = episode_switch(h, p, seed, trial, kind, switched[kind], day)
                episodes = _set(episodes, kind, following)

        # 7. A visit: CD4 and HIV RNA are measured.
        came = visit_on == day
        if came:
            planned = o.visit[visit]
            count = np.nan
            if arm.measures_count[planned] == YES:
                if visit - foreseen_from >= len(o.foreseen):
                    foreseen_from = visit
                    _foresee(b, p, o, visit, burst, long, fed, cycle_day)
                count = o.foreseen[visit - foreseen_from]
                measure, measured_day = count, day
            o.visits[outset.COUNT, visit] = count
            if noting:
                now_native = o.visits[outset.NATIVE, visit]
                now_burst = now_long = now_acute = now_chronic = 0.0
                if cycle_day >= 0:
                    now_burst, now_long = long_lived_from(b, p, burst, long, fed, day - cycle_day)
                    now_acute = exposure(acute, day - cycle_day, d.tau_acute)
                    now_chronic = exposure(chronic, day - cycle_day, d.tau_chronic)
                body = (now_native, now_burst, now_long, now_acute, now_chronic)
                rna = o.visits[outset.COPIES, visit] if arm.measures_rna[planned] == YES else np.nan
                if not _note_visit(diary, i, planned, day, o.viraemic_then[visit], count, rna, body):
                    return full
            visit += 1
            visit_on = o.day[visit] if visit < end_visit else NO_DAY

        # 9. The last day, on which no decision is taken any more.
        if day == last:
            break

        # 8. The dosing decision: the offer, its acceptance, the cycle.
        if cycled and (came or contact_on == day):
            now = Situation(
                day, YES, YES, YES, stopped, arm.holds[mask], hold_until,
                NO if arm.cover == YES and mask & 4 else YES,
                cycles, first_cycle, last_cycle, dose, at_dose, reduced,
                toxicity if toxicity_on == NO_DAY else 0,
                people.baseline[i], measure, measured_day, people.goal[i],
            )  # fmt: skip
            decision = decide(rules, now)

            accepted = -1
            following = decision.not_before
            if decision.action == START or decision.action == REDUCE or decision.action == ESCALATE:
                if day < offer_from:
                    following = next_decision_day(rules, _on_day(now, offer_from - 1))
                else:
                    maintenance = induction_slot(rules, now, day) == NEVER
                    if offers < OFFERS_AHEAD:
                        drawn = _draw_offers(seed, trial, number, offers, drawn, offer_chances)
                        accepted = accepts_from(h, p, offer_chances[0, offers], cycles, maintenance, day)
                    else:
                        accepted = accepts(h, p, seed, trial, offers, cycles, maintenance, day)
                    offers += 1
                    if accepted == 1:
                        if decision.dose != dose_known:
                            dose_known = decision.dose
                            chances, effect = toxicity_chances(b, dose_known), dose_effect(b, dose_known)
                        if cycles < outset.CYCLES_AHEAD:
                            k = l * outset.CYCLES_AHEAD + cycles
                            given, toxicity, delay = cycle_outcome_from(
                                b, h, o.cycles[0, k], o.cycles[1, k], o.cycles[2, k], o.cycles[3, k], chances,
                                arm.administrations,
                            )  # fmt: skip
                        else:
                            given, toxicity, delay = cycle_outcome(
                                b, h, seed, trial, number, cycles, decision.dose, arm.administrations
                            )
                        toxicity_on = day + delay if toxicity > 0 else NO_DAY
                        taken = given / arm.administrations
                        now_native = native(
                            o.virus[outset.N_START, stretch], o.virus[outset.N_TARGET, stretch],
                            o.virus[outset.N_RATE, stretch], day - o.stretch[stretch],
                        )  # fmt: skip
                        if cycle_day >= 0:
                            burst, long = long_lived_from(b, p, burst, long, fed, day - cycle_day)
                            acute = exposure(acute, day - cycle_day, d.tau_acute)
                            chronic = exposure(chronic, day - cycle_day, d.tau_chronic)
                        felt = effect
                        if given != arm.administrations:
                            felt = dose_effect(b, decision.dose * taken)
                        burst += rise_from(b, p, felt, now_native, now_native + burst + long)
                        fed = fed_by_burst(b, p, burst)
                        acute += decision.dose * taken / 7.5
                        chronic += decision.dose * taken / 7.5
                        cycle_day, foreseen_from = day, NOT_FORESEEN
                        if noting and not _note_cycle(
                            diary, i, day, decision.dose, given, maintenance, decisions, toxicity,
                            day + delay,
                        ):  # fmt: skip
                            return full
                        at_dose = at_dose + 1 if decision.dose == dose and cycles > 0 else 1
                        if decision.action == REDUCE:
                            reduced = YES
                        if first_cycle < 0:
                            first_cycle = day
                        dose, last_cycle = decision.dose, day
                        courses.day[cycles], courses.dose[cycles], courses.given[cycles] = day, dose, given
                        courses.action[cycles] = decision.action
                        courses.body[0, cycles], courses.body[1, cycles] = burst, long
                        courses.body[2, cycles], courses.body[3, cycles] = acute, chronic
                        cycles += 1
                    else:
                        offer_from = day + h.offer_again
                    following = next_decision_day(
                        rules,
                        _after(
                            now,
                            max(day, offer_from - 1),
                            cycles,
                            first_cycle,
                            last_cycle,
                            dose,
                            at_dose,
                            reduced,
                        ),
                    )
            elif decision.action == STOP:
                stopped = YES
            contact_on = NO_DAY
            if following > day:
                if contacts < OFFERS_AHEAD:
                    drawn = _draw_offers(seed, trial, number, contacts, drawn, offer_chances)
                    contact_on = following + contact_delay_from(h, offer_chances[1, contacts])
                else:
                    contact_on = following + contact_delay(h, seed, trial, number, contacts)
                contacts += 1
            decisions += 1
            if noting and not _note_decision(diary, i, rules, now, accepted):
                return full

    if noting:
        for kind in range(3):
            if held_since[kind] >= 0 and not _note_hold(diary, i, kind, held_since[kind], -1):
                return full
    return cycles, toxicities, True


@njit(forceinline=True, borrows=True, inner=True)
def _clear(outcomes, i):
    """Nothing has happened yet to participant i (who may have been walked before, with a diary that was too
    small)."""
    outcomes.diseases[i, :] = -1
    outcomes.grade4[i] = -1
    outcomes.at_landmark[i, :] = np.nan
    outcomes.landmark_cycle[i, :] = -1
    outcomes.landmark_day[i, :] = -1


@njit
def traits(kernel, people, rows, seed, trial):
    """The traits that nobody can measure, shape (rows, 5): level of native cells, response, half-life of the
    long-lived cells (days), willingness, frailty."""
    out = np.empty((len(rows), 5))
    for k in range(len(rows)):
        i = rows[k]
        p = person(
            kernel.biology, kernel.dials, kernel.habits, seed, trial, people.number[i], people.count[i],
            people.nadir[i], people.age[i], people.female[i], people.prior_aids[i], people.viraemic[i],
            people.log10_level[i],
        )  # fmt: skip
        out[k, 0], out[k, 1], out[k, 2] = p.native_level, p.response, 0.6931471805599453 / p.loss_long_lived
        out[k, 3], out[k, 4] = p.willingness, p.frailty
    return out


@njit(forceinline=True, borrows=True, inner=True)
def _tally(arm, plan, o, courses, cycles, toxicities, l, i, last, died, outcomes):
    """What participant i comes to by the last day: visits, measurements, cycles, toxicity. Death precedes
    visits and cycles on its day, toxicity precedes death."""
    until = last - 1 if died else last
    given = escalations = reductions = injections = 0
    dose_total = first_dose = last_dose = 0.0
    while given < cycles and courses.day[given] <= until:
        last_dose = courses.dose[given]
        first_dose = last_dose if given == 0 else first_dose
        injections += courses.given[given]
        dose_total += courses.given[given] * last_dose
        reductions += 1 if courses.action[given] == REDUCE else 0
        escalations += 1 if courses.action[given] == ESCALATE else 0
        given += 1
    outcomes.cycles[i], outcomes.injections[i], outcomes.dose_total[i] = given, injections, dose_total
    outcomes.first_dose[i], outcomes.last_dose[i] = first_dose, last_dose
    outcomes.escalations[i], outcomes.reductions[i] = escalations, reductions
    for k in range(toxicities):
        day = courses.toxicity_day[k]
        if courses.toxicity[k] == 4 and day <= last and not 0 <= outcomes.grade4[i] <= day:
            outcomes.grade4[i] = day

    visit, end = o.first_visit[l], o.first_visit[l + 1]
    first, counts, rnas = visit, 0, 0
    count_sum, rna_product, rna_sum = 0.0, 1.0, 0.0
    while visit < end and o.day[visit] <= until:
        planned = o.visit[visit]
        if arm.measures_count[planned] == YES:
            counts += 1
            count_sum += o.visits[outset.COUNT, visit]
        if arm.measures_rna[planned] == YES:
            rnas += 1
            # A product of values needs one logarithm for many; it is taken before it can overflow.
            rna_product *= max(o.visits[outset.COPIES, visit], plan.rna_limit)
            if rna_product > 1e290:
                rna_sum += log(rna_product) / LN_10
                rna_product = 1.0
        visit += 1
    outcomes.visits[i], outcomes.counts[i], outcomes.rnas[i] = visit - first, counts, rnas
    outcomes.count_sum[i] = count_sum
    outcomes.rna_sum[i] = rna_sum + log(rna_product) / LN_10
    if len(plan.landmarks) > 0:
        _look_up(arm, plan, o, courses, given, first, visit, i, outcomes)


@njit(borrows=True, inner=True)
def _look_up(arm, plan, o, courses, cycles, first, end, i, outcomes):
    """The CD4 measurement nearest to each landmark, of the visits first .. end - 1; the earlier of two."""
    done = 0
    for visit in range(first, end):
        day = o.day[visit]
        # A visit comes before the cycle that is given at it.
        while done < cycles and courses.day[done] < day:
            done += 1
        if arm.measures_count[o.visit[visit]] != YES:
            continue
        for k in range(len(plan.landmarks)):
            distance = abs(day - plan.landmarks[k])
            kept = outcomes.landmark_day[i, k]
            if distance > plan.landmark_reach or (kept >= 0 and distance >= abs(kept - plan.landmarks[k])):
                continue
            outcomes.at_landmark[i, k] = o.visits[outset.COUNT, visit]
            outcomes.landmark_day[i, k] = day
            outcomes.landmark_cycle[i, k] = day - courses.day[done - 1] if done > 0 else -1


@njit(forceinline=True, borrows=True, inner=True)
def _draw_offers(seed, trial, number, index, drawn, chances):
    """Draw ahead until the chances of offer or contact `index` (below OFFERS_AHEAD) are there: uniforms and
    unit exponentials. Returns how many are there, of which `drawn` were already."""
    while index >= drawn:
        uniforms, exponentials = chances[0, drawn:], chances[1, drawn:]
        uniform_indices(seed, OFFER, number, trial, drawn, OFFERS_AT_ONCE, uniforms, exponentials)
        exponential_quantiles(exponentials, exponentials, OFFERS_AT_ONCE)
        drawn += OFFERS_AT_ONCE
    return drawn


@njit(forceinline=True, borrows=True, inner=True)
def _foresee(b, p, o, visit, burst, long, fed, cycle_day):
    """The counts that are measured at the next visits if no cycle comes between, into `o.foreseen`: worked
    out together, as many as there is room for (those past the participant's last visit mean nothing)."""
    native_cells, noise, foreseen = o.visits[outset.NATIVE], o.visits[outset.NOISE], o.foreseen
    first = np.uint64(visit)
    # The length of an array, for of a number that the compiler knows to be small it makes a plain loop.
    for k in range(min(np.uint64(len(foreseen)), np.uint64(len(o.day)) - first)):
        days = whole_number(o.day[first + k] - cycle_day)
        now_burst, now_long = long_lived_from(b, p, burst, long, fed, days)
        foreseen[k] = measured_count_from(b, native_cells[first + k] + now_burst + now_long, noise[first + k])


@njit(forceinline=True, inner=True)
def _set(three, position, value):
    """The three numbers with one of them replaced."""
    return (
        value if position == 0 else three[0],
        value if position == 1 else three[1],
        value if position == 2 else three[2],
    )


@njit(forceinline=True, inner=True)
def _on_day(now, day):
    """The same situation on another day."""
    return _after(
        now,
        day,
        now.cycles,
        now.first_cycle_day,
        now.last_cycle_day,
        now.dose,
        now.cycles_at_dose,
        now.reduced,
    )


@njit(forceinline=True, inner=True)
def _after(now, day, cycles, first_cycle, last_cycle, dose, at_dose, reduced):
    """The situation after an offer, on `day`."""
    return Situation(
        day, now.randomized, now.assigned, now.in_follow_up, now.stopped, now.hold, now.hold_until, now.cover,
        cycles, first_cycle, last_cycle, dose, at_dose, reduced, now.toxicity, now.baseline, now.measure,
        now.measured_day, now.goal,
    )  # fmt: skip


# --- the diary ----------------------------------------------------------------------------------------------


@njit(borrows=True, inner=True)
def _note_visit(diary, i, visit, day, viraemic, count, rna, body):
    row = diary.used[VISIT_ROWS]
    if row >= diary.visits.shape[0]:
        return False
    diary.used[VISIT_ROWS] = row + 1
    whole, real = diary.visits[row], diary.visits_values[row]
    whole[0], whole[1], whole[2], whole[3] = i, visit, day, viraemic
    real[0], real[1] = count, rna
    real[2], real[3], real[4], real[5], real[6] = body
    return True


@njit(borrows=True, inner=True)
def _note_decision(diary, i, rules, now, accepted):
    # Decided once more, so that the walk need not find a reason that nobody reads.
    decision = decide(rules, now)
    row = diary.used[DECISION_ROWS]
    if row >= diary.decisions.shape[0]:
        return False
    diary.used[DECISION_ROWS] = row + 1
    whole, real = diary.decisions[row], diary.decisions_values[row]
    whole[0], whole[1], whole[2], whole[3], whole[4] = (
        i,
        now.day,
        decision.action,
        decision.reason,
        decision.not_before,
    )
    whole[5], whole[6], whole[7], whole[8] = decision.unknown, accepted, now.measured_day, now.cycles
    whole[9], whole[10], whole[11], whole[12] = now.toxicity, now.hold, now.hold_until, now.cover
    whole[13], whole[14], whole[15] = now.stopped, now.first_cycle_day, now.last_cycle_day
    whole[16], whole[17] = now.cycles_at_dose, now.reduced
    real[0], real[1], real[2] = decision.dose, now.measure, now.dose
    return True


@njit(borrows=True, inner=True)
def _note_cycle(diary, i, day, dose, given, maintenance, decision, toxicity, toxicity_day):
    row = diary.used[CYCLE_ROWS]
    if row >= diary.cycles.shape[0]:
        return False
    diary.used[CYCLE_ROWS] = row + 1
    whole = diary.cycles[row]
    whole[0], whole[1], whole[2], whole[3], whole[4] = i, day, given, maintenance, decision
    whole[5], whole[6] = toxicity, toxicity_day
    diary.cycles_values[row, 0] = dose
    return True


@njit(borrows=True, inner=True)
def _note_hold(diary, i, kind, since, until):
    row = diary.used[HOLD_ROWS]
    if row >= diary.holds.shape[0]:
        return False
    diary.used[HOLD_ROWS] = row + 1
    whole = diary.holds[row]
    whole[0], whole[1], whole[2], whole[3] = i, kind, since, until
    return True
