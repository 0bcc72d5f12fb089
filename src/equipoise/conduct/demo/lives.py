"""One fictitious participant in the hands of a clinic: each thing that happens to the virtual person is
entered, and each decision is the one that the system proposes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from equipoise.conduct import clock
from equipoise.conduct.demo import cast
from equipoise.conduct.demo.candidates import TRIAL, Candidate, answer
from equipoise.conduct.demo.cast import do
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.models import Flag, Form, Participant, Site
from equipoise.conduct.reading import eligibility, forms
from equipoise.conduct.reading.situation import proposal
from equipoise.rules.schedule import PlannedVisit
from equipoise.rules.terms import Decision, starts
from equipoise.simulate import reference
from equipoise.simulate.plans import EPISODE_ITEMS, ArmSetup, Setup
from equipoise.simulate.trial import BACKGROUND4, CYCLE3, CYCLE4, DIED, LOST, OD, WITHDREW

CONSENT_VERSION = "1.0"
FAR_DAY = 4000
SIGNED_AFTER_DAYS = 12
SIGNING = "signing"
"""What may still be done once participation has ended."""
UNSIGNED = 0.25
"""Share of forms that wait for the investigator's signature."""
DRUGS = ("tenofovir", "lamivudine", "efavirenz")
STATUS = {DIED: "died", LOST: "lost to follow-up", WITHDREW: "withdrew"}
OF_CYCLED = ("serious", "corrected", "settled", "late", "held", "corrected")
OF_OTHERS = ("withdrew", "late", "died", "incomplete")
"""What befalls the first participants, so that there is something of everything to be seen."""
LONG_ENOUGH_DAYS, SOON_DAYS = 240, 14
"""Days in the trial after which most of it can befall somebody; and a serious event."""


@dataclass
class Clinic:
    """What all participants share: the trial, the virtual population, the present moment."""

    trial: TrialFolder
    setup: Setup
    seed: int
    now: datetime
    of_cycled: list[str] = field(default_factory=lambda: list(OF_CYCLED))
    of_others: list[str] = field(default_factory=lambda: list(OF_OTHERS))

    @staticmethod
    def coordinator(site: int) -> str:
        """Who enters data at a site."""
        return cast.COORDINATORS[site - 1].lower()

    @staticmethod
    def investigator(site: int) -> str:
        """Who decides and signs at a site."""
        return cast.INVESTIGATORS[site - 1].lower()

    def arm(self, name: str) -> ArmSetup:
        """An arm as it is simulated."""
        return next(arm for arm in self.setup.arms if arm.name == name)

    def kind_of(self, process: str) -> str:
        """The protocol's event for a process of the virtual population."""
        return str(self.setup.population.file.processes[process].kind)

    def fate(self, cycled: bool, day0: date) -> str:
        """What befalls somebody who was just randomised; empty for what is usual."""
        listed = self.of_cycled if cycled else self.of_others
        needed = SOON_DAYS if listed[:1] == ["serious"] else LONG_ENOUGH_DAYS
        if listed and (self.now.date() - day0).days > needed:
            return listed.pop(0)
        return ""


