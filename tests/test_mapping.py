"""Other people's data through a mapping file: what comes out, and every way in which it can be wrong."""

# ruff: noqa: E501
# (one line for each case of the tables reads best)

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from equipoise.errors import UserError
from equipoise.record.mapping import AnalysisInput, analysis_input, read_mapping

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
DATA = Path(os.environ.get("EQUIPOISE_DATA", Path(__file__).parents[2] / "shared" / "data"))

MAPPING = """
mapping: 1
title: A small table
data: small.csv
participant: id
arm: {column: group, values: {A: control, B: active}}
arms:
  active: {label: Active drug}
  control: {label: Control}
reference_arm: control
strata:
  risk: {label: Risk, column: risk, values: {1: low, 2: high}}
endpoints:
  relapse:
    label: Relapse
    role: primary
    time: months
    unit: months
    status: {column: status, event: [1], competing: [2]}
    strata: [risk]
baseline:
  age: {label: Age, column: age, unit: years}
subgroups:
  age: {label: Age, of: age, cuts: [50, 40]}
"""
TABLE = """id,group,months,status,risk,age
p1,A,1,1,1,34
p2,B,2.5,0,2,41
p3,A,0,2,2,
p4,B,12,1,1,50
"""


def _read(tmp_path: Path, mapping: str = MAPPING, table: str = TABLE) -> AnalysisInput:
    (tmp_path / "mapping.yaml").write_text(mapping, encoding="utf-8")
    (tmp_path / "small.csv").write_text(table, encoding="utf-8")
    return analysis_input(tmp_path / "mapping.yaml")


def _refused(tmp_path: Path, message: str, mapping: str = MAPPING, table: str = TABLE) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path, mapping, table)
    assert message in str(caught.value)


def test_columns_become_arms_times_and_strata(tmp_path: Path):
    data = _read(tmp_path)
    assert data.participants.rows() == [
        (1, "p1", "control", "low"),
        (2, "p2", "active", "high"),
        (3, "p3", "control", "high"),
        (4, "p4", "active", "low"),
    ]
    assert data.arms == {"active": "Active drug", "control": "Control"}
    (relapse,) = data.endpoints
    assert relapse.times["day"].to_list() == [30.4375, 2.5 * 30.4375, 0.0, 365.25]
    assert relapse.times["status"].to_list() == [1, 0, 2, 1]
    assert relapse.times.schema == {
        "participant": pl.Int32, "day": pl.Float64, "status": pl.Int8, "entry": pl.Float64,
    }  # fmt: skip
    assert relapse.competing
    assert not relapse.late_entry
    assert relapse.strata == ("risk",)
    assert data.baseline is not None
    assert data.baseline["value"].to_list() == [34, 41, None, 50]
    (age,) = data.subgroups
    assert age.levels["level"].dtype == pl.Enum(["below 40", "40 to below 50", "50 or above"])
    assert age.levels["level"].to_list() == ["below 40", "40 to below 50", None, "50 or above"]
    assert data.remarks == ()
    assert "small.csv (SHA-256 " in data.source


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_usual_separator_and_a_byte_order_mark(tmp_path: Path, separator: str):
    data = _read(tmp_path, table="\ufeff" + TABLE.replace(",", separator))
    assert data.participants["id"].to_list() == ["p1", "p2", "p3", "p4"]


def test_parquet_is_read_as_csv_is(tmp_path: Path):
    from_csv = _read(tmp_path)
    pl.read_csv(tmp_path / "small.csv").write_parquet(tmp_path / "small.parquet")
    from_parquet = analysis_input(tmp_path / "mapping.yaml", tmp_path / "small.parquet")
    assert from_parquet.participants.equals(from_csv.participants)
    assert from_parquet.endpoints[0].times.equals(from_csv.endpoints[0].times)


def test_codes_mean_the_same_however_they_are_spelt(tmp_path: Path):
    table = TABLE.replace("p2,B,2.5,0,2", "p2, B ,2.5,0.0,2.0")
    assert _read(tmp_path, table=table).participants["stratum_risk"][1] == "high"


