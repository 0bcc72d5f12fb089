"""The sieve: the entry rules of a protocol put to block after block of candidates, compiled.

What a candidate answers and what the protocol asks are turned by `equipoise.simulate.screening` into one list
of operations on columns. Here the list is carried out for some hundred candidates at a time; whoever fails a
criterion leaves the block at once, so that most draws are made for the few who are still in question. Every
answer is the one that `equipoise.virtual.baseline.candidates` gives, bit for bit, and every verdict the one
of `equipoise.protocol.criteria` (tests/test_simulate_screening.py)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise._compile import njit
from equipoise.virtual.baseline import (
    _choice_column,
    _copies_column,
    _count_column,
    _cut_column,
    _number_column,
)
from equipoise.virtual.maths import floor_day, normal_quantiles
from equipoise.virtual.philox import block, split_seed, unit, unit32

BLOCK = 512
"""Candidates in hand at a time. The result does not depend on it."""

# --- the operations: a truth is 1 yes, -1 no, 0 unknown; a number or the code of a category NaN unknown -----

CONSTANT = 0  # x
PAIR = 1  # the two uniforms of purpose a, index b, into target and c
WORDS = 2  # the four uniforms of group a of the items, into target, b, c, d
WITHIN = 3  # truth of x <= a < y, for a that is known
CUT = 4  # the distribution of the constants x..., cut, for uniforms a; upper limits b (-1: none)
ROUND = 5  # to steps of 1 / x
CLIPPED_NORMAL = 6  # x + y times the normal of a, between the next two constants
NUMBER = 7  # an item's numbers (constants: middle, sd, logarithmic, scale, low, high) of uniforms a
COUNT = 8  # measured count of the true count a, uniform b
COPIES = 9  # HIV RNA of the truth a (viraemic), the level b, the uniform c
CHOICE = 10  # position of the choice for uniforms a; edges at a stretch b to c of the tables
TABLE = 11  # entry b + a of the tables
SELECT = 12  # a where the truth b is yes, else x
BOTH = 13
EITHER = 14
NOT = 15
LESS = 16  # truths of comparisons; unknown if one side is
AT_MOST = 17
EQUAL = 18
AGREE = 19  # two truths are equal
ADD = 20  # results that are not finite are unknown
SUBTRACT = 21
MULTIPLY = 22
DIVIDE = 23
NEGATIVE = 24
LEAST = 25
MOST = 26
ABSOLUTE = 27
UNKNOWN_NUMBER = 28
UNKNOWN_TRUTH = 29
LEVEL = 30  # level of a stratum: b yes at position x, as long as a is open
PICK = 31  # goal: c where b is yes, as long as a is open
COALESCE = 32  # a, or b where a is unknown
COALESCE_TRUTH = 33
FLOOR = 34
NUMBER_OF_TRUTH = 35  # 1 for yes, else 0
SCALED = 36  # x + y times a
REQUIRE = (
    37  # who is not yes on a leaves (x = 1: no; x = 0: unknown as well); registers b..c of `kept` live on
)
OUT = 38  # a is column b of the result

OPEN, CLOSED = -2.0, -1.0
"""A stratum whose level is not found yet; one whose level cannot be known."""


class Program(NamedTuple):
    """Operations (int64[k, 6]: operation, target, a, b, c, d), their constants (float64[k, 6]), registers
    that live on after each REQUIRE, tables, and the number of registers and of columns of the result."""

    operations: NDArray[np.int64]
    constants: NDArray[np.float64]
    kept: NDArray[np.int64]
    tables: NDArray[np.float64]
    registers: int
    columns: int


@njit
def sieve(program, biology, item, seed, trial, first, most, wanted, share, eligible, result):
    """Put candidates first, first + 1, ... to the test until `wanted` are found or `most` have come.

    program: `Program`; item: the purpose of the items' draws; share: about how many are eligible. Out:
    `eligible` (int64[most]: 1, 0, -1 unknown), `result` (float64[columns + 1, at least wanted + BLOCK]: the
    numbers of the eligible, then their columns). Returns (candidates tested, eligible among them); both may
    go beyond the last one wanted."""
    registers = np.empty((program.registers, BLOCK))
    who, status = np.empty(BLOCK, np.uint64), np.empty(BLOCK)
    tested, found = np.int64(0), np.int64(0)
    while tested < most and found < wanted:
        n = min(BLOCK, most - tested, int((wanted - found) / share * 1.02) + 16)
        for i in range(np.uint64(n)):
            who[i] = np.uint64(first + tested) + i
            status[i] = 1.0
        for i in range(n):
            eligible[tested + i] = 0
        found += _block(
            program, biology, item, seed, trial, n, who, status, registers, first, eligible, result, found
        )
        tested += n
    return tested, found


@njit(inner=True)
def _block(program, biology, item, seed, trial, n, who, status, r, first, eligible, result, found):
    """One block of n candidates; returns how many are eligible."""
    k0, k1 = split_seed(seed)
    c3 = np.uint64(trial) & np.uint64(0xFFFFFFFF)
    code, numbers, tables = program.operations, program.constants, program.tables
    full = n
    m = np.uint64(n)
    for at in range(code.shape[0]):
        op, target = code[at, 0], code[at, 1]
        a, b, c, d = code[at, 2], code[at, 3], code[at, 4], code[at, 5]
        x, y = numbers[at, 0], numbers[at, 1]
        out = r[target]
        if op == WORDS:
            out_b, out_c, out_d = r[b], r[c], r[d]
            c0, c1 = np.uint64(item), np.uint64(a)
            for i in range(m):
                w0, w1, w2, w3 = block(c0, c1, who[i], c3, k0, k1)
                out[i] = unit32(w0)
                out_b[i] = unit32(w1)
                out_c[i] = unit32(w2)
                out_d[i] = unit32(w3)
        elif op == PAIR:
            out_c = r[c]
            c0, c1 = np.uint64(a), np.uint64(b)
            for i in range(m):
                w0, w1, w2, w3 = block(c0, c1, who[i], c3, k0, k1)
                out[i] = unit(w0, w1)
                out_c[i] = unit(w2, w3)
        elif op == WITHIN:
            u = r[a]
            for i in range(m):
                out[i] = 1.0 if (u[i] >= x) & (u[i] < y) else -1.0
        elif op == REQUIRE:
            u = r[a]
            alive = 0
            limit = -1.0 if x == 1.0 else 0.0
            for i in range(m):
                status[i] = min(status[i], u[i])
                alive += 1 if status[i] > limit else 0
            if alive < 0.85 * n or x == 0.0:
                n = _leave(program.kept, b, c, np.uint64(n), who, status, r, limit, first, eligible)
                m = np.uint64(n)
                if n == 0:
                    return 0
        elif op == CONSTANT:
            for i in range(m):
                out[i] = x
        elif op == CUT:
            f = numbers[at]
            limit_of = _limits(r[max(b, 0)], n, b >= 0, f[5])
            _into(out, _cut_column(r[a, :n], f[0] == 1.0, f[1], f[2], f[3], limit_of, f[4]))
        elif op == ROUND:
            u = r[a]
            for i in range(m):
                out[i] = np.rint(u[i] * x) / x
        elif op == CLIPPED_NORMAL:
            normal_quantiles(r[a], out, n)
            low, high = numbers[at, 2], numbers[at, 3]
            for i in range(m):
                out[i] = min(max(x + y * out[i], low), high)
        elif op == NUMBER:
            f = numbers[at]
            _into(out, _number_column(r[a, :n], f[0], f[1], f[2] == 1.0, f[3], f[4], f[5]))
        elif op == COUNT:
            _into(out, _count_column(biology, r[a, :n], r[b, :n]))
        elif op == COPIES:
            _into(out, _copies_column(biology, _are_yes(r[a], n), r[b, :n], r[c, :n]))
        elif op == CHOICE:
            _into(out, _choice_column(tables[b:c], r[a, :n]))
        elif op == TABLE:
            u = r[a]
            for i in range(n):
                out[i] = tables[b + int(u[i])]
        elif op == SELECT:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = u[i] if t[i] == 1.0 else x
        elif op == BOTH:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = min(u[i], t[i])
        elif op == EITHER:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = max(u[i], t[i])
        elif op in (NOT, NEGATIVE):
            u = r[a]
            for i in range(m):
                out[i] = -u[i]
        elif op == LESS:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = 1.0 if u[i] < t[i] else (-1.0 if u[i] >= t[i] else 0.0)
        elif op == AT_MOST:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = 1.0 if u[i] <= t[i] else (-1.0 if u[i] > t[i] else 0.0)
        elif op == EQUAL:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = 1.0 if u[i] == t[i] else (-1.0 if (u[i] < t[i]) | (u[i] > t[i]) else 0.0)
        elif op == AGREE:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = u[i] * t[i]
        elif op == ADD:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = _finite(u[i] + t[i])
        elif op == SUBTRACT:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = _finite(u[i] - t[i])
        elif op == MULTIPLY:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = _finite(u[i] * t[i])
        elif op == DIVIDE:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = _finite(u[i] / t[i])
        elif op in (LEAST, MOST):
            u, t = r[a], r[b]
            for i in range(n):
                smaller = u[i] < t[i]
                out[i] = u[i] if smaller == (op == LEAST) else t[i]
                if math.isnan(u[i]) or math.isnan(t[i]):
                    out[i] = np.nan
        elif op == ABSOLUTE:
            u = r[a]
            for i in range(m):
                out[i] = abs(u[i])
        elif op == UNKNOWN_NUMBER:
            u = r[a]
            for i in range(m):
                out[i] = 1.0 if u[i] != u[i] else -1.0
        elif op == UNKNOWN_TRUTH:
            u = r[a]
            for i in range(m):
                out[i] = 1.0 if u[i] == 0.0 else -1.0
        elif op == LEVEL:
            u, t = r[a], r[b]
            for i in range(m):
                now = x if t[i] == 1.0 else (OPEN if t[i] == -1.0 else CLOSED)
                out[i] = now if u[i] == OPEN else u[i]
        elif op == PICK:
            u, t, v = r[a], r[b], r[c]
            for i in range(m):
                now = v[i] if t[i] == 1.0 else (np.nan if t[i] == -1.0 else np.inf)
                out[i] = now if u[i] != u[i] else u[i]
        elif op == COALESCE:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = t[i] if u[i] != u[i] else u[i]
        elif op == COALESCE_TRUTH:
            u, t = r[a], r[b]
            for i in range(m):
                out[i] = t[i] if u[i] == 0.0 else u[i]
        elif op == FLOOR:
            u = r[a]
            for i in range(m):
                out[i] = np.float64(floor_day(u[i]))
        elif op == NUMBER_OF_TRUTH:
            u = r[a]
            for i in range(m):
                out[i] = 1.0 if u[i] == 1.0 else 0.0
        elif op == SCALED:
            u = r[a]
            for i in range(m):
                out[i] = x + y * u[i]
        elif op == OUT:
            _into(result[b + 1, found:], r[a, :n])
    for i in range(n):
        result[0, found + i] = np.float64(np.int64(who[i]))
        eligible[np.int64(who[i]) - first] = 1
    return n if full > 0 else 0


@njit(inner=True)
def _into(out, column):
    """Put a column into the first places of another."""
    for i in range(len(column)):
        out[i] = column[i]


@njit(inner=True)
def _limits(column, n, own, most):
    """The lesser of each one's `own` limit, if they have one, and that of everybody; NaN stays NaN."""
    out = np.empty(n)
    for i in range(n):
        out[i] = column[i] if own and not column[i] > most else most
    return out


@njit(inner=True)
def _are_yes(column, n):
    """Whether each of the first n truths is yes."""
    out = np.empty(n, np.bool_)
    for i in range(n):
        out[i] = column[i] > 0.0
    return out


@njit(forceinline=True, inner=True)
def _finite(value):
    """A result that no number can hold is unknown."""
    return value if abs(value) < np.inf else np.nan


@njit(inner=True)
def _leave(kept, start, stop, n, who, status, r, limit, first, eligible):
    """Close the ranks after those whose status is at or below the limit have left; returns how many stay.

    Whoever leaves with an unknown criterion is noted as such."""
    stay = np.empty(n, np.int64)
    left = 0
    for i in range(n):
        stay[left] = i
        left += 1 if status[i] > limit else 0
        if limit == 0.0 and status[i] == 0.0:
            eligible[np.int64(who[i]) - first] = -1
    for k in range(start, stop):
        column = r[kept[k]]
        for i in range(left):
            column[i] = column[stay[i]]
    for i in range(left):
        who[i] = who[stay[i]]
        status[i] = status[stay[i]]
    return left
