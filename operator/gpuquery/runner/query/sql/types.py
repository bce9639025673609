"""The types of SQL that a plan knows.

They are logical types: what the author sees. How a value is held while a query runs is the compiler's affair: every
decimal is held with 38 digits, and a HUGEINT (the sum of whole numbers) as a decimal of 38 digits and no places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context
from enum import StrEnum


class Kind(StrEnum):
    """What a type is, less its parameters; the value is the name in messages."""

    NULL = "NULL"
    BOOLEAN = "BOOLEAN"
    INT8 = "TINYINT"
    INT16 = "SMALLINT"
    INT32 = "INTEGER"
    INT64 = "BIGINT"
    INT128 = "HUGEINT"
    UINT8 = "UTINYINT"
    UINT16 = "USMALLINT"
    UINT32 = "UINTEGER"
    UINT64 = "UBIGINT"
    FLOAT = "REAL"
    DOUBLE = "DOUBLE"
    DECIMAL = "DECIMAL"
    TEXT = "VARCHAR"
    BINARY = "BLOB"
    DATE = "DATE"
    TIME = "TIME"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_TZ = "TIMESTAMP WITH TIME ZONE"
    INTERVAL = "INTERVAL"
    LIST = "LIST"
    STRUCT = "STRUCT"
    LAMBDA = "LAMBDA"


_SIGNED = (Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64, Kind.INT128)
_UNSIGNED = (Kind.UINT8, Kind.UINT16, Kind.UINT32, Kind.UINT64)
INTEGERS = frozenset({*_SIGNED, *_UNSIGNED})
FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})
NUMBERS = INTEGERS | FLOATS | {Kind.DECIMAL}
TIMESTAMPS = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_TZ})

EXACT = Context(prec=100, rounding=ROUND_HALF_UP)
"""For Python's decimals: without a context of its own, even moving the point of one cuts it to 28 digits."""


@dataclass(frozen=True)
class Type:
    """A type with its parameters. Those of other kinds keep their defaults, so that equal types are equal."""

    kind: Kind
    precision: int = 0
    """Digits of a DECIMAL, at most 38."""
    scale: int = 0
    """Places of a DECIMAL behind the point."""
    unit: str = "us"
    """Of a TIMESTAMP: s, ms, us or ns."""
    item: Type | None = None
    """Of a LIST: the type of its elements."""
    fields: tuple[tuple[str, Type], ...] = ()
    """Of a STRUCT: names and types, in their order."""

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number of any width."""
        return self.kind in INTEGERS

    @property
    def is_float(self) -> bool:
        """Whether it is a binary floating-point number."""
        return self.kind in FLOATS

    @property
    def is_number(self) -> bool:
        """Whether it is a number of any kind."""
        return self.kind in NUMBERS

    @property
    def range(self) -> tuple[int, int] | None:
        """The smallest and the largest value of a whole number; None for other types."""
        if self.kind in _UNSIGNED:
            bits = 8 << _UNSIGNED.index(self.kind)
            return 0, 2**bits - 1
        if self.kind in _SIGNED:
            bits = 8 << _SIGNED.index(self.kind)
            return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return None

    def __str__(self) -> str:
        """As SQL writes it."""
        match self.kind:
            case Kind.DECIMAL:
                return f"DECIMAL({self.precision}, {self.scale})"
            case Kind.LIST:
                return f"{self.item}[]"
            case Kind.STRUCT:
                return f"STRUCT({', '.join(f'{name} {kind}' for name, kind in self.fields)})"
            case Kind.TIMESTAMP if self.unit != "us":
                return f"TIMESTAMP_{self.unit.upper()}"
            case _:
                return self.kind.value


@dataclass(frozen=True)
class UnsupportedType:
    """The type of an input's column that no statement can use."""

    reason: str
    """The rest of a sentence that begins with the column: `has the type ...`, and the way out."""


Columns = Mapping[str, Type | UnsupportedType]
"""An input's columns by their names, in their order."""

NULL = Type(Kind.NULL)
BOOLEAN = Type(Kind.BOOLEAN)
INTEGER = Type(Kind.INT32)
BIGINT = Type(Kind.INT64)
HUGEINT = Type(Kind.INT128)
DOUBLE = Type(Kind.DOUBLE)
TEXT = Type(Kind.TEXT)
DATE = Type(Kind.DATE)
TIMESTAMP = Type(Kind.TIMESTAMP)
INTERVAL = Type(Kind.INTERVAL)


def decimal(precision: int, scale: int) -> Type:
    """Return DECIMAL(precision, scale)."""
    return Type(Kind.DECIMAL, precision=precision, scale=scale)


def list_of(item: Type) -> Type:
    """Return the type of lists of `item`."""
    return Type(Kind.LIST, item=item)


def struct(*fields: tuple[str, Type]) -> Type:
    """Return the type of records with these fields."""
    return Type(Kind.STRUCT, fields=fields)
