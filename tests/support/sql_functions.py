"""A table of values at the edges, and functions over its columns computed by our compiler and by DuckDB."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from gpuquery.runner.query.sql import front, plan
from gpuquery.runner.query.sql.compile import statement as compiler
from gpuquery.runner.query.sql.compile.expression import expression
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.compile.values import Value, dtype_of, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW = dt.datetime(2026, 11, 29, 12, 34, 56, 789012, tzinfo=dt.UTC)
_COLUMNS = {
    "s": ("VARCHAR", ["'hello'", "''", "NULL", "'Héllo wörld 日本'", r"'a%b_c\d'", "'  Abc  '", "'aXbXc'"]),
    "p": ("VARCHAR", ["'h%'", "''", "NULL", "' %日_'", r"'a\%b'", "'%abc%'", "'_X%'"]),
    "q": ("VARCHAR", ["'l'", "''", "NULL", "'ö'", "'%'", "'b'", "'X'"]),
    "i": ("INTEGER", ["3", "0", "NULL", "-3", "100", "2", "1"]),
    "j": ("INTEGER", ["-2", "0", "NULL", "1", "5", "2", "3"]),
    "b": ("BIGINT", ["9007199254740993", "0", "NULL", "-9223372036854775808", "1", "-2", "2"]),
    "k": ("BIGINT", ["7", "0", "NULL", "-1", "4611686018427387904", "2", "1"]),
    "t": ("TINYINT", ["-127", "0", "NULL", "127", "1", "3", "2"]),
    "m": ("SMALLINT", ["-7", "0", "NULL", "32767", "2", "1", "3"]),
    "u": ("UBIGINT", ["18446744073709551615", "0", "NULL", "1", "2", "3", "4"]),
    "d": ("DECIMAL(10, 2)", ["12.35", "0", "NULL", "-12.345", "99999999.99", "0.05", "-0.05"]),
    "e": ("DECIMAL(38, 4)", ["1234567890123456.785", "0", "NULL", "-0.00005", f"{'9' * 34}.9999", "0.5", "-1.5"]),
    "f": ("DOUBLE", ["2.5", "0", "NULL", "-2.5", "'nan'", "'-inf'", "-0.0"]),
    "g": ("DOUBLE", ["-2.5", "0", "NULL", "1e300", "'inf'", "0.49999999999999994", "-1"]),
    "r": ("REAL", ["1.5", "0", "NULL", "-0.5", "3.4e38", "0.1", "2.5"]),
    "x": ("DATE", ["'2024-02-29'", "'1970-01-01'", "NULL", "'1900-03-01'", "'0001-01-01'", "'2021-01-03'",
        "'2020-12-31'"]),
    "y": ("DATE", ["'2023-12-31'", "'1970-01-01'", "NULL", "'2000-01-31'", "'9999-12-31'", "'2021-01-04'",
        "'2021-01-01'"]),
    "ts": (
        "TIMESTAMP",
        ["'2024-02-29 13:14:15.678901'", "'1970-01-01'", "NULL", "'1900-03-01 00:00:00.5'", "'0001-01-01'",
         "'2021-01-03 05:06:07'", "'2020-12-31 23:59:59'"],
    ),
    "tu": (
        "TIMESTAMP",
        ["'2023-12-31 23:59:59.999999'", "'1970-01-01'", "NULL", "'2000-01-31 12:00:00'", "'9999-12-31 23:59:59'",
         "'2021-01-04 05:06:07.000001'", "'2021-01-01'"],
    ),
    "tz": (
        "TIMESTAMPTZ",
        ["'2024-02-29 13:14:15.678901+00'", "'1970-01-01 00:00:00+00'", "NULL", "'1950-03-01 12:30:00+00'",
         "'2038-01-19 03:14:07+00'", "'2021-10-31 00:30:00+00'", "'2020-03-29 01:30:00+00'"],
    ),
    "tm": ("TIME", ["'13:14:15.678901'", "'00:00:00'", "NULL", "'23:59:59.999999'", "'00:00:00.000001'", "'05:06:07'",
                    "'12:00:00'"]),
    "l": ("INTEGER[]", ["[1, 2, NULL, 3, 2]", "[]", "NULL", "[3, 1, -5]", "[NULL]", "[5, 5, 5]", "[2147483647, 1]"]),
    "n": ("INTEGER[]", ["[2, 3]", "[]", "NULL", "[3, 3, 1]", "[NULL, NULL]", "[5]", "[-2147483648]"]),
    "ls": ("VARCHAR[]", ["['a', 'b', NULL]", "[]", "NULL", "['z', '', 'é']", "[NULL]", "['b', 'a', 'b']",
        "['ab', 'b']"]),
    "lf": ("DOUBLE[]", ["[1.5, 2.5]", "[]", "NULL", "[-0.5, 'nan'::DOUBLE]", "['inf'::DOUBLE, NULL]", "[0.25, 0.5]",
        "[1e308, 1e307]"]),
    "lb": ("BOOLEAN[]", ["[true, false]", "[]", "NULL", "[NULL, true]", "[]", "[true, true]", "[false]"]),
    "ld": ("DECIMAL(10, 2)[]", ["[1.25, 2.5]", "[]", "NULL", "[NULL, -1.5]", "[5.55]", "[1, 1]", "[2]"]),
    "ll": ("INTEGER[][]", ["[[1], [2, 3]]", "[]", "NULL", "[[], NULL, [4, NULL]]", "[NULL]", "[[1, 1]]",
        "[[7], [8]]"]),
    "st": (
        "STRUCT(a INTEGER, b VARCHAR)",
        ["{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': ''}", "NULL", "{'a': -5, 'b': NULL}", "{'a': 7, 'b': 'YY'}",
         "{'a': 1, 'b': 'x'}", "{'a': 2, 'b': 'é'}"],
    ),
    "bl": ("BLOB", [r"'\xAA\x00bc'", "''", "NULL", "'abc'", "'z'", "'q'", r"'\xff'"]),
    "o": ("BOOLEAN", ["true", "false", "NULL", "NULL", "true", "false", "true"]),
}  # fmt: skip
"""By name: the type, and the values of the rows."""


@cache
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    types = ", ".join(f"{name} {kind}" for name, (kind, _) in _COLUMNS.items())
    connection.execute(f"CREATE TABLE t({types})")
    for row in zip(*(values for _, values in _COLUMNS.values()), strict=True):
        connection.execute(f"INSERT INTO t VALUES ({', '.join(row)})")
    return connection


@cache
def _frame() -> pl.DataFrame:
    table = pl.from_arrow(_database().sql("FROM t").to_arrow_table())
    assert isinstance(table, pl.DataFrame)
    kinds = {name: type_of(dtype) for name, dtype in table.schema.items()}
    return table.cast({name: dtype_of(kind) for name, kind in kinds.items()})  # type: ignore[arg-type]


@cache
def _schema() -> dict[str, Any]:
    table = _database().sql("FROM t LIMIT 0").to_arrow_table()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return {name: type_of(dtype) for name, dtype in frame.schema.items()}


def bound(expressions: Sequence[str]) -> tuple[list[plan.Expression], list[str]]:
    """Return expressions over the columns of the table as a plan has them, and the names of those columns."""
    return _bound(tuple(expressions))


@cache
def _bound(expressions: tuple[str, ...]) -> tuple[list[plan.Expression], list[str]]:
    text = f"SELECT {', '.join(expressions)} FROM t"
    statement = front.bind(text, schemas={"t": _schema()}, values={}, now=NOW)
    relation = statement.relation
    assert isinstance(relation, plan.Project)
    below = relation.input
    while not isinstance(below, plan.Scan):
        below = below.inputs[0]
    return [item.value for item in relation.items], [column.name for column in below.columns]


def node(text: str) -> tuple[plan.Expression, dict[str, Any]]:
    """Return an expression as a plan has it, and the types of the columns that it may refer to, in their order."""
    (found,), names = bound([text])
    return found, {name: _schema()[name] for name in names}


def compiled(expressions: Sequence[str], target: Target = CPU) -> list[Value]:
    """Return expressions over the columns of the table, compiled."""
    found, names = bound(expressions)
    schema = _schema()
    scope = [Value(pl.col(name), schema[name]) for name in names]
    return [expression(node, scope, target) for node in found]


def ours(expressions: Sequence[str], target: Target = CPU) -> list[tuple[Any, ...]]:
    """Compute expressions by our compiler, on the CPU; each must have the dtype of its type."""
    values = compiled(expressions, target)
    made = [value.expr.alias(str(index)) for index, value in enumerate(values)]
    result = _frame().lazy().with_columns(made).select(str(index) for index in range(len(values))).collect()
    for text, value, dtype in zip(expressions, values, result.dtypes, strict=True):
        assert dtype == dtype_of(value.type), f"{text}: {value.type} is held as {dtype}"
    return result.rows()


def theirs(expressions: Sequence[str]) -> list[tuple[Any, ...]]:
    """Compute expressions by DuckDB."""
    return _database().cursor().execute(f"SELECT {', '.join(expressions)} FROM t").fetchall()


def answers(statement: str) -> list[tuple[Any, ...]]:
    """Run a whole statement over the table by our compiler."""
    plan_ = front.bind(statement, schemas={"t": _schema()}, values={}, now=NOW)
    return compiler.compiled(plan_, {"t": _frame().lazy()}, CPU).collect().rows()


def duckdb_answers(statement: str) -> list[tuple[Any, ...]]:
    """Run a whole statement over the table by DuckDB."""
    return _database().cursor().execute(statement).fetchall()


def names_in_duckdb() -> set[str]:
    """Return the names of all functions that DuckDB knows."""
    found = _database().cursor().execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
    return {name for (name,) in found}


def called(expressions: Sequence[str]) -> set[str]:
    """Return the names of all functions that expressions call, as the plan has them."""
    return {node.function for root in bound(expressions)[0] for node in _nodes(root) if isinstance(node, plan.Call)}


def _nodes(root: plan.Expression) -> Iterator[plan.Expression]:
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, plan.Expression):
            yield node
            waiting.extend(getattr(node, name) for name in node.__dataclass_fields__)
        elif isinstance(node, tuple):
            waiting.extend(node)


def same(mine: Any, other: Any, tolerance: float = 0.0) -> bool:
    """Whether values are equal, numbers by their value; NaN is NaN, and -0.0 is not 0.0."""
    match mine, other:
        case float(), float() if math.isnan(mine) or math.isnan(other):
            return math.isnan(mine) and math.isnan(other)
        case float(), float() if tolerance:
            return math.isclose(mine, other, rel_tol=tolerance)
        case float(), float():
            return mine == other and math.copysign(1, mine) == math.copysign(1, other)
        case ((list() | tuple()), (list() | tuple())):
            return len(mine) == len(other) and all(map(lambda a, b: same(a, b, tolerance), mine, other))
        case dict(), dict():
            return list(mine) == list(other) and all(same(mine[key], other[key], tolerance) for key in mine)
        case (bool(), _) | (_, bool()):
            return mine is other
        case ((int() | Decimal()), (int() | Decimal())):
            return mine == other
        case _:
            return type(mine) is type(other) and mine == other


def differences(expressions: Sequence[str], tolerance: float = 0.0, target: Target = CPU) -> list[str]:
    """Return where our values are not DuckDB's."""
    return [
        f"{expressions[column]}, row {row}: {mine[column]!r}, DuckDB {other[column]!r}"
        for row, (mine, other) in enumerate(zip(ours(expressions, target), theirs(expressions), strict=True))
        for column in range(len(expressions))
        if not same(mine[column], other[column], tolerance)
    ]
