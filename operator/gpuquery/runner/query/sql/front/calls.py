"""The places of aggregates and window functions in the text, which DuckDB 2.0's bound plan does not have.

A call is identified by its name and the columns among its arguments. Calls with equal ones are the same computation,
or at least one of the places where the author wrote it.
"""

from __future__ import annotations

from typing import Any

from gpuquery.runner.query.sql.front import names
from gpuquery.runner.query.sql.front.source import INVALID_INDEX
from gpuquery.runner.query.sql.front.tree import objects

Json = dict[str, Any]
Signature = tuple[str, tuple[str, ...]]


ONLY = ("*",)
"""Stands for the arguments of a call whose name the text has once."""


def places(tree: Json) -> dict[Signature, tuple[int, int]]:
    """Return the places of the calls in a syntax tree, as offset and length in bytes, by their signatures."""
    found: dict[Signature, tuple[int, int]] = {}
    by_name: dict[str, set[tuple[int, int]]] = {}
    for node in objects(tree):
        if node.get("class") in ("FUNCTION", "WINDOW") and node["query_location"] < INVALID_INDEX:
            arguments = [item.get("expression", item) for item in node.get("arguments", ())]
            columns = tuple((a.get("column_names") or [""])[-1].lower() for a in arguments)
            at = (node["query_location"], node["query_location_length"])
            name = _name(node["function_name"])
            found.setdefault((name, columns), at)
            by_name.setdefault(name, set()).add(at)
    return found | {(name, ONLY): at.pop() for name, at in by_name.items() if len(at) == 1}


def signature(json: Json) -> Signature:
    """Return the signature of a call in the bound plan."""
    name = json["qname"]["path"][-1] if "qname" in json else json["type"].removeprefix("WINDOW_")
    columns = tuple(_column(child) for child in json["children"])
    return _name(name), columns


def _column(json: Json) -> str:
    """The name of a column, also where it is only cast."""
    while json.get("type") == "OPERATOR_CAST":
        json = json["children"][0]
    return str(json["alias"]).lower() if json["expression_class"] == "BOUND_REF" else ""


def _name(name: str) -> str:
    name = {"rank_dense": "dense_rank"}.get(name.lower(), name.lower())
    return names.AGGREGATES.get(name, name)
