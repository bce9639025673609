"""Warnings about a statement that can be run but may surprise its author, each once and with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Call,
    Cast,
    Column,
    Expression,
    Filter,
    Join,
    JoinKind,
    Limit,
    Relation,
    Scan,
    Statement,
    Values,
)
from gpuquery.runner.query.sql.types import Kind, Type
from gpuquery.runner.query.sql.walk import columns_used, conjuncts, relations, subexpressions, with_expressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuquery.runner.query.sql.errors import Place

MAX_REMARKS = 10
"""Warnings of one statement."""
_ROUNDS = frozenset({"round", "trunc", "floor", "ceil", "round_even"})


class Remark(NamedTuple):
    """One warning."""

    message: str
    place: Place | None


def find_remarks(bound: Statement, improved: Statement) -> list[Remark]:
    """Return the warnings of a statement: as it was bound, and as it will run."""
    remarks = dict.fromkeys((*_of_expressions(bound.relation), *_crossed(improved.relation)))
    return list(remarks)[:MAX_REMARKS]


def _crossed(node: Relation, conditions: Sequence[set[int]] = ()) -> Iterator[Remark]:
    """Yield joins of all rows with all rows. `conditions` are the columns of each condition that stands above."""
    match node:
        case Filter():
            yield from _crossed(node.input, [*conditions, *(columns_used(one) for one in conjuncts(node.condition))])
        case Join(kind=JoinKind.INNER, matches=(), condition=None):
            width = len(node.left.fields)
            joined = any(min(used, default=width) < width <= max(used, default=0) for used in conditions)
            if not joined and not _is_one_row(node.left) and not _is_one_row(node.right):
                yield Remark(
                    f"{_named(node.left)} and {_named(node.right)} are joined without a condition: every row of one "
                    "with every row of the other; if you do not mean that, write JOIN ... ON",
                    None,
                )
            yield from _crossed(node.left, conditions)
            yield from _crossed(node.right, [{column - width for column in used} for used in conditions])
        case _:
            for below in node.inputs:
                yield from _crossed(below)


def _is_one_row(node: Relation) -> bool:
    match node:
        case Aggregate():
            return not node.keys and node.sets is None
        case Limit():
            return node.count is not None and node.count <= 1
        case Values():
            return len(node.rows) <= 1
        case Join(kind=JoinKind.SEMI | JoinKind.ANTI | JoinKind.MARK | JoinKind.SINGLE):
            return _is_one_row(node.left)
        case _:
            return (
                len(node.inputs) == 1
                and type(node).__name__ in ("Filter", "Project", "Sort")
                and _is_one_row(node.inputs[0])
            )


def _named(node: Relation) -> str:
    tables = list(dict.fromkeys(one.table for one in relations(node) if isinstance(one, Scan)))
    return " with ".join(f'"{name}"' for name in tables) or "a list of values"


def _of_expressions(root: Relation) -> Iterator[Remark]:
    for node in relations(root):
        for value in _all(node):
            for part in subexpressions(value):
                yield from _of(part)


def _all(node: Relation) -> list[Expression]:
    held: list[Expression] = []

    def keep(value: Expression) -> Expression:
        held.append(value)
        return value

    with_expressions(node, keep)
    return held


def _of(node: Expression) -> Iterator[Remark]:
    if isinstance(node, Cast) and not node.null_on_failure and (lost := _loses(node)):
        yield Remark(f"CAST of {node.input.type} to {node.type} {lost}", node.place)


def _loses(node: Cast) -> str:
    """Return what a cast that the author wrote leaves out; nothing if it keeps all."""
    rounded = isinstance(node.input, Call) and node.input.function in _ROUNDS
    if rounded or not _is_written(node):
        return ""
    before, after = node.input.type, node.type
    if _has_fraction(before) and after.is_integer:
        return "rounds to whole numbers"
    if before.kind is Kind.DECIMAL and after.kind is Kind.DECIMAL and after.scale < before.scale:
        return f"rounds to {after.scale} of {before.scale} decimal places"
    return ""


def _is_written(node: Cast) -> bool:
    """Whether the author wrote it: casts of the binder stand where their operand stands, or nowhere."""
    columns = any(isinstance(part, Column) for part in subexpressions(node.input))
    return columns and node.place is not None and node.place != node.input.place


def _has_fraction(kind: Type) -> bool:
    return kind.is_float or (kind.kind is Kind.DECIMAL and kind.scale > 0)
