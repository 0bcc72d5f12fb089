"""The package's own exponential, logarithm and normal quantile against the C library, mpmath-free oracles
and SciPy."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from equipoise._compile import njit
from equipoise.virtual import maths


def ulps(value: float, exact: float) -> float:
    return abs(value - exact) / math.ulp(exact)


def test_exp_is_within_one_ulp_of_the_c_library():
    x = np.random.default_rng(1).uniform(-50, 50, 50_000)
    assert max(ulps(maths.exp(v), math.exp(v)) for v in x) <= 1.0


def test_log_is_within_two_ulp_of_the_c_library():
    x = np.random.default_rng(2).uniform(-30, 30, 50_000)
    assert max(ulps(maths.log(math.exp(v)), math.log(math.exp(v))) for v in x if abs(v) > 1e-3) <= 2.0


def test_exact_points():
    assert maths.exp(0.0) == 1.0
    assert maths.log(1.0) == 0.0
    assert maths.normal_quantile(0.5) == 0.0


def test_exp_keeps_to_its_range():
    assert maths.exp(1e9) == maths.exp(700.0) < math.inf
    assert 0.0 < maths.exp(-1e9) == maths.exp(-700.0)


@pytest.mark.parametrize("y", [-2.5, -0.3, 0.5, 1.35])
def test_power_agrees_with_the_c_library(y):
    for x in np.random.default_rng(3).uniform(0.01, 3000, 2000):
        assert maths.power(x, y) == pytest.approx(x**y, rel=1e-14)


def test_normal_quantile_agrees_with_scipy_far_into_the_tails():
    u = np.concatenate(
        [np.logspace(-16, -2, 200), np.linspace(0.01, 0.99, 999), 1 - np.logspace(-12, -2, 100)]
    )
    got = np.array([maths.normal_quantile(v) for v in u])
    assert np.allclose(got, stats.norm.ppf(u), rtol=1e-12, atol=1e-14)


def test_normal_share_is_the_inverse():
    for z in np.linspace(-7, 7, 1401):
        assert maths.normal_share(z) == pytest.approx(stats.norm.cdf(z), abs=1e-15)


def test_floor_day_goes_down_for_negative_numbers():
    assert [maths.floor_day(x) for x in (-1.5, -1.0, -0.1, 0.0, 0.9, 1.0)] == [-2, -1, -1, 0, 0, 1]


@njit(cache=False)
def four_at_once(a, b, c, d):
    return maths.exp4(a, b, c, d)


def test_four_exponentials_at_once_have_the_bits_of_four_one_by_one():
    x = np.random.default_rng(4).uniform(-60, 60, (5000, 4))
    x[0] = [0.0, -0.0, 1e9, -1e9]
    for row in x:
        assert four_at_once(*row) == tuple(maths.exp(v) for v in row)


PROGRAM = """
import hashlib, struct
import numpy as np
from equipoise._compile import njit
from equipoise.virtual import maths, philox
z = philox.normal_column(11, 1, 0, 0, 0, 2000)
bits = hashlib.sha256(z.tobytes())

@njit(cache=False)
def four(a, b, c, d):
    return maths.exp4(a, b, c, d)

for row in z.reshape(-1, 4):
    bits.update(struct.pack("<dddd", *four(*(5.0 * row))))
for v in z.ravel():
    bits.update(struct.pack("<dd", maths.exp(5.0 * v), maths.log(abs(v))))
print(bits.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["x86-64", "haswell", "host"])
def test_the_same_bits_whatever_the_processor_offers(cpu, tmp_path):
    """Compiled for plain SSE2, for AVX2 with fused multiply-add, and for this machine."""
    answers = set()
    for target in {cpu, "x86-64"}:
        environment = dict(os.environ, NUMBA_CACHE_DIR=str(tmp_path / target))
        if target != "host":
            environment |= {"NUMBA_CPU_NAME": target, "NUMBA_CPU_FEATURES": ""}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(run.stdout)
    assert len(answers) == 1


def test_a_quantile_of_the_exponential_falls_with_u():
    assert maths.exponential_quantile(0.1) > maths.exponential_quantile(0.9) > 0.0
    assert maths.expit(0.0) == 0.5
    assert Fraction(maths.exp(-0.0)) == 1
    assert struct.pack("<d", maths.log(2.0)) == struct.pack("<d", math.log(2.0))
