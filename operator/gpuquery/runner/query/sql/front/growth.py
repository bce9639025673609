"""Limits on expansion during binding: the columns of stars, and the expressions behind aliases.

DuckDB writes an alias of the same SELECT out wherever a later column uses it, and a star as all of its columns. Both
multiply: thirty columns that each use the one before twice are 2^30 expressions, and so are thirty levels of
`SELECT *, *`. So it is counted before anything is bound.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.source import INVALID_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.runner.query.sql.front.source import Source

Json = dict[str, Any]

MAX_COLUMNS = 20_000
"""Of one relation."""
MAX_WRITTEN_OUT = 20_000
"""Parts of expressions that the aliases of one SELECT stand for, in all uses. DuckDB takes two seconds for them."""


def check(tree: Json, source: Source, widths: Mapping[str, int]) -> None:
    """Raise SqlError for a statement that grows too large. `widths` are the numbers of the inputs' columns, by name.

    Too much is counted where a column has the name of an alias, and where USING or EXCLUDE leave columns out.
    """
    inputs = {name.lower(): width for name, width in widths.items()}
    _Growth(source).query(tree["statements"][0]["node"], inputs)


class _Growth:
    """Counts the columns of relations. `known` are those of the tables in reach: the inputs and the CTEs."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def query(self, node: Json, known: Mapping[str, int]) -> int:
        known = {**known}
        for entry in (node["cte_map"] or {}).get("map", ()):
            name = str(entry["key"]).lower()
            known[name] = self.query(entry["value"]["query_node"], {**known, name: 1})
        if node["type"] == "SELECT_NODE":
            return self.select(node, known)
        return max((self.query(side, known) for side in _queries(node)), default=1)

    def select(self, node: Json, known: Mapping[str, int]) -> int:
        below = self.table(node["from_table"], known)
        for inside in _queries({**node, "from_table": None}):
            self.query(inside, known)
        sizes: dict[str, int] = {}
        columns = written_out = 0
        for item in node["select_list"]:
            parts = list(_parts(item))
            used = sum(sizes.get(part["column_names"][0].lower(), 0) for part in parts if _is_name(part))
            if alias := str(item["alias"]).lower():
                sizes[alias] = max(len(parts) + used, sizes.get(alias, 0))
            columns += below if any(part["class"] == "STAR" for part in parts) else 1
            written_out += used
            self.bounded(columns, written_out, item)
        return columns

    def table(self, node: Json, known: Mapping[str, int]) -> int:
        match node["type"]:
            case "JOIN":
                for inside in _queries({**node, "left": None, "right": None}):
                    self.query(inside, known)
                return self.table(node["left"], known) + self.table(node["right"], known)
            case "BASE_TABLE":
                return known.get(str(node["qualified_name"]["path"][-1]).lower(), 1)
            case "SUBQUERY":
                return self.query(node["subquery"]["node"], known)
            case "PIVOT":
                made = prod(len(pivot["entries"]) for pivot in node["pivots"]) * max(1, len(node["aggregates"]))
                self.bounded(made, 0, node)
                return self.table(node["source"], known) + made
            case _:
                return 1

    def bounded(self, columns: int, written_out: int, node: Json) -> None:
        place = self.source.place(node.get("query_location", INVALID_INDEX), node.get("query_location_length", 0))
        if columns > MAX_COLUMNS:
            raise SqlError(f"the result would have more than {MAX_COLUMNS} columns: list the ones that you need", place)
        if written_out > MAX_WRITTEN_OUT:
            raise SqlError(
                "the column aliases use one another so often that the query grows too large: compute what is "
                "repeated in "
                "a sub-query or a CTE",
                place,
            )


def _is_name(part: Json) -> bool:
    return part["class"] == "COLUMN_REF" and len(part["column_names"]) == 1


def _parts(root: Json) -> Iterator[Json]:
    """Yield an expression and what is in it, but for sub-queries: they do not see the aliases around them."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if "class" in node:
                yield node
            waiting.extend(value for key, value in node.items() if key != "subquery")


def _queries(root: Json) -> Iterator[Json]:
    """Yield the queries directly within a part of the tree."""
    waiting: list[Any] = [value for key, value in root.items() if key != "cte_map"]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if str(node.get("type", "")).endswith("_NODE"):
                yield node
            else:
                waiting.extend(node.values())
