"""Statements bound over small tables that have a column of nearly every type."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.params import Value
from gpuquery.runner.query.sql import front
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    TEXT,
    TIMESTAMP,
    Kind,
    Type,
    decimal,
    list_of,
    struct,
)

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.plan import Statement

NOW = dt.datetime(2026, 11, 29, 12, 34, 56, tzinfo=dt.UTC)
SCHEMAS = {
    "t": {
        "i": INTEGER,
        "b": BIGINT,
        "d": decimal(15, 2),
        "f": DOUBLE,
        "s": TEXT,
        "bo": BOOLEAN,
        "dt": DATE,
        "ts": TIMESTAMP,
        "tz": Type(Kind.TIMESTAMP_TZ),
        "l": list_of(INTEGER),
        "st": struct(("a", INTEGER), ("b", TEXT)),
    },
    "u": {"i": INTEGER, "x": TEXT, "d": decimal(10, 4), "ts": TIMESTAMP},
}


def bound(sql: str, schemas: Any = None, **values: tuple[str, Any]) -> Statement:
    """Bind a statement; parameters are (kind, value)."""
    given = {name: Value(name, kind, python) for name, (kind, python) in values.items()}
    return front.bind(sql, schemas=SCHEMAS if schemas is None else schemas, values=given, now=NOW)


def refused(sql: str, schemas: Any = None, **values: tuple[str, Any]) -> tuple[str, str | None]:
    """Return the message of a refused statement and the part of its text that the message points to."""
    try:
        made = bound(sql, schemas, **values)
    except SqlError as exc:
        return exc.message, sql[exc.place.start : exc.place.end] if exc.place else None
    raise AssertionError(f"{sql} is not refused but planned: {made}")
