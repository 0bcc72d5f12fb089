"""Columns of data as the estimators take them: checked, coded, put in order.

Checks and codes are made in a few passes over the data, and rows are put in order by counting digits instead
of comparing, so that a million rows cost milliseconds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from equipoise._compile import njit
from equipoise.errors import UserError

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Positions = NDArray[np.int64]

_FEW = 64
_WIDE = 1 << 16
_LAST_DAY = 2**31 - 2


def two_sided_p(z: float) -> float:
    """Two-sided normal p-value of a z statistic; NaN for NaN."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def chi_square_p(value: float, df: int) -> float:
    """Upper tail of the chi-square distribution; NaN for NaN or no degrees of freedom."""
    return float(chdtrc(df, value)) if df > 0 and not math.isnan(value) else math.nan


# --- checks -----------------------------------------------------------------------------------------------


def events_of(event: ArrayLike) -> NDArray[np.uint8]:
    """Events as 0 and 1 (uint8). Raises UserError for anything else."""
    raw = np.asarray(event)
    if raw.dtype == np.bool_:
        return np.ascontiguousarray(raw).view(np.uint8)
    if raw.dtype == np.uint8:
        valid = raw.size == 0 or int(raw.max()) <= 1
    else:
        if raw.dtype.kind == "f" and not np.isfinite(raw).all():
            raise UserError("events must be 0 or 1: an event is missing")
        valid = bool(((raw == 0) | (raw == 1)).all())
    if not valid:
        raise UserError("events must be 0 (censored) or 1 (event)")
    return np.ascontiguousarray(raw, dtype=np.uint8)


def exit_times(time: ArrayLike, event: ArrayLike) -> tuple[Codes | Floats, NDArray[np.uint8]]:
    """(exit, event) where nobody enters late; exit is int32 where all times are whole days, else float64.
    Raises UserError for times that are missing or negative."""
    days = whole_days(time)
    if days is None or np.shape(event) != days.shape:
        stop, happened, _ = checked(time, event, None)
        return stop, happened
    return days, events_of(event)


def checked(
    time: ArrayLike, event: ArrayLike, entry: ArrayLike | None
) -> tuple[Floats, NDArray[np.uint8], Floats]:
    """(exit, event, entry) as contiguous columns; entry is -1 for everybody where there is none. Raises
    UserError for times that are missing, negative, or not after entry."""
    stop = np.ascontiguousarray(time, dtype=np.float64)
    if stop.ndim != 1 or np.shape(event) != stop.shape:
        raise UserError("times and events must be two columns of the same length")
    if len(stop) and not np.isfinite(stop).all():
        raise UserError("times must be finite numbers: a time is missing")
    if len(stop) and stop.min() < 0:
        row = int(np.argmax(stop < 0))
        raise UserError(f"times must not be negative: row {row + 1} has {stop[row]:g}")
    happened = events_of(event)
    if entry is None:
        return stop, happened, np.full(len(stop), -1.0)
    start = np.ascontiguousarray(entry, dtype=np.float64)
    if start.shape != stop.shape or not np.isfinite(start).all():
        raise UserError("entry times must be finite numbers, one for each time")
    if (start >= stop).any():
        row = int(np.argmax(start >= stop))
        raise UserError(f"entry must come before exit: row {row + 1} has {start[row]:g} to {stop[row]:g}")
    return stop, happened, start


@njit
def _to_days(time, days):
    """Copy whole, not negative numbers; False at the first that is neither."""
    for i in range(time.shape[0]):
        t = time[i]
        if not (0 <= t <= _LAST_DAY):
            return False
        day = np.int32(t)
        if day != t:
            return False
        days[i] = day
    return True


def whole_days(time: ArrayLike) -> Codes | None:
    """The times as int32, where all of them are whole numbers that are not negative; else None."""
    raw = np.asarray(time)
    if raw.ndim != 1 or raw.dtype.kind not in "iuf" or not len(raw):
        return None
    if raw.dtype == np.int32:
        return np.ascontiguousarray(raw) if int(raw.min()) >= 0 and int(raw.max()) <= _LAST_DAY else None
    days = np.empty(len(raw), np.int32)
    return days if _to_days(np.ascontiguousarray(raw), days) else None


# --- codes ------------------------------------------------------------------------------------------------


@njit
def _mark(values, low, present):
    for i in range(values.shape[0]):
        present[np.int64(values[i]) - low] = 1


@njit
def _look_up(values, low, place, out):
    for i in range(values.shape[0]):
        out[i] = place[np.int64(values[i]) - low]


@njit
def _few_levels(values, found, out):
    """Code numbers that take few different values, in order of appearance; -1 where there are more."""
    count = 0
    last = -1
    for i in range(values.shape[0]):
        x = values[i]
        if last < 0 or found[last] != x:
            last = 0
            while last < count and found[last] != x:
                last += 1
            if last == count:
                if count == found.shape[0]:
                    return -1
                found[count] = x
                count += 1
        out[i] = last
    return count


def _integer_codes(array: NDArray[Any]) -> tuple[Codes, tuple[Any, ...]] | None:
    low, high = int(array.min()), int(array.max())
    if high - low >= max(_WIDE, len(array)) or high > 2**62 or low < -(2**62):
        return None
    present = np.zeros(high - low + 1, np.uint8)
    values = np.ascontiguousarray(array)
    _mark(values, low, present)
    levels = np.flatnonzero(present)
    place = np.zeros(len(present), np.int32)
    place[levels] = np.arange(len(levels), dtype=np.int32)
    out = np.empty(len(array), np.int32)
    _look_up(values, low, place, out)
    return out, tuple((levels + low).tolist())


