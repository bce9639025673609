"""Trino, and Presto and Athena, which speak the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, formats, parts, places, times
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import COUNT_IF, all_replaced, found_or_null
from gpuquery.runner.query.sql.dialects.rewriter import Call, Dialect, Refused, Rule, duckdb_sql, same
from gpuquery.runner.query.sql.dialects.semantics import BOOLEAN_TEXTS, Semantics
from gpuquery.runner.query.sql.dialects.times import formatted
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Mapping

_mysql, _java = formatted(formats.MYSQL), formatted(formats.JAVA)


def date_format(call: Call) -> exp.Expr:
    """DATE_FORMAT(t, '%Y-%m')."""
    call.count(2)
    return duckdb_sql(f"strftime({{0}}, {_mysql(call, 1)})", call.arguments)


def date_parse(call: Call) -> exp.Expr:
    """DATE_PARSE('1994-01', '%Y-%m')."""
    call.count(2)
    return duckdb_sql(times.read_by(_mysql(call, 1), century="gq_from_1970"), call.arguments)


def format_datetime(call: Call) -> exp.Expr:
    """FORMAT_DATETIME(t, 'yyyy-MM'), with Joda's letters."""
    call.count(2)
    return duckdb_sql(f"strftime({{0}}, {_java(call, 1)})", call.arguments)


def parse_datetime(call: Call) -> exp.Expr:
    """PARSE_DATETIME('1994-01', 'yyyy-MM')."""
    call.count(2)
    pattern = _java(call, 1)
    if "%y" in pattern:
        raise call.refuse("which century a year of two digits is of depends on today there: write yyyy")
    return duckdb_sql(f"strptime({{0}}, {pattern})", call.arguments)


def date_add(call: Call) -> exp.Expr:
    """DATE_ADD('day', 7, d): a day where d is one."""
    call.count(3)
    call.text(0, "the part of time")
    unit = call.unit(0)
    if unit in ("hour", "minute", "second", "millisecond", "microsecond"):
        return times.added(call.arguments[2], call.arguments[1], unit)
    return duckdb_sql(f"gq_add_{unit}s({{1}}, {{0}})", call.arguments[1:])


def date_diff(call: Call) -> exp.Expr:
    """DATE_DIFF('day', a, b): whole units."""
    call.count(3)
    call.text(0, "the part of time")
    return duckdb_sql(f"date_sub('{call.unit(0)}', {{0}}, {{1}})", call.arguments[1:])


def date_trunc(call: Call) -> exp.Expr:
    """DATE_TRUNC('month', d): a day where d is one."""
    call.count(2)
    call.text(0, "the part of time")
    return duckdb_sql(f"gq_date_trunc('{call.unit(0)}', {{0}})", call.arguments[1:])


def attempt(call: Call) -> exp.Expr:
    """TRY(a / b) and TRY(CAST(x AS t))."""
    call.count(1)
    inner = call.arguments[0]
    while isinstance(inner, exp.Paren):
        inner = inner.this
    if isinstance(inner, exp.Div):
        return duckdb_sql("CASE WHEN {1} <> 0 THEN {0} / {1} END", [inner.this, inner.expression])
    if inner.key == "duckdbsql" and str(inner.this).startswith("CAST("):
        inner.set("this", "TRY_" + str(inner.this))
        return inner
    raise call.refuse("it is supported only with a division or a cast: write TRY_CAST, or CASE for the other")


def substr(call: Call) -> exp.Expr:
    """SUBSTR, where no text begins at 0, nor before its first character."""
    call.count(2, 3)
    start = call.number(1)
    if start == 0:
        return duckdb_sql("left({0}, 0)", call.arguments[:1])
    length = f", {checked.length_of(call, 2, fails=False)}" if len(call.arguments) == 3 else ""
    found = f"substr({{0}}, {{1}}{length})"
    if start is not None and start > 0:
        return duckdb_sql(found, call.arguments)
    return duckdb_sql(
        f"CASE WHEN {{1}} = 0 OR -({{1}}) > length({{0}}) THEN left({{0}}, 0) ELSE {found} END", call.arguments
    )


def decimal_literal(dialect: Dialect, node: exp.Cast) -> exp.Expr:
    """CAST, and DECIMAL '1.5', which has the digits that are written."""
    value = node.this
    if (
        node.to.this is exp.DType.DECIMAL
        and not node.to.expressions
        and isinstance(value, exp.Literal)
        and value.is_string
        and places.place(node) == places.place(value)
        and value.name.replace(".", "", 1).lstrip("+-").isdigit()
    ):
        return duckdb_sql(value.name)
    return CAST(dialect, node)


