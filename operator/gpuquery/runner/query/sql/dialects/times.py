"""Times in all dialects: what is added to them, cut from them and read from them, and how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import formats, places, units
from gpuquery.runner.query.sql.dialects.rewriter import Call, Dialect, duckdb_sql
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def formatted(letters: Mapping[str, str], *, any_case: bool = False) -> Callable[[Call, int], str]:
    """Return a function that reads an argument as a pattern and returns strftime's, in quotes."""

    def pattern(call: Call, index: int) -> str:
        text = call.text(index, "the pattern")
        try:
            found = formats.translated(text, letters, any_case=any_case)
        except formats.UnknownLetterError as exc:
            raise call.refuse(f"{str(exc)!r} in the pattern {text!r} is not supported here") from None
        return "'" + found.replace("'", "''") + "'"

    return pattern


def added(value: exp.Expr, count: exp.Expr, unit: str, *, sign: int = 1) -> exp.Expr:
    """Return a time and a number of units later, or earlier."""
    number = _whole(count)
    if number is not None:
        return duckdb_sql(f"({{0}} + {units.interval(sign * number, unit)})", [value])
    return duckdb_sql(f"({{0}} {'+' if sign > 0 else '-'} {units.duration('{1}', unit)})", [value, count])


def _whole(node: exp.Expr) -> int | None:
    sign = 1
    while isinstance(node, exp.Neg | exp.Paren):
        sign, node = (-sign if isinstance(node, exp.Neg) else sign), node.this
    return sign * int(node.name) if isinstance(node, exp.Literal) and node.name.isdigit() else None


def weeks(values: Sequence[exp.Expr]) -> exp.Expr:
    """Return how many Mondays lie between two times; DuckDB's date_diff of weeks counts seven days each."""
    return duckdb_sql("(date_diff('day', date_trunc('week', {0}), date_trunc('week', {1})) // 7)", values)


def moved(_: Dialect, node: exp.Add | exp.Sub) -> exp.Expr:
    """A day and an INTERVAL of days or months, which is a day again in these dialects."""
    left, right = node.this, node.expression
    if isinstance(right, exp.Interval) and _is_of_days(right):
        return duckdb_sql(f"gq_moved({{0}}, {'-' if isinstance(node, exp.Sub) else ''}{{1}})", [left, right])
    if isinstance(left, exp.Interval) and isinstance(node, exp.Add) and _is_of_days(left):
        return duckdb_sql("gq_moved({0}, {1})", [right, left])
    return node


def _is_of_days(interval: exp.Interval) -> bool:
    return units.named(interval.args.get("unit")) in ("day", "week", "month", "quarter", "year")


MONTHS_ADDED = (
    "CREATE MACRO gq_add_months_to_the_end(x DATE, n BIGINT) AS CASE WHEN x = last_day(x) "
    "THEN last_day(x + to_months(CAST(n AS INTEGER))) ELSE CAST(x + to_months(CAST(n AS INTEGER)) AS DATE) END, "
    "(x TIMESTAMP, n BIGINT) AS CASE WHEN CAST(x AS DATE) = last_day(x) "
    "THEN CAST(last_day(x + to_months(CAST(n AS INTEGER))) AS TIMESTAMP) + (x - CAST(CAST(x AS DATE) AS TIMESTAMP)) "
    "ELSE x + to_months(CAST(n AS INTEGER)) END"
)
"""ADD_MONTHS where the last day of a month stays the last day, in a longer month too."""


CENTURY = "CREATE MACRO gq_from_1970(x TIMESTAMP) AS CASE WHEN year(x) = 1969 THEN x + INTERVAL '100 years' ELSE x END"
"""A year of two digits that was read as 1969, where 69 is 2069: years of two digits begin in 1970."""
CENTURY_OF_JAVA = (
    "CREATE MACRO gq_from_2000(x TIMESTAMP) AS CASE WHEN year(x) < 2000 THEN x + INTERVAL '100 years' ELSE x END"
)
"""A year of two digits where Java reads it: it is one of this century."""


def read_by(pattern: str, *, century: str = "", parse: str = "strptime", text: str = "{0}") -> str:
    """Return the template that reads a text by a pattern; `century` is the macro for a year of two digits."""
    read = f"{parse}({text}, {pattern})"
    return f"{century}({read})" if century and "%y" in pattern else read


MOVED = (
    "CREATE MACRO gq_moved(x DATE, i INTERVAL) AS CAST(x + i AS DATE), (x TIMESTAMP, i INTERVAL) AS x + i, "
    "(x TIMESTAMPTZ, i INTERVAL) AS x + i"
)
"""What `moved` needs."""


def utc_now(_: Dialect, node: exp.Expr) -> exp.Expr:
    """The moment, as a TIMESTAMP without a zone."""
    return duckdb_sql("CAST(now() AS TIMESTAMP)")


def moment(_: Dialect, node: exp.Expr) -> exp.Expr:
    """The moment, as a TIMESTAMP WITH TIME ZONE."""
    return duckdb_sql("now()")


def extracted(parts: Mapping[str, str]) -> Callable[[Dialect, exp.Extract], exp.Expr]:
    """Return EXTRACT; `parts` are templates for those parts of time that are not DuckDB's of the same name."""

    def translate(dialect: Dialect, node: exp.Extract) -> exp.Expr:
        return part_of(dialect, node.this, node.expression, parts, node)

    return translate


_PARTS = {
    "millisecond": "(extract(millisecond FROM {0}) % 1000)",
    "microsecond": "(extract(microsecond FROM {0}) % 1000000)",
}
"""Parts of a second; PostgreSQL and DuckDB count the whole seconds of the minute too."""


def part_of(dialect: Dialect, part: exp.Expr, value: exp.Expr, parts: Mapping[str, str], node: exp.Expr) -> exp.Expr:
    """Return a part of a time."""
    name = units.named(part)
    if name is None:
        raise SqlError(
            f"{units.shown(part)} is not a part of a date or time that is supported here", places.place(node)
        )
    template = parts.get(name) or _PARTS.get(name) or f"extract({'week' if name == 'isoweek' else name} FROM {{0}})"
    return duckdb_sql(template, [value])
