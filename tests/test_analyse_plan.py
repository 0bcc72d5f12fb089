"""The whole plan on records: rows as documented, numbers as counted by hand, no crash on bare data."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis_example
import record_example
from equipoise import analyse
from equipoise.analyse import inputs, outcomes, results
from equipoise.analyse.disposition import check_flow
from equipoise.errors import UserError
from equipoise.protocol import Protocol, load
from equipoise.protocol.model import Endpoint
from equipoise.record import Provenance, Record
from equipoise.rules import endpoints as rules

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def silcaat() -> Protocol:
    return load("silcaat")


@pytest.fixture(scope="module")
def trial(silcaat) -> Record:
    return analysis_example.record(silcaat, 400)


@pytest.fixture(scope="module")
def found(trial) -> analyse.Results:
    return analyse.run(trial)


def small() -> Record:
    return Record.of(record_example.protocol(), record_example.tables(), Provenance(seed=1))


# --- the table as such ------------------------------------------------------------------------------------


def test_the_table_has_its_six_columns_and_every_key_once(found):
    assert dict(found.table.schema) == results.SCHEMA
    assert not found.table.select(results.KEY).is_duplicated().any()
    assert found.table.select(*results.KEY, "unit").null_count().sum_horizontal()[0] == 0


def documented() -> list[re.Pattern[str]]:
    """The parameters that docs/results.md describes, as patterns."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    patterns = []
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        for name in re.findall(r"`([^`]+)`", line):
            name = name.replace("... ", "participants with ")
            escaped = re.sub(r"<[^>]+>", "<>", name)
            pattern = "".join(
                ".+" if part == "<>" else re.escape(part) for part in re.split(r"(<>)", escaped)
            )
            patterns.append(re.compile(pattern))
    return patterns


