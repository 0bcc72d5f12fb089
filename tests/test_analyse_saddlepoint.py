"""The log-rank statistic against its own distribution; the exact one, added up draw by draw, decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom, norm

from equipoise import analyse
from equipoise.analyse.risk_table import two_arm_scratch
from equipoise.analyse.saddlepoint import saddlepoint_of_table
from equipoise.errors import UserError


def deviate(table: list[tuple[int, int, int, int]]) -> float:
    """Of a risk table given as rows (at risk in arms 0 and 1, events in arms 0 and 1)."""
    scratch = two_arm_scratch(2, 1, None, len(table))
    columns = np.vstack([np.array(table, float).T, np.arange(len(table))])
    return float(saddlepoint_of_table(len(table), scratch._replace(table=np.ascontiguousarray(columns))))


def exact(table: list[tuple[int, int, int, int]]) -> tuple[float, float]:
    """(normal deviate of the exact mid-p value of the events in arm 1, variance of their number)."""
    mass, variance = np.ones(1), 0.0
    for n0, n1, d0, d1 in table:
        if d0 + d1 == 1:  # the hypergeometric of a single event, which scipy takes its time over
            p = n1 / (n0 + n1)
            mass, variance = np.convolve(mass, [1 - p, p]), variance + p * (1 - p)
            continue
        draw = hypergeom(n0 + n1, n1, d0 + d1)
        mass = np.convolve(mass, draw.pmf(np.arange(d0 + d1 + 1)))
        variance += float(draw.var())
    x = sum(row[3] for row in table)
    over, under = mass[x + 1 :].sum() + mass[x] / 2, mass[:x].sum() + mass[x] / 2
    return (-norm.ppf(over) if over < under else norm.ppf(under)), variance


def untied(events: int, in_arm_1: int, n0: int, n1: int) -> list[tuple[int, int, int, int]]:
    """Events one by one, those of arm 1 first; nobody else leaves."""
    rows = []
    for k in range(events):
        mine = int(k < in_arm_1)
        rows.append((n0, n1, 1 - mine, mine))
        n0, n1 = n0 - (1 - mine), n1 - mine
    return rows


@pytest.mark.parametrize(("n0", "n1"), [(800, 800), (500, 1000), (100, 900)])
@pytest.mark.parametrize("events", [20, 58, 230])
def test_its_tail_is_the_exact_one_far_out_and_near_the_middle(events: int, n0: int, n1: int) -> None:
    compared = 0
    for in_arm_1 in range(max(1, events - n0 + 1), events):
        table = untied(events, in_arm_1, n0, n1)
        z, variance = exact(table)
        if abs(z) > 3 or compared > 40:
            continue
        compared += 1
        # a mid-p value adds the variance of a uniform variable on a cell of the lattice
        assert deviate(table) == pytest.approx(z * (1 + 1 / (12 * variance)), abs=0.6 / variance**1.5 + 0.001)
    assert compared >= 7


def test_it_removes_the_skewness_that_unequal_arms_bring() -> None:
    table = untied(58, 48, 500, 1000)
    z, variance = exact(table)
    z *= 1 + 1 / (12 * variance)
    share = [n1 / (n0 + n1) for n0, n1, _, _ in table]
    score = 48 - sum(share)
    normal = score / math.sqrt(sum(p * (1 - p) for p in share))
    assert abs(deviate(table) - z) < abs(normal - z) / 5


ROW = st.tuples(st.integers(2, 30), st.integers(2, 30), st.integers(1, 8))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=3, max_size=12), seed=st.integers(0, 2**32))
def test_ties_are_draws_of_several_events_at_once(rows: list[tuple[int, int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = []
    for n0, n1, d in rows:
        tied = min(d, n0 + n1 - 1)
        d1 = int(rng.hypergeometric(n1, n0, tied))
        table.append((n0, n1, tied - d1, d1))
    z, variance = exact(table)
    if abs(z) < 4 and variance > 1:
        assert deviate(table) == pytest.approx(z * (1 + 1 / (12 * variance)), abs=0.06)
    swapped = [(n1, n0, d1, d0) for n0, n1, d0, d1 in table]
    assert deviate(swapped) == pytest.approx(-deviate(table), abs=1e-7)


def test_it_rises_with_every_event_in_the_arm() -> None:
    found = [deviate(untied(40, k, 300, 300)) for k in range(41)]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("events", [1, 2, 12])
def test_where_all_events_are_in_one_arm_it_is_the_mid_p_value(events: int) -> None:
    z, _ = exact(untied(events, events, 50, 70))
    assert deviate(untied(events, events, 50, 70)) == pytest.approx(z, abs=1e-9)
    assert deviate(untied(events, 0, 50, 70)) == pytest.approx(exact(untied(events, 0, 50, 70))[0], abs=1e-9)


def test_many_ties_do_not_overflow() -> None:
    found = deviate([(200_000, 300_000, 7_900, 12_100)])
    share = 0.6
    variance = 20_000 * share * (1 - share) * 480_000 / 499_999
    assert found == pytest.approx((12_100 - 20_000 * share) / math.sqrt(variance), abs=2e-3)


def test_without_a_comparison_there_is_none() -> None:
    assert math.isnan(deviate([(0, 5, 0, 1), (0, 4, 0, 2)]))


def columns(n: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(1, 400, n),
        rng.random(n) < 0.2,
        (np.arange(n) % 3 > 0).astype(int),
        rng.integers(0, 2, n),
    )


def test_the_public_test_offers_it() -> None:
    time, event, group, stratum = columns(300)
    normal = analyse.logrank(time, event, group, stratum)
    found = analyse.logrank(time, event, group, stratum, distribution="saddlepoint")
    assert normal.z**2 == pytest.approx(normal.chi_square)
    assert found.chi_square == normal.chi_square
    assert found.z == pytest.approx(normal.z, abs=0.1)
    assert found.z != normal.z
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.z)))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rho": 1.0}, "without weights"),
        ({"entry": np.zeros(300)}, "without weights or late entry"),
        ({"strata": None, "group": np.arange(300) % 3}, "compares two groups; there are 3"),
        ({"distribution": "exact"}, 'there is no "exact"; choose normal or saddlepoint'),
    ],
)
def test_what_it_is_not_for_is_refused(how: dict[str, object], message: str) -> None:
    time, event, group, stratum = columns(300)
    given = {"group": group, "strata": stratum, "distribution": "saddlepoint"} | how
    with pytest.raises(UserError, match=message):
        analyse.logrank(time, event, **given)  # type: ignore[arg-type]
