"""Values at the edges of every type, and an expression over them computed by our compiler and by DuckDB.

One table has for each type T a column `a_T` and a column `b_T`, whose rows are all pairs of the type's values. So
`a_i32 + b_i32`, or `CAST(a_text AS DATE)`, meets every pair once. DuckDB says for each row the value or that it fails;
ours must say the same, row by row, and a failure must be one that is explained with words and a place.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa

from gpuquery.runner.query.sql import front, plan
from gpuquery.runner.query.sql.compile import failures
from gpuquery.runner.query.sql.compile.expression import expression
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.compile.values import columns, dtype_of, type_of
from tests.support import duck

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FAILURES = 6
"""So many rows that fail are tried, each in a query of its own."""
_NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
NOW = dt.datetime(2026, 11, 29, 12, 34, 56, 789012, tzinfo=dt.UTC)
_INTEGERS = {
    "i8": ("TINYINT", 8, True),
    "i16": ("SMALLINT", 16, True),
    "i32": ("INTEGER", 32, True),
    "i64": ("BIGINT", 64, True),
    "u8": ("UTINYINT", 8, False),
    "u16": ("USMALLINT", 16, False),
    "u32": ("UINTEGER", 32, False),
    "u64": ("UBIGINT", 64, False),
}
_FLOATS = (
    *(
        "0.0",
        "-0.0",
        "1",
        "-1",
        "0.5",
        "1.5",
        "2.5",
        "-2.5",
        "0.1",
        "3.14159",
        "nan",
        "inf",
        "-inf",
        "1e10",
        "16777217",
    ),
    *(
        "2147483647.5",
        "9223372036854775807",
        "-9223372036854775808",
        "1e-7",
        "123456.789",
        "1e15",
        "1e16",
        "1e37",
        "100",
    ),
)
_TEXTS = (
    *(
        "",
        " ",
        "abc",
        "Abc",
        "ABD",
        "é",
        "z",
        "日本",
        "0",
        "1",
        "-1",
        "+1",
        " 42 ",
        "1.5",
        "-2.5",
        "2.4999",
        "1e3",
        "1e-3",
    ),
    *(
        "1_000",
        "127",
        "128",
        "300",
        "2147483648",
        "9223372036854775808",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "true",
        "TRUE",
    ),
    *(
        "t",
        "f",
        "no",
        "yes",
        "on",
        "2024-02-29",
        "2023-02-29",
        "2024-2-9",
        "0001-01-01",
        "9999-12-31",
        "2024-02-29 12:34",
    ),
    *(
        "2024-02-29 12:34:56.789",
        "2024-02-29T12:34:56Z",
        "2024-02-29 12:34:56+02",
        "12:34:56",
        "12:34:56.5",
        "24:00:00",
    ),
    *("25:00:00", "0x1F", "1e400", "99999999999999999999999999999999999999", ".5", "5.", "-", "1 2", "--1", "1e"),
)


def _whole(bits: int, *, signed: bool) -> list[str]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return [
        str(v) for v in (low, low + 1, 0, 1, 2, 3, 7, 10, high // 2, high - 1, high, *((-1, -2, -7) if signed else ()))
    ]


TYPES: dict[str, tuple[str, Sequence[str]]] = {
    "bool": ("BOOLEAN", ["true", "false"]),
    **{name: (sql, _whole(bits, signed=signed)) for name, (sql, bits, signed) in _INTEGERS.items()},
    "f32": ("REAL", [*_FLOATS, "3.4e38"]),
    "f64": ("DOUBLE", [*_FLOATS, "1.7976931348623157e308", "5e-324", "1e300", "2.675", "1.005", "0.125"]),
    "d5": (
        "DECIMAL(5, 2)",
        ["0", "1", "-1", "0.01", "0.5", "2.5", "-2.5", "999.99", "-999.99", "0.05", "1.25", "127.5"],
    ),
    "d15": ("DECIMAL(15, 2)", ["0", "1.05", "-0.05", "9999999999999.99", "-9999999999999.99", "0.15", "2147483647.5"]),
    "d18": ("DECIMAL(18, 4)", ["0", "1.0005", "-1.0005", "99999999999999.9999", "0.0001", "3", "127.4999", "0.00005"]),
    "d38": ("DECIMAL(38, 0)", ["0", "1", "-1", "9" * 38, "-" + "9" * 38, "9" * 20, "9223372036854775808", "2", "10"]),
    "d38s": ("DECIMAL(38, 20)", ["0", "1", "0.5", "-0.5", "9" * 18 + "." + "9" * 20, "0." + "0" * 19 + "1", "2.5"]),
    "text": ("VARCHAR", _TEXTS),
    "date": (
        "DATE",
        ["1970-01-01", "0001-01-01", "9999-12-31", "2024-02-29", "2024-01-31", "1969-12-31", "2023-12-31"],
    ),
    "time": ("TIME", ["00:00:00", "12:34:56.789012", "23:59:59.999999", "00:00:00.000001"]),
    "ts": (
        "TIMESTAMP",
        *(
            [
                [
                    "1970-01-01",
                    "0001-01-01",
                    "9999-12-31 23:59:59.999999",
                    "2024-02-29 12:34:56.789",
                    "2024-01-31 23:59:59",
                ]
            ]
        ),
    ),
    "tz": ("TIMESTAMPTZ", ["1970-01-01 00:00:00+00", "2024-02-29 12:34:56.789+00", "1969-12-31 23:59:59.999999+00"]),
    "ilist": ("INTEGER[]", ["[]", "[1]", "[1, NULL]", "[1, 2]", "[2]", "[NULL]", "[300]", "[1, 2, 3]"]),
    "tlist": ("VARCHAR[]", ["[]", "['a']", "['1', NULL]", "['a', 'b']", "['1', '2']", "['é']"]),
}


class _Row(NamedTuple):
    failed: bool
    value: Any


class Difference(NamedTuple):
    """A row for which we and DuckDB differ."""

    sql: str
    row: dict[str, Any]
    ours: str
    duckdb: str

    def __str__(self) -> str:
        return f"{self.sql} with {self.row}: ours {self.ours}, DuckDB {self.duckdb}"


class Both:
    """The table of all pairs of some types' values, for both sides."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.connection = duck.connect()
        size = max(len(TYPES[name][1]) for name in self.names) + 1
        parts = []
        for name in self.names:
            sql, texts = TYPES[name]
            items = ", ".join(text if text.startswith("[") else f"'{text}'" for text in texts)
            listed = f"[{items}]::{sql}[]"
            parts.append(f"({listed})[i // {size} + 1] AS a_{name}, ({listed})[i % {size} + 1] AS b_{name}")
        self.connection.execute(f"CREATE TABLE t AS SELECT i, {', '.join(parts)} FROM range({size * size}) r(i)")
        self.sizes = {name: len(TYPES[name][1]) + 1 for name in self.names}
        self.size = size
        table = self.connection.sql("FROM t").to_arrow_table()
        self.frame = pl.from_arrow(table)
        assert isinstance(self.frame, pl.DataFrame)
        self.schemas = {"t": {name: type_of(dtype) for name, dtype in self.frame.schema.items()}}
        self.frame = self.frame.cast({name: dtype_of(kind) for name, kind in self.schemas["t"].items()})

    def rows(self, sql: str) -> str:
        """Return the condition for the rows that meet each pair of the values in an expression once."""
        conditions = ["true"]
        for name in self.names:
            for side, place in (("a", f"i // {self.size}"), ("b", f"i % {self.size}")):
                if f"{side}_{name}" in sql.replace("(", " ").replace(")", " ").replace(",", " ").split():
                    conditions.append(f"{place} < {self.sizes[name]}")
        for side, place in (("a", f"i // {self.size}"), ("b", f"i % {self.size}")):
            if not any(f"{side}_{name}" in sql for name in self.names):
                conditions.append(f"{place} = 0")
        return " AND ".join(conditions)


