"""What can be wrong with a record, found row by row.

`quick` holds what runs on every write and read: types, allowed values, keys and references. `check` adds what
the protocol and common sense demand of a trial: nothing before randomisation or after death, cycles no closer
than the minimum gap, doses between floor and ceiling, strata that agree with the baseline. Everything is
column arithmetic, so that a record of 100,000 participants is checked in seconds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from equipoise.errors import UserError
from equipoise.protocol import criteria, units
from equipoise.protocol.model import Protocol
from equipoise.protocol.nearest import listed
from equipoise.protocol.quantities import Quantity, days
from equipoise.record.schemas import STRATUM_PREFIX, Column, Table, words

if TYPE_CHECKING:
    from equipoise.record.reading import Record

SHOWN = 20
"""Findings of one kind that are listed one by one; the rest is counted."""
_ROW = "row of the table"
_AGAIN = "seen before"
_STARTS = ("start", "reduce", "escalate")
"""Actions that begin a cycle when the participant agrees."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `row` counts from 1 in `table`; `key` holds the row's key columns.

    A finding without `row` speaks of the table as a whole, or of `more` further rows like the one before it.
    """

    table: str
    message: str
    column: str = ""
    row: int | None = None
    key: Mapping[str, Any] = field(default_factory=dict)
    more: int = 0

    def __str__(self) -> str:
        place = self.table
        if self.row is not None:
            place += f" row {self.row:,}"
        if self.key:
            place += " (" + ", ".join(f"{name} {value}" for name, value in self.key.items()) + ")"
        if self.column:
            place += f", {self.column}"
        return f"{place}: {self.message}"


def counted(findings: Sequence[Finding]) -> str:
    """How many faults there are: "no faults", "1 fault", "1,204 faults"."""
    count = sum(max(1, finding.more) for finding in findings)
    return "no faults" if not count else "1 fault" if count == 1 else f"{count:,} faults"


def in_words(findings: Sequence[Finding], consequence: str, shown: int = 8) -> str:
    """Findings as one message for a user: how many, what follows from it, and the first few."""
    lines = [f"{counted(findings)} in the tables: {consequence}"]
    lines += [f"  {finding}" for finding in findings[:shown]]
    if len(findings) > shown:
        lines.append("  ... `equipoise record check DIR` lists them all")
    return "\n".join(lines)


# --- one table by itself ----------------------------------------------------------------------------------


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with exactly the table's columns, in order and type; NaN in a column that may be empty is
    empty.

    Raises UserError for a column that is missing, unknown, or not convertible without loss.
    """
    known = table.schema
    for name in frame.columns:
        if name not in known:
            raise UserError(f"{table.name}: unexpected column {name}; the columns are {', '.join(known)}")
    columns: list[pl.Series] = []
    for column in table.columns:
        if column.name not in frame.columns:
            if not column.nullable:
                raise UserError(f"{table.name}: the column {column.name} is missing")
            columns.append(pl.Series(column.name, [None], dtype=column.dtype).new_from_index(0, frame.height))
            continue
        columns.append(_converted(frame[column.name], column, table.name))
    return pl.DataFrame(columns)


def _converted(series: pl.Series, column: Column, table: str) -> pl.Series:
    found, wanted = series.dtype, column.dtype
    if found != wanted:
        convertible = (
            found == pl.Null
            or (wanted == pl.Int32 and found.is_integer())
            or (wanted == pl.Float64 and found.is_numeric())
            or (wanted == pl.String and found in (pl.Categorical, pl.Enum))
        )
        if not convertible:
            raise UserError(f"{table}: the column {column.name} has type {found}, expected {wanted}")
        try:
            series = series.cast(wanted)
        except pl.exceptions.InvalidOperationError:
            raise UserError(
                f"{table}: the column {column.name} holds numbers beyond the range of {wanted}"
            ) from None
    if wanted == pl.Float64 and column.nullable:
        series = series.fill_nan(None)
    return series


def columns(frame: pl.DataFrame, table: Table, protocol: Protocol, first_row: int = 1) -> list[Finding]:
    """Faults of single values: missing, not finite, not an allowed word, out of bounds."""
    report = _Report()
    _columns(report.on(table, first_row), frame, table, protocol)
    return report.findings()


