"""What the files of a version look like inside: their footers, grouped by the schemas that they have.

Files of one schema begin their metadata with the same bytes, so only one of each kind is parsed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.inputs.alike import alike
from gpuquery.runner.parquet import elements, footer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def look(table: Table, version: int, files: Sequence[File]) -> Looked:
    """Read the footers of files. Raises JobError that names a file that is gone or broken."""
    by_uri = {file.uri: file for file in files}
    try:
        seen = alike(files, table.access, lambda uri, _, exc: _broken(table, by_uri[uri], str(exc)))
    except JobError as exc:
        if exc.failure is not Failure.INVALID_INPUT or exc.message.startswith("input "):
            raise
        raise table.refused(
            f"version {version} needs a file that is gone: {exc.message}: VACUUM removes what old versions need: "
            "read a newer version, or restore the file"
        ) from None
    numbers = {mark: number for number, mark in enumerate(seen.firsts)}
    kinds = tuple(_kind(table, by_uri[uri], tail) for uri, tail in seen.firsts.values())
    return Looked(kinds, {file.uri: numbers[seen.marks[file.uri]] for file in files}, seen.rows)


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
