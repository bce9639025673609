"""Functions whose arguments are looked at first: what fails there fails here, and is no NaN and no other value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects.rewriter import Call, Dialect, Rule, duckdb_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def failing(words: str) -> str:
    """Return what fails with these words where it stands in a branch of CASE."""
    return "error('" + words.replace("'", "''") + "')"


NO_LOGARITHM = failing("only numbers above zero have a logarithm")


def logarithm(template: str, otherwise: str, *, number: int = 0) -> Callable[[Call], exp.Expr]:
    """Return a logarithm, and what it is of zero and less. DuckDB's is -infinity, or NaN."""

    def translate(call: Call) -> exp.Expr:
        call.count(1 if template.count("{") == 1 else 2)
        if (call.number(number) or 0) > 0:
            return duckdb_sql(template, call.arguments)
        return duckdb_sql(f"CASE WHEN {{{number}}} <= 0 THEN {otherwise} ELSE {template} END", call.arguments)

    return translate


def root(call: Call) -> exp.Expr:
    """SQRT, which fails for a negative number."""
    call.count(1)
    if (call.number(0) or 0) > 0:
        return duckdb_sql("sqrt({0})", call.arguments)
    return duckdb_sql(
        f"CASE WHEN {{0}} < 0 THEN {failing('a negative number has no root')} ELSE sqrt({{0}}) END", call.arguments
    )


def power(call: Call) -> exp.Expr:
    """POWER, which fails for 0 to a negative power, and for a root of a negative number."""
    call.count(2)
    if (call.number(1) or -1) > 0:
        return duckdb_sql("power({0}, {1})", call.arguments)
    return duckdb_sql(
        f"CASE WHEN {{0}} = 0 AND {{1}} < 0 THEN {failing('zero has no negative power')} "
        f"WHEN {{0}} < 0 AND {{1}} <> floor({{1}}) THEN {failing('a negative number has no such power')} "
        "ELSE power({0}, {1}) END",
        call.arguments,
    )


def length_of(call: Call, index: int, *, fails: bool) -> str:
    """Return the template of an argument that is a number of characters; a negative one fails, or is 0."""
    number = call.number(index)
    if number is not None and number >= 0:
        return f"{{{index}}}"
    if number is not None and fails:
        raise call.refuse("a length below zero fails there")
    if fails:
        return f"CASE WHEN {{{index}}} < 0 THEN {failing('a length below zero')} ELSE {{{index}}} END"
    return f"greatest({{{index}}}, 0)"


