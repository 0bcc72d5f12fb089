"""Other people's trial data as the input of an analysis: a mapping file says which column means what.

`AnalysisInput` is the one thing that the statistics start from. A mapped file yields it here; a record yields
it in `equipoise.analyse`, where the protocol's endpoint rules are applied.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from equipoise.errors import UserError
from equipoise.protocol.forms import read_form
from equipoise.protocol.model import Name
from equipoise.protocol.nearest import listed, near_or_all
from equipoise.protocol.quantities import DAYS_PER, Duration


@dataclass(frozen=True)
class EndpointInput:
    """One time-to-event endpoint.

    `times` has one row per participant, in the order of `AnalysisInput.participants`, and the columns
    participant (Int32), day (Float64, days from randomisation to event or censoring, above or at 0),
    status (Int8: 0 censored, 1 event, 2 competing event), entry (Float64, day of entry into observation, 0
    when everybody is observed from randomisation; always below `day` where late entry is used).
    """

    name: str
    label: str
    role: Literal["primary", "secondary", "safety"]
    times: pl.DataFrame
    strata: tuple[str, ...] = ()
    ties: Literal["efron", "breslow"] = "efron"

    @property
    def competing(self) -> bool:
        """Whether any participant had a competing event."""
        return bool((self.times["status"] == 2).any())

    @property
    def late_entry(self) -> bool:
        """Whether anybody came under observation after day 0."""
        return bool((self.times["entry"] > 0).any())


@dataclass(frozen=True)
class MeasureInput:
    """One longitudinal measure: `values` is long, with participant (Int32), day (Float64), value (Float64).

    Day 0 or less is baseline. Values are in `unit`, as measured; `transform` is what the plan asks of the
    analysis. `grid_days` is the length of the visit grid on which means are shown.
    """

    name: str
    label: str
    unit: str
    values: pl.DataFrame
    grid_days: float
    transform: Literal["none", "log10"] = "none"


@dataclass(frozen=True)
class SubgroupInput:
    """Levels of a subgroup: `levels` has participant (Int32) and level (Enum of the levels in the order in
    which they are shown; null where unknown)."""

    label: str
    levels: pl.DataFrame


@dataclass(frozen=True)
class AnalysisInput:
    """Everything that the analysis of a two- or many-arm trial needs, wherever the data come from.

    participants: one row each: participant (Int32, unique, ascending), id (Utf8, the identifier in the
    source), arm (Utf8, a key of `arms`), stratum_<name> (Utf8, null where unknown) per stratification factor;
    of a record also site (Int32, its number).
    baseline: long: participant (Int32), item (Utf8), value (Float64, null), text (Utf8, null);
    `baseline_items` gives label and unit of each item, in the order in which they are shown.
    arms: name to label in the order of presentation.
    """

    title: str
    arms: Mapping[str, str]
    reference_arm: str
    participants: pl.DataFrame
    endpoints: tuple[EndpointInput, ...]
    confidence: float = 0.95
    strata: Mapping[str, str] = field(default_factory=dict)
    """Names of the stratification factors, to their labels."""
    baseline: pl.DataFrame | None = None
    baseline_items: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    measures: tuple[MeasureInput, ...] = ()
    subgroups: tuple[SubgroupInput, ...] = ()
    subgroup_endpoint: str | None = None
    source: str = ""
    """Where the data came from, in words (file names and checksums)."""
    remarks: tuple[str, ...] = ()
    """What the reader of the data noticed and the report must repeat (rows set aside, an arm without
    events)."""


# --- the mapping file -------------------------------------------------------------------------------------

TimeUnit = Literal["days", "weeks", "months", "years"]
_ROW_NUMBER = "row number"
_ROW = "row of the file"
_LONGEST_DAYS = 150 * 365.25
"""No time from randomisation is longer; one that is was read in the wrong unit."""
_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", ".")
"""What stands for a missing value in a table of text."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ArmMapping(_Part):
    """The column that says who is in which arm."""

    column: str
    values: dict[str, Name] = Field(min_length=2)
    """What stands in the column -> name of the arm. Several values may mean one arm."""
    leave_out: list[str] = []
    """Values of people who are not analysed (a third arm, say)."""


class ArmLabel(_Part):
    label: str


class CategoryMapping(_Part):
    """A stratification factor: a column, and what its values mean."""

    label: str
    column: str
    values: dict[str, str] | None = None


