"""Functions that many dialects have, of one meaning in all of them or in those that name it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects.rewriter import Aggregate, Call, Dialect, Refused, Rule, duckdb_sql, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_DIGESTS = Refused("hashes are not computed here: compute them in the job that writes the table")
FUNCTIONS: Mapping[str, Rule] = {
    **same(
        "abs", "sqrt", "exp", "ln", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "degrees", "radians", "sign",
        "floor", "ceil", "round", "mod", "power", "pi", "lower", "upper", "replace", "coalesce", "nullif", "reverse",
        "repeat", "sum", "count", "min", "max", "avg", "stddev", "stddev_samp", "stddev_pop", "var_samp",
        "var_pop", "variance", "corr", "covar_samp", "covar_pop", "row_number", "rank", "dense_rank", "percent_rank",
        "cume_dist", "ntile", "lag", "lead", "first_value", "last_value", "nth_value", "grouping", "ltrim", "rtrim",
        "translate", "any_value", "left", "right",
    ),
    "ceiling": "ceil({0})",
    "pow": "power({0}, {1})",
    "char_length": "length({0})",
    "character_length": "length({0})",
    "random": Refused("a query must return the same result when it is repeated: give a value as a parameter"),
    "rand": Refused("a query must return the same result when it is repeated: give a value as a parameter"),
    "now": "now()",
    "md5": NO_DIGESTS,
}  # fmt: skip


def joined(call: Call) -> exp.Expr:
    """CONCAT that is NULL where one of its arguments is."""
    return duckdb_sql("(" + " || ".join(f"{{{i}}}" for i in range(len(call.arguments))) + ")", call.arguments)


def counted(call: Call) -> exp.Expr:
    """COUNT, of several columns too: rows in which none of them is NULL."""
    first = call.arguments[0] if call.arguments else None
    if len(call.arguments) == 1 and isinstance(first, exp.Distinct) and len(first.expressions) > 1:
        values = first.expressions
        filled = " AND ".join(f"{{{i}}} IS NOT NULL" for i in range(len(values)))
        row = ", ".join(f"v{i} := {{{i}}}" for i in range(len(values)))
        return duckdb_sql(f"count(DISTINCT CASE WHEN {filled} THEN struct_pack({row}) END)", values)
    return duckdb_sql("count({*})", call.arguments)


def listed(call: Call) -> exp.Expr:
    """LISTAGG(x, ','), without a separator if none is said."""
    call.count(1, 2)
    return duckdb_sql("string_agg({0}, {1})", [*call.arguments, exp.Literal.string("")][:2])


def decoded(call: Call) -> exp.Expr:
    """DECODE(x, a, 1, b, 2, 0): a CASE in which NULL is equal to NULL."""
    if len(call.arguments) < 3:
        raise call.refuse("it has a value, then pairs of a candidate and a result")
    pairs = call.arguments[1:]
    branches = [f"WHEN {{0}} IS NOT DISTINCT FROM {{{2 * i + 1}}} THEN {{{2 * i + 2}}}" for i in range(len(pairs) // 2)]
    rest = f" ELSE {{{len(call.arguments) - 1}}}" if len(pairs) % 2 else ""
    return duckdb_sql(f"CASE {' '.join(branches)}{rest} END", call.arguments)


def conditional(call: Call) -> exp.Expr:
    """IF(condition, value, otherwise)."""
    call.count(2, 3)
    rest = " ELSE {2}" if len(call.arguments) == 3 else ""
    return duckdb_sql(f"CASE WHEN {{0}} THEN {{1}}{rest} END", call.arguments)


def none_is_null(name: str) -> Callable[[Call], exp.Expr]:
    """Return GREATEST or LEAST as they are where one NULL makes the result NULL."""

    def translate(call: Call) -> exp.Expr:
        filled = " AND ".join(f"{{{i}}} IS NOT NULL" for i in range(len(call.arguments)))
        return duckdb_sql(f"CASE WHEN {filled} THEN {name}({{*}}) END", call.arguments)

    return translate


def all_replaced(*, dollars: bool = False, backslashes: bool = True) -> Callable[[Call], exp.Expr]:
    """Return REGEXP_REPLACE of all matches; `dollars`: groups are `$1` in the new text, and `\\$` is a dollar."""

    def translate(call: Call) -> exp.Expr:
        call.count(2, 3)
        arguments = [*call.arguments, exp.Literal.string("")][:3]
        new = arguments[2]
        if dollars:
            if not isinstance(new, exp.Literal):
                raise call.refuse("the new text must be a quoted string here")
            if re.search(r"(?<!\\)\$(?!\d(?!\d))", new.name):
                raise call.refuse(f"{new.name!r} as the new text is not supported here: groups are $0 to $9")
            text = re.sub(r"\\(.)|\$(\d)", _java_s if not backslashes else _both, new.name, flags=re.DOTALL)
            arguments[2] = exp.Literal.string(text)
        return duckdb_sql("regexp_replace({0}, {1}, {2}, 'g')", arguments)

    return translate


def _java_s(found: re.Match[str]) -> str:
    """Return what stands for `$1` in a new text, or for a character behind a backslash, which is itself."""
    if found[2]:
        return "\\" + found[2]
    return "\\\\" if found[1] == "\\" else found[1]


def _both(found: re.Match[str]) -> str:
    return "\\" + found[2] if found[2] else found[0]


def groups(pattern: str) -> int:
    """Return how many groups a regular expression has."""
    bare = re.sub(r"\\.|\[\]?[^\]]*\]", "", pattern, flags=re.DOTALL)
    return len(re.findall(r"\((?!\?)|\(\?P?<[^=!]", bare))


def found_or_null(group: str) -> str:
    """Return the template of a part of a text that a regular expression finds, NULL where it finds none."""
    return f"CASE WHEN regexp_matches({{0}}, {{1}}) THEN regexp_extract({{0}}, {{1}}, {group}) END"


COUNT_IF = Aggregate("count(CASE WHEN {0} THEN 1 END)")


def as_call(rule: Callable[[Call], exp.Expr]) -> Callable[[Dialect, exp.Substring], exp.Expr]:
    """Return SUBSTRING(x FROM n FOR m) as the function with three arguments."""

    def translate(dialect: Dialect, node: exp.Substring) -> exp.Expr:
        parts = (node.this, node.args.get("start"), node.args.get("length"))
        return rule(Call(dialect, "substring", [part for part in parts if part is not None], node))

    return translate
