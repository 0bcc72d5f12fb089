"""From the loop's notes to the tables of a record.

The loop keeps numbers; here they get names, dates and units, chunk by chunk of participants, so that a trial
of any size needs the memory of one chunk. Rows are ordered by participant and day whatever the order of the
work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from equipoise.protocol import sha256
from equipoise.protocol.model import Item, Protocol
from equipoise.record.schemas import STRATUM_PREFIX
from equipoise.rules.reasons import REASONS
from equipoise.rules.schedule import PlannedVisit
from equipoise.rules.schedule import visits as planned_visits
from equipoise.rules.terms import ACTIONS, ESCALATE, REDUCE, START, unknown_names
from equipoise.simulate.enrolment import ELIGIBILITY_UNKNOWN, ELIGIBLE, Enrolment, criteria_met
from equipoise.simulate.plans import ArmSetup, Setup
from equipoise.simulate.trial import (
    BACKGROUND4,
    COMPLETED,
    CYCLE3,
    CYCLE4,
    CYCLE_ROWS,
    DECISION_ROWS,
    DIED,
    DIED_OF,
    EVENT_ROWS,
    HOLD_ROWS,
    LOST,
    OD,
    VISIT_ROWS,
    WITHDREW,
    Diary,
    Outcomes,
    traits,
)
from equipoise.virtual.baseline import Candidates, candidates
from equipoise.virtual.parameters import OrganClass, Term
from equipoise.virtual.philox import uniforms
from equipoise.virtual.streams import (
    CYCLE_CLASS,
    EVENT_CLASS,
    HISTORY,
    OPPORTUNISTIC_AGAIN,
    OPPORTUNISTIC_KIND,
)

Column = NDArray[Any]
Tables = dict[str, pl.DataFrame]

STATUS = {COMPLETED: "completed", DIED: "died", LOST: "lost to follow-up", WITHDREW: "withdrew"}


# --- who ----------------------------------------------------------------------------------------------------


def participants_table(setup: Setup, enrolment: Enrolment) -> pl.DataFrame:
    """One row per participant, numbered 1.. in order of randomisation. Age and sex as recorded at entry."""
    protocol, position = setup.protocol, enrolment.position
    first = protocol.calendar.first_randomization
    assessed = enrolment.assessed[position]
    columns = {
        "participant": pl.Series(np.arange(1, enrolment.participants + 1, dtype=np.int32)),
        "site": pl.Series(enrolment.site[position].astype(np.int32)),
        "country": _words(_countries(protocol), enrolment.country[position]),
        "arm": _words(list(protocol.arms), enrolment.arm),
        "screened_date": _dates(first, assessed - enrolment.screening[position]),
        "randomized_date": _dates(first, assessed),
        "age": pl.Series(enrolment.people.age),
        "sex": _words(["male", "female"], enrolment.people.female),
    }
    for place, name in enumerate(protocol.strata):
        columns[f"{STRATUM_PREFIX}{name}"] = _words(
            enrolment.stratum_levels[place], enrolment.levels[:, place]
        )
    return pl.DataFrame(columns)


def screening_table(setup: Setup, enrolment: Enrolment, seed: int, trial: int) -> pl.DataFrame:
    """One row per candidate, numbered in order of screening, with all criteria failed in the protocol's
    order."""
    met = criteria_met(setup, seed, trial, 0, len(enrolment.eligible))
    ids = np.array([criterion.id for criterion in setup.protocol.eligibility.criteria])
    screened = enrolment.assessed - enrolment.screening
    participant = np.zeros(len(screened), np.int32)
    participant[enrolment.position] = np.arange(1, enrolment.participants + 1)
    failed = np.full(len(screened), "", dtype=object)
    for row in np.flatnonzero((met == 0).any(axis=1)):
        failed[row] = ";".join(ids[met[row] == 0])
    eligible = np.select(
        [enrolment.eligible == ELIGIBLE, enrolment.eligible == ELIGIBILITY_UNKNOWN], [0, 2], 1
    )
    order = np.argsort(screened, kind="stable")
    return pl.DataFrame(
        {
            "candidate": np.arange(1, len(screened) + 1, dtype=np.int32),
            "date": _dates(setup.protocol.calendar.first_randomization, screened[order]),
            "country": _words(_countries(setup.protocol), enrolment.country[order]),
            "site": enrolment.site[order].astype(np.int32),
            "eligible": _words(["yes", "no", "unknown"], eligible[order]),
            "failed": pl.Series(failed[order].tolist(), dtype=pl.String),
            "participant": pl.Series(participant[order]).replace({0: None}),
        }
    )


def _countries(protocol: Protocol) -> list[str]:
    return list(protocol.simulation.accrual) if protocol.simulation is not None else []


# --- one chunk ----------------------------------------------------------------------------------------------


def chunk_tables(
    setup: Setup,
    enrolment: Enrolment,
    outcomes: Outcomes,
    diary: Diary,
    start: int,
    stop: int,
    seed: int,
    trial: int,
) -> tuple[Tables, Tables]:
    """The tables, and the truth, of the participants at positions start .. stop - 1.

    `diary` holds the notes of these participants, and nobody else's, with rows that belong to one participant
    in order of time."""
    lines = _Lines(setup, enrolment, start, stop)
    entry = _entry(setup, enrolment, start, stop, seed, trial)
    cycles, given = _cycles(setup, enrolment, outcomes, diary)
    visits = _visits(setup, enrolment, outcomes, diary, lines)
    tables: Tables = {
        "baseline": _baseline(setup.protocol, entry, start),
        "visits": visits,
        "measurements": _measurements(setup, enrolment, diary, lines, entry),
        "decisions": _decisions(setup, enrolment, diary),
        "cycles": cycles,
        "injections": _injections(setup, cycles, given),
        "events": _events(setup, enrolment, diary, seed, trial),
        "holds": _holds(setup, enrolment, diary),
        "disposition": pl.DataFrame(
            {
                "participant": np.arange(start + 1, stop + 1, dtype=np.int32),
                "day": outcomes.last_day[start:stop].astype(np.int32),
                "status": _words([STATUS[code] for code in sorted(STATUS)], outcomes.status[start:stop]),
            }
        ),
    }
    return tables, {"persons": _persons(setup, enrolment, start, stop, seed, trial), "latent": _latent(diary)}


def _entry(setup: Setup, enrolment: Enrolment, start: int, stop: int, seed: int, trial: int) -> Candidates:
    """What the participants of a chunk answered at screening: drawn again, the same numbers as at
    enrolment."""
    numbers = enrolment.people.number[start:stop]
    first = int(numbers[0])
    drawn = candidates(
        setup.population,
        setup.baseline,
        setup.protocol,
        np.uint64(seed),
        trial,
        first,
        int(numbers[-1]) - first + 1,
    )
    rows = numbers - first
    return drawn._replace(columns={name: column[rows] for name, column in drawn.columns.items()})


def _baseline(protocol: Protocol, entry: Candidates, start: int) -> pl.DataFrame:
    items = [
        name
        for name, item in protocol.items.items()
        if name in entry.columns and {"screening", "baseline"} & set(item.collect)
    ]
    n = len(next(iter(entry.columns.values())))
    values = np.full((n, len(items)), np.nan)
    texts: dict[int, Column] = {}
    for place, name in enumerate(items):
        column = entry.columns[name]
        kind = protocol.items[name].type
        if kind == "category":
            texts[place] = np.asarray(column, dtype=object)
        elif kind == "boolean":
            values[:, place] = np.where(column < 0, np.nan, column)
        else:
            limit = protocol.items[name].detection_limit
            values[:, place] = column if limit is None else np.maximum(column, limit)
    text = np.full((n, len(items)), None, dtype=object)
    for place, column in texts.items():
        text[:, place] = [word or None for word in column.tolist()]
    return pl.DataFrame(
        {
            "participant": np.repeat(np.arange(start + 1, start + n + 1, dtype=np.int32), len(items)),
            "item": _words(items, np.tile(np.arange(len(items)), n)),
            "value": pl.Series(values.ravel()).fill_nan(None),
            "text": pl.Series(text.ravel().tolist(), dtype=pl.String),
        }
    )


# --- visits and measurements --------------------------------------------------------------------------------


class _Lines:
    """The planned visits of each arm as lines of the visits table, and the participants of the chunk by
    arm."""

    def __init__(self, setup: Setup, enrolment: Enrolment, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        arm_of = enrolment.arm[start:stop]
        self.rows = [start + np.flatnonzero(arm_of == arm) for arm in range(len(setup.arms))]
        self.entry = [
            [visit for visit in planned_visits(setup.protocol, arm.name, 0) if visit.day <= 0]
            for arm in setup.arms
        ]

    def entry_days(self, arm: int, screening: Column) -> list[tuple[PlannedVisit, Column]]:
        """The visits up to randomisation with the days on which they took place: the first screening visit as
        long before as screening took, the others in proportion."""
        visits = self.entry[arm]
        first = min((visit.day for visit in visits), default=0)
        days = []
        for visit in visits:
            share = visit.day / first if first < 0 else 0.0
            days.append((visit, -np.floor(screening * share + 0.5).astype(np.int64)))
        return days


def _visits(
    setup: Setup, enrolment: Enrolment, outcomes: Outcomes, diary: Diary, lines: _Lines
) -> pl.DataFrame:
    noted = diary.visits[: diary.used[VISIT_ROWS]]
    frames = []
    for number, arm in enumerate(setup.arms):
        rows = lines.rows[number]
        k = len(rows)
        attended = np.full((k, len(arm.visits)), -1, np.int64)
        place = np.full(lines.stop - lines.start, -1, np.int64)
        place[rows - lines.start] = np.arange(k)
        mine = noted[place[noted[:, 0] - lines.start] >= 0]
        attended[place[mine[:, 0] - lines.start], mine[:, 1]] = mine[:, 2]
        last = outcomes.last_day[rows]
        screening = enrolment.screening[enrolment.position[rows]]
        for visit, on in lines.entry_days(number, screening):
            frames.append(_visit_lines(rows, visit, on, np.full(k, True), attended_always=True))
        for position, group in enumerate(arm.visits):
            for visit in group:
                on = attended[:, position]
                frames.append(_visit_lines(rows, visit, on, (visit.day <= last) | (on >= 0)))
    return pl.concat(frames).sort("participant", "planned_day", maintain_order=True)


def _visit_lines(
    rows: Column, visit: PlannedVisit, on: Column, due: Column, attended_always: bool = False
) -> pl.DataFrame:
    """Lines of one planned visit for the participants for whom it was `due`; `on` is -1 where it was
    missed."""
    rows, on = rows[due], on[due]
    missed = np.zeros(len(on), bool) if attended_always else on < 0
    status = np.where(missed, 2, np.where((on > visit.latest) & (visit.day > 0), 1, 0))
    return pl.DataFrame(
        {
            "participant": (rows + 1).astype(np.int32),
            "visit": pl.repeat(visit.name, len(on), eager=True, dtype=pl.String),
            "visit_id": pl.repeat(visit.id, len(on), eager=True, dtype=pl.String),
            "planned_day": pl.repeat(visit.day, len(on), eager=True, dtype=pl.Int32),
            "day": pl.Series(on.astype(np.int32)).set(pl.Series(missed), None),
            "status": _words(["attended", "late", "missed"], status),
        }
    )


def _measurements(
    setup: Setup, enrolment: Enrolment, diary: Diary, lines: _Lines, entry: Candidates
) -> pl.DataFrame:
    used = int(diary.used[VISIT_ROWS])
    noted, values = diary.visits[:used], diary.visits_values[:used]
    arm_of = enrolment.arm[noted[:, 0]]
    frames = []
    for place, name in enumerate((setup.count_item, setup.rna_item)):
        item = setup.protocol.items.get(name)
        if item is None:
            continue
        for number, arm in enumerate(setup.arms):
            rows = lines.rows[number]
            screening = enrolment.screening[enrolment.position[rows]]
            at_entry = [
                (visit, on) for visit, on in lines.entry_days(number, screening) if name in visit.collect
            ]
            if at_entry:
                visit, on = at_entry[-1]
                value = entry.columns[name][rows - lines.start]
                frames.append(
                    _measured(rows, on, [visit.name], np.zeros(len(rows), np.int64), name, item, value)
                )
            taken = (arm_of == number) & ~np.isnan(values[:, place])
            names = [
                next((v.name for v in group if name in v.collect), group[0].name) for group in arm.visits
            ]
            frames.append(
                _measured(
                    noted[taken, 0], noted[taken, 2], names, noted[taken, 1], name, item, values[taken, place]
                )
            )
    return pl.concat(frames).sort("participant", "day", "item", maintain_order=True)


def _measured(
    rows: Column, on: Column, names: Sequence[str], which: Column, name: str, item: Item, value: Column
) -> pl.DataFrame:
    """Measurements of one item; beyond the limits of the item the limit is reported, with its qualifier."""
    low = -np.inf if item.detection_limit is None else item.detection_limit
    high = np.inf if item.range is None else item.range[1]
    beyond = np.where(value < low, 0, np.where(value > high, 1, 2))
    known = ~np.isnan(value)
    frame = pl.DataFrame(
        {
            "participant": (rows + 1).astype(np.int32),
            "day": on.astype(np.int32),
            "visit": _words(names, which),
            "item": pl.repeat(name, len(rows), eager=True, dtype=pl.String),
            "value": np.clip(value, low, high),
            "unit": pl.repeat(item.unit, len(rows), eager=True, dtype=pl.String),
            "qualifier": _words(["<", ">", None], beyond),
        }
    )
    return frame if known.all() else frame.filter(pl.Series(known))


# --- decisions, cycles, injections --------------------------------------------------------------------------


def _decisions(setup: Setup, enrolment: Enrolment, diary: Diary) -> pl.DataFrame:
    used = int(diary.used[DECISION_ROWS])
    order = np.argsort(diary.decisions[:used, 0], kind="stable")
    whole, real = diary.decisions[:used][order], diary.decisions_values[:used][order]
    people = whole[:, 0]
    regimens = [arm.regimen or "" for arm in setup.arms]
    units = [_dose_unit(setup, arm) for arm in setup.arms]
    arm_of = enrolment.arm[people]
    masks, which = np.unique(whole[:, 5], return_inverse=True)
    starts = np.isin(whole[:, 2], (START, REDUCE, ESCALATE))
    return pl.DataFrame(
        {
            "participant": (people + 1).astype(np.int32),
            "sequence": _running(people),
            "day": whole[:, 1].astype(np.int32),
            "regimen": _words(regimens, arm_of),
            "action": _coded(ACTIONS, whole[:, 2]),
            "dose": _or_null(real[:, 0], starts),
            "unit": _words(units, arm_of),
            "reason": _coded({code: words[0] for code, words in REASONS.items()}, whole[:, 3]),
            "not_before": _or_null(whole[:, 4].astype(np.int32), whole[:, 4] >= 0),
            "unknown": _words([";".join(unknown_names(int(mask))) for mask in masks], which),
            "accepted": _words(["not asked", "no", "yes"], whole[:, 6] + 1),
            "measure": _or_null(real[:, 1], ~np.isnan(real[:, 1])),
            "measured_day": _or_null(whole[:, 7].astype(np.int32), ~np.isnan(real[:, 1])),
            "goal": pl.Series(enrolment.people.goal[people]).fill_nan(None),
            "baseline": pl.Series(enrolment.people.baseline[people]).fill_nan(None),
            "cycles": whole[:, 8].astype(np.int32),
            "toxicity": _or_null(whole[:, 9].astype(np.int32), whole[:, 9] >= 0),
            "protocol_sha256": pl.repeat(sha256(setup.protocol), used, eager=True, dtype=pl.String),
        }
    )


def _dose_unit(setup: Setup, arm: ArmSetup) -> str:
    cycle = setup.protocol.regimens[arm.regimen].cycle if arm.regimen is not None else None
    return "" if cycle is None else cycle.dose.unit


def _administration_days(setup: Setup, arm: ArmSetup) -> Column:
    """Day of each administration of a cycle, counted from its first day."""
    cycle = setup.protocol.regimens[arm.regimen].cycle if arm.regimen is not None else None
    if cycle is None:
        return np.zeros(0, np.int64)
    on = [day - 1 for day in cycle.on_days] if cycle.on_days is not None else list(range(cycle.days or 0))
    return np.repeat(np.array(on, np.int64), cycle.times_per_day)


def _cycles(
    setup: Setup, enrolment: Enrolment, outcomes: Outcomes, diary: Diary
) -> tuple[pl.DataFrame, Column]:
    """The cycles, and the administrations given of each: what was due after the end of follow-up was not."""
    used = int(diary.used[CYCLE_ROWS])
    order = np.argsort(diary.cycles[:used, 0], kind="stable")
    whole, dose = diary.cycles[:used][order], diary.cycles_values[:used][order][:, 0]
    people, arm_of = whole[:, 0], enrolment.arm[whole[:, 0]]
    given, planned = whole[:, 2].copy(), np.zeros(used, np.int64)
    for number, arm in enumerate(setup.arms):
        mine = arm_of == number
        offsets = _administration_days(setup, arm)
        planned[mine] = len(offsets)
        observed = outcomes.last_day[people[mine]] - whole[mine, 1]
        given[mine] = np.minimum(given[mine], np.searchsorted(offsets, observed, side="right"))
    frame = pl.DataFrame(
        {
            "participant": (people + 1).astype(np.int32),
            "regimen": _words([arm.regimen or "" for arm in setup.arms], arm_of),
            "cycle": _running(people),
            "day": whole[:, 1].astype(np.int32),
            "phase": _words(["induction", "maintenance"], whole[:, 3]),
            "dose": dose,
            "unit": _words([_dose_unit(setup, arm) for arm in setup.arms], arm_of),
            "administrations_planned": planned.astype(np.int32),
            "administrations_given": given.astype(np.int32),
            "decision": (whole[:, 4] + 1).astype(np.int32),
        }
    )
    return frame, arm_of


def _injections(setup: Setup, cycles: pl.DataFrame, arm_of: Column) -> pl.DataFrame:
    frames = [cycles.clear().select("participant", "regimen", "cycle").with_columns(
        number=pl.lit(0, pl.Int32), day=pl.lit(0, pl.Int32), given=pl.lit(False)
    )]  # fmt: skip
    for number, arm in enumerate(setup.arms):
        offsets = _administration_days(setup, arm)
        mine = cycles.filter(pl.Series(arm_of == number, dtype=pl.Boolean))
        if not len(offsets) or not mine.height:
            continue
        many = len(offsets)
        each = np.tile(np.arange(1, many + 1, dtype=np.int32), mine.height)
        frames.append(
            mine.select(pl.col("participant", "regimen", "cycle").repeat_by(many)).explode(
                "participant", "regimen", "cycle"
            ).with_columns(
                number=pl.Series(each),
                day=pl.Series(
                    np.repeat(mine["day"].to_numpy(), many) + np.tile(offsets, mine.height)
                ).cast(pl.Int32),
                given=pl.Series(each <= np.repeat(mine["administrations_given"].to_numpy(), many)),
            )
        )  # fmt: skip
    return pl.concat(frames).sort("participant", "cycle", "number")


# --- events and holds ---------------------------------------------------------------------------------------


def _events(setup: Setup, enrolment: Enrolment, diary: Diary, seed: int, trial: int) -> pl.DataFrame:
    """Clinical events, each with its term drawn from the person's own stream. Opportunistic disease, death
    and grade 4 (life-threatening) are serious by definition (ICH E2A)."""
    file = setup.population.file
    whole = diary.events[: diary.used[EVENT_ROWS]]
    kinds = {
        OD: file.processes["opportunistic"].kind,
        DIED_OF: file.processes["death"].kind,
        BACKGROUND4: file.processes["grade4"].kind,
        CYCLE4: file.processes["grade4"].kind,
        CYCLE3: file.processes["toxicity"].kind,
    }
    whole = whole[
        np.isin(whole[:, 2], [code for code, kind in kinds.items() if kind in setup.protocol.events])
    ]
    whole = whole[np.lexsort((whole[:, 2], whole[:, 1], whole[:, 0]))]
    people, process, index = whole[:, 0], whole[:, 2], whole[:, 3]
    terms, again = event_terms(setup, enrolment, people, process, index, seed, trial)
    of_cycle = (process == CYCLE4) | (process == CYCLE3)
    return pl.DataFrame(
        {
            "participant": (people + 1).astype(np.int32),
            "event": _running(people),
            "day": whole[:, 1].astype(np.int32),
            "kind": _coded(kinds, process),
            "term": pl.Series(terms, dtype=pl.String),
            "grade": _coded_numbers({OD: None, DIED_OF: 5, BACKGROUND4: 4, CYCLE4: 4, CYCLE3: 3}, process),
            "serious": process != CYCLE3,
            "attributed": pl.Series(of_cycle).set(pl.Series((process == OD) | (process == DIED_OF)), None),
            "cycle": _or_null((index + 1).astype(np.int32), of_cycle),
            "adjudication": _words(
                ["not reviewed", "confirmed", "recurrence"],
                ((process == OD) | (process == DIED_OF)) * 1 + again,
            ),
        }
    )


def event_terms(
    setup: Setup, enrolment: Enrolment, people: Column, process: Column, index: Column, seed: int, trial: int
) -> tuple[list[str], Column]:
    """The condition or organ class of each event, by the weights of the population, and whether it is a
    recurrence (0, 1): an opportunistic disease that the person had before, before entry or in the trial.

    `people`: positions in order of randomisation; a person's opportunistic diseases in order of time. Of
    those with an AIDS illness before entry, a share `od_again` get the same one again; otherwise it may come
    back by chance."""
    file = setup.population.file
    weights: Mapping[int, tuple[int, int, list[float], Mapping[str, Term | OrganClass]]] = {
        OD: (OPPORTUNISTIC_KIND, 0, [row.weight for row in file.opportunistic_terms.values()],
             file.opportunistic_terms),
        BACKGROUND4: (EVENT_CLASS, 0, [row.background for row in file.grade4_terms.values()],
                      file.grade4_terms),
        CYCLE4: (CYCLE_CLASS, 0, [row.cycle for row in file.grade4_terms.values()], file.grade4_terms),
        CYCLE3: (CYCLE_CLASS, 1, [row.weight for row in file.grade3_terms.values()], file.grade3_terms),
    }  # fmt: skip
    edges = {
        (code, female): np.cumsum(
            [0.0 if row.only == "female" and not female else each
             for each, row in zip(shares, terms.values(), strict=True)]
        )
        for code, (_, _, shares, terms) in weights.items()
        for female in (0, 1)
    }  # fmt: skip
    names = {code: list(terms) for code, (_, _, _, terms) in weights.items()}

    def chosen(code: int, female: int, u: float) -> str:
        sums = edges[code, female]
        place = int(np.searchsorted(sums, u * sums[-1], side="right"))
        return names[code][min(place, len(names[code]) - 1)]

    def illness(number: int, female: int) -> str | None:
        """The AIDS illness before entry, as enrolment drew it; by the weights of the diseases in the trial
        where the baseline population does not tell which it was."""
        u = uniforms(np.uint64(seed), HISTORY, 0, number, trial)[1]
        history = setup.baseline.file.history
        if not history:
            return chosen(OD, female, u)
        sums = np.cumsum(list(history.values()))
        place = int(np.searchsorted(sums / sums[-1], u, side="right"))
        return setup.baseline.file.history_terms.get(list(history)[min(place, len(history) - 1)])

    death = setup.protocol.events.get(file.processes["death"].kind)
    again_share = setup.population.value("od_again")
    numbers, sexes, prior = (
        column[people].tolist()
        for column in (enrolment.people.number, enrolment.people.female, enrolment.people.prior_aids)
    )
    had: dict[int, set[str]] = {}
    out, again = [], np.zeros(len(people), np.int64)
    for row, (code, occurrence) in enumerate(zip(process.tolist(), index.tolist(), strict=True)):
        if code == DIED_OF:
            out.append("" if death is None else death.label)
            continue
        number, female = numbers[row], sexes[row]
        purpose, which, _, _ = weights[code]
        term = chosen(code, female, uniforms(np.uint64(seed), purpose, occurrence, number, trial)[which])
        if code == OD:
            before = illness(number, female) if prior[row] else None
            if number not in had:
                had[number] = set() if before is None else {before}
            u = uniforms(np.uint64(seed), OPPORTUNISTIC_AGAIN, occurrence, number, trial)[0]
            if before is not None and u < again_share:
                term = before
            again[row] = term in had[number]
            had[number].add(term)
        out.append(term)
    return out, again


def _holds(setup: Setup, enrolment: Enrolment, diary: Diary) -> pl.DataFrame:
    whole = diary.holds[: diary.used[HOLD_ROWS]]
    rows = []
    for person, kind, since, until in whole.tolist():
        for hold in setup.arms[int(enrolment.arm[person])].held[1 << kind]:
            rows.append((person + 1, hold, since, until if until >= 0 else None))
    return pl.DataFrame(
        rows,
        schema={"participant": pl.Int32, "hold": pl.String, "from_day": pl.Int32, "to_day": pl.Int32},
        orient="row",
    ).sort("participant", "from_day", "hold")


# --- the truth ----------------------------------------------------------------------------------------------


def _persons(
    setup: Setup, enrolment: Enrolment, start: int, stop: int, seed: int, trial: int
) -> pl.DataFrame:
    """What nobody could measure: true count, nadir and virus at entry, traits, frailty."""
    people = enrolment.people
    hidden = traits(setup.kernel, people, np.arange(start, stop), np.uint64(seed), trial)
    return pl.DataFrame(
        {
            "participant": np.arange(start + 1, stop + 1, dtype=np.int32),
            "person": people.number[start:stop],
            "true_count": people.count[start:stop],
            "nadir": people.nadir[start:stop],
            "viraemic": people.viraemic[start:stop] == 1,
            "log10_level": people.log10_level[start:stop],
            "native_level": hidden[:, 0],
            "response": hidden[:, 1],
            "half_life_days": hidden[:, 2],
            "willingness": hidden[:, 3],
            "frailty": hidden[:, 4],
        }
    )


def _latent(diary: Diary) -> pl.DataFrame:
    """The true count by origin, the virus and the exposure to cycles on the day of each attended visit."""
    used = int(diary.used[VISIT_ROWS])
    whole, real = diary.visits[:used], diary.visits_values[:used]
    order = np.lexsort((whole[:, 2], whole[:, 0]))
    whole, real = whole[order], real[order]
    return pl.DataFrame(
        {
            "participant": (whole[:, 0] + 1).astype(np.int32),
            "day": whole[:, 2].astype(np.int32),
            "viraemic": whole[:, 3] == 1,
            "native": real[:, 2],
            "burst": real[:, 3],
            "long_lived": real[:, 4],
            "acute_exposure": real[:, 5],
            "chronic_exposure": real[:, 6],
        }
    )


# --- small helpers ------------------------------------------------------------------------------------------


def _words(names: Sequence[str | None], codes: Column) -> pl.Series:
    """The names at these positions; -1 gives null."""
    words = pl.Series(names, dtype=pl.String)
    codes = np.asarray(codes, np.int64)
    if len(codes) and codes.min() < 0:
        return words.gather(pl.Series(np.where(codes < 0, 0, codes))).set(pl.Series(codes < 0), None)
    return words.gather(pl.Series(codes, dtype=pl.Int64))


def _coded(words: Mapping[int, str], codes: Column) -> pl.Series:
    """The word of each code."""
    names: list[str | None] = [words.get(code) for code in range(max(words) + 1)]
    return _words(names, codes)


def _coded_numbers(numbers: Mapping[int, int | None], codes: Column) -> pl.Series:
    table = pl.Series([numbers.get(code) for code in range(max(numbers) + 1)], dtype=pl.Int32)
    return table.gather(pl.Series(codes, dtype=pl.Int64))


def _or_null(values: Column, known: Column) -> pl.Series:
    return pl.Series(values).set(pl.Series(~known), None)


def _running(people: Column) -> Column:
    """1, 2, ... within each run of equal values."""
    n = len(people)
    if n == 0:
        return np.zeros(0, np.int32)
    starts = np.flatnonzero(np.concatenate([[True], people[1:] != people[:-1]]))
    lengths = np.diff(np.append(starts, n))
    return (np.arange(n) - np.repeat(starts, lengths) + 1).astype(np.int32)


def _dates(first: Any, days: Column) -> pl.Series:
    return pl.Series(np.asarray(days, np.int64).astype("timedelta64[D]") + np.datetime64(first, "D"))