class StatusMapping(_Part):
    """The column that says how observation ended: which values mean the event, which a competing one."""

    column: str
    event: list[str] = Field(min_length=1)
    competing: list[str] = []
    censored: list[str] | None = None
    """All the values that mean censored; when left out, every other value does."""


class EndpointMapping(_Part):
    """A time-to-event endpoint. `time` and `entry` are columns, in `unit`, counted from randomisation."""

    label: str
    time: str
    unit: TimeUnit
    status: StatusMapping
    role: Literal["primary", "secondary", "safety"] = "secondary"
    entry: str | None = None
    strata: list[Name] = []
    ties: Literal["efron", "breslow"] = "efron"


class BaselineMapping(_Part):
    """A characteristic at baseline. With `values`, or type category, it is a category; otherwise a number."""

    label: str
    column: str
    unit: str = ""
    type: Literal["number", "category"] | None = None
    values: dict[str, str] | None = None

    @property
    def is_category(self) -> bool:
        return self.type == "category" or (self.type is None and self.values is not None)


class MeasureMapping(_Part):
    """A measure over time: one row per measurement, in the same file or in another one (`time`,
    `unit_of_time`, `value`), or a column for each visit (`columns`: column -> time from randomisation).

    `stored_as` says what the file holds when it is not the value itself: its square root, natural logarithm
    or logarithm to base 10, which is undone on reading.
    """

    label: str
    time: str | None = None
    unit_of_time: TimeUnit | None = None
    value: str | None = None
    columns: dict[str, Duration] = {}
    unit: str = ""
    file: str | None = None
    participant: str | None = None
    stored_as: Literal["value", "square root", "logarithm", "log10"] = "value"
    analyse: Literal["none", "log10"] = "none"
    by: Duration

    @model_validator(mode="after")
    def _rows_or_columns(self) -> MeasureMapping:
        rows = (self.time, self.unit_of_time, self.value)
        if (self.columns and any(rows)) or not (self.columns or all(rows)):
            raise ValueError(
                "say `time`, `unit_of_time` and `value` where each measurement has a row of its own, or "
                "`columns` where each visit has a column; one of the two"
            )
        return self


class SubgroupMapping(_Part):
    """Levels of a stratum or of a baseline item; a number is cut at `cuts` (a value at a cut is in the upper
    part)."""

    label: str
    of: Name
    cuts: list[float] = []


class DataMapping(_Part):
    """A mapping file: what the columns of a data file mean."""

    mapping: Literal[1]
    """Version of the file format."""
    title: str
    about: str | None = None
    """Where the data come from, for the report."""
    data: str | None = None
    """The data file, when it is not named on the command line; beside the mapping file."""
    participant: str
    """The column with the identifier of the participant, or "row number"."""
    rows: Literal["one per participant", "several per participant"] = "one per participant"
    """Several: the first row of each participant is taken; mapped columns must not vary within one."""
    missing: Literal["refuse", "set aside"] = "refuse"
    """What happens to people without arm, stratum, time or status."""
    arm: ArmMapping
    arms: dict[Name, ArmLabel] = Field(min_length=2)
    reference_arm: Name
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    strata: dict[Name, CategoryMapping] = {}
    endpoints: dict[Name, EndpointMapping] = Field(min_length=1)
    baseline: dict[Name, BaselineMapping] = {}
    measures: dict[Name, MeasureMapping] = {}
    subgroups: dict[Name, SubgroupMapping] = {}
    subgroup_endpoint: Name | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> DataMapping:
        def demand(name: str, known: Sequence[str], what: str) -> None:
            if name not in known:
                raise ValueError(f'{what} "{name}" is not declared; there are {listed(known)}')

        for value, arm in self.arm.values.items():
            demand(arm, list(self.arms), f"arm.values: {value} means an arm that is not in `arms`:")
        for arm in self.arms:
            demand(arm, list(self.arm.values.values()), "no value of the arm column means the arm")
        demand(self.reference_arm, list(self.arms), "reference_arm")
        for name, endpoint in self.endpoints.items():
            for stratum in endpoint.strata:
                demand(stratum, list(self.strata), f"endpoints.{name}.strata: the stratum")
        for name, measure in self.measures.items():
            if measure.by.value <= 0:
                raise ValueError(f"measures.{name}.by: must be more than 0")
        for name, subgroup in self.subgroups.items():
            demand(subgroup.of, [*self.strata, *self.baseline], f"subgroups.{name}.of: the item")
        if self.subgroup_endpoint is not None:
            demand(self.subgroup_endpoint, list(self.endpoints), "subgroup_endpoint")
        return self


