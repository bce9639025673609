"""What the files of a version look like inside: their footers, grouped by the schemas that they have.

Files of one schema begin their metadata with the same bytes, so only one of each kind is parsed.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.inputs.tables.delta import tree
from gpuquery.runner.parquet import footer, thrift
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.inputs.base import File, Schema
    from gpuquery.runner.inputs.tables.delta.place import Table

_ARROW = b"ARROW:schema"
_ROWS = 3


@dataclass(frozen=True)
class Kind:
    """Files of one schema."""

    schema: Schema
    """As Polars reads them."""
    root: tree.Node
    example: str
    """The first of them."""


@dataclass(frozen=True)
class Looked:
    """What the footers say."""

    kinds: tuple[Kind, ...]
    kind_of: Mapping[str, int]
    """Number of the kind of each file, by its URI."""
    rows: Mapping[str, int]


class _Head(NamedTuple):
    signature: tuple[bytes, bytes]
    rows: int
    metadata: bytes


def look(table: Table, version: int, files: Sequence[File]) -> Looked:
    """Read the footers of files. Raises JobError that names a file that is gone or broken."""
    heads = _heads(table, version, files)
    kinds: list[Kind] = []
    numbers: dict[tuple[bytes, bytes], int] = {}
    kind_of: dict[str, int] = {}
    for file in files:
        head = heads[file.uri]
        if head.signature not in numbers:
            numbers[head.signature] = len(kinds)
            kinds.append(_kind(table, file, head.metadata))
        kind_of[file.uri] = numbers[head.signature]
    return Looked(tuple(kinds), kind_of, {uri: head.rows for uri, head in heads.items()})


def by_bucket(uris: Sequence[str]) -> list[list[str]]:
    """Group URIs by the bucket (or the machine) that they are in."""
    found: dict[tuple[str, str], list[str]] = {}
    for uri in uris:
        found.setdefault(bucket(uri), []).append(uri)
    return list(found.values())


def bucket(uri: str) -> tuple[str, str]:
    """Return the scheme and the bucket of a URI."""
    scheme, _, rest = uri.partition("://")
    return scheme, "" if scheme == "file" else rest.partition("/")[0]


def _heads(table: Table, version: int, files: Sequence[File]) -> dict[str, _Head]:
    sizes, found, long = {file.uri: file.bytes for file in files}, {}, []
    prefixes: list[bytes] = []

    def parse(part: Part, tail: bytes) -> None:
        try:
            found[part.path] = _head(footer.metadata(tail), prefixes)
        except footer.TooLargeError:
            if part.start == 0 or part.end - part.start > footer.TAIL:
                raise _broken(table, part.path, sizes[part.path], "its metadata is longer than the file") from None
            long.append(Part(part.path, max(0, part.end - footer.metadata_size(tail)), part.end))
        except ValueError as exc:
            raise _broken(table, part.path, sizes[part.path], str(exc)) from None

    try:
        for uris in by_bucket(list(sizes)):
            there = stores.files(uris[0], table.access)
            there.read([Part(uri, max(0, sizes[uri] - footer.TAIL), sizes[uri]) for uri in uris], parse)
            if long:
                again, long = long, []
                there.read(again, parse)
    except JobError as exc:
        if exc.failure is not Failure.INVALID_INPUT or exc.message.startswith("input "):
            raise
        raise table.refused(
            f"version {version} needs a file that is gone: {exc.message}: VACUUM removes what old versions need: "
            "read a newer version, or restore the file"
        ) from None
    return found


def _head(metadata: bytes, prefixes: list[bytes]) -> _Head:
    prefix = next((one for one in prefixes if metadata.startswith(one)), None)
    if prefix is None:
        prefix = metadata[: thrift.begin_of(metadata, _ROWS)]
        prefixes.insert(0, prefix)
    return _Head((prefix, _arrow(metadata)), thrift.integer(metadata, len(prefix)), metadata)


def _arrow(metadata: bytes) -> bytes:
    """The schema in Arrow's words that some writers add, and that Polars follows."""
    at = metadata.rfind(_ARROW)
    if at < 0:
        return b""
    value = thrift.decode(metadata, at + len(_ARROW), after=1).get(2)
    return value if isinstance(value, bytes) else b""


def _kind(table: Table, file: File, metadata: bytes) -> Kind:
    small = b"PAR1" + metadata + struct.pack("<I", len(metadata)) + b"PAR1"
    try:
        return Kind(dict(pl.read_parquet_schema(io.BytesIO(small))), tree.parsed(metadata), file.uri)
    except BaseException as exc:  # a panic of Polars is no Exception
        if not isinstance(exc, Exception) and not isinstance(exc, pl.exceptions.PanicException):
            raise
        raise _broken(table, file.uri, file.bytes, first_paragraph(exc)) from None


def _broken(table: Table, uri: str, size: int, why: str) -> JobError:
    return table.refused(
        f"the file {uri} is not the parquet file of {size} bytes that the log names ({why}): restore it, or remove it "
        "from the table"
    )
