"""Limits at levels that a count of events can attain, and the level of limits that take no notice of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, hypergeom, norm

from equipoise.design import Draws, attained_level, boundaries, integration, recompute
from equipoise.design.attainable import (
    Exposure,
    attainable_limits,
    exposure,
    few_events_notes,
    level_note,
    levels,
)
from equipoise.design.calendar import Accrual, Arm, EventModel, Hazard, Stratum
from equipoise.errors import UserError

POCOCK = boundaries([0.25, 0.5, 0.75, 1], alpha=0.05, sides=2, kind="pocock")
EVENTS = [58.0, 115.0, 173.0, 230.0]
MANY = Exposure(1e8, 0.0, 0.5)
"""So many participants that the events are coin tosses."""


def model(**other: object) -> EventModel:
    rate = Hazard.constant(0.024)
    arms = [Arm(name, 847.5, rate, 0.015) for name in ("control", "active")]
    return EventModel(Accrual.even(3.5), *arms, **other)  # type: ignore[arg-type]


def test_one_look_more_has_the_limits_of_the_whole_schedule() -> None:
    t = np.array(EVENTS) / 230
    spent = 0.05 * t
    lower, upper = integration.limits(t, spent, np.zeros(0), 0.0, 2, False, True)
    each = (spent[-1] - spent[-2]) / 2
    found = integration.next_limits(t, lower[:-1], upper[:-1], each, each)
    assert found == pytest.approx((lower[-1], upper[-1]), abs=1e-9)


def test_levels_are_those_of_the_count_in_an_arm() -> None:
    good, bad = levels(Draws(12, 1 / 3), 4)
    # of 12 participants 8 are in the reference arm: at least 3 of 4 events there, by counting
    both = (math.comb(8, 3) * 4 + math.comb(8, 4)) / math.comb(12, 4)
    assert norm.sf(good[2]) == pytest.approx(both)
    assert norm.sf(bad[3]) == pytest.approx(1 / math.comb(12, 4))


@pytest.mark.parametrize("share", [0.5, 2 / 3])
def test_interim_limits_are_attainable_and_the_level_is_still_all_spent(share: float) -> None:
    draws = Draws(1695, share)
    now = recompute(POCOCK, EVENTS, maximum=230, final=True, draws=draws)
    plain = recompute(POCOCK, EVENTS, maximum=230, final=True)
    assert now.harm is not None
    for k in range(3):
        good, bad = levels(draws, int(EVENTS[k]))
        assert min(abs(good - now.efficacy[k])) < 1e-12
        assert min(abs(bad + now.harm[k])) < 1e-12
    assert all(a <= b + 1e-12 for a, b in zip(now.alpha_spent, plain.alpha_spent, strict=True))
    below, beyond = integration.crossing(np.array(EVENTS), np.array(now.harm), np.array(now.efficacy), 0.0)
    assert float(below.sum() + beyond.sum()) == pytest.approx(0.05, abs=1e-9)
    # what an interim look cannot spend makes the last limits easier to pass
    assert now.efficacy[-1] < plain.efficacy[-1]
    assert (now.harm[-1] == pytest.approx(-now.efficacy[-1])) is (share == 0.5)


def test_a_look_with_too_few_events_for_any_level_stops_nothing() -> None:
    plan = boundaries([0.02, 1], alpha=0.025, sides=1)
    now = recompute(plan, [5, 230], maximum=230, draws=Draws(1695))
    assert now.efficacy[0] == math.inf
    assert now.alpha_spent[0] == 0
    assert now.efficacy[1] == pytest.approx(norm.isf(0.025), abs=1e-6)


def test_the_last_look_is_attainable_too_while_it_is_not_final() -> None:
    lower, upper, spent = attainable_limits(
        np.array([0.25]), np.array([0.018]), [58.0], Draws(1695), sides=2, ended=False
    )
    assert spent[0] == pytest.approx(2 * hypergeom.sf(38, 1695, 848, 58), rel=2e-2)
    assert lower[0] == pytest.approx(-upper[0], abs=0.01)


def test_binding_futility_limits_count_as_kept_to() -> None:
    plan = boundaries(
        [0.3, 0.6, 1], alpha=0.025, sides=1, futility="hwang-shih-decani", futility_parameter=-2, binding=True
    )
    now = recompute(plan, [60, 120, 200], maximum=200, final=True, draws=Draws(1000))
    assert now.futility is not None
    lower = np.array([*now.futility[:-1], -math.inf])
    _, beyond = integration.crossing(np.array([60.0, 120.0, 200.0]), lower, np.array(now.efficacy), 0.0)
    assert float(beyond.sum()) == pytest.approx(0.025, abs=1e-9)


def test_more_events_than_participants_are_refused() -> None:
    with pytest.raises(UserError, match="300 events cannot happen to 200 participants"):
        recompute(POCOCK, [300], maximum=400, draws=Draws(200))
    with pytest.raises(UserError, match="too few for two arms"):
        recompute(POCOCK, [1], maximum=400, draws=Draws(2, 0.1))


def test_with_tosses_of_a_coin_the_level_is_binomial() -> None:
    limit = 2.0
    least = math.ceil(29 + limit * math.sqrt(58) / 2)
    found = attained_level([58], [limit], [-limit], [MANY])
    assert found.level(2) == pytest.approx(2 * binom.sf(least - 1, 58, 0.5), rel=1e-5)
    assert found.level(1) == pytest.approx(binom.sf(least - 1, 58, 0.5), rel=1e-5)


def test_the_level_of_a_skewed_test_is_mended_by_the_saddlepoint() -> None:
    at = exposure(model(), 230.0)
    skewed = Exposure(at.participants, at.dropouts, 2 / 3)
    normal = attained_level([230], [1.96], [-math.inf], [skewed]).level(1)
    mended = attained_level([230], [1.96], [-math.inf], [skewed], saddlepoint=True).level(1)
    # the first term of Edgeworth's expansion, for draws with replacement; those without are less skewed
    skewness = (1 / 3) / math.sqrt(230 * 2 / 9)
    expansion = 0.025 + norm.pdf(1.96) * skewness / 6 * (1.96**2 - 1)
    assert 0.0255 < normal < expansion
    assert abs(mended - 0.025) < abs(normal - 0.025) / 2


def test_participants_count_by_their_chance_of_an_event() -> None:
    # while people come evenly their follow-up is uniform: mean^2 over mean square is 3/4 of those who came
    early = exposure(model(), 5.0)
    came = 1695 * math.sqrt(2 * 5.0 / (1695 * 0.024 / 3.5)) / 3.5
    assert early.participants == pytest.approx(0.75 * came, rel=0.02)
    assert exposure(model(), 230.0).participants == pytest.approx(1695, rel=0.03)
    assert early.dropouts == pytest.approx(0.015 / 0.024)
    strata = (Stratum(0.7, 1.0), Stratum(0.3, 3.0))
    uneven = (0.7 + 0.3 * 9) / (0.7 + 0.3 * 3) ** 2
    apart = exposure(model(strata=strata), 5.0)
    came = 1695 * math.sqrt(2 * 5.0 / (1695 * 1.6 * 0.024 / 3.5)) / 3.5
    assert apart.participants == pytest.approx(0.75 * came / uneven, rel=0.03)


def test_a_level_is_worth_a_note_when_it_is_off_by_a_twentieth() -> None:
    assert level_note(0.0524, 0.05, False) is None
    note = level_note(0.0529, 0.05, False)
    assert note is not None
    assert "0.0529, not 0.05" in note
    assert "saddlepoint" in note
    assert "saddlepoint" not in (level_note(0.0529, 0.05, True) or "")


def test_few_events_and_unequal_arms_are_pointed_out() -> None:
    limits = POCOCK.efficacy
    (note,) = few_events_notes(EVENTS, limits, 0.5, 0.05, 2)
    below, above = (binom.sf(least - 1, 58, 0.5) for least in (39, 38))
    assert f"with 58 events, look 1 can have a one-sided level of {below:.4f} or {above:.4f}" in note
    assert few_events_notes([4 * count for count in EVENTS], limits, 0.5, 0.05, 2) == []
    single = boundaries([0.5, 1], alpha=0.025, sides=1).efficacy
    (skewed,) = few_events_notes([115, 230], single, 2 / 3, 0.025, 1)
    assert "predicted to be 0.026" in skewed
    assert few_events_notes([115, 230], single, 0.5, 0.025, 1) == []
