"""Validation of the syntax tree, before DuckDB resolves any name: what a query may contain.

Binding is no execution, but it is not nothing: a table function may open a file when it is bound, a setting becomes a
constant. So the tree that DuckDB's parser gives (`json_serialize_sql`) is walked first: queries only, over declared
inputs and the author's own CTEs, with functions of values only. What is bound is checked once more when it is read.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.front import names
from gpuquery.runner.query.sql.front.duckjson_types import BYTEWISE, no_collation
from gpuquery.runner.query.sql.front.source import INVALID_INDEX
from gpuquery.runner.query.sql.front.tree import objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuquery.runner.query.sql.front.source import Source

Json = dict[str, Any]

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
VARIABLE = "getvariable"
"""How a parameter stands in the bound text; authors cannot call it."""
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"})
_WRITES = {"INSERT_QUERY_NODE": "INSERT", "UPDATE_QUERY_NODE": "UPDATE", "DELETE_QUERY_NODE": "DELETE"}
_SHOWS = {"SHOW_REF": "DESCRIBE, SHOW and SUMMARIZE"}
_TABLES = frozenset(
    {"BASE_TABLE", "JOIN", "SUBQUERY", "EXPRESSION_LIST", "EMPTY", "TABLE_FUNCTION", "PIVOT", "COLUMN_DATA"}
)
_ONE = "a query is one SELECT statement"
_SAMPLED = (
    "TABLESAMPLE and USING SAMPLE are refused: every attempt of a job must return the same result; filter by a column"
)


def check(tree: Json, source: Source, inputs: Iterable[str]) -> None:
    """Raise SqlError for the first part or name that no query may contain."""
    statements = tree["statements"]
    if len(statements) != 1:
        raise SqlError(f"{len(statements)} statements are given; {_ONE}")
    _Validator(source, sorted(inputs)).walk(statements[0]["node"])


def session_words(tree: Json) -> dict[int, str]:
    """Return the places, in bytes, of names that mean a column or else the session, and why the latter is refused.

    DuckDB makes a constant of `current_user` and its like where no column has that name.
    """
    found = {}
    for node in objects(tree):
        if (
            node.get("class") == "COLUMN_REF"
            and len(node["column_names"]) == 1
            and node["query_location"] < INVALID_INDEX
        ):
            why = names.refusal(node["column_names"][0])
            if why:
                found[node["query_location"]] = why
    return found


class _Validator:
    def __init__(self, source: Source, inputs: list[str]) -> None:
        self.source = source
        self.inputs = inputs
        self.known = {name.lower() for name in inputs}

    def walk(self, root: Json) -> None:
        nodes = list(objects(root))
        self.known |= {str(key).lower() for node in nodes for key in _cte_names(node)}
        for node in nodes:
            self.check(node)

    def place(self, node: Json) -> Place | None:
        return self.source.place(node["query_location"], node["query_location_length"])

    def check(self, node: Json) -> None:
        kind = node.get("type")
        if "select_list" in node or (isinstance(kind, str) and kind.endswith("_NODE")):
            self.query(node, str(kind))
        elif "sample" in node and "query_location" in node:
            self.table(node, str(kind))
        elif node.get("class") in ("FUNCTION", "WINDOW") and node.get("qualified_name"):
            self.function(node)
        elif node.get("class") == "COLLATE" and node["collation"].lower() not in BYTEWISE:
            raise SqlError(no_collation(node["collation"]), self.place(node))
        elif node.get("class") in ("PARAMETER", "DEFAULT"):
            raise SqlError(
                "a parameter is written by its name, as in :since, and has a value in spec.parameters", self.place(node)
            )

    def query(self, node: Json, kind: str) -> None:
        if kind not in _NODES:
            word = _WRITES.get(kind, kind.removesuffix("_NODE").replace("_", " "))
            raise SqlError(f"{word} is refused: {_ONE}")
        if node.get("sample"):
            raise SqlError(_SAMPLED)
        if node.get("key_targets"):
            raise SqlError("USING KEY of a recursive query is not supported: use UNION and aggregate its result")

    def table(self, node: Json, kind: str) -> None:
        place = self.place(node)
        if node["sample"]:
            raise SqlError(_SAMPLED, place)
        if node.get("at_clause"):
            raise SqlError("AT (...) is refused: set the version of an input in its source", place)
        if kind not in _TABLES:
            raise SqlError(f"{_SHOWS.get(kind, kind.replace('_', ' '))} is refused: {_ONE}", place)
        if kind == "BASE_TABLE":
            self.name(node, place)
        if kind == "JOIN" and node["ref_type"] == "POSITIONAL":
            raise SqlError("POSITIONAL JOIN is refused: rows have no order; join on a column", place)
        if kind == "JOIN" and node.get("ranking_expression"):
            raise SqlError("a join with the nearest rows is not supported: use ASOF JOIN or a window function", place)
        if kind == "TABLE_FUNCTION" and (name := _path(node["function"])[-1].lower()) not in TABLE_FUNCTIONS:
            raise SqlError(
                f"the table function {name} is refused: a query reads only the job's inputs ({self.list()})", place
            )
        if kind == "PIVOT":
            self.pivot(node, place)

    def pivot(self, node: Json, place: Place | None) -> None:
        """PIVOT without IN (...) would have to look into the data first."""
        for pivot in node["pivots"]:
            if not pivot["entries"] or pivot["pivot_enum"]:
                raise SqlError("PIVOT needs the values of its columns: ON column IN ('a', 'b')", place)

    def name(self, node: Json, place: Place | None) -> None:
        path = _path(node)
        if len(path) > 1:
            raise SqlError(
                f'"{".".join(path)}" is refused: tables have no database or schema, only the name of an input', place
            )
        if path[0].lower() not in self.known:
            raise SqlError(
                f'table "{path[0]}" is not an input of the job (known: {self.list()})'
                + did_you_mean(path[0], (*self.inputs, *(n for n in self.known if n not in self.inputs))),
                place,
            )

    def function(self, node: Json) -> None:
        path = _path(node)
        place = self.place(node)
        if len(path) > 1:
            raise SqlError(f"{'.'.join(path)}() is refused: functions have no schema, only a name", place)
        if path[0] == VARIABLE and self.source.parameter(node["query_location"]):
            return
        if why := names.refusal(path[0]):
            raise SqlError(why, place)

    def list(self) -> str:
        return ", ".join(self.inputs) or "none"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "orders"?` or nothing. Letters' case is no difference."""
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f'; did you mean "{by_lower[near[0]]}"?' if near else ""


def _path(node: Json) -> list[str]:
    return list(node["qualified_name"]["path"])


def _cte_names(node: Json) -> Iterator[str]:
    if isinstance(node.get("cte_map"), dict):
        for entry in node["cte_map"]["map"]:
            yield entry["key"]
    if node.get("cte_name"):
        yield node["cte_name"]
