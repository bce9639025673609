"""Polars' types by name: `Int64`, `Decimal(15, 2)`, `Datetime('us')`, `List(Int32)`, as people and Polars write them.

A type without its arguments stands for all of its kind: `Datetime` fits every unit and time zone, `List` every list.
"""

from __future__ import annotations

import ast
import difflib
import re
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64,
    pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Datetime, pl.Duration, pl.Decimal, pl.Categorical, pl.Enum,
    pl.List, pl.Array, pl.Struct, pl.Null,
)  # fmt: skip
TYPES: Mapping[str, Any] = {t.__name__: t for t in _PLAIN}
_OTHER_NAMES = {
    "utf8": "String", "str": "String", "varchar": "String", "text": "String", "char": "String", "bool": "Boolean",
    "tinyint": "Int8", "smallint": "Int16", "int": "Int32", "integer": "Int32", "bigint": "Int64",
    "hugeint": "Int128",
    "float": "Float64", "double": "Float64", "real": "Float32", "numeric": "Decimal", "timestamp": "Datetime",
    "bytes": "Binary", "blob": "Binary", "cat": "Categorical", "interval": "Duration",
}  # fmt: skip
_SHORT = {"i": "Int", "u": "UInt", "f": "Float"}
_UNITS = {"ms": "ms", "us": "us", "ns": "ns", "µs": "us", "μs": "us"}
EXAMPLES = "Int64, String, Date, Decimal(15, 2), Datetime('us'), List(Int32)"


class UnknownTypeError(ValueError):
    """A text names no type; the message says what is wrong with it and what would be right."""


def parse(text: str) -> Any:
    """Return a Polars type, or a class of types where arguments are left out; raises UnknownTypeError."""
    try:
        return _type(ast.parse(text.strip(), mode="eval").body)
    except UnknownTypeError:
        raise
    except (SyntaxError, ValueError, TypeError, LookupError, RecursionError, MemoryError, pl.exceptions.PolarsError):
        raise UnknownTypeError(f"is no type of Polars: write one such as {EXAMPLES}") from None


def fits(found: pl.DataType, wanted: Any) -> bool:
    """Whether a column's type is the wanted one, or one of the wanted kind."""
    return bool(found == wanted)


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Name() | ast.Attribute():
            return TYPES[_name(node)]
        case ast.Call():
            return _made(_name(node.func), node.args, {k.arg or "": k.value for k in node.keywords})
        case ast.Subscript():  # as Polars prints the head of a table: datetime[us], list[i64]
            inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return _made(_name(node.value), inside, {})
        case _:
            raise ValueError


def _name(node: ast.expr) -> str:
    """The name of a type: `Int64`, `pl.Int64`, `i64`, `BIGINT`."""
    text = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    known = {name.lower(): name for name in TYPES}
    low = text.lower()
    if low[:1] in _SHORT and low[1:].isdigit():
        low = (_SHORT[low[0]] + low[1:]).lower()
    name = known.get(low) or _OTHER_NAMES.get(low)
    if name is None:
        near = difflib.get_close_matches(text, [*TYPES, *_OTHER_NAMES], n=1)
        hint = f"did you mean {near[0]}?" if near else f"write one such as {EXAMPLES}"
        raise UnknownTypeError(f"names no type of Polars: {hint}")
    return name


def _made(name: str, given: list[ast.expr], named: Mapping[str, ast.expr]) -> Any:
    kind = TYPES[name]
    match name:
        case "List":
            return kind(_type(_one(given, named, "inner")))
        case "Array":
            inner, size = given[0] if given else named["inner"], [*given[1:], *named.values()][-1]
            return kind(_type(inner), _shape(size))
        case "Struct":
            fields = _one(given, named, "fields")
            if isinstance(fields, ast.Dict):
                return kind({_key(k): _type(v) for k, v in zip(fields.keys, fields.values, strict=True)})
            raise UnknownTypeError("has fields that cannot be read: write Struct({'a': Int64, 'b': String})")
        case "Datetime" | "Duration":
            said = given[0] if given else named.get("time_unit")
            unit = _unit(said) if said else "us"
            zone = [*given[1:], *(v for k, v in named.items() if k == "time_zone")]
            return kind(unit, _value(zone[0])) if zone and name == "Datetime" else kind(unit)
        case "Decimal":
            return kind(*map(_number, given), **{k: _number(v) for k, v in named.items()})
        case "Enum":
            return kind(_value(_one(given, named, "categories")))
        case "Categorical":
            return kind
        case _:
            raise UnknownTypeError(f"gives arguments to {name}, which has none: write {name}")


def _one(given: list[ast.expr], named: Mapping[str, ast.expr], name: str) -> ast.expr:
    return given[0] if given else named[name]


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _number(node: ast.expr) -> int:
    value = _value(node)
    if type(value) is not int:
        raise ValueError
    return value


def _shape(node: ast.expr) -> int | tuple[int, ...]:
    return tuple(_number(n) for n in node.elts) if isinstance(node, ast.Tuple) else _number(node)


def _key(node: ast.expr | None) -> str:
    return node.id if isinstance(node, ast.Name) else str(ast.literal_eval(node)) if node is not None else ""


def _unit(node: ast.expr) -> Any:
    text = str(_value(node))
    if text not in _UNITS:
        raise UnknownTypeError(f"has the unit {text!r}: the units are 'ms', 'us' and 'ns'")
    return _UNITS[text]


def column(name: str) -> pl.Expr:
    """Return the column of just this name: `pl.col` takes `*` and `^x$` for patterns, and may find no column then."""
    odd = name == "*" or (name.startswith("^") and name.endswith("$"))
    return pl.col(f"^{re.escape(name)}$" if odd else name)
