"""Relations that have no row for sure: what is above of them goes as far as it can have none either."""

from __future__ import annotations

from dataclasses import replace

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Distinct,
    Filter,
    Item,
    Join,
    JoinKind,
    Limit,
    Project,
    Relation,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
)
from gpuquery.runner.query.sql.walk import empty_relation, identity_items, is_never_true, rebuilt


def without_empty(node: Relation) -> Relation:
    """Return the relation with what can have no row as constants of no row, and unions without such sides."""
    return rebuilt(node, _reduced)


def is_empty(node: Relation) -> bool:
    """Whether it is known to have no row."""
    return isinstance(node, Values) and not node.rows


def _reduced(node: Relation) -> Relation:
    match node:
        case Filter() if is_never_true(node.condition):
            return empty_relation(node)
        case Limit(count=0):
            return empty_relation(node)
        case Filter() | Project() | Sort() | Limit() | Distinct() | Window() | Unnest() if is_empty(node.inputs[0]):
            return empty_relation(node)
        case Aggregate() if is_empty(node.input) and _has_groups_only(node):
            return empty_relation(node)
        case Join():
            return empty_relation(node) if _is_empty_join(node) else node
        case SetOperation():
            return _set_operation(node)
        case _:
            return node


def _has_groups_only(node: Aggregate) -> bool:
    """Whether no grouping set is the empty one, which has a row for no rows."""
    return bool(node.keys) and all(node.sets or ((0,),))


def _is_empty_join(node: Join) -> bool:
    left, right = is_empty(node.left), is_empty(node.right)
    match node.kind:
        case JoinKind.INNER | JoinKind.SEMI:
            return left or right
        case JoinKind.LEFT | JoinKind.SINGLE | JoinKind.ANTI | JoinKind.MARK:
            return left
        case JoinKind.RIGHT:
            return right
        case _:
            return left and right


def _set_operation(node: SetOperation) -> Relation:
    if node.kind is SetKind.INTERSECT and any(map(is_empty, node.sides)):
        return empty_relation(node)
    if is_empty(node.sides[0]) and node.kind is SetKind.EXCEPT:
        return empty_relation(node)
    if node.kind is not SetKind.UNION:
        return node
    sides = tuple(side for side in node.sides if not is_empty(side))
    if len(sides) == len(node.sides):
        return node
    if not sides:
        return empty_relation(node)
    if len(sides) > 1:
        return replace(node, sides=(_named(sides[0], node), *sides[1:]))
    left = _named(sides[0], node)
    return left if node.all else Distinct(left)


def _named(side: Relation, node: SetOperation) -> Relation:
    """Return a side under the names of the first one, which are the result's."""
    names = [field.name for field in node.fields]
    if names == [field.name for field in side.fields]:
        return side
    items = (Item(item.value, name) for item, name in zip(identity_items(side), names, strict=True))
    return Project(side, tuple(items))
