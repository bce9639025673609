"""BigQuery's GoogleSQL. TIMESTAMP and DATETIME are both a TIMESTAMP without a zone, in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, formats, parts, places, times, units
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import COUNT_IF, all_replaced
from gpuquery.runner.query.sql.dialects.rewriter import Call, Dialect, Refused, Rule, duckdb_sql, same
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.dialects.times import formatted
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_strftime = formatted(formats.STRFTIME)
_JSON = Refused("JSON is not supported here: store it as columns")


def moved(sign: int, kind: str) -> Callable[[Call], exp.Expr]:
    """Return DATE_ADD(d, INTERVAL 1 DAY) or DATE_SUB, for days or moments."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        interval = call.arguments[1]
        if not isinstance(interval, exp.Interval):
            raise call.refuse("it needs an INTERVAL: DATE_ADD(d, INTERVAL 1 DAY)")
        unit = units.named(interval.args.get("unit"))
        if unit is None:
            raise call.refuse("this part of time is not supported here")
        value = duckdb_sql(f"CAST({{0}} AS {kind})", call.arguments[:1])
        found = times.added(value, _bare(interval.this), unit, sign=sign)
        return duckdb_sql(f"CAST({{0}} AS {kind})", [found])

    return translate


def _bare(node: exp.Expr) -> exp.Expr:
    """Return the number of an INTERVAL, which sqlglot puts into quotes."""
    if isinstance(node, exp.Literal) and node.is_string:
        return exp.Literal.number(node.name) if node.name.isdigit() else exp.Neg(this=exp.Literal.number(node.name[1:]))
    return node


def diff(kind: str) -> Callable[[Call], exp.Expr]:
    """Return DATE_DIFF(a, b, DAY): bounds of the unit between b and a; of moments the whole units."""

    def translate(call: Call) -> exp.Expr:
        call.count(3)
        values = [duckdb_sql(f"CAST({{0}} AS {kind})", [one]) for one in call.arguments[:2]]
        name = call.arguments[2].name.lower()
        if isinstance(call.arguments[2], exp.WeekStart):
            name = "isoweek"
        if name == "week":  # it begins on a Sunday
            values = [duckdb_sql("({0} + INTERVAL '1 day')", [value]) for value in values]
        if name in ("week", "isoweek"):
            return times.weeks(values[::-1])
        unit = call.unit(2)
        function = "date_sub" if kind == "TIMESTAMP" and call.name == "timestamp_diff" else "date_diff"
        return duckdb_sql(f"{function}('{unit}', {{1}}, {{0}})", values)

    return translate


def trunc_to(kind: str) -> Callable[[Call], exp.Expr]:
    """Return DATE_TRUNC(d, MONTH)."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        part = call.arguments[1]
        name = part.name.lower() if not isinstance(part, exp.WeekStart) else "isoweek"
        value = duckdb_sql(f"CAST({{0}} AS {kind})", call.arguments[:1])
        if name == "week":
            template = "(date_trunc('week', {0} + INTERVAL '1 day') - INTERVAL '1 day')"
        else:
            template = f"date_trunc('{'week' if name == 'isoweek' else call.unit(1)}', {{0}})"
        return duckdb_sql(f"CAST({template} AS {kind})", [value])

    return translate


def format_time(call: Call) -> exp.Expr:
    """FORMAT_DATE('%Y-%m', d): the pattern comes first."""
    call.count(2)
    return duckdb_sql(f"strftime({{0}}, {_strftime(call, 0)})", call.arguments[1:])


def parse_time(kind: str) -> Callable[[Call], exp.Expr]:
    """Return PARSE_DATE('%Y-%m-%d', x)."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        return duckdb_sql(f"CAST(strptime({{0}}, {_strftime(call, 0)}) AS {kind})", call.arguments[1:])

    return translate


def to_date(call: Call) -> exp.Expr:
    """DATE(t) and DATE(year, month, day)."""
    call.count(1, 3)
    return duckdb_sql("make_date({0}, {1}, {2})" if len(call.arguments) == 3 else "CAST({0} AS DATE)", call.arguments)


def to_datetime(call: Call) -> exp.Expr:
    """DATETIME(d), DATETIME(2024, 1, 2, 3, 4, 5), TIMESTAMP(x): of a text that may name a zone."""
    call.count(1, 6)
    wide = "make_timestamp({0}, {1}, {2}, {3}, {4}, {5})"
    one = "CAST({0} AS TIMESTAMP)"
    if call.name == "timestamp":
        one = "CAST(CAST({0} AS TIMESTAMPTZ) AS TIMESTAMP)"
    return duckdb_sql(wide if len(call.arguments) == 6 else one, call.arguments)


