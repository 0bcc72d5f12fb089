"""Exponential, logarithm, power and the inverse normal, the same bits on every x86 machine.

The C library's `exp` and `log` differ in their last bit between processors (with and without fused
multiply-add), so a simulated trial would too. These versions use only IEEE additions, multiplications,
divisions and square roots, in a fixed order, and are compiled without fast-math. Worst error against a
correctly rounded result: 1 ulp for `exp` on [-50, 50] and 2 ulp for `log` (tests/test_virtual_maths.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from equipoise._compile import njit

__all__ = [
    "exp", "exp4", "expit", "exponential_quantile", "exponential_quantiles", "floor", "floor_day", "log",
    "normal_quantile", "normal_quantiles", "normal_share", "power", "whole_number",
]  # fmt: skip


@intrinsic
def _bits(typing_context: Any, x: Any) -> Any:
    """The 64 bits of a float as a signed integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _from_bits(typing_context: Any, i: Any) -> Any:
    """The float whose 64 bits are this integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(forceinline=True)
def whole_number(i):
    """The integer 0 <= i < 2^52 as a float, by its bits: several at once on every processor."""
    return _from_bits(types.int64(i) | 0x4330000000000000) - 4503599627370496.0


@intrinsic
def floor(typing_context: Any, x: Any) -> Any:
    """Largest whole number not above x, as a float."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.floor", [ir.DoubleType()])
        return builder.call(function, args)

    return types.float64(types.float64), generate


