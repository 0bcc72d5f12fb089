"""From the database of a trial to its record: the same tables that a simulated trial leaves, so that analysis
and report work on both; and the ledger as data, for whoever wants to check it without the system.

The record is read a hundred participants at a time, each hundred as it stood at one moment, so that a trial
of any size needs little memory and a site that is entering data waits for a fraction of a second at most.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import polars as pl

from equipoise._atomic import new_folder
from equipoise.conduct import clock, ledger, opening
from equipoise.conduct.folder import TrialFolder
from equipoise.conduct.spreadsheets import harmless
from equipoise.errors import UserError
from equipoise.protocol.model import Protocol
from equipoise.protocol.quantities import days
from equipoise.record import Finding, Record, RecordWriter
from equipoise.record import check as find_faults
from equipoise.record.checking import counted
from equipoise.record.manifest import Provenance
from equipoise.record.schemas import ADVERSE_EVENT, PART_ROWS, PLACED_HOLD
from equipoise.rules import schedule
from equipoise.rules.eligibility import assess
from equipoise.rules.reasons import name as reason_name
from equipoise.rules.schedule import PlannedVisit
from equipoise.rules.terms import ACTIONS, ESCALATE, REDUCE, START, unknown_names
from equipoise.rules.truth import word

if TYPE_CHECKING:
    from equipoise.conduct.reading.history import Latest

CHUNK = 100
"""Participants that are read together."""
YEAR = 366
ATTENDED, LATE, MISSED = "attended", "late", "missed"
IN_FOLLOW_UP, DIED = "in follow-up", "died"
OVERRIDDEN = "overridden: "
"""Stands before the reason of a decision that is not the one which the rules proposed for that reason."""
_STARTS = (START, REDUCE, ESCALATE)
Row = tuple[Any, ...]


# --- the record ---------------------------------------------------------------------------------------------


class Exported(NamedTuple):
    """A record that was written, and what its checks found in it: what `equipoise record check` tells."""

    record: Record
    faults: tuple[Finding, ...]


def export(
    folder: str | os.PathLike[str] | TrialFolder, out: str | os.PathLike[str], *, force: bool = False
) -> Exported:
    """Write the record of a trial in conduct at `out`, as of today, and look for faults in it.

    All participants who were randomised are in it, by the arm to which they were allocated, errors of
    allocation included. What is on record goes out as it is: a value out of range that the site confirmed, a
    visit before its window, and whatever else the checks of a record find, is written and told. Raises
    UserError when `out` exists (without `force`), cannot be written, or a table would break the rules of a
    record.
    """
    trial = opening.use(folder)
    from equipoise.conduct.gateway import with_system
    from equipoise.conduct.models import Participant

    cut = clock.today(trial.zone)
    people = list(
        Participant.objects.exclude(randomized_number=None)
        .filter(randomized_on__lte=cut)
        .order_by("randomized_number")
        .values_list("id", flat=True)
    )
    numbers = {key: number for number, key in enumerate(people, start=1)}
    with RecordWriter(out, trial.protocol, Provenance(kind="conducted", data_cut=cut), force=force) as writer:
        for start in range(0, len(people), CHUNK):
            with _one_moment():
                chunk = _Chunk(trial.protocol, people[start : start + CHUNK], numbers, cut)
                tables = chunk.tables()
            for name, frame in tables.items():
                writer.append(name, frame)
        for frame in _screening(trial.protocol, numbers, cut):
            writer.append("screening", frame)
        record = writer.finish()
    faults = tuple(find_faults(record))
    said = f"{record.manifest.record_sha256}, {len(people)} randomised, {counted(faults)}"
    with_system("record.export", lambda act: act.record("export", "record", new=said))
    return Exported(record, faults)


@contextmanager
def _one_moment() -> Iterator[None]:
    """Inside the block the database is read as it stood at one moment."""
    from django.db import connection, transaction

    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _frame(protocol: Protocol, name: str, rows: Sequence[Row]) -> pl.DataFrame:
    from equipoise.record import schemas

    return pl.DataFrame(rows, schema=schemas.table(name, protocol).schema, orient="row")


class _Life(NamedTuple):
    """When and how somebody's time on record ends."""

    day: int
    status: str


