"""Partition transforms: the partition values of rows, as expressions of Polars.

Polars writes one file set for each tuple of values, and the files' values travel as texts. The rules are those of
https://iceberg.apache.org/spec/#partition-transforms, the hash is that of its appendix B.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from gpuquery.runner.inputs import dtypes
from gpuquery.runner.inputs.tables.iceberg import types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KEY = "__gpuquery_partition_"
"""How the columns begin that Polars parts files by; a result with such a column is refused."""
_TRANSFORM = re.compile(r"(identity|void|year|month|day|hour|bucket|truncate)(?:\[(\d+)\])?")
_MASK = 0xFFFFFFFF
_DAY, _HOUR = 86_400_000_000, 3_600_000_000
_TIMESTAMPS = ("timestamp", "timestamptz")
_DATES = ("date", *_TIMESTAMPS)
_EXACT = ("int", "long", "date", "time", *_TIMESTAMPS, "string", "binary", "uuid")
_MAY: Mapping[str, tuple[str, ...]] = {
    "identity": ("boolean", *_EXACT),
    "bucket": _EXACT,
    "truncate": ("int", "long", "string", "binary"),
    "year": _DATES,
    "month": _DATES,
    "day": _DATES,
    "hour": _TIMESTAMPS,
}
"""Types that a transform takes; `fixed` and `decimal` come to the first three."""


class TransformError(ValueError):
    """A transform that is not known, or that does not take the type of its column."""


@dataclass(frozen=True)
class Part:
    """A field of a partition spec."""

    name: str
    """Its name in the spec."""
    path: tuple[str, ...]
    """The column, and the fields of structs within it."""
    transform: str
    """As the table's metadata writes it: `day`, `bucket[16]`."""
    type: str
    """The column's type in Iceberg."""

    @property
    def result(self) -> str:
        """The type of its values."""
        kind, _ = parsed(self.transform)
        return self.type if kind in ("identity", "truncate", "void") else "date" if kind == "day" else "int"


def parsed(transform: str) -> tuple[str, int]:
    """Split `bucket[16]` into kind and number. Raises TransformError."""
    found = _TRANSFORM.fullmatch(transform)
    if found is None or (found[1] in ("bucket", "truncate")) != (found[2] is not None) or found[2] == "0":
        raise TransformError(f"the transform {transform} is not known")
    return found[1], int(found[2] or 0)


def check(part: Part) -> None:
    """Raise TransformError for a part whose values are not made here."""
    kind, _ = parsed(part.transform)
    exact = types.decimal_of(part.type) is not None or part.type.startswith("fixed[")
    takes = kind == "void" or part.type in _MAY[kind]
    if kind == "truncate" and part.type.startswith("fixed["):
        exact = False
    if not takes and not (exact and kind in ("identity", "bucket", "truncate")):
        raise TransformError(f"{part.transform}({'.'.join(part.path)}) does not go with the type {part.type}")


def keys(parts: Sequence[Part]) -> list[pl.Expr]:
    """Return what Polars parts the files of a result by: a column for each part. Raises TransformError."""
    for part in parts:
        check(part)
    return [_expression(part, _column(part)).alias(f"{KEY}{number}") for number, part in enumerate(parts)]


def sorting(part: Part) -> pl.Expr:
    """Return what to sort by for a field of a sort order. Raises TransformError."""
    if part.transform == "identity":
        return _column(part)
    check(part)
    return _expression(part, _column(part))


def texts(row: Sequence[Any]) -> list[str | None]:
    """Return the values of a file's keys as texts."""
    return [None if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in row]


def value(text: str | None, kind: str) -> Any:
    """Return what a text of `texts` is in a manifest: times are counts since 1970. Raises ValueError."""
    if text is None:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}[text]
    if kind == "string":
        return text
    if types.decimal_of(kind):
        return Decimal(text)
    if kind in ("binary", "uuid") or kind.startswith("fixed["):
        return bytes.fromhex(text)
    return int(text)


def _column(part: Part) -> pl.Expr:
    column = dtypes.column(part.path[0])
    for name in part.path[1:]:
        column = column.struct.field(name)
    return column


