"""Spark SQL, of Spark 4 in its default (ANSI) mode, with the session's time zone UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, formats, lateral_views, parts, places, times
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import COUNT_IF, all_replaced
from gpuquery.runner.query.sql.dialects.rewriter import Aggregate, Call, Dialect, Refused, Rule, duckdb_sql, same
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.dialects.times import formatted
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Mapping

_pattern = formatted(formats.JAVA)
LONG = ("year", "quarter", "month", "week")


def date_format(call: Call) -> exp.Expr:
    """DATE_FORMAT(d, 'yyyy-MM')."""
    call.count(2)
    return duckdb_sql(f"strftime(CAST({{0}} AS TIMESTAMP), {_pattern(call, 1)})", call.arguments)


def to_date(call: Call) -> exp.Expr:
    """TO_DATE, of a text with a pattern or of a time."""
    call.count(1, 2)
    if len(call.arguments) == 1:
        return duckdb_sql("CAST({0} AS DATE)", call.arguments)
    return duckdb_sql(f"CAST({times.read_by(_pattern(call, 1), century='gq_from_2000')} AS DATE)", call.arguments)


def to_timestamp(call: Call) -> exp.Expr:
    """TO_TIMESTAMP."""
    call.count(1, 2)
    if len(call.arguments) == 1:
        return duckdb_sql(IN_UTC, call.arguments)
    return duckdb_sql(times.read_by(_pattern(call, 1), century="gq_from_2000"), call.arguments)


def from_unixtime(call: Call) -> exp.Expr:
    """FROM_UNIXTIME(seconds): a text."""
    call.count(1, 2)
    pattern = _pattern(call, 1) if len(call.arguments) == 2 else "'%Y-%m-%d %H:%M:%S'"
    return duckdb_sql(f"strftime(CAST(to_timestamp({{0}}) AS TIMESTAMP), {pattern})", call.arguments)


def unix_timestamp(call: Call) -> exp.Expr:
    """UNIX_TIMESTAMP(x): seconds."""
    call.count(1, 2)
    if len(call.arguments) == 2:
        read = times.read_by(_pattern(call, 1), century="gq_from_2000")
        return duckdb_sql(f"CAST(floor(epoch({read})) AS BIGINT)", call.arguments)
    return duckdb_sql("CAST(floor(epoch(CAST({0} AS TIMESTAMP))) AS BIGINT)", call.arguments)


def trunc(call: Call) -> exp.Expr:
    """TRUNC(d, 'MM'): a day."""
    call.count(2)
    text = call.text(1, "the part of time")
    unit = call.unit(1) if text.lower() != "mon" else "month"
    if unit not in LONG:
        raise call.refuse(f"{text!r} is not a part that a date can be truncated to (year, quarter, month, week)")
    return duckdb_sql(f"CAST(date_trunc('{unit}', CAST({{0}} AS DATE)) AS DATE)", call.arguments)


def date_trunc(call: Call) -> exp.Expr:
    """DATE_TRUNC('MONTH', t): a timestamp."""
    call.count(2)
    call.text(0, "the part of time")
    return duckdb_sql(f"date_trunc('{call.unit(0)}', CAST({{0}} AS TIMESTAMP))", call.arguments[1:])


def date_add(call: Call) -> exp.Expr:
    """DATE_ADD(d, 7), and DATE_ADD(MONTH, 1, d)."""
    if len(call.arguments) == 3:
        return timestampadd(call)
    call.count(2)
    return duckdb_sql("(CAST({0} AS DATE) + CAST({1} AS INTEGER))", call.arguments)


def timestampadd(call: Call) -> exp.Expr:
    """TIMESTAMPADD(MONTH, 1, t)."""
    call.count(3)
    value = duckdb_sql("CAST({0} AS TIMESTAMP)", [call.arguments[2]])
    return times.added(value, call.arguments[1], call.unit(0))


def datediff(call: Call) -> exp.Expr:
    """DATEDIFF(end, start) in days, and DATEDIFF(MONTH, start, end) in whole units."""
    call.count(2, 3)
    if len(call.arguments) == 2:
        return duckdb_sql("date_diff('day', CAST({1} AS DATE), CAST({0} AS DATE))", call.arguments)
    between, unit = call.arguments[1:], call.unit(0)
    moments = "CAST({0} AS TIMESTAMP), CAST({1} AS TIMESTAMP)"
    if unit in _MONTHS:
        return duckdb_sql(f"(gq_whole_months({moments}) // {_MONTHS[unit]})", between)
    return duckdb_sql(f"date_sub('{unit}', {moments})", between)


_MONTHS = {"month": 1, "quarter": 3, "year": 12}
WHOLE_MONTHS = (
    "CREATE MACRO gq_whole_months(a TIMESTAMP, b TIMESTAMP) AS date_diff('month', a, b) "
    "- CASE WHEN b >= a AND date_diff('microsecond', date_trunc('month', b), b) "
    "< date_diff('microsecond', date_trunc('month', a), a) THEN 1 "
    "WHEN b < a AND date_diff('microsecond', date_trunc('month', b), b) "
    "> date_diff('microsecond', date_trunc('month', a), a) THEN -1 ELSE 0 END"
)
"""Whole months as Java's ChronoUnit.MONTHS.between counts them: from January 31 to February 29 there is none."""
IN_UTC = "CAST(CAST({0} AS TIMESTAMPTZ) AS TIMESTAMP)"
"""A TIMESTAMP of a text that may name a zone, as a moment in UTC, where a session is."""