class _Chunk:
    """Some participants with all that is on record of them."""

    def __init__(
        self, protocol: Protocol, people: Sequence[UUID], numbers: Mapping[UUID, int], cut: date
    ) -> None:
        from equipoise.conduct import sealing
        from equipoise.conduct.models import (
            Allocation,
            Cycle,
            Decision,
            Form,
            Hold,
            Injection,
            Participant,
        )
        from equipoise.conduct.reading.chart import charted_items
        from equipoise.conduct.reading.history import latest_reports, rows_of

        self.protocol, self.numbers, self.cut = protocol, numbers, cut
        found = Participant.objects.filter(id__in=people).select_related("site")
        self.people = sorted(found, key=lambda person: numbers[person.id])
        self.arms = {
            allocation.participant_id: sealing.open_arm(allocation)
            for allocation in Allocation.objects.filter(participant__in=people)
        }
        self.day0 = {person.id: person.randomized_on for person in self.people}
        self.forms: dict[UUID, list[Row]] = {}
        for person, *rest in Form.objects.filter(participant__in=people).values_list(
            "participant", "kind", "key", "done_on", "status"
        ):
            self.forms.setdefault(person, []).append(tuple(rest))
        self.values: dict[UUID, list[Row]] = {}
        for person, *rest in (
            rows_of(people, charted_items(protocol))
            .filter(missing="")
            .exclude(number=None)
            .values_list(
                "form__participant", "form__kind", "form__key", "form__done_on", "measured_on", "item",
                "number", "qualifier",
            )
            .iterator(chunk_size=5000)
        ):  # fmt: skip
            self.values.setdefault(person, []).append(tuple(rest))
        self.decisions = _grouped(Decision.objects.filter(participant__in=people).order_by("sequence"))
        self.cycles = _grouped(Cycle.objects.filter(participant__in=people).order_by("regimen", "number"))
        self.injections: dict[UUID, list[Any]] = {}
        for injection in Injection.objects.filter(cycle__participant__in=people).order_by("number"):
            self.injections.setdefault(injection.cycle_id, []).append(injection)
        self.events: dict[UUID, list[Latest]] = {}
        for report in latest_reports(people):
            self.events.setdefault(report.version.event.participant_id, []).append(report)
        self.holds = _grouped(Hold.objects.filter(participant__in=people).order_by("since", "id"))
        self.lives = {person.id: self._life(person) for person in self.people}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The rows of every table but screening."""
        made = {
            "participants": self._participants,
            "baseline": self._baseline,
            "visits": self._visits,
            "measurements": self._measurements,
            "decisions": self._decisions,
            "cycles": self._cycles,
            "injections": self._injections,
            "events": self._events,
            "holds": self._holds,
            "disposition": self._disposition,
        }
        return {
            name: _frame(self.protocol, name, [row for person in self.people for row in rows(person)])
            for name, rows in made.items()
        }

    def _day(self, person: Any, on: date) -> int:
        return (on - person.randomized_on).days

    def _cut_day(self, person: Any) -> int:
        return self._day(person, self.cut)

    # --- how it ends ---

    def _life(self, person: Any) -> _Life:
        death = next((each for each in self.events.get(person.id, ()) if self._terminal(each.version)), None)
        if death is not None:
            return _Life(max(0, self._day_of_death(person, death)), DIED)
        if person.ended_on is not None and person.ended_on <= self.cut:
            return _Life(max(0, self._day(person, person.ended_on)), person.ended_how)
        return _Life(self._last_contact(person), IN_FOLLOW_UP)

    def _day_of_death(self, person: Any, death: Latest) -> int:
        """The day on which follow-up ended by it, or that of its onset. Of a date that is not known to the
        day, the earliest that it can mean and on which nothing else on record is still to come; but never
        later than the death was reported."""
        from equipoise.conduct.reading.history import span

        if person.ended_how == DIED:
            return self._day(person, person.ended_on)
        assert death.died is not None
        first, _ = span(death.version.onset)
        alive = self._last_contact(person, death)
        return min(self._day(person, death.died), max(self._day(person, first), alive))

    def _terminal(self, version: Any) -> bool:
        declared = self.protocol.events.get(version.event.kind)
        return declared is not None and declared.terminal

    def _last_contact(self, person: Any, but: Latest | None = None) -> int:
        """The last day, up to the data cut, of which anything (but one event) is on record: the last day
        known alive."""
        found = [0]
        found += [self._day(person, done) for _, _, done, _ in self.forms.get(person.id, ()) if done]
        found += [
            self._day(person, taken or done) for _, _, done, taken, *_ in self.values.get(person.id, ())
        ]
        found += [decision.day for decision in self.decisions.get(person.id, ())]
        found += [
            injection.day
            for cycle in self.cycles.get(person.id, ())
            for injection in self.injections.get(cycle.id, ())
            if injection.state in ("given", "reduced")
        ]
        found += [
            self._onset(person, each.version) for each in self.events.get(person.id, ()) if each is not but
        ]
        found += [
            self._day(person, on)
            for hold in self.holds.get(person.id, ())
            for on in (hold.since, hold.until)
            if on is not None
        ]
        return max(day for day in found if day <= self._cut_day(person))

    def _onset(self, person: Any, version: Any) -> int:
        """The earliest day, not before randomisation, that the date of onset can mean; negative when it
        began before."""
        from equipoise.conduct.reading.history import span

        first, last = span(version.onset)
        if last < person.randomized_on:
            return self._day(person, last)
        return max(0, self._day(person, first))

    # --- the tables ---

    def _participants(self, person: Any) -> Iterator[Row]:
        baseline = person.baseline
        yield (
            self.numbers[person.id], person.site_id, _country(baseline, person), self.arms[person.id],
            person.screened_on, person.randomized_on, _number(baseline.get("age")),
            _text(baseline.get("sex")), *(person.strata.get(name) for name in self.protocol.strata),
        )  # fmt: skip

    def _baseline(self, person: Any) -> Iterator[Row]:
        for name, item in self.protocol.items.items():
            if not {"screening", "baseline"} & set(item.collect):
                continue
            value = person.baseline.get(name)
            number = _number(value) if item.type != "category" else None
            text = _text(value) if item.type == "category" else None
            yield self.numbers[person.id], name, number, text

    def _visits(self, person: Any) -> list[Row]:
        last, status = self.lives[person.id]
        going_on = status == IN_FOLLOW_UP
        until = self._cut_day(person) if going_on else last
        on_file = {(kind, key): (done, state) for kind, key, done, state in self.forms.get(person.id, ())}
        planned = _planned(self.protocol, self.arms[person.id], until)
        later = [visit for visit in planned if visit.day >= 0]
        first: set[str] = set()
        rows: list[Row] = []
        for visit in planned:
            key = ("visit", f"{visit.id}:{visit.day}") if visit.day >= 0 else ("screening", visit.id)
            done, state = (None, "") if visit.id in first and visit.day < 0 else on_file.get(key, (None, ""))
            first.add(visit.id)
            if done is not None and done <= self.cut:
                on = self._day(person, done)
                how = LATE if on > visit.latest and visit.day > 0 else ATTENDED
                rows.append((self.numbers[person.id], visit.name, visit.id, visit.day, on, how))
                continue
            gone = not going_on or visit.day < 0 or state == "not done"
            if visit.day <= until and (gone or schedule.is_missed(later, visit, until)):
                rows.append((self.numbers[person.id], visit.name, visit.id, visit.day, None, MISSED))
        return rows

    def _measurements(self, person: Any) -> list[Row]:
        names = {
            ("visit", f"{visit.id}:{visit.day}"): visit.name
            for visit in _planned(self.protocol, self.arms[person.id], self._cut_day(person))
        }
        names |= {
            ("screening", visit.id): visit.name
            for visit in reversed(_planned(self.protocol, self.arms[person.id], 0))
            if visit.day < 0
        }
        earliest = -days(self.protocol.eligibility.within)
        found: dict[Row, Row] = {}
        order = ("screening", "visit", "check", "update")
        for kind, key, done, taken, item, number, qualifier in sorted(
            self.values.get(person.id, ()), key=lambda row: (row[3] or row[2], order.index(row[0]), row[1])
        ):
            day = self._day(person, taken or done)
            if not earliest <= day <= self._cut_day(person):
                continue
            visit = names.get((kind, key), "")
            block = self.protocol.items[item]
            if qualifier == "<" and block.detection_limit is not None:
                number = max(number, block.detection_limit)
            found[item, day, visit] = (
                self.numbers[person.id], day, visit, item, number, block.unit, qualifier or None
            )  # fmt: skip
        return sorted(found.values(), key=lambda row: (row[1], row[3], row[2]))

    def _decisions(self, person: Any) -> Iterator[Row]:
        for decision in self.decisions.get(person.id, ()):
            if decision.on > self.cut:
                continue
            now = decision.situation
            starts = decision.action in _STARTS
            reason = reason_name(decision.reason)
            shape = self.protocol.regimens[decision.regimen].cycle
            measured = now["measure"] is not None
            yield (
                self.numbers[person.id], decision.sequence, decision.day, decision.regimen,
                ACTIONS[decision.action], decision.dose if starts else None,
                "" if shape is None else shape.dose.unit,
                OVERRIDDEN + reason if decision.override_reason else reason,
                decision.not_before if decision.not_before >= 0 else None,
                ";".join(unknown_names(decision.unknown)), decision.accepted, now["measure"],
                now["measured_day"] if measured else None, now["goal"], now["baseline"], now["cycles"],
                now["toxicity"] if now["toxicity"] >= 0 else None, decision.protocol_sha256,
            )  # fmt: skip

    def _cycles(self, person: Any) -> Iterator[Row]:
        sequence = {decision.id: decision.sequence for decision in self.decisions.get(person.id, ())}
        for cycle in self.cycles.get(person.id, ()):
            if cycle.on > self.cut:
                continue
            rows = self.injections.get(cycle.id, ())
            yield (
                self.numbers[person.id], cycle.regimen, cycle.number, cycle.day, cycle.phase, cycle.dose,
                cycle.unit, len(rows), sum(self._was_given(person, row) for row in rows),
                sequence[cycle.decision_id],
            )  # fmt: skip

    def _was_given(self, person: Any, injection: Any) -> bool:
        """Given in part or whole, on a day on which the participant was still observed."""
        return injection.state in ("given", "reduced") and injection.day <= self.lives[person.id].day

    def _injections(self, person: Any) -> Iterator[Row]:
        for cycle in self.cycles.get(person.id, ()):
            if cycle.on > self.cut:
                continue
            for row in self.injections.get(cycle.id, ()):
                yield (
                    self.numbers[person.id], cycle.regimen, cycle.number, row.number, row.day,
                    self._was_given(person, row),
                )  # fmt: skip

    def _events(self, person: Any) -> list[Row]:
        """Events since randomisation, numbered in order of their days; a death on the day on which follow-up
        ended by it."""
        began = {cycle.number: cycle.day for cycle in self.cycles.get(person.id, ())}
        found = []
        for version, _ in self.events.get(person.id, ()):
            fatal = self._terminal(version)
            day = self.lives[person.id].day if fatal else self._onset(person, version)
            if day < 0 or day > self._cut_day(person):
                continue
            cycle = version.cycle if began.get(version.cycle, day + 1) <= day else None
            kind = version.event.kind if version.event.kind in self.protocol.events else ADVERSE_EVENT
            found.append(
                (
                    day, version.event.number, kind, version.term, 5 if fatal else version.grade,
                    version.serious, version.attributed, cycle,
                )
            )  # fmt: skip
        return [
            (self.numbers[person.id], position, day, *rest, "not reviewed")
            for position, (day, _, *rest) in enumerate(sorted(found, key=lambda row: row[:2]), start=1)
        ]

    def _holds(self, person: Any) -> Iterator[Row]:
        last = self.lives[person.id].day
        for hold in self.holds.get(person.id, ()):
            if hold.since > self.cut or hold.until == hold.since:
                continue
            until = None if hold.until is None else self._day(person, hold.until)
            ended = until if until is not None and until <= last else None
            yield self.numbers[person.id], hold.hold or PLACED_HOLD, self._day(person, hold.since), ended

    def _disposition(self, person: Any) -> Iterator[Row]:
        yield self.numbers[person.id], *self.lives[person.id]


def _grouped(rows: Any) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.participant_id, []).append(row)
    return found


def _planned(protocol: Protocol, arm: str, until_day: int) -> tuple[PlannedVisit, ...]:
    """The visits of an arm to some time after a day: somebody may come before their visit is due."""
    from equipoise.conduct.reading.history import planned_visits

    return planned_visits(arm, max(0, until_day) + YEAR)


def _number(value: Any) -> float | None:
    """A number, or yes and no as 1 and 0."""
    return float(value) if isinstance(value, int | float) else None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _country(values: Mapping[str, Any], person: Any) -> str:
    """The country as it was recorded, by the name that the protocol uses; else that of the site."""
    return _text(values.get("country")) or person.site.country


def _screening(protocol: Protocol, numbers: Mapping[UUID, int], cut: date) -> Iterator[pl.DataFrame]:
    """Everybody who was screened, in order. Whoever was randomised was eligible when it was signed; of the
    others the criteria say, by what was known at the end of screening."""
    from equipoise.conduct.models import Participant

    rows: list[Row] = []
    everybody = Participant.objects.filter(screened_on__lte=cut).select_related("site").order_by("candidate")
    for person in everybody.iterator(chunk_size=500):
        number = numbers.get(person.id)
        if number is not None:
            answer, failed, country = "yes", "", _country(person.baseline, person)
        else:
            answer, failed, country = _assessed(protocol, person)
        rows.append((person.candidate, person.screened_on, country, person.site_id, answer, failed, number))
        if len(rows) == PART_ROWS:
            yield _frame(protocol, "screening", rows)
            rows = []
    yield _frame(protocol, "screening", rows)


def _assessed(protocol: Protocol, person: Any) -> tuple[str, str, str]:
    """(eligible, criteria failed, country) of somebody who was not randomised."""
    from equipoise.conduct.models import Form
    from equipoise.conduct.reading.eligibility import known

    last = (
        Form.objects.filter(participant=person).exclude(done_on=None).order_by("-done_on")
        .values_list("done_on", flat=True).first()
    )  # fmt: skip
    values, ages = known(person, max(last or person.screened_on, person.screened_on))
    found = assess(protocol, values, ages)
    return word(found.eligible), ";".join(found.failed), _country(values, person)


# --- the ledger ---------------------------------------------------------------------------------------------

LEDGER_FILE = "ledger.json"
LEDGER_PART_ROWS = 50_000
"""Entries of one Parquet file (assumed): an entry is a long row, and a part is held in memory."""
EXACT, FOR_SPREADSHEETS, CHECKPOINTS = "ledger.csv", "ledger-for-spreadsheets.csv", "checkpoints.jsonl"
_COLUMNS = (*ledger.FIELDS, "previous", "hash")
_TYPES: dict[str, Any] = {"n": pl.Int64, "site": pl.Int32, "row": pl.Int32, "reveals_arm": pl.Boolean}


@dataclass(frozen=True)
class LedgerExport:
    """What was written: entries, the hash of the last, where, and whether each entry follows the one
    before it."""

    folder: Path
    entries: int
    final_hash: str
    linked: bool


def export_ledger(
    folder: str | os.PathLike[str] | TrialFolder, out: str | os.PathLike[str], *, force: bool = False
) -> LedgerExport:
    """Write the whole ledger into the folder `out`: as CSV and Parquet, exact to the byte; as another CSV
    that is safe to open in a spreadsheet (and therefore not exact); with the signed checkpoints, and
    `ledger.json`, which holds the number of entries, the final hash, and the checksum of every file.

    An empty cell of the exact CSV is a missing value, `""` an empty text. Raises UserError when `out` exists
    (without `force`) or cannot be written.
    """
    trial = opening.use(folder)
    from equipoise.conduct.gateway import with_system
    from equipoise.conduct.models import Chain, Entry, Trial

    head = Chain.objects.get(id=1)
    entries = Entry.objects.filter(n__lte=head.n).order_by("n").values_list(*_COLUMNS)
    with new_folder(out, force=force, marker=LEDGER_FILE) as made:
        written = _write_ledger(made, entries.iterator(chunk_size=5000))
        checkpoints = trial.journal / ledger.CHECKPOINTS
        if checkpoints.exists():
            shutil.copyfile(checkpoints, made / CHECKPOINTS)
        files = sorted(file for file in made.rglob("*") if file.is_file() and not file.name.startswith("."))
        told = {
            "trial": trial.name,
            "protocol_sha256": Trial.objects.get(id=1).protocol_sha256,
            "entries": written.entries,
            "final_hash": written.final_hash,
            "linked": written.linked,
            "public_key": ledger.public_key(trial),
            "files": {str(file.relative_to(made)): _checksum(file) for file in files},
        }
        (made / LEDGER_FILE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if (written.entries, written.final_hash) != (head.n, head.hash):
        raise UserError(
            f"{out}: the ledger is exported, but it does not end as its head says ({head.n} entries, "
            f"{written.entries} found): run `equipoise conduct verify`"
        )
    with_system(
        "ledger.export",
        lambda act: act.record("export", "ledger", new=f"{written.entries} entries, {written.final_hash}"),
    )
    return LedgerExport(Path(out), written.entries, written.final_hash, written.linked)


class _Written(NamedTuple):
    entries: int
    final_hash: str
    linked: bool


def _write_ledger(made: Path, entries: Iterator[Row]) -> _Written:
    """The files of the ledger, in one pass."""
    count, linked, part = 0, True, 0
    last: Any = ledger.FIRST
    waiting: list[Row] = []
    (made / "parquet").mkdir()
    with (
        (made / EXACT).open("w", encoding="utf-8", newline="") as exact,
        (made / FOR_SPREADSHEETS).open("w", encoding="utf-8", newline="") as safe,
    ):
        for file in (exact, safe):
            file.write(",".join(_COLUMNS) + "\r\n")
        for entry in entries:
            row = tuple(
                value if value is None or isinstance(value, bool | int) else _plain(value) for value in entry
            )
            linked &= row[-2] == last
            count, last = count + 1, row[-1]
            exact.write(",".join(_cell(value) for value in row) + "\r\n")
            safe.write(",".join(_cell(harmless(value)) for value in row) + "\r\n")
            waiting.append(row)
            if len(waiting) == LEDGER_PART_ROWS:
                _write_part(made, part, waiting)
                part, waiting = part + 1, []
        if waiting or not part:
            _write_part(made, part, waiting)
    return _Written(count, last, linked)


def _plain(value: Any) -> str:
    return ledger.utc(value) if hasattr(value, "astimezone") else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int):
        return str(value).lower()
    return '"' + value.replace('"', '""') + '"'


def _write_part(made: Path, part: int, rows: Sequence[Row]) -> None:
    schema = {name: _TYPES.get(name, pl.String) for name in _COLUMNS}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame.write_parquet(made / "parquet" / f"part-{part:05d}.parquet", compression="zstd")


def _checksum(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


__all__ = ["Exported", "LedgerExport", "export", "export_ledger"]
