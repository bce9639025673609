"""Functions of text. Lengths and positions count characters (code points), the first one is 1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.failures import fail_where
from gpuquery.runner.query.sql.compile.once import once_per_row
from gpuquery.runner.query.sql.functions.table import Table, null_unless_all_known
from gpuquery.runner.query.sql.types import TEXT, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Text")
_SIZE = pl.Int64
_NONE = pl.lit(0, dtype=_SIZE)
_MOST = 2**30
"""Bytes of one text at most, as in PostgreSQL ("the longest possible character string that can be stored is about
1 GB"): Polars ends the process where there is no more memory."""
_FEW = 16
"""So many copies of a text are put together at once; more of them by way of a list."""


def characters(text: pl.Expr) -> pl.Expr:
    """Return how many characters a text has."""
    return text.str.len_chars().cast(_SIZE)


def _at_least_0(number: pl.Expr) -> pl.Expr:
    return pl.when(number < 0).then(_NONE).otherwise(number)


# Lengths


def _length(call: FunctionCall) -> pl.Expr:
    value = call.values[0]
    return characters(value.expr) if value.type.kind is Kind.TEXT else value.expr.list.len().cast(_SIZE)


TABLE.add(
    "length", "VARCHAR|LIST -> BIGINT", does="How many characters a text or elements a list has.", build=_length,
    aliases="len char_length character_length",
)  # fmt: skip
TABLE.add_expr(
    "strlen", "VARCHAR -> BIGINT", does="How many bytes a text has in UTF-8.",
    build=lambda text: text.str.len_bytes().cast(_SIZE),
)  # fmt: skip
TABLE.add_expr(
    "bit_length", "VARCHAR -> BIGINT", does="How many bits a text has in UTF-8.",
    build=lambda text: text.str.len_bytes().cast(_SIZE) * 8,
)  # fmt: skip
TABLE.add_expr(
    "octet_length", "BLOB -> BIGINT", does="How many bytes a binary value has.",
    build=lambda data: data.bin.size().cast(_SIZE),
)  # fmt: skip

# Parts


def _substring(call: FunctionCall) -> pl.Expr:
    """Return a part of a text. A negative start counts from the end, a negative length goes to the left."""
    text, start, *count = call.exprs
    if all(call.is_constant(i) for i in range(1, len(call.values))):
        at, *length = (call.constant(i) for i in range(1, len(call.values)))
        if at > 0 and (not length or length[0] >= 0):
            return text.str.slice(at - 1, *length)
    start, size = start.cast(_SIZE), characters(text)
    first: pl.Expr = pl.when(start > 0).then(start - 1).when(start < 0).then(size + start).otherwise(_NONE)
    if not count:
        return null_unless_all_known(text.str.slice(_at_least_0(first)), start)
    wanted = count[0].cast(_SIZE)
    # Before the first character there is one more place, 0.
    many = wanted - ((start == 0) & (wanted > 0)).cast(_SIZE)
    end = first + pl.when(many > size + start.abs()).then(size + start.abs()).otherwise(many)
    begin, end = _at_least_0(pl.min_horizontal(first, end)), _at_least_0(pl.max_horizontal(first, end))
    return null_unless_all_known(text.str.slice(begin, end - begin), start, wanted)


def _left(call: FunctionCall) -> pl.Expr:
    text, count = call.exprs
    if call.is_constant(1) and call.constant(1) >= 0:
        return text.str.slice(0, call.constant(1))
    count = count.cast(_SIZE)
    kept = pl.when(count >= 0).then(count).otherwise(_at_least_0(characters(text) + count))
    return null_unless_all_known(text.str.slice(_NONE, kept), count)


def _right(text: pl.Expr, count: pl.Expr) -> pl.Expr:
    count, size = count.cast(_SIZE), characters(text)
    wanted = pl.when(count >= 0).then(count).otherwise(_at_least_0(size + count))
    return null_unless_all_known(text.str.slice(_at_least_0(size - wanted), wanted), count)


TABLE.add(
    "substring", "VARCHAR, INTEGER, [INTEGER] -> VARCHAR", aliases="substr", build=_substring,
    does="A part of a text: from a position, which counts from the end if it is negative, and so many characters.",
)  # fmt: skip
TABLE.add(
    "left", "VARCHAR, INTEGER -> VARCHAR", build=_left,
    does="The first characters, or all but the last ones if the number is negative.",
)  # fmt: skip
TABLE.add_expr(
    "right", "VARCHAR, INTEGER -> VARCHAR", build=_right,
    does="The last characters, or all but the first ones if the number is negative.",
)  # fmt: skip


def _overlay(call: FunctionCall) -> pl.Expr:
    """Replace a part of a text; a part that begins before the text or behind it is put there."""
    text, by, start, *count = call.exprs
    start = start.cast(_SIZE)
    length = characters(by)
    if count:
        length = pl.when(count[0] >= 0).then(count[0].cast(_SIZE)).when(count[0] < 0).then(length)
    before = text.str.slice(_NONE, _at_least_0(start - 1))
    return null_unless_all_known(
        pl.concat_str(before, by, text.str.slice(_at_least_0(start - 1 + length))), start, length
    )


TABLE.add(
    "overlay", "VARCHAR, VARCHAR, INTEGER, [INTEGER] -> VARCHAR", build=_overlay,
    does="The text with another one put over it from a position on: `overlay(a PLACING b FROM 3 FOR 2)`.",
)  # fmt: skip

# Joining


def _text(call: FunctionCall, index: int) -> pl.Expr:
    """Return an argument as a text, in the way a cast writes it."""
    value = call.values[index]
    return cast(value, TEXT, place=call.place_of(index), target=call.target).expr


def _concat(call: FunctionCall) -> pl.Expr:
    return pl.concat_str([_text(call, index).fill_null("") for index in range(len(call.values))])


def _beside(call: FunctionCall) -> pl.Expr:
    if call.type.kind is Kind.LIST:
        return pl.concat_list([expr.cast(call.dtype) for expr in call.exprs])
    return pl.concat_str(call.exprs)


def _concat_ws(call: FunctionCall) -> pl.Expr:
    separator, *parts = (_text(call, index) for index in range(len(call.values)))
    if call.is_constant(0) and call.constant(0) is None:
        return pl.lit(None, dtype=pl.String)
    pieces = pl.concat_str([pl.concat_str(separator, part).fill_null("") for part in parts])
    return null_unless_all_known(pieces.str.slice(characters(separator)), separator)


TABLE.add(
    "||", "VARCHAR, VARCHAR -> VARCHAR", "LIST, LIST -> LIST", build=_beside,
    does="Two texts, or two lists, one behind the other; NULL if one of them is.",
)  # fmt: skip
TABLE.add(
    "concat", "ANY, ... -> VARCHAR", build=_concat, sees_null=True,
    does="All values as one text; NULLs are left out.",
)  # fmt: skip
TABLE.add(
    "concat_ws", "VARCHAR, ANY, ... -> VARCHAR", build=_concat_ws, sees_null=True,
    does="All values as one text with a separator between them; NULLs are left out.",
)  # fmt: skip


def _times(text: pl.Expr, count: pl.Expr) -> pl.Expr:
    return text.repeat_by(_at_least_0(count.cast(_SIZE))).list.join("")


def _padded(call: FunctionCall, *, left: bool) -> pl.Expr:
    """Fill a text up, or cut it, to a number of characters."""
    text, wanted, by = call.exprs
    wanted = _bounded(call, wanted, wanted)
    if call.is_constant(1) and call.constant(1) > _MOST:
        raise call.refuse(_too_long(call), 1)
    if call.is_constant(1) and call.is_constant(2) and len(call.constant(2)) == 1:
        size = max(call.constant(1), 0)
        cut = text.str.slice(0, size)
        return (cut.str.pad_start if left else cut.str.pad_end)(size, call.constant(2))
    wanted = _at_least_0(wanted.cast(_SIZE))
    missing, step = _at_least_0(wanted - characters(text)), characters(by)
    bad = (missing > 0) & (step == 0)
    missing = fail_where(missing, bad, f"{call.node.function} has no characters to pad the string with", call.place)
    if call.is_constant(1) and call.is_constant(2) and call.constant(2):
        many = pl.lit(call.constant(2) * (max(call.constant(1), 0) // len(call.constant(2)) + 1))
    else:
        many = _times(by, (missing + step - 1) // pl.when(step > 0).then(step).otherwise(1))
    filled = many.str.slice(_NONE, missing)
    kept = text.str.slice(_NONE, wanted)
    return null_unless_all_known(pl.concat_str(filled, kept) if left else pl.concat_str(kept, filled), wanted, by)


def _repeat(call: FunctionCall) -> pl.Expr:
    text, count = call.exprs
    if call.is_constant(1) and 0 < call.constant(1) <= _FEW:
        return pl.concat_str([text] * call.constant(1))
    bytes_ = text.str.len_bytes().cast(pl.Float64) * count.cast(pl.Float64)
    return null_unless_all_known(_times(text, _bounded(call, count, bytes_)), text, count)


def _bounded(call: FunctionCall, count: pl.Expr, bytes_: pl.Expr) -> pl.Expr:
    """Return a count, and fail where what is made of it has too many bytes."""
    return fail_where(count, bytes_ > _MOST, _too_long(call), call.place)


def _too_long(call: FunctionCall) -> str:
    return f"{call.node.function} makes a text of more than 1 GB"


TABLE.add("repeat", "VARCHAR, INTEGER -> VARCHAR", does="The text so many times.", build=_repeat)
for _name, _where in (("lpad", "left"), ("rpad", "right")):
    TABLE.add(
        _name, "VARCHAR, INTEGER, VARCHAR -> VARCHAR",
        does=f"The text with so many characters: cut, or filled up with the third one on its {_where}.",
        build=partial(_padded, left=_where == "left"),
    )  # fmt: skip

# Finding


def _position(text: pl.Expr, part: pl.Expr) -> pl.Expr:
    """Return the position of a part, 0 where there is none: characters before the byte where Polars finds it."""
    at = text.str.find(part, literal=True).cast(_SIZE)
    before = text.cast(pl.Binary).bin.slice(_NONE, at).cast(pl.String)
    return null_unless_all_known(pl.when(at.is_null()).then(_NONE).otherwise(characters(before) + 1), text, part)


TABLE.add_expr(
    "strpos", "VARCHAR, VARCHAR -> BIGINT", build=_position, aliases="instr position",
    does="Where a text stands in another one for the first time; 0 if it does not.",
)  # fmt: skip
TABLE.add_expr(
    "starts_with", "VARCHAR, VARCHAR -> BOOLEAN", aliases="^@ prefix", does="Whether a text begins with another one.",
    build=lambda text, part: text.str.starts_with(part),
)  # fmt: skip
TABLE.add_expr(
    "ends_with", "VARCHAR, VARCHAR -> BOOLEAN", aliases="suffix", does="Whether a text ends with another one.",
    build=lambda text, part: text.str.ends_with(part),
)  # fmt: skip
TABLE.add_expr(
    "contains", "VARCHAR, VARCHAR -> BOOLEAN", does="Whether a text holds another one.",
    build=lambda text, part: text.str.contains(part, literal=True),
)  # fmt: skip

# Changing


def _trim(side: str) -> Callable[[FunctionCall], pl.Expr]:
    def build(call: FunctionCall) -> pl.Expr:
        strip = getattr(call.exprs[0].str, side)
        if len(call.values) == 1:
            return strip(" ")  # type: ignore[no-any-return]
        if call.is_constant(1):
            return strip(call.constant(1)) if call.constant(1) else call.exprs[0]
        return null_unless_all_known(strip(call.exprs[1]), call.exprs[1])

    return build


for _name, _side, _where in (
    ("trim", "strip_chars", "both ends"),
    ("ltrim", "strip_chars_start", "the start"),
    ("rtrim", "strip_chars_end", "the end"),
):
    TABLE.add(
        _name, "VARCHAR, [VARCHAR] -> VARCHAR", build=_trim(_side),
        does=f"The text without blanks, or without the characters of the second one, at {_where}.",
    )  # fmt: skip


def _replace(call: FunctionCall) -> pl.Expr:
    """Replace a text everywhere. Polars has no replacement of what another column holds: split and join do it."""
    text, part, by = call.exprs
    if call.is_constant(1) and call.is_constant(2):
        old, new = call.constant(1), call.constant(2)
        return text.str.replace_all(old, new, literal=True) if old else text

    def formula(text: pl.Expr, part: pl.Expr, by: pl.Expr) -> pl.Expr:
        changed = text.str.split(pl.when(part == "").then(None).otherwise(part)).list.join(by)
        return null_unless_all_known(pl.when(part == "").then(text).otherwise(changed), part, by)

    return once_per_row(call.target, formula, text, part, by)  # a constant is joined by the first row's text else


def _translate(call: FunctionCall) -> pl.Expr:
    table: dict[str, str] = {}
    for index, letter in enumerate(call.constant(1)):
        table.setdefault(letter, call.constant(2)[index : index + 1])
    return call.exprs[0].str.replace_many(list(table), list(table.values())) if table else call.exprs[0]


def _split(call: FunctionCall) -> pl.Expr:
    text, by = call.exprs
    if call.is_constant(1) and call.constant(1) is None:
        return null_unless_all_known(pl.concat_list(text), text)
    return null_unless_all_known(pl.when(by.is_null()).then(pl.concat_list(text)).otherwise(text.str.split(by)), text)


TABLE.add(
    "replace", "VARCHAR, VARCHAR, VARCHAR -> VARCHAR", build=_replace,
    does="The text with every occurrence of the second one replaced by the third.",
)  # fmt: skip
TABLE.add(
    "translate", "VARCHAR, 'VARCHAR, 'VARCHAR -> VARCHAR", build=_translate,
    does="The text with each character of the second one replaced by that at its place in the third, or left out.",
)  # fmt: skip
TABLE.add_expr(
    "reverse", "VARCHAR -> VARCHAR", does="The characters from the last to the first.",
    build=lambda text: text.str.split("").list.reverse().list.join(""),
)  # fmt: skip
TABLE.add(
    "string_split", "VARCHAR, VARCHAR -> VARCHAR[]", aliases="split str_split string_to_array", build=_split,
    does="The parts of a text between separators; its characters if the separator is empty.", sees_null=True,
)  # fmt: skip

# Paths


def _filename(call: FunctionCall) -> pl.Expr:
    trimmed = len(call.values) > 1 and call.constant(1)
    return call.exprs[0].str.extract(r"([^/\\]*?)(?:\.[^./\\]*)?$" if trimmed else r"([^/\\]*)$", 1)


def _dirname(path: pl.Expr) -> pl.Expr:
    found = pl.coalesce(path.str.extract(r"^([/\\])", 1), path.str.extract(r"^([^/\\]+)[/\\]", 1), pl.lit(""))
    return null_unless_all_known(found, path)


TABLE.add(
    "parse_filename", "VARCHAR, ['BOOLEAN] -> VARCHAR", build=_filename,
    does="What stands behind the last `/` or `\\` of a path; with TRUE without its extension.",
)  # fmt: skip
TABLE.add_expr("parse_dirname", "VARCHAR -> VARCHAR", does="The first part of a path.", build=_dirname)
TABLE.add_expr(
    "parse_dirpath", "VARCHAR -> VARCHAR", does="A path without its last part.",
    build=lambda path: null_unless_all_known(path.str.extract(r"(?s)^(.*)[/\\]", 1).fill_null(""), path),
)  # fmt: skip
TABLE.add_expr(
    "parse_path", "VARCHAR -> VARCHAR[]", does="The parts of a path.",
    build=lambda path: path.str.extract_all(r"^[/\\]|[^/\\]+"),
)  # fmt: skip
