"""The description of the tables, and the page of the documentation that is made from it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import record_example
from equipoise.record import schemas

PAGE = Path(__file__).parents[1] / "docs" / "record.md"


def test_the_page_on_the_record_is_the_one_that_the_schemas_make():
    assert PAGE.read_text(encoding="utf-8") == schemas.documentation(), (
        "run  equipoise schema record > docs/record.md"
    )


@pytest.mark.parametrize("name", schemas.TABLES)
def test_keys_and_references_name_columns_that_exist(name: str):
    table = schemas.TABLES[name]
    for column in table.key:
        assert not table.column(column).nullable
    for reference in table.references:
        target = schemas.TABLES[reference.table]
        for here, there in zip(reference.columns, reference.target, strict=True):
            assert table.column(here).dtype == target.column(there).dtype
        assert set(reference.target) == set(target.key)


@pytest.mark.parametrize("name", schemas.TABLES)
def test_every_day_says_what_it_counts_from(name: str):
    for column in schemas.TABLES[name].columns:
        if column.name == "day" or column.name.endswith("_day"):
            assert column.unit == "days since randomisation"
            assert column.dtype == pl.Int32


def test_participants_gain_a_column_for_each_stratum_of_the_protocol():
    table = schemas.table("participants", record_example.protocol())
    column = table.columns[-1]
    assert (column.name, column.allowed, column.nullable) == ("stratum_cd4_stratum", ("low", "high"), False)


def test_words_come_from_the_protocol():
    protocol = record_example.protocol()
    table = schemas.table("events", protocol)
    assert schemas.words(table.column("kind"), protocol) == ("death", "od", "adverse_event")
    assert schemas.words(table.column("term"), protocol) is None