@intrinsic
def _sqrt(typing_context: Any, x: Any) -> Any:
    """Square root of a number that is not negative."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.sqrt", [ir.DoubleType()])
        return builder.call(function, args)

    return types.float64(types.float64), generate


@njit(forceinline=True)
def exp(x):
    """e to the power x. Arguments are clamped to [-700, 700]; at most 1 ulp from the exact value on
    [-50, 50].

    Cody and Waite's reduction to |r| <= ln(2)/2 and a Taylor polynomial of degree 13.
    """
    x = min(max(x, -700.0), 700.0)
    k = floor(x * 1.4426950408889634 + 0.5)
    r = x - k * 6.93147180369123816490e-01
    r = r - k * 1.90821492927058770002e-10
    # 1 + (r + r^2 q(r)), q in pairs (Estrin): short chains of dependent operations, the large terms last.
    r2 = r * r
    r4 = r2 * r2
    low = (0.5 + r * 1.6666666666666666e-01) + r2 * (4.1666666666666664e-02 + r * 8.3333333333333332e-03)
    middle = (1.3888888888888889e-03 + r * 1.9841269841269841e-04) + r2 * (
        2.4801587301587302e-05 + r * 2.7557319223985888e-06
    )
    high = (2.7557319223985893e-07 + r * 2.5052108385441720e-08) + r2 * (
        2.0876756987868099e-09 + r * 1.6059043836821613e-10
    )
    p = 1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))
    # By way of 32 bits, for which every processor has an instruction that works on several numbers.
    return p * _from_bits((types.int64(types.int32(k)) + 1023) << 52)


@intrinsic
def exp4(typing_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """`exp` of four numbers at once, in the four lanes of a vector register: the same operations in the same
    order, hence the same bits."""
    double, wide = ir.DoubleType(), ir.VectorType(ir.DoubleType(), 4)
    narrow_int, wide_int = ir.VectorType(ir.IntType(32), 4), ir.VectorType(ir.IntType(64), 4)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def all_lanes(value: float) -> Any:
            return ir.Constant(wide, [ir.Constant(double, value)] * 4)

        def int_lanes(value: int) -> Any:
            return ir.Constant(wide_int, [ir.Constant(ir.IntType(64), value)] * 4)

        def place(lane: int) -> Any:
            return ir.Constant(ir.IntType(32), lane)

        def plus(left: Any, right: Any) -> Any:
            return builder.fadd(left, right)

        def times(left: Any, right: Any) -> Any:
            return builder.fmul(left, right)

        x = ir.Constant(wide, ir.Undefined)
        for lane, argument in enumerate(args):
            x = builder.insert_element(x, argument, place(lane))
        least, most = all_lanes(-700.0), all_lanes(700.0)
        x = builder.select(builder.fcmp_ordered("<", x, least), least, x)
        x = builder.select(builder.fcmp_ordered(">", x, most), most, x)
        name = "llvm.floor.v4f64"
        floor = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(wide, [wide]), name
        )
        k = builder.call(floor, [plus(times(x, all_lanes(1.4426950408889634)), all_lanes(0.5))])
        r = builder.fsub(x, times(k, all_lanes(6.93147180369123816490e-01)))
        r = builder.fsub(r, times(k, all_lanes(1.90821492927058770002e-10)))

        r2 = times(r, r)
        r4 = times(r2, r2)

        def pairs(c0: float, c1: float, c2: float, c3: float) -> Any:
            """(c0 + r c1) + r2 (c2 + r c3)."""
            first = plus(all_lanes(c0), times(r, all_lanes(c1)))
            second = plus(all_lanes(c2), times(r, all_lanes(c3)))
            return plus(first, times(r2, second))

        low = pairs(0.5, 1.6666666666666666e-01, 4.1666666666666664e-02, 8.3333333333333332e-03)
        middle = pairs(
            1.3888888888888889e-03, 1.9841269841269841e-04, 2.4801587301587302e-05, 2.7557319223985888e-06
        )
        high = pairs(
            2.7557319223985893e-07, 2.5052108385441720e-08, 2.0876756987868099e-09, 1.6059043836821613e-10
        )
        q = plus(low, times(r4, plus(middle, times(r4, high))))
        p = plus(all_lanes(1.0), plus(r, times(r2, q)))
        whole = builder.sext(builder.fptosi(k, narrow_int), wide_int)
        power = builder.bitcast(builder.shl(builder.add(whole, int_lanes(1023)), int_lanes(52)), wide)
        result = times(p, power)
        lanes = [builder.extract_element(result, place(lane)) for lane in range(4)]
        return context.make_tuple(builder, signature.return_type, lanes)

    four = types.UniTuple(types.float64, 4)
    return four(types.float64, types.float64, types.float64, types.float64), generate


@njit(forceinline=True)
def log(x):
    """Natural logarithm of a positive, normal x (no check); at most 2 ulp from the exact value.

    The reduction to [sqrt(1/2), sqrt(2)) and the minimax polynomial of fdlibm's e_log.c.
    """
    b = _bits(x)
    # The exponent is found in the upper 32 bits, for which there are instructions that AVX2 has.
    e = types.int32((b - 0x3FE6A09E667F3BCD) >> 32) >> 20
    m = _from_bits(b - (types.int64(e) << 52))
    ef = types.float64(types.int32(e))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    w = z * z
    odd = 6.666666666666735130e-01 + w * (
        2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)
    )
    even = 3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    p = (z * odd + w * even) * s + 2.0 * s
    return ef * 6.93147180369123816490e-01 + (p + ef * 1.90821492927058770002e-10)


@njit(forceinline=True)
def power(x, y):
    """x to the power y for positive x, as exp(y log x)."""
    return exp(y * log(x))


@njit(forceinline=True)
def expit(x):
    """Inverse of the logit: 1 / (1 + e^-x)."""
    return 1.0 / (1.0 + exp(-x))


@njit(forceinline=True)
def exponential_quantile(u):
    """The value of a unit exponential that corresponds to the uniform u in (0, 1); falls as u rises."""
    return -log(u)


@njit(forceinline=True)
def floor_day(x):
    """Whole days in x: the largest integer not above it, for |x| below 2^31."""
    return types.int64(floor(x))


@njit(forceinline=True)
def _central(q):
    """The normal quantile of 0.5 + q for |q| up to 0.425; finite elsewhere."""
    r = 0.180625 - q * q
    num = 2.5090809287301226727e3
    num = num * r + 3.3430575583588128105e4
    num = num * r + 6.7265770927008700853e4
    num = num * r + 4.5921953931549871457e4
    num = num * r + 1.3731693765509461125e4
    num = num * r + 1.9715909503065514427e3
    num = num * r + 1.3314166789178437745e2
    num = num * r + 3.3871328727963666080e0
    den = 5.2264952788528545610e3
    den = den * r + 2.8729085735721942674e4
    den = den * r + 3.9307895800092710610e4
    den = den * r + 2.1213794301586595867e4
    den = den * r + 5.3941960214247511077e3
    den = den * r + 6.8718700749205790830e2
    den = den * r + 4.2313330701600911252e1
    den = den * r + 1.0
    return q * num / den


@njit(forceinline=True)
def _tail(r):
    """The quantile (without its sign) where the root of -log of the share is r + 1.6, at most 5."""
    num = 7.74545014278341407640e-4
    num = num * r + 2.27238449892691845833e-2
    num = num * r + 2.41780725177450611770e-1
    num = num * r + 1.27045825245236838258e0
    num = num * r + 3.64784832476320460504e0
    num = num * r + 5.76949722146069140550e0
    num = num * r + 4.63033784615654529590e0
    num = num * r + 1.42343711074968357734e0
    den = 1.05075007164441684324e-9
    den = den * r + 5.47593808499534494600e-4
    den = den * r + 1.51986665636164571966e-2
    den = den * r + 1.48103976427480074590e-1
    den = den * r + 6.89767334985100004550e-1
    den = den * r + 1.67638483018380384940e0
    den = den * r + 2.05319162663775882187e0
    den = den * r + 1.0
    return num / den


@njit(forceinline=True)
def _far_tail(r):
    """The quantile (without its sign) where the root of -log of the share is r + 5."""
    num = 2.01033439929228813265e-7
    num = num * r + 2.71155556874348757815e-5
    num = num * r + 1.24266094738807843860e-3
    num = num * r + 2.65321895265761230930e-2
    num = num * r + 2.96560571828504891230e-1
    num = num * r + 1.78482653991729133580e0
    num = num * r + 5.46378491116411436990e0
    num = num * r + 6.65790464350110377720e0
    den = 2.04426310338993978564e-15
    den = den * r + 1.42151175831644588870e-7
    den = den * r + 1.84631831751005468180e-5
    den = den * r + 7.86869131145613259100e-4
    den = den * r + 1.48753612908506148525e-2
    den = den * r + 1.36929880922735805310e-1
    den = den * r + 5.99832206555887937690e-1
    den = den * r + 1.0
    return num / den


@njit
def normal_quantile(u):
    """The standard normal value below which a share u in (0, 1) lies: Wichura's AS 241, PPND16 (1988).

    One uniform gives one normal, and a larger uniform a larger normal, so that the same stream can be used
    in both arms, reversed (antithetic) or replaced by a quasi-random point.
    """
    q = u - 0.5
    if abs(q) <= 0.425:
        return _central(q)
    r = math.sqrt(-log(u if q < 0.0 else 1.0 - u))
    z = _tail(r - 1.6) if r <= 5.0 else _far_tail(r - 5.0)
    return -z if q < 0.0 else z


@njit
def normal_share(z):
    """Share of a standard normal below z, to about 1e-15 for |z| < 7: Hart's rational form (West 2005)."""
    a = abs(z)
    if a > 8.0:
        return 0.0 if z < 0.0 else 1.0
    num = 3.52624965998911e-02
    num = num * a + 0.700383064443688
    num = num * a + 6.37396220353165
    num = num * a + 33.912866078383
    num = num * a + 112.079291497871
    num = num * a + 221.213596169931
    num = num * a + 220.206867912376
    den = 8.83883476483184e-02
    den = den * a + 1.75566716318264
    den = den * a + 16.064177579207
    den = den * a + 86.7807322029461
    den = den * a + 296.564248779674
    den = den * a + 637.333633378831
    den = den * a + 793.826512519948
    den = den * a + 440.413735824752
    tail = exp(-0.5 * a * a) * num / den
    return tail if z < 0.0 else 1.0 - tail