def months_between(call: Call) -> exp.Expr:
    """MONTHS_BETWEEN: a number that is mostly no whole one."""
    raise call.refuse("its fraction of a month is not translated: write datediff(MONTH, start, end) for whole months")


def split(call: Call) -> exp.Expr:
    """SPLIT(x, 'regex')."""
    call.count(2, 3)
    if len(call.arguments) == 3 and call.number(2) != -1:
        raise call.refuse("a limit is not supported here")
    return duckdb_sql("string_split_regex({0}, {1})", call.arguments[:2])


def regexp_extract(call: Call) -> exp.Expr:
    """REGEXP_EXTRACT(x, 'pattern', group): the first group if none is said; a group that is not there fails."""
    call.count(2, 3)
    wanted = call.number(2) if len(call.arguments) == 3 else 1
    pattern = call.arguments[1]
    if isinstance(pattern, exp.Literal) and wanted is not None and wanted > common.groups(pattern.name):
        raise call.refuse(f"the pattern has no group {wanted}: write 0 as the third argument for all that is found")
    return duckdb_sql("regexp_extract({0}, {1}, " + ("{2})" if len(call.arguments) == 3 else "1)"), call.arguments)


def concat_ws(call: Call) -> exp.Expr:
    """CONCAT_WS(',', a, b)."""
    return duckdb_sql("concat_ws({*})", call.arguments)


def substring_index(call: Call) -> exp.Expr:
    """SUBSTRING_INDEX('a.b.c', '.', 2)."""
    call.count(3)
    number = call.number(2)
    if number is None:
        raise call.refuse("the number of parts must be a number here")
    part = f"[1:{number}]" if number > 0 else f"[{number}:]"
    return duckdb_sql(f"array_to_string(string_split({{0}}, {{1}}){part}, {{1}})", call.arguments[:2])


def sequence(call: Call) -> exp.Expr:
    """SEQUENCE(1, 5): a list of whole numbers."""
    return checked.sequence(call)


def named_struct(call: Call) -> exp.Expr:
    """NAMED_STRUCT('a', 1, 'b', 2)."""
    pairs = [(call.text(i, "the name of a field"), i + 1) for i in range(0, len(call.arguments), 2)]
    fields = ", ".join(f"{exp.to_identifier(name, quoted=True).sql('duckdb')} := {{{value}}}" for name, value in pairs)
    return duckdb_sql(f"struct_pack({fields})", call.arguments)


def select(dialect: Dialect, node: exp.Select) -> exp.Expr:
    """Leave hints out, and turn LATERAL VIEWs into joins."""
    node.set("hint", None)
    lateral_views.joined(node)
    _sorted_as_ordered(dialect, node)
    return node


def _sorted_as_ordered(dialect: Dialect, node: exp.Select) -> None:
    for part, why in (("sort", "SORT BY"), ("cluster", "CLUSTER BY"), ("distribute", "DISTRIBUTE BY")):
        if node.args.get(part):
            if part != "sort" or node.args.get("order") or not node.args.get("limit"):
                node.set(part, None)  # how rows are laid out; the output has no order of its own
                continue
            raise SqlError(f"{dialect.title}'s {why} with LIMIT takes any rows: write ORDER BY", places.place(node))


def spark_slice(call: Call) -> exp.Expr:
    """SLICE(x, start, length)."""
    call.count(3)
    start = call.number(1)
    if start is None or start == 0 or (call.number(2) or 0) < 1:
        raise call.refuse("the start and the length must be numbers here")
    last = start + (call.number(2) or 0) - 1
    return duckdb_sql(f"({{0}})[{start}:{last if start > 0 or last < 0 else ''}]", call.arguments[:1])