@functools.cache
def both() -> Both:
    """Return the table of all types."""
    return Both(TYPES)


def bound(sql: str, table: Both) -> tuple[plan.Expression, plan.Relation]:
    """Return the expression as our plan, and the relation below it."""
    statement = front.bind(f"SELECT {sql} AS r FROM t", schemas=table.schemas, values={}, now=NOW)
    relation = statement.relation
    assert isinstance(relation, plan.Project), relation
    return relation.items[0].value, relation.input


def differences(sql: str, table: Both | None = None, target: Target = CPU) -> list[Difference]:
    """Return the rows in which our value, or our failure, is not DuckDB's. Raises SqlError if we refuse it."""
    table = table or both()
    theirs = _duckdbs(sql, table)
    node, below = bound(sql, table)
    assert isinstance(below, plan.Scan)
    names = [field.name for field in below.columns]
    value = expression(node, columns(names, [field.type for field in below.columns]), target)
    frame = table.frame.lazy().select("i", *names)
    fine = [i for i, row in theirs.items() if not row.failed]
    found = _compared(sql, value.expr, frame, {i: theirs[i] for i in fine})
    for i in [i for i, row in theirs.items() if row.failed][:_FAILURES]:
        found += _compared(sql, value.expr, frame, {i: theirs[i]})
    return found


