"""Whether every line of a CSV file has its fields: what a sample of a large file cannot show, and the reader not tell.

Polars makes nulls of fields that a line lacks, and a row of a line without anything. So each byte is looked at: where
there is no quote, what is left of a block without everything but separators and line ends must be that of a block of
right lines. Where there are quotes, one pattern must match the whole block; Polars has the automaton that does it in
one pass. What is not right is looked at closely, which names the line.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.spec import CsvOptions
from gpuquery.runner.inputs.formats import contents, streams, texts
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.csv import header
from gpuquery.runner.inputs.formats.csv.records import (
    Block,
    Dialect,
    Look,
    closely,
    field,
    note_quoted,
    quote_within,
    quoted_right,
    records,
)

if TYPE_CHECKING:
    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

WIDE = 500
"""Columns beyond which no one pattern has all of them: it would be slow, and at some thousands too large."""


@dataclass(frozen=True)
class Form:
    """How the records of a file are read."""

    columns: int
    dialect: Dialect
    blanks: bool = False
    """Whether rows of nulls are taken for lines without anything, and left out."""
    quotes: bool = True
    """Whether a quote at the beginning of a field means something."""

    @functools.cached_property
    def pattern(self) -> str:
        """What a block of whole lines must match; a field has no NUL, and a carriage return only within quotes.

        Where there are too many columns it does not tell how many fields a line has.
        """
        apart, one = texts.literal(self.dialect.separator), field(self.dialect.separator, quotes=self.quotes)
        more = (
            f"(?:{apart}{one}){f'{{{self.columns - 1}}}' if self.columns <= WIDE else '*'}" if self.columns > 1 else ""
        )
        blank = r"|\r?\n" if self.blanks else ""
        return rf"\A(?:{one}{more}\r?\n{blank})*\z"

    @functools.cached_property
    def hollow(self) -> str:
        """What a record without any value looks like."""
        nulls = "|".join(f'{texts.literal(text)}|"{texts.literal(text)}"' for text in ("", *self.dialect.nulls))
        return rf"(?:\A|\n)(?:{nulls})(?:{texts.literal(self.dialect.separator)}(?:{nulls})){{{self.columns - 1}}}\r?\n"

    @functools.cached_property
    def others(self) -> bytes:
        """All bytes but the separator and the line feed."""
        return bytes(byte for byte in range(256) if byte not in (ord(self.dialect.separator), ord("\n")))


def verify(item: Input, file: File, access: StoreAccess, form: Form | None) -> None:
    """Look at all lines of a file; `form` is None for a file that is not read. Raises JobError that names the line."""
    begun = False
    for piece in streams.pieces(item, file, access, csv=True, quotes=form is None or form.quotes):
        try:
            body = (piece.data, piece.line or 1) if begun else _body(item, piece)
            if body is None:
                continue
            begun = True
            if form is None:
                raise RefusedError("begins with so many lines without anything that no column was seen: remove those")
            check(*body, form)
        except RefusedError as exc:
            raise contents.refused(item, file, exc.text) from None


def _body(item: Input, piece: contents.Piece) -> tuple[bytes, int] | None:
    """Return the records of a file's beginning and the first one's line; None for nothing but blanks."""
    csv = item.csv or CsvOptions()
    line = piece.line or 1
    if not csv.header:
        return (piece.data, line) if piece.data.strip(b"\r\n") else None
    opened = header.read(piece.data, csv.separator)
    return None if opened is None else (opened[1], line + opened[2])


def check(data: bytes, line: int, form: Form) -> None:
    """Look at whole records, the first of which is at `line`. Raises RefusedError that names the line."""
    if data and not sound(data, form):
        _closely(Block(Look(tuple(f"column_{at}" for at in range(form.columns))), line, data), form)


def sound(data: bytes, form: Form) -> bool:
    """Whether all records are right; False also where that is not seen quickly."""
    if form.blanks or b'"' in data:
        try:
            text = pl.Series([data.decode()])
        except UnicodeDecodeError:
            return False
        if form.blanks and form.columns > 1 and (form.columns > WIDE or bool(text.str.contains(form.hollow)[0])):
            return False
        if not text.str.contains(form.pattern)[0]:
            return False
        if form.columns <= WIDE:
            return True
        data = b"".join(data.split(b'"')[::2]) if form.quotes else data
    elif (
        b"\0" in data
        or (b"\r" in data and data.count(b"\r") != data.count(b"\r\n"))
        or (not data.isascii() and contents.invalid_byte(data) is not None)
    ):
        return False
    left = data.translate(None, form.others)
    right = form.dialect.separator.encode() * (form.columns - 1) + b"\n"
    return left == right * (len(left) // len(right))


def _closely(block: Block, form: Form) -> None:
    look = block.look
    note_quoted(block, form.dialect)
    if not form.quotes and look.quoted:
        raise RefusedError(
            f"line {look.quoted} has a quoted field, and other lines have quotes within fields that do not begin with "
            "one: write such fields within quotes too, and each quote in them twice"
        )
    closely(block, form.dialect)
    if form.quotes and b'"' in block.data and not quoted_right(block.data, form.dialect.separator):
        raise RefusedError(stray(quote_within(block, form.dialect)))
    if form.columns == 1:
        return
    if look.blank and not form.blanks:
        raise RefusedError(
            f"line {look.blank} has nothing in it, and the sample showed no such line: remove lines without anything"
        )
    if form.blanks and (at := _hollow(block, form.dialect)):
        raise RefusedError(hollow(at, "other lines have nothing in them"))


def stray(line: int) -> str:
    """Say what is wrong with a quote within a field."""
    return (
        f"line {line}, which the sample did not show, has a quote within a field that does not begin with one: write "
        "such a field within quotes, and each quote in it twice"
    )


def hollow(line: int, blank: str) -> str:
    """Say what is wrong with a record without any value."""
    return f"line {line} has only empty fields, and {blank}, which the reader cannot tell apart: remove one kind"


def _hollow(block: Block, dialect: Dialect) -> int:
    empty = {"", *dialect.nulls}
    found = records(block.data, block.line or 1, dialect.separator)
    return next((one.line for one in found if one.fields and empty.issuperset(one.fields)), 0)
