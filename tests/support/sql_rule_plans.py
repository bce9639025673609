"""Plans for tests of rules: bound from text over three small tables, and shown as the trees of `explain`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql import front
from gpuquery.runner.query.sql.plan import Filter, Statement
from gpuquery.runner.query.sql.rules import ColumnFacts, Statistics, TableFacts, explain
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN, DATE, DOUBLE, INTEGER, TEXT, TIMESTAMP, decimal
from gpuquery.runner.query.sql.walk import relations

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.plan import Expression, Relation

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
MONEY = decimal(15, 2)
SCHEMAS = {
    "orders": {"id": INTEGER, "customer": INTEGER, "total": MONEY, "day": DATE, "status": TEXT, "moment": TIMESTAMP},
    "lines": {"order_id": INTEGER, "part": INTEGER, "price": MONEY, "big": BIGINT, "weight": DOUBLE, "gift": BOOLEAN},
    "parts": {"part": INTEGER, "name": TEXT, "size": INTEGER},
}
KNOWN = Statistics(
    {
        "orders": TableFacts(
            10_000,
            {
                "id": ColumnFacts(1, 10_000, 0),
                "customer": ColumnFacts(1, 500, 0),
                "day": ColumnFacts(dt.date(2024, 1, 1), dt.date(2024, 12, 31), 0),
                "status": ColumnFacts("A", "Z", 3, 4),
            },
        ),
        "lines": TableFacts(40_000, {"order_id": ColumnFacts(1, 10_000, 0), "part": ColumnFacts(1, 200, 0)}),
        "parts": TableFacts(200, {"part": ColumnFacts(1, 200, 0), "size": ColumnFacts(1, 50, 0)}),
    }
)


def bound(text: str) -> Statement:
    """Return a statement over the tables as the front end binds it."""
    return front.bind(text, schemas=SCHEMAS, values={}, now=NOW)


def relation(text: str) -> Relation:
    """Return its relation."""
    return bound(text).relation


def condition(asked: str) -> tuple[Expression, list[str]]:
    """Return a condition on columns of `orders`, and the names of the columns below it."""
    found = next(
        below for below in relations(relation(f"SELECT 1 FROM orders WHERE {asked}")) if isinstance(below, Filter)
    )
    return found.condition, [field.name for field in found.fields]


def shown(node: Relation) -> str:
    """Return a relation as a tree."""
    return explain.tree(Statement(node, tuple(field.name for field in node.fields)))


def lines(text: str) -> str:
    """Return a tree as it stands in a test: without the first line, which is empty, and the indentation."""
    found = text.strip("\n").splitlines()
    indent = min(len(line) - len(line.lstrip(" ")) for line in found if line.strip())
    return "\n".join(line[indent:].rstrip() for line in found if line.strip())
