"""What the values of NDJSON are, place by place, and the one type that holds all values of a place.

Every kind of value that is seen is kept with where it was first seen, so that two that do not fit are both named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(StrEnum):
    """Kinds of values, as messages name them."""

    BOOLEAN = "true or false"
    WHOLE = "a whole number"
    WIDE = "a whole number beyond 2^53"
    UNSIGNED = "a whole number beyond 2^63"
    HUGE = "a whole number beyond 64 bits"
    FRACTION = "a fraction"
    LONG = "a number whose digits a DOUBLE does not hold"
    TEXT = "text"
    LIST = "a list"
    OBJECT = "an object"


WHOLE = frozenset({Kind.WHOLE, Kind.WIDE, Kind.UNSIGNED})
NUMBERS = WHOLE | {Kind.HUGE, Kind.FRACTION, Kind.LONG}
_EXACT = frozenset({Kind.WHOLE, Kind.FRACTION})


class Seen(NamedTuple):
    """Where a value was first seen."""

    file: int
    line: int | None


class ClashError(Exception):
    """Two values of one place have no type in common."""

    def __init__(self, path: str, one: tuple[Kind, Seen], two: tuple[Kind, Seen] | None, way: str) -> None:
        """`two` is None where one value alone has no type."""
        super().__init__(path)
        self.path, self.one, self.two, self.way = path, one, two, way


@dataclass
class Node:
    """All values of one place: a key, or the elements of a list."""

    kinds: dict[Kind, Seen] = field(default_factory=dict)
    fields: dict[str, Node] = field(default_factory=dict)
    """Keys of its objects, in the order in which they first appeared."""
    item: Node | None = None
    """Elements of its lists."""

    def hollow(self, path: str) -> Iterator[tuple[str, Seen]]:
        """Return the places whose objects have no keys, with where one was seen."""
        if Kind.OBJECT in self.kinds and not self.fields:
            yield path, self.kinds[Kind.OBJECT]
        for name, node in self.fields.items():
            yield from node.hollow(f"{path}.{name}")
        if self.item is not None:
            yield from self.item.hollow(f"{path}[]")

    def widened(self, path: str) -> Iterator[tuple[str, Seen, Seen]]:
        """Return the places where whole numbers become fractions, with where one of each was seen."""
        whole = [seen for kind, seen in self.kinds.items() if kind in WHOLE]
        if whole and Kind.FRACTION in self.kinds:
            yield path, whole[0], self.kinds[Kind.FRACTION]
        for name, node in self.fields.items():
            yield from node.widened(f"{path}.{name}")
        if self.item is not None:
            yield from self.item.widened(f"{path}[]")


def dtype(node: Node, path: str) -> pl.DataType:
    """Return the type that holds all values of a place, none of them changed. Raises ClashError.

    What has no value is text, and so is an object without keys: its text is `{}`.
    """
    kinds = set(node.kinds)
    if not kinds:
        return pl.String()
    if kinds <= NUMBERS:
        return _number(node, path)
    if len(kinds) > 1:
        one, two = list(node.kinds.items())[:2]
        if {one[0], two[0]} <= NUMBERS:
            two = next(pair for pair in node.kinds.items() if pair[0] not in NUMBERS)
        raise ClashError(path, one, two, "write one kind of value in all files")
    match next(iter(kinds)):
        case Kind.BOOLEAN:
            return pl.Boolean()
        case Kind.LIST:
            return pl.List(dtype(node.item, f"{path}[]") if node.item is not None else pl.String())
        case Kind.OBJECT if node.fields:
            return pl.Struct({name: dtype(one, f"{path}.{name}") for name, one in node.fields.items()})
        case _:
            return pl.String()


def _number(node: Node, path: str) -> pl.DataType:
    kinds = set(node.kinds)
    for odd in (Kind.HUGE, Kind.LONG):
        if odd in kinds:
            way = "write it as text in the files, or accept the nearest DOUBLE: Float64 in inputs[].types"
            raise ClashError(path, (odd, node.kinds[odd]), None, way)
    if kinds <= {Kind.WHOLE, Kind.WIDE}:
        return pl.Int64()
    if kinds <= _EXACT:
        return pl.Float64()
    if Kind.FRACTION in kinds:
        odd = next(kind for kind in (Kind.UNSIGNED, Kind.WIDE) if kind in kinds)
        way = "no type holds both exactly: accept the nearest DOUBLE with Float64 in inputs[].types"
        raise ClashError(path, (odd, node.kinds[odd]), (Kind.FRACTION, node.kinds[Kind.FRACTION]), way)
    return pl.UInt64()


def misfit(node: Node, wanted: pl.DataType, path: str, *, exact: bool = False) -> tuple[str, Kind | None, Seen] | None:
    """Return a place, kind and line that the type of a list or an object does not hold.

    The kind is None for a key that the type does not have. `exact` says if a DOUBLE holds only what stays the same.
    """
    kinds = held(wanted, exact=exact)
    for kind, seen in node.kinds.items():
        if kind not in kinds:
            return path, kind, seen
    if isinstance(wanted, pl.Struct):
        inner = {one.name: _solid(one.dtype) for one in wanted.fields}
        for name, one in node.fields.items():
            if name not in inner:
                seen = next(iter(one.kinds.values()), next(iter(node.kinds.values())))
                return f"{path}.{name}", None, seen
            if found := misfit(one, inner[name], f"{path}.{name}", exact=exact):
                return found
    if isinstance(wanted, pl.List) and node.item is not None:
        return misfit(node.item, _solid(wanted.inner), f"{path}[]", exact=exact)
    return None


def within(wanted: pl.DataType) -> bool:
    """Whether a declared type can be read within lists and objects."""
    if isinstance(wanted, pl.Struct):
        return all(within(_solid(one.dtype)) for one in wanted.fields)
    if isinstance(wanted, pl.List):
        return within(_solid(wanted.inner))
    return wanted in (pl.Boolean, pl.Int64, pl.UInt64, pl.Float64, pl.String)


def held(wanted: pl.DataType, *, exact: bool = False) -> frozenset[Kind]:
    """Return the kinds of values that Polars reads as a type; `exact` ones only those that a DOUBLE does not change."""
    match wanted:
        case pl.Boolean():
            return frozenset({Kind.BOOLEAN})
        case pl.Int64():
            return frozenset({Kind.WHOLE, Kind.WIDE})
        case pl.UInt64():
            return WHOLE
        case pl.Float64():
            return _EXACT if exact else NUMBERS
        case pl.List():
            return frozenset({Kind.LIST})
        case pl.Struct():
            return frozenset({Kind.OBJECT})
        case _:
            return frozenset({Kind.TEXT})


def _solid(dtype: Any) -> pl.DataType:
    """Polars says that the type within another one may be a class; `columns.declared` has made it a type."""
    assert isinstance(dtype, pl.DataType)
    return dtype
