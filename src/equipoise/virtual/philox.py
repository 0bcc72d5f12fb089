"""Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC11, 2011).

A draw is a function of (seed; purpose, index, person, trial) and of nothing else: no state is kept, so the
result does not depend on the order of the work, on threads or on chunks, and the same person meets the same
chances in both arms. The generator is checked against the known answers of Random123.
"""

from __future__ import annotations

import numpy as np

from equipoise._compile import njit
from equipoise.virtual.maths import normal_quantile, whole_number

__all__ = ["block", "normal_column", "split_seed", "uniform_column", "uniforms", "unit", "unit32"]

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@njit(forceinline=True)
def block(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox4x32: four 32-bit counter words and two key words (held in uint64) to four
    words."""
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    a, b = np.uint64(k0), np.uint64(k1)
    for _ in range(10):
        p0 = _M0 * x0
        p1 = _M1 * x2
        x0, x1, x2, x3 = (p1 >> _32) ^ x1 ^ a, p1 & _LOW, (p0 >> _32) ^ x3 ^ b, p0 & _LOW
        a = (a + _W0) & _LOW
        b = (b + _W1) & _LOW
    return x0, x1, x2, x3


@njit(forceinline=True)
def split_seed(seed):
    """The two 32-bit key words of a 64-bit seed."""
    s = np.uint64(seed)
    return s & _LOW, s >> _32


@njit(forceinline=True)
def unit(high, low):
    """Two 32-bit words to a uniform of 53 bits strictly inside (0, 1)."""
    whole = whole_number(high >> np.uint64(5)) * 67108864.0 + whole_number(low >> np.uint64(6))
    # 2^-53 times (whole + 1/2) rounds to 1 for the largest value only; shift that one down.
    return min((whole + 0.5) * 1.1102230246251565e-16, 0.9999999999999999)


@njit(forceinline=True)
def unit32(word):
    """A 32-bit word to a uniform strictly inside (0, 1)."""
    return (whole_number(word) + 0.5) * 2.3283064365386963e-10


@njit(forceinline=True)
def uniforms(seed, purpose, index, person, trial):
    """Two uniforms in (0, 1) for one purpose (see `streams`), index, person and trial; each below 2^32."""
    k0, k1 = split_seed(seed)
    x0, x1, x2, x3 = block(
        np.uint64(purpose) & _LOW,
        np.uint64(index) & _LOW,
        np.uint64(person) & _LOW,
        np.uint64(trial) & _LOW,
        k0,
        k1,
    )
    return unit(x0, x1), unit(x2, x3)


@njit(borrows=True)
def uniform_indices(seed, purpose, person, trial, first, count, first_out, second_out):
    """The two uniforms of each index first .. first + count - 1 of one purpose and person, into two arrays.

    The loop has no branches, so that the compiler works on several indices at once.
    """
    k0, k1 = split_seed(seed)
    c0, c2, c3 = np.uint64(purpose) & _LOW, np.uint64(person) & _LOW, np.uint64(trial) & _LOW
    start = np.uint64(first)
    for i in range(np.uint64(count)):
        x0, x1, x2, x3 = block(c0, (start + i) & _LOW, c2, c3, k0, k1)
        first_out[i] = unit(x0, x1)
        second_out[i] = unit(x2, x3)


@njit
def uniform_column(seed, purpose, index, trial, first, count):
    """Uniforms of shape (2, count) for the persons first .. first + count - 1."""
    out = np.empty((2, count))
    k0, k1 = split_seed(seed)
    c0, c1, c3 = np.uint64(purpose) & _LOW, np.uint64(index) & _LOW, np.uint64(trial) & _LOW
    start = np.uint64(first)
    for i in range(np.uint64(count)):
        x0, x1, x2, x3 = block(c0, c1, (start + i) & _LOW, c3, k0, k1)
        out[0, i] = unit(x0, x1)
        out[1, i] = unit(x2, x3)
    return out


@njit
def normal_column(seed, purpose, index, trial, first, count):
    """Standard normals of shape (2, count) for the persons first .. first + count - 1."""
    out = np.empty((2, count))
    for i in range(count):
        u, v = uniforms(seed, purpose, index, first + i, trial)
        out[0, i] = normal_quantile(u)
        out[1, i] = normal_quantile(v)
    return out
