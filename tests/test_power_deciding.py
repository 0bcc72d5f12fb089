"""The committee of a simulated trial: the limits of a real one, and the decisions that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.design.attainable import Draws
from equipoise.design.boundaries import boundaries
from equipoise.design.monitoring import recompute
from equipoise.errors import UserError
from equipoise.protocol.model import Futility, Look, Looks
from equipoise.simulate.power.deciding import EFFICACY, FUTILITY, HARM, NOT_SHOWN, Committee, committee

NAN = math.nan


def _committee(looks: Looks, **other: object) -> Committee:
    settings = {
        "alpha": 0.05, "power": 0.8, "primary_events": 200, "share": 0.5, "duration": 3650.0,
        "place": "monitoring",
    } | other  # fmt: skip
    return committee(looks, **settings)  # type: ignore[arg-type]


THREE = _committee(Looks(looks=[0.5, 0.75, 1.0], spending="obrien-fleming"))


def _decide(told: Committee, events: list[float], z: list[float], days: list[float] | None = None):  # type: ignore[no-untyped-def]
    d, s = np.array(events), np.array(z)
    se = 2.0 / np.sqrt(d)
    when = (
        np.array(days) if days is not None else np.where(np.isnan(d), NAN, np.arange(1.0, len(d) + 1) * 365)
    )
    return told.decide(d, when, s, -s * se, se, d / 4)


def test_the_limits_are_those_of_the_design_where_looks_fall_as_planned() -> None:
    found = THREE.limits(np.array([100.0, 150.0, 200.0]), np.array([1.0, 2.0, 3.0]), np.full(3, NAN))
    plan = boundaries([0.5, 0.75, 1.0], alpha=0.05, sides=2)
    assert found.upper == pytest.approx(plan.efficacy, abs=1e-9)
    # Lan-DeMets O'Brien-Fleming type, two-sided 0.05 (gsDesign and rpact print 2.963, 2.359, 2.014)
    assert found.upper == pytest.approx((2.963, 2.359, 2.014), abs=6e-4)
    assert found.lower == tuple(-z for z in found.upper)


def test_a_trial_that_ends_with_too_few_events_spends_all_at_its_last_look() -> None:
    found = THREE.limits(np.array([100.0, NAN, 140.0]), np.array([1.0, NAN, 3.0]), np.full(3, NAN))
    plan = boundaries([0.5, 0.75, 1.0], alpha=0.05, sides=2)
    real = recompute(plan, [100, 140], maximum=200, final=True)
    assert found.taken == (0, 2)
    assert found.upper == pytest.approx(real.efficacy, abs=1e-12)
    assert found.upper[-1] < plan.efficacy[1]


@pytest.mark.parametrize(
    ("z", "look", "reason"),
    [
        ([3.0, 0.0, 0.0], 0, EFFICACY),
        ([2.9, 2.4, 0.0], 1, EFFICACY),
        ([2.9, 2.3, 2.1], 2, EFFICACY),
        ([2.9, 2.3, 2.0], 2, NOT_SHOWN),
        ([-3.0, 5.0, 5.0], 0, HARM),
        ([0.0, 0.0, -2.1], 2, HARM),
    ],
)
def test_a_two_sided_trial_stops_at_the_first_limit_passed(z: list[float], look: int, reason: int) -> None:
    ended = _decide(THREE, [100, 150, 200], z)
    assert (ended.look, ended.reason) == (look, reason)


def test_a_one_sided_trial_stops_for_futility_and_is_lost() -> None:
    told = _committee(
        Looks(
            looks=[0.5, 1.0], spending="obrien-fleming", sides=1, futility=Futility(spending="obrien-fleming")
        ),
        alpha=0.025,
    )
    assert _decide(told, [100, 200], [-1.0, 5.0]).reason == FUTILITY
    assert _decide(told, [100, 200], [1.5, 2.0]).reason == EFFICACY
    last = _decide(told, [100, 200], [1.5, 1.5])
    assert (last.look, last.reason) == (1, NOT_SHOWN)
    assert _decide(told, [100, 200], [1.5, -3.0]).reason == NOT_SHOWN  # one side only


def test_with_one_analysis_the_adjusted_estimate_is_the_estimate_itself() -> None:
    told = _committee(Looks())
    ended = _decide(told, [200], [2.5])
    se = 2 / math.sqrt(200)
    assert ended.reason == EFFICACY
    assert ended.log_hr == pytest.approx(-2.5 * se, abs=1e-9)
    assert ended.low == pytest.approx((-2.5 - 1.959963985) * se, abs=1e-8)
    assert ended.high == pytest.approx((-2.5 + 1.959963985) * se, abs=1e-8)
    assert ended.p_value == pytest.approx(math.erfc(2.5 / math.sqrt(2)), rel=1e-9)


def test_an_estimate_after_an_early_stop_is_drawn_towards_no_effect() -> None:
    early = _decide(THREE, [100, 150, 200], [3.2, 0.0, 0.0])
    late = _decide(THREE, [100, 150, 200], [1.0, 1.5, 2.2])
    assert -3.2 * 2 / math.sqrt(100) < early.log_hr < 0 or early.log_hr == pytest.approx(-0.64, abs=1e-6)
    assert -2.2 * 2 / math.sqrt(200) < late.log_hr < 0
    assert late.low < late.log_hr < late.high


def test_looks_without_new_events_do_not_count() -> None:
    found = THREE.limits(np.array([100.0, 100.0, 180.0]), np.array([1.0, 2.0, 3.0]), np.full(3, NAN))
    assert found.taken == (1, 2)
    nothing = THREE.limits(np.array([NAN, NAN, 0.0]), np.array([NAN, NAN, 3.0]), np.full(3, NAN))
    assert nothing.taken == (2,)


def test_a_look_that_has_all_the_planned_events_is_the_last() -> None:
    found = THREE.limits(np.array([100.0, 210.0, 230.0]), np.array([1.0, 2.0, 3.0]), np.full(3, NAN))
    assert found.taken == (0, 1)


def test_error_may_be_spent_by_the_calendar_or_by_the_lesser_clock() -> None:
    events, days = np.array([150.0, 170.0, 200.0]), np.array([365.0, 1825.0, 3650.0])
    limits = {
        by: _committee(Looks(looks=[0.5, 0.75, 1.0], spending="pocock", spend_by=by)).limits(
            events, days, np.full(3, NAN)
        )
        for by in ("information", "calendar", "minimum")
    }
    # a tenth of the time has passed, three quarters of the events are in
    assert limits["calendar"].upper[0] > limits["information"].upper[0]
    assert limits["minimum"].upper[0] == pytest.approx(limits["calendar"].upper[0])


def test_a_weighted_test_takes_its_information_from_the_variance_of_the_score() -> None:
    told = _committee(Looks(looks=[0.5, 1.0], spending="obrien-fleming"), weighted=True)
    events, days = np.array([100.0, 200.0]), np.array([1.0, 2.0])
    found = told.limits(events, days, np.array([5.0, 30.0]))
    by_events = THREE.limits(np.array([100.0, NAN, 200.0]), np.array([1.0, NAN, 3.0]), np.full(3, NAN))
    # spent by events, so the first limit is the same; less correlation, so the last is higher
    assert found.upper[0] == pytest.approx(by_events.upper[0], abs=1e-9)
    assert found.upper[1] > by_events.upper[1]


@pytest.mark.parametrize(
    ("looks", "other", "message"),
    [
        (Looks(looks=[0.5, 1.0]), {}, "at no set level"),
        (Looks(looks=[0.5, 1.0], spending="pocock"), {"primary_events": None}, "planned primary events"),
        (Looks(looks=[0.5, 1.0], spending="wang-tsiatis"), {}, "Delta"),
        (
            Looks(looks=[Look(after="2 years"), 1.0], spending="haybittle-peto"), {},  # type: ignore[arg-type]
            "planned shares",
        ),
        (Looks(looks=[0.5, 1.0], spending="haybittle-peto"), {"weighted": True}, "spending function"),
    ],
)  # fmt: skip
def test_a_plan_without_boundaries_is_refused(looks: Looks, other: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _committee(looks, **other)


@pytest.mark.parametrize(
    "looks",
    [
        Looks(looks=[0.3, 0.6, 1.0], spending="obrien-fleming"),
        Looks(looks=[0.3, 0.6, 1.0], spending="pocock"),
        Looks(looks=[0.5, 1.0], spending="hwang-shih-decani", parameter=-4.0),
        Looks(looks=[0.5, 1.0], spending="haybittle-peto"),
        Looks(looks=[0.5, 1.0], spending="obrien-fleming exact"),
        Looks(looks=[0.5, 1.0], spending="kim-demets", parameter=2.0, sides=1),
    ],
    ids=lambda looks: looks.spending,
)
def test_the_type_one_error_of_normal_statistics_is_as_planned(looks: Looks) -> None:
    told = _committee(looks, alpha=0.05 if looks.sides == 2 else 0.025)
    rng = np.random.default_rng(17)
    shares = np.array([look.at for look in looks.schedule])
    trials = 20_000
    steps = rng.standard_normal((trials, len(shares))) * np.sqrt(np.diff(shares, prepend=0.0))
    z = np.cumsum(steps, axis=1) / np.sqrt(shares)
    limits = told.limits(200 * shares, 1000 * shares, np.full(len(shares), NAN))
    passed = z >= np.array(limits.upper)
    if looks.sides == 2:
        passed |= z <= np.array(limits.lower)
    level = told.alpha
    error = math.sqrt(level * (1 - level) / trials)
    assert abs(passed.any(axis=1).mean() - level) < 4 * error


def test_limits_of_few_events_are_those_of_the_analysis_at_levels_that_can_be_attained() -> None:
    looks = Looks(looks=[0.25, 0.5, 1.0], spending="pocock", distribution="saddlepoint")
    told = _committee(looks, share=2 / 3, participants=900)
    events = np.array([50.0, 100.0, 200.0])
    found = told.limits(events, np.array([1.0, 2.0, 3.0]), np.full(3, NAN))
    real = recompute(
        told.plan,
        events.tolist(),
        maximum=200,
        final=True,
        information_per_unit=2 / 9,
        draws=Draws(900, 2 / 3),
    )
    assert found.upper == pytest.approx(real.efficacy, abs=1e-12)
    assert real.harm is not None
    assert found.lower == found.ordering == pytest.approx(real.harm, abs=1e-12)
    # with unequal arms the two sides have other counts to choose from
    assert found.upper[0] != pytest.approx(-found.lower[0], abs=1e-3)


def test_a_weighted_test_has_no_saddlepoint_distribution_here() -> None:
    with pytest.raises(UserError, match="does not go with a weighted log-rank test"):
        _committee(
            Looks(looks=[0.5, 1.0], spending="pocock", distribution="saddlepoint"),
            weighted=True,
            participants=9,
        )