def test_every_row_is_in_the_documentation(found):
    patterns = documented()
    grid = re.compile(r"\b(week|day|year) \d+")
    for parameter in found.table["parameter"].unique().to_list():
        spellings = {parameter, grid.sub("month 4", parameter)}
        assert any(p.fullmatch(spelling) for p in patterns for spelling in spellings), parameter
    statistics = set(
        re.findall(r"`([a-z_0-9]+)`", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    )
    assert set(found.table["statistic"].unique()) <= statistics


def test_repeating_an_analysis_gives_the_same_bytes(trial, found, tmp_path):
    analyse.write(found, tmp_path / "a")
    analyse.write(analyse.run(trial), tmp_path / "b")
    for name in ("results.parquet", "results.csv", "results.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_published_figure_of_the_bundled_trials_has_its_row(found, silcaat):
    keys = set(found.table.select(results.KEY).rows())
    for name, figure in silcaat.published.items():
        key = (figure.analysis, figure.group, figure.parameter, figure.statistic)
        category = figure.analysis == "baseline" and ": " in figure.parameter
        assert key in keys or category or not figure.compared, f"{name}: {key}"


def test_progress_is_told_in_words(trial):
    seen: list[tuple[str, float]] = []
    analyse.run(trial, progress=lambda words, share: seen.append((words, share)))
    assert seen[-1][1] == 1.0
    assert [s for _, s in seen] == sorted(s for _, s in seen)
    assert "Opportunistic disease or death" in [w for w, _ in seen]


# --- endpoints --------------------------------------------------------------------------------------------

_KINDS = {"od": ["a", "b"], "death": ["other"], "ae": ["x"]}


@settings(max_examples=150)
@given(st.data())
def test_endpoints_for_everybody_agree_with_the_rule_for_one(data):
    base = record_example.protocol()
    draw = data.draw
    kinds = {k: base.events["death" if k == "death" else "od"] for k in _KINDS}
    kinds["od"] = kinds["od"].model_copy(update={"recurrent_counts": draw(st.booleans())})
    first_of = draw(st.lists(st.sampled_from(list(_KINDS)), min_size=1, max_size=2, unique=True))
    competing = [
        k for k in draw(st.lists(st.sampled_from(list(_KINDS)), max_size=2, unique=True)) if k not in first_of
    ]
    censors = [
        "end of study",
        *draw(st.lists(st.sampled_from(["loss to follow-up", "withdrawal"]), unique=True)),
    ]
    endpoint = Endpoint(
        label="E", first_of=first_of, competing=competing, role="primary", censor_at=censors,
        terms=draw(st.sampled_from([[], ["a"], ["a", "x"]])),
        recurrences=draw(st.sampled_from(["counted", "left out"])),
    )  # fmt: skip
    protocol = base.model_copy(update={"events": kinds, "endpoints": {"e": endpoint}})
    people, rows, ends = range(1, 4), [], []
    expected = []
    for who in people:
        day, cutoff = draw(st.integers(0, 8)), draw(st.integers(0, 9))
        status = draw(st.sampled_from(["completed", "died", "lost to follow-up", "withdrew"]))
        ends.append((who, cutoff, day, status))
        mine = []
        for _ in range(draw(st.integers(0, 3))):
            kind = draw(st.sampled_from(list(_KINDS)))
            word = draw(st.sampled_from(["confirmed", "refuted", "recurrence"]))
            event = rules.RecordedEvent(
                kind, draw(st.integers(0, 9)), draw(st.sampled_from(_KINDS[kind])),
                word == "recurrence", word == "refuted",
            )  # fmt: skip
            mine.append(event)
            rows.append((who, event.day, kind, event.term, word))
        left = {"lost to follow-up": "loss to follow-up", "withdrew": "withdrawal"}.get(
            status, "end of study"
        )
        expected.append(
            rules.time_to_event(protocol, "e", mine, rules.last_known(endpoint, day, left, cutoff), cutoff)
        )
    events = pl.DataFrame(
        rows, orient="row",
        schema={"participant": pl.Int32, "day": pl.Int32, "kind": pl.String, "term": pl.String,
                "adjudication": pl.String},
    )  # fmt: skip
    end = pl.DataFrame(
        ends, orient="row",
        schema={"participant": pl.Int32, "cutoff": pl.Int32, "day": pl.Int32, "status": pl.String},
    )  # fmt: skip
    derived = inputs.endpoint_times(endpoint, kinds, events.lazy(), end)
    assert [(int(d), s) for d, s in derived.select("day", "status").rows()] == expected


def test_the_hand_made_record_is_analysed_as_it_would_be_by_hand():
    got = analyse.run(small())
    value = got.value
    assert value("primary", "il2", "events", "n") == 2
    assert value("primary", "control", "events", "n") == 0
    assert value("primary", "il2", "person-years", "estimate") == pytest.approx((40 + 150) / 365.25)
    assert value("primary", "il2", "Kaplan-Meier day 40", "at_risk") == 2
    assert value("primary", "il2", "Kaplan-Meier day 40", "estimate") == 0.5
    assert value("primary", "control", "Kaplan-Meier year 2", "at_risk") == 1
    # nobody in the control arm had an event: no hazard ratio, a sentence instead
    assert math.isnan(value("primary", "il2 vs control", "hazard ratio", "estimate"))
    assert any("there is no hazard ratio" in note for note in got.notes)
    assert value("cd4", "il2", "month 4", "mean") == 310
    assert value("cd4", "il2", "month 4 change", "mean") == 160
    assert value("exposure", "il2", "cycles per participant", "mean") == 1
    assert value("exposure", "il2", "dose per cycle", "mean") == pytest.approx((45 + 6) / 2)
    assert value("exposure", "il2", "offers declined", "n") == 1
    assert value("exposure", "il2", "reductions", "n") == 1
    assert value("exposure", "il2", "holds", "n") == 1
    assert value("consort", "all", "not randomised: E1", "n") == 1
    assert value("consort", "il2", "did not receive allocated treatment", "n") == 1
    assert value("disposition", "all", "observation", "total") == pytest.approx(2325 / 365.25)
    assert value("disposition", "il2", "visits attended", "n") == 3
    assert value("baseline", "all", "sex: female", "percent") == 25
    assert value("safety", "il2", "event: od", "events") == 2


def test_counts_are_those_of_the_tables(found, trial):
    people = trial.table("participants")
    for arm in ("il2", "control"):
        own = people.filter(pl.col("arm") == arm)["participant"].implode()
        deaths = trial.table("events").filter((pl.col("kind") == "death") & pl.col("participant").is_in(own))
        assert found.value("death", arm, "events", "n") == deaths.height
        assert found.value("consort", arm, "died", "n") == deaths.height
    cycles = trial.table("cycles")
    assert found.value("exposure", "il2", "cycles", "total") == cycles.height
    per = cycles.group_by("participant").len()["len"].to_numpy()
    n = (people["arm"] == "il2").sum()
    everybody = np.concatenate([per, np.zeros(n - len(per))])
    assert found.value("exposure", "il2", "cycles per participant", "median") == np.median(everybody)


def test_time_at_the_goal_carries_each_value_to_the_next(found, trial):
    decisions, ends = trial.table("decisions"), trial.table("disposition")
    end = dict(zip(ends["participant"], ends["day"], strict=True))
    counts = trial.table("measurements").filter((pl.col("item") == "cd4") & (pl.col("day") >= 0))
    shares = []
    for (who,), own in decisions.group_by("participant", maintain_order=True):
        goal = own.sort("sequence")["goal"][-1]
        mine = counts.filter(pl.col("participant") == who).sort("day")
        days, values = mine["day"].to_list(), mine["value"].to_list()
        until = [*days[1:], max([end[who], *days[-1:]])]
        lengths = [b - a for a, b in zip(days, until, strict=True)]
        if sum(lengths):
            reached = sum(length for length, v in zip(lengths, values, strict=True) if v >= goal)
            shares.append(100 * reached / sum(lengths))
    assert found.value("exposure", "il2", "time at goal", "n") == len(shares)
    assert found.value("exposure", "il2", "time at goal", "mean") == pytest.approx(np.mean(shares))


def test_an_endpoint_with_a_competing_event_uses_aalen_johansen(found, trial):
    given = inputs.from_record(trial, trial.protocol)
    endpoint = next(e for e in given.endpoints if e.name == "opportunistic_disease")
    times = outcomes.times_of(given, endpoint)
    own = times.of(times.arm == list(given.arms).index("il2"))
    curve = analyse.aalen_johansen(own.day, own.status)
    for year in (1, 3, 5):
        estimate, lower, upper = curve.at(round(365.25 * year))
        row = ("opportunistic_disease", "il2", f"cumulative incidence year {year}")
        assert found.value(*row, "estimate") == pytest.approx(estimate)
        assert (found.value(*row, "lower"), found.value(*row, "upper")) == pytest.approx((lower, upper))
    km = found.value("opportunistic_disease", "il2", "Kaplan-Meier year 5", "estimate")
    assert found.value("opportunistic_disease", "il2", "cumulative incidence year 5", "estimate") < 1 - km


def test_the_interaction_test_is_the_likelihood_ratio_of_two_models(found, trial):
    """Against one Cox model with the product of arm and level, every level with its own baseline hazard."""
    given = inputs.from_record(trial, trial.protocol)
    endpoint = next(e for e in given.endpoints if e.name == "primary")
    subgroup = next(s for s in given.subgroups if s.label == "Age")
    times = outcomes.times_of(given, endpoint)
    older = (subgroup.levels["level"].cast(pl.String) == "40 and over").to_numpy().astype(float)
    arm = (times.arm == list(given.arms).index("il2")).astype(float)
    cells = times.stratum * 2 + older.astype(int)
    one = analyse.cox(times.day, times.event, arm, cells)
    both = analyse.cox(times.day, times.event, np.column_stack([arm, arm * older]), cells)
    expected = 2 * (both.log_likelihood - one.log_likelihood)
    row = ("subgroup:Age", "il2 vs control", "interaction")
    assert found.value(*row, "chi_square") == pytest.approx(expected, abs=1e-8)
    assert found.value(*row, "df") == 1


def test_three_arms_are_each_compared_with_the_reference():
    stalwart = load("stalwart")
    found = analyse.run(analysis_example.record(stalwart, 300))
    reference = stalwart.analysis.reference_arm
    others = [a for a in stalwart.arms if a != reference]
    assert len(others) == 2
    endpoint = stalwart.analysis.time_to_event[0].endpoint
    for arm in others:
        assert not math.isnan(found.value(endpoint, f"{arm} vs {reference}", "hazard ratio", "estimate"))
    assert found.value(endpoint, "all", "log-rank", "df") == 2


# --- flow -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_closes_whatever_happened(silcaat, seed):
    found = analyse.run(analysis_example.record(silcaat, 60, seed=seed))
    check_flow(found.table, list(silcaat.arms))


def test_a_flow_that_does_not_close_is_refused(found, silcaat):
    broken = found.table.with_columns(
        value=pl.when((pl.col("analysis") == "consort") & (pl.col("parameter") == "died"))
        .then(pl.col("value") + 1)
        .otherwise(pl.col("value"))
    )
    with pytest.raises(UserError, match="does not close: il2, follow-up"):
        check_flow(broken, list(silcaat.arms))


def test_nobody_randomised_is_said_in_words():
    tables = {name: frame.clear() for name, frame in record_example.tables().items()}
    with pytest.raises(UserError, match="nobody was randomised"):
        analyse.run(Record.of(record_example.protocol(), tables))


@pytest.mark.parametrize(
    "emptied",
    [
        "events",
        "cycles",
        "decisions",
        "measurements",
        "visits",
        "screening",
        "holds",
        "baseline",
        "injections",
    ],
)
def test_an_empty_table_never_stops_the_analysis(emptied):
    tables = record_example.tables()
    tables[emptied] = tables[emptied].clear()
    if emptied == "decisions":
        tables["cycles"] = tables["cycles"].clear()
    if emptied in ("decisions", "cycles"):
        tables["injections"] = tables["injections"].clear()
    found = analyse.run(Record.of(record_example.protocol(), tables))
    assert found.table.height > 50


def test_one_arm_without_participants_gives_notes():
    tables = record_example.tables()
    tables["participants"] = tables["participants"].with_columns(arm=pl.lit("il2"))
    found = analyse.run(Record.of(record_example.protocol(), tables))
    assert math.isnan(found.value("primary", "il2 vs control", "hazard ratio", "estimate"))
    assert any("nobody is in the arm Control" in note for note in found.notes)


# --- files ------------------------------------------------------------------------------------------------


def test_results_come_back_as_they_were_written(found, tmp_path):
    paths = analyse.write(found, tmp_path / "new" / "folder")
    assert [p.name for p in paths] == ["results.parquet", "results.csv", "results.json"]
    for place in (tmp_path / "new" / "folder", paths[0]):
        again = analyse.read(place)
        assert again.table.equals(found.table, null_equal=True)
        assert again.notes == found.notes
        assert again.provenance == json.loads(json.dumps(found.provenance))
    assert again.provenance["record"]["seed"] == 1


def test_results_are_not_replaced_without_being_told(found, tmp_path):
    analyse.write(found, tmp_path)
    with pytest.raises(UserError, match="--force"):
        analyse.write(found, tmp_path)
    analyse.write(found, tmp_path, force=True)


def test_damaged_results_are_refused_in_words(found, tmp_path):
    with pytest.raises(UserError, match="analyse first"):
        analyse.read(tmp_path)
    table, _, document = analyse.write(found, tmp_path)
    content = table.read_bytes()
    table.write_bytes(content[:-100])
    with pytest.raises(UserError, match="changed or cut short"):
        analyse.read(tmp_path)
    table.write_bytes(content)
    text = document.read_text()
    document.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="damaged"):
        analyse.read(tmp_path)
    document.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(UserError, match="install a newer version"):
        analyse.read(tmp_path)


# --- in words ---------------------------------------------------------------------------------------------


def test_the_summary_speaks_in_labels_and_fits_a_terminal(found, silcaat):
    text = analyse.summary(found, silcaat)
    assert "Opportunistic disease or death" in text
    assert "400 randomised" in text
    assert "hazard ratio" in text
    assert "nan" not in text.lower().split()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "il2" in analyse.summary(found)


def test_an_endpoint_that_nobody_had_is_said_once():
    tables = record_example.tables()
    tables["events"] = tables["events"].clear()
    tables["disposition"] = tables["disposition"].with_columns(status=pl.lit("completed"))
    found = analyse.run(Record.of(record_example.protocol(), tables))
    assert [note for note in found.notes if "Disease or death" in note] == [
        "Disease or death: there was no such event in any arm, so nothing can be compared.",
        "IL-2 against Control, CD4 count as a surrogate for Disease or death: there was no event in either "
        "arm, so there is nothing to compare.",
    ]
