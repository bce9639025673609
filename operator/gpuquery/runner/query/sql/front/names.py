"""Names of functions: DuckDB's aliases become one name, and what no query may call is refused.

The source of the aliases is DuckDB 2.0's own catalogue (`duckdb_functions()`), of what is refused its column
`stability` and the sort of the function. Which of the other functions can be run is the table of functions' affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "||"})


def _by_alias(names: Mapping[str, str]) -> dict[str, str]:
    """Return the name for each of its aliases, which stand in one text."""
    return {alias: name for name, aliases in names.items() for alias in aliases.split()}


ALIASES = _by_alias({
    "power": "** ^ pow", "abs": "@", "like": "~~ like_escape", "ilike": "~~* ilike_escape", "glob": "~~~",
    "starts_with": "^@ prefix", "ends_with": "suffix", "factorial": "!__postfix", "list_has_all": "@> array_has_all",
    "list_has_any": "&& array_has_any", "list_distance": "<->", "list_cosine_distance": "<=>",
    "list_extract": "array_extract list_element", "+": "add", "-": "subtract", "*": "multiply", "//": "divide",
    "%": "mod", "list_aggregate": "aggregate array_aggr array_aggregate list_aggr",
    "list_transform": "apply array_apply array_transform list_apply",
    "list_concat": "array_cat array_concat list_cat", "list_contains": "array_contains array_has list_has",
    "list_distinct": "array_distinct", "list_inner_product": "array_dot_product array_inner_product list_dot_product",
    "list_filter": "array_filter filter", "list_grade_up": "array_grade_up grade_up",
    "list_position": "array_indexof array_position list_indexof", "list_intersect": "array_intersect",
    "list_reduce": "array_reduce reduce", "list_resize": "array_resize", "list_reverse_sort": "array_reverse_sort",
    "list_select": "array_select", "list_slice": "array_slice", "list_sort": "array_sort",
    "list_unique": "array_unique", "list_where": "array_where", "list_zip": "array_zip", "to_base64": "base64",
    "ceil": "ceiling", "length": "char_length character_length len", "date_diff": "datediff", "date_part": "datepart",
    "date_sub": "datesub", "date_trunc": "datetrunc", "day": "dayofmonth", "levenshtein": "editdist3",
    "format_bytes": "formatreadablesize", "unbin": "from_binary", "unhex": "from_hex",
    "greatest_common_divisor": "gcd", "lower": "lcase", "least_common_multiple": "lcm",
    "list_value": "list_pack unpivot_list", "hamming": "mismatches", "unicode": "ord", "strpos": "position instr",
    "string_split_regex": "regexp_split_to_array str_split_regex", "round_even": "roundbankers",
    "string_split": "split str_split string_to_array", "struct_contains": "struct_has",
    "struct_position": "struct_indexof", "substring": "substr", "bin": "to_binary", "hex": "to_hex", "upper": "ucase",
    "week": "weekofyear", "dayofweek": "weekday",
})  # fmt: skip
"""Scalar functions."""

AGGREGATES = _by_alias({
    "count": "count_star", "first": "arbitrary", "arg_max": "argmax max_by", "arg_min": "argmin min_by",
    "list": "array_agg", "count_if": "countif", "kahan_sum": "fsum sumkahan", "string_agg": "group_concat listagg",
    "avg": "mean", "quantile_disc": "quantile", "stddev_samp": "stddev", "var_samp": "variance",
})  # fmt: skip

BINDERS_OWN = frozenset({"error", "unpivot_list", "struct_pack"})
"""What DuckDB's binder puts in itself: an error for a sub-query of several rows, the lists of UNPIVOT."""

NEGATED = {"!~~": "like", "not_like_escape": "like", "!~~*": "ilike", "not_ilike_escape": "ilike"}
"""Functions that are NOT of another one."""

NOW = frozenset({
    "now", "get_current_timestamp", "transaction_timestamp", "current_date", "today", "current_localtimestamp",
    "current_localtime", "get_current_time",
})  # fmt: skip
"""Functions of the moment: each becomes a constant of the job's start."""

_RANDOM = frozenset({"random", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "reservoir_quantile"})
_SESSION = frozenset(
    {
        *("current_catalog", "current_connection_id", "current_database", "current_query", "current_query_id"),
        *("current_role", "current_schema", "current_schemas", "current_setting", "current_transaction_id"),
        *("current_user", "get_block_size", "in_search_path", "inet_client_addr", "inet_client_port"),
        *("inet_server_addr", "inet_server_port", "pg_conf_load_time", "pg_has_role", "pg_is_other_temp_schema"),
        *("pg_my_temp_schema", "pg_postmaster_start_time", "session_user", "txid_current", "user", "version"),
        *("col_description", "obj_description", "shobj_description", "map_to_pg_oid", "map_type_id_to_pg_oid"),
        *("format_pg_type", "format_type", "pg_get_constraintdef", "pg_get_expr", "pg_get_viewdef"),
    }
)
_SYSTEM = frozenset(
    {
        *("getvariable", "nextval", "currval", "setval", "sleep_ms", "pg_sleep", "write_log", "stats", "vector_type"),
        *("constant_or_null", "create_sort_key", "icu_sort_key", "index_key", "invoke"),
        *("parse_duckdb_log_message", "remap_struct", "unpivot_list", "to_aggregate_state", "finalize", "combine"),
        *("combine_aggr", "cast_to_type", "can_cast_implicitly", "get_type", "make_type", "replace_type", "typeof"),
        *("pg_typeof", "alias", "json_serialize_plan", "json_serialize_sql", "json_deserialize_sql"),
        *("json_execute_serialized_sql", "getenv", "query", "query_table", "decimal_division", "decimal_average"),
    }
)
_SYSTEM_PREFIXES = ("__", "has_", "pg_", "collate_", "icu_", "duckdb_", "pragma_", "bitstring_byte", "timetz_byte")


def refusal(name: str) -> str | None:
    """Return why no query may call a function, with the way out; None for one that the table of functions decides."""
    name = name.lower()
    if name in _RANDOM:
        return f"{name}() is refused: every attempt of a job must return the same result; pass the value as a parameter"
    if name in _SESSION:
        return f"{name}() is refused: it depends on a session, and a query reads only the job's inputs; use a parameter"
    if name in _SYSTEM or name.startswith(_SYSTEM_PREFIXES):
        return f"{name}() is refused: a query reads only the job's inputs, with functions of their values"
    return None
