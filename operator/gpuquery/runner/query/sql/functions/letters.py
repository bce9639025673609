"""Capital and small letters, accents, normal forms.

DuckDB 2.0 changes letters one by one: it leaves the few that become several letters (`ŉ`) or another one at the end of
a word (`Σ`), and letters that came with Unicode 16 and 17. Polars changes all of them. Texts that hold such a letter
are changed letter by letter here, all others at once.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.functions.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.functions.table import FunctionCall

TABLE = Table("Letters")
_LAST_WITH_SEVERAL = 0xFB17
_NEW_SMALL = ("ƛɤᲊꟍ꟏ꟓꟕꟛ", (0x10D70, 0x10D85), (0x16EBB, 0x16ED3))
_NEW_CAPITAL = ("ᲉꟋꟌ꟎꟒꟔ꟚꟜ", (0x10D50, 0x10D65), (0x16EA0, 0x16EB8))


def _letters(known: tuple[str, tuple[int, int], tuple[int, int]]) -> Iterator[str]:
    single, *ranges = known
    yield from single
    for first, last in ranges:
        yield from map(chr, range(first, last + 1))


@cache
def _capitals() -> dict[str, str]:
    """Letters that DuckDB makes other capitals of than Polars."""
    several = {
        small: small.title() if len(small.title()) == 1 else small
        for small in map(chr, range(0x80, _LAST_WITH_SEVERAL + 1))
        if len(small.upper()) > 1
    }
    return several | {"ß": "ẞ"} | {letter: letter for letter in _letters(_NEW_SMALL)}


@cache
def _smalls() -> dict[str, str]:
    """Letters that DuckDB makes other small letters of than Polars."""
    return {"İ": "i", "Σ": "σ"} | {letter: letter for letter in _letters(_NEW_CAPITAL)}


def _changed(text: pl.Expr, special: dict[str, str], *, up: bool, target: Target) -> pl.Expr:
    at_once = text.str.to_uppercase() if up else text.str.to_lowercase()
    if target.gpu:
        return at_once
    letter = pl.element()
    changed = letter.str.to_uppercase() if up else letter.str.to_lowercase()
    own = letter.replace(list(special), list(special.values()))
    # Text of ASCII has as many bytes as characters: most texts are seen through by that, and not searched.
    foreign = pl.when(text.str.len_bytes() != text.str.len_chars()).then(text)
    letters = pl.when(foreign.str.contains_any(list(special))).then(foreign).str.split("")
    one_by_one = letters.list.eval(pl.when(letter.is_in(list(special))).then(own).otherwise(changed)).list.join("")
    return pl.coalesce(one_by_one, at_once)


def upper(text: pl.Expr, target: Target) -> pl.Expr:
    """Return a text in capital letters."""
    return _changed(text, _capitals(), up=True, target=target)


def lower(text: pl.Expr, target: Target) -> pl.Expr:
    """Return a text in small letters."""
    return _changed(text, _smalls(), up=False, target=target)


def small(text: str) -> str:
    """Return a constant in small letters, as `lower` does."""
    return "".join(_smalls().get(letter, letter.lower()) for letter in text)


def _upper(call: FunctionCall) -> pl.Expr:
    return upper(call.exprs[0], call.target)


def _lower(call: FunctionCall) -> pl.Expr:
    return lower(call.exprs[0], call.target)


TABLE.add(
    "upper", "VARCHAR -> VARCHAR", build=_upper, aliases="ucase",
    does="The text in capital letters. On GPUs letters that become several (`ŉ`) are changed by cudf's rules.",
)  # fmt: skip
TABLE.add(
    "lower", "VARCHAR -> VARCHAR", build=_lower, aliases="lcase",
    does="The text in small letters. On GPUs `İ`, and a `Σ` at the end of a word, are changed by cudf's rules.",
)  # fmt: skip
TABLE.add_expr(
    "strip_accents", "VARCHAR -> VARCHAR", does="The text without accents: `é` becomes `e`.",
    build=lambda text: text.str.normalize("NFD").str.replace_all(r"\p{M}", "").str.normalize("NFC"),
)  # fmt: skip
TABLE.add_expr(
    "nfc_normalize", "VARCHAR -> VARCHAR", does="The text in Unicode's normal form C.",
    build=lambda text: text.str.normalize("NFC"),
)  # fmt: skip
