"""The command boundaries: what a statistician types, what comes back, and how each mistake is said."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner, Result

from equipoise.cli.main import app
from equipoise.design import Draws, boundaries, recompute

FUTILITY = ["--futility", "hwang-shih-decani", "--futility-parameter", "-2"]


def _boundaries(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["boundaries", *arguments])


def _lines(*arguments: str) -> list[str]:
    result = _boundaries(*arguments)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def _row(lines: list[str], look: int) -> list[float]:
    """The numbers of the first row of this look."""
    line = next(line for line in lines if line.split()[:1] == [str(look)])
    return [float(word) for word in line.split()]


def test_the_plan_is_a_table_of_limits():
    lines = _lines("--looks", "0.5,0.75,1", "--spending", "obrien-fleming")
    plan = boundaries([0.5, 0.75, 1])
    for look in (1, 2, 3):
        _, information, z, p, spent = _row(lines, look)
        assert information == plan.information[look - 1]
        assert z == pytest.approx(plan.efficacy[look - 1], abs=6e-5)
        assert p == pytest.approx(plan.nominal_p[look - 1], abs=6e-7)
        assert spent == pytest.approx(plan.alpha_spent[look - 1], abs=6e-7)
    text = "\n".join(lines)
    assert f"maximum information {plan.inflation:.4f} times that of a trial without looks" in text
    assert f"{plan.expected_information(plan.drift):.4f} as planned" in text


def test_with_events_and_futility_there_are_hazard_ratios_and_both_probabilities():
    lines = _lines("--looks", "0.5,0.75,1", "--events", "244", "--allocation", "2:1", *FUTILITY)
    plan = boundaries([0.5, 0.75, 1], futility="hwang-shih-decani", futility_parameter=-2)
    _, _, events, z, _, _, ratio, low, low_ratio = _row(lines, 2)
    assert events == 183
    assert z == pytest.approx(plan.efficacy[1], abs=6e-5)
    efficacy, futility = plan.hazard_ratios(244, 2 / 3)
    assert (ratio, low, low_ratio) == pytest.approx((efficacy[1], plan.futility[1], futility[1]), abs=6e-4)
    everything = next(line for line in lines if line.split()[:1] == ["all"])
    assert [float(w) for w in everything.split()[1:]][4:] == [0.9, 0.1]


def test_at_the_analysis_the_limits_are_those_of_the_events_observed():
    lines = _lines("--looks", "0.5,0.75,1", "--events", "244", "--observed", "98,181", "--z", "2.1")
    now = recompute(boundaries([0.5, 0.75, 1]), [98, 181], maximum=244)
    assert _row(lines, 2)[3] == pytest.approx(now.efficacy[1], abs=6e-5)
    text = "\n".join(lines)
    found = now.finding(2.1)
    assert "181 of 244 events, 74.2% of the planned information" in text
    assert "against efficacy limit 2.3607: continue" in text
    assert f"p = {found.p_value:.6f}, one-sided" in text
    assert f"{now.conditional_power(2.1, 'design'):.3f} with the planned effect" in text
    assert f"{now.predictive_power(2.1):.3f} (flat prior)" in text


def test_the_planned_maximum_may_be_the_last_look_observed():
    lines = _lines("--looks", "0.5,0.75,1", "--observed", "98,181,244", "--hr", "0.77")
    text = "\n".join(lines)
    assert "Look 3, the last: 244 of 244 events" in text
    assert "stop for efficacy" in text
    assert "Hazard ratio, unadjusted     0.770" in text
    assert "Conditional power" not in text


def test_over_running_is_said():
    result = _boundaries("--looks", "0.5,1", "--events", "200", "--observed", "100,220")
    assert "the trial over-ran: 110.0% of the planned information" in result.output


def test_spending_by_calendar_and_the_final_flag():
    early = _lines(
        "--looks",
        "0.5,1",
        "--events",
        "200",
        "--observed",
        "90",
        "--calendar",
        "0.6",
        "--spend-by",
        "calendar",
    )
    now = recompute(boundaries([0.5, 1]), [90], maximum=200, spend_by="calendar", calendar=[0.6])
    assert _row(early, 1)[3] == pytest.approx(now.efficacy[0], abs=6e-5)
    final = _lines("--looks", "0.5,1", "--events", "200", "--observed", "90,150", "--final")
    assert _row(final, 2)[5] == 0.025
    assert "spends all that is left" in "\n".join(final)


def test_a_last_look_that_fell_short_is_pointed_out():
    arguments = ["--looks", "0.5,1", "--events", "200", "--observed", "100,199"]
    assert "if this was the last, add --final" in _boundaries(*arguments).output
    assert "add --final" not in _boundaries(*arguments, "--final").output
    assert "add --final" not in _boundaries(*arguments[:-1], "100").output


def test_a_look_at_next_to_nothing_still_prints():
    text = "\n".join(_lines("--looks", "0.5,1", "--events", "200", "--observed", "0.001", "--z", "-3"))
    assert "inf" in text
    assert "Traceback" not in text


def test_a_two_sided_test_has_harm_as_its_other_side():
    text = "\n".join(_lines("--looks", "0.5,1", "--sides", "2"))
    assert "Two-sided test at 0.05" in text
    assert "harm" in text
    stop = _boundaries(
        "--looks", "0.5,1", "--sides", "2", "--events", "200", "--observed", "100", "--z", "-3.5"
    )
    assert "stop for harm" in stop.output
    assert "two-sided" in stop.output


def test_a_limit_without_a_number_is_none_and_is_explained():
    lines = _lines("--looks", "0.01,0.5,1", "--alpha", "0.005", "--events", "100")
    assert re.search(r"^\s*1 .*none .* none", next(line for line in lines if line.split()[:1] == ["1"]))
    assert any(line.startswith("Note: look 1: less than 1e-22 may be spent") for line in lines)


def test_json_holds_every_number():
    plan = json.loads(_boundaries("--looks", "0.5,1", "--events", "200", "--json", *FUTILITY).stdout)
    same = boundaries([0.5, 1], futility="hwang-shih-decani", futility_parameter=-2)
    assert plan["efficacy"] == list(same.efficacy)
    assert plan["crossing"]["planned effect"]["efficacy"] == list(same.crossing(same.drift).efficacy)
    assert plan["hazard_ratios"]["futility"] == list(same.hazard_ratios(200)[1])
    arguments = ["--looks", "0.5,1", "--events", "200", "--observed", "100", "--z", "1.2", "--json"]
    now = json.loads(_boundaries(*arguments).stdout)
    assert now["finding"]["decision"] == "continue"
    assert 0 < now["conditional_power"]["trend"] < now["conditional_power"]["design"] < 1
    tiny = json.loads(_boundaries("--looks", "0.01,1", "--alpha", "0.005", "--json").stdout)
    assert tiny["efficacy"][0] is None


REFUSED = [
    (["--looks", "0.5,x,1"], '--looks: "x" is no number; write numbers with commas between them'),
    (["--looks", ""], '--looks: "" is no number'),
    (["--looks", "0.75,0.5,1"], "--looks: 0.5 comes after 0.75; they must rise, without repeats"),
    (["--looks", "0.5,0.75"], "--looks: the last is 0.75; a plan ends at the full information: add 1"),
    (["--looks", "50,100"], "--looks: 100 is more than the planned information, which is 1; write shares"),
    (["--looks", "0.5,1", "--spending", "obrien"], '--spending: there is no boundary "obrien"; did you mean'),
    (["--looks", "0.5,1", "--spending", "kim-demets"], "--parameter: kim-demets needs its parameter rho"),
    (["--looks", "0.5,1", "--alpha", "2"], "--alpha: 2 is out of range"),
    (["--looks", "0.5,1", "--sides", "3"], "--sides: 3 is neither 1 nor 2"),
    (["--looks", "0.5,1", "--power", "90"], "--power: 90 is out of range"),
    (["--looks", "0.5,1", "--futility", "poc"], '--futility: there is no spending function "poc"'),
    (["--looks", "0.5,1", "--binding"], "--binding: there are no futility limits that could bind"),
    (["--looks", "0.5,1", "--sides", "2", *FUTILITY], "--futility: two-sided tests with futility limits"),
    (["--looks", "0.5,1", "--events", "-3"], "--events: -3 is not above 0"),
    (["--looks", "0.5,1", "--allocation", "1"], '--allocation: "1" is not understood'),
    (["--looks", "0.5,1", "--allocation", "0:1"], '--allocation: "0:1" is not understood'),
    (["--looks", "0.5,1", "--z", "2"], "--z is about an analysis; say with --observed"),
    (["--looks", "0.5,1", "--final"], "--final is about an analysis"),
    (["--looks", "0.5,1", "--observed", "98"], "--events: 1 of 2 looks have been taken, so say how many"),
    (["--looks", "0.5,1", "--observed", "98,97"], "--observed: 97 comes after 98"),
    (["--looks", "0.5,1", "--observed", "98,200", "--z", "2", "--hr", "0.8"], "say the same thing"),
    (["--looks", "0.5,1", "--observed", "98,200", "--hr", "-1"], "--hr: -1 is not above 0"),
    (["--looks", "0.5,1", "--observed", "98,200", "--calendar", "0.5,1"], "--calendar: these shares"),
    (["--looks", "0.5,1", "--observed", "98,200", "--spend-by", "minimum"], "--calendar: spending by"),
    (["--looks", "0.5,1", "--observed", "98,200", "--z", "99"], "--z: a statistic of 99 is no result"),
    (["--looks", "0.5,1", "--observed", "98,200", "--hr", "1e-9"], "--hr: a statistic of 146"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_a_mistake_is_one_message_that_names_the_option(arguments, message):
    result = _boundaries(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


POCOCK = ("--looks", "0.25,0.5,0.75,1", "--spending", "pocock", "--sides", "2", "--events", "230")


def test_few_events_are_pointed_out_and_limits_allow_for_them_where_the_participants_are_known():
    assert "Note: with 58 events, look 1 can have a one-sided level of" in _boundaries(*POCOCK).output
    at_58 = ("--observed", "58", "--z", "-2.4")
    assert "stop for harm" in _boundaries(*POCOCK, *at_58).output
    found = _boundaries(*POCOCK, *at_58, "--participants", "1695").output
    now = recompute(
        boundaries([0.25, 0.5, 0.75, 1], alpha=0.05, sides=2, kind="pocock"), [58], maximum=230,
        draws=Draws(1695),
    )  # fmt: skip
    assert f"against efficacy limit {now.efficacy[0]:.4f}, harm limit {now.harm[0]:.4f}: continue" in found
    # a trial that goes on has a repeated interval that holds no difference
    low, high = now.finding(-2.4).repeated_low, now.finding(-2.4).repeated_high
    assert low < 0 < high


def test_participants_who_cannot_be_are_refused():
    result = _boundaries(*POCOCK, "--observed", "58", "--participants", "40")
    assert result.exit_code == 2
    assert "--participants: 58 events cannot happen to 40 participants" in result.stderr
    assert "--participants is about an analysis" in _boundaries(*POCOCK, "--participants", "1695").stderr