def split_part(call: Call) -> exp.Expr:
    """SPLIT_PART: NULL behind the last part; below the first it fails."""
    call.count(3)
    number = call.number(2)
    if number is not None and number < 1:
        raise call.refuse("a part must be a number above zero")
    found = "(string_split({0}, {1}))[{2}]"
    bad = checked.failing("a part must be a number above zero")
    return duckdb_sql(
        found if number is not None else f"CASE WHEN {{2}} < 1 THEN {bad} ELSE {found} END", call.arguments
    )


def approx_percentile(call: Call) -> exp.Expr:
    """APPROX_PERCENTILE(x, 0.5): the exact one."""
    call.count(2)
    return duckdb_sql("quantile_disc({0}, {1})", call.arguments)


def unnested(dialect: Dialect, node: exp.Unnest) -> exp.Expr:
    """UNNEST, of several lists too."""
    if any(isinstance(one, exp.Subquery) for one in node.expressions) and len(node.expressions) > 1:
        raise SqlError(f"{dialect.title}'s UNNEST of several queries is not translated", places.place(node))
    if len(node.expressions) > 1:
        raise SqlError(
            f"{dialect.title}'s UNNEST of several lists is not known: write one for each", places.place(node)
        )
    return node


FUNCTIONS: Mapping[str, Rule] = {
    **common.FUNCTIONS,
    **same(
        "bool_and", "bool_or", "cbrt", "length", "year", "month", "day", "hour", "minute", "second", "quarter",
        "week", "strpos", "starts_with", "regr_slope", "regr_intercept", "log10", "log2", "kurtosis",
        "concat_ws", "levenshtein_distance",
    ),
    "levenshtein_distance": "levenshtein({0}, {1})",
    "count": common.counted,
    "count_if": COUNT_IF,
    "every": "bool_and({0})",
    "arbitrary": "any_value({0})",
    "approx_distinct": {1: "count(DISTINCT {0})", 2: "count(DISTINCT {0})"},
    "approx_percentile": approx_percentile,
    "max_by": {2: "arg_max_null({0}, {1})"},
    "min_by": {2: "arg_min_null({0}, {1})"},
    "array_agg": "list({*})",
    "listagg": common.listed,
    "bitwise_and_agg": "bit_and({0})",
    "bitwise_or_agg": "bit_or({0})",
    "geometric_mean": Refused("write exp(avg(ln(x)))"),
    "checksum": Refused("checksums are not supported here"),
    "histogram": Refused("write GROUP BY and count(*)"),
    "map_agg": Refused("maps are not supported here"),
    "greatest": common.none_is_null("greatest"),
    "least": common.none_is_null("least"),
    "if": common.conditional,
    "try": attempt,
    "concat": common.joined,
    "substr": substr,
    "substring": substr,
    "codepoint": "unicode({0})",
    "chr": "chr({0})",
    "split": {2: "string_split({0}, {1})"},
    "split_part": split_part,
    "skewness": Refused("it is the population's there and a sample's here: write out its formula"),
    "lpad": "lpad({0}, {1}, {2})",
    "rpad": "rpad({0}, {1}, {2})",
    "replace": {2: "replace({0}, {1}, '')", 3: "replace({0}, {1}, {2})"},
    "regexp_like": "regexp_matches({0}, {1})",
    "regexp_extract": {2: found_or_null("0"), 3: found_or_null("{2}")},
    "regexp_extract_all": {2: "regexp_extract_all({0}, {1})", 3: "regexp_extract_all({0}, {1}, {2})"},
    "regexp_replace": all_replaced(dollars=True, backslashes=False),
    "regexp_split": "string_split_regex({0}, {1})",
    "regexp_count": "len(regexp_extract_all({0}, {1}))",
    "log": "log({0}, {1})",
    "truncate": {1: "trunc({0})", 2: "trunc({0}, {1})"},
    "e": "exp(1)",
    "is_nan": "isnan({0})",
    "infinity": "CAST('infinity' AS DOUBLE)",
    "nan": "CAST('nan' AS DOUBLE)",
    "date": "CAST({0} AS DATE)",
    "day_of_month": "day({0})",
    "day_of_week": "isodow({0})",
    "dow": "isodow({0})",
    "day_of_year": "dayofyear({0})",
    "doy": "dayofyear({0})",
    "week_of_year": "weekofyear({0})",
    "year_of_week": "isoyear({0})",
    "yow": "isoyear({0})",
    "last_day_of_month": "last_day({0})",
    "date_format": date_format,
    "date_parse": date_parse,
    "format_datetime": format_datetime,
    "parse_datetime": parse_datetime,
    "date_add": date_add,
    "date_diff": date_diff,
    "date_trunc": date_trunc,
    "from_unixtime": {1: "CAST(to_timestamp({0}) AS TIMESTAMP)"},
    "to_unixtime": "epoch({0})",
    "from_iso8601_date": "CAST({0} AS DATE)",
    "from_iso8601_timestamp": Refused("write CAST(x AS TIMESTAMP)"),
    "to_iso8601": Refused("write format_datetime(t, 'yyyy-MM-dd''T''HH:mm:ss')"),
    "at_timezone": Refused("timestamps have no time zone here: store them in UTC"),
    "now": "now()",
    "cardinality": "len({0})",
    "contains": checked.contains("{0}", "{1}"),
    "array_join": {2: "array_to_string({0}, {1})"},
    "array_distinct": checked.DISTINCT,
    "array_position": "coalesce(list_position({0}, {1}), 0)",
    "array_max": "list_max({0})",
    "array_min": "list_min({0})",
    "array_sort": "list_sort({0}, 'ASC', 'NULLS LAST')",
    "element_at": checked.element_at(fails=False),
    "sequence": checked.sequence,
    "transform": "list_transform({0}, {1})",
    "filter": "list_filter({0}, {1})",
    "flatten": "flatten({0})",
    "reduce": Refused("write UNNEST and an aggregate"),
    "row": "row({*})",
    "map": Refused("maps are not supported here"),
    "json_extract_scalar": Refused("JSON is not supported here"),
    "json_extract": Refused("JSON is not supported here"),
    "json_parse": Refused("JSON is not supported here"),
    "grouping": "grouping({*})",
    "width_bucket": Refused("write CASE, or floor((x - low) / size)"),
    "typeof": Refused("types are known before a query runs"),
    "uuid": Refused("a query must return the same result when it is repeated"),
}  # fmt: skip

