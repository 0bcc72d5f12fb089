"""Boundaries against printed tables and other programs, and what must hold of any of them.

Tables: Jennison & Turnbull, Group Sequential Methods with Applications to Clinical Trials (2000), tables 2.1
to 2.4, as printed, to three decimals. Printed output of gsDesign (its default design), and figures that the
tests of rpact expect of it, to the digits given there.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.special import ndtr, ndtri

from equipoise.design import Boundaries, boundaries, hazard_ratio
from equipoise.design.spending import NAMES, spending
from equipoise.errors import UserError


def equal(looks: int) -> list[float]:
    return [k / looks for k in range(1, looks)] + [1.0]


# --- printed tables ---------------------------------------------------------------------------------------

POCOCK_CONSTANTS = {
    (0.01, 2): 2.772, (0.01, 3): 2.873, (0.01, 4): 2.939, (0.01, 5): 2.986, (0.05, 2): 2.178,
    (0.05, 3): 2.289,
    (0.05, 4): 2.361, (0.05, 5): 2.413, (0.05, 10): 2.555, (0.10, 2): 1.875, (0.10, 3): 1.992,
    (0.10, 4): 2.067,
    (0.10, 5): 2.122,
}  # fmt: skip
OBRIEN_FLEMING_CONSTANTS = {
    (0.01, 2): 2.580, (0.01, 3): 2.595, (0.01, 4): 2.609, (0.01, 5): 2.621, (0.05, 2): 1.977,
    (0.05, 3): 2.004,
    (0.05, 4): 2.024, (0.05, 5): 2.040, (0.05, 10): 2.087, (0.10, 2): 1.678, (0.10, 3): 1.710,
    (0.10, 4): 1.733,
    (0.10, 5): 1.751,
}  # fmt: skip
INFLATION_POCOCK = {
    (2, 0.8): 1.110, (3, 0.8): 1.166, (4, 0.8): 1.202, (5, 0.8): 1.229, (2, 0.9): 1.100, (3, 0.9): 1.151,
    (4, 0.9): 1.183, (5, 0.9): 1.207,
}  # fmt: skip
INFLATION_OBRIEN_FLEMING = {
    (2, 0.8): 1.008, (3, 0.8): 1.017, (4, 0.8): 1.024, (5, 0.8): 1.028, (2, 0.9): 1.007, (3, 0.9): 1.016,
    (4, 0.9): 1.022, (5, 0.9): 1.026,
}  # fmt: skip


@pytest.mark.parametrize(("alpha", "looks"), POCOCK_CONSTANTS)
def test_pocock_constants_are_those_of_table_2_1(alpha, looks):
    plan = boundaries(equal(looks), alpha=alpha, sides=2, kind="pocock exact")
    assert plan.efficacy == pytest.approx([plan.efficacy[0]] * looks, abs=1e-12)
    assert round(plan.efficacy[0], 3) == POCOCK_CONSTANTS[alpha, looks]


@pytest.mark.parametrize(("alpha", "looks"), OBRIEN_FLEMING_CONSTANTS)
def test_obrien_fleming_constants_are_those_of_table_2_3(alpha, looks):
    plan = boundaries(equal(looks), alpha=alpha, sides=2, kind="obrien-fleming exact")
    assert plan.efficacy[0] == pytest.approx(math.sqrt(looks) * plan.efficacy[-1], abs=1e-12)
    assert round(plan.efficacy[-1], 3) == OBRIEN_FLEMING_CONSTANTS[alpha, looks]


@pytest.mark.parametrize(("looks", "power"), INFLATION_POCOCK)
def test_inflation_factors_are_those_of_tables_2_2_and_2_4(looks, power):
    pocock = boundaries(equal(looks), alpha=0.05, sides=2, kind="pocock exact", power=power)
    obrien = boundaries(equal(looks), alpha=0.05, sides=2, kind="obrien-fleming exact", power=power)
    assert round(pocock.inflation, 3) == INFLATION_POCOCK[looks, power]
    assert round(obrien.inflation, 3) == INFLATION_OBRIEN_FLEMING[looks, power]


def test_the_default_design_of_gsdesign():
    """gsDesign(): one-sided 0.025, power 0.9, non-binding futility, Hwang-Shih-DeCani -4 and -2."""
    plan = boundaries(
        equal(3), kind="hwang-shih-decani", parameter=-4, futility="hwang-shih-decani", futility_parameter=-2
    )
    assert plan.efficacy == pytest.approx([3.010739, 2.546531, 1.999226], abs=1e-6)
    assert plan.futility == pytest.approx([-0.2387240, 0.9410673, 1.9992264], abs=1e-6)
    assert plan.inflation == pytest.approx(1.069883, abs=2e-6)


RPACT = [
    (
        {"information": equal(3), "kind": "obrien-fleming exact"},
        {"efficacy": [3.4710914, 2.4544323, 2.0040356], "spent": [0.00025917372, 0.0071600594, 0.025]},
    ),
    (
        {"information": [0.2, 0.4, 1], "alpha": 0.03, "power": 0.86, "kind": "hwang-shih-decani",
        "parameter": 0},
        {
            "efficacy": [2.5121443, 2.4228747, 2.0280392], "spent": [0.006, 0.012, 0.03],
            "inflation": 1.0788327,
            "power": [0.12783451, 0.34055165, 0.86], "expected": [1.0697705, 1.0142116, 0.83081135],
        },
    ),
    (
        {
            "information": [0.2, 0.4, 1], "alpha": 0.07, "power": 0.86, "kind": "hwang-shih-decani",
            "parameter": -1,
            "futility": "hwang-shih-decani", "futility_parameter": -2,
        },
        {
            "efficacy": [2.364813, 2.1928805, 1.5660474], "futility": [-1.1063623, -0.35992439],
            "spent": [0.0090195874, 0.020036136, 0.07], "beta": [0.010777094, 0.026854629, 0.14],
            "inflation": 1.0869177,
            "power": [0.12038953, 0.32895265, 0.86], "expected": [0.79471657, 0.916142, 0.82636428],
        },
    ),
    (
        {
            "information": [0.3, 0.7, 1], "alpha": 0.03, "power": 0.66, "kind": "kim-demets",
            "parameter": 2.2,
            "futility": "kim-demets", "futility_parameter": 3.2,
        },
        {
            "efficacy": [2.8594012, 2.2435708, 1.9735737], "futility": [-1.1558435, 0.72836893],
            "spent": [0.0021222083, 0.013687904, 0.03], "beta": [0.0072155083, 0.1085907, 0.34],
            "inflation": 1.0555891,
            "power": [0.058336437, 0.398246, 0.66], "expected": [0.75480974, 0.87361707, 0.86740735],
        },
    ),
    (
        {
            "information": [0.4, 0.75, 1], "alpha": 0.13, "power": 0.59, "futility": "kim-demets",
            "futility_parameter": 2.5,
        },
        {
            "efficacy": [2.1280732, 1.4368565, 1.2468994], "futility": [-0.83725762, 0.35992547],
            "spent": [0.016665509, 0.080406163, 0.13], "beta": [0.041489083, 0.19972711, 0.41],
            "power": [0.10903632, 0.42541278, 0.59],
        },
    ),
    (
        {
            "information": [0.4, 0.75, 1], "alpha": 0.13, "power": 0.59, "futility": "kim-demets",
            "futility_parameter": 2.5,
            "binding": True,
        },
        {
            "efficacy": [2.1280732, 1.4362896, 1.2218662], "futility": [-0.84937686, 0.34328914],
            "power": [0.1067887, 0.41918821, 0.59],
        },
    ),
    (
        {
            "information": [0.4, 0.75, 0.85, 1], "alpha": 0.13, "power": 0.59, "futility": "kim-demets",
            "futility_parameter": 2.5, "binding": True,
        },
        {
            "efficacy": [2.1280732, 1.4362706, 1.4203748, 1.2576258],
            "futility": [-0.84247693, 0.35276055, 0.62744509],
            "power": [0.10806422, 0.422855, 0.4950578, 0.59],
        },
    ),
    (
        {"information": [0.3, 0.8, 1], "alpha": 0.025, "sides": 2, "kind": "wang-tsiatis", "parameter": 0.24},
        {"efficacy": [3.2029374, 2.4819703, 2.3420706], "spent": [0.0013603353, 0.013978861, 0.025]},
    ),
    (
        {"information": [0.3, 0.6, 0.8, 1], "alpha": 0.025, "sides": 2, "kind": "wang-tsiatis",
        "parameter": 0.18},
        {
            "efficacy": [3.4563925, 2.7688119, 2.5253005, 2.3512665],
            "power": [0.067932398, 0.50628745, 0.76237915, 0.9],
        },
    ),
    (
        {"information": equal(4), "kind": "haybittle-peto"},
        {"efficacy": [3, 3, 3, 1.9827514], "spent": [0.001349898, 0.0024617416, 0.0033695882, 0.025]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given_", "expected"), RPACT, ids=[f"{g.get('kind', 'of')}-{i}" for i, (g, _) in enumerate(RPACT)]
)
def test_designs_are_those_of_rpact(given_, expected):
    plan = boundaries(**given_)
    assert plan.efficacy == pytest.approx(expected["efficacy"], abs=1e-6)
    if "futility" in expected:
        assert plan.futility[:-1] == pytest.approx(expected["futility"], abs=1e-6)
    if "spent" in expected:
        assert plan.alpha_spent == pytest.approx(expected["spent"], abs=1e-7)
    if "beta" in expected:
        assert plan.beta_spent == pytest.approx(expected["beta"], abs=1e-7)
    if "inflation" in expected:
        assert plan.inflation == pytest.approx(expected["inflation"], abs=1e-6)
    if "power" in expected:
        assert np.cumsum(plan.crossing(plan.drift).efficacy) == pytest.approx(expected["power"], abs=1e-6)
    if "expected" in expected:
        means = [plan.inflation * plan.expected_information(plan.drift * part) for part in (0, 0.5, 1)]
        assert means == pytest.approx(expected["expected"], abs=2e-6)


def test_the_spending_functions_of_lan_and_demets_at_two_sided_five_per_cent():
    """The O'Brien-Fleming type function at alpha 0.025 per side, five equal looks, to three decimals, as
    Reboussin, DeMets, Kim & Lan print them (Control Clin Trials 2000;21:190-207)."""
    plan = boundaries(equal(5), alpha=0.05, sides=2)
    assert [round(z, 3) for z in plan.efficacy] == [4.877, 3.357, 2.680, 2.290, 2.031]


# --- spending functions -----------------------------------------------------------------------------------


def test_spending_functions_are_their_formulae():
    t = np.array([0.1, 0.4, 0.75])
    assert spending("obrien-fleming", 0.025, t) == pytest.approx(
        2 * ndtr(ndtri(0.0125) / np.sqrt(t)), rel=1e-12
    )
    assert spending("pocock", 0.025, t) == pytest.approx(0.025 * np.log(1 + (math.e - 1) * t), rel=1e-13)
    assert spending("kim-demets", 0.025, t, parameter=2.2) == pytest.approx(0.025 * t**2.2, rel=1e-13)
    for gamma in (-4.0, 1.0, 3.0):
        expected = 0.025 * (1 - np.exp(-gamma * t)) / (1 - math.exp(-gamma))
        assert spending("hwang-shih-decani", 0.025, t, parameter=gamma) == pytest.approx(expected, rel=1e-12)
    assert spending("hwang-shih-decani", 0.025, t, parameter=0.0) == pytest.approx(0.025 * t, rel=1e-13)
    assert spending("hwang-shih-decani", 0.025, t, parameter=1e-9) == pytest.approx(0.025 * t, rel=1e-8)


@settings(max_examples=60)
@given(st.sampled_from(NAMES), st.floats(1e-6, 0.49), st.floats(0, 1), st.floats(0, 1), st.floats(0.3, 5))
def test_spending_rises_from_nothing_to_everything(name, total, one, other, parameter):
    value = parameter if name in ("hwang-shih-decani", "kim-demets") else None
    low, high = sorted((one, other))
    spent = spending(name, total, [0.0, low, high, 1.0, 1.3], parameter=value)
    assert spent[0] == 0
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(spent))
    assert spent[3] == spent[4] == total


def test_two_sided_spending_is_twice_that_of_one_side():
    both = spending("obrien-fleming", 0.05, [0.5, 1], sides=2)
    assert both == pytest.approx(2 * spending("obrien-fleming", 0.025, [0.5, 1]), rel=1e-14)


# --- what must hold ---------------------------------------------------------------------------------------

EVERY = [
    {"kind": "obrien-fleming"}, {"kind": "pocock"}, {"kind": "hwang-shih-decani", "parameter": -4},
    {"kind": "kim-demets", "parameter": 3}, {"kind": "obrien-fleming exact"}, {"kind": "pocock exact"},
    {"kind": "wang-tsiatis", "parameter": 0.25}, {"kind": "haybittle-peto"},
]  # fmt: skip


@pytest.mark.parametrize("how", EVERY, ids=lambda how: how["kind"])
@pytest.mark.parametrize("sides", [1, 2])
def test_type_one_error_and_power_are_exact(how, sides):
    plan = boundaries([0.3, 0.55, 0.8, 1], alpha=0.025 * sides, sides=sides, power=0.85, **how)
    ended = plan.crossing(0.0)
    assert sides * ended.rejected == pytest.approx(plan.alpha, abs=1e-10)
    assert np.cumsum(ended.efficacy) * sides == pytest.approx(plan.alpha_spent, abs=1e-10)
    assert plan.crossing(plan.drift).rejected == pytest.approx(0.85, abs=1e-10)
    assert plan.inflation > 1


@pytest.mark.parametrize("how", EVERY, ids=lambda how: how["kind"])
def test_one_look_is_the_fixed_design(how):
    plan = boundaries([1], **how)
    assert plan.efficacy == pytest.approx([-ndtri(0.025)], abs=1e-10)
    assert plan.inflation == pytest.approx(1, abs=1e-10)
    assert plan.expected_information(1.0) == 1
    assert plan.nominal_p == pytest.approx([0.025], abs=1e-11)
    assert plan.nominal_p_two_sided == pytest.approx([0.05], abs=1e-11)


@pytest.mark.parametrize("how", EVERY[:4], ids=lambda how: how["kind"])
@pytest.mark.parametrize("binding", [False, True])
@pytest.mark.parametrize(
    "futility", [("obrien-fleming", None), ("pocock", None), ("hwang-shih-decani", -2.0)]
)
def test_with_futility_both_errors_are_exact(how, binding, futility):
    name, parameter = futility
    plan = boundaries(
        [0.4, 0.7, 1], power=0.8, futility=name, futility_parameter=parameter, binding=binding, **how
    )
    assert plan.crossing(0.0, futility=binding).rejected == pytest.approx(0.025, abs=1e-9)
    planned = plan.crossing(plan.drift)
    assert planned.rejected == pytest.approx(0.8, abs=1e-9)
    assert np.cumsum(planned.lower) == pytest.approx(plan.beta_spent, abs=1e-9)
    assert plan.futility[-1] == plan.efficacy[-1]
    assert all(low < high for low, high in zip(plan.futility[:-1], plan.efficacy[:-1], strict=True))
    if not binding:
        assert plan.efficacy == boundaries([0.4, 0.7, 1], power=0.8, **how).efficacy
        assert plan.crossing(0.0).rejected < 0.025


def test_binding_futility_agrees_with_quadrature_over_the_three_statistics():
    """Errors of the limits found, by integrating the trivariate normal density in pieces."""
    t = [0.4, 0.7, 1.0]
    plan = boundaries(t, futility="kim-demets", futility_parameter=2, binding=True)
    a, b = plan.futility, plan.efficacy
    r12, r23 = math.sqrt(t[0] / t[1]), math.sqrt(t[1] / t[2])
    s2, s3 = math.sqrt(1 - r12**2), math.sqrt(1 - r23**2)

    def phi(x):
        return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)

    def error(drift, limit, up):
        m = [drift * math.sqrt(x) for x in t]
        sign = 1 if up else -1
        first = ndtr(sign * (m[0] - limit[0]))

        def second(x):
            return phi(x - m[0]) * ndtr(sign * (m[1] + r12 * (x - m[0]) - limit[1]) / s2)

        def third(y, x):
            density = phi(x - m[0]) * phi((y - m[1] - r12 * (x - m[0])) / s2) / s2
            return density * ndtr(sign * (m[2] + r23 * (y - m[1]) - limit[2]) / s3)

        return (
            first
            + quad(second, a[0], b[0], epsabs=1e-12)[0]
            + dblquad(third, a[0], b[0], a[1], b[1], epsabs=1e-10)[0]
        )

    assert error(0.0, b, True) == pytest.approx(0.025, abs=1e-8)
    assert error(plan.drift, a, False) == pytest.approx(0.1, abs=1e-8)


looks_strategy = st.lists(st.floats(0.15, 0.95), min_size=1, max_size=3, unique=True).map(
    lambda looks: [*sorted(looks), 1.0]
).filter(lambda looks: all(b - a > 0.03 for a, b in pairwise(looks)))  # fmt: skip


@settings(max_examples=40)
@given(looks_strategy, st.sampled_from(EVERY[:7]), st.floats(0.005, 0.1))
def test_two_sided_limits_are_one_sided_ones_at_half_alpha_but_for_crossing_both(looks, how, alpha):
    two = boundaries(looks, alpha=alpha, sides=2, **how)
    one = boundaries(looks, alpha=alpha / 2, sides=1, **how)
    assert two.efficacy == pytest.approx(one.efficacy, abs=2e-3)
    assert all(a <= b + 1e-9 for a, b in zip(two.efficacy, one.efficacy, strict=True))


@settings(max_examples=40)
@given(
    looks_strategy, st.sampled_from(["obrien-fleming", "pocock"]), st.floats(0.005, 0.2), st.floats(1.05, 1.5)
)
def test_more_alpha_lowers_every_limit(looks, kind, alpha, more):
    strict, lax = (boundaries(looks, alpha=level, kind=kind) for level in (alpha, alpha * more))
    assert all(b < a for a, b in zip(strict.efficacy, lax.efficacy, strict=True))


@settings(max_examples=30)
@given(looks_strategy, st.floats(-1, 5), st.floats(0.05, 1))
def test_more_effect_means_more_efficacy_and_less_futility(looks, drift, more):
    plan = boundaries(looks, futility="pocock", kind="pocock")
    one, two = plan.crossing(drift), plan.crossing(drift + more)
    assert two.rejected > one.rejected
    assert sum(two.lower) < sum(one.lower)
    assert looks[0] <= plan.expected_information(drift) <= 1


def test_hazard_ratios_at_the_limits():
    plan = boundaries([0.5, 1], futility="pocock", kind="pocock")
    efficacy, futility = plan.hazard_ratios(200)
    assert efficacy == pytest.approx(
        [math.exp(-2 * plan.efficacy[0] / 10), math.exp(-2 * plan.efficacy[1] / math.sqrt(200))]
    )
    assert futility[1] == efficacy[1]
    assert hazard_ratio(1.96, 150, 2 / 3) == pytest.approx(math.exp(-1.96 / math.sqrt(2 / 9 * 150)))
    assert hazard_ratio(math.inf, 150) == 0
    assert hazard_ratio(-5, 1e-4) == math.inf
    with pytest.raises(UserError, match="events: 0 is not above 0"):
        plan.hazard_ratios(0)
    with pytest.raises(UserError, match="a share of 1 in the experimental arm"):
        hazard_ratio(2, 100, 1)


# --- the ends of the numbers ------------------------------------------------------------------------------


def test_an_early_look_with_next_to_nothing_to_spend_has_its_limit_and_says_what_that_means():
    plan = boundaries([0.1, 0.5, 1], alpha=0.005)
    assert plan.alpha_spent[0] == pytest.approx(2 * ndtr(ndtri(0.0025) / math.sqrt(0.1)), rel=1e-10)
    assert plan.efficacy[0] == pytest.approx(-ndtri(plan.alpha_spent[0]), abs=1e-9)
    assert plan.efficacy[0] > 8
    assert "look 1: the limit 8.80 (p = 6.9e-19)" in plan.notes[0]
    assert plan.crossing(0).rejected == pytest.approx(0.005, abs=1e-12)


def test_a_look_with_less_than_can_be_resolved_has_no_limit_and_says_so():
    plan = boundaries([0.01, 0.5, 1], alpha=0.005)
    assert plan.efficacy[0] == math.inf
    assert "look 1: less than 1e-22 may be spent here" in plan.notes[0]
    assert plan.crossing(0).rejected == pytest.approx(0.005, abs=1e-12)
    assert plan.hazard_ratios(100)[0][0] == 0


# --- impossible plans -------------------------------------------------------------------------------------

REFUSED = [
    ({"information": []}, "looks: there are none"),
    ({"information": [0.5, 0.4, 1]}, "looks: 0.4 comes after 0.5; they must rise"),
    ({"information": [0.5, 0.5, 1]}, "without repeats"),
    ({"information": [0.5, 1.2]}, "looks: 1.2 is more than the planned information"),
    ({"information": [50, 75, 100]}, "write shares (0.5), not per cent"),
    ({"information": [-0.5, 1]}, "looks: -0.5 is not above 0"),
    ({"information": [0.5, 0.75]}, "looks: the last is 0.75; a plan ends at the full information: add 1"),
    ({"information": [0.5, 0.50001, 1]}, "too close to be two looks"),
    ({"information": [math.nan, 1]}, "looks: nan is no number"),
    ({"information": [k / 200 for k in range(1, 201)]}, "at most 100 can be handled"),
    ({"information": [1], "alpha": 0}, "alpha: 0 is out of range"),
    ({"information": [1], "alpha": 0.5}, "alpha: 0.5 is out of range"),
    ({"information": [1], "alpha": math.nan}, "alpha: nan is out of range"),
    ({"information": [1], "sides": 3}, "sides: 3 is neither 1 nor 2"),
    ({"information": [1], "power": 1.0}, "power: 1 is out of range"),
    ({"information": [1], "power": 0.02}, "power: 0.02 is out of range"),
    ({"information": [1], "kind": "obrien-flemming"}, 'did you mean "obrien-fleming"'),
    ({"information": [1], "kind": "triangular"}, "there are obrien-fleming, pocock"),
    ({"information": [1], "kind": "kim-demets"}, "parameter: kim-demets needs its parameter rho"),
    ({"information": [1], "kind": "kim-demets", "parameter": 0.0}, "it must be above 0"),
    ({"information": [1], "kind": "hwang-shih-decani", "parameter": 99.0}, "it must lie from -40 to 40"),
    ({"information": [1], "kind": "pocock", "parameter": 1.0}, "parameter: pocock takes no parameter"),
    ({"information": [1], "kind": "pocock exact", "parameter": 1.0}, "takes none; leave it out"),
    ({"information": [1], "kind": "wang-tsiatis"}, "needs its parameter Delta"),
    ({"information": [1], "kind": "wang-tsiatis", "parameter": 0.7}, "it must lie from -0.5 to 0.5"),
    ({"information": [1], "kind": "haybittle-peto", "parameter": 0.2}, "it must lie from 1 to 8"),
    ({"information": [0.5, 1], "kind": "haybittle-peto", "parameter": 1.5}, "leaves nothing for the last"),
    ({"information": [1],
     "futility": "pocok"}, 'futility: there is no spending function "pocok"; did you mean "pocock"'),
    ({"information": [1], "sides": 2, "futility": "pocock"},
     "two-sided tests with futility limits are not done"),
    ({"information": [1], "futility_parameter": 1.0},
     "there is no futility spending that it could belong to"),
    ({"information": [1], "binding": True}, "there are no futility limits that could bind"),
    ({"information": [1], "kind": "pocock exact", "futility": "pocock", "binding": True},
     "do not depend on futility"),
    ({"information": [1], "futility": "kim-demets"},
     "futility_parameter: kim-demets needs its parameter rho"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_an_impossible_plan_is_refused_with_one_clear_message(how, message):
    with pytest.raises(UserError) as refused:
        boundaries(**how)
    assert message in str(refused.value)


def test_spending_so_early_that_the_limits_would_meet_before_the_end_is_refused():
    with pytest.raises(UserError, match="reaches the efficacy limit before the last look"):
        boundaries(
            [0.5, 0.98, 1], kind="hwang-shih-decani", parameter=20.0, futility="hwang-shih-decani",
            futility_parameter=20.0,
        )  # fmt: skip


def test_a_plan_is_frozen():
    plan = boundaries([0.5, 1])
    assert isinstance(plan, Boundaries)
    with pytest.raises(AttributeError):
        plan.alpha = 0.05  # type: ignore[misc]
