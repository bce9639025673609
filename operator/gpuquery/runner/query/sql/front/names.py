"""Names of functions: DuckDB's aliases become one name, and what no query may call is refused.

The source of the aliases is DuckDB 2.0's own catalogue (`duckdb_functions()`), of what is refused its column
`stability` and the sort of the function. Which of the other functions can be run is the table of functions' affair.
"""

from __future__ import annotations

OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "||"})

ALIASES = {
    "**": "power",
    "^": "power",
    "pow": "power",
    "@": "abs",
    "~~": "like",
    "like_escape": "like",
    "~~*": "ilike",
    "ilike_escape": "ilike",
    "~~~": "glob",
    "^@": "starts_with",
    "prefix": "starts_with",
    "suffix": "ends_with",
    "!__postfix": "factorial",
    "@>": "list_has_all",
    "&&": "list_has_any",
    "<->": "list_distance",
    "<=>": "list_cosine_distance",
    "array_extract": "list_extract",
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "//",
    "mod": "%",
    "aggregate": "list_aggregate",
    "apply": "list_transform",
    "array_aggr": "list_aggregate",
    "array_aggregate": "list_aggregate",
    "array_apply": "list_transform",
    "array_cat": "list_concat",
    "array_concat": "list_concat",
    "array_contains": "list_contains",
    "array_distinct": "list_distinct",
    "array_dot_product": "list_inner_product",
    "array_inner_product": "list_inner_product",
    "array_filter": "list_filter",
    "array_grade_up": "list_grade_up",
    "array_has": "list_contains",
    "array_has_all": "list_has_all",
    "array_has_any": "list_has_any",
    "array_indexof": "list_position",
    "array_intersect": "list_intersect",
    "array_position": "list_position",
    "array_reduce": "list_reduce",
    "array_resize": "list_resize",
    "array_reverse_sort": "list_reverse_sort",
    "array_select": "list_select",
    "array_slice": "list_slice",
    "array_sort": "list_sort",
    "array_transform": "list_transform",
    "array_unique": "list_unique",
    "array_where": "list_where",
    "array_zip": "list_zip",
    "base64": "to_base64",
    "ceiling": "ceil",
    "char_length": "length",
    "character_length": "length",
    "datediff": "date_diff",
    "datepart": "date_part",
    "datesub": "date_sub",
    "datetrunc": "date_trunc",
    "dayofmonth": "day",
    "editdist3": "levenshtein",
    "filter": "list_filter",
    "formatreadablesize": "format_bytes",
    "from_binary": "unbin",
    "from_hex": "unhex",
    "gcd": "greatest_common_divisor",
    "grade_up": "list_grade_up",
    "lcase": "lower",
    "lcm": "least_common_multiple",
    "len": "length",
    "list_aggr": "list_aggregate",
    "list_apply": "list_transform",
    "list_cat": "list_concat",
    "list_dot_product": "list_inner_product",
    "list_element": "list_extract",
    "list_has": "list_contains",
    "list_indexof": "list_position",
    "list_pack": "list_value",
    "mismatches": "hamming",
    "ord": "unicode",
    "position": "strpos",
    "instr": "strpos",
    "reduce": "list_reduce",
    "regexp_split_to_array": "string_split_regex",
    "roundbankers": "round_even",
    "split": "string_split",
    "str_split": "string_split",
    "str_split_regex": "string_split_regex",
    "string_to_array": "string_split",
    "struct_has": "struct_contains",
    "struct_indexof": "struct_position",
    "substr": "substring",
    "to_binary": "bin",
    "to_hex": "hex",
    "ucase": "upper",
    "unpivot_list": "list_value",
    "weekofyear": "week",
    "weekday": "dayofweek",
}
"""Scalar functions."""

AGGREGATES = {
    "count_star": "count",
    "arbitrary": "first",
    "argmax": "arg_max",
    "argmin": "arg_min",
    "array_agg": "list",
    "countif": "count_if",
    "fsum": "kahan_sum",
    "sumkahan": "kahan_sum",
    "group_concat": "string_agg",
    "listagg": "string_agg",
    "max_by": "arg_max",
    "mean": "avg",
    "min_by": "arg_min",
    "quantile": "quantile_disc",
    "stddev": "stddev_samp",
    "variance": "var_samp",
}

BINDERS_OWN = frozenset({"error", "unpivot_list", "struct_pack"})
"""What DuckDB's binder puts in itself: an error for a sub-query of several rows, the lists of UNPIVOT."""

NEGATED = {"!~~": "like", "not_like_escape": "like", "!~~*": "ilike", "not_ilike_escape": "ilike"}
"""Functions that are NOT of another one."""

NOW = frozenset(
    {
        "now",
        "get_current_timestamp",
        "transaction_timestamp",
        "current_date",
        "today",
        "current_localtimestamp",
        "current_localtime",
        "get_current_time",
    }
)
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