def _duckdbs(sql: str, table: Both) -> dict[int, _Row]:
    """Return DuckDB's value or failure of each row."""
    where = table.rows(sql)
    try:
        return {row["i"]: _Row(False, row["r"]) for row in _listed_rows(f"SELECT i, {sql} AS r", where, table)}
    except duckdb.Error:
        tried = _listed_rows(f"SELECT i, TRY({sql}) AS r, TRY(({sql}) IS NULL) AS missing", where, table)
    found: dict[int, _Row] = {}
    failed = 0
    for row in tried:  # TRY gives NULL for a row that fails: `missing` is true for a value that is NULL, and else not
        if row["r"] is not None or row["missing"]:
            found[row["i"]] = _Row(False, row["r"])
        else:
            found[row["i"]] = _one(sql, row["i"], table) if failed < _FAILURES else _Row(True, "fails")
            failed += 1
    return found


def _listed_rows(select: str, where: str, table: Both) -> list[dict[str, Any]]:
    answer = table.connection.sql(f"{select} FROM t WHERE {where}").to_arrow_table()
    return _listed(answer)


def _one(sql: str, i: int, table: Both) -> _Row:
    try:
        (row,) = _listed_rows(f"SELECT {sql} AS r", f"i = {i}", table)
    except duckdb.Error as error:
        return _Row(True, str(error).partition("\n")[0][:90])
    return _Row(False, row["r"])


def _compared(sql: str, expr: pl.Expr, frame: pl.LazyFrame, theirs: dict[int, _Row]) -> list[Difference]:
    if not theirs:
        return []
    some = frame.filter(pl.col("i").is_in(list(theirs)))
    try:
        rows = _listed(some.select("i", r=expr).collect(engine="streaming").to_arrow())
        mine = {row["i"]: row["r"] for row in rows}
    except pl.exceptions.PolarsError as error:
        if len(theirs) > 1:
            half = len(theirs) // 2
            parts = (dict(itertools.islice(theirs.items(), half)), dict(itertools.islice(theirs.items(), half, None)))
            return [d for part in parts for d in _compared(sql, expr, frame, part)]
        ((i, row),) = theirs.items()
        told = failures.decoded_failure(error)
        if row.failed and told is not None:
            return []
        return [_difference(sql, some, i, f"fails: {told or error!r}"[:300], row)]
    return [
        _difference(sql, some, i, repr(mine[i]), row)
        for i, row in theirs.items()
        if row.failed or not same(mine[i], row.value)
    ]


def _listed(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows. Dates and times are numbers with a name: Python's end with the year 9999."""
    columns = {name: _plain(table[name]) for name in table.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_date32(kind):
        return [None if n is None else ("day", n) for n in column.cast(pa.int32()).to_pylist()]
    if pa.types.is_timestamp(kind):
        name = "moment" if kind.tz is None else "instant"
        return [None if n is None else (name, n * _NANOS[kind.unit]) for n in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_duration(kind):
        return [None if n is None else ("length", n * _NANOS[kind.unit]) for n in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_interval(kind):
        return [None if v is None else ("length", v.days * 86_400 * 10**9 + v.nanoseconds) for v in column.to_pylist()]
    return list(column.to_pylist())


def _difference(sql: str, frame: pl.LazyFrame, i: int, mine: str, row: _Row) -> Difference:
    used = [name for name in frame.collect_schema().names() if name != "i" and name in sql]
    values = frame.filter(pl.col("i") == i).select(used).collect().to_dicts()
    return Difference(sql, values[0] if values else {}, mine, f"fails: {row.value}" if row.failed else repr(row.value))


def same(mine: Any, theirs: Any) -> bool:
    """Whether two values are one: NaN is NaN, a decimal has its digits (a HUGEINT none behind the point)."""
    match mine, theirs:
        case float(), float():
            return repr(mine) == repr(theirs) or mine == theirs
        case list(), list():
            return len(mine) == len(theirs) and all(map(same, mine, theirs))
        case dict(), dict():
            return list(mine) == list(theirs) and all(same(mine[k], theirs[k]) for k in mine)
        case bool(), _:
            return mine is theirs
        case _:
            return bool(mine == theirs)