def week(call: Call) -> exp.Expr:
    """WEEK(MONDAY), as a part of a date."""
    call.count(1)
    day = call.arguments[0].name.upper()
    if day == "SUNDAY":
        return exp.var("week")
    if day != "MONDAY":
        raise call.refuse("weeks that begin on another day than SUNDAY and MONDAY are not supported here")
    return exp.WeekStart(this=exp.var("MONDAY"))


def array_agg(call: Call) -> exp.Expr:
    """ARRAY_AGG(x IGNORE NULLS ORDER BY y LIMIT 3)."""
    call.count(1)
    argument, count = call.arguments[0], None
    if isinstance(argument, exp.Limit):
        argument, count = argument.this, argument.expression
    inner = argument.this if isinstance(argument, exp.Order) else argument
    found, filled = "list({0})", []
    if inner.key == "duckdbsql" and str(inner.this) == "{0} IGNORE NULLS":
        value = inner.expressions[0]
        filled = [value.expressions[0].copy() if isinstance(value, exp.Distinct) else value.copy()]
        found = "list({0}) FILTER (WHERE {1} IS NOT NULL)"
        if inner is argument:
            argument = value
        else:
            inner.replace(value)
    if count is None:
        return duckdb_sql(found, [argument, *filled])
    return duckdb_sql(f"({found})[1:{{{1 + len(filled)}}}]", [argument, *filled, count])


def string_agg(call: Call) -> exp.Expr:
    """STRING_AGG(x, ',' ORDER BY y): a comma if none is said."""
    call.count(1, 2)
    if len(call.arguments) == 1:
        argument = call.arguments[0]
        if isinstance(argument, exp.Order):
            keys = argument.expressions
            return duckdb_sql("string_agg({0}, {1})", [argument.this, exp.Order(
                this=exp.Literal.string(","), expressions=[key.copy() for key in keys])])  # fmt: skip
        return duckdb_sql("string_agg({0}, ',')", call.arguments)
    if isinstance(call.arguments[-1], exp.Limit):
        raise call.refuse("its LIMIT is not supported here: number the rows in a sub-query first")
    return duckdb_sql("string_agg({0}, {1})", call.arguments)


def any_value(call: Call) -> exp.Expr:
    """ANY_VALUE(x), and with HAVING MAX y."""
    call.count(1)
    argument = call.arguments[0]
    if isinstance(argument, exp.HavingMax):
        name = "arg_max_null" if argument.args.get("max") else "arg_min_null"
        return duckdb_sql(f"{name}({{0}}, {{1}})", [argument.this, argument.expression])
    return duckdb_sql("any_value({0})", call.arguments)