def _columns(bad: _Faults, frame: pl.DataFrame, table: Table, protocol: Protocol) -> None:
    for column in table.columns:
        value = pl.col(column.name)
        if not column.nullable and frame[column.name].null_count():
            bad.add(frame, value.is_null(), column.name, "the value is missing")
        if column.dtype == pl.Float64 and not bool(frame[column.name].is_finite().all()):
            bad.add(
                frame,
                value.is_not_null() & ~value.is_finite(),
                column.name,
                "the value is not a finite number",
            )
        allowed = words(column, protocol)
        if allowed is not None:
            present = frame[column.name].unique().drop_nulls()
            for word in sorted(set(present) - set(allowed)):
                bad.add(frame, value == word, column.name, f'"{word}" is not one of {_list(allowed)}')
        if column.at_least is not None and not _all(frame[column.name] >= column.at_least):
            bad.add(
                frame, value < column.at_least, column.name, f"must be at least {column.at_least:g}", value
            )
        if column.at_most is not None and not _all(frame[column.name] <= column.at_most):
            bad.add(frame, value > column.at_most, column.name, f"must be at most {column.at_most:g}", value)


def _all(truths: pl.Series) -> bool:
    return bool(truths.all())


def _list(allowed: Sequence[str]) -> str:
    if not allowed:
        return "the words that the protocol knows (it has none)"
    return listed(allowed, 12)


class _Report:
    """Collects findings; of each kind a limited number is listed, the rest counted."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._kinds: Counter[tuple[str, str, str]] = Counter()

    def on(self, table: Table, first_row: int = 1) -> _Faults:
        """Where the faults of one table go; its frames begin with row `first_row`."""
        return _Faults(self, table, first_row)

    def room(self, kind: tuple[str, str, str], faults: int) -> int:
        """How many of some more faults of a kind are still to be listed."""
        room = max(0, SHOWN - self._kinds[kind])
        self._kinds[kind] += faults
        return room

    def enter(self, finding: Finding) -> None:
        """Add one finding."""
        self._findings.append(finding)

    def findings(self) -> list[Finding]:
        """What was found, and how many more there are of the kinds that were too many to list."""
        hidden = [
            Finding(table, f"{message}: {count - SHOWN:,} more rows like this", column, more=count - SHOWN)
            for (table, column, message), count in self._kinds.items()
            if count > SHOWN
        ]
        return self._findings + hidden


class _Faults:
    """Takes the rows of one table for which a condition holds into the report."""

    def __init__(self, report: _Report, table: Table, first_row: int) -> None:
        self._report, self._table, self._first_row = report, table, first_row

    def add(
        self, frame: pl.DataFrame, bad: pl.Expr, column: str, message: str, shown: pl.Expr | None = None
    ) -> None:
        """Report the rows where `bad` is true; `shown` is put behind the message as the value found."""
        if _ROW not in frame.columns:
            frame = frame.with_row_index(_ROW, offset=self._first_row)
        rows = frame.filter(bad)
        if rows.is_empty():
            return
        first = rows.head(self._report.room((self._table.name, column, message), rows.height))
        values: list[Any] = [None] * first.height
        if shown is not None:
            values = first.select(shown.alias("shown"))["shown"].to_list()
        keys = [name for name in self._table.key if name in first.columns]
        for row, value in zip(first.iter_rows(named=True), values, strict=True):
            words_for_value = f" (found {_plain(value)})" if shown is not None else ""
            key = {name: _plain(row[name]) for name in keys}
            self._report.enter(Finding(self._table.name, message + words_for_value, column, row[_ROW], key))

    def say(self, message: str, column: str = "", **key: Any) -> None:
        """Report something about one key, or about the table as a whole."""
        if self._report.room((self._table.name, column, message), 1):
            self._report.enter(Finding(self._table.name, message, column, key=key))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- the quick part: every write, every read ---------------------------------------------------------------


def quick(record: Record) -> list[Finding]:
    """Types, allowed values, keys, references, and row counts against the manifest.

    Goes through each table once, in parts, keeping only the last participant of the part before.
    """
    report = _Report()
    for name in record.tables:
        table = record.schema(name)
        rows, carried, ordered = 0, table.empty().select(table.key), True
        for chunk in record.chunks(name):
            bad = report.on(table, first_row=rows + 1)
            _columns(bad, chunk, table, record.protocol)
            _references(bad, chunk, table, record)
            ordered = ordered and _follows(carried, chunk, table)
            if ordered:
                carried = _key(bad, carried, chunk, table)
            rows += chunk.height
        if not ordered:
            _key_of_all(report.on(table), record, table)
        if rows != record.manifest.tables[name].rows:
            report.on(table).say(
                f"has {rows:,} rows, the manifest says {record.manifest.tables[name].rows:,}"
            )
    return report.findings()


def _follows(before: pl.DataFrame, chunk: pl.DataFrame, table: Table) -> bool:
    """Whether a part goes on where the part before ended, in the order of participants."""
    number = chunk[table.key[0]]
    if number.null_count() or not number.is_sorted():
        return False
    return before.is_empty() or chunk.is_empty() or bool(number[0] >= before[table.key[0]][0])


def _key(bad: _Faults, before: pl.DataFrame, chunk: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Report keys that come a second time; returns those of the last participant, for the next part."""
    keys = pl.concat([before, chunk.select(table.key)])
    if keys.n_unique() != keys.height:
        again = keys.select(pl.struct(table.key).is_first_distinct().not_())[before.height :].to_series()
        bad.add(chunk.with_columns(again.alias(_AGAIN)), pl.col(_AGAIN), "", _key_message(table))
    number = keys[table.key[0]]
    return keys.filter(number == number.max()).unique() if keys.height else keys


