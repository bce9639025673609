"""Which columns an expression reads, and of which conditions a conjunction is made."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from gpuquery.runner.query.sql.plan import Call, Column, Expression, Literal


def columns_used(*nodes: Any) -> frozenset[int]:
    """Return the positions of the columns that stand in expressions, in their keys and frames too."""
    found: set[int] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        match node:
            case Column():
                found.add(node.index)
            case Literal():
                continue
            case tuple() | list():
                stack.extend(node)
            case _ if is_dataclass(node):
                stack.extend(getattr(node, one.name) for one in fields(node))
    return frozenset(found)


def conjuncts(condition: Expression | None) -> list[Expression]:
    """Return the conditions that must all be TRUE."""
    if condition is None:
        return []
    if isinstance(condition, Call) and condition.function == "and":
        return [part for argument in condition.arguments for part in conjuncts(argument)]
    return [] if isinstance(condition, Literal) and condition.value is True else [condition]


def moved(node: Any, by: int) -> Any:
    """Return an expression with the positions of its columns moved."""
    match node:
        case Column():
            return Column(type=node.type, index=node.index + by, place=node.place)
        case Literal():
            return node
        case tuple():
            parts = [moved(part, by) for part in node]
            return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)
        case _ if is_dataclass(node) and not isinstance(node, type):
            return type(node)(**{one.name: moved(getattr(node, one.name), by) for one in fields(node)})
        case _:
            return node
