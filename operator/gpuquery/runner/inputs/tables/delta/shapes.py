"""What the files of a version look like inside: their footers, grouped by the schemas that they have.

Files of one schema begin their metadata with the same bytes, so only one of each kind is parsed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.parquet import elements, footer, thrift
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.runner.inputs.base import File, Schema
    from gpuquery.runner.inputs.tables.delta.place import Table


@dataclass(frozen=True)
class Kind:
    """Files of one schema."""

    schema: Schema
    """As Polars reads them."""
    columns: tuple[elements.Element, ...]
    example: str
    """The first of them."""


@dataclass(frozen=True)
class Looked:
    """What the footers say."""

    kinds: tuple[Kind, ...]
    kind_of: Mapping[str, int]
    """Number of the kind of each file, by its URI."""
    rows: Mapping[str, int]


Mark = tuple[bytes, bytes]
"""What the metadata of files of one schema have alike."""


def look(table: Table, version: int, files: Sequence[File]) -> Looked:
    """Read the footers of files. Raises JobError that names a file that is gone or broken."""
    order = {file.uri: at for at, file in enumerate(files)}
    marks: dict[str, Mark] = {}
    rows: dict[str, int] = {}
    tails: dict[Mark, tuple[int, bytes]] = {}
    begins: list[bytes] = []

    def take(uri: str, tail: bytes) -> None:
        at = order[uri]
        try:
            metadata = footer.metadata(tail)
            begin = next((one for one in begins if metadata.startswith(one)), None)
            if begin is None:
                begin = elements.begin(metadata)
                begins.insert(0, begin)
            marks[uri] = mark = begin, elements.arrow_schema(metadata)
            rows[uri] = thrift.integer(metadata, len(begin))
        except ValueError as exc:
            raise _broken(table, files[at], str(exc)) from None
        # Answers come in any order; the first file of each kind is the same every time.
        if mark not in tails or at < tails[mark][0]:
            tails[mark] = at, tail

    _read(table, version, files, take)
    first = dict(sorted(tails.items(), key=lambda pair: pair[1][0]))
    numbers = {mark: number for number, mark in enumerate(first)}
    kinds = tuple(_kind(table, files[at], tail) for at, tail in first.values())
    return Looked(kinds, {file.uri: numbers[marks[file.uri]] for file in files}, rows)


def _read(table: Table, version: int, files: Sequence[File], then: Callable[[str, bytes], None]) -> None:
    sizes = {file.uri: file.bytes for file in files}
    try:
        each_tail(list(sizes), sizes, stores.Everywhere(table.access), then)
    except JobError as exc:
        if exc.failure is not Failure.INVALID_INPUT or exc.message.startswith("input "):
            raise
        raise table.refused(
            f"version {version} needs a file that is gone: {exc.message}: VACUUM removes what old versions need: "
            "read a newer version, or restore the file"
        ) from None


def _kind(table: Table, file: File, tail: bytes) -> Kind:
    try:
        metadata = footer.metadata(tail)
        if secret := elements.encrypted(metadata):
            raise table.refused(
                f'{file.uri}: the column "{sorted(secret)[0]}" is encrypted, which is not read here: write it without '
                "encryption"
            )
        return Kind(dict(pl.read_parquet_schema(io.BytesIO(tail))), elements.columns(metadata), file.uri)
    except JobError:
        raise
    except BaseException as exc:  # a panic of Polars is no Exception
        if not isinstance(exc, Exception) and not isinstance(exc, pl.exceptions.PanicException):
            raise
        raise _broken(table, file, first_paragraph(exc)) from None


def _broken(table: Table, file: File, why: str) -> JobError:
    return table.refused(
        f"the file {file.uri} is not the parquet file of {file.bytes} bytes that the log names ({why}): restore it, or "
        "remove it from the table"
    )
