"""Regular expressions, in RE2's syntax as in DuckDB. A pattern is a constant, so that it can be checked before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.functions.regex_syntax import DiffersError, Pattern, end_of_text, quoted, replacement
from gpuquery.runner.query.sql.functions.table import Table

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Regular expressions")
_MARK = "\U0010ffff"
"""A code point that is no character and never will be: texts hold it by mistake only."""


def _pattern(call: FunctionCall, options: int | None = None) -> Pattern:
    """Return the pattern of a call, with its options."""
    text = call.constant(1)
    letters = call.constant(options) if options is not None and len(call.values) > options else ""
    if unknown := set(letters) - set("cilmnpsg"):
        raise call.refuse(f"'{''.join(sorted(unknown))}' is not an option of a regular expression", options)
    try:
        found = Pattern(text, rust=quoted(text)) if "l" in letters else Pattern.of(text, end_of_text(call.target))
    except DiffersError as differs:
        raise call.refuse(f"the regular expression '{text}' cannot be used: {differs}", 1) from None
    flags = "".join(flag for flag in "is" if flag in letters)
    found.rust = fitting(call, f"(?{flags}){found.rust}" if flags else found.rust)
    return found


def fitting(call: FunctionCall, regex: str) -> str:
    """Return a regular expression that Polars takes: what it makes of one may have 10 MB. GPUs have their own."""
    if call.target.gpu:
        return regex
    try:
        pl.Series([""]).str.contains(regex)
    except pl.exceptions.ComputeError:
        raise call.refuse("the pattern is too large: write it shorter, or with fewer repetitions", 1) from None
    return regex


def _matches(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].str.contains(_pattern(call, 2).rust)


def _full_match(call: FunctionCall) -> pl.Expr:
    return call.exprs[0].str.contains(f"^(?:{_pattern(call, 2).rust}){end_of_text(call.target)}")


def _replace(call: FunctionCall) -> pl.Expr:
    pattern = _pattern(call, 3)
    try:
        by = replacement(call.constant(2), pattern.groups)
    except DiffersError as differs:
        raise call.refuse(f"{differs}: the regular expression has {pattern.groups} groups", 2) from None
    everywhere = len(call.values) > 3 and "g" in call.constant(3)
    # The group is for Polars, which takes a pattern of letters for a text, and then `$$` for two dollars.
    text, regex = call.exprs[0], f"(?:{pattern.rust})"
    return text.str.replace_all(regex, by) if everywhere else text.str.replace(regex, by)


def _group(text: pl.Expr, pattern: Pattern, index: int) -> pl.Expr:
    """Return a group of the first match; an empty text where there is none."""
    if index > pattern.groups:
        return pl.when(text.is_not_null()).then(pl.lit(""))
    return pl.when(text.is_not_null()).then(text.str.extract(pattern.rust, index).fill_null(""))


def _extract(call: FunctionCall) -> pl.Expr:
    text, pattern = call.exprs[0], _pattern(call, 3)
    wanted = call.constant(2) if len(call.values) > 2 else 0
    if isinstance(wanted, list):
        fields = [_group(text, pattern, index).alias(name) for index, name in enumerate(wanted, start=1)]
        return known_struct(text, fields)
    if isinstance(wanted, str):
        raise call.refuse("give the number of the group before the options", 2)
    if not 0 <= wanted <= 9:
        raise call.refuse("the number of a group is 0 to 9", 2)
    return _group(text, pattern, wanted)


def known_struct(text: pl.Expr, fields: list[pl.Expr]) -> pl.Expr:
    """Return a struct, NULL where the text is."""
    return pl.when(text.is_not_null()).then(pl.struct(fields))


def _extract_all(call: FunctionCall) -> pl.Expr:
    """Return all matches, or a group of each: found again in what matched, so nothing around it may count."""
    text, pattern = call.exprs[0], _pattern(call, 3)
    index = call.constant(2) if len(call.values) > 2 else 0
    if not isinstance(index, int):
        raise call.refuse("regexp_extract_all takes the number of one group", 2)
    if not 0 <= index <= pattern.groups:
        raise call.refuse(f"the regular expression has no group {index}", 2)
    if pattern.matches_nothing:
        raise call.refuse("regexp_extract_all does not support a regular expression that may match an empty string", 1)
    found = text.str.extract_all(pattern.rust)
    if index == 0:
        return found
    if pattern.anchored:
        raise call.refuse("groups of a regular expression with ^, $ or \\b cannot be taken from all matches", 1)
    return found.list.eval(pl.element().str.extract(pattern.rust, index))


def _split(call: FunctionCall) -> pl.Expr:
    pattern, text = _pattern(call, 2), call.exprs[0]
    if not call.constant(1):
        return text.str.split("")
    if pattern.matches_nothing:
        raise call.refuse("a string cannot be split by a regular expression that may match an empty string", 1)
    return text.str.replace_all(pattern.rust, _MARK).str.split(_MARK)


TABLE.add(
    "regexp_matches", "VARCHAR, 'VARCHAR, ['VARCHAR] -> BOOLEAN", build=_matches,
    does="Whether the pattern matches somewhere in the text: `a ~ pattern`; `a ~* pattern` ignores case.",
)  # fmt: skip
TABLE.add(
    "regexp_full_match", "VARCHAR, 'VARCHAR, ['VARCHAR] -> BOOLEAN", build=_full_match,
    does="Whether the pattern matches the whole text: `a SIMILAR TO pattern`.",
)  # fmt: skip
TABLE.add(
    "regexp_replace", "VARCHAR, 'VARCHAR, 'VARCHAR, ['VARCHAR] -> VARCHAR", build=_replace,
    does="The text with the first match replaced, or all of them with the option 'g'; `\\1` is the first group.",
)  # fmt: skip
TABLE.add(
    "regexp_extract", "VARCHAR, 'VARCHAR, ['INTEGER|VARCHAR|LIST], ['VARCHAR] -> VARCHAR", build=_extract,
    does="The first match, or a group of it, empty if there is none; with a list of names a struct of groups.",
)  # fmt: skip
TABLE.add(
    "regexp_extract_all", "VARCHAR, 'VARCHAR, ['INTEGER], ['VARCHAR] -> VARCHAR[]", build=_extract_all,
    does="All matches, or a group of each.",
)  # fmt: skip
TABLE.add(
    "string_split_regex", "VARCHAR, 'VARCHAR, ['VARCHAR] -> VARCHAR[]", build=_split,
    aliases="regexp_split_to_array str_split_regex", does="The parts of the text between matches of the pattern.",
)  # fmt: skip
TABLE.add_expr(
    "regexp_escape", "VARCHAR -> VARCHAR", does="A pattern that matches this text only.",
    build=lambda text: text.str.replace_all(r"[^A-Za-z0-9_\x{80}-\x{10FFFF}]", r"\$0"),
)  # fmt: skip