def _key_of_all(bad: _Faults, record: Record, table: Table) -> None:
    frame = record.scan(table.name).select(table.key).collect()
    if frame.n_unique() != frame.height:
        bad.add(frame, pl.struct(table.key).is_first_distinct().not_(), "", _key_message(table))


def _key_message(table: Table) -> str:
    return f"the key ({', '.join(table.key)}) appears a second time"


def _references(bad: _Faults, chunk: pl.DataFrame, table: Table, record: Record) -> None:
    for reference in table.references:
        number = chunk[reference.columns[0]]
        near = pl.col(reference.target[0]).is_between(number.min(), number.max())
        wanted = chunk.lazy().select(reference.columns).unique()
        target = (
            record.scan(reference.table)
            .select(reference.target)
            .filter(near)
            .join(wanted, left_on=reference.target, right_on=reference.columns, how="semi")
            .unique()
            .collect(engine="streaming")
        )
        joined = chunk.join(
            target.with_columns(pl.lit(True).alias(_AGAIN)),
            left_on=reference.columns,
            right_on=reference.target,
            how="left",
            maintain_order="left",
        )
        lost = pl.col(_AGAIN).is_null() & pl.all_horizontal(pl.col(reference.columns).is_not_null())
        if joined.select(lost.any()).item():
            message = f"there is no such row in {reference.table}"
            bad.add(joined, lost, ", ".join(reference.columns), message)


# --- everything -------------------------------------------------------------------------------------------

_BLOCK = 10_000
"""Participants that are checked together."""


class _View:
    """The rows of some participants, numbered as they are in the record."""

    def __init__(self, record: Record, report: _Report, between: pl.Expr) -> None:
        self.record, self.protocol, self._report, self._between = record, record.protocol, report, between
        self.people = self.table("participants").join(
            self.table("disposition").select(
                "participant", pl.col("day").alias("last_day"), pl.col("status").alias("ended")
            ),
            on="participant",
            how="left",
        )

    def table(self, name: str) -> pl.DataFrame:
        """The rows of a table, with their numbers."""
        return self.record.scan(name).with_row_index(_ROW, offset=1).filter(self._between).collect()

    def with_people(self, name: str, *wanted: str) -> pl.DataFrame:
        """The rows of a table with some columns of their participants."""
        return self.table(name).join(
            self.people.select("participant", *wanted), on="participant", how="left", maintain_order="left"
        )

    def faults(self, name: str) -> _Faults:
        """Where the faults of a table go."""
        return self._report.on(self.record.schema(name))


