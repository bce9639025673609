"""Deletion vectors: rows of a file that are deleted, as a set of positions that is stored as a Roaring bitmap.

"Deletion Vector Format" in the protocol, and https://github.com/RoaringBitmap/RoaringFormatSpec for what is inside.
"""

from __future__ import annotations

import struct
import sys
import uuid
import zlib
from array import array
from itertools import pairwise

MAGIC = 1681511377
_RUNS, _NO_RUNS = 12347, 12346
_WITHOUT_OFFSETS = 4
_ARRAY_MAX = 4096
_BITMAP_BYTES = 8192
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_DIGITS = {char: digit for digit, char in enumerate(_Z85)}
_UUID_CHARS = 20


class BrokenVectorError(ValueError):
    """The bytes are no deletion vector; the message says why."""


def unpacked(text: str) -> bytes:
    """Decode Z85 (https://rfc.zeromq.org/spec/32/). Raises BrokenVectorError."""
    out = bytearray()
    try:
        for at in range(0, len(text), 5):
            number = 0
            for char in text[at : at + 5]:
                number = number * 85 + _DIGITS[char]
            out += struct.pack(">I", number)
    except (KeyError, struct.error):
        raise BrokenVectorError(f"{text[:40]!r} is not Z85") from None
    if len(text) % 5:
        raise BrokenVectorError(f"Z85 has groups of five characters, and {text[:40]!r} has {len(text)}")
    return bytes(out)


def path(where: str) -> str:
    """Return the path of a vector in the table, from its random prefix and its UUID. Raises BrokenVectorError."""
    prefix, packed = where[:-_UUID_CHARS], unpacked(where[-_UUID_CHARS:])
    if len(packed) != 16:
        raise BrokenVectorError(f"{where[:40]!r} names no file")
    name = f"deletion_vector_{uuid.UUID(bytes=packed)}.bin"
    return f"{prefix}/{name}" if prefix else name


def stored(body: bytes, size: int) -> bytes:
    """Check a vector as it lies in a file: its size, itself, its checksum. Raises BrokenVectorError."""
    if len(body) != size + 8 or struct.unpack_from(">I", body)[0] != size:
        raise BrokenVectorError(f"there are no {size} bytes at its offset, as the log says")
    data = body[4:-4]
    if zlib.crc32(data) != struct.unpack(">I", body[-4:])[0]:
        raise BrokenVectorError("its checksum is wrong")
    return data


def positions(data: bytes) -> array[int]:
    """Return the positions in a vector, which rise. Raises BrokenVectorError."""
    try:
        magic, buckets = struct.unpack_from("<IQ", data)
        if magic != MAGIC:
            raise BrokenVectorError(f"it begins with {magic}, and only the format {MAGIC} is known")
        found, at = array("Q"), 12
        for _ in range(buckets):
            (high,) = struct.unpack_from("<I", data, at)
            at = _bitmap(data, at + 4, high << 32, found)
    except (struct.error, IndexError):
        raise BrokenVectorError("it ends too early") from None
    if at != len(data):
        raise BrokenVectorError(f"{len(data) - at} bytes follow it")
    if any(one >= following for one, following in pairwise(found)):
        raise BrokenVectorError("its positions do not rise")
    return found


def _bitmap(data: bytes, at: int, base: int, found: array[int]) -> int:
    """Read a bitmap of 32 bits; returns where it ends."""
    (cookie,) = struct.unpack_from("<I", data, at)
    flags = b""
    if cookie & 0xFFFF == _RUNS:
        count = (cookie >> 16) + 1
        flags, at = data[at + 4 : at + 4 + (count + 7) // 8], at + 4 + (count + 7) // 8
    elif cookie == _NO_RUNS:
        (count,), at = struct.unpack_from("<I", data, at + 4), at + 8
    else:
        raise BrokenVectorError(f"its bitmap begins with {cookie}, which is no Roaring bitmap")
    if count > 1 << 16:
        raise BrokenVectorError(f"its bitmap has {count} containers")
    heads = struct.unpack_from(f"<{2 * count}H", data, at)
    at += 4 * count
    if not flags or count >= _WITHOUT_OFFSETS:
        at += 4 * count  # the containers' offsets: they lie one after the other
    for number in range(count):
        low, size = base + (heads[2 * number] << 16), heads[2 * number + 1] + 1
        if flags and flags[number // 8] >> number % 8 & 1:
            at = _runs(data, at, low, found)
        elif size <= _ARRAY_MAX:
            found.extend(low + one for one in _shorts(data, at, size))
            at += 2 * size
        else:
            at = _bits(data, at, low, found)
    return at


def _shorts(data: bytes, at: int, count: int) -> array[int]:
    if at + 2 * count > len(data):
        raise IndexError
    out = array("H")
    out.frombytes(data[at : at + 2 * count])
    if sys.byteorder == "big":
        out.byteswap()
    return out


def _runs(data: bytes, at: int, low: int, found: array[int]) -> int:
    count = int.from_bytes(data[at : at + 2], "little")
    pairs = _shorts(data, at + 2, 2 * count)
    for number in range(count):
        begin = low + pairs[2 * number]
        found.extend(range(begin, begin + pairs[2 * number + 1] + 1))
    return at + 2 + 4 * count


def _bits(data: bytes, at: int, low: int, found: array[int]) -> int:
    body = data[at : at + _BITMAP_BYTES]
    if len(body) != _BITMAP_BYTES:
        raise IndexError
    for index, byte in enumerate(body):
        if byte:
            first = low + 8 * index
            found.extend(first + bit for bit in _BITS[byte])
    return at + _BITMAP_BYTES


_BITS = [tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256)]
