"""PostgreSQL: what its documentation (version 18) says where DuckDB says something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import checked, common, formats, parts, places, times, units
from gpuquery.runner.query.sql.dialects.casts import cast
from gpuquery.runner.query.sql.dialects.common import found_or_null
from gpuquery.runner.query.sql.dialects.rewriter import Call, Dialect, Refused, Rule, duckdb_sql, same
from gpuquery.runner.query.sql.dialects.semantics import Semantics
from gpuquery.runner.query.sql.dialects.times import formatted
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
ANY_CASE = {**formats.ORACLE, **{key.lower(): value for key, value in formats.ORACLE.items() if key.isupper()}}
ANY_CASE = {key: value for key, value in ANY_CASE.items() if key not in ("am", "pm")}
"""Letters of numbers mean the same in any case; AM and am do not."""
_pattern = formatted(ANY_CASE)


def to_char(call: Call) -> exp.Expr:
    """TO_CHAR of a time."""
    call.count(2)
    return duckdb_sql(f"strftime({{0}}, {_pattern(call, 1)})", call.arguments)


def to_date(call: Call) -> exp.Expr:
    """TO_DATE."""
    call.count(2)
    return duckdb_sql(f"CAST({times.read_by(_pattern(call, 1), century='gq_from_1970')} AS DATE)", call.arguments)


def to_timestamp(call: Call) -> exp.Expr:
    """TO_TIMESTAMP, of a text or of seconds."""
    call.count(1, 2)
    if len(call.arguments) == 1:
        return duckdb_sql("to_timestamp({0})", call.arguments)
    return duckdb_sql(times.read_by(_pattern(call, 1), century="gq_from_1970"), call.arguments)


def series(call: Call) -> exp.Expr:
    """GENERATE_SERIES, in SELECT or in FROM: rows."""
    call.count(2, 3)
    return duckdb_sql("unnest(generate_series({*}))", call.arguments)


def substring(dialect: Dialect, node: exp.Substring) -> exp.Expr:
    """SUBSTRING(x FROM n FOR m), by the standard: places before the first are counted too."""
    start = node.args.get("start")
    if isinstance(start, exp.Literal) and start.is_string:
        group = "1" if common.groups(start.name) else "0"  # what the brackets hold, if there are some
        return duckdb_sql(found_or_null(group), [node.this, start])
    return common.as_call(substr)(dialect, node)


def substr(call: Call) -> exp.Expr:
    """SUBSTR, as SUBSTRING."""
    call.count(2, 3)
    start = call.number(1)
    if len(call.arguments) == 3 and ((length := call.number(2)) is None or length < 0):
        call.arguments[2] = duckdb_sql(
            checked.length_of(call, 2, fails=True).replace("{2}", "{0}"), [call.arguments[2]]
        )
    if start is not None and start > 0:
        return duckdb_sql("substr({*})", call.arguments)
    first = "1" if start is not None else "greatest({1}, 1)"
    if len(call.arguments) == 2:
        return duckdb_sql(f"substr({{0}}, {first})", call.arguments)
    less = f"{{2}} - {1 - start}" if start is not None else "{2} - greatest(1 - {1}, 0)"
    return duckdb_sql(f"substr({{0}}, {first}, greatest({less}, 0))", call.arguments)


def padded(name: str) -> Mapping[int, str]:
    """LPAD and RPAD, with blanks where nothing is said."""
    return {2: f"{name}({{0}}, {{1}}, ' ')", 3: f"{name}({{0}}, {{1}}, {{2}})"}


def array_length(call: Call) -> exp.Expr:
    """ARRAY_LENGTH(x, 1)."""
    if call.number(1) != 1:
        raise call.refuse("only the first dimension of an array is supported here")
    return duckdb_sql("nullif(len({0}), 0)", call.arguments)


def in_array(call: Call) -> exp.Expr:
    """`x <> ALL (ARRAY[1, 2])`."""
    call.count(1)
    return duckdb_sql("ALL({0})", call.arguments)


def date_trunc(call: Call) -> exp.Expr:
    """DATE_TRUNC('month', d); centuries begin in the year 1 there."""
    call.count(2)
    unit = units.named(call.arguments[0])
    if unit not in (
        "decade",
        "year",
        "quarter",
        "month",
        "week",
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
    ):
        raise call.refuse(
            f"{units.shown(call.arguments[0])} is not a part of a date or time that is supported here ({units.KNOWN})"
        )
    return duckdb_sql(f"date_trunc('{unit}', {{0}})", call.arguments[1:])


def total(call: Call) -> exp.Expr:
    """SUM, which is a NUMERIC of BIGINTs."""
    call.count(1)
    value = call.arguments[0]
    if isinstance(value, exp.Distinct):
        return duckdb_sql("sum(DISTINCT gq_summed({0}))", value.expressions)
    return duckdb_sql("sum(gq_summed({0}))", [value])


def operator(template: str) -> Callable[[Dialect, exp.Binary], exp.Expr]:
    """Return the rule for an operator of two sides."""
    return lambda _, node: duckdb_sql(f"({template})", [node.this, node.expression])


def plain_text(dialect: Dialect, node: exp.ByteString | exp.RawString) -> exp.Expr:
    """E'a' and $$a$$; of the backslashes in the first only the plainest are known."""
    text = str(node.name)
    if isinstance(node, exp.ByteString) and "\\" in text:
        raise SqlError(f"{dialect.title}'s E'...' with this backslash is not supported here", places.place(node))
    return exp.Literal.string(text)


def string_to_array(call: Call) -> exp.Expr:
    """STRING_TO_ARRAY('a,b', ','): of an empty text an empty array."""
    call.count(2)
    if isinstance(call.arguments[1], exp.Null):
        raise call.refuse("NULL as the separator, for the single characters, is not supported here: write ''")
    return duckdb_sql("CASE WHEN {0} = '' THEN [] ELSE string_split({0}, {1}) END", call.arguments)


def shown(name: str) -> Callable[[Call], exp.Expr]:
    """Return CONCAT or CONCAT_WS, which show TRUE as `t`."""

    def translate(call: Call) -> exp.Expr:
        values = ", ".join(f"gq_shown({{{i}}})" for i in range(len(call.arguments)))
        return duckdb_sql(f"{name}({values})", call.arguments)

    return translate


def any_of(dialect: Dialect, node: exp.EQ) -> exp.Expr:
    """`x = ANY (ARRAY[1, 2])` is IN."""
    right = node.expression
    if not isinstance(right, exp.Any):
        return node
    values = right.this.this if isinstance(right.this, exp.Paren) else right.this
    if isinstance(values, exp.Array):
        listed = ", ".join(f"{{{i + 1}}}" for i in range(len(values.expressions)))
        return duckdb_sql(f"({{0}} IN ({listed}))", [node.this, *values.expressions])
    if isinstance(values, exp.Query | exp.Subquery):
        return node
    return duckdb_sql(checked.contains("{1}", "{0}"), [node.this, values])


def date_part(call: Call) -> exp.Expr:
    """DATE_PART('year', d): a DOUBLE."""
    call.count(2)
    found = times.part_of(call.dialect, call.arguments[0], call.arguments[1], PARTS, call.node)
    return duckdb_sql("CAST({0} AS DOUBLE)", [found])


def extract(dialect: Dialect, node: exp.Extract) -> exp.Expr:
    """EXTRACT: a NUMERIC, so a quotient of it is not cut to a whole number."""
    found = times.part_of(dialect, node.this, node.expression, PARTS, node)
    return (
        found if units.named(node.this) in ("second", "epoch") else duckdb_sql("CAST({0} AS DECIMAL(38, 0))", [found])
    )


PARTS = {
    "second": "(extract(microsecond FROM {0}) / CAST(1000000 AS DOUBLE))",
    "millisecond": "(extract(microsecond FROM {0}) / CAST(1000 AS DOUBLE))",
    "microsecond": "extract(microsecond FROM {0})",
}
"""The seconds of PostgreSQL have a fraction, and smaller parts count all of the seconds."""
MACROS = (
    times.CENTURY,
    "CREATE MACRO gq_shown(x BOOLEAN) AS CASE WHEN x THEN 't' WHEN NOT x THEN 'f' END, (x) AS x",
    *(
        f"CREATE MACRO gq_{name}(x {', (x '.join(f'{kind}) AS CAST(x AS DOUBLE)' for kind in WHOLE)}, (x) AS {name}(x)"
        for name in ("round", "trunc")
    ),
    "CREATE MACRO gq_summed(x TINYINT) AS x, (x SMALLINT) AS x, (x INTEGER) AS x, "
    "(x BIGINT) AS CAST(x AS DECIMAL(19, 0)), (x) AS x",
)
"""What goes by types: ROUND of a whole number is a DOUBLE, the sum of BIGINTs a NUMERIC."""

CAST = cast({exp.DType.DECIMAL: "DECIMAL(38, 10)"}, cuts_texts=True, pads=True)


def _counted(call: Call, test: str) -> exp.Expr:
    """NUM_NULLS and NUM_NONNULLS."""
    return duckdb_sql(
        "(" + " + ".join(f"CASE WHEN {{{i}}} {test} THEN 1 ELSE 0 END" for i in range(len(call.arguments))) + ")",
        call.arguments,
    )


FUNCTIONS: Mapping[str, Rule] = {
    **common.FUNCTIONS,
    **same(
        "length", "greatest", "least", "strpos", "ascii", "chr", "cbrt", "gcd", "sinh", "cosh", "tanh", "cot",
        "lcm", "make_date", "make_timestamp", "bool_and", "bit_length", "regr_sxx", "regr_sxy", "regr_syy", "bit_and",
        "bool_or", "bit_or", "bit_xor", "regr_slope", "regr_intercept", "regr_r2",
        "regr_count", "regr_avgx", "regr_avgy", "string_agg",
        "array_to_string", "unnest", "starts_with", "regexp_split_to_array", "mode",
    ),
    **checked.MATHEMATICS,
    "log": {
        1: checked.logarithm("log10({0})", checked.NO_LOGARITHM),
        2: checked.logarithm("log({0}, {1})", checked.NO_LOGARITHM, number=1),
    },
    "all": in_array,
    "concat": shown("concat"),
    "concat_ws": shown("concat_ws"),
    "split_part": checked.split_part(),
    "date_trunc": date_trunc,
    "sum": total,
    "round": {1: "gq_round({0})", 2: "round({0}, {1})"},
    "sign": "CAST(sign({0}) AS DOUBLE)",
    "factorial": "CAST(factorial({0}) AS DECIMAL(38, 0))",
    "array_agg": "list({*})",
    "every": "bool_and({0})",
    "to_char": to_char,
    "to_date": to_date,
    "to_timestamp": to_timestamp,
    "generate_series": series,
    "substr": substr,
    "lpad": padded("lpad"),
    "rpad": padded("rpad"),
    "btrim": "trim({*})",
    "trunc": {1: "gq_trunc({0})", 2: "trunc({0}, {1})"},
    "div": "CAST(trunc({0} / {1}) AS DECIMAL(38, 0))",
    "octet_length": "strlen({0})",
    "date_part": date_part,
    "age": Refused("it has years, months and days in one value, which is not kept: write b - a, or date_diff"),
    "clock_timestamp": Refused("it differs from row to row: write now(), the time when the job was created"),
    "statement_timestamp": "now()",
    "transaction_timestamp": "now()",
    "regexp_replace": {3: "regexp_replace({0}, {1}, {2})", 4: "regexp_replace({0}, {1}, {2}, {3})"},
    "regexp_like": {2: "regexp_matches({0}, {1})", 3: "regexp_matches({0}, {1}, {2})"},
    "regexp_substr": found_or_null("0"),
    "regexp_match": Refused("it returns an array of groups: write substring(x FROM 'pattern')"),
    "regexp_matches": Refused("it returns a row for each match: write x ~ 'pattern' for whether there is one"),
    "array_length": array_length,
    "cardinality": "len({0})",
    "array_append": "list_append({0}, {1})",
    "array_cat": "list_concat({0}, {1})",
    "array_position": "list_position({0}, {1})",
    "percentile_cont": "percentile_cont({0})",
    "percentile_disc": "percentile_disc({0})",
    "bool_xor": Refused("count the TRUE ones: count(*) FILTER (WHERE x) % 2 = 1"),
    "initcap": checked.words_capitalized("[:alnum:]"),
    "string_to_array": string_to_array,
    "array_prepend": "list_concat([{0}], {1})",
    "array_remove": "list_filter({0}, lambda item: item IS DISTINCT FROM {1})",
    "array_upper": array_length,
    "md5": common.NO_DIGESTS,
    "sha256": common.NO_DIGESTS,
    "regexp_count": {2: "len(regexp_extract_all({0}, {1}))"},
    "num_nulls": lambda call: _counted(call, "IS NULL"),
    "num_nonnulls": lambda call: _counted(call, "IS NOT NULL"),
    "count": common.counted,
    "json_agg": Refused("JSON is not supported here"),
    "row": "row({*})",
}  # fmt: skip

NODES: dict[type[exp.Expr], Any] = {
    **parts.NODES,
    exp.Cast: CAST,
    exp.TryCast: CAST,
    exp.Kwarg: parts.refused("arguments with names are not supported here: write them in their order"),
    exp.Pow: lambda dialect, node: checked.power(Call(dialect, "^", [node.this, node.expression], node)),
    exp.BitwiseAnd: operator("{0} & {1}"),
    exp.BitwiseOr: operator("{0} | {1}"),
    exp.BitwiseXor: operator("xor({0}, {1})"),
    exp.BitwiseLeftShift: operator("{0} << {1}"),
    exp.BitwiseRightShift: operator("{0} >> {1}"),
    exp.BitwiseNot: lambda _, node: duckdb_sql("(~{0})", [node.this]),
    exp.ArrayContainsAll: operator("list_has_all({0}, {1})"),
    exp.ArrayOverlaps: operator("list_has_any({0}, {1})"),
    exp.ByteString: plain_text,
    exp.RawString: plain_text,
    exp.Bracket: checked.element(fails=False),
    exp.Substring: substring,
    exp.EQ: any_of,
    exp.Extract: extract,
    exp.Localtimestamp: times.utc_now,
}

DIALECT = Dialect(
    name="postgres",
    title="PostgreSQL",
    functions=FUNCTIONS,
    nodes=NODES,
    known=parts.KNOWN | {exp.PercentileCont, exp.PercentileDisc},
    integer_division=True,
    macros=MACROS,
    like_escape="\\",
    semantics=Semantics(division_fails=True, whole_texts=True, rounds_to_even=True),
)
