"""Generated tables for statements that two engines have to answer alike: every type, NULLs, extremes, skew, nothing.

The values are drawn by a seed. `a`, `b` and `c` have moderate values, so that arithmetic over them mostly succeeds; `x`
holds the ends of every type, `e` no row.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WORDS = (
    "",
    " ",
    "a",
    "A",
    "ab",
    "a%b",
    "a_b",
    "été",
    "straße",
    "x y",
    "0",
    "-7",
    "2024-01-31",
    "zzz",
    "日本",
    "o'clock",
)
DAYS = (dt.date(2024, 1, 31), dt.date(2024, 2, 29), dt.date(2023, 12, 31), dt.date(2000, 2, 29), dt.date(1969, 12, 31))
EXTREME_DAYS = (dt.date(2, 1, 1), dt.date(9990, 12, 31), dt.date(1970, 1, 1), dt.date(1582, 10, 15))
LAST_MOMENTS = [dt.datetime.combine(day, dt.time(23, 59, 59, 999999)) for day in EXTREME_DAYS]
FLOATS = (0.0, -0.0, 0.5, -2.5, 2.675, 1e-9, math.nan)
EXTREME_FLOATS = (math.inf, -math.inf, math.nan, 1.7976931348623157e308, 5e-324, -0.0, 9007199254740993.0, 0.1)


class Made(NamedTuple):
    """A column: its type in parquet, the sort of expression that it is, its type in SQL, and how values are drawn."""

    type: pa.DataType
    sort: str
    """One of `sql_expressions`, or `other` of a type that has no functions there."""
    sql: str
    """The type as PostgreSQL and DuckDB write it; empty where PostgreSQL has none that is the same."""
    draw: Callable[[Random], Any]


class Column(NamedTuple):
    """What a statement has to know of a column."""

    name: str
    sort: str
    portable: bool
    """Whether PostgreSQL has the type."""


def _whole(low: int, high: int) -> Callable[[Random], int]:
    return lambda r: r.randint(low, high)


def _of(*values: Any) -> Callable[[Random], Any]:
    return lambda r: r.choice(values)


def _decimal(digits: int, places: int) -> Callable[[Random], Decimal]:
    return lambda r: Decimal(f"{r.randint(-(10**digits), 10**digits)}E-{places}")


def _day(r: Random) -> dt.date:
    return r.choice(DAYS) if r.random() < 0.5 else dt.date(2020, 1, 1) + dt.timedelta(days=r.randint(-900, 900))


def _moment(r: Random) -> dt.datetime:
    clock = r.choice(((0, 0, 0, 0), (23, 59, 59, 999999), (12, 30, 15, 250000), (1, 2, 3, 0)))
    return dt.datetime.combine(_day(r), dt.time(*clock))


def _float(r: Random) -> float:
    return r.choice(FLOATS) if r.random() < 0.4 else r.randint(-4000, 4000) / 8


KEY = Made(pa.int32(), "int", "integer", lambda r: r.choice((1, 1, 1, 1, 2, 2, 3, 4, 5)))
"""Skewed, so that one group is large."""
TEXT = Made(pa.string(), "text", "text", _of(*WORDS))
RECORD = pa.struct({"n": pa.int32(), "t": pa.string()})
WIDEST = [Decimal(f"{value}E-10") for value in (10**38 - 1, -(10**38) + 1, 1, 0)]
A: Mapping[str, Made] = {
    "k": KEY,
    "flag": Made(pa.bool_(), "bool", "boolean", _of(True, False)),
    "i8": Made(pa.int8(), "int", "", _whole(-30, 30)),
    "i16": Made(pa.int16(), "int", "smallint", _whole(-90, 90)),
    "i32": Made(pa.int32(), "int", "integer", _whole(-1000, 1000)),
    "i64": Made(pa.int64(), "int", "bigint", _whole(-(10**6), 10**6)),
    "u8": Made(pa.uint8(), "int", "", _whole(0, 60)),
    "u32": Made(pa.uint32(), "int", "", _whole(0, 5000)),
    "f": Made(pa.float32(), "float", "", lambda r: r.randint(-400, 400) / 4),
    "d": Made(pa.float64(), "float", "double precision", _float),
    "m": Made(pa.decimal128(9, 2), "dec", "numeric(9, 2)", _decimal(5, 2)),
    "p": Made(pa.decimal128(18, 4), "dec", "numeric(18, 4)", _decimal(8, 4)),
    "s": TEXT,
    "day": Made(pa.date32(), "date", "date", _day),
    "ts": Made(pa.timestamp("us"), "ts", "timestamp", _moment),
    "ms": Made(pa.timestamp("ms"), "ts", "", lambda r: _moment(r).replace(microsecond=0)),
    "tz": Made(pa.timestamp("us", "UTC"), "tz", "", _moment),
    "ns": Made(pa.timestamp("ns"), "other", "", _moment),
    "clock": Made(pa.time64("us"), "time", "time", lambda r: _moment(r).time()),
    "raw": Made(pa.binary(), "blob", "", lambda r: r.choice(WORDS).encode()),
    "list": Made(pa.list_(pa.int32()), "list", "", lambda r: r.choices((1, 2, None), k=r.randint(0, 3))),
    "words": Made(pa.list_(pa.string()), "words", "", lambda r: r.choices((*WORDS, None), k=r.randint(0, 3))),
    "rec": Made(RECORD, "rec", "", lambda r: {"n": r.randint(0, 3), "t": r.choice("rst")}),
}
B: Mapping[str, Made] = {
    "k": Made(pa.int64(), "int", "bigint", _of(1, 2, 2, 3, 6, 7)),
    "s": TEXT,
    "m": Made(pa.decimal128(15, 2), "dec", "numeric(15, 2)", _decimal(4, 2)),
    "day": A["day"],
    "v": Made(pa.int32(), "int", "integer", _whole(-50, 50)),
    "d": A["d"],
}
C: Mapping[str, Made] = {
    "k": Made(pa.int16(), "int", "smallint", _of(1, 2, 3)),
    "w": Made(pa.string(), "text", "text", _of("one", "two", "three")),
    "q": Made(pa.int32(), "int", "integer", _whole(-3, 3)),
}
X: Mapping[str, Made] = {
    "k": KEY,
    "i8": Made(pa.int8(), "int", "", _of(-128, 127, 0, -1)),
    "i16": Made(pa.int16(), "int", "smallint", _of(-(2**15), 2**15 - 1, 0)),
    "i32": Made(pa.int32(), "int", "integer", _of(-(2**31), 2**31 - 1, 0, -1)),
    "i64": Made(pa.int64(), "int", "bigint", _of(-(2**63), 2**63 - 1, 0, 1)),
    "u64": Made(pa.uint64(), "int", "", _of(0, 2**64 - 1, 2**63)),
    "d": Made(pa.float64(), "float", "double precision", _of(*EXTREME_FLOATS)),
    "m": Made(pa.decimal128(38, 10), "dec", "numeric(38, 10)", _of(*WIDEST)),
    "p": Made(pa.decimal128(4, 1), "dec", "numeric(4, 1)", _of(Decimal("999.9"), Decimal("-999.9"), Decimal("0.1"))),
    "s": Made(pa.string(), "text", "text", _of(*WORDS, "\U0001f600", "e\u0301", "\t", "x" * 300)),
    "day": Made(pa.date32(), "date", "date", _of(*EXTREME_DAYS)),
    "ts": Made(pa.timestamp("us"), "ts", "timestamp", _of(*LAST_MOMENTS)),
}  # fmt: skip
LAYOUT: Mapping[str, tuple[Mapping[str, Made], int, float]] = {
    "a": (A, 40, 0.15), "b": (B, 18, 0.2), "c": (C, 8, 0.1), "x": (X, 12, 0.1), "e": (B, 0, 0.0),
}  # fmt: skip
"""Columns beside `id`, rows, and the share of NULLs."""


def columns(table: str) -> tuple[Column, ...]:
    """Return what statements may say about a table; `id` is unique and never NULL."""
    made = LAYOUT[table][0]
    return (Column("id", "int", True), *(Column(name, m.sort, bool(m.sql)) for name, m in made.items()))


def tables(seed: int) -> dict[str, pa.Table]:
    """Draw the rows of all tables; `c` has every row twice but for its id."""
    return {name: _table(name, Random(f"{seed} {name}")) for name in LAYOUT}


def _table(name: str, random: Random) -> pa.Table:
    made, rows, nulls = LAYOUT[name]
    drawn: dict[str, pa.Array] = {"id": pa.array(range(1, rows + 1), pa.int64())}
    for column, m in made.items():
        values = [None if random.random() < nulls else m.draw(random) for _ in range(rows)]
        drawn[column] = pa.array(values[: rows // 2] * 2 if name == "c" else values, m.type)
    return pa.table(drawn)


def postgres(name: str, table: pa.Table) -> tuple[str, str]:
    """Return what makes a table in PostgreSQL, of the columns that it can hold: the statement, and rows for COPY."""
    made = {column: m.sql for column, m in LAYOUT[name][0].items() if m.sql}
    kept = table.select(["id", *made])
    lines = ["\t".join(map(_copied, row.values())) for row in kept.to_pylist()]
    declared = ", ".join(f'"{column}" {kind}' for column, kind in {"id": "bigint", **made}.items())
    return f'CREATE TABLE "{name}" ({declared})', "".join(f"{line}\n" for line in lines)


def _copied(value: Any) -> str:
    match value:
        case None:
            return "\\N"
        case bool():
            return "t" if value else "f"
        case float():
            return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()  # PostgreSQL reads the year 0001 as 1 AD
        case _:
            return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
