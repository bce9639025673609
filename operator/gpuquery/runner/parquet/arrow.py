"""The Arrow schema that a writer has left in a parquet file: which columns have times in whole seconds.

It is a message of Arrow's IPC, a flatbuffer: https://github.com/apache/arrow/blob/main/format/Schema.fbs. Polars 1.32
to 1.44 multiply such times by a thousand, or make nulls of them, for parquet stores them as milliseconds.
"""

from __future__ import annotations

import base64
import struct

_TIME = 9
_SECOND = 0
_MILLISECOND = 1
_CONTINUED = b"\xff\xff\xff\xff"


def times_in_seconds(text: bytes) -> frozenset[str]:
    """Return the names of columns that have such times, alone or within them; `text` is the schema in base64.

    Empty for what is no schema: no reader can use it then.
    """
    try:
        message = base64.b64decode(text)
        body = message[8 if message.startswith(_CONTINUED) else 4 :]
        schema = _Table(body, _uint(body, 0)).inside(2)
        fields = schema.all(1) if schema else []
        return frozenset(field.text(0) for field in fields if _has_seconds(field))
    except (ValueError, struct.error, IndexError, RecursionError):
        return frozenset()


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def _place(self, field: int) -> int | None:
        known = self._at - struct.unpack_from("<i", self._data, self._at)[0]
        slot = 4 + 2 * field
        if slot >= struct.unpack_from("<H", self._data, known)[0]:
            return None
        offset: int = struct.unpack_from("<H", self._data, known + slot)[0]
        return self._at + offset if offset else None

    def byte(self, field: int) -> int:
        """A number of one byte; 0 if it is not there."""
        at = self._place(field)
        return self._data[at] if at is not None else 0

    def short(self, field: int, default: int) -> int:
        """A number of two bytes."""
        at = self._place(field)
        return int(struct.unpack_from("<h", self._data, at)[0]) if at is not None else default

    def text(self, field: int) -> str:
        """A text; empty if it is not there."""
        at = self._place(field)
        if at is None:
            return ""
        begin = at + _uint(self._data, at)
        return self._data[begin + 4 : begin + 4 + _uint(self._data, begin)].decode()

    def inside(self, field: int) -> _Table | None:
        """A table within."""
        at = self._place(field)
        return _Table(self._data, at + _uint(self._data, at)) if at is not None else None

    def all(self, field: int) -> list[_Table]:
        """The tables of a vector."""
        at = self._place(field)
        if at is None:
            return []
        begin = at + _uint(self._data, at)
        places = range(begin + 4, begin + 4 + 4 * _uint(self._data, begin), 4)
        return [_Table(self._data, one + _uint(self._data, one)) for one in places]


def _has_seconds(field: _Table) -> bool:
    kind = field.inside(3)
    if field.byte(2) == _TIME and kind is not None and kind.short(0, _MILLISECOND) == _SECOND:
        return True
    return any(_has_seconds(child) for child in field.all(5))


def _uint(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])