def check(record: Record | str | os.PathLike[str]) -> list[Finding]:
    """Everything that is wrong with a record, most basic first; an empty list when nothing is.

    Findings of the quick part (types, words, keys, references) come alone: the rest presupposes them.
    Raises UserError when the record cannot be opened at all.
    """
    if isinstance(record, str | os.PathLike):
        from equipoise.record.reading import read

        record = read(record, verify=False)
    basic = quick(record)
    if basic:
        return basic
    report = _Report()
    everybody = _View(record, report, pl.lit(True))
    _participants(everybody)
    _screening(everybody)
    last = everybody.people["participant"].max()
    del everybody
    for first in range(1, (last if isinstance(last, int) else 0) + 1, _BLOCK):
        view = _View(record, report, pl.col("participant").is_between(first, first + _BLOCK - 1))
        for part in (
            _disposition, _days, _visits, _measurements, _decisions, _cycles, _injections, _events, _holds,
            _strata,
        ):  # fmt: skip
            part(view)
    return report.findings()


def _participants(view: _View) -> None:
    bad = view.faults("participants")
    frame = view.table("participants")
    within = days(view.protocol.eligibility.within)
    waited = (pl.col("randomized_date") - pl.col("screened_date")).dt.total_days()
    bad.add(frame, waited < 0, "screened_date", "screened after randomisation")
    bad.add(
        frame, waited > within, "screened_date",
        f"screened more than {view.protocol.eligibility.within} before randomisation", waited,
    )  # fmt: skip
    in_order = frame.sort("participant").with_columns(
        previous=pl.col("participant").shift(1, fill_value=0), before=pl.col("randomized_date").shift(1)
    )
    bad.add(
        in_order, pl.col("participant") != pl.col("previous") + 1, "participant",
        "participants are numbered 1, 2, ... without gaps; the one before is missing",
    )  # fmt: skip
    bad.add(
        in_order, pl.col("randomized_date") < pl.col("before"), "randomized_date",
        "participants are numbered in the order of randomisation; the one before was randomised later",
    )  # fmt: skip


def _disposition(view: _View) -> None:
    bad = view.faults("disposition")
    for number in view.people.filter(pl.col("last_day").is_null())["participant"].head(SHOWN):
        bad.say("the participant has no row: say how follow-up ended", participant=number)
    terminal = [name for name, event in view.protocol.events.items() if event.terminal]
    deaths = view.table("events").filter(pl.col("kind").is_in(terminal))
    frame = (
        view.table("disposition")

        .join(
            deaths.group_by("participant").agg(died_on=pl.col("day").min()), on="participant", how="left",
            maintain_order="left",
        )
    )  # fmt: skip
    died = pl.col("status") == "died"
    bad.add(frame, died & pl.col("died_on").is_null(), "status", "died, but there is no such event")
    bad.add(
        frame,
        ~died & pl.col("died_on").is_not_null(),
        "status",
        "there is a death in events",
        pl.col("status"),
    )
    bad.add(
        frame, died & (pl.col("died_on") != pl.col("day")), "day",
        "is not the day of the death in events", pl.col("died_on"),
    )  # fmt: skip


_DATED = (
    ("visits", "day"), ("measurements", "day"), ("decisions", "day"), ("cycles", "day"), ("injections",
    "day"),
    ("events", "day"), ("holds", "from_day"), ("holds", "to_day"),
)  # fmt: skip


def _days(view: _View) -> None:
    """Nothing happens after the last day of follow-up, or after the data cut."""
    for table, column in _DATED:
        frame = view.with_people(table, "last_day", "ended", "randomized_date")
        bad = view.faults(table)
        happened = pl.col("given") if table == "injections" else pl.lit(True)
        late = happened & (pl.col(column) > pl.col("last_day"))
        died = pl.col("ended") == "died"
        bad.add(frame, late & died, column, "after death", pl.col(column))
        bad.add(frame, late & ~died, column, "after the last day of follow-up", pl.col(column))
        cut = view.record.manifest.provenance.data_cut
        if cut is not None:
            date = pl.col("randomized_date") + pl.duration(days=pl.col(column))
            bad.add(frame, happened & (date > cut), column, f"after the data cut of {cut.isoformat()}", date)