def with_group(template: Callable[[str], str]) -> Callable[[Call], exp.Expr]:
    """Return REGEXP_EXTRACT(x, r'a(.)') or its kin, whose result is the group of the pattern if it has one."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        groups = common.groups(call.text(1, "the pattern"))
        if groups > 1:
            raise call.refuse("a pattern has one group at most")
        return duckdb_sql(template(str(groups)), call.arguments)

    return translate


def split(call: Call) -> exp.Expr:
    """SPLIT(x), at commas if nothing is said."""
    call.count(1, 2)
    return duckdb_sql("string_split({0}, " + ("{1})" if len(call.arguments) == 2 else "',')"), call.arguments)


def quantiles(call: Call) -> exp.Expr:
    """APPROX_QUANTILES(x, 4): the exact bounds."""
    call.count(2)
    number = call.number(1)
    if number is None or not 1 <= number <= 100:
        raise call.refuse("the number of parts must be a number from 1 to 100 here")
    bounds = ", ".join(f"quantile_disc({{0}}, {i / number:.6g})" for i in range(number + 1))
    return duckdb_sql(f"[{bounds}]", call.arguments[:1])


def unnested(dialect: Dialect, node: exp.Unnest) -> exp.Expr:
    """UNNEST(x) AS v WITH OFFSET AS i: the first offset is 0."""
    offset = node.args.get("offset")
    alias = node.args.get("alias")
    columns = list(alias.columns) if alias is not None else []
    if offset is None or (isinstance(offset, bool) and not offset):
        return node
    if len(columns) < 1:
        raise SqlError(f"{dialect.title}'s UNNEST WITH OFFSET needs a name here", places.place(node))
    value = columns[0].sql(dialect="duckdb")
    index = offset.sql(dialect="duckdb") if isinstance(offset, exp.Expr) else '"offset"'
    numbered = f"unnest({{0}}) AS {value}, generate_subscripts({{0}}, 1) - 1 AS {index}"
    return duckdb_sql(f"LATERAL (SELECT {numbered}) AS _{value}", node.expressions)


def in_unnest(_: Dialect, node: exp.In) -> exp.Expr:
    """`x IN UNNEST(list)`."""
    listed = node.args.get("unnest")
    if listed is None:
        return node
    values = listed.expressions[0] if isinstance(listed, exp.Unnest) else listed
    return duckdb_sql(checked.contains("{1}", "{0}"), [node.this, values])


def extract(dialect: Dialect, node: exp.Extract) -> exp.Expr:
    """EXTRACT: weeks begin on a Sunday, days of the week count from 1 there."""
    part = node.this
    name = part.name.lower()
    if isinstance(part, exp.WeekStart):
        raise SqlError(
            f"{dialect.title}'s WEEK(MONDAY) as a number is not translated: write ISOWEEK", places.place(node)
        )
    if name == "week":
        return duckdb_sql("CAST(strftime({0}, '%U') AS BIGINT)", [node.expression])
    if name in ("date", "time"):
        return duckdb_sql(f"CAST({{0}} AS {name.upper()})", [node.expression])
    return times.part_of(dialect, part, node.expression, {"dow": "(dayofweek({0}) + 1)"}, node)


STARTED = checked.started(before="greatest({1}, -length({0}))", fails=True)
FUNCTIONS: Mapping[str, Rule] = {
    **common.FUNCTIONS,
    **same("cbrt", "length", "starts_with", "ends_with", "bit_and", "bit_or", "bit_xor", "ascii"),
    **checked.MATHEMATICS,
    "week": week,
    "left": checked.side("left", fails=True),
    "right": checked.side("right", fails=True),
    "unicode": "unicode({0})",
    "chr": "chr({0})",
    "count": common.counted,
    "countif": COUNT_IF,
    "logical_and": "bool_and({0})",
    "logical_or": "bool_or({0})",
    "any_value": any_value,
    "array_agg": array_agg,
    "string_agg": string_agg,
    "approx_count_distinct": "count(DISTINCT {0})",
    "approx_quantiles": quantiles,
    "approx_top_count": Refused("write GROUP BY, ORDER BY count(*) DESC and LIMIT"),
    "percentile_cont": Refused("as a window function it is not translated: write APPROX_QUANTILES, or median"),
    "max_by": "arg_max_null({0}, {1})",
    "min_by": "arg_min_null({0}, {1})",
    "if": common.conditional,
    "ifnull": "coalesce({0}, {1})",
    "safe_divide": "CASE WHEN {1} <> 0 THEN {0} / {1} END",
    "safe_add": "({0} + {1})",
    "safe_subtract": "({0} - {1})",
    "safe_multiply": "({0} * {1})",
    "safe_negate": "(-{0})",
    "ieee_divide": Refused("write SAFE_DIVIDE"),
    "div": "({0} // {1})",
    "greatest": common.none_is_null("greatest"),
    "least": common.none_is_null("least"),
    "trunc": {1: "trunc({0})", 2: "trunc({0}, {1})"},
    "log": {
        1: checked.logarithm("ln({0})", checked.NO_LOGARITHM),
        2: checked.logarithm("log({1}, {0})", checked.NO_LOGARITHM),
    },
    "is_nan": "isnan({0})",
    "is_inf": "isinf({0})",
    "concat": common.joined,
    "char_length": "length({0})",
    "byte_length": "strlen({0})",
    "substr": STARTED,
    "substring": STARTED,
    "strpos": "strpos({0}, {1})",
    "instr": {2: "strpos({0}, {1})"},
    "trim": {1: "trim({0})", 2: "trim({0}, {1})"},
    "lpad": {2: "lpad({0}, {1}, ' ')", 3: "lpad({0}, {1}, {2})"},
    "rpad": {2: "rpad({0}, {1}, ' ')", 3: "rpad({0}, {1}, {2})"},
    "split": split,
    "format": Refused("write CONCAT and CAST"),
    "initcap": checked.words_capitalized(r"\s\[\](){}/|<>!?@\"^#$&~_,.:;*%+-"),
    "edit_distance": "levenshtein({0}, {1})",
    "farm_fingerprint": Refused("it is BigQuery's own: let the job that makes the table write it"),
    "to_hex": Refused("of BYTES it is not translated"),
    "regexp_contains": "regexp_matches({0}, {1})",
    "regexp_extract": with_group(common.found_or_null),
    "regexp_substr": with_group(common.found_or_null),
    "regexp_extract_all": with_group(lambda group: f"regexp_extract_all({{0}}, {{1}}, {group})"),
    "regexp_replace": all_replaced(),
    "date": to_date,
    "datetime": to_datetime,
    "timestamp": to_datetime,
    "current_date": "current_date",
    "current_datetime": "CAST(now() AS TIMESTAMP)",
    "current_timestamp": "CAST(now() AS TIMESTAMP)",
    "date_add": moved(1, "DATE"),
    "date_sub": moved(-1, "DATE"),
    "datetime_add": moved(1, "TIMESTAMP"),
    "datetime_sub": moved(-1, "TIMESTAMP"),
    "timestamp_add": moved(1, "TIMESTAMP"),
    "timestamp_sub": moved(-1, "TIMESTAMP"),
    "date_diff": diff("DATE"),
    "datetime_diff": diff("TIMESTAMP"),
    "timestamp_diff": diff("TIMESTAMP"),
    "date_trunc": trunc_to("DATE"),
    "datetime_trunc": trunc_to("TIMESTAMP"),
    "timestamp_trunc": trunc_to("TIMESTAMP"),
    "last_day": {1: "last_day({0})"},
    "format_date": format_time,
    "format_datetime": format_time,
    "format_timestamp": format_time,
    "parse_date": parse_time("DATE"),
    "parse_datetime": parse_time("TIMESTAMP"),
    "parse_timestamp": parse_time("TIMESTAMP"),
    "unix_seconds": "CAST(floor(epoch({0})) AS BIGINT)",
    "unix_millis": "epoch_ms({0})",
    "timestamp_seconds": "CAST(to_timestamp({0}) AS TIMESTAMP)",
    "timestamp_millis": "epoch_ms({0})",
    "unix_date": "date_diff('day', DATE '1970-01-01', {0})",
    "date_from_unix_date": "(DATE '1970-01-01' + CAST({0} AS INTEGER))",
    "array_length": "len({0})",
    "array_concat": "list_concat({*})",
    "array_reverse": "list_reverse({0})",
    "array_to_string": {2: "array_to_string({0}, {1})"},
    "generate_array": {2: "generate_series({0}, {1})", 3: "generate_series({0}, {1}, {2})"},
    "generate_date_array": Refused("write UNNEST(GENERATE_ARRAY(0, n)) and DATE_ADD"),
    "array": Refused("write [a, b], or for a query (SELECT ARRAY_AGG(x) FROM ...)"),
    "struct": Refused("write the columns one by one"),
    "json_value": _JSON,
    "json_extract_scalar": _JSON,
    "json_extract": _JSON,
    "parse_json": _JSON,
    "to_json_string": _JSON,
    "generate_uuid": Refused("a query must return the same result when it is repeated"),
    "session_user": Refused("a job has no session"),
    "st_geogpoint": Refused("geography is not supported here"),
}  # fmt: skip

_BIG = "!BIGNUMERIC has 76 digits, of which 38 are kept here: write NUMERIC, or NUMERIC(38, 9)"
CAST = cast(
    {
        exp.DType.DECIMAL: "DECIMAL(38, 9)",
        exp.DType.BIGDECIMAL: _BIG,
        exp.DType.INT: "BIGINT",
        exp.DType.TIMESTAMPTZ: "TIMESTAMP",
    },
    in_utc=True,
)
NODES: dict[type[exp.Expr], Any] = {
    **parts.NODES,
    exp.Cast: CAST,
    exp.TryCast: CAST,
    exp.Substring: common.as_call(STARTED),
    exp.Bracket: checked.element(fails=True),
    exp.Unnest: unnested,
    exp.In: in_unnest,
    exp.Extract: extract,
    exp.CurrentTimestamp: times.utc_now,
    exp.CurrentDatetime: times.utc_now,
    exp.RawString: lambda _, node: exp.Literal.string(node.name),
    exp.SafeFunc: parts.refused("SAFE. is not translated: write SAFE_CAST, SAFE_DIVIDE or CASE"),
}


DIALECT = Dialect(
    name="bigquery",
    title="BigQuery",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN | {exp.HavingMax, exp.WeekStart},
    like_escape="\\",
    semantics=Semantics(
        float_to_integer="round",
        division_fails=True,
        whole_texts=True,
        booleans=("true", "false"),
        days_apart="DATE_DIFF(a, b, DAY)",
        quotients="9 places",
    ),
)
