"""The same statement over the same tables by GpuQuery's planner and by DuckDB, and an exact comparison of the rows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pyarrow as pa
import sqlglot
from sqlglot.tokens import TokenType

from gpuquery.runner.query.sql import front, rules
from gpuquery.runner.query.sql.compile import statement as compiler
from gpuquery.runner.query.sql.compile import values
from gpuquery.runner.query.sql.compile.target import CPU, Target
from tests.support import duck

if TYPE_CHECKING:
    import duckdb

    from gpuquery.runner.query.sql.plan import Statement
    from gpuquery.runner.query.sql.types import Type

NOW = dt.datetime(2026, 11, 29, 12, 34, 56, 789012, tzinfo=dt.UTC)
FLOATS_AGREE = 1e-12
"""Relative: sums of floats depend on their order."""

_DEEPER = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}

Row = tuple[Any, ...]
Tables = Mapping[str, pa.Table]


class Answers(NamedTuple):
    """Rows of the same statement."""

    ours: list[Row]
    duckdb: list[Row]


def frames(tables: Tables) -> dict[str, pl.LazyFrame]:
    """Return the tables as the runner hands inputs to a query."""
    return dict(_frames(_Same(tables)))


def bound(sql: str, tables: Tables) -> Statement:
    """Bind a statement to the tables."""
    return front.bind(sql, schemas=_schemas(_Same(tables)), values={}, now=NOW)


def _types(scanned: Mapping[str, pl.LazyFrame]) -> dict[str, dict[str, Type]]:
    return {
        name: {column: values.type_of(dtype) for column, dtype in frame.collect_schema().items()}
        for name, frame in scanned.items()
    }


def planned(text: str, scanned: Mapping[str, pl.LazyFrame], target: Target = CPU) -> pl.LazyFrame:
    """Return the lazy result of a statement over scanned inputs, by every step that the product takes."""
    statement = front.bind(text, schemas=_types(scanned), values={}, now=NOW)
    return compiler.compiled(rules.improved(statement, None), scanned, target)


def rows(statement: Statement, tables: Tables, target: Target = CPU) -> list[Row]:
    """Run a plan over the tables, as the `cpu` engine does, whatever the target that it was compiled for."""
    return compiler.compiled(statement, frames(tables), target).collect(engine="streaming").rows()


def ours(sql: str, tables: Tables, target: Target = CPU) -> list[Row]:
    """Run a statement by our planner."""
    return planned(sql, frames(tables), target).collect(engine="streaming").rows()


def duckdbs(sql: str, tables: Tables) -> list[Row]:
    """Run a statement by DuckDB itself."""
    connection = _loaded(_Same(tables))
    return connection.cursor().execute(sql).fetchall()


class _Same:
    """Tables that are the same if they are the same object."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.tables is other.tables

    def __hash__(self) -> int:
        return id(self.tables)


@lru_cache(maxsize=4)
def _frames(same: _Same) -> dict[str, pl.LazyFrame]:
    found: dict[str, pl.LazyFrame] = {}
    for name, table in same.tables.items():
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        found[name] = frame.lazy()
    return found


@lru_cache(maxsize=4)
def _schemas(same: _Same) -> dict[str, dict[str, Type]]:
    return _types(_frames(same))


@lru_cache(maxsize=4)
def _loaded(same: _Same) -> duckdb.DuckDBPyConnection:
    connection = duck.connect()
    for name, table in same.tables.items():
        connection.register(f"arrow {name}", table)
        connection.execute(f'CREATE TABLE "{name}" AS FROM "arrow {name}"')
        connection.unregister(f"arrow {name}")
    return connection


def answers(sql: str, tables: Tables, target: Target = CPU) -> Answers:
    """Run a statement by our planner and by DuckDB."""
    return Answers(ours(sql, tables, target), duckdbs(sql, tables))


def check(sql: str, tables: Tables, target: Target = CPU) -> None:
    """Fail, with both answers, unless our planner and DuckDB answer the same."""
    mine, theirs = answers(sql, tables, target)
    assert same(mine, theirs, ordered=is_ordered(sql)), f"{sql}\nours:   {_shown(mine)}\nDuckDB: {_shown(theirs)}"


def _shown(rows: Sequence[Row]) -> str:
    return "".join(f"\n  {row!r}" for row in sorted(rows, key=_sortable)[:40])


def is_ordered(sql: str) -> bool:
    """Whether the statement itself, not a part of it, has an ORDER BY: those of parts stand in parentheses."""
    if "order" not in sql.lower():
        return False
    depth = 0
    for token in sqlglot.tokenize(sql, read="duckdb"):
        depth += _DEEPER.get(token.token_type, 0)
        if depth == 0 and token.token_type is TokenType.ORDER_BY:
            return True
    return False


def same(ours: Sequence[Row], theirs: Sequence[Row], *, ordered: bool = False) -> bool:
    """Whether two results are equal: digits and scale of decimals, NaN, NULL, TRUE that is not 1; floats to 1e-12."""
    if len(ours) != len(theirs):
        return False
    if ordered:
        return all(map(_equal, ours, theirs))
    left = sorted(ours, key=_sortable)
    right = sorted(theirs, key=_sortable)
    if all(map(_equal, left, right)):
        return True
    for row in left:  # floats that are equal may sort apart
        at = next((i for i, other in enumerate(right) if _equal(row, other)), None)
        if at is None:
            return False
        del right[at]
    return True


def _equal(a: Any, b: Any) -> bool:
    match a, b:
        case (None, None):
            return True
        case (bool(), bool()):
            return a is b
        case (bool(), _) | (_, bool()):
            return False
        case (float(), float()):
            return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=FLOATS_AGREE)
        case (Decimal(), Decimal()):
            return a.as_tuple() == b.as_tuple()
        case (Decimal(), int()) | (int(), Decimal()):  # a HUGEINT is held as a decimal without places
            return all(isinstance(n, int) or n.as_tuple().exponent == 0 for n in (a, b)) and int(a) == int(b)
        case (dt.datetime(), dt.datetime()):
            return (a.tzinfo is None) == (b.tzinfo is None) and a == b
        case (list() | tuple(), list() | tuple()):
            return len(a) == len(b) and all(map(_equal, a, b))
        case (dict(), dict()):
            return list(a) == list(b) and all(_equal(a[key], b[key]) for key in a)
        case _:
            return type(a) is type(b) and bool(a == b)


def _sortable(value: Any) -> Any:
    match value:
        case tuple() | list():
            return "[", [_sortable(item) for item in value]
        case dict():
            return "{", [_sortable(item) for item in value.values()]
        case bool():
            return "bool", str(value)
        case float():
            return "number", "nan" if math.isnan(value) else f"{value + 0.0:.9e}"
        case int() | Decimal():
            return "number", f"{value:.20e}"
        case _:
            return type(value).__name__, str(value)