CAST = cast({exp.DType.DECIMAL: "DECIMAL(38, 0)"}, cuts_texts=True, pads=True)
NODES: dict[type[exp.Expr], Any] = {
    **parts.NODES,
    exp.Cast: decimal_literal,
    exp.Bracket: checked.element(fails=True),
    exp.TryCast: CAST,
    exp.Unnest: unnested,
    exp.Substring: common.as_call(substr),
    exp.Add: times.moved,
    exp.Sub: times.moved,
    exp.Localtimestamp: times.utc_now,
    exp.Extract: times.extracted({"dow": "isodow({0})", "isodow": "isodow({0})"}),
}
_STEPS = {"day": "to_days(CAST(n AS INTEGER))", "week": "to_days(CAST(7 * n AS INTEGER))",
          "month": "to_months(CAST(n AS INTEGER))", "quarter": "to_months(CAST(3 * n AS INTEGER))",
          "year": "to_years(CAST(n AS INTEGER))"}  # fmt: skip
MACROS = (
    times.MOVED,
    times.CENTURY,
    *(
        f"CREATE MACRO gq_add_{unit}s(x DATE, n BIGINT) AS CAST(x + {step} AS DATE), "
        f"(x TIMESTAMP, n BIGINT) AS x + {step}, (x VARCHAR, n BIGINT) AS CAST(x AS TIMESTAMP) + {step}"
        for unit, step in _STEPS.items()
    ),
    "CREATE MACRO gq_date_trunc(unit, x DATE) AS CAST(date_trunc(unit, x) AS DATE), "
    "(unit, x TIMESTAMP) AS date_trunc(unit, x), (unit, x VARCHAR) AS date_trunc(unit, CAST(x AS TIMESTAMP))",
)

DIALECT = Dialect(
    name="trino",
    title="Trino",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN,
    integer_division=True,
    semantics=Semantics(
        float_to_integer="round",
        doubles_divide=True,
        whole_texts=True,
        booleans=BOOLEAN_TEXTS,
        days_apart="date_diff('day', b, a)",
        quotients="as many places as its sides have",
    ),
    macros=MACROS,
)
