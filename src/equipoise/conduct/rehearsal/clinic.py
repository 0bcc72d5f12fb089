"""One virtual participant at a real site: screened, randomised, seen at visits, dosed as the system proposes
and the virtual investigator accepts.

What happens in the body comes from the walk of the simulation (`equipoise.simulate.reference.steps`), in the
arm that the system allocated. What the clinic knows is kept here a second time, apart from the system: from
it follows what the rules must propose, and which decisions a later correction must flag.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

import numpy as np

from equipoise.conduct.rehearsal.client import Client, Line, Refusal, Staff
from equipoise.conduct.rehearsal.faults import Fault, Faults
from equipoise.conduct.rehearsal.people import Candidate
from equipoise.protocol.criteria import Value
from equipoise.protocol.model import Item
from equipoise.rules.dosing import decide
from equipoise.rules.schedule import PlannedVisit, visits
from equipoise.rules.terms import ACTIONS, Decision, Situation, starts
from equipoise.rules.truth import YES
from equipoise.simulate.assemble import STATUS, event_terms
from equipoise.simulate.enrolment import Enrolment
from equipoise.simulate.plans import EPISODE_ITEMS, ArmSetup, Setup
from equipoise.simulate.reference import (
    Answered,
    Asked,
    Course,
    Ended,
    Episode,
    Happened,
    Measured,
    Step,
    VisitPlan,
    Walk,
    steps,
)
from equipoise.simulate.trial import BACKGROUND4, CYCLE3, CYCLE4, DIED_OF, LOST, OD, WITHDREW
from equipoise.virtual import latent

ARRIVALS, DAY, ALLOCATIONS, AFTERWARDS = range(4)
"""Parts of a day. Arrivals and allocations go one after the other, in the order of the candidates; in the
other parts everybody is busy at once."""
IN_TURN: Final = frozenset({ARRIVALS, ALLOCATIONS})

OFF_THERAPY = 4
"""Bit of the mask of episodes."""
MENDED = "transcription error"
ARRIVED = "new information"
WHY_LEFT = {LOST: "could not be reached any more", WITHDREW: "withdrew consent"}
TIMES_OF_DAY = ("08:00", "20:00", "12:00", "16:00", "22:00", "06:00")
SERIOUS_BECAUSE = {OD: "medically important", DIED_OF: "death", BACKGROUND4: "life-threatening",
                   CYCLE4: "life-threatening"}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Who works at a site."""

    coordinator: Staff
    colleague: Staff
    """A second coordinator."""
    investigator: Staff


@dataclass(frozen=True)
class World:
    """What all virtual participants of a rehearsal share."""

    setup: Setup
    enrolment: Enrolment
    seed: int
    trial: int
    sites: Mapping[int, Site]
    faults: bool
    asked: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    """Items of each form, as the system first showed it."""


@dataclass
class Judged:
    """One dosing decision: what the clinic's own records demand, what the system proposed, what was done."""

    participant: str
    sequence: int
    on: date
    situation: Situation
    expected: Decision
    proposed: Decision
    accepted: str
    id: str = ""
    flagged: bool = False
    """A later correction changed what it was based on, by the clinic's own records."""
    corrected: Decision | None = None
    """What the rules say to the record as it was last corrected."""

    @property
    def same(self) -> bool:
        """Whether the system proposed what the clinic's own records demand, to the last dose."""
        return self.expected == self.proposed


Job = tuple[date, int, int, Callable[[Client], None]]


