"""Types of Iceberg, as the table's metadata writes them in JSON, and what they are in Polars.

https://iceberg.apache.org/spec/#primitive-types; JSON: https://iceberg.apache.org/spec/#appendix-c-json-serialization
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PRIMITIVES: Mapping[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
    "timestamp_ns": pl.Datetime("ns"),
    "timestamptz_ns": pl.Datetime("ns", "UTC"),
    "string": pl.String(),
    "uuid": pl.Binary(),
    "binary": pl.Binary(),
    "unknown": pl.Null(),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_FIXED = re.compile(r"fixed\[(\d+)\]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = {"timestamp", "timestamptz"}
_NANOSECONDS = {"timestamp_ns", "timestamptz_ns"}


class UnreadableTypeError(ValueError):
    """A type that is not read; the message says which."""


@dataclass(frozen=True)
class Field:
    """A column, a field of a struct, an element of a list, or a key or value of a map."""

    id: int
    name: str
    type: Type
    required: bool = False
    default: Any = None
    """`initial-default`, in JSON: the value in files that are older than the column."""


@dataclass(frozen=True)
class Struct:
    """Named fields."""

    fields: tuple[Field, ...]


@dataclass(frozen=True)
class List:
    """Elements of one type."""

    element: Field


@dataclass(frozen=True)
class Map:
    """Keys with values; in Polars a list of structs."""

    key: Field
    value: Field


Type = str | Struct | List | Map
"""A primitive type is its text: `long`, `decimal(9,2)`."""


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """Read the fields of a schema or struct."""
    return tuple(
        Field(f["id"], f["name"], _type(f["type"]), bool(f.get("required")), f.get("initial-default"))
        for f in schema["fields"]
    )


def _type(value: Any) -> Type:
    if isinstance(value, str):
        return value
    match value["type"]:
        case "struct":
            return Struct(fields_of(value))
        case "list":
            required = bool(value.get("element-required"))
            return List(Field(value["element-id"], "element", _type(value["element"]), required))
        case "map":
            required = bool(value.get("value-required"))
            key = Field(value["key-id"], "key", _type(value["key"]), required=True)
            return Map(key, Field(value["value-id"], "value", _type(value["value"]), required))
        case other:
            raise UnreadableTypeError(f"type {other} is not supported")


def walk(fields: tuple[Field, ...]) -> Iterator[Field]:
    """All fields, nested ones included."""
    for one in fields:
        yield one
        yield from walk(children(one.type))


def children(kind: Type) -> tuple[Field, ...]:
    """The fields directly inside a type."""
    match kind:
        case Struct(fields):
            return fields
        case List(element):
            return (element,)
        case Map(key, value):
            return key, value
        case _:
            return ()


def dtype_of(kind: Type) -> pl.DataType:
    """Return the type in Polars. Raises UnreadableTypeError."""
    match kind:
        case Struct(fields):
            return pl.Struct({f.name: dtype_of(f.type) for f in fields})
        case List(element):
            return pl.List(dtype_of(element.type))
        case Map(key, value):
            return pl.List(pl.Struct({"key": dtype_of(key.type), "value": dtype_of(value.type)}))
        case str():
            if made := decimal_of(kind):
                return pl.Decimal(*made)
            if _FIXED.fullmatch(kind):
                return pl.Binary()
            if found := PRIMITIVES.get(kind):
                return found
    raise UnreadableTypeError(f"type {kind} is not supported")


def decimal_of(kind: Type) -> tuple[int, int] | None:
    """Precision and scale of a decimal; None for another type."""
    found = _DECIMAL.fullmatch(kind) if isinstance(kind, str) else None
    return (int(found[1]), int(found[2])) if found else None


def length_of(kind: str) -> int | None:
    """Bytes of `uuid` and `fixed[N]`; None for another type."""
    found = _FIXED.fullmatch(kind)
    return 16 if kind == "uuid" else int(found[1]) if found else None


def constant(value: Any, kind: Type) -> Any:
    """Return a value of a manifest or a default as JSON for `literal`. Raises UnreadableTypeError.

    Times are counts since 1970 or midnight in the unit of the type, decimals texts, bytes base64.
    """
    if value is None:
        return None
    if not isinstance(kind, str):
        raise UnreadableTypeError("nested values cannot be defaults")
    match value:
        case bool() | int() | float():
            return value
        case Decimal():
            return str(value)
        case UUID():
            return base64.b64encode(value.bytes).decode()
        case bytes():
            return base64.b64encode(value).decode()
        case str():
            return _of_text(value, kind)
    raise UnreadableTypeError(f"a value of type {kind} is {value!r}")


def _of_text(text: str, kind: str) -> Any:
    """Read a text of the JSON serialization of single values."""
    try:
        if kind == "date":
            return (date.fromisoformat(text) - _EPOCH.date()).days
        if kind == "time":
            at = time.fromisoformat(text)
            return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond
        if kind in _MICROSECONDS:
            return _since(text)
        if kind in _NANOSECONDS:
            whole, _, rest = text.partition(".")
            digits = re.match(r"\d*", rest)
            fraction = digits[0] if digits else ""
            return _since(whole + rest[len(fraction) :]) * 1000 + int(fraction.ljust(9, "0")[:9])
        if kind == "uuid":
            return base64.b64encode(UUID(text).bytes).decode()
        if kind == "binary" or _FIXED.fullmatch(kind):
            return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError:
        raise UnreadableTypeError(f"a value of type {kind} is {text!r}") from None
    return text


def _since(text: str) -> int:
    at = datetime.fromisoformat(text)
    passed = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def literal(value: Any, dtype: pl.DataType) -> pl.Expr:
    """Return what `constant` wrote as an expression of its type."""
    if value is None:
        return pl.lit(None, dtype=dtype)
    match dtype:
        case pl.Date():
            return pl.lit(value, dtype=pl.Int32).cast(pl.Date)
        case pl.Datetime():
            return pl.lit(value, dtype=pl.Int64).cast(dtype)
        case pl.Time():
            return pl.lit(value * 1000, dtype=pl.Int64).cast(pl.Time)
        case pl.Decimal():
            return pl.lit(Decimal(value), dtype=dtype)
        case pl.Binary():
            return pl.lit(base64.b64decode(value))
    return pl.lit(value, dtype=dtype)