@njit(borrows=True)
def exponential_quantiles(u, x, count):
    """Exponential quantiles of the first `count` uniforms of the array u, into x; the same bits as one by
    one."""
    for i in range(np.uint64(count)):
        x[i] = exponential_quantile(u[i])


@njit
def normal_quantiles(u, z, count):
    """Normal quantiles of the first `count` uniforms of the array u, into z; the same bits as one by one.

    The middle of the distribution in a loop without branches, so that the compiler works on several at once;
    then the tails, gathered so that they can be treated alike. u and z may be the same array.
    """
    where, tail = np.empty(_TOGETHER, np.int64), np.empty((2, _TOGETHER))
    start = 0
    while start < count:
        _normal_quantiles(u[start:], z[start:], min(count - start, _TOGETHER), where, tail[0], tail[1])
        start += _TOGETHER


_TOGETHER = 256


@njit
def _normal_quantiles(u, z, count, where, share, signed):
    """`normal_quantiles` of at most _TOGETHER uniforms, with scratch."""
    tails = 0
    for i in range(count):
        where[tails] = i
        tails += 1 if abs(u[i] - 0.5) > 0.425 else 0
    for k in range(tails):
        q = u[where[k]] - 0.5
        signed[k] = q
        share[k] = u[where[k]] if q < 0.0 else 1.0 - u[where[k]]
    for i in range(np.uint64(count)):
        z[i] = _central(u[i] - 0.5)
    for k in range(np.uint64(tails)):
        r = _sqrt(-log(share[k]))
        near = _tail(r - 1.6)
        share[k] = -near if signed[k] < 0.0 else near
        signed[k] = r if signed[k] >= 0.0 else -r
    for k in range(tails):
        z[where[k]] = share[k]
        if abs(signed[k]) > 5.0:
            far = _far_tail(abs(signed[k]) - 5.0)
            z[where[k]] = -far if signed[k] < 0.0 else far
