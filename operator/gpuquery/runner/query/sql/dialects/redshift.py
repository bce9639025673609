"""Redshift: PostgreSQL 8's SQL with functions of its own, and averages of whole numbers that are whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, parts, places, postgres, times
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import all_replaced
from gpuquery.runner.query.sql.dialects.rewriter import (
    Call,
    Dialect,
    Refused,
    Rule,
    duckdb_sql,
    outermost,
    same,
)
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.dialects.times import added

if TYPE_CHECKING:
    from collections.abc import Mapping


def dateadd(call: Call) -> exp.Expr:
    """DATEADD(month, 1, d): a timestamp."""
    call.count(3)
    return added(call.arguments[2], call.arguments[1], call.unit(0))


def datediff(call: Call) -> exp.Expr:
    """DATEDIFF(day, a, b): bounds of the unit that lie between the two."""
    call.count(3)
    unit = call.unit(0)
    if unit == "week":
        raise call.refuse("weeks begin on a Sunday there and on a Monday here: divide the days by 7")
    return duckdb_sql(f"date_diff('{unit}', {{0}}, {{1}})", call.arguments[1:])


def date_part(call: Call) -> exp.Expr:
    """DATE_PART(year, d)."""
    call.count(2)
    return times.part_of(call.dialect, call.arguments[0], call.arguments[1], {}, call.node)


def date_trunc(call: Call) -> exp.Expr:
    """DATE_TRUNC('month', d)."""
    call.count(2)
    return duckdb_sql(f"date_trunc('{call.unit(0)}', {{0}})", call.arguments[1:])


def average(call: Call) -> exp.Expr:
    """AVG, which is a whole number where its argument is one: the quotient of sum and count, by the rule of `/`."""
    call.count(1)
    total = duckdb_sql("sum({0})", call.arguments)
    total.meta.update(call.node.meta)
    call.node.replace(total)
    whole = outermost(total)
    counted = whole.copy()
    for part in counted.find_all(type(total)):
        if str(part.this) == "sum({0})":
            part.set("this", "count({0})")
            break
    made = duckdb_sql("({0} / nullif({1}, 0))")
    if places.SPAN in whole.meta:
        made.meta[places.SPAN] = whole.meta[places.SPAN]
    whole.replace(made)
    made.append("expressions", whole)
    made.append("expressions", counted)
    return total


def trunc(call: Call) -> exp.Expr:
    """TRUNC of a number; of a timestamp it is its day."""
    call.count(1, 2)
    if len(call.arguments) == 2:
        return duckdb_sql("trunc({0}, {1})", call.arguments)
    return duckdb_sql("gq_day_of({0})", call.arguments)


FUNCTIONS: Mapping[str, Rule] = {
    **postgres.FUNCTIONS,
    **same("last_day", "median", "round", "sign", "factorial", "trunc"),
    "div": Refused("write a / b, which is a whole number for whole numbers"),
    "avg": average,
    "concat": common.joined,
    "dateadd": dateadd,
    "date_add": dateadd,
    "datediff": datediff,
    "date_diff": datediff,
    "date_part": date_part,
    "date_part_year": "extract(year FROM {0})",
    "date_trunc": date_trunc,
    "add_months": "CAST(gq_add_months_to_the_end({0}, {1}) AS TIMESTAMP)",
    "months_between": Refused("write datediff(month, a, b) for whole months"),
    "getdate": "CAST(now() AS TIMESTAMP)",
    "sysdate": "CAST(now() AS TIMESTAMP)",
    "nvl": "coalesce({*})",
    "nvl2": "CASE WHEN {0} IS NOT NULL THEN {1} ELSE {2} END",
    "isnull": "coalesce({0}, {1})",
    "decode": common.decoded,
    "greatest": "greatest({*})",
    "least": "least({*})",
    "listagg": common.listed,
    "len": "length({0})",
    "charindex": "strpos({1}, {0})",
    "regexp_replace": all_replaced(dollars=True),
    "regexp_substr": {2: "regexp_extract({0}, {1})"},
    "regexp_count": "len(regexp_extract_all({0}, {1}))",
    "regexp_instr": Refused("write strpos, or regexp_substr"),
    "split_part": checked.split_part(),
    "trunc": trunc,
    "dlog10": "log10({0})",
    "log": checked.logarithm("log10({0})", checked.NO_LOGARITHM),
    "dexp": "exp({0})",
    "strtol": Refused("numbers of other bases are not supported here"),
    "to_number": Refused("write CAST(x AS DECIMAL(18, 2))"),
    "ratio_to_report": Refused("write x / sum(x) OVER (...)"),
    "convert_timezone": Refused("timestamps have no time zone here: store them in UTC"),
    "json_extract_path_text": Refused("JSON is not supported here"),
    "any_value": "any_value({0})",
}
NODES: dict[type[exp.Expr], Any] = {
    **postgres.NODES,
    exp.Extract: times.extracted({}),
    exp.Cast: cast({exp.DType.DECIMAL: "DECIMAL(18, 0)"}, cuts_texts=True, pads=True),
    exp.TryCast: cast({exp.DType.DECIMAL: "DECIMAL(18, 0)"}, cuts_texts=True, pads=True),
    exp.CurrentTimestamp: times.utc_now,
}

DIALECT = Dialect(
    name="redshift",
    title="Redshift",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN,
    integer_division=True,
    like_escape="\\",
    semantics=Semantics(division_fails=True, whole_texts=True, quotients="4 places or more"),
    macros=(
        *postgres.MACROS,
        "CREATE MACRO gq_day_of(x TIMESTAMP) AS CAST(x AS DATE), (x) AS trunc(x)",
        times.MONTHS_ADDED,
    ),
)
