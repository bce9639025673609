"""Headers of CSV: names of the columns, and how the columns of several files become one table."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from gpuquery.api.spec import SchemaEvolution
from gpuquery.runner.inputs.formats.contents import RefusedError, invalid_byte
from gpuquery.runner.inputs.formats.csv.records import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.runner.inputs.base import File

_EXCELS = re.compile(rb"[sS][eE][pP]=.\r?\n")
_LONGEST = 80
_SHOWN = 5


def read(data: bytes, separator: str) -> tuple[tuple[str, ...], bytes, int] | None:
    """Return the names of a file, its lines without the header, and the header's lines; None for nothing but blanks.

    Raises RefusedError.
    """
    body = data.lstrip(b"\r\n")
    before = data.count(b"\n", 0, len(data) - len(body))
    if not body:
        return None
    if body.count(b"\r") > body.count(b"\r\n") and b"\n" not in body.rstrip(b"\n"):
        raise RefusedError("ends its lines with carriage returns alone: end them with line feeds (tr '\\r' '\\n')")
    end = body.find(b"\n") + 1
    if _EXCELS.fullmatch(body[:end]):
        raise RefusedError(
            f"line {before + 1} is {body[:5].decode(errors='replace')!r}, which tells Excel the separator and is no "
            "header: remove the line (tail -n +2), and set csv.separator"
        )
    while body.count(b'"', 0, end) % 2 and (more := body.find(b"\n", end) + 1):
        end = more
    if b"\0" in body[:end]:
        raise RefusedError(
            "has NUL bytes: it is UTF-16 or no text, and only UTF-8 is read (iconv -f UTF-16LE -t UTF-8)"
        )
    if invalid_byte(body[:end]) is not None:
        raise RefusedError(
            f"line {before + 1} is not UTF-8, and only UTF-8 is read: convert it (iconv -f ISO-8859-1 -t UTF-8)"
        )
    fields = next(iter(records(body[:end], before + 1, separator))).fields
    return _named(fields), body[end:], before + body.count(b"\n", 0, end)


def numbered(data: bytes, separator: str) -> tuple[str, ...] | None:
    """Return names for the columns of a file without a header; None for nothing but blanks. Raises RefusedError."""
    for record in records(data[: data.find(b"\n", min(len(data), 1 << 20)) + 1 or None], 1, separator):
        if record.fields:
            if record.line > 1 and len(record.fields) > 1:
                raise RefusedError(
                    "begins with a line without anything, which the reader takes for its columns: remove it"
                )
            return tuple(f"column_{n}" for n in range(1, len(record.fields) + 1))
    return None


def _named(fields: list[str]) -> tuple[str, ...]:
    names = tuple(name or f"column_{at}" for at, name in enumerate(fields, start=1))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        at = [str(n) for n, name in enumerate(names, start=1) if name == twice[0]]
        raise RefusedError(
            f'has the column "{twice[0][:_LONGEST]}" more than once (columns {", ".join(at)}): rename one in the '
            "header, or set csv.header: false and leave out the first line in the query"
        )
    return names


def together(
    item: Input, files: Sequence[File], headers: Sequence[tuple[str, ...] | None]
) -> tuple[tuple[str, ...], list[str]]:
    """Return all columns in the order in which they first appear, and warnings.

    Raises RefusedError where files have different columns and may not, or no column is common to both.
    """
    known = [(at, names) for at, names in enumerate(headers) if names is not None]
    first, names = known[0]
    columns = dict.fromkeys(names)
    lacking: dict[str, int] = {}
    for at, other in known[1:]:
        if set(other) == set(names):
            continue
        _check(item, files, (first, names), (at, other))
        columns |= dict.fromkeys(other)
    for _, other in known:
        for name in columns.keys() - set(other):
            lacking[name] = lacking.get(name, 0) + 1
    warnings = []
    if lacking:
        shown = ", ".join(f'"{name}" ({count})' for name, count in sorted(lacking.items())[:_SHOWN])
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        warnings.append(
            f'input "{item.name}": some of its {len(known)} files lack columns, which are null there: {shown}{more}'
        )
    return tuple(columns), warnings


def _check(
    item: Input, files: Sequence[File], one: tuple[int, tuple[str, ...]], two: tuple[int, tuple[str, ...]]
) -> None:
    (first, names), (at, other) = one, two
    apart = f"{files[first].uri} and {files[at].uri}"
    if item.csv is not None and not item.csv.header:
        raise RefusedError(
            f"has {len(other)} columns, and {files[first].uri} has {len(names)}: read them as two inputs"
        )
    if not set(names) & set(other):
        raise RefusedError(
            f"has no column of {files[first].uri} ({_shown(names)}): its first line is "
            f"{_shown(other)}: if that is no header, add one; else read them as two inputs"
        )
    if item.schema_evolution is SchemaEvolution.STRICT:
        differ = sorted(set(names) ^ set(other))
        shown = _shown(differ)
        raise RefusedError(
            f"has not the same columns ({apart} differ in {shown}), and schemaEvolution is strict: read them as two "
            "inputs, or set schemaEvolution: lossless"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f'"{name[:_LONGEST]}"' for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