FUNCTIONS: Mapping[str, Rule] = {
    **common.FUNCTIONS,
    **same(
        "greatest", "least", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor", "cbrt", "factorial", "last_day",
        "dayofmonth", "dayofyear", "quarter", "year", "month", "hour", "minute", "second", "weekofyear", "make_date",
        "median", "mode", "ascii", "regr_slope", "regr_intercept", "regr_r2", "regr_count", "levenshtein",
        "octet_length", "unhex", "isnan",
    ),
    "day": "day({0})",
    "count": common.counted,
    "length": "length({0})",
    "len": "length({0})",
    "nvl": "coalesce({*})",
    "ifnull": "coalesce({0}, {1})",
    "nvl2": "CASE WHEN {0} IS NOT NULL THEN {1} ELSE {2} END",
    "if": common.conditional,
    "isnull": "({0} IS NULL)",
    "isnotnull": "({0} IS NOT NULL)",
    "nanvl": "CASE WHEN isnan({0}) THEN {1} ELSE {0} END",
    "zeroifnull": "coalesce({0}, 0)",
    "nullifzero": "nullif({0}, 0)",
    "decode": common.decoded,
    "every": "bool_and({0})",
    "some": "bool_or({0})",
    "any": "bool_or({0})",
    "count_if": COUNT_IF,
    "first": "first({0})",
    "last": "last({0})",
    "collect_list": Aggregate("list({0})", skips_nulls=True, outer="coalesce({0}, [])"),
    "array_agg": Aggregate("list({0})", skips_nulls=True, outer="coalesce({0}, [])"),
    "collect_set": Aggregate("list(DISTINCT {0})", skips_nulls=True, outer="coalesce({0}, [])"),
    "listagg": common.listed,
    "string_agg": common.listed,
    "max_by": "arg_max_null({0}, {1})",
    "min_by": "arg_min_null({0}, {1})",
    "mean": "avg({0})",
    "std": "stddev({0})",
    "approx_count_distinct": "count(DISTINCT {0})",
    "percentile": {2: "quantile_cont({0}, {1})"},
    "percentile_approx": {2: "quantile_disc({0}, {1})", 3: "quantile_disc({0}, {1})"},
    "approx_percentile": {2: "quantile_disc({0}, {1})", 3: "quantile_disc({0}, {1})"},
    "percentile_cont": "percentile_cont({0})",
    "percentile_disc": "percentile_disc({0})",
    "concat": common.joined,
    "concat_ws": concat_ws,
    "substr": checked.started(),
    "substring": checked.started(),
    "substring_index": substring_index,
    "instr": "strpos({0}, {1})",
    "locate": {2: "strpos({1}, {0})"},
    "position": {2: "strpos({1}, {0})"},
    "charindex": {2: "strpos({1}, {0})"},
    "startswith": "starts_with({0}, {1})",
    "endswith": "ends_with({0}, {1})",
    "contains": "contains({0}, {1})",
    "lcase": "lower({0})",
    "ucase": "upper({0})",
    "btrim": "trim({*})",
    "lpad": {2: "lpad({0}, {1}, ' ')", 3: "lpad({0}, {1}, {2})"},
    "rpad": {2: "rpad({0}, {1}, ' ')", 3: "rpad({0}, {1}, {2})"},
    "space": "repeat(' ', {0})",
    "char": "chr({0})",
    "chr": "chr({0})",
    "split": split,
    "split_part": checked.split_part(),
    "log10": checked.logarithm("log10({0})", "NULL"),
    "ln": checked.logarithm("ln({0})", "NULL"),
    "kurtosis": "kurtosis_pop({0})",
    "skewness": Refused("it is the population's there and a sample's here: write out its formula"),
    "left": checked.side("left"),
    "right": checked.side("right"),
    "regexp_extract": regexp_extract,
    "regexp_replace": all_replaced(dollars=True, backslashes=False),
    "regexp_like": "regexp_matches({0}, {1})",
    "rlike": "regexp_matches({0}, {1})",
    "regexp": "regexp_matches({0}, {1})",
    "initcap": checked.words_capitalized(" "),
    "sha2": common.NO_DIGESTS,
    "log": {1: checked.logarithm("ln({0})", "NULL"), 2: checked.logarithm("log({0}, {1})", "NULL", number=1)},
    "log2": checked.logarithm("log2({0})", "NULL"),
    "signum": "sign({0})",
    "pmod": "((({0} % {1}) + {1}) % {1})",
    "positive": "{0}",
    "negative": "(-{0})",
    "bround": Refused("it rounds halves to even numbers: write round"),
    "rint": Refused("it rounds halves to even numbers: write round"),
    "to_char": Refused("numbers formatted by a pattern are not supported here: write CAST(x AS STRING)"),
    "to_number": Refused("write CAST(x AS DECIMAL(18, 2))"),
    "try_divide": "CASE WHEN {1} <> 0 THEN {0} / {1} END",
    "string": "CAST({0} AS VARCHAR)",
    "int": Refused("write CAST(x AS INT)"),
    "date": "CAST({0} AS DATE)",
    "timestamp": IN_UTC,
    "date_format": date_format,
    "to_date": to_date,
    "to_timestamp": to_timestamp,
    "from_unixtime": from_unixtime,
    "unix_timestamp": unix_timestamp,
    "to_unix_timestamp": unix_timestamp,
    "timestamp_seconds": "CAST(to_timestamp({0}) AS TIMESTAMP)",
    "timestamp_millis": "epoch_ms({0})",
    "trunc": trunc,
    "date_trunc": date_trunc,
    "date_add": date_add,
    "dateadd": date_add,
    "date_sub": "(CAST({0} AS DATE) - CAST({1} AS INTEGER))",
    "timestampadd": timestampadd,
    "datediff": datediff,
    "date_diff": datediff,
    "timestampdiff": datediff,
    "months_between": months_between,
    "add_months": lambda call: duckdb_sql(
        "CAST({0} AS DATE)",
        [times.added(duckdb_sql("CAST({0} AS DATE)", call.arguments[:1]), call.arguments[1], "month")],
    ),
    "dayofweek": "(dayofweek({0}) + 1)",
    "weekday": "(isodow({0}) - 1)",
    "dayname": "left(dayname({0}), 3)",
    "monthname": "left(monthname({0}), 3)",
    "curdate": "current_date",
    "current_date": "current_date",
    "current_timestamp": "CAST(now() AS TIMESTAMP)",
    "now": "CAST(now() AS TIMESTAMP)",
    "next_day": Refused("write d + 7 - weekday(d), or the like"),
    "from_utc_timestamp": Refused("timestamps have no time zone here: store them in UTC"),
    "to_utc_timestamp": Refused("timestamps have no time zone here: store them in UTC"),
    "explode": "unnest({0})",
    "explode_outer": Refused("write LATERAL VIEW OUTER explode(x)"),
    "posexplode": Refused("the positions are not translated: write explode"),
    "inline": Refused("write explode, and the fields of its column"),
    "array": "[{*}]",
    "size": "len({0})",
    "array_size": "len({0})",
    "cardinality": "len({0})",
    "array_contains": checked.contains("{0}", "{1}"),
    "array_distinct": checked.DISTINCT,
    "array_position": "coalesce(list_position({0}, {1}), 0)",
    "array_join": {2: "array_to_string({0}, {1})"},
    "array_max": "list_max({0})",
    "array_min": "list_min({0})",
    "sort_array": {1: "list_sort({0}, 'ASC', 'NULLS FIRST')"},
    "slice": spark_slice,
    "element_at": checked.element_at(fails=True),
    "try_element_at": "{0}[{1}]",
    "get": checked.got,
    "sequence": sequence,
    "transform": "list_transform({0}, {1})",
    "filter": "list_filter({0}, {1})",
    "flatten": "CASE WHEN list_count({0}) = len({0}) THEN flatten({0}) END",
    "named_struct": named_struct,
    "struct": "row({*})",
    "get_json_object": Refused("JSON is not supported here"),
    "from_json": Refused("JSON is not supported here"),
    "to_json": Refused("JSON is not supported here"),
    "monotonically_increasing_id": Refused("write row_number() OVER (ORDER BY ...)"),
    "uuid": Refused("a query must return the same result when it is repeated"),
}  # fmt: skip

