"""The design of a trial, from its file to the table on the terminal: `equipoise design`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from equipoise.cli.main import app
from equipoise.design.calendar import Accrual, expected_events, time_to_events
from equipoise.design.from_protocol import Changes, Plan, of_plain, of_protocol
from equipoise.design.summary import DesignSummary, summarise
from equipoise.design.telling import text
from equipoise.errors import UserError
from equipoise.protocol import Protocol, load, sha256
from equipoise.protocol.plain import PlainTrial
from equipoise.protocol.quantities import parse_rate
from equipoise.simulate.power.event_times import committee_of
from test_design_calendar import log_rank_z, simulated

DELAY = Path(__file__).parents[1] / "docs" / "examples" / "plain" / "delayed-effect.yaml"
BASE: dict[str, Any] = {
    "equipoise": 1,
    "plain": "BASE",
    "arms": {"control": {"hazard": "0.024 / year"}, "active": {"hazard_ratio": 0.75}},
    "reference_arm": "control",
    "participants": 1695,
    "accrual": "3.5 years",
    "dropout": "0.015 / year",
    "primary_events": 230,
}


def plain(**changes: Any) -> Plan:
    return of_plain(PlainTrial.model_validate(BASE | changes))


def equipoise(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["design", *(str(a) for a in arguments)])


def without(field: str) -> Protocol:
    """SILCAAT with a field of its size left out."""
    protocol = load("silcaat")
    return protocol.model_copy(update={"size": protocol.size.model_copy(update={field: None})})


@pytest.fixture(scope="module")
def silcaat() -> DesignSummary:
    return summarise(of_protocol(load("silcaat")))


# --- the reference trials ---------------------------------------------------------------------------------


def test_silcaat_would_not_have_reached_its_planned_events_and_got_about_as_many_as_expected(
    silcaat: DesignSummary,
) -> None:
    assert silcaat.needed is not None
    assert silcaat.needed.schoenfeld is not None
    assert silcaat.end is not None
    assert math.ceil(silcaat.needed.schoenfeld) == silcaat.events == 291
    assert silcaat.end.planned_reached is not None
    assert silcaat.end.planned_reached < 1e-6
    assert silcaat.end.lower < 229 < silcaat.end.upper  # published: 229 primary events
    assert silcaat.date(silcaat.end.day) == date(2008, 11, 15)
    assert silcaat.end.power < silcaat.power_with_looks < silcaat.schoenfeld_power  # type: ignore[operator]


def test_without_an_effect_the_trial_is_stopped_at_its_level(silcaat: DesignSummary) -> None:
    assert silcaat.no_effect.rejects == pytest.approx(0.025, abs=1e-6)  # the other half is harm
    assert sum(look.stops_without_effect for look in silcaat.looks[:-1]) < 0.05


def test_participants_come_by_country_in_the_proportions_of_the_protocol(silcaat: DesignSummary) -> None:
    assert silcaat.countries["Italy"] == pytest.approx(273)
    assert sum(silcaat.countries.values()) == pytest.approx(1695)


def test_the_looks_of_a_protocol_are_dated(silcaat: DesignSummary) -> None:
    first = silcaat.looks[0]
    assert (first.events, round(first.information, 4)) == (73, 0.2509)
    plan = of_protocol(load("silcaat"))
    when = time_to_events(plan.model, 73)
    assert (first.planned.lower, first.planned.upper) == (when.lower, when.upper)
    assert first.planned.mean == pytest.approx(when.mean)
    assert first.no_effect.mean is not None
    assert first.no_effect.mean < when.mean
    assert "17 Jul 2003 (29 Dec 2002 to 28 Feb 2004)" in text(silcaat)


# --- plain trials -----------------------------------------------------------------------------------------


def test_one_analysis_at_the_230th_event_has_power_0_588_by_schoenfeld() -> None:
    found = summarise(plain())
    assert found.schoenfeld_power == pytest.approx(0.588, abs=5e-4)
    assert found.power_with_looks == pytest.approx(0.588, abs=0.008)
    assert found.looks[0].planned.mean == pytest.approx(9.13 * 365.25, abs=2)
    assert (found.end, found.start, len(found.looks)) == (None, None, 1)
    assert "109.6 months" in text(found)
    assert "expected      58.3%" in text(found)


def test_stopping_under_a_delayed_effect_is_as_often_as_in_simulated_trials() -> None:
    plan = of_plain(PlainTrial.model_validate(yaml.safe_load(DELAY.read_text())))
    found = summarise(plan)
    endless = replace(plan.model, end=math.inf)
    trials = 1200
    data = simulated(endless, trials, 3)
    times = np.sort(data.known, axis=1)
    stopped = np.zeros(len(found.looks))
    for i in range(trials):
        for number, look in enumerate(found.looks):
            assert look.z is not None
            if log_rank_z(data, i, times[i, int(look.events) - 1]) >= look.z:
                stopped[number] += 1
                break
    for number, look in enumerate(found.looks[:-1]):
        se = math.sqrt(look.stops * (1 - look.stops) / trials)
        assert stopped[number] / trials == pytest.approx(look.stops, abs=4 * se)
    assert stopped.sum() / trials == pytest.approx(found.power_with_looks, abs=0.035)


def test_a_trial_without_planned_events_is_analysed_when_follow_up_ends() -> None:
    found = summarise(plain(primary_events=None, follow_up="8 years"))
    end = found.end
    assert end is not None
    assert found.events is None
    assert found.looks[-1].events == pytest.approx(end.events)
    assert found.looks[-1].planned.mean == pytest.approx(8 * 365.25)
    assert found.power_with_looks == pytest.approx(end.power)
    assert "at the end of follow-up" in text(found)


def test_the_events_that_a_power_takes_become_the_plan_when_nothing_else_ends_the_trial() -> None:
    data = BASE | {"primary_events": None, "follow_up": "30 years", "power": 0.9}
    data["monitoring"] = {"looks": [], "spending": "none"}
    assert summarise(of_plain(PlainTrial.model_validate(data))).events is None
    data["monitoring"] = {"spending": "obrien-fleming"}
    changed = of_plain(PlainTrial.model_validate(data), Changes(looks=(0.5, 1.0)))
    assert summarise(changed).events == 508  # Schoenfeld: z^2 / (0.25 log(0.75)^2)


def test_looks_wait_for_what_their_file_says() -> None:
    looks = [
        {"after": "2 years"},
        {"events": 60, "minimum_gap": "1 year"},
        {"events": 150, "at_latest": "5 years"},
        1.0,
    ]
    plan = plain(monitoring={"looks": looks, "spending": "pocock"})
    found = summarise(plan)
    first, second, third, last = found.looks
    year = 365.25
    assert first.planned.mean == pytest.approx(2 * year)
    assert first.events == pytest.approx(float(expected_events(plan.model, 2 * year).sum()))
    assert second.planned.mean is not None
    assert second.planned.mean >= 3 * year
    assert second.events >= 60
    assert third.planned.mean == pytest.approx(5 * year, abs=40)  # 150 events come later
    assert third.events < 150
    assert last.events == 230
    assert third.planned.reached == 1.0
    assert third.planned.upper == pytest.approx(5 * year)
    follow = plain(monitoring={"looks": [{"minimum_follow_up": "2 years"}, 1.0], "spending": "pocock"})
    assert summarise(follow).looks[0].planned.mean == pytest.approx(5.5 * year)


def test_reports_that_come_late_make_looks_later_by_about_the_delay() -> None:
    looks = {"looks": [0.5, 1.0], "spending": "pocock"}
    soon, late = (summarise(plain(monitoring=looks | more)) for more in ({}, {"reporting_delay": "60 days"}))
    for a, b in zip(soon.looks, late.looks, strict=True):
        assert a.planned.mean is not None
        assert b.planned.mean is not None
        assert b.planned.mean - a.planned.mean == pytest.approx(60, abs=2)


def test_an_event_that_is_hoped_for_is_tested_in_its_own_direction() -> None:
    arms = {"control": {"hazard": "0.05 / day"}, "active": {"hazard_ratio": 1.4}}
    short = {"accrual": "100 days", "dropout": None, "participants": 500, "primary_events": 300}
    found = summarise(plain(arms=arms, **short))
    harm = summarise(plain(arms={**arms, "active": {"hazard_ratio": 1 / 1.4}}, **short))
    assert found.power_with_looks == pytest.approx(harm.power_with_looks, abs=0.02)
    assert found.looks[0].hazard_ratio == pytest.approx(1 / harm.looks[0].hazard_ratio)  # type: ignore[operator]


def test_spending_by_the_calendar_changes_the_limits_but_not_the_level() -> None:
    looks = {"looks": [0.5, 1.0], "spending": "obrien-fleming"}
    by_events = summarise(plain(monitoring=looks))
    by_time = summarise(plain(monitoring=looks | {"spend_by": "calendar"}, follow_up="12 years"))
    assert by_time.looks[0].z != pytest.approx(by_events.looks[0].z)
    assert by_time.no_effect.rejects == pytest.approx(0.025, abs=1e-6)


def test_the_share_of_the_duration_is_that_of_the_committee_in_a_power_run() -> None:
    looks = {"looks": [0.5, 1.0], "spending": "obrien-fleming", "spend_by": "calendar"}
    trial = PlainTrial.model_validate(BASE | {"monitoring": looks, "follow_up": "12 years"})
    found = summarise(of_plain(trial))
    first, last = (look.planned.mean for look in found.looks)
    assert first is not None
    assert last is not None
    told = committee_of(trial)
    limits = told.limits(np.array([115.0, 230.0]), np.array([first, last]), np.full(2, math.nan))
    assert found.looks[0].z == pytest.approx(limits.upper[0], abs=2e-3)  # a planned duration in whole days
    with pytest.raises(UserError, match="give `follow_up`"):
        summarise(plain(monitoring=looks))


POCOCK: dict[str, Any] = {"looks": [0.25, 0.5, 0.75, 1.0], "spending": "pocock"}


def test_a_level_that_few_events_move_is_predicted_and_its_remedy_named() -> None:
    found = summarise(plain(monitoring=POCOCK))
    assert found.predicted_level == pytest.approx(0.0529, abs=3e-4)
    assert "predicted to be 0.0529, not 0.05" in text(found).replace("\n  ", " ")
    assert "`distribution: saddlepoint`" in text(found).replace("\n  ", " ")
    mended = summarise(plain(monitoring=POCOCK | {"distribution": "saddlepoint"}))
    assert mended.predicted_level == pytest.approx(0.05, abs=1e-3)
    assert "predicted" not in text(mended)
    assert mended.looks[0].z > found.looks[0].z  # type: ignore[operator]
    assert mended.looks[-1].z < found.looks[-1].z  # type: ignore[operator]


def test_no_level_is_predicted_where_most_have_the_event_or_for_another_test(silcaat: DesignSummary) -> None:
    assert silcaat.predicted_level == pytest.approx(0.05, abs=1e-3)
    assert summarise(plain(monitoring=POCOCK, participants=300)).predicted_level is None
    weighted = {"test": "fleming-harrington", "gamma": 1}
    assert summarise(plain(monitoring=POCOCK, analysis=weighted)).predicted_level is None


def test_an_assumption_that_changes_moves_the_plan_the_way_it_should() -> None:
    found = summarise(of_protocol(load("silcaat"), Changes(events=180)))
    by_name = {each.change.partition(" (")[0]: each for each in found.scenarios}
    plan = by_name["as planned"]
    assert plan.events_day is not None
    assert by_name["event rates 25% lower"].events_at_end < plan.events_at_end  # type: ignore[operator]
    assert by_name["event rates 25% higher"].events_day < plan.events_day  # type: ignore[operator]
    assert by_name["accrual 25% slower"].events_day > plan.events_day  # type: ignore[operator]
    assert by_name["effect 25% smaller"].power < plan.power < by_name["effect 25% larger"].power
    stretched = replace(of_protocol(load("silcaat")).model, accrual=Accrual.even(1247 * 4 / 3))
    slower = by_name["accrual 25% slower"].events_at_end
    assert slower == pytest.approx(float(expected_events(stretched, stretched.end).sum()))


def test_changes_replace_what_the_file_says() -> None:
    change = Changes(
        hazard_ratio=0.6,
        control_hazard=parse_rate("3 / year"),
        dropout=parse_rate("0.1 / year"),
        participants=1000,
        alpha=0.01,
        power=0.95,
    )
    for plan in (of_protocol(load("esprit"), change), of_plain(PlainTrial.model_validate(BASE), change)):
        assert plan.hazard_ratio == pytest.approx(0.6)
        assert plan.model.reference.hazard.rates == pytest.approx((3 / 365.25,))
        assert plan.model.experimental.dropout == pytest.approx(0.1 / 365.25)
        assert (plan.model.participants, plan.alpha, plan.power) == (1000, 0.01, 0.95)


def test_a_changed_rate_keeps_a_ratio_that_changes_with_time() -> None:
    trial = PlainTrial.model_validate(yaml.safe_load(DELAY.read_text()))
    plan = of_plain(trial, Changes(control_hazard=parse_rate("0.5 / year")))
    assert plan.hazard_ratio is None
    assert plan.model.experimental.hazard.rates == pytest.approx((0.5 / 365.25, 0.275 / 365.25))
    assert "1, then 0.55 from 6 months (active to control)" in text(summarise(plan))


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_prints_the_design_and_writes_it(tmp_path: Path) -> None:
    numbers, figure = tmp_path / "d.json", tmp_path / "d.png"
    result = equipoise("silcaat", "--json", numbers, "--figure", figure)
    assert result.exit_code == 0, result.output
    assert "Needed for 80%    291 by Schoenfeld's formula, 297 by Freedman's" in result.output
    data = json.loads(numbers.read_text())
    assert data["looks"][0]["planned"]["mean_date"] == "2003-07-17"
    assert data["end"]["day_date"] == "2008-11-15"
    assert data["sha256"] == sha256(load("silcaat"))
    assert f"version 3, SHA-256 {data['sha256']}" in result.output
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_json_on_the_terminal_is_json_alone() -> None:
    data = json.loads(equipoise(DELAY, "--json", "-").stdout)
    assert data["name"] == "DELAY"
    assert data["looks"][0]["planned"]["mean_months"] == pytest.approx(
        data["looks"][0]["planned"]["mean"] / 30.4375
    )


def test_a_drawing_may_be_svg_and_is_the_same_twice(tmp_path: Path) -> None:
    pictures = []
    for name in ("a.svg", "b.SVG"):
        assert equipoise(DELAY, "--figure", tmp_path / name).exit_code == 0
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]
    assert b"look 3: 240" in pictures[0]


def test_the_manual_shows_the_example_as_it_is() -> None:
    page = (DELAY.parents[2] / "design.md").read_text(encoding="utf-8")
    _, _, example = DELAY.read_text(encoding="utf-8").partition("\n")
    assert f"```yaml\n{example}```" in page


def test_options_change_the_plan() -> None:
    result = equipoise("esprit", "--hr", "0.8", "--looks", "0.5,1", "--spending", "pocock", "--events", "200")
    assert result.exit_code == 0, result.output
    assert "Hazard ratio  0.8 (il2 to control)" in result.output
    assert "Pocock-type boundary" in result.output
    assert "Planned events    200" in result.output


REFUSED: list[tuple[str, tuple[str, ...], str]] = [
    ("a file that is not there", ("nope.yaml",), "no such file"),
    ("four arms", ("vanguard",), "a design compares two arms; this trial has 4"),
    ("no effect", ("silcaat", "--hr", "1"), "a hazard ratio of 1 is no effect"),
    ("a negative ratio", ("silcaat", "--hr", "-2"), "--hr: expected a number above 0 and below 100, not -2"),
    ("no number", ("silcaat", "--hr", "nan"), "--hr: expected a number above 0 and below 100, not nan"),
    ("a rate without a time", ("silcaat", "--control-hazard", "0.02"), '--control-hazard: expected a rate'),
    ("no events", ("silcaat", "--control-hazard", "0 / year"), "the event rate of the reference arm is 0"),
    ("a strange rate", ("silcaat", "--dropout", "many / year"), "--dropout: expected a rate"),
    ("more events than people", ("silcaat", "--events", "5000"), "5000 events cannot happen to 1695"),
    ("power in per cent", ("silcaat", "--power", "90"), "--power: expected a number above 0 and"),
    ("alpha in per cent", ("silcaat", "--alpha", "5"), "--alpha: expected a number above 0 and below 1"),
    ("looks in per cent", ("silcaat", "--looks", "50,100"), "--looks: 50 is no share of the planned events"),
    ("looks in words", ("silcaat", "--looks", "half"), "--looks: expected shares of the planned events"),
    ("looks in disorder", ("silcaat", "--looks", "1,0.5"), "--looks: the looks must rise"),
    ("looks too close", ("silcaat", "--looks", "0.5,0.5001,1"), "put them further apart, or leave one out"),
    ("an unknown boundary", ("silcaat", "--spending", "pokock"), 'did you mean "pocock"'),
    ("a missing parameter", ("silcaat", "--spending", "kim-demets"), "kim-demets needs its parameter"),
    ("a parameter too many", ("silcaat", "--parameter", "3"), "takes no parameter"),
    ("an interval in per cent", ("silcaat", "--interval", "95"), "--interval: expected a number"),
    ("a drawing of no known kind", ("silcaat", "--figure", "x.pdf"), "x.pdf must end in .png or .svg"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_mistake_is_told_in_one_message(arguments: tuple[str, ...], says: str) -> None:
    result = equipoise(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert result.stderr.count("equipoise:") == 1
    assert result.stdout == ""


def test_nothing_that_is_there_is_replaced_unless_asked(tmp_path: Path) -> None:
    place = tmp_path / "d.json"
    place.write_text("mine")
    refused = equipoise(DELAY, "--json", place)
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr
    assert place.read_text() == "mine"
    assert equipoise(DELAY, "--json", place, "--force").exit_code == 0


def test_a_contradictory_protocol_is_not_designed(tmp_path: Path) -> None:
    source = Path("src/equipoise/protocol/library/silcaat.yaml")
    place = tmp_path / "p.yaml"
    written = (Path(__file__).parents[1] / source).read_text(encoding="utf-8")
    place.write_text(written.replace("primary_events: 291", "primary_events: 9999"), encoding="utf-8")
    result = equipoise(place)
    assert result.exit_code == 2
    assert "9999 events cannot happen to 1971 participants" in result.stderr


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: of_protocol(without("control_hazard")), "give  size: control_hazard"),
        (lambda: of_protocol(without("hazard_ratio")), "give  size: hazard_ratio"),
        (lambda: of_protocol(load("stalwart")), "two arms"),
        (lambda: plain(participants=4, primary_events=3, arms={"control": {"hazard": "1 / year", "share": 99},
                       "active": {"hazard_ratio": 0.5}}), "too few for two arms"),
        (lambda: summarise(plain(primary_events=None, follow_up="1 day")), "expected at the first look"),
        (lambda: summarise(plain(monitoring={"looks": [{"date": "2030-01-01"}]})), "say `after`"),
        (lambda: of_plain(
            PlainTrial.model_validate(
                BASE | {"arms": {"control": {"hazard": "1 / year"}, "active": {"hazard": "0.5 / year"}}}
            ),
            Changes(control_hazard=parse_rate("2 / year"))), "give --hr as well"),
        (lambda: of_plain(PlainTrial.model_validate(BASE), Changes(looks=(0.5, 1.0))), "give --spending"),
    ],
)  # fmt: skip
def test_a_plan_that_is_incomplete_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
