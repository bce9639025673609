"""LIKE and its relatives: `%` is any text, `_` any one character; of GLOB `*` and `?` are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.functions.letters import lower, small
from gpuquery.runner.query.sql.functions.regex import fitting
from gpuquery.runner.query.sql.functions.regex_syntax import end_of_text, quoted
from gpuquery.runner.query.sql.functions.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Patterns")
_ANY_TEXT, _ANY_CHARACTER = r"[\s\S]*", r"[\s\S]"
"""Not `.` with a flag: cudf knows no flags within a pattern."""


def _parts(pattern: str, escape: str, call: FunctionCall) -> Iterator[str | None]:
    """Return the pattern in pieces: text, None for any text, an empty text for any one character."""
    text, letters = "", iter(pattern)
    for letter in letters:
        if letter == escape:
            following = next(letters, None)
            if following is None:
                raise call.refuse(f"the pattern '{pattern}' ends with its escape character", 1)
            text += following
            continue
        if letter not in "%_":
            text += letter
            continue
        if text:
            yield text
        text = ""
        yield None if letter == "%" else ""
    if text:
        yield text


def _matches(call: FunctionCall, text: pl.Expr, parts: Sequence[str | None]) -> pl.Expr:
    """Match a text with the pieces of a pattern, without a regular expression where none is needed."""
    words = [part for part in parts if part]
    if "" not in parts and len(words) <= 1:
        match [part is None for part in parts]:
            case []:
                return text == ""
            case [False]:
                return text == words[0]
            case [False, *_]:
                return text.str.starts_with(words[0])
            case [*_, False]:
                return text.str.ends_with(words[0])
            case _ if words:
                return text.str.contains(words[0], literal=True)
            case _:
                return text == text  # noqa: PLR0124 - NULL stays NULL
    start, end = "" if parts[0] is None else "^", "" if parts[-1] is None else end_of_text(call.target)
    inner = parts[parts[0] is None : len(parts) - (parts[-1] is None)]
    body = "".join(_ANY_TEXT if part is None else quoted(part) if part else _ANY_CHARACTER for part in inner)
    return text.str.contains(fitting(call, f"{start}{body}{end}"))


def _like(*, fold: bool) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        text = lower(call.exprs[0], call.target) if fold else call.exprs[0]
        escape = call.constant(2) if len(call.values) > 2 else ""
        if len(escape) > 1:
            raise call.refuse(f"an escape character is one character, not '{escape}'", 2)
        if call.is_constant(1):
            pattern = call.constant(1)
            parts = list(_parts(small(pattern) if fold else pattern, escape, call))
            return _matches(call, text, parts)
        if escape:
            raise call.refuse("a pattern with ESCAPE must be a constant; here it depends on the row", 1)
        pattern = call.exprs[1]
        return text.str.contains(_as_regex(lower(pattern, call.target) if fold else pattern))

    return build


def _as_regex(pattern: pl.Expr) -> pl.Expr:
    """Make regular expressions of a column of patterns."""
    plain = pattern.str.escape_regex()
    any_text = plain.str.replace_all("%", _ANY_TEXT, literal=True)
    return pl.concat_str(pl.lit("^"), any_text.str.replace_all("_", _ANY_CHARACTER, literal=True), pl.lit("$"))


def _glob(call: FunctionCall) -> pl.Expr:
    pattern, body, at = call.constant(1), "", 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "[":
            end = pattern.find("]", at + 2)
            if end < 0 or not pattern[at:end].isascii():
                raise call.refuse(f"the pattern '{pattern}' has a set of characters that is not supported", 1)
            inside = pattern[at + 1 : end]
            negated = inside.startswith("!")
            inside = inside.removeprefix("!") if negated else inside
            body += f"[{'^' if negated else ''}{_set(inside)}]"
            at = end
        elif letter == "\\" and at + 1 < len(pattern):
            at += 1
            body += quoted(pattern[at])
        else:
            body += {"*": _ANY_TEXT, "?": _ANY_CHARACTER}.get(letter) or quoted(letter)
        at += 1
    return call.exprs[0].str.contains(fitting(call, f"^{body}{end_of_text(call.target)}"))


def _set(inside: str) -> str:
    return "".join(letter if letter == "-" or letter.isalnum() else quoted(letter) for letter in inside)


TABLE.add(
    "like", "VARCHAR, VARCHAR, ['VARCHAR] -> BOOLEAN", build=_like(fold=False),
    aliases="~~ like_escape !~~ not_like_escape",
    does="`a LIKE pattern`, `a NOT LIKE pattern ESCAPE '!'`: `%` is any text, `_` any one character.",
)  # fmt: skip
TABLE.add(
    "ilike", "VARCHAR, VARCHAR, ['VARCHAR] -> BOOLEAN", build=_like(fold=True),
    aliases="~~* ilike_escape !~~* not_ilike_escape",
    does="As LIKE, with capital and small letters the same.",
)  # fmt: skip
TABLE.add(
    "glob", "VARCHAR, 'VARCHAR -> BOOLEAN", build=_glob, aliases="~~~",
    does="`a GLOB pattern`: `*` is any text, `?` any one character, `[a-z]` one of a set.",
)  # fmt: skip
