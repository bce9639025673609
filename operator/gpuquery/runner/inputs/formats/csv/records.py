"""Records of CSV: blocks of whole lines become columns of texts, and what is wrong with one is named with its line.

Most blocks are split by Polars, and counted: if it finds as many records as there are lines outside of quotes, and
there are as many separators as those need, then each line has its fields. Python's `csv` looks closer at any other
block.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.inputs.formats import texts
from gpuquery.runner.inputs.formats.contents import RefusedError, invalid_byte

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTED = re.compile(rb'"[^"]*"')
_LONGEST = 80
csv.field_size_limit(1 << 30)


@dataclass(frozen=True)
class Dialect:
    """How records are written."""

    separator: str
    nulls: tuple[str, ...] = ()
    """Texts that mean null."""


@dataclass
class Look:
    """What the records of a file are like."""

    names: tuple[str, ...]
    """Its columns."""
    rows: bool = False
    """Whether it has any record."""
    blank: int = 0
    """The first line without anything, which is no record where there are several columns; 0 if there is none."""
    hollow: int = 0
    """A record whose fields are all empty or null."""
    stray: int = 0
    """A line with a quote in a field that does not begin with one."""
    quoted: int = 0
    """A line where a field begins with a quote."""


@dataclass(frozen=True)
class Record:
    """A record and its first line, from 1."""

    line: int
    fields: list[str]


@dataclass
class Block:
    """Lines of a file without its header."""

    look: Look
    line: int | None
    data: bytes


def split(data: bytes, names: tuple[str, ...], dialect: Dialect) -> pl.DataFrame | None:
    """Return the fields of lines as texts; None where someone has to look closer."""
    bare = _QUOTED.sub(b"", data) if b'"' in data else data
    if b"\r" in bare:
        bare = bare.replace(b"\r\n", b"\n")
    several = len(names) > 1
    lines = bare.count(b"\n")
    if (
        b"\0" in data
        or b"\r" in bare
        or b'"' in bare
        or (several and (bare.startswith(b"\n") or b"\n\n" in bare))
        or bare.count(dialect.separator.encode()) != lines * (len(names) - 1)
    ):
        return None
    try:
        found = read(data, names, dialect)
    except pl.exceptions.PolarsError:
        return None
    if found.height != lines or (not several and b'"' in data and _unlike(found, data, dialect)):
        return None
    return found


def read(data: bytes, names: tuple[str, ...], dialect: Dialect, *, quotes: bool = True) -> pl.DataFrame:
    """Read lines as Polars does."""
    return pl.read_csv(
        io.BytesIO(data), has_header=False, schema=dict.fromkeys(names, pl.String), infer_schema=False,
        separator=dialect.separator, quote_char='"' if quotes else None, null_values=list(dialect.nulls) or None,
        glob=False,
    )  # fmt: skip


def is_hollow(found: pl.DataFrame) -> bool:
    """Whether all fields of a record are null."""
    if any(not found[name].null_count() for name in found.columns):
        return False
    return bool(found.select(pl.all_horizontal(pl.all().is_null()).any()).item())


def closely(block: Block, dialect: Dialect) -> pl.DataFrame:
    """Look at lines one by one, and note what they are like. Raises RefusedError that names the line."""
    look, names = block.look, block.look.names
    if (at := block.data.find(b"\0")) >= 0:
        raise RefusedError(
            f"{_line(block, at)} has a NUL byte: it is damaged, or UTF-16, and only UTF-8 is read: "
            "convert it (iconv -f UTF-16LE -t UTF-8)"
        )
    if (bad := invalid_byte(block.data)) is not None:
        raise RefusedError(
            f"{_line(block, bad)} is not UTF-8 (byte 0x{block.data[bad]:02x}), and only UTF-8 is read: convert it "
            "(for example iconv -f ISO-8859-1 -t UTF-8)"
        )
    _refuse_returns(block)
    kept: list[list[str]] = []
    for record in records(block.data, block.line or 1, dialect.separator):
        if not record.fields:
            if len(names) > 1:
                look.blank = look.blank or record.line
                continue
            record.fields.append("")
        if len(record.fields) != len(names):
            raise RefusedError(_wrong_number(record, names))
        kept.append(record.fields)
    found = pl.DataFrame(kept, schema=dict.fromkeys(names, pl.String), orient="row")
    found = found.select(pl.all().replace(["", *dialect.nulls], None))
    if b'"' in block.data and not (
        quoted_right(block.data, dialect.separator) and _agrees(block, names, dialect, found)
    ):
        look.stray = look.stray or quote_within(block, dialect)
    return found


def records(data: bytes, line: int, separator: str) -> Iterator[Record]:
    """Split lines by the rules of Python's csv, strictly. Raises RefusedError."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator, strict=True)
    before = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            what = "has a quoted field that does not end" if "unexpected end" in str(exc) else "cannot be read"
            if "expected after" in str(exc):
                what = "has a quoted field that goes on after its closing quote: a quote within one is written twice"
            raise RefusedError(f"line {line + before} {what}") from None
        yield Record(line + before, fields)
        before = reader.line_num


