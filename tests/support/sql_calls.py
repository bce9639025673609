"""Aggregates and window functions that generated statements call, as templates; `!` as in `sql_expressions`."""

from __future__ import annotations

AGGREGATES = (
    ("count({x})", "any"),
    ("count(DISTINCT {x})", "any"),
    ("count(*)", "any"),
    ("sum({x})", "int"),
    ("sum({x})", "dec"),
    ("sum(DISTINCT {x})", "int"),
    ("min({x})", "any"),
    ("max({x})", "any"),
    ("bool_and({x})", "bool"),
    ("bool_or({x})", "bool"),
    ("CAST(avg({x}) AS double precision)", "int"),
    ("CAST(avg({x}) AS double precision)", "dec"),
    ("sum({x})", "float"),
    ("avg({x})", "float"),
    ("CAST(stddev_samp({x}) + 1 AS double precision)", "dec"),
    ("CAST(var_pop({x}) + 1 AS double precision)", "int"),
    ("string_agg({x}, ',' ORDER BY {x})", "text"),
    ("sum(DISTINCT {x})", "dec"),
    ("!median({x})", "int"),
    ("!list({x} ORDER BY {x})", "int"),
    ("!count_if({x})", "bool"),
    ("!quantile_disc({x}, 0.25)", "dec"),
    ("!quantile_cont({x}, 0.75)", "float"),
    ("!arg_max({x}, {id})", "text"),
    ("!arg_min({x}, {id})", "dec"),
    ("!bit_xor({x})", "int"),
    ("!product({y})", "int"),
    ("!first({x} ORDER BY {id})", "any"),
    ("!avg(DISTINCT {x})", "int"),
    ("!CAST(corr({x}, {y}) AS double precision)", "float"),
)
"""`{x}` is an expression of the sort, `{y}` a number column's rest, `{id}` a unique column."""
RANKS = ("row_number()", "rank()", "dense_rank()", "percent_rank()", "cume_dist()", "ntile(3)")
OFFSETS = ("lag({x})", "lead({x})", "lag({x}, 2)", "lead({x}, 1, {x})", "!lag({x}, 1, NULL)", "!lag({x} IGNORE NULLS)")
PICKED = ("first_value({x})", "last_value({x})", "nth_value({x}, 2)", "!first_value({x} IGNORE NULLS)",
          "!last_value({x} IGNORE NULLS)", "!nth_value({x}, 2 IGNORE NULLS)")  # fmt: skip
SUMS = ("sum({n})", "count({x})", "count(*)", "min({x})", "max({x})", "avg({f})", "sum({d})", "!count(DISTINCT {x})",
        "count(*) FILTER (WHERE {bool})", "sum({n}) FILTER (WHERE {bool})", "!sum(DISTINCT {n})")  # fmt: skip
BOUNDS = (
    "UNBOUNDED PRECEDING",
    "2 PRECEDING",
    "1 PRECEDING",
    "CURRENT ROW",
    "1 FOLLOWING",
    "3 FOLLOWING",
    "UNBOUNDED FOLLOWING",
)
EXCLUDES = ("", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS")
