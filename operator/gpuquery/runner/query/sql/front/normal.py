"""The normal form of a statement: its syntax tree without places, so white space, comments and case do not count.

The case of names does: it shows in the names of the result's columns.
"""

from __future__ import annotations

import json
from typing import Any

from gpuquery.runner.query.sql.front.tree import objects

_PLACES = frozenset({"query_location", "query_location_length"})
CLOCKS = frozenset(
    {
        "now", "get_current_timestamp", "transaction_timestamp", "current_date", "today", "current_timestamp",
        "current_localtimestamp", "current_localtime", "current_time", "localtime", "localtimestamp",
        "get_current_time",
    }
)  # fmt: skip
"""Functions of the current time. Some are written without parentheses: then they look like columns."""
_WITHOUT_CALL = frozenset({"current_date", "current_timestamp", "current_time", "localtime", "localtimestamp"})


def normal_form(tree: dict[str, Any]) -> str:
    """Return a syntax tree of DuckDB as a text that is the same for the same statement."""
    return json.dumps(_bare(tree), sort_keys=True, ensure_ascii=True)


def clock(tree: dict[str, Any]) -> str:
    """Return the name of a function of the current time that a statement calls; empty if it calls none."""
    for node in objects(tree):
        kind = node.get("class")
        if kind == "FUNCTION":
            name = str(node.get("function_name", "")).lower()
            if name in CLOCKS or (name == "age" and len(node.get("arguments", ())) == 1):
                return f"{name}()"
        elif kind == "COLUMN_REF" and (name := ".".join(node.get("column_names", ())).lower()) in _WITHOUT_CALL:
            return name
    return ""


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if key not in _PLACES}
    return [_bare(item) for item in value] if isinstance(value, list) else value
