"""Reading and writing protocols: what a file may say, how it objects, and what names a version."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise import protocol as eq
from equipoise.errors import UserError
from equipoise.protocol import ProtocolError
from equipoise.protocol.checking import problems
from equipoise.protocol.reading import MAX_BYTES, build, load_source, parse_yaml

FOLDER = Path(__file__).parent / "protocols"
SMALL = FOLDER / "valid" / "small.yaml"
TEXT = SMALL.read_text(encoding="utf-8")
INVALID = sorted((FOLDER / "invalid").glob("*.yaml"))
VALID = [*eq.bundled(), *map(str, sorted((FOLDER / "valid").glob("*.yaml")))]


# --- the corpus ---------------------------------------------------------------------------------------------


def message_of(path: str) -> str:
    """The one message that a user sees first."""
    try:
        source = load_source(path)
        protocol = build(source)
    except UserError as error:
        return str(error)
    errors = [problem for problem in problems(protocol) if problem.severity == "error"]
    first = min(errors, key=lambda problem: source.locate(problem.place).line)
    return f"{source.where(first.place)}: {first.place}: {first.message}"


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_protocol_gives_its_one_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert message_of(path.name) == path.with_suffix(".expected").read_text(encoding="utf-8").rstrip("\n")


def test_the_corpus_is_complete() -> None:
    assert len(INVALID) >= 45
    assert {path.stem for path in (FOLDER / "invalid").glob("*.expected")} == {path.stem for path in INVALID}


@pytest.mark.parametrize("name", VALID)
def test_a_valid_protocol_reads_and_agrees_with_the_schema(name: str) -> None:
    protocol = eq.load(name)
    assert [str(problem) for problem in problems(protocol) if problem.severity == "error"] == []
    jsonschema.validate(load_source(name).data, eq.json_schema(), jsonschema.Draft202012Validator)
    jsonschema.validate(eq.resolve(protocol), eq.json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", VALID)
def test_what_is_written_reads_back_as_the_same_version(name: str) -> None:
    protocol = eq.load(name)
    written = eq.dumps(protocol)
    assert eq.sha256(eq.loads(written)) == eq.sha256(protocol)
    assert eq.dumps(eq.loads(written)) == written
    assert eq.sha256(eq.loads(eq.canonical(protocol))) == eq.sha256(protocol)


# --- the YAML that is understood ----------------------------------------------------------------------------

SCALARS = [
    ("true", True),
    ("false", False),
    ("yes", "yes"),
    ("off", "off"),
    ("True", "True"),
    ("null", None),
    ("~", None),
    ("", None),
    ("12", 12),
    ("-3", -3),
    ("007", 7),
    ("1.50", 1.5),
    (".5", 0.5),
    ("1e3", 1000.0),
    ("0x1F", "0x1F"),
    ("0o17", "0o17"),
    ("1_000", "1_000"),
    ("10:30", "10:30"),
    ("190:20:30", "190:20:30"),
    ("2001-04-30", "2001-04-30"),
    ("'12'", "12"),
    ('"true"', "true"),
    ("4.5 MIU", "4.5 MIU"),
    ("=", "="),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_unquoted_text_means_what_it_shows(text: str, value: Any) -> None:
    found = parse_yaml(f"key: {text}\n").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_always_text() -> None:
    assert parse_yaml("1: a\ntrue: b\n~: c\n").data == {"1": "a", "true": "b", "~": "c"}


def test_other_people_s_editors_are_welcome() -> None:
    digest = eq.sha256(eq.loads(TEXT))
    assert eq.sha256(eq.loads(b"\xef\xbb\xbf" + TEXT.encode())) == digest
    assert eq.sha256(eq.loads(TEXT.replace("\n", "\r\n"))) == digest
    assert eq.sha256(eq.loads(json.dumps(parse_yaml(TEXT).data))) == digest


def test_a_megabyte_of_nesting_is_refused_at_once() -> None:
    for text in ("[" * 1_000_000, "a: " + "[" * 1_000_000, "{a: " * 250_000, "- " * 500_000, "? " * 500_000):
        with pytest.raises(ProtocolError, match=r"nested too deeply|a key must be a plain word"):
            eq.loads(text)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("title: " + "x" * MAX_BYTES)
    with pytest.raises(ProtocolError, match="too large for a protocol"):
        eq.load(path)
    with pytest.raises(ProtocolError, match="too large for a protocol"):
        eq.loads(path.read_text())
    with pytest.raises(ProtocolError, match="too many values"):
        eq.loads("[" + "1," * 300_000 + "]")


def test_a_name_that_is_no_protocol_says_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r'no bundled protocol of that name; did you mean "silcaat"\?'):
        eq.load("silcat")
    with pytest.raises(ProtocolError, match="this is a folder"):
        eq.load(tmp_path)
    with pytest.raises(ProtocolError):
        eq.load("\0")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "closed.yaml"
    path.write_text(TEXT)
    path.chmod(0)
    with pytest.raises(ProtocolError, match="cannot be read: Permission denied"):
        eq.load(path)


# --- places -------------------------------------------------------------------------------------------------


def test_an_error_names_file_line_column_and_field() -> None:
    with pytest.raises(ProtocolError) as caught:
        eq.loads(TEXT.replace("floor: 1.5 MIU", "flor: 1.5 MIU"), place="my.yaml")
    error = caught.value
    assert (error.place, error.line, error.column, error.path) == ("my.yaml", 35, 5, "regimens.factor.flor")
    assert str(error) == 'my.yaml:35:5: regimens.factor.flor: unknown key "flor"; did you mean "floor"?'


def test_every_field_has_a_place() -> None:
    source = parse_yaml(TEXT)
    lines = TEXT.splitlines()
    for place, text in [
        ("regimens.factor.goal.rules[0].rise", "rise: 150"),
        ("visits[1].every", "every: 4 months"),
        ("visits[1]", "id: follow_up"),
        ("strata.level.levels.high", "high: count"),
        ("arms.control", "control: {label"),
    ]:
        at = source.locate(place)
        assert lines[at.line - 1][at.column - 1 :].startswith(text)
    assert source.locate("visits[1].nowhere") == source.locate("visits[1]")
    assert source.locate("regimens.factory") == source.locate("regimens")


# --- what names a version -----------------------------------------------------------------------------------


def test_layout_comments_and_spelling_do_not_change_the_version() -> None:
    digest = eq.sha256(eq.loads(TEXT))
    data = parse_yaml(TEXT).data
    backwards = json.dumps(dict(reversed(data.items())))
    for same in (
        "# a comment\n" + TEXT,
        backwards,
        TEXT.replace("4.5 MIU", "4.50  MIU"),
        TEXT.replace("cycles: 3 cycles", "cycles: 3"),
        TEXT.replace("range: [0, 3000]", "range: [0.0, 3.0e3]"),
        TEXT.replace("title: A small trial of", "title: >\n  A small\n  trial   of"),
        TEXT.replace("{reduce_from_grade: 3,", "{reduce_from_grade: 3, stop_from_grade: 5,"),
    ):
        assert same != TEXT
        assert eq.sha256(eq.loads(same)) == digest


def test_any_change_of_meaning_changes_the_version() -> None:
    digest = eq.sha256(eq.loads(TEXT))
    for old, new in [
        ("4.5 MIU", "4.6 MIU"),
        ("age >= 18", "age > 18"),
        ("rise: 150", "rise: 151"),
        ("low:", "few:"),
    ]:
        assert eq.sha256(eq.loads(TEXT.replace(old, new))) != digest


def test_the_order_of_what_a_protocol_names_is_part_of_the_version() -> None:
    # Random draws go through arms, levels and countries in the order of the file.
    data = parse_yaml(TEXT).data
    data["arms"] = dict(reversed(data["arms"].items()))
    turned = eq.loads(json.dumps(data))
    assert eq.sha256(turned) != eq.sha256(eq.loads(TEXT))
    assert list(eq.loads(eq.canonical(turned)).arms) == list(data["arms"])


def test_the_canonical_form_is_plain_json() -> None:
    text = eq.canonical(eq.loads(TEXT)).decode()
    data = json.loads(text)
    assert json.dumps(data, ensure_ascii=False, separators=(",", ":")) == text
    assert data["regimens"]["factor"]["toxicity"]["stop_from_grade"] == 5
    assert data["items"]["count"]["range"] == [0, 3000]
    assert "null" not in text


def test_the_schema_describes_fields_for_editors() -> None:
    schema = eq.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert "start of one cycle" in schema["$defs"]["Regimen"]["properties"]["minimum_gap"]["description"]


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip)
numbers = st.floats(allow_nan=False, allow_infinity=False)
tricky = st.sampled_from(
    ["true", "null", "~", "12", "1e3", ".inf", "2001-01-01", "a: b", "- a", "'", '"', "#x", "<<"]
)


@settings(max_examples=150)
@given(
    title=words | tricky,
    background=st.lists(words | tricky, min_size=1, max_size=4).map("\n".join),
    label=words | tricky,
    low=numbers,
    dose=st.floats(1e-6, 1e15),
    unit=st.sampled_from(["MIU", "mg/kg", "x ULN", "%", "10^9/L", "puffs"]),
    category=words | tricky,
)
def test_any_protocol_survives_writing(
    title: str, background: str, label: str, low: float, dose: float, unit: str, category: str
) -> None:
    data = copy.deepcopy(parse_yaml(TEXT).data)
    data["title"], data["background"] = title, background
    data["items"]["count"] |= {"label": label, "range": [low, 1.7e308] if low < 1.7e308 else [0, 1]}
    data["items"]["sex"]["categories"] = [category, label]
    data["regimens"]["factor"]["cycle"]["dose"] = f"{dose!r} {unit}"
    protocol = eq.loads(json.dumps(data, ensure_ascii=False))
    assert protocol.regimens["factor"].cycle is not None
    assert protocol.regimens["factor"].cycle.dose.value == dose
    again = eq.loads(eq.dumps(protocol))
    assert eq.canonical(again) == eq.canonical(protocol)
    assert again.title == protocol.title


# --- nothing breaks it --------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text("a:-[]{}&*!|>'\"#%@,? \n\t<=~", max_size=60))
def test_any_bytes_are_refused_in_words(data: bytes | str) -> None:
    with pytest.raises(ProtocolError) as caught:
        eq.loads(data)
    assert len(str(caught.value).splitlines()) == 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=8) | tricky,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=400)
@given(st.data())
def test_any_field_may_be_wrong(data: st.DataObject) -> None:
    protocol = copy.deepcopy(parse_yaml(TEXT).data)
    block: Any = protocol
    while True:
        key = data.draw(st.sampled_from(list(block) if isinstance(block, dict) else range(len(block))))
        inner = block[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        block = inner
    what = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if what == "replace" or not isinstance(block, dict):
        block[key] = data.draw(values)
    elif what == "remove":
        del block[key]
    else:
        block[data.draw(st.text(max_size=8))] = data.draw(values)
    try:
        eq.sha256(eq.loads(json.dumps(protocol, ensure_ascii=False)))
    except ProtocolError as error:
        assert error.line is not None  # noqa: PT017
        assert "Input should" not in str(error)  # noqa: PT017
