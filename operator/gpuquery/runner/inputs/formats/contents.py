"""The bytes of text files: which encodings and compressions are read, and whole lines of files in blocks.

Inputs of up to `BUDGET` bytes are looked at whole. Of a larger one every file's beginning and end are, and blocks
between them that lie evenly spread.
"""

from __future__ import annotations

import io
import itertools
import zlib
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

BUDGET = 256 << 20
"""Bytes of one input that are looked at before the query runs."""
BLOCK = 8 << 20
"""Bytes that are looked at together."""
SAMPLE = 1 << 20
"""Bytes of one block of a sample."""
HEAD = 64 << 10
"""Bytes of every file that are read for its header."""
LONGEST = 64 << 20
"""Bytes after which the end of a file's first line is not looked for any more."""
_BATCH = 32 << 20
_EXPANDS = 8
"""How much larger a compressed file is taken to be."""
BOM = b"\xef\xbb\xbf"
_ENCODINGS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_REFUSED = {
    b"BZh": ("bz2", "bunzip2"), b"\xfd7zXZ\0": ("xz", "unxz"), b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
    b"PK\x03\x04": ("zip", "unzip"), b"\xff\x06\0\0sNaPpY": ("snappy", "snzip -d"),
}  # fmt: skip
_OTHERS = {b"PAR1": "parquet", b"ORC": "ORC", b"Obj\x01": "Avro", b"ARROW1": "Arrow IPC"}
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZLIB = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_ANY_HEADER = 47
"""Tells zlib to take gzip's and its own header."""


class Piece(NamedTuple):
    """Whole lines of one file."""

    file: int
    """Index of the file."""
    line: int | None
    """Number of its first line, from 1; None where it is not known."""
    data: bytes
    """The lines, without compression and byte order mark."""


class RefusedError(Exception):
    """What is wrong with a file, without its input and name."""

    def __init__(self, text: str) -> None:
        """`text` follows the name of the file."""
        super().__init__(text)
        self.text = text


def whole(files: Sequence[File], budget: int | None) -> bool:
    """Whether all bytes of the files are looked at. Files compressed by zstd always are: they have no parts."""
    return budget is None or sum(map(_weight, files)) <= budget


def refused(item: Input, file: File, text: str) -> JobError:
    """Return the error that names the input and the file."""
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": {file.uri}: {text}')


def pieces(
    item: Input, files: Sequence[File], access: StoreAccess, budget: int | None, *, csv: bool = False
) -> Iterator[Piece]:
    """Read files, or a sample of them; the first piece of each file has its first line. Empty files have none.

    Lines of CSV end where the number of quotes before them is even, and may begin with a byte order mark. Raises
    JobError.
    """
    if whole(files, budget):
        yield from _all(item, files, access, csv)
    else:
        yield from _sampled(item, files, access, budget or 0, csv)