def test_late_entry(tmp_path: Path):
    mapping = MAPPING.replace("    time: months\n", "    time: months\n    entry: entered\n")
    table = "\n".join(
        line + end for line, end in zip(TABLE.split(), (",entered", ",0", ",1", ",", ",3"), strict=True)
    )
    data = _read(tmp_path, mapping, table)
    assert data.endpoints[0].late_entry
    assert data.endpoints[0].times["entry"].to_list() == [0, 30.4375, 0, 3 * 30.4375]
    _refused(tmp_path, "row 2: entered is not before months", mapping, table.replace("41,1", "41,2.5"))
    _refused(tmp_path, "row 2: entered is negative", mapping, table.replace("41,1", "41,-1"))


LONG = """
measures:
  cd4:
    label: CD4 count
    file: long.csv
    participant: who
    time: week
    unit_of_time: weeks
    value: root
    stored_as: square root
    unit: cells/mm3
    by: 2 months
"""


def test_a_measure_from_another_file_with_its_square_root_undone(tmp_path: Path):
    (tmp_path / "long.csv").write_text("who,week,root\np1,0,10\np1,8,12\np4,0,5\np9,0,3\np4,1,\n")
    (cd4,) = _read(tmp_path, MAPPING + LONG).measures
    assert cd4.values.rows() == [(1, 0.0, 100.0), (1, 56.0, 144.0), (4, 0.0, 25.0)]
    assert cd4.grid_days == 2 * 30.4375


@pytest.mark.parametrize(
    ("stored_as", "value"), [("value", 2.0), ("square root", 4.0), ("logarithm", 7.389056), ("log10", 100.0)]
)
def test_what_the_file_stores_is_turned_into_the_value(tmp_path: Path, stored_as: str, value: float):
    (tmp_path / "long.csv").write_text("who,week,root\np1,0,2\n")
    (cd4,) = _read(tmp_path, MAPPING + LONG.replace("square root", stored_as)).measures
    assert cd4.values["value"][0] == pytest.approx(value)


WIDE = """measures:
  cd4: {label: CD4 count, columns: {risk: 0 days, age: 2 weeks}, by: 1 week}
"""


def test_a_measure_with_a_column_for_each_visit(tmp_path: Path):
    (cd4,) = _read(tmp_path, MAPPING + WIDE).measures
    assert cd4.values.rows() == [
        (1, 0.0, 1.0), (1, 14.0, 34.0), (2, 0.0, 2.0), (2, 14.0, 41.0), (3, 0.0, 2.0), (4, 0.0, 1.0), (4, 14.0, 50.0),
    ]  # fmt: skip


@pytest.mark.parametrize("said", ["columns: {age: 0 days}, time: months", "time: months, value: age"])
def test_a_measure_is_in_rows_or_in_columns(tmp_path: Path, said: str):
    wrong = WIDE.replace("columns: {risk: 0 days, age: 2 weeks}", said)
    _refused(tmp_path, "say `time`, `unit_of_time` and `value` where each measurement", MAPPING + wrong)


def test_a_column_of_a_visit_that_is_not_there(tmp_path: Path):
    wrong = WIDE.replace("risk: 0 days", "rsk: 0 days")
    _refused(tmp_path, 'no column "rsk" (which measures.cd4.columns', MAPPING + wrong)


def test_measurements_of_strangers_only(tmp_path: Path):
    (tmp_path / "long.csv").write_text("who,week,root\nx1,0,2\n")
    _refused(tmp_path, "no measurement of CD4 count belongs to anybody in small.csv", MAPPING + LONG)


def test_one_file_with_several_rows_for_each(tmp_path: Path):
    mapping = MAPPING.replace("participant: id\n", "participant: id\nrows: several per participant\n") + (
        LONG.replace("    file: long.csv\n    participant: who\n", "")
    )
    table = "id,group,months,status,risk,age,week,root\n" + "".join(
        f"{line},{week},{root}\n" for line in TABLE.split()[1:] for week, root in ((0, 5), (4, 6))
    )
    data = _read(tmp_path, mapping, table)
    assert data.participants.height == 4
    assert data.measures[0].values.height == 8
    _refused(
        tmp_path,
        "group differs between the rows of participant p1",
        mapping,
        table.replace("p1,A", "p1,B", 1),
    )


def test_an_arm_without_events_is_analysed_and_said(tmp_path: Path):
    data = _read(tmp_path, table=TABLE.replace("p4,B,12,1", "p4,B,12,0"))
    assert data.remarks == ("Relapse: there is no event in the arm Active drug.",)


