"""Rewrite of LATERAL joins that only read the row itself, such as UNNEST of its list.

DuckDB 2.0 binds `FROM t, unnest(t.list)` in this way: it numbers the rows of t, takes the different ones, computes the
elements for each of those, and joins them back by the number. Where what is computed reads nothing but the row, the
rows can be computed in place: there is no join, and nothing to number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Column,
    Filter,
    Item,
    Join,
    JoinKind,
    Project,
    Reference,
    Relation,
    Unnest,
    Window,
    With,
)
from gpuquery.runner.query.sql.walk import shifted, with_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping


def without_lateral_joins(node: Relation, shared: Mapping[int, Relation] | None = None) -> Relation:
    """Return the relation with such joins replaced by what they compute."""
    shared = shared or {}
    if not isinstance(node, With):
        return with_inputs(node, [without_lateral_joins(below, shared) for below in node.inputs])
    part = without_lateral_joins(node.shared, shared)
    body = without_lateral_joins(node.body, {**shared, node.number: part})
    if (direct := _without_join(part, body, node.number, shared)) is not None:
        return direct
    uses = _uses(body, node.number)
    if not uses:
        return body
    if node.body != body and uses == 1:
        return _put_in(body, node.number, part)
    return replace(node, shared=part, body=body)


def _without_join(domain: Relation, body: Relation, number: int, shared: Mapping[int, Relation]) -> Relation | None:
    """The body of a With whose shared relation is the different outer values, if it only joins them back."""
    if not isinstance(domain, Aggregate) or domain.calls or not isinstance(domain.input, Reference):
        return None
    outer = domain.input
    keys = [item.value.index for item in domain.keys if isinstance(item.value, Column)]
    if len(keys) != len(domain.keys) or outer.number not in shared:
        return None

    def visited(node: Relation) -> Relation | None:
        match node:
            case Project():
                below = visited(node.input)
                return None if below is None else replace(node, input=below)
            case Join(left=Reference(number=left), kind=JoinKind.INNER, condition=None) if left == outer.number:
                if not _joins_back(node, keys, number, shared[outer.number]):
                    return None
                return _in_place(node.right, outer, keys, number)
            case _:
                return None

    return visited(body)


def _joins_back(join: Join, keys: list[int], number: int, outer: Relation) -> bool:
    """Whether each outer row meets exactly what was computed for it."""
    met = set()
    for match in join.matches:
        left, right = match.left, match.right
        if match.operator != "is not distinct from" or not isinstance(left, Column) or not isinstance(right, Column):
            return False
        key = _key(join.right, right.index, number)
        if key is None or keys[key] != left.index:
            return False
        met.add(left.index)
    return met >= set(keys) or any(_is_row_number(outer, column) for column in met)


def _key(node: Relation, column: int, number: int) -> int | None:
    """Which of the outer values a column of what was computed is."""
    match node:
        case Reference(number=found):
            return column if found == number else None
        case Filter():
            return _key(node.input, column, number)
        case Unnest():
            return _key(node.input, column, number) if column < len(node.input.fields) else None
        case Project(items=items):
            value = items[column].value
            return _key(node.input, value.index, number) if isinstance(value, Column) else None
        case _:
            return None


def _is_row_number(node: Relation, column: int) -> bool:
    match node:
        case Project(items=items):
            value = items[column].value
            return isinstance(value, Column) and _is_row_number(node.input, value.index)
        case Window(calls=calls) if column >= len(node.input.fields):
            call = calls[column - len(node.input.fields)]
            return call.function == "row_number" and not call.partition
        case _:
            return False


def _in_place(node: Relation, outer: Reference, keys: list[int], number: int) -> Relation | None:
    """The outer row's columns, then those of what is computed from it; None if that reads more than the row."""
    width = len(outer.fields)
    own = [Item(Column(type=f.type, index=i), f.name) for i, f in enumerate(outer.fields)]
    match node:
        case Reference(number=found) if found == number:
            return Project(outer, (*own, *(own[key] for key in keys)))
        case Filter() | Unnest() | Project():
            below = _in_place(node.input, outer, keys, number)
            if below is None:
                return None
            match node:
                case Filter(condition=condition):
                    return Filter(below, shifted(condition, width))
                case Unnest(lists=lists):
                    return Unnest(below, tuple(Item(shifted(i.value, width), i.name) for i in lists))
                case Project(items=items):
                    return Project(below, (*own, *(Item(shifted(i.value, width), i.name) for i in items)))
    return None


def _uses(node: Relation, number: int) -> int:
    here = isinstance(node, Reference) and node.number == number
    return int(here) + sum(_uses(below, number) for below in node.inputs)


def _put_in(node: Relation, number: int, part: Relation) -> Relation:
    if isinstance(node, Reference) and node.number == number:
        return part
    return with_inputs(node, [_put_in(below, number, part) for below in node.inputs])
