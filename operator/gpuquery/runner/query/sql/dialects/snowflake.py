"""Snowflake, with its defaults: weeks begin on a Monday, times have no zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, formats, parts, places, times
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import COUNT_IF, all_replaced, found_or_null
from gpuquery.runner.query.sql.dialects.rewriter import Aggregate, Call, Dialect, Refused, Rule, duckdb_sql, same
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.dialects.times import formatted
from gpuquery.runner.query.sql.dialects.trino import MACROS
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_pattern = formatted(formats.SNOWFLAKE, any_case=True)
_JSON = Refused("semi-structured values are not supported here: store them as columns")


def to_char(call: Call) -> exp.Expr:
    """TO_CHAR and TO_VARCHAR: of any value, of a time with a pattern."""
    call.count(1, 2)
    if len(call.arguments) == 1:
        return duckdb_sql("CAST({0} AS VARCHAR)", call.arguments)
    return duckdb_sql(f"strftime({{0}}, {_pattern(call, 1)})", call.arguments)


def to_time(kind: str, word: str = "CAST") -> Callable[[Call], exp.Expr]:
    """Return TO_DATE or TO_TIMESTAMP: of a text or a time, of a text with a pattern."""

    def translate(call: Call) -> exp.Expr:
        call.count(1, 2)
        if len(call.arguments) == 1:
            return duckdb_sql(f"{word}({{0}} AS {kind})", call.arguments)
        parse = "try_strptime" if word == "TRY_CAST" else "strptime"
        read = times.read_by(_pattern(call, 1), century="gq_from_1970", parse=parse)
        return duckdb_sql(f"CAST({read} AS {kind})", call.arguments)

    return translate


def to_number(word: str) -> Callable[[Call], exp.Expr]:
    """Return TO_NUMBER(x, 10, 2)."""

    def translate(call: Call) -> exp.Expr:
        call.count(1, 2, 3)
        digits, places_ = call.number(1) or 38, call.number(2) or 0
        if any(not isinstance(one, exp.Literal) or one.is_string for one in call.arguments[1:]):
            raise call.refuse("a pattern is not supported here")
        return duckdb_sql(f"{word}({{0}} AS DECIMAL({digits}, {places_}))", call.arguments[:1])

    return translate


def dateadd(call: Call) -> exp.Expr:
    """DATEADD(day, 7, d): a day where d is one."""
    call.count(3)
    unit = call.unit(0)
    if unit in ("hour", "minute", "second", "millisecond", "microsecond"):
        return times.added(call.arguments[2], call.arguments[1], unit)
    return duckdb_sql(f"gq_add_{unit}s({{1}}, {{0}})", call.arguments[1:])


def datediff(call: Call) -> exp.Expr:
    """DATEDIFF(day, a, b): bounds of the unit that lie between the two."""
    call.count(3)
    unit = call.unit(0)
    return (
        times.weeks(call.arguments[1:])
        if unit == "week"
        else duckdb_sql(f"date_diff('{unit}', {{0}}, {{1}})", call.arguments[1:])
    )


def date_trunc(call: Call) -> exp.Expr:
    """DATE_TRUNC(month, d): a day where d is one."""
    call.count(2)
    return duckdb_sql(f"gq_date_trunc('{call.unit(0)}', {{0}})", call.arguments[1:])


def trunc(call: Call) -> exp.Expr:
    """TRUNC of a number."""
    call.count(1, 2)
    if len(call.arguments) == 2 and isinstance(call.arguments[1], exp.Literal) and call.arguments[1].is_string:
        return duckdb_sql(f"gq_date_trunc('{call.unit(1)}', {{0}})", call.arguments[:1])
    return duckdb_sql("trunc({*})", call.arguments)


def date_part(call: Call) -> exp.Expr:
    """DATE_PART(year, d)."""
    call.count(2)
    return times.part_of(call.dialect, call.arguments[0], call.arguments[1], {}, call.node)


def array_slice(call: Call) -> exp.Expr:
    """ARRAY_SLICE(x, from, to): places from 0, without the last."""
    call.count(3)
    if any((number := call.number(i)) is None or number < 0 for i in (1, 2)):
        raise call.refuse("its places must not be negative")
    return duckdb_sql("({0})[{1} + 1:{2}]", call.arguments)


def concat_ws(call: Call) -> exp.Expr:
    """CONCAT_WS, which is NULL with one NULL."""
    filled = " AND ".join(f"{{{i}}} IS NOT NULL" for i in range(len(call.arguments)))
    return duckdb_sql(f"CASE WHEN {filled} THEN concat_ws({{*}}) END", call.arguments)


def text_of(dialect: Dialect, node: exp.Cast) -> exp.Expr:
    """CAST; what is longer than VARCHAR(n) fails, and is not cut."""
    made = CAST(dialect, node)
    length = next((p.name for p in node.to.find_all(exp.DataTypeParam)), "")
    if node.to.this not in (exp.DType.VARCHAR, exp.DType.CHAR, exp.DType.NVARCHAR, exp.DType.NCHAR) or not length:
        return made
    bad = checked.failing(f"the value is longer than {length} characters")
    return duckdb_sql(f"CASE WHEN length({{0}}) > {length} THEN {bad} ELSE {{0}} END", [made])


def flatten(call: Call) -> exp.Expr:
    """FLATTEN(INPUT => x): the elements of a list."""
    named = {one.this.name.lower(): one.expression for one in call.arguments if isinstance(one, exp.Kwarg)}
    if set(named) - {"input"} or "input" not in named:
        raise call.refuse("it is supported as FLATTEN(INPUT => list)")
    return duckdb_sql("unnest({0})", [named["input"]])


def lateral(dialect: Dialect, node: exp.Lateral) -> exp.Expr:
    """LATERAL FLATTEN(INPUT => x) f, of which f.value is known."""
    if isinstance(node.this, exp.Subquery):
        return node
    if node.this.key != "duckdbsql":
        raise SqlError(f"{dialect.title}'s LATERAL is supported only with FLATTEN and queries", places.place(node))
    alias = node.args.get("alias")
    name = alias.this if alias is not None and alias.this is not None else exp.to_identifier("flattened")
    return duckdb_sql(f"{{0}} AS {name.sql(dialect='duckdb')}(value)", [node.this])


def table(dialect: Dialect, node: exp.Table) -> exp.Expr:
    """TABLE(FLATTEN(INPUT => x)) f."""
    inner = node.this
    if inner.key == "duckdbsql" and str(inner.this).startswith("unnest("):
        alias = node.args.get("alias")
        name = alias.this if alias is not None and alias.this is not None else exp.to_identifier("flattened")
        return duckdb_sql(f"{{0}} AS {name.sql(dialect='duckdb')}(value)", [inner])
    return parts.table(dialect, node)


def window(_: Dialect, node: exp.Window) -> exp.Expr:
    """FIRST_VALUE, LAST_VALUE and NTH_VALUE see the whole partition where no frame is written."""
    call = node.this
    head = str(call.this).partition("(")[0] if call.key == "duckdbsql" else ""
    if head in ("first_value", "last_value", "nth_value") and node.args.get("spec") is None:
        whole = exp.WindowSpec(
            kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="UNBOUNDED", end_side="FOLLOWING"
        )
        node.set("spec", whole)
    return node


def try_cast(dialect: Dialect, node: exp.TryCast) -> exp.Expr:
    """TRY_CAST."""
    return CAST(dialect, node)


STARTED = checked.started(before=f"CASE WHEN -({{1}}) > length({{0}}) THEN {checked.BEFORE_THE_FIRST} ELSE {{1}} END")
FUNCTIONS: Mapping[str, Rule] = {
    **common.FUNCTIONS,
    **same(
        "length", "ascii", "chr", "cbrt", "factorial", "last_day", "dayofmonth", "dayofyear", "quarter", "year",
        "month", "hour", "minute", "second", "bool_and", "median", "mode", "contains", "regr_slope",
        "regr_intercept", "regr_r2", "regr_count", "kurtosis", "skew",
    ),
    **checked.MATHEMATICS,
    "concat_ws": concat_ws,
    "left": checked.side("left"),
    "right": checked.side("right"),
    "skew": "skewness({0})",
    "day": "day({0})",
    "len": "length({0})",
    "count": common.counted,
    "count_if": COUNT_IF,
    "array_agg": Aggregate("list({0})", skips_nulls=True, outer="coalesce({0}, [])"),
    "array_unique_agg": Aggregate("list(DISTINCT {0})", skips_nulls=True, outer="coalesce({0}, [])"),
    "listagg": common.listed,
    "string_agg": common.listed,
    "booland_agg": "bool_and({0})",
    "boolor_agg": "bool_or({0})",
    "bitand_agg": "bit_and({0})",
    "bitor_agg": "bit_or({0})",
    "max_by": {2: "arg_max_null({0}, {1})"},
    "min_by": {2: "arg_min_null({0}, {1})"},
    "approx_count_distinct": "count(DISTINCT {0})",
    "hll": "count(DISTINCT {0})",
    "approx_percentile": "quantile_cont({0}, {1})",
    "percentile_cont": "percentile_cont({0})",
    "percentile_disc": "percentile_disc({0})",
    "variance_samp": "var_samp({0})",
    "variance_pop": "var_pop({0})",
    "ratio_to_report": Refused("write x / sum(x) OVER (...)"),
    "conditional_true_event": Refused("write sum(CASE WHEN x THEN 1 ELSE 0 END) OVER (...)"),
    "iff": common.conditional,
    "nvl": "coalesce({0}, {1})",
    "ifnull": "coalesce({0}, {1})",
    "nvl2": "CASE WHEN {0} IS NOT NULL THEN {1} ELSE {2} END",
    "zeroifnull": "coalesce({0}, 0)",
    "nullifzero": "nullif({0}, 0)",
    "decode": common.decoded,
    "equal_null": "({0} IS NOT DISTINCT FROM {1})",
    "div0": "CASE WHEN {1} = 0 AND {0} IS NOT NULL THEN 0 ELSE {0} / nullif({1}, 0) END",
    "div0null": "CASE WHEN {0} IS NULL THEN NULL WHEN coalesce({1}, 0) = 0 THEN 0 ELSE {0} / nullif({1}, 0) END",
    "booland": "({0} AND {1})",
    "boolor": "({0} OR {1})",
    "greatest": common.none_is_null("greatest"),
    "least": common.none_is_null("least"),
    "greatest_ignore_nulls": "greatest({*})",
    "least_ignore_nulls": "least({*})",
    "square": "({0} * {0})",
    "truncate": trunc,
    "trunc": trunc,
    "log": checked.logarithm("log({0}, {1})", checked.NO_LOGARITHM, number=1),
    "haversine": Refused("write out its formula"),
    "width_bucket": Refused("write CASE, or floor((x - low) / size)"),
    "uniform": Refused("a query must return the same result when it is repeated"),
    "concat": common.joined,
    "substr": STARTED,
    "substring": STARTED,
    "charindex": {2: "strpos({1}, {0})"},
    "position": {2: "strpos({1}, {0})"},
    "startswith": "starts_with({0}, {1})",
    "endswith": "ends_with({0}, {1})",
    "trim": {1: "trim({0})", 2: "trim({0}, {1})"},
    "lpad": {2: "lpad({0}, {1}, ' ')", 3: "lpad({0}, {1}, {2})"},
    "rpad": {2: "rpad({0}, {1}, ' ')", 3: "rpad({0}, {1}, {2})"},
    "replace": {2: "replace({0}, {1}, '')", 3: "replace({0}, {1}, {2})"},
    "space": "repeat(' ', {0})",
    "split": "string_split({0}, {1})",
    "split_part": checked.split_part(zero_is_one=True),
    "strtok": Refused("write split_part"),
    "initcap": checked.words_capitalized(r"\s!?@\"^#$&~_,.:;+*%/|\[\](){}<>-"),
    "editdistance": "levenshtein({0}, {1})",
    "sha2": common.NO_DIGESTS,
    "hash": Refused("Snowflake's hash is its own: let the job that makes the table write it"),
    "regexp_like": "regexp_full_match({0}, {1})",
    "rlike": "regexp_full_match({0}, {1})",
    "regexp_replace": all_replaced(),
    "regexp_substr": {2: found_or_null("0")},
    "regexp_count": {2: "len(regexp_extract_all({0}, {1}))"},
    "regexp_instr": Refused("write charindex, or regexp_substr"),
    "to_varchar": to_char,
    "to_char": to_char,
    "to_date": to_time("DATE"),
    "date": to_time("DATE"),
    "try_to_date": to_time("DATE", "TRY_CAST"),
    "to_timestamp": to_time("TIMESTAMP"),
    "to_timestamp_ntz": to_time("TIMESTAMP"),
    "try_to_timestamp": to_time("TIMESTAMP", "TRY_CAST"),
    "try_to_timestamp_ntz": to_time("TIMESTAMP", "TRY_CAST"),
    "to_number": to_number("CAST"),
    "to_decimal": to_number("CAST"),
    "to_numeric": to_number("CAST"),
    "try_to_number": to_number("TRY_CAST"),
    "try_to_decimal": to_number("TRY_CAST"),
    "try_to_numeric": to_number("TRY_CAST"),
    "to_double": "CAST({0} AS DOUBLE)",
    "try_to_double": "TRY_CAST({0} AS DOUBLE)",
    "to_boolean": "CAST({0} AS BOOLEAN)",
    "try_to_boolean": "TRY_CAST({0} AS BOOLEAN)",
    "dateadd": dateadd,
    "timeadd": dateadd,
    "timestampadd": dateadd,
    "datediff": datediff,
    "timediff": datediff,
    "timestampdiff": datediff,
    "date_trunc": date_trunc,
    "date_part": date_part,
    "add_months": "gq_add_months_to_the_end({0}, {1})",
    "months_between": Refused("write datediff(month, b, a) for whole months"),
    "date_from_parts": "make_date({0}, {1}, {2})",
    "datefromparts": "make_date({0}, {1}, {2})",
    "timestamp_from_parts": "make_timestamp({0}, {1}, {2}, {3}, {4}, {5})",
    "timestamp_ntz_from_parts": "make_timestamp({0}, {1}, {2}, {3}, {4}, {5})",
    "week": "week({0})",
    "weekofyear": "week({0})",
    "weekiso": "week({0})",
    "yearofweek": "isoyear({0})",
    "yearofweekiso": "isoyear({0})",
    "dayofweek": "dayofweek({0})",
    "dayofweekiso": "isodow({0})",
    "dayname": "left(dayname({0}), 3)",
    "monthname": "left(monthname({0}), 3)",
    "next_day": Refused("write dateadd and dayofweekiso"),
    "previous_day": Refused("write dateadd and dayofweekiso"),
    "convert_timezone": Refused("timestamps have no time zone here: store them in UTC"),
    "current_date": "current_date",
    "current_timestamp": "CAST(now() AS TIMESTAMP)",
    "localtimestamp": "CAST(now() AS TIMESTAMP)",
    "getdate": "CAST(now() AS TIMESTAMP)",
    "sysdate": "CAST(now() AS TIMESTAMP)",
    "array_construct": "[{*}]",
    "array_size": "len({0})",
    "array_contains": checked.contains("{1}", "{0}"),
    "array_to_string": "array_to_string({0}, {1})",
    "array_append": "list_append({0}, {1})",
    "array_cat": "list_concat({0}, {1})",
    "array_distinct": checked.DISTINCT,
    "array_position": "(list_position({1}, {0}) - 1)",
    "array_slice": array_slice,
    "flatten": flatten,
    "table": lambda call: call.arguments[0],
    "object_construct": _JSON,
    "parse_json": _JSON,
    "to_variant": _JSON,
    "get_path": _JSON,
    "get": checked.got,
    "generator": Refused("it makes rows of nothing: write a table as an input"),
    "seq4": Refused("write row_number() OVER (ORDER BY ...)"),
    "uuid_string": Refused("a query must return the same result when it is repeated"),
}  # fmt: skip

CAST = cast(
    {
        exp.DType.DECIMAL: "DECIMAL(38, 0)",
        exp.DType.INT: "BIGINT",
        exp.DType.BIGINT: "BIGINT",
        exp.DType.SMALLINT: "BIGINT",
        exp.DType.TINYINT: "BIGINT",
        exp.DType.FLOAT: "DOUBLE",
        exp.DType.DOUBLE: "DOUBLE",
        exp.DType.TIMESTAMPTZ: "TIMESTAMP",
    },
    in_utc=True,
)
NODES: dict[type[exp.Expr], Any] = {
    **parts.NODES,
    exp.Cast: text_of,
    exp.TryCast: CAST,
    exp.Substring: common.as_call(STARTED),
    exp.Bracket: checked.element(fails=False),
    exp.Lateral: lateral,
    exp.Window: window,
    exp.Table: table,
    exp.CurrentTimestamp: times.utc_now,
    exp.Localtimestamp: times.utc_now,
    exp.RegexpLike: lambda _, node: duckdb_sql("regexp_full_match({0}, {1})", [node.this, node.expression]),
    exp.Add: times.moved,
    exp.Sub: times.moved,
    exp.JSONExtract: parts.refused("path into a semi-structured value is not supported here: store it as columns"),
}


DIALECT = Dialect(
    name="snowflake",
    title="Snowflake",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN | {exp.Kwarg, exp.JSONPath, exp.JSONPathKey, exp.JSONPathRoot, exp.JSONPathSubscript},
    semantics=Semantics(
        float_to_integer="round",
        division_fails=True,
        quotients="6 places more than its left side has",
        whole_quotients=True,
    ),
    macros=(*MACROS, times.MONTHS_ADDED),
)