def _screening(view: _View) -> None:
    bad = view.faults("screening")
    frame = view.table("screening")
    if frame.is_empty():
        return
    eligible, failed = pl.col("eligible"), pl.col("failed")
    bad.add(frame, (eligible == "yes") & (failed != ""), "failed", "eligible, yet criteria failed", failed)
    bad.add(
        frame, (eligible == "no") & (failed == ""), "failed", "not eligible, but no failed criterion is named"
    )
    bad.add(
        frame, (eligible != "yes") & pl.col("participant").is_not_null(), "participant",
        "randomised without being eligible", eligible,
    )  # fmt: skip
    bad.add(
        frame,
        pl.col("participant").is_not_null() & ~pl.col("participant").is_first_distinct(),
        "participant",
        "randomised a second time",
    )
    known = {criterion.id for criterion in view.protocol.eligibility.criteria}
    for ids in frame["failed"].unique():
        for unknown in sorted(set(filter(None, ids.split(";"))) - known):
            bad.add(frame, failed == ids, "failed", f'the protocol has no criterion "{unknown}"')
    unscreened = view.people.join(frame.select("participant").drop_nulls(), on="participant", how="anti")
    for number in unscreened["participant"].head(SHOWN):
        bad.say("randomised without a row here", participant=number)
    both = frame.join(
        view.people.select("participant", "screened_date", pl.col("country").alias("randomised_in")),
        on="participant",
    )
    bad.add(
        both,
        pl.col("date") != pl.col("screened_date"),
        "date",
        "differs from participants",
        pl.col("screened_date"),
    )
    bad.add(
        both,
        pl.col("country") != pl.col("randomised_in"),
        "country",
        "differs from participants",
        pl.col("country"),
    )


def _visits(view: _View) -> None:
    bad = view.faults("visits")
    windows = pl.DataFrame(
        [
            {
                "visit_id": visit.id,
                "early": days(visit.window.early),
                "late": days(visit.window.late),
                "screening": visit.period == "screening",
            }
            for visit in view.protocol.visits
        ],
        schema={"visit_id": pl.String, "early": pl.Int32, "late": pl.Int32, "screening": pl.Boolean},
    )
    frame = view.table("visits").join(windows, on="visit_id", how="left", maintain_order="left")
    day, planned, missed = pl.col("day"), pl.col("planned_day"), pl.col("status") == "missed"
    bad.add(frame, missed & day.is_not_null(), "day", "missed, yet it has a day", day)
    bad.add(frame, ~missed & day.is_null(), "day", "not missed, but it has no day")
    inside = (day >= planned - pl.col("early")) & (day <= planned + pl.col("late"))
    bad.add(
        frame, (pl.col("status") == "attended") & ~inside & ~pl.col("screening"), "day",
        "attended, but the day is outside of the window", day,
    )  # fmt: skip
    bad.add(
        frame, (pl.col("status") == "late") & (day <= planned + pl.col("late")), "day",
        "late, but the day is not after the window", day,
    )  # fmt: skip
    bad.add(frame, ~pl.col("screening") & (day < 0), "day", "before randomisation", day)


def _measurements(view: _View) -> None:
    bad = view.faults("measurements")
    items = pl.DataFrame(
        [
            {
                "item": name,
                "item_unit": item.unit,
                "lowest": item.range[0] if item.range else None,
                "highest": item.range[1] if item.range else None,
                "limit": item.detection_limit,
            }
            for name, item in view.protocol.items.items()
            if item.type == "number"
        ],
        schema={
            "item": pl.String, "item_unit": pl.String, "lowest": pl.Float64, "highest": pl.Float64,
            "limit": pl.Float64,
        },
    )  # fmt: skip
    frame = view.table("measurements").join(items, on="item", how="left", maintain_order="left")
    value, exact = pl.col("value"), pl.col("qualifier").is_null()
    bad.add(
        frame, pl.col("unit") != pl.col("item_unit"), "unit", "is not the unit of the item", pl.col("unit")
    )
    bad.add(frame, exact & (value < pl.col("lowest")), "value", "below the range of the item", value)
    bad.add(frame, exact & (value > pl.col("highest")), "value", "above the range of the item", value)
    bad.add(
        frame, (pl.col("qualifier") == "<") & (value != pl.col("limit")), "value",
        'marked "<", but it is not the detection limit of the item', value,
    )  # fmt: skip
    within = days(view.protocol.eligibility.within)
    bad.add(frame, pl.col("day") < -within, "day", "earlier than the screening period allows", pl.col("day"))


