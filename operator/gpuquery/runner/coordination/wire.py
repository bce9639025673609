"""Frames: JSON objects on a byte stream, each after its length in four bytes, none longer than a bound.

Whoever sends something else is cut off: a stream that has lost its frames has no way back.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERSION = 1
"""Of everything that supervisors say to each other. All pods of an attempt run one image, so it only has to match."""
MAX_FRAME = 64 * 1024
"""Bytes of the longest frame."""
MAX_VALUE = 32 * 1024
"""Bytes of the longest value that a process may leave at a barrier, as JSON."""
_LENGTH = struct.Struct("!I")
HEADER = _LENGTH.size

Message = dict[str, Any]


BEAT: Message = {"kind": "beat"}
"""The sign of life, which is most of what is said."""


class WireError(Exception):
    """What came is no frame."""


def dumps(value: object) -> bytes:
    """Serialise as JSON, short."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


_BEAT = dumps(BEAT)


def frame(message: Mapping[str, Any]) -> bytes:
    """Return the bytes of one message; raises WireError if it is too long."""
    body = dumps(message)
    if len(body) > MAX_FRAME:
        raise WireError(f"a frame of {len(body)} bytes, more than {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def length(header: bytes | bytearray, limit: int = MAX_FRAME) -> int:
    """Return how many bytes follow a header; raises WireError."""
    size: int = _LENGTH.unpack(header)[0]
    if not 0 < size <= limit:
        raise WireError(f"a frame of {size} bytes, more than {limit}" if size else "an empty frame")
    return size


def message(body: bytes) -> Message:
    """Read the body of a frame: an object with a `kind`; raises WireError."""
    if body == _BEAT:
        return BEAT
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError("a frame that is not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise WireError("a frame without a kind")
    return found


def pieces(values: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """Cut the values of a barrier into parts that fit into frames; yields first index and values of each part."""
    begin, size = 0, 0
    for index, value in enumerate(values):
        more = len(dumps(value)) + 1
        if index > begin and size + more > MAX_VALUE + MAX_VALUE // 2:
            yield begin, values[begin:index]
            begin, size = index, 0
        size += more
    yield begin, values[begin:]