def few_values(column: Floats, most: int) -> tuple[Codes, tuple[float, ...]]:
    """(codes in sorted order of the values, the values) of a column of numbers; no values where there are
    more than `most` different ones."""
    found, out = np.empty(most), np.empty(len(column), np.int32)
    count = _few_levels(np.ascontiguousarray(column, dtype=np.float64), found, out)
    if count < 0:
        return out, ()
    order = np.argsort(found[:count])
    if count and (order[1:] < order[:-1]).any():
        rank = np.empty(count, np.int32)
        rank[order] = np.arange(count, dtype=np.int32)
        out = rank[out]
    return out, tuple(found[order].tolist())


def codes(values: ArrayLike | None, n: int, what: str) -> tuple[Codes, tuple[Any, ...]]:
    """(codes 0, 1, ... in sorted order of the labels, the labels); one label where there are no values.

    Raises UserError where the column has another length, or a value is missing."""
    if values is None:
        return np.zeros(n, np.int32), (0,)
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != n:
        raise UserError(f"{what} must be one column, as long as the times")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{what} must not be missing")
    if array.dtype == object and any(v is None for v in array):
        raise UserError(f"{what} must not be missing")
    quick: tuple[Codes, tuple[Any, ...]] | None = None
    if n and array.dtype == np.bool_:
        coded = _integer_codes(array.view(np.uint8))
        quick = (coded[0], tuple(bool(label) for label in coded[1])) if coded else None
    elif n and array.dtype.kind in "iu":
        quick = _integer_codes(array)
    elif n and array.dtype.kind == "f":
        few = few_values(array, _FEW)
        quick = few if few[1] else None
    if quick is not None:
        return quick
    labels, inverse = np.unique(array, return_inverse=True)
    return inverse.astype(np.int32), tuple(labels.tolist())


# --- order ------------------------------------------------------------------------------------------------


@njit
def _pass(keys, order, keys_out, order_out, shift, count):
    """One stable pass of a radix sort on 11 bits; False, and nothing moved, where all share the digit."""
    n = keys.shape[0]
    mask = np.uint64(2047)
    count[:] = 0
    for i in range(n):
        count[(keys[i] >> shift) & mask] += 1
    if n and count[(keys[0] >> shift) & mask] == n:
        return False
    total = 0
    for d in range(2048):
        c = count[d]
        count[d] = total
        total += c
    for i in range(n):
        digit = (keys[i] >> shift) & mask
        at = np.uint64(count[digit])
        count[digit] += 1
        keys_out[at] = keys[i]
        order_out[at] = order[i]
    return True


@njit
def _in_order(stratum, time, bits, latest_first):
    """Rows by stratum, then time, in a stable order; `bits` are those of the times (>= 0), as integers."""
    n = time.shape[0]
    keys = np.empty(n, np.uint64)
    order = np.empty(n, np.int64)
    most = np.uint64(0)
    least = np.uint64(bits[0]) if n else np.uint64(0)
    level = np.int32(0)
    for i in range(n):
        keys[i] = np.uint64(bits[i])
        order[i] = i
        most = max(most, keys[i])
        least = min(least, keys[i])
        level = max(level, stratum[i])
    for i in range(n):
        keys[i] = most - keys[i] if latest_first else keys[i] - least
    most -= least
    other_keys = np.empty(n, np.uint64)
    other = np.empty(n, np.int64)
    count = np.empty(2048, np.int64)
    shift = np.uint64(0)
    while shift < np.uint64(64) and (most >> shift) > np.uint64(0):
        if _pass(keys, order, other_keys, other, shift, count):
            keys, other_keys = other_keys, keys
            order, other = other, order
        shift += np.uint64(11)
    if level > 0:
        for k in range(n):
            keys[k] = np.uint64(stratum[order[k]])
        shift = np.uint64(0)
        while shift < np.uint64(32) and (np.uint64(level) >> shift) > np.uint64(0):
            if _pass(keys, order, other_keys, other, shift, count):
                keys, other_keys = other_keys, keys
                order, other = other, order
            shift += np.uint64(11)
    return order


def in_order(stratum: Codes, time: ArrayLike, latest_first: bool) -> Positions:
    """Positions of the rows by stratum, then time (rising, or falling where `latest_first`); rows that tie
    stay as they were. time: finite numbers, whole days or not."""
    days = whole_days(time)
    if days is not None:
        return np.asarray(_in_order(stratum, days, days, latest_first))
    real = np.ascontiguousarray(time, dtype=np.float64)
    if len(real) and float(real.min()) < 0:
        return np.lexsort((-real if latest_first else real, stratum)).astype(np.int64)
    # the bits of numbers that are not negative rise with them; adding 0 makes -0 equal to 0
    return np.asarray(_in_order(stratum, real, (real + 0.0).view(np.int64), latest_first))


def orders(
    stratum: Codes, start: Floats, stop: Floats, late_entry: bool, latest_first: bool
) -> tuple[Positions, Positions]:
    """Positions of the rows by stratum, then exit; and by stratum, then entry."""
    order = in_order(stratum, stop, latest_first)
    if not late_entry:
        return order, order
    return order, in_order(stratum, start, latest_first)
