"""INT96 timestamps (Spark's default, Hive, Impala): whether nanoseconds of 64 bits hold all of them.

Readers make nanoseconds of them, and beyond 1677 and 2262 Polars and libcudf give other moments without a word. Footers
have no bounds for them, so their values are looked at once, as the twelve bytes that they are: of each chunk a small
file is made in memory, whose column has the type FIXED_LEN_BYTE_ARRAY(12), which is stored in just the same way.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.parquet import footer, thrift
from gpuquery.runner.stores.base import Part
from gpuquery.runner.stores.tails import each_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

MAX_BYTES = 256 << 20
"""Bytes of chunks, as they lie in the files, that are looked through."""
_INT96 = 3
_EPOCH = 2_440_588  # the Julian day of 1970-01-01
_DAYS = 106_750  # whole days on both sides of it that nanoseconds reach
WAY_OUT = (
    "write it as TIMESTAMP_MICROS (in Spark: spark.sql.parquet.outputTimestampType), or, if you know that no value is "
    "before 1678 or after 2261, declare it in types: {{{0}: Datetime('ns')}}"
)


@dataclass(frozen=True)
class _Chunk:
    part: Part
    codec: int
    values: int
    encodings: tuple[int, ...]
    optional: bool
    data: int
    """Where the first data page begins, from the beginning of the chunk."""
    dictionary: int | None


def refusal(item: Input, name: str, files: Sequence[File], access: StoreAccess) -> str | None:
    """Return why a column of these files is not read exactly, said of the column; None if it is."""
    if name in item.types and dtypes.parse(item.types[name]) == pl.Datetime("ns"):
        return None
    found = _chunks(name, files, access)
    if (size := sum(chunk.part.end - chunk.part.start for chunk in found)) > MAX_BYTES:
        return (
            f"is an INT96 timestamp of {size:,} bytes, too many to see whether nanoseconds hold all its values: "
            + WAY_OUT.format(name)
        )
    by_part = {chunk.part: chunk for chunk in found}
    bad: list[str] = []

    def take(part: Part, body: bytes) -> None:
        if not _fits(by_part[part], body):
            bad.append(part.path)

    stores.Everywhere(access).read([chunk.part for chunk in found], take)
    first = next((file.uri for file in files if file.uri in bad), None)
    if first is None:
        return None
    return (
        f"is an INT96 timestamp with a value before 1678 or after 2261 in {first}, which readers make another moment: "
        "write it as TIMESTAMP_MICROS (in Spark: spark.sql.parquet.outputTimestampType)"
    )


def _chunks(name: str, files: Sequence[File], access: StoreAccess) -> list[_Chunk]:
    found: list[_Chunk] = []

    def take(uri: str, tail: bytes) -> None:
        fields = thrift.decode(footer.metadata(tail))
        optional = any(e.get(1) == _INT96 and e[4].decode() == name and e.get(3) == 1 for e in fields[2])
        for group in fields[4]:
            for column in group[1]:
                meta = column.get(3)
                if meta and meta[3] == [name.encode()]:
                    pages = [at for at in (meta[9], meta.get(11)) if at]
                    begin = min(pages)
                    found.append(
                        _Chunk(
                            Part(uri, begin, begin + meta[7]), meta[4], meta[5], tuple(meta[2]), optional,
                            meta[9] - begin, meta[11] - begin if meta.get(11) else None,
                        )
                    )  # fmt: skip

    each_tail([f.uri for f in files], {f.uri: f.bytes for f in files}, stores.Everywhere(access), take)
    return [chunk for chunk in found if chunk.values]


def _fits(chunk: _Chunk, body: bytes) -> bool:
    values = pl.read_parquet(io.BytesIO(_file(chunk, body)), hive_partitioning=False)["a"].drop_nulls()
    days = values.bin.slice(8, 4).bin.reinterpret(dtype=pl.Int32, endianness="little").cast(pl.Int64) - _EPOCH
    nanos = values.bin.slice(0, 8).bin.reinterpret(dtype=pl.Int64, endianness="little")
    day = 86_400 * 10**9
    return bool((days.is_between(-_DAYS, _DAYS) & nanos.is_between(-day, day)).all())


def _file(chunk: _Chunk, body: bytes) -> bytes:
    """Return a parquet file of one column of twelve bytes."""
    start = 4
    meta = _Struct().number(1, 7, 5).numbers(2, chunk.encodings).texts(3, [b"a"]).number(4, chunk.codec, 5)
    meta.number(5, chunk.values, 6).number(6, len(body), 6).number(7, len(body), 6).number(9, start + chunk.data, 6)
    if chunk.dictionary is not None:
        meta.number(11, start + chunk.dictionary, 6)
    column = _Struct().number(2, start, 6).struct(3, meta)
    group = _Struct().structs(1, [column]).number(2, len(body), 6).number(3, chunk.values, 6)
    leaf = _Struct().number(1, 7, 5).number(2, 12, 5).number(3, int(chunk.optional), 5).text(4, b"a")
    root = _Struct().text(4, b"m").number(5, 1, 5)
    whole = _Struct().number(1, 1, 5).structs(2, [root, leaf]).number(3, chunk.values, 6).structs(4, [group])
    made = whole.whole()
    return footer.MAGIC + body + made + struct.pack("<I", len(made)) + footer.MAGIC


class _Struct:
    """A struct in Thrift's compact protocol, field by field in rising order."""

    def __init__(self) -> None:
        self._out, self._last = bytearray(), 0

    def number(self, field: int, value: int, kind: int) -> _Struct:
        """Add an integer; kind 5 has 32 bits, 6 has 64."""
        return self._add(field, kind, _zigzag(value))

    def text(self, field: int, value: bytes) -> _Struct:
        """Add a text."""
        return self._add(field, 8, thrift.varint(len(value)) + value)

    def struct(self, field: int, value: _Struct) -> _Struct:
        """Add a struct."""
        return self._add(field, 12, value.whole())

    def numbers(self, field: int, values: Sequence[int]) -> _Struct:
        """Add a list of integers of 32 bits; fewer than 15 of them."""
        return self._add(field, 9, bytes([len(values) << 4 | 5]) + b"".join(map(_zigzag, values)))

    def texts(self, field: int, values: Sequence[bytes]) -> _Struct:
        """Add a list of texts; fewer than 15 of them."""
        return self._add(field, 9, bytes([len(values) << 4 | 8]) + b"".join(thrift.varint(len(v)) + v for v in values))

    def structs(self, field: int, values: Sequence[_Struct]) -> _Struct:
        """Add a list of structs; fewer than 15 of them."""
        return self._add(field, 9, bytes([len(values) << 4 | 12]) + b"".join(value.whole() for value in values))

    def whole(self) -> bytes:
        """Return it with its end."""
        return bytes(self._out) + b"\0"

    def _add(self, field: int, kind: int, body: bytes) -> _Struct:
        self._out += bytes([(field - self._last) << 4 | kind]) + body
        self._last = field
        return self


def _zigzag(value: int) -> bytes:
    return thrift.varint(value << 1 if value >= 0 else (-value << 1) - 1)
