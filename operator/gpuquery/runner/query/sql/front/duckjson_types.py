"""DuckDB's JSON for types and constants, as our types and Python's values.

DuckDB 2.0.1: a type is `{"id": ..., "type_info": ...}`, a constant `{"type": ..., "is_null": ..., "value": ...}`;
numbers wider than 64 bits come as two halves, days and microseconds as whole numbers since 1970.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Interval
from gpuquery.runner.query.sql.types import EXACT, Kind, Type, decimal, list_of, struct

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.errors import Place

_KINDS = {
    "NULL": Kind.NULL,
    "SQLNULL": Kind.NULL,
    "BOOLEAN": Kind.BOOLEAN,
    "TINYINT": Kind.INT8,
    "SMALLINT": Kind.INT16,
    "INTEGER": Kind.INT32,
    "BIGINT": Kind.INT64,
    "HUGEINT": Kind.INT128,
    "UTINYINT": Kind.UINT8,
    "USMALLINT": Kind.UINT16,
    "UINTEGER": Kind.UINT32,
    "UBIGINT": Kind.UINT64,
    "FLOAT": Kind.FLOAT,
    "DOUBLE": Kind.DOUBLE,
    "BLOB": Kind.BINARY,
    "DATE": Kind.DATE,
    "TIME": Kind.TIME,
    "TIMESTAMP": Kind.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": Kind.TIMESTAMP_TZ,
    "INTERVAL": Kind.INTERVAL,
    "LAMBDA": Kind.LAMBDA,
}
_UNITS = {"TIMESTAMP_S": "s", "TIMESTAMP_MS": "ms", "TIMESTAMP_NS": "ns"}
_DUCK = {
    Kind.NULL: '"NULL"',
    Kind.TIMESTAMP_TZ: "TIMESTAMP WITH TIME ZONE",
    Kind.FLOAT: "FLOAT",
}
_EPOCH = dt.datetime(1970, 1, 1)


def type_of(json: dict[str, Any], place: Place | None = None) -> Type:
    """Return the type; raises SqlError for one that a plan does not know."""
    kind, info = json["id"], json["type_info"] or {}
    if info.get("alias") or info.get("extension_info"):
        raise SqlError(f"values of the type {info.get('alias') or kind} are not supported: cast them to VARCHAR", place)
    match kind:
        case "DECIMAL":
            return decimal(info["width"], info["scale"])
        case "VARCHAR" | "CHAR":
            if (collation := (info.get("collation") or "binary").lower()) not in BYTEWISE:
                raise SqlError(no_collation(collation), place)
            return Type(Kind.TEXT)
        case "LIST":
            return list_of(type_of(info["child_type"], place))
        case "STRUCT" | "TUPLE":
            fields = [(field["first"], type_of(field["second"], place)) for field in info["child_types"]]
            return struct(*fields)
        case unit if unit in _UNITS:
            return Type(Kind.TIMESTAMP, unit=_UNITS[unit])
        case known if known in _KINDS:
            return Type(_KINDS[known])
        case _:
            raise SqlError(f"values of the type {kind} are not supported", place)


BYTEWISE = frozenset({"binary", "c", "posix"})
"""Collations that compare text by its bytes, as everything else does here."""


def no_collation(name: str) -> str:
    """Return why a collation is refused, and the way out."""
    way_out = "compare lower(...) of both sides to ignore case"
    return f"COLLATE {name.upper()} is not supported: text is compared by its bytes; {way_out}"


def duck_name(kind: Type) -> str:
    """Return the type as DuckDB's CREATE TABLE and CAST write it."""
    match kind.kind:
        case Kind.LIST if kind.item is not None:
            return f"{duck_name(kind.item)}[]"
        case Kind.STRUCT:
            return f"STRUCT({', '.join(f'{quoted(name)} {duck_name(field)}' for name, field in kind.fields)})"
        case _:
            return _DUCK.get(kind.kind, str(kind))


def quoted(name: str) -> str:
    """Return a name as DuckDB reads it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def value_of(json: dict[str, Any], place: Place | None = None) -> Any:
    """Return the Python value of a constant; raises SqlError for one that Python's types cannot hold."""
    return None if json["is_null"] else _value(json["value"], type_of(json["type"], place), place)


def _value(raw: Any, kind: Type, place: Place | None) -> Any:
    match kind.kind:
        case Kind.DECIMAL:
            return Decimal(_whole(raw)).scaleb(-kind.scale, EXACT)
        case Kind.BOOLEAN:
            return bool(raw)
        case Kind.FLOAT | Kind.DOUBLE:
            return _float(raw)
        case Kind.TEXT:
            return str(raw)
        case Kind.BINARY:
            return _bytes(raw)
        case Kind.INTERVAL:
            return Interval(raw["months"], raw["days"], raw["micros"])
        case Kind.DATE | Kind.TIME | Kind.TIMESTAMP | Kind.TIMESTAMP_TZ:
            return _moment(raw, kind, place)
        case Kind.LIST if kind.item is not None:
            return [None if v["is_null"] else _value(v["value"], kind.item, place) for v in raw["children"]]
        case Kind.STRUCT:
            pairs = zip(kind.fields, raw["children"], strict=True)
            return {name: None if v["is_null"] else _value(v["value"], field, place) for (name, field), v in pairs}
        case _ if kind.is_integer:
            return _whole(raw)
        case _:
            raise SqlError(f"a constant of the type {kind} is not supported", place)


def _whole(raw: Any) -> int:
    return int(raw["upper"]) * 2**64 + int(raw["lower"]) if isinstance(raw, dict) else int(raw)


def _float(raw: Any) -> float:
    if isinstance(raw, str):
        return {"inf": math.inf, "-inf": -math.inf}.get(raw.lower(), math.nan)
    return float(raw)


def _bytes(raw: str) -> bytes:
    r"""DuckDB writes a BLOB as text in which `\xFF` stands for what is not printable."""
    parts = raw.split("\\x")
    return parts[0].encode() + b"".join(bytes.fromhex(p[:2]) + p[2:].encode() for p in parts[1:])


_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def _moment(raw: int, kind: Type, place: Place | None) -> Any:
    try:
        match kind.kind:
            case Kind.DATE:
                return (_EPOCH + dt.timedelta(days=raw)).date()
            case Kind.TIME:
                return (_EPOCH + dt.timedelta(microseconds=raw)).time()
        if kind.unit == "ns" and raw % 1000:
            raise SqlError("a constant with nanoseconds is not supported: write it with microseconds", place)
        micros = raw // 1000 if kind.unit == "ns" else raw * _MICROS[kind.unit]
        moment = _EPOCH + dt.timedelta(microseconds=micros)
        return moment.replace(tzinfo=dt.UTC) if kind.kind is Kind.TIMESTAMP_TZ else moment
    except OverflowError:
        raise SqlError(f"a constant of the type {kind} is infinite or not in the years 1 to 9999", place) from None