def invalid_byte(data: bytes) -> int | None:
    """Return the offset of the first byte that is not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


def _weight(file: File) -> int:
    return file.bytes * (_EXPANDS if file.uri.lower().endswith((".gz", ".gzip")) else not _is_zstd(file))


def _is_zstd(file: File) -> bool:
    return file.uri.lower().endswith((".zst", ".zstd"))


def _all(item: Input, files: Sequence[File], access: StoreAccess, csv: bool) -> Iterator[Piece]:
    for batch in _batches(files):
        parts = [
            Part(files[at].uri, start, min(start + BLOCK, files[at].bytes))
            for at in batch
            for start in range(0, files[at].bytes, BLOCK)
        ]
        found: dict[str, list[bytes]] = {}
        for part, data in _read(parts, access):
            found.setdefault(part.path, []).append(data)
        for at in batch:
            if files[at].uri in found:
                yield from guarded(item, files[at], lines(at, found.pop(files[at].uri), csv=csv))


def _batches(files: Sequence[File]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for at, file in enumerate(files):
        if batch and size + file.bytes > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(at)
        size += file.bytes
    yield batch


def _read(parts: Sequence[Part], access: StoreAccess) -> list[tuple[Part, bytes]]:
    return stores.Everywhere(access).read(parts, lambda part, data: (part, data))


def guarded(item: Input, file: File, found: Iterator[Piece]) -> Iterator[Piece]:
    """Yield pieces; a RefusedError becomes the JobError that names the file."""
    try:
        yield from found
    except RefusedError as exc:
        raise refused(item, file, exc.text) from None


def lines(
    at: int, blocks: Iterable[bytes], *, csv: bool, quotes: bool = True, longest: int | None = None
) -> Iterator[Piece]:
    """Cut the bytes of a file into pieces of whole lines; the last line gets an end.

    `quotes` says whether line ends of CSV within quotes end no line, `longest` how many bytes a record may have. Raises
    RefusedError.
    """
    line, rest = 1, b""
    first = True
    for block in _plain(blocks):
        data = rest + block
        if first:
            data = data.removeprefix(BOM) if csv else data
            first = False
        end = _end(data, csv and quotes)
        rest = data[end:]
        if end:
            yield Piece(at, line, data[:end])
            line += data.count(b"\n", 0, end)
        if longest is not None and len(rest) > longest:
            why = ": a quoted field may have no end" if csv and quotes else ""
            raise RefusedError(f"line {line} has no end within {longest >> 20} MiB{why}")
    if rest:
        yield Piece(at, line, rest if rest.endswith(b"\n") else rest + b"\n")


def _end(data: bytes, csv: bool) -> int:
    """Return where the last whole line ends; 0 if none does."""
    end = data.rfind(b"\n") + 1
    if not csv or b'"' not in data:
        return end
    odd = data.count(b'"', 0, end) % 2
    while end and odd:
        before = data.rfind(b"\n", 0, end - 1) + 1
        odd ^= data.count(b'"', before, end) % 2
        end = before
    return end


def _plain(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Undo the compression. Raises RefusedError."""
    several = iter(blocks)
    first = next(several, b"")
    check_kind(first)
    all_blocks = itertools.chain((first,), several)
    if first[:4] == _ZSTD:
        yield _unzstd(b"".join(all_blocks))
    elif first[:2] == _GZIP or first[:2] in _ZLIB:
        yield from _inflated(all_blocks)
    else:
        yield from all_blocks


def check_kind(head: bytes) -> None:
    """Raise RefusedError for encodings, compressions and formats that are not read."""
    for magic, encoding in _ENCODINGS.items():
        if head.startswith(magic):
            raise RefusedError(f"is {encoding}, and only UTF-8 is read: convert it (iconv -f {encoding} -t UTF-8)")
    for magic, (name, tool) in _REFUSED.items():
        if head.startswith(magic) and (name != "bz2" or head[4:7] in (b"1AY", b"\x17rE")):
            raise RefusedError(f"is compressed by {name}, and only gzip and zstd are read: unpack it ({tool})")
    for magic, name in _OTHERS.items():
        if head.startswith(magic) and b"\0" in head[:64]:
            raise RefusedError(f"is {name} and no text" + (": set format: parquet" if name == "parquet" else ""))


def _inflated(blocks: Iterable[bytes], *, cut: bool = False) -> Iterator[bytes]:
    """Undo gzip and zlib, of several members too; `cut` data may end early."""
    one = zlib.decompressobj(_ANY_HEADER)
    first, ended = True, False
    try:
        for block in blocks:
            data = block
            while data:
                made = one.decompress(data, BLOCK)
                if first and made:
                    check_kind(made)
                    if made.startswith(_GZIP):
                        raise RefusedError("is compressed by gzip twice: unpack it once (gunzip)")
                    first = False
                yield made
                data = one.unconsumed_tail
                if one.eof:
                    data = one.unused_data
                    one, ended = zlib.decompressobj(_ANY_HEADER), not data
        rest = one.flush()
    except zlib.error as exc:
        raise RefusedError(f"is damaged: its gzip data cannot be unpacked ({exc})") from None
    yield rest
    if not ended and not cut:
        raise RefusedError("is damaged: its gzip data ends too early")