def read_mapping(path: str | os.PathLike[str]) -> DataMapping:
    """Read a mapping file. Raises UserError: file, line, column, field, what was expected."""
    return read_form(path, DataMapping, "mapping file", _text_values)


def _text_values(data: Any, parent: str = "") -> Any:
    """Lists of codes hold text: `event: [1]` means the same as `event: ["1"]`."""
    if isinstance(data, dict):
        return {key: _text_values(value, key) for key, value in data.items()}
    if isinstance(data, list) and parent in ("event", "competing", "censored", "leave_out"):
        return [_code(json.dumps(v) if isinstance(v, bool) else str(v)) for v in data]
    return data


# --- the data ---------------------------------------------------------------------------------------------


def analysis_input(
    mapping: str | os.PathLike[str], data: str | os.PathLike[str] | None = None
) -> AnalysisInput:
    """The analysis input that a mapping file makes of a data file (CSV or Parquet).

    `data` overrides the file that the mapping names. Other files named in the mapping are looked for beside
    the data, then beside the mapping. Raises UserError for anything in either file that does not fit.
    """
    rules = read_mapping(mapping)
    beside = Path(mapping).parent
    if data is not None:
        path = Path(data)
    elif rules.data is not None:
        path = beside / rules.data
    else:
        raise UserError(f"{mapping}: name the data file, here (`data:`) or on the command line")
    return _Mapper(rules, _Table.read(path), (path.parent, beside), str(mapping)).input()