@dataclass(frozen=True)
class _Limits:
    """What the dose rules of the protocol allow, by regimen, as a table to join."""

    frame: pl.DataFrame

    @staticmethod
    def of(protocol: Protocol) -> _Limits:
        rows = [
            {
                "regimen": name,
                "floor": _dose_in(regimen.floor, regimen.cycle.dose.unit),
                "ceiling": _dose_in(regimen.ceiling, regimen.cycle.dose.unit),
                "dose_unit": regimen.cycle.dose.unit,
                "gap": days(regimen.minimum_gap),
                "planned": regimen.cycle.administrations,
                "most": regimen.maximum_cycles,
            }
            for name, regimen in protocol.regimens.items()
            if regimen.cycle and regimen.floor and regimen.ceiling and regimen.minimum_gap
        ]
        schema = {
            "regimen": pl.String, "floor": pl.Float64, "ceiling": pl.Float64, "dose_unit": pl.String,
            "gap": pl.Int32,
            "planned": pl.Int32, "most": pl.Int32,
        }  # fmt: skip
        return _Limits(pl.DataFrame(rows, schema=schema))


def _dose_in(dose: Quantity, unit: str) -> float:
    return dose.value if dose.unit in ("", unit) else units.convert(dose.value, dose.unit, unit)


def _check_doses(bad: _Faults, frame: pl.DataFrame) -> None:
    dose = pl.col("dose")
    slack = 1e-9  # doses are written as decimals: 4.5 MIU is not exact in binary
    bad.add(
        frame, pl.col("floor").is_null(), "regimen", "this regimen is not given in cycles", pl.col("regimen")
    )
    bad.add(frame, dose < pl.col("floor") - slack, "dose", "below the floor of the regimen", dose)
    bad.add(frame, dose > pl.col("ceiling") + slack, "dose", "above the ceiling of the regimen", dose)
    bad.add(
        frame,
        pl.col("unit") != pl.col("dose_unit"),
        "unit",
        "is not the unit of the regimen's dose",
        pl.col("unit"),
    )


def _decisions(view: _View) -> None:
    bad = view.faults("decisions")
    frame = view.table("decisions")
    frame = frame.join(_Limits.of(view.protocol).frame, on="regimen", how="left", maintain_order="left")
    starts = pl.col("action").is_in(_STARTS)
    _check_doses(bad, frame.filter(starts))
    bad.add(frame, starts & pl.col("dose").is_null(), "dose", "a cycle is to start, but there is no dose")
    bad.add(
        frame,
        starts & (pl.col("unknown") != ""),
        "unknown",
        "a cycle starts on something unknown",
        pl.col("unknown"),
    )
    bad.add(
        frame, ~starts & (pl.col("accepted") != "not asked"), "accepted",
        "nothing was offered, yet the participant was asked", pl.col("accepted"),
    )  # fmt: skip
    bad.add(
        frame,
        pl.col("measured_day") > pl.col("day"),
        "measured_day",
        "later than the decision",
        pl.col("measured_day"),
    )
    mine = view.record.manifest.protocol_sha256
    bad.add(
        frame, pl.col("protocol_sha256") != mine, "protocol_sha256",
        "decided by another version of the protocol",
        pl.col("protocol_sha256"),
    )  # fmt: skip
    in_order = frame.sort("participant", "sequence").with_columns(
        before=pl.col("day").shift(1).over("participant")
    )
    bad.add(
        in_order,
        pl.col("day") < pl.col("before"),
        "day",
        "earlier than the decision before it",
        pl.col("day"),
    )