CAST = cast({exp.DType.DECIMAL: "DECIMAL(10, 0)", exp.DType.TIMESTAMPTZ: "TIMESTAMP"}, safe=False, in_utc=True)
NODES: dict[type[exp.Expr], Any] = {
    **parts.NODES,
    exp.Select: select,
    exp.Lateral: lateral_views.checked,
    exp.Values: parts.values("col"),
    exp.Cast: CAST,
    exp.TryCast: CAST,
    exp.Substring: common.as_call(checked.started()),
    exp.Bracket: checked.element(fails=True),
    exp.Add: times.moved,
    exp.Sub: times.moved,
    exp.CurrentTimestamp: times.utc_now,
    exp.Sort: lambda _, node: node,
    exp.Cluster: lambda _, node: node,
    exp.Distribute: lambda _, node: node,
    exp.Extract: times.extracted(
        {"dow": "(dayofweek({0}) + 1)", "isodow": "isodow({0})", "second": "(extract(microsecond FROM {0}) / 1000000)"}
    ),
}

DIALECT = Dialect(
    name="spark",
    title="Spark",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN,
    like_escape="\\",
    macros=(times.MOVED, times.CENTURY_OF_JAVA, WHOLE_MONTHS),
    semantics=Semantics(
        float_to_integer="trunc",
        division_fails=True,
        whole_texts=True,
        booleans=("t", "true", "y", "yes", "1", "f", "false", "n", "no", "0"),
        days_apart="datediff(a, b)",
        quotients="6 places or more",
    ),
)
