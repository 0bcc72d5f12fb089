"""The tables of a record: every column with its meaning, type, unit and what it may hold.

This module is the one place where tables are described. Writing, reading, checking and docs/record.md follow
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from equipoise.protocol.model import Protocol

FORMAT = 1
"""Version of the layout of a record; a reader refuses newer ones."""
PART_ROWS = 262_144
"""Rows in each file of a table but the last: the bytes do not depend on how the rows were appended."""

From = Literal[
    "arms",
    "countries",
    "items",
    "measured items",
    "visits",
    "regimens",
    "events",
    "holds",
    "sex categories",
    "strata",
]
"""Lists of names that a protocol fixes."""


@dataclass(frozen=True)
class Column:
    """One column. `allowed` are the words that it may hold; `named_in` the list of the protocol that fixes
    them.

    `at_least` and `at_most` bound numbers, inclusively. A column that is not `nullable` has a value in every
    row.
    """

    name: str
    dtype: pl.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    allowed: tuple[str, ...] | None = None
    named_in: From | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Reference:
    """Rows of this table point at rows of another one."""

    columns: tuple[str, ...]
    table: str
    target: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, its key (unique) and what it points at."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    required: bool = True
    """Whether every record has this table (it may have no rows)."""

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names and polars types, in order."""
        return {c.name: c.dtype for c in self.columns}

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return pl.DataFrame(schema=self.schema)


_INT, _FLOAT, _TEXT, _DATE, _TRUTH = pl.Int32(), pl.Float64(), pl.String(), pl.Date(), pl.Boolean()
_TO_PARTICIPANT = Reference(("participant",), "participants", ("participant",))
_PARTICIPANT = Column(
    "participant", _INT, "Number of the participant, 1, 2, ... in order of randomisation", at_least=1
)


def _day(name: str, meaning: str, **more: Any) -> Column:
    return Column(name, _INT, meaning, unit="days since randomisation", **more)


STRATUM_PREFIX = "stratum_"
ADVERSE_EVENT = "adverse_event"
"""Kind of an adverse event that is none of those that the protocol declares."""
PLACED_HOLD = "investigator"
"""A hold that an investigator placed, for a reason that is none of the protocol's."""