def _cycles(view: _View) -> None:
    bad = view.faults("cycles")
    frame = view.with_people("cycles", "arm").join(
        _Limits.of(view.protocol).frame, on="regimen", how="left", maintain_order="left"
    )
    if frame.is_empty():
        return
    _check_doses(bad, frame)
    allowed = [(arm, regimen) for arm, block in view.protocol.arms.items() for regimen in block.regimens]
    assigned = pl.lit(False)
    for arm, regimen in allowed:
        assigned |= (pl.col("arm") == arm) & (pl.col("regimen") == regimen)
    bad.add(
        frame, ~assigned, "regimen", "the participant's arm does not have this regimen", pl.col("regimen")
    )
    given, planned = pl.col("administrations_given"), pl.col("administrations_planned")
    bad.add(
        frame, planned != pl.col("planned"), "administrations_planned", "differs from the protocol", planned
    )
    bad.add(frame, given > planned, "administrations_given", "more given than planned", given)
    bad.add(frame, pl.col("cycle") > pl.col("most"), "cycle", "more cycles than the protocol allows")
    in_order = frame.sort("participant", "regimen", "cycle").with_columns(
        before=pl.col("day").shift(1).over("participant", "regimen"),
        previous=pl.col("cycle").shift(1, fill_value=0).over("participant", "regimen"),
    )
    since = pl.col("day") - pl.col("before")
    bad.add(
        in_order,
        since < pl.col("gap"),
        "day",
        "closer to the cycle before than the minimum gap (days since it)",
        since,
    )
    bad.add(
        in_order,
        pl.col("cycle") != pl.col("previous") + 1,
        "cycle",
        "cycles are numbered 1, 2, ... without gaps",
    )
    decisions = view.table("decisions").select(
        "participant", pl.col("sequence").alias("decision"), "action", "accepted",
        pl.col("day").alias("decided_on"),
        pl.col("dose").alias("dose_decided"), pl.col("regimen").alias("regimen_decided"),
    )  # fmt: skip
    both = frame.join(decisions, on=["participant", "decision"], how="left", maintain_order="left")
    bad.add(
        both,
        ~pl.col("action").is_in(_STARTS),
        "decision",
        "the decision does not start a cycle",
        pl.col("action"),
    )
    bad.add(both, pl.col("accepted") == "no", "decision", "the participant had declined this cycle")
    bad.add(
        both,
        pl.col("decided_on") > pl.col("day"),
        "decision",
        "decided after the cycle began",
        pl.col("decided_on"),
    )
    bad.add(
        both, pl.col("regimen_decided") != pl.col("regimen"), "decision",
        "the decision is on another regimen",
        pl.col("regimen_decided"),
    )  # fmt: skip
    bad.add(
        both, (pl.col("dose") - pl.col("dose_decided")).abs() > 1e-9, "dose", "is not the dose decided",
        pl.col("dose_decided"),
    )  # fmt: skip
    twice = pl.struct("participant", "decision").is_first_distinct().not_()
    bad.add(frame, twice, "decision", "the decision has started another cycle before")
    holds = view.table("holds")
    for name, block in view.protocol.regimens.items():
        for hold in block.hold_while:
            mine = holds.filter(pl.col("hold") == hold.id).select("participant", "from_day", "to_day")
            if mine.is_empty():
                continue
            during = frame.filter(pl.col("regimen") == name).join(mine, on="participant")
            on = (pl.col("day") >= pl.col("from_day")) & (
                pl.col("to_day").is_null() | (pl.col("day") < pl.col("to_day"))
            )
            bad.add(during.sort(_ROW), on, "day", f'a cycle while the hold "{hold.id}" was on', pl.col("day"))


def _injections(view: _View) -> None:
    bad = view.faults("injections")
    frame = view.table("injections")
    if frame.is_empty():
        return
    cycles = view.table("cycles").select(
        "participant", "regimen", "cycle", pl.col("day").alias("cycle_day"), "administrations_planned"
    )
    frame = frame.join(cycles, on=["participant", "regimen", "cycle"], how="left", maintain_order="left")
    bad.add(frame, pl.col("day") < pl.col("cycle_day"), "day", "before the cycle began", pl.col("day"))
    bad.add(
        frame, pl.col("number") > pl.col("administrations_planned"), "number", "more than the cycle has",
        pl.col("number"),
    )  # fmt: skip
    given = (
        frame.group_by("participant", "regimen", "cycle")
        .agg(counted=pl.col("given").sum().cast(pl.Int32))
        .join(view.table("cycles"), on=["participant", "regimen", "cycle"])
        .filter(pl.col("counted") != pl.col("administrations_given"))
        .sort("participant", "regimen", "cycle")
    )
    for row in given.head(SHOWN).iter_rows(named=True):
        bad.say(
            f"{row['counted']} given one by one, {row['administrations_given']} in cycles", "given",
            participant=row["participant"], cycle=row["cycle"],
        )  # fmt: skip