def _unzstd(data: bytes) -> bytes:
    """Undo zstd. Polars does it, which reads each line as one text: the runner has no other library for it."""
    try:
        lines = pl.read_csv(
            io.BytesIO(data), has_header=False, schema={"line": pl.String}, separator="\x1e", quote_char=None,
            glob=False,
        )  # fmt: skip
    except pl.exceptions.NoDataError:
        return b""
    except pl.exceptions.PolarsError as exc:
        raise RefusedError(
            f"is damaged, or no UTF-8: its zstd data cannot be read ({str(exc).splitlines()[0]})"
        ) from None
    return "\n".join([*lines["line"].fill_null(""), ""]).encode()


def _sampled(item: Input, files: Sequence[File], access: StoreAccess, budget: int, csv: bool) -> Iterator[Piece]:
    """Read every file's beginning, the ends of some, and blocks that lie evenly spread."""
    blocks = max(1, budget // SAMPLE)
    step = max(SAMPLE, sum(file.bytes for file in files) // blocks)
    many = len(files) > blocks
    begin = 0
    for at, file in enumerate(files):
        if _is_zstd(file):
            for piece in _all(item, [file], access, csv):
                yield piece._replace(file=at)
        elif file.bytes:
            starts = _starts(begin, file.bytes, step, many)
            parts = [Part(file.uri, start, min(start + size, file.bytes)) for start, size in starts]
            yield from guarded(item, file, _some(at, file, _read(parts, access), access, csv))
        begin += file.bytes


def _starts(begin: int, size: int, step: int, many: bool) -> list[tuple[int, int]]:
    """Return offsets and sizes of a file's blocks; `begin` are the bytes of all files before it."""
    found = [(0, HEAD if many else SAMPLE)]
    inside = [start - begin for start in range(begin // step * step + step, begin + size, step)]
    found += [(start, SAMPLE) for start in inside if start >= SAMPLE]
    if not many and size > 2 * SAMPLE:
        found = [one for one in found if one[0] + SAMPLE < size] + [(size - SAMPLE, SAMPLE)]
    return found


def _some(at: int, file: File, found: list[tuple[Part, bytes]], access: StoreAccess, csv: bool) -> Iterator[Piece]:
    """Cut blocks from the middle of a file into whole lines: the first and the last of a block may be halves."""
    head = found[0][1]
    check_kind(head)
    packed = head[:2] == _GZIP or head[:2] in _ZLIB
    for part, data in found[: 1 if packed else None]:
        if part.start == 0:
            made = _beginning(file, part, data, access, csv)
            yield Piece(at, 1, made if made.endswith(b"\n") else made + b"\n")
        else:
            start = data.find(b"\n") + 1
            rest = data[start:]
            end = len(rest) if part.end == file.bytes else _end(rest, csv)
            if end and start:
                yield Piece(at, None, rest[:end] if rest[end - 1 : end] == b"\n" else rest[:end] + b"\n")


def _beginning(file: File, part: Part, data: bytes, access: StoreAccess, csv: bool) -> bytes:
    """Return the whole lines at the beginning of a file. Reads on where the first line is longer than the block."""
    packed = data[:2] == _GZIP or data[:2] in _ZLIB
    while True:
        made = b"".join(_inflated([data], cut=part.end < file.bytes)) if packed else data
        made = made.removeprefix(BOM) if csv else made
        end = len(made) if part.end == file.bytes else _end(made, csv)
        if end or part.end == file.bytes:
            return made[:end]
        if part.end >= LONGEST:
            raise RefusedError(
                f"has no end of a line in its first {LONGEST >> 20} MiB: write one record a line, or parquet"
            )
        more = Part(file.uri, part.end, min(max(part.end * 8, SAMPLE), LONGEST, file.bytes))
        data += _read([more], access)[0][1]
        part = Part(file.uri, 0, more.end)
