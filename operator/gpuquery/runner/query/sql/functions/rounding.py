"""Rounding: to a number of digits, half away from zero as the standard has it, or cut."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once
from gpuquery.runner.query.sql.functions.table import FunctionCall, Table, exact_quotient, null_unless_all_known
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.compile.target import Target

TABLE = Table("Rounding")
_DIGITS = 10**38


def minus(number: pl.Expr) -> pl.Expr:
    """Return whether a floating-point number has a minus, as -0.0 does."""
    return (number < 0) | ((number == 0) & (1.0 / number.cast(pl.Float64) < 0))


class Mode(StrEnum):
    """What becomes of the digits that go."""

    AWAY = "halves away from zero"
    EVEN = "halves to the even digit"
    CUT = "cut"


def whole(number: pl.Expr, mode: Mode) -> pl.Expr:
    """Round a floating-point number to a whole one. NaN and infinity stay."""
    size = number.abs()
    cut = size.floor()
    rest = size - cut
    match mode:
        case Mode.AWAY:
            found = pl.when(rest >= 0.5).then(cut + 1).otherwise(cut)
        case Mode.EVEN:
            found = pl.when((rest > 0.5) | ((rest == 0.5) & (cut % 2 == 1))).then(cut + 1).otherwise(cut)
        case Mode.CUT:
            found = cut
    return pl.when(~size.is_finite()).then(number).when(minus(number)).then(-found).otherwise(found)


def _float(call: FunctionCall, mode: Mode) -> pl.Expr:
    """Round the number that a DOUBLE is, not the one that it is written as: 2.675 is less, and becomes 2.67."""
    number = call.exprs[0].cast(pl.Float64)
    if len(call.values) == 1:
        return whole(number, mode)
    size = number.abs()
    if call.is_constant(1):
        digits = call.constant(1)
        factor = pl.lit(float(f"1e{min(abs(digits), 400)}"))
        found = _tens(size, factor, mode) if digits < 0 else _parts(size, factor, mode, call.target)
    else:
        digits = call.exprs[1]
        factor = pl.lit(10.0).pow(digits.abs().clip(0, 400).cast(pl.Float64))
        found = pl.when(digits < 0).then(_tens(size, factor, mode))
        found = found.when(digits >= 0).then(_parts(size, factor, mode, call.target))
    kept = pl.when(~size.is_finite()).then(number).when(minus(number)).then(-found).otherwise(found)
    return kept if call.is_constant(1) else null_unless_all_known(kept, call.exprs[1])


def _parts(size: pl.Expr, factor: pl.Expr, mode: Mode, target: Target) -> pl.Expr:
    """Round to places behind the point. A number that is too large to be moved stays as it is."""

    def formula(size: pl.Expr, factor: pl.Expr, moved: pl.Expr) -> pl.Expr:
        rounded = moved.floor() + _up(moved, _lost(size, factor, moved), mode)
        return pl.when(moved.is_finite()).then(exact_quotient(rounded, factor)).otherwise(size)

    return once(target, formula, size, factor, size * factor)


def _tens(size: pl.Expr, factor: pl.Expr, mode: Mode) -> pl.Expr:
    moved = exact_quotient(size, factor)
    tens = (moved.floor() + _up(moved, size - (moved.floor() + 0.5) * factor, mode)) * factor
    return pl.when(factor.is_finite()).then(tens).otherwise(pl.lit(0.0))


def _up(moved: pl.Expr, lost: pl.Expr, mode: Mode) -> pl.Expr:
    """Return 1.0 where the whole part has to grow. `lost` has the sign of what rounding took from `moved`."""
    if mode is Mode.CUT:
        return pl.lit(0.0)
    rest, even = moved - moved.floor(), moved.floor() % 2 == 0
    half = lost >= 0 if mode is Mode.AWAY else (lost > 0) | ((lost == 0) & ~even)
    return pl.when((rest > 0.5) | ((rest == 0.5) & half)).then(pl.lit(1.0)).otherwise(pl.lit(0.0))


def _lost(a: pl.Expr, b: pl.Expr, product: pl.Expr) -> pl.Expr:
    """Return a * b - product, exactly. Source: T. J. Dekker, A floating-point technique, 1971."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _halves(number: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    moved = number * 134_217_729.0
    high = moved - (moved - number)
    return high, number - high


