"""DISTINCT in aggregates for GPUs: a group of its own, of the different values of each group.

cudf-polars 26.10 counts different values, and takes no distinct column for any other function. So the groups without
these calls are joined with the groups of the different values, which are a plan of its own that everything translates.
"""

from __future__ import annotations

from dataclasses import replace

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    AggregateCall,
    Column,
    Filter,
    Item,
    Join,
    JoinKind,
    Match,
    Project,
    Relation,
)

_AT_ONCE = frozenset({"count", "min", "max", "bool_and", "bool_or", "any_value"})
"""Functions that compute DISTINCT themselves, or to which it is nothing."""


def without_distinct(node: Aggregate) -> Relation | None:
    """Return groups that mean the same without DISTINCT in the calls that need it; None if there are none."""
    apart = [at for at, call in enumerate(node.calls) if _alone(call)]
    if not apart or node.sets is not None or node.groupings:
        return None
    width = len(node.keys)
    at_once = [at for at in range(len(node.calls)) if at not in apart]
    found: Relation = replace(node, calls=tuple(node.calls[at] for at in at_once), names=())
    place = {at: width + number for number, at in enumerate(at_once)}
    keys = [Column(type=item.value.type, index=at) for at, item in enumerate(node.keys)]
    for at in apart:
        place[at] = len(found.fields) + width
        matches = tuple(Match(key, key, "is not distinct from") for key in keys)
        kind = JoinKind.LEFT if keys else JoinKind.INNER
        found = Join(found, _of_different(node, node.calls[at], keys), kind, matches)
    columns = [*keys, *(Column(type=call.type, index=place[at]) for at, call in enumerate(node.calls))]
    return Project(found, tuple(Item(value, name.name) for value, name in zip(columns, node.fields, strict=True)))


def _alone(call: AggregateCall) -> bool:
    return call.distinct and call.function not in _AT_ONCE and len(call.arguments) == 1 and not call.order


def _of_different(node: Aggregate, call: AggregateCall, keys: list[Column]) -> Aggregate:
    """Return the keys and one call over the different values of its argument in each group."""
    rows = Filter(node.input, call.filter) if call.filter is not None else node.input
    (argument,) = call.arguments
    values = Aggregate(rows, (*node.keys, Item(argument, "value")), ())
    value = Column(type=argument.type, index=len(keys))
    items = tuple(Item(key, item.name) for key, item in zip(keys, node.keys, strict=True))
    return Aggregate(values, items, (replace(call, arguments=(value,), distinct=False, filter=None),))