class Subject:
    """One candidate, and what is still to be done with them. Used by one thread at a time."""

    def __init__(self, world: World, who: Candidate) -> None:
        self.world, self.who = world, who
        self.protocol = world.setup.protocol
        self.site = world.sites[who.site]
        self.faults = Faults(world.seed, who.number, world.faults)
        self.number = ""
        self.arm: ArmSetup | None = None
        self.decisions: list[Judged] = []
        self.what_went_wrong: list[Fault] = []
        self.problems: list[str] = []
        self.done: dict[str, dict[str, Any]] = {}
        """Key of each request that was carried out -> its answer."""
        self.commands: dict[str, int] = {}
        self._jobs: list[Job] = []
        self._count = 0
        self._versions: dict[tuple[str, str], int] = {}
        self._measures: dict[int, float] = {}
        """Day of measurement -> result, as it stands in the record now."""
        self._mask = 0
        self._ended = False
        self._walk: Generator[Step, Decision | None, Walk] | None = None
        self._next: Step | None = None
        self._course: Course | None = None
        self._missed_told = 0
        self._seen: list[Measured] = []
        self._events: list[Happened] = []
        self._awaiting: Judged | None = None
        self._hash = ""
        self._at(who.first_day, ARRIVALS, self._arrive)

    # --- what is to be done ---

    @property
    def due(self) -> tuple[date, int] | None:
        """Day and part of the day of the next thing to do; None when all is done."""
        return (self._jobs[0][0], self._jobs[0][1]) if self._jobs else None

    def act(self, client: Client, day: date, part: int) -> None:
        """Do everything that is due in this part of this day."""
        while self._jobs and (self._jobs[0][0], self._jobs[0][1]) <= (day, part):
            _, _, _, job = heapq.heappop(self._jobs)
            job(client)

    def give_up(self, why: str) -> None:
        """Nothing more is done with this candidate: the trial refused what it had to do."""
        self.problems.append(f"{self.number or f'candidate {self.who.number + 1}'}: {why}")
        self._jobs.clear()

    @property
    def forms(self) -> int:
        """How many forms were saved, or said not to be done."""
        return len(self._versions)

    def _at(self, day: date, part: int, job: Callable[[Client], None]) -> None:
        self._count += 1
        heapq.heappush(self._jobs, (day, part, self._count, job))

    # --- requests ---

    def _do(
        self, client: Client, who: Staff, name: str, inputs: Mapping[str, Any], signed: bool = False
    ) -> dict[str, Any]:
        line = self.faults.line()
        key = self._key()
        answer = client.command(who, name, key, inputs, line, signed)
        self._note_done(name, key, answer)
        if line != "good":
            self._went_wrong(client, f"request {line}", name)
        return answer

    def _key(self) -> str:
        self._count += 1
        return f"candidate-{self.who.number:05d}-{self._count:05d}"

    def _note_done(self, name: str, key: str, answer: dict[str, Any]) -> None:
        self.done[key] = answer
        self.commands[name] = self.commands.get(name, 0) + 1

    def _went_wrong(self, client: Client, fault: str, what: str) -> None:
        self.what_went_wrong.append(Fault(self.number, client.clock.today.isoformat(), fault, what))

    def _read(self, client: Client, who: Staff, part: str) -> Any:
        return client.read(who, f"/participants/{self.number}{part}")

    # --- forms ---

    def _items(self, client: Client, kind: str, key: str) -> tuple[str, ...]:
        """What a form asks, as the system shows it."""
        arm = "" if self.arm is None else self.arm.name
        which = (kind, key if kind in ("screening", "visit") else key.split(":")[0] * (kind == "check"), arm)
        if which not in self.world.asked:
            shown = self._read(client, self.site.coordinator, f"/forms/{kind}/{key}")
            self.world.asked[which] = tuple(part["item"] for part in shown["fields"])
        return self.world.asked[which]

    def _save(
        self, client: Client, kind: str, key: str, on: date, answers: Sequence[Mapping[str, Any]],
        complete: bool = True, reason: str = "",
    ) -> None:  # fmt: skip
        inputs = {
            "participant": self.number, "kind": kind, "key": key, "done_on": on, "answers": answers,
            "version": self._versions.get((kind, key), 0), "complete": complete, "reason": reason,
        }  # fmt: skip
        if self.faults.two_at_once():
            answer = self._both(client, inputs)
        else:
            answer = self._do(client, self.site.coordinator, "form.save", inputs)
        self._versions[kind, key] = answer["version"]

    def _both(self, client: Client, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Two people save the same form at the same moment: one is first, the other is told so."""
        keys = (self._key(), self._key())
        other = Client(client.port, client.clock)
        answers: list[tuple[int, Any]] = [(0, None), (0, None)]

        def second() -> None:
            answers[1] = other.try_command(self.site.colleague, "form.save", keys[1], inputs)

        thread = threading.Thread(target=second)
        thread.start()
        answers[0] = client.try_command(self.site.coordinator, "form.save", keys[0], inputs)
        thread.join()
        other.close()
        client.sent += other.sent
        self._went_wrong(client, "two at once", "form.save")
        first = [place for place in (0, 1) if answers[place][0] == 200]
        if len(first) != 1 or answers[1 - first[0]][0] != 409:
            raise Refusal("form.save", 0, f"two people saved one form at once, and it went so: {answers}")
        answer = dict(answers[first[0]][1])
        self._note_done("form.save", keys[first[0]], answer)
        return answer

    def _not_done(self, client: Client, kind: str, key: str, reason: str) -> None:
        inputs = {
            "participant": self.number, "kind": kind, "key": key, "reason": reason,
            "version": self._versions.get((kind, key), 0),
        }  # fmt: skip
        answer = self._do(client, self.site.coordinator, "form.not_done", inputs)
        self._versions[kind, key] = answer["version"]

    def _answer(self, name: str, value: Value) -> dict[str, Any]:
        if value is None:
            return {"item": name, "missing": "not applicable"}
        item = self.protocol.items.get(name)
        if isinstance(value, bool):
            return {"item": name, "text": "yes" if value else "no"}
        if isinstance(value, str):
            return {"item": name, "text": value}
        return {"item": name, "text": as_reported(item, value), "unit": "" if item is None else item.unit}

    # --- screening ---

    def _arrive(self, client: Client) -> None:
        who = self.who
        inputs = {"site": who.site, "screened_on": who.first_day, "consent_on": who.first_day,
                  "consent_version": "1"}  # fmt: skip
        self.number = self._do(client, self.site.coordinator, "screening.start", inputs)["participant"]
        for visit, on in who.visits:
            self._at(on, DAY, partial(self._screening_form, visit, on))
        self._at(who.assessed, DAY, self._assess)

    def _screening_form(self, visit: PlannedVisit, on: date, client: Client) -> None:
        names = self._items(client, "screening", visit.id)
        answers = [self._answer(name, self.who.answers.get(name)) for name in names]
        self._save(client, "screening", visit.id, on, answers)

    def _assess(self, client: Client) -> None:
        seen = self._read(client, self.site.investigator, "/screening")
        expected = {1: "yes", 0: "no", -1: "unknown"}[self.who.eligible]
        if seen["eligible"] != expected:
            self.problems.append(
                f"{self.number} (candidate {self.who.number + 1}): eligible by the system: "
                f"{seen['eligible']}, by the simulation: {expected}"
            )
        if seen["eligible"] == "yes" and self.who.place is not None:
            inputs = {"participant": self.number, "content_sha256": seen["content_sha256"]}
            self._do(client, self.site.investigator, "eligibility.sign", inputs, signed=True)
            self._at(self.who.assessed, ALLOCATIONS, self._randomize)
            return
        reason = "not eligible" if seen["eligible"] == "no" else "what is needed is not known"
        inputs = {"participant": self.number, "reason": reason}
        self._do(client, self.site.coordinator, "screening.fail", inputs)

    def _randomize(self, client: Client) -> None:
        seen = self._read(client, self.site.coordinator, "/screening")
        strata = {one["name"]: one["level"] for one in seen["strata"] if one["confirmed"]}
        inputs = {"participant": self.number, "strata": strata}
        answer = self._do(client, self.site.coordinator, "randomize", inputs)
        arms = [arm.name for arm in self.world.setup.arms]
        self._enter(arms.index(answer["arm"]))

    def _enter(self, arm: int) -> None:
        """Randomised: from now on the walk of the simulation goes on, in this arm."""
        setup, enrolment, place = self.world.setup, self.world.enrolment, self.who.place
        assert place is not None
        self.arm = setup.arms[arm]
        people = enrolment.people
        person = latent.person(
            *setup.kernel, self.world.seed, self.world.trial, people.number[place], people.count[place],
            people.nadir[place], people.age[place], people.female[place], people.prior_aids[place],
            people.viraemic[place], people.log10_level[place],
        )  # fmt: skip
        plan = self.arm.plan
        if self.arm.regimen is not None:
            self._course = Course(
                plan.rules, plan.administrations, float(enrolment.goals[place, arm]),
                float(people.baseline[place]), plan.cover == YES,
                tuple(int(x) for x in plan.holds), tuple(int(x) for x in plan.resume),
            )  # fmt: skip
        planned = tuple(
            VisitPlan(int(day), int(earliest), int(before), count == YES, rna == YES)
            for day, earliest, before, count, rna in zip(
                plan.planned, plan.earliest, plan.before, plan.measures_count, plan.measures_rna, strict=True
            )
        )
        self._measures[0] = float(people.baseline[place])
        self._at(self.who.assessed, AFTERWARDS, self._entry_forms)
        self._walk = steps(
            setup.kernel, person, planned, self._course, int(people.end_day[place]), self.world.seed,
            self.world.trial,
        )  # fmt: skip
        self._go_on(None)

    def _entry_forms(self, client: Client) -> None:
        """The visits of the day of randomisation, on which the values at entry stand."""
        assert self.arm is not None
        screening = {visit.id for visit, _ in self.who.visits}
        for visit in visits(self.protocol, self.arm.name, 0):
            if visit.day == 0 and visit.id not in screening:
                key = f"{visit.id}:{visit.day}"
                names = self._items(client, "visit", key)
                answers = [self._answer(name, self._state(name)) for name in names]
                self._save(client, "visit", key, self._date(0), answers)

    # --- the walk ---

    def _date(self, day: int) -> date:
        return self.who.assessed + timedelta(days=day)

    def _go_on(self, decision: Decision | None) -> None:
        """Let the walk go on to what happens next, and note when that is."""
        assert self._walk is not None
        try:
            self._next = self._walk.send(decision)
        except StopIteration:
            self._next = None
            return
        day = self._next.situation.day if isinstance(self._next, Asked) else self._next.day
        self._at(self._date(day), AFTERWARDS, self._step)

    def _step(self, client: Client) -> None:
        step = self._next
        decision: Decision | None = None
        match step:
            case Measured():
                self._tell_missed(client, step.visit)
                self._visit(client, step)
            case Happened():
                self._report(client, step)
            case Episode():
                self._episode(client, step)
            case Asked():
                decision = self._decide(client, step)
            case Answered():
                self._take(client, step)
            case Ended():
                self._end(client, step)
        self._go_on(decision)

    def _state(self, name: str) -> Value:
        """How things stand today with an item that is asked at visits or before cycles: as the episodes that
        hold cycles have it; else as at entry; else as usual."""
        for kind, items in enumerate(EPISODE_ITEMS):
            if name in items:
                return items[name] if self._mask >> kind & 1 else not items[name]
        if name in self._covers():
            return not self._mask & OFF_THERAPY
        if name == "toxicity_reviewed":
            return True
        at_entry = self.who.answers.get(name)
        if at_entry is not None:
            return at_entry
        item = self.protocol.items[name]
        if item.type == "boolean":
            return False
        if item.type == "category":
            return (item.categories or ["as usual"])[0]
        low, high = item.range or (0.0, 10.0)
        return (low + high) / 2

    def _covers(self) -> set[str]:
        regimens = self.protocol.regimens
        named = [regimens[name.cover].taken for name in regimens.values() if name.cover is not None]
        return {name for name in named if name is not None}

    # --- visits ---

    def _visit(self, client: Client, seen: Measured) -> None:
        assert self.arm is not None
        self._seen.append(seen)
        setup, on = self.world.setup, self._date(seen.day)
        results = {setup.count_item: seen.count, setup.rna_item: seen.copies}
        for visit in self.arm.visits[seen.visit]:
            key = f"{visit.id}:{visit.day}"
            names = self._items(client, "visit", key)
            how = "right"
            if setup.count_item in names and not math.isnan(seen.count):
                how = self.faults.entry()
            if how != "right":
                self._went_wrong(client, how, f"{setup.count_item} of {visit.name}")
            if how == "form not done":
                self._not_done(client, "visit", key, "the samples were lost")
                continue
            answers = {
                name: self._answer(name, results[name] if name in results else self._state(name))
                for name in names
            }
            self._enter_visit(client, seen, key, on, answers, how)

    def _enter_visit(
        self, client: Client, seen: Measured, key: str, on: date, answers: dict[str, dict[str, Any]], how: str
    ) -> None:
        """Enter the form of a visit, with what goes wrong with the result that guides the doses."""
        item = self.world.setup.count_item
        right = answers.get(item)
        if right is None or math.isnan(seen.count):
            self._save(client, "visit", key, on, list(answers.values()))
            return
        first = right
        entered: float | None = self._recorded(seen.count)
        if how in ("late", "missing"):
            first = {"item": item, "missing": "awaited" if how == "late" else "unknown"}
            entered = None
        elif how.startswith("wrong"):
            low, high = self.protocol.items[item].range or (0.0, math.inf)
            entered = self.faults.wrong(seen.count, low, high)
            first = self._answer(item, entered)
        self._save(client, "visit", key, on, list({**answers, item: first}.values()))
        if entered is not None:
            self._measures[seen.day] = entered
        mend = partial(self._mend, key, on, seen, right, ARRIVED if how == "late" else MENDED)
        if how == "wrong, mended at once":
            mend(client)
        elif how in ("late", "wrong, mended later"):
            self._at(on + timedelta(days=self.faults.days_later()), DAY, mend)

    def _mend(
        self, key: str, on: date, seen: Measured, right: dict[str, Any], reason: str, client: Client
    ) -> None:
        self._save(client, "visit", key, on, [right], reason=reason)
        self._measures[seen.day] = self._recorded(seen.count)
        self._reconsider()

    def _recorded(self, count: float) -> float:
        """A result as the record has it: beyond the limits of the assay, the limit."""
        item = self.protocol.items[self.world.setup.count_item]
        low = -math.inf if item.detection_limit is None else item.detection_limit
        high = math.inf if item.range is None else item.range[1]
        return min(max(count, low), high)

    def _tell_missed(self, client: Client, before: int) -> None:
        """Say of the visits before this one that nobody came."""
        assert self.arm is not None
        attended = {seen.visit for seen in self._seen}
        for place in range(self._missed_told, before):
            if place not in attended:
                for visit in self.arm.visits[place]:
                    self._not_done(client, "visit", f"{visit.id}:{visit.day}", "did not come")
        self._missed_told = before

    # --- events and episodes ---

    def _report(self, client: Client, event: Happened) -> None:
        setup, place = self.world.setup, self.who.place
        self._events.append(event)
        people = np.full(len(self._events), place)
        terms, _ = event_terms(
            setup, self.world.enrolment, people,
            np.array([one.process for one in self._events]), np.array([one.index for one in self._events]),
            self.world.seed, self.world.trial,
        )  # fmt: skip
        processes = setup.population.file.processes
        names = {OD: "opportunistic", DIED_OF: "death", BACKGROUND4: "grade4", CYCLE4: "grade4",
                 CYCLE3: "toxicity"}  # fmt: skip
        kind = processes[names[event.process]].kind
        of_cycle = event.process in (CYCLE3, CYCLE4)
        serious = event.process != CYCLE3
        on = self._date(event.day)
        inputs: dict[str, Any] = {
            "participant": self.number,
            "kind": kind if kind in self.protocol.events else "adverse_event",
            "term": terms[-1] or kind,
            "onset": on.isoformat(),
            "grade": {OD: None, DIED_OF: 5, BACKGROUND4: 4, CYCLE4: 4, CYCLE3: 3}[event.process],
            "serious": serious,
            "serious_because": SERIOUS_BECAUSE.get(event.process, ""),
            "attributed": of_cycle if event.process not in (OD, DIED_OF) else None,
            "cycle": event.index + 1 if of_cycle else None,
            "outcome": "fatal" if event.process == DIED_OF else "recovering",
            "aware_at": f"{on.isoformat()}T10:00:00+00:00" if serious else None,
        }
        self._do(client, self.site.coordinator, "event.report", inputs)

    def _episode(self, client: Client, episode: Episode) -> None:
        self._mask ^= 1 << episode.kind
        on = self._date(episode.day)
        key = f"{on.isoformat()}:{episode.kind + 1}"
        asked = self._items(client, "update", key)
        speaking = set(EPISODE_ITEMS[episode.kind])
        if episode.kind == 2:
            speaking |= self._covers()
        answers = [self._answer(name, self._state(name)) for name in asked if name in speaking]
        if answers:
            self._save(client, "update", key, on, answers)

    # --- decisions and cycles ---

    @property
    def _regimen(self) -> str:
        """The regimen in cycles of the participant's arm."""
        assert self.arm is not None
        assert self.arm.regimen is not None
        return self.arm.regimen

    def _decide(self, client: Client, asked: Asked) -> Decision:
        """Check, ask the system what it proposes, and hold that against the clinic's own records."""
        regimen = self._regimen
        assert self._course is not None
        on = self._date(asked.situation.day)
        key = f"{regimen}:{on.isoformat()}"
        names = self._items(client, "check", key)
        self._save(client, "check", key, on, [self._answer(name, self._state(name)) for name in names])
        situation = self._known(asked.situation)
        expected = decide(self._course.rules, situation)
        shown = self._read(client, self.site.investigator, f"/proposal/{regimen}")
        proposed = decision_of(shown["decision"])
        self._hash = shown["content_sha256"]
        self._awaiting = Judged(
            self.number, len(self.decisions) + 1, on, situation, expected, proposed, "not asked"
        )
        return proposed

    def _known(self, situation: Situation) -> Situation:
        """The situation as the clinic's records have it: with the latest result that is entered."""
        day = max((one for one in self._measures if one <= situation.day), default=-1)
        return situation._replace(measure=self._measures.get(day, math.nan), measured_day=day)

    def _take(self, client: Client, answered: Answered) -> None:
        judged = self._awaiting
        assert judged is not None
        judged.accepted = {1: "yes", 0: "no", -1: "not asked"}[answered.accepted]
        self._awaiting = None
        inputs = {
            "participant": self.number, "regimen": self._regimen, "on": judged.on,
            "content_sha256": self._hash, "accepted": judged.accepted,
        }  # fmt: skip
        answer = self._do(client, self.site.investigator, "decision.take", inputs, signed=True)
        judged.id = str(answer.get("decision", ""))
        self.decisions.append(judged)
        if answered.cycle is not None:
            number = len([one for one in self.decisions if one.accepted == "yes" and starts(one.proposed)])
            after = answered.day + max(self._administration_days()) + 1
            give = partial(self._injections, number, answered.day, answered.cycle.given, answered.cycle.dose)
            self._at(self._date(after), DAY, give)

    def _administration_days(self) -> list[int]:
        cycle = self.protocol.regimens[self._regimen].cycle
        assert cycle is not None
        on = [day - 1 for day in cycle.on_days] if cycle.on_days is not None else list(range(cycle.days or 0))
        return [day for day in on for _ in range(cycle.times_per_day)]

    def _injections(self, number: int, begun: int, given: int, dose: float, client: Client) -> None:
        cycle = self.protocol.regimens[self._regimen].cycle
        assert cycle is not None
        today = (client.clock.today - self.who.assessed).days
        rows = []
        for place, offset in enumerate(self._administration_days()):
            state = "given" if place < given else "missed"
            if begun + offset > today:
                state = "planned"
            row: dict[str, Any] = {"number": place + 1, "state": state}
            if state == "given":
                hour = TIMES_OF_DAY[place % cycle.times_per_day % len(TIMES_OF_DAY)]
                row |= {"dose": dose, "time": hour if begun + offset < today else "", "place": "abdomen"}
            rows.append(row)
        inputs = {
            "participant": self.number, "regimen": self._regimen, "cycle": number, "version": 0,
            "injections": rows, "complete": all(row["state"] != "planned" for row in rows),
        }  # fmt: skip
        self._do(client, self.site.coordinator, "cycle.injections", inputs)

    def _reconsider(self) -> None:
        """After a correction: which decisions were based on something else than the record says now?"""
        for judged in self.decisions:
            now = self._known(judged.situation)
            if now != judged.situation:
                assert self._course is not None
                judged.flagged = True
                judged.corrected = decide(self._course.rules, now)

    # --- the end ---

    def _end(self, client: Client, ended: Ended) -> None:
        """What is still to be entered is entered; then the end is recorded."""
        while self._jobs:
            heapq.heappop(self._jobs)[3](client)
        assert self.arm is not None
        planned = [place for place, group in enumerate(self.arm.visits) if group[0].day <= ended.day]
        self._tell_missed(client, max(planned, default=-1) + 1)
        inputs = {
            "participant": self.number, "status": STATUS[ended.status], "on": self._date(ended.day),
            "reason": WHY_LEFT.get(ended.status, ""),
        }  # fmt: skip
        self._do(client, self.site.coordinator, "disposition.record", inputs)
        self._ended = True

    @property
    def ended(self) -> bool:
        """Whether the end of follow-up is recorded."""
        return self._ended


def as_reported(item: Item | None, value: float) -> str:
    """A number as a laboratory reports it: beyond the limits of the assay as "<50" or ">3000"."""
    if item is not None and item.detection_limit is not None and value < item.detection_limit:
        return "<" + _digits(item.detection_limit)
    if item is not None and item.range is not None and value > item.range[1]:
        return ">" + _digits(item.range[1])
    return _digits(value)


def _digits(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def decision_of(shown: Mapping[str, Any]) -> Decision:
    """A decision as the API shows it."""
    return Decision(
        int(shown["action"]), float(shown["dose"]), int(shown["not_before"]), int(shown["reason"]),
        int(shown["unknown"]),
    )  # fmt: skip


def action_word(decision: Decision) -> str:
    """The action of a decision in a word."""
    return ACTIONS[decision.action]


__all__ = [
    "IN_TURN", "Judged", "Line", "Site", "Subject", "World", "action_word", "as_reported", "decision_of",
]  # fmt: skip