def _code(text: str) -> str:
    """One spelling for codes: 1, 1.0 and 01 are the same, and so are words with blanks around them."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


@dataclass(frozen=True)
class _Table:
    """A data file as text, with the number of each row (from 1, the header not counted)."""

    path: Path
    frame: pl.DataFrame
    sha256: str

    @staticmethod
    def read(path: Path) -> _Table:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file") from None
        except OSError as error:
            raise UserError(f"{path}: the data cannot be read: {error.strerror}") from None
        if not content.strip():
            raise UserError(f"{path}: the file is empty")
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{path}: this is UTF-16 text: save it as CSV in UTF-8")
        try:
            if content[:4] == b"PAR1":
                frame = pl.read_parquet(content)
                frame = frame.with_columns(pl.all().cast(pl.String))
            else:
                plain = content.rstrip(b"\r\n")
                if b"\n" not in plain:
                    plain = plain.replace(b"\r", b"\n")
                header = plain.split(b"\n", 1)[0]
                separator = max(",;\t", key=lambda s: header.count(s.encode()))
                frame = pl.read_csv(plain, separator=separator, infer_schema=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = (str(error).splitlines() or ["unknown format"])[0]
            raise UserError(
                f"{path}: not a readable table ({reason}): give a CSV file (UTF-8) or a Parquet file"
            ) from None
        frame = frame.rename(lambda name: name.strip().strip('"'))
        if frame.is_empty():
            raise UserError(f"{path}: the file has a header but no rows")
        return _Table(path, frame, hashlib.sha256(content).hexdigest())

    def text(self, column: str, wanted_by: str) -> pl.Series:
        """A column as text, missing values null. Raises UserError, with near matches, if there is none."""
        if column not in self.frame.columns:
            raise UserError(
                f'{self.path}: there is no column "{column}" (which {wanted_by} of the mapping names)'
                + near_or_all(column, [name for name in self.frame.columns if name != _ROW])
            )
        if f"{column}_duplicated_0" in self.frame.columns:
            raise UserError(
                f'{self.path}: several columns are called "{column}" (which {wanted_by} of the mapping '
                "names): rename all but one"
            )
        found = self.frame[column].str.strip_chars()
        return found.set(found.is_in(_MISSING), None)

    def codes(self, column: str, wanted_by: str) -> pl.Series:
        """A column of codes, in one spelling."""
        return self.text(column, wanted_by).map_elements(_code, return_dtype=pl.String)

    def numbers(self, column: str, wanted_by: str) -> pl.Series:
        """A column of numbers, missing ones null. Raises UserError naming the first row that is not one."""
        text = self.text(column, wanted_by)
        values = text.cast(pl.Float64, strict=False)
        wrong = text.is_not_null() & (values.is_null() | ~values.is_finite().fill_null(True))
        if wrong.any():
            row = wrong.arg_true()[0]
            raise UserError(
                f'{self.path}: row {row + 1}: {column} is "{text[row]}", a number was expected ({wanted_by})'
            )
        return values


def _stored(rule: MeasureMapping, where: str, table: _Table, ids: pl.Series) -> pl.DataFrame:
    """What a table holds of a measure: columns id, day, stored."""
    if rule.time is not None and rule.unit_of_time is not None and rule.value is not None:
        time = table.numbers(rule.time, f"{where}.time") * DAYS_PER[rule.unit_of_time.removesuffix("s")]
        return pl.DataFrame({"id": ids, "day": time, "stored": table.numbers(rule.value, f"{where}.value")})
    visits = [
        pl.DataFrame({"id": ids, "stored": table.numbers(column, f"{where}.columns")}).with_columns(
            day=pl.lit(time.value * DAYS_PER[time.unit.removesuffix("s")], pl.Float64)
        )
        for column, time in rule.columns.items()
    ]
    return pl.concat(visits).select("id", "day", "stored")


def _rows(numbers: Sequence[int]) -> str:
    """Rows for a message: "row 5", "rows 5, 7 and 12 more"."""
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    more = f" and {len(numbers) - 5:,} more" if len(numbers) > 5 else ""
    return "rows " + ", ".join(str(n) for n in numbers[:5]) + more


class _Mapper:
    """Applies a mapping to a table."""

    def __init__(self, rules: DataMapping, table: _Table, folders: tuple[Path, ...], place: str) -> None:
        self.rules, self.folders, self.place = rules, folders, place
        self.files: dict[str, _Table] = {}
        self.remarks: list[str] = []
        self.whole = table
        self.table = self._one_row_each(table)
        self.row = self.table.frame[_ROW]

    def input(self) -> AnalysisInput:
        rules = self.rules
        arm, keep = self._arm()
        strata = {name: self._levels(s, f"strata.{name}") for name, s in rules.strata.items()}
        endpoints = {name: self._times(e, f"endpoints.{name}") for name, e in rules.endpoints.items()}
        keep &= self._complete(arm, strata, endpoints, keep)
        for name, endpoint in rules.endpoints.items():
            self._check_times(endpoints[name].filter(keep), endpoint, f"endpoints.{name}")
        number = pl.Series("participant", range(1, int(keep.sum()) + 1), dtype=pl.Int32)
        people = pl.DataFrame(
            [
                number,
                self._ids().filter(keep).alias("id"),
                arm.filter(keep).alias("arm"),
                *(levels.filter(keep).alias(f"stratum_{name}") for name, levels in strata.items()),
            ]
        )
        for name in rules.arms:
            if not (people["arm"] == name).any():
                raise UserError(f'{self.table.path}: nobody is in the arm "{name}": check arm.values')
        baseline = self._baseline(number, keep)
        return AnalysisInput(
            title=rules.title,
            arms={name: a.label for name, a in rules.arms.items()},
            reference_arm=rules.reference_arm,
            participants=people,
            endpoints=tuple(
                self._endpoint(name, endpoints[name].filter(keep), people) for name in rules.endpoints
            ),
            confidence=rules.confidence,
            strata={name: s.label for name, s in rules.strata.items()},
            baseline=baseline,
            baseline_items={name: (b.label, b.unit) for name, b in rules.baseline.items()},
            measures=tuple(self._measure(name, people) for name in rules.measures),
            subgroups=tuple(self._subgroup(s, people, baseline) for s in rules.subgroups.values()),
            subgroup_endpoint=rules.subgroup_endpoint,
            source=self._source(),
            remarks=tuple(self.remarks),
        )

    def _source(self) -> str:
        files = [self.whole, *self.files.values()]
        named = ", ".join(f"{t.path.name} (SHA-256 {t.sha256})" for t in files)
        return f"{self.rules.about.rstrip('.')}. {named}" if self.rules.about else named

    def _ids(self) -> pl.Series:
        if self.rules.participant == _ROW_NUMBER:
            return self.row.cast(pl.String)
        return self.table.text(self.rules.participant, "participant")

    def _one_row_each(self, table: _Table) -> _Table:
        numbered = _Table(table.path, table.frame.with_row_index(_ROW, offset=1), table.sha256)
        if self.rules.participant == _ROW_NUMBER:
            return numbered
        ids = numbered.text(self.rules.participant, "participant")
        if ids.null_count():
            rows = (ids.is_null().arg_true() + 1).to_list()
            raise UserError(f"{table.path}: {_rows(rows)}: {self.rules.participant} is missing")
        first = ids.is_first_distinct()
        if first.all():
            return numbered
        if self.rules.rows == "one per participant":
            row = (~first).arg_true()[0]
            before = (ids == ids[row]).arg_true()[0]
            raise UserError(
                f"{table.path}: row {row + 1}: the participant {ids[row]} was in row {before + 1} already; "
                f"if the "
                "file has several rows for each, say so in the mapping: `rows: several per participant`"
            )
        self._constant(numbered, ids)
        return _Table(table.path, numbered.frame.filter(first), table.sha256)

    def _constant(self, table: _Table, ids: pl.Series) -> None:
        rules = self.rules
        columns = {rules.arm.column, *(s.column for s in rules.strata.values())}
        for endpoint in rules.endpoints.values():
            columns |= {endpoint.time, endpoint.status.column}
        for column in sorted(columns):
            values = table.text(column, "the file")
            varying = (
                pl.DataFrame({"id": ids, "value": values})
                .group_by("id", maintain_order=True)
                .agg(pl.col("value").n_unique())
                .filter(pl.col("value") > 1)
            )
            if varying.height:
                raise UserError(
                    f"{table.path}: {column} differs between the rows of participant {varying['id'][0]}: "
                    "it must be the same in all rows of one participant"
                )

    def _refuse_others(
        self, codes: pl.Series, known: Sequence[str], column: str, field: str, named: Sequence[str]
    ) -> None:
        """Raise UserError for the first row whose code in a column the mapping does not know."""
        unknown = codes.is_not_null() & ~codes.is_in(list(known))
        if unknown.any():
            row = unknown.arg_true()[0]
            raise UserError(
                f'{self.table.path}: row {self.row[row]}: {column} is "{codes[row]}", which {field} does '
                f"not name; it names {listed(named)}"
            )

    def _arm(self) -> tuple[pl.Series, pl.Series]:
        rule = self.rules.arm
        codes = self.table.codes(rule.column, "arm.column")
        known = {_code(value): arm for value, arm in rule.values.items()}
        out = {_code(value) for value in rule.leave_out}
        self._refuse_others(codes, [*known, *out], rule.column, "arm.values", list(rule.values))
        keep = ~codes.is_in(list(out)).fill_null(False)
        if not keep.all():
            self.remarks.append(
                f"{int((~keep).sum()):,} people of other arms are left out, as the mapping says."
            )
        return codes.replace_strict(known, default=None, return_dtype=pl.String), keep

    def _levels(self, rule: CategoryMapping | BaselineMapping, where: str) -> pl.Series:
        if rule.values is None:
            return self.table.text(rule.column, f"{where}.column")
        codes = self.table.codes(rule.column, f"{where}.column")
        known = {_code(value): level for value, level in rule.values.items()}
        self._refuse_others(codes, list(known), rule.column, f"{where}.values", list(rule.values))
        return codes.replace_strict(known, default=None, return_dtype=pl.String)

    def _times(self, rule: EndpointMapping, where: str) -> pl.DataFrame:
        per_day = DAYS_PER[rule.unit.removesuffix("s")]
        time = self.table.numbers(rule.time, f"{where}.time") * per_day
        codes = self.table.codes(rule.status.column, f"{where}.status.column")
        meanings = ((1, rule.status.event), (2, rule.status.competing), (0, rule.status.censored or []))
        known: dict[str, int] = {}
        for meaning, values in meanings:
            for value in values:
                if known.setdefault(_code(value), meaning) != meaning:
                    raise UserError(
                        f'{self.place}: {where}.status: the value "{value}" is given two meanings: keep it '
                        "in one of event, competing and censored"
                    )
        if rule.status.censored is not None:
            self._refuse_others(codes, list(known), rule.status.column, f"{where}.status", list(known))
        status = codes.replace_strict(known, default=0, return_dtype=pl.Int8)
        status = status.set(codes.is_null(), None)
        entry = pl.Series("entry", [0.0], dtype=pl.Float64).new_from_index(0, len(time))
        if rule.entry is not None:
            entry = self.table.numbers(rule.entry, f"{where}.entry").fill_null(0.0) * per_day
        return pl.DataFrame(
            {_ROW: self.row, "day": time, "status": status, "entry": entry},
        )

    def _check_times(self, times: pl.DataFrame, rule: EndpointMapping, where: str) -> None:
        negative = times.filter(pl.col("day") < 0)[_ROW].to_list()
        if negative:
            raise UserError(
                f"{self.table.path}: {_rows(negative)}: {rule.time} is negative; times count from "
                f"randomisation "
                f"and are 0 or more ({where}.time)"
            )
        endless = times.filter(pl.col("day") > _LONGEST_DAYS)[_ROW].to_list()
        if endless:
            raise UserError(
                f"{self.table.path}: {_rows(endless)}: {rule.time} is more than "
                f"{_LONGEST_DAYS / 365.25:g} years when read as {rule.unit}: check {where}.unit, and the data"
            )
        if rule.entry is None:
            return
        before = times.filter(pl.col("entry") < 0)[_ROW].to_list()
        if before:
            raise UserError(f"{self.table.path}: {_rows(before)}: {rule.entry} is negative ({where}.entry)")
        late = times.filter((pl.col("entry") > 0) & (pl.col("entry") >= pl.col("day")))[_ROW].to_list()
        if late:
            raise UserError(
                f"{self.table.path}: {_rows(late)}: {rule.entry} is not before {rule.time}; entry into "
                f"observation "
                f"comes before its end ({where}.entry)"
            )

    def _complete(
        self,
        arm: pl.Series,
        strata: Mapping[str, pl.Series],
        endpoints: Mapping[str, pl.DataFrame],
        keep: pl.Series,
    ) -> pl.Series:
        """Who has everything that an analysis by randomised arm needs."""
        rules = self.rules
        needed = [(rules.arm.column, arm)]
        needed += [(rules.strata[name].column, levels) for name, levels in strata.items()]
        for name, endpoint in rules.endpoints.items():
            needed.append((endpoint.time, endpoints[name]["day"]))
            needed.append((endpoint.status.column, endpoints[name]["status"]))
        whole = keep
        for column, values in needed:
            lacking = keep & values.is_null()
            if lacking.any():
                rows = self.row.filter(lacking).to_list()
                if rules.missing == "refuse":
                    raise UserError(
                        f"{self.table.path}: {_rows(rows)}: {column} is missing; complete the data, or say "
                        "`missing: set aside` in the mapping"
                    )
                self.remarks.append(f"{len(rows):,} people without {column} are set aside ({_rows(rows)}).")
            whole = whole & values.is_not_null()
        if not whole.any():
            raise UserError(f"{self.table.path}: nobody has all of arm, strata, times and status")
        return whole

    def _endpoint(self, name: str, times: pl.DataFrame, people: pl.DataFrame) -> EndpointInput:
        rule = self.rules.endpoints[name]
        events = people.select("arm").with_columns(times["status"])
        for arm, label in self.rules.arms.items():
            if not events.filter((pl.col("arm") == arm) & (pl.col("status") == 1)).height:
                self.remarks.append(f"{rule.label}: there is no event in the arm {label.label}.")
        return EndpointInput(
            name=name,
            label=rule.label,
            role=rule.role,
            times=pl.DataFrame([people["participant"], times["day"], times["status"], times["entry"]]),
            strata=tuple(rule.strata),
            ties=rule.ties,
        )

    def _baseline(self, number: pl.Series, keep: pl.Series) -> pl.DataFrame | None:
        frames = []
        for name, rule in self.rules.baseline.items():
            if rule.is_category:
                text = self._levels(rule, f"baseline.{name}").filter(keep)
                value = pl.Series("value", [None], dtype=pl.Float64).new_from_index(0, len(text))
            else:
                value = self.table.numbers(rule.column, f"baseline.{name}.column").filter(keep)
                text = pl.Series("text", [None], dtype=pl.String).new_from_index(0, len(value))
            frames.append(
                pl.DataFrame([number, value.alias("value"), text.alias("text")]).select(
                    "participant", pl.lit(name).alias("item"), "value", "text"
                )
            )
        return pl.concat(frames).sort("participant", maintain_order=True) if frames else None

    def _measure(self, name: str, people: pl.DataFrame) -> MeasureInput:
        rule = self.rules.measures[name]
        where = f"measures.{name}"
        table = self._file(rule.file) if rule.file is not None else self.whole
        column = rule.participant or self.rules.participant
        if column == _ROW_NUMBER:
            ids = pl.Series(range(1, table.frame.height + 1)).cast(pl.String)
        else:
            ids = table.text(column, f"{where}.participant")
        values = (
            _stored(rule, where, table, ids)
            .with_columns(value=_undo(rule.stored_as, pl.col("stored")))
            .drop_nulls(["id", "day", "value"])
            .join(people.select("id", "participant"), on="id", how="inner", maintain_order="left")
            .select("participant", "day", "value")
            .sort("participant", "day", maintain_order=True)
        )
        if not values["value"].is_finite().all():
            raise UserError(
                f"{table.path}: values of {rule.label} are without end when read as {rule.stored_as}: check "
                f"{where}.stored_as"
            )
        if values.is_empty():
            raise UserError(
                f"{table.path}: no measurement of {rule.label} belongs to anybody in {self.table.path.name}: "
                f"check {where}.participant"
            )
        twice = int((~values.select(pl.struct("participant", "day").is_first_distinct()).to_series()).sum())
        if twice:
            self.remarks.append(
                f"{rule.label}: {twice:,} further measurements on a day that has one already."
            )
        return MeasureInput(
            name=name,
            label=rule.label,
            unit=rule.unit,
            values=values,
            grid_days=rule.by.value * DAYS_PER[rule.by.unit.removesuffix("s")],
            transform=rule.analyse,
        )

    def _file(self, name: str) -> _Table:
        if name not in self.files:
            for folder in self.folders:
                if (folder / name).exists():
                    self.files[name] = _Table.read(folder / name)
                    break
            else:
                places = " or ".join(dict.fromkeys(str(folder) or "." for folder in self.folders))
                raise UserError(f"{self.place}: the file {name} is not in {places}")
        return self.files[name]

    def _subgroup(
        self, rule: SubgroupMapping, people: pl.DataFrame, baseline: pl.DataFrame | None
    ) -> SubgroupInput:
        if rule.of in self.rules.strata:
            levels = people.select("participant", pl.col(f"stratum_{rule.of}").alias("level"))
            return _levels(rule.label, levels, self.rules.strata[rule.of].values)
        assert baseline is not None
        item = self.rules.baseline[rule.of]
        mine = baseline.filter(pl.col("item") == rule.of)
        if item.is_category:
            levels = mine.select("participant", pl.col("text").alias("level"))
            return _levels(rule.label, levels, item.values)
        if not rule.cuts:
            raise UserError(
                f"{self.place}: the subgroups of {rule.label} need `cuts`: {rule.of} is a number "
                "(cuts: [50], say)"
            )
        cuts = sorted(rule.cuts)
        names = [f"below {cuts[0]:g}"]
        names += [f"{low:g} to below {high:g}" for low, high in pairwise(cuts)]
        names += [f"{cuts[-1]:g} or above"]
        level = pl.lit(names[0])
        for cut, name in zip(cuts, names[1:], strict=True):
            level = pl.when(pl.col("value") >= cut).then(pl.lit(name)).otherwise(level)
        level = pl.when(pl.col("value").is_not_null()).then(level)
        return _levels(rule.label, mine.select("participant", level.alias("level")), {n: n for n in names})


def _levels(label: str, levels: pl.DataFrame, values: Mapping[str, str] | None) -> SubgroupInput:
    """The levels that occur, in the order of the mapping; alphabetically where it lists none."""
    found = set(levels["level"].drop_nulls())
    order = sorted(found) if values is None else [n for n in dict.fromkeys(values.values()) if n in found]
    return SubgroupInput(label, levels.with_columns(pl.col("level").cast(pl.Enum(order))))


def _undo(stored_as: str, value: pl.Expr) -> pl.Expr:
    """The value itself from what the file holds."""
    match stored_as:
        case "square root":
            return value**2
        case "logarithm":
            return value.exp()
        case "log10":
            return pl.lit(10.0) ** value
        case _:
            return value
