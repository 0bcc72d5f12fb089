"""What people type, and what is stored of it."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.conduct import entering
from equipoise.conduct.entering import EntryError, read, read_date, read_partial_date
from equipoise.protocol.model import Item

CD4 = Item(label="CD4 count", unit="cells/mm3", range=(0, 3000), collect=["visits"])
RNA = Item(
    label="HIV RNA", unit="copies/mL", range=(0, 2e7), detection_limit=50, collect=["visits"],
)  # fmt: skip
DRUGS = Item(label="Drugs", range=(0, 12), collect=["screening"])
SEX = Item(label="Sex", type="category", categories=["male", "female"], collect=["screening"])
OPEN_LIST = Item(label="Clinic", type="category", categories=[], collect=["screening"])
CONSENT = Item(label="Consent", type="boolean", collect=["screening"])
TODAY = date(2026, 3, 4)


@pytest.mark.requirement("I3")
@pytest.mark.parametrize(
    ("item", "text", "unit", "stored"),
    [
        (CD4, "210", "", ("210", "cells/mm3", "", 210.0)),
        (CD4, " 210 ", "", ("210", "cells/mm3", "", 210.0)),
        (CD4, "210.50", "", ("210.50", "cells/mm3", "", 210.5)),
        (CD4, "0.57", "10^9/L", ("0.57", "10^9/L", "", 570.0)),
        (CD4, "0.29", "×10⁹/L", ("0.29", "×10⁹/L", "", 290.0)),
        (CD4, "210", "cells/uL", ("210", "cells/uL", "", 210.0)),
        (CD4, "0", "", ("0", "cells/mm3", "", 0.0)),
        (RNA, "<50", "", ("<50", "copies/mL", "<", 50.0)),
        (RNA, "< 400", "", ("< 400", "copies/mL", "<", 400.0)),
        (RNA, ">750000", "", (">750000", "copies/mL", ">", 750000.0)),
        (RNA, "1.5e5", "", ("1.5e5", "copies/mL", "", 150000.0)),
        (DRUGS, "3", "", ("3", "", "", 3.0)),
    ],
)
def test_a_number_is_kept_as_reported_and_converted(
    item: Item, text: str, unit: str, stored: tuple[str, str, str, float]
) -> None:
    entered = read(item, text, unit)
    assert (entered.text, entered.unit, entered.qualifier, entered.number) == stored


@pytest.mark.parametrize(
    ("item", "text", "unit", "words"),
    [
        (CD4, "210,5", "", "write the decimals after a point: 210.5"),
        (CD4, "1,000", "", "if thousands are meant, 1000"),
        (RNA, "10 000", "", "without a sign between: 10000"),
        (RNA, "1'000'000", "", "without a sign between: 1000000"),
        (RNA, "<=50", "", "written <50"),
        (RNA, "≤50", "", "written <50"),
        (CD4, "210 cells/mm3", "", "the unit has its own place"),
        (CD4, "about 200", "", 'expected a number such as 300, not "about 200"'),
        (CD4, "--5", "", "expected a number"),
        (CD4, "٣", "", "expected a number"),
        (CD4, "1e999", "", "too large"),
        (CD4, "9" * 50, "", "too long"),
        (CD4, "210", "mg/dL", "cannot be turned into cells/mm3; give it in cells/mm3 or cells/uL"),
        (DRUGS, "3", "kg", "cannot be turned into a number without unit"),
        (SEX, "other", "", '"other" is not one of: male, female'),
        (SEX, "3", "", "is not one of"),
        (CONSENT, "maybe", "", "answer yes or no"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused_in_words(
    item: Item, text: str, unit: str, words: str
) -> None:
    with pytest.raises(EntryError) as refused:
        read(item, text, unit)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("item", "typed", "text", "number"),
    [
        (SEX, "2", "female", None),
        (SEX, "FEMALE", "female", None),
        (OPEN_LIST, "Northfield", "Northfield", None),
        (CONSENT, "y", "yes", 1.0),
        (CONSENT, "Yes", "yes", 1.0),
        (CONSENT, "1", "yes", 1.0),
        (CONSENT, "2", "no", 0.0),
        (CONSENT, "n", "no", 0.0),
    ],
)
def test_coded_answers_are_picked_by_word_or_by_number_key(
    item: Item, typed: str, text: str, number: float | None
) -> None:
    entered = read(item, typed)
    assert (entered.text, entered.number) == (text, number)


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("item", [CD4, SEX, CONSENT], ids=["number", "category", "boolean"])
def test_why_there_is_no_value_has_its_words_and_zero_is_a_value(item: Item) -> None:
    for word in entering.MISSING_WORDS:
        assert read(item, "", missing=word) == entering.Entered(missing=word)
        assert read(item, word.upper()) == entering.Entered(missing=word)
    assert read(item, "nd").missing == "not done"
    assert read(item, "").is_blank
    assert not read(item, "0" if item is CD4 else "1").is_blank
    with pytest.raises(EntryError, match=r"a value .* and a reason"):
        read(item, "1", missing="unknown")
    with pytest.raises(EntryError, match="one of"):
        read(item, "", missing="lost")
    assert len(set(entering.MISSING_KEYS.values())) == len(entering.MISSING_KEYS) == 5


@pytest.mark.requirement("I3")
def test_ten_thousand_numbers_come_back_as_they_were_written() -> None:
    draw = random.Random(20260302)
    for _ in range(10_000):
        digits, places = draw.randint(0, 10 ** draw.randint(1, 9)), draw.randint(0, 4)
        text = f"{draw.choice(['', '', '<', '>'])}{digits / 10**places:.{places}f}"
        plain = read(RNA, text)
        written = text.lstrip("<>")
        assert plain.text == text
        assert plain.number == float(written)
        assert plain.qualifier == text[: len(text) - len(written)]
        thousands = read(CD4, text, "10^9/L")
        assert thousands.text == text
        assert Decimal(thousands.number) == Decimal(float(Decimal(written) * 1000))


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_whatever_is_typed_is_stored_as_typed_or_refused(text: str) -> None:
    for item in (CD4, SEX, OPEN_LIST, CONSENT):
        try:
            entered = read(item, text)
        except EntryError:
            continue
        if entered.number is not None and item is CD4:
            assert entered.text == text.strip()
            assert float(text.strip().lstrip("<>")) == entered.number
        assert entered.is_blank == (not text.strip())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 may 2003", date(2003, 5, 3)), ("3 May 2003", date(2003, 5, 3)), ("3-MAY-2003", date(2003, 5, 3)),
        ("03 September 2003", date(2003, 9, 3)), ("03052003", date(2003, 5, 3)),
        ("2003-05-03", date(2003, 5, 3)), ("2003-5-3", date(2003, 5, 3)), ("t", TODAY), ("T", TODAY),
        ("-1", TODAY - timedelta(days=1)), ("+7", TODAY + timedelta(days=7)),
        ("29feb2024", date(2024, 2, 29)),
    ],
)  # fmt: skip
def test_dates_are_read_in_the_ways_people_write_them(text: str, expected: date) -> None:
    assert read_date(text, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3/5/03", "is the day or the month first"), ("13.5.2003", "is the day or the month first"),
        ("3 5 2003", "is the day or the month first"), ("31 jun 2003", "no such day"),
        ("29022023", "no such day"), ("3 mai 2003", '"mai" is not a month'), ("soon", "is not a date"),
        ("0003-05-03", "cannot be"), ("", "is not a date"),
    ],
)  # fmt: skip
def test_dates_that_could_mean_two_days_or_none_are_refused(text: str, words: str) -> None:
    with pytest.raises(EntryError) as refused:
        read_date(text, TODAY)
    assert words in str(refused.value)


@pytest.mark.requirement("I5")
@pytest.mark.parametrize(
    ("text", "stored", "first", "last"),
    [
        ("2003-05", "2003-05", date(2003, 5, 1), date(2003, 5, 31)),
        ("may 2003", "2003-05", date(2003, 5, 1), date(2003, 5, 31)),
        ("UN may 2003", "2003-05", date(2003, 5, 1), date(2003, 5, 31)),
        ("UNK-MAY-2003", "2003-05", date(2003, 5, 1), date(2003, 5, 31)),
        ("2003", "2003", date(2003, 1, 1), date(2003, 12, 31)),
        ("UN UNK 2003", "2003", date(2003, 1, 1), date(2003, 12, 31)),
        ("dec 2003", "2003-12", date(2003, 12, 1), date(2003, 12, 31)),
        ("3 may 2003", "2003-05-03", date(2003, 5, 3), date(2003, 5, 3)),
    ],
)
def test_a_date_known_in_part_stays_as_precise_as_it_is(
    text: str, stored: str, first: date, last: date
) -> None:
    assert read_partial_date(text, TODAY) == stored
    assert entering.earliest(stored) == first
    assert entering.latest(stored) == last


def test_a_date_is_shown_with_its_weekday() -> None:
    assert entering.said(date(2003, 5, 3)) == "Saturday 3 May 2003"
    with pytest.raises(EntryError, match="no such day"):
        entering.latest("2003-02-30")
    with pytest.raises(EntryError, match="no such day"):
        entering.earliest("2003-13")


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
def test_every_day_is_read_back_from_every_way_of_writing_it(day: date) -> None:
    for written in (day.isoformat(), f"{day:%d%m%Y}", f"{day.day} {day:%b} {day.year}", f"{day:%d-%B-%Y}"):
        assert read_date(written, TODAY) == day
        assert read_partial_date(written, TODAY) == day.isoformat()


def test_the_units_that_measure_the_same_are_offered_and_no_others() -> None:
    assert entering.accepted_units("cells/mm3") == ("cells/mm3", "cells/uL", "10^9/L", "10^6/L")
    assert entering.accepted_units("g/dL")[:2] == ("g/dL", "g/L")
    assert "mmol/L" not in entering.accepted_units("g/dL")
    assert entering.accepted_units("") == ()
    assert entering.accepted_units("x ULN") == ("x ULN",)


@pytest.mark.parametrize(("text", "number"), [
    ("0", 0), ("7", 7), ("007", 7), ("999999", 999_999), ("1000000", None), ("", None), ("-1", None),
    ("+1", None), (" 1", None), ("1\n", None), ("1.0", None), ("1_000", None), ("²", None), ("٣", None),
    ("1²", None), ("９", None), ("9" * 5000, None),
])  # fmt: skip
def test_a_whole_number_is_a_few_plain_digits_and_nothing_else(text: str, number: int | None) -> None:
    assert entering.read_whole(text) == number


@given(st.text(max_size=8))
def test_no_text_breaks_the_reading_of_whole_numbers(text: str) -> None:
    number = entering.read_whole(text)
    assert number is None or (text.isascii() and int(text) == number)


def test_a_day_that_is_possible_can_be_reckoned_with() -> None:
    assert [entering.is_possible(one) for one in (date.min, date(1899, 12, 31), date(1900, 1, 1))] == [
        False, False, True,
    ]  # fmt: skip
    assert [entering.is_possible(one) for one in (date(2199, 12, 31), date(2200, 1, 1), date.max)] == [
        True, False, False,
    ]  # fmt: skip
    with pytest.raises(EntryError, match="the year 9999 cannot be"):
        read_date("9999-12-31", date(2026, 3, 2))