def _integer(call: FunctionCall, mode: Mode) -> pl.Expr:
    """Round to tens, hundreds and so on; what leaves the type fails."""
    number, kind = call.exprs[0], call.values[0].type
    digits = call.constant(1) if len(call.values) > 1 else 0
    if digits >= 0:
        return number
    huge = kind.kind is Kind.INT128
    _, most = kind.range or (0, 0)
    most = _DIGITS - 1 if huge else most
    if 10**-digits > most:
        return pl.when(number.is_not_null()).then(pl.lit(0))
    return _to_multiple(call, number.cast(pl.Int128 if huge else pl.Int64), 10**-digits, most, mode)


def _to_multiple(call: FunctionCall, number: pl.Expr, factor: int, most: int, mode: Mode) -> pl.Expr:
    rest = number % factor
    rest = pl.when((number < 0) & (rest > 0)).then(rest - factor).otherwise(rest)
    cut = number - rest
    if mode is Mode.CUT:
        return cut
    up, down = rest > factor // 2, rest < -(factor // 2)
    half = (rest.abs() * 2 == factor) if mode is Mode.AWAY else (rest.abs() * 2 == factor) & (cut // factor % 2 == 1)
    up, down = up | (half & (number > 0)), down | (half & (number < 0))
    bad = (up & (cut > most - factor)) | (down & (cut < factor - most))
    cut = fail_where(cut, bad, f"the result of {call.node.function} does not fit into {call.type}", call.place)
    return pl.when(up).then(cut + factor).when(down).then(cut - factor).otherwise(cut)


def _decimal(call: FunctionCall, mode: Mode) -> pl.Expr:
    """Round the digits themselves, never by way of a floating-point number."""
    number, scale = call.exprs[0], call.values[0].type.scale
    digits = call.constant(1) if len(call.values) > 1 else 0
    if digits >= scale:
        return number
    if digits >= 0 and mode is Mode.AWAY and call.target.gpu:
        return cast(call.values[0], call.type, place=call.place, target=call.target).expr
    if digits >= 0 and mode is Mode.CUT:
        return number.truncate(digits)
    if digits >= 0:
        return number.round(digits, mode="half_away_from_zero" if mode is Mode.AWAY else "half_to_even")
    if -digits >= 38 - scale:
        return pl.when(number.is_not_null()).then(pl.lit(0))
    found: pl.Expr = _to_multiple(call, number.to_physical(), 10 ** (scale - digits), _DIGITS, mode)
    whole_part: pl.Expr = found // 10**scale
    return whole_part.cast(pl.Decimal(38, 0))


def _rounding(mode: Mode) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        kind = call.values[0].type
        way = _float if kind.is_float else _decimal if kind.kind is Kind.DECIMAL else _integer
        return way(call, mode).cast(call.dtype)

    return build


def _to_whole(name: str) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        return getattr(call.exprs[0], name)().cast(call.dtype)  # type: ignore[no-any-return]

    return build


TABLE.add(
    "round", "FLOAT, [INTEGER] -> DOUBLE", "DECIMAL, ['INTEGER] -> DECIMAL", "INTEGER, ['INTEGER] -> INTEGER",
    build=_rounding(Mode.AWAY),
    does="Rounded to so many places, halves away from zero; a negative number means tens, hundreds and so on.",
)  # fmt: skip
TABLE.add(
    "trunc", "FLOAT, [INTEGER] -> DOUBLE", "DECIMAL, ['INTEGER] -> DECIMAL", "INTEGER, ['INTEGER] -> INTEGER",
    build=_rounding(Mode.CUT), does="Cut to so many places.",
)  # fmt: skip
TABLE.add(
    "round_even", "FLOAT, INTEGER -> DOUBLE", "DECIMAL, 'INTEGER -> DECIMAL", "INTEGER, 'INTEGER -> INTEGER",
    build=_rounding(Mode.EVEN), aliases="roundbankers",
    does="Rounded to so many places, halves to the even digit.",
)  # fmt: skip
TABLE.add("floor", "NUMBER -> NUMBER", build=_to_whole("floor"), does="The next whole number below.")
TABLE.add("ceil", "NUMBER -> NUMBER", build=_to_whole("ceil"), aliases="ceiling", does="The next whole number above.")


def _even(number: pl.Expr) -> pl.Expr:
    half = number.abs() / 2
    found = half.ceil() * 2
    return pl.when(minus(number)).then(-found).otherwise(found)


TABLE.add_expr("even", "FLOAT -> DOUBLE", build=_even, does="The next even number away from zero.")
