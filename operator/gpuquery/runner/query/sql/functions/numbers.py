"""Functions of numbers. Floating-point numbers follow IEEE 754, as in DuckDB: the root of -1 is NaN, not a failure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.convert import CastContext
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.literal import literal
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.compile.remainder import remainder
from gpuquery.runner.query.sql.functions.rounding import minus
from gpuquery.runner.query.sql.functions.table import FunctionCall, Table, exact_quotient
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = Table("Numbers")

# Sign and size


def _abs(call: FunctionCall) -> pl.Expr:
    """Return the size of a number; the smallest whole number has none in its own type."""
    value, expr = call.values[0], call.exprs[0]
    limits = value.type.range
    if limits is None or limits[0] == 0 or value.type.kind is Kind.INT128:
        return expr.abs()
    least = limits[0]
    return fail_where(expr, expr == least, f"abs({least}) does not fit into {call.type}", call.place).abs()


def _sign(call: FunctionCall) -> pl.Expr:
    number = call.exprs[0]
    above = (number > 0) & ~number.is_nan() if call.values[0].type.is_float else number > 0
    found = pl.when(above).then(1).when(number < 0).then(-1).when(number.is_not_null()).then(0)
    return found.cast(pl.Int8)


TABLE.add("abs", "NUMBER -> NUMBER", does="The number without its sign.", build=_abs, aliases="@")
TABLE.add("sign", "NUMBER -> TINYINT", does="-1, 0 or 1; 0 of NaN.", build=_sign)
TABLE.add_expr(
    "signbit", "FLOAT -> BOOLEAN", does="Whether a floating-point number has a minus, as -0.0 does.", build=minus
)

# Powers and logarithms


def _logarithm(number: pl.Expr, base: int) -> pl.Expr:
    """Return a logarithm that is exact for the powers of its base; Polars divides two natural ones."""
    found = exact_quotient(number.log(), math.log(base))
    near = found.round()
    exact = near.is_finite() & (pl.lit(float(base)).pow(near) == number)
    return pl.when(exact).then(near).otherwise(found)


def _log(call: FunctionCall) -> pl.Expr:
    if len(call.values) == 1:
        return _logarithm(call.exprs[0], 10)
    base, number = call.exprs
    return exact_quotient(_logarithm(number, 10), _logarithm(base, 10))


def _pow(call: FunctionCall) -> pl.Expr:
    base, exponent = call.exprs
    if call.is_constant(1) and call.constant(1) == 0.5:
        # Polars takes the square root, which is NaN of -infinity and -0.0 of -0.0.
        return pl.when(base == -math.inf).then(pl.lit(math.inf)).otherwise(base.sqrt() + 0.0)
    return base.pow(exponent)


TABLE.add_expr("sqrt", "FLOAT -> DOUBLE", does="The square root; NaN of a negative number.", build=pl.Expr.sqrt)
TABLE.add_expr("cbrt", "FLOAT -> DOUBLE", does="The cube root.", build=pl.Expr.cbrt)
TABLE.add_expr("exp", "FLOAT -> DOUBLE", does="e to the power of the number.", build=pl.Expr.exp)
TABLE.add_expr("ln", "FLOAT -> DOUBLE", does="The natural logarithm; NaN of a negative number.", build=pl.Expr.log)
TABLE.add_expr("log10", "FLOAT -> DOUBLE", does="The logarithm to base 10.", build=lambda x: _logarithm(x, 10))
TABLE.add_expr("log2", "FLOAT -> DOUBLE", does="The logarithm to base 2.", build=lambda x: _logarithm(x, 2))
TABLE.add(
    "log", "FLOAT, [FLOAT] -> DOUBLE", does="The logarithm to base 10; of two numbers the first one is the base.",
    build=_log,
)  # fmt: skip
TABLE.add(
    "pow", "FLOAT, FLOAT -> DOUBLE", aliases="power ** ^", does="The first number to the power of the second.",
    build=_pow,
)  # fmt: skip


# Trigonometry

for _name, _does, _build in (
    ("sin", "The sine of an angle in radians.", pl.Expr.sin),
    ("cos", "The cosine of an angle in radians.", pl.Expr.cos),
    ("tan", "The tangent of an angle in radians.", pl.Expr.tan),
    ("cot", "The cotangent of an angle in radians.", lambda x: 1.0 / x.tan()),
    ("asin", "The angle whose sine it is.", pl.Expr.arcsin),
    ("acos", "The angle whose cosine it is.", pl.Expr.arccos),
    ("atan", "The angle whose tangent it is.", pl.Expr.arctan),
    ("sinh", "The hyperbolic sine.", pl.Expr.sinh),
    ("cosh", "The hyperbolic cosine.", pl.Expr.cosh),
    ("tanh", "The hyperbolic tangent.", pl.Expr.tanh),
    ("asinh", "The inverse of the hyperbolic sine.", pl.Expr.arcsinh),
    ("acosh", "The inverse of the hyperbolic cosine.", pl.Expr.arccosh),
    ("atanh", "The inverse of the hyperbolic tangent.", pl.Expr.arctanh),
    ("degrees", "An angle in radians as degrees.", lambda x: x / (math.pi / 180)),
    ("radians", "An angle in degrees as radians.", lambda x: x * (math.pi / 180)),
):
    TABLE.add_expr(_name, "FLOAT -> DOUBLE", does=_does, build=_build)
TABLE.add_expr(
    "atan2", "FLOAT, FLOAT -> DOUBLE", does="The angle of the point (second, first).",
    build=pl.arctan2,
)  # fmt: skip
TABLE.add_expr("pi", "-> DOUBLE", does="The number pi.", build=lambda: pl.lit(math.pi))

# Kinds of floating-point numbers

TABLE.add_expr("isnan", "FLOAT -> BOOLEAN", does="Whether it is NaN.", build=pl.Expr.is_nan)
TABLE.add_expr("isinf", "FLOAT -> BOOLEAN", does="Whether it is infinite.", build=pl.Expr.is_infinite)
TABLE.add_expr("isfinite", "FLOAT -> BOOLEAN", does="Whether it is neither NaN nor infinite.", build=pl.Expr.is_finite)


def _fmod(call: FunctionCall) -> pl.Expr:
    """Return the remainder with the sign of the divisor, 0.0 if there is none."""
    way = CastContext(f"{call.node.function} has no result", call.place, call.target, null_on_failure=False)

    def formula(rest: pl.Expr, by: pl.Expr) -> pl.Expr:
        other = (rest != 0) & ((rest < 0) != (by < 0))
        return pl.when(other).then(rest + by).when(rest == 0).then(pl.lit(0.0)).otherwise(rest)

    number, by = call.exprs
    return once(call.target, formula, remainder(number, by, way), by)


TABLE.add("fmod", "FLOAT, FLOAT -> DOUBLE", does="The remainder with the sign of the divisor.", build=_fmod)

# Whole numbers


def _of_constants(compute: Callable[[int, int], int]) -> Callable[[FunctionCall], pl.Expr]:
    """Euclid's steps have no end that an expression could have, so both numbers are constants."""

    def build(call: FunctionCall) -> pl.Expr:
        found = compute(call.constant(0), call.constant(1))
        low, high = call.type.range or (0, 0)
        if not low <= found <= high:
            raise call.refuse(f"{found} does not fit into {call.type}")
        return literal(found, call.type, call.place).expr

    return build


TABLE.add(
    "greatest_common_divisor", "'INTEGER, 'INTEGER -> BIGINT", does="The greatest common divisor of two constants.",
    aliases="gcd", build=_of_constants(math.gcd),
)  # fmt: skip
TABLE.add(
    "least_common_multiple", "'INTEGER, 'INTEGER -> BIGINT", does="The least common multiple of two constants.",
    aliases="lcm", build=_of_constants(math.lcm),
)  # fmt: skip


def _factorial(call: FunctionCall) -> pl.Expr:
    """Look the result up: 33! is the last one that fits into a HUGEINT."""
    number = call.exprs[0]
    number = fail_where(number, number < 0, "the factorial of a negative number is not defined", call.place)
    number = fail_where(number, number > 33, "the factorial of numbers above 33 does not fit into HUGEINT", call.place)
    results = pl.Series([math.factorial(n) for n in range(34)], dtype=pl.Int128).cast(pl.Decimal(38, 0))
    return number.replace_strict(pl.Series(range(34), dtype=pl.Int32), results, default=None)


TABLE.add("factorial", "INTEGER -> HUGEINT", does="The product of all numbers up to it: `n!`.", build=_factorial)