_TABLES = (
    Table(
        "participants",
        "One row for each person randomised.",
        (
            _PARTICIPANT,
            Column("site", _INT, "Number of the site", at_least=1),
            Column("country", _TEXT, "Country of the site", named_in="countries"),
            Column("arm", _TEXT, "Arm allocated, by its name in the protocol", named_in="arms"),
            Column("screened_date", _DATE, "Date of the first screening visit"),
            Column("randomized_date", _DATE, "Date of randomisation: day 0 of this participant"),
            Column(
                "age", _FLOAT, "Age at randomisation", unit="years", at_least=0, at_most=120, nullable=True
            ),
            Column("sex", _TEXT, "Sex as recorded at screening", nullable=True, named_in="sex categories"),
        ),
        key=("participant",),
    ),
    Table(
        "screening",
        "One row for each person screened, whether or not they were randomised.",
        (
            Column("candidate", _INT, "Number of the person screened, in order of screening", at_least=1),
            Column("date", _DATE, "Date of screening"),
            Column("country", _TEXT, "Country of the site", named_in="countries"),
            Column("site", _INT, "Number of the site", at_least=1),
            Column(
                "eligible",
                _TEXT,
                "Whether all criteria are met; unknown when a value that matters is missing",
                allowed=("yes", "no", "unknown"),
            ),
            Column(
                "failed", _TEXT, 'Criteria not met, by their id, joined by ";" in the order of the protocol'
            ),
            Column(
                "participant", _INT, "Number given at randomisation; none if not randomised", nullable=True
            ),
        ),
        key=("candidate",),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "baseline",
        "One row for each participant and item known at randomisation.",
        (
            _PARTICIPANT,
            Column("item", _TEXT, "Item, by its name in the protocol", named_in="items"),
            Column(
                "value",
                _FLOAT,
                "Value of a number (in the item's unit; the limit of detection for one below it) or a "
                "yes (1) or no (0)",
                nullable=True,
            ),
            Column("text", _TEXT, "Value of a category", nullable=True),
        ),
        key=("participant", "item"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "visits",
        "One row for each planned visit of each participant up to the end of their follow-up.",
        (
            _PARTICIPANT,
            Column("visit", _TEXT, 'Name of the visit, such as "month 16"'),
            Column(
                "visit_id", _TEXT, "Line of the schedule of activities that it belongs to", named_in="visits"
            ),
            _day("planned_day", "Day on which it was due"),
            _day("day", "Day on which it took place; none if missed", nullable=True),
            Column(
                "status",
                _TEXT,
                "attended: inside its window; late: after it; missed: not at all",
                allowed=("attended", "late", "missed"),
            ),
        ),
        key=("participant", "visit_id", "planned_day"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "measurements",
        "One row for each measurement. Day 0 or less is screening or baseline.",
        (
            _PARTICIPANT,
            _day("day", "Day of the measurement"),
            Column("visit", _TEXT, "Name of the visit at which it was taken; empty when outside of visits"),
            Column("item", _TEXT, "Item, by its name in the protocol", named_in="measured items"),
            Column("value", _FLOAT, "Value measured; the limit itself when beyond it"),
            Column("unit", _TEXT, "Unit of the value: that of the item"),
            Column(
                "qualifier",
                _TEXT,
                '"<" or ">" when the value is beyond the limit of the assay',
                nullable=True,
                allowed=("<", ">"),
            ),
        ),
        key=("participant", "item", "day", "visit"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "decisions",
        "One row for each dosing decision, with what it was based on.",
        (
            _PARTICIPANT,
            Column("sequence", _INT, "Number of the decision within the participant, 1, 2, ...", at_least=1),
            _day("day", "Day of the decision", at_least=0),
            Column("regimen", _TEXT, "Regimen decided on", named_in="regimens"),
            Column(
                "action",
                _TEXT,
                "What is to be done",
                allowed=("start", "wait", "hold", "reduce", "escalate", "stop"),
            ),
            Column("dose", _FLOAT, "Dose per administration when a cycle starts", nullable=True, at_least=0),
            Column("unit", _TEXT, "Unit of the dose"),
            Column("reason", _TEXT, "Name of the reason; its sentence is in the dosing rules"),
            _day("not_before", "No cycle before this day", nullable=True),
            Column("unknown", _TEXT, 'What was unknown and matters, joined by ";"'),
            Column(
                "accepted",
                _TEXT,
                "Whether the participant agreed to a cycle",
                allowed=("yes", "no", "not asked"),
            ),
            Column("measure", _FLOAT, "Latest value of the goal's measure", nullable=True),
            _day("measured_day", "Day of that value", nullable=True),
            Column("goal", _FLOAT, "Goal of this participant, in the unit of the measure", nullable=True),
            Column("baseline", _FLOAT, "Baseline of the measure", nullable=True),
            Column("cycles", _INT, "Cycles received before the decision", at_least=0),
            Column(
                "toxicity",
                _INT,
                "Worst grade attributed to the drug since the last cycle; none if unknown",
                nullable=True,
                at_least=0,
                at_most=5,
            ),
            Column("protocol_sha256", _TEXT, "Version of the protocol that decided"),
        ),
        key=("participant", "sequence"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "cycles",
        "One row for each cycle started.",
        (
            _PARTICIPANT,
            Column("regimen", _TEXT, "Regimen", named_in="regimens"),
            Column(
                "cycle", _INT, "Number of the cycle within participant and regimen, 1, 2, ...", at_least=1
            ),
            _day("day", "First day of the cycle", at_least=0),
            Column("phase", _TEXT, "Part of the regimen", allowed=("induction", "maintenance")),
            Column("dose", _FLOAT, "Dose per administration", at_least=0),
            Column("unit", _TEXT, "Unit of the dose"),
            Column("administrations_planned", _INT, "Administrations in a complete cycle", at_least=1),
            Column("administrations_given", _INT, "Administrations received", at_least=0),
            Column("decision", _INT, "Decision that started it (its sequence)", at_least=1),
        ),
        key=("participant", "regimen", "cycle"),
        references=(
            _TO_PARTICIPANT,
            Reference(("participant", "decision"), "decisions", ("participant", "sequence")),
        ),
    ),
    Table(
        "injections",
        "One row for each planned administration, where they are known one by one.",
        (
            _PARTICIPANT,
            Column("regimen", _TEXT, "Regimen", named_in="regimens"),
            Column("cycle", _INT, "Number of the cycle", at_least=1),
            Column("number", _INT, "Number of the administration within the cycle, 1, 2, ...", at_least=1),
            _day("day", "Day on which it was due", at_least=0),
            Column("given", _TRUTH, "Whether it was given"),
        ),
        key=("participant", "regimen", "cycle", "number"),
        references=(
            _TO_PARTICIPANT,
            Reference(("participant", "regimen", "cycle"), "cycles", ("participant", "regimen", "cycle")),
        ),
        required=False,
    ),
    Table(
        "events",
        "One row for each clinical event.",
        (
            _PARTICIPANT,
            Column("event", _INT, "Number of the event within the participant, 1, 2, ...", at_least=1),
            _day("day", "Day of onset", at_least=0),
            Column("kind", _TEXT, "Kind of event, by its name in the protocol", named_in="events"),
            Column("term", _TEXT, "Which condition, cause or organ class"),
            Column("grade", _INT, "Grade of severity, 1 to 5", nullable=True, at_least=1, at_most=5),
            Column("serious", _TRUTH, "Whether it met a criterion of seriousness"),
            Column(
                "attributed",
                _TRUTH,
                "Whether attributed to the trial drug; none if not judged",
                nullable=True,
            ),
            Column("cycle", _INT, "Cycle in which or after which it began", nullable=True, at_least=1),
            Column(
                "adjudication",
                _TEXT,
                "Outcome of the endpoint review: recurrence, confirmed as one that the participant had "
                "before; refuted, not such an event",
                allowed=("confirmed", "recurrence", "refuted", "not reviewed"),
            ),
        ),
        key=("participant", "event"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "holds",
        "One row for each stretch of time in which a reason to hold treatment was present.",
        (
            _PARTICIPANT,
            Column("hold", _TEXT, "Reason, by its id in the protocol", named_in="holds"),
            _day("from_day", "First day"),
            _day("to_day", "First day without it; none if it lasted to the end", nullable=True),
        ),
        key=("participant", "hold", "from_day"),
        references=(_TO_PARTICIPANT,),
    ),
    Table(
        "disposition",
        "One row for each participant: how and when their follow-up ended.",
        (
            _PARTICIPANT,
            _day("day", "Day of death, or last day known alive", at_least=0),
            Column(
                "status",
                _TEXT,
                "How follow-up ended; in follow-up: it goes on beyond the data cut",
                allowed=("completed", "died", "lost to follow-up", "withdrew", "in follow-up"),
            ),
        ),
        key=("participant",),
        references=(_TO_PARTICIPANT,),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
"""Every table by name, with the columns that do not depend on the protocol."""


def table(name: str, protocol: Protocol) -> Table:
    """The table as it is for this protocol: participants gains a column for each stratification factor."""
    plain = TABLES[name]
    if name != "participants" or not protocol.strata:
        return plain
    strata = tuple(
        Column(
            f"{STRATUM_PREFIX}{stratum_name}",
            _TEXT,
            f"Level of the stratification factor: {stratum.label}",
            nullable=stratum.levels is None,
            allowed=tuple(stratum.levels) if stratum.levels is not None else None,
            named_in=None if stratum.levels is not None else "strata",
        )
        for stratum_name, stratum in protocol.strata.items()
    )
    return replace(plain, columns=plain.columns + strata)


def tables(protocol: Protocol, kind: str = "simulated") -> dict[str, Table]:
    """All tables as they are for this protocol. A conducted trial may have sites in countries that the
    protocol's simulation does not list."""
    found = {name: table(name, protocol) for name in TABLES}
    return found if kind == "simulated" else {name: _anywhere(each) for name, each in found.items()}


def _anywhere(plain: Table) -> Table:
    columns = tuple(
        replace(column, named_in=None) if column.named_in == "countries" else column
        for column in plain.columns
    )
    return replace(plain, columns=columns)


def names(protocol: Protocol, which: From) -> tuple[str, ...] | None:
    """The names that the protocol allows; None when it does not fix them."""
    match which:
        case "arms":
            return tuple(protocol.arms)
        case "countries":
            return tuple(protocol.simulation.accrual) if protocol.simulation else None
        case "items":
            return tuple(protocol.items)
        case "measured items":
            return tuple(name for name, item in protocol.items.items() if item.type == "number")
        case "visits":
            return tuple(visit.id for visit in protocol.visits)
        case "regimens":
            return tuple(protocol.regimens)
        case "events":
            return (*protocol.events, ADVERSE_EVENT)
        case "holds":
            holds = (hold.id for regimen in protocol.regimens.values() for hold in regimen.hold_while)
            return (*holds, PLACED_HOLD)
        case "sex categories":
            item = protocol.items.get("sex")
            return tuple(item.categories) if item is not None and item.categories else None
        case "strata":
            return None


def words(column: Column, protocol: Protocol) -> tuple[str, ...] | None:
    """The words that a text column may hold under this protocol; None when any word may stand there."""
    if column.allowed is not None:
        return column.allowed
    return names(protocol, column.named_in) if column.named_in is not None else None


# --- the page in the documentation ------------------------------------------------------------------------

_WORDS_FOR_TYPE = {
    "Int32": "whole number",
    "Float64": "number",
    "String": "text",
    "Date": "date",
    "Boolean": "yes/no",
}
_WORDS_FOR_LIST: Mapping[str, str] = {
    "arms": "an arm of the protocol",
    "countries": "simulated: a country of the protocol's accrual, where it lists them",
    "items": "an item of the protocol",
    "measured items": "a number item of the protocol",
    "visits": "a visit id of the protocol",
    "regimens": "a regimen of the protocol",
    "events": "an event kind of the protocol, or `adverse_event`",
    "holds": "a hold id of the protocol, or `investigator`",
    "sex categories": "a category of the item `sex`, where the protocol has one",
    "strata": "a category of the item that the stratum follows",
}

_INTRODUCTION = """\
# The record

<!-- Written by `equipoise schema record > docs/record.md`; a test holds it to the code. -->

A record is what a trial leaves behind: one folder, the same tables whether the participants were virtual or
real.

```
record/
  manifest.json           what made it, row counts, checksums
  protocol.json           the protocol in canonical form
  participants/part-00000.parquet
  measurements/part-00000.parquet ...
  truth/...               simulated trials only; the analysis never reads it
```

* Parquet, compressed with zstd, in parts of {part_rows} rows. The same tables give the same bytes, however
  they were produced.
* Days are whole days since randomisation; day 0 is the day of randomisation, and screening lies on day 0 or
  before.
* A record is written into a hidden folder beside its place and moved there in one step when complete. A run
  that is killed leaves nothing that could be read as a record, and the next run removes what it left.
* `manifest.json` holds the name, version and SHA-256 of the protocol; seed, trial number, population and
  effect dials of a simulated trial; the data cut; the rows, files, sizes and SHA-256 of each table; and
  `record_sha256`, which covers all of these but not the time of writing and the software versions, which
  stand beside it under `made_by`.
* Every write and every read checks types, allowed values, keys and references. `equipoise record check DIR`
  checks everything, row by row: nothing before randomisation or after death, cycles no closer than the
  minimum gap, doses between floor and ceiling, a decision for each cycle, one disposition for each
  participant, strata that agree with the baseline.

In the tables below, *may be empty* marks columns whose value can be missing.
"""


def documentation() -> str:
    """docs/record.md: the layout, then every table, as Markdown."""
    lines = [_INTRODUCTION.replace("{part_rows}", f"{PART_ROWS:,}")]
    for each in _TABLES:
        optional = "" if each.required else " This table is optional."
        lines += [f"## {each.name}", "", each.meaning + optional, ""]
        lines += ["| column | type | meaning | unit | may hold |", "|---|---|---|---|---|"]
        for column in each.columns:
            lines.append(
                f"| `{column.name}` | {_type_in_words(column)} | {column.meaning} | {column.unit} "
                f"| {_values_in_words(column)} |"
            )
        if each.name == "participants":
            lines.append(
                f"| `{STRATUM_PREFIX}<name>` | text | Level of each stratification factor of the protocol |  "
                "| a level of the stratum |"
            )
        lines += ["", f"Unique: {_joined(each.key)}."]
        for reference in each.references:
            lines.append(
                f"Refers: {_joined(reference.columns)} to {_joined(reference.target)} of {reference.table}."
            )
        lines.append("")
    return "\n".join(lines)


def _joined(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{c}`" for c in columns)


def _type_in_words(column: Column) -> str:
    return _WORDS_FOR_TYPE[str(column.dtype)] + (", may be empty" if column.nullable else "")


def _values_in_words(column: Column) -> str:
    if column.allowed is not None:
        return ", ".join(f"`{word}`" for word in column.allowed)
    if column.named_in is not None:
        return _WORDS_FOR_LIST[column.named_in]
    if column.at_least is not None and column.at_most is not None:
        return f"{column.at_least:g} to {column.at_most:g}"
    if column.at_least is not None:
        return f"{column.at_least:g} or more"
    return ""