def test_people_who_lack_something_are_refused_or_set_aside(tmp_path: Path):
    table = TABLE.replace("p2,B,2.5,0,2", "p2,B,NA,0,2") + "p5,B,3,0,1,30\n"
    _refused(
        tmp_path, "row 2: months is missing; complete the data, or say `missing: set aside`", table=table
    )
    mapping = MAPPING.replace("mapping: 1\n", "mapping: 1\nmissing: set aside\n")
    data = _read(tmp_path, mapping, table)
    assert data.participants["id"].to_list() == ["p1", "p3", "p4", "p5"]
    assert data.participants["participant"].to_list() == [1, 2, 3, 4]
    assert data.remarks == ("1 people without months are set aside (row 2).",)


def test_other_arms_are_left_out_when_the_mapping_says_so(tmp_path: Path):
    table = TABLE + "p5,C,3,0,1,30\n"
    _refused(tmp_path, 'row 5: group is "C", which arm.values does not name; it names A, B', table=table)
    data = _read(tmp_path, MAPPING.replace("B: active}", "B: active}, leave_out: [C]"), table)
    assert data.participants.height == 4
    assert data.remarks == ("1 people of other arms are left out, as the mapping says.",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("months,status", "month,status", 'there is no column "months" (which endpoints.relapse.time of the mapping '
         'names); did you mean "month"?'),
        ("group", "Group", 'there is no column "group" (which arm.column of the mapping names); did you mean "Group"?'),
        ("id,group", "patient,group", "there are patient, group, months, status, risk, age"),
        ("p2,B,2.5", "p2,B,-2.5", "row 2: months is negative; times count from randomisation and are 0 or more"),
        ("p2,B,2.5", "p2,B,soon", 'row 2: months is "soon", a number was expected (endpoints.relapse.time)'),
        ("p2,B,2.5", "p2,B,inf", 'row 2: months is "inf", a number was expected'),
        ("0,2,41", "0,3,41", 'row 2: risk is "3", which strata.risk.values does not name; it names 1, 2'),
        ("p2,B", "p1,B", "row 2: the participant p1 was in row 1 already"),
        ("p2,B", ",B", "row 2: id is missing"),
        ("p2,B", "p2,", "row 2: group is missing"),
        ("p2,B,2.5,0", "p2,B,2.5,", "row 2: status is missing"),
        (TABLE, "", "the file is empty"),
        (TABLE, "id,group\n", "the file has a header but no rows"),
        (",B,", ",A,", 'nobody is in the arm "active": check arm.values'),
        ("p4,B,12,1,1,50", "p4,B,12,1,1,50,9,9,9", "not a readable table"),
        ("p2,B,2.5", "p2,B,1e300", "row 2: months is more than 150 years when read as months: check endpoints.rel"),
        ("risk,age", "risk,status", 'several columns are called "status"'),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused_at_its_row(tmp_path: Path, old: str, new: str, message: str):
    assert old in TABLE
    _refused(tmp_path, message, table=TABLE.replace(old, new))


def test_a_value_with_two_meanings_is_refused(tmp_path: Path):
    for second in ("competing: [1.0]", "censored: [0, 1]"):
        mapping = MAPPING.replace("competing: [2]", second)
        _refused(tmp_path, 'endpoints.relapse.status: the value "1', mapping=mapping)


def test_blank_lines_at_the_end_and_old_line_ends(tmp_path: Path):
    for table in (TABLE + "\r\n\n", TABLE.replace("\n", "\r")):
        assert _read(tmp_path, table=table).participants.height == 4


def test_a_status_that_is_not_listed(tmp_path: Path):
    mapping = MAPPING.replace("competing: [2]", "censored: [0]")
    _refused(tmp_path, 'row 3: status is "2", which endpoints.relapse.status does not name', mapping)


def test_a_missing_data_file(tmp_path: Path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    with pytest.raises(UserError, match=r"small\.csv: there is no such file"):
        analysis_input(tmp_path / "mapping.yaml")
    (tmp_path / "mapping.yaml").write_text(MAPPING.replace("data: small.csv\n", ""))
    with pytest.raises(UserError, match="name the data file"):
        analysis_input(tmp_path / "mapping.yaml")
    with pytest.raises(UserError, match="the mapping file cannot be read"):
        analysis_input(tmp_path / "nothing.yaml")


def test_text_that_is_not_utf8(tmp_path: Path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    (tmp_path / "small.csv").write_bytes(TABLE.replace("p1", "pé").encode("latin-1"))
    with pytest.raises(UserError, match=r"small\.csv: not a readable table"):
        analysis_input(tmp_path / "mapping.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reference_arm: control", "reference_arm: placebo",
         'reference_arm "placebo" is not declared; there are active, control'),
        ("strata: [risk]", "strata: [risks]", 'the stratum "risks" is not declared; there are risk'),
        ("of: age", "of: ages", 'the item "ages" is not declared; there are risk, age'),
        ("B: active", "B: actives", "means an arm that is not in `arms`"),
        ("unit: months", "unit: fortnights", "endpoints.relapse.unit: "),
        ("    time: months\n", "", ':14:3: endpoints.relapse: missing key "time"'),
        ("    time: months\n", "    times: months\n", 'unknown key "times"; did you mean "time"?'),
        ("mapping: 1", "mapping: 2", ":2:1: mapping: "),
        ("title: A small table", "title: &t A small table", "anchors (&name) are not allowed"),
        ("of: age, cuts: [50, 40]", "of: age", "the subgroups of Age need `cuts`: age is a number"),
        (MAPPING, "", "the mapping file is empty"),
        (MAPPING, "- 1", "a mapping file is a block of `key: value` lines"),
    ],
)  # fmt: skip
def test_a_mapping_that_says_something_impossible(tmp_path: Path, old: str, new: str, message: str):
    assert old in MAPPING
    _refused(tmp_path, message, MAPPING.replace(old, new))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_is_a_mapping(path: Path):
    assert read_mapping(path).mapping == 1


def test_the_breast_cancer_trial_that_lifelines_brings(tmp_path: Path):
    datasets = pytest.importorskip("lifelines.datasets")
    datasets.load_gbsg2().to_csv(tmp_path / "gbsg2.csv", index=False)
    data = analysis_input(EXAMPLES / "gbsg2.yaml", tmp_path / "gbsg2.csv")
    assert data.participants.group_by("arm").len().sort("arm").rows() == [("control", 440), ("hormone", 246)]
    assert int((data.endpoints[0].times["status"] == 1).sum()) == 299


@pytest.mark.skipif(
    not (DATA / "actg320").is_dir(), reason="the open data sets are not here (EQUIPOISE_DATA)"
)
def test_actg320_as_published():
    data = analysis_input(EXAMPLES / "actg320.yaml", DATA / "actg320" / "actg320.csv")
    people = data.participants.with_columns(
        status=data.endpoints[0].times["status"], died=data.endpoints[1].times["status"]
    )
    counted = people.group_by("arm").agg(pl.len(), pl.col("status", "died").sum()).sort("arm")
    assert counted.rows() == [("control", 577, 63, 18), ("indinavir", 574, 33, 8)]


@pytest.mark.skipif(
    not (DATA / "aids-ddi-ddc").is_dir(), reason="the open data sets are not here (EQUIPOISE_DATA)"
)
def test_didanosine_and_zalcitabine_as_published():
    data = analysis_input(EXAMPLES / "ddi_ddc.yaml", DATA / "aids-ddi-ddc" / "aids_id.csv")
    people = data.participants.with_columns(status=data.endpoints[0].times["status"])
    counted = people.group_by("arm").agg(pl.len(), pl.col("status").sum()).sort("arm")
    assert counted.rows() == [("ddc", 237, 88), ("ddi", 230, 100)]
    (cd4,) = data.measures
    assert cd4.values.height == 1405
    assert cd4.values.filter(participant=1)["value"].to_list() == pytest.approx([114, 71, 89], abs=0.01)


def test_the_page_names_every_field():
    from equipoise.record import mapping

    page = (EXAMPLES.parent / "mapping.md").read_text(encoding="utf-8")
    models = (mapping.DataMapping, mapping.ArmMapping, mapping.EndpointMapping, mapping.MeasureMapping)
    models += (
        mapping.StatusMapping,
        mapping.SubgroupMapping,
        mapping.CategoryMapping,
        mapping.BaselineMapping,
    )
    missing = {name for model in models for name in model.model_fields if f"`{name}`" not in page}
    assert not missing