def _refuse_returns(block: Block) -> None:
    """Refuse carriage returns that end no line: readers disagree whether those begin another one."""
    if re.search(rb"\r(?!\n)", _QUOTED.sub(b"", block.data)):
        where = re.search(rb"\r(?!\n)", block.data)
        raise RefusedError(
            f"{_line(block, where.start() if where else 0)} has a carriage return without a line feed: end lines with "
            "a line feed (tr '\\r' '\\n')"
        )


def _agrees(block: Block, names: tuple[str, ...], dialect: Dialect, found: pl.DataFrame) -> bool:
    """Whether Polars finds the same records, apart from those without any value."""
    try:
        theirs = read(block.data, names, dialect).select(pl.all().replace([""], [None]))
    except pl.exceptions.PolarsError:
        return False
    held = ~pl.all_horizontal(pl.all().is_null())
    return theirs.filter(held).equals(found.filter(held))


def quoted_right(data: bytes, separator: str) -> bool:
    """Whether each quote belongs to a field that begins and ends with one, whatever else is wrong. `data` is UTF-8."""
    one = field(separator, quotes=True)
    return bool(pl.Series([data.decode()]).str.contains(rf"\A(?:{one}(?:{texts.literal(separator)}{one})*\r?\n)*\z")[0])


def field(separator: str, *, quotes: bool) -> str:
    """Return the pattern of a field, for Polars: it has no NUL, and a carriage return only within quotes."""
    ends = rf"{texts.literal(separator)}\r\n\x00"
    if not quotes:
        return rf'(?:[^"{ends}][^{ends}]*)?'
    return rf'(?:"[^"\x00]*(?:""[^"\x00]*)*"|[^"{ends}]+)?'


def note_quoted(block: Block, dialect: Dialect) -> None:
    """Note where a field begins with a quote."""
    if not block.look.quoted and b'"' in block.data:
        at = re.search(rb'(?m)(?:^|%s)"' % re.escape(dialect.separator.encode()), block.data)
        block.look.quoted = _number(block, at.start()) if at else 0


def quote_within(block: Block, dialect: Dialect) -> int:
    """Return the line of a quote that does not begin a field; Polars takes it for one that begins or ends one."""
    separator = re.escape(dialect.separator.encode())
    at = re.search(rb'[^"\n%s]"(?![\r\n%s])' % (separator, separator), block.data)
    return _number(block, at.start() if at else block.data.index(b'"'))


def _unlike(found: pl.DataFrame, data: bytes, dialect: Dialect) -> bool:
    """Whether Python's csv finds other values of one column: a quote within a field may join two lines."""
    try:
        theirs = [(one.fields or [""])[0] for one in records(data, 1, dialect.separator)]
    except (RefusedError, UnicodeDecodeError):
        return True
    mine = found.to_series().to_list()
    return [None if text in ("", *dialect.nulls) else text for text in theirs] != [text or None for text in mine]


def _number(block: Block, at: int) -> int:
    return (block.line or 1) + block.data.count(b"\n", 0, at)


def _line(block: Block, at: int) -> str:
    return "a line in its middle" if block.line is None else f"line {_number(block, at)}"


def _wrong_number(record: Record, names: tuple[str, ...]) -> str:
    shown = ",".join(record.fields)[:_LONGEST]
    fields = "field" if len(record.fields) == 1 else "fields"
    return (
        f"line {record.line} has {len(record.fields)} {fields}, and there are {len(names)} columns: {shown!r}: write a "
        "field with a separator within quotes, and all fields in each line"
    )
