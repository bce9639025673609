"""The keys that DuckDB's plan may have, per operator and sort of expression: closed lists, for exactly one version.

DuckDB 2.0.1. A key with a set of values is one that we do not follow: any other value would mean something that would
be lost, so it is refused.
"""

from __future__ import annotations

from typing import Any

from gpuquery.runner.query.sql.errors import SqlError

Json = dict[str, Any]

_ANY = None
_EMPTY: tuple[Any, ...] = ([], None)
_WHERE = ("alias", "query_location", "query_location_length")
_CALLED = ("qname", "arguments", "has_serialize", "positional_arguments", "children", "return_type", "function_data")

_KEYS: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "LOGICAL_GET": {
        **dict.fromkeys(("table_index", "returned_types", "names", "projection_ids", "qname", "has_serialize")),
        **dict.fromkeys(("function_data", "column_indexes", "parameters", "input_table_types", "input_table_names")),
        **dict.fromkeys(("projected_input", "ordinality_idx", "source_ordinality", "table_filters_by_projection")),
        **dict.fromkeys(("positional_arguments", "extra_info")),
        "table_filters": ({"filters": [], "multi_column_filters": []},),
        "named_arguments": _EMPTY,
        "named_parameters": _EMPTY,
        "arguments": _ANY,
        "row_group_order_options": _EMPTY,
        "scan_partition_indices": _EMPTY,
        "has_pushed_projection": (False,),
        "at_clause": _EMPTY,
    },
    "LOGICAL_DUMMY_SCAN": {"table_index": _ANY},
    "LOGICAL_EMPTY_RESULT": {"return_types": _ANY, "bindings": _ANY},
    "LOGICAL_EXPRESSION_GET": {"table_index": _ANY, "expr_types": _ANY, "expressions": _ANY},
    "LOGICAL_CTE_REF": dict.fromkeys(("table_index", "cte_index", "chunk_types", "bound_columns", "is_recurring")),
    "LOGICAL_MATERIALIZED_CTE": dict.fromkeys(("table_index", "column_count", "ctename", "materialize")),
    "LOGICAL_RECURSIVE_CTE": {
        **dict.fromkeys(("table_index", "column_count", "ctename", "union_all", "internal_types")),
        "ref_recurring": (False,),
        "key_targets": _EMPTY,
        "payload_aggregates": _EMPTY,
    },
    **{
        f"LOGICAL_{kind}": dict.fromkeys(("table_index", "column_count", "setop_all", "allow_out_of_order"))
        for kind in ("UNION", "INTERSECT", "EXCEPT")
    },
    "LOGICAL_CROSS_PRODUCT": {},
    **{
        f"LOGICAL_{kind}_JOIN": {
            **dict.fromkeys(("join_type", "mark_index", "left_projection_map", "right_projection_map", "mark_types")),
            **dict.fromkeys(("conditions", "condition")),
            "delim_flipped": (False,),
            "duplicate_eliminated_columns": _EMPTY,
            "predicate": _EMPTY,
        }
        for kind in ("COMPARISON", "ASOF", "ANY")
    },
    "LOGICAL_FILTER": {"expressions": _ANY, "projection_map": _ANY},
    "LOGICAL_PROJECTION": {"table_index": _ANY, "expressions": _ANY},
    "LOGICAL_ORDER_BY": {"orders": _ANY, "projections": _ANY, "is_index_sort": (False,)},
    "LOGICAL_AGGREGATE_AND_GROUP_BY": {
        **dict.fromkeys(("expressions", "group_index", "aggregate_index", "groupings_index", "groups")),
        **dict.fromkeys(("grouping_sets", "grouping_functions", "distinct_validity")),
    },
    "LOGICAL_WINDOW": {"window_index": _ANY, "expressions": _ANY},
    "LOGICAL_LIMIT": dict.fromkeys(("limit_val", "offset_val", "unpruned_offset")),
    "LOGICAL_DISTINCT": dict.fromkeys(("distinct_type", "distinct_targets", "order_by")),
    "LOGICAL_UNNEST": {"unnest_index": _ANY, "expressions": _ANY},
}
_EXPRESSIONS: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "BOUND_REF": dict.fromkeys(("return_type", "index")),
    "BOUND_COLUMN_REF": dict.fromkeys(("return_type", "binding", "depth")),
    "BOUND_CONSTANT": {"value": _ANY},
    "BOUND_CONJUNCTION": {"children": _ANY},
    "BOUND_OPERATOR": dict.fromkeys(("return_type", "children")),
    "BOUND_CASE": dict.fromkeys(("return_type", "case_checks", "else_expr")),
    "BOUND_FUNCTION": dict.fromkeys((*_CALLED, "named_arguments", "is_operator")),
    "BOUND_LAMBDA": {
        **dict.fromkeys(("return_type", "lambda_expr", "parameter_count", "parameter_names")),
        "captures": _EMPTY,
    },
    "BOUND_AGGREGATE": {
        **dict.fromkeys((*_CALLED, "aggregate_type", "filter", "order_bys")),
        "named_arguments": _EMPTY,
        "state_export": ("NONE",),
    },
    "BOUND_WINDOW": {
        **dict.fromkeys((*_CALLED, "partitions", "orders", "filters", "ignore_nulls", "start", "end", "start_expr")),
        **dict.fromkeys(("end_expr", "exclude_clause", "distinct", "arg_orders", "sql_range_start", "sql_range_end")),
        **dict.fromkeys(("sql_range_order_type", "sql_range_start_boundary", "sql_range_end_boundary")),
        **dict.fromkeys(("sql_range_order_casts",)),
        "named_arguments": _EMPTY,
        "offset_expr": _EMPTY,
        "default_expr": _EMPTY,
    },
    "BOUND_UNNEST": dict.fromkeys(("return_type", "child")),
}
_KEYS |= {kind: dict.fromkeys((*_WHERE, "expression_class")) | keys for kind, keys in _EXPRESSIONS.items()}


def check_keys(kind: str, json: Json) -> None:
    """Raise SqlError for an operator, or a part of one, that our plan has no counterpart for."""
    if kind not in _KEYS:
        words = kind.removeprefix("LOGICAL_").removeprefix("BOUND_").replace("_", " ").lower()
        raise SqlError(f"a part of the statement is not supported here ({words})")
    known = _KEYS[kind]
    for key, value in json.items():
        if key in ("type", "children"):
            continue
        if key not in known:
            raise SqlError(f"a part of the query's plan is not supported ({kind.lower()}: {key})")
        allowed = known[key]
        if allowed is not None and value not in allowed:
            raise SqlError(f"a part of the query's plan is not supported ({kind.lower()}: {key} is {value!r})")
