"""What the columns of a file hold, from the file's own footer: exact, typed, and short enough to travel as JSON.

Readers leave files out by these bounds, so a wrong one loses rows without a word. What is not certain is left out. NaN
is the greatest number to Polars, DuckDB and Spark, and footers leave it out of account, so floats have no upper bound.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (Statistics, ColumnOrder)
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from decimal import Context, Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from gpuquery.runner.output.record import Bound, LeafStatistics
from gpuquery.runner.parquet import footer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.output.record import Statistics

MAX_BYTES = 64
"""A text or binary is cut to so many."""
_INTEGERS = (1, 2)  # physical types: INT32, INT64
_DECIMAL, _TEXTS = 5, frozenset({1, 4, 12})  # logical types; texts are STRING, ENUM, JSON
_CONVERTED_DECIMAL, _CONVERTED_TEXTS = 5, frozenset({0, 4, 19})
_WIDE = Context(prec=80)
_LAST, _BEFORE_SURROGATES, _AFTER_SURROGATES = 0x10FFFF, 0xD7FF, 0xE000

Kind = Literal["boolean", "integer", "float", "decimal", "text", "binary", ""]


@dataclass(frozen=True)
class _Type:
    """How bounds of a column are read; values that `read` returns are ordered as the column is."""

    kind: Kind
    read: Callable[[bytes], Any] | None = None


def of(meta: bytes, most: int) -> Statistics:
    """Return the statistics of the first `most` columns of values of a file. Raises NotParquetError."""
    found = footer.parse(meta)
    groups = [group for group in found.groups if group.rows]
    return tuple(
        _statistics(path, leaf, [group.chunks[path] for group in groups])
        for path, leaf in list(found.leaves.items())[:most]
        if all(path in group.chunks for group in groups)
    )


def _statistics(path: footer.Path, leaf: footer.Leaf, chunks: Sequence[footer.Chunk]) -> LeafStatistics:
    kind = _type(leaf)
    nulls = [0 if leaf.required and chunk.nulls is None and len(path) == 1 else chunk.nulls for chunk in chunks]
    full = [chunk for chunk in chunks if chunk.nulls != chunk.values]  # without them, it has no bounds
    return LeafStatistics(
        path=path,
        kind=kind.kind,
        values=sum(chunk.values for chunk in chunks),
        nulls=None if None in nulls else sum(one or 0 for one in nulls),
        least=_bound(kind, [(chunk.least, chunk.least_exact) for chunk in full], lower=True),
        most=None if kind.kind == "float" else _bound(kind, [(chunk.most, chunk.most_exact) for chunk in full]),
        bytes=sum(chunk.compressed for chunk in chunks),
    )


def _type(leaf: footer.Leaf) -> _Type:
    logical, converted, physical = leaf.logical, leaf.converted, leaf.physical
    if logical == _DECIMAL or converted == _CONVERTED_DECIMAL:
        order: Literal["little", "big"] = "little" if physical in _INTEGERS else "big"
        read = lambda raw: Decimal(int.from_bytes(raw, order, signed=True)).scaleb(-leaf.scale, _WIDE)  # noqa: E731
        return _Type("decimal", read)
    match physical:
        case 0:
            return _Type("boolean", lambda raw: bool(raw[0]))
        case 1 | 2:
            return _Type("integer", lambda raw: int.from_bytes(raw, "little", signed=leaf.signed))
        case 4 | 5:
            return _Type("float", _float)
        case footer.BYTE_ARRAY if logical in _TEXTS or converted in _CONVERTED_TEXTS:
            return _Type("text", bytes)
        case footer.BYTE_ARRAY if logical is None and converted is None:
            return _Type("binary", bytes)
    return _Type("")  # INT96, half floats, UUIDs, intervals, ...


def _bound(kind: _Type, found: Sequence[tuple[bytes | None, bool | None]], *, lower: bool = False) -> Bound | None:
    if kind.read is None or not found:
        return None
    values = []
    for raw, exact in found:
        value = kind.read(raw) if raw is not None and (raw or kind.kind in ("text", "binary")) else None
        if value is None:
            return None
        # Writers may cut what has no fixed length, and older ones do not tell.
        values.append((value, exact if exact is not None else kind.kind not in ("text", "binary")))
    value, exact = min(values, key=itemgetter(0)) if lower else max(values, key=itemgetter(0))
    match kind.kind:
        case "decimal":
            return Bound(value=format(value, "f"), exact=exact)
        case "float":
            return Bound(value=repr(value or -0.0), exact=exact)  # zero may stand for either of the two
        case "text":
            return _text(value, exact, lower=lower)
        case "binary":
            cut = _cut(value, lower=lower)
            return None if cut is None else Bound(value=cut.hex(), exact=exact and cut == value)
    return Bound(value=value, exact=exact)


def _text(value: bytes, exact: bool, *, lower: bool) -> Bound | None:
    """Cut a text at a character; the last one of an upper bound that is cut is a higher one than was there."""
    try:
        text = (kept := value[:MAX_BYTES]).decode()
    except UnicodeDecodeError as exc:  # a character was cut, by the writer or here
        text = kept[: exc.start].decode()
    if text.encode() == value:
        return Bound(value=text, exact=exact)
    if lower:
        return Bound(value=text, exact=False)
    while text:
        code = ord(text[-1])
        if code < _LAST:
            return Bound(
                value=text[:-1] + chr(_AFTER_SURROGATES if code == _BEFORE_SURROGATES else code + 1), exact=False
            )
        text = text[:-1]
    return None


def _cut(value: bytes, *, lower: bool) -> bytes | None:
    if len(value) <= MAX_BYTES:
        return value
    if lower:
        return value[:MAX_BYTES]
    if kept := value[:MAX_BYTES].rstrip(b"\xff"):
        return kept[:-1] + bytes([kept[-1] + 1])
    return None


def _float(raw: bytes) -> float | None:
    value: float = struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
    return None if math.isnan(value) else value