def side(name: str, *, fails: bool = False) -> Callable[[Call], exp.Expr]:
    """Return LEFT or RIGHT; with a negative number DuckDB leaves so many out at the other end."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        return duckdb_sql(f"{name}({{0}}, {length_of(call, 1, fails=fails)})", call.arguments)

    return translate


def split_part(*, zero_is_one: bool = False, negative: bool = True) -> Callable[[Call], exp.Expr]:
    """Return SPLIT_PART: part 0 fails, or is part 1, a text is not split at nothing."""

    def translate(call: Call) -> exp.Expr:
        call.count(3)
        number, at = call.number(2), call.arguments[1]
        if number is not None and (number < 0 and not negative):
            raise call.refuse("a part must be a number above zero")
        if number == 0 and not zero_is_one:
            raise call.refuse("there is no part 0: parts count from 1")
        part = "{2}"
        if number == 0:
            part = "1"
        elif number is None and zero_is_one:
            part = "CASE WHEN {2} = 0 THEN 1 ELSE {2} END"
        elif number is None:
            bad = "{2} = 0" if negative else "{2} < 1"
            part = f"CASE WHEN {bad} THEN {failing('there is no such part: parts count from 1')} ELSE {{2}} END"
        found = f"split_part({{0}}, {{1}}, {part})"
        if isinstance(at, exp.Literal) and at.name:
            return duckdb_sql(found, call.arguments)
        return duckdb_sql(
            f"CASE WHEN {{1}} <> '' THEN {found} WHEN {part} IN (1, -1) THEN {{0}} ELSE left({{0}}, 0) END",
            call.arguments,
        )

    return translate


BEFORE_THE_FIRST = failing("a start before the first character: write right(x, n) for the last n")


def started(*, before: str = "{1}", fails: bool = False) -> Callable[[Call], exp.Expr]:
    """Return SUBSTR where a position of 0 is 1, and a negative one counts from the end.

    `before` is the template of a negative start, where one before the first character is not as in DuckDB, which
    leaves out what would stand there; a length below zero is 0, or it fails.
    """

    def translate(call: Call) -> exp.Expr:
        call.count(2, 3)
        start = call.number(1)
        place = "{1}"
        if start == 0:
            place = "1"
        elif start is None:
            place = f"CASE WHEN {{1}} = 0 THEN 1 WHEN {{1}} < 0 THEN {before} ELSE {{1}} END"
        elif start < 0:
            place = before
        length = f", {length_of(call, 2, fails=fails)}" if len(call.arguments) == 3 else ""
        return duckdb_sql(f"substr({{0}}, {place}{length})", call.arguments)

    return translate


NO_ELEMENT = "a list has no element at this place"


def element(*, fails: bool) -> Callable[[Dialect, exp.Bracket], exp.Expr]:
    """Return x[i]: what lies outside of a list fails, or is NULL; DuckDB counts from the end below zero.

    sqlglot has brought the index to one that counts from 0, but for BigQuery's ORDINAL.
    """

    def translate(_: Dialect, node: exp.Bracket) -> exp.Expr:
        if len(node.expressions) != 1 or isinstance(node.expressions[0], exp.Slice):
            return node
        index = node.expressions[0]
        if isinstance(index, exp.Literal) and index.is_string:
            return node
        safe = node.args.get("safe")
        place = "({1} - 1)" if node.args.get("offset") == 1 else "{1}"
        return outside_fails(node.this, index, place, fails=fails if safe is None else not safe)

    return translate


def outside_fails(items: exp.Expr, index: exp.Expr, place: str, *, fails: bool) -> exp.Expr:
    """Return an element; `place` is the template of its index from 0."""
    inside = f"{place} >= 0" + (f" AND {place} < len({{0}})" if fails else "")
    bad = f" WHEN {{0}} IS NOT NULL AND {{1}} IS NOT NULL THEN {failing(NO_ELEMENT)}" if fails else ""
    return duckdb_sql(f"CASE WHEN {inside} THEN ({{0}})[{place} + 1]{bad} END", [items, index])


def got(call: Call) -> exp.Expr:
    """GET(x, i): NULL outside of the list."""
    call.count(2)
    return outside_fails(call.arguments[0], call.arguments[1], "{1}", fails=False)


def element_at(*, fails: bool) -> Callable[[Call], exp.Expr]:
    """Return ELEMENT_AT, which counts from 1 and from the end, and fails for 0; outside it fails, or is NULL."""

    def translate(call: Call) -> exp.Expr:
        call.count(2)
        bad = "{1} = 0" + (" OR abs({1}) > len({0})" if fails else "")
        return duckdb_sql(f"CASE WHEN {bad} THEN {failing(NO_ELEMENT)} ELSE ({{0}})[{{1}}] END", call.arguments)

    return translate


def contains(items: str, value: str) -> str:
    """Return the template of whether a list holds a value: NULL if it does not, and holds NULL."""
    found = f"list_contains({items}, {value})"
    return f"CASE WHEN {found} THEN TRUE WHEN {value} IS NOT NULL AND list_count({items}) = len({items}) THEN FALSE END"


DISTINCT = (
    f"CASE WHEN list_count({{0}}) < len({{0}}) THEN {failing('a list with NULL in it: filter it out first')} "
    "ELSE list_distinct({0}) END"
)
"""The distinct elements of a list, in their order; DuckDB's leave NULL out."""


def sequence(call: Call) -> exp.Expr:
    """SEQUENCE(1, 5), which counts down where its end is the lower one."""
    call.count(2, 3)
    if len(call.arguments) == 3:
        return duckdb_sql("generate_series({*})", call.arguments)
    first, last = call.number(0), call.number(1)
    if first is not None and last is not None:
        return duckdb_sql("generate_series({0}, {1}" + (")" if first <= last else ", -1)"), call.arguments)
    return duckdb_sql(
        "CASE WHEN {0} <= {1} THEN generate_series({0}, {1}) ELSE generate_series({0}, {1}, -1) END", call.arguments
    )


def words_capitalized(separators: str) -> str:
    """Return the template of INITCAP; `separators` is a class of characters of a regular expression."""
    return (
        f"array_to_string(list_transform(regexp_extract_all({{0}}, '[{separators}]+|[^{separators}]+'), "
        "lambda word: upper(left(word, 1)) || lower(substr(word, 2))), '')"
    )


MATHEMATICS: Mapping[str, Rule] = {
    "ln": logarithm("ln({0})", NO_LOGARITHM),
    "log10": logarithm("log10({0})", NO_LOGARITHM),
    "log2": logarithm("log2({0})", NO_LOGARITHM),
    "sqrt": root,
    "power": power,
    "pow": power,
}
"""Where a number that has no result fails: PostgreSQL, Redshift, Snowflake, BigQuery."""
