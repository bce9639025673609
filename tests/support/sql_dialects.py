"""A statement of another dialect over a small table, by every step that the product takes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.params import Value
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

UTC = dt.UTC
D = Decimal
day = dt.date
moment = dt.datetime
NOW = moment(1997, 5, 6, 7, 8, 9, tzinfo=UTC)
"""When the job was created."""
ORDERS = pl.DataFrame(
    {
        "id": pl.Series([1, 2, 3, 4], dtype=pl.Int64),
        "cust": pl.Series([1, 1, 2, 3], dtype=pl.Int32),
        "status": ["F", "F", "O", "O"],
        "d": [day(1994, 1, 5), day(1994, 3, 1), day(1995, 3, 1), day(1996, 12, 31)],
        "total": pl.Series([D("10.50"), D("30.00"), D("20.00"), None], dtype=pl.Decimal(15, 2)),
        "note": ["a,b", "c", None, "a_b"],
        "ts": pl.Series(
            [moment(1994, 1, 5, 10, 11, 12, 500000), moment(1994, 3, 1), None, moment(1996, 12, 31, 23, 59, 59)],
            dtype=pl.Datetime("us"),
        ),
    }
)
"""The table `orders` of all dialects' tests."""
SINCE: Mapping[str, Value] = {"since": Value("since", "date", day(1995, 1, 1))}


def prepared(dialect: str, sql: str) -> Prepared:
    """Prepare a statement; `:since` is a day."""
    return Prepared(sql, dialect=dialect, inputs=["orders"], values=SINCE if ":since" in sql else {})


def planned(dialect: str, sql: str) -> pl.LazyFrame:
    """Return the lazy result of a statement over `orders`."""
    return prepared(dialect, sql).plan({"orders": ORDERS.lazy()}, now=NOW, target=CPU).frame


def rows(dialect: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement over `orders`."""
    return planned(dialect, sql).collect().rows()
