"""How the columns of a table come out of the columns of one file, by field ids.

https://iceberg.apache.org/spec/#column-projection. A recipe is JSON: every rank makes the same expressions from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs.tables.iceberg import types
from gpuquery.runner.inputs.tables.iceberg.physical import dtype_of, is_list, is_map, said
from gpuquery.runner.inputs.tables.iceberg.types import Field, List, Map, Struct, UnreadableTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.runner.parquet.elements import Element

Recipe = dict[str, Any]
"""`{"v": constant}`, or `{"c": name of the source}` with `"k"`: cast, struct (with `"f"`), or list (with `"e"`)."""


class UnmappableError(ValueError):
    """A column of a file is not what the table says; the message names the column and both types."""


@dataclass(frozen=True)
class Names:
    """A name mapping (`schema.name-mapping.default`), for files without field ids."""

    ids: Mapping[str, int] = field(default_factory=dict)
    inside: Mapping[str, Names] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Sequence[Mapping[str, Any]]) -> Names:
        """Read its JSON."""
        ids = {name: one["field-id"] for one in value for name in one.get("names", ()) if "field-id" in one}
        inside = {name: cls.of(one["fields"]) for one in value for name in one.get("names", ()) if one.get("fields")}
        return cls(ids, inside)


def identified(nodes: Sequence[Element], names: Names | None) -> tuple[Element, ...]:
    """Return the fields of a file with ids, from the name mapping if it has none. Raises UnmappableError."""
    if any(_has_id(node) for node in nodes):
        return tuple(nodes)
    if names is None:
        raise UnmappableError(
            "has no field ids, and the table has no schema.name-mapping.default: set this property of the table"
        )
    return tuple(_named(node, names) for node in nodes)


def _has_id(node: Element) -> bool:
    return node.id is not None or any(_has_id(child) for child in node.children)


def _named(node: Element, names: Names) -> Element:
    deeper = names.inside.get(node.name, Names())
    inside: tuple[Element, ...]
    if (is_list(node) or is_map(node)) and len(node.children) == 1 and node.children[0].children:
        middle = node.children[0]
        parts = ("element",) if is_list(node) else ("key", "value")
        kept = tuple(
            replace(_named(replace(child, name=part), deeper), name=child.name)
            for child, part in zip(middle.children, parts, strict=False)
        )
        inside = (replace(middle, children=kept),)
    else:
        inside = tuple(_named(child, deeper) for child in node.children)
    return replace(node, id=names.ids.get(node.name), children=inside)


def recipes(fields: Sequence[Field], nodes: Sequence[Element], constants: Mapping[int, Any]) -> list[Recipe]:
    """Return a recipe for each field of the table. Raises UnmappableError.

    `constants` are values of identity partitions by field id, which a file need not hold.
    """
    by_id = _by_id(nodes)
    return [_field(one, by_id, constants, one.name, nodes) for one in fields]


def _by_id(nodes: Sequence[Element]) -> dict[int, Element]:
    found: dict[int, Element] = {}
    for node in nodes:
        if node.id is not None and found.setdefault(node.id, node) is not node:
            raise UnmappableError(f'columns "{found[node.id].name}" and "{node.name}" have the same field id {node.id}')
    return found


def _field(
    one: Field, by_id: Mapping[int, Element], constants: Mapping[int, Any], path: str, nodes: Sequence[Element]
) -> Recipe:
    node = by_id.get(one.id)
    if node is not None:
        return {"c": node.name, **_conversion(one, node, path)}
    if one.id in constants:
        return {"v": constants[one.id]}
    if any(other.id is None and other.name == one.name for other in nodes):
        raise UnmappableError(f'column "{path}" has no field id, and other columns have one')
    if one.default is not None:
        try:
            return {"v": types.constant(one.default, one.type)}
        except UnreadableTypeError as exc:
            raise UnmappableError(f'the default of column "{path}": {exc}') from None
    if one.required:
        raise UnmappableError(f'lacks column "{path}" (field id {one.id}), which is required and has no default')
    return {"v": None}


def _conversion(one: Field, node: Element, path: str) -> Recipe:
    """What is to be done with a field of the file; nothing if it is what the table says."""
    kind = one.type
    match kind:
        case Struct(fields):
            if node.physical is not None or is_list(node) or is_map(node) or node.repeated:
                raise UnmappableError(f'column "{path}" is {said(node)} in the file, and a struct in the table')
            parts = [_field(f, _by_id(node.children), {}, f"{path}.{f.name}", node.children) for f in fields]
            names = [f.name for f in fields]
            same = parts == [{"c": name} for name in names] and names == [child.name for child in node.children]
            return {} if same else {"k": "struct", "f": parts}
        case List(element):
            inner = _inside(node, is_list(node), 1, path, "list")[0]
            made = _conversion(element, _expected(inner, element, path), f"{path}.element")
            return {"k": "list", "e": made} if made else {}
        case Map(key, value):
            first, second = _inside(node, is_map(node), 2, path, "map")
            pair = [
                {"c": first.name, **_conversion(key, _expected(first, key, path), f"{path}.key")},
                {"c": second.name, **_conversion(value, _expected(second, value, path), f"{path}.value")},
            ]
            return {} if pair == [{"c": "key"}, {"c": "value"}] else {"k": "list", "e": {"k": "struct", "f": pair}}
    return _primitive(str(kind), node, path)


def _inside(node: Element, fits: bool, count: int, path: str, word: str) -> tuple[Element, ...]:
    """The fields inside the repeated group of a list or map of three levels."""
    middle = node.children[0] if fits and len(node.children) == 1 else None
    if middle is None or not middle.repeated or len(middle.children) != count:
        raise UnmappableError(f'column "{path}" is {said(node)} in the file, and no {word} of the usual form')
    return middle.children


def _expected(node: Element, one: Field, path: str) -> Element:
    if node.id != one.id:
        raise UnmappableError(f'column "{path}": its {one.name} has field id {node.id} in the file, not {one.id}')
    return node


def _primitive(kind: str, node: Element, path: str) -> Recipe:
    found, wanted = dtype_of(node), types.dtype_of(kind)
    if found is None or node.repeated or not _keeps(kind, node, found, wanted):
        raise UnmappableError(f'column "{path}" is {said(node)} in the file, and {kind} in the table')
    return {} if found == wanted else {"k": "cast"}


def _keeps(kind: str, node: Element, found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether every value of a file's type is one of the table's type."""
    if (length := types.length_of(kind)) is not None:
        return node.physical == 7 and node.length == length
    match wanted:
        case pl.Int32():
            return found in (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16)
        case pl.Int64():
            return found.is_integer() and found != pl.UInt64
        case pl.Float64():
            return found in (pl.Float32, pl.Float64)
        case pl.Decimal():
            return isinstance(found, pl.Decimal) and found.scale == wanted.scale and found.precision <= wanted.precision
        case pl.Datetime():
            legacy = not node.logical  # says nothing of time zones
            same = isinstance(found, pl.Datetime) and found.time_unit == wanted.time_unit
            return same and (legacy or found == wanted)
        case pl.String():
            return found in (pl.String, pl.Binary) and node.physical == 6
        case pl.Binary():
            return node.physical == 6 and found in (pl.Binary, pl.String)
    return found == wanted


def expression(recipe: Recipe, dtype: pl.DataType, get: Callable[[str], pl.Expr]) -> pl.Expr:
    """Make a column of the table's type; `get` gives a column of the file."""
    if "v" in recipe:
        return types.literal(recipe["v"], dtype)
    return _converted(get(recipe["c"]), recipe, dtype)


def _converted(source: pl.Expr, recipe: Recipe, dtype: pl.DataType) -> pl.Expr:
    match recipe.get("k"):
        case "cast":
            return source.cast(dtype)
        case "list":
            assert isinstance(dtype, pl.List)
            return source.list.eval(_converted(pl.element(), recipe["e"], dtype.inner))  # type: ignore[arg-type]
        case "struct":
            assert isinstance(dtype, pl.Struct)
            parts = [
                expression(part, one.dtype, source.struct.field).alias(one.name)  # type: ignore[arg-type]
                for part, one in zip(recipe["f"], dtype.fields, strict=True)
            ]
            return pl.when(source.is_null()).then(None).otherwise(pl.struct(parts))
    return source


def is_plain(made: Sequence[Recipe], fields: Sequence[Field]) -> bool:
    """Whether a file's columns are the table's as they are, whatever other columns it has."""
    return list(made) == [{"c": one.name} for one in fields]
