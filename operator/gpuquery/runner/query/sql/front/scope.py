"""The names in scope at a place of the syntax tree, for messages about an unknown name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.front.source import INVALID_INDEX
from gpuquery.runner.query.sql.front.tree import objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.runner.query.sql.front.source import Source
    from gpuquery.runner.query.sql.types import Columns

Json = dict[str, Any]


def columns_around(tree: Json, position: int | None, schemas: Mapping[str, Columns]) -> dict[str, list[str]]:
    """Return the columns of the tables in FROM of the innermost SELECT that holds a place, and of those around it.

    A place is an offset in bytes, as the tree has it. Tables are named as the SELECT names them.
    """
    inputs = {name.lower(): list(columns) for name, columns in schemas.items()}
    shared: dict[str, Json] = {}
    for key, value in _shared(tree):
        shared.setdefault(key.lower(), value)
    found: dict[str, list[str]] = {}
    for select in reversed(_selects(tree, position)):
        for alias, columns in _tables(select.get("from_table"), inputs, shared):
            found.setdefault(alias, columns)
    return found


def named_columns(tree: Json) -> set[str]:
    """Return the names that columns, and what stands before them, have anywhere in the text, in lower case."""
    return {str(n).lower() for node in objects(tree) if node.get("class") == "COLUMN_REF" for n in node["column_names"]}


def star(tree: Json) -> tuple[int, int] | None:
    """Return where `*` stands, as offset and length in bytes, if there is exactly one."""
    found = {(n["query_location"], n["query_location_length"]) for n in objects(tree) if n.get("class") == "STAR"}
    return found.pop() if len(found) == 1 else None


def place_of(tree: Json, name: str) -> tuple[int, int] | None:
    """Return where a name stands, in any case, as offset and length in bytes, if one part of the tree alone has it."""
    found = set()
    for node in objects(tree):
        said = [*node.get("column_names", ()), *(node.get("qualified_name") or {}).get("path", ()), node.get("alias")]
        said.append((node.get("literal") or {}).get("text"))
        same = any(isinstance(one, str) and one.lower() == name.lower() for one in said)
        if same and node.get("query_location", INVALID_INDEX) < INVALID_INDEX:
            found.add((node["query_location"], node["query_location_length"]))
    return found.pop() if len(found) == 1 else None


def parameter_at(tree: Json, position: int, source: Source) -> str | None:
    """Return the parameter that is an argument of the operator or function at a place."""
    for node in objects(tree):
        if node.get("query_location") == position and "class" in node:
            for child in _children(node):
                if child.get("class") == "FUNCTION" and (name := source.parameter(child["query_location"])):
                    return name
    return None


def _children(node: Json) -> Iterator[Json]:
    for value in node.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield item.get("expression", item)


def _selects(tree: Json, position: int | None) -> list[Json]:
    """The SELECTs around a place, the outermost one first; without a place the outermost one of all."""
    best: list[Json] = []
    waiting: list[tuple[Any, list[Json]]] = [(tree, [])]
    while waiting:
        node, around = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, around) for item in node)
        if not isinstance(node, dict):
            continue
        if node.get("type") == "SELECT_NODE":
            around = [*around, node]
            if position is None and not best:
                return around
        if position is not None and node.get("query_location") == position and len(around) > len(best):
            best = around
        waiting.extend((value, around) for value in node.values())
    return best


def _shared(tree: Json) -> Iterator[tuple[str, Json]]:
    for node in objects(tree):
        if isinstance(node.get("cte_map"), dict):
            for entry in node["cte_map"]["map"]:
                yield entry["key"], entry["value"]


def _tables(
    table: Json | None, inputs: Mapping[str, list[str]], shared: Mapping[str, Json]
) -> Iterator[tuple[str, list[str]]]:
    if table is None:
        return
    match table["type"]:
        case "JOIN":
            yield from _tables(table["left"], inputs, shared)
            yield from _tables(table["right"], inputs, shared)
        case "BASE_TABLE":
            name = table["qualified_name"]["path"][-1]
            columns = inputs.get(name.lower(), [])
            if entry := shared.get(name.lower()):
                columns = entry["aliases"] or _selected(entry["query_node"])
            yield table["alias"] or name, table["column_name_alias"] or columns
        case "SUBQUERY":
            yield table["alias"] or "sub-query", table["column_name_alias"] or _selected(table["subquery"]["node"])
        case _:
            if table.get("alias"):
                yield table["alias"], table.get("column_name_alias") or []


def _selected(node: Json) -> list[str]:
    """Names of a query's columns, as far as the text says them."""
    while node.get("type") == "SET_OPERATION_NODE":
        node = node["children"][0]
    found = []
    for item in node.get("select_list", []):
        if item["alias"]:
            found.append(item["alias"])
        elif item["class"] == "COLUMN_REF":
            found.append(item["column_names"][-1])
    return found