def _expression(part: Part, column: pl.Expr) -> pl.Expr:
    kind, number = parsed(part.transform)
    match kind:
        case "void":
            return pl.when(column.is_null() & False).then(pl.lit(0, dtype=pl.Int32))
        case "identity":
            return _plain(column, part.type)
        case "bucket":
            return _mapped(_counted(column, part.type), partial(_bucket, kind=part.type, count=number), pl.Int32())
        case "truncate":
            return _truncated(column, part.type, number)
        case "year":
            return column.dt.year().cast(pl.Int32) - 1970
        case "month":
            return (column.dt.year().cast(pl.Int32) - 1970) * 12 + column.dt.month().cast(pl.Int32) - 1
        case "day" if part.type == "date":
            return column.cast(pl.Int32)
        case "day":
            return (column.cast(pl.Int64) // _DAY).cast(pl.Int32)
        case _:
            return (column.cast(pl.Int64) // _HOUR).cast(pl.Int32)


def _plain(column: pl.Expr, kind: str) -> pl.Expr:
    """Values that Polars parts by and that are written as texts without a loss."""
    if types.decimal_of(kind):
        return _mapped(column, lambda s: pl.Series([_text(v) for v in s], dtype=pl.String), pl.String())
    if kind in ("binary", "uuid") or kind.startswith("fixed["):
        return column.bin.encode("hex")
    return _counted(column, kind)


def _counted(column: pl.Expr, kind: str) -> pl.Expr:
    """Times as counts of their unit."""
    match kind:
        case "date":
            return column.cast(pl.Int32)
        case "time":
            return column.cast(pl.Int64) // 1000  # Polars counts nanoseconds
        case "timestamp" | "timestamptz":
            return column.cast(pl.Int64)
    return column


def _truncated(column: pl.Expr, kind: str, width: int) -> pl.Expr:
    if kind == "string":
        return column.str.head(width)
    if kind == "binary":
        return column.bin.encode("hex").str.head(2 * width)
    if made := types.decimal_of(kind):
        scale = made[1]

        def cut(value: Decimal | None) -> str | None:
            if value is None:
                return None
            number = _unscaled(value, scale)
            return _text(_decimal(number - number % width, scale))

        return _mapped(column, lambda s: pl.Series([cut(v) for v in s], dtype=pl.String), pl.String())
    return column - column % width


def _mapped(column: pl.Expr, work: Callable[[pl.Series], pl.Series], dtype: pl.DataType) -> pl.Expr:
    return column.map_batches(work, return_dtype=dtype, is_elementwise=True)


def _bucket(values: pl.Series, kind: str, count: int) -> pl.Series:
    """Hash values and share them out; the sign of the hash does not count."""
    if kind in ("int", "long", "date", "time", *_TIMESTAMPS):
        hashes = _hashed(values)
    else:
        import mmh3

        scale = (types.decimal_of(kind) or (0, 0))[1]
        whole: Callable[[Any], Any] = _bytes_of(scale) if types.decimal_of(kind) else _same
        found = [None if v is None else mmh3.hash(whole(v), signed=False) for v in values]
        hashes = pl.Series(found, dtype=pl.UInt64)
    return ((hashes & (_MASK >> 1)) % count).cast(pl.Int32)


def _same(value: Any) -> Any:
    return value


def _bytes_of(scale: int) -> Callable[[Decimal], bytes]:
    """A decimal's unscaled value in as few bytes as hold it with its sign."""

    def whole(value: Decimal) -> bytes:
        number = _unscaled(value, scale)
        bits = number if number >= 0 else ~number
        return number.to_bytes(bits.bit_length() // 8 + 1, "big", signed=True)

    return whole


def _hashed(values: pl.Series) -> pl.Series:
    """Murmur3 (x86, 32 bits, seed 0) of integers as eight bytes, little end first; all counts stay below 2^64."""
    whole = values.cast(pl.Int64).reinterpret(signed=False)
    state = whole * 0
    for word in (whole & _MASK, whole // (1 << 32)):
        mixed = _rotated((word * 0xCC9E2D51) & _MASK, 15)
        state = _rotated(state ^ ((mixed * 0x1B873593) & _MASK), 13)
        state = (state * 5 + 0xE6546B64) & _MASK
    state = state ^ 8
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = ((state ^ (state // (1 << shift))) * factor) & _MASK
    return state


def _rotated(values: pl.Series, bits: int) -> pl.Series:
    return ((values * (1 << bits)) & _MASK) | (values // (1 << (32 - bits)))


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    number: int = int("".join(map(str, digits))) * 10 ** (cast("int", exponent) + scale)
    return -number if sign else number


def _decimal(number: int, scale: int) -> Decimal:
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