class Life:
    """One participant, from consent to now."""

    def __init__(self, clinic: Clinic, candidate: Candidate, day0: datetime, number: int) -> None:
        self.clinic, self.candidate = clinic, candidate
        self.chance = random.Random(clinic.seed * 1000 + number)
        sites = list(Site.objects.filter(country=candidate.country).order_by("number"))
        self.site: Site = sites[number % len(sites)]
        self.zone = ZoneInfo(self.site.zone)
        self.day0 = day0.astimezone(self.zone).date()
        self.number = ""
        self.at = datetime.min.replace(tzinfo=self.zone)
        self.put_off: list[tuple[datetime, int, Callable[[], None]]] = []
        self.mask = 0
        self.fate = ""
        self.ended = False
        self.ends_on: int = FAR_DAY
        self.answers = dict(candidate.answers)

    # --- time ---

    def moment(self, day: int, hour: int = 10) -> datetime:
        """A time of a day since randomisation, at the site."""
        on = self.day0 + timedelta(days=day)
        return datetime.combine(on, time(hour, self.chance.randrange(60)), self.zone)

    def until(self, moment: datetime) -> Iterator[datetime]:
        """Go on to a moment, and do on the way what was put off."""
        while self.put_off and self.put_off[0][0] <= moment:
            due, _, work = heapq.heappop(self.put_off)
            self.at = max(due, self.at)
            yield self.at
            if not self.ended or work.__name__ == SIGNING:
                work()
        self.at = max(moment, self.at)
        yield self.at

    def later(self, moment: datetime, work: Callable[[], None]) -> None:
        """Put something off."""
        heapq.heappush(self.put_off, (moment, len(self.put_off) + self.chance.randrange(10**9), work))

    def today(self) -> date:
        """The day at the site."""
        return clock.today(self.site.zone)

    # --- who does ---

    def coordinate(self, command: str, **inputs: Any) -> dict[str, Any]:
        """Something that the coordinator does for this participant."""
        return do(command, self.clinic.coordinator(self.site.number), participant=self.number, **inputs)

    def investigate(self, command: str, **inputs: Any) -> dict[str, Any]:
        """Something that the investigator does for this participant."""
        return do(command, self.clinic.investigator(self.site.number), participant=self.number, **inputs)

    @property
    def participant(self) -> Participant:
        """The row of this participant, as it is now."""
        return Participant.objects.select_related("site").get(number=self.number)

    # --- from consent to randomisation ---

    def live(self) -> Iterator[datetime]:
        """Everything that happens, each thing once its time has come."""
        yield from self.screened()
        yield from self.until(self.moment(0, 8))
        found = eligibility.screening(self.participant, self.today())
        if found.eligible != "yes":
            self.coordinate("screening.fail", reason="not eligible")
            return
        if found.signature is None or not found.signed:
            self.sign_eligibility()
        strata = {one.name: one.level for one in found.strata if one.confirmed}
        self.coordinate("randomize", strata=strata)
        yield from self.followed()
        yield from self.until(self.moment(FAR_DAY))

    def screened(self) -> Iterator[datetime]:
        """The screening visits; those whose day is near are signed early."""
        lines = [line for line in self.clinic.trial.protocol.visits if line.period == "screening"]
        days = sorted((line.at[0].day, line.id) for line in lines if line.at)
        first = days[0][0] if days else -7
        yield from self.until(self.moment(first, 9))
        on = self.today()
        begun = do(
            "screening.start", self.clinic.coordinator(self.site.number), site=self.site.number,
            screened_on=on, consent_on=on, consent_version=CONSENT_VERSION,
        )  # fmt: skip
        self.number = begun["participant"]
        for day, visit in days:
            yield from self.until(self.moment(day, 11))
            self.enter("screening", visit)
        self.medicate()
        if self.moment(0) > self.clinic.now:
            yield from self.until(self.moment(days[-1][0] + 2 if days else -1, 15))
            if eligibility.screening(self.participant, self.today()).eligible == "yes":
                self.sign_eligibility()

    def sign_eligibility(self) -> None:
        """The investigator signs what the page shows."""
        found = eligibility.screening(self.participant, self.today())
        self.investigate("eligibility.sign", content_sha256=found.content_sha256)

    def medicate(self) -> None:
        """The antiretroviral drugs of this participant."""
        since = self.today() - timedelta(days=self.chance.randrange(200, 1500))
        for drug in DRUGS:
            self.coordinate("medication.save", drug=drug, started=f"{since:%Y-%m}")

    # --- entering ---

    def enter(self, kind: str, key: str, values: dict[str, Any] | None = None, **more: Any) -> None:
        """Fill in a form with what is known of the virtual person today."""
        protocol = self.clinic.trial.protocol
        known = {**self.answers, **(values or {}), forms.TOXICITY_REVIEWED: True}
        items = {
            name: forms.item_of(protocol, name) for name in forms.asked(protocol, self.participant, kind, key)
        }
        given = [
            answer(name, item, known.get(name, False))
            if name in known or item.type == "boolean"
            else {"item": name, "missing": "not done"}
            for name, item in items.items()
        ]
        saved = self.coordinate(
            "form.save", kind=kind, key=key, done_on=more.pop("done_on", self.today()), answers=given,
            version=0, complete=True, **more,
        )  # fmt: skip
        if self.chance.random() > UNSIGNED:
            form = saved["form"]

            def signing() -> None:
                self.sign(form)

            self.later(self.at + timedelta(days=SIGNED_AFTER_DAYS), signing)

    def sign(self, form: str) -> None:
        """The investigator signs a form."""
        found = Form.objects.get(id=form)
        if found.status == Form.COMPLETE:
            do(
                "form.sign", self.clinic.investigator(self.site.number), form=form,
                content_sha256=forms.content_sha256(found, self.number),
            )  # fmt: skip

    # --- after randomisation ---

    def followed(self) -> Iterator[datetime]:
        """Visits, cycles, events, as they happen to the virtual person."""
        from equipoise.conduct.reading.arms import arm_of

        arm = self.clinic.arm(arm_of(self.participant) or "")
        self.fate = self.clinic.fate(arm.regimen is not None, self.day0)
        self.befall()
        for visit in _on_day_0(self.clinic.trial, arm):
            self.enter("visit", forms.visit_key(visit))
        following = self.steps(arm)
        sent: Decision | None = None
        asked: tuple[Any, bool] | None = None
        while True:
            try:
                step = following.send(sent)
            except StopIteration:
                return
            sent = None
            day = step.situation.day if isinstance(step, reference.Asked) else step.day
            if day >= self.ends_on:
                return
            yield from self.until(self.moment(day))
            if self.ended:
                return
            if isinstance(step, reference.Asked):
                asked = self.consider(arm, step)
                sent = asked[0].decision
            elif isinstance(step, reference.Answered):
                assert asked is not None
                self.decide(arm, asked[0], asked[1], step)
            else:
                self.happen(arm, step)

    def steps(self, arm: ArmSetup) -> Any:
        """What happens to the virtual person in this arm."""
        plan, setup = arm.plan, self.clinic.setup
        visits = tuple(
            reference.VisitPlan(int(day), int(early), int(before), bool(count), bool(rna))
            for day, early, before, count, rna in zip(
                plan.planned, plan.earliest, plan.before, plan.measures_count, plan.measures_rna, strict=True
            )
        )
        course = None
        if arm.regimen is not None:
            known = proposal(self.participant, arm.regimen, self.day0).known.situation
            course = reference.Course(
                plan.rules, plan.administrations, known.goal, known.baseline, bool(plan.cover),
                tuple(int(x) for x in plan.holds), tuple(int(x) for x in plan.resume),
            )  # fmt: skip
        return reference.steps(
            setup.kernel, self.candidate.person, visits, course, FAR_DAY, self.clinic.seed, TRIAL
        )

    def happen(self, arm: ArmSetup, step: Any) -> None:
        """Enter one thing that happened."""
        if isinstance(step, reference.Measured):
            self.visited(arm, step)
        elif isinstance(step, reference.Happened):
            self.report(step)
        elif isinstance(step, reference.Episode):
            self.change_state(step)
        elif isinstance(step, reference.Ended):
            self.end(step)

    def visited(self, arm: ArmSetup, step: reference.Measured) -> None:
        """The forms of a visit."""
        setup = self.clinic.setup
        values = {setup.count_item: _whole(step.count), setup.rna_item: _whole(step.copies)}
        known = {name: value for name, value in values.items() if value is not None}
        for visit in arm.visits[step.visit]:
            self.enter("visit", forms.visit_key(visit), known)
        self.answers |= known

    def change_state(self, step: reference.Episode) -> None:
        """A state that may hold cycles begins or ends."""
        self.mask = self.mask | 1 << step.kind if step.began else self.mask & ~(1 << step.kind)
        usual = {name: not value for name, value in EPISODE_ITEMS[step.kind].items()}
        self.answers |= EPISODE_ITEMS[step.kind] if step.began else usual
        changed = {name: self.answers[name] for name in usual if name in self.clinic.trial.protocol.items}
        self.coordinate(
            "form.save", kind="update", key=f"{self.today()}:1", done_on=self.today(), version=0,
            complete=True,
            answers=[answer(name, self.clinic.trial.protocol.items[name], value)
                     for name, value in changed.items()],
        )  # fmt: skip

    # --- cycles ---

    def consider(self, arm: ArmSetup, step: reference.Asked) -> tuple[Any, bool]:
        """The check before a cycle, and what the system proposes."""
        regimen, on = str(arm.regimen), self.today()
        if step.offered and not Form.objects.filter(
            participant__number=self.number, kind="check", key=f"{regimen}:{on}"
        ):
            self.enter("check", f"{regimen}:{on}", {})
        return proposal(self.participant, regimen, on), step.offered

    def decide(self, arm: ArmSetup, found: Any, offered: bool, step: reference.Answered) -> None:
        """The investigator takes the decision that was proposed, and the participant answers."""
        if not offered:
            return
        accepted = {1: "yes", 0: "no"}.get(step.accepted, "not asked")
        self.investigate(
            "decision.take", regimen=found.regimen, on=found.on, content_sha256=found.content_sha256,
            accepted=accepted if starts(found.decision) else "not asked",
        )  # fmt: skip
        if step.cycle is not None:
            cycle = step.cycle
            self.later(self.moment(step.day + 6, 9), lambda: self.inject(found.regimen, cycle))

    def inject(self, regimen: str, cycle: reference.Given) -> None:
        """The grid of a cycle's injections, once they are over."""
        row = self.participant.cycles.filter(regimen=regimen).order_by("-number").first()
        if row is None:
            return
        planned = list(row.injections.order_by("number"))
        grid = [
            {
                "number": one.number, "state": "given" if place < cycle.given else "missed",
                **({"dose": row.dose, "time": "08:00" if place % 2 == 0 else "20:00", "place": "abdomen",
                    "symptoms": "fever" if place == 3 else ""} if place < cycle.given else {}),
            }
            for place, one in enumerate(planned)
        ]  # fmt: skip
        self.coordinate(
            "cycle.injections", regimen=regimen, cycle=row.number, version=row.version, injections=grid,
            complete=True,
        )  # fmt: skip

    # --- events and the end ---

    def report(
        self, step: reference.Happened, known_for: timedelta = timedelta(hours=3), **more: Any
    ) -> None:
        """Report a clinical event, of which the site has known for so long if it is serious."""
        clinic = self.clinic
        process = {OD: "opportunistic", BACKGROUND4: "grade4", CYCLE4: "grade4", CYCLE3: "toxicity"}
        kind = clinic.kind_of(process.get(step.process, "death"))
        block = clinic.trial.protocol.events.get(kind)
        if block is None:
            return
        of_cycle = step.process in (CYCLE3, CYCLE4)
        grade = {BACKGROUND4: 4, CYCLE4: 4, CYCLE3: 3}.get(step.process, 5 if step.process != OD else 3)
        serious = step.process != CYCLE3
        terms = block.terms or [block.label]
        # Early in the morning the site may have learned of it the evening before: then it began then.
        aware_at = clock.now() - known_for if serious else None
        onset = self.today() if aware_at is None else aware_at.astimezone(self.zone).date()
        given = {
            "kind": kind, "term": self.chance.choice(terms), "onset": onset.isoformat(),
            "grade": grade, "serious": serious, "attributed": of_cycle,
            "serious_because": "life-threatening" if serious else "",
            "action_taken": "dose reduced" if of_cycle else "none",
            "outcome": "fatal" if grade == 5 else "recovering",
            "cycle": step.index + 1 if of_cycle else None,
            "aware_at": aware_at, **more,
        }  # fmt: skip
        self.coordinate("event.report", **given)

    def end(self, step: reference.Ended) -> None:
        """The end of participation."""
        self.ended = True
        if step.status == DIED:
            self.coordinate("disposition.record", status="died", on=self.today())
            return
        reason = "no contact after three letters" if step.status == LOST else "withdrew consent"
        self.coordinate("disposition.record", status=STATUS[step.status], on=self.today(), reason=reason)

    # --- what is arranged ---

    def befall(self) -> None:
        """Arrange what is to be seen in the demonstration."""
        now = self.clinic.now
        ended = (now.astimezone(self.zone).date() - self.day0).days
        if self.fate in ("withdrew", "died"):
            self.ends_on = ended - 40
            self.later(self.moment(self.ends_on), self.withdraw if self.fate == "withdrew" else self.die)
        elif self.fate == "late":
            self.ends_on = ended - 100
        elif self.fate == "serious":
            self.later(now - timedelta(hours=2), self.serious_now)
        elif self.fate == "held":
            self.later(now - timedelta(days=16), self.hold)
        elif self.fate in ("corrected", "settled"):
            self.later(now - timedelta(days=10), self.correct)
            if self.fate == "settled":
                self.later(now - timedelta(days=4), self.settle)
        elif self.fate == "incomplete":
            self.later(now - timedelta(days=3), self.leave_incomplete)

    def withdraw(self) -> None:
        """Consent is withdrawn."""
        self.end(reference.Ended(0, WITHDREW))

    def die(self) -> None:
        """The participant dies, of a cause outside the trial."""
        self.report(reference.Happened(0, -1, 0), attributed=False, term="Death")
        self.end(reference.Ended(0, DIED))

    def serious_now(self) -> None:
        """A serious event whose clock is running."""
        self.report(reference.Happened(0, BACKGROUND4, 0), known_for=timedelta(hours=5))

    def hold(self) -> None:
        """The investigator places a hold."""
        self.investigate("hold.place", since=self.today(), reason="planned surgery on the knee")

    def correct(self) -> None:
        """The laboratory corrects a count that a decision was made on."""
        item = self.clinic.setup.count_item
        form = (
            Form.objects.filter(participant__number=self.number, kind="visit", values__item=item)
            .order_by("-done_on").first()
        )  # fmt: skip
        if form is None:
            return
        value = form.values.get(item=item)
        corrected = round((value.number or 0) * 1.3)
        self.coordinate(
            "form.save", kind="visit", key=form.key, done_on=form.done_on, version=form.version,
            complete=True, reason="source corrected",
            answers=[{"item": item, "text": str(corrected), "unit": value.unit}],
        )  # fmt: skip

    def settle(self) -> None:
        """The investigator looks at what the correction means."""
        for flag in Flag.objects.filter(decision__participant__number=self.number, settled=""):
            do(
                "flag.settle", self.clinic.investigator(self.site.number), flag=flag.id,
                text="The corrected count would have led to the same dose.",
            )  # fmt: skip

    def leave_incomplete(self) -> None:
        """The coordinator begins a form and is called away."""
        protocol = self.clinic.trial.protocol
        item = self.clinic.setup.count_item
        self.coordinate(
            "form.save", kind="update", key=f"{self.today()}:1", done_on=self.today(), version=0,
            answers=[answer(item, protocol.items[item], self.answers.get(item))],
        )  # fmt: skip


def _on_day_0(trial: TrialFolder, arm: ArmSetup) -> list[PlannedVisit]:
    from equipoise.rules.schedule import visits

    return [visit for visit in visits(trial.protocol, arm.name, 0) if visit.day == 0]


def _whole(value: float) -> float | None:
    return None if value != value else float(value)