def _events(view: _View) -> None:
    bad = view.faults("events")
    frame = view.table("events")
    terminal = [name for name, event in view.protocol.events.items() if event.terminal]
    deaths = frame.filter(pl.col("kind").is_in(terminal)).sort("participant", "event")
    bad.add(
        deaths, pl.col("participant").is_first_distinct().not_(), "kind", "the participant dies a second time"
    )
    bad.add(deaths, (pl.col("grade") != 5), "grade", "a fatal event has grade 5", pl.col("grade"))
    in_order = frame.sort("participant", "event").with_columns(
        before=pl.col("day").shift(1).over("participant")
    )
    bad.add(
        in_order, pl.col("day") < pl.col("before"), "day", "earlier than the event before it", pl.col("day")
    )
    cycles = view.table("cycles").group_by("participant", "cycle").agg(began=pl.col("day").min())
    during = frame.filter(pl.col("cycle").is_not_null()).join(
        cycles, on=["participant", "cycle"], how="left", maintain_order="left"
    )
    bad.add(during, pl.col("began").is_null(), "cycle", "the participant had no such cycle", pl.col("cycle"))
    bad.add(
        during,
        pl.col("day") < pl.col("began"),
        "cycle",
        "the event is earlier than this cycle",
        pl.col("began"),
    )


def _holds(view: _View) -> None:
    bad = view.faults("holds")
    frame = view.table("holds")
    bad.add(
        frame, pl.col("to_day") <= pl.col("from_day"), "to_day", "not after the first day", pl.col("to_day")
    )
    in_order = frame.sort("participant", "hold", "from_day").with_columns(
        ended=pl.col("to_day").shift(1).over("participant", "hold"),
        again=pl.col("from_day").shift(1).over("participant", "hold").is_not_null(),
    )
    overlap = pl.col("again") & (pl.col("ended").is_null() | (pl.col("ended") > pl.col("from_day")))
    bad.add(in_order, overlap, "from_day", "begins before the same hold had ended", pl.col("from_day"))


# --- strata against baseline ------------------------------------------------------------------------------


def _strata(view: _View) -> None:
    bad = view.faults("participants")
    protocol = view.protocol
    baseline = view.table("baseline")
    if baseline.is_empty():
        return
    frame = view.table("participants")
    for name, stratum in protocol.strata.items():
        column = f"{STRATUM_PREFIX}{name}"
        if stratum.item is not None:
            said = baseline.filter(pl.col("item") == stratum.item).select("participant", said=pl.col("text"))
            both = frame.join(said, on="participant", how="inner", maintain_order="left")
            bad.add(
                both, pl.col(column) != pl.col("said"), column, "differs from the baseline", pl.col("said")
            )
            continue
        conditions = {
            level: criteria.compile(text, protocol.items, "boolean")
            for level, text in (stratum.levels or {}).items()
        }
        needed = {item for condition in conditions.values() for item in condition.names}
        derived = criteria.derivations(protocol.items)
        measured = needed | {item for expression in derived.values() for item in expression.names}
        values = _baseline_columns(baseline, frame["participant"], protocol, sorted(measured))
        if needed & set(derived):
            values = criteria.derive_columns(values, protocol.items)
        for level, condition in conditions.items():
            fails = pl.Series(criteria.evaluate_columns(condition, values) == 0)
            wrong = frame.with_columns(wrong=fails & (frame[column] == level))
            text = (stratum.levels or {})[level]
            message = f'the level is "{level}", but at baseline `{text}` does not hold'
            bad.add(wrong, pl.col("wrong"), column, message)


def _baseline_columns(
    baseline: pl.DataFrame, participants: pl.Series, protocol: Protocol, items: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The long baseline table as one array per item, in the order of `participants`, for `evaluate_columns`.

    Numbers: float64 with NaN where unknown; yes/no: int8 with -1; categories: text with "".
    """
    order = pl.DataFrame({"participant": participants})
    found: dict[str, NDArray[Any]] = {}
    for name in items:
        item = protocol.items.get(name)
        rows = baseline.filter(pl.col("item") == name).select("participant", "value", "text")
        both = order.join(rows, on="participant", how="left", maintain_order="left")
        if item is not None and item.type == "category":
            found[name] = both["text"].fill_null("").to_numpy()
        elif item is not None and item.type == "boolean":
            found[name] = both["value"].fill_null(-1).cast(pl.Int8).to_numpy()
        else:
            found[name] = both["value"].fill_null(float("nan")).to_numpy()
    return found
